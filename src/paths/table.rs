//! The flow table.

use std::sync::Arc;

use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::types::{UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, ListArray, RecordBatch, UInt64Array};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::identity::{Identity, hash_more};
use super::index::{Index, Secret};
use super::path::{Path, PathId, Paths};
use crate::arrays::{Names, counts, fixed, labels, lists, numbers, times};
use crate::classify::{App, Basis, Label, Traffic};
use crate::dissect::Stack;
use crate::hash::fold;
use crate::packets::{Column, Packet, ids};
use crate::prefetch::prefetch;
use crate::wire::ip::Addr;

/// What tells one row from another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are columns of the packets table, documented there")]
pub struct FlowKey {
    pub path: PathId,
    pub ip_version: u8,
    pub src: Option<Addr>,
    pub dst: Option<Addr>,
    pub protocol: Option<u8>,
    pub src_port: u16,
    pub dst_port: u16,
    pub flow_id: Option<u64>,
    pub label: Label,
}

impl FlowKey {
    #[inline]
    pub(super) fn of(packet: Packet<'_>, path: PathId) -> Self {
        Self {
            path,
            ip_version: packet.ip_version().unwrap_or_default(),
            src: packet.src(),
            dst: packet.dst(),
            protocol: packet.protocol(),
            src_port: packet.src_port().unwrap_or_default(),
            dst_port: packet.dst_port().unwrap_or_default(),
            flow_id: packet.flow_id(),
            label: packet.label(),
        }
    }
}

/// One row: a direction of a conversation on one path, under one label.
// All that is read and written of most packets lies in two cache lines.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[repr(C, align(64))]
pub struct Flow {
    identity: Identity,
    /// How it was seen.
    pub path: PathId,
    /// All TCP flags that any packet had.
    pub tcp_flags: u16,
    /// TTL or hop limit of the first packet.
    pub first_ttl: u8,
    /// TTL or hop limit of the last packet.
    pub last_ttl: u8,
    /// Packets.
    pub packets: u64,
    /// Packets that were too weak or too short to be told from others, as far as this counts.
    pub weak: u32,
    /// Packets of which the capture kept only a part, as far as this counts.
    pub cut: u32,
    /// Packets that were compared with others.
    pub compared: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Time of the first packet, nanoseconds UTC.
    pub first_ts: i64,
    /// Time of the last packet, nanoseconds UTC.
    pub last_ts: i64,
    frames: [u64; Self::FRAMES],
}

impl Flow {
    const FRAMES: usize = 8;

    const fn new(identity: Identity, path: PathId, ts: i64) -> Self {
        let (first_ts, last_ts) = (ts, ts);
        let frames = [0; Self::FRAMES];
        let (tcp_flags, first_ttl, last_ttl) = (0, 0, 0);
        let (packets, weak, cut, compared, bytes) = (0, 0, 0, 0, 0);
        Self {
            identity,
            path,
            tcp_flags,
            first_ttl,
            last_ttl,
            packets,
            weak,
            cut,
            compared,
            bytes,
            first_ts,
            last_ts,
            frames,
        }
    }

    #[inline]
    fn add(&mut self, packet: Packet<'_>, compared: bool) {
        if let Some(slot) = self.frames.get_mut(self.packets as usize) {
            *slot = packet.frame();
        }
        let ttl = packet.ttl().unwrap_or_default();
        if self.packets == 0 {
            self.first_ttl = ttl;
        }
        self.last_ttl = ttl;
        self.tcp_flags |= packet.tcp_flags().unwrap_or_default();
        self.packets += 1;
        let is_weak = !packet.packet_id().is_some_and(ids::is_strong);
        self.weak = self.weak.saturating_add(u32::from(is_weak));
        self.cut = self.cut.saturating_add(u32::from(packet.is_cut()));
        self.compared += u64::from(compared);
        self.bytes += u64::from(packet.wire_len());
        self.first_ts = self.first_ts.min(packet.ts());
        self.last_ts = self.last_ts.max(packet.ts());
    }

