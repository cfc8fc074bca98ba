//! Signalling → calls: one row a call, and rows of its messages, of what changed in it, and of the media endpoints that it described.
//!
//! A call is what one tap has seen under one Call-ID (RFC 3261 section 12), from the INVITE to the BYE; forks are legs of one call, and so are
//! hops through proxies. Calls of ISUP are those of a circuit, calls of H.225.0 and Skinny those of a call reference. Messages are put together from datagrams, fragments and segments first. All that is kept is bounded: what finds no
//! room is counted.

mod call;
mod circuits;
mod description;
mod endpoints;
mod framed;
mod joins;
mod lines;
mod places;
mod references;
mod rows;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use get_size2::GetSize;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

pub use call::Ending;
pub use endpoints::{Endpoints, Side, Spot};
pub use rows::Table;

use crate::classify::App;
use crate::messages::{self, Kinds, View};
use crate::packets::{Batch, Column, Packet, Packets};
use crate::places::Located;
use crate::stage::Stage;
use crate::wire::ip::Addr;
use crate::wire::sip::Message;
use call::{Call, Told};
use framed::{Framed, Protocol};
use joins::Joins;
use lines::{Line, Seized};
use rows::Rows;
pub(crate) use rows::keep;
use streams::{Arrived, Moment, Payload, Place, Streams};

/// How calls are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The most calls that are open at a time.
    pub max_calls: usize,
    /// About the most bytes that open calls take: what their messages say is kept until they are over.
    pub max_bytes: usize,
    /// The most directions of TCP connections that are read at a time.
    pub max_streams: usize,
    /// About the most bytes of parts of messages that wait for others. Of H.225.0 and Skinny, and of messages that wait for earlier ones, a quarter
    /// each on top.
    pub max_held: usize,
    /// The most media endpoints that are remembered.
    pub max_endpoints: usize,
    /// How long after its last message a call that was not answered is over, nanoseconds: longer than a proxy lets it ring (RFC 3261 section 16.6:
    /// three minutes).
    pub unanswered_ns: i64,
    /// How long after its last message an answered call is over, nanoseconds.
    pub answered_ns: i64,
    /// How long after its last message a call is over that was asked to identify itself (401, 407), nanoseconds: whoever calls may have to type a
    /// password first, and calls again under the same Call-ID (RFC 3261 section 22.2).
    pub challenged_ns: i64,
    /// How long after its end messages still belong to a call, nanoseconds: 64 times T1, as long as messages are sent again (RFC 3261 section 17).
    pub linger_ns: i64,
}

const SECOND: i64 = 1_000_000_000;

/// What an open call takes in the tables that it is found by, bytes.
const OF_CALL: usize = 256;

impl Default for Options {
    fn default() -> Self {
        Self {
            max_calls: 1 << 16,
            max_bytes: 512 << 20,
            max_streams: 1 << 14,
            max_held: 64 << 20,
            max_endpoints: 1 << 18,
            unanswered_ns: 300 * SECOND,
            answered_ns: 12 * 3600 * SECOND,
            challenged_ns: 180 * SECOND,
            linger_ns: 32 * SECOND,
        }
    }
}

impl Options {
    /// What finds room where calls, media and their rows have so many bytes: nine twentieths are for open calls, a tenth for parts of messages.
    #[must_use]
    pub fn within(memory: usize) -> Self {
        let of_calls = memory / 20 * 9;
        Self {
            max_calls: (of_calls / 2560).max(64),
            max_bytes: of_calls.max(1 << 20),
            max_streams: (memory / 10_240).max(64),
            max_held: (memory / 15).max(1 << 20),
            max_endpoints: (memory / 2560).max(1024),
            ..Self::default()
        }
    }
}

/// Calls so far, and the rows that are complete.
#[derive(Debug)]
pub struct Calls {
    state: State,
    rows: Rows,
}

