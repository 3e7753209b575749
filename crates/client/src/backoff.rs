//! How long to wait after a failure: exponential, capped, with jitter, so that the clients of a server
//! that comes back do not all come back at the same instant.
//!
//! **Never:** sleeps, or reads a clock; it only says how long.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// After the first failure, before jitter.
const FIRST: Duration = Duration::from_millis(50);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);

/// Counts failures in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// One more failure: how long to wait, between half of the step and the whole of it. `random` is
    /// uniform over all its values.
    pub(crate) fn fail(&mut self, random: u64) -> Duration {
        let step = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let thousandths = 500 + u32::try_from(random % 501).unwrap_or(500);
        step * thousandths / 1000
    }
}

/// A number that no other client has: the seed that the standard library takes from the system.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_jitter_takes_at_most_half() {
        for (random, factor) in [(0, 500), (500, 1000)] {
            let mut backoff = Backoff::default();
            let waits: Vec<_> = (0..40).map(|_| backoff.fail(random)).collect();
            assert_eq!(waits[0], FIRST * factor / 1000);
            assert_eq!(waits[1], FIRST * 2 * factor / 1000);
            assert_eq!(waits[39], LONGEST * factor / 1000);
            assert!(waits.is_sorted());
        }
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random(), random());
    }
}
