//! Columns of a table: declared once, each with its meaning, for builder, row, schema and documentation.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, ListBuilder, PrimitiveBuilder,
    StringBuilder,
};
use arrow_array::types::{
    ArrowPrimitiveType, Int32Type, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, RecordBatch,
    StringArray, UInt64Array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use super::Frame;
use crate::wire::ip::Addr;

/// A kind of column.
pub(crate) trait Kind {
    /// A value of it.
    type Value<'a>;
    /// What collects the values.
    type Builder: std::fmt::Debug + Default;
    /// The array that they become.
    type Array: Array + std::fmt::Debug + 'static;

    fn data_type() -> DataType;
    fn append(builder: &mut Self::Builder, value: Option<Self::Value<'_>>);
    fn finish(builder: &mut Self::Builder) -> ArrayRef;

    /// The value in a row that the array has, and that is not null there.
    fn value(array: &Self::Array, row: usize) -> Self::Value<'_>;

    /// What its values take beyond a row, in rows of about 64 bytes.
    fn extra(_: &Self::Builder) -> usize {
        0
    }
}

macro_rules! primitive {
    ($($kind:ident = $native:ty, $arrow:ty, $data_type:expr;)+) => {$(
        #[derive(Debug)]
        pub(crate) struct $kind;

        impl Kind for $kind {
            type Value<'a> = $native;
            type Builder = PrimitiveBuilder<$arrow>;
            type Array = PrimitiveArray<$arrow>;

            fn value(array: &Self::Array, row: usize) -> $native {
                array.value(row)
            }

            fn data_type() -> DataType {
                $data_type
            }

            fn append(builder: &mut Self::Builder, value: Option<$native>) {
                builder.append_option(value);
            }

            fn finish(builder: &mut Self::Builder) -> ArrayRef {
                ArrayBuilder::finish(builder)
            }
        }
    )+};
}

primitive! {
    U8 = u8, UInt8Type, UInt8Type::DATA_TYPE;
    U16 = u16, UInt16Type, UInt16Type::DATA_TYPE;
    U32 = u32, UInt32Type, UInt32Type::DATA_TYPE;
    U64 = u64, UInt64Type, UInt64Type::DATA_TYPE;
    I32 = i32, Int32Type, Int32Type::DATA_TYPE;
}

/// Yes or no.
#[derive(Debug)]
pub(crate) struct Bool;

impl Kind for Bool {
    type Value<'a> = bool;
    type Builder = BooleanBuilder;
    type Array = BooleanArray;

    fn value(array: &BooleanArray, row: usize) -> bool {
        array.value(row)
    }

    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn append(builder: &mut Self::Builder, value: Option<bool>) {
        builder.append_option(value);
    }

    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        ArrayBuilder::finish(builder)
    }
}

/// Text, as captured: who shows it has to escape what controls a terminal.
#[derive(Debug)]
pub(crate) struct Text;

impl Kind for Text {
    type Value<'a> = Cow<'a, str>;
    type Builder = StringBuilder;
    type Array = StringArray;

    fn value(array: &StringArray, row: usize) -> Cow<'_, str> {
        array.value(row).into()
    }

    fn data_type() -> DataType {
        DataType::Utf8
    }

    fn append(builder: &mut Self::Builder, value: Option<Cow<'_, str>>) {
        builder.append_option(value);
    }

    fn extra(builder: &Self::Builder) -> usize {
        builder.values_slice().len() / 64
    }

    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        ArrayBuilder::finish(builder)
    }
}

/// Several texts.
#[derive(Debug)]
pub(crate) struct Texts;

impl Kind for Texts {
    type Value<'a> = Vec<Cow<'a, str>>;
    type Builder = ListBuilder<StringBuilder>;
    type Array = ListArray;

    fn value(array: &ListArray, row: usize) -> Vec<Cow<'_, str>> {
        let texts = array.values().as_any().downcast_ref::<StringArray>().zip(items(array, row));
        texts.into_iter().flat_map(|(texts, rows)| rows.map(|row| texts.value(row).into())).collect()
    }

    fn data_type() -> DataType {
        DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
    }

    fn append(builder: &mut Self::Builder, value: Option<Vec<Cow<'_, str>>>) {
        match value {
            Some(texts) => builder.append_value(texts.into_iter().map(Some)),
            None => builder.append_null(),
        }
    }

    fn extra(builder: &Self::Builder) -> usize {
        let texts = builder.values_ref();
        (texts.len() * 4 + texts.values_slice().len()) / 64
    }

    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        ArrayBuilder::finish(builder)
    }
}

