//! **B11, forged resets.** A TCP reset that the host in whose name it comes did not send, told by what that host does besides.
//!
//! *Sees*: resets that fit no standard sender, by the tests of Weaver, Sommer and Paxson (Detecting Forged TCP Reset Packets, NDSS 2009).
//! They rest on the race that an injector beside the path runs: when its reset arrives, the host has sent more than it knew of.
//!
//! | class | the reset | name in the paper |
//! |---|---|---|
//! | `ignored` | is followed by data of the same direction beyond it, within 2 s | RST_SEQ_DATA |
//! | `behind` | has a sequence number below what was sent within 2 s before, and above all that was acknowledged | DATA_SEQ_RST |
//! | `guessed` | follows another within 2 s, has a higher number, beyond all that was sent and acknowledged | RST_SEQ_CHANGE |
//! | **`forged`** | one of these, and its TTL differs from its direction's by 2 or more | |
//! | `other-ttl` | only its TTL differs | |
//!
//! *Cannot see*: resets that win the race and end the connection as its host would have; who sent them: firewalls and load balancers
//! also reset connections in their hosts' names, and often well meant. So only `forged` is of medium severity, the first three
//! are of low, and `other-ttl` is named, not reported. The identification tells nothing here: many hosts send resets with 0.
//! *Guards*: a host that answers a stray segment takes the number that this acknowledges (RFC 9293, section 3.5.2), which is why `behind` and
//! `guessed` have to be above all acknowledgments, and need some. Resets that refuse a connection (number 0 with ACK) are
//! no subject. A new connection (SYN) forgets the old one. After FIN of either side, hosts reset in many ways: nothing
//! is said of those. Both taps count as one observer: a reset is told once.
//! *Thresholds*: 2 s, and 2 for what counts as higher, as the script of Khattak has it that follows the paper's appendix A.
//! TTLs that differ by 1 are what paths of equal cost make.
//! ATT&CK: T1557 (Adversary-in-the-Middle).

use serde::{Deserialize, Serialize};

use super::claim::Tally;
use super::place::Place;
use super::streams::{Keys, Streams};
use super::{Claim, Claims, Context, Detector, Kind, Outcome, Role, Scope, Seen, Severity, Wanted, saved};
use crate::dissect::Mac;
use crate::packets::Packet;
use crate::prefetch::prefetch;

/// What belongs together is no further apart, in nanoseconds.
const WINDOW: i64 = 2_000_000_000;
/// Sequence numbers that differ by less are the same to hosts that count SYN and FIN differently.
const HIGHER: i32 = 2;
/// TTLs differ by at least so much.
const HOPS: u8 = 2;
/// Packets that have to agree on a TTL, before another is unusual.
const AGREED: u8 = 3;

const FIN: u16 = 0x01;
const SYN: u16 = 0x02;
const RST: u16 = 0x04;
const ACK: u16 = 0x10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Class {
    Ignored,
    Behind,
    Guessed,
    Forged,
    OtherTtl,
}

/// Tap, who brought the resets, and their class.
type Key = (u16, Option<Mac>, Class);

/// A direction of a connection.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Stream {
    /// The number behind the last byte sent, if anything but resets was seen.
    end: Option<u32>,
    /// The segment that reached it.
    last: Place,
    /// The highest number that was acknowledged.
    acked: Option<u32>,
    /// The last reset, and its number.
    reset: Option<(u32, Place)>,
    has_fin: bool,
    /// The usual TTL, by majority vote, and how many votes it is ahead.
    ttl: u8,
    ahead: u8,
}

impl Stream {
    fn is_unusual(&self, ttl: u8) -> bool {
        self.ahead >= AGREED && self.ttl.abs_diff(ttl) >= HOPS
    }

    fn vote(&mut self, ttl: u8) {
        if self.ahead == 0 {
            (self.ttl, self.ahead) = (ttl, 1);
        } else if self.ttl == ttl {
            self.ahead = self.ahead.saturating_add(1);
        } else {
            self.ahead -= 1;
        }
    }
}

/// The detector.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Reset {
    claims: Claims<Key>,
    streams: Streams<Stream>,
    resets: u64,
    judged: u64,
}

impl Detector for Reset {
    saved!(claims);

