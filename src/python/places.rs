//! Where addresses belong, and whose telephone numbers are.

use std::path::Path;
use std::sync::Arc;

use pyo3::exceptions::{
    PyFileNotFoundError, PyIsADirectoryError, PyOSError, PyPermissionError, PyValueError,
};
use pyo3::prelude::*;

use super::arrow::{Table, import};
use super::arrow_to_py;
use crate::places::zones::{Members, Seen, Zones};
use crate::places::{self, Country, Error, Sources};

/// A zone: name, prefixes, VLANs, MPLS labels, MAC addresses, taps, code of the country.
type Zone = (String, Vec<String>, Vec<u16>, Vec<u32>, Vec<[u8; 6]>, Vec<String>, Option<String>);

fn to_py(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Content { .. } => PyValueError::new_err(text),
        Error::Io { source, .. } => match source.kind() {
            std::io::ErrorKind::NotFound => PyFileNotFoundError::new_err(text),
            std::io::ErrorKind::PermissionDenied => PyPermissionError::new_err(text),
            std::io::ErrorKind::IsADirectory => PyIsADirectoryError::new_err(text),
            _ => PyOSError::new_err(text),
        },
    }
}

/// What is known of addresses.
#[pyclass(frozen, module = "tapsight._core")]
pub struct Places(pub(super) Arc<places::Places>);

#[pymethods]
impl Places {
    #[new]
    #[pyo3(signature = (files, *, registered=true, zones=Vec::new()))]
    fn new(py: Python<'_>, files: Vec<String>, registered: bool, zones: Vec<Zone>) -> PyResult<Self> {
        let members = zones.into_iter().map(|(name, prefixes, vlans, mpls, macs, taps, country)| {
            let country = country.as_deref().map(country_of).transpose()?;
            Ok(Members { name, prefixes, vlans, mpls, macs, taps, country })
        });
        let members = members.collect::<PyResult<Vec<_>>>()?;
        let mut sources = Sources::default().zones(Zones::new(members).map_err(PyValueError::new_err)?);
        if registered {
            sources = sources.registered();
        }
        py.detach(move || {
            for file in &files {
                sources.read(Path::new(file))?;
            }
            Ok(Self(Arc::new(sources.build())))
        })
        .map_err(to_py)
    }

    /// A row for each address of a column: country, source, asn, network, zone and special.
    fn look_up(&self, py: Python<'_>, column: &Bound<'_, PyAny>) -> PyResult<Table> {
        let column = import(column)?;
        py.detach(|| places::look_up(&*column, &self.0)).map(Table).map_err(arrow_to_py)
    }

    /// The zone of what has this address and was seen so.
    #[pyo3(signature = (*, address=None, mac=None, mpls=Vec::new(), vlans=Vec::new(), taps=Vec::new()))]
    fn zone(
        &self,
        address: Option<[u8; 16]>,
        mac: Option<[u8; 6]>,
        mpls: Vec<u32>,
        vlans: Vec<u16>,
        taps: Vec<String>,
    ) -> Option<&str> {
        let taps: Vec<&str> = taps.iter().map(String::as_str).collect();
        let zones = self.0.zones();
        let zone = zones.of(address, Seen { mac, mpls: &mpls, vlans: &vlans, taps: &taps })?;
        zones.names().get(usize::from(zone)).map(String::as_str)
    }
}

/// A row for each telephone number of a column of text: country and name.
#[pyfunction]
pub fn look_up_numbers(py: Python<'_>, column: &Bound<'_, PyAny>) -> PyResult<Table> {
    let column = import(column)?;
    py.detach(|| places::look_up_numbers(&*column)).map(Table).map_err(arrow_to_py)
}

/// The country with this code.
pub(super) fn country_of(code: &str) -> PyResult<Country> {
    let wrong = || format!("{code:?} is not a country's code of two letters, such as DE");
    Country::from_code(code).ok_or_else(|| PyValueError::new_err(wrong()))
}

/// The English name of a country, by its code of two letters.
#[pyfunction]
pub fn country_name(code: &str) -> Option<&'static str> {
    Country::from_code(code)?.name()
}
