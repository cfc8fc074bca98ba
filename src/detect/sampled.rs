//! **A6, samples as a copy.** Telemetry that carries beginnings of packets (sFlow, IPFIX, NetFlow, PSAMP) or whole messages (HEP) to a
//! collector: harmless at one packet in a thousand, a mirror at one in one.
//!
//! *Sees*: sFlow raw headers, IPFIX elements 315 and 313 (PSAMP's too, RFC 5477), NetFlow element 104 and HEP, grouped by exporter,
//! collector and carrier. The rate is what sFlow says and, for all, what can be measured: of the packets of sampled conversations that a
//! tap saw, how many were exported.
//! *Cannot see*: the rate of IPFIX and NetFlow exporters whose traffic passes no tap; exports in TLS or DTLS; records of flows, which copy
//! no packets; NetFlow and IPFIX whose templates came before the capture.
//! *Guards*: a collector is not wrong by itself: sampled export is named (`A6.sampled`), not reported, unless the policy lists collectors
//! and this is none of them. A conversation tells the rate only if it has at least 16 packets: one is chosen because a packet of it was
//! sampled, which is the whole of a conversation of one packet.
//! *Thresholds*: `A6.full-copy` from 20 samples on, and where at least a quarter of the packets of sampled conversations was exported: at
//! one in a hundred, conversations of 16 packets and more have 1 of 16 in the mean at most. High if so measured; medium if only the
//! exporter says so (a rate of 1), or if the carrier is HEP, which copies whole messages of signalling.
//! ATT&CK: T1020.001 (Traffic Duplication).

use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::{Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Wanted, saved};
use crate::classify::App;
use crate::messages::{self, Kinds, View};
use crate::paths::Flow;
use crate::wire::ip::Addr;

const MIN_SAMPLES: u64 = 20;
/// Packets of a conversation that tell of the rate.
const MIN_PACKETS: u64 = 16;
/// Conversations whose samples are counted, over all exports.
const MAX_FLOWS: usize = 1 << 16;

/// Tap, exporter, collector, carrier.
type Key = (u16, Option<Addr>, Option<Addr>, Carrier);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Carrier {
    Sflow,
    Ipfix,
    NetFlow,
    Hep,
}

impl Carrier {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "sflow" => Self::Sflow,
            "ipfix" => Self::Ipfix,
            "netflow9" => Self::NetFlow,
            "hep" => Self::Hep,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sflow => "sFlow",
            Self::Ipfix => "IPFIX",
            Self::NetFlow => "NetFlow",
            Self::Hep => "HEP",
        }
    }
}

/// What one exporter sends to one collector.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Export {
    samples: u64,
    /// Those of which the exporter says that every packet is sampled.
    full_rate: u64,
    /// Samples of each conversation.
    flows: HashMap<u64, u64>,
    /// The last datagram: the samples in it are evidence once.
    last: Option<(u16, u64)>,
}

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SampledExport {
    claims: Claims<Key>,
    exports: HashMap<Key, Export>,
    flows: usize,
    /// Samples of conversations that found no room.
    uncounted: u64,
}

impl Detector for SampledExport {
    saved!(claims);

