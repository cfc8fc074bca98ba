//! The payload that signatures look at.

/// What a transport carries: the captured bytes, and how many there were on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) struct Data<'a> {
    /// Captured bytes.
    pub bytes: &'a [u8],
    /// Length on the wire, never less than captured.
    pub len: usize,
}

impl<'a> Data<'a> {
    #[inline]
    pub fn new(bytes: &'a [u8], len: u32) -> Self {
        Self { bytes, len: bytes.len().max(len as usize) }
    }

    /// What is left behind the first `at` bytes.
    #[inline]
    pub fn behind(self, at: usize) -> Self {
        Self { bytes: self.bytes.get(at..).unwrap_or_default(), len: self.len.saturating_sub(at) }
    }

    /// The `N` bytes at `at`.
    #[inline]
    pub fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    /// The byte at `at`.
    #[inline]
    pub fn byte(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// Big-endian number of 16 bits at `at`.
    #[inline]
    pub fn be16(self, at: usize) -> Option<usize> {
        self.array(at).map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    /// Big-endian number of 32 bits at `at`.
    #[inline]
    pub fn be32(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }

    #[inline]
    pub fn starts_with(self, prefix: &[u8]) -> bool {
        self.bytes.starts_with(prefix)
    }

    /// The first line without its end, if its end was captured within 8 KiB.
    pub fn line(self) -> Option<&'a [u8]> {
        let head = self.bytes.get(..8192).unwrap_or(self.bytes);
        let line = head.get(..memchr::memchr(b'\n', head)?)?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Whether this begins with a request line as HTTP, SIP and RTSP have it: one of the methods (each with the space
    /// behind it), a target, and the protocol with its version. In a line that was not captured to its end, the target
    /// has to begin with one of `schemes`.
    pub fn is_request(self, protocol: &[u8], methods: &[&[u8]], schemes: &[&[u8]]) -> bool {
        // All methods have at least four bytes with the space: those are one number, which no other one has.
        let Some(head) = self.bytes.first_chunk::<4>() else { return false };
        let is_head = |method: &&&[u8]| method.first_chunk::<4>().is_some_and(|first| first == head);
        let method = methods.iter().filter(is_head).find_map(|method| self.bytes.strip_prefix(*method));
        let Some(target) = method else { return false };
        match self.line() {
            Some(line) => {
                let version = line.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
                matches!(version.strip_prefix(protocol), Some([b'/', major, b'.', minor])
                    if major.is_ascii_digit() && minor.is_ascii_digit())
            }
            None => schemes.iter().any(|scheme| target.starts_with(scheme)),
        }
    }

    /// Whether this begins with a status line: protocol, version, code.
    pub fn is_status(self, protocol: &[u8]) -> bool {
        matches!(self.bytes.strip_prefix(protocol), Some([b'/', major, b'.', minor, b' ', a, b, c, ..])
            if [major, minor, a, b, c].iter().all(|digit| digit.is_ascii_digit()))
    }

    /// Whether this begins with one of the words, in capitals or not, and a space or the end of the line.
    pub fn is_command(self, words: &[&[u8]]) -> bool {
        let end = self.bytes.iter().take(16).position(|byte| !byte.is_ascii_alphanumeric());
        let Some((word, [b' ' | b'\r' | b'\n', ..])) = end.and_then(|end| self.bytes.split_at_checked(end))
        else {
            return false;
        };
        words.iter().any(|known| word.eq_ignore_ascii_case(known))
    }

    /// Whether this begins with a reply code of three digits, as FTP and SMTP have it (RFC 959 section 4.2).
    pub fn is_reply(self) -> bool {
        matches!(self.bytes, [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9', b' ' | b'-', ..])
    }

    /// The BER header at `at` (ITU-T X.690 section 8.1.2): tag, length of the content, where the content begins.
    pub fn ber(self, at: usize) -> Option<(u8, usize, usize)> {
        let [tag, first] = self.array(at)?;
        let at = at + 2;
        if first < 0x80 {
            return Some((tag, usize::from(first), at));
        }
        let octets = usize::from(first & 0x7f);
        if !(1..=4).contains(&octets) {
            return None;
        }
        let length = self.bytes.get(at..at + octets)?;
        Some((tag, length.iter().fold(0, |length, &octet| length << 8 | usize::from(octet)), at + octets))
    }
}
