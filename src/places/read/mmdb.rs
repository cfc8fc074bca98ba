//! MaxMind DB files, version 2.0: a tree by the bits of an address, with records of any layout at its leaves.

use std::collections::HashMap;
use std::net::IpAddr;

use maxminddb::{Reader, WithinOptions};
use serde::Deserialize;

use crate::packets::address::parse_prefix;
use crate::places::{Country, Entry, Sources};

/// What is looked for in a record: as GeoLite2 and DB-IP have it, and as IPinfo does.
#[derive(Debug, Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    country: Option<InCountry<'a>>,
    #[serde(borrow)]
    registered_country: Option<InCountry<'a>>,
    country_code: Option<&'a str>,
    #[serde(borrow)]
    autonomous_system_number: Option<Asn<'a>>,
    autonomous_system_organization: Option<&'a str>,
    #[serde(borrow)]
    asn: Option<Asn<'a>>,
    as_name: Option<&'a str>,
    name: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum InCountry<'a> {
    Text(&'a str),
    Map { iso_code: Option<&'a str> },
}

impl InCountry<'_> {
    fn code(&self) -> Option<Country> {
        match self {
            Self::Text(code) | Self::Map { iso_code: Some(code) } => Country::from_code(code),
            Self::Map { iso_code: None } => None,
        }
    }
}

/// A number of any width: writers take the smallest that holds it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Asn<'a> {
    Number(u32),
    Text(&'a str),
}

impl<'a> Record<'a> {
    fn entry(&self) -> Result<Entry<'a>, String> {
        let code = self.country_code.and_then(Country::from_code);
        let country = code
            .or_else(|| self.country.as_ref()?.code())
            .or_else(|| self.registered_country.as_ref()?.code());
        let asn = match self.asn.as_ref().or(self.autonomous_system_number.as_ref()) {
            Some(&Asn::Number(number)) => Some(number),
            Some(Asn::Text(text)) => super::asn(text)?,
            None => None,
        };
        let name = self.autonomous_system_organization.or(self.as_name).or(self.name).unwrap_or_default();
        Ok(Entry { country, asn, name })
    }
}

/// Reads a file.
pub(super) fn read(bytes: &[u8], sources: &mut Sources) -> Result<(), String> {
    let wrong = |error: maxminddb::MaxMindDbError| format!("not a MaxMind DB that can be read: {error}");
    let reader = Reader::from_source(bytes).map_err(wrong)?;
    let metadata = reader.metadata();
    check_tree(bytes, metadata.node_count, metadata.record_size, metadata.ip_version)?;
    let mut known: HashMap<usize, Entry<'_>> = HashMap::new();
    for found in reader.networks(WithinOptions::default()).map_err(wrong)? {
        let found = found.map_err(wrong)?;
        let Some(offset) = found.offset() else { continue };
        let entry = if let Some(entry) = known.get(&offset) {
            *entry
        } else {
            let record: Option<Record<'_>> = found.decode().map_err(wrong)?;
            let entry = record.map_or(Ok(Entry::default()), |record| record.entry())?;
            known.insert(offset, entry);
            entry
        };
        let network = found.network().map_err(wrong)?;
        let addr = match network.ip() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => v6.to_string(),
        };
        sources.add(parse_prefix(&format!("{addr}/{}", network.prefix()))?, &entry)?;
    }
    if known.values().all(|entry| entry.country.is_none() && entry.asn.is_none() && entry.name.is_empty()) {
        return Err("no record says a country or a network".to_owned());
    }
    Ok(())
}

/// That the tree is one: no node is reached by two ways, but that of IPv4, which is there under several prefixes. Else walking it
/// could take for ever.
fn check_tree(bytes: &[u8], nodes: u32, record_size: u16, ip_version: u16) -> Result<(), String> {
    let wrong = || "not a MaxMind DB that can be read: its tree is damaged".to_owned();
    let width = match record_size {
        24 | 28 | 32 => usize::from(record_size) / 4,
        _ => return Err(wrong()),
    };
    let tree =
        (nodes as usize).checked_mul(width).and_then(|length| bytes.get(..length)).ok_or_else(wrong)?;
    let mut of_ipv4 = (ip_version == 6).then_some(0_u32);
    for _ in 0..96 {
        let next =
            |node: u32| tree.chunks_exact(width).nth(node as usize).and_then(both).map(|[left, _]| left);
        of_ipv4 = of_ipv4.and_then(next).filter(|&node| node < nodes);
    }
    let mut reached = vec![false; nodes as usize];
    for node in tree.chunks_exact(width) {
        for child in both(node).ok_or_else(wrong)? {
            // What is not smaller than their count is no node but a record, or nothing.
            let Some(was) = reached.get_mut(child as usize) else { continue };
            if child == 0 || (std::mem::replace(was, true) && of_ipv4 != Some(child)) {
                return Err(wrong());
            }
        }
    }
    Ok(())
}

/// Both records of a node.
fn both(node: &[u8]) -> Option<[u32; 2]> {
    Some(match *node {
        [a, b, c, d, e, f] => [u32::from_be_bytes([0, a, b, c]), u32::from_be_bytes([0, d, e, f])],
        [a, b, c, middle, d, e, f] => {
            [u32::from_be_bytes([middle >> 4, a, b, c]), u32::from_be_bytes([middle & 15, d, e, f])]
        }
        [a, b, c, d, e, f, g, h] => [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])],
        _ => return None,
    })
}
