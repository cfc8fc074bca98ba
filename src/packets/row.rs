//! Frames as rows, before they go into columns: one at a time, and [`CHUNK`] of them with the values of a column side by side.

use serde::{Deserialize, Serialize};

use super::column::Column;
use super::ids::Ids;
use crate::capture::Record;
use crate::classify::Label;
use crate::dissect::{Labels, Layers, Mac, Stack, Transport};
use crate::wire::ip::{Addr, Fragment};
use crate::wire::{Issue, Reason};

/// How many rows a chunk has: the bits of a validity word.
pub const CHUNK: usize = 64;

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident: $type:ty, $column:ident;)+) => {
        /// The values of a row. What a null is, `valid` says, and its value is 0.
        #[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
        pub struct Row {
            /// A bit a [`Column`]: whether the row has a value there.
            pub valid: u64,
            $($(#[$doc])* pub $name: $type,)+
        }

        /// Rows, the values of each column side by side, so that a column is filled from all of them with one copy.
        #[derive(Debug)]
        pub struct Chunk {
            /// As [`Row::valid`].
            pub valid: [u64; CHUNK],
            /// A bit a column: whether values of rows that are gone are left in it, be it null now or not.
            stale: u64,
            $(pub $name: [$type; CHUNK],)+
        }

        /// Where the values of a row go.
        pub trait Cells {
            /// As [`Row::valid`].
            fn valid(&mut self) -> &mut u64;
            $(fn $name(&mut self) -> &mut $type;)+
        }

        impl Cells for Row {
            #[inline(always)]
            fn valid(&mut self) -> &mut u64 {
                &mut self.valid
            }
            $(#[inline(always)] fn $name(&mut self) -> &mut $type {
                &mut self.$name
            })+
        }

        /// A row of a chunk.
        pub struct Slot<'a> {
            chunk: &'a mut Chunk,
            at: usize,
            /// What [`Slot::done`] makes its word in [`Chunk::valid`].
            valid: u64,
        }

        #[expect(clippy::indexing_slicing, reason = "a remainder is less than what it is one of")]
        impl Cells for Slot<'_> {
            #[inline(always)]
            fn valid(&mut self) -> &mut u64 {
                &mut self.valid
            }
            $(#[inline(always)] fn $name(&mut self) -> &mut $type {
                &mut self.chunk.$name[self.at % CHUNK]
            })+
        }

        impl Slot<'_> {
            /// Where it is in its chunk.
            #[inline(always)]
            pub fn at(&self) -> usize {
                self.at
            }

            /// The row so far.
            #[inline(always)]
            pub fn row(&self) -> Row {
                self.chunk.row(self.at, self.valid)
            }

            /// Makes the row null again.
            #[inline(always)]
            pub fn clear(self) {
                self.chunk.clear_row(self.at);
            }
        }

        impl Chunk {
            /// A chunk of nulls.
            pub fn new() -> Self {
                Self { valid: [0; CHUNK], stale: 0, $($name: [<$type>::default(); CHUNK],)+ }
            }

            /// The row at `at`, below [`CHUNK`].
            #[inline(always)]
            pub fn slot(&mut self, at: usize) -> Slot<'_> {
                let valid = self.valid.get(at).copied().unwrap_or_default();
                Slot { chunk: self, at, valid }
            }

            /// Makes a row null again.
            #[cold]
            fn clear_row(&mut self, at: usize) {
                let mut row = self.slot(at);
                row.valid = 0;
                $(*row.$name() = <$type>::default();)+
                row.done();
            }

            /// A row, which has the values that `valid` says.
            #[inline(never)]
            pub fn row(&self, at: usize, valid: u64) -> Row {
                let has = |column| valid & bit(column) != 0;
                Row {
                    valid,
                    $($name: self.$name.get(at).copied().filter(|_| has(Column::$column)).unwrap_or_default(),)+
                }
            }

            /// Makes nulls 0 where values of rows that are gone were left. `valid` says by column which of the rows have one.
            #[inline]
            pub fn settle(&mut self, valid: &[u64; CHUNK]) {
                $(
                    let valid_here = valid.get(Column::$column as usize).copied().unwrap_or_default();
                    if self.stale & bit(Column::$column) != 0 && valid_here != 0 && valid_here != u64::MAX {
                        for (at, value) in self.$name.iter_mut().enumerate() {
                            if valid_here >> at & 1 == 0 {
                                *value = <$type>::default();
                            }
                        }
                        self.stale &= !bit(Column::$column);
                    }
                )+
            }

            /// Makes all rows null again, of which `valid` says by column which are not.
            #[inline]
            pub fn clear(&mut self, valid: &[u64; CHUNK]) {
                self.valid = [0; CHUNK];
                $(match valid.get(Column::$column as usize).copied().unwrap_or_default() {
                    0 => {}
                    // The next rows will most likely have values there too.
                    u64::MAX => self.stale |= bit(Column::$column),
                    _ => self.$name = [<$type>::default(); CHUNK],
                })+
            }
        }
    };
}

