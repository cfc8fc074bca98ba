//! BGP, RFC 4271.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::columns::{Address, Text, Texts, U8, U16, U32, table};
use super::words::{Words, address};
use super::{Frame, Table};
use crate::classify::{App, Basis};

table! {
    /// BGP messages: who opens a session, and what is announced and withdrawn.
    Bgp, Row {
        /// 1 open, 2 update, 3 notification, 4 keep-alive, 5 route refresh.
        type_: U8,
        /// Autonomous system of the sender of an open message: from its capability (RFC 6793) if it has one.
        asn: U32,
        /// Seconds without a message after which a session is to end, of an open message.
        hold_time: U16,
        /// Identifier of the sender of an open message.
        router_id: Address,
        /// Prefixes announced, IPv4 unicast, and IPv6 unicast by RFC 4760.
        announced: Texts,
        /// Prefixes withdrawn, of the same kinds.
        withdrawn: Texts,
        /// Autonomous systems of the path, nearest first, sets in braces; with AS4_PATH in its place (RFC 6793 section 4.2.3).
        as_path: Text,
        /// First autonomous system of the path, the neighbour's.
        first_as: U32,
        /// Last autonomous system of the path, where the prefixes come from; null if the path ends with a set.
        origin_as: U32,
        /// Next hop.
        next_hop: Address,
        /// Error code of a notification, section 4.5.
        error: U8,
        /// Error subcode of a notification.
        error_subcode: U8,
    }
}

impl Table for Bgp {
    fn read(&mut self, frame: &Frame<'_>) {
        if (frame.label.app, frame.label.basis) != (Some(App::Bgp), Some(Basis::Signature)) {
            return;
        }
        let mut rest = frame.layers.payload;
        // Marker, length, type (section 4.1); several may follow each other.
        while let Some((&[0xff, 0xff, 0xff, 0xff, .., hi, lo, kind], body)) = rest.split_first_chunk::<19>() {
            let Some(length) = usize::from(u16::from_be_bytes([hi, lo])).checked_sub(19) else { return };
            let body = Words(body.get(..length).unwrap_or(body));
            let mut row = Row { type_: Some(kind), ..Row::default() };
            match kind {
                1 => open(&mut row, body),
                2 => _ = update(&mut row, body),
                3 => notification(&mut row, body),
                _ => {}
            }
            self.push(frame, row);
            rest = rest.get(19 + length..).unwrap_or_default();
        }
    }
}

/// Section 4.2: version, system, hold time, identifier, parameters; and RFC 5492 section 4: capabilities are parameter 2.
fn open(row: &mut Row<'_>, mut words: Words<'_>) {
    words.u8();
    row.asn = words.u16().map(u32::from);
    row.hold_time = words.u16();
    row.router_id = address(words.bytes(4));
    // A length and a type of 255 say that there are lengths of two bytes, RFC 9072 section 2.
    let is_extended = matches!(words.0, [255, 255, ..]);
    words.bytes(if is_extended { 4 } else { 1 });
    while let Some(parameter) = words.u8() {
        let length = if is_extended { words.u16() } else { words.u8().map(u16::from) };
        let mut capabilities = Words(words.bytes(length.unwrap_or_default().into()));
        while let (2, Some(code), Some(length)) = (parameter, capabilities.u8(), capabilities.u8()) {
            let mut value = Words(capabilities.bytes(length.into()));
            // Systems of four bytes, RFC 6793 section 3.
            if (code, length) == (65, 4) {
                row.asn = value.u32().or(row.asn);
            }
        }
    }
}

fn notification(row: &mut Row<'_>, mut words: Words<'_>) {
    row.error = words.u8();
    row.error_subcode = words.u8();
}

/// Section 4.3: withdrawn prefixes, attributes, announced prefixes.
fn update(row: &mut Row<'_>, mut words: Words<'_>) -> Option<()> {
    let withdrawn_len = words.u16()?;
    let mut withdrawn = prefixes(words.bytes(withdrawn_len.into()), false);
    let attributes_len = words.u16()?;
    let mut attributes = Words(words.bytes(attributes_len.into()));
    let mut announced = prefixes(words.0, false);
    let (mut path, mut wide_path) = (None, None);
    while let (Some(flags), Some(kind)) = (attributes.u8(), attributes.u8()) {
        // The flag 0x10: a length of two bytes.
        let length = if flags & 0x10 == 0 { attributes.u8().map(u16::from) } else { attributes.u16() };
        let value = attributes.bytes(length?.into());
        let mut inside = Words(value);
        match kind {
            2 => path = segments(value, 4).or_else(|| segments(value, 2)),
            17 => wide_path = segments(value, 4),
            3 => row.next_hop = address(value),
            // RFC 4760 sections 3 and 4: family, next hop, a reserved byte, prefixes; family, prefixes.
            14 => {
                let family = (inside.u16(), inside.u8());
                let next_hop_len = inside.u8().unwrap_or_default();
                let next_hop = inside.bytes(next_hop_len.into());
                inside.u8();
                let is_six = family == (Some(2), Some(1));
                if is_six || family == (Some(1), Some(1)) {
                    // The link-local address may follow, RFC 2545 section 3.
                    row.next_hop = next_hop.get(..16).and_then(address).or(address(next_hop));
                    announced.extend(prefixes(inside.0, is_six));
                }
            }
            15 => {
                let family = (inside.u16(), inside.u8());
                let is_six = family == (Some(2), Some(1));
                if is_six || family == (Some(1), Some(1)) {
                    withdrawn.extend(prefixes(inside.0, is_six));
                }
            }
            _ => {}
        }
    }
    if let Some(path) = path {
        set_path(row, &merged(path, wide_path.unwrap_or_default()));
    }
    row.announced = Some(announced).filter(|prefixes| !prefixes.is_empty());
    row.withdrawn = Some(withdrawn).filter(|prefixes| !prefixes.is_empty());
    Some(())
}

