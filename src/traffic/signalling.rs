//! SIGTRAN: ISUP (ITU-T Q.763) in M3UA (RFC 4666) in SCTP (RFC 9260).

use super::Conversation;
use super::frame::{Link, Path, Ports, Side, Transport};
use super::random::Random;

const M3UA: Ports = Ports { client: 2905, server: 2905 };
const PPID_M3UA: u32 = 3;

/// Calls that are set up and taken down over a long association.
#[derive(Debug)]
pub(super) struct Association {
    tag: u32,
    client: u32,
    server: u32,
    circuit: u16,
    step: u8,
    left: u32,
}

impl Association {
    pub fn new(random: &mut Random) -> Self {
        let numbers = random.next();
        Self {
            tag: numbers as u32,
            client: (numbers >> 32) as u32,
            server: random.next() as u32,
            circuit: random.below(4096) as u16,
            step: 0,
            left: 100 + random.below(2_000),
        }
    }
}

impl Conversation for Association {
    fn next(&mut self, path: &mut Path, link: &mut Link) -> bool {
        let [lo, hi] = self.circuit.to_le_bytes();
        let [.., a, b, c, d] = link.random.next().to_be_bytes();
        // Who sends, and its message behind the circuit: IAM (an international call to a number of ten digits, speech),
        // ACM, ANM, REL (normal clearing), RLC.
        let (side, isup): (_, &[u8]) = match self.step {
            0 => {
                let digits = [a & 0x77, b & 0x77, c & 0x77, d & 0x77, 0x21];
                let [p, q, r, s, t] = digits;
                (Side::Client, &[1, 0, 0x60, 0, 10, 0, 2, 0, 7, 4, 0x10, p, q, r, s, t])
            }
            1 => (Side::Server, &[6, 0x12, 0x14, 0]),
            2 => (Side::Server, &[9, 0]),
            3 => (Side::Client, &[12, 2, 0, 2, 0x80, 0x90]),
            _ => (Side::Server, &[16, 0]),
        };
        let (codes, sent) = match side {
            Side::Client => ([0, 0, 0, 1, 0, 0, 0, 2], &mut self.client),
            Side::Server => ([0, 0, 0, 2, 0, 0, 0, 1], &mut self.server),
        };
        let mut chunks = Vec::with_capacity(128);
        // Point codes, ISUP, national, signalling link.
        let routing = [5, 2, 0, lo & 0x0f];
        let data_len = 4 + codes.len() + routing.len() + 2 + isup.len();
        let m3ua_len = 8 + 8 + data_len.next_multiple_of(4);
        chunks.extend([0, 3]);
        chunks.extend((16 + m3ua_len as u16).to_be_bytes());
        chunks.extend(sent.to_be_bytes());
        chunks.extend([0, 1]);
        chunks.extend((*sent as u16).to_be_bytes());
        chunks.extend(PPID_M3UA.to_be_bytes());
        // DATA (section 3.3.1): routing context 1, protocol data.
        chunks.extend([1, 0, 1, 1]);
        chunks.extend((m3ua_len as u32).to_be_bytes());
        chunks.extend([0, 6, 0, 8, 0, 0, 0, 1, 2, 0x10]);
        chunks.extend((data_len as u16).to_be_bytes());
        chunks.extend(codes);
        chunks.extend(routing);
        chunks.extend([lo, hi]);
        chunks.extend(isup);
        chunks.resize(chunks.len().next_multiple_of(4), 0);
        *sent = sent.wrapping_add(1);
        if self.step.is_multiple_of(2) {
            // What came from the other side is acknowledged: SACK, no gaps.
            let seen = match side {
                Side::Client => self.server,
                Side::Server => self.client,
            };
            chunks.extend([3, 0, 0, 16]);
            chunks.extend(seen.wrapping_sub(1).to_be_bytes());
            chunks.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        }
        link.send(path, side, M3UA, Transport::Sctp(self.tag), chunks.as_slice().into());
        self.step = (self.step + 1) % 5;
        if self.step == 0 {
            self.circuit = (self.circuit + 1) % 4096;
        }
        self.left -= 1;
        self.left > 0
    }

    fn len(&self) -> u32 {
        self.left
    }
}
