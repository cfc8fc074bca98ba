//! One call: what its messages say, and what became of it.

use std::borrow::Cow;
use std::sync::Arc;

use get_size2::GetSize;
use serde::{Deserialize, Serialize};

use super::Options;
use super::description::{Description, Section};
use super::endpoints::{Endpoints, Side, Spot};
use super::joins::{Join, Setup};
use super::places::{Ends, Ways};
use super::rows::{CallRow, ChangeRow, MediaRow, MessageRow, Rows, Table};
use super::streams::{Arrived, Place};
use crate::dissect::Mac;
use crate::hash::fold;
use crate::named::named;
use crate::packets::address::address_text;
use crate::wire::ip::Addr;
use crate::wire::isup::{INITIAL_ADDRESS, Isup, Number};
use crate::wire::sip::{self, Message, Start, Uri, Via};

/// How many of a thing a call keeps: hops, addresses, tags, descriptions.
const MAX_KEPT: usize = 16;
/// Media endpoints of one call.
const MAX_MEDIA: usize = 64;
/// Messages that later ones are compared with, to know those sent again.
const MAX_RECENT: usize = 64;

named! {
    /// What became of a call.
    Ending {
        /// Nothing but the call was seen.
        Calling = "calling",
        /// It rings, or goes on.
        Ringing = "ringing",
        /// It was answered.
        Answered = "answered",
        /// It was hung up.
        Ended = "ended",
        /// Who called gave up.
        Cancelled = "cancelled",
        /// It was refused.
        Failed = "failed",
        /// It was sent elsewhere.
        Redirected = "redirected",
        /// No answer came.
        TimedOut = "timed-out",
        /// It began before the capture.
        Unknown = "unknown",
    }
}

impl Ending {
    /// How long after its last message a call of which this became is over.
    pub(super) fn patience(self, options: &Options) -> i64 {
        match self {
            Self::Calling | Self::Ringing => options.unanswered_ns,
            Self::Answered | Self::Unknown => options.answered_ns,
            _ => options.linger_ns,
        }
    }
}

/// The two ends of a hop, the smaller one first.
type Hop = (Addr, Addr);

fn hop(place: &Place) -> Hop {
    (place.src.min(place.dst), place.src.max(place.dst))
}

/// What a message says.
#[derive(Debug)]
pub(super) struct Told<'a> {
    arrived: Arrived<'a>,
    /// Of a request.
    method: Option<String>,
    status: Option<u16>,
    request: Option<Uri>,
    pub call_id: String,
    cseq: u32,
    cseq_method: String,
    from: Uri,
    from_tag: String,
    to: Uri,
    to_tag: String,
    vias: Vec<Via>,
    record_route: Vec<String>,
    contacts: Vec<Uri>,
    agent: Option<String>,
    description: Option<Description>,
    is_siprec: bool,
    isup: Option<(Option<String>, Option<String>)>,
    message: &'a Message<'a>,
}

/// Text that cannot fill the memory.
fn bounded(text: &str) -> String {
    start(text, 256).to_owned()
}

