//! Frames as records of a classic pcap, with right lengths and checksums.

use std::net::IpAddr;

use super::random::Random;
use crate::wire::ip::checksum;

/// Most bytes of an IP packet.
const MTU: usize = 1500;
/// Fewest bytes of an Ethernet frame without its check sequence.
const MIN_FRAME: usize = 60;
/// What a frame takes on the link beside its captured bytes: preamble, check sequence and the gap behind it.
const OVERHEAD: usize = 8 + 4 + 12;
/// A tenth of a nanosecond, of which a byte takes eight at 10 Gbit/s.
const TENTHS_PER_BYTE: u64 = 8;
/// 1 January 2026, 00:00 UTC.
const START: u64 = 1_767_225_600;
/// IPv4, UDP and GTP-U without options (3GPP TS 29.281 section 5.1).
const TUNNEL_LEN: usize = 20 + 8 + 8;
const GTPU_PORT: u16 = 2152;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What the packets of a conversation have in common in one direction.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// All that comes before the first IP header: MACs, tags, EtherType, labels.
    link: Vec<u8>,
    /// Source, destination and endpoint identifier of GTP-U around the packet.
    tunnel: Option<(IpAddr, IpAddr, u32)>,
    src: IpAddr,
    dst: IpAddr,
    /// Identification of the next packet.
    id: u16,
}

/// The way between a client and a server.
#[derive(Debug, Clone)]
pub(super) struct Path {
    pub client: IpAddr,
    pub server: IpAddr,
    up: Route,
    down: Route,
}

/// What a conversation may have around its packets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    pub ipv6: bool,
    pub tunnel: bool,
    /// How many of them.
    pub vlans: u8,
    pub labels: u8,
}

impl Around {
    pub const NOTHING: Self = Self { ipv6: false, tunnel: false, vlans: 0, labels: 0 };
}

impl Path {
    /// Between addresses of the networks that are set aside for measuring: 198.18.0.0/15 (RFC 2544) and 2001:2::/48
    /// (RFC 5180), and clients of 10.0.0.0/8.
    pub fn new(around: Around, random: &mut Random) -> Self {
        let number = random.next();
        let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
        let (client, server): (IpAddr, IpAddr) = if around.ipv6 {
            let of = |net, x, y, z| [0x2001, 0x0002, 0, net, 0, x, y, z].into();
            (of(1, a.into(), b.into(), c.into()), of(2, 0, d.into(), e.into()))
        } else {
            ([10, a, b, c].into(), [198, 18 + (d & 1), e, f].into())
        };
        let (radio, core): (IpAddr, IpAddr) = ([172, 16, 0, g & 0x3f].into(), [172, 17, 0, h & 0x0f].into());
        let macs = ([2, 0, 0, 0, 1, g & 0x0f], [2, 0, 0, 0, 2, h & 0x0f]);
        let outer_is_ipv6 = around.ipv6 && !around.tunnel;
        let tags = random.next();
        let link = |dst: [u8; 6], src: [u8; 6]| {
            let mut link = [dst, src].concat();
            for n in 0..around.vlans {
                // The outer one of two is a service tag (IEEE 802.1ad).
                let kind = if n + 1 < around.vlans { [0x88, 0xa8] } else { [0x81, 0x00] };
                link.extend(kind);
                link.extend((100 + (tags >> (8 * n)) as u16 % 64).to_be_bytes());
            }
            link.extend(match (around.labels, outer_is_ipv6) {
                (1.., _) => [0x88, 0x47],
                (0, false) => [0x08, 0x00],
                (0, true) => [0x86, 0xdd],
            });
            for n in 0..around.labels {
                let ttl = 0x3e;
                let label = 16_000 + (tags >> (16 + 8 * n)) as u32 % 256;
                let is_bottom = n + 1 == around.labels;
                link.extend((label << 12 | u32::from(is_bottom) << 8 | ttl).to_be_bytes());
            }
            link
        };
        let teid = |bits: u64| (bits as u32) | 1;
        let route = |link, (from, to), (src, dst), bits: u64| Route {
            link,
            tunnel: around.tunnel.then_some((from, to, teid(bits))),
            src,
            dst,
            id: bits as u16,
        };
        Self {
            client,
            server,
            up: route(link(macs.1, macs.0), (radio, core), (client, server), random.next()),
            down: route(link(macs.0, macs.1), (core, radio), (server, client), random.next()),
        }
    }

    pub fn address(&self, side: Side) -> IpAddr {
        match side {
            Side::Client => self.client,
            Side::Server => self.server,
        }
    }

