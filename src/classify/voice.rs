//! Signatures of voice: signalling, media, and what helps it through address translation.

use super::{App, be16, be32};

/// SIP over UDP or TCP, RFC 3261 section 7: a status line, or a method followed by a URI of a telephony scheme.
#[inline]
pub(super) fn is_sip(payload: &[u8]) -> bool {
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
    if !payload.first().is_some_and(u8::is_ascii_uppercase) {
        return false;
    }
    payload.starts_with(b"SIP/2.0 ")
        || METHODS.iter().any(|method| {
            payload.strip_prefix(*method).is_some_and(|uri| {
                [&b"sip:"[..], b"sips:", b"tel:", b"urn:", b"im:", b"pres:"]
                    .iter()
                    .any(|scheme| uri.starts_with(scheme))
            })
        })
}

/// MGCP, RFC 3435 section 3.2: a verb of four letters with the version at the end of the line; responses begin with a
/// code and a transaction id, which needs the port as well.
pub(super) fn is_mgcp(payload: &[u8], on_port: bool) -> bool {
    const VERBS: [&[u8]; 9] =
        [b"AUEP ", b"AUCX ", b"CRCX ", b"DLCX ", b"EPCF ", b"MDCX ", b"NTFY ", b"RQNT ", b"RSIP "];
    let line = payload.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let verb =
        VERBS.iter().any(|verb| line.starts_with(verb)) && memchr::memmem::find(line, b"MGCP 1.0").is_some();
    let response = on_port
        && matches!(line, [a, b, c, b' ', d, ..]
            if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()));
    verb || response
}

/// Megaco in text, H.248.1 annex B: `MEGACO/` or its short form `!/` and a version.
pub(super) fn is_megaco(payload: &[u8]) -> bool {
    payload.starts_with(b"MEGACO/")
        || matches!(payload, [b'!', b'/', version, b' ' | b'\r' | b'\n', ..] if version.is_ascii_digit())
}

/// A call signalling message, H.225.0: TPKT (RFC 1006 section 6) around Q.931.
pub(super) fn is_h225(payload: &[u8], len: u32) -> bool {
    matches!(payload, [3, 0, hi, lo, 8, 2, ..] if u32::from(u16::from_be_bytes([*hi, *lo])) <= len.max(4))
}

/// Skinny: length (little-endian, of all behind the first 8 bytes), header version, message id.
pub(super) fn is_skinny(payload: &[u8], len: u32) -> bool {
    let le32 = |at: usize| {
        payload.get(at..).and_then(|rest| rest.first_chunk()).map(|&bytes| u32::from_le_bytes(bytes))
    };
    let (Some(length), Some(version), Some(message)) = (le32(0), le32(4), le32(8)) else { return false };
    (4..=2000).contains(&length) && length + 8 <= len && version <= 0x20 && message < 0x1_0000
}

/// A full frame of IAX2, RFC 5456 section 8.1.1: F bit, types 1 to 12; or a short one, which only the port tells.
pub(super) fn is_iax2(payload: &[u8]) -> bool {
    matches!(payload, [source, _, _, _, _, _, _, _, _, _, kind, _, ..] if source & 0x80 != 0 && (1..=12).contains(kind))
}

/// STUN, RFC 8489 section 5: two zero bits, length, magic cookie. A chance match has odds of 2^-50.
#[inline]
pub(super) fn is_stun(payload: &[u8], len: u32) -> bool {
    be32(payload, 4) == Some(0x2112_a442)
        && payload.first().is_some_and(|first| first & 0xc0 == 0)
        && be16(payload, 2).is_some_and(|length| length % 4 == 0 && u32::from(length) + 20 <= len)
}

/// TURN channel data, RFC 8656 section 12.4: channel 0x4000 to 0x4FFF and a length that fits.
pub(super) fn is_channel_data(payload: &[u8], len: u32) -> bool {
    be16(payload, 0).is_some_and(|channel| channel >> 12 == 4)
        && be16(payload, 2)
            .is_some_and(|length| (u32::from(length) + 4..=u32::from(length) + 7).contains(&len))
}

