//! The bytes that can be seen at the moment: a whole mapped file, or a stretch of a stream.

use std::io::{self, Read};
use std::sync::Arc;

use super::Bytes;
use super::map::Map;

/// Bytes read at once from a stream that is not waited for: a file, or a decoder of one.
const CHUNK: usize = 1 << 20;
/// Bytes read at most at once from a pipe. Its frames are handed out as they come, so there are seldom many.
const LIVE_CHUNK: usize = 128 << 10;

/// Bytes of a mapped file that are given back at once.
const GIVEN_BACK: usize = 4 << 20;

/// A stretch of a file, and the way to the next one.
pub(super) struct Window {
    bytes: Bytes,
    /// Where in `bytes` the walker is.
    at: usize,
    /// Offset of `bytes` in the file.
    base: u64,
    /// What follows `bytes`; none at the end of the file.
    rest: Option<Stream>,
    /// What ended the stream, if it was not its end.
    fault: Option<io::Error>,
    /// The mapped file that the bytes are of, and up to where its memory was given back.
    mapped: Option<(Arc<Map>, usize)>,
}

/// Bytes that come one after the other.
pub(super) struct Stream {
    /// Where they come from.
    pub reader: Box<dyn Read + Send>,
    /// Whether somebody may be writing at the other end, so that what has come is not held back to read more.
    pub live: bool,
}

/// What became of a wish for more bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refill {
    /// The window moved on, or its end is known now.
    Done,
    /// A signal arrived while nothing else did.
    Interrupted,
}

impl Window {
    /// All the bytes there are.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { bytes, at: 0, base: 0, rest: None, fault: None, mapped: None }
    }

    /// The bytes of a mapped file.
    pub(super) fn mapped(map: Arc<Map>) -> Self {
        Self { mapped: Some((Arc::clone(&map), 0)), ..Self::whole(map) }
    }

    /// Bytes still to be read.
    pub(super) fn stream(stream: Stream) -> Self {
        Self { bytes: Arc::new([]), at: 0, base: 0, rest: Some(stream), fault: None, mapped: None }
    }

    /// The bytes in sight, to be kept by whoever needs them.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where in the bytes the walker is.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Offset of the bytes in the file.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Offset of the walker in the file.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Bytes in sight that the walker has not passed.
    pub(super) fn left(&self) -> usize {
        (*self.bytes).as_ref().len().saturating_sub(self.at)
    }

    /// Whether nothing follows the bytes in sight.
    pub(super) fn is_last(&self) -> bool {
        self.rest.is_none()
    }

    /// What ended the stream, if it was not its end.
    pub(super) fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    /// Moves the walker. Of a mapped file, so many bytes behind it stay in memory: what blocks under way need is to be there, or it is read
    /// again, and then never given back.
    pub(super) fn advance(&mut self, at: usize, kept: usize) {
        self.at = at;
        if let Some((map, released)) = &mut self.mapped
            && let Some(len) = at.checked_sub(released.saturating_add(kept))
            && len >= GIVEN_BACK
        {
            map.release(*released, len);
            *released += len;
        }
    }

    /// Replaces the bytes in sight: those the walker has not passed, and more behind them, if possible so many that it
    /// sees `need`. Memory grows with the bytes that arrive, never with what a file claims.
    pub(super) fn refill(&mut self, need: usize) -> Refill {
        let Some(stream) = &mut self.rest else { return Refill::Done };
        let tail = (*self.bytes).as_ref().get(self.at..).unwrap_or_default();
        let is_live = stream.live;
        let size = if is_live { LIVE_CHUNK } else { CHUNK };
        let mut chunk = vec![0; size.max(tail.len().saturating_mul(2))];
        let mut filled = tail.len();
        if let Some(start) = chunk.get_mut(..filled) {
            start.copy_from_slice(tail);
        }
        let enough = if is_live { need.min(chunk.len()).max(filled + 1) } else { chunk.len() };
        let mut refill = Refill::Done;
        while filled < enough {
            match stream.reader.read(chunk.get_mut(filled..).unwrap_or_default()) {
                Ok(0) => {
                    self.rest = None;
                    break;
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    refill = Refill::Interrupted;
                    break;
                }
                Err(error) => {
                    self.fault = Some(error);
                    self.rest = None;
                    break;
                }
            }
        }
        chunk.truncate(filled);
        if is_live {
            // A slow pipe fills little of it, and frames are kept for a while.
            chunk.shrink_to_fit();
        }
        self.base += self.at as u64;
        self.at = 0;
        self.bytes = Arc::new(chunk);
        refill
    }
}
