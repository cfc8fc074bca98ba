//! Layers → what it is: application, traffic class, and on what basis.

mod app;

pub use app::{App, Basis, Traffic};

use crate::dissect::Layers;

/// What a packet is taken for, and on what basis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Label {
    /// The application, if one was recognised.
    pub app: Option<App>,
    /// What that rests on; `None` exactly when `app` is.
    pub basis: Option<Basis>,
}

impl Label {
    /// The traffic class of the application, [`Traffic::Unknown`] without one.
    #[inline]
    pub fn traffic(self) -> Traffic {
        self.app.map_or(Traffic::Unknown, App::traffic)
    }
}

/// Recognises applications. Most are told from the packet alone; for those that need more than one packet (RTP
/// without signalling), it keeps a bounded table of streams, so packets are to be given in order.
#[derive(Debug, Default)]
pub struct Classifier {}

impl Classifier {
    /// A classifier that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What this packet is.
    pub fn classify(&mut self, _layers: &Layers<'_>) -> Label {
        Label::default()
    }
}
