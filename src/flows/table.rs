//! The flow table.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::types::{ArrowPrimitiveType, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use hashbrown::HashMap;

use super::index::{Index, Secret, fold};
use super::path::{Path, PathId, Paths};
use crate::classify::{App, Basis, Label, Traffic};
use crate::dissect::{Mac, Stack};
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
    fn of(packet: Packet<'_>, path: PathId) -> Self {
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

    /// Whether this is the key of a packet, but for the path.
    #[inline]
    fn is_of(&self, packet: Packet<'_>) -> bool {
        self.flow_id == packet.flow_id()
            && self.src == packet.src()
            && self.dst == packet.dst()
            && self.src_port == packet.src_port().unwrap_or_default()
            && self.dst_port == packet.dst_port().unwrap_or_default()
            && self.protocol == packet.protocol()
            && self.label == packet.label()
            && self.ip_version == packet.ip_version().unwrap_or_default()
    }
}

/// One row: a direction of a conversation on one path, under one label.
// The key fills a cache line, and what changes with every packet most of the next.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub struct Flow {
    /// What tells it from others.
    pub key: FlowKey,
    /// Packets.
    pub packets: u64,
    /// Packets that were too weak or too short to be told from others.
    pub weak: u64,
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

    const fn new(key: FlowKey, ts: i64) -> Self {
        let (first_ts, last_ts) = (ts, ts);
        let frames = [0; Self::FRAMES];
        Self { key, packets: 0, weak: 0, compared: 0, bytes: 0, first_ts, last_ts, frames }
    }

    #[inline]
    fn add(&mut self, packet: Packet<'_>, compared: bool) {
        if let Some(slot) = self.frames.get_mut(self.packets as usize) {
            *slot = packet.frame();
        }
        self.packets += 1;
        self.weak += u64::from(!packet.packet_id().is_some_and(ids::is_strong));
        self.compared += u64::from(compared);
        self.bytes += u64::from(packet.wire_len());
        self.first_ts = self.first_ts.min(packet.ts());
        self.last_ts = self.last_ts.max(packet.ts());
    }

    /// Numbers of its first frames.
    pub fn frames(&self) -> &[u64] {
        self.frames.get(..self.packets.min(Self::FRAMES as u64) as usize).unwrap_or_default()
    }
}

