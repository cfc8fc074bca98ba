//! What else a file may be: a capture of another format, with the command that converts it, or no capture at all.

use super::Error;
use super::compression::Compression;

/// Bytes from the start of a file that are looked at.
pub(super) const HEAD: usize = 512;

/// Capture formats that Wireshark's `editcap` reads, by what they begin with.
const CAPTURES: &[(&[u8], &str)] = &[
    (b"snoop\0\0\0", "Sun snoop"),
    (b"RTSS", "Microsoft NetMon 1.x"),
    (b"GMBU", "Microsoft NetMon 2.x"),
    (b"XCP\0", "NetXRay or Sniffer (Windows)"),
    (b"VL\0\0", "NetXRay 1.0"),
    (b"TRSNIFF data    \x1a", "Sniffer (DOS)"),
    (b"\x05VNF", "Visual Networks"),
    (b"\x00\x00\x02\x00\x12\x05\x00\x10", "Tektronix K12 (.rf5)"),
    (b"+---------+---------------+----------+", "K12 text"),
    (b"TR\x00\x64\x00\x00\x00\x00\x00\x00\x00\x80", "HP-UX nettl"),
    (b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x07\xd0\x00", "HP-UX 9 nettl"),
    (b"iptrace 1.0", "AIX iptrace 1.0"),
    (b"iptrace 2.0", "AIX iptrace 2.0"),
    (b"ObserverPktBuffe", "Network Instruments Observer"),
    (b"\xaa\xaa\xaa\xaa\x20\x00\x00\x00", "InfoVista 5View"),
    (b"btsnoop\0", "btsnoop"),
    (b"\x01\x10\x4c\x00\x01\x05Trace Display Trace File", "Novell LANalyzer"),
    (b"\x7fver", "Savvius (WildPackets) tagged"),
];

/// Files that are no captures, by what they begin with.
const OTHERS: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "a ZIP archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"%PDF-", "a PDF document"),
    (b"\x7fELF", "an ELF executable"),
    (b"tapsight digest\n", "a digest that tapsight made: a check reads those, from files and uncompressed"),
    (b"tapsight state\r\n", "what a check has saved with --state"),
    (b"<?xml", "XML text"),
    (b"<html", "an HTML page"),
    (b"<!DOCTYPE", "an HTML page"),
];

/// Why a source that begins with `head`, after decompression, is not read.
pub(super) fn identify(name: &str, head: &[u8], compression: Option<Compression>) -> Error {
    let unsupported = |format, command| Error::Unsupported { name: name.to_owned(), format, command };
    let editcap = |format: &'static str| {
        // These can hold a different kind of frame in each record, which pcapng cannot; say what they are.
        let tool =
            if format.ends_with("nettl") || format == "K12 text" { "editcap -T ether" } else { "editcap" };
        unsupported(format, convert(tool, name))
    };
    if let Some((_, format)) = CAPTURES.iter().find(|(magic, _)| head.starts_with(magic)) {
        return editcap(format);
    }
    if compression.is_none() {
        if head.starts_with(b"\xfd7zXZ\0") {
            return unsupported("xz-compressed", decompress("xz", ".xz", name));
        }
        if matches!(head, [b'B', b'Z', b'h', b'1'..=b'9', ..]) {
            return unsupported("bzip2-compressed", decompress("bzip2", ".bz2", name));
        }
    }
    if is_erf(head) {
        return editcap("Endace ERF");
    }
    if is_hex_dump(head) {
        return unsupported("hex dump", convert("text2pcap", name));
    }
    let inside =
        compression.map_or(String::new(), |it| format!("it is {}-compressed, and inside ", it.name()));
    let other = OTHERS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, what)| *what);
    let found = match other.or_else(|| text(head)) {
        _ if head.is_empty() => "it is empty".to_owned(),
        Some(what) => format!("it is {what}"),
        None => {
            let start: Vec<_> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("it begins with {}", start.join(" "))
        }
    };
    Error::NotACapture { name: name.to_owned(), found: inside + &found }
}

/// A command that reads `name` and writes a pcapng file beside it.
fn convert(tool: &str, name: &str) -> String {
    match name {
        "stdin" => format!("{tool} - capture.pcapng"),
        name => format!("{tool} {} {}", quote(name), quote(&format!("{name}.pcapng"))),
    }
}

/// A command that decompresses `name` into a file beside it.
fn decompress(tool: &str, suffix: &str, name: &str) -> String {
    match name {
        "stdin" => format!("{tool} -dc > capture.pcapng"),
        name => {
            let plain = name.strip_suffix(suffix).map_or_else(|| format!("{name}.plain"), str::to_owned);
            format!("{tool} -dc -- {} > {}", quote(name), quote(&plain))
        }
    }
}

