//! Numbers that look random and are the same for the same seed: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).

#[derive(Debug)]
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 to below `end`.
    pub fn below(&mut self, end: u32) -> u32 {
        ((u64::from(self.next() as u32) * u64::from(end)) >> 32) as u32
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, share: u32) -> bool {
        self.below(100) < share
    }

    /// A port that clients choose (RFC 6335 section 6).
    pub fn ephemeral_port(&mut self) -> u16 {
        49_152 + self.below(16_384) as u16
    }

    /// Adds `len` bytes, as little compressible as encrypted ones.
    pub fn fill(&mut self, bytes: &mut Vec<u8>, len: usize) {
        for _ in 0..len / 8 {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.extend(self.next().to_le_bytes().iter().take(len % 8));
    }
}
