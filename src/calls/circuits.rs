//! Calls of ISUP (ITU-T Q.764) and BICC: one call a circuit, from the initial address message to the release.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Options;
use super::call::{Ending, keep, millis};
use super::endpoints::Side;
use super::rows::{CallRow, MessageRow, Rows};
use super::streams::Place;
use crate::dissect::Mac;
use crate::messages::ss7;
use crate::packets::address::address_text;
use crate::wire::ip::Addr;

/// A circuit between two exchanges as one tap sees it; the call instance of BICC (ITU-T Q.1902.3), which has a space of numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Circuit {
    pub tap: u16,
    /// Point codes, the smaller one first.
    ends: (u32, u32),
    network: Option<u8>,
    service: u8,
    cic: u32,
}

/// A message that belongs to a circuit.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub place: &'a Place,
    pub circuit: Circuit,
    adaptation: Cow<'a, str>,
    kind: u8,
    opc: u32,
    called: Option<String>,
    calling: Option<String>,
    redirecting: Option<String>,
    original_called: Option<String>,
    cause: Option<u8>,
}

/// Kinds of messages, Q.763 table 4.
const INITIAL_ADDRESS: u8 = 1;
const ADDRESS_COMPLETE: u8 = 6;
const CONNECT: u8 = 7;
const ANSWER: u8 = 9;
const RELEASE: u8 = 12;
const RELEASE_COMPLETE: u8 = 16;

/// The name of a kind of message, Q.762.
fn name(kind: u8) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        INITIAL_ADDRESS => "IAM",
        2 => "SAM",
        3 => "INR",
        4 => "INF",
        5 => "COT",
        ADDRESS_COMPLETE => "ACM",
        CONNECT => "CON",
        8 => "FOT",
        ANSWER => "ANM",
        RELEASE => "REL",
        13 => "SUS",
        14 => "RES",
        RELEASE_COMPLETE => "RLC",
        17 => "CCR",
        18 => "RSC",
        44 => "CPG",
        _ => return Cow::Owned(format!("ISUP {kind}")),
    })
}

impl<'a> Told<'a> {
    /// What a row of SS7 says of a call; none if it is of none.
    pub fn of(place: &'a Place, view: &ss7::View<'a>, row: usize) -> Option<Self> {
        let (opc, dpc) = (view.opc(row)?, view.dpc(row)?);
        let number = |number: Option<Cow<'a, str>>| number.map(Cow::into_owned);
        let circuit = Circuit {
            tap: place.tap,
            ends: (opc.min(dpc), opc.max(dpc)),
            network: view.network(row),
            service: view.service(row)?,
            cic: view.cic(row)?,
        };
        Some(Self {
            place,
            circuit,
            adaptation: view.adaptation(row)?,
            kind: view.isup_type(row)?,
            opc,
            called: number(view.called(row)),
            calling: number(view.calling(row)),
            redirecting: number(view.redirecting(row)),
            original_called: number(view.original_called(row)),
            cause: view.cause(row),
        })
    }

    /// Whether a call can be known by this message first: what supervises circuits alone makes none.
    pub fn may_begin(&self) -> bool {
        matches!(self.kind, INITIAL_ADDRESS | ADDRESS_COMPLETE | CONNECT | ANSWER | RELEASE)
    }
}

/// A call of a circuit so far.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Seized {
    number: u64,
    pub circuit: Circuit,
    pub last: i64,
    /// When it is over if nothing more comes.
    pub end_at: i64,
    transport: String,
    /// Point code of who called.
    caller_end: u32,
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
}

impl Seized {
    /// A call that begins, or goes on, with this message.
    pub fn new(number: u64, told: &Told<'_>) -> Self {
        let place = told.place;
        // What is told first of a call that began before: the answer comes from who was called, and a release from anybody.
        let is_callees = matches!(told.kind, ADDRESS_COMPLETE | CONNECT | ANSWER);
        let (low, high) = told.circuit.ends;
        let other = if told.opc == low { high } else { low };
        Self {
            number,
            circuit: told.circuit,
            last: place.ts,
            end_at: place.ts,
            transport: told.adaptation.to_string(),
            caller_end: if is_callees { other } else { told.opc },
            state: Ending::Unknown,
            began_before: told.kind != INITIAL_ADDRESS,
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
        }
    }

