//! Whether routers prove to each other who they are: OSPF, IS-IS, EIGRP, RIP, BFD, and VRRP, CARP, HSRP and GLBP; and BGP and LDP by the options of each
//! segment that begins with a message. How a connection begins, the table of TCP tells.

use std::borrow::Cow;

use super::columns::{Text, U8, U32, table};
use super::words::Words;
use super::{Frame, Table, tcp};
use crate::classify::{App, Basis};
use crate::dissect::{Encap, Transport};
use crate::wire::ip::{Fragment, Ip};
use crate::wire::ipv6;

table! {
    /// Messages of routing protocols and of what finds neighbours and first hops, and how they are authenticated; of BGP, and LDP over TCP, a row a
    /// segment that begins with a message.
    RoutingAuth, Row {
        /// `ospf`, `isis`, `eigrp`, `rip`, `bfd`, `vrrp`, `carp`, `hsrp`, `glbp`, `bgp` or `ldp`.
        protocol: Text,
        /// Version of the protocol; of RIPng that of RIP with IPv6.
        version: U8,
        /// Kind of message, in the protocol's numbers.
        type_: U8,
        /// `none`; `text` if a password is sent in the clear; `md5`, `sha1`, `sha256`, `sha384`, `sha512` or, where the message does not tell
        /// which, `cryptographic`; `ao` of TCP's option (RFC 5925); `ah` or `esp` where IPsec does it (RFC 4552); null if the message is cut short, or says
        /// what is not known here.
        auth: Text,
        /// Identifier of the key.
        key_id: U32,
        /// TTL or hop limit of the packet.
        ip_ttl: U8,
    }
}

impl Table for RoutingAuth {
    fn read(&mut self, frame: &Frame<'_>) {
        if frame.label.basis != Some(Basis::Signature) {
            return;
        }
        let ip = frame.layers.ip;
        let payload = frame.layers.payload;
        let row = match frame.label.app {
            Some(App::Ospf) => ospf(payload, ip.is_some_and(|ip| is_whole(&ip))),
            Some(App::IsIs) => isis(payload),
            Some(App::Eigrp) => eigrp(payload),
            Some(App::Rip) => rip(payload, frame.layers.ports()),
            Some(App::Bfd) => bfd(payload),
            Some(App::Vrrp) => vrrp(payload),
            Some(App::Carp) => carp(payload),
            Some(App::Hsrp) => hsrp(payload),
            Some(App::Glbp) => glbp(payload),
            // RFC 4271 section 4.1: marker, length, type.
            Some(App::Bgp) => Some(session(frame, "bgp", payload.get(18))),
            Some(App::Ldp) if matches!(frame.layers.transport, Transport::Tcp(_)) => {
                Some(session(frame, "ldp", None))
            }
            _ => None,
        };
        let Some(mut row) = row else { return };
        // It may have been behind what is there; these say it in front.
        let is_in_front =
            matches!(frame.label.app, Some(App::Ospf | App::Bfd | App::Vrrp | App::Bgp | App::Ldp));
        if row.auth.as_deref() == Some("none") && !is_in_front && ip.is_some_and(|ip| !is_whole(&ip)) {
            row.auth = None;
        }
        // What is below does it for all that is above.
        if ip.is_some_and(|ip| is_behind_ah(&ip)) {
            row.auth = Some("ah".into());
        } else if frame.layers.encap.iter().last() == Some(Encap::Esp) {
            row.auth = Some("esp".into());
        }
        self.push(frame, Row { ip_ttl: ip.map(|ip| ip.ttl), ..row });
    }
}

/// Whether an authentication header (RFC 4302) is among the extension headers.
fn is_behind_ah(ip: &Ip<'_>) -> bool {
    let (Some(mut rest), Some(&next)) = (ip.packet.get(40..ip.header_len as usize), ip.packet.get(6)) else {
        return false;
    };
    let mut kind = next;
    while ip.version == 6 && kind != 51 {
        let len = if kind == 44 { Some(8) } else { ipv6::extension_len(kind, rest) };
        let (Some(&next), Some(behind)) = (rest.first(), len.and_then(|len| rest.get(len..))) else {
            return false;
        };
        (kind, rest) = (next, behind);
    }
    ip.version == 6
}

