//! Frame Relay: the address field of ITU-T Q.922 and the encapsulations of RFC 2427 and of Cisco.

/// Length of the address field: the lowest bit of each byte says whether it is the last one (Q.922 section 3.3).
#[inline]
pub fn address_len(bytes: &[u8]) -> Option<usize> {
    let len = 1 + bytes.iter().take(4).position(|byte| byte & 1 == 1)?;
    (len >= 2).then_some(len)
}

/// Network layer protocol identifiers that are followed, RFC 2427 section 3 and ISO/IEC TR 9577.
pub mod nlpid {
    /// Unnumbered information, the control field before the identifier.
    pub const UI: u8 = 0x03;
    /// Padding before the identifier.
    pub const PAD: u8 = 0x00;
    /// A SNAP header follows.
    pub const SNAP: u8 = 0x80;
    /// IPv4.
    pub const IPV4: u8 = 0xcc;
    /// IPv6.
    pub const IPV6: u8 = 0x8e;
    /// PPP (RFC 1973).
    pub const PPP: u8 = 0xcf;
}
