//! LISP data packets, RFC 9300 section 5.3.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, big_endian::U32};

/// A LISP header.
#[derive(Debug, Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Lisp {
    /// N, L, E, V, I, R, KK (8 bits), nonce or map version (24 bits).
    pub flags: U32,
    /// Instance (24 bits) and locator status bits (8 bits) with I, locator status bits (32 bits) without.
    pub instance: U32,
}

impl Lisp {
    /// Whether the flags do not contradict each other, and nothing is encrypted.
    #[inline]
    pub fn is_plausible(&self) -> bool {
        let flags = self.flags.get() >> 24;
        // E needs N; V excludes N; KK is for encryption.
        flags & 0x03 == 0
            && (flags & 0x20 == 0 || flags & 0x80 != 0)
            && (flags & 0x10 == 0 || flags & 0x80 == 0)
    }

    /// Instance, if the header has one.
    #[inline]
    pub fn instance(&self) -> Option<u32> {
        (self.flags.get() & 0x0800_0000 != 0).then(|| self.instance.get() >> 8)
    }
}
