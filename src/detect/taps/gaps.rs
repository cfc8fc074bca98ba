//! Where a flow, or all that a host sends, lacks something on one tap.

use serde::{Deserialize, Serialize};

/// How many holes of a flow are remembered: the latest.
const HOLES: usize = 6;
/// Sequence numbers further ahead are another connection.
const FAR: u32 = 1 << 24;
/// Identifications further ahead are not numbered in sequence.
const FAR_NUMBER: u16 = 64;

/// What comes next in a flow, and what was left out: of TCP by sequence numbers (RFC 9293), of others by the identification, for
/// hosts that number the packets of a flow in sequence. The same of all that a host sends, for those that count all their packets.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Gaps {
    next: u32,
    /// From and to where something is missing; empty if they are equal.
    holes: [(u32, u32); HOLES],
    /// From here on all holes are known.
    known: u32,
    /// How many packets there were, and how many came in sequence; as far as it counts.
    packets: u16,
    in_sequence: u16,
    /// How many had the same identification as the one before.
    alike: u16,
}

impl Gaps {
    /// Takes note of a TCP segment.
    #[inline]
    pub fn segment(&mut self, seq: u32, len: u32) {
        if len == 0 {
            return;
        }
        let end = seq.wrapping_add(len);
        let ahead = seq.wrapping_sub(self.next);
        if self.packets == 0 || (ahead >= FAR && ahead.wrapping_neg() >= FAR) {
            *self = Self { next: end, known: seq, packets: 1, ..Self::default() };
        } else if ahead == 0 {
            self.next = end;
        } else if ahead < FAR {
            self.skip(seq);
            self.next = end;
        } else {
            for hole in &mut self.holes {
                // What it fills, from its start or to its end.
                if hole.0 != hole.1 && is_at_or_after(hole.0, seq) && is_at_or_after(end, hole.0) {
                    hole.0 = if is_at_or_after(end, hole.1) { hole.1 } else { end };
                } else if hole.0 != hole.1 && is_at_or_after(hole.1, seq) && is_at_or_after(end, hole.1) {
                    hole.1 = if is_at_or_after(seq, hole.0) { seq } else { hole.0 };
                }
            }
            if is_at_or_after(end, self.next) {
                self.next = end;
            }
        }
    }

    /// Takes note of the identification of a packet that is not TCP.
    #[inline]
    pub fn numbered(&mut self, id: u16) {
        if id == 0 {
            return;
        }
        let ahead = id.wrapping_sub(self.next as u16);
        if self.packets > 0 && ahead == 0 {
            self.in_sequence = self.in_sequence.saturating_add(1);
        } else if self.packets > 0 && ahead == u16::MAX {
            self.alike = self.alike.saturating_add(1);
        } else if self.packets > 0 && ahead < FAR_NUMBER {
            self.skip(id.into());
        } else {
            self.known = id.into();
        }
        self.packets = self.packets.saturating_add(1);
        self.next = id.wrapping_add(1).into();
    }

    fn skip(&mut self, to: u32) {
        self.holes.rotate_right(1);
        let forgotten = std::mem::replace(&mut self.holes[0], (self.next, to));
        if forgotten.0 != forgotten.1 {
            self.known = forgotten.1;
        }
    }

    /// Of a segment that the flow does not have here: whether there is a hole where it belongs; and whether there is none, though
    /// the flow went on.
    pub fn of_segment(&self, seq: u32, len: u32) -> (bool, bool) {
        if self.packets == 0 || len == 0 {
            return (false, false);
        }
        let end = seq.wrapping_add(len);
        let fits =
            |&(from, to): &(u32, u32)| from != to && is_at_or_after(seq, from) && is_at_or_after(to, end);
        let missed = self.holes.iter().any(fits);
        (missed, !missed && is_at_or_after(self.next, end) && is_at_or_after(seq, self.known))
    }

