//! Hashes that never leave the process, where speed counts more than a standard.

/// The product of two numbers, its upper half folded onto its lower: every bit of both counts.
#[inline(always)]
pub(crate) const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}
