//! All taps past every detector.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::builder::{BinaryBuilder, ListBuilder, StringBuilder, UInt32Builder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow_schema::ArrowError;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::arrow::Table;
use super::memory;
use super::stream::{check_signals, pausing, source, threads as threads_of};
use super::{arrow_to_py, to_py};
use crate::budget::Budget;
use crate::capture::{Error, Interface, Options, Origin, Source};
use crate::detect::{self, SavedState, StateError};
use crate::packets::address::Prefixes;
use crate::packets::digest::Captured;
use crate::packets::{Chain, Pause, ScanOptions};
use crate::tap::Tap;
use crate::voice;

/// What came out of :func:`examine`: tables, each with ``__arrow_c_stream__``.
#[pyclass(frozen, get_all, module = "tapsight._core")]
pub struct Examination {
    /// One row a claim.
    claims: Py<Table>,
    /// One row a flow and path.
    flows: Py<Table>,
    /// One row for each class of traffic from one tap to the next: what became of its packets.
    compared: Py<Table>,
    /// One row a detector: how much it could judge.
    scopes: Py<Table>,
    /// One row an interface.
    taps: Py<Table>,
    /// One row a file.
    files: Py<Table>,
    /// One row a call, of each tap.
    calls: Vec<Py<Table>>,
    /// One row a change in a call.
    call_changes: Vec<Py<Table>>,
    /// One row a media endpoint that a call has described.
    call_media: Vec<Py<Table>>,
    /// One row a media stream, with its call.
    media: Vec<Py<Table>>,
    /// How many rows of these found no room.
    missing: u64,
    /// What was wrong with the captures, a line each.
    warnings: Vec<String>,
    /// What a later call goes on from, if that was asked for.
    state: Option<Py<PyBytes>>,
}

