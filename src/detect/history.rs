//! Recent packets, found again by their ids, in bounded memory.

use hashbrown::HashMap;

use crate::flows::PathId;

/// One sighting of a packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sighting {
    /// Capture time, nanoseconds UTC.
    pub ts: i64,
    /// Number of the frame in its tap's stream.
    pub frame: u64,
    /// Its `packet_id`.
    pub packet_id: u64,
    /// Its `payload_id`; 0 for null.
    pub payload_id: u64,
    /// How it was seen.
    pub path: PathId,
    /// Number of its flow.
    pub flow: u32,
    /// Its identification, if it has one that is not 0.
    pub ip_id: Option<u32>,
    /// Its time to live.
    pub ttl: u8,
}

/// How many earlier sightings of one packet are looked at. More of them are a loop or a flood, and add nothing.
pub const MAX_SIGHTINGS: usize = 8;

const NONE: u64 = u64::MAX;

#[derive(Debug, Clone, Copy)]
struct Entry {
    sighting: Sighting,
    /// Number of the sighting of the same packet before this one, or `NONE`.
    before: u64,
}

/// The last sightings, as many as the memory allows. The oldest make room for new ones.
///
/// Sightings are numbered; number *n* lies in slot *n* modulo capacity, so a number tells whether its sighting is
/// still there. Each id leads to its latest sighting, and that to the one before.
#[derive(Debug)]
pub struct History {
    entries: Vec<Entry>,
    capacity: usize,
    next: u64,
    by_packet: HashMap<u64, u64>,
    by_payload: HashMap<u64, u64>,
}

impl History {
    /// A history that keeps within about `memory` bytes.
    pub fn new(memory: usize) -> Self {
        // An entry, and in each of the two maps a key, a number and the map's own load factor.
        let each = size_of::<Entry>() + 2 * 20 * 8 / 7;
        let capacity = (memory / each).max(1024);
        Self { entries: Vec::new(), capacity, next: 0, by_packet: HashMap::new(), by_payload: HashMap::new() }
    }

    fn get(&self, number: u64) -> Option<&Entry> {
        let is_kept = number < self.next && self.next - number <= self.entries.len() as u64;
        is_kept.then(|| self.entries.get((number % self.capacity as u64) as usize)).flatten()
    }

    /// Writes the sightings of a packet that are no further than `window` from `ts`, latest first; returns how many.
    pub fn same_packet(
        &self,
        packet_id: u64,
        ts: i64,
        window: i64,
        found: &mut [Sighting; MAX_SIGHTINGS],
    ) -> usize {
        let mut number = self.by_packet.get(&packet_id).copied().unwrap_or(NONE);
        let mut n = 0;
        for slot in found.iter_mut() {
            let Some(entry) = self.get(number) else { break };
            if ts.saturating_sub(entry.sighting.ts).saturating_abs() > window {
                break;
            }
            *slot = entry.sighting;
            n += 1;
            number = entry.before;
        }
        n
    }

    /// The latest sighting of a payload, no further than `window` from `ts`.
    pub fn same_payload(&self, payload_id: u64, ts: i64, window: i64) -> Option<Sighting> {
        let entry = self.get(*self.by_payload.get(&payload_id)?)?;
        (ts.saturating_sub(entry.sighting.ts).saturating_abs() <= window).then_some(entry.sighting)
    }

    /// Remembers a sighting. It becomes the one its payload leads to only with `lead`.
    pub fn add(&mut self, sighting: Sighting, lead: bool) {
        let number = self.next;
        self.next += 1;
        let before = self.by_packet.insert(sighting.packet_id, number).unwrap_or(NONE);
        if lead && sighting.payload_id != 0 {
            self.by_payload.insert(sighting.payload_id, number);
        }
        let entry = Entry { sighting, before };
        if self.entries.len() < self.capacity {
            self.entries.push(entry);
            return;
        }
        let Some(slot) = self.entries.get_mut((number % self.capacity as u64) as usize) else { return };
        let old = std::mem::replace(slot, entry).sighting;
        let old_number = number - self.capacity as u64;
        for (map, id) in [(&mut self.by_packet, old.packet_id), (&mut self.by_payload, old.payload_id)] {
            if map.get(&id) == Some(&old_number) {
                map.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(packet_id: u64, ts: i64) -> Sighting {
        Sighting { packet_id, ts, payload_id: packet_id + 1000, ..Sighting::default() }
    }

    #[test]
    fn finds_earlier_sightings_latest_first_within_the_window() {
        let mut history = History::new(1 << 20);
        for ts in [0, 10, 20] {
            history.add(sighting(1, ts), true);
        }
        let mut found = [Sighting::default(); MAX_SIGHTINGS];
        let n = history.same_packet(1, 25, 15, &mut found);
        assert_eq!(found[..n].iter().map(|s| s.ts).collect::<Vec<_>>(), [20, 10]);
        assert_eq!(history.same_packet(2, 25, 15, &mut found), 0);
        assert_eq!(history.same_payload(1001, 25, 15).unwrap().ts, 20);
    }

    #[test]
    fn the_oldest_make_room() {
        let mut history = History::new(0);
        let capacity = history.capacity as u64;
        for id in 0..capacity + 10 {
            history.add(sighting(id, id as i64), true);
        }
        let mut found = [Sighting::default(); MAX_SIGHTINGS];
        for (id, kept) in [(0, 0), (9, 0), (10, 1), (capacity + 9, 1)] {
            assert_eq!(history.same_packet(id, id as i64, i64::MAX, &mut found), kept, "{id}");
        }
        assert_eq!((history.by_packet.len(), history.by_payload.len()), (history.capacity, history.capacity));
    }
}
