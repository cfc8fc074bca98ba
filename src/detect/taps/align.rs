//! How far the clocks of streams are apart, as well as merging needs to know it.
//!
//! Before the first packet is taken, the first packets of all streams are compared by their ids, whatever their times; and while
//! a stream waits, what passes on others is compared with its first packets. Later, drift and steps are followed by what both
//! sides see. What is told apart finely, and with its uncertainty, is the business of [`Clock`](super::clock::Clock).

use std::ops::Range;

use hashbrown::HashMap;

use crate::detect::Sighting;
use crate::packets::{Packets, ids};

/// So many common packets are needed to believe a difference of clocks.
const ENOUGH: usize = 4;
/// The common packets that agree lie within this, in nanoseconds.
const AGREE: i64 = 1_000_000_000;
/// Differences below this are left as they are, where delay and offset can be told apart, in nanoseconds.
const FINE: i64 = 10_000_000;
/// Differences below this are left as they are, where they cannot: the packets may have been on their way for so long.
const COARSE: i64 = 1_000_000_000;
/// Differences while reading that are followed, in nanoseconds.
const FOLLOWED: i64 = 50_000_000;
/// How many common packets are gathered before their difference is followed.
const GATHERED: usize = 64;

/// When a packet was seen, and with which TTL.
type When = (i64, u8);

/// The first packets of a stream that can be told from others.
#[derive(Debug, Default)]
pub(in crate::detect) struct First {
    seen: HashMap<u64, When>,
    frames: usize,
}

impl First {
    /// How many frames it was shown.
    pub(in crate::detect) fn frames(&self) -> usize {
        self.frames
    }

    /// Adds the packets in these rows of a batch.
    pub(in crate::detect) fn add(&mut self, packets: &Packets<'_>, rows: Range<usize>) {
        self.frames += rows.len();
        for packet in rows.filter_map(|row| packets.get(row)) {
            if let Some(id) = packet.packet_id().filter(|&id| ids::is_strong(id)) {
                self.seen.entry(id).or_insert((packet.ts(), packet.ttl().unwrap_or_default()));
            }
        }
    }

    /// By how much this stream's clock is ahead of the other's, if they have enough packets in common.
    pub(in crate::detect) fn ahead_of(&self, other: &Self) -> Option<i64> {
        let common = self.seen.iter().filter_map(|(id, &here)| Some((here, *other.seen.get(id)?)));
        difference(common.map(|(here, there)| pair(here, there)).collect())
    }
}

/// How much later a packet was seen here than there, and how much its TTL fell on the way to here.
fn pair(here: When, there: When) -> (i64, i16) {
    (here.0.saturating_sub(there.0), i16::from(there.1) - i16::from(here.1))
}

/// The difference of clocks that most pairs agree on; none if it need not be corrected.
fn difference(mut pairs: Vec<(i64, i16)>) -> Option<i64> {
    let all = pairs.len();
    pairs.sort_unstable();
    let middle = pairs.get(all / 2)?.0;
    pairs.retain(|(later, _)| later.saturating_sub(middle).saturating_abs() <= AGREE);
    if pairs.len() < ENOUGH || pairs.len() * 3 < all * 2 {
        return None;
    }
    Some(symmetric(&pairs, FINE).unwrap_or(0))
}

/// What is the same in both directions; of one direction, the difference as it is if it is too large to be a delay. None if
/// that is less than `fine`.
fn symmetric(sorted: &[(i64, i16)], fine: i64) -> Option<i64> {
    let middle = |wanted: fn(i16) -> bool| {
        let some: Vec<i64> =
            sorted.iter().filter(|(_, fall)| wanted(*fall)).map(|(later, _)| *later).collect();
        some.get(some.len() / 2).copied()
    };
    let (there, back) = (middle(|fall| fall > 0), middle(|fall| fall < 0));
    let (value, least) = match (there, back) {
        (Some(there), Some(back)) => (i64::midpoint(there, back), fine),
        _ => (middle(|_| true)?, COARSE),
    };
    (value.saturating_abs() >= least).then_some(value)
}

