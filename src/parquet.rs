//! Tables → Parquet, with the columns of a row group encoded by several threads.

use std::sync::{Mutex, PoisonError};
use std::thread;

use arrow_array::{RecordBatch, new_empty_array};
use arrow_schema::{ArrowError, DataType, FieldRef, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

/// Encodes row groups, and hands out the bytes of the file as they are made: the same, whatever the number of threads.
#[derive(Debug)]
pub struct Encoder {
    schema: SchemaRef,
    file: SerializedFileWriter<Vec<u8>>,
    row_groups: ArrowRowGroupWriterFactory,
    /// How many leaves each column has: one, unless it is nested.
    leaves: Vec<usize>,
    threads: usize,
    groups: usize,
}

/// A column that is to be encoded: its number, and what its leaves are written with.
type Task = (usize, Vec<ArrowColumnWriter>);

impl Encoder {
    /// A file of this schema, which is kept in it, so that what Arrow reads back is what it was.
    pub fn new(schema: SchemaRef, threads: usize) -> Result<Self, ArrowError> {
        let leaves_of =
            |field: &FieldRef| Ok(compute_leaves(field, &new_empty_array(field.data_type()))?.len());
        let leaves = schema.fields().iter().map(leaves_of).collect::<Result<_, ParquetError>>()?;
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties(&schema)?))?;
        let (file, row_groups) = writer.into_serialized_writer()?;
        Ok(Self { schema, file, row_groups, leaves, threads, groups: 0 })
    }

    /// A row group of all rows of these batches. Gives the bytes that come next in the file.
    pub fn row_group(&mut self, batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
        if let Some(batch) = batches.iter().find(|batch| batch.schema_ref().fields() != self.schema.fields())
        {
            let problem = format!("a batch of {} among those of {}", batch.schema_ref(), self.schema);
            return Err(ArrowError::SchemaError(problem));
        }
        if batches.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(Vec::new());
        }
        let mut writers = self.row_groups.create_column_writers(self.groups)?.into_iter();
        let of_column =
            |(column, &leaves): (usize, &usize)| (column, writers.by_ref().take(leaves).collect());
        let tasks: Vec<Task> = self.leaves.iter().enumerate().map(of_column).collect();
        let chunks = encode(&self.schema, batches, tasks, self.threads)?;
        let mut group = self.file.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.groups += 1;
        self.file.flush()?;
        Ok(std::mem::take(self.file.inner_mut()))
    }

    /// The bytes that end the file.
    pub fn finish(self) -> Result<Vec<u8>, ArrowError> {
        Ok(self.file.into_inner()?)
    }
}

/// What is said of columns: labels, addresses and flows repeat, so they have dictionaries, which other ids and numbers fill for nothing.
/// Rows are in order of time and taps, so that bounds of these tell readers what to skip; bounds of the others would tell nothing, and
/// take a third of the time.
fn properties(schema: &Schema) -> Result<WriterProperties, ArrowError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true);
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        let is_label = matches!(field.data_type(), DataType::Dictionary(..));
        if is_label || matches!(field.data_type(), DataType::FixedSizeBinary(_)) || field.name() == "flow_id"
        {
            properties = properties.set_column_dictionary_enabled(column.clone(), true);
        }
        if is_label || matches!(field.data_type(), DataType::Timestamp(..)) || field.name() == "frame" {
            properties = properties.set_column_statistics_enabled(column, EnabledStatistics::Chunk);
        }
    }
    // As pyarrow writes them: beside the schema, where every reader finds them; sorted, so that the bytes are the same each time.
    let mut said: Vec<_> = schema.metadata().iter().collect();
    said.sort_unstable();
    let said = said.into_iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    Ok(properties.set_key_value_metadata(Some(said)).build())
}

/// The columns, encoded by so many threads, in order.
fn encode(
    schema: &Schema,
    batches: &[RecordBatch],
    tasks: Vec<Task>,
    threads: usize,
) -> Result<Vec<ArrowColumnChunk>, ArrowError> {
    // The last ones first: ids take longest.
    let beside = threads.min(tasks.len()).saturating_sub(1);
    let tasks = Mutex::new(tasks);
    let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        let mut done = Vec::new();
        while let Some((column, writers)) = next() {
            done.push((column, encode_column(schema, batches, column, writers)?));
        }
        Ok::<_, ParquetError>(done)
    };
    let mut done = thread::scope(|scope| {
        // If there cannot be more threads, this one does all.
        let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let others: Vec<_> = (0..beside).filter_map(start).collect();
        let mut done = work()?;
        for other in others {
            let failed = |_| ParquetError::General("a thread that encodes columns ended early".to_owned());
            done.extend(other.join().map_err(failed)??);
        }
        Ok::<_, ParquetError>(done)
    })?;
    done.sort_by_key(|(column, _)| *column);
    Ok(done.into_iter().flat_map(|(_, chunks)| chunks).collect())
}

fn encode_column(
    schema: &Schema,
    batches: &[RecordBatch],
    column: usize,
    mut writers: Vec<ArrowColumnWriter>,
) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    let Some(field) = schema.fields().get(column) else { return Ok(Vec::new()) };
    for array in batches.iter().filter_map(|batch| batch.columns().get(column)) {
        for (leaf, writer) in compute_leaves(field, array)?.iter().zip(&mut writers) {
            writer.write(leaf)?;
        }
    }
    writers.into_iter().map(ArrowColumnWriter::close).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, UInt64Array};

    use super::*;
    use crate::capture::{Options, Reader, Source};
    use crate::packets::{Scan, ScanOptions};
    use crate::traffic::{Mix, capture};

    fn packets() -> (SchemaRef, Vec<RecordBatch>) {
        let bytes = Arc::new(capture(Mix::Carrier, 3000, 1));
        let source = Source::Memory { name: "made".into(), bytes };
        let reader = Reader::open(vec![source], Options::default()).unwrap();
        let scan = Scan::new(reader, ScanOptions { batch_size: 500, ..ScanOptions::default() });
        let batches: Vec<RecordBatch> = scan.map(Result::unwrap).collect();
        (batches[0].schema(), batches)
    }

    fn file(schema: &SchemaRef, batches: &[RecordBatch], per_group: usize, threads: usize) -> Vec<u8> {
        let mut encoder = Encoder::new(schema.clone(), threads).unwrap();
        let groups = batches.chunks(per_group).map(|group| encoder.row_group(group).unwrap());
        let mut bytes: Vec<u8> = groups.flatten().collect();
        bytes.extend(encoder.finish().unwrap());
        bytes
    }

    #[test]
    fn bytes_are_the_same_for_any_number_of_threads() {
        let (schema, batches) = packets();
        let expected = file(&schema, &batches, 3, 1);
        assert_eq!((&expected[..4], &expected[expected.len() - 4..]), (&b"PAR1"[..], &b"PAR1"[..]));
        for threads in [0, 2, 5, 100] {
            assert!(file(&schema, &batches, 3, threads) == expected, "{threads} threads");
        }
    }

    #[test]
    fn a_batch_of_another_schema_is_an_error() {
        let (schema, _) = packets();
        let numbers: ArrayRef = Arc::new(UInt64Array::from(vec![1]));
        let other = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        let problem = Encoder::new(schema, 1).unwrap().row_group(&[other]).unwrap_err();
        assert!(matches!(problem, ArrowError::SchemaError(_)));
    }
}
