//! Batches of messages as bytes of a file: with serde's `with`. What is read back is looked over, whoever wrote it: readers of Arrow's
//! own formats panic on bytes that make no sense.

use arrow_array::{Array, RecordBatch, RecordBatchOptions, make_array};
use arrow_buffer::{Buffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType};
use serde::de::{Deserializer, Error as _};
use serde::ser::{Error as _, Serializer};
use serde::{Deserialize, Serialize};

use super::{Kind, schema};
use crate::plain;

pub(super) fn serialize<S: Serializer>(
    batches: &[(Kind, RecordBatch)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let saved = batches.iter().map(|(kind, batch)| Saved::of(*kind, batch));
    saved.collect::<Result<Vec<_>, ArrowError>>().map_err(S::Error::custom)?.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(Kind, RecordBatch)>, D::Error> {
    let saved = Vec::<Saved>::deserialize(deserializer)?;
    saved.into_iter().map(Saved::batch).collect::<Result<_, ArrowError>>().map_err(D::Error::custom)
}

/// A batch of a table.
#[derive(Serialize, Deserialize)]
struct Saved {
    kind: Kind,
    rows: usize,
    columns: Vec<Column>,
}

/// A column, or the items of one whose values are lists.
#[derive(Serialize, Deserialize)]
struct Column {
    len: usize,
    /// A bit a value: whether it has one.
    valid: Option<Bytes>,
    buffers: Vec<Bytes>,
    items: Vec<Column>,
}

#[derive(Serialize, Deserialize)]
struct Bytes(#[serde(with = "plain")] Vec<u8>);

impl Saved {
    fn of(kind: Kind, batch: &RecordBatch) -> Result<Self, ArrowError> {
        let columns = batch.columns().iter().map(|column| Column::of(&column.to_data()));
        Ok(Self { kind, rows: batch.num_rows(), columns: columns.collect::<Result<_, _>>()? })
    }

    fn batch(self) -> Result<(Kind, RecordBatch), ArrowError> {
        let schema = schema(self.kind);
        if self.columns.len() != schema.fields().len() {
            return Err(ArrowError::SchemaError("another number of columns".to_owned()));
        }
        let arrays = self
            .columns
            .into_iter()
            .zip(schema.fields())
            .map(|(column, field)| Ok(make_array(column.data(field.data_type())?)));
        let arrays = arrays.collect::<Result<Vec<_>, ArrowError>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok((self.kind, RecordBatch::try_new_with_options(schema, arrays, &options)?))
    }
}

impl Column {
    fn of(data: &ArrayData) -> Result<Self, ArrowError> {
        let valid = data.nulls().map(NullBuffer::inner);
        if data.offset() != 0 || valid.is_some_and(|valid| valid.offset() != 0) {
            return Err(ArrowError::NotYetImplemented("a batch that is a part of another".to_owned()));
        }
        Ok(Self {
            len: data.len(),
            valid: valid.map(|valid| Bytes(valid.values().to_vec())),
            buffers: data.buffers().iter().map(|buffer| Bytes(buffer.to_vec())).collect(),
            items: data.child_data().iter().map(Self::of).collect::<Result<_, _>>()?,
        })
    }

    fn data(self, data_type: &DataType) -> Result<ArrayData, ArrowError> {
        let Self { len, valid, buffers, items } = self;
        // What the builder below does not look over, but takes for granted.
        let width = data_type.primitive_width().unwrap_or(match data_type {
            DataType::Utf8 | DataType::Binary | DataType::List(_) => size_of::<i32>(),
            _ => 1,
        });
        if valid.as_ref().is_some_and(|Bytes(valid)| valid.len() < len.div_ceil(8))
            || buffers.first().is_some_and(|Bytes(values)| values.len() % width != 0)
        {
            return Err(ArrowError::InvalidArgumentError("too few or odd bytes".to_owned()));
        }
        let of = match data_type {
            DataType::List(item) => vec![item.data_type()],
            _ => Vec::new(),
        };
        if items.len() != of.len() {
            return Err(ArrowError::InvalidArgumentError("items where none are due, or none".to_owned()));
        }
        let items = items.into_iter().zip(of).map(|(items, of)| items.data(of));
        // Looks over lengths, offsets and text.
        ArrayData::builder(data_type.clone())
            .len(len)
            .null_bit_buffer(valid.map(|Bytes(valid)| Buffer::from_vec(valid)))
            .buffers(buffers.into_iter().map(|Bytes(bytes)| Buffer::from_vec(bytes)).collect())
            .child_data(items.collect::<Result<_, _>>()?)
            .align_buffers(true)
            .build()
    }
}
