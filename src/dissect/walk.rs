//! The walk from the link layer to the innermost header: a loop over "what comes next".

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::layers::{Encap, Layers, Transport};
use crate::capture::LinkType;
use crate::wire::ethernet::{Ethernet, MIN_ETHERTYPE, Snap, Vlan, ethertype};
use crate::wire::gre::{Erspan2, Erspan3, Gre};
use crate::wire::gtpu::{self, Gtpu};
use crate::wire::ip::{Fragment, Ip};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, FragmentHeader, Ipv6};
use crate::wire::mpls;
use crate::wire::sctp::Sctp;
use crate::wire::sll::{self, Sll, Sll2};
use crate::wire::tcp::Tcp;
use crate::wire::udp::Udp;
use crate::wire::vxlan::{Geneve, Vxlan};
use crate::wire::{Header, Issue, Reason};

/// Reads the headers of a frame of which `frame` was captured and which had `wire_len` bytes on the wire.
///
/// Never fails: what cannot be read ends the walk, and [`Layers::issue`] says where and why.
#[inline]
pub fn dissect(link: LinkType, frame: &[u8], wire_len: u32) -> Layers<'_> {
    let wire_end = frame.len().max(wire_len as usize);
    let mut walk = Walk {
        layers: Layers::default(),
        frame,
        at: 0,
        wire_end,
        claimed_end: wire_end,
        in_link: true,
        is_fragment: false,
        id_before_gre: None,
        first_ip: None,
    };
    let mut next = match link {
        LinkType::ETHERNET => Next::Ethernet,
        LinkType::RAW | LinkType(12 | 14) => Next::Ip(Header::Link),
        LinkType::IPV4 => Next::Ipv4,
        LinkType::IPV6 => Next::Ipv6,
        LinkType::LINUX_SLL => Next::Sll,
        LinkType::LINUX_SLL2 => Next::Sll2,
        LinkType::NULL | LinkType::LOOP => Next::Loopback,
        _ => walk.stop(Header::Link, Reason::Unsupported),
    };
    for _ in 0..MAX_STEPS {
        next = match next {
            Next::Ethernet => walk.ethernet(),
            Next::Ethertype(value) => walk.ethertype(value),
            Next::Vlan => walk.vlan(),
            Next::Llc => walk.llc(),
            Next::Mpls => walk.mpls(),
            Next::Sll => walk.sll(),
            Next::Sll2 => walk.sll2(),
            Next::Loopback => walk.loopback(),
            Next::Arp => walk.arp(),
            Next::Ip(header) => walk.ip(header),
            Next::Ipv4 => walk.ipv4(),
            Next::Ipv6 => walk.ipv6(),
            Next::Protocol(value) => walk.protocol(value),
            Next::Tcp => walk.tcp(),
            Next::Udp => walk.udp(),
            Next::Vxlan => walk.vxlan(),
            Next::Geneve => walk.geneve(),
            Next::Gtpu => walk.gtpu(),
            Next::Gre => walk.gre(),
            Next::Erspan => walk.erspan(),
            Next::Erspan3 => walk.erspan3(),
            Next::Nothing => return walk.finish(),
        };
    }
    walk.note(Header::Link, Reason::TooDeep);
    walk.finish()
}

/// Headers in one frame, VLAN tags counted, label stacks and extension headers of one packet counted as one.
const MAX_STEPS: usize = 64;

/// Labels in one stack, and extension headers in one packet, that are walked over.
const MAX_REPEATS: usize = 32;

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Next {
    Ethernet,
    Ethertype(u16),
    Vlan,
    Llc,
    Mpls,
    Sll,
    Sll2,
    Loopback,
    Arp,
    /// IPv4 or IPv6, told from the version; the header is the one to blame if it is neither.
    Ip(Header),
    Ipv4,
    Ipv6,
    Protocol(u8),
    Tcp,
    Udp,
    Vxlan,
    Geneve,
    Gtpu,
    Gre,
    Erspan,
    Erspan3,
    Nothing,
}

struct Walk<'a> {
    layers: Layers<'a>,
    frame: &'a [u8],
    /// Offset of the header to be read.
    at: usize,
    /// Where the frame, or what the length fields so far leave of it, ended on the wire.
    wire_end: usize,
    /// Where the innermost IP packet ends by its own length field, be it in the frame or not.
    claimed_end: usize,
    /// Whether the outermost link layer is still being read.
    in_link: bool,
    /// Whether the first fragment of a packet was passed: what it carries may end early.
    is_fragment: bool,
    /// The tunnel id before the GRE header, which an ERSPAN session takes the place of.
    id_before_gre: Option<u32>,
    first_ip: Option<Ip<'a>>,
}

