//! Whole messages out of datagrams, fragments and segments, in bounded memory.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::dissect::Mac;
use crate::wire::ip::Addr;
use crate::wire::sip::{Message, is_message};
use crate::wire::{sctp, websocket};

/// Where and when bytes were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub tap: u16,
    pub frame: u64,
    pub ts: i64,
    pub src: Addr,
    pub dst: Addr,
    pub src_port: u16,
    pub dst_port: u16,
    pub eth_src: Option<Mac>,
    pub eth_dst: Option<Mac>,
    pub vlan: Option<u16>,
    pub encap: String,
    /// Ends of the outermost tunnel.
    pub outer: Option<(Addr, Addr)>,
}

/// A payload, as the table of signalling has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload<'a> {
    pub transport: Option<&'a str>,
    pub is_sip: bool,
    pub by_port: bool,
    pub seq: u32,
    pub flags: u8,
    /// Identification, offset, and whether more follows.
    pub fragment: Option<(u32, u32, bool)>,
    pub wire_len: usize,
    pub bytes: &'a [u8],
}

/// A message, and whether all of it is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub place: &'a Place,
    pub transport: &'a str,
    pub message: &'a Message<'a>,
    pub bytes: &'a [u8],
    pub is_complete: bool,
}

/// The longest header, and the longest body, that are kept.
const MAX_MESSAGE: usize = 65_536;
/// Segments of one direction that wait for one before them, and their bytes.
const MAX_WAITING: usize = 64;
const MAX_WAITING_BYTES: usize = 262_144;
/// What a segment that waits takes besides its bytes.
const WAITING_COST: usize = 256;
/// How long segments wait for one before them, nanoseconds: one that was lost is sent again after a second, and after two more (RFC 6298
/// sections 2.1 and 5.5).
const PATIENCE: i64 = 3_000_000_000;
/// How long parts of a datagram wait for the first one, nanoseconds (RFC 8200 section 4.5 has a minute, Linux half of it).
const PATIENCE_FOR_PARTS: i64 = 30_000_000_000;
/// A segment so far from the one that comes next belongs elsewhere, unless another follows it.
const WINDOW: u32 = 1 << 20;
/// Parts of one datagram.
const MAX_PARTS: usize = 64;

/// When a message was seen, or the part of it that is there: time and frame.
pub(super) type Moment = (i64, u64);

/// What is not there as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Part {
    Stream(Connection),
    Datagram(u64),
}

/// What is put together, and what found no room.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Streams {
    limit: usize,
    /// Bytes of all that waits: streams and datagrams.
    max_held: usize,
    open: HashMap<Connection, Stream>,
    /// Streams by when they were used, to forget the oldest.
    order: BTreeMap<u64, Connection>,
    datagrams: BTreeMap<u64, Datagram>,
    /// What may be handed over later, though it was seen before other messages.
    parts: BTreeSet<(Moment, Part)>,
    clock: u64,
    /// Bytes that streams hold.
    held: usize,
    /// Streams and datagrams that were forgotten because there was no room.
    pub evicted: u64,
    /// Gaps in streams: segments that were never seen.
    pub gaps: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Connection {
    tap: u16,
    is_sctp: bool,
    src: Addr,
    dst: Addr,
    ports: (u16, u16),
}

/// One direction of a connection.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stream {
    used: u64,
    /// The sequence number that it began with.
    start: Option<u32>,
    /// The sequence number that comes next.
    next: Option<u32>,
    /// The sequence number behind a segment that is far from all others.
    stray: Option<u32>,
    /// Bytes in order that are no whole message yet.
    bytes: Vec<u8>,
    /// How many bytes there must be before it is worth to look again.
    need: usize,
    /// Bytes of a body that are left out.
    skip: usize,
    /// What came too early, by how far ahead it was when it came.
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    waiting_since: i64,
    /// The next bytes need not begin a message.
    is_lost: bool,
    is_websocket: bool,
    /// Where the last bytes were seen.
    place: Place,
    /// A message in WebSocket frames of which the last was not seen yet.
    pieces: Vec<u8>,
    /// Where it stands among the parts.
    since: Option<Moment>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Waiting {
    seq: u32,
    wire_len: usize,
    bytes: Vec<u8>,
    place: Place,
}

