//! IPv4 (RFC 791) and IPv6 (RFC 8200) as one: what the two have in common.

/// An address; IPv4 is written as an IPv4-mapped IPv6 address (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2).
pub type Addr = [u8; 16];

/// A network layer, borrowed from the frame.
#[derive(Debug, Clone, Copy)]
pub struct Ip<'a> {
    /// The header with options (IPv4) or extension headers (IPv6), at least 20 or 40 bytes.
    pub header: &'a [u8],
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
    /// Length of the packet in bytes, header included, as it says itself (captured length where it says 0, as
    /// segmentation offload leaves it).
    pub total_len: u32,
    /// Captured bytes behind the header, without padding.
    pub payload: &'a [u8],
}

impl Ip<'_> {
    /// Source address.
    #[inline]
    pub fn src(&self) -> Addr {
        self.address(12, 8)
    }

    /// Destination address.
    #[inline]
    pub fn dst(&self) -> Addr {
        self.address(16, 24)
    }

    #[inline]
    fn address(&self, v4_at: usize, v6_at: usize) -> Addr {
        let mut addr = [0; 16];
        if self.version == 4 {
            addr[10..12].copy_from_slice(&[0xff; 2]);
            if let Some(bytes) = self.header.get(v4_at..v4_at + 4) {
                addr[12..].copy_from_slice(bytes);
            }
        } else if let Some(bytes) = self.header.get(v6_at..v6_at + 16) {
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
