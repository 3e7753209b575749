//! What becomes of a state when nothing fails any more: every member of the newest document is up,
//! nothing old is on its way, and no client writes.
//!
//! Asked in every state, so that what was lost is told with the shortest way to its loss, and so
//! that no state is a dead end for the marks.

use explorer::{Node, NodeSet};

use crate::documents;
use crate::marks;
use crate::properties::Promise;
use crate::pulls;
use crate::replica;
use crate::state::{State, Version};
use crate::world::World;

/// Rounds in which everything has to come to rest: marks rise to the highest `closed`, then to the
/// last version, each time in three or four.
const ROUNDS: usize = 10;

/// The promise that a state breaks once all is well.
pub(crate) fn broken(world: &World, state: &State) -> Option<Promise> {
    let mut state = *state;
    let members = world.document(state.newest).members();
    for node in members.iter() {
        catch_up(world, &mut state, node);
    }
    for _ in 0..members.len() {
        take_closed(world, &mut state, members);
    }
    let mut rounds = 0;
    while !are_at_rest(world, &state, members) && rounds < ROUNDS {
        round(world, &mut state, members);
        rounds += 1;
    }
    verdict(world, &state, members)
}

/// What was admitted lands, what was under way is void, the newest document is stored.
fn catch_up(world: &World, state: &mut State, node: Node) {
    if !state.replica(node).admitted.is_absent() {
        replica::land(world, state, node);
    }
    if state.replica(node).known < state.newest {
        replica::learn(world, state, node, state.newest);
    }
    replica::store_whole(world, state, node);
    state.replica_mut(node).pull = None;
}

fn take_closed(world: &World, state: &mut State, members: NodeSet) {
    for node in members.iter() {
        let may_take = |source: &Node| replica::may_take_closed(world, state, node, *source);
        if let Some(source) = members.iter().find(may_take) {
            replica::take_closed(world, state, node, source);
        }
    }
}

/// Everyone pulls from everyone, then lets its marks rise as far as they may.
fn round(world: &World, state: &mut State, members: NodeSet) {
    for node in members.iter() {
        for source in pulls::sources(world, state, node).iter() {
            let pull = pulls::begun(world, state, node, source);
            pulls::merge(world, state, node, pull);
        }
    }
    for node in members.iter() {
        if marks::may_be_full(world, state, node) {
            marks::be_full(state, node);
        }
    }
    for node in members.iter() {
        let floor = marks::possible_floor(world, state, node);
        if floor > state.replica(node).marks.floor {
            marks::raise_floor(world, state, node, floor);
        }
    }
    close(world, state, members);
}

/// Where all floors have come to the highest `closed`, one replica raises it to the last version;
/// the others follow.
fn close(world: &World, state: &mut State, members: NodeSet) {
    let of_closed = |node| state.replica(node).marks.closed;
    let highest = members.iter().map(of_closed).max().unwrap_or_default();
    let is_there = |node| state.replica(node).marks.floor == highest;
    if members.iter().all(is_there) {
        if let Some(first) = members.iter().next().filter(|_| highest < world.last_version()) {
            marks::close(world, state, first, world.last_version());
        }
        return;
    }
    for node in members.iter() {
        if marks::may_close(world, state, node, highest) {
            marks::close(world, state, node, highest);
        }
    }
}

fn are_at_rest(world: &World, state: &State, members: NodeSet) -> bool {
    let first = members.iter().next().map_or(Version::ABSENT, |node| state.replica(node).held);
    members.iter().all(|node| {
        let replica = state.replica(node);
        replica.marks.floor == world.last_version()
            && replica.held == first
            && is_whole(world, state, node)
    })
}

/// Whether a member is ready, and complete where that is asked of it.
fn is_whole(world: &World, state: &State, node: Node) -> bool {
    let next = world.document(state.newest).next;
    let is_level = !next.contains(node) || documents::is_complete(world, state, node);
    state.replica(node).is_ready && is_level
}

fn verdict(world: &World, state: &State, members: NodeSet) -> Option<Promise> {
    let held = |node| state.replica(node).held;
    let first = members.iter().next().map_or(Version::ABSENT, held);
    if !members.iter().all(|node| held(node) == first) {
        return Some(Promise::ConvergesAfterHeal);
    }
    if !are_at_rest(world, state, members) {
        return Some(Promise::MarksRise);
    }
    let must_reach = state.reached;
    let is_covered = first.is_absent() && state.dropped >= must_reach;
    if first < must_reach && !is_covered {
        let resurrects = !first.is_absent() && world.deletes(must_reach);
        return Some(if resurrects { Promise::NoResurrection } else { Promise::AckNotLost });
    }
    let is_overruled = !first.is_absent() && first <= state.overruled;
    is_overruled.then_some(Promise::NoResurrection)
}
