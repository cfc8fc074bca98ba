//! Zones: the user's own names for parts of the network, by prefix, or by how a packet was seen.

use std::collections::HashMap;

use super::Country;
use super::map::{Builder, RangeMap};
use crate::dissect::Mac;
use crate::packets::address::parse_prefix;
use crate::wire::ip::Addr;

/// The number of a zone: its place among [`Zones::names`].
pub type Zone = u16;

/// What belongs to one zone.
#[derive(Debug, Clone, Default)]
pub struct Members {
    /// Its name.
    pub name: String,
    /// Addresses and prefixes.
    pub prefixes: Vec<String>,
    /// VLAN ids (IEEE 802.1Q).
    pub vlans: Vec<u16>,
    /// MPLS labels (RFC 3032, section 2.1).
    pub mpls: Vec<u32>,
    /// MAC addresses.
    pub macs: Vec<Mac>,
    /// Names of taps, or of interfaces.
    pub taps: Vec<String>,
    /// The country that all of it is in.
    pub country: Option<Country>,
}

/// How a packet was seen, as far as zones go by it. What is not known stays out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    /// The MAC address of the side that is asked about: the source's for where a packet came from.
    pub mac: Option<Mac>,
    /// MPLS labels, the outermost first.
    pub mpls: &'a [u32],
    /// VLAN ids, the outermost first.
    pub vlans: &'a [u16],
    /// The tap, and the interface, that it was captured at.
    pub taps: &'a [&'a str],
}

/// The zones of a network.
#[derive(Debug, Clone, Default)]
pub struct Zones {
    names: Vec<String>,
    countries: Vec<Option<Country>>,
    prefixes: RangeMap,
    vlans: HashMap<u16, Zone>,
    mpls: HashMap<u32, Zone>,
    macs: HashMap<Mac, Zone>,
    taps: HashMap<String, Zone>,
}

impl Zones {
    /// The zones with these members. What two of them list is an error, as is a prefix that is none; of prefixes that lie within
    /// one another, the longer one says the zone.
    pub fn new(zones: impl IntoIterator<Item = Members>) -> Result<Self, String> {
        let mut made = Self::default();
        let mut builder = Builder::default();
        let mut prefixes = HashMap::new();
        for members in zones {
            let zone = Zone::try_from(made.names.len()).map_err(|_| "more than 65,536 zones".to_owned())?;
            made.names.push(members.name);
            made.countries.push(members.country);
            let names = &made.names;
            for text in members.prefixes {
                let range = parse_prefix(&text)?;
                put(&mut prefixes, (range.first(), range.last()), zone, names, || text.clone())?;
                builder.add(range, 0, zone.into());
            }
            for vlan in members.vlans {
                put(&mut made.vlans, vlan, zone, names, || format!("VLAN {vlan}"))?;
            }
            for label in members.mpls {
                put(&mut made.mpls, label, zone, names, || format!("MPLS label {label}"))?;
            }
            for mac in members.macs {
                let text = || crate::packets::address::mac_text(mac);
                put(&mut made.macs, mac, zone, names, text)?;
            }
            for tap in members.taps {
                let text = format!("tap {tap:?}");
                put(&mut made.taps, tap, zone, names, || text)?;
            }
        }
        made.prefixes = builder.build();
        Ok(made)
    }

    /// Names of all zones, by their number.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The country that all of the zone is in, if the user says so.
    #[inline]
    pub fn country(&self, zone: Zone) -> Option<Country> {
        self.countries.get(usize::from(zone)).copied().flatten()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The zone that lists a prefix with this address.
    #[inline]
    pub fn of_address(&self, addr: Addr) -> Option<Zone> {
        self.prefixes.get(addr).map(|zone| zone as Zone)
    }

    /// The zone of what has this address and was seen so: by prefix; if no prefix says, by MAC address, by the innermost label that
    /// is listed, by the innermost VLAN, by tap or interface.
    pub fn of(&self, addr: Option<Addr>, seen: Seen<'_>) -> Option<Zone> {
        addr.and_then(|addr| self.of_address(addr))
            .or_else(|| self.macs.get(&seen.mac?).copied())
            .or_else(|| seen.mpls.iter().rev().find_map(|label| self.mpls.get(label)).copied())
            .or_else(|| seen.vlans.iter().rev().find_map(|vlan| self.vlans.get(vlan)).copied())
            .or_else(|| seen.taps.iter().find_map(|&tap| self.taps.get(tap)).copied())
    }
}

/// Says that the key belongs to the zone, unless another has it.
fn put<K: std::hash::Hash + Eq>(
    all: &mut HashMap<K, Zone>,
    key: K,
    zone: Zone,
    names: &[String],
    text: impl FnOnce() -> String,
) -> Result<(), String> {
    match all.insert(key, zone) {
        Some(other) if other != zone => {
            let name = |zone: Zone| names.get(usize::from(zone)).map_or("", String::as_str);
            Err(format!("{} is in zone {:?} and in zone {:?}", text(), name(other), name(zone)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::address::parse_address;

    fn zone(name: &str) -> Members {
        Members { name: name.to_owned(), ..Members::default() }
    }

    #[test]
    fn a_prefix_says_the_zone_and_else_the_way_that_was_seen() {
        let zones = Zones::new([
            Members { prefixes: vec!["192.0.2.0/24".to_owned()], vlans: vec![10], ..zone("core") },
            Members { prefixes: vec!["192.0.2.64/26".to_owned()], mpls: vec![16], ..zone("voice") },
            Members { macs: vec![[2, 0, 0, 0, 0, 1]], taps: vec!["inside".to_owned()], ..zone("peer") },
        ])
        .unwrap();
        let (core, voice, peer) = (Some(0), Some(1), Some(2));
        let addr = |text| parse_address(text);
        let all = Seen { mac: Some([2, 0, 0, 0, 0, 1]), mpls: &[16], vlans: &[10], taps: &["inside"] };
        assert_eq!(zones.of(addr("192.0.2.1"), all), core);
        assert_eq!(zones.of(addr("192.0.2.65"), Seen::default()), voice);
        assert_eq!(zones.of(addr("192.0.3.1"), all), peer);
        assert_eq!(zones.of(None, Seen { mac: None, ..all }), voice);
        assert_eq!(zones.of(None, Seen { mac: None, mpls: &[17], ..all }), core);
        assert_eq!(zones.of(None, Seen { vlans: &[10, 11], ..Seen::default() }), core);
        assert_eq!(zones.of(None, Seen { taps: &["outside", "inside"], ..Seen::default() }), peer);
        assert_eq!(zones.of(addr("192.0.3.1"), Seen::default()), None);
        assert_eq!(zones.names(), ["core", "voice", "peer"]);
    }

    #[test]
    fn what_two_zones_list_is_an_error() {
        let both = |a: Members, b: Members| Zones::new([a, b]).unwrap_err();
        let vlans = |name| Members { vlans: vec![10], ..zone(name) };
        assert_eq!(both(vlans("a"), vlans("b")), "VLAN 10 is in zone \"a\" and in zone \"b\"");
        let prefixes = |name| Members { prefixes: vec!["192.0.2.0/24".to_owned()], ..zone(name) };
        assert_eq!(both(prefixes("a"), prefixes("b")), "192.0.2.0/24 is in zone \"a\" and in zone \"b\"");
        assert!(Zones::new([Members { prefixes: vec!["x".to_owned()], ..zone("a") }]).is_err());
    }
}
