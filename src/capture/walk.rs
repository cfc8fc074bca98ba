//! What a walker, the reader of one file format, is given and what it answers.

use std::sync::Arc;

use super::{Interface, Record, warning::Warnings};

/// Most records in a block. Few enough that the list stays in a core's cache while it is worked on.
pub const BLOCK_RECORDS: usize = 1024;

/// What a walker found, and where it puts what it finds.
pub(super) struct Sink<'a> {
    /// How many frames the block may have.
    pub most: usize,
    /// Frames of the block being made.
    pub records: &'a mut Vec<Record>,
    /// Interfaces of the whole stream. Shared with the threads that dissect, and copied if they change then.
    pub interfaces: &'a mut Vec<Arc<Interface>>,
    /// Of the whole stream.
    pub warnings: &'a mut Warnings,
    /// Offset of the window in the file.
    pub base: u64,
}

impl Sink<'_> {
    /// Whether the block holds as many records as it may.
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= self.most
    }
}

/// How far a walker came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Walked {
    /// Where in the window it goes on next time.
    pub at: usize,
    /// Why it stopped.
    pub stop: Stop,
}

/// Why a walker stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It did a block's work.
    Full,
    /// It needs so many bytes from where it stopped. At the end of the file with no byte left, all is well.
    More(usize),
    /// The bytes make no sense from there on.
    Broken(String),
}

impl Stop {
    pub(super) fn at(self, at: usize) -> Walked {
        Walked { at, stop: self }
    }
}

/// A 32-bit number in the byte order of the file.
#[inline]
pub(super) fn u32_of<const BIG: bool>(bytes: [u8; 4]) -> u32 {
    if BIG { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

/// A 16-bit number in the byte order of the file.
#[inline]
pub(super) fn u16_of<const BIG: bool>(bytes: [u8; 2]) -> u16 {
    if BIG { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
}

/// The first `N` 32-bit words of `bytes`, not yet in any byte order.
#[inline]
pub(super) fn words<const N: usize>(bytes: &[u8]) -> Option<&[[u8; 4]; N]> {
    bytes.as_chunks::<4>().0.first_chunk::<N>()
}
