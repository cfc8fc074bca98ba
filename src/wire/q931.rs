//! Call signalling of H.323: messages of ITU-T Q.931 (H.225.0 section 7.2) in packets of TPKT (RFC 1006 section 6).
//!
//! What is read is what Q.931 says in the clear: who calls whom, and why a call ends. What H.225.0 adds stands in a user-user element, in
//! the packed encoding of ITU-T X.691, and is left alone: identifiers of calls and conferences, aliases, addresses of H.245.

/// Set up: who calls whom.
pub const SETUP: u8 = 0x05;
/// The called one rings.
pub const ALERTING: u8 = 0x01;
/// The called one answers.
pub const CONNECT: u8 = 0x07;
/// The call is over.
pub const RELEASE_COMPLETE: u8 = 0x5a;

/// Information elements, Q.931 table 4-3.
const CAUSE: u8 = 0x08;
const CALLING_NUMBER: u8 = 0x6c;
const CALLED_NUMBER: u8 = 0x70;
const REDIRECTING_NUMBER: u8 = 0x74;
const USER_USER: u8 = 0x7e;
/// Shift, sections 4.5.3 and 4.5.4: all but the codeset, which the last three bits are.
const SHIFT_BITS: u8 = 0xf8;
const LOCKING_SHIFT: u8 = 0x90;
const NON_LOCKING_SHIFT: u8 = 0x98;

/// What a message says of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Q931 {
    /// Kind of message, Q.931 table 4-2.
    pub kind: u8,
    /// Call reference value: 15 bits, as who began the call has chosen it.
    pub reference: u16,
    /// Whether who was called sends it: the flag of the call reference (section 4.3).
    pub is_callees: bool,
    /// Called party number (section 4.5.8), with a plus sign if it is international.
    pub called: Option<String>,
    /// Calling party number (section 4.5.10).
    pub calling: Option<String>,
    /// Redirecting number (ITU-T Q.952).
    pub redirecting: Option<String>,
    /// Why the call ends: cause value of ITU-T Q.850.
    pub cause: Option<u8>,
}

/// How long the TPKT is that begins here; none if none does.
pub fn tpkt_len(bytes: &[u8]) -> Option<usize> {
    let &[3, 0, high, low] = bytes.first_chunk()? else { return None };
    let len = usize::from(u16::from_be_bytes([high, low]));
    // A call reference of two bytes and a kind of message at the least.
    (len >= 9).then_some(len)
}

impl Q931 {
    /// The message in a TPKT, as far as it is there.
    pub fn parse(tpkt: &[u8]) -> Option<Self> {
        let len = tpkt_len(tpkt)?;
        let bytes = tpkt.get(4..len.min(tpkt.len()))?;
        // Protocol discriminator 8, a call reference of two bytes (H.225.0 section 7.2.2).
        let (&[8, 2, high, low, kind], mut rest) = bytes.split_first_chunk()? else { return None };
        let mut message = Self {
            kind,
            reference: u16::from_be_bytes([high & 0x7f, low]),
            is_callees: high & 0x80 != 0,
            ..Self::default()
        };
        // Whether the next element is of another codeset (section 4.5.2), where identifiers stand for something else.
        let mut is_shifted = false;
        while let Some((&id, behind)) = rest.split_first() {
            // Elements of one byte (section 4.5.1) have the highest bit set.
            if id & 0x80 != 0 {
                let is_elsewhere = id & 0x07 != 0;
                is_shifted = match id & SHIFT_BITS {
                    // Nothing locks codeset 0 again (section 4.5.3).
                    LOCKING_SHIFT if is_elsewhere => break,
                    NON_LOCKING_SHIFT => is_elsewhere,
                    _ => false,
                };
                rest = behind;
                continue;
            }
            let is_shifted = std::mem::take(&mut is_shifted);
            // The length of user-user information has two bytes (H.225.0 section 7.2.2.31).
            let (len, behind) = match (id, behind) {
                (USER_USER, &[high, low, ref behind @ ..]) if !is_shifted => {
                    (usize::from(u16::from_be_bytes([high, low])), behind)
                }
                (_, &[len, ref behind @ ..]) => (usize::from(len), behind),
                _ => break,
            };
            let Some(value) = behind.get(..len) else { break };
            rest = behind.get(len..).unwrap_or_default();
            match id {
                _ if is_shifted => {}
                CAUSE => message.cause = message.cause.or_else(|| cause(value)),
                CALLED_NUMBER => message.called = message.called.or_else(|| number(value)),
                CALLING_NUMBER => message.calling = message.calling.or_else(|| number(value)),
                REDIRECTING_NUMBER => message.redirecting = message.redirecting.or_else(|| number(value)),
                _ => {}
            }
        }
        Some(message)
    }
}

/// Behind the octets that go on: Q.931 section 4.5.1, where the highest bit ends a group.
fn behind_group(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let end = bytes.iter().position(|byte| byte & 0x80 != 0)?;
    Some((*bytes.first()?, bytes.get(end.checked_add(1)?..)?))
}

/// Section 4.5.8 and 4.5.10: type of number and plan, presentation and screening, digits in IA5.
fn number(value: &[u8]) -> Option<String> {
    let (first, digits) = behind_group(value)?;
    let is_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'*' | b'#');
    if digits.is_empty() || digits.len() > 32 || !digits.iter().all(is_number) {
        return None;
    }
    let plus = if first >> 4 & 0x07 == 1 { "+" } else { "" };
    Some(format!("{plus}{}", std::str::from_utf8(digits).ok()?))
}