    /// What tells it from others.
    #[inline]
    pub fn key(&self) -> FlowKey {
        self.identity.key(self.path)
    }

    /// The conversation.
    #[inline]
    pub fn flow_id(&self) -> Option<u64> {
        self.identity.flow_id()
    }

    /// Numbers of its first frames.
    pub fn frames(&self) -> &[u64] {
        self.frames.get(..self.packets.min(Self::FRAMES as u64) as usize).unwrap_or_default()
    }
}

/// What a packet's flow is found by.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    identity: Identity,
    hash: u64,
}

/// Flows, numbered as they appear. Bounded: beyond `capacity` rows, packets are counted by path and label only, and
/// beyond twice as many by tap only.
#[derive(Debug, Serialize, Deserialize)]
pub struct Flows {
    all: Vec<Flow>,
    index: Index,
    secret: Secret,
    capacity: usize,
    overflow: u64,
}

impl Flows {
    /// An empty table of at most `capacity` conversations.
    pub fn new(capacity: usize) -> Self {
        Self { all: Vec::new(), index: Index::default(), secret: Secret::default(), capacity, overflow: 0 }
    }

    /// What [`Flows::add`] finds a packet's flow by.
    #[inline]
    pub fn wanted(&self, packet: Packet<'_>, tap: u16) -> Wanted {
        let identity = Identity::of(packet, tap);
        let mut hash = identity.hash(self.secret);
        if identity.has_more() {
            hash ^= hash_more(packet, self.secret);
        }
        Wanted { identity, hash }
    }

    /// Asks for the memory in which the row will be looked for.
    #[inline]
    pub fn prefetch_index(&self, wanted: &Wanted) {
        self.index.prefetch(wanted.hash);
    }

    /// Asks for the row that is probably wanted; returns its number.
    #[inline]
    pub fn prefetch_row(&self, wanted: &Wanted) -> Option<u32> {
        let number = self.index.find(wanted.hash, |_| true)?;
        let flow = self.get(number)?;
        prefetch(&flow.identity);
        prefetch(&flow.bytes);
        Some(number)
    }

    /// Counts a packet seen on `tap`, of which `wanted` is given; returns the number of its flow.
    #[inline]
    pub fn add(
        &mut self,
        packet: Packet<'_>,
        tap: u16,
        wanted: &Wanted,
        compared: bool,
        paths: &mut Paths,
    ) -> u32 {
        let is_it = |number| {
            self.get(number).is_some_and(|flow| {
                flow.identity == wanted.identity
                    && (!wanted.identity.has_more() || paths.get(flow.path).is_of(packet, tap))
            })
        };
        let found = self.index.find(wanted.hash, is_it);
        let number = found.unwrap_or_else(|| self.new_number(packet, tap, wanted, paths));
        if let Some(flow) = self.all.get_mut(number as usize) {
            flow.add(packet, compared);
        }
        number
    }

    /// The number of a flow that is not in the table, or not with its own path and key.
    #[inline(never)]
    fn new_number(&mut self, packet: Packet<'_>, tap: u16, wanted: &Wanted, paths: &mut Paths) -> u32 {
        let path = Path::of(packet, tap);
        let number = paths.number(&path);
        let is_full = self.all.len() >= self.capacity;
        let shares_path = *paths.get(number) != path;
        if !is_full && !shares_path {
            return self.push(wanted.identity, number, wanted.hash, packet.ts());
        }
        let key = FlowKey::of(packet, number);
        if shares_path {
            let identity = Identity::of_key(&key, paths.get(number));
            if !is_full {
                return self.shared(identity, number, packet.ts());
            }
            if let Some(found) = self.find(&identity, number) {
                return found;
            }
        }
        self.overflow += 1;
        let key = if self.all.len() < 2 * self.capacity {
            FlowKey { path: number, label: key.label, ..FlowKey::default() }
        } else {
            FlowKey { path: paths.rest(tap), ..FlowKey::default() }
        };
        self.shared(Identity::of_key(&key, paths.get(key.path)), key.path, packet.ts())
    }

