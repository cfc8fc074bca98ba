use std::net::IpAddr;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;
use crate::capture::{Options as CaptureOptions, Reader, Source};
use crate::packets::{Scan, ScanOptions};
use crate::stage::Staged;

const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

type End = (&'static str, u16);

/// Frames of a test, a millisecond apart unless told otherwise.
#[derive(Debug, Default, Clone)]
struct Frames(Vec<(i64, Vec<u8>)>);

fn octets(addr: &str) -> [u8; 4] {
    let IpAddr::V4(addr) = addr.parse().unwrap() else { panic!("of version 4") };
    addr.octets()
}

impl Frames {
    fn push(&mut self, frame: Vec<u8>) {
        let ts = self.0.last().map_or(0, |(ts, _)| ts + 1_000_000);
        self.0.push((ts, frame));
    }

    fn wait(&mut self, seconds: i64) {
        let ts = self.0.last().unwrap().0 + seconds * SECOND;
        self.0.push((ts, vec![0; 14]));
    }

    fn udp(&mut self, from: End, to: End, text: &str) {
        let builder = PacketBuilder::ethernet2(MACS[0], MACS[1]).ipv4(octets(from.0), octets(to.0), 64);
        let mut frame = Vec::new();
        builder.udp(from.1, to.1).write(&mut frame, text.as_bytes()).unwrap();
        self.push(frame);
    }

    fn tcp(&mut self, from: End, to: End, seq: u32, is_syn: bool, bytes: &[u8]) {
        let builder = PacketBuilder::ethernet2(MACS[0], MACS[1]).ipv4(octets(from.0), octets(to.0), 64);
        let tcp = builder.tcp(from.1, to.1, seq, 1024);
        let tcp = if is_syn { tcp.syn() } else { tcp.ack(1) };
        let mut frame = Vec::new();
        tcp.write(&mut frame, bytes).unwrap();
        self.push(frame);
    }

    fn pcap(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1] {
            bytes.extend(word.to_le_bytes());
        }
        for (ts, frame) in &self.0 {
            let len = frame.len() as u32;
            for word in [(ts / SECOND) as u32, (ts % SECOND) as u32, len, len] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend(frame);
        }
        bytes
    }

    fn table(&self, table: Table) -> RecordBatch {
        self.table_with(table, Options::default(), 3, 1).0
    }

    fn table_with(
        &self,
        table: Table,
        options: Options,
        batch_size: usize,
        threads: usize,
    ) -> (RecordBatch, Vec<String>) {
        let source = Source::Memory { name: "test".to_owned(), bytes: std::sync::Arc::new(self.pcap()) };
        let reader = Reader::open(vec![source], CaptureOptions::default()).unwrap();
        let options_of_scan = ScanOptions { batch_size, threads, ..ScanOptions::default() };
        let stage = Box::new(Calls::new(&[table], options));
        let mut staged = Staged::new(stage, options_of_scan, |options| Scan::new(reader, options));
        let batches: Vec<_> = staged.by_ref().map(Result::unwrap).collect();
        let rows = arrow_select(&table.schema(false), &batches);
        (rows, staged.warnings())
    }
}

/// All rows in one batch: tests have few.
fn arrow_select(schema: &SchemaRef, batches: &[RecordBatch]) -> RecordBatch {
    match batches {
        [] => RecordBatch::new_empty(schema.clone()),
        [one] => one.clone(),
        _ => panic!("few rows come at once"),
    }
}

/// A cell as text.
fn cell(batch: &RecordBatch, row: usize, name: &str) -> String {
    let array = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    if array.is_null(row) {
        return "-".to_owned();
    }
    if let Some(list) = array.as_list_opt::<i32>() {
        let items = list.value(row);
        if let Some(texts) = items.as_string_opt::<i32>() {
            return texts.iter().map(Option::unwrap).collect::<Vec<_>>().join(",");
        }
        return format!("{:?}", items.as_primitive::<arrow_array::types::UInt64Type>().values().to_vec());
    }
    if let Some(text) = array.as_string_opt::<i32>() {
        return text.value(row).to_owned();
    }
    if let Some(number) = array.as_primitive_opt::<arrow_array::types::UInt8Type>() {
        return number.value(row).to_string();
    }
    if let Some(flag) = array.as_boolean_opt() {
        return flag.value(row).to_string();
    }
    macro_rules! number {
        ($($kind:ident),+) => {$(
            if let Some(numbers) = array.as_primitive_opt::<arrow_array::types::$kind>() {
                return numbers.value(row).to_string();
            }
        )+};
    }
    number!(UInt16Type, UInt32Type, UInt64Type, TimestampNanosecondType);
    if let Some(bytes) = array.as_fixed_size_binary_opt()
        && let Ok(addr) = bytes.value(row).try_into()
    {
        return crate::packets::address::address_text(addr);
    }
    panic!("no text for {name}")
}

fn row(batch: &RecordBatch, at: usize, names: &str) -> String {
    names.split(' ').map(|name| format!("{name}={}", cell(batch, at, name))).collect::<Vec<_>>().join(" ")
}

fn column(batch: &RecordBatch, name: &str) -> Vec<String> {
    (0..batch.num_rows()).map(|row| cell(batch, row, name)).collect()
}

const ALICE: End = ("192.0.2.101", 5060);
const BOB: End = ("192.0.2.201", 5060);

/// A description as in RFC 3665 section 3.1.
fn sdp(addr: &str, port: u16, more: &str) -> String {
    format!(
        "v=0\r\no=alice 2890844526 2890844526 IN IP4 client.atlanta.example.com\r\ns=-\r\nc=IN IP4 {addr}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n{more}"
    )
}

/// A message of the dialog of RFC 3665 section 3.1, of which these lines stand behind the others.
fn message(start: &str, cseq: &str, to_tag: &str, more: &str, body: &str) -> String {
    let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{start}\r\nVia: SIP/2.0/TCP client.atlanta.example.com:5060;branch=z9hG4bK74bf9{}\r\nMax-Forwards: 70\r\n\
         From: Alice <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\nTo: Bob <sip:bob@biloxi.example.com>{tag}\r\n\
         Call-ID: 3848276298220188511@atlanta.example.com\r\nCSeq: {cseq}\r\n{more}{kind}Content-Length: {}\r\n\r\n{body}",
        cseq.replace(' ', ""),
        body.len(),
    )
}

fn callee_says(start: &str, cseq: &str) -> String {
    message(start, cseq, "", "", "")
        .replace(
            "From: Alice <sip:alice@atlanta.example.com>;tag=9fxced76sl",
            "From: Bob <sip:bob@biloxi.example.com>;tag=8321234356",
        )
        .replace(
            "To: Bob <sip:bob@biloxi.example.com>",
            "To: Alice <sip:alice@atlanta.example.com>;tag=9fxced76sl",
        )
}

const TAG: &str = "8321234356";

/// RFC 3665 section 3.1: a call that is answered, and hung up by who was called.
fn session() -> Vec<(bool, String)> {
    let invite = message(
        "INVITE sip:bob@biloxi.example.com SIP/2.0",
        "1 INVITE",
        "",
        "Contact: <sip:alice@client.atlanta.example.com;transport=tcp>\r\n",
        &sdp("192.0.2.101", 49172, ""),
    );
    let contact = "Contact: <sip:bob@client.biloxi.example.com;transport=tcp>\r\n";
    vec![
        (true, invite),
        (false, message("SIP/2.0 180 Ringing", "1 INVITE", TAG, contact, "")),
        (false, message("SIP/2.0 200 OK", "1 INVITE", TAG, contact, &sdp("192.0.2.201", 3456, ""))),
        (true, message("ACK sip:bob@client.biloxi.example.com SIP/2.0", "1 ACK", TAG, "", "")),
        (false, callee_says("BYE sip:alice@client.atlanta.example.com SIP/2.0", "1 BYE")),
        (true, callee_says("SIP/2.0 200 OK", "1 BYE")),
    ]
}

fn over_udp(messages: &[(bool, String)]) -> Frames {
    let mut frames = Frames::default();
    for (is_callers, text) in messages {
        let (from, to) = if *is_callers { (ALICE, BOB) } else { (BOB, ALICE) };
        frames.udp(from, to, text);
    }
    frames
}

