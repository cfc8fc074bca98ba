//! The pcapng file format (draft-ietf-opsawg-pcapng).
//!
//! A file is a run of sections, each with its own byte order and its own list of interfaces; a section is a run of
//! blocks, framed by their length at both ends. What is no packet, interface or statistics is passed over unread.

use std::sync::Arc;

use super::prefetch;
use super::walk::{BLOCK_RECORDS, Sink, Stop, Walked, u16_of, u32_of, words};
use super::{Interface, LinkType, Record, TsResolution};

/// Block types (section 11.1 of the draft).
mod kind {
    /// Section Header Block; the same in either byte order.
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
    /// Interface Description Block.
    pub(super) const INTERFACE: u32 = 1;
    /// Packet Block: obsolete, but still found.
    pub(super) const PACKET: u32 = 2;
    /// Simple Packet Block.
    pub(super) const SIMPLE: u32 = 3;
    /// Interface Statistics Block.
    pub(super) const STATISTICS: u32 = 5;
    /// Enhanced Packet Block.
    pub(super) const ENHANCED: u32 = 6;
}

/// Bytes of a block without a body: its type, and its length twice.
const EMPTY_BLOCK: usize = 12;
/// Bytes of the body of a Section Header Block without options.
const SECTION_BODY: usize = 16;
/// Bytes that options of a packet may add to it.
const MAX_PACKET_OPTIONS: u32 = 1 << 20;
/// Bytes of a section header, interface description or statistics block; more is taken for damage.
const MAX_DESCRIPTION: u32 = 16 << 20;
/// Bytes of the largest packet block there can be.
const MAX_PACKET: u32 = (128 << 20) + MAX_PACKET_OPTIONS;
/// Interfaces of a file that are listed; a packet on a further one is on an unknown interface.
const MAX_INTERFACES: usize = 1 << 16;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Whether a file that begins with `head` is a pcapng file.
pub(super) fn is_pcapng(head: &[u8]) -> bool {
    head.starts_with(&kind::SECTION.to_be_bytes())
}

/// What the packets of an interface need to know of it.
#[derive(Debug, Clone, Copy)]
struct Timing {
    /// Index in the interfaces of the stream.
    index: u32,
    snaplen: u32,
    max_cap_len: u32,
    unit: Unit,
    /// Nanoseconds to add.
    offset: i128,
}

/// The unit of time stamps, prepared for the conversion to nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// So many nanoseconds.
    Nanos(u64),
    /// So many to a nanosecond.
    PerNano(u64),
    /// A second, divided by two to the power of this.
    SecondShifted(u32),
}

impl Unit {
    fn of(resolution: TsResolution) -> Self {
        let exponent = u32::from(resolution.0 & 0x7f);
        if resolution.0 & 0x80 != 0 {
            Self::SecondShifted(exponent)
        } else if exponent <= 9 {
            Self::Nanos(10_u64.pow(9 - exponent))
        } else {
            // Beyond 10^19 to a nanosecond, 64 bits of time stamp are less than one.
            10_u64.checked_pow(exponent - 9).map_or(Self::Nanos(0), Self::PerNano)
        }
    }

    /// Nanoseconds in so many units, of which there are less than 2^94.
    #[inline]
    fn nanos(self, units: u64) -> i128 {
        match self {
            Self::Nanos(nanos) => i128::from(units) * i128::from(nanos),
            Self::PerNano(units_per_nano) => i128::from(units / units_per_nano),
            Self::SecondShifted(shift) => (i128::from(units) * NANOS_PER_SECOND) >> shift,
        }
    }
}

/// Reads one pcapng file.
pub(super) struct Pcapng {
    file: usize,
    tap: String,
    section: Option<Section>,
    /// Of the file, over all sections.
    interfaces: usize,
    /// A block that is being passed over: bytes before its closing length, and what that must be.
    skipping: Option<(usize, u32)>,
}

/// The section that blocks belong to.
struct Section {
    big_endian: bool,
    os: Option<String>,
    interfaces: Vec<Timing>,
}

/// What the walk through a section met.
enum Met {
    /// A reason to hand over.
    Stop(Stop),
    /// A block that the caller knows how to deal with.
    Block,
}

