//! IPv4, RFC 791.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, big_endian::U16};

use super::ip::Fragment;

/// An IPv4 header without options, RFC 791 section 3.1.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv4 {
    /// Version (4 bits) and header length in 32-bit words (4 bits).
    pub version_ihl: u8,
    /// Type of service: DSCP (RFC 2474) and ECN (RFC 3168).
    pub tos: u8,
    /// Length of header and data in bytes; 0 where segmentation offload left it open.
    pub total_len: U16,
    /// Identification.
    pub id: U16,
    /// Flags (3 bits) and fragment offset in units of 8 bytes (13 bits).
    pub flags_offset: U16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: U16,
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
}

impl Ipv4 {
    /// Version.
    #[inline]
    pub fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Length of the header with options in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.version_ihl & 0xf) * 4
    }

    /// Where in the packet that was fragmented this part begins, in units of 8 bytes.
    #[inline]
    pub fn fragment_offset(&self) -> u16 {
        self.flags_offset.get() & 0x1fff
    }

    /// Which part of a fragmented packet this is.
    #[inline]
    pub fn fragment(&self) -> Fragment {
        let bits = self.flags_offset.get();
        Fragment::new(bits & 0x1fff, bits & 0x2000 != 0)
    }
}
