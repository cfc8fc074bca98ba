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
use super::room::{self, Room};
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
    /// Whether there are many claims like it, so that less is kept of each.
    is_of_many: bool,
    /// Whose traffic is concerned, for detectors that know one address.
    pub subject: Option<Addr>,
    /// Conversations concerned, as `flow_id`, as many as there is room for.
    pub flows: HashSet<u64>,
    /// Whether there were others.
    pub more_flows: bool,
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
    const MAX_FLOWS: usize = 65_536;
    /// Frames that are kept, and of claims of which there are many.
    const MAX_EVIDENCE: usize = 32;
    const LESS_EVIDENCE: usize = room::FREE;
    /// Copies from all of the time that are kept beside the first ones; half of them are dropped when there are more.
    const MAX_LATER: usize = 48;
    const MAX_LAGS: usize = 1024;
    const LESS_LAGS: usize = 64;
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
        let most = if self.is_of_many { Self::LESS_EVIDENCE } else { Self::MAX_EVIDENCE };
        let frames = 1 + usize::from(original.is_some());
        if self.evidence.len() + 2 <= most && context.room.reserve(&mut self.evidence, frames) {
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
            let has_room = || context.room.take(Self::MAX_LATER * size_of::<(Option<Evidence>, Evidence)>());
            if self.packets.is_multiple_of(self.stride) && (!self.later.is_empty() || has_room()) {
                self.later.push((original.map(|original| at(original, roles.0)), at(copy, roles.1)));
            }
        }
        let most = if self.is_of_many { Self::LESS_LAGS } else { Self::MAX_LAGS };
        if let Some(original) = original
            && self.lags.len() < most
            && context.room.reserve(&mut self.lags, 1)
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
        if let Some(flow) = flow {
            let is_kept = if self.flows.len() < Self::MAX_FLOWS {
                context.room.insert(&mut self.flows, flow)
            } else {
                self.flows.contains(&flow)
            };
            self.more_flows |= !is_kept;
        }
        self.labels.insert(label.app.map(|app| app as u8));
    }

    /// Gives back what its lists and sets have taken.
    fn give_back(&self, room: &Room) {
        // One of a single packet has none from later.
        room.give_back_list(&self.evidence);
        room.give_back_list(&self.lags);
        room.give_back_set(&self.flows);
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

/// Claims in the making, told apart by a key. Bounded: what comes after [`Claims::MAX`] keys, or finds no room, is only counted.
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
    /// How many are looked at to find one that may be replaced; the first three quarters never are.
    const TRIES: usize = 16;
    /// How many have evidence from all of the time, and not only the first frames.
    const WITH_LATER: usize = 256;
    /// How many find room whatever other detectors have taken.
    const RESERVED: usize = 64;
    /// What a claim takes, without what lists and sets grow into beyond their first values. Tables are seven eighths full at the most, and
    /// half of that after they grew.
    const BYTES: usize = 2 * size_of::<(K, Tally)>()
        + size_of::<K>()
        + room::FREE * (size_of::<Evidence>() + size_of::<i64>())
        + room::FREE_OF_SET;

    /// The tally of this key, unless there are too many.
    pub fn entry(&mut self, key: K, room: &Room) -> Option<&mut Tally> {
        match self.tallies.entry(key) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(entry)
                if self.order.len() < Self::RESERVED
                    || self.order.len() < Self::MAX && room.take(Self::BYTES) =>
            {
                // Evidence is dear: however many claims are crafted, memory for it is bounded.
                let is_of_many = self.order.len() >= Self::WITH_LATER;
                self.order.push(key);
                Some(entry.insert(Tally { stride: u64::from(!is_of_many), is_of_many, ..Tally::default() }))
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
    pub fn entry_or_replace(&mut self, key: K, room: &Room) -> (Option<&mut Tally>, Option<K>) {
        let len = self.order.len();
        let is_full = len >= Self::MAX || len >= Self::RESERVED && !room.has(Self::BYTES);
        if is_full && !self.tallies.contains_key(&key) {
            let kept = len / 4 * 3;
            for _ in 0..Self::TRIES {
                self.hand = if self.hand + 1 < len { (self.hand + 1).max(kept) } else { kept };
                let Some(place) = self.order.get_mut(self.hand) else { break };
                if self.tallies.get(place).is_some_and(|tally| tally.packets <= 1) {
                    if let Some(tally) = self.tallies.remove(place) {
                        tally.give_back(room);
                    }
                    self.overflow += 1;
                    let replaced = std::mem::replace(place, key);
                    let is_of_many = self.hand >= Self::WITH_LATER;
                    let tally = Tally { is_of_many, ..Tally::default() };
                    return (Some(self.tallies.entry(key).or_insert(tally)), Some(replaced));
                }
            }
        }
        (self.entry(key, room), None)
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

    /// Counts the packets on the original paths, in the flows concerned: of how many the copies are a part. Nobody knows where flows found
    /// no room.
    pub(super) fn count_scope(&mut self, originals: Originals<'_>, outcome: &Outcome<'_>) {
        if self.tally.more_flows {
            return;
        }
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
        Field::new("more_flows", DataType::Boolean, false),
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
    let (mut report, mut more_flows) = (BooleanBuilder::new(), BooleanBuilder::new());
    let (mut lag, mut encap, mut tunnel_id) = (Int64Builder::new(), text(), UInt32Builder::new());
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
        more_flows.append_value(tally.more_flows);
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
        Arc::new(more_flows.finish()),
        Arc::new(evidence.finish()),
        Arc::new(apps.finish()),
        Arc::new(traffic.finish()),
    ];
    RecordBatch::try_new(claim_schema(), arrays)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::conversations::Conversations;
    use crate::detect::{Counts, Limits, Network, Outcome};
    use crate::paths::{Flows, Paths};

    const ROLES: (Role, Role) = (Role::Original, Role::Copy);

    /// Shows a context with so much room.
    fn within(room: &Room, show: impl FnOnce(&Context<'_>)) {
        let (paths, flows, network) = (Paths::default(), Flows::new(1024), Network::default());
        show(&Context { paths: &paths, flows: &flows, window: 0, network: &network, room });
    }

    fn count(tally: &mut Tally, original: Option<Sighting>, flow: u64, context: &Context<'_>) {
        tally.count(Sighting::default(), original, ROLES, (Some(flow), Label::default()), context);
    }

    #[test]
    fn without_room_each_detector_has_its_first_claims() {
        within(&Room::new(0), |context| {
            let mut claims = Claims::default();
            for key in 0..1000_u64 {
                if let Some(tally) = claims.entry(key, context.room) {
                    count(tally, None, key, context);
                }
            }
            assert_eq!((claims.order.len(), claims.overflow()), (Claims::<u64>::RESERVED, 1000 - 64));
            // Each with what proves it.
            let all = claims.take();
            assert!(all.iter().all(|(_, tally)| tally.packets == 1 && tally.evidence.len() == 1));
            assert!(all.iter().all(|(_, tally)| tally.flows.len() == 1 && !tally.more_flows));
        });
    }

    #[test]
    fn claims_keep_within_their_room() {
        let room = Room::new(1 << 20);
        within(&room, |context| {
            let mut claims = Claims::default();
            for key in 0..100_000_u64 {
                if let Some(tally) = claims.entry(key % 10_000, context.room) {
                    count(tally, Some(Sighting::default()), key, context);
                }
            }
            let bytes: usize = claims
                .tallies
                .values()
                .map(|tally| {
                    size_of::<Tally>()
                        + tally.evidence.capacity() * size_of::<Evidence>()
                        + tally.lags.capacity() * size_of::<i64>()
                        + tally.flows.allocation_size()
                })
                .sum();
            assert!((1 << 19..1 << 20).contains(&bytes), "{bytes}");
            assert!(claims.overflow() > 0);
        });
    }

    #[test]
    fn of_flows_that_find_no_room_it_is_not_said_how_many_packets_they_have() {
        within(&Room::new(40_000), |context| {
            let mut tally = Tally::default();
            (0..10_000).for_each(|flow| count(&mut tally, Some(Sighting::default()), flow, context));
            assert!(tally.more_flows && (1000..4000).contains(&tally.flows.len()));
            let conversations = Conversations::new(*context);
            let outcome = Outcome {
                context: *context,
                counts: Counts::default(),
                limits: Limits::default(),
                conversations,
            };
            let mut claim = Claim::new("A5.forked", Kind::Copy, Severity::High, tally, context);
            claim.count_scope(Originals::Paths(&HashSet::new()), &outcome);
            assert_eq!((claim.in_scope, claim.judged, claim.tally.packets), (0, 0, 10_000));
        });
    }

    #[test]
    fn the_first_claims_of_a_detector_have_more_evidence() {
        within(&Room::new(1 << 24), |context| {
            let mut claims = Claims::default();
            for key in 0..300 {
                for flow in 0..100 {
                    count(claims.entry(key, context.room).unwrap(), None, flow, context);
                }
            }
            let all = claims.take();
            let frames = |at: usize| all[at].1.evidence.len();
            // The last place is kept for an original that comes with its copy.
            assert_eq!((frames(0), frames(255), frames(256), frames(299)), (31, 31, 7, 7));
            let mut alone = Tally::default();
            (0..100).for_each(|flow| count(&mut alone, Some(Sighting::default()), flow, context));
            assert_eq!(alone.evidence.len(), 32);
        });
    }

    #[test]
    fn what_is_replaced_gives_its_room_back() {
        let room = Room::new(200_000);
        within(&room, |context| {
            let mut claims = Claims::default();
            let add = |claims: &mut Claims<u64>, key| {
                let (tally, replaced) = claims.entry_or_replace(key, context.room);
                count(tally.unwrap(), None, key, context);
                replaced.is_some()
            };
            let first = (0..4096).find(|&key| add(&mut claims, key)).unwrap();
            assert!(first > 64 && first < 4096, "{first}");
            // However many come by: none is lost that had more than one packet, and a claim of many finds room.
            (first + 1..first + 100_000).for_each(|key| assert!(add(&mut claims, key)));
            assert!(!add(&mut claims, 0));
            assert_eq!(claims.order.len() as u64, first);
            assert!(context.room.has(1));
        });
    }
}