/// The first characters of a text.
pub(super) fn start(text: &str, characters: usize) -> &str {
    // A character has a byte or more.
    if text.len() <= characters {
        return text;
    }
    let end = text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

/// Numbers called and calling, of an initial address message that SIP carries (ITU-T Q.1912.5).
fn numbers(bytes: &[u8]) -> Option<(Option<String>, Option<String>)> {
    let isup = Isup::parse(bytes).filter(|isup| isup.kind == INITIAL_ADDRESS)?;
    let text = |number: Option<Number>| number.as_ref().and_then(Number::text);
    Some((text(isup.called), text(isup.calling)))
}

/// Why a call ends, as the field Reason says (RFC 3326): cause value of ITU-T Q.850.
fn cause(message: &Message<'_>) -> Option<u8> {
    let reasons = message.values("Reason", "", MAX_KEPT);
    reasons.iter().find_map(|reason| {
        let (protocol, parameters) = reason.split_once(';')?;
        let is_it = protocol.trim().eq_ignore_ascii_case("Q.850");
        sip::parameter(parameters, "cause").filter(|_| is_it)?.parse().ok().filter(|cause| *cause < 128)
    })
}

fn uri_and_parameters(value: &str) -> (Uri, &str) {
    let (uri, parameters) = sip::name_addr(value);
    (Uri::parse(uri).unwrap_or_default(), parameters)
}

impl<'a> Told<'a> {
    /// What a message says; none if it belongs to no call.
    pub fn of(arrived: Arrived<'a>) -> Option<Self> {
        let message = arrived.message;
        let (method, status, request) = match message.start {
            Start::Request(method, uri) => (
                Some(bounded(&sip::text(method))),
                None,
                Some(Uri::parse(&sip::text(uri)).unwrap_or_default()),
            ),
            Start::Response(status) => (None, Some(status?), None),
        };
        let call_id = message.field("Call-ID", "i").filter(|id| !id.is_empty())?.into_owned();
        let cseq = message.field("CSeq", "").unwrap_or_default();
        let (number, of) = cseq.split_once([' ', '\t']).unwrap_or((&cseq, ""));
        let cseq_method = method.clone().unwrap_or_else(|| bounded(of.trim()));
        let from = message.field("From", "f").unwrap_or_default();
        let (from, from_parameters) = uri_and_parameters(&from);
        let to = message.field("To", "t").unwrap_or_default();
        let (to, to_parameters) = uri_and_parameters(&to);
        let tag = |parameters| bounded(sip::parameter(parameters, "tag").unwrap_or_default());
        let (from_tag, to_tag) = (tag(from_parameters), tag(to_parameters));
        let vias = message.values("Via", "v", MAX_KEPT).iter().filter_map(|via| Via::parse(via)).collect();
        let places = |name| {
            let values = message.values(name, "", MAX_KEPT);
            values
                .iter()
                .filter_map(|value| Uri::parse(sip::name_addr(value).0))
                .map(|uri| uri.place())
                .collect()
        };
        let contacts = message.values("Contact", "m", MAX_KEPT);
        let contacts = contacts.iter().filter_map(|value| Uri::parse(sip::name_addr(value).0)).collect();
        let agent = message
            .field("User-Agent", "")
            .or_else(|| message.field("Server", ""))
            .map(|name| bounded(&name));
        let mut told = Self {
            arrived,
            method,
            status,
            request,
            call_id,
            cseq: sip::number(number.trim().as_bytes()).unwrap_or_default(),
            cseq_method,
            from,
            from_tag,
            to,
            to_tag,
            vias,
            record_route: places("Record-Route"),
            contacts,
            agent,
            description: None,
            is_siprec: false,
            isup: None,
            message,
        };
        told.read_body();
        Some(told)
    }

    fn read_body(&mut self) {
        let body = self.arrived.bytes.get(self.message.head_len..).unwrap_or_default();
        let told = self.message.content_length().map(|len| len as usize);
        let is_cut = told.map_or(!self.arrived.is_complete, |len| len > body.len());
        let body = body.get(..told.unwrap_or(body.len())).unwrap_or(body);
        if body.is_empty() {
            return;
        }
        let kind = self.message.field("Content-Type", "c").unwrap_or_default();
        for part in sip::parts(&kind, body) {
            match &*part.kind {
                "application/sdp" => {
                    let is_cut = is_cut && !part.is_ended;
                    let description = self.description.take();
                    self.description = description.or_else(|| Description::parse(part.bytes, is_cut));
                }
                "application/isup" => self.isup = self.isup.take().or_else(|| numbers(part.bytes)),
                "application/rs-metadata" | "application/rs-metadata+xml" => self.is_siprec = true,
                _ => {}
            }
        }
    }

    fn is_request(&self, method: &str) -> bool {
        self.method.as_deref() == Some(method)
    }

    fn is_response_to(&self, method: &str) -> bool {
        self.status.is_some() && self.cseq_method == method
    }

    /// Whether a call can be known by this message first.
    pub fn may_begin(&self) -> bool {
        match &*self.cseq_method {
            "INVITE" => true,
            "BYE" | "ACK" | "UPDATE" | "PRACK" => self.method.is_none() || !self.to_tag.is_empty(),
            "CANCEL" => self.method.is_some(),
            _ => false,
        }
    }

    /// What is the same when the message is sent again.
    fn identity(&self) -> u64 {
        let place = self.arrived.place;
        let branch = self.vias.first().map_or("", |via| &via.branch);
        let mut hash =
            crate::hash::address(Some(place.src)) ^ crate::hash::address(Some(place.dst)).rotate_left(1);
        let numbers =
            u64::from(place.src_port) << 48 | u64::from(place.dst_port) << 32 | u64::from(self.cseq);
        hash = fold(hash ^ 0x9e37_79b9_7f4a_7c15, numbers ^ 0xd1b5_4a32_d192_ed03);
        let method = self.method.as_deref().unwrap_or(&self.cseq_method);
        for text in [method, branch, &self.to_tag, &self.from_tag] {
            let text = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
            hash = fold(hash ^ 0x9e37_79b9_7f4a_7c15, text ^ 0xd1b5_4a32_d192_ed03);
        }
        // Provisional responses may come again with another status or reliable sequence number.
        let sequence = self.message.field("RSeq", "").unwrap_or_default();
        fold(
            hash ^ u64::from(self.status.unwrap_or_default()) << 1,
            xxhash_rust::xxh3::xxh3_64(sequence.as_bytes()) | 1,
        )
    }
}

/// Somebody who is named, and where it says so.
#[derive(Debug, Clone, Default, GetSize, Serialize, Deserialize)]
struct Identity {
    name: Option<String>,
    source: Option<String>,
}

impl Identity {
    /// Of these, the first with a number, else the first with a user part.
    fn of(named: &[(&str, Option<&Uri>)]) -> Self {
        let all = || named.iter().filter_map(|(source, uri)| Some((*source, (*uri)?)));
        let number = all().find_map(|(source, uri)| Some((source, uri.number()?)));
        let user =
            || all().find(|(_, uri)| !uri.user.is_empty()).map(|(source, uri)| (source, bounded(&uri.user)));
        match number.or_else(user) {
            Some((source, name)) => Self { name: Some(bounded(&name)), source: Some(source.to_owned()) },
            None => Self::default(),
        }
    }
}

/// An offer that waits for its answer.
#[derive(Debug, GetSize, Serialize, Deserialize)]
struct Offered {
    hop: Hop,
    side: Side,
    cseq: u32,
    description: Description,
}

/// What a side has described last on a hop.
#[derive(Debug, GetSize, Serialize, Deserialize)]
struct Known {
    side: Side,
    tag: String,
    hop: Hop,
    description: Description,
}

/// A medium that was described.
#[derive(Debug, GetSize, Serialize, Deserialize)]
struct Medium {
    side: Side,
    tag: String,
    place: (Addr, Addr, u64),
    at: usize,
    section: Arc<Section>,
    since: i64,
    until: Option<i64>,
    is_agreed: bool,
}

/// What is compared from message to message: whose it is and where it was seen.
#[derive(Debug, PartialEq, Eq, GetSize, Serialize, Deserialize)]
struct Fact {
    what: String,
    side: Side,
    tag: String,
    hop: Hop,
    value: String,
}

/// A call so far.
#[derive(Debug, GetSize, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "SIP calls it so")]
pub(super) struct Call {
    pub number: u64,
    /// How many bytes it took when that was counted last.
    pub size: usize,
    pub tap: u16,
    pub call_id: String,
    pub last: i64,
    /// When it is over if nothing more comes.
    pub end_at: i64,
    pub ended: Option<i64>,
    state: Ending,
    began_before: bool,
    began: i64,
    rang: Option<i64>,
    answered: Option<i64>,
    ended_by: Option<Side>,
    final_status: Option<u16>,
    cause: Option<u8>,
    invite_cseq: Option<u32>,
    caller_tag: String,
    to_tags: Vec<String>,
    confirmed: Vec<String>,
    caller: Identity,
    callee: Identity,
    from: Uri,
    to: Uri,
    request: Option<Uri>,
    asserted: Option<Uri>,
    diverted_by: Vec<String>,
    history: Vec<String>,
    isup: Option<(Option<String>, Option<String>)>,
    transport: String,
    src: Addr,
    dst: Addr,
    addresses: Vec<Addr>,
    senders: Vec<(Side, Addr)>,
    eth_src: Option<Mac>,
    eth_dst: Option<Mac>,
    vlan: Option<u16>,
    encap: String,
    via: Vec<String>,
    received: Vec<String>,
    route: Vec<String>,
    contacts: Vec<String>,
    caller_agent: Option<String>,
    callee_agent: Option<String>,
    codecs_offered: Vec<String>,
    /// Whether these are of a description that was cut.
    is_offer_cut: bool,
    codecs_agreed: Vec<String>,
    offers: Vec<Offered>,
    known: Vec<Known>,
    media: Vec<Medium>,
    facts: Vec<Fact>,
    encryption: Option<String>,
    encryption_offered: Vec<String>,
    encryption_lost: bool,
    redirects: Vec<(String, String)>,
    refer: Option<(String, String)>,
    replaces: Option<String>,
    is_siprec: bool,
    session_id: Option<String>,
    icid: Option<String>,
    require: Vec<String>,
    messages: u32,
    retransmissions: u32,
    incomplete: u32,
    frames: Vec<u64>,
    recent: Vec<u64>,
    joins: Vec<Join>,
    /// What was seen beyond its messages, if somebody asks for places.
    pub ways: Ways,
}

/// Adds what is not there yet, as long as there is room.
pub(super) fn keep<T: PartialEq>(all: &mut Vec<T>, new: T) {
    if all.len() < MAX_KEPT && !all.contains(&new) {
        all.push(new);
    }
}

/// As [`keep`], of the start of a text.
fn keep_text(all: &mut Vec<String>, new: &str) {
    let new = start(new, 256);
    if all.len() < MAX_KEPT && !all.iter().any(|known| known == new) {
        all.push(new.to_owned());
    }
}

fn text(value: &str) -> Option<Cow<'_, str>> {
    (!value.is_empty()).then_some(Cow::Borrowed(value))
}

