//! A record batch of packets, read back row by row: what later stages work from, be it fresh from a capture or from
//! last week's file.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrowPrimitiveType, DictionaryArray, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_schema::ArrowError;

use super::column::Column;
use crate::classify::{App, Basis, Label};
use crate::dissect::{Labels, Mac, Stack};
use crate::prefetch::{LINE, prefetch};
use crate::wire::ip::Addr;

/// A column whose rows may have no value.
#[derive(Debug)]
struct Nullable<'a, T> {
    /// Empty if no row has a value.
    values: &'a [T],
    /// A bit a row and where the bits begin, unless all rows have a value.
    valid: Option<(&'a [u8], usize)>,
}

impl<T> Nullable<'_, T> {
    /// Of no rows, so that none has a value.
    const NONE: Self = Self { values: &[], valid: None };
}

impl<'a, T: Copy> Nullable<'a, T> {
    fn new(values: &'a [T], nulls: Option<&'a NullBuffer>) -> Self {
        match nulls.filter(|nulls| nulls.null_count() > 0) {
            None => Self { values, valid: None },
            Some(nulls) if nulls.null_count() == values.len() => Self::NONE,
            Some(nulls) => Self { values, valid: Some((nulls.validity(), nulls.offset())) },
        }
    }

    #[inline]
    fn get(&self, row: usize) -> Option<T> {
        let value = *self.values.get(row)?;
        let Some((bits, from)) = self.valid else { return Some(value) };
        let bit = from + row;
        (bits.get(bit / 8)? >> (bit % 8) & 1 == 1).then_some(value)
    }
}

/// The columns of a batch that [`Packet`] is read from.
#[derive(Debug)]
pub struct Packets<'a> {
    len: usize,
    frame: &'a [u64],
    ts: &'a [i64],
    tap: &'a [u16],
    cap_len: &'a [u32],
    wire_len: &'a [u32],
    eth_src: Nullable<'a, Mac>,
    eth_dst: Nullable<'a, Mac>,
    vlan: Nullable<'a, u16>,
    vlan_inner: Nullable<'a, u16>,
    mpls: Nullable<'a, i32>,
    mpls_ends: &'a [i32],
    mpls_items: &'a [u32],
    ethertype: Nullable<'a, u16>,
    encap: Nullable<'a, u16>,
    outer_src: Nullable<'a, Addr>,
    outer_dst: Nullable<'a, Addr>,
    tunnel_id: Nullable<'a, u32>,
    ip_version: Nullable<'a, u8>,
    src: Nullable<'a, Addr>,
    dst: Nullable<'a, Addr>,
    ttl: Nullable<'a, u8>,
    tos: Nullable<'a, u8>,
    ip_id: Nullable<'a, u32>,
    protocol: Nullable<'a, u8>,
    src_port: Nullable<'a, u16>,
    dst_port: Nullable<'a, u16>,
    tcp_flags: Nullable<'a, u16>,
    tcp_seq: Nullable<'a, u32>,
    tcp_ack: Nullable<'a, u32>,
    tcp_window: Nullable<'a, u16>,
    payload_len: Nullable<'a, u32>,
    app: Nullable<'a, u8>,
    basis: Nullable<'a, u8>,
    packet_id: Nullable<'a, u64>,
    payload_id: Nullable<'a, u64>,
    flow_id: Nullable<'a, u64>,
    payload_head: Nullable<'a, u64>,
    issue: Nullable<'a, u16>,
    /// Whether any row may be encapsulated or labelled.
    has_tunnels: bool,
    taps: Vec<&'a str>,
    encaps: Vec<Stack>,
    apps: Vec<Option<App>>,
    bases: Vec<Option<Basis>>,
}

/// The columns of a batch that are to be read.
#[derive(Clone, Copy)]
struct Of<'a, 'c> {
    batch: &'a RecordBatch,
    wanted: &'c [Column],
}

