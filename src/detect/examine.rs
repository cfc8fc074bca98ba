//! All taps, in order of time, past every detector.

use std::collections::VecDeque;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use serde::{Deserialize, Serialize};

use super::claim::claims_to_batch;
use super::conversations::Conversations;
use super::history::{History, MAX_SIGHTINGS, Sighting};
use super::room::Room;
use super::streams::Keys;
use super::taps::align::{Alignment, First};
use super::taps::judge::Captured;
use super::taps::{Comparison, Known, Now, compared_schema};
use super::{
    Claim, Context, Counts, Network, Outcome, SavedState, Scope, Seen, Wanted, claim_schema, detectors,
};
use crate::budget::Budget;
use crate::messages::{self, View};
use crate::packets::{Batch, Packet, Packets, ids};
use crate::paths::{self, Flows, Paths};

/// How to examine.
#[derive(Debug, Clone)]
pub struct Options {
    /// How far apart a packet and its copy may lie, in nanoseconds.
    pub window: i64,
    /// How far apart two equal packets may lie to be called a late copy, in nanoseconds.
    pub late_window: i64,
    /// About how many bytes to use for what is remembered.
    pub memory: usize,
    /// What the network says of itself.
    pub network: Network,
    /// The detectors to use, by their ids; all if none are named.
    pub detectors: Option<Vec<String>>,
    /// Whether to say what a later run can go on from.
    pub save: bool,
}

impl Default for Options {
    fn default() -> Self {
        let network = Network::default();
        Self {
            window: 5_000_000_000,
            late_window: 300_000_000_000,
            memory: 512 << 20,
            network,
            detectors: None,
            save: false,
        }
    }
}

/// Where the packets of one or several taps come from: batches with at least [`Packets::COLUMNS`], and as many messages as
/// there are; [`scan_options`](super::scan_options) makes all that is needed.
pub type Tap<'a> = &'a mut dyn Iterator<Item = Result<Batch, ArrowError>>;

/// Counts over one tap.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct TapCounts {
    /// Frames.
    pub frames: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Time of the earliest frame, nanoseconds UTC.
    pub first_ts: i64,
    /// Time of the latest frame, nanoseconds UTC.
    pub last_ts: i64,
    /// Frames with an issue.
    pub issues: u64,
    /// Frames of which the capture kept only a part.
    pub snapped: u64,
}

impl TapCounts {
    const NONE: Self =
        Self { frames: 0, bytes: 0, first_ts: i64::MAX, last_ts: i64::MIN, issues: 0, snapped: 0 };

    #[inline]
    fn add(&mut self, packet: Packet<'_>) {
        self.frames += 1;
        self.bytes += u64::from(packet.wire_len());
        self.first_ts = self.first_ts.min(packet.ts());
        self.last_ts = self.last_ts.max(packet.ts());
        self.issues += u64::from(packet.has_issue());
        self.snapped += u64::from(packet.is_cut());
    }
}

