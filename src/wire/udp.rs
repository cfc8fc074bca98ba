//! UDP, RFC 768.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, big_endian::U16};

/// A UDP header.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Udp {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Length of header and data in bytes; 0 for a jumbogram (RFC 2675 section 4).
    pub length: U16,
    /// Checksum; 0 if the sender made none.
    pub checksum: U16,
}
