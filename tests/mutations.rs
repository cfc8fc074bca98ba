//! A short while of fuzzing: captures of the project's own generator, mutated at random, through the same properties as
//! the fuzz targets.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../fuzz/properties.rs"]
mod properties;

use std::fs;
use std::path::Path;

/// Xorshift (Marsaglia 2003) from a fixed seed: the same mutations on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    /// A few bytes changed, cut out, doubled or set to what lengths and counts go wrong with.
    fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let len = self.below(9).min(bytes.len() - at);
            match self.below(5) {
                0 => bytes[at..at + len].fill([0, 0xff, 0x7f, 0x80][self.below(4)]),
                1 => drop(bytes.drain(at..at + len)),
                2 => bytes.truncate(at.max(1)),
                3 => {
                    let part = bytes[at..at + len].to_vec();
                    bytes.splice(at..at, part);
                }
                _ if len > 0 => bytes[at] = self.below(256) as u8,
                _ => {}
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        bytes
    }
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

/// Records of a little-endian pcap of Ethernet.
fn frames(pcap: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut at = 24;
    while let Some(len) = pcap.get(at + 8..at + 12) {
        let len = u32::from_le_bytes(len.try_into().unwrap()) as usize;
        frames.push(&pcap[at + 16..at + 16 + len]);
        at += 16 + len;
    }
    frames
}

#[test]
fn captures() {
    let mut random = Random(0x7461_7073_6967_6874);
    for (_, seed) in corpus() {
        for _ in 0..400 {
            let input = random.mutate(&seed);
            properties::capture(&input);
            properties::readers(&input);
        }
    }
}

#[test]
fn frames_and_payloads() {
    let mut random = Random(0x7369_6768_7474_6170);
    for (_, seed) in corpus() {
        for frame in frames(&seed) {
            for link in 0..properties::LINKS.len() as u8 {
                properties::frame(&random.mutate(&[&[link, 0], frame].concat()));
            }
            for _ in 0..100 {
                properties::frame(&random.mutate(&[&[1, 0], frame].concat()));
            }
            // Behind Ethernet, IPv4 and UDP the ports and the payload begin; behind TCP much the same.
            if let (Some(ports), Some(payload)) = (frame.get(34..38), frame.get(42..)) {
                for kind in 0..3_u8 {
                    let seed = [&[kind], ports, payload].concat();
                    for _ in 0..20 {
                        let input = random.mutate(&seed);
                        properties::classify(&input);
                        properties::messages(&input);
                    }
                }
            }
        }
    }
}
