use std::io::Write;

use proptest::prelude::*;

use super::zones::Members;
use super::*;
use crate::packets::address::parse_address;

/// A file that is removed again.
struct TempFile(std::path::PathBuf);

impl TempFile {
    fn new(ending: &str, bytes: &[u8]) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tapsight-{}-{count}.{ending}", std::process::id()));
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn read(ending: &str, files: &[&[u8]]) -> Result<Places, Error> {
    let mut sources = Sources::default();
    for bytes in files {
        sources.read(&TempFile::new(ending, bytes).0)?;
    }
    Ok(sources.build())
}

/// Country, number and name of a network as text: `DE 64500 Example`.
fn said(places: &Places, addr: &str) -> String {
    let Place { country, network, .. } = places.of(parse_address(addr).unwrap());
    let network = network.map(|number| &places.networks()[number as usize]);
    let asn = network.and_then(|network| network.asn).map(|asn| asn.to_string()).unwrap_or_default();
    let name = network.map(|network| network.name.as_str()).unwrap_or_default();
    format!("{} {asn} {name}", country.map_or("", Country::code)).trim().to_owned()
}

fn error(ending: &str, bytes: &[u8]) -> String {
    let text = read(ending, &[bytes]).unwrap_err().to_string();
    // Without the name of the file, which is another each time.
    text.split_once(&format!(".{ending}")).unwrap().1.to_owned()
}

#[test]
fn tables_name_their_columns_in_any_order() {
    let csv = "\u{feff}# comment\r\nasn;Country;name;prefix\r\nAS64500;de;\"a \"\"b\"\"; c\";8.8.0.0/16\r\n\r\n;FR;;8.8.8.0/24\r\n";
    let places = read("csv", &[csv.as_bytes()]).unwrap();
    assert_eq!(said(&places, "8.8.1.1"), "DE 64500 a \"b\"; c");
    assert_eq!(said(&places, "8.8.8.8"), "FR 64500 a \"b\"; c"); // that row says nothing of a network
    assert_eq!(said(&places, "8.9.0.0"), "");
    let ipinfo =
        "network,country,country_code,continent,asn,as_name\n2a00::/16,Germany,DE,Europe,AS64501,Example\n";
    assert_eq!(said(&read("csv", &[ipinfo.as_bytes()]).unwrap(), "2a00::1"), "DE 64501 Example");
    let ranges = "start_ip,end_ip,cc\n8.8.0.3,8.8.0.9,AX\n2a00::5,2a00::7,SE\n";
    let places = read("csv", &[ranges.as_bytes()]).unwrap();
    for (addr, place) in
        [("8.8.0.2", ""), ("8.8.0.3", "AX"), ("8.8.0.9", "AX"), ("8.8.0.10", ""), ("2a00::7", "SE")]
    {
        assert_eq!(said(&places, addr), place, "{addr}");
    }
}

#[test]
fn a_country_is_said_by_a_zone_before_a_file_and_by_that_before_a_registry() {
    let zone = |name: &str, prefix: &str, code| Members {
        name: name.to_owned(),
        prefixes: vec![prefix.to_owned()],
        country: Country::from_code(code),
        ..Members::default()
    };
    let zones = Zones::new([zone("core", "8.8.8.0/24", "NO"), zone("peer", "8.8.9.0/24", "")]).unwrap();
    let mut sources = Sources::default().zones(zones).registered();
    let files = [b"8.8.0.0/16,SE\n8.9.0.0/16,DK\n".as_slice(), b"8.8.9.0/25,FI\n"];
    let files = files.map(|bytes| TempFile::new("csv", bytes));
    for file in &files {
        sources.read(&file.0).unwrap();
    }
    let places = sources.build();
    assert_eq!(places.files(), files.each_ref().map(|file| file.0.display().to_string()));
    for (addr, country, source) in [
        ("8.8.8.8", "NO", Some(Source::Zone(0))),
        ("8.8.7.7", "SE", Some(Source::File(0))),
        ("8.8.9.9", "FI", Some(Source::File(1))),
        ("8.8.9.200", "SE", Some(Source::File(0))),
        ("10.0.0.1", "", None),
    ] {
        let place = places.of(parse_address(addr).unwrap());
        assert_eq!((place.country.map_or("", Country::code), place.source), (country, source), "{addr}");
    }
    // RIPE NCC has it.
    let place = places.of(parse_address("193.0.6.139").unwrap());
    assert_eq!(place.source, HAS_REGISTERED.then_some(Source::Registry));
}

#[test]
fn tables_without_names_of_columns_are_known_by_their_shape() {
    for (csv, place) in [
        ("8.8.0.0,8.8.255.255,US", "US"),
        ("134742016,134807551,US\n", "US"), // as tor-geoip has it
        ("8.8.0.0/16,US", "US"),
        ("8.8.8.8,US\n8.8.8.0/24,NL\n", "US"),
        ("8.8.8.0/24,NL\n8.8.8.8,US\n", "US"),
        ("8.8.0.0,8.8.255.255,64500,\"Example, Inc.\"", "64500 Example, Inc."),
    ] {
        assert_eq!(said(&read("csv", &[csv.as_bytes()]).unwrap(), "8.8.8.8"), place, "{csv}");
    }
}

#[test]
fn a_wrong_row_is_told_by_file_and_line() {
    for (csv, what) in [
        ("", ": empty"),
        ("# nothing\n\n", ": empty"),
        ("a,b\n", ":1: no column says which addresses"),
        ("prefix,b\n", ":1: no column says where"),
        ("8.8.8.8,US,1,2,3\n", ":1: the first row does not name the columns"),
        (
            "prefix,country\n8.8.8.0/24,US\n8.8.8.1/24,US\n",
            ":3: \"8.8.8.1/24\" is not an address prefix: bits",
        ),
        ("prefix,country\n\n8.8.8.0/24,USA\n", ":3: \"USA\" is not a country's code"),
        ("prefix,asn\n8.8.8.0/24,ASX\n", ":2: \"ASX\" is not the number of a network"),
        ("prefix,asn\n8.8.8.0/24,4294967296\n", ":2: \"4294967296\" is not the number"),
        ("prefix,country\n8.8.8.0/24\n", ":2: 1 values in this row: too few"),
        ("prefix,country\n\"8.8.8.0/24,US\n", ":2: a quote is not closed"),
        ("prefix,country\n\"8.8.8.0/24\"x,US\n", ":2: text behind a quote"),
        ("first,last,country\n8.8.8.9,8.8.8.8,US\n", ":2: from \"8.8.8.9\" to \"8.8.8.8\" is no range"),
        ("first,last,country\n8.8.8.9,::1,US\n", ":2: from \"8.8.8.9\" to \"::1\" is no range"),
        ("first,last,country\n8.8.8.9,x,US\n", ":2: \"x\" is not an IP address"),
        ("\x1f\u{8b}", ":1: no column says which"),
    ] {
        let told = error("csv", csv.as_bytes());
        assert!(told.starts_with(what), "{csv:?}: {told}");
    }
    assert!(error("csv", b"\x1f\x8b\x08").starts_with(": compressed"));
    assert!(error("csv", &vec![b'a'; 1 << 20]).starts_with(":1: a line of more than"));
    let gone = Sources::default().read(Path::new("/nowhere/at.all")).unwrap_err();
    assert!(matches!(gone, Error::Io { .. }) && gone.to_string().starts_with("/nowhere/at.all: "));
}

#[test]
fn registries_count_addresses() {
    // Lines of the exchange format as RIPE NCC publishes it, with 768 addresses that are no prefix.
    let file = b"2|ripencc|1764284399|3|19830705|20261127|+0100\nripencc|*|ipv4|*|2|summary\n\
ripencc|FR|ipv4|2.0.0.0|1048576|20100712|allocated|5cc3\nripencc|EU|ipv4|2.58.0.0|768|20190101|assigned|1\n\
ripencc||ipv4|2.60.0.0|256||available\nripencc|ZZ|ipv4|2.61.0.0|256||reserved\nripencc|FR|asn|7|1|19930901|allocated|x\n\
ripencc|AE|ipv6|2001:67c:10::|48|20100212|assigned|y\n";
    let places = read("txt", &[file]).unwrap();
    for (addr, place) in [
        ("2.0.0.0", "FR"),
        ("2.15.255.255", "FR"),
        ("2.16.0.0", ""),
        ("2.58.2.255", "EU"),
        ("2.58.3.0", ""),
        ("2.60.0.1", ""),
        ("2001:67c:10::1", "AE"),
    ] {
        assert_eq!(said(&places, addr), place, "{addr}");
    }
    for (line, what) in [
        ("a|b|c", "not a line of a delegation file"),
        ("r|DE|ipv4|1.2.3.4|0||allocated", "0 addresses from \"1.2.3.4\""),
        ("r|DE|ipv4|255.0.0.0|4294967295||allocated", "4294967295 addresses"),
        ("r|DE|ipv4|x|1||allocated", "1 addresses from \"x\""),
        ("r|DE|ipv6|2001::1|16||allocated", "\"2001::1/16\" is not an address prefix"),
        ("r|DE|ipv6|x|16||allocated", "\"x\" is not an IPv6 address"),
        ("r|DEU|ipv4|1.2.3.0|1||allocated", "\"DEU\" is not a country's code"),
    ] {
        let told = error("txt", line.as_bytes());
        assert!(told.starts_with(&format!(":1: {what}")), "{line}: {told}");
    }
}

#[test]
fn a_later_file_wins_and_special_addresses_lie_nowhere_unless_listed() {
    let first = b"prefix,country\n0.0.0.0/0,US\n8.8.8.0/24,CH\n::/0,SE\n192.0.2.0/25,NO\n";
    let second = b"prefix,country\n8.0.0.0/8,DE\n";
    let places = read("csv", &[first, second]).unwrap();
    for (addr, place) in [
        ("9.9.9.9", "US"),
        ("8.8.8.8", "DE"),
        ("10.0.0.1", ""),
        ("11.0.0.0", "US"),
        ("223.255.255.255", "US"),
        ("224.0.0.1", ""),
        ("255.255.255.255", ""),
        ("192.0.2.1", "NO"),
        ("192.0.2.129", ""),
        ("2a00::1", "SE"),
        ("fe80::1", ""),
        ("::1", ""),
        ("64:ff9b::8.8.8.8", "DE"), // RFC 6052
    ] {
        assert_eq!(said(&places, addr), place, "{addr}");
    }
}

#[test]
fn zones_go_by_the_address_itself() {
    let members =
        Members { name: "lab".to_owned(), prefixes: vec!["10.0.0.0/8".to_owned()], ..Members::default() };
    let places = Sources::default().zones(Zones::new([members]).unwrap()).build();
    let zone = |addr| places.of(parse_address(addr).unwrap()).zone;
    assert_eq!((zone("10.1.1.1"), zone("11.1.1.1"), zone("64:ff9b::10.1.1.1")), (Some(0), None, None));
    assert!(!places.is_empty() && Places::default().is_empty());
}

#[cfg(feature = "registered")]
#[test]
fn registered_countries_are_those_of_the_registries() {
    let places = Sources::default().registered().build();
    // whois.arin.net, whois.ripe.net and whois.apnic.net: country of the allocation. RFC 8806 root servers and such stay put.
    for (addr, place) in [
        ("8.8.8.8", "US"),
        ("193.0.0.1", "NL"),
        ("202.12.29.1", "AU"),
        ("2001:67c:2e8::1", "NL"),
        ("fe80::1", ""),
    ] {
        assert_eq!(said(&places, addr), place, "{addr}");
    }
    for range in special::ranges() {
        for addr in [range.first(), range.last()] {
            assert_eq!(places.of(addr), Place::default());
        }
    }
}

/// A MaxMind DB, written by its specification, version 2.0.
mod mmdb {
    pub fn text(text: &str) -> Vec<u8> {
        // From 29 on, the size is in the next byte, less those 29.
        let mut bytes = match text.len() {
            short @ 0..29 => vec![0x40 | short as u8],
            long => vec![0x40 | 0x1d, u8::try_from(long - 29).unwrap()],
        };
        bytes.extend(text.bytes());
        bytes
    }

