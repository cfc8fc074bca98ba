//! How the memory that a check is given is shared out among what it remembers.

/// Bytes for each, which together are what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Recent packets, a fifth: see [`crate::detect::History`].
    pub recent: usize,
    /// Conversations, three twentieths: see [`crate::paths::Flows`].
    pub flows: usize,
    /// What detectors found, a twentieth: see [`crate::detect::Claims`].
    pub claims: usize,
    /// Calls and media of all taps together, three fifths: see [`crate::voice::Heard`].
    pub voice: usize,
}

impl Budget {
    /// The shares of so many bytes.
    pub const fn of(memory: usize) -> Self {
        let part = memory / 20;
        Self { recent: 4 * part, flows: 3 * part, claims: part, voice: 12 * part }
    }
}