#[test]
fn a_session() {
    let frames = over_udp(&session());
    let calls = frames.table(Table::Calls);
    assert_eq!(calls.num_rows(), 1);
    assert_eq!(
        row(
            &calls,
            0,
            "state ended_by caller caller_source callee callee_source began_before final_status messages retransmissions"
        ),
        "state=ended ended_by=callee caller=alice caller_source=From callee=bob callee_source=Request-URI began_before=false final_status=200 messages=6 retransmissions=0"
    );
    assert_eq!(
        row(&calls, 0, "began rang answered ended post_dial_ms ring_ms talk_ms frames"),
        "began=0 rang=1000000 answered=2000000 ended=4000000 post_dial_ms=1 ring_ms=1 talk_ms=2 frames=[1, 2, 3, 4, 5, 6]"
    );
    assert_eq!(
        row(
            &calls,
            0,
            "caller_media callee_media codecs_offered codecs_agreed encryption encryption_lost transport src dst addresses contacts"
        ),
        "caller_media=audio 192.0.2.101:49172 callee_media=audio 192.0.2.201:3456 codecs_offered=PCMU/8000 codecs_agreed=PCMU/8000 encryption=none encryption_lost=false transport=udp src=192.0.2.101 dst=192.0.2.201 addresses=192.0.2.101,192.0.2.201 contacts=client.atlanta.example.com,client.biloxi.example.com"
    );
    let messages = frames.table(Table::Messages);
    assert_eq!(column(&messages, "side"), ["caller", "callee", "callee", "caller", "callee", "caller"]);
    assert_eq!(column(&messages, "sdp"), ["offer", "-", "answer", "-", "-", "-"]);
    assert_eq!(cell(&messages, 2, "media"), "audio 192.0.2.201:3456 RTP/AVP sendrecv");
    assert_eq!(frames.table(Table::Changes).num_rows(), 0);
    let media = frames.table(Table::Media);
    assert_eq!(
        row(&media, 0, "side medium addr port rtcp_port since until frame is_agreed payloads direction"),
        "side=caller medium=audio addr=192.0.2.101 port=49172 rtcp_port=49173 since=0 until=4000000 frame=1 is_agreed=true payloads=0 PCMU/8000 direction=sendrecv"
    );
    assert_eq!(
        row(&media, 1, "side addr port is_agreed"),
        "side=callee addr=192.0.2.201 port=3456 is_agreed=true"
    );
}

/// What becomes of a call, of these messages behind its beginning and ringing.
fn ending(more: &[(bool, String)]) -> String {
    let mut messages = session();
    messages.truncate(2);
    messages.extend_from_slice(more);
    let calls = over_udp(&messages).table(Table::Calls);
    assert_eq!(calls.num_rows(), 1);
    row(&calls, 0, "state final_status ended_by")
}

#[test]
fn endings() {
    let uri = "sip:bob@biloxi.example.com SIP/2.0";
    // RFC 3665 sections 3.8 (cancelled), 3.9 (no answer), 3.10 (busy).
    let cancel = [
        (true, message(&format!("CANCEL {uri}"), "1 CANCEL", "", "", "")),
        (false, message("SIP/2.0 200 OK", "1 CANCEL", TAG, "", "")),
        (false, message("SIP/2.0 487 Request Terminated", "1 INVITE", TAG, "", "")),
        (true, message(&format!("ACK {uri}"), "1 ACK", TAG, "", "")),
    ];
    assert_eq!(ending(&cancel), "state=cancelled final_status=487 ended_by=caller");
    let busy = [(false, message("SIP/2.0 486 Busy Here", "1 INVITE", TAG, "", ""))];
    assert_eq!(ending(&busy), "state=failed final_status=486 ended_by=callee");
    assert_eq!(ending(&[]), "state=ringing final_status=- ended_by=-");
    // Section 3.3 of RFC 3665: authentication, then called again under the same Call-ID.
    let again = [
        (false, message("SIP/2.0 407 Proxy Authorization Required", "1 INVITE", TAG, "", "")),
        (true, message(&format!("INVITE {uri}"), "2 INVITE", "", "", "")),
        (false, message("SIP/2.0 200 OK", "2 INVITE", "x", "", "")),
    ];
    assert_eq!(ending(&again), "state=answered final_status=200 ended_by=-");
    // Answered when the cancellation was under way, RFC 3261 section 9.1.
    let race = [cancel[0].clone(), (false, message("SIP/2.0 200 OK", "1 INVITE", TAG, "", ""))];
    assert_eq!(ending(&race), "state=answered final_status=200 ended_by=-");
}

#[test]
fn redirected() {
    // RFC 3665 section 3.6 of a proxy's kind: the call goes elsewhere.
    let moved = message(
        "SIP/2.0 302 Moved Temporarily",
        "1 INVITE",
        "53fHlqlQ2",
        "Contact: <sip:bob@chicago.example.com;transport=tcp>, <sip:+32470000000@198.51.100.9:5080>\r\n",
        "",
    );
    let mut messages = session();
    messages.truncate(1);
    messages.push((false, moved));
    let frames = over_udp(&messages);
    let calls = frames.table(Table::Calls);
    assert_eq!(
        row(&calls, 0, "state final_status redirect_users redirect_hosts"),
        "state=redirected final_status=302 redirect_users=bob,+32470000000 redirect_hosts=chicago.example.com,198.51.100.9:5080"
    );
    let changes = frames.table(Table::Changes);
    assert_eq!(
        row(&changes, 0, "change side old new frame status"),
        "change=redirect side=callee old=biloxi.example.com new=chicago.example.com 198.51.100.9:5080 frame=2 status=302"
    );
}

#[test]
fn media_that_move_and_lose_their_keys() {
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    let secure = |addr, port| sdp(addr, port, key).replace("RTP/AVP", "RTP/SAVP");
    let mut messages = session();
    messages.truncate(4);
    messages[0].1 = message(
        "INVITE sip:bob@biloxi.example.com SIP/2.0",
        "1 INVITE",
        "",
        "Contact: <sip:alice@192.0.2.101>\r\n",
        &secure("192.0.2.101", 49172),
    );
    messages[2].1 = message("SIP/2.0 200 OK", "1 INVITE", TAG, "", &secure("192.0.2.201", 3456));
    let again = message(
        "INVITE sip:bob@client.biloxi.example.com SIP/2.0",
        "2 INVITE",
        TAG,
        "Contact: <sip:alice@203.0.113.66>\r\n",
        &sdp("203.0.113.66", 6666, "a=sendonly\r\n"),
    );
    messages.push((true, again.clone()));
    messages.push((true, again));
    messages.push((
        false,
        message("SIP/2.0 200 OK", "2 INVITE", TAG, "", &sdp("192.0.2.201", 3456, "a=recvonly\r\n")),
    ));
    let frames = over_udp(&messages);
    let calls = frames.table(Table::Calls);
    assert_eq!(
        row(&calls, 0, "state encryption encryption_offered encryption_lost retransmissions caller_media"),
        "state=answered encryption=none encryption_offered=sdes encryption_lost=true retransmissions=1 caller_media=audio 192.0.2.101:49172,audio 203.0.113.66:6666"
    );
    let changes = frames.table(Table::Changes);
    let told: Vec<_> =
        (0..changes.num_rows()).map(|at| row(&changes, at, "frame side change old new")).collect();
    assert_eq!(
        told,
        [
            "frame=5 side=caller change=target old=192.0.2.101 new=203.0.113.66",
            "frame=5 side=caller change=media old=192.0.2.101:49172 new=203.0.113.66:6666",
            "frame=5 side=caller change=profile old=RTP/SAVP new=RTP/AVP",
            "frame=5 side=caller change=direction old=sendrecv new=sendonly",
            "frame=7 side=callee change=profile old=RTP/SAVP new=RTP/AVP",
            "frame=7 side=callee change=direction old=sendrecv new=recvonly",
            "frame=7 side=callee change=encryption old=sdes new=none",
        ]
    );
    let media = frames.table(Table::Media);
    assert_eq!(
        row(&media, 0, "addr encryption suites until"),
        "addr=192.0.2.101 encryption=sdes suites=AES_CM_128_HMAC_SHA1_80 until=4000000"
    );
}

