//! Numbers of frames → those frames as they were captured: what proves a claim, for somebody else to look at.
//!
//! One pass from record to record, and no further than the last frame that is wanted. Bytes of other frames are not looked
//! at; those of compressed captures are unpacked nevertheless.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Int64Builder, StringBuilder, UInt8Builder, UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::ArrowError;

use crate::capture::{BLOCK_RECORDS, Block, Frame, Interface, LinkType, Reader};
use crate::dissect::{Layers, Transport, dissect_to_end};
use crate::packets::Pause;
use crate::wire::ethernet::ethertype;

/// Bytes of frames that end a batch. The largest frame there can be, 128 MiB, fits behind them.
const BATCH_BYTES: usize = 4 << 20;

/// Finds frames by their numbers in a reader's stream, and hands them out in that order, as batches of rows:
///
/// | column | meaning |
/// |---|---|
/// | `frame` | number of the frame in the stream |
/// | `ts` | capture time, nanoseconds since 1970-01-01 UTC |
/// | `wire_len` | bytes on the wire |
/// | `tap` | what the frame was seen on, as in the packets table |
/// | `link_type` | LINKTYPE number of the frame's interface |
/// | `snaplen` | most bytes captured of a frame there, as the file claims; 0 is no limit |
/// | `fcs_len` | bytes of frame check sequence at the end of the frame, if the file says |
/// | `zeroed_from` | offset from which on all bytes were set to zero, if that was asked for |
/// | `data` | the captured bytes |
///
/// Numbers that the stream does not have are passed over.
#[derive(Debug)]
pub struct Extract {
    reader: Reader,
    /// In order, none twice.
    wanted: std::iter::Peekable<std::vec::IntoIter<u64>>,
    zero_payload: bool,
    pause: Option<Pause>,
    /// Where the batch before ended.
    block: Option<Block>,
}

impl Extract {
    /// The frames of these numbers; with `zero_payload` without what they carry, see [`payload_at`].
    pub fn new(reader: Reader, mut wanted: Vec<u64>, zero_payload: bool) -> Self {
        wanted.sort_unstable();
        wanted.dedup();
        // Frames are counted from 1: that one would be waited for until the end.
        wanted.retain(|&number| number > 0);
        Self { reader, wanted: wanted.into_iter().peekable(), zero_payload, pause: None, block: None }
    }

    /// The same, which calls `pause` after each stretch of the capture.
    #[must_use]
    pub fn with_pause(mut self, pause: Pause) -> Self {
        self.pause = Some(pause);
        self
    }

    /// The next frames that are wanted; none when there are no more.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let mut rows = Rows::default();
        while let (Some(&next), false) = (self.wanted.peek(), rows.is_full()) {
            let Some(block) = self.next_block()? else { break };
            if next >= block.first_frame() + block.len() as u64 {
                continue;
            }
            for (number, frame) in (block.first_frame()..).zip(block.frames()) {
                if rows.is_full() {
                    break;
                }
                if self.wanted.next_if_eq(&number).is_some()
                    && let Some(interface) = self.reader.interfaces().get(frame.record.interface as usize)
                {
                    rows.add(number, frame, interface, self.zero_payload);
                }
            }
            self.block = rows.is_full().then_some(block);
        }
        if rows.len == 0 { Ok(None) } else { rows.finish().map(Some) }
    }

    /// The block that the batch before ended in, or else the next one.
    fn next_block(&mut self) -> Result<Option<Block>, ArrowError> {
        if let Some(block) = self.block.take() {
            return Ok(Some(block));
        }
        if let Some(pause) = self.pause {
            pause()?;
        }
        self.reader.next_block().map_err(|error| ArrowError::ExternalError(Box::new(error)))
    }
}

#[derive(Default)]
struct Rows {
    len: usize,
    bytes: usize,
    frame: UInt64Builder,
    ts: Int64Builder,
    wire_len: UInt32Builder,
    tap: StringBuilder,
    link_type: UInt16Builder,
    snaplen: UInt32Builder,
    fcs_len: UInt8Builder,
    zeroed_from: UInt32Builder,
    data: BinaryBuilder,
    /// Room for a frame with zeros in it.
    zeroed: Vec<u8>,
}

