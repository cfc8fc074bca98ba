//! One frame as the values of its row, before they go into columns.

use super::column::Column;
use crate::capture::Record;
use crate::classify::Label;
use crate::dissect::{Labels, Layers, Mac, Stack, Transport};
use crate::wire::ip::{Addr, Fragment};
use crate::wire::{Issue, Reason};

/// The values of a row. All of one size and side by side, so that columns are filled from many rows with plain copies:
/// what a null is, `valid` says, and its value is 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Row {
    /// A bit a [`Column`]: whether the row has a value there.
    pub valid: u64,
    pub number: u64,
    pub ts: i64,
    pub packet_id: u64,
    pub payload_id: u64,
    pub flow_id: u64,
    pub payload_head: u64,
    pub encap: Stack,
    pub src: Addr,
    pub dst: Addr,
    pub outer_src: Addr,
    pub outer_dst: Addr,
    pub interface: u32,
    pub cap_len: u32,
    pub wire_len: u32,
    pub tunnel_id: u32,
    pub ip_id: u32,
    pub tcp_seq: u32,
    pub tcp_ack: u32,
    pub payload_len: u32,
    pub issue_offset: u32,
    pub mpls: Labels,
    pub eth_src: Mac,
    pub eth_dst: Mac,
    pub vlan: u16,
    pub vlan_inner: u16,
    pub ethertype: u16,
    pub src_port: u16,
    pub dst_port: u16,
    pub tcp_flags: u16,
    pub tcp_window: u16,
    pub issue: u16,
    pub ip_version: u8,
    pub ttl: u8,
    pub tos: u8,
    pub fragment: u8,
    pub protocol: u8,
    pub app: u8,
    pub traffic: u8,
    pub basis: u8,
    /// Type and code of ICMP, which the Community ID is made from.
    pub icmp: Option<[u8; 2]>,
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
    /// A row that has what the capture file says, and nothing else.
    #[inline]
    pub fn of(number: u64, record: &Record) -> Self {
        Self {
            valid: ALWAYS,
            number,
            ts: record.ts,
            interface: record.interface,
            cap_len: record.cap_len,
            wire_len: record.wire_len,
            ..Self::default()
        }
    }

    /// Whether the row has a value in a column.
    #[inline]
    pub fn has(&self, column: Column) -> bool {
        self.valid & bit(column) != 0
    }

    /// Adds a value's bit if there is one, and gives the value.
    #[inline]
    fn or_null<T: Default>(&mut self, column: Column, value: Option<T>) -> T {
        self.valid |= u64::from(value.is_some()) << column as u8;
        value.unwrap_or_default()
    }

    /// Adds what dissection found.
    #[inline]
    pub fn set_layers(&mut self, layers: &Layers<'_>) {
        if let (Some(src), Some(dst), Some(ethertype)) = (layers.eth_src, layers.eth_dst, layers.ethertype) {
            self.valid |= ETHERNET;
            (self.eth_src, self.eth_dst, self.ethertype) = (src, dst, ethertype);
        } else {
            self.eth_src = self.or_null(Column::EthSrc, layers.eth_src);
            self.eth_dst = self.or_null(Column::EthDst, layers.eth_dst);
            self.ethertype = self.or_null(Column::Ethertype, layers.ethertype);
        }
        if let Some(vlan) = layers.vlan {
            self.valid |= bit(Column::Vlan);
            self.vlan = vlan;
            self.vlan_inner = self.or_null(Column::VlanInner, layers.vlan_inner);
        }
        if let Some(id) = layers.tunnel_id {
            self.valid |= bit(Column::TunnelId);
            self.tunnel_id = id;
        }
        if !layers.mpls.as_slice().is_empty() {
            self.valid |= bit(Column::Mpls);
            self.mpls = layers.mpls;
        }
        if !layers.encap.is_empty() {
            self.valid |= bit(Column::Encap);
            self.encap = layers.encap;
        }
        if let Some(outer) = &layers.outer {
            self.valid |= OUTER;
            (self.outer_src, self.outer_dst) = (outer.src(), outer.dst());
        }
        if let Some(ip) = &layers.ip {
            self.valid |= IP;
            (self.src, self.dst) = (ip.src(), ip.dst());
            (self.ip_version, self.ttl, self.tos, self.protocol) = (ip.version, ip.ttl, ip.tos, ip.protocol);
            self.ip_id = self.or_null(Column::IpId, ip.id);
            self.payload_len = layers.payload_len;
            if ip.fragment != Fragment::Whole {
                self.valid |= bit(Column::Fragment);
                self.fragment = ip.fragment as u8;
            }
        }
        match layers.transport {
            Transport::Udp(udp) => self.set_ports((udp.src_port.get(), udp.dst_port.get())),
            Transport::Tcp(tcp) => {
                self.valid |= TCP;
                (self.tcp_flags, self.tcp_window) = (tcp.flags(), tcp.window.get());
                (self.tcp_seq, self.tcp_ack) = (tcp.seq.get(), tcp.ack.get());
                self.set_ports((tcp.src_port.get(), tcp.dst_port.get()));
            }
            Transport::Icmp { kind, code } | Transport::Icmpv6 { kind, code } => {
                self.icmp = Some([kind, code]);
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
    #[inline]
    pub fn set_ports(&mut self, ports: (u16, u16)) {
        self.valid |= PORTS;
        (self.src_port, self.dst_port) = ports;
    }

    /// Sets the issue.
    #[cold]
    pub fn set_issue(&mut self, issue: Issue) {
        self.valid |= ISSUE;
        self.issue = issue_key(issue);
        self.issue_offset = issue.offset;
    }

    /// Sets what the frame is taken for.
    #[inline]
    pub fn set_label(&mut self, label: Label) {
        self.valid &= !LABEL;
        if let (Some(app), Some(basis)) = (label.app, label.basis) {
            self.valid |= LABEL;
            (self.app, self.basis) = (app as u8, basis as u8);
        }
        self.traffic = label.traffic() as u8;
    }

    /// Sets what the payload begins with, as a number.
    #[inline]
    pub fn set_payload_head(&mut self, head: Option<u64>) {
        self.payload_head = self.or_null(Column::PayloadHead, head);
    }

    /// Sets the ids, of which the flow always has one.
    #[inline]
    pub fn set_ids(&mut self, packet: Option<u64>, payload: Option<u64>, flow: u64) {
        self.packet_id = self.or_null(Column::PacketId, packet);
        self.payload_id = self.or_null(Column::PayloadId, payload);
        self.flow_id = self.or_null(Column::FlowId, Some(flow));
    }
}