#[test]
fn a_relay_between_hops() {
    let mut frames = Frames::default();
    let proxy: End = ("192.0.2.111", 5060);
    let session = session();
    frames.udp(ALICE, proxy, &session[0].1);
    frames.udp(proxy, BOB, &session[0].1.replace("c=IN IP4 192.0.2.101", "c=IN IP4 203.0.113.9"));
    let calls = frames.table(Table::Calls);
    assert_eq!(row(&calls, 0, "messages retransmissions"), "messages=2 retransmissions=0");
    let changes = frames.table(Table::Changes);
    assert_eq!(changes.num_rows(), 1);
    assert_eq!(
        row(&changes, 0, "change old new"),
        "change=relayed old=192.0.2.101:49172 new=203.0.113.9:49172"
    );
}

#[test]
fn began_before_the_capture() {
    let calls = over_udp(&session()[4..]).table(Table::Calls);
    assert_eq!(
        row(&calls, 0, "state began_before began talk_ms"),
        "state=ended began_before=true began=- talk_ms=-"
    );
    let calls = over_udp(&session()[3..4]).table(Table::Calls);
    assert_eq!(row(&calls, 0, "state began_before"), "state=unknown began_before=true");
}

#[test]
fn nothing_comes_for_long() {
    let mut frames = over_udp(&session()[..2]);
    frames.wait(301);
    assert_eq!(column(&frames.table(Table::Calls), "state"), ["timed-out"]);
}

#[test]
fn numbers_of_isup_and_identities() {
    // Called +3225550199, calling 025550123 (ITU-T Q.763 section 3.9).
    let isup = "\u{1}\u{0}\u{60}\u{0}\u{a}\u{0}\u{2}\u{8}\u{6}";
    let called = [0x04, 0x10, 0x23, 0x52, 0x55, 0x10];
    let mut body = b"--b\r\nContent-Type: application/sdp\r\n\r\n".to_vec();
    body.extend(sdp("192.0.2.101", 49172, "").bytes());
    body.extend(b"\r\n--b\r\nContent-Type: application/isup; version=itu-t92+\r\n\r\n");
    body.extend(isup.as_bytes());
    body.extend(called);
    body.extend(b"\r\n--b--\r\n");
    let body = String::from_utf8(body).unwrap();
    let invite = message(
        "INVITE sip:+32-2-555-01-99@gw.example.net;user=phone SIP/2.0",
        "1 INVITE",
        "",
        "P-Asserted-Identity: \"A\" <sip:+32470123456@op.example>, <tel:+32470123456>\r\nDiversion: <sip:+3225550100@op.example>;reason=unconditional\r\n\
         Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000\r\nP-Charging-Vector: icid-value=1234bc9876e;orig-ioi=home1.net\r\n\
         Record-Route: <sip:192.0.2.111;lr>\r\nRequire: siprec\r\n",
        &body,
    )
    .replace("Content-Type: application/sdp\r\nContent-Length", "Content-Type: multipart/mixed;boundary=b\r\nContent-Length");
    let calls = over_udp(&[(true, invite)]).table(Table::Calls);
    assert_eq!(
        row(
            &calls,
            0,
            "caller caller_source callee callee_source isup_called isup_calling diverted_by session_id icid route is_siprec caller_media"
        ),
        "caller=+32470123456 caller_source=P-Asserted-Identity callee=+3225550199 callee_source=Request-URI isup_called=+32255501 isup_calling=- diverted_by=+3225550100 session_id=ab30317f1a784dc48ff824d0d3715d86 icid=1234bc9876e route=192.0.2.111 is_siprec=true caller_media=audio 192.0.2.101:49172"
    );
}

#[test]
fn where_media_are_expected() {
    let mut stage = Calls::new(&[Table::Calls], Options::default());
    let source =
        Source::Memory { name: "t".to_owned(), bytes: std::sync::Arc::new(over_udp(&session()).pcap()) };
    let reader = Reader::open(vec![source], CaptureOptions::default()).unwrap();
    let mut scan = Scan::new(
        reader,
        ScanOptions { columns: stage.columns(), tables: stage.tables(), ..ScanOptions::default() },
    );
    while let Some(batch) = scan.next_with_messages().unwrap() {
        stage.read(&batch).unwrap();
    }
    let addr = crate::packets::address::parse_address("192.0.2.201").unwrap();
    let find = |stage: &Calls, port, ts| {
        stage.endpoints().find(0, addr, port, ts).map(|spot| (spot.call, spot.side, spot.is_rtcp))
    };
    assert_eq!(find(&stage, 3456, 3_000_000), Some((1, Side::Callee, false)));
    assert_eq!(find(&stage, 3457, 3_000_000), Some((1, Side::Callee, true)));
    assert_eq!(find(&stage, 3458, 3_000_000), None);
    stage.end();
    assert_eq!(find(&stage, 3456, 60 * SECOND), None);
}

/// The frames of a call over TCP, each direction cut at these places, in this order within a window of frames.
fn over_tcp(cuts: &[usize], swaps: &[usize]) -> Frames {
    let (client, server): (End, End) = (("192.0.2.101", 40000), BOB);
    let mut frames = Frames::default();
    let mut seqs = [u32::MAX - 5, 77];
    frames.tcp(client, server, seqs[0], true, b"");
    frames.tcp(server, client, seqs[1], true, b"");
    seqs = [seqs[0].wrapping_add(1), 78];
    let mut cuts = cuts.iter().copied().cycle();
    for (is_callers, text) in session() {
        let (from, to) = if is_callers { (client, server) } else { (server, client) };
        let seq = &mut seqs[usize::from(!is_callers)];
        let mut segments = Vec::new();
        let mut rest = [text.as_bytes(), b"\r\n\r\n"].concat();
        while !rest.is_empty() {
            let cut = cuts.next().unwrap().clamp(1, rest.len());
            let behind = rest.split_off(cut);
            segments.push((*seq, rest));
            *seq = seq.wrapping_add(cut as u32);
            rest = behind;
        }
        for &swap in swaps {
            let (a, b) = (swap % segments.len(), (swap / 7) % segments.len());
            segments.swap(a, b);
        }
        if let Some(again) = swaps.first() {
            // Sent again, and again with less.
            let (seq, bytes) = segments[again % segments.len()].clone();
            segments.push((seq, bytes[..bytes.len().div_ceil(2)].to_vec()));
            segments.push((seq, bytes));
        }
        for (seq, bytes) in segments {
            frames.tcp(from, to, seq, false, &bytes);
        }
    }
    frames
}

const SAME: &str = "state ended_by final_status messages retransmissions incomplete caller callee caller_media callee_media codecs_agreed transport";

#[test]
fn a_session_over_tcp() {
    let calls = over_tcp(&[usize::MAX], &[]).table(Table::Calls);
    assert_eq!(calls.num_rows(), 1);
    assert_eq!(
        row(&calls, 0, SAME),
        "state=ended ended_by=callee final_status=200 messages=6 retransmissions=0 incomplete=0 caller=alice callee=bob caller_media=audio 192.0.2.101:49172 callee_media=audio 192.0.2.201:3456 codecs_agreed=PCMU/8000 transport=tcp"
    );
}

#[test]
fn a_gap_in_a_connection() {
    // The 180 is cut in two, of which one was not captured.
    let cut = over_tcp(&[300], &[]);
    for (missing, told) in [(4, "messages=5 incomplete=0"), (5, "messages=6 incomplete=1")] {
        let left = cut.0.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, frame)| frame.clone());
        let (calls, warnings) = Frames(left.collect()).table_with(Table::Calls, Options::default(), 64, 1);
        assert_eq!(calls.num_rows(), 1);
        assert_eq!(warnings, ["1 gaps in connections with signalling: messages may be missing"]);
        assert_eq!(
            row(&calls, 0, "callee_media state messages incomplete"),
            format!("callee_media=audio 192.0.2.201:3456 state=ended {told}")
        );
    }
}

