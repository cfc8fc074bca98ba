//! Hashes that leave the process in nothing but this version's own files, where speed counts more than a standard.

/// The product of two numbers, its upper half folded onto its lower: every bit of both counts.
#[inline(always)]
pub(crate) const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// A number for an address; that of none is that of zeros.
#[inline]
pub(crate) fn address(addr: Option<[u8; 16]>) -> u64 {
    let bits = u128::from_be_bytes(addr.unwrap_or_default());
    fold((bits >> 64) as u64 ^ 0x9e37_79b9_7f4a_7c15, bits as u64 ^ 0xd1b5_4a32_d192_ed03)
}
