//! What can be wrong with a header, as data: a malformed frame is a row, never an error.

use serde::{Deserialize, Serialize};

use crate::named::named;

/// Where reading stopped, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// The header that could not be read.
    pub header: Header,
    /// What is wrong with it.
    pub reason: Reason,
    /// Offset of that header in the frame, in bytes.
    pub offset: u32,
}

named! {
    /// A header that reading can stop in.
    Header {
        /// The link layer of a kind that is not read.
        Link = "link",
        /// Ethernet.
        Ethernet = "ethernet",
        /// LLC or SNAP.
        Llc = "llc",
        /// 802.1Q or 802.1ad tag.
        Vlan = "vlan",
        /// MPLS label stack.
        Mpls = "mpls",
        /// Linux cooked capture, v1 or v2.
        Sll = "sll",
        /// BSD loopback.
        Loopback = "loopback",
        /// ARP.
        Arp = "arp",
        /// IPv4.
        Ipv4 = "ipv4",
        /// IPv6 and its extension headers.
        Ipv6 = "ipv6",
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// SCTP.
        Sctp = "sctp",
        /// ICMP.
        Icmp = "icmp",
        /// ICMPv6.
        Icmpv6 = "icmpv6",
        /// GRE.
        Gre = "gre",
        /// ERSPAN.
        Erspan = "erspan",
        /// VXLAN.
        Vxlan = "vxlan",
        /// GENEVE.
        Geneve = "geneve",
        /// GTP-U.
        Gtpu = "gtpu",
        /// 802.1BR, VN-Tag, 802.1ah, MACsec, Cisco metadata or fabric path.
        Tag = "tag",
        /// PPP, PPPoE or Cisco HDLC.
        Ppp = "ppp",
        /// Frame Relay.
        FrameRelay = "frame-relay",
        /// 802.11.
        Wlan = "wlan",
        /// Radiotap or PPI.
        Radiotap = "radiotap",
        /// NFLOG.
        Nflog = "nflog",
        /// IP over InfiniBand.
        Ipoib = "ipoib",
        /// DOCSIS.
        Docsis = "docsis",
        /// Network service header.
        Nsh = "nsh",
        /// L2TP.
        L2tp = "l2tp",
        /// `EtherIP`.
        EtherIp = "etherip",
        /// TZSP.
        Tzsp = "tzsp",
        /// CAPWAP.
        Capwap = "capwap",
        /// LISP.
        Lisp = "lisp",
        /// Teredo.
        Teredo = "teredo",
        /// ESP.
        Esp = "esp",
        /// DCCP.
        Dccp = "dccp",
        /// A header over UDP that is known by what it carries only.
        Shim = "shim",
        /// rpcap.
        Rpcap = "rpcap",
        /// PIM.
        Pim = "pim",
    }
}

named! {
    /// Why reading stopped.
    Reason {
        /// The frame on the wire ends inside the header, or a length field promises more than there is.
        Truncated = "truncated",
        /// The capture kept too few bytes of the frame (snap length): nothing is wrong with the frame.
        Snapped = "snapped",
        /// A version field has a value that its standard does not know.
        BadVersion = "bad-version",
        /// A length field is smaller than the header it stands in, or contradicts another one.
        BadLength = "bad-length",
        /// A fragment that holds some bytes that another one of its packet held, and some that it did not (RFC 5722).
        Overlap = "overlap",
        /// More layers than are followed.
        TooDeep = "too-deep",
        /// A kind that is not read here.
        Unsupported = "unsupported",
    }
}
