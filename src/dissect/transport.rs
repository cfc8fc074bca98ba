//! Transport headers, and the tunnels that their ports suggest.

use super::layers::{Encap, Transport};
use super::walk::{Next, Walk};
use crate::wire::dccp::Dccp;
use crate::wire::sctp::Sctp;
use crate::wire::tcp::Tcp;
use crate::wire::udp::Udp;
use crate::wire::{Header, Reason, ethernet, ipv6, rpcap};

impl Walk<'_, '_> {
    #[inline]
    pub(super) fn tcp(&mut self) -> Next {
        let Some(tcp) = self.view::<Tcp>(Header::Tcp) else { return Next::Nothing };
        let header_len = tcp.header_len();
        if header_len < size_of::<Tcp>() {
            self.note(Header::Tcp, Reason::BadLength);
        } else if self.rest().len() < header_len {
            self.missing(Header::Tcp, header_len);
        }
        self.transport(Transport::Tcp(tcp), header_len.max(size_of::<Tcp>()));
        let rest = self.rest();
        let frame = rest.get(rpcap::LEN..).unwrap_or_default();
        if rpcap::is_packet(rest)
            && ethernet::is_frame(frame, self.wire_end - self.at)
            && self.enter(Encap::Rpcap, None, Header::Rpcap)
        {
            self.at += rpcap::LEN;
            return Next::Ethernet;
        }
        Next::Nothing
    }

    #[inline]
    pub(super) fn udp(&mut self) -> Next {
        let Some(udp) = self.view::<Udp>(Header::Udp) else { return Next::Nothing };
        let start = self.at;
        match usize::from(udp.length.get()) {
            // A jumbogram, RFC 2675 section 4.
            0 => {}
            1..8 => self.note(Header::Udp, Reason::BadLength),
            len => {
                if start + len > self.claimed_end && !self.is_fragment {
                    self.note(Header::Udp, Reason::BadLength);
                }
                self.claimed_end = self.claimed_end.min(start + len);
                self.wire_end = self.wire_end.min(self.claimed_end);
            }
        }
        self.transport(Transport::Udp(udp), size_of::<Udp>());
        tunnel_of(udp.src_port.get(), udp.dst_port.get())
    }

    pub(super) fn udp_lite(&mut self) -> Next {
        if let Some(udp) = self.view::<Udp>(Header::Udp) {
            self.transport(Transport::UdpLite(udp), size_of::<Udp>());
        }
        Next::Nothing
    }

    pub(super) fn dccp(&mut self) -> Next {
        let Some(dccp) = self.view::<Dccp>(Header::Dccp) else { return Next::Nothing };
        let header_len = dccp.header_len();
        if header_len < size_of::<Dccp>() {
            self.note(Header::Dccp, Reason::BadLength);
        } else if self.rest().len() < header_len {
            self.missing(Header::Dccp, header_len);
        }
        self.transport(Transport::Dccp(dccp), header_len.max(size_of::<Dccp>()));
        Next::Nothing
    }

    /// An authentication header behind IPv4, RFC 4302; behind IPv6 it is one of the extension headers.
    pub(super) fn authentication(&mut self) -> Next {
        match (self.rest(), ipv6::extension_len(51, self.rest())) {
            (&[next_header, ..], Some(len)) if len <= self.rest().len() => {
                self.at += len;
                Next::Protocol(next_header)
            }
            (_, len) => {
                self.missing(Header::Ipv4, len.unwrap_or(12));
                Next::Nothing
            }
        }
    }

    pub(super) fn sctp(&mut self) -> Next {
        if let Some(sctp) = self.view::<Sctp>(Header::Sctp) {
            self.transport(Transport::Sctp(sctp), size_of::<Sctp>());
        }
        Next::Nothing
    }

    pub(super) fn icmp(&mut self) -> Next {
        let &[kind, code, ..] = self.rest() else {
            self.missing(Header::Icmp, ICMP_LEN);
            return Next::Nothing;
        };
        if self.rest().len() < ICMP_LEN {
            self.missing(Header::Icmp, ICMP_LEN);
        }
        self.transport(Transport::Icmp { kind, code }, ICMP_LEN);
        Next::Nothing
    }