    /// Most bytes behind the innermost IP header.
    pub fn room(&self) -> usize {
        MTU - ip_len(self.client) - if self.up.tunnel.is_some() { TUNNEL_LEN } else { 0 }
    }
}

/// What comes between IP and the payload.
#[derive(Debug, Clone, Copy)]
pub(super) enum Transport<'a> {
    Udp,
    /// Sequence and acknowledgment number, flags, window, options.
    Tcp(u32, u32, u8, u16, &'a [u8]),
    /// Verification tag.
    Sctp(u32),
}

impl Transport<'_> {
    fn protocol(self) -> u8 {
        match self {
            Self::Udp => 17,
            Self::Tcp(..) => 6,
            Self::Sctp(_) => 132,
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Udp => 8,
            Self::Tcp(.., options) => 20 + options.len(),
            Self::Sctp(_) => 12,
        }
    }
}

/// Bytes that are given, then random ones up to a length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload<'a> {
    pub head: &'a [u8],
    pub len: usize,
}

impl Payload<'_> {
    pub const NONE: Self = Self { head: &[], len: 0 };

    /// Random bytes only.
    pub fn random(len: usize) -> Self {
        Self { head: &[], len }
    }
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(head: &'a [u8]) -> Self {
        Self { head, len: head.len() }
    }
}

/// Ports by side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub client: u16,
    pub server: u16,
}

impl Ports {
    /// Source and destination.
    fn from(self, side: Side) -> (u16, u16) {
        match side {
            Side::Client => (self.client, self.server),
            Side::Server => (self.server, self.client),
        }
    }
}

/// A link at 10 Gbit/s whose frames become a capture.
#[derive(Debug)]
pub(super) struct Link {
    pub capture: Vec<u8>,
    pub random: Random,
    pub packets: usize,
    /// Whether what is sent is left out: it went by before the capture began.
    pub is_silent: bool,
    /// Tenths of a nanosecond since the start.
    now: u64,
}

impl Link {
    pub fn new(random: Random) -> Self {
        // Nanoseconds, little-endian, version 2.4, snap length 262,144, Ethernet.
        let header = [0xa1b2_3c4d, 0x0004_0002, 0, 0, 0x0004_0000, 1_u32];
        let capture = header.into_iter().flat_map(u32::to_le_bytes).collect();
        Self { capture, random, packets: 0, is_silent: false, now: 0 }
    }

    /// Milliseconds since the start.
    pub fn millis(&self) -> u32 {
        (self.now / 10_000_000) as u32
    }

    /// Sends a packet.
    pub fn send(
        &mut self,
        path: &mut Path,
        side: Side,
        ports: Ports,
        transport: Transport<'_>,
        payload: Payload<'_>,
    ) {
        if self.is_silent {
            return;
        }
        let route = match side {
            Side::Client => &mut path.up,
            Side::Server => &mut path.down,
        };
        let record = self.capture.len();
        let behind_ip = transport.len() + payload.len;
        let packet_len = ip_len(route.src) + behind_ip;
        let tunnel_len = if route.tunnel.is_some() { TUNNEL_LEN } else { 0 };
        let frame_len = (route.link.len() + tunnel_len + packet_len).max(MIN_FRAME);

        let nanos = self.now / 10;
        let seconds = (START + nanos / 1_000_000_000) as u32;
        for word in [seconds, (nanos % 1_000_000_000) as u32, frame_len as u32, frame_len as u32] {
            self.capture.extend_from_slice(&word.to_le_bytes());
        }
        self.capture.extend_from_slice(&route.link);
        route.id = route.id.wrapping_add(1);
        if let Some((src, dst, teid)) = route.tunnel {
            self.ip(src, dst, route.id, 17, 8 + 8 + packet_len);
            self.udp((GTPU_PORT, GTPU_PORT), 8 + packet_len);
            self.capture.extend_from_slice(&[0x30, 255]);
            self.capture.extend_from_slice(&(packet_len as u16).to_be_bytes());
            self.capture.extend_from_slice(&teid.to_be_bytes());
        }
        let (src, dst) = (route.src, route.dst);
        self.ip(src, dst, route.id, transport.protocol(), behind_ip);
        let start = self.capture.len();
        self.transport(ports.from(side), transport, payload.len);
        self.capture.extend_from_slice(payload.head);
        self.random.fill(&mut self.capture, payload.len.saturating_sub(payload.head.len()));
        self.seal(start, src, dst, transport);

        self.capture.resize(record + 16 + frame_len, 0);
        self.now += (frame_len + OVERHEAD) as u64 * TENTHS_PER_BYTE;
        self.packets += 1;
    }

