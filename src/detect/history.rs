//! Recent packets, found again by their ids, in bounded memory.
//!
//! Sightings lie in a ring, and two indexes say where in it an id was seen: one by `packet_id`, one by `payload_id`. An index
//! is an array of sets of fixed size, and an id belongs to one set: what it costs to look an id up, to add one, and to let
//! one go, has a limit, whatever the ids are.
//!
//! When the ring is full of sightings that are still within the window, the history goes over to a *sample*: from then
//! on it keeps only ids whose hash falls into half of all hashes, later a quarter, and so on. A packet and its copy have
//! the same id and so the same fate. Readdressed packets differ in `packet_id`: they are sampled by `payload_id`.

use crate::hash::fold;
use crate::paths::PathId;
use crate::prefetch::prefetch;
use serde::{Deserialize, Serialize};

/// One sighting of a packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Capture time, nanoseconds UTC.
    pub ts: i64,
    /// Number of the frame in its tap's stream.
    pub frame: u64,
    /// Its `packet_id`; 0 for a weak one.
    pub packet_id: u64,
    /// Its `payload_id`; 0 for a weak one, or where another sighting of the same packet stands for it.
    pub payload_id: u64,
    /// How it was seen.
    pub path: PathId,
    /// Number of its flow.
    pub flow: u32,
    /// Its identification; 0 if it has none.
    pub ip_id: u32,
    /// Its time to live.
    pub ttl: u8,
}

/// What is noted beside a sighting while taps are compared: where else its packet was, and what tells how it was changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Time by the tap's own clock, nanoseconds UTC.
    pub raw: i64,
    /// TCP sequence number; 0 where there is none.
    pub seq: u32,
    /// Part of `payload_head`; 0 where there is none.
    pub head: u32,
    /// Bytes of payload, as far as they fit.
    pub len: u16,
    /// DSCP and ECN.
    pub tos: u8,
    /// One more than the number of the tap that saw the packet next; 0 for none.
    pub next: u8,
    /// One more than the number of the tap that saw the packet before.
    pub prev: u8,
    /// What was found out.
    pub flags: u8,
}

/// How many earlier sightings of one packet are looked at. More of them are a loop or a flood, and add nothing.
pub const MAX_SIGHTINGS: usize = 8;

/// How many sightings a set holds: as many as fit a cache line.
const WAYS: usize = 10;
/// How many sightings the ring has room for, for each set of an index. More than three times as many fit: the sets fill
/// unevenly, as a Poisson distribution says, and with a mean of 3 one set in 3,400 needs more than 10 places.
const MEAN: usize = 3;
/// Half of the sample's ids are given up so often at the most.
const MAX_HALVINGS: u32 = 24;

/// The hash of an id: its upper bits choose the set, the lowest 16 are its tag, those between say whether it is sampled.
type IdHash = u64;

/// The sightings whose ids belong here, a ring of their own.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[repr(C, align(64))]
struct Set {
    /// Two tags in each.
    tags: [u32; WAYS / 2],
    /// Which sightings they are of.
    numbers: [u32; WAYS],
    /// How many sightings came, as far as it needs to know.
    len: u32,
}

impl Set {
    const EMPTY: Self = Self { tags: [0; WAYS / 2], numbers: [0; WAYS], len: 0 };

    /// Whether there may be a number under this tag: there is none if not.
    #[inline]
    fn may_have(&self, hash: IdHash) -> bool {
        const LOW: u32 = 0x0001_0001;
        let wanted = u32::from(hash as u16) * LOW;
        // A lane of 16 bits that is zero has its highest bit set here.
        let zero = |tags: &u32| (tags ^ wanted).wrapping_sub(LOW) & !(tags ^ wanted) & LOW << 15;
        self.tags.iter().fold(0, |any, tags| any | zero(tags)) != 0
    }

    /// The numbers under this tag, latest first.
    fn find(&self, hash: IdHash) -> impl Iterator<Item = u32> {
        let len = self.len as usize;
        (1..=len.min(WAYS)).filter_map(move |back| {
            let way = (len - back) % WAYS;
            let is_it = self.tag(way) == hash as u16;
            if is_it { self.numbers.get(way).copied() } else { None }
        })
    }

    fn tag(&self, way: usize) -> u16 {
        self.tags.get(way / 2).map_or(0, |tags| (tags >> (way % 2 * 16)) as u16)
    }

