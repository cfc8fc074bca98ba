//! A session description as offer or answer: RFC 8866, RFC 3264.

use serde::{Deserialize, Serialize};

use crate::packets::address::address_text;
use crate::wire::ip::Addr;
use crate::wire::sdp::{self, Line};

/// Sections, formats, suites and candidates that are kept.
const MAX_SECTIONS: usize = 8;
const MAX_FORMATS: usize = 16;

/// What a message describes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    pub sections: Vec<Section>,
}

/// One medium.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Section {
    pub medium: String,
    /// None where a name stands, or none.
    pub addr: Option<Addr>,
    pub port: u16,
    pub rtcp: Option<(Addr, u16)>,
    pub profile: String,
    pub direction: String,
    pub encryption: String,
    pub suites: Vec<String>,
    /// Payload types and encodings.
    pub payloads: Vec<(u8, String)>,
    pub ptime: Option<String>,
    pub label: Option<String>,
    pub candidates: Vec<(Addr, u16)>,
}

impl Description {
    /// What these lines describe; none if there is no medium.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let start = sdp::start(bytes)?;
        let mut addr = None;
        let mut direction = "sendrecv";
        let mut has_fingerprint = false;
        let mut has_zrtp = false;
        let mut sections: Vec<(Section, Marks)> = Vec::new();
        for line in sdp::lines(bytes.get(start..).unwrap_or_default()) {
            if let Line::Media(section) = line {
                if sections.len() == MAX_SECTIONS {
                    break;
                }
                let Some(section) = section else { continue };
                let made = Section {
                    medium: kept(section.media),
                    port: section.port,
                    profile: kept(section.protocol),
                    direction: direction.to_owned(),
                    addr,
                    payloads: payloads(&section),
                    ..Section::default()
                };
                sections.push((made, Marks { has_fingerprint, has_zrtp, ..Marks::default() }));
                continue;
            }
            let section = sections.last_mut();
            match (line, section) {
                (Line::Connection(found), None) => addr = found,
                (Line::Direction(found), None) => direction = found,
                (Line::Fingerprint(_), None) => has_fingerprint = true,
                (Line::ZrtpHash, None) => has_zrtp = true,
                (line, Some((section, marks))) => section.read(marks, line),
                _ => {}
            }
        }
        if sections.is_empty() {
            return None;
        }
        let sections = sections.into_iter().map(|(section, marks)| section.finished(&marks)).collect();
        Some(Self { sections })
    }

    /// The ways of encryption that it offers or agrees to, for media that are not refused.
    pub fn encryptions(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().filter(|section| section.port != 0).map(|section| &*section.encryption)
    }
}

/// Encodings that are no voice or picture of their own.
const OTHERS: [&str; 7] = ["", "telephone-event", "CN", "red", "ulpfec", "rtx", "flexfec-03"];

/// What decides on a section at its end.
#[derive(Debug, Default)]
struct Marks {
    has_fingerprint: bool,
    has_zrtp: bool,
    has_mux: bool,
    rtcp: Option<(u16, Option<Addr>)>,
}

fn kept(text: &str) -> String {
    super::call::start(text, 64).to_owned()
}

/// The encodings of the static payload types, RFC 3551 section 6.
fn encoding(kind: u8) -> &'static str {
    match kind {
        0 => "PCMU/8000",
        3 => "GSM/8000",
        4 => "G723/8000",
        5 => "DVI4/8000",
        6 => "DVI4/16000",
        7 => "LPC/8000",
        8 => "PCMA/8000",
        9 => "G722/8000",
        10 => "L16/44100/2",
        11 => "L16/44100",
        12 => "QCELP/8000",
        13 => "CN/8000",
        14 => "MPA/90000",
        15 => "G728/8000",
        16 => "DVI4/11025",
        17 => "DVI4/22050",
        18 => "G729/8000",
        25 => "CelB/90000",
        26 => "JPEG/90000",
        28 => "nv/90000",
        31 => "H261/90000",
        32 => "MPV/90000",
        33 => "MP2T/90000",
        34 => "H263/90000",
        _ => "",
    }
}

fn payloads(section: &sdp::Section<'_>) -> Vec<(u8, String)> {
    let is_rtp = section.protocol.split('/').any(|part| part.eq_ignore_ascii_case("RTP"));
    let kinds = section.formats.split_ascii_whitespace().filter(|_| is_rtp);
    let kinds = kinds.filter_map(|kind| kind.parse().ok()).take(MAX_FORMATS);
    kinds.map(|kind| (kind, encoding(kind).to_owned())).collect()
}

impl Section {
    fn read(&mut self, marks: &mut Marks, line: Line<'_>) {
        match line {
            Line::Connection(addr) => self.addr = addr,
            Line::Direction(direction) => direction.clone_into(&mut self.direction),
            Line::RtpMap(kind, encoding) => {
                if let Some((_, known)) = self.payloads.iter_mut().find(|(known, _)| *known == kind) {
                    *known = kept(&sdp::encoding(encoding));
                }
            }
            Line::Ptime(ptime) => self.ptime = Some(kept(ptime)),
            Line::Label(label) => self.label = Some(kept(label)),
            Line::Crypto(suite) if self.suites.len() < MAX_FORMATS => self.suites.push(kept(suite)),
            Line::Fingerprint(_) => marks.has_fingerprint = true,
            Line::ZrtpHash => marks.has_zrtp = true,
            Line::RtcpMux => marks.has_mux = true,
            Line::Rtcp(rtcp) => marks.rtcp = rtcp,
            Line::Candidate(Some((addr, port, 1))) if self.candidates.len() < MAX_FORMATS => {
                self.candidates.push((addr, port));
            }
            _ => {}
        }
    }

