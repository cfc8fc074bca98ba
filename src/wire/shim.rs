//! Headers over UDP that no port and no magic number tells: those of lawful intercept and of mirroring switches.
//!
//! A few bytes of them precede a packet that proves itself: its header checksum is right, and it is as long as the
//! datagram says. Chance makes that once in 2^36 datagrams.

use super::ethernet;
use super::ip::is_packet;

/// What precedes the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shim {
    /// Nothing: IP over UDP, as Linux makes it for "foo over UDP".
    Fou,
    /// An intercept id of 4 bytes, then IP: Cisco lawful intercept, PacketCable CCC.
    Intercept4,
    /// An intercept id and a session of 4 bytes each, then IP: Juniper jmirror, Nokia.
    Intercept8,
    /// The same, then Ethernet: Nokia.
    Intercept8Ethernet,
    /// 12 bytes, then Ethernet: HP encapsulated remote mirroring.
    HpErm,
}

impl Shim {
    /// Length in bytes.
    #[inline]
    pub fn header_len(self) -> usize {
        match self {
            Self::Fou => 0,
            Self::Intercept4 => 4,
            Self::Intercept8 | Self::Intercept8Ethernet => 8,
            Self::HpErm => 12,
        }
    }
}

/// The header before a packet in a datagram of which `bytes` were captured and which had `wire_len` bytes.
#[inline]
pub fn find(bytes: &[u8], wire_len: usize) -> Option<Shim> {
    let behind =
        |shim: Shim| Some((bytes.get(shim.header_len()..)?, wire_len.checked_sub(shim.header_len())?));
    let ip =
        |shim| behind(shim).filter(|&(rest, len)| fills(rest, len) && is_packet(rest, len)).map(|_| shim);
    let ethernet = |shim| behind(shim).filter(|&(rest, len)| ethernet::is_frame(rest, len)).map(|_| shim);
    ip(Shim::Intercept8)
        .or_else(|| ip(Shim::Intercept4))
        .or_else(|| ip(Shim::Fou))
        .or_else(|| ethernet(Shim::Intercept8Ethernet))
        .or_else(|| ethernet(Shim::HpErm))
}

/// Whether an IP packet ends where the datagram does.
#[inline]
fn fills(packet: &[u8], len: usize) -> bool {
    match *packet {
        [first, _, hi, lo, ..] if first >> 4 == 4 => usize::from(u16::from_be_bytes([hi, lo])) == len,
        [_, _, _, _, hi, lo, ..] => 40 + usize::from(u16::from_be_bytes([hi, lo])) == len,
        _ => false,
    }
}
