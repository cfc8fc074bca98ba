//! A capture as a stream of record batches.

use std::ops::Deref;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};

use super::column::{Column, schema};
use super::filter::Filter;
use super::frames::{Carried, Pause};
use super::part::{Batch, Part, Work};
use super::parts::{Finish, Help, Parts};
use crate::capture::Reader;
use crate::messages::Kinds;

/// Rows in a batch unless told otherwise: what columns take is then reused before it is given back, and fits into caches.
pub const BATCH_SIZE: usize = 4_096;

/// The most rows of a batch: as many as a dictionary of taps or encapsulations has numbers for.
pub(super) const MAX_BATCH_SIZE: usize = 65_536;

/// What to make of a capture.
#[derive(Debug, Clone)]
pub struct ScanOptions {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// Frames that make a batch, up to 65,536: as many rows, less what the filter leaves out.
    pub batch_size: usize,
    /// Rows that are not wanted.
    pub filter: Filter,
    /// How many rows to make at the most.
    pub limit: Option<u64>,
    /// Side tables to make beside the packets, of all frames whatever the filter.
    pub tables: Kinds,
    /// Threads that work, the one that asks for batches included. The batches are the same.
    pub threads: usize,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            columns: Column::default_set(),
            batch_size: BATCH_SIZE,
            filter: Filter::default(),
            limit: None,
            tables: Kinds::default(),
            threads: 1,
        }
    }
}

/// Reads a capture batch by batch.
///
/// The frames of a batch are dissected on any thread, independent of all others. What earlier frames tell of later ones is
/// added in order; so there is one result, whatever the number of threads.
#[derive(Debug)]
pub struct Scan {
    parts: Parts<Settle>,
    schema: SchemaRef,
    rows_left: u64,
}

/// Adds what earlier frames tell.
#[derive(Debug, Default)]
struct Settle {
    carried: Carried,
}

impl Finish for Settle {
    type Made = Batch;

    fn finish(&mut self, part: Part, work: &Work) -> Result<Batch, ArrowError> {
        part.settle(&mut self.carried, work)
    }
}

impl Scan {
    /// A scan of all that `reader` has.
    pub fn new(reader: Reader, options: ScanOptions) -> Self {
        let (schema, threads) = (schema(&options.columns), options.threads);
        let rows_left = options.limit.unwrap_or(u64::MAX);
        let parts = Parts::new(reader, Work::of(options), Settle::default(), threads);
        Self { parts, schema, rows_left }
    }

    /// The same scan, which calls `pause` when the reader has nothing yet.
    #[must_use]
    pub fn with_pause(mut self, pause: Pause) -> Self {
        self.parts.set_pause(pause);
        self
    }

    /// The same scan, which knows what an earlier one over the same tap has carried.
    #[must_use]
    pub fn with_carried(self, carried: Carried) -> Self {
        self.parts.finisher().carried = carried;
        self
    }

    /// What the frames so far tell of later ones.
    pub fn carried(&mut self) -> Carried {
        std::mem::take(&mut self.parts.finisher().carried)
    }

    /// The reader, for its interfaces, files and warnings so far. Waits for the thread that reads at the moment.
    pub fn reader(&self) -> impl Deref<Target = Reader> {
        self.parts.reader()
    }

    /// The reader, unless a thread reads at the moment.
    pub fn idle_reader(&self) -> Option<impl Deref<Target = Reader>> {
        self.parts.idle_reader()
    }

    /// Who can work on batches while waiting for something else; none if that might take long.
    pub(super) fn helper(&self) -> Option<Arc<dyn Help>> {
        self.parts.helper()
    }

    /// The next batch with the messages in its packets; `None` when the capture has ended.
    pub fn next_with_messages(&mut self) -> Result<Option<Batch>, ArrowError> {
        while self.rows_left > 0 {
            let Some(Batch { mut packets, messages }) = self.parts.next()? else { break };
            let rows = packets.num_rows().min(usize::try_from(self.rows_left).unwrap_or(usize::MAX));
            if rows > 0 || !messages.is_empty() {
                self.rows_left -= rows as u64;
                if rows < packets.num_rows() {
                    packets = packets.slice(0, rows);
                }
                return Ok(Some(Batch { packets, messages }));
            }
        }
        if self.rows_left == 0 {
            // No more are wanted.
            self.parts.close();
        }
        Ok(None)
    }

    /// The next batch of packets; `None` when the capture has ended.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        Ok(self.next_with_messages()?.map(|batch| batch.packets))
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
        self.schema.clone()
    }
}
