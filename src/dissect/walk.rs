//! The walk from the link layer to the innermost header: a loop over "what comes next".

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::layers::{Encap, Layers, Transport};
use super::plain::{self, Then};
use crate::capture::LinkType;
use crate::wire::{Header, Issue, Reason};

/// Reads the headers of a frame of which `frame` was captured and which had `wire_len` bytes on the wire.
///
/// Never fails: what cannot be read ends the walk, and [`Layers::issue`] says where and why.
#[inline]
pub fn dissect(link: LinkType, frame: &[u8], wire_len: u32) -> Layers<'_> {
    let mut layers = Layers::default();
    dissect_into(link, frame, wire_len, &mut layers);
    layers
}

/// [`dissect`], which writes what it finds to where it is needed: layers are large to move. What was there before is gone.
#[inline]
pub(crate) fn dissect_into<'a>(link: LinkType, frame: &'a [u8], wire_len: u32, layers: &mut Layers<'a>) {
    *layers = Layers::default();
    let wire_end = frame.len().max(wire_len as usize);
    if link != LinkType::ETHERNET {
        walk(link, frame, wire_end, true, layers);
    } else if let Err(Put(layers)) = plain::ethernet(frame, wire_end, Put(layers)) {
        walk(link, frame, wire_end, false, layers);
    }
}

/// [`dissect`], and something done with what it finds. That is inlined where most frames' layers are found, see [`Then`].
#[inline(always)]
pub(crate) fn dissect_then<'a, T: Then<'a>>(
    link: LinkType,
    frame: &'a [u8],
    wire_len: u32,
    then: T,
) -> T::Output {
    let then = if link == LinkType::ETHERNET {
        match plain::ethernet(frame, frame.len().max(wire_len as usize), then) {
            Ok(output) => return output,
            Err(then) => then,
        }
    } else {
        then
    };
    walk_then(link, frame, wire_len, then)
}

#[inline(never)]
fn walk_then<'a, T: Then<'a>>(link: LinkType, frame: &'a [u8], wire_len: u32, then: T) -> T::Output {
    let mut layers = Layers::default();
    walk(link, frame, frame.len().max(wire_len as usize), link != LinkType::ETHERNET, &mut layers);
    then.then::<false>(&layers)
}

/// Writes layers down.
pub(super) struct Put<'l, 'a>(pub &'l mut Layers<'a>);

impl<'a> Then<'a> for Put<'_, 'a> {
    type Output = ();

    #[inline(always)]
    fn then<const PLAIN: bool>(self, layers: &Layers<'a>) {
        *self.0 = *layers;
    }
}

/// [`dissect`], and where in the frame the last header ended that could be read, be it of a tunnel. What is read in one go
/// does not count: where that ends, the payload begins.
pub(crate) fn dissect_to_end(link: LinkType, frame: &[u8], wire_len: u32) -> (Layers<'_>, usize) {
    let mut layers = Layers::default();
    let end = walk(link, frame, frame.len().max(wire_len as usize), false, &mut layers);
    (layers, end)
}

/// Reads header by header, and says where it ended.
pub(super) fn walk<'a>(
    link: LinkType,
    frame: &'a [u8],
    wire_end: usize,
    may_be_plain: bool,
    layers: &mut Layers<'a>,
) -> usize {
    let mut walk = Walk {
        layers,
        frame,
        at: 0,
        wire_end,
        claimed_end: wire_end,
        in_link: true,
        is_fragment: false,
        id_before_gre: None,
        is_padded: false,
        is_swapped: false,
        has_segments: false,
        may_be_plain,
    };
    let mut next = Next::Link(link);
    for _ in 0..MAX_STEPS {
        next = match next {
            Next::Link(link) => walk.link(link),
            Next::Ethernet => walk.ethernet(),
            Next::Ethertype(value) => walk.ethertype(value),
            Next::Vlan => walk.vlan(),
            Next::Tag(value) => walk.tag(value),
            Next::Pppoe => walk.pppoe(),
            Next::MacSec => walk.macsec(),
            Next::Isl => walk.isl(),
            Next::Llc => walk.llc(),
            Next::Mpls => walk.mpls(),
            Next::Sll => walk.sll(),
            Next::Sll2 => walk.sll2(),
            Next::Loopback => walk.loopback(),
            Next::Ppp => walk.ppp(),
            Next::CiscoHdlc => walk.cisco_hdlc(),
            Next::FrameRelay => walk.frame_relay(),
            Next::Wlan => walk.wlan(),
            Next::Radiotap => walk.radiotap(),
            Next::Ppi => walk.ppi(),
            Next::Nflog => walk.nflog(),
            Next::Ipoib => walk.ipoib(),
            Next::Docsis => walk.docsis(),
            Next::Juniper => walk.juniper(),
            Next::Pktap => walk.pktap(),
            Next::Arp => walk.arp(),
            Next::Ip(header) => walk.ip(header),
            Next::Ipv4 => walk.ipv4(),
            Next::Ipv6 => walk.ipv6(),
            Next::Protocol(value) => walk.protocol(value),
            Next::Tcp => walk.tcp(),
            Next::Udp => walk.udp(),
            Next::Vxlan => walk.vxlan(),
            Next::VxlanGpe => walk.vxlan_gpe(),
            Next::Geneve => walk.geneve(),
            Next::Gtpu => walk.gtpu(),
            Next::Gre => walk.gre(),
            Next::Erspan => walk.erspan(),
            Next::Erspan3 => walk.erspan3(),
            Next::Nsh => walk.nsh(),
            Next::L2tp => walk.l2tp(),
            Next::Teredo => walk.teredo(),
            Next::EspOverUdp => walk.esp_over_udp(),
            Next::Lisp => walk.lisp(),
            Next::LispControl => walk.lisp_control(),
            Next::Capwap => walk.capwap(),
            Next::Tzsp => walk.tzsp(),
            Next::Shim => walk.shim(),
            Next::Nothing => return walk.at,
        };
    }
    walk.note(Header::Link, Reason::TooDeep);
    walk.at
}

