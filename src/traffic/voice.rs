//! Calls: signalling by SIP (RFC 3261) with session descriptions (RFC 8866), media by RTP and RTCP (RFC 3550).

use std::net::IpAddr;

use super::Conversation;
use super::frame::{Link, Path, Payload, Ports, Side, Transport};
use super::random::Random;

const SIP: Ports = Ports { client: 5060, server: 5060 };

/// G.711 (RFC 3551 section 4.5.14): 8,000 bytes a second, a packet each 20 ms.
const SAMPLES: u32 = 160;
const RTP_HEADER: usize = 12;
/// Payload type of PCMA.
const PCMA: u8 = 8;
/// Packets of both directions between two reports: about five seconds.
const REPORT_EACH: u32 = 500;

/// What one side has sent.
#[derive(Debug)]
struct Stream {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    packets: u32,
}

impl Stream {
    fn new(random: &mut Random) -> Self {
        let numbers = random.next();
        Self {
            ssrc: numbers as u32,
            sequence: (numbers >> 32) as u16,
            timestamp: random.next() as u32,
            packets: 0,
        }
    }
}

/// A call of 2 to 30 seconds, with or without its signalling.
#[derive(Debug)]
pub(super) struct Call {
    number: u32,
    media: Ports,
    client: Stream,
    server: Stream,
    is_signalled: bool,
    step: u32,
    /// Packets of media.
    length: u32,
}

impl Call {
    pub fn new(is_signalled: bool, random: &mut Random) -> Self {
        // Even ports for RTP, the odd ones above for RTCP (RFC 3550 section 11).
        let port = |random: &mut Random| 40_000 + 2 * random.below(2_000) as u16;
        Self {
            number: random.next() as u32,
            media: Ports { client: port(random), server: port(random) },
            client: Stream::new(random),
            server: Stream::new(random),
            is_signalled,
            step: 0,
            length: 200 + random.below(2_800),
        }
    }

    fn stream(&mut self, side: Side) -> &mut Stream {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn signal(&self, path: &mut Path, link: &mut Link, side: Side, start: &str, cseq: &str, offers: bool) {
        let port = match side {
            Side::Client => self.media.client,
            Side::Server => self.media.server,
        };
        let body = if offers { description(path.address(side), port, self.number) } else { String::new() };
        let text = message(path, self.number, start, cseq, &body);
        link.send(path, side, SIP, Transport::Udp, text.as_bytes().into());
    }

    fn media(&mut self, path: &mut Path, link: &mut Link) {
        let side = if link.random.percent(50) { Side::Client } else { Side::Server };
        let step = self.step;
        let (media, stream) = (self.media, self.stream(side));
        if step % REPORT_EACH == REPORT_EACH - 1 {
            let ports = Ports { client: media.client + 1, server: media.server + 1 };
            let report = report(stream, link.millis());
            link.send(path, side, ports, Transport::Udp, report.as_slice().into());
            return;
        }
        let mut header = [0; RTP_HEADER];
        header[0] = 0x80;
        header[1] = PCMA | if stream.packets == 0 { 0x80 } else { 0 };
        header[2..4].copy_from_slice(&stream.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&stream.timestamp.to_be_bytes());
        header[8..].copy_from_slice(&stream.ssrc.to_be_bytes());
        stream.sequence = stream.sequence.wrapping_add(1);
        stream.timestamp = stream.timestamp.wrapping_add(SAMPLES);
        stream.packets += 1;
        let payload = Payload { head: &header, len: RTP_HEADER + SAMPLES as usize };
        link.send(path, side, media, Transport::Udp, payload);
    }
}

impl Conversation for Call {
    fn next(&mut self, path: &mut Path, link: &mut Link) -> bool {
        // Messages before and behind the media.
        let (before, behind) = if self.is_signalled { (4, 2) } else { (0, 0) };
        let media_end = before + self.length;
        let step = self.step;
        self.step += 1;
        if (before..media_end).contains(&step) {
            self.media(path, link);
        } else {
            let request = |method| format!("{method} {} SIP/2.0", sip_uri(path.server));
            let (side, start, cseq, offers) = match step {
                0 => (Side::Client, request("INVITE"), "1 INVITE", true),
                1 => (Side::Server, "SIP/2.0 180 Ringing".to_owned(), "1 INVITE", false),
                2 => (Side::Server, "SIP/2.0 200 OK".to_owned(), "1 INVITE", true),
                3 => (Side::Client, request("ACK"), "1 ACK", false),
                _ if step == media_end => (Side::Client, request("BYE"), "2 BYE", false),
                _ => (Side::Server, "SIP/2.0 200 OK".to_owned(), "2 BYE", false),
            };
            self.signal(path, link, side, &start, cseq, offers);
        }
        self.step < media_end + behind
    }

