//! Ethernet II and 802.3 (IEEE 802.3 section 3.2), LLC (802.2), SNAP (802, section 9.2), 802.1Q and 802.1ad tags.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, big_endian::U16};

use super::ip::is_packet;

/// An Ethernet header.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ethernet {
    /// Destination.
    pub dst: [u8; 6],
    /// Source.
    pub src: [u8; 6],
    /// EtherType, or the length of the frame's data if below [`MIN_ETHERTYPE`].
    pub ethertype: U16,
}

/// A VLAN tag behind its EtherType, IEEE 802.1Q section 9.6.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Vlan {
    /// Priority (3 bits), drop eligibility (1 bit), VLAN id (12 bits).
    pub control: U16,
    /// EtherType of what follows, or a length.
    pub ethertype: U16,
}

impl Vlan {
    /// The VLAN id.
    #[inline]
    pub fn id(&self) -> u16 {
        self.control.get() & 0x0fff
    }
}

/// An LLC header followed by a SNAP header.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Snap {
    /// Destination and source service access points, 0xAA each, and control, 0x03.
    pub llc: [u8; 3],
    /// Organisation: 0 for Ethernet's own types, 0x0000F8 for bridged ones (IEEE 802.1H).
    pub oui: [u8; 3],
    /// EtherType, if the organisation is one of those.
    pub ethertype: U16,
}

impl Snap {
    /// The EtherType of what follows, if this is SNAP and carries one.
    #[inline]
    pub fn carries(&self) -> Option<u16> {
        let has_ethertype = matches!(self.oui, [0, 0, 0 | 0xf8]);
        (self.llc == [0xaa, 0xaa, 0x03] && has_ethertype).then(|| self.ethertype.get())
    }
}

/// Whether an Ethernet frame of `len` bytes begins here with a packet in it that proves itself, see [`is_packet`].
#[inline]
pub fn is_frame(bytes: &[u8], len: usize) -> bool {
    let value = bytes.get(12..).and_then(|rest| rest.first_chunk()).map(|&value| u16::from_be_bytes(value));
    let at = match value {
        Some(ethertype::IPV4 | ethertype::IPV6) => 14,
        Some(ethertype::VLAN | ethertype::VLAN_SERVICE) => 18,
        _ => return false,
    };
    match (bytes.get(at..), len.checked_sub(at)) {
        (Some(packet), Some(len)) => is_packet(packet, len),
        _ => false,
    }
}

/// Values of the type field from here on are EtherTypes, smaller ones lengths (IEEE 802.3 section 3.2.6).
pub const MIN_ETHERTYPE: u16 = 0x0600;

/// EtherTypes that the walk follows.
pub mod ethertype {
    /// IPv4, RFC 894.
    pub const IPV4: u16 = 0x0800;
    /// ARP, RFC 826.
    pub const ARP: u16 = 0x0806;
    /// IPv6, RFC 2464.
    pub const IPV6: u16 = 0x86dd;
    /// 802.1Q.
    pub const VLAN: u16 = 0x8100;
    /// 802.1ad service tag.
    pub const VLAN_SERVICE: u16 = 0x88a8;
    /// Tags of equipment older than 802.1ad.
    pub const VLAN_OLD: [u16; 3] = [0x9100, 0x9200, 0x9300];
    /// MPLS, RFC 5332.
    pub const MPLS: u16 = 0x8847;
    /// MPLS, upstream-assigned labels, RFC 5332.
    pub const MPLS_UPSTREAM: u16 = 0x8848;
    /// A whole Ethernet frame (transparent Ethernet bridging), RFC 1701.
    pub const TEB: u16 = 0x6558;
    /// Packets redirected by WCCP, draft-mclaggan-wccp-v2rev1 section 4.12.
    pub const WCCP: u16 = 0x883e;
    /// ERSPAN types I and II, draft-foschiano-erspan-03.
    pub const ERSPAN: u16 = 0x88be;
    /// ERSPAN type III, draft-foschiano-erspan-03.
    pub const ERSPAN3: u16 = 0x22eb;
    /// PPPoE session, RFC 2516.
    pub const PPPOE: u16 = 0x8864;
    /// 802.1ah service instance tag, IEEE 802.1Q section 9.7.
    pub const I_TAG: u16 = 0x88e7;
    /// 802.1BR E-Tag.
    pub const E_TAG: u16 = 0x893f;
    /// VN-Tag (Cisco).
    pub const VN_TAG: u16 = 0x8926;
    /// `MetaData` (Cisco).
    pub const CISCO_METADATA: u16 = 0x8909;
    /// Fabric path (Cisco): a tag of 2 bytes, then an Ethernet frame.
    pub const FABRIC_PATH: u16 = 0x8903;
    /// MACsec, IEEE 802.1AE.
    pub const MACSEC: u16 = 0x88e5;
    /// NSH, RFC 8300 section 2.1.
    pub const NSH: u16 = 0x894f;
    /// PPP over GRE, RFC 2637 section 4.1 and 3GPP2 A.S0008.
    pub const PPP: u16 = 0x880b;
}
