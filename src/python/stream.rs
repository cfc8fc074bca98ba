//! A capture as an Arrow stream.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyCapsule, PyString};

use super::arrow::{Table, schema_capsule, stream_capsule};
use super::places::{Places, country_of};
use super::{arrow_to_py, to_py};
use crate::calls::{self, Calls};
use crate::capture::{Options, Reader, Source, Warning};
use crate::classify::{App, Basis, Traffic};
use crate::flows::{self, Flows};
use crate::media;
use crate::messages;
use crate::packets::{self, Column, Filter, Scan, ScanOptions, Value};
use crate::paths;
use crate::places::Located;
use crate::stage::{Stage, Staged};
use crate::voice::Voice;

/// The source that Python names: a path, `-` for standard input, or anything with bytes in it.
pub(super) fn source(object: &Bound<'_, PyAny>) -> PyResult<Source> {
    if let Ok(text) = object.cast::<PyString>() {
        let text: PyBackedStr = text.extract()?;
        return Ok(if &*text == "-" { Source::Stdin } else { Source::Path((*text).into()) });
    }
    let name = "memory".to_owned();
    if object.is_instance_of::<PyBytes>() {
        let bytes: PyBackedBytes = object.extract()?;
        return Ok(Source::Memory { name, bytes: Arc::new(bytes) });
    }
    let buffer = PyBuffer::<u8>::get(object).map_err(|_| {
        PyTypeError::new_err("a source is a path, '-' for standard input, or a buffer of bytes (bytes, numpy uint8, memoryview)")
    })?;
    // Its owner may change it while it is read, so it is copied; `bytes` objects cannot change and are not.
    Ok(Source::Memory { name, bytes: Arc::new(buffer.to_vec(object.py())?) })
}

/// The columns of these names.
fn columns(names: Option<Vec<String>>) -> PyResult<Vec<Column>> {
    let Some(names) = names else { return Ok(Column::default_set()) };
    let column = |name: &String| {
        Column::from_name(name).ok_or_else(|| {
            let known: Vec<_> = Column::ALL.iter().map(|column| column.name()).collect();
            PyValueError::new_err(format!("no column {name:?}; there are: {}", known.join(", ")))
        })
    };
    names.iter().map(column).collect()
}

/// Names of all columns, those on request last.
#[pyfunction]
pub fn column_names() -> Vec<&'static str> {
    Column::ALL.iter().map(|column| column.name()).collect()
}

/// All that a column of text may say, if that is a closed list; else nothing.
#[pyfunction]
pub fn column_words(name: &str) -> &'static [&'static str] {
    match name {
        "app" => App::NAMES,
        "traffic" => Traffic::NAMES,
        "basis" => Basis::NAMES,
        _ => &[],
    }
}

/// The schema of a table with these columns, as an object with `__arrow_c_schema__`.
#[pyfunction]
#[pyo3(signature = (names=None))]
pub fn schema(names: Option<Vec<String>>) -> PyResult<Table> {
    Ok(Table(RecordBatch::new_empty(packets::schema(&columns(names)?))))
}

#[derive(FromPyObject)]
pub enum Literal {
    Number(u64),
    Text(String),
}

/// Whether a filter on this column can be left to the engine.
#[pyfunction]
pub fn filterable(name: &str, values: Vec<Literal>) -> bool {
    Column::from_name(name).is_some_and(|column| Filter::default().require(column, &literals(values)))
}

fn literals(values: Vec<Literal>) -> Vec<Value> {
    let value = |literal| match literal {
        Literal::Number(number) => Value::Number(number),
        Literal::Text(text) => Value::Text(text),
    };
    values.into_iter().map(value).collect()
}

