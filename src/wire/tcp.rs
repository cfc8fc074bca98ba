//! TCP, RFC 9293.

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    big_endian::{U16, U32},
};

/// A TCP header without its options, RFC 9293 section 3.1.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Tcp {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Sequence number.
    pub seq: U32,
    /// Acknowledgment number.
    pub ack: U32,
    /// Data offset (4 bits) and flags (12 bits, of which 4 are reserved).
    pub offset_flags: U16,
    /// Window, unscaled.
    pub window: U16,
    /// Checksum.
    pub checksum: U16,
    /// Urgent pointer.
    pub urgent: U16,
}

impl Tcp {
    /// Length of the header with options in bytes, as the data offset says.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.offset_flags.get() >> 12) * 4
    }

    /// The flags: the low 12 bits, as Wireshark's `tcp.flags`.
    #[inline]
    pub fn flags(&self) -> u16 {
        self.offset_flags.get() & 0x0fff
    }
}