/// The correction of each stream's clock.
#[derive(Debug, Default)]
pub(in crate::detect) struct Alignment {
    /// What is added to the times of each stream.
    shifts: Vec<i64>,
    /// Streams of which nothing was taken yet, and nothing is known either.
    waiting: Vec<Waiting>,
    /// What was seen of each stream against those before it, since it was last corrected.
    recent: Vec<Vec<(i64, i16)>>,
}

#[derive(Debug)]
struct Waiting {
    stream: usize,
    first: First,
    common: Vec<(i64, i16)>,
}

impl Alignment {
    /// What the first packets of the streams tell. Each stream is aligned with one before it.
    pub(in crate::detect) fn new(first: Vec<First>) -> Self {
        let mut shifts = vec![0_i64; first.len()];
        let mut known = vec![false; first.len()];
        if let Some(known) = known.first_mut() {
            *known = true;
        }
        // As often as there are streams: one may be aligned by way of a later one.
        for _ in 0..first.len() {
            for here in 0..first.len() {
                if known.get(here) != Some(&false) {
                    continue;
                }
                let with = |there: usize| {
                    if known.get(there) != Some(&true) {
                        return None;
                    }
                    let ahead = first.get(here)?.ahead_of(first.get(there)?)?;
                    Some(shifts.get(there)?.saturating_sub(ahead))
                };
                if let Some(shift) = (0..first.len()).find_map(with)
                    && let (Some(slot), Some(known)) = (shifts.get_mut(here), known.get_mut(here))
                {
                    (*slot, *known) = (shift, true);
                }
            }
        }
        // Of two that know nothing of each other, either may be the one that waits.
        if first.len() == 2 && known == [true, false] {
            known.fill(false);
        }
        let recent = vec![Vec::new(); first.len()];
        let waiting = first.into_iter().zip(known).enumerate().filter(|(_, (_, known))| !known);
        let waiting =
            waiting.map(|(stream, (first, _))| Waiting { stream, first, common: Vec::new() }).collect();
        Self { shifts, waiting, recent }
    }

    /// Whether each stream but the first has enough packets in common with one of the others.
    pub(in crate::detect) fn is_complete(first: &[First]) -> bool {
        (1..first.len()).all(|here| {
            let mut others = first.iter().enumerate().filter(|(there, _)| *there != here);
            others.any(|(_, there)| first.get(here).is_some_and(|here| here.ahead_of(there).is_some()))
        })
    }

    /// What to add to the times of a stream.
    #[inline]
    pub(in crate::detect) fn shift(&self, stream: usize) -> i64 {
        self.shifts.get(stream).copied().unwrap_or_default()
    }

    /// Takes note that a packet of a stream is taken: a stream that waits may be found to have it too.
    #[inline]
    pub(in crate::detect) fn taken(&mut self, stream: usize, sighting: Sighting) {
        if !self.waiting.is_empty() {
            self.look_ahead(stream, sighting);
        }
    }

    fn look_ahead(&mut self, stream: usize, sighting: Sighting) {
        // What has begun is compared by what is remembered.
        self.waiting.retain(|waiting| waiting.stream != stream);
        for waiting in &mut self.waiting {
            let Some(&(ts, ttl)) = waiting.first.seen.get(&sighting.packet_id) else { continue };
            let here = (ts.saturating_add(self.shifts.get(waiting.stream).copied().unwrap_or_default()), ttl);
            waiting.common.push(pair(here, (sighting.ts, sighting.ttl)));
            if waiting.common.len() % 8 != 0 && waiting.common.len() != ENOUGH {
                continue;
            }
            if let (Some(ahead), Some(shift)) =
                (difference(waiting.common.clone()), self.shifts.get_mut(waiting.stream))
            {
                *shift = shift.saturating_sub(ahead);
                waiting.first.seen.clear();
            }
        }
        self.waiting.retain(|waiting| !waiting.first.seen.is_empty());
    }

