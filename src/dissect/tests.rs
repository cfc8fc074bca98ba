//! Frames built by hand, after the figures of the standards.

use super::*;
use crate::capture::LinkType;
use crate::wire::ip::{Addr, Fragment, checksum};
use crate::wire::{Header, Reason};

const MACS: &[u8] = &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

fn v4(last: u8) -> Addr {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, last]
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn eth(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    join(&[MACS, &ethertype.to_be_bytes(), payload])
}

/// IPv4 from 192.0.2.`from` to 192.0.2.`to`, without checksum.
fn ipv4(protocol: u8, from: u8, to: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len() as u16).to_be_bytes();
    join(&[
        &[0x45, 0, len[0], len[1], 0, 7, 0, 0, 61, protocol, 0, 0, 192, 0, 2, from, 192, 0, 2, to],
        payload,
    ])
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    let mut src = [0; 16];
    let mut dst = [0; 16];
    (src[0], src[15], dst[0], dst[15]) = (0x20, 1, 0x20, 2);
    join(&[&[0x60, 0, 0, 0, len[0], len[1], next, 58], &src, &dst, payload])
}

fn udp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    join(&[&src.to_be_bytes(), &dst.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload])
}

fn tcp(payload: &[u8]) -> Vec<u8> {
    join(&[&[0, 80, 0xc3, 0x50, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0, 99, 0, 0, 0, 0], payload])
}

fn read(link: LinkType, frame: &[u8]) -> Layers<'_> {
    dissect(link, frame, frame.len() as u32)
}

/// What every test of a tunnel expects inside: UDP from port 5 to 6 with two bytes, from 192.0.2.1 to 192.0.2.2.
fn inner() -> Vec<u8> {
    ipv4(17, 1, 2, &udp(5, 6, b"hi"))
}

fn assert_inner(frame: &[u8], link: LinkType, encap: &str, id: Option<u32>) {
    let layers = read(link, frame);
    assert_eq!(layers.issue, None, "{encap}");
    assert_eq!(layers.encap.to_string(), encap);
    assert_eq!(layers.tunnel_id, id, "{encap}");
    let ip = layers.ip.unwrap();
    assert_eq!((ip.src(), ip.dst(), ip.ttl, layers.ports()), (v4(1), v4(2), 61, Some((5, 6))), "{encap}");
    assert_eq!((layers.payload, layers.payload_len), (&b"hi"[..], 2), "{encap}");
    let outer = layers.outer.map(|ip| (ip.src(), ip.dst()));
    // A service function chain over Ethernet has no packet around it.
    assert_eq!(outer.is_some(), !encap.is_empty() && encap != "nsh");
    if let Some((src, dst)) = outer.filter(|&(src, _)| src[0] == 0) {
        assert_eq!((src, dst), (v4(8), v4(9)), "{encap}");
    }
}

fn tunnelled(protocol: u8, header: &[u8], carried: &[u8]) -> Vec<u8> {
    eth(0x0800, &ipv4(protocol, 8, 9, &join(&[header, carried])))
}

fn pppoe(packet: &[u8]) -> Vec<u8> {
    join(&[&[0x11, 0, 0, 1, 0, 2 + packet.len() as u8, 0, 0x21], packet])
}

/// To the distribution system, from 02:00:00:00:00:01 to 02:00:00:00:00:02.
fn wlan(packet: &[u8]) -> Vec<u8> {
    let (src, dst) = (&MACS[6..], &MACS[..6]);
    join(&[&[8, 1, 0, 0], &[4; 6], src, dst, &[0, 0, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], packet])
}

fn isl(frame: &[u8]) -> Vec<u8> {
    let len = [0, 12 + frame.len() as u8];
    join(&[&[1, 0, 0x0c, 0, 0, 0], &MACS[6..], &len, &[0xaa, 0xaa, 3, 2, 0, 0, 1, 0x90, 0, 1, 0, 0], frame])
}

