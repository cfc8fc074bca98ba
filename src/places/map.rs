//! Values of address ranges, found in a few steps.
//!
//! Ranges become boundaries in order, each with the value that holds from there on. A boundary is found by the first 16 bits of
//! an address, then by as many of the next bits as there are boundaries that share those 16, then by halving what is left.

use std::collections::BinaryHeap;

use crate::wire::ip::Addr;

/// Where IPv4 begins among the addresses: `::ffff:0:0/96`.
const V4: u128 = 0xffff << 32;
/// Bits that an IPv4-mapped address has behind that.
const V4_BITS: u32 = 32;
/// Bits of the first level.
const FIRST: u32 = 16;
/// So many boundaries or fewer are halved without a level in between.
const FEW: usize = 16;
/// The value of what no range holds.
const NONE: u32 = u32::MAX;

/// Addresses from a first to a last one, all IPv4 (as `::ffff:a.b.c.d`) or all IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    first: u128,
    last: u128,
}

impl Range {
    /// The addresses from one to another, both included. None if they are of different kinds or in the wrong order.
    pub fn new(first: Addr, last: Addr) -> Option<Self> {
        let (first, last) = (u128::from_be_bytes(first), u128::from_be_bytes(last));
        (first <= last && is_v4(first) == is_v4(last)).then_some(Self { first, last })
    }

    /// Its first address.
    pub fn first(self) -> Addr {
        self.first.to_be_bytes()
    }

    /// Its last address.
    pub fn last(self) -> Addr {
        self.last.to_be_bytes()
    }

    /// Whether all of the other lies in it.
    pub fn holds(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last && self.is_v4() == other.is_v4()
    }

    /// What lies before the other, and what lies behind it; all of it before, if the two have nothing in common.
    pub fn without(self, other: Self) -> [Option<Self>; 2] {
        if self.last < other.first || other.last < self.first || self.is_v4() != other.is_v4() {
            return [Some(self), None];
        }
        let before = (self.first < other.first)
            .then(|| Self { first: self.first, last: other.first.saturating_sub(1) });
        let behind =
            (other.last < self.last).then(|| Self { first: other.last.saturating_add(1), last: self.last });
        [before, behind]
    }

    fn is_v4(self) -> bool {
        is_v4(self.first)
    }
}

fn is_v4(addr: u128) -> bool {
    addr >> V4_BITS == V4 >> V4_BITS
}

/// Gathers ranges for a [`RangeMap`].
#[derive(Debug, Default)]
pub struct Builder {
    v4: Vec<Entry>,
    v6: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    first: u128,
    last: u128,
    /// Wins over those of lower rank, whatever their size.
    rank: u16,
    value: u32,
}

impl Builder {
    /// Adds a range. Of two that overlap, the one of higher rank wins, then the smaller, then the later.
    pub fn add(&mut self, range: Range, rank: u16, value: u32) {
        let Range { first, last } = range;
        let entries = if range.is_v4() { &mut self.v4 } else { &mut self.v6 };
        entries.push(Entry { first, last, rank, value });
    }

    /// How many ranges there are.
    pub fn count(&self) -> usize {
        self.v4.len().saturating_add(self.v6.len())
    }

    /// The map of them.
    pub fn build(self) -> RangeMap {
        RangeMap {
            // What begins behind the last address of IPv4 is no boundary of it.
            v4: Level::new(
                boundaries(self.v4)
                    .filter(|&(first, _)| is_v4(first))
                    .map(|(first, value)| (first as u32, value)),
            ),
            v6: Level::new(boundaries(self.v6)),
        }
    }
}

/// Where the value changes, and to what, in order.
fn boundaries(mut entries: Vec<Entry>) -> impl Iterator<Item = (u128, u32)> {
    // Stable, and the heap below breaks ties by position: later ones win.
    entries.sort_by_key(|entry| entry.first);
    let mut changes: Vec<(u128, u32)> = Vec::new();
    // Those that hold here, the one that wins on top: rank, smaller, later; then where it ends and what it says.
    let mut open = BinaryHeap::new();
    let mut coming = entries.iter().enumerate().peekable();
    let mut at = coming.peek().map(|(_, entry)| entry.first);
    while let Some(here) = at {
        while let Some((place, entry)) = coming.next_if(|(_, entry)| entry.first <= here) {
            let size = entry.last.saturating_sub(entry.first);
            open.push((entry.rank, std::cmp::Reverse(size), place, entry.last, entry.value));
        }
        while open.peek().is_some_and(|&(_, _, _, last, _)| last < here) {
            open.pop();
        }
        let value = open.peek().map_or(NONE, |top| top.4);
        if changes.last().map_or(NONE, |&(_, before)| before) != value {
            changes.push((here, value));
        }
        let end = open.peek().and_then(|top| top.3.checked_add(1));
        let next = coming.peek().map(|(_, entry)| entry.first);
        at = match (end, next) {
            (Some(end), Some(next)) => Some(end.min(next)),
            (one, other) => one.or(other),
        };
    }
    changes.into_iter()
}