    /// The number of a flow that is not that of one packet's own path and key.
    fn shared(&mut self, identity: Identity, path: PathId, ts: i64) -> u32 {
        let hash = self.shared_hash(&identity, path);
        self.find(&identity, path).unwrap_or_else(|| self.push(identity, path, hash, ts))
    }

    fn shared_hash(&self, identity: &Identity, path: PathId) -> u64 {
        fold(identity.hash(self.secret) ^ u64::from(path), self.secret.0[0] | 1)
    }

    fn find(&self, identity: &Identity, path: PathId) -> Option<u32> {
        let is_it =
            |number| self.get(number).is_some_and(|flow| flow.path == path && flow.identity == *identity);
        self.index.find(self.shared_hash(identity, path), is_it)
    }

    fn push(&mut self, identity: Identity, path: PathId, hash: u64, ts: i64) -> u32 {
        if self.all.is_empty() {
            // Pages that are not used yet take no memory, and rows that need not move take no time.
            let _ = self.all.try_reserve_exact(2 * self.capacity);
        }
        let number = self.all.len() as u32;
        self.all.push(Flow::new(identity, path, ts));
        self.index.insert(hash, number);
        number
    }

    /// The flow of this number.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&Flow> {
        self.all.get(number as usize)
    }

    /// All flows.
    pub fn iter(&self) -> impl Iterator<Item = &Flow> {
        self.all.iter()
    }

    /// How many packets were of conversations that found no room.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// The table, [`flow_schema`]. `taps` are the names that [`Path::tap`](super::Path) indexes.
    pub fn to_batch(&self, paths: &Paths, taps: &[String]) -> Result<RecordBatch, ArrowError> {
        let path = |flow: &Flow| paths.get(flow.path);
        // Of later fragments, and of what was cut, nobody knows ports: both are 0 then.
        let has_ports = |flow: &Flow| {
            let key = flow.key();
            matches!(key.protocol, Some(6 | 17 | 132)) && (key.src_port, key.dst_port) != (0, 0)
        };
        let mut encaps = Names::<Stack>::default();
        let stacks = self.iter().map(|flow| path(flow).encap);
        let encap =
            stacks.map(|stack| (!stack.is_empty()).then(|| encaps.number(&stack))).collect::<Vec<_>>();
        let frames = ListArray::try_new(
            Arc::new(Field::new("item", DataType::UInt64, false)),
            OffsetBuffer::from_lengths(self.iter().map(|flow| flow.frames().len())),
            Arc::new(UInt64Array::from_iter_values(
                self.iter().flat_map(|flow| flow.frames().iter().copied()),
            )),
            None,
        )?;
        let each = || self.iter();
        let ttl = |flow: &Flow, ttl: u8| Some(ttl).filter(|_| flow.key().src.is_some());
        let arrays: Vec<ArrayRef> = vec![
            labels(taps, each().map(|flow| Some(path(flow).tap)))?,
            fixed(each().map(|flow| path(flow).eth_src))?,
            fixed(each().map(|flow| path(flow).eth_dst))?,
            numbers::<UInt16Type>(each().map(|flow| path(flow).vlan)),
            numbers::<UInt16Type>(each().map(|flow| path(flow).vlan_inner)),
            lists::<UInt32Type>(each().map(|flow| path(flow).mpls.as_slice().iter().copied()))?,
            labels(encaps.all(), encap.into_iter())?,
            fixed(each().map(|flow| path(flow).outer_src))?,
            fixed(each().map(|flow| path(flow).outer_dst))?,
            numbers::<UInt32Type>(each().map(|flow| path(flow).tunnel_id)),
            numbers::<UInt8Type>(
                each().map(|flow| Some(flow.key().ip_version).filter(|&version| version != 0)),
            ),
            fixed(each().map(|flow| flow.key().src))?,
            fixed(each().map(|flow| flow.key().dst))?,
            numbers::<UInt8Type>(each().map(|flow| flow.key().protocol)),
            numbers::<UInt16Type>(each().map(|flow| Some(flow.key().src_port).filter(|_| has_ports(flow)))),
            numbers::<UInt16Type>(each().map(|flow| Some(flow.key().dst_port).filter(|_| has_ports(flow)))),
            labels(App::NAMES, each().map(|flow| flow.key().label.app.map(|app| app as u16)))?,
            labels(Traffic::NAMES, each().map(|flow| Some(flow.key().label.traffic() as u16)))?,
            labels(Basis::NAMES, each().map(|flow| flow.key().label.basis.map(|basis| basis as u16)))?,
            numbers::<UInt64Type>(each().map(Flow::flow_id)),
            numbers::<UInt16Type>(
                each().map(|flow| Some(flow.tcp_flags).filter(|_| flow.key().protocol == Some(6))),
            ),
            numbers::<UInt8Type>(each().map(|flow| ttl(flow, flow.first_ttl))),
            numbers::<UInt8Type>(each().map(|flow| ttl(flow, flow.last_ttl))),
            counts(each().map(|flow| flow.packets)),
            counts(each().map(|flow| flow.weak.into())),
            counts(each().map(|flow| flow.cut.into())),
            counts(each().map(|flow| flow.bytes)),
            times(each().map(|flow| Some(flow.first_ts))),
            times(each().map(|flow| Some(flow.last_ts))),
            Arc::new(frames),
        ];
        RecordBatch::try_new(flow_schema(), arrays)
    }
}