/// How many threads to use: all processors unless told otherwise.
pub(super) fn threads(wanted: Option<usize>) -> usize {
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Lets Ctrl-C end a wait for more bytes.
pub(super) fn check_signals() -> Result<(), ArrowError> {
    Python::attach(|py: Python<'_>| py.check_signals())
        .map_err(|error| ArrowError::ExternalError(Box::new(error)))
}

/// What lets Ctrl-C end the work, and tells `progress` the number of packets so far.
pub(super) fn pausing(progress: Option<&Py<PyAny>>) -> impl FnMut(u64) -> Result<(), ArrowError> {
    move |packets| {
        Python::attach(|py| {
            py.check_signals()?;
            progress.map_or(Ok(()), |progress| progress.call1(py, (packets,)).map(drop))
        })
        .map_err(|error| ArrowError::ExternalError(Box::new(error)))
    }
}

/// A capture being read, once.
#[pyclass(frozen, module = "tapsight._core")]
pub struct Stream {
    reader: Mutex<Option<Reporting>>,
    schema: SchemaRef,
    warnings: Arc<Mutex<Vec<String>>>,
    error: Arc<Mutex<Option<ArrowError>>>,
}

/// The side table of this name.
fn side_table(name: &str) -> PyResult<messages::Kind> {
    messages::Kind::from_name(name).ok_or_else(|| {
        let known: Vec<_> = messages::Kind::ALL.iter().map(|kind| kind.name()).collect();
        PyValueError::new_err(format!("no table {name:?}; there are: packets, {}", known.join(", ")))
    })
}

/// Names of all side tables.
#[pyfunction]
pub fn table_names() -> Vec<&'static str> {
    messages::Kind::ALL.iter().map(|kind| kind.name()).collect()
}

/// What ends of conversations and calls are looked up in.
fn located(places: &Places, home: &[PyBackedStr]) -> PyResult<Located> {
    let home = home.iter().map(|code| country_of(code)).collect::<PyResult<_>>()?;
    Ok(Located { places: places.0.clone(), home })
}

/// The schema of the rows that a stage makes.
#[pyfunction]
#[pyo3(signature = (name, *, places=None))]
pub fn stage_schema(name: &str, places: Option<PyRef<'_, Places>>) -> PyResult<Table> {
    let schema = match name {
        "flows" => {
            let located = places.map(|places| located(&places, &[])).transpose()?;
            let options = flows::Options { located, ..flows::Options::default() };
            Flows::new(options).map_err(arrow_to_py)?.schema()
        }
        "media" => Voice::new(calls::Options::default(), media::Options::default()).schema(),
        "paths" => paths::flow_schema(),
        name => match calls::Table::from_name(name) {
            Some(table) => table.schema(places.is_some()),
            None => return Err(PyValueError::new_err(format!("no rows are called {name:?}"))),
        },
    };
    Ok(Table(RecordBatch::new_empty(schema)))
}

/// The schema of a side table with these columns, or all.
#[pyfunction]
#[pyo3(signature = (name, names=None))]
pub fn table_schema(name: &str, names: Option<Vec<String>>) -> PyResult<Table> {
    let schema = messages::schema(side_table(name)?);
    let schema = match names {
        None => schema,
        Some(names) => Arc::new(schema.project(&positions(&schema, &names)?).map_err(arrow_to_py)?),
    };
    Ok(Table(RecordBatch::new_empty(schema)))
}

/// Where the columns of these names stand.
fn positions(schema: &SchemaRef, names: &[String]) -> PyResult<Vec<usize>> {
    let position = |name: &String| {
        schema.index_of(name).map_err(|_| {
            let known: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            PyValueError::new_err(format!("no column {name:?}; there are: {}", known.join(", ")))
        })
    };
    names.iter().map(position).collect()
}

/// What reads a capture: the packets, the messages of a side table, or what a stage makes of them.
enum Rows {
    Packets(Box<Scan>),
    Staged(Box<Staged>),
    /// With the columns that are wanted, if not all are.
    Messages(Box<messages::Scan>, SchemaRef, Option<Vec<usize>>),
}

impl Rows {
    /// The warnings so far, if they are at hand. Unless this `is_end`, those of a reader that is busy have time.
    fn warnings(&self, is_end: bool) -> Option<Vec<String>> {
        let texts = |warnings: &[Warning]| warnings.iter().map(ToString::to_string).collect();
        match self {
            Self::Packets(scan) if is_end => Some(texts(scan.reader().warnings())),
            Self::Packets(scan) => scan.idle_reader().map(|reader| texts(reader.warnings())),
            Self::Staged(staged) if is_end => {
                let mut all: Vec<String> = texts(staged.reader().warnings());
                all.extend(staged.warnings());
                Some(all)
            }
            Self::Staged(_) => None,
            Self::Messages(scan, ..) => Some(texts(scan.reader().warnings())),
        }
    }

    fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        match self {
            Self::Packets(scan) => scan.next(),
            Self::Staged(staged) => staged.next(),
            Self::Messages(scan, _, None) => scan.next(),
            Self::Messages(scan, _, Some(wanted)) => {
                scan.next().map(|batch| batch.and_then(|batch| batch.project(wanted)))
            }
        }
    }

    fn schema(&self) -> SchemaRef {
        match self {
            Self::Packets(scan) => scan.schema(),
            Self::Staged(staged) => staged.schema(),
            Self::Messages(_, schema, _) => Arc::clone(schema),
        }
    }
}

