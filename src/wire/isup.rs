//! ISUP messages, ITU-T Q.763, and those of BICC, ITU-T Q.1902.3, which are the same behind the circuit.
//!
//! A message is its kind, parameters of fixed length, pointers to parameters with a length, and a pointer to optional ones. Of all
//! that, this reads the numbers of a call and why it ends. The messages of ANSI (T1.113) have another fixed part and are not
//! known.

/// Initial address: who calls whom.
pub const INITIAL_ADDRESS: u8 = 1;
/// Release, with its cause.
pub const RELEASE: u8 = 12;

/// Optional parameters, Q.763 table 5.
const CALLING_NUMBER: u8 = 0x0a;
const REDIRECTING_NUMBER: u8 = 0x0b;
const ORIGINAL_CALLED_NUMBER: u8 = 0x28;

/// What a message says of a call. Whoever has one without circuit, as SIP carries it (`application/isup`, RFC 3204), can read it here
/// as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Isup {
    /// Kind of message: 1 initial address, 12 release.
    pub kind: u8,
    /// Called party number (Q.763 section 3.9) of an initial address message.
    pub called: Option<Number>,
    /// Calling party number (section 3.10), if it is there.
    pub calling: Option<Number>,
    /// Who redirected the call last (section 3.45).
    pub redirecting: Option<Number>,
    /// Whom the call was for at first (section 3.39).
    pub original_called: Option<Number>,
    /// Why a call is released: cause value of ITU-T Q.850.
    pub cause: Option<u8>,
}

/// A number, Q.763 section 3.9: odd or even, nature of address, numbering plan, digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// Nature of address: 1 subscriber, 2 unknown, 3 national, 4 international.
    pub nature: u8,
    /// Numbering plan: 1 is E.164.
    pub plan: u8,
    /// Whether it must not be shown, or is not known: presentation other than allowed (section 3.10 d). Called numbers have no such field.
    pub is_restricted: bool,
    /// The digits; code 11 is `b`, code 12 `c`. The mark that ends them is left out. Empty if the number is not available.
    pub digits: String,
}

impl Number {
    fn new(bytes: &[u8], has_presentation: bool) -> Option<Self> {
        let &[first, second, ref rest @ ..] = bytes else { return None };
        let mut digits = digits(rest);
        if first & 0x80 != 0 {
            digits.pop();
        }
        // Code 15 says that no more digits will come.
        if digits.ends_with('f') {
            digits.pop();
        }
        Some(Self {
            nature: first & 0x7f,
            plan: second >> 4 & 0x07,
            is_restricted: has_presentation && second & 0x0c != 0,
            digits,
        })
    }

    /// The number as people write it: with `+` if it is international and of E.164; none if there are no digits.
    pub fn text(&self) -> Option<String> {
        let plus = if (self.nature, self.plan) == (4, 1) { "+" } else { "" };
        (!self.digits.is_empty()).then(|| format!("{plus}{}", self.digits))
    }
}

/// Two digits a byte, the low half first.
pub fn digits(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte & 0x0f, byte >> 4]);
    digits.map(|digit| char::from_digit(digit.into(), 16).unwrap_or('?')).collect()
}

impl Isup {
    /// The message in these bytes, which begin with its kind: the circuit is left out. What is cut off, or does not fit, is missing.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        let mut isup = Self { kind, ..Self::default() };
        match kind {
            // Table 32: nature of connection, forward call indicators (two bytes), calling party's category, medium; a pointer to
            // the called number, and one to optional parameters.
            INITIAL_ADDRESS => {
                isup.called = variable(rest, 5).and_then(|value| Number::new(value, false));
                isup.optional(rest, 6);
            }
            // Table 33: a pointer to the cause, and one to optional parameters.
            RELEASE => {
                isup.cause = variable(rest, 0).and_then(cause);
                isup.optional(rest, 1);
            }
            _ => {}
        }
        Some(isup)
    }

    /// Section 1.7: name, length, value, until a name of 0. A pointer of 0 says that there are none.
    fn optional(&mut self, bytes: &[u8], pointer: usize) {
        let Some(mut rest) = pointed(bytes, pointer) else { return };
        while let &[name, len, ref values @ ..] = rest
            && name != 0
        {
            let (value, behind) = values.split_at_checked(len.into()).unwrap_or((values, &[]));
            let number = || Number::new(value, true);
            match name {
                CALLING_NUMBER => self.calling = number(),
                REDIRECTING_NUMBER => self.redirecting = number(),
                ORIGINAL_CALLED_NUMBER => self.original_called = number(),
                _ => {}
            }
            rest = behind;
        }
    }
}

