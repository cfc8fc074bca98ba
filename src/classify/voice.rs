//! Signatures of voice: signalling, media, and what helps it through address translation.

use super::data::Data;
use crate::wire::skinny;
use crate::wire::websocket::Frame;

/// SIP, RFC 3261 section 7: a status line or a request line.
pub(super) fn is_sip(data: Data) -> bool {
    const METHODS: [&[u8]; 14] = [
        b"INVITE ",
        b"ACK ",
        b"BYE ",
        b"CANCEL ",
        b"REGISTER ",
        b"OPTIONS ",
        b"PRACK ",
        b"SUBSCRIBE ",
        b"NOTIFY ",
        b"PUBLISH ",
        b"INFO ",
        b"REFER ",
        b"MESSAGE ",
        b"UPDATE ",
    ];
    const SCHEMES: [&[u8]; 4] = [b"sip:", b"sips:", b"tel:", b"urn:"];
    data.is_status(b"SIP") || data.is_request(b"SIP", &METHODS, &SCHEMES)
}

/// SIP over WebSocket, RFC 7118: a frame (RFC 6455 section 5.2) whose payload, unmasked, begins as SIP does.
pub(super) fn is_sip_over_websocket(data: Data) -> bool {
    let Some(frame) = Frame::parse(data.bytes) else { return false };
    // Enough for a start line of most lengths.
    let mut start = [0; 256];
    let start = frame.unmask(data.bytes, &mut start);
    is_sip(Data::new(start, start.len() as u32))
}

/// An MGCP command, RFC 3435 section 3.2.1: a verb, a transaction id, an endpoint, and the version.
pub(super) fn is_mgcp_command(data: Data) -> bool {
    const VERBS: [&[u8]; 9] =
        [b"AUEP", b"AUCX", b"CRCX", b"DLCX", b"EPCF", b"MDCX", b"NTFY", b"RQNT", b"RSIP"];
    data.is_command(&VERBS)
        && data.byte(5).is_some_and(|id| id.is_ascii_digit())
        && data.line().is_some_and(|line| memchr::memmem::find(line, b" MGCP 1.").is_some())
}

/// An MGCP response, RFC 3435 section 3.2.2: a code and a transaction id. Weak: needs its port.
pub(super) fn is_mgcp_response(data: Data) -> bool {
    matches!(
        data.bytes,
        [b'0' | b'1' | b'2' | b'4' | b'5' | b'8', b'0'..=b'9', b'0'..=b'9', b' ', b'1'..=b'9', ..]
    )
}

/// Megaco in text, RFC 3525 annex B: `MEGACO/1` or `!/1`, then a message identifier in brackets.
pub(super) fn is_megaco(data: Data) -> bool {
    let version = data.bytes.strip_prefix(b"MEGACO/").or_else(|| data.bytes.strip_prefix(b"!/"));
    matches!(version, Some([b'1'..=b'9', b' ' | b'\t' | b'\r' | b'\n', b'[' | b'<', ..]))
}

/// H.225.0 call signalling, ITU-T H.225.0 section 7.2: TPKT (RFC 1006 section 6) around Q.931 with a call reference of
/// two bytes and a known message type. Odds of a chance match: 2^-53.
pub(super) fn is_h225(data: Data) -> bool {
    const MESSAGES: [u8; 13] = [0x01, 0x02, 0x03, 0x05, 0x07, 0x0d, 0x0f, 0x5a, 0x62, 0x6e, 0x75, 0x7b, 0x7d];
    matches!(data.bytes, [3, 0, _, _, 8, 2, _, _, message, ..] if MESSAGES.contains(message))
        && data.be16(2).is_some_and(|length| length >= 9 && length <= data.len)
}

/// H.245, ITU-T H.245: TPKT around the capabilities that begin a control channel, which hold the object identifier of
/// H.245 (itu-t recommendation h 245) in the encoding of ITU-T X.691. Odds of a chance match: 2^-48.
pub(super) fn is_h245(data: Data) -> bool {
    const OID: [u8; 4] = [0x00, 0x08, 0x81, 0x75];
    data.starts_with(&[3, 0])
        && data.be16(2).is_some_and(|length| length >= 12 && length <= data.len)
        && data.bytes.get(4..16).is_some_and(|head| head.windows(4).any(|window| window == OID))
}

/// RTP over a stream, RFC 4571 section 2: what a length is before.
#[inline]
pub(super) fn framed(data: Data) -> Option<Data> {
    let length = data.be16(0).filter(|length| (13..=1500).contains(length))?;
    let framed = data.behind(2);
    Some(Data { bytes: framed.bytes.get(..length).unwrap_or(framed.bytes), len: length })
}

/// Skinny: length (little-endian, of all behind the first 8 bytes), header version, message id. Weak: needs its port.
pub(super) fn is_skinny(data: Data) -> bool {
    skinny::message_len(data.bytes).is_some_and(|len| len <= data.len)
}

/// A full frame of IAX2, RFC 5456 section 8.1.1: F bit, frame type 1 to 12. Weak: needs its port.
pub(super) fn is_iax2(data: Data) -> bool {
    data.array::<12>(0).is_some_and(|header| header[0] & 0x80 != 0 && (1..=12).contains(&header[10]))
}

/// STUN, RFC 8489 section 5: two zero bits, length, magic cookie. Odds of a chance match: 2^-36 and the length.
#[inline]
pub(super) fn is_stun(data: Data) -> bool {
    data.be32(4) == Some(0x2112_a442)
        && data.byte(0).is_some_and(|first| first & 0xc0 == 0)
        && data.be16(2).is_some_and(|length| length % 4 == 0 && length + 20 <= data.len)
}