    /// Adds a number; returns the one that made room for it.
    #[inline]
    fn add(&mut self, hash: IdHash, number: u32) -> Option<u32> {
        let way = self.len as usize % WAYS;
        let is_full = self.len as usize >= WAYS;
        // So that it never overflows, and still says that the set is full.
        self.len = if self.len as usize == 2 * WAYS - 1 { WAYS as u32 } else { self.len + 1 };
        if let Some(tags) = self.tags.get_mut(way / 2) {
            let shift = way % 2 * 16;
            *tags = *tags & !(0xffff << shift) | u32::from(hash as u16) << shift;
        }
        let old = std::mem::replace(self.numbers.get_mut(way)?, number);
        is_full.then_some(old)
    }
}

/// Where in the ring ids were seen.
#[derive(Debug, Serialize, Deserialize)]
struct Index {
    sets: Vec<Set>,
    /// How many sightings were added.
    len: usize,
}

impl Index {
    const FIRST: usize = 512;

    fn new(sets: usize) -> Self {
        Self { sets: vec![Set::EMPTY; sets], len: 0 }
    }

    /// Every hash belongs to a set, whatever their number: the upper half of the product.
    #[inline]
    fn place(&self, hash: IdHash) -> usize {
        ((u128::from(hash) * self.sets.len() as u128) >> 64) as usize
    }

    /// How many sets it should have, of `most`: enough that they are far from full, as long as that is possible.
    #[inline]
    fn wants(&self, most: usize) -> usize {
        let sets = self.sets.len();
        // A packet is seen several times, so they fill in clumps.
        if self.len < sets { sets } else { (4 * sets).min(most).max(sets) }
    }

    #[inline]
    fn prefetch(&self, hash: IdHash) {
        if let Some(set) = self.sets.get(self.place(hash)) {
            prefetch(set);
        }
    }

    /// The set of this hash, if it may be found there.
    #[inline]
    fn set(&self, hash: IdHash) -> Option<&Set> {
        self.sets.get(self.place(hash)).filter(|set| set.may_have(hash))
    }

    #[inline]
    fn add(&mut self, hash: IdHash, number: u32) -> Option<u32> {
        let place = self.place(hash);
        self.len += 1;
        self.sets.get_mut(place)?.add(hash, number)
    }
}

/// The last sightings, as many as the memory allows. The oldest make room for new ones.
///
/// Sightings are numbered; number *n* lies at *n* modulo capacity in the ring, so a number tells whether its sighting is
/// still there. Indexes know the lower half of a number: what is found is compared with the id that is looked for.
#[derive(Debug, Serialize, Deserialize)]
pub struct History {
    ring: Vec<Sighting>,
    /// As long as the ring while taps are compared, else empty.
    notes: Vec<Note>,
    /// The number of the sighting that is settled next.
    unsettled: u64,
    capacity: usize,
    next: u64,
    by_packet: Index,
    by_payload: Index,
    window: i64,
    late_window: i64,
    /// Makes hashes that nobody can know before the capture is made.
    secret: u64,
    /// How often the sample was halved.
    halvings: u32,
    limits: Limits,
}

/// What a history could not keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// When the sample was halved for the first time, and to what: one id in so many.
    pub first: Option<(i64, u64)>,
    /// One id in so many is kept.
    pub one_in: u64,
    /// How far back the history reached at least, in nanoseconds, if that was less than asked.
    pub reach: Option<i64>,
    /// Sightings within the window that lost their place to others with the same hash.
    pub displaced: u64,
}

impl History {
    /// A history that keeps within about `memory` bytes, and sightings for `window` nanoseconds in any case, for
    /// `late_window` if there is room.
    pub fn new(memory: usize, window: i64, late_window: i64) -> Self {
        Self::with_room(memory, 2 * size_of::<Set>() / MEAN, window, late_window)
    }

    /// A history that also has room for notes within its `memory`.
    pub(super) fn with_notes(memory: usize, window: i64, late_window: i64) -> Self {
        Self::with_room(memory, 2 * size_of::<Set>() / MEAN + size_of::<Note>(), window, late_window)
    }

    fn with_room(memory: usize, beside: usize, window: i64, late_window: i64) -> Self {
        let each = size_of::<Sighting>() + beside;
        let capacity = (memory / each).clamp(1024, 1 << 31);
        Self {
            ring: Vec::new(),
            notes: Vec::new(),
            unsettled: 0,
            capacity,
            next: 0,
            by_packet: Index::new(Index::FIRST),
            by_payload: Index::new(Index::FIRST),
            window,
            late_window,
            secret: 0,
            halvings: 0,
            limits: Limits::default(),
        }
    }

