//! Model of `docs/semantics.md` section 9, three marks by which tombstones go, together with section
//! 8: one partition and one key, while the layout changes, is cancelled and changes again.
//!
//! Read in this order: `state`, `documents`, `replica`, `marks`, `pulls`, `reads` (what happens),
//! `actions` (when it may), `properties` and `healing` (what must not), `mutants` and `worlds`. `cargo run --release -p deletes -- large` explores what is too large for the tests.
//!
//! **Never:** a rule of the text that is only implied here, or a step that the text does not allow.

#![forbid(unsafe_code)]

mod actions;
mod deletes;
mod documents;
mod healing;
mod marks;
mod mutants;
mod properties;
mod pulls;
mod reads;
mod replica;
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
    }
}
