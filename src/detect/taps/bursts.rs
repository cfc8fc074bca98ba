//! Bursts that the tap before could not follow: for a short while, much of what comes by is new.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MAX_STRAYS;

/// Packets are counted over so long, in nanoseconds.
const BIN: i64 = 100_000_000;
/// One in so many of what others sent at that time was new, and at least so many.
const MANY: u32 = 10;
const LEAST: u32 = 2;

/// How many packets of a time had been on the tap before, and how many had not. Only times with new ones are kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Bursts {
    number: i64,
    now: Count,
    kept: BTreeMap<i64, Count>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Count {
    all: u32,
    new: u32,
}

impl Bursts {
    /// Takes note of a packet.
    #[inline]
    pub fn add(&mut self, ts: i64, is_new: bool) {
        let number = ts.div_euclid(BIN);
        if number != self.number {
            if self.now.new > 0 && (self.kept.len() < MAX_STRAYS || self.kept.contains_key(&self.number)) {
                let kept = self.kept.entry(self.number).or_default();
                *kept = kept.plus(self.now);
            }
            (self.number, self.now) = (number, Count::default());
        }
        self.now = self.now.plus(Count { all: 1, new: is_new.into() });
    }

    /// Of new packets for one destination, at these times, those that came when what others sent was not new as well.
    pub fn alone(&self, times: &[i64]) -> Vec<bool> {
        let mut mine: BTreeMap<i64, u32> = BTreeMap::new();
        for ts in times {
            *mine.entry(ts.div_euclid(BIN)).or_default() += 1;
        }
        let is_alone = |ts: &i64| {
            let number = ts.div_euclid(BIN);
            let kept = self.kept.get(&number).copied().unwrap_or_default();
            let count = if number == self.number { kept.plus(self.now) } else { kept };
            let mine = mine.get(&number).copied().unwrap_or(0);
            let (all, new) = (count.all.saturating_sub(mine), count.new.saturating_sub(mine));
            new < LEAST || new.saturating_mul(MANY) < all
        };
        times.iter().map(is_alone).collect()
    }
}

impl Count {
    fn plus(self, other: Self) -> Self {
        Self { all: self.all.saturating_add(other.all), new: self.new.saturating_add(other.new) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_is_what_is_new_while_others_are_not() {
        let ms = |ms: i64| ms * 1_000_000;
        let mut bursts = Bursts::default();
        // 40 packets at once, of which 3 are new; then 19, of which 2 are; then 10, of which one is.
        (0..40).for_each(|n| bursts.add(ms(10), n < 3));
        (0..19).for_each(|n| bursts.add(ms(250), n < 2));
        (0..10).for_each(|n| bursts.add(ms(1000), n < 1));
        // Two of mine are among the first, so others have one; none is among the second; one is mine of the last.
        assert_eq!(bursts.alone(&[ms(10), ms(11), ms(299), ms(1000)]), [true, true, true, true]);
        // Of the others', 2 of 18 are new: a tenth, and more.
        bursts.add(ms(250), true);
        assert_eq!(bursts.alone(&[ms(250)]), [false]);
        // 3 of 40 are fewer.
        assert_eq!(bursts.alone(&[ms(99)]), [true]);
    }
}