/// Segments of which one was not captured: the INVITE's second. Messages are taken as they were seen, whatever is waited for.
#[test]
fn messages_are_in_order_whatever_is_missing() {
    let upto = session()[0].1.find("a=rtpmap").unwrap() + 5;
    let cut = over_tcp(&[upto], &[]);
    // With the ACK, it is known that something is missing; or nothing comes any more.
    for (pause, upto) in [(0, usize::MAX), (4 * SECOND, usize::MAX), (0, 7), (4 * SECOND, 7)] {
        let left = cut.0.iter().enumerate().filter(|(at, _)| *at != 3).map(|(at, (ts, frame))| {
            let later = if at > 4 { pause } else { 0 };
            (ts + later, frame.clone())
        });
        let frames = Frames(left.take(upto).collect());
        let calls = frames.table(Table::Calls);
        assert_eq!(calls.num_rows(), 1);
        assert_eq!(
            row(&calls, 0, "began_before began incomplete encryption encryption_lost codecs_agreed"),
            "began_before=false began=2000000 incomplete=1 encryption=- encryption_lost=- codecs_agreed=PCMU/8000"
        );
        let messages = frames.table(Table::Messages);
        let times: Vec<i64> = column(&messages, "ts").iter().map(|ts| ts.parse().unwrap()).collect();
        assert!(times.is_sorted(), "{times:?}");
        assert_eq!(column(&messages, "method")[..2], ["INVITE", "-"]);
        assert_eq!(column(&messages, "sdp")[..3], ["offer", "-", "answer"]);
        assert_eq!(column(&messages, "is_complete")[..3], ["false", "true", "true"]);
        for threads in [1, 3] {
            let again = frames.table_with(Table::Messages, Options::default(), 1, threads).0;
            assert_eq!(again, messages);
        }
    }
}

/// An offer of RFC 5763 section 7.1 that is answered. Of both, what stands behind the profile was cut: nobody knows whether keys did.
#[test]
fn what_was_cut_is_not_in_clear() {
    let keys = "a=fingerprint:sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB\r\na=setup:actpass\r\n";
    let invite = |body: &str| message("INVITE sip:bob@biloxi.example.com SIP/2.0", "1 INVITE", "", "", body);
    let answer = |body: &str| message("SIP/2.0 200 OK", "1 INVITE", TAG, "", body);
    let secure = |addr, port| sdp(addr, port, keys).replace("RTP/AVP", "UDP/TLS/RTP/SAVP");
    let (offer, told) = (invite(&secure("192.0.2.101", 49172)), answer(&secure("192.0.2.201", 3456)));
    let cut = |text: &str| text[..text.find("a=fingerprint").unwrap() + 5].to_owned();
    let bare = answer(&sdp("192.0.2.201", 3456, ""));
    let names = "state encryption encryption_offered encryption_lost";
    for (offer, answer, expected) in [
        (
            offer.clone(),
            told.clone(),
            "answered encryption=dtls-srtp encryption_offered=dtls-srtp encryption_lost=false",
        ),
        (offer.clone(), cut(&told), "answered encryption=- encryption_offered=dtls-srtp encryption_lost=-"),
        (cut(&offer), told.clone(), "answered encryption=- encryption_offered=dtls-srtp encryption_lost=-"),
        (cut(&offer), cut(&told), "answered encryption=- encryption_offered=- encryption_lost=-"),
        (offer.clone(), bare, "answered encryption=none encryption_offered=dtls-srtp encryption_lost=true"),
    ] {
        let frames = over_udp(&[(true, offer), (false, answer)]);
        assert_eq!(row(&frames.table(Table::Calls), 0, names), format!("state={expected}"));
        assert_eq!(frames.table(Table::Changes).num_rows(), 0);
    }
    let frames = over_udp(&[(true, cut(&offer)), (false, cut(&told))]);
    let media = frames.table(Table::Media);
    assert_eq!(column(&media, "encryption"), ["-", "-"]);
    assert_eq!(column(&media, "direction"), ["-", "-"]);
    assert_eq!(column(&media, "port"), ["49172", "3456"]);
    // A port of which digits are missing is none.
    let half = offer[..offer.find("49172").unwrap() + 3].to_owned();
    assert_eq!(over_udp(&[(true, half)]).table(Table::Media).num_rows(), 0);
}

/// Who has to type a password needs longer than messages are sent again: it is still the same Call-ID (RFC 3261 section 22.2).
#[test]
fn a_challenge_is_answered_late() {
    let uri = "sip:bob@biloxi.example.com SIP/2.0";
    for (status, wait, expected) in [
        (401, 60, &["answered"][..]),
        (407, 170, &["answered"]),
        (407, 200, &["failed", "answered"]),
        (486, 60, &["failed", "answered"]),
    ] {
        let mut frames = over_udp(&session()[..1]);
        frames.udp(BOB, ALICE, &message(&format!("SIP/2.0 {status} No"), "1 INVITE", TAG, "", ""));
        frames.wait(wait);
        frames.udp(ALICE, BOB, &message(&format!("INVITE {uri}"), "2 INVITE", "", "", ""));
        frames.udp(BOB, ALICE, &message("SIP/2.0 200 OK", "2 INVITE", TAG, "", ""));
        assert_eq!(column(&frames.table(Table::Calls), "state"), expected, "{status} {wait}");
    }
}

/// Tags that no message had before: a response is of who was sent the request (RFC 3261 section 8.2.6).
#[test]
fn sides_of_an_unknown_dialog() {
    let other = |text: &str| text.replace("tag=9fxced76sl", "tag=a21d1d13").replace(TAG, "as14c4ea1b");
    let mut messages = session();
    messages.truncate(4);
    let again = message("INVITE sip:bob@client.biloxi.example.com SIP/2.0", "2 INVITE", TAG, "", "");
    messages.push((true, other(&again)));
    messages.push((false, other(&message("SIP/2.0 200 OK", "2 INVITE", TAG, "", ""))));
    messages.push((false, callee_says("BYE sip:alice@client.atlanta.example.com SIP/2.0", "1 BYE")));
    let sides = column(&over_udp(&messages).table(Table::Messages), "side");
    assert_eq!(sides, ["caller", "callee", "callee", "caller", "caller", "callee", "callee"]);
}

#[test]
fn a_datagram_in_parts() {
    let session = session();
    let whole = over_udp(&session[..1]);
    let packet = &whole.0[0].1;
    let (head, payload) = (&packet[..34], &packet[34..]);
    let part = |offset: usize, bytes: &[u8], more: bool| {
        let mut frame = head.to_vec();
        frame[16..18].copy_from_slice(&((20 + bytes.len()) as u16).to_be_bytes());
        frame[18..20].copy_from_slice(&[0x12, 0x34]);
        frame[20..22].copy_from_slice(&((offset / 8) as u16 | u16::from(more) << 13).to_be_bytes());
        frame.extend(bytes);
        frame
    };
    let parts = [
        part(0, &payload[..400], true),
        part(400, &payload[400..480], true),
        part(480, &payload[480..], false),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let mut frames = Frames::default();
        for &at in &order {
            frames.push(parts[at].clone());
        }
        let calls = frames.table(Table::Calls);
        assert_eq!(calls.num_rows(), 1, "{order:?}");
        assert_eq!(
            row(&calls, 0, "caller_media incomplete frames"),
            "caller_media=audio 192.0.2.101:49172 incomplete=0 frames=[3]"
        );
    }
    let mut frames = Frames::default();
    frames.push(parts[0].clone());
    frames.push(parts[2].clone());
    assert_eq!(row(&frames.table(Table::Calls), 0, "caller_media incomplete"), "caller_media=- incomplete=1");
}

#[test]
fn far_segments_and_connections_that_begin_again() {
    let frames = over_tcp(&[300], &[]);
    let expected = row(&frames.table(Table::Calls), 0, SAME);
    // A segment far ahead or behind by itself belongs to none; the beginning seen twice changes nothing.
    for far in [1_u32 << 22, 1 << 30, u32::MAX - (1 << 22)] {
        let mut more = Frames::default();
        for (at, (_, frame)) in frames.0.iter().enumerate() {
            more.push(frame.clone());
            if at == 3 {
                more.tcp(
                    ("192.0.2.101", 40000),
                    BOB,
                    300_u32.wrapping_add(far),
                    false,
                    b"BYE sip:x SIP/2.0\r\n\r\n",
                );
                more.tcp(("192.0.2.101", 40000), BOB, u32::MAX - 5, true, b"");
            }
        }
        assert_eq!(row(&more.table(Table::Calls), 0, SAME), expected);
    }
    // Much was not captured: what follows is read.
    let session = session();
    let mut more = Frames::default();
    more.tcp(ALICE, BOB, 9, true, b"");
    let (head, tail) = session[0].1.split_at(200);
    for (seq, text) in [(5_000_000, head), (5_000_200, tail), (5_000_200 + tail.len() as u32, &session[3].1)]
    {
        more.tcp(ALICE, BOB, seq, false, text.as_bytes());
    }
    let (calls, warnings) = more.table_with(Table::Calls, Options::default(), 64, 1);
    assert_eq!(calls.num_rows(), 1);
    assert_eq!(warnings, ["1 gaps in connections with signalling: messages may be missing"]);
}

