//! Which signatures apply where: to what a port suggests, on any port, to an IP protocol.

use super::data::Data;
use super::{App, internet, management, mobile, ports, routing, voice};
use crate::wire::sctp;

/// What a UDP datagram is, if its bytes confirm what its port suggests.
#[inline]
pub(super) fn udp_on_port(suggested: App, data: Data<'_>) -> Option<App> {
    let confirmed = match suggested {
        App::Bfd => routing::is_bfd(data),
        App::Dhcp => management::is_dhcp(data),
        App::Dhcpv6 => management::is_dhcpv6(data),
        App::Dns | App::Mdns | App::Llmnr => internet::is_dns(data),
        App::Glbp => routing::is_glbp(data),
        App::GtpPrime => mobile::is_gtp_prime(data),
        App::Gtpc => mobile::is_gtpc(data),
        App::Gtpu => mobile::is_gtpu(data),
        App::Hsrp => routing::is_hsrp(data),
        App::Iax2 => voice::is_iax2(data),
        App::Hep => management::is_hep_by_header(data),
        App::Ike => internet::is_ike(data),
        App::Kerberos => management::is_kerberos(data),
        App::L2tp => internet::is_l2tp(data),
        App::Ldap => management::is_ldap(data),
        App::Ldp => routing::is_ldp(data),
        App::Mgcp => voice::is_mgcp_response(data),
        App::NetBios => internet::is_netbios_name(data) || internet::is_netbios_datagram(data),
        App::NetFlow => management::is_netflow(data),
        App::Ntp => management::is_ntp(data),
        App::OpenVpn => internet::is_openvpn(data),
        App::Pfcp => mobile::is_pfcp(data),
        App::Radius => management::is_radius(data),
        App::Rip => routing::is_rip(data),
        App::Sflow => management::is_sflow(data),
        App::Sips => internet::is_dtls(data),
        App::Snmp => management::is_snmp(data),
        App::Ssdp => data.is_status(b"HTTP"),
        App::Stun => voice::is_stun_on_port(data),
        App::Syslog => management::is_syslog(data),
        App::Tftp => management::is_tftp(data),
        App::Wccp => routing::is_wccp(data),
        App::WireGuard => internet::is_wireguard_data(data),
        _ => false,
    };
    confirmed.then_some(suggested)
}

/// What a UDP datagram is on any port.
#[inline]
pub(super) fn udp(data: Data<'_>) -> Option<App> {
    // Media and what shares its port is told apart by the first byte as RFC 7983 section 7 and RFC 9443 divide it.
    match data.byte(0)? {
        0..=3 if voice::is_stun(data) => Some(App::Stun),
        0 | 1 if voice::is_stun_classic(data) => Some(App::Stun),
        1..=3 if internet::is_wireguard_handshake(data) => Some(App::WireGuard),
        4 if internet::is_wireguard_transport(data) => Some(App::WireGuard),
        0 if management::is_netflow9(data) => Some(App::NetFlow),
        b'<' if management::is_syslog_with_date(data) => Some(App::Syslog),
        16..=19 if voice::is_zrtp(data) => Some(App::Zrtp),
        20..=63 if internet::is_dtls(data) => Some(App::Dtls),
        b'!' | b'A'..=b'Z' => udp_text(data),
        b'd' if internet::is_bittorrent(data) => Some(App::BitTorrent),
        128..=191 if voice::is_rtcp(data) => Some(App::Rtcp),
        0x09..=0x0f | 128.. if internet::is_quic(data) => Some(App::Quic),
        _ => None,
    }
}

fn udp_text(data: Data<'_>) -> Option<App> {
    if voice::is_sip(data) {
        Some(App::Sip)
    } else if management::is_hep(data) {
        Some(App::Hep)
    } else if voice::is_mgcp_command(data) {
        Some(App::Mgcp)
    } else if voice::is_megaco(data) {
        Some(App::Megaco)
    } else if internet::is_ssdp(data) {
        Some(App::Ssdp)
    } else if internet::is_bittorrent(data) {
        Some(App::BitTorrent)
    } else {
        None
    }
}

