//! The worlds, and the verdict that is expected of each.

use explorer::suite::{Case, Group};

use crate::council::Council;
use crate::mutants::{self, Mutant};
use crate::world::World;

/// All of them.
pub(crate) fn cases() -> Vec<Case<Council>> {
    let groups = [(Group::Small, small()), (Group::Large, large()), (Group::Walk, walks())];
    let holding = groups.into_iter().flat_map(|(group, worlds)| {
        let case = move |world: World| Case {
            name: world.name(),
            group,
            model: Council { world },
            expected: None,
        };
        worlds.into_iter().map(case)
    });
    let broken = mutants::table().into_iter().map(|(mutant, promise, world)| Case {
        name: format!("{mutant:?}"),
        group: group_of(mutant),
        model: Council { world: world.broken_by(mutant) },
        expected: Some(promise),
    });
    holding.chain(broken).collect()
}

/// Nineteen steps are needed before two councils have decided the same instance.
fn group_of(mutant: Mutant) -> Group {
    match mutant {
        Mutant::CouncilOfOlderDocument => Group::WalkedMutant,
        _ => Group::Mutant,
    }
}

fn small() -> Vec<World> {
    vec![
        World::new("A ABC", &[3]),
        World::new("A AB BC", &[2, 2]),
        World::new("ABC BCD", &[2]),
        World::new("AB BC A", &[2]),
        World::new("AB B BC", &[2, 2]),
    ]
}

fn large() -> Vec<World> {
    vec![
        World::new("ABC BCD CDE", &[2]),
        World::new("AB BC CD", &[2, 2]),
        World::new("ABC AB CDE", &[2, 2]),
        World::new("ABC BCD CDE", &[2, 2]),
    ]
}

fn walks() -> Vec<World> {
    vec![World::new("ABC BCD CDE ADE", &[3, 3, 3])]
}
