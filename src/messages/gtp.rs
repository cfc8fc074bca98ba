//! GTP-C version 1, 3GPP TS 29.060, and 2, 3GPP TS 29.274: which tunnels are made between whom.

use super::columns::{Address, U8, U32, table};
use super::words::{Words, address};
use super::{Frame, Table};
use crate::classify::{App, Basis};

table! {
    /// GTP-C messages: the endpoints of tunnels that they make, change and end.
    Gtp, Row {
        /// 1 or 2.
        version: U8,
        /// Message: of version 1 (TS 29.060 section 7.1) 16 create request, 17 create response, 18 and 19 update, 20 and 21
        /// delete; of version 2 (TS 29.274 section 6.1) 32 create session request, 33 response, 34 and 35 modify bearer, 36
        /// and 37 delete.
        message: U8,
        /// Tunnel endpoint that the message is for; 0 before there is one.
        teid: U32,
        /// Sequence number.
        sequence: U32,
        /// Cause that a response gives: 128 and 16 are accepted, of version 1 and 2.
        cause: U8,
        /// Endpoint for further control messages that the sender gives.
        control_teid: U32,
        /// Address of the endpoint for control messages.
        control_address: Address,
        /// First endpoint for user data that the message gives.
        data_teid: U32,
        /// Address of that endpoint.
        data_address: Address,
        /// First address that a subscriber gets.
        subscriber: Address,
    }
}

impl Table for Gtp {
    fn read(&mut self, frame: &Frame<'_>) {
        if (frame.label.app, frame.label.basis) != (Some(App::Gtpc), Some(Basis::Signature)) {
            return;
        }
        let mut rest = frame.layers.payload;
        loop {
            let row = match rest.first().map(|first| first >> 5) {
                Some(1) => version1(rest),
                Some(2) => version2(rest),
                _ => None,
            };
            if let Some(row) = row {
                self.push(frame, row);
            }
            // Of version 2 another message may follow, TS 29.274 section 5.5.1.
            match *rest {
                [flags, _, hi, lo, ..] if flags >> 5 == 2 && flags & 0x10 != 0 => {
                    let len = 4 + usize::from(u16::from_be_bytes([hi, lo]));
                    rest = rest.get(len..).unwrap_or_default();
                }
                _ => return,
            }
        }
    }
}

/// TS 29.060 section 6: flags, message, length, endpoint; sequence number and more if one of three flags is set.
fn version1(bytes: &[u8]) -> Option<Row<'static>> {
    let mut words = Words(bytes);
    let flags = words.u8()?;
    let mut row = Row { version: Some(1), message: words.u8(), ..Row::default() };
    let length = words.u16()?;
    row.teid = words.u32();
    let mut body = Words(words.bytes(length.into()));
    if flags & 0x07 != 0 {
        row.sequence = body.u16().map(u32::from);
        body.u8();
        let mut next = body.u8();
        // Extension headers: a length in units of 4 bytes, the content, what comes next.
        while flags & 0x04 != 0 && next.is_some_and(|next| next != 0) {
            let Some(len @ 1..) = body.u8() else { return Some(row) };
            body.bytes(4 * usize::from(len) - 2);
            next = body.u8();
        }
    }
    elements1(&mut row, body);
    Some(row)
}

/// TS 29.060 section 7.7: below 128 of fixed length, above with a length. An element of unknown length ends the reading.
fn elements1(row: &mut Row<'_>, mut body: Words<'_>) -> Option<()> {
    let mut addresses = 0;
    loop {
        let kind = body.u8()?;
        let len = match kind {
            1 | 8 | 11 | 13..=15 | 19..=21 | 23 | 24 | 29 => 1,
            2 => 8,
            3 => 6,
            4 | 5 | 16 | 17 | 127 => 4,
            9 => 28,
            12 => 3,
            18 => 5,
            22 => 9,
            25..=28 => 2,
            128.. => body.u16()?.into(),
            _ => return None,
        };
        let value = body.bytes(len);
        let mut inside = Words(value);
        match kind {
            1 => row.cause = inside.u8(),
            16 => row.data_teid = inside.u32(),
            17 => row.control_teid = inside.u32(),
            // Section 7.7.27: organisation and type (IETF: 1; IPv4 0x21, IPv6 0x57, both 0x8D), addresses.
            128 => {
                row.subscriber = match value {
                    [0xf1, 0x8d, rest @ ..] if rest.len() > 16 => rest.get(..4).and_then(address),
                    [0xf1, 0x21 | 0x57 | 0x8d, rest @ ..] => address(rest),
                    _ => None,
                };
            }
            // Section 7.7.32: the first is for control, the second for data if the message makes an endpoint for it.
            133 => {
                match addresses {
                    0 => row.control_address = address(value),
                    1 if row.data_teid.is_some() => row.data_address = address(value),
                    _ => {}
                }
                addresses += 1;
            }
            _ => {}
        }
    }
}

/// TS 29.274 section 5.1: flags, message, length, endpoint if flag T is set, sequence number of 24 bits, spare.
fn version2(bytes: &[u8]) -> Option<Row<'static>> {
    let mut words = Words(bytes);
    let flags = words.u8()?;
    let mut row = Row { version: Some(2), message: words.u8(), ..Row::default() };
    let length = words.u16()?;
    let mut body = Words(words.bytes(length.into()));
    if flags & 0x08 != 0 {
        row.teid = body.u32();
    }
    row.sequence = body.u32().map(|sequence| sequence >> 8);
    elements2(&mut row, body, 0);
    Some(row)
}

/// Section 8.2: type, length, instance, value. A bearer context (93) holds elements itself.
fn elements2(row: &mut Row<'_>, mut body: Words<'_>, depth: u8) -> Option<()> {
    loop {
        let (kind, length, _) = (body.u8()?, body.u16()?, body.u8()?);
        let value = body.bytes(length.into());
        match kind {
            2 if depth == 0 => row.cause = value.first().copied(),
            // Section 8.14: kind of address, which an IPv6 prefix comes before.
            79 => {
                row.subscriber = match value {
                    [kind, rest @ ..] if kind & 7 == 1 => address(rest),
                    [kind, _, rest @ ..] if matches!(kind & 7, 2 | 3) => rest.get(..16).and_then(address),
                    _ => None,
                };
            }
            87 => endpoint(row, value),
            93 if depth == 0 => _ = elements2(row, Words(value), 1),
            _ => {}
        }
    }
}

/// Section 8.22: flags (V4, V6) and kind of interface, endpoint, addresses.
fn endpoint(row: &mut Row<'_>, value: &[u8]) {
    let mut words = Words(value);
    let (Some(flags), Some(teid)) = (words.u8(), words.u32()) else { return };
    let four = if flags & 0x80 != 0 { address(words.bytes(4)) } else { None };
    let address = four.or_else(|| if flags & 0x40 != 0 { address(words.bytes(16)) } else { None });
    // Those whose name ends in GTP-C; 8 and 9 are of another protocol.
    if matches!(flags & 0x3f, 8 | 9) {
        return;
    }
    let is_control = matches!(flags & 0x3f, 6 | 7 | 10..=14 | 17 | 18 | 24..=27 | 30 | 32 | 35 | 36 | 40);
    if is_control {
        if row.control_teid.is_none() {
            (row.control_teid, row.control_address) = (Some(teid), address);
        }
    } else if row.data_teid.is_none() {
        (row.data_teid, row.data_address) = (Some(teid), address);
    }
}
