//! Where the frames of a stream came from.

use serde::{Deserialize, Serialize};

use super::{FileInfo, Interface, Warning};

/// Files, interfaces and warnings of a stream of frames.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// As [`Reader::interfaces`](super::Reader::interfaces).
    pub interfaces: Vec<Interface>,
    /// As [`Reader::files`](super::Reader::files).
    pub files: Vec<FileInfo>,
    /// As [`Reader::warnings`](super::Reader::warnings).
    pub warnings: Vec<Warning>,
}

impl Origin {
    /// The number of the frame behind the last one; none if there is no file.
    pub fn next_frame(&self) -> Option<u64> {
        self.files.last().map(|file| file.first_frame.saturating_add(file.frames))
    }

    /// Adds another stream behind this one. Its files' frames are numbered by the caller.
    pub fn extend(&mut self, other: Self) {
        let files = self.files.len();
        self.interfaces.extend(
            other
                .interfaces
                .into_iter()
                .map(|each| Interface { file: each.file.saturating_add(files), ..each }),
        );
        self.files.extend(other.files);
        self.warnings.extend(other.warnings);
    }
}
