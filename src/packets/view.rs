//! A record batch of packets, read back row by row: what later stages work from, be it fresh from a capture or from
//! last week's file.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrowPrimitiveType, DictionaryArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, RecordBatch,
};
use arrow_schema::ArrowError;

use super::column::Column;
use crate::classify::{App, Basis, Label};
use crate::dissect::{Labels, Mac, Stack};
use crate::wire::ip::Addr;

/// One row, as the stages behind the contract need it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Packet {
    /// Column `frame`.
    pub frame: u64,
    /// Column `ts`, nanoseconds UTC.
    pub ts: i64,
    /// Index into [`Packets::taps`].
    pub tap: u16,
    /// Column `cap_len`.
    pub cap_len: u32,
    /// Column `wire_len`.
    pub wire_len: u32,
    /// Column `eth_src`.
    pub eth_src: Option<Mac>,
    /// Column `eth_dst`.
    pub eth_dst: Option<Mac>,
    /// Column `vlan`.
    pub vlan: Option<u16>,
    /// Column `vlan_inner`.
    pub vlan_inner: Option<u16>,
    /// Column `mpls`.
    pub mpls: Labels,
    /// Column `encap`.
    pub encap: Stack,
    /// Column `outer_src`.
    pub outer_src: Option<Addr>,
    /// Column `outer_dst`.
    pub outer_dst: Option<Addr>,
    /// Column `tunnel_id`.
    pub tunnel_id: Option<u32>,
    /// Column `ip_version`; 0 for null.
    pub ip_version: u8,
    /// Column `src`.
    pub src: Option<Addr>,
    /// Column `dst`.
    pub dst: Option<Addr>,
    /// Column `ttl`; 0 for null.
    pub ttl: u8,
    /// Column `ip_id`.
    pub ip_id: Option<u32>,
    /// Column `protocol`.
    pub protocol: Option<u8>,
    /// Column `src_port`; 0 for null.
    pub src_port: u16,
    /// Column `dst_port`; 0 for null.
    pub dst_port: u16,
    /// Column `tcp_flags`; 0 for null.
    pub tcp_flags: u16,
    /// Columns `app` and `basis`.
    pub label: Label,
    /// Column `packet_id`.
    pub packet_id: Option<u64>,
    /// Column `payload_id`.
    pub payload_id: Option<u64>,
    /// Column `flow_id`.
    pub flow_id: Option<u64>,
    /// Whether column `issue` has a value.
    pub has_issue: bool,
}

/// The columns of a batch that [`Packet`] is read from.
#[derive(Debug)]
pub struct Packets<'a> {
    len: usize,
    frame: &'a PrimitiveArray<UInt64Type>,
    ts: &'a PrimitiveArray<TimestampNanosecondType>,
    tap: &'a DictionaryArray<UInt16Type>,
    cap_len: &'a PrimitiveArray<UInt32Type>,
    wire_len: &'a PrimitiveArray<UInt32Type>,
    eth_src: &'a FixedSizeBinaryArray,
    eth_dst: &'a FixedSizeBinaryArray,
    vlan: &'a PrimitiveArray<UInt16Type>,
    vlan_inner: &'a PrimitiveArray<UInt16Type>,
    mpls: &'a ListArray,
    mpls_items: &'a PrimitiveArray<UInt32Type>,
    encap: &'a DictionaryArray<UInt16Type>,
    outer_src: &'a FixedSizeBinaryArray,
    outer_dst: &'a FixedSizeBinaryArray,
    tunnel_id: &'a PrimitiveArray<UInt32Type>,
    ip_version: &'a PrimitiveArray<UInt8Type>,
    src: &'a FixedSizeBinaryArray,
    dst: &'a FixedSizeBinaryArray,
    ttl: &'a PrimitiveArray<UInt8Type>,
    ip_id: &'a PrimitiveArray<UInt32Type>,
    protocol: &'a PrimitiveArray<UInt8Type>,
    src_port: &'a PrimitiveArray<UInt16Type>,
    dst_port: &'a PrimitiveArray<UInt16Type>,
    tcp_flags: &'a PrimitiveArray<UInt16Type>,
    app: &'a DictionaryArray<UInt8Type>,
    basis: &'a DictionaryArray<UInt8Type>,
    packet_id: &'a PrimitiveArray<UInt64Type>,
    payload_id: &'a PrimitiveArray<UInt64Type>,
    flow_id: &'a PrimitiveArray<UInt64Type>,
    issue: &'a DictionaryArray<UInt16Type>,
    taps: Vec<&'a str>,
    encaps: Vec<Stack>,
    apps: Vec<Option<App>>,
    bases: Vec<Option<Basis>>,
}

