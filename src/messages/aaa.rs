//! Who asks which server whether somebody may log in: RADIUS (RFC 2865, RFC 2866) and TACACS+ (RFC 8907).

use super::columns::{Address, Bool, Text, U8, U32, table};
use super::words::{Words, address};
use super::{Frame, Table};
use crate::classify::{App, Basis};

table! {
    /// RADIUS and TACACS+ messages, without what they say of users.
    Aaa, Row {
        /// `radius` or `tacacs`.
        protocol: Text,
        /// Code of RADIUS (1 access request, 2 accept, 3 reject, 4 accounting request), or type of TACACS+ (1 authentication,
        /// 2 authorisation, 3 accounting).
        type_: U8,
        /// Identifier of RADIUS, or session of TACACS+.
        id: U32,
        /// Number of the message in a session of TACACS+.
        sequence: U8,
        /// Address by which a RADIUS client names itself (attribute 4, or 95 of RFC 3162).
        nas: Address,
        /// Whether the body of a TACACS+ message is not obfuscated (RFC 8907 section 4.1).
        is_unencrypted: Bool,
    }
}

impl Table for Aaa {
    fn read(&mut self, frame: &Frame<'_>) {
        if frame.label.basis != Some(Basis::Signature) {
            return;
        }
        match frame.label.app {
            Some(App::Radius) => {
                if let Some(row) = radius(frame.layers.payload) {
                    self.push(frame, row);
                }
            }
            Some(App::Tacacs) => {
                let mut rest = frame.layers.payload;
                while let Some((row, behind)) = tacacs(rest) {
                    self.push(frame, row);
                    rest = behind;
                }
            }
            _ => {}
        }
    }
}

/// RFC 2865 section 3: code, identifier, length, authenticator, attributes.
fn radius(bytes: &[u8]) -> Option<Row<'static>> {
    let mut words = Words(bytes);
    let mut row = Row {
        protocol: Some("radius".into()),
        type_: Some(words.u8()?),
        id: words.u8().map(u32::from),
        ..Row::default()
    };
    let length = usize::from(words.u16().unwrap_or_default());
    words.bytes(16);
    // What follows the length is padding.
    words = Words(words.bytes(length.saturating_sub(20)));
    while let (Some(attribute), Some(length)) = (words.u8(), words.u8()) {
        let Some(length) = length.checked_sub(2) else { break };
        let value = words.bytes(length.into());
        if matches!(attribute, 4 | 95) {
            row.nas = row.nas.or(address(value));
        }
    }
    Some(row)
}

/// RFC 8907 section 4.1: version, type, sequence number, flags, session, length.
fn tacacs(bytes: &[u8]) -> Option<(Row<'static>, &[u8])> {
    let mut words = Words(bytes);
    if words.u8()? >> 4 != 0x0c {
        return None;
    }
    let (kind, sequence, flags, id, length) =
        (words.u8()?, words.u8()?, words.u8()?, words.u32()?, words.u32()?);
    words.bytes(length as usize);
    let row = Row {
        protocol: Some("tacacs".into()),
        type_: Some(kind),
        id: Some(id),
        sequence: Some(sequence),
        is_unencrypted: Some(flags & 0x01 != 0),
        ..Row::default()
    };
    Some((row, words.0))
}
