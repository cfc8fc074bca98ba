//! VXLAN, RFC 7348, and GENEVE, RFC 8926: Ethernet and more over UDP.

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    big_endian::{U16, U32},
};

/// A VXLAN header, RFC 7348 section 5.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Vxlan {
    /// Flags (8 bits), of which I (0x08) says that the VNI is valid; reserved (24 bits).
    pub flags: U32,
    /// VNI (24 bits), reserved (8 bits).
    pub vni: U32,
}

impl Vxlan {
    /// Whether the fixed bits are those of VXLAN with an Ethernet frame: I set, last byte 0. G (group policy,
    /// draft-smith-vxlan-group-policy) may be set, and P (next protocol, VXLAN-GPE) if the next protocol is Ethernet.
    #[inline]
    pub fn is_plausible(&self) -> bool {
        let flags = self.flags.get();
        let is_ethernet = flags & 0x0400_0000 == 0 || flags & 0xff == 3;
        flags & 0x7300_0000 == 0 && flags & 0x0800_0000 != 0 && is_ethernet && self.vni.get() & 0xff == 0
    }
}

/// A VXLAN-GPE header, draft-ietf-nvo3-vxlan-gpe-13 section 3.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct VxlanGpe {
    /// Version 0 (2 bits), I, P, B, O (1 bit each), the others reserved.
    pub flags: u8,
    /// Reserved.
    pub reserved: [u8; 2],
    /// Next protocol.
    pub next: u8,
    /// VNI (24 bits), reserved (8 bits).
    pub vni: U32,
}

impl VxlanGpe {
    /// Whether version and flags are those of a packet with a next protocol and a valid VNI.
    #[inline]
    pub fn is_plausible(&self) -> bool {
        self.flags & 0x3d == 0x0c && self.reserved == [0; 2]
    }
}

/// A GENEVE header without options, RFC 8926 section 3.4.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Geneve {
    /// Version 0 (2 bits), length of the options in units of 4 bytes (6 bits).
    pub version_len: u8,
    /// Control (1 bit), critical options (1 bit), reserved (6 bits).
    pub flags: u8,
    /// EtherType of what is carried.
    pub protocol: U16,
    /// VNI (24 bits), reserved (8 bits).
    pub vni: U32,
}

impl Geneve {
    /// Whether the fixed bits are those of GENEVE.
    #[inline]
    pub fn is_plausible(&self) -> bool {
        self.version_len >> 6 == 0 && self.flags & 0x3f == 0 && self.vni.get() & 0xff == 0
    }

    /// Length of the options in bytes.
    #[inline]
    pub fn options_len(&self) -> usize {
        usize::from(self.version_len & 0x3f) * 4
    }
}