/// Prefixes, each a length in bits and as many bytes as that takes. Those with path identifiers (RFC 7911) cannot be told
/// apart: a prefix longer than an address, or one that is cut, ends the list.
fn prefixes(bytes: &[u8], is_six: bool) -> Vec<Cow<'static, str>> {
    let mut words = Words(bytes);
    let mut prefixes = Vec::new();
    let most = if is_six { 128 } else { 32 };
    while let Some(bits) = words.u8().filter(|&bits| bits <= most) {
        let len = usize::from(bits).div_ceil(8);
        let bytes = words.bytes(len);
        let mut whole = [0; 16];
        let Some(start) = whole.get_mut(..len).filter(|_| bytes.len() == len) else { break };
        start.copy_from_slice(bytes);
        prefixes.push(Cow::Owned(if is_six {
            format!("{}/{bits}", Ipv6Addr::from(whole))
        } else {
            let [a, b, c, d, ..] = whole;
            format!("{}/{bits}", Ipv4Addr::new(a, b, c, d))
        }));
    }
    prefixes
}

type Segment = (u8, Vec<u32>);

/// A path that speakers without wide numbers passed on, and what AS4_PATH says of its end, RFC 6793 section 4.2.3: as much of
/// the former as the latter is shorter, in hops.
fn merged(mut path: Vec<Segment>, wide_path: Vec<Segment>) -> Vec<Segment> {
    // A set is one (RFC 4271 section 9.1.2.2), what is inside a confederation none (RFC 5065 section 5.3).
    let hops = |(kind, systems): &Segment| match kind {
        1 => 1,
        2 => systems.len(),
        _ => 0,
    };
    let count = |path: &[Segment]| path.iter().map(hops).sum::<usize>();
    let Some(mut keep) = count(&path).checked_sub(count(&wide_path)).filter(|_| !wide_path.is_empty()) else {
        return path;
    };
    path.retain_mut(|segment| {
        let counts = hops(segment) > 0;
        if counts && keep == 0 {
            return false;
        }
        if segment.0 == 2 {
            segment.1.truncate(keep);
        }
        keep -= hops(segment);
        true
    });
    path.extend(wide_path);
    path
}

fn set_path(row: &mut Row<'_>, segments: &[Segment]) {
    let mut text = String::new();
    for (kind, systems) in segments {
        let list: Vec<_> = systems.iter().map(u32::to_string).collect();
        let (open, close, by) = match kind {
            1 => ("{", "}", ","),
            3 => ("(", ")", " "),
            4 => ("[", "]", ","),
            _ => ("", "", " "),
        };
        let space = if text.is_empty() { "" } else { " " };
        text.extend([space, open, &list.join(by), close]);
    }
    row.as_path = Some(text.into());
    row.first_as = segments
        .first()
        .filter(|(kind, _)| matches!(kind, 2 | 3))
        .and_then(|(_, list)| list.first().copied());
    row.origin_as = segments.last().filter(|(kind, _)| *kind == 2).and_then(|(_, list)| list.last().copied());
}

/// Section 4.3, path attribute 2: segments of a type (1 a set, 2 a sequence; RFC 5065: 3 and 4 of a confederation), a
/// count, and systems. Whether those have two or four bytes (RFC 6793) was agreed when the session began: what fits.
fn segments(bytes: &[u8], width: usize) -> Option<Vec<Segment>> {
    let mut words = Words(bytes);
    let mut segments = Vec::new();
    while let Some(kind) = words.u8() {
        let count = usize::from(words.u8()?);
        let systems = words.bytes(count * width);
        if !(1..=4).contains(&kind) || systems.len() != count * width {
            return None;
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte));
        segments.push((kind, systems.chunks(width).map(number).collect()));
    }
    Some(segments)
}
