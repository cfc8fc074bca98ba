//! Network service header, RFC 8300; and the next-protocol numbers it shares with VXLAN-GPE.

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    big_endian::{U16, U32},
};

/// Base and service path header, RFC 8300 sections 2.2 and 2.3.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Nsh {
    /// Version 0 (2 bits), O, reserved (1 bit each), TTL (6 bits), length in units of 4 bytes (6 bits).
    pub flags_len: U16,
    /// Reserved (4 bits), metadata type (4 bits).
    pub metadata: u8,
    /// What follows.
    pub next: u8,
    /// Service path (24 bits), service index (8 bits).
    pub path: U32,
}

impl Nsh {
    /// Length with metadata, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.flags_len.get() & 0x3f) * 4
    }

    /// Version.
    #[inline]
    pub fn version(&self) -> u16 {
        self.flags_len.get() >> 14
    }
}

/// The EtherType that means the same as a next-protocol number (RFC 8300 section 2.2, draft-ietf-nvo3-vxlan-gpe).
#[inline]
pub fn ethertype(next: u8) -> Option<u16> {
    match next {
        1 => Some(0x0800),
        2 => Some(0x86dd),
        3 => Some(0x6558),
        4 => Some(0x894f),
        5 => Some(0x8847),
        _ => None,
    }
}
