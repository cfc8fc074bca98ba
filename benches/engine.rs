//! The engine's main paths over traffic in memory, beside one pass over the same bytes. Throughput is in bytes of the
//! capture; packets a second follow from the mean size that each group's name has.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark")]

mod paths;

use std::fmt::Write;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tapsight::places::Sources;
use tapsight::traffic::{Mix, capture};
use tapsight::wire::ip::Addr;

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

/// Addresses that are looked up one after another, and prefixes in the table that a user gives: about as many as there are in
/// the table of all routes.
const LOOKUPS: u64 = 1 << 20;
const PREFIXES: u32 = 1 << 20;

/// Where addresses belong: throughput is in addresses.
fn places(criterion: &mut Criterion) {
    let mut random = 1_u64;
    let mut next = || {
        // Knuth's generator for 64 bits: the upper half is random enough.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 32) as u32
    };
    let v4: Vec<Addr> = (0..LOOKUPS).map(|_| Ipv4Addr::from_bits(next()).to_ipv6_mapped().octets()).collect();
    // Global unicast addresses (RFC 4291 section 2.4), as registries give them out.
    let v6: Vec<Addr> = (0..LOOKUPS)
        .map(|_| {
            let [first, second] = [next(), next()].map(u128::from);
            (0x2 << 124 | (first & 0x00ff_ffff) << 96 | second << 64).to_be_bytes()
        })
        .collect();
    let path = std::env::temp_dir().join(format!("tapsight-places-{}.csv", std::process::id()));
    let mut table = String::from("prefix,country,asn\n");
    for _ in 0..PREFIXES {
        // Most routes are of 24 bits.
        let bits = 24 - next().leading_zeros().min(8);
        let addr = Ipv4Addr::from_bits(next() & (u32::MAX << (32 - bits)));
        writeln!(table, "{addr}/{bits},SE,{}", next() >> 16).expect("memory");
    }
    std::fs::write(&path, table).expect("a temporary file");
    let mut sources = Sources::default();
    sources.read(&path).expect("a table made for this");
    std::fs::remove_file(&path).expect("a temporary file");
    let given = sources.build();
    let registered = Sources::default().registered().build();
    let mut group = criterion.benchmark_group("places");
    group.throughput(Throughput::Elements(LOOKUPS)).sample_size(10);
    for (name, places, addresses) in [
        ("countries and networks of a table of a million prefixes, IPv4", &given, &v4),
        ("registered countries, IPv4", &registered, &v4),
        ("registered countries, IPv6", &registered, &v6),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| addresses.iter().filter(|addr| places.of(**addr).country.is_some()).count());
        });
    }
    group.finish();
}

criterion_group!(benches, engine, places);
criterion_main!(benches);
