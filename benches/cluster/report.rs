//! What a load saw.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Answers, refusals and latencies of one load.
pub(crate) struct Report {
    pub(crate) refused: u64,
    /// Gets that answered below what was acknowledged before they began.
    pub(crate) stale: u64,
    /// The first refusal, for the reader.
    pub(crate) reason: Option<String>,
    /// In microseconds.
    pub(crate) latencies: Histogram<u64>,
    pub(crate) elapsed: Duration,
}

impl Report {
    pub(crate) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, 120_000_000, 3).expect("good bounds");
        Self { refused: 0, stale: 0, reason: None, latencies, elapsed: Duration::ZERO }
    }

    /// Takes what a load behind this one saw.
    pub(crate) fn add(&mut self, next: &Self) {
        self.refused += next.refused;
        self.stale += next.stale;
        self.reason = self.reason.take().or_else(|| next.reason.clone());
        self.latencies.add(&next.latencies).expect("the same bounds");
        self.elapsed += next.elapsed;
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(crate) fn answered(&self) -> f64 {
        self.latencies.len() as f64
    }

    /// In milliseconds.
    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    fn quantile(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>7.0}/s  p50 {:.2}  p99 {:.2}  p99.9 {:.2}  most {:.1} ms  refused {}",
            self.answered() / self.elapsed.as_secs_f64(),
            self.quantile(0.5),
            self.p99(),
            self.quantile(0.999),
            self.quantile(1.0),
            self.refused,
        )?;
        if self.stale > 0 {
            write!(f, "  STALE {}", self.stale)?;
        }
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}