/// Adds a value of fixed width or a null.
pub(crate) fn append_fixed<const N: usize>(
    builder: &mut FixedSizeBinaryBuilder,
    value: Option<[u8; N]>,
) -> Result<(), ArrowError> {
    if let Some(value) = value {
        return builder.append_value(value);
    }
    builder.append_null();
    Ok(())
}

/// The schema of the flow table: the columns of the packets table that tell flows apart, then counts and times.
pub fn flow_schema() -> SchemaRef {
    let shared = [
        Column::Tap,
        Column::EthSrc,
        Column::EthDst,
        Column::Vlan,
        Column::VlanInner,
        Column::Mpls,
        Column::Encap,
        Column::OuterSrc,
        Column::OuterDst,
        Column::TunnelId,
        Column::IpVersion,
        Column::Src,
        Column::Dst,
        Column::Protocol,
        Column::SrcPort,
        Column::DstPort,
        Column::App,
        Column::Traffic,
        Column::Basis,
        Column::FlowId,
    ];
    let label = || DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8));
    let mut fields: Vec<Field> = shared
        .iter()
        .map(|column| {
            let data_type = match column.data_type() {
                DataType::Dictionary(..) => label(),
                other => other,
            };
            Field::new(column.name(), data_type, column.nullable())
        })
        .collect();
    fields.extend([
        Field::new("tcp_flags", DataType::UInt16, true),
        Field::new("first_ttl", DataType::UInt8, true),
        Field::new("last_ttl", DataType::UInt8, true),
        Field::new("packets", DataType::UInt64, false),
        Field::new("weak", DataType::UInt64, false),
        Field::new("cut", DataType::UInt64, false),
        Field::new("bytes", DataType::UInt64, false),
        Field::new("first_ts", Column::Ts.data_type(), false),
        Field::new("last_ts", Column::Ts.data_type(), false),
        Field::new("frames", DataType::List(Arc::new(Field::new("item", DataType::UInt64, false))), false),
    ]);
    Arc::new(Schema::new(fields))
}
