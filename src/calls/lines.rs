//! Calls whose messages say little: of circuits (ISUP, BICC), and of call references (H.225.0, Skinny).

use std::borrow::Cow;

use get_size2::GetSize;
use serde::{Deserialize, Serialize};

use super::Options;
use super::call::{Ending, keep, millis};
use super::endpoints::{Endpoints, Side, Spot};
use super::places::{Ends, Ways};
use super::rows::{CallRow, MediaRow, MessageRow, Rows, Table};
use super::streams::Place;
use crate::dissect::Mac;
use crate::packets::address::address_text;
use crate::wire::ip::Addr;
use crate::wire::sip;

/// What one call at a time is on, as one tap sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Line {
    /// A circuit between two exchanges; the call instance of BICC (ITU-T Q.1902.3), which has a space of numbers of its own.
    Circuit {
        tap: u16,
        /// Point codes, the smaller one first.
        ends: (u32, u32),
        network: Option<u8>,
        service: u8,
        cic: u32,
    },
    /// A call reference in a connection of H.225.0.
    Reference {
        tap: u16,
        /// Addresses and ports, the smaller ones first.
        ends: [(Addr, u16); 2],
        reference: u16,
    },
    /// A call reference that a manager of calls has given a phone.
    Phone { tap: u16, phone: Addr, manager: Addr, reference: u32 },
}

impl Line {
    /// The number of the tap.
    pub fn tap(self) -> u16 {
        match self {
            Self::Circuit { tap, .. } | Self::Reference { tap, .. } | Self::Phone { tap, .. } => tap,
        }
    }

    /// What its calls are called.
    fn id(self) -> String {
        match self {
            Self::Circuit { ends: (low, high), cic, .. } => format!("{low}-{high} {cic}"),
            Self::Reference { ends, reference, .. } => {
                let [low, high] = ends.map(|(addr, port)| sip::place(&address_text(addr), Some(port)));
                format!("{low}-{high} {reference}")
            }
            Self::Phone { phone, manager, reference, .. } => {
                format!("{}-{} {reference}", address_text(phone), address_text(manager))
            }
        }
    }
}

/// What a message does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// It begins.
    Call,
    /// The called one is told of it.
    Ring,
    Answer,
    /// It is over: hung up, or given up.
    Release,
    /// It is over: it could not be.
    Refuse,
    Other,
}

/// A medium that a message describes.
#[derive(Debug, Clone, PartialEq, Eq, GetSize, Serialize, Deserialize)]
pub(super) struct Medium {
    /// Who receives there; none if it is a third one.
    pub side: Option<Side>,
    pub addr: Addr,
    pub port: u16,
    pub payload: Option<(u8, String)>,
    place: (Addr, Addr, u64),
    since: i64,
    until: Option<i64>,
}

/// A message that belongs to a line.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub place: &'a Place,
    pub line: Line,
    pub transport: Cow<'a, str>,
    /// What numbers are from: `ISUP`, `Q.931`, `Skinny`.
    pub source: &'static str,
    pub name: Cow<'static, str>,
    pub act: Act,
    /// Which of the two ends of the line sends it.
    pub sender: bool,
    /// Which of them has called, if the message says so.
    pub caller: Option<bool>,
    /// Whether the sender of a release is who ended the call.
    pub tells_who: bool,
    /// Whether a call can be known by this message first.
    pub may_begin: bool,
    /// Whether calls begin with it.
    pub is_first: bool,
    pub called: Option<String>,
    pub calling: Option<String>,
    /// Who diverted it, the last one first.
    pub diverted_by: Vec<String>,
    pub cause: Option<u8>,
    pub medium: Option<Described>,
    /// How what the phone receives is encoded.
    pub codec: Option<(u8, &'static str)>,
}

