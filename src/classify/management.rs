//! Signatures of how the network is operated. But for SSH all are weak: they count only with their port.

use super::data::Data;
use crate::wire::hep::Hep;

/// SSH, RFC 4253 section 7.1: the lists of algorithms with which a key exchange begins, in a packet (section 6) of a length that is a multiple of 8. Odds
/// of a chance match: less than 2^-40.
pub(super) fn is_ssh_key_exchange(data: Data) -> bool {
    let Some([0, 0, hi, lo, 4..=255, 20]) = data.array(0) else { return false };
    let length = usize::from(u16::from_be_bytes([hi, lo]));
    let (Some(first), Some([a, b])) = (data.be32(22), data.array(26)) else { return false };
    length % 8 == 4
        && (8..length as u64).contains(&u64::from(first))
        && [a, b].iter().all(u8::is_ascii_lowercase)
}

/// SSH, RFC 4253 section 4.2: the identification string. What follows the key exchange has no signature.
pub(super) fn is_ssh(data: Data) -> bool {
    matches!(data.bytes, [b'S', b'S', b'H', b'-', b'1' | b'2', b'.', b'0'..=b'9', ..])
}

/// Telnet, RFC 854: IAC and a negotiation or a command.
pub(super) fn is_telnet(data: Data) -> bool {
    matches!(data.bytes, [0xff, 0xf0..=0xfa, ..] | [0xff, 0xfb..=0xfe, _, ..])
}

/// FTP, RFC 959 section 4 (and RFC 2228, RFC 2389, RFC 2428, RFC 3659): a reply or a command.
pub(super) fn is_ftp(data: Data) -> bool {
    const COMMANDS: [&[u8]; 43] = [
        b"ABOR", b"ACCT", b"ALLO", b"APPE", b"AUTH", b"CDUP", b"CLNT", b"CWD", b"DELE", b"EPRT", b"EPSV",
        b"FEAT", b"HELP", b"LIST", b"MDTM", b"MKD", b"MLSD", b"MLST", b"MODE", b"NLST", b"NOOP", b"OPTS",
        b"PASS", b"PASV", b"PBSZ", b"PORT", b"PROT", b"PWD", b"QUIT", b"REIN", b"REST", b"RETR", b"RMD",
        b"RNFR", b"RNTO", b"SITE", b"SIZE", b"STAT", b"STOR", b"STOU", b"SYST", b"TYPE", b"USER",
    ];
    data.is_reply() || data.is_command(&COMMANDS)
}

/// What FTP alone says, on any port: it asks for a security mechanism in these words (RFC 2228 section 3, RFC 4217).
pub(super) fn is_ftp_security(data: Data) -> bool {
    matches!(data.line(), Some(b"AUTH TLS" | b"AUTH SSL" | b"AUTH GSSAPI"))
}

/// HEP version 3: four letters, and its own length, which over TCP may go on.
pub(super) fn is_hep(data: Data) -> bool {
    data.starts_with(b"HEP3") && data.be16(4).is_some_and(|length| length >= 6)
}

/// HEP versions 1 and 2: length, family and version that fit together. Weak: needs its port.
pub(super) fn is_hep_by_header(data: Data) -> bool {
    Hep::parse(data.bytes).is_some()
}

/// TFTP, RFC 1350 section 5: a request with a name and a mode, or another operation of a fitting length.
pub(super) fn is_tftp(data: Data) -> bool {
    let is_request = |request: &[u8]| {
        let mut words = request.split(|&byte| byte == 0);
        let (Some(name), Some(mode)) = (words.next(), words.next()) else { return false };
        let known =
            [&b"netascii"[..], b"octet", b"mail"].iter().any(|known| mode.eq_ignore_ascii_case(known));
        !name.is_empty() && known && words.next().is_some()
    };
    match data.bytes {
        [0, 1 | 2, request @ ..] => is_request(request),
        [0, 4, _, _] => data.len == 4,
        [0, 3, _, _, ..] | [0, 5, 0, 0..=8, ..] | [0, 6, ..] => true,
        _ => false,
    }
}

/// SNMP over UDP: a sequence of the datagram's length, version 0, 1 or 3 (RFC 1157 section 4, RFC 1901 section 3, RFC 3412
/// section 6), then a community or a header.
pub(super) fn is_snmp(data: Data) -> bool {
    let Some((0x30, length, at)) = data.ber(0) else { return false };
    at + length <= data.len && matches!(data.array(at), Some([2, 1, 0 | 1, 4] | [2, 1, 3, 0x30]))
}

/// NTP, RFC 5905 section 7.3 and RFC 9327: version 1 to 4 and a mode, whose least length and stratum fit.
pub(super) fn is_ntp(data: Data) -> bool {
    let Some([first, stratum]) = data.array(0) else { return false };
    (1..=4).contains(&(first >> 3 & 7))
        && match first & 7 {
            1..=5 => data.len >= 48 && data.len.is_multiple_of(4) && stratum <= 16,
            6 => data.len >= 12,
            7 => data.len >= 8,
            _ => false,
        }
}

