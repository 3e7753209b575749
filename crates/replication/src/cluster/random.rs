//! The machine's own random numbers: back-offs, choices, names of changes. Seeded by its settings, so
//! that a run can be repeated.

use core::time::Duration;

use paravon_model::ChangeId;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// A seeded sequence of random numbers; not for secrets.
#[derive(Debug)]
pub(super) struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The sequence of this seed.
    pub(super) fn new(seed: u128) -> Self {
        let mut bytes = [0x5a; 32];
        bytes[..16].copy_from_slice(&seed.to_be_bytes());
        Self(Xoshiro256PlusPlus::from_seed(bytes))
    }

    /// A sequence that begins where this one is.
    pub(super) fn branch(&mut self) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(self.0.next_u64())
    }

    /// A name that nobody else draws.
    pub(super) fn change(&mut self) -> ChangeId {
        ChangeId(u128::from(self.0.next_u64()) << 64 | u128::from(self.0.next_u64()))
    }

    /// Any number.
    #[cfg(test)]
    pub(super) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A place in a list of that length; zero for an empty one.
    pub(super) fn below(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.0.next_u64() % length).unwrap_or(0)
    }

    /// Between nothing and `most`.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(f64::from(u32::try_from(self.0.next_u64() >> 33).unwrap_or(0)) / 2147483648.0)
    }
}
