//! A few packets of a stream, chosen by hash, by which the same packets are found in another stream.

use crate::hash::fold;

/// How many are kept.
const KEPT: usize = 16;

/// The packets with the least hashes of sequence number, timestamp and length (a bottom-k sketch: Cohen and Kaplan, 2007). Of two streams
/// of the same packets, the same ones are kept wherever they go; of packets that only some of them have in common, as large a share.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// Hashes, least first, and when the packets came.
    kept: [(u64, i64); KEPT],
    len: usize,
}

impl Sample {
    /// Takes a packet. One that comes again is the same one.
    pub fn take(&mut self, seq: u16, timestamp: u32, payload_len: u32, ts: i64) {
        let what = u64::from(seq) << 32 | u64::from(timestamp);
        let hash = fold(what ^ 0x9e37_79b9_7f4a_7c15, u64::from(payload_len) << 1 ^ 0xd1b5_4a32_d192_ed03);
        // Most are none of the least, and only the last of those has to be at hand to say so.
        if self.kept.last().is_some_and(|(last, _)| self.len == KEPT && hash > *last) {
            return;
        }
        let Err(at) = self.kept().binary_search_by_key(&hash, |(hash, _)| *hash) else { return };
        if at >= KEPT {
            return;
        }
        self.len = (self.len + 1).min(KEPT);
        if let Some(behind) = self.kept.get_mut(at..self.len) {
            behind.rotate_right(1);
            if let Some(first) = behind.first_mut() {
                *first = (hash, ts);
            }
        }
    }

    /// Hashes, least first, and times.
    pub fn kept(&self) -> &[(u64, i64)] {
        self.kept.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seqs: impl Iterator<Item = u16>, later: i64) -> Sample {
        let mut sample = Sample::default();
        for seq in seqs {
            sample.take(seq, 160 * u32::from(seq), 160, i64::from(seq) + later);
        }
        sample
    }

    #[test]
    fn the_least_are_kept_whatever_the_order() {
        let all = of(0..1000, 0);
        assert_eq!(all.kept().len(), KEPT);
        assert!(all.kept().is_sorted());
        assert_eq!(of((0..1000).rev(), 0).kept(), all.kept());
        // Each is a minimum of all: nothing that was left out is less.
        let last = all.kept()[KEPT - 1].0;
        let less = (0..1000).filter(|&seq| of(std::iter::once(seq), 0).kept()[0].0 <= last);
        assert_eq!(less.count(), KEPT);
    }

    #[test]
    fn the_same_packets_are_found_and_others_are_not() {
        let shared = |one: &Sample, other: &Sample| {
            one.kept().iter().filter(|(hash, _)| other.kept().iter().any(|(known, _)| known == hash)).count()
        };
        let all = of(0..1000, 0);
        assert_eq!(shared(&all, &of(0..1000, 7)), KEPT);
        assert_eq!(shared(&all, &of(1000..2000, 0)), 0);
        assert_eq!(of([5, 5, 5].into_iter(), 0).kept().len(), 1);
    }
}
