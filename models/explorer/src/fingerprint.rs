//! 64-bit fingerprints of states: with ten million states the chance that two collide is about 3 in
//! a million.
//!
//! **Never:** seeded at random: a trace found once is found again.

use std::hash::{Hash, Hasher};

/// The fingerprint of a value; never zero, which stands for "no state".
#[must_use]
pub fn fingerprint_of(value: &impl Hash) -> u64 {
    let mut fingerprinter = Fingerprinter::default();
    value.hash(&mut fingerprinter);
    fingerprinter.finish()
}

/// Multiply-and-fold over words of eight bytes, as in wyhash.
struct Fingerprinter {
    folded: u64,
    word: u64,
    bytes: u32,
}

impl Default for Fingerprinter {
    fn default() -> Self {
        Self { folded: 0x9e37_79b9_7f4a_7c15, word: 0, bytes: 0 }
    }
}

impl Fingerprinter {
    fn absorb(&mut self, word: u64) {
        let left = self.folded ^ word ^ 0xa076_1d64_78bd_642f;
        self.folded = fold(left, self.folded.rotate_left(29) ^ 0xe703_7ed1_a0b4_28db);
    }
}

impl Hasher for Fingerprinter {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u8(byte);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.word = self.word << 8 | u64::from(byte);
        self.bytes += 1;
        if self.bytes.is_multiple_of(8) {
            self.absorb(self.word);
        }
    }

    /// Lengths of arrays and discriminants: one word each would triple the work.
    fn write_usize(&mut self, length: usize) {
        self.write_u8(length.to_le_bytes()[0]);
    }

    fn write_isize(&mut self, discriminant: isize) {
        self.write_u8(discriminant.to_le_bytes()[0]);
    }

    fn finish(&self) -> u64 {
        let tail = fold(self.folded ^ self.word, u64::from(self.bytes) ^ 0x8ebc_6af0_9c88_c6e3);
        fold(tail, 0x5899_65cc_7537_4cc3) | 1
    }
}

fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    let bytes = (product ^ (product >> 64)).to_le_bytes();
    u64::from_le_bytes(std::array::from_fn(|place| bytes[place]))
}

/// Fingerprints are mixed already: a map of them need not hash again.
#[derive(Clone, Copy, Default)]
pub(crate) struct AlreadyMixed(u64);

impl Hasher for AlreadyMixed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only fingerprints are keys");
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn small_differences_give_different_fingerprints() {
        let states = (0..=255u8).flat_map(|a| (0..=255u8).map(move |b| ([a; 5], b, [b, 0, a])));
        let fingerprints: HashSet<u64> = states.map(|state| fingerprint_of(&state)).collect();
        assert_eq!(fingerprints.len(), 256 * 256);
        assert!(!fingerprints.contains(&0));
    }

    #[test]
    fn the_same_state_gives_the_same_fingerprint_in_every_run() {
        assert_eq!(fingerprint_of(&[1u8, 2, 3]), fingerprint_of(&[1u8, 2, 3]));
        assert_ne!(fingerprint_of(&[1u8, 2, 3]), fingerprint_of(&[1u8, 2, 3, 0]));
    }
}
