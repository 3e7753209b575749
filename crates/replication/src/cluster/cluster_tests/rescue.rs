//! Losing a majority of the council for good, and going on.

use paravon_model::Phase;

use super::world::World;
use crate::cluster::worlds::name;
use crate::cluster::{HelloRefusal, rescue};

/// Five members, of which three are gone.
fn two_of_five(seed: u128) -> World {
    let names = ["a", "b", "c", "d", "e"];
    let mut world = World::of(&names, seed);
    world.start_all();
    world.run_seconds(3);
    for (token, text) in (1..).zip(&names[1..]) {
        world.join(text, token);
    }
    world.run_seconds(8);
    world.assert_all_serve(5);
    for text in ["c", "d", "e"] {
        world.crash(text);
    }
    world.run_seconds(5);
    world
}

fn rescue_a(world: &mut World) {
    world.crash("a");
    let disk = &mut world.node_mut("a").disk;
    *disk = rescue(disk, &[name("b")], 77).expect("the council is lost");
    world.start("a");
}

#[test]
fn the_others_that_are_left_hear_of_it_and_all_serve() {
    let mut world = two_of_five(1);
    rescue_a(&mut world);
    world.run_seconds(10);
    world.assert_serve(&["a", "b"]);
    assert_eq!(world.document("b").generation, 1);
}

#[test]
fn two_rescues_part_though_their_survivors_were_linked() {
    let mut world = two_of_five(4);
    for text in ["c", "d"] {
        world.start(text);
    }
    world.run_seconds(5);
    let are_linked =
        |world: &World, from: &str, to: &str| world.links.contains(&(name(from), name(to)));
    assert!(are_linked(&world, "b", "d") && are_linked(&world, "d", "b"));
    for text in ["a", "c"] {
        world.crash(text);
    }
    for (text, other, id) in [("a", "b", 77), ("c", "d", 88)] {
        let disk = &mut world.node_mut(text).disk;
        *disk = rescue(disk, &[name(other)], id).expect("three of five are lost");
    }
    world.start("a");
    world.start("c");
    world.run_seconds(10);
    world.assert_serve(&["a", "b"]);
    world.assert_serve(&["c", "d"]);
    for (from, to) in [("b", "d"), ("d", "b"), ("a", "d"), ("b", "c")] {
        assert!(!are_linked(&world, from, to), "{from} to {to}");
    }
}

#[test]
fn one_that_comes_back_later_hears_of_it_too() {
    let mut world = two_of_five(2);
    world.crash("b");
    rescue_a(&mut world);
    world.run_seconds(5);
    assert!(matches!(world.document("a").phase, Phase::Rescue(_)), "b has taken over nothing");
    world.start("b");
    world.run_seconds(10);
    world.assert_serve(&["a", "b"]);
}

#[test]
fn who_was_given_up_is_refused_and_changes_nothing() {
    let mut world = two_of_five(3);
    rescue_a(&mut world);
    world.run_seconds(10);
    world.start("d");
    world.run_seconds(10);
    world.assert_serve(&["a", "b"]);
    assert_eq!(world.document("d").generation, 0, "it is in nobody's way");
    let refused = |refusal: &HelloRefusal| matches!(refusal, HelloRefusal::OtherGeneration { .. });
    assert!(world.node("a").refusals.iter().any(refused));
}
