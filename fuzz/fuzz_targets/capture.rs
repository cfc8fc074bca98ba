//! Any bytes as a capture file, to the end of the pipeline: no panic, no endless loop, as many rows as frames.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tapsight::capture::{Options, Reader, Source};
use tapsight::packets::{Scan, ScanOptions};

fuzz_target!(|data: &[u8]| {
    let open = || {
        let source = Source::Memory { name: "fuzz".into(), bytes: Arc::new(data.to_vec()) };
        Reader::open(vec![source], Options::default())
    };
    let (Ok(mut reader), Ok(again)) = (open(), open()) else { return };
    let mut frames = 0;
    while let Ok(Some(block)) = reader.next_block() {
        frames += block.frames().map(|frame| assert_eq!(frame.data.len(), frame.record.cap_len as usize)).count();
    }
    let rows: usize = Scan::new(again, ScanOptions::default()).map_while(Result::ok).map(|batch| batch.num_rows()).sum();
    assert_eq!(rows, frames);
});
