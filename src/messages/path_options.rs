//! What a packet says of the way it is to take or took: source routes, recorded routes, segments, service paths.

use super::columns::{Address, Text, U8, table};
use super::words::{Options, Words, address};
use super::{Frame, Table};
use crate::dissect::{Encap, Layers};
use crate::wire::ip::{Addr, Ip};
use crate::wire::ipv6;

table! {
    /// Packets that name their way, outermost and innermost packet: source and record route of IPv4 (RFC 791 section 3.1), routing
    /// headers of IPv6 (RFC 5095, RFC 8754), MPLS router alert (RFC 3032 section 2.1), network service headers (RFC 8300).
    PathOptions, Row {
        /// `lsrr` and `ssrr` (loose and strict source route), `rr` (record route), `rh0` (routing header of type 0), `srh` (segment
        /// routing header), `rh` (another routing header), `mpls-alert`, or `nsh`.
        kind: Text,
        /// Type of a routing header.
        routing: U8,
        /// Addresses that are listed; of a record route those that were recorded.
        hops: U8,
        /// Pointer of an option, which counts from 1 and begins at 4; segments left of a routing header.
        pointer: U8,
        /// Source of the packet that has it, which is the outermost or the innermost.
        from: Address,
        /// Destination of that packet: of a source route the next hop.
        to: Address,
        /// The address listed that the packet comes to last; of a record route the last that was recorded.
        last: Address,
    }
}

impl Table for PathOptions {
    fn read(&mut self, frame: &Frame<'_>) {
        if !may_have(frame.layers) {
            return;
        }
        let Layers { mpls, encap, outer, ip, .. } = frame.layers;
        let (from, to) = outer.or(*ip).map(|ip| (ip.src(), ip.dst())).unzip();
        if mpls.as_slice().contains(&ROUTER_ALERT) {
            self.push(frame, Row { kind: Some("mpls-alert".into()), from, to, ..Row::default() });
        }
        if encap.has(Encap::Nsh) {
            self.push(frame, Row { kind: Some("nsh".into()), from, to, ..Row::default() });
        }
        for ip in [*outer, *ip].into_iter().flatten() {
            if ip.version == 4 {
                self.options(frame, &ip);
            } else {
                self.routing_headers(frame, &ip);
            }
        }
    }
}

/// Whether there is anything to read.
#[inline]
pub(super) fn may_have(layers: &Layers<'_>) -> bool {
    let has_more =
        |ip: &Option<Ip<'_>>| ip.is_some_and(|ip| ip.header_len > if ip.version == 4 { 20 } else { 40 });
    has_more(&layers.ip)
        || has_more(&layers.outer)
        || layers.mpls.as_slice().contains(&ROUTER_ALERT)
        || layers.encap.has(Encap::Nsh)
}

/// The label, RFC 3032 section 2.1.
const ROUTER_ALERT: u32 = 1;

impl PathOptions {
    /// RFC 791 section 3.1: kind, length, pointer, addresses.
    fn options(&mut self, frame: &Frame<'_>, ip: &Ip<'_>) {
        for (kind, option) in Options(ip.packet.get(20..ip.header_len as usize).unwrap_or_default()) {
            let name = match kind {
                7 => "rr",
                131 => "lsrr",
                137 => "ssrr",
                _ => continue,
            };
            let &[_, _, pointer, ref route @ ..] = option else { continue };
            let listed = route.as_chunks::<4>().0;
            // The pointer is where the next address goes.
            let recorded = listed.get(..usize::from(pointer.saturating_sub(4) / 4)).unwrap_or(listed);
            let hops = if kind == 7 { recorded } else { listed };
            self.push(
                frame,
                Row {
                    kind: Some(name.into()),
                    hops: Some(hops.len() as u8),
                    pointer: Some(pointer),
                    from: Some(ip.src()),
                    to: Some(ip.dst()),
                    last: hops.last().and_then(|hop| address(hop)),
                    ..Row::default()
                },
            );
        }
    }

    /// RFC 8200 section 4.4: next header, length, type, segments left; then by type.
    fn routing_headers(&mut self, frame: &Frame<'_>, ip: &Ip<'_>) {
        let Some(&first) = ip.packet.get(6) else { return };
        let mut kind = first;
        let mut rest = ip.packet.get(40..ip.header_len as usize).unwrap_or_default();
        // Each step takes at least 8 bytes.
        loop {
            let length = if kind == 44 { Some(8) } else { ipv6::extension_len(kind, rest) };
            let Some((header, behind)) = length.and_then(|length| rest.split_at_checked(length)) else {
                return;
            };
            if kind == 43 {
                self.push(frame, Row { from: Some(ip.src()), to: Some(ip.dst()), ..routing_header(header) });
            }
            let Some(&next) = header.first() else { return };
            (kind, rest) = (next, behind);
        }
    }
}

fn routing_header(header: &[u8]) -> Row<'static> {
    let mut words = Words(header);
    let (_next, _length, routing, pointer) = (words.u8(), words.u8(), words.u8(), words.u8());
    let last_entry = words.u8();
    words.bytes(3);
    let listed = words.0.as_chunks::<16>().0;
    let (name, hops, last): (_, Option<usize>, Option<Addr>) = match routing {
        // RFC 5095: addresses in the order of the way.
        Some(0) => ("rh0", Some(listed.len()), listed.last().copied()),
        // RFC 8754 section 2: the last segment first, and options behind the last entry.
        Some(4) => {
            let count = last_entry.map(|last| (usize::from(last) + 1).min(listed.len()));
            ("srh", count, listed.first().copied())
        }
        // RFC 6275 section 6.4: one home address.
        Some(2) => ("rh", Some(listed.len()), listed.first().copied()),
        _ => ("rh", None, None),
    };
    Row {
        kind: Some(name.into()),
        routing,
        hops: hops.and_then(|hops| u8::try_from(hops).ok()),
        pointer,
        last,
        ..Row::default()
    }
}
