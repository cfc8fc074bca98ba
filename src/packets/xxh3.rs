//! XXH3-64 with seed 0, of short messages whose words are at hand.
//!
//! The algorithm is that of the xxHash specification (<https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>), as
//! [`xxhash_rust`] has it for any message. What is hashed here is put together from header fields; to hash its words as they
//! are saves writing it down and reading it again. The tests compare the two.

use crate::hash::fold;

/// 16 bytes of a message, the first byte lowest.
pub(super) type Pair = u128;

/// The first 96 bytes of the specification's default secret.
const SECRET: [u64; 12] = [
    0xbe4b_a423_396c_feb8,
    0x1cad_21f7_2c81_017c,
    0xdb97_9083_e96d_d4de,
    0x1f67_b3b7_a4a4_4072,
    0x78e5_c0cc_4ee6_79cb,
    0x2172_ffcc_7dd0_5a82,
    0x8e24_43f7_7446_08b8,
    0x4c26_3a81_e690_35e0,
    0xcb00_c391_bb52_283c,
    0xa32e_531b_8b65_d088,
    0x4ef9_0da2_9748_6471,
    0xd8ac_dea9_46ef_1938,
];

/// `PRIME64_1`.
const PRIME: u64 = 0x9e37_79b1_85eb_ca87;

#[inline(always)]
fn avalanche(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 37).wrapping_mul(0x1656_6791_9e37_79f9);
    hash ^ hash >> 32
}

/// The hash of `len` bytes: 17 to 32 for one pair, 33 to 64 for two, 65 to 96 for three. `head` and `tail` are the pairs that
/// the message begins and ends with, both in its order.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "of constant numbers only, which the tests try all")]
pub(super) fn medium<const PAIRS: usize>(len: usize, head: [Pair; PAIRS], tail: [Pair; PAIRS]) -> u64 {
    debug_assert!((len - 1) / 32 + 1 == PAIRS && len > 16, "{len} bytes of {PAIRS} pairs");
    let mut hash = (len as u64).wrapping_mul(PRIME);
    let mut at = 0;
    while at < PAIRS {
        let (head, tail, secret) = (head[at], tail[PAIRS - 1 - at], 4 * at);
        hash = hash.wrapping_add(mix(head, SECRET[secret], SECRET[secret + 1]));
        hash = hash.wrapping_add(mix(tail, SECRET[secret + 2], SECRET[secret + 3]));
        at += 1;
    }
    avalanche(hash)
}

#[inline(always)]
fn mix(pair: Pair, low: u64, high: u64) -> u64 {
    fold(pair as u64 ^ low, (pair >> 64) as u64 ^ high)
}

/// The hash of 9 to 16 bytes.
#[inline(always)]
pub(super) fn short(len: usize, message: Pair) -> u64 {
    debug_assert!((9..=16).contains(&len), "{len} bytes");
    let [_, _, _, a, b, c, d, ..] = SECRET;
    let low = message as u64 ^ a ^ b;
    let high = (message >> (8 * (len - 8))) as u64 ^ c ^ d;
    let sum = (len as u64).wrapping_add(low.swap_bytes()).wrapping_add(high);
    avalanche(sum.wrapping_add(fold(low, high)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    fn pairs<const PAIRS: usize>(message: &[u8]) -> u64 {
        let all = |bytes: &[u8]| {
            std::array::from_fn(|at| Pair::from_le_bytes(*bytes[16 * at..].first_chunk().unwrap()))
        };
        medium::<PAIRS>(message.len(), all(message), all(&message[message.len() - 16 * PAIRS..]))
    }

    proptest! {
        #[test]
        fn hashes_are_those_of_the_specification(bytes in proptest::array::uniform32(any::<[u8; 3]>())) {
            let bytes = bytes.as_flattened();
            for message in (9..=96).map(|len| &bytes[..len]) {
                let hash = match message.len() {
                    len @ ..17 => {
                        let mut padded = [0; 16];
                        padded[..len].copy_from_slice(message);
                        short(len, Pair::from_le_bytes(padded))
                    }
                    17..33 => pairs::<1>(message),
                    33..65 => pairs::<2>(message),
                    _ => pairs::<3>(message),
                };
                prop_assert_eq!(hash, xxh3_64(message), "{} bytes", message.len());
            }
        }
    }
}
