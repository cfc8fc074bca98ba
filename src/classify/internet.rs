//! Signatures of what subscribers do on the internet.

use super::data::Data;

/// DNS, RFC 1035 section 4.1.1: reserved bit zero, a known operation, counts that the message has room for. Weak: needs its port.
pub(super) fn is_dns(payload: &[u8], len: u32) -> bool {
    let Some(&[_, _, flags, codes, header @ ..]) = payload.first_chunk::<12>() else { return false };
    let operation = flags >> 3 & 0x0f;
    let counts: u32 = header.chunks_exact(2).filter_map(|count| be16(count, 0)).map(u32::from).sum();
    matches!(operation, 0 | 1 | 2 | 4 | 5)
        && codes & 0x40 == 0
        && counts > 0
        && 12 + 5 * counts <= len.max(17)
}

/// The NetBIOS name service, RFC 1002 section 4.2.1, in the format of DNS. Weak: needs its port.
pub(super) fn is_netbios_name(data: Data) -> bool {
    is_dns_like(data, |operation| matches!(operation, 0 | 5..=9 | 15))
}

fn is_dns_like(data: Data, is_operation: impl Fn(u8) -> bool) -> bool {
    let Some([_, _, flags, codes, q0, q1, a0, a1, n0, n1, r0, r1]) = data.array(0) else { return false };
    let count = |hi, lo| usize::from(u16::from_be_bytes([hi, lo]));
    let questions = count(q0, q1);
    let records = count(a0, a1) + count(n0, n1) + count(r0, r1);
    let is_response = flags & 0x80 != 0;
    is_operation(flags >> 3 & 0x0f)
        && codes & 0x40 == 0
        // The shortest question has 5 bytes, the shortest record 11. Errors may come without any.
        && 12 + 5 * questions + 11 * records <= data.len
        && (questions + records > 0 || (is_response && data.len == 12))
        && (questions == 0 || data.byte(12).is_none_or(|label| label < 64))
}

/// DNS over TCP, RFC 1035 section 4.2.2: a length first. Weak: needs its port.
pub(super) fn is_dns_over_tcp(data: Data) -> bool {
    // The message may go on in the next segment.
    data.be16(0).is_some_and(|length| length >= 12 && is_dns(Data { len: length, ..data.behind(2) }))
}

/// A TLS record, RFC 8446 section 5.1: known type, version 3.0 to 3.4, a length that the standard allows (RFC 5246 section
/// 6.2.3 for the most). Odds of a chance match: 2^-21.
#[inline]
pub(super) fn is_tls(data: Data) -> bool {
    let Some([kind @ 20..=23, 3, 0..=4, hi, lo]) = data.array(0) else { return false };
    let length = u16::from_be_bytes([hi, lo]);
    match kind {
        20 => length == 1 && data.byte(5) == Some(1),
        // Two bytes in the clear; encrypted, with a nonce and a tag.
        21 => length == 2 || (16..=64).contains(&length),
        _ => (4..=16_384 + 2048).contains(&length),
    }
}

/// A DTLS record, RFC 6347 section 4.1 and RFC 9147 section 4.1: known type, version, a length that fits. Odds of a chance
/// match: 2^-21 and the length.
#[inline]
pub(super) fn is_dtls(data: Data) -> bool {
    // Version 1.0 in one's complement was preceded by one of OpenSSL's that was not: 0x0100.
    matches!(data.bytes, [20..=26, 0xfe, 0xfd | 0xff, ..] | [20..=26, 0x01, 0x00, ..])
        && data.be16(11).is_some_and(|length| length > 0 && length + 13 <= data.len)
}

/// A long header of QUIC, RFC 9000 section 17.2: a version that is known (1, 2 (RFC 9369), negotiation, drafts, Google's)
/// and connection ids of lengths that are allowed.
pub(super) fn is_quic(payload: &[u8]) -> bool {
    let Some(&first) = payload.first() else { return false };
    let Some(version) = be32(payload, 1) else { return false };
    let known = match version {
        1 | 0x6b33_43cf => first & 0x40 != 0,
        0 => true,
        // Drafts; Google's, as the text Q043 and the like; Facebook's mvfst.
        _ => {
            version >> 8 == 0xff_0000
                || matches!(version >> 24, 0x51 | 0x54) && is_google(version)
                || version >> 16 == 0xface
        }
    };
    let Some(&dcid_len) = payload.get(5) else { return false };
    let scid_len = payload.get(6 + usize::from(dcid_len));
    // Google's before version 46 packed both lengths into one byte.
    first & 0x80 != 0
        && known
        && (is_google(version) || (dcid_len <= 20 && scid_len.is_some_and(|&len| len <= 20)))
}

/// Version 1 and 2 (RFC 9369), drafts, Meta's, Google's.
fn is_quic_version(version: u32) -> bool {
    matches!(version, 1 | 0x6b33_43cf | 0xff00_0001..=0xff00_0022 | 0xface_b000..=0xface_b00f)
        || is_google(version)
}

/// Versions that are text, such as Q043 and T051.
fn is_google(version: u32) -> bool {
    matches!(version.to_be_bytes(), [b'Q' | b'T', b'0', b'0'..=b'9', b'0'..=b'9'])
}

/// HTTP/1, RFC 9112 section 3 and 4, and the preface of HTTP/2, RFC 9113 section 3.4.
pub(super) fn is_http(data: Data) -> bool {
    const METHODS: [&[u8]; 10] = [
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"PUT ",
        b"DELETE ",
        b"OPTIONS ",
        b"CONNECT ",
        b"PATCH ",
        b"TRACE ",
        b"PROPFIND ",
    ];
    const SCHEMES: [&[u8]; 3] = [b"/", b"http://", b"https://"];
    data.is_status(b"HTTP")
        || data.is_request(b"HTTP", &METHODS, &SCHEMES)
        || data.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n")
}

