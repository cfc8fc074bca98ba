//! A capture as a stream of record batches.

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};

use super::builder::{Builder, CHUNK, Row};
use super::column::Column;
use super::filter::Filter;
use super::frames::{Blocks, Frames, Pause};
use super::ids::Ids;
use crate::capture::{Block, Reader};

/// Rows in a batch unless told otherwise.
pub const BATCH_SIZE: usize = 65_536;

/// What to make of a capture.
#[derive(Debug, Clone)]
pub struct ScanOptions {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// Rows in a batch; the last one may be shorter.
    pub batch_size: usize,
    /// Rows that are not wanted.
    pub filter: Filter,
    /// How many rows to make at the most.
    pub limit: Option<u64>,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            columns: Column::default_set(),
            batch_size: BATCH_SIZE,
            filter: Filter::default(),
            limit: None,
        }
    }
}

/// Reads a capture batch by batch.
#[derive(Debug)]
pub struct Scan {
    blocks: Blocks,
    frames: Frames,
    builder: Builder,
    options: ScanOptions,
    work: Work,
    rows_left: u64,
}

/// What the columns asked for make necessary.
#[derive(Debug, Clone, Copy)]
struct Work {
    layers: bool,
    label: bool,
    ids: bool,
}

impl Work {
    fn of(options: &ScanOptions) -> Self {
        let any = |test: fn(Column) -> bool| options.columns.iter().any(|&column| test(column));
        let label = options.filter.needs_label()
            || any(|column| matches!(column, Column::App | Column::Traffic | Column::Basis));
        let ids = any(|column| matches!(column, Column::PacketId | Column::PayloadId | Column::FlowId));
        let record = |column| {
            matches!(column, Column::Frame | Column::Ts | Column::Tap | Column::CapLen | Column::WireLen)
        };
        let layers = label
            || ids
            || !options.filter.is_empty()
            || !options.columns.iter().all(|&column| record(column));
        Self { layers, label, ids }
    }
}

impl Scan {
    /// A scan of all that `reader` has.
    pub fn new(reader: Reader, options: ScanOptions) -> Self {
        let options = ScanOptions { batch_size: options.batch_size.max(1), ..options };
        Self {
            builder: Builder::new(&options.columns, options.batch_size),
            work: Work::of(&options),
            rows_left: options.limit.unwrap_or(u64::MAX),
            frames: Frames::default(),
            blocks: Blocks::new(reader),
            options,
        }
    }

    /// The same scan, which calls `pause` when the reader has nothing yet.
    #[must_use]
    pub fn with_pause(mut self, pause: Pause) -> Self {
        self.blocks.pause = Some(pause);
        self
    }

    /// The reader, for its interfaces, files and warnings so far.
    pub fn reader(&self) -> &Reader {
        &self.blocks.reader
    }

    /// The next batch; `None` when the capture has ended.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        while self.rows_left > 0 && self.builder.len() < self.options.batch_size && !self.builder.is_full() {
            let Some((block, position)) = self.blocks.take()? else { break };
            let position = self.read_block(&block, position);
            self.blocks.put(block, position);
        }
        if self.builder.is_empty() {
            return Ok(None);
        }
        self.builder.finish().map(Some)
    }

    /// Adds rows for the frames from `position` on, as far as the batch has room; returns where it stopped.
    fn read_block(&mut self, block: &Block, mut position: usize) -> usize {
        let Self { blocks, frames: state, builder, options, work, rows_left, .. } = self;
        let interfaces = blocks.reader.interfaces();
        let mut frames = block.frames().skip(position);
        let mut rows = vec![Row::default(); CHUNK];
        while position < block.len()
            && *rows_left > 0
            && builder.len() < options.batch_size
            && !builder.is_full()
        {
            let room = (options.batch_size - builder.len())
                .min(CHUNK)
                .min(usize::try_from(*rows_left).unwrap_or(CHUNK));
            let mut len = 0;
            for frame in frames.by_ref().take(room) {
                let Some(row) = rows.get_mut(len) else { break };
                row.number = block.first_frame() + position as u64;
                row.frame = frame;
                position += 1;
                if work.layers {
                    row.label = state.read(interfaces, frame, work.label, &mut row.layers);
                }
                if options.filter.keeps(row) {
                    if work.ids {
                        row.ids = Ids::of(&row.layers);
                    }
                    len += 1;
                }
            }
            builder.push(rows.get(..len).unwrap_or_default(), |interface| {
                interfaces.get(interface as usize).map_or_else(String::new, |interface| interface.tap.clone())
            });
            *rows_left -= len as u64;
        }
        position
    }
}

impl Iterator for Scan {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

impl RecordBatchReader for Scan {
    fn schema(&self) -> SchemaRef {
        self.builder.schema()
    }
}