rows! {
    number: u64, Frame;
    ts: i64, Ts;
    packet_id: u64, PacketId;
    payload_id: u64, PayloadId;
    flow_id: u64, FlowId;
    payload_head: u64, PayloadHead;
    encap: Stack, Encap;
    src: Addr, Src;
    dst: Addr, Dst;
    outer_src: Addr, OuterSrc;
    outer_dst: Addr, OuterDst;
    interface: u32, Tap;
    cap_len: u32, CapLen;
    wire_len: u32, WireLen;
    tunnel_id: u32, TunnelId;
    ip_id: u32, IpId;
    tcp_seq: u32, TcpSeq;
    tcp_ack: u32, TcpAck;
    payload_len: u32, PayloadLen;
    issue_offset: u32, IssueOffset;
    mpls: Labels, Mpls;
    eth_src: Mac, EthSrc;
    eth_dst: Mac, EthDst;
    vlan: u16, Vlan;
    vlan_inner: u16, VlanInner;
    ethertype: u16, Ethertype;
    src_port: u16, SrcPort;
    dst_port: u16, DstPort;
    tcp_flags: u16, TcpFlags;
    tcp_window: u16, TcpWindow;
    issue: u16, Issue;
    ip_version: u8, IpVersion;
    ttl: u8, Ttl;
    tos: u8, Tos;
    fragment: u8, Fragment;
    protocol: u8, Protocol;
    app: u8, App;
    traffic: u8, Traffic;
    basis: u8, Basis;
    /// Type and code of ICMP, which the Community ID is made from.
    icmp: Option<[u8; 2]>, CommunityId;
}

/// The bit of a column in [`Row::valid`].
const fn bit(column: Column) -> u64 {
    1 << column as u8
}

/// The bits of columns.
const fn bits<const N: usize>(columns: [Column; N]) -> u64 {
    let mut bits = 0;
    let mut rest: &[Column] = &columns;
    while let [first, others @ ..] = rest {
        bits |= bit(*first);
        rest = others;
    }
    bits
}

/// Columns that every row has.
const ALWAYS: u64 =
    bits([Column::Frame, Column::Ts, Column::Tap, Column::CapLen, Column::WireLen, Column::Traffic]);

/// Columns of every IP packet.
const IP: u64 = bits([
    Column::IpVersion,
    Column::Src,
    Column::Dst,
    Column::Ttl,
    Column::Tos,
    Column::Protocol,
    Column::PayloadLen,
    Column::CommunityId,
]);

const ETHERNET: u64 = bits([Column::EthSrc, Column::EthDst, Column::Ethertype]);
const OUTER: u64 = bits([Column::OuterSrc, Column::OuterDst]);
const PORTS: u64 = bits([Column::SrcPort, Column::DstPort]);
const TCP: u64 = bits([Column::TcpFlags, Column::TcpSeq, Column::TcpAck, Column::TcpWindow]);
const LABEL: u64 = bits([Column::App, Column::Basis]);
const ISSUE: u64 = bits([Column::Issue, Column::IssueOffset]);

/// The number of an issue in the dictionary of its column.
fn issue_key(issue: Issue) -> u16 {
    issue.header as u16 * Reason::ALL.len() as u16 + issue.reason as u16
}

impl Row {
    /// Whether the row has a value in a column.
    #[inline]
    pub fn has(&self, column: Column) -> bool {
        self.valid & bit(column) != 0
    }
}

impl Slot<'_> {
    /// Says which values the row has. To be called when they are all there.
    #[inline(always)]
    pub fn done(self) {
        if let Some(valid) = self.chunk.valid.get_mut(self.at) {
            *valid = self.valid;
        }
    }
}

/// What rows are filled with.
pub trait Fill: Cells {
    /// Sets what the capture file says.
    #[inline(always)]
    fn set_record(&mut self, number: u64, record: &Record) {
        *self.valid() |= ALWAYS;
        (*self.number(), *self.ts(), *self.interface()) = (number, record.ts, record.interface);
        (*self.cap_len(), *self.wire_len()) = (record.cap_len, record.wire_len);
    }

    /// Adds a value's bit if there is one, and gives the value.
    #[inline(always)]
    fn or_null<T: Default>(&mut self, column: Column, value: Option<T>) -> T {
        *self.valid() |= u64::from(value.is_some()) << column as u8;
        value.unwrap_or_default()
    }