/// What is known of calls; can be saved, and gone on from.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    options: Options,
    taps: Vec<String>,
    streams: Streams,
    /// Messages that wait for one that was seen before them, by when they were seen.
    held: BTreeMap<(Moment, u64), Held>,
    held_bytes: usize,
    /// When the oldest message was seen of which a part is missing.
    oldest: Option<Moment>,
    /// How many messages have waited.
    count: u64,
    /// Of these, how many were taken before their turn, for want of room.
    hurried: u64,
    calls: HashMap<u64, Box<Call>>,
    /// How many bytes open calls take.
    bytes: usize,
    /// Numbers of calls by tap and Call-ID.
    numbers: HashMap<(u16, String), u64>,
    joins: Joins,
    framed: Framed,
    /// Calls of lines, and their numbers.
    seized: HashMap<u64, Box<Seized>>,
    lines: HashMap<Line, u64>,
    /// When calls are over, to find those that are.
    ends: BTreeSet<(i64, u64)>,
    next: u64,
    evicted: u64,
    endpoints: Endpoints,
}

/// A message that waits.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    place: Place,
    transport: String,
    bytes: Vec<u8>,
    is_complete: bool,
}

impl Calls {
    /// The side tables that are read.
    pub const TABLES: Kinds = Kinds::of(&[messages::Kind::Signalling, messages::Kind::Ss7]);

    /// Calls of which the rows of these tables are wanted, if any are.
    pub fn new(tables: &[Table], options: Options) -> Self {
        let state = State {
            options,
            taps: Vec::new(),
            streams: Streams::new(options.max_streams, options.max_held),
            held: BTreeMap::new(),
            held_bytes: 0,
            oldest: None,
            count: 0,
            hurried: 0,
            calls: HashMap::new(),
            bytes: 0,
            numbers: HashMap::new(),
            joins: Joins::default(),
            framed: Framed::new(options.max_streams, options.max_held / 4),
            seized: HashMap::new(),
            lines: HashMap::new(),
            ends: BTreeSet::new(),
            next: 1,
            evicted: 0,
            endpoints: Endpoints::new(options.max_endpoints),
        };
        Self::with_state(tables, state)
    }

    /// Goes on from what another has left.
    pub fn with_state(tables: &[Table], state: State) -> Self {
        Self { state, rows: Rows::of(tables) }
    }

    /// The same, whose rows say where calls are.
    #[must_use]
    pub fn located(mut self, located: Option<Located>) -> Self {
        self.rows.located = located;
        self
    }

    /// What is known, to go on from.
    pub fn into_state(self) -> State {
        self.state
    }

    /// Where media of calls are expected: by these, streams of media join calls.
    pub fn endpoints(&self) -> &Endpoints {
        &self.state.endpoints
    }

    /// What payload types stand for at endpoints that were described since this was asked last: endpoint, payload type, encoding.
    pub fn announced(&mut self) -> impl Iterator<Item = ((Addr, u16), u8, String)> {
        let fresh = self.state.endpoints.take_fresh();
        fresh.into_iter().map(|(addr, port, kind, encoding)| ((addr, port), kind, encoding))
    }

    /// How much made room for others before it was over: calls, connections with signalling, messages that waited, and endpoints that calls
    /// describe.
    pub fn evicted(&self) -> u64 {
        let State { evicted, hurried, streams, framed, endpoints, .. } = &self.state;
        evicted + hurried + streams.evicted + framed.evicted + endpoints.missed()
    }

    /// Limits the rows of all tables to about so many bytes. What finds no room is counted.
    #[must_use]
    pub fn with_room_for_rows(mut self, bytes: usize) -> Self {
        self.rows.room = Some(bytes);
        self
    }

    /// How many rows found no room.
    pub fn missing(&self) -> u64 {
        self.rows.missing
    }

    /// Name of a tap by its number in [`Endpoints`], and the other way round.
    pub fn taps(&self) -> &[String] {
        &self.state.taps
    }

    /// The next batch of rows of this table that are complete; if it `is_end`, those that are left too.
    pub fn take_table(&mut self, table: Table, is_end: bool) -> Result<Option<RecordBatch>, ArrowError> {
        self.rows.take(table, is_end)
    }

    /// Takes what there is of messages that are not whole: nothing comes any more.
    pub fn flush(&mut self) {
        let mut streams = std::mem::take(&mut self.state.streams);
        let mut last = Moment::default();
        while streams.end(&mut |message| self.state.hold(&message, &mut last)) {
            last = Moment::default();
        }
        self.state.streams = streams;
        self.state.release(None, &mut self.rows);
    }

