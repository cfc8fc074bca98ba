//! Messages of Skinny and H.225.0, whole, out of segments: each begins with its length. In bounded memory.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::streams::{Payload, Place};
use crate::wire::ip::Addr;
use crate::wire::{q931, skinny};

/// What messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Protocol {
    Skinny,
    H225,
}

/// What stands at the beginning of bytes.
enum Next {
    /// A message of this length.
    Message(usize),
    /// Something else of this length.
    Other(usize),
    /// Nothing that is known.
    Lost,
    /// More is needed to tell.
    More,
}

impl Protocol {
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "skinny" => Some(Self::Skinny),
            "h225" => Some(Self::H225),
            _ => None,
        }
    }

    fn next(self, bytes: &[u8]) -> Next {
        let (found, least) = match self {
            Self::Skinny => (skinny::message_len(bytes), 12),
            Self::H225 => (q931::tpkt_len(bytes), 4),
        };
        match (found, bytes) {
            (Some(len), _) => Next::Message(len),
            // An empty packet keeps a connection alive.
            (None, &[3, 0, 0, len @ 4..=8, ..]) if self == Self::H225 => Next::Other(usize::from(len)),
            _ if bytes.len() < least => Next::More,
            _ => Next::Lost,
        }
    }
}

/// Bytes of one message; those that wait for others, and how many segments do.
const MAX_MESSAGE: usize = 65_536;
const MAX_WAITING: usize = 16;
/// How long segments wait for one before them, nanoseconds: see [`super::streams`].
const PATIENCE: i64 = 3_000_000_000;
/// A segment so far from the one that comes next belongs elsewhere.
const WINDOW: u32 = 1 << 20;

type Connection = (u16, Addr, Addr, (u16, u16));

/// Directions of connections that are read.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Framed {
    limit: usize,
    open: HashMap<Connection, Stream>,
    /// Streams by when they were used, to forget the oldest.
    order: BTreeMap<u64, Connection>,
    clock: u64,
    /// Streams that were forgotten because there was no room.
    pub evicted: u64,
    /// Gaps in streams: segments that were never seen.
    pub gaps: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stream {
    used: u64,
    next: Option<u32>,
    bytes: Vec<u8>,
    waiting: Vec<(u32, usize, Vec<u8>, Place)>,
    waiting_since: i64,
}

impl Framed {
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), ..Self::default() }
    }

    /// Takes a segment, and hands over each message that is complete with it, and where it was.
    pub fn take(
        &mut self,
        protocol: Protocol,
        place: &Place,
        payload: Payload<'_>,
        found: &mut impl FnMut(&Place, &[u8]),
    ) {
        let connection = (place.tap, place.src, place.dst, (place.src_port, place.dst_port));
        let is_syn = payload.flags & 0x02 != 0;
        let is_known = self.open.contains_key(&connection);
        if !is_known && !is_syn && !matches!(protocol.next(payload.bytes), Next::Message(_) | Next::Other(_))
        {
            return;
        }
        if !is_known
            && self.open.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.evicted += 1;
            self.open.remove(&oldest);
        }
        self.clock += 1;
        let stream = self.open.entry(connection).or_default();
        self.order.remove(&stream.used);
        stream.used = self.clock;
        self.order.insert(self.clock, connection);
        let mut seq = payload.seq;
        if is_syn {
            seq = seq.wrapping_add(1);
            *stream = Stream { used: self.clock, next: Some(seq), ..Stream::default() };
        }
        if payload.wire_len > 0 {
            self.gaps += stream.take(protocol, seq, payload, place, found);
        }
        if payload.flags & 0x04 != 0
            && let Some(stream) = self.open.remove(&connection)
        {
            self.order.remove(&stream.used);
        }
    }
}

impl Stream {
    fn take(
        &mut self,
        protocol: Protocol,
        seq: u32,
        payload: Payload<'_>,
        place: &Place,
        found: &mut impl FnMut(&Place, &[u8]),
    ) -> u64 {
        let next = *self.next.get_or_insert(seq);
        let ahead = seq.wrapping_sub(next) as i32;
        let mut gaps = 0;
        if ahead.unsigned_abs() > WINDOW {
            return 0;
        }
        if ahead <= 0 {
            self.append(protocol, seq, payload.wire_len, payload.bytes, place, found);
        } else if !self.waiting.iter().any(|(known, ..)| *known == seq) {
            if self.waiting.is_empty() {
                self.waiting_since = place.ts;
            }
            self.waiting.push((seq, payload.wire_len, payload.bytes.to_vec(), place.clone()));
        }
        self.go_on(protocol, found);
        while !self.waiting.is_empty()
            && (place.ts.saturating_sub(self.waiting_since) > PATIENCE || self.waiting.len() > MAX_WAITING)
        {
            gaps += 1;
            let next = self.next.unwrap_or_default();
            self.next = self.waiting.iter().map(|(seq, ..)| *seq).min_by_key(|seq| seq.wrapping_sub(next));
            self.bytes.clear();
            self.waiting_since = place.ts;
            self.go_on(protocol, found);
        }
        gaps
    }

    /// Appends what waited and is next now.
    fn go_on(&mut self, protocol: Protocol, found: &mut impl FnMut(&Place, &[u8])) {
        while let Some(next) = self.next
            && let Some(at) = self.waiting.iter().position(|(seq, ..)| seq.wrapping_sub(next) as i32 <= 0)
        {
            let (seq, wire_len, bytes, place) = self.waiting.swap_remove(at);
            self.append(protocol, seq, wire_len, &bytes, &place, found);
        }
    }

    /// Takes bytes that are next, or were there before in part or whole.
    fn append(
        &mut self,
        protocol: Protocol,
        seq: u32,
        wire_len: usize,
        bytes: &[u8],
        place: &Place,
        found: &mut impl FnMut(&Place, &[u8]),
    ) {
        let next = *self.next.get_or_insert(seq);
        let known = next.wrapping_sub(seq) as usize;
        let len = wire_len.max(bytes.len());
        if known >= len {
            return;
        }
        self.next = Some(seq.wrapping_add(len as u32));
        self.bytes.extend_from_slice(bytes.get(known..).unwrap_or_default());
        let all = std::mem::take(&mut self.bytes);
        let mut rest = &*all;
        while !rest.is_empty() {
            let len = match protocol.next(rest) {
                Next::Message(len) => len,
                Next::Other(len) => {
                    rest = rest.get(len..).unwrap_or_default();
                    continue;
                }
                Next::More => break,
                // The next segment may begin with a message.
                Next::Lost => {
                    rest = &[];
                    break;
                }
            };
            let Some((message, behind)) = rest.split_at_checked(len) else { break };
            found(place, message);
            rest = behind;
        }
        // Of what was not captured as a whole, the rest is missing.
        if bytes.len() >= wire_len && rest.len() <= MAX_MESSAGE {
            self.bytes = rest.to_vec();
        }
    }
}
