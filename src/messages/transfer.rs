//! Files that go over the network in the clear: TFTP (RFC 1350), FTP (RFC 959), HTTP (RFC 9110), and captures wherever one
//! begins.

use std::borrow::Cow;

use memchr::memmem;

use super::columns::{Text, table};
use super::{Frame, Table};
use crate::classify::{App, Basis};
use crate::dissect::Transport;

table! {
    /// Requests to read or write a file by TFTP, FTP (`RETR`, `STOR`, `STOU`, `APPE`) and HTTP (`PUT`, `POST`), and packets in which
    /// the content of a capture file begins.
    Transfer, Row {
        /// `tftp`, `ftp` or `http`; null where only the content tells.
        protocol: Text,
        /// What is asked for, in the words of the protocol: `RRQ`, `WRQ`, `RETR`, `STOR`, `STOU`, `APPE`, `PUT`, `POST`; null of a
        /// packet that only has content.
        operation: Text,
        /// Name of the file, or target of the request.
        name: Text,
        /// What the file is, if its content begins in this packet and is a capture: `pcap` or `pcapng`.
        content: Text,
    }
}

impl Table for Transfer {
    fn read(&mut self, frame: &Frame<'_>) {
        let payload = frame.layers.payload;
        let is_sure = frame.label.basis == Some(Basis::Signature);
        let before = self.common.len();
        match (frame.label.app.filter(|_| is_sure), frame.layers.transport) {
            (Some(App::Tftp), _) => {
                if let Some(row) = tftp(payload) {
                    self.push(frame, row);
                }
            }
            (Some(App::Ftp), _) => {
                for row in payload.split(|&byte| byte == b'\n').filter_map(ftp) {
                    self.push(frame, row);
                }
            }
            (Some(App::Http), _) => {
                if let Some(row) = http(payload) {
                    self.push(frame, row);
                }
            }
            _ => {}
        }
        if self.common.len() == before
            && let Some(content) = beginning(frame)
        {
            self.push(frame, Row { content: Some(content.into()), ..Row::default() });
        }
    }
}

/// The capture that begins in what a packet carries: at the beginning of a segment, as on FTP's data connections, or of the first
/// block of TFTP (RFC 1350 section 5), which goes between ports that the two agree on.
#[inline]
pub(super) fn beginning(frame: &Frame<'_>) -> Option<&'static str> {
    match (frame.layers.transport, frame.layers.payload) {
        (Transport::Tcp(_), payload) => capture(payload),
        (Transport::Udp(_), [0, 3, 0, 1, block @ ..]) => capture(block),
        _ => None,
    }
}

/// The kind of capture that begins here: magic number and version of pcap (draft-ietf-opsawg-pcap section 4, in either order of
/// bytes, with nanoseconds, and as the modified format of Linux has it), or block type and byte-order magic of pcapng
/// (draft-ietf-opsawg-pcapng section 4.1).
#[inline]
fn capture(bytes: &[u8]) -> Option<&'static str> {
    match *bytes {
        [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, ..]
        | [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, ..]
        | [0x34, 0xcd, 0xb2, 0xa1, 2, 0, ..]
        | [0xa1, 0xb2, 0xc3, 0xd4, 0, 2, ..]
        | [0xa1, 0xb2, 0x3c, 0x4d, 0, 2, ..]
        | [0xa1, 0xb2, 0xcd, 0x34, 0, 2, ..] => Some("pcap"),
        [0x0a, 0x0d, 0x0d, 0x0a, _, _, _, _, 0x1a, 0x2b, 0x3c, 0x4d, ..]
        | [0x0a, 0x0d, 0x0d, 0x0a, _, _, _, _, 0x4d, 0x3c, 0x2b, 0x1a, ..] => Some("pcapng"),
        _ => None,
    }
}

/// RFC 1350 section 5: operation, name and mode, both ended by a zero.
fn tftp(payload: &[u8]) -> Option<Row<'_>> {
    let (operation, rest) = match payload {
        [0, 1, rest @ ..] => ("RRQ", rest),
        [0, 2, rest @ ..] => ("WRQ", rest),
        _ => return None,
    };
    let name = rest.split(|&byte| byte == 0).next()?;
    Some(Row {
        protocol: Some("tftp".into()),
        operation: Some(operation.into()),
        name: Some(String::from_utf8_lossy(name)),
        ..Row::default()
    })
}

/// RFC 959 section 5.3: a command, a space, a name.
fn ftp(line: &[u8]) -> Option<Row<'_>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (word, name) = line.split_at_checked(4)?;
    let operation = ["RETR", "STOR", "STOU", "APPE"]
        .into_iter()
        .find(|operation| word.eq_ignore_ascii_case(operation.as_bytes()))?;
    let name = match name {
        [] => None,
        [b' ', name @ ..] => Some(name),
        _ => return None,
    };
    Some(Row {
        protocol: Some("ftp".into()),
        operation: Some(operation.into()),
        name: name.map(String::from_utf8_lossy),
        ..Row::default()
    })
}

/// RFC 9112 section 3: method, target, version; section 6: the content behind an empty line. Of other requests and of responses
/// only such as have a capture in them.
fn http(payload: &[u8]) -> Option<Row<'_>> {
    // The empty line is looked for as far as headers commonly go.
    let head = payload.get(..HEADERS).unwrap_or(payload);
    let body = memmem::find(head, b"\r\n\r\n").and_then(|end| payload.get(end + 4..));
    let content: Option<Cow<'_, str>> = body.and_then(capture).map(Into::into);
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let operation = match words.next() {
        Some(b"PUT") => "PUT",
        Some(b"POST") => "POST",
        _ => {
            let row = Row { protocol: Some("http".into()), content, ..Row::default() };
            return row.content.is_some().then_some(row);
        }
    };
    Some(Row {
        protocol: Some("http".into()),
        operation: Some(operation.into()),
        name: words.next().map(|name| String::from_utf8_lossy(name.strip_suffix(b"\r").unwrap_or(name))),
        content,
        ..Row::default()
    })
}

/// Bytes of a message in which its headers are expected to end.
const HEADERS: usize = 8192;
