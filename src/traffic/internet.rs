//! What subscribers do: TLS (RFC 8446) over TCP, QUIC (RFC 9000), DNS (RFC 1035).

use super::Conversation;
use super::frame::{Link, Path, Payload, Ports, Side, Transport};
use super::random::Random;
use super::tcp::{ACK, FIN, HEADER_LEN, PSH, SYN, Tcp};

/// Most segments of a record: 2^14 bytes hold so many of the largest.
const RECORD_SEGMENTS: u32 = 11;

/// A download over TLS of 16 to 2,048 segments.
#[derive(Debug)]
pub(super) struct Download {
    tcp: Tcp,
    host: u32,
    step: u32,
    /// Segments of data left.
    left: u32,
    /// Segments left of the record.
    record: u32,
    /// Segments that the client has not acknowledged.
    unseen: u32,
    closing: u8,
}

impl Download {
    pub fn new(random: &mut Random) -> Self {
        Self {
            tcp: Tcp::new(443, random),
            host: random.below(100_000),
            step: 0,
            left: 16 << random.below(8),
            record: 0,
            unseen: 0,
            closing: 0,
        }
    }

    /// A segment of the server; a record begins with one and ends with one.
    fn data(&mut self, path: &mut Path, link: &mut Link) {
        let room = path.room() - HEADER_LEN;
        let mut head = [0; 5];
        let mut payload = Payload::random(room);
        if self.record == 0 {
            self.record = self.left.min(1 + link.random.below(RECORD_SEGMENTS));
            let [hi, lo] = ((room * self.record as usize - head.len()) as u16).to_be_bytes();
            head = [23, 3, 3, hi, lo];
            payload.head = &head;
        }
        self.record -= 1;
        self.left -= 1;
        self.unseen += 1;
        let push = if self.record == 0 { PSH } else { 0 };
        self.tcp.send(path, link, Side::Server, ACK | push, payload);
    }
}

impl Conversation for Download {
    fn next(&mut self, path: &mut Path, link: &mut Link) -> bool {
        let (client, server) = (Side::Client, Side::Server);
        let step = self.step;
        self.step += 1;
        match step {
            0 => self.tcp.send(path, link, client, SYN, Payload::NONE),
            1 => self.tcp.send(path, link, server, SYN | ACK, Payload::NONE),
            2 => self.tcp.send(path, link, client, ACK, Payload::NONE),
            3 => {
                let hello = client_hello(self.host, &mut link.random);
                self.tcp.send(path, link, client, ACK | PSH, hello.as_slice().into());
            }
            4 => {
                let hello = server_hello(&mut link.random);
                self.tcp.send(path, link, server, ACK | PSH, hello.as_slice().into());
            }
            5 => {
                // The client's request, encrypted.
                let payload = Payload { head: &[23, 3, 3, 0, 195], len: 200 };
                self.tcp.send(path, link, client, ACK | PSH, payload);
            }
            _ if self.unseen >= 2 || (self.left == 0 && self.unseen > 0) => {
                self.unseen = 0;
                self.tcp.send(path, link, client, ACK, Payload::NONE);
            }
            _ if self.left > 0 => self.data(path, link),
            _ => {
                let (side, flags) = match self.closing {
                    0 => (server, FIN | ACK),
                    1 => (client, FIN | ACK),
                    _ => (server, ACK),
                };
                self.tcp.send(path, link, side, flags, Payload::NONE);
                self.closing += 1;
                return self.closing < 3;
            }
        }
        true
    }

    fn len(&self) -> u32 {
        // The client acknowledges each second segment.
        self.left + self.left / 2
    }
}

/// Adds what `content` writes, behind its length in `N` bytes.
fn with_len<const N: usize>(bytes: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let at = bytes.len();
    bytes.extend([0; N]);
    content(bytes);
    let len = (bytes.len() - at - N) as u32;
    for (field, byte) in bytes.iter_mut().skip(at).take(N).rev().zip(len.to_le_bytes()) {
        *field = byte;
    }
}

/// A handshake message in a record (sections 4 and 5.1).
fn handshake(kind: u8, content: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut record = vec![22, 3, 1];
    with_len::<2>(&mut record, |record| {
        record.push(kind);
        with_len::<3>(record, content);
    });
    record
}

fn client_hello(host: u32, random: &mut Random) -> Vec<u8> {
    handshake(1, |hello| {
        hello.extend([3, 3]);
        random.fill(hello, 32);
        hello.push(32);
        random.fill(hello, 32);
        with_len::<2>(hello, |suites| suites.extend([0x13, 1, 0x13, 2, 0x13, 3, 0xc0, 0x2b, 0xc0, 0x2f]));
        hello.extend([1, 0]);
        with_len::<2>(hello, |extensions| {
            extensions.extend([0, 0]);
            with_len::<2>(extensions, |names| {
                with_len::<2>(names, |names| {
                    names.push(0);
                    with_len::<2>(names, |name| name.extend(format!("www{host}.example.com").bytes()));
                });
            });
            // Groups, signatures, application protocols, versions, key share: x25519.
            extensions.extend([0, 10, 0, 4, 0, 2, 0, 29]);
            extensions.extend([0, 13, 0, 6, 0, 4, 4, 3, 8, 4]);
            extensions.extend([0, 16, 0, 14, 0, 12, 2, b'h', b'2', 8]);
            extensions.extend(b"http/1.1");
            extensions.extend([0, 43, 0, 3, 2, 3, 4]);
            extensions.extend([0, 51, 0, 38, 0, 36, 0, 29, 0, 32]);
            random.fill(extensions, 32);
        });
    })
}