fn column(batch: &RecordBatch, column: Column) -> Result<&dyn Array, ArrowError> {
    let array = batch.column_by_name(column.name()).ok_or_else(|| {
        ArrowError::SchemaError(format!("column {:?} is needed and missing", column.name()))
    })?;
    let (found, expected) = (array.data_type(), column.data_type());
    if *found != expected {
        let name = column.name();
        return Err(ArrowError::SchemaError(format!("column {name:?} is {found}, and should be {expected}")));
    }
    Ok(array)
}

fn names<K: ArrowDictionaryKeyType>(array: &DictionaryArray<K>) -> Result<Vec<&str>, ArrowError> {
    let names = array
        .values()
        .as_string_opt::<i32>()
        .ok_or_else(|| ArrowError::SchemaError("a label column whose labels are not text".into()))?;
    Ok(names.iter().map(Option::unwrap_or_default).collect())
}

#[inline]
fn value<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    if array.is_null(row) { None } else { array.values().get(row).copied() }
}

#[inline]
fn bytes<const N: usize>(array: &FixedSizeBinaryArray, row: usize) -> Option<[u8; N]> {
    if array.is_null(row) { None } else { array.value(row).try_into().ok() }
}

#[inline]
fn label<K: ArrowDictionaryKeyType, T: Copy>(
    array: &DictionaryArray<K>,
    labels: &[T],
    row: usize,
) -> Option<T>
where
    K::Native: Into<usize>,
{
    labels.get(value(array.keys(), row)?.into()).copied()
}

impl<'a> Packets<'a> {
    /// The columns that [`Packets`] reads.
    pub const COLUMNS: [Column; 29] = [
        Column::Frame,
        Column::Ts,
        Column::Tap,
        Column::CapLen,
        Column::WireLen,
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
        Column::Ttl,
        Column::IpId,
        Column::Protocol,
        Column::SrcPort,
        Column::DstPort,
        Column::TcpFlags,
        Column::App,
        Column::Basis,
        Column::PacketId,
        Column::PayloadId,
        Column::FlowId,
        Column::Issue,
    ];

