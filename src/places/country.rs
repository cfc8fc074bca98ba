//! Countries: ISO 3166-1 alpha-2 codes, and their English names.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Letters of the alphabet.
const LETTERS: u16 = 26;
/// How many codes of two letters there are.
const CODES: usize = (LETTERS * LETTERS) as usize;

/// All codes of two letters, one behind the other.
static TEXT: [u8; CODES * 2] = {
    let mut text = [b'A'; CODES * 2];
    let mut rest = text.as_mut_slice();
    let mut number = 0;
    while let [first, second, behind @ ..] = rest {
        *first = b'A' + (number / LETTERS) as u8;
        *second = b'A' + (number % LETTERS) as u8;
        number += 1;
        rest = behind;
    }
    text
};

/// A country or territory, by its code of two letters. Registries also write `EU` and `AP` where none is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country(u16);

impl Country {
    /// How many numbers there are: each is smaller. What tables by country are as long as.
    pub const NUMBERS: usize = CODES;

    /// The country with this code, in letters of any case. `ZZ` is none.
    pub fn from_code(code: &str) -> Option<Self> {
        let &[first, second] = code.as_bytes() else { return None };
        let letter = |byte: u8| {
            byte.is_ascii_alphabetic().then(|| u16::from(byte.to_ascii_uppercase().wrapping_sub(b'A')))
        };
        let number = letter(first)?.wrapping_mul(LETTERS).wrapping_add(letter(second)?);
        (usize::from(number) != CODES - 1).then_some(Self(number))
    }

    /// The country with this number.
    pub fn from_number(number: u16) -> Option<Self> {
        (usize::from(number) < CODES - 1).then_some(Self(number))
    }

    /// Its number, smaller than [`Self::NUMBERS`]: countries in the order of their codes.
    #[inline]
    pub fn number(self) -> u16 {
        self.0
    }

    /// Its code, such as `DE`.
    pub fn code(self) -> &'static str {
        let at = usize::from(self.0) * 2;
        TEXT.get(at..at + 2).and_then(|code| std::str::from_utf8(code).ok()).unwrap_or_default()
    }

    /// Whether it stands for the countries of a region: registries write so where they know no single one.
    pub fn is_region(self) -> bool {
        matches!(self.code(), "EU" | "AP")
    }

    /// Its name in English.
    pub fn name(self) -> Option<&'static str> {
        static NAMES: LazyLock<HashMap<Country, &str>> = LazyLock::new(|| {
            rows().filter_map(|(code, name, _)| Some((Country::from_code(code)?, name))).collect()
        });
        NAMES.get(&self).copied()
    }
}

/// Rows of the file: code of a country or `-`, name, beginnings of telephone numbers.
pub(super) fn rows() -> impl Iterator<Item = (&'static str, &'static str, std::str::Split<'static, char>)> {
    let lines = include_str!("countries.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (code, rest) = line.split_once('\t')?;
        let (name, numbers) = rest.split_once('\t')?;
        Some((code, name, numbers.split(' ')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbers_and_back() {
        for (text, code) in [("DE", "DE"), ("de", "DE"), ("AA", "AA"), ("ZY", "ZY")] {
            let country = Country::from_code(text).unwrap();
            assert_eq!(country.code(), code);
            assert_eq!(Country::from_number(country.number()), Some(country));
            assert!(usize::from(country.number()) < Country::NUMBERS);
        }
        for text in ["", "D", "DEU", "ZZ", "zz", "D1", "ß", "€"] {
            assert_eq!(Country::from_code(text), None, "{text}");
        }
        assert_eq!(Country::from_number(u16::MAX), None);
    }

    #[test]
    fn names_are_those_of_iso_3166() {
        // 249 countries, 3 that have telephone numbers only, 2 of registries.
        let names = rows().filter(|(code, ..)| *code != "-").count();
        assert_eq!(names, 255);
        for (code, name) in [("DE", "Germany"), ("AX", "Åland Islands"), ("EU", "European Union")] {
            assert_eq!(Country::from_code(code).unwrap().name(), Some(name));
        }
        assert_eq!(Country::from_code("QQ").unwrap().name(), None);
    }
}
