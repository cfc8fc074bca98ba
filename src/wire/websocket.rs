//! WebSocket frames, RFC 6455 section 5.2.

/// The header of a frame that begins a message of text or bytes, and is not a part of it only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Where the payload begins.
    pub header_len: usize,
    /// Length of the payload.
    pub len: u64,
    /// What the payload is masked with; zeros if it is not.
    pub mask: [u8; 4],
}

impl Frame {
    /// The frame that begins here: final, without extensions, of text or bytes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[0x81 | 0x82, second], rest) = bytes.split_first_chunk()? else { return None };
        let (len, rest) = match second & 0x7f {
            126 => rest.split_first_chunk().map(|(&len, rest)| (u16::from_be_bytes(len).into(), rest))?,
            127 => rest.split_first_chunk().map(|(&len, rest)| (u64::from_be_bytes(len), rest))?,
            len => (len.into(), rest),
        };
        let mask = if second & 0x80 == 0 { [0; 4] } else { *rest.first_chunk()? };
        let header_len = bytes.len() - rest.len() + usize::from(second >> 7) * 4;
        Some(Self { header_len, len, mask })
    }

    /// The payload as it was before it was masked (section 5.3), as far as it was captured and `into` has room; `bytes`
    /// begin with this frame's header.
    pub fn unmask<'a>(&self, bytes: &[u8], into: &'a mut [u8]) -> &'a [u8] {
        let payload = bytes.get(self.header_len..).unwrap_or_default().iter();
        let len = usize::try_from(self.len).unwrap_or(usize::MAX);
        let mut count = 0;
        for ((to, from), mask) in into.iter_mut().zip(payload.take(len)).zip(self.mask.iter().cycle()) {
            *to = from ^ mask;
            count += 1;
        }
        into.get(..count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Frame;

    #[test]
    fn frames() {
        // RFC 6455 section 5.7: "Hello" unmasked and masked, 256 bytes, 64 KiB.
        let plain = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        for bytes in [&plain[..], &masked] {
            assert_eq!(Frame::parse(bytes).unwrap().unmask(bytes, &mut [0; 16]), b"Hello");
        }
        let medium = Frame { header_len: 4, len: 256, mask: [0; 4] };
        assert_eq!(Frame::parse(&[0x82, 0x7e, 0x01, 0x00]), Some(medium));
        let long = Frame { header_len: 10, len: 65536, mask: [0; 4] };
        assert_eq!(Frame::parse(&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]), Some(long));
        // A ping, a fragment, and a header that is cut.
        assert_eq!(Frame::parse(&plain[..1]), None);
        assert_eq!(Frame::parse(&[0x89, 0x05, 0x48]), None);
        assert_eq!(Frame::parse(&[0x01, 0x03, 0x48]), None);
        assert_eq!(Frame::parse(&masked[..5]), None);
    }
}