    /// A view of `batch`, which must have [`Packets::COLUMNS`] with the types of the contract.
    pub fn new(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let get = |name| column(batch, name);
        let mpls = get(Column::Mpls)?.as_list::<i32>();
        let tap = get(Column::Tap)?.as_dictionary::<UInt16Type>();
        let encap = get(Column::Encap)?.as_dictionary::<UInt16Type>();
        let app = get(Column::App)?.as_dictionary::<UInt8Type>();
        let basis = get(Column::Basis)?.as_dictionary::<UInt8Type>();
        Ok(Self {
            len: batch.num_rows(),
            frame: get(Column::Frame)?.as_primitive(),
            ts: get(Column::Ts)?.as_primitive(),
            cap_len: get(Column::CapLen)?.as_primitive(),
            wire_len: get(Column::WireLen)?.as_primitive(),
            eth_src: get(Column::EthSrc)?.as_fixed_size_binary(),
            eth_dst: get(Column::EthDst)?.as_fixed_size_binary(),
            vlan: get(Column::Vlan)?.as_primitive(),
            vlan_inner: get(Column::VlanInner)?.as_primitive(),
            mpls,
            mpls_items: mpls.values().as_primitive(),
            outer_src: get(Column::OuterSrc)?.as_fixed_size_binary(),
            outer_dst: get(Column::OuterDst)?.as_fixed_size_binary(),
            tunnel_id: get(Column::TunnelId)?.as_primitive(),
            ip_version: get(Column::IpVersion)?.as_primitive(),
            src: get(Column::Src)?.as_fixed_size_binary(),
            dst: get(Column::Dst)?.as_fixed_size_binary(),
            ttl: get(Column::Ttl)?.as_primitive(),
            ip_id: get(Column::IpId)?.as_primitive(),
            protocol: get(Column::Protocol)?.as_primitive(),
            src_port: get(Column::SrcPort)?.as_primitive(),
            dst_port: get(Column::DstPort)?.as_primitive(),
            tcp_flags: get(Column::TcpFlags)?.as_primitive(),
            packet_id: get(Column::PacketId)?.as_primitive(),
            payload_id: get(Column::PayloadId)?.as_primitive(),
            flow_id: get(Column::FlowId)?.as_primitive(),
            issue: get(Column::Issue)?.as_dictionary(),
            taps: names(tap)?,
            encaps: names(encap)?
                .into_iter()
                .map(|name| Stack::from_name(name).unwrap_or_default())
                .collect(),
            apps: names(app)?.into_iter().map(App::from_name).collect(),
            bases: names(basis)?.into_iter().map(Basis::from_name).collect(),
            tap,
            encap,
            app,
            basis,
        })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The names that [`Packet::tap`] indexes.
    pub fn taps(&self) -> &[&'a str] {
        &self.taps
    }

    /// Capture time of a row.
    #[inline]
    pub fn ts(&self, row: usize) -> Option<i64> {
        self.ts.values().get(row).copied()
    }

    /// A row; `None` behind the last one.
    #[inline]
    pub fn get(&self, row: usize) -> Option<Packet> {
        if row >= self.len {
            return None;
        }
        let mut mpls = Labels::default();
        if !self.mpls.is_null(row) {
            let ends = self.mpls.value_offsets();
            let (from, to) = (*ends.get(row)? as usize, *ends.get(row + 1)? as usize);
            self.mpls_items.values().get(from..to)?.iter().for_each(|&label| mpls.push(label));
        }
        Some(Packet {
            frame: value(self.frame, row)?,
            ts: value(self.ts, row)?,
            tap: value(self.tap.keys(), row)?,
            cap_len: value(self.cap_len, row)?,
            wire_len: value(self.wire_len, row)?,
            eth_src: bytes(self.eth_src, row),
            eth_dst: bytes(self.eth_dst, row),
            vlan: value(self.vlan, row),
            vlan_inner: value(self.vlan_inner, row),
            mpls,
            encap: label(self.encap, &self.encaps, row).unwrap_or_default(),
            outer_src: bytes(self.outer_src, row),
            outer_dst: bytes(self.outer_dst, row),
            tunnel_id: value(self.tunnel_id, row),
            ip_version: value(self.ip_version, row).unwrap_or_default(),
            src: bytes(self.src, row),
            dst: bytes(self.dst, row),
            ttl: value(self.ttl, row).unwrap_or_default(),
            ip_id: value(self.ip_id, row),
            protocol: value(self.protocol, row),
            src_port: value(self.src_port, row).unwrap_or_default(),
            dst_port: value(self.dst_port, row).unwrap_or_default(),
            tcp_flags: value(self.tcp_flags, row).unwrap_or_default(),
            label: Label {
                app: label(self.app, &self.apps, row).flatten(),
                basis: label(self.basis, &self.bases, row).flatten(),
            },
            packet_id: value(self.packet_id, row),
            payload_id: value(self.payload_id, row),
            flow_id: value(self.flow_id, row),
            has_issue: !self.issue.is_null(row),
        })
    }
}