/// What a TCP segment is, if its bytes confirm what its port suggests.
#[inline]
pub(super) fn tcp_on_port(suggested: App, data: Data<'_>) -> Option<App> {
    let confirmed = match suggested {
        App::Diameter => mobile::is_diameter(data),
        App::Dns | App::Llmnr => internet::is_dns_over_tcp(data),
        App::Ftp => management::is_ftp(data),
        App::Imap => internet::is_imap(data),
        App::Kerberos => management::is_kerberos(data.behind(4)),
        App::Ldap => management::is_ldap(data),
        App::Ldp => routing::is_ldp(data),
        App::Mgcp => voice::is_mgcp_response(data),
        App::Mqtt => internet::is_mqtt(data),
        App::NetBios if !internet::is_smb(data) => internet::is_netbios_session(data),
        App::NetFlow => management::is_netflow(data),
        App::OpenVpn => internet::is_openvpn_over_tcp(data),
        App::Pop3 => internet::is_pop3(data),
        App::Rdp => internet::is_rdp(data),
        App::Sips => internet::is_tls(data),
        App::Skinny => voice::is_skinny(data),
        App::Smtp => internet::is_smtp(data),
        App::Snmp => management::is_snmp(data),
        App::Stun => voice::is_stun_on_port(data),
        App::Syslog => management::is_syslog(data),
        App::Tacacs => management::is_tacacs(data),
        App::Telnet => management::is_telnet(data),
        _ => false,
    };
    confirmed.then_some(suggested)
}

/// What a TCP segment is on any port.
#[inline]
pub(super) fn tcp(data: Data<'_>) -> Option<App> {
    match data.byte(0)? {
        20..=23 if internet::is_tls(data) => Some(App::Tls),
        b'!' | b'A'..=b'Z' => tcp_text(data),
        0..=3 if voice::is_stun(data) => Some(App::Stun),
        0 if internet::is_smb(data) => Some(App::Smb),
        0 if internet::is_pptp(data) => Some(App::Pptp),
        0 if management::is_ssh_key_exchange(data) => Some(App::Ssh),
        3 if voice::is_h225(data) => Some(App::H225),
        3 if voice::is_h245(data) => Some(App::H245),
        b'<' if management::is_syslog_with_date(data) => Some(App::Syslog),
        0x10 if internet::is_mqtt_connect(data) => Some(App::Mqtt),
        0x13 if internet::is_bittorrent(data) => Some(App::BitTorrent),
        0x81 | 0x82 if voice::is_sip_over_websocket(data) => Some(App::Sip),
        0xff if routing::is_bgp(data) => Some(App::Bgp),
        _ => None,
    }
}

fn tcp_text(data: Data<'_>) -> Option<App> {
    if internet::is_http(data) {
        Some(App::Http)
    } else if management::is_ssh(data) {
        Some(App::Ssh)
    } else if voice::is_sip(data) {
        Some(App::Sip)
    } else if internet::is_rtsp(data) {
        Some(App::Rtsp)
    } else if voice::is_mgcp_command(data) {
        Some(App::Mgcp)
    } else if voice::is_megaco(data) {
        Some(App::Megaco)
    } else if management::is_hep(data) {
        Some(App::Hep)
    } else if management::is_ftp_security(data) {
        Some(App::Ftp)
    } else {
        None
    }
}

/// What an SCTP packet carries, by the payload protocol identifier of its first chunk of data.
#[inline]
pub(super) fn sctp(data: Data<'_>) -> Option<App> {
    let first = sctp::chunks(data.bytes).find(|chunk| chunk.payload_protocol().is_some())?;
    // SIP has no identifier, RFC 4168 section 5.
    let is_sip = || first.user_data().is_some_and(|text| voice::is_sip(Data::new(text, text.len() as u32)));
    match first.payload_protocol() {
        Some(0) if is_sip() => Some(App::Sip),
        identifier => identifier.and_then(ports::payload_protocol),
    }
}

/// What an IP protocol is.
#[inline]
pub(super) fn protocol(number: u8, data: Data<'_>, is_later_fragment: bool) -> Option<App> {
    match ports::ip(number) {
        Some(App::Vrrp) if !is_later_fragment && routing::is_carp(data) => Some(App::Carp),
        // The two share a number: without the bytes that differ it is neither.
        Some(App::Vrrp) if !is_later_fragment && data.bytes.len() < 4 => None,
        // GRE version 1 with a key, RFC 2637 section 4.1.
        None if number == 47 && !is_later_fragment => {
            matches!(data.bytes, [flags, version, 0x88, 0x0b, ..] if flags & 0x20 != 0 && version & 7 == 1)
                .then_some(App::Pptp)
        }
        app => app,
    }
}
