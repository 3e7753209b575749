//! The three marks: when a replica closes, is full, and lets its floor rise, and what it knows of
//! the others' marks.
//!
//! What is told is known at once while both are at one fence: knowing it later only forbids. Of a
//! member that went on to a newer document the last is known that it told under the older one.
//!
//! **Never:** a mark that falls; one that is believed across fences; a `closed` that is told while
//! a store admitted below it may still land.

use explorer::{Node, NodeSet};

use crate::documents;
use crate::mutants::Mutant;
use crate::replica;
use crate::state::{Replica, State, Told, Version, Worth};
use crate::world::World;

/// What a replica knows of another's marks, or of its own.
fn known_of(world: &World, state: &State, listener: Node, teller: Node) -> Told {
    let fence = state.replica(listener).known;
    let other = state.replica(teller);
    let present = Told { closed: other.told_closed, full: other.marks.full };
    if listener == teller {
        return present;
    }
    if world.is(Mutant::MarksAcrossFences) {
        let Told { closed, full } = other.ever_told;
        return Told { closed: closed.max(present.closed), full: full.max(present.full) };
    }
    if replica::answers(world, state, teller, fence) {
        present
    } else if other.known > fence {
        other.told_under[usize::from(fence)]
    } else {
        Told::default()
    }
}

/// Tells `closed`, unless a store admitted at or below it is not durable yet.
pub(crate) fn tell_closed(world: &World, replica: &mut Replica) {
    let waits = !replica.admitted.is_absent() && replica.admitted <= replica.marks.closed;
    if !waits || world.is(Mutant::ClosedToldBeforeStoresEnd) {
        replica.told_closed = replica.marks.closed;
    }
}

/// Whether a replica may raise `closed` to this version: where its floor is at `closed` to any that
/// is old enough, and where it is full it follows a peer.
pub(crate) fn may_close(world: &World, state: &State, node: Node, version: Version) -> bool {
    let Some(document) = replica::serves(world, state, node) else { return false };
    let Replica { marks, is_ready, .. } = state.replica(node);
    if version <= marks.closed || !is_ready {
        return false;
    }
    let settled = match world.is(Mutant::RaisesWhenFull) {
        true => marks.full,
        false => marks.floor,
    };
    let begins = settled == marks.closed && world.closings.contains(&version);
    let told_by = |peer| known_of(world, state, node, peer).closed == version;
    let members = world.document(document).members();
    let follows = marks.full == marks.closed || world.is(Mutant::FollowsAtAnyTime);
    begins || follows && members.iter().any(told_by)
}

pub(crate) fn close(world: &World, state: &mut State, node: Node, version: Version) {
    let replica = state.replica_mut(node);
    replica.marks.closed = version;
    replica.pulled = NodeSet::EMPTY;
    if let Some(pull) = &mut replica.pull {
        pull.worth = Worth::Records;
    }
    tell_closed(world, replica);
}

/// Whether a replica knows that every member is closed at its own `closed` or higher.
pub(crate) fn all_are_closed(world: &World, state: &State, node: Node) -> bool {
    let replica = state.replica(node);
    let waited_for = documents::waited_for(world, replica.known);
    let is_closed = |member| known_of(world, state, node, member).closed >= replica.marks.closed;
    world.is(Mutant::FullBeforeAllClosed) || waited_for.iter().all(is_closed)
}

/// Whether every other member has been pulled since all were closed. A sole member has nobody to
/// pull, but waits for its own stores all the same.
pub(crate) fn may_be_full(world: &World, state: &State, node: Node) -> bool {
    let replica = state.replica(node);
    let Some(document) = replica::serves(world, state, node) else { return false };
    let mut missing = documents::waited_for(world, document).minus(replica.pulled);
    missing.remove(node);
    let most = u32::from(world.is(Mutant::FullWithMemberNotPulled));
    let Replica { marks, told_closed, is_ready, .. } = *replica;
    let own_ended = told_closed == marks.closed || world.is(Mutant::FullBeforeOwnStoresEnd);
    is_ready && marks.closed > marks.full && own_ended && missing.len() <= most
}

pub(crate) fn be_full(state: &mut State, node: Node) {
    let replica = state.replica_mut(node);
    replica.marks.full = replica.marks.closed;
    replica.pulled = NodeSet::EMPTY;
}

/// How high a floor may rise: to the least `full` of every member, or to a peer's floor, up to the
/// replica's own `full`.
pub(crate) fn possible_floor(world: &World, state: &State, node: Node) -> Version {
    let Some(document) = replica::serves(world, state, node) else { return Version::ABSENT };
    let Replica { marks, is_ready, .. } = *state.replica(node);
    if !is_ready {
        return Version::ABSENT;
    }
    if world.is(Mutant::FloorAtOwnFull) {
        return marks.full;
    }
    let waited_for = documents::waited_for(world, document);
    let full = |member| known_of(world, state, node, member).full;
    let least = waited_for.iter().map(full).min().unwrap_or_default().min(marks.full);
    let peers = world.document(document).members().iter();
    let peers = peers.filter(|&peer| replica::answers(world, state, peer, document));
    let told = peers.map(|peer| state.replica(peer).marks.floor).max().unwrap_or_default();
    let capped = if world.is(Mutant::FloorAboveOwnFull) { told } else { told.min(marks.full) };
    least.max(capped)
}

/// Raises the floor; a tombstone at or below it leaves the digest and goes in the same step. Every
/// member had it or newer, so that it counts as acknowledged.
pub(crate) fn raise_floor(world: &World, state: &mut State, node: Node, floor: Version) {
    let replica = state.replica_mut(node);
    replica.marks.floor = floor;
    let held = replica.held;
    if !held.is_absent() && visible(world, replica).is_absent() {
        replica.held = Version::ABSENT;
        state.dropped = state.dropped.max(held);
        state.reached = state.reached.max(held);
    }
}

/// What a replica shows of the key: a tombstone at or below the floor is none.
pub(crate) fn visible(world: &World, replica: &Replica) -> Version {
    let is_covered = replica.held <= replica.marks.floor && world.deletes(replica.held);
    if is_covered { Version::ABSENT } else { replica.held }
}
