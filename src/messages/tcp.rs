//! TCP options of segments that begin a connection.

use std::fmt::Write as _;

use super::columns::{Bool, Text, U8, U16, U32, table};
use super::words::Options;
use super::{Frame, Table, carried};
use crate::dissect::Transport;
use crate::wire::ip::Ip;
use crate::wire::tcp as segment;

table! {
    /// TCP segments with SYN, and what their options offer.
    Tcp, Row {
        /// Whether this is the answer: SYN and ACK.
        is_answer: Bool,
        /// Sequence number.
        seq: U32,
        /// Acknowledgment number, also where the flag is not set that makes it one.
        ack: U32,
        /// Urgent pointer, also where the flag is not set that makes it one.
        urgent: U16,
        /// Window.
        window: U16,
        /// Maximum segment size, RFC 9293 section 3.7.1.
        mss: U16,
        /// Window scale, RFC 7323 section 2.
        window_scale: U8,
        /// Whether selective acknowledgments are permitted, RFC 2018 section 2; null, as what is below, if the options are cut off before they say so.
        sack_permitted: Bool,
        /// Timestamp value, RFC 7323 section 3.
        tsval: U32,
        /// Timestamp echo reply.
        tsecr: U32,
        /// Whether the segment is signed with MD5, RFC 2385.
        has_md5: Bool,
        /// Key of the authentication option, RFC 5925 section 2.2.
        ao_key: U8,
        /// All options, in hexadecimal digits.
        options: Text,
    }
}

impl Table for Tcp {
    fn read(&mut self, frame: &Frame<'_>) {
        let (Transport::Tcp(tcp), Some(ip)) = (frame.layers.transport, frame.layers.ip) else { return };
        if tcp.flags() & 0x02 == 0 {
            return;
        }
        let mut row = Row {
            is_answer: Some(tcp.flags() & 0x10 != 0),
            seq: Some(tcp.seq.get()),
            ack: Some(tcp.ack.get()),
            urgent: Some(tcp.urgent.get()),
            window: Some(tcp.window.get()),
            ..Row::default()
        };
        let (bytes, is_whole) = option_bytes(&ip, tcp);
        // What is not there is not said; of what is cut off, nobody knows.
        row.sack_permitted = is_whole.then_some(false);
        row.has_md5 = is_whole.then_some(false);
        options(bytes, &mut row);
        row.options = (!bytes.is_empty()).then(|| hexadecimal(bytes).into());
        self.push(frame, row);
    }
}

/// The options of a segment as far as they are there, and whether that is all of them.
fn option_bytes<'a>(ip: &Ip<'a>, tcp: &segment::Tcp) -> (&'a [u8], bool) {
    let header = carried(ip);
    let whole = header.get(20..tcp.header_len());
    (whole.or_else(|| header.get(20..)).unwrap_or_default(), whole.is_some())
}

/// How a segment is signed: `md5` (RFC 2385), `ao` (RFC 5925) with its key, or `none`.
pub(super) fn signature(frame: &Frame<'_>) -> Option<(&'static str, Option<u8>)> {
    let (Transport::Tcp(tcp), Some(ip)) = (frame.layers.transport, frame.layers.ip) else { return None };
    let (bytes, is_whole) = option_bytes(&ip, tcp);
    let mut row = Row::default();
    options(bytes, &mut row);
    match row {
        Row { ao_key: Some(key), .. } => Some(("ao", Some(key))),
        Row { has_md5: Some(true), .. } => Some(("md5", None)),
        _ => is_whole.then_some(("none", None)),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn options(options: &[u8], row: &mut Row<'_>) {
    for (kind, option) in Options(options) {
        match (kind, option) {
            (2, &[_, _, hi, lo]) => row.mss = Some(u16::from_be_bytes([hi, lo])),
            (3, &[_, _, shift]) => row.window_scale = Some(shift),
            (4, [_, _]) => row.sack_permitted = Some(true),
            (8, &[_, _, a, b, c, d, e, f, g, h]) => {
                row.tsval = Some(u32::from_be_bytes([a, b, c, d]));
                row.tsecr = Some(u32::from_be_bytes([e, f, g, h]));
            }
            (19, _) => row.has_md5 = Some(true),
            (29, &[_, _, key, ..]) => row.ao_key = Some(key),
            _ => {}
        }
    }
}
