//! Rows → columns.
//!
//! Rows come in chunks of at most 64, and each column takes its value from all rows of a chunk before the next column
//! does: the choice of columns is made once a chunk, not once a cell, and a column's validity is one 64-bit word.

use std::sync::{Arc, LazyLock};

use arrow_array::types::{ArrowPrimitiveType, UInt8Type, UInt16Type};
use arrow_array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray, TimestampNanosecondArray, UInt32Array, types,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, SchemaRef};
use hashbrown::HashMap;

use super::column::{Column, schema};
use super::ids::{Ids, community_id};
use crate::capture::Frame;
use crate::classify::{App, Basis, Label, Traffic};
use crate::dissect::{Layers, Mac, Stack, Transport};
use crate::wire::ip::{Addr, Fragment};
use crate::wire::{Header, Reason};

/// How many rows a chunk may have: the bits of a validity word.
pub const CHUNK: usize = 64;

/// All that is known of one frame.
#[derive(Debug, Clone, Copy, Default)]
pub struct Row<'a> {
    /// Number of the frame in its stream, from 1.
    pub number: u64,
    /// The frame.
    pub frame: Frame<'a>,
    /// Its layers.
    pub layers: Layers<'a>,
    /// What it is taken for.
    pub label: Label,
    /// Its ids; left at their default when no column needs them.
    pub ids: Ids,
}

/// Collects rows into a record batch.
#[derive(Debug)]
pub struct Builder {
    schema: SchemaRef,
    columns: Vec<(Column, Values)>,
    len: usize,
    taps: Labels<u32>,
    encaps: Labels<Stack>,
}

/// The values of one column so far.
#[derive(Debug)]
enum Values {
    U8(Nullable<Vec<u8>>),
    U16(Nullable<Vec<u16>>),
    U32(Nullable<Vec<u32>>),
    U64(Nullable<Vec<u64>>),
    Time(Vec<i64>),
    Mac(Nullable<Vec<[u8; 6]>>),
    Address(Nullable<Vec<[u8; 16]>>),
    Lists { ends: Vec<i32>, items: Vec<u32>, valid: Validity },
    Text { ends: Vec<i32>, bytes: Vec<u8>, valid: Validity },
}

#[derive(Debug, Default)]
struct Nullable<T> {
    values: T,
    valid: Validity,
}

/// A bit a row: whether it has a value.
#[derive(Debug, Default)]
struct Validity {
    words: Vec<u64>,
    len: usize,
}

impl Validity {
    /// Adds the low `n` bits of `word`; the others must be 0.
    #[inline]
    fn push(&mut self, word: u64, n: usize) {
        let shift = self.len % 64;
        match self.words.last_mut() {
            Some(last) if shift != 0 => {
                *last |= word << shift;
                if shift + n > 64 {
                    self.words.push(word >> (64 - shift));
                }
            }
            _ => self.words.push(word),
        }
        self.len += n;
    }

    fn finish(&mut self) -> Option<NullBuffer> {
        let len = std::mem::take(&mut self.len);
        let words = std::mem::take(&mut self.words);
        let bits = BooleanBuffer::new(Buffer::from_vec(words), 0, len);
        Some(NullBuffer::new(bits)).filter(|nulls| nulls.null_count() > 0)
    }
}

/// Distinct labels of a batch, numbered as they appear.
#[derive(Debug)]
struct Labels<K> {
    keys: HashMap<K, u16>,
    last: Option<(K, u16)>,
    names: Vec<String>,
}

impl<K> Default for Labels<K> {
    fn default() -> Self {
        Self { keys: HashMap::new(), last: None, names: Vec::new() }
    }
}

impl<K: Copy + Eq + std::hash::Hash> Labels<K> {
    #[inline]
    fn key(&mut self, label: K, name: impl FnOnce() -> String) -> u16 {
        match self.last {
            Some((last, key)) if last == label => key,
            _ => self.key_of_another(label, name),
        }
    }

    fn key_of_another(&mut self, label: K, name: impl FnOnce() -> String) -> u16 {
        let names = &mut self.names;
        let key = *self.keys.entry(label).or_insert_with(|| {
            // Two sources may share a name (files of one tap): one dictionary entry serves both.
            let name = name();
            let known = names.iter().position(|known| *known == name);
            known.unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            }) as u16
        });
        self.last = Some((label, key));
        key
    }

    /// Whether a further chunk could need more keys than there are.
    fn is_nearly_full(&self) -> bool {
        self.names.len() + CHUNK > usize::from(u16::MAX)
    }

    fn finish(&mut self) -> ArrayRef {
        self.keys.clear();
        self.last = None;
        Arc::new(StringArray::from_iter_values(self.names.drain(..)))
    }
}

