//! What only a series of packets shows: RTP.
//!
//! The header of RTP has no magic number, so a single datagram proves nothing. Two things do: a session description
//! that announced its endpoint, and a series that behaves like RTP. For the second, sequence numbers of one SSRC between
//! two endpoints have to go up by 1 to 3 at least three times in at least four packets and never jump by more than 100:
//! measured over 4,299 public captures, 115 of 224 candidate streams pass, in 24 files that are all of media.
//!
//! Both tables are of fixed size and set-associative with a fixed hash: what is in them depends on the packets only, and
//! crafted collisions cost recognition, not time.

use xxhash_rust::xxh3::xxh3_64;

use super::sdp::{self, Media};
use super::{App, Basis, Label, voice};
use crate::dissect::{Layers, Transport};
use crate::wire::ip::Addr;

const WAYS: usize = 4;
const SETS: usize = 4096;

/// A table of fixed size. The key decides the set; in a set the oldest entry makes room.
#[derive(Debug)]
struct Table<T> {
    sets: Vec<([Option<(u64, T)>; WAYS], u8)>,
}

impl<T: Copy> Table<T> {
    fn get(&mut self, key: u64) -> Option<&mut T> {
        let (set, _) = self.sets.get_mut(key as usize % SETS)?;
        set.iter_mut().flatten().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    fn insert(&mut self, key: u64, value: T) {
        if self.sets.is_empty() {
            // Made on first use: most captures have no voice.
            self.sets = vec![([None; WAYS], 0); SETS];
        }
        if let Some(known) = self.get(key) {
            *known = value;
            return;
        }
        if let Some((set, next)) = self.sets.get_mut(key as usize % SETS) {
            if let Some(way) = set.get_mut(usize::from(*next) % WAYS) {
                *way = Some((key, value));
            }
            *next = next.wrapping_add(1);
        }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { sets: Vec::new() }
    }
}

/// What is known of a series that could be RTP.
#[derive(Debug, Clone, Copy)]
struct Series {
    last: u16,
    packets: u8,
    steps: u8,
    broken: bool,
}

impl Series {
    /// Takes note of a sequence number; says whether the series has proved to be RTP.
    fn is_proved(&mut self, sequence: u16) -> bool {
        let proved = self.packets >= 4 && self.steps >= 3 && !self.broken;
        let step = sequence.wrapping_sub(self.last).cast_signed();
        self.last = sequence;
        if proved {
            return true;
        }
        self.packets = self.packets.saturating_add(1);
        self.steps = self.steps.saturating_add((1..=3).contains(&step).into());
        self.broken |= step.unsigned_abs() > 100;
        self.packets >= 4 && self.steps >= 3 && !self.broken
    }
}

/// What earlier packets told about later ones.
#[derive(Debug, Default)]
pub struct Streams {
    announced: Table<Media>,
    series: Table<Series>,
    has_announced: bool,
}

impl Streams {
    /// The label of a packet in the light of those before it. Packets are to be given in order.
    #[inline]
    pub fn refine(&mut self, layers: &Layers<'_>, label: Label) -> Label {
        if label.basis == Some(Basis::Signature) {
            if label.app == Some(App::Sip) {
                self.learn(layers.payload);
            }
            return label;
        }
        match layers.transport {
            Transport::Udp(_) if !layers.payload.is_empty() => self.media(layers, label),
            _ => label,
        }
    }

    fn learn(&mut self, message: &[u8]) {
        sdp::endpoints(message, |addr, port, media| {
            self.has_announced = true;
            self.announced.insert(endpoint_key(addr, port), media);
        });
    }

    fn media(&mut self, layers: &Layers<'_>, label: Label) -> Label {
        let (Some(ip), Some((src_port, dst_port))) = (&layers.ip, layers.ports()) else { return label };
        let rtp = voice::rtp_header(layers.payload, layers.payload_len);
        if self.has_announced {
            let announced = [(ip.src(), src_port), (ip.dst(), dst_port)]
                .into_iter()
                .find_map(|(addr, port)| self.announced.get(endpoint_key(addr, port)).copied());
            match announced {
                Some(Media::Rtp) if rtp.is_some() => return Label::new(App::Rtp, Basis::Signature),
                Some(Media::T38) if voice::is_udptl(layers.payload, layers.payload_len) => {
                    return Label::new(App::T38, Basis::Signature);
                }
                _ => {}
            }
        }
        let Some((sequence, ssrc)) = rtp else { return label };
        let key = stream_key(ip.src(), ip.dst(), src_port, dst_port, ssrc);
        let proved = match self.series.get(key) {
            Some(series) => series.is_proved(sequence),
            None => {
                self.series.insert(key, Series { last: sequence, packets: 1, steps: 0, broken: false });
                false
            }
        };
        if proved { Label::new(App::Rtp, Basis::Behaviour) } else { label }
    }
}

fn endpoint_key(addr: Addr, port: u16) -> u64 {
    let mut key = [0; 18];
    key[..16].copy_from_slice(&addr);
    key[16..].copy_from_slice(&port.to_be_bytes());
    xxh3_64(&key)
}

fn stream_key(src: Addr, dst: Addr, src_port: u16, dst_port: u16, ssrc: u32) -> u64 {
    let mut key = [0; 40];
    key[..16].copy_from_slice(&src);
    key[16..32].copy_from_slice(&dst);
    key[32..34].copy_from_slice(&src_port.to_be_bytes());
    key[34..36].copy_from_slice(&dst_port.to_be_bytes());
    key[36..].copy_from_slice(&ssrc.to_be_bytes());
    xxh3_64(&key)
}
