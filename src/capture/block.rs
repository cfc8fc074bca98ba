//! A stretch of captured bytes with the records found in it.

use std::sync::Arc;

use super::prefetch;

/// Frames from one that is handed out to one whose headers are asked for.
const AHEAD: usize = 8;

/// Bytes that several blocks may share: a mapped file, a buffer of the caller's, or a chunk read from a stream.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Where one captured frame lies in its block, and what the capture file says about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// Capture time in nanoseconds since 1970-01-01 UTC.
    pub ts: i64,
    /// Offset of the frame's first byte in the block.
    pub offset: usize,
    /// Bytes captured, all of them inside the block.
    pub cap_len: u32,
    /// Bytes the frame had on the wire.
    pub wire_len: u32,
    /// Index into [`Reader::interfaces`](super::Reader::interfaces).
    pub interface: u32,
}

/// One captured frame, borrowed from its block.
#[derive(Debug, Clone, Copy, Default)]
pub struct Frame<'a> {
    /// What the capture file says about it.
    pub record: Record,
    /// The captured bytes.
    pub data: &'a [u8],
}

/// Frames in the order of the file, and the bytes that hold them.
#[derive(Clone)]
pub struct Block {
    bytes: Bytes,
    records: Vec<Record>,
    first_frame: u64,
}

impl Block {
    /// A block of `records` in `bytes`; the first one is frame number `first_frame` (1-based).
    /// Records that do not lie inside `bytes` yield empty frames.
    pub fn new(bytes: Bytes, records: Vec<Record>, first_frame: u64) -> Self {
        Self { bytes, records, first_frame }
    }

    /// Number of the first frame, counted from 1 over the whole stream, as Wireshark counts.
    pub fn first_frame(&self) -> u64 {
        self.first_frame
    }

    /// How many frames the block holds.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// How many bytes of the capture it takes, from its first frame to the end of its last.
    pub fn size(&self) -> usize {
        self.records.last().map_or(0, |last| self.end_of(last))
    }

    /// Where a frame ends, counted from the beginning of the first.
    fn end_of(&self, record: &Record) -> usize {
        let start = self.records.first().map_or(0, |first| first.offset);
        (record.offset + record.cap_len as usize).saturating_sub(start)
    }

    /// Keeps so many frames of so many bytes at the most, but for one that is larger, and gives back the others if there are any.
    pub fn split(&mut self, frames: usize, bytes: usize) -> Option<Self> {
        let fitting = self.records.partition_point(|record| self.end_of(record) <= bytes);
        let kept = fitting.min(frames).max(1);
        (kept < self.len()).then(|| Self {
            bytes: Arc::clone(&self.bytes),
            records: self.records.split_off(kept),
            first_frame: self.first_frame + kept as u64,
        })
    }

    /// Whether the block holds no frame.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The frames, in order.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let bytes = (*self.bytes).as_ref();
        self.records.iter().enumerate().map(move |(at, &record)| {
            // Where frames lie is known now, so that the headers of the next ones can be asked for in time.
            prefetch::headers(bytes, self.records.get(at + AHEAD).map_or(0, |record| record.offset));
            let data = bytes
                .get(record.offset..)
                .and_then(|rest| rest.get(..record.cap_len as usize))
                .unwrap_or_default();
            Frame { record, data }
        })
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block")
            .field("first_frame", &self.first_frame)
            .field("records", &self.records.len())
            .finish_non_exhaustive()
    }
}
