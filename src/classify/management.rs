//! Signatures of how the network is operated. All of them are weak: they count only with their port.

use super::{be16, be32};

/// SNMP: a sequence that begins with version 0, 1 or 3 (RFC 1157, RFC 3416, RFC 3412 section 6).
pub(super) fn is_snmp(payload: &[u8]) -> bool {
    let Some((&0x30, rest)) = payload.split_first() else { return false };
    // The length of the sequence has one byte, or says how many it has.
    let skip = match rest.first() {
        Some(&length) if length < 0x80 => 1,
        Some(&length) => 1 + usize::from(length & 0x7f),
        None => return false,
    };
    matches!(rest.get(skip..), Some([2, 1, 0 | 1 | 3, ..]))
}

/// NTP, RFC 5905 section 7.3: version 1 to 4, a mode; 48 bytes but for control (6) and private (7) modes.
pub(super) fn is_ntp(payload: &[u8], len: u32) -> bool {
    let Some(&first) = payload.first() else { return false };
    let (version, mode) = (first >> 3 & 7, first & 7);
    (1..=4).contains(&version) && if mode >= 6 { len >= 8 } else { mode >= 1 && len >= 48 }
}

/// syslog, RFC 5424 section 6.2.1: a priority of up to three digits in angle brackets.
pub(super) fn is_syslog(payload: &[u8]) -> bool {
    matches!(payload, [b'<', a, b'>', ..] if a.is_ascii_digit())
        || matches!(payload, [b'<', a, b, b'>', ..] if [a, b].iter().all(|d| d.is_ascii_digit()))
        || matches!(payload, [b'<', a, b, c, b'>', ..] if [a, b, c].iter().all(|d| d.is_ascii_digit()))
}

/// DHCP, RFC 2131 section 2, and BOOTP without the magic cookie: operation, address length, hops.
pub(super) fn is_dhcp(payload: &[u8], len: u32) -> bool {
    matches!(payload, [1 | 2, _, 0..=16, 0..=16, ..]) && len >= 236
}

/// DHCPv6, RFC 8415 section 8 and 9: a known message type.
pub(super) fn is_dhcpv6(payload: &[u8], len: u32) -> bool {
    matches!(payload, [1..=36, ..]) && len >= 4
}

/// TFTP, RFC 1350 section 5 and RFC 2347: operation 1 to 6; requests with a name and a mode.
pub(super) fn is_tftp(payload: &[u8]) -> bool {
    matches!(payload, [0, 1..=6, ..])
}

/// RADIUS, RFC 2865 section 3: a known code and its own length.
pub(super) fn is_radius(payload: &[u8], len: u32) -> bool {
    matches!(payload, [1..=5 | 11..=13 | 40..=45, ..])
        && be16(payload, 2).is_some_and(|length| length >= 20 && u32::from(length) <= len)
}

/// TACACS+, RFC 8907 section 4.1: major version 12, type 1 to 3.
pub(super) fn is_tacacs(payload: &[u8]) -> bool {
    matches!(payload, [0xc0 | 0xc1, 1..=3, ..])
}

/// NetFlow versions 1 to 9 (RFC 3954 section 5.1) or IPFIX with its own length (RFC 7011 section 3.1).
pub(super) fn is_netflow(payload: &[u8], len: u32) -> bool {
    match be16(payload, 0) {
        Some(1 | 5 | 7 | 8 | 9) => len >= 16,
        Some(10) => be16(payload, 2).is_some_and(|length| u32::from(length) == len),
        _ => false,
    }
}

/// sFlow version 5: version, then the kind of the agent's address.
pub(super) fn is_sflow(payload: &[u8]) -> bool {
    matches!(be32(payload, 0), Some(2 | 4 | 5)) && matches!(be32(payload, 4), Some(1 | 2))
}

/// L2TP: version 2 (RFC 2661 section 3.1) or 3 (RFC 3931 section 4.1.2).
pub(super) fn is_l2tp(payload: &[u8]) -> bool {
    payload.get(1).is_some_and(|second| matches!(second & 0x0f, 2 | 3))
}

/// Telnet: a command begins with IAC, RFC 854.
pub(super) fn is_telnet(payload: &[u8]) -> bool {
    matches!(payload, [0xff, 0xf0..=0xfe, ..])
}