    fn ip(&mut self, src: IpAddr, dst: IpAddr, id: u16, protocol: u8, payload_len: usize) {
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut header = [0; 20];
                header[..2].copy_from_slice(&[0x45, 0]);
                header[2..4].copy_from_slice(&(20 + payload_len as u16).to_be_bytes());
                header[4..6].copy_from_slice(&id.to_be_bytes());
                header[6] = 0x40; // do not fragment
                header[8] = 61;
                header[9] = protocol;
                header[12..16].copy_from_slice(&src.octets());
                header[16..20].copy_from_slice(&dst.octets());
                let sum = checksum(&header);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                self.capture.extend_from_slice(&header);
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                self.capture.extend_from_slice(&[0x60, 0, 0, 0]);
                self.capture.extend_from_slice(&(payload_len as u16).to_be_bytes());
                self.capture.extend_from_slice(&[protocol, 61]);
                self.capture.extend_from_slice(&src.octets());
                self.capture.extend_from_slice(&dst.octets());
            }
            _ => {}
        }
    }

    /// Without a checksum.
    fn udp(&mut self, (src, dst): (u16, u16), payload_len: usize) {
        for word in [src, dst, 8 + payload_len as u16, 0] {
            self.capture.extend_from_slice(&word.to_be_bytes());
        }
    }

    fn transport(&mut self, ports: (u16, u16), transport: Transport<'_>, payload_len: usize) {
        let (src, dst) = ports;
        match transport {
            Transport::Udp => self.udp(ports, payload_len),
            Transport::Tcp(seq, ack, flags, window, options) => {
                for word in [u32::from(src) << 16 | u32::from(dst), seq, ack] {
                    self.capture.extend_from_slice(&word.to_be_bytes());
                }
                self.capture.extend_from_slice(&[((20 + options.len()) as u8) << 2, flags]);
                self.capture.extend_from_slice(&window.to_be_bytes());
                self.capture.extend_from_slice(&[0; 4]);
                self.capture.extend_from_slice(options);
            }
            Transport::Sctp(tag) => {
                for word in [u32::from(src) << 16 | u32::from(dst), tag, 0] {
                    self.capture.extend_from_slice(&word.to_be_bytes());
                }
            }
        }
    }

    /// Writes the checksum of what begins at `start`.
    fn seal(&mut self, start: usize, src: IpAddr, dst: IpAddr, transport: Transport<'_>) {
        let Some(segment) = self.capture.get_mut(start..) else { return };
        let (at, sum) = match transport {
            Transport::Sctp(_) => {
                let sum = crc32c(segment).to_le_bytes();
                if let Some(field) = segment.get_mut(8..12) {
                    field.copy_from_slice(&sum);
                }
                return;
            }
            // None at all is written as 0, so a sum of 0 is written as its other form (RFC 768).
            Transport::Udp => match internet_checksum(segment, src, dst, 17) {
                0 => (6, 0xffff),
                sum => (6, sum),
            },
            Transport::Tcp(..) => (16, internet_checksum(segment, src, dst, 6)),
        };
        if let Some(field) = segment.get_mut(at..at + 2) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
    }
}

fn ip_len(address: IpAddr) -> usize {
    if address.is_ipv4() { 20 } else { 40 }
}

/// The checksum of UDP and TCP, with the pseudo-header of RFC 9293 section 3.1 or RFC 8200 section 8.1.
fn internet_checksum(segment: &[u8], src: IpAddr, dst: IpAddr, protocol: u8) -> u16 {
    let mut pseudo = [0; 40];
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            pseudo[..4].copy_from_slice(&src.octets());
            pseudo[4..8].copy_from_slice(&dst.octets());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            pseudo[..16].copy_from_slice(&src.octets());
            pseudo[16..32].copy_from_slice(&dst.octets());
        }
        _ => {}
    }
    pseudo[34..36].copy_from_slice(&(segment.len() as u16).to_be_bytes());
    pseudo[39] = protocol;
    let sum = u32::from(!checksum(&pseudo)) + u32::from(!checksum(segment));
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// The checksum of SCTP, RFC 9260 appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        // The check value of CRC-32C (RFC 3720 appendix B.4: 32 bytes of zeros).
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        // A datagram by hand: 10.0.0.1 to 10.0.0.2, ports 1 and 2, length 10, payload 0x0102.
        // 0a00 + 0001 + 0a00 + 0002 + 0011 + 000a + 0001 + 0002 + 000a + 0102 = 152d, complement ead2.
        let datagram = [0, 1, 0, 2, 0, 10, 0, 0, 1, 2];
        assert_eq!(internet_checksum(&datagram, [10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 17), 0xead2);
    }
}
