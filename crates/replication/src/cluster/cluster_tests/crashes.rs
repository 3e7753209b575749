//! Crashes at any moment: only what the disks hold goes on.

use core::time::Duration;

use alloc::vec::Vec;

use paravon_model::ClusterState;

use super::world::{World, machine, three};
use crate::cluster::event::OperatorRequest;
use crate::cluster::settings::ClusterPhase;
use crate::cluster::worlds::{name, settings_of};

#[test]
fn nodes_crash_at_any_moment_of_founding_and_joining() {
    for seed in 10..40 {
        let names = ["a", "b", "c"];
        let mut world = World::of(&names, seed);
        world.loss_percent = 10;
        for text in names {
            world.node_mut(text).settings.auto_join = true;
        }
        world.start_all();
        for _ in 0..12 {
            let victim = names[world.random.below(3)];
            let pause = world.random.up_to(Duration::from_millis(700));
            world.run(pause);
            world.crash(victim);
            world.run(pause / 4);
            world.start(victim);
        }
        world.loss_percent = 0;
        world.run_seconds(30);
        world.assert_all_serve(3);
        assert_eq!(world.clusters(), 1, "seed {seed}");
    }
}

#[test]
fn nodes_crash_at_any_moment_of_growing_and_shrinking() {
    for seed in 0..20 {
        let mut world = three(seed);
        let names = ["a", "b", "c", "d", "e"];
        for text in ["d", "e"] {
            let mut settings = settings_of(text, &["a", "b", "c"]);
            settings.auto_join = true;
            world.add(text, settings);
            world.start(text);
        }
        world.run_seconds(1);
        world.loss_percent = 10;
        world.ask("b", 1, OperatorRequest::Drain { node: name("c") });
        for _ in 0..12 {
            let victim = names[world.random.below(5)];
            let pause = world.random.up_to(Duration::from_millis(900));
            world.run(pause);
            world.crash(victim);
            world.run(pause / 4);
            world.start(victim);
        }
        world.loss_percent = 0;
        world.run_seconds(20);
        if world.phase("c") == ClusterPhase::Serving {
            world.ask("b", 2, OperatorRequest::Drain { node: name("c") });
        }
        world.run_seconds(20);
        world.assert_serve(&["a", "b", "d", "e"]);
        assert_eq!(world.phase("c"), ClusterPhase::NotMember, "seed {seed}");
    }
}

#[test]
fn a_change_goes_on_after_a_crash_of_all_between_any_two_steps() {
    for steps in (1..=60).step_by(3) {
        let mut world = three(steps);
        world.add("d", settings_of("d", &["a", "b", "c"]));
        world.start("d");
        world.run_seconds(2);
        world.join("d", 1);
        world.run(Duration::from_millis(40 * u64::try_from(steps).unwrap()));
        for text in ["a", "b", "c", "d"] {
            world.crash(text);
        }
        world.start_all();
        world.run_seconds(4);
        world.join("d", 2);
        world.run_seconds(10);
        world.assert_all_serve(4);
    }
}

/// What an operator might ask for at any moment.
fn any_request(world: &mut World, names: &[&str]) -> OperatorRequest {
    let node = name(names[world.random.below(names.len())]);
    match world.random.below(7) {
        0 | 1 => OperatorRequest::Join,
        2 => OperatorRequest::Drain { node },
        3 => OperatorRequest::Remove { node },
        4 => OperatorRequest::Replace { node },
        5 => OperatorRequest::Cancel,
        _ => OperatorRequest::SetReplication { factor: [1, 2, 3, 5][world.random.below(4)] },
    }
}

/// A member of three or more loses its disk, and comes back in its own place; unless it had the only
/// copies, which are for a rescue to give up.
fn lose_a_disk(world: &mut World, names: &[&str]) {
    let serves = |text: &&&str| world.phase(text) == ClusterPhase::Serving;
    let serving: Vec<&str> = names.iter().filter(serves).copied().collect();
    if serving.len() < 3 || world.document(serving[0]).current.copies() < 2 {
        return;
    }
    let victim = serving[world.random.below(serving.len())];
    world.crash(victim);
    let node = world.node_mut(victim);
    (node.disk, node.settings.start) = (ClusterState::new(name(victim)), 0);
    world.run_seconds(4);
    world.start(victim);
    world.run_seconds(3);
    world.ask(victim, 100, OperatorRequest::Replace { node: name(victim) });
    world.run_seconds(15);
}

/// Every node that serves knows one stable document, and all its members serve.
fn assert_at_rest(world: &World, names: &[&str], seed: u128) {
    let serves = |text: &&&str| world.phase(text) == ClusterPhase::Serving;
    let serving: Vec<&&str> = names.iter().filter(serves).collect();
    let first = serving.first().unwrap_or_else(|| panic!("nobody serves, seed {seed}"));
    let document = world.document(first);
    assert_eq!(document.joint(), None, "seed {seed}");
    for text in &serving {
        assert_eq!(world.document(text).version, document.version, "{text}, seed {seed}");
        let stored = machine(world, text).stored_fence();
        assert_eq!(stored, Some(document.fence()), "{text}, seed {seed}");
    }
    for member in &document.current.members {
        let is_serving = serving.iter().any(|text| name(text) == member.node_id);
        assert!(is_serving, "{}, seed {seed}", member.node_id);
    }
}

#[test]
fn whatever_is_asked_for_and_whoever_crashes_the_members_agree_and_come_to_rest() {
    let names = ["a", "b", "c", "d", "e"];
    for seed in 300..315 {
        let mut world = three(seed);
        for text in ["d", "e"] {
            world.add(text, settings_of(text, &["a", "b", "c"]));
        }
        for text in names {
            if ["a", "b", "c"].contains(&text) {
                world.crash(text);
            }
            world.node_mut(text).settings.join_timeout = Duration::from_secs(5);
            world.start(text);
            world.run_seconds(1);
        }
        for round in 0..25 {
            world.loss_percent = world.random.below(3) * 10;
            let at = names[world.random.below(5)];
            let request = any_request(&mut world, &names);
            world.ask(at, round, request);
            let pause = world.random.up_to(Duration::from_millis(1500));
            world.run(pause);
            let victim = names[world.random.below(5)];
            world.crash(victim);
            world.run(pause);
            world.start(victim);
        }
        world.loss_percent = 0;
        world.run_seconds(30);
        for text in names {
            world.ask(text, 99, OperatorRequest::Cancel);
            world.run_seconds(8);
        }
        assert_at_rest(&world, &names, seed);
        lose_a_disk(&mut world, &names);
        assert_at_rest(&world, &names, seed);
        assert_eq!(world.clusters(), 1, "seed {seed}");
    }
}
