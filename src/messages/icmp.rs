//! ICMP (RFC 792) and ICMPv6 (RFC 4443), and the packets that their errors quote.

use super::columns::{Address, U8, U16, table};
use super::{Frame, Table};
use crate::capture::LinkType;
use crate::dissect::{Transport, dissect};

table! {
    /// ICMP and ICMPv6 messages; of errors and redirects the packet that caused them.
    Icmp, Row {
        /// 4 or 6.
        version: U8,
        /// Type.
        type_: U8,
        /// Code.
        code: U8,
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
        // RFC 792, and RFC 4861 section 4.5.
        match (version, kind, ip.payload) {
            (4, 5, &[_, _, _, _, a, b, c, d, ..]) => {
                row.gateway = Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]);
            }
            (6, 137, payload) => {
                row.gateway = payload.get(8..24).and_then(|bytes| bytes.try_into().ok());
            }
            _ => {}
        }
        let is_error = matches!((version, kind), (4, 3 | 4 | 5 | 11 | 12) | (6, 1..=4));
        if let (true, Some(quoted)) = (is_error, ip.payload.get(8..)) {
            let layers = dissect(LinkType::RAW, quoted, quoted.len() as u32);
            // The outermost packet is the one that was dropped.
            let packet = layers.outer.or(layers.ip);
            let ports = if layers.outer.is_none() { layers.ports() } else { None };
            row.quoted_src = packet.map(|ip| ip.src());
            row.quoted_dst = packet.map(|ip| ip.dst());
            row.quoted_protocol = packet.map(|ip| ip.protocol);
            row.quoted_ttl = packet.map(|ip| ip.ttl);
            row.quoted_src_port = ports.map(|(src, _)| src);
            row.quoted_dst_port = ports.map(|(_, dst)| dst);
        }
        self.push(frame, row);
    }
}
