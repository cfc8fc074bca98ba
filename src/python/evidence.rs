//! Single frames of a capture.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use super::arrow::Table;
use super::stream::{check_signals, source};
use super::{arrow_to_py, to_py};
use crate::capture::{Options, Reader};
use crate::evidence;

/// An iterator over tables of the frames with these numbers in the stream of the sources, one row a frame.
#[pyclass(frozen, module = "tapsight._core")]
pub struct Extract(Mutex<evidence::Extract>);

#[pymethods]
impl Extract {
    #[new]
    #[pyo3(signature = (sources, frames, *, tap=None, zero_payload=false))]
    fn new(
        py: Python<'_>,
        sources: Vec<Bound<'_, PyAny>>,
        frames: Vec<u64>,
        tap: Option<String>,
        zero_payload: bool,
    ) -> PyResult<Self> {
        let sources = sources.iter().map(source).collect::<PyResult<Vec<_>>>()?;
        let reader =
            py.detach(|| Reader::open(sources, Options { tap, ..Options::default() })).map_err(to_py)?;
        let extract = evidence::Extract::new(reader, frames, zero_payload).with_pause(check_signals);
        Ok(Self(Mutex::new(extract)))
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Table>> {
        let next = py.detach(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).next_batch());
        Ok(next.map_err(arrow_to_py)?.map(Table))
    }
}