/// Section 4.5.12, ITU-T Q.850: location (and a recommendation), then the value.
fn cause(value: &[u8]) -> Option<u8> {
    let (_, rest) = behind_group(value)?;
    rest.first().map(|cause| cause & 0x7f)
}

/// The name of a kind of message, Q.931 table 4-2.
pub fn name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        ALERTING => "ALERTING",
        0x02 => "CALL PROCEEDING",
        0x03 => "PROGRESS",
        SETUP => "SETUP",
        CONNECT => "CONNECT",
        0x0d => "SETUP ACKNOWLEDGE",
        0x0f => "CONNECT ACKNOWLEDGE",
        RELEASE_COMPLETE => "RELEASE COMPLETE",
        0x62 => "FACILITY",
        0x6e => "NOTIFY",
        0x75 => "STATUS ENQUIRY",
        0x7b => "INFORMATION",
        0x7d => "STATUS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A setup by hand from Q.931: bearer capability (3.1 kHz audio), display, calling number (national, not to be shown), called number
    /// (international), redirecting number with its reason, user-user information.
    const SETUP_BYTES: &[u8] = &[
        3, 0, 0, 58, 8, 2, 0x12, 0x34, SETUP, 0x04, 3, 0x90, 0x90, 0xa3, 0x28, 1, b'A', 0x6c, 5, 0x21, 0xa0,
        b'2', b'2', b'5', 0x70, 10, 0x91, b'3', b'2', b'2', b'5', b'5', b'5', b'0', b'1', b'9', 0x74, 6,
        0x01, 0x01, 0x8f, b'7', b'7', b'7', 0xa1, 0x7e, 0, 9, 5, 0x20, 0xa8, 6, 0, 8, 0x91, 0x4a, 0,
    ];

    fn setup() -> Vec<u8> {
        let mut bytes = SETUP_BYTES.to_vec();
        bytes[3] = bytes.len() as u8;
        bytes
    }

    #[test]
    fn a_setup_says_who_calls_whom() {
        let message = Q931::parse(&setup()).unwrap();
        let expected = Q931 {
            kind: SETUP,
            reference: 0x1234,
            is_callees: false,
            called: Some("+322555019".to_owned()),
            calling: Some("225".to_owned()),
            redirecting: Some("777".to_owned()),
            cause: None,
        };
        assert_eq!(message, expected);
        assert_eq!(tpkt_len(&setup()), Some(setup().len()));
    }

    #[test]
    fn a_release_tells_why() {
        // Normal call clearing (16), with and without a recommendation; from who was called.
        for (cause, element) in [(16, &[8, 2, 0x80, 0x90][..]), (17, &[8, 3, 0x00, 0x80, 0x91])] {
            let mut bytes = vec![3, 0, 0, 9 + element.len() as u8, 8, 2, 0x80, 1, RELEASE_COMPLETE];
            bytes.extend(element);
            let message = Q931::parse(&bytes).unwrap();
            assert_eq!((message.cause, message.is_callees, message.reference), (Some(cause), true, 1));
        }
    }

    #[test]
    fn elements_of_other_codesets_are_none_of_these() {
        const CALLED: &[u8] = &[0x70, 4, 0x81, b'2', b'2', b'5'];
        const OTHER: &[u8] = &[0x70, 4, 0x81, b'6', b'6', b'6'];
        // What stands in codeset 6 as 0x7e has a length of one byte.
        const USER: &[u8] = &[0x7e, 1, 0];
        let cases: [(&[&[u8]], Option<&str>); 11] = [
            (&[CALLED], Some("225")),
            // Locking shift to codeset 6: all that follows is of it.
            (&[&[0x96], OTHER], None),
            (&[CALLED, &[0x96], OTHER], Some("225")),
            (&[&[0x96], OTHER, CALLED], None),
            // Non-locking shift: the next one is, of several bytes or of one.
            (&[&[0x9e], OTHER], None),
            (&[&[0x9e], OTHER, CALLED], Some("225")),
            (&[&[0x9e], USER, CALLED], Some("225")),
            (&[&[0x9e, 0xa1], CALLED], Some("225")),
            // To codeset 0, which is the active one.
            (&[&[0x98], CALLED], Some("225")),
            // Only the locking one counts where both are (section 4.5.4).
            (&[&[0x9e, 0x96], OTHER, CALLED], None),
            // More data and sending complete are no shift.
            (&[&[0xa0, 0xa1], CALLED], Some("225")),
        ];
        for (elements, called) in cases {
            let elements = elements.concat();
            let mut bytes = vec![3, 0, 0, 9 + elements.len() as u8, 8, 2, 0, 1, SETUP];
            bytes.extend(&elements);
            assert_eq!(Q931::parse(&bytes).unwrap().called.as_deref(), called, "{elements:02x?}");
        }
    }

    #[test]
    fn cut_anywhere_nothing_is_invented() {
        let whole = Q931::parse(&setup()).unwrap();
        for end in 0..setup().len() {
            let Some(part) = Q931::parse(&setup()[..end]) else { continue };
            assert!(part.called.is_none() || part.called == whole.called);
            assert!(part.calling.is_none() || part.calling == whole.calling);
        }
        for at in 0..setup().len() {
            for byte in 0..=255 {
                let mut bytes = setup();
                bytes[at] = byte;
                _ = Q931::parse(&bytes);
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            _ = Q931::parse(&bytes);
            _ = Q931::parse(&[&[3, 0, 0, 200, 8, 2, 0, 1, SETUP][..], &bytes].concat());
        }
    }
}