fn texts(values: &[String]) -> Option<Vec<Cow<'_, str>>> {
    (!values.is_empty()).then(|| values.iter().map(|value| Cow::Borrowed(&**value)).collect())
}

fn joined(joins: &[Join], of: fn(&Join) -> &String) -> Option<Vec<Cow<'_, str>>> {
    (!joins.is_empty()).then(|| joins.iter().map(|join| Cow::Borrowed(&**of(join))).collect())
}

/// Milliseconds from one time to another.
pub(super) fn millis(from: Option<i64>, to: Option<i64>) -> Option<u64> {
    let span = to?.checked_sub(from?)?;
    u64::try_from(span).ok().map(|span| span / 1_000_000)
}

impl Call {
    /// A call that begins, or goes on, with this message.
    pub fn new(number: u64, told: &Told<'_>) -> Self {
        let place = told.arrived.place;
        let is_initial = told.is_request("INVITE") && told.to_tag.is_empty();
        let asserted = told.message.values("P-Asserted-Identity", "", 4);
        let asserted: Vec<_> =
            asserted.iter().filter_map(|value| Uri::parse(sip::name_addr(value).0)).collect();
        // Of several, the number.
        let asserted = asserted.iter().find(|uri| uri.number().is_some()).or(asserted.first()).cloned();
        // A number that was called stands in the URI as it was called first; a proxy may have put its place there instead.
        let caller = Identity::of(&[("P-Asserted-Identity", asserted.as_ref()), ("From", Some(&told.from))]);
        let callee = Identity::of(&[
            ("Request-URI", told.request.as_ref().filter(|_| is_initial)),
            ("To", Some(&told.to)),
        ]);
        Self {
            number,
            size: 0,
            tap: place.tap,
            call_id: told.call_id.clone(),
            last: place.ts,
            end_at: place.ts,
            ended: None,
            state: if is_initial { Ending::Calling } else { Ending::Unknown },
            began_before: !is_initial,
            began: place.ts,
            rang: None,
            answered: None,
            ended_by: None,
            final_status: None,
            cause: None,
            invite_cseq: (told.cseq_method == "INVITE").then_some(told.cseq),
            caller_tag: told.from_tag.clone(),
            to_tags: Vec::new(),
            confirmed: Vec::new(),
            caller,
            callee,
            from: told.from.clone(),
            to: told.to.clone(),
            request: told.request.clone().filter(|_| is_initial),
            asserted,
            diverted_by: Vec::new(),
            history: Vec::new(),
            isup: None,
            transport: told.arrived.transport.to_owned(),
            src: if told.method.is_some() { place.src } else { place.dst },
            dst: if told.method.is_some() { place.dst } else { place.src },
            addresses: Vec::new(),
            senders: Vec::new(),
            eth_src: place.eth_src,
            eth_dst: place.eth_dst,
            vlan: place.vlan,
            encap: place.encap.clone(),
            via: Vec::new(),
            received: Vec::new(),
            route: Vec::new(),
            contacts: Vec::new(),
            caller_agent: None,
            callee_agent: None,
            codecs_offered: Vec::new(),
            is_offer_cut: false,
            codecs_agreed: Vec::new(),
            offers: Vec::new(),
            known: Vec::new(),
            media: Vec::new(),
            facts: Vec::new(),
            encryption: None,
            encryption_offered: Vec::new(),
            encryption_lost: false,
            redirects: Vec::new(),
            refer: None,
            replaces: None,
            is_siprec: false,
            session_id: None,
            icid: None,
            require: Vec::new(),
            messages: 0,
            retransmissions: 0,
            incomplete: 0,
            frames: Vec::new(),
            recent: Vec::new(),
            joins: Vec::new(),
            ways: Ways::default(),
        }
    }

    /// Whether it began before the capture.
    pub fn began_before(&self) -> bool {
        self.began_before
    }

