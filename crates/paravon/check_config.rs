//! `paravon check-config FILE`: everything that can be known without a start.

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use paravon_node::config::Config;

use crate::Failure;

pub(crate) fn run(file: &Path) -> Result<(), Failure> {
    let loaded = Config::load(file, std::env::vars_os())
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let report = loaded.config.check(SystemTime::now());
    for warning in loaded.warnings.iter().chain(&report.warnings) {
        eprintln!("warning: {warning}");
    }
    if report.problems.is_empty() {
        // A reader that has gone has seen what it wanted.
        let _ = writeln!(io::stdout(), "{}: in order", file.display());
        return Ok(());
    }
    let lines: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    Err(Failure::Usage(lines.join("\n")))
}
