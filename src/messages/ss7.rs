//! SS7 over IP: M3UA (RFC 4666), M2UA (RFC 3331), M2PA (RFC 4165) and SUA (RFC 3868), and what they carry: SCCP (ITU-T
//! Q.713), TCAP (ITU-T Q.773), ISUP (ITU-T Q.763), BICC (ITU-T Q.1902.3).

use std::borrow::Cow;

use super::columns::{Bool, Text, U8, U8s, U16, U32, table};
use super::snmp::oid;
use super::{Frame, Table};
use crate::dissect::Transport;
use crate::wire::isup::{Isup, Number, digits};
use crate::wire::sctp;

table! {
    /// M3UA, M2UA, M2PA and SUA messages; of those with data point codes, and what SCCP, TCAP or ISUP say.
    Ss7, Row {
        /// What carries it: `m3ua`, `m2ua`, `m2pa` or `sua`.
        adaptation: Text,
        /// Class and type of its message, the class in the high byte: of M3UA 0x0101 is data.
        message: U16,
        /// Originating point code. A routing label of M2UA and M2PA is read as ITU-T Q.704 section 2.2 has it.
        opc: U32,
        /// Destination point code, likewise.
        dpc: U32,
        /// Service indicator: 3 SCCP, 5 ISUP, 13 BICC.
        service: U8,
        /// Network indicator.
        network: U8,
        /// Kind of SCCP message: 9 unitdata, 17 extended unitdata.
        sccp_type: U8,
        /// Subsystem called: 6 HLR, 7 VLR, 8 MSC, 146 CAP, 149 SGSN.
        called_ssn: U8,
        /// Digits of the global title called.
        called_gt: Text,
        /// Subsystem calling.
        calling_ssn: U8,
        /// Digits of the global title calling.
        calling_gt: Text,
        /// TCAP message: `begin`, `continue`, `end`, `abort`, `unidirectional`.
        tcap: Text,
        /// Originating transaction.
        otid: U32,
        /// Destination transaction.
        dtid: U32,
        /// First component: `invoke`, `result`, `error`, `reject`.
        component: Text,
        /// Operation of the first component, if it has one: those of MAP are in 3GPP TS 29.002 section 17.5.
        operation: U8,
        /// Operations of all components that are invoked, in their order.
        invokes: U8s,
        /// Application context of the dialogue, if the message names one: of MAP (3GPP TS 29.002 section 17.3) `0.4.0.0.1.0`, what it is
        /// about, and the version.
        context: Text,
        /// Circuit of an ISUP message, 12 bits; call instance of one of BICC, 32 bits.
        cic: U32,
        /// Kind of ISUP or BICC message: 1 initial address, 12 release.
        isup_type: U8,
        /// Number called, of an initial address message: digits, with `+` if it is international.
        called: Text,
        /// Nature of that number: 1 subscriber, 2 unknown, 3 national, 4 international.
        called_nature: U8,
        /// Number calling, likewise.
        calling: Text,
        /// Nature of that number.
        calling_nature: U8,
        /// Whether that number must not be shown, or is not known.
        calling_restricted: Bool,
        /// Number that redirected the call last.
        redirecting: Text,
        /// Number that the call was for at first.
        original_called: Text,
        /// Why a call is released: cause value of ITU-T Q.850.
        cause: U8,
    }
}

impl Table for Ss7 {
    fn read(&mut self, frame: &Frame<'_>) {
        if !matches!(frame.layers.transport, Transport::Sctp(_)) {
            return;
        }
        for chunk in sctp::chunks(frame.layers.payload) {
            // IANA, SCTP Payload Protocol Identifiers.
            let row = match (chunk.payload_protocol(), chunk.user_data()) {
                (Some(2), Some(data)) => adapted("m2ua", data),
                (Some(3), Some(data)) => adapted("m3ua", data),
                (Some(4), Some(data)) => adapted("sua", data),
                (Some(5), Some(data)) => m2pa(data),
                _ => None,
            };
            if let Some(row) = row {
                self.push(frame, row);
            }
        }
    }
}

