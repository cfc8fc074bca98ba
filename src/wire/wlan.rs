//! IEEE 802.11 data frames, and the radiotap and PPI headers that captures put before them.

use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// The part that all data frames have, IEEE 802.11-2020 section 9.3.2.1.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Wlan {
    /// Version (2 bits), type (2 bits), subtype (4 bits), from the lowest bit.
    pub kind: u8,
    /// To DS, from DS, more fragments, retry, power management, more data, protected, order, from the lowest bit.
    pub flags: u8,
    /// Duration.
    pub duration: U16,
    /// Receiver.
    pub address1: [u8; 6],
    /// Transmitter.
    pub address2: [u8; 6],
    /// Depends on the direction.
    pub address3: [u8; 6],
    /// Fragment (4 bits), sequence number (12 bits).
    pub sequence: U16,
}

impl Wlan {
    /// Whether this is a data frame that carries data.
    #[inline]
    pub fn has_data(&self) -> bool {
        self.kind & 0x0f == 0x08 && self.kind & 0x40 == 0
    }

    /// Whether the body is encrypted.
    #[inline]
    pub fn is_protected(&self) -> bool {
        self.flags & 0x40 != 0
    }

    /// Whether this is not the first fragment of its frame.
    #[inline]
    pub fn is_later_fragment(&self) -> bool {
        self.sequence.get() & 0x0f != 0
    }

    /// Whether there is a QoS control field, and an aggregate of frames is possible.
    #[inline]
    pub fn is_qos(&self) -> bool {
        self.kind & 0x80 != 0
    }

    /// Whether a fourth address follows: a frame from one access point to another.
    #[inline]
    pub fn has_address4(&self) -> bool {
        self.flags & 0x03 == 0x03
    }

    /// Length of the header: fourth address, QoS control and HT control included.
    #[inline]
    pub fn header_len(&self) -> usize {
        size_of::<Self>()
            + if self.has_address4() { 6 } else { 0 }
            + if self.is_qos() { 2 } else { 0 }
            + if self.is_qos() && self.flags & 0x80 != 0 { 4 } else { 0 }
    }

    /// Source and destination, Table 9-30 of the standard; `behind` is what follows this part.
    #[inline]
    pub fn ends(&self, behind: &[u8]) -> (Option<[u8; 6]>, [u8; 6]) {
        match self.flags & 0x03 {
            0 => (Some(self.address2), self.address1),
            1 => (Some(self.address2), self.address3),
            2 => (Some(self.address3), self.address1),
            _ => (behind.first_chunk().copied(), self.address3),
        }
    }
}

/// A radiotap header without its fields, as radiotap.org describes it.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Radiotap {
    /// Version 0.
    pub version: u8,
    /// Zero.
    pub pad: u8,
    /// Length of header and fields.
    pub len: U16,
    /// Which fields are there; bit 31: another such word follows.
    pub present: U32,
}

/// Flags of a radiotap header that change how the frame behind it is to be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RadiotapFlags {
    /// The frame ends with its checksum.
    pub has_fcs: bool,
    /// Padding to a multiple of 4 bytes between the 802.11 header and the data.
    pub is_padded: bool,
}

/// The flags field of a radiotap header that begins here: field 1, behind the 8 bytes of field 0 if that is there.
pub fn radiotap_flags(header: &[u8]) -> RadiotapFlags {
    let word = |at: usize| {
        header.get(at..).and_then(|rest| rest.first_chunk()).map(|&word| u32::from_le_bytes(word))
    };
    let flags = || {
        let present = word(4)?;
        let mut at = 8;
        let mut more = present;
        while more & 0x8000_0000 != 0 {
            more = word(at)?;
            at += 4;
        }
        if present & 1 != 0 {
            at = at.next_multiple_of(8) + 8;
        }
        if present & 2 != 0 { header.get(at).copied() } else { None }
    };
    let flags = flags().unwrap_or(0);
    RadiotapFlags { has_fcs: flags & 0x10 != 0, is_padded: flags & 0x20 != 0 }
}

/// A PPI header without its fields, PPI Packet Header Specification 1.0.10.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ppi {
    /// Version 0.
    pub version: u8,
    /// Flags.
    pub flags: u8,
    /// Length of header and fields.
    pub len: U16,
    /// Link type of the frame behind.
    pub link: U32,
}
