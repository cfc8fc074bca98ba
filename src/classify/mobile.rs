//! Signatures of mobile signalling: Diameter over TCP, GTP, PFCP. All of them are weak: they count only with their port.
//! SS7 over IP is known by its SCTP payload protocol identifier.

use super::data::Data;

/// Diameter, RFC 6733 section 3: version 1, a length in units of 4 bytes, reserved flags zero.
pub(super) fn is_diameter(data: Data) -> bool {
    data.be32(0).is_some_and(|first| {
        let length = first & 0x00ff_ffff;
        first >> 24 == 1 && length >= 20 && length % 4 == 0
    }) && data.byte(4).is_some_and(|flags| flags.trailing_zeros() >= 4)
}

/// GTP-C: version 1 (TS 29.060 section 6) or 2 (TS 29.274 section 5.1), and its length, which counts what the flags say that the header has: of
/// version 1 a sequence number, with two bytes behind it, of version 2 a tunnel endpoint identifier and a sequence number.
pub(super) fn is_gtpc(data: Data) -> bool {
    let (Some(first), Some(length)) = (data.byte(0), data.be16(2)) else { return false };
    match first >> 5 {
        1 => first & 0x1a == 0x12 && length >= 4 && length + 8 == data.len,
        2 if length < if first & 0x08 == 0 { 4 } else { 8 } => false,
        // A second message may follow if the P flag says so ("piggybacking").
        2 if first & 0x10 != 0 => length + 4 < data.len,
        2 => first.trailing_zeros() >= 2 && length + 4 == data.len,
        _ => false,
    }
}

/// GTP-U, TS 29.281 section 5.1: version 1, protocol type 1, reserved bit zero, and its length.
pub(super) fn is_gtpu(data: Data) -> bool {
    data.byte(0).is_some_and(|first| first & 0xf8 == 0x30)
        && data.be16(2).is_some_and(|length| length + 8 == data.len)
}

/// GTP', TS 32.295 section 6.1: protocol type 0, a known message type, and a length behind a header of 6 or 20 bytes.
pub(super) fn is_gtp_prime(data: Data) -> bool {
    data.byte(0).is_some_and(|first| first & 0x10 == 0 && first >> 5 <= 2)
        && data.byte(1).is_some_and(|message| matches!(message, 1..=7 | 240 | 241))
        && data.be16(2).is_some_and(|length| length + 6 == data.len || length + 20 == data.len)
}

/// PFCP, TS 29.244 section 7.2.2: version 1, spare bits zero, and its length; another message may follow (FO flag).
pub(super) fn is_pfcp(data: Data) -> bool {
    data.byte(0).is_some_and(|first| first & 0xf8 == 0x20)
        && data.be16(2).is_some_and(|length| {
            length + 4 == data.len || (data.byte(0) > Some(0x23) && length + 4 < data.len)
        })
}
