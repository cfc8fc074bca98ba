//! Packets → claims of copying and diversion.
//!
//! [`examine`] reads all taps in order of time, once. It keeps a [`History`] of recent packets, so that each packet
//! comes with its earlier sightings, and shows it to every [`Detector`]. A detector is one file here and one line in
//! [`detectors`]. What it finds are [`Claim`]s: these packets, that normally take this path, were also seen on that
//! one. Whether a claim is allowed is a matter of policy and not decided here.

mod claim;
mod config_copy;
mod conversations;
mod dns_race;
mod duplicate;
mod echo;
mod encapsulated;
mod examine;
mod exfiltration;
mod first_hop;
mod history;
mod implant_knock;
mod injection;
mod intercept;
mod lags;
mod mirror;
mod mobile_peers;
mod neighbor_spoof;
mod place;
mod redirect;
mod reset;
mod rogue_dhcp;
mod room;
mod sampled;
mod shape;
mod source_route;
mod state;
mod streams;
mod taps;
mod trigger;
mod web_cache;

pub use claim::{Claim, Claims, Evidence, Kind, Role, Severity, claim_schema};
pub use examine::{Examination, Options, Tap, TapCounts, examine, examine_with_drops};
pub use history::{History, Limits, Sighting};
pub use room::Room;
pub use state::{SavedScan, SavedState, StateError, known};
pub use taps::compared_schema;

use arrow_array::temporal_conversions::timestamp_ns_to_datetime;
use serde::{Deserialize, Serialize};

use crate::classify::Label;
use crate::messages::{Kinds, View};
use crate::packets::address::Prefixes;
use crate::packets::{Packet, Packets, ScanOptions};
use crate::paths::{Flow, Flows, Paths};
use crate::voice::Voice;
use conversations::Conversations;

/// A packet and what is known of it.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The packet.
    pub packet: Packet<'a>,
    /// This sighting of it.
    pub sighting: Sighting,
    /// Earlier sightings with the same `packet_id`, latest first; empty if that is weak or null, or not in the sample.
    pub earlier: &'a [Sighting],
    /// The latest earlier sighting with the same `payload_id` but another `packet_id`; only looked up when there is no
    /// sighting with the same one, and the `payload_id` is strong.
    pub same_payload: Option<Sighting>,
    /// Of TCP, what its connection is known by.
    pub(crate) stream: Option<streams::Keys>,
}

impl Seen<'_> {
    /// The conversation that a copy of this packet belongs to, and what it is. Where an address was rewritten, it is the conversation of
    /// the original.
    fn traffic(&self, original: Option<Sighting>, context: &Context<'_>) -> (Option<u64>, Label) {
        let flow = original.and_then(|original| context.flows.get(original.flow)).and_then(Flow::flow_id);
        (flow.or(self.packet.flow_id()), self.packet.label())
    }

    /// Whether the same packet was seen on the same tap just before: a mirror port may show both its coming and its going. Such copies
    /// come within 10 ms (A5); what is equal later was sent again.
    fn was_here(&self, context: &Context<'_>) -> bool {
        let tap = |sighting: &Sighting| context.paths.get(sighting.path).tap;
        let is_near = |earlier: &Sighting| self.sighting.ts.saturating_sub(earlier.ts) <= 10_000_000;
        self.earlier.iter().any(|earlier| is_near(earlier) && tap(earlier) == tap(&self.sighting))
    }
}

/// The median; none of nothing.
fn median(values: &mut [i64]) -> Option<i64> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable(middle).1)
}

/// What detectors can look things up in.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// All paths so far.
    pub paths: &'a Paths,
    /// All flows so far.
    pub flows: &'a Flows,
    /// How far apart two sightings of a packet may lie, in nanoseconds.
    pub window: i64,
    /// What the network says of itself.
    pub network: &'a Network,
    /// What claims have to share.
    pub room: &'a Room,
}

