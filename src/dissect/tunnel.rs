//! Tunnels. Those over UDP are known by a port only: without their fixed bits they stay payload.

use zerocopy::FromBytes;

use super::layers::Encap;
use super::walk::{MAX_REPEATS, Next, Walk};
use crate::capture::LinkType;
use crate::wire::capwap::Capwap;
use crate::wire::esp::{self, Esp};
use crate::wire::ethernet::{ethertype, is_frame};
use crate::wire::gre::{Erspan2, Erspan3, Gre};
use crate::wire::gtpu::{self, Gtpu};
use crate::wire::ip::{checksum, is_packet};
use crate::wire::lisp::Lisp;
use crate::wire::nsh::{self, Nsh};
use crate::wire::shim::{self, Shim};
use crate::wire::vxlan::{Geneve, Vxlan, VxlanGpe};
use crate::wire::{Header, Reason, l2tp, teredo, tzsp};

impl Walk<'_, '_> {
    pub(super) fn vxlan(&mut self) -> Next {
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

    pub(super) fn vxlan_gpe(&mut self) -> Next {
        match VxlanGpe::ref_from_prefix(self.rest()) {
            Ok((vxlan, _)) if vxlan.is_plausible() => {
                if !self.enter(Encap::VxlanGpe, Some(vxlan.vni.get() >> 8), Header::Vxlan) {
                    return Next::Nothing;
                }
                self.at += size_of::<VxlanGpe>();
                nsh::ethertype(vxlan.next).map_or(Next::Nothing, |value| self.carried(value))
            }
            _ => self.cut_short(Header::Vxlan, size_of::<VxlanGpe>()),
        }
    }

    pub(super) fn geneve(&mut self) -> Next {
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
                self.carried(geneve.protocol.get())
            }
            _ => self.cut_short(Header::Geneve, size_of::<Geneve>()),
        }
    }

    pub(super) fn gtpu(&mut self) -> Next {
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
        let inside = behind.get(optional_len..).unwrap_or_default();
        match inside.first().map(|first| first >> 4) {
            // An Ethernet PDU session, 3GPP TS 23.501 section 5.6.10.2; nothing before it says so.
            Some(_)
                if !is_packet(inside, inside.len())
                    && is_frame(inside, self.wire_end - self.at - header_len)
                    && self.enter(Encap::Gtpu, Some(gtpu.teid.get()), Header::Gtpu) =>
            {
                self.at += header_len;
                Next::Ethernet
            }
            Some(4 | 6) if self.enter(Encap::Gtpu, Some(gtpu.teid.get()), Header::Gtpu) => {
                self.at += header_len;
                Next::Ip(Header::Gtpu)
            }
            Some(_) => Next::Nothing,
            None => self.cut_short(Header::Gtpu, header_len + 1),
        }
    }

    /// Ends the walk before a header that might have been one, had more been captured.
    pub(super) fn cut_short(&mut self, header: Header, len: usize) -> Next {
        let was_on_wire = self.at + len <= self.wire_end;
        if self.rest().len() < len && was_on_wire {
            self.note(header, Reason::Snapped);
        }
        Next::Nothing
    }

    pub(super) fn gre(&mut self) -> Next {
        let Some(gre) = self.view::<Gre>(Header::Gre) else { return Next::Nothing };
        match gre.version() {
            0 => {}
            1 => return self.gre1(),
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
                match *self.rest() {
                    [first, ..] if first >> 4 == 4 => {}
                    [_, _, _, _, ..] => self.at += 4,
                    _ => {
                        self.missing(Header::Gre, 4);
                        return Next::Nothing;
                    }
                }
                Next::Ipv4
            }
            // Aruba's, one number a queue.
            protocol if protocol & 0xfe0f == 0x8200 => Next::Wlan,
            protocol => self.carried(protocol),
        }
    }

    pub(super) fn erspan(&mut self) -> Next {
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

    pub(super) fn erspan3(&mut self) -> Next {
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
    pub(super) fn mirrored(&mut self, encap: Encap, session: Option<u32>, len: usize, carries: Next) -> Next {
        if session.is_some() {
            self.layers.tunnel_id = self.id_before_gre;
        }
        if !self.enter(encap, session, Header::Erspan) {
            return Next::Nothing;
        }
        self.at += len;
        carries
    }

    /// GRE as PPTP has it, RFC 2637 section 4.1: the key is a length and a call, and PPP is what it carries.
    fn gre1(&mut self) -> Next {
        let Some(gre) = self.view::<Gre>(Header::Gre) else { return Next::Nothing };
        let flags = gre.flags_version.get();
        let is_pptp = gre.has_key() && gre.protocol.get() == ethertype::PPP;
        let (has_data, has_ack) = (gre.has_sequence(), flags & 0x0080 != 0);
        let len = 8 + if has_data { 4 } else { 0 } + if has_ack { 4 } else { 0 };
        let Some(&[hi, lo]) = self.rest().get(6..len).and_then(|rest| rest.first_chunk()) else {
            self.missing(Header::Gre, len);
            return Next::Nothing;
        };
        let call = u32::from(u16::from_be_bytes([hi, lo]));
        if !is_pptp || !has_data || !self.enter(Encap::Gre, Some(call), Header::Gre) {
            return Next::Nothing;
        }
        self.at += len;
        Next::Ppp
    }

    pub(super) fn nsh(&mut self) -> Next {
        let Some(nsh) = self.view::<Nsh>(Header::Nsh) else { return Next::Nothing };
        let (len, path, next) = (nsh.header_len(), nsh.path.get() >> 8, nsh.next);
        if nsh.version() != 0 {
            return self.stop(Header::Nsh, Reason::BadVersion);
        }
        if len < size_of::<Nsh>() {
            return self.stop(Header::Nsh, Reason::BadLength);
        }
        if self.rest().len() < len {
            self.missing(Header::Nsh, len);
            return Next::Nothing;
        }
        if !self.enter(Encap::Nsh, Some(path), Header::Nsh) {
            return Next::Nothing;
        }
        self.at += len;
        match nsh::ethertype(next) {
            Some(value) => self.carried(value),
            None => self.opaque(),
        }
    }

    /// What a segment routing header brought here.
    pub(super) fn segments(&mut self, carries: Next) -> Next {
        if self.enter(Encap::Srv6, None, Header::Ipv6) { carries } else { Next::Nothing }
    }

    pub(super) fn etherip(&mut self) -> Next {
        match *self.rest() {
            // Version 3, then 12 bits of zero (RFC 3378 section 2).
            [0x30, 0, ..] => {
                if !self.enter(Encap::EtherIp, None, Header::EtherIp) {
                    return Next::Nothing;
                }
                self.at += 2;
                Next::Ethernet
            }
            [_, _, ..] => self.stop(Header::EtherIp, Reason::BadVersion),
            _ => {
                self.missing(Header::EtherIp, 2);
                Next::Nothing
            }
        }
    }

    /// A register message holds a packet to a group; a null register (the second bit of its flags) holds none.
    pub(super) fn pim(&mut self) -> Next {
        match *self.rest() {
            [0x21, _, _, _, flags, _, _, _, first, ..]
                if flags & 0x40 == 0
                    && matches!(first >> 4, 4 | 6)
                    && self.enter(Encap::Pim, None, Header::Pim) =>
            {
                self.at += 8;
                Next::Ip(Header::Pim)
            }
            [0x21, _, _, _, _, _, _, _, _, ..] => Next::Nothing,
            [0x21, ..] | [] => {
                self.missing(Header::Pim, 9);
                Next::Nothing
            }
            _ => Next::Nothing,
        }
    }

    pub(super) fn l2tp(&mut self) -> Next {
        match l2tp::read(self.rest()) {
            Some(l2tp::Kind::Data2(data)) => {
                if self.rest().len() < data.len {
                    return self.cut_short(Header::L2tp, data.len);
                }
                if !self.enter(Encap::L2tp, Some(data.id), Header::L2tp) {
                    return Next::Nothing;
                }
                self.at += data.len;
                Next::Ppp
            }
            Some(l2tp::Kind::Data3 { session }) => self.l2tpv3(session, 8),
            Some(l2tp::Kind::Other) => Next::Nothing,
            None => self.cut_short(Header::L2tp, 8),
        }
    }

    /// RFC 3931 section 4.1.1: session 0 is control.
    pub(super) fn l2tp_over_ip(&mut self) -> Next {
        match self.rest().first_chunk().map(|&session| u32::from_be_bytes(session)) {
            Some(0) => Next::Nothing,
            Some(session) => self.l2tpv3(session, 4),
            None => {
                self.missing(Header::L2tp, 4);
                Next::Nothing
            }
        }
    }

    /// A session is set up with or without a cookie and sublayer, for Ethernet or IP: only what proves itself is believed.
    fn l2tpv3(&mut self, session: u32, header_len: usize) -> Next {
        let found = l2tp::V3_OFFSETS.into_iter().find_map(|offset| {
            let at = header_len + offset;
            let (rest, len) = (self.rest().get(at..)?, self.wire_end.checked_sub(self.at + at)?);
            if is_frame(rest, len) {
                Some((at, Next::Ethernet))
            } else if is_packet(rest, len) {
                Some((at, Next::Ip(Header::L2tp)))
            } else {
                None
            }
        });
        match found {
            Some((at, next)) if self.enter(Encap::L2tpv3, Some(session), Header::L2tp) => {
                self.at += at;
                next
            }
            _ => Next::Nothing,
        }
    }

    pub(super) fn teredo(&mut self) -> Next {
        let rest = self.rest();
        let packet = teredo::indications_len(rest).and_then(|len| Some((len, rest.get(len..)?)));
        match packet {
            Some((len, &[first, ..])) if first >> 4 == 6 => {
                let wire_len = self.wire_end.saturating_sub(self.at + len);
                let says = rest
                    .get(len + 4..)
                    .and_then(|rest| rest.first_chunk())
                    .map(|&len| u16::from_be_bytes(len));
                // As long as the datagram; trailers may follow (RFC 6081).
                let fits = says.is_none_or(|says| 40 + usize::from(says) <= wire_len);
                if !fits || !self.enter(Encap::Teredo, None, Header::Teredo) {
                    return Next::Nothing;
                }
                self.at += len;
                Next::Ipv6
            }
            _ => Next::Nothing,
        }
    }

    pub(super) fn lisp(&mut self) -> Next {
        match Lisp::ref_from_prefix(self.rest()) {
            Ok((lisp, [first, ..])) if lisp.is_plausible() && matches!(first >> 4, 4 | 6) => {
                if !self.enter(Encap::Lisp, lisp.instance(), Header::Lisp) {
                    return Next::Nothing;
                }
                self.at += size_of::<Lisp>();
                Next::Ip(Header::Lisp)
            }
            _ => self.cut_short(Header::Lisp, size_of::<Lisp>() + 1),
        }
    }

    /// Encapsulated control messages (type 8) hold a packet, RFC 9301 section 5.8.
    pub(super) fn lisp_control(&mut self) -> Next {
        match *self.rest() {
            [kind, _, _, _, first, ..]
                if kind >> 4 == 8
                    && matches!(first >> 4, 4 | 6)
                    && self.enter(Encap::Lisp, None, Header::Lisp) =>
            {
                self.at += 4;
                Next::Ip(Header::Lisp)
            }
            _ => Next::Nothing,
        }
    }

    pub(super) fn capwap(&mut self) -> Next {
        let Ok((capwap, _)) = Capwap::ref_from_prefix(self.rest()) else {
            return self.cut_short(Header::Capwap, size_of::<Capwap>());
        };
        let len = capwap.header_len();
        if !capwap.is_plausible() || capwap.is_native() && !capwap.is_wlan() {
            return Next::Nothing;
        }
        let Some(rest) = self.rest().get(len..) else {
            return self.cut_short(Header::Capwap, len);
        };
        // Some controllers write 802.11's fields in big-endian order. Then the direction, which is never 0 between station
        // and access point, stands where the version does, which is 0.
        self.is_swapped = capwap.is_native() && rest.first().is_some_and(|first| first & 0x03 != 0);
        if !self.enter(Encap::Capwap, None, Header::Capwap) {
            return Next::Nothing;
        }
        self.is_fragment |= capwap.bits.get() & 0x80 != 0;
        self.at += len;
        if capwap.is_native() { Next::Wlan } else { Next::Ethernet }
    }

    pub(super) fn tzsp(&mut self) -> Next {
        match tzsp::frame(self.rest()) {
            Some((len, link)) if self.enter(Encap::Tzsp, None, Header::Tzsp) => {
                self.at += len;
                Next::Link(LinkType(link))
            }
            None if matches!(self.rest(), [] | [1] | [1, 0 | 1, ..]) => {
                self.cut_short(Header::Tzsp, self.rest().len() + 1)
            }
            _ => Next::Nothing,
        }
    }

    #[inline]
    pub(super) fn shim(&mut self) -> Next {
        let wire_len = self.claimed_end.saturating_sub(self.at);
        let Some(shim) = shim::find(self.rest(), wire_len) else { return Next::Nothing };
        let id = match shim {
            Shim::Fou | Shim::HpErm => None,
            _ => self.rest().first_chunk().map(|&id| u32::from_be_bytes(id)),
        };
        let (encap, carries) = match shim {
            Shim::Fou => (Encap::Fou, Next::Ip(Header::Shim)),
            Shim::Intercept4 | Shim::Intercept8 => (Encap::Intercept, Next::Ip(Header::Shim)),
            Shim::Intercept8Ethernet => (Encap::Intercept, Next::Ethernet),
            Shim::HpErm => (Encap::HpErm, Next::Ethernet),
        };
        if !self.enter(encap, id, Header::Shim) {
            return Next::Nothing;
        }
        self.at += shim.header_len();
        carries
    }

    /// ESP over UDP, RFC 3948: four bytes of zero are IKE's, one byte is a keep-alive.
    pub(super) fn esp_over_udp(&mut self) -> Next {
        match self.rest() {
            [0, 0, 0, 0, ..] | [] | [_] => Next::Nothing,
            _ => self.esp(),
        }
    }

    /// Names the tunnel by its SPI, and goes on if nothing is encrypted.
    pub(super) fn esp(&mut self) -> Next {
        let Ok((esp, behind)) = Esp::ref_from_prefix(self.rest()) else {
            return self.cut_short(Header::Esp, size_of::<Esp>());
        };
        let spi = esp.spi.get();
        let is_whole = self.wire_end <= self.frame.len();
        let addresses = self.layers.ip.map(|ip| [ip.src(), ip.dst()]).unwrap_or_default();
        let pseudo = !checksum(addresses.as_flattened());
        let inside = if is_whole { esp::in_clear(behind, pseudo) } else { None };
        match inside {
            Some((protocol, len)) if self.enter(Encap::Esp, Some(spi), Header::Esp) => {
                self.at += size_of::<Esp>();
                self.wire_end = self.at + len;
                self.claimed_end = self.wire_end;
                Next::Protocol(protocol)
            }
            _ => {
                self.layers.tunnel_id = self.layers.tunnel_id.or(Some(spi));
                Next::Nothing
            }
        }
    }
}
