//! Real captures, read here and by Wireshark's tools: the same frames, times and lengths.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tapsight::capture::{Options, Reader, Source};

/// The collection of captures, or nothing after saying that it is missing.
fn captures() -> Option<PathBuf> {
    let dir = std::env::var_os("TAPSIGHT_CAPTURES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"), PathBuf::from);
    if dir.join("INDEX.tsv").is_file() {
        return Some(dir);
    }
    eprintln!("skipped: no captures in {} (set TAPSIGHT_CAPTURES)", dir.display());
    None
}

/// Standard output of a tool, whatever its exit code; nothing after saying that it is not installed.
fn run(tool: &str, args: &[&str], dir: &Path) -> Option<String> {
    match Command::new(tool).args(args).current_dir(dir).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            eprintln!("skipped: {tool} does not run: {error}");
            None
        }
    }
}

/// What was read of a capture.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    format: String,
    /// Time in ns, captured length, original length.
    frames: Vec<(i64, u32, u32)>,
    link: Option<u16>,
    warnings: Vec<String>,
    error: Option<String>,
}

fn read(path: &Path, mmap: bool) -> Read {
    let mut read = Read::default();
    let options = Options { mmap, ..Options::default() };
    let mut reader = match Reader::open(vec![Source::Path(path.into())], options) {
        Ok(reader) => reader,
        Err(error) => return Read { error: Some(error.to_string()), ..read },
    };
    loop {
        match reader.next_block() {
            Ok(Some(block)) => {
                assert_eq!(block.first_frame(), read.frames.len() as u64 + 1);
                for frame in block.frames() {
                    assert_eq!(frame.data.len(), frame.record.cap_len as usize);
                    read.frames.push((frame.record.ts, frame.record.cap_len, frame.record.wire_len));
                }
            }
            Ok(None) => break,
            Err(error) => {
                read.error = Some(error.to_string());
                break;
            }
        }
    }
    let file = &reader.files()[0];
    assert_eq!((file.first_frame, file.frames), (1, read.frames.len() as u64));
    read.format = file.format.to_string();
    read.link = reader.interfaces().first().map(|interface| interface.link.0);
    read.warnings = reader.warnings().iter().map(ToString::to_string).collect();
    read
}