/// A datagram in parts.
#[derive(Debug, Serialize, Deserialize)]
struct Datagram {
    tap: u16,
    src: Addr,
    dst: Addr,
    id: u32,
    ts: i64,
    parts: Vec<(usize, Vec<u8>)>,
    end: Option<usize>,
    /// Of the first part, which has the ports; how long the header before its payload is.
    first: Option<Place>,
}

impl Streams {
    pub fn new(limit: usize, max_held: usize) -> Self {
        Self { limit: limit.max(1), max_held, ..Self::default() }
    }

    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        let held = self.open.values().map(Stream::held).sum();
        assert_eq!(self.held, held);
        held
    }

    /// Takes a payload, and hands over each message that is complete with it.
    pub fn take(&mut self, place: &Place, payload: Payload<'_>, found: &mut impl FnMut(Arrived<'_>)) {
        self.clock += 1;
        let is_whole = payload.bytes.len() >= payload.wire_len;
        match payload.transport {
            Some("tcp") => self.segment(place, payload, found),
            Some("sctp") => self.association(place, payload, is_whole, found),
            Some(_) if payload.fragment.is_none() => datagram(place, "udp", payload.bytes, is_whole, found),
            _ => self.fragment(place, payload, found),
        }
    }

    /// Hands over what is left of one that will never be complete; whether there was one.
    pub fn end(&mut self, found: &mut impl FnMut(Arrived<'_>)) -> bool {
        self.parts.clear();
        if let Some((_, datagram)) = self.datagrams.pop_first() {
            datagram.give_up(found);
            return true;
        }
        let Some((_, connection)) = self.order.pop_first() else { return false };
        if let Some(stream) = self.open.remove(&connection) {
            self.held = self.held.saturating_sub(stream.held());
            self.gaps += stream.give_up(found);
        }
        true
    }

    /// When the oldest message was seen of which a part is missing: what was seen before is all handed over.
    pub fn oldest(&self) -> Option<Moment> {
        self.parts.first().map(|(moment, _)| *moment)
    }

    /// Hands over what has waited for too long, of one connection or datagram; whether there was one.
    pub fn expire(&mut self, now: i64, found: &mut impl FnMut(Arrived<'_>)) -> bool {
        let is_due = |(ts, _): Moment| now.saturating_sub(ts) > PATIENCE;
        if !self.oldest().is_some_and(is_due) {
            return false;
        }
        match self.parts.pop_first() {
            Some((_, Part::Stream(connection))) => {
                if let Some(stream) = self.open.get_mut(&connection) {
                    stream.since = None;
                    let before = stream.held();
                    self.gaps += stream.give_way(found);
                    let after = stream.held();
                    self.held = (self.held + after).saturating_sub(before);
                }
                self.place(connection);
            }
            Some((_, Part::Datagram(key))) => {
                if let Some(datagram) = self.datagrams.remove(&key) {
                    datagram.give_up(found);
                }
            }
            None => {}
        }
        true
    }

    /// Puts a stream where it belongs among the parts.
    fn place(&mut self, connection: Connection) {
        let Some(stream) = self.open.get_mut(&connection) else { return };
        let since = stream.part();
        if since != stream.since {
            let of = |moment| (moment, Part::Stream(connection));
            if let Some(before) = stream.since {
                self.parts.remove(&of(before));
            }
            self.parts.extend(since.map(of));
            stream.since = since;
        }
    }

    /// Takes a datagram out.
    fn remove(&mut self, key: u64) -> Option<Datagram> {
        let datagram = self.datagrams.remove(&key)?;
        if let Some(first) = &datagram.first {
            self.parts.remove(&(first.moment(), Part::Datagram(key)));
        }
        Some(datagram)
    }

    fn fragment(&mut self, place: &Place, payload: Payload<'_>, found: &mut impl FnMut(Arrived<'_>)) {
        let Some((id, offset, more)) = payload.fragment else { return };
        let is_this = |datagram: &Datagram| {
            datagram.id == id
                && datagram.tap == place.tap
                && datagram.src == place.src
                && datagram.dst == place.dst
        };
        // Those of another time have nothing to do with it.
        while let Some((&oldest, datagram)) = self.datagrams.first_key_value()
            && place.ts.saturating_sub(datagram.ts) > PATIENCE_FOR_PARTS
        {
            if let Some(datagram) = self.remove(oldest) {
                datagram.give_up(found);
            }
        }
        let known = self.datagrams.iter().find(|(_, datagram)| is_this(datagram)).map(|(&key, _)| key);
        let key = known.unwrap_or(self.clock);
        // UDP's header is not in the payload of the first part, but counts for the offsets of the others.
        let is_first = payload.transport == Some("udp");
        let at = if is_first { 8 } else { offset as usize };
        let datagram = self.datagrams.entry(key).or_insert_with(|| Datagram {
            tap: place.tap,
            src: place.src,
            dst: place.dst,
            id,
            ts: place.ts,
            parts: Vec::new(),
            end: None,
            first: None,
        });
        if is_first && datagram.first.is_none() {
            datagram.first = Some(place.clone());
            self.parts.insert((place.moment(), Part::Datagram(key)));
        }
        if !more {
            // What was not captured of it is missing.
            datagram.end = Some(at.saturating_add(payload.wire_len.max(payload.bytes.len())));
        }
        let held: usize = datagram.parts.iter().map(|(_, part)| part.len()).sum();
        let has_room = datagram.parts.len() < MAX_PARTS && held + payload.bytes.len() <= MAX_MESSAGE;
        if has_room && !datagram.parts.iter().any(|(known, _)| *known == at) {
            let to = datagram.parts.partition_point(|(known, _)| *known < at);
            datagram.parts.insert(to, (at, payload.bytes.to_vec()));
        }
        if let (Some(bytes), Some(first)) = (datagram.whole(), &datagram.first) {
            // The frame that completes it is where it is.
            let place = Place { frame: place.frame, ts: place.ts, ..first.clone() };
            self::datagram(&place, "udp", &bytes, true, found);
            self.remove(key);
        }
        if self.datagrams.len() > self.limit.min(1024)
            && let Some((&oldest, _)) = self.datagrams.first_key_value()
        {
            self.evicted += 1;
            if let Some(oldest) = self.remove(oldest) {
                oldest.give_up(found);
            }
        }
    }

    /// Messages in DATA chunks (RFC 9260 section 3.3.1), whole or in parts with numbers that follow each other.
    fn association(
        &mut self,
        place: &Place,
        payload: Payload<'_>,
        is_whole: bool,
        found: &mut impl FnMut(Arrived<'_>),
    ) {
        for chunk in sctp::chunks(payload.bytes).filter(|chunk| chunk.kind == 0) {
            let (Some(&number), Some(bytes)) = (chunk.value.first_chunk::<4>(), chunk.value.get(12..)) else {
                continue;
            };
            let number = u32::from_be_bytes(number);
            let (is_first, is_last) = (chunk.flags & 0x02 != 0, chunk.flags & 0x01 != 0);
            let connection = connection(place, true);
            if is_first && is_last {
                datagram(place, "sctp", bytes, is_whole, found);
            } else if is_first {
                if is_message(bytes) {
                    self.make_room(&connection, found);
                    let stream = self.stream(connection);
                    let before = stream.held();
                    stream.incomplete(found);
                    self.held = self.held.saturating_sub(before);
                    let stream = self.stream(connection);
                    stream.place.clone_from(place);
                    stream.pieces = bytes.get(..MAX_MESSAGE).unwrap_or(bytes).to_vec();
                    stream.next = Some(number.wrapping_add(1));
                    self.held += bytes.len().min(MAX_MESSAGE);
                    self.place(connection);
                    self.make_less(found);
                }
            } else if let Some(stream) = self.open.get_mut(&connection)
                && stream.next == Some(number)
                && stream.pieces.len() + bytes.len() <= MAX_MESSAGE
            {
                stream.pieces.extend_from_slice(bytes);
                stream.next = Some(number.wrapping_add(1));
                self.held += bytes.len();
                if is_last {
                    let message = std::mem::take(&mut stream.pieces);
                    self.held = self.held.saturating_sub(message.len());
                    datagram(place, "sctp", &message, is_whole, found);
                }
                self.place(connection);
            }
        }
    }

    /// Forgets the oldest stream if there is no room for this one.
    fn make_room(&mut self, connection: &Connection, found: &mut impl FnMut(Arrived<'_>)) {
        if !self.open.contains_key(connection) && self.open.len() >= self.limit {
            self.forget_oldest(found);
        }
    }

    /// Forgets the oldest streams while all of them hold too much.
    fn make_less(&mut self, found: &mut impl FnMut(Arrived<'_>)) {
        while self.held > self.max_held && !self.order.is_empty() {
            self.forget_oldest(found);
        }
    }

    fn forget_oldest(&mut self, found: &mut impl FnMut(Arrived<'_>)) {
        self.evicted += 1;
        if let Some((_, oldest)) = self.order.pop_first()
            && let Some(stream) = self.open.remove(&oldest)
        {
            self.forget(&stream, oldest);
            self.held = self.held.saturating_sub(stream.held());
            self.gaps += stream.give_up(found);
        }
    }

    /// Takes a stream that is no more out of the parts.
    fn forget(&mut self, stream: &Stream, connection: Connection) {
        if let Some(since) = stream.since {
            self.parts.remove(&(since, Part::Stream(connection)));
        }
    }

    /// A stream, which is used now.
    fn stream(&mut self, connection: Connection) -> &mut Stream {
        let stream = self.open.entry(connection).or_default();
        self.order.remove(&stream.used);
        stream.used = self.clock;
        self.order.insert(self.clock, connection);
        stream
    }

    fn segment(&mut self, place: &Place, payload: Payload<'_>, found: &mut impl FnMut(Arrived<'_>)) {
        let connection = connection(place, false);
        let is_syn = payload.flags & 0x02 != 0;
        let is_known = self.open.contains_key(&connection);
        // What only may go on with signalling begins none.
        if !(is_known || payload.is_sip || payload.by_port && is_syn) {
            return;
        }
        self.make_room(&connection, found);
        let clock = self.clock;
        let stream = self.stream(connection);
        let before = stream.held();
        let mut gaps = 0;
        let seq = if is_syn { payload.seq.wrapping_add(1) } else { payload.seq };
        // Of a connection that began elsewhere, this is a new one with the same ports.
        if is_syn && stream.start != Some(seq) {
            let old = std::mem::take(stream);
            (stream.used, stream.since) = (clock, old.since);
            (stream.start, stream.next) = (Some(seq), Some(seq));
            gaps += old.give_up(found);
        }
        if payload.wire_len > 0 {
            gaps += stream.take(seq, payload, place, found);
        }
        let after = stream.held();
        self.held = (self.held + after).saturating_sub(before);
        if payload.flags & 0x04 != 0
            && let Some(stream) = self.open.remove(&connection)
        {
            self.order.remove(&stream.used);
            self.forget(&stream, connection);
            self.held = self.held.saturating_sub(after);
            gaps += stream.give_up(found);
        }
        self.place(connection);
        self.gaps += gaps;
        self.make_less(found);
    }
}

fn connection(place: &Place, is_sctp: bool) -> Connection {
    Connection {
        tap: place.tap,
        is_sctp,
        src: place.src,
        dst: place.dst,
        ports: (place.src_port, place.dst_port),
    }
}

impl Place {
    pub fn moment(&self) -> Moment {
        (self.ts, self.frame)
    }
}

/// What there is of a message that was cut, without the line that it was cut in: half of an address or a port is another one.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    memchr::memrchr(b'\n', bytes).and_then(|last| bytes.get(..=last)).unwrap_or_default()
}

/// A message by itself.
fn datagram(
    place: &Place,
    transport: &str,
    bytes: &[u8],
    is_whole: bool,
    found: &mut impl FnMut(Arrived<'_>),
) {
    let bytes = bytes.trim_ascii_start();
    if !is_message(bytes) {
        return;
    }
    if let Some(message) = Message::parse(bytes) {
        let body = bytes.len().saturating_sub(message.head_len);
        let length = message.content_length().map(|length| length as usize);
        let has_body = length.map_or(is_whole, |length| length <= body);
        // What its sender has left out of a whole datagram is no cut in a line, unless it says that there is more.
        if has_body && (is_whole || message.has_whole_head) {
            let is_complete = is_whole && message.has_whole_head;
            found(Arrived { place, transport, message: &message, bytes, is_complete });
        } else {
            cut(place, transport, bytes, found);
        }
    }
}

/// What there is of a message that was cut.
fn cut(place: &Place, transport: &str, bytes: &[u8], found: &mut impl FnMut(Arrived<'_>)) {
    let bytes = whole_lines(bytes);
    if is_message(bytes)
        && let Some(message) = Message::parse(bytes)
    {
        found(Arrived { place, transport, message: &message, bytes, is_complete: false });
    }
}

impl Datagram {
    /// The payload, if all parts are there.
    fn whole(&self) -> Option<Vec<u8>> {
        let (first, end) = (self.first.as_ref(), self.end?);
        first?;
        let mut bytes = Vec::new();
        for (at, part) in &self.parts {
            let expected = bytes.len() + 8;
            // Overlapping parts: what was first stays.
            let from = expected.checked_sub(*at)?;
            bytes.extend_from_slice(part.get(from..).unwrap_or_default());
        }
        (bytes.len() + 8 >= end).then_some(bytes)
    }

    fn give_up(self, found: &mut impl FnMut(Arrived<'_>)) {
        if let (Some(place), Some((8, bytes))) = (&self.first, self.parts.first()) {
            datagram(place, "udp", bytes, false, found);
        }
    }
}

impl Stream {
    /// How many bytes it holds.
    fn held(&self) -> usize {
        self.bytes.len() + self.pieces.len() + self.waiting_bytes
    }

    /// When it was seen what may be handed over later: what there is of a message, or what waits.
    fn part(&self) -> Option<Moment> {
        let waiting = self.waiting.iter().map(|waiting| waiting.place.moment()).min();
        let has_begun =
            !self.pieces.is_empty() || self.is_websocket && !self.bytes.is_empty() || is_message(&self.bytes);
        waiting.into_iter().chain(has_begun.then(|| self.place.moment())).min()
    }

    /// Waits no longer for what comes next; returns how many gaps were passed over.
    fn give_way(&mut self, found: &mut impl FnMut(Arrived<'_>)) -> u64 {
        if !self.waiting.is_empty() {
            self.jump(found);
            return 1;
        }
        if !self.pieces.is_empty() && !self.is_websocket {
            // The next part of a message in DATA chunks goes on with none.
            self.next = None;
        }
        self.lose(found);
        0
    }

    /// Takes a segment, and what waited for it; returns how many gaps were passed over.
    fn take(
        &mut self,
        seq: u32,
        payload: Payload<'_>,
        place: &Place,
        found: &mut impl FnMut(Arrived<'_>),
    ) -> u64 {
        self.start.get_or_insert(seq);
        let next = *self.next.get_or_insert(seq);
        let mut ahead = seq.wrapping_sub(next) as i32;
        let mut gaps = 0;
        if ahead.unsigned_abs() > WINDOW {
            // By itself it is none of this connection; with another behind it, much was not captured.
            let follows = self.stray == Some(seq);
            self.stray = Some(seq.wrapping_add(payload.wire_len as u32));
            if !follows {
                return 0;
            }
            gaps += 1 + self.flush(found);
            self.lose(found);
            self.next = Some(seq);
            ahead = 0;
        }
        self.stray = None;
        // Of WebSocket frames in several segments on a port that is not SIP's, only the first segments are here: each is where it goes on.
        if ahead > 0 && self.is_websocket && !payload.by_port && payload.is_sip {
            self.lose(found);
            self.is_lost = false;
            self.next = Some(seq);
            ahead = 0;
        }
        if ahead > 0 {
            self.wait(seq, payload, place);
        } else {
            self.append(seq, payload.wire_len, payload.bytes, place, found);
            self.go_on(found);
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
            gaps += 1;
            self.jump(found);
        }
        gaps
    }

    /// Hands over what waits, behind gaps; returns how many these are.
    fn flush(&mut self, found: &mut impl FnMut(Arrived<'_>)) -> u64 {
        let mut gaps = 0;
        while !self.waiting.is_empty() {
            gaps += 1;
            self.jump(found);
        }
        gaps
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
    fn go_on(&mut self, found: &mut impl FnMut(Arrived<'_>)) {
        while let Some(next) = self.next
            && let Some(at) =
                self.waiting.iter().position(|waiting| waiting.seq.wrapping_sub(next) as i32 <= 0)
        {
            let Waiting { seq, wire_len, bytes, place } = self.waiting.swap_remove(at);
            self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes.len() + WAITING_COST);
            self.append(seq, wire_len, &bytes, &place, found);
        }
    }

    /// Goes on behind a gap: at least one segment waits no longer.
    fn jump(&mut self, found: &mut impl FnMut(Arrived<'_>)) {
        let next = self.next.unwrap_or_default();
        let first = self.waiting.iter().min_by_key(|waiting| waiting.seq.wrapping_sub(next));
        let Some((seq, place)) = first.map(|first| (first.seq, first.place.clone())) else { return };
        self.lose(found);
        self.next = Some(seq);
        self.waiting_since = place.ts;
        self.go_on(found);
    }

    /// What was not captured: the message it belongs to ends here, and the next begins wherever a line begins one.
    fn lose(&mut self, found: &mut impl FnMut(Arrived<'_>)) {
        self.incomplete(found);
        self.is_lost = true;
    }

    fn incomplete(&mut self, found: &mut impl FnMut(Arrived<'_>)) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut pieces = std::mem::take(&mut self.pieces);
        (self.skip, self.need) = (0, 0);
        let transport = match (self.is_websocket, pieces.is_empty()) {
            (true, _) => "ws",
            (false, true) => "tcp",
            // Segments have no pieces.
            (false, false) => "sctp",
        };
        if self.is_websocket
            && let Some(frame) = frame(&bytes)
        {
            let mut unmasked = vec![0; bytes.len()];
            pieces.extend_from_slice(frame.unmask(&bytes, &mut unmasked));
            bytes.clear();
        }
        let place = &std::mem::take(&mut self.place);
        for bytes in [&*bytes, &*pieces] {
            cut(place, transport, bytes, found);
        }
    }

    /// Hands over what is left; returns how many gaps there were in it.
    fn give_up(mut self, found: &mut impl FnMut(Arrived<'_>)) -> u64 {
        let gaps = self.flush(found);
        self.incomplete(found);
        gaps
    }

    /// Takes bytes that are next, or were there before in part or whole.
    fn append(
        &mut self,
        seq: u32,
        wire_len: usize,
        bytes: &[u8],
        place: &Place,
        found: &mut impl FnMut(Arrived<'_>),
    ) {
        let next = *self.next.get_or_insert(seq);
        let known = next.wrapping_sub(seq) as usize;
        let len = wire_len.max(bytes.len());
        if known >= len {
            return;
        }
        let new = bytes.get(known..).unwrap_or_default();
        self.next = Some(seq.wrapping_add(len as u32));
        if !new.is_empty() {
            self.place.clone_from(place);
        }
        let skipped = self.skip.min(new.len());
        self.skip -= skipped;
        let before = self.bytes.len();
        self.bytes.extend_from_slice(new.get(skipped..).unwrap_or_default());
        if self.may_be_complete(before) {
            self.read(place, found);
        }
        if bytes.len() < wire_len {
            self.lose(found);
        }
    }

    /// Whether a header or a body may have ended behind the first bytes, which are known to be no message.
    fn may_be_complete(&self, before: usize) -> bool {
        if self.need > 0 {
            return self.bytes.len() >= self.need;
        }
        if self.is_websocket || self.bytes.first().is_some_and(|&first| may_begin_websocket(first)) {
            return true;
        }
        let new = self.bytes.get(before.saturating_sub(2)..).unwrap_or_default();
        self.bytes.len() > MAX_MESSAGE
            || memchr::memchr_iter(b'\n', new)
                .any(|at| matches!(new.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])))
    }

    /// Hands over the messages that are complete.
    fn read(&mut self, place: &Place, found: &mut impl FnMut(Arrived<'_>)) {
        let bytes = std::mem::take(&mut self.bytes);
        self.need = 0;
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if !self.is_websocket && (self.is_lost || at == 0) {
                let Some(is_websocket) = begins_websocket(rest) else { break };
                if is_websocket {
                    self.is_websocket = true;
                    self.is_lost = false;
                }
            }
            let read = if self.is_websocket {
                self.websocket(rest, place, found)
            } else {
                self.message(rest, place, found)
            };
            let Some(read) = read.filter(|&read| read > 0) else { break };
            if let Some(more) = read.checked_sub(rest.len()) {
                self.skip = more;
            }
            at = at.saturating_add(read);
        }
        self.bytes = if at == 0 { bytes } else { bytes.get(at..).unwrap_or_default().to_vec() };
    }

    /// How many bytes the message at the beginning takes, or what stands before one; none if more is needed.
    fn message(&mut self, rest: &[u8], place: &Place, found: &mut impl FnMut(Arrived<'_>)) -> Option<usize> {
        let blank = rest.len() - rest.trim_ascii_start().len();
        if blank > 0 && !self.is_lost {
            return Some(blank);
        }
        let Some(line_end) = memchr::memchr(b'\n', rest) else {
            // No start line is so long.
            return (rest.len() > MAX_MESSAGE).then(|| {
                self.is_lost = true;
                rest.len()
            });
        };
        let message = if is_message(rest) { Message::parse(rest) } else { None };
        let Some(message) = message else {
            self.is_lost = true;
            return Some(line_end + 1);
        };
        let arrived = Arrived { place, transport: "tcp", message: &message, bytes: rest, is_complete: false };
        if !message.has_whole_head {
            return (rest.len() > MAX_MESSAGE).then(|| {
                found(arrived);
                self.is_lost = true;
                rest.len()
            });
        }
        let body = message.content_length().unwrap_or(0) as usize;
        let len = message.head_len.saturating_add(body);
        if body > MAX_MESSAGE {
            let bytes = rest.get(..len).unwrap_or(rest);
            found(Arrived { bytes, ..arrived });
        } else {
            let Some(bytes) = rest.get(..len) else {
                self.need = len;
                return None;
            };
            found(Arrived { bytes, is_complete: true, ..arrived });
        }
        self.is_lost = false;
        Some(len)
    }

    /// As [`Self::message`], of a frame (RFC 6455 section 5.2).
    fn websocket(
        &mut self,
        rest: &[u8],
        place: &Place,
        found: &mut impl FnMut(Arrived<'_>),
    ) -> Option<usize> {
        if self.is_lost && !begins_websocket(rest)? {
            // Frames cannot be told from what they carry: only the start of a segment may be one.
            return Some(rest.len());
        }
        self.is_lost = false;
        let &[first, ..] = rest else { return None };
        let frame = frame(rest)?;
        let len = usize::try_from(frame.len).unwrap_or(usize::MAX);
        let end = frame.header_len.saturating_add(len);
        if len > MAX_MESSAGE {
            self.is_lost = true;
            return Some(end);
        }
        let Some(whole) = rest.get(..end) else {
            self.need = end;
            return None;
        };
        let mut unmasked = vec![0; len];
        let payload = frame.unmask(whole, &mut unmasked);
        if matches!(first & 0x0f, 0..=2) {
            if first & 0x0f != 0 {
                self.pieces.clear();
            }
            if self.pieces.len() + payload.len() <= MAX_MESSAGE {
                self.pieces.extend_from_slice(payload);
            }
            if first & 0x80 != 0 {
                let message = std::mem::take(&mut self.pieces);
                datagram(place, "ws", &message, true, found);
            }
        }
        Some(end)
    }
}

/// The WebSocket frame that begins here: all kinds have the same header, and those that are not final, or go on with others, are read as if
/// they began a message.
fn frame(bytes: &[u8]) -> Option<websocket::Frame> {
    let mut head = bytes.get(..14).unwrap_or(bytes).to_vec();
    *head.first_mut()? = 0x81;
    websocket::Frame::parse(&head)
}

/// Whether this may be the first byte of a message in WebSocket frames (RFC 6455 section 5.2): text or binary, final or not.
fn may_begin_websocket(first: u8) -> bool {
    matches!(first, 0x01 | 0x02 | 0x81 | 0x82)
}

/// Bytes of a frame that tell whether it carries SIP.
const START: usize = 128;

/// Whether a WebSocket frame begins here that carries SIP; none if more bytes are needed to tell.
fn begins_websocket(bytes: &[u8]) -> Option<bool> {
    if !may_begin_websocket(*bytes.first()?) {
        return Some(false);
    }
    let Some(frame) = frame(bytes) else { return (bytes.len() >= 14).then_some(false) };
    let len = usize::try_from(frame.len).unwrap_or(usize::MAX).min(START);
    let mut unmasked = [0; START];
    let start = frame.unmask(bytes.get(..frame.header_len.saturating_add(len))?, &mut unmasked);
    let line = start.split(|&byte| byte == b'\r').next().unwrap_or_default();
    Some(
        line.starts_with(b"SIP/2.0 ")
            || line.ends_with(b" SIP/2.0")
            || line.first_chunk::<4>().is_some_and(|word| word.iter().all(u8::is_ascii_uppercase)),
    )
}
