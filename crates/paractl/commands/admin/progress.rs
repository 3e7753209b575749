//! How far a change of the members is, on standard error: one line that changes on a terminal, else a
//! plain line every few seconds.
//!
//! **Never:** prints data, or a line that says nothing new.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Back to the start of the line, and clears it.
const CLEAR: &str = "\r\x1b[K";

/// Cells of the bar.
const WIDTH: u64 = 24;

/// How often a line is printed where there is no terminal.
const PLAIN_PAUSE: Duration = Duration::from_secs(5);

/// How much is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// What it is in: `pending`, `running`.
    pub(super) state: String,
    /// Partitions to take over.
    pub(super) partitions: u64,
    /// Those taken over.
    pub(super) complete: u64,
    /// Records moved.
    pub(super) records: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

/// The line.
pub(super) struct Progress {
    begun: Instant,
    on_terminal: bool,
    /// When a plain line was printed last, or could have been.
    printed: Instant,
    last: Option<Done>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let on_terminal = io::stderr().is_terminal();
        let begun = Instant::now();
        Self { begun, on_terminal, printed: begun, last: None }
    }

    /// Shows how much is done; whether that is more than before.
    pub(super) fn show(&mut self, done: &Done) -> bool {
        let is_news = self.last.as_ref() != Some(done);
        if is_news {
            self.last = Some(done.clone());
        }
        let line = line(done, self.begun.elapsed());
        if self.on_terminal {
            write(&format!("{CLEAR}{} {line}", bar(done)));
        } else if is_news && self.printed.elapsed() >= PLAIN_PAUSE {
            self.printed = Instant::now();
            write(&format!("{line}\n"));
        }
        is_news
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        if self.on_terminal && self.last.is_some() {
            write(CLEAR);
        }
    }
}

/// Where standard error is closed, nobody listens, and nothing is lost.
fn write(text: &str) {
    let mut stderr = io::stderr();
    let _nobody_listens = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn bar(done: &Done) -> String {
    let filled = match done.partitions {
        0 => 0,
        all => done.complete.min(all) * WIDTH / all,
    };
    let cell = |at| if at < filled { '#' } else { '.' };
    format!("[{}]", (0..WIDTH).map(cell).collect::<String>())
}

fn line(done: &Done, elapsed: Duration) -> String {
    let Done { state, partitions, complete, records, bytes } = done;
    let partitions = format!("{state}: {complete} of {partitions} partitions");
    if *records == 0 {
        return partitions;
    }
    let rate = bytes / elapsed.as_secs().max(1);
    format!("{partitions}, {records} records, {}, {}/s", shown_bytes(*bytes), shown_bytes(rate))
}

/// Bytes for people, in powers of 1000.
pub(super) fn shown_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let done = Done {
            state: "running".to_owned(),
            partitions: 200,
            complete: 50,
            records: 7,
            bytes: 30_000_000,
        };
        let expected = "running: 50 of 200 partitions, 7 records, 30.0 MB, 3.0 MB/s";
        assert_eq!(line(&done, Duration::from_secs(10)), expected);
        let none_yet = Done { records: 0, ..done.clone() };
        assert_eq!(line(&none_yet, Duration::ZERO), "running: 50 of 200 partitions");
        assert_eq!(bar(&done), "[######..................]");
        assert_eq!(bar(&Done::default()), "[........................]");
    }

    #[test]
    fn bytes_are_shown_with_the_unit_that_fits() {
        let shown = [0, 999, 1000, 999_949, 1_000_000, 2_500_000_000].map(shown_bytes);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "2.5 GB"]);
        assert_eq!(shown_bytes(u64::MAX), "18446.7 PB");
    }
}
