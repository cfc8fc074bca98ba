//! What every reader of frames does: takes blocks bit by bit, and of each frame finds layers, packet of a fragment and
//! application.

use std::sync::Arc;

use arrow_schema::ArrowError;
use serde::{Deserialize, Serialize};

use super::fragments::{Fragments, Piece};
use crate::capture::{Block, Frame, Interface, Reader};
use crate::classify::{self, Label, Streams};
use crate::dissect::{Layers, dissect_into};
use crate::messages::Ordered;

/// Called when the reader has nothing yet, such as when a signal arrived; its error ends the scan.
pub type Pause = fn() -> Result<(), ArrowError>;

/// The blocks of a capture, of which the last one may be left unfinished.
#[derive(Debug)]
pub(crate) struct Blocks {
    pub reader: Reader,
    pub pause: Option<Pause>,
    unfinished: Option<(Block, usize)>,
}

impl Blocks {
    pub fn new(reader: Reader) -> Self {
        Self { reader, pause: None, unfinished: None }
    }

    /// The next block, and at which of its frames to go on; `None` when the capture has ended.
    pub fn take(&mut self) -> Result<Option<(Block, usize)>, ArrowError> {
        if let Some(unfinished) = self.unfinished.take() {
            return Ok(Some(unfinished));
        }
        let block = self.reader.next_block().map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        if let (Some(true), Some(pause)) = (block.as_ref().map(Block::is_empty), self.pause) {
            pause()?;
        }
        Ok(block.map(|block| (block, 0)))
    }

    /// Gives a block back that was read up to `position`.
    pub fn put(&mut self, block: Block, position: usize) {
        if position < block.len() {
            self.unfinished = Some((block, position));
        }
    }
}

/// Dissects and labels frames, in the order of the capture.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    carried: Carried,
}

impl Frames {
    /// Writes the layers of a frame to `layers`, and returns its label.
    #[inline]
    pub fn read<'a>(
        &mut self,
        interfaces: &[Arc<Interface>],
        frame: Frame<'a>,
        layers: &mut Layers<'a>,
    ) -> Label {
        let Some(interface) = interfaces.get(frame.record.interface as usize) else {
            *layers = Layers::default();
            return Label::default();
        };
        dissect_into(interface.link, frame.data, frame.record.wire_len, layers);
        let mut label = self.carried.streams.refine(layers, classify::label(layers));
        if let Some(piece) = Piece::of(frame.record.ts, frame.data, layers) {
            let joined = self.carried.fragments.join(&piece, label);
            layers.issue = layers.issue.or(joined.issue);
            if let Some((ports, of_first)) = joined.known {
                layers.joined_ports = Some(ports);
                label = of_first;
            }
        }
        label
    }
}

/// What earlier frames tell about later ones. Small, and updated by few frames, so that this can be done in the order of the
/// capture after the frames were dissected in any.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Carried {
    pub(super) streams: Streams,
    pub(super) fragments: Fragments,
    // Exporters send their templates again and again.
    #[serde(skip)]
    pub(super) messages: Ordered,
}
