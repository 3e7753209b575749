//! Every rule that is broken on purpose is noticed within a thousand worlds, by an invariant.
//!
//! One test, because the broken rule is one of the whole process.
#![cfg(feature = "mutants")]

use paravon_sim::{Mutant, Options, Scenario, choose_mutant, run_seeds};

/// Where a mutant's danger is rare among the drawn worlds, and which worlds were made for it.
fn worlds_for(mutant: Mutant) -> Option<Scenario> {
    match mutant {
        Mutant::ErrorIsAnswer => Some(Scenario::RefusedCopies),
        Mutant::OlderFenceAccepted => Some(Scenario::LateJoiners),
        Mutant::LogChecksumNotVerified => Some(Scenario::TornSyncs),
        _ => None,
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    let mut missed = Vec::new();
    for (name, mutant) in Mutant::ALL {
        choose_mutant(Some(mutant));
        let options =
            Options { scenario: worlds_for(mutant), twice_every: 0, ..Options::default() };
        let summary = run_seeds(0..1000, options, 1);
        choose_mutant(None);
        match summary.violated.first() {
            Some(outcome) => println!("{name}: seed {}, {:?}", outcome.seed, outcome.violation),
            None => missed.push(name),
        }
    }
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
