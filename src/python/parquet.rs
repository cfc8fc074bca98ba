//! Parquet, row group by row group.

use std::sync::{Mutex, PoisonError};

use arrow_schema::SchemaRef;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::arrow::{import_batch, import_schema};
use super::arrow_to_py;
use super::stream::threads as threads_of;
use crate::parquet::Encoder;

/// Makes the bytes of a Parquet file of this schema (anything with ``__arrow_c_schema__``), the same for any number of threads.
#[pyclass(frozen, module = "tapsight._core")]
pub struct ParquetEncoder {
    schema: SchemaRef,
    /// Until the file has ended, be it by an error.
    encoder: Mutex<Option<Encoder>>,
}

#[pymethods]
impl ParquetEncoder {
    #[new]
    #[pyo3(signature = (schema, *, threads=None))]
    fn new(schema: &Bound<'_, PyAny>, threads: Option<usize>) -> PyResult<Self> {
        let schema = import_schema(schema)?;
        let encoder = Encoder::new(schema.clone(), threads_of(threads)).map_err(arrow_to_py)?;
        Ok(Self { schema, encoder: Mutex::new(Some(encoder)) })
    }

    /// A row group of these batches; the bytes that come next in the file.
    fn row_group<'py>(
        &self,
        py: Python<'py>,
        batches: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        // Taken out until it is done: a row group that fails ends the file, or it would look whole without those rows.
        let Some(mut encoder) = self.take() else { return given(py, None) };
        let batches = batches.iter().map(|batch| import_batch(batch, &self.schema));
        let batches = batches.collect::<PyResult<Vec<_>>>()?;
        let bytes = py.detach(|| encoder.row_group(&batches));
        if bytes.is_ok() {
            *self.encoder.lock().unwrap_or_else(PoisonError::into_inner) = Some(encoder);
        }
        given(py, Some(bytes))
    }

    /// The bytes that end the file.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        given(py, self.take().map(Encoder::finish))
    }
}

impl ParquetEncoder {
    fn take(&self) -> Option<Encoder> {
        self.encoder.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What was encoded; nothing if the file has ended.
fn given(
    py: Python<'_>,
    bytes: Option<Result<Vec<u8>, arrow_schema::ArrowError>>,
) -> PyResult<Bound<'_, PyBytes>> {
    let bytes = bytes.ok_or_else(|| PyValueError::new_err("the file has ended"))?;
    Ok(PyBytes::new(py, &bytes.map_err(arrow_to_py)?))
}
