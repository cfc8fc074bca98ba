//! **B10, TCP injection.** Two segments of one direction of a TCP connection claim the same place in the stream, differ in
//! content, and do not come from the same sender: QUANTUMINSERT, and whoever else answers in another's name.
//!
//! *Sees*: a data segment that begins at the sequence number of one of the last ten of its direction on the same tap, at most 1 s
//! apart, both with at least 20 bytes of payload, whose first 20 bytes differ; or, if those and lengths, acknowledgments and flags are equal,
//! whose first 64 bytes do. It is *injected* if the two also differ in TTL, or in their IPv4 identification by 1,000 or more.
//! Of the two, the one counts as injected whose TTL is not that of its direction's SYN, nor of most of its segments; if that does not
//! tell, the one whose identification is farther from that of the segment before; else the first, as an injector has to win the race.
//! *Cannot see*: content behind the first 20 bytes of segments of different length, overlaps that do not begin at the
//! same place, what an injector sends when the other segment never comes by, and
//! injectors on the path, which hold the other segment back.
//!
//! | class | the two segments | reported |
//! |---|---|---|
//! | `injected` | other content, other TTL or identification | high |
//! | `two-senders` | begin alike, but have other lengths, a TTL that differs by 2 or more *and* another identification | medium |
//! | `rewritten` | other content, one hop apart, same identification: a device on the way rewrote it | low |
//! | `differs` | other content, same TTL and identification: a broken sender, or a capture of several | no |
//!
//! *Guards*: keep-alives and other short segments have no 20 bytes. A packet that is seen twice on one tap is one segment. What was
//! forwarded past a second tap is compared there, but counts once. Captures whose clocks run backwards or that join several
//! recordings are not within 1 s. A retransmission that was cut differently has another length,
//! and counts only if both TTL and identification say that another host sent it.
//! *Thresholds*: 10 segments as Fox-IT advises for Zeek's `tcp_max_old_segments`; 1 s, 20 bytes, TTL and 1,000
//! as measured (catalogue, B10): all of 10 captures with QUANTUMINSERT, none of 4,289 others. One event suffices: there is
//! no second shot.
//! ATT&CK: T1557 (Adversary-in-the-Middle), T1659 (Content Injection).

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::conversations::Originals;
use super::place::Place;
use super::streams::{Keys, Streams};
use super::{
    Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Sighting, Wanted, saved,
};
use crate::packets::address::address_text;
use crate::packets::{Packet, ids};
use crate::prefetch::prefetch;
use crate::table::Table;
use crate::wire::ip::Addr;

/// How far apart the two may be, in nanoseconds.
const WINDOW: i64 = 1_000_000_000;
/// How far apart identifications have to be.
const IP_ID: u32 = 1000;
/// Segments that are remembered of each direction.
const SEGMENTS: usize = 10;
const SYN: u16 = 0x02;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Class {
    Injected,
    TwoSenders,
    Rewritten,
    Differs,
}

/// Tap, claimed sender, receiver, class.
type Key = (u16, Option<Addr>, Option<Addr>, Class);

/// What is remembered of a segment.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Segment {
    place: Place,
    /// `payload_head`.
    head: u64,
    /// `payload_id`, 0 if there is none.
    payload_id: u64,
    /// `packet_id`, 0 if there is none.
    packet_id: u64,
    len: u32,
    ack: u32,
    flags: u16,
    /// Whether another tap saw it before.
    elsewhere: bool,
}

/// A direction of a connection on a tap.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stream {
    /// Sequence numbers of the segments, apart from them so that they are compared at once.
    seqs: [u32; SEGMENTS],
    segments: [Segment; SEGMENTS],
    /// How many segments came.
    len: u32,
    /// The usual TTL, by majority vote, and how many votes it is ahead.
    ttl: u8,
    ahead: u8,
}

impl Stream {
    /// How many segments came at this time or later.
    fn since(&self, ts: i64) -> u64 {
        let known = self.segments.iter().take(self.len as usize);
        known.filter(|segment| segment.place.ts >= ts).count() as u64
    }

    /// The segments with this sequence number.
    #[inline]
    fn at(&self, seq: u32) -> impl Iterator<Item = Segment> {
        let known = self.seqs.iter().zip(&self.segments).take(self.len as usize);
        known.filter(move |&(&at, _)| at == seq).map(|(_, &segment)| segment)
    }

