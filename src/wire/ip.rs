//! IPv4 (RFC 791) and IPv6 (RFC 8200) as one: what the two have in common.

/// An address; IPv4 is written as an IPv4-mapped IPv6 address (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2).
pub type Addr = [u8; 16];

/// A network layer, borrowed from the frame.
#[derive(Debug, Clone, Copy)]
pub struct Ip<'a> {
    /// The captured bytes of the packet, without padding: at least 20 (IPv4) or 40 (IPv6).
    pub packet: &'a [u8],
    /// How many of them are the header, with options (IPv4) or extension headers (IPv6).
    pub header_len: u32,
    /// 4 or 6.
    pub version: u8,
    /// Protocol of the payload, after extension headers (IANA protocol numbers).
    pub protocol: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class: DSCP and ECN.
    pub tos: u8,
    /// Identification: always for IPv4 (16 bits), with a fragment header for IPv6 (32 bits).
    pub id: Option<u32>,
    /// Which part of a fragmented packet this is.
    pub fragment: Fragment,
    /// Where in the packet that was fragmented this part begins, in units of 8 bytes.
    pub fragment_offset: u16,
    /// Length of the packet in bytes, header included, as it says itself (captured length where it says 0, as
    /// segmentation offload leaves it).
    pub total_len: u32,
}

impl<'a> Ip<'a> {
    /// Captured bytes behind the header, without padding.
    #[inline(always)]
    pub fn payload(&self) -> &'a [u8] {
        self.packet.get(self.header_len as usize..).unwrap_or_default()
    }

    /// Source address.
    #[inline(always)]
    pub fn src(&self) -> Addr {
        self.address(12, 8)
    }

    /// Destination address.
    #[inline(always)]
    pub fn dst(&self) -> Addr {
        self.address(16, 24)
    }

    #[inline(always)]
    fn address(&self, v4_at: usize, v6_at: usize) -> Addr {
        let mut addr = [0; 16];
        if self.version == 4 {
            addr[10..12].copy_from_slice(&[0xff; 2]);
            if let Some(bytes) = self.packet.get(v4_at..v4_at + 4) {
                addr[12..].copy_from_slice(bytes);
            }
        } else if let Some(bytes) = self.packet.get(v6_at..v6_at + 16) {
            addr.copy_from_slice(bytes);
        }
        addr
    }
}

/// Which part of a fragmented packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Fragment {
    /// Not a fragment.
    #[default]
    Whole,
    /// Offset 0 and more to come: holds the transport header.
    First,
    /// Not the first, and more to come.
    Middle,
    /// The last one.
    Last,
}

impl Fragment {
    /// From the offset and whether more is to come.
    #[inline]
    pub fn new(offset: u16, more: bool) -> Self {
        match (offset, more) {
            (0, false) => Self::Whole,
            (0, true) => Self::First,
            (_, true) => Self::Middle,
            (_, false) => Self::Last,
        }
    }

    /// Whether the transport header lies in another fragment.
    #[inline]
    pub fn is_later(self) -> bool {
        matches!(self, Self::Middle | Self::Last)
    }
}

/// Whether an IP packet begins here that fits into `len` bytes and proves it by more than its version: an IPv4 header with
/// the right checksum, or an IPv6 header from and to addresses that are in use, with a next header that is read here.
#[inline]
pub fn is_packet(bytes: &[u8], len: usize) -> bool {
    match *bytes {
        [first, _, hi, lo, ..] if first >> 4 == 4 => {
            let header_len = usize::from(first & 0x0f) * 4;
            let total_len = usize::from(u16::from_be_bytes([hi, lo]));
            let fits = header_len >= 20 && (header_len..=len).contains(&total_len);
            fits && bytes.get(..header_len).is_some_and(|header| checksum(header) == 0)
        }
        [first, _, _, _, hi, lo, next, hops, ..] if first >> 4 == 6 => {
            let is_used =
                |at| matches!(bytes.get(at), Some(0x20 | 0x24 | 0x26 | 0x28 | 0x2a | 0x2c | 0xfc..));
            40 + usize::from(u16::from_be_bytes([hi, lo])) <= len
                && hops > 0
                && matches!(next, 0 | 4 | 6 | 17 | 41 | 43 | 44 | 47 | 50 | 51 | 58 | 60 | 89 | 103 | 132)
                && is_used(8)
                && is_used(24)
        }
        _ => false,
    }
}

/// The Internet checksum, RFC 1071: 0 over a header whose checksum field is right.
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |&byte| u32::from(byte) << 8);
    let mut sum = words.iter().fold(last, |sum, &word| sum.wrapping_add(u16::from_be_bytes(word).into()));
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