/// Whether all of a packet was captured, and it is no fragment.
fn is_whole(ip: &Ip<'_>) -> bool {
    ip.fragment == Fragment::Whole && ip.packet.len() >= ip.total_len as usize
}

/// A message over TCP, which signs each of its segments or none (RFC 2385 section 2, RFC 5925).
fn session<'a>(frame: &Frame<'_>, protocol: &'static str, kind: Option<&u8>) -> Row<'a> {
    let signature = tcp::signature(frame);
    Row {
        protocol: Some(protocol.into()),
        type_: kind.copied(),
        auth: signature.map(|(kind, _)| kind.into()),
        key_id: signature.and_then(|(_, key)| key).map(u32::from),
        ..Row::default()
    }
}

/// A digest by the length that it has.
fn digest(length: usize) -> Cow<'static, str> {
    match length {
        16 => "md5",
        20 => "sha1",
        32 => "sha256",
        48 => "sha384",
        64 => "sha512",
        _ => "cryptographic",
    }
    .into()
}

/// RFC 2328 section A.3.1 and D, RFC 5709, RFC 7474; RFC 5340 section A.3.1, RFC 7166: version, type, length, router, area, checksum; of version 2
/// then the kind of authentication and eight bytes for it: reserved, key, length of the digest, sequence. The digest is behind the packet (section
/// D.4.3): a length of one that is not there proves nothing.
fn ospf(bytes: &[u8], is_whole: bool) -> Option<Row<'_>> {
    let mut words = Words(bytes);
    let version = words.u8()?;
    let mut row =
        Row { protocol: Some("ospf".into()), version: Some(version), type_: words.u8(), ..Row::default() };
    let length = usize::from(words.u16()?);
    words.bytes(10);
    match version {
        2 => match words.u16()? {
            0 => row.auth = Some("none".into()),
            1 => row.auth = Some("text".into()),
            2 => {
                words.u16();
                row.key_id = words.u8().map(u32::from);
                let size = words.u8().map(usize::from);
                let behind = bytes.get(length..).unwrap_or_default();
                let there = size.filter(|&size| size > 0 && behind.len() >= size);
                row.auth = there.map(digest).or_else(|| is_whole.then(|| "none".into()));
            }
            _ => {}
        },
        3 => {
            if let Some(behind) = bytes.get(length..) {
                row.auth = is_whole.then(|| "none".into());
                // Behind the packet, or behind what is signalled to the link there (RFC 5613): kind 1, length.
                let local = behind.get(2..4).and_then(|length| <[u8; 2]>::try_from(length).ok());
                let local = local.map(|length| usize::from(u16::from_be_bytes(length)) * 4);
                let after = local.and_then(|length| behind.get(length..)).unwrap_or_default();
                if let Some((key, auth)) = trailer(behind).or_else(|| trailer(after)) {
                    (row.key_id, row.auth) = (Some(key), Some(auth));
                }
            }
        }
        _ => return None,
    }
    Some(row)
}

/// RFC 7166 section 4.1: kind, length with all of this, reserved, security association, sequence (two words), digest.
fn trailer(bytes: &[u8]) -> Option<(u32, Cow<'static, str>)> {
    let mut words = Words(bytes);
    let (kind, length) = (words.u16()?, usize::from(words.u16()?));
    (kind == 1 && length == bytes.len()).then_some(())?;
    words.u16();
    let key = words.u16()?;
    Some((key.into(), digest(length.checked_sub(16).filter(|&size| size > 0)?)))
}

