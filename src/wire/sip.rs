//! SIP messages, RFC 3261 sections 7, 20 and 25, and the URIs in them: `sip:` and `sips:` (section 19.1), `tel:` (RFC 3966).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The first line of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<'a> {
    /// A request: method and URI.
    Request(&'a [u8], &'a [u8]),
    /// A response: its status code; none if that is no number.
    Response(Option<u16>),
}

/// A message as far as it is there.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// What it is.
    pub start: Start<'a>,
    /// Its header fields: names and values without the blanks around them, in order.
    pub fields: Vec<(Name<'a>, &'a [u8])>,
    /// Length of start line and header fields, with the empty line.
    pub head_len: usize,
    /// Whether the empty line is there that ends the header.
    pub has_whole_head: bool,
}

/// Bytes of a header field that are kept.
const MAX_FIELD: usize = 1024;

impl<'a> Message<'a> {
    /// The message that begins here.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut lines = Lines { bytes, at: 0 };
        let start = start(lines.next()?)?;
        let mut fields = Vec::with_capacity(16);
        let mut has_whole_head = false;
        while let Some(line) = lines.next() {
            if line.is_empty() {
                // The last line may lack its end.
                has_whole_head = lines.at.checked_sub(1).and_then(|last| bytes.get(last)) == Some(&b'\n');
                break;
            }
            fields.extend(field(line));
        }
        Some(Self { start, fields, head_len: lines.at, has_whole_head })
    }

    /// The first value of a field, as text.
    pub fn field(&self, long: &str, short: &str) -> Option<Cow<'a, str>> {
        self.named(long, short).next().map(text)
    }

    fn named(&self, long: &str, short: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |(name, _)| name.is(long, short)).map(|&(_, value)| value)
    }

    /// All values of a field, where each line may hold several, separated by commas (section 7.3.1). At most `limit`.
    pub fn values(&self, long: &str, short: &str, limit: usize) -> Vec<String> {
        let mut all = Vec::new();
        for value in self.named(long, short) {
            let value = text(value);
            all.extend(values(&value).take(limit.saturating_sub(all.len())).map(str::to_owned));
        }
        all
    }

    /// Content-Length.
    pub fn content_length(&self) -> Option<u32> {
        self.named("Content-Length", "l").next_back().and_then(number)
    }
}

/// Name and value of a field, in MIME too.
fn field(line: &[u8]) -> Option<(Name<'_>, &[u8])> {
    let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
    Some((Name(name.trim_ascii()), value.get(1..).unwrap_or_default().trim_ascii()))
}

/// Name of a header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a>(pub &'a [u8]);

impl Name<'_> {
    /// Whether it is this one, or its compact form (section 7.3.3), which is empty for those that have none.
    pub fn is(self, long: &str, short: &str) -> bool {
        self.0.eq_ignore_ascii_case(long.as_bytes())
            || !short.is_empty() && self.0.eq_ignore_ascii_case(short.as_bytes())
    }
}

/// Whether the first line names the version, at its beginning or its end.
pub fn is_message(bytes: &[u8]) -> bool {
    let line = Lines { bytes, at: 0 }.next().unwrap_or_default();
    line.starts_with(b"SIP/2.0 ") || line.ends_with(b" SIP/2.0")
}

fn start(line: &[u8]) -> Option<Start<'_>> {
    if let Some(status) = line.strip_prefix(b"SIP/2.0 ") {
        return Some(Start::Response(status.get(..3).and_then(number).map(|code| code as u16)));
    }
    let mut words = line.split(|&byte| byte == b' ');
    let (method, uri) = (words.next()?, words.next()?);
    let is_method = !method.is_empty()
        && method.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte));
    is_method.then_some(Start::Request(method, uri))
}

/// A decimal number.
pub fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A value as text: unfolded, and no longer than what is kept of one.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.get(..MAX_FIELD).unwrap_or(bytes);
    let text = str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
    if memchr::memchr(b'\n', bytes).is_none() {
        return text;
    }
    // Folded: the end of a line and the blanks around it are one space.
    Cow::Owned(text.lines().map(str::trim).collect::<Vec<_>>().join(" "))
}

