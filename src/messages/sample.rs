//! Copies of frames inside the exports of sFlow, IPFIX, NetFlow and HEP: where telemetry is a copy of traffic.

use std::collections::HashMap;

use super::columns::{Address, Text, U8, U16, U32, U64, table};
use super::words::{Words, address};
use super::{Frame, Table};
use crate::capture::LinkType;
use crate::classify::App;
use crate::dissect::dissect;
use crate::packets::ids::Ids;
use crate::wire::hep::Hep;
use crate::wire::ip::Addr;

table! {
    /// Frames, or the beginnings of frames, that sFlow, IPFIX, NetFlow and HEP carry. `src` and `dst` are exporter and
    /// collector.
    Sample, Row {
        /// `sflow`, `ipfix`, `netflow9` or `hep`.
        carrier: Text,
        /// Address by which an sFlow agent names itself.
        agent: Address,
        /// One in so many packets is sampled, as an sFlow agent says.
        sampling_rate: U32,
        /// Bytes that the sampled frame had, as its carrier says; of HEP those of the message.
        sampled_len: U32,
        /// Source of the sampled packet.
        sampled_src: Address,
        /// Destination of the sampled packet.
        sampled_dst: Address,
        /// IP protocol of the sampled packet.
        sampled_protocol: U8,
        /// Source port of the sampled packet.
        sampled_src_port: U16,
        /// Destination port of the sampled packet.
        sampled_dst_port: U16,
        /// The `packet_id` that the sampled packet has where it is captured itself; null if too few bytes of it are here.
        sampled_packet_id: U64,
        /// The `flow_id` that the sampled packet has where it is captured itself.
        sampled_flow_id: U64,
    }
    state { templates: Templates }
}

/// Templates of exporters, by transport session (RFC 7011 section 2), domain and number.
#[derive(Debug, Default)]
struct Templates(HashMap<TemplateKey, Vec<Field>>);

type TemplateKey = (Option<(Addr, Addr)>, Option<(u16, u16)>, u32, u16);

/// Templates that are kept; exporters have a few each.
const MAX_TEMPLATES: usize = 4096;

/// Fields of a template that are read.
const MAX_FIELDS: usize = 128;

/// One field of a template: number (enterprise bit set if it is not IANA's) and length, 65535 for a variable one.
#[derive(Debug, Clone, Copy)]
struct Field {
    number: u16,
    len: u16,
}

impl Field {
    /// The least that a value takes: a variable one has its length before it.
    fn least_len(self) -> usize {
        if self.len == u16::MAX { 1 } else { self.len.into() }
    }
}

impl Table for Sample {
    fn read(&mut self, frame: &Frame<'_>) {
        let payload = frame.layers.payload;
        match (frame.label.app, payload) {
            (Some(App::Sflow), [0, 0, 0, 5, ..]) => _ = self.sflow(frame, payload),
            (Some(App::NetFlow), [0, 9, ..]) => _ = self.flow_sets(frame, payload, false),
            (Some(App::NetFlow), [0, 10, ..]) => _ = self.flow_sets(frame, payload, true),
            (Some(App::Hep), [b'H', b'E', b'P', b'3', ..]) => {
                // Over TCP one may follow another.
                let mut rest = payload;
                while let Some(&[b'H', b'E', b'P', b'3', hi, lo]) = rest.first_chunk() {
                    let len = usize::from(u16::from_be_bytes([hi, lo])).max(6);
                    self.hep3(frame, rest.get(..len).unwrap_or(rest));
                    rest = rest.get(len..).unwrap_or_default();
                }
            }
            (Some(App::Hep), _) => self.hep(frame, payload),
            _ => {}
        }
    }
}

