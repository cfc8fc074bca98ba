//! Packets and messages in, rows of another table out: what flows, calls and media streams have in common.

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};

use crate::capture::Reader;
use crate::messages::Kinds;
use crate::packets::{Batch, Column, Scan, ScanOptions};

/// Makes rows out of what is seen.
pub trait Stage: Send {
    /// The columns of packets that it reads.
    fn columns(&self) -> Vec<Column>;

    /// The side tables whose messages it reads.
    fn tables(&self) -> Kinds {
        Kinds::default()
    }

    /// The columns of its rows.
    fn schema(&self) -> SchemaRef;

    /// Takes note of the packets and messages that come next.
    fn read(&mut self, batch: &Batch) -> Result<(), ArrowError>;

    /// Rows that are complete, if there are enough of them to hand out; once it `is_end`, all that are left, until there are none.
    fn take(&mut self, is_end: bool) -> Result<Option<RecordBatch>, ArrowError>;

    /// What the rows lack, a line each.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A capture past a stage: its rows, as they are complete.
pub struct Staged {
    scan: Scan,
    stage: Box<dyn Stage>,
    is_end: bool,
}

impl Staged {
    /// A capture past a stage. Of `options`, the columns and tables are those that the stage reads.
    pub fn new(stage: Box<dyn Stage>, options: ScanOptions, scan: impl FnOnce(ScanOptions) -> Scan) -> Self {
        let options = ScanOptions { columns: stage.columns(), tables: stage.tables(), ..options };
        Self { scan: scan(options), stage, is_end: false }
    }

    /// The reader, for its warnings so far.
    pub fn reader(&self) -> impl std::ops::Deref<Target = Reader> {
        self.scan.reader()
    }

    /// What the rows lack, a line each.
    pub fn warnings(&self) -> Vec<String> {
        self.stage.warnings()
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        loop {
            if let Some(rows) = self.stage.take(self.is_end)? {
                return Ok(Some(rows));
            }
            if self.is_end {
                return Ok(None);
            }
            match self.scan.next_with_messages()? {
                Some(batch) => self.stage.read(&batch)?,
                None => self.is_end = true,
            }
        }
    }
}

impl Iterator for Staged {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

impl RecordBatchReader for Staged {
    fn schema(&self) -> SchemaRef {
        self.stage.schema()
    }
}
