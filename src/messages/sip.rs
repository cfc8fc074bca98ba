//! SIP, RFC 3261 section 7.

use std::borrow::Cow;

use super::columns::{Text, U16, U32, table};
use super::{Frame, Table};
use crate::classify::{App, Basis};
use crate::dissect::Transport;
use crate::wire::{sctp, websocket};

table! {
    /// SIP requests and responses over UDP, TCP, SCTP and WebSocket (RFC 7118). Header fields are as captured, without the blanks around them.
    Sip, Row {
        /// Method of a request.
        method: Text,
        /// URI that a request is for.
        request_uri: Text,
        /// Status code of a response.
        status: U16,
        /// Call-ID.
        call_id: Text,
        /// Sequence number of the request.
        cseq: U32,
        /// Method of the request, also in responses.
        cseq_method: Text,
        /// From.
        from: Text,
        /// To.
        to: Text,
        /// Topmost Via.
        via: Text,
        /// First Contact.
        contact: Text,
        /// User-Agent, or Server in responses.
        user_agent: Text,
        /// P-Asserted-Identity (RFC 3325).
        asserted_identity: Text,
        /// Require.
        require: Text,
        /// Content-Type.
        content_type: Text,
        /// Content-Length.
        content_length: U32,
    }
}

/// Bytes of a header field that are kept.
const MAX_FIELD: usize = 1024;

impl Table for Sip {
    fn read(&mut self, frame: &Frame<'_>) {
        if frame.label.app != Some(App::Sip) || frame.label.basis != Some(Basis::Signature) {
            return;
        }
        let payload = frame.layers.payload;
        match frame.layers.transport {
            Transport::Sctp(_) => {
                for text in sctp::chunks(payload).filter_map(|chunk| chunk.user_data()) {
                    if let Some((row, _)) = message(text).filter(|_| is_message(text)) {
                        self.push(frame, row);
                    }
                }
            }
            Transport::Tcp(_) => match websocket::Frame::parse(payload) {
                Some(websocket) => {
                    let mut unmasked = vec![0; payload.len()];
                    self.stream(frame, websocket.unmask(payload, &mut unmasked));
                }
                None => self.stream(frame, payload),
            },
            _ => {
                if let Some((row, _)) = message(payload.trim_ascii_start()) {
                    self.push(frame, row);
                }
            }
        }
    }
}

impl Sip {
    /// Messages that follow each other; keep-alives (RFC 5626 section 3.5.1) stand between them.
    fn stream(&mut self, frame: &Frame<'_>, mut rest: &[u8]) {
        let mut is_first = true;
        loop {
            rest = rest.trim_ascii_start();
            // What follows the first message and is none is the rest of a body.
            let Some((row, len)) = message(rest).filter(|_| is_first || is_message(rest)) else { return };
            is_first = false;
            let body = row.content_length.unwrap_or(0) as usize;
            self.push(frame, row);
            rest = rest.get(len.saturating_add(body)..).unwrap_or_default();
        }
    }
}

/// The message that begins here, and how long its header is.
fn message(bytes: &[u8]) -> Option<(Row<'_>, usize)> {
    let mut lines = Lines { bytes, at: 0 };
    let mut row = start_line(lines.next()?)?;
    for line in lines.by_ref() {
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let name = name.trim_ascii();
        let is = |long: &str, short: &str| {
            name.eq_ignore_ascii_case(long.as_bytes())
                || !short.is_empty() && name.eq_ignore_ascii_case(short.as_bytes())
        };
        let field = if is("Call-ID", "i") {
            &mut row.call_id
        } else if is("From", "f") {
            &mut row.from
        } else if is("To", "t") {
            &mut row.to
        } else if is("Via", "v") {
            &mut row.via
        } else if is("Contact", "m") {
            &mut row.contact
        } else if is("User-Agent", "") || is("Server", "") {
            &mut row.user_agent
        } else if is("P-Asserted-Identity", "") {
            &mut row.asserted_identity
        } else if is("Require", "") {
            &mut row.require
        } else if is("Content-Type", "c") {
            &mut row.content_type
        } else {
            if is("Content-Length", "l") {
                row.content_length = number(value);
            } else if is("CSeq", "") {
                let mut words = value.splitn(2, u8::is_ascii_whitespace);
                row.cseq = words.next().and_then(number);
                row.cseq_method = words.next().map(|method| text(method.trim_ascii()));
            }
            continue;
        };
        // The first one counts.
        field.get_or_insert_with(|| text(value));
    }
    Some((row, lines.at))
}

/// Whether the first line names the version, at its beginning or its end.
fn is_message(bytes: &[u8]) -> bool {
    let line = Lines { bytes, at: 0 }.next().unwrap_or_default();
    line.starts_with(b"SIP/2.0 ") || line.ends_with(b" SIP/2.0")
}

fn start_line(line: &[u8]) -> Option<Row<'_>> {
    if let Some(status) = line.strip_prefix(b"SIP/2.0 ") {
        return Some(Row {
            status: status.get(..3).and_then(number).map(|code| code as u16),
            ..Row::default()
        });
    }
    let mut words = line.split(|&byte| byte == b' ');
    let (method, uri) = (words.next()?, words.next()?);
    let is_method = !method.is_empty()
        && method.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte));
    is_method.then(|| Row { method: Some(text(method)), request_uri: Some(text(uri)), ..Row::default() })
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes.get(..MAX_FIELD).unwrap_or(bytes));
    if !text.contains('\n') {
        return text;
    }
    // Folded: the end of a line and the blanks around it are one space.
    Cow::Owned(text.lines().map(str::trim).collect::<Vec<_>>().join(" "))
}

/// Lines without their ends; the last one may have none. A line goes on in the next if that begins with a blank (RFC 3261
/// section 7.3.1), unless it is empty.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let is_end = |&end: &usize| {
            let is_folded = matches!(rest.get(end + 1), Some(b' ' | b'\t'));
            !is_folded || matches!(rest.get(..end), Some([] | [b'\r']))
        };
        let end = memchr::memchr_iter(b'\n', rest).find(is_end);
        let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        self.at += line.len() + usize::from(end.is_some());
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}