    pub fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = vec![0xe0 | pairs.len() as u8];
        for (key, value) in pairs {
            bytes.extend(text(key));
            bytes.extend(value);
        }
        bytes
    }

    pub fn uint16(value: u16) -> Vec<u8> {
        [&[0xa2], value.to_be_bytes().as_slice()].concat()
    }

    pub fn uint32(value: u32) -> Vec<u8> {
        [&[0xc4], value.to_be_bytes().as_slice()].concat()
    }

    /// Networks as the bits of their prefix, with the record of each.
    pub fn file(record_size: u16, ip_version: u16, networks: &[(u128, u32, Vec<u8>)]) -> Vec<u8> {
        let mut nodes: Vec<[Option<Result<usize, usize>>; 2]> = vec![[None; 2]];
        let mut data: Vec<u8> = Vec::new();
        for (prefix, length, record) in networks {
            let mut at = 0;
            for depth in 0..*length {
                let bit = (prefix >> (127 - depth) & 1) as usize;
                if depth + 1 == *length {
                    nodes[at][bit] = Some(Err(data.len()));
                } else if let Some(Ok(next)) = nodes[at][bit] {
                    at = next;
                } else {
                    let next = nodes.len();
                    nodes[at][bit] = Some(Ok(next));
                    nodes.push([None; 2]);
                    at = next;
                }
            }
            data.extend(record);
        }
        let count = nodes.len();
        let mut file = Vec::new();
        for node in &nodes {
            let [l, r] = node.map(|child| match child {
                None => count as u32,
                Some(Ok(next)) => next as u32,
                Some(Err(offset)) => (count + 16 + offset) as u32,
            });
            let ([a, b, c, d], [e, f, g, h]) = (l.to_be_bytes(), r.to_be_bytes());
            match record_size {
                24 => file.extend([b, c, d, f, g, h]),
                28 => file.extend([b, c, d, a << 4 | e, f, g, h]),
                _ => file.extend([a, b, c, d, e, f, g, h]),
            }
        }
        file.extend([0; 16]);
        file.extend(data);
        file.extend(b"\xab\xcd\xefMaxMind.com");
        file.extend(map(&[
            ("binary_format_major_version", uint16(2)),
            ("binary_format_minor_version", uint16(0)),
            ("build_epoch", vec![0x04, 0x02, 0x60, 0, 0, 0]),
            ("database_type", text("Test")),
            ("description", map(&[])),
            ("ip_version", uint16(ip_version)),
            ("languages", vec![0x00, 0x04]),
            ("node_count", uint32(count as u32)),
            ("record_size", uint16(record_size)),
        ]));
        file
    }

