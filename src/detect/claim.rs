//! What a detector says it found.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, FixedSizeBinaryBuilder, Int64Builder, ListBuilder, StringBuilder, StructBuilder,
    UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch, TimestampNanosecondArray};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use super::conversations::Originals;
use super::{Context, Outcome, Seen, Sighting, median};
use crate::classify::{App, Label};
use crate::dissect::{Mac, Stack};
use crate::named::named;
use crate::packets::Column;
use crate::paths::{PathId, append_fixed};
use crate::wire::ip::Addr;

named! {
    /// What happened to the traffic.
    Kind {
        /// It was copied.
        Copy = "copy",
        /// It was sent elsewhere.
        Diversion = "diversion",
        /// It was seen more than once for a harmless reason.
        Duplicate = "duplicate",
        /// It was put into a tunnel.
        Tunnel = "tunnel",
        /// Packets were added to it.
        Injection = "injection",
        /// A device does what only tampered ones do.
        Implant = "implant",
        /// Packets of it were changed on their way.
        Modification = "modification",
        /// Packets of it went missing.
        Loss = "loss",
        /// Networks were asked, or told, what should not come from there.
        Signalling = "signalling",
    }
}

named! {
    /// How much a claim matters if it is not allowed.
    Severity {
        /// Worth knowing.
        Info = "info",
        /// Odd.
        Low = "low",
        /// Should be explained.
        Medium = "medium",
        /// Traffic is exposed.
        High = "high",
        /// Act now.
        Critical = "critical",
    }
}

named! {
    /// What part a frame plays in the evidence.
    Role {
        /// The packet on its own path.
        Original = "original",
        /// The packet once more.
        Copy = "copy",
        /// A packet in a tunnel made for mirroring.
        Mirror = "mirror",
        /// The packet with another address.
        Redirected = "redirected",
        /// A packet that the one it claims to be from did not send.
        Injected = "injected",
        /// A packet that asks for what happened.
        Trigger = "trigger",
        /// The answer to one.
        Answer = "answer",
        /// A packet that should not be there.
        Offending = "offending",
    }
}

/// A frame that proves a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Number of the tap.
    pub tap: u16,
    /// Number of the frame in the tap's stream.
    pub frame: u64,
    /// Its part.
    pub role: Role,
    /// How it was seen.
    pub path: PathId,
}

/// These packets were also seen there: what a detector says it found.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Detector and class, such as `A5.forked`.
    pub detector: &'static str,
    /// Whether it is worth a finding; else it only names what was seen.
    pub report: bool,
    /// What happened.
    pub kind: Kind,
    /// How much it matters if it is not allowed.
    pub severity: Severity,
    /// Number of the tap that saw the original.
    pub tap: Option<u16>,
    /// Number of the tap that saw the copy.
    pub copy_tap: Option<u16>,
    /// Who made the copy: the source address of the tunnel.
    pub exporter: Option<Addr>,
    /// Who receives it: the destination address of the tunnel, or the rewritten destination.
    pub collector: Option<Addr>,
    /// Source MAC of the copy.
    pub exporter_mac: Option<Mac>,
    /// Destination MAC of the copy.
    pub collector_mac: Option<Mac>,
    /// The tunnel of the copy.
    pub encap: Stack,
    /// Identifier of that tunnel.
    pub tunnel_id: Option<u32>,
    /// Whose traffic is concerned, where there is one address.
    pub subject: Option<Addr>,
    /// What else identifies it, in the words of its protocol, such as a name that was asked for. As captured: who shows it has to
    /// escape what controls a terminal.
    pub detail: Option<String>,
    /// Address before and after it was rewritten.
    pub rewritten: Option<(Addr, Addr)>,
    /// Packets on the original path, in the flows of which any was copied.
    pub in_scope: u64,
    /// Those that were compared with others.
    pub judged: u64,
    /// The packets behind it.
    pub tally: Tally,
}

