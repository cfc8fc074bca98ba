//! Signatures of routing and neighbour protocols.

use super::{App, be16};
use crate::dissect::Layers;

/// What a frame without an IP packet is.
pub(super) fn link(layers: &Layers<'_>) -> Option<App> {
    match layers.ethertype {
        Some(0x0806 | 0x8035) => Some(App::Arp),
        Some(0x88cc) => Some(App::Lldp),
        Some(0x22f4) => Some(App::IsIs),
        Some(_) => None,
        None => match layers.payload {
            [0x42, 0x42, 0x03, ..] => Some(App::Stp),
            [0xfe, 0xfe, 0x03, 0x83, ..] => Some(App::IsIs),
            [0xaa, 0xaa, 0x03, 0x00, 0x00, 0x0c, 0x20, 0x00, ..] => Some(App::Cdp),
            // Cisco's per-VLAN spanning tree.
            [0xaa, 0xaa, 0x03, 0x00, 0x00, 0x0c, 0x01, 0x0b, ..] => Some(App::Stp),
            _ => None,
        },
    }
}

/// What an IP protocol number says (IANA Assigned Internet Protocol Numbers); no transport is needed for these.
#[inline]
pub(super) fn protocol(number: u8) -> Option<App> {
    Some(match number {
        1 => App::Icmp,
        2 => App::Igmp,
        46 => App::Rsvp,
        50 => App::Esp,
        51 => App::Ah,
        58 => App::Icmpv6,
        88 => App::Eigrp,
        89 => App::Ospf,
        103 => App::Pim,
        112 => App::Vrrp,
        115 => App::L2tp,
        _ => return None,
    })
}

/// A BGP message behind its marker, RFC 4271 section 4.1. The marker alone has odds of 2^-128.
pub(super) fn is_bgp(payload: &[u8]) -> bool {
    be16(payload, 16).is_some_and(|length| (19..=4096).contains(&length))
        && payload.get(18).is_none_or(|kind| (1..=5).contains(kind))
}

/// LDP, RFC 5036 section 3.1: version 1 and a length that fits.
pub(super) fn is_ldp(payload: &[u8], len: u32) -> bool {
    be16(payload, 0) == Some(1)
        && be16(payload, 2).is_some_and(|length| length >= 6 && u32::from(length) + 4 <= len)
}

/// BFD control, RFC 5880 section 4.1: version 1 and its own length. Echo packets (port 3785) have no format.
pub(super) fn is_bfd(payload: &[u8], len: u32) -> bool {
    payload.first().is_some_and(|first| first >> 5 <= 1)
        && payload.get(3).is_some_and(|&length| length >= 24 && u32::from(length) <= len)
}

/// HSRP version 1 (RFC 2281 section 5.1) or version 2 (type-length-value).
pub(super) fn is_hsrp(payload: &[u8], len: u32) -> bool {
    matches!(payload, [0, 0..=3, ..] if len >= 20) || matches!(payload, [1, 40, 2, ..] | [4, 28, ..])
}

/// RIP, RFC 2453 section 4, and RIPng, RFC 2080 section 2.1: command, version, zero, entries of 20 bytes.
pub(super) fn is_rip(payload: &[u8], len: u32) -> bool {
    matches!(payload, [1..=12, 1 | 2, 0, 0, ..]) && len % 20 == 4
}

/// WCCP version 2, section 5.1: message types 10 to 13.
pub(super) fn is_wccp(payload: &[u8]) -> bool {
    matches!(payload, [0, 0, 0, 7..=13, ..])
}
