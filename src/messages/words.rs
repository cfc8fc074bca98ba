//! Reading bytes from front to back.

use crate::wire::ip::Addr;

/// Big-endian numbers, one after the other. A number that is not there whole is `None`, and then so are all behind it.
pub(super) struct Words<'a>(pub &'a [u8]);

impl<'a> Words<'a> {
    pub fn u8(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next `N` bytes, all of them.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        let is_whole = self.0.len() >= N;
        self.0 = rest;
        is_whole.then_some(*array)
    }

    /// The next `len` bytes, or as many as there are.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at_checked(len).unwrap_or((self.0, &[]));
        self.0 = rest;
        bytes
    }
}

/// Options as IPv4 (RFC 791 section 3.1) and TCP (RFC 9293 section 3.1) have them: each its kind, and all of its bytes, kind and length
/// first. Padding is left out; the end of the list, or an option that is cut short, ends them.
pub(super) struct Options<'a>(pub &'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while let [1, rest @ ..] = self.0 {
            self.0 = rest;
        }
        let (kind, length) = match *self.0 {
            [kind, length, ..] if kind >= 2 && length >= 2 => (kind, usize::from(length)),
            _ => return None,
        };
        let (option, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((kind, option))
    }
}

/// An address of 4 or 16 bytes, IPv4 as `::ffff:a.b.c.d`.
pub(super) fn address(bytes: &[u8]) -> Option<Addr> {
    match *bytes {
        [a, b, c, d] => Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]),
        _ => bytes.try_into().ok(),
    }
}
