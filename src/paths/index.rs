//! Rows of a table, found by hash.

use std::hash::{BuildHasher, RandomState};

use crate::prefetch::prefetch;
use serde::{Deserialize, Serialize};

/// Where the rows of a table are, by hash: open addressing, from which nothing is ever removed.
///
/// A slot holds the upper half of the hash and the row's number, so that most rows that are not meant need not be looked
/// at, and the table can grow without them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Index {
    slots: Vec<u64>,
    len: usize,
}

const EMPTY: u64 = 0;
const FIRST: usize = 1024;

/// The upper half of a hash in place, and the number behind it; one more than it, as 0 stands for an empty slot.
const fn slot(hash: u64, number: u32) -> u64 {
    hash & !0xffff_ffff | (number as u64 + 1)
}

impl Index {
    /// Where a search for this hash begins.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        (hash >> 32) as usize & self.slots.len().wrapping_sub(1)
    }

    /// The row with this hash that `is_it`.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut place = self.place(hash);
        loop {
            let slot = *self.slots.get(place)?;
            if slot == EMPTY {
                return None;
            }
            let number = (slot as u32).wrapping_sub(1);
            if (slot ^ hash) >> 32 == 0 && is_it(number) {
                return Some(number);
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
    }

    /// Asks for the memory that a search will look at first.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(slot) = self.slots.get(self.place(hash)) {
            prefetch(slot);
        }
    }

    /// Adds a row that is not there yet.
    pub fn insert(&mut self, hash: u64, number: u32) {
        // At least half of the slots stay empty, so every search ends.
        if self.len * 2 >= self.slots.len() {
            let more = (self.slots.len() * 2).max(FIRST);
            let old = std::mem::replace(&mut self.slots, vec![EMPTY; more]);
            old.into_iter().filter(|&slot| slot != EMPTY).for_each(|slot| self.put(slot));
        }
        self.len += 1;
        self.put(slot(hash, number));
    }

    fn put(&mut self, new: u64) {
        let place = self.place(new);
        let (before, after) = self.slots.split_at_mut(place);
        if let Some(slot) = after.iter_mut().chain(before).find(|slot| **slot == EMPTY) {
            *slot = new;
        }
    }
}

/// Numbers that nobody can know beforehand, so that nobody can make rows that share a hash.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Secret(pub [u64; 4]);

impl Default for Secret {
    fn default() -> Self {
        let random = RandomState::new();
        Self([0, 1, 2, 3].map(|n: u64| random.hash_one(n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_hash_and_told_apart_by_the_caller() {
        let mut index = Index::default();
        assert_eq!(index.find(7, |_| true), None);
        // Rows 2n and 2n + 1 share a hash, and a thousand of them the place where their search begins.
        let hash = |n: u32| u64::from(n / 2 % 4096) << 32 | u64::from(n / 2) << 44;
        for n in 0..10_000 {
            index.insert(hash(n), n);
        }
        for n in 0..10_000 {
            assert_eq!(index.find(hash(n), |found| found == n), Some(n));
        }
        assert_eq!(index.find(hash(0), |_| false), None);
        assert_eq!(index.find(0xffff << 48, |_| true), None);
    }
}