impl<'a> Of<'a, '_> {
    /// The column, if it is wanted.
    fn column(self, column: Column) -> Result<Option<&'a dyn Array>, ArrowError> {
        if !self.wanted.contains(&column) {
            return Ok(None);
        }
        let name = column.name();
        let array = self
            .batch
            .column_by_name(name)
            .ok_or_else(|| ArrowError::SchemaError(format!("column {name:?} is needed and missing")))?;
        let (found, expected) = (array.data_type(), column.data_type());
        if *found != expected {
            return Err(ArrowError::SchemaError(format!(
                "column {name:?} is {found}, and should be {expected}"
            )));
        }
        if !column.nullable() && array.null_count() > 0 {
            return Err(ArrowError::SchemaError(format!("column {name:?} has rows without a value")));
        }
        Ok(Some(array))
    }

    fn numbers<T: ArrowPrimitiveType>(self, name: Column) -> Result<Nullable<'a, T::Native>, ArrowError> {
        let Some(array) = self.column(name)? else { return Ok(Nullable::NONE) };
        Ok(Nullable::new(array.as_primitive::<T>().values(), array.nulls()))
    }

    fn fixed<const N: usize>(self, name: Column) -> Result<Nullable<'a, [u8; N]>, ArrowError> {
        let Some(array) = self.column(name)? else { return Ok(Nullable::NONE) };
        Ok(Nullable::new(array.as_fixed_size_binary().value_data().as_chunks().0, array.nulls()))
    }

    /// Numbers of labels, and the labels.
    fn labels<K: ArrowDictionaryKeyType>(
        self,
        name: Column,
    ) -> Result<(Nullable<'a, K::Native>, Vec<&'a str>), ArrowError> {
        let Some(array) = self.column(name)? else { return Ok((Nullable::NONE, Vec::new())) };
        let array = array.as_dictionary::<K>();
        Ok((Nullable::new(array.keys().values(), array.nulls()), names(array)?))
    }
}

fn names<K: ArrowDictionaryKeyType>(array: &DictionaryArray<K>) -> Result<Vec<&str>, ArrowError> {
    let names = array
        .values()
        .as_string_opt::<i32>()
        .ok_or_else(|| ArrowError::SchemaError("a label column whose labels are not text".into()))?;
    Ok(names.iter().map(Option::unwrap_or_default).collect())
}

/// Asks for the memory of the values of some rows.
fn prefetch_rows<T>(values: &[T], row: usize) {
    let each_line = (LINE / size_of::<T>()).max(1);
    values.get(row..).unwrap_or_default().iter().take(Packets::AHEAD).step_by(each_line).for_each(prefetch);
}

impl<'a> Packets<'a> {
    /// How many rows are asked for at once.
    pub const AHEAD: usize = 32;

    /// The columns that [`Packets`] reads.
    pub const COLUMNS: [Column; 35] = [
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
        Column::Tos,
        Column::IpId,
        Column::Protocol,
        Column::SrcPort,
        Column::DstPort,
        Column::TcpFlags,
        Column::TcpSeq,
        Column::TcpAck,
        Column::TcpWindow,
        Column::PayloadLen,
        Column::App,
        Column::Basis,
        Column::PacketId,
        Column::PayloadId,
        Column::FlowId,
        Column::PayloadHead,
        Column::Issue,
    ];

    /// A view of `batch`, which must have [`Packets::COLUMNS`] with the types of the contract.
    pub fn new(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        Self::with(batch, &Self::COLUMNS)
    }

