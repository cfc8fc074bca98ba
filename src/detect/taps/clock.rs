//! By how much, and how fast, one tap's clock departs from another's.
//!
//! A packet that passes both taps says `time there - time here = offset + delay` on its way there and `offset - delay` on its way
//! back. The least delays hardly change: of each interval, the least difference on the way there and the greatest on the way back
//! are kept (as NTP's clock filter does, RFC 5905 section 10). The offset lies between the two, whatever the delays are; it is
//! taken to be in the middle, and half of what is between is its uncertainty. Drift is the slope that Theil and Sen's method finds
//! (the median of the slopes of all pairs of intervals). A jump of both directions by the same amount is a step of a clock; if the two part, it is the
//! path that became longer.

use serde::{Deserialize, Serialize};

use crate::detect::median;
use crate::dissect::Mac;

/// Which way a packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Way {
    There,
    Back,
}

/// The differences of one direction in one interval.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Extreme {
    /// Time here.
    ts: i64,
    /// How much later it was there.
    later: i64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Interval {
    there: Option<Extreme>,
    back: Option<Extreme>,
}

/// What is known of two clocks. Bounded: when the intervals are used up, each becomes twice as long.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Clock {
    intervals: Vec<Interval>,
    origin: Option<i64>,
    /// Length of an interval as a power of two, in nanoseconds.
    shift: u32,
    /// Sender of the first packet whose TTL did not tell its way: who it is sent to, is on the way back.
    near: Option<Mac>,
    /// Packets by their way.
    pub counts: [u64; 2],
}

/// The two clocks, as far as it can be told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Solved {
    /// Whether packets went both ways: else the offset holds the least delay too.
    pub both_ways: bool,
    /// By how much the other clock was ahead at the start, nanoseconds.
    pub offset: i64,
    /// How far off that may be; none where delay and offset cannot be told apart.
    pub offset_uncertainty: Option<i64>,
    /// How fast the other clock is faster, in parts per million; none if the time was too short to tell.
    pub drift: Option<f64>,
    /// How far off that may be (two standard deviations).
    pub drift_uncertainty: Option<f64>,
    /// When the clock, or with one way only perhaps the path, jumped, and by how much.
    pub steps: Vec<(i64, i64)>,
    /// When the first common packet was seen.
    origin: i64,
    slope: f64,
}

impl Solved {
    /// By how much the other clock was ahead at a time of this one.
    pub fn at(&self, ts: i64) -> i64 {
        let drifted = (ts.saturating_sub(self.origin) as f64 * self.slope) as i64;
        let steps = self.steps.iter().filter(|(when, _)| *when <= ts).map(|(_, step)| step);
        steps.fold(self.offset.saturating_add(drifted), |sum, step| sum.saturating_add(*step))
    }
}

/// The first intervals are 2²⁵ ns, 34 ms, long.
const FIRST_SHIFT: u32 = 25;
const MAX_INTERVALS: usize = 128;
/// Steps below this are not told from jitter, nanoseconds.
const LEAST_STEP: i64 = 5_000_000;
/// Intervals on each side of a step that must bear it out.
const LASTING: usize = 3;
/// Drift is told from so many intervals on.
const MIN_INTERVALS: usize = 6;

impl Clock {
    /// Which way a packet goes whose TTL stayed the same: with the first such packet's sender, or towards it.
    pub fn way_by_mac(&mut self, src: Option<Mac>, dst: Option<Mac>) -> Way {
        let near = *self.near.get_or_insert(src.unwrap_or_default());
        if src != Some(near) && dst == Some(near) { Way::Back } else { Way::There }
    }