/// Nine media of which eight have keys: that all are encrypted, nobody can tell who has read eight.
#[test]
fn media_beyond_those_that_are_read_may_be_in_clear() {
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    let calls = |secure: usize, more: &str| {
        let secure = format!("m=audio 4000 RTP/SAVP 0\r\n{key}").repeat(secure);
        let described = format!("v=0\r\nc=IN IP4 192.0.2.101\r\nt=0 0\r\n{secure}{more}");
        let mut messages = session();
        messages[0].1 = message("INVITE sip:bob@biloxi.example.com SIP/2.0", "1 INVITE", "", "", &described);
        messages[2].1 = message("SIP/2.0 200 OK", "1 INVITE", TAG, "", &described);
        row(&over_udp(&messages).table(Table::Calls), 0, "encryption encryption_lost")
    };
    assert_eq!(calls(8, ""), "encryption=sdes encryption_lost=false");
    assert_eq!(calls(8, "m=audio 4016 RTP/AVP 0\r\n"), "encryption=- encryption_lost=-");
    // One in clear is enough.
    assert_eq!(
        calls(0, &format!("m=audio 4016 RTP/AVP 0\r\n{}", "m=audio 4018 RTP/AVP 0\r\n".repeat(8))),
        "encryption=none encryption_lost=false"
    );
}

#[test]
fn segments_that_wait_take_more_room_than_they_have_bytes() {
    let mut streams = Streams::new(1 << 14, 64 << 20);
    let mut count = 0;
    for number in 0..500_000_u32 {
        let place = Place { src_port: (number % 16_000) as u16, ..Place::default() };
        let payload = match number / 16_000 {
            0 => segment(0, SYN, 0, &[]),
            pass => segment(pass * 2000, 0, 1, b"x"),
        };
        streams.take(&place, payload, &mut |_| count += 1);
    }
    // 16,000 connections with up to 31 of them each, and 64 MiB for all.
    assert!(streams.held_bytes() <= 1 << 26, "{}", streams.held_bytes());
    assert!(streams.evicted > 0);
    while streams.end(&mut |_| count += 1) {}
    assert_eq!((streams.held_bytes(), count), (0, 0));
}

#[test]
fn what_is_held_is_bounded() {
    // Headers without end in many connections, a start line that is none, and segments that wait for ever.
    let mut streams = Streams::new(1 << 14, 4 << 20);
    let mut count = 0;
    for port in 0..3000_u16 {
        let place = Place { src_port: port, ts: i64::from(port), ..Place::default() };
        for part in 0..2_u32 {
            let bytes = [b"IN(VITE sip:a SIP/2.0\r\n".to_vec(), vec![b'x'; 60_000]].concat();
            let bytes = if part == 0 && port % 2 == 0 { &bytes[3..] } else { &bytes };
            let payload = Payload {
                transport: Some("tcp"),
                is_sip: true,
                by_port: true,
                seq: part * 100_000,
                flags: 0x10,
                fragment: None,
                wire_len: bytes.len(),
                bytes,
            };
            streams.take(&place, payload, &mut |_| count += 1);
        }
    }
    assert!(streams.held_bytes() <= 4 << 20, "{}", streams.held_bytes());
    assert!(streams.evicted > 0);
    while streams.end(&mut |_| {}) {}
    assert_eq!(streams.held_bytes(), 0);
}

/// A message of ISUP over M3UA (RFC 4666 sections 1.4.3 and 3.3.1) in a chunk of SCTP.
fn isup(frames: &mut Frames, is_callers: bool, cic: u16, message: &[u8]) {
    let (opc, dpc) = if is_callers { (10_u32, 20_u32) } else { (20, 10) };
    let mut data = [opc.to_be_bytes(), dpc.to_be_bytes(), [5, 2, 0, 1]].concat();
    data.extend(cic.to_le_bytes());
    data.extend(message);
    let mut m3ua = vec![1, 0, 1, 1, 0, 0, 0, 0, 2, 0x10];
    m3ua.extend((4 + data.len() as u16).to_be_bytes());
    m3ua.extend(data);
    m3ua.resize(m3ua.len().next_multiple_of(4), 0);
    let len = m3ua.len() as u32;
    m3ua[4..8].copy_from_slice(&len.to_be_bytes());
    let mut sctp = [2905_u16.to_be_bytes(), 2905_u16.to_be_bytes()].concat();
    sctp.extend([0; 8]);
    sctp.extend([0, 3]);
    sctp.extend((16 + len as u16).to_be_bytes());
    sctp.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3]);
    sctp.extend(m3ua);
    let (from, to) = if is_callers { (ALICE, BOB) } else { (BOB, ALICE) };
    let builder = PacketBuilder::ethernet2(MACS[0], MACS[1]).ipv4(octets(from.0), octets(to.0), 64);
    let mut frame = Vec::new();
    builder.write(&mut frame, etherparse::IpNumber::SCTP, &sctp).unwrap();
    frames.push(frame);
}

/// To +3222000001, from +32470.
const INITIAL: &[u8] = &[
    1, 0, 0x20, 0, 0x0a, 0, 2, 9, 7, 0x04, 0x10, 0x23, 0x22, 0, 0, 0x10, 0x0a, 5, 0x84, 0x13, 0x23, 0x74,
    0x00, 0,
];

#[test]
fn calls_of_circuits() {
    // ITU-T Q.764 section 2.1: address, complete, answer, release, complete; then the same circuit again, given up by who called; another one, refused.
    let (complete, answer, busy) = ([6, 0x16, 0x14, 0], [9, 0], [12, 2, 0, 2, 0x80, 0x91]);
    let (clear, released) = ([12, 2, 0, 2, 0x80, 0x90], [16, 0]);
    let mut frames = Frames::default();
    isup(&mut frames, false, 7, &released);
    for (is_callers, message) in [
        (true, INITIAL),
        (false, &complete),
        (false, &answer),
        (false, &clear),
        (true, &released),
        (true, INITIAL),
        (true, &clear),
    ] {
        isup(&mut frames, is_callers, 7, message);
    }
    isup(&mut frames, true, 8, INITIAL);
    isup(&mut frames, true, 8, INITIAL);
    isup(&mut frames, false, 8, &busy);
    isup(&mut frames, false, 9, &answer);
    isup(&mut frames, true, 9, &clear);
    let calls = frames.table(Table::Calls);
    let names = "call_id state ended_by cause caller callee callee_source transport began_before rang answered ended talk_ms messages retransmissions src";
    let mut rows: Vec<_> = (0..calls.num_rows()).map(|at| row(&calls, at, names)).collect();
    rows.sort();
    let who = "caller=+32470 callee=+3222000001 callee_source=ISUP transport=m3ua began_before=false";
    assert_eq!(
        rows,
        [
            format!("call_id=10-20 7 state=cancelled ended_by=caller cause=16 {who} rang=- answered=- ended=7000000 talk_ms=- messages=2 retransmissions=0 src=192.0.2.101"),
            format!("call_id=10-20 7 state=ended ended_by=callee cause=16 {who} rang=2000000 answered=3000000 ended=4000000 talk_ms=1 messages=5 retransmissions=0 src=192.0.2.101"),
            format!("call_id=10-20 8 state=failed ended_by=callee cause=17 {who} rang=- answered=- ended=10000000 talk_ms=- messages=2 retransmissions=1 src=192.0.2.101"),
            "call_id=10-20 9 state=ended ended_by=caller cause=16 caller=- callee=- callee_source=- transport=m3ua began_before=true rang=- answered=11000000 ended=12000000 talk_ms=1 messages=2 retransmissions=0 src=192.0.2.101".to_owned(),
        ]
    );
    let messages = frames.table(Table::Messages);
    assert_eq!(column(&messages, "method").join(" "), "IAM ACM ANM REL RLC IAM REL IAM IAM REL ANM REL");
    for (batch_size, threads) in [(1, 1), (64, 3)] {
        assert_eq!(frames.table_with(Table::Calls, Options::default(), batch_size, threads).0, calls);
    }
    for cut in 0..INITIAL.len() {
        let mut frames = Frames::default();
        isup(&mut frames, true, 7, &INITIAL[..cut]);
        frames.table(Table::Calls);
    }
}

