//! What a frame consists of: its layers, outermost link to innermost payload.

use crate::named::named;
use crate::wire::{Issue, dccp::Dccp, ip::Ip, sctp::Sctp, tcp::Tcp, udp::Udp};
use serde::{Deserialize, Serialize};

/// A MAC address.
pub type Mac = [u8; 6];

/// The layers of one frame, borrowed from its bytes.
///
/// *Outermost* is what a router on the path acts on; *innermost* is the packet that tunnels carry.
/// Without a tunnel the two are the same packet and `outer` is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layers<'a> {
    /// Source MAC of the outermost link layer.
    pub eth_src: Option<Mac>,
    /// Destination MAC of the outermost link layer.
    pub eth_dst: Option<Mac>,
    /// VLAN id of the outermost tag (12 bits).
    pub vlan: Option<u16>,
    /// VLAN id of the second tag.
    pub vlan_inner: Option<u16>,
    /// MPLS labels of the outermost label stack, top first.
    pub mpls: Labels,
    /// EtherType of what the outermost link layer carries, after its VLAN tags.
    pub ethertype: Option<u16>,
    /// The encapsulations between the outermost and the innermost packet, outermost first.
    pub encap: Stack,
    /// The outermost network layer, if there is an encapsulation inside it.
    pub outer: Option<Ip<'a>>,
    /// Identifier of the outermost encapsulation that has one: VNI, key, TEID, session, label; SPI of an ESP packet.
    pub tunnel_id: Option<u32>,
    /// The innermost network layer.
    pub ip: Option<Ip<'a>>,
    /// Ports of the packet that a later fragment is a part of, if its first fragment was seen before.
    pub joined_ports: Option<(u16, u16)>,
    /// The transport header of the innermost packet.
    pub transport: Transport<'a>,
    /// Captured bytes behind the transport header (behind the network layer where there is none), without padding.
    pub payload: &'a [u8],
    /// Length of the payload on the wire in bytes, as the packet's own length fields say.
    pub payload_len: u32,
    /// The first thing that was wrong, if anything was.
    pub issue: Option<Issue>,
}

impl Layers<'_> {
    /// Ports of the innermost packet, (source, destination), for TCP, UDP, UDP-Lite, DCCP and SCTP; of a later fragment
    /// those of its first.
    #[inline(always)]
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.transport {
            Transport::Tcp(tcp) => Some((tcp.src_port.get(), tcp.dst_port.get())),
            Transport::Udp(udp) | Transport::UdpLite(udp) => Some((udp.src_port.get(), udp.dst_port.get())),
            Transport::Dccp(dccp) => Some((dccp.src_port.get(), dccp.dst_port.get())),
            Transport::Sctp(sctp) => Some((sctp.src_port.get(), sctp.dst_port.get())),
            _ => self.joined_ports,
        }
    }
}

