//! A stretch of frames as rows: what each frame tells by itself, on any thread.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};

use super::builder::{Builder, CHUNK};
use super::column::Column;
use super::filter::Filter;
use super::fragments::Piece;
use super::frames::Carried;
use super::ids;
use super::row::Row;
use crate::capture::{Block, Interface};
use crate::classify::{self, Hint, Label};
use crate::dissect::{Layers, dissect_into};
use crate::messages::{self, Kinds, Tables};

/// Rows of frames that follow each other, and the messages in them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The packets.
    pub packets: RecordBatch,
    /// Their messages, of each table at most one batch, with rows in the order of the packets.
    pub messages: Vec<(messages::Kind, RecordBatch)>,
}

impl From<RecordBatch> for Batch {
    fn from(packets: RecordBatch) -> Self {
        Self { packets, messages: Vec::new() }
    }
}

/// What to make of frames.
#[derive(Debug)]
pub(super) struct Work {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// Frames in a part.
    pub batch_size: usize,
    filter: Filter,
    // What the columns and the filter make necessary.
    layers: bool,
    label: bool,
    ids: bool,
    head: bool,
    /// The side tables that are made beside the packets.
    tables: Kinds,
    /// Whether earlier frames decide which rows are kept.
    open_filter: bool,
}

impl Work {
    pub fn new(
        schema: SchemaRef,
        columns: Vec<Column>,
        batch_size: usize,
        filter: Filter,
        tables: Kinds,
    ) -> Self {
        let any = |test: fn(Column) -> bool| columns.iter().any(|&column| test(column));
        let label = filter.needs_label()
            || !tables.is_empty()
            || any(|column| matches!(column, Column::App | Column::Traffic | Column::Basis));
        let ids = any(|column| matches!(column, Column::PacketId | Column::PayloadId | Column::FlowId));
        let head = columns.contains(&Column::PayloadHead);
        let is_record = |column| {
            matches!(column, Column::Frame | Column::Ts | Column::Tap | Column::CapLen | Column::WireLen)
        };
        let layers = label || ids || !filter.is_empty() || !columns.iter().all(|&column| is_record(column));
        let open_filter = filter.is_told_by_others();
        Self { schema, columns, batch_size, filter, layers, label, ids, head, tables, open_filter }
    }
}

/// Rows of frames that follow each other, complete but for what earlier frames tell of them.
#[derive(Debug)]
pub(super) struct Part {
    builder: Builder,
    frames: usize,
    open: Vec<Open>,
    /// Rows of open frames, as far as they are needed.
    rows: Vec<Row>,
    messages: Tables,
}

/// A frame that tells something about later ones, or of which earlier ones tell something.
#[derive(Debug)]
struct Open {
    /// Its number: the first fragment of media has several entries.
    number: u64,
    /// Its place in the builder, unless its row was left out.
    at: Option<u32>,
    /// The place of its row in [`Part::rows`], if it is needed.
    row: Option<u32>,
    what: What,
}

#[derive(Debug)]
enum What {
    Hint(Hint),
    Fragment(Box<Piece>, Label),
}

impl Part {
    pub fn new(work: &Work) -> Self {
        Self {
            builder: Builder::new(work.schema.clone(), &work.columns, work.batch_size),
            frames: 0,
            open: Vec::new(),
            rows: Vec::new(),
            messages: Tables::new(work.tables),
        }
    }

