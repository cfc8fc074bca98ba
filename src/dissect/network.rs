//! IPv4, IPv6 and its extension headers.

use zerocopy::FromBytes;

use super::layers::{Encap, Layers, Transport};
use super::plain::{self, Then};
use super::walk::{MAX_REPEATS, Next, Walk};
use crate::wire::ip::{Fragment, Ip};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, FragmentHeader, Ipv6};
use crate::wire::{Header, Reason};

/// Makes a plain packet the innermost one.
struct Innermost<'l, 'a>(&'l mut Layers<'a>);

impl<'a> Then<'a> for Innermost<'_, 'a> {
    type Output = ();

    #[inline(always)]
    fn then<const PLAIN: bool>(self, plain: &Layers<'a>) {
        let Layers { ip, transport, payload, payload_len, .. } = *plain;
        *self.0 = Layers { ip, transport, payload, payload_len, ..*self.0 };
    }
}

impl<'a> Walk<'_, 'a> {
    #[inline]
    pub(super) fn ip(&mut self, header: Header) -> Next {
        match self.rest().first().map(|first| first >> 4) {
            Some(4) => Next::Ipv4,
            Some(6) => Next::Ipv6,
            Some(_) => self.stop(header, Reason::BadVersion),
            None => {
                self.missing(header, 1);
                Next::Nothing
            }
        }
    }

    /// Ends the frame where the packet does, and notes where the packet says more than there is.
    #[inline]
    pub(super) fn limit(&mut self, header: Header, total_len: usize) {
        let end = self.at + total_len;
        if end > self.wire_end && !self.is_fragment {
            self.note(header, Reason::Truncated);
        }
        self.claimed_end = end;
        self.wire_end = self.wire_end.min(end);
    }

    /// Makes this the innermost packet; what it carries is its payload until a transport header is read.
    #[inline]
    pub(super) fn network(&mut self, ip: Ip<'a>) {
        self.in_link = false;
        self.is_fragment |= ip.fragment != Fragment::Whole;
        self.at += ip.header_len as usize;
        self.layers.transport = Transport::None;
        self.layers.payload = ip.payload();
        self.layers.payload_len = self.claimed_end.saturating_sub(self.at) as u32;
        self.layers.ip = Some(ip);
    }

    /// Bytes from here to the end of the frame on the wire, or of what the length fields leave of it.
    #[inline]
    fn room(&self) -> usize {
        self.wire_end.saturating_sub(self.at)
    }

    #[inline]
    pub(super) fn ipv4(&mut self) -> Next {
        if self.may_be_plain && plain::ipv4(self.rest(), self.room(), Innermost(self.layers)).is_ok() {
            return Next::Nothing;
        }
        self.any_ipv4()
    }

    #[inline]
    pub(super) fn ipv6(&mut self) -> Next {
        if self.may_be_plain && plain::ipv6(self.rest(), self.room(), Innermost(self.layers)).is_ok() {
            return Next::Nothing;
        }
        self.any_ipv6()
    }

    /// Any packet, header by header.
    fn any_ipv4(&mut self) -> Next {
        let Some(ipv4) = self.view::<Ipv4>(Header::Ipv4) else { return Next::Nothing };
        if ipv4.version() != 4 {
            return self.stop(Header::Ipv4, Reason::BadVersion);
        }
        let header_len = ipv4.header_len();
        if header_len < size_of::<Ipv4>() {
            return self.stop(Header::Ipv4, Reason::BadLength);
        }
        let total_len = match usize::from(ipv4.total_len.get()) {
            // Left open by segmentation offload: the packet fills the frame.
            0 => self.wire_end - self.at,
            total_len if total_len < header_len => {
                self.note(Header::Ipv4, Reason::BadLength);
                header_len
            }
            total_len => total_len,
        };
        self.limit(Header::Ipv4, total_len);
        let rest = self.rest();
        let is_complete = rest.len() >= header_len;
        if !is_complete {
            self.missing(Header::Ipv4, header_len);
        }
        let fragment = ipv4.fragment();
        self.network(Ip {
            packet: rest,
            header_len: header_len.min(rest.len()) as u32,
            version: 4,
            protocol: ipv4.protocol,
            ttl: ipv4.ttl,
            tos: ipv4.tos,
            id: Some(ipv4.id.get().into()),
            fragment,
            fragment_offset: ipv4.fragment_offset(),
            total_len: total_len as u32,
        });
        if !is_complete || fragment.is_later() || total_len == header_len {
            return Next::Nothing;
        }
        Next::Protocol(ipv4.protocol)
    }

    /// Any packet, header by header.
    fn any_ipv6(&mut self) -> Next {
        let Some(ipv6) = self.view::<Ipv6>(Header::Ipv6) else { return Next::Nothing };
        if ipv6.version() != 6 {
            return self.stop(Header::Ipv6, Reason::BadVersion);
        }
        let mut header_len = size_of::<Ipv6>();
        let mut next_header = ipv6.next_header;
        let mut fragment = Fragment::Whole;
        let mut fragment_offset = 0;
        let mut id = None;
        let total_len = match usize::from(ipv6.payload_len.get()) {
            0 if next_header == 0 => {
                let options = self.rest().get(header_len..).unwrap_or_default();
                let len = ipv6::extension_len(0, options).and_then(|len| options.get(..len));
                match len.and_then(ipv6::jumbo_len) {
                    Some(jumbo) => header_len + jumbo as usize,
                    None => self.wire_end - self.at,
                }
            }
            // Left open by segmentation offload, unless there is nothing to carry.
            0 if next_header != 59 => self.wire_end - self.at,
            payload_len => header_len + payload_len,
        };
        self.limit(Header::Ipv6, total_len);
        let rest = self.rest();
        let mut complete = true;
        self.has_segments = false;
        for _ in 0..MAX_REPEATS {
            if fragment.is_later() || !ipv6::is_extension(next_header) {
                break;
            }
            let extension = rest.get(header_len..).unwrap_or_default();
            let len = if next_header == 44 {
                FragmentHeader::ref_from_prefix(extension).ok().map(|(header, _)| {
                    fragment = header.fragment();
                    fragment_offset = header.fragment_offset();
                    id = Some(header.id.get());
                    size_of::<FragmentHeader>()
                })
            } else {
                ipv6::extension_len(next_header, extension).filter(|&len| len <= extension.len())
            };
            let (Some(len), Some(&following)) = (len, extension.first()) else {
                let needed = ipv6::extension_len(next_header, extension).unwrap_or(8);
                self.missing(Header::Ipv6, header_len + needed);
                complete = false;
                break;
            };
            // A segment routing header, RFC 8754 section 2.
            self.has_segments |= next_header == 43 && extension.get(2) == Some(&4);
            header_len += len;
            next_header = following;
        }
        self.network(Ip {
            packet: rest,
            header_len: header_len.min(rest.len()) as u32,
            version: 6,
            protocol: next_header,
            ttl: ipv6.hop_limit,
            tos: ipv6.traffic_class(),
            id,
            fragment,
            fragment_offset,
            total_len: total_len as u32,
        });
        if !complete || fragment.is_later() {
            return Next::Nothing;
        }
        if ipv6::is_extension(next_header) {
            return self.stop(Header::Ipv6, Reason::TooDeep);
        }
        Next::Protocol(next_header)
    }

    #[inline]
    pub(super) fn protocol(&mut self, value: u8) -> Next {
        match value {
            6 => Next::Tcp,
            17 => Next::Udp,
            1 => self.icmp(),
            58 => self.icmpv6(),
            132 => self.sctp(),
            51 => self.authentication(),
            136 => self.udp_lite(),
            33 => self.dccp(),
            47 => Next::Gre,
            50 => self.esp(),
            4 if self.has_segments => self.segments(Next::Ipv4),
            4 if self.enter(Encap::Ipip, None, Header::Ipv4) => Next::Ipv4,
            41 if self.has_segments => self.segments(Next::Ipv6),
            41 if self.enter(Encap::Ip6, None, Header::Ipv6) => Next::Ipv6,
            // Ethernet, RFC 8986 section 10.1.
            143 => self.segments(Next::Ethernet),
            97 => self.etherip(),
            103 => self.pim(),
            115 => self.l2tp_over_ip(),
            // RFC 4023 section 3.
            137 => Next::Mpls,
            _ => Next::Nothing,
        }
    }
}
