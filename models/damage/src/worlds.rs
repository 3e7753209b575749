//! The worlds, and the verdict that is expected of each.
//!
//! Pulls that happen at once leave most orders of events to the other steps; where one replica is
//! slow the scans are torn.

use explorer::suite::{Case, Group};

use crate::damage::Damage;
use crate::mutants;
use crate::properties::Promise;
use crate::world::{Clocks, Extent, World, delete, put};

/// All of them.
pub(crate) fn cases() -> Vec<Case<Damage>> {
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

fn case(name: String, group: Group, world: World, expected: Option<Promise>) -> Case<Damage> {
    Case { name, group, model: Damage::new(world), expected }
}

/// A put and a delete that may come late, one mark.
fn tiny(replicas: u8) -> World {
    World::new(replicas, &[2]).late(put(1)).late(delete(2))
}

/// A delete acknowledged over a put that one replica has, with everyone closed.
fn deleted() -> World {
    World::new(3, &[2]).held(put(1), "A").held(delete(2), "BC").closed(2)
}

/// The same, with a put above the mark that may come late.
fn above() -> World {
    deleted().late(put(3))
}

/// Two puts and a delete that may come late.
fn late() -> World {
    World::new(3, &[3]).late(put(1)).late(put(2)).late(delete(3))
}

/// Two marks, one after the other.
fn rounds() -> World {
    World::new(3, &[2, 3]).late(put(1)).late(delete(2)).late(put(3))
}

/// A delete of one key and a put of another, which share the marks: scans can be torn.
fn keys() -> World {
    let first = World::new(3, &[3]).late(put(1)).held(delete(2), "BC");
    first.late(put(3).of_second_key())
}

/// The same, where a damage takes both.
fn files() -> World {
    keys().damages(1).damaging(Extent::File)
}

/// A put that expires over one that does not, with clocks an instant apart.
fn expiring() -> World {
    World::new(3, &[3, 4]).late(put(1)).held(put(2).until(3), "AB").time(2, 5, "B")
}

/// A replica loses its marks too.
fn losing_marks() -> World {
    World::new(3, &[2]).damages(1).damaging(Extent::FileAndMarks)
}

/// A put whose first stamp is at or below the mark, and whose second lies above it.
fn stamping(clocks: Clocks) -> World {
    World::new(3, &[3]).stamping(2, &[4, 6], clocks)
}

/// A put that one of more replicas has, with everyone closed.
fn held_by_one(replicas: u8) -> World {
    World::new(replicas, &[2]).held(put(2), "A").closed(2)
}

fn small() -> Vec<World> {
    vec![
        tiny(2).reads(1),
        tiny(2).slow_pullers("A").restarting("A"),
        tiny(2).slow_stores().restarting("B"),
        tiny(3).reads(1),
        tiny(3).slow_pullers("A"),
        tiny(3).restarting("A"),
        tiny(3).slow_stores(),
        tiny(3).damages(2),
        deleted().reads(1).slow_pullers("A"),
        deleted().reads(1).damages(1).restarting("A"),
        above().damages(2),
        late(),
        rounds(),
        keys().slow_pullers("A"),
        keys().damages(1),
        files(),
        expiring(),
        losing_marks().floor(2).late(put(1)),
        losing_marks().held(delete(2), "AB").late(put(1)),
        stamping(Clocks::Any).held(put(5), "AB").damages(1),
        stamping(Clocks::Any).late(put(5)),
        stamping(Clocks::WithinSkew).late(put(1)).late(delete(3)),
    ]
}

/// What the text does not promise: a key that two members have damaged waits for an operator.
fn limits() -> Vec<(Promise, World)> {
    vec![(Promise::HealingEnds, tiny(3).damages(2).damaged_together())]
}

fn large() -> Vec<World> {
    vec![
        tiny(3).reads(2),
        tiny(3).reads(1).damages(1),
        tiny(3).reads(1).slow_pullers("A").restarting("A"),
        tiny(3).damages(1).slow_pullers("A"),
        tiny(3).slow_pullers("AB"),
        tiny(4),
        deleted().reads(2).damages(2),
        deleted().reads(1).damages(1).slow_pullers("A"),
        above().damages(1).slow_pullers("A").restarting("A"),
        above().damages(2).slow_pullers("A"),
        late().reads(1),
        rounds().reads(1),
        rounds().damages(1),
        keys().reads(2).slow_pullers("A"),
        files().slow_pullers("A"),
        keys().reads(1).damages(1),
        files().reads(1),
        expiring().reads(1),
        expiring().damages(1),
        losing_marks().late(put(1)).late(delete(2)),
        stamping(Clocks::Any).late(put(5)).reads(1),
        stamping(Clocks::Any).late(put(5)).damages(1),
        stamping(Clocks::WithinSkew).late(delete(3)).reads(1),
        held_by_one(4).damages(1),
    ]
}

fn walks() -> Vec<World> {
    let all_at_once = |world: World| world.slow_pullers("ABC").restarting("ABC");
    let two_keys = || {
        let first = World::new(3, &[2, 4, 5]).late(delete(2)).late(put(3));
        first.late(delete(4).of_second_key()).late(put(5).of_second_key())
    };
    vec![
        all_at_once(tiny(3).reads(3).damages(3)),
        all_at_once(rounds().reads(3).damages(2).slow_stores()),
        all_at_once(two_keys().stamping(1, &[6, 7, 8], Clocks::WithinSkew).reads(3).damages(3)),
        all_at_once(two_keys().reads(2).damages(2).damaging(Extent::File)),
        all_at_once(expiring().late(delete(4)).reads(3).damages(2)),
        losing_marks().late(put(1)).late(delete(2)).reads(2).slow_pullers("ABC"),
        held_by_one(5).damages(1),
        World::new(5, &[2]).held(put(1), "BCD").held(delete(2), "A").closed(2).damages(1),
        tiny(5).reads(2).damages(2).slow_pullers("ABCDE"),
    ]
}
