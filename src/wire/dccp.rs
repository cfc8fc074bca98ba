//! DCCP, RFC 4340.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, big_endian::U16};

/// The part of a DCCP header that all kinds have, RFC 4340 section 5.1.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Dccp {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Offset of the data in units of 4 bytes.
    pub data_offset: u8,
    /// CCVal (4 bits), checksum coverage (4 bits).
    pub coverage: u8,
    /// Checksum.
    pub checksum: U16,
    /// Reserved (3 bits), type (4 bits), X (1 bit).
    pub kind: u8,
    /// High 8 bits of the sequence number, or reserved.
    pub sequence_high: u8,
    /// Low 16 bits of it.
    pub sequence: U16,
}

impl Dccp {
    /// Length of the header with options, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.data_offset) * 4
    }
}
