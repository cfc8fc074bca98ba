//! The ids of a packet: what stays the same when it is forwarded, translated, or answered.
//!
//! Part of the contract: another program that follows this text gets the same numbers. All are XXH3-64 with seed 0
//! over a short string of bytes; multi-byte integers in it are big-endian.
//!
//! **`packet_id`**: the first [`PACKET_BYTES`] bytes of the innermost IP packet, header included and as far as its
//! length field reaches, with what routers change set to zero:
//! for IPv4 byte 1 (DSCP, ECN), bit 0x40 of byte 6 (Don't Fragment: routers clear it before tunnels, and Linux sets it on
//! the copies that it makes), byte 8 (TTL) and bytes 10 and 11 (header checksum);
//! for IPv6 bytes 0 to 3 (version, traffic class and flow label) and byte 7 (hop limit).
//! (RFC 5475 section 6.2 recommends invariant fields in the same sense.) The transport checksum is among the bytes,
//! so what lies beyond them counts too. Null if there is no IP packet, or fewer of those bytes were captured.
//!
//! **`payload_id`**: IP protocol (1 byte), payload length on the wire (4 bytes), then for TCP the sequence and
//! acknowledgment numbers (8 bytes) and the flags FIN to URG (1 byte, the low six bits), for SCTP the verification
//! tag (4 bytes), then the first [`PAYLOAD_BYTES`] bytes of the payload as far as its length reaches. Null if there
//! is no IP packet, for fragments, or if fewer of those bytes were captured.
//!
//! **Strength**: bit 0 of both is not part of the hash. It is 1 when equal ids prove the same packet, and 0 when
//! the packet holds too little to tell it from another: `packet_id` is weak for packets shorter than 48 bytes, and for
//! packets without payload that have no identification (IPv4 id 0, IPv6); `payload_id` is weak for payloads of less
//! than 16 bytes and for those that begin with 16 equal bytes.
//!
//! **`flow_id`**: IP protocol (1 byte), then the two endpoints (16-byte address, 2-byte port) with the smaller byte
//! string first. Ports are 0 where there are none; a later fragment has those of its first, if that came before. Null if there is no IP packet.
//!
//! **`payload_head`**: the first [`HEAD_BYTES`] bytes of the payload of an unfragmented packet; null if fewer were captured. It
//! tells whether two segments that begin at the same place begin alike, whatever their lengths.
//!
//! **Community ID** version 1 with seed 0, as <https://github.com/corelight/community-id-spec> defines it.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha1::{Digest, Sha1};
use xxhash_rust::xxh3::xxh3_64;

use super::column::Column;
use super::row::Row;
use super::xxh3::{self, Pair};
use crate::dissect::{Layers, Transport};
use crate::wire::ip::{Addr, Fragment, Ip};

/// How many bytes of a packet `packet_id` covers.
pub const PACKET_BYTES: usize = 96;

/// How many bytes of a payload `payload_id` covers.
pub const PAYLOAD_BYTES: usize = 64;

/// How many bytes of a payload `payload_head` covers.
pub const HEAD_BYTES: usize = 20;

/// The three ids of a packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ids {
    /// See the module's documentation.
    pub packet: Option<u64>,
    /// See the module's documentation.
    pub payload: Option<u64>,
    /// See the module's documentation.
    pub flow: Option<u64>,
}

impl Ids {
    /// The ids of the innermost packet.
    #[inline(always)]
    pub fn of(layers: &Layers<'_>) -> Self {
        let Some(ip) = &layers.ip else { return Self::default() };
        Self {
            packet: packet_id(ip, layers.payload_len),
            payload: payload_id(ip, layers),
            flow: Some({
                let (src_port, dst_port) = layers.ports().unwrap_or_default();
                flow(ip.version, ip.protocol, (ip.src(), src_port), (ip.dst(), dst_port))
            }),
        }
    }
}

/// `payload_head` of an unfragmented packet with this payload.
#[inline(never)]
pub(super) fn head(payload: &[u8]) -> Option<u64> {
    payload.first_chunk::<HEAD_BYTES>().map(|head| xxh3_64(head))
}