/// A TPKT with a message of Q.931: call reference 5, these elements.
fn q931(is_callees: bool, kind: u8, elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![3, 0, 0, 9 + elements.len() as u8, 8, 2, if is_callees { 0x80 } else { 0 }, 5, kind];
    bytes.extend(elements);
    bytes
}

const PHONE: End = ("192.0.2.101", 40000);
const GATEWAY: End = ("192.0.2.201", 1720);

/// A call of H.225.0, each direction cut into segments of so many bytes.
fn over_h225(cut: usize) -> Frames {
    let mut frames = Frames::default();
    // Calling 225 (national), called +32 2 555 01 99 (international); cause 16: normal clearing.
    let setup = q931(false, 0x05, b"\x04\x03\x90\x90\xa3\x6c\x05\x21\x80225\x70\x0b\x913225550199");
    let setup = [b"\x03\0\0\x04".as_slice(), &setup].concat();
    let told = [
        (true, setup),
        (false, q931(true, 0x02, &[])),
        (false, q931(true, 0x01, &[])),
        (false, q931(true, 0x07, &[])),
        (true, q931(false, 0x5a, &[8, 2, 0x80, 0x90])),
    ];
    let mut seqs = [100_u32, 500];
    frames.tcp(PHONE, GATEWAY, 99, true, b"");
    frames.tcp(GATEWAY, PHONE, 499, true, b"");
    for (is_callers, bytes) in told {
        let (from, to, seq) =
            if is_callers { (PHONE, GATEWAY, &mut seqs[0]) } else { (GATEWAY, PHONE, &mut seqs[1]) };
        for part in bytes.chunks(cut) {
            // Each is seen twice, as where a segment is sent again.
            frames.tcp(from, to, *seq, false, part);
            frames.tcp(from, to, *seq, false, part);
            *seq += part.len() as u32;
        }
    }
    frames
}

#[test]
fn a_call_of_h225_in_any_segments() {
    let names = "state ended_by cause caller caller_source callee transport src dst messages retransmissions incomplete began_before call_id";
    let expected = "state=ended ended_by=caller cause=16 caller=225 caller_source=Q.931 callee=+3225550199 transport=h225 \
        src=192.0.2.101 dst=192.0.2.201 messages=5 retransmissions=0 incomplete=- began_before=false \
        call_id=192.0.2.101:40000-192.0.2.201:1720 5";
    for cut in [1, 2, 3, 5, 8, 13, 1000] {
        let calls = over_h225(cut).table(Table::Calls);
        assert_eq!((calls.num_rows(), &*row(&calls, 0, names)), (1, expected), "{cut}");
    }
    let messages = over_h225(1000).table(Table::Messages);
    assert_eq!(
        column(&messages, "method"),
        ["SETUP", "CALL PROCEEDING", "ALERTING", "CONNECT", "RELEASE COMPLETE"]
    );
    assert_eq!(column(&messages, "side"), ["caller", "callee", "callee", "callee", "caller"]);
    for (batch_size, threads) in [(1, 1), (64, 3)] {
        let again = over_h225(3).table_with(Table::Calls, Options::default(), batch_size, threads).0;
        assert_eq!(again, over_h225(3).table(Table::Calls));
    }
}

const SYN: u8 = 0x02;
const RST: u8 = 0x04;

/// A segment of H.225.0: source port, sequence number, flags, length on the wire, bytes.
type Segment<'a> = (u16, u32, u8, usize, &'a [u8]);

/// Messages, gaps, and connections that were given up.
type Counts = (u64, u64, u64);

/// What was counted before the end, and at it.
fn read_segments(limit: usize, segments: &[Segment<'_>]) -> [Counts; 2] {
    let mut framed = Framed::new(limit, 16 << 20);
    let mut count = 0;
    for &(src_port, seq, flags, wire_len, bytes) in segments {
        let place = Place { src_port, ..Place::default() };
        framed.take(Protocol::H225, &place, segment(seq, flags, wire_len, bytes), &mut |_, _, _| count += 1);
        framed.held_bytes();
    }
    let before = (count, framed.gaps, framed.evicted);
    framed.end(&mut |_, _, _| count += 1);
    assert_eq!(framed.held_bytes(), 0);
    [before, (count, framed.gaps, framed.evicted)]
}

fn segment(seq: u32, flags: u8, wire_len: usize, bytes: &[u8]) -> Payload<'_> {
    Payload {
        transport: Some("tcp"),
        is_sip: false,
        by_port: true,
        seq,
        flags,
        fragment: None,
        wire_len,
        bytes,
    }
}

