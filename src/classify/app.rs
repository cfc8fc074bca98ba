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

macro_rules! apps {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $class:ident;)+) => {
        named! {
            /// An application.
            App { $($(#[$doc])* $variant = $text,)+ }
        }

        impl App {
            /// The traffic class it belongs to.
            #[inline]
            pub const fn traffic(self) -> Traffic {
                match self { $(Self::$variant => Traffic::$class,)+ }
            }
        }
    };
}

apps! {
    /// SIP, RFC 3261.
    Sip = "sip", VoiceSignalling;
    /// MGCP, RFC 3435.
    Mgcp = "mgcp", VoiceSignalling;
    /// Megaco or H.248, RFC 3525 and ITU-T H.248.1.
    Megaco = "megaco", VoiceSignalling;
    /// H.225.0 call signalling, ITU-T H.225.0.
    H225 = "h225", VoiceSignalling;
    /// H.225.0 registration, admission and status, ITU-T H.225.0.
    Ras = "ras", VoiceSignalling;
    /// Skinny Client Control Protocol (Cisco).
    Skinny = "skinny", VoiceSignalling;
    /// IAX2, RFC 5456. Carries media on the same port.
    Iax2 = "iax2", VoiceSignalling;
    /// STUN and TURN, RFC 8489 and RFC 8656.
    Stun = "stun", VoiceSignalling;
    /// RTP, RFC 3550.
    Rtp = "rtp", VoiceMedia;
    /// RTCP, RFC 3550.
    Rtcp = "rtcp", VoiceMedia;
    /// T.38 fax over UDPTL, ITU-T T.38.
    T38 = "t38", VoiceMedia;
    /// ZRTP, RFC 6189.
    Zrtp = "zrtp", VoiceMedia;
    /// M3UA, RFC 4666.
    M3ua = "m3ua", MobileSignalling;
    /// M2UA, RFC 3331.
    M2ua = "m2ua", MobileSignalling;
    /// M2PA, RFC 4165.
    M2pa = "m2pa", MobileSignalling;
    /// SUA, RFC 3868.
    Sua = "sua", MobileSignalling;
    /// Diameter, RFC 6733.
    Diameter = "diameter", MobileSignalling;
    /// S1AP, 3GPP TS 36.413.
    S1ap = "s1ap", MobileSignalling;
    /// X2AP, 3GPP TS 36.423.
    X2ap = "x2ap", MobileSignalling;
    /// NGAP, 3GPP TS 38.413.
    Ngap = "ngap", MobileSignalling;
    /// GTP-C, 3GPP TS 29.060 and TS 29.274.
    Gtpc = "gtp-c", MobileSignalling;
    /// GTP-U without a packet inside that can be read, 3GPP TS 29.281.
    Gtpu = "gtp-u", MobileSignalling;
    /// GTP', 3GPP TS 32.295.
    GtpPrime = "gtp-prime", MobileSignalling;
    /// PFCP, 3GPP TS 29.244.
    Pfcp = "pfcp", MobileSignalling;
    /// DNS, RFC 1035; multicast DNS (RFC 6762) and LLMNR (RFC 4795) too.
    Dns = "dns", Internet;
    /// TLS, RFC 8446.
    Tls = "tls", Internet;
    /// DTLS, RFC 9147.
    Dtls = "dtls", Internet;
    /// QUIC, RFC 9000.
    Quic = "quic", Internet;
    /// HTTP/1, RFC 9112, and the preface of HTTP/2, RFC 9113.
    Http = "http", Internet;
    /// SMTP, RFC 5321.
    Smtp = "smtp", Internet;
    /// IMAP, RFC 9051.
    Imap = "imap", Internet;
    /// POP3, RFC 1939.
    Pop3 = "pop3", Internet;
    /// RTSP, RFC 7826.
    Rtsp = "rtsp", Internet;
    /// MQTT, OASIS MQTT 5.0.
    Mqtt = "mqtt", Internet;
    /// BitTorrent, BEP 3.
    BitTorrent = "bittorrent", Internet;
    /// ICMP, RFC 792.
    Icmp = "icmp", Internet;
    /// ICMPv6, RFC 4443; neighbour discovery (RFC 4861) too.
    Icmpv6 = "icmpv6", Internet;
    /// WireGuard.
    WireGuard = "wireguard", Internet;
    /// OpenVPN.
    OpenVpn = "openvpn", Internet;
    /// IKE, RFC 7296.
    Ike = "ike", Internet;
    /// IPsec ESP, RFC 4303.
    Esp = "esp", Internet;
    /// IPsec AH, RFC 4302.
    Ah = "ah", Internet;
    /// L2TP, RFC 2661 and RFC 3931.
    L2tp = "l2tp", Internet;
    /// PPTP's GRE, RFC 2637.
    Pptp = "pptp", Internet;
    /// NetBIOS, RFC 1002.
    NetBios = "netbios", Internet;
    /// SMB.
    Smb = "smb", Internet;
    /// SSDP, UPnP Device Architecture.
    Ssdp = "ssdp", Internet;
    /// RDP.
    Rdp = "rdp", Internet;
    /// BGP, RFC 4271.
    Bgp = "bgp", Routing;
    /// OSPF, RFC 2328 and RFC 5340.
    Ospf = "ospf", Routing;
    /// IS-IS, ISO/IEC 10589 and RFC 1195.
    IsIs = "isis", Routing;
    /// LDP, RFC 5036.
    Ldp = "ldp", Routing;
    /// RSVP, RFC 2205.
    Rsvp = "rsvp", Routing;
    /// BFD, RFC 5880.
    Bfd = "bfd", Routing;
    /// VRRP, RFC 9568, and CARP, which has its protocol number.
    Vrrp = "vrrp", Routing;
    /// HSRP, RFC 2281.
    Hsrp = "hsrp", Routing;
    /// GLBP (Cisco).
    Glbp = "glbp", Routing;
    /// PIM, RFC 7761.
    Pim = "pim", Routing;
    /// IGMP, RFC 3376.
    Igmp = "igmp", Routing;
    /// EIGRP, RFC 7868.
    Eigrp = "eigrp", Routing;
    /// RIP, RFC 2453, and RIPng, RFC 2080.
    Rip = "rip", Routing;
    /// ARP, RFC 826.
    Arp = "arp", Routing;
    /// LLDP, IEEE 802.1AB.
    Lldp = "lldp", Routing;
    /// CDP (Cisco).
    Cdp = "cdp", Routing;
    /// Spanning tree, IEEE 802.1Q.
    Stp = "stp", Routing;
    /// WCCP (Cisco), draft-mclaggan-wccp-v2rev1.
    Wccp = "wccp", Routing;
    /// SSH, RFC 4253.
    Ssh = "ssh", Management;
    /// Telnet, RFC 854.
    Telnet = "telnet", Management;
    /// FTP, RFC 959.
    Ftp = "ftp", Management;
    /// TFTP, RFC 1350.
    Tftp = "tftp", Management;
    /// SNMP, RFC 3411 and RFC 1157.
    Snmp = "snmp", Management;
    /// NTP, RFC 5905.
    Ntp = "ntp", Management;
    /// syslog, RFC 5424.
    Syslog = "syslog", Management;
    /// DHCP, RFC 2131.
    Dhcp = "dhcp", Management;
    /// DHCPv6, RFC 8415.
    Dhcpv6 = "dhcpv6", Management;
    /// RADIUS, RFC 2865.
    Radius = "radius", Management;
    /// TACACS+, RFC 8907.
    Tacacs = "tacacs", Management;
    /// NetFlow, RFC 3954, and IPFIX, RFC 7011.
    NetFlow = "netflow", Management;
    /// sFlow, version 5.
    Sflow = "sflow", Management;
    /// LDAP, RFC 4511.
    Ldap = "ldap", Management;
    /// Kerberos, RFC 4120.
    Kerberos = "kerberos", Management;
}
