//! Addresses that lie nowhere: private ones, loopback, multicast and their like.

use std::sync::LazyLock;

use super::map::{Builder, Range, RangeMap};
use crate::packets::address::parse_prefix;
use crate::wire::ip::Addr;

/// What prefixes are for that are not for hosts of the Internet: IANA's IPv4 and IPv6 Special-Purpose Address Registries
/// (RFC 6890), and multicast. None lies within another.
const SPECIAL: &[(&str, &str)] = &[
    ("0.0.0.0/8", "this network"),                // RFC 791, section 3.2
    ("10.0.0.0/8", "private"),                    // RFC 1918
    ("100.64.0.0/10", "shared by a carrier"),     // RFC 6598
    ("127.0.0.0/8", "loopback"),                  // RFC 1122, section 3.2.1.3
    ("169.254.0.0/16", "link-local"),             // RFC 3927
    ("172.16.0.0/12", "private"),                 // RFC 1918
    ("192.0.0.0/24", "protocols"),                // RFC 6890, section 2.1
    ("192.0.2.0/24", "documentation"),            // RFC 5737
    ("192.88.99.0/24", "6to4 relays"),            // RFC 7526
    ("192.168.0.0/16", "private"),                // RFC 1918
    ("198.18.0.0/15", "measuring"),               // RFC 2544
    ("198.51.100.0/24", "documentation"),         // RFC 5737
    ("203.0.113.0/24", "documentation"),          // RFC 5737
    ("224.0.0.0/4", "multicast"),                 // RFC 5771
    ("240.0.0.0/4", "reserved"),                  // RFC 1112, section 4
    ("::/128", "unspecified"),                    // RFC 4291, section 2.5.2
    ("::1/128", "loopback"),                      // RFC 4291, section 2.5.3
    ("64:ff9b:1::/48", "local translation"),      // RFC 8215
    ("100::/64", "discarded"),                    // RFC 6666
    ("2001::/32", "Teredo"),                      // RFC 4380
    ("2001:2::/48", "measuring"),                 // RFC 5180
    ("2001:db8::/32", "documentation"),           // RFC 3849
    ("2002::/16", "6to4"),                        // RFC 3056
    ("3fff::/20", "documentation"),               // RFC 9637
    ("5f00::/16", "segments of routing headers"), // RFC 9602
    ("fc00::/7", "private"),                      // RFC 4193
    ("fe80::/10", "link-local"),                  // RFC 4291, section 2.5.6
    ("ff00::/8", "multicast"),                    // RFC 4291, section 2.7
];

static RANGES: LazyLock<Vec<Range>> =
    LazyLock::new(|| SPECIAL.iter().filter_map(|(prefix, _)| parse_prefix(prefix).ok()).collect());

static MAP: LazyLock<RangeMap> = LazyLock::new(|| {
    let mut builder = Builder::default();
    for (&range, value) in RANGES.iter().zip(0..) {
        builder.add(range, 0, value);
    }
    builder.build()
});

/// What the address is for, if it is not one of a host of the Internet.
pub fn special(addr: Addr) -> Option<&'static str> {
    SPECIAL.get(MAP.get(addr)? as usize).map(|&(_, name)| name)
}

/// The prefixes of such addresses.
pub(super) fn ranges() -> &'static [Range] {
    &RANGES
}

/// The IPv4 address inside one of the well-known prefix for translation, `64:ff9b::/96` (RFC 6052, section 2.1).
#[inline]
pub(super) fn translated(addr: Addr) -> Option<Addr> {
    match addr {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => {
            Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::address::parse_address;

    #[test]
    fn all_prefixes_are_read_and_none_lies_in_another() {
        assert_eq!(RANGES.len(), SPECIAL.len());
        for (at, range) in RANGES.iter().enumerate() {
            for other in &RANGES[at + 1..] {
                assert_eq!(range.without(*other), [Some(*range), None], "{other:?}");
            }
        }
    }

    #[test]
    fn what_lies_nowhere_is_named() {
        for (addr, name) in [
            ("10.1.2.3", Some("private")),
            ("172.31.255.255", Some("private")),
            ("172.32.0.0", None),
            ("100.64.0.1", Some("shared by a carrier")),
            ("100.128.0.0", None),
            ("255.255.255.255", Some("reserved")),
            ("8.8.8.8", None),
            ("::1", Some("loopback")),
            ("fd00::1", Some("private")),
            ("fe80::1", Some("link-local")),
            ("2001:4860:4860::8888", None),
        ] {
            assert_eq!(special(parse_address(addr).unwrap()), name, "{addr}");
        }
    }

    #[test]
    fn translated_addresses_hold_one_of_ipv4() {
        let inside = |text| translated(parse_address(text).unwrap());
        assert_eq!(inside("64:ff9b::8.8.8.8"), parse_address("8.8.8.8"));
        assert_eq!(inside("64:ff9b:1::8.8.8.8"), None);
    }
}