impl Sample {
    fn sampled(&mut self, frame: &Frame<'_>, link: LinkType, bytes: &[u8], wire_len: u32, row: Row<'_>) {
        let layers = dissect(link, bytes, wire_len);
        let (ip, ports, ids) = (layers.ip, layers.ports(), Ids::of(&layers));
        let row = Row {
            sampled_src: ip.map(|ip| ip.src()),
            sampled_dst: ip.map(|ip| ip.dst()),
            sampled_protocol: ip.map(|ip| ip.protocol),
            sampled_src_port: ports.map(|(src, _)| src),
            sampled_dst_port: ports.map(|(_, dst)| dst),
            sampled_packet_id: ids.packet,
            sampled_flow_id: ids.flow,
            ..row
        };
        self.push(frame, row);
    }

    /// sFlow version 5: a datagram of samples, a sample of records, of which those of format 1 are raw headers.
    fn sflow(&mut self, frame: &Frame<'_>, payload: &[u8]) -> Option<()> {
        let mut words = Words(payload);
        words.u32()?;
        let agent_len = if words.u32()? == 1 { 4 } else { 16 };
        let agent = address(words.bytes(agent_len));
        // Agent's part, sequence number, uptime, number of samples.
        let [_, _, _, samples] = [words.u32()?, words.u32()?, words.u32()?, words.u32()?];
        for _ in 0..samples {
            let (format, len) = (words.u32()?, words.u32()? as usize);
            let mut sample = Words(words.bytes(len));
            // Flow samples, 1 and (with wider interface numbers) 3: words before the rate, words behind it.
            let (before, behind) = match format {
                1 => (2, 4),
                3 => (3, 6),
                _ => continue,
            };
            sample.bytes(before * 4);
            let Some(rate) = sample.u32() else { continue };
            sample.bytes(behind * 4);
            let Some(records) = sample.u32() else { continue };
            for _ in 0..records {
                let (Some(format), Some(len)) = (sample.u32(), sample.u32()) else { break };
                let mut record = Words(sample.bytes(len as usize));
                if format != 1 {
                    continue;
                }
                let (Some(protocol), Some(wire_len), Some(_), Some(header_len)) =
                    (record.u32(), record.u32(), record.u32(), record.u32())
                else {
                    continue;
                };
                let link = match protocol {
                    1 => LinkType::ETHERNET,
                    11 => LinkType::IPV4,
                    12 => LinkType::IPV6,
                    _ => continue,
                };
                let row = Row {
                    carrier: Some("sflow".into()),
                    agent,
                    sampling_rate: Some(rate),
                    sampled_len: Some(wire_len),
                    ..Row::default()
                };
                self.sampled(frame, link, record.bytes(header_len as usize), wire_len, row);
            }
        }
        Some(())
    }

    /// NetFlow version 9 (RFC 3954 section 5) and IPFIX (RFC 7011 section 3): templates, and data laid out by them.
    fn flow_sets(&mut self, frame: &Frame<'_>, payload: &[u8], is_ipfix: bool) -> Option<()> {
        let session = (frame.layers.ip.map(|ip| (ip.src(), ip.dst())), frame.layers.ports());
        let mut words = Words(payload);
        words.bytes(if is_ipfix { 12 } else { 16 });
        let domain = words.u32()?;
        let template_set = if is_ipfix { 2 } else { 0 };
        loop {
            let (set, len) = (words.u16()?, usize::from(words.u16()?));
            let mut body = Words(words.bytes(len.checked_sub(4)?));
            if set == template_set {
                while let (Some(number @ 256..), Some(count)) = (body.u16(), body.u16()) {
                    let fields: Vec<_> = (0..count).map_while(|_| field(&mut body, is_ipfix)).collect();
                    let key = (session.0, session.1, domain, number);
                    // What it was before is void, even if it cannot be read or there are too many.
                    self.templates.0.remove(&key);
                    let is_whole = fields.len() == usize::from(count) && fields.len() <= MAX_FIELDS;
                    if is_whole && self.templates.0.len() < MAX_TEMPLATES {
                        self.templates.0.insert(key, fields);
                    }
                }
            } else if let Some(fields) = self.templates.0.get(&(session.0, session.1, domain, set)).cloned() {
                let carrier = if is_ipfix { "ipfix" } else { "netflow9" };
                let least: usize = fields.iter().map(|field| field.least_len()).sum();
                while least > 0 && body.0.len() >= least {
                    if let Some(section) = section(&mut body, &fields) {
                        let row =
                            Row { carrier: Some(carrier.into()), sampled_len: section.len, ..Row::default() };
                        let len = section.len.unwrap_or(section.bytes.len() as u32);
                        self.sampled(frame, section.link, section.bytes, len, row);
                    }
                }
            }
        }
    }

