//! What was wrong with a capture that could be read nevertheless.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many warnings are kept of one file. A hostile file can deserve millions.
const MAX_PER_FILE: usize = 100;

/// Something wrong with a capture that did not keep its frames from being read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The source, as [`FileInfo::name`](super::FileInfo::name) has it.
    pub file: String,
    /// Where in the capture it was noticed, in bytes. For a compressed file that is the offset after decompression.
    pub offset: u64,
    /// What happened.
    pub message: String,
    /// Whether the rest of this source could not be read, so that frames may be missing.
    pub incomplete: bool,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = if self.incomplete { "; what follows is not read" } else { "" };
        write!(f, "{}: at byte {}: {}{rest}", self.file, self.offset, self.message)
    }
}

/// The warnings of a stream of sources, bounded in number.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    all: Vec<Warning>,
    file: String,
    in_file: usize,
}

impl Warnings {
    pub(super) fn all(&self) -> &[Warning] {
        &self.all
    }

    /// What is noticed from here on is about `file`.
    pub(super) fn begin(&mut self, file: &str) {
        file.clone_into(&mut self.file);
        self.in_file = 0;
    }

    /// Notes something that does not stop the reading.
    pub(super) fn note(&mut self, offset: u64, message: impl Into<String>) {
        self.in_file += 1;
        if self.in_file < MAX_PER_FILE {
            self.push(offset, message.into(), false);
        } else if self.in_file == MAX_PER_FILE {
            self.push(offset, "further warnings about this file are left out".into(), false);
        }
    }

    /// Notes what ended the reading of the file early.
    pub(super) fn end(&mut self, offset: u64, message: impl Into<String>) {
        self.push(offset, message.into(), true);
    }

    fn push(&mut self, offset: u64, message: String, incomplete: bool) {
        self.all.push(Warning { file: self.file.clone(), offset, message, incomplete });
    }
}