    /// Takes note of a packet that was seen here at `ts`, and there so much `later`, each by the clock of its tap.
    #[inline]
    pub fn add(&mut self, ts: i64, later: i64, way: Way) {
        let origin = *self.origin.get_or_insert_with(|| {
            self.shift = FIRST_SHIFT;
            ts
        });
        let since = ts.saturating_sub(origin).max(0);
        while (since >> self.shift) as usize >= MAX_INTERVALS {
            self.lengthen();
        }
        let at = (since >> self.shift) as usize;
        if self.intervals.len() <= at {
            self.intervals.resize(at + 1, Interval::default());
        }
        if let Some(count) = self.counts.get_mut(way as usize) {
            *count += 1;
        }
        let Some(interval) = self.intervals.get_mut(at) else { return };
        let new = Extreme { ts, later };
        match way {
            Way::There => keep(&mut interval.there, new, |new, old| new < old),
            Way::Back => keep(&mut interval.back, new, |new, old| new > old),
        }
    }

    fn lengthen(&mut self) {
        self.shift += 1;
        let merged = self.intervals.chunks(2).map(|pair| {
            let mut merged = Interval::default();
            for interval in pair {
                if let Some(there) = interval.there {
                    keep(&mut merged.there, there, |new, old| new < old);
                }
                if let Some(back) = interval.back {
                    keep(&mut merged.back, back, |new, old| new > old);
                }
            }
            merged
        });
        self.intervals = merged.collect();
    }

    /// What the packets say so far; none if there were none.
    pub fn solve(&self) -> Option<Solved> {
        let origin = self.origin?;
        let series = |of: fn(&Interval) -> Option<Extreme>| {
            self.intervals.iter().filter_map(of).collect::<Vec<Extreme>>()
        };
        let (mut there, mut back) = (series(|i| i.there), series(|i| i.back));
        let both_ways = !there.is_empty() && !back.is_empty();
        let steps = self.steps(&there, &back);
        for extreme in there.iter_mut().chain(&mut back) {
            let before = steps.iter().filter(|(when, _)| *when <= extreme.ts);
            extreme.later = before.fold(extreme.later, |later, (_, step)| later.saturating_sub(*step));
        }
        let slopes: Vec<Slope> = [&there, &back].into_iter().filter_map(|way| slope(way)).collect();
        let drift = (!slopes.is_empty()).then(|| mean(slopes.iter().map(|slope| slope.value)));
        let drift_uncertainty = drift.map(|drift| {
            let apart = slopes.iter().map(|slope| (slope.value - drift).abs()).fold(0.0, f64::max);
            slopes.iter().map(|slope| slope.deviation * 2.0).fold(apart, f64::max)
        });
        // A slope that may as well be none is taken for none.
        let slope = drift.filter(|drift| drift.abs() > drift_uncertainty.unwrap_or_default()).unwrap_or(0.0);
        let level = |way: &[Extreme]| {
            let drifted = |extreme: &Extreme| (extreme.ts.saturating_sub(origin) as f64 * slope) as i64;
            let mut flat: Vec<i64> =
                way.iter().map(|extreme| extreme.later.saturating_sub(drifted(extreme))).collect();
            Some((median(&mut flat)?, deviation(&mut flat)))
        };
        // Over the whole time, the slope may be off by so much.
        let span = self.intervals.len() as f64 * (1_u64 << self.shift) as f64;
        let unsure = (drift_uncertainty.unwrap_or_default() * span / 2.0) as i64;
        let (offset, offset_uncertainty) = match (level(&there), level(&back)) {
            (Some((there, a)), Some((back, b))) => {
                let half = there.saturating_sub(back).saturating_abs() / 2;
                (i64::midpoint(there, back), Some(half + a.max(b) + unsure))
            }
            (Some((one, _)), None) | (None, Some((one, _))) => (one, None),
            (None, None) => return None,
        };
        let ppm = |slope: f64| slope * 1e6;
        Some(Solved {
            both_ways,
            offset,
            offset_uncertainty,
            drift: drift.map(ppm),
            drift_uncertainty: drift_uncertainty.map(ppm),
            steps,
            origin,
            slope,
        })
    }

