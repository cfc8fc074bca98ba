//! From the link layer to the first packet.

use zerocopy::FromBytes;

use super::layers::Encap;
use super::walk::{MAX_REPEATS, Next, Walk};
use crate::capture::LinkType;
use crate::wire::ethernet::{Ethernet, MIN_ETHERTYPE, Snap, Vlan, ethertype};
use crate::wire::frame_relay::{self, nlpid};
use crate::wire::nflog::{self, Nflog};
use crate::wire::ppp::{self, CiscoHdlc, Pppoe};
use crate::wire::sll::{self, Sll, Sll2};
use crate::wire::tag::{CiscoMetaData, Docsis, ETag, Isl, MACSEC_ICV_LEN, MacSec, VnTag};
use crate::wire::wlan::{self, Ppi, Radiotap, Wlan};
use crate::wire::{Header, Reason, mpls};

impl Walk<'_, '_> {
    #[inline]
    pub(super) fn link(&mut self, link: LinkType) -> Next {
        match link {
            LinkType::ETHERNET => self.ethernet(),
            LinkType::RAW | LinkType(12 | 14) => Next::Ip(Header::Link),
            LinkType::IPV4 => Next::Ipv4,
            LinkType::IPV6 => Next::Ipv6,
            LinkType::LINUX_SLL => Next::Sll,
            LinkType::LINUX_SLL2 => Next::Sll2,
            LinkType::NULL | LinkType::LOOP => Next::Loopback,
            // Cisco's framing has another address than PPP's, RFC 1662 section 3.1.
            LinkType::PPP_HDLC if self.rest().first().is_some_and(|&first| first != 0xff) => Next::CiscoHdlc,
            LinkType::PPP | LinkType::PPP_HDLC => Next::Ppp,
            LinkType::PPP_ETHER => Next::Pppoe,
            LinkType::C_HDLC => Next::CiscoHdlc,
            LinkType::FRELAY => Next::FrameRelay,
            LinkType::ATM_RFC1483 => Next::Llc,
            LinkType::IEEE802_11 => Next::Wlan,
            LinkType::IEEE802_11_RADIOTAP => Next::Radiotap,
            LinkType::PPI => Next::Ppi,
            LinkType::NFLOG => Next::Nflog,
            LinkType::IPOIB => Next::Ipoib,
            LinkType::DOCSIS => Next::Docsis,
            LinkType::JUNIPER_ETHER => Next::Juniper,
            LinkType::PKTAP => Next::Pktap,
            _ => self.stop(Header::Link, Reason::Unsupported),
        }
    }

    #[inline]
    pub(super) fn ethernet(&mut self) -> Next {
        let Some(ethernet) = self.view::<Ethernet>(Header::Ethernet) else { return Next::Nothing };
        if self.in_link && self.layers.eth_src.is_none() {
            self.layers.eth_src = Some(ethernet.src);
            self.layers.eth_dst = Some(ethernet.dst);
        } else {
            self.in_link = false;
        }
        if Isl::begins_with(ethernet.dst) && self.rest().get(14..17) == Some(&[0xaa, 0xaa, 0x03]) {
            return Next::Isl;
        }
        self.at += size_of::<Ethernet>();
        self.type_or_length(ethernet.ethertype.get())
    }

    #[inline]
    pub(super) fn type_or_length(&mut self, value: u16) -> Next {
        if value >= MIN_ETHERTYPE {
            return self.ethertype(value);
        }
        self.wire_end = self.wire_end.min(self.at + usize::from(value));
        Next::Llc
    }

    #[inline]
    pub(super) fn ethertype(&mut self, value: u16) -> Next {
        let tag = matches!(value, ethertype::VLAN | ethertype::VLAN_SERVICE)
            || ethertype::VLAN_OLD.contains(&value);
        if tag {
            return Next::Vlan;
        }
        if self.in_link {
            self.layers.ethertype = Some(value);
        }
        self.carried(value)
    }

