//! The engine's main paths over traffic in memory, beside one pass over the same bytes. Throughput is in bytes of the
//! capture; packets a second follow from its mean packet size.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tapsight::capture::{Options, Reader, Source};
use tapsight::detect;
use tapsight::packets::{Column, Packets, Scan, ScanOptions};

/// The allocator of the extension module.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A pcap of `frames` UDP datagrams with `payload` bytes each, of 256 conversations.
fn capture(frames: u32, payload: usize) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for n in 0..frames {
        let len = (14 + 20 + 8 + payload) as u32;
        for word in [1_767_225_600 + n / 1_000_000, n % 1_000_000, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
        file.extend([0x45, 0]);
        file.extend((28 + payload as u16).to_be_bytes());
        file.extend((n as u16).to_be_bytes());
        file.extend([0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, n as u8]);
        file.extend((20_000 + (n & 0xff) as u16).to_be_bytes());
        file.extend(30_000_u16.to_be_bytes());
        file.extend((8 + payload as u16).to_be_bytes());
        file.extend([0, 0]);
        // The header of RTP, then the number as filling.
        file.extend([0x80, 8]);
        file.extend((n as u16).to_be_bytes());
        file.resize(file.len() + payload - 4, n as u8);
    }
    file
}

fn reader(bytes: &Arc<Vec<u8>>) -> Reader {
    let source = Source::Memory { name: "bench".into(), bytes: bytes.clone() };
    Reader::open(vec![source], Options::default()).expect("a capture made above")
}

fn scan(bytes: &Arc<Vec<u8>>, columns: Vec<Column>) -> Scan {
    Scan::new(reader(bytes), ScanOptions { columns, ..ScanOptions::default() })
}

fn engine(criterion: &mut Criterion) {
    for (name, frames, payload) in [("64-byte", 200_000, 22), ("550-byte", 100_000, 508)] {
        let bytes = Arc::new(capture(frames, payload));
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(20);
        group.bench_function("floor: one pass over the memory", |b| {
            b.iter(|| {
                bytes
                    .chunks_exact(8)
                    .fold(0_u64, |sum, word| sum ^ u64::from(word.first().copied().unwrap_or(0)))
            });
        });
        group.bench_function("records", |b| {
            b.iter(|| {
                let mut reader = reader(&bytes);
                let mut n = 0;
                while let Ok(Some(block)) = reader.next_block() {
                    n += block.len();
                }
                black_box(n)
            });
        });
        let four = vec![Column::Ts, Column::Src, Column::Dst, Column::WireLen];
        for (what, columns) in [("4 columns", four), ("all columns", Column::default_set())] {
            group.bench_function(what, |b| b.iter(|| scan(&bytes, columns.clone()).count()));
        }
        group.bench_function("examine: all detectors and flows", |b| {
            b.iter(|| {
                let mut tap = scan(&bytes, Packets::COLUMNS.to_vec());
                let taps: Vec<detect::Tap<'_>> = vec![&mut tap];
                let pause = |_| Ok::<_, arrow_schema::ArrowError>(());
                detect::examine(taps, detect::Options::default(), pause).map(|found| found.flows.num_rows())
            });
        });
        group.finish();
    }
}

criterion_group!(benches, engine);
criterion_main!(benches);
