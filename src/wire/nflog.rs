//! NFLOG: packets that a Linux firewall logged, as the pages of tcpdump.org describe LINKTYPE_NFLOG.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, big_endian::U16};

/// The header before the attributes.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Nflog {
    /// Address family: 2 IPv4, 10 IPv6.
    pub family: u8,
    /// Version 0.
    pub version: u8,
    /// Group that the rule logs to.
    pub group: U16,
}

/// Where the payload begins and how long it is, counted from the first attribute. Attributes are length (header
/// included) and type, 2 bytes each in the byte order of the host that logged, then the value, padded to 4 bytes.
pub fn payload(attributes: &[u8]) -> Option<(usize, usize)> {
    const PAYLOAD: u16 = 9;
    // Attributes are short and their types small: the order in which the first one is so is the host's.
    let is_big = matches!(attributes, [0, _, 0, _, ..]);
    let number = |bytes: [u8; 2]| if is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    let mut at = 0;
    loop {
        let &[a, b, c, d] = attributes.get(at..)?.first_chunk()?;
        let len = usize::from(number([a, b]));
        if len < 4 {
            return None;
        }
        if number([c, d]) == PAYLOAD {
            return Some((at + 4, len - 4));
        }
        at += len.next_multiple_of(4);
    }
}
