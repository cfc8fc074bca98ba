//! Who says which MAC address has an IP address: ARP (RFC 826) and neighbour discovery (RFC 4861).

use super::columns::{Address, Bool, Mac, Text, U16, table};
use super::words::{Words, address};
use super::{Frame, Table};
use crate::classify::App;
use crate::dissect::Transport;

table! {
    /// ARP over Ethernet, and the messages of IPv6 neighbour discovery but redirects.
    Neighbor, Row {
        /// `arp` or `nd`.
        protocol: Text,
        /// Operation of ARP (1 request, 2 reply, 3 and 4 RARP), or type of ICMPv6 (133 router solicitation, 134 router
        /// advertisement, 135 neighbour solicitation, 136 neighbour advertisement).
        operation: U16,
        /// Source of the Ethernet frame, which is not always the sender that is named.
        eth_src: Mac,
        /// Address of the sender: by ARP, or source of the packet.
        sender: Address,
        /// MAC address of the sender: by ARP, or by the option of neighbour discovery for the source.
        sender_mac: Mac,
        /// Address that is asked for or claimed.
        target: Address,
        /// MAC address of the target: by ARP, or by the option of neighbour discovery for the target.
        target_mac: Mac,
        /// Whether a neighbour advertisement comes from a router.
        is_router: Bool,
        /// Whether a neighbour advertisement says that it was asked for.
        is_solicited: Bool,
        /// Whether a neighbour advertisement replaces what is known.
        is_override: Bool,
        /// Seconds that a router advertisement offers itself as default router; 0 for not at all.
        router_lifetime: U16,
    }
}

impl Table for Neighbor {
    fn read(&mut self, frame: &Frame<'_>) {
        let row = match (frame.label.app, frame.layers.transport) {
            (Some(App::Arp), _) => arp(frame.layers.payload),
            (_, Transport::Icmpv6 { kind: 133..=136, code: 0 }) => discovery(frame),
            _ => None,
        };
        if let Some(row) = row {
            self.push(frame, Row { eth_src: frame.layers.eth_src, ..row });
        }
    }
}

/// RFC 826: hardware Ethernet, protocol IPv4, their lengths, operation, sender, target.
fn arp(bytes: &[u8]) -> Option<Row<'static>> {
    let mut words = Words(bytes);
    if (words.u16()?, words.u16()?, words.u16()?) != (1, 0x0800, 0x0604) {
        return None;
    }
    Some(Row {
        protocol: Some("arp".into()),
        operation: words.u16(),
        sender_mac: words.array(),
        sender: address(words.bytes(4)),
        target_mac: words.array(),
        target: address(words.bytes(4)),
        ..Row::default()
    })
}

/// RFC 4861 sections 4.1 to 4.4.
fn discovery(frame: &Frame<'_>) -> Option<Row<'static>> {
    let ip = frame.layers.ip?;
    let mut words = Words(ip.payload());
    let kind = words.u8()?;
    words.bytes(3);
    let mut row = Row {
        protocol: Some("nd".into()),
        operation: Some(kind.into()),
        sender: Some(ip.src()),
        ..Row::default()
    };
    match kind {
        133 => _ = words.u32(),
        134 => {
            words.u16();
            row.router_lifetime = words.u16();
            words.bytes(8);
        }
        _ => {
            let flags = words.u8();
            words.bytes(3);
            row.target = words.array();
            if kind == 136 {
                row.is_router = flags.map(|flags| flags & 0x80 != 0);
                row.is_solicited = flags.map(|flags| flags & 0x40 != 0);
                row.is_override = flags.map(|flags| flags & 0x20 != 0);
            }
        }
    }
    // Options, section 4.6: kind, length in units of 8 bytes.
    while let (Some(option), Some(units @ 1..)) = (words.u8(), words.u8()) {
        let mut value = Words(words.bytes(usize::from(units) * 8 - 2));
        match option {
            1 => row.sender_mac = row.sender_mac.or(value.array()),
            2 => row.target_mac = row.target_mac.or(value.array()),
            _ => {}
        }
    }
    Some(row)
}
