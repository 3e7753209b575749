//! `paravon rescue`: says what is lost, asks, and writes the document of the members that are left.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use paravon_node::config::Config;
use paravon_node::{Rescue, RescueError, RescueReport};

use crate::Failure;
use crate::args::RescueArgs;

pub(crate) fn run(args: &RescueArgs) -> Result<(), Failure> {
    let loaded = Config::load(&args.config, std::env::vars_os())
        .map_err(|error| Failure::Usage(error.to_string()))?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let rescue = Rescue::open(&loaded.config, &args.survivors).map_err(failure)?;
    print(&rescue.report());
    if !args.yes && !is_confirmed() {
        rescue.close().map_err(failure)?;
        return Err(Failure::Usage(
            "nothing was changed; confirm with yes, or give --yes".to_owned(),
        ));
    }
    rescue.write().map_err(failure)?;
    eprintln!(
        "rescued: start this node, then the other survivors with their data as it is; give the lost \
         ones an empty data directory before they come again"
    );
    Ok(())
}

fn failure(error: RescueError) -> Failure {
    if error.is_usage() {
        Failure::Usage(error.to_string())
    } else {
        Failure::Node(error.to_string())
    }
}

fn print(report: &RescueReport) {
    let names = |names: &[String]| {
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    };
    println!("survivors: {}", names(&report.survivors));
    println!("lost for good: {}", names(&report.lost));
    if !report.newcomers.is_empty() {
        let newcomers = names(&report.newcomers);
        println!("not taken in, because the change that was under way is given up: {newcomers}");
    }
    if !report.stop_first.is_empty() {
        let others = names(&report.stop_first);
        println!(
            "most of those who decide survive: before you confirm, stop {others} as well, or they \
             decide something that the rescue does not know of, and refuse it"
        );
    }
    println!("partitions that have lost a majority of their copies: {}", ranges(&report.minority));
    println!("partitions that have lost every copy: {}", ranges(&report.gone));
}

/// Numbers in order, rows of them as one range.
fn ranges(partitions: &[u32]) -> String {
    let mut rows: Vec<(u32, u32)> = Vec::new();
    for &partition in partitions {
        match rows.last_mut() {
            Some((_, last)) if *last + 1 == partition => *last = partition,
            _ => rows.push((partition, partition)),
        }
    }
    let row = |&(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    let shown = if rows.is_empty() { String::new() } else { format!(": {}", rows.join(" ")) };
    format!("{}{shown}", partitions.len())
}

fn is_confirmed() -> bool {
    if !stdin().is_terminal() {
        return false;
    }
    eprint!("what is lost does not come back. Type yes to rescue the cluster: ");
    // The prompt is for the eye alone.
    let _ = stderr().flush();
    let mut line = String::new();
    stdin().lock().read_line(&mut line).is_ok() && line.trim() == "yes"
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn neighbours_are_one_range() {
        assert_eq!(ranges(&[0, 1, 2, 7, 9, 10]), "6: 0-2 7 9-10");
        assert_eq!(ranges(&[]), "0");
    }
}
