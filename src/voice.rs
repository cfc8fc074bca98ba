//! Calls and media streams together: each stream with the call that announced it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampNanosecondType, UInt16Type, UInt64Type};
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};

use crate::arrays::{labels, numbers};
use crate::calls::{self, Calls, Side, Spot};
use crate::media::{self, Codec, Streams};
use crate::messages::Kinds;
use crate::packets::{Batch, Column, Packets};
use crate::stage::Stage;
use crate::wire::ip::Addr;

/// Makes rows of media streams, with the calls that they belong to.
#[derive(Debug)]
pub struct Voice {
    calls: Calls,
    streams: Streams,
}

/// Which ends of a stream a call has announced.
const ANNOUNCED: [&str; 3] = ["both", "destination", "source"];

/// The columns that are added to those of media streams.
const ADDED: [(&str, &str); 3] = [
    (
        "call",
        "Number of the call on this tap whose session description announces an end of it, as `tapsight calls` counts.",
    ),
    ("side", "Who receives it: `caller` or `callee`."),
    (
        "announced",
        "Which ends that call has announced: `both`, `destination`, `source`; of none, no call is known.",
    ),
];

impl Voice {
    /// The side tables that are read.
    pub const TABLES: Kinds = Calls::TABLES.or(Streams::TABLES);

    /// Nothing so far.
    pub fn new(calls: calls::Options, media: media::Options) -> Self {
        Self::with_calls(&[], calls, media)
    }

    /// The same, with rows of tables of calls beside those of the streams.
    fn with_calls(tables: &[calls::Table], calls: calls::Options, media: media::Options) -> Self {
        Self { calls: Calls::new(tables, calls), streams: Streams::new(media) }
    }

    /// The columns of its rows.
    fn columns_of(media: &Schema, call: [arrow_schema::DataType; 3]) -> SchemaRef {
        let added = ADDED.into_iter().zip(call).map(|((name, description), data_type)| {
            let metadata = HashMap::from([("description".to_owned(), description.to_owned())]);
            Arc::new(Field::new(name, data_type, true).with_metadata(metadata))
        });
        let fields = media.fields().iter().cloned().chain(added).collect::<Vec<_>>();
        Arc::new(Schema::new_with_metadata(fields, media.metadata().clone()))
    }

    /// The call that expects media at this end of a stream, and all of which it is expected.
    fn expect(&self, tap: &str, addr: &[u8], port: u16, times: [i64; 2]) -> (Option<&Spot>, Vec<&Spot>) {
        let tap = self.calls.taps().iter().position(|known| known == tap);
        let Some((tap, addr)) = tap.zip(Addr::try_from(addr).ok()) else { return (None, Vec::new()) };
        let endpoints = self.calls.endpoints();
        let [first, last] = times;
        let find = |ts| endpoints.find(tap as u16, addr, port, ts);
        let found = find(first).or_else(|| find(last));
        let all = |ts| endpoints.find_all(tap as u16, addr, port, ts);
        (found, found.into_iter().chain(all(first)).chain(all(last)).collect())
    }

    /// The rows with their calls.
    fn join(&self, media: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let column = |name: &str| {
            media.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name:?}")))
        };
        let taps = column("tap")?.as_dictionary::<UInt16Type>();
        let names = taps.values().as_string::<i32>();
        let time = |name| column(name).map(AsArray::as_primitive::<TimestampNanosecondType>);
        let (first, last) = (time("first_ts")?, time("last_ts")?);
        let ends = |addr, port| -> Result<_, ArrowError> {
            Ok((column(addr)?.as_fixed_size_binary(), column(port)?.as_primitive::<UInt16Type>()))
        };
        let (src, dst) = (ends("src", "src_port")?, ends("dst", "dst_port")?);
        let found: Vec<_> = (0..media.num_rows())
            .map(|row| {
                let tap = names.value(usize::from(taps.keys().value(row)));
                let times = [first.value(row), last.value(row)];
                let at = |(addr, port): (&arrow_array::FixedSizeBinaryArray, &arrow_array::UInt16Array)| {
                    self.expect(tap, addr.value(row), port.value(row), times)
                };
                let ((to, to_all), (from, from_all)) = (at(dst), at(src));
                // An endpoint may be of several calls: those of both phones, or of both sides of what calls anew. The call that has described both
                // ends is it; of several, the one that began last.
                let is_both = |to: &Spot| from_all.iter().any(|from| from.call == to.call);
                let both = to.filter(|to| is_both(to)).or_else(|| {
                    to_all.iter().filter(|to| is_both(to)).max_by_key(|to| (to.since, to.call)).copied()
                });
                match (both, to, from) {
                    (Some(to), ..) => Some((to.call, to.side, 0)),
                    (None, Some(to), _) => Some((to.call, to.side, 1)),
                    (None, None, Some(from)) => Some((from.call, from.side.other(), 2)),
                    (None, None, None) => None,
                }
            })
            .collect();
        let added = [
            numbers::<UInt64Type>(found.iter().map(|found| found.map(|(call, ..)| call))),
            labels(Side::NAMES, found.iter().map(|found| found.map(|(_, side, _)| side as u16)))?,
            labels(&ANNOUNCED, found.iter().map(|found| found.map(|(.., ends)| ends)))?,
        ];
        let schema =
            Self::columns_of(&media.schema(), added.each_ref().map(|array| array.data_type().clone()));
        let columns = media.columns().iter().cloned().chain(added).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(media.num_rows()));
        RecordBatch::try_new_with_options(schema, columns, &options)
    }
}

