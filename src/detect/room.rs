//! How much memory the claims of all detectors may take together.

use std::cell::Cell;

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};

/// Bytes that are left. All detectors take from them, in the order of the packets, so that the same captures find the same room.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Room {
    left: Cell<usize>,
}

impl Room {
    /// So many bytes.
    pub const fn new(bytes: usize) -> Self {
        Self { left: Cell::new(bytes) }
    }

    /// Whether so many are left.
    pub fn has(&self, bytes: usize) -> bool {
        self.left.get() >= bytes
    }

    /// Takes bytes, if there are so many.
    pub fn take(&self, bytes: usize) -> bool {
        let left = self.left.get().checked_sub(bytes);
        left.inspect(|&left| self.left.set(left)).is_some()
    }

    /// Adds a value to a list, if there is room for it.
    pub fn push<T>(&self, list: &mut Vec<T>, value: T) -> bool {
        if list.len() == list.capacity() {
            let more = list.capacity().max(4);
            if !self.take(more * size_of::<T>()) {
                return false;
            }
            list.reserve_exact(more);
        }
        list.push(value);
        true
    }

    /// Adds a value to a set, if it is there or finds room.
    pub fn insert(&self, set: &mut HashSet<u64>, value: u64) -> bool {
        if set.len() == set.capacity() && !set.contains(&value) {
            // There are twice as many buckets next.
            if !self.take(bytes_of(set).max(4 * BUCKET)) {
                return false;
            }
        }
        set.insert(value);
        true
    }

    /// Takes back what a list has taken.
    pub fn give_back_list<T>(&self, list: &Vec<T>) {
        self.give_back(list.capacity() * size_of::<T>());
    }

    /// Takes back what a set has taken.
    pub fn give_back_set(&self, set: &HashSet<u64>) {
        self.give_back(bytes_of(set));
    }

    fn give_back(&self, bytes: usize) {
        self.left.set(self.left.get() + bytes);
    }
}

/// A value, and a byte beside it.
const BUCKET: usize = size_of::<u64>() + 1;

/// What the buckets of a set take: three of four are used, or seven of eight.
fn bytes_of(set: &HashSet<u64>) -> usize {
    match set.capacity() {
        0 => 0,
        3 => 4 * BUCKET,
        most => most / 7 * 8 * BUCKET,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_what_lists_and_sets_have() {
        let all = 1 << 20;
        let room = Room::new(all);
        let (mut list, mut set) = (Vec::new(), HashSet::new());
        assert!((0..1000).all(|value| room.push(&mut list, value)));
        let of_list = list.capacity() * size_of::<i32>();
        assert_eq!(all - room.left.get(), of_list);
        for value in 0..10_000 {
            assert!(room.insert(&mut set, value));
            let (taken, has) = (all - of_list - room.left.get(), set.allocation_size());
            // There is a group of control bytes more.
            assert!((taken..=taken + 64).contains(&has), "{value}: {taken} of {has}");
        }
        room.give_back_list(&list);
        room.give_back_set(&set);
        assert_eq!(room.left.get(), all);
    }

    #[test]
    fn what_is_there_needs_no_room() {
        let room = Room::new(40);
        let mut set = HashSet::new();
        assert!((0..3).all(|value| room.insert(&mut set, value)));
        assert!(!room.insert(&mut set, 3) && room.insert(&mut set, 2) && set.len() == 3);
        let mut list = Vec::new();
        assert!(!room.push(&mut list, 0_u64) && list.is_empty());
    }
}
