//! The coordinator of a quorum read.
//!
//! **Never:** a read answers with a version that a majority may not hold, unless a replica claimed
//! a floor at or above it.

use explorer::{Node, NodeSet};

use crate::mutants::Mutant;
use crate::properties;
use crate::replica;
use crate::state::{Read, State, Version};
use crate::world::World;

pub(crate) fn begin(state: &mut State, key: u8) {
    state.outside.reads_left -= 1;
    state.outside.read = Some(Read {
        key,
        required: state.outside.required(key),
        answered: NodeSet::EMPTY,
        holders: NodeSet::EMPTY,
        winner: Version::ABSENT,
        absent_at: Version::ABSENT,
        floor: Version::ABSENT,
    });
}

pub(crate) fn may_answer(world: &World, state: &State, node: Node) -> bool {
    state.outside.read.is_some_and(|read| {
        !read.answered.contains(node) && replica::answers(world, state.replica(node), read.key)
    })
}

/// A replica answers with its record and its floor, or answers anew.
pub(crate) fn answer(world: &World, state: &mut State, node: Node) {
    let Some(mut read) = state.outside.read else { return };
    let shown = replica::shown(world, state, node, read.key);
    let floorless = world.is(Mutant::AnswersWithoutFloor) || world.is(Mutant::RefusalCountsAsHeld);
    let floor = if floorless { Version::ABSENT } else { state.replica(node).marks.floor };
    read.answered.insert(node);
    read.floor = read.floor.max(floor);
    if shown.is_absent() {
        read.absent_at = read.absent_at.max(floor);
        read.holders.remove(node);
    }
    if shown > read.winner {
        read.winner = shown;
        read.holders = NodeSet::EMPTY;
    }
    if shown == read.winner && !shown.is_absent() {
        read.holders.insert(node);
    }
    state.outside.read = Some(read);
}

/// Whether the winner is an absence, lies at or below a claimed floor, or is held by a majority.
pub(crate) fn may_end(world: &World, read: &Read) -> bool {
    let nodes = world.nodes();
    let is_settled = read.winner <= read.absent_at.max(read.floor);
    let is_held = read.holders.has_majority_of(nodes) || world.is(Mutant::NoWriteBack);
    read.answered.has_majority_of(nodes) && (is_settled || is_held)
}

pub(crate) fn end(world: &World, state: &mut State) {
    let Some(read) = state.outside.read.take() else { return };
    let absent = read.winner <= read.absent_at;
    let result = if absent { Version::ABSENT } else { read.winner };
    let seen = &mut state.outside.seen[usize::from(read.key)];
    *seen = result.max(*seen);
    state.outside.broken = properties::read_ends(world, state, read, result);
}

/// Whether a replica that answered is to be sent the winner.
pub(crate) fn may_write_back(world: &World, state: &State, node: Node) -> bool {
    state.outside.read.is_some_and(|read| {
        let is_stale = read.answered.contains(node) && !read.holders.contains(node);
        let enough = read.answered.has_majority_of(world.nodes());
        enough && is_stale && !may_end(world, &read) && state.replica(node).returning.is_none()
    })
}

/// A replica takes the winner above `full`; below, its present record and floor replace its answer.
pub(crate) fn write_back(world: &World, state: &mut State, node: Node) {
    let Some(mut read) = state.outside.read else { return };
    let holds = replica::shown(world, state, node, read.key) >= read.winner;
    let replica = state.replica_mut(node);
    let takes = read.winner > replica.marks.full || world.is(Mutant::WriteBackBelowFull);
    if !holds && takes {
        replica.set_record(read.key, replica.record(read.key).max(read.winner));
    }
    if !replica::answers(world, state.replica(node), read.key) {
        return;
    }
    if holds || takes || world.is(Mutant::RefusalCountsAsHeld) {
        read.holders.insert(node);
        state.outside.read = Some(read);
    } else if world.is(Mutant::RefusalFailsRead) {
        state.outside.read = None;
    } else {
        answer(world, state, node);
    }
}
