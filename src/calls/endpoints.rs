//! Where media of calls are expected.

use std::collections::VecDeque;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::named::named;
use crate::wire::ip::Addr;

named! {
    /// A side of a call.
    Side {
        /// Who called.
        Caller = "caller",
        /// Who was called.
        Callee = "callee",
    }
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

/// A place where a side of a call wants to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot {
    /// Number of the call.
    pub call: u64,
    /// Who receives there.
    pub side: Side,
    /// Whether it is RTCP that is expected there.
    pub is_rtcp: bool,
    /// From when on, nanoseconds UTC.
    pub since: i64,
    /// Until when; none while it goes on.
    pub until: Option<i64>,
}

type Key = (u16, Addr, u16);

/// Media endpoints of calls, by tap, address and port. The oldest are forgotten when there are too many.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Endpoints {
    limit: usize,
    spots: HashMap<Key, VecDeque<Spot>>,
    order: VecDeque<Key>,
    of_calls: HashMap<u64, Vec<Key>>,
    /// How many places are listed there, those that were forgotten since among them.
    listed: usize,
    forgotten: u64,
    /// Of these, those whose calls went on, but for the oldest of many at one place: who scans describes the same one again and again. And payload
    /// types that found no room among `fresh`.
    missed: u64,
    /// Those whose payload types nobody has asked for yet.
    #[serde(skip)]
    fresh: Vec<(Addr, u16, u8, String)>,
}

/// How much earlier than its description media may come, nanoseconds: an answer may overtake it.
const EARLY: i64 = 2_000_000_000;
/// How much later than its end.
const LATE: i64 = 2_000_000_000;
/// Descriptions of one address and port that are kept: those of calls one after another, of which the oldest are over.
const AT_ONE_PLACE: usize = 64;