/// Service path 9, index 255, no metadata (RFC 8300).
fn nsh(next: u8, carried: &[u8]) -> Vec<u8> {
    join(&[&[0x0f, 0xc2, 2, next, 0, 0, 9, 255], carried])
}

/// The same with the right checksum in the IPv4 header, which begins at offset 0 or 14 (RFC 1071).
fn strict(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = if bytes[0] == 0x45 { 0 } else { 14 };
    let sum: u32 =
        bytes[at..at + 20].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    bytes[at + 10..at + 12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    bytes
}

/// Every tunnel and every link type, each around the same packet.
fn samples() -> Vec<(Vec<u8>, LinkType, &'static str, Option<u32>)> {
    let packet = inner();
    let frame = eth(0x0800, &packet);
    let over_udp =
        |port, header: &[u8], carried: &[u8]| tunnelled(17, &[], &udp(4000, port, &join(&[header, carried])));
    let ethernet = LinkType::ETHERNET;
    let cooked = [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0][..], &packet].concat();
    let cooked2 = [&[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &packet].concat();
    vec![
        (frame.clone(), ethernet, "", None),
        (packet.clone(), LinkType::RAW, "", None),
        (packet.clone(), LinkType::IPV4, "", None),
        (cooked, LinkType::LINUX_SLL, "", None),
        (cooked2, LinkType::LINUX_SLL2, "", None),
        ([&[2, 0, 0, 0][..], &packet].concat(), LinkType::NULL, "", None),
        ([&[0, 0, 0, 2][..], &packet].concat(), LinkType::LOOP, "", None),
        // LLC and SNAP, behind a length.
        (join(&[MACS, &[0, 8 + 30], &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &packet]), ethernet, "", None),
        (eth(0x8100, &join(&[&[0, 210, 8, 0], &packet])), ethernet, "", None),
        (eth(0x88a8, &join(&[&[0, 100, 0x81, 0, 0, 200, 8, 0], &packet])), ethernet, "", None),
        (eth(0x8847, &join(&[&[0, 1, 0, 64, 0, 2, 1, 64], &packet])), ethernet, "", None),
        (eth(0x8847, &join(&[&[0, 2, 1, 64, 0, 0, 0, 0], &frame])), ethernet, "", None),
        // RFC 2784 and RFC 2890: plain, with key, with checksum, key and sequence number.
        (tunnelled(47, &[0, 0, 8, 0], &packet), ethernet, "gre", None),
        (tunnelled(47, &[0x20, 0, 8, 0, 0, 0, 1, 2], &packet), ethernet, "gre", Some(258)),
        (
            tunnelled(47, &[0xb0, 0, 8, 0, 9, 9, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1], &packet),
            ethernet,
            "gre",
            Some(7),
        ),
        (tunnelled(47, &[0, 0, 0x65, 0x58], &frame), ethernet, "gre", None),
        (tunnelled(47, &[0, 0, 0x88, 0xbe], &frame), ethernet, "gre/erspan1", None),
        (
            tunnelled(47, &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 17, 0, 0, 0, 0], &frame),
            ethernet,
            "gre/erspan2",
            Some(17),
        ),
        (
            tunnelled(47, &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0], &frame),
            ethernet,
            "gre/erspan3",
            Some(17),
        ),
        // With the platform subheader that the O bit announces.
        (
            tunnelled(
                47,
                &[
                    0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0,
                    0, 0, 0,
                ],
                &frame,
            ),
            ethernet,
            "gre/erspan3",
            Some(17),
        ),
        (over_udp(4789, &[8, 0, 0, 0, 0, 0, 5, 0], &frame), ethernet, "vxlan", Some(5)),
        // One option of four bytes.
        (over_udp(6081, &[1, 0, 0x65, 0x58, 0, 0, 5, 0, 1, 2, 3, 0], &frame), ethernet, "geneve", Some(5)),
        (over_udp(2152, &[0x30, 255, 0, 30, 0, 0, 1, 0], &packet), ethernet, "gtpu", Some(256)),
        // A sequence number, and an extension header of four bytes (TS 29.281 section 5.2.1).
        (
            over_udp(2152, &[0x36, 255, 0, 38, 0, 0, 1, 0, 0, 1, 0, 0x85, 1, 0x10, 9, 0], &packet),
            ethernet,
            "gtpu",
            Some(256),
        ),
        (tunnelled(4, &[], &packet), ethernet, "ipip", None),
        (eth(0x86dd, &ipv6(4, &packet)), ethernet, "ipip", None),
        (tunnelled(47, &[0, 0, 8, 0], &ipv4(4, 3, 4, &packet)), ethernet, "gre/ipip", None),
        // Link layers of carriers.
        (join(&[&[0xff, 3, 0, 0x21], &packet]), LinkType::PPP, "", None),
        (join(&[&[0x21], &packet]), LinkType::PPP, "", None),
        (join(&[&[0xff, 3, 0, 0x21], &packet]), LinkType::PPP_HDLC, "", None),
        (join(&[&[0x0f, 0, 8, 0], &packet]), LinkType::PPP_HDLC, "", None),
        (join(&[&[0x0f, 0, 8, 0], &packet]), LinkType::C_HDLC, "", None),
        (pppoe(&packet), LinkType::PPP_ETHER, "", None),
        (eth(0x8864, &pppoe(&packet)), ethernet, "", None),
        // Frame Relay with an address of two bytes: RFC 2427's encapsulation of IP, its SNAP, and Cisco's.
        (join(&[&[0x18, 0x41, 3, 0xcc], &packet]), LinkType::FRELAY, "", None),
        (join(&[&[0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0], &packet]), LinkType::FRELAY, "", None),
        (join(&[&[0x18, 0x41, 3, 0, 0x80, 0, 0x80, 0xc2, 0, 7], &frame]), LinkType::FRELAY, "", None),
        (join(&[&[0x18, 0x41, 8, 0], &packet]), LinkType::FRELAY, "", None),
        (join(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &packet]), LinkType::ATM_RFC1483, "", None),
        (wlan(&packet), LinkType::IEEE802_11, "", None),
        (join(&[&[0, 0, 9, 0, 2, 0, 0, 0, 0], &wlan(&packet)]), LinkType::IEEE802_11_RADIOTAP, "", None),
        (join(&[&[0, 0, 8, 0, 105, 0, 0, 0], &wlan(&packet)]), LinkType::PPI, "", None),
        // An attribute of 8 bytes, then the payload.
        (join(&[&[2, 0, 0, 42, 8, 0, 1, 0, 0, 0, 3, 0, 34, 0, 9, 0], &packet]), LinkType::NFLOG, "", None),
        (join(&[&[0; 40], &[8, 0, 0, 0], &packet]), LinkType::IPOIB, "", None),
        (join(&[&[0, 0, 0, 44, 0, 0], &frame]), LinkType::DOCSIS, "", None),
        (join(&[&[0x4d, 0x47, 0x43, 0x80, 0, 2, 9, 9], &frame]), LinkType::JUNIPER_ETHER, "", None),
        // Shims.
        (eth(0x88e7, &join(&[&[0, 0, 1, 0], &frame])), ethernet, "", None),
        (eth(0x893f, &join(&[&[0, 0, 0, 1, 0, 0, 8, 0], &packet])), ethernet, "", None),
        (eth(0x8926, &join(&[&[0, 1, 0, 2, 8, 0], &packet])), ethernet, "", None),
        (eth(0x8909, &join(&[&[1, 1, 0, 1, 0, 9, 8, 0], &packet])), ethernet, "", None),
        (eth(0x8903, &join(&[&[0x12, 0x34], &frame])), ethernet, "", None),
        (isl(&frame), ethernet, "", None),
        (eth(0x894f, &nsh(1, &packet)), ethernet, "nsh", Some(9)),
        // Tunnels over IP.
        (tunnelled(97, &[0x30, 0], &frame), ethernet, "etherip", None),
        (tunnelled(137, &[0, 1, 1, 64], &packet), ethernet, "mpls", Some(16)),
        (tunnelled(47, &[0, 0, 0x88, 0x47, 0, 1, 1, 64], &packet), ethernet, "gre/mpls", Some(16)),
        // PPTP: lengths and call in the place of a key, sequence and acknowledgment (RFC 2637 section 4.1).
        (
            tunnelled(
                47,
                &[0x30, 0x81, 0x88, 0x0b, 0, 34, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 3, 0, 0x21],
                &packet,
            ),
            ethernet,
            "gre",
            Some(7),
        ),
        (tunnelled(47, &[0, 0, 0x89, 0x4f], &nsh(3, &frame)), ethernet, "gre/nsh", Some(9)),
        (tunnelled(47, &[0, 0, 0x82, 0], &wlan(&packet)), ethernet, "gre", None),
        (tunnelled(103, &[0x21, 0, 0, 0, 0, 0, 0, 0], &packet), ethernet, "pim", None),
        (
            eth(0x86dd, &ipv6(43, &join(&[&[4, 2, 4, 0, 0, 0, 0, 0], &[0; 16], &packet]))),
            ethernet,
            "srv6",
            None,
        ),
        (eth(0x86dd, &ipv6(143, &frame)), ethernet, "srv6", None),
        // Tunnels over UDP.
        (over_udp(4790, &[0x0c, 0, 0, 1, 0, 0, 5, 0], &packet), ethernet, "vxlan-gpe", Some(5)),
        (over_udp(4790, &[0x0c, 0, 0, 4, 0, 0, 5, 0], &nsh(1, &packet)), ethernet, "vxlan-gpe/nsh", Some(5)),
        (over_udp(4754, &[0, 0, 8, 0], &packet), ethernet, "gre", None),
        (over_udp(6635, &[0, 1, 1, 64], &packet), ethernet, "mpls", Some(16)),
        // Length, tunnel 2, session 3 (RFC 2661 section 3.1); the same with an offset of two bytes.
        (
            over_udp(1701, &[0x40, 2, 0, 42, 0, 2, 0, 3, 0xff, 3, 0, 0x21], &packet),
            ethernet,
            "l2tp",
            Some(0x0002_0003),
        ),
        (over_udp(1701, &[2, 2, 0, 2, 0, 3, 0, 2, 9, 9, 0x21], &packet), ethernet, "l2tp", Some(0x0002_0003)),
        (over_udp(4341, &[0x88, 1, 2, 3, 0, 0, 5, 1], &packet), ethernet, "lisp", Some(5)),
        // 802.3, and 802.11 in the order of the standard.
        (over_udp(5247, &[0, 0x10, 2, 0, 0, 0, 0, 0], &frame), ethernet, "capwap", None),
        (over_udp(5247, &[0, 0x10, 3, 0, 0, 0, 0, 0], &wlan(&packet)), ethernet, "capwap", None),
        (over_udp(37008, &[1, 0, 0, 1, 10, 1, 0, 0, 1], &frame), ethernet, "tzsp", None),
    ]
}

