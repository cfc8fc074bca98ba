//! Traffic made for measuring: captures in memory, the same bytes for the same seed.
//!
//! A link at 10 Gbit/s has a number of places, each with a conversation of one kind; when that ends, another one of its
//! kind follows. So the shares of a mix hold from the first packet to the last, flows have the lengths they have in life,
//! and their packets lie between those of thousands of others. The capture begins amid them, as one of a link does: a second
//! of traffic holds the beginnings of few long conversations.

mod frame;
mod internet;
mod plain;
mod random;
mod signalling;
mod tcp;
mod voice;

use std::fmt::Debug;

use crate::named::named;
use frame::{Around, Link, Path};
use random::Random;

named! {
    /// What the packets of a capture are.
    Mix {
        /// Frames of 64 bytes on the wire: datagrams, SYN and acknowledgments.
        Smallest = "64-byte",
        /// Frames of 64, 594 and 1518 bytes on the wire, 7 : 4 : 1.
        Imix = "imix",
        /// What a carrier's link has: calls, signalling, TLS, QUIC, DNS, tunnels of subscribers, tags and labels; a mean of
        /// about 550 bytes.
        Carrier = "carrier",
        /// Media of calls by G.711, without signalling.
        Rtp = "rtp",
        /// A SYN flood (RFC 4987, section 2): each packet is a conversation of its own.
        Flood = "flood",
        /// One frame again and again: all ids collide.
        Repeated = "repeated",
    }
}

/// What two hosts say to each other.
trait Conversation: Debug {
    /// Sends its next packet; false after the last one.
    fn next(&mut self, path: &mut Path, link: &mut Link) -> bool;

    /// About how many packets a new one has.
    fn len(&self) -> u32;
}

/// A kind of conversation.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Datagrams(plain::Sizes),
    Segments(plain::Sizes),
    Attempt,
    Repetition,
    Media,
    Call,
    Registration,
    Association,
    Download,
    Quic,
    Lookup,
}

impl Mix {
    /// How many of a hundred packets are of which kind.
    const fn shares(self) -> &'static [(u32, Kind)] {
        match self {
            Self::Smallest => {
                &[(50, Kind::Datagrams(plain::SMALLEST)), (50, Kind::Segments(plain::SMALLEST))]
            }
            Self::Imix => &[(50, Kind::Datagrams(plain::IMIX)), (50, Kind::Segments(plain::IMIX))],
            Self::Carrier => &[
                (39, Kind::Call),
                (2, Kind::Registration),
                (6, Kind::Association),
                (28, Kind::Download),
                (16, Kind::Quic),
                (9, Kind::Lookup),
            ],
            Self::Rtp => &[(100, Kind::Media)],
            Self::Flood => &[(100, Kind::Attempt)],
            Self::Repeated => &[(100, Kind::Repetition)],
        }
    }

    /// Conversations at a time: as many as let each send some dozens of packets, at the most those of a busy link; a single one where each has
    /// one packet, or there is no other.
    fn places(self, packets: usize) -> usize {
        match self {
            Self::Flood | Self::Repeated => 1,
            _ => (packets / 32).clamp(100, 8_192),
        }
    }

    /// The kind of conversation in a place; any hundred places in a row have the shares of the mix.
    fn kind(self, place: usize) -> Kind {
        // 37 and 100 have no divisor in common.
        let mut at = (place * 37 % 100) as u32;
        let shares = self.shares();
        for &(share, kind) in shares {
            if at < share {
                return kind;
            }
            at -= share;
        }
        Kind::Media
    }

    /// What a conversation has around its packets.
    fn around(self, kind: Kind, random: &mut Random) -> Around {
        if self != Self::Carrier {
            return Around::NOTHING;
        }
        let subscriber = matches!(kind, Kind::Download | Kind::Quic | Kind::Lookup);
        let vlans = match random.below(100) {
            0..70 => 0,
            70..92 => 1,
            _ => 2,
        };
        Around {
            ipv6: !matches!(kind, Kind::Association) && random.percent(15),
            tunnel: subscriber && random.percent(20),
            vlans,
            labels: if random.percent(10) { 2 } else { 0 },
        }
    }
}

impl Kind {
    fn begin(self, random: &mut Random) -> Box<dyn Conversation> {
        match self {
            Self::Datagrams(sizes) => Box::new(plain::Datagrams::new(sizes, random)),
            Self::Segments(sizes) => Box::new(plain::Segments::new(sizes, random)),
            Self::Attempt => Box::new(plain::Attempt::new(random)),
            Self::Repetition => Box::new(plain::Repetition::new(random)),
            Self::Media => Box::new(voice::Call::new(false, random)),
            Self::Call => Box::new(voice::Call::new(true, random)),
            Self::Registration => Box::new(voice::Registration::new(random)),
            Self::Association => Box::new(signalling::Association::new(random)),
            Self::Download => Box::new(internet::Download::new(random)),
            Self::Quic => Box::new(internet::Quic::new(random)),
            Self::Lookup => Box::new(internet::Lookup::new(random)),
        }
    }

    /// One that goes on at a time chosen at random: a long one is met more often, each anywhere in its course.
    fn amid(self, path: &mut Path, link: &mut Link) -> Box<dyn Conversation> {
        link.is_silent = true;
        let conversation = loop {
            let mut met = self.begin(&mut link.random);
            let len = met.len();
            if link.random.below(LONGEST) < len {
                let sent = link.random.below(len);
                if (0..sent).all(|_| met.next(path, link)) {
                    break met;
                }
            }
        };
        link.is_silent = false;
        conversation
    }
}

/// No conversation has more packets than this.
const LONGEST: u32 = 4096;

/// The sum of all 8-byte words: a pass over the memory that reads every byte and can leave none out, which no reader of a
/// capture beats.
pub fn floor(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().fold(0, |sum: u64, &word| sum.wrapping_add(u64::from_le_bytes(word)))
}

/// A classic pcap with times in nanoseconds.
pub fn capture(mix: Mix, packets: usize, seed: u64) -> Vec<u8> {
    let mut link = Link::new(Random(seed));
    let path_of = |kind, random: &mut Random| Path::new(mix.around(kind, random), random);
    let mut places: Vec<_> = (0..mix.places(packets))
        .map(|place| {
            let kind = mix.kind(place);
            let mut path = path_of(kind, &mut link.random);
            let conversation = kind.amid(&mut path, &mut link);
            (path, conversation)
        })
        .collect();
    while link.packets < packets {
        let place = link.random.below(places.len() as u32) as usize;
        if let Some(conversation) = places.get_mut(place) {
            let (path, talk) = conversation;
            if !talk.next(path, &mut link) {
                let kind = mix.kind(place);
                *conversation = (path_of(kind, &mut link.random), kind.begin(&mut link.random));
            }
        }
    }
    link.capture
}
