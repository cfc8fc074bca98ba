//! The columns of a row.

use arrow_array::RecordBatch;
use arrow_array::types::{Float32Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_schema::ArrowError;

use super::NO_PROTOCOL;
use super::conversation::{Conversation, EndReason, Side};
use super::table::Tunnel;
use crate::arrays::{Names, bits, columns, counts, fixed, labels, lists, numbers, texts, times};
use crate::classify::{App, Basis, Traffic};
use crate::dissect::Stack;
use crate::packets::ids::{self, CommunityId};
use crate::wire::ip::Addr;

/// Who began, and the other.
fn ends<T: Copy>(flow: &Conversation, [first, second]: [T; 2]) -> (T, T) {
    if flow.is_turned { (second, first) } else { (first, second) }
}

/// Addresses of source and destination, if the packets had any.
pub(super) fn addresses(flow: &Conversation) -> (Option<Addr>, Option<Addr>) {
    let (src, dst) = ends(flow, flow.key.ends);
    (Some(src).filter(|_| flow.key.ip_version != 0), Some(dst).filter(|_| flow.key.ip_version != 0))
}

fn ports(flow: &Conversation) -> (Option<u16>, Option<u16>) {
    let (src, dst) = ends(flow, flow.key.ports);
    (Some(src).filter(|_| flow.key.has_ports), Some(dst).filter(|_| flow.key.has_ports))
}

fn community_id(flow: &Conversation) -> Option<CommunityId> {
    let (Some(src), Some(dst)) = addresses(flow) else { return None };
    let protocol = u8::try_from(flow.key.protocol).ok()?;
    let (src_port, dst_port) = ports(flow);
    let is_icmp = matches!((flow.key.ip_version, protocol), (4, 1) | (6, 58));
    if is_icmp && flow.icmp.is_none() {
        return None;
    }
    Some(ids::community_id(flow.key.ip_version, (src, dst), protocol, src_port.zip(dst_port), flow.icmp))
}

/// A batch of these rows.
pub(super) fn batch(
    flows: &[&Conversation],
    taps: &Names,
    tunnels: &[Tunnel],
) -> Result<RecordBatch, ArrowError> {
    let each = || flows.iter().copied();
    let tunnel = |flow: &Conversation| {
        (flow.key.tunnel as usize).checked_sub(1).and_then(|number| tunnels.get(number))
    };
    let mut encaps = Names::<Stack>::default();
    let encap: Vec<_> = each().map(|flow| tunnel(flow).map(|tunnel| encaps.number(&tunnel.encap))).collect();
    let is_tcp = |flow: &Conversation| flow.key.protocol == 6;
    let label = |flow: &Conversation| flow.opinion.conclusion().0;
    let ttl = |side: &Side, value: u8| Some(value).filter(|_| side.ttl_max != 0 || side.ttl_min != 0);
    columns! {
        "Conversations, both directions together. *Source* is who began: who sent the first packet, unless that answers a SYN. What *reverse* columns say is of the way back (RFC 5103).":
        /// Number of the flow, from 1, in the order in which they began.
        flow = counts(each().map(|flow| flow.number));
        /// The interface or file it was seen on.
        tap = labels(taps.all(), each().map(|flow| Some(flow.key.tap)))?;
        /// Time of the first packet.
        first_ts = times(each().map(|flow| Some(flow.first_ts)));
        /// Time of the last packet.
        last_ts = times(each().map(|flow| Some(flow.last_ts)));
        /// Why the row ends there, as IPFIX names it (flowEndReason): `idle-timeout`, `active-timeout`, `end-of-flow` (TCP is over),
        /// `forced-end` (the capture ended, or a new connection began between the same ports), `lack-of-resources`.
        end_reason = labels(&EndReason::NAMES, each().map(|flow| flow.reason.map(|reason| reason as u16)))?;
        /// IP version of the innermost packet; null of frames without IP.
        ip_version = numbers::<UInt8Type>(each().map(|flow| Some(flow.key.ip_version).filter(|&version| version != 0)));
        /// Address of the source; IPv4 as `::ffff:a.b.c.d`.
        src = fixed(each().map(|flow| addresses(flow).0))?;
        /// Address of the destination.
        dst = fixed(each().map(|flow| addresses(flow).1))?;
        /// IP protocol.
        protocol = numbers::<UInt8Type>(each().map(|flow| {
            u8::try_from(flow.key.protocol).ok().filter(|_| flow.key.protocol != NO_PROTOCOL)
        }));
        /// Port of the source.
        src_port = numbers::<UInt16Type>(each().map(|flow| ports(flow).0));
        /// Port of the destination.
        dst_port = numbers::<UInt16Type>(each().map(|flow| ports(flow).1));
        /// What it is, by all of its packets: what bytes say counts before behaviour, and that before ports; of several, what most packets say.
        app = labels(App::NAMES, each().map(|flow| label(flow).app.map(|app| app as u16)))?;
        /// What the traffic is for.
        traffic = labels(Traffic::NAMES, each().map(|flow| Some(label(flow).traffic() as u16)))?;
        /// What `app` rests on: `signature`, `behaviour` or `port`.
        basis = labels(Basis::NAMES, each().map(|flow| label(flow).basis.map(|basis| basis as u16)))?;
        /// Of the packets that say something on this basis, the share that says this: below 1, others say something else.
        confidence = numbers::<Float32Type>(each().map(|flow| flow.opinion.conclusion().1));
        /// The name that the client asked for (TLS server name, RFC 6066 section 3), as captured, or its first 255 bytes: no host name is longer.
        server_name = texts(each().map(|flow| flow.server_name.as_deref()));
        /// Packets.
        packets = counts(each().map(|flow| flow.forward.packets));
        /// Bytes on the wire, with all headers.
        bytes = counts(each().map(|flow| flow.forward.bytes));
        /// Bytes behind the transport header.
        payload_bytes = counts(each().map(|flow| flow.forward.payload_bytes));
        /// Packets of the way back.
        reverse_packets = counts(each().map(|flow| flow.reverse.packets));
        /// Bytes of the way back.
        reverse_bytes = counts(each().map(|flow| flow.reverse.bytes));
        /// Bytes behind the transport header, of the way back.
        reverse_payload_bytes = counts(each().map(|flow| flow.reverse.payload_bytes));
        /// How a TCP connection went, as Zeek names it (`conn_state`): `S0` no answer, `S1` established, `SF` ended by both, `REJ` refused,
        /// `S2` and `S3` ended by source or destination only, `RSTO` and `RSTR` broken off by source or destination, `RSTOS0`, `RSTRH`, `SH`, `SHR`
        /// the same with only one side seen, `OTH` the beginning was not seen.
        conn_state = texts(each().map(|flow| Some(flow.conn_state()).filter(|_| is_tcp(flow))));
        /// All TCP flags that were set.
        tcp_flags = numbers::<UInt16Type>(each().map(|flow| Some(flow.forward.tcp_flags).filter(|_| is_tcp(flow))));
        /// All TCP flags that were set on the way back.
        reverse_tcp_flags = numbers::<UInt16Type>(each().map(|flow| Some(flow.reverse.tcp_flags).filter(|_| is_tcp(flow))));
        /// From SYN to the SYN and ACK that answers it, in nanoseconds: from the tap to the destination and back. Null if either was sent again.
        rtt_dst_ns = numbers::<UInt64Type>(each().map(|flow| flow.rtt_dst.map(|took| took.max(0) as u64)));
        /// From that to its ACK, in nanoseconds: from the tap to the source and back.
        rtt_src_ns = numbers::<UInt64Type>(each().map(|flow| flow.rtt_src.map(|took| took.max(0) as u64)));
        /// From the first packet to the first of the way back, in nanoseconds.
        response_ns = numbers::<UInt64Type>(each().map(|flow| {
            flow.answer_ts.map(|answer| answer.saturating_sub(flow.first_ts).max(0) as u64)
        }));
        /// Least TTL or hop limit.
        ttl_min = numbers::<UInt8Type>(each().map(|flow| ttl(&flow.forward, flow.forward.ttl_min)));
        /// Greatest TTL or hop limit.
        ttl_max = numbers::<UInt8Type>(each().map(|flow| ttl(&flow.forward, flow.forward.ttl_max)));
        /// Least TTL or hop limit of the way back.
        reverse_ttl_min = numbers::<UInt8Type>(each().map(|flow| ttl(&flow.reverse, flow.reverse.ttl_min)));
        /// Greatest TTL or hop limit of the way back.
        reverse_ttl_max = numbers::<UInt8Type>(each().map(|flow| ttl(&flow.reverse, flow.reverse.ttl_max)));
        /// All code points of differentiated services (RFC 2474).
        dscp = lists::<UInt8Type>(each().map(|flow| bits(flow.forward.dscp)))?;
        /// All code points of the way back.
        reverse_dscp = lists::<UInt8Type>(each().map(|flow| bits(flow.reverse.dscp)))?;
        /// VLAN ids of outer and inner tags, up to four, either way.
        vlans = lists::<UInt16Type>(each().map(|flow| flow.vlans.as_slice().iter().copied()))?;
        /// MPLS labels, up to four, either way.
        mpls = lists::<UInt32Type>(each().map(|flow| flow.mpls.as_slice().iter().copied()))?;
        /// Source MAC of the first packet.
        eth_src = fixed(each().map(|flow| flow.forward_start.eth_src))?;
        /// Destination MAC of the first packet.
        eth_dst = fixed(each().map(|flow| flow.forward_start.eth_dst))?;
        /// Source MAC of the first packet of the way back.
        reverse_eth_src = fixed(each().map(|flow| flow.reverse_start.eth_src))?;
        /// Destination MAC of the first packet of the way back.
        reverse_eth_dst = fixed(each().map(|flow| flow.reverse_start.eth_dst))?;
        /// Encapsulations around it, outermost first; null without one.
        encap = labels(encaps.all(), encap.iter().copied())?;
        /// One end of the outermost tunnel; of a tunnel that goes both ways, that of the source.
        outer_src = fixed(each().map(|flow| tunnel(flow).and_then(|tunnel| outer(flow, tunnel).0)))?;
        /// Its other end.
        outer_dst = fixed(each().map(|flow| tunnel(flow).and_then(|tunnel| outer(flow, tunnel).1)))?;
        /// Identifier of the tunnel: VNI, key, TEID, session.
        tunnel_id = numbers::<UInt32Type>(each().map(|flow| flow.forward_start.tunnel_id));
        /// Identifier of the tunnel on the way back.
        reverse_tunnel_id = numbers::<UInt32Type>(each().map(|flow| flow.reverse_start.tunnel_id));
        /// In how many ways its packets were seen: pairs of MACs, VLANs, labels, identifiers of tunnels. One each way is two; 8 stands for more.
        ways = numbers::<UInt8Type>(each().map(|flow| Some(flow.ways.as_slice().len() as u8)));
        /// Community ID version 1 with seed 0.
        community_id = texts(each().map(community_id));
        /// Packets that something was wrong with.
        issues = counts(each().map(|flow| flow.issues));
        /// Numbers of its first frames, up to eight.
        frames = lists::<UInt64Type>(each().map(|flow| {
            flow.frames.iter().copied().take(flow.packets().min(Conversation::FRAMES as u64) as usize)
        }))?;
    }
}

/// The ends of the tunnel, that of the source first.
pub(super) fn outer(flow: &Conversation, tunnel: &Tunnel) -> (Option<Addr>, Option<Addr>) {
    let [first, second] = tunnel.ends;
    if flow.outer_turned { (second, first) } else { (first, second) }
}