    /// What is compared to know the other side of it.
    pub fn setup(&self) -> Setup<'_> {
        Setup {
            call: self.number,
            began: self.began,
            is_over: self.ended.is_some(),
            src: self.src,
            dst: self.dst,
            caller: self.caller.name.as_deref(),
            callee: self.callee.name.as_deref(),
            diverted_by: &self.diverted_by,
            session_id: self.session_id.as_deref(),
            icid: self.icid.as_deref(),
        }
    }

    /// The endpoints that it has described.
    pub fn described(&self) -> Vec<(Addr, u16)> {
        let sections = self.media.iter().map(|medium| &medium.section);
        let open = sections.filter(|section| section.port != 0);
        open.filter_map(|section| section.addr.map(|addr| (addr, section.port))).collect()
    }

    /// Takes note of a call that seems to be the other side of it.
    pub fn join(&mut self, join: Join) {
        if self.joins.len() < MAX_KEPT {
            self.joins.push(join);
        }
    }

    /// How long after its last message it is over.
    pub fn patience(&self, options: &Options) -> i64 {
        let is_challenged = matches!(self.final_status, Some(401 | 407));
        if self.state == Ending::Failed && is_challenged {
            return options.challenged_ns.max(options.linger_ns);
        }
        self.state.patience(options)
    }

    /// Who sent the request that a message is, or responds to: its tag is that of From. Of a dialog that is not known, who has sent from that address.
    fn requester(&self, told: &Told<'_>) -> Side {
        if told.from_tag == self.caller_tag {
            return Side::Caller;
        }
        if told.to_tag == self.caller_tag || self.to_tags.contains(&told.from_tag) {
            return Side::Callee;
        }
        let place = told.arrived.place;
        let addr = if told.method.is_some() { place.src } else { place.dst };
        let has_sent = |side| self.senders.contains(&(side, addr));
        if has_sent(Side::Caller) && !has_sent(Side::Callee) { Side::Caller } else { Side::Callee }
    }

    /// Who sent a message.
    fn side(&self, told: &Told<'_>) -> Side {
        let requester = self.requester(told);
        if told.method.is_some() { requester } else { requester.other() }
    }

    /// Takes a message.
    pub fn take(&mut self, told: &Told<'_>, tap: &str, rows: &mut Rows, endpoints: &mut Endpoints) {
        let place = told.arrived.place;
        let side = self.side(told);
        self.last = self.last.max(place.ts);
        if rows.located.is_some() {
            self.ways.keep(place.outer, None);
        }
        let identity = told.identity();
        let is_retransmission = self.recent.contains(&identity);
        let mut sdp = None;
        if is_retransmission {
            self.retransmissions = self.retransmissions.saturating_add(1);
        } else {
            if self.recent.len() >= MAX_RECENT {
                self.recent.remove(0);
            }
            self.recent.push(identity);
            self.messages = self.messages.saturating_add(1);
            self.incomplete = self.incomplete.saturating_add(u32::from(!told.arrived.is_complete));
            keep(&mut self.frames, place.frame);
            self.note(told, side);
            let mut changes = Changes { call: self.number, tap, told, side, rows };
            self.compare(told, side, &mut changes);
            self.advance(told, side, &mut changes);
            if let Some(description) = &told.description {
                sdp = self.describe(told, side, description, &mut changes, endpoints);
            }
        }
        if !rows.wants(Table::Messages) {
            return;
        }
        let media = told.description.as_ref().map(|description| {
            description.sections.iter().map(|section| Cow::Owned(section.summary())).collect()
        });
        rows.push_message(MessageRow {
            transport: Some(told.arrived.transport.into()),
            method: told.method.as_deref().map(Cow::Borrowed),
            status: told.status,
            cseq: Some(told.cseq),
            cseq_method: text(&told.cseq_method),
            side: Some(side.name().into()),
            from_tag: text(&told.from_tag),
            to_tag: text(&told.to_tag),
            branch: told.vias.first().and_then(|via| text(&via.branch)),
            via: told.vias.first().and_then(|via| text(&via.sent_by)),
            contact: told.contacts.first().map(|uri| Cow::Owned(uri.place())),
            is_retransmission: Some(is_retransmission),
            is_complete: Some(told.arrived.is_complete),
            sdp: sdp.map(Cow::Borrowed),
            media,
            ..MessageRow::at(self.number, tap, place)
        });
    }

    /// Keeps what a message says of the whole call.
    fn note(&mut self, told: &Told<'_>, side: Side) {
        let place = told.arrived.place;
        keep(&mut self.addresses, place.src);
        keep(&mut self.addresses, place.dst);
        // Tags of who was called stand in To of what the caller sends, and of responses to it.
        let is_callers = self.requester(told) == Side::Caller;
        let callee_tag = if is_callers { &told.to_tag } else { &told.from_tag };
        if !callee_tag.is_empty() {
            keep_text(&mut self.to_tags, callee_tag);
        }
        for via in &told.vias {
            if let Some(received) = &via.received {
                keep_text(&mut self.received, received);
            }
        }
        if is_callers {
            // The caller's hop stands last.
            for via in told.vias.iter().rev() {
                keep_text(&mut self.via, &via.sent_by);
            }
            for host in told.record_route.iter().rev() {
                keep_text(&mut self.route, host);
            }
        }
        if told.status.is_none_or(|status| (101..300).contains(&status)) {
            for contact in &told.contacts {
                keep_text(&mut self.contacts, &contact.place());
            }
        }
        let agent = match side {
            Side::Caller => &mut self.caller_agent,
            Side::Callee => &mut self.callee_agent,
        };
        if agent.is_none() {
            agent.clone_from(&told.agent);
        }
        self.is_siprec |= told.is_siprec;
        if self.isup.is_none() {
            self.isup.clone_from(&told.isup);
        }
        let message = told.message;
        if matches!(told.method.as_deref(), Some("BYE" | "CANCEL")) || told.status >= Some(300) {
            self.cause = cause(message).or(self.cause);
        }
        let user = |value: &String| Uri::parse(sip::name_addr(value).0).map(|uri| bounded(&uri.user));
        if told.is_request("INVITE") {
            for user in message.values("Diversion", "", MAX_KEPT).iter().filter_map(user) {
                keep(&mut self.diverted_by, user);
            }
            for user in message.values("History-Info", "", MAX_KEPT).iter().filter_map(user) {
                keep(&mut self.history, user);
            }
            for name in message.values("Require", "", MAX_KEPT) {
                self.is_siprec |= name.eq_ignore_ascii_case("siprec");
                keep_text(&mut self.require, &name);
            }
            if self.replaces.is_none() {
                let replaces = message.field("Replaces", "");
                self.replaces =
                    replaces.and_then(|value| value.split(';').next().map(|id| bounded(id.trim())));
            }
        }
        if self.session_id.is_none() {
            let session = message.field("Session-ID", "");
            self.session_id = session.and_then(|value| value.split(';').next().map(|id| bounded(id.trim())));
        }
        if self.icid.is_none()
            && let Some(vector) = message.field("P-Charging-Vector", "")
        {
            self.icid = sip::parameter(&vector, "icid-value").map(bounded);
        }
    }

    /// Compares what a message says of where the call goes with what was said before.
    fn compare(&mut self, told: &Told<'_>, side: Side, changes: &mut Changes<'_, '_>) {
        let hop = hop(told.arrived.place);
        let tag = if side == Side::Caller { &self.caller_tag } else { &told.to_tag };
        let tag = match (side, &told.method) {
            (Side::Callee, Some(_)) => told.from_tag.clone(),
            _ => tag.clone(),
        };
        let sets_target = matches!(&*told.cseq_method, "INVITE" | "UPDATE")
            && told.status.is_none_or(|status| (101..300).contains(&status));
        if sets_target && let Some(contact) = told.contacts.first() {
            self.fact("target", side, &tag, hop, &contact.place(), changes);
        }
        // Of a header that was cut, fields may be missing.
        let is_whole = told.message.has_whole_head;
        if sets_target && is_whole && !told.record_route.is_empty() {
            let kind = if told.method.is_some() { "route" } else { "route " };
            self.fact(kind, side, &tag, hop, &told.record_route.join(" "), changes);
        }
        let is_sent = matches!(told.method.as_deref(), Some("INVITE" | "UPDATE" | "BYE"));
        if is_sent && is_whole && !told.vias.is_empty() {
            let via: Vec<_> = told.vias.iter().map(|via| &*via.sent_by).collect();
            self.fact("via", side, &tag, hop, &via.join(" "), changes);
        }
        let sender = (side, told.arrived.place.src);
        if !self.senders.contains(&sender) {
            let before =
                self.senders.iter().rfind(|(of, _)| *of == side).map(|(_, addr)| address_text(*addr));
            if self.answered.is_some() && before.is_some() {
                changes.push("sender", None, before.as_deref(), &address_text(sender.1));
            }
            keep(&mut self.senders, sender);
        }
    }

    fn fact(
        &mut self,
        what: &str,
        side: Side,
        tag: &str,
        hop: Hop,
        value: &str,
        changes: &mut Changes<'_, '_>,
    ) {
        let is_it =
            |fact: &&mut Fact| fact.what == what && fact.side == side && fact.tag == tag && fact.hop == hop;
        let value = start(value, 1024);
        match self.facts.iter_mut().find(is_it) {
            Some(fact) if fact.value != value => {
                changes.push(what.trim(), None, Some(&fact.value), value);
                value.clone_into(&mut fact.value);
            }
            Some(_) => {}
            None => keep_many(
                &mut self.facts,
                Fact { what: what.to_owned(), side, tag: tag.to_owned(), hop, value: value.to_owned() },
            ),
        }
    }

    /// What becomes of the call.
    fn advance(&mut self, told: &Told<'_>, side: Side, changes: &mut Changes<'_, '_>) {
        let ts = told.arrived.place.ts;
        if told.is_request("INVITE") && told.to_tag.is_empty() {
            let is_newer = self.invite_cseq.is_none_or(|cseq| told.cseq > cseq);
            if is_newer && matches!(self.state, Ending::Failed | Ending::Redirected) {
                self.state = Ending::Calling;
                (self.ended, self.ended_by) = (None, None);
            }
            self.invite_cseq = self.invite_cseq.max(Some(told.cseq));
            if self.messages == 1 && self.replaces.is_some() {
                changes.push("replaces", None, None, "another call");
            }
        } else if told.is_request("CANCEL") {
            if self.answered.is_none()
                && matches!(self.state, Ending::Calling | Ending::Ringing | Ending::Unknown)
            {
                self.state = Ending::Cancelled;
                (self.ended, self.ended_by) = (Some(ts), Some(side));
            }
        } else if told.is_request("BYE") {
            let is_callers = self.requester(told) == Side::Caller;
            let tag = if is_callers { &told.to_tag } else { &told.from_tag };
            self.confirmed.retain(|confirmed| confirmed != tag);
            if self.confirmed.is_empty() && self.state != Ending::Ended {
                self.state = Ending::Ended;
                (self.ended, self.ended_by) = (Some(ts), Some(side));
            }
        } else if told.is_request("REFER") {
            let refer = told.message.field("Refer-To", "r").unwrap_or_default();
            if let Some(uri) = Uri::parse(sip::name_addr(&refer).0) {
                changes.push("refer", None, None, &uri.place());
                self.refer = Some((bounded(&uri.user), bounded(&uri.place())));
            }
        } else if told.is_response_to("INVITE") {
            self.respond(told, changes);
        }
    }

    fn respond(&mut self, told: &Told<'_>, changes: &mut Changes<'_, '_>) {
        let (ts, status) = (told.arrived.place.ts, told.status.unwrap_or_default());
        let is_open = matches!(self.state, Ending::Calling | Ending::Ringing);
        match status {
            180..=189 if self.answered.is_none() && (is_open || self.state == Ending::Unknown) => {
                self.rang.get_or_insert(ts);
                self.state = Ending::Ringing;
            }
            200..=299 => {
                // Without its beginning, this may be the answer to a later INVITE.
                if matches!(
                    self.state,
                    Ending::Calling | Ending::Ringing | Ending::Cancelled | Ending::Failed
                ) {
                    self.answered.get_or_insert(ts);
                    self.state = Ending::Answered;
                    (self.ended, self.ended_by) = (None, None);
                    self.final_status = Some(status);
                }
                if self.answered.is_some() && self.state == Ending::Answered {
                    keep_text(&mut self.confirmed, &told.to_tag);
                }
            }
            300..=699 if self.answered.is_none() => {
                self.final_status = Some(status);
                if is_open || self.state == Ending::Unknown {
                    self.state = if status < 400 { Ending::Redirected } else { Ending::Failed };
                    (self.ended, self.ended_by) = (Some(ts), Some(Side::Callee));
                }
                if status < 400 {
                    for uri in &told.contacts {
                        keep(&mut self.redirects, (bounded(&uri.user), bounded(&uri.place())));
                    }
                    let places: Vec<_> = told.contacts.iter().map(Uri::place).collect();
                    let from = self.request.as_ref().map(Uri::place);
                    changes.push("redirect", None, from.as_deref(), &places.join(" "));
                }
            }
            _ => {}
        }
    }

    /// The same description, of media that are kept already where they are the same: hops repeat what they pass on.
    fn shared(&self, description: &Description) -> Description {
        let mut shared = description.clone();
        for section in &mut shared.sections {
            if let Some(medium) = self.media.iter().find(|medium| medium.section == *section) {
                *section = Arc::clone(&medium.section);
            }
        }
        shared
    }

    /// Takes a session description; says whether it is offer or answer.
    fn describe(
        &mut self,
        told: &Told<'_>,
        side: Side,
        description: &Description,
        changes: &mut Changes<'_, '_>,
        endpoints: &mut Endpoints,
    ) -> Option<&'static str> {
        let hop = hop(told.arrived.place);
        let from_other = |offered: &&Offered| offered.side != side && offered.cseq == told.cseq;
        let offered = self.offers.iter().filter(from_other);
        let offer = offered.clone().find(|offered| offered.hop == hop).or_else(|| offered.clone().next());
        let offer = offer.map(|offer| (offer.hop, offer.description.clone()));
        let begins = matches!(told.method.as_deref(), Some("INVITE" | "UPDATE"));
        let is_call = matches!(&*told.cseq_method, "INVITE" | "UPDATE" | "ACK" | "PRACK");
        if !is_call || told.status.is_some_and(|status| status >= 300) {
            // Responses of other kinds tell what is possible, not what is wanted.
            return None;
        }
        let answered = offer.filter(|_| !begins);
        let tag = match (side, &told.method) {
            (Side::Caller, _) => &self.caller_tag,
            (Side::Callee, Some(_)) => &told.from_tag,
            (Side::Callee, None) => &told.to_tag,
        };
        let tag = tag.clone();
        let description = &self.shared(description);
        self.keep_media(told, side, &tag, description, changes, endpoints);
        for way in description.encryptions().filter(|way| *way != "none") {
            keep_text(&mut self.encryption_offered, way);
        }
        let Some((offer_hop, offer)) = answered else {
            if self.codecs_offered.is_empty() || self.is_offer_cut {
                self.codecs_offered.clear();
                self.is_offer_cut = description.is_cut;
                for codec in description.sections.iter().flat_map(|section| section.codecs()) {
                    keep_text(&mut self.codecs_offered, codec);
                }
            }
            self.offers.retain(|offered| offered.hop != hop);
            let offered = Offered { hop, side, cseq: told.cseq, description: description.clone() };
            keep_many_by(&mut self.offers, offered);
            return Some("offer");
        };
        self.agree(&offer, description, offer_hop, changes);
        for medium in &mut self.media {
            let is_offer = medium.side != side && medium.until.is_none() && hop_of(medium) == offer_hop;
            let is_answer =
                medium.side == side && medium.tag == tag && medium.until.is_none() && hop_of(medium) == hop;
            medium.is_agreed |= is_offer || is_answer;
        }
        Some("answer")
    }

    /// What offer and answer have in common.
    fn agree(&mut self, offer: &Description, answer: &Description, hop: Hop, changes: &mut Changes<'_, '_>) {
        if !(offer.is_cut || answer.is_cut) {
            self.codecs_agreed.clear();
        }
        let mut agreed: Option<&str> = None;
        // Of what was not captured, nobody knows whether it is in clear.
        let mut is_known = match (offer.is_cut, answer.is_cut) {
            (false, false) => true,
            // An answer has as many sections as its offer (RFC 3264 section 6).
            (true, false) | (false, true) => offer.sections.len() == answer.sections.len(),
            (true, true) => false,
        };
        let mut is_lost = false;
        for (asked, told) in offer.sections.iter().zip(&answer.sections) {
            if told.port == 0 {
                continue;
            }
            for codec in told.codecs() {
                if asked.codecs().any(|known| known.eq_ignore_ascii_case(codec)) {
                    keep_text(&mut self.codecs_agreed, codec);
                }
            }
            if !(asked.is_protection_known() && told.is_protection_known()) {
                is_known = false;
                continue;
            }
            let way = if asked.encryption == told.encryption { &*told.encryption } else { "none" };
            is_lost |= asked.encryption != "none" && way == "none";
            // One medium in the clear makes all of it so.
            agreed = if way == "none" { Some(way) } else { agreed.or(Some(way)) };
        }
        if agreed != Some("none") && (offer.leaves_out || answer.leaves_out) {
            // Of the media that were left out, nobody knows.
            self.encryption = None;
            return;
        }
        let agreed = agreed.filter(|way| is_known || *way == "none");
        let Some(agreed) = agreed else { return };
        let is_it = |fact: &&mut Fact| fact.what == "encryption" && fact.hop == hop;
        match self.facts.iter_mut().find(is_it) {
            Some(fact) if fact.value != agreed => {
                changes.push("encryption", None, Some(&fact.value), agreed);
                is_lost |= agreed == "none";
                agreed.clone_into(&mut fact.value);
            }
            Some(_) => {}
            None => {
                let value = agreed.to_owned();
                let fact = Fact {
                    what: "encryption".to_owned(),
                    side: Side::Caller,
                    tag: String::new(),
                    hop,
                    value,
                };
                keep_many(&mut self.facts, fact);
            }
        }
        self.encryption_lost |= is_lost;
        self.encryption = Some(agreed.to_owned());
    }

    /// Keeps the media of a description, and tells what is another than before on this hop, or than on the first hop.
    fn keep_media(
        &mut self,
        told: &Told<'_>,
        side: Side,
        tag: &str,
        description: &Description,
        changes: &mut Changes<'_, '_>,
        endpoints: &mut Endpoints,
    ) {
        let place = told.arrived.place;
        let hop = hop(place);
        let is_mine = |known: &&Known| known.side == side && known.tag == tag;
        let here = self.known.iter().find(|known| is_mine(known) && known.hop == hop);
        let there = self.known.iter().find(is_mine).filter(|_| here.is_none());
        let before = here.or(there).map(|known| known.description.clone());
        let is_cut = before.as_ref().is_some_and(|before| before.is_cut);
        let is_relayed = here.is_none();
        for (at, section) in description.sections.iter().enumerate() {
            let old = before.as_ref().and_then(|before| before.sections.get(at));
            let medium = Some(&*section.medium);
            if let Some(old) = old {
                let what = if is_relayed { "relayed" } else { "media" };
                let is_cut = old.is_cut || section.is_cut;
                if !is_cut || old.addr.is_some() && section.addr.is_some() {
                    changes.compare(what, medium, &old.endpoint(), &section.endpoint());
                }
                changes.compare("profile", medium, &old.profile, &section.profile);
                changes.compare_known("direction", medium, &old.direction, &section.direction);
                if is_relayed {
                    changes.compare_known("encryption", medium, &old.encryption, &section.encryption);
                }
                let codecs = |section: &Section| section.codecs().collect::<Vec<_>>().join(" ");
                if !is_cut {
                    changes.compare("codecs", medium, &codecs(old), &codecs(section));
                }
            } else if before.is_some() && !is_relayed && !is_cut {
                changes.push("media", medium, None, &section.endpoint());
            }
            self.keep_medium(place, side, tag, at, section, endpoints);
        }
        match self.known.iter_mut().find(|known| known.side == side && known.tag == tag && known.hop == hop) {
            Some(known) => known.description = description.completed(Some(&known.description)),
            None => keep_many_by(
                &mut self.known,
                Known { side, tag: tag.to_owned(), hop, description: description.clone() },
            ),
        }
    }

    fn keep_medium(
        &mut self,
        place: &Place,
        side: Side,
        tag: &str,
        at: usize,
        section: &Arc<Section>,
        endpoints: &mut Endpoints,
    ) {
        let hop = hop(place);
        let is_it = |medium: &&mut Medium| {
            medium.side == side
                && medium.tag == tag
                && medium.at == at
                && medium.until.is_none()
                && hop_of(medium) == hop
        };
        if let Some(medium) = self.media.iter_mut().find(is_it) {
            if medium.section == *section {
                return;
            }
            medium.until = Some(place.ts);
        }
        if let Some(addr) = section.addr.filter(|_| section.port != 0) {
            let mut expect = |addr, port, is_rtcp| {
                let spot = Spot { call: self.number, side, is_rtcp, since: place.ts, until: None };
                let payloads = if is_rtcp { &[] } else { section.payloads.as_slice() };
                endpoints.add(self.tap, addr, port, spot, payloads);
            };
            expect(addr, section.port, false);
            for &(addr, port) in &section.candidates {
                expect(addr, port, false);
            }
            if let Some((addr, port)) = section.rtcp.filter(|&(_, port)| port != section.port) {
                expect(addr, port, true);
            }
        }
        if self.media.len() < MAX_MEDIA {
            self.media.push(Medium {
                side,
                tag: tag.to_owned(),
                place: (place.src, place.dst, place.frame),
                at,
                section: Arc::clone(section),
                since: place.ts,
                until: None,
                is_agreed: false,
            });
        }
    }

    /// The rows of a call that is over.
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
        let is_early = self.answered.is_none();
        let ring_end = self.answered.or(self.ended.filter(|_| is_early));
        let mut caller_media = Vec::new();
        let mut callee_media = Vec::new();
        for medium in &self.media {
            let list = if medium.side == Side::Caller { &mut caller_media } else { &mut callee_media };
            keep(list, format!("{} {}", medium.section.medium, medium.section.endpoint()));
        }
        let addresses: Vec<_> = self.addresses.iter().map(|&addr| address_text(addr)).collect();
        let (redirect_users, redirect_hosts): (Vec<_>, Vec<_>) = self.redirects.iter().cloned().unzip();
        let named = |uri: Option<&Uri>| {
            uri.map(|uri| uri.user.clone()).filter(|user| !user.is_empty()).map(Cow::Owned)
        };
        let placed = |uri: Option<&Uri>| uri.map(Uri::place).filter(|host| !host.is_empty()).map(Cow::Owned);
        let row = CallRow {
            call: Some(self.number),
            tap: Some(tap.into()),
            call_id: text(&self.call_id),
            from_tag: text(&self.caller_tag),
            to_tags: texts(&self.to_tags),
            state: Some(self.state.name().into()),
            began_before: Some(self.began_before),
            began: (!self.began_before).then_some(self.began),
            rang: self.rang,
            answered: self.answered,
            ended: self.ended,
            last: Some(self.last),
            ended_by: self.ended_by.map(|side| side.name().into()),
            final_status: self.final_status,
            cause: self.cause,
            post_dial_ms: millis(Some(self.began).filter(|_| !self.began_before), self.rang),
            ring_ms: millis(self.rang, ring_end),
            talk_ms: millis(self.answered, self.ended),
            caller: self.caller.name.as_deref().map(Cow::Borrowed),
            caller_source: self.caller.source.as_deref().map(Cow::Borrowed),
            callee: self.callee.name.as_deref().map(Cow::Borrowed),
            callee_source: self.callee.source.as_deref().map(Cow::Borrowed),
            from_user: named(Some(&self.from)),
            from_host: placed(Some(&self.from)),
            to_user: named(Some(&self.to)),
            to_host: placed(Some(&self.to)),
            request_user: named(self.request.as_ref()),
            request_host: placed(self.request.as_ref()),
            asserted_user: named(self.asserted.as_ref()),
            asserted_host: placed(self.asserted.as_ref()),
            diverted_by: texts(&self.diverted_by),
            history: texts(&self.history),
            isup_called: self.isup.as_ref().and_then(|isup| isup.0.as_deref()).map(Cow::Borrowed),
            isup_calling: self.isup.as_ref().and_then(|isup| isup.1.as_deref()).map(Cow::Borrowed),
            transport: text(&self.transport),
            src: Some(self.src),
            dst: Some(self.dst),
            addresses: texts(&addresses),
            eth_src: self.eth_src,
            eth_dst: self.eth_dst,
            vlan: self.vlan,
            encap: text(&self.encap),
            via: texts(&self.via),
            received: texts(&self.received),
            route: texts(&self.route),
            contacts: texts(&self.contacts),
            caller_agent: self.caller_agent.as_deref().map(Cow::Borrowed),
            callee_agent: self.callee_agent.as_deref().map(Cow::Borrowed),
            codecs_offered: texts(&self.codecs_offered),
            codecs_agreed: texts(&self.codecs_agreed),
            caller_media: texts(&caller_media),
            callee_media: texts(&callee_media),
            encryption: self.encryption.as_deref().map(Cow::Borrowed),
            encryption_offered: texts(&self.encryption_offered),
            encryption_lost: (self.encryption.is_some() || self.encryption_lost)
                .then_some(self.encryption_lost),
            redirect_users: texts(&redirect_users),
            redirect_hosts: texts(&redirect_hosts),
            refer_user: self.refer.as_ref().and_then(|(user, _)| text(user)),
            refer_host: self.refer.as_ref().and_then(|(_, host)| text(host)),
            replaces: self.replaces.as_deref().map(Cow::Borrowed),
            is_siprec: Some(self.is_siprec),
            session_id: self.session_id.as_deref().map(Cow::Borrowed),
            icid: self.icid.as_deref().map(Cow::Borrowed),
            joins: (!self.joins.is_empty()).then(|| self.joins.iter().map(|join| join.call).collect()),
            join_basis: joined(&self.joins, |join| &join.basis),
            join_confidence: joined(&self.joins, |join| &join.confidence),
            require: texts(&self.require),
            messages: Some(self.messages),
            retransmissions: Some(self.retransmissions),
            incomplete: Some(self.incomplete),
            frames: Some(self.frames.clone()),
        };
        rows.push_call(row, || self.ends(tap));
    }

    /// What says where it is.
    fn ends<'a>(&'a self, tap: &'a str) -> Ends<'a> {
        let (called, calling) = self.isup.as_ref().map_or((&None, &None), |isup| (&isup.0, &isup.1));
        let both = |name: &'a Option<String>, isup: &'a Option<String>| {
            name.iter().chain(isup).map(String::as_str).collect()
        };
        let hosts = |hosts: &'a [String]| hosts.iter().map(String::as_str);
        let announced = |side| {
            let media = self.media.iter().filter(|medium| medium.side == side && medium.section.port != 0);
            media.filter_map(|medium| medium.section.addr).collect()
        };
        Ends {
            tap,
            numbers: [both(&self.caller.name, calling), both(&self.callee.name, called)],
            src: self.src,
            dst: self.dst,
            eth_src: self.eth_src,
            eth_dst: self.eth_dst,
            vlan: self.vlan,
            addresses: &self.addresses,
            via: hosts(&self.via).chain(hosts(&self.received)).collect(),
            route: hosts(&self.route).collect(),
            contacts: hosts(&self.contacts).collect(),
            announced: [announced(Side::Caller), announced(Side::Callee)],
            seen: &self.ways,
        }
    }

    fn push_media(&self, tap: &str, rows: &mut Rows) {
        for medium in &self.media {
            let section = &medium.section;
            let payloads: Vec<_> = section
                .payloads
                .iter()
                .map(|(kind, encoding)| format!("{kind} {encoding}").trim_end().to_owned())
                .collect();
            let until = medium.until.or(self.ended);
            let row = MediaRow {
                call: Some(self.number),
                tap: Some(tap.into()),
                side: Some(medium.side.name().into()),
                medium: text(&section.medium),
                addr: section.addr,
                port: Some(section.port),
                rtcp_addr: section.rtcp.map(|(addr, _)| addr),
                rtcp_port: section.rtcp.map(|(_, port)| port),
                since: Some(medium.since),
                until,
                frame: Some(medium.place.2),
                src: Some(medium.place.0),
                dst: Some(medium.place.1),
                is_agreed: Some(medium.is_agreed),
                is_candidate: Some(false),
                profile: text(&section.profile),
                direction: text(&section.direction),
                encryption: text(&section.encryption),
                suites: texts(&section.suites),
                payloads: texts(&payloads),
                ptime: section.ptime.as_deref().map(Cow::Borrowed),
                label: section.label.as_deref().map(Cow::Borrowed),
            };
            rows.push_media(row.clone());
            for &(addr, port) in &section.candidates {
                rows.push_media(MediaRow {
                    addr: Some(addr),
                    port: Some(port),
                    rtcp_addr: None,
                    rtcp_port: None,
                    is_candidate: Some(true),
                    ..row.clone()
                });
            }
        }
    }
}

