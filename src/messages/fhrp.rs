//! Which router answers for an address that several share: VRRP, CARP, HSRP and GLBP.

use std::borrow::Cow;

use super::columns::{Address, Text, U8, U16, table};
use super::words::{Words, address};
use super::{Frame, Table};
use crate::classify::{App, Basis};

table! {
    /// Messages of first-hop redundancy: VRRP (RFC 9568, RFC 3768), CARP, HSRP (RFC 2281 and version 2) and GLBP.
    Fhrp, Row {
        /// `vrrp`, `carp`, `hsrp` or `glbp`.
        protocol: Text,
        /// Version of the protocol.
        version: U8,
        /// What it is for: of HSRP 0 hello, 1 coup, 2 resign, 3 advertisement.
        operation: U8,
        /// State of the sender, of HSRP version 1: 0 initial, 1 learn, 2 listen, 4 speak, 8 standby, 16 active; of version 2
        /// 1 initial to 6 active; of GLBP 2 listen, 4 speak, 8 standby, 32 active.
        state: U8,
        /// Group or virtual router.
        group: U16,
        /// Priority of the sender, of CARP its skew; 255 of VRRP owns the address.
        priority: U8,
        /// First virtual address.
        address: Address,
        /// TTL or hop limit of the packet; whoever is on the link sends 255, or 1 with HSRP version 1.
        ip_ttl: U8,
        /// Password that is sent in the clear.
        password: Text,
    }
}

impl Table for Fhrp {
    fn read(&mut self, frame: &Frame<'_>) {
        let (Some(ip), Some(Basis::Signature)) = (frame.layers.ip, frame.label.basis) else { return };
        let payload = frame.layers.payload;
        let row = match frame.label.app {
            Some(App::Vrrp) => vrrp(payload, ip.version),
            Some(App::Carp) => carp(payload),
            Some(App::Hsrp) if payload.first() == Some(&0) => hsrp(payload),
            Some(App::Hsrp) => Some(hsrp2(payload)),
            Some(App::Glbp) => glbp(payload),
            _ => None,
        };
        if let Some(row) = row {
            self.push(frame, Row { ip_ttl: Some(ip.ttl), ..row });
        }
    }
}

/// A password of at the most eight bytes, up to the first zero.
fn password(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let text = bytes.split(|&byte| byte == 0).next().filter(|text| !text.is_empty())?;
    Some(String::from_utf8_lossy(text))
}

/// Version 2, RFC 3768 section 5, and 3, RFC 9568 section 5: version and type, router, priority, count of addresses,
/// kind of authentication (2) or interval (3), interval (2) or the rest of it (3), checksum, addresses, password (2, RFC
/// 2338 section 5.3.6).
fn vrrp(bytes: &[u8], ip_version: u8) -> Option<Row<'_>> {
    let mut words = Words(bytes);
    let first = words.u8()?;
    let mut row = Row {
        protocol: Some("vrrp".into()),
        version: Some(first >> 4),
        operation: Some(first & 0x0f),
        group: words.u8().map(u16::from),
        priority: words.u8(),
        ..Row::default()
    };
    let (count, authentication) = (words.u8().unwrap_or_default(), words.u8());
    words.bytes(3);
    let width = if ip_version == 6 { 16 } else { 4 };
    let mut addresses = Words(words.bytes(width * usize::from(count)));
    row.address = address(addresses.bytes(width));
    if (first >> 4, authentication) == (2, Some(1)) {
        row.password = password(words.bytes(8));
    }
    Some(row)
}

/// As OpenBSD's `ip_carp.h` has it: version and type, virtual host, skew, length, pad, base, checksum, counter, digest.
fn carp(bytes: &[u8]) -> Option<Row<'_>> {
    let &[first, group, skew, ..] = bytes else { return None };
    Some(Row {
        protocol: Some("carp".into()),
        version: Some(first >> 4),
        operation: Some(first & 0x0f),
        group: Some(group.into()),
        priority: Some(skew),
        ..Row::default()
    })
}

/// RFC 2281 section 5.1.
fn hsrp(bytes: &[u8]) -> Option<Row<'_>> {
    let mut words = Words(bytes);
    let mut row = Row { protocol: Some("hsrp".into()), version: Some(1), ..Row::default() };
    words.u8()?;
    row.operation = words.u8();
    // An advertisement has another form.
    if row.operation == Some(3) {
        return Some(row);
    }
    row.state = words.u8();
    words.u16();
    row.priority = words.u8();
    row.group = words.u8().map(u16::from);
    words.u8();
    row.password = password(words.bytes(8));
    row.address = address(words.bytes(4));
    Some(row)
}

/// Version 2: elements of type, length and value; 1 the group's state, 3 a password.
fn hsrp2(bytes: &[u8]) -> Row<'_> {
    let mut words = Words(bytes);
    let mut row = Row { protocol: Some("hsrp".into()), version: Some(2), ..Row::default() };
    while let (Some(kind), Some(length)) = (words.u8(), words.u8()) {
        let value = words.bytes(length.into());
        let mut inside = Words(value);
        match kind {
            1 => {
                inside.u8();
                row.operation = inside.u8();
                row.state = inside.u8();
                let ip_version = inside.u8();
                row.group = inside.u16();
                inside.bytes(6);
                row.priority = inside.u32().map(|priority| u8::try_from(priority).unwrap_or(u8::MAX));
                inside.bytes(8);
                row.address = address(inside.bytes(if ip_version == Some(6) { 16 } else { 4 }));
            }
            3 => row.password = password(value),
            _ => {}
        }
    }
    row
}

/// Version, group; then elements of type, length (with both) and value; 1 is a hello.
fn glbp(bytes: &[u8]) -> Option<Row<'_>> {
    let mut words = Words(bytes);
    let mut row = Row { protocol: Some("glbp".into()), version: words.u8(), ..Row::default() };
    words.u8()?;
    row.group = words.u16();
    words.bytes(8);
    while let (Some(kind), Some(length)) = (words.u8(), words.u8()) {
        let value = words.bytes(usize::from(length).checked_sub(2)?);
        let mut inside = Words(value);
        match kind {
            1 => {
                inside.u8();
                row.operation = Some(kind);
                row.state = inside.u8();
                inside.u8();
                row.priority = inside.u8();
                // Two unknown bytes, hello and hold time (32 bits each), redirect and timeout (16 bits each), two unknown.
                inside.bytes(16);
                let (kind, length) = (inside.u8(), inside.u8());
                row.address = match (kind, length) {
                    (Some(1), Some(4)) => address(inside.bytes(4)),
                    (Some(2), Some(16)) => address(inside.bytes(16)),
                    _ => None,
                };
            }
            3 if value.first() == Some(&1) => {
                row.password = value.get(2..).and_then(password);
            }
            _ => {}
        }
    }
    Some(row)
}
