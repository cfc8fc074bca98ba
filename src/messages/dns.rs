//! DNS, RFC 1035 section 4.

use std::borrow::Cow;

use super::columns::{Address, Bool, Text, U8, U16, U32, U64, table};
use super::{Frame, Table};
use crate::classify::{App, Basis};
use crate::dissect::Transport;
use crate::hash;
use crate::wire::ip::Addr;

table! {
    /// DNS messages over UDP and TCP, multicast DNS and LLMNR: header, first question, first address.
    Dns, Row {
        /// Identifier.
        id: U16,
        /// Whether this is a response.
        is_response: Bool,
        /// Operation.
        opcode: U8,
        /// Whether the server says that it is an authority; null of LLMNR.
        is_authoritative: Bool,
        /// Whether the message was cut short.
        is_truncated: Bool,
        /// Response code.
        rcode: U8,
        /// Questions, as the header says.
        questions: U16,
        /// Answers, as the header says.
        answers: U16,
        /// Name of the first question, without the dot at its end; bytes that are no printable ASCII as `\DDD` (RFC 4343).
        qname: Text,
        /// Type of the first question.
        qtype: U16,
        /// Class of the first question, without the bit that multicast DNS sets (RFC 6762 section 18.12).
        qclass: U16,
        /// Address in the first answer of type A or AAAA.
        address: Address,
        /// Seconds that this answer may be kept.
        ttl: U32,
        /// Answers of type A and AAAA; null if the message is cut short before their end.
        addresses: U16,
        /// A number that is the same for the same addresses in any order; null where `addresses` is.
        address_set: U64,
    }
}

impl Table for Dns {
    fn read(&mut self, frame: &Frame<'_>) {
        let is_dns = matches!(frame.label.app, Some(App::Dns | App::Mdns | App::Llmnr))
            && frame.label.basis == Some(Basis::Signature)
            && !frame.layers.payload.is_empty();
        if !is_dns {
            return;
        }
        match frame.layers.transport {
            // A length of two bytes before each, RFC 1035 section 4.2.2.
            Transport::Tcp(_) => {
                let mut rest = frame.layers.payload;
                while let Some((&length, behind)) = rest.split_first_chunk() {
                    let length = usize::from(u16::from_be_bytes(length));
                    if let Some(row) = row(behind.get(..length).unwrap_or(behind)) {
                        self.push(frame, row);
                    }
                    rest = behind.get(length..).unwrap_or_default();
                }
            }
            _ => {
                if let Some(mut row) = row(frame.layers.payload) {
                    // LLMNR has another flag there, RFC 4795 section 2.1.1.
                    row.is_authoritative =
                        row.is_authoritative.filter(|_| frame.label.app != Some(App::Llmnr));
                    self.push(frame, row);
                }
            }
        }
    }
}

fn row(message: &[u8]) -> Option<Row<'static>> {
    let (header, mut at) = (message.first_chunk::<12>()?, 12);
    let &[id_hi, id_lo, flags, codes, q_hi, q_lo, a_hi, a_lo, ..] = header;
    let (questions, answers) = (u16::from_be_bytes([q_hi, q_lo]), u16::from_be_bytes([a_hi, a_lo]));
    let mut row = Row {
        id: Some(u16::from_be_bytes([id_hi, id_lo])),
        is_response: Some(flags & 0x80 != 0),
        opcode: Some(flags >> 3 & 0x0f),
        is_authoritative: Some(flags & 0x04 != 0),
        is_truncated: Some(flags & 0x02 != 0),
        rcode: Some(codes & 0x0f),
        questions: Some(questions),
        answers: Some(answers),
        ..Row::default()
    };
    for number in 0..questions {
        let Some(behind) = name_end(message, at) else { return Some(row) };
        let Some(&[t_hi, t_lo, c_hi, c_lo]) = message.get(behind..).and_then(|rest| rest.first_chunk())
        else {
            return Some(row);
        };
        if number == 0 {
            let Some(name) = name(message, at) else { return Some(row) };
            row.qname = Some(Cow::Owned(name));
            row.qtype = Some(u16::from_be_bytes([t_hi, t_lo]));
            row.qclass = Some(u16::from_be_bytes([c_hi & 0x7f, c_lo]));
        }
        at = behind + 4;
    }
    let (mut addresses, mut set) = (0, 0);
    for _ in 0..answers {
        let Some(behind) = name_end(message, at) else { return Some(row) };
        let Some(&[t_hi, t_lo, _, _, a, b, c, d, l_hi, l_lo]) =
            message.get(behind..).and_then(|rest| rest.first_chunk())
        else {
            return Some(row);
        };
        let (data_at, length) = (behind + 10, usize::from(u16::from_be_bytes([l_hi, l_lo])));
        let address = match (u16::from_be_bytes([t_hi, t_lo]), message.get(data_at..data_at + length)) {
            (1, Some(&[a, b, c, d])) => Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]),
            (28, Some(bytes)) => Addr::try_from(bytes).ok(),
            _ => None,
        };
        if let Some(address) = address {
            row.ttl = row.ttl.or(Some(u32::from_be_bytes([a, b, c, d])));
            row.address = row.address.or(Some(address));
            addresses += 1;
            set = u64::wrapping_add(set, hash::address(Some(address)));
        }
        at = data_at + length;
    }
    if at <= message.len() {
        (row.addresses, row.address_set) = (Some(addresses), Some(set));
    }
    Some(row)
}

/// Where what follows the name at `at` begins.
fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..0x40 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// The name at `at`. Pointers (section 4.1.4) may only lead backwards, so that there is an
/// end; a name has at the most 255 bytes (section 2.3.4).
fn name(message: &[u8], mut at: usize) -> Option<String> {
    let mut name = String::new();
    let (mut limit, mut wire_len) = (at, 0);
    loop {
        let length = *message.get(at)?;
        match length {
            0 => {
                if name.is_empty() {
                    name.push('.');
                }
                return Some(name);
            }
            1..0x40 => {
                let label = message.get(at + 1..at + 1 + usize::from(length))?;
                wire_len += 1 + label.len();
                if wire_len > 254 {
                    return None;
                }
                if !name.is_empty() {
                    name.push('.');
                }
                for &byte in label {
                    match byte {
                        b'.' | b'\\' => name.extend(['\\', byte.into()]),
                        0x21..=0x7e => name.push(byte.into()),
                        _ => name.extend(format!("\\{byte:03}").chars()),
                    }
                }
                at += 1 + usize::from(length);
            }
            0xc0.. => {
                let target = usize::from(u16::from_be_bytes([length & 0x3f, *message.get(at + 1)?]));
                if target >= limit {
                    return None;
                }
                (at, limit) = (target, target);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{name, name_end};

    #[test]
    fn names() {
        // RFC 1035 section 4.1.4: F.ISI.ARPA at 20, FOO.F.ISI.ARPA at 40 by a pointer.
        let mut message = vec![0; 64];
        message[20..32].copy_from_slice(b"\x01F\x03ISI\x04ARPA\x00");
        message[40..46].copy_from_slice(b"\x03FOO\xc0\x14");
        assert_eq!((name(&message, 40), name_end(&message, 40)), (Some("FOO.F.ISI.ARPA".into()), Some(46)));
        assert_eq!((name(&message, 50), name_end(&message, 50)), (Some(".".into()), Some(51)));
        // A pointer to itself, and one forwards.
        assert_eq!(name(b"\xc0\x00", 0), None);
        assert_eq!(name(b"\x01a\xc0\x04\x00", 0), None);
        assert_eq!(name(b"\x03a\x00.\x00", 0), Some("a\\000\\.".into()));
    }
}
