//! The tables that are made of calls: their columns, each with its meaning.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};

use super::places::{CallPlace, CallPlaces, Ends, MediaPlace, MediaPlaces};
use super::streams::Place;
use crate::messages::columns::{Address, Bool, Mac, Text, Texts, Time, U8, U16, U32, U64, U64s};
use crate::named::named;
use crate::places::Located;

named! {
    /// A table made of calls.
    Table {
        /// One row a call.
        Calls = "calls",
        /// One row a signalling message of a call.
        Messages = "call_messages",
        /// One row a change within a call.
        Changes = "call_changes",
        /// One row a media endpoint that a call has described.
        Media = "call_media",
    }
}

/// A field whose values can name somebody: its metadata say so, for who shows it.
pub(super) fn marked(field: Field, personal: Option<&str>) -> Field {
    let Some(personal) = personal else { return field };
    let mut metadata: HashMap<String, String> = field.metadata().clone().into();
    metadata.insert("personal".to_owned(), personal.to_owned());
    field.with_metadata(metadata)
}

macro_rules! rows {
    ($(#[doc = $doc:literal])+ $name:ident, $row:ident {
        $($(#[doc = $fdoc:literal])+ $field:ident: $kind:ident $(as $personal:literal)?,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Default)]
        pub(super) struct $name {
            len: usize,
            $($field: <$kind as $crate::messages::columns::Kind>::Builder,)+
        }

        #[derive(Debug, Clone, Default)]
        pub(super) struct $row<'a> {
            $($(#[doc = $fdoc])+ pub $field: Option<<$kind as $crate::messages::columns::Kind>::Value<'a>>,)+
        }

        impl $name {
            pub fn push(&mut self, row: $row<'_>) {
                use $crate::messages::columns::Kind;
                self.len += 1;
                $(<$kind>::append(&mut self.$field, row.$field);)+
            }

            pub fn schema() -> arrow_schema::SchemaRef {
                use $crate::messages::columns::{Kind, field, schema};
                let fields = vec![$({
                    let personal: Option<&str> = [$($personal)?].first().copied();
                    $crate::calls::rows::marked(field(stringify!($field).trim_end_matches('_'), <$kind>::data_type(), concat!($($fdoc),+)), personal)
                },)+];
                schema(fields, concat!($($doc),+))
            }

            #[allow(dead_code, reason = "rows beside others are as many as those")]
            pub fn len(&self) -> usize {
                self.len
            }

            /// How many rows of 64 bytes it would take at least to hold as much.
            #[allow(dead_code, reason = "rows beside others have little text")]
            pub fn size(&self) -> usize {
                use $crate::messages::columns::Kind;
                self.len $(+ <$kind>::extra(&self.$field))+
            }

            pub fn finish(&mut self) -> Result<arrow_array::RecordBatch, arrow_schema::ArrowError> {
                use $crate::messages::columns::{Kind, batch};
                self.len = 0;
                batch(Self::schema(), vec![$(<$kind>::finish(&mut self.$field),)+])
            }
        }
    };
}
pub(super) use rows;

rows! {
    /// Calls: one row a call and tap, put together from SIP by Call-ID, from ISUP and BICC over SIGTRAN by circuit, from H.225.0 and Skinny by call reference.
    CallRows, CallRow {
        /// Number of the call, from 1, in the order in which calls began.
        call: U64,
        /// Where the capture was taken.
        tap: Text,
        /// Call-ID; of ISUP the point codes of both exchanges, the smaller first, and the circuit: `10-20 5`; of H.225.0 the ends of the connection, of Skinny
        /// the addresses of phone and manager, and the call reference.
        call_id: Text as "id",
        /// Tag of who called.
        from_tag: Text as "text",
        /// Tags of who was called: more than one where the call was forked.
        to_tags: Texts as "text",
        /// `calling`, `ringing`, `answered`, `ended`, `cancelled`, `failed`, `redirected`, `timed-out`: no answer came; `unknown`: it began before the
        /// capture, and no end was seen.
        state: Text,
        /// Whether its first message was not the one that calls: then who called is who sent the first request that was seen.
        began_before: Bool,
        /// When it was first called.
        began: Time,
        /// When it first rang, or was told to be in progress: the first response from 180 to 189; of ISUP when the address was complete, of H.225.0 when the called one was alerted.
        rang: Time,
        /// When it was first answered.
        answered: Time,
        /// When it was hung up, cancelled, refused or redirected.
        ended: Time,
        /// Time of its last message.
        last: Time,
        /// Who ended it: `caller` or `callee`.
        ended_by: Text,
        /// Status of the last final response to a call.
        final_status: U16,
        /// Why it ended: cause value of ITU-T Q.850, as ISUP and Q.931 say, or the field Reason (RFC 3326).
        cause: U8,
        /// From the call to the first ringing, milliseconds.
        post_dial_ms: U64,
        /// From the first ringing to the answer, or to the end where there was none, milliseconds.
        ring_ms: U64,
        /// From the answer to the end, milliseconds.
        talk_ms: U64,
        /// Who called: a number if there is one, else the user part.
        caller: Text as "user",
        /// The field that says so; `ISUP`, `Q.931`, `Skinny`.
        caller_source: Text,
        /// Who was called, likewise.
        callee: Text as "user",
        /// The field that says so.
        callee_source: Text,
        /// User part of From.
        from_user: Text as "user",
        /// Host of From.
        from_host: Text as "text",
        /// User part of To.
        to_user: Text as "user",
        /// Host of To.
        to_host: Text as "text",
        /// User part of the URI that was called.
        request_user: Text as "user",
        /// Host and port of that URI.
        request_host: Text as "text",
        /// User part of P-Asserted-Identity (RFC 3325).
        asserted_user: Text as "user",
        /// Host of P-Asserted-Identity.
        asserted_host: Text as "text",
        /// Who diverted the call: user parts of Diversion (RFC 5806), the last one first.
        diverted_by: Texts as "user",
        /// User parts in History-Info (RFC 7044), the first one first.
        history: Texts as "user",
        /// Number called, as ISUP in SIP says (Q.1912.5).
        isup_called: Text as "user",
        /// Number calling, likewise.
        isup_calling: Text as "user",
        /// What signalling goes over: of SIP `udp`, `tcp`, `sctp`, `ws`; of ISUP and BICC `m3ua`, `m2ua`, `m2pa`; else `h225`, `skinny`.
        transport: Text,
        /// Address that the first call came from.
        src: Address,
        /// Address that it went to.
        dst: Address,
        /// All addresses that messages went from and to, in the order in which they were seen.
        addresses: Texts,
        /// Source MAC of the first call.
        eth_src: Mac,
        /// Its destination MAC.
        eth_dst: Mac,
        /// Its outermost VLAN.
        vlan: U16,
        /// Encapsulations it was in.
        encap: Text,
        /// Hops that Via fields name, as host and port: the caller's first.
        via: Texts as "text",
        /// Addresses that hops saw messages come from: `received` and `rport` of Via.
        received: Texts as "text",
        /// Hosts in Record-Route: those of the caller's side first.
        route: Texts as "text",
        /// Hosts of Contact fields of both, as they came.
        contacts: Texts as "text",
        /// User-Agent of who called.
        caller_agent: Text as "text",
        /// User-Agent or Server of who was called.
        callee_agent: Text as "text",
        /// Encodings that the first description offers, with names as they are registered (RFC 4855), others in capitals.
        codecs_offered: Texts,
        /// Encodings in the last answer that are in its offer.
        codecs_agreed: Texts,
        /// Media endpoints that who called has described: medium, address and port.
        caller_media: Texts as "text",
        /// Media endpoints that who was called has described.
        callee_media: Texts as "text",
        /// How media are encrypted as last agreed: `none`, `sdes` (RFC 4568), `dtls-srtp` (RFC 5763), `zrtp` (RFC 6189). None where no answer to an offer
        /// was seen, or offer or answer was cut before it says.
        encryption: Text,
        /// The ways that were offered.
        encryption_offered: Texts,
        /// Whether it was offered and not agreed, or agreed and later no more.
        encryption_lost: Bool,
        /// Where redirections (3xx) lead: user and host.
        redirect_users: Texts as "user",
        /// Hosts that redirections lead to.
        redirect_hosts: Texts as "text",
        /// User part that a transfer (REFER, RFC 3515) leads to.
        refer_user: Text as "user",
        /// Host that it leads to.
        refer_host: Text as "text",
        /// Call-ID of the call that this one replaces (RFC 3891).
        replaces: Text as "id",
        /// Whether it is a recording session (SIPREC, RFC 7866): a copy of another call's media.
        is_siprec: Bool,
        /// Session-ID (RFC 7989): the same on both sides of what terminates and calls anew.
        session_id: Text as "text",
        /// Identifier of charging, icid-value of P-Charging-Vector (RFC 7315), likewise.
        icid: Text as "text",
        /// Calls of this tap that seem to be the other side of it, where something terminates it and calls anew (a B2BUA): never certain.
        joins: U64s,
        /// What each of these rests on, in words: `session-id`, `icid` (both carry the same); `callee`, `caller` (the same number, in whatever form);
        /// `diversion` (the later one was diverted from the number that the earlier one called), `address` (the later one comes from where the earlier one
        /// went), `media` (both describe the same endpoint).
        join_basis: Texts,
        /// How far that goes, of each: `high`, an identifier, or both numbers and media; `medium`, both numbers and the address; `low`, less.
        join_confidence: Texts,
        /// What Require names.
        require: Texts as "text",
        /// Messages, retransmissions left out.
        messages: U32,
        /// Messages that were seen again with the same source, destination and transaction.
        retransmissions: U32,
        /// Messages that were not captured as a whole. Null of ISUP, BICC, H.225.0 and Skinny, of which only whole messages are read: a warning counts gaps.
        incomplete: U32,
        /// Frames of the first messages.
        frames: U64s,
    }
}

rows! {
    /// Messages of calls: one row a signalling message, retransmissions included.
    MessageRows, MessageRow {
        /// Number of the call.
        call: U64,
        /// Where the capture was taken.
        tap: Text,
        /// Frame in which the message is complete.
        frame: U64,
        /// Its time.
        ts: Time,
        /// Source address.
        src: Address,
        /// Destination address.
        dst: Address,
        /// Source port.
        src_port: U16,
        /// Destination port.
        dst_port: U16,
        /// What carries it: `udp`, `tcp`, `sctp`, `ws`; `m3ua`, `m2ua`, `m2pa`; `h225`, `skinny`.
        transport: Text,
        /// Method of a request; of others the kind of message, such as `IAM`, `SETUP`, `CallState RingIn`.
        method: Text,
        /// Status of a response.
        status: U16,
        /// Sequence number of the request.
        cseq: U32,
        /// Its method, in responses too.
        cseq_method: Text,
        /// Who sent it: `caller` or `callee`.
        side: Text,
        /// From tag.
        from_tag: Text as "text",
        /// To tag.
        to_tag: Text as "text",
        /// Branch of the topmost Via: the transaction.
        branch: Text as "text",
        /// Host and port of the topmost Via.
        via: Text as "text",
        /// Host and port of the first Contact.
        contact: Text as "text",
        /// Whether it is there again with the same source, destination and transaction.
        is_retransmission: Bool,
        /// Whether it was captured as a whole.
        is_complete: Bool,
        /// `offer` or `answer`, if it has a session description.
        sdp: Text,
        /// Media that it describes: medium, address and port, profile, direction.
        media: Texts as "text",
    }
}

rows! {
    /// What changed within a call: one row a change, old and new as hosts, addresses and names of methods, never user parts.
    ChangeRows, ChangeRow {
        /// Number of the call.
        call: U64,
        /// Where the capture was taken.
        tap: Text,
        /// Frame of the message that changes it.
        frame: U64,
        /// Its time.
        ts: Time,
        /// Source address of the message.
        src: Address,
        /// Destination address of the message.
        dst: Address,
        /// What changed: `media` (address or port), `relayed` (the next hop describes other media than the first one), `profile`, `direction`,
        /// `codecs`, `encryption`, `target` (Contact), `route` (Record-Route), `via`, `sender` (address that sends for this side), `redirect` (3xx),
        /// `refer`, `replaces`.
        change: Text,
        /// Whose it is: `caller` or `callee`.
        side: Text,
        /// Method of the request, or of the request that a response is to.
        method: Text,
        /// Status of a response.
        status: U16,
        /// The medium, of media.
        medium: Text,
        /// What it was; none if it is the first.
        old: Text as "text",
        /// What it is.
        new: Text as "text",
    }
}

rows! {
    /// Media endpoints that calls have described: where a side wants to receive, from when on.
    MediaRows, MediaRow {
        /// Number of the call.
        call: U64,
        /// Where the capture was taken.
        tap: Text,
        /// Who receives there: `caller` or `callee`; none if it is neither, such as a recorder that Skinny makes a phone send to as well.
        side: Text,
        /// `audio`, `video`, `image`, …
        medium: Text,
        /// The address; none where it is a name.
        addr: Address,
        /// The port: 0 refuses or ends the medium.
        port: U16,
        /// Address of RTCP.
        rtcp_addr: Address,
        /// Port of RTCP: as described, the same with rtcp-mux, else the next one.
        rtcp_port: U16,
        /// When it was described.
        since: Time,
        /// When another description or the end of the call took its place.
        until: Time,
        /// Frame of the description.
        frame: U64,
        /// Source address of the message with the description.
        src: Address,
        /// Its destination address: descriptions differ from hop to hop where media are relayed.
        dst: Address,
        /// Whether it is an answer, or an offer that was answered.
        is_agreed: Bool,
        /// Whether it is a candidate (ICE, RFC 8839) only.
        is_candidate: Bool,
        /// Profile, such as `RTP/AVP`.
        profile: Text,
        /// `sendrecv`, `sendonly`, `recvonly`, `inactive`; null if the message was cut before it says.
        direction: Text,
        /// `none`, `sdes`, `dtls-srtp`, `zrtp`; null if the message was cut before it says.
        encryption: Text,
        /// Suites of keys that the description holds (RFC 4568); never keys.
        suites: Texts,
        /// Payload types and their encodings: `0 PCMU/8000`.
        payloads: Texts,
        /// Milliseconds in a packet.
        ptime: Text,
        /// Label of the medium (RFC 4574).
        label: Text as "text",
    }
}

impl<'a> MessageRow<'a> {
    /// The row of a message of a call, with where and when it was seen.
    pub fn at(call: u64, tap: &'a str, place: &Place) -> Self {
        Self {
            call: Some(call),
            tap: Some(tap.into()),
            frame: Some(place.frame),
            ts: Some(place.ts),
            src: Some(place.src),
            dst: Some(place.dst),
            src_port: Some(place.src_port),
            dst_port: Some(place.dst_port),
            ..Self::default()
        }
    }
}

impl Table {
    /// The columns of its rows; with those of places if they are `located`.
    pub fn schema(self, located: bool) -> SchemaRef {
        let beside = |rows: SchemaRef, places: SchemaRef| if located { joined(&rows, &places) } else { rows };
        match self {
            Self::Calls => beside(CallRows::schema(), CallPlaces::schema()),
            Self::Messages => MessageRows::schema(),
            Self::Changes => ChangeRows::schema(),
            Self::Media => beside(MediaRows::schema(), MediaPlaces::schema()),
        }
    }
}

/// The fields of both, of which the first ones say what a row is.
fn joined(rows: &Schema, places: &Schema) -> SchemaRef {
    let fields = rows.fields().iter().chain(places.fields()).cloned().collect::<Vec<_>>();
    Arc::new(Schema::new_with_metadata(fields, rows.metadata().clone()))
}

/// Rows of the tables that are wanted; those of others are not made.
#[derive(Debug, Default)]
pub(super) struct Rows {
    wanted: Vec<Table>,
    /// What ends of calls are looked up in; without it, rows do not say where they are.
    pub located: Option<Located>,
    calls: CallRows,
    call_places: CallPlaces,
    messages: MessageRows,
    changes: ChangeRows,
    media: MediaRows,
    media_places: MediaPlaces,
    /// Batches to be handed out, in the order in which they were filled.
    filled: VecDeque<(Table, Result<RecordBatch, ArrowError>)>,
    /// Bytes that are left for rows of all tables; without it, there is no limit.
    pub room: Option<usize>,
    /// How many rows found no room.
    pub missing: u64,
}

/// Rows of a batch.
const ROWS: usize = 8192;

/// What a batch has at the most, in rows of 64 bytes: texts of crafted calls could come to more than offsets have numbers for.
const MAX_SIZE: usize = 8 * ROWS;

/// What a row takes at least, read back and judged.
const LEAST: usize = 640;

/// The rows of a batch that there is room for, and how many there is none for.
pub(crate) fn keep(batch: &RecordBatch, room: &mut usize) -> (RecordBatch, u64) {
    let rows = batch.num_rows();
    let each = (batch.get_array_memory_size() / rows.max(1)).max(LEAST);
    let len = rows.min(*room / each);
    // Where one finds no room, none that comes later does: there are no holes.
    *room = if len < rows { 0 } else { *room - len * each };
    let kept = if len == 0 { RecordBatch::new_empty(batch.schema()) } else { batch.slice(0, len) };
    (kept, (rows - len) as u64)
}

impl Rows {
    pub fn of(wanted: &[Table]) -> Self {
        Self { wanted: wanted.to_vec(), ..Self::default() }
    }

    /// The tables of which rows are made: a stage hands out those of the first.
    pub fn wanted(&self) -> &[Table] {
        &self.wanted
    }

    /// Whether rows of this table are made.
    pub fn wants(&self, table: Table) -> bool {
        self.wanted.contains(&table)
    }

    /// Adds a call, and where it is.
    pub fn push_call<'a>(&mut self, row: CallRow<'_>, ends: impl FnOnce() -> Ends<'a>) {
        if self.is_full() {
            return;
        }
        self.calls.push(row);
        if let Some(located) = &self.located {
            self.call_places.push(CallPlace::of(located, &ends()));
        }
        self.pushed(Table::Calls, self.calls.len(), self.calls.size());
    }

    /// Adds a message.
    pub fn push_message(&mut self, row: MessageRow<'_>) {
        if self.is_full() {
            return;
        }
        self.messages.push(row);
        self.pushed(Table::Messages, self.messages.len(), self.messages.size());
    }

    /// Adds a change.
    pub fn push_change(&mut self, row: ChangeRow<'_>) {
        if self.is_full() {
            return;
        }
        self.changes.push(row);
        self.pushed(Table::Changes, self.changes.len(), self.changes.size());
    }

    /// Adds a media endpoint, and where it is.
    pub fn push_media(&mut self, row: MediaRow<'_>) {
        if self.is_full() {
            return;
        }
        if let Some(located) = &self.located {
            let (src, dst) = (row.src.unwrap_or_default(), row.dst.unwrap_or_default());
            self.media_places.push(MediaPlace::of(located, row.addr, src, dst));
        }
        self.media.push(row);
        self.pushed(Table::Media, self.media.len(), self.media.size());
    }

    /// Whether there is no room for a row, which then is counted only.
    fn is_full(&mut self) -> bool {
        let is_full = self.room.is_some_and(|room| room < LEAST);
        self.missing += u64::from(is_full);
        is_full
    }

    /// Finishes the batch of a table that has enough rows.
    fn pushed(&mut self, table: Table, len: usize, size: usize) {
        if len >= ROWS || size >= MAX_SIZE {
            let batch = self.finish(table);
            self.filled.push_back((table, batch));
        }
    }

    /// Whether there are batches to be handed out.
    pub fn is_filled(&self) -> bool {
        !self.filled.is_empty()
    }

    /// The next batch of a table; if it `is_end`, the rows that are left too.
    pub fn take(&mut self, table: Table, is_end: bool) -> Result<Option<RecordBatch>, ArrowError> {
        if let Some(at) = self.filled.iter().position(|(of, _)| *of == table) {
            return self.filled.remove(at).map(|(_, batch)| batch).transpose();
        }
        if is_end && self.len(table) > 0 { self.finish(table).map(Some) } else { Ok(None) }
    }

    fn len(&self, table: Table) -> usize {
        match table {
            Table::Calls => self.calls.len(),
            Table::Messages => self.messages.len(),
            Table::Changes => self.changes.len(),
            Table::Media => self.media.len(),
        }
    }

    /// The rows of a table that there is room for.
    fn finish(&mut self, table: Table) -> Result<RecordBatch, ArrowError> {
        let batch = self.batch(table)?;
        let Some(room) = &mut self.room else { return Ok(batch) };
        let (kept, missing) = keep(&batch, room);
        self.missing += missing;
        Ok(kept)
    }

    fn batch(&mut self, table: Table) -> Result<RecordBatch, ArrowError> {
        let is_located = self.located.is_some();
        let beside = |rows: RecordBatch, places: RecordBatch| {
            if !is_located {
                return Ok(rows);
            }
            let columns = rows.columns().iter().chain(places.columns()).cloned().collect();
            RecordBatch::try_new(joined(&rows.schema(), &places.schema()), columns)
        };
        match table {
            Table::Calls => beside(self.calls.finish()?, self.call_places.finish()?),
            Table::Messages => self.messages.finish(),
            Table::Changes => self.changes.finish(),
            Table::Media => beside(self.media.finish()?, self.media_places.finish()?),
        }
    }
}
