//! **B1, two taps and more.** What happened to each packet between one tap and the next.
//!
//! Taps are compared as PSAMP compares sampled trajectories (RFC 5474, RFC 5475 section 6.2): a packet is known by a hash of what
//! routers do not change, and all taps judge the same packets. Its sightings are put in order by TTL, and by aligned time where
//! that is equal; each sighting knows the tap before and the tap behind it, so of three taps in a row, neighbours are compared.
//! Two seconds later ([`WAIT`]) a sighting is *settled*: what has no neighbour where others of its flow have one, is missing or new there.
//!
//! | verdict | the packet |
//! |---|---|
//! | passed | seen on both; DSCP may be rewritten, and a tunnel be around it |
//! | lost | missing downstream |
//! | inserted | downstream only, in a flow that passes both taps |
//! | modified | same flow, identification and sequence number, other content |
//! | readdressed | same payload and identification, other addresses or ports; A5 says whether that is translation |
//! | copied | seen twice downstream, not as an artefact of capturing (A1 and A5 say how) |
//! | diverted | left by another exit, or to another next hop, than the rest of its flow at the same time |
//! | capture loss | missing where the tap itself missed it |
//!
//! *Sees*: strong ids, of flows of which at least three packets are on both taps, while both taps captured.
//! *Cannot see*: flows that are on one tap only (asymmetric paths, or all of it dropped: out of scope, not lost); weak packets; changes beyond the
//! first 96 bytes that leave the transport checksum as it is; packets that are fragmented between the taps (recognised, and not judged);
//! TTLs that are raised on the way look as if the packets went the other way.
//! *Guards*: capture loss is told by holes in the sequence numbers of a TCP flow (or the identifications of a flow numbered in
//! sequence, or of all that a host sends) that the other tap fills, by many packets in a row that only one tap has, by times at which
//! one in ten packets for others is new as well, and by the tap's own count of dropped frames. Behind address translation, only
//! packets known by their payload are judged. Group addresses are left out.
//! *Thresholds*: `B1.lost` from 10 packets and 1 % on (the lower end of the Wilson interval at z = 3.29), three times what the rest
//! of that pair loses; `B1.inserted` from 3 on, either where the tap before saw what belongs in their place and missed nothing, or
//! where they are too many for one destination to be what it missed; `B1.modified` and `B1.diverted` from 3 on. Too many is what has
//! a chance below 1 in 1000, over all destinations together. None is measured: they are this module's own.
//! ATT&CK: T1557 (Adversary-in-the-Middle), T1659 (Content Injection).

pub(super) mod align;
mod bursts;
mod clock;
mod gaps;
pub(super) mod judge;
mod table;

pub use table::compared_schema;

use hashbrown::HashMap;

use self::bursts::Bursts;
use self::clock::{Clock, Way};
use self::gaps::Gaps;
use serde::{Deserialize, Serialize};

use super::history::{MAX_SIGHTINGS, Note};
use super::mirror::is_mirror;
use super::{History, Sighting};
use crate::packets::Packet;
use crate::paths::{Flow, Flows, Path, Paths};
use crate::wire::ip::Addr;

/// How long a packet may take from tap to tap, clocks that are not aligned included, in nanoseconds.
const WAIT: i64 = 2_000_000_000;
/// Near the ends of what a tap captured, its neighbours may be missing: so long at the least and at the most, in nanoseconds.
const EDGE: (i64, i64) = (20_000_000, 1_000_000_000);
/// A second sighting on one tap is an artefact of capturing within this, in nanoseconds (as in A5).
const ARTEFACT: i64 = 10_000_000;
/// Taps beyond this many are not compared.
const MAX_TAPS: u16 = 250;
/// Packets without a neighbour that are kept for a closer look.
const MAX_STRAYS: usize = 1 << 16;
/// Hosts whose numbering is followed.
const MAX_HOSTS: usize = 1 << 15;
/// Of a flow that was on one tap only so far, so many are kept.
const MAX_ALONE: u32 = 16;
/// So many new packets in a row, of more than one flow, are a hole in what the tap before captured.
const HOLE: usize = 8;

