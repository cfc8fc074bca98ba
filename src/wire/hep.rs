//! HEP versions 1 and 2 (homer encapsulation): addresses and ports of a captured message, then the message.

use super::ip::Addr;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hep {
    /// Length of the header: the message begins behind it.
    pub len: usize,
    /// IP protocol of the message.
    pub protocol: u8,
    /// Source port of the message.
    pub src_port: u16,
    /// Destination port of the message.
    pub dst_port: u16,
    /// Source of the message, IPv4 as `::ffff:a.b.c.d`.
    pub src: Addr,
    /// Destination of the message.
    pub dst: Addr,
}

impl Hep {
    /// Version, length, address family, protocol, ports, addresses; in version 2 time and capture id, padded to 12 bytes.
    /// `None` unless length, family and version fit together.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[version @ (1 | 2), len, family, protocol, a, b, c, d], rest) = bytes.split_first_chunk()?
        else {
            return None;
        };
        let time_len = if version == 2 { 12 } else { 0 };
        let v4 = |bytes: &[u8]| {
            let mut addr = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
            addr.get_mut(12..)?.copy_from_slice(bytes);
            Some(addr)
        };
        // The family is a number of the sender's operating system; that of IPv6 differs.
        let (width, src, dst) = match family {
            2 => (4, v4(rest.get(..4)?)?, v4(rest.get(4..8)?)?),
            10 | 24 | 28 | 30 => (16, *rest.first_chunk()?, *rest.get(16..)?.first_chunk()?),
            _ => return None,
        };
        (usize::from(len) == 8 + 2 * width + time_len && bytes.len() > len.into()).then_some(Self {
            len: len.into(),
            protocol,
            src_port: u16::from_be_bytes([a, b]),
            dst_port: u16::from_be_bytes([c, d]),
            src,
            dst,
        })
    }
}
