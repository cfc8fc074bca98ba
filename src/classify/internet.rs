//! Signatures of what subscribers do on the internet.

use super::data::Data;

/// DNS, RFC 1035 section 4.1.1: reserved bit zero, a known operation, counts that the message has room for, a first label
/// that is one. Weak: needs its port.
pub(super) fn is_dns(data: Data) -> bool {
    is_dns_like(data, |operation| matches!(operation, 0 | 1 | 2 | 4 | 5 | 6))
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

/// QUIC: a long header (RFC 9000 section 17.2) of a version that is known, with connection ids of lengths that are
/// allowed; version negotiation (section 17.2.1) that offers one that is known; or Google's header before version 46.
/// Odds of a chance match: 2^-30.
#[inline]
pub(super) fn is_quic(data: Data) -> bool {
    let Some(first) = data.byte(0) else { return false };
    if first & 0x80 == 0 {
        // Version and connection id flags of the public header.
        return first & 0x49 == 0x09 && data.be32(9).is_some_and(is_google) && data.len >= 20;
    }
    let (Some(version), Some(dcid_len)) = (data.be32(1), data.byte(5)) else { return false };
    if version != 0 && version & 0x0f0f_0f0f != 0x0a0a_0a0a && !is_quic_version(version) {
        return false;
    }
    if is_google(version) && version <= u32::from_be_bytes(*b"Q046") {
        // Both lengths in one byte: 0 or 8.
        return matches!(dcid_len, 0x00 | 0x05 | 0x50 | 0x55) && data.len >= 20;
    }
    let dcid_len = usize::from(dcid_len);
    let Some(scid_len) = data.byte(6 + dcid_len).map(usize::from) else { return false };
    let behind = 7 + dcid_len + scid_len;
    if dcid_len > 20 || scid_len > 20 || behind >= data.len {
        return false;
    }
    match version {
        0 => {
            let offers = data.bytes.get(behind..).unwrap_or_default();
            offers.chunks_exact(4).any(|offer| {
                offer.first_chunk().is_some_and(|&offer| is_quic_version(u32::from_be_bytes(offer)))
            }) && (data.len - behind).is_multiple_of(4)
        }
        // To provoke version negotiation (section 15), in a datagram as large as a client's first (section 14.1).
        _ if version & 0x0f0f_0f0f == 0x0a0a_0a0a => first & 0x40 != 0 && dcid_len >= 8 && data.len >= 1200,
        _ => first & 0x40 != 0 && is_quic_version(version),
    }
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
pub(super) fn is_rtsp(data: Data) -> bool {
    const METHODS: [&[u8]; 12] = [
        b"OPTIONS ",
        b"DESCRIBE ",
        b"SETUP ",
        b"PLAY ",
        b"PAUSE ",
        b"TEARDOWN ",
        b"ANNOUNCE ",
        b"RECORD ",
        b"REDIRECT ",
        b"GET_PARAMETER ",
        b"SET_PARAMETER ",
        b"PLAY_NOTIFY ",
    ];
    const SCHEMES: [&[u8]; 3] = [b"rtsp:", b"rtsps:", b"rtspu:"];
    data.is_status(b"RTSP") || data.is_request(b"RTSP", &METHODS, &SCHEMES)
}

/// SSDP, UPnP Device Architecture section 1.2 and 1.3: HTTP's lines in UDP.
pub(super) fn is_ssdp(data: Data) -> bool {
    data.starts_with(b"M-SEARCH * HTTP/1.") || data.starts_with(b"NOTIFY * HTTP/1.")
}

/// SMTP, RFC 5321 section 4.1 and 4.2: a reply or a command. Weak: needs its port.
pub(super) fn is_smtp(data: Data) -> bool {
    const COMMANDS: [&[u8]; 15] = [
        b"EHLO",
        b"HELO",
        b"MAIL",
        b"RCPT",
        b"DATA",
        b"RSET",
        b"VRFY",
        b"EXPN",
        b"HELP",
        b"NOOP",
        b"QUIT",
        b"AUTH",
        b"BDAT",
        b"STARTTLS",
        b"LHLO",
    ];
    data.is_reply() || data.is_command(&COMMANDS)
}

/// POP3, RFC 1939 section 3: a status or a command. Weak: needs its port.
pub(super) fn is_pop3(data: Data) -> bool {
    const COMMANDS: [&[u8]; 14] = [
        b"USER", b"PASS", b"STAT", b"LIST", b"RETR", b"DELE", b"NOOP", b"RSET", b"QUIT", b"TOP", b"UIDL",
        b"APOP", b"CAPA", b"AUTH",
    ];
    data.starts_with(b"+OK") || data.starts_with(b"-ERR") || data.is_command(&COMMANDS)
}

/// IMAP, RFC 9051 section 2.2: untagged, continued, or a tag and a command or a state. Weak: needs its port.
pub(super) fn is_imap(data: Data) -> bool {
    const WORDS: [&[u8]; 32] = [
        b"OK",
        b"NO",
        b"BAD",
        b"APPEND",
        b"AUTHENTICATE",
        b"CAPABILITY",
        b"CHECK",
        b"CLOSE",
        b"COPY",
        b"CREATE",
        b"DELETE",
        b"ENABLE",
        b"EXAMINE",
        b"EXPUNGE",
        b"FETCH",
        b"ID",
        b"IDLE",
        b"LIST",
        b"LOGIN",
        b"LOGOUT",
        b"LSUB",
        b"NAMESPACE",
        b"NOOP",
        b"RENAME",
        b"SEARCH",
        b"SELECT",
        b"STARTTLS",
        b"STATUS",
        b"STORE",
        b"SUBSCRIBE",
        b"UID",
        b"UNSELECT",
    ];
    if data.starts_with(b"* ") || data.starts_with(b"+ ") {
        return true;
    }
    let tag = data.bytes.iter().take(32).position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'.');
    tag.is_some_and(|end| end > 0 && data.byte(end) == Some(b' ') && data.behind(end + 1).is_command(&WORDS))
}

/// MQTT CONNECT, MQTT 5.0 section 3.1 (`MQIsdp` in 3.1).
pub(super) fn is_mqtt_connect(data: Data) -> bool {
    matches!(mqtt_header(data), Some(at) if data.behind(at).starts_with(b"\0\x04MQTT") || data.behind(at).starts_with(b"\0\x06MQIsdp"))
        && data.byte(0) == Some(0x10)
}

/// Any MQTT packet, MQTT 5.0 section 2.1: type, the flags it has, a length that fits. Weak: needs its port.
pub(super) fn is_mqtt(data: Data) -> bool {
    mqtt_header(data).is_some()
        && data.byte(0).is_some_and(|first| match first >> 4 {
            0 => false,
            3 => first & 0x06 != 0x06,
            6 | 8 | 10 => first & 0x0f == 2,
            _ => first.trailing_zeros() >= 4,
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

/// BitTorrent's handshake, BEP 3, a message of its hash table, BEP 5, or of local discovery, BEP 14.
pub(super) fn is_bittorrent(data: Data) -> bool {
    data.starts_with(b"\x13BitTorrent protocol")
        || data.starts_with(b"BT-SEARCH * HTTP/1.")
        || data.starts_with(b"d1:ad2:id20:")
        || data.starts_with(b"d1:rd2:id20:")
}

/// WireGuard's handshake: type, three zero bytes, a fixed length. Odds of a chance match: 2^-30 and the length.
#[inline]
pub(super) fn is_wireguard_handshake(data: Data) -> bool {
    matches!(
        (data.bytes, data.len),
        ([1, 0, 0, 0, ..], 148) | ([2, 0, 0, 0, ..], 92) | ([3, 0, 0, 0, ..], 64)
    )
}

/// WireGuard's data: type, three zero bytes, padded to 16 bytes. Weak: needs its port.
pub(super) fn is_wireguard_data(data: Data) -> bool {
    data.starts_with(&[4, 0, 0, 0]) && data.len >= 32 && data.len.is_multiple_of(16)
}

/// The same on any port: the counter (8 bytes, little-endian) is below 2^32, as a key lives (white paper, section 6.1,
/// and two minutes). Odds of a chance match: 2^-64 and the length.
#[inline]
pub(super) fn is_wireguard_transport(data: Data) -> bool {
    is_wireguard_data(data) && data.be32(12) == Some(0)
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

/// A NetBIOS datagram, RFC 1002 section 4.4.1: type and flags. Weak: needs its port.
pub(super) fn is_netbios_datagram(data: Data) -> bool {
    matches!(data.bytes, [0x10..=0x16, flags, ..] if flags & 0xf0 == 0) && data.len >= 10
}

/// A NetBIOS session, RFC 1002 section 4.3.1: type, flags, a length that fits. Weak: needs its port.
pub(super) fn is_netbios_session(data: Data) -> bool {
    matches!(data.bytes, [0 | 0x81..=0x85, 0 | 1, ..])
        && data.be16(2).is_some_and(|length| length + 4 <= data.len)
}

/// SMB behind its NetBIOS session header: the first byte zero, a length, the protocol's magic. Odds of a chance match:
/// 2^-39.
pub(super) fn is_smb(data: Data) -> bool {
    matches!(data.bytes, [0, _, _, _, 0xfc..=0xff, b'S', b'M', b'B', ..])
}

/// RDP: TPKT (RFC 1006 section 6) with its length around X.224's connection or data. Weak: needs its port.
pub(super) fn is_rdp(data: Data) -> bool {
    matches!(data.bytes, [3, 0, _, _, _, 0xd0 | 0xe0 | 0xf0, ..])
        && data.be16(2).is_some_and(|length| (7..=data.len).contains(&length))
}
