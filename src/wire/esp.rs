//! ESP, RFC 4303, and how to tell that nothing in it is encrypted (RFC 2410).

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, big_endian::U32};

use super::ip::{checksum, is_packet};

/// An ESP header.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Esp {
    /// Security parameters index.
    pub spi: U32,
    /// Sequence number.
    pub sequence: U32,
}

/// Lengths of the integrity check value: of HMAC-MD5-96 and HMAC-SHA-1-96, of HMAC-SHA-256 to -512, of none.
const ICV_LENS: [usize; 5] = [12, 16, 24, 32, 0];

/// What an ESP packet carries if it is not encrypted: its protocol, and how long it is.
///
/// `bytes` is all behind the ESP header, none missing. Only what proves itself is believed: a trailer with the padding
/// that RFC 4303 section 2.4 prescribes, and inside it an IP packet that is as long as the trailer says (its header
/// checksum right), a UDP datagram that is, or a TCP segment with the right checksum; `pseudo` is the sum over the
/// addresses that it includes (RFC 9293 section 3.1).
pub fn in_clear(bytes: &[u8], pseudo: u16) -> Option<(u8, usize)> {
    ICV_LENS.into_iter().find_map(|icv_len| {
        let (body, &[pad_len, protocol]) = bytes.get(..bytes.len().checked_sub(icv_len)?)?.split_last_chunk()?;
        let data_len = body.len().checked_sub(pad_len.into())?;
        let (data, padding) = body.split_at_checked(data_len)?;
        let is_padding = padding.iter().zip(1..=u8::MAX).all(|(&byte, number)| byte == number);
        let agrees = match protocol {
            4 | 41 => is_packet(data, data.len()) && total_len(data) == Some(data.len()),
            17 => matches!(data, [_, _, _, _, hi, lo, _, _, ..] if usize::from(u16::from_be_bytes([*hi, *lo])) == data.len()),
            6 => is_padding && data.len() >= 20 && tcp_checksum(data, pseudo) == 0,
            _ => false,
        };
        (is_padding && agrees).then_some((protocol, data_len))
    })
}

fn tcp_checksum(segment: &[u8], pseudo: u16) -> u16 {
    let sums = [!checksum(segment), pseudo, 6, segment.len() as u16].map(u16::to_be_bytes);
    checksum(sums.as_flattened())
}

fn total_len(packet: &[u8]) -> Option<usize> {
    match *packet {
        [first, _, hi, lo, ..] if first >> 4 == 4 => Some(u16::from_be_bytes([hi, lo]).into()),
        [first, _, _, _, hi, lo, ..] if first >> 4 == 6 => {
            Some(40 + usize::from(u16::from_be_bytes([hi, lo])))
        }
        _ => None,
    }
}
