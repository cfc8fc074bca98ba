//! SCTP, RFC 9260.

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    big_endian::{U16, U32},
};

/// The SCTP common header, RFC 9260 section 3.1. Chunks follow it.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Sctp {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Verification tag.
    pub tag: U32,
    /// CRC32c.
    pub checksum: U32,
}

/// One chunk, RFC 9260 section 3.2.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Chunk type; 0 is DATA, 64 is I-DATA (RFC 8260).
    pub kind: u8,
    /// Chunk flags.
    pub flags: u8,
    /// What follows the chunk header, as far as captured.
    pub value: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Payload protocol identifier of a DATA (RFC 9260 section 3.3.1) or a first I-DATA (RFC 8260 section 2.1) chunk.
    pub fn payload_protocol(&self) -> Option<u32> {
        let at = match self.kind {
            0 => 8,
            64 if self.flags & 0x02 != 0 => 12,
            _ => return None,
        };
        self.value.get(at..)?.first_chunk().map(|&identifier| u32::from_be_bytes(identifier))
    }

    /// What a DATA or I-DATA chunk carries, if it is the first part of a message.
    pub fn user_data(&self) -> Option<&'a [u8]> {
        let at = match self.kind {
            0 => 12,
            64 => 16,
            _ => return None,
        };
        if self.flags & 0x02 == 0 { None } else { self.value.get(at..) }
    }
}

/// The chunks in the bytes behind a common header, up to the first whose length makes no sense.
pub fn chunks(mut bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let &[kind, flags, hi, lo, ..] = bytes else { return None };
        let length = usize::from(u16::from_be_bytes([hi, lo]));
        let value = bytes.get(4..length.min(bytes.len()))?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Chunk { kind, flags, value })
    })
}
