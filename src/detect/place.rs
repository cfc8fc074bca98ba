//! As much of a sighting as evidence needs: what detectors keep that remember many.

use serde::{Deserialize, Serialize};

use super::Sighting;
use crate::paths::PathId;

/// Where and when a packet was seen. Fields mean what those of [`Sighting`] do.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Place {
    pub ts: i64,
    pub frame: u64,
    pub path: PathId,
    pub ip_id: u32,
    pub ttl: u8,
}

impl From<Sighting> for Place {
    fn from(Sighting { ts, frame, path, ip_id, ttl, .. }: Sighting) -> Self {
        Self { ts, frame, path, ip_id, ttl }
    }
}

impl From<Place> for Sighting {
    fn from(Place { ts, frame, path, ip_id, ttl }: Place) -> Self {
        Self { ts, frame, path, ip_id, ttl, ..Self::default() }
    }
}
