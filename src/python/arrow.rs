//! Arrow data across the boundary, by the PyCapsule interface.

// Capsules hold C structs that have to be read through pointers: the one place where the binding needs `unsafe`.
#![allow(unsafe_code)]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, to_ffi};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{
    Array as _, ArrayRef, RecordBatch, RecordBatchIterator, RecordBatchOptions, RecordBatchReader, make_array,
};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use super::arrow_to_py;
use crate::packets::address::{self, Prefixes};

/// A stream of batches as a capsule.
pub(super) fn stream_capsule(
    py: Python<'_>,
    reader: Box<dyn RecordBatchReader + Send>,
) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(reader), c"arrow_array_stream")
}

/// A schema as a capsule.
pub(super) fn schema_capsule<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = FFI_ArrowSchema::try_from(schema).map_err(arrow_to_py)?;
    PyCapsule::new_with_value(py, schema, c"arrow_schema")
}

/// A table in memory, read through ``__arrow_c_stream__``.
#[pyclass(frozen, module = "tapsight._core")]
pub struct Table(pub(super) RecordBatch);

#[pymethods]
impl Table {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // Honouring the requested schema is best effort by the interface's own words; the consumer casts.
        let _ = requested_schema;
        let batches = RecordBatchIterator::new([Ok::<_, ArrowError>(self.0.clone())], self.0.schema());
        stream_capsule(py, Box::new(batches))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &self.0.schema())
    }
}

/// A column in memory, read through ``__arrow_c_array__``.
#[pyclass(frozen, module = "tapsight._core")]
pub struct Array(ArrayRef);

#[pymethods]
impl Array {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let _ = requested_schema;
        let (array, schema) = to_ffi(&self.0.to_data()).map_err(arrow_to_py)?;
        Ok((
            PyCapsule::new_with_value(py, schema, c"arrow_schema")?,
            PyCapsule::new_with_value(py, array, c"arrow_array")?,
        ))
    }
}

/// The column that Python hands over, as anything with `__arrow_c_array__`.
pub(super) fn import(column: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
    let capsules = column.call_method0("__arrow_c_array__")?;
    let (schema, array): (Bound<'_, PyAny>, Bound<'_, PyAny>) = capsules.extract()?;
    let array = array.cast::<PyCapsule>()?.pointer_checked(Some(c"arrow_array"))?.cast::<FFI_ArrowArray>();
    let schema_capsule = schema.cast::<PyCapsule>()?;
    let schema = schema_capsule.pointer_checked(Some(c"arrow_schema"))?.cast::<FFI_ArrowSchema>();
    // SAFETY: the names were checked, so the capsules hold these structs by the Arrow PyCapsule interface; they
    // live as long as the capsules do, and `from_raw` takes the array over and leaves an empty one in its place.
    let data = unsafe { from_ffi(FFI_ArrowArray::from_raw(array.as_ptr()), schema.as_ref()) };
    Ok(make_array(data.map_err(arrow_to_py)?))
}

/// The schema that Python hands over, as anything with `__arrow_c_schema__`.
pub(super) fn import_schema(schema: &Bound<'_, PyAny>) -> PyResult<SchemaRef> {
    let capsule = schema.call_method0("__arrow_c_schema__")?;
    let capsule = capsule.cast::<PyCapsule>()?;
    let schema = capsule.pointer_checked(Some(c"arrow_schema"))?.cast::<FFI_ArrowSchema>();
    // SAFETY: the name was checked, so the capsule holds this struct by the Arrow PyCapsule interface, and it outlives this.
    let schema = Schema::try_from(unsafe { schema.as_ref() });
    Ok(Arc::new(schema.map_err(arrow_to_py)?))
}

/// The batch of this schema that Python hands over, as anything with `__arrow_c_array__`.
pub(super) fn import_batch(batch: &Bound<'_, PyAny>, schema: &SchemaRef) -> PyResult<RecordBatch> {
    let array = import(batch)?;
    let columns = array.as_struct_opt().filter(|columns| columns.null_count() == 0);
    let columns = columns.ok_or_else(|| PyValueError::new_err("a record batch is needed"))?;
    // Types are compared below, by position; those of the same type would change places unseen.
    if !columns.column_names().into_iter().eq(schema.fields().iter().map(|field| field.name())) {
        let names = columns.column_names().join(", ");
        return Err(PyValueError::new_err(format!("a batch with other columns than the schema's: {names}")));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(columns.len()));
    let batch = RecordBatch::try_new_with_options(schema.clone(), columns.columns().to_vec(), &options);
    batch.map_err(arrow_to_py)
}

/// A function from one column to another, with the interpreter free while it works.
macro_rules! column_function {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[pyfunction]
        pub fn $name(py: Python<'_>, column: &Bound<'_, PyAny>) -> PyResult<Array> {
            let column = import(column)?;
            let made = py.detach(|| address::$name(&*column)).map_err(arrow_to_py)?;
            Ok(Array(Arc::new(made)))
        }
    };
}

column_function! {
    /// Addresses of 16 bytes as text.
    addresses_to_text
}
column_function! {
    /// Text as addresses of 16 bytes.
    addresses_from_text
}
column_function! {
    /// MAC addresses of 6 bytes as text.
    macs_to_text
}
column_function! {
    /// Text as MAC addresses of 6 bytes.
    macs_from_text
}

/// Whether each address is in any of the prefixes.
#[pyfunction]
pub fn match_prefixes(py: Python<'_>, column: &Bound<'_, PyAny>, prefixes: Vec<String>) -> PyResult<Array> {
    let column = import(column)?;
    let prefixes = Prefixes::new(prefixes.iter().map(String::as_str)).map_err(PyValueError::new_err)?;
    let made = py.detach(|| address::match_prefixes(&*column, &prefixes)).map_err(arrow_to_py)?;
    Ok(Array(Arc::new(made)))
}