/// What M3UA, M2UA and SUA have in common, RFC 4666 section 3.1: version 1, reserved, class, type, length, parameters.
fn adapted(adaptation: &'static str, bytes: &[u8]) -> Option<Row<'static>> {
    let &[1, _, class, kind, _, _, _, _] = bytes.first_chunk()? else { return None };
    let mut row = Row {
        adaptation: Some(adaptation.into()),
        message: Some(u16::from_be_bytes([class, kind])),
        ..Row::default()
    };
    for (parameter, value) in parameters(bytes.get(8..).unwrap_or_default()) {
        match (adaptation, parameter) {
            ("m3ua", 0x0210) => protocol_data(&mut row, value),
            ("m2ua", 0x0300) => mtp3(&mut row, value),
            ("sua", 0x0102) => (row.calling_ssn, row.calling_gt, row.opc) = sua_address(value),
            ("sua", 0x0103) => (row.called_ssn, row.called_gt, row.dpc) = sua_address(value),
            ("sua", 0x010b) => _ = tcap(&mut row, value),
            _ => {}
        }
    }
    Some(row)
}

/// Parameters of tag, length and value, RFC 4666 section 3.2; the last as far as it was captured.
fn parameters(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let &[t_hi, t_lo, l_hi, l_lo] = bytes.first_chunk()?;
        let len = usize::from(u16::from_be_bytes([l_hi, l_lo]));
        let value = bytes.get(4..len).or_else(|| bytes.get(4..)).filter(|_| len >= 4)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_be_bytes([t_hi, t_lo]), value))
    })
}

/// RFC 4666 section 3.3.1.
fn protocol_data(row: &mut Row<'_>, value: &[u8]) {
    if let Some((&[a, b, c, d, e, f, g, h, service, network, _, _], data)) = value.split_first_chunk() {
        row.opc = Some(u32::from_be_bytes([a, b, c, d]));
        row.dpc = Some(u32::from_be_bytes([e, f, g, h]));
        row.network = Some(network);
        user_part(row, service, data);
    }
}

/// RFC 4165 section 2: the common header (class 11, 1 for user data), sequence numbers, priority, a unit of MTP3.
fn m2pa(bytes: &[u8]) -> Option<Row<'static>> {
    let &[1, _, 11, kind, _, _, _, _] = bytes.first_chunk()? else { return None };
    let mut row = Row {
        adaptation: Some("m2pa".into()),
        message: Some(u16::from_be_bytes([11, kind])),
        ..Row::default()
    };
    if let (1, Some(unit)) = (kind, bytes.get(17..)) {
        mtp3(&mut row, unit);
    }
    Some(row)
}

/// ITU-T Q.704 sections 14.2 and 2.2: service information (network indicator in the upper two bits), then the routing
/// label, low bits first: destination (14), origin (14), link (4).
fn mtp3(row: &mut Row<'_>, unit: &[u8]) {
    if let Some((&[service, a, b, c, d], data)) = unit.split_first_chunk() {
        let label = u32::from_le_bytes([a, b, c, d]);
        row.dpc = Some(label & 0x3fff);
        row.opc = Some(label >> 14 & 0x3fff);
        row.network = Some(service >> 6);
        user_part(row, service & 0x0f, data);
    }
}

fn user_part(row: &mut Row<'_>, service: u8, data: &[u8]) {
    row.service = Some(service);
    match service {
        3 => _ = sccp(row, data),
        // ITU-T Q.763 section 1.2: circuit (12 bits, low byte first), then the message.
        5 => {
            if let Some((&[low, high], message)) = data.split_first_chunk() {
                row.cic = Some(u16::from_le_bytes([low, high & 0x0f]).into());
                isup(row, message);
            }
        }
        // ITU-T Q.1902.3 section 5.2: call instance, low byte first.
        13 => {
            if let Some((&instance, message)) = data.split_first_chunk() {
                row.cic = Some(u32::from_le_bytes(instance));
                isup(row, message);
            }
        }
        _ => {}
    }
}

