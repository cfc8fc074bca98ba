//! Delegation files of the registries: "RIR statistics exchange format", version 2.3, and its extended form.
//!
//! `registry|cc|type|start|value|date|status[|...]`: `value` is how many addresses of IPv4, how many bits of a prefix of IPv6.

use super::country;
use crate::packets::address::{parse_address, parse_prefix};
use crate::places::map::Range;
use crate::places::{Entry, Sources};

/// Takes a line.
pub(super) fn row(line: &str, sources: &mut Sources) -> Result<(), String> {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    // The first line tells the version and how many there are; others sum up a type.
    let (cc, kind, start, value, status) = match *fields.as_slice() {
        [version, _, _, _, _, _, ..] if version.starts_with(|first: char| first.is_ascii_digit()) => {
            return Ok(());
        }
        [_, "*", ..] => return Ok(()),
        [_, cc, kind, start, value, _, status, ..] => (cc, kind, start, value, status),
        _ => {
            return Err(
                "not a line of a delegation file: registry|cc|type|start|value|date|status".to_owned()
            );
        }
    };
    if !matches!(status, "allocated" | "assigned") {
        return Ok(());
    }
    let range = match kind {
        "ipv4" => {
            let count: u32 = value.parse().map_err(|_| format!("{value:?} is not how many addresses"))?;
            let wrong = || format!("{value} addresses from {start:?} are no range of IPv4");
            let first = start.parse::<std::net::Ipv4Addr>().map_err(|_| wrong())?;
            let last =
                count.checked_sub(1).and_then(|more| u32::from(first).checked_add(more)).ok_or_else(wrong)?;
            Range::new(
                first.to_ipv6_mapped().octets(),
                std::net::Ipv4Addr::from(last).to_ipv6_mapped().octets(),
            )
            .ok_or_else(wrong)?
        }
        "ipv6" if parse_address(start).is_some() => parse_prefix(&format!("{start}/{value}"))?,
        "ipv6" => return Err(format!("{start:?} is not an IPv6 address")),
        _ => return Ok(()),
    };
    sources.add(range, &Entry { country: country(cc)?, ..Entry::default() })
}
