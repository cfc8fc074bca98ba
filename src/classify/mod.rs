//! Layers → what it is: application, traffic class, and on what basis.
//!
//! A signature beats behaviour, and behaviour beats a port. A signature that other data could have by chance counts only
//! together with its port. What is left is a guess by port, and called one; or nothing, and called unknown.
//!
//! [`app`](App) holds the one table of what is told apart; `voice`, `mobile`, `internet`, `routing` and `management` hold
//! a function for each signature; `signature` says which of them apply where; `streams` is all that has a memory.

mod app;
mod data;
mod internet;
mod management;
mod mobile;
mod ports;
mod routing;
mod sdp;
mod signature;
mod streams;
#[cfg(test)]
mod tests;
mod voice;

pub use app::{App, Basis, Traffic};
pub use sdp::Media;
pub use streams::{Candidate, Hint, Streams};

use crate::dissect::{Layers, Transport};
use crate::wire::ip::Fragment;
use data::Data;
use serde::{Deserialize, Serialize};

/// What a packet is taken for, and on what basis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    #[inline(always)]
    pub fn traffic(self) -> Traffic {
        match self.app {
            Some(app) => app.traffic(),
            None => Traffic::Unknown,
        }
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
#[inline(always)]
pub fn label(layers: &Layers<'_>) -> Label {
    let Some(ip) = &layers.ip else {
        return by(routing::link(layers.ethertype, layers.payload), Basis::Signature);
    };
    let data = payload(layers);
    let ports = layers.ports().unwrap_or_default();
    match layers.transport {
        Transport::Tcp(_) => told(data, ports::tcp(ports), tcp),
        Transport::Udp(_) => told(data, ports::udp(ports), udp),
        Transport::Sctp(_) => match signature::sctp(data) {
            Some(app) => Label::new(app, Basis::Signature),
            None => by(likelier(ports::sctp(ports)), Basis::Port),
        },
        // A protocol number says what it is, in later fragments too. TCP and UDP are not in that table.
        _ => by(signature::protocol(ip.protocol, data, ip.fragment.is_later()), Basis::Signature),
    }
}

/// What a datagram or segment is: what its port suggests and its bytes confirm, what its bytes say on any port, or what
/// its port suggests.
#[inline(always)]
fn told(
    data: Data<'_>,
    by_port: [Option<App>; 2],
    signature: impl Fn(&[u8], usize, Option<App>, Option<App>) -> Option<App>,
) -> Label {
    let [first, second] = by_port;
    if !data.bytes.is_empty()
        && let Some(app) = signature(data.bytes, data.len, first, second)
    {
        return Label::new(app, Basis::Signature);
    }
    by(first.or(second), Basis::Port)
}

/// What the bytes of a segment say, of which two ports suggest something. Takes what fits into registers.
#[inline(never)]
fn tcp(bytes: &[u8], len: usize, first: Option<App>, second: Option<App>) -> Option<App> {
    let data = Data { bytes, len };
    let confirmed = |app: Option<App>| app.and_then(|app| signature::tcp_on_port(app, data));
    confirmed(first).or_else(|| confirmed(second)).or_else(|| signature::tcp(data))
}

/// As [`tcp`], of a datagram.
#[inline(never)]
fn udp(bytes: &[u8], len: usize, first: Option<App>, second: Option<App>) -> Option<App> {
    let data = Data { bytes, len };
    let confirmed = |app: Option<App>| app.and_then(|app| signature::udp_on_port(app, data));
    confirmed(first).or_else(|| confirmed(second)).or_else(|| signature::udp(data))
}

#[inline]
fn likelier([first, second]: [Option<App>; 2]) -> Option<App> {
    first.or(second)
}

#[inline]
fn by(app: Option<App>, basis: Basis) -> Label {
    app.map_or_else(Label::default, |app| Label::new(app, basis))
}

/// The payload, with the length of the whole datagram where this is its first fragment.
#[inline(always)]
fn payload<'a>(layers: &Layers<'a>) -> Data<'a> {
    let len = match (layers.transport, layers.ip) {
        (Transport::Udp(udp), Some(ip)) if ip.fragment == Fragment::First => {
            u32::from(udp.length.get()).saturating_sub(size_of_val(udp) as u32).max(layers.payload_len)
        }
        _ => layers.payload_len,
    };
    Data::new(layers.payload, len)
}