/// Flows, numbered as they appear. Bounded: beyond `capacity` rows, packets are counted by path and label only, and
/// beyond twice as many by tap only.
#[derive(Debug)]
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

    /// The hash that [`Flows::add`] finds a packet's flow by: of all that tells flows and paths apart.
    #[inline]
    pub fn hash(&self, packet: Packet<'_>, tap: u16) -> u64 {
        /// An address as two numbers.
        #[inline]
        fn halves(addr: Option<Addr>) -> (u64, u64) {
            let bits = u128::from_ne_bytes(addr.unwrap_or_default());
            (bits as u64, (bits >> 64) as u64)
        }
        /// A MAC and a VLAN as one number.
        #[inline]
        fn link(mac: Option<Mac>, vlan: Option<u16>) -> u64 {
            let [a, b, c, d, e, f] = mac.unwrap_or_default();
            let [g, h] = vlan.map_or(0xffff, |vlan| vlan).to_ne_bytes();
            u64::from_ne_bytes([a, b, c, d, e, f, g, h])
        }
        let Secret([a, b, c, d]) = self.secret;
        let (src, dst) = (halves(packet.src()), halves(packet.dst()));
        let ports = u64::from(packet.src_port().unwrap_or_default())
            | u64::from(packet.dst_port().unwrap_or_default()) << 16;
        let label = packet.label();
        let kind = u64::from(packet.protocol().unwrap_or_default())
            | label.app.map_or(0xff, |app| app as u64) << 8
            | u64::from(tap) << 16;
        let ends = fold(src.0 ^ a, src.1 ^ b) ^ fold(dst.0 ^ c, dst.1 ^ d);
        let links =
            fold(link(packet.eth_src(), packet.vlan()) ^ b, link(packet.eth_dst(), packet.vlan_inner()) ^ c);
        let mut hash = ends.rotate_left(32) ^ links ^ fold(ports ^ d, kind ^ a);
        let stack = packet.encap();
        if !stack.is_empty() {
            let (src, dst) = (halves(packet.outer_src()), halves(packet.outer_dst()));
            let id = u64::from(packet.tunnel_id().unwrap_or_default());
            let outer = fold(src.0 ^ b, src.1 ^ d) ^ fold(dst.0 ^ a, dst.1 ^ c);
            hash ^= outer.rotate_left(16) ^ fold(stack.bits() ^ c, id ^ b);
        }
        for &label in packet.mpls().as_slice() {
            hash = fold(hash ^ a, u64::from(label) ^ d);
        }
        fold(hash ^ b, d | 1)
    }

    /// Asks for the memory in which the row of this hash will be looked for.
    #[inline]
    pub fn prefetch_index(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Asks for the row that probably has this hash; returns its number.
    #[inline]
    pub fn prefetch_row(&self, hash: u64) -> Option<u32> {
        let number = self.index.find(hash, |_| true)?;
        let flow = self.get(number)?;
        prefetch(&flow.key);
        prefetch(&flow.packets);
        Some(number)
    }

    /// Counts a packet seen on `tap`, whose [`hash`](Self::hash) is given; returns the number of its flow.
    #[inline]
    pub fn add(&mut self, packet: Packet<'_>, tap: u16, hash: u64, compared: bool, paths: &mut Paths) -> u32 {
        let is_it = |number| {
            self.get(number)
                .is_some_and(|flow| flow.key.is_of(packet) && paths.get(flow.key.path).is_of(packet, tap))
        };
        let found = self.index.find(hash, is_it);
        let number = found.unwrap_or_else(|| self.new_number(packet, tap, hash, paths));
        if let Some(flow) = self.all.get_mut(number as usize) {
            flow.add(packet, compared);
        }
        number
    }

    /// The number of a flow that is not in the table, or not with its own path and key.
    #[inline(never)]
    fn new_number(&mut self, packet: Packet<'_>, tap: u16, hash: u64, paths: &mut Paths) -> u32 {
        let path = Path::of(packet, tap);
        let number = paths.number(&path);
        let key = FlowKey::of(packet, number);
        let is_full = self.all.len() >= self.capacity;
        let shares_path = *paths.get(number) != path;
        if !is_full && !shares_path {
            return self.push(key, hash, packet.ts());
        }
        if shares_path && let Some(number) = self.find(&key) {
            return number;
        }
        if !is_full {
            return self.push(key, self.hash_of(&key), packet.ts());
        }
        self.overflow += 1;
        let key = if self.all.len() < 2 * self.capacity {
            FlowKey { path: number, label: key.label, ..FlowKey::default() }
        } else {
            FlowKey { path: paths.rest(tap), ..FlowKey::default() }
        };
        let hash = self.hash_of(&key);
        self.find(&key).unwrap_or_else(|| self.push(key, hash, packet.ts()))
    }

    fn push(&mut self, key: FlowKey, hash: u64, ts: i64) -> u32 {
        if self.all.is_empty() {
            // Pages that are not used yet take no memory, and rows that need not move take no time.
            let _ = self.all.try_reserve_exact(2 * self.capacity);
        }
        let number = self.all.len() as u32;
        self.all.push(Flow::new(key, ts));
        self.index.insert(hash, number);
        number
    }

    /// The hash of a key that is not that of one packet alone.
    fn hash_of(&self, key: &FlowKey) -> u64 {
        let Secret([a, b, c, d]) = self.secret;
        let label = key.label.app.map_or(0xff, |app| app as u64);
        fold(
            key.flow_id.unwrap_or_default() ^ a,
            u64::from(key.src_port) ^ u64::from(key.path) << 16 ^ label << 48 ^ b,
        ) ^ fold(c, d)
    }

    fn find(&self, key: &FlowKey) -> Option<u32> {
        let is_it = |number| self.get(number).is_some_and(|flow| flow.key == *key);
        self.index.find(self.hash_of(key), is_it)
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
        let path = |flow: &Flow| paths.get(flow.key.path);
        let has_ports = |flow: &Flow| matches!(flow.key.protocol, Some(6 | 17 | 132));
        let mut stacks = Stacks::default();
        let encaps = self.iter().map(|flow| stacks.key(path(flow).encap)).collect::<Vec<_>>();
        let names = |all: &[&str]| StringArray::from_iter_values(all);
        let mpls = || self.iter().map(|flow| path(flow).mpls.as_slice().len());
        let mpls = ListArray::try_new(
            Arc::new(Field::new("item", DataType::UInt32, false)),
            OffsetBuffer::from_lengths(mpls()),
            Arc::new(PrimitiveArray::<UInt32Type>::from_iter_values(
                self.iter().flat_map(|flow| path(flow).mpls.as_slice().iter().copied()),
            )),
            Some(NullBuffer::from_iter(mpls().map(|labels| labels > 0)))
                .filter(|nulls| nulls.null_count() > 0),
        )?;
        let frames = ListArray::try_new(
            Arc::new(Field::new("item", DataType::UInt64, false)),
            OffsetBuffer::from_lengths(self.iter().map(|flow| flow.frames().len())),
            Arc::new(UInt64Array::from_iter_values(
                self.iter().flat_map(|flow| flow.frames().iter().copied()),
            )),
            None,
        )?;
        let apps = App::ALL.iter().map(|app| app.name()).collect::<Vec<_>>();
        let traffic = Traffic::ALL.iter().map(|traffic| traffic.name()).collect::<Vec<_>>();
        let bases = Basis::ALL.iter().map(|basis| basis.name()).collect::<Vec<_>>();
        let count = |count: fn(&Flow) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(self.iter().map(count)))
        };
        let time = |ts: fn(&Flow) -> i64| -> ArrayRef {
            Arc::new(TimestampNanosecondArray::from_iter_values(self.iter().map(ts)).with_timezone("UTC"))
        };
        let arrays: Vec<ArrayRef> = vec![
            self.labels(StringArray::from_iter_values(taps), |flow| Some(path(flow).tap))?,
            self.fixed(|flow| path(flow).eth_src)?,
            self.fixed(|flow| path(flow).eth_dst)?,
            self.numbers::<UInt16Type>(|flow| path(flow).vlan),
            self.numbers::<UInt16Type>(|flow| path(flow).vlan_inner),
            Arc::new(mpls),
            Arc::new(DictionaryArray::<UInt16Type>::try_new(
                encaps.into_iter().collect(),
                Arc::new(stacks.names()),
            )?),
            self.fixed(|flow| path(flow).outer_src)?,
            self.fixed(|flow| path(flow).outer_dst)?,
            self.numbers::<UInt32Type>(|flow| path(flow).tunnel_id),
            self.numbers::<UInt8Type>(|flow| Some(flow.key.ip_version).filter(|&version| version != 0)),
            self.fixed(|flow| flow.key.src)?,
            self.fixed(|flow| flow.key.dst)?,
            self.numbers::<UInt8Type>(|flow| flow.key.protocol),
            self.numbers::<UInt16Type>(|flow| Some(flow.key.src_port).filter(|_| has_ports(flow))),
            self.numbers::<UInt16Type>(|flow| Some(flow.key.dst_port).filter(|_| has_ports(flow))),
            self.labels(names(&apps), |flow| flow.key.label.app.map(|app| app as u16))?,
            self.labels(names(&traffic), |flow| Some(flow.key.label.traffic() as u16))?,
            self.labels(names(&bases), |flow| flow.key.label.basis.map(|basis| basis as u16))?,
            self.numbers::<UInt64Type>(|flow| flow.key.flow_id),
            count(|flow| flow.packets),
            count(|flow| flow.weak),
            count(|flow| flow.bytes),
            time(|flow| flow.first_ts),
            time(|flow| flow.last_ts),
            Arc::new(frames),
        ];
        RecordBatch::try_new(flow_schema(), arrays)
    }

    fn numbers<T: ArrowPrimitiveType>(&self, value: impl Fn(&Flow) -> Option<T::Native>) -> ArrayRef {
        Arc::new(self.iter().map(value).collect::<PrimitiveArray<T>>())
    }

    fn fixed<const N: usize>(
        &self,
        value: impl Fn(&Flow) -> Option<[u8; N]>,
    ) -> Result<ArrayRef, ArrowError> {
        let values = self.iter().map(|flow| value(flow).unwrap_or([0; N])).collect::<Vec<_>>();
        let nulls = self.iter().map(|flow| value(flow).is_some()).collect::<NullBuffer>();
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        let len = values.len();
        let values = Buffer::from_vec(values.into_flattened());
        Ok(Arc::new(FixedSizeBinaryArray::try_new_with_len(N as i32, values, nulls, len)?))
    }

    fn labels(
        &self,
        names: StringArray,
        value: impl Fn(&Flow) -> Option<u16>,
    ) -> Result<ArrayRef, ArrowError> {
        let keys = self.iter().map(value).collect::<PrimitiveArray<UInt16Type>>();
        Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(names))?))
    }
}

/// The stacks of encapsulations that there are, as keys of a dictionary; those that it has no keys for share one.
#[derive(Default)]
struct Stacks {
    keys: HashMap<Stack, u16>,
    names: Vec<String>,
}

impl Stacks {
    fn key(&mut self, stack: Stack) -> Option<u16> {
        if stack.is_empty() {
            return None;
        }
        let names = &mut self.names;
        Some(*self.keys.entry(stack).or_insert_with(|| {
            match names.len().cmp(&usize::from(u16::MAX)) {
                Ordering::Less => names.push(stack.to_string()),
                Ordering::Equal => names.push("other".to_owned()),
                Ordering::Greater => {}
            }
            (names.len() - 1) as u16
        }))
    }

    fn names(&self) -> StringArray {
        StringArray::from_iter_values(&self.names)
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
        Field::new("packets", DataType::UInt64, false),
        Field::new("weak", DataType::UInt64, false),
        Field::new("bytes", DataType::UInt64, false),
        Field::new("first_ts", Column::Ts.data_type(), false),
        Field::new("last_ts", Column::Ts.data_type(), false),
        Field::new("frames", DataType::List(Arc::new(Field::new("item", DataType::UInt64, false))), false),
    ]);
    Arc::new(Schema::new(fields))
}
