//! Telephone numbers: whose they are, by how they begin (ITU-T E.164).

use std::sync::LazyLock;

use super::country::{Country, rows};

/// Digits that an international number has at the most: ITU-T E.164, section 6.
const LONGEST: usize = 15;

/// Whose a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbering {
    /// The country, unless the number is of several or of none.
    pub country: Option<Country>,
    /// The name of the country, of the service or of the network.
    pub name: &'static str,
    /// How many digits it is known by.
    pub digits: u8,
}

/// Beginnings of numbers: a node for each, with the nodes that one more digit leads to.
static TREE: LazyLock<Vec<Node>> = LazyLock::new(|| {
    let mut tree = vec![Node::default()];
    for (code, name, numbers) in rows() {
        for number in numbers.filter(|number| !number.is_empty()) {
            add(&mut tree, number, (Country::from_code(code), name));
        }
    }
    tree
});

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    /// Numbers of nodes, 0 for none.
    next: [u16; 10],
    whose: Option<(Option<Country>, &'static str)>,
}

fn add(tree: &mut Vec<Node>, number: &str, whose: (Option<Country>, &'static str)) {
    let mut at = 0_usize;
    for digit in number.bytes().map(digit) {
        let new = tree.len() as u16;
        let next = tree.get_mut(at).and_then(|node| node.next.get_mut(digit.unwrap_or(0)));
        at = match next {
            Some(next) if *next != 0 => usize::from(*next),
            Some(next) => {
                *next = new;
                tree.push(Node::default());
                usize::from(new)
            }
            None => return,
        };
    }
    if let Some(node) = tree.get_mut(at) {
        node.whose = Some(whose);
    }
}

fn digit(byte: u8) -> Option<usize> {
    byte.is_ascii_digit().then(|| usize::from(byte.wrapping_sub(b'0')))
}

/// Whose an international number is: its digits from the country code on, with or without `+` before them and what RFC 3966
/// allows between them for the eye (`-`, `.`, parentheses) and spaces. None if it is not such a number, or nobody's.
///
/// Numbers as people dial them (`00…`, `0…`) are not international: only who knows where they were dialled can tell.
pub fn numbering(number: &str) -> Option<Numbering> {
    let tree = &*TREE;
    let mut node = tree.first()?;
    // Whether digits still lead on, and how many there were.
    let (mut leads, mut count) = (true, 0_usize);
    let mut found = None;
    for byte in number.strip_prefix('+').unwrap_or(number).bytes() {
        let Some(digit) = digit(byte) else {
            if matches!(byte, b'-' | b'.' | b'(' | b')' | b' ') {
                continue;
            }
            return None;
        };
        count = count.saturating_add(1);
        if count > LONGEST {
            return None;
        }
        let Some(&next) = node.next.get(digit).filter(|&&next| leads && next != 0) else {
            leads = false;
            continue;
        };
        node = tree.get(usize::from(next))?;
        if let Some((country, name)) = node.whose {
            found = Some(Numbering { country, name, digits: count as u8 });
        }
    }
    found
}

/// The country of an international number. See [`numbering`].
pub fn country_of_number(number: &str) -> Option<Country> {
    numbering(number)?.country
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codes_that_countries_share_are_told_apart() {
        for (number, code) in [
            ("+14155550100", "US"),
            ("+14165550100", "CA"),
            ("+18765550100", "JM"),
            ("+12425550100", "BS"),
            ("+17875550100", "PR"),
            ("+74951234567", "RU"),
            ("+77172123456", "KZ"),
            ("+442079460000", "GB"),
            ("+441481256789", "GG"),
            ("+441534456789", "JE"),
            ("+441624756789", "IM"),
            ("+390669812345", "VA"),
            ("+390612345678", "IT"),
            ("+4779123456", "SJ"),
            ("+4721234567", "NO"),
            ("+61891641234", "CX"),
            ("+61891621234", "CC"),
            ("+61212345678", "AU"),
            ("+212528812345", "EH"),
            ("+212522812345", "MA"),
            ("+262262161234", "RE"),
            ("+262269601234", "YT"),
            ("+35818123456", "AX"),
            ("+358912345678", "FI"),
            ("+590590271234", "BL"),
            ("+590590871234", "BL"),
            ("+59994351234", "CW"),
            ("+5997151234", "BQ"),
            ("+2908999", "TA"),
            ("+49 (30) 1234-567", "DE"),
            ("4930.1234567", "DE"),
        ] {
            assert_eq!(country_of_number(number).map(Country::code), Some(code), "{number}");
        }
    }

    #[test]
    fn codes_of_no_country_have_names() {
        for (number, name, digits) in [
            ("+80012345678", "international freephone", 3),
            ("+870773123456", "Inmarsat", 3),
            ("+881612345678", "Iridium", 4),
            ("+881812345678", "Globalstar", 4),
            ("+882161234567", "international networks", 3),
            ("+883510012345", "international networks", 3),
            ("+979123456789", "international premium rate", 3),
            ("+18005550100", "North America, no single country", 1),
        ] {
            assert_eq!(numbering(number), Some(Numbering { country: None, name, digits }), "{number}");
        }
    }

    #[test]
    fn what_is_no_international_number_is_none() {
        for number in
            ["", "+", "0049301234567", "+49x", "++49", "sip:+4930", "+4930123456789012", "+210", "٤٩"]
        {
            assert_eq!(numbering(number), None, "{number}");
        }
        assert_eq!(country_of_number("+49"), Country::from_code("DE"));
        assert!(TREE.len() < usize::from(u16::MAX));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in ".{0,40}") {
            let _ = numbering(&text);
        }
    }
}