/// Whether an id is strong enough that an equal one proves the same packet.
#[inline]
pub const fn is_strong(id: u64) -> bool {
    id & 1 == 1
}

#[inline]
const fn with_strength(hash: u64, strong: bool) -> u64 {
    hash & !1 | strong as u64
}

/// What routers change in the first 16 bytes of a packet.
const CHANGED_V4: Pair = Pair::from_le_bytes([0, 0xff, 0, 0, 0, 0, 0x40, 0, 0xff, 0, 0xff, 0xff, 0, 0, 0, 0]);
/// As [`CHANGED_V4`].
const CHANGED_V6: Pair = Pair::from_le_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);

#[inline(always)]
fn packet_id(ip: &Ip<'_>, payload_len: u32) -> Option<u64> {
    let packet = ip.packet.get(..PACKET_BYTES).unwrap_or(ip.packet);
    if packet.len() < PACKET_BYTES.min(ip.total_len as usize) {
        return None;
    }
    let changed = if ip.version == 4 { CHANGED_V4 } else { CHANGED_V6 };
    let hash = match packet.len() {
        65.. => unchanged::<3>(packet, changed),
        33.. => unchanged::<2>(packet, changed),
        _ => unchanged::<1>(packet, changed),
    }?;
    let identified = ip.id.is_some_and(|id| id != 0);
    Some(with_strength(hash, ip.total_len >= 48 && (identified || payload_len > 0)))
}

/// The hash of a packet, of which what is `changed` is taken for zero.
#[inline(always)]
fn unchanged<const PAIRS: usize>(packet: &[u8], changed: Pair) -> Option<u64> {
    let mut head = packet.as_chunks().0.first_chunk::<PAIRS>()?.map(Pair::from_le_bytes);
    let mut tail = packet.as_rchunks().1.last_chunk::<PAIRS>()?.map(Pair::from_le_bytes);
    if let Some(first) = head.first_mut() {
        *first &= !changed;
    }
    // A tail of three pairs begins behind that.
    if let (..=2, Some(first)) = (PAIRS, tail.first_mut()) {
        let at = packet.len() - 16 * PAIRS;
        *first &= !changed.checked_shr(8 * at as u32).unwrap_or(0);
    }
    Some(xxh3::medium(packet.len(), head, tail))
}

#[inline(always)]
fn payload_id(ip: &Ip<'_>, layers: &Layers<'_>) -> Option<u64> {
    let captured = layers.payload.len();
    if ip.fragment != Fragment::Whole || captured < PAYLOAD_BYTES.min(layers.payload_len as usize) {
        return None;
    }
    let payload = layers.payload.get(..PAYLOAD_BYTES).unwrap_or(layers.payload);
    let start = Pair::from(ip.protocol) | Pair::from(layers.payload_len.swap_bytes()) << 8;
    let number = |bytes: [u8; 4]| Pair::from(u32::from_le_bytes(bytes));
    let hash = match layers.transport {
        Transport::Tcp(tcp) => {
            let numbers = number(tcp.seq.to_bytes()) << 40 | number(tcp.ack.to_bytes()) << 72;
            joined::<14>(start | numbers | Pair::from(tcp.flags() & 0x3f) << 104, payload)
        }
        Transport::Sctp(sctp) => joined::<9>(start | number(sctp.tag.to_bytes()) << 40, payload),
        _ => joined::<5>(start, payload),
    };
    Some(with_strength(hash?, has_variety(payload)))
}

/// The hash of the lowest `HEAD` bytes of `head`, 5 to 14 of them, and of the payload behind them. Always some.
#[inline(always)]
fn joined<const HEAD: usize>(head: Pair, payload: &[u8]) -> Option<u64> {
    if HEAD > 8 && payload.is_empty() {
        return Some(xxh3::short(HEAD, head));
    }
    joined_with::<HEAD>(head, payload)
}