    fn len(&self) -> u32 {
        self.length
    }
}

/// A telephone that registers.
#[derive(Debug)]
pub(super) struct Registration {
    number: u32,
    is_asked: bool,
}

impl Registration {
    pub fn new(random: &mut Random) -> Self {
        Self { number: random.next() as u32, is_asked: false }
    }
}

impl Conversation for Registration {
    fn next(&mut self, path: &mut Path, link: &mut Link) -> bool {
        let (side, start) = if self.is_asked {
            (Side::Server, "SIP/2.0 200 OK".to_owned())
        } else {
            (Side::Client, format!("REGISTER {} SIP/2.0", sip_uri(path.server)))
        };
        let text = message(path, self.number, &start, "1 REGISTER", "");
        link.send(path, side, SIP, Transport::Udp, text.as_bytes().into());
        let goes_on = !self.is_asked;
        self.is_asked = true;
        goes_on
    }

    fn len(&self) -> u32 {
        2
    }
}

/// An address as it stands in a URI.
fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn sip_uri(address: IpAddr) -> String {
    format!("sip:{}", host(address))
}

fn message(path: &Path, number: u32, start: &str, cseq: &str, body: &str) -> String {
    let (client, server) = (host(path.client), host(path.server));
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{start}\r\n\
         Via: SIP/2.0/UDP {client}:5060;branch=z9hG4bK{number:08x};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:+1555{from:07}@{client}>;tag={number:08x}\r\n\
         To: <sip:+1555{to:07}@{server}>;tag=a{number:08x}\r\n\
         Call-ID: {number:08x}@{client}\r\n\
         CSeq: {cseq}\r\n\
         Contact: <sip:{client}:5060>\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK\r\n\
         {kind}Content-Length: {len}\r\n\r\n{body}",
        from = number % 10_000_000,
        to = number / 3 % 10_000_000,
        len = body.len(),
    )
}

fn description(address: IpAddr, port: u16, number: u32) -> String {
    let family = if address.is_ipv4() { "IP4" } else { "IP6" };
    format!(
        "v=0\r\no=- {number} {number} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    )
}

/// A sender report without blocks and a source description (RFC 3550 sections 6.4.1 and 6.5).
fn report(stream: &Stream, millis: u32) -> [u8; 44] {
    let mut report = [0; 44];
    // Since 1900 (RFC 5905 section 6), from the start of the capture on.
    let seconds = 3_976_214_400 + millis / 1000;
    let header = [
        0x80c8_0006,
        stream.ssrc,
        seconds,
        (millis % 1000) * 4_294_967,
        stream.timestamp,
        stream.packets,
        stream.packets.wrapping_mul(SAMPLES),
        0x81ca_0003,
        stream.ssrc,
    ];
    for (field, word) in report.chunks_exact_mut(4).zip(header) {
        field.copy_from_slice(&word.to_be_bytes());
    }
    // CNAME of four bytes, then the end of the items.
    report[36..42].copy_from_slice(&[1, 4, b'c', b'a', b'l', b'l']);
    report
}
