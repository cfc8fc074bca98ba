//! Well-known ports (IANA Service Name and Transport Protocol Port Number Registry, and what vendors use).
//! A port alone is a guess.

use std::sync::LazyLock;

use super::App;

/// Ports and their applications over TCP.
const TCP: &[(u16, App)] = &[
    (20, App::Ftp),
    (21, App::Ftp),
    (22, App::Ssh),
    (23, App::Telnet),
    (25, App::Smtp),
    (49, App::Tacacs),
    (53, App::Dns),
    (80, App::Http),
    (88, App::Kerberos),
    (110, App::Pop3),
    (139, App::Smb),
    (143, App::Imap),
    (161, App::Snmp),
    (179, App::Bgp),
    (389, App::Ldap),
    (443, App::Tls),
    (445, App::Smb),
    (465, App::Smtp),
    (514, App::Syslog),
    (554, App::Rtsp),
    (587, App::Smtp),
    (636, App::Ldap),
    (646, App::Ldp),
    (853, App::Dns),
    (993, App::Imap),
    (995, App::Pop3),
    (1194, App::OpenVpn),
    (1720, App::H225),
    (1723, App::Pptp),
    (1883, App::Mqtt),
    (2000, App::Skinny),
    (2427, App::Mgcp),
    (2944, App::Megaco),
    (2945, App::Megaco),
    (3389, App::Rdp),
    (3478, App::Stun),
    (3868, App::Diameter),
    (5060, App::Sip),
    (5061, App::Sip),
    (6514, App::Syslog),
    (8080, App::Http),
    (8883, App::Mqtt),
];

/// Ports and their applications over UDP.
const UDP: &[(u16, App)] = &[
    (53, App::Dns),
    (67, App::Dhcp),
    (68, App::Dhcp),
    (69, App::Tftp),
    (88, App::Kerberos),
    (123, App::Ntp),
    (137, App::NetBios),
    (138, App::NetBios),
    (161, App::Snmp),
    (162, App::Snmp),
    (443, App::Quic),
    (500, App::Ike),
    (514, App::Syslog),
    (520, App::Rip),
    (521, App::Rip),
    (546, App::Dhcpv6),
    (547, App::Dhcpv6),
    (646, App::Ldp),
    (1194, App::OpenVpn),
    (1645, App::Radius),
    (1646, App::Radius),
    (1701, App::L2tp),
    (1719, App::Ras),
    (1812, App::Radius),
    (1813, App::Radius),
    (1900, App::Ssdp),
    (1985, App::Hsrp),
    (2029, App::Hsrp),
    (2048, App::Wccp),
    (2055, App::NetFlow),
    (2123, App::Gtpc),
    (2152, App::Gtpu),
    (2427, App::Mgcp),
    (2727, App::Mgcp),
    (2944, App::Megaco),
    (2945, App::Megaco),
    (3222, App::Glbp),
    (3386, App::GtpPrime),
    (3478, App::Stun),
    (3784, App::Bfd),
    (3785, App::Bfd),
    (4500, App::Ike),
    (4569, App::Iax2),
    (4739, App::NetFlow),
    (4784, App::Bfd),
    (5060, App::Sip),
    (5353, App::Dns),
    (5355, App::Dns),
    (6343, App::Sflow),
    (6784, App::Bfd),
    (8805, App::Pfcp),
    (9995, App::NetFlow),
    (9996, App::NetFlow),
    (51820, App::WireGuard),
];

/// Ports and their applications over SCTP.
const SCTP: &[(u16, App)] = &[
    (2123, App::Gtpc),
    (2904, App::M2ua),
    (2905, App::M3ua),
    (2944, App::Megaco),
    (2945, App::Megaco),
    (3565, App::M2pa),
    (3868, App::Diameter),
    (5060, App::Sip),
    (14001, App::Sua),
    (36412, App::S1ap),
    (36422, App::X2ap),
    (38412, App::Ngap),
];

/// Applications by port, one byte each: the position in [`App::ALL`] and one more, 0 for none.
struct Table(Box<[u8]>);

impl Table {
    fn new(ports: &[(u16, App)]) -> Self {
        let mut table = vec![0; 1 << 16].into_boxed_slice();
        for &(port, app) in ports {
            if let Some(entry) = table.get_mut(usize::from(port)) {
                *entry = app as u8 + 1;
            }
        }
        Self(table)
    }

    /// The application of either port; where both have one, that of the lower port, which is more likely the server's.
    #[inline]
    fn either(&self, (src, dst): (u16, u16)) -> Option<App> {
        let at = |port: u16| {
            let entry = self.0.get(usize::from(port)).copied().unwrap_or_default();
            App::ALL.get(usize::from(entry).wrapping_sub(1)).copied()
        };
        at(src.min(dst)).or_else(|| at(src.max(dst)))
    }
}

/// What the ports of a TCP segment suggest.
#[inline]
pub(super) fn tcp(ports: (u16, u16)) -> Option<App> {
    static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(TCP));
    TABLE.either(ports)
}

/// What the ports of a UDP datagram suggest.
#[inline]
pub(super) fn udp(ports: (u16, u16)) -> Option<App> {
    static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(UDP));
    TABLE.either(ports)
}

/// What the ports of an SCTP packet suggest.
#[inline]
pub(super) fn sctp(ports: (u16, u16)) -> Option<App> {
    SCTP.iter().find(|&&(port, _)| port == ports.0 || port == ports.1).map(|&(_, app)| app)
}