/// Transport header of the innermost packet.
#[derive(Debug, Clone, Copy, Default)]
pub enum Transport<'a> {
    /// None that is read here: another protocol, a later fragment, or a header cut short.
    #[default]
    None,
    /// TCP, RFC 9293.
    Tcp(&'a Tcp),
    /// UDP, RFC 768.
    Udp(&'a Udp),
    /// UDP-Lite, RFC 3828: the length field says how far the checksum goes.
    UdpLite(&'a Udp),
    /// DCCP, RFC 4340.
    Dccp(&'a Dccp),
    /// SCTP, RFC 9260; the payload is its chunks.
    Sctp(&'a Sctp),
    /// ICMP, RFC 792: type and code.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// ICMPv6, RFC 4443: type and code.
    Icmpv6 {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
}

/// MPLS labels, top of stack first. Labels beyond [`Labels::MAX`] are walked over but not kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Labels {
    labels: [u32; Self::MAX],
    len: u8,
}

impl Labels {
    /// How many labels are kept.
    pub const MAX: usize = 8;

    /// Adds a label below the others.
    #[inline]
    pub fn push(&mut self, label: u32) {
        if let Some(slot) = self.labels.get_mut(self.len as usize) {
            *slot = label;
            self.len += 1;
        }
    }

    /// The labels, top first.
    #[inline]
    pub fn as_slice(&self) -> &[u32] {
        self.labels.get(..self.len as usize).unwrap_or_default()
    }
}

named! {
    /// One kind of encapsulation. The names are those of the `encap` column.
    Encap {
        /// GRE, RFC 2784 and RFC 2890; version 1 as PPTP has it, RFC 2637. NVGRE (RFC 7637) cannot be told from Ethernet in
        /// GRE with a key; its subnet is the upper 24 bits of `tunnel_id`.
        Gre = "gre",
        /// ERSPAN type I: GRE protocol 0x88BE without a sequence number.
        Erspan1 = "erspan1",
        /// ERSPAN type II, draft-foschiano-erspan-03.
        Erspan2 = "erspan2",
        /// ERSPAN type III, draft-foschiano-erspan-03.
        Erspan3 = "erspan3",
        /// VXLAN, RFC 7348.
        Vxlan = "vxlan",
        /// VXLAN with a next protocol, draft-ietf-nvo3-vxlan-gpe.
        VxlanGpe = "vxlan-gpe",
        /// GENEVE, RFC 8926.
        Geneve = "geneve",
        /// GTP-U, 3GPP TS 29.281.
        Gtpu = "gtpu",
        /// IPv4 inside IP, RFC 2003 and RFC 2473.
        Ipip = "ipip",
        /// IPv6 inside IP, RFC 4213 and RFC 2473.
        Ip6 = "ip6",
        /// Behind a segment routing header, RFC 8986.
        Srv6 = "srv6",
        /// Ethernet inside IP, RFC 3378.
        EtherIp = "etherip",
        /// MPLS inside IP, GRE or UDP, RFC 4023 and RFC 7510.
        Mpls = "mpls",
        /// Network service header, RFC 8300.
        Nsh = "nsh",
        /// L2TP version 2, RFC 2661.
        L2tp = "l2tp",
        /// L2TP version 3, RFC 3931.
        L2tpv3 = "l2tpv3",
        /// Teredo, RFC 4380.
        Teredo = "teredo",
        /// ESP without encryption, RFC 4303 and RFC 2410; over UDP too, RFC 3948.
        Esp = "esp",
        /// LISP, RFC 9300.
        Lisp = "lisp",
        /// CAPWAP data, RFC 5415.
        Capwap = "capwap",
        /// A PIM register message, RFC 7761 section 4.9.3.
        Pim = "pim",
        /// IP directly over UDP.
        Fou = "fou",
        /// `TaZmen` sniffer protocol.
        Tzsp = "tzsp",
        /// HP encapsulated remote mirroring.
        HpErm = "hp-erm",
        /// Remote capture protocol, of libpcap.
        Rpcap = "rpcap",
        /// Juniper's, Nokia's, Cisco's or `PacketCable`'s header of lawful intercept: 4 or 8 bytes before the packet.
        Intercept = "intercept",
    }
}

/// A stack of encapsulations, outermost first, packed so that comparing two is comparing two integers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stack(u64);

impl Stack {
    /// How deep a stack may grow.
    pub const MAX: u32 = 8;

    /// Whether nothing is encapsulated.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many encapsulations there are.
    #[inline]
    pub fn len(self) -> u32 {
        Self::MAX - self.0.leading_zeros() / 8
    }

    /// Puts `encap` inside all others; `false` if the stack is full.
    #[inline]
    pub fn push(&mut self, encap: Encap) -> bool {
        if self.len() == Self::MAX {
            return false;
        }
        // One more than its number: 0 stands for none.
        self.0 = self.0 << 8 | (encap as u64 + 1);
        true
    }

    /// The encapsulations, outermost first.
    pub fn iter(self) -> impl Iterator<Item = Encap> {
        (0..self.len()).rev().filter_map(move |depth| {
            let number = (self.0 >> (8 * depth)) as u8;
            Encap::ALL.get(usize::from(number).wrapping_sub(1)).copied()
        })
    }

    /// Whether this encapsulation is among them.
    #[inline]
    pub fn has(self, encap: Encap) -> bool {
        self.0.to_le_bytes().contains(&(encap as u8 + 1))
    }

    /// The stack of which this is the text, such as `gre/erspan2`.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut stack = Self::default();
        for part in name.split('/') {
            if !stack.push(Encap::from_name(part)?) {
                return None;
            }
        }
        Some(stack)
    }

    /// Whether this is `inner` with at least one encapsulation around it.
    #[inline]
    pub fn wraps(self, inner: Self) -> bool {
        let (len, inner_len) = (self.len(), inner.len());
        len > inner_len
            && (inner_len == 0 || self.0 << (64 - 8 * inner_len) == inner.0 << (64 - 8 * inner_len))
    }

    /// Its integer form: one byte an encapsulation, the innermost lowest.
    #[inline]
    pub fn bits(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (depth, encap) in self.iter().enumerate() {
            if depth > 0 {
                f.write_str("/")?;
            }
            f.write_str(encap.name())?;
        }
        Ok(())
    }
}