/// Counts of the packets behind a claim.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Copies counted.
    pub packets: u64,
    /// Time of the first copy, nanoseconds UTC.
    pub first_ts: i64,
    /// Time of the last copy, nanoseconds UTC.
    pub last_ts: i64,
    /// How the first original and its copy were seen.
    pub paths: (Option<PathId>, Option<PathId>),
    /// Frames that prove it: the first ones, and of the first claims of a detector also some from all of the time.
    pub evidence: Vec<Evidence>,
    /// Copies after the first ones, one in `stride` of them, with their originals.
    later: Vec<(Option<Evidence>, Evidence)>,
    /// One in so many copies is in `later`; 0 where only the first ones are kept.
    stride: u64,
    /// Whose traffic is concerned, for detectors that know one address.
    pub subject: Option<Addr>,
    /// Conversations concerned, as `flow_id`; at most [`Tally::MAX_FLOWS`].
    pub flows: HashSet<u64>,
    /// Pairs whose copy went to the same MAC as the first copy.
    same_order: u64,
    lags: Vec<i64>,
    ip_ids: BTreeSet<u32>,
    labels: BTreeSet<Option<u8>>,
    /// The conversation and label of the last copy, which most have in common with the next.
    last: Option<(Option<u64>, Label)>,
}

impl Tally {
    /// How many conversations are told apart.
    pub const MAX_FLOWS: usize = 65_536;
    const MAX_EVIDENCE: usize = 32;
    /// Copies from all of the time that are kept beside the first ones; half of them are dropped when there are more.
    const MAX_LATER: usize = 48;
    const MAX_LAGS: usize = 1024;
    const MAX_IP_IDS: usize = 4;

    /// Counts a copy, and the original it was recognised by.
    pub fn add(
        &mut self,
        seen: &Seen<'_>,
        copy: Sighting,
        original: Option<Sighting>,
        roles: (Role, Role),
        context: &Context<'_>,
    ) {
        self.count(copy, original, roles, seen.traffic(original, context), context);
    }

    /// Counts a copy of a packet of this conversation and with this label.
    pub fn count(
        &mut self,
        copy: Sighting,
        original: Option<Sighting>,
        roles: (Role, Role),
        (flow, label): (Option<u64>, Label),
        context: &Context<'_>,
    ) {
        if self.packets == 0 {
            (self.first_ts, self.last_ts) = (copy.ts, copy.ts);
            self.paths = (original.map(|original| original.path), Some(copy.path));
        }
        self.packets += 1;
        let to = |path: Option<PathId>| {
            path.map(|path| context.paths.get(path)).map(|path| (path.eth_dst, &path.mpls))
        };
        self.same_order +=
            u64::from(self.paths.1 == Some(copy.path) || to(self.paths.1) == to(Some(copy.path)));
        self.first_ts = self.first_ts.min(copy.ts);
        self.last_ts = self.last_ts.max(copy.ts);
        let at = |sighting: Sighting, role| Evidence {
            tap: context.paths.get(sighting.path).tap,
            frame: sighting.frame,
            role,
            path: sighting.path,
        };
        if self.evidence.len() + 2 <= Self::MAX_EVIDENCE {
            self.evidence.extend(original.map(|original| at(original, roles.0)));
            self.evidence.push(at(copy, roles.1));
        } else if self.stride > 0 && self.packets.is_multiple_of(self.stride) {
            if self.later.len() == Self::MAX_LATER {
                // Every second one: those whose number is a multiple of twice the stride.
                let first = self.packets / self.stride - self.later.len() as u64;
                let mut number = first;
                self.later.retain(|_| {
                    number += 1;
                    (number - 1).is_multiple_of(2)
                });
                self.stride *= 2;
            }
            if self.packets.is_multiple_of(self.stride) {
                self.later.push((original.map(|original| at(original, roles.0)), at(copy, roles.1)));
            }
        }
        if let Some(original) = original
            && self.lags.len() < Self::MAX_LAGS
        {
            self.lags.push(copy.ts.saturating_sub(original.ts));
        }
        if copy.ip_id != 0 && self.ip_ids.len() < Self::MAX_IP_IDS {
            self.ip_ids.insert(copy.ip_id);
        }
        if self.last == Some((flow, label)) {
            return;
        }
        self.last = Some((flow, label));
        if let Some(flow) = flow
            && self.flows.len() < Self::MAX_FLOWS
        {
            self.flows.insert(flow);
        }
        self.labels.insert(label.app.map(|app| app as u8));
    }

