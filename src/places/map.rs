//! Values of address ranges, found in a few steps.
//!
//! Ranges become boundaries in order, each with the value that holds from there on. An IPv4 address is found by its first 16 bits, where the
//! value changes within those by the next 8, and where it changes within those by halving: most need one line of memory that no
//! cache holds. An IPv6 address is found by its first 16 bits, then by as many of the next as there are boundaries that share
//! those 16, then by halving what is left.

use std::collections::{BinaryHeap, HashMap};

use crate::wire::ip::Addr;

/// Where IPv4 begins among the addresses: `::ffff:0:0/96`.
const V4: u128 = 0xffff << 32;
/// Bits that an IPv4-mapped address has behind that.
const V4_BITS: u32 = 32;
/// Bits of the first level.
const FIRST: u32 = 16;
/// So many boundaries or fewer are halved without a level in between.
const FEW: usize = 16;
/// The value of what no range holds. Values are smaller.
const NONE: u32 = Slot::WITHIN - 1;

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
        RangeMap::new(self.boundaries())
    }

    /// One map of two: values are places in the list of what both say, the first of nothing.
    pub fn join(self, other: Self) -> (RangeMap, Vec<[Option<u32>; 2]>) {
        let mut said = Vec::new();
        let mut numbers = HashMap::new();
        let [one, two] = [self.boundaries(), other.boundaries()];
        let join = |(one, two): (&[Boundary<u128>], &[Boundary<u128>])| {
            let mut number = |pair: [u32; 2]| {
                *numbers.entry(pair).or_insert_with(|| {
                    said.push(pair.map(|value| (value != NONE).then_some(value)));
                    said.len() as u32 - 1
                })
            };
            let mut joined = Vec::with_capacity(one.len().saturating_add(two.len()));
            let (mut one, mut two) = (one.iter().peekable(), two.iter().peekable());
            let mut pair = [NONE; 2];
            while let Some(here) =
                one.peek().map(|each| each.0).into_iter().chain(two.peek().map(|each| each.0)).min()
            {
                for (value, side) in pair.iter_mut().zip([&mut one, &mut two]) {
                    if let Some(&(_, changed)) = side.next_if(|each| each.0 == here) {
                        *value = changed;
                    }
                }
                joined.push((here, if pair == [NONE; 2] { NONE } else { number(pair) }));
            }
            joined
        };
        let mut join = join;
        let v4 = join((&one.v4, &two.v4));
        let v6 = join((&one.v6, &two.v6));
        (RangeMap::new(Boundaries { v4, v6 }), said)
    }

    fn boundaries(self) -> Boundaries {
        // What begins behind the last address of IPv4 is no boundary of it.
        let v4 = boundaries(self.v4).filter(|&(first, _)| is_v4(first)).collect();
        Boundaries { v4, v6: boundaries(self.v6).collect() }
    }
}

/// Where a value begins, and the value: side by side, so that both are in one line of the cache.
type Boundary<K> = (K, u32);

/// All of them, in order.
struct Boundaries {
    v4: Vec<Boundary<u128>>,
    v6: Vec<Boundary<u128>>,
}

