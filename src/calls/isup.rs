//! Numbers in an initial address message of ISUP, as SIP-I carries it (ITU-T Q.1912.5; Q.763 section 3).

/// Numbers called and calling of an initial address message, with a plus sign where they are international.
pub(super) fn numbers(bytes: &[u8]) -> Option<(Option<String>, Option<String>)> {
    // Kind; nature of connection, forward call indicators, category, medium; then pointers to the called number and to the optional part, each
    // counted from its own place.
    let &[1, _, _, _, _, _, called, optional, ..] = bytes else { return None };
    let called_at = 6 + usize::from(called);
    let called = counted(bytes, called_at).and_then(number);
    let mut calling = None;
    let mut at = 7 + usize::from(optional);
    while optional > 0
        && let Some(&code) = bytes.get(at)
        && code != 0
        && let Some(value) = counted(bytes, at + 1)
    {
        if code == 10 {
            calling = number(value);
        }
        at += 2 + value.len();
    }
    Some((called, calling))
}

/// What a length stands before.
fn counted(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let len = usize::from(*bytes.get(at)?);
    bytes.get(at + 1..at + 1 + len)
}

/// Sections 3.9 and 3.10: odd number of digits and nature, plan, two digits a byte, the low half first. 15 ends the called number.
fn number(value: &[u8]) -> Option<String> {
    let (&[nature, _], digits) = value.split_first_chunk()?;
    let mut text = String::from(if nature & 0x7f == 4 { "+" } else { "" });
    let mut halves: Vec<u8> = digits.iter().flat_map(|byte| [byte & 0x0f, byte >> 4]).collect();
    if nature & 0x80 != 0 {
        halves.pop();
    }
    text.extend(halves.iter().filter_map(|&digit| char::from_digit(digit.into(), 10)));
    (text.len() > 1).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn numbers_of_an_initial_address() {
        // Called: even, international, E.164 (0x10), 32 2 555 01 99 and the end (15); calling: odd, national, 025550123.
        let called = [7, 0x84, 0x10, 0x23, 0x52, 0x55, 0x10, 0x99];
        let calling = [10, 7, 0x83, 0x11, 0x20, 0x55, 0x05, 0x21, 0x03];
        let bytes = [&[1, 0, 0x60, 0, 10, 0, 2, 9][..], &called, &calling, &[0]].concat();
        let told = (Some("+322555019".to_owned() + "9"), Some("025550123".to_owned()));
        let found = numbers(&bytes).unwrap();
        assert_eq!(found.1, told.1);
        assert_eq!(found.0.unwrap(), "+322555019");
        for cut in 0..bytes.len() {
            numbers(&bytes[..cut]);
        }
        assert_eq!(numbers(&[12, 2, 0, 2]), None);
    }
}