    /// The applications concerned, and the classes of traffic, by name.
    fn names(&self) -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
        let app = |&number: &Option<u8>| App::ALL.get(usize::from(number?)).copied();
        let label = |number| Label { app: app(number), basis: None };
        let apps = self.labels.iter().filter_map(app).map(App::name).collect();
        (apps, self.labels.iter().map(|number| label(number).traffic().name()).collect())
    }

    /// Whether most pairs came in the order of the first one: its original's path first, its copy's second.
    pub fn is_usually_first_order(&self) -> bool {
        self.same_order * 2 >= self.packets
    }

    /// All frames that are kept as proof.
    fn all_evidence(&self) -> impl Iterator<Item = &Evidence> {
        let later = self.later.iter().flat_map(|(original, copy)| original.iter().chain([copy]));
        self.evidence.iter().chain(later)
    }

    /// Says which paths the copies took: the frames' roles follow from that.
    #[must_use]
    pub fn with_copies(mut self, is_copy: impl Fn(PathId) -> bool) -> Self {
        if let (Some(original), Some(copy)) = self.paths
            && is_copy(original)
        {
            self.paths = (Some(copy), Some(original));
        }
        let later = self.later.iter_mut().flat_map(|(original, copy)| original.iter_mut().chain([copy]));
        for frame in self.evidence.iter_mut().chain(later) {
            frame.role = if is_copy(frame.path) { Role::Copy } else { Role::Original };
        }
        self
    }

    /// How many different identifications the copies had, counted up to a few. Hosts that number all packets alike make
    /// retransmissions look like copies.
    pub fn distinct_ip_ids(&self) -> usize {
        self.ip_ids.len()
    }

    /// Some of those identifications.
    pub fn ip_ids(&self) -> &BTreeSet<u32> {
        &self.ip_ids
    }

    /// Median time from original to copy in nanoseconds.
    pub fn lag(&self) -> Option<i64> {
        median(&mut self.lags.clone())
    }
}

/// Claims in the making, told apart by a key. Bounded: what comes after [`Claims::MAX`] keys is only counted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(
    serialize = "K: Serialize + Eq + std::hash::Hash",
    deserialize = "K: Deserialize<'de> + Eq + std::hash::Hash"
))]
pub struct Claims<K> {
    tallies: HashMap<K, Tally>,
    order: Vec<K>,
    overflow: u64,
    /// Where a claim was replaced last.
    hand: usize,
}

impl<K> Default for Claims<K> {
    fn default() -> Self {
        Self { tallies: HashMap::new(), order: Vec::new(), overflow: 0, hand: 0 }
    }
}

impl<K: Copy + Eq + std::hash::Hash> Claims<K> {
    /// How many claims are told apart.
    pub const MAX: usize = 4096;
    /// How many of the first are never replaced, and how many others are looked at to find one that may be.
    const KEPT: usize = Self::MAX / 4 * 3;
    const TRIES: usize = 16;
    /// How many have evidence from all of the time, and not only the first frames.
    const WITH_LATER: usize = 256;

    /// The tally of this key, unless there are too many.
    pub fn entry(&mut self, key: K) -> Option<&mut Tally> {
        match self.tallies.entry(key) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(entry) if self.order.len() < Self::MAX => {
                // Evidence is dear: however many claims are crafted, memory for it is bounded.
                let stride = u64::from(self.order.len() < Self::WITH_LATER);
                self.order.push(key);
                Some(entry.insert(Tally { stride, ..Tally::default() }))
            }
            Entry::Vacant(_) => {
                self.overflow += 1;
                None
            }
        }
    }

    /// The tally of this key and, if there were too many, the key that had to go for it: a late one, behind which there is no more than one
    /// packet. For detectors to whom one packet proves nothing: however many tunnels are crafted around a packet each, a mirror
    /// that comes later still finds room.
    pub fn entry_or_replace(&mut self, key: K) -> (Option<&mut Tally>, Option<K>) {
        if self.order.len() >= Self::MAX && !self.tallies.contains_key(&key) {
            for _ in 0..Self::TRIES {
                self.hand =
                    if self.hand + 1 < Self::MAX { (self.hand + 1).max(Self::KEPT) } else { Self::KEPT };
                let Some(place) = self.order.get_mut(self.hand) else { break };
                if self.tallies.get(place).is_some_and(|tally| tally.packets <= 1) {
                    self.tallies.remove(place);
                    self.overflow += 1;
                    let replaced = std::mem::replace(place, key);
                    return (Some(self.tallies.entry(key).or_default()), Some(replaced));
                }
            }
        }
        (self.entry(key), None)
    }

    /// All of them, in the order they appeared.
    pub fn take(&mut self) -> Vec<(K, Tally)> {
        let tallies = &mut self.tallies;
        self.order.drain(..).filter_map(|key| Some((key, tallies.remove(&key)?))).collect()
    }

    /// How many copies found no room.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// What to say of copies that found no room.
    pub fn missing(&self) -> Option<String> {
        (self.overflow > 0).then(|| format!("{} copies found no room in the table of claims", self.overflow))
    }
}

