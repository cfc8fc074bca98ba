//! Rows → columns.
//!
//! Rows come in chunks of at most 64, and each column takes its value from all rows of a chunk before the next column
//! does: the choice of columns is made once a chunk, not once a cell. Validity comes as a bit a column in each row, and
//! is turned round for the whole chunk at once, so that a column's is one 64-bit word.

use std::sync::{Arc, LazyLock};

use arrow_array::types::{ArrowPrimitiveType, UInt8Type, UInt16Type};
use arrow_array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray, TimestampNanosecondArray, UInt32Array, types,
};
use arrow_buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::column::Column;
use super::ids;
use super::row::{CHUNK, Chunk, Row};
use crate::classify::{App, Basis, Label, Traffic};
use crate::dissect::{Mac, Stack};
use crate::plain::{self, Plain};
use crate::wire::ip::Addr;
use crate::wire::{Header, Reason};

/// Collects the rows of one record batch.
#[derive(Debug, Serialize, Deserialize)]
pub struct Builder {
    #[serde(skip, default = "no_schema")]
    schema: SchemaRef,
    columns: Vec<(Column, Values)>,
    /// Where the columns of a label are.
    #[serde(skip)]
    label_columns: Vec<usize>,
    len: usize,
    taps: Labels<u32>,
    encaps: Labels<Stack>,
}

