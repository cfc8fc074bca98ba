//! GTP-U, 3GPP TS 29.281.

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    big_endian::{U16, U32},
};

/// The mandatory part of a GTP-U header, section 5.1.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Gtpu {
    /// Version 1 (3 bits), protocol type 1 (1 bit), reserved (1 bit), E, S, PN (1 bit each).
    pub flags: u8,
    /// Message type; 255 (G-PDU) carries a packet.
    pub message: u8,
    /// Length of all behind these 8 bytes.
    pub length: U16,
    /// Tunnel endpoint identifier.
    pub teid: U32,
}

impl Gtpu {
    /// Whether this is a G-PDU of version 1.
    #[inline]
    pub fn is_g_pdu(&self) -> bool {
        self.flags >> 4 == 0b0011 && self.message == 255
    }
}

/// Length of the optional part behind the mandatory one, extension headers included (section 5.2), if it fits.
pub fn optional_len(gtpu: &Gtpu, behind: &[u8]) -> Option<usize> {
    if gtpu.flags & 0x07 == 0 {
        return Some(0);
    }
    let mut len = 4;
    let mut kind = if gtpu.flags & 0x04 == 0 { 0 } else { *behind.get(3)? };
    while kind != 0 {
        // The first byte of an extension is its length in units of 4 bytes, the last the kind of the next one.
        let units = usize::from(*behind.get(len)?);
        if units == 0 {
            return None;
        }
        len += units * 4;
        kind = *behind.get(len - 1)?;
    }
    (len <= behind.len()).then_some(len)
}