#[test]
fn every_wrapping_is_seen_through() {
    for (frame, link, encap, id) in samples() {
        assert_inner(&frame, link, encap, id);
    }
}

/// Encapsulations that only a packet which proves itself shows.
#[test]
fn what_proves_itself_is_seen_through() {
    let (packet, frame) = (strict(&inner()), strict(&eth(0x0800, &inner())));
    let over_udp = |port, header: &[u8], carried: &[u8]| {
        strict(&tunnelled(17, &[], &udp(4000, port, &join(&[header, carried]))))
    };
    let esp = |carried: &[u8], trailer: &[u8]| join(&[&[0, 0, 1, 0, 0, 0, 0, 1], carried, trailer, &[9; 12]]);
    for (bytes, encap, id) in [
        (tunnelled(115, &[0, 0, 0, 8], &frame), "l2tpv3", Some(8)),
        // With a cookie of 4 bytes and the default sublayer.
        (tunnelled(115, &[0, 0, 0, 8, 1, 2, 3, 4, 0x40, 0, 0, 1], &frame), "l2tpv3", Some(8)),
        (over_udp(1701, &[0, 3, 0, 0, 0, 0, 0, 8], &frame), "l2tpv3", Some(8)),
        (over_udp(6000, &[], &packet), "fou", None),
        (over_udp(6000, &[0, 0, 0, 9], &packet), "intercept", Some(9)),
        (over_udp(6000, &[0, 0, 0, 9, 0, 0, 0, 1], &packet), "intercept", Some(9)),
        (over_udp(6000, &[0, 0, 0, 9, 0, 0, 0, 1], &frame), "intercept", Some(9)),
        // A packet message: type 7, 20 + 44 bytes; time; 44 bytes captured of 44; its number.
        (
            eth(
                0x0800,
                &ipv4(
                    6,
                    8,
                    9,
                    &tcp(&join(&[
                        &[0, 7, 0, 0, 0, 0, 0, 64],
                        &[0; 8],
                        &[0, 0, 0, 44, 0, 0, 0, 44],
                        &[0; 4],
                        &frame,
                    ])),
                ),
            ),
            "rpcap",
            None,
        ),
        (over_udp(7932, &[0; 12], &frame), "hp-erm", None),
        // Tunnel mode, 30 bytes and a trailer that fills up to 32; then transport mode, 10 bytes.
        (tunnelled(50, &[], &esp(&packet, &[0, 4])), "esp/ipip", Some(256)),
        (tunnelled(50, &[], &esp(&udp(5, 6, b"hi"), &[0, 17])), "esp", Some(256)),
        (over_udp(4500, &[], &esp(&packet, &[0, 4])), "esp/ipip", Some(256)),
    ] {
        let layers = read(LinkType::ETHERNET, &bytes);
        assert_eq!((layers.issue, layers.encap.to_string().as_str(), layers.tunnel_id), (None, encap, id));
        assert_eq!((layers.ports(), layers.payload), (Some((5, 6)), &b"hi"[..]), "{encap}");
    }
    // One bit of the checksum, the length, or of the padding of ESP: nothing is believed.
    let mut broken = packet.clone();
    broken[10] ^= 1;
    let closed = [
        over_udp(6000, &[], &broken),
        over_udp(6000, &[0, 0, 0, 9], &broken),
        over_udp(6000, &[0, 0, 0, 9], &join(&[&packet, &[0]])),
        tunnelled(115, &[0, 0, 0, 8], &broken),
        tunnelled(50, &[], &esp(&broken, &[0, 4])),
        tunnelled(50, &[], &esp(&packet, &[2, 1, 2, 4])),
    ];
    for bytes in closed {
        let layers = read(LinkType::ETHERNET, &bytes);
        assert!(layers.encap.is_empty() && layers.outer.is_none() && layers.issue.is_none());
    }
    let opaque = tunnelled(50, &[], &[0, 0, 1, 0, 0, 0, 0, 1, 42, 42]);
    assert_eq!(read(LinkType::ETHERNET, &opaque).tunnel_id, Some(256));
}

