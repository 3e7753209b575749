//! Model of `docs/semantics.md` section 9 in one fixed set of replicas: three rising marks, with
//! reads, second stamps, damaged keys and their healing, lost marks, and expiry.
//!
//! Read in this order: `state`, `replica`, `marks`, `pulls`, `healing`, `reads`, `puts` (what
//! happens), `actions` (when it may), `properties`, `progress` and `settling` (what must not),
//! `mutants` and `worlds`. `cargo run --release -p damage -- large` explores what is too large for
//! the tests.
//!
//! **Never:** a rule of the text that is only implied here, or a step that the text does not allow.

#![forbid(unsafe_code)]

mod actions;
mod damage;
mod healing;
mod marks;
mod mutants;
mod progress;
mod properties;
mod pulls;
mod puts;
mod reads;
mod replica;
mod settling;
mod state;
mod world;
mod worlds;

use std::process::ExitCode;

fn main() -> ExitCode {
    explorer::suite::run_from_command_line(&worlds::cases())
}

#[cfg(test)]
mod tests {
    use super::damage::Damage;
    use super::mutants;
    use super::worlds::cases;
    use explorer::suite::{Case, Group, assert_group};

    #[test]
    fn small_worlds_keep_every_promise() {
        assert_group(&cases(), Group::Small);
    }

    #[test]
    fn every_broken_rule_is_noticed() {
        assert_group(&cases(), Group::Mutant);
    }

    #[test]
    fn it_is_the_broken_rule_that_is_noticed() {
        for (mutant, _, world) in mutants::table() {
            let name = format!("the world of {mutant:?}, whole");
            let model = Damage::new(world);
            Case { name, group: Group::Small, model, expected: None }.assert();
        }
    }
}