    /// Whether the circuit was released, or taken for another call: then what comes is of the next one.
    pub fn is_over(&self, told: &Told<'_>) -> bool {
        told.kind == INITIAL_ADDRESS
            && (self.ended.is_some()
                || self.began_before
                || told.opc != self.caller_end
                || self.called != told.called)
    }

    /// How long after its last message it is over.
    pub fn patience(&self, options: &Options) -> i64 {
        self.state.patience(options)
    }

    /// Takes a message.
    pub fn take(&mut self, told: &Told<'_>, tap: &str, rows: &mut Rows) {
        let place = told.place;
        let side = if told.opc == self.caller_end { Side::Caller } else { Side::Callee };
        self.last = self.last.max(place.ts);
        let is_retransmission = match told.kind {
            INITIAL_ADDRESS => self.state != Ending::Unknown,
            RELEASE => self.ended.is_some() && self.ended_by == Some(side),
            ANSWER | CONNECT => self.answered.is_some(),
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
            self.advance(told, side);
        }
        rows.messages.push(MessageRow {
            transport: Some(Cow::Borrowed(&told.adaptation)),
            method: Some(name(told.kind)),
            side: Some(side.name().into()),
            is_retransmission: Some(is_retransmission),
            is_complete: Some(true),
            ..MessageRow::at(self.number, tap, place)
        });
    }

    fn advance(&mut self, told: &Told<'_>, side: Side) {
        let ts = told.place.ts;
        let is_open = matches!(self.state, Ending::Calling | Ending::Ringing);
        match told.kind {
            INITIAL_ADDRESS => {
                self.state = Ending::Calling;
                self.calling.clone_from(&told.calling);
                self.called.clone_from(&told.called);
                self.diverted_by = told.redirecting.iter().chain(&told.original_called).cloned().collect();
                self.diverted_by.dedup();
            }
            ADDRESS_COMPLETE if self.state == Ending::Calling || self.state == Ending::Unknown => {
                self.rang.get_or_insert(ts);
                self.state = Ending::Ringing;
            }
            ANSWER | CONNECT if is_open || self.state == Ending::Unknown => {
                self.answered = Some(ts);
                self.state = Ending::Answered;
            }
            RELEASE if self.ended.is_none() => {
                self.state = match (self.state, side) {
                    (Ending::Answered | Ending::Unknown, _) => Ending::Ended,
                    (_, Side::Caller) => Ending::Cancelled,
                    (_, Side::Callee) => Ending::Failed,
                };
                (self.ended, self.cause) = (Some(ts), told.cause);
                // Of a call that began before, nobody knows who called.
                self.ended_by = Some(side).filter(|_| self.messages > 1);
            }
            _ => {}
        }
    }

    /// The row of a call that is over.
    pub fn close(mut self, tap: &str, is_timeout: bool, rows: &mut Rows) {
        if is_timeout && matches!(self.state, Ending::Calling | Ending::Ringing) {
            self.state = Ending::TimedOut;
        }
        let ring_end = self.answered.or(self.ended);
        let addresses = self.addresses.iter().map(|&addr| Cow::Owned(address_text(addr))).collect();
        let (low, high) = self.circuit.ends;
        let source = |number: &Option<String>| number.as_ref().map(|_| Cow::Borrowed("ISUP"));
        let diverted = self.diverted_by.iter().map(|number| Cow::Borrowed(&**number)).collect::<Vec<_>>();
        rows.push_call(CallRow {
            call: Some(self.number),
            tap: Some(tap.into()),
            call_id: Some(format!("{low}-{high} {}", self.circuit.cic).into()),
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
            is_siprec: Some(false),
            messages: Some(self.messages),
            retransmissions: Some(self.retransmissions),
            incomplete: Some(0),
            frames: Some(self.frames.clone()),
            ..CallRow::default()
        }, super::places::Ends::default);
    }
}
