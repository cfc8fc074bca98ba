//! What most frames are, read in one go: Ethernet, at most two VLAN tags, a whole packet without options or extension headers,
//! TCP or UDP, and in that nothing that is read further.
//!
//! Everything here is what the walk would find header by header, and the tests compare the two, for nine frames of ten of
//! most links. What is to be done with the layers is compiled into each place where they are found: there it is known of
//! which kind the packet is, and most of what is asked of layers is answered by the compiler. Nothing is written down.

use zerocopy::FromBytes;

use super::layers::{Layers, Transport};
use super::transport::is_tunnel;
use crate::wire::ethernet::{Ethernet, Vlan, ethertype};
use crate::wire::ip::{Fragment, Ip};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use crate::wire::tag::Isl;
use crate::wire::tcp::Tcp;
use crate::wire::udp::Udp;
use crate::wire::{rpcap, shim};

/// What is done with layers.
pub(crate) trait Then<'a>: Sized {
    /// What comes of it.
    type Output;

    /// Does it. To be inlined, and all that is handed the layers by reference; what is not needed for a packet that is
    /// `PLAIN` is to be left out by that.
    fn then<const PLAIN: bool>(self, layers: &Layers<'a>) -> Self::Output;
}

/// The layers of a frame, which have been found but for its link layer.
struct Framed<'a, T> {
    ethernet: &'a Ethernet,
    tags: [Option<&'a Vlan>; 2],
    ethertype: u16,
    then: T,
}

impl<'a, T: Then<'a>> Then<'a> for Framed<'a, T> {
    type Output = T::Output;

    #[inline(always)]
    fn then<const PLAIN: bool>(self, layers: &Layers<'a>) -> T::Output {
        let [outer, inner] = self.tags;
        let (vlan, vlan_inner) = (outer.map(Vlan::id), inner.map(Vlan::id));
        self.then.then::<PLAIN>(&Layers {
            eth_src: Some(self.ethernet.src),
            eth_dst: Some(self.ethernet.dst),
            vlan,
            vlan_inner,
            ethertype: Some(self.ethertype),
            ..*layers
        })
    }
}

/// Reads a plain frame of which `frame` was captured and that had `wire_len` bytes. If it is not plain, nothing is done, and
/// what was to be is given back.
#[inline(always)]
pub(super) fn ethernet<'a, T: Then<'a>>(frame: &'a [u8], wire_len: usize, then: T) -> Result<T::Output, T> {
    let Ok((ethernet, mut rest)) = Ethernet::ref_from_prefix(frame) else { return Err(then) };
    let mut kind = ethernet.ethertype.get();
    let mut tags = [None; 2];
    for tag in &mut tags {
        if !matches!(kind, ethertype::VLAN | ethertype::VLAN_SERVICE) {
            break;
        }
        let Ok((vlan, behind)) = Vlan::ref_from_prefix(rest) else { return Err(then) };
        (kind, rest) = (vlan.ethertype.get(), behind);
        *tag = Some(vlan);
    }
    if Isl::begins_with(ethernet.dst) {
        return Err(then);
    }
    let room = wire_len.saturating_sub(frame.len() - rest.len());
    let framed = |ethertype, then| Framed { ethernet, tags, ethertype, then };
    match kind {
        ethertype::IPV4 => ipv4(rest, room, framed(ethertype::IPV4, then)).map_err(|framed| framed.then),
        ethertype::IPV6 => ipv6(rest, room, framed(ethertype::IPV6, then)).map_err(|framed| framed.then),
        _ => Err(then),
    }
}

/// Reads a plain packet at the beginning of the captured `bytes`, which has `room` on the wire, as [`ethernet`] does: the
/// layers are the packet and what it carries.
#[inline(always)]
pub(super) fn ipv4<'a, T: Then<'a>>(bytes: &'a [u8], room: usize, then: T) -> Result<T::Output, T> {
    let Ok((ipv4, _)) = Ipv4::ref_from_prefix(bytes) else { return Err(then) };
    let total_len = usize::from(ipv4.total_len.get());
    // Version 4 without options; neither an offset nor more fragments.
    if ipv4.version_ihl != 0x45
        || ipv4.flags_offset.get() & 0x3fff != 0
        || !(size_of::<Ipv4>()..=room).contains(&total_len)
    {
        return Err(then);
    }
    let ip = Ip {
        packet: bytes.get(..total_len).unwrap_or(bytes),
        header_len: size_of::<Ipv4>() as u32,
        version: 4,
        protocol: ipv4.protocol,
        ttl: ipv4.ttl,
        tos: ipv4.tos,
        id: Some(ipv4.id.get().into()),
        fragment: Fragment::Whole,
        fragment_offset: 0,
        total_len: total_len as u32,
    };
    transport(ip, then)
}

/// As [`ipv4`].
#[inline(always)]
pub(super) fn ipv6<'a, T: Then<'a>>(bytes: &'a [u8], room: usize, then: T) -> Result<T::Output, T> {
    let Ok((ipv6, _)) = Ipv6::ref_from_prefix(bytes) else { return Err(then) };
    let total_len = size_of::<Ipv6>() + usize::from(ipv6.payload_len.get());
    if ipv6.version() != 6 || total_len == size_of::<Ipv6>() || total_len > room {
        return Err(then);
    }
    let ip = Ip {
        packet: bytes.get(..total_len).unwrap_or(bytes),
        header_len: size_of::<Ipv6>() as u32,
        version: 6,
        protocol: ipv6.next_header,
        ttl: ipv6.hop_limit,
        tos: ipv6.traffic_class(),
        id: None,
        fragment: Fragment::Whole,
        fragment_offset: 0,
        total_len: total_len as u32,
    };
    transport(ip, then)
}

#[inline(always)]
fn transport<'a, T: Then<'a>>(ip: Ip<'a>, then: T) -> Result<T::Output, T> {
    let data = ip.payload();
    let len = (ip.total_len - ip.header_len) as usize;
    match ip.protocol {
        6 => {
            let Ok((tcp, _)) = Tcp::ref_from_prefix(data) else { return Err(then) };
            let header_len = tcp.header_len();
            let Some(payload) = data.get(header_len..) else { return Err(then) };
            if header_len < size_of::<Tcp>() || rpcap::is_packet(payload) {
                return Err(then);
            }
            let ip = Ip { protocol: 6, ..ip };
            let (transport, payload_len) = (Transport::Tcp(tcp), (len - header_len) as u32);
            Ok(then.then::<true>(&Layers {
                ip: Some(ip),
                transport,
                payload,
                payload_len,
                ..Layers::default()
            }))
        }
        17 => {
            let Ok((udp, payload)) = Udp::ref_from_prefix(data) else { return Err(then) };
            let datagram_len = usize::from(udp.length.get());
            if !(size_of::<Udp>()..=len).contains(&datagram_len)
                || is_tunnel(udp.src_port.get(), udp.dst_port.get())
            {
                return Err(then);
            }
            let payload_len = datagram_len - size_of::<Udp>();
            let payload = payload.get(..payload_len).unwrap_or(payload);
            if shim::find(payload, payload_len).is_some() {
                return Err(then);
            }
            let ip = Ip { protocol: 17, ..ip };
            let (transport, payload_len) = (Transport::Udp(udp), payload_len as u32);
            Ok(then.then::<true>(&Layers {
                ip: Some(ip),
                transport,
                payload,
                payload_len,
                ..Layers::default()
            }))
        }
        _ => Err(then),
    }
}