/// A medium of a message: who receives at which endpoint, or that nobody does any more.
#[derive(Debug, Clone)]
pub(super) struct Described {
    /// Which end of the line receives; none if it is a third one.
    pub receiver: Option<bool>,
    pub endpoint: (Addr, u16),
    pub payload: Option<(u8, &'static str)>,
}

/// Media that are kept of a call.
const MAX_MEDIA: usize = 16;

/// A call of a line so far.
#[derive(Debug, GetSize, Serialize, Deserialize)]
pub(super) struct Seized {
    number: u64,
    /// How many bytes it took when that was counted last.
    pub size: usize,
    #[get_size(ignore)]
    pub line: Line,
    pub last: i64,
    /// When it is over if nothing more comes.
    pub end_at: i64,
    transport: String,
    source: String,
    /// Which end of the line has called.
    caller_end: bool,
    state: Ending,
    began_before: bool,
    began: i64,
    rang: Option<i64>,
    answered: Option<i64>,
    ended: Option<i64>,
    ended_by: Option<Side>,
    cause: Option<u8>,
    calling: Option<String>,
    called: Option<String>,
    diverted_by: Vec<String>,
    src: Addr,
    dst: Addr,
    addresses: Vec<Addr>,
    eth_src: Option<Mac>,
    eth_dst: Option<Mac>,
    vlan: Option<u16>,
    encap: String,
    messages: u32,
    retransmissions: u32,
    frames: Vec<u64>,
    media: Vec<Medium>,
    codec: Option<(u8, String)>,
    /// What was seen beyond its messages, if somebody asks for places.
    pub ways: Ways,
}

impl Seized {
    /// A call that begins, or goes on, with this message.
    pub fn new(number: u64, told: &Told<'_>) -> Self {
        let place = told.place;
        // What is told first of a call that began before: the answer comes from who was called, and a release from anybody.
        let is_callees = match told.caller {
            Some(caller) => caller != told.sender,
            None => matches!(told.act, Act::Ring | Act::Answer),
        };
        Self {
            number,
            size: 0,
            line: told.line,
            last: place.ts,
            end_at: place.ts,
            transport: told.transport.to_string(),
            source: told.source.to_owned(),
            caller_end: told.sender != is_callees,
            state: Ending::Unknown,
            began_before: !told.is_first,
            began: place.ts,
            rang: None,
            answered: None,
            ended: None,
            ended_by: None,
            cause: None,
            calling: None,
            called: None,
            diverted_by: Vec::new(),
            src: if is_callees { place.dst } else { place.src },
            dst: if is_callees { place.src } else { place.dst },
            addresses: Vec::new(),
            eth_src: place.eth_src,
            eth_dst: place.eth_dst,
            vlan: place.vlan,
            encap: place.encap.clone(),
            messages: 0,
            retransmissions: 0,
            frames: Vec::new(),
            media: Vec::new(),
            codec: None,
            ways: Ways::default(),
        }
    }

    /// Whether the line was released, or taken for another call: then what comes is of the next one.
    pub fn is_over(&self, told: &Told<'_>) -> bool {
        told.act == Act::Call
            && (self.ended.is_some()
                || self.began_before
                || told.sender != self.caller_end
                || self.called != told.called)
    }

    /// When it ended.
    pub fn ended(&self) -> Option<i64> {
        self.ended
    }

    /// How long after its last message it is over.
    pub fn patience(&self, options: &Options) -> i64 {
        self.state.patience(options)
    }

    /// Takes a message.
    pub fn take(&mut self, told: &Told<'_>, tap: &str, rows: &mut Rows, endpoints: &mut Endpoints) {
        let place = told.place;
        if let Some(caller) = told.caller.filter(|&caller| caller != self.caller_end) {
            self.caller_end = caller;
            std::mem::swap(&mut self.src, &mut self.dst);
            for medium in &mut self.media {
                medium.side = medium.side.map(Side::other);
            }
        }
        let side = if told.sender == self.caller_end { Side::Caller } else { Side::Callee };
        if rows.located.is_some() {
            self.ways.keep(place.outer, None);
        }
        self.last = self.last.max(place.ts);
        let is_retransmission = match told.act {
            // States come again, as after a hold.
            _ if !told.tells_who => false,
            Act::Call => self.state != Ending::Unknown,
            Act::Release => self.ended.is_some() && self.ended_by == Some(side),
            Act::Answer => self.answered.is_some(),
            _ => false,
        };
        if is_retransmission {
            self.retransmissions = self.retransmissions.saturating_add(1);
        } else {
            self.messages = self.messages.saturating_add(1);
            for addr in [place.src, place.dst] {
                keep(&mut self.addresses, addr);
            }
            keep(&mut self.frames, place.frame);
            self.note(told);
            self.advance(told, side);
        }
        let described = told.medium.as_ref().map(|medium| {
            let (addr, port) = medium.endpoint;
            let encoding = medium.payload.map_or("", |(_, encoding)| encoding);
            let text = format!("audio {} {encoding}", sip::place(&address_text(addr), Some(port)));
            vec![Cow::Owned(text.trim_end().to_owned())]
        });
        if let Some((kind, encoding)) = told.codec {
            self.codec = Some((kind, encoding.to_owned()));
        }
        if let Some(described) = &told.medium {
            self.describe(described, place, endpoints);
        }
        if !rows.wants(Table::Messages) {
            return;
        }
        rows.push_message(MessageRow {
            transport: Some(Cow::Borrowed(&told.transport)),
            method: Some(told.name.clone()),
            side: Some(side.name().into()),
            is_retransmission: Some(is_retransmission),
            is_complete: Some(true),
            media: described,
            ..MessageRow::at(self.number, tap, place)
        });
    }