/// The values of one column so far.
#[derive(Debug, Serialize, Deserialize)]
enum Values {
    U8(Nullable<u8>),
    U16(Nullable<u16>),
    U32(Nullable<u32>),
    U64(Nullable<u64>),
    Time(#[serde(with = "plain")] Vec<i64>),
    Mac(Nullable<Mac>),
    Address(Nullable<Addr>),
    Lists { ends: Vec<i32>, items: Vec<u32>, valid: Validity },
    Text { ends: Vec<i32>, bytes: Vec<u8>, valid: Validity },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Plain", deserialize = "T: Plain"))]
struct Nullable<T> {
    /// None before the first row that has one: most batches have no tunnel, tag or issue at all.
    #[serde(with = "plain")]
    values: Vec<T>,
    valid: Validity,
}

impl<T: Copy + Default> Nullable<T> {
    /// Adds the first `len` values of a chunk.
    #[inline]
    fn extend(&mut self, values: &[T; CHUNK], len: usize, valid: u64) {
        if valid == 0 {
            if !self.values.is_empty() {
                self.values.resize(self.values.len() + len, T::default());
            }
        } else {
            self.fill();
            // Most chunks are full, which is copied as what it is.
            if len == CHUNK {
                self.values.extend_from_slice(values);
            } else {
                self.values.extend_from_slice(values.get(..len).unwrap_or_default());
            }
        }
        self.valid.push(valid, len);
    }

    /// Gives the rows so far values, for one will have one.
    #[inline]
    fn fill(&mut self) {
        if self.values.len() < self.valid.len {
            self.values.resize(self.valid.len, T::default());
        }
    }

    fn is_sound(&self, len: usize) -> bool {
        let is_filled = self.values.len() == len || self.values.is_empty() && self.valid.is_none();
        is_filled && self.valid.is_sound(len)
    }

    fn set(&mut self, row: usize, value: Option<T>) {
        if value.is_some() {
            self.fill();
        }
        if let Some(slot) = self.values.get_mut(row) {
            *slot = value.unwrap_or_default();
            self.valid.set(row, value.is_some());
        }
    }

    fn retain(&mut self, keep: &[bool]) {
        retain(&mut self.values, keep);
        self.valid.retain(keep);
    }
}

impl<T> Nullable<T> {
    /// The bytes of the values of all rows, and which of them there are.
    fn finish(self, bytes: impl FnOnce(Vec<T>) -> Buffer) -> (Buffer, Option<NullBuffer>) {
        let Self { values, valid } = self;
        let values = if values.is_empty() { zeros(valid.len * size_of::<T>()) } else { bytes(values) };
        (values, valid.finish())
    }
}

/// What columns without a value share, as long as batches are no larger than this.
static ZEROS: LazyLock<Buffer> = LazyLock::new(|| Buffer::from_vec(vec![0_u64; 16_384]));

fn zeros(bytes: usize) -> Buffer {
    if bytes <= ZEROS.len() {
        ZEROS.slice_with_length(0, bytes)
    } else {
        MutableBuffer::from_len_zeroed(bytes).into()
    }
}

/// Keeps the values for which `keep` is true.
fn retain<T>(values: &mut Vec<T>, keep: &[bool]) {
    let mut keep = keep.iter().copied();
    values.retain(|_| keep.next().unwrap_or(true));
}

/// Keeps the parts of `items` for which `keep` is true; `ends` has where each part ends, behind a 0.
fn retain_parts<T: Copy>(ends: &mut Vec<i32>, items: &mut Vec<T>, keep: &[bool]) {
    let (mut kept, mut kept_ends) = (Vec::with_capacity(items.len()), vec![0]);
    for (bounds, _) in ends.windows(2).zip(keep).filter(|(_, keep)| **keep) {
        if let &[from, to] = bounds {
            kept.extend_from_slice(items.get(from as usize..to as usize).unwrap_or_default());
            kept_ends.push(kept.len() as i32);
        }
    }
    (*items, *ends) = (kept, kept_ends);
}

/// A bit a row: whether it has a value.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Validity {
    #[serde(with = "plain")]
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

    fn is_sound(&self, len: usize) -> bool {
        self.len == len && self.words.len() == len.div_ceil(64)
    }

    /// Whether no row has a value.
    fn is_none(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    fn set(&mut self, row: usize, valid: bool) {
        if let Some(word) = self.words.get_mut(row / 64) {
            *word = *word & !(1 << (row % 64)) | u64::from(valid) << (row % 64);
        }
    }

    fn retain(&mut self, keep: &[bool]) {
        let old = std::mem::take(self);
        for (row, _) in keep.iter().enumerate().filter(|(_, keep)| **keep) {
            let word = old.words.get(row / 64).copied().unwrap_or_default();
            self.push(word >> (row % 64) & 1, 1);
        }
    }

    fn finish(self) -> Option<NullBuffer> {
        let bits = BooleanBuffer::new(Buffer::from_vec(self.words), 0, self.len);
        Some(NullBuffer::new(bits)).filter(|nulls| nulls.null_count() > 0)
    }
}

/// Distinct labels of a batch, numbered as they appear.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
struct Labels<K> {
    #[serde(skip)]
    keys: HashMap<K, u16>,
    #[serde(skip)]
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

    fn finish(self) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(self.names))
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

fn no_schema() -> SchemaRef {
    Schema::empty().into()
}

/// Where among these columns those of a label are.
fn label_columns(columns: &[Column]) -> Vec<usize> {
    let is_label = |column: &Column| matches!(column, Column::App | Column::Traffic | Column::Basis);
    columns.iter().enumerate().filter(|(_, column)| is_label(column)).map(|(at, _)| at).collect()
}

impl Builder {
    /// A builder of a batch of this schema, which has these columns, with room for `capacity` rows.
    pub fn new(schema: SchemaRef, columns: &[Column], capacity: usize) -> Self {
        Self {
            schema,
            columns: columns.iter().map(|&column| (column, Values::new(column, capacity))).collect(),
            label_columns: label_columns(columns),
            len: 0,
            taps: Labels::default(),
            encaps: Labels::default(),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds the first `len` rows of a chunk, and makes it one of nulls. `tap_name` gives the name of an interface.
    pub fn push(&mut self, chunk: &mut Chunk, len: usize, tap_name: impl Fn(u32) -> String) {
        if len == 0 {
            return;
        }
        let mut valid = chunk.valid;
        turn(&mut valid);
        chunk.settle(&valid);
        for (column, values) in &mut self.columns {
            let valid = valid.get(*column as usize).copied().unwrap_or_default();
            match *column {
                Column::Tap => {
                    let tap = |interface| self.taps.key(interface, || tap_name(interface));
                    values.extend_u16(&keys(&chunk.interface, len, tap), len, valid);
                }
                Column::Encap => {
                    let encap = |stack: Stack| {
                        if stack.is_empty() { 0 } else { self.encaps.key(stack, || stack.to_string()) }
                    };
                    let keys = if valid == 0 { [0; CHUNK] } else { keys(&chunk.encap, len, encap) };
                    values.extend_u16(&keys, len, valid);
                }
                column => values.extend(column, chunk, len, valid),
            }
        }
        chunk.clear(&valid);
        self.len += len;
    }

    /// Gives a row another label.
    pub fn set_label(&mut self, row: usize, label: Label) {
        for &at in &self.label_columns {
            let Some((column, values)) = self.columns.get_mut(at) else { continue };
            match *column {
                Column::App => values.set_u8(row, label.app.map(|app| app as u8)),
                Column::Traffic => values.set_u8(row, Some(label.traffic() as u8)),
                Column::Basis => values.set_u8(row, label.basis.map(|basis| basis as u8)),
                _ => {}
            }
        }
    }

    /// Gives a row, which has none, ports, and what follows from them: the ids of its flow.
    pub fn set_ports(&mut self, row: usize, packet: &Row) {
        for (column, values) in &mut self.columns {
            match *column {
                Column::SrcPort => values.set_u16(row, Some(packet.src_port)),
                Column::DstPort => values.set_u16(row, Some(packet.dst_port)),
                Column::FlowId => values.set_u64(row, Some(packet.flow_id)),
                Column::CommunityId => values.set_text(row, ids::community_id_of(packet).as_ref()),
                _ => {}
            }
        }
    }

    /// Gives a row an issue.
    pub fn set_issue(&mut self, row: usize, packet: &Row) {
        for (column, values) in &mut self.columns {
            match *column {
                Column::Issue => values.set_u16(row, Some(packet.issue)),
                Column::IssueOffset => values.set_u32(row, Some(packet.issue_offset)),
                _ => {}
            }
        }
    }

    /// Keeps the rows for which `keep` is true; there is one for each row.
    pub fn retain(&mut self, keep: &[bool]) {
        for (_, values) in &mut self.columns {
            values.retain(keep);
        }
        self.len = keep.iter().filter(|keep| **keep).count();
    }

    /// This builder, read back from a file, as one of these columns; none if its values are not what they should be.
    pub fn restored(mut self, schema: SchemaRef, columns: &[Column]) -> Option<Self> {
        let is_sound = self.columns.len() == columns.len()
            && self.columns.iter().zip(columns).all(|((column, values), expected)| {
                column == expected && values.are_of(*column) && values.are_sound(self.len)
            });
        (self.schema, self.label_columns) = (schema, label_columns(columns));
        is_sound.then_some(self)
    }

    /// Whether frames are numbered one by one from this one on.
    pub fn is_numbered_from(&self, first: u64) -> bool {
        self.columns.iter().all(|(column, values)| match (column, values) {
            (Column::Frame, Values::U64(numbers)) => {
                (first..).zip(&numbers.values).all(|(due, &number)| due == number)
            }
            _ => true,
        })
    }

    /// Makes all frame numbers greater by this.
    pub fn renumber(&mut self, by: u64) {
        for (column, values) in &mut self.columns {
            if let (Column::Frame, Values::U64(numbers)) = (column, values) {
                numbers.values.iter_mut().for_each(|number| *number = number.wrapping_add(by));
            }
        }
    }

    /// Gives taps other names.
    pub fn rename_taps(&mut self, rename: impl Fn(&mut String)) {
        self.taps.names.iter_mut().for_each(rename);
    }

    /// The first value of the column of times.
    pub fn first_ts(&self) -> Option<i64> {
        self.columns.iter().find_map(|(_, values)| match values {
            Values::Time(times) => times.first().copied(),
            _ => None,
        })
    }

    /// The batch of all rows.
    pub fn finish(self) -> Result<RecordBatch, ArrowError> {
        let Self { schema, columns, len, taps, encaps, .. } = self;
        let (taps, encaps) = (taps.finish(), encaps.finish());
        let arrays = columns
            .into_iter()
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
        RecordBatch::try_new_with_options(schema, arrays, &options)
    }
}

/// The number that each of the first `len` labels of a chunk has in a dictionary.
#[inline]
fn keys<K: Copy + PartialEq>(labels: &[K; CHUNK], len: usize, mut key: impl FnMut(K) -> u16) -> [u16; CHUNK] {
    let labels = labels.get(..len).unwrap_or_default();
    let Some(&first) = labels.first() else { return [0; CHUNK] };
    // Most chunks have one tap. All are compared, for that is done for several at a time.
    if labels.iter().filter(|&&label| label != first).count() == 0 {
        return [key(first); CHUNK];
    }
    let mut keys = [0; CHUNK];
    for (to, &label) in keys.iter_mut().zip(labels) {
        *to = key(label);
    }
    keys
}

/// Turns a square of bits round: bit *c* of word *r* becomes bit *r* of word *c*. Swaps ever smaller squares off the
/// diagonal, as in Warren, Hacker's Delight, section 7-3.
#[inline]
fn turn(words: &mut [u64; CHUNK]) {
    let mut width = CHUNK / 2;
    let mut mask = u64::MAX >> width;
    while width > 0 {
        for pair in words.chunks_exact_mut(2 * width) {
            let (low, high) = pair.split_at_mut(width);
            for (low, high) in low.iter_mut().zip(high) {
                let differs = (*low >> width ^ *high) & mask;
                *high ^= differs;
                *low ^= differs << width;
            }
        }
        width /= 2;
        mask ^= mask << width;
    }
}

/// Methods for each kind of column: one that appends a value of every row, one that sets the value of one.
macro_rules! variants {
    ($($extend:ident, $set:ident: $variant:ident($value:ty);)+) => { $(
        #[inline]
        fn $extend(&mut self, values: &[$value; CHUNK], len: usize, valid: u64) {
            if let Self::$variant(column) = self {
                column.extend(values, len, valid);
            }
        }

        #[allow(dead_code, reason = "few columns change")]
        fn $set(&mut self, row: usize, value: Option<$value>) {
            if let Self::$variant(column) = self {
                column.set(row, value);
            }
        }
    )+ };
}

impl Values {
    fn new(column: Column, capacity: usize) -> Self {
        fn room<T>(capacity: usize) -> Nullable<T> {
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

    /// Whether these are values as this column has them.
    fn are_of(&self, column: Column) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(&Self::new(column, 0))
    }

    /// Whether there are `len` of them, and all is where its bounds say.
    fn are_sound(&self, len: usize) -> bool {
        let parts = |ends: &[i32], most: usize| {
            ends.len() == len + 1
                && ends.first() == Some(&0)
                && ends.is_sorted()
                && ends.last().is_some_and(|&end| end as usize <= most)
        };
        match self {
            Self::U8(column) => column.is_sound(len),
            Self::U16(column) => column.is_sound(len),
            Self::U32(column) => column.is_sound(len),
            Self::U64(column) => column.is_sound(len),
            Self::Time(values) => values.len() == len,
            Self::Mac(column) => column.is_sound(len),
            Self::Address(column) => column.is_sound(len),
            Self::Lists { ends, items, valid } => valid.is_sound(len) && parts(ends, items.len()),
            Self::Text { ends, bytes, valid } => {
                valid.is_sound(len) && parts(ends, bytes.len()) && bytes.is_ascii()
            }
        }
    }

    variants! {
        extend_u8, set_u8: U8(u8);
        extend_u16, set_u16: U16(u16);
        extend_u32, set_u32: U32(u32);
        extend_u64, set_u64: U64(u64);
        extend_mac, set_mac: Mac(Mac);
        extend_address, set_address: Address(Addr);
    }

    /// Appends this column's value of every row. `tap` and `encap` need a dictionary and are the builder's.
    #[inline]
    fn extend(&mut self, column: Column, chunk: &Chunk, len: usize, valid: u64) {
        match column {
            Column::Tap | Column::Encap => {}
            Column::Ts => {
                if let Self::Time(values) = self {
                    values.extend_from_slice(chunk.ts.get(..len).unwrap_or_default());
                }
            }
            Column::Frame => self.extend_u64(&chunk.number, len, valid),
            Column::CapLen => self.extend_u32(&chunk.cap_len, len, valid),
            Column::WireLen => self.extend_u32(&chunk.wire_len, len, valid),
            Column::EthSrc => self.extend_mac(&chunk.eth_src, len, valid),
            Column::EthDst => self.extend_mac(&chunk.eth_dst, len, valid),
            Column::Vlan => self.extend_u16(&chunk.vlan, len, valid),
            Column::VlanInner => self.extend_u16(&chunk.vlan_inner, len, valid),
            Column::Mpls => {
                if let Self::Lists { ends, items, valid: all } = self {
                    if valid == 0 {
                        ends.resize(ends.len() + len, items.len() as i32);
                    } else {
                        for labels in chunk.mpls.iter().take(len) {
                            items.extend_from_slice(labels.as_slice());
                            ends.push(items.len() as i32);
                        }
                    }
                    all.push(valid, len);
                }
            }
            Column::Ethertype => self.extend_u16(&chunk.ethertype, len, valid),
            Column::OuterSrc => self.extend_address(&chunk.outer_src, len, valid),
            Column::OuterDst => self.extend_address(&chunk.outer_dst, len, valid),
            Column::TunnelId => self.extend_u32(&chunk.tunnel_id, len, valid),
            Column::IpVersion => self.extend_u8(&chunk.ip_version, len, valid),
            Column::Src => self.extend_address(&chunk.src, len, valid),
            Column::Dst => self.extend_address(&chunk.dst, len, valid),
            Column::Ttl => self.extend_u8(&chunk.ttl, len, valid),
            Column::Tos => self.extend_u8(&chunk.tos, len, valid),
            Column::IpId => self.extend_u32(&chunk.ip_id, len, valid),
            Column::Fragment => self.extend_u8(&chunk.fragment, len, valid),
            Column::Protocol => self.extend_u8(&chunk.protocol, len, valid),
            Column::SrcPort => self.extend_u16(&chunk.src_port, len, valid),
            Column::DstPort => self.extend_u16(&chunk.dst_port, len, valid),
            Column::TcpFlags => self.extend_u16(&chunk.tcp_flags, len, valid),
            Column::TcpSeq => self.extend_u32(&chunk.tcp_seq, len, valid),
            Column::TcpAck => self.extend_u32(&chunk.tcp_ack, len, valid),
            Column::TcpWindow => self.extend_u16(&chunk.tcp_window, len, valid),
            Column::PayloadLen => self.extend_u32(&chunk.payload_len, len, valid),
            Column::App => self.extend_u8(&chunk.app, len, valid),
            Column::Traffic => self.extend_u8(&chunk.traffic, len, valid),
            Column::Basis => self.extend_u8(&chunk.basis, len, valid),
            Column::PacketId => self.extend_u64(&chunk.packet_id, len, valid),
            Column::PayloadId => self.extend_u64(&chunk.payload_id, len, valid),
            Column::FlowId => self.extend_u64(&chunk.flow_id, len, valid),
            Column::PayloadHead => self.extend_u64(&chunk.payload_head, len, valid),
            Column::CommunityId => {
                if let Self::Text { ends, bytes, valid: all } = self {
                    for (at, &valid) in chunk.valid.iter().enumerate().take(len) {
                        let row = chunk.row(at, valid);
                        if row.has(column) {
                            bytes.extend_from_slice(ids::community_id_of(&row).as_ref().as_bytes());
                        }
                        ends.push(bytes.len() as i32);
                    }
                    all.push(valid, len);
                }
            }
            Column::Issue => self.extend_u16(&chunk.issue, len, valid),
            Column::IssueOffset => self.extend_u32(&chunk.issue_offset, len, valid),
        }
    }

    /// Gives a row another text of the same length.
    fn set_text(&mut self, row: usize, text: &str) {
        if let Self::Text { ends, bytes, .. } = self
            && let Some(&[from, to]) = ends.get(row..).and_then(|ends| ends.first_chunk())
            && let Some(bytes) = bytes.get_mut(from as usize..to as usize)
            && bytes.len() == text.len()
        {
            bytes.copy_from_slice(text.as_bytes());
        }
    }

    /// Keeps the rows for which `keep` is true.
    fn retain(&mut self, keep: &[bool]) {
        match self {
            Self::U8(column) => column.retain(keep),
            Self::U16(column) => column.retain(keep),
            Self::U32(column) => column.retain(keep),
            Self::U64(column) => column.retain(keep),
            Self::Mac(column) => column.retain(keep),
            Self::Address(column) => column.retain(keep),
            Self::Time(values) => retain(values, keep),
            Self::Lists { ends, items, valid } => {
                retain_parts(ends, items, keep);
                valid.retain(keep);
            }
            Self::Text { ends, bytes, valid } => {
                retain_parts(ends, bytes, keep);
                valid.retain(keep);
            }
        }
    }

    /// The array of all values. `names` makes it a dictionary.
    fn finish(self, names: Option<ArrayRef>, len: usize) -> Result<ArrayRef, ArrowError> {
        fn primitive<P: ArrowPrimitiveType>(column: Nullable<P::Native>, len: usize) -> PrimitiveArray<P> {
            let (values, nulls) = column.finish(Buffer::from_vec);
            PrimitiveArray::new(ScalarBuffer::new(values, 0, len), nulls)
        }
        fn fixed<const N: usize>(
            column: Nullable<[u8; N]>,
            len: usize,
        ) -> Result<FixedSizeBinaryArray, ArrowError> {
            let (bytes, nulls) = column.finish(|values| Buffer::from_vec(values.into_flattened()));
            FixedSizeBinaryArray::try_new_with_len(N as i32, bytes, nulls, len)
        }
        Ok(match self {
            Self::U8(column) => match names {
                Some(names) => {
                    Arc::new(DictionaryArray::try_new(primitive::<UInt8Type>(column, len), names)?)
                }
                None => Arc::new(primitive::<UInt8Type>(column, len)),
            },
            Self::U16(column) => match names {
                Some(names) => {
                    Arc::new(DictionaryArray::try_new(primitive::<UInt16Type>(column, len), names)?)
                }
                None => Arc::new(primitive::<UInt16Type>(column, len)),
            },
            Self::U32(column) => Arc::new(primitive::<types::UInt32Type>(column, len)),
            Self::U64(column) => Arc::new(primitive::<types::UInt64Type>(column, len)),
            Self::Time(values) => Arc::new(TimestampNanosecondArray::from(values).with_timezone("UTC")),
            Self::Mac(column) => Arc::new(fixed(column, len)?),
            Self::Address(column) => Arc::new(fixed(column, len)?),
            Self::Lists { ends, items, valid } => Arc::new(ListArray::try_new(
                Arc::new(Field::new("item", DataType::UInt32, false)),
                OffsetBuffer::new(ScalarBuffer::from(ends)),
                Arc::new(UInt32Array::from(items)),
                valid.finish(),
            )?),
            Self::Text { ends, bytes, valid } => Arc::new(StringArray::try_new(
                OffsetBuffer::new(ScalarBuffer::from(ends)),
                Buffer::from_vec(bytes),
                valid.finish(),
            )?),
        })
    }
}