impl Claim {
    /// A claim that names the copy's path as the tally's first copy shows it.
    pub fn new(
        detector: &'static str,
        kind: Kind,
        severity: Severity,
        tally: Tally,
        context: &Context<'_>,
    ) -> Self {
        let path = |id: Option<PathId>| id.map(|id| context.paths.get(id));
        let (original, copy) = (path(tally.paths.0), path(tally.paths.1));
        let tap = original.map(|path| path.tap);
        let copy_tap = copy.map(|path| path.tap);
        let copy = copy.copied().unwrap_or_default();
        Self {
            detector,
            report: true,
            kind,
            severity,
            tap,
            copy_tap,
            exporter: copy.outer_src,
            collector: copy.outer_dst,
            exporter_mac: copy.eth_src,
            collector_mac: copy.eth_dst,
            encap: copy.encap,
            tunnel_id: copy.tunnel_id,
            subject: None,
            detail: None,
            rewritten: None,
            in_scope: 0,
            judged: 0,
            tally,
        }
    }

    /// The same claim as a lead that is not reported: too few packets stand behind it.
    #[must_use]
    pub fn unproven(self, detector: &'static str) -> Self {
        Self { detector, report: false, kind: Kind::Duplicate, severity: Severity::Info, ..self }
    }

    /// Counts the packets on the original paths, in the flows concerned: of how many the copies are a part.
    pub(super) fn count_scope(&mut self, originals: Originals<'_>, outcome: &Outcome<'_>) {
        (self.in_scope, self.judged) = outcome.conversations.count(&self.tally.flows, originals);
    }
}

fn evidence_fields() -> Fields {
    Fields::from(vec![
        Field::new("tap", DataType::Utf8, false),
        Field::new("frame", DataType::UInt64, false),
        Field::new("role", DataType::Utf8, false),
    ])
}