    /// Keeps who is named, the first of each.
    fn note(&mut self, told: &Told<'_>) {
        if self.calling.is_none() {
            self.calling.clone_from(&told.calling);
        }
        if self.called.is_none() {
            self.called.clone_from(&told.called);
        }
        if self.diverted_by.is_empty() {
            self.diverted_by.clone_from(&told.diverted_by);
            self.diverted_by.dedup();
        }
    }

    /// Keeps where media are to go.
    fn describe(&mut self, described: &Described, place: &Place, endpoints: &mut Endpoints) {
        let (addr, port) = described.endpoint;
        let side = described
            .receiver
            .map(|receiver| if receiver == self.caller_end { Side::Caller } else { Side::Callee });
        // Where a phone receives was asked for with a codec.
        let asked = self.codec.clone().filter(|_| described.receiver == Some(true));
        let payload = described.payload.map(|(kind, encoding)| (kind, encoding.to_owned())).or(asked);
        if let Some(known) = self.media.iter_mut().find(|known| (known.addr, known.port) == (addr, port)) {
            known.payload = known.payload.take().or(payload);
            return;
        }
        for known in self.media.iter_mut().filter(|known| known.side == side && side.is_some()) {
            known.until.get_or_insert(place.ts);
        }
        if self.media.len() >= MAX_MEDIA {
            return;
        }
        if let Some(side) = side {
            let spot = Spot { call: self.number, side, is_rtcp: false, since: place.ts, until: None };
            endpoints.add(self.line.tap(), addr, port, spot, payload.as_slice());
        }
        let place_of = (place.src, place.dst, place.frame);
        let medium = Medium { side, addr, port, payload, place: place_of, since: place.ts, until: None };
        self.media.push(medium);
    }

    fn advance(&mut self, told: &Told<'_>, side: Side) {
        let ts = told.place.ts;
        let is_open = matches!(self.state, Ending::Calling | Ending::Ringing);
        match told.act {
            Act::Call => self.state = Ending::Calling,
            Act::Ring if self.state == Ending::Calling || self.state == Ending::Unknown => {
                self.rang.get_or_insert(ts);
                self.state = Ending::Ringing;
            }
            Act::Answer if is_open || self.state == Ending::Unknown => {
                self.answered = Some(ts);
                self.state = Ending::Answered;
            }
            Act::Release | Act::Refuse if self.ended.is_none() => {
                self.state = match (self.state, side) {
                    _ if told.act == Act::Refuse => Ending::Failed,
                    (Ending::Answered | Ending::Unknown, _) => Ending::Ended,
                    (_, Side::Caller) => Ending::Cancelled,
                    (_, Side::Callee) if !told.tells_who => Ending::Cancelled,
                    (_, Side::Callee) => Ending::Failed,
                };
                (self.ended, self.cause) = (Some(ts), told.cause);
                // Of a call that began before, nobody knows who called.
                self.ended_by = Some(side).filter(|_| self.messages > 1 && told.tells_who);
            }
            _ => {}
        }
    }

