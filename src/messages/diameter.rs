//! Diameter, RFC 6733.

use std::borrow::Cow;

use super::columns::{Bool, Text, U8, U32, table};
use super::{Frame, Table};
use crate::classify::{App, Basis};
use crate::dissect::Transport;
use crate::wire::sctp;

table! {
    /// Diameter messages over TCP and SCTP: header, and who asks whom.
    Diameter, Row {
        /// Whether this is a request.
        is_request: Bool,
        /// Flags: request, proxiable, error, retransmitted (the high 4 bits).
        flags: U8,
        /// Command code.
        command: U32,
        /// Application.
        application: U32,
        /// Hop-by-hop identifier.
        hop_by_hop: U32,
        /// End-to-end identifier.
        end_to_end: U32,
        /// Session-Id (AVP 263).
        session_id: Text,
        /// Origin-Host (AVP 264).
        origin_host: Text,
        /// Origin-Realm (AVP 296).
        origin_realm: Text,
        /// Destination-Host (AVP 293).
        destination_host: Text,
        /// Destination-Realm (AVP 283).
        destination_realm: Text,
        /// Result-Code (AVP 268).
        result_code: U32,
    }
}

impl Table for Diameter {
    fn read(&mut self, frame: &Frame<'_>) {
        if frame.label.app != Some(App::Diameter) || frame.label.basis != Some(Basis::Signature) {
            return;
        }
        match frame.layers.transport {
            Transport::Sctp(_) => {
                for data in sctp::chunks(frame.layers.payload).filter_map(|chunk| chunk.user_data()) {
                    self.messages(frame, data);
                }
            }
            _ => self.messages(frame, frame.layers.payload),
        }
    }
}

impl Diameter {
    /// The messages that begin in these bytes, each behind the other.
    fn messages(&mut self, frame: &Frame<'_>, mut bytes: &[u8]) {
        while let Some((row, len)) = message(bytes) {
            self.push(frame, row);
            bytes = bytes.get(len..).unwrap_or_default();
        }
    }
}

/// The message that begins here and its length, RFC 6733 section 3.
fn message(bytes: &[u8]) -> Option<(Row<'_>, usize)> {
    let header = bytes.first_chunk::<20>()?;
    let (words, _) = header.as_chunks::<4>();
    let &[version_len, flags_command, application, hop_by_hop, end_to_end] = words else { return None };
    let [version, a, b, c] = version_len;
    let len = u32::from_be_bytes([0, a, b, c]) as usize;
    let [flags, d, e, f] = flags_command;
    if version != 1 || len < 20 || !len.is_multiple_of(4) {
        return None;
    }
    let mut row = Row {
        is_request: Some(flags & 0x80 != 0),
        flags: Some(flags),
        command: Some(u32::from_be_bytes([0, d, e, f])),
        application: Some(u32::from_be_bytes(application)),
        hop_by_hop: Some(u32::from_be_bytes(hop_by_hop)),
        end_to_end: Some(u32::from_be_bytes(end_to_end)),
        ..Row::default()
    };
    let mut rest = bytes.get(20..len).or_else(|| bytes.get(20..)).unwrap_or_default();
    // Section 4.1: code, flags, length of all but the padding, with flag V the vendor.
    while let Some(&[h, i, j, k, avp_flags, l, m, n]) = rest.first_chunk() {
        let avp_len = u32::from_be_bytes([0, l, m, n]) as usize;
        let at = if avp_flags & 0x80 == 0 { 8 } else { 12 };
        let Some(data) = rest.get(at..avp_len) else { break };
        if avp_flags & 0x80 == 0 {
            match u32::from_be_bytes([h, i, j, k]) {
                263 => row.session_id = Some(text(data)),
                264 => row.origin_host = Some(text(data)),
                268 => row.result_code = data.try_into().ok().map(u32::from_be_bytes),
                283 => row.destination_realm = Some(text(data)),
                293 => row.destination_host = Some(text(data)),
                296 => row.origin_realm = Some(text(data)),
                _ => {}
            }
        }
        rest = rest.get(avp_len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some((row, len))
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes.get(..1024).unwrap_or(bytes))
}