    /// Ends calls until there is a batch to be handed out, or none is left; says whether there are more.
    pub fn end(&mut self) -> bool {
        self.flush();
        let mut framed = std::mem::take(&mut self.state.framed);
        framed.end(&mut |protocol, place, message| {
            self.state.referenced(protocol, place, message, &mut self.rows);
        });
        self.state.framed = framed;
        while !self.rows.is_filled()
            && let Some((_, number)) = self.state.ends.pop_first()
        {
            self.state.close(number, false, &mut self.rows);
        }
        !self.state.ends.is_empty()
    }
}

impl Stage for Calls {
    fn columns(&self) -> Vec<Column> {
        Packets::COLUMNS.to_vec()
    }

    fn tables(&self) -> Kinds {
        Self::TABLES
    }

    fn schema(&self) -> SchemaRef {
        let is_located = self.rows.located.is_some();
        self.rows.wanted().first().map_or_else(|| Arc::new(Schema::empty()), |table| table.schema(is_located))
    }

    fn read(&mut self, batch: &Batch) -> Result<(), ArrowError> {
        let packets = Packets::new(&batch.packets)?;
        let (mut sip, mut isup) = (None, None);
        for (kind, rows) in &batch.messages {
            match View::new(*kind, rows)? {
                View::Signalling(view) => sip = Some(view),
                View::Ss7(view) => isup = Some(view),
                _ => {}
            }
        }
        self.state.read(&packets, sip.as_ref(), isup.as_ref(), &mut self.rows);
        Ok(())
    }

    fn take(&mut self, is_end: bool) -> Result<Option<RecordBatch>, ArrowError> {
        let has_more = is_end && self.end();
        let Some(&table) = self.rows.wanted().first() else { return Ok(None) };
        self.rows.take(table, is_end && !has_more)
    }

    fn warnings(&self) -> Vec<String> {
        let State { evicted, hurried, streams, framed, endpoints, .. } = &self.state;
        let lines = [
            (
                *evicted,
                "calls were given up because there was no room for more open ones: their rows end early",
            ),
            (
                streams.evicted + framed.evicted,
                "connections or datagrams with signalling were given up because too many were open at a time",
            ),
            (*hurried, "messages were taken before their turn because too many waited for earlier ones"),
            (streams.gaps + framed.gaps, "gaps in connections with signalling: messages may be missing"),
            (endpoints.forgotten(), "media endpoints were forgotten because there were too many"),
        ];
        lines.iter().filter(|(count, _)| *count > 0).map(|(count, text)| format!("{count} {text}")).collect()
    }
}

impl State {
    fn read(
        &mut self,
        packets: &Packets<'_>,
        sip: Option<&messages::signalling::View<'_>>,
        isup: Option<&messages::ss7::View<'_>>,
        rows: &mut Rows,
    ) {
        let mut streams = std::mem::take(&mut self.streams);
        let mut at = 0;
        let (mut sip_row, mut isup_row) = (0, 0);
        loop {
            let sip_next = sip.and_then(|view| Some((view, *view.frames().get(sip_row)?)));
            let isup_next = isup.and_then(|view| Some((view, *view.frames().get(isup_row)?)));
            let Some(frame) = sip_next.iter().map(|next| next.1).chain(isup_next.map(|next| next.1)).min()
            else {
                break;
            };
            // All are in the order of frames.
            while let Some(packet) = packets.get(at).filter(|packet| packet.frame() < frame) {
                self.go_on(&mut streams, packet.ts(), rows);
                if rows.located.is_some() {
                    self.hear(packets, &packet);
                }
                at += 1;
            }
            let packet = packets.get(at).filter(|packet| packet.frame() == frame);
            let place = packet.and_then(|packet| self.place(packets, &packet));
            if let Some(place) = &place {
                self.go_on(&mut streams, place.ts, rows);
            }
            if let Some((view, _)) = sip_next.filter(|next| next.1 == frame) {
                if let Some(place) = &place {
                    let (transport, bytes) =
                        (view.transport(sip_row), view.payload(sip_row).unwrap_or_default());
                    let payload =
                        Payload { transport: transport.as_deref(), ..payload(view, sip_row, &bytes) };
                    match view.protocol(sip_row).as_deref().and_then(Protocol::of) {
                        None => self.signalling(&mut streams, place, payload, rows),
                        Some(protocol) => self.framed(protocol, place, payload, rows),
                    }
                }
                sip_row += 1;
            } else if let Some((view, _)) = isup_next {
                if let Some(told) = place.as_ref().and_then(|place| circuits::told(place, view, isup_row)) {
                    self.line(&told, rows);
                }
                isup_row += 1;
            }
        }
        // Time goes on with every packet, so that it is the same however batches end.
        while let Some(ts) = packets.ts(at) {
            self.go_on(&mut streams, ts, rows);
            if rows.located.is_some()
                && let Some(packet) = packets.get(at)
            {
                self.hear(packets, &packet);
            }
            at += 1;
        }
        self.streams = streams;
    }

