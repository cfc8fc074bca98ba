//! Addresses and MACs as text and back, a column at a time, and membership in sets of prefixes.

use std::net::{IpAddr, Ipv6Addr};

use arrow_array::builder::{BooleanBuilder, FixedSizeBinaryBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray, FixedSizeBinaryArray, StringArray};
use arrow_schema::{ArrowError, DataType};

use crate::dissect::Mac;
use crate::places::map::{Builder, Range, RangeMap};
use crate::wire::ip::Addr;

/// The address as text: dotted for IPv4-mapped ones, else as RFC 5952 has it.
pub fn address_text(addr: Addr) -> String {
    Ipv6Addr::from(addr).to_canonical().to_string()
}

/// The address that `text` says, IPv4 as an IPv4-mapped one.
pub fn parse_address(text: &str) -> Option<Addr> {
    Some(match text.parse().ok()? {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    })
}

/// The MAC address as text: lower-case, separated by colons.
pub fn mac_text([a, b, c, d, e, f]: Mac) -> String {
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// The MAC address that `text` says: six hexadecimal bytes separated by `:` or `-`, or three by `.` as Cisco has it.
pub fn parse_mac(text: &str) -> Option<Mac> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    if digits.len() != 12
        || !digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        || !matches!(text.len(), 14 | 17)
    {
        return None;
    }
    let bits = u64::from_str_radix(&digits, 16).ok()?;
    bits.to_be_bytes().get(2..)?.try_into().ok()
}

/// Address columns as text. Nulls stay null; a value that is not 16 bytes long is an error.
pub fn addresses_to_text(column: &dyn Array) -> Result<StringArray, ArrowError> {
    bytes_to_text(column, "an address", address_text)
}

/// MAC columns as text. Nulls stay null; a value that is not 6 bytes long is an error.
pub fn macs_to_text(column: &dyn Array) -> Result<StringArray, ArrowError> {
    bytes_to_text(column, "a MAC address", mac_text)
}

/// Text columns as addresses. Nulls stay null; text that is no address is an error.
pub fn addresses_from_text(column: &dyn Array) -> Result<FixedSizeBinaryArray, ArrowError> {
    text_to_bytes(column, "an IP address", parse_address)
}

/// Text columns as MACs. Nulls stay null; text that is no MAC is an error.
pub fn macs_from_text(column: &dyn Array) -> Result<FixedSizeBinaryArray, ArrowError> {
    text_to_bytes(column, "a MAC address", parse_mac)
}

/// Whether each address of a column is in any of the prefixes. Null where the address is.
pub fn match_prefixes(column: &dyn Array, prefixes: &Prefixes) -> Result<BooleanArray, ArrowError> {
    let mut inside = BooleanBuilder::with_capacity(column.len());
    for value in byte_values(column)? {
        inside.append_option(fixed(value, "an address")?.map(|addr: Addr| prefixes.contains(addr)));
    }
    Ok(inside.finish())
}

/// The addresses of a column, as 16 bytes or as text.
pub(crate) fn addresses(column: &dyn Array) -> Result<Vec<Option<Addr>>, ArrowError> {
    match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => addresses(&addresses_from_text(column)?),
        _ => byte_values(column)?.map(|value| fixed(value, "an address")).collect(),
    }
}

fn bytes_to_text<const N: usize>(
    column: &dyn Array,
    what: &str,
    text: impl Fn([u8; N]) -> String,
) -> Result<StringArray, ArrowError> {
    let mut texts = StringBuilder::with_capacity(column.len(), column.len() * 16);
    for value in byte_values(column)? {
        texts.append_option(fixed(value, what)?.map(&text));
    }
    Ok(texts.finish())
}

fn fixed<const N: usize>(value: Option<&[u8]>, what: &str) -> Result<Option<[u8; N]>, ArrowError> {
    let wrong =
        |bytes: &[u8]| ArrowError::InvalidArgumentError(format!("{what} has {N} bytes, not {}", bytes.len()));
    value.map(|bytes| bytes.try_into().map_err(|_| wrong(bytes))).transpose()
}

fn text_to_bytes<const N: usize>(
    column: &dyn Array,
    what: &str,
    parse: impl Fn(&str) -> Option<[u8; N]>,
) -> Result<FixedSizeBinaryArray, ArrowError> {
    let mut values = FixedSizeBinaryBuilder::with_capacity(column.len(), N as i32);
    for text in text_values(column)? {
        match text {
            None => values.append_null(),
            Some(text) => {
                let wrong = || ArrowError::InvalidArgumentError(format!("{text:?} is not {what}"));
                values.append_value(parse(text.trim()).ok_or_else(wrong)?)?;
            }
        }
    }
    Ok(values.finish())
}

pub(crate) type Values<'a, T> = Box<dyn Iterator<Item = Option<&'a T>> + 'a>;

fn byte_values(column: &dyn Array) -> Result<Values<'_, [u8]>, ArrowError> {
    Ok(match column.data_type() {
        DataType::FixedSizeBinary(_) => Box::new(column.as_fixed_size_binary().iter()),
        DataType::Binary => Box::new(column.as_binary::<i32>().iter()),
        DataType::LargeBinary => Box::new(column.as_binary::<i64>().iter()),
        DataType::BinaryView => Box::new(column.as_binary_view().iter()),
        other => {
            return Err(ArrowError::InvalidArgumentError(format!(
                "a column of bytes is needed, not of {other}"
            )));
        }
    })
}

