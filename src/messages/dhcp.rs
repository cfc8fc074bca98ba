//! DHCP, RFC 2131, and DHCPv6, RFC 8415: what a host is told of its router and its servers.

use std::borrow::Cow;

use super::columns::{Address, Bool, Mac, Text, Texts, U8, U32, table};
use super::words::{Words, address};
use super::{Frame, Table};
use crate::classify::{App, Basis};
use crate::packets::address::address_text;
use crate::wire::ip::Addr;

table! {
    /// DHCP, BOOTP and DHCPv6 messages; of what relays pass on the message inside.
    Dhcp, Row {
        /// 4 or 6.
        version: U8,
        /// Message: of DHCP (RFC 2132 section 9.6) 1 discover, 2 offer, 3 request, 5 acknowledgement; null for BOOTP; of DHCPv6
        /// (RFC 8415 section 7.3) 1 solicit, 2 advertise, 7 reply.
        message: U8,
        /// Whether a server sends it.
        is_reply: Bool,
        /// Transaction.
        transaction: U32,
        /// MAC address of the client.
        client_mac: Mac,
        /// Address that the client gets or has.
        client: Address,
        /// First relay agent.
        relay: Address,
        /// Server by its own words: option 54 of DHCP.
        server: Address,
        /// Server by its own words: DUID of DHCPv6 in hexadecimal digits.
        server_duid: Text,
        /// First default router.
        router: Address,
        /// First DNS server.
        dns_server: Address,
        /// All default routers.
        routers: Texts,
        /// All DNS servers.
        dns_servers: Texts,
        /// Whether routes are given (option 121, RFC 3442, or 249).
        has_routes: Bool,
        /// Those routes, as `10.0.0.0/8 via 192.0.2.1`.
        routes: Texts,
        /// Server to go on with, from which it is booted (the field siaddr).
        next_server: Address,
        /// Server to boot from: option 66, or the field of BOOTP.
        boot_server: Text,
        /// File to boot from: option 67, or the field of BOOTP, or DHCPv6's option 59 (RFC 5970).
        boot_file: Text,
    }
}

impl Table for Dhcp {
    fn read(&mut self, frame: &Frame<'_>) {
        if frame.label.basis != Some(Basis::Signature) {
            return;
        }
        let row = match frame.label.app {
            Some(App::Dhcp) => version4(frame.layers.payload),
            Some(App::Dhcpv6) => version6(frame.layers.payload),
            _ => None,
        };
        if let Some(row) = row {
            self.push(frame, row);
        }
    }
}

fn given(bytes: &[u8]) -> Option<Addr> {
    address(bytes).filter(|_| bytes.iter().any(|&byte| byte != 0))
}

/// Text up to its first zero, if there is any.
fn text(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let text = bytes.split(|&byte| byte == 0).next().filter(|text| !text.is_empty())?;
    Some(String::from_utf8_lossy(text))
}

/// RFC 2131 section 2.
fn version4(bytes: &[u8]) -> Option<Row<'_>> {
    let mut words = Words(bytes);
    let (operation, hardware, hardware_len) = (words.u8()?, words.u8(), words.u8());
    words.u8();
    let mut row = Row {
        version: Some(4),
        is_reply: Some(operation == 2),
        transaction: words.u32(),
        has_routes: Some(false),
        ..Row::default()
    };
    words.u32();
    let (had, got) = (given(words.bytes(4)), given(words.bytes(4)));
    row.client = got.or(had);
    row.next_server = given(words.bytes(4));
    row.relay = given(words.bytes(4));
    let mut client = Words(words.bytes(16));
    if (hardware, hardware_len) == (Some(1), Some(6)) {
        row.client_mac = client.array();
    }
    let (server, file) = (words.bytes(64), words.bytes(128));
    let mut overload = 0;
    if words.u32() == Some(0x6382_5363) {
        options4(&mut row, words, &mut overload);
    }
    // Option 52: the fields hold options instead (RFC 2132 section 9.3).
    if overload & 1 != 0 {
        options4(&mut row, Words(file), &mut 0);
    } else {
        row.boot_file = row.boot_file.or(text(file));
    }
    if overload & 2 != 0 {
        options4(&mut row, Words(server), &mut 0);
    } else {
        row.boot_server = row.boot_server.or(text(server));
    }
    Some(row)
}

