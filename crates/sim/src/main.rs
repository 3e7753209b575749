//! `paravon-sim`: runs worlds by seed and says which promise was not kept.

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use paravon_sim::{Options, Outcome, Printing, Scenario, run_scenario, run_seed, run_seeds};

/// Simulates whole clusters, each from one seed, and checks every promise in each.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Seeds to run, as FIRST..END.
    #[arg(long, value_parser = parse_range, default_value = "0..1000", conflicts_with = "seed")]
    seeds: Range<u64>,
    /// Replays one seed and prints what happens in it.
    #[arg(long)]
    seed: Option<u64>,
    /// Operations of clients in every world.
    #[arg(long, default_value_t = Options::default().operations)]
    operations: u32,
    /// Workers; the number of cores where absent.
    #[arg(long)]
    jobs: Option<usize>,
    /// Runs worlds made for one danger instead: far-coordinator, restart-within-block, ahead-replica,
    /// equal-request-ids, founder-without-disk, old-disk, half-done-puts, refused-copies,
    /// join-races-first-write, torn-syncs; and with members that change: grow-one-to-five,
    /// shrink-three-to-one, five-to-three-one-cut-off, chained-changes, cancel-and-again,
    /// joiner-killed-one-to-two, disk-lost-replace, old-disk-replace, stale-coordinator,
    /// copies-down-and-up, rescue; and with replicas that differ: long-absence, hints-lost, rot,
    /// rot-under-way, files-lost, deletes, deletes-slow-member, deletes-and-changes, deletes-and-rot,
    /// late-writes, lonely-deletes, missed-deletes, late-hints, stalled-stores, slow-reads,
    /// leavers-come-back, inherited-hints, marks-and-changes, marks-and-rot.
    #[arg(long, value_parser = parse_scenario)]
    scenario: Option<Scenario>,
    /// Prints how often everything came about.
    #[arg(long)]
    stats: bool,
    /// With `--seed`: prints only its plan and its end.
    #[arg(long)]
    quiet: bool,
    /// Stops after so many violations.
    #[arg(long, default_value_t = 10)]
    most: usize,
    /// A rule to break.
    #[cfg(feature = "mutants")]
    #[arg(long)]
    mutant: Option<String>,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let numbers = text.split_once("..").map(|(first, end)| (first.parse(), end.parse()));
    match numbers {
        Some((Ok(first), Ok(end))) if first < end => Ok(first..end),
        _ => Err("expected two numbers like 0..1000, the first one smaller".to_owned()),
    }
}

fn parse_scenario(text: &str) -> Result<Scenario, String> {
    Scenario::from_name(text).ok_or_else(|| "there is no such scenario".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    #[cfg(feature = "mutants")]
    if let Some(name) = &arguments.mutant {
        let Some(mutant) = paravon_sim::Mutant::from_name(name) else {
            eprintln!("there is no mutant {name}");
            return ExitCode::from(2);
        };
        paravon_sim::choose_mutant(Some(mutant));
    }
    match arguments.seed {
        Some(seed) => replay(seed, &arguments),
        None => run(&arguments),
    }
}

fn replay(seed: u64, arguments: &Arguments) -> ExitCode {
    let printing = if arguments.quiet { Printing::Off } else { Printing::On };
    let outcome = match arguments.scenario {
        Some(scenario) => run_scenario(scenario, seed, arguments.operations, printing),
        None => run_seed(seed, arguments.operations, printing),
    };
    if arguments.stats {
        print!("{}", outcome.stats);
    }
    println!("seed {seed}: trace {:016x}", outcome.hash);
    report(&outcome, arguments)
}

fn run(arguments: &Arguments) -> ExitCode {
    let defaults = Options::default();
    let jobs = arguments.jobs.unwrap_or(defaults.jobs);
    let options = Options {
        operations: arguments.operations,
        jobs,
        scenario: arguments.scenario,
        ..defaults
    };
    let begun = Instant::now();
    let summary = run_seeds(arguments.seeds.clone(), options, arguments.most);
    let seconds = begun.elapsed().as_secs_f64().max(1e-9);
    if arguments.stats {
        print!("{}", summary.stats);
    }
    let mut code = ExitCode::SUCCESS;
    for outcome in &summary.violated {
        code = report(outcome, arguments);
    }
    let (worlds, events) = (summary.stats.worlds as f64, summary.stats.events as f64);
    println!(
        "{worlds} worlds in {seconds:.1} s: {:.0} worlds/s, {:.0} events/s, {} violations",
        worlds / seconds,
        events / seconds,
        summary.violated.len()
    );
    code
}

fn report(outcome: &Outcome, arguments: &Arguments) -> ExitCode {
    let Some(violation) = &outcome.violation else { return ExitCode::SUCCESS };
    println!("{violation}");
    let scenario = |&(name, known): &(&str, Scenario)| {
        (Some(known) == arguments.scenario).then(|| format!(" --scenario {name}"))
    };
    let scenario = Scenario::ALL.iter().find_map(scenario).unwrap_or_default();
    println!(
        "  replay it: paravon-sim --seed {} --operations {}{scenario}",
        outcome.seed, arguments.operations
    );
    ExitCode::FAILURE
}