impl Pcapng {
    /// A walker of source number `file`, whose frames were seen on `tap`.
    pub(super) fn new(file: usize, tap: String) -> Self {
        Self { file, tap, section: None, interfaces: 0, skipping: None }
    }

    /// Finds records in `bytes` from `at` on.
    pub(super) fn walk(&mut self, bytes: &[u8], mut at: usize, sink: &mut Sink<'_>) -> Walked {
        // Blocks without a packet are bounded too, so that a file full of them cannot keep the caller waiting.
        for _ in 0..=BLOCK_RECORDS {
            let met = match &self.section {
                _ if self.skipping.is_some() => Met::Block,
                Some(section) if section.big_endian => packets::<true>(section, bytes, &mut at, sink),
                Some(section) => packets::<false>(section, bytes, &mut at, sink),
                None => Met::Block,
            };
            let done = match met {
                Met::Stop(stop) => Err(stop),
                Met::Block => self.block(bytes.get(at..).unwrap_or_default(), at, sink),
            };
            match done {
                Ok(passed) => at += passed,
                Err(stop) => return stop.at(at),
            }
        }
        Stop::Full.at(at)
    }

    /// Deals with the block at the start of `bytes`, and says how many bytes of it are done.
    fn block(&mut self, bytes: &[u8], at: usize, sink: &mut Sink<'_>) -> Result<usize, Stop> {
        if self.skipping.is_some() {
            return self.skip(bytes);
        }
        let Some(&[kind, len]) = words(bytes) else { return Err(Stop::More(EMPTY_BLOCK)) };
        if u32_of::<true>(kind) == kind::SECTION {
            return self.section(bytes);
        }
        match &self.section {
            Some(Section { big_endian: true, .. }) => self.other::<true>(kind, len, bytes, at, sink),
            Some(Section { big_endian: false, .. }) => self.other::<false>(kind, len, bytes, at, sink),
            None => Err(Stop::Broken("a block before any section header".into())),
        }
    }

    /// Passes over a block that is not read, bit by bit, so that its size does not matter.
    fn skip(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let Some((left, expected)) = self.skipping else { return Ok(0) };
        if left > 0 {
            if bytes.is_empty() {
                return Err(Stop::More(left));
            }
            let passed = left.min(bytes.len());
            self.skipping = Some((left - passed, expected));
            return Ok(passed);
        }
        let Some(&[len]) = words(bytes) else { return Err(Stop::More(4)) };
        let len = match self.section {
            Some(Section { big_endian: true, .. }) => u32_of::<true>(len),
            _ => u32_of::<false>(len),
        };
        if len != expected {
            return Err(unequal_lengths(expected, len));
        }
        self.skipping = None;
        Ok(4)
    }

    /// A Section Header Block: byte order magic, version, length of the section, options.
    fn section(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let Some(&[_, _, magic]) = words(bytes) else { return Err(Stop::More(EMPTY_BLOCK + SECTION_BODY)) };
        match magic {
            [0x1a, 0x2b, 0x3c, 0x4d] => self.begin::<true>(bytes),
            [0x4d, 0x3c, 0x2b, 0x1a] => self.begin::<false>(bytes),
            [a, b, c, d] => Err(Stop::Broken(format!(
                "a pcapng section header with {a:02x} {b:02x} {c:02x} {d:02x} in place of the byte order"
            ))),
        }
    }

    fn begin<const BIG: bool>(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let (body, total) = body::<BIG>(bytes, MAX_DESCRIPTION)?;
        let Some((fixed, options)) = body.split_first_chunk::<SECTION_BODY>() else {
            return Err(too_short("a section header", body));
        };
        let &[_, _, _, _, a, b, c, d, ..] = fixed;
        // Minor version 2 was written by mistake for a while, and means 0.
        match (u16_of::<BIG>([a, b]), u16_of::<BIG>([c, d])) {
            (1, 0 | 2) => {}
            (major, minor) => {
                let reason =
                    format!("a pcapng section header of version {major}.{minor}, which is not known");
                return Err(Stop::Broken(reason));
            }
        }
        let mut os = None;
        for (code, value) in Options::<BIG>(options) {
            if code == 3 {
                os = Some(text(value));
            }
        }
        self.section = Some(Section { big_endian: BIG, os, interfaces: Vec::new() });
        Ok(total)
    }

