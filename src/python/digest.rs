//! Digests: what a check needs to know of captures, in a file.

use std::fs::OpenOptions;
use std::io::BufWriter;

use pyo3::prelude::*;

use super::stream::{check_signals, pausing, source, threads as threads_of};
use super::{arrow_to_py, to_py};
use crate::capture::{Error, Mark};
use crate::detect;
use crate::packets::ScanOptions;
use crate::packets::digest::{self, Captured, Digest};

/// Writes a digest of the captures of one tap to a file, called ``name`` in messages; returns how many frames there are, and warnings, a line each.
///
/// ``progress`` is called now and then with the packets so far; what it raises ends the work.
#[pyfunction]
#[pyo3(signature = (tap, sources, path, *, name, progress=None, threads=None))]
pub fn write_digest(
    py: Python<'_>,
    tap: &str,
    sources: Vec<Bound<'_, PyAny>>,
    path: &str,
    name: &str,
    progress: Option<Py<PyAny>>,
    threads: Option<usize>,
) -> PyResult<(u64, Vec<String>)> {
    let sources = sources.iter().map(source).collect::<PyResult<Vec<_>>>()?;
    let scan = ScanOptions {
        threads: threads_of(threads),
        batch_size: digest::BATCH_SIZE,
        ..detect::scan_options(None)
    };
    // Behind what standard output has already.
    let file = OpenOptions::new()
        .append(true)
        .open(path)
        .map_err(|source| to_py(Error::Io { name: name.to_owned(), source }))?;
    let output = BufWriter::with_capacity(1 << 20, file);
    let origin = py
        .detach(move || {
            digest::write(sources, tap, scan, Some(check_signals), output, name, pausing(progress.as_ref()))
        })
        .map_err(arrow_to_py)?;
    let warnings = origin.warnings.iter().map(ToString::to_string).collect();
    Ok((origin.next_frame().map_or(0, |next| next - 1), warnings))
}

/// Of a capture: its name, what it is known by unless it can be read only once (its length, and a hash of its beginning), and when its
/// first frame was captured (nanoseconds UTC).
type Capture = (String, Option<(u64, u64)>, Option<i64>);

fn capture(captured: Captured) -> Capture {
    let Captured { name, mark, first_ts } = captured;
    (name, mark.map(|Mark { len, beginning }| (len, beginning)), first_ts)
}

/// What is known of a digest before it is read: the name of its tap, and its captures; ``None`` of what is no digest.
#[pyfunction]
pub fn digest_head(py: Python<'_>, path: &Bound<'_, PyAny>) -> PyResult<Option<(String, Vec<Capture>)>> {
    let source = source(path)?;
    let head = py.detach(move || Digest::head_of(&source)).map_err(to_py)?;
    Ok(head.map(|head| (head.tap, head.captures.into_iter().map(capture).collect())))
}

/// What a digest would say of a capture.
#[pyfunction]
pub fn capture_head(py: Python<'_>, path: &Bound<'_, PyAny>) -> PyResult<Capture> {
    let source = source(path)?;
    py.detach(move || Captured::of(&source)).map(capture).map_err(to_py)
}

/// Reads a digest to its end, and raises what is wrong with it.
#[pyfunction]
pub fn verify_digest(py: Python<'_>, path: &Bound<'_, PyAny>) -> PyResult<()> {
    let source = source(path)?;
    py.detach(move || Digest::open(&source)?.verify(detect::scan_options(None))).map_err(to_py)
}