    pub(super) fn icmpv6(&mut self) -> Next {
        let &[kind, code, ..] = self.rest() else {
            self.missing(Header::Icmpv6, ICMPV6_LEN);
            return Next::Nothing;
        };
        if self.rest().len() < ICMPV6_LEN {
            self.missing(Header::Icmpv6, ICMPV6_LEN);
        }
        self.transport(Transport::Icmpv6 { kind, code }, ICMPV6_LEN);
        Next::Nothing
    }
}

/// A bit for each low byte of the ports that [`tunnel_of`] knows: few others have one, and need to be looked at closely.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time only, where it cannot panic")]
const TUNNEL_PORTS: [u32; 8] = {
    let mut bits = [0; 8];
    let mut ports: &[u16] =
        &[500, 1701, 2152, 3544, 4341, 4342, 4500, 4754, 4789, 4790, 5247, 6081, 6635, 8472, 37_008];
    while let [port, others @ ..] = ports {
        bits[(*port as usize & 0xff) / 32] |= 1 << (*port % 32);
        ports = others;
    }
    bits
};

/// Whether [`tunnel_of`] may know a port.
#[inline(always)]
fn may_be_tunnel(port: u16) -> bool {
    let word = TUNNEL_PORTS.get((usize::from(port) & 0xff) / 32).copied().unwrap_or_default();
    word >> (port % 32) & 1 == 1
}

/// Whether the ports of a datagram suggest a tunnel.
#[inline(always)]
pub(super) fn is_tunnel(src_port: u16, dst_port: u16) -> bool {
    (may_be_tunnel(src_port) || may_be_tunnel(dst_port))
        && !matches!(tunnel_of(src_port, dst_port), Next::Shim)
}

/// The tunnel that the ports of a datagram suggest; without one, what it carries may show a header that no port does.
pub(super) fn tunnel_of(src_port: u16, dst_port: u16) -> Next {
    match (src_port, dst_port) {
        (_, 4789 | 8472) => Next::Vxlan,
        (_, 4790) => Next::VxlanGpe,
        (_, 6081) => Next::Geneve,
        (2152, _) | (_, 2152) => Next::Gtpu,
        (1701, _) | (_, 1701) => Next::L2tp,
        (3544, _) | (_, 3544) => Next::Teredo,
        (_, 4341) => Next::Lisp,
        (_, 4342) => Next::LispControl,
        // The other port is that one too, or one that address translation chose; not that of a server.
        (4500, 500 | 1024..) | (500 | 1024.., 4500) => Next::EspOverUdp,
        // RFC 8086 and RFC 7510.
        (_, 4754) => Next::Gre,
        (_, 6635) => Next::Mpls,
        (5247, _) | (_, 5247) => Next::Capwap,
        (_, 37008) => Next::Tzsp,
        _ => Next::Shim,
    }
}

/// Length of an ICMP header, RFC 792.
const ICMP_LEN: usize = 8;

/// Length of what all ICMPv6 messages begin with, RFC 4443 section 2.1.
const ICMPV6_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tunnel_port_is_looked_at() {
        let is_tunnel = |port| {
            !matches!(tunnel_of(port, 1024), Next::Shim) || !matches!(tunnel_of(1024, port), Next::Shim)
        };
        let known = [1701, 2152, 3544, 4341, 4342, 4500, 4754, 4789, 4790, 5247, 6081, 6635, 8472, 37_008];
        for port in known {
            assert!(is_tunnel(port), "{port}");
        }
        assert!(matches!(tunnel_of(4500, 500), Next::EspOverUdp));
        assert_eq!((0..=u16::MAX).filter(|&port| is_tunnel(port)).count(), known.len());
        let differ = |port| super::is_tunnel(port, 1024) != !matches!(tunnel_of(port, 1024), Next::Shim);
        assert!(!(0..=u16::MAX).any(differ));
    }
}