/// What a pointer points to, counted from itself.
fn pointed(bytes: &[u8], pointer: usize) -> Option<&[u8]> {
    let offset = usize::from(*bytes.get(pointer)?);
    if offset == 0 { None } else { bytes.get(pointer.checked_add(offset)?..) }
}

/// A parameter with a length that a pointer points to.
fn variable(bytes: &[u8], pointer: usize) -> Option<&[u8]> {
    let (&len, rest) = pointed(bytes, pointer)?.split_first()?;
    Some(rest.get(..len.into()).unwrap_or(rest))
}

/// Section 3.12 and Q.850 section 2.1: coding standard and location, a recommendation if the first bit of that is not set, the value.
fn cause(value: &[u8]) -> Option<u8> {
    let (first, rest) = value.split_first()?;
    rest.get(usize::from(first & 0x80 == 0)).map(|cause| cause & 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(nature: u8, digits: &str) -> Number {
        Number { nature, plan: 1, is_restricted: false, digits: digits.into() }
    }

    /// An initial address message: to +3222000001 with the end mark, from 021234567 (national, not to be shown), redirected by +41791.
    const INITIAL: [u8; 36] = [
        1, 0x00, 0x20, 0x00, 0x0a, 0x00, 2, 10, // pointers to the called number, and to the options
        8, 0x84, 0x10, 0x23, 0x22, 0x00, 0x00, 0x10, 0x0f, // odd: ten digits and the end mark
        0x0a, 7, 0x83, 0x17, 0x20, 0x21, 0x43, 0x65, 0x07, // odd, national, restricted
        0x0b, 5, 0x84, 0x10, 0x14, 0x97, 0x01, // +41791
        0x3f, 0, 0,
    ];

    #[test]
    fn an_initial_address_names_the_numbers() {
        let isup = Isup::parse(&INITIAL).unwrap();
        assert_eq!(isup.kind, INITIAL_ADDRESS);
        assert_eq!(isup.called, Some(number(4, "3222000001")));
        assert_eq!(isup.called.unwrap().text().as_deref(), Some("+3222000001"));
        let calling = isup.calling.unwrap();
        assert_eq!(calling, Number { is_restricted: true, ..number(3, "021234567") });
        assert_eq!(calling.text().as_deref(), Some("021234567"));
        assert_eq!(isup.redirecting.unwrap().text().as_deref(), Some("+41791"));
        assert_eq!((isup.original_called, isup.cause), (None, None));
    }

    #[test]
    fn a_release_tells_why() {
        // Normal call clearing, with and without a recommendation; no options.
        for (cause, bytes) in [(16, &[12, 2, 0, 2, 0x80, 0x90][..]), (31, &[12, 2, 0, 3, 0, 0x80, 0x9f])] {
            assert_eq!(Isup::parse(bytes).unwrap().cause, Some(cause));
        }
    }

    #[test]
    fn a_number_that_is_not_available_has_no_digits() {
        let isup =
            Isup::parse(&[1, 0, 0, 0, 10, 0, 2, 6, 4, 0x04, 0x10, 0x23, 0x61, 0x0a, 2, 0, 0x0b, 0]).unwrap();
        let calling = isup.calling.unwrap();
        assert_eq!((calling.text(), calling.is_restricted, calling.nature), (None, true, 0));
        assert_eq!(isup.called.unwrap().digits, "3216");
    }

    #[test]
    fn cut_anywhere_nothing_is_invented() {
        let whole = Isup::parse(&INITIAL).unwrap();
        for end in 0..INITIAL.len() {
            let Some(isup) = Isup::parse(&INITIAL[..end]) else { continue };
            let begins = |part: &Option<Number>, of: &Option<Number>| {
                part.as_ref().is_none_or(|part| of.as_ref().unwrap().digits.starts_with(&part.digits))
            };
            assert!(begins(&isup.called, &whole.called) && begins(&isup.calling, &whole.calling));
            assert!(begins(&isup.redirecting, &whole.redirecting));
        }
        for byte in 0..=255u8 {
            for at in 0..INITIAL.len() {
                let mut bytes = INITIAL;
                bytes[at] = byte;
                _ = Isup::parse(&bytes);
            }
        }
    }
}