/// Where the items of a row are.
fn items(array: &ListArray, row: usize) -> Option<std::ops::Range<usize>> {
    let ends = array.value_offsets();
    ends.get(row).zip(ends.get(row + 1)).map(|(&from, &to)| from as usize..to as usize)
}

macro_rules! lists {
    ($($(#[doc = $doc:literal])+ $kind:ident = $native:ty, $arrow:ty;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub(crate) struct $kind;

        impl Kind for $kind {
            type Value<'a> = Vec<$native>;
            type Builder = ListBuilder<PrimitiveBuilder<$arrow>>;
            type Array = ListArray;

            fn value(array: &ListArray, row: usize) -> Vec<$native> {
                let numbers = array.values().as_any().downcast_ref::<PrimitiveArray<$arrow>>();
                let numbers = numbers.zip(items(array, row));
                numbers.and_then(|(numbers, row)| numbers.values().get(row)).unwrap_or_default().to_vec()
            }

            fn data_type() -> DataType {
                DataType::List(Arc::new(Field::new_list_field(<$arrow>::DATA_TYPE, true)))
            }

            fn append(builder: &mut Self::Builder, value: Option<Vec<$native>>) {
                match value {
                    Some(numbers) => builder.append_value(numbers.into_iter().map(Some)),
                    None => builder.append_null(),
                }
            }

            fn extra(builder: &Self::Builder) -> usize {
                builder.values_ref().len() * size_of::<$native>() / 64
            }

            fn finish(builder: &mut Self::Builder) -> ArrayRef {
                ArrayBuilder::finish(builder)
            }
        }
    )+};
}

lists! {
    /// Several small numbers.
    U8s = u8, UInt8Type;
    /// Several numbers of two bytes.
    U16s = u16, UInt16Type;
    /// Several numbers.
    U64s = u64, UInt64Type;
}

/// Bytes.
#[derive(Debug)]
pub(crate) struct Bytes;

impl Kind for Bytes {
    type Value<'a> = Cow<'a, [u8]>;
    type Builder = BinaryBuilder;
    type Array = BinaryArray;

    fn value(array: &BinaryArray, row: usize) -> Cow<'_, [u8]> {
        array.value(row).into()
    }

    fn data_type() -> DataType {
        DataType::Binary
    }

    fn append(builder: &mut Self::Builder, value: Option<Cow<'_, [u8]>>) {
        builder.append_option(value);
    }

    fn extra(builder: &Self::Builder) -> usize {
        builder.values_slice().len() / 64
    }

    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        ArrayBuilder::finish(builder)
    }
}

/// A time, nanoseconds UTC.
#[derive(Debug)]
pub(crate) struct Time;

impl Kind for Time {
    type Value<'a> = i64;
    type Builder = PrimitiveBuilder<TimestampNanosecondType>;
    type Array = PrimitiveArray<TimestampNanosecondType>;

    fn value(array: &Self::Array, row: usize) -> i64 {
        array.value(row)
    }

    fn data_type() -> DataType {
        DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
    }

    fn append(builder: &mut Self::Builder, value: Option<i64>) {
        builder.append_option(value);
    }

    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        Arc::new(builder.finish().with_timezone("UTC"))
    }
}

