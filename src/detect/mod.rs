//! Packets → claims of copying and diversion.
//!
//! [`examine`] reads all taps in order of time, once. It keeps a [`History`] of recent packets, so that each packet
//! comes with its earlier sightings, and shows it to every [`Detector`]. A detector is one file here and one line in
//! [`detectors`]. What it finds are [`Claim`]s: these packets, that normally take this path, were also seen on that
//! one. Whether a claim is allowed is a matter of policy and not decided here.

mod claim;
mod duplicate;
mod encapsulated;
mod examine;
mod history;
mod mirror;

pub use claim::{Claim, Claims, Evidence, Kind, Role, Severity, claim_schema};
pub use examine::{Examination, Options, Tap, TapCounts, examine};
pub use history::{History, Sighting};

use crate::flows::{Flows, Paths};
use crate::packets::Packet;

/// A packet and what is known of it.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The packet.
    pub packet: &'a Packet,
    /// This sighting of it.
    pub sighting: Sighting,
    /// Earlier sightings with the same `packet_id`, latest first; empty if that is weak or null.
    pub earlier: &'a [Sighting],
    /// The latest earlier sighting with the same `payload_id` but another `packet_id`; only looked up when `earlier`
    /// is empty and the `payload_id` is strong.
    pub same_payload: Option<Sighting>,
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
}

/// Finds one kind of thing.
///
/// A detector's file says what it sees, what it cannot see, its guards and its thresholds with their source.
pub trait Detector: Send {
    /// Its id in the catalogue, such as `A5`.
    fn id(&self) -> &'static str;

    /// Takes note of a packet. Packets come in order of time as far as the captures are.
    fn observe(&mut self, seen: &Seen<'_>, context: &Context<'_>);

    /// What it found, and how much it could judge.
    fn finish(&mut self, context: &Context<'_>) -> (Vec<Claim>, Scope);
}

/// Every detector, in the order of the catalogue.
pub fn detectors() -> Vec<Box<dyn Detector>> {
    vec![
        Box::new(encapsulated::EncapsulatedSibling::default()),
        Box::new(mirror::MirrorEncapsulation::default()),
        Box::new(duplicate::Duplicate::default()),
    ]
}
