//! Numbers as they are printed: medians with their spread, latencies, memory and file sizes.

use std::path::Path;
use std::time::Duration;

/// Puts per second, one sample per 250 ms.
#[derive(Default)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl Samples {
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len().max(1) as f64
    }

    fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(rank(sorted.len(), q)).copied().unwrap_or_default()
    }
}

/// The place of a quantile among so many sorted samples.
fn rank(samples: usize, q: f64) -> usize {
    let thousandths = (0..=1000).take_while(|&t: &usize| t as f64 <= q * 1000.0).last();
    samples.saturating_sub(1) * thousandths.unwrap_or(0) / 1000
}

pub(crate) fn print_rate(name: &str, samples: &Samples) {
    println!(
        "{name}: median {:.0}/s, mean {:.0}/s, tenth to ninth decile {:.0} to {:.0}",
        samples.median(),
        samples.mean(),
        samples.quantile(0.1),
        samples.quantile(0.9)
    );
}

pub(crate) fn print_latency(name: &str, samples: &[Duration]) {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let at = |q: f64| sorted.get(rank(sorted.len(), q)).map_or(0.0, |d| d.as_secs_f64() * 1e3);
    println!(
        "{name}: p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms of {}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        sorted.len()
    );
}

/// Resident memory of this process.
pub(crate) fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() >> 10
}

/// CPU time of this process, in hundredths of a second as Linux counts them.
pub(crate) fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything: the 12th and 13th field are of the user and the system.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// Space that the redb files of a data directory take on the disk.
pub(crate) fn redb_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(path.join("data")).expect("a data directory");
    let files = entries.filter_map(Result::ok);
    let redb = files.filter(|file| file.path().extension().is_some_and(|e| e == "redb"));
    redb.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}
