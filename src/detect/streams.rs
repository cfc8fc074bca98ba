//! What detectors remember of each direction of each connection, in bounded memory.

use serde::{Deserialize, Serialize};

use crate::packets::Packet;
use crate::table::Table;

const TCP: u8 = 6;

/// Directions that are remembered.
const MAX: usize = 1 << 16;

/// Values by key, at most [`MAX`]: the one that was made first makes room. As much memory is used as there are values.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Streams<T> {
    /// Numbers of values, counted from 1: small entries, so that looking one up touches little memory.
    numbers: Table<u32>,
    all: Vec<(u64, T)>,
    oldest: usize,
}

impl<T> Default for Streams<T> {
    fn default() -> Self {
        Self { numbers: Table::default(), all: Vec::new(), oldest: 0 }
    }
}

impl<T: Default> Streams<T> {
    /// Asks for the memory where a key is looked up.
    #[inline]
    pub fn prefetch_index(&self, key: u64) {
        self.numbers.prefetch(key);
    }

    /// The value of a key as far as the index tells, to ask for its memory: it may be another's.
    #[inline]
    pub fn supposed(&self, key: u64) -> Option<&T> {
        let at = (self.numbers.get(key)? as usize).checked_sub(1)?;
        self.all.get(at).map(|(_, value)| value)
    }

    /// The value of a key.
    #[inline]
    pub fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let at = (self.numbers.get(key)? as usize).checked_sub(1)?;
        self.all.get_mut(at).filter(|(owner, _)| *owner == key).map(|(_, value)| value)
    }

    /// The value of a key, made if there is none yet. Always some. Shows the one that makes room.
    #[inline]
    pub fn entry(&mut self, key: u64, forget: impl FnOnce(&T)) -> Option<&mut T> {
        let number = self.numbers.entry(key)?;
        let is_it = |&at: &usize| self.all.get(at).is_some_and(|(owner, _)| *owner == key);
        let at = if let Some(at) = (*number as usize).checked_sub(1).filter(is_it) {
            at
        } else if self.all.len() < MAX {
            self.all.push((key, T::default()));
            self.all.len() - 1
        } else {
            let at = self.oldest % MAX;
            self.oldest = at + 1;
            let place = self.all.get_mut(at)?;
            forget(&place.1);
            *place = (key, T::default());
            at
        };
        *number = at as u32 + 1;
        self.all.get_mut(at).map(|(_, value)| value)
    }
}

/// What the two directions of a connection are known by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    /// That of a packet.
    pub here: u64,
    /// That of the answers to it.
    pub back: u64,
}

impl Keys {
    /// Those of a packet of TCP.
    #[inline]
    pub fn of(packet: Packet<'_>) -> Option<Self> {
        if packet.protocol() != Some(TCP) {
            return None;
        }
        let id = packet.flow_id().unwrap_or_default();
        // Never 0, which stands for a free entry.
        let (a, b) = (id.max(1), (!id).max(1));
        let forth = (packet.src(), packet.src_port()) < (packet.dst(), packet.dst_port());
        Some(if forth { Self { here: a, back: b } } else { Self { here: b, back: a } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_makes_room_and_is_shown() {
        let mut streams = Streams::<u64>::default();
        for key in 1..=MAX as u64 {
            *streams.entry(key, |_| panic!("there is room")).unwrap() = key;
        }
        assert_eq!(streams.get_mut(1), Some(&mut 1));
        let mut forgotten = None;
        *streams.entry(1 << 20, |&value| forgotten = Some(value)).unwrap() = 7;
        assert_eq!(forgotten, Some(1));
        assert_eq!(streams.all.len(), MAX);
        assert_eq!(streams.get_mut(1), None);
        assert_eq!(streams.get_mut(1 << 20), Some(&mut 7));
    }
}