/// Seconds with a fraction as Wireshark prints it, as nanoseconds; what does not fit becomes the last time that does.
/// Nothing if the fraction is none: some files have more than a million microseconds to a second.
fn nanos(seconds: &str) -> Option<i64> {
    let (whole, fraction) = seconds.split_once('.')?;
    if !matches!(fraction.len(), 6 | 9) {
        return None;
    }
    let fraction = format!("{fraction:0<9}");
    let nanos = whole.parse::<i128>().ok()? * 1_000_000_000 + i128::from(fraction.parse::<u32>().ok()?);
    Some(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// Rows of INDEX.tsv: file, frames, format.
fn index(dir: &Path) -> Vec<(String, Option<usize>, String)> {
    let text = fs::read_to_string(dir.join("INDEX.tsv")).unwrap();
    let row = |line: &str| {
        let cells: Vec<_> = line.split('\t').collect();
        (cells[0].to_owned(), cells[1].parse().ok(), cells[4].to_owned())
    };
    text.lines().skip(1).map(row).collect()
}

#[test]
fn frames_are_those_of_capinfos() {
    let Some(dir) = captures() else { return };
    let index = index(&dir);
    let mut args = vec!["-Tmr", "-MS", "-t", "-E", "-c", "-d", "-a", "-e"];
    args.extend(index.iter().map(|(file, ..)| file.as_str()));
    let Some(output) = run("capinfos", &args, &dir) else { return };
    let mut expected = HashMap::new();
    for line in output.lines() {
        let mut cells = line.rsplitn(7, ',');
        let mut cell = || cells.next().unwrap().to_owned();
        let (end, start, bytes, count, encap, format, file) =
            (cell(), cell(), cell(), cell(), cell(), cell(), cell());
        expected.insert(file, (format, encap, count.parse::<usize>().unwrap(), bytes, start, end));
    }
    assert!(expected.len() * 10 > index.len() * 9, "capinfos reads nearly all of them");

    let mut failures = Vec::new();
    for (file, packets, _) in &index {
        let read = read(&dir.join(file), true);
        let mut fail =
            |what: String| failures.push(format!("{file}: {what}; {:?} {:?}", read.warnings, read.error));
        if let Some(packets) = packets
            && read.error.is_none()
            && read.frames.len() != *packets
        {
            fail(format!("{} frames, listed {packets}", read.frames.len()));
        }
        let Some((format, encap, count, bytes, start, end)) = expected.get(file) else {
            // Refused by capinfos: for what it is, or for a link type that it does not know.
            if read.error.is_none()
                && read.warnings.is_empty()
                && packets.is_none_or(|it| it != read.frames.len())
            {
                fail("refused by capinfos, but read without a word".into());
            }
            continue;
        };
        if read.error.is_some() {
            // A capture of another format; the error names it.
            if format == "pcap" || format == "pcapng" {
                fail(format!("not read, but capinfos does, as {format}"));
            }
            continue;
        }
        if read.frames.len() != *count {
            fail(format!("{} frames, capinfos has {count}", read.frames.len()));
            continue;
        }
        if &read.format != format {
            fail(format!("format {}, capinfos has {format}", read.format));
        }
        // A pseudo-header of these is part of the frame here, but not in Wireshark.
        let pseudo =
            ["erf", "bluetooth-h4-linux", "atm-pdus", "mtp2-with-phdr", "irda", "ppp-with-direction", "lapd"];
        let sum: u64 = read.frames.iter().map(|frame| u64::from(frame.2)).sum();
        if sum.to_string() != *bytes && !pseudo.contains(&encap.as_str()) {
            fail(format!("{sum} bytes on the wire, capinfos has {bytes} for {encap}"));
        }
        // capinfos has no times where a packet has none, overflows where the fraction is no fraction, and gets the
        // least and greatest wrong where they are far apart.
        let times = read.frames.iter().map(|frame| frame.0);
        let (Some(first), Some(last)) = (times.clone().min(), times.max()) else { continue };
        let (Some(start_ns), Some(end_ns)) = (nanos(start), nanos(end)) else { continue };
        let sane = last - first < i64::from(u32::MAX / 2) * 1_000_000_000 && end_ns < i64::MAX;
        if sane && (first, last) != (start_ns, end_ns) && encap != "erf" {
            fail(format!("from {first:?} to {last:?}, capinfos has {start} to {end}"));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_stream_has_the_frames_of_a_mapping() {
    let Some(dir) = captures() else { return };
    for (file, ..) in index(&dir) {
        assert_eq!(read(&dir.join(&file), true), read(&dir.join(&file), false), "{file}");
    }
}

#[test]
fn each_frame_is_that_of_tshark() {
    let Some(dir) = captures() else { return };
    let unusual = |file: &str, format: &str| {
        let name = file.to_lowercase();
        !matches!(format, "pcap-le-us" | "pcapng")
            || ["pcapng-test-generator", "tsresol", "nano", "resol", "section", "version", "variant"]
                .iter()
                .any(|part| name.contains(part))
    };
    let index = index(&dir);
    let sample = index
        .iter()
        .enumerate()
        .filter(|(number, (file, _, format))| number % 40 == 0 || unusual(file, format));
    let mut compared = 0;
    for (_, (file, ..)) in sample {
        let fields = ["frame.time_epoch", "frame.cap_len", "frame.len", "_ws.col.Protocol"];
        let mut args = vec!["-n", "-r", file, "-T", "fields"];
        args.extend(fields.iter().flat_map(|field| ["-e", field]));
        let Some(output) = run("tshark", &args, &dir) else { return };
        let read = read(&dir.join(file), true);
        if read.error.is_some() {
            continue;
        }
        // tshark counts custom blocks of pcapng as frames.
        let lines: Vec<_> = output.lines().filter(|line| !line.ends_with("\tPCAPNG")).collect();
        // A link type that Wireshark does not know keeps it from reading at all.
        if lines.is_empty() {
            continue;
        }
        assert_eq!(lines.len(), read.frames.len(), "{file}");
        for (number, (line, (ts, cap_len, wire_len))) in lines.iter().zip(&read.frames).enumerate() {
            let cells: Vec<_> = line.split('\t').collect();
            let context = || format!("{file}, frame {}: {line}", number + 1);
            assert_eq!(cells[1..3], [cap_len.to_string(), wire_len.to_string()], "{}", context());
            if let Some(expected) = nanos(cells[0]) {
                assert_eq!(*ts, expected, "{}", context());
                compared += 1;
            }
        }
    }
    assert!(compared > 1000, "{compared} frames compared");
}
