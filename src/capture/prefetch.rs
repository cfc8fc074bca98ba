//! Which bytes of a capture to ask for before they are needed.

use crate::prefetch::{LINE, line};

/// How far ahead of the cursor: about as far as a walk comes in the time that memory takes to answer.
const AHEAD: usize = 4096;

/// The most that one step asks for.
const MOST: usize = 1536;

/// Asks for what lies [`AHEAD`] of `at`, for a cursor that moves on by `step`. A walk from record to record cannot know where
/// the record after the next begins before it has read the next one, so without this each record waits for memory.
#[inline]
pub(super) fn ahead(bytes: &[u8], at: usize, step: usize) {
    let from = at.wrapping_add(AHEAD);
    let mut asked = 0;
    while asked < step.min(MOST) {
        line(bytes.as_ptr().wrapping_add(from.wrapping_add(asked)));
        asked += LINE;
    }
}

/// Asks for the first bytes of the frame at `at`, as many as headers usually take.
#[inline]
pub(super) fn headers(bytes: &[u8], at: usize) {
    for offset in [0, LINE, 2 * LINE] {
        line(bytes.as_ptr().wrapping_add(at.wrapping_add(offset)));
    }
}