/// Subsystem, digits and point code of an address, RFC 3868 section 3.10.2: two indicators, then parameters.
fn sua_address(value: &[u8]) -> (Option<u8>, Option<Cow<'static, str>>, Option<u32>) {
    let (mut subsystem, mut title, mut point_code) = (None, None, None);
    for (parameter, value) in parameters(value.get(4..).unwrap_or_default()) {
        match (parameter, value) {
            // Three reserved bytes, indicator, count of digits, translation, plan, nature, digits.
            (0x8001, &[_, _, _, _, count, _, _, _, ref bytes @ ..]) => {
                let mut text = digits(bytes);
                text.truncate(count.into());
                title = Some(Cow::Owned(text));
            }
            (0x8002, &[a, b, c, d, ..]) => point_code = Some(u32::from_be_bytes([a, b, c, d])),
            (0x8003, &[_, _, _, number, ..]) => subsystem = Some(number),
            _ => {}
        }
    }
    (subsystem, title, point_code)
}

fn isup(row: &mut Row<'_>, message: &[u8]) {
    let Some(isup) = Isup::parse(message) else { return };
    let text = |number: &Option<Number>| number.as_ref().and_then(Number::text).map(Cow::Owned);
    row.isup_type = Some(isup.kind);
    row.called = text(&isup.called);
    row.called_nature = isup.called.as_ref().map(|number| number.nature);
    row.calling = text(&isup.calling);
    row.calling_nature = isup.calling.as_ref().map(|number| number.nature);
    row.calling_restricted = isup.calling.as_ref().map(|number| number.is_restricted);
    row.redirecting = text(&isup.redirecting);
    row.original_called = text(&isup.original_called);
    row.cause = isup.cause;
}

/// Connectionless messages, ITU-T Q.713 section 4.10 and 4.18: class, for the extended one a hop counter, then pointers to
/// called address, calling address and data, each counted from its own place.
fn sccp(row: &mut Row<'_>, bytes: &[u8]) -> Option<()> {
    let kind = *bytes.first()?;
    row.sccp_type = Some(kind);
    let pointers_at = match kind {
        9 => 2,
        17 => 3,
        _ => return None,
    };
    let part = |number: usize| {
        let at = pointers_at + number;
        let at = at + usize::from(*bytes.get(at)?);
        let len = usize::from(*bytes.get(at)?);
        let part = bytes.get(at + 1..)?;
        Some(part.get(..len).unwrap_or(part))
    };
    (row.called_ssn, row.called_gt) = address(part(0)?);
    (row.calling_ssn, row.calling_gt) = address(part(1)?);
    tcap(row, part(2)?)
}

/// Subsystem and digits, ITU-T Q.713 section 3.4.
fn address(bytes: &[u8]) -> (Option<u8>, Option<Cow<'static, str>>) {
    let Some((&indicator, mut rest)) = bytes.split_first() else { return (None, None) };
    if indicator & 0x01 != 0 {
        rest = rest.get(2..).unwrap_or_default();
    }
    let mut ssn = None;
    if indicator & 0x02 != 0 {
        ssn = rest.first().copied();
        rest = rest.get(1..).unwrap_or_default();
    }
    // Nature of address (its highest bit: an odd number of digits); translation type; and with numbering plan, whose low
    // half is odd for an odd number of digits; and all of these.
    let (header, is_odd) = match (indicator >> 2 & 0x0f, rest) {
        (1, &[nature, ..]) => (1, nature & 0x80 != 0),
        (2, _) => (1, false),
        (3, &[_, plan, ..]) => (2, plan & 0x0f == 1),
        (4, &[_, plan, _, ..]) => (3, plan & 0x0f == 1),
        _ => return (ssn, None),
    };
    let mut title = digits(rest.get(header..).unwrap_or_default());
    if is_odd {
        title.pop();
    }
    (ssn, Some(Cow::Owned(title)))
}

/// Elements of indefinite length that may lie within each other.
const MAX_DEPTH: u8 = 8;

/// Operations of one message that are kept.
const MAX_INVOKES: usize = 64;

/// The value of a BER element (ITU-T X.690 section 8.1), its tag, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    element_at(bytes, 0)
}

