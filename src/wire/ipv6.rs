//! IPv6 and its extension headers, RFC 8200.

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    big_endian::{U16, U32},
};

use super::ip::Fragment;

/// An IPv6 header, RFC 8200 section 3.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv6 {
    /// Version (4 bits), traffic class (8 bits), flow label (20 bits).
    pub version_class_label: U32,
    /// Length of all behind this header in bytes; 0 for a jumbogram (RFC 2675), or where offload left it open.
    pub payload_len: U16,
    /// What follows: an extension header or a protocol.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

impl Ipv6 {
    /// Version.
    #[inline]
    pub fn version(&self) -> u8 {
        (self.version_class_label.get() >> 28) as u8
    }

    /// Traffic class: DSCP and ECN.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_label.get() >> 20) as u8
    }
}

/// A fragment header, RFC 8200 section 4.5.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FragmentHeader {
    /// What follows.
    pub next_header: u8,
    /// Zero.
    pub reserved: u8,
    /// Offset in units of 8 bytes (13 bits), reserved (2 bits), more to come (1 bit).
    pub offset_more: U16,
    /// Identification.
    pub id: U32,
}

impl FragmentHeader {
    /// Where in the packet that was fragmented this part begins, in units of 8 bytes.
    #[inline]
    pub fn fragment_offset(&self) -> u16 {
        self.offset_more.get() >> 3
    }

    /// Which part of a fragmented packet this is.
    #[inline]
    pub fn fragment(&self) -> Fragment {
        let bits = self.offset_more.get();
        Fragment::new(bits >> 3, bits & 1 != 0)
    }
}

/// How an extension header says its length, for those that are walked over.
#[inline]
pub fn extension_len(kind: u8, bytes: &[u8]) -> Option<usize> {
    let length = usize::from(*bytes.get(1)?);
    match kind {
        // Hop-by-hop, routing, destination options, mobility, HIP, shim6: in units of 8 bytes, the first not counted.
        0 | 43 | 60 | 135 | 139 | 140 => Some((length + 1) * 8),
        // Authentication header, RFC 4302 section 2.2: in units of 4 bytes, the first two not counted.
        51 => Some((length + 2) * 4),
        _ => None,
    }
}

/// Whether a next-header value is an extension header that is walked over.
#[inline]
pub fn is_extension(kind: u8) -> bool {
    matches!(kind, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140)
}

/// The length that a jumbo payload option in a hop-by-hop header says, RFC 2675 section 2.
pub fn jumbo_len(hop_by_hop: &[u8]) -> Option<u32> {
    let mut options = hop_by_hop.get(2..)?;
    loop {
        match *options {
            [0, ref rest @ ..] => options = rest,
            [0xc2, 4, a, b, c, d, ..] => return Some(u32::from_be_bytes([a, b, c, d])),
            [_, length, ref rest @ ..] => options = rest.get(usize::from(length)..)?,
            _ => return None,
        }
    }
}
