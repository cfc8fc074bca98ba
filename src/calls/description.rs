//! A session description as offer or answer: RFC 8866, RFC 3264.

use std::sync::Arc;

use get_size2::GetSize;
use serde::{Deserialize, Serialize};

use crate::packets::address::address_text;
use crate::wire::ip::Addr;
use crate::wire::sdp::{self, Line};

/// Sections, formats, suites and candidates that are kept.
const MAX_SECTIONS: usize = 8;
const MAX_FORMATS: usize = 16;

/// What a message describes. Its media are shared by all that keeps them.
#[derive(Debug, Clone, Default, PartialEq, Eq, GetSize, Serialize, Deserialize)]
pub(super) struct Description {
    pub sections: Vec<Arc<Section>>,
    /// Whether there are more media than are kept.
    pub leaves_out: bool,
    /// Whether more stood behind it that was not captured.
    pub is_cut: bool,
}

/// One medium.
#[derive(Debug, Clone, Default, PartialEq, Eq, GetSize, Serialize, Deserialize)]
pub(super) struct Section {
    pub medium: String,
    /// None where a name stands, or none.
    pub addr: Option<Addr>,
    pub port: u16,
    pub rtcp: Option<(Addr, u16)>,
    pub profile: String,
    /// Empty if it may stand in what was not captured.
    pub direction: String,
    /// Likewise.
    pub encryption: String,
    pub suites: Vec<String>,
    /// Payload types and encodings.
    pub payloads: Vec<(u8, String)>,
    pub ptime: Option<String>,
    pub label: Option<String>,
    pub candidates: Vec<(Addr, u16)>,
    /// Whether more stood in it that was not captured.
    pub is_cut: bool,
}