fn hop_of(medium: &Medium) -> Hop {
    let (src, dst, _) = medium.place;
    (src.min(dst), src.max(dst))
}

/// Adds a fact, as long as there is room: some for each hop and side.
fn keep_many(facts: &mut Vec<Fact>, fact: Fact) {
    if facts.len() < 4 * MAX_KEPT {
        facts.push(fact);
    }
}

fn keep_many_by<T>(all: &mut Vec<T>, new: T) {
    if all.len() < MAX_KEPT {
        all.push(new);
    }
}

/// Takes note of changes that one message makes.
struct Changes<'c, 't> {
    call: u64,
    tap: &'c str,
    told: &'c Told<'t>,
    side: Side,
    rows: &'c mut Rows,
}

impl Changes<'_, '_> {
    fn compare(&mut self, change: &str, medium: Option<&str>, old: &str, new: &str) {
        if old != new {
            self.push(change, medium, Some(old), new);
        }
    }

    /// As [`Self::compare`], of what is empty where it is not known.
    fn compare_known(&mut self, change: &str, medium: Option<&str>, old: &str, new: &str) {
        if !old.is_empty() && !new.is_empty() {
            self.compare(change, medium, old, new);
        }
    }

    fn push(&mut self, change: &str, medium: Option<&str>, old: Option<&str>, new: &str) {
        if !self.rows.wants(Table::Changes) {
            return;
        }
        let place = self.told.arrived.place;
        self.rows.push_change(ChangeRow {
            call: Some(self.call),
            tap: Some(self.tap.into()),
            frame: Some(place.frame),
            ts: Some(place.ts),
            src: Some(place.src),
            dst: Some(place.dst),
            change: Some(change.into()),
            side: Some(self.side.name().into()),
            method: text(&self.told.cseq_method),
            status: self.told.status,
            medium: medium.map(Cow::Borrowed),
            old: old.map(Cow::Borrowed),
            new: Some(new.into()),
        });
    }
}
