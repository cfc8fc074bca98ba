//! Who a packet is from and to, and how it was seen, in a few words.

use super::index::Secret;
use super::path::{Path, PathId};
use super::table::FlowKey;
use crate::classify::{App, Basis, Label};
use crate::dissect::Mac;
use crate::hash::fold;
use crate::packets::Packet;
use crate::wire::ip::Addr;
use serde::{Deserialize, Serialize};

/// What tells flows apart, but for tunnels and MPLS labels, of which it only says whether there are any: packed, so that two are
/// compared and hashed at once.
///
/// The words: source address (2), destination address (2), `flow_id`, source MAC and tap, destination MAC and flags, ports
/// and VLANs, and the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity([u64; 9]);

// Flags: a bit for each field that is null, and one for what is not among the words.
const SRC: u64 = 1 << 48;
const DST: u64 = 1 << 49;
const FLOW_ID: u64 = 1 << 50;
const PROTOCOL: u64 = 1 << 51;
const ETH_SRC: u64 = 1 << 52;
const ETH_DST: u64 = 1 << 53;
const VLAN: u64 = 1 << 54;
const VLAN_INNER: u64 = 1 << 55;
const MORE: u64 = 1 << 56;
/// Stands for no label.
const NO_LABEL: u64 = 0xff;

/// A value, and the flag if there is none.
#[inline]
fn or_flag<T: Default>(value: Option<T>, flag: u64) -> (T, u64) {
    value.map_or_else(|| (T::default(), flag), |value| (value, 0))
}

#[inline]
fn address(addr: Addr) -> [u64; 2] {
    let bits = u128::from_le_bytes(addr);
    [bits as u64, (bits >> 64) as u64]
}

#[inline]
fn mac([a, b, c, d, e, f]: Mac) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

/// How the outermost link was: what the words say of a path.
#[derive(Clone, Copy)]
struct Link {
    tap: u16,
    eth: (Option<Mac>, Option<Mac>),
    vlan: (Option<u16>, Option<u16>),
    has_more: bool,
}

impl Identity {
    #[inline]
    fn new(key: &FlowKey, link: Link) -> Self {
        let (src, no_src) = or_flag(key.src, SRC);
        let (dst, no_dst) = or_flag(key.dst, DST);
        let (flow_id, no_flow_id) = or_flag(key.flow_id, FLOW_ID);
        let (protocol, no_protocol) = or_flag(key.protocol, PROTOCOL);
        let (eth_src, no_eth_src) = or_flag(link.eth.0, ETH_SRC);
        let (eth_dst, no_eth_dst) = or_flag(link.eth.1, ETH_DST);
        let (vlan, no_vlan) = or_flag(link.vlan.0, VLAN);
        let (vlan_inner, no_vlan_inner) = or_flag(link.vlan.1, VLAN_INNER);
        let more = if link.has_more { MORE } else { 0 };
        let ends = no_src | no_dst | no_flow_id | no_protocol;
        let flags = ends | no_eth_src | no_eth_dst | no_vlan | no_vlan_inner | more;
        let ([a, b], [c, d]) = (address(src), address(dst));
        let app = key.label.app.map_or(NO_LABEL, |app| app as u64);
        let basis = key.label.basis.map_or(NO_LABEL, |basis| basis as u64);
        Self([
            a,
            b,
            c,
            d,
            flow_id,
            mac(eth_src) | u64::from(link.tap) << 48,
            mac(eth_dst) | flags,
            u64::from(key.src_port)
                | u64::from(key.dst_port) << 16
                | u64::from(vlan) << 32
                | u64::from(vlan_inner) << 48,
            u64::from(protocol) | u64::from(key.ip_version) << 8 | app << 16 | basis << 24,
        ])
    }

    /// The identity of a packet seen on `tap`.
    #[inline]
    pub fn of(packet: Packet<'_>, tap: u16) -> Self {
        let link = Link {
            tap,
            eth: (packet.eth_src(), packet.eth_dst()),
            vlan: (packet.vlan(), packet.vlan_inner()),
            has_more: packet.is_encapsulated_or_labelled(),
        };
        Self::new(&FlowKey::of(packet, 0), link)
    }

    /// The identity of a key and its path.
    pub fn of_key(key: &FlowKey, path: &Path) -> Self {
        let tunnel = (path.outer_src, path.outer_dst, path.tunnel_id);
        let has_tunnel = !path.encap.is_empty() || tunnel != (None, None, None);
        let link = Link {
            tap: path.tap,
            eth: (path.eth_src, path.eth_dst),
            vlan: (path.vlan, path.vlan_inner),
            has_more: has_tunnel || !path.mpls.as_slice().is_empty(),
        };
        Self::new(key, link)
    }

    /// Whether there is a tunnel or an MPLS label, so that the path is to be compared too.
    #[inline]
    pub fn has_more(&self) -> bool {
        self.0[6] & MORE != 0
    }

    #[inline]
    pub fn flow_id(&self) -> Option<u64> {
        (self.0[6] & FLOW_ID == 0).then_some(self.0[4])
    }

    /// The key that this is the identity of.
    #[inline]
    pub fn key(&self, path: PathId) -> FlowKey {
        let [a, b, c, d, _, _, flags, ports, rest] = self.0;
        let address = |low: u64, high: u64| (u128::from(low) | u128::from(high) << 64).to_le_bytes();
        FlowKey {
            path,
            ip_version: (rest >> 8) as u8,
            src: (flags & SRC == 0).then(|| address(a, b)),
            dst: (flags & DST == 0).then(|| address(c, d)),
            protocol: (flags & PROTOCOL == 0).then_some(rest as u8),
            src_port: ports as u16,
            dst_port: (ports >> 16) as u16,
            flow_id: self.flow_id(),
            label: Label {
                app: App::ALL.get((rest >> 16 & 0xff) as usize).copied(),
                basis: Basis::ALL.get((rest >> 24 & 0xff) as usize).copied(),
            },
        }
    }

    /// A hash of all words but `flow_id`, which the others decide.
    #[inline]
    pub fn hash(&self, Secret([p, q, r, s]): Secret) -> u64 {
        let [a, b, c, d, _, e, f, g, h] = self.0;
        let ends = fold(a ^ p, b ^ q) ^ fold(c ^ r, d ^ s);
        fold(ends ^ fold(g ^ q, h ^ r), fold(e ^ s, f ^ p) | 1)
    }
}

/// What a path has beyond an [`Identity`], as a number to mix into its hash.
#[inline]
pub(super) fn hash_more(packet: Packet<'_>, Secret([p, q, r, s]): Secret) -> u64 {
    let ([a, b], [c, d]) =
        (address(packet.outer_src().unwrap_or_default()), address(packet.outer_dst().unwrap_or_default()));
    let id = u64::from(packet.tunnel_id().unwrap_or_default());
    let ends = fold(a ^ q, b ^ s) ^ fold(c ^ p, d ^ r);
    let mut hash = fold(ends, fold(packet.encap().bits() ^ r, id ^ q) | 1);
    for &label in packet.mpls().as_slice() {
        hash = fold(hash ^ p, u64::from(label) ^ s);
    }
    hash
}