impl<'a> Walk<'a> {
    /// The captured bytes from here to the end of what the length fields leave.
    #[inline]
    fn rest(&self) -> &'a [u8] {
        let end = self.wire_end.min(self.frame.len());
        self.frame.get(self.at..end).unwrap_or_default()
    }

    /// The header here; without enough bytes, an issue.
    #[inline]
    fn view<T: FromBytes + KnownLayout + Immutable + Unaligned>(&mut self, header: Header) -> Option<&'a T> {
        if let Ok((view, _)) = T::ref_from_prefix(self.rest()) {
            return Some(view);
        }
        self.missing(header, size_of::<T>());
        None
    }

    /// Notes that `len` bytes of a header are not all there.
    #[cold]
    fn missing(&mut self, header: Header, len: usize) {
        let was_on_wire = self.at + len <= self.wire_end;
        self.note(header, if was_on_wire { Reason::Snapped } else { Reason::Truncated });
    }

    /// Notes an issue with the header here, unless there was one before.
    #[cold]
    fn note(&mut self, header: Header, reason: Reason) {
        self.layers.issue.get_or_insert(Issue { header, reason, offset: self.at as u32 });
    }

    #[cold]
    fn stop(&mut self, header: Header, reason: Reason) -> Next {
        self.note(header, reason);
        Next::Nothing
    }

    /// Ends the walk at something that is not read; it is the payload if there is no IP packet around it.
    #[inline]
    fn opaque(&mut self) -> Next {
        if self.layers.ip.is_none() {
            self.layers.payload = self.rest();
            self.layers.payload_len = self.wire_end.saturating_sub(self.at) as u32;
        }
        Next::Nothing
    }

    /// Sets the transport header of the innermost packet, `len` bytes long, and what follows it as its payload.
    #[inline]
    fn transport(&mut self, transport: Transport<'a>, len: usize) {
        self.layers.transport = transport;
        self.layers.payload_len = self.claimed_end.saturating_sub(self.at + len) as u32;
        self.at += len;
        self.layers.payload = self.rest();
    }

    /// Enters an encapsulation.
    #[inline]
    fn enter(&mut self, encap: Encap, id: Option<u32>, header: Header) -> bool {
        if !self.layers.encap.push(encap) {
            self.note(header, Reason::TooDeep);
            return false;
        }
        self.layers.tunnel_id = self.layers.tunnel_id.or(id);
        true
    }

    #[inline]
    fn finish(mut self) -> Layers<'a> {
        if !self.layers.encap.is_empty() {
            self.layers.outer = self.first_ip;
        }
        self.layers
    }

    // Link layers.

    #[inline]
    fn ethernet(&mut self) -> Next {
        let Some(ethernet) = self.view::<Ethernet>(Header::Ethernet) else { return Next::Nothing };
        if self.in_link && self.layers.eth_src.is_none() {
            self.layers.eth_src = Some(ethernet.src);
            self.layers.eth_dst = Some(ethernet.dst);
        } else {
            self.in_link = false;
        }
        self.at += size_of::<Ethernet>();
        self.type_or_length(ethernet.ethertype.get())
    }

    #[inline]
    fn type_or_length(&mut self, value: u16) -> Next {
        if value >= MIN_ETHERTYPE {
            return Next::Ethertype(value);
        }
        self.wire_end = self.wire_end.min(self.at + usize::from(value));
        Next::Llc
    }

    #[inline]
    fn ethertype(&mut self, value: u16) -> Next {
        let tag = matches!(value, ethertype::VLAN | ethertype::VLAN_SERVICE)
            || ethertype::VLAN_OLD.contains(&value);
        if tag {
            return Next::Vlan;
        }
        if self.in_link {
            self.layers.ethertype = Some(value);
        }
        match value {
            ethertype::IPV4 => Next::Ipv4,
            ethertype::IPV6 => Next::Ipv6,
            ethertype::ARP => Next::Arp,
            ethertype::MPLS | ethertype::MPLS_UPSTREAM => Next::Mpls,
            ethertype::TEB => {
                self.in_link = false;
                Next::Ethernet
            }
            _ => self.opaque(),
        }
    }

    #[inline]
    fn vlan(&mut self) -> Next {
        let Some(tag) = self.view::<Vlan>(Header::Vlan) else { return Next::Nothing };
        if self.in_link {
            if self.layers.vlan.is_none() {
                self.layers.vlan = Some(tag.id());
            } else if self.layers.vlan_inner.is_none() {
                self.layers.vlan_inner = Some(tag.id());
            }
        }
        self.at += size_of::<Vlan>();
        self.type_or_length(tag.ethertype.get())
    }

    fn llc(&mut self) -> Next {
        match self.rest() {
            [0x06, 0x06, 0x03, ..] => {
                self.at += 3;
                Next::Ip(Header::Llc)
            }
            [0xaa, 0xaa, 0x03, ..] => {
                let Some(snap) = self.view::<Snap>(Header::Llc) else { return Next::Nothing };
                match snap.carries() {
                    Some(value) => {
                        self.at += size_of::<Snap>();
                        Next::Ethertype(value)
                    }
                    None => self.opaque(),
                }
            }
            [_, _, _, ..] => self.opaque(),
            _ => {
                self.missing(Header::Llc, 3);
                Next::Nothing
            }
        }
    }

    fn mpls(&mut self) -> Next {
        for _ in 0..MAX_REPEATS {
            let Some(entry) = self.view::<mpls::Entry>(Header::Mpls) else { return Next::Nothing };
            if self.in_link {
                self.layers.mpls.push(entry.label());
            }
            self.at += size_of::<mpls::Entry>();
            if entry.is_bottom() {
                self.in_link = false;
                return match mpls::carries(self.rest()) {
                    mpls::Carries::Ipv4 => Next::Ipv4,
                    mpls::Carries::Ipv6 => Next::Ipv6,
                    mpls::Carries::Ethernet => Next::Ethernet,
                    mpls::Carries::ControlWordEthernet => {
                        self.at += 4;
                        Next::Ethernet
                    }
                    // A guess needs the first bytes of the frame inside.
                    mpls::Carries::Opaque if self.rest().len() < 4 + size_of::<Ethernet>() => {
                        self.opaque();
                        self.cut_short(Header::Mpls, self.rest().len() + 1)
                    }
                    mpls::Carries::Opaque => self.opaque(),
                };
            }
        }
        self.stop(Header::Mpls, Reason::TooDeep)
    }

    fn sll(&mut self) -> Next {
        let Some(cooked) = self.view::<Sll>(Header::Sll) else { return Next::Nothing };
        self.at += size_of::<Sll>();
        self.cooked(cooked.arphrd.get(), cooked.protocol.get(), cooked.address_len.get(), cooked.address)
    }

    fn sll2(&mut self) -> Next {
        let Some(cooked) = self.view::<Sll2>(Header::Sll) else { return Next::Nothing };
        self.at += size_of::<Sll2>();
        self.cooked(cooked.arphrd.get(), cooked.protocol.get(), cooked.address_len.into(), cooked.address)
    }

    fn cooked(&mut self, arphrd: u16, protocol: u16, address_len: u16, address: [u8; 8]) -> Next {
        let [a, b, c, d, e, f, ..] = address;
        self.layers.eth_src = (address_len == 6).then_some([a, b, c, d, e, f]);
        match sll::carries(arphrd, protocol) {
            sll::Carries::Ethertype(value) => Next::Ethertype(value),
            sll::Carries::Llc => Next::Llc,
            sll::Carries::Opaque => self.opaque(),
        }
    }

    fn loopback(&mut self) -> Next {
        let Some(&family) = self.rest().first_chunk::<4>() else {
            self.missing(Header::Loopback, 4);
            return Next::Nothing;
        };
        self.at += 4;
        // In the byte order of the host that captured, which nothing says: families are small numbers.
        let either = [u32::from_le_bytes(family), u32::from_be_bytes(family)];
        match either.into_iter().find_map(sll::family_ethertype) {
            Some(ethertype::IPV4) => Next::Ipv4,
            Some(_) => Next::Ipv6,
            None => self.opaque(),
        }
    }

    fn arp(&mut self) -> Next {
        let lengths = self.rest().get(4..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([6_u8, 4]);
        let len = 8 + 2 * lengths.into_iter().map(usize::from).sum::<usize>();
        if self.rest().len() < len {
            self.missing(Header::Arp, len);
        }
        self.opaque()
    }

    // Network layers.

    #[inline]
    fn ip(&mut self, header: Header) -> Next {
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
    fn limit(&mut self, header: Header, total_len: usize) {
        let end = self.at + total_len;
        if end > self.wire_end && !self.is_fragment {
            self.note(header, Reason::Truncated);
        }
        self.claimed_end = end;
        self.wire_end = self.wire_end.min(end);
    }

    /// Makes this the innermost packet; what it carries is its payload until a transport header is read.
    #[inline]
    fn network(&mut self, ip: Ip<'a>) {
        self.in_link = false;
        self.first_ip.get_or_insert(ip);
        self.is_fragment |= ip.fragment != Fragment::Whole;
        self.at += ip.header.len();
        self.layers.transport = Transport::None;
        self.layers.payload = ip.payload;
        self.layers.payload_len = self.claimed_end.saturating_sub(self.at) as u32;
        self.layers.ip = Some(ip);
    }

    #[inline]
    fn ipv4(&mut self) -> Next {
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
        let complete = rest.split_at_checked(header_len);
        if complete.is_none() {
            self.missing(Header::Ipv4, header_len);
        }
        let (header, payload) = complete.unwrap_or((rest, &[]));
        let fragment = ipv4.fragment();
        self.network(Ip {
            header,
            version: 4,
            protocol: ipv4.protocol,
            ttl: ipv4.ttl,
            tos: ipv4.tos,
            id: Some(ipv4.id.get().into()),
            fragment,
            total_len: total_len as u32,
            payload,
        });
        if complete.is_none() || fragment.is_later() || total_len == header_len {
            return Next::Nothing;
        }
        Next::Protocol(ipv4.protocol)
    }

    #[inline]
    fn ipv6(&mut self) -> Next {
        let Some(ipv6) = self.view::<Ipv6>(Header::Ipv6) else { return Next::Nothing };
        if ipv6.version() != 6 {
            return self.stop(Header::Ipv6, Reason::BadVersion);
        }
        let mut header_len = size_of::<Ipv6>();
        let mut next_header = ipv6.next_header;
        let mut fragment = Fragment::Whole;
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
        for _ in 0..MAX_REPEATS {
            if fragment.is_later() || !ipv6::is_extension(next_header) {
                break;
            }
            let extension = rest.get(header_len..).unwrap_or_default();
            let len = if next_header == 44 {
                FragmentHeader::ref_from_prefix(extension).ok().map(|(header, _)| {
                    fragment = header.fragment();
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
            header_len += len;
            next_header = following;
        }
        let (header, payload) = rest.split_at_checked(header_len).unwrap_or((rest, &[]));
        self.network(Ip {
            header,
            version: 6,
            protocol: next_header,
            ttl: ipv6.hop_limit,
            tos: ipv6.traffic_class(),
            id,
            fragment,
            total_len: total_len as u32,
            payload,
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
    fn protocol(&mut self, value: u8) -> Next {
        match value {
            6 => Next::Tcp,
            17 => Next::Udp,
            1 => self.icmp(),
            58 => self.icmpv6(),
            132 => self.sctp(),
            51 => self.authentication(),
            47 => Next::Gre,
            4 if self.enter(Encap::Ipip, None, Header::Ipv4) => Next::Ipv4,
            41 if self.enter(Encap::Ip6, None, Header::Ipv6) => Next::Ipv6,
            _ => Next::Nothing,
        }
    }

    // Transports.

    #[inline]
    fn tcp(&mut self) -> Next {
        let Some(tcp) = self.view::<Tcp>(Header::Tcp) else { return Next::Nothing };
        let header_len = tcp.header_len();
        if header_len < size_of::<Tcp>() {
            self.note(Header::Tcp, Reason::BadLength);
        } else if self.rest().len() < header_len {
            self.missing(Header::Tcp, header_len);
        }
        self.transport(Transport::Tcp(tcp), header_len.max(size_of::<Tcp>()));
        Next::Nothing
    }

    #[inline]
    fn udp(&mut self) -> Next {
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
        match (udp.src_port.get(), udp.dst_port.get()) {
            (_, 4789 | 8472) => Next::Vxlan,
            (_, 6081) => Next::Geneve,
            (2152, _) | (_, 2152) => Next::Gtpu,
            _ => Next::Nothing,
        }
    }

    /// An authentication header behind IPv4, RFC 4302; behind IPv6 it is one of the extension headers.
    fn authentication(&mut self) -> Next {
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

    fn sctp(&mut self) -> Next {
        if let Some(sctp) = self.view::<Sctp>(Header::Sctp) {
            self.transport(Transport::Sctp(sctp), size_of::<Sctp>());
        }
        Next::Nothing
    }

    fn icmp(&mut self) -> Next {
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

    fn icmpv6(&mut self) -> Next {
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

    // Tunnels. Those over UDP are known by a port only: without their fixed bits they stay payload.

    fn vxlan(&mut self) -> Next {
        match Vxlan::ref_from_prefix(self.rest()) {
            Ok((vxlan, _)) if vxlan.is_plausible() => {
                if !self.enter(Encap::Vxlan, Some(vxlan.vni.get() >> 8), Header::Vxlan) {
                    return Next::Nothing;
                }
                self.at += size_of::<Vxlan>();
                Next::Ethernet
            }
            _ => self.cut_short(Header::Vxlan, size_of::<Vxlan>()),
        }
    }

    fn geneve(&mut self) -> Next {
        match Geneve::ref_from_prefix(self.rest()) {
            Ok((geneve, _)) if geneve.is_plausible() => {
                let len = size_of::<Geneve>() + geneve.options_len();
                if self.rest().len() < len {
                    self.missing(Header::Geneve, len);
                    return Next::Nothing;
                }
                if !self.enter(Encap::Geneve, Some(geneve.vni.get() >> 8), Header::Geneve) {
                    return Next::Nothing;
                }
                self.at += len;
                Next::Ethertype(geneve.protocol.get())
            }
            _ => self.cut_short(Header::Geneve, size_of::<Geneve>()),
        }
    }

    fn gtpu(&mut self) -> Next {
        let Ok((gtpu, behind)) = Gtpu::ref_from_prefix(self.rest()) else {
            return self.cut_short(Header::Gtpu, size_of::<Gtpu>());
        };
        if !gtpu.is_g_pdu() {
            return Next::Nothing;
        }
        let Some(optional_len) = gtpu::optional_len(gtpu, behind) else {
            return self.cut_short(Header::Gtpu, self.rest().len() + 1);
        };
        let header_len = size_of::<Gtpu>() + optional_len;
        match behind.get(optional_len).map(|first| first >> 4) {
            Some(4 | 6) if self.enter(Encap::Gtpu, Some(gtpu.teid.get()), Header::Gtpu) => {
                self.at += header_len;
                Next::Ip(Header::Gtpu)
            }
            Some(_) => Next::Nothing,
            None => self.cut_short(Header::Gtpu, header_len + 1),
        }
    }

    /// Ends the walk before a header that might have been one, had more been captured.
    fn cut_short(&mut self, header: Header, len: usize) -> Next {
        let was_on_wire = self.at + len <= self.wire_end;
        if self.rest().len() < len && was_on_wire {
            self.note(header, Reason::Snapped);
        }
        Next::Nothing
    }

    fn gre(&mut self) -> Next {
        let Some(gre) = self.view::<Gre>(Header::Gre) else { return Next::Nothing };
        match gre.version() {
            0 => {}
            // PPTP's, which carries PPP.
            1 => return Next::Nothing,
            _ => return self.stop(Header::Gre, Reason::BadVersion),
        }
        let mut len = size_of::<Gre>();
        if gre.has_checksum() || gre.has_routing() {
            len += 4;
        }
        let key_at = len;
        len += 4 * (usize::from(gre.has_key()) + usize::from(gre.has_sequence()));
        if gre.has_routing() {
            // Source route entries, each with its length in its fourth byte; an empty one ends them (RFC 1701).
            for _ in 0..MAX_REPEATS {
                let Some(&[a, b, _, entry]) = self.rest().get(len..).and_then(|route| route.first_chunk())
                else {
                    break;
                };
                len += 4 + usize::from(entry);
                if (a, b, entry) == (0, 0, 0) {
                    break;
                }
            }
        }
        let rest = self.rest();
        if rest.len() < len {
            self.missing(Header::Gre, len);
            return Next::Nothing;
        }
        let key = rest.get(key_at..).and_then(|rest| rest.first_chunk()).map(|&key| u32::from_be_bytes(key));
        self.id_before_gre = self.layers.tunnel_id;
        if !self.enter(Encap::Gre, key.filter(|_| gre.has_key()), Header::Gre) {
            return Next::Nothing;
        }
        self.at += len;
        match gre.protocol.get() {
            ethertype::ERSPAN if gre.has_sequence() => Next::Erspan,
            ethertype::ERSPAN => self.mirrored(Encap::Erspan1, None, 0, Next::Ethernet),
            ethertype::ERSPAN3 => Next::Erspan3,
            ethertype::WCCP => {
                // Version 2 has a redirect header of 4 bytes, version 1 has none; nothing else tells them apart.
                self.at += if self.rest().first().is_some_and(|first| first >> 4 == 4) { 0 } else { 4 };
                Next::Ipv4
            }
            protocol => Next::Ethertype(protocol),
        }
    }

    fn erspan(&mut self) -> Next {
        let Some(erspan) = self.view::<Erspan2>(Header::Erspan) else { return Next::Nothing };
        match erspan.version_vlan.get() >> 12 {
            1 => {
                let session = u32::from(erspan.session.get() & 0x3ff);
                self.mirrored(Encap::Erspan2, Some(session), size_of::<Erspan2>(), Next::Ethernet)
            }
            2 => Next::Erspan3,
            _ => self.stop(Header::Erspan, Reason::BadVersion),
        }
    }

    fn erspan3(&mut self) -> Next {
        let Some(erspan) = self.view::<Erspan3>(Header::Erspan) else { return Next::Nothing };
        if erspan.version_vlan.get() >> 12 != 2 {
            return self.stop(Header::Erspan, Reason::BadVersion);
        }
        let len = size_of::<Erspan3>() + if erspan.has_subheader() { 8 } else { 0 };
        if self.rest().len() < len {
            self.missing(Header::Erspan, len);
            return Next::Nothing;
        }
        let carries = match erspan.frame_type() {
            0 => Next::Ethernet,
            2 => Next::Ip(Header::Erspan),
            _ => Next::Nothing,
        };
        self.mirrored(Encap::Erspan3, Some(u32::from(erspan.session.get() & 0x3ff)), len, carries)
    }

    /// Enters a mirrored frame, whose session names the tunnel better than the key of the GRE around it.
    fn mirrored(&mut self, encap: Encap, session: Option<u32>, len: usize, carries: Next) -> Next {
        if session.is_some() {
            self.layers.tunnel_id = self.id_before_gre;
        }
        if !self.enter(encap, session, Header::Erspan) {
            return Next::Nothing;
        }
        self.at += len;
        carries
    }
}

/// Length of an ICMP header, RFC 792.
const ICMP_LEN: usize = 8;

/// Length of what all ICMPv6 messages begin with, RFC 4443 section 2.1.
const ICMPV6_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ip::Addr;

    const MACS: &[u8] = &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

    fn v4(last: u8) -> Addr {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, last]
    }

    fn join(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    fn eth(ethertype: u16, payload: &[u8]) -> Vec<u8> {
        join(&[MACS, &ethertype.to_be_bytes(), payload])
    }

    /// IPv4 from 192.0.2.`from` to 192.0.2.`to`, without checksum.
    fn ipv4(protocol: u8, from: u8, to: u8, payload: &[u8]) -> Vec<u8> {
        let len = (20 + payload.len() as u16).to_be_bytes();
        join(&[
            &[0x45, 0, len[0], len[1], 0, 7, 0, 0, 61, protocol, 0, 0, 192, 0, 2, from, 192, 0, 2, to],
            payload,
        ])
    }

    fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
        let len = (payload.len() as u16).to_be_bytes();
        let mut src = [0; 16];
        let mut dst = [0; 16];
        (src[0], src[15], dst[0], dst[15]) = (0x20, 1, 0x20, 2);
        join(&[&[0x60, 0, 0, 0, len[0], len[1], next, 58], &src, &dst, payload])
    }

    fn udp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
        let len = (8 + payload.len()) as u16;
        join(&[&src.to_be_bytes(), &dst.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload])
    }

    fn tcp(payload: &[u8]) -> Vec<u8> {
        join(&[&[0, 80, 0xc3, 0x50, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0, 99, 0, 0, 0, 0], payload])
    }

    fn read(link: LinkType, frame: &[u8]) -> Layers<'_> {
        dissect(link, frame, frame.len() as u32)
    }

    /// What every test of a tunnel expects inside: UDP from port 5 to 6 with two bytes, from 192.0.2.1 to 192.0.2.2.
    fn inner() -> Vec<u8> {
        ipv4(17, 1, 2, &udp(5, 6, b"hi"))
    }

    fn assert_inner(frame: &[u8], link: LinkType, encap: &str, id: Option<u32>) {
        let layers = read(link, frame);
        assert_eq!(layers.issue, None, "{encap}");
        assert_eq!(layers.encap.to_string(), encap);
        assert_eq!(layers.tunnel_id, id, "{encap}");
        let ip = layers.ip.unwrap();
        assert_eq!((ip.src(), ip.dst(), ip.ttl, layers.ports()), (v4(1), v4(2), 61, Some((5, 6))), "{encap}");
        assert_eq!((layers.payload, layers.payload_len), (&b"hi"[..], 2), "{encap}");
        let outer = layers.outer.map(|ip| (ip.src(), ip.dst()));
        assert_eq!(outer.is_some(), !encap.is_empty());
        if let Some((src, dst)) = outer.filter(|&(src, _)| src[0] == 0) {
            assert_eq!((src, dst), (v4(8), v4(9)), "{encap}");
        }
    }

    fn tunnelled(protocol: u8, header: &[u8], carried: &[u8]) -> Vec<u8> {
        eth(0x0800, &ipv4(protocol, 8, 9, &join(&[header, carried])))
    }

    /// Every tunnel and every link type, each around the same packet.
    fn samples() -> Vec<(Vec<u8>, LinkType, &'static str, Option<u32>)> {
        let packet = inner();
        let frame = eth(0x0800, &packet);
        let over_udp = |port, header: &[u8], carried: &[u8]| {
            tunnelled(17, &[], &udp(4000, port, &join(&[header, carried])))
        };
        let ethernet = LinkType::ETHERNET;
        let cooked = [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0][..], &packet].concat();
        let cooked2 = [&[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &packet].concat();
        vec![
            (frame.clone(), ethernet, "", None),
            (packet.clone(), LinkType::RAW, "", None),
            (packet.clone(), LinkType::IPV4, "", None),
            (cooked, LinkType::LINUX_SLL, "", None),
            (cooked2, LinkType::LINUX_SLL2, "", None),
            ([&[2, 0, 0, 0][..], &packet].concat(), LinkType::NULL, "", None),
            ([&[0, 0, 0, 2][..], &packet].concat(), LinkType::LOOP, "", None),
            // LLC and SNAP, behind a length.
            (join(&[MACS, &[0, 8 + 30], &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &packet]), ethernet, "", None),
            (eth(0x8100, &join(&[&[0, 210, 8, 0], &packet])), ethernet, "", None),
            (eth(0x88a8, &join(&[&[0, 100, 0x81, 0, 0, 200, 8, 0], &packet])), ethernet, "", None),
            (eth(0x8847, &join(&[&[0, 1, 0, 64, 0, 2, 1, 64], &packet])), ethernet, "", None),
            (eth(0x8847, &join(&[&[0, 2, 1, 64, 0, 0, 0, 0], &frame])), ethernet, "", None),
            // RFC 2784 and RFC 2890: plain, with key, with checksum, key and sequence number.
            (tunnelled(47, &[0, 0, 8, 0], &packet), ethernet, "gre", None),
            (tunnelled(47, &[0x20, 0, 8, 0, 0, 0, 1, 2], &packet), ethernet, "gre", Some(258)),
            (
                tunnelled(47, &[0xb0, 0, 8, 0, 9, 9, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1], &packet),
                ethernet,
                "gre",
                Some(7),
            ),
            (tunnelled(47, &[0, 0, 0x65, 0x58], &frame), ethernet, "gre", None),
            (tunnelled(47, &[0, 0, 0x88, 0xbe], &frame), ethernet, "gre/erspan1", None),
            (
                tunnelled(47, &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 17, 0, 0, 0, 0], &frame),
                ethernet,
                "gre/erspan2",
                Some(17),
            ),
            (
                tunnelled(
                    47,
                    &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0],
                    &frame,
                ),
                ethernet,
                "gre/erspan3",
                Some(17),
            ),
            // With the platform subheader that the O bit announces.
            (
                tunnelled(
                    47,
                    &[
                        0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0,
                        0, 0, 0, 0,
                    ],
                    &frame,
                ),
                ethernet,
                "gre/erspan3",
                Some(17),
            ),
            (over_udp(4789, &[8, 0, 0, 0, 0, 0, 5, 0], &frame), ethernet, "vxlan", Some(5)),
            // One option of four bytes.
            (
                over_udp(6081, &[1, 0, 0x65, 0x58, 0, 0, 5, 0, 1, 2, 3, 0], &frame),
                ethernet,
                "geneve",
                Some(5),
            ),
            (over_udp(2152, &[0x30, 255, 0, 30, 0, 0, 1, 0], &packet), ethernet, "gtpu", Some(256)),
            // A sequence number, and an extension header of four bytes (TS 29.281 section 5.2.1).
            (
                over_udp(2152, &[0x36, 255, 0, 38, 0, 0, 1, 0, 0, 1, 0, 0x85, 1, 0x10, 9, 0], &packet),
                ethernet,
                "gtpu",
                Some(256),
            ),
            (tunnelled(4, &[], &packet), ethernet, "ipip", None),
            (eth(0x86dd, &ipv6(4, &packet)), ethernet, "ipip", None),
            (tunnelled(47, &[0, 0, 8, 0], &ipv4(4, 3, 4, &packet)), ethernet, "gre/ipip", None),
        ]
    }

    #[test]
    fn every_wrapping_is_seen_through() {
        for (frame, link, encap, id) in samples() {
            assert_inner(&frame, link, encap, id);
        }
    }

    #[test]
    fn the_link_is_the_outermost_one() {
        let frame = eth(0x88a8, &join(&[&[0, 100, 0x81, 0, 0, 200, 8, 0], &inner()]));
        let layers = read(LinkType::ETHERNET, &frame);
        assert_eq!((layers.vlan, layers.vlan_inner, layers.ethertype), (Some(100), Some(200), Some(0x0800)));
        assert_eq!((layers.eth_src, layers.eth_dst), (Some([2, 0, 0, 0, 0, 1]), Some([2, 0, 0, 0, 0, 2])));
        let frame = eth(0x8847, &join(&[&[0, 1, 0, 64, 0, 2, 1, 64], &inner()]));
        assert_eq!(read(LinkType::ETHERNET, &frame).mpls.as_slice(), [16, 32]);
        let tagged = eth(0x8100, &join(&[&[0, 210, 8, 0], &inner()]));
        let frame = tunnelled(47, &[0, 0, 0x65, 0x58], &tagged);
        assert_eq!(read(LinkType::ETHERNET, &frame).vlan, None);
    }

    /// Cut at every length: no panic, and inside a header an issue that says whether the frame or the capture was short.
    #[test]
    fn every_prefix_says_where_it_stopped() {
        for (frame, link, encap, _) in samples() {
            let headers = frame.len() - 2;
            for len in 0..frame.len() {
                let prefix = &frame[..len];
                let snapped = dissect(link, prefix, frame.len() as u32);
                let truncated = dissect(link, prefix, len as u32);
                if len < headers {
                    let reason = |layers: Layers<'_>| layers.issue.map(|issue| issue.reason);
                    assert_eq!(reason(snapped), Some(Reason::Snapped), "{encap} cut at {len}");
                    // What lies behind labels has no type: without its first bytes nothing says that they are missing.
                    let guessed = !truncated.mpls.as_slice().is_empty() && truncated.issue.is_none();
                    assert!(guessed || reason(truncated) == Some(Reason::Truncated), "{encap} cut at {len}");
                    assert!(snapped.issue.unwrap().offset as usize <= len);
                } else {
                    assert_eq!((snapped.issue, snapped.payload_len), (None, 2), "{encap} cut at {len}");
                }
            }
        }
    }

    #[test]
    fn ipv4_lengths() {
        // Padding to the least Ethernet frame is no payload.
        let padded = eth(0x0800, &join(&[&inner(), &[0; 18]]));
        assert_eq!(read(LinkType::ETHERNET, &padded).payload, b"hi");
        // Total length 0: segmentation offload, the packet fills the frame.
        let mut offloaded = ipv4(6, 1, 2, &tcp(b"abc"));
        offloaded[2..4].fill(0);
        let layers = read(LinkType::RAW, &offloaded);
        assert_eq!((layers.issue, layers.payload), (None, &b"abc"[..]));
        let mut short = inner();
        short[0] = 0x44;
        assert_eq!(read(LinkType::RAW, &short).issue.unwrap().reason, Reason::BadLength);
        let mut options = ipv4(17, 1, 2, &join(&[&[1, 1, 1, 0], &udp(5, 6, b"hi")]));
        options[0] = 0x46;
        assert_eq!(read(LinkType::RAW, &options).ports(), Some((5, 6)));
    }

    #[test]
    fn fragments() {
        let mut first = inner();
        first[6] = 0x20;
        let layers = read(LinkType::RAW, &first);
        assert_eq!((layers.ip.unwrap().fragment, layers.ports()), (Fragment::First, Some((5, 6))));
        let mut last = inner();
        last[7] = 3;
        let layers = read(LinkType::RAW, &last);
        assert_eq!((layers.ip.unwrap().fragment, layers.ports()), (Fragment::Last, None));
        assert_eq!(layers.payload_len, 10);
    }

    #[test]
    fn extension_headers() {
        let datagram = udp(5, 6, b"hi");
        // Hop-by-hop, routing, destination options, then UDP.
        let chain = join(&[
            &[43, 0, 1, 4, 0, 0, 0, 0],
            &[60, 0, 0, 0, 0, 0, 0, 0],
            &[17, 0, 1, 4, 0, 0, 0, 0],
            &datagram,
        ]);
        let packet = ipv6(0, &chain);
        let layers = read(LinkType::RAW, &packet);
        assert_eq!((layers.issue, layers.ports(), layers.ip.unwrap().protocol), (None, Some((5, 6)), 17));
        assert_eq!(layers.ip.unwrap().header.len(), 64);
        // A first fragment, RFC 8200 section 4.5.
        let packet = ipv6(44, &join(&[&[17, 0, 0, 1, 0, 1, 0, 2], &datagram]));
        let ip = read(LinkType::RAW, &packet).ip.unwrap();
        assert_eq!((ip.fragment, ip.id), (Fragment::First, Some(0x10002)));
    }

    #[test]
    fn transports() {
        let packet = ipv4(6, 1, 2, &tcp(b"abc"));
        let layers = read(LinkType::RAW, &packet);
        let Transport::Tcp(header) = layers.transport else { panic!("no TCP") };
        assert_eq!(
            (header.seq.get(), header.ack.get(), header.flags(), header.window.get()),
            (1, 2, 0x18, 99)
        );
        let mut bad = packet.clone();
        bad[20 + 12] = 0x40;
        let issue = read(LinkType::RAW, &bad).issue.unwrap();
        assert_eq!((issue.header, issue.reason, issue.offset), (Header::Tcp, Reason::BadLength, 20));
        let bad = ipv4(17, 1, 2, &[0, 5, 0, 6, 0, 7, 0, 0, 1]);
        assert_eq!(read(LinkType::RAW, &bad).issue.unwrap().header, Header::Udp);
        let ping = ipv4(1, 1, 2, &[8, 0, 0, 0, 0, 1, 0, 2, 42]);
        let layers = read(LinkType::RAW, &ping);
        assert!(matches!(layers.transport, Transport::Icmp { kind: 8, code: 0 }));
        assert_eq!(layers.payload, [42]);
    }

    #[test]
    fn what_only_a_port_says_is_not_believed() {
        // VXLAN without its I bit, GTP-U of version 2, GENEVE of version 1.
        for (port, payload) in [
            (4789, [0_u8; 8]),
            (2152, [0x48, 255, 0, 0, 0, 0, 0, 1]),
            (6081, [0x40, 0, 0x65, 0x58, 0, 0, 5, 0]),
        ] {
            let packet = ipv4(17, 8, 9, &udp(4000, port, &join(&[&payload, &eth(0x0800, &inner())])));
            let layers = read(LinkType::RAW, &packet);
            assert!(layers.encap.is_empty() && layers.outer.is_none() && layers.issue.is_none(), "{port}");
            assert_eq!(layers.ports(), Some((4000, port)));
        }
    }

    #[test]
    fn depth_is_limited() {
        let mut packet = inner();
        for _ in 0..20 {
            packet = ipv4(4, 8, 9, &packet);
        }
        let layers = read(LinkType::RAW, &packet);
        assert_eq!((layers.encap.len(), layers.issue.unwrap().reason), (8, Reason::TooDeep));
        let tags: Vec<u8> = [0, 1, 0x81, 0].repeat(200);
        assert_eq!(read(LinkType::ETHERNET, &eth(0x8100, &tags)).issue.unwrap().reason, Reason::TooDeep);
    }

    #[test]
    fn frames_that_are_not_read_are_opaque() {
        let layers = read(LinkType(147), &[1, 2, 3]);
        assert_eq!(layers.issue.unwrap().reason, Reason::Unsupported);
        let lldp = eth(0x88cc, &[2, 7, 4]);
        let layers = read(LinkType::ETHERNET, &lldp);
        assert_eq!((layers.issue, layers.payload, layers.ip.is_none()), (None, &[2, 7, 4][..], true));
        // ARP in VXLAN: the tunnel's own packet is the innermost.
        let arp = eth(
            0x0806,
            &[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 2],
        );
        let frame = tunnelled(17, &[], &udp(4000, 4789, &join(&[&[8, 0, 0, 0, 0, 0, 5, 0], &arp])));
        let layers = read(LinkType::ETHERNET, &frame);
        assert_eq!(
            (layers.issue, layers.ip.unwrap().src(), layers.ports()),
            (None, v4(8), Some((4000, 4789)))
        );
    }
}
