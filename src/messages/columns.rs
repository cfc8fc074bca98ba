//! Columns of a table: declared once, each with its meaning, for builder, row, schema and documentation.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BooleanBuilder, FixedSizeBinaryBuilder, ListBuilder, PrimitiveBuilder, StringBuilder,
};
use arrow_array::types::{
    ArrowPrimitiveType, Int32Type, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

use super::Frame;
use crate::wire::ip::Addr;

/// A kind of column.
pub(super) trait Kind {
    /// A value of it.
    type Value<'a>;
    /// What collects the values.
    type Builder: std::fmt::Debug + Default;

    fn data_type() -> DataType;
    fn append(builder: &mut Self::Builder, value: Option<Self::Value<'_>>);
    fn finish(builder: &mut Self::Builder) -> ArrayRef;

    /// What its values take beyond a row, in rows of about 64 bytes.
    fn extra(_: &Self::Builder) -> usize {
        0
    }
}

macro_rules! primitive {
    ($($kind:ident = $native:ty, $arrow:ty, $data_type:expr;)+) => {$(
        #[derive(Debug)]
        pub(super) struct $kind;

        impl Kind for $kind {
            type Value<'a> = $native;
            type Builder = PrimitiveBuilder<$arrow>;

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
pub(super) struct Bool;

impl Kind for Bool {
    type Value<'a> = bool;
    type Builder = BooleanBuilder;

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
pub(super) struct Text;

impl Kind for Text {
    type Value<'a> = Cow<'a, str>;
    type Builder = StringBuilder;

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
pub(super) struct Texts;

impl Kind for Texts {
    type Value<'a> = Vec<Cow<'a, str>>;
    type Builder = ListBuilder<StringBuilder>;

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

macro_rules! fixed {
    ($($(#[doc = $doc:literal])+ $kind:ident = $width:literal, $native:ty, $builder:ident;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub(super) struct $kind;

        /// A builder that knows the width of its values.
        #[derive(Debug)]
        pub(super) struct $builder(FixedSizeBinaryBuilder);

        impl Default for $builder {
            fn default() -> Self {
                Self(FixedSizeBinaryBuilder::new($width))
            }
        }

        impl Kind for $kind {
            type Value<'a> = $native;
            type Builder = $builder;

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

impl Common {
    pub fn append(&mut self, frame: &Frame<'_>) {
        let (ip, ports) = (frame.layers.ip, frame.layers.ports());
        self.frame.append_value(frame.number);
        self.ts.append_value(frame.ts);
        Address::append(&mut self.src, ip.map(|ip| ip.src()));
        Address::append(&mut self.dst, ip.map(|ip| ip.dst()));
        self.src_port.append_option(ports.map(|(src, _)| src));
        self.dst_port.append_option(ports.map(|(_, dst)| dst));
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
pub(super) fn field(name: &str, data_type: DataType, description: &str) -> Field {
    let metadata = HashMap::from([("description".to_owned(), description.trim().to_owned())]);
    Field::new(name, data_type, true).with_metadata(metadata)
}

/// A batch of these fields.
pub(super) fn batch(schema: SchemaRef, arrays: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new(schema, arrays)
}

/// A schema whose metadata say what a row is.
pub(super) fn schema(fields: Vec<Field>, description: &str) -> SchemaRef {
    let metadata = HashMap::from([("description".to_owned(), description.trim().to_owned())]);
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

/// Declares a table: what collects its rows, a row with all values optional, and the schema; and what it remembers.
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
                use $crate::messages::columns::Kind;
                self.common.append(frame);
                $(<$kind>::append(&mut self.$field, row.$field);)+
            }
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