    /// HEP versions 1 and 2.
    fn hep(&mut self, frame: &Frame<'_>, payload: &[u8]) {
        let Some(hep) = Hep::parse(payload) else { return };
        let row = Row {
            carrier: Some("hep".into()),
            sampled_len: u32::try_from(payload.len() - hep.len).ok(),
            sampled_src: Some(hep.src),
            sampled_dst: Some(hep.dst),
            sampled_protocol: Some(hep.protocol),
            sampled_src_port: Some(hep.src_port),
            sampled_dst_port: Some(hep.dst_port),
            ..Row::default()
        };
        self.push(frame, row);
    }

    /// HEP version 3: chunks of vendor, type, length and value.
    fn hep3(&mut self, frame: &Frame<'_>, payload: &[u8]) {
        let mut row = Row { carrier: Some("hep".into()), ..Row::default() };
        let mut words = Words(payload.get(6..).unwrap_or_default());
        while let (Some(vendor), Some(kind), Some(len)) = (words.u16(), words.u16(), words.u16()) {
            let Some(len) = usize::from(len).checked_sub(6) else { break };
            let value = words.bytes(len);
            if vendor != 0 {
                continue;
            }
            let number = || value.first_chunk().map(|&number| u16::from_be_bytes(number));
            match kind {
                2 => row.sampled_protocol = value.first().copied(),
                3 | 5 => row.sampled_src = address(value),
                4 | 6 => row.sampled_dst = address(value),
                7 => row.sampled_src_port = number(),
                8 => row.sampled_dst_port = number(),
                15 | 16 => row.sampled_len = u32::try_from(len).ok(),
                _ => {}
            }
        }
        self.push(frame, row);
    }
}

fn field(body: &mut Words<'_>, is_ipfix: bool) -> Option<Field> {
    let field = Field { number: body.u16()?, len: body.u16()? };
    if is_ipfix && field.number & 0x8000 != 0 {
        body.u32()?;
    }
    Some(field)
}

/// The beginning of a frame or packet that a record holds.
struct Section<'a> {
    link: LinkType,
    bytes: &'a [u8],
    /// How long the frame was, where the record says so.
    len: Option<u32>,
}

/// Reads a record of a data set; the section of a frame in it, if there is one: IANA's elements 315 (with its link layer),
/// 313 (from the IP header on) and 104 as Cisco has it; 312 is the length of the frame.
fn section<'a>(body: &mut Words<'a>, fields: &[Field]) -> Option<Section<'a>> {
    let (mut section, mut frame_len) = (None, None);
    for field in fields {
        let mut len = usize::from(field.len);
        if field.len == u16::MAX {
            // RFC 7011 section 7.
            len = body.u8()?.into();
            if len == 255 {
                len = body.u16()?.into();
            }
        }
        let value = body.bytes(len);
        match field.number {
            104 | 315 => section = Some((LinkType::ETHERNET, value)),
            313 => section = Some((LinkType::RAW, value)),
            // Of 2 bytes, or of fewer or more (RFC 7011 section 6.2).
            312 => frame_len = Some(value.iter().fold(0, |len, &byte| len << 8 | u32::from(byte))),
            _ => {}
        }
    }
    // Less than the shortest IP header says nothing.
    let (link, bytes) = section.filter(|(_, bytes): &(_, &[u8])| bytes.len() >= 20)?;
    Some(Section { link, bytes, len: frame_len })
}