    /// The jumps that both ways bear out, or the one there is.
    fn steps(&self, there: &[Extreme], back: &[Extreme]) -> Vec<(i64, i64)> {
        let near = 3_i64 << self.shift;
        let (on_there, on_back) = (jumps(there), jumps(back));
        if on_there.is_empty() && on_back.is_empty() {
            return Vec::new();
        }
        // A way with too few packets says nothing against it.
        if back.len() < 2 * LASTING {
            return on_there;
        }
        if there.len() < 2 * LASTING {
            return on_back;
        }
        let agrees = |&(ts, jump): &(i64, i64)| {
            let same = |&&(other_ts, other): &&(i64, i64)| {
                (ts - other_ts).abs() <= near && (jump - other).abs() <= jump.abs() / 4
            };
            let other = on_back.iter().find(same)?;
            Some((ts.min(other.0), i64::midpoint(jump, other.1)))
        };
        on_there.iter().filter_map(agrees).collect()
    }
}

fn keep(slot: &mut Option<Extreme>, new: Extreme, is_better: fn(i64, i64) -> bool) {
    if slot.is_none_or(|old| is_better(new.later, old.later)) {
        *slot = Some(new);
    }
}

/// Where a series jumps by far more than it usually changes, and stays there.
fn jumps(series: &[Extreme]) -> Vec<(i64, i64)> {
    let mut changes: Vec<i64> = series
        .windows(2)
        .filter_map(|pair| Some(pair.last()?.later.saturating_sub(pair.first()?.later)))
        .collect();
    let all = changes.clone();
    let Some(usual) = median(&mut changes) else { return Vec::new() };
    let limit = LEAST_STEP.max(deviation(&mut changes).saturating_mul(10));
    let mut found: Vec<(i64, i64)> = Vec::new();
    for (at, change) in all.iter().enumerate() {
        if change.saturating_sub(usual).saturating_abs() <= limit {
            continue;
        }
        let level = |from: usize, to: usize| {
            let mut some: Vec<i64> =
                series.get(from..to.min(series.len()))?.iter().map(|extreme| extreme.later).collect();
            if some.len() < LASTING { None } else { median(&mut some) }
        };
        let next = at + 1;
        let (Some(before), Some(after)) =
            (level(next.saturating_sub(LASTING), next), level(next, next + LASTING))
        else {
            continue;
        };
        let step = after.saturating_sub(before);
        if (step - change).abs() <= change.abs() / 4
            && let Some(extreme) = series.get(next)
        {
            found.push((extreme.ts, step));
        }
    }
    found
}

struct Slope {
    value: f64,
    deviation: f64,
}

/// The median of all slopes between two intervals, with its standard deviation.
fn slope(series: &[Extreme]) -> Option<Slope> {
    if series.len() < MIN_INTERVALS {
        return None;
    }
    let mut slopes = Vec::with_capacity(series.len() * series.len() / 2);
    for (at, a) in series.iter().enumerate() {
        for b in series.iter().skip(at + 1) {
            let time = b.ts.saturating_sub(a.ts);
            if time > 0 {
                slopes.push(b.later.saturating_sub(a.later) as f64 / time as f64);
            }
        }
    }
    if slopes.is_empty() {
        return None;
    }
    let middle = slopes.len() / 2;
    let value = *slopes.select_nth_unstable_by(middle, f64::total_cmp).1;
    let (first, last) = (series.first()?, series.last()?);
    let mut rest: Vec<i64> = series
        .iter()
        .map(|extreme| extreme.later - (extreme.ts.saturating_sub(first.ts) as f64 * value) as i64)
        .collect();
    // Of a line through n points evenly spread over a span, the slope's deviation is that of the points times √(12/n) / span.
    let span = last.ts.saturating_sub(first.ts) as f64;
    let deviation = deviation(&mut rest) as f64 * (12.0 / series.len() as f64).sqrt() / span;
    Some(Slope { value, deviation })
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let len = values.len() as f64;
    values.sum::<f64>() / len
}