/// What is known of the network beforehand; empty where nothing is.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Addresses of its routers, switches and other devices.
    pub infrastructure: Prefixes,
    /// Addresses that hosts send to, to reach others.
    pub gateways: Prefixes,
}

/// What there is when all packets have been seen.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// What was seen.
    pub context: Context<'a>,
    /// How many packets of which kind.
    pub counts: Counts,
    /// What the history could not keep.
    pub limits: Limits,
    conversations: Conversations<'a>,
}

/// How many packets there were of the kinds that detectors look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All.
    pub packets: u64,
    /// Those whose headers could be read to the end; of whole frames, as far as into an encapsulation suffices.
    pub read: u64,
    /// Those with an innermost IP packet.
    pub ip: u64,
    /// Those strong enough to be told from others.
    pub strong: u64,
    /// Those that were compared with others: strong, and in the sample.
    pub compared: u64,
    /// Those of which the capture kept too little to tell what kind they are.
    pub hidden: u64,
}

/// How much a detector could judge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Packets of the kind it looks at.
    pub in_scope: u64,
    /// Those that it could judge.
    pub judged: u64,
    /// Why it could not judge the others.
    pub reason: Option<String>,
    /// What it would have claimed, but found no room: it may have missed something.
    pub lost: u64,
}

impl Scope {
    fn new(in_scope: u64, judged: u64, reasons: impl IntoIterator<Item = Option<String>>) -> Self {
        let reasons: Vec<String> = reasons.into_iter().flatten().collect();
        Self { in_scope, judged, reason: (!reasons.is_empty()).then(|| reasons.join("; ")), lost: 0 }
    }

    /// The scope of a detector that looks at packets of some kinds: those that were cut before their kind may be of it, too.
    fn of_kinds(
        outcome: &Outcome<'_>,
        in_scope: u64,
        judged: u64,
        reasons: impl IntoIterator<Item = Option<String>>,
    ) -> Self {
        let hidden = outcome.counts.hidden;
        let cut = (hidden > 0).then(|| format!("{hidden} packets that were cut before what they carry"));
        Self::new(in_scope + hidden, judged, reasons.into_iter().chain([cut]))
    }

    /// The scope of a detector that compares packets, and what else it has to say.
    fn of_compared(outcome: &Outcome<'_>, others: impl IntoIterator<Item = Option<String>>) -> Self {
        let Outcome { counts, limits, .. } = outcome;
        let sampled = limits.first.map(|(ts, one_in)| {
            let end = if one_in < limits.one_in {
                format!(", and in the end 1 in {}", limits.one_in)
            } else {
                String::new()
            };
            format!(
                "memory for recent packets was reached at {}: 1 packet in {one_in} was compared from then on{end}",
                time(ts)
            )
        });
        let displaced = (limits.displaced > 0)
            .then(|| format!("packets whose place in memory others took too early: {}", limits.displaced));
        let weak = (counts.strong < counts.ip)
            .then(|| "packets too short, or captured too short, to be told from others".to_owned());
        let judged = counts.compared.saturating_sub(limits.displaced);
        Self::new(counts.ip, judged, [sampled, displaced, weak].into_iter().chain(others))
    }
}

/// A time as RFC 3339 has it.
fn time(ts: i64) -> String {
    timestamp_ns_to_datetime(ts).map_or_else(|| format!("{ts} ns"), |time| format!("{time:?}Z"))
}

/// Which packets a detector is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// None but those with messages.
    None,
    /// Those that were seen before, by themselves or by their payload, or that are encapsulated.
    Repeated,
    /// All.
    All,
}

/// Finds one kind of thing.
///
/// A detector's file says what it sees, what it cannot see, its guards and its thresholds with their source.
pub(crate) trait Detector: Send {
    /// Its id in the catalogue, such as `A5`.
    fn id(&self) -> &'static str;

    /// Which packets it wants to see.
    fn packets(&self) -> Wanted {
        Wanted::Repeated
    }

    /// The side tables whose messages it wants to see.
    fn tables(&self) -> Kinds {
        Kinds::default()
    }

