//! Worlds keep every promise, a seed names one world, and the worlds are interesting.

use paravon_sim::{Options, Printing, Scenario, run_scenario, run_seed, run_seeds};

#[test]
fn two_hundred_worlds_keep_every_promise_and_see_everything_happen() {
    let mut summary = run_seeds(0..200, Options { twice_every: 0, ..Options::default() }, 1);
    if let Some(outcome) = summary.violated.first() {
        panic!("seed {}: {:?}", outcome.seed, outcome.violation);
    }
    // Few drawn worlds lose a majority for good, or a file, or last for as long as marks do, and none sees
    // everything that may follow.
    let made_for_it = [
        Scenario::Rescue,
        Scenario::FilesLost,
        Scenario::LateWrites,
        Scenario::LateHints,
        Scenario::LonelyDeletes,
        Scenario::MarksAndRot,
    ];
    for scenario in made_for_it {
        let options = Options { scenario: Some(scenario), twice_every: 0, ..Options::default() };
        let made = run_seeds(0..40, options, 1);
        assert_eq!(made.violated, []);
        summary.stats.add(&made.stats);
    }
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

/// Each is a moment that few worlds come to.
const MOMENTS: [(&str, Option<Scenario>, &[u64]); 9] = [
    (
        "a disk is lost after it has answered a read, and before the read is",
        None,
        &[21_703, 31_034, 66_428, 77_080, 87_996],
    ),
    ("a member leaves while every member serves once more", None, &[27_269, 81_652]),
    (
        "a newcomer is asked before it has merged what lies below a claimed floor",
        None,
        &[70_874, 144_853],
    ),
    ("a crash keeps that marks were given up, and what they were of", None, &[108_866]),
    ("all die who know that a node has joined", None, &[104_651]),
    ("the only one that took a write is killed for good", None, &[83_213]),
    ("members join while much is lost and written", None, &[151_531]),
    ("a key is healed with an absence beside another", Some(Scenario::MarksAndRot), &[7, 211]),
    ("a majority is lost while a node joins", Some(Scenario::Rescue), &[46, 153]),
];

#[test]
fn worlds_with_rare_moments_keep_every_promise() {
    let operations = Options::default().operations;
    for (moment, scenario, seeds) in MOMENTS {
        for &seed in seeds {
            let outcome = match scenario {
                Some(scenario) => run_scenario(scenario, seed, operations, Printing::Off),
                None => run_seed(seed, operations, Printing::Off),
            };
            assert_eq!(outcome.violation, None, "{moment}, seed {seed}");
        }
    }
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

/// Both survivors of a set stay its members, and one of them alone holds what is read next.
#[test]
fn survivors_of_one_set_take_over_from_each_other() {
    let outcome = run_scenario(Scenario::Rescue, 222, 300, Printing::Off);
    assert_eq!(outcome.violation, None);
}