    /// Adds what dissection found.
    #[inline(always)]
    fn set_layers(&mut self, layers: &Layers<'_>) {
        if let (Some(src), Some(dst), Some(ethertype)) = (layers.eth_src, layers.eth_dst, layers.ethertype) {
            *self.valid() |= ETHERNET;
            (*self.eth_src(), *self.eth_dst(), *self.ethertype()) = (src, dst, ethertype);
        } else {
            *self.eth_src() = self.or_null(Column::EthSrc, layers.eth_src);
            *self.eth_dst() = self.or_null(Column::EthDst, layers.eth_dst);
            *self.ethertype() = self.or_null(Column::Ethertype, layers.ethertype);
        }
        if let Some(vlan) = layers.vlan {
            *self.valid() |= bit(Column::Vlan);
            *self.vlan() = vlan;
            *self.vlan_inner() = self.or_null(Column::VlanInner, layers.vlan_inner);
        }
        if let Some(id) = layers.tunnel_id {
            *self.valid() |= bit(Column::TunnelId);
            *self.tunnel_id() = id;
        }
        if !layers.mpls.as_slice().is_empty() {
            *self.valid() |= bit(Column::Mpls);
            *self.mpls() = layers.mpls;
        }
        if !layers.encap.is_empty() {
            *self.valid() |= bit(Column::Encap);
            *self.encap() = layers.encap;
        }
        if let Some(outer) = &layers.outer {
            *self.valid() |= OUTER;
            (*self.outer_src(), *self.outer_dst()) = (outer.src(), outer.dst());
        }
        if let Some(ip) = &layers.ip {
            *self.valid() |= IP;
            (*self.src(), *self.dst()) = (ip.src(), ip.dst());
            (*self.ip_version(), *self.ttl(), *self.tos(), *self.protocol()) =
                (ip.version, ip.ttl, ip.tos, ip.protocol);
            *self.ip_id() = self.or_null(Column::IpId, ip.id);
            *self.payload_len() = layers.payload_len;
            if ip.fragment != Fragment::Whole {
                *self.valid() |= bit(Column::Fragment);
                *self.fragment() = ip.fragment as u8;
            }
        }
        // Of a column that all IP packets have: it is said of each of them.
        *self.icmp() = match layers.transport {
            Transport::Icmp { kind, code } | Transport::Icmpv6 { kind, code } => Some([kind, code]),
            _ => None,
        };
        match layers.transport {
            Transport::Udp(udp) => self.set_ports((udp.src_port.get(), udp.dst_port.get())),
            Transport::Tcp(tcp) => {
                *self.valid() |= TCP;
                (*self.tcp_flags(), *self.tcp_window()) = (tcp.flags(), tcp.window.get());
                (*self.tcp_seq(), *self.tcp_ack()) = (tcp.seq.get(), tcp.ack.get());
                self.set_ports((tcp.src_port.get(), tcp.dst_port.get()));
            }
            _ => {
                if let Some(ports) = layers.ports() {
                    self.set_ports(ports);
                }
            }
        }
        if let Some(issue) = layers.issue {
            self.set_issue(issue);
        }
    }

    /// Sets the ports.
    #[inline(always)]
    fn set_ports(&mut self, ports: (u16, u16)) {
        *self.valid() |= PORTS;
        (*self.src_port(), *self.dst_port()) = ports;
    }

    /// Sets the issue.
    #[inline(always)]
    fn set_issue(&mut self, issue: Issue) {
        *self.valid() |= ISSUE;
        *self.issue() = issue_key(issue);
        *self.issue_offset() = issue.offset;
    }

    /// Sets what the frame is taken for.
    #[inline(always)]
    fn set_label(&mut self, label: Label) {
        *self.valid() &= !LABEL;
        if let (Some(app), Some(basis)) = (label.app, label.basis) {
            *self.valid() |= LABEL;
            (*self.app(), *self.basis()) = (app as u8, basis as u8);
        }
        *self.traffic() = label.traffic() as u8;
    }

    /// Sets what the payload begins with, as a number.
    #[inline(always)]
    fn set_payload_head(&mut self, head: Option<u64>) {
        *self.payload_head() = self.or_null(Column::PayloadHead, head);
    }

    /// Sets the ids.
    #[inline(always)]
    fn set_ids(&mut self, ids: Ids) {
        *self.packet_id() = self.or_null(Column::PacketId, ids.packet);
        *self.payload_id() = self.or_null(Column::PayloadId, ids.payload);
        *self.flow_id() = self.or_null(Column::FlowId, ids.flow);
    }
}