/// RTSP, RFC 7826 section 20 (and RFC 2326 section 6).
pub(super) fn is_rtsp(payload: &[u8]) -> bool {
    const METHODS: [&[u8]; 8] = [
        b"DESCRIBE ",
        b"SETUP ",
        b"PLAY ",
        b"PAUSE ",
        b"TEARDOWN ",
        b"OPTIONS ",
        b"ANNOUNCE ",
        b"GET_PARAMETER ",
    ];
    payload.starts_with(b"RTSP/")
        || METHODS.iter().any(|method| {
            payload
                .strip_prefix(*method)
                .is_some_and(|uri| uri.starts_with(b"rtsp") || uri.starts_with(b"* RTSP"))
        })
}

/// Where the variable header of an MQTT packet begins, if its length fits the segment.
fn mqtt_header(data: Data) -> Option<usize> {
    let mut length = 0;
    for at in 1..=4 {
        let byte = data.byte(at)?;
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return (at + 1 + length <= data.len).then_some(at + 1);
        }
    }
    None
}

/// BitTorrent's handshake, BEP 3, or a message of its hash table, BEP 5.
pub(super) fn is_bittorrent(data: Data) -> bool {
    data.starts_with(b"\x13BitTorrent protocol")
        || data.starts_with(b"d1:ad2:id20:")
        || data.starts_with(b"d1:rd2:id20:")
}

/// MQTT CONNECT, MQTT 5.0 section 3.1.
pub(super) fn is_mqtt(payload: &[u8]) -> bool {
    payload.first() == Some(&0x10)
        && (2..=5).any(|at| {
            payload
                .get(at..)
                .is_some_and(|rest| rest.starts_with(b"\0\x04MQTT") || rest.starts_with(b"\0\x06MQIsdp"))
        })
}

/// WireGuard's data: type, three zero bytes, padded to 16 bytes. Weak: needs its port.
pub(super) fn is_wireguard_data(data: Data) -> bool {
    data.starts_with(&[4, 0, 0, 0]) && data.len >= 32 && data.len.is_multiple_of(16)
}

/// OpenVPN: a hard reset of the first key, which is short. Weak: needs its port.
pub(super) fn is_openvpn(data: Data) -> bool {
    // Operations 7, 8 and 10 (5 bits), key 0 (3 bits); then a session id, and a count or a digest.
    matches!(data.byte(0), Some(0x38 | 0x40 | 0x50)) && (14..=128).contains(&data.len)
}

/// OpenVPN over TCP: a length first. Weak: needs its port.
pub(super) fn is_openvpn_over_tcp(data: Data) -> bool {
    data.be16(0) == Some(data.len.saturating_sub(2)) && is_openvpn(data.behind(2))
}

/// IKE, RFC 7296 section 3.1 and RFC 2408 section 3.1: an initiator, version 1 or 2, a known exchange, and its own
/// length; or a single 0xFF that keeps an address translation alive (RFC 3948 section 2.3). Weak: needs its port.
pub(super) fn is_ike(data: Data) -> bool {
    // Four zero bytes tell it from ESP on port 4500 (RFC 3948 section 2.2).
    let message = if data.starts_with(&[0; 4]) { data.behind(4) } else { data };
    let exchange = match message.array(17) {
        Some([0x10, exchange]) => matches!(exchange, 1..=6 | 32 | 33),
        Some([0x20, exchange]) => matches!(exchange, 34..=44),
        _ => false,
    };
    (exchange && message.be32(24).is_some_and(|length| length as usize == message.len))
        || (data.bytes == [0xff] && data.len == 1)
}

/// L2TP version 2 (RFC 2661 section 3.1) or 3 (RFC 3931 section 4.1.2): reserved bits zero, flags that go together, its
/// own length if it has one. Weak: needs its port.
pub(super) fn is_l2tp(data: Data) -> bool {
    let Some([flags, version @ (2 | 3)]) = data.array(0) else { return false };
    let (is_control, has_length) = (flags & 0x80 != 0, flags & 0x40 != 0);
    flags & 0x34 == 0
        && (!is_control || flags & 0x4b == 0x48)
        && (version == 2 || is_control || flags == 0)
        && (!has_length || data.be16(2).is_some_and(|length| length >= 6 && length <= data.len))
}

/// PPTP's control connection, RFC 2637 section 2: its own length, type, magic cookie. Odds of a chance match: 2^-47 and
/// the length.
pub(super) fn is_pptp(data: Data) -> bool {
    data.be32(4) == Some(0x1a2b_3c4d)
        && matches!(data.be16(2), Some(1 | 2))
        && data.be16(0).is_some_and(|length| (12..=data.len).contains(&length))
}

/// What a UDP datagram is by signature, on any port.
#[inline]
pub(super) fn udp(payload: &[u8], len: u32) -> Option<App> {
    match payload.first()? {
        1..=3 if is_wireguard(payload, len, false) => Some(App::WireGuard),
        20..=25 if is_dtls(payload, len) => Some(App::Dtls),
        0x80.. if is_quic(payload) => Some(App::Quic),
        b'd' if payload.starts_with(b"d1:ad2:id20:") || payload.starts_with(b"d1:rd2:id20:") => {
            Some(App::BitTorrent)
        }
        b'M' | b'N'
            if payload.starts_with(b"M-SEARCH * HTTP/1.1") || payload.starts_with(b"NOTIFY * HTTP/1.1") =>
        {
            Some(App::Ssdp)
        }
        _ => None,
    }
}
