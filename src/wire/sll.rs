//! Linux cooked captures (LINKTYPE_LINUX_SLL and _SLL2) and BSD loopback headers, as tcpdump.org describes them.

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    big_endian::{U16, U32},
};

use crate::capture::LinkType;

/// Linux cooked capture v1.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Sll {
    /// To us (0), broadcast (1), multicast (2), to another host (3), or from us (4).
    pub packet_type: U16,
    /// Kind of device, ARPHRD_.
    pub arphrd: U16,
    /// Length of the sender's address.
    pub address_len: U16,
    /// The sender's address, padded.
    pub address: [u8; 8],
    /// EtherType, or what `arphrd` makes of it.
    pub protocol: U16,
}

/// Linux cooked capture v2.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Sll2 {
    /// EtherType, or what `arphrd` makes of it.
    pub protocol: U16,
    /// Zero.
    pub reserved: U16,
    /// Index of the interface.
    pub interface: U32,
    /// Kind of device, ARPHRD_.
    pub arphrd: U16,
    /// As in v1.
    pub packet_type: u8,
    /// Length of the sender's address.
    pub address_len: u8,
    /// The sender's address, padded.
    pub address: [u8; 8],
}

/// What a protocol field of a cooked capture says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// What this EtherType says.
    Ethertype(u16),
    /// An LLC header.
    Llc,
    /// A frame of this link type, as the kind of device has it.
    Link(LinkType),
    /// Nothing that is read here.
    Opaque,
}

/// What follows a cooked header, from the kind of device and the protocol field.
#[inline]
pub fn carries(arphrd: u16, protocol: u16) -> Carries {
    match (arphrd, protocol) {
        // ARPHRD_FRAD, ARPHRD_IEEE80211 and ARPHRD_IEEE80211_RADIOTAP: the protocol says nothing.
        (770, _) => Carries::Link(LinkType::FRELAY),
        (801, _) => Carries::Link(LinkType::IEEE802_11),
        (803, _) => Carries::Link(LinkType::IEEE802_11_RADIOTAP),
        // ARPHRD_NETLINK, and ARPHRD_IEEE80211_PRISM.
        (824 | 802, _) => Carries::Opaque,
        (_, 0x0004) => Carries::Llc,
        // 0x0001 is Novell's 802.3 without LLC, 0x000c CAN.
        (_, 0..0x0600) => Carries::Opaque,
        _ => Carries::Ethertype(protocol),
    }
}

/// The EtherType for an address family in a BSD loopback header. The values of AF_INET6 differ between systems.
#[inline]
pub fn family_ethertype(family: u32) -> Option<u16> {
    match family {
        2 => Some(0x0800),
        10 | 24 | 28 | 30 => Some(0x86dd),
        _ => None,
    }
}
