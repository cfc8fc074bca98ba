//! Capture files built by hand, and what a reader makes of them.

use std::io::{self, Read};
use std::sync::Arc;

use super::{Block, Bytes, Error, FileInfo, Interface, Options, Reader, Source, Warning};

/// Byte order of a file to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Big,
    Little,
}

impl Order {
    pub(super) const BOTH: [Self; 2] = [Self::Big, Self::Little];

    pub(super) fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(super) fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(super) fn u64(self, value: u64) -> [u8; 8] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(super) fn words(self, values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|&value| self.u32(value)).collect()
    }

    /// A pcap file header.
    pub(super) fn pcap(self, magic: u32, version: (u16, u16), network: u32) -> Vec<u8> {
        let mut file = self.u32(magic).to_vec();
        file.extend(self.u16(version.0));
        file.extend(self.u16(version.1));
        file.extend(self.words(&[0, 0, 65535, network]));
        file
    }

    /// A pcap record with `extra` bytes between header and frame.
    pub(super) fn record(self, fields: [u32; 4], extra: &[u8], frame: &[u8]) -> Vec<u8> {
        [&self.words(&fields), extra, frame].concat()
    }

    /// A pcapng block.
    pub(super) fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let len = self.u32(padded as u32 + 12);
        let mut block = [&self.u32(kind)[..], &len, body].concat();
        block.resize(8 + padded, 0);
        block.extend(len);
        block
    }

    /// A pcapng option.
    pub(super) fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut option = [&self.u16(code)[..], &self.u16(value.len() as u16), value].concat();
        option.resize(4 + value.len().next_multiple_of(4), 0);
        option
    }

    /// A Section Header Block.
    pub(super) fn section(self, options: &[u8]) -> Vec<u8> {
        let mut body = self.u32(0x1a2b_3c4d).to_vec();
        body.extend(self.u16(1));
        body.extend(self.u16(0));
        body.extend([0xff; 8]);
        body.extend(options);
        self.block(0x0a0d_0d0a, &body)
    }

    /// An Interface Description Block.
    pub(super) fn interface(self, link: u16, snaplen: u32, options: &[u8]) -> Vec<u8> {
        let mut body = self.u16(link).to_vec();
        body.extend([0, 0]);
        body.extend(self.u32(snaplen));
        body.extend(options);
        self.block(1, &body)
    }

    /// An Enhanced Packet Block.
    pub(super) fn packet(self, interface: u32, ts: u64, wire_len: u32, frame: &[u8]) -> Vec<u8> {
        let mut body = self.words(&[interface, (ts >> 32) as u32, ts as u32, frame.len() as u32, wire_len]);
        body.extend(frame);
        self.block(6, &body)
    }
}

/// A frame, with its own copy of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub ts: i64,
    pub wire_len: u32,
    pub interface: u32,
    pub data: Vec<u8>,
}

/// All that a reader gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub frames: Vec<Seen>,
    pub interfaces: Vec<Interface>,
    pub files: Vec<FileInfo>,
    pub warnings: Vec<Warning>,
    pub errors: Vec<String>,
}

impl Outcome {
    /// Link to the only interface.
    pub(super) fn interface(&self) -> &Interface {
        assert_eq!(self.interfaces.len(), 1);
        &self.interfaces[0]
    }

    /// The messages of the warnings.
    pub(super) fn messages(&self) -> Vec<&str> {
        self.warnings.iter().map(|warning| warning.message.as_str()).collect()
    }
}

/// Reads everything, going on after errors.
pub(super) fn drain(mut reader: Reader) -> Outcome {
    let mut frames = Vec::new();
    let mut errors = Vec::new();
    loop {
        match reader.next_block() {
            Ok(Some(block)) => collect(&block, &mut frames),
            Ok(None) => break,
            Err(error) => errors.push(error.to_string()),
        }
    }
    Outcome {
        frames,
        interfaces: reader.interfaces().iter().map(|interface| (**interface).clone()).collect(),
        files: reader.files().to_vec(),
        warnings: reader.warnings().to_vec(),
        errors,
    }
}

fn collect(block: &Block, frames: &mut Vec<Seen>) {
    assert_eq!(block.first_frame(), frames.len() as u64 + 1);
    assert!(block.len() <= super::BLOCK_RECORDS);
    for frame in block.frames() {
        assert_eq!(frame.data.len(), frame.record.cap_len as usize);
        let super::Record { ts, wire_len, interface, .. } = frame.record;
        frames.push(Seen { ts, wire_len, interface, data: frame.data.to_vec() });
    }
}

/// Bytes in memory as a source.
pub(super) fn memory(name: &str, bytes: &[u8]) -> Source {
    let bytes: Bytes = Arc::new(bytes.to_vec());
    Source::Memory { name: name.into(), bytes }
}

/// Reads bytes in memory.
pub(super) fn read(bytes: &[u8]) -> Outcome {
    drain(open(vec![memory("test", bytes)]).unwrap())
}

pub(super) fn open(sources: Vec<Source>) -> Result<Reader, Error> {
    Reader::open(sources, Options::default())
}

/// Gives a few bytes at a time, of the sizes named over and over; at a 0 it is interrupted by a signal.
pub(super) struct Drip {
    pub bytes: Vec<u8>,
    pub at: usize,
    pub sizes: Vec<usize>,
    pub turn: usize,
}

impl Drip {
    pub(super) fn source(bytes: &[u8], sizes: &[usize]) -> Source {
        let drip = Self { bytes: bytes.to_vec(), at: 0, sizes: sizes.to_vec(), turn: 0 };
        Source::Stream { name: "test".into(), reader: Box::new(drip) }
    }
}

impl Read for Drip {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes[self.turn % self.sizes.len()];
        self.turn += 1;
        if size == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let rest = &self.bytes[self.at..];
        let size = size.min(rest.len()).min(buf.len());
        buf[..size].copy_from_slice(&rest[..size]);
        self.at += size;
        Ok(size)
    }
}