impl Endpoints {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), ..Self::default() }
    }

    /// The call that expects media at this address and port at this time on this tap, numbered as [`super::Calls::taps`] are: of several, the one
    /// whose description came last before.
    pub fn find(&self, tap: u16, addr: Addr, port: u16, ts: i64) -> Option<&Spot> {
        // A later description counts from its time on; media that are early for it belong to it only if no other has them.
        let open = || self.find_all(tap, addr, port, ts);
        open()
            .filter(|spot| spot.since <= ts)
            .max_by_key(|spot| spot.since)
            .or_else(|| open().min_by_key(|spot| spot.since))
    }

    /// All calls that do.
    pub fn find_all(&self, tap: u16, addr: Addr, port: u16, ts: i64) -> impl Iterator<Item = &Spot> {
        let spots = self.spots.get(&(tap, addr, port)).into_iter().flatten();
        spots.filter(move |spot| {
            spot.since.saturating_sub(EARLY) <= ts
                && spot.until.is_none_or(|until| ts <= until.saturating_add(LATE))
        })
    }

    /// Endpoints, payload types and encodings that were described since this was asked last.
    pub(super) fn take_fresh(&mut self) -> Vec<(Addr, u16, u8, String)> {
        std::mem::take(&mut self.fresh)
    }

    /// How many were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// How many were forgotten before their calls were over, and payload types of which nobody was told.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// Expects media, with payload types that stand for these encodings.
    pub(super) fn add(&mut self, tap: u16, addr: Addr, port: u16, spot: Spot, payloads: &[(u8, String)]) {
        let key = (tap, addr, port);
        if self.fresh.len() < self.limit {
            let payloads = payloads.iter().map(|(kind, encoding)| (addr, port, *kind, encoding.clone()));
            self.fresh.extend(payloads);
        } else {
            self.missed += payloads.len() as u64;
        }
        let spots = self.spots.entry(key).or_default();
        let is_known = |known: &Spot| {
            known.call == spot.call
                && known.side == spot.side
                && known.is_rtcp == spot.is_rtcp
                && known.until.is_none()
        };
        if spots.iter().any(is_known) {
            return;
        }
        self.of_calls.entry(spot.call).or_default().push(key);
        self.listed += 1;
        spots.push_back(spot);
        if spots.len() > AT_ONE_PLACE {
            // Its place in the order is that of the one that went.
            spots.pop_front();
            self.forgotten += 1;
        } else {
            self.order.push_back(key);
        }
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.forgotten += 1;
            if let Some(spots) = self.spots.get_mut(&oldest) {
                let gone = spots.pop_front();
                self.missed += u64::from(gone.is_some_and(|spot| spot.until.is_none()));
                if spots.is_empty() {
                    self.spots.remove(&oldest);
                }
            }
        }
        if self.listed > self.limit.saturating_mul(4) {
            self.tidy();
        }
    }

    /// Leaves out of the lists of calls what was forgotten: a call may go on for ever, and describe another place each time.
    fn tidy(&mut self) {
        let Self { spots, of_calls, listed, .. } = self;
        *listed = 0;
        of_calls.retain(|&call, keys| {
            keys.sort_unstable();
            keys.dedup();
            keys.retain(|key| spots.get(key).is_some_and(|spots| spots.iter().any(|spot| spot.call == call)));
            keys.shrink_to_fit();
            *listed += keys.len();
            !keys.is_empty()
        });
    }

    /// What a call has described is over.
    pub(super) fn end(&mut self, call: u64, ts: i64) {
        let keys = self.of_calls.remove(&call).unwrap_or_default();
        self.listed = self.listed.saturating_sub(keys.len());
        for key in keys {
            for spot in self.spots.get_mut(&key).into_iter().flatten().filter(|spot| spot.call == call) {
                spot.until.get_or_insert(ts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(call: u64) -> Spot {
        Spot { call, side: Side::Caller, is_rtcp: false, since: call as i64 * 10 * LATE, until: None }
    }

    /// As many calls as there may be describe one address and port: the last ones are known, and each takes no longer than the first.
    #[test]
    fn one_place_is_bounded() {
        let mut endpoints = Endpoints::new(1 << 20);
        for call in 0..100_000 {
            endpoints.add(0, [1; 16], 4000, spot(call), &[]);
        }
        let at = |call: u64| endpoints.find(0, [1; 16], 4000, spot(call).since).map(|spot| spot.call);
        assert_eq!((at(99_999), at(99_936), at(99_935)), (Some(99_999), Some(99_936), None));
        assert_eq!((endpoints.forgotten(), endpoints.missed()), (100_000 - AT_ONE_PLACE as u64, 0));
        assert_eq!(endpoints.order.len(), AT_ONE_PLACE);
    }

    /// One call that goes on describes another place each time: what is listed of it is bounded too, and what is still known ends with it.
    #[test]
    fn one_call_is_bounded() {
        let mut endpoints = Endpoints::new(100);
        for place in 0..10_000_u16 {
            endpoints.add(0, [1; 16], place, Spot { since: 0, ..spot(1) }, &[]);
        }
        let listed: usize = endpoints.of_calls.values().map(Vec::len).sum();
        assert_eq!(endpoints.listed, listed);
        assert!((100..=400).contains(&listed), "{listed}");
        endpoints.end(1, LATE);
        assert_eq!((endpoints.listed, endpoints.of_calls.len()), (0, 0));
        let at = |ts| endpoints.find(0, [1; 16], 9999, ts).map(|spot| spot.call);
        assert_eq!((at(2 * LATE), at(2 * LATE + 1)), (Some(1), None));
    }

    /// What is forgotten for want of room all in all is the oldest, whatever was forgotten at one place.
    #[test]
    fn all_places_are_bounded() {
        let mut endpoints = Endpoints::new(100);
        for call in 0..1000 {
            endpoints.add(0, [1; 16], (call % 7) as u16, spot(call), &[]);
        }
        let kept: usize = endpoints.spots.values().map(VecDeque::len).sum();
        assert_eq!((kept, endpoints.order.len(), endpoints.forgotten()), (100, 100, 900));
        // All of these calls went on.
        assert_eq!(endpoints.missed(), 900);
    }
}