/// ISO/IEC 10589 section 9, RFC 5304, RFC 5310: discriminator, length of the header, version, length of an identifier, type; behind the header
/// elements of type, length and value, of which 10 begins with the kind of authentication.
fn isis(bytes: &[u8]) -> Option<Row<'_>> {
    // Behind an LLC header (fe fe 03), or none.
    let at = bytes.iter().take(4).position(|&byte| byte == 0x83)?;
    let pdu = bytes.get(at..)?;
    let &[_, header_len, version, _, kind, ..] = pdu else { return None };
    let mut row = Row {
        protocol: Some("isis".into()),
        version: Some(version),
        type_: Some(kind & 0x1f),
        ..Row::default()
    };
    let mut words = Words(pdu.get(usize::from(header_len)..).unwrap_or_default());
    let whole = usize::from(pdu_length(pdu, kind & 0x1f)?);
    words.0 = words.0.get(..whole.checked_sub(usize::from(header_len))?).unwrap_or(words.0);
    let is_whole = pdu.len() >= whole;
    while let (Some(kind), Some(length)) = (words.u8(), words.u8()) {
        let value = words.bytes(length.into());
        if value.len() < usize::from(length) {
            return Some(row);
        }
        if kind == 10 {
            let mut inside = Words(value);
            match inside.u8() {
                Some(1) => row.auth = Some("text".into()),
                Some(3) => {
                    row.key_id = inside.u16().map(u32::from);
                    row.auth = Some(digest(inside.0.len()));
                }
                Some(54) => row.auth = Some("md5".into()),
                _ => {}
            }
            return Some(row);
        }
    }
    row.auth = is_whole.then(|| "none".into());
    Some(row)
}

/// Where a PDU says how long it is: hellos (15 to 17), link states (18, 20), sequence numbers (24 to 27).
fn pdu_length(pdu: &[u8], kind: u8) -> Option<u16> {
    let at = match kind {
        15..=17 => 17,
        18 | 20 | 24..=27 => 8,
        _ => return None,
    };
    let length = pdu.get(at..at + 2)?;
    length.try_into().ok().map(u16::from_be_bytes)
}

/// RFC 7868: version, operation, checksum, flags, sequence, acknowledgment, router, system; elements of type and length with
/// these; 2 is authentication: kind (2 MD5, 3 SHA-256), length of the digest, key.
fn eigrp(bytes: &[u8]) -> Option<Row<'_>> {
    let mut words = Words(bytes);
    let mut row =
        Row { protocol: Some("eigrp".into()), version: words.u8(), type_: words.u8(), ..Row::default() };
    words.array::<18>()?;
    while !words.0.is_empty() {
        let (Some(kind), Some(length)) = (words.u16(), words.u16()) else { return Some(row) };
        let len = usize::from(length).checked_sub(4)?;
        let mut inside = Words(words.bytes(len));
        if inside.0.len() < len {
            return Some(row);
        }
        if kind == 2 {
            let method = inside.u16();
            inside.u16();
            row.key_id = inside.u32();
            row.auth = match method {
                Some(0) => Some("none".into()),
                Some(1) => Some("text".into()),
                Some(2) => Some("md5".into()),
                Some(3) => Some("sha256".into()),
                _ => None,
            };
            return Some(row);
        }
    }
    row.auth = Some("none".into());
    Some(row)
}

/// RFC 2453 section 4.1, RFC 4822, RFC 2080: command, version, zero; of version 2 a first entry of family 0xFFFF: kind, 2 a password, 3 a digest, of
/// which follow length of the message, key and length. `RIPng` leaves it to IPsec.
fn rip(bytes: &[u8], ports: Option<(u16, u16)>) -> Option<Row<'_>> {
    let mut words = Words(bytes);
    let (command, version) = (words.u8()?, words.u8()?);
    words.u16();
    let mut row =
        Row { protocol: Some("rip".into()), version: Some(version), type_: Some(command), ..Row::default() };
    let is_ng = ports.is_some_and(|(src, dst)| src == 521 || dst == 521);
    row.auth = match (version, words.u16(), words.u16()) {
        (2, Some(0xffff), Some(2)) if !is_ng => Some("text".into()),
        (2, Some(0xffff), Some(3)) if !is_ng => {
            words.u16();
            row.key_id = words.u8().map(u32::from);
            // Some count the head of the trailer, of four bytes, with it.
            Some("cryptographic".into())
        }
        (2, Some(0xffff), _) if !is_ng => None,
        _ => Some("none".into()),
    };
    Some(row)
}

