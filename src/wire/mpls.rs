//! MPLS label stacks, RFC 3032, and what they carry.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, big_endian::U32};

use super::ip::is_packet;

/// A label stack entry, RFC 3032 section 2.1.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Entry(pub U32);

impl Entry {
    /// The label (20 bits).
    #[inline]
    pub fn label(&self) -> u32 {
        self.0.get() >> 12
    }

    /// Whether this is the bottom of the stack.
    #[inline]
    pub fn is_bottom(&self) -> bool {
        self.0.get() & 0x100 != 0
    }
}

/// What lies behind the bottom of a stack. Nothing in it says so: it is told from the first nibble (RFC 4928 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// A pseudowire control word (4 bytes, RFC 4385 section 3), then an Ethernet frame (RFC 4448).
    ControlWordEthernet,
    /// An Ethernet frame without control word.
    Ethernet,
    /// Something else: an associated channel (RFC 5586), or what only the label's owner knows.
    Opaque,
}

/// What begins with these bytes.
#[inline]
pub fn carries(bytes: &[u8]) -> Carries {
    /// Whether an Ethernet header with a type that is followed begins here, sent by a single station.
    fn has_known_type(bytes: &[u8]) -> bool {
        let group = bytes.get(6).is_none_or(|first| first & 1 == 1);
        let known = [
            0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 0x8847, 0x8848, 0x8863, 0x8864, 0x88cc, 0x888e, 0x8902,
            0x9000,
        ];
        !group
            && bytes
                .get(12..14)
                .is_some_and(|value| known.map(u16::to_be_bytes).iter().any(|type_| type_ == value))
    }
    /// Or one with a plausible length.
    fn is_ethernet(bytes: &[u8]) -> bool {
        let Some(&[hi, lo]) = bytes.get(12..14) else { return false };
        let group = bytes.get(6).is_none_or(|first| first & 1 == 1);
        let length = usize::from(u16::from_be_bytes([hi, lo]));
        let llc = (3..0x0600).contains(&length) && length <= bytes.len().saturating_sub(14);
        has_known_type(bytes) || (!group && llc)
    }
    match bytes.first().map(|first| first >> 4) {
        // An address may begin with these digits too: then only a packet that proves itself is one.
        Some(4 | 6) if has_known_type(bytes) && !is_packet(bytes, usize::MAX) => Carries::Ethernet,
        Some(4) if bytes.first().is_some_and(|first| first & 0xf >= 5) => Carries::Ipv4,
        Some(6) => Carries::Ipv6,
        Some(0) if bytes.get(4..).is_some_and(is_ethernet) => Carries::ControlWordEthernet,
        Some(_) if is_ethernet(bytes) => Carries::Ethernet,
        _ => Carries::Opaque,
    }
}
