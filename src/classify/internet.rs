//! Signatures of what subscribers do on the internet.

use super::{App, be16, be32};

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

/// DNS over TCP, RFC 1035 section 4.2.2: a length first.
pub(super) fn is_dns_over_tcp(payload: &[u8], len: u32) -> bool {
    be16(payload, 0).is_some_and(|length| length >= 12)
        && payload.get(2..).is_some_and(|message| is_dns(message, len.saturating_sub(2)))
}

/// A TLS record, RFC 8446 section 5.1: known type, version 3.0 to 3.4, a length that the standard allows. For handshakes
/// the message type has to be known as well. Odds of a chance match: about 2^-25.
pub(super) fn is_tls(payload: &[u8]) -> bool {
    let Some(&[kind, 3, minor, hi, lo]) = payload.first_chunk::<5>() else { return false };
    let length = u16::from_be_bytes([hi, lo]);
    let fits = match kind {
        20 => length == 1,
        // Two bytes in the clear; encrypted, with a nonce and a tag.
        21 => length == 2 || (16..=64).contains(&length),
        22 => payload.get(5).is_none_or(|message| matches!(message, 0..=24) || length > 16),
        23 => length > 0,
        _ => false,
    };
    fits && minor <= 4 && length <= 16384 + 2048
}

/// A DTLS record, RFC 6347 section 4.1 and RFC 9147 section 4: known type, version, a length that fits.
pub(super) fn is_dtls(payload: &[u8], len: u32) -> bool {
    let Some(&[kind, major, minor]) = payload.first_chunk::<3>() else { return false };
    let fits = be16(payload, 11).is_some_and(|length| length > 0 && u32::from(length) + 13 <= len);
    (20..=25).contains(&kind) && matches!((major, minor), (0xfe, 0xfd | 0xff) | (1, 0)) && fits
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

fn is_google(version: u32) -> bool {
    let [letter, digits @ ..] = version.to_be_bytes();
    matches!(letter, b'Q' | b'T') && digits.iter().all(u8::is_ascii_digit)
}

/// HTTP/1, RFC 9112 section 2.1 and 3, and the preface of HTTP/2, RFC 9113 section 3.4.
pub(super) fn is_http(payload: &[u8]) -> bool {
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
    let line = payload.get(..payload.len().min(2048)).unwrap_or_default();
    payload.starts_with(b"HTTP/1.")
        || payload.starts_with(b"PRI * HTTP/2.0")
        || METHODS.iter().any(|method| {
            line.strip_prefix(*method).is_some_and(|target| {
                target.first().is_some_and(|&first| first == b'/')
                    || target.starts_with(b"http")
                    || memchr::memmem::find(target, b" HTTP/1.").is_some()
            })
        })
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

/// A line of a protocol that talks in lines: a reply code or a word in capitals. Weak: needs its port.
pub(super) fn is_command_line(payload: &[u8]) -> bool {
    match payload {
        [a, b, c, b' ' | b'-', ..] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()) => true,
        [a, b, c, ..] => [a, b, c].iter().all(|letter| letter.is_ascii_alphabetic()),
        _ => false,
    }
}

/// A line of IMAP (RFC 9051 section 2.2: tag or `*`) or POP3 (RFC 1939 section 3: `+OK`, `-ERR`, a command). Weak.
pub(super) fn is_mail_line(payload: &[u8]) -> bool {
    payload.starts_with(b"* ")
        || payload.starts_with(b"+")
        || payload.starts_with(b"-ERR")
        || payload.first_chunk::<3>().is_some_and(|head| head.iter().all(u8::is_ascii_alphanumeric))
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

/// WireGuard: type, three zero bytes, and for all but data a fixed length. Odds of a chance match: 2^-32 and the length.
pub(super) fn is_wireguard(payload: &[u8], len: u32, on_port: bool) -> bool {
    let Some(&[kind, 0, 0, 0]) = payload.first_chunk::<4>() else { return false };
    match kind {
        1 => len == 148,
        2 => len == 92,
        3 => len == 64,
        4 => on_port && len >= 32 && len % 16 == 0,
        _ => false,
    }
}

/// IKE, RFC 7296 section 3.1: version 1 or 2 and a length that fits; behind four zero bytes on port 4500 (RFC 3948).
pub(super) fn is_ike(payload: &[u8], len: u32) -> bool {
    let at = |payload: &[u8], len: u32| {
        payload.get(17).is_some_and(|version| matches!(version, 0x10 | 0x20))
            && be32(payload, 24).is_some_and(|length| length == len)
    };
    at(payload, len)
        || payload.strip_prefix(&[0, 0, 0, 0]).is_some_and(|behind| at(behind, len.saturating_sub(4)))
}

/// SMB behind its NetBIOS session header (RFC 1002 section 4.3.1).
pub(super) fn is_smb(payload: &[u8]) -> bool {
    payload.get(4..8).is_some_and(|magic| matches!(magic, b"\xffSMB" | b"\xfeSMB" | b"\xfdSMB"))
}

/// What a TCP segment is by signature, on any port.
#[inline]
pub(super) fn tcp(payload: &[u8]) -> Option<App> {
    match payload.first()? {
        20..=23 if is_tls(payload) => Some(App::Tls),
        b'A'..=b'Z' => {
            if super::voice::is_sip(payload) {
                Some(App::Sip)
            } else if is_rtsp(payload) {
                Some(App::Rtsp)
            } else if is_http(payload) {
                Some(App::Http)
            } else if payload.starts_with(b"SSH-") {
                Some(App::Ssh)
            } else {
                None
            }
        }
        0x13 if payload.starts_with(b"\x13BitTorrent protocol") => Some(App::BitTorrent),
        0x10 if is_mqtt(payload) => Some(App::Mqtt),
        0xff if payload.starts_with(&[0xff; 16]) && super::routing::is_bgp(payload) => Some(App::Bgp),
        0 if is_smb(payload) => Some(App::Smb),
        b'!' if super::voice::is_megaco(payload) => Some(App::Megaco),
        _ => None,
    }
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
