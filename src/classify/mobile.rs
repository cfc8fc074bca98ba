//! Signatures of mobile signalling: SS7 over IP, Diameter, GTP, PFCP.

use super::{App, be16, be32};
use crate::wire::sctp;

/// What the first DATA chunk of an SCTP packet carries, by its payload protocol identifier (IANA SCTP Parameters).
pub(super) fn sctp(chunks: &[u8]) -> Option<App> {
    sctp::chunks(chunks).find_map(|chunk| chunk.payload_protocol()).and_then(|ppid| {
        Some(match ppid {
            2 => App::M2ua,
            3 => App::M3ua,
            4 => App::Sua,
            5 => App::M2pa,
            7 => App::Megaco,
            18 => App::S1ap,
            27 => App::X2ap,
            46 | 47 => App::Diameter,
            60 => App::Ngap,
            _ => return None,
        })
    })
}

/// Diameter, RFC 6733 section 3: version 1, a length in units of 4 bytes, reserved flags zero.
pub(super) fn is_diameter(payload: &[u8]) -> bool {
    let Some(first) = be32(payload, 0) else { return false };
    let length = first & 0x00ff_ffff;
    first >> 24 == 1
        && length >= 20
        && length % 4 == 0
        && payload.get(4).is_some_and(|flags| flags & 0x0f == 0)
}

/// GTP-C: version 1 (TS 29.060 section 6) or 2 (TS 29.274 section 5.1), with the length that follows from it.
pub(super) fn is_gtpc(payload: &[u8], len: u32) -> bool {
    let (Some(&first), Some(length)) = (payload.first(), be16(payload, 2)) else { return false };
    match first >> 5 {
        1 => first & 0x10 != 0 && u32::from(length) + 8 == len,
        // A second message may follow ("piggybacking", P flag).
        2 => u32::from(length) + 4 == len || (first & 0x10 != 0 && u32::from(length) + 4 < len),
        _ => false,
    }
}

/// GTP-U, TS 29.281 section 5.1.
pub(super) fn is_gtpu(payload: &[u8], len: u32) -> bool {
    payload.first().is_some_and(|first| first >> 4 == 0b0011)
        && be16(payload, 2).is_some_and(|length| u32::from(length) + 8 == len)
}

/// GTP', TS 32.295 section 6: version 0 to 2, protocol type 0, and a length that fits a header of 6 or 20 bytes.
pub(super) fn is_gtp_prime(payload: &[u8], len: u32) -> bool {
    payload.first().is_some_and(|first| first & 0x10 == 0)
        && be16(payload, 2)
            .is_some_and(|length| [6, 20].iter().any(|header| u32::from(length) + header == len))
}

/// PFCP, TS 29.244 section 7.2.2: version 1, spare bits zero, length.
pub(super) fn is_pfcp(payload: &[u8], len: u32) -> bool {
    payload.first().is_some_and(|first| first & 0xf8 == 0x20)
        && be16(payload, 2).is_some_and(|length| u32::from(length) + 4 == len)
}
