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

    /// Makes place for `more` values of a list, if there is room for them.
    ///
    /// Lists double, and it is their length alone that says what they take: one that was saved and read back takes as much.
    pub fn reserve<T>(&self, list: &mut Vec<T>, more: usize) -> bool {
        let (now, then) = (places(list.len()), places(list.len() + more));
        if then > now && !self.take((then - now) * size_of::<T>()) {
            return false;
        }
        list.reserve_exact(then - list.len());
        true
    }

    /// Adds a value to a set, if it is there or finds room.
    pub fn insert(&self, set: &mut HashSet<u64>, value: u64) -> bool {
        if set.len() == set.capacity() && !set.contains(&value) {
            // There are twice as many buckets next.
            if set.capacity() > 0 && !self.take(bytes_of(set)) {
                return false;
            }
        }
        set.insert(value);
        true
    }

    /// Takes back what a list has taken.
    pub fn give_back_list<T>(&self, list: &[T]) {
        self.give_back((places(list.len()) - FREE) * size_of::<T>());
    }

    /// Takes back what a set has taken.
    pub fn give_back_set(&self, set: &HashSet<u64>) {
        self.give_back(bytes_of(set).saturating_sub(FREE_OF_SET));
    }

    fn give_back(&self, bytes: usize) {
        self.left.set(self.left.get() + bytes);
    }
}

/// So many values of a list take no room: whoever has a list has taken room for them.
pub const FREE: usize = 8;

/// What a set of three values has, which takes no room either: a value, and a byte beside it, four times.
pub const FREE_OF_SET: usize = 4 * BUCKET;

const BUCKET: usize = size_of::<u64>() + 1;

/// For how many values a list of this length has places.
fn places(len: usize) -> usize {
    len.next_power_of_two().max(FREE)
}

/// What the buckets of a set take: three of four are used, or seven of eight.
fn bytes_of(set: &HashSet<u64>) -> usize {
    match set.capacity() {
        0 => 0,
        3 => FREE_OF_SET,
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
        for value in 0..1000_u32 {
            assert!(room.reserve(&mut list, 1));
            list.push(value);
            assert_eq!(all - room.left.get(), (list.capacity() - FREE) * size_of::<u32>());
        }
        room.give_back_list(&list);
        assert_eq!(room.left.get(), all);
        for value in 0..10_000 {
            assert!(room.insert(&mut set, value));
            let (taken, has) = (all - room.left.get(), set.allocation_size() - FREE_OF_SET);
            // There is a group of control bytes more.
            assert!((taken..=taken + 64).contains(&has), "{value}: {taken} of {has}");
        }
        room.give_back_set(&set);
        assert_eq!(room.left.get(), all);
    }

    #[test]
    fn what_was_saved_takes_as_much_as_what_was_not() {
        let (at_once, day_by_day) = (Room::new(1 << 20), Room::new(1 << 20));
        let (mut lists, mut sets) = ((Vec::new(), Vec::new()), (HashSet::new(), HashSet::new()));
        for value in 0..5000_u64 {
            for (room, list, set) in
                [(&at_once, &mut lists.0, &mut sets.0), (&day_by_day, &mut lists.1, &mut sets.1)]
            {
                assert!(room.reserve(list, 1) && room.insert(set, value));
                list.push(value);
            }
            if value % 100 == 0 {
                lists.1 = postcard::from_bytes(&postcard::to_stdvec(&lists.1).unwrap()).unwrap();
                sets.1 = postcard::from_bytes(&postcard::to_stdvec(&sets.1).unwrap()).unwrap();
            }
            assert_eq!(at_once.left, day_by_day.left, "{value}");
        }
    }

    #[test]
    fn the_first_values_and_those_that_are_there_need_no_room() {
        let room = Room::new(0);
        let mut set = HashSet::new();
        assert!((0..3).all(|value| room.insert(&mut set, value)));
        assert!(!room.insert(&mut set, 3) && room.insert(&mut set, 2) && set.len() == 3);
        let mut list = vec![0_u8; 7];
        assert!(room.reserve(&mut list, 1) && !room.reserve(&mut list, 2));
    }
}