/// What came out.
#[derive(Debug)]
pub struct Examination {
    /// Names of the taps that any frame was seen on, in the order they appeared, with counts.
    pub taps: Vec<(String, TapCounts)>,
    /// One row a claim, [`claim_schema`].
    pub claims: RecordBatch,
    /// One row a flow and path, [`crate::paths::flow_schema`].
    pub flows: RecordBatch,
    /// One row for each class of traffic from one tap to the next, [`compared_schema`](super::compared_schema).
    pub compared: RecordBatch,
    /// How much each detector could judge.
    pub scopes: Vec<(&'static str, Scope)>,
    /// Packets that are missing from the answers because a table was full, and which table.
    pub overflows: Vec<(&'static str, u64)>,
    /// What a later run goes on from, if that was asked for.
    pub state: Option<SavedState>,
}

/// A tap's stream, one batch of it at hand.
struct Stream<'a> {
    batches: Tap<'a>,
    /// Batches that were looked at before their time.
    ahead: VecDeque<Batch>,
    batch: Option<Batch>,
    cursor: Cursor,
}

/// How far a batch was read.
#[derive(Debug, Default)]
struct Cursor {
    /// The row that comes next.
    row: usize,
    /// The message that comes next, of each table.
    messages: Vec<usize>,
    /// The frame in which it is, over all tables.
    next_frame: u64,
}

impl Stream<'_> {
    /// Shows its first frames, up to this many, to one who has seen fewer of them so far: the same ones, wherever batches end.
    fn peek(&mut self, first: &mut First, frames: usize) -> Result<(), ArrowError> {
        let (mut number, mut before) = (0, 0);
        while before < frames && self.batch.is_some() {
            let batch = if number == 0 { self.batch.as_ref() } else { self.ahead.get(number - 1) };
            let Some(batch) = batch else {
                let Some(batch) = self.batches.next().transpose()? else { break };
                self.ahead.push_back(batch);
                continue;
            };
            let packets = Packets::new(&batch.packets)?;
            let seen = first.frames().saturating_sub(before);
            first.add(&packets, seen..packets.len().min(frames - before));
            before += packets.len();
            number += 1;
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), ArrowError> {
        loop {
            self.batch = match self.ahead.pop_front() {
                Some(batch) => Some(batch),
                None => self.batches.next().transpose()?,
            };
            self.cursor = Cursor::default();
            if self.batch.as_ref().is_none_or(|batch| batch.packets.num_rows() > 0) {
                return Ok(());
            }
        }
    }
}

/// How many frames of each stream are looked at beforehand, to find out how far their clocks are apart: more only if these have
/// too little in common, and so often at the most.
const PEEK: usize = 16_384;
const PEEKS: usize = 4;

/// How far the clocks of the streams are apart, as their first frames tell.
fn align(streams: &mut [Stream<'_>]) -> Result<Alignment, ArrowError> {
    let mut first: Vec<First> = streams.iter().map(|_| First::default()).collect();
    if streams.len() < 2 {
        return Ok(Alignment::new(first));
    }
    for round in 1..=PEEKS {
        for (first, stream) in first.iter_mut().zip(&mut *streams) {
            stream.peek(first, round * PEEK)?;
        }
        if Alignment::is_complete(&first) {
            break;
        }
    }
    Ok(Alignment::new(first))
}

/// Reads the taps to their ends, merged by time, and says what was found, in these and in what an `earlier` run has read.
/// `pause` is called now and then with the number of packets so far; its error ends the work.
pub fn examine<E: From<ArrowError>>(
    taps: Vec<Tap<'_>>,
    options: Options,
    earlier: Option<SavedState>,
    pause: impl FnMut(u64) -> Result<(), E>,
) -> Result<Examination, E> {
    examine_with_drops(taps, options, earlier, pause, |_| None)
}

/// The same as [`examine`]. `dropped` is asked in the end how many frames a tap says that it dropped, if it says so.
pub fn examine_with_drops<E: From<ArrowError>>(
    taps: Vec<Tap<'_>>,
    options: Options,
    earlier: Option<SavedState>,
    mut pause: impl FnMut(u64) -> Result<(), E>,
    dropped: impl Fn(&str) -> Option<u64>,
) -> Result<Examination, E> {
    let stream = |batches| Stream { batches, ahead: VecDeque::new(), batch: None, cursor: Cursor::default() };
    let mut streams: Vec<Stream<'_>> = taps.into_iter().map(stream).collect();
    for stream in &mut streams {
        stream.advance()?;
    }
    let state = State::new(options, align(&mut streams)?, streams.len());
    let mut state = match earlier {
        Some(earlier) => earlier.over(state).map_err(|error| ArrowError::ExternalError(error.into()))?,
        None => state,
    };
    while streams.iter().any(|stream| stream.batch.is_some()) {
        // With one batch of each tap at hand, go on until one of them is used up.
        let mut open = Vec::with_capacity(streams.len());
        let mut cursors: Vec<Cursor> =
            streams.iter_mut().map(|stream| std::mem::take(&mut stream.cursor)).collect();
        for (number, stream) in streams.iter().enumerate() {
            if let Some(batch) = &stream.batch {
                let packets = Packets::new(&batch.packets)?;
                let names = packets.taps().iter().map(|name| state.tap(name)).collect::<Vec<_>>();
                let views = batch.messages.iter().map(|(kind, batch)| View::new(*kind, batch));
                open.push(Open { number, packets, names, messages: views.collect::<Result<_, _>>()? });
            }
        }
        if let Some(comparison) = &mut state.memory.comparison {
            comparison.go_on(|stream| open.iter().any(|open| open.number == stream));
        }
        let used_up = state.merge(&open, &mut cursors);
        drop(open);
        for (stream, cursor) in streams.iter_mut().zip(cursors) {
            stream.cursor = cursor;
        }
        if let Some(stream) = used_up.and_then(|number| streams.get_mut(number)) {
            stream.advance()?;
        }
        pause(state.memory.total.packets)?;
    }
    Ok(state.finish(dropped)?)
}

/// A batch at hand.
struct Open<'a> {
    /// Number of its stream.
    number: usize,
    /// Its rows.
    packets: Packets<'a>,
    /// Its taps' numbers.
    names: Vec<u16>,
    messages: Vec<View<'a>>,
}

pub(super) struct State {
    pub options: Options,
    pub memory: Memory,
    /// Room for earlier sightings of one packet, and for their numbers.
    found: [Sighting; MAX_SIGHTINGS],
    numbers: [u32; MAX_SIGHTINGS],
    alignment: Alignment,
    pub detectors: Vec<Box<dyn super::Detector>>,
    wanting: Wanting,
}

/// Which detectors want what, by their places among all: told once, as each packet asks for it.
struct Wanting {
    /// Packets that are in no way special, too.
    all: Vec<usize>,
    /// Packets that were seen before or are encapsulated; those who want all as well.
    repeated: Vec<usize>,
    /// Messages, by the kind.
    messages: Vec<Vec<usize>>,
}

impl Wanting {
    fn of(detectors: &[Box<dyn super::Detector>]) -> Self {
        let those = |wanted: &dyn Fn(&dyn super::Detector) -> bool| {
            let each = detectors.iter().enumerate();
            each.filter(|(_, detector)| wanted(detector.as_ref())).map(|(at, _)| at).collect()
        };
        let of_kind = |&kind| those(&|detector| detector.tables().has(kind));
        Self {
            all: those(&|detector| detector.packets() == Wanted::All),
            repeated: those(&|detector| detector.packets() != Wanted::None),
            messages: messages::Kind::ALL.iter().map(of_kind).collect(),
        }
    }
}

/// What is remembered of packets, apart from the detectors.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Memory {
    taps: Vec<String>,
    counts: Vec<TapCounts>,
    paths: Paths,
    flows: Flows,
    history: History,
    room: Room,
    /// What passes between taps, once there are two.
    comparison: Option<Comparison>,
    total: Counts,
}

