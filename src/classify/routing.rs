//! Signatures of routing and neighbour protocols.

use super::App;
use super::data::Data;

/// What a frame without an IP packet is, by EtherType or LLC header.
pub(super) fn link(ethertype: Option<u16>, payload: &[u8]) -> Option<App> {
    match ethertype {
        Some(0x0806 | 0x8035) => Some(App::Arp),
        Some(0x88cc) => Some(App::Lldp),
        Some(0x22f4) => Some(App::IsIs),
        Some(0x88e5) => Some(App::MacSec),
        Some(0x8863) => Some(App::Pppoe),
        Some(_) => None,
        None => match payload {
            [0xfe, 0xfe, 0x03, 0x83, ..] => Some(App::IsIs),
            // SNAP of Cisco: discovery, and spanning tree per VLAN.
            [0xaa, 0xaa, 0x03, 0x00, 0x00, 0x0c, 0x20, 0x00, ..] => Some(App::Cdp),
            [0x42, 0x42, 0x03, ..] | [0xaa, 0xaa, 0x03, 0x00, 0x00, 0x0c, 0x01, 0x0b, ..] => Some(App::Stp),
            _ => None,
        },
    }
}

/// CARP among what has the protocol number of VRRP: version 2 with 7 words of authentication in 36 bytes, where VRRP
/// would list 7 addresses in 44.
pub(super) fn is_carp(data: Data) -> bool {
    matches!(data.bytes, [0x21, _, _, 7, ..]) && data.len == 36
}

/// BGP, RFC 4271 section 4.1: marker, length (RFC 8654 allows up to 65535), type. Odds of a chance match: 2^-128.
pub(super) fn is_bgp(data: Data) -> bool {
    data.starts_with(&[0xff; 16])
        && data.be16(16).is_some_and(|length| length >= 19)
        && data.byte(18).is_some_and(|kind| (1..=5).contains(&kind))
}

/// LDP, RFC 5036 section 3.1: version 1 and a length that fits. Weak: needs its port.
pub(super) fn is_ldp(data: Data) -> bool {
    data.be16(0) == Some(1) && data.be16(2).is_some_and(|length| length >= 6 && length + 4 <= data.len)
}

/// BFD control, RFC 5880 section 6.8.6: version 1 (or 0, its draft), its own length, multiplier and discriminator that
/// are not zero. Weak: needs its port. Echo packets (port 3785) have no format.
pub(super) fn is_bfd(data: Data) -> bool {
    matches!(data.bytes, [first, _, 1..=255, length @ 24..=255, ..] if first >> 5 <= 1 && usize::from(*length) <= data.len)
        && data.be32(4).is_some_and(|discriminator| discriminator != 0)
}

/// HSRP version 1 (RFC 2281 section 5.1), or version 2: type 1 of length 40. Weak: needs its port.
pub(super) fn is_hsrp(data: Data) -> bool {
    matches!(data.bytes, [0, 0..=3, 0 | 1 | 2 | 4 | 8 | 16, ..] if data.len >= 20)
        || matches!(data.bytes, [1, 40, 2, ..] if data.len >= 42)
}

/// GLBP: version 1, and behind 12 bytes a first element of type 1 to 4 that fits. Weak: needs its port.
pub(super) fn is_glbp(data: Data) -> bool {
    data.byte(0) == Some(1)
        && matches!(data.array(12), Some([1..=4, length @ 2..=255]) if 12 + usize::from(length) <= data.len)
}

/// RIP, RFC 2453 section 4, and RIPng, RFC 2080 section 2.1: command, version, zero, entries of 20 bytes. Weak: needs
/// its port.
pub(super) fn is_rip(data: Data) -> bool {
    matches!(data.bytes, [1 | 2 | 9 | 10 | 11, 1 | 2, 0, 0, ..]) && data.len % 20 == 4
}

/// WCCP: version 2 (types 10 to 13, its own length) or 1 (types 7 to 9). Weak: needs its port.
pub(super) fn is_wccp(data: Data) -> bool {
    match (data.be32(0), data.be16(4), data.be16(6)) {
        (Some(10..=13), Some(0x0200 | 0x0201), Some(length)) => length + 8 == data.len,
        (Some(7..=9), Some(0), Some(4)) => true,
        _ => false,
    }
}