/// With the change of cipher and the first encrypted record behind it.
fn server_hello(random: &mut Random) -> Vec<u8> {
    let mut records = handshake(2, |hello| {
        hello.extend([3, 3]);
        random.fill(hello, 32);
        hello.push(32);
        random.fill(hello, 32);
        hello.extend([0x13, 1, 0]);
        with_len::<2>(hello, |extensions| {
            extensions.extend([0, 43, 0, 2, 3, 4]);
            extensions.extend([0, 51, 0, 36, 0, 29, 0, 32]);
            random.fill(extensions, 32);
        });
    });
    records.extend([20, 3, 3, 0, 1, 1]);
    records.extend([23, 3, 3]);
    with_len::<2>(&mut records, |record| random.fill(record, 900));
    records
}

/// A QUIC connection of 16 to 2,048 datagrams.
#[derive(Debug)]
pub(super) struct Quic {
    ports: Ports,
    client_id: [u8; 8],
    server_id: [u8; 8],
    step: u32,
    length: u32,
}

impl Quic {
    pub fn new(random: &mut Random) -> Self {
        Self {
            ports: Ports { client: random.ephemeral_port(), server: 443 },
            client_id: random.next().to_be_bytes(),
            server_id: random.next().to_be_bytes(),
            step: 0,
            length: 16 << random.below(8),
        }
    }
}

impl Conversation for Quic {
    fn next(&mut self, path: &mut Path, link: &mut Link) -> bool {
        // Three of four datagrams bring data; the rest acknowledges.
        let side = match self.step {
            0 => Side::Client,
            1 => Side::Server,
            _ if link.random.percent(25) => Side::Client,
            _ => Side::Server,
        };
        let (own, other) = match side {
            Side::Client => (self.client_id, self.server_id),
            Side::Server => (self.server_id, self.client_id),
        };
        let mut head = [0; 26];
        let (len, head_len) = if self.step < 2 {
            // An Initial packet (section 17.2.2) of version 1, no token, in a datagram of 1,200 bytes (section 14.1).
            head[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
            head[6..14].copy_from_slice(&other);
            head[14] = 8;
            head[15..23].copy_from_slice(&own);
            let rest: u16 = 1200 - 26;
            let [hi, lo] = (0x4000 | rest).to_be_bytes();
            head[23..26].copy_from_slice(&[0, hi, lo]);
            (1200, 26)
        } else {
            // A short header (section 17.3.1): the form, a fixed bit, and protected bits.
            head[0] = 0x40 | link.random.below(0x40) as u8;
            head[1..9].copy_from_slice(&other);
            (if side == Side::Client { 40 } else { 1250 }, 9)
        };
        let payload = Payload { head: head.get(..head_len).unwrap_or_default(), len };
        link.send(path, side, self.ports, Transport::Udp, payload);
        self.step += 1;
        self.step < self.length
    }

    fn len(&self) -> u32 {
        self.length
    }
}

/// A name that is asked for, and its address.
#[derive(Debug)]
pub(super) struct Lookup {
    ports: Ports,
    id: u16,
    host: u32,
    is_asked: bool,
}

impl Lookup {
    pub fn new(random: &mut Random) -> Self {
        let ports = Ports { client: random.ephemeral_port(), server: 53 };
        Self { ports, id: random.next() as u16, host: random.below(100_000), is_asked: false }
    }
}

impl Conversation for Lookup {
    fn next(&mut self, path: &mut Path, link: &mut Link) -> bool {
        let mut message = self.id.to_be_bytes().to_vec();
        // Recursion desired; a response with recursion available and one answer.
        message.extend(if self.is_asked {
            [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]
        } else {
            [0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]
        });
        for label in [&format!("www{}", self.host), "example", "com", ""] {
            message.push(label.len() as u8);
            message.extend(label.bytes());
        }
        message.extend([0, 1, 0, 1]);
        if self.is_asked {
            // The name of the question, A, IN, 300 s.
            message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 198, 18]);
            message.extend((self.host as u16).to_be_bytes());
        }
        let side = if self.is_asked { Side::Server } else { Side::Client };
        link.send(path, side, self.ports, Transport::Udp, message.as_slice().into());
        let goes_on = !self.is_asked;
        self.is_asked = true;
        goes_on
    }

    fn len(&self) -> u32 {
        2
    }
}