/// How many packets are taken at a time: enough that what they look for in memory comes while others are worked on, and
/// few enough that it is still at hand when they are.
const AHEAD: usize = Packets::AHEAD;

/// A packet that is about to be taken, with the hashes of what it is looked up by.
#[derive(Clone, Copy)]
struct Next<'a> {
    packet: Packet<'a>,
    /// Its time, aligned with other streams.
    ts: i64,
    tap: u16,
    open: &'a Open<'a>,
    flow: paths::Wanted,
    /// Its `packet_id` if that is strong, and the hash.
    packet_id: Option<(u64, u64)>,
    /// Its `payload_id` if that is strong, and the hash.
    payload_id: Option<(u64, u64)>,
    /// Of TCP, what its connection is known by.
    stream: Option<Keys>,
}

impl State {
    pub fn new(options: Options, alignment: Alignment, streams: usize) -> Self {
        let detectors = detectors(options.detectors.as_deref());
        let wanting = Wanting::of(&detectors);
        let history = if streams > 1 { History::with_notes } else { History::new };
        let budget = Budget::of(options.memory);
        let memory = Memory {
            comparison: None,
            taps: Vec::new(),
            counts: Vec::new(),
            paths: Paths::default(),
            // A row takes about 512 bytes, with what it is in the table.
            flows: Flows::new((budget.flows / 512).max(1024)),
            room: Room::new(budget.claims),
            history: history(budget.recent, options.window, options.late_window),
            total: Counts::default(),
        };
        Self {
            options,
            memory,
            alignment,
            numbers: [0; MAX_SIGHTINGS],
            found: [Sighting::default(); MAX_SIGHTINGS],
            detectors,
            wanting,
        }
    }

    /// The number of the tap with this name.
    fn tap(&mut self, name: &str) -> u16 {
        let known = self.memory.taps.iter().position(|known| known == name);
        let number = known.unwrap_or_else(|| {
            self.memory.taps.push(name.to_owned());
            self.memory.counts.push(TapCounts::NONE);
            if self.memory.taps.len() == 2 {
                self.memory.history.begin_notes();
                self.memory.comparison = Some(Comparison::default());
            }
            self.memory.taps.len() - 1
        });
        number.min(usize::from(u16::MAX)) as u16
    }

