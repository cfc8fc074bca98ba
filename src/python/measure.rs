//! What measuring needs: traffic, and the pass over memory to compare with.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::traffic::{Mix, capture};

/// Names of the mixes of :func:`traffic`.
#[pyfunction]
pub fn mix_names() -> Vec<&'static str> {
    Mix::ALL.iter().map(|mix| mix.name()).collect()
}

/// A pcap of so many packets, the same bytes for the same seed.
#[pyfunction]
#[pyo3(signature = (mix, packets, seed=1))]
pub fn traffic<'py>(py: Python<'py>, mix: &str, packets: usize, seed: u64) -> PyResult<Bound<'py, PyBytes>> {
    let mix = Mix::from_name(mix).ok_or_else(|| {
        PyValueError::new_err(format!("no mix {mix:?}; there are: {}", mix_names().join(", ")))
    })?;
    Ok(PyBytes::new(py, &py.detach(|| capture(mix, packets, seed))))
}

/// The sum of all 8-byte words: one pass over the memory.
#[pyfunction]
pub fn floor(py: Python<'_>, bytes: &[u8]) -> u64 {
    py.detach(|| crate::traffic::floor(bytes))
}