impl Rows {
    fn add(&mut self, number: u64, frame: Frame<'_>, interface: &Interface, zero_payload: bool) {
        let Frame { record, data } = frame;
        self.len += 1;
        self.bytes += data.len();
        self.frame.append_value(number);
        self.ts.append_value(record.ts);
        self.wire_len.append_value(record.wire_len);
        self.tap.append_value(&interface.tap);
        self.link_type.append_value(interface.link.0);
        self.snaplen.append_value(interface.snaplen);
        self.fcs_len.append_option(interface.fcs_len);
        if !zero_payload {
            self.zeroed_from.append_null();
            self.data.append_value(data);
            return;
        }
        let at = payload_at(interface.link, data, record.wire_len);
        self.zeroed_from.append_value(at as u32);
        self.zeroed.clear();
        self.zeroed.extend_from_slice(data.get(..at).unwrap_or(data));
        self.zeroed.resize(data.len(), 0);
        self.data.append_value(&self.zeroed);
    }

    fn is_full(&self) -> bool {
        self.len >= BLOCK_RECORDS || self.bytes >= BATCH_BYTES
    }

    fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_from_iter_with_nullable([
            ("frame", Arc::new(self.frame.finish()) as ArrayRef, false),
            ("ts", Arc::new(self.ts.finish()), false),
            ("wire_len", Arc::new(self.wire_len.finish()), false),
            ("tap", Arc::new(self.tap.finish()), false),
            ("link_type", Arc::new(self.link_type.finish()), false),
            ("snaplen", Arc::new(self.snaplen.finish()), false),
            ("fcs_len", Arc::new(self.fcs_len.finish()), true),
            ("zeroed_from", Arc::new(self.zeroed_from.finish()), true),
            ("data", Arc::new(self.data.finish()), false),
        ])
    }
}

/// Where in a frame that which is no header begins: behind the transport header of the innermost packet, or behind its network
/// layer where no transport header is read, or behind the link layer where there is no IP packet. The headers of a tunnel
/// that carries no IP packet are headers too, as far as into the frame that it carries. ARP (RFC 826) and the messages of
/// neighbour discovery (RFC 4861, sections 4.1 to 4.4) are headers as a whole: who claimed an address is what they are kept for.
///
/// When in doubt it says too early rather than too late: of a header that could not be read nothing counts as header.
pub fn payload_at(link: LinkType, frame: &[u8], wire_len: u32) -> usize {
    let (layers, end) = dissect_to_end(link, frame, wire_len);
    let at = match (offset_in(frame, layers.payload), layers.ip, layers.issue) {
        (Some(at), Some(_), _) => at.max(end) + discovery_len(&layers),
        (Some(at), None, _) => at + arp_len(&layers),
        // The transport header is as long as what was captured of the packet, or longer: what is behind is padding.
        (None, Some(ip), _) => offset_in(frame, ip.packet).map_or(0, |at| at + ip.packet.len()),
        (None, None, Some(issue)) => issue.offset as usize,
        (None, None, None) => 0,
    };
    at.min(frame.len())
}

/// The length of an ARP packet for IPv4 over Ethernet (RFC 826) that was captured whole, or 0.
fn arp_len(layers: &Layers<'_>) -> usize {
    let is_arp = layers.ethertype == Some(ethertype::ARP) && layers.payload.starts_with(&[0, 1, 8, 0, 6, 4]);
    if is_arp && layers.payload.len() >= 28 { 28 } else { 0 }
}

/// The length of what follows the first 4 bytes of a message of neighbour discovery, or 0.
fn discovery_len(layers: &Layers<'_>) -> usize {
    match layers.transport {
        Transport::Icmpv6 { kind: 133..=136, code: 0 } => layers.payload.len(),
        _ => 0,
    }
}