/// The schema of the claims table.
pub fn claim_schema() -> SchemaRef {
    let list = |data_type| DataType::List(Arc::new(Field::new("item", data_type, false)));
    let address = || DataType::FixedSizeBinary(16);
    Arc::new(Schema::new(vec![
        Field::new("detector", DataType::Utf8, false),
        Field::new("report", DataType::Boolean, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("severity", DataType::Utf8, false),
        Field::new("tap", DataType::Utf8, true),
        Field::new("copy_tap", DataType::Utf8, true),
        Field::new("packets", DataType::UInt64, false),
        Field::new("in_scope", DataType::UInt64, false),
        Field::new("judged", DataType::UInt64, false),
        Field::new("first_ts", Column::Ts.data_type(), false),
        Field::new("last_ts", Column::Ts.data_type(), false),
        Field::new("lag_ns", DataType::Int64, true),
        Field::new("encap", DataType::Utf8, true),
        Field::new("exporter", address(), true),
        Field::new("collector", address(), true),
        Field::new("exporter_mac", DataType::FixedSizeBinary(6), true),
        Field::new("collector_mac", DataType::FixedSizeBinary(6), true),
        Field::new("tunnel_id", DataType::UInt32, true),
        Field::new("subject", address(), true),
        Field::new("detail", DataType::Utf8, true),
        Field::new("rewritten_from", address(), true),
        Field::new("rewritten_to", address(), true),
        Field::new("flows", DataType::UInt64, false),
        Field::new("evidence", list(DataType::Struct(evidence_fields())), false),
        Field::new("apps", list(DataType::Utf8), false),
        Field::new("traffic", list(DataType::Utf8), false),
    ]))
}

/// The claims as a table, [`claim_schema`]. `taps` are the names that tap numbers index.
pub(super) fn claims_to_batch(claims: &[Claim], taps: &[String]) -> Result<RecordBatch, ArrowError> {
    let name = |tap: u16| taps.get(usize::from(tap)).map_or("", String::as_str);
    let text = StringBuilder::new;
    let count = || UInt64Builder::with_capacity(claims.len());
    let address = || FixedSizeBinaryBuilder::with_capacity(claims.len(), 16);
    let mac = || FixedSizeBinaryBuilder::with_capacity(claims.len(), 6);
    let texts =
        || ListBuilder::new(StringBuilder::new()).with_field(Field::new("item", DataType::Utf8, false));
    let (mut detector, mut kind, mut severity, mut tap, mut copy_tap) =
        (text(), text(), text(), text(), text());
    let (mut packets, mut in_scope, mut judged, mut flows) = (count(), count(), count(), count());
    let (mut exporter, mut collector, mut from, mut to) = (address(), address(), address(), address());
    let (mut exporter_mac, mut collector_mac) = (mac(), mac());
    let (mut report, mut lag, mut encap, mut tunnel_id) =
        (BooleanBuilder::new(), Int64Builder::new(), text(), UInt32Builder::new());
    let (mut apps, mut traffic) = (texts(), texts());
    let (mut subject, mut detail) = (address(), text());
    let item = Field::new("item", DataType::Struct(evidence_fields()), false);
    let mut evidence = ListBuilder::new(StructBuilder::from_fields(evidence_fields(), 0)).with_field(item);
    for claim in claims {
        let tally = &claim.tally;
        detector.append_value(claim.detector);
        report.append_value(claim.report);
        kind.append_value(claim.kind.name());
        severity.append_value(claim.severity.name());
        tap.append_option(claim.tap.map(name));
        copy_tap.append_option(claim.copy_tap.map(name));
        packets.append_value(tally.packets);
        in_scope.append_value(claim.in_scope);
        judged.append_value(claim.judged);
        lag.append_option(tally.lag());
        encap.append_option((!claim.encap.is_empty()).then(|| claim.encap.to_string()));
        append_fixed(&mut exporter, claim.exporter)?;
        append_fixed(&mut collector, claim.collector)?;
        append_fixed(&mut exporter_mac, claim.exporter_mac)?;
        append_fixed(&mut collector_mac, claim.collector_mac)?;
        tunnel_id.append_option(claim.tunnel_id);
        append_fixed(&mut subject, claim.subject)?;
        detail.append_option(claim.detail.as_deref());
        append_fixed(&mut from, claim.rewritten.map(|(from, _)| from))?;
        append_fixed(&mut to, claim.rewritten.map(|(_, to)| to))?;
        flows.append_value(tally.flows.len() as u64);
        for frame in tally.all_evidence() {
            let row = evidence.values();
            if let Some(field) = row.field_builder::<StringBuilder>(0) {
                field.append_value(name(frame.tap));
            }
            if let Some(field) = row.field_builder::<UInt64Builder>(1) {
                field.append_value(frame.frame);
            }
            if let Some(field) = row.field_builder::<StringBuilder>(2) {
                field.append_value(frame.role.name());
            }
            row.append(true);
        }
        evidence.append(true);
        let (app_names, traffic_names) = tally.names();
        for (list, names) in [(&mut apps, app_names), (&mut traffic, traffic_names)] {
            for name in names {
                list.values().append_value(name);
            }
            list.append(true);
        }
    }
    let time = |ts: fn(&Claim) -> i64| -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from_iter_values(claims.iter().map(ts)).with_timezone("UTC"))
    };
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(detector.finish()),
        Arc::new(report.finish()),
        Arc::new(kind.finish()),
        Arc::new(severity.finish()),
        Arc::new(tap.finish()),
        Arc::new(copy_tap.finish()),
        Arc::new(packets.finish()),
        Arc::new(in_scope.finish()),
        Arc::new(judged.finish()),
        time(|claim| claim.tally.first_ts),
        time(|claim| claim.tally.last_ts),
        Arc::new(lag.finish()),
        Arc::new(encap.finish()),
        Arc::new(exporter.finish()),
        Arc::new(collector.finish()),
        Arc::new(exporter_mac.finish()),
        Arc::new(collector_mac.finish()),
        Arc::new(tunnel_id.finish()),
        Arc::new(subject.finish()),
        Arc::new(detail.finish()),
        Arc::new(from.finish()),
        Arc::new(to.finish()),
        Arc::new(flows.finish()),
        Arc::new(evidence.finish()),
        Arc::new(apps.finish()),
        Arc::new(traffic.finish()),
    ];
    RecordBatch::try_new(claim_schema(), arrays)
}