#[test]
fn what_is_missing_of_framed_messages_is_counted() {
    // Nine bytes each.
    let message = &*q931(false, 0x62, &[]);
    let whole = |seq| (1, seq, 0, 9, message);
    let other = |seq| (1, seq, 0, 20, &[b'x'; 20][..]);
    let [first, third] = [whole(100), whole(118)];
    let begin = (1, 99, SYN, 0, &[][..]);
    let far = 109 + (2 << 20);
    // Messages, gaps and given up connections, before the end and at it.
    let cases: [(&str, &[Segment<'_>], [Counts; 2]); 16] = [
        ("all there", &[begin, first, whole(109), third], [(3, 0, 0); 2]),
        ("one missing", &[begin, first, third], [(1, 0, 0), (2, 1, 0)]),
        ("reset", &[begin, first, third, (1, 127, RST, 0, &[])], [(2, 1, 0); 2]),
        ("begun anew", &[begin, first, third, (1, 5000, SYN, 0, &[])], [(2, 1, 0); 2]),
        ("begun twice", &[begin, first, third, begin], [(1, 0, 0), (2, 1, 0)]),
        ("begun twice, then complete", &[begin, first, third, begin, whole(109)], [(3, 0, 0); 2]),
        ("another one", &[begin, first, third, (2, 7, SYN, 0, &[])], [(2, 1, 1); 2]),
        ("cut", &[begin, first, (1, 109, 0, 18, message), whole(127)], [(3, 1, 0); 2]),
        ("something else", &[begin, first, other(109), other(129), whole(149)], [(2, 1, 0); 2]),
        ("another protocol", &[begin, other(100), other(120)], [(0, 0, 0); 2]),
        ("something else first", &[begin, other(100), other(120), whole(140)], [(1, 1, 0); 2]),
        ("begun, and not ended", &[begin, (1, 100, 0, 5, &message[..5])], [(0, 0, 0), (0, 1, 0)]),
        ("far by itself", &[begin, first, whole(far), whole(far), whole(109)], [(2, 0, 0); 2]),
        ("far", &[begin, first, whole(far), whole(far + 9), whole(far + 18)], [(3, 1, 0); 2]),
        ("far, behind a gap", &[begin, first, third, whole(far), whole(far + 9)], [(3, 2, 0); 2]),
        // An empty TPKT in two segments, which keeps a connection alive.
        (
            "kept alive",
            &[begin, (1, 100, 0, 5, &[3, 0, 0, 8, 0]), (1, 105, 0, 3, &[0; 3]), whole(108)],
            [(1, 0, 0); 2],
        ),
    ];
    for (name, segments, expected) in cases {
        assert_eq!(read_segments(1, segments), expected, "{name}");
    }
}

#[test]
fn what_is_held_of_framed_messages_is_bounded() {
    // Connections that begin messages of 60,000 bytes, and segments that wait for ever: long ones, and such that take more room than they have bytes.
    let begun = [&[3, 0, 0xea, 0x60][..], &[0; 1396]].concat();
    for bytes in [&*begun, &[3]] {
        let mut framed = Framed::new(1 << 14, 16 << 20);
        let mut count = 0;
        for number in 0..500_000_u32 {
            let place = Place { src_port: (number % 16_000) as u16, ..Place::default() };
            let payload = match number / 16_000 {
                0 => segment(0, SYN, 0, &[]),
                pass => segment(pass * 2000, 0, bytes.len(), bytes),
            };
            framed.take(Protocol::H225, &place, payload, &mut |_, _, _| count += 1);
            if number % 16_000 == 0 {
                assert!(framed.held_bytes() <= 1 << 24, "{}", framed.held_bytes());
            }
        }
        assert!(framed.held_bytes() <= 1 << 24, "{}", framed.held_bytes());
        // There is room for all of them, but not for what they hold.
        assert!(framed.evicted > 0 && framed.gaps > 0);
        framed.end(&mut |_, _, _| count += 1);
        assert_eq!((framed.held_bytes(), count), (0, 0));
    }
}

#[test]
fn a_gap_in_a_connection_of_h225() {
    // Who calls, and what the other end says: at these numbers.
    let methods = |told: &[(u32, u8)]| {
        let mut frames = Frames::default();
        frames.tcp(PHONE, GATEWAY, 99, true, b"");
        frames.tcp(PHONE, GATEWAY, 100, false, &q931(false, 0x05, b"\x70\x0b\x913225550199"));
        frames.tcp(GATEWAY, PHONE, 499, true, b"");
        for &(seq, kind) in told {
            frames.tcp(GATEWAY, PHONE, seq, false, &q931(true, kind, &[]));
        }
        let (messages, warnings) = frames.table_with(Table::Messages, Options::default(), 64, 1);
        (column(&messages, "method").join(" "), warnings)
    };
    let gaps = vec!["1 gaps in connections with signalling: messages may be missing".to_owned()];
    // What waits at the end is read.
    assert_eq!(
        methods(&[(500, 0x02), (518, 0x07)]),
        ("SETUP CALL PROCEEDING CONNECT".to_owned(), gaps.clone())
    );
    // 2 MiB are missing: by itself, the first segment behind them may belong elsewhere.
    let far = 509 + (2 << 20);
    assert_eq!(
        methods(&[(500, 0x02), (far, 0x01), (far + 9, 0x07)]),
        ("SETUP CALL PROCEEDING CONNECT".to_owned(), gaps)
    );
    assert_eq!(
        methods(&[(500, 0x02), (far, 0x01), (509, 0x07)]),
        ("SETUP CALL PROCEEDING CONNECT".to_owned(), Vec::new())
    );
}

/// A message of Skinny with a header of version 0.
fn skinny(kind: u32, words: &[u32]) -> Vec<u8> {
    let all = [4 + 4 * words.len() as u32, 0, kind].into_iter().chain(words.iter().copied());
    all.flat_map(u32::to_le_bytes).collect()
}

#[test]
fn a_call_of_skinny() {
    let manager: End = ("192.0.2.201", 2000);
    let addr = |octets: [u8; 4]| u32::from_le_bytes(octets);
    let told = [
        (false, skinny(0x111, &[1, 1, 9])),
        (false, skinny(0x111, &[3, 1, 9])),
        (false, skinny(0x105, &[9, 77, 20, 8, 0, 0, 9])),
        (true, skinny(0x22, &[0, addr([192, 0, 2, 101]), 17718, 77, 9])),
        (false, skinny(0x105, &[9, 77, 20, 4, 0, 0, 9])),
        (false, skinny(0x8a, &[9, 77, addr([192, 0, 2, 55]), 4000, 20, 4, 0, 0, 0, 0, 9])),
        // What a recorder gets has a reference of its own.
        (false, skinny(0x8a, &[9, 78, addr([192, 0, 2, 66]), 6000, 20, 4, 0, 0, 0, 0, 12])),
        (false, skinny(0x111, &[5, 1, 9])),
        (false, skinny(0x111, &[8, 1, 9])),
        (false, skinny(0x111, &[5, 1, 9])),
        (false, skinny(0x111, &[2, 1, 9])),
    ];
    let mut frames = Frames::default();
    let mut seqs = [100_u32, 500];
    for (is_phones, bytes) in told {
        let (from, to, seq) =
            if is_phones { (PHONE, manager, &mut seqs[0]) } else { (manager, PHONE, &mut seqs[1]) };
        frames.tcp(from, to, *seq, false, &bytes);
        *seq += bytes.len() as u32;
    }
    let calls = frames.table(Table::Calls);
    assert_eq!(
        row(&calls, 0, "state ended_by began_before transport src dst caller_media callee_media messages"),
        "state=ended ended_by=- began_before=false transport=skinny src=192.0.2.101 dst=192.0.2.201 \
         caller_media=audio 192.0.2.101:17718 callee_media=audio 192.0.2.55:4000 messages=11"
    );
    let media = frames.table(Table::Media);
    assert_eq!(column(&media, "side"), ["caller", "callee", "-"]);
    assert_eq!(column(&media, "addr"), ["192.0.2.101", "192.0.2.55", "192.0.2.66"]);
    assert_eq!(column(&media, "payloads"), ["9 G722/8000", "0 PCMU/8000", "0 PCMU/8000"]);
}

#[test]
fn the_port_tells_who_is_the_phone() {
    let manager: End = ("192.0.2.201", 2000);
    let mut frames = Frames::default();
    // A state that the phone says, and a channel that the manager acknowledges: both are of the kinds that the other one sends.
    frames.tcp(manager, PHONE, 500, false, &skinny(0x111, &[1, 1, 9]));
    frames.tcp(PHONE, manager, 100, false, &skinny(0x111, &[3, 1, 9]));
    let ack = skinny(0x22, &[0, u32::from_le_bytes([192, 0, 2, 66]), 6000, 77, 9]);
    frames.tcp(manager, PHONE, 524, false, &ack);
    let calls = frames.table(Table::Calls);
    assert_eq!(calls.num_rows(), 1);
    assert_eq!(
        row(&calls, 0, "call_id src dst messages incomplete"),
        "call_id=192.0.2.101-192.0.2.201 9 src=192.0.2.101 dst=192.0.2.201 messages=3 incomplete=-"
    );
    // The phone calls.
    assert_eq!(column(&frames.table(Table::Messages), "side"), ["callee", "caller", "callee"]);
}

#[test]
fn both_sides_of_what_calls_anew() {
    let [carol, dave]: [End; 2] = [("192.0.2.33", 5060), ("192.0.2.44", 5060)];
    let invite = |id: &str, from: &str, to: &str| {
        message(&format!("INVITE sip:{to}@192.0.2.201 SIP/2.0"), "1 INVITE", "", "", "")
            .replace("alice@", &format!("{from}@"))
            .replace("bob@", &format!("{to}@"))
            .replace("3848276298220188511", id)
    };
    let mut frames = Frames::default();
    frames.udp(ALICE, BOB, &invite("a", "+32470123456", "+3225550199"));
    frames.udp(BOB, carol, &invite("b", "0470123456", "025550199"));
    frames.udp(BOB, dave, &invite("c", "anonymous", "+3225550199"));
    frames.udp(ALICE, BOB, &invite("d", "+32470123457", "+3225550198"));
    let calls = frames.table(Table::Calls);
    let names = "call joins join_basis join_confidence";
    let mut rows: Vec<_> = (0..4).map(|at| row(&calls, at, names)).collect();
    rows.sort();
    assert_eq!(
        rows,
        [
            "call=1 joins=[2, 3] join_basis=callee caller address,callee address join_confidence=medium,low",
            "call=2 joins=[1] join_basis=callee caller address join_confidence=medium",
            "call=3 joins=[1] join_basis=callee address join_confidence=low",
            "call=4 joins=- join_basis=- join_confidence=-",
        ]
    );
}

#[test]
fn over_websocket() {
    let mut frames = Frames::default();
    let (client, server): (End, End) = (("192.0.2.101", 40000), ("192.0.2.201", 8080));
    let text = session().remove(0).1;
    let mask = [1, 2, 3, 4];
    let mut bytes = vec![0x01, 0x80 | 0x7e];
    let (first, second) = text.as_bytes().split_at(300);
    bytes.extend((first.len() as u16).to_be_bytes());
    bytes.extend(mask);
    bytes.extend(first.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes.extend([0x80, 0x80 | 0x7e]);
    bytes.extend((second.len() as u16).to_be_bytes());
    bytes.extend(mask);
    bytes.extend(second.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    // The first frame alone is no message that the classifier knows, so it is on SIP's port.
    let server = (server.0, 5060);
    frames.tcp(client, server, 9, true, b"");
    frames.tcp(client, server, 10, false, &bytes[..200]);
    frames.tcp(client, server, 210, false, &bytes[200..]);
    let calls = frames.table(Table::Calls);
    assert_eq!(
        row(&calls, 0, "transport caller_media incomplete"),
        "transport=ws caller_media=audio 192.0.2.101:49172 incomplete=0"
    );
}

#[test]
fn a_few_calls_at_a_time() {
    let mut frames = Frames::default();
    for number in 0..5000 {
        // Media of each have a port of their own: what is expected at one is bounded as well.
        let port = (10_000 + 2 * number).to_string();
        let text = session().remove(0).1.replace("3848276298220188511", &number.to_string());
        frames.udp(ALICE, BOB, &text.replace("49172", &port));
    }
    let options = Options { max_calls: 100, ..Options::default() };
    let (calls, warnings) = frames.table_with(Table::Calls, options, 4096, 1);
    assert_eq!(calls.num_rows(), 5000);
    assert_eq!(
        warnings,
        ["4900 calls were given up because there was no room for more open ones: their rows end early"]
    );
}

#[test]
fn as_many_bytes_of_calls_as_there_is_room_for() {
    let mut frames = Frames::default();
    let invite = session().remove(0).1;
    let filled = |number: u32| {
        let text = invite.replace("3848276298220188511", &number.to_string());
        // Media of each have a port of their own: what is expected at one is bounded as well.
        let text = text.replace("49172", &(10_000 + 2 * number).to_string());
        // Header fields are kept up to 256 bytes: without a limit, each call would take all of these.
        let fields: Vec<_> = (10..26).map(|at| format!("Require: {at}{}\r\n", "x".repeat(250))).collect();
        let fields = fields.concat();
        text.replacen("\r\nContact", &format!("\r\n{fields}Contact"), 1)
    };
    assert!(filled(1).len() > 4096 + invite.len() - 64, "the fields are in the message");
    for number in 0..500 {
        frames.udp(ALICE, BOB, &filled(number));
    }
    let all = frames.table_with(Table::Calls, Options::default(), 4096, 1);
    assert_eq!((all.0.num_rows(), all.1.len()), (500, 0));
    // A call of one message takes the fields that it keeps, and no more than 4 KiB for all else: between 50 and 250 find room in a mebibyte.
    let (calls, warnings) =
        frames.table_with(Table::Calls, Options { max_bytes: 1 << 20, ..Options::default() }, 4096, 1);
    assert_eq!(calls.num_rows(), 500);
    let given_up: u32 = warnings[0].split_once(' ').unwrap().0.parse().unwrap();
    assert!((250..450).contains(&given_up), "{warnings:?}");
    // One that is larger than all the room there is has a row too.
    let (calls, _) = frames.table_with(Table::Calls, Options { max_bytes: 1, ..Options::default() }, 4096, 1);
    assert_eq!(calls.num_rows(), 500);
}

#[test]
fn as_many_rows_as_there_is_room_for() {
    let mut frames = Frames::default();
    for number in 0..500 {
        let text = session().remove(0).1.replace("3848276298220188511", &number.to_string());
        frames.udp(ALICE, BOB, &text);
    }
    let kept = |room| {
        let source = Source::Memory { name: "test".to_owned(), bytes: std::sync::Arc::new(frames.pcap()) };
        let reader = Reader::open(vec![source], CaptureOptions::default()).unwrap();
        let mut calls = Calls::new(&[Table::Calls], Options::default()).with_room_for_rows(room);
        let (columns, tables) = (Packets::COLUMNS.to_vec(), Calls::TABLES);
        let options = ScanOptions { columns, tables, ..ScanOptions::default() };
        let mut scan = Scan::new(reader, options);
        while let Some(batch) = scan.next_with_messages().unwrap() {
            calls.read(&batch).unwrap();
        }
        let mut rows = 0;
        while let Some(batch) = calls.take(true).unwrap() {
            rows += batch.num_rows() as u64;
        }
        (rows, calls.missing())
    };
    assert_eq!(kept(1 << 20), (500, 0));
    // A row takes 640 bytes at the least, and these with what texts take about twice that.
    let (rows, missing) = kept(100 * 640);
    assert!((40..=100).contains(&rows) && rows + missing == 500, "{rows}");
    assert_eq!(kept(0), (0, 500));
}

#[test]
fn any_number_of_threads() {
    let frames = over_tcp(&[100, 33, 512], &[3, 9]);
    for table in Table::ALL {
        let expected = frames.table_with(*table, Options::default(), 7, 1).0;
        for (batch_size, threads) in [(1, 1), (64, 3), (5, 4)] {
            assert_eq!(frames.table_with(*table, Options::default(), batch_size, threads).0, expected);
        }
    }
}

#[test]
fn a_state_goes_on() {
    let frames = over_udp(&session());
    let read = |frames: &[(i64, Vec<u8>)], state: Option<State>| {
        let source = Source::Memory {
            name: "t".to_owned(),
            bytes: std::sync::Arc::new(Frames(frames.to_vec()).pcap()),
        };
        let options = CaptureOptions { tap: Some("t".to_owned()), ..CaptureOptions::default() };
        let reader = Reader::open(vec![source], options).unwrap();
        let mut stage = match state {
            Some(state) => Calls::with_state(&[Table::Calls], state),
            None => Calls::new(&[Table::Calls], Options::default()),
        };
        let mut scan = Scan::new(
            reader,
            ScanOptions { columns: stage.columns(), tables: stage.tables(), ..ScanOptions::default() },
        );
        while let Some(batch) = scan.next_with_messages().unwrap() {
            stage.read(&batch).unwrap();
        }
        stage
    };
    let whole = read(&frames.0, None).take(true).unwrap().unwrap();
    let saved = postcard::to_allocvec(&read(&frames.0[..3], None).into_state()).unwrap();
    let mut stage = read(&frames.0[3..], Some(postcard::from_bytes(&saved).unwrap()));
    let rows = stage.take(true).unwrap().unwrap();
    assert_eq!(row(&rows, 0, SAME), row(&whole, 0, SAME));
    assert_eq!(row(&rows, 0, "began answered ended"), row(&whole, 0, "began answered ended"));
}

#[test]
fn cut_anywhere() {
    for (is_callers, text) in session() {
        for cut in 0..text.len() {
            over_udp(&[(is_callers, text[..cut].to_owned())]).table(Table::Calls);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_segmentation(cuts in prop::collection::vec(1_usize..700, 1..20), swaps in prop::collection::vec(0_usize..1000, 0..20)) {
        let expected = over_tcp(&[usize::MAX], &[]).table(Table::Calls);
        // No more segments wait for one than there is room for: in the wrong order, a message has fewer than that.
        let longer: Vec<_> = cuts.iter().map(|cut| cut + 11).collect();
        for (cuts, swaps) in [(&cuts, &Vec::new()), (&longer, &swaps)] {
            let calls = over_tcp(cuts, swaps).table(Table::Calls);
            prop_assert_eq!(calls.num_rows(), 1);
            prop_assert_eq!(row(&calls, 0, SAME), row(&expected, 0, SAME));
        }
    }

    #[test]
    fn any_bytes(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8), seqs in prop::collection::vec(any::<u32>(), 8)) {
        let mut frames = Frames::default();
        for (payload, seq) in payloads.iter().zip(seqs) {
            let bytes = [b"INVITE sip:a SIP/2.0\r\ni: 1\r\nCSeq: 1 INVITE\r\nl: 99999999\r\nv: ".as_slice(), payload].concat();
            frames.tcp(ALICE, BOB, seq, seq % 3 == 0, &bytes);
            frames.tcp(ALICE, BOB, seq.wrapping_add(9), false, payload);
        }
        for table in Table::ALL {
            frames.table(*table);
        }
    }
}