/// [`joined`] of some bytes.
#[inline]
fn joined_with<const HEAD: usize>(head: Pair, payload: &[u8]) -> Option<u64> {
    let len = HEAD + payload.len();
    let at = |at: usize| payload.get(at..)?.first_chunk().copied().map(Pair::from_le_bytes);
    let Some(start) = at(0) else { return Some(of_few::<HEAD>(head, payload)) };
    let first = head | start << (8 * HEAD);
    // The second and third pair of the message are these of the payload.
    let (second, third) = (|| at(16 - HEAD), || at(32 - HEAD));
    Some(match len {
        65.. => {
            let tail = payload.as_rchunks().1.last_chunk()?.map(Pair::from_le_bytes);
            xxh3::medium(len, [first, second()?, third()?], tail)
        }
        33.. => {
            let second = second()?;
            let begin = match payload.len().checked_sub(32) {
                Some(begin) => at(begin)?,
                None => between(first, second, len - 32),
            };
            xxh3::medium(len, [first, second], [begin, at(payload.len() - 16)?])
        }
        _ => xxh3::medium(len, [first], [at(payload.len() - 16)?]),
    })
}

/// [`joined`] of less than 16 bytes.
#[inline]
fn of_few<const HEAD: usize>(head: Pair, payload: &[u8]) -> u64 {
    let len = HEAD + payload.len();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(payload) {
        *to = *from;
    }
    let payload = Pair::from_le_bytes(bytes);
    let (first, rest) = (head | payload << (8 * HEAD), payload >> (128 - 8 * HEAD));
    match len {
        17.. => xxh3::medium(len, [first], [between(first, rest, len - 16)]),
        9.. => xxh3::short(len, first),
        _ => xxh3_64(first.to_le_bytes().get(..len).unwrap_or_default()),
    }
}

/// Of two pairs that follow each other, the one that begins with byte `at`, 1 to 15.
#[inline]
fn between(low: Pair, high: Pair, at: usize) -> Pair {
    low >> (8 * at) | high << (128 - 8 * at)
}

/// Whether a payload has at least 16 bytes and its first 16 are not all the same.
#[inline]
fn has_variety(payload: &[u8]) -> bool {
    payload.first_chunk::<16>().is_some_and(|head| {
        let bits = u128::from_ne_bytes(*head);
        bits != bits.rotate_left(8)
    })
}

/// `flow_id` of a row with an IP packet.
#[inline]
pub(super) fn flow_id(row: &Row) -> u64 {
    flow(row.ip_version, row.protocol, (row.src, row.src_port), (row.dst, row.dst_port))
}

#[inline(always)]
fn flow(version: u8, protocol: u8, src: (Addr, u16), dst: (Addr, u16)) -> u64 {
    if version != 4 {
        return flow_v6(protocol, src, dst);
    }
    // What is not the same in all mapped addresses makes one number with the port.
    let end = |([.., a, b, c, d], port): (Addr, u16)| {
        u64::from(u32::from_be_bytes([a, b, c, d])) << 16 | u64::from(port)
    };
    let bytes = |end: u64| Pair::from(end.swap_bytes() >> 16);
    let (src, dst) = (end(src), end(dst));
    let (low, high) = (bytes(src.min(dst)), bytes(src.max(dst)));
    let mapped: Pair = 0xffff;
    let head = [Pair::from(protocol) | mapped << 88 | low << 104, low >> 24 | mapped << 104 | high << 120];
    let tail = [mapped << 48 | low << 64, mapped << 64 | high << 80];
    xxh3::medium(FLOW_BYTES, head, tail)
}

/// Bytes that a flow is hashed from: the protocol, then twice an address and a port.
const FLOW_BYTES: usize = 1 + 2 * (16 + 2);

