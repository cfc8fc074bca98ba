//! Messages of Skinny and H.225.0, whole, out of segments: each begins with its length. In bounded memory.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::streams::{Payload, Place};
use crate::wire::ip::Addr;
use crate::wire::{q931, skinny};

/// What messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// Segments of one direction that wait for one before them, and their bytes.
const MAX_WAITING: usize = 16;
const MAX_WAITING_BYTES: usize = 131_072;
/// What a segment that waits takes besides its bytes.
const WAITING_COST: usize = 256;
/// How long segments wait for one before them, nanoseconds: see [`super::streams`].
const PATIENCE: i64 = 3_000_000_000;
/// A segment so far from the one that comes next belongs elsewhere, unless another follows it.
const WINDOW: u32 = 1 << 20;

type Connection = (Protocol, u16, Addr, Addr, (u16, u16));

/// Directions of connections that are read.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Framed {
    limit: usize,
    /// Bytes of all that is held: begun messages, and segments that wait.
    max_held: usize,
    open: HashMap<Connection, Stream>,
    /// Streams by when they were used, to forget the oldest.
    order: BTreeMap<u64, Connection>,
    clock: u64,
    /// Bytes that streams hold.
    held: usize,
    /// Streams that were forgotten because there was no room.
    pub evicted: u64,
    /// Gaps in streams: segments that were never seen, the rest of those that were cut, and bytes that are no message.
    pub gaps: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stream {
    used: u64,
    /// The sequence number that it began with.
    start: Option<u32>,
    /// The sequence number that comes next.
    next: Option<u32>,
    /// The sequence number behind a segment that is far from all others.
    stray: Option<u32>,
    state: State,
    /// Bytes in order that are no whole message yet.
    bytes: Vec<u8>,
    /// What came too early.
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    waiting_since: i64,
    /// Gaps that were passed over.
    gaps: u64,
}

/// What was read of a stream last.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Nothing.
    #[default]
    New,
    /// No message, and none before it: it may be something else on this port.
    Strange,
    Message,
    /// A gap, which is counted.
    Lost,
}

#[derive(Debug, Serialize, Deserialize)]
struct Waiting {
    seq: u32,
    wire_len: usize,
    bytes: Vec<u8>,
    place: Place,
}

impl Framed {
    pub fn new(limit: usize, max_held: usize) -> Self {
        Self { limit: limit.max(1), max_held, ..Self::default() }
    }

    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        let held = self.open.values().map(Stream::held).sum();
        assert_eq!(self.held, held);
        held
    }

    /// Takes a segment, and hands over each message that is complete with it, and where it was.
    pub fn take(
        &mut self,
        protocol: Protocol,
        place: &Place,
        payload: Payload<'_>,
        found: &mut impl FnMut(Protocol, &Place, &[u8]),
    ) {
        let connection = (protocol, place.tap, place.src, place.dst, (place.src_port, place.dst_port));
        let is_syn = payload.flags & 0x02 != 0;
        let is_known = self.open.contains_key(&connection);
        if !is_known && !is_syn && !matches!(protocol.next(payload.bytes), Next::Message(_) | Next::Other(_))
        {
            return;
        }
        if !is_known && self.open.len() >= self.limit {
            self.forget_oldest(found);
        }
        self.clock += 1;
        let stream = self.open.entry(connection).or_default();
        self.order.remove(&stream.used);
        stream.used = self.clock;
        self.order.insert(self.clock, connection);
        let before = stream.held();
        let found_here = &mut |place: &Place, message: &[u8]| found(protocol, place, message);
        let seq = if is_syn { payload.seq.wrapping_add(1) } else { payload.seq };
        // Of a connection that began elsewhere, this is a new one with the same ports.
        if is_syn && stream.start != Some(seq) {
            self.gaps += std::mem::take(stream).give_up(protocol, found_here);
            (stream.used, stream.start, stream.next) = (self.clock, Some(seq), Some(seq));
        }
        if payload.wire_len > 0 {
            stream.take(protocol, seq, payload, place, found_here);
        }
        self.gaps += std::mem::take(&mut stream.gaps);
        let after = stream.held();
        self.held = (self.held + after).saturating_sub(before);
        if payload.flags & 0x04 != 0 {
            self.order.remove(&self.clock);
            self.forget(&connection, found);
        }
        while self.held > self.max_held && !self.order.is_empty() {
            self.forget_oldest(found);
        }
    }

    /// Hands over what waits for segments that never come.
    pub fn end(&mut self, found: &mut impl FnMut(Protocol, &Place, &[u8])) {
        for connection in std::mem::take(&mut self.order).into_values() {
            self.forget(&connection, found);
        }
    }

    fn forget_oldest(&mut self, found: &mut impl FnMut(Protocol, &Place, &[u8])) {
        self.evicted += 1;
        if let Some((_, oldest)) = self.order.pop_first() {
            self.forget(&oldest, found);
        }
    }

    fn forget(&mut self, connection: &Connection, found: &mut impl FnMut(Protocol, &Place, &[u8])) {
        if let Some(stream) = self.open.remove(connection) {
            let protocol = connection.0;
            self.held = self.held.saturating_sub(stream.held());
            self.gaps += stream.give_up(protocol, &mut |place, message| found(protocol, place, message));
        }
    }
}

