//! Frames that the etherparse crate builds are read back as they were built, and cut anywhere they are never misread.

#![allow(clippy::unwrap_used, clippy::panic)]

use etherparse::{IpHeaders, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, TcpHeader, VlanId};
use proptest::prelude::*;
use tapsight::capture::LinkType;
use tapsight::dissect::{Layers, Transport, dissect};

#[derive(Debug, Clone)]
enum Build {
    Udp,
    Tcp { seq: u32, ack: u32, window: u16, flags: u8 },
}

fn build() -> impl Strategy<Value = Build> {
    prop_oneof![
        Just(Build::Udp),
        (any::<u32>(), any::<u32>(), any::<u16>(), any::<u8>())
            .prop_map(|(seq, ack, window, flags)| Build::Tcp { seq, ack, window, flags }),
    ]
}

/// Addresses and the rest of a network header.
#[derive(Debug, Clone)]
struct Network {
    is_six: bool,
    src: [u8; 16],
    dst: [u8; 16],
    ttl: u8,
    tos: u8,
    id: u16,
}

fn network() -> impl Strategy<Value = Network> {
    (any::<bool>(), any::<[u8; 16]>(), any::<[u8; 16]>(), any::<u8>(), any::<u8>(), any::<u16>())
        .prop_map(|(is_six, src, dst, ttl, tos, id)| Network { is_six, src, dst, ttl, tos, id })
}

impl Network {
    fn header(&self, protocol: IpNumber, len: usize) -> IpHeaders {
        if self.is_six {
            let header = Ipv6Header {
                traffic_class: self.tos,
                hop_limit: self.ttl,
                source: self.src,
                destination: self.dst,
                ..Ipv6Header::default()
            };
            return IpHeaders::Ipv6(header, etherparse::Ipv6Extensions::default());
        }
        let mut header = Ipv4Header::new(
            len as u16,
            self.ttl,
            protocol,
            *self.src.first_chunk().unwrap(),
            *self.dst.first_chunk().unwrap(),
        )
        .unwrap();
        header.dscp = (self.tos >> 2).try_into().unwrap();
        header.ecn = (self.tos & 3).try_into().unwrap();
        header.identification = self.id;
        IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default())
    }

    fn address(&self, whole: [u8; 16]) -> [u8; 16] {
        if self.is_six {
            return whole;
        }
        let [a, b, c, d, ..] = whole;
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
    }
}

fn written(
    macs: ([u8; 6], [u8; 6]),
    vlans: &[u16],
    network: &Network,
    ports: (u16, u16),
    build: &Build,
    payload: &[u8],
) -> Vec<u8> {
    let start = PacketBuilder::ethernet2(macs.0, macs.1);
    let id = |vlan: u16| VlanId::try_new(vlan).unwrap();
    let transport_len = if matches!(build, Build::Udp) { 8 } else { 20 };
    let protocol = if matches!(build, Build::Udp) { IpNumber::UDP } else { IpNumber::TCP };
    let header = network.header(protocol, transport_len + payload.len());
    let ip = match *vlans {
        [] => start.ip(header),
        [vlan] => start.single_vlan(id(vlan)).ip(header),
        [outer, inner, ..] => start.double_vlan(id(outer), id(inner)).ip(header),
    };
    let mut frame = Vec::new();
    match *build {
        Build::Udp => ip.udp(ports.0, ports.1).write(&mut frame, payload).unwrap(),
        Build::Tcp { seq, ack, window, flags } => {
            let mut header = TcpHeader::new(ports.0, ports.1, seq, window);
            header.acknowledgment_number = ack;
            header.cwr = flags & 0x80 != 0;
            header.ece = flags & 0x40 != 0;
            header.urg = flags & 0x20 != 0;
            header.ack = flags & 0x10 != 0;
            header.psh = flags & 0x08 != 0;
            header.rst = flags & 0x04 != 0;
            header.syn = flags & 0x02 != 0;
            header.fin = flags & 0x01 != 0;
            ip.tcp_header(header).write(&mut frame, payload).unwrap();
        }
    }
    frame
}

/// Ports on which a datagram may be taken for a tunnel.
fn port() -> impl Strategy<Value = u16> {
    40000_u16..50000
}

proptest! {
    #[test]
    fn frames_are_read_as_they_were_built(
        macs: ([u8; 6], [u8; 6]),
        vlans in prop::collection::vec(0_u16..4096, 0..3),
        network in network(),
        ports in (port(), port()),
        build in build(),
        payload in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let frame = written(macs, &vlans, &network, ports, &build, &payload);
        let layers = dissect(LinkType::ETHERNET, &frame, frame.len() as u32);
        let ip = layers.ip.unwrap();
        prop_assert_eq!((layers.eth_src, layers.eth_dst), (Some(macs.0), Some(macs.1)));
        prop_assert_eq!(layers.vlan, vlans.first().copied());
        prop_assert_eq!(layers.vlan_inner, vlans.get(1).copied());
        prop_assert_eq!(ip.version, if network.is_six { 6 } else { 4 });
        prop_assert_eq!((ip.src(), ip.dst()), (network.address(network.src), network.address(network.dst)));
        prop_assert_eq!((ip.ttl, ip.tos), (network.ttl, network.tos));
        prop_assert_eq!(layers.ports(), Some(ports));
        prop_assert_eq!((layers.payload, layers.payload_len), (&payload[..], payload.len() as u32));
        prop_assert!(layers.issue.is_none() && layers.encap.is_empty());
        if let (Transport::Tcp(tcp), Build::Tcp { seq, ack, window, flags }) = (layers.transport, build) {
            prop_assert_eq!((tcp.seq.get(), tcp.ack.get()), (seq, ack));
            prop_assert_eq!((tcp.window.get(), tcp.flags()), (window, u16::from(flags)));
        }

        // Cut anywhere, what is still there is the same, and what is not is an issue.
        for len in 0..frame.len() {
            let cut: Layers = dissect(LinkType::ETHERNET, &frame[..len], frame.len() as u32);
            prop_assert!(cut.eth_src.is_none_or(|mac| mac == macs.0));
            prop_assert!(cut.vlan.is_none_or(|vlan| Some(&vlan) == vlans.first()));
            prop_assert!(cut.ip.is_none_or(|cut| cut.src() == ip.src() && cut.ttl == ip.ttl));
            prop_assert!(cut.ports().is_none_or(|cut| cut == ports));
            match cut.ports() {
                Some(_) => prop_assert!(payload.starts_with(cut.payload)),
                None => prop_assert!(cut.issue.is_some()),
            }
        }
    }
}
