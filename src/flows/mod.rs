//! Packets → conversations: one row a conversation, both directions together.
//!
//! A conversation is what two ends say to each other by one protocol (addresses and ports, either way round), on one tap and in one
//! tunnel; frames without IP are told apart by MACs and EtherType. A row ends when nothing was heard for a while, when TCP is over, or at the
//! end of the capture. Packets seen twice count twice: [`crate::paths`] tells ways apart, this only says how many there were.

mod conversation;
mod places;
mod rows;
mod table;

pub use table::{Flows, Options};

use crate::hash::fold;
use crate::packets::Packet;
use crate::wire::ip::Addr;

/// What tells conversations apart: two ends, the smaller one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    ends: [Addr; 2],
    ports: [u16; 2],
    /// IP protocol; 0x100 for none.
    protocol: u16,
    /// 0 for frames without IP: ends are then MACs, and the first port is the EtherType.
    ip_version: u8,
    has_ports: bool,
    tap: u16,
    /// Number of the tunnel, 0 for none.
    tunnel: u32,
}

const NO_PROTOCOL: u16 = 0x100;

impl Key {
    /// The key of a packet, and whether the second of its ends has sent it.
    #[inline]
    fn of(packet: Packet<'_>, tap: u16, tunnel: u32) -> (Self, bool) {
        let ip_version = packet.ip_version().unwrap_or_default();
        let (Some(src), Some(dst)) = (packet.src(), packet.dst()) else {
            return Self::of_link(packet, tap, tunnel);
        };
        let ports = packet.src_port().zip(packet.dst_port());
        let (src_port, dst_port) = ports.unwrap_or_default();
        let is_turned = (src, src_port) > (dst, dst_port);
        let (ends, sorted) =
            if is_turned { ([dst, src], [dst_port, src_port]) } else { ([src, dst], [src_port, dst_port]) };
        let key = Self {
            ends,
            ports: sorted,
            protocol: packet.protocol().map_or(NO_PROTOCOL, u16::from),
            ip_version,
            has_ports: ports.is_some(),
            tap,
            tunnel,
        };
        (key, is_turned)
    }

    #[cold]
    fn of_link(packet: Packet<'_>, tap: u16, tunnel: u32) -> (Self, bool) {
        let end = |mac: Option<[u8; 6]>| {
            let mut end = Addr::default();
            if let (Some(mac), Some(part)) = (mac, end.get_mut(..6)) {
                part.copy_from_slice(&mac);
            }
            end
        };
        let (src, dst) = (end(packet.eth_src()), end(packet.eth_dst()));
        let is_turned = src > dst;
        let key = Self {
            ends: if is_turned { [dst, src] } else { [src, dst] },
            ports: [packet.ethertype().unwrap_or_default(), 0],
            protocol: NO_PROTOCOL,
            ip_version: 0,
            has_ports: false,
            tap,
            tunnel,
        };
        (key, is_turned)
    }

    #[inline]
    fn hash(&self, [p, q, r, s]: [u64; 4]) -> u64 {
        let words = |addr: Addr| {
            let bits = u128::from_le_bytes(addr);
            [bits as u64, (bits >> 64) as u64]
        };
        let [first, second] = self.ends;
        let ([a, b], [c, d]) = (words(first), words(second));
        let [low, high] = self.ports;
        let ports = u64::from(low) | u64::from(high) << 16 | u64::from(self.tunnel) << 32;
        let rest = u64::from(self.protocol) | u64::from(self.ip_version) << 16 | u64::from(self.tap) << 32;
        let ends = fold(a ^ p, b ^ q) ^ fold(c ^ r, d ^ s);
        fold(ends ^ fold(ports ^ q, rest ^ r), s | 1)
    }
}
