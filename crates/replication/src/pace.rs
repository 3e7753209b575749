//! How fast hints go to one target: a window of outstanding ones that grows by one per delivered hint
//! and is halved when the target cannot keep up, and pauses.
//!
//! Additive increase and multiplicative decrease after Chiu and Jain (1989). **Never** lets memory
//! grow with the number of hints or the size of their values.

use core::time::Duration;

/// Hints outstanding at first and at most.
const FIRST_WINDOW: usize = 16;
const MAX_WINDOW: usize = 512;
/// Bytes outstanding, and bytes of one read from the store.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Most hints of one read.
const MAX_READ: usize = 256;

/// How long a failure holds the target back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// It has too much to do.
    Short,
    /// It does not answer, cannot store, or knows another layout.
    Long,
}

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_millis(500);

/// The pace of one target.
#[derive(Debug)]
pub(crate) struct Pace {
    window: usize,
    outstanding: usize,
    bytes: usize,
    /// The largest mean weight of a hint in the reads so far, in bytes.
    mean: usize,
    paused_until: Option<Duration>,
}

impl Pace {
    pub(crate) fn new() -> Self {
        let (outstanding, bytes, paused_until) = (0, 0, None);
        Self {
            window: FIRST_WINDOW,
            outstanding,
            bytes,
            mean: MAX_BYTES / FIRST_WINDOW,
            paused_until,
        }
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// How many hints to read at once, by what the last ones weighed.
    pub(crate) fn read_limit(&self) -> usize {
        (MAX_BYTES / self.mean.max(1)).clamp(1, MAX_READ)
    }

    /// Hints were read.
    pub(crate) fn read(&mut self, bytes: usize, count: usize) {
        if let Some(mean) = bytes.checked_div(count) {
            self.mean = mean;
        }
    }

    /// Counts one more as outstanding; none where the window is full.
    pub(crate) fn send(&mut self, bytes: usize) -> Option<()> {
        let room = self.outstanding < self.window && self.bytes + bytes <= MAX_BYTES;
        if !room && self.outstanding > 0 {
            return None;
        }
        self.outstanding += 1;
        self.bytes += bytes;
        Some(())
    }

    pub(crate) fn delivered(&mut self, bytes: usize) {
        self.end(bytes);
        self.window = (self.window + 1).min(MAX_WINDOW);
    }

    /// Halves the window, once per pause.
    pub(crate) fn failed(&mut self, now: Duration, bytes: usize, pause: Pause) {
        self.end(bytes);
        if !self.pauses(now) {
            self.window = (self.window / 2).max(1);
        }
        self.pause(now, pause);
    }

    /// Nothing is outstanding any more, whatever became of it.
    pub(crate) fn give_up(&mut self) {
        (self.outstanding, self.bytes) = (0, 0);
    }

    pub(crate) fn pauses(&self, now: Duration) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Until when it pauses, or paused.
    pub(crate) fn paused_until(&self) -> Option<Duration> {
        self.paused_until
    }

    pub(crate) fn pause(&mut self, now: Duration, pause: Pause) {
        let until = now + if pause == Pause::Short { SHORT } else { LONG };
        self.pause_until(self.paused_until.map_or(until, |known| known.max(until)));
    }

    pub(crate) fn pause_until(&mut self, until: Duration) {
        self.paused_until = Some(until);
    }

    /// A pause, if there is one, ends no later than this.
    pub(crate) fn pause_at_most(&mut self, until: Duration) {
        self.paused_until = Some(self.paused_until.map_or(until, |known| known.min(until)));
    }

    pub(crate) fn resume(&mut self) {
        self.paused_until = None;
    }

    fn end(&mut self, bytes: usize) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn the_window_grows_with_what_is_delivered_and_halves_once_per_pause() {
        let mut pace = Pace::new();
        (0..FIRST_WINDOW).for_each(|_| assert!(pace.send(1).is_some()));
        assert!(pace.send(1).is_none());
        pace.delivered(1);
        assert!(pace.send(1).is_some() && pace.send(1).is_some() && pace.send(1).is_none());
        pace.failed(NOW, 1, Pause::Short);
        pace.failed(NOW, 1, Pause::Short);
        assert_eq!((pace.window, pace.outstanding()), (8, 15));
        assert!(pace.pauses(NOW) && !pace.pauses(NOW + SHORT));
    }

    #[test]
    fn bytes_are_bounded_but_a_single_large_hint_passes() {
        let mut pace = Pace::new();
        assert!(pace.send(2 * MAX_BYTES).is_some());
        assert!(pace.send(1).is_none());
        pace.read(1000 * MAX_BYTES, 1000);
        assert_eq!(pace.read_limit(), 1);
        pace.read(100_000, 1000);
        assert_eq!(pace.read_limit(), MAX_READ);
    }
}
