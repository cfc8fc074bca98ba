//! Frames that may hold call signalling, as they are: what calls are put together from, in order, by who has all of them.

use std::borrow::Cow;

use super::columns::{Bool, Bytes, Text, U8, U32, table};
use super::{Frame, Table};
use crate::classify::{self, App};
use crate::dissect::{Layers, Transport};
use crate::wire::ip::Fragment;

table! {
    /// Frames that may hold call signalling, as they are: SIP over UDP, TCP, SCTP and WebSocket, Skinny and H.225.0, what follows in later
    /// segments, and later fragments.
    Signalling, Row {
        /// What carries it: `udp`, `tcp`, `sctp`; none in a later fragment.
        transport: Text,
        /// What it is: `sip`, `skinny`, `h225` by its bytes or port; none for segments and fragments that are text, and so may go on with it.
        protocol: Text,
        /// Whether the ports say so: then all segments of the connection are in the table.
        by_port: Bool,
        /// Sequence number of a segment.
        tcp_seq: U32,
        /// The lower eight flags of a segment.
        tcp_flags: U8,
        /// Identification of a packet that was fragmented.
        ip_id: U32,
        /// Where in the packet that was fragmented this part begins, bytes.
        fragment_offset: U32,
        /// Whether more parts of that packet follow.
        more_fragments: Bool,
        /// Length of the payload on the wire, bytes.
        payload_len: U32,
        /// The payload, as far as captured.
        payload: Bytes,
    }
}

/// How many bytes of a payload are looked at to tell text from others.
const LOOK: usize = 32;

impl Table for Signalling {
    fn read(&mut self, frame: &Frame<'_>) {
        // What earlier frames tell is left out, so that the same rows come of frames that are read one by one.
        let layers = &Layers { joined_ports: None, ..*frame.layers };
        let label = classify::label(layers);
        let protocol = label.app.filter(|app| matches!(app, App::Sip | App::Skinny | App::H225));
        if protocol.is_none() && !may_continue(layers) {
            return;
        }
        let mut row = Row {
            protocol: protocol.map(|app| app.name().into()),
            payload_len: Some(layers.payload_len),
            payload: Some(Cow::Borrowed(layers.payload)),
            ..Row::default()
        };
        match layers.transport {
            Transport::Udp(_) => row.transport = Some("udp".into()),
            Transport::Sctp(_) => row.transport = Some("sctp".into()),
            Transport::Tcp(tcp) => {
                let flags = tcp.flags() as u8;
                // An acknowledgment alone tells nothing.
                if layers.payload.is_empty() && flags & 0x07 == 0 {
                    return;
                }
                let alone = Layers { payload: &[], payload_len: 0, ..*layers };
                row.transport = Some("tcp".into());
                let by_port = classify::label(&alone).app;
                row.by_port = Some(by_port == Some(App::Sip) || by_port.is_some() && by_port == protocol);
                row.tcp_seq = Some(tcp.seq.get());
                row.tcp_flags = Some(flags);
            }
            _ => {}
        }
        if let Some(ip) = layers.ip.filter(|ip| ip.fragment != Fragment::Whole) {
            row.ip_id = ip.id;
            row.fragment_offset = Some(u32::from(ip.fragment_offset) * 8);
            row.more_fragments = Some(ip.fragment != Fragment::Last);
        }
        self.push(&Frame { layers, ..*frame }, row);
    }
}

/// Whether a frame may go on with signalling that an earlier one began: a segment that is nothing else, or a later fragment of a
/// datagram; of text.
#[inline]
pub(super) fn may_continue(layers: &Layers<'_>) -> bool {
    let Some(ip) = &layers.ip else { return false };
    let may = match layers.transport {
        Transport::Tcp(_) => true,
        Transport::None => ip.protocol == 17 && ip.fragment.is_later(),
        _ => false,
    };
    may && is_text(layers.payload) && classify::label(layers).app.is_none()
}

/// Whether what is carried begins with text. Takes no layers, which would have to be written down for it.
#[inline(never)]
pub(super) fn is_text(payload: &[u8]) -> bool {
    let start = payload.get(..LOOK).unwrap_or(payload);
    !start.is_empty()
        && start.iter().all(|&byte| matches!(byte, b'\t' | b'\r' | b'\n' | 0x20..=0x7e | 0x80..))
}