#[test]
fn the_link_is_the_outermost_one() {
    let frame = eth(0x88a8, &join(&[&[0, 100, 0x81, 0, 0, 200, 8, 0], &inner()]));
    let layers = read(LinkType::ETHERNET, &frame);
    assert_eq!((layers.vlan, layers.vlan_inner, layers.ethertype), (Some(100), Some(200), Some(0x0800)));
    assert_eq!((layers.eth_src, layers.eth_dst), (Some([2, 0, 0, 0, 0, 1]), Some([2, 0, 0, 0, 0, 2])));
    let frame = eth(0x8847, &join(&[&[0, 1, 0, 64, 0, 2, 1, 64], &inner()]));
    assert_eq!(read(LinkType::ETHERNET, &frame).mpls.as_slice(), [16, 32]);
    let tagged = eth(0x8100, &join(&[&[0, 210, 8, 0], &inner()]));
    let frame = tunnelled(47, &[0, 0, 0x65, 0x58], &tagged);
    assert_eq!(read(LinkType::ETHERNET, &frame).vlan, None);
}

/// Cut at every length: no panic, and inside a header an issue that says whether the frame or the capture was short.
#[test]
fn every_prefix_says_where_it_stopped() {
    for (frame, link, encap, _) in samples() {
        let headers = frame.len() - 2;
        for len in 0..frame.len() {
            let prefix = &frame[..len];
            let snapped = dissect(link, prefix, frame.len() as u32);
            let truncated = dissect(link, prefix, len as u32);
            if len < headers {
                let reason = |layers: Layers<'_>| layers.issue.map(|issue| issue.reason);
                assert_eq!(
                    reason(snapped),
                    Some(Reason::Snapped),
                    "{link} {encap} cut at {len} {prefix:02x?}"
                );
                // What lies behind labels has no type: without its first bytes nothing says that they are missing.
                let guessed = !truncated.mpls.as_slice().is_empty() && truncated.issue.is_none();
                assert!(guessed || reason(truncated) == Some(Reason::Truncated), "{encap} cut at {len}");
                assert!(snapped.issue.unwrap().offset as usize <= len, "{link} {encap} cut at {len}");
            } else {
                assert_eq!((snapped.issue, snapped.payload_len), (None, 2), "{encap} cut at {len}");
            }
        }
    }
}