impl Stream {
    /// How many bytes it holds.
    fn held(&self) -> usize {
        self.bytes.len() + self.waiting_bytes
    }

    fn take(
        &mut self,
        protocol: Protocol,
        seq: u32,
        payload: Payload<'_>,
        place: &Place,
        found: &mut impl FnMut(&Place, &[u8]),
    ) {
        self.start.get_or_insert(seq);
        let next = *self.next.get_or_insert(seq);
        let mut ahead = seq.wrapping_sub(next) as i32;
        if ahead.unsigned_abs() > WINDOW {
            // By itself it is none of this connection; with another behind it, much was not captured.
            let follows = self.stray == Some(seq);
            self.stray = Some(seq.wrapping_add(payload.wire_len as u32));
            if !follows {
                return;
            }
            self.flush(protocol, found);
            self.lose();
            self.next = Some(seq);
            ahead = 0;
        }
        self.stray = None;
        if ahead > 0 {
            self.wait(seq, payload, place);
        } else {
            self.append(protocol, seq, payload.wire_len, payload.bytes, place, found);
            self.go_on(protocol, found);
            if ahead == 0 {
                // Others wait for what comes next, not longer than that.
                self.waiting_since = place.ts;
            }
        }
        while !self.waiting.is_empty()
            && (place.ts.saturating_sub(self.waiting_since) > PATIENCE
                || self.waiting.len() > MAX_WAITING
                || self.waiting_bytes > MAX_WAITING_BYTES)
        {
            self.jump(protocol, found);
            self.waiting_since = place.ts;
        }
    }

    /// Keeps a segment that came too early.
    fn wait(&mut self, seq: u32, payload: Payload<'_>, place: &Place) {
        if self.waiting.iter().any(|known| known.seq == seq && known.wire_len >= payload.wire_len) {
            return;
        }
        if self.waiting.is_empty() {
            self.waiting_since = place.ts;
        }
        self.waiting_bytes += payload.bytes.len() + WAITING_COST;
        self.waiting.push(Waiting {
            seq,
            wire_len: payload.wire_len,
            bytes: payload.bytes.to_vec(),
            place: place.clone(),
        });
    }

    /// Appends what waited and is next now.
    fn go_on(&mut self, protocol: Protocol, found: &mut impl FnMut(&Place, &[u8])) {
        while let Some(next) = self.next
            && let Some(at) =
                self.waiting.iter().position(|waiting| waiting.seq.wrapping_sub(next) as i32 <= 0)
        {
            let Waiting { seq, wire_len, bytes, place } = self.waiting.swap_remove(at);
            self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes.len() + WAITING_COST);
            self.append(protocol, seq, wire_len, &bytes, &place, found);
        }
    }

    /// Goes on behind a gap: at least one segment waits no longer.
    fn jump(&mut self, protocol: Protocol, found: &mut impl FnMut(&Place, &[u8])) {
        let next = self.next.unwrap_or_default();
        let first = self.waiting.iter().map(|waiting| waiting.seq).min_by_key(|seq| seq.wrapping_sub(next));
        self.lose();
        self.next = first;
        self.go_on(protocol, found);
    }

    /// Hands over what waits, behind gaps.
    fn flush(&mut self, protocol: Protocol, found: &mut impl FnMut(&Place, &[u8])) {
        while !self.waiting.is_empty() {
            self.jump(protocol, found);
        }
    }

    /// Hands over what is left; returns how many gaps there were. A message that does not end is one.
    fn give_up(mut self, protocol: Protocol, found: &mut impl FnMut(&Place, &[u8])) -> u64 {
        self.flush(protocol, found);
        if matches!(protocol.next(&self.bytes), Next::Message(_)) {
            self.lose();
        }
        self.gaps
    }

    /// What comes next is missing: the message that it belongs to is as well, and the next segment may begin with one.
    fn lose(&mut self) {
        self.bytes = Vec::new();
        self.state = State::Lost;
        self.gaps += 1;
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
        self.read(protocol, place, found);
        if bytes.len() < wire_len {
            self.lose();
        }
    }

    /// Hands over the messages that are complete.
    fn read(&mut self, protocol: Protocol, place: &Place, found: &mut impl FnMut(&Place, &[u8])) {
        let all = std::mem::take(&mut self.bytes);
        let mut rest = &*all;
        while !rest.is_empty() {
            let (len, is_message) = match protocol.next(rest) {
                Next::Message(len) => (len, true),
                Next::Other(len) => (len, false),
                Next::More => break,
                Next::Lost => {
                    match self.state {
                        State::Message => self.lose(),
                        State::New => self.state = State::Strange,
                        State::Strange | State::Lost => {}
                    }
                    return;
                }
            };
            let Some((message, behind)) = rest.split_at_checked(len) else { break };
            if is_message {
                // What came before the first one may have been messages as well.
                self.gaps += u64::from(self.state == State::Strange);
                self.state = State::Message;
                found(place, message);
            }
            rest = behind;
        }
        self.bytes = if rest.len() == all.len() { all } else { rest.to_vec() };
    }
}