    /// Asks for the memory where it looks up what it knows of a TCP connection, of which it is shown a packet soon. For those
    /// that want all packets.
    fn prefetch_index(&self, _packet: Packet<'_>, _tap: u16, _stream: streams::Keys) {}

    /// Asks for what it knows of the connection, once the index is at hand.
    fn prefetch(&self, _packet: Packet<'_>, _tap: u16, _stream: streams::Keys) {}

    /// Takes note of a packet. Packets come in order of time as far as the captures are.
    fn observe(&mut self, _seen: &Seen<'_>, _context: &Context<'_>) {}

    /// Takes note of a message, which is a row of `messages`, and of the packet that it was in; a packet is observed before its
    /// messages are read.
    fn read(&mut self, _messages: &View<'_>, _row: usize, _seen: &Seen<'_>, _context: &Context<'_>) {}

    /// What it found, and how much it could judge.
    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope);

    /// How many copies, or whatever it looks for, found no room among its claims.
    fn lost(&self) -> u64;

    /// All that it knows, as bytes, for [`load`](Self::load) in a later run; written by `saved!`.
    fn save(&self) -> Result<Vec<u8>, postcard::Error>;

    /// Takes up what another run knew.
    fn load(&mut self, bytes: &[u8]) -> Result<(), postcard::Error>;
}

/// The methods of a [`Detector`] by which its state is saved and taken up again, and that tell what found no room in its claims.
macro_rules! saved {
    ($($claims:ident),+) => {
        fn lost(&self) -> u64 {
            [$(self.$claims.overflow()),+].iter().sum()
        }

        fn save(&self) -> Result<Vec<u8>, postcard::Error> {
            postcard::to_stdvec(self)
        }

        fn load(&mut self, bytes: &[u8]) -> Result<(), postcard::Error> {
            *self = postcard::from_bytes(bytes)?;
            Ok(())
        }
    };
}
use saved;

/// How to scan what is to be examined: with the columns and side tables that these detectors read, or all.
pub fn scan_options(only: Option<&[String]>) -> ScanOptions {
    // Checks of calls judge by what was heard, whichever detectors there are; but not when single ones are measured.
    let heard = if only.is_none() { Voice::TABLES } else { Kinds::default() };
    let tables = detectors(only).iter().fold(heard, |all, detector| all.or(detector.tables()));
    ScanOptions { columns: Packets::COLUMNS.to_vec(), tables, ..ScanOptions::default() }
}

/// Every detector, or those of these ids, in the order of the catalogue.
fn detectors(only: Option<&[String]>) -> Vec<Box<dyn Detector>> {
    let mut all: Vec<Box<dyn Detector>> = vec![
        Box::new(encapsulated::EncapsulatedSibling::default()),
        Box::new(mirror::MirrorEncapsulation::default()),
        Box::new(intercept::InterceptExport::default()),
        Box::new(duplicate::Duplicate::default()),
        Box::new(sampled::SampledExport::default()),
        Box::new(shape::EncryptedCopy::default()),
        Box::new(exfiltration::Exfiltration::default()),
        Box::new(redirect::Redirect::default()),
        Box::new(neighbor_spoof::NeighborSpoof::default()),
        Box::new(first_hop::FirstHop::default()),
        Box::new(rogue_dhcp::RogueDhcp::default()),
        Box::new(dns_race::DnsRace::default()),
        Box::new(injection::Injection::default()),
        Box::new(reset::Reset::default()),
        Box::new(source_route::SourceRoute::default()),
        Box::new(mobile_peers::MobilePeers::default()),
        Box::new(web_cache::WebCache::default()),
        Box::new(implant_knock::ImplantKnock::default()),
        Box::new(trigger::KnockAndSession::default()),
        Box::new(echo::Echo::default()),
        Box::new(config_copy::ConfigCopy::default()),
    ];
    all.retain(|detector| only.is_none_or(|only| only.iter().any(|id| id == detector.id())));
    all
}