#[test]
fn ipv4_lengths() {
    // Padding to the least Ethernet frame is no payload.
    let padded = eth(0x0800, &join(&[&inner(), &[0; 18]]));
    assert_eq!(read(LinkType::ETHERNET, &padded).payload, b"hi");
    // Total length 0: segmentation offload, the packet fills the frame.
    let mut offloaded = ipv4(6, 1, 2, &tcp(b"abc"));
    offloaded[2..4].fill(0);
    let layers = read(LinkType::RAW, &offloaded);
    assert_eq!((layers.issue, layers.payload), (None, &b"abc"[..]));
    let mut short = inner();
    short[0] = 0x44;
    assert_eq!(read(LinkType::RAW, &short).issue.unwrap().reason, Reason::BadLength);
    let mut options = ipv4(17, 1, 2, &join(&[&[1, 1, 1, 0], &udp(5, 6, b"hi")]));
    options[0] = 0x46;
    assert_eq!(read(LinkType::RAW, &options).ports(), Some((5, 6)));
}

#[test]
fn fragments() {
    let mut first = inner();
    first[6] = 0x20;
    let layers = read(LinkType::RAW, &first);
    assert_eq!((layers.ip.unwrap().fragment, layers.ports()), (Fragment::First, Some((5, 6))));
    let mut last = inner();
    last[7] = 3;
    let layers = read(LinkType::RAW, &last);
    assert_eq!((layers.ip.unwrap().fragment, layers.ports()), (Fragment::Last, None));
    assert_eq!(layers.payload_len, 10);
}

