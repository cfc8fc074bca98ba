//! The conversations that are going on, and those that have ended.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use hashbrown::{HashMap, HashTable};

use super::Key;
use super::conversation::{ACK, Conversation, EndReason, SYN};
use super::places;
use super::rows;
use crate::arrays::Names;
use crate::dissect::{Encap, Stack};
use crate::messages::{Kind, Kinds, View};
use crate::packets::{BATCH_SIZE, Batch, Column, Packet, Packets};
use crate::places::Located;
use crate::stage::Stage;
use crate::wire::ip::Addr;

/// How to tell where a conversation ends.
#[derive(Debug, Clone)]
pub struct Options {
    /// After how long without a packet, in nanoseconds.
    pub idle_timeout: i64,
    /// How long a row may go on, in nanoseconds; without one as long as it does.
    pub active_timeout: Option<i64>,
    /// About how many bytes to use for conversations that are going on.
    pub memory: usize,
    /// What their ends are looked up in; without it, rows do not say where those are.
    pub located: Option<Located>,
}

impl Default for Options {
    fn default() -> Self {
        Self { idle_timeout: 120_000_000_000, active_timeout: None, memory: 160 << 20, located: None }
    }
}

/// How long what comes after the end of a TCP connection still belongs to it, in nanoseconds.
const LINGER: i64 = 10_000_000_000;

/// How many rows are handed out at once.
const ROWS: usize = 8192;

/// Places that are looked at for each packet, at the most, to find what was silent for too long.
const PLACES_A_PACKET: usize = 16;

/// Bytes of a server name that are kept: no host name is longer (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 255;

/// Packets whose conversations are looked for at once, so that the memory where they are comes while others are counted.
const AHEAD: usize = Packets::AHEAD;

/// The most tunnels that are told apart.
const MAX_TUNNELS: usize = 1 << 20;

/// A tunnel: its encapsulations, and its ends, the smaller one first. An identifier that both directions share tells tunnels apart, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tunnel {
    pub encap: Stack,
    pub ends: [Option<Addr>; 2],
    id: Option<u32>,
}

impl Tunnel {
    /// That of a packet, and whether the second of its ends has sent it.
    fn of(packet: Packet<'_>) -> (Self, bool) {
        let encap = packet.encap();
        let (src, dst) = (packet.outer_src(), packet.outer_dst());
        let is_turned = src > dst;
        let has_own = |encap| {
            // Each direction has a number of its own: TEID (3GPP TS 29.281), SPI (RFC 4303), session (RFC 2661, RFC 3931), label.
            matches!(encap, Encap::Gtpu | Encap::Esp | Encap::L2tp | Encap::L2tpv3 | Encap::Mpls)
        };
        let id = packet.tunnel_id().filter(|_| !encap.iter().any(has_own));
        (Self { encap, ends: if is_turned { [dst, src] } else { [src, dst] }, id }, is_turned)
    }
}

/// A packet about to be counted.
#[derive(Clone, Copy)]
struct Next<'a> {
    packet: Packet<'a>,
    key: Key,
    hash: u64,
    is_turned: bool,
    found: Option<u32>,
}

/// Makes the rows.
#[derive(Debug)]
pub struct Flows {
    options: Options,
    schema: SchemaRef,
    /// How many there may be at once.
    capacity: usize,
    /// Those that are going on, those that are over and have not been handed out, and places that are free.
    all: Vec<Conversation>,
    free: Vec<u32>,
    index: HashTable<u32>,
    secret: [u64; 4],
    begun: u64,
    /// The latest time so far.
    clock: Option<i64>,
    next_sweep: i64,
    /// Packets since the last.
    since_sweep: usize,
    taps: Names,
    tunnels: Vec<Tunnel>,
    tunnel_numbers: HashMap<Tunnel, u32>,
    /// Places of those that are over, in the order in which they are handed out.
    ended: VecDeque<u32>,
    evicted: u64,
}

impl Flows {
    /// The side tables that are read.
    const TABLES: Kinds = Kinds::of(&[Kind::Tls, Kind::Icmp]);

