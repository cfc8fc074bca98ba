//! A capture as a stream of record batches.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};

use super::column::{Column, schema};
use super::filter::Filter;
use super::frames::{Carried, Pause};
use super::part::{Batch, Part, Work};
use super::workers::Workers;
use crate::capture::{Block, Error, Reader};
use crate::messages::Kinds;

/// Rows in a batch unless told otherwise: what columns take is then reused before it is given back, and fits into caches.
pub const BATCH_SIZE: usize = 8_192;

/// The most rows of a batch: as many as a dictionary of taps or encapsulations has numbers for.
pub(super) const MAX_BATCH_SIZE: usize = 65_536;

/// Bytes of frames in a batch, about: of large ones there are fewer in it, as messages have copies of them.
const MAX_BYTES: usize = 16 << 20;

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
    /// Threads that work beside the one that asks for batches; with none, that one does all. The batches are the same.
    pub workers: usize,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            columns: Column::default_set(),
            batch_size: BATCH_SIZE,
            filter: Filter::default(),
            limit: None,
            tables: Kinds::default(),
            workers: 0,
        }
    }
}

/// Reads a capture batch by batch.
///
/// The frames of a batch are dissected on any thread, independent of all others. What earlier frames tell of later ones is
/// added by the thread that asks for batches, in order; so there is one result, whatever the number of threads.
#[derive(Debug)]
pub struct Scan {
    input: Arc<Mutex<Input>>,
    schema: SchemaRef,
    work: Arc<Work>,
    carried: Carried,
    threads: usize,
    /// Made with the first batch.
    workers: Option<Workers>,
    pause: Option<Pause>,
    rows_left: u64,
}

impl Scan {
    /// A scan of all that `reader` has.
    pub fn new(reader: Reader, options: ScanOptions) -> Self {
        let input = Arc::new(Mutex::new(Input { reader, parts: 0, rest: None, failed: None }));
        Self {
            threads: options.workers,
            workers: None,
            input,
            schema: schema(&options.columns),
            carried: Carried::default(),
            pause: None,
            rows_left: options.limit.unwrap_or(u64::MAX),
            work: Arc::new(Work::of(options)),
        }
    }

    /// The same scan, which calls `pause` when the reader has nothing yet.
    #[must_use]
    pub fn with_pause(mut self, pause: Pause) -> Self {
        self.pause = Some(pause);
        self
    }

    /// The same scan, which knows what an earlier one over the same tap has carried.
    #[must_use]
    pub fn with_carried(mut self, carried: Carried) -> Self {
        self.carried = carried;
        self
    }

    /// What the frames so far tell of later ones.
    pub fn carried(&mut self) -> Carried {
        std::mem::take(&mut self.carried)
    }

    /// The reader, for its interfaces, files and warnings so far. Waits for the thread that reads at the moment.
    pub fn reader(&self) -> impl Deref<Target = Reader> {
        ReaderGuard(lock(&self.input))
    }

    /// The reader, unless a thread reads at the moment.
    pub fn idle_reader(&self) -> Option<impl Deref<Target = Reader>> {
        self.input.try_lock().ok().map(ReaderGuard)
    }

    /// The next batch with the messages in its packets; `None` when the capture has ended.
    pub fn next_with_messages(&mut self) -> Result<Option<Batch>, ArrowError> {
        while self.rows_left > 0 {
            let Some(part) = self.next_part()? else { break };
            let Batch { mut packets, messages } = part.settle(&mut self.carried, &self.work)?;
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
            self.workers = None;
        }
        Ok(None)
    }

    /// The next batch of packets; `None` when the capture has ended.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        Ok(self.next_with_messages()?.map(|batch| batch.packets))
    }

    /// The rows of the next frames.
    pub(super) fn next_part(&mut self) -> Result<Option<Part>, ArrowError> {
        if self.threads > 0 {
            let start = || Workers::start(self.threads, &self.input, &self.work);
            return self.workers.get_or_insert_with(start).next_part(self.pause);
        }
        let input = &mut *lock(&self.input);
        let mut part = Part::new(&self.work);
        let mut quota = Quota::of(&self.work);
        while !quota.is_used_up() {
            let Some(block) = input.next_block(&mut quota, part.frames() == 0)? else { break };
            if let (true, Some(pause)) = (block.is_empty(), self.pause) {
                pause()?;
            }
            part.read(&self.work, &block, input.reader.interfaces());
        }
        Ok((part.frames() > 0).then_some(part))
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

/// What a batch still has room for.
pub(super) struct Quota {
    frames: usize,
    bytes: usize,
}

impl Quota {
    pub fn of(work: &Work) -> Self {
        Self { frames: work.batch_size, bytes: MAX_BYTES }
    }

    pub fn is_used_up(&self) -> bool {
        self.frames == 0 || self.bytes == 0
    }
}

/// Where frames come from, one stretch after the other.
#[derive(Debug)]
pub(super) struct Input {
    pub reader: Reader,
    /// How many parts were begun.
    pub parts: u64,
    /// Frames that found no room in the last part.
    rest: Option<Block>,
    /// What ended a source: it is told when the frames before it were handed out.
    failed: Option<Error>,
}

impl Input {
    /// Frames that follow, as many as the quota has room for; none at the end of the capture, and where a source ended with an
    /// error. That is the answer itself if it `may_fail`, else the one next time.
    pub fn next_block(&mut self, quota: &mut Quota, may_fail: bool) -> Result<Option<Block>, ArrowError> {
        if self.failed.is_none() {
            let block = match self.rest.take() {
                Some(rest) => Ok(Some(rest)),
                None => self.reader.next_block_of(quota.frames),
            };
            match block {
                Ok(mut block) => {
                    if let Some(block) = &mut block {
                        self.rest = block.split(quota.frames, quota.bytes);
                        quota.frames = quota.frames.saturating_sub(block.len());
                        quota.bytes = quota.bytes.saturating_sub(block.size());
                    }
                    return Ok(block);
                }
                Err(error) => self.failed = Some(error),
            }
        }
        match self.failed.take_if(|_| may_fail) {
            Some(error) => Err(ArrowError::ExternalError(Box::new(error))),
            None => Ok(None),
        }
    }
}

/// The input, for one thread at a time.
pub(super) fn lock(input: &Mutex<Input>) -> MutexGuard<'_, Input> {
    input.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reader, while no thread reads.
struct ReaderGuard<'a>(MutexGuard<'a, Input>);

impl Deref for ReaderGuard<'_> {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.0.reader
    }
}