impl Description {
    /// What these lines describe; none if there is no medium. `is_cut` says that more stood behind them, so that what is not told of the last
    /// medium is not known.
    pub fn parse(bytes: &[u8], is_cut: bool) -> Option<Self> {
        let start = sdp::start(bytes)?;
        let mut addr = None;
        let mut direction = "sendrecv";
        let mut has_fingerprint = false;
        let mut has_zrtp = false;
        let mut leaves_out = false;
        let mut is_cut = is_cut;
        let mut sections: Vec<(Section, Marks)> = Vec::new();
        for line in sdp::lines(bytes.get(start..).unwrap_or_default()) {
            if let Line::Media(section) = line {
                if sections.len() == MAX_SECTIONS {
                    leaves_out = true;
                    // Of those that are kept, all was read.
                    is_cut = false;
                    break;
                }
                // One that makes no sense keeps its place, so that what is said of it is not taken for that of the one before.
                let mut made = Section { direction: direction.to_owned(), addr, ..Section::default() };
                if let Some(section) = section {
                    made.medium = kept(section.media);
                    made.port = section.port;
                    made.profile = kept(section.protocol);
                    made.payloads = payloads(&section);
                }
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
        let last = sections.len().saturating_sub(1);
        let finished = |(at, (section, marks)): (usize, (Section, Marks))| {
            let mut section = section.finished(&marks);
            if is_cut && at == last {
                section.cut(&marks);
            }
            Arc::new(section)
        };
        Some(Self { sections: sections.into_iter().enumerate().map(finished).collect(), leaves_out, is_cut })
    }

    /// The same, with what was not captured as it was told before.
    pub fn completed(&self, before: Option<&Self>) -> Self {
        let mut all = self.clone();
        let Some(before) = before.filter(|_| self.is_cut) else { return all };
        let at = all.sections.len().saturating_sub(1);
        if let (Some(last), Some(known)) = (all.sections.get_mut(at), before.sections.get(at)) {
            Arc::make_mut(last).complete(known);
        }
        all.sections.extend(before.sections.iter().skip(at.saturating_add(1)).cloned());
        all.leaves_out = before.leaves_out;
        all.is_cut = before.is_cut;
        all
    }

    /// The ways of encryption that it offers or agrees to, for media that are not refused.
    pub fn encryptions(&self) -> impl Iterator<Item = &str> {
        let sections =
            self.sections.iter().filter(|section| section.port != 0 && section.is_protection_known());
        sections.map(|section| &*section.encryption)
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
    has_direction: bool,
    /// Whether the place of its address has been passed: `c=` stands before `a=` (RFC 8866 section 5).
    has_place: bool,
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
        marks.has_place = true;
        match line {
            Line::Connection(addr) => self.addr = addr,
            Line::Direction(direction) => {
                marks.has_direction = true;
                direction.clone_into(&mut self.direction);
            }
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

    /// Forgets what may stand otherwise in what was not captured. What it is encrypted by was told if anything was.
    fn cut(&mut self, marks: &Marks) {
        self.is_cut = true;
        if self.encryption == "none" {
            self.encryption.clear();
        }
        if !marks.has_direction {
            self.direction.clear();
        }
        if !marks.has_place {
            self.addr = None;
        }
        if marks.rtcp.is_none() && !marks.has_mux || self.addr.is_none() {
            self.rtcp = None;
        }
    }

    /// Takes what was not captured from what was told before.
    fn complete(&mut self, known: &Self) {
        for (mine, known) in
            [(&mut self.direction, &known.direction), (&mut self.encryption, &known.encryption)]
        {
            if mine.is_empty() {
                mine.clone_from(known);
            }
        }
        self.addr = self.addr.or(known.addr);
        let kinds = |section: &Self| section.payloads.iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
        if kinds(self) == kinds(known) {
            self.payloads.clone_from(&known.payloads);
            self.is_cut = known.is_cut;
        }
    }

    /// Whether what was captured tells how it is encrypted, or that it is not.
    pub fn is_protection_known(&self) -> bool {
        !self.encryption.is_empty()
    }

    /// Address and port.
    pub fn endpoint(&self) -> String {
        let addr = self.addr.map_or_else(|| "?".to_owned(), address_text);
        crate::wire::sip::place(&addr, Some(self.port))
    }

    /// In one line.
    pub fn summary(&self) -> String {
        let text = format!("{} {} {} {}", self.medium, self.endpoint(), self.profile, self.direction);
        text.trim_end().to_owned()
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
        let Description { sections, .. } = Description::parse(text.as_bytes(), false).unwrap();
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
        assert_eq!(Description::parse(b"v=0\r\nc=IN IP4 192.0.2.1\r\n", false), None);
        for cut in 0..text.len() {
            Description::parse(&text.as_bytes()[..cut], cut % 2 == 0);
        }
    }

    /// RFC 8866 section 5.7: what stands behind `m=` is of that medium, whether its line makes sense or not. RFC 3264 section 6: media of an answer go by
    /// their place.
    #[test]
    fn what_is_said_of_a_line_that_makes_no_sense_is_not_of_the_one_before() {
        let text = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\nm=audio 99999 RTP/AVP 0\r\nc=IN IP4 192.0.2.66\r\na=inactive\r\n\
            m=video 4002 RTP/AVP 31\r\n";
        let Description { sections, leaves_out, .. } = Description::parse(text.as_bytes(), false).unwrap();
        let told: Vec<_> = sections.iter().map(|section| section.summary()).collect();
        assert_eq!(
            (&*told[0], &*told[2]),
            ("audio 192.0.2.1:4000 RTP/AVP sendrecv", "video 192.0.2.1:4002 RTP/AVP sendrecv")
        );
        assert_eq!((sections.len(), sections[1].port, leaves_out), (3, 0, false));
        let many = ["v=0\r\n", &"m=audio 4000 RTP/AVP 0\r\n".repeat(9)].concat();
        let many = Description::parse(many.as_bytes(), false).unwrap();
        assert_eq!((many.sections.len(), many.leaves_out), (8, true));
    }

    /// The offer of RFC 5763 section 7.1, cut behind each of its lines: what was not read is not known, and nothing is in clear.
    #[test]
    fn what_a_cut_description_says() {
        let text = "v=0\r\no=- 1181923068 1181923196 IN IP4 ua1.example.com\r\ns=example1\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
            m=audio 6056 RTP/SAVP 0\r\na=sendonly\r\na=rtcp-mux\r\na=fingerprint:sha-1 4A:AD\r\n\
            m=video 6058 RTP/SAVP 31\r\nc=IN IP4 192.0.2.2\r\na=label:v\r\n";
        let ends: Vec<_> = text.match_indices("\r\n").map(|(at, _)| at + 2).collect();
        let told = |lines: usize| {
            let description = Description::parse(&text.as_bytes()[..ends[lines - 1]], true)?;
            let section = description.sections.last().cloned()?;
            let port = section.rtcp.map_or(0, |(_, port)| port);
            Some(format!("{} {port} {:?}", section.summary(), section.encryption))
        };
        assert_eq!(told(5), None);
        // The address of the session may be followed by one of the medium.
        assert_eq!(told(6).unwrap(), "audio ?:6056 RTP/SAVP 0 \"\"");
        assert_eq!(told(7).unwrap(), "audio 192.0.2.1:6056 RTP/SAVP sendonly 0 \"\"");
        assert_eq!(told(8).unwrap(), "audio 192.0.2.1:6056 RTP/SAVP sendonly 6056 \"\"");
        assert_eq!(told(9).unwrap(), "audio 192.0.2.1:6056 RTP/SAVP sendonly 6056 \"dtls-srtp\"");
        assert_eq!(told(12).unwrap(), "video 192.0.2.2:6058 RTP/SAVP 0 \"\"");
        // What stands before the last medium is whole.
        let cut = Description::parse(&text.as_bytes()[..ends[9]], true).unwrap();
        assert_eq!((cut.sections[0].is_cut, cut.sections[1].is_cut), (false, true));
        // What was told before still holds.
        let whole = Description::parse(text.as_bytes(), false).unwrap();
        let first = Description::parse(&text.as_bytes()[..ends[5]], true).unwrap().completed(Some(&whole));
        assert_eq!((first.sections.len(), first.is_cut), (2, false));
        assert_eq!(first.sections[0].summary(), "audio 192.0.2.1:6056 RTP/SAVP sendonly");
        assert_eq!(first.sections[0].encryption, "dtls-srtp");
    }

    /// RFC 4855 section 3: names of encodings are case-insensitive; here they are as they are registered.
    #[test]
    fn names_of_encodings() {
        let text = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8 96 97 98 99 100\r\na=rtpmap:8 pcma/8000\r\na=rtpmap:96 OPUS/48000/2\r\n\
            a=rtpmap:97 ilbc/8000\r\na=rtpmap:98 amr-wb/16000\r\na=rtpmap:99 TELEPHONE-EVENT/8000\r\na=rtpmap:100 x-own/8000\r\n";
        let description = Description::parse(text.as_bytes(), false).unwrap();
        let names: Vec<_> = description.sections[0].payloads.iter().map(|(_, name)| &**name).collect();
        assert_eq!(
            names,
            ["PCMA/8000", "opus/48000/2", "iLBC/8000", "AMR-WB/16000", "telephone-event/8000", "X-OWN/8000"]
        );
        assert_eq!(description.sections[0].codecs().count(), 5);
    }
}