macro_rules! fixed {
    ($($(#[doc = $doc:literal])+ $kind:ident = $width:literal, $native:ty, $builder:ident;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub(crate) struct $kind;

        /// A builder that knows the width of its values.
        #[derive(Debug)]
        pub(crate) struct $builder(FixedSizeBinaryBuilder);

        impl Default for $builder {
            fn default() -> Self {
                Self(FixedSizeBinaryBuilder::new($width))
            }
        }

        impl Kind for $kind {
            type Value<'a> = $native;
            type Builder = $builder;
            type Array = FixedSizeBinaryArray;

            fn value(array: &FixedSizeBinaryArray, row: usize) -> $native {
                array.value(row).try_into().unwrap_or_default()
            }

            fn data_type() -> DataType {
                DataType::FixedSizeBinary($width)
            }

            fn append(builder: &mut Self::Builder, value: Option<$native>) {
                // A value has the width that the builder was made for.
                if value.is_none_or(|value| builder.0.append_value(value).is_err()) {
                    builder.0.append_null();
                }
            }

            fn finish(builder: &mut Self::Builder) -> ArrayRef {
                ArrayBuilder::finish(&mut builder.0)
            }
        }
    )+};
}

fixed! {
    /// An address, IPv4 as `::ffff:a.b.c.d`.
    Address = 16, Addr, Addresses;
    /// A MAC address.
    Mac = 6, [u8; 6], Macs;
}

/// The columns that all tables begin with.
#[derive(Debug, Default)]
pub(super) struct Common {
    frame: PrimitiveBuilder<UInt64Type>,
    ts: PrimitiveBuilder<TimestampNanosecondType>,
    src: Addresses,
    dst: Addresses,
    src_port: PrimitiveBuilder<UInt16Type>,
    dst_port: PrimitiveBuilder<UInt16Type>,
}

/// What [`Common`] has of a frame.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Of {
    pub number: u64,
    pub ts: i64,
    /// Source and destination of the innermost packet.
    pub addresses: Option<(Addr, Addr)>,
    pub ports: Option<(u16, u16)>,
}

impl Of {
    pub fn frame(frame: &Frame<'_>) -> Self {
        let addresses = frame.layers.ip.map(|ip| (ip.src(), ip.dst()));
        Self { number: frame.number, ts: frame.ts, addresses, ports: frame.layers.ports() }
    }
}

impl Common {
    pub fn append(&mut self, of: &Of) {
        self.frame.append_value(of.number);
        self.ts.append_value(of.ts);
        Address::append(&mut self.src, of.addresses.map(|(src, _)| src));
        Address::append(&mut self.dst, of.addresses.map(|(_, dst)| dst));
        self.src_port.append_option(of.ports.map(|(src, _)| src));
        self.dst_port.append_option(of.ports.map(|(_, dst)| dst));
    }

    pub fn len(&self) -> usize {
        self.frame.len()
    }

    pub fn finish(&mut self) -> Vec<ArrayRef> {
        vec![
            ArrayBuilder::finish(&mut self.frame),
            Arc::new(self.ts.finish().with_timezone("UTC")),
            Address::finish(&mut self.src),
            Address::finish(&mut self.dst),
            ArrayBuilder::finish(&mut self.src_port),
            ArrayBuilder::finish(&mut self.dst_port),
        ]
    }

    pub fn fields() -> Vec<Field> {
        let ts = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        vec![
            Field::new("frame", DataType::UInt64, false),
            Field::new("ts", ts, false),
            Field::new("src", Address::data_type(), true),
            Field::new("dst", Address::data_type(), true),
            Field::new("src_port", DataType::UInt16, true),
            Field::new("dst_port", DataType::UInt16, true),
        ]
    }
}

/// A field with its meaning, which the schema carries as `description`.
pub(crate) fn field(name: &str, data_type: DataType, description: &str) -> Field {
    let metadata = HashMap::from([("description".to_owned(), description.trim().to_owned())]);
    Field::new(name, data_type, true).with_metadata(metadata)
}

/// A batch of these fields.
pub(crate) fn batch(schema: SchemaRef, arrays: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new(schema, arrays)
}

/// A schema whose metadata say what a row is.
pub(crate) fn schema(fields: Vec<Field>, description: &str) -> SchemaRef {
    let metadata = HashMap::from([("description".to_owned(), description.trim().to_owned())]);
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

/// The column of this name, if it has the type of this kind.
pub(super) fn column<'a, K: Kind>(batch: &'a RecordBatch, name: &str) -> Result<&'a K::Array, ArrowError> {
    let array = batch.column_by_name(name).and_then(|array| array.as_any().downcast_ref());
    array.ok_or_else(|| ArrowError::SchemaError(format!("column {name:?} is missing, or of another type")))
}

/// The numbers of the frames.
pub(super) fn frames(batch: &RecordBatch) -> Result<&[u64], ArrowError> {
    let array = batch.column_by_name("frame").and_then(|array| array.as_any().downcast_ref::<UInt64Array>());
    array
        .map(|array| &**array.values())
        .ok_or_else(|| ArrowError::SchemaError("column \"frame\" is missing, or of another type".to_owned()))
}

