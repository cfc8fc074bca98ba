//! The flow table.

use std::sync::Arc;

use arrow_array::builder::{
    FixedSizeBinaryBuilder, ListBuilder, StringDictionaryBuilder, UInt8Builder, UInt16Builder, UInt32Builder,
    UInt64Builder,
};
use arrow_array::types::UInt16Type;
use arrow_array::{ArrayRef, RecordBatch, TimestampNanosecondArray, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use hashbrown::HashMap;

use super::path::{PathId, Paths};
use crate::classify::{App, Basis, Label};
use crate::packets::{Column, Packet, ids};
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

/// One row: a direction of a conversation on one path, under one label.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// What tells it from others.
    pub key: FlowKey,
    /// Packets.
    pub packets: u64,
    /// Packets that were too weak or too short to be told from others.
    pub weak: u64,
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

    /// Numbers of its first frames.
    pub fn frames(&self) -> &[u64] {
        self.frames.get(..self.packets.min(Self::FRAMES as u64) as usize).unwrap_or_default()
    }
}

/// Flows, numbered as they appear. Bounded: beyond `capacity` rows, packets are counted by path and label only.
#[derive(Debug)]
pub struct Flows {
    all: Vec<Flow>,
    numbers: HashMap<FlowKey, u32>,
    last: Option<(FlowKey, u32)>,
    capacity: usize,
    overflow: u64,
}

impl Flows {
    /// An empty table of at most `capacity` conversations.
    pub fn new(capacity: usize) -> Self {
        Self { all: Vec::new(), numbers: HashMap::new(), last: None, capacity, overflow: 0 }
    }

    /// Counts a packet; returns the number of its flow.
    #[inline]
    pub fn add(&mut self, path: PathId, packet: &Packet) -> u32 {
        let key = FlowKey {
            path,
            ip_version: packet.ip_version,
            src: packet.src,
            dst: packet.dst,
            protocol: packet.protocol,
            src_port: packet.src_port,
            dst_port: packet.dst_port,
            flow_id: packet.flow_id,
            label: packet.label,
        };
        let number = match self.last {
            Some((last, number)) if last == key => number,
            _ => {
                let number = self.number(key, packet);
                self.last = Some((key, number));
                number
            }
        };
        if let Some(flow) = self.all.get_mut(number as usize) {
            if let Some(slot) = flow.frames.get_mut(flow.packets as usize) {
                *slot = packet.frame;
            }
            flow.packets += 1;
            flow.weak += u64::from(!packet.packet_id.is_some_and(ids::is_strong));
            flow.bytes += u64::from(packet.wire_len);
            flow.first_ts = flow.first_ts.min(packet.ts);
            flow.last_ts = flow.last_ts.max(packet.ts);
        }
        number
    }

