//! CAPWAP data, RFC 5415 section 4.3.

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    big_endian::{U16, U32},
};

/// A CAPWAP header without its optional parts.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Capwap {
    /// Version 0 (4 bits), type (4 bits: 1 is DTLS); length in units of 4 bytes (5 bits), radio (5 bits), binding
    /// (5 bits), T, F, L, W, M, K (1 bit each), reserved (3 bits).
    pub bits: U32,
    /// Fragment.
    pub fragment: U16,
    /// Offset of the fragment in units of 8 bytes (13 bits), reserved (3 bits).
    pub offset: U16,
}

impl Capwap {
    /// Whether the fixed bits are those of a header without encryption, and not of a later fragment or a keep-alive.
    #[inline]
    pub fn is_plausible(&self) -> bool {
        let bits = self.bits.get();
        bits >> 24 == 0 && bits & 0x08 == 0 && self.header_len() >= 8 && self.offset.get() >> 3 == 0
    }

    /// Length in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        (self.bits.get() >> 19 & 0x1f) as usize * 4
    }

    /// Whether a frame in the format of the binding follows, and not one of 802.3.
    #[inline]
    pub fn is_native(&self) -> bool {
        self.bits.get() & 0x100 != 0
    }

    /// Whether the binding is 802.11 (RFC 5416).
    #[inline]
    pub fn is_wlan(&self) -> bool {
        self.bits.get() >> 9 & 0x1f == 1
    }
}
