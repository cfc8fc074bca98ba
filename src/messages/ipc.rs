//! Batches of messages as bytes of a file, each an Arrow IPC stream: with serde's `with`.

use std::io::Cursor;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Kind, schema};

pub(super) fn serialize<S: Serializer>(
    batches: &[(Kind, RecordBatch)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let written = batches.iter().map(|(kind, batch)| Ok((*kind, write(batch)?)));
    written.collect::<Result<Vec<_>, ArrowError>>().map_err(S::Error::custom)?.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(Kind, RecordBatch)>, D::Error> {
    let written = Vec::<(Kind, Vec<u8>)>::deserialize(deserializer)?;
    let read = written.into_iter().map(|(kind, bytes)| Ok((kind, read(kind, bytes)?)));
    read.collect::<Result<_, ArrowError>>().map_err(D::Error::custom)
}

fn write(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(batch)?;
    writer.into_inner()
}

fn read(kind: Kind, bytes: Vec<u8>) -> Result<RecordBatch, ArrowError> {
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    let batch = reader.next().transpose()?.unwrap_or_else(|| RecordBatch::new_empty(schema(kind)));
    if batch.schema().fields() != schema(kind).fields() {
        return Err(ArrowError::SchemaError(format!("messages of {} with other columns", kind.name())));
    }
    Ok(batch)
}