#[test]
fn extension_headers() {
    let datagram = udp(5, 6, b"hi");
    // Hop-by-hop, routing, destination options, then UDP.
    let chain = join(&[
        &[43, 0, 1, 4, 0, 0, 0, 0],
        &[60, 0, 0, 0, 0, 0, 0, 0],
        &[17, 0, 1, 4, 0, 0, 0, 0],
        &datagram,
    ]);
    let packet = ipv6(0, &chain);
    let layers = read(LinkType::RAW, &packet);
    assert_eq!((layers.issue, layers.ports(), layers.ip.unwrap().protocol), (None, Some((5, 6)), 17));
    assert_eq!(layers.ip.unwrap().header_len, 64);
    // A first fragment, RFC 8200 section 4.5.
    let packet = ipv6(44, &join(&[&[17, 0, 0, 1, 0, 1, 0, 2], &datagram]));
    let ip = read(LinkType::RAW, &packet).ip.unwrap();
    assert_eq!((ip.fragment, ip.id), (Fragment::First, Some(0x10002)));
}

#[test]
fn transports() {
    let packet = ipv4(6, 1, 2, &tcp(b"abc"));
    let layers = read(LinkType::RAW, &packet);
    let Transport::Tcp(header) = layers.transport else { panic!("no TCP") };
    assert_eq!((header.seq.get(), header.ack.get(), header.flags(), header.window.get()), (1, 2, 0x18, 99));
    let mut bad = packet.clone();
    bad[20 + 12] = 0x40;
    let issue = read(LinkType::RAW, &bad).issue.unwrap();
    assert_eq!((issue.header, issue.reason, issue.offset), (Header::Tcp, Reason::BadLength, 20));
    let bad = ipv4(17, 1, 2, &[0, 5, 0, 6, 0, 7, 0, 0, 1]);
    assert_eq!(read(LinkType::RAW, &bad).issue.unwrap().header, Header::Udp);
    let ping = ipv4(1, 1, 2, &[8, 0, 0, 0, 0, 1, 0, 2, 42]);
    let layers = read(LinkType::RAW, &ping);
    assert!(matches!(layers.transport, Transport::Icmp { kind: 8, code: 0 }));
    assert_eq!(layers.payload, [42]);
}