    /// What an EtherType says, be it in a link layer or in a tunnel.
    #[inline]
    pub(super) fn carried(&mut self, value: u16) -> Next {
        match value {
            ethertype::IPV4 => Next::Ipv4,
            ethertype::IPV6 => Next::Ipv6,
            ethertype::ARP => Next::Arp,
            ethertype::MPLS | ethertype::MPLS_UPSTREAM => Next::Mpls,
            ethertype::TEB => {
                self.in_link = false;
                Next::Ethernet
            }
            ethertype::PPPOE => Next::Pppoe,
            ethertype::I_TAG
            | ethertype::E_TAG
            | ethertype::VN_TAG
            | ethertype::CISCO_METADATA
            | ethertype::FABRIC_PATH => Next::Tag(value),
            ethertype::MACSEC => Next::MacSec,
            ethertype::NSH => Next::Nsh,
            ethertype::PPP => Next::Ppp,
            _ => self.opaque(),
        }
    }

    #[inline]
    pub(super) fn vlan(&mut self) -> Next {
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

    pub(super) fn llc(&mut self) -> Next {
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

    pub(super) fn mpls(&mut self) -> Next {
        for depth in 0..MAX_REPEATS {
            let Some(entry) = self.view::<mpls::Entry>(Header::Mpls) else { return Next::Nothing };
            if self.in_link {
                self.layers.mpls.push(entry.label());
            } else if depth == 0
                && self.layers.ip.is_some()
                && !self.enter(Encap::Mpls, Some(entry.label()), Header::Mpls)
            {
                return Next::Nothing;
            }
            self.at += size_of::<mpls::Entry>();
            if entry.is_bottom() {
                self.in_link = false;
                self.may_be_plain = true;
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

    pub(super) fn sll(&mut self) -> Next {
        let Some(cooked) = self.view::<Sll>(Header::Sll) else { return Next::Nothing };
        self.at += size_of::<Sll>();
        self.cooked(cooked.arphrd.get(), cooked.protocol.get(), cooked.address_len.get(), cooked.address)
    }

    pub(super) fn sll2(&mut self) -> Next {
        let Some(cooked) = self.view::<Sll2>(Header::Sll) else { return Next::Nothing };
        self.at += size_of::<Sll2>();
        self.cooked(cooked.arphrd.get(), cooked.protocol.get(), cooked.address_len.into(), cooked.address)
    }

    pub(super) fn cooked(&mut self, arphrd: u16, protocol: u16, address_len: u16, address: [u8; 8]) -> Next {
        let [a, b, c, d, e, f, ..] = address;
        self.layers.eth_src = (address_len == 6).then_some([a, b, c, d, e, f]);
        match sll::carries(arphrd, protocol) {
            sll::Carries::Link(link) => Next::Link(link),
            sll::Carries::Ethertype(value) => Next::Ethertype(value),
            sll::Carries::Llc => Next::Llc,
            sll::Carries::Opaque => self.opaque(),
        }
    }

    pub(super) fn loopback(&mut self) -> Next {
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

    pub(super) fn arp(&mut self) -> Next {
        let lengths = self.rest().get(4..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([6_u8, 4]);
        let len = 8 + 2 * lengths.into_iter().map(usize::from).sum::<usize>();
        if self.rest().len() < len {
            self.missing(Header::Arp, len);
        }
        self.opaque()
    }

    // Shims.

    /// Tags that carry an EtherType or a whole frame.
    pub(super) fn tag(&mut self, kind: u16) -> Next {
        let (len, ethertype) = match kind {
            ethertype::E_TAG => (size_of::<ETag>(), self.view::<ETag>(Header::Tag).map(|tag| tag.ethertype)),
            ethertype::VN_TAG => {
                (size_of::<VnTag>(), self.view::<VnTag>(Header::Tag).map(|tag| tag.ethertype))
            }
            ethertype::CISCO_METADATA => {
                (size_of::<CiscoMetaData>(), self.view::<CiscoMetaData>(Header::Tag).map(|tag| tag.ethertype))
            }
            // A service instance of 4 bytes, or a fabric path tag of 2, then a frame.
            _ => {
                let len = if kind == ethertype::I_TAG { 4 } else { 2 };
                if self.rest().len() < len {
                    self.missing(Header::Tag, len);
                    return Next::Nothing;
                }
                self.at += len;
                return Next::Ethernet;
            }
        };
        let Some(ethertype) = ethertype else { return Next::Nothing };
        self.at += len;
        self.type_or_length(ethertype.get())
    }

    /// Stays closed unless only its integrity is protected.
    pub(super) fn macsec(&mut self) -> Next {
        let Some(tag) = self.view::<MacSec>(Header::Tag) else { return Next::Nothing };
        let (is_clear, len) = (tag.is_clear(), tag.header_len());
        if !is_clear {
            return self.opaque();
        }
        let Some(value) = self.rest().get(len..).and_then(|rest| rest.first_chunk()) else {
            self.missing(Header::Tag, len + 2);
            return Next::Nothing;
        };
        self.at += len + 2;
        self.wire_end = self.wire_end.saturating_sub(MACSEC_ICV_LEN).max(self.at);
        self.type_or_length(u16::from_be_bytes(*value))
    }

    pub(super) fn isl(&mut self) -> Next {
        let Some(isl) = self.view::<Isl>(Header::Ethernet) else { return Next::Nothing };
        if self.in_link && self.layers.vlan.is_none() {
            self.layers.vlan = Some(isl.vlan.get() >> 1);
        }
        self.at += size_of::<Isl>();
        Next::Ethernet
    }

    pub(super) fn pppoe(&mut self) -> Next {
        let Some(pppoe) = self.view::<Pppoe>(Header::Ppp) else { return Next::Nothing };
        if pppoe.version_type != 0x11 {
            return self.stop(Header::Ppp, Reason::BadVersion);
        }
        if pppoe.code != 0 {
            return self.opaque();
        }
        let end = self.at + size_of::<Pppoe>() + usize::from(pppoe.length.get());
        if end > self.wire_end {
            self.note(Header::Ppp, Reason::Truncated);
        }
        self.at += size_of::<Pppoe>();
        self.wire_end = self.wire_end.min(end);
        Next::Ppp
    }

    pub(super) fn ppp(&mut self) -> Next {
        let Some((protocol, len)) = ppp::protocol(self.rest()) else {
            let len = self.rest().len() + 1;
            self.missing(Header::Ppp, len);
            return Next::Nothing;
        };
        match ppp::ethertype(protocol) {
            Some(value) => {
                self.at += len;
                self.carried(value)
            }
            None => self.opaque(),
        }
    }

    pub(super) fn cisco_hdlc(&mut self) -> Next {
        let Some(hdlc) = self.view::<CiscoHdlc>(Header::Ppp) else { return Next::Nothing };
        self.at += size_of::<CiscoHdlc>();
        Next::Ethertype(hdlc.protocol.get())
    }

    /// RFC 2427's encapsulation begins with a control field, which is no EtherType as Cisco's encapsulation has it.
    pub(super) fn frame_relay(&mut self) -> Next {
        let rest = self.rest();
        let Some(address_len) = frame_relay::address_len(rest) else {
            self.missing(Header::FrameRelay, rest.len().min(4) + 1);
            return Next::Nothing;
        };
        self.at += address_len;
        match self.rest() {
            [nlpid::UI, nlpid::PAD, nlpid::SNAP, snap @ ..] | [nlpid::UI, nlpid::SNAP, snap @ ..] => {
                let before = self.rest().len() - snap.len();
                match *snap {
                    [0, 0, 0, hi, lo, ..] => {
                        self.at += before + 5;
                        Next::Ethertype(u16::from_be_bytes([hi, lo]))
                    }
                    // Bridged Ethernet, with and without its checksum (RFC 2427 section 4.2).
                    [0, 0x80, 0xc2, 0, 1 | 7, ..] => {
                        self.at += before + 5;
                        Next::Ethernet
                    }
                    [_, _, _, _, _, ..] => self.opaque(),
                    _ => {
                        self.missing(Header::FrameRelay, 8);
                        Next::Nothing
                    }
                }
            }
            [nlpid::UI, nlpid::PAD] => {
                self.missing(Header::FrameRelay, 3);
                Next::Nothing
            }
            [nlpid::UI, kind, ..] => {
                self.at += 2;
                match *kind {
                    nlpid::IPV4 => Next::Ipv4,
                    nlpid::IPV6 => Next::Ipv6,
                    nlpid::PPP => Next::Ppp,
                    _ => self.opaque(),
                }
            }
            &[hi, lo, ..] if u16::from_be_bytes([hi, lo]) >= MIN_ETHERTYPE => {
                self.at += 2;
                Next::Ethertype(u16::from_be_bytes([hi, lo]))
            }
            [_, _, ..] => self.opaque(),
            _ => {
                self.missing(Header::FrameRelay, 2);
                Next::Nothing
            }
        }
    }

    // Wireless.

    pub(super) fn radiotap(&mut self) -> Next {
        let Some(radiotap) = self.view::<Radiotap>(Header::Radiotap) else { return Next::Nothing };
        let len = usize::from(radiotap.len.get());
        if radiotap.version != 0 {
            return self.stop(Header::Radiotap, Reason::BadVersion);
        }
        if len < size_of::<Radiotap>() {
            return self.stop(Header::Radiotap, Reason::BadLength);
        }
        let Some(header) = self.rest().get(..len) else {
            self.missing(Header::Radiotap, len);
            return Next::Nothing;
        };
        let flags = wlan::radiotap_flags(header);
        self.at += len;
        if flags.has_fcs {
            self.wire_end = self.wire_end.saturating_sub(4).max(self.at);
        }
        self.is_padded = flags.is_padded;
        Next::Wlan
    }

    pub(super) fn ppi(&mut self) -> Next {
        let Some(ppi) = self.view::<Ppi>(Header::Radiotap) else { return Next::Nothing };
        let len = usize::from(ppi.len.get());
        if len < size_of::<Ppi>() {
            return self.stop(Header::Radiotap, Reason::BadLength);
        }
        if self.rest().len() < len {
            self.missing(Header::Radiotap, len);
            return Next::Nothing;
        }
        self.at += len;
        Next::Link(LinkType(ppi.link.get() as u16))
    }

    /// Data frames; of an aggregate the first one. What is encrypted stays closed, other kinds are not read.
    pub(super) fn wlan(&mut self) -> Next {
        let rest = self.rest();
        let Ok((wlan, behind)) = Wlan::ref_from_prefix(rest) else {
            // Control frames are shorter.
            if !matches!(rest, [kind, ..] if kind & 0x0c == 0x04) {
                self.missing(Header::Wlan, size_of::<Wlan>());
            }
            return self.opaque();
        };
        let mut wlan = *wlan;
        if self.is_swapped {
            std::mem::swap(&mut wlan.kind, &mut wlan.flags);
            wlan.sequence.set(wlan.sequence.get().swap_bytes());
        }
        if wlan.kind & 0x03 != 0 {
            return self.stop(Header::Wlan, Reason::BadVersion);
        }
        let is_control = wlan.kind & 0x0c == 0x04;
        if !is_control && self.in_link {
            let (src, dst) = wlan.ends(behind);
            (self.layers.eth_src, self.layers.eth_dst) = (src, Some(dst));
        }
        if !wlan.has_data() || wlan.is_protected() || wlan.is_later_fragment() {
            return self.opaque();
        }
        let mut len = wlan.header_len();
        let qos_at = size_of::<Wlan>() + if wlan.has_address4() { 6 } else { 0 };
        let is_aggregate = wlan.is_qos() && rest.get(qos_at).is_some_and(|control| control & 0x80 != 0);
        if self.is_padded {
            len = len.next_multiple_of(4);
        }
        if rest.len() < len {
            self.missing(Header::Wlan, len);
            return Next::Nothing;
        }
        self.at += len;
        if is_aggregate { Next::Ethernet } else { Next::Llc }
    }

    // What captures put around packets.

    pub(super) fn nflog(&mut self) -> Next {
        let Some(nflog) = self.view::<Nflog>(Header::Nflog) else { return Next::Nothing };
        let family = nflog.family;
        self.at += size_of::<Nflog>();
        let Some((at, len)) = nflog::payload(self.rest()) else {
            let len = self.rest().len() + 1;
            self.missing(Header::Nflog, len);
            return Next::Nothing;
        };
        self.at += at;
        self.wire_end = self.wire_end.min(self.at + len);
        match family {
            2 => Next::Ipv4,
            10 => Next::Ipv6,
            _ => self.opaque(),
        }
    }

    /// A global routing header of 40 bytes, then the header of RFC 4391 section 6: EtherType and 2 reserved bytes.
    pub(super) fn ipoib(&mut self) -> Next {
        let Some(&[hi, lo, _, _]) = self.rest().get(40..).and_then(|rest| rest.first_chunk()) else {
            self.missing(Header::Ipoib, 44);
            return Next::Nothing;
        };
        self.at += 44;
        Next::Ethertype(u16::from_be_bytes([hi, lo]))
    }

    pub(super) fn docsis(&mut self) -> Next {
        let Some(docsis) = self.view::<Docsis>(Header::Docsis) else { return Next::Nothing };
        // An extended header is of baseline privacy in most networks: then what follows is encrypted.
        let is_open = docsis.carries_frame() && docsis.control & 1 == 0;
        let len = docsis.header_len();
        if !is_open {
            return self.opaque();
        }
        if self.rest().len() < len {
            self.missing(Header::Docsis, len);
            return Next::Nothing;
        }
        self.at += len;
        Next::Ethernet
    }

    /// What Juniper's routers capture: a magic number, flags, extensions of which the length is told.
    pub(super) fn juniper(&mut self) -> Next {
        let Some(&[magic @ .., flags]) = self.rest().first_chunk::<4>() else {
            self.missing(Header::Link, 4);
            return Next::Nothing;
        };
        if magic != [0x4d, 0x47, 0x43] {
            return self.stop(Header::Link, Reason::BadVersion);
        }
        let mut len = 4;
        if flags & 0x80 != 0 {
            let Some(&[hi, lo]) = self.rest().get(4..).and_then(|rest| rest.first_chunk()) else {
                self.missing(Header::Link, 6);
                return Next::Nothing;
            };
            len += 2 + usize::from(u16::from_be_bytes([hi, lo]));
        }
        if flags & 0x02 != 0 {
            return self.opaque();
        }
        if self.rest().len() < len {
            self.missing(Header::Link, len);
            return Next::Nothing;
        }
        self.at += len;
        Next::Ethernet
    }

    /// What macOS captures on several interfaces: length of the header, kind of record, link type, in little-endian.
    pub(super) fn pktap(&mut self) -> Next {
        let Some(&[a, b, c, d, 1, 0, 0, 0, e, f, 0, 0]) = self.rest().first_chunk() else {
            return self.stop(Header::Link, Reason::Unsupported);
        };
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        if len < 12 || self.rest().len() < len {
            return self.stop(Header::Link, Reason::BadLength);
        }
        self.at += len;
        Next::Link(LinkType(u16::from_le_bytes([e, f])))
    }
}
