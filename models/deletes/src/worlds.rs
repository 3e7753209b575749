//! The worlds, and the verdict that is expected of each.

use explorer::suite::{Case, Group};

use crate::deletes::Deletes;
use crate::mutants::{self, Mutant};
use crate::world::World;

/// All of them.
pub(crate) fn cases() -> Vec<Case<Deletes>> {
    let mut cases = Vec::new();
    let mut add = |group, world: World, expected| {
        let name = world.name();
        cases.push(Case { name, group, model: Deletes::new(world), expected });
    };
    small().into_iter().for_each(|world| add(Group::Small, world, None));
    careful().into_iter().for_each(|world| add(Group::Small, world, None));
    large().into_iter().for_each(|world| add(Group::Large, world, None));
    walks().into_iter().for_each(|world| add(Group::Walk, world, None));
    for (mutant, promise, world) in mutants::table() {
        let name = format!("{mutant:?}");
        let model = Deletes::new(world.broken_by(mutant));
        cases.push(Case { name, group: Group::Mutant, model, expected: Some(promise) });
    }
    cases
}

const GROW: &str = "A A-AB AB";
const GROW_AGAIN: &str = "A A-AB A A-AB AB";
const BACK: &str = "AB AB-A A A-AB AB";
const MOVE_AND_BACK: &str = "A A-B B B-A A";
const SHRINK: &str = "ABC ABC-AB AB";
const THREE_AND_BACK: &str = "ABC ABC-AB AB AB-ABC ABC";
const SWAP: &str = "AB AB-AC AC AC-AB AB";
const JOIN: &str = "ABC ABC-ABD ABD";

/// Acknowledged on all; closed above a delete that one of them has.
fn with_delete(documents: &str, writes: &str) -> World {
    World::new(documents, writes).acknowledged(1).closed(2).holding("A", 2)
}

fn small() -> Vec<World> {
    vec![
        World::new("AB", "pd").reads(2).restarts(1),
        World::new("AB", "pdp").slow_stores(),
        with_delete("ABC", "pd").reads(1),
        World::new(GROW, "pd").reads(1).restarts(1),
        World::new(GROW, "p").acknowledged(1).floor(1).reads(2).restarts(1),
        World::new(GROW, "pd").slow_stores().restarts(1),
        World::new(GROW, "pd").slow_storing().restarts(1),
        World::new(GROW, "ppd").slow_pulls(1),
        World::new(GROW, "pdp").closing_at(3).slow_pulls(1),
        World::new(GROW_AGAIN, "pd").holding("B", 1).restarts(1),
        World::new(BACK, "pd").reads(1),
        World::new(MOVE_AND_BACK, "pd").reads(1),
        with_delete(SHRINK, "pd"),
    ]
}

/// Rules that the text has for another reason than safety: broken, every promise holds.
fn careful() -> Vec<World> {
    let broken = |mutant| World::new(BACK, "pd").closing_at(1).slow_pulls(0).broken_by(mutant);
    vec![
        broken(Mutant::PulledAcrossFences),
        broken(Mutant::FollowsAtAnyTime),
        broken(Mutant::RaisesWhenFull),
    ]
}

fn large() -> Vec<World> {
    vec![
        World::new("ABC", "pd").reads(1),
        World::new("ABC", "pdp").slow_stores(),
        World::new(GROW, "pdp").closing_at(3).reads(1),
        World::new(GROW, "pd").reads(1).slow_stores().slow_storing().restarts(1),
        World::new(GROW_AGAIN, "pd").holding("B", 1).reads(1).restarts(1),
        World::new(GROW_AGAIN, "pdp").closing_at(3),
        World::new(BACK, "pd").reads(1).restarts(1),
        World::new(BACK, "pd").reads(1).slow_stores(),
        World::new(BACK, "pd").slow_storing().restarts(1),
        World::new(BACK, "pdp").closing_at(3),
        World::new(MOVE_AND_BACK, "pd").reads(1).restarts(1),
        with_delete(SHRINK, "pd").reads(1),
        with_delete(SHRINK, "pd").reads(1).claiming_when_complete(),
        with_delete(SHRINK, "pd").holding("C", 2).reads(1).restarts(1),
        World::new(SHRINK, "pd").full_at_once().slow_pulls(0),
        with_delete(THREE_AND_BACK, "pd"),
        World::new(SWAP, "pd").full_at_once().slow_pulls(0),
        with_delete(JOIN, "pd").full_at_once().slow_pulls(0),
        World::new(JOIN, "pd").acknowledged(1).floor(1).full_at_once().slow_pulls(1).reads(1),
        World::new("A A-ABC ABC", "pd").full_at_once().slow_pulls(0),
        World::new("A A-ABC ABC", "p").acknowledged(1).floor(1).full_at_once().reads(2),
    ]
}

fn walks() -> Vec<World> {
    vec![
        World::new(JOIN, "pdp").closing_at(3).reads(2).restarts(1).slow_stores(),
        World::new(THREE_AND_BACK, "pd").reads(2).restarts(2).slow_stores().slow_storing(),
        World::new(SWAP, "pdp").closing_at(3).reads(2).restarts(1).slow_storing(),
        World::new("ABC ABC-ABD ABC ABC-ABE ABE", "pd").reads(2).restarts(1).slow_stores(),
        World::new("ABC ABC-ADE ADE ADE-ABC ABC", "pd").reads(1).slow_stores(),
    ]
}
