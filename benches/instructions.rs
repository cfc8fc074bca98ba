//! One path over a small capture, again and again: what `benches/instructions.py` counts instructions of.

#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

mod paths;

use std::hint::black_box;
use std::sync::Arc;

use tapsight::traffic::{Mix, capture};

/// The allocator of the extension module.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Arguments: a mix, how many packets, a path, how often. Without any, it lists the paths.
fn main() {
    // Cargo adds one that is for test harnesses.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [mix, packets, path, passes] = arguments.as_slice() else {
        for (name, _) in paths::ALL {
            println!("{name}");
        }
        return;
    };
    let mix = Mix::from_name(mix).expect("the name of a mix");
    let packets = packets.parse().expect("a number of packets");
    let bytes = Arc::new(capture(mix, packets, 1));
    let (_, path) = paths::ALL.iter().find(|(name, _)| name == path).expect("the name of a path");
    for _ in 0..passes.parse().expect("a number of passes") {
        black_box(path(&bytes));
    }
}