    /// How many frames were read.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Adds rows for the frames of a block.
    pub fn read(&mut self, work: &Work, block: &Block, interfaces: &[Arc<Interface>]) {
        let mut rows = [Row::default(); CHUNK];
        let mut len = 0;
        let mut layers = Layers::default();
        let tap_name = |interface: u32| {
            interfaces.get(interface as usize).map_or_else(String::new, |interface| interface.tap.clone())
        };
        for (number, frame) in (block.first_frame()..).zip(block.frames()) {
            let Some(row) = rows.get_mut(len) else { break };
            *row = Row::of(number, &frame.record);
            if work.layers
                && let Some(interface) = interfaces.get(frame.record.interface as usize)
            {
                dissect_into(interface.link, frame.data, frame.record.wire_len, &mut layers);
                row.set_layers(&layers);
                let label = if work.label { classify::label(&layers) } else { Label::default() };
                row.set_label(label);
                if !work.tables.is_empty() {
                    let ts = frame.record.ts;
                    let message = messages::Frame { number, ts, layers: &layers, label };
                    self.messages.read(&message, (interface.link, frame.record.wire_len, frame.data));
                }
                let open = self.open.len();
                let at = Some((self.builder.len() + len) as u32);
                if work.label {
                    Hint::find(&layers, label, |hint| {
                        if self.open.is_empty() {
                            // Where there is one there may be many, and to move them costs more than unused room.
                            self.open.reserve(work.batch_size);
                        }
                        self.open.push(Open { number, at, row: None, what: What::Hint(hint) });
                    });
                }
                if let Some(piece) = Piece::of(frame.record.ts, frame.data, &layers) {
                    let what = What::Fragment(Box::new(piece), label);
                    self.open.push(Open { number, at, row: None, what });
                }
                let is_open = self.open.len() > open;
                let is_kept = if is_open && work.open_filter {
                    work.filter.may_keep(row)
                } else {
                    work.filter.keeps(row)
                };
                if work.ids && is_kept {
                    ids::set(row, &layers);
                }
                if work.head {
                    ids::set_head(row, &layers);
                }
                if is_open {
                    self.keep_open(work, open, row, is_kept);
                }
                if !is_kept {
                    continue;
                }
            }
            len += 1;
            if len == CHUNK {
                self.builder.push(&rows, tap_name);
                len = 0;
            }
        }
        self.builder.push(rows.get(..len).unwrap_or_default(), tap_name);
        self.frames += block.len();
    }

    /// Gives the open frames from `first` on, which are one, the row that is needed to decide on them.
    fn keep_open(&mut self, work: &Work, first: usize, row: &Row, is_kept: bool) {
        let frames = self.open.get_mut(first..).unwrap_or_default();
        let needed = work.open_filter || frames.iter().any(|open| matches!(open.what, What::Fragment(..)));
        let place = (needed && is_kept).then(|| {
            self.rows.push(*row);
            self.rows.len() as u32 - 1
        });
        for open in frames {
            open.row = place;
            if !is_kept {
                open.at = None;
            }
        }
    }

    /// Adds what earlier frames tell. Parts are to be given in the order of the capture.
    pub fn settle(self, carried: &mut Carried, work: &Work) -> Result<Batch, ArrowError> {
        let Self { mut builder, open, mut rows, messages, .. } = self;
        // What the last frame that proved to be media is, whether its row is wanted or not.
        let mut media: Option<(u64, Label)> = None;
        let mut keep = vec![true; if work.open_filter { builder.len() } else { 0 }];
        for Open { number, at, row, what } in &open {
            let (label, ports, issue) = match what {
                What::Hint(hint) => {
                    let label = carried.streams.take(hint);
                    media = label.map(|label| (*number, label)).or(media);
                    (label, None, None)
                }
                What::Fragment(piece, label) => {
                    let label = media.filter(|(of, _)| of == number).map_or(*label, |(_, label)| label);
                    let joined = carried.fragments.join(piece, label);
                    (joined.known.map(|(_, label)| label), joined.known.map(|(ports, _)| ports), joined.issue)
                }
            };
            let Some(at) = *at else { continue };
            let row = row.and_then(|row| rows.get_mut(row as usize));
            if let Some(label) = label {
                builder.set_label(at as usize, label);
            }
            let Some(row) = row else { continue };
            if let Some(label) = label {
                row.set_label(label);
            }
            if let Some(ports) = ports {
                row.set_ports(ports);
                row.flow_id = ids::flow_id(row);
                builder.set_ports(at as usize, row);
            }
            if let (Some(issue), false) = (issue, row.has(Column::Issue)) {
                row.set_issue(issue);
                builder.set_issue(at as usize, row);
            }
            if let Some(keep) = keep.get_mut(at as usize) {
                *keep = work.filter.keeps(row);
            }
        }
        if work.open_filter {
            builder.retain(&keep);
        }
        Ok(Batch { packets: builder.finish()?, messages: messages.finish(&mut carried.messages)? })
    }
}
