//! Where an address belongs, and whose a telephone number is.
//!
//! A country and a network of an address come from the user's own files ([`Sources::read`]), the country else from what the
//! registries of addresses say (with the feature `registered`): the country in which the address was registered, which need not be
//! where it is used. Zones are the user's own names for parts of the network ([`zones`]).

mod columns;
mod country;
mod located;
pub(crate) mod map;
mod number;
mod read;
mod special;
pub mod zones;

use std::collections::HashMap;
use std::path::Path;

pub use columns::{look_up, look_up_numbers};
pub use country::Country;
pub use located::Located;
pub(crate) use located::{SCOPES, abroad, scope, single};
use map::{Builder, Range, RangeMap};
pub use number::{Numbering, country_of_number, numbering};
pub use special::special;
use zones::{Zone, Zones};

use crate::wire::ip::Addr;

/// How many ranges all files together may have: a table of all networks of the Internet has about a million.
pub const MAX_RANGES: usize = 8_000_000;
/// How many files there may be.
pub const MAX_FILES: usize = 1 << 15;
/// How many different networks they may name: some 120,000 have a number.
pub const MAX_NETWORKS: usize = 1_000_000;
/// Names of networks are cut behind so many bytes.
const LONGEST_NAME: usize = 256;

/// Why a file of places cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system cannot read it.
    #[error("{name}: {source}")]
    Io {
        /// Name of the file.
        name: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It holds what is not understood.
    #[error("{name}{}: {what}", .line.map(|line| format!(":{line}")).unwrap_or_default())]
    Content {
        /// Name of the file.
        name: String,
        /// Line, from 1.
        line: Option<u64>,
        /// What is wrong there.
        what: String,
    },
}

/// A network that announces addresses: an autonomous system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Network {
    /// Its number (RFC 6793), if the source tells.
    pub asn: Option<u32>,
    /// Its name, as the source has it; empty if it has none.
    pub name: String,
}

/// Who says in which country an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The user, of a zone of the network.
    Zone(Zone),
    /// A file, by its place among [`Places::files`].
    File(u16),
    /// The registry that gave the address away: its holder is there, as it was told.
    Registry,
}

/// Where an address belongs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The country.
    pub country: Option<Country>,
    /// Who says that it is in this country.
    pub source: Option<Source>,
    /// The network, as its place among [`Places::networks`].
    pub network: Option<u32>,
    /// The zone, as its place among [`Zones::names`]. By address only: see [`Zones::of`].
    pub zone: Option<Zone>,
}

/// What files say of an address.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    /// The country, and the file that says so.
    country: Option<(Country, u16)>,
    network: Option<u32>,
}

/// What is known of addresses.
#[derive(Debug, Clone, Default)]
pub struct Places {
    ranges: RangeMap,
    /// What files say, by the values of ranges.
    said: Vec<Said>,
    names: Vec<Network>,
    files: Vec<String>,
    zones: Zones,
    registered: bool,
}

impl Places {
    /// Where the address belongs. What a zone says of its prefixes counts before files, and those before registries. An address of the well-known prefix for translation belongs where the IPv4 address in it does
    /// (RFC 6052); other special ones ([`special()`]) nowhere, unless a file lists them by a prefix that is not wider.
    #[inline]
    pub fn of(&self, addr: Addr) -> Place {
        let inner = special::translated(addr).unwrap_or(addr);
        let zone = self.zones.of_address(addr);
        let by_zone = zone.and_then(|zone| Some((self.zones.country(zone)?, Source::Zone(zone))));
        let said = self.said(inner);
        let (country, source) = by_zone.or_else(|| self.country(said, inner)).unzip();
        Place { country, source, network: said.network, zone }
    }

    #[inline]
    fn said(&self, addr: Addr) -> Said {
        let value = self.ranges.get(addr);
        value.and_then(|value| self.said.get(value as usize)).copied().unwrap_or_default()
    }

    #[inline]
    fn country(&self, said: Said, addr: Addr) -> Option<(Country, Source)> {
        match said.country {
            Some((country, file)) => Some((country, Source::File(file))),
            None if self.registered => Some((registered(addr)?, Source::Registry)),
            None => None,
        }
    }

    /// The files that were read, as they were named.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// All networks that files name, by their number.
    pub fn networks(&self) -> &[Network] {
        &self.names
    }

    /// The zones.
    pub fn zones(&self) -> &Zones {
        &self.zones
    }

    /// Whether nothing can be known: no address has a country, network or zone.
    pub fn is_empty(&self) -> bool {
        !self.registered && self.ranges.is_empty() && self.zones.is_empty()
    }
}

/// Bits of the number of a country, in a value that also holds the number of the file that says so.
const COUNTRY_BITS: u32 = 10;
const _: () = assert!(Country::NUMBERS <= 1 << COUNTRY_BITS);