/// RFC 5880 section 4.1: version and diagnostic, state and flags, multiplier, length, five words; then, if the flag is set, kind of authentication,
/// its length, key.
fn bfd(bytes: &[u8]) -> Option<Row<'_>> {
    let &[first, flags, ..] = bytes else { return None };
    let mut row = Row {
        protocol: Some("bfd".into()),
        version: Some(first >> 5),
        type_: Some(flags >> 6),
        ..Row::default()
    };
    row.auth = match (flags & 0x04, bytes.get(24)) {
        (0, _) => Some("none".into()),
        (_, Some(1)) => Some("text".into()),
        (_, Some(2 | 3)) => Some("md5".into()),
        (_, Some(4 | 5)) => Some("sha1".into()),
        _ => None,
    };
    if flags & 0x04 != 0 {
        row.key_id = bytes.get(26).map(|&key| key.into());
    }
    Some(row)
}

/// RFC 2338 section 5.3.6, of version 2: 0 none, 1 a password, 2 a digest that the authentication header has: only the header itself proves it, and
/// RFC 3768 section 5.3.6 has withdrawn 1 and 2; version 3 has none (RFC 9568 section 9).
fn vrrp(bytes: &[u8]) -> Option<Row<'_>> {
    let (&first, kind) = (bytes.first()?, bytes.get(4));
    let auth = match (first >> 4, kind) {
        (2, Some(0 | 2)) | (3, _) => Some("none".into()),
        (2, Some(1)) => Some("text".into()),
        _ => None,
    };
    Some(Row {
        protocol: Some("vrrp".into()),
        version: Some(first >> 4),
        type_: Some(first & 0x0f),
        auth,
        ..Row::default()
    })
}

/// As OpenBSD's `ip_carp.h` has it: always with a digest by SHA-1.
fn carp(bytes: &[u8]) -> Option<Row<'_>> {
    let &first = bytes.first()?;
    Some(Row {
        protocol: Some("carp".into()),
        version: Some(first >> 4),
        type_: Some(first & 0x0f),
        auth: Some("sha1".into()),
        ..Row::default()
    })
}

/// RFC 2281 section 5.1: 20 bytes with a password, zeros if there is none; version 2 has elements of type and length, of which 3 is a password. In both, an
/// element 4 has a digest (1 is MD5) and its key.
fn hsrp(bytes: &[u8]) -> Option<Row<'_>> {
    let &[first, second, ..] = bytes else { return None };
    let is_first = first == 0;
    let mut row = Row {
        protocol: Some("hsrp".into()),
        version: Some(if is_first { 1 } else { 2 }),
        type_: if is_first { Some(second) } else { bytes.get(3).copied() },
        ..Row::default()
    };
    // An advertisement has neither.
    if is_first && second == 3 {
        return Some(row);
    }
    let mut elements = Words(bytes);
    let mut auth = "none";
    if is_first {
        elements.bytes(10);
        if elements.array::<8>()? != [0; 8] {
            auth = "text";
        }
        elements.bytes(2);
    }
    while let (Some(kind), Some(length)) = (elements.u8(), elements.u8()) {
        let value = elements.bytes(length.into());
        match (kind, value) {
            (3, _) => auth = "text",
            (4, [1, ..]) => {
                auth = "md5";
                row.key_id = value.get(8..12).and_then(|key| key.try_into().ok()).map(u32::from_be_bytes);
            }
            (4, _) => auth = "cryptographic",
            _ => {}
        }
    }
    row.auth = Some(auth.into());
    Some(row)
}

/// Twelve bytes, of which the first is the version; elements of type, length (with both) and value; 1 is a hello, 3 authentication: 1 a password, 2 and 3
/// MD5.
fn glbp(bytes: &[u8]) -> Option<Row<'_>> {
    let mut words = Words(bytes);
    let mut row = Row { protocol: Some("glbp".into()), version: words.u8(), ..Row::default() };
    words.array::<11>()?;
    row.auth = Some("none".into());
    while let (Some(kind), Some(length)) = (words.u8(), words.u8()) {
        let value = words.bytes(usize::from(length).checked_sub(2)?);
        row.type_ = row.type_.or(Some(kind));
        if kind == 3 {
            row.auth = match value.first() {
                Some(0) => Some("none".into()),
                Some(1) => Some("text".into()),
                Some(2 | 3) => Some("md5".into()),
                _ => None,
            };
        }
    }
    Some(row)
}
