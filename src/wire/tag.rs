//! Tags and headers that switches put between the addresses of an Ethernet frame and what it carries, or before a
//! whole frame.

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    big_endian::{U16, U32},
};

/// An 802.1BR E-Tag behind its EtherType, IEEE 802.1BR section 7.5.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ETag {
    /// Priority, drop eligibility, ingress E-CID, group, E-CID and their extensions.
    pub control: [u8; 6],
    /// EtherType of what follows.
    pub ethertype: U16,
}

/// A VN-Tag (Cisco) behind its EtherType.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct VnTag {
    /// Direction, pointer, destination and source interface.
    pub control: U32,
    /// EtherType of what follows.
    pub ethertype: U16,
}

/// A Cisco `MetaData` header (security group tag) behind its EtherType.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CiscoMetaData {
    /// Version 1.
    pub version: u8,
    /// Number of options, 1.
    pub length: u8,
    /// Option length and type.
    pub option: U16,
    /// Security group.
    pub group: U16,
    /// EtherType of what follows.
    pub ethertype: U16,
}

/// The fixed part of a MACsec tag behind its EtherType, IEEE 802.1AE section 9.3.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct MacSec {
    /// Version, ES, SC, SCB, E, C (1 bit each), association number (2 bits).
    pub control: u8,
    /// Length of short data.
    pub short_len: u8,
    /// Packet number.
    pub number: U32,
}

impl MacSec {
    /// Whether the data is neither encrypted nor changed: only its integrity is protected.
    #[inline]
    pub fn is_clear(&self) -> bool {
        self.control & 0x8c == 0
    }

    /// Length of the tag: an identifier of 8 bytes follows if SC is set.
    #[inline]
    pub fn header_len(&self) -> usize {
        size_of::<Self>() + if self.control & 0x20 == 0 { 0 } else { 8 }
    }
}

/// Length of the integrity check value behind clear data, of the default cipher suite (IEEE 802.1AE section 14.5).
pub const MACSEC_ICV_LEN: usize = 16;

/// A Cisco ISL header, which stands before the Ethernet header of a frame.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Isl {
    /// 01-00-0C-00-00 or 03-00-0C-00-00, then type (4 bits) and priority (4 bits).
    pub dst: [u8; 6],
    /// Source.
    pub src: [u8; 6],
    /// Length of all that follows, the checksum included.
    pub length: U16,
    /// SNAP: 0xAA, 0xAA, 0x03.
    pub llc: [u8; 3],
    /// The first three bytes of the source.
    pub oui: [u8; 3],
    /// VLAN (15 bits), whether this is a bridge's own frame (1 bit).
    pub vlan: U16,
    /// Port.
    pub index: U16,
    /// Used with token ring and FDDI.
    pub reserved: U16,
}

impl Isl {
    /// Whether a frame to this address may be ISL around Ethernet; the SNAP header behind the length confirms it.
    #[inline]
    pub fn begins_with(dst: [u8; 6]) -> bool {
        matches!(dst, [0x01 | 0x03, 0, 0x0c, 0, 0, kind] if kind >> 4 == 0)
    }
}

/// The fixed part of a DOCSIS MAC header, DOCSIS MULPI section 6.2.1.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Docsis {
    /// Type (2 bits), parameter (5 bits), whether an extended header follows (1 bit).
    pub control: u8,
    /// Length of the extended header, if there is one.
    pub parameter: u8,
    /// Length of the extended header and what is carried.
    pub length: U16,
}

impl Docsis {
    /// Whether a frame from the cable network to or from subscribers follows.
    #[inline]
    pub fn carries_frame(&self) -> bool {
        self.control >> 6 == 0
    }

    /// Length of header, extended header and the checksum of both.
    #[inline]
    pub fn header_len(&self) -> usize {
        size_of::<Self>() + 2 + if self.control & 1 == 0 { 0 } else { self.parameter.into() }
    }
}