/// syslog, RFC 5424 section 6.2.1 and RFC 3164 section 4.1.1: a priority of 0 to 191 in angle brackets.
pub(super) fn is_syslog(data: Data) -> bool {
    let digits = match data.bytes {
        [b'<', a, b'>', ..] => &[*a][..],
        [b'<', a, b, b'>', ..] => &[*a, *b],
        [b'<', a, b, c, b'>', ..] => &[*a, *b, *c],
        _ => return false,
    };
    digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0, |priority, digit| priority * 10 + u32::from(digit - b'0')) <= 191
}

/// syslog on any port: behind the priority, with the version of RFC 5424 or without, a date: a month's name or a year.
pub(super) fn is_syslog_with_date(data: Data) -> bool {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    if !is_syslog(data) {
        return false;
    }
    let head = data.bytes.get(..12).unwrap_or(data.bytes);
    let mut text = head.split(|&byte| byte == b'>').nth(1).unwrap_or_default();
    text = text.strip_prefix(b"1 ").unwrap_or(text).trim_ascii_start();
    MONTHS.iter().any(|month| text.starts_with(month))
        || matches!(text, [b'1' | b'2', b'0' | b'9', b'0'..=b'9', b'0'..=b'9', b'-', ..])
}

/// DHCP, RFC 2131 section 2 and 3: operation, length of the hardware address, and the magic cookie at 236.
pub(super) fn is_dhcp(data: Data) -> bool {
    matches!(data.bytes, [1 | 2, _, 0..=16, ..]) && data.be32(236) == Some(0x6382_5363)
}

/// DHCPv6, RFC 8415 section 8 and 9: a known message, and a first option that fits.
pub(super) fn is_dhcpv6(data: Data) -> bool {
    let at = match data.byte(0) {
        Some(12 | 13) => 34,
        Some(1..=11 | 14..=36) => 4,
        _ => return false,
    };
    data.len == at
        || (matches!(data.be16(at), Some(1..=200))
            && data.be16(at + 2).is_some_and(|length| at + 4 + length <= data.len))
}

/// RADIUS, RFC 2865 section 3: a known code and its own length.
pub(super) fn is_radius(data: Data) -> bool {
    matches!(data.bytes, [1..=5 | 11..=13 | 40..=45, ..])
        && data.be16(2).is_some_and(|length| (20..=4096).contains(&length) && length <= data.len)
}

/// TACACS+, RFC 8907 section 4.1: major version 12, type 1 to 3, a sequence number, known flags, a sane length.
pub(super) fn is_tacacs(data: Data) -> bool {
    data.array::<12>(0).is_some_and(|[version, kind, sequence, flags, _, _, _, _, long, longer, ..]| {
        matches!(version, 0xc0 | 0xc1)
            && (1..=3).contains(&kind)
            && sequence > 0
            && flags & !0x05 == 0
            && (long, longer) == (0, 0)
    })
}

/// NetFlow version 1, 5 or 7 with records that fill the datagram, 8, 9 (RFC 3954 section 5.1), or IPFIX with its own
/// length (RFC 7011 section 3.1).
pub(super) fn is_netflow(data: Data) -> bool {
    let (Some(version), Some(count)) = (data.be16(0), data.be16(2)) else { return false };
    match version {
        1 => data.len == 16 + 52 * count,
        5 => data.len == 24 + 48 * count,
        7 => data.len == 24 + 52 * count,
        8 => data.len >= 28,
        9 => data.len >= 20 && (1..=64).contains(&count),
        10 => (16..=data.len).contains(&count),
        _ => false,
    }
}

/// NetFlow version 9 on any port: flow sets (RFC 3954 section 5.2) that fill the datagram, each with an identifier that is
/// in use. Odds of a chance match: 2^-16 (version) and 2^-16 (the last length).
pub(super) fn is_netflow9(data: Data) -> bool {
    if !data.starts_with(&[0, 9]) || !is_netflow(data) {
        return false;
    }
    let mut at = 20;
    for _ in 0..64 {
        let (Some(0 | 1 | 256..), Some(length @ 4..)) = (data.be16(at), data.be16(at + 2)) else {
            return false;
        };
        at += length;
        if at >= data.len {
            return at == data.len;
        }
    }
    false
}

/// sFlow version 5, 4 or 2: version, then the kind of the agent's address.
pub(super) fn is_sflow(data: Data) -> bool {
    matches!((data.be32(0), data.be32(4)), (Some(2 | 4 | 5), Some(1 | 2))) && data.len >= 28
}

/// LDAP, RFC 4511 section 4.1.1: a sequence, a message id, and an operation.
pub(super) fn is_ldap(data: Data) -> bool {
    let Some((0x30, _, at)) = data.ber(0) else { return false };
    let Some((2, length @ 1..=4, at)) = data.ber(at) else { return false };
    matches!(data.byte(at + length), Some(0x42 | 0x4a | 0x50 | 0x60..=0x6f | 0x73 | 0x77..=0x79))
}

/// Kerberos, RFC 4120 section 5.10: an application tag and its sequence; behind a length over TCP (section 7.2.2).
pub(super) fn is_kerberos(data: Data) -> bool {
    let Some((0x6a..=0x6f | 0x74..=0x76 | 0x7e, _, at)) = data.ber(0) else { return false };
    data.byte(at) == Some(0x30)
}