impl Stage for Voice {
    fn columns(&self) -> Vec<Column> {
        Packets::COLUMNS.to_vec()
    }

    fn tables(&self) -> Kinds {
        Self::TABLES
    }

    fn schema(&self) -> SchemaRef {
        let nothing = self.join(&RecordBatch::new_empty(self.streams.schema()));
        nothing.map_or_else(|_| self.streams.schema(), |batch| batch.schema())
    }

    fn read(&mut self, batch: &Batch) -> Result<(), ArrowError> {
        self.calls.read(batch)?;
        for ((addr, port), payload_type, encoding) in self.calls.announced() {
            // As `a=rtpmap` has it (RFC 8866 section 6.6): name, clock rate, and what else there is.
            let mut parts = encoding.split('/');
            if let (Some(name), Some(Ok(clock_rate))) = (parts.next(), parts.next().map(str::parse)) {
                let codec = Codec { name: name.into(), clock_rate };
                self.streams.announce((addr, port), payload_type, codec);
            }
        }
        self.streams.read(batch)
    }

    fn take(&mut self, is_end: bool) -> Result<Option<RecordBatch>, ArrowError> {
        // Calls are not ended first: where their media are expected is known as long as they go on.
        if is_end {
            self.calls.flush();
        }
        self.streams.take(is_end)?.map(|rows| self.join(&rows)).transpose()
    }

    fn warnings(&self) -> Vec<String> {
        let mut all = self.calls.warnings();
        all.extend(self.streams.warnings());
        all
    }
}

/// All that was said and sent on a tap: what checks of calls judge by.
#[derive(Debug)]
pub struct Heard {
    voice: Voice,
    /// Bytes that are left for rows of media streams.
    left: usize,
    /// How many of those found no room.
    missing: u64,
    /// Of each of [`Self::TABLES`].
    calls: [Vec<RecordBatch>; 3],
    streams: Vec<RecordBatch>,
}

/// The tables in the end, as batches of one schema, at least one.
#[derive(Debug)]
pub struct Tables {
    /// One row a call.
    pub calls: Vec<RecordBatch>,
    /// One row a change in a call.
    pub changes: Vec<RecordBatch>,
    /// One row a media endpoint that a call has described.
    pub endpoints: Vec<RecordBatch>,
    /// One row a media stream, with its call.
    pub streams: Vec<RecordBatch>,
    /// How many rows are not what they would be, had there been more room: they are not there, or they or streams made room for others before
    /// it was over.
    pub missing: u64,
}

impl Heard {
    /// The tables of calls that are kept.
    const TABLES: [calls::Table; 3] = [calls::Table::Calls, calls::Table::Changes, calls::Table::Media];

    /// Nothing so far. All takes about so many bytes at the most, of which rows have a quarter.
    pub fn within(memory: usize) -> Self {
        let (calls, media) = (calls::Options::within(memory), media::Options::within(memory));
        let mut voice = Voice::with_calls(&Self::TABLES, calls, media);
        voice.calls = voice.calls.with_room_for_rows((memory / 6).max(1 << 20));
        let left = (memory / 12).max(1 << 20);
        Self { voice, left, missing: 0, calls: Default::default(), streams: Vec::new() }
    }

    /// Takes note of a batch, the next one of its tap.
    pub fn read(&mut self, batch: &Batch) -> Result<(), ArrowError> {
        if !batch.messages.is_empty() {
            self.voice.read(batch)?;
            self.take(false)?;
        }
        Ok(())
    }

    fn take(&mut self, is_end: bool) -> Result<(), ArrowError> {
        while let Some(rows) = self.voice.take(is_end)? {
            let (kept, missing) = calls::keep(&rows, &mut self.left);
            self.missing += missing;
            self.streams.extend(Some(kept).filter(|kept| kept.num_rows() > 0));
        }
        loop {
            let has_more = is_end && self.voice.calls.end();
            for (table, kept) in Self::TABLES.into_iter().zip(&mut self.calls) {
                while let Some(rows) = self.voice.calls.take_table(table, is_end && !has_more)? {
                    kept.extend(Some(rows).filter(|rows| rows.num_rows() > 0));
                }
            }
            if !has_more {
                return Ok(());
            }
        }
    }

    /// The tables, now that all was read.
    pub fn finish(mut self) -> Result<Tables, ArrowError> {
        self.take(true)?;
        let schemas = Self::TABLES.map(|table| table.schema(false));
        for (schema, batches) in schemas.into_iter().zip(&mut self.calls) {
            or_empty(batches, schema);
        }
        or_empty(&mut self.streams, self.voice.schema());
        let Voice { calls, streams, .. } = &self.voice;
        let missing = self.missing + calls.missing() + calls.evicted() + streams.incomplete();
        let [calls, changes, endpoints] = self.calls;
        Ok(Tables { calls, changes, endpoints, streams: self.streams, missing })
    }
}

/// Adds a batch without rows, where there is none.
fn or_empty(batches: &mut Vec<RecordBatch>, schema: SchemaRef) {
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
}