fn element_at(bytes: &[u8], depth: u8) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], mut rest) = bytes.split_first_chunk()?;
    let len = match first {
        0..0x80 => usize::from(first),
        0x80 => {
            // Of indefinite length: to the element of nothing that ends it (section 8.1.5).
            let value = rest.get(..indefinite(rest, depth)).unwrap_or(rest);
            return Some((tag, value, rest.get(value.len() + 2..).unwrap_or_default()));
        }
        0x81..=0x84 => {
            let (length, behind) = rest.split_at_checked(usize::from(first & 0x7f))?;
            rest = behind;
            length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte))
        }
        _ => return None,
    };
    let (value, behind) = rest.split_at_checked(len).unwrap_or((rest, &[]));
    Some((tag, value, behind))
}

/// How long a value of indefinite length is; all there is, where its end is missing.
fn indefinite(bytes: &[u8], depth: u8) -> usize {
    let mut rest = bytes;
    while !matches!(rest, [0, 0, ..]) {
        if depth == MAX_DEPTH {
            return bytes.len();
        }
        let Some((_, _, behind)) = element_at(rest, depth + 1) else { return bytes.len() };
        rest = behind;
    }
    bytes.len() - rest.len()
}

/// ITU-T Q.773 section 3.
fn tcap(row: &mut Row<'_>, bytes: &[u8]) -> Option<()> {
    let (tag, mut rest, _) = element(bytes)?;
    let message = match tag {
        0x61 => "unidirectional",
        0x62 => "begin",
        0x64 => "end",
        0x65 => "continue",
        0x67 => "abort",
        _ => return None,
    };
    row.tcap = Some(message.into());
    while let Some((tag, value, behind)) = element(rest) {
        let id = || (value.len() <= 4).then(|| value.iter().fold(0, |id, &byte| id << 8 | u32::from(byte)));
        match tag {
            0x48 => row.otid = id(),
            0x49 => row.dtid = id(),
            0x6b => row.context = context(value).map(Cow::Owned),
            0x6c => components(row, value),
            _ => {}
        }
        rest = behind;
    }
    Some(())
}

/// Q.773 section 4.2.3: in an external type an object identifier, then in a type of its own (tag 0xa0) a request (0x60) or response (0x61)
/// for a dialogue, of which 0xa1 holds the application context.
fn context(bytes: &[u8]) -> Option<String> {
    let inside = |bytes, wanted: &[u8]| {
        let mut rest = bytes;
        while let Some((tag, value, behind)) = element(rest) {
            if wanted.contains(&tag) {
                return Some(value);
            }
            rest = behind;
        }
        None
    };
    let dialogue = inside(inside(inside(bytes, &[0x28])?, &[0xa0])?, &[0x60, 0x61])?;
    inside(inside(dialogue, &[0xa1])?, &[0x06]).and_then(oid)
}

/// Q.773 section 3.2: one after the other.
fn components(row: &mut Row<'_>, bytes: &[u8]) {
    let (mut rest, mut invokes, mut is_first) = (bytes, Vec::new(), true);
    while let Some((tag, value, behind)) = element(rest) {
        rest = behind;
        let kind = match tag {
            0xa1 => "invoke",
            0xa2 | 0xa7 => "result",
            0xa3 => "error",
            0xa4 => "reject",
            _ => continue,
        };
        let operation = operation(value).filter(|_| matches!(kind, "invoke" | "result"));
        if is_first {
            row.component = Some(kind.into());
            row.operation = operation;
            is_first = false;
        }
        if kind == "invoke" && invokes.len() < MAX_INVOKES {
            invokes.extend(operation);
        }
    }
    row.invokes = (!invokes.is_empty()).then_some(invokes);
}

/// The invoke id; for an invoke that refers to another one (tag 0x80) that; then the operation, which in a result is the first
/// element of a sequence.
fn operation(component: &[u8]) -> Option<u8> {
    let (_, _, mut rest) = element(component)?;
    let (mut tag, mut inner, behind) = element(rest)?;
    if tag == 0x80 {
        rest = behind;
        (tag, inner, _) = element(rest)?;
    }
    if tag == 0x30 {
        (tag, inner, _) = element(inner)?;
    }
    match (tag, inner) {
        (0x02, &[operation]) => Some(operation),
        _ => None,
    }
}