/// ZRTP, RFC 6189 section 5: a fixed first half-byte and the cookie `ZRTP`.
#[inline]
pub(super) fn is_zrtp(payload: &[u8]) -> bool {
    matches!(payload, [0x10, _, _, _, b'Z', b'R', b'T', b'P', ..])
}

/// RTCP, RFC 3550 section 6.4 and appendix A.2: version 2, a packet type of 200 to 207, and lengths that add up to the
/// datagram. Reports come first unless the size is reduced (RFC 5506), so other types alone need a length that fits too.
/// SRTCP (RFC 3711) appends an index and a tag, so there the first packet has to fit, be a report and leave at
/// least 4 and at most 20 bytes. Odds of a chance match: 2^-2 (version) · 2^-5 (type) · 2^-16 (length).
#[inline]
pub(super) fn is_rtcp(payload: &[u8], len: u32) -> bool {
    let Some(&[first, kind, ..]) = payload.first_chunk::<4>() else { return false };
    if first & 0xc0 != 0x80 || !(200..=207).contains(&kind) {
        return false;
    }
    let mut at = 0;
    let mut packets = 0;
    while at < len as usize {
        let Some(&[first, kind, hi, lo]) = payload.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
            break;
        };
        if first & 0xc0 != 0x80 || !(192..=223).contains(&kind) {
            break;
        }
        at += 4 * (usize::from(u16::from_be_bytes([hi, lo])) + 1);
        packets += 1;
    }
    let left = i64::from(len) - at as i64;
    left == 0 || (packets > 0 && matches!(kind, 200 | 201) && (4..=20).contains(&left))
        // Behind the first packet all is encrypted in SRTCP, so its length alone says little.
        || (packets > 0 && matches!(kind, 200 | 201) && left > 0 && is_report_len(payload))
}

/// Whether the length of a sender or receiver report agrees with its count of report blocks (24 bytes each).
fn is_report_len(payload: &[u8]) -> bool {
    let Some(&[first, kind, hi, lo]) = payload.first_chunk::<4>() else { return false };
    let blocks = u32::from(first & 0x1f);
    let fixed = if kind == 200 { 28 } else { 8 };
    (u32::from(u16::from_be_bytes([hi, lo])) + 1) * 4 == fixed + 24 * blocks
}

/// Whether a datagram could be RTP by its header alone, RFC 3550 section 5.1: (sequence number, SSRC). About one in seven
/// datagrams of random bytes passes, so this proves nothing by itself.
#[inline]
pub(super) fn rtp_header(payload: &[u8], len: u32) -> Option<(u16, u32)> {
    let &[first, second, ..] = payload.first_chunk::<12>()?;
    let kind = second & 0x7f;
    // 72 to 76 would be RTCP; 35 to 95 are not assigned (RFC 3551 section 6).
    let is_rtp = first & 0xc0 == 0x80 && (kind <= 34 || kind >= 96);
    let sources = u32::from(first & 0x0f);
    let extension = if first & 0x10 == 0 { 0 } else { 4 };
    let fits = 12 + 4 * sources + extension <= len;
    (is_rtp && fits).then_some((be16(payload, 2)?, be32(payload, 8)?))
}

/// T.38 over UDPTL: a sequence number, then a primary packet whose length fits. Weak: only for announced endpoints.
pub(super) fn is_udptl(payload: &[u8], len: u32) -> bool {
    payload.get(2).is_some_and(|&primary| u32::from(primary) + 3 <= len)
}

/// What a UDP datagram is by signature, on any port.
#[inline]
pub(super) fn udp(payload: &[u8], len: u32) -> Option<App> {
    // By the first byte, as RFC 7983 section 7 divides it.
    match payload.first()? {
        0..=3 if is_stun(payload, len) => Some(App::Stun),
        0x10 if is_zrtp(payload) => Some(App::Zrtp),
        128..=191 if is_rtcp(payload, len) => Some(App::Rtcp),
        b'A'..=b'Z' if is_sip(payload) => Some(App::Sip),
        b'A'..=b'Z' if is_mgcp(payload, false) => Some(App::Mgcp),
        b'M' | b'!' if is_megaco(payload) => Some(App::Megaco),
        _ => None,
    }
}
