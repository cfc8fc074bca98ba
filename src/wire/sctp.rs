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

impl Chunk<'_> {
    /// Payload protocol identifier of a DATA (RFC 9260 section 3.3.1) or a first I-DATA (RFC 8260 section 2.1) chunk.
    pub fn payload_protocol(&self) -> Option<u32> {
        match self.kind {
            0 => {}
            64 if self.flags & 0x02 != 0 => {}
            _ => return None,
        }
        let ppid = self.value.get(8..12)?;
        Some(u32::from_be_bytes(ppid.try_into().ok()?))
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
