//! What every reader of frames does with each: layers, packet of a fragment, application.

use super::fragments::Fragments;
use crate::capture::{Frame, Interface};
use crate::classify::{Classifier, Label};
use crate::dissect::{Layers, dissect_into};

/// Dissects and labels frames, in the order of the capture.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    classifier: Classifier,
    fragments: Fragments,
}

impl Frames {
    /// Writes the layers of a frame to `layers`, and returns its label if that is wanted.
    #[inline]
    pub fn read<'a>(
        &mut self,
        interfaces: &[Interface],
        frame: Frame<'a>,
        wants_label: bool,
        layers: &mut Layers<'a>,
    ) -> Label {
        let Some(interface) = interfaces.get(frame.record.interface as usize) else {
            *layers = Layers::default();
            return Label::default();
        };
        dissect_into(interface.link, frame.data, frame.record.wire_len, layers);
        let packet = self.fragments.join(frame.record.ts, frame.data, layers);
        if !wants_label {
            return Label::default();
        }
        let mut label = self.classifier.classify(layers);
        match packet {
            Some(packet) if layers.joined_ports.is_some() => label = packet.label,
            Some(packet) => packet.label = label,
            None => {}
        }
        label
    }
}
