//! Sequence numbers of a stream: what was expected, lost, sent twice or late. RFC 3550 appendices A.1 and A.3.

/// A gap up to this is one of packets that were lost.
const MAX_DROPOUT: u16 = 3000;
/// A packet up to this late is one that came out of order.
const MAX_MISORDER: u16 = 100;

/// What a packet is to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The first, or the first after a restart.
    First,
    /// This many behind the highest.
    Next(u16),
    /// One that was seen before.
    Duplicate,
    /// One that was missing.
    Late,
    /// Far away from the others: a stray, unless the next one goes on from it.
    Stray,
}

/// Sequence numbers so far. Unlike in RFC 3550, a packet before the first one moves the beginning, and duplicates are told from those
/// that are late by a memory of as many numbers as a packet may be late.
#[derive(Debug, Clone, Default)]
pub(super) struct Sequence {
    has_begun: bool,
    first: u16,
    /// The lowest and the highest number since the last restart, with what wrapped counted on.
    base: i64,
    highest: i64,
    /// A bit for each of the numbers from the highest one down.
    seen: u128,
    /// What would prove a restart.
    after_stray: Option<u16>,
    /// Expected before the last restart.
    expected_before: u64,
    /// Packets other than strays and duplicates.
    pub distinct: u64,
    pub duplicates: u64,
    pub late: u64,
    pub strays: u64,
    pub restarts: u64,
    /// Packets with the number behind that of the one before.
    pub followed: u64,
    last: u16,
}

impl Sequence {
    /// Takes note of a packet.
    pub fn take(&mut self, seq: u16) -> Place {
        self.followed += u64::from(self.has_begun && seq == self.last.wrapping_add(1));
        self.last = seq;
        if !self.has_begun {
            (self.has_begun, self.first) = (true, seq);
            return self.begin(seq.into());
        }
        let ahead = seq.wrapping_sub(self.highest as u16);
        let behind = ahead.wrapping_neg();
        if ahead == 0 {
            self.after_stray = None;
            self.duplicates += 1;
            Place::Duplicate
        } else if ahead < MAX_DROPOUT {
            self.after_stray = None;
            self.highest += i64::from(ahead);
            self.seen = self.seen.checked_shl(ahead.into()).unwrap_or_default() | 1;
            self.distinct += 1;
            Place::Next(ahead)
        } else if behind >= MAX_MISORDER {
            if self.after_stray == Some(seq) {
                // Two in a row: the sender began anew, with the one before this.
                self.strays -= 1;
                self.restarts += 1;
                self.expected_before = self.expected();
                self.begin(i64::from(seq.wrapping_sub(1)));
                self.highest += 1;
                self.seen = 0b11;
                self.distinct += 1;
                self.after_stray = None;
                return Place::First;
            }
            self.after_stray = Some(seq.wrapping_add(1));
            self.strays += 1;
            Place::Stray
        } else {
            self.after_stray = None;
            let bit = 1_u128 << behind;
            if self.seen & bit != 0 {
                self.duplicates += 1;
                return Place::Duplicate;
            }
            self.seen |= bit;
            self.base = self.base.min(self.highest - i64::from(behind));
            self.distinct += 1;
            self.late += 1;
            Place::Late
        }
    }

    fn begin(&mut self, seq: i64) -> Place {
        (self.base, self.highest, self.seen) = (seq, seq, 1);
        self.distinct += 1;
        Place::First
    }

    /// The number of the first packet.
    pub fn first(&self) -> u16 {
        self.first
    }

    /// The highest number, since the last restart.
    pub fn highest(&self) -> u16 {
        self.highest as u16
    }

    /// How many packets the numbers say there were.
    pub fn expected(&self) -> u64 {
        let here = if self.has_begun { (self.highest - self.base) as u64 + 1 } else { 0 };
        self.expected_before + here
    }

    /// How many of them were not seen.
    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.distinct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all: &[u16]) -> Sequence {
        let mut sequence = Sequence::default();
        for &seq in all {
            sequence.take(seq);
        }
        sequence
    }

    fn counts(all: &[u16]) -> [u64; 6] {
        let it = of(all);
        [it.expected(), it.lost(), it.duplicates, it.late, it.strays, it.restarts]
    }

    #[test]
    fn loss_reordering_and_duplicates_are_told_apart() {
        assert_eq!(counts(&[]), [0, 0, 0, 0, 0, 0]);
        assert_eq!(counts(&[7, 8, 9]), [3, 0, 0, 0, 0, 0]);
        assert_eq!(counts(&[7, 8, 11]), [5, 2, 0, 0, 0, 0]);
        assert_eq!(counts(&[7, 9, 8, 10]), [4, 0, 0, 1, 0, 0]);
        assert_eq!(counts(&[7, 8, 8, 9, 7]), [3, 0, 2, 0, 0, 0]);
        // Late, and then once more.
        assert_eq!(counts(&[7, 9, 8, 8]), [3, 0, 1, 1, 0, 0]);
        // Before the first one.
        assert_eq!(counts(&[7, 6, 8]), [3, 0, 0, 1, 0, 0]);
        assert_eq!(of(&[7, 8, 9, 11]).followed, 2);
    }

    #[test]
    fn numbers_wrap() {
        assert_eq!(counts(&[65534, 65535, 0, 1]), [4, 0, 0, 0, 0, 0]);
        assert_eq!(counts(&[65534, 1, 65535, 0, 0]), [4, 0, 1, 2, 0, 0]);
        let all: Vec<u16> = (0..200_000_u32).map(|n| n as u16).collect();
        assert_eq!(counts(&all), [200_000, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_far_packet_is_a_stray_and_two_in_a_row_are_a_restart() {
        assert_eq!(counts(&[10, 11, 30_000, 12]), [3, 0, 0, 0, 1, 0]);
        assert_eq!(counts(&[10, 11, 30_000, 30_001, 30_002]), [5, 0, 0, 0, 0, 1]);
        assert_eq!(counts(&[10, 11, 30_000, 12, 30_001]), [3, 0, 0, 0, 2, 0]);
        // As far as one may be late, and one more; and as many as may be lost.
        assert_eq!(counts(&[1000, 901])[3..], [1, 0, 0]);
        assert_eq!(counts(&[1000, 900])[3..], [0, 1, 0]);
        assert_eq!(counts(&[1000, 3999]), [3000, 2998, 0, 0, 0, 0]);
        assert_eq!(counts(&[1000, 4000]), [1, 0, 0, 0, 1, 0]);
    }
}
