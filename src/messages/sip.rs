//! SIP, RFC 3261 section 7.

use super::columns::{Text, U16, U32, table};
use super::{Frame, Table};
use crate::classify::{App, Basis};
use crate::dissect::Transport;
use crate::wire::sip::{Message, Start, is_message, number, text};
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
    let message = Message::parse(bytes)?;
    let mut row = match message.start {
        Start::Request(method, uri) => {
            Row { method: Some(text(method)), request_uri: Some(text(uri)), ..Row::default() }
        }
        Start::Response(status) => Row { status, ..Row::default() },
    };
    for (name, value) in message.fields {
        let is = |long: &str, short: &str| name.is(long, short);
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
    Some((row, message.head_len))
}