    /// Chooses the hash. What the first packet of a capture is, and when it came, is not known to who makes another one; and
    /// it is the same whenever the same capture is read.
    pub fn begin(&mut self, ts: i64, id: u64) {
        // Pages that are not used yet take no memory. If there is not even room for them, the ring grows as it fills.
        let _ = self.ring.try_reserve_exact(self.capacity);
        self.secret = fold(ts as u64 ^ 0x9e37_79b9_7f4a_7c15, id ^ 0xd1b5_4a32_d192_ed03);
    }

    /// The hash of an id.
    #[inline]
    pub fn hash(&self, id: u64) -> IdHash {
        let mixed = fold(id ^ self.secret, 0xa076_1d64_78bd_642f);
        fold(mixed ^ self.secret.rotate_left(32), 0xe703_7ed1_a0b4_28db)
    }

    /// Whether the id with this hash is in the sample: all are, until memory runs short.
    #[inline]
    pub fn keeps(&self, hash: IdHash) -> bool {
        halvings_of(hash) >= self.halvings
    }

    /// Asks for the memory that a search for these ids will look at.
    #[inline]
    pub fn prefetch(&self, packet: Option<IdHash>, payload: Option<IdHash>) {
        if let Some(hash) = packet {
            self.by_packet.prefetch(hash);
        }
        if let Some(hash) = payload {
            self.by_payload.prefetch(hash);
        }
    }

    /// What it could not keep.
    pub fn limits(&self) -> Limits {
        Limits { one_in: 1 << self.halvings, ..self.limits }
    }

    #[inline]
    fn get(&self, number: u32) -> Option<&Sighting> {
        self.ring.get(self.place(number)?)
    }

    /// Where in the ring the sighting of this number is.
    #[inline]
    fn place(&self, number: u32) -> Option<usize> {
        let age = (self.next as u32).wrapping_sub(number);
        let is_kept = age > 0 && age as usize <= self.ring.len();
        let at = self.next.wrapping_sub(age.into()) % self.capacity as u64;
        is_kept.then_some(at as usize)
    }

    /// Begins to keep notes; what was seen before counts as settled.
    #[cold]
    pub(super) fn begin_notes(&mut self) {
        self.notes.resize(self.ring.len(), Note::default());
        self.unsettled = self.next;
    }

    /// Notes something beside the sighting that was added last; returns its number.
    #[inline]
    pub(super) fn annotate(&mut self, note: Note) -> u32 {
        let number = (self.next as u32).wrapping_sub(1);
        if let Some(place) = self.place(number) {
            if self.notes.len() <= place {
                self.notes.resize(place + 1, Note::default());
            }
            if let Some(slot) = self.notes.get_mut(place) {
                *slot = note;
            }
        }
        number
    }

    /// A sighting, and what is noted beside it.
    #[inline]
    pub(super) fn noted(&mut self, number: u32) -> Option<(Sighting, &mut Note)> {
        let place = self.place(number)?;
        Some((*self.ring.get(place)?, self.notes.get_mut(place)?))
    }

    /// The number of the next sighting that was not settled yet, if it was not later than `until`.
    #[inline]
    pub(super) fn settle(&mut self, until: i64) -> Option<u32> {
        self.unsettled = self.unsettled.max(self.next - self.ring.len() as u64);
        let number = self.unsettled as u32;
        if self.unsettled == self.next || self.get(number)?.ts > until {
            return None;
        }
        self.unsettled += 1;
        Some(number)
    }

    /// Writes the sightings of a packet that are no further than the late window from `ts`, latest first, and their numbers;
    /// returns how many.
    #[inline]
    pub fn same_packet(
        &self,
        packet_id: u64,
        hash: IdHash,
        ts: i64,
        found: &mut [Sighting; MAX_SIGHTINGS],
        numbers: &mut [u32; MAX_SIGHTINGS],
    ) -> usize {
        let Some(set) = self.by_packet.set(hash) else { return 0 };
        let earlier = set.find(hash).filter_map(|number| Some((number, self.get(number)?)));
        let same = earlier
            .filter(|(_, sighting)| sighting.packet_id == packet_id)
            .take_while(|(_, sighting)| apart(sighting.ts, ts) <= self.late_window);
        let mut n = 0;
        for ((slot, place), (number, sighting)) in found.iter_mut().zip(numbers).zip(same) {
            (*slot, *place) = (*sighting, number);
            n += 1;
        }
        n
    }

