//! Media endpoints announced in a session description, RFC 8866.

use std::net::IpAddr;

use crate::wire::ip::Addr;

/// What is expected at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    /// RTP, and RTCP if multiplexed.
    Rtp,
    /// T.38 over UDPTL.
    T38,
}

/// Media sections that are looked at in one description.
const MAX_MEDIA: usize = 16;

/// Calls `found` with each media endpoint that a SIP message's description announces.
///
/// The address of a section is its own `c=` line, else that of the session (section 5.7). Port 0 declines a section.
pub(super) fn endpoints(message: &[u8], mut found: impl FnMut(Addr, u16, Media)) {
    let mut session = None;
    let mut sections = [None; MAX_MEDIA];
    let mut count = 0_usize;
    for line in message.split(|&byte| byte == b'\n') {
        match line {
            [b'c', b'=', rest @ ..] => {
                let addr = connection(rest);
                match count.checked_sub(1).and_then(|last| sections.get_mut(last)) {
                    Some(Some((own, _, _))) => *own = addr,
                    _ => session = addr,
                }
            }
            [b'm', b'=', rest @ ..] => {
                let Some(slot) = sections.get_mut(count) else { break };
                *slot = media(rest).map(|(port, media)| (None, port, media));
                count += 1;
            }
            _ => {}
        }
    }
    for (own, port, media) in sections.into_iter().flatten() {
        if let Some(addr) = own.or(session)
            && port != 0
        {
            found(addr, port, media);
        }
    }
}

fn words(line: &[u8]) -> impl Iterator<Item = &str> {
    line.split(|byte| matches!(byte, b' ' | b'\r' | b'\t')).filter_map(|word| str::from_utf8(word).ok())
}

/// The address in a `c=` line: `IN IP4 192.0.2.1`; a time to live may follow a multicast one.
fn connection(line: &[u8]) -> Option<Addr> {
    let addr = words(line).nth(2)?.split('/').next()?;
    Some(match addr.parse().ok()? {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    })
}

/// Port and kind in an `m=` line: `audio 49170 RTP/AVP 0`.
fn media(line: &[u8]) -> Option<(u16, Media)> {
    let mut words = words(line);
    let _kind = words.next()?;
    let port = words.next()?.split('/').next()?.parse().ok()?;
    let protocol = words.next()?;
    if protocol.eq_ignore_ascii_case("udptl") {
        Some((port, Media::T38))
    } else {
        protocol
            .split('/')
            .any(|part| matches!(part, "RTP" | "AVP" | "SAVP" | "SAVPF" | "AVPF"))
            .then_some((port, Media::Rtp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::address::parse_address;

    #[test]
    fn finds_the_address_of_each_section() {
        // Lines of the examples in RFC 4566 section 5 and RFC 3264 section 10.
        let message = b"INVITE sip:bob@biloxi.example.com SIP/2.0\r\nContact: <sip:a>\r\n\r\nv=0\r\n\
            c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0\r\nm=video 51372 RTP/AVP 31\r\nc=IN IP6 2001:db8::1\r\n\
            m=image 6000 udptl t38\r\nm=audio 0 RTP/AVP 0\r\nm=application 9 TCP/MSRP *\r\n";
        let mut found = Vec::new();
        endpoints(message, |addr, port, media| found.push((addr, port, media)));
        let (v4, v6) = (parse_address("192.0.2.1").unwrap(), parse_address("2001:db8::1").unwrap());
        assert_eq!(found, [(v4, 49170, Media::Rtp), (v6, 51372, Media::Rtp), (v4, 6000, Media::T38)]);
    }
}
