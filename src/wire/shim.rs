//! Headers over UDP that no port and no magic number tells: those of lawful intercept and of mirroring switches.
//!
//! A few bytes of them precede a packet that proves itself: its header checksum is right, and it is as long as the
//! datagram says. Chance makes that once in 2^36 datagrams.

use super::ethernet::{ethertype, is_frame};
use super::ip::is_packet;

/// What precedes the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shim {
    /// Nothing: IP over UDP, as Linux makes it for "foo over UDP".
    Fou,
    /// An intercept id of 4 bytes, then IP: Cisco lawful intercept, PacketCable CCC.
    Intercept4,
    /// An intercept id and a session of 4 bytes each, then IP: Juniper jmirror, Nokia.
    Intercept8,
    /// The same, then Ethernet: Nokia.
    Intercept8Ethernet,
    /// 12 bytes, then Ethernet: HP encapsulated remote mirroring.
    HpErm,
}

impl Shim {
    /// Length in bytes.
    #[inline]
    pub fn header_len(self) -> usize {
        match self {
            Self::Fou => 0,
            Self::Intercept4 => 4,
            Self::Intercept8 | Self::Intercept8Ethernet => 8,
            Self::HpErm => 12,
        }
    }
}

/// The header before a packet in a datagram of which `bytes` were captured and which had `wire_len` bytes.
#[inline]
pub fn find(bytes: &[u8], wire_len: usize) -> Option<Shim> {
    // Hardly any datagram passes this: it has to be cheap, and so reads at fixed places only.
    let head = bytes.first_chunk::<28>()?;
    let ends_at =
        |at: usize, len: [u8; 2], more: usize| at + more + usize::from(u16::from_be_bytes(len)) == wire_len;
    let fills = |at: usize, first: u8, v4: [u8; 2], v6: [u8; 2]| match first >> 4 {
        4 => ends_at(at, v4, 0),
        6 => ends_at(at, v6, 40),
        _ => false,
    };
    let is_type = |value| {
        matches!(
            u16::from_be_bytes(value),
            ethertype::IPV4 | ethertype::IPV6 | ethertype::VLAN | ethertype::VLAN_SERVICE
        )
    };
    let (shim, is_ip) = if fills(8, head[8], [head[10], head[11]], [head[12], head[13]]) {
        (Shim::Intercept8, true)
    } else if fills(4, head[4], [head[6], head[7]], [head[8], head[9]]) {
        (Shim::Intercept4, true)
    } else if fills(0, head[0], [head[2], head[3]], [head[4], head[5]]) {
        (Shim::Fou, true)
    } else if is_type([head[20], head[21]]) {
        (Shim::Intercept8Ethernet, false)
    } else if is_type([head[24], head[25]]) {
        (Shim::HpErm, false)
    } else {
        return None;
    };
    let rest = bytes.get(shim.header_len()..)?;
    let len = wire_len.checked_sub(shim.header_len())?;
    (if is_ip { is_packet(rest, len) } else { is_frame(rest, len) }).then_some(shim)
}