    /// The latest segment that is neither of these.
    fn before(&self, frames: [u64; 2]) -> Option<&Segment> {
        let known = self.segments.iter().take(self.len as usize);
        let others = known.filter(|segment| !frames.contains(&segment.place.frame));
        others.max_by_key(|segment| (segment.place.ts, segment.place.frame))
    }

    #[inline]
    fn add(&mut self, seq: u32, segment: Segment) {
        let at = self.len as usize % SEGMENTS;
        if let (Some(number), Some(place)) = (self.seqs.get_mut(at), self.segments.get_mut(at)) {
            (*number, *place) = (seq, segment);
        }
        // So that it never overflows, and still says that all places are taken.
        self.len = if self.len as usize == 2 * SEGMENTS - 1 { SEGMENTS as u32 } else { self.len + 1 };
        if self.ahead == 0 {
            (self.ttl, self.ahead) = (segment.place.ttl, 1);
        } else if self.ttl == segment.place.ttl {
            self.ahead = self.ahead.saturating_add(1);
        } else {
            self.ahead -= 1;
        }
    }
}

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Injection {
    claims: Claims<Key>,
    /// TTL of the packet with SYN, by stream.
    openings: Table<u8>,
    streams: Streams<Stream>,
    /// Segments of which 20 bytes were sent.
    segments: u64,
    /// Those of which as many were captured.
    judged: u64,
    /// Segments that were forgotten within the window.
    displaced: u64,
}

impl Detector for Injection {
    saved!(claims);

    fn id(&self) -> &'static str {
        "B10"
    }

    fn packets(&self) -> Wanted {
        Wanted::All
    }

    fn prefetch_index(&self, packet: Packet<'_>, tap: u16, stream: Keys) {
        if is_of_interest(packet) {
            let key = key(stream, tap);
            self.openings.prefetch(key);
            self.streams.prefetch_index(key);
        }
    }

    fn prefetch(&self, packet: Packet<'_>, tap: u16, stream: Keys) {
        if is_of_interest(packet)
            && let Some(stream) = self.streams.supposed(key(stream, tap))
        {
            // Of segments, one is written; the others are read where numbers agree.
            prefetch(&stream.seqs);
            prefetch(&stream.len);
            stream.segments.get(stream.len as usize % SEGMENTS).inspect(|segment| prefetch(*segment));
        }
    }

    fn observe(&mut self, seen: &Seen<'_>, context: &Context<'_>) {
        let packet = seen.packet;
        let Some(stream) = seen.stream.filter(|_| is_of_interest(packet)) else { return };
        let flags = packet.tcp_flags().unwrap_or_default();
        let now = seen.sighting;
        let tap_of = |sighting: &Sighting| context.paths.get(sighting.path).tap;
        let tap = tap_of(&now);
        let key = key(stream, tap);
        if flags & SYN != 0
            && let Some(ttl) = self.openings.entry(key)
        {
            *ttl = now.ttl;
        }
        let Some(seq) = packet.tcp_seq().filter(|_| is_long(packet)) else { return };
        self.segments += 1;
        let Some(head) = packet.payload_head() else { return };
        self.judged += 1;
        if seen.earlier.iter().any(|earlier| tap_of(earlier) == tap) {
            return;
        }
        let segment = Segment {
            place: now.into(),
            head,
            payload_id: packet.payload_id().unwrap_or_default(),
            packet_id: packet.packet_id().unwrap_or_default(),
            len: packet.payload_len().unwrap_or_default(),
            ack: packet.tcp_ack().unwrap_or_default(),
            flags,
            elsewhere: !seen.earlier.is_empty(),
        };
        let opening = self.openings.get(key);
        let displaced = &mut self.displaced;
        let Some(stream) =
            self.streams.entry(key, |stream| *displaced += stream.since(now.ts.saturating_sub(WINDOW)))
        else {
            return;
        };
        // What was said before at this place has been compared with the others.
        let is_known = stream.at(seq).any(|other| other.len == segment.len && !differ(&other, &segment));
        let found = stream.at(seq).filter(|_| !is_known).find_map(|other| {
            let class = compare(&other, &segment, context)?;
            let (original, injected) = order(stream, opening, other, segment);
            Some((class, original, injected))
        });
        stream.add(seq, segment);
        if let Some((class, original, injected)) = found
            && let Some(tally) = self.claims.entry((tap, packet.src(), packet.dst(), class), context.room)
        {
            let roles = (Role::Original, Role::Injected);
            tally.add(seen, injected.place.into(), Some(original.place.into()), roles, context);
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let missing = self.claims.missing();
        let short = (self.judged < self.segments)
            .then(|| "segments of which the capture kept less than 20 bytes, or only fragments".to_owned());
        let displaced = (self.displaced > 0)
            .then(|| format!("{} segments were forgotten too early, for want of room", self.displaced));
        let claims = self.claims.take().into_iter().map(|(key, tally)| claim(key, tally, outcome)).collect();
        let judged = self.judged.saturating_sub(self.displaced);
        (claims, Scope::of_kinds(outcome, self.segments, judged, [short, displaced, missing]))
    }
}