/// The standard deviation, as the median absolute deviation tells it of what is normally distributed.
fn deviation(values: &mut [i64]) -> i64 {
    let Some(middle) = median(values) else { return 0 };
    let mut apart: Vec<i64> =
        values.iter().map(|value| value.saturating_sub(middle).saturating_abs()).collect();
    median(&mut apart).unwrap_or_default().saturating_mul(3) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: i64 = 1000;
    const MS: i64 = 1000 * US;
    const SECOND: i64 = 1000 * MS;

    /// A packet each millisecond, there and back in turn, for so long; `offset` is that of the other clock at a time.
    fn clock(seconds: i64, offset: impl Fn(i64) -> i64, delays: (i64, i64)) -> Clock {
        let mut clock = Clock::default();
        for n in 0..seconds * 1000 {
            let ts = n * MS;
            // Some jitter that never repeats soon: multiples of a prime.
            let jitter = n * 7919 % 200 * US;
            if n % 2 == 0 {
                clock.add(ts, offset(ts) + delays.0 + jitter, Way::There);
            } else {
                clock.add(ts, offset(ts) - delays.1 - jitter, Way::Back);
            }
        }
        clock
    }

    #[test]
    fn offset_and_drift_lie_within_their_uncertainty() {
        for (offset, ppm) in
            [(0, 0.0), (3 * MS, 20.0), (-250 * MS, -50.0), (7 * SECOND, 100.0), (3600 * SECOND, 1.0)]
        {
            let at = |ts: i64| offset + (ts as f64 * ppm / 1e6) as i64;
            let solved = clock(60, at, (2 * MS, 5 * MS)).solve().unwrap();
            let unsure = solved.offset_uncertainty.unwrap();
            assert!((solved.offset - offset).abs() <= unsure, "{solved:?}");
            // Half of what both delays together take, and jitter.
            assert!((3 * MS..5 * MS).contains(&unsure), "{solved:?}");
            assert!(
                (solved.drift.unwrap() - ppm).abs() <= solved.drift_uncertainty.unwrap() + 0.01,
                "{solved:?}"
            );
            assert!(solved.drift_uncertainty.unwrap() < 1.0 && solved.steps.is_empty(), "{solved:?}");
            assert!((solved.at(60 * SECOND) - at(60 * SECOND)).abs() <= unsure);
        }
    }

    #[test]
    fn one_way_tells_no_uncertainty() {
        let mut clock = Clock::default();
        for n in 0..1000 {
            clock.add(n * MS, 5 * MS, Way::There);
        }
        let solved = clock.solve().unwrap();
        assert_eq!((solved.both_ways, solved.offset, solved.offset_uncertainty), (false, 5 * MS, None));
    }

    #[test]
    fn a_step_of_the_clock_is_told_from_a_longer_path() {
        let step = |ts: i64| if ts < 30 * SECOND { 0 } else { 200 * MS };
        let solved = clock(60, step, (2 * MS, 2 * MS)).solve().unwrap();
        let [(when, size)] = solved.steps[..] else { panic!("{solved:?}") };
        assert!((when - 30 * SECOND).abs() < SECOND && (size - 200 * MS).abs() < MS, "{solved:?}");
        assert!(solved.offset.abs() <= solved.offset_uncertainty.unwrap());
        // The way there takes longer, the way back too: both differences change, but apart.
        let mut longer = Clock::default();
        for n in 0..60_000 {
            let delay = if n < 30_000 { 2 * MS } else { 202 * MS };
            let (later, way) = if n % 2 == 0 { (delay, Way::There) } else { (-delay, Way::Back) };
            longer.add(n * MS, later, way);
        }
        assert_eq!(longer.solve().unwrap().steps, []);
    }

    #[test]
    fn a_long_time_takes_no_more_memory() {
        let mut clock = Clock::default();
        for n in 0..100_000 {
            clock.add(n * SECOND, MS, Way::There);
        }
        assert!(clock.intervals.len() <= MAX_INTERVALS);
    }
}