    /// The same of a packet's identification; nothing can be said unless most packets are numbered in sequence. A number that is far ahead, long
    /// after the packet came by, is none of its host's.
    pub fn of_number(&self, id: u16) -> (bool, bool) {
        if self.packets < 8 || u32::from(self.in_sequence) * 4 < u32::from(self.packets) * 3 {
            return (false, false);
        }
        let ahead = |of: u32, than: u32| (of as u16).wrapping_sub(than as u16);
        let is_between = |from: u32, to: u32| ahead(id.into(), from) < ahead(to, from);
        let missed = self.holes.iter().any(|&(from, to)| from != to && is_between(from, to));
        let is_ahead = (FAR_NUMBER..1 << 15).contains(&ahead(id.into(), self.next));
        (missed, !missed && (is_ahead || is_between(self.known, self.next)))
    }
}

impl Gaps {
    /// Whether its host numbers packets alike, so that an identification tells nothing. Not for TCP.
    pub fn is_alike(&self) -> bool {
        u32::from(self.alike) * 4 > u32::from(self.packets)
    }
}

/// Whether one sequence number is at or after another, around the end of their range (RFC 1982).
const fn is_at_or_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_is_where_a_segment_is_missing_until_it_is_filled() {
        let mut gaps = Gaps::default();
        for seq in [u32::MAX - 99, 0, 200, 300] {
            gaps.segment(seq, 100);
        }
        assert_eq!(gaps.of_segment(100, 100), (true, false));
        assert_eq!(gaps.of_segment(100, 101), (false, true));
        assert_eq!(gaps.of_segment(0, 100), (false, true));
        assert_eq!(gaps.of_segment(400, 100), (false, false));
        gaps.segment(100, 50);
        assert_eq!((gaps.of_segment(100, 50), gaps.of_segment(150, 50)), ((false, true), (true, false)));
        gaps.segment(150, 50);
        assert_eq!(gaps.of_segment(150, 50), (false, true));
    }

    #[test]
    fn of_holes_that_are_forgotten_nothing_is_said() {
        let mut gaps = Gaps::default();
        for n in 0..=HOLES as u32 {
            gaps.segment(200 * n, 100);
        }
        assert_eq!((gaps.of_segment(100, 100), gaps.of_segment(200, 100)), ((true, false), (false, true)));
        gaps.segment(200 * (HOLES as u32 + 1), 100);
        assert_eq!((gaps.of_segment(100, 100), gaps.of_segment(0, 100)), ((false, false), (false, false)));
        assert_eq!((gaps.of_segment(200, 100), gaps.of_segment(300, 100)), ((false, true), (true, false)));
    }

    #[test]
    fn numbers_count_only_if_they_are_in_sequence() {
        let mut gaps = Gaps::default();
        for id in (65_530..=65_535).chain([2, 3, 4, 5]) {
            gaps.numbered(id);
        }
        // In a hole; seen; just ahead, may be on its way; far ahead, is not this host's; before all that was seen.
        assert_eq!(
            [1, 3, 6, 69].map(|id| gaps.of_number(id)),
            [(true, false), (false, true), (false, false), (false, false)]
        );
        assert_eq!(
            [70, 4711, 65_529].map(|id| gaps.of_number(id)),
            [(false, true), (false, true), (false, false)]
        );
        // The counter jumped: what was before that is not known any more.
        gaps.numbered(1000);
        assert_eq!((gaps.of_number(3), gaps.of_number(999)), ((false, false), (false, false)));
        let mut gaps = Gaps::default();
        for id in [5, 900, 17, 20, 31, 8, 77, 80, 99] {
            gaps.numbered(id);
        }
        assert_eq!((gaps.of_number(18), gaps.is_alike()), ((false, false), false));
        let mut gaps = Gaps::default();
        for id in [7; 9] {
            gaps.numbered(id);
        }
        assert!(gaps.is_alike());
    }
}
