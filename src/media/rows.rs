//! The columns of a row.

use std::sync::LazyLock;

use arrow_array::RecordBatch;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_schema::{ArrowError, Schema, SchemaRef};

use super::codec;
use super::stream::{Reports, Stream, Type};
use crate::arrays::{Names, bits, columns, counts, fixed, labels, lists, numbers, texts, times};
use crate::classify::Basis;
use crate::dissect::Stack;

/// The schema of the rows.
pub(super) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> =
        LazyLock::new(|| batch(&[], &[]).map_or_else(|_| Schema::empty().into(), |batch| batch.schema()));
    SCHEMA.clone()
}

/// A batch of these streams, of which `taps` are the names.
pub(super) fn batch(rows: &[(Stream, Reports)], taps: &[String]) -> Result<RecordBatch, ArrowError> {
    let each = || rows.iter().map(|(stream, _)| stream);
    let path = || each().map(|stream| &stream.key.path);
    let reports = || rows.iter().map(|(_, reports)| reports);
    let main = || each().map(Stream::main_type);
    let mut encaps = Names::<Stack>::default();
    let encap: Vec<_> =
        path().map(|path| (!path.encap.is_empty()).then(|| encaps.number(&path.encap))).collect();
    let ms = |nanoseconds: i64| nanoseconds as f64 / 1e6;
    let rating = || rows.iter().map(|(stream, reports)| stream.rating(reports));
    columns! {
        "RTP streams: what one source sends from one endpoint to another on one path.":
        /// The interface or file it was seen on.
        tap = labels(taps, path().map(|path| Some(path.tap)))?;
        /// Time of the first packet.
        first_ts = times(each().map(|stream| Some(stream.first_ts)));
        /// Time of the last packet.
        last_ts = times(each().map(|stream| Some(stream.last_ts)));
        /// Source address, IPv4 as `::ffff:a.b.c.d`.
        src = fixed(each().map(|stream| Some(stream.key.ends.src.0)))?;
        /// Destination address.
        dst = fixed(each().map(|stream| Some(stream.key.ends.dst.0)))?;
        /// Source port.
        src_port = numbers::<UInt16Type>(each().map(|stream| Some(stream.key.ends.src.1)));
        /// Destination port.
        dst_port = numbers::<UInt16Type>(each().map(|stream| Some(stream.key.ends.dst.1)));
        /// Synchronisation source.
        ssrc = numbers::<UInt32Type>(each().map(|stream| Some(stream.key.ssrc)));
        /// The source that began last before this one, if another stream between the same ports on the same path had not ended then.
        previous_ssrc = numbers::<UInt32Type>(each().map(|stream| stream.previous_ssrc));
        /// Why it is taken for RTP: `signature`, a session description announced the endpoint; `behaviour`, its sequence numbers go on as
        /// those of RTP do. Of the latter, packets count from the fourth one on, with which it is proved.
        basis = labels(Basis::NAMES, each().map(|stream| stream.basis.map(|basis| basis as u16)))?;
        /// Packets.
        packets = counts(each().map(|stream| stream.packets));
        /// Bytes on the wire, all headers included.
        bytes = counts(each().map(|stream| stream.bytes));
        /// Bytes behind the RTP headers, less padding.
        payload_bytes = counts(each().map(|stream| stream.payload_bytes));
        /// The payload type that most packets have.
        payload_type = numbers::<UInt8Type>(main().map(|main| main.map(|main| main.number)));
        /// Its encoding name (RFC 3551 tables 4 and 5); null of dynamic ones, which only signalling names. As registered, `opus` or `PCMA`, whatever its
        /// case was (RFC 4855 section 3); others in capitals.
        codec = texts(main().map(|main| main.and_then(Type::codec)));
        /// Its timestamps in a second; null of dynamic ones.
        clock_rate = numbers::<UInt32Type>(main().map(|main| main.and_then(Type::clock_rate)));
        /// All payload types that were seen, up to 8.
        payload_types = lists::<UInt8Type>(each().map(|stream| stream.sorted_types().into_iter().map(|kind| kind.number)))?;
        /// How many packets had each of these.
        payload_type_packets = lists::<UInt64Type>(each().map(|stream| stream.sorted_types().into_iter().map(|kind| kind.packets)))?;
        /// Packets of payload types beyond these.
        other_payload_type_packets = counts(each().map(|stream| stream.other_types));
        /// Packets of comfort noise (RFC 3389).
        comfort_noise = counts(each().map(Stream::comfort_noise));
        /// Packets of telephone events (RFC 4733); null if a payload type is not known, so that it may be theirs.
        telephone_events = numbers::<UInt64Type>(each().map(Stream::events));
        /// Packets with the marker, which begin a talkspurt or end a picture.
        markers = counts(each().map(|stream| stream.markers));
        /// Sequence number of the first packet.
        first_seq = numbers::<UInt16Type>(each().map(|stream| Some(stream.sequence.first())));
        /// The highest sequence number since the last restart, in 16 bits.
        last_seq = numbers::<UInt16Type>(each().map(|stream| Some(stream.sequence.highest())));
        /// Packets that sequence numbers say were sent, RFC 3550 appendix A.3.
        expected = counts(each().map(|stream| stream.sequence.expected()));
        /// How many of them were not seen. RFC 3550 appendix A.3 counts duplicates as received: its figure is `lost` less `duplicates`.
        lost = counts(each().map(|stream| stream.sequence.lost()));
        /// Packets with a sequence number that was among the last 100.
        duplicates = counts(each().map(|stream| stream.sequence.duplicates));
        /// Packets that came after one with a higher sequence number, by less than 100.
        out_of_order = counts(each().map(|stream| stream.sequence.late));
        /// Packets with a sequence number far away from the others, RFC 3550 appendix A.1.
        strays = counts(each().map(|stream| stream.sequence.strays));
        /// How often sequence numbers began anew somewhere else.
        restarts = counts(each().map(|stream| stream.sequence.restarts));
        /// Packets with the sequence number behind that of the packet before: how many prove that it is a stream.
        in_sequence = counts(each().map(|stream| stream.sequence.followed));
        /// The longest time without a packet, milliseconds.
        max_gap_ms = numbers::<Float64Type>(each().map(|stream| (stream.packets > 1).then(|| ms(stream.max_gap))));
        /// The longest time without a packet within a talkspurt: before one that has no marker, is no comfort noise, and does not follow any.
        max_talk_gap_ms = numbers::<Float64Type>(each().map(|stream| (stream.packets > 1).then(|| ms(stream.max_talk_gap))));
        /// How far the timestamp goes on from packet to packet most often.
        timestamp_step = numbers::<UInt32Type>(each().map(Stream::step));
        /// How much a packet holds, milliseconds: the least of the steps that are at least a tenth as frequent as that one, since a packet holds no
        /// more than the time to the next one, and after a description of silence that is longer. Null if the clock rate is not known.
        packet_time_ms = numbers::<Float64Type>(each().map(Stream::packet_time_ms));
        /// Jitter (RFC 3550 section 6.4.1) after the last packet, milliseconds; null if the clock rate is not known. Telephone events and
        /// duplicates are left out.
        last_jitter_ms = numbers::<Float64Type>(each().map(|stream| stream.jitter.of(stream.jitter.last)));
        /// Its mean over all packets.
        mean_jitter_ms = numbers::<Float64Type>(each().map(|stream| stream.jitter.mean()));
        /// The greatest.
        max_jitter_ms = numbers::<Float64Type>(each().map(|stream| stream.jitter.of(stream.jitter.max)));
        /// Code points of differentiated services (RFC 2474) that packets had.
        dscp = lists::<UInt8Type>(each().map(|stream| bits(stream.dscp)))?;
        /// The least TTL or hop limit.
        min_ttl = numbers::<UInt8Type>(each().map(|stream| stream.ttl.map(|(least, _)| least)));
        /// The greatest TTL or hop limit.
        max_ttl = numbers::<UInt8Type>(each().map(|stream| stream.ttl.map(|(_, most)| most)));
        /// Report blocks of RTCP about this source that its destination sent back (by address; ports differ).
        reports = counts(reports().map(|reports| reports.count));
        /// The greatest share of packets lost between two reports, as the receiver has it.
        reported_fraction_lost = numbers::<Float64Type>(
            reports().map(|reports| (reports.count > 0).then(|| f64::from(reports.fraction_lost) / 256.0)),
        );
        /// Packets lost in all by the last report; below zero if there were duplicates.
        reported_lost = numbers::<Int32Type>(reports().map(|reports| reports.lost));
        /// Jitter by the last report, milliseconds; null if the clock rate is not known.
        reported_jitter_ms = numbers::<Float64Type>(rows.iter().map(|(stream, reports)| {
            let rate = stream.main_type()?.clock_rate()?;
            Some(1000.0 * f64::from(reports.jitter?) / f64::from(rate))
        }));
        /// Mean time from the tap to the receiver and back, milliseconds: from a sender report to the one that answers it, less the delay that
        /// tells (RFC 3550 section 6.4.1).
        round_trip_ms = numbers::<Float64Type>(reports().map(Reports::round_trip_ms));
        /// The longest such time.
        max_round_trip_ms = numbers::<Float64Type>(reports().map(Reports::max_round_trip_ms));
        /// Transmission rating of the E-model, ITU-T G.107 with its defaults: R = 93.2 - Idd - Ie,eff. Ie,eff = Ie + (95 - Ie) Ppl / (Ppl + Bpl), with
        /// Ppl = 100 `lost` / `expected`, and of ITU-T G.113 appendix I: PCMU and PCMA with concealment Ie 0, Bpl 25.1; G729 (annex A) 11, 19;
        /// G723 (6.3 kbit/s) 15, 16.1; GSM-EFR 5, 10. Idd is that of a delay of half of `round_trip_ms`; where that is not known, of 100 ms or less,
        /// which is 0. Null of other codecs, and of fewer than 10 `expected` packets, of
        /// which one that is lost would be more than a tenth.
        rating = numbers::<Float64Type>(rating());
        /// The mean opinion score that `rating` stands for, 1 to 4.5 (ITU-T G.107 annex B). What a receiver discards as too late is not in it.
        mos = numbers::<Float64Type>(rating().map(|rating| rating.map(codec::opinion)));
        /// Source MAC address.
        eth_src = fixed(path().map(|path| path.eth_src))?;
        /// Destination MAC address.
        eth_dst = fixed(path().map(|path| path.eth_dst))?;
        /// Outer VLAN.
        vlan = numbers::<UInt16Type>(path().map(|path| path.vlan));
        /// Inner VLAN.
        vlan_inner = numbers::<UInt16Type>(path().map(|path| path.vlan_inner));
        /// MPLS labels, top first.
        mpls = lists::<UInt32Type>(path().map(|path| path.mpls.as_slice().iter().copied()))?;
        /// Encapsulations, outermost first.
        encap = labels(encaps.all(), encap.iter().copied())?;
        /// Source of the outermost packet, if there are several.
        outer_src = fixed(path().map(|path| path.outer_src))?;
        /// Destination of the outermost packet, if there are several.
        outer_dst = fixed(path().map(|path| path.outer_dst))?;
        /// Identifier of the innermost tunnel that has one.
        tunnel_id = numbers::<UInt32Type>(path().map(|path| path.tunnel_id));
        /// Numbers of the first 8 frames.
        frames = lists::<UInt64Type>(each().map(|stream| stream.frames().iter().copied()))?;
        /// Up to 16 packets, those with the least hashes of sequence number, timestamp and payload length: streams that have the same ones have
        /// packets in common. The hashes are this version's own.
        sample = lists::<UInt64Type>(each().map(|stream| stream.sample.kept().iter().map(|(hash, _)| *hash)))?;
        /// When these came: nanoseconds after the first packet.
        sample_ns = lists::<Int64Type>(
            each().map(|stream| stream.sample.kept().iter().map(|(_, ts)| ts.saturating_sub(stream.first_ts))),
        )?;
    }
}