/// Headers in one frame, VLAN tags counted, label stacks and extension headers of one packet counted as one.
const MAX_STEPS: usize = 64;

/// Labels in one stack, and extension headers in one packet, that are walked over.
pub(super) const MAX_REPEATS: usize = 32;

/// What comes next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    /// The frame of this link type.
    Link(LinkType),
    Ethernet,
    /// What this EtherType says.
    Ethertype(u16),
    Vlan,
    /// The tag, other than of a VLAN, that this EtherType says.
    Tag(u16),
    Pppoe,
    MacSec,
    Isl,
    Llc,
    Mpls,
    Sll,
    Sll2,
    Loopback,
    Ppp,
    CiscoHdlc,
    FrameRelay,
    Wlan,
    Radiotap,
    Ppi,
    Nflog,
    Ipoib,
    Docsis,
    Juniper,
    Pktap,
    Arp,
    /// IPv4 or IPv6, told from the version; the header is the one to blame if it is neither.
    Ip(Header),
    Ipv4,
    Ipv6,
    /// What this IP protocol number says.
    Protocol(u8),
    Tcp,
    Udp,
    Vxlan,
    VxlanGpe,
    Geneve,
    Gtpu,
    Gre,
    Erspan,
    Erspan3,
    Nsh,
    L2tp,
    Teredo,
    EspOverUdp,
    Lisp,
    LispControl,
    Capwap,
    Tzsp,
    /// A header over UDP that is known by what it carries only.
    Shim,
    Nothing,
}

/// Where the walk is, and what it has found so far.
pub(super) struct Walk<'w, 'a> {
    pub(super) layers: &'w mut Layers<'a>,
    pub(super) frame: &'a [u8],
    /// Offset of the header to be read.
    pub(super) at: usize,
    /// Where the frame, or what the length fields so far leave of it, ended on the wire.
    pub(super) wire_end: usize,
    /// Where the innermost IP packet ends by its own length field, be it in the frame or not.
    pub(super) claimed_end: usize,
    /// Whether the outermost link layer is still being read.
    pub(super) in_link: bool,
    /// Whether the first fragment of a packet was passed: what it carries may end early.
    pub(super) is_fragment: bool,
    /// The tunnel id before the GRE header, which an ERSPAN session takes the place of.
    pub(super) id_before_gre: Option<u32>,
    /// Whether an 802.11 header is padded to a multiple of 4 bytes.
    pub(super) is_padded: bool,
    /// Whether the fields of 802.11 are in big-endian order.
    pub(super) is_swapped: bool,
    /// Whether the innermost packet has a segment routing header.
    pub(super) has_segments: bool,
    /// Whether a packet here may be one of [`plain`], which was not tried yet.
    pub(super) may_be_plain: bool,
}

impl<'a> Walk<'_, 'a> {
    /// The captured bytes from here to the end of what the length fields leave.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        let end = self.wire_end.min(self.frame.len());
        self.frame.get(self.at..end).unwrap_or_default()
    }

    /// The header here; without enough bytes, an issue.
    #[inline]
    pub(super) fn view<T: FromBytes + KnownLayout + Immutable + Unaligned>(
        &mut self,
        header: Header,
    ) -> Option<&'a T> {
        if let Ok((view, _)) = T::ref_from_prefix(self.rest()) {
            return Some(view);
        }
        self.missing(header, size_of::<T>());
        None
    }

    /// Notes that `len` bytes of a header are not all there.
    #[cold]
    pub(super) fn missing(&mut self, header: Header, len: usize) {
        let was_on_wire = self.at + len <= self.wire_end;
        self.note(header, if was_on_wire { Reason::Snapped } else { Reason::Truncated });
    }

    /// Notes an issue with the header here, unless there was one before.
    #[cold]
    pub(super) fn note(&mut self, header: Header, reason: Reason) {
        self.layers.issue.get_or_insert(Issue { header, reason, offset: self.at as u32 });
    }

    #[cold]
    pub(super) fn stop(&mut self, header: Header, reason: Reason) -> Next {
        self.note(header, reason);
        Next::Nothing
    }

    /// Ends the walk at something that is not read; it is the payload if there is no IP packet around it.
    #[inline]
    pub(super) fn opaque(&mut self) -> Next {
        if self.layers.ip.is_none() {
            self.layers.payload = self.rest();
            self.layers.payload_len = self.wire_end.saturating_sub(self.at) as u32;
        }
        Next::Nothing
    }

    /// Sets the transport header of the innermost packet, `len` bytes long, and what follows it as its payload.
    #[inline]
    pub(super) fn transport(&mut self, transport: Transport<'a>, len: usize) {
        self.layers.transport = transport;
        self.layers.payload_len = self.claimed_end.saturating_sub(self.at + len) as u32;
        self.at += len;
        self.layers.payload = self.rest();
    }

    /// Enters an encapsulation.
    #[inline]
    pub(super) fn enter(&mut self, encap: Encap, id: Option<u32>, header: Header) -> bool {
        if !self.layers.encap.push(encap) {
            self.note(header, Reason::TooDeep);
            return false;
        }
        self.may_be_plain = true;
        self.layers.tunnel_id = self.layers.tunnel_id.or(id);
        self.layers.outer = self.layers.outer.or(self.layers.ip);
        true
    }
}