/// A scan that reports the reader's warnings as they come, and keeps the error that ended it: what crosses the Arrow
/// interface is only its text.
struct Reporting {
    rows: Rows,
    warnings: Arc<Mutex<Vec<String>>>,
    error: Arc<Mutex<Option<ArrowError>>>,
}

impl Iterator for Reporting {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.rows.next();
        if let Some(warnings) = self.rows.warnings(batch.is_none()) {
            *self.warnings.lock().unwrap_or_else(PoisonError::into_inner) = warnings;
        }
        batch.map(|batch| {
            batch.map_err(|error| {
                let text = error.to_string();
                *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                ArrowError::ExternalError(text.into())
            })
        })
    }
}

impl RecordBatchReader for Reporting {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}

impl Stream {
    fn of(rows: Rows) -> Self {
        let (warnings, error) = (Arc::default(), Arc::default());
        let reporting = Reporting { rows, warnings: Arc::clone(&warnings), error: Arc::clone(&error) };
        Self { schema: reporting.schema(), reader: Mutex::new(Some(reporting)), warnings, error }
    }

    /// A capture past a stage.
    fn staged(
        py: Python<'_>,
        sources: Vec<Bound<'_, PyAny>>,
        tap: Option<String>,
        threads: Option<usize>,
        stage: Box<dyn Stage>,
    ) -> PyResult<Self> {
        let sources = sources.iter().map(source).collect::<PyResult<Vec<_>>>()?;
        let reader =
            py.detach(|| Reader::open(sources, Options { tap, ..Options::default() })).map_err(to_py)?;
        let options = ScanOptions { threads: self::threads(threads), ..ScanOptions::default() };
        let staged =
            Staged::new(stage, options, |options| Scan::new(reader, options).with_pause(check_signals));
        Ok(Self::of(Rows::Staged(Box::new(staged))))
    }
}