/// Whether so much was sent that what it says can be told from other content.
#[inline]
fn is_long(packet: Packet<'_>) -> bool {
    packet.payload_len().is_some_and(|len| len as usize >= ids::HEAD_BYTES)
}

/// Whether a segment is compared, or opens what is.
#[inline]
fn is_of_interest(packet: Packet<'_>) -> bool {
    is_long(packet) || packet.tcp_flags().is_some_and(|flags| flags & SYN != 0)
}

/// What tells a direction of a connection on a tap from others.
#[inline]
fn key(stream: Keys, tap: u16) -> u64 {
    (stream.here ^ u64::from(tap).wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1)
}

/// What the two are to each other, if it is worth a claim.
fn compare(old: &Segment, new: &Segment, context: &Context<'_>) -> Option<Class> {
    let (a, b) = (&old.place, &new.place);
    let gap = b.ts.saturating_sub(a.ts);
    let same = old.packet_id == new.packet_id && old.packet_id != 0;
    if same || !(0..=WINDOW).contains(&gap) || (old.elsewhere && new.elsewhere) {
        return None;
    }
    let hops = a.ttl.abs_diff(b.ttl);
    let other_ip_id = distance(a.ip_id, b.ip_id) >= IP_ID;
    if !differ(old, new) {
        return (old.len != new.len && hops >= 2 && other_ip_id).then_some(Class::TwoSenders);
    }
    let mac = |place: &Place| context.paths.get(place.path).eth_src;
    Some(match (hops, other_ip_id) {
        (1, _) if a.ip_id == b.ip_id && a.ip_id != 0 && mac(a) != mac(b) => Class::Rewritten,
        (0, false) => Class::Differs,
        _ => Class::Injected,
    })
}

/// Whether the content of the two is known to differ.
fn differ(a: &Segment, b: &Segment) -> bool {
    let alike = (a.len, a.ack, a.flags) == (b.len, b.ack, b.flags);
    // Of a copy that was cut, too little may be there for an id.
    let has_ids = a.payload_id != 0 && b.payload_id != 0;
    a.head != b.head || (alike && has_ids && a.payload_id != b.payload_id)
}

/// How far apart two identifications of 16 bits are, going round.
fn distance(a: u32, b: u32) -> u32 {
    let apart = a.abs_diff(b) & 0xffff;
    apart.min(0x1_0000 - apart)
}

/// The two, the original first.
fn order(stream: &Stream, opening: Option<u8>, old: Segment, new: Segment) -> (Segment, Segment) {
    let (a, b) = (old.place, new.place);
    let usual = opening.filter(|&ttl| ttl == a.ttl || ttl == b.ttl).unwrap_or(stream.ttl);
    if a.ttl != b.ttl && (a.ttl == usual || b.ttl == usual) {
        return if a.ttl == usual { (old, new) } else { (new, old) };
    }
    if let Some(before) = stream.before([a.frame, b.frame])
        && a.ip_id != b.ip_id
    {
        let from = before.place.ip_id;
        if distance(from, a.ip_id) < distance(from, b.ip_id) {
            return (old, new);
        }
    }
    (new, old)
}

fn claim((_, sender, receiver, class): Key, tally: Tally, outcome: &Outcome<'_>) -> Claim {
    let (detector, report, severity) = match class {
        Class::Injected => ("B10.injected", true, Severity::High),
        Class::TwoSenders => ("B10.two-senders", true, Severity::Medium),
        Class::Rewritten => ("B10.rewritten", true, Severity::Low),
        Class::Differs => ("B10.differs", false, Severity::Info),
    };
    let originals: HashSet<_> = tally.paths.0.into_iter().collect();
    let mut claim = Claim::new(detector, Kind::Injection, severity, tally, &outcome.context);
    claim.count_scope(Originals::Paths(&originals), outcome);
    // Who sent it is not who it says.
    Claim { report, subject: receiver, detail: sender.map(address_text), ..claim }
}
