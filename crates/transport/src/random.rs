//! Randomness from the operating system, for identities and secrets. Never for the pure core: that
//! takes its randomness as an argument.

use crate::tls::provider;

/// `N` unpredictable bytes.
///
/// # Panics
/// The operating system gives no randomness: no key could be trusted, so nothing may go on.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let filled = provider().secure_random.fill(&mut bytes);
    assert!(filled.is_ok(), "the operating system gives no randomness");
    bytes
}
