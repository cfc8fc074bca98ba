//! RTP headers, RFC 3550 section 5.1.

use serde::{Deserialize, Serialize};

use super::columns::{Bool, Of, U8, U16, U32, table};
use super::{Frame, Table};
use crate::classify::App;
use crate::dissect::{Layers, Transport};

table! {
    /// RTP packets over UDP, those that a session description or their series proves to be. Whether what they carry is encrypted (SRTP,
    /// RFC 3711) cannot be told from them: its header is the same, and its tag is counted to the payload.
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
        /// What the header extension says it is, such as 0xBEDE (RFC 8285); null if there is none, or it was not captured.
        extension_profile: U16,
        /// Bytes of padding, which the last of them says (of SRTP, encrypted); 0 if there is none, null if the last byte was not captured.
        padding_len: U8,
        /// Bytes behind the header and its extension, less padding, as long as the packet was on the wire; null if what tells was not captured, or makes no sense.
        payload_len: U32,
    }
}

impl Table for Rtp {
    fn read(&mut self, frame: &Frame<'_>) {
        let is_rtp = frame.label.app == Some(App::Rtp) && matches!(frame.layers.transport, Transport::Udp(_));
        if is_rtp && let Some(header) = Header::of(frame.layers.payload, frame.layers.payload_len) {
            self.push(frame, header.row());
        }
    }
}

impl Rtp {
    /// The table of those of the packets that were `seen` which have these numbers. Both are in order.
    pub fn of(seen: &[Seen], numbers: &[u64]) -> Self {
        let (mut table, mut numbers) = (Self::default(), numbers.iter().peekable());
        for seen in seen {
            while numbers.next_if(|&&number| number < seen.of.number).is_some() {}
            if numbers.peek().is_some_and(|&&number| number == seen.of.number) {
                table.push_of(&seen.of, seen.header.row());
            }
        }
        table
    }
}

/// What the table has of a packet that may turn out to be RTP.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Seen {
    of: Of,
    header: Header,
}

impl Seen {
    /// What it has of these layers; none if they are not of a kind that the table has.
    #[inline(always)]
    pub fn of(number: u64, ts: i64, layers: &Layers<'_>) -> Option<Self> {
        let Transport::Udp(udp) = layers.transport else { return None };
        let header = Header::of(layers.payload, layers.payload_len)?;
        let ip = layers.ip.as_ref()?;
        let addresses = Some((ip.src(), ip.dst()));
        let ports = Some((udp.src_port.get(), udp.dst_port.get()));
        Some(Self { of: Of { number, ts, addresses, ports }, header })
    }

    /// Makes the number of its frame greater by this.
    pub fn renumber(&mut self, by: u64) {
        self.of.number = self.of.number.wrapping_add(by);
    }
}

/// A header, and what there is behind it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Header {
    fixed: [u8; 12],
    extension_profile: Option<u16>,
    padding_len: Option<u8>,
    payload_len: Option<u32>,
}

impl Header {
    /// That of a packet of which these bytes were captured, of `len` on the wire.
    #[inline(always)]
    fn of(bytes: &[u8], len: u32) -> Option<Self> {
        let fixed: [u8; 12] = *bytes.first_chunk()?;
        let first = fixed[0];
        let mut header_len = Some(12 + 4 * u32::from(first & 0x0f));
        let mut extension_profile = None;
        if first & 0x10 != 0 {
            let at = 12 + 4 * usize::from(first & 0x0f);
            let extension = bytes.get(at..).and_then(|rest| rest.first_chunk());
            extension_profile = extension.map(|&[a, b, _, _]| u16::from_be_bytes([a, b]));
            header_len =
                extension.map(|&[_, _, hi, lo]| at as u32 + 4 + 4 * u32::from(u16::from_be_bytes([hi, lo])));
        }
        let padding_len = match bytes.last() {
            _ if first & 0x20 == 0 => Some(0),
            Some(&last) if bytes.len() == len as usize => Some(last),
            _ => None,
        };
        let payload_len = match (header_len, padding_len) {
            (Some(header), Some(padding)) => {
                len.checked_sub(header).and_then(|rest| rest.checked_sub(padding.into()))
            }
            _ => None,
        };
        Some(Self { fixed, extension_profile, padding_len, payload_len })
    }

    fn row(self) -> Row<'static> {
        let [first, second, s_hi, s_lo, a, b, c, d, e, f, g, h] = self.fixed;
        Row {
            payload_type: Some(second & 0x7f),
            marker: Some(second & 0x80 != 0),
            seq: Some(u16::from_be_bytes([s_hi, s_lo])),
            timestamp: Some(u32::from_be_bytes([a, b, c, d])),
            ssrc: Some(u32::from_be_bytes([e, f, g, h])),
            csrc_count: Some(first & 0x0f),
            has_extension: Some(first & 0x10 != 0),
            extension_profile: self.extension_profile,
            padding_len: self.padding_len,
            payload_len: self.payload_len,
            ..Row::default()
        }
    }
}
