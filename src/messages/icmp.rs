//! ICMP (RFC 792) and ICMPv6 (RFC 4443), and the packets that their errors quote.

use super::columns::{Address, U8, U16, table};
use super::words::{Words, address};
use super::{Frame, Table, carried};
use crate::capture::LinkType;
use crate::dissect::{Transport, dissect};
use crate::wire::ip::Ip;

table! {
    /// ICMP and ICMPv6 messages; of errors and redirects the packet that caused them.
    Icmp, Row {
        /// 4 or 6.
        version: U8,
        /// Type.
        type_: U8,
        /// Code.
        code: U8,
        /// Identifier of an echo request or reply (IPv4 types 8 and 0, IPv6 types 128 and 129).
        id: U16,
        /// Sequence number of an echo request or reply.
        sequence: U16,
        /// Gateway that a redirect (IPv4 type 5, IPv6 type 137) names.
        gateway: Address,
        /// Source of the packet that is quoted.
        quoted_src: Address,
        /// Destination of the packet that is quoted.
        quoted_dst: Address,
        /// IP protocol of the packet that is quoted.
        quoted_protocol: U8,
        /// Source port of the packet that is quoted.
        quoted_src_port: U16,
        /// Destination port of the packet that is quoted.
        quoted_dst_port: U16,
        /// TTL of the packet that is quoted.
        quoted_ttl: U8,
    }
}

impl Table for Icmp {
    fn read(&mut self, frame: &Frame<'_>) {
        let Some(ip) = frame.layers.ip else { return };
        let (version, kind, code) = match frame.layers.transport {
            Transport::Icmp { kind, code } => (4, kind, code),
            Transport::Icmpv6 { kind, code } => (6, kind, code),
            _ => return,
        };
        let mut row = Row { version: Some(version), type_: Some(kind), code: Some(code), ..Row::default() };
        let message = carried(&ip);
        if let (4, 0 | 8) | (6, 128 | 129) = (version, kind)
            && let Some(&[id_hi, id_lo, seq_hi, seq_lo]) = message.get(4..8)
        {
            row.id = Some(u16::from_be_bytes([id_hi, id_lo]));
            row.sequence = Some(u16::from_be_bytes([seq_hi, seq_lo]));
        }
        // RFC 792; RFC 4861 section 4.5.
        let quoted = match (version, kind) {
            (4, 3 | 4 | 5 | 11 | 12) | (6, 1..=4) => message.get(8..),
            (6, 137) => redirected(message),
            _ => None,
        };
        row.gateway = match (version, kind) {
            (4, 5) => message.get(4..8).and_then(address),
            (6, 137) => message.get(8..24).and_then(address),
            _ => None,
        };
        if let Some(quoted) = quoted {
            let layers = dissect(LinkType::RAW, quoted, quoted.len() as u32);
            // The outermost packet is the one that was dropped.
            let packet = layers.outer.or(layers.ip);
            row.quoted_src = packet.map(|ip| ip.src());
            row.quoted_dst = packet.map(|ip| ip.dst());
            row.quoted_protocol = packet.map(|ip| ip.protocol);
            row.quoted_ttl = packet.map(|ip| ip.ttl);
            let ports = packet.and_then(|ip| ports(&ip));
            row.quoted_src_port = ports.map(|(src, _)| src);
            row.quoted_dst_port = ports.map(|(_, dst)| dst);
        }
        self.push(frame, row);
    }
}

/// The packet that a redirect quotes: option 4, RFC 4861 section 4.6.3, behind 40 bytes.
fn redirected(message: &[u8]) -> Option<&[u8]> {
    let mut options = Words(message.get(40..)?);
    while let (Some(option), Some(units @ 1..)) = (options.u8(), options.u8()) {
        let value = options.bytes(usize::from(units) * 8 - 2);
        if option == 4 {
            return value.get(6..);
        }
    }
    None
}

/// Ports of TCP, UDP, DCCP, SCTP and UDP-Lite: an error need not quote more of them (RFC 792).
fn ports(ip: &Ip<'_>) -> Option<(u16, u16)> {
    let mut words = Words(carried(ip));
    let has_ports = matches!(ip.protocol, 6 | 17 | 33 | 51 | 132 | 136) && !ip.fragment.is_later();
    if has_ports { words.u16().zip(words.u16()) } else { None }
}