/// Lines without their ends; the last one may have none. A line goes on in the next if that begins with a blank (RFC 3261
/// section 7.3.1), unless it is empty.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let is_end = |&end: &usize| {
            let is_folded = matches!(rest.get(end + 1), Some(b' ' | b'\t'));
            !is_folded || matches!(rest.get(..end), Some([] | [b'\r']))
        };
        let end = memchr::memchr_iter(b'\n', rest).find(is_end);
        let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        self.at += line.len() + usize::from(end.is_some());
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// The parts of a text between a separator that stands neither in quotes nor in angle brackets.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    let is_plain = memchr::memchr2(b'"', b'<', text.as_bytes()).is_none();
    std::iter::from_fn(move || {
        let all = rest?;
        if is_plain {
            let end = memchr::memchr(separator, all.as_bytes());
            rest = end.and_then(|end| all.get(end + 1..));
            return Some(all.get(..end.unwrap_or(all.len())).unwrap_or_default().trim());
        }
        let (mut is_quoted, mut is_escaped, mut is_bracketed) = (false, false, false);
        let end = all.bytes().position(|byte| {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b'<' if !is_quoted => is_bracketed = true,
                b'>' if !is_quoted => is_bracketed = false,
                byte if byte == separator => return !is_quoted && !is_bracketed,
                _ => {}
            }
            false
        });
        rest = end.and_then(|end| all.get(end + 1..));
        Some(all.get(..end.unwrap_or(all.len())).unwrap_or_default().trim())
    })
}

/// The values in a field of which one line holds several.
pub fn values(field: &str) -> impl Iterator<Item = &str> {
    split(field, b',').filter(|value| !value.is_empty())
}

/// The URI in a value such as of From, with angle brackets and a name or without (section 20.10), and the parameters of the
/// field behind it.
pub fn name_addr(value: &str) -> (&str, &str) {
    let mut is_quoted = false;
    let mut is_escaped = false;
    let open = value.bytes().position(|byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'<' => return !is_quoted,
            _ => {}
        }
        false
    });
    if let Some(rest) = open.and_then(|open| value.get(open + 1..)) {
        return rest.split_once('>').unwrap_or((rest, ""));
    }
    // Without brackets, parameters are those of the field.
    value.split_once(';').unwrap_or((value, ""))
}