    /// A view of these columns of `batch`; rows have no values of others.
    pub fn with(batch: &'a RecordBatch, wanted: &[Column]) -> Result<Self, ArrowError> {
        let of = Of { batch, wanted };
        let mut has_tunnels = false;
        for name in [Column::Mpls, Column::Encap, Column::OuterSrc, Column::OuterDst, Column::TunnelId] {
            has_tunnels |= of.column(name)?.is_some_and(|array| array.null_count() < batch.num_rows());
        }
        let mpls = of.column(Column::Mpls)?.map(AsArray::as_list::<i32>);
        let (tap, taps) = of.labels::<UInt16Type>(Column::Tap)?;
        let (encap, encaps) = of.labels::<UInt16Type>(Column::Encap)?;
        let (app, apps) = of.labels::<UInt8Type>(Column::App)?;
        let (basis, bases) = of.labels::<UInt8Type>(Column::Basis)?;
        let (issue, _) = of.labels::<UInt16Type>(Column::Issue)?;
        Ok(Self {
            len: batch.num_rows(),
            has_tunnels,
            frame: of.numbers::<UInt64Type>(Column::Frame)?.values,
            ts: of.numbers::<TimestampNanosecondType>(Column::Ts)?.values,
            tap: tap.values,
            cap_len: of.numbers::<UInt32Type>(Column::CapLen)?.values,
            wire_len: of.numbers::<UInt32Type>(Column::WireLen)?.values,
            eth_src: of.fixed(Column::EthSrc)?,
            eth_dst: of.fixed(Column::EthDst)?,
            vlan: of.numbers::<UInt16Type>(Column::Vlan)?,
            vlan_inner: of.numbers::<UInt16Type>(Column::VlanInner)?,
            // Where each row's labels begin; the last one ends where the row behind it would begin.
            mpls: mpls.map_or(Nullable::NONE, |mpls| {
                Nullable::new(mpls.value_offsets().get(..mpls.len()).unwrap_or_default(), mpls.nulls())
            }),
            mpls_ends: mpls.and_then(|mpls| mpls.value_offsets().get(1..)).unwrap_or_default(),
            mpls_items: mpls.map_or(&[], |mpls| mpls.values().as_primitive::<UInt32Type>().values()),
            ethertype: of.numbers::<UInt16Type>(Column::Ethertype)?,
            encap,
            outer_src: of.fixed(Column::OuterSrc)?,
            outer_dst: of.fixed(Column::OuterDst)?,
            tunnel_id: of.numbers::<UInt32Type>(Column::TunnelId)?,
            ip_version: of.numbers::<UInt8Type>(Column::IpVersion)?,
            src: of.fixed(Column::Src)?,
            dst: of.fixed(Column::Dst)?,
            ttl: of.numbers::<UInt8Type>(Column::Ttl)?,
            tos: of.numbers::<UInt8Type>(Column::Tos)?,
            ip_id: of.numbers::<UInt32Type>(Column::IpId)?,
            protocol: of.numbers::<UInt8Type>(Column::Protocol)?,
            src_port: of.numbers::<UInt16Type>(Column::SrcPort)?,
            dst_port: of.numbers::<UInt16Type>(Column::DstPort)?,
            tcp_flags: of.numbers::<UInt16Type>(Column::TcpFlags)?,
            tcp_seq: of.numbers::<UInt32Type>(Column::TcpSeq)?,
            tcp_ack: of.numbers::<UInt32Type>(Column::TcpAck)?,
            tcp_window: of.numbers::<UInt16Type>(Column::TcpWindow)?,
            payload_len: of.numbers::<UInt32Type>(Column::PayloadLen)?,
            app,
            basis,
            packet_id: of.numbers::<UInt64Type>(Column::PacketId)?,
            payload_id: of.numbers::<UInt64Type>(Column::PayloadId)?,
            flow_id: of.numbers::<UInt64Type>(Column::FlowId)?,
            payload_head: of.numbers::<UInt64Type>(Column::PayloadHead)?,
            issue,
            taps,
            encaps: encaps.into_iter().map(|name| Stack::from_name(name).unwrap_or_default()).collect(),
            apps: apps.into_iter().map(App::from_name).collect(),
            bases: bases.into_iter().map(Basis::from_name).collect(),
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

    /// Asks for the memory of [`Self::AHEAD`] rows from this one on, which will be read some hundred instructions later: there are more
    /// columns than a processor reads ahead by itself, and another one may have written them.
    pub fn prefetch(&self, row: usize) {
        macro_rules! columns {
            ($($always:ident)+; $($nullable:ident)+) => { $(prefetch_rows(self.$always, row);)+ $(prefetch_rows(self.$nullable.values, row);)+ };
        }
        columns! {
            frame ts tap cap_len wire_len mpls_ends;
            eth_src eth_dst vlan vlan_inner mpls ethertype encap outer_src outer_dst tunnel_id ip_version src dst ttl tos ip_id
            protocol src_port dst_port tcp_flags tcp_seq tcp_ack tcp_window payload_len app basis packet_id payload_id flow_id
            payload_head issue
        }
    }

    /// Capture time of a row.
    #[inline]
    pub fn ts(&self, row: usize) -> Option<i64> {
        self.ts.get(row).copied()
    }

    /// A row; `None` behind the last one.
    #[inline]
    pub fn get(&self, row: usize) -> Option<Packet<'_>> {
        (row < self.len).then_some(Packet { packets: self, row })
    }
}

/// One row, as the stages behind the contract need it. A column is read when it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    packets: &'a Packets<'a>,
    row: usize,
}

macro_rules! values {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)+) => { $(
        $(#[$doc])*
        #[inline]
        pub fn $name(self) -> $type {
            self.packets.$name.get(self.row).copied().unwrap_or_default()
        }
    )+ };
}