/// Values of address ranges: for each address that of the range which wins there. See [`Builder::add`].
#[derive(Debug, Clone, Default)]
pub struct RangeMap {
    v4: Level<u32>,
    v6: Level<u128>,
}

impl RangeMap {
    /// The value of the address.
    #[inline]
    pub fn get(&self, addr: Addr) -> Option<u32> {
        let addr = u128::from_be_bytes(addr);
        let value = if is_v4(addr) { self.v4.get(addr as u32) } else { self.v6.get(addr) };
        (value != NONE).then_some(value)
    }

    /// Whether no address has a value.
    pub fn is_empty(&self) -> bool {
        self.v4.boundaries.is_empty() && self.v6.boundaries.is_empty()
    }
}

/// An address of one kind.
trait Key: Copy + Ord {
    /// So many of its bits, those behind the first ones that are skipped.
    fn bits(self, skip: u32, count: u32) -> usize;
}

impl Key for u32 {
    #[inline]
    fn bits(self, skip: u32, count: u32) -> usize {
        (self.checked_shl(skip).unwrap_or(0)).checked_shr(32_u32.saturating_sub(count)).unwrap_or(0) as usize
    }
}

impl Key for u128 {
    #[inline]
    fn bits(self, skip: u32, count: u32) -> usize {
        // Only the first 64 bits are asked for: 64-bit shifts are faster.
        let upper = (self >> 64) as u64;
        (upper.checked_shl(skip).unwrap_or(0)).checked_shr(64_u32.saturating_sub(count)).unwrap_or(0) as usize
    }
}

/// Boundaries of one kind of address.
#[derive(Debug, Clone)]
struct Level<K> {
    /// Where a value begins, and the value: side by side, so that both are in one line of the cache.
    boundaries: Vec<(K, u32)>,
    /// By the first 16 bits, and one more for the end; empty if there are few boundaries.
    first: Vec<Bucket>,
    /// By the bits behind those: how many boundaries come before.
    second: Vec<u32>,
}

impl<K> Default for Level<K> {
    fn default() -> Self {
        Self { boundaries: Vec::new(), first: Vec::new(), second: Vec::new() }
    }
}

/// Boundaries that share their first 16 bits.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// How many come before these.
    start: u32,
    /// Where in the second level this one's part begins.
    second: u32,
    /// How many bits that part goes by, 0 if there is none.
    bits: u32,
}

impl<K: Key> Level<K> {
    fn new(changes: impl Iterator<Item = (K, u32)>) -> Self {
        let mut level = Self { boundaries: changes.collect(), ..Self::default() };
        if level.boundaries.len() <= FEW {
            return level;
        }
        let mut rest = level.boundaries.as_slice();
        let mut start = 0;
        for number in 0..1_usize << FIRST {
            let (these, behind) =
                rest.split_at(rest.partition_point(|(key, _)| key.bits(0, FIRST) == number));
            let mut bucket = Bucket { start, second: level.second.len() as u32, bits: 0 };
            if these.len() > FEW {
                bucket.bits = these.len().ilog2().min(FIRST);
                // One more than there are numbers, so that the end of a part is the beginning of the next.
                level.second.extend((0..=1_usize << bucket.bits).map(|part| {
                    start + these.partition_point(|(key, _)| key.bits(FIRST, bucket.bits) < part) as u32
                }));
            }
            level.first.push(bucket);
            start += these.len() as u32;
            rest = behind;
        }
        level.first.push(Bucket { start, ..Bucket::default() });
        level
    }

    #[inline]
    fn get(&self, key: K) -> u32 {
        let (start, end) = self.within(key);
        let within = self.boundaries.get(start..end).unwrap_or_default();
        let behind = start + within.partition_point(|&(first, _)| first <= key);
        behind.checked_sub(1).and_then(|at| self.boundaries.get(at)).map_or(NONE, |&(_, value)| value)
    }

