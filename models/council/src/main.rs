//! Model of how the cluster document is decided (`docs/semantics.md` section 8): document n+1 is
//! the decision of its own single-decree Paxos instance among the council that document n names.
//!
//! Read in this order: `state`, `actions`, `properties`, `mutants`, `worlds`. `cargo run --release
//! -p council -- large` explores what is too large for the tests.
//!
//! **Never:** a rule of the text that is only implied here, or a step that the text does not allow.

#![forbid(unsafe_code)]

mod actions;
mod council;
mod mutants;
mod properties;
mod state;
mod world;
mod worlds;

use std::process::ExitCode;

fn main() -> ExitCode {
    explorer::suite::run_from_command_line(&worlds::cases())
}

#[cfg(test)]
mod tests {
    use super::worlds::cases;
    use explorer::suite::{Group, assert_group};

    #[test]
    fn small_worlds_keep_every_promise() {
        assert_group(&cases(), Group::Small);
    }

    #[test]
    fn every_broken_rule_is_noticed() {
        assert_group(&cases(), Group::Mutant);
        assert_group(&cases(), Group::WalkedMutant);
    }
}
