//! The engine's main paths over traffic in memory, beside one pass over the same bytes. Throughput is in bytes of the
//! capture; packets a second follow from the mean size that each group's name has.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark")]

mod paths;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tapsight::traffic::{Mix, capture};

/// The allocator of the extension module.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// More than any cache holds.
const BYTES: usize = 64 << 20;

fn engine(criterion: &mut Criterion) {
    for &mix in Mix::ALL {
        let mean = capture(mix, 10_000, 1).len() / 10_000;
        let bytes = Arc::new(capture(mix, BYTES / mean, 1));
        let mut group = criterion.benchmark_group(format!("{} ({mean} bytes a packet)", mix.name()));
        group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(10);
        for (name, path) in paths::ALL {
            group.bench_function(*name, |b| b.iter(|| black_box(path(&bytes))));
        }
        group.finish();
    }
}

criterion_group!(benches, engine);
criterion_main!(benches);