    /// The columns that are read.
    const COLUMNS: [Column; 29] = [
        Column::Frame,
        Column::Ts,
        Column::Tap,
        Column::WireLen,
        Column::EthSrc,
        Column::EthDst,
        Column::Vlan,
        Column::VlanInner,
        Column::Mpls,
        Column::Ethertype,
        Column::Encap,
        Column::OuterSrc,
        Column::OuterDst,
        Column::TunnelId,
        Column::IpVersion,
        Column::Src,
        Column::Dst,
        Column::Ttl,
        Column::Tos,
        Column::Protocol,
        Column::SrcPort,
        Column::DstPort,
        Column::TcpFlags,
        Column::TcpSeq,
        Column::TcpAck,
        Column::PayloadLen,
        Column::App,
        Column::Basis,
        Column::Issue,
    ];

    /// Nothing so far.
    pub fn new(options: Options) -> Result<Self, ArrowError> {
        let random = RandomState::new();
        let nothing = batch(&[], &Names::default(), &[], options.located.as_ref())?;
        let capacity = (options.memory / (size_of::<Conversation>() + 16)).max(1024);
        let mut all = Vec::new();
        // Memory is not there before it is written to; and what grows is moved, and has twice the room that was given. Where it is refused,
        // it grows all the same.
        let _ = all.try_reserve_exact(capacity + ROWS + BATCH_SIZE);
        Ok(Self {
            schema: nothing.schema(),
            capacity,
            options,
            all,
            free: Vec::new(),
            index: HashTable::new(),
            secret: [0, 1, 2, 3].map(|n: u64| random.hash_one(n)),
            begun: 0,
            clock: None,
            next_sweep: i64::MIN,
            since_sweep: 0,
            taps: Names::default(),
            tunnels: Vec::new(),
            tunnel_numbers: HashMap::new(),
            ended: VecDeque::new(),
            evicted: 0,
        })
    }

    /// The number of a packet's tunnel; 0 if it is in none, or in one that found no room.
    #[inline]
    fn tunnel(&mut self, packet: Packet<'_>) -> u32 {
        if !packet.is_encapsulated_or_labelled() || packet.encap().is_empty() {
            return 0;
        }
        let (tunnel, _) = Tunnel::of(packet);
        if let Some(&number) = self.tunnel_numbers.get(&tunnel) {
            return number;
        }
        if self.tunnels.len() >= MAX_TUNNELS {
            return 0;
        }
        self.tunnels.push(tunnel);
        let number = self.tunnels.len() as u32;
        self.tunnel_numbers.insert(tunnel, number);
        number
    }

    fn find(&self, hash: u64, key: &Key) -> Option<u32> {
        let is_it = |&place: &u32| self.all.get(place as usize).is_some_and(|flow| flow.key == *key);
        self.index.find(hash, is_it).copied()
    }

    /// Why a row ends before a packet of this time, if it does.
    fn end_before(&self, flow: &Conversation, ts: i64) -> Option<EndReason> {
        let silent = ts.saturating_sub(flow.last_ts);
        if flow.is_over() && silent > LINGER.min(self.options.idle_timeout) {
            return Some(EndReason::EndOfFlow);
        }
        if silent > self.options.idle_timeout {
            return Some(EndReason::IdleTimeout);
        }
        let is_old = |most: i64| ts.saturating_sub(flow.first_ts) > most;
        self.options.active_timeout.is_some_and(is_old).then_some(EndReason::ActiveTimeout)
    }

    /// Counts a packet; returns the place of its conversation.
    fn add(&mut self, next: &Next<'_>) -> u32 {
        let Next { packet, key, hash, is_turned, found } = *next;
        let ts = packet.ts();
        let clock = self.clock.map_or(ts, |clock| clock.max(ts));
        self.clock = Some(clock);
        self.since_sweep += 1;
        // Not at the last time that there is, behind which none comes: each packet that has it would be another sweep. Nor for few packets,
        // whatever their times are: each would be one, too.
        if clock > self.next_sweep && self.since_sweep > self.all.len() / PLACES_A_PACKET {
            self.sweep(clock);
        }
        let is_it = |place: &u32| {
            self.all.get(*place as usize).is_some_and(|flow| flow.reason.is_none() && flow.key == key)
        };
        let mut place = found.filter(is_it).or_else(|| self.find(hash, &key));
        if let Some(flow) = place.and_then(|place| self.all.get(place as usize)) {
            let flags = packet.tcp_flags().unwrap_or_default();
            let begins =
                flags & (SYN | ACK) == SYN && packet.tcp_seq().is_some_and(|seq| flow.is_new(seq, is_turned));
            let reason = if begins {
                Some(if flow.is_over() { EndReason::EndOfFlow } else { EndReason::ForcedEnd })
            } else {
                self.end_before(flow, ts)
            };
            if let (Some(at), Some(reason)) = (place, reason) {
                self.end(at, reason);
                place = None;
            }
        }
        let place = place.unwrap_or_else(|| self.begin(next));
        if let Some(flow) = self.all.get_mut(place as usize) {
            flow.add(packet, is_turned);
        }
        place
    }