/// STUN of the first kind, RFC 3489 section 11, which has no cookie: a known message with at least one attribute, known
/// attributes only (section 11.2 and those of Microsoft's and of RFC 5389), and nothing behind them. Odds of a chance
/// match: 2^-13 (message) · 2^-16 (length) · 2^-8 for each attribute at least.
#[inline]
pub(super) fn is_stun_classic(data: Data) -> bool {
    let (Some(0x0001 | 0x0002 | 0x0101 | 0x0102 | 0x0111 | 0x0112), Some(length)) =
        (data.be16(0), data.be16(2))
    else {
        return false;
    };
    if length + 20 != data.len || !(8..=512).contains(&length) {
        return false;
    }
    let mut at = 20;
    // An attribute takes at least four bytes.
    for _ in 0..128 {
        if at == data.len {
            return true;
        }
        let (Some(0x0001..=0x000b | 0x8020 | 0x8022 | 0x8028), Some(length)) =
            (data.be16(at), data.be16(at + 2))
        else {
            return false;
        };
        at += 4 + length.next_multiple_of(4);
    }
    false
}

/// What only the port of STUN confirms: a message without the cookie (RFC 3489 section 11.1: binding or shared secret,
/// and its length), or channel data of TURN (RFC 8656 section 12.4: channel 0x4000 to 0x4FFF, and its length, padded
/// over TCP).
pub(super) fn is_stun_on_port(data: Data) -> bool {
    let (Some(kind), Some(length)) = (data.be16(0), data.be16(2)) else { return false };
    match kind {
        0x0001 | 0x0002 | 0x0101 | 0x0102 | 0x0111 | 0x0112 => length + 20 == data.len,
        0x4000..=0x4fff => (length + 4..=length + 7).contains(&data.len),
        _ => false,
    }
}

/// ZRTP, RFC 6189 section 5: a fixed first half-byte, zero, and the cookie. Odds of a chance match: 2^-40.
#[inline]
pub(super) fn is_zrtp(data: Data) -> bool {
    data.starts_with(&[0x10, 0])
        && data.be32(4) == Some(0x5a52_5450)
        && data.len >= 28
        && data.len.is_multiple_of(4)
}

/// RTCP, RFC 3550 section 6.4 and appendix A.2: version 2, type 200 to 207, and either of
///
/// - packets whose lengths add up to the datagram (of reduced size (RFC 5506) as well);
/// - a report first, whose length is that of its blocks: behind it, SRTCP (RFC 3711 section 3.4) is encrypted.
///
/// Odds of a chance match: 2^-2 (version) · 2^-5 (type) · 2^-16 (length).
#[inline]
pub(super) fn is_rtcp(data: Data) -> bool {
    let Some([first, kind]) = data.array(0) else { return false };
    if first & 0xc0 != 0x80 || !(200..=207).contains(&kind) {
        return false;
    }
    let Some(length) = data.be16(2).map(|words| 4 * (words + 1)) else { return false };
    let count = usize::from(first & 0x1f);
    let (least, is_report) = match kind {
        200 => (28 + 24 * count, true),
        201 => (8 + 24 * count, true),
        // BYE and SDES may be empty; application-defined, feedback and XR have a sender.
        202 | 203 => (4, false),
        207 => (8, false),
        _ => (12, false),
    };
    if length < least || length > data.len {
        return false;
    }
    let mut at = length;
    while at < data.len {
        match data.array::<4>(at) {
            Some([first, 192..=223, hi, lo]) if first & 0xc0 == 0x80 => {
                at += 4 * (usize::from(u16::from_be_bytes([hi, lo])) + 1);
            }
            _ => break,
        }
    }
    at == data.len || (is_report && length == least && data.len - length >= 4)
}

/// Whether a datagram at an announced endpoint is RTCP rather than RTP, RFC 5761 section 4.
#[inline]
pub(super) fn is_rtcp_at_endpoint(data: Data) -> bool {
    matches!(data.bytes, [first, 192..=223, ..] if first & 0xc0 == 0x80) && data.len >= 8
}

/// Sequence number and SSRC if a datagram could be RTP by its header, RFC 3550 section 5.1. One in six datagrams of
/// random bytes passes, so this alone proves nothing.
#[inline(always)]
pub(super) fn rtp_header(data: Data) -> Option<(u16, u32)> {
    let [first, second, sequence @ .., _, _, _, _, a, b, c, d] = data.array::<12>(0)?;
    // Types 35 to 95 are not assigned (RFC 3551 section 6), of which 72 to 76 would be RTCP.
    if first & 0xc0 != 0x80 || matches!(second & 0x7f, 35..=95) {
        return None;
    }
    let mut len = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        len += 4 + 4 * data.be16(len + 2).unwrap_or_default();
    }
    (len <= data.len).then_some((u16::from_be_bytes(sequence), u32::from_be_bytes([a, b, c, d])))
}

/// T.38 over UDPTL, ITU-T T.38 section 9.1: a sequence number, a primary packet of a length that fits, then the kind of
/// error recovery (one bit). Weak: only for announced endpoints.
pub(super) fn is_udptl(data: Data) -> bool {
    let Some(first) = data.byte(2) else { return false };
    let end = match first {
        0..0x80 => 3 + usize::from(first),
        // A length of two bytes (ITU-T X.691 section 11.9).
        0x80..0xc0 => match data.byte(3) {
            Some(second) => 4 + (usize::from(first & 0x3f) << 8 | usize::from(second)),
            None => return false,
        },
        _ => return false,
    };
    first > 0 && end + 2 <= data.len && data.byte(end).is_none_or(|recovery| matches!(recovery, 0 | 0x80))
}
