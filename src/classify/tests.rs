//! Packets as they are on the wire, and what they are.

use proptest::prelude::*;

use super::{App, Basis, Classifier, Label, Traffic};
use crate::capture::LinkType;
use crate::dissect::dissect;

/// An IPv4 packet from 192.0.2.1 to 198.51.100.2 around a transport header.
fn ipv4(protocol: u8, body: &[u8]) -> Vec<u8> {
    let len = (20 + body.len() as u16).to_be_bytes();
    let mut packet =
        vec![0x45, 0, len[0], len[1], 0, 1, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2];
    packet.extend(body);
    packet
}

fn udp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for field in [src, dst, 8 + payload.len() as u16, 0] {
        body.extend(field.to_be_bytes());
    }
    body.extend(payload);
    ipv4(17, &body)
}

fn tcp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(src.to_be_bytes());
    body.extend(dst.to_be_bytes());
    body.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    body.extend(payload);
    ipv4(6, &body)
}

/// SCTP with one DATA chunk of this payload protocol.
fn sctp(ppid: u32) -> Vec<u8> {
    let mut body = vec![0x0b, 0x59, 0x0b, 0x59, 0, 0, 0, 1, 0, 0, 0, 0, 0, 3, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0];
    body.extend(ppid.to_be_bytes());
    body.extend([1, 0, 1, 1]);
    ipv4(132, &body)
}

fn classify(packet: &[u8]) -> Label {
    Classifier::new().classify(&dissect(LinkType::RAW, packet, packet.len() as u32))
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut payload = vec![0x80, 8];
    payload.extend(sequence.to_be_bytes());
    payload.extend([0, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef]);
    payload.extend([0xd5; 160]);
    payload
}

