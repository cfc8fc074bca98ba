//! The columns of the contract and their Arrow types.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::named::named;

/// Version of the contract, in the schema's metadata under `tapsight.schema_version`. It rises when a column changes
/// its name, type or meaning, not when one is added.
pub const SCHEMA_VERSION: &str = "1";

named! {
    /// A column of the packets table, in the order of the schema.
    Column {
        /// Number of the frame, counted from 1 as Wireshark does; it goes on over a list of files.
        Frame = "frame",
        /// Capture time, nanoseconds UTC.
        Ts = "ts",
        /// The interface or file the frame was seen on.
        Tap = "tap",
        /// Bytes captured.
        CapLen = "cap_len",
        /// Bytes on the wire.
        WireLen = "wire_len",
        /// Source MAC of the outermost link layer.
        EthSrc = "eth_src",
        /// Destination MAC of the outermost link layer.
        EthDst = "eth_dst",
        /// VLAN id of the outermost tag.
        Vlan = "vlan",
        /// VLAN id of the second tag.
        VlanInner = "vlan_inner",
        /// MPLS labels of the outermost stack, top first.
        Mpls = "mpls",
        /// EtherType behind the outermost link layer's VLAN tags.
        Ethertype = "ethertype",
        /// Encapsulations, outermost first, such as `gre/erspan2`; null without one.
        Encap = "encap",
        /// Source address of the outermost packet, if it carries another.
        OuterSrc = "outer_src",
        /// Destination address of the outermost packet, if it carries another.
        OuterDst = "outer_dst",
        /// Identifier of the outermost encapsulation that has one: VNI, key, TEID, session, label; SPI of ESP.
        TunnelId = "tunnel_id",
        /// IP version of the innermost packet, as are all columns from here to `payload_len`.
        IpVersion = "ip_version",
        /// Source address; IPv4 as `::ffff:a.b.c.d`.
        Src = "src",
        /// Destination address; IPv4 as `::ffff:a.b.c.d`.
        Dst = "dst",
        /// Time to live or hop limit.
        Ttl = "ttl",
        /// Type of service or traffic class: DSCP and ECN.
        Tos = "tos",
        /// Identification: 16 bits for IPv4, 32 bits for an IPv6 fragment, null for other IPv6.
        IpId = "ip_id",
        /// Which part of a fragmented packet: `first`, `middle`, `last`; null if not fragmented.
        Fragment = "fragment",
        /// IP protocol, after extension headers.
        Protocol = "protocol",
        /// Source port of TCP, UDP, UDP-Lite, DCCP or SCTP; of a later fragment that of its first, if that came before.
        SrcPort = "src_port",
        /// Destination port, as `src_port`.
        DstPort = "dst_port",
        /// TCP flags, the low 12 bits, as Wireshark's `tcp.flags`.
        TcpFlags = "tcp_flags",
        /// TCP sequence number as on the wire.
        TcpSeq = "tcp_seq",
        /// TCP acknowledgment number as on the wire.
        TcpAck = "tcp_ack",
        /// TCP window, unscaled.
        TcpWindow = "tcp_window",
        /// Bytes behind the transport header, as the packet's length fields say.
        PayloadLen = "payload_len",
        /// Application, such as `sip` or `dns`.
        App = "app",
        /// What the traffic is for, such as `voice-media`.
        Traffic = "traffic",
        /// What `app` rests on: `signature`, `behaviour` or `port`.
        Basis = "basis",
        /// What a router must not change, as a number. See [`super::ids`].
        PacketId = "packet_id",
        /// What even address translation does not change, as a number. See [`super::ids`].
        PayloadId = "payload_id",
        /// The conversation, both directions alike, as a number. See [`super::ids`].
        FlowId = "flow_id",
        /// The beginning of the payload, as a number, on request only. See [`super::ids`].
        PayloadHead = "payload_head",
        /// Community ID version 1, on request only.
        CommunityId = "community_id",
        /// The first thing wrong, as `header-reason`, such as `udp-truncated`; null if nothing is.
        Issue = "issue",
        /// Offset in the frame of the header that `issue` names, in bytes.
        IssueOffset = "issue_offset",
    }
}

impl Column {
    /// Whether it is made on request only.
    pub fn is_on_request(self) -> bool {
        matches!(self, Self::PayloadHead | Self::CommunityId)
    }

    /// The columns made when none are named: all but those on request.
    pub fn default_set() -> Vec<Self> {
        Self::ALL.iter().copied().filter(|column| !column.is_on_request()).collect()
    }

    /// Its Arrow type.
    pub fn data_type(self) -> DataType {
        let label = |key| DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8));
        match self {
            Self::Frame | Self::PacketId | Self::PayloadId | Self::FlowId | Self::PayloadHead => {
                DataType::UInt64
            }
            Self::Ts => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            Self::CapLen
            | Self::WireLen
            | Self::TunnelId
            | Self::IpId
            | Self::TcpSeq
            | Self::TcpAck
            | Self::PayloadLen
            | Self::IssueOffset => DataType::UInt32,
            Self::Vlan
            | Self::VlanInner
            | Self::Ethertype
            | Self::SrcPort
            | Self::DstPort
            | Self::TcpFlags
            | Self::TcpWindow => DataType::UInt16,
            Self::IpVersion | Self::Ttl | Self::Tos | Self::Protocol => DataType::UInt8,
            Self::EthSrc | Self::EthDst => DataType::FixedSizeBinary(6),
            Self::OuterSrc | Self::OuterDst | Self::Src | Self::Dst => DataType::FixedSizeBinary(16),
            Self::Mpls => DataType::List(Arc::new(Field::new("item", DataType::UInt32, false))),
            Self::App | Self::Traffic | Self::Basis | Self::Fragment => label(DataType::UInt8),
            Self::Tap | Self::Encap | Self::Issue => label(DataType::UInt16),
            Self::CommunityId => DataType::Utf8,
        }
    }

    /// Whether a row may have no value here.
    pub fn nullable(self) -> bool {
        !matches!(self, Self::Frame | Self::Ts | Self::Tap | Self::CapLen | Self::WireLen | Self::Traffic)
    }
}

/// The schema of a table with these columns, in this order.
pub fn schema(columns: &[Column]) -> SchemaRef {
    let fields: Vec<Field> = columns
        .iter()
        .map(|&column| Field::new(column.name(), column.data_type(), column.nullable()))
        .collect();
    let metadata = HashMap::from([("tapsight.schema_version".to_owned(), SCHEMA_VERSION.to_owned())]);
    Arc::new(Schema::new_with_metadata(fields, metadata))
}
