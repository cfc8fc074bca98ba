//! What session descriptions say of payload types.

use hashbrown::HashMap;

use super::codec::Codec;
use crate::wire::ip::Addr;

/// An endpoint, and a payload type there.
type Place = (Addr, u16, u8);

/// What payload types were announced as. Bounded: as many as the limit are known for sure, and of those before them up to as many.
#[derive(Debug)]
pub(super) struct Announced {
    limit: usize,
    /// Those that were announced last, up to the limit.
    recent: HashMap<Place, Codec>,
    /// As many that were announced before.
    earlier: HashMap<Place, Codec>,
    changes: u64,
    has_forgotten: bool,
}

impl Announced {
    /// Nothing so far, with room for so many.
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            recent: HashMap::new(),
            earlier: HashMap::new(),
            changes: 0,
            has_forgotten: false,
        }
    }

    pub fn add(&mut self, place: Place, codec: Codec) {
        if let Some(known) = self.recent.get_mut(&place) {
            self.changes += u64::from(*known != codec);
            *known = codec;
            return;
        }
        let is_new = self.earlier.remove(&place).as_ref() != Some(&codec);
        if self.recent.len() >= self.limit {
            self.has_forgotten |= !self.earlier.is_empty();
            self.earlier = std::mem::take(&mut self.recent);
        }
        self.recent.insert(place, codec);
        self.changes += u64::from(is_new);
    }

    pub fn get(&self, place: Place) -> Option<&Codec> {
        self.recent.get(&place).or_else(|| self.earlier.get(&place))
    }

    /// How often anything was announced that was not known.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether something was forgotten.
    pub fn has_forgotten(&self) -> bool {
        self.has_forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_the_first_are_forgotten() {
        let codec = |name: &str| Codec { name: name.into(), clock_rate: 48_000 };
        let place = |payload_type| (Addr::default(), 4000, payload_type);
        let mut announced = Announced::new(2);
        for payload_type in 96..100 {
            announced.add(place(payload_type), codec("opus"));
        }
        assert_eq!((announced.changes(), announced.has_forgotten()), (4, false));
        // Said again, it is one of the last: 97 is forgotten before it.
        announced.add(place(96), codec("opus"));
        assert_eq!((announced.changes(), announced.has_forgotten()), (4, true));
        assert_eq!(announced.get(place(96)), Some(&codec("opus")));
        assert_eq!(announced.get(place(97)), None);
        assert_eq!(announced.get(place(99)), Some(&codec("opus")));
        // Each change counts, there and back, and takes no room.
        for (name, changes) in [("EVS", 5), ("opus", 6), ("opus", 6)] {
            announced.add(place(96), codec(name));
            assert_eq!((announced.changes(), announced.get(place(96))), (changes, Some(&codec(name))));
        }
        assert_eq!(announced.get(place(98)), Some(&codec("opus")));
        for payload_type in 0..=255 {
            announced.add(place(payload_type), codec("opus"));
            assert!(announced.recent.len() + announced.earlier.len() <= 4);
        }
    }
}