    /// The latest sighting that its payload leads to, no further than the window from `ts`, and its number.
    #[inline]
    pub fn same_payload(&self, payload_id: u64, hash: IdHash, ts: i64) -> Option<(Sighting, u32)> {
        let set = self.by_payload.set(hash)?;
        let mut earlier = set.find(hash).filter_map(|number| Some((*self.get(number)?, number)));
        let (latest, number) = earlier.find(|(sighting, _)| sighting.payload_id == payload_id)?;
        (apart(latest.ts, ts) <= self.window).then_some((latest, number))
    }

    /// Remembers a sighting, to be found by those of its ids that are not 0.
    #[inline]
    pub fn add(&mut self, sighting: Sighting) {
        if self.ring.len() < self.capacity {
            let most = self.capacity.div_ceil(MEAN);
            let wanted = (self.by_packet.wants(most), self.by_payload.wants(most));
            if wanted != (self.by_packet.sets.len(), self.by_payload.sets.len()) {
                self.rebuild(wanted);
            }
            self.ring.push(sighting);
        } else {
            self.add_to_full(sighting);
        }
        let number = self.next as u32;
        self.next += 1;
        self.index(&sighting, number);
    }

    /// Adds a sighting to the indexes.
    #[inline]
    fn index(&mut self, sighting: &Sighting, number: u32) {
        if sighting.packet_id != 0 {
            let displaced = self.by_packet.add(self.hash(sighting.packet_id), number);
            self.note(displaced, sighting, |sighting| sighting.packet_id);
        }
        if sighting.payload_id != 0 {
            let hash = self.hash(sighting.payload_id);
            if self.keeps(hash) {
                let displaced = self.by_payload.add(hash, number);
                self.note(displaced, sighting, |sighting| sighting.payload_id);
            }
        }
    }

    /// Takes note of a sighting that lost its place; if to more of the same packet, nothing is lost.
    #[inline]
    fn note(&mut self, displaced: Option<u32>, now: &Sighting, id: fn(&Sighting) -> u64) {
        if let Some(lost) = displaced.and_then(|number| self.get(number))
            && apart(lost.ts, now.ts) < self.window
            && id(lost) != id(now)
        {
            self.limits.displaced += 1;
        }
    }

    /// Puts a sighting where the oldest was, or, if that is still needed, makes room.
    fn add_to_full(&mut self, sighting: Sighting) {
        let place = |history: &Self| (history.next % history.capacity as u64) as usize;
        let Some(oldest) = self.ring.get(place(self)) else { return };
        let age = apart(oldest.ts, sighting.ts);
        if age < self.window && self.halvings < MAX_HALVINGS {
            self.make_room(sighting.ts);
            if self.ring.len() < self.capacity {
                self.ring.push(sighting);
                return;
            }
        } else if age < self.late_window {
            self.limits.reach = Some(self.limits.reach.map_or(age, |reach| reach.min(age)));
        }
        let at = place(self);
        if let Some(slot) = self.ring.get_mut(at) {
            *slot = sighting;
        }
    }

    /// Drops sightings that no search reaches any more, and halves the sample until an eighth of the ring is free.
    #[cold]
    fn make_room(&mut self, now: i64) {
        let turn = (self.next % self.capacity as u64) as usize;
        self.ring.rotate_left(turn);
        if !self.notes.is_empty() {
            self.notes.resize(self.ring.len(), Note::default());
            self.notes.rotate_left(turn);
        }
        let first = (self.next - self.ring.len() as u64) as u32;
        // Of each sighting, one more than how many halvings it survives; 0 if it is out of reach.
        let mut levels = vec![0_u8; self.ring.len()];
        for set in self.by_packet.sets.iter().chain(&self.by_payload.sets) {
            for &number in set.numbers.iter().take(set.len as usize) {
                if let Some(level) = levels.get_mut(number.wrapping_sub(first) as usize) {
                    *level = 1;
                }
            }
        }
        let survives = |id: u64| if id == 0 { 0 } else { halvings_of(self.hash(id)) as u8 };
        for (level, sighting) in levels.iter_mut().zip(&self.ring) {
            *level *= 1 + survives(sighting.packet_id).max(survives(sighting.payload_id));
        }
        let enough = self.capacity / 8 * 7;
        let kept = |halvings: u32| levels.iter().filter(|&&level| u32::from(level) > halvings).count();
        let halvings = (self.halvings..MAX_HALVINGS).find(|&halvings| kept(halvings) <= enough);
        let halvings = halvings.unwrap_or(MAX_HALVINGS);
        let stays = |level: Option<&u8>| level.is_some_and(|&level| u32::from(level) > halvings);
        let settled = self.unsettled.saturating_sub(self.next - self.ring.len() as u64) as usize;
        self.unsettled = levels.iter().take(settled).filter(|level| stays(Some(level))).count() as u64;
        let mut of_ring = levels.iter();
        self.ring.retain(|_| stays(of_ring.next()));
        let mut of_notes = levels.iter();
        self.notes.retain(|_| stays(of_notes.next()));
        if halvings > self.halvings {
            self.limits.first.get_or_insert((now, 1 << halvings));
        }
        self.halvings = halvings;
        self.next = self.ring.len() as u64;
        self.rebuild((self.by_packet.sets.len(), self.by_payload.sets.len()));
    }

