//! Asking for memory before it is needed.

/// Bytes of a cache line on the processors that this runs on.
pub(crate) const LINE: usize = 64;

/// Asks for all of a value, so that it is at hand when it is read some hundred instructions later.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    prefetch_first(value, size_of::<T>());
}

/// Asks for the first `len` bytes of a value.
#[inline]
pub(crate) fn prefetch_first<T>(value: &T, len: usize) {
    let at = std::ptr::from_ref(value).cast::<u8>();
    for offset in (0..len).step_by(LINE) {
        line(at.wrapping_add(offset));
    }
}

/// Asks for the line of memory at an address, be there memory or not.
#[inline]
#[allow(
    unsafe_code,
    reason = "measured: frames of 550 bytes become columns 1.14 times as fast, and see `State::take_all` in src/detect/examine.rs"
)]
pub(crate) fn line(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and does not fault, whatever the address is.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
