//! The binding: options in, Arrow streams out, errors mapped. Thin; what it calls is tested in the engine.

// Arguments of Python functions are handed over by value.
#![allow(clippy::needless_pass_by_value)]

mod arrow;
mod digest;
mod evidence;
mod examine;
mod measure;
mod memory;
mod parquet;
mod places;
mod stream;

use pyo3::exceptions::{
    PyBrokenPipeError, PyFileNotFoundError, PyIsADirectoryError, PyOSError, PyPermissionError, PyValueError,
};
use pyo3::prelude::*;

use crate::capture;

pyo3::create_exception!(_core, CaptureError, PyValueError, "The source is not a capture that can be read.");

/// An error of the engine as the Python exception a user expects.
fn to_py(error: capture::Error) -> PyErr {
    let text = error.to_string();
    match error {
        capture::Error::Io { source, .. } => match source.kind() {
            std::io::ErrorKind::BrokenPipe => PyBrokenPipeError::new_err(text),
            std::io::ErrorKind::NotFound => PyFileNotFoundError::new_err(text),
            std::io::ErrorKind::PermissionDenied => PyPermissionError::new_err(text),
            std::io::ErrorKind::IsADirectory => PyIsADirectoryError::new_err(text),
            _ => PyOSError::new_err(text),
        },
        _ => CaptureError::new_err(text),
    }
}

/// An error inside a stream; the engine's own are found again behind Arrow's.
fn arrow_to_py(error: arrow_schema::ArrowError) -> PyErr {
    match error {
        arrow_schema::ArrowError::ExternalError(source) => match source.downcast::<capture::Error>() {
            Ok(error) => to_py(*error),
            Err(source) => match source.downcast::<PyErr>() {
                Ok(error) => *error,
                Err(source) => PyOSError::new_err(source.to_string()),
            },
        },
        other => PyValueError::new_err(other.to_string()),
    }
}

/// The engine of tapsight. Use the package `tapsight`, which wraps it.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::CaptureError;
    #[pymodule_export]
    use super::arrow::{
        Array, Table, addresses_from_text, addresses_to_text, macs_from_text, macs_to_text, match_prefixes,
    };
    #[pymodule_export]
    use super::digest::{capture_head, digest_head, verify_digest, write_digest};
    #[pymodule_export]
    use super::evidence::Extract;
    #[pymodule_export]
    use super::examine::{Examination, examine};
    #[pymodule_export]
    use super::measure::{floor, mix_names, traffic};
    #[pymodule_export]
    use super::parquet::ParquetEncoder;
    #[pymodule_export]
    use super::places::{Places, country_name, look_up_numbers};
    #[pymodule_export]
    use super::stream::{
        Stream, column_names, column_words, filterable, schema, stage_schema, table_names, table_schema,
    };
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("SCHEMA_VERSION", crate::packets::SCHEMA_VERSION)?;
        module.add("BATCH_SIZE", crate::packets::BATCH_SIZE)?;
        module.add("HAS_REGISTERED", crate::places::HAS_REGISTERED)?;
        // A debug build is ten times slower: users who measure should know.
        module.add("DEBUG", cfg!(debug_assertions))
    }
}