    /// A block that holds no packet and begins no section.
    fn other<const BIG: bool>(
        &mut self,
        kind: [u8; 4],
        len: [u8; 4],
        bytes: &[u8],
        at: usize,
        sink: &mut Sink<'_>,
    ) -> Result<usize, Stop> {
        match u32_of::<BIG>(kind) {
            kind::INTERFACE => {
                let (body, total) = body::<BIG>(bytes, MAX_DESCRIPTION)?;
                self.interface::<BIG>(body, sink)?;
                Ok(total)
            }
            kind::STATISTICS => {
                let (body, total) = body::<BIG>(bytes, MAX_DESCRIPTION)?;
                self.statistics::<BIG>(body, sink.base + at as u64, sink);
                Ok(total)
            }
            _ => {
                let len = u32_of::<BIG>(len);
                let total = total_len(len)?;
                self.skipping = Some((total - EMPTY_BLOCK, len));
                Ok(8)
            }
        }
    }

    /// An Interface Description Block: link type, snapshot length, options.
    fn interface<const BIG: bool>(&mut self, body: &[u8], sink: &mut Sink<'_>) -> Result<(), Stop> {
        let Some((&[a, b, _, _, c, d, e, f], options)) = body.split_first_chunk::<8>() else {
            return Err(too_short("an interface description", body));
        };
        let Some(section) = &mut self.section else { return Ok(()) };
        if self.interfaces >= MAX_INTERFACES {
            return Ok(());
        }
        self.interfaces += 1;
        let mut interface = Interface {
            file: self.file,
            tap: self.tap.clone(),
            name: None,
            description: None,
            filter: None,
            os: section.os.clone(),
            link: LinkType(u16_of::<BIG>([a, b])),
            snaplen: u32_of::<BIG>([c, d, e, f]),
            ts_resolution: TsResolution::MICROS,
            ts_offset: 0,
            fcs_len: None,
            received: None,
            dropped: None,
        };
        for (code, value) in Options::<BIG>(options) {
            match (code, value) {
                (2, _) => interface.name = Some(text(value)),
                (3, _) => interface.description = Some(text(value)),
                (9, [resolution, ..]) => interface.ts_resolution = TsResolution(*resolution),
                // The first byte says which kind of filter it is; 0 is libpcap's syntax.
                (11, [0, filter @ ..]) => interface.filter = Some(text(filter)),
                (12, _) => interface.os = Some(text(value)),
                (13, [len, ..]) => interface.fcs_len = Some(*len),
                (14, _) => interface.ts_offset = u64_of::<BIG>(value).map_or(0, |seconds| seconds as i64),
                _ => {}
            }
        }
        let number = section.interfaces.len();
        match &interface.name {
            Some(name) if !name.is_empty() => interface.tap = format!("{}/{name}", self.tap),
            _ if number > 0 => interface.tap = format!("{}/{number}", self.tap),
            _ => {}
        }
        section.interfaces.push(Timing {
            index: sink.interfaces.len() as u32,
            snaplen: interface.snaplen,
            max_cap_len: interface.link.max_cap_len(),
            unit: Unit::of(interface.ts_resolution),
            offset: i128::from(interface.ts_offset) * NANOS_PER_SECOND,
        });
        sink.interfaces.push(Arc::new(interface));
        Ok(())
    }

    /// An Interface Statistics Block: interface, time, options. The last one of an interface counts.
    fn statistics<const BIG: bool>(&self, body: &[u8], offset: u64, sink: &mut Sink<'_>) {
        let Some((&[a, b, c, d, ..], options)) = body.split_first_chunk::<12>() else {
            return sink.warnings.note(offset, "an interface statistics block is too short");
        };
        let number = u32_of::<BIG>([a, b, c, d]);
        let timing = self.section.as_ref().and_then(|section| section.interfaces.get(number as usize));
        let Some(interface) = timing.and_then(|timing| sink.interfaces.get_mut(timing.index as usize)) else {
            return sink
                .warnings
                .note(offset, format!("statistics of interface {number}, which is not described"));
        };
        let interface = Arc::make_mut(interface);
        for (code, value) in Options::<BIG>(options) {
            match code {
                4 => interface.received = u64_of::<BIG>(value),
                5 => interface.dropped = u64_of::<BIG>(value),
                _ => {}
            }
        }
    }
}