    /// Takes a payload of SIP.
    fn signalling(&mut self, streams: &mut Streams, place: &Place, payload: Payload<'_>, rows: &mut Rows) {
        // Of datagrams, most need not wait.
        let is_next = payload.transport == Some("udp") && payload.fragment.is_none();
        if is_next && self.oldest.is_none() && self.held.is_empty() {
            streams.take(place, payload, &mut |message| self.message(message, rows));
            return;
        }
        let mut last = Moment::default();
        streams.take(place, payload, &mut |message| self.hold(&message, &mut last));
        self.release(streams.oldest(), rows);
    }

    /// Time goes on: nothing waits for ever, and calls end of which nothing comes any more.
    fn go_on(&mut self, streams: &mut Streams, now: i64, rows: &mut Rows) {
        let mut last = Moment::default();
        let mut is_any = false;
        while streams.expire(now, &mut |message| self.hold(&message, &mut last)) {
            (last, is_any) = (Moment::default(), true);
        }
        if is_any {
            self.release(streams.oldest(), rows);
        }
        self.pass(now, rows);
    }

    /// Keeps a message until all are known that were seen before it. `last` is when the one before it in a connection was seen: it is not taken
    /// before that one, though segments may come in any order.
    fn hold(&mut self, arrived: &Arrived<'_>, last: &mut Moment) {
        *last = arrived.place.moment().max(*last);
        self.held_bytes = self.held_bytes.saturating_add(arrived.bytes.len());
        let held = Held {
            place: arrived.place.clone(),
            transport: arrived.transport.to_owned(),
            bytes: arrived.bytes.to_vec(),
            is_complete: arrived.is_complete,
        };
        self.count += 1;
        self.held.insert((*last, self.count), held);
    }

    /// Takes the messages before `oldest`, which is when the oldest one was seen of which a part is missing; of more than there is room for, the
    /// oldest ones as well.
    fn release(&mut self, oldest: Option<Moment>, rows: &mut Rows) {
        self.oldest = oldest;
        while let Some(entry) = self.held.first_entry()
            && let is_its_turn = oldest.is_none_or(|oldest| entry.key().0 < oldest)
            && (is_its_turn || self.held_bytes > self.options.max_held / 4)
        {
            self.hurried += u64::from(!is_its_turn);
            let (((ts, _), _), held) = entry.remove_entry();
            self.held_bytes = self.held_bytes.saturating_sub(held.bytes.len());
            self.pass(ts, rows);
            let Held { place, transport, bytes, is_complete } = &held;
            if let Some(message) = Message::parse(bytes) {
                let is_complete = *is_complete;
                self.message(Arrived { place, transport, message: &message, bytes, is_complete }, rows);
            }
        }
    }

    fn place(&mut self, packets: &Packets<'_>, packet: &Packet<'_>) -> Option<Place> {
        let tap = packets.taps().get(usize::from(packet.tap())).copied().unwrap_or_default();
        let encap = packet.encap();
        Some(Place {
            tap: self.tap(tap),
            frame: packet.frame(),
            ts: packet.ts(),
            src: packet.src()?,
            dst: packet.dst()?,
            src_port: packet.src_port().unwrap_or_default(),
            dst_port: packet.dst_port().unwrap_or_default(),
            eth_src: packet.eth_src(),
            eth_dst: packet.eth_dst(),
            vlan: packet.vlan(),
            encap: if encap.is_empty() { String::new() } else { encap.to_string() },
            outer: packet.outer_src().zip(packet.outer_dst()),
        })
    }