#[test]
fn what_only_a_port_says_is_not_believed() {
    // VXLAN without its I bit, GTP-U of version 2, GENEVE of version 1.
    for (port, payload) in
        [(4789, [0_u8; 8]), (2152, [0x48, 255, 0, 0, 0, 0, 0, 1]), (6081, [0x40, 0, 0x65, 0x58, 0, 0, 5, 0])]
    {
        let packet = ipv4(17, 8, 9, &udp(4000, port, &join(&[&payload, &eth(0x0800, &inner())])));
        let layers = read(LinkType::RAW, &packet);
        assert!(layers.encap.is_empty() && layers.outer.is_none() && layers.issue.is_none(), "{port}");
        assert_eq!(layers.ports(), Some((4000, port)));
    }
}

#[test]
fn depth_is_limited() {
    let mut packet = inner();
    for _ in 0..20 {
        packet = ipv4(4, 8, 9, &packet);
    }
    let layers = read(LinkType::RAW, &packet);
    assert_eq!((layers.encap.len(), layers.issue.unwrap().reason), (8, Reason::TooDeep));
    let tags: Vec<u8> = [0, 1, 0x81, 0].repeat(200);
    assert_eq!(read(LinkType::ETHERNET, &eth(0x8100, &tags)).issue.unwrap().reason, Reason::TooDeep);
}

#[test]
fn a_redirect_header_that_is_cut_is_an_issue_inside_the_frame() {
    // GRE that says WCCP (0x883E), and two bytes behind it.
    let frame = tunnelled(47, &[], &[0, 0, 0x88, 0x3e, 0, 0]);
    let issue = read(LinkType::ETHERNET, &frame).issue.unwrap();
    assert_eq!((issue.header, issue.reason), (Header::Gre, Reason::Truncated));
    assert!(issue.offset as usize <= frame.len());
}

