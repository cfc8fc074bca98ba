//! WCCP, by which routers hand packets to caches: version 1, and version 2 (draft-mclaggan-wccp-v2rev1).

use super::columns::{Bool, U8, U16, U32, table};
use super::words::Words;
use super::{Frame, Table};
use crate::classify::{App, Basis};
use crate::dissect::Layers;
use crate::wire::ethernet::ethertype;
use crate::wire::ip::Ip;

table! {
    /// WCCP: what caches and routers agree on (UDP port 2048), and packets that are redirected (GRE protocol 0x883E), of which `src`
    /// and `dst` are those of the packet inside.
    Wccp, Row {
        /// 10 here I am, 11 I see you, 12 redirect assign, 13 removal query; of version 1 7, 8 and 9 for the first three; null of a
        /// redirected packet.
        message: U32,
        /// Version: 0x0200 and 0x0201 are version 2.
        version: U16,
        /// Service: 0 is HTTP, dynamic ones have any number; null of version 1.
        service: U8,
        /// Whether the service is dynamic: the cache says what it gets.
        is_dynamic: Bool,
        /// Whether a message says that it is signed by a password (MD5).
        has_password: Bool,
        /// Whether this is a redirected packet.
        is_redirected: Bool,
    }
}

impl Table for Wccp {
    fn read(&mut self, frame: &Frame<'_>) {
        let is_message = (frame.label.app, frame.label.basis) == (Some(App::Wccp), Some(Basis::Signature));
        // What is redirected may be a message too; then the one outside counts.
        let row = redirected(frame.layers).or_else(|| message(frame.layers.payload).filter(|_| is_message));
        if let Some(row) = row {
            self.push(frame, row);
        }
    }
}

/// Whether the outermost packet is a redirected one.
#[inline]
pub(super) fn is_redirected(layers: &Layers<'_>) -> bool {
    layers.outer.or(layers.ip).is_some_and(|ip| ip.protocol == 47) && redirected(layers).is_some()
}

/// GRE (RFC 2784) without options, then the redirect header of version 2: flags (the lowest says dynamic), service, two buckets. Version 1 has none.
fn redirected(layers: &Layers<'_>) -> Option<Row<'static>> {
    let ip: Ip<'_> = layers.outer.or(layers.ip).filter(|ip| ip.protocol == 47 && !ip.fragment.is_later())?;
    let mut words = Words(ip.payload());
    let (flags, protocol) = (words.u16()?, words.u16()?);
    if flags != 0 || protocol != ethertype::WCCP {
        return None;
    }
    let header = words.array().filter(|&[first, ..]: &[u8; 4]| first >> 4 != 4);
    Some(Row {
        service: header.map(|[_, service, ..]| service),
        is_dynamic: header.map(|[flags, ..]| flags & 0x01 != 0),
        is_redirected: Some(true),
        ..Row::default()
    })
}

/// Section 6.1: message, version, length; then components of type, length and value: 0 is security, 1 the service.
fn message(bytes: &[u8]) -> Option<Row<'static>> {
    let mut words = Words(bytes);
    let mut row = Row { message: Some(words.u32()?), is_redirected: Some(false), ..Row::default() };
    if matches!(row.message, Some(7..=9)) {
        row.version = words.u32().and_then(|version| u16::try_from(version).ok());
        return Some(row);
    }
    row.version = words.u16();
    let length = words.u16()?;
    words = Words(words.bytes(length.into()));
    while let (Some(kind), Some(length)) = (words.u16(), words.u16()) {
        let mut value = Words(words.bytes(length.into()));
        match kind {
            0 => row.has_password = value.u32().map(|option| option != 0),
            1 => {
                row.is_dynamic = value.u8().map(|kind| kind != 0);
                row.service = value.u8();
            }
            _ => {}
        }
    }
    Some(row)
}