pub(crate) fn text_values(column: &dyn Array) -> Result<Values<'_, str>, ArrowError> {
    Ok(match column.data_type() {
        DataType::Utf8 => Box::new(column.as_string::<i32>().iter()),
        DataType::LargeUtf8 => Box::new(column.as_string::<i64>().iter()),
        DataType::Utf8View => Box::new(column.as_string_view().iter()),
        other => {
            return Err(ArrowError::InvalidArgumentError(format!(
                "a column of text is needed, not of {other}"
            )));
        }
    })
}

/// A set of address prefixes, IPv4 and IPv6.
#[derive(Debug, Clone, Default)]
pub struct Prefixes(RangeMap);

impl Prefixes {
    /// The set of these prefixes, such as `192.0.2.0/24`, `2001:db8::/32` or a single address. Bits behind the
    /// prefix length must be zero. The error names the first text that is none.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut builder = Builder::default();
        for text in texts {
            builder.add(parse_prefix(text)?, 0, 0);
        }
        Ok(Self(builder.build()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any prefix holds this address.
    pub fn contains(&self, addr: Addr) -> bool {
        self.0.get(addr).is_some()
    }
}

/// The addresses of a prefix: all IPv4 or all IPv6, so `::/0` holds none of IPv4.
pub(crate) fn parse_prefix(text: &str) -> Result<Range, String> {
    let wrong = |why: &str| format!("{text:?} is not an address prefix: {why}");
    let (addr, bits) = text.split_once('/').map_or((text, None), |(addr, bits)| (addr, Some(bits)));
    let addr: IpAddr = addr.trim().parse().map_err(|_| wrong("an IPv4 or IPv6 address must come first"))?;
    let (value, width) = match addr {
        IpAddr::V4(v4) => (u128::from_be_bytes(v4.to_ipv6_mapped().octets()), 32),
        IpAddr::V6(v6) => (u128::from_be_bytes(v6.octets()), 128),
    };
    let bits = match bits {
        None => width,
        Some(bits) => bits
            .parse::<u32>()
            .ok()
            .filter(|&bits| bits <= width)
            .ok_or_else(|| wrong(&format!("the length must be from 0 to {width}")))?,
    };
    let host = u128::MAX.checked_shr(128 - width + bits).unwrap_or(0);
    if value & host != 0 {
        return Err(wrong("bits behind the prefix length are set"));
    }
    Range::new(value.to_be_bytes(), (value | host).to_be_bytes())
        .ok_or_else(|| wrong("it holds addresses of both kinds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_may_reach_to_the_last_address() {
        let addr = |text| parse_address(text).unwrap();
        for (prefix, inside, outside) in [
            ("240.0.0.0/4", "240.0.0.1", "239.255.255.255"),
            ("255.255.255.255", "255.255.255.255", "0.0.0.0"),
            ("0.0.0.0/0", "250.0.0.1", "::1"),
            ("ff00::/8", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::1"),
            ("::/0", "ffff::1", "192.0.2.1"),
        ] {
            let prefixes = Prefixes::new([prefix]).unwrap();
            assert!(prefixes.contains(addr(inside)), "{prefix}");
            assert!(!prefixes.contains(addr(outside)), "{prefix}");
        }
    }

    #[test]
    fn addresses_are_text_and_back() {
        for text in ["192.0.2.1", "2001:db8::1", "::", "255.255.255.255"] {
            assert_eq!(address_text(parse_address(text).unwrap()), text);
        }
        assert_eq!(parse_address("192.0.2.1").unwrap()[..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
        assert_eq!(parse_address("192.0.2.256"), None);
    }

    #[test]
    fn macs_are_text_and_back() {
        let mac = [0, 0x1b, 0x54, 0xab, 0xcd, 0xef];
        assert_eq!(mac_text(mac), "00:1b:54:ab:cd:ef");
        for text in ["00:1b:54:ab:cd:ef", "00-1B-54-AB-CD-EF", "001b.54ab.cdef"] {
            assert_eq!(parse_mac(text), Some(mac), "{text}");
        }
        for text in ["00:1b:54:ab:cd", "00:1b:54:ab:cd:eg", "001b54abcdef", ""] {
            assert_eq!(parse_mac(text), None, "{text}");
        }
    }

    #[test]
    fn prefixes_hold_what_lies_in_them() {
        let set = Prefixes::new(["192.0.2.0/24", "2001:db8::/32", "198.51.100.7", "192.0.2.128/25"]).unwrap();
        for (text, inside) in [
            ("192.0.1.255", false),
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
            ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(set.contains(parse_address(text).unwrap()), inside, "{text}");
        }
        let all = Prefixes::new(["0.0.0.0/0"]).unwrap();
        assert!(
            all.contains(parse_address("0.0.0.0").unwrap()) && !all.contains(parse_address("::1").unwrap())
        );
        let all = Prefixes::new(["::/0"]).unwrap();
        assert!(
            all.contains(parse_address("::1").unwrap()) && !all.contains(parse_address("192.0.2.1").unwrap())
        );
        assert!(!Prefixes::default().contains([0; 16]));
    }

    #[test]
    fn a_wrong_prefix_says_why() {
        for (text, why) in [
            ("192.0.2.1/24", "bits behind the prefix length are set"),
            ("192.0.2.0/33", "from 0 to 32"),
            ("example", "must come first"),
            ("2001:db8::/x", "from 0 to 128"),
        ] {
            assert!(Prefixes::new([text]).unwrap_err().contains(why), "{text}");
        }
    }
}
