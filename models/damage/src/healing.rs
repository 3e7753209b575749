//! Damage, and how a damaged key is healed: by the read rule over every other member and the own
//! record, begun no sooner than the longest request deadline after the mark.
//!
//! The deadline is modelled by what it does: when a healing begins, every read, put and pull that
//! was open when the key was marked is void, and what the replica acknowledged of writes that are
//! not acknowledged to their clients does not count.
//!
//! **Never:** a key is healed while another member has it damaged: that waits for an operator.

use explorer::{Node, NodeSet};

use crate::mutants::Mutant;
use crate::puts;
use crate::replica;
use crate::state::{Healing, Marks, Returning, State, Version};
use crate::world::{Damages, Extent, World};

/// The keys that a damage which hits this one takes.
fn taken(world: &World, key: u8) -> std::ops::Range<usize> {
    match world.extent {
        Extent::Key => usize::from(key)..usize::from(key) + 1,
        Extent::File | Extent::FileAndMarks => world.key_places(),
    }
}

pub(crate) fn may_damage(world: &World, state: &State, node: Node, key: u8) -> bool {
    let of_file = world.extent != Extent::Key && key > 0;
    let is_hit = |node: Node| {
        let replica = state.replica(node);
        replica.returning.is_some() || replica.damaged[taken(world, key)].contains(&true)
    };
    let possible = match world.coincidence {
        Damages::Apart => !world.nodes().iter().any(is_hit),
        Damages::Together => !is_hit(node),
    };
    state.outside.damages_left > 0 && !of_file && possible
}

pub(crate) fn damage(world: &World, state: &mut State, node: Node, key: u8) {
    state.outside.damages_left -= 1;
    let replica = state.replica_mut(node);
    for place in taken(world, key) {
        replica.records[place] = Version::ABSENT;
        replica.damaged[place] = true;
    }
    if !world.is(Mutant::OwnRecordNotJudged) {
        replica.pulled = NodeSet::EMPTY;
    }
    replica.pull = None;
    replica.healing = None;
    if world.extent == Extent::FileAndMarks {
        replica.marks = Marks::default();
        replica.heard = Default::default();
        let anew = (!world.is(Mutant::LostMarksAtZero)).then(Returning::default);
        replica.returning = anew;
    }
}

pub(crate) fn may_begin(state: &State, node: Node, key: u8) -> bool {
    let replica = state.replica(node);
    replica.is_damaged(key) && replica.healing.is_none() && replica.returning.is_none()
}

pub(crate) fn begin(world: &World, state: &mut State, node: Node, key: u8) {
    if !world.is(Mutant::HealsAtOnce) {
        void_what_was_open(world, state, node, key);
    }
    state.replica_mut(node).healing = Some(Healing {
        key,
        asked: NodeSet::EMPTY,
        newest: Version::ABSENT,
        absent_at: Version::ABSENT,
    });
}

/// The longest request deadline has passed since the mark.
fn void_what_was_open(world: &World, state: &mut State, node: Node, key: u8) {
    for replica in &mut state.replicas {
        replica.pull = replica.pull.filter(|pull| pull.source != node);
    }
    let outside = &mut state.outside;
    for &version in &world.late {
        outside.holders[version.index()].remove(node);
    }
    outside.read = outside.read.filter(|read| read.key != key);
    if key == 0 {
        puts::end_unanswered(&mut outside.put);
    }
}

pub(crate) fn may_ask(world: &World, state: &State, node: Node, member: Node) -> bool {
    let Some(healing) = state.replica(node).healing else { return false };
    let answers = replica::answers(world, state.replica(member), healing.key);
    node != member && !healing.asked.contains(member) && answers
}

pub(crate) fn ask(world: &World, state: &mut State, node: Node, member: Node) {
    let Some(mut healing) = state.replica(node).healing else { return };
    let shown = replica::shown(world, state, member, healing.key);
    healing.asked.insert(member);
    healing.newest = healing.newest.max(shown);
    if shown.is_absent() {
        healing.absent_at = healing.absent_at.max(state.replica(member).marks.floor);
    }
    state.replica_mut(node).healing = Some(healing);
}

/// Whether every other member answered.
pub(crate) fn may_end(world: &World, state: &State, node: Node) -> bool {
    let others = world.others(node);
    let needed = if world.is(Mutant::HealsByOne) {
        1
    } else if world.is(Mutant::HealsByQuorum) {
        // With W replicas at every acknowledged write, as many of all meet it.
        world.nodes().len() - world.nodes().majority() + 1
    } else {
        others.len()
    };
    state.replica(node).healing.is_some_and(|healing| healing.asked.len() >= needed)
}

pub(crate) fn end(world: &World, state: &mut State, node: Node) {
    let replica = state.replica_mut(node);
    let Some(Healing { key, newest, absent_at, .. }) = replica.healing.take() else { return };
    let own_is_absent = replica.record(key) <= absent_at && !world.is(Mutant::OwnRecordNotJudged);
    let own = if own_is_absent { Version::ABSENT } else { replica.record(key) };
    let others = if newest <= absent_at { Version::ABSENT } else { newest };
    replica.set_record(key, own.max(others));
    if !world.is(Mutant::HealsWithoutFloor) {
        let marks = &mut replica.marks;
        marks.floor = marks.floor.max(absent_at.min(marks.full));
    }
    replica.damaged[usize::from(key)] = false;
}
