//! Files that say where addresses belong.

mod csv;
mod mmdb;
mod rir;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::{Country, Error, Sources};

/// Bytes that a line may have.
const LONGEST_LINE: u64 = 1 << 16;

/// Reads a file of any kind, told apart by how it begins.
pub(super) fn file(path: &Path, sources: &mut Sources) -> Result<(), Error> {
    let name = path.display().to_string();
    let io = |source| Error::Io { name: name.clone(), source };
    let content = |(line, what)| Error::Content { name: name.clone(), line, what };
    let file = File::open(path).map_err(io)?;
    let mut input = BufReader::with_capacity(LONGEST_LINE as usize, file);
    let begin = input.fill_buf().map_err(io)?;
    if begin.starts_with(&[0x1f, 0x8b]) || begin.starts_with(b"PK\x03\x04") {
        return Err(content((None, "compressed: unpack it first".to_owned())));
    }
    let is_mmdb = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("mmdb"));
    // The first node of a MaxMind DB has small numbers in it, of three bytes and more; text has no zeros.
    if is_mmdb || memchr::memchr(0, begin).is_some() {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes).map_err(io)?;
        return mmdb::read(&bytes, sources).map_err(|what| content((None, what)));
    }
    let mut lines = Lines { input, number: 0, line: Vec::new() };
    let mut table = None;
    loop {
        let line = match lines.next() {
            Ok(Some(line)) => line,
            Ok(None) if table.is_none() => return Err(content((None, "empty".to_owned()))),
            Ok(None) => return Ok(()),
            Err(LineError::Io(source)) => return Err(io(source)),
            Err(LineError::Long) => {
                let what = format!("a line of more than {LONGEST_LINE} bytes: this is no table of addresses");
                return Err(content((Some(lines.number), what)));
            }
        };
        let done = match &table {
            None => Table::begin(&line, sources).map(|begun| table = Some(begun)),
            Some(Table::Csv(columns)) => columns.row(&line, sources),
            Some(Table::Rir) => rir::row(&line, sources),
        };
        done.map_err(|what| content((Some(lines.number), what)))?;
    }
}

/// Kinds of text.
enum Table {
    Csv(csv::Columns),
    Rir,
}

impl Table {
    /// The kind of the text that begins with this line.
    fn begin(line: &str, sources: &mut Sources) -> Result<Self, String> {
        if line.contains('|') {
            return rir::row(line, sources).map(|()| Self::Rir);
        }
        let (columns, is_row) = csv::Columns::new(line)?;
        if is_row {
            columns.row(line, sources)?;
        }
        Ok(Self::Csv(columns))
    }
}

enum LineError {
    Io(std::io::Error),
    Long,
}

/// The lines of a text that say something: neither empty nor comments.
struct Lines<R> {
    input: R,
    /// Of the last one, from 1.
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<String>, LineError> {
        loop {
            self.line.clear();
            self.number = self.number.saturating_add(1);
            let length = self.input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.line);
            if length.map_err(LineError::Io)? == 0 {
                return Ok(None);
            }
            if self.line.len() as u64 == LONGEST_LINE && !self.line.ends_with(b"\n") {
                return Err(LineError::Long);
            }
            let text = String::from_utf8_lossy(&self.line);
            // A byte order mark is no part of the text.
            let text = if self.number == 1 { text.strip_prefix('\u{feff}').unwrap_or(&text) } else { &text };
            let text = text.trim_end_matches(['\r', '\n']);
            if !text.trim().is_empty() && !text.starts_with('#') {
                return Ok(Some(text.to_owned()));
            }
        }
    }
}

/// A country as files write it: none if they leave it out, or say that it is not known.
fn country(text: &str) -> Result<Option<Country>, String> {
    let text = text.trim();
    if matches!(text, "" | "-" | "?" | "??" | "None" | "ZZ" | "zz") {
        return Ok(None);
    }
    let country = Country::from_code(text);
    country.map(Some).ok_or_else(|| format!("{text:?} is not a country's code of two letters, such as DE"))
}

/// A number of a network as files write it, with or without `AS`.
fn asn(text: &str) -> Result<Option<u32>, String> {
    let text = text.trim();
    if matches!(text, "" | "-" | "0" | "None") {
        return Ok(None);
    }
    let digits = text.strip_prefix("AS").or_else(|| text.strip_prefix("as")).unwrap_or(text);
    let wrong = || format!("{text:?} is not the number of a network, such as 64500 or AS64500");
    digits.parse().map(Some).map_err(|_| wrong())
}