/// The same batch with frame numbers that are greater by this.
pub(super) fn renumbered(batch: &RecordBatch, by: u64) -> Result<RecordBatch, ArrowError> {
    let numbers = UInt64Array::from_iter_values(frames(batch)?.iter().map(|number| number.wrapping_add(by)));
    let mut columns = batch.columns().to_vec();
    if let Some(column) = columns.get_mut(batch.schema().index_of("frame")?) {
        *column = Arc::new(numbers);
    }
    RecordBatch::try_new(batch.schema(), columns)
}

/// The value in a row; none if it is null there, or there is no such row.
pub(super) fn value<K: Kind>(array: &K::Array, row: usize) -> Option<K::Value<'_>> {
    (row < array.len() && array.is_valid(row)).then(|| K::value(array, row))
}

/// Declares a table: what collects its rows, a row with all values optional, and the schema; what it remembers; and what
/// reads a batch of it.
macro_rules! table {
    (
        $(#[doc = $doc:literal])+
        $name:ident, $row:ident { $($(#[doc = $fdoc:literal])+ $field:ident: $kind:ty,)+ }
        $(state { $state:ident: $memory:ty })?
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Default)]
        pub(super) struct $name {
            common: $crate::messages::columns::Common,
            $($state: $memory,)?
            $($field: <$kind as $crate::messages::columns::Kind>::Builder,)+
        }

        #[derive(Default)]
        struct $row<'a> {
            $($(#[doc = $fdoc])+ $field: Option<<$kind as $crate::messages::columns::Kind>::Value<'a>>,)+
            of: std::marker::PhantomData<&'a ()>,
        }

        impl $name {
            fn push(&mut self, frame: &$crate::messages::Frame<'_>, row: $row<'_>) {
                self.push_of(&$crate::messages::columns::Of::frame(frame), row);
            }

            /// Adds a row of a frame that is not at hand any more.
            fn push_of(&mut self, of: &$crate::messages::columns::Of, row: $row<'_>) {
                use $crate::messages::columns::Kind;
                self.common.append(of);
                $(<$kind>::append(&mut self.$field, row.$field);)+
            }
        }

        /// A batch of the table, read back row by row.
        #[derive(Debug)]
        pub(crate) struct View<'a> {
            frames: &'a [u64],
            $($field: &'a <$kind as $crate::messages::columns::Kind>::Array,)+
        }

        #[allow(dead_code, reason = "not every column of every table is read by who looks for something")]
        impl<'a> View<'a> {
            /// A view of a batch, which must have the columns of the table.
            pub fn new(batch: &'a arrow_array::RecordBatch) -> Result<Self, arrow_schema::ArrowError> {
                use $crate::messages::columns::{column, frames};
                Ok(Self {
                    frames: frames(batch)?,
                    $($field: column::<$kind>(batch, stringify!($field).trim_end_matches('_'))?,)+
                })
            }

            /// The numbers of the frames that the messages were in.
            pub fn frames(&self) -> &'a [u64] {
                self.frames
            }

            $($(#[doc = $fdoc])+
            pub fn $field(&self, row: usize) -> Option<<$kind as $crate::messages::columns::Kind>::Value<'a>> {
                $crate::messages::columns::value::<$kind>(self.$field, row)
            })+
        }

        impl $crate::messages::Columns for $name {
            fn schema(&self) -> arrow_schema::SchemaRef {
                use $crate::messages::columns::{Common, Kind, field, schema};
                let mut fields = Common::fields();
                $(fields.push(field(stringify!($field).trim_end_matches('_'), <$kind>::data_type(), concat!($($fdoc),+)));)+
                schema(fields, concat!($($doc),+))
            }

            fn len(&self) -> usize {
                self.common.len()
            }

            fn size(&self) -> usize {
                use $crate::messages::columns::Kind;
                self.common.len() $(+ <$kind>::extra(&self.$field))+
            }

            fn finish(&mut self) -> Result<arrow_array::RecordBatch, arrow_schema::ArrowError> {
                use $crate::messages::columns::{Kind, batch};
                let mut arrays = self.common.finish();
                $(arrays.push(<$kind>::finish(&mut self.$field));)+
                batch(self.schema(), arrays)
            }
        }
    };
}
pub(super) use table;