    #[inline(never)]
    fn begin(&mut self, next: &Next<'_>) -> u32 {
        if self.index.len() >= self.capacity {
            self.make_room();
        }
        self.begun += 1;
        // Who answers did not begin.
        let answers = next.packet.tcp_flags().is_some_and(|flags| flags & (SYN | ACK) == SYN | ACK);
        let mut flow = Conversation::new(next.key, self.begun, next.is_turned != answers, next.packet.ts());
        flow.outer_turned = next.key.tunnel != 0 && Tunnel::of(next.packet).1 != answers;
        let place = self.free.pop().unwrap_or(self.all.len() as u32);
        match self.all.get_mut(place as usize) {
            Some(free) => *free = flow,
            None => self.all.push(flow),
        }
        let Self { index, all, secret, .. } = self;
        index.insert_unique(next.hash, place, |&place| {
            all.get(place as usize).map_or(0, |flow| flow.key.hash(*secret))
        });
        place
    }

    /// It stays where it is until it is handed out.
    fn end(&mut self, place: u32, reason: EndReason) {
        let Some(flow) = self.all.get_mut(place as usize) else { return };
        flow.reason = Some(reason);
        let hash = flow.key.hash(self.secret);
        if let Ok(found) = self.index.find_entry(hash, |&other| other == place) {
            found.remove();
        }
        self.ended.push_back(place);
    }

    /// Ends what was silent for too long.
    fn sweep(&mut self, clock: i64) {
        let silent = self
            .going_on()
            .filter_map(|(place, flow)| Some((flow.number, place, self.end_before(flow, clock)?)));
        self.end_all(silent.collect());
        self.since_sweep = 0;
        self.next_sweep = clock.saturating_add((self.options.idle_timeout / 8).max(1_000_000));
    }

    /// Ends the eighth that was silent for longest.
    fn make_room(&mut self) {
        let mut by_age: Vec<_> =
            self.going_on().map(|(place, flow)| (flow.last_ts, flow.number, place)).collect();
        let count = (self.capacity / 8).clamp(1, by_age.len().max(1)) - 1;
        by_age.select_nth_unstable(count);
        by_age.truncate(count + 1);
        self.evicted += by_age.len() as u64;
        let oldest = by_age.into_iter().map(|(_, number, place)| (number, place, EndReason::LackOfResources));
        self.end_all(oldest.collect());
    }

    /// Those that are going on, with their places.
    fn going_on(&self) -> impl Iterator<Item = (u32, &Conversation)> {
        (0..).zip(&self.all).filter(|(_, flow)| flow.reason.is_none())
    }

    /// Ends conversations, of which numbers and places are given, in the order in which they began.
    fn end_all(&mut self, mut which: Vec<(u64, u32, EndReason)>) {
        which.sort_unstable_by_key(|&(number, ..)| number);
        for (_, place, reason) in which {
            self.end(place, reason);
        }
    }

    /// Ends all that went on until the end of the capture.
    fn end_capture(&mut self) {
        let reason = |flow: &Conversation| {
            if flow.is_over() { EndReason::EndOfFlow } else { EndReason::ForcedEnd }
        };
        let all = self.going_on().map(|(place, flow)| (flow.number, place, reason(flow)));
        self.end_all(all.collect());
    }