// What was found out of a sighting.
/// It can be told whether others saw it too.
const JUDGEABLE: u8 = 1;
/// The same packet was on this tap before.
const AGAIN: u8 = 2;
/// It was found on another tap by its payload.
const REWRITTEN: u8 = 4;
/// It has no payload id: a fragment, or cut short.
const PARTIAL: u8 = 8;
/// It was settled without its neighbour downstream.
const MISSING: u8 = 16;
/// It was settled without its neighbour upstream.
const NEW: u8 = 32;
/// It was settled when nothing of its flow was on another tap.
const ALONE: u8 = 64;
/// When it came, there was a hole in its flow on the tap before where it belongs.
const MISSED: u8 = 128;

/// When a tap captured, by aligned time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Span {
    first: i64,
    last: i64,
    stream: usize,
    ended: bool,
}

/// The tap that most packets of a flow were on next or before: by majority vote (Boyer and Moore).
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Mate {
    /// One more than its number; 0 for none.
    tap: u8,
    votes: u32,
    /// A row of the same flow there.
    row: u32,
}

impl Mate {
    #[inline]
    fn vote(&mut self, tap: u8, row: u32) {
        if self.tap == tap {
            self.votes = self.votes.saturating_add(1);
            self.row = row;
        } else if self.votes == 0 {
            *self = Self { tap, votes: 1, row };
        } else {
            self.votes -= 1;
        }
    }

    fn tap(self) -> Option<u16> {
        u16::from(self.tap).checked_sub(1)
    }
}

/// What was counted of a row of the flow table.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Row {
    next: Mate,
    prev: Mate,
    /// Settled, and seen downstream.
    passed: u32,
    /// Of those, with other addresses.
    readdressed: u32,
    /// Settled, and seen upstream.
    arrived: u32,
    missing: u32,
    new: u32,
    /// Missing on the next tap, but seen on another.
    elsewhere: u32,
    /// Missing, but behind address translation and without a payload to know it by.
    unknowable: u32,
    /// The tap where those were seen, and one more than its number.
    other: u8,
    alone: u32,
    /// Second sightings that no artefact of capturing explains.
    copied: u32,
    /// Second sightings.
    again: u32,
    /// Matched by payload.
    rewritten: u32,
    gaps: Gaps,
}

/// A sighting without its neighbour.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Stray {
    sighting: Sighting,
    note: Note,
    /// The other tap missed it: a hole in its flow is filled by this packet.
    missed: bool,
    /// The other tap saw what is at its place in its flow.
    contradicted: bool,
}

/// What passed from one tap to another.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Passage {
    delays: Sample,
    /// By how much the TTL fell: -1 and less, 0, 1, …, 14 and more.
    falls: [u64; 16],
    /// DSCP or ECN was rewritten.
    remarked: u64,
}

/// Times and differences, every so many-th.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sample {
    values: Vec<(i64, i64)>,
    every: u32,
    skipped: u32,
}

impl Sample {
    const MAX: usize = 2048;

    #[inline]
    fn add(&mut self, value: (i64, i64)) {
        if self.skipped < self.every {
            self.skipped += 1;
            return;
        }
        self.skipped = 0;
        self.values.push(value);
        if self.values.len() == Self::MAX {
            let mut keep = false;
            self.values.retain(|_| {
                keep = !keep;
                keep
            });
            self.every = self.every * 2 + 1;
        }
    }
}

/// From one tap to another, and the class of traffic.
type Group = (u16, u16, u8);

/// A packet that is taken, for taps to be compared.
pub(super) struct Now<'a> {
    pub packet: Packet<'a>,
    pub sighting: Sighting,
    pub tap: u16,
    pub stream: usize,
    /// What was added to its time.
    pub shift: i64,
    /// Whether it was remembered, and whether by its `packet_id`.
    pub kept: bool,
    pub by_packet: bool,
    pub earlier: &'a [Sighting],
    pub numbers: &'a [u32],
    pub same_payload: Option<(Sighting, u32)>,
}

/// Where packets are looked up.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub flows: &'a Flows,
    pub paths: &'a Paths,
}

/// Two sightings of a packet, and where they are noted.
#[derive(Clone, Copy)]
struct Seen {
    sighting: Sighting,
    number: u32,
    tap: u16,
}

