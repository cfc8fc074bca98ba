//! One TCP connection, RFC 9293: sequence numbers that fit together.

use super::frame::{Link, Path, Payload, Ports, Side, Transport};
use super::random::Random;

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;

/// Bytes of a header with time stamps, as those of most systems are.
pub(super) const HEADER_LEN: usize = 32;

#[derive(Debug)]
pub(super) struct Tcp {
    ports: Ports,
    /// Next sequence numbers.
    client: u32,
    server: u32,
}

impl Tcp {
    pub fn new(server_port: u16, random: &mut Random) -> Self {
        let ports = Ports { client: random.ephemeral_port(), server: server_port };
        Self { ports, client: random.next() as u32, server: random.next() as u32 }
    }

    /// Sends a segment with options as most systems have them (RFC 7323): sizes and scale on SYN, time stamps.
    pub fn send(&mut self, path: &mut Path, link: &mut Link, side: Side, flags: u8, payload: Payload<'_>) {
        let mut options = [0; 20];
        let mss = (path.room() - 20) as u16;
        let [hi, lo] = mss.to_be_bytes();
        let [a, b, c, d] = link.millis().wrapping_add(1 << 20).to_be_bytes();
        if flags & SYN == 0 {
            options[..8].copy_from_slice(&[1, 1, 8, 10, a, b, c, d]);
            options[8..12].copy_from_slice(&[a, b, c, d]);
            self.segment(path, link, side, flags, &options[..12], payload);
        } else {
            options[..12].copy_from_slice(&[2, 4, hi, lo, 4, 2, 8, 10, a, b, c, d]);
            if side == Side::Server {
                options[12..16].copy_from_slice(&[a, b, c, d]);
            }
            options[16..].copy_from_slice(&[1, 3, 3, 7]);
            self.segment(path, link, side, flags, &options, payload);
        }
    }

    /// Sends a segment without options.
    pub fn send_bare(
        &mut self,
        path: &mut Path,
        link: &mut Link,
        side: Side,
        flags: u8,
        payload: Payload<'_>,
    ) {
        self.segment(path, link, side, flags, &[], payload);
    }

    /// Counts bytes of the server that took another way.
    pub fn skip(&mut self, bytes: u32) {
        self.server = self.server.wrapping_add(bytes);
    }

    fn segment(
        &mut self,
        path: &mut Path,
        link: &mut Link,
        side: Side,
        flags: u8,
        options: &[u8],
        payload: Payload<'_>,
    ) {
        let (sent, seen) = match side {
            Side::Client => (&mut self.client, self.server),
            Side::Server => (&mut self.server, self.client),
        };
        let window = if options.len() == 12 { 502 } else { 64_240 };
        let ack = if flags & ACK == 0 { 0 } else { seen };
        link.send(path, side, self.ports, Transport::Tcp(*sent, ack, flags, window, options), payload);
        let counted = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        *sent = sent.wrapping_add(payload.len as u32 + counted);
    }
}