    pub fn v4(a: u8, b: u8) -> u128 {
        u128::from(u32::from_be_bytes([a, b, 0, 0]))
    }
}

fn databases() -> Vec<Vec<u8>> {
    use mmdb::{file, map, text, uint32, v4};
    let geolite = map(&[
        ("continent", map(&[("code", text("EU"))])),
        (
            "country",
            map(&[
                ("iso_code", text("DE")),
                ("geoname_id", uint32(2_921_044)),
                ("names", map(&[("en", text("Germany"))])),
            ]),
        ),
    ]);
    let anycast = map(&[("registered_country", map(&[("iso_code", text("AU"))]))]);
    let of_asn = map(&[
        ("autonomous_system_number", uint32(64_500)),
        ("autonomous_system_organization", text("Example")),
    ]);
    let ipinfo = map(&[
        ("country", text("Germany")),
        ("country_code", text("DE")),
        ("asn", text("AS64501")),
        ("as_name", text("Other")),
    ]);
    let records = [geolite, anycast, of_asn, ipinfo];
    [24, 28, 32]
        .into_iter()
        .flat_map(|size| {
            let in_v6 = records.iter().zip(1..).map(|(r, n)| (v4(8, n), 112, r.clone()));
            let v6 = [(0x2a00_u128 << 112, 16, records[0].clone())];
            let in_v4 = records.iter().zip(1..).map(|(r, n)| (v4(8, n) << 96, 16, r.clone()));
            [file(size, 6, &in_v6.chain(v6).collect::<Vec<_>>()), file(size, 4, &in_v4.collect::<Vec<_>>())]
        })
        .collect()
}

