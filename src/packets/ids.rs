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
    #[inline]
    pub fn of(layers: &Layers<'_>) -> Self {
        let Some(ip) = &layers.ip else { return Self::default() };
        Self {
            packet: packet_id(ip, layers.payload_len),
            payload: payload_id(ip, layers),
            flow: Some({
                let (src_port, dst_port) = layers.ports().unwrap_or_default();
                flow(ip.protocol, (ip.src(), src_port), (ip.dst(), dst_port))
            }),
        }
    }
}

/// Sets the ids of a row, which has these layers.
#[inline]
pub(super) fn set(row: &mut Row, layers: &Layers<'_>) {
    if let Some(ip) = &layers.ip {
        let flow = flow_id(row);
        row.set_ids(packet_id(ip, layers.payload_len), payload_id(ip, layers), flow);
    }
}

/// Sets `payload_head` of a row, which has these layers.
#[inline]
pub(super) fn set_head(row: &mut Row, layers: &Layers<'_>) {
    let whole = layers.ip.is_some_and(|ip| ip.fragment == Fragment::Whole);
    row.set_payload_head(
        layers.payload.first_chunk::<HEAD_BYTES>().filter(|_| whole).map(|head| xxh3_64(head)),
    );
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

#[inline]
fn packet_id(ip: &Ip<'_>, payload_len: u32) -> Option<u64> {
    // Most packets fill the array, and are hashed as what it is: its length is known when this is compiled.
    let hash = if let Some(&(mut message)) = ip.packet.first_chunk::<PACKET_BYTES>() {
        clear(&mut message, ip.version);
        xxh3_64(&message)
    } else {
        let len = ip.packet.len();
        if len < PACKET_BYTES.min(ip.total_len as usize) {
            return None;
        }
        let mut message = [0; PACKET_BYTES];
        let message = message.get_mut(..len)?;
        message.copy_from_slice(ip.packet);
        clear(message, ip.version);
        xxh3_64(message)
    };
    let identified = ip.id.is_some_and(|id| id != 0);
    Some(with_strength(hash, ip.total_len >= 48 && (identified || payload_len > 0)))
}

/// Sets to zero what routers change.
#[inline]
fn clear(packet: &mut [u8], version: u8) {
    if let (4, Some(header)) = (version, packet.first_chunk_mut::<12>()) {
        (header[1], header[8], header[10], header[11]) = (0, 0, 0, 0);
        header[6] &= !0x40;
    } else if let Some(header) = packet.first_chunk_mut::<8>() {
        header[..4].fill(0);
        header[7] = 0;
    }
}

#[inline]
fn payload_id(ip: &Ip<'_>, layers: &Layers<'_>) -> Option<u64> {
    let captured = layers.payload.len();
    if ip.fragment != Fragment::Whole || captured < PAYLOAD_BYTES.min(layers.payload_len as usize) {
        return None;
    }
    let payload = layers.payload.get(..PAYLOAD_BYTES).unwrap_or(layers.payload);
    let [a, b, c, d] = layers.payload_len.to_be_bytes();
    let start = [ip.protocol, a, b, c, d];
    let hash = match layers.transport {
        Transport::Tcp(tcp) => {
            let mut head = [0; 14];
            head[..5].copy_from_slice(&start);
            head[5..9].copy_from_slice(&tcp.seq.to_bytes());
            head[9..13].copy_from_slice(&tcp.ack.to_bytes());
            head[13] = (tcp.flags() & 0x3f) as u8;
            joined::<14, { 14 + PAYLOAD_BYTES }>(head, payload)
        }
        Transport::Sctp(sctp) => {
            let mut head = [0; 9];
            head[..5].copy_from_slice(&start);
            head[5..].copy_from_slice(&sctp.tag.to_bytes());
            joined::<9, { 9 + PAYLOAD_BYTES }>(head, payload)
        }
        _ => joined::<5, { 5 + PAYLOAD_BYTES }>(start, payload),
    };
    Some(with_strength(hash, has_variety(payload)))
}

/// The hash of `head` and the payload behind it, `N` bytes at the most.
#[inline]
fn joined<const HEAD: usize, const N: usize>(head: [u8; HEAD], payload: &[u8]) -> u64 {
    let mut message = [0; N];
    let (start, rest) = message.split_at_mut(HEAD);
    start.copy_from_slice(&head);
    // As in packet_id: a length that is known is hashed faster.
    if let (Ok(rest), Some(payload)) =
        (<&mut [u8; PAYLOAD_BYTES]>::try_from(&mut *rest), payload.first_chunk::<PAYLOAD_BYTES>())
    {
        *rest = *payload;
        return xxh3_64(&message);
    }
    let len = payload.len().min(rest.len());
    if let (Some(rest), Some(payload)) = (rest.get_mut(..len), payload.get(..len)) {
        rest.copy_from_slice(payload);
    }
    xxh3_64(message.get(..HEAD + len).unwrap_or_default())
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
    flow(row.protocol, (row.src, row.src_port), (row.dst, row.dst_port))
}

#[inline]
fn flow(protocol: u8, src: (Addr, u16), dst: (Addr, u16)) -> u64 {
    // As numbers, for that is one comparison.
    let order = |(addr, port): (Addr, u16)| (u128::from_be_bytes(addr), port);
    let (low, high) = if order(src) <= order(dst) { (src, dst) } else { (dst, src) };
    let mut message = [0; 37];
    message[0] = protocol;
    message[1..17].copy_from_slice(&low.0);
    message[17..19].copy_from_slice(&low.1.to_be_bytes());
    message[19..35].copy_from_slice(&high.0);
    message[35..].copy_from_slice(&high.1.to_be_bytes());
    xxh3_64(&message)
}

/// Community ID version 1, seed 0, of a row with an IP packet. For ICMP it is made from type and code, as its
/// specification says.
pub(super) fn community_id(row: &Row) -> String {
    // Pairs of ICMP types that answer each other; the others are one-way.
    let (ports, one_way) = match (row.icmp, row.protocol) {
        (Some([kind, code]), 58) => {
            icmp_ports(kind, code, &[(128, 129), (133, 134), (135, 136), (130, 131), (144, 145)])
        }
        (Some([kind, code]), _) => icmp_ports(kind, code, &[(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)]),
        (None, _) => (row.has(Column::SrcPort).then_some((row.src_port, row.dst_port)), false),
    };
    let skip = if row.ip_version == 4 { 12 } else { 0 };
    let src = (row.src.get(skip..).unwrap_or_default(), ports.unwrap_or_default().0);
    let dst = (row.dst.get(skip..).unwrap_or_default(), ports.unwrap_or_default().1);
    let (a, b) = if one_way || src <= dst { (src, dst) } else { (dst, src) };
    let mut sha1 = Sha1::new();
    sha1.update([0, 0]);
    sha1.update(a.0);
    sha1.update(b.0);
    sha1.update([row.protocol, 0]);
    if ports.is_some() {
        sha1.update(a.1.to_be_bytes());
        sha1.update(b.1.to_be_bytes());
    }
    format!("1:{}", BASE64_STANDARD.encode(sha1.finalize()))
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

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    fn ids(packet: &[u8]) -> (Ids, String) {
        let layers = dissect(LinkType::RAW, packet, packet.len() as u32);
        let mut row = Row::default();
        row.set_layers(&layers);
        (Ids::of(&layers), community_id(&row))
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
}
