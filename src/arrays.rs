//! Records → the columns of a batch: what stages that keep records of their own make rows with.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, TimestampNanosecondType, UInt16Type, UInt64Type};
use arrow_array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, RecordBatch, StringArray,
};
use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer};
use arrow_schema::{ArrowError, Field, Schema};

/// The columns of a batch so far.
#[derive(Default)]
pub(crate) struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    /// Adds a column with its meaning, which the schema carries as `description`.
    pub fn push(&mut self, name: &str, description: &str, array: ArrayRef) {
        let field = Field::new(name, array.data_type().clone(), true);
        self.fields.push(field.with_metadata(described(description)));
        self.arrays.push(array);
    }

    /// The batch, and what a row of it is.
    pub fn finish(self, description: &str) -> Result<RecordBatch, ArrowError> {
        let schema = Schema::new_with_metadata(self.fields, described(description));
        RecordBatch::try_new(Arc::new(schema), self.arrays)
    }
}

fn described(text: &str) -> HashMap<String, String> {
    HashMap::from([("description".to_owned(), text.trim().to_owned())])
}

/// A batch of columns, each declared with its meaning.
macro_rules! columns {
    ($about:literal: $($(#[doc = $doc:literal])+ $name:ident = $array:expr;)+) => {{
        let mut columns = $crate::arrays::Columns::default();
        $(columns.push(stringify!($name), concat!($($doc),+), $array);)+
        columns.finish($about)
    }};
}
pub(crate) use columns;

/// Numbers.
pub(crate) fn numbers<T: ArrowPrimitiveType>(values: impl Iterator<Item = Option<T::Native>>) -> ArrayRef {
    Arc::new(primitive::<T>(values))
}

fn primitive<T: ArrowPrimitiveType>(values: impl Iterator<Item = Option<T::Native>>) -> PrimitiveArray<T> {
    let len = values.size_hint().0;
    let (mut all, mut valid) = (Vec::with_capacity(len), NullBufferBuilder::new(len));
    for value in values {
        all.push(value.unwrap_or_default());
        valid.append(value.is_some());
    }
    PrimitiveArray::new(all.into(), valid.finish())
}

/// Counts, of which there is always one.
pub(crate) fn counts(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(PrimitiveArray::<UInt64Type>::from_iter_values(values))
}

/// Times, nanoseconds UTC.
pub(crate) fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(primitive::<TimestampNanosecondType>(values).with_timezone("UTC"))
}

/// Text.
pub(crate) fn texts<S: AsRef<str>>(values: impl Iterator<Item = Option<S>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

/// Bytes of one width: addresses, MACs.
pub(crate) fn fixed<const N: usize>(
    values: impl Iterator<Item = Option<[u8; N]>>,
) -> Result<ArrayRef, ArrowError> {
    let len = values.size_hint().0;
    let (mut bytes, mut valid) = (Vec::with_capacity(N * len), NullBufferBuilder::new(len));
    for value in values {
        bytes.extend_from_slice(&value.unwrap_or([0; N]));
        valid.append(value.is_some());
    }
    let len = valid.len();
    let bytes = Buffer::from_vec(bytes);
    let array = FixedSizeBinaryArray::try_new_with_len(N as i32, bytes, valid.finish(), len)?;
    Ok(Arc::new(array))
}

/// Labels: numbers of the names given.
pub(crate) fn labels<S: AsRef<str>>(
    names: &[S],
    values: impl Iterator<Item = Option<u16>>,
) -> Result<ArrayRef, ArrowError> {
    let keys = primitive::<UInt16Type>(values);
    let names = StringArray::from_iter_values(names);
    Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(names))?))
}

/// Lists of numbers; an empty one is null.
pub(crate) fn lists<T: ArrowPrimitiveType>(
    values: impl Iterator<Item = impl IntoIterator<Item = T::Native>>,
) -> Result<ArrayRef, ArrowError> {
    let len = values.size_hint().0;
    let (mut items, mut lengths) = (Vec::new(), Vec::with_capacity(len));
    let mut valid = NullBufferBuilder::new(len);
    for list in values {
        let before = items.len();
        items.extend(list);
        lengths.push(items.len() - before);
        valid.append(items.len() > before);
    }
    let array = ListArray::try_new(
        Arc::new(Field::new("item", T::DATA_TYPE, false)),
        OffsetBuffer::from_lengths(lengths.iter().copied()),
        Arc::new(PrimitiveArray::<T>::from_iter_values(items)),
        valid.finish(),
    )?;
    Ok(Arc::new(array))
}

/// Numbers of the bits that are set.
pub(crate) fn bits(mut bits: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let lowest = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (lowest < u64::BITS).then_some(lowest as u8)
    })
}

/// What is met one after the other, numbered as it appears, and its names; from 65,535 on all share one, `other`.
#[derive(Debug)]
pub(crate) struct Names<K = String> {
    numbers: HashMap<K, u16>,
    all: Vec<String>,
}

impl<K> Default for Names<K> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), all: Vec::new() }
    }
}

impl<K: Eq + Hash> Names<K> {
    /// The number of one.
    pub fn number<Q>(&mut self, key: &Q) -> u16
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ToString + ?Sized,
    {
        if let Some(&number) = self.numbers.get(key) {
            return number;
        }
        let number = self.all.len().min(usize::from(u16::MAX));
        if self.all.len() <= number {
            let is_last = number == usize::from(u16::MAX);
            self.all.push(if is_last { "other".to_owned() } else { key.to_string() });
        }
        if number < usize::from(u16::MAX) {
            self.numbers.insert(key.to_owned(), number as u16);
        }
        number as u16
    }

    /// All names, by number.
    pub fn all(&self) -> &[String] {
        &self.all
    }
}