    /// Takes note of what the messages of a frame say of its conversation.
    fn read_messages(&mut self, views: &mut [(View<'_>, usize)], frame: u64, place: u32) {
        let Some(flow) = self.all.get_mut(place as usize) else { return };
        for (view, row) in views {
            while view.frames().get(*row).is_some_and(|&of| of <= frame) {
                if view.frames().get(*row) == Some(&frame) {
                    match view {
                        View::Tls(tls) if flow.server_name.is_none() => {
                            let cut =
                                |name: &str| name.get(..name.floor_char_boundary(MAX_NAME)).map(Box::from);
                            flow.server_name = tls.sni(*row).and_then(|name| cut(&name));
                        }
                        View::Icmp(icmp) if flow.icmp.is_none() => {
                            flow.icmp =
                                icmp.type_(*row).zip(icmp.code(*row)).map(|(kind, code)| [kind, code]);
                        }
                        _ => {}
                    }
                }
                *row += 1;
            }
        }
    }

    fn read_packets(&mut self, packets: &Packets<'_>, views: &mut [(View<'_>, usize)]) {
        let taps: Vec<u16> = packets.taps().iter().map(|tap| self.taps.number(*tap)).collect();
        let mut ahead = Vec::with_capacity(AHEAD);
        let mut rows = 0..packets.len();
        packets.prefetch(0);
        loop {
            packets.prefetch(rows.start + AHEAD);
            for packet in rows.by_ref().take(AHEAD).filter_map(|row| packets.get(row)) {
                let tunnel = self.tunnel(packet);
                let tap = taps.get(usize::from(packet.tap())).copied().unwrap_or_default();
                let (key, is_turned) = Key::of(packet, tap, tunnel);
                let hash = key.hash(self.secret);
                ahead.push(Next { packet, key, hash, is_turned, found: None });
            }
            if ahead.is_empty() {
                return;
            }
            for next in &mut ahead {
                // The first that has this hash: whether it is the one that is meant is told when it is at hand.
                next.found = self.index.find(next.hash, |_| true).copied();
                if let Some(flow) = next.found.and_then(|place| self.all.get(place as usize)) {
                    flow.prefetch();
                }
            }
            for next in &ahead {
                let place = self.add(next);
                if !views.is_empty() {
                    self.read_messages(views, next.packet.frame(), place);
                }
            }
            ahead.clear();
        }
    }
}

/// A batch of these rows, with where their ends are if that is asked for.
fn batch(
    flows: &[&Conversation],
    taps: &Names,
    tunnels: &[Tunnel],
    located: Option<&Located>,
) -> Result<RecordBatch, ArrowError> {
    let rows = rows::batch(flows, taps, tunnels)?;
    let Some(located) = located else { return Ok(rows) };
    let places = places::batch(flows, taps, tunnels, located)?;
    let (schema, more) = (rows.schema(), places.schema());
    let fields: Vec<_> = schema.fields().iter().chain(more.fields()).cloned().collect();
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    RecordBatch::try_new(Arc::new(schema), [rows.columns(), places.columns()].concat())
}

impl Stage for Flows {
    fn columns(&self) -> Vec<Column> {
        Self::COLUMNS.to_vec()
    }

    fn tables(&self) -> Kinds {
        Self::TABLES
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn read(&mut self, batch: &Batch) -> Result<(), ArrowError> {
        let packets = Packets::with(&batch.packets, &Self::COLUMNS)?;
        let views = batch.messages.iter().filter(|(kind, _)| Self::TABLES.has(*kind));
        let views: Result<Vec<_>, _> =
            views.map(|(kind, batch)| View::new(*kind, batch).map(|view| (view, 0))).collect();
        self.read_packets(&packets, &mut views?);
        Ok(())
    }

    fn take(&mut self, is_end: bool) -> Result<Option<RecordBatch>, ArrowError> {
        if is_end && !self.index.is_empty() {
            self.end_capture();
        }
        if !is_end && self.ended.len() < ROWS {
            return Ok(None);
        }
        let count = self.ended.len().min(ROWS);
        if count == 0 {
            return Ok(None);
        }
        let places = self.ended.range(..count);
        let rows: Vec<&Conversation> = places.filter_map(|&place| self.all.get(place as usize)).collect();
        let batch = batch(&rows, &self.taps, &self.tunnels, self.options.located.as_ref())?;
        for place in self.ended.drain(..count) {
            if let Some(flow) = self.all.get_mut(place as usize) {
                flow.server_name = None;
            }
            self.free.push(place);
        }
        Ok(Some(batch))
    }

    fn warnings(&self) -> Vec<String> {
        let evicted = (self.evicted > 0).then(|| {
            format!(
                "{} flows were ended before their time (lack-of-resources): give more memory than {} MiB to keep them together",
                self.evicted,
                self.options.memory >> 20
            )
        });
        evicted.into_iter().collect()
    }
}
