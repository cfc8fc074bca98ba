//! A stretch of frames as rows: what each frame tells by itself, on any thread.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use serde::{Deserialize, Serialize};

use super::builder::Builder;
use super::column::{Column, schema};
use super::filter::Filter;
use super::fragments::Piece;
use super::frames::Carried;
use super::ids::{self, Ids};
use super::row::{CHUNK, Cells, Chunk, Fill, Row, Slot};
use super::scan::{MAX_BATCH_SIZE, ScanOptions};
use crate::capture::{Block, Interface, LinkType};
use crate::classify::{self, App, Hint, Label};
use crate::dissect::{Layers, Then, dissect_then};
use crate::messages::{self, Kinds, SeenMedia, Tables};
use crate::wire::ip::Fragment;

/// Open frames whose memory is asked for while the ones before them are settled.
const AHEAD: usize = 8;

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
    /// Whether RTP packets are among those.
    media: bool,
    /// Whether earlier frames decide which rows are kept.
    open_filter: bool,
}

impl Work {
    /// The work that a scan with these options does.
    pub fn of(options: ScanOptions) -> Self {
        let ScanOptions { columns, batch_size, filter, tables, .. } = options;
        let (schema, batch_size) = (schema(&columns), batch_size.clamp(1, MAX_BATCH_SIZE));
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
        let (media, open_filter) = (tables.has(messages::Kind::Rtp), filter.is_told_by_others());
        Self { schema, columns, batch_size, filter, layers, label, ids, head, tables, media, open_filter }
    }
}

/// Rows of frames that follow each other, complete but for what earlier frames tell of them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Part {
    builder: Builder,
    frames: usize,
    open: Vec<Open>,
    /// Rows of open frames, as far as they are needed.
    rows: Vec<Row>,
    messages: Tables,
}

/// A frame that tells something about later ones, or of which earlier ones tell something.
#[derive(Debug, Serialize, Deserialize)]
struct Open {
    /// Its number: the first fragment of media has several entries.
    number: u64,
    /// Its place in the builder, unless its row was left out.
    at: Option<u32>,
    /// The place of its row in [`Part::rows`], if it is needed.
    row: Option<u32>,
    what: What,
}