/// The value of a parameter behind semicolons, without its quotes; an empty one if it has none.
pub fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    split(parameters, b';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// A URI of somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq, get_size2::GetSize, Serialize, Deserialize)]
pub struct Uri {
    /// The part before the host; of `tel:` all that is not a parameter. Escapes (section 19.1.2) are read.
    pub user: String,
    /// Name or address of the host, without brackets, in lower case.
    pub host: String,
    /// Its port, if it is said.
    pub port: Option<u16>,
    /// Whether it says that the user part is a telephone number: `tel:`, or `user=phone`.
    pub is_phone: bool,
}

impl Uri {
    /// What a URI says; none if it is not one of these schemes.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(':')?;
        if scheme.eq_ignore_ascii_case("tel") {
            let user = rest.split(';').next().unwrap_or_default();
            return Some(Self { user: unescaped(user), is_phone: true, ..Self::default() });
        }
        if !(scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips")) {
            return None;
        }
        let rest = rest.split('?').next().unwrap_or_default();
        // The last one: what should have been escaped before it is of the user.
        let (user, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        // A password is nobody's business, and parameters of a number (RFC 3966) are not the number.
        let user = user.split([':', ';']).next().unwrap_or_default();
        let (place, parameters) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = host_port(place);
        let is_phone = parameter(parameters, "user").is_some_and(|user| user.eq_ignore_ascii_case("phone"));
        let is_number = |byte: u8| byte.is_ascii_digit() || byte == b'+';
        if user.is_empty() && !host.is_empty() && host.bytes().all(is_number) {
            // A number where a host should be, as some write it.
            return Some(Self { user: host, host: String::new(), port, is_phone });
        }
        Some(Self { user: unescaped(user), host, port, is_phone })
    }

    /// The telephone number in the user part, without what separates its digits (RFC 3966 section 5.1.1), with its plus sign if
    /// it has one: what is said to be one, or has three digits and more and nothing else.
    pub fn number(&self) -> Option<String> {
        let mut number = String::with_capacity(self.user.len());
        for (at, character) in self.user.chars().enumerate() {
            match character {
                '+' if at == 0 => number.push('+'),
                '0'..='9' => number.push(character),
                '-' | '.' | '(' | ')' => {}
                '*' | '#' if self.is_phone => number.push(character),
                _ => return None,
            }
        }
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        (digits >= 3 || digits > 0 && self.is_phone).then_some(number)
    }

    /// Host and port, as far as they are said.
    pub fn place(&self) -> String {
        place(&self.host, self.port)
    }
}

/// Host and port as text; brackets around addresses of IPv6 where a port follows.
pub fn place(host: &str, port: Option<u16>) -> String {
    match port {
        None => host.to_owned(),
        Some(port) if host.contains(':') => ["[", host, "]:", &port.to_string()].concat(),
        Some(port) => [host, ":", &port.to_string()].concat(),
    }
}

/// Host, in lower case and without brackets, and port.
pub fn host_port(place: &str) -> (String, Option<u16>) {
    let place = place.trim();
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.trim().strip_prefix(':')),
        None => match place.split_once(':') {
            // More than one colon without brackets: an address of IPv6 that should have had some.
            Some((_, rest)) if rest.contains(':') => (place, None),
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    (host.trim().to_ascii_lowercase(), port.and_then(|port| port.trim().parse().ok()))
}

fn unescaped(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let escaped = (first == b'%').then(|| behind.get(..2)).flatten();
        let byte = escaped.and_then(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One hop of a Via field, section 20.42.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Via {
    /// The transport, in lower case: `udp`, `tcp`, `tls`, `ws`, `wss`, `sctp`.
    pub transport: String,
    /// Where it says that it was sent by: host and port.
    pub sent_by: String,
    /// The address that the next hop has seen, with the port if that was asked for (RFC 3581).
    pub received: Option<String>,
    /// The transaction.
    pub branch: String,
}

impl Via {
    /// The hop that one value names.
    pub fn parse(value: &str) -> Option<Self> {
        let (hop, parameters) = value.split_once(';').unwrap_or((value, ""));
        // Blanks may stand around the slashes.
        let mut words = hop.trim().splitn(3, '/');
        let (_, _, rest) = (words.next()?, words.next()?, words.next()?.trim());
        let (transport, by) = rest.split_once([' ', '\t'])?;
        let (host, port) = host_port(by);
        let port_seen = parameter(parameters, "rport").and_then(|port| port.parse().ok());
        let received = parameter(parameters, "received").map(|seen| place(&host_port(seen).0, port_seen));
        let branch = parameter(parameters, "branch").unwrap_or_default().to_owned();
        Some(Self {
            transport: transport.to_ascii_lowercase(),
            sent_by: place(&host, port),
            received,
            branch,
        })
    }
}

/// A part of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its type, without parameters, in lower case.
    pub kind: String,
    /// What it holds.
    pub bytes: &'a [u8],
    /// Whether a delimiter stands behind it.
    pub is_ended: bool,
}

/// Parts that are looked at in one body.
const MAX_PARTS: usize = 16;

/// The parts of a body of this Content-Type (RFC 2046 section 5.1): itself, unless it is multipart.
pub fn parts<'a>(content_type: &str, body: &'a [u8]) -> Vec<Part<'a>> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let kind = kind.trim().to_ascii_lowercase();
    let boundary = parameter(parameters, "boundary").filter(|boundary| !boundary.is_empty());
    let Some(boundary) = boundary.filter(|_| kind.starts_with("multipart/")) else {
        return vec![Part { kind, bytes: body, is_ended: false }];
    };
    let delimiter = format!("--{boundary}");
    let mut starts = memchr::memmem::find_iter(body, delimiter.as_bytes())
        .filter(|&at| at.checked_sub(1).is_none_or(|before| body.get(before) == Some(&b'\n')));
    let mut parts = Vec::new();
    let mut from = starts.next();
    while let (Some(at), true) = (from, parts.len() < MAX_PARTS) {
        let next = starts.next();
        let part = body.get(at + delimiter.len()..next.unwrap_or(body.len())).unwrap_or_default();
        from = next;
        if part.starts_with(b"--") {
            break;
        }
        // The rest of the delimiter's line, then fields up to an empty line, then what it holds, to the end of the line before the
        // next delimiter.
        let Some(line) = memchr::memchr(b'\n', part) else { continue };
        let part = part.get(line + 1..).unwrap_or_default();
        let mut lines = Lines { bytes: part, at: 0 };
        let mut head = 0;
        while let Some(line) = lines.next() {
            if line.is_empty() {
                break;
            }
            head = lines.at;
        }
        let mut bytes = part.get(lines.at..).unwrap_or_default();
        if next.is_some() {
            bytes =
                bytes.strip_suffix(b"\n").map_or(bytes, |bytes| bytes.strip_suffix(b"\r").unwrap_or(bytes));
        }
        let named = Lines { bytes: part.get(..head).unwrap_or_default(), at: 0 }.filter_map(field);
        let kind =
            named.filter(|(name, _)| name.is("Content-Type", "c")).map(|(_, value)| text(value)).next();
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        parts.push(Part { kind, bytes, is_ended: next.is_some() });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_folded_compact_and_several() {
        // RFC 3261 section 7.3.1 and 7.3.3.
        let message = Message::parse(
            b"INVITE sip:bob@biloxi.com SIP/2.0\r\nv: SIP/2.0/UDP a:5066;branch=z9hG4bK1,\r\n SIP/2.0/TCP b\r\nVia: SIP / 2.0 / UDP c ;received=192.0.2.1;rport=9\r\nl: 3\r\n\r\nabc",
        )
        .unwrap();
        let vias: Vec<_> = message.values("Via", "v", 9).iter().filter_map(|via| Via::parse(via)).collect();
        let sent: Vec<_> = vias.iter().map(|via| (&*via.transport, &*via.sent_by)).collect();
        assert_eq!(sent, [("udp", "a:5066"), ("tcp", "b"), ("udp", "c")]);
        assert_eq!(vias[0].branch, "z9hG4bK1");
        assert_eq!(vias[2].received.as_deref(), Some("192.0.2.1:9"));
        assert_eq!((message.content_length(), message.has_whole_head), (Some(3), true));
        assert!(!Message::parse(b"BYE sip:a SIP/2.0\r\nTo: x\r\n").unwrap().has_whole_head);
    }

    #[test]
    fn who_a_uri_names() {
        let of = |uri: &str| Uri::parse(uri).map(|uri| (uri.number(), uri.user.clone(), uri.place()));
        let none = || (None, String::new());
        // RFC 3261 section 19.1.3 and RFC 3966 section 6.
        assert_eq!(
            of("sip:+1-212-555-1212:1234@gateway.com;user=phone"),
            Some((Some("+12125551212".into()), "+1-212-555-1212".into(), "gateway.com".into()))
        );
        assert_eq!(
            of("tel:+358-555-1234567;postd=pp22"),
            Some((Some("+3585551234567".into()), "+358-555-1234567".into(), String::new()))
        );
        assert_eq!(
            of("sip:alice@[2001:DB8::1]:5070;transport=tcp?subject=x"),
            Some((None, "alice".into(), "[2001:db8::1]:5070".into()))
        );
        assert_eq!(of("sip:%61lice%3b@atlanta.com"), Some((None, "alice;".into(), "atlanta.com".into())));
        assert_eq!(of("sip:192.0.2.4"), Some((none().0, none().1, "192.0.2.4".into())));
        assert_eq!(
            of("sip:+32470123456;user=phone"),
            Some((Some("+32470123456".into()), "+32470123456".into(), String::new()))
        );
        assert_eq!(of("urn:service:sos"), None);
        // A number that is portable: RFC 4694.
        assert_eq!(of("sip:5551234;npdi@x").unwrap().0.as_deref(), Some("5551234"));
    }

    #[test]
    fn values_with_names() {
        let field = r#""Bell, A. \"G\" <x>" <sip:agb@bell.com;lr>;tag=4, <tel:+32470>;q=1, sip:c@d;tag=7"#;
        let all: Vec<_> = values(field).map(name_addr).collect();
        assert_eq!(all, [("sip:agb@bell.com;lr", ";tag=4"), ("tel:+32470", ";q=1"), ("sip:c@d", "tag=7")]);
        assert_eq!(parameter(all[0].1, "TAG"), Some("4"));
    }

    #[test]
    fn parts_of_a_body() {
        // The shape of the example in RFC 3204 section 5.
        let body = b"--unique-boundary-1\r\nContent-Type: application/SDP; charset=ISO-10646\r\n\r\nv=0\r\no=x\r\n\r\n--unique-boundary-1\r\nContent-Type: application/ISUP; version=nxv3; base=etsi121\r\nContent-Disposition: signal; handling=optional\r\n\r\n\x01\x00\r\n--unique-boundary-1--\r\n";
        let parts = parts("multipart/mixed; boundary=\"unique-boundary-1\"", body);
        let kinds: Vec<_> = parts.iter().map(|part| (&*part.kind, part.bytes)).collect();
        assert_eq!(kinds, [("application/sdp", &b"v=0\r\no=x\r\n"[..]), ("application/isup", b"\x01\x00")]);
        for cut in 0..body.len() {
            super::parts("multipart/mixed;boundary=unique-boundary-1", &body[..cut]);
        }
    }
}