/// Where in the frame its part lies; none if it is no part of it, as an empty slice that stands for nothing.
fn offset_in(frame: &[u8], part: &[u8]) -> Option<usize> {
    let at = part.as_ptr().addr().checked_sub(frame.as_ptr().addr())?;
    (at + part.len() <= frame.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{UInt32Type, UInt64Type};
    use proptest::prelude::*;

    use super::*;
    use crate::capture::{Options, Source};

    /// A pcap of these frames, microseconds, Ethernet.
    fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1]);
        for (number, frame) in frames.iter().enumerate() {
            let len = frame.len() as u32;
            file.extend(words(&[number as u32, 7, len, len + 4]));
            file.extend(frame);
        }
        file
    }

    fn extract(files: &[Vec<u8>], wanted: &[u64], zero_payload: bool) -> Vec<RecordBatch> {
        let source = |(number, bytes): (usize, &Vec<u8>)| Source::Memory {
            name: format!("file {number}"),
            bytes: Arc::new(bytes.clone()),
        };
        let sources = files.iter().enumerate().map(source).collect();
        let reader = Reader::open(sources, Options::default()).unwrap();
        let mut extract = Extract::new(reader, wanted.to_vec(), zero_payload);
        std::iter::from_fn(|| extract.next_batch().unwrap()).collect()
    }

    /// Number and bytes of each frame.
    fn frames(batches: &[RecordBatch]) -> Vec<(u64, Vec<u8>)> {
        let rows = |batch: &RecordBatch| {
            let numbers = batch["frame"].as_primitive::<UInt64Type>().values().to_vec();
            let data: Vec<_> =
                batch["data"].as_binary::<i32>().iter().map(|data| data.unwrap().to_vec()).collect();
            numbers.into_iter().zip(data).collect::<Vec<_>>()
        };
        batches.iter().flat_map(rows).collect()
    }

    #[test]
    fn frames_come_by_their_numbers_over_several_files() {
        let files = [pcap(&[vec![1; 20], vec![2; 30]]), pcap(&[]), pcap(&[vec![3; 40], vec![4; 50]])];
        let expected = [(2, vec![2; 30]), (3, vec![3; 40])];
        assert_eq!(frames(&extract(&files, &[3, 2, 3, 0, 5, u64::MAX], false)), expected);
        assert!(extract(&files, &[], false).is_empty());
        let batches = extract(&files, &[1, 4], false);
        let taps: Vec<_> =
            batches.iter().flat_map(|batch| batch["tap"].as_string::<i32>().iter().flatten()).collect();
        assert_eq!(taps, ["file 0", "file 2"]);
    }

    #[test]
    fn a_batch_is_bounded_and_the_next_goes_on_where_it_ended() {
        // Some blocks of many small frames, then frames of which 16 and a bit make a batch.
        let mut all: Vec<Vec<u8>> = (0..3000_u32).map(|number| number.to_le_bytes().to_vec()).collect();
        all.extend((0..100_u8).map(|number| vec![number; 250_000]));
        let wanted: Vec<u64> = (1..=3100).collect();
        let batches = extract(&[pcap(&all)], &wanted, false);
        assert!(batches.iter().all(|batch| batch.num_rows() <= BLOCK_RECORDS));
        assert!(
            batches
                .iter()
                .all(|batch| batch["data"].as_binary::<i32>().value_data().len() < BATCH_BYTES + 250_000)
        );
        assert_eq!(frames(&batches), wanted.into_iter().zip(all).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_read_behind_the_last_that_is_wanted() {
        let file = pcap(&[vec![1; 20], vec![2; 20]]);
        let files = [file, b"no capture".to_vec()];
        assert_eq!(frames(&extract(&files, &[1, 2], false)).len(), 2);
    }

    /// An Ethernet header and an IPv4 header (RFC 791) of a packet of this length in all.
    fn ipv4(protocol: u8, total_len: u8) -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend([
            8, 0, 0x45, 0, 0, total_len, 0, 1, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        ]);
        frame
    }

    fn udp(total_len: u8, payload: &[u8]) -> Vec<u8> {
        let len = (8 + payload.len()) as u8;
        [ipv4(17, total_len), vec![0xc0, 0, 0xc0, 1, 0, len, 0, 0], payload.to_vec()].concat()
    }

    fn at(frame: &[u8]) -> usize {
        payload_at(LinkType::ETHERNET, frame, frame.len() as u32)
    }

    #[test]
    fn a_payload_begins_behind_the_last_header() {
        // 14 of Ethernet, 20 of IPv4, 8 of UDP; then padding, which is no header.
        assert_eq!(at(&udp(31, b"abc")), 42);
        assert_eq!(at(&[udp(31, b"abc"), vec![9; 15]].concat()), 42);
        // TCP with 12 bytes of options (RFC 9293 section 3.1), and one whose options were cut off.
        let mut tcp = ipv4(6, 55);
        tcp.extend([0xc0, 0, 0xc0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0x80, 0x18, 1, 0, 0, 0, 0, 0]);
        tcp.extend([1; 12]);
        tcp.extend(b"abc");
        assert_eq!(at(&tcp), 66);
        assert_eq!(payload_at(LinkType::ETHERNET, &tcp[..60], 69), 60);
        // A later fragment, and a protocol that is not read: behind the network layer.
        let mut fragment = udp(31, b"abc");
        fragment[21] = 1;
        assert_eq!(at(&fragment), 34);
        assert_eq!(at(&[ipv4(200, 23), b"abc".to_vec()].concat()), 34);
        // IP in IP: the innermost.
        let inner = udp(31, b"abc")[14..].to_vec();
        assert_eq!(at(&[ipv4(4, 51), inner].concat()), 62);
        // ARP in VXLAN (RFC 7348): 8 and 14 bytes of header more.
        let vxlan = [vec![8, 0, 0, 0, 0, 0, 7, 0], vec![2; 12], vec![8, 6], vec![1; 28]].concat();
        let mut frame = udp(78, &vxlan);
        frame[36..38].copy_from_slice(&4789_u16.to_be_bytes());
        assert_eq!(at(&frame), 64);
        // An inner header of which a part was captured is none.
        assert_eq!(payload_at(LinkType::ETHERNET, &[ipv4(4, 51), vec![0x45; 10]].concat(), 65), 34);
    }

    #[test]
    fn without_a_packet_it_begins_where_nothing_is_read_any_more() {
        let arp = [vec![2; 12], vec![8, 6], vec![1; 28]].concat();
        assert_eq!(at(&arp), 14);
        // RFC 826: hardware and protocol, addresses of 6 and 4 bytes, operation, and two of each; then padding.
        let arp = [&arp[..14], &[0, 1, 8, 0, 6, 4, 0, 2], &[7; 20], &[9; 18]].concat();
        assert_eq!(at(&arp), 42);
        assert_eq!(payload_at(LinkType::ETHERNET, &arp[..41], 60), 14);
        assert_eq!(at(&[1; 5]), 0);
        assert_eq!(at(&[]), 0);
        assert_eq!(payload_at(LinkType(65_000), &[7; 100], 100), 0);
        // Half an IPv4 header.
        assert_eq!(at(&udp(31, b"abc")[..24]), 14);
    }

    #[test]
    fn who_claims_an_address_is_kept() {
        // RFC 4861 section 4.4: a neighbour advertisement of 24 bytes and an option of 8; then padding.
        let ipv6 = [&[0x60, 0, 0, 0, 0, 32, 58, 255][..], &[0xfe; 32]].concat();
        let mut frame = [vec![2; 12], vec![0x86, 0xdd], ipv6, vec![136, 0, 0, 0, 0x20, 0, 0, 0]].concat();
        frame.extend([[3; 16], [2, 1, 2, 2, 2, 2, 2, 2, 9, 9, 9, 9, 9, 9, 9, 9]].concat());
        assert_eq!(at(&frame), 14 + 40 + 32);
        // An echo is not.
        frame[54] = 128;
        assert_eq!(at(&frame), 14 + 40 + 4);
    }

    #[test]
    fn zeros_take_the_place_of_payloads_and_no_more() {
        let frame = [udp(31, b"abc"), vec![9; 3]].concat();
        let batches = extract(&[pcap(std::slice::from_ref(&frame))], &[1], true);
        assert_eq!(frames(&batches), [(1, [frame[..42].to_vec(), vec![0; 6]].concat())]);
        assert_eq!(batches[0]["zeroed_from"].as_primitive::<UInt32Type>().value(0), 42);
        assert_eq!(batches[0]["wire_len"].as_primitive::<UInt32Type>().value(0), 52);
        let batches = extract(&[pcap(&[frame])], &[1], false);
        assert!(batches[0]["zeroed_from"].is_null(0));
    }
    proptest! {
        #[test]
        fn a_payload_begins_in_the_frame_or_at_its_end(
            link in prop::sample::select(vec![0_u16, 1, 9, 50, 101, 105, 107, 113, 127, 143, 192, 239, 276, 300]),
            head in prop::sample::select(vec![Vec::new(), ipv4(4, 99), udp(60, &[]), ipv4(47, 70), ipv4(6, 40)]),
            rest in prop::collection::vec(any::<u8>(), 0..100),
            cut: prop::sample::Index,
            wire_len in 0..200_u32,
        ) {
            let frame = [head, rest].concat();
            let frame = &frame[..cut.index(frame.len() + 1)];
            prop_assert!(payload_at(LinkType(link), frame, wire_len) <= frame.len());
        }
    }
}