/// Walks from packet to packet, until there is another block.
fn packets<const BIG: bool>(section: &Section, bytes: &[u8], at: &mut usize, sink: &mut Sink<'_>) -> Met {
    while !sink.is_full() {
        let rest = bytes.get(*at..).unwrap_or_default();
        let Some(&[kind]) = words(rest) else { return Met::Stop(Stop::More(EMPTY_BLOCK)) };
        let packet = match u32_of::<BIG>(kind) {
            kind::ENHANCED => enhanced::<BIG>(section, rest),
            kind::SIMPLE => simple::<BIG>(section, rest),
            kind::PACKET => obsolete::<BIG>(section, rest),
            _ => return Met::Block,
        };
        match packet {
            Ok((record, total)) => {
                prefetch::ahead(bytes, *at, total);
                sink.records.push(Record { offset: *at + record.offset, ..record });
                *at += total;
            }
            Err(stop) => return Met::Stop(stop),
        }
    }
    Met::Stop(Stop::Full)
}

/// An Enhanced Packet Block: interface, time (upper and lower half), captured and original length, packet, options.
#[inline]
fn enhanced<const BIG: bool>(section: &Section, bytes: &[u8]) -> Result<(Record, usize), Stop> {
    let (body, total) = body::<BIG>(bytes, MAX_PACKET)?;
    let Some(&fields) = words::<5>(body) else { return Err(too_short("a packet", body)) };
    let [interface, high, low, cap_len, wire_len] = fields.map(u32_of::<BIG>);
    let record = packet(section, interface, (high, low), (cap_len, wire_len), body.len() - 20, 28)?;
    Ok((record, total))
}

/// A Packet Block: as an Enhanced one, with the interface and a count of drops in 16 bits each.
fn obsolete<const BIG: bool>(section: &Section, bytes: &[u8]) -> Result<(Record, usize), Stop> {
    let (body, total) = body::<BIG>(bytes, MAX_PACKET)?;
    let Some(&[[a, b, _, _], high, low, cap_len, wire_len]) = words::<5>(body) else {
        return Err(too_short("a packet", body));
    };
    let interface = u32::from(u16_of::<BIG>([a, b]));
    let [high, low, cap_len, wire_len] = [high, low, cap_len, wire_len].map(u32_of::<BIG>);
    let record = packet(section, interface, (high, low), (cap_len, wire_len), body.len() - 20, 28)?;
    Ok((record, total))
}

/// A Simple Packet Block: original length and packet, on the first interface. It has no time, so that is 1970.
fn simple<const BIG: bool>(section: &Section, bytes: &[u8]) -> Result<(Record, usize), Stop> {
    let (body, total) = body::<BIG>(bytes, MAX_PACKET)?;
    let Some((&[len], data)) = words::<1>(body).zip(body.get(4..)) else {
        return Err(too_short("a packet", body));
    };
    let wire_len = u32_of::<BIG>(len);
    let mut cap_len = wire_len.min(data.len() as u32);
    match section.interfaces.first() {
        Some(interface) if interface.snaplen > 0 => cap_len = cap_len.min(interface.snaplen),
        _ => {}
    }
    let mut record = packet(section, 0, (0, 0), (cap_len, wire_len), data.len(), EMPTY_BLOCK)?;
    record.ts = 0;
    Ok((record, total))
}

/// The record of a packet with `room` bytes for it in a block, from `offset` on.
#[inline]
fn packet(
    section: &Section,
    number: u32,
    (high, low): (u32, u32),
    (cap_len, wire_len): (u32, u32),
    room: usize,
    offset: usize,
) -> Result<Record, Stop> {
    let Some(interface) = section.interfaces.get(number as usize) else {
        return Err(Stop::Broken(format!("a packet on interface {number}, which is not described")));
    };
    if cap_len > interface.max_cap_len || cap_len as usize > room {
        return Err(Stop::Broken(format!(
            "a packet claims {cap_len} bytes in a block that has room for {room}, and a frame can have {}",
            interface.max_cap_len
        )));
    }
    let units = u64::from(high) << 32 | u64::from(low);
    Ok(Record {
        ts: saturated(interface.unit.nanos(units) + interface.offset),
        offset,
        cap_len,
        wire_len,
        interface: interface.index,
    })
}