impl Fill for Row {}
impl Fill for Slot<'_> {}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{UInt16Type, UInt32Type, UInt64Type};
    use arrow_array::{Array, RecordBatch};
    use proptest::prelude::*;

    use super::super::builder::Builder;
    use super::super::column::schema;
    use super::*;
    use crate::capture::LinkType;
    use crate::dissect::dissect;

    const COLUMNS: [Column; 4] = [Column::Frame, Column::Vlan, Column::IpId, Column::PacketId];

    /// Puts rows, of which each says by bits which of its values it has, into columns.
    fn columns(rows: &[u8], chunks: &[usize]) -> RecordBatch {
        let mut builder = Builder::new(schema(&COLUMNS), &COLUMNS, rows.len());
        let (mut chunk, mut len) = (Chunk::new(), 0);
        let mut lengths = chunks.iter().cycle();
        let mut most = lengths.next().copied().unwrap_or(CHUNK);
        for (number, has) in rows.iter().enumerate() {
            let mut row = chunk.slot(len);
            row.valid |= ALWAYS;
            *row.number() = number as u64;
            if has & 1 != 0 {
                row.valid |= bit(Column::Vlan);
                *row.vlan() = number as u16 | 1;
            }
            if has & 2 != 0 {
                row.valid |= bit(Column::IpId);
                *row.ip_id() = number as u32 | 1;
            }
            if has & 4 != 0 {
                row.valid |= bit(Column::PacketId);
                *row.packet_id() = number as u64 | 1;
            }
            if has & 8 != 0 {
                // Left out: another row takes its place.
                row.clear();
                continue;
            }
            row.done();
            len += 1;
            if len == most {
                builder.push(&mut chunk, len, |_| String::new());
                (len, most) = (0, lengths.next().copied().unwrap_or(CHUNK));
            }
        }
        builder.push(&mut chunk, len, |_| String::new());
        builder.finish().unwrap()
    }

    #[test]
    fn what_made_a_community_id_is_not_left_behind() {
        let ip = |protocol| [0x45, 0, 0, 28, 0, 1, 0, 0, 61, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        let ping = [&ip(1)[..], &[8, 0, 0, 0, 0, 1, 0, 1]].concat();
        let datagram = [&ip(17)[..], &[0, 5, 0, 6, 0, 8, 0, 0]].concat();
        let columns = [Column::CommunityId];
        let ids = |frames: &[&[u8]]| {
            let mut builder = Builder::new(schema(&columns), &columns, frames.len() * CHUNK);
            let mut chunk = Chunk::new();
            for frame in frames {
                for at in 0..CHUNK {
                    let mut row = chunk.slot(at);
                    row.set_layers(&dissect(LinkType::RAW, frame, frame.len() as u32));
                    row.done();
                }
                builder.push(&mut chunk, CHUNK, |_| String::new());
            }
            let last = frames.len() * CHUNK - 1;
            builder.finish().unwrap().column(0).as_string::<i32>().value(last).to_owned()
        };
        assert_eq!(ids(&[&ping, &datagram]), ids(&[&datagram]));
        assert_eq!(ids(&[&datagram, &ping]), ids(&[&ping]));
    }

    #[test]
    fn a_column_without_values_is_as_long_as_the_others() {
        // The last of these are more than what such columns share.
        for len in [1, 64, 65, 4096, 20_000] {
            let batch = columns(&vec![0; len], &[]);
            let packet_id = batch.column(3).as_primitive::<UInt64Type>();
            assert_eq!((packet_id.len(), packet_id.null_count(), packet_id.value(len - 1)), (len, len, 0));
        }
    }

    proptest! {
        /// Whatever was in a chunk before: values are those of the row, and nulls are 0.
        #[test]
        fn columns_have_what_rows_had(
            runs in proptest::collection::vec((0_u8..16, 1_usize..100), 1..12),
            chunks in proptest::collection::vec(1..=CHUNK, 0..3),
        ) {
            let rows: Vec<u8> = runs.into_iter().flat_map(|(has, times)| vec![has; times]).collect();
            let batch = columns(&rows, &chunks);
            let kept = rows.iter().enumerate().filter(|(_, has)| **has & 8 == 0);
            prop_assert_eq!(kept.clone().count(), batch.num_rows());
            let vlan = batch.column(1).as_primitive::<UInt16Type>();
            let ip_id = batch.column(2).as_primitive::<UInt32Type>();
            let packet_id = batch.column(3).as_primitive::<UInt64Type>();
            for (at, (number, &has)) in kept.enumerate() {
                let value = |bit| if has & bit == 0 { 0 } else { number as u64 | 1 };
                prop_assert_eq!(batch.column(0).as_primitive::<UInt64Type>().value(at), number as u64);
                prop_assert_eq!((u64::from(vlan.value(at)), vlan.is_null(at)), (value(1), has & 1 == 0));
                prop_assert_eq!((u64::from(ip_id.value(at)), ip_id.is_null(at)), (value(2), has & 2 == 0));
                prop_assert_eq!((packet_id.value(at), packet_id.is_null(at)), (value(4), has & 4 == 0));
            }
        }
    }
}
