//! RTP headers, RFC 3550 section 5.1.

use super::columns::{Bool, U8, U16, U32, table};
use super::{Frame, Table};
use crate::classify::App;
use crate::dissect::Transport;

table! {
    /// RTP packets over UDP, those that a session description or their series proves to be.
    Rtp, Row {
        /// Payload type.
        payload_type: U8,
        /// Whether the marker is set.
        marker: Bool,
        /// Sequence number.
        seq: U16,
        /// Timestamp, in units of the codec's clock.
        timestamp: U32,
        /// Synchronisation source.
        ssrc: U32,
        /// Contributing sources.
        csrc_count: U8,
        /// Whether a header extension follows.
        has_extension: Bool,
    }
}

impl Table for Rtp {
    fn read(&mut self, frame: &Frame<'_>) {
        let is_rtp = frame.label.app == Some(App::Rtp) && matches!(frame.layers.transport, Transport::Udp(_));
        let Some(&[first, second, s_hi, s_lo, a, b, c, d, e, f, g, h]) = frame.layers.payload.first_chunk()
        else {
            return;
        };
        if !is_rtp {
            return;
        }
        let row = Row {
            payload_type: Some(second & 0x7f),
            marker: Some(second & 0x80 != 0),
            seq: Some(u16::from_be_bytes([s_hi, s_lo])),
            timestamp: Some(u32::from_be_bytes([a, b, c, d])),
            ssrc: Some(u32::from_be_bytes([e, f, g, h])),
            csrc_count: Some(first & 0x0f),
            has_extension: Some(first & 0x10 != 0),
            ..Row::default()
        };
        self.push(frame, row);
    }
}
