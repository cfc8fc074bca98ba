//! What can keep a capture from being read at all.

use std::io;

/// Why a source could not be read. A capture that ends early is no error: see
/// [`Reader::warnings`](super::Reader::warnings).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system said no.
    #[error("{name}: {source}")]
    Io {
        /// The source, as the user named it.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are of no capture format.
    #[error("{name}: not a packet capture: {found}")]
    NotACapture {
        /// The source, as the user named it.
        name: String,
        /// What was found instead, such as `it is empty` or `it begins with 50 4b 03 04`.
        found: String,
    },
    /// The bytes should be a [digest](crate::packets::digest), and cannot be used.
    #[error("{name}: {problem}")]
    Digest {
        /// The source, as the user named it.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The bytes are of a capture format that is not read here, and a command that converts it.
    #[error("{name}: this is a {format} capture, which is not read here; convert it with: {command}")]
    Unsupported {
        /// The source, as the user named it.
        name: String,
        /// The format found.
        format: &'static str,
        /// A command line that turns it into pcapng.
        command: String,
    },
}