#[test]
fn databases_of_all_layouts_are_read() {
    for (number, bytes) in databases().iter().enumerate() {
        let places = read("mmdb", &[bytes]).unwrap();
        for (addr, place) in [
            ("8.1.0.0", "DE"),
            ("8.1.255.255", "DE"),
            ("8.2.1.1", "AU"),
            ("8.3.1.1", "64500 Example"),
            ("8.4.1.1", "DE 64501 Other"),
            ("8.5.0.0", ""),
            ("2a00::1", if number % 2 == 0 { "DE" } else { "" }),
        ] {
            assert_eq!(said(&places, addr), place, "{number} {addr}");
        }
        // Known by what it holds, too.
        assert_eq!(said(&read("bin", &[bytes]).unwrap(), "8.1.0.0"), "DE");
    }
}

#[test]
fn a_tree_that_is_none_is_an_error() {
    // Two hundred nodes, each of which leads to the next by both ways: 2^200 ways to the end.
    let mut bytes = mmdb::file(24, 6, &[(0x2a00_u128 << 112, 100, mmdb::map(&[]))]);
    for node in 0..99_u8 {
        bytes[usize::from(node) * 6..][..6].copy_from_slice(&[0, 0, node + 1, 0, 0, node + 1]);
    }
    assert!(error("mmdb", &bytes).contains("its tree is damaged"));
    let mut bytes = mmdb::file(24, 6, &[(0, 100, mmdb::map(&[]))]);
    bytes[3..6].copy_from_slice(&[0, 0, 0]);
    assert!(error("mmdb", &bytes).contains("its tree is damaged"));
    assert!(error("mmdb", b"no such thing").contains("not a MaxMind DB"));
    assert!(error("mmdb", &mmdb::file(24, 4, &[(0, 8, mmdb::map(&[]))])).contains("no record says"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_databases_end_in_an_error_or_a_map(
        which in 0_usize..6,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = databases().swap_remove(which);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = read("mmdb", &[&bytes]);
    }

    #[test]
    fn any_text_ends_in_an_error_or_a_map(text in "(prefix,country|first;last;asn|[a-z0-9.:/,\t;\"|]{0,20})(\r?\n[A-Za-z0-9.:/,;\"|]{0,30}){0,6}") {
        let _ = read("csv", &[text.as_bytes()]);
    }

    #[test]
    fn any_bytes_end_in_an_error_or_a_map(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read("csv", &[&bytes]);
    }
}