    fn id(&self) -> &'static str {
        "A6"
    }

    fn packets(&self) -> Wanted {
        Wanted::None
    }

    fn tables(&self) -> Kinds {
        Kinds::of(&[messages::Kind::Sample])
    }

    fn read(&mut self, messages: &View<'_>, row: usize, seen: &Seen<'_>, context: &Context<'_>) {
        let View::Sample(sample) = messages else { return };
        // The same datagram, on this tap or another.
        if !seen.earlier.is_empty() {
            return;
        }
        let Some(carrier) = sample.carrier(row).and_then(|name| Carrier::of(&name)) else { return };
        let tap = context.paths.get(seen.sighting.path).tap;
        let key = (tap, seen.packet.src(), seen.packet.dst(), carrier);
        let Some(tally) = self.claims.entry(key, context.room) else { return };
        let export = self.exports.entry(key).or_default();
        let datagram = Some((tap, seen.sighting.frame));
        if export.last != datagram {
            tally.add(seen, seen.sighting, None, (Role::Mirror, Role::Mirror), context);
            export.last = datagram;
        }
        export.samples += 1;
        export.full_rate += u64::from(sample.sampling_rate(row) == Some(1));
        if let Some(flow) = sample.sampled_flow_id(row) {
            let is_known = export.flows.contains_key(&flow);
            if is_known || self.flows < MAX_FLOWS {
                self.flows += usize::from(!is_known);
                *export.flows.entry(flow).or_default() += 1;
            } else {
                self.uncounted += 1;
            }
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let (missing, overflow) = (self.claims.missing(), self.claims.overflow());
        let seen = packets_by_flow(&outcome.context, self.exports.values());
        let (mut claims, mut unjudged) = (Vec::new(), 0);
        for (key, tally) in self.claims.take() {
            let export = self.exports.remove(&key).unwrap_or_default();
            let datagrams = tally.packets;
            let (claim, is_judged) = claim(key.3, &export, tally, &seen, &outcome.context);
            let claim = Claim { exporter: key.1, collector: key.2, ..claim };
            unjudged += if is_judged { 0 } else { datagrams };
            claims.push(claim);
        }
        let counts = outcome.counts;
        let is_sampled = |flow: &&Flow| {
            flow.key().label.app.is_some_and(|app| matches!(app, App::Sflow | App::NetFlow | App::Hep))
        };
        let cut: u64 = outcome.context.flows.iter().filter(is_sampled).map(|flow| u64::from(flow.cut)).sum();
        let reasons = [
            (cut > 0).then(|| format!("{cut} datagrams of samples of which the capture kept only a part")),
            (counts.read < counts.packets)
                .then(|| "frames whose headers could not be read to the end".into()),
            (unjudged > 0).then(|| {
                format!(
                    "{unjudged} datagrams of samples whose rate neither they nor the packets on the taps tell"
                )
            }),
            (self.uncounted > 0)
                .then(|| format!("{} samples of conversations that found no room", self.uncounted)),
            missing,
        ];
        // One export that could not be read may be a copy of all.
        let judged = if cut > 0 { 0 } else { counts.read.saturating_sub(unjudged + overflow) };
        (claims, Scope::new(counts.packets, judged, reasons))
    }
}

/// Packets that the taps saw of the conversations that were sampled: of each, those of the tap that saw most.
fn packets_by_flow<'a>(
    context: &Context<'_>,
    exports: impl Iterator<Item = &'a Export>,
) -> HashMap<u64, u64> {
    let sampled: HashSet<u64> = exports.flat_map(|export| export.flows.keys().copied()).collect();
    let mut by_tap: HashMap<(u64, u16), u64> = HashMap::new();
    if !sampled.is_empty() {
        for flow in context.flows.iter() {
            if let Some(id) = flow.flow_id().filter(|id| sampled.contains(id)) {
                *by_tap.entry((id, context.paths.get(flow.path).tap)).or_default() += flow.packets;
            }
        }
    }
    let mut most: HashMap<u64, u64> = HashMap::new();
    for ((id, _), packets) in by_tap {
        let entry = most.entry(id).or_default();
        *entry = packets.max(*entry);
    }
    most
}

/// The claim of an export, and whether its rate could be told.
fn claim(
    carrier: Carrier,
    export: &Export,
    mut tally: Tally,
    seen: &HashMap<u64, u64>,
    context: &Context<'_>,
) -> (Claim, bool) {
    let (mut sampled, mut passed) = (0, 0);
    for (id, &samples) in &export.flows {
        let packets = seen.get(id).copied().unwrap_or_default();
        if packets >= MIN_PACKETS {
            sampled += samples.min(packets);
            passed += packets;
        }
    }
    let enough = export.samples >= MIN_SAMPLES;
    let is_measured = passed >= MIN_SAMPLES;
    let is_full = is_measured && sampled >= MIN_SAMPLES && sampled * 4 >= passed;
    let says_full = export.full_rate * 2 > export.samples;
    let (detector, report, severity) = match carrier {
        Carrier::Hep if enough => ("A6.signalling-copy", true, Severity::Medium),
        _ if is_full => ("A6.full-copy", true, Severity::High),
        _ if says_full && enough => ("A6.full-copy", true, Severity::Medium),
        _ => ("A6.sampled", false, Severity::Info),
    };
    let (copies, in_scope) = if is_full { (sampled, passed) } else { (export.samples, export.samples) };
    tally.packets = copies;
    let claim = Claim::new(detector, Kind::Copy, severity, tally, context);
    let claim =
        Claim { report, detail: Some(carrier.name().to_owned()), in_scope, judged: in_scope, ..claim };
    (claim, is_measured || matches!(carrier, Carrier::Sflow | Carrier::Hep))
}