    /// Takes rows in order of time until one of the batches is used up; returns which.
    fn merge(&mut self, open: &[Open<'_>], cursors: &mut [Cursor]) -> Option<usize> {
        let mut ahead = Vec::with_capacity(AHEAD);
        if self.memory.total.packets == 0
            && let Earliest::Row(_, packet, _) = first(open, cursors, &self.alignment)
        {
            self.memory.history.begin(packet.ts(), packet.packet_id().unwrap_or_default());
        }
        loop {
            let mut used_up = None;
            while ahead.len() < AHEAD {
                match first(open, cursors, &self.alignment) {
                    Earliest::Row(open, packet, tap) => {
                        ahead.push(self.look_up(packet, tap, open));
                        if let Some(cursor) = cursors.get_mut(open.number) {
                            cursor.row += 1;
                            if cursor.row.is_multiple_of(Packets::AHEAD) {
                                open.packets.prefetch(cursor.row + Packets::AHEAD);
                            }
                        }
                    }
                    Earliest::UsedUp(number) => {
                        used_up = Some(number);
                        break;
                    }
                }
            }
            self.take_all(&ahead, cursors);
            ahead.clear();
            if let Some(number) = used_up {
                return number;
            }
        }
    }

    /// Hashes what a packet is looked up by, and asks for the memory where that will be.
    #[inline]
    fn look_up<'a>(&self, packet: Packet<'a>, tap: u16, open: &'a Open<'a>) -> Next<'a> {
        let hashed = |id: Option<u64>| {
            id.filter(|&id| ids::is_strong(id)).map(|id| (id, self.memory.history.hash(id)))
        };
        let next = Next {
            packet,
            ts: packet.ts().saturating_add(self.alignment.shift(open.number)),
            tap,
            open,
            flow: self.memory.flows.wanted(packet, tap),
            packet_id: hashed(packet.packet_id()),
            payload_id: hashed(packet.payload_id()),
            stream: Keys::of(packet),
        };
        self.memory.flows.prefetch_index(&next.flow);
        if let Some(stream) = next.stream {
            for detector in self.wanting.all.iter().filter_map(|&at| self.detectors.get(at)) {
                detector.prefetch_index(packet, tap, stream);
            }
        }
        let hash = |(_, hash)| hash;
        self.memory.history.prefetch(next.packet_id.map(hash), next.payload_id.map(hash));
        next
    }

    fn take_all(&mut self, ahead: &[Next<'_>], cursors: &mut [Cursor]) {
        let mut rows = [None; AHEAD];
        for (row, next) in rows.iter_mut().zip(ahead) {
            *row = self.memory.flows.prefetch_row(&next.flow);
        }
        for flow in rows.into_iter().flatten().filter_map(|number| self.memory.flows.get(number)) {
            self.memory.paths.prefetch(flow.path);
        }
        for detector in self.wanting.all.iter().filter_map(|&at| self.detectors.get(at)) {
            for (next, stream) in ahead.iter().filter_map(|next| Some((next, next.stream?))) {
                detector.prefetch(next.packet, next.tap, stream);
            }
        }
        for next in ahead {
            if let Some(cursor) = cursors.get_mut(next.open.number) {
                self.take(next, cursor);
            }
        }
    }

    fn take(&mut self, next: &Next<'_>, cursor: &mut Cursor) {
        let Next { packet, tap, open, .. } = *next;
        if let Some(counts) = self.memory.counts.get_mut(usize::from(tap)) {
            counts.add(packet);
        }
        let packet_id = next.packet_id.filter(|&(_, hash)| self.memory.history.keeps(hash));
        let payload_id = next.payload_id.filter(|&(_, hash)| self.memory.history.keeps(hash));
        let stack = packet.encap();
        self.memory.total.packets += 1;
        // What a tunnel carries, nobody knows of a frame that was cut; of one that was as short on the wire, there is no more.
        let is_cut = packet.is_cut();
        self.memory.total.read += u64::from(!packet.has_issue() || !stack.is_empty() && !is_cut);
        let is_hidden =
            is_cut && packet.has_issue() && packet.label().app.is_none() && packet.src_port().is_none();
        self.memory.total.hidden += u64::from(is_hidden);
        self.memory.total.ip += u64::from(packet.src().is_some());
        self.memory.total.strong += u64::from(next.packet_id.is_some());
        self.memory.total.compared += u64::from(packet_id.is_some());
        let flow =
            self.memory.flows.add(packet, tap, &next.flow, packet_id.is_some(), &mut self.memory.paths);
        let mut sighting = Sighting {
            ts: next.ts,
            frame: packet.frame(),
            packet_id: next.packet_id.map_or(0, |(id, _)| id),
            payload_id: payload_id.map_or(0, |(id, _)| id),
            path: self.memory.flows.get(flow).map_or(0, |flow| flow.path),
            flow,
            ip_id: packet.ip_id().unwrap_or_default(),
            ttl: packet.ttl().unwrap_or_default(),
        };
        let is_kept = packet_id.is_some() || payload_id.is_some();
        let n = match next.packet_id.filter(|_| is_kept) {
            Some((id, hash)) => {
                self.memory.history.same_packet(id, hash, sighting.ts, &mut self.found, &mut self.numbers)
            }
            None => 0,
        };
        let by_payload = payload_id
            .filter(|_| n == 0)
            .and_then(|(id, hash)| self.memory.history.same_payload(id, hash, sighting.ts));
        let same_payload = by_payload.map(|(sighting, _)| sighting);
        // Of packets that are kept for their payload only, copies may not be.
        let earlier = self.found.get(..n).filter(|_| packet_id.is_some()).unwrap_or_default();
        let is_repeated = !earlier.is_empty() || same_payload.is_some() || !stack.is_empty();
        let has_messages = !open.messages.is_empty() && cursor.next_frame <= packet.frame();
        let wanting = if is_repeated { &self.wanting.repeated } else { &self.wanting.all };
        if has_messages || !wanting.is_empty() {
            let context = Context {
                paths: &self.memory.paths,
                flows: &self.memory.flows,
                window: self.options.window,
                network: &self.options.network,
                room: &self.memory.room,
            };
            let seen = Seen { packet, sighting, earlier, same_payload, stream: next.stream };
            for &at in wanting {
                if let Some(detector) = self.detectors.get_mut(at) {
                    detector.observe(&seen, &context);
                }
            }
            if has_messages {
                let wanting = &self.wanting.messages;
                read_messages(&mut self.detectors, wanting, &open.messages, cursor, &seen, &context);
            }
        }
        if is_kept {
            // The first sighting stands for its payload.
            if n > 0 {
                sighting.payload_id = 0;
            }
            self.memory.history.add(sighting);
        }
        if self.memory.comparison.is_some() {
            self.compare(next, sighting, is_kept, packet_id.is_some(), n, by_payload);
        }
    }

    /// Compares what the taps see.
    #[inline(never)]
    fn compare(
        &mut self,
        next: &Next<'_>,
        sighting: Sighting,
        kept: bool,
        by_packet: bool,
        found: usize,
        same_payload: Option<(Sighting, u32)>,
    ) {
        let Some(comparison) = &mut self.memory.comparison else { return };
        let stream = next.open.number;
        self.alignment.taken(stream, sighting);
        let now = Now {
            packet: next.packet,
            sighting,
            tap: next.tap,
            stream,
            shift: next.ts.saturating_sub(next.packet.ts()),
            kept,
            by_packet,
            earlier: self.found.get(..found).filter(|_| by_packet).unwrap_or_default(),
            numbers: &self.numbers,
            same_payload,
        };
        let known = Known { flows: &self.memory.flows, paths: &self.memory.paths };
        if let Some((other, there)) = comparison.observe(&now, &mut self.memory.history, known)
            && other != stream
        {
            self.alignment.common((stream, (next.packet.ts(), sighting.ttl)), (other, there));
        }
    }

    fn finish(mut self, dropped: impl Fn(&str) -> Option<u64>) -> Result<Examination, ArrowError> {
        let state = if self.options.save { Some(SavedState::of(&self)?) } else { None };
        // What is only told at the end has the room of what is remembered until then.
        let room = Room::new(Budget::of(self.options.memory).recent);
        let context = Context {
            paths: &self.memory.paths,
            flows: &self.memory.flows,
            window: self.options.window,
            network: &self.options.network,
            room: &room,
        };
        let (counts, limits) = (self.memory.total, self.memory.history.limits());
        if let Some(comparison) = &mut self.memory.comparison {
            comparison.settle_all(
                &mut self.memory.history,
                Known { flows: &self.memory.flows, paths: &self.memory.paths },
            );
        }
        // Claims are counted by the flows, and no longer by what is remembered.
        drop(self.memory.history);
        let outcome = Outcome { context, counts, limits, conversations: Conversations::new(context) };
        let mut claims: Vec<Claim> = Vec::new();
        let mut scopes = Vec::new();
        for detector in &mut self.detectors {
            let (found, mut scope) = detector.finish(&outcome);
            scope.lost = detector.lost();
            claims.extend(found);
            scopes.push((detector.id(), scope));
        }
        let captured = |(name, counts): (&String, &TapCounts)| Captured {
            frames: counts.frames,
            dropped: dropped(name),
        };
        let captured: Vec<Captured> =
            self.memory.taps.iter().zip(&self.memory.counts).map(captured).collect();
        let (compared, scope) = match &self.memory.comparison {
            None => (RecordBatch::new_empty(compared_schema()), Scope::new(0, 0, [Some(ONE_TAP.to_owned())])),
            Some(comparison) => {
                let compared = comparison.finish(&outcome, &self.memory.taps, &captured)?;
                claims.extend(compared.claims);
                (compared.table, compared.scope)
            }
        };
        scopes.push(("B1", scope));
        let overflows = [("paths", self.memory.paths.overflow()), ("flows", self.memory.flows.overflow())];
        Ok(Examination {
            claims: if claims.is_empty() {
                RecordBatch::new_empty(claim_schema())
            } else {
                claims_to_batch(&claims, &self.memory.taps)?
            },
            compared,
            flows: self.memory.flows.to_batch(&self.memory.paths, &self.memory.taps)?,
            scopes,
            overflows: overflows.into_iter().filter(|&(_, missing)| missing > 0).collect(),
            state,
            taps: self.memory.taps.into_iter().zip(self.memory.counts).collect(),
        })
    }
}

