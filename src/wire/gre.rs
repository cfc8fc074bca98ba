//! GRE, RFC 2784 with RFC 2890 and the routing bit of RFC 1701; ERSPAN inside it, draft-foschiano-erspan-03.

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    big_endian::{U16, U32},
};

/// The first four bytes of a GRE header.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Gre {
    /// Flags (13 bits) and version (3 bits).
    pub flags_version: U16,
    /// EtherType of what is carried.
    pub protocol: U16,
}

impl Gre {
    /// Version: 0, or 1 for PPTP (RFC 2637).
    #[inline]
    pub fn version(&self) -> u16 {
        self.flags_version.get() & 7
    }

    /// Whether a checksum (and offset) field follows.
    #[inline]
    pub fn has_checksum(&self) -> bool {
        self.flags_version.get() & 0x8000 != 0
    }

    /// Whether a routing field follows.
    #[inline]
    pub fn has_routing(&self) -> bool {
        self.flags_version.get() & 0x4000 != 0
    }

    /// Whether a key follows.
    #[inline]
    pub fn has_key(&self) -> bool {
        self.flags_version.get() & 0x2000 != 0
    }

    /// Whether a sequence number follows.
    #[inline]
    pub fn has_sequence(&self) -> bool {
        self.flags_version.get() & 0x1000 != 0
    }
}

/// An ERSPAN type II header.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Erspan2 {
    /// Version 1 (4 bits), VLAN (12 bits).
    pub version_vlan: U16,
    /// Class (3 bits), encapsulation (2 bits), truncated (1 bit), session (10 bits).
    pub session: U16,
    /// Reserved (12 bits), port index (20 bits).
    pub index: U32,
}

/// An ERSPAN type III header without the platform subheader.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Erspan3 {
    /// Version 2 (4 bits), VLAN (12 bits).
    pub version_vlan: U16,
    /// Class (3 bits), bad or short (2 bits), truncated (1 bit), session (10 bits).
    pub session: U16,
    /// Time stamp.
    pub timestamp: U32,
    /// Security group tag.
    pub group: U16,
    /// P (1 bit), frame type (5 bits), hardware (6 bits), direction (1 bit), granularity (2 bits), O (1 bit).
    pub flags: U16,
}

impl Erspan3 {
    /// Frame type: 0 is Ethernet, 2 is IP.
    #[inline]
    pub fn frame_type(&self) -> u16 {
        self.flags.get() >> 10 & 0x1f
    }

    /// Whether a platform subheader of 8 bytes follows.
    #[inline]
    pub fn has_subheader(&self) -> bool {
        self.flags.get() & 1 != 0
    }
}