/// All that is known of what passes between taps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Comparison {
    spans: Vec<Option<Span>>,
    rows: Vec<Row>,
    clocks: HashMap<(u16, u16), Clock>,
    passages: HashMap<Group, Passage>,
    strays: HashMap<(u16, u64), Stray>,
    /// Strays that found no room.
    overflow: u64,
    /// The longest way from tap to tap, as far as it counts.
    slowest: i64,
    /// New packets in a row on each tap.
    runs: Vec<Run>,
    /// How the packets of each host are numbered, on each tap.
    hosts: HashMap<(u16, Addr), Gaps>,
    /// When many packets were new on each tap.
    bursts: Vec<Bursts>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Run {
    strays: Vec<(u16, u64)>,
    flow: u32,
    /// Whether there are packets of more than one row.
    mixed: bool,
}

impl Comparison {
    /// Takes note which streams go on; the others have ended.
    pub fn go_on(&mut self, is_running: impl Fn(usize) -> bool) {
        for span in self.spans.iter_mut().flatten() {
            span.ended = !is_running(span.stream);
        }
    }

    /// Takes note of a packet that was just remembered. Of a sighting of it on another tap, returns the number of the stream, the time by
    /// that tap's own clock, and the TTL.
    #[inline]
    pub fn observe(
        &mut self,
        now: &Now<'_>,
        history: &mut History,
        known: Known<'_>,
    ) -> Option<(usize, (i64, u8))> {
        let found = self.take(now, history, known);
        let there =
            found.and_then(|seen| Some((seen.tap, (history.noted(seen.number)?.1.raw, seen.sighting.ttl))));
        while let Some(number) = history.settle(now.sighting.ts.saturating_sub(WAIT)) {
            self.settle(number, history, known);
        }
        let (tap, when) = there?;
        Some((self.span(tap)?.stream, when))
    }

    fn span(&self, tap: u16) -> Option<&Span> {
        self.spans.get(usize::from(tap))?.as_ref()
    }

    #[inline]
    fn row(&mut self, number: u32) -> Option<&mut Row> {
        let number = number as usize;
        if self.rows.len() <= number {
            self.rows.resize(number + 1, Row::default());
        }
        self.rows.get_mut(number)
    }

    fn take(&mut self, now: &Now<'_>, history: &mut History, known: Known<'_>) -> Option<Seen> {
        let Now { packet, sighting, tap, .. } = *now;
        if tap >= MAX_TAPS {
            return None;
        }
        let at = usize::from(tap);
        if self.spans.len() <= at {
            self.spans.resize(at + 1, None);
            self.runs.resize(at + 1, Run::default());
            self.bursts.resize(at + 1, Bursts::default());
        }
        if let Some(slot) = self.spans.get_mut(at) {
            let ts = sighting.ts;
            let span = slot.get_or_insert(Span { first: ts, last: ts, stream: now.stream, ended: false });
            (span.first, span.last) = (span.first.min(ts), span.last.max(ts));
        }
        let len = packet.payload_len().unwrap_or_default();
        let seq = packet.tcp_seq();
        if let Some(row) = self.row(sighting.flow) {
            match (seq, packet.protocol()) {
                (Some(seq), _) => row.gaps.segment(seq, len),
                // Of TCP, a later fragment.
                (None, Some(6)) => {}
                (None, _) => row.gaps.numbered(sighting.ip_id as u16),
            }
        }
        if !now.kept {
            return None;
        }
        let path = *known.paths.get(sighting.path);
        let partial = packet.payload_id().is_none() && len > 0;
        let judgeable = now.by_packet && !is_mirror(path.encap) && !is_group(packet, &path);
        let mut note = Note {
            raw: sighting.ts.saturating_sub(now.shift),
            seq: seq.unwrap_or_default(),
            head: packet.payload_head().map_or(0, |head| head as u32 | 1),
            len: len.min(u32::from(u16::MAX)) as u16,
            tos: packet.tos().unwrap_or_default(),
            flags: if judgeable { JUDGEABLE } else { 0 } | if partial { PARTIAL } else { 0 },
            ..Note::default()
        };
        let tap_of = |other: &Sighting| known.paths.get(other.path).tap;
        let here = now.earlier.iter().find(|other| tap_of(other) == tap);
        if let Some(src) =
            packet.src().filter(|_| sighting.ip_id != 0 && here.is_none() && path.encap.is_empty())
        {
            let place = (tap, src);
            if self.hosts.len() < MAX_HOSTS || self.hosts.contains_key(&place) {
                self.hosts.entry(place).or_default().numbered(sighting.ip_id as u16);
            }
        }
        if let Some(before) = here
            && judgeable
        {
            note.flags |= AGAIN;
            let copied = is_copy(&path, sighting, known.paths.get(before.path), *before);
            if let Some(row) = self.row(sighting.flow) {
                row.again = row.again.saturating_add(1);
                row.copied = row.copied.saturating_add(copied.into());
            }
        }
        let number = history.annotate(note);
        if note.flags & (JUDGEABLE | AGAIN) != JUDGEABLE {
            return None;
        }
        let mine = Seen { sighting, number, tap };
        let found = if let Some((other, number)) = now.same_payload
            && now.earlier.is_empty()
        {
            let theirs = Seen { sighting: other, number, tap: tap_of(&other) };
            self.rewritten(packet, theirs, mine, history, known)
        } else {
            self.place(mine, now.earlier.iter().zip(now.numbers), history, known)
        };
        // Of a fast flow, holes are soon forgotten.
        if found.is_none()
            && let Some(prev) = self.rows.get(sighting.flow as usize).map(|row| row.prev)
            && prev.tap != 0
            && self.gap(prev.row, sighting, &note, known).0
            && let Some((_, note)) = history.noted(number)
        {
            note.flags |= MISSED;
        }
        found
    }