    /// Takes note of where media of calls come from.
    fn hear(&mut self, packets: &Packets<'_>, packet: &Packet<'_>) {
        if packet.label().app != Some(App::Rtp) {
            return;
        }
        let tap = packets.taps().get(usize::from(packet.tap())).copied().unwrap_or_default();
        let tap = self.taps.iter().position(|known| known == tap).map(|tap| tap as u16);
        let to = packet.dst().zip(packet.dst_port());
        if let (Some(tap), Some((dst, port)), Some(src)) = (tap, to, packet.src())
            && let Some(spot) = self.endpoints.find(tap, dst, port, packet.ts())
        {
            let call = self.calls.get_mut(&spot.call).map(|call| &mut call.ways);
            let ways = call.or_else(|| self.seized.get_mut(&spot.call).map(|seized| &mut seized.ways));
            if let Some(ways) = ways {
                ways.keep(packet.outer_src().zip(packet.outer_dst()), Some((spot.side.other(), src)));
            }
        }
    }

    /// The number of a tap.
    fn tap(&mut self, name: &str) -> u16 {
        let known = self.taps.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.taps.push(name.to_owned());
            self.taps.len() - 1
        }) as u16
    }

    /// Ends calls of which nothing comes any more.
    fn pass(&mut self, now: i64, rows: &mut Rows) {
        // What waits, or is not whole, may belong to them.
        let held = self.held.first_key_value().map(|((moment, _), _)| *moment);
        let now = held.into_iter().chain(self.oldest).fold(now, |now, (ts, _)| now.min(ts));
        while let Some(&(end, number)) = self.ends.first()
            && end < now
        {
            self.ends.pop_first();
            self.close(number, true, rows);
        }
    }

    fn message(&mut self, arrived: Arrived<'_>, rows: &mut Rows) {
        let Some(told) = Told::of(arrived) else { return };
        let key = (arrived.place.tap, told.call_id.clone());
        let is_new = !self.numbers.contains_key(&key);
        let number = match self.numbers.get(&key) {
            Some(&number) => number,
            None if told.may_begin() => {
                let number = self.begin(rows);
                self.numbers.insert(key, number);
                self.calls.insert(number, Box::new(Call::new(number, &told)));
                number
            }
            None => return,
        };
        let Some(call) = self.calls.get_mut(&number) else { return };
        self.ends.remove(&(call.end_at, number));
        let tap = self.taps.get(usize::from(arrived.place.tap)).map_or("", |tap| tap);
        call.take(&told, tap, rows, &mut self.endpoints);
        call.end_at = call.last.saturating_add(call.patience(&self.options));
        self.ends.insert((call.end_at, number));
        if is_new {
            self.join(arrived.place.tap, number);
        }
        self.recount(number);
        self.make_room(rows);
    }

    /// Counts what a call takes now.
    fn recount(&mut self, number: u64) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let size = Call::get_size(call) + call.call_id.len() + OF_CALL;
        counted(&mut self.bytes, &mut call.size, size);
    }

    /// Joins a call that begins with the one that it seems to be the other side of.
    fn join(&mut self, tap: u16, number: u64) {
        let Some(call) = self.calls.get(&number).filter(|call| !call.began_before()) else { return };
        let open = |number| self.calls.get(&number).map(|other| (other.setup(), other.described()));
        let Some(join) = self.joins.find(tap, &call.setup(), &call.described(), open) else { return };
        if let Some(other) = self.calls.get_mut(&join.call) {
            other.join(joins::Join { call: number, ..join.clone() });
        }
        self.recount(join.call);
        if let Some(call) = self.calls.get_mut(&number) {
            call.join(join);
        }
    }

    /// The number of a call that begins; the one that would end first makes room for it.
    fn begin(&mut self, rows: &mut Rows) -> u64 {
        if self.ends.len() >= self.options.max_calls {
            self.give_up(rows);
        }
        let number = self.next;
        self.next += 1;
        number
    }

    /// Closes the calls that would end first, until others have no more than their room.
    fn make_room(&mut self, rows: &mut Rows) {
        while self.bytes > self.options.max_bytes && self.give_up(rows) {}
    }

    /// Closes the call that would end first, if there is one.
    fn give_up(&mut self, rows: &mut Rows) -> bool {
        let Some((_, number)) = self.ends.pop_first() else { return false };
        self.evicted += 1;
        self.close(number, false, rows);
        true
    }

    /// Takes a segment of Skinny or H.225.0.
    fn framed(&mut self, protocol: Protocol, place: &Place, payload: Payload<'_>, rows: &mut Rows) {
        let mut framed = std::mem::take(&mut self.framed);
        framed.take(protocol, place, payload, &mut |protocol, place, message| {
            self.referenced(protocol, place, message, rows);
        });
        self.framed = framed;
    }

    /// Takes a message of Skinny or H.225.0.
    fn referenced(&mut self, protocol: Protocol, place: &Place, message: &[u8], rows: &mut Rows) {
        let told = references::told(protocol, place, message, |line| self.lines.contains_key(&line));
        if let Some(told) = told {
            self.line(&told, rows);
        }
    }

    /// Takes a message of a line.
    fn line(&mut self, told: &lines::Told<'_>, rows: &mut Rows) {
        if let Some(&number) = self.lines.get(&told.line)
            && let Some(seized) = self.seized.get(&number)
        {
            let is_timeout = seized.end_at < told.place.ts;
            if is_timeout || seized.is_over(told) {
                self.ends.remove(&(seized.end_at, number));
                self.close(number, is_timeout, rows);
            }
        }
        let number = match self.lines.get(&told.line) {
            Some(&number) => number,
            None if told.may_begin => {
                let number = self.begin(rows);
                self.lines.insert(told.line, number);
                self.seized.insert(number, Box::new(Seized::new(number, told)));
                number
            }
            None => return,
        };
        let Some(seized) = self.seized.get_mut(&number) else { return };
        self.ends.remove(&(seized.end_at, number));
        let tap = self.taps.get(usize::from(told.place.tap)).map_or("", |tap| tap);
        seized.take(told, tap, rows, &mut self.endpoints);
        let size = Seized::get_size(seized) + OF_CALL;
        counted(&mut self.bytes, &mut seized.size, size);
        seized.end_at = seized.last.saturating_add(seized.patience(&self.options));
        self.ends.insert((seized.end_at, number));
        self.make_room(rows);
    }

    /// Ends a call: `is_timeout` if nothing came any more for long.
    fn close(&mut self, number: u64, is_timeout: bool, rows: &mut Rows) {
        if let Some(call) = self.calls.remove(&number) {
            self.bytes = self.bytes.saturating_sub(call.size);
            self.numbers.remove(&(call.tap, call.call_id.clone()));
            let tap = self.taps.get(usize::from(call.tap)).map_or("", |tap| tap);
            self.endpoints.end(number, call.ended.unwrap_or(call.last));
            call.close(tap, is_timeout, rows);
        } else if let Some(seized) = self.seized.remove(&number) {
            self.bytes = self.bytes.saturating_sub(seized.size);
            self.lines.remove(&seized.line);
            let tap = self.taps.get(usize::from(seized.line.tap())).map_or("", |tap| tap);
            self.endpoints.end(number, seized.ended().unwrap_or(seized.last));
            seized.close(tap, is_timeout, rows);
        }
    }
}

/// Takes note of what a call takes now, and of what all of them do.
fn counted(all: &mut usize, one: &mut usize, now: usize) {
    *all = all.saturating_sub(*one).saturating_add(now);
    *one = now;
}

/// The payload of a row.
fn payload<'a>(view: &messages::signalling::View<'_>, row: usize, bytes: &'a [u8]) -> Payload<'a> {
    Payload {
        transport: None,
        is_sip: view.protocol(row).as_deref() == Some("sip"),
        by_port: view.by_port(row).unwrap_or_default(),
        seq: view.tcp_seq(row).unwrap_or_default(),
        flags: view.tcp_flags(row).unwrap_or_default(),
        fragment: view
            .ip_id(row)
            .zip(view.fragment_offset(row))
            .map(|(id, offset)| (id, offset, view.more_fragments(row).unwrap_or_default())),
        wire_len: view.payload_len(row).unwrap_or_default() as usize,
        bytes,
    }
}

#[cfg(test)]
mod tests;
