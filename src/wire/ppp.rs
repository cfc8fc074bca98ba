//! PPP: its framing (RFC 1662), its protocol numbers (RFC 1661), Cisco's HDLC, and PPPoE (RFC 2516).

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, big_endian::U16};

/// A PPPoE header, RFC 2516 section 4.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Pppoe {
    /// Version 1 (4 bits), type 1 (4 bits).
    pub version_type: u8,
    /// 0 in a session; other values are of discovery.
    pub code: u8,
    /// Session.
    pub session: U16,
    /// Length of the PPP frame behind this header.
    pub length: U16,
}

/// A Cisco HDLC header, as the pages of tcpdump.org describe LINKTYPE_C_HDLC.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CiscoHdlc {
    /// 0x0F unicast, 0x8F multicast.
    pub address: u8,
    /// 0.
    pub control: u8,
    /// EtherType, or a number of Cisco's for its own protocols.
    pub protocol: U16,
}

/// The protocol number at the start of a PPP frame and the length of all up to it: behind the address and control
/// fields 0xFF 0x03, unless they were left out (RFC 1661 section 6.6), and of one byte where compressed (section 6.5).
#[inline]
pub fn protocol(bytes: &[u8]) -> Option<(u16, usize)> {
    let at = match bytes {
        [0xff] => return None,
        [0xff, 0x03, ..] => 2,
        _ => 0,
    };
    let first = *bytes.get(at)?;
    if first & 1 == 1 {
        return Some((first.into(), at + 1));
    }
    Some((u16::from_be_bytes([first, *bytes.get(at + 1)?]), at + 2))
}

/// The EtherType that means the same as a PPP protocol number, for those that are read here.
#[inline]
pub fn ethertype(protocol: u16) -> Option<u16> {
    match protocol {
        // RFC 1332, RFC 5072.
        0x0021 => Some(0x0800),
        0x0057 => Some(0x86dd),
        // RFC 3032 section 4.3.
        0x0281 => Some(0x8847),
        0x0283 => Some(0x8848),
        _ => None,
    }
}