/// The time in 64 bits; one that does not fit becomes the first or last that does (1677 and 2262).
#[inline]
fn saturated(nanos: i128) -> i64 {
    nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// The body of the block at the start of `bytes`, and the length of the whole block.
#[inline]
fn body<const BIG: bool>(bytes: &[u8], max: u32) -> Result<(&[u8], usize), Stop> {
    let Some(&[_, len]) = words(bytes) else { return Err(Stop::More(EMPTY_BLOCK)) };
    let len = u32_of::<BIG>(len);
    let total = total_len(len)?;
    if len > max {
        return Err(Stop::Broken(format!("a block claims {len} bytes, more than the {max} it can have")));
    }
    let Some(block) = bytes.get(..total) else { return Err(Stop::More(total)) };
    let Some((body, &closing)) = block.get(8..).and_then(<[u8]>::split_last_chunk::<4>) else {
        return Err(Stop::More(total));
    };
    let closing = u32_of::<BIG>(closing);
    if closing != len {
        return Err(unequal_lengths(len, closing));
    }
    Ok((body, total))
}

/// Bytes that a block with this length takes. Some writers forget the padding in the length, which Wireshark tolerates.
#[inline]
fn total_len(len: u32) -> Result<usize, Stop> {
    let total = len as usize;
    if total < EMPTY_BLOCK {
        return Err(Stop::Broken(format!(
            "a block claims {len} bytes, fewer than the {EMPTY_BLOCK} of an empty one"
        )));
    }
    Ok(total.saturating_add(3) & !3)
}

#[cold]
fn unequal_lengths(opening: u32, closing: u32) -> Stop {
    Stop::Broken(format!("a block claims {opening} bytes at its start and {closing} at its end"))
}

#[cold]
fn too_short(what: &str, body: &[u8]) -> Stop {
    Stop::Broken(format!("{what} block with only {} bytes", body.len()))
}

/// The options of a block: code, length, value, padding to 32 bits. Ends at the end marker or the first one that is cut.
struct Options<'a, const BIG: bool>(&'a [u8]);

impl<'a, const BIG: bool> Iterator for Options<'a, BIG> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[a, b, c, d], rest) = self.0.split_first_chunk::<4>()?;
        let (code, len) = (u16_of::<BIG>([a, b]), usize::from(u16_of::<BIG>([c, d])));
        let value = rest.get(..len).filter(|_| code != 0)?;
        self.0 = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((code, value))
    }
}

