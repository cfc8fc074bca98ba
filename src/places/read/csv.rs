//! Tables as CSV (RFC 4180): comma, semicolon or tab between values, a line a row.

use std::net::Ipv6Addr;

use super::{asn, country};
use crate::packets::address::{parse_address, parse_prefix};
use crate::places::map::Range;
use crate::places::{Entry, Sources};
use crate::wire::ip::Addr;

/// Names that columns go by, most telling first.
const PREFIX: &[&str] = &["prefix", "network", "cidr", "subnet"];
const FIRST: &[&str] = &["first", "start", "start_ip", "range_start", "ip_from", "ip_range_start"];
const LAST: &[&str] = &["last", "end", "end_ip", "range_end", "ip_to", "ip_range_end"];
const COUNTRY: &[&str] = &["country_code", "country_iso_code", "iso_code", "cc", "country"];
const ASN: &[&str] = &["asn", "as_number", "autonomous_system_number"];
const NAME: &[&str] =
    &["name", "as_name", "as_organization", "autonomous_system_organization", "organization", "org"];

/// Where values stand in a row.
pub(super) struct Columns {
    separator: char,
    place: Place,
    country: Option<usize>,
    asn: Option<usize>,
    name: Option<usize>,
}

enum Place {
    Prefix(usize),
    Ends(usize, usize),
}

impl Columns {
    /// The columns of the table that begins with this line, and whether that line is a row already: a table without names of
    /// columns is `prefix,country`, `first,last,country` or `first,last,asn,name`.
    pub(super) fn new(line: &str) -> Result<(Self, bool), String> {
        let separator = [',', '\t', ';'].into_iter().find(|&mark| line.contains(mark)).unwrap_or(',');
        let mut columns = Self { separator, place: Place::Ends(0, 1), country: None, asn: None, name: None };
        let fields = columns.fields(line)?;
        let begin = fields.first().map(|field| field.trim()).unwrap_or_default();
        if address(begin).is_some() || begin.contains('/') {
            match (fields.len(), begin.contains('/')) {
                // An address by itself is a prefix of full length.
                (2, _) => (columns.place, columns.country) = (Place::Prefix(0), Some(1)),
                (3, false) => columns.country = Some(2),
                (4, false) => (columns.asn, columns.name) = (Some(2), Some(3)),
                _ => return Err(what_is_needed("the first row does not name the columns")),
            }
            return Ok((columns, true));
        }
        let names: Vec<String> = fields.iter().map(|field| field.trim().to_ascii_lowercase()).collect();
        let find =
            |known: &[&str]| known.iter().find_map(|&known| names.iter().position(|name| name == known));
        columns.place = match (find(PREFIX), find(FIRST), find(LAST)) {
            (_, Some(first), Some(last)) => Place::Ends(first, last),
            (Some(prefix), ..) => Place::Prefix(prefix),
            _ => return Err(what_is_needed("no column says which addresses")),
        };
        (columns.country, columns.asn, columns.name) = (find(COUNTRY), find(ASN), find(NAME));
        if columns.country.is_none() && columns.asn.is_none() && columns.name.is_none() {
            return Err(what_is_needed("no column says where addresses belong"));
        }
        Ok((columns, false))
    }

    /// Takes a row.
    pub(super) fn row(&self, line: &str, sources: &mut Sources) -> Result<(), String> {
        let fields = self.fields(line)?;
        let field = |at: usize| {
            let lacks = || format!("{} values in this row: too few", fields.len());
            fields.get(at).map(|field| field.trim()).ok_or_else(lacks)
        };
        let optional = |at: Option<usize>| at.map_or(Ok(""), field);
        let range = match self.place {
            Place::Prefix(at) => parse_prefix(field(at)?)?,
            Place::Ends(first, last) => {
                let end = |text: &str| address(text).ok_or_else(|| format!("{text:?} is not an IP address"));
                let (first, last) = (field(first)?, field(last)?);
                let wrong = || format!("from {first:?} to {last:?} is no range of addresses");
                Range::new(end(first)?, end(last)?).ok_or_else(wrong)?
            }
        };
        let entry = Entry {
            country: country(optional(self.country)?)?,
            asn: asn(optional(self.asn)?)?,
            name: optional(self.name)?,
        };
        sources.add(range, &entry)
    }

    /// The values of a row.
    fn fields(&self, line: &str) -> Result<Vec<String>, String> {
        let mut fields = Vec::new();
        let mut rest = Some(line);
        while let Some(text) = rest {
            let (field, behind) = match text.strip_prefix('"') {
                Some(quoted) => self.quoted(quoted)?,
                None => match text.split_once(self.separator) {
                    Some((field, behind)) => (field.to_owned(), Some(behind)),
                    None => (text.to_owned(), None),
                },
            };
            fields.push(field);
            rest = behind;
        }
        Ok(fields)
    }

    /// A value up to the quote that ends it, in which two quotes are one, and what comes behind it.
    fn quoted<'a>(&self, text: &'a str) -> Result<(String, Option<&'a str>), String> {
        let mut field = String::new();
        let mut rest = text;
        loop {
            let (part, behind) = rest.split_once('"').ok_or("a quote is not closed in its line")?;
            field.push_str(part);
            match behind.strip_prefix('"') {
                Some(behind) => {
                    field.push('"');
                    rest = behind;
                }
                None if behind.trim().is_empty() => return Ok((field, None)),
                None => {
                    let next = behind.strip_prefix(self.separator);
                    return Ok((field, Some(next.ok_or("text behind a quote that is closed")?)));
                }
            }
        }
    }
}

fn what_is_needed(lack: &str) -> String {
    format!(
        "{lack}: the first row must have names such as prefix,country,asn,name or first,last,country,asn,name"
    )
}

/// An address as text, or as a number: up to 2³² - 1 that is one of IPv4.
fn address(text: &str) -> Option<Addr> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return parse_address(text);
    }
    let number: u128 = text.parse().ok()?;
    Some(match u32::try_from(number) {
        Ok(v4) => std::net::Ipv4Addr::from(v4).to_ipv6_mapped().octets(),
        Err(_) => Ipv6Addr::from(number).octets(),
    })
}