/// Where the value changes, and to what, in order.
fn boundaries(entries: Vec<Entry>) -> impl Iterator<Item = (u128, u32)> {
    // The heap below breaks ties by when they were added: later ones win.
    let mut entries: Vec<_> = entries.into_iter().enumerate().collect();
    entries.sort_by_key(|(_, entry)| entry.first);
    let mut changes: Vec<(u128, u32)> = Vec::new();
    // Those that hold here, the one that wins on top: rank, smaller, later; then where it ends and what it says.
    let mut open = BinaryHeap::new();
    let mut coming = entries.iter().peekable();
    let mut at = coming.peek().map(|(_, entry)| entry.first);
    while let Some(here) = at {
        while let Some(&(added, entry)) = coming.next_if(|(_, entry)| entry.first <= here) {
            let size = entry.last.saturating_sub(entry.first);
            open.push((entry.rank, std::cmp::Reverse(size), added, entry.last, entry.value));
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
    v4: V4,
    v6: V6,
}

impl RangeMap {
    fn new(all: Boundaries) -> Self {
        let v4 = all.v4.into_iter().map(|(first, value)| (first as u32, value)).collect();
        Self { v4: V4::new(v4), v6: V6::new(all.v6) }
    }

    /// The value of the address.
    #[inline]
    pub fn get(&self, addr: Addr) -> Option<u32> {
        let addr = u128::from_be_bytes(addr);
        let value = if is_v4(addr) { self.v4.get(addr as u32) } else { self.v6.get(addr) };
        (value != NONE).then_some(value)
    }

    /// Whether no address has a value.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.boundaries.is_empty()
    }
}

/// The value at the last boundary that is not behind the key.
#[inline]
fn last<K: Ord>(boundaries: &[Boundary<K>], key: &K) -> u32 {
    let behind = boundaries.partition_point(|(first, _)| first <= key);
    behind.checked_sub(1).and_then(|at| boundaries.get(at)).map_or(NONE, |&(_, value)| value)
}

/// What is known of addresses that share their first bits: their value, or where to look further.
#[derive(Debug, Clone, Copy)]
struct Slot(u32);

impl Slot {
    /// The bit that says to look further.
    const WITHIN: u32 = 1 << 31;

    #[inline]
    fn further(self) -> Option<usize> {
        (self.0 & Self::WITHIN != 0).then_some((self.0 & !Self::WITHIN) as usize)
    }
}

/// Values of IPv4 addresses.
#[derive(Debug, Clone, Default)]
struct V4 {
    /// All boundaries if there are few; else those of each /24 in which the value changes, the first at its beginning.
    boundaries: Vec<Boundary<u32>>,
    /// By the first 16 bits; empty if there are few boundaries.
    first: Vec<Slot>,
    /// By the next 8 bits, a page for each /16 in which the value changes.
    second: Vec<[Slot; 256]>,
    /// Where the boundaries of each of those /24s begin, and the end of all.
    third: Vec<u32>,
}

impl V4 {
    fn new(boundaries: Vec<Boundary<u32>>) -> Self {
        if boundaries.len() <= FEW {
            return Self { boundaries, ..Self::default() };
        }
        let mut made = Self::default();
        let mut value = NONE;
        let mut rest = boundaries.as_slice();
        for base in (0..=u32::MAX).step_by(1 << 16) {
            let these = split(&mut rest, base | 0xffff);
            let slot = Self::slot(these, base, &mut value, |mut these, value| {
                let page = std::array::from_fn(|part| {
                    let base = base | (part as u32) << 8;
                    Self::slot(split(&mut these, base | 0xff), base, value, |these, value| {
                        let at = made.third.len();
                        made.third.push(made.boundaries.len() as u32);
                        if these.first().is_some_and(|&(first, _)| first != base) {
                            made.boundaries.push((base, *value));
                        }
                        made.boundaries.extend(these);
                        *value = these.last().map_or(*value, |&(_, last)| last);
                        at
                    })
                });
                made.second.push(page);
                made.second.len() - 1
            });
            made.first.push(slot);
        }
        made.third.push(made.boundaries.len() as u32);
        made
    }

    /// What is known of the addresses from a base on that have these boundaries, where a value held before.
    fn slot(
        these: &[Boundary<u32>],
        base: u32,
        value: &mut u32,
        within: impl FnOnce(&[Boundary<u32>], &mut u32) -> usize,
    ) -> Slot {
        match *these {
            [] => Slot(*value),
            [(first, changed)] if first == base => {
                *value = changed;
                Slot(changed)
            }
            _ => Slot(within(these, value) as u32 | Slot::WITHIN),
        }
    }

    fn is_empty(&self) -> bool {
        self.boundaries.is_empty() && self.first.is_empty()
    }

    #[inline]
    fn get(&self, key: u32) -> u32 {
        let [upper, lower, next, _] = key.to_be_bytes();
        let Some(&slot) = self.first.get(usize::from(u16::from_be_bytes([upper, lower]))) else {
            return last(&self.boundaries, &key);
        };
        let Some(page) = slot.further() else { return slot.0 };
        let Some(&slot) = self.second.get(page).and_then(|page| page.get(usize::from(next))) else {
            return NONE;
        };
        let Some(run) = slot.further() else { return slot.0 };
        let Some(&[start, end]) = self.third.get(run..run.saturating_add(2)) else { return NONE };
        last(self.boundaries.get(start as usize..end as usize).unwrap_or_default(), &key)
    }
}

/// Takes the boundaries up to an address off the front.
fn split<'a>(rest: &mut &'a [Boundary<u32>], to: u32) -> &'a [Boundary<u32>] {
    let (these, behind) = rest.split_at(rest.partition_point(|&(first, _)| first <= to));
    *rest = behind;
    these
}

