//! The two clocks of a simulated node: a monotonic one that drifts, and a wall clock that is off and
//! jumps.

use std::time::Duration;

use paravon_replication::Now;

use crate::queue::{MILLISECOND, Nanos};

/// What the calendar says at the beginning of the world, in milliseconds since the Unix epoch.
pub(crate) const BEGINNING_MS: u64 = 1_800_000_000_000;

/// The clocks of one node.
#[derive(Clone, Debug)]
pub(crate) struct NodeClock {
    /// The last moment at which the rate changed, true and by the node.
    anchor: (Nanos, Nanos),
    /// Parts per million that it runs fast.
    drift_ppm: i64,
    /// By how much the wall clock is ahead of the truth, besides the drift, in milliseconds.
    skew_ms: i64,
    /// Where the monotonic clock began at the last boot.
    boot: Nanos,
}

impl NodeClock {
    pub(crate) fn new(skew_ms: i64, drift_ppm: i64) -> Self {
        Self { anchor: (0, 0), drift_ppm, skew_ms, boot: 0 }
    }

    /// What the node reads at the true moment `at`.
    pub(crate) fn now(&self, at: Nanos) -> Now {
        let elapsed = self.elapsed(at);
        // A machine's monotonic clock does not begin at zero for a process.
        let monotonic = Duration::from_nanos(elapsed - self.boot) + Duration::from_secs(100);
        let truth_ms = BEGINNING_MS + elapsed / MILLISECOND;
        let wall_ms = truth_ms.saturating_add_signed(self.skew_ms);
        Now { monotonic, wall_ms }
    }

    /// The true moment at which the monotonic clock reaches `monotonic`, if not before `at`.
    pub(crate) fn when(&self, monotonic: Duration, at: Nanos) -> Nanos {
        let left = monotonic.saturating_sub(self.now(at).monotonic);
        let left = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
        // Rounded up: woken early, a machine would find nothing to do and ask again.
        at + scale(left, -self.drift_ppm) + 2 + left / 8_000_000
    }

    /// The wall clock jumps.
    pub(crate) fn jump(&mut self, by_ms: i64) {
        self.skew_ms += by_ms;
    }

    /// The process starts anew.
    pub(crate) fn boot(&mut self, at: Nanos) {
        self.boot = self.elapsed(at);
    }

    /// The clock is set right and runs right from now on; the monotonic one does not jump.
    pub(crate) fn correct(&mut self, at: Nanos) {
        let elapsed = self.elapsed(at);
        self.anchor = (at, elapsed);
        self.drift_ppm = 0;
        let behind_ms = i128::from(at / MILLISECOND) - i128::from(elapsed / MILLISECOND);
        self.skew_ms = i64::try_from(behind_ms).unwrap_or(0);
    }

    fn elapsed(&self, at: Nanos) -> Nanos {
        let (truth, own) = self.anchor;
        own + scale(at.saturating_sub(truth), self.drift_ppm)
    }
}

fn scale(nanos: Nanos, ppm: i64) -> Nanos {
    let scaled = i128::from(nanos) + i128::from(nanos) * i128::from(ppm) / 1_000_000;
    u64::try_from(scaled).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::SECOND;

    #[test]
    fn a_clock_drifts_is_off_and_is_set_right() {
        let mut clock = NodeClock::new(-500, 1000);
        let later = clock.now(1000 * SECOND);
        assert_eq!(later.wall_ms, BEGINNING_MS + 1_001_000 - 500);
        assert_eq!(later.monotonic, Duration::from_secs(1101));
        clock.correct(1000 * SECOND);
        assert_eq!(clock.now(1000 * SECOND).wall_ms, BEGINNING_MS + 1_000_000);
        assert_eq!(clock.now(1001 * SECOND).monotonic, Duration::from_secs(1102));
    }

    #[test]
    fn waking_up_is_never_early() {
        for drift in [-300, 0, 300] {
            let clock = NodeClock::new(0, drift);
            let wanted = clock.now(5 * SECOND).monotonic + Duration::from_millis(1500);
            let at = clock.when(wanted, 5 * SECOND);
            assert!(clock.now(at).monotonic >= wanted);
            assert!(clock.now(at - MILLISECOND).monotonic < wanted);
        }
    }
}
