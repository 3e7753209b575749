//! Runs worlds: one, or many seeds on all cores, the same seed twice where that is to be compared.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::oracle::Violation;
use crate::plan::{EngineKind, Plan};
use crate::queue::MICROSECOND;
use crate::scenario::Scenario;
use crate::stats::Stats;
use crate::trace::Printing;
use crate::world::World;

/// How worlds are run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Operations of clients in every world.
    pub operations: u32,
    /// Workers.
    pub jobs: usize,
    /// Run the worlds of this scenario instead of those that the seeds draw.
    pub scenario: Option<Scenario>,
    /// Of how many seeds one is run twice; none where zero.
    pub twice_every: u64,
}

impl Default for Options {
    fn default() -> Self {
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        Self { operations: 300, jobs, scenario: None, twice_every: 100 }
    }
}

/// What became of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// The hash of everything that happened.
    pub hash: u64,
    /// The first promise that was not kept.
    pub violation: Option<Violation>,
    /// What came about.
    pub stats: Stats,
}

/// What became of many worlds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// What came about, together.
    pub stats: Stats,
    /// Worlds in which a promise was not kept, by seed.
    pub violated: Vec<Outcome>,
}

/// Runs the world of a seed.
#[must_use]
pub fn run_seed(seed: u64, operations: u32, printing: Printing) -> Outcome {
    run_plan(Plan::draw(seed, operations), printing)
}

/// Runs the world of a scenario and a seed.
#[must_use]
pub fn run_scenario(scenario: Scenario, seed: u64, operations: u32, printing: Printing) -> Outcome {
    run_plan(scenario.plan(seed, operations), printing)
}

fn run_plan(plan: Plan, printing: Printing) -> Outcome {
    if printing == Printing::On {
        println!("{plan}");
    }
    let (seed, engine) = (plan.seed, plan.engine);
    let mut world = World::new(plan, printing);
    // A machine that panics breaks its own promise: the seed is reported like any other.
    let ran = panic::catch_unwind(AssertUnwindSafe(|| world.run()));
    if ran.is_err() && world.oracle.violation.is_none() {
        let what = "a machine panicked, see above".to_owned();
        let at_us = world.now / MICROSECOND;
        world.oracle.violation = Some(Violation { invariant: "NO_PANIC", what, at_us });
    }
    world.stats.disk_worlds = u64::from(engine == EngineKind::Disk);
    let hash = world.trace.hash();
    Outcome { seed, hash, violation: world.oracle.violation, stats: world.stats }
}

/// Runs the worlds of all `seeds`, and stops a little after `most` of them violated a promise.
#[must_use]
pub fn run_seeds(seeds: std::ops::Range<u64>, options: Options, most: usize) -> Summary {
    let next = AtomicU64::new(seeds.start);
    let summary = Mutex::new(Summary::default());
    let work = || {
        let mut own = Stats::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let outcome = run_compared(seed, options);
            own.add(&outcome.stats);
            if outcome.violation.is_some() {
                let mut summary = summary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                summary.violated.push(outcome);
                if summary.violated.len() >= most {
                    next.store(seeds.end, Ordering::Relaxed);
                }
            }
        }
        let mut summary = summary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        summary.stats.add(&own);
    };
    thread::scope(|scope| {
        for _ in 1..options.jobs.max(1) {
            scope.spawn(work);
        }
        work();
    });
    let mut summary = summary.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    summary.violated.sort_by_key(|outcome| outcome.seed);
    summary
}

/// A seed that gives two different worlds replays nothing.
fn run_compared(seed: u64, options: Options) -> Outcome {
    let run = || match options.scenario {
        Some(scenario) => run_scenario(scenario, seed, options.operations, Printing::Off),
        None => run_seed(seed, options.operations, Printing::Off),
    };
    let mut outcome = run();
    if options.twice_every > 0 && seed.is_multiple_of(options.twice_every) {
        let again = run();
        if again.hash != outcome.hash && outcome.violation.is_none() {
            let what = format!("trace {:016x}, then {:016x}", outcome.hash, again.hash);
            outcome.violation =
                Some(Violation { invariant: "SAME_SEED_SAME_WORLD", what, at_us: 0 });
        }
    }
    outcome
}