    /// Makes the indexes anew, of so many sets.
    #[cold]
    fn rebuild(&mut self, sets: (usize, usize)) {
        // The old ones make room before the new ones need it.
        (self.by_packet, self.by_payload) = (Index::new(0), Index::new(0));
        (self.by_packet, self.by_payload) = (Index::new(sets.0), Index::new(sets.1));
        let first = self.next - self.ring.len() as u64;
        for at in 0..self.ring.len() {
            if let Some(&sighting) = self.ring.get(at) {
                self.index(&sighting, (first + at as u64) as u32);
            }
        }
    }
}

/// How often the sample can be halved before this id is no longer in it.
#[inline]
fn halvings_of(hash: IdHash) -> u32 {
    (hash >> 16 | 1 << MAX_HALVINGS).trailing_zeros()
}

/// How far two times lie apart, in nanoseconds.
#[inline]
fn apart(a: i64, b: i64) -> i64 {
    a.saturating_sub(b).saturating_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: i64 = 1000;
    const LATE: i64 = 5000;

    fn history(memory: usize) -> History {
        let mut history = History::new(memory, WINDOW, LATE);
        history.begin(1, 2);
        history
    }

    fn sighting(packet_id: u64, ts: i64) -> Sighting {
        Sighting { packet_id, ts, payload_id: packet_id + 1_000_000, ..Sighting::default() }
    }

    fn times(history: &History, packet_id: u64, ts: i64) -> Vec<i64> {
        let mut found = [Sighting::default(); MAX_SIGHTINGS];
        let mut numbers = [0; MAX_SIGHTINGS];
        let n = history.same_packet(packet_id, history.hash(packet_id), ts, &mut found, &mut numbers);
        found[..n].iter().map(|sighting| sighting.ts).collect()
    }

    /// Ids from 1 on whose hashes pass a test.
    fn ids(test: impl Fn(u64) -> bool) -> impl Iterator<Item = u64> {
        (1..).filter(move |&id| test(id))
    }

    #[test]
    fn a_set_is_a_cache_line() {
        assert_eq!((size_of::<Set>(), size_of::<Sighting>()), (64, 48));
    }

    #[test]
    fn finds_earlier_sightings_latest_first_within_the_window() {
        let mut history = history(1 << 20);
        for ts in [0, 10, 20] {
            history.add(sighting(1, ts));
        }
        assert_eq!(times(&history, 1, 25), [20, 10, 0]);
        assert_eq!(times(&history, 1, LATE + 10), [20, 10]);
        assert_eq!(times(&history, 2, 25), []);
        let payload =
            |ts| history.same_payload(1_000_001, history.hash(1_000_001), ts).map(|(found, _)| found.ts);
        assert_eq!((payload(25), payload(WINDOW + 21)), (Some(20), None));
    }

    #[test]
    fn of_many_sightings_the_latest_are_found() {
        let mut history = history(1 << 20);
        for ts in 0..1000 {
            history.add(sighting(1, ts));
        }
        assert_eq!(times(&history, 1, 1000), (992..1000).rev().collect::<Vec<_>>());
        // Those that had to go were of the same packet.
        assert_eq!(history.limits().displaced, 0);
    }

    #[test]
    fn what_is_older_than_the_window_makes_room() {
        let mut history = history(0);
        let capacity = history.capacity as i64;
        // Two sightings a nanosecond would be too many, one in two is not.
        for n in 0..10 * capacity {
            history.add(sighting(n as u64 + 1, n * 2));
        }
        let now = 20 * capacity;
        assert_eq!(times(&history, 10 * capacity as u64, now), [now - 2]);
        assert_eq!(times(&history, 9 * capacity as u64, now), []);
        let limits = history.limits();
        assert_eq!((limits.first, limits.one_in, history.ring.len()), (None, 1, history.capacity));
        // The oldest went when it was as old as the whole ring.
        assert_eq!(limits.reach, Some(2 * capacity));
    }

    #[test]
    fn when_memory_runs_short_a_sample_is_kept_the_same_of_both_sightings() {
        let mut history = history(0);
        let capacity = history.capacity as u64;
        // Four times as many packets as there is room for, all at once.
        for id in 1..=4 * capacity {
            let hash = history.hash(id);
            if history.keeps(hash) || history.keeps(history.hash(id + 1_000_000)) {
                history.add(sighting(id, 0));
            }
        }
        let limits = history.limits();
        let (first, one_in) = limits.first.unwrap();
        assert_eq!((first, one_in), (0, 2));
        // Kept for either id, as packets and payloads are sampled apart: 1 - (1 - 1/4)² and 1 - (1 - 1/8)² of 4,096 packets
        // are 1,792 and 960, and there is room for 1,024.
        assert_eq!((capacity, limits.one_in), (1024, 8));
        let mut missing = 0;
        for id in 1..=4 * capacity {
            if history.keeps(history.hash(id)) {
                missing += u64::from(times(&history, id, 0).is_empty());
            }
            let payload = history.hash(id + 1_000_000);
            if history.keeps(payload) {
                missing += u64::from(history.same_payload(id + 1_000_000, payload, 0).is_none());
            }
        }
        assert!(missing <= limits.displaced && missing < 4, "{missing}");
        let kept = (1..=4 * capacity).filter(|&id| history.keeps(history.hash(id))).count();
        assert!((400..=624).contains(&kept), "an eighth of 4,096 is 512, more or less: {kept}");
    }

    #[test]
    fn a_flood_of_one_packet_does_not_crowd_out_the_others() {
        let mut history = history(0);
        let capacity = history.capacity as u64;
        for id in 2..100 {
            history.add(sighting(id, 0));
        }
        for _ in 0..20 * capacity {
            history.add(sighting(1, 1));
        }
        assert_eq!((history.limits().one_in, history.ring.capacity()), (1, history.capacity));
        let others = (2..100).filter(|&id| times(&history, id, 2) == [0]).count() as u64;
        assert!(others + history.limits().displaced >= 98 && others > 60, "{others}");
    }

    #[test]
    fn ids_that_share_a_set_and_a_tag_are_told_apart_and_the_losses_counted() {
        let mut history = history(0);
        // Of a small index, so that enough of them are found by trying.
        let (index, secret) = (Index::new(Index::FIRST), history.secret);
        let hash = |id| History { secret, ..History::new(0, 0, 0) }.hash(id);
        let place = |id| (index.place(hash(id)), hash(id) % 4);
        let wanted = place(1);
        let crafted: Vec<u64> = ids(|id| place(id) == wanted).take(3 * WAYS).collect();
        for (ts, &id) in crafted.iter().enumerate() {
            history.add(Sighting { payload_id: 0, ..sighting(id, ts as i64) });
        }
        for (ts, &id) in crafted.iter().enumerate() {
            let expected = if ts < 2 * WAYS { vec![] } else { vec![ts as i64] };
            assert_eq!(times(&history, id, 100), expected);
        }
        assert_eq!(history.limits().displaced, 2 * WAYS as u64);
        // Memory is what it was, and a packet elsewhere is as safe as before.
        assert_eq!(history.by_packet.sets.len(), Index::FIRST);
        let other = ids(|id| place(id).0 != wanted.0).next().unwrap();
        history.add(sighting(other, 200));
        assert_eq!(times(&history, other, 200), [200]);
    }

    #[test]
    fn memory_keeps_within_what_is_given() {
        let memory = 1 << 20;
        let mut history = history(memory);
        for n in 0..200_000 {
            history.add(sighting(n + 1, n as i64 * 10));
        }
        let used = history.ring.capacity() * size_of::<Sighting>()
            + (history.by_packet.sets.len() + history.by_payload.sets.len()) * size_of::<Set>();
        assert!(used <= memory + memory / 16, "{used}");
        // One sighting in 8,000 finds its set full: the mean of what exceeds 10 of a Poisson distribution, over its mean.
        assert!(history.limits().displaced < 200_000 / 4000);
    }
}
