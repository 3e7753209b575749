//! Model of `docs/semantics.md` sections 2 to 6: stamps and second stamps, quorums, write-back,
//! hints and outcomes, of one key in one layout.
//!
//! Read in this order: `state`, `replica`, `coordinator` (what happens), `actions` (when it may),
//! `properties` (what must not), `mutants` and `worlds`. `cargo run --release -p versions -- large`
//! explores what is too large for the tests.
//!
//! **Never:** a rule of the text that is only implied here, or a step that the text does not allow.

#![forbid(unsafe_code)]

mod actions;
mod coordinator;
mod history;
mod mutants;
mod progress;
mod properties;
mod replica;
mod state;
mod versions;
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
    }
}
