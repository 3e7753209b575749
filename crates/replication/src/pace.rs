//! How fast hints go to one target: a window of outstanding ones that grows while answers come as
//! quickly as they ever did, shrinks while they do not, is halved when the target cannot keep up, and
//! pauses.
//!
//! A low extra delay background transport (LEDBAT, RFC 6817) in miniature: whoever shares disks and
//! links with the hints is served first. **Never** lets memory grow with the number of hints or the size
//! of their values.

use core::time::Duration;

/// Hints outstanding at first and at most, and how many delay alone does not reduce.
const FIRST_WINDOW: usize = 16;
const MAX_WINDOW: usize = 512;
const MIN_WINDOW: usize = 8;
/// What an answer may take beyond twice the quickest one before the hints are in somebody's way.
const TARGET_DELAY: Duration = Duration::from_millis(1);
/// Bytes outstanding, and bytes of one read from the store.
pub(crate) const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Most hints of one read.
pub(crate) const MAX_READ: usize = 256;

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
    /// What the quickest answer took; none before the first.
    quickest: Option<Duration>,
    paused_until: Option<Duration>,
}

impl Pace {
    pub(crate) fn new() -> Self {
        let (quickest, paused_until) = (None, None);
        Self { window: FIRST_WINDOW, outstanding: 0, bytes: 0, quickest, paused_until }
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
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

    /// One was stored durably; its answer took so long.
    pub(crate) fn delivered(&mut self, bytes: usize, took: Duration) {
        self.end(bytes);
        let quickest = self.quickest.map_or(took, |known| known.min(took));
        self.quickest = Some(quickest);
        if took <= quickest * 2 + TARGET_DELAY {
            self.window = (self.window + 1).min(MAX_WINDOW);
        } else if self.window > MIN_WINDOW {
            self.window -= 1;
        }
    }

    /// Halves the window, once per pause.
    pub(crate) fn failed(&mut self, now: Duration, bytes: usize, pause: Pause) {
        self.end(bytes);
        if !self.pauses(now) {
            self.window = (self.window / 2).max(1);
        }
        self.pause(now, pause);
    }

    /// One has ended, which says nothing of how fast the other end is.
    pub(crate) fn ended(&mut self, bytes: usize) {
        self.end(bytes);
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
        pace.delivered(1, Duration::ZERO);
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
    }

    #[test]
    fn hints_make_room_where_answers_take_longer_than_they_did() {
        let mut pace = Pace::new();
        let mut deliver = |took| {
            for _ in 0..100 {
                pace.send(1);
                pace.delivered(1, took);
            }
            pace.window
        };
        assert_eq!(deliver(Duration::from_micros(500)), FIRST_WINDOW + 100);
        assert_eq!(deliver(2 * Duration::from_micros(500) + TARGET_DELAY), FIRST_WINDOW + 200);
        deliver(Duration::from_millis(4));
        deliver(Duration::from_millis(4));
        assert_eq!(deliver(Duration::from_millis(4)), MIN_WINDOW, "and no further");
    }
}
