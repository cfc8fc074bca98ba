//! Session descriptions line by line, RFC 8866.

use std::net::IpAddr;

use super::ip::Addr;

/// A line that says something about media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// `o=`: session id and version, section 5.2.
    Origin(&'a str, &'a str),
    /// `c=`: the address, if it is one and not a name, section 5.7.
    Connection(Option<Addr>),
    /// `m=`: a section of media, section 5.14; none if it makes no sense.
    Media(Option<Section<'a>>),
    /// `a=rtcp:`: a port, and an address if it is another one (RFC 3605 section 2.1).
    Rtcp(Option<(u16, Option<Addr>)>),
    /// `a=candidate:` over UDP: address, port and component (RFC 8839 section 5.1).
    Candidate(Option<(Addr, u16, u8)>),
    /// `a=rtpmap:`: payload type and encoding, such as `PCMU/8000`, section 6.6.
    RtpMap(u8, &'a str),
    /// `a=ptime:`: milliseconds in a packet, section 6.4.
    Ptime(&'a str),
    /// `a=sendrecv` and its like, section 6.7.
    Direction(&'a str),
    /// `a=crypto:`: the suite of keys that the description holds (RFC 4568 section 9.1). The keys are not read.
    Crypto(&'a str),
    /// `a=fingerprint:`: of the certificate for DTLS (RFC 8122 section 5).
    Fingerprint(&'a str),
    /// `a=zrtp-hash:`, RFC 6189 section 8.
    ZrtpHash,
    /// `a=rtcp-mux`, RFC 5761 section 5.1.1.
    RtcpMux,
    /// `a=label:`, RFC 4574.
    Label(&'a str),
}

/// An `m=` line: `audio 49170 RTP/AVP 0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// `audio`, `video`, `image`, …
    pub media: &'a str,
    /// The port; 0 declines.
    pub port: u16,
    /// The protocol, such as `RTP/AVP`.
    pub protocol: &'a str,
    /// Payload types or other formats, separated by blanks.
    pub formats: &'a str,
}

/// Where in a message a description begins: at a line `v=0`.
pub fn start(message: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(message, b"v=0")
        .find(|&at| at.checked_sub(1).is_none_or(|before| matches!(message.get(before), Some(b'\n' | b'\r'))))
}

/// The lines of a description that are read here.
pub fn lines(description: &[u8]) -> impl Iterator<Item = Line<'_>> {
    description.split(|&byte| matches!(byte, b'\n' | b'\r')).filter_map(line)
}

fn line(line: &[u8]) -> Option<Line<'_>> {
    match line {
        [b'c', b'=', rest @ ..] => Some(Line::Connection(connection(rest))),
        [b'm', b'=', rest @ ..] => Some(Line::Media(section(rest))),
        [b'o', b'=', rest @ ..] => {
            let mut words = words(rest).skip(1);
            Some(Line::Origin(words.next()?, words.next()?))
        }
        [b'a', b'=', rest @ ..] => attribute(rest),
        _ => None,
    }
}

fn attribute(rest: &[u8]) -> Option<Line<'_>> {
    let (name, value) = match memchr::memchr(b':', rest).and_then(|colon| rest.split_at_checked(colon)) {
        Some((name, value)) => (name, value.get(1..).unwrap_or_default()),
        None => (rest.trim_ascii_end(), &[][..]),
    };
    let text = || str::from_utf8(value).map(str::trim).unwrap_or_default();
    Some(match name {
        b"candidate" => Line::Candidate(candidate(value)),
        b"rtcp" => Line::Rtcp(rtcp(value)),
        b"rtpmap" => {
            let (kind, encoding) = text().split_once([' ', '\t'])?;
            Line::RtpMap(kind.parse().ok()?, encoding.trim())
        }
        b"ptime" => Line::Ptime(text()),
        b"sendrecv" | b"sendonly" | b"recvonly" | b"inactive" => Line::Direction(str::from_utf8(name).ok()?),
        b"crypto" => Line::Crypto(words(value).nth(1)?),
        b"fingerprint" => Line::Fingerprint(text()),
        b"zrtp-hash" => Line::ZrtpHash,
        b"rtcp-mux" => Line::RtcpMux,
        b"label" => Line::Label(text()),
        _ => return None,
    })
}

/// Names of encodings as they are registered (IANA, RTP payload format media types), which have no case of their own (RFC 4855 section 3), and some that
/// are in use without.
const NAMES: [&str; 70] = [
    "AMR",
    "AMR-WB",
    "AMR-WB+",
    "AV1",
    "BV16",
    "BV32",
    "CN",
    "CelB",
    "DV",
    "DVI4",
    "EVRC",
    "EVRC0",
    "EVRC1",
    "EVRCB",
    "EVRCB0",
    "EVRCB1",
    "EVRCNW",
    "EVRCWB",
    "EVS",
    "G719",
    "G722",
    "G7221",
    "G723",
    "G726-16",
    "G726-24",
    "G726-32",
    "G726-40",
    "G728",
    "G729",
    "G7291",
    "G729D",
    "G729E",
    "GSM",
    "GSM-EFR",
    "GSM-HR-08",
    "H261",
    "H263",
    "H263-1998",
    "H263-2000",
    "H264",
    "H264-SVC",
    "H265",
    "H266",
    "JPEG",
    "L16",
    "L24",
    "L8",
    "LPC",
    "MELP",
    "MP2T",
    "MP4A-LATM",
    "MP4V-ES",
    "MPA",
    "MPV",
    "PCMA",
    "PCMA-WB",
    "PCMU",
    "PCMU-WB",
    "QCELP",
    "SILK",
    "SMV",
    "VC1",
    "VDVI",
    "VMR-WB",
    "VP8",
    "VP9",
    "iLBC",
    "iSAC",
    "nv",
    "opus",
];

/// Those in small letters.
const SMALL: [&str; 19] = [
    "ac3",
    "clearmode",
    "eac3",
    "encaprtp",
    "flexfec",
    "flexfec-03",
    "jpeg2000",
    "mpa-robust",
    "mpeg4-generic",
    "parityfec",
    "raw",
    "red",
    "rtp-midi",
    "rtx",
    "speex",
    "t140",
    "telephone-event",
    "tone",
    "ulpfec",
];

/// An encoding, such as `PCMU/8000`, with its name as it is registered, or in capitals: names that only differ by case are one.
pub fn encoding(text: &str) -> String {
    let (name, rest) = text.split_at(memchr::memchr(b'/', text.as_bytes()).unwrap_or(text.len()));
    let known = NAMES.iter().chain(&SMALL).find(|known| known.eq_ignore_ascii_case(name));
    let name = known.map_or_else(|| name.to_ascii_uppercase(), |known| (*known).to_owned());
    name + rest
}

fn words(line: &[u8]) -> impl Iterator<Item = &str> {
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter_map(|word| str::from_utf8(word).ok())
}

fn address(text: &str) -> Option<Addr> {
    Some(match text.parse().ok()? {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    })
}

/// The address in a `c=` line: `IN IP4 192.0.2.1`; a time to live may follow a multicast one.
fn connection(line: &[u8]) -> Option<Addr> {
    address(words(line).nth(2)?.split('/').next()?)
}

fn section(line: &[u8]) -> Option<Section<'_>> {
    let line = str::from_utf8(line).unwrap_or_else(|error| {
        line.get(..error.valid_up_to()).and_then(|line| str::from_utf8(line).ok()).unwrap_or_default()
    });
    let mut words = line.splitn(4, [' ', '\t']);
    let media = words.next()?;
    let port = words.next()?.split('/').next()?.parse().ok()?;
    Some(Section { media, port, protocol: words.next()?, formats: words.next().unwrap_or_default() })
}

fn rtcp(line: &[u8]) -> Option<(u16, Option<Addr>)> {
    let mut words = words(line);
    let port = words.next()?.parse().ok()?;
    Some((port, words.nth(2).and_then(address)))
}

/// Foundation, component, transport, priority, address, port.
fn candidate(line: &[u8]) -> Option<(Addr, u16, u8)> {
    let mut words = words(line).skip(1);
    let component = words.next()?.parse().ok()?;
    if !words.next()?.eq_ignore_ascii_case("udp") {
        return None;
    }
    let mut words = words.skip(1);
    Some((address(words.next()?)?, words.next()?.parse().ok()?, component))
}