/// Values of IPv6 addresses.
#[derive(Debug, Clone, Default)]
struct V6 {
    boundaries: Vec<Boundary<u128>>,
    /// By the first 16 bits, and one more for the end; empty if there are few boundaries.
    first: Vec<Bucket>,
    /// By the bits behind those: how many boundaries come before.
    second: Vec<u32>,
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

impl V6 {
    fn new(boundaries: Vec<Boundary<u128>>) -> Self {
        let mut made = Self { boundaries, ..Self::default() };
        if made.boundaries.len() <= FEW {
            return made;
        }
        let mut rest = made.boundaries.as_slice();
        let mut start = 0;
        for number in 0..1_usize << FIRST {
            let (these, behind) =
                rest.split_at(rest.partition_point(|&(key, _)| bits(key, 0, FIRST) == number));
            let mut bucket = Bucket { start, second: made.second.len() as u32, bits: 0 };
            if these.len() > FEW {
                bucket.bits = these.len().ilog2().min(FIRST);
                // One more than there are numbers, so that the end of a part is the beginning of the next.
                made.second.extend((0..=1_usize << bucket.bits).map(|part| {
                    start + these.partition_point(|&(key, _)| bits(key, FIRST, bucket.bits) < part) as u32
                }));
            }
            made.first.push(bucket);
            start += these.len() as u32;
            rest = behind;
        }
        made.first.push(Bucket { start, ..Bucket::default() });
        made
    }

    #[inline]
    fn get(&self, key: u128) -> u32 {
        let (start, end) = self.within(key);
        // The value may have begun before the first of these.
        let start = start.saturating_sub(1);
        last(self.boundaries.get(start..end).unwrap_or_default(), &key)
    }

    /// Where among the boundaries the first one behind the key can be.
    #[inline]
    fn within(&self, key: u128) -> (usize, usize) {
        let number = bits(key, 0, FIRST);
        let Some([bucket, next]) = self.first.get(number..number + 2) else {
            return (0, self.boundaries.len());
        };
        if bucket.bits == 0 {
            return (bucket.start as usize, next.start as usize);
        }
        let part = bucket.second as usize + bits(key, FIRST, bucket.bits);
        let Some(&[start, end]) = self.second.get(part..part + 2) else {
            return (bucket.start as usize, next.start as usize);
        };
        (start as usize, end as usize)
    }
}

/// So many bits of an address, those behind the first ones that are skipped, all among its first 64: shifts of 64 bits are faster.
#[inline]
fn bits(addr: u128, skip: u32, count: u32) -> usize {
    let upper = (addr >> 64) as u64;
    (upper.checked_shl(skip).unwrap_or(0)).checked_shr(64_u32.saturating_sub(count)).unwrap_or(0) as usize
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
        builder.add(range("2001:db8::d2", "2001:db8::21b"), 0, 8);
        builder.add(range("2001:db8::", "2001:db8::149"), 0, 9);
        builder.add(range("fe80::", "fe80::ffff"), 9, 7);
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
            ("2001:db8::103", Some(9)), // as large, begins before, and later
            ("2001:db8::150", Some(8)),
            ("fe80::1", Some(7)),
            ("fe80::1:0", None),
        ] {
            assert_eq!(get(&map, addr), value, "{addr}");
        }
    }

    #[test]
    fn two_maps_that_are_joined_say_what_each_says() {
        let mut one = Builder::default();
        one.add(range("192.0.2.0", "192.0.2.127"), 0, 1);
        one.add(range("2001:db8::", "2001:db8::ff"), 0, 2);
        let mut two = Builder::default();
        two.add(range("192.0.2.64", "192.0.3.255"), 0, 7);
        let (map, said) = one.join(two);
        let get = |addr| get(&map, addr).map(|value| said[value as usize]);
        assert_eq!(get("192.0.1.255"), None);
        assert_eq!(get("192.0.2.0"), Some([Some(1), None]));
        assert_eq!(get("192.0.2.64"), Some([Some(1), Some(7)]));
        assert_eq!(get("192.0.2.128"), Some([None, Some(7)]));
        assert_eq!(get("192.0.4.0"), None);
        assert_eq!(get("2001:db8::80"), Some([Some(2), None]));
        assert_eq!(get("2001:db8::100"), None);
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