    /// The row of a call that is over.
    pub fn close(mut self, tap: &str, is_timeout: bool, rows: &mut Rows) {
        if rows.wants(Table::Media) {
            self.push_media(tap, rows);
        }
        if !rows.wants(Table::Calls) {
            return;
        }
        if is_timeout && matches!(self.state, Ending::Calling | Ending::Ringing) {
            self.state = Ending::TimedOut;
        }
        let ring_end = self.answered.or(self.ended);
        let addresses = self.addresses.iter().map(|&addr| Cow::Owned(address_text(addr))).collect();
        let source = |number: &Option<String>| number.as_ref().map(|_| Cow::Borrowed(&*self.source));
        let diverted = self.diverted_by.iter().map(|number| Cow::Borrowed(&**number)).collect::<Vec<_>>();
        let caller_media = self.endpoints_of(Side::Caller);
        let callee_media = self.endpoints_of(Side::Callee);
        let mut codecs = Vec::new();
        for (_, encoding) in self.media.iter().filter_map(|medium| medium.payload.as_ref()) {
            keep(&mut codecs, Cow::Owned(encoding.clone()));
        }
        let codecs_agreed = (!codecs.is_empty()).then_some(codecs);
        let row = CallRow {
            call: Some(self.number),
            tap: Some(tap.into()),
            call_id: Some(self.line.id().into()),
            state: Some(self.state.name().into()),
            began_before: Some(self.began_before),
            began: (!self.began_before).then_some(self.began),
            rang: self.rang,
            answered: self.answered,
            ended: self.ended,
            last: Some(self.last),
            ended_by: self.ended_by.map(|side| side.name().into()),
            cause: self.cause,
            post_dial_ms: millis(Some(self.began).filter(|_| !self.began_before), self.rang),
            ring_ms: millis(self.rang, ring_end),
            talk_ms: millis(self.answered, self.ended),
            caller_source: source(&self.calling),
            callee_source: source(&self.called),
            caller: self.calling.as_deref().map(Cow::Borrowed),
            callee: self.called.as_deref().map(Cow::Borrowed),
            diverted_by: (!diverted.is_empty()).then_some(diverted),
            transport: Some(Cow::Borrowed(&self.transport)),
            src: Some(self.src),
            dst: Some(self.dst),
            addresses: Some(addresses),
            eth_src: self.eth_src,
            eth_dst: self.eth_dst,
            vlan: self.vlan,
            encap: (!self.encap.is_empty()).then_some(Cow::Borrowed(&self.encap)),
            caller_media,
            callee_media,
            codecs_agreed,
            is_siprec: Some(false),
            messages: Some(self.messages),
            retransmissions: Some(self.retransmissions),
            frames: Some(self.frames.clone()),
            ..CallRow::default()
        };
        rows.push_call(row, || self.ends(tap));
    }

    fn push_media(&self, tap: &str, rows: &mut Rows) {
        for medium in &self.media {
            rows.push_media(MediaRow {
                call: Some(self.number),
                tap: Some(tap.into()),
                side: medium.side.map(|side| side.name().into()),
                medium: Some("audio".into()),
                addr: Some(medium.addr),
                port: Some(medium.port),
                since: Some(medium.since),
                until: medium.until.or(self.ended),
                frame: Some(medium.place.2),
                src: Some(medium.place.0),
                dst: Some(medium.place.1),
                is_agreed: Some(true),
                is_candidate: Some(false),
                payloads: medium
                    .payload
                    .as_ref()
                    .map(|(kind, encoding)| vec![format!("{kind} {encoding}").into()]),
                ..MediaRow::default()
            });
        }
    }

    fn endpoints_of(&self, side: Side) -> Option<Vec<Cow<'static, str>>> {
        let media = self.media.iter().filter(|medium| medium.side == Some(side));
        let texts: Vec<_> = media
            .map(|medium| {
                format!("audio {}", sip::place(&address_text(medium.addr), Some(medium.port))).into()
            })
            .collect();
        (!texts.is_empty()).then_some(texts)
    }

    /// What says where it is.
    fn ends<'a>(&'a self, tap: &'a str) -> Ends<'a> {
        let announced = |side| {
            let media = self.media.iter().filter(|medium| medium.side == Some(side));
            media.map(|medium| medium.addr).collect()
        };
        Ends {
            tap,
            numbers: [&self.calling, &self.called].map(|number| number.iter().map(String::as_str).collect()),
            src: self.src,
            dst: self.dst,
            eth_src: self.eth_src,
            eth_dst: self.eth_dst,
            vlan: self.vlan,
            addresses: &self.addresses,
            via: Vec::new(),
            route: Vec::new(),
            contacts: Vec::new(),
            announced: [announced(Side::Caller), announced(Side::Callee)],
            seen: &self.ways,
        }
    }
}