/// A file name as one word of a POSIX shell, and never an option.
fn quote(name: &str) -> String {
    let name = if name.starts_with('-') { format!("./{name}") } else { name.to_owned() };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(&byte);
    if !name.is_empty() && name.bytes().all(plain) {
        name
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}

/// Whether it looks like Endace's Extensible Record Format, which has no magic number: two records of a known type,
/// the second not before the first, or one that fills the file.
fn is_erf(head: &[u8]) -> bool {
    let record = |bytes: &[u8]| -> Option<(u64, usize)> {
        let (&time, rest) = bytes.split_first_chunk::<8>()?;
        let &[kind, flags, len0, len1, _, _, wire0, wire1] = rest.first_chunk::<8>()?;
        let len = usize::from(u16::from_be_bytes([len0, len1]));
        let wire_len = u16::from_be_bytes([wire0, wire1]);
        // Type 0 and those after 48 are not assigned; flags has two reserved bits. Times are in 2^-32 s.
        let known = matches!(kind & 0x7f, 1..=48) && flags & 0xc0 == 0 && len >= 16 && wire_len > 0;
        let time = u64::from_le_bytes(time);
        (known && time >> 32 > 0).then_some((time, len))
    };
    let Some((first, len)) = record(head) else { return false };
    match head.get(len..) {
        Some([]) => true,
        Some(next) => record(next).is_some_and(|(second, _)| second >= first),
        None => false,
    }
}

/// Whether it is text in the form of `od -A x -t x1` or `hexdump -C`: an offset of zeros, then bytes.
fn is_hex_dump(head: &[u8]) -> bool {
    let zeros = head.iter().take_while(|&&byte| byte == b'0').count();
    let rest = head.get(zeros..).unwrap_or_default().trim_ascii_start();
    (3..=8).contains(&zeros)
        && matches!(rest, [a, b, b' ' | b'\n' | b'\r', ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
        && text(head).is_some()
}

/// What kind of text it is, if it is any.
fn text(head: &[u8]) -> Option<&'static str> {
    let printable = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..);
    if head.is_empty() || !head.iter().all(printable) {
        return None;
    }
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    Some(match head.trim_ascii_start() {
        [b'{' | b'[', ..] => "JSON text",
        _ if line.contains(&b',') => "CSV text",
        _ => "text",
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{memory, open};
    use super::*;

    fn error(name: &str, bytes: &[u8]) -> String {
        open(vec![memory(name, bytes)]).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_capture_is_named() {
        for (bytes, found) in [
            (&b""[..], "it is empty"),
            (b"\0", "it begins with 00"),
            (b"\x00\x01\x02\x03\x04\x05\x06\x07\x08", "it begins with 00 01 02 03 04 05 06 07"),
            (b"PK\x03\x04rest", "it is a ZIP archive"),
            (b"{\"layers\": 1}", "it is JSON text"),
            (b" [1]", "it is JSON text"),
            (b"\"No.\",\"Time\"\n\"1\",\"0.0\"\n", "it is CSV text"),
            (b"Hello", "it is text"),
        ] {
            assert_eq!(error("a b", bytes), format!("a b: not a packet capture: {found}"));
        }
    }

    #[test]
    fn what_can_be_converted_comes_with_the_command() {
        for (name, bytes, format, command) in [
            ("a.cap", &b"snoop\0\0\0\0\0\0\x02"[..], "Sun snoop", "editcap a.cap a.cap.pcapng"),
            ("it's", b"RTSS", "Microsoft NetMon 1.x", r"editcap 'it'\''s' 'it'\''s.pcapng'"),
            ("-r", b"iptrace 2.0", "AIX iptrace 2.0", "editcap ./-r ./-r.pcapng"),
            ("stdin", b"XCP\0", "NetXRay or Sniffer (Windows)", "editcap - capture.pcapng"),
            ("a.pcap.xz", b"\xfd7zXZ\0", "xz-compressed", "xz -dc -- a.pcap.xz > a.pcap"),
            ("a", b"BZh91AY", "bzip2-compressed", "bzip2 -dc -- a > a.plain"),
            ("d", b"000000 45 00 00 1c\n", "hex dump", "text2pcap d d.pcapng"),
        ] {
            assert_eq!(
                error(name, bytes),
                format!(
                    "{name}: this is a {format} capture, which is not read here; convert it with: {command}"
                )
            );
        }
    }

    #[test]
    fn a_quoted_name_is_one_word_of_a_shell() {
        for name in [
            "plain-1.pcap",
            "a b",
            "it's",
            "$HOME",
            "`id`",
            "a;b",
            "new\nline",
            "--",
            "ä",
            "\\",
            "*",
            "~",
            "#x",
            "a=b",
        ] {
            let script = format!("printf '%s|' {}", quote(name));
            let output = match std::process::Command::new("sh").args(["-c", &script]).output() {
                Ok(output) => output,
                Err(error) => return eprintln!("skipped: sh does not run: {error}"),
            };
            let word = String::from_utf8(output.stdout).unwrap();
            assert_eq!(word.strip_prefix("./").unwrap_or(&word), format!("{name}|"));
        }
    }
}