/// Shows the messages in a packet to the detectors that want them.
fn read_messages(
    detectors: &mut [Box<dyn super::Detector>],
    wanting: &[Vec<usize>],
    tables: &[View<'_>],
    cursor: &mut Cursor,
    seen: &Seen<'_>,
    context: &Context<'_>,
) {
    cursor.messages.resize(tables.len(), 0);
    cursor.next_frame = u64::MAX;
    let frame = seen.packet.frame();
    for (view, row) in tables.iter().zip(&mut cursor.messages) {
        let wanting = wanting.get(view.kind() as usize).map(Vec::as_slice).unwrap_or_default();
        let mut next = || Some((*row, *view.frames().get(*row)?)).inspect(|_| *row += 1);
        while let Some((at, of)) = next() {
            if of > frame {
                *row -= 1;
                cursor.next_frame = cursor.next_frame.min(of);
                break;
            }
            // Those of packets that are not in the batch are left out.
            if of == frame {
                for &number in wanting {
                    if let Some(detector) = detectors.get_mut(number) {
                        detector.read(view, at, seen, context);
                    }
                }
            }
        }
    }
}

/// What there is to say where nothing can be compared.
const ONE_TAP: &str = "there is one tap only, and it takes two to compare";

/// What comes next of the batches at hand.
enum Earliest<'a> {
    /// The batch, its row, and the tap.
    Row(&'a Open<'a>, Packet<'a>, u16),
    /// No more can be said, as this stream's batch has come to its end.
    UsedUp(Option<usize>),
}

/// The earliest of the streams' next rows.
#[inline]
fn first<'a>(open: &'a [Open<'a>], cursors: &[Cursor], alignment: &Alignment) -> Earliest<'a> {
    let mut first: Option<(i64, &Open<'_>, usize)> = None;
    for stream in open {
        let Some(&Cursor { row, .. }) = cursors.get(stream.number) else { return Earliest::UsedUp(None) };
        let Some(ts) = stream.packets.ts(row) else { return Earliest::UsedUp(Some(stream.number)) };
        // Of one stream, what comes next comes first, whatever its time.
        let ts = if open.len() == 1 { ts } else { ts.saturating_add(alignment.shift(stream.number)) };
        if first.is_none_or(|(earliest, ..)| ts < earliest) {
            first = Some((ts, stream, row));
        }
    }
    let row = first.and_then(|(_, open, row)| {
        let packet = open.packets.get(row)?;
        let tap = open.names.get(usize::from(packet.tap())).copied().unwrap_or_default();
        Some(Earliest::Row(open, packet, tap))
    });
    row.unwrap_or(Earliest::UsedUp(None))
}