#[pymethods]
impl Stream {
    #[new]
    #[pyo3(signature = (sources, *, table="packets", tap=None, columns=None, batch_size=packets::BATCH_SIZE, filters=vec![], limit=None, threads=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        sources: Vec<Bound<'_, PyAny>>,
        table: &str,
        tap: Option<String>,
        columns: Option<Vec<String>>,
        batch_size: usize,
        filters: Vec<(String, Vec<Literal>)>,
        limit: Option<u64>,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let sources = sources.iter().map(source).collect::<PyResult<Vec<_>>>()?;
        let side_table = if table == "packets" { None } else { Some(self::side_table(table)?) };
        let mut filter = Filter::default();
        for (name, values) in filters {
            // A column that the engine cannot compare is left to the caller, who filters again anyway.
            if let Some(column) = Column::from_name(&name) {
                filter.require(column, &literals(values));
            }
        }
        let reader =
            py.detach(|| Reader::open(sources, Options { tap, ..Options::default() })).map_err(to_py)?;
        let rows = match side_table {
            None => {
                let threads = self::threads(threads);
                let columns = self::columns(columns)?;
                let options =
                    ScanOptions { columns, batch_size, filter, limit, threads, ..ScanOptions::default() };
                Rows::Packets(Box::new(Scan::new(reader, options).with_pause(check_signals)))
            }
            Some(kind) => {
                let schema = messages::schema(kind);
                let wanted = columns.map(|names| positions(&schema, &names)).transpose()?;
                let schema = match &wanted {
                    None => schema,
                    Some(wanted) => Arc::new(schema.project(wanted).map_err(arrow_to_py)?),
                };
                let scan = messages::Scan::new(reader, kind, batch_size).with_pause(check_signals);
                Rows::Messages(Box::new(scan), schema, wanted)
            }
        };
        Ok(Self::of(rows))
    }

    /// Conversations: what :func:`tapsight.flows` reads.
    #[staticmethod]
    #[pyo3(signature = (sources, *, tap=None, threads=None, idle_timeout_ns=None, active_timeout_ns=None, memory=None, places=None, home=Vec::new()))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords")]
    fn flows(
        py: Python<'_>,
        sources: Vec<Bound<'_, PyAny>>,
        tap: Option<String>,
        threads: Option<usize>,
        idle_timeout_ns: Option<i64>,
        active_timeout_ns: Option<i64>,
        memory: Option<usize>,
        places: Option<PyRef<'_, Places>>,
        home: Vec<PyBackedStr>,
    ) -> PyResult<Self> {
        let defaults = flows::Options::default();
        let options = flows::Options {
            idle_timeout: idle_timeout_ns.unwrap_or(defaults.idle_timeout),
            active_timeout: active_timeout_ns,
            memory: memory.unwrap_or(defaults.memory),
            located: places.map(|places| located(&places, &home)).transpose()?,
        };
        let stage = Flows::new(options).map_err(arrow_to_py)?;
        Self::staged(py, sources, tap, threads, Box::new(stage))
    }

    /// Calls: what :func:`tapsight.calls` reads.
    #[staticmethod]
    #[pyo3(signature = (sources, *, table="calls", tap=None, threads=None, places=None, home=Vec::new()))]
    fn calls(
        py: Python<'_>,
        sources: Vec<Bound<'_, PyAny>>,
        table: &str,
        tap: Option<String>,
        threads: Option<usize>,
        places: Option<PyRef<'_, Places>>,
        home: Vec<PyBackedStr>,
    ) -> PyResult<Self> {
        let table = calls::Table::from_name(table).ok_or_else(|| {
            let known: Vec<_> = calls::Table::ALL.iter().map(|table| table.name()).collect();
            PyValueError::new_err(format!(
                "no table of calls is named {table:?}; there are: {}",
                known.join(", ")
            ))
        })?;
        let located = places.map(|places| located(&places, &home)).transpose()?;
        let stage = Calls::new(&[table], calls::Options::default()).located(located);
        Self::staged(py, sources, tap, threads, Box::new(stage))
    }

    /// Media streams: what :func:`tapsight.media` reads.
    #[staticmethod]
    #[pyo3(signature = (sources, *, tap=None, threads=None, timeout_ns=None, limit=None))]
    fn media(
        py: Python<'_>,
        sources: Vec<Bound<'_, PyAny>>,
        tap: Option<String>,
        threads: Option<usize>,
        timeout_ns: Option<i64>,
        limit: Option<usize>,
    ) -> PyResult<Self> {
        let defaults = media::Options::default();
        let options = media::Options {
            timeout: timeout_ns.unwrap_or(defaults.timeout),
            limit: limit.unwrap_or(defaults.limit),
        };
        Self::staged(py, sources, tap, threads, Box::new(Voice::new(calls::Options::default(), options)))
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        let reader = reader.ok_or_else(|| PyValueError::new_err("this stream is being read already"))?;
        stream_capsule(py, Box::new(reader))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &self.schema)
    }

    /// Raises the error that ended the stream, if one did, as the exception it is.
    fn raise_error(&self) -> PyResult<()> {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        error.map_or(Ok(()), |error| Err(arrow_to_py(error)))
    }

    /// What was wrong with the capture as far as it has been read, a line each.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
