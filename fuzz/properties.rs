//! What holds for any bytes at all. The fuzz targets try to break it; `tests/mutations.rs` does so for a short while.

use std::io::Cursor;
use std::sync::Arc;

use pcap_parser::{Block, PcapBlockOwned, PcapError};
use tapsight::capture::{LinkType, Options, Reader, Source};
use tapsight::classify::Classifier;
use tapsight::dissect::dissect;
use tapsight::messages::{self, Kind};
use tapsight::packets::ids::Ids;
use tapsight::packets::{Scan, ScanOptions};

/// Link types of frames, by the first byte of the input.
pub const LINKS: [u16; 24] = [
    0, 1, 9, 12, 50, 51, 100, 101, 104, 105, 107, 108, 113, 127, 143, 147, 178, 192, 228, 229, 239, 242, 258,
    276,
];

fn open(bytes: Vec<u8>) -> Option<Reader> {
    let source = Source::Memory { name: "fuzz".into(), bytes: Arc::new(bytes) };
    Reader::open(vec![source], Options::default()).ok()
}

/// Any bytes as a capture file, to the end of the pipeline: no panic, no endless loop, as many rows as frames.
pub fn capture(data: &[u8]) {
    let (Some(mut reader), Some(again)) = (open(data.to_vec()), open(data.to_vec())) else { return };
    let mut frames = 0;
    while let Ok(Some(block)) = reader.next_block() {
        frames +=
            block.frames().map(|frame| assert_eq!(frame.data.len(), frame.record.cap_len as usize)).count();
    }
    let rows: usize =
        Scan::new(again, ScanOptions::default()).map_while(Result::ok).map(|batch| batch.num_rows()).sum();
    assert_eq!(rows, frames);
}

/// Frames that the pcap-parser crate finds: length on the wire and bytes. Nothing if it finds fault with the file.
fn read_by_peer(data: &[u8]) -> Option<Vec<(u32, Vec<u8>)>> {
    let mut reader = pcap_parser::create_reader(1 << 17, Cursor::new(data)).ok()?;
    let mut frames = Vec::new();
    loop {
        match reader.next() {
            Ok((len, block)) => {
                match block {
                    PcapBlockOwned::Legacy(packet) => frames.push((packet.origlen, packet.data.to_vec())),
                    // Its data includes the padding.
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        frames.push((packet.origlen, packet.data.get(..packet.caplen as usize)?.to_vec()));
                    }
                    // It takes the length on the wire for that of the bytes, and old packet blocks for unknown.
                    PcapBlockOwned::NG(Block::SimplePacket(_) | Block::Unknown(_)) => return None,
                    _ => {}
                }
                reader.consume(len);
            }
            Err(PcapError::Eof) => return Some(frames),
            Err(PcapError::Incomplete(_)) => reader.refill().ok()?,
            Err(_) => return None,
        }
    }
}

/// A file that we and the pcap-parser crate find no fault with has the same frames for both.
pub fn readers(data: &[u8]) {
    let (Some(mut reader), Some(theirs)) = (open(data.to_vec()), read_by_peer(data)) else { return };
    let mut ours = Vec::new();
    loop {
        match reader.next_block() {
            Ok(Some(block)) => {
                ours.extend(block.frames().map(|frame| (frame.record.wire_len, frame.data.to_vec())));
            }
            Ok(None) => break,
            Err(_) => return,
        }
    }
    // It knows no variants of pcap, and reads on where lengths contradict each other.
    if reader.warnings().is_empty() && matches!(&*reader.files()[0].format, "pcap" | "nsecpcap" | "pcapng") {
        assert_eq!(ours, theirs);
    }
}

/// Any bytes as a frame of any link type: no panic, issues inside the frame, ids alike when read twice.
pub fn frame(data: &[u8]) {
    let Some((&[link, more], frame)) = data.split_first_chunk() else { return };
    let link = LinkType(LINKS[usize::from(link) % LINKS.len()]);
    let wire_len = frame.len() as u32 + u32::from(more);
    let layers = dissect(link, frame, wire_len);
    assert!(layers.payload.len() <= frame.len());
    assert!(layers.issue.is_none_or(|issue| issue.offset as usize <= frame.len().max(wire_len as usize)));
    assert!(layers.outer.is_none() || !layers.encap.is_empty());
    assert!(layers.ip.is_some() || layers.outer.is_none());
    assert_eq!(Ids::of(&layers), Ids::of(&dissect(link, frame, wire_len)));
    let label = Classifier::new().classify(&layers);
    assert_eq!(label.app.is_some(), label.basis.is_some());
}

/// Any bytes as the payload of a datagram, a segment or an SCTP packet between any ports.
fn packet(data: &[u8]) -> Option<Vec<u8>> {
    let (&[kind, a, b, c, d], payload) = data.split_first_chunk()?;
    let payload = &payload[..payload.len().min(1400)];
    let (protocol, header): (u8, Vec<u8>) = match kind % 3 {
        0 => (17, [&[a, b, c, d][..], &(8 + payload.len() as u16).to_be_bytes(), &[0; 2]].concat()),
        1 => (6, [[a, b, c, d], [0; 4], [0; 4], [0x50, 0x18, 0, 0], [0; 4]].concat()),
        _ => (132, [[a, b, c, d], [0; 4], [0; 4]].concat()),
    };
    let len = (20 + header.len() + payload.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet.extend_from_slice(&header);
    packet.extend_from_slice(payload);
    Some(packet)
}

/// Any payload: no panic, and a label that has a basis exactly when it has an application.
pub fn classify(data: &[u8]) {
    let Some(packet) = packet(data) else { return };
    let mut classifier = Classifier::new();
    for _ in 0..5 {
        let label = classifier.classify(&dissect(LinkType::RAW, &packet, packet.len() as u32));
        assert_eq!(label.app.is_some(), label.basis.is_some());
    }
}

/// Any payload, of which each side table makes what it can: no panic, no endless loop, no more rows than bytes.
pub fn messages(data: &[u8]) {
    let Some(packet) = packet(data) else { return };
    let len = (packet.len() as u32).to_le_bytes();
    let header = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0];
    let capture = [&header[..], &[0; 8], &len, &len, &packet].concat();
    for &kind in Kind::ALL {
        let Some(reader) = open(capture.clone()) else { continue };
        let rows: usize =
            messages::Scan::new(reader, kind, 1024).flatten().map(|batch| batch.num_rows()).sum();
        assert!(rows <= packet.len());
    }
}
