//! When a node begins a ballot: at once for a new document, then later and later, so that two proposers
//! do not overtake each other for ever.
//!
//! **Never:** says what is proposed.

use core::time::Duration;

use super::random::Random;

/// Time before the next ballot of the same node, and as much again at random. It doubles, up to the
/// second one.
const BACK_OFF: Duration = Duration::from_millis(200);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(2);

/// The rounds of one instance, as far as this node begins them.
#[derive(Debug)]
pub(super) struct Ballots {
    next: Duration,
    back_off: Duration,
    /// Whether the next one is waited for.
    is_wanted: bool,
}

impl Ballots {
    /// None begun yet.
    pub(super) fn new() -> Self {
        Self { next: Duration::ZERO, back_off: BACK_OFF, is_wanted: false }
    }

    /// Another instance: its first ballot may begin at once.
    pub(super) fn document_changed(&mut self) {
        *self = Self::new();
    }

    /// Nothing is to be proposed.
    pub(super) fn rest(&mut self) {
        self.is_wanted = false;
    }

    /// Something is to be proposed: whether now.
    pub(super) fn may_begin(&mut self, now: Duration, random: &mut Random) -> bool {
        self.is_wanted = true;
        if now < self.next {
            return false;
        }
        let wait = self.back_off.saturating_add(random.up_to(self.back_off));
        self.next = now.saturating_add(wait);
        self.back_off = self.back_off.saturating_mul(2).min(LONGEST_BACK_OFF);
        true
    }

    /// When to ask again.
    pub(super) fn next_wake(&self) -> Duration {
        if self.is_wanted { self.next } else { Duration::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballots_come_later_and_later_until_the_document_changes() {
        let mut random = Random::new(1);
        let mut ballots = Ballots::new();
        assert_eq!(ballots.next_wake(), Duration::MAX);
        let mut now = Duration::from_secs(9);
        for most_ms in [400, 800, 1600, 3200, 4000, 4000] {
            assert!(ballots.may_begin(now, &mut random));
            assert!(!ballots.may_begin(now, &mut random));
            let wait = ballots.next_wake() - now;
            assert!(wait >= Duration::from_millis(most_ms / 2), "{wait:?}");
            assert!(wait <= Duration::from_millis(most_ms), "{wait:?}");
            now += wait;
        }
        ballots.may_begin(now, &mut random);
        ballots.document_changed();
        assert!(ballots.may_begin(now, &mut random));
        ballots.rest();
        assert_eq!(ballots.next_wake(), Duration::MAX);
    }
}
