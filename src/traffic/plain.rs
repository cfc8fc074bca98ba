//! Packets of a given size and no application, as those of a packet generator.

use super::frame::{Link, Path, Payload, Ports, Side, Transport};
use super::random::Random;
use super::tcp::{ACK, PSH, SYN, Tcp};
use super::{Conversation, LONGEST};

/// Ethernet and IPv4 in front of the transport.
const BEFORE: usize = 14 + 20;

/// Sizes of frames without their check sequence, one chosen for each packet.
pub(super) type Sizes = &'static [usize];

/// 64 bytes on the wire.
pub(super) const SMALLEST: Sizes = &[60];

/// 7 : 4 : 1 of 64, 594 and 1518 bytes on the wire, the simple Internet mix.
pub(super) const IMIX: Sizes = &[60, 60, 60, 60, 60, 60, 60, 590, 590, 590, 590, 1514];

fn choose(sizes: Sizes, random: &mut Random) -> usize {
    sizes.get(random.below(sizes.len() as u32) as usize).copied().unwrap_or_default()
}

/// Datagrams in one direction.
#[derive(Debug)]
pub(super) struct Datagrams {
    ports: Ports,
    sizes: Sizes,
    left: u32,
}

impl Datagrams {
    pub fn new(sizes: Sizes, random: &mut Random) -> Self {
        let ports = Ports { client: random.ephemeral_port(), server: random.ephemeral_port() };
        Self { ports, sizes, left: 1 << random.below(10) }
    }
}

impl Conversation for Datagrams {
    fn next(&mut self, path: &mut Path, link: &mut Link) -> bool {
        let len = choose(self.sizes, &mut link.random).saturating_sub(BEFORE + 8);
        link.send(path, Side::Client, self.ports, Transport::Udp, Payload::random(len));
        self.left -= 1;
        self.left > 0
    }

    fn len(&self) -> u32 {
        self.left
    }
}

/// A connection: SYN, then segments of the server, or where there is no room for data, acknowledgments by the client of
/// what took another way.
#[derive(Debug)]
pub(super) struct Segments {
    tcp: Tcp,
    sizes: Sizes,
    has_begun: bool,
    left: u32,
}

impl Segments {
    pub fn new(sizes: Sizes, random: &mut Random) -> Self {
        let port = random.ephemeral_port();
        Self { tcp: Tcp::new(port, random), sizes, has_begun: false, left: 1 << random.below(10) }
    }
}

impl Conversation for Segments {
    fn next(&mut self, path: &mut Path, link: &mut Link) -> bool {
        if self.has_begun {
            match choose(self.sizes, &mut link.random) {
                60 => {
                    self.tcp.skip(1 + link.random.below(2 * 1460));
                    self.tcp.send_bare(path, link, Side::Client, ACK, Payload::NONE);
                }
                size => {
                    let payload = Payload::random(size - BEFORE - 20);
                    self.tcp.send_bare(path, link, Side::Server, ACK | PSH, payload);
                }
            }
        } else {
            self.tcp.send_bare(path, link, Side::Client, SYN, Payload::NONE);
            self.has_begun = true;
        }
        self.left -= 1;
        self.left > 0
    }

    fn len(&self) -> u32 {
        self.left
    }
}

/// A connection that is asked for and not answered.
#[derive(Debug)]
pub(super) struct Attempt(Tcp);

impl Attempt {
    pub fn new(random: &mut Random) -> Self {
        let port = random.ephemeral_port();
        Self(Tcp::new(port, random))
    }
}

impl Conversation for Attempt {
    fn next(&mut self, path: &mut Path, link: &mut Link) -> bool {
        self.0.send_bare(path, link, Side::Client, SYN, Payload::NONE);
        false
    }

    fn len(&self) -> u32 {
        1
    }
}

/// One datagram again and again, with the same identification.
#[derive(Debug)]
pub(super) struct Repetition(Ports);

impl Repetition {
    pub fn new(random: &mut Random) -> Self {
        Self(Ports { client: random.ephemeral_port(), server: random.ephemeral_port() })
    }
}

impl Conversation for Repetition {
    fn next(&mut self, path: &mut Path, link: &mut Link) -> bool {
        link.send(&mut path.clone(), Side::Client, self.0, Transport::Udp, Payload::NONE);
        true
    }

    fn len(&self) -> u32 {
        LONGEST
    }
}
