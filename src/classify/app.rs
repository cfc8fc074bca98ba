//! The applications that are told apart, and the traffic class of each: one table.

use crate::named::named;

named! {
    /// What traffic is for.
    Traffic {
        /// Not recognised.
        Unknown = "unknown",
        /// Setting up and ending calls: SIP, MGCP, H.323, ...
        VoiceSignalling = "voice-signalling",
        /// What is said: RTP, RTCP, T.38.
        VoiceMedia = "voice-media",
        /// What subscribers do on the internet.
        Internet = "internet",
        /// How routers, switches and hosts find paths and neighbours.
        Routing = "routing",
        /// How the network is operated and measured: SNMP, SSH, NTP, ...
        Management = "management",
        /// SS7 over IP, Diameter, GTP.
        MobileSignalling = "mobile-signalling",
    }
}

named! {
    /// What a label rests on, strongest first.
    Basis {
        /// The bytes say so: a magic number, a start line, a protocol number.
        Signature = "signature",
        /// A series of packets behaves like it.
        Behaviour = "behaviour",
        /// Only the port says so: a guess.
        Port = "port",
    }
}

/// What a number of the table below is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Space {
    /// TCP ports.
    Tcp,
    /// UDP ports.
    Udp,
    /// SCTP ports.
    Sctp,
    /// IP protocol numbers.
    Ip,
    /// SCTP payload protocol identifiers.
    Ppid,
}