#[derive(Debug, Serialize, Deserialize)]
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

    /// When the first of its frames was captured.
    pub fn first_ts(&self) -> Option<i64> {
        self.builder.first_ts()
    }

    /// Makes it ready to be written.
    pub fn close(&mut self) -> Result<(), ArrowError> {
        self.messages.close()
    }

    /// This part, read back from a file; none if it is not one of this work, or its frames are not numbered from this one on.
    pub fn restored(self, work: &Work, first_frame: u64) -> Option<Self> {
        let builder = self.builder.restored(work.schema.clone(), &work.columns)?;
        if builder.len() != self.frames || !builder.is_numbered_from(first_frame) {
            return None;
        }
        Some(Self { builder, ..self })
    }

    /// Makes all frame numbers greater by this.
    pub fn renumber(&mut self, by: u64) -> Result<(), ArrowError> {
        self.builder.renumber(by);
        for open in &mut self.open {
            open.number = open.number.wrapping_add(by);
        }
        self.messages.renumber(by)
    }

    /// Gives taps other names.
    pub fn rename_taps(&mut self, rename: impl Fn(&mut String)) {
        self.builder.rename_taps(rename);
    }

    /// Adds rows for the frames of a block.
    pub fn read(&mut self, work: &Work, block: &Block, interfaces: &[Arc<Interface>]) {
        let mut chunk = Chunk::new();
        let mut len = 0;
        let tap_name = |interface: u32| {
            interfaces.get(interface as usize).map_or_else(String::new, |interface| interface.tap.clone())
        };
        for (number, frame) in (block.first_frame()..).zip(block.frames()) {
            let mut row = chunk.slot(len);
            row.set_record(number, &frame.record);
            row.done();
            let is_kept = match interfaces.get(frame.record.interface as usize) {
                Some(interface) if work.layers => {
                    self.fill(work, interface.link, frame.data, &mut chunk, len)
                }
                _ => true,
            };
            len += usize::from(is_kept);
            if len == CHUNK {
                self.builder.push(&mut chunk, len, tap_name);
                len = 0;
            }
        }
        self.builder.push(&mut chunk, len, tap_name);
        self.frames += block.len();
    }

    /// Fills the row of a frame with what its bytes tell; says whether it is kept.
    #[inline(never)]
    fn fill(&mut self, work: &Work, link: LinkType, frame: &[u8], chunk: &mut Chunk, at: usize) -> bool {
        let mut row = chunk.slot(at);
        let wire_len = *row.wire_len();
        dissect_then(link, frame, wire_len, Filling { part: self, work, link, frame, row })
    }

    /// Notes that a frame is open.
    fn note(&mut self, work: &Work, number: u64, at: usize, what: What) {
        if self.open.is_empty() {
            // Where there is one there may be many, and to move them costs more than unused room.
            self.open.reserve(work.batch_size);
        }
        let at = Some((self.builder.len() + at) as u32);
        self.open.push(Open { number, at, row: None, what });
    }

    /// Whether the frame that was noted last may turn out to be RTP.
    #[inline]
    fn may_be_rtp(&self) -> bool {
        matches!(self.open.last(), Some(Open { what: What::Hint(hint), .. }) if hint.may_be_rtp())
    }

    /// Whether the open frame of which the entries from `first` on are is a fragment.
    #[cold]
    fn is_fragment(&self, first: usize) -> bool {
        let entries = self.open.get(first..).unwrap_or_default();
        entries.iter().any(|open| matches!(open.what, What::Fragment(..)))
    }

    /// Notes for the entries from `first` on of an open frame where its row is, and whether that was left out.
    #[cold]
    fn keep_open(&mut self, first: usize, row: Option<Row>, is_kept: bool) {
        let place = row.map(|row| {
            self.rows.push(row);
            self.rows.len() as u32 - 1
        });
        for open in self.open.get_mut(first..).unwrap_or_default() {
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
        let mut rtp = Vec::with_capacity(if work.media { open.len() } else { 0 });
        let mut keep = vec![true; if work.open_filter { builder.len() } else { 0 }];
        let mut ahead = open.iter().skip(AHEAD);
        for Open { number, at, row, what } in &open {
            if let Some(Open { what: What::Hint(hint), .. }) = ahead.next() {
                carried.streams.prefetch(hint);
            }
            let (label, ports, issue) = match what {
                What::Hint(hint) => {
                    let label = carried.streams.take(hint);
                    media = label.map(|label| (*number, label)).or(media);
                    if work.media && label.is_some_and(|label| label.app == Some(App::Rtp)) {
                        rtp.push(*number);
                    }
                    (label, None, None)
                }
                What::Fragment(piece, label) => {
                    let label = media.filter(|(of, _)| of == number).map_or(*label, |(_, label)| label);
                    let joined = carried.fragments.join(piece, label);
                    (joined.known.map(|(_, label)| label), joined.known.map(|(ports, _)| ports), joined.issue)
                }
            };
            let Some(at) = *at else { continue };
            if let Some(label) = label {
                builder.set_label(at as usize, label);
            }
            let Some(row) = row.and_then(|row| rows.get_mut(row as usize)) else { continue };
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
        Ok(Batch { packets: builder.finish()?, messages: messages.finish(&mut carried.messages, &rtp)? })
    }
}

/// The row of a frame, about to be filled.
struct Filling<'p, 'f> {
    part: &'p mut Part,
    work: &'p Work,
    link: LinkType,
    frame: &'f [u8],
    row: Slot<'p>,
}

impl<'f> Then<'f> for Filling<'_, 'f> {
    /// Whether the row is kept.
    type Output = bool;

    #[inline(always)]
    fn then<const PLAIN: bool>(self, layers: &Layers<'f>) -> bool {
        let Self { part, work, link, frame, mut row } = self;
        row.set_layers(layers);
        let label = if work.label { classify::label(layers) } else { Label::default() };
        row.set_label(label);
        let open = part.open.len();
        let (number, at) = (*row.number(), row.at());
        if work.tables.may_be_of(layers, label) {
            part.messages.read((number, *row.ts(), label), (link, *row.wire_len(), frame));
        }
        if work.label {
            let part = &mut *part;
            Hint::find(layers, label, move || move |hint| part.note(work, number, at, What::Hint(hint)));
        }
        if work.media
            && part.open.len() > open
            && part.may_be_rtp()
            && let Some(seen) = SeenMedia::of(number, *row.ts(), layers)
        {
            part.messages.note_media(seen, work.batch_size);
        }
        if !PLAIN && let Some(piece) = Piece::of(*row.ts(), frame, layers) {
            part.note(work, number, at, What::Fragment(Box::new(piece), label));
        }
        let is_open = part.open.len() > open;
        let is_kept = work.filter.is_empty()
            || if is_open && work.open_filter {
                work.filter.may_keep(&row.row())
            } else {
                work.filter.keeps(&row.row())
            };
        if work.ids && is_kept {
            row.set_ids(Ids::of(layers));
        }
        if work.head {
            let is_whole = layers.ip.as_ref().is_some_and(|ip| ip.fragment == Fragment::Whole);
            row.set_payload_head(if is_whole { ids::head(layers.payload) } else { None });
        }
        if is_open {
            // To decide on it, its row is needed.
            if is_kept && (work.open_filter || !PLAIN && part.is_fragment(open)) {
                part.keep_open(open, Some(row.row()), is_kept);
            } else if !is_kept {
                part.keep_open(open, None, is_kept);
            }
        }
        if is_kept {
            row.done();
        } else {
            row.clear();
        }
        is_kept
    }
}