/// Payloads as the standards have them, on ports that say nothing.
fn on_any_port() -> Vec<(Vec<u8>, App)> {
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    // A receiver report without blocks, RFC 3550 section 6.4.2.
    let masked: Vec<_> =
        b"BYE sip:a@b SIP/2.0\r\n".iter().zip([1, 2, 3, 4].iter().cycle()).map(|(a, b)| a ^ b).collect();
    let rtcp = [0x80, 201, 0, 1, 1, 2, 3, 4].to_vec();
    let quic = [&[0xc3, 0, 0, 0, 1, 8][..], &[9; 8], &[0, 0], &[1; 40]].concat();
    vec![
        (udp(5000, 6000, b"INVITE sip:bob@biloxi.example.com SIP/2.0\r\n\r\n"), App::Sip),
        (udp(5000, 6000, b"SIP/2.0 200 OK\r\n\r\n"), App::Sip),
        (tcp(5000, 6000, b"REGISTER sips:ss2.biloxi.example.com SIP/2.0\r\n"), App::Sip),
        // RFC 7118: a response in a frame of text, and a request in one that is masked with 1, 2, 3, 4.
        (tcp(5000, 6000, b"\x81\x10SIP/2.0 200 OK\r\n"), App::Sip),
        (tcp(5000, 6000, &[&[0x81, 0x95, 1, 2, 3, 4][..], &masked].concat()), App::Sip),
        (udp(5000, 6000, &stun), App::Stun),
        (udp(5000, 6000, &rtcp), App::Rtcp),
        // RFC 3489 section 11.2: a binding request that wants its answer from elsewhere.
        (udp(5000, 6000, &[&[0, 1, 0, 8][..], &[7; 16], &[0, 3, 0, 4, 0, 0, 0, 0]].concat()), App::Stun),
        (
            udp(5000, 6000, &[&[4, 0, 0, 0, 9, 9, 9, 9, 1, 0, 0, 0, 0, 0, 0, 0][..], &[7; 16]].concat()),
            App::WireGuard,
        ),
        // A template flow set of eight bytes, RFC 3954 section 5.2.
        (udp(5000, 6000, &[&[0, 9, 0, 1][..], &[1; 16], &[0, 0, 0, 8, 1, 0, 0, 0]].concat()), App::NetFlow),
        (
            udp(5000, 6000, b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - 'su root'"),
            App::Syslog,
        ),
        (udp(5000, 6000, b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed"), App::Syslog),
        (udp(5000, 6000, b"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\n"), App::BitTorrent),
        (tcp(5000, 6000, b"AUTH TLS\r\n"), App::Ftp),
        (udp(5000, 6000, b"HEP3\x00\x06"), App::Hep),
        // Terminal capability set with the object identifier of H.245.
        (tcp(5000, 6000, &[3, 0, 0, 16, 2, 0x70, 1, 6, 0, 8, 0x81, 0x75, 0, 5, 0, 0]), App::H245),
        (udp(5000, 6000, &quic), App::Quic),
        (tcp(5000, 6000, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), App::Tls),
        (tcp(5000, 6000, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), App::Http),
        (tcp(5000, 6000, b"SSH-2.0-OpenSSH_9.2\r\n"), App::Ssh),
        (tcp(5000, 6000, &[&[0xff; 16][..], &[0, 19, 4]].concat()), App::Bgp),
        (sctp(3), App::M3ua),
        (sctp(5), App::M2pa),
        (sctp(46), App::Diameter),
        // Payload protocols as IANA has them.
        (sctp(2), App::M2ua),
        (sctp(4), App::Sua),
        (sctp(18), App::S1ap),
        (sctp(27), App::X2ap),
        (sctp(60), App::Ngap),
        // A hello of 28 bytes, RFC 6189 section 5.
        (
            udp(
                5000,
                6000,
                &[&[0x10, 0, 0, 1][..], b"ZRTP", &[0, 0, 0, 9], &[0x50, 0x5a, 0, 4], &[7; 12]].concat(),
            ),
            App::Zrtp,
        ),
        // RFC 2205 section 3.1.1: version 1, a path message.
        (ipv4(46, &[0x10, 1, 0, 0, 255, 0, 0, 8]), App::Rsvp),
        // CARP: version 2, an advertisement, 36 bytes with 7 words of authentication.
        (ipv4(112, &[&[0x21, 1, 0, 7, 0, 0, 0, 0][..], &[9; 28]].concat()), App::Carp),
        (ipv4(1, &[8, 0, 0, 0, 0, 1, 0, 1]), App::Icmp),
        (ipv4(89, &[2, 1, 0, 44, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), App::Ospf),
    ]
}

/// What TS 29.060 section 6 and TS 29.274 section 5.1 do not allow: lengths too short for what the flags say that the header has, and version 1 without a
/// sequence number.
#[test]
fn no_control_plane_of_gtp() {
    let of = |payload: &[u8]| classify(&udp(2123, 2123, payload)).basis;
    assert_eq!(of(&[0x32, 1, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0]), Some(Basis::Signature));
    assert_eq!(of(&[0x40, 1, 0, 4, 0, 0, 1, 0]), Some(Basis::Signature));
    for wrong in [
        &[0x37, 3, 0, 0, 0x42, 0, 0, 0][..],
        &[0x32, 1, 0, 0, 0, 0, 0, 0],
        &[0x30, 1, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0],
        &[0x40, 1, 0, 0],
        &[0x48, 1, 0, 4, 0, 0, 0, 0],
    ] {
        assert_eq!(of(wrong), Some(Basis::Port), "{wrong:?}");
    }
}

/// Payloads whose form counts only together with the port.
fn with_port() -> Vec<(Vec<u8>, App)> {
    let dns =
        [&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x01a\x07example\x00\x00\x01\x00\x01"].concat();
    let ntp = [&[0x23][..], &[0; 47]].concat();
    vec![
        (udp(4000, 53, &dns), App::Dns),
        (udp(4000, 123, &ntp), App::Ntp),
        (udp(4000, 161, &[0x30, 0x0a, 2, 1, 1, 4, 6, b'p', b'u', b'b', b'l', b'i']), App::Snmp),
        (udp(2123, 2123, &[0x48, 1, 0, 8, 0, 0, 0, 0, 0, 0, 1, 0]), App::Gtpc),
        // TLS 1.2, a hello that announces 49 bytes.
        (tcp(40000, 5061, &[&[22, 3, 1, 0, 53, 1, 0, 0, 49, 3, 3][..], &[7; 47]].concat()), App::Sips),
        // RFC 5036 section 3.5.2: a hello of 192.0.2.9, label space 0, hold time 15.
        (
            udp(
                646,
                646,
                &[
                    0, 1, 0, 22, 192, 0, 2, 9, 0, 0, 1, 0, 0, 12, 0, 0, 0, 1, 4, 0, 0, 4, 0, 15, 0, 0, //
                ],
            ),
            App::Ldp,
        ),
        // HEP version 1 around "OPTIONS": 16 bytes, IPv4, UDP, ports, addresses.
        (
            udp(
                4000,
                9060,
                &[&[1, 16, 2, 17, 0x13, 0xc4, 0x13, 0xc4, 192, 0, 2, 1, 192, 0, 2, 2][..], b"OPTIONS"]
                    .concat(),
            ),
            App::Hep,
        ),
        (udp(2427, 2427, b"AUEP 1200 aaln/1@rgw.whatever.net MGCP 1.0\r\n"), App::Mgcp),
    ]
}

#[test]
fn signatures() {
    for (packet, app) in on_any_port().into_iter().chain(with_port()) {
        assert_eq!(classify(&packet), Label { app: Some(app), basis: Some(Basis::Signature) }, "{app:?}");
    }
    assert_eq!(App::Sip.traffic(), Traffic::VoiceSignalling);
    assert_eq!(App::M3ua.traffic(), Traffic::MobileSignalling);
    assert_eq!(Label::default().traffic(), Traffic::Unknown);
}

/// Frames without an IP packet, from their EtherType or LLC header on.
#[test]
fn links() {
    for (frame, app) in [
        (&[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1][..], App::Arp),
        (&[0x88, 0xcc, 2, 7, 4, 2, 0, 0, 0, 0, 1], App::Lldp),
        (&[0x88, 0xe5, 0x0c, 0, 0, 0, 0, 1, 9, 9], App::MacSec),
        (&[0x88, 0x63, 0x11, 9, 0, 0, 0, 0], App::Pppoe),
        // Lengths, then LLC: 802.1D section 9.2, ISO/IEC 10589 annex on subnetworks, SNAP of Cisco.
        (&[0, 8, 0x42, 0x42, 3, 0, 0, 0, 0, 0], App::Stp),
        (&[0, 8, 0xfe, 0xfe, 3, 0x83, 27, 1, 0, 15], App::IsIs),
        (&[0, 10, 0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0, 2, 180], App::Cdp),
    ] {
        let frame = [&[2; 12][..], frame].concat();
        let label = Classifier::new().classify(&dissect(LinkType::ETHERNET, &frame, frame.len() as u32));
        assert_eq!(label, Label { app: Some(app), basis: Some(Basis::Signature) });
    }
}

#[test]
fn a_prefix_is_never_something_else_by_signature() {
    for (packet, app) in on_any_port().into_iter().chain(with_port()) {
        for len in 0..packet.len() {
            let layers = dissect(LinkType::RAW, &packet[..len], packet.len() as u32);
            let label = Classifier::new().classify(&layers);
            assert!(
                label.basis != Some(Basis::Signature) || label.app == Some(app),
                "{app:?} cut at {len}: {label:?}"
            );
        }
    }
}

#[test]
fn a_port_alone_is_a_guess_and_a_signature_beats_it() {
    assert_eq!(classify(&udp(4000, 53, b"not dns")), Label { app: Some(App::Dns), basis: Some(Basis::Port) });
    assert_eq!(classify(&tcp(40000, 443, b"")), Label { app: Some(App::Tls), basis: Some(Basis::Port) });
    assert_eq!(classify(&tcp(40000, 443, b"SSH-2.0-x\r\n")).app, Some(App::Ssh));
    assert_eq!(classify(&udp(40000, 40001, b"nothing that is known")), Label::default());
    // RFC 5415 section 3.1, and a map request of RFC 9301 section 5.2.
    let guess = |app| Label { app: Some(app), basis: Some(Basis::Port) };
    assert_eq!(classify(&udp(40000, 5246, &[0, 16, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1])), guess(App::Capwap));
    assert_eq!(classify(&udp(40000, 4342, &[0x10, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8])), guess(App::Lisp));
}

#[test]
fn rtp_needs_a_series_or_an_announcement() {
    let mut classifier = Classifier::new();
    let mut see = |packet: &[u8]| classifier.classify(&dissect(LinkType::RAW, packet, packet.len() as u32));
    // Four packets, three steps: the fourth proves it.
    let bases: Vec<_> = (1..=5).map(|n| see(&udp(20000, 30000, &rtp(n))).basis).collect();
    assert_eq!(bases, [None, None, None, Some(Basis::Behaviour), Some(Basis::Behaviour)]);
    // Sequence numbers that jump prove nothing.
    assert!([1, 900, 2, 3, 4, 5].iter().all(|&n| see(&udp(20002, 30002, &rtp(n))).app.is_none()));
    let invite = "INVITE sip:a@b SIP/2.0\r\n\r\nv=0\r\nc=IN IP4 198.51.100.2\r\nm=audio 40000 RTP/AVP 8\r\n";
    assert_eq!(see(&udp(5060, 5060, invite.as_bytes())).app, Some(App::Sip));
    let first = see(&udp(20004, 40000, &rtp(1)));
    assert_eq!(first, Label { app: Some(App::Rtp), basis: Some(Basis::Signature) });
    // UDPTL, ITU-T T.38: sequence number 0, one byte (no signal), no packets of redundancy.
    let fax = "INVITE sip:a@b SIP/2.0\r\n\r\nv=0\r\nc=IN IP4 198.51.100.2\r\nm=image 40010 udptl t38\r\n";
    see(&udp(5060, 5060, fax.as_bytes()));
    let t38 = see(&udp(20008, 40010, &[0, 0, 1, 0, 0, 0]));
    assert_eq!(t38, Label { app: Some(App::T38), basis: Some(Basis::Signature) });
    // Over TCP each is behind its length, RFC 4571.
    let framed = |n| tcp(20006, 30006, &[&[0, 172][..], &rtp(n)].concat());
    let bases: Vec<_> = (1..=4).map(|n| see(&framed(n)).basis).collect();
    assert_eq!(bases, [None, None, None, Some(Basis::Behaviour)]);
}

proptest! {
    /// Bytes without meaning on ports without meaning: no panic, and hardly ever a signature.
    #[test]
    fn chance_is_no_signature(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 200)) {
        let by_signature = |payload: &Vec<u8>| {
            [udp(40000, 40001, payload), tcp(40000, 40001, payload)]
                .iter()
                .filter(|packet| classify(packet).basis == Some(Basis::Signature))
                .count()
        };
        prop_assert!(payloads.iter().map(by_signature).sum::<usize>() <= 1);
    }
}