/// An option that is text: UTF-8 without a closing NUL, which some writers add.
fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// An option that is a 64-bit number.
fn u64_of<const BIG: bool>(value: &[u8]) -> Option<u64> {
    let bytes = *value.first_chunk::<8>()?;
    Some(if BIG { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Order, read};
    use super::*;

    const FRAME: &[u8] = b"frame";

    fn file(order: Order, blocks: &[Vec<u8>]) -> Vec<u8> {
        let mut file = order.section(&[]);
        file.extend(blocks.concat());
        file
    }

    #[test]
    fn every_kind_of_packet_block_in_both_byte_orders() {
        for order in Order::BOTH {
            let mut obsolete = [order.u16(0), order.u16(3)].concat();
            obsolete.extend(order.words(&[0, 2_000_000, 5, 60]));
            obsolete.extend(FRAME);
            let simple = [&order.u32(60)[..], FRAME].concat();
            let outcome = read(&file(
                order,
                &[
                    order.interface(1, 5, &[]),
                    order.packet(0, 1_000_000, 60, FRAME),
                    order.block(2, &obsolete),
                    order.block(3, &simple),
                ],
            ));
            let times: Vec<_> = outcome.frames.iter().map(|frame| frame.ts).collect();
            assert_eq!(times, [1_000_000_000, 2_000_000_000, 0], "a simple packet has no time");
            assert!(outcome.frames.iter().all(|frame| frame.data == FRAME && frame.wire_len == 60));
            assert_eq!(outcome.warnings, []);
            assert_eq!(outcome.files[0].format, "pcapng");
        }
    }

    #[test]
    fn an_interface_and_its_statistics() {
        let order = Order::Big;
        let options = [
            order.option(2, b"eth0\0"),
            order.option(3, b"uplink"),
            order.option(9, &[9]),
            order.option(11, b"\0ip"),
            order.option(12, b"AIX"),
            order.option(13, &[4]),
            order.option(14, &order.u64(3600)),
            order.option(0, &[]),
        ]
        .concat();
        let mut statistics = order.words(&[0, 0, 0]);
        statistics.extend(order.option(4, &order.u64(100)));
        statistics.extend(order.option(5, &order.u64(7)));
        let blocks = [
            order.interface(1, 96, &options),
            order.interface(113, 0, &[]),
            order.packet(0, 5, 60, FRAME),
            order.block(5, &statistics),
        ];
        let outcome = read(&file(order, &blocks));
        assert_eq!(
            outcome.interfaces[0],
            Interface {
                file: 0,
                tap: "test/eth0".into(),
                name: Some("eth0".into()),
                description: Some("uplink".into()),
                filter: Some("ip".into()),
                os: Some("AIX".into()),
                link: LinkType::ETHERNET,
                snaplen: 96,
                ts_resolution: TsResolution::NANOS,
                ts_offset: 3600,
                fcs_len: Some(4),
                received: Some(100),
                dropped: Some(7),
            }
        );
        assert_eq!(outcome.interfaces[1].tap, "test/1");
        assert_eq!(outcome.frames[0].ts, 3_600_000_000_005);
    }

    #[test]
    fn sections_have_their_own_byte_order_and_interfaces() {
        let os = Order::Little.option(3, b"Linux");
        let mut bytes = file(
            Order::Big,
            &[
                Order::Big.interface(1, 0, &[]),
                Order::Big.interface(1, 0, &[]),
                Order::Big.packet(1, 1, 60, b"first"),
            ],
        );
        bytes.extend(Order::Little.section(&os));
        bytes.extend(Order::Little.interface(101, 0, &[]));
        bytes.extend(Order::Little.packet(0, 2, 60, b"second"));
        let outcome = read(&bytes);
        let seen: Vec<_> = outcome.frames.iter().map(|frame| (frame.interface, &frame.data[..])).collect();
        assert_eq!(seen, [(1, &b"first"[..]), (2, b"second")]);
        assert_eq!(outcome.interfaces[2].link, LinkType::RAW);
        assert_eq!(outcome.interfaces[2].os.as_deref(), Some("Linux"));
        assert_eq!(outcome.interfaces[2].tap, "test");
    }

    #[test]
    fn units_of_time() {
        // By hand: units, if_tsresol, nanoseconds.
        for (units, resolution, nanos) in [
            (3, 0, 3_000_000_000),
            (1_500, 3, 1_500_000_000),
            (1, 6, 1_000),
            (1, 9, 1),
            (1_999, 12, 1),
            (u64::MAX, 27, 18),
            (u64::MAX, 29, 0),
            (u64::MAX, 127, 0),
            (u64::MAX, 0, i64::MAX),
            (u64::MAX, 6, i64::MAX),
            (3, 0x80, 3_000_000_000),
            (3, 0x81, 1_500_000_000),
            ((1 << 32) + (1 << 31), 0xa0, 1_500_000_000),
            (u64::MAX, 0xbf, 1_999_999_999),
            (u64::MAX, 0xc0, 999_999_999),
            (u64::MAX, 0xff, 0),
            (u64::MAX, 0x80, i64::MAX),
        ] {
            assert_eq!(
                saturated(Unit::of(TsResolution(resolution)).nanos(units)),
                nanos,
                "{units} of {resolution:#x}"
            );
        }
    }

    #[test]
    fn a_time_offset_never_overflows() {
        for (offset, units, ts) in [
            (i64::MIN, 0, i64::MIN),
            (i64::MAX, u64::MAX, i64::MAX),
            (-2, 5_000_000, 3_000_000_000),
            (i64::MIN, u64::MAX, i64::MIN),
            (-18_446_744_073_709, u64::MAX, 551_615_000),
        ] {
            let option = Order::Little.option(14, &(offset as u64).to_le_bytes());
            let blocks = [Order::Little.interface(1, 0, &option), Order::Little.packet(0, units, 60, FRAME)];
            assert_eq!(read(&file(Order::Little, &blocks)).frames[0].ts, ts);
        }
    }

    #[test]
    fn other_blocks_are_passed_over_whatever_their_size() {
        let order = Order::Little;
        let mut blocks = vec![order.interface(1, 0, &[])];
        for kind in [4, 9, 10, 0xbad, 0x4000_0bad, 0x8000_0001] {
            blocks.push(order.block(kind, &vec![6; 3 << 20]));
            blocks.push(order.packet(0, 1, 60, FRAME));
        }
        let outcome = read(&file(order, &blocks));
        assert_eq!(outcome.frames.len(), 6);
        assert_eq!(outcome.warnings, []);
    }

    #[test]
    fn a_block_full_of_interfaces_ends_and_goes_on() {
        let order = Order::Little;
        let mut blocks = vec![order.interface(1, 0, &[]); MAX_INTERFACES + 1];
        blocks.push(order.packet(MAX_INTERFACES as u32 - 1, 1, 60, FRAME));
        blocks.push(order.packet(MAX_INTERFACES as u32, 1, 60, FRAME));
        let outcome = read(&file(order, &blocks));
        assert_eq!(outcome.interfaces.len(), MAX_INTERFACES);
        assert_eq!(outcome.frames.len(), 1);
        assert_eq!(outcome.messages(), ["a packet on interface 65536, which is not described"]);
    }

    #[test]
    fn damage_ends_the_file_with_the_place_and_the_reason() {
        let order = Order::Big;
        let good = file(order, &[order.interface(1, 0, &[]), order.packet(0, 1, 60, FRAME)]);
        let mut unequal = order.packet(0, 1, 60, FRAME);
        *unequal.last_mut().unwrap() += 4;
        let mut unequal_other = order.block(0xbad, FRAME);
        *unequal_other.last_mut().unwrap() += 4;
        for (bad, message) in [
            (order.packet(1, 1, 60, FRAME), "a packet on interface 1, which is not described"),
            (unequal, "a block claims 40 bytes at its start and 44 at its end"),
            (unequal_other, "a block claims 20 bytes at its start and 24 at its end"),
            (order.words(&[6, 8, 8]), "a block claims 8 bytes, fewer than the 12 of an empty one"),
            (
                order.words(&[6, 1 << 31, 8]),
                "a block claims 2147483648 bytes, more than the 135266304 it can have",
            ),
            (
                order.words(&[1, 1 << 31, 8]),
                "a block claims 2147483648 bytes, more than the 16777216 it can have",
            ),
            (order.block(6, FRAME), "a packet block with only 8 bytes"),
            (order.block(1, b"bad"), "an interface description block with only 4 bytes"),
            (
                order.block(0x0a0d_0d0a, &[0; 16]),
                "a pcapng section header with 00 00 00 00 in place of the byte order",
            ),
        ] {
            let outcome = read(&[&good[..], &bad, &order.packet(0, 1, 60, FRAME)].concat());
            assert_eq!(outcome.frames.len(), 1, "{message}");
            let warning = outcome.warnings.first().unwrap();
            assert_eq!(warning.message, message);
            assert!(warning.incomplete);
        }
        let message = "a packet claims 9 bytes in a block that has room for 8, and a frame can have 262144";
        let mut bad = order.packet(0, 1, 60, FRAME);
        bad[20..24].copy_from_slice(&order.u32(9));
        assert_eq!(read(&[&good[..], &bad].concat()).messages(), [message]);
    }

    #[test]
    fn a_length_without_the_padding_is_tolerated() {
        let order = Order::Little;
        let mut packet = order.packet(0, 1, 60, FRAME);
        packet[4..8].copy_from_slice(&order.u32(37));
        packet[36..40].copy_from_slice(&order.u32(37));
        let outcome = read(&file(order, &[order.interface(1, 0, &[]), packet.clone(), packet]));
        assert_eq!(outcome.frames.len(), 2);
        assert_eq!(outcome.warnings, []);
    }
}
