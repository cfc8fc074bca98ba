//! How long packets take from one tap to another, and which took longer.

use serde::{Deserialize, Serialize};

use super::{Context, Seen, Sighting, median};
use crate::classify::Label;

/// A packet is late if it took this much longer than is usual, in nanoseconds.
const LATE: i64 = 500_000_000;
/// So many packets tell what is usual; so many late ones, one right after the other, that a clock was set.
const ENOUGH: usize = 33;

/// Two sightings of a packet.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Pair {
    pub original: Sighting,
    pub copy: Sighting,
    /// The conversation of the original, and what it is.
    pub traffic: (Option<u64>, Label),
}

/// What a packet's time says of it and of those before it.
pub(super) enum Told {
    /// It took as long as usual; these before it did not.
    Usual(Vec<Pair>),
    /// It took longer. Whether it is late will show.
    Waits,
    /// All of these take longer now: a clock was set, or the way has changed.
    Stepped(Vec<Pair>),
}

/// The usual time from one tap to another.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Lags {
    usual: Option<i64>,
    /// Times of packets since it was found, so that it follows clocks that drift.
    recent: Vec<i64>,
    /// Packets that took longer, one right after the other.
    late: Vec<Pair>,
}

impl Pair {
    pub(super) fn new(seen: &Seen<'_>, original: Sighting, context: &Context<'_>) -> Self {
        Self { original, copy: seen.sighting, traffic: seen.traffic(Some(original), context) }
    }

    fn lag(&self) -> i64 {
        self.copy.ts.saturating_sub(self.original.ts)
    }
}

impl Lags {
    /// Takes note of a packet that came by at both taps.
    pub(super) fn follow(&mut self, pair: Pair) -> Told {
        if self.usual.is_some_and(|usual| pair.lag().saturating_sub(usual) > LATE) {
            self.late.push(pair);
            if self.late.len() < ENOUGH {
                return Told::Waits;
            }
            let late = std::mem::take(&mut self.late);
            self.usual = median(&mut late.iter().map(Pair::lag).collect::<Vec<_>>());
            self.recent.clear();
            return Told::Stepped(late);
        }
        self.recent.push(pair.lag());
        if self.recent.len() == ENOUGH {
            self.usual = median(&mut self.recent);
            self.recent.clear();
        }
        Told::Usual(std::mem::take(&mut self.late))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows packets that took so many milliseconds each; how many of them turned out to be late, and how many as usual.
    fn follow(lags: &mut Lags, times: impl IntoIterator<Item = i64>) -> (usize, usize) {
        let (mut late, mut usual) = (0, 0);
        for ms in times {
            let copy = Sighting { ts: ms * 1_000_000, ..Sighting::default() };
            let pair = Pair { original: Sighting::default(), copy, traffic: (None, Label::default()) };
            match lags.follow(pair) {
                Told::Usual(before) => (late, usual) = (late + before.len(), usual + 1),
                Told::Waits => {}
                Told::Stepped(pairs) => usual += pairs.len(),
            }
        }
        (late, usual)
    }

    #[test]
    fn late_is_what_takes_longer_than_others_at_that_time() {
        let mut lags = Lags::default();
        // As long as nothing is known of what is usual, nothing is late.
        assert_eq!(follow(&mut lags, [1, 2000, 1]), (0, 3));
        assert_eq!(follow(&mut lags, [1; 30]), (0, 30));
        assert_eq!(follow(&mut lags, [1, 2000, 2000, 1, 502, 1, 500, 1]), (3, 5));
        // A clock is set a second ahead: all take longer from now on. Then back again.
        assert_eq!(follow(&mut lags, [1001; 100]), (0, 100));
        assert_eq!(follow(&mut lags, [1001, 3000, 1001, 1]), (1, 3));
        assert_eq!(follow(&mut lags, [1; 100]), (0, 100));
        assert_eq!(follow(&mut lags, [800, 1]), (1, 1));
    }

    #[test]
    fn clocks_may_drift() {
        assert_eq!(follow(&mut Lags::default(), 0..10_000), (0, 10_000));
    }
}