    fn number(&mut self, mut key: FlowKey, packet: &Packet) -> u32 {
        if let Some(&number) = self.numbers.get(&key) {
            return number;
        }
        if self.all.len() >= self.capacity {
            self.overflow += 1;
            key = FlowKey { path: key.path, label: key.label, ..FlowKey::default() };
        }
        let all = &mut self.all;
        *self.numbers.entry(key).or_insert_with(|| {
            let (first_ts, last_ts) = (packet.ts, packet.ts);
            all.push(Flow {
                key,
                packets: 0,
                weak: 0,
                bytes: 0,
                first_ts,
                last_ts,
                frames: [0; Flow::FRAMES],
            });
            all.len() as u32 - 1
        })
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

    /// How often a conversation was met that found no room.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// The table, [`flow_schema`]. `taps` are the names that [`Path::tap`](super::Path) indexes.
    pub fn to_batch(&self, paths: &Paths, taps: &[String]) -> Result<RecordBatch, ArrowError> {
        let n = self.all.len();
        let label = || StringDictionaryBuilder::<UInt16Type>::new();
        let address = || FixedSizeBinaryBuilder::with_capacity(n, 16);
        let mac = || FixedSizeBinaryBuilder::with_capacity(n, 6);
        let (mut tap, mut encap, mut app, mut traffic, mut basis) =
            (label(), label(), label(), label(), label());
        let (mut eth_src, mut eth_dst) = (mac(), mac());
        let (mut outer_src, mut outer_dst, mut src, mut dst) = (address(), address(), address(), address());
        let (mut vlan, mut vlan_inner) = (UInt16Builder::new(), UInt16Builder::new());
        let (mut src_port, mut dst_port) = (UInt16Builder::new(), UInt16Builder::new());
        let mut mpls =
            ListBuilder::new(UInt32Builder::new()).with_field(Field::new("item", DataType::UInt32, false));
        let mut frames =
            ListBuilder::new(UInt64Builder::new()).with_field(Field::new("item", DataType::UInt64, false));
        let (mut tunnel_id, mut flow_id) = (UInt32Builder::new(), UInt64Builder::new());
        let (mut ip_version, mut protocol) = (UInt8Builder::new(), UInt8Builder::new());
        for flow in &self.all {
            let (key, path) = (&flow.key, paths.get(flow.key.path));
            tap.append_value(taps.get(usize::from(path.tap)).map_or("", String::as_str));
            append_fixed(&mut eth_src, path.eth_src)?;
            append_fixed(&mut eth_dst, path.eth_dst)?;
            vlan.append_option(path.vlan);
            vlan_inner.append_option(path.vlan_inner);
            let labels = path.mpls.as_slice();
            mpls.values().append_slice(labels);
            mpls.append(!labels.is_empty());
            encap.append_option((!path.encap.is_empty()).then(|| path.encap.to_string()));
            append_fixed(&mut outer_src, path.outer_src)?;
            append_fixed(&mut outer_dst, path.outer_dst)?;
            tunnel_id.append_option(path.tunnel_id);
            ip_version.append_option(Some(key.ip_version).filter(|&version| version != 0));
            append_fixed(&mut src, key.src)?;
            append_fixed(&mut dst, key.dst)?;
            protocol.append_option(key.protocol);
            let has_ports = matches!(key.protocol, Some(6 | 17 | 132));
            src_port.append_option(Some(key.src_port).filter(|_| has_ports));
            dst_port.append_option(Some(key.dst_port).filter(|_| has_ports));
            app.append_option(key.label.app.map(App::name));
            traffic.append_value(key.label.traffic().name());
            basis.append_option(key.label.basis.map(Basis::name));
            flow_id.append_option(key.flow_id);
            frames.values().append_slice(flow.frames());
            frames.append(true);
        }
        let time = |ts: fn(&Flow) -> i64| -> ArrayRef {
            Arc::new(TimestampNanosecondArray::from_iter_values(self.all.iter().map(ts)).with_timezone("UTC"))
        };
        let count = |count: fn(&Flow) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(self.all.iter().map(count)))
        };
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(tap.finish()),
            Arc::new(eth_src.finish()),
            Arc::new(eth_dst.finish()),
            Arc::new(vlan.finish()),
            Arc::new(vlan_inner.finish()),
            Arc::new(mpls.finish()),
            Arc::new(encap.finish()),
            Arc::new(outer_src.finish()),
            Arc::new(outer_dst.finish()),
            Arc::new(tunnel_id.finish()),
            Arc::new(ip_version.finish()),
            Arc::new(src.finish()),
            Arc::new(dst.finish()),
            Arc::new(protocol.finish()),
            Arc::new(src_port.finish()),
            Arc::new(dst_port.finish()),
            Arc::new(app.finish()),
            Arc::new(traffic.finish()),
            Arc::new(basis.finish()),
            Arc::new(flow_id.finish()),
            count(|flow| flow.packets),
            count(|flow| flow.weak),
            count(|flow| flow.bytes),
            time(|flow| flow.first_ts),
            time(|flow| flow.last_ts),
            Arc::new(frames.finish()),
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
        Field::new("packets", DataType::UInt64, false),
        Field::new("weak", DataType::UInt64, false),
        Field::new("bytes", DataType::UInt64, false),
        Field::new("first_ts", Column::Ts.data_type(), false),
        Field::new("last_ts", Column::Ts.data_type(), false),
        Field::new("frames", DataType::List(Arc::new(Field::new("item", DataType::UInt64, false))), false),
    ]);
    Arc::new(Schema::new(fields))
}
