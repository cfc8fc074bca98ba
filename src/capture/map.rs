//! Files mapped into memory: the one place of the capture readers where the compiler must take our word.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::sync::Arc;

use memmap2::Mmap;

/// A file, mapped.
#[derive(Debug)]
pub(super) struct Map(Mmap);

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Map {
    /// Gives the memory of a stretch back to the kernel, which reads it from the file again should it be needed.
    pub(super) fn release(&self, from: usize, len: usize) {
        // SAFETY: the mapping is of a file and never written to, so that the bytes stay the same. A kernel that does not take
        // the hint keeps them in memory.
        #[cfg(unix)]
        let _ = unsafe { self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, from, len) };
        #[cfg(not(unix))]
        let _ = (from, len);
    }
}

/// Maps a whole regular file for reading.
///
/// If another process shortens the file while it is mapped, touching the lost part raises `SIGBUS`, which ends the
/// process. [`Options::mmap`](super::Options::mmap) turns mapping off for files that may be rotated in place.
pub(super) fn map(file: &File) -> io::Result<Arc<Map>> {
    // SAFETY: the mapping is read-only and private to this process, and never handed out as anything but bytes, of which every
    // value is valid. What remains is that another process may change the file under us: the readers copy each header field
    // out once before they check it, and a shortened file is documented above.
    let map = unsafe { Mmap::map(file) }?;
    // Captures are read from front to back; a kernel that does not take the hint only reads ahead less.
    #[cfg(unix)]
    let _ = map.advise(memmap2::Advice::Sequential);
    Ok(Arc::new(Map(map)))
}
