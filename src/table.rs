//! A memory of fixed size, for what earlier packets told about later ones.
//!
//! Set-associative with a fixed hash: what is in it depends on the packets and their order only, and crafted collisions
//! cost recognition, not time.

use serde::{Deserialize, Serialize};

use crate::prefetch::prefetch;

/// Entries that share a set, of which the one that was not seen for longest makes room.
const WAYS: usize = 4;

/// Sets in a table: 65,536 entries of 16 bytes with [`WAYS`].
const SETS: usize = 1 << 14;

/// A table of fixed size, made on first use: most captures have no voice.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Table<T> {
    sets: Vec<[Entry<T>; WAYS]>,
    /// Counts uses, to tell which entry is the oldest.
    clock: u32,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Entry<T> {
    /// 0 if the entry is free.
    key: u64,
    used: u32,
    value: T,
}

impl<T: Copy + Default> Table<T> {
    /// Whether nothing was put in yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Asks for the memory where a key is, which will be looked up soon.
    #[inline]
    pub(crate) fn prefetch(&self, key: u64) {
        if let Some(set) = self.sets.get(key as usize % SETS) {
            prefetch(set);
        }
    }

    /// The value of a key.
    #[inline]
    pub(crate) fn get(&self, key: u64) -> Option<T> {
        let set = self.sets.get(key as usize % SETS)?;
        set.iter().find(|entry| entry.key == key).map(|entry| entry.value)
    }

    /// The value of a key, made if there is none yet. Always some.
    #[inline]
    pub(crate) fn entry(&mut self, key: u64) -> Option<&mut T> {
        if self.sets.is_empty() {
            self.sets = vec![[Entry::default(); WAYS]; SETS];
        }
        self.clock = self.clock.wrapping_add(1);
        let clock = self.clock;
        let set = self.sets.get_mut(key as usize % SETS)?;
        let entry = if let Some(at) = set.iter().position(|entry| entry.key == key) {
            set.get_mut(at)?
        } else {
            let oldest =
                set.iter_mut().max_by_key(|entry| (entry.key == 0, clock.wrapping_sub(entry.used)))?;
            *oldest = Entry { key, ..Entry::default() };
            oldest
        };
        entry.used = clock;
        Some(&mut entry.value)
    }
}
