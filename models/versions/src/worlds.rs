//! The worlds, and the verdict that is expected of each.

use explorer::suite::{Case, Group};

use crate::mutants;
use crate::properties::Promise;
use crate::versions::Versions;
use crate::world::{Claim, World};

/// All of them.
pub(crate) fn cases() -> Vec<Case<Versions>> {
    let groups = [(Group::Small, small()), (Group::Large, large()), (Group::Walk, walks())];
    let mut cases = Vec::new();
    for (group, worlds) in groups {
        for world in worlds {
            cases.push(case(world.name(), group, world, None));
        }
    }
    for (promise, world) in limits() {
        cases.push(case(world.name(), Group::Small, world, Some(promise)));
    }
    for (mutant, promise, world) in mutants::table() {
        let name = format!("{mutant:?}");
        cases.push(case(name, Group::Mutant, world.broken_by(mutant), Some(promise)));
    }
    cases
}

fn case(name: String, group: Group, world: World, expected: Option<Promise>) -> Case<Versions> {
    Case { name, group, model: Versions::new(world), expected }
}

fn ordered(world: World) -> World {
    world.claiming(Claim::UpToTwoWrites)
}

fn small() -> Vec<World> {
    vec![
        ordered(World::new(2, &[2, 2], &[2, 2])),
        ordered(World::new(2, &[2, 2], &[2]).crashing(1)),
        ordered(World::new(3, &[2], &[2, 2]).crashing(1)),
        ordered(World::new(3, &[2, 2], &[2, 2])),
        ordered(World::new(3, &[2, 2], &[]).crashing(1)),
        ordered(World::new(3, &[3, 2], &[2])),
        ordered(World::new(4, &[3, 3], &[3])),
        World::new(3, &[2, 1], &[]).claiming(Claim::WritesEnd),
        World::new(3, &[3, 3], &[1, 1]),
        World::new(3, &[1, 1], &[3]),
        World::new(3, &[2, 2], &[2]).hinting(),
        World::new(3, &[2, 2], &[]).hinting().crashing(1),
        World::new(2, &[2, 2], &[]).hinting(),
        World::new(3, &[2], &[]).one_copy().hinting().refusing(3),
        World::new(2, &[2, 2], &[]).one_copy().hinting().refusing(2),
    ]
}

/// What the text does not promise, with the reason why it does not.
fn limits() -> Vec<(Promise, World)> {
    let two = || World::new(3, &[2, 2], &[2, 2]);
    vec![
        (Promise::Claimed, two().claiming(Claim::Register)),
        (Promise::Claimed, World::new(3, &[2, 2], &[2]).claiming(Claim::UnknownStaysBelow)),
        (Promise::AckIsLatest, World::new(3, &[1, 1], &[3]).claiming(Claim::OrderBelowMajority)),
    ]
}

fn large() -> Vec<World> {
    vec![
        ordered(World::new(3, &[2, 2, 2], &[2])),
        ordered(World::new(3, &[3, 2], &[2, 3])),
        ordered(World::new(5, &[3, 3], &[3])),
        ordered(World::new(2, &[2, 2, 2], &[2])),
        ordered(World::new(2, &[2, 2, 2], &[]).crashing(1)),
        ordered(World::new(3, &[2, 2], &[2]).crashing(1)),
        World::new(3, &[1, 2, 2], &[2]).claiming(Claim::WritesEnd),
        World::new(3, &[2, 2, 2], &[2]).hinting(),
        World::new(5, &[2, 2], &[4]),
        World::new(5, &[4, 4], &[2]),
    ]
}

fn walks() -> Vec<World> {
    let five = [1, 2, 5];
    vec![
        ordered(World::new(3, &[2, 2, 2], &[2, 2, 2]).crashing(3).times(&five)),
        ordered(World::new(5, &[3, 3, 3], &[3, 3, 3]).crashing(3).times(&five)),
    ]
}