/// A country, and the number of the file that says so, as one value of a map.
fn to_value(country: Country, file: u16) -> u32 {
    u32::from(file) << COUNTRY_BITS | u32::from(country.number())
}

/// What [`to_value`] was made of.
fn from_value(value: u32) -> Option<(Country, u16)> {
    let country = Country::from_number((value & ((1 << COUNTRY_BITS) - 1)) as u16)?;
    Some((country, (value >> COUNTRY_BITS) as u16))
}

/// Whether this build knows registered countries.
pub const HAS_REGISTERED: bool = cfg!(feature = "registered");

/// The country that an address was registered in.
#[cfg(feature = "registered")]
fn registered(addr: Addr) -> Option<Country> {
    if special(addr).is_some() {
        return None;
    }
    let code = match std::net::Ipv6Addr::from(addr).to_canonical() {
        std::net::IpAddr::V4(v4) => iptocc::country_code(v4),
        std::net::IpAddr::V6(v6) => iptocc::country_code(v6),
    };
    Country::from_code(code?)
}

#[cfg(not(feature = "registered"))]
fn registered(_: Addr) -> Option<Country> {
    None
}

/// Gathers what [`Places`] go by.
#[derive(Debug, Default)]
pub struct Sources {
    countries: Builder,
    networks: Builder,
    names: Vec<Network>,
    numbers: HashMap<Network, u32>,
    zones: Zones,
    registered: bool,
    /// The files that were read.
    files: Vec<String>,
}

impl Sources {
    /// Goes by registered countries as well, where no file knows better. Does nothing in a build without them.
    #[must_use]
    pub fn registered(mut self) -> Self {
        self.registered = HAS_REGISTERED;
        self
    }

    /// Goes by these zones.
    #[must_use]
    pub fn zones(mut self, zones: Zones) -> Self {
        self.zones = zones;
        self
    }

    /// Reads a file: a MaxMind DB, a table as CSV, or a delegation file of a registry. See `docs/places.md` for their layouts. What
    /// a later file says of an address counts before an earlier one; within a file, the smaller range does, then the later row.
    pub fn read(&mut self, path: &Path) -> Result<(), Error> {
        if self.files.len() >= MAX_FILES {
            let what = format!("more than {MAX_FILES} files");
            return Err(Error::Content { name: path.display().to_string(), line: None, what });
        }
        self.files.push(path.display().to_string());
        read::file(path, self)
    }

    /// What was gathered.
    pub fn build(self) -> Places {
        let (ranges, said) = self.countries.join(self.networks);
        let said = said
            .into_iter()
            .map(|[country, network]| Said { country: country.and_then(from_value), network });
        Places {
            ranges,
            said: said.collect(),
            names: self.names,
            files: self.files,
            zones: self.zones,
            registered: self.registered,
        }
    }

    /// What a file says of a range.
    fn add(&mut self, range: Range, entry: &Entry<'_>) -> Result<(), String> {
        let network = match entry {
            Entry { asn: None, name: "", .. } => None,
            Entry { asn, name, .. } => Some(self.network(*asn, name)?),
        };
        if entry.country.is_none() && network.is_none() {
            return Ok(());
        }
        if self.countries.count().saturating_add(self.networks.count()) >= MAX_RANGES {
            return Err(format!("more than {MAX_RANGES} ranges in all files"));
        }
        let file = self.files.len().saturating_sub(1) as u16;
        let mut add = |range| {
            if let Some(country) = entry.country {
                self.countries.add(range, file, to_value(country, file));
            }
            if let Some(network) = network {
                self.networks.add(range, file, network);
            }
        };
        // What is wider than a special prefix says nothing about it.
        let mut rest = Some(range);
        for &special in special::ranges() {
            if special.holds(range) {
                break;
            }
            let Some(whole) = rest else { return Ok(()) };
            match whole.without(special) {
                // They are in order, but for what a smaller address space has before it.
                [Some(before), Some(behind)] => {
                    add(before);
                    rest = Some(behind);
                }
                [before, behind] => rest = before.or(behind),
            }
        }
        if let Some(range) = rest {
            add(range);
        }
        Ok(())
    }

    /// The number of a network.
    fn network(&mut self, asn: Option<u32>, name: &str) -> Result<u32, String> {
        let name = name.get(..name.floor_char_boundary(LONGEST_NAME)).unwrap_or_default().to_owned();
        let network = Network { asn, name };
        if let Some(&number) = self.numbers.get(&network) {
            return Ok(number);
        }
        if self.names.len() >= MAX_NETWORKS {
            return Err(format!("more than {MAX_NETWORKS} networks in all files"));
        }
        let number = self.names.len() as u32;
        self.numbers.insert(network.clone(), number);
        self.names.push(network);
        Ok(number)
    }
}

/// What a row of a file says.
#[derive(Debug, Clone, Copy, Default)]
struct Entry<'a> {
    country: Option<Country>,
    asn: Option<u32>,
    name: &'a str,
}

#[cfg(test)]
mod tests;
