//! Link-layer header types of capture files (LINKTYPE_ values, <https://www.tcpdump.org/linktypes.html>).

use serde::{Deserialize, Serialize};

/// A LINKTYPE_ value, as capture files store it: how a frame's first bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: a 4-byte address family in the byte order of the capturing host.
    pub const NULL: Self = Self(0);
    /// IEEE 802.3 Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without the address and control fields of RFC 1662.
    pub const PPP: Self = Self(9);
    /// PPP in HDLC-like framing, or Cisco HDLC.
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE without an Ethernet header.
    pub const PPP_ETHER: Self = Self(51);
    /// ATM with the LLC encapsulation of RFC 2684.
    pub const ATM_RFC1483: Self = Self(100);
    /// Cisco HDLC.
    pub const C_HDLC: Self = Self(104);
    /// IEEE 802.11.
    pub const IEEE802_11: Self = Self(105);
    /// Frame Relay.
    pub const FRELAY: Self = Self(107);
    /// IEEE 802.11 behind a radiotap header.
    pub const IEEE802_11_RADIOTAP: Self = Self(127);
    /// DOCSIS MAC frames.
    pub const DOCSIS: Self = Self(143);
    /// Ethernet behind Juniper's header.
    pub const JUNIPER_ETHER: Self = Self(178);
    /// Per-packet information before a frame of another link type.
    pub const PPI: Self = Self(192);
    /// Linux firewall log.
    pub const NFLOG: Self = Self(239);
    /// IP over InfiniBand behind a global routing header.
    pub const IPOIB: Self = Self(242);
    /// Apple's header before a frame of another link type.
    pub const PKTAP: Self = Self(258);
    /// Raw IP; some systems wrote their own DLT_RAW value (12 or 14) into files.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: a 4-byte address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux "cooked" capture.
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux "cooked" capture v2.
    pub const LINUX_SLL2: Self = Self(276);
}

impl LinkType {
    /// Most bytes that a frame of this type can hold. A record that claims more is taken for damage, as Wireshark
    /// does: 256 KiB, but for D-Bus messages and USB transfers 128 MiB, for Elektrobit (EBHSCR) frames 32 MiB.
    pub(super) fn max_cap_len(self) -> u32 {
        match self.0 {
            // LINKTYPE_USB_FREEBSD, _USB_LINUX, _USB_LINUX_MMAPPED, _DBUS, _USBPCAP, _USB_DARWIN
            186 | 189 | 220 | 231 | 249 | 266 => 128 << 20,
            279 => 32 << 20,
            _ => 256 << 10,
        }
    }
}

impl std::fmt::Display for LinkType {
    /// The name without its `LINKTYPE_`, and the value, such as `ethernet (1)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.0 {
            0 => "null",
            1 => "ethernet",
            6 => "ieee802_5",
            8 => "slip",
            9 => "ppp",
            10 => "fddi",
            12 | 14 | 101 => "raw",
            50 => "ppp_hdlc",
            51 => "ppp_ether",
            100 => "atm_rfc1483",
            104 => "c_hdlc",
            105 => "ieee802_11",
            107 => "frelay",
            108 => "loop",
            113 => "linux_sll",
            127 => "ieee802_11_radiotap",
            129 => "arcnet_linux",
            140 => "mtp2",
            141 => "mtp3",
            143 => "docsis",
            147..=162 => "user",
            178 => "juniper_ether",
            189 => "usb_linux",
            192 => "ppi",
            195 => "ieee802_15_4",
            220 => "usb_linux_mmapped",
            227 => "can_socketcan",
            228 => "ipv4",
            229 => "ipv6",
            231 => "dbus",
            239 => "nflog",
            242 => "ipoib",
            253 => "netlink",
            258 => "pktap",
            276 => "linux_sll2",
            value => return write!(f, "link type {value}"),
        };
        write!(f, "{name} ({})", self.0)
    }
}