#[inline(never)]
fn flow_v6(protocol: u8, src: (Addr, u16), dst: (Addr, u16)) -> u64 {
    // As numbers, for that is one comparison.
    let order = |(addr, port): (Addr, u16)| (u128::from_be_bytes(addr), port);
    let bytes = |(addr, port): (Addr, u16)| (Pair::from_le_bytes(addr), Pair::from(port.swap_bytes()));
    let (low, high) = if order(src) <= order(dst) { (src, dst) } else { (dst, src) };
    let ((low, low_port), (high, high_port)) = (bytes(low), bytes(high));
    let head = [Pair::from(protocol) | low << 8, low >> 120 | low_port << 8 | high << 24];
    let tail = [low >> 32 | low_port << 96 | high << 112, high >> 16 | high_port << 112];
    xxh3::medium(FLOW_BYTES, head, tail)
}

/// Community ID version 1, seed 0, of a row with an IP packet.
pub(super) fn community_id_of(row: &Row) -> CommunityId {
    let ports = row.has(Column::SrcPort).then_some((row.src_port, row.dst_port));
    community_id(row.ip_version, (row.src, row.dst), row.protocol, ports, row.icmp)
}

/// A Community ID: `1:`, and the SHA-1 in Base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommunityId([u8; 2 + 28]);

impl CommunityId {
    /// The id with this SHA-1.
    fn of(sha1: &[u8]) -> Self {
        let mut id = Self(*b"1:AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        if let Some((_, text)) = id.0.split_first_chunk_mut::<2>() {
            // There is room for 20 bytes, which these are.
            let _ = BASE64_STANDARD.encode_slice(sha1, text);
        }
        id
    }
}

