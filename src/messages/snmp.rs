//! SNMP versions 1 (RFC 1157), 2c (RFC 1901, RFC 3416) and 3 (RFC 3412).

use std::borrow::Cow;
use std::fmt::Write as _;

use super::columns::{Address, Bool, Text, Texts, U8, U16, U32, table};
use super::words::address;
use super::{Frame, Table};
use crate::classify::{App, Basis};

table! {
    /// SNMP messages: what is asked of which objects, without values and without the community.
    Snmp, Row {
        /// 1, 2 (which is 2c) or 3.
        version: U8,
        /// What is asked: 0 get, 1 get next, 2 response, 3 set, 4 trap of version 1, 5 get bulk, 6 inform, 7 trap, 8 report; null if
        /// it is encrypted.
        pdu: U8,
        /// Identifier of the request.
        request: U32,
        /// Error that a response tells, 0 for none.
        error: U8,
        /// Objects that are named, in dotted decimals.
        oids: Texts,
        /// First value that is an IPv4 address.
        address: Address,
        /// Bytes of the community, which versions 1 and 2c send in the clear.
        community_len: U16,
        /// The community, if it is one that everybody tries: `public` or `private`; else null.
        community: Text,
        /// Whether a message of version 3 is authenticated.
        is_authenticated: Bool,
        /// Whether a message of version 3 is encrypted.
        is_encrypted: Bool,
    }
}

impl Table for Snmp {
    fn read(&mut self, frame: &Frame<'_>) {
        if (frame.label.app, frame.label.basis) != (Some(App::Snmp), Some(Basis::Signature)) {
            return;
        }
        if let Some(row) = message(frame.layers.payload) {
            self.push(frame, row);
        }
    }
}

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const IP_ADDRESS: u8 = 0x40;

/// BER elements (ITU-T X.690 section 8.1), one after the other; the last one as far as it is there.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let &[tag, first, ref rest @ ..] = self.0 else { return None };
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (octets.iter().fold(0, |length, &octet| length << 8 | usize::from(octet)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        self.0 = rest;
        Some((tag, content))
    }
}

impl<'a> Elements<'a> {
    /// The content of the next element, if that has this tag.
    fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|&(found, _)| found == tag).map(|(_, content)| content)
    }

    /// The next element, an integer, its low 32 bits.
    fn integer(&mut self) -> Option<u32> {
        self.content(INTEGER)
            .map(|octets| octets.iter().fold(0, |number, &octet| number << 8 | u32::from(octet)))
    }
}

/// RFC 1157 section 4 and RFC 3416 section 3: version, community, PDU; RFC 3412 section 6: version, header, security parameters,
/// scoped PDU.
fn message(payload: &[u8]) -> Option<Row<'_>> {
    let mut message = Elements(Elements(payload).content(SEQUENCE)?);
    let version = message.integer()?;
    // Numbered 0, 1 and 3.
    let mut row =
        Row { version: Some(if version == 0 { 1 } else { version.clamp(2, 3) as u8 }), ..Row::default() };
    if version == 3 {
        let mut header = Elements(message.content(SEQUENCE)?);
        let (_id, _size) = (header.integer(), header.integer());
        let flags = header.content(OCTETS).and_then(|flags| flags.first());
        row.is_authenticated = flags.map(|flags| flags & 0x01 != 0);
        row.is_encrypted = flags.map(|flags| flags & 0x02 != 0);
        let _security = message.next();
        if let Some((SEQUENCE, scoped)) = message.next() {
            let mut scoped = Elements(scoped);
            let (_engine, _context) = (scoped.next(), scoped.next());
            pdu(&mut scoped, &mut row);
        }
    } else {
        let community = message.content(OCTETS)?;
        row.community_len = u16::try_from(community.len()).ok();
        row.community = match community {
            b"public" => Some("public".into()),
            b"private" => Some("private".into()),
            _ => None,
        };
        pdu(&mut message, &mut row);
    }
    Some(row)
}

/// RFC 3416 section 3: request, error (or repeaters that are not), index, bindings. RFC 1157 section 4.1.6: a trap begins otherwise.
fn pdu(message: &mut Elements<'_>, row: &mut Row<'_>) {
    let Some((tag @ 0xa0..=0xa8, content)) = message.next() else { return };
    row.pdu = Some(tag & 0x0f);
    let mut fields = Elements(content);
    if tag == 0xa4 {
        // Enterprise, agent, generic and specific kind, time.
        fields.by_ref().take(5).for_each(drop);
    } else {
        row.request = fields.integer();
        let (error, _index) = (fields.integer(), fields.integer());
        row.error = error.filter(|_| tag == 0xa2).and_then(|error| u8::try_from(error).ok());
    }
    let Some(bindings) = fields.content(SEQUENCE) else { return };
    let mut oids = Vec::new();
    for (_, binding) in Elements(bindings).filter(|&(tag, _)| tag == SEQUENCE) {
        let mut binding = Elements(binding);
        let Some(name) = binding.content(OBJECT).and_then(oid) else { break };
        oids.push(Cow::Owned(name));
        if let Some((IP_ADDRESS, value @ [_, _, _, _])) = binding.next() {
            row.address = row.address.or(address(value));
        }
    }
    row.oids = Some(oids);
}

/// An object identifier in dotted decimals, ITU-T X.690 section 8.19: seven bits a byte, the first two arcs in one number.
pub(super) fn oid(octets: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut arc: u64 = 0;
    for &octet in octets {
        if arc >> 57 != 0 {
            return None;
        }
        arc = arc << 7 | u64::from(octet & 0x7f);
        if octet & 0x80 != 0 {
            continue;
        }
        if text.is_empty() {
            let first = (arc / 40).min(2);
            let _ = write!(text, "{first}.{}", arc - first * 40);
        } else {
            let _ = write!(text, ".{arc}");
        }
        arc = 0;
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::oid;

    #[test]
    fn object_identifiers() {
        // ITU-T X.690 section 8.19.5: 2.999.3 is 88 37 03.
        assert_eq!(oid(&[0x88, 0x37, 0x03]).as_deref(), Some("2.999.3"));
        // RFC 1157: iso.org.dod.internet is 2b 06 01.
        assert_eq!(oid(&[0x2b, 0x06, 0x01]).as_deref(), Some("1.3.6.1"));
        assert_eq!(oid(&[]), None);
        assert_eq!(oid(&[0xff; 10]), None);
    }
}
