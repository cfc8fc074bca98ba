//! What a run knows at its end, saved, so that a later one goes on from there: a day at a time.
//!
//! What the later run says is what one run over all captures would say. Files are this program's own data: they are guarded against
//! damage, not against malice, and other versions refuse them.

use std::collections::BTreeMap;

use arrow_schema::ArrowError;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use super::examine::{Options, State};
use crate::packets::Carried;
use crate::packets::digest::Captured;

/// What a run knows at its end.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedState {
    window: i64,
    late_window: i64,
    budget: usize,
    memory: Vec<u8>,
    detectors: BTreeMap<String, Vec<u8>>,
    /// Scans by the names of their taps.
    pub scans: BTreeMap<String, SavedScan>,
}

/// Where a scan ended.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SavedScan {
    /// Its files: name, number of the first frame, frames.
    pub files: Vec<(String, u64, u64)>,
    /// What those are known by that could be read again.
    pub captures: Vec<Captured>,
    /// What its frames told of later ones.
    pub carried: Carried,
}

impl SavedScan {
    /// The number of the frame that comes next.
    pub fn next_frame(&self) -> u64 {
        self.files.last().map_or(1, |(_, first, frames)| first + frames)
    }
}

/// The first of these captures of a tap that was read already, as far as it can be known again: under its name there, or as what it is.
pub fn known<'a>(
    scans: &BTreeMap<String, SavedScan>,
    tap: Option<&str>,
    captures: &'a [Captured],
) -> Option<&'a Captured> {
    // One that has grown since keeps its name and its first frame; one that was renamed or copied, its bytes.
    let is_same = |of: &str, here: &Captured, there: &Captured| {
        here.mark == there.mark
            || Some(of) == tap && here.name == there.name && here.first_ts == there.first_ts
    };
    captures.iter().filter(|each| each.mark.is_some() && each.first_ts.is_some()).find(|each| {
        scans.iter().any(|(of, saved)| saved.captures.iter().any(|known| is_same(of, each, known)))
    })
}

/// Why a saved state cannot be used.
#[derive(Debug, Error, PartialEq)]
pub enum StateError {
    /// It is something else.
    #[error("is no saved state")]
    NoState,
    /// Another version has written it.
    #[error("was saved by version {0}, and this is {VERSION}")]
    Version(String),
    /// Bytes have changed.
    #[error("is damaged")]
    Damaged,
    /// It rests on other options.
    #[error("was saved with a window of {0} s and {1} MiB of memory, which cannot change on the way")]
    Options(f64, usize),
    /// Another build of this version has written it.
    #[error("was saved by another build: detector {0} is not the same")]
    Detector(String),
}

const MAGIC: &[u8; 16] = b"tapsight state\r\n";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const CHECKSUM: usize = 8;

impl SavedState {
    pub(super) fn of(state: &State) -> Result<Self, ArrowError> {
        let Options { window, late_window, memory: budget, .. } = state.options;
        let external = |error: postcard::Error| ArrowError::ExternalError(Box::new(error));
        let detectors = state.detectors.iter().map(|each| Ok((each.id().to_owned(), each.save()?)));
        Ok(Self {
            window,
            late_window,
            budget,
            memory: postcard::to_stdvec(&state.memory).map_err(external)?,
            detectors: detectors.collect::<Result<_, _>>().map_err(external)?,
            scans: BTreeMap::new(),
        })
    }

    /// What begins with this state, in place of a new one with the same options.
    pub(super) fn over(self, mut state: State) -> Result<State, StateError> {
        let options = &state.options;
        if (self.window, self.late_window, self.budget)
            != (options.window, options.late_window, options.memory)
        {
            return Err(StateError::Options(self.window as f64 / 1e9, self.budget >> 20));
        }
        for detector in &mut state.detectors {
            let id = detector.id();
            let known = self.detectors.get(id).map(|bytes| detector.load(bytes));
            if !matches!(known, Some(Ok(()))) {
                return Err(StateError::Detector(id.to_owned()));
            }
        }
        state.memory = postcard::from_bytes(&self.memory).map_err(|_| StateError::Damaged)?;
        Ok(state)
    }

    /// As the bytes of a file: a line that says what it is, the version, the state compressed, and a checksum.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ArrowError> {
        let plain = postcard::to_stdvec(self).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        let packed = zstd::encode_all(plain.as_slice(), 1)?;
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION.len() as u8);
        bytes.extend_from_slice(VERSION.as_bytes());
        bytes.extend_from_slice(&packed);
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// What the bytes of a file say.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(StateError::NoState)?;
        let (&len, rest) = rest.split_first().ok_or(StateError::Damaged)?;
        let (version, _) = rest.split_at_checked(len.into()).ok_or(StateError::Damaged)?;
        if version != VERSION.as_bytes() {
            return Err(StateError::Version(String::from_utf8_lossy(version).escape_default().to_string()));
        }
        let (covered, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(StateError::Damaged)?;
        if xxh3_64(covered) != u64::from_le_bytes(*checksum) {
            return Err(StateError::Damaged);
        }
        let packed = covered.get(MAGIC.len() + 1 + version.len()..).ok_or(StateError::Damaged)?;
        let plain = zstd::decode_all(packed).map_err(|_| StateError::Damaged)?;
        postcard::from_bytes(&plain).map_err(|_| StateError::Damaged)
    }
}
