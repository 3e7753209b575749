//! A deterministic simulator of whole clusters: the machines of `replication` and the stores of
//! `storage` in a world of lost messages, crashes and wrong clocks, all from one seed.
//!
//! Row 3, a test tool that ships. One thread per world, simulated time.
//!
//! ```text
//! plan (drawn from the seed) ──> World: queue of happenings ──> machines ──> effects ──> queue
//!                                             │ facts
//!                                             └──> trace hash, counters, invariants
//! ```
//!
//! **Architecture invariants:** nothing reads a clock or any randomness but the world's own generator,
//! so a seed replays a failure exactly; an invariant sees facts alone; nothing is formatted unless
//! somebody reads it.

#![forbid(unsafe_code)]

mod acceptance;
mod client;
mod clock;
mod council;
mod disaster;
mod engine;
mod fact;
mod faults;
mod floors;
mod happening;
mod invariants;
mod layouts;
mod life;
mod mishaps;
mod network;
mod node;
mod notes;
mod operator;
mod oracle;
mod phase;
mod plan;
mod queue;
mod random;
mod run;
mod scenario;
mod shards;
mod stats;
mod topology;
mod trace;
mod view;
mod world;

#[cfg(feature = "mutants")]
pub use mutant::{Mutant, choose_mutant};
pub use oracle::Violation;
pub use run::{Options, Outcome, Summary, run_scenario, run_seed, run_seeds};
pub use scenario::Scenario;
pub use stats::Stats;
pub use trace::Printing;

#[cfg(feature = "mutants")]
mod mutant {
    //! Breaks one rule in the whole process, wherever that rule stands.

    pub use paravon_replication::mutants::Mutant;

    /// Breaks this rule from now on; none for code as it ships.
    pub fn choose_mutant(mutant: Option<Mutant>) {
        paravon_replication::mutants::choose(mutant);
        let unverified = mutant == Some(Mutant::LogChecksumNotVerified);
        paravon_storage::mutants::skip_log_checksum(unverified);
    }
}