/// Reads all taps, each a name or ``None`` and its sources in order, past every detector.
///
/// ``state`` is that of an earlier call, which this one goes on from; with ``save``, this one says its own. Taps go on by name.
/// ``detectors`` are the ids of those to use, without which all are.
/// ``infrastructure`` and ``gateways`` are addresses and prefixes of the network's own devices and of its first hops.
/// ``progress`` is called now and then with the packets and bytes so far; what it raises ends the work.
#[pyfunction]
#[pyo3(signature = (taps, *, window_ns=None, late_window_ns=None, memory=None, progress=None, threads=None, infrastructure=None, gateways=None, state=None, save=false, detectors=None))]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub fn examine(
    py: Python<'_>,
    taps: Vec<(Option<String>, Vec<Bound<'_, PyAny>>)>,
    window_ns: Option<i64>,
    late_window_ns: Option<i64>,
    memory: Option<usize>,
    progress: Option<Py<PyAny>>,
    threads: Option<usize>,
    infrastructure: Option<Vec<String>>,
    gateways: Option<Vec<String>>,
    state: Option<&[u8]>,
    save: bool,
    detectors: Option<Vec<String>>,
) -> PyResult<Examination> {
    let prefixes = |texts: Option<Vec<String>>| {
        let texts = texts.unwrap_or_default();
        Prefixes::new(texts.iter().map(String::as_str)).map_err(PyValueError::new_err)
    };
    let network =
        detect::Network { infrastructure: prefixes(infrastructure)?, gateways: prefixes(gateways)? };
    // The detectors have one, and the taps share the others, of which each has one at least.
    let threads = threads_of(threads);
    let is_beside = threads > 1;
    let of_tap = (threads.saturating_sub(1) / taps.len().max(1)).max(1);
    let wrong = |error: StateError| PyValueError::new_err(format!("the saved state {error}"));
    let mut earlier =
        state.map(|bytes| py.detach(|| SavedState::from_bytes(bytes))).transpose().map_err(wrong)?;
    let mut before = earlier.as_mut().map(|earlier| std::mem::take(&mut earlier.scans)).unwrap_or_default();
    let saved_before = earlier.is_some();
    let (mut chains, mut captures) = (Vec::with_capacity(taps.len()), Vec::with_capacity(taps.len()));
    for (tap, sources) in &taps {
        let sources = sources.iter().map(source).collect::<PyResult<Vec<_>>>()?;
        let (sources, read) = py.detach(move || captured(sources, save || saved_before)).map_err(to_py)?;
        if let Some(known) = detect::known(&before, tap.as_deref(), &read) {
            return Err(PyValueError::new_err(format!("{}: the saved state knows it already", known.name)));
        }
        captures.push(read);
        let saved = tap.as_ref().and_then(|tap| before.get_mut(tap));
        let first_frame = saved.as_ref().map_or(1, |saved| saved.next_frame());
        let carried = saved.map(|saved| std::mem::take(&mut saved.carried)).unwrap_or_default();
        let options = Options { tap: tap.clone(), first_frame, ..Options::default() };
        let scan = ScanOptions { threads: of_tap, ..detect::scan_options(detectors.as_deref()) };
        // Only this thread is told of signals.
        let pause = Some(check_signals as Pause).filter(|_| !is_beside);
        let chain = py.detach(|| Chain::open(sources, options, scan, pause, carried));
        chains.push(chain.map_err(to_py)?);
    }
    let defaults = detect::Options::default();
    let options = detect::Options {
        window: window_ns.unwrap_or(defaults.window),
        late_window: late_window_ns.unwrap_or(defaults.late_window),
        memory: memory.unwrap_or(defaults.memory),
        network,
        save,
        detectors,
    };
    let shared: Vec<_> = chains.iter().map(Chain::shared_origin).collect();
    let dropped = |tap: &str| {
        let of = |origin: &Mutex<Origin>| {
            let origin = origin.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = origin.interfaces.iter().filter(|interface| interface.tap == tap);
            total(mine.map(|interface| interface.dropped))
        };
        total(shared.iter().map(|origin| of(origin)))
    };
    let share = Budget::of(options.memory).voice / taps.len().max(1);
    let open = |chain| {
        if is_beside { Tap::beside(chain, share, Some(check_signals)) } else { Tap::here(chain, share) }
    };
    let mut read: Vec<Tap> = chains.into_iter().map(open).collect();
    let examination = py.detach(|| {
        let taps = read.iter_mut().map(|tap| tap as detect::Tap<'_>).collect();
        detect::examine_with_drops(taps, options, earlier, pausing(progress.as_ref()), dropped)
    });
    let mut examination = examination.map_err(arrow_to_py)?;
    let (mut chains, mut heard) = (Vec::with_capacity(taps.len()), Vec::with_capacity(taps.len()));
    for tap in read {
        let (chain, tables) = py.detach(|| tap.finish()).map_err(arrow_to_py)?;
        chains.push(chain);
        heard.push(tables);
    }
    let mut files = Vec::new();
    for (tap, saved) in &before {
        files.extend(saved.files.iter().map(|file| (tap.clone(), file.clone())));
    }
    if let Some(state) = &mut examination.state {
        for (((tap, _), chain), captures) in taps.iter().zip(&mut chains).zip(captures) {
            let Some(tap) = tap else { continue };
            let saved = before.entry(tap.clone()).or_default();
            saved.captures.extend(captures.into_iter().filter(|each| each.mark.is_some()));
            saved.carried = chain.carried();
            let read = chain.origin().files.into_iter();
            saved.files.extend(read.map(|file| (file.name, file.first_frame, file.frames)));
        }
        state.scans = before;
    }
    let state = examination.state.take().map(|state| py.detach(move || state.to_bytes()));
    let state = state.transpose().map_err(arrow_to_py)?.map(|bytes| PyBytes::new(py, &bytes).unbind());
    let origins: Vec<Origin> = chains.iter().map(Chain::origin).collect();
    // What it took to read and to compare is not needed any more.
    drop(chains);
    py.detach(memory::give_back);
    let tables = |of: fn(&voice::Tables) -> &Vec<RecordBatch>| -> PyResult<Vec<Py<Table>>> {
        let batches = heard.iter().flat_map(of);
        batches.map(|batch| Py::new(py, Table(batch.clone()))).collect()
    };
    let table = |batch: Result<RecordBatch, ArrowError>| Py::new(py, Table(batch.map_err(arrow_to_py)?));
    Ok(Examination {
        calls: tables(|heard| &heard.calls)?,
        call_changes: tables(|heard| &heard.changes)?,
        call_media: tables(|heard| &heard.endpoints)?,
        media: tables(|heard| &heard.streams)?,
        missing: heard.iter().map(|heard| heard.missing).sum(),
        scopes: table(scopes(&examination))?,
        taps: table(taps_table(&examination, &origins))?,
        files: table(files_table(&origins, &files))?,
        warnings: origins.iter().flat_map(|origin| &origin.warnings).map(ToString::to_string).collect(),
        claims: table(Ok(examination.claims))?,
        compared: table(Ok(examination.compared))?,
        flows: table(Ok(examination.flows))?,
        state,
    })
}

/// The captures of these sources, if they are to be known again, and the sources.
fn captured(sources: Vec<Source>, wanted: bool) -> Result<(Vec<Source>, Vec<Captured>), Error> {
    let captures = if wanted { Captured::all_of(&sources)? } else { Vec::new() };
    Ok((sources, captures))
}

/// The sum of the counts that are known; none if none is.
fn total(counts: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    counts.flatten().reduce(u64::saturating_add)
}

fn scopes(examination: &detect::Examination) -> Result<RecordBatch, ArrowError> {
    let scopes = &examination.scopes;
    let missing: Vec<String> = examination
        .overflows
        .iter()
        .map(|(table, packets)| format!("{packets} packets found no room in the table of {table}"))
        .collect();
    let reason = |scope: &detect::Scope| {
        let reasons: Vec<&str> =
            scope.reason.iter().map(String::as_str).chain(missing.iter().map(String::as_str)).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    };
    RecordBatch::try_from_iter_with_nullable([
        (
            "check",
            Arc::new(StringArray::from_iter_values(scopes.iter().map(|(id, _)| id))) as ArrayRef,
            false,
        ),
        ("in_scope", Arc::new(UInt64Array::from_iter_values(scopes.iter().map(|(_, s)| s.in_scope))), false),
        ("judged", Arc::new(UInt64Array::from_iter_values(scopes.iter().map(|(_, s)| s.judged))), false),
        ("reason", Arc::new(scopes.iter().map(|(_, s)| reason(s)).collect::<StringArray>()), true),
        ("lost", Arc::new(UInt64Array::from_iter_values(scopes.iter().map(|(_, s)| s.lost))), false),
    ])
}

/// One row a tap. What the files say about an interface comes from the first interface of that tap.
fn taps_table(examination: &detect::Examination, origins: &[Origin]) -> Result<RecordBatch, ArrowError> {
    let interfaces = || origins.iter().flat_map(|origin| origin.interfaces.iter().map(move |i| (origin, i)));
    let mut names: Vec<&str> = examination.taps.iter().map(|(name, _)| name.as_str()).collect();
    for (_, interface) in interfaces() {
        if !names.contains(&interface.tap.as_str()) && names.len() < MAX_SILENT_TAPS {
            names.push(&interface.tap);
        }
    }
    let of = |tap: &str| interfaces().filter(|(_, i)| i.tap == tap).collect::<Vec<_>>();
    let text = StringBuilder::new;
    let (mut tap, mut file, mut device, mut link_type, mut format, mut compression, mut resolution) =
        (text(), text(), text(), text(), text(), text(), text());
    let number = UInt64Builder::new;
    let (mut frames, mut bytes, mut received, mut dropped, mut issues, mut snapped) =
        (number(), number(), number(), number(), number(), number());
    let mut snaplen = UInt32Builder::new();
    let mut warnings = ListBuilder::new(StringBuilder::new());
    let (mut first_ts, mut last_ts) = (Vec::new(), Vec::new());
    for name in names {
        let sources = of(name);
        let first = sources.first();
        let info = first.and_then(|(origin, interface)| origin.files.get(interface.file));
        let counts = examination.taps.iter().find(|(known, _)| known == name).map(|(_, counts)| counts);
        tap.append_value(name);
        file.append_option(info.map(|info| info.name.as_str()));
        device.append_option(first.and_then(|(_, interface)| interface.name.as_deref()));
        link_type.append_option(first.map(|(_, interface)| interface.link.to_string()));
        format.append_option(info.map(|info| &*info.format));
        compression.append_option(info.and_then(|info| info.compression.as_deref()));
        resolution.append_option(first.map(|(_, interface)| interface.ts_resolution.to_string()));
        snaplen.append_option(first.map(|(_, interface)| interface.snaplen));
        frames.append_value(counts.map_or(0, |counts| counts.frames));
        bytes.append_value(counts.map_or(0, |counts| counts.bytes));
        issues.append_value(counts.map_or(0, |counts| counts.issues));
        snapped.append_value(counts.map_or(0, |counts| counts.snapped));
        first_ts.push(counts.map(|counts| counts.first_ts));
        last_ts.push(counts.map(|counts| counts.last_ts));
        let counts = |count: fn(&Interface) -> Option<u64>| {
            total(sources.iter().map(|(_, interface)| count(interface)))
        };
        received.append_option(counts(|interface| interface.received));
        dropped.append_option(counts(|interface| interface.dropped));
        for (origin, interface) in &sources {
            let name = origin.files.get(interface.file).map(|info| info.name.as_str());
            for warning in &origin.warnings {
                if name == Some(warning.file.as_str()) {
                    warnings.values().append_value(warning.to_string());
                }
            }
        }
        warnings.append(true);
    }
    RecordBatch::try_from_iter_with_nullable([
        ("tap", Arc::new(tap.finish()) as ArrayRef, false),
        ("file", Arc::new(file.finish()), true),
        ("interface", Arc::new(device.finish()), true),
        ("link_type", Arc::new(link_type.finish()), true),
        ("format", Arc::new(format.finish()), true),
        ("compression", Arc::new(compression.finish()), true),
        ("ts_resolution", Arc::new(resolution.finish()), true),
        ("snaplen", Arc::new(snaplen.finish()), true),
        ("frames", Arc::new(frames.finish()), false),
        ("bytes", Arc::new(bytes.finish()), false),
        ("first_ts", Arc::new(TimestampNanosecondArray::from(first_ts).with_timezone("UTC")), true),
        ("last_ts", Arc::new(TimestampNanosecondArray::from(last_ts).with_timezone("UTC")), true),
        ("received", Arc::new(received.finish()), true),
        ("dropped", Arc::new(dropped.finish()), true),
        ("issues", Arc::new(issues.finish()), false),
        ("snapped", Arc::new(snapped.finish()), false),
        ("warnings", Arc::new(warnings.finish()), false),
    ])
}

/// Interfaces without frames are listed too, as far as this many rows.
const MAX_SILENT_TAPS: usize = 1024;

/// One row a file and tap, those that an earlier run has read first: tap, and name, first frame and frames; of a digest's, SHA-256.
fn files_table(
    origins: &[Origin],
    earlier: &[(String, (String, u64, u64))],
) -> Result<RecordBatch, ArrowError> {
    let before = earlier.iter().map(|(tap, (name, first, count))| (name, tap, *first, *count, None));
    let now = origins.iter().flat_map(|origin| {
        origin.interfaces.iter().filter_map(|interface| {
            let info = origin.files.get(interface.file)?;
            Some((&info.name, &interface.tap, info.first_frame, info.frames, info.sha256))
        })
    });
    let (mut file, mut tap, mut first_frame, mut frames) =
        (StringBuilder::new(), StringBuilder::new(), UInt64Builder::new(), UInt64Builder::new());
    let mut sha256 = BinaryBuilder::new();
    for (name, of, first, count, sum) in before.chain(now) {
        file.append_value(name);
        tap.append_value(of);
        first_frame.append_value(first);
        frames.append_value(count);
        sha256.append_option(sum);
    }
    RecordBatch::try_from_iter_with_nullable([
        ("file", Arc::new(file.finish()) as ArrayRef, false),
        ("tap", Arc::new(tap.finish()), false),
        ("first_frame", Arc::new(first_frame.finish()), false),
        ("frames", Arc::new(frames.finish()), false),
        ("sha256", Arc::new(sha256.finish()), true),
    ])
}
