//! RTCP reports, RFC 3550 section 6.4.

use super::columns::{Bool, I32, U8, U16, U32, table};
use super::words::Words;
use super::{Frame, Table};
use crate::classify::{App, Basis};
use crate::dissect::Transport;

table! {
    /// Report blocks of RTCP over UDP, and sender reports without one: how a stream arrived, and when.
    Rtcp, Row {
        /// 200 sender report, 201 receiver report.
        type_: U8,
        /// Who reports.
        ssrc: U32,
        /// Whether it is SRTCP (RFC 3711 section 3.4), of which only type and sender can be read.
        is_encrypted: Bool,
        /// NTP time of a sender report, seconds since 1900.
        ntp_seconds: U32,
        /// NTP time of a sender report, fraction of a second in units of 2^-32.
        ntp_fraction: U32,
        /// RTP timestamp at that time.
        timestamp: U32,
        /// Packets that the sender has sent.
        sent_packets: U32,
        /// Bytes of payload that the sender has sent.
        sent_bytes: U32,
        /// Of whom the block reports.
        reported_ssrc: U32,
        /// Share of packets lost since the last report, in units of 1/256.
        fraction_lost: U8,
        /// Packets lost in all; below zero if more were received than expected.
        lost: I32,
        /// Highest sequence number received, low half.
        highest_seq: U16,
        /// Jitter, in units of the codec's clock.
        jitter: U32,
        /// Middle 32 bits of the NTP time of the last sender report received; 0 for none.
        last_report: U32,
        /// Time since then, in units of 1/65536 s.
        delay: U32,
    }
}

impl Table for Rtcp {
    fn read(&mut self, frame: &Frame<'_>) {
        let is_rtcp = (frame.label.app, frame.label.basis) == (Some(App::Rtcp), Some(Basis::Signature))
            && matches!(frame.layers.transport, Transport::Udp(_));
        if !is_rtcp {
            return;
        }
        // Packets that add up to the datagram are plain: SRTCP has an index and a tag behind them.
        if chain(frame.layers.payload) != frame.layers.payload_len as usize {
            if let &[_, kind @ (200 | 201), _, _, a, b, c, d, ..] = frame.layers.payload {
                let ssrc = Some(u32::from_be_bytes([a, b, c, d]));
                self.push(frame, Row { type_: Some(kind), ssrc, is_encrypted: Some(true), ..Row::default() });
            }
            return;
        }
        let mut words = Words(frame.layers.payload);
        while let Some([first, kind, hi, lo]) = words.array() {
            let mut body = Words(words.bytes(4 * usize::from(u16::from_be_bytes([hi, lo]))));
            if matches!(kind, 200 | 201) {
                self.report(frame, kind, first & 0x1f, &mut body);
            }
        }
    }
}

/// How many bytes the packets that follow each other here take, the last one by its own length.
fn chain(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&[0x80..=0xbf, _, hi, lo]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        at += 4 + 4 * usize::from(u16::from_be_bytes([hi, lo]));
    }
    at
}

impl Rtcp {
    fn report(&mut self, frame: &Frame<'_>, kind: u8, blocks: u8, body: &mut Words<'_>) {
        let ssrc = body.u32();
        let mut sender = if kind == 200 { Words(body.bytes(20)) } else { Words(&[]) };
        let sender = [sender.u32(), sender.u32(), sender.u32(), sender.u32(), sender.u32()];
        let row = || {
            let [ntp_seconds, ntp_fraction, timestamp, sent_packets, sent_bytes] = sender;
            Row {
                type_: Some(kind),
                ssrc,
                is_encrypted: Some(false),
                ntp_seconds,
                ntp_fraction,
                timestamp,
                sent_packets,
                sent_bytes,
                ..Row::default()
            }
        };
        if blocks == 0 && kind == 200 {
            self.push(frame, row());
        }
        for _ in 0..blocks {
            // A block that was not captured whole says nothing.
            let mut block = Words(body.bytes(24));
            if block.0.len() < 24 {
                return;
            }
            let reported_ssrc = block.u32();
            let lost = block.u32();
            block.u16();
            let block = Row {
                reported_ssrc,
                fraction_lost: lost.map(|lost| (lost >> 24) as u8),
                lost: lost.map(|lost| (lost << 8).cast_signed() >> 8),
                highest_seq: block.u16(),
                jitter: block.u32(),
                last_report: block.u32(),
                delay: block.u32(),
                ..row()
            };
            self.push(frame, block);
        }
    }
}
