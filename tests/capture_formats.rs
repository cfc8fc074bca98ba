//! Files that Wireshark's `editcap` writes: those of the pcap family are read, others named with a command that works.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tapsight::capture::{Error, Options, Reader, Source};

/// Time in ns and the bytes of each frame.
type Frames = Vec<(i64, Vec<u8>)>;

/// A directory of its own for a test, with a name that a shell must not see unquoted; removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("tapsight {test}'s {}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// A pcap file with a few Ethernet frames: 60 bytes, type 0x88b5 (IEEE 802 local experimental).
    fn capture(&self) -> PathBuf {
        let mut file = Vec::new();
        file.extend(
            [0xa1b2_c3d4_u32, 0x0002_0004, 0, 0, 65535, 1].iter().flat_map(|word| word.to_be_bytes()),
        );
        for number in 0..5_u8 {
            let words = [1_300_000_000 + u32::from(number), 250_000, 60, 60];
            file.extend(words.iter().flat_map(|word| word.to_be_bytes()));
            file.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
            file.extend([number; 46]);
        }
        let path = self.0.join("plain.pcap");
        fs::write(&path, file).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(path: &Path) -> Result<(String, Frames), Error> {
    let mut reader = Reader::open(vec![Source::Path(path.into())], Options::default())?;
    let mut frames = Frames::new();
    while let Some(block) = reader.next_block()? {
        frames.extend(block.frames().map(|frame| (frame.record.ts, frame.data.to_vec())));
    }
    assert_eq!(reader.warnings(), []);
    Ok((reader.files()[0].format.to_string(), frames))
}

/// What `editcap -F format` makes of a capture; nothing if this editcap cannot, or there is none.
fn editcap(format: &str, from: &Path) -> Option<PathBuf> {
    let to = from.with_file_name(format!("it's a {format}.cap"));
    match Command::new("editcap").args(["-F", format]).args([from, &to]).output() {
        Ok(output) if output.status.success() => Some(to),
        Ok(_) => {
            eprintln!("skipped: this editcap writes no {format}");
            None
        }
        Err(error) => {
            eprintln!("skipped: editcap does not run: {error}");
            None
        }
    }
}

#[test]
fn the_pcap_family_is_read() {
    let scratch = Scratch::new("family");
    let plain = scratch.capture();
    let (_, frames) = read(&plain).unwrap();
    assert_eq!(frames.len(), 5);
    assert_eq!(frames[4].0, 1_300_000_004_250_000_000);
    for format in ["pcap", "nsecpcap", "modpcap", "rh6_1pcap", "suse6_3pcap", "nokiapcap", "pcapng"] {
        if let Some(path) = editcap(format, &plain) {
            assert_eq!(read(&path).unwrap(), (format.to_owned(), frames.clone()));
        }
    }
}

#[test]
fn others_are_named_and_the_command_converts_them() {
    let scratch = Scratch::new("others");
    let plain = scratch.capture();
    let (_, frames) = read(&plain).unwrap();
    for (option, expected) in [
        ("snoop", "Sun snoop"),
        ("netmon1", "Microsoft NetMon 1.x"),
        ("netmon2", "Microsoft NetMon 2.x"),
        ("ngsniffer", "Sniffer (DOS)"),
        ("ngwsniffer_1_1", "NetXRay or Sniffer (Windows)"),
        ("ngwsniffer_2_0", "NetXRay or Sniffer (Windows)"),
        ("lanalyzer", "Novell LANalyzer"),
        ("visual", "Visual Networks"),
        ("nettl", "HP-UX nettl"),
        ("observer", "Network Instruments Observer"),
        ("5views", "InfoVista 5View"),
        ("k12text", "K12 text"),
    ] {
        let Some(path) = editcap(option, &plain) else { continue };
        let error = read(&path).unwrap_err();
        let Error::Unsupported { format, command, .. } = error else { panic!("{option}: {error}") };
        assert_eq!(format, expected);
        if option == "observer" {
            // Some versions of editcap do not read what they write.
            continue;
        }
        let status = Command::new("sh").args(["-c", &command]).status().unwrap();
        assert!(status.success(), "{command}");
        let (_, converted) = read(&PathBuf::from(format!("{}.pcapng", path.display()))).unwrap();
        // Of the times, not all formats keep all digits, or the year.
        let data = |frames: &Frames| frames.iter().map(|frame| frame.1[..60].to_vec()).collect::<Vec<_>>();
        assert_eq!(data(&converted), data(&frames), "{option}");
    }
}

#[test]
fn endace_erf_is_named_though_it_has_no_magic_number() {
    let scratch = Scratch::new("erf");
    let (_, frames) = read(&scratch.capture()).unwrap();
    let mut file = Vec::new();
    for (ts, frame) in &frames {
        // Time in 2^-32 s, least significant byte first; the rest is big-endian: type 2 (Ethernet), flags (varying
        // length), record length, lost frames, length on the wire with FCS, two bytes of padding.
        let seconds = (*ts / 1_000_000_000) as u64;
        file.extend((seconds << 32 | 1 << 30).to_le_bytes());
        file.extend([2, 4, 0, 16 + 2 + 60, 0, 0, 0, 64, 0, 0]);
        file.extend(frame);
    }
    let path = scratch.0.join("two words.erf");
    fs::write(&path, file).unwrap();
    let error = read(&path).unwrap_err();
    let Error::Unsupported { format, command, .. } = error else { panic!("{error}") };
    assert_eq!(format, "Endace ERF");
    if let Some(to) = editcap("pcapng", &path) {
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
        assert_eq!(fs::read(path.with_extension("erf.pcapng")).unwrap(), fs::read(to).unwrap());
    }
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_read_as_a_stream() {
    let scratch = Scratch::new("pipe");
    let plain = scratch.capture();
    let pipe = scratch.0.join("pipe");
    if !Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        return eprintln!("skipped: mkfifo does not run");
    }
    let bytes = fs::read(&plain).unwrap();
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, bytes).unwrap()
    });
    assert_eq!(read(&pipe).unwrap(), read(&plain).unwrap());
    writer.join().unwrap();
}
