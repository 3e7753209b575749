//! Worlds keep every promise, a seed names one world, and the worlds are interesting.

use paravon_sim::{Options, Printing, Scenario, run_scenario, run_seed, run_seeds};

#[test]
fn two_hundred_worlds_keep_every_promise_and_see_everything_happen() {
    let mut summary = run_seeds(0..200, Options { twice_every: 0, ..Options::default() }, 1);
    if let Some(outcome) = summary.violated.first() {
        panic!("seed {}: {:?}", outcome.seed, outcome.violation);
    }
    // No drawn world loses a majority for good: one scenario does.
    let rescue = Options { scenario: Some(Scenario::Rescue), twice_every: 0, ..Options::default() };
    let rescued = run_seeds(0..40, rescue, 1);
    assert_eq!(rescued.violated, []);
    summary.stats.add(&rescued.stats);
    let unseen = |(_, count): &(&str, u64)| *count == 0;
    let unseen: Vec<_> = summary.stats.entries().into_iter().filter(unseen).collect();
    assert!(unseen.is_empty(), "never seen: {unseen:?}");
}

#[test]
fn a_seed_gives_the_same_world_twice_and_another_seed_another() {
    let run = |seed| run_seed(seed, 100, Printing::Off);
    for seed in [1, 2, 3] {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(1).hash, run(2).hash);
}

#[test]
fn the_dangers_that_worlds_are_made_for_are_survived() {
    for (name, scenario) in Scenario::ALL {
        for seed in 0..5 {
            let outcome = run_scenario(scenario, seed, 200, Printing::Off);
            assert_eq!(outcome.violation, None, "{name}, seed {seed}");
        }
    }
}