    /// Takes note of a packet that two streams saw, with the times of their own clocks: what was corrected since the first of them was
    /// taken counts for both.
    #[inline]
    pub(in crate::detect) fn common(&mut self, here: (usize, When), there: (usize, When)) {
        let align =
            |(stream, (ts, ttl)): (usize, When)| (stream, (ts.saturating_add(self.shift(stream)), ttl));
        let (here, there) = (align(here), align(there));
        let (late, early) = if here.0 > there.0 { (here, there) } else { (there, here) };
        let Some(recent) = self.recent.get_mut(late.0) else { return };
        recent.push(pair(late.1, early.1));
        if recent.len() >= GATHERED {
            recent.sort_unstable();
            if let (Some(ahead), Some(shift)) = (symmetric(recent, FOLLOWED), self.shifts.get_mut(late.0)) {
                *shift = shift.saturating_sub(ahead);
            }
            recent.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const HOUR: i64 = 3_600_000 * MS;

    fn first(packets: &[(u64, i64, u8)]) -> First {
        let seen = packets.iter().map(|&(id, ts, ttl)| (id, (ts, ttl))).collect();
        First { seen, frames: packets.len() }
    }

    #[test]
    fn an_hour_is_found_from_both_directions() {
        // Three milliseconds there, one back; the second clock is an hour ahead.
        let a = first(&[(1, 0, 64), (2, 10 * MS, 64), (3, 21 * MS, 63), (4, 31 * MS, 63)]);
        let b = first(&[
            (1, HOUR + 3 * MS, 63),
            (2, HOUR + 13 * MS, 63),
            (3, HOUR + 20 * MS, 64),
            (4, HOUR + 30 * MS, 64),
        ]);
        let alignment = Alignment::new(vec![a, b]);
        assert_eq!((alignment.shift(1), alignment.waiting.is_empty()), (-HOUR - MS, true));
    }

    #[test]
    fn one_direction_is_aligned_only_if_no_delay_explains_it() {
        let at = |delay: i64| {
            let a = first(&[(1, 0, 64), (2, 1, 64), (3, 2, 64), (4, 3, 64)]);
            let b = first(&[(1, delay, 63), (2, delay + 1, 63), (3, delay + 2, 63), (4, delay + 3, 63)]);
            Alignment::new(vec![a, b]).shift(1)
        };
        assert_eq!((at(900 * MS), at(HOUR)), (0, -HOUR));
    }

    #[test]
    fn a_stream_that_waits_is_found_when_its_packets_come_by() {
        let b = (10..20).map(|id| (id, 5 * HOUR + id as i64 * MS, 63)).collect::<Vec<_>>();
        let mut alignment = Alignment::new(vec![first(&[(1, 0, 64)]), first(&b)]);
        assert!(!alignment.waiting.is_empty());
        for id in 1..20 {
            let ts = id as i64 * MS;
            alignment.taken(0, Sighting { packet_id: id, ts, ttl: 64, ..Sighting::default() });
        }
        assert_eq!((alignment.shift(1), alignment.waiting.is_empty()), (-5 * HOUR, true));
    }

    #[test]
    fn few_or_contradictory_packets_align_nothing() {
        let a = first(&[(1, 0, 64), (2, 0, 64), (3, 0, 64)]);
        assert_eq!(a.ahead_of(&first(&[(1, HOUR, 63), (2, HOUR, 63), (3, HOUR, 63)])), None);
        let a = first(&(1..9).map(|id| (id, 0, 64)).collect::<Vec<_>>());
        let b = first(&(1..9).map(|id| (id, id as i64 * HOUR, 63)).collect::<Vec<_>>());
        assert_eq!(b.ahead_of(&a), None);
    }

    #[test]
    fn a_step_of_the_clock_is_followed() {
        let mut alignment = Alignment::new(vec![First::default(), First::default()]);
        let step = 2000 * MS;
        for n in 0..GATHERED as i64 {
            let ts = n * MS;
            let (there, back) = ((ts, 64), (ts + step - MS, 64));
            if n % 2 == 0 {
                alignment.common((1, (ts + step + MS, 63)), (0, there));
            } else {
                alignment.common((0, (ts, 63)), (1, back));
            }
        }
        assert_eq!(alignment.shift(1), -step);
        // What was taken before it was corrected does not correct it again.
        for n in 0..2 * GATHERED as i64 {
            alignment.common((0, (n * MS, 63)), (1, (n * MS + step - MS, 64)));
            alignment.common((1, (n * MS + step + MS, 63)), (0, (n * MS, 64)));
        }
        assert_eq!(alignment.shift(1), -step);
    }
}