    fn finished(mut self, marks: &Marks) -> Self {
        let is_tls = self.profile.to_ascii_uppercase().contains("TLS");
        let is_secure = self.profile.to_ascii_uppercase().contains("SAVP");
        let encryption = if marks.has_fingerprint && (is_tls || is_secure && self.suites.is_empty()) {
            "dtls-srtp"
        } else if !self.suites.is_empty() {
            "sdes"
        } else if marks.has_zrtp {
            "zrtp"
        } else {
            "none"
        };
        encryption.clone_into(&mut self.encryption);
        if self.port != 0 && self.profile.split('/').any(|part| part.eq_ignore_ascii_case("RTP") || is_secure)
        {
            let (port, own) =
                marks.rtcp.unwrap_or((self.port.saturating_add(u16::from(!marks.has_mux)), None));
            self.rtcp = own.or(self.addr).map(|addr| (addr, port));
        }
        self
    }

    /// Address and port.
    pub fn endpoint(&self) -> String {
        let addr = self.addr.map_or_else(|| "?".to_owned(), address_text);
        crate::wire::sip::place(&addr, Some(self.port))
    }

    /// In one line.
    pub fn summary(&self) -> String {
        format!("{} {} {} {}", self.medium, self.endpoint(), self.profile, self.direction)
    }

    /// Encodings but for what is no voice or picture of its own.
    pub fn codecs(&self) -> impl Iterator<Item = &str> {
        self.payloads.iter().map(|(_, encoding)| &**encoding).filter(|encoding| {
            let name = encoding.split('/').next().unwrap_or_default();
            !OTHERS.iter().any(|other| other.eq_ignore_ascii_case(name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_description_says() {
        // Of RFC 4568 section 9.1, RFC 5763 section 7.1 and RFC 8866 section 5: media of every kind of protection.
        let text = "v=0\r\no=jdoe 2890844526 2890842807 IN IP4 10.47.16.5\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=recvonly\r\n\
            m=audio 49170 RTP/SAVP 0 97\r\na=rtpmap:97 iLBC/8000\r\na=ptime:20\r\na=label:1\r\n\
            a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20\r\n\
            m=audio 6056 UDP/TLS/RTP/SAVPF 8\r\nc=IN IP6 2001:db8::1\r\na=fingerprint:sha-1 4A:AD\r\na=sendrecv\r\na=rtcp-mux\r\n\
            m=video 0 RTP/AVP 31\r\na=zrtp-hash:1.10 fe30\r\nm=image 5000 udptl t38\r\n";
        let Description { sections } = Description::parse(text.as_bytes()).unwrap();
        let told: Vec<_> = sections.iter().map(|section| (section.summary(), &*section.encryption)).collect();
        assert_eq!(
            told,
            [
                ("audio 192.0.2.1:49170 RTP/SAVP recvonly".to_owned(), "sdes"),
                ("audio [2001:db8::1]:6056 UDP/TLS/RTP/SAVPF sendrecv".to_owned(), "dtls-srtp"),
                ("video 192.0.2.1:0 RTP/AVP recvonly".to_owned(), "zrtp"),
                ("image 192.0.2.1:5000 udptl recvonly".to_owned(), "none"),
            ]
        );
        assert_eq!(sections[0].payloads, [(0, "PCMU/8000".to_owned()), (97, "iLBC/8000".to_owned())]);
        assert_eq!(sections[0].suites, ["AES_CM_128_HMAC_SHA1_80"]);
        assert!(!format!("{sections:?}").contains("WVNf"));
        let rtcp: Vec<_> = sections.iter().map(|section| section.rtcp.map(|(_, port)| port)).collect();
        assert_eq!(rtcp, [Some(49171), Some(6056), None, None]);
        assert_eq!(Description::parse(b"v=0\r\nc=IN IP4 192.0.2.1\r\n"), None);
        for cut in 0..text.len() {
            Description::parse(&text.as_bytes()[..cut]);
        }
    }

    /// RFC 4855 section 3: names of encodings are case-insensitive; here they are as they are registered.
    #[test]
    fn names_of_encodings() {
        let text = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8 96 97 98 99 100\r\na=rtpmap:8 pcma/8000\r\na=rtpmap:96 OPUS/48000/2\r\n\
            a=rtpmap:97 ilbc/8000\r\na=rtpmap:98 amr-wb/16000\r\na=rtpmap:99 TELEPHONE-EVENT/8000\r\na=rtpmap:100 x-own/8000\r\n";
        let description = Description::parse(text.as_bytes()).unwrap();
        let names: Vec<_> = description.sections[0].payloads.iter().map(|(_, name)| &**name).collect();
        assert_eq!(
            names,
            ["PCMA/8000", "opus/48000/2", "iLBC/8000", "AMR-WB/16000", "telephone-event/8000", "X-OWN/8000"]
        );
        assert_eq!(description.sections[0].codecs().count(), 5);
    }
}