    /// Of a packet that a row of its flow on another tap does not have: whether there is a hole where it belongs, and whether there
    /// is none, though the flow went on.
    fn gap(&self, row: u32, sighting: Sighting, note: &Note, known: Known<'_>) -> (bool, bool) {
        let (Some(Row { gaps, .. }), Some(flow)) = (self.rows.get(row as usize), known.flows.get(row)) else {
            return (false, false);
        };
        if flow.key().protocol == Some(6) {
            return gaps.of_segment(note.seq, note.len.into());
        }
        let id = sighting.ip_id as u16;
        let tap = known.paths.get(flow.path).tap;
        let host = flow.key().src.and_then(|src| self.hosts.get(&(tap, src)));
        match (gaps.of_number(id), host.map_or((false, false), |gaps| gaps.of_number(id))) {
            ((false, false), by_host) => by_host,
            (by_flow, _) => by_flow,
        }
    }

    /// Finds the place of a sighting between those of its packet on other taps.
    fn place<'a>(
        &mut self,
        mine: Seen,
        others: impl Iterator<Item = (&'a Sighting, &'a u32)> + Clone,
        history: &mut History,
        known: Known<'_>,
    ) -> Option<Seen> {
        let now = mine.sighting;
        let elsewhere = others.filter_map(|(&sighting, &number)| {
            let path = known.paths.get(sighting.path);
            let near = sighting.ts.saturating_sub(now.ts).saturating_abs() <= WAIT.saturating_mul(5) / 2;
            let other = Seen { sighting, number, tap: path.tap };
            (path.tap != mine.tap && path.tap < MAX_TAPS && near && !is_mirror(path.encap)).then_some(other)
        });
        // TTL first, for no clock is as sure.
        let is_before = |other: &Seen| {
            let other = other.sighting;
            other.ttl > now.ttl || (other.ttl == now.ttl && other.ts <= now.ts)
        };
        let distance = |other: &Seen| {
            let other = other.sighting;
            (other.ttl.abs_diff(now.ttl), other.ts.saturating_sub(now.ts).saturating_abs())
        };
        let before = elsewhere.clone().filter(is_before).min_by_key(distance);
        let behind = elsewhere.filter(|other| !is_before(other)).min_by_key(distance);
        // A late one that lies between two that met takes its place.
        let between = before.is_some() && behind.is_some();
        if let Some(before) = before {
            self.join(before, mine, (0, between), history, known);
        }
        if let Some(behind) = behind {
            self.join(mine, behind, (0, between), history, known);
        }
        before.or(behind)
    }

    /// A packet that has another's payload and number, but not its addresses.
    fn rewritten(
        &mut self,
        packet: Packet<'_>,
        theirs: Seen,
        mine: Seen,
        history: &mut History,
        known: Known<'_>,
    ) -> Option<Seen> {
        let (other, now) = (theirs.sighting, mine.sighting);
        let before = known.flows.get(other.flow)?;
        let fall = other.ttl.abs_diff(now.ttl);
        let same_number = other.ip_id == now.ip_id;
        let same_protocol = before.key().protocol == packet.protocol();
        let (_, note) = history.noted(theirs.number)?;
        let is_free = note.flags & (JUDGEABLE | AGAIN) == JUDGEABLE && note.next == 0 && note.prev == 0;
        if theirs.tap == mine.tap
            || theirs.tap >= MAX_TAPS
            || fall > 3
            || !same_number
            || !same_protocol
            || !is_free
            || before.flow_id() == packet.flow_id()
        {
            return None;
        }
        let first = other.ttl > now.ttl || (other.ttl == now.ttl && other.ts <= now.ts);
        let (from, to) = if first { (theirs, mine) } else { (mine, theirs) };
        self.join(from, to, (REWRITTEN, false), history, known);
        Some(theirs)
    }

    /// Notes that a packet went from one tap to the next; `between` if what was noted so far had left one of them out.
    fn join(
        &mut self,
        from: Seen,
        to: Seen,
        (flags, between): (u8, bool),
        history: &mut History,
        known: Known<'_>,
    ) {
        let (from_tap, to_tap) = (from.tap as u8 + 1, to.tap as u8 + 1);
        let Some((_, note)) = history.noted(from.number) else { return };
        if note.flags & AGAIN != 0 {
            return;
        }
        let start = *note;
        let is_first = start.next == 0 || between;
        note.next = if is_first { to_tap } else { note.next };
        note.flags = note.flags & !(MISSING | ALONE) | flags;
        let Some((_, note)) = history.noted(to.number) else { return };
        let end = *note;
        note.prev = if note.prev == 0 || between { from_tap } else { note.prev };
        note.flags = note.flags & !(NEW | ALONE) | flags;
        self.forgive(from, start.flags & (MISSING | ALONE));
        self.forgive(to, end.flags & (NEW | ALONE));
        if !is_first {
            // The same packet on two taps behind this one.
            if let Some(row) = self.row(from.sighting.flow) {
                row.copied = row.copied.saturating_add(1);
            }
            return;
        }
        let rewritten = u32::from(flags & REWRITTEN != 0);
        if let Some(row) = self.row(from.sighting.flow) {
            row.next.vote(to_tap, to.sighting.flow);
            row.rewritten = row.rewritten.saturating_add(rewritten);
        }
        if let Some(row) = self.row(to.sighting.flow) {
            row.prev.vote(from_tap, from.sighting.flow);
            row.rewritten = row.rewritten.saturating_add(rewritten);
        }
        self.passed((from, start), (to, end), known);
    }

    /// Takes back that a sighting was settled without a neighbour.
    fn forgive(&mut self, seen: Seen, flags: u8) {
        if flags == 0 {
            return;
        }
        self.strays.remove(&(seen.tap, seen.sighting.frame));
        if let Some(row) = self.row(seen.sighting.flow) {
            if flags & MISSING != 0 {
                row.missing = row.missing.saturating_sub(1);
                row.passed += 1;
            }
            if flags & NEW != 0 {
                row.new = row.new.saturating_sub(1);
                row.arrived += 1;
            }
            if flags & ALONE != 0 {
                row.alone = row.alone.saturating_sub(1);
            }
        }
    }

    /// Measures a packet on its way.
    fn passed(&mut self, (from, start): (Seen, Note), (to, end): (Seen, Note), known: Known<'_>) {
        let apart = to.sighting.ts.saturating_sub(from.sighting.ts).saturating_abs();
        self.slowest = self.slowest.max(apart.min(EDGE.1));
        let fall = i16::from(from.sighting.ttl) - i16::from(to.sighting.ttl);
        let forth = from.tap < to.tap;
        let (low, high) = if forth { (from, to) } else { (to, from) };
        let (here, there) = if forth { (start.raw, end.raw) } else { (end.raw, start.raw) };
        let later = there.saturating_sub(here);
        let clock = self.clocks.entry((low.tap, high.tap)).or_default();
        let way = if fall == 0 {
            let path = known.paths.get(low.sighting.path);
            clock.way_by_mac(path.eth_src, path.eth_dst)
        } else if forth {
            Way::There
        } else {
            Way::Back
        };
        clock.add(here, later, way);
        let traffic = known.flows.get(from.sighting.flow).map_or(0, |flow| flow.key().label.traffic() as u8);
        let passage = self.passages.entry((from.tap, to.tap, traffic)).or_default();
        passage.delays.add((here, later));
        passage.remarked += u64::from(start.tos != end.tos);
        if let Some(count) = passage.falls.get_mut((fall + 1).clamp(0, 15) as usize) {
            *count += 1;
        }
    }

    /// How close to the ends of a capture packets are not judged.
    fn edge(&self) -> i64 {
        self.slowest.saturating_mul(8).clamp(EDGE.0, EDGE.1)
    }

    /// Whether a tap captured around this time.
    fn covers(&self, tap: u16, ts: i64) -> bool {
        let edge = self.edge();
        self.span(tap).is_some_and(|span| {
            span.first.saturating_add(edge) <= ts && (!span.ended || ts.saturating_add(edge) <= span.last)
        })
    }

    /// Says what became of a sighting, long enough after it.
    fn settle(&mut self, number: u32, history: &mut History, known: Known<'_>) {
        let Some((sighting, &mut note)) = history.noted(number) else { return };
        if note.flags & (JUDGEABLE | AGAIN) != JUDGEABLE {
            return;
        }
        let tap = known.paths.get(sighting.path).tap;
        let mine = Seen { sighting, number, tap };
        let mut note = note;
        if note.next == 0 && note.prev == 0 {
            if !self.is_found(mine, history, known) {
                return;
            }
            note = history.noted(number).map_or(note, |(_, note)| *note);
        }
        let Some(row) = self.row(sighting.flow) else { return };
        let (mut next, mut prev, rewritten) = (row.next, row.prev, row.rewritten);
        let is_alone = next.tap == 0 && prev.tap == 0;
        // On one link that two taps see, packets come first to one or to the other.
        if next.tap == prev.tap {
            if next.votes < prev.votes {
                next = Mate::default();
            } else {
                prev = Mate::default();
            }
        }
        // Behind address translation, a packet is known by its payload only.
        let unknowable = rewritten > 0 && sighting.payload_id == 0 && note.flags & REWRITTEN == 0;
        let mut flags = 0;
        if let Some(to) = next.tap()
            && self.covers(to, sighting.ts)
            && let Some(row) = self.row(sighting.flow)
        {
            if note.next == next.tap || note.prev == next.tap {
                row.passed = row.passed.saturating_add(1);
                row.readdressed = row.readdressed.saturating_add((note.flags & REWRITTEN != 0).into());
            } else if note.next != 0 {
                row.elsewhere = row.elsewhere.saturating_add(1);
                row.other = note.next;
            } else if unknowable {
                row.unknowable = row.unknowable.saturating_add(1);
            } else {
                row.missing = row.missing.saturating_add(1);
                flags |= MISSING;
                self.keep(mine, note, (MISSING, next.row), known);
            }
        }
        if let Some(from) = prev.tap()
            && self.covers(from, sighting.ts)
            && let Some(row) = self.row(sighting.flow)
        {
            if note.prev != 0 || note.next == prev.tap {
                row.arrived = row.arrived.saturating_add(1);
                self.burst(tap, sighting.ts, false);
                if let Some(run) = self.runs.get_mut(usize::from(tap)) {
                    *run = Run::default();
                }
            } else if !unknowable {
                row.new = row.new.saturating_add(1);
                flags |= NEW;
                self.burst(tap, sighting.ts, true);
                self.keep(mine, note, (NEW, prev.row), known);
                self.run(mine);
            }
        }
        if is_alone && self.all_cover(tap, sighting.ts) {
            let Some(row) = self.row(sighting.flow) else { return };
            row.alone = row.alone.saturating_add(1);
            flags |= ALONE;
            if row.alone <= MAX_ALONE {
                self.keep(mine, note, (ALONE, u32::MAX), known);
            }
        }
        if let Some((_, note)) = history.noted(number) {
            note.flags |= flags;
        }
    }

    /// Whether every tap captured around this time.
    fn all_cover(&self, tap: u16, ts: i64) -> bool {
        let mut others =
            (0..self.spans.len() as u16).filter(|&other| other != tap && self.span(other).is_some());
        others.clone().next().is_some() && others.all(|other| self.covers(other, ts))
    }

    /// Whether a sighting that met no other can still be found by its id, so that another would have met it. Where it was
    /// the other that could not be found, they meet now.
    fn is_found(&mut self, mine: Seen, history: &mut History, known: Known<'_>) -> bool {
        let hash = history.hash(mine.sighting.packet_id);
        if !history.keeps(hash) {
            return false;
        }
        let mut found = [Sighting::default(); MAX_SIGHTINGS];
        let mut numbers = [0; MAX_SIGHTINGS];
        let ts = mine.sighting.ts;
        let n = history.same_packet(mine.sighting.packet_id, hash, ts, &mut found, &mut numbers);
        let found = found.get(..n).unwrap_or_default();
        self.place(mine, found.iter().zip(&numbers), history, known);
        numbers.get(..n).is_some_and(|numbers| numbers.contains(&mine.number))
    }

    /// Keeps a sighting without its neighbour; `mate` is a row of its flow on the other tap.
    fn keep(&mut self, mine: Seen, note: Note, (kind, mate): (u8, u32), known: Known<'_>) {
        if self.strays.len() >= MAX_STRAYS {
            self.overflow += 1;
            return;
        }
        let (missed, contradicted) = self.gap(mate, mine.sighting, &note, known);
        let missed = missed || (kind == NEW && note.flags & MISSED != 0);
        let note = Note { flags: note.flags | kind, ..note };
        let stray = Stray { sighting: mine.sighting, note, missed, contradicted };
        let kept = self.strays.entry((mine.tap, mine.sighting.frame)).or_insert(stray);
        kept.note.flags |= kind;
    }

    fn burst(&mut self, tap: u16, ts: i64, is_new: bool) {
        if let Some(bursts) = self.bursts.get_mut(usize::from(tap)) {
            bursts.add(ts, is_new);
        }
    }

    /// Takes note that a packet on a tap is new: many of them in a row are what the tap before missed.
    fn run(&mut self, mine: Seen) {
        let Some(run) = self.runs.get_mut(usize::from(mine.tap)) else { return };
        if !run.strays.is_empty() && run.flow != mine.sighting.flow {
            run.mixed = true;
        }
        run.flow = mine.sighting.flow;
        // Those that were found to be a hole need not be looked at again, but that they were there is remembered.
        run.strays.push((mine.tap, mine.sighting.frame));
        if run.mixed && run.strays.len() >= HOLE {
            for key in run.strays.drain(..run.strays.len().saturating_sub(HOLE - 1)) {
                if let Some(stray) = self.strays.get_mut(&key) {
                    stray.missed = true;
                }
            }
            for key in &run.strays {
                if let Some(stray) = self.strays.get_mut(key) {
                    stray.missed = true;
                }
            }
        } else if run.strays.len() > 64 {
            run.strays.clear();
        }
    }

    /// Settles all that is left.
    pub fn settle_all(&mut self, history: &mut History, known: Known<'_>) {
        self.go_on(|_| false);
        while let Some(number) = history.settle(i64::MAX) {
            self.settle(number, history, known);
        }
    }
}

/// Whether a second sighting on a tap is of a copy: sent to another next hop, in a tunnel, or late.
fn is_copy(path: &Path, now: Sighting, before: &Path, earlier: Sighting) -> bool {
    let gap = now.ts.saturating_sub(earlier.ts).saturating_abs();
    let same_sender = path.eth_src == before.eth_src && path.eth_src.is_some();
    let forked = same_sender && (path.eth_dst != before.eth_dst || path.mpls != before.mpls);
    forked || !path.same_tunnel(before) || (gap > ARTEFACT && now.ip_id != 0)
}

/// Whether a packet goes to a group.
fn is_group(packet: Packet<'_>, path: &Path) -> bool {
    let group_mac = path.eth_dst.and_then(|mac| mac.first().copied()).is_some_and(|first| first & 1 == 1);
    let group_address = packet.dst().is_some_and(|addr| match addr {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, first, ..] => first >= 224,
        [first, ..] => first == 0xff,
    });
    group_mac || group_address
}

/// A direction of a conversation, however it was seen.
fn direction(flow: &Flow) -> crate::paths::FlowKey {
    crate::paths::FlowKey { path: 0, label: crate::classify::Label::default(), ..flow.key() }
}