impl AsRef<str> for CommunityId {
    fn as_ref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Community ID version 1, seed 0. For ICMP it is made from type and code, as its specification says.
pub(crate) fn community_id(
    ip_version: u8,
    (src, dst): (Addr, Addr),
    protocol: u8,
    ports: Option<(u16, u16)>,
    icmp: Option<[u8; 2]>,
) -> CommunityId {
    // Pairs of ICMP types that answer each other; the others are one-way.
    let (ports, one_way) = match (icmp, protocol) {
        (Some([kind, code]), 58) => {
            icmp_ports(kind, code, &[(128, 129), (133, 134), (135, 136), (130, 131), (144, 145)])
        }
        (Some([kind, code]), _) => icmp_ports(kind, code, &[(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)]),
        (None, _) => (ports, false),
    };
    let skip = if ip_version == 4 { 12 } else { 0 };
    let src = (src.get(skip..).unwrap_or_default(), ports.unwrap_or_default().0);
    let dst = (dst.get(skip..).unwrap_or_default(), ports.unwrap_or_default().1);
    let (a, b) = if one_way || src <= dst { (src, dst) } else { (dst, src) };
    let mut sha1 = Sha1::new();
    sha1.update([0, 0]);
    sha1.update(a.0);
    sha1.update(b.0);
    sha1.update([protocol, 0]);
    if ports.is_some() {
        sha1.update(a.1.to_be_bytes());
        sha1.update(b.1.to_be_bytes());
    }
    CommunityId::of(&sha1.finalize())
}

fn icmp_ports(kind: u8, code: u8, pairs: &[(u8, u8)]) -> (Option<(u16, u16)>, bool) {
    let answer = pairs.iter().find_map(|&(ask, reply)| match kind {
        _ if kind == ask => Some(reply),
        _ if kind == reply => Some(ask),
        _ => None,
    });
    (Some((kind.into(), answer.unwrap_or(code).into())), answer.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::LinkType;
    use crate::dissect::dissect;
    use crate::packets::row::Fill;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    fn ids(packet: &[u8]) -> (Ids, String) {
        let layers = dissect(LinkType::RAW, packet, packet.len() as u32);
        let mut row = Row::default();
        row.set_layers(&layers);
        (Ids::of(&layers), community_id_of(&row).as_ref().to_owned())
    }

    const UDP: &str = "45b8003c1234000040117b8ec0000201c633640213c413c6002845be7461707369676874207465737420766563746f\
        72207061796c6f61642e2e2e2e";
    const TCP: &str = "600000000078063920010db800000000000000000000000120010db800000000000000000000000201bbc350010203\
        040a0b0c0d5018faf0de0b0000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627\
        28292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f50515253545556575859\
        5a5b5c5d5e5f60616263";
    const ACK: &str = "450000280000400039065599c0000201c633640201bbc35000000001000000025010faf0039e0000";

    /// The values are those of docs/packets.md, made in Python with PyPI's xxhash and communityid.
    #[test]
    fn test_vectors() {
        for (hex, packet, payload, flow, community) in [
            (
                UDP,
                0xb32e_5691_423f_0633,
                0x052f_abb4_0d2f_3c6d,
                0x070c_5b7d_d395_d8bd,
                "1:Od06wZFxRGevyaho5RohB/RxAr8=",
            ),
            (
                TCP,
                0x3af4_eef0_3d0b_4a73,
                0xe148_c628_af62_8eab,
                0xb6bf_acb9_241d_7ad5,
                "1:UFel+zfGDXB/GhABjlRQUzVNUI8=",
            ),
            (
                ACK,
                0xc877_5145_eec0_54d8,
                0xa2ef_5f9c_b5cc_6f72,
                0x7056_8a2c_9768_3be9,
                "1:MZMcbpjZnVFG8ZjTMZyHV7Y0p1w=",
            ),
        ] {
            let (ids, id) = ids(&bytes(hex));
            assert_eq!(
                (ids.packet, ids.payload, ids.flow),
                (Some(packet), Some(payload), Some(flow)),
                "{hex}"
            );
            assert_eq!(id, community);
        }
    }

    #[test]
    fn what_routers_change_is_left_out() {
        let original = bytes(UDP);
        for (at, mask) in [(1, 0xff), (6, 0x40), (8, 0xff), (10, 0xff), (11, 0xff)] {
            let mut changed = original.clone();
            changed[at] ^= mask;
            assert_eq!(ids(&changed).0, ids(&original).0, "byte {at}");
        }
        let original = bytes(TCP);
        for (at, mask) in [(0, 0x0f), (1, 0xff), (2, 0xff), (3, 0xff), (7, 0xff)] {
            let mut changed = original.clone();
            changed[at] ^= mask;
            assert_eq!(ids(&changed).0, ids(&original).0, "byte {at}");
        }
    }

    #[test]
    fn what_identifies_is_not() {
        for hex in [UDP, TCP] {
            let original = bytes(hex);
            let v4 = original[0] >> 4 == 4;
            let (src, ports, covered) = if v4 { (12, 20, original.len()) } else { (8, 40, PACKET_BYTES) };
            for at in [src, src + 4, ports, covered - 1] {
                let mut changed = original.clone();
                changed[at] ^= 1;
                assert_ne!(ids(&changed).0.packet, ids(&original).0.packet, "byte {at}");
            }
            // Address translation changes addresses, ports and checksums, and the payload id not.
            let mut translated = original.clone();
            let checksum = if v4 { 26 } else { 56 };
            for at in [src, src + 3, ports, ports + 1, checksum] {
                translated[at] ^= 0x55;
            }
            assert_eq!(ids(&translated).0.payload, ids(&original).0.payload);
        }
    }

    #[test]
    fn both_directions_are_one_flow() {
        let original = bytes(UDP);
        let mut back = original.clone();
        for (a, b, n) in [(12, 16, 4), (20, 22, 2)] {
            for i in 0..n {
                back.swap(a + i, b + i);
            }
        }
        assert_eq!(ids(&back).0.flow, ids(&original).0.flow);
        assert_eq!(ids(&back).1, ids(&original).1);
    }

    #[test]
    fn too_little_captured_is_no_id() {
        let packet = bytes(TCP);
        let cut = |len: usize| Ids::of(&dissect(LinkType::RAW, &packet[..len], packet.len() as u32));
        assert_eq!((cut(95).packet, cut(123).payload), (None, None));
        let whole = ids(&packet).0;
        assert_eq!((cut(96).packet, cut(124).payload), (whole.packet, whole.payload));
    }

    /// The ids as the module's documentation has them, word by word.
    fn as_documented(layers: &Layers<'_>) -> Ids {
        let Some(ip) = layers.ip else { return Ids::default() };
        let mut packet = ip.packet[..ip.packet.len().min(PACKET_BYTES)].to_vec();
        let zeroed: &[usize] = if ip.version == 4 { &[1, 8, 10, 11] } else { &[0, 1, 2, 3, 7] };
        for &at in zeroed {
            packet[at] = 0;
        }
        if ip.version == 4 {
            packet[6] &= !0x40;
        }
        let payload = &layers.payload[..layers.payload.len().min(PAYLOAD_BYTES)];
        let mut start = [&[ip.protocol][..], &layers.payload_len.to_be_bytes()].concat();
        match layers.transport {
            Transport::Tcp(tcp) => {
                start.extend([tcp.seq.to_bytes(), tcp.ack.to_bytes()].concat());
                start.push((tcp.flags() & 0x3f) as u8);
            }
            Transport::Sctp(sctp) => start.extend(sctp.tag.to_bytes()),
            _ => {}
        }
        let (src_port, dst_port) = layers.ports().unwrap_or_default();
        let mut ends = [(ip.src(), src_port), (ip.dst(), dst_port)]
            .map(|(addr, port)| [&addr[..], &port.to_be_bytes()].concat());
        ends.sort();
        let id = |message: &[u8], is_strong| xxh3_64(message) & !1 | u64::from(is_strong);
        let identified = ip.id.is_some_and(|id| id != 0) || layers.payload_len > 0;
        let varies = payload.len() >= 16 && payload[..16].iter().any(|&byte| byte != payload[0]);
        let is_captured = |bytes: &[u8], covered, len| bytes.len() >= usize::min(covered, len as usize);
        Ids {
            packet: is_captured(ip.packet, PACKET_BYTES, ip.total_len)
                .then(|| id(&packet, ip.total_len >= 48 && identified)),
            payload: (ip.fragment == Fragment::Whole
                && is_captured(layers.payload, PAYLOAD_BYTES, layers.payload_len))
            .then(|| id(&[&start, payload].concat(), varies)),
            flow: Some(xxh3_64(&[&[ip.protocol][..], &ends[0], &ends[1]].concat())),
        }
    }

    proptest::proptest! {
        #[test]
        fn ids_are_as_documented(
            is_v6: bool,
            protocol in proptest::sample::select(vec![6_u8, 17, 132, 136, 89]),
            header in proptest::array::uniform32(proptest::num::u8::ANY),
            transport in proptest::array::uniform20(proptest::num::u8::ANY),
            payload in proptest::collection::vec(proptest::num::u8::ANY, 0..120),
            same: bool,
            offset in 0_u8..2,
            uncaptured in 0_usize..3,
        ) {
            let mut transport = transport.to_vec();
            match protocol {
                6 => transport[12] = 0x50,
                17 => {
                    transport.truncate(8);
                    transport[4..6].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
                }
                132 => transport.truncate(12),
                136 => transport.truncate(8),
                _ => transport.clear(),
            }
            let carried = [&transport[..], &payload].concat();
            let mut packet = if is_v6 {
                [&[0x60][..], &header, &header[..7]].concat()
            } else {
                [&[0x45][..], &header[..19]].concat()
            };
            if is_v6 {
                packet[4..6].copy_from_slice(&(carried.len() as u16).to_be_bytes());
                packet[6] = protocol;
            } else {
                packet[2..4].copy_from_slice(&(20 + carried.len() as u16).to_be_bytes());
                packet[6..8].copy_from_slice(&[0, offset]);
                packet[9] = protocol;
            }
            packet.extend(carried);
            if same {
                // Both ends are one but for their ports, and all bytes of the payload are one.
                let (at, len) = if is_v6 { (8, 16) } else { (12, 4) };
                packet.copy_within(at..at + len, at + len);
                let payload = packet.len() - payload.len();
                packet[payload..].fill(7);
            }
            let layers = dissect(LinkType::RAW, &packet[..packet.len() - uncaptured], packet.len() as u32);
            proptest::prop_assert_eq!(Ids::of(&layers), as_documented(&layers));
        }
    }
}