/// RFC 2132 section 2: 0 is padding and 255 the end, all others have a length.
fn options4<'a>(row: &mut Row<'a>, mut words: Words<'a>, overload: &mut u8) {
    while let Some(option) = words.u8() {
        let length = match option {
            0 => continue,
            255 => return,
            _ => words.u8().unwrap_or_default(),
        };
        let value = words.bytes(length.into());
        let first = || value.get(..4).and_then(address);
        match option {
            3 => (row.router, row.routers) = (first(), Some(all(value, 4))),
            6 => (row.dns_server, row.dns_servers) = (first(), Some(all(value, 4))),
            52 => *overload = value.first().copied().unwrap_or_default(),
            53 => row.message = value.first().copied(),
            54 => row.server = first(),
            66 => row.boot_server = text(value),
            67 => row.boot_file = text(value),
            121 | 249 => {
                row.has_routes = Some(true);
                if option == 121 || row.routes.is_none() {
                    row.routes = Some(routes(value));
                }
            }
            _ => {}
        }
    }
}

/// All addresses of a list.
fn all<'a>(value: &[u8], width: usize) -> Vec<Cow<'a, str>> {
    value.chunks_exact(width).filter_map(address).map(|addr| address_text(addr).into()).collect()
}

/// RFC 3442: of each route the length of its prefix, as many bytes of that as have any bits, the router.
fn routes<'a>(value: &[u8]) -> Vec<Cow<'a, str>> {
    let (mut words, mut routes) = (Words(value), Vec::new());
    while let Some(length @ 0..=32) = words.u8() {
        let mut prefix = [0; 4];
        let significant = words.bytes(usize::from(length).div_ceil(8));
        for (byte, &given) in prefix.iter_mut().zip(significant) {
            *byte = given;
        }
        let Some([a, b, c, d]) = words.array() else { break };
        let [e, f, g, h] = prefix;
        routes.push(format!("{e}.{f}.{g}.{h}/{length} via {a}.{b}.{c}.{d}").into());
    }
    routes
}

/// Relays that may stand between client and server, RFC 8415 section 7.6.
const MAX_RELAYS: usize = 8;

/// RFC 8415 sections 8 and 9: type, transaction and options; of relays type, hops, link, peer and options.
fn version6(bytes: &[u8]) -> Option<Row<'_>> {
    let mut row = Row { version: Some(6), ..Row::default() };
    let mut message = Words(bytes);
    for _ in 0..=MAX_RELAYS {
        let kind = message.u8()?;
        row.message = Some(kind);
        row.is_reply = Some(matches!(kind, 2 | 7 | 10 | 13 | 15..=17 | 19 | 21));
        if !matches!(kind, 12 | 13) {
            let [a, b, c] = message.array()?;
            row.transaction = Some(u32::from_be_bytes([0, a, b, c]));
            options6(&mut row, message);
            return Some(row);
        }
        message.u8();
        // The outermost is the last one.
        row.relay = given(message.bytes(16)).or(row.relay);
        row.client = given(message.bytes(16));
        // Option 9 holds what is passed on.
        let mut inside = None;
        while let (Some(option), Some(length)) = (message.u16(), message.u16()) {
            let value = message.bytes(length.into());
            if option == 9 {
                inside = Some(value);
            }
        }
        let Some(inside) = inside else { break };
        message = Words(inside);
    }
    Some(row)
}

fn options6<'a>(row: &mut Row<'a>, mut words: Words<'a>) {
    while let (Some(option), Some(length)) = (words.u16(), words.u16()) {
        let value = words.bytes(length.into());
        match option {
            // A DUID of link-layer address and time, or of link-layer address (section 11), of Ethernet.
            1 => {
                row.client_mac = match value {
                    [0, 1, 0, 1, _, _, _, _, mac @ ..] | [0, 3, 0, 1, mac @ ..] => mac.try_into().ok(),
                    _ => None,
                }
            }
            2 => row.server_duid = Some(value.iter().map(|byte| format!("{byte:02x}")).collect()),
            // Lease: identity, times, then options of which 5 is an address.
            3 => row.client = leased(value).or(row.client),
            23 => {
                (row.dns_server, row.dns_servers) = (value.get(..16).and_then(address), Some(all(value, 16)));
            }
            59 => row.boot_file = text(value),
            _ => {}
        }
    }
}

fn leased(lease: &[u8]) -> Option<Addr> {
    let mut words = Words(lease.get(12..)?);
    while let (Some(option), Some(length)) = (words.u16(), words.u16()) {
        let value = words.bytes(length.into());
        if option == 5 {
            return value.get(..16).and_then(address);
        }
    }
    None
}