    /// Where among the boundaries the first one behind the key can be.
    #[inline]
    fn within(&self, key: K) -> (usize, usize) {
        let number = key.bits(0, FIRST);
        let Some([bucket, next]) = self.first.get(number..number + 2) else {
            return (0, self.boundaries.len());
        };
        if bucket.bits == 0 {
            return (bucket.start as usize, next.start as usize);
        }
        let part = bucket.second as usize + key.bits(FIRST, bucket.bits);
        let Some(&[start, end]) = self.second.get(part..part + 2) else {
            return (bucket.start as usize, next.start as usize);
        };
        (start as usize, end as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packets::address::parse_address;

    fn range(first: &str, last: &str) -> Range {
        Range::new(parse_address(first).unwrap(), parse_address(last).unwrap()).unwrap()
    }

    fn get(map: &RangeMap, addr: &str) -> Option<u32> {
        map.get(parse_address(addr).unwrap())
    }

    #[test]
    fn the_smaller_wins_then_the_later_and_rank_before_both() {
        let mut builder = Builder::default();
        builder.add(range("192.0.2.0", "192.0.2.255"), 0, 1);
        builder.add(range("192.0.2.64", "192.0.2.127"), 0, 2);
        builder.add(range("192.0.2.64", "192.0.2.127"), 0, 3);
        builder.add(range("192.0.2.96", "192.0.2.159"), 0, 4);
        builder.add(range("192.0.2.120", "192.0.2.129"), 1, 5);
        builder.add(range("192.0.2.125", "192.0.2.125"), 0, 6);
        builder.add(range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 9, 7);
        let map = builder.build();
        for (addr, value) in [
            ("192.0.1.255", None),
            ("192.0.2.0", Some(1)),
            ("192.0.2.64", Some(3)),
            ("192.0.2.96", Some(4)), // as large as the one before, and later
            ("192.0.2.119", Some(4)),
            ("192.0.2.125", Some(5)),
            ("192.0.2.129", Some(5)),
            ("192.0.2.130", Some(4)),
            ("192.0.2.160", Some(1)),
            ("192.0.3.0", None),
            ("::1", Some(7)),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some(7)),
        ] {
            assert_eq!(get(&map, addr), value, "{addr}");
        }
    }

    #[test]
    fn all_of_ipv6_is_not_ipv4() {
        assert!(Range::new(parse_address("0.0.0.0").unwrap(), parse_address("::1:0:0:0").unwrap()).is_none());
        assert!(
            Range::new(parse_address("192.0.2.9").unwrap(), parse_address("192.0.2.8").unwrap()).is_none()
        );
        let (all, some) = (range("0.0.0.0", "255.255.255.255"), range("10.0.0.0", "10.255.255.255"));
        assert!(all.holds(some) && !some.holds(all) && some.holds(some));
        assert_eq!(
            all.without(some),
            [Some(range("0.0.0.0", "9.255.255.255")), Some(range("11.0.0.0", "255.255.255.255"))]
        );
        assert_eq!(some.without(all), [None, None]);
        assert_eq!(some.without(range("11.0.0.0", "11.0.0.1")), [Some(some), None]);
    }

    /// Addresses that lie close together, so that ranges meet and buckets are full.
    fn addresses() -> impl Strategy<Value = u128> {
        prop_oneof![
            (0..6_000_u128).prop_map(|low| V4 + (0xc000_0000 + low)),
            any::<u32>().prop_map(|low| V4 + u128::from(low)),
            (0..6_000_u128).prop_map(|low| (0x2001_0db8 << 96) + (low << 64)),
            (0..600_u128).prop_map(|low| (0x2001_0db8 << 96) + low),
            any::<u128>(),
            Just(0),
            Just(u128::MAX),
        ]
    }

    proptest! {
        #[test]
        fn a_map_says_what_looking_through_all_ranges_says(
            ranges in prop::collection::vec((addresses(), addresses(), 0_u16..3), 0..200),
            asked in prop::collection::vec(addresses(), 50),
        ) {
            let mut builder = Builder::default();
            let mut all = Vec::new();
            for (value, (a, b, rank)) in ranges.into_iter().enumerate() {
                let (first, last) = (a.min(b), a.max(b));
                let Some(range) = Range::new(first.to_be_bytes(), last.to_be_bytes()) else { continue };
                builder.add(range, rank, value as u32);
                all.push((first, last, rank, value as u32));
            }
            let map = builder.build();
            let edges = all.iter().flat_map(|r| [r.0, r.1, r.0.wrapping_sub(1), r.1.wrapping_add(1)]);
            for addr in asked.into_iter().chain(edges) {
                let holding = all.iter().filter(|r| r.0 <= addr && addr <= r.1 && is_v4(r.0) == is_v4(addr));
                let expected =
                    holding.max_by_key(|r| (r.2, std::cmp::Reverse(r.1 - r.0), r.3)).map(|r| r.3);
                prop_assert_eq!(map.get(addr.to_be_bytes()), expected, "{:x}", addr);
            }
        }
    }
}