macro_rules! nullable {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)+) => { $(
        $(#[$doc])*
        #[inline]
        pub fn $name(self) -> Option<$type> {
            self.packets.$name.get(self.row)
        }
    )+ };
}

impl Packet<'_> {
    values! {
        /// Column `frame`.
        frame: u64;
        /// Column `ts`, nanoseconds UTC.
        ts: i64;
        /// Index into [`Packets::taps`].
        tap: u16;
        /// Column `cap_len`.
        cap_len: u32;
        /// Column `wire_len`.
        wire_len: u32;
    }

    nullable! {
        /// Column `eth_src`.
        eth_src: Mac;
        /// Column `eth_dst`.
        eth_dst: Mac;
        /// Column `vlan`.
        vlan: u16;
        /// Column `vlan_inner`.
        vlan_inner: u16;
        /// Column `ethertype`.
        ethertype: u16;
        /// Column `outer_src`.
        outer_src: Addr;
        /// Column `outer_dst`.
        outer_dst: Addr;
        /// Column `tunnel_id`.
        tunnel_id: u32;
        /// Column `ip_version`.
        ip_version: u8;
        /// Column `src`.
        src: Addr;
        /// Column `dst`.
        dst: Addr;
        /// Column `ttl`.
        ttl: u8;
        /// Column `tos`.
        tos: u8;
        /// Column `ip_id`.
        ip_id: u32;
        /// Column `protocol`.
        protocol: u8;
        /// Column `src_port`.
        src_port: u16;
        /// Column `dst_port`.
        dst_port: u16;
        /// Column `tcp_flags`.
        tcp_flags: u16;
        /// Column `tcp_seq`.
        tcp_seq: u32;
        /// Column `tcp_ack`.
        tcp_ack: u32;
        /// Column `tcp_window`.
        tcp_window: u16;
        /// Column `payload_len`.
        payload_len: u32;
        /// Column `packet_id`.
        packet_id: u64;
        /// Column `payload_id`.
        payload_id: u64;
        /// Column `flow_id`.
        flow_id: u64;
        /// Column `payload_head`.
        payload_head: u64;
    }

    /// Column `mpls`, as many labels as [`Labels`] keeps; empty for null.
    #[inline]
    pub fn mpls(self) -> Labels {
        let mut labels = Labels::default();
        let ends = self.packets.mpls.get(self.row).zip(self.packets.mpls_ends.get(self.row));
        if let Some(kept) =
            ends.and_then(|(from, &to)| self.packets.mpls_items.get(from as usize..to as usize))
        {
            for &label in kept {
                labels.push(label);
            }
        }
        labels
    }

    /// Whether `encap`, `outer_src`, `outer_dst`, `tunnel_id` or `mpls` has a value.
    #[inline]
    pub fn is_encapsulated_or_labelled(self) -> bool {
        self.packets.has_tunnels
            && (!self.encap().is_empty()
                || self.packets.mpls.get(self.row).is_some()
                || self.outer_src().is_some()
                || self.outer_dst().is_some()
                || self.tunnel_id().is_some())
    }

    /// Whether the capture kept only a part of it.
    #[inline]
    pub fn is_cut(self) -> bool {
        self.cap_len() < self.wire_len()
    }

    /// Column `encap`; empty for null.
    #[inline]
    pub fn encap(self) -> Stack {
        let key = self.packets.encap.get(self.row);
        key.and_then(|key| self.packets.encaps.get(usize::from(key))).copied().unwrap_or_default()
    }

    /// Columns `app` and `basis`.
    #[inline]
    pub fn label(self) -> Label {
        fn of<T: Copy>(labels: &[Option<T>], key: Option<u8>) -> Option<T> {
            labels.get(usize::from(key?)).copied().flatten()
        }
        Label {
            app: of(&self.packets.apps, self.packets.app.get(self.row)),
            basis: of(&self.packets.bases, self.packets.basis.get(self.row)),
        }
    }

    /// Whether column `issue` has a value.
    #[inline]
    pub fn has_issue(self) -> bool {
        self.packets.issue.get(self.row).is_some()
    }
}