    fn id(&self) -> &'static str {
        "B11"
    }

    fn packets(&self) -> Wanted {
        Wanted::All
    }

    fn prefetch_index(&self, _: Packet<'_>, _: u16, stream: Keys) {
        self.streams.prefetch_index(stream.here);
    }

    fn prefetch(&self, _: Packet<'_>, _: u16, stream: Keys) {
        self.streams.supposed(stream.here).inspect(|stream| prefetch(*stream));
    }

    fn observe(&mut self, seen: &Seen<'_>, context: &Context<'_>) {
        let packet = seen.packet;
        let Some(Keys { here, back }) = seen.stream else { return };
        let (Some(flags), Some(seq)) = (packet.tcp_flags(), packet.tcp_seq()) else { return };
        if flags & RST != 0 {
            self.reset(seen, context, (here, back), (flags, seq));
            return;
        }
        let now = Place::from(seen.sighting);
        if flags & SYN != 0 {
            // Forgets the old one only, so that floods of requests make nothing be forgotten.
            if let Some(stream) = self.streams.get_mut(here) {
                *stream = Stream::default();
                stream.vote(now.ttl);
            }
            return;
        }
        let Some(stream) = self.streams.entry(here, |_| ()) else { return };
        stream.vote(now.ttl);
        if flags & ACK != 0 {
            let ack = packet.tcp_ack().unwrap_or_default();
            stream.acked = Some(stream.acked.filter(|&known| above(known, ack) >= 0).unwrap_or(ack));
        }
        stream.has_fin |= flags & FIN != 0;
        let len = packet.payload_len().unwrap_or_default();
        let end = seq.wrapping_add(len).wrapping_add(u32::from(flags & FIN != 0));
        if stream.end.is_none_or(|known| above(end, known) > 0) {
            stream.end = Some(end);
            stream.last = now;
        }
        let ignored = stream.reset.filter(|(number, reset)| {
            len > 0 && !stream.has_fin && above(end, *number) >= HIGHER && is_soon(reset.ts, now.ts)
        });
        if let Some((_, reset)) = ignored {
            let class = if stream.is_unusual(reset.ttl) { Class::Forged } else { Class::Ignored };
            stream.reset = None;
            self.count(seen, reset, now, class, context);
        }
    }

    fn finish(&mut self, outcome: &Outcome<'_>) -> (Vec<Claim>, Scope) {
        let missing = self.claims.missing();
        let alone = (self.judged < self.resets)
            .then(|| "resets of connections of which not both directions were seen".to_owned());
        let claims =
            self.claims.take().into_iter().map(|(key, tally)| claim(key, tally, &outcome.context)).collect();
        (claims, Scope::of_kinds(outcome, self.resets, self.judged, [alone, missing]))
    }
}

impl Reset {
    fn reset(
        &mut self,
        seen: &Seen<'_>,
        context: &Context<'_>,
        (here, back): (u64, u64),
        (flags, seq): (u16, u32),
    ) {
        if flags & ACK != 0 && seq == 0 {
            return;
        }
        self.resets += 1;
        let now = Place::from(seen.sighting);
        let other = self.streams.get_mut(back).copied().unwrap_or_default();
        let Some(stream) = self.streams.get_mut(here) else { return };
        let (Some(end), Some(acked)) = (stream.end, other.acked) else { return };
        self.judged += 1;
        let before = stream.reset.replace((seq, now));
        let stream = *stream;
        let before = before.filter(|(_, reset)| is_soon(reset.ts, now.ts));
        if stream.has_fin || other.has_fin || before.is_some_and(|(number, _)| number == seq) {
            return;
        }
        let is_above = above(seq, acked) > 0;
        let found = if is_above && above(end, seq) > 0 && is_soon(stream.last.ts, now.ts) {
            Some((Class::Behind, stream.last))
        } else {
            let guessed = before.filter(|&(number, _)| {
                let further = [number, end, acked].iter().all(|&known| above(seq, known) > HIGHER);
                further && other.reset.is_none()
            });
            guessed.map(|(_, reset)| (Class::Guessed, reset))
        };
        match found {
            Some((class, original)) => {
                let class = if stream.is_unusual(now.ttl) { Class::Forged } else { class };
                self.count(seen, now, original, class, context);
            }
            None if stream.is_unusual(now.ttl) => {
                self.count(seen, now, stream.last, Class::OtherTtl, context);
            }
            None => {}
        }
    }

    fn count(&mut self, seen: &Seen<'_>, reset: Place, original: Place, class: Class, context: &Context<'_>) {
        let path = context.paths.get(reset.path);
        if let Some(tally) = self.claims.entry((path.tap, path.eth_src, class), context.room) {
            let roles = (Role::Original, Role::Injected);
            tally.add(seen, reset.into(), Some(original.into()), roles, context);
        }
    }
}

/// How far one sequence number is above another.
#[inline]
fn above(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

fn is_soon(from: i64, to: i64) -> bool {
    (0..=WINDOW).contains(&to.saturating_sub(from))
}

fn claim((_, _, class): Key, tally: Tally, context: &Context<'_>) -> Claim {
    let (detector, report, severity) = match class {
        Class::Forged => ("B11.forged", true, Severity::Medium),
        Class::Ignored => ("B11.ignored", true, Severity::Low),
        Class::Behind => ("B11.behind", true, Severity::Low),
        Class::Guessed => ("B11.guessed", true, Severity::Low),
        Class::OtherTtl => ("B11.other-ttl", false, Severity::Info),
    };
    let packets = tally.packets;
    let claim = Claim::new(detector, Kind::Injection, severity, tally, context);
    Claim { report, in_scope: packets, judged: packets, ..claim }
}
