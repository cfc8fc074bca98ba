//! Media endpoints announced in a session description, RFC 8866.

use crate::wire::ip::Addr;
use crate::wire::sdp::{self, Line};
use serde::{Deserialize, Serialize};

/// What is announced for an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// RTP.
    pub rtp: bool,
    /// RTCP.
    pub rtcp: bool,
    /// T.38 over UDPTL.
    pub t38: bool,
}

impl Media {
    /// RTP, with RTCP on its port (RFC 5761), as is tried without being announced as well.
    const RTP: Self = Self { rtp: true, rtcp: true, t38: false };
    const RTCP: Self = Self { rtp: false, rtcp: true, t38: false };
    const T38: Self = Self { rtp: false, rtcp: false, t38: true };

    /// Adds what another description announced. A call that turns from voice to fax keeps its endpoint.
    pub fn join(&mut self, other: Self) {
        self.rtp |= other.rtp;
        self.rtcp |= other.rtcp;
        self.t38 |= other.t38;
    }
}

/// Sections of media that are looked at in one description.
const MAX_SECTIONS: usize = 16;

/// A section of media.
#[derive(Debug, Clone, Copy)]
struct Section {
    media: Media,
    port: u16,
    addr: Option<Addr>,
    /// `a=rtcp:`, RFC 3605.
    rtcp: Option<(u16, Option<Addr>)>,
}

/// Calls `found` with each media endpoint that the descriptions in a message announce.
///
/// The address of a section is its own `c=` line, else that of the session (section 5.7). Port 0 declines a section.
pub(super) fn endpoints(message: &[u8], mut found: impl FnMut(Addr, u16, Media)) {
    let Some(start) = sdp::start(message) else { return };
    let mut session = None;
    let mut sections = [None::<Section>; MAX_SECTIONS];
    let mut count = 0_usize;
    for line in sdp::lines(message.get(start..).unwrap_or_default()) {
        let section = count.checked_sub(1).and_then(|last| sections.get_mut(last));
        match (line, section) {
            (Line::Connection(addr), None) => session = addr.filter(is_used),
            (Line::Connection(addr), Some(Some(section))) => section.addr = addr.filter(is_used),
            (Line::Media(media), _) => {
                let Some(slot) = sections.get_mut(count) else { break };
                *slot = media.and_then(self::section);
                count += 1;
            }
            (Line::Rtcp(rtcp), Some(Some(section))) => {
                section.rtcp = rtcp.map(|(port, addr)| (port, addr.filter(is_used)));
            }
            (Line::Candidate(Some((addr, port, component))), Some(Some(section))) if is_used(&addr) => {
                let is_rtcp = component == 2 && section.media == Media::RTP;
                found(addr, port, if is_rtcp { Media::RTCP } else { section.media });
            }
            _ => {}
        }
    }
    for section in sections.into_iter().flatten() {
        let Some(addr) = section.addr.or(session).filter(|_| section.port != 0) else { continue };
        found(addr, section.port, section.media);
        if section.media == Media::RTP {
            let (port, own) = section.rtcp.unwrap_or((section.port.saturating_add(1), None));
            found(own.unwrap_or(addr), port, Media::RTCP);
        }
    }
}

/// 0.0.0.0 is on hold, RFC 2543 section B.5.
fn is_used(addr: &Addr) -> bool {
    *addr != [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]
}

fn section(line: sdp::Section<'_>) -> Option<Section> {
    let media = if line.protocol.eq_ignore_ascii_case("udptl") {
        Media::T38
    } else if !line.protocol.starts_with("TCP") && line.protocol.split('/').any(|part| part == "RTP") {
        Media::RTP
    } else {
        return None;
    };
    Some(Section { media, port: line.port, addr: None, rtcp: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::address::parse_address;

    fn found(message: &str) -> Vec<(Addr, u16, Media)> {
        let mut found = Vec::new();
        endpoints(message.as_bytes(), |addr, port, media| found.push((addr, port, media)));
        found
    }

    #[test]
    fn finds_the_address_of_each_section() {
        // Lines of the examples in RFC 4566 section 5 and RFC 3264 section 10.
        let message = "INVITE sip:bob@biloxi.example.com SIP/2.0\r\nContact: <sip:a>\r\n\r\nv=0\r\n\
            c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0\r\nm=video 51372 RTP/AVP 31\r\nc=IN IP6 2001:db8::1\r\n\
            m=image 6000 udptl t38\r\nm=audio 0 RTP/AVP 0\r\nm=application 9 TCP/MSRP *\r\n";
        let (v4, v6) = (parse_address("192.0.2.1").unwrap(), parse_address("2001:db8::1").unwrap());
        let expected = [
            (v4, 49170, Media::RTP),
            (v4, 49171, Media::RTCP),
            (v6, 51372, Media::RTP),
            (v6, 51373, Media::RTCP),
            (v4, 6000, Media::T38),
        ];
        assert_eq!(found(message), expected);
    }

    #[test]
    fn reads_where_rtcp_goes() {
        // The examples of RFC 3605 section 2.1.
        let message = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 49170 RTP/AVP 0\r\na=rtcp:53020\r\n\
            m=audio 49180 RTP/AVP 0\r\na=rtcp:53030 IN IP4 126.16.64.4\r\n";
        let (own, other) = (parse_address("192.0.2.1").unwrap(), parse_address("126.16.64.4").unwrap());
        let expected = [
            (own, 49170, Media::RTP),
            (own, 53020, Media::RTCP),
            (own, 49180, Media::RTP),
            (other, 53030, Media::RTCP),
        ];
        assert_eq!(found(message), expected);
    }

    #[test]
    fn reads_candidates() {
        // The candidates of RFC 8839 section 4.2.1.
        let message = "v=0\nc=IN IP4 192.0.2.3\nm=audio 45664 RTP/SAVPF 0\n\
            a=candidate:1 1 UDP 2130706431 203.0.113.141 8998 typ host\n\
            a=candidate:2 2 UDP 1694498815 192.0.2.3 45665 typ srflx raddr 203.0.113.141 rport 8999\n\
            a=candidate:3 1 TCP 1 192.0.2.3 9 typ host tcptype active\n";
        let (own, host) = (parse_address("192.0.2.3").unwrap(), parse_address("203.0.113.141").unwrap());
        let expected = [
            (host, 8998, Media::RTP),
            (own, 45665, Media::RTCP),
            (own, 45664, Media::RTP),
            (own, 45665, Media::RTCP),
        ];
        assert_eq!(found(message), expected);
    }

    #[test]
    fn declined_held_or_broken_is_nothing() {
        assert_eq!(found("v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 49170 RTP/AVP 0\r\n"), []);
        assert_eq!(found("v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 0 RTP/AVP 0\r\n"), []);
        assert_eq!(found("v=0\r\nc=IN IP4 host.example\r\nm=audio 5000 RTP/AVP 0\r\n"), []);
        assert_eq!(found("v=0\r\nc=IN\r\nm=\r\nm=audio 99999 RTP/AVP\r\nm=audio 1\r\na=candidate:\r\n"), []);
        assert_eq!(found("c=IN IP4 192.0.2.1\r\nm=audio 49170 RTP/AVP 0\r\n"), []);
    }
}
