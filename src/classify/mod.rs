//! Layers → what it is: application, traffic class, and on what basis.
//!
//! A signature beats behaviour, and behaviour beats a port. A signature that could be met by chance counts only together
//! with its port. What is left is a guess by port, and called one; or nothing, and called unknown.

mod app;
mod internet;
mod management;
mod mobile;
mod ports;
mod routing;
mod sdp;
mod streams;
mod voice;

pub use app::{App, Basis, Traffic};
pub use streams::Streams;

use crate::dissect::{Layers, Transport};
use crate::wire::ip::Fragment;

/// What a packet is taken for, and on what basis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Label {
    /// The application, if one was recognised.
    pub app: Option<App>,
    /// What that rests on; `None` exactly when `app` is.
    pub basis: Option<Basis>,
}

impl Label {
    #[inline]
    const fn new(app: App, basis: Basis) -> Self {
        Self { app: Some(app), basis: Some(basis) }
    }

    /// The traffic class of the application, [`Traffic::Unknown`] without one.
    #[inline]
    pub fn traffic(self) -> Traffic {
        self.app.map_or(Traffic::Unknown, App::traffic)
    }
}

/// Recognises applications. Most are told from the packet alone; for those that need more than one packet (RTP), it
/// keeps a bounded table of streams, so packets are to be given in order.
#[derive(Debug, Default)]
pub struct Classifier {
    streams: Streams,
}

impl Classifier {
    /// A classifier that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What this packet is.
    #[inline]
    pub fn classify(&mut self, layers: &Layers<'_>) -> Label {
        self.streams.refine(layers, label(layers))
    }
}

/// What this packet is, told from the packet alone.
#[inline]
pub fn label(layers: &Layers<'_>) -> Label {
    let Some(ip) = &layers.ip else {
        return routing::link(layers).map_or_else(Label::default, |app| Label::new(app, Basis::Signature));
    };
    let (payload, len) = (layers.payload, layers.payload_len);
    let ports = layers.ports().unwrap_or_default();
    let (by_signature, by_port) = match layers.transport {
        Transport::Tcp(_) => {
            let by_port = ports::tcp(ports);
            (if payload.is_empty() { None } else { tcp(payload, len, by_port) }, by_port)
        }
        Transport::Udp(_) => {
            let by_port = ports::udp(ports);
            (if payload.is_empty() { None } else { udp(payload, len, by_port) }, by_port)
        }
        Transport::Sctp(_) => (mobile::sctp(payload), ports::sctp(ports)),
        _ if ip.protocol == 47 && matches!(ip.payload, [_, version, 0x88, 0x0b, ..] if version & 7 == 1) => {
            (Some(App::Pptp), None)
        }
        _ => (routing::protocol(ip.protocol), None),
    };
    match (by_signature, by_port) {
        (Some(app), _) => Label::new(app, Basis::Signature),
        // The first fragment of a datagram has its ports, and its signature if any.
        (None, Some(app)) if !matches!(ip.fragment, Fragment::Middle | Fragment::Last) => {
            Label::new(app, Basis::Port)
        }
        _ => Label::default(),
    }
}

/// What a TCP segment with a payload is by signature.
#[inline]
fn tcp(payload: &[u8], len: u32, by_port: Option<App>) -> Option<App> {
    let confirmed = by_port.filter(|app| match app {
        App::Dns => internet::is_dns_over_tcp(payload, len),
        App::Ftp | App::Smtp => internet::is_command_line(payload),
        App::Imap | App::Pop3 => internet::is_mail_line(payload),
        App::Telnet => management::is_telnet(payload),
        App::Tacacs => management::is_tacacs(payload),
        App::Diameter => mobile::is_diameter(payload),
        App::Skinny => voice::is_skinny(payload, len),
        App::H225 => voice::is_h225(payload, len),
        App::Mgcp => voice::is_mgcp(payload, true),
        App::Ldp => routing::is_ldp(payload, len),
        App::Stun => voice::is_stun(payload, len) || voice::is_channel_data(payload, len),
        App::Rdp => matches!(payload, [3, 0, _, _, ..]),
        App::Ldap => matches!(payload, [0x30, ..]),
        App::Snmp => management::is_snmp(payload),
        _ => false,
    });
    // What TLS carries only the port could tell; that it is TLS is certain.
    internet::tcp(payload).or(confirmed)
}

/// What a UDP datagram with a payload is by signature.
#[inline]
fn udp(payload: &[u8], len: u32, by_port: Option<App>) -> Option<App> {
    let confirmed = by_port.filter(|app| match app {
        App::Dns => internet::is_dns(payload, len),
        App::Quic => internet::is_quic(payload),
        App::Ntp => management::is_ntp(payload, len),
        App::Snmp => management::is_snmp(payload),
        App::Dhcp => management::is_dhcp(payload, len),
        App::Dhcpv6 => management::is_dhcpv6(payload, len),
        App::Radius => management::is_radius(payload, len),
        App::Syslog => management::is_syslog(payload),
        App::Tftp => management::is_tftp(payload),
        App::NetFlow => management::is_netflow(payload, len),
        App::Sflow => management::is_sflow(payload),
        App::L2tp => management::is_l2tp(payload),
        App::Ike => internet::is_ike(payload, len),
        App::WireGuard => internet::is_wireguard(payload, len, true),
        App::Gtpc => mobile::is_gtpc(payload, len),
        App::Gtpu => mobile::is_gtpu(payload, len),
        App::GtpPrime => mobile::is_gtp_prime(payload, len),
        App::Pfcp => mobile::is_pfcp(payload, len),
        App::Mgcp => voice::is_mgcp(payload, true),
        App::Iax2 => voice::is_iax2(payload),
        App::Stun => voice::is_channel_data(payload, len),
        App::Bfd => routing::is_bfd(payload, len),
        App::Hsrp => routing::is_hsrp(payload, len),
        App::Rip => routing::is_rip(payload, len),
        App::Ldp => routing::is_ldp(payload, len),
        App::Wccp => routing::is_wccp(payload),
        App::Ssdp => internet::is_http(payload),
        _ => false,
    });
    confirmed.or_else(|| voice::udp(payload, len)).or_else(|| internet::udp(payload, len))
}

/// The big-endian number of two bytes at `at`.
#[inline]
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The big-endian number of four bytes at `at`.
#[inline]
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
