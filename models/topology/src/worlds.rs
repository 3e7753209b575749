//! The worlds, and the verdict that is expected of each.
//!
//! `A-B` alone has nearly every order of events; larger sets show what majorities need.

use explorer::suite::{Case, Group};

use crate::mutants;
use crate::properties::Promise;
use crate::topology::Topology;
use crate::world::{Level, Question, World};

/// All of them.
pub(crate) fn cases() -> Vec<Case<Topology>> {
    let mut cases = Vec::new();
    let mut add = |group, world: World, expected| {
        let name = world.name();
        cases.push(Case { name, group, model: Topology::new(world), expected });
    };
    small().into_iter().for_each(|world| add(Group::Small, world, None));
    blocked().into_iter().for_each(|world| add(Group::Small, finishing(world), None));
    for world in unblocked() {
        add(Group::Small, finishing(world), Some(Promise::NeverFinishes));
    }
    large().into_iter().for_each(|world| add(Group::Large, world, None));
    walks().into_iter().for_each(|world| add(Group::Walk, world, None));
    for (mutant, promise, world) in mutants::table() {
        let name = format!("{mutant:?}");
        let model = Topology::new(world.broken_by(mutant));
        cases.push(Case { name, group: Group::Mutant, model, expected: Some(promise) });
    }
    cases
}

fn small() -> Vec<World> {
    vec![
        World::new("A", "B", "wr").slow_stores(),
        World::new("A", "B", "wr").slow_storing(),
        World::new("A", "B", "r").after_cancel("B").slow_storing().slow_cleaning(),
        World::new("A", "B", "w").after_cancel("B").slow_stores(),
        World::new("A", "B", "r").after_finish("A").slow_cleaning(),
        World::new("A", "AB", "wr"),
        World::new("AB", "A", "rr"),
        World::new("AB", "CD", "r"),
        World::new("ABC", "AB", "r"),
        World::new("ABC", "BCD", "r"),
        World::new("AB", "BC", "w").without_seed().level(Level::One),
        World::new("AB", "BC", "wr").lost("A"),
        World::new("ABCD", "BCDE", "r").lost("A").dead("AB"),
    ]
}

/// Changes that must wait.
fn blocked() -> Vec<World> {
    vec![
        // A replica that leaves has to be merged, unless it is named as lost.
        World::new("ABC", "BCD", "").dead("A"),
        World::new("AB", "CD", "").dead("A"),
        // A majority of the next set has to be complete.
        World::new("A", "AB", "").dead("B"),
    ]
}

/// Changes that can end although a node is dead.
fn unblocked() -> Vec<World> {
    vec![
        World::new("ABC", "BCD", "r").dead("B"),
        World::new("ABC", "BCD", "w").dead("D"),
        World::new("ABC", "BCD", "r").lost("A"),
        World::new("AB", "BC", "r").lost("A"),
        World::new("ABCD", "BCDE", "").lost("A").dead("AB"),
        World::new("A", "ABC", "wr").dead("C"),
    ]
}

fn finishing(world: World) -> World {
    world.asking(Question::Finish)
}

fn large() -> Vec<World> {
    let twice = || World::new("A", "B", "wr").after_cancel("B");
    vec![
        twice(),
        twice().slow_stores(),
        twice().slow_storing(),
        twice().slow_cleaning(),
        twice().asking(Question::PromisesWithDelete),
        World::new("A", "B", "wr").slow_stores().slow_storing(),
        World::new("A", "B", "wr").after_cancel("C"),
        World::new("A", "B", "wr").after_finish("A"),
        World::new("A", "B", "wr").after_finish("A").slow_storing(),
        World::new("A", "AB", "wr").after_cancel("AB").slow_stores(),
        World::new("A", "B", "wrr"),
        World::new("A", "B", "wwr"),
        World::new("AB", "CD", "rr").slow_stores(),
        World::new("AB", "CD", "w").slow_stores(),
        World::new("AB", "BC", "wr"),
        World::new("AB", "CD", "wr").level(Level::All),
        World::new("ABC", "AB", "rr"),
        World::new("ABC", "AB", "w").slow_stores(),
        World::new("ABC", "BCD", "rr"),
        World::new("ABC", "BCD", "w"),
        World::new("ABC", "BCD", "wr"),
        World::new("ABC", "BCD", "wr").lost("A"),
        World::new("ABCD", "BCDE", "wr").lost("A").dead("AB"),
        World::new("ABC", "BCD", "r").after_cancel("BCD"),
        World::new("ABC", "BCD", "r").after_finish("ABC"),
        World::new("ABC", "DEF", "r"),
        World::new("ABC", "BCD", "ww").without_seed().level(Level::One),
    ]
}

fn walks() -> Vec<World> {
    vec![
        World::new("ABC", "BCD", "wwr").after_cancel("BCE"),
        World::new("ABC", "DEF", "wrr").after_cancel("BCD"),
        World::new("ABC", "BCD", "wrr").after_finish("ABE"),
        World::new("ABC", "BCD", "wrr").after_cancel("BCD").slow_stores().slow_storing(),
        World::new("ABC", "AB", "wwr").after_cancel("ABD").slow_cleaning(),
        World::new("AB", "CD", "wrr").after_cancel("BC").level(Level::All),
    ]
}