macro_rules! apps {
    ($(
        $(#[$doc:meta])*
        $variant:ident = $text:literal, $class:ident $(, $space:ident [$($number:literal),+])*;
    )+) => {
        named! {
            /// An application.
            App { $($(#[$doc])* $variant = $text,)+ }
        }

        impl App {
            /// The traffic class it belongs to.
            #[inline(always)]
            pub const fn traffic(self) -> Traffic {
                match self { $(Self::$variant => Traffic::$class,)+ }
            }
        }

        /// The numbers that stand for an application.
        pub(super) const NUMBERS: &[(Space, u16, App)] =
            &[$($($((Space::$space, $number, App::$variant),)+)*)+];
    };
}

// Name, traffic class, and the numbers by which it is known: ports as IANA's Service Name and Transport Protocol Port
// Number Registry has them or, where there are none, as they are by default; protocol numbers (IANA Protocol Numbers);
// SCTP payload protocol identifiers (IANA SCTP Parameters).
apps! {
    /// SIP, RFC 3261.
    Sip = "sip", VoiceSignalling, Tcp [5060], Udp [5060], Sctp [5060];
    /// SIP over TLS or DTLS, RFC 3261 section 26.2.1: what is encrypted on its port.
    Sips = "sips", VoiceSignalling, Tcp [5061], Udp [5061];
    /// MGCP, RFC 3435.
    Mgcp = "mgcp", VoiceSignalling, Tcp [2427, 2727], Udp [2427, 2727];
    /// Megaco or H.248, RFC 3525 and ITU-T H.248.1.
    Megaco = "megaco", VoiceSignalling, Tcp [2944, 2945], Udp [2944, 2945], Sctp [2944, 2945], Ppid [7];
    /// H.225.0 call signalling, ITU-T H.225.0.
    H225 = "h225", VoiceSignalling, Tcp [1720];
    /// H.245, ITU-T H.245, on ports that H.225.0 agrees on.
    H245 = "h245", VoiceSignalling;
    /// H.225.0 registration, admission and status, ITU-T H.225.0.
    Ras = "ras", VoiceSignalling, Udp [1718, 1719];
    /// Skinny Client Control Protocol (Cisco), not the SCCP of SS7.
    Skinny = "skinny", VoiceSignalling, Tcp [2000];
    /// IAX2, RFC 5456. Carries media on the same port.
    Iax2 = "iax2", VoiceSignalling, Udp [4569];
    /// STUN and TURN, RFC 8489 and RFC 8656. Not only calls need it, so by itself it is not voice.
    Stun = "stun", Internet, Tcp [3478], Udp [3478];
    /// RTP, RFC 3550.
    Rtp = "rtp", VoiceMedia;
    /// RTCP, RFC 3550.
    Rtcp = "rtcp", VoiceMedia;
    /// T.38 fax over UDPTL, ITU-T T.38.
    T38 = "t38", VoiceMedia;
    /// ZRTP, RFC 6189.
    Zrtp = "zrtp", VoiceMedia;
    /// M3UA, RFC 4666.
    M3ua = "m3ua", MobileSignalling, Sctp [2905], Ppid [3];
    /// M2UA, RFC 3331.
    M2ua = "m2ua", MobileSignalling, Sctp [2904], Ppid [2];
    /// M2PA, RFC 4165.
    M2pa = "m2pa", MobileSignalling, Sctp [3565], Ppid [5];
    /// SUA, RFC 3868.
    Sua = "sua", MobileSignalling, Sctp [14001], Ppid [4];
    /// Diameter, RFC 6733.
    Diameter = "diameter", MobileSignalling, Tcp [3868], Sctp [3868], Ppid [46, 47];
    /// S1AP, 3GPP TS 36.413.
    S1ap = "s1ap", MobileSignalling, Sctp [36412], Ppid [18];
    /// X2AP, 3GPP TS 36.423.
    X2ap = "x2ap", MobileSignalling, Sctp [36422], Ppid [27];
    /// NGAP, 3GPP TS 38.413.
    Ngap = "ngap", MobileSignalling, Sctp [38412], Ppid [60, 66];
    /// GTP-C, 3GPP TS 29.060 and TS 29.274.
    Gtpc = "gtp-c", MobileSignalling, Udp [2123];
    /// GTP-U without a packet inside that can be read, 3GPP TS 29.281.
    Gtpu = "gtp-u", MobileSignalling, Udp [2152];
    /// GTP', 3GPP TS 32.295.
    GtpPrime = "gtp-prime", MobileSignalling, Tcp [3386], Udp [3386];
    /// PFCP, 3GPP TS 29.244.
    Pfcp = "pfcp", MobileSignalling, Udp [8805];
    /// DNS, RFC 1035.
    Dns = "dns", Internet, Tcp [53], Udp [53];
    /// Multicast DNS, RFC 6762.
    Mdns = "mdns", Internet, Udp [5353];
    /// LLMNR, RFC 4795.
    Llmnr = "llmnr", Internet, Tcp [5355], Udp [5355];
    /// TLS, RFC 8446, and what has a port of its own inside it (HTTPS, IMAPS, ...).
    Tls = "tls", Internet, Tcp [443, 465, 636, 853, 989, 990, 993, 995, 5868, 6514, 8443, 8883];
    /// DTLS, RFC 9147.
    Dtls = "dtls", Internet, Udp [853, 6514];
    /// QUIC, RFC 9000.
    Quic = "quic", Internet, Udp [443];
    /// HTTP/1, RFC 9112, and the preface of HTTP/2, RFC 9113.
    Http = "http", Internet, Tcp [80, 8000, 8008, 8080, 8888];
    /// SMTP, RFC 5321.
    Smtp = "smtp", Internet, Tcp [25, 587];
    /// IMAP, RFC 9051.
    Imap = "imap", Internet, Tcp [143];
    /// POP3, RFC 1939.
    Pop3 = "pop3", Internet, Tcp [110];
    /// RTSP, RFC 7826.
    Rtsp = "rtsp", Internet, Tcp [554, 8554];
    /// MQTT, OASIS MQTT 5.0.
    Mqtt = "mqtt", Internet, Tcp [1883];
    /// BitTorrent, BEP 3.
    BitTorrent = "bittorrent", Internet, Tcp [6881], Udp [6881];
    /// ICMP, RFC 792.
    Icmp = "icmp", Internet, Ip [1];
    /// ICMPv6, RFC 4443; neighbour discovery (RFC 4861) too.
    Icmpv6 = "icmpv6", Internet, Ip [58];
    /// WireGuard, as its white paper describes it.
    WireGuard = "wireguard", Internet, Udp [51820];
    /// OpenVPN, as its protocol documentation describes it.
    OpenVpn = "openvpn", Internet, Tcp [1194], Udp [1194];
    /// IKE, RFC 7296.
    Ike = "ike", Internet, Udp [500, 4500];
    /// IPsec ESP, RFC 4303.
    Esp = "esp", Internet, Ip [50];
    /// IPsec AH, RFC 4302.
    Ah = "ah", Internet, Ip [51];
    /// L2TP, RFC 2661 and RFC 3931.
    L2tp = "l2tp", Internet, Udp [1701], Ip [115];
    /// PPTP's GRE, RFC 2637.
    Pptp = "pptp", Internet, Tcp [1723];
    /// NetBIOS over TCP and UDP, RFC 1001 and RFC 1002.
    NetBios = "netbios", Internet, Tcp [139], Udp [137, 138];
    /// SMB, [MS-CIFS] and [MS-SMB2].
    Smb = "smb", Internet, Tcp [445];
    /// SSDP, UPnP Device Architecture.
    Ssdp = "ssdp", Internet, Udp [1900];
    /// RDP, [MS-RDPBCGR].
    Rdp = "rdp", Internet, Tcp [3389], Udp [3389];
    /// BGP, RFC 4271.
    Bgp = "bgp", Routing, Tcp [179];
    /// OSPF, RFC 2328 and RFC 5340.
    Ospf = "ospf", Routing, Ip [89];
    /// IS-IS, ISO/IEC 10589 and RFC 1195.
    IsIs = "isis", Routing, Ip [124];
    /// LDP, RFC 5036.
    Ldp = "ldp", Routing, Tcp [646], Udp [646];
    /// RSVP, RFC 2205.
    Rsvp = "rsvp", Routing, Ip [46];
    /// BFD, RFC 5880.
    Bfd = "bfd", Routing, Udp [3784, 3785, 4784, 6784];
    /// VRRP, RFC 9568.
    Vrrp = "vrrp", Routing, Ip [112];
    /// CARP (OpenBSD), which has VRRP's protocol number.
    Carp = "carp", Routing;
    /// HSRP, RFC 2281.
    Hsrp = "hsrp", Routing, Udp [1985, 2029];
    /// GLBP (Cisco).
    Glbp = "glbp", Routing, Udp [3222];
    /// PIM, RFC 7761.
    Pim = "pim", Routing, Ip [103];
    /// IGMP, RFC 3376.
    Igmp = "igmp", Routing, Ip [2];
    /// EIGRP, RFC 7868.
    Eigrp = "eigrp", Routing, Ip [88];
    /// RIP, RFC 2453, and RIPng, RFC 2080.
    Rip = "rip", Routing, Udp [520, 521];
    /// ARP, RFC 826.
    Arp = "arp", Routing;
    /// LLDP, IEEE 802.1AB.
    Lldp = "lldp", Routing;
    /// CDP (Cisco).
    Cdp = "cdp", Routing;
    /// MACsec, IEEE 802.1AE: what is encrypted on the link.
    MacSec = "macsec", Internet;
    /// PPPoE discovery, RFC 2516 section 5.
    Pppoe = "pppoe", Management;
    /// Spanning tree, IEEE 802.1Q.
    Stp = "stp", Routing;
    /// WCCP (Cisco), draft-mclaggan-wccp-v2rev1.
    Wccp = "wccp", Routing, Udp [2048];
    /// SSH, RFC 4253.
    Ssh = "ssh", Management, Tcp [22];
    /// Telnet, RFC 854.
    Telnet = "telnet", Management, Tcp [23];
    /// FTP, RFC 959.
    Ftp = "ftp", Management, Tcp [20, 21];
    /// TFTP, RFC 1350.
    Tftp = "tftp", Management, Udp [69];
    /// SNMP, RFC 3411 and RFC 1157.
    Snmp = "snmp", Management, Tcp [161, 162], Udp [161, 162];
    /// NTP, RFC 5905.
    Ntp = "ntp", Management, Udp [123];
    /// syslog, RFC 5424 and RFC 3164.
    Syslog = "syslog", Management, Tcp [514], Udp [514];
    /// DHCP, RFC 2131.
    Dhcp = "dhcp", Management, Udp [67, 68];
    /// DHCPv6, RFC 8415.
    Dhcpv6 = "dhcpv6", Management, Udp [546, 547];
    /// RADIUS, RFC 2865.
    Radius = "radius", Management, Udp [1645, 1646, 1812, 1813, 3799];
    /// TACACS+, RFC 8907.
    Tacacs = "tacacs", Management, Tcp [49];
    /// NetFlow, RFC 3954, and IPFIX, RFC 7011.
    NetFlow = "netflow", Management, Udp [2055, 4739, 9995, 9996], Tcp [4739], Sctp [4739];
    /// sFlow, version 5.
    Sflow = "sflow", Management, Udp [6343];
    /// Homer encapsulation: copies of signalling for an analyser.
    Hep = "hep", Management, Tcp [9060], Udp [9060];
    /// CAPWAP, RFC 5415.
    Capwap = "capwap", Management, Udp [5246, 5247];
    /// LISP, RFC 9300 and RFC 9301.
    Lisp = "lisp", Routing, Udp [4341, 4342];
    /// LDAP, RFC 4511.
    Ldap = "ldap", Management, Tcp [389, 3268], Udp [389];
    /// Kerberos, RFC 4120.
    Kerberos = "kerberos", Management, Tcp [88], Udp [88];
}
