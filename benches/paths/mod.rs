//! The paths that are measured, by name: of a capture in memory, how many rows came out.

use std::sync::Arc;

use tapsight::budget::Budget;
use tapsight::calls::{self, Calls};
use tapsight::capture::{Options, Reader, Source};
use tapsight::classify::Classifier;
use tapsight::detect;
use tapsight::dissect::dissect;
use tapsight::flows::{self, Flows};
use tapsight::media::{self, Streams};
use tapsight::packets::digest::{self, Digest};
use tapsight::packets::{Carried, Chain, Column, Scan, ScanOptions};
use tapsight::stage::Staged;
use tapsight::tap::Tap;
use tapsight::traffic;

type Path = fn(&Arc<Vec<u8>>) -> u64;

pub const ALL: &[(&str, Path)] = &[
    ("floor: one pass over the memory", |bytes| traffic::floor(bytes)),
    ("records", records),
    ("parse and classify", parse),
    ("4 columns", |bytes| columns(bytes, vec![Column::Ts, Column::Src, Column::Dst, Column::WireLen])),
    ("all columns without ids", |bytes| columns(bytes, without_ids())),
    ("all columns", |bytes| columns(bytes, Column::default_set())),
    ("flows", flows),
    ("examine: A1, A2, A5 and flows", |bytes| {
        examine(bytes, Some(["A1", "A2", "A5"].map(String::from).to_vec()))
    }),
    ("examine: all detectors and flows", |bytes| examine(bytes, None)),
    ("calls: a row a call", calls),
    ("media: a row a stream", media),
    ("digest: written and read back", digest),
];

fn source(bytes: &Arc<Vec<u8>>) -> Source {
    Source::Memory { name: "bench".into(), bytes: bytes.clone() }
}

fn reader(bytes: &Arc<Vec<u8>>) -> Reader {
    Reader::open(vec![source(bytes)], Options::default()).expect("a capture made for this")
}

fn scan(bytes: &Arc<Vec<u8>>, columns: Vec<Column>) -> Scan {
    scan_with(bytes, ScanOptions { columns, ..ScanOptions::default() })
}

fn scan_with(bytes: &Arc<Vec<u8>>, options: ScanOptions) -> Scan {
    Scan::new(reader(bytes), options)
}

fn records(bytes: &Arc<Vec<u8>>) -> u64 {
    let mut reader = reader(bytes);
    let mut records = 0;
    while let Ok(Some(block)) = reader.next_block() {
        records += block.len() as u64;
    }
    records
}

/// No columns are made.
fn parse(bytes: &Arc<Vec<u8>>) -> u64 {
    let mut reader = reader(bytes);
    let mut classifier = Classifier::new();
    let mut recognised = 0;
    while let Ok(Some(block)) = reader.next_block() {
        for frame in block.frames() {
            let Some(interface) = reader.interfaces().get(frame.record.interface as usize) else { continue };
            let layers = dissect(interface.link, frame.data, frame.record.wire_len);
            recognised += u64::from(classifier.classify(&layers).app.is_some());
        }
    }
    recognised
}

fn columns(bytes: &Arc<Vec<u8>>, columns: Vec<Column>) -> u64 {
    scan(bytes, columns).map(|batch| batch.map_or(0, |batch| batch.num_rows() as u64)).sum()
}

fn flows(bytes: &Arc<Vec<u8>>) -> u64 {
    let stage = Box::new(Flows::new(flows::Options::default()).expect("columns of one length"));
    Staged::new(stage, ScanOptions::default(), |options| scan_with(bytes, options))
        .map(|batch| batch.map_or(0, |batch| batch.num_rows() as u64))
        .sum()
}

fn without_ids() -> Vec<Column> {
    let is_id = |column: &Column| matches!(column, Column::PacketId | Column::PayloadId | Column::FlowId);
    Column::default_set().into_iter().filter(|column| !is_id(column)).collect()
}

fn examine(bytes: &Arc<Vec<u8>>, detectors: Option<Vec<String>>) -> u64 {
    let (scanned, carried) = (detect::scan_options(detectors.as_deref()), Carried::default());
    let options = detect::Options { detectors, ..detect::Options::default() };
    let chain = Chain::open(vec![source(bytes)], Options::default(), scanned, None, carried);
    let memory = Budget::of(options.memory).voice;
    let mut tap = Tap::here(chain.expect("a capture made for this"), memory);
    let taps: Vec<detect::Tap<'_>> = vec![&mut tap];
    let pause = |_| Ok::<_, arrow_schema::ArrowError>(());
    detect::examine(taps, options, None, pause).map_or(0, |found| found.flows.num_rows() as u64)
}

fn calls(bytes: &Arc<Vec<u8>>) -> u64 {
    let stage = Box::new(Calls::new(&[calls::Table::Calls], calls::Options::default()));
    let rows = Staged::new(stage, ScanOptions::default(), |options| scan_with(bytes, options));
    rows.map(|batch| batch.map_or(0, |batch| batch.num_rows() as u64)).sum()
}

fn media(bytes: &Arc<Vec<u8>>) -> u64 {
    let stage = Box::new(Streams::new(media::Options::default()));
    let rows = Staged::new(stage, ScanOptions::default(), |options| scan_with(bytes, options));
    rows.map(|batch| batch.map_or(0, |batch| batch.num_rows() as u64)).sum()
}

fn digest(bytes: &Arc<Vec<u8>>) -> u64 {
    let options = ScanOptions { batch_size: digest::BATCH_SIZE, ..detect::scan_options(None) };
    let mut made = Vec::new();
    let written = digest::write(vec![source(bytes)], "bench", options, None, &mut made, "bench", |_| Ok(()));
    let packets = written.ok().and_then(|origin| origin.next_frame()).map_or(0, |next| next - 1);
    let read =
        Digest::open(&source(&Arc::new(made))).and_then(|read| read.verify(detect::scan_options(None)));
    if read.is_ok() { packets } else { 0 }
}