macro_rules! label_names {
    ($($name:ident = $values:expr;)+) => { $(static $name: LazyLock<ArrayRef> = LazyLock::new(|| {
        Arc::new(StringArray::from_iter_values($values))
    });)+ };
}

label_names! {
    APPS = App::ALL.iter().map(|label| label.name());
    TRAFFIC = Traffic::ALL.iter().map(|label| label.name());
    BASES = Basis::ALL.iter().map(|label| label.name());
    FRAGMENTS = ["whole", "first", "middle", "last"];
    ISSUES = Header::ALL.iter().flat_map(|header| {
        Reason::ALL.iter().map(move |reason| format!("{}-{}", header.name(), reason.name()))
    });
}

impl Builder {
    /// A builder of batches with these columns and room for `capacity` rows.
    pub fn new(columns: &[Column], capacity: usize) -> Self {
        Self {
            schema: schema(columns),
            columns: columns.iter().map(|&column| (column, Values::new(column, capacity))).collect(),
            len: 0,
            taps: Labels::default(),
            encaps: Labels::default(),
        }
    }

    /// The schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a label column has no more room, so that the batch should be finished early.
    pub fn is_full(&self) -> bool {
        self.taps.is_nearly_full() || self.encaps.is_nearly_full()
    }

    /// Adds rows, at most [`CHUNK`] of them. `tap_name` gives the name of an interface.
    pub fn push(&mut self, rows: &[Row<'_>], tap_name: impl Fn(u32) -> String) {
        debug_assert!(rows.len() <= CHUNK);
        if rows.is_empty() {
            return;
        }
        for (column, values) in &mut self.columns {
            match *column {
                Column::Tap => values.extend_u16(rows, |row| {
                    let interface = row.frame.record.interface;
                    Some(self.taps.key(interface, || tap_name(interface)))
                }),
                Column::Encap => values.extend_u16(rows, |row| {
                    let stack = row.layers.encap;
                    (!stack.is_empty()).then(|| self.encaps.key(stack, || stack.to_string()))
                }),
                column => values.extend(column, rows),
            }
        }
        self.len += rows.len();
    }

    /// The batch of all rows since the last one.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let len = std::mem::take(&mut self.len);
        let (taps, encaps) = (self.taps.finish(), self.encaps.finish());
        let arrays = self
            .columns
            .iter_mut()
            .map(|(column, values)| {
                let names = match column {
                    Column::Tap => Some(taps.clone()),
                    Column::Encap => Some(encaps.clone()),
                    Column::App => Some(APPS.clone()),
                    Column::Traffic => Some(TRAFFIC.clone()),
                    Column::Basis => Some(BASES.clone()),
                    Column::Fragment => Some(FRAGMENTS.clone()),
                    Column::Issue => Some(ISSUES.clone()),
                    _ => None,
                };
                values.finish(names, len)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(len));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
    }
}

/// Appends a value a row and returns the validity word.
#[inline]
fn fill<T: Copy + Default>(
    values: &mut Vec<T>,
    rows: &[Row<'_>],
    mut value: impl FnMut(&Row<'_>) -> Option<T>,
) -> u64 {
    let mut word = 0;
    values.extend(rows.iter().enumerate().map(|(i, row)| {
        let value = value(row);
        word |= u64::from(value.is_some()) << i;
        value.unwrap_or_default()
    }));
    word
}

impl Values {
    fn new(column: Column, capacity: usize) -> Self {
        fn room<T>(capacity: usize) -> Nullable<Vec<T>> {
            let words = Vec::with_capacity(capacity.div_ceil(64));
            Nullable { values: Vec::with_capacity(capacity), valid: Validity { words, len: 0 } }
        }
        match column.data_type() {
            DataType::UInt8 => Self::U8(room(capacity)),
            DataType::UInt32 => Self::U32(room(capacity)),
            DataType::UInt64 => Self::U64(room(capacity)),
            DataType::Timestamp(..) => Self::Time(Vec::with_capacity(capacity)),
            DataType::FixedSizeBinary(6) => Self::Mac(room(capacity)),
            DataType::FixedSizeBinary(_) => Self::Address(room(capacity)),
            DataType::Dictionary(key, _) if *key == DataType::UInt8 => Self::U8(room(capacity)),
            DataType::UInt16 | DataType::Dictionary(..) => Self::U16(room(capacity)),
            DataType::List(_) => Self::Lists { ends: vec![0], items: Vec::new(), valid: Validity::default() },
            _ => Self::Text { ends: vec![0], bytes: Vec::new(), valid: Validity::default() },
        }
    }

    #[inline]
    fn extend_u8(&mut self, rows: &[Row<'_>], value: impl FnMut(&Row<'_>) -> Option<u8>) {
        if let Self::U8(column) = self {
            let word = fill(&mut column.values, rows, value);
            column.valid.push(word, rows.len());
        }
    }

    #[inline]
    fn extend_u16(&mut self, rows: &[Row<'_>], value: impl FnMut(&Row<'_>) -> Option<u16>) {
        if let Self::U16(column) = self {
            let word = fill(&mut column.values, rows, value);
            column.valid.push(word, rows.len());
        }
    }

    #[inline]
    fn extend_u32(&mut self, rows: &[Row<'_>], value: impl FnMut(&Row<'_>) -> Option<u32>) {
        if let Self::U32(column) = self {
            let word = fill(&mut column.values, rows, value);
            column.valid.push(word, rows.len());
        }
    }

    #[inline]
    fn extend_u64(&mut self, rows: &[Row<'_>], value: impl FnMut(&Row<'_>) -> Option<u64>) {
        if let Self::U64(column) = self {
            let word = fill(&mut column.values, rows, value);
            column.valid.push(word, rows.len());
        }
    }

    #[inline]
    fn extend_mac(&mut self, rows: &[Row<'_>], value: impl FnMut(&Row<'_>) -> Option<Mac>) {
        if let Self::Mac(column) = self {
            let word = fill(&mut column.values, rows, value);
            column.valid.push(word, rows.len());
        }
    }

    #[inline]
    fn extend_address(&mut self, rows: &[Row<'_>], value: impl FnMut(&Row<'_>) -> Option<Addr>) {
        if let Self::Address(column) = self {
            let word = fill(&mut column.values, rows, value);
            column.valid.push(word, rows.len());
        }
    }

    /// Appends this column's value of every row. `tap` and `encap` need a dictionary and are the builder's.
    #[inline]
    fn extend(&mut self, column: Column, rows: &[Row<'_>]) {
        macro_rules! tcp {
            ($get:expr) => {
                |row: &Row<'_>| match row.layers.transport {
                    Transport::Tcp(tcp) => Some($get(tcp)),
                    _ => None,
                }
            };
        }
        match column {
            Column::Tap | Column::Encap => {}
            Column::Ts => {
                if let Self::Time(values) = self {
                    values.extend(rows.iter().map(|row| row.frame.record.ts));
                }
            }
            Column::Frame => self.extend_u64(rows, |row| Some(row.number)),
            Column::CapLen => self.extend_u32(rows, |row| Some(row.frame.record.cap_len)),
            Column::WireLen => self.extend_u32(rows, |row| Some(row.frame.record.wire_len)),
            Column::EthSrc => self.extend_mac(rows, |row| row.layers.eth_src),
            Column::EthDst => self.extend_mac(rows, |row| row.layers.eth_dst),
            Column::Vlan => self.extend_u16(rows, |row| row.layers.vlan),
            Column::VlanInner => self.extend_u16(rows, |row| row.layers.vlan_inner),
            Column::Mpls => {
                if let Self::Lists { ends, items, valid } = self {
                    let mut word = 0;
                    for (i, row) in rows.iter().enumerate() {
                        let labels = row.layers.mpls.as_slice();
                        word |= u64::from(!labels.is_empty()) << i;
                        items.extend_from_slice(labels);
                        ends.push(items.len() as i32);
                    }
                    valid.push(word, rows.len());
                }
            }
            Column::Ethertype => self.extend_u16(rows, |row| row.layers.ethertype),
            Column::OuterSrc => self.extend_address(rows, |row| row.layers.outer.map(|ip| ip.src())),
            Column::OuterDst => self.extend_address(rows, |row| row.layers.outer.map(|ip| ip.dst())),
            Column::TunnelId => self.extend_u32(rows, |row| row.layers.tunnel_id),
            Column::IpVersion => self.extend_u8(rows, |row| row.layers.ip.map(|ip| ip.version)),
            Column::Src => self.extend_address(rows, |row| row.layers.ip.map(|ip| ip.src())),
            Column::Dst => self.extend_address(rows, |row| row.layers.ip.map(|ip| ip.dst())),
            Column::Ttl => self.extend_u8(rows, |row| row.layers.ip.map(|ip| ip.ttl)),
            Column::Tos => self.extend_u8(rows, |row| row.layers.ip.map(|ip| ip.tos)),
            Column::IpId => self.extend_u32(rows, |row| row.layers.ip.and_then(|ip| ip.id)),
            Column::Fragment => self.extend_u8(rows, |row| {
                row.layers
                    .ip
                    .map(|ip| ip.fragment)
                    .filter(|&part| part != Fragment::Whole)
                    .map(|part| part as u8)
            }),
            Column::Protocol => self.extend_u8(rows, |row| row.layers.ip.map(|ip| ip.protocol)),
            Column::SrcPort => self.extend_u16(rows, |row| row.layers.ports().map(|(src, _)| src)),
            Column::DstPort => self.extend_u16(rows, |row| row.layers.ports().map(|(_, dst)| dst)),
            Column::TcpFlags => self.extend_u16(rows, tcp!(|tcp: &crate::wire::tcp::Tcp| tcp.flags())),
            Column::TcpSeq => self.extend_u32(rows, tcp!(|tcp: &crate::wire::tcp::Tcp| tcp.seq.get())),
            Column::TcpAck => self.extend_u32(rows, tcp!(|tcp: &crate::wire::tcp::Tcp| tcp.ack.get())),
            Column::TcpWindow => self.extend_u16(rows, tcp!(|tcp: &crate::wire::tcp::Tcp| tcp.window.get())),
            Column::PayloadLen => {
                self.extend_u32(rows, |row| row.layers.ip.map(|_| row.layers.payload_len));
            }
            Column::App => self.extend_u8(rows, |row| row.label.app.map(|app| app as u8)),
            Column::Traffic => self.extend_u8(rows, |row| Some(row.label.traffic() as u8)),
            Column::Basis => self.extend_u8(rows, |row| row.label.basis.map(|basis| basis as u8)),
            Column::PacketId => self.extend_u64(rows, |row| row.ids.packet),
            Column::PayloadId => self.extend_u64(rows, |row| row.ids.payload),
            Column::FlowId => self.extend_u64(rows, |row| row.ids.flow),
            Column::CommunityId => {
                if let Self::Text { ends, bytes, valid } = self {
                    let mut word = 0;
                    for (i, row) in rows.iter().enumerate() {
                        if let Some(id) = community_id(&row.layers) {
                            word |= 1 << i;
                            bytes.extend_from_slice(id.as_bytes());
                        }
                        ends.push(bytes.len() as i32);
                    }
                    valid.push(word, rows.len());
                }
            }
            Column::Issue => self.extend_u16(rows, |row| {
                let issue = row.layers.issue?;
                Some(issue.header as u16 * Reason::ALL.len() as u16 + issue.reason as u16)
            }),
            Column::IssueOffset => self.extend_u32(rows, |row| row.layers.issue.map(|issue| issue.offset)),
        }
    }

    /// The array of all values, leaving the column empty. `names` makes it a dictionary.
    fn finish(&mut self, names: Option<ArrayRef>, len: usize) -> Result<ArrayRef, ArrowError> {
        /// Takes the values, leaving room for as many.
        fn take<T>(values: &mut Vec<T>) -> Vec<T> {
            let room = Vec::with_capacity(values.len());
            std::mem::replace(values, room)
        }
        fn primitive<P: ArrowPrimitiveType>(column: &mut Nullable<Vec<P::Native>>) -> PrimitiveArray<P> {
            PrimitiveArray::new(ScalarBuffer::from(take(&mut column.values)), column.valid.finish())
        }
        fn fixed<const N: usize>(
            column: &mut Nullable<Vec<[u8; N]>>,
            len: usize,
        ) -> Result<FixedSizeBinaryArray, ArrowError> {
            let bytes = Buffer::from_vec(take(&mut column.values).into_flattened());
            FixedSizeBinaryArray::try_new_with_len(N as i32, bytes, column.valid.finish(), len)
        }
        Ok(match self {
            Self::U8(column) => match names {
                Some(names) => Arc::new(DictionaryArray::try_new(primitive::<UInt8Type>(column), names)?),
                None => Arc::new(primitive::<UInt8Type>(column)),
            },
            Self::U16(column) => match names {
                Some(names) => Arc::new(DictionaryArray::try_new(primitive::<UInt16Type>(column), names)?),
                None => Arc::new(primitive::<UInt16Type>(column)),
            },
            Self::U32(column) => Arc::new(primitive::<types::UInt32Type>(column)),
            Self::U64(column) => Arc::new(primitive::<types::UInt64Type>(column)),
            Self::Time(values) => Arc::new(TimestampNanosecondArray::from(take(values)).with_timezone("UTC")),
            Self::Mac(column) => Arc::new(fixed(column, len)?),
            Self::Address(column) => Arc::new(fixed(column, len)?),
            Self::Lists { ends, items, valid } => Arc::new(ListArray::try_new(
                Arc::new(Field::new("item", DataType::UInt32, false)),
                OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0]))),
                Arc::new(UInt32Array::from(std::mem::take(items))),
                valid.finish(),
            )?),
            Self::Text { ends, bytes, valid } => Arc::new(StringArray::try_new(
                OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0]))),
                Buffer::from_vec(std::mem::take(bytes)),
                valid.finish(),
            )?),
        })
    }
}