#[test]
fn an_address_that_begins_like_an_ip_packet_is_still_ethernet() {
    let mut packet = inner();
    let sum = checksum(&packet[..20]).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    for first in [0x46, 0x4c, 0x60, 0x64] {
        let mut frame = eth(0x0800, &packet);
        frame[0] = first;
        // A pseudowire without control word behind label 16, and an Ethernet PDU session.
        let pseudowire = eth(0x8847, &join(&[&[0, 1, 1, 64], &frame]));
        assert_eq!(read(LinkType::ETHERNET, &pseudowire).ip.unwrap().src(), v4(1), "{first:#x}");
        let session = tunnelled(17, &[], &udp(2152, 2152, &join(&[&[0x30, 255, 0, 44, 0, 0, 1, 0], &frame])));
        assert_inner(&session, LinkType::ETHERNET, "gtpu", Some(256));
    }
}

#[test]
fn the_port_of_a_client_is_no_tunnel() {
    let spi = |src, dst| {
        let frame = tunnelled(17, &[], &udp(src, dst, &[0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]));
        read(LinkType::ETHERNET, &frame).tunnel_id
    };
    assert_eq!((spi(53, 4500), spi(4500, 53)), (None, None));
    assert_eq!((spi(4500, 4500), spi(61234, 4500)), (Some(0x0007_8180), Some(0x0007_8180)));
}

#[test]
fn frames_that_are_not_read_are_opaque() {
    let layers = read(LinkType(147), &[1, 2, 3]);
    assert_eq!(layers.issue.unwrap().reason, Reason::Unsupported);
    let lldp = eth(0x88cc, &[2, 7, 4]);
    let layers = read(LinkType::ETHERNET, &lldp);
    assert_eq!((layers.issue, layers.payload, layers.ip.is_none()), (None, &[2, 7, 4][..], true));
    // ARP in VXLAN: the tunnel's own packet is the innermost.
    let arp = eth(
        0x0806,
        &[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 2],
    );
    let frame = tunnelled(17, &[], &udp(4000, 4789, &join(&[&[8, 0, 0, 0, 0, 0, 5, 0], &arp])));
    let layers = read(LinkType::ETHERNET, &frame);
    assert_eq!((layers.issue, layers.ip.unwrap().src(), layers.ports()), (None, v4(8), Some((4000, 4789))));
}

proptest::proptest! {
    /// What is read in one go is what is read header by header, whatever is wrong with the frame.
    #[test]
    fn plain_frames_are_as_the_walk_has_them(
        tags in 0_usize..4,
        is_v6: bool,
        is_tcp: bool,
        ports in (proptest::sample::select(vec![5_u16, 500, 4500, 2152, 37008]), 0_u16..6000),
        payload in proptest::collection::vec(0_u8..32, 0..60),
        padding in 0_usize..8,
        changes in proptest::collection::vec((0_usize..64, 0_u8..=255), 0..3),
        cut in 0_usize..200,
        more_on_wire in 0_u32..3,
    ) {
        let segment = if is_tcp { tcp(&payload) } else { udp(ports.0, ports.1, &payload) };
        let protocol = if is_tcp { 6 } else { 17 };
        let packet = if is_v6 { ipv6(protocol, &segment) } else { ipv4(protocol, 1, 2, &segment) };
        let mut inside = join(&[&(if is_v6 { 0x86dd_u16 } else { 0x0800 }).to_be_bytes(), &packet, &[0; 8][..padding]]);
        for tag in 0..tags {
            inside = join(&[&[0x81, 0, 0, tag as u8], &inside]);
        }
        let mut frame = join(&[MACS, &inside]);
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        let wire_len = frame.len();
        frame.truncate(cut.max(20));
        let mut walked = Layers::default();
        walk::walk(LinkType::ETHERNET, &frame, wire_len + more_on_wire as usize, false, &mut walked);
        let read = dissect(LinkType::ETHERNET, &frame, wire_len as u32 + more_on_wire);
        proptest::prop_assert_eq!(format!("{read:?}"), format!("{walked:?}"));
    }
}
