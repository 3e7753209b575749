//! A line that says how far a bench is, on a terminal.
//!
//! **Never:** anything where standard error is no terminal.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Back to the start of the line, and clears it.
const CLEAR: &str = "\r\x1b[K";

/// The line.
pub(super) struct Progress {
    shown: bool,
    whole: Duration,
    last: (Duration, u64),
}

impl Progress {
    /// A line for something that takes `whole`.
    pub(super) fn new(whole: Duration) -> Self {
        Self { shown: io::stderr().is_terminal(), whole, last: (Duration::ZERO, 0) }
    }

    /// Shows how far it is, and the rate since the last time.
    pub(super) fn show(&mut self, elapsed: Duration, requests: u64, errors: u64) {
        let (before, counted) = std::mem::replace(&mut self.last, (elapsed, requests));
        let seconds = elapsed.saturating_sub(before).as_secs_f64();
        if !self.shown || seconds == 0.0 {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = requests.saturating_sub(counted) as f64 / seconds;
        let line = format!(
            "{CLEAR}{:.0} s of {:.0} s: {rate:.0} requests/s, {errors} errors",
            elapsed.as_secs_f64(),
            self.whole.as_secs_f64(),
        );
        self.write(&line);
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if self.shown {
            self.write(CLEAR);
        }
    }

    fn write(&mut self, text: &str) {
        let mut stderr = io::stderr();
        let written = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
        // Nobody listens any more.
        self.shown = written.is_ok();
    }
}
