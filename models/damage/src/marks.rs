//! How the three marks rise, and what members know of each other's.
//!
//! **Never:** a mark falls, but where all of them are lost with the replica.

use explorer::{Node, NodeSet};

use crate::mutants::Mutant;
use crate::puts;
use crate::state::{Heard, Replica, Returning, State, Version};
use crate::world::World;

/// Whether a replica moves its marks.
fn moves_marks(world: &World, replica: &Replica) -> bool {
    let is_damaged_and_moves =
        world.is(Mutant::DamagedMovesMarks) || world.is(Mutant::OwnRecordNotJudged);
    replica.is_whole() || (replica.returning.is_none() && is_damaged_and_moves)
}

/// Whether a replica claims the floor that its mark says.
pub(crate) fn claims_floor(world: &World, replica: &Replica) -> bool {
    let is_damaged_and_claims = world.is(Mutant::DamagedMovesMarks);
    replica.is_whole() || (replica.returning.is_none() && is_damaged_and_claims)
}

/// What a replica knows of the marks of a member, or of its own.
fn known(world: &World, state: &State, node: Node, member: Node) -> Heard {
    if world.remembers_marks() && node != member {
        return state.replica(node).heard[member.index()];
    }
    let marks = state.replica(member).marks;
    Heard { closed: marks.closed, full: marks.full }
}

/// Whether a replica knows every member to be closed at its own `closed` or higher.
pub(crate) fn all_are_closed(world: &World, state: &State, node: Node) -> bool {
    let closed = state.replica(node).marks.closed;
    let is_closed = |member| {
        let others = known(world, state, node, member).closed;
        others == closed || (others > closed && !world.is(Mutant::PullsAtEqualClosed))
    };
    world.is(Mutant::PullsBeforeAllClosed) || world.nodes().iter().all(is_closed)
}

/// Whether a replica may raise its mark, and the mark is old by its own wall clock.
pub(crate) fn may_close(world: &World, state: &State, node: Node, closed: Version) -> bool {
    is_old(world, state, node, closed) && may_close_of_age(world, state, node, closed)
}

/// Whether a replica may raise its mark as far as age goes: of its own where its floor is as high
/// as its `closed`, after a peer where its `full` is, once every store admitted before has ended.
pub(crate) fn may_close_of_age(world: &World, state: &State, node: Node, closed: Version) -> bool {
    let replica = state.replica(node);
    let marks = replica.marks;
    if closed <= marks.closed || !moves_marks(world, replica) || is_storing(world, state, node) {
        return false;
    }
    let is_peers = |peer| {
        let peer = state.replica(peer);
        peer.returning.is_none() && peer.marks.closed == closed
    };
    let follows = marks.full == marks.closed && world.others(node).iter().any(is_peers);
    let begins = marks.floor == marks.closed;
    begins || follows
}

/// Whether a store that was admitted before has not ended.
fn is_storing(world: &World, state: &State, node: Node) -> bool {
    let storing = state.outside.admission.is_some_and(|admission| admission.node == node);
    storing && !world.is(Mutant::ClosedBeforeStoresEnd)
}

/// Whether nothing at or below the mark is stamped any more, by the replica's wall clock.
fn is_old(world: &World, state: &State, node: Node, closed: Version) -> bool {
    let by_clock = world.time.is_none_or(|time| {
        let clock = state.outside.now + u8::from(time.ahead.contains(node));
        closed.0 < clock
    });
    let by_stamp = !puts::is_second_stamp_of_now(world, state, closed);
    by_clock && (by_stamp || world.is(Mutant::ClosesYoungStamps))
}

/// From now on nothing is admitted at or below it, and what was pulled does not count.
pub(crate) fn close(world: &World, state: &mut State, node: Node, closed: Version) {
    let replica = state.replica_mut(node);
    replica.marks.closed = closed;
    if !world.is(Mutant::PulledCountsAgain) {
        replica.pulled = NodeSet::EMPTY;
    }
    if let Some(pull) = &mut replica.pull
        && !world.is(Mutant::ScanOutlivesMark)
    {
        pull.counts = false;
    }
}

/// Whether every other member was pulled.
pub(crate) fn may_fill(world: &World, state: &State, node: Node) -> bool {
    let replica = state.replica(node);
    let missing = world.others(node).minus(replica.pulled).len();
    let enough = missing <= u32::from(world.is(Mutant::OneMemberNotPulled));
    replica.marks.closed > replica.marks.full && moves_marks(world, replica) && enough
}

pub(crate) fn fill(world: &World, state: &mut State, node: Node) {
    let replica = state.replica_mut(node);
    replica.marks.full = replica.marks.closed;
    if !world.is(Mutant::PulledCountsAgain) {
        replica.pulled = NodeSet::EMPTY;
    }
}

/// How high the floor may be.
pub(crate) fn reachable_floor(world: &World, state: &State, node: Node) -> Version {
    let replica = state.replica(node);
    if !moves_marks(world, replica) {
        return Version::ABSENT;
    }
    if world.is(Mutant::FloorAtOwnFull) {
        return replica.marks.full;
    }
    let fulls = world.nodes().iter().map(|member| known(world, state, node, member).full);
    fulls.min().unwrap_or(Version::ABSENT)
}

pub(crate) fn raise_floor(world: &World, state: &mut State, node: Node) {
    let floor = reachable_floor(world, state, node);
    let marks = &mut state.replica_mut(node).marks;
    marks.floor = marks.floor.max(floor);
}

/// Whether a member has something to tell of its marks.
pub(crate) fn may_hear(world: &World, state: &State, node: Node, member: Node) -> bool {
    let tells = node != member && state.replica(member).returning.is_none();
    world.remembers_marks()
        && tells
        && state.replica(node).heard[member.index()] != told(state, member)
}

fn told(state: &State, member: Node) -> Heard {
    let marks = state.replica(member).marks;
    Heard { closed: marks.closed, full: marks.full }
}

pub(crate) fn hear(state: &mut State, node: Node, member: Node) {
    state.replica_mut(node).heard[member.index()] = told(state, member);
}

/// Whether a replica that lost its marks may ask a member.
pub(crate) fn may_ask(state: &State, node: Node, member: Node) -> bool {
    let Some(returning) = state.replica(node).returning else { return false };
    let is_member = node != member && state.replica(member).returning.is_none();
    is_member && !returning.asked.contains(member)
}

/// A member tells its `closed` to a replica that lost its marks, and forgets what it knew of it and
/// got from it: to the members it is a new one. When all have told, the largest is its own.
pub(crate) fn ask(world: &World, state: &mut State, node: Node, member: Node) {
    let other = state.replica_mut(member);
    let closed = other.marks.closed;
    if !world.is(Mutant::LostMarksRemembered) && !world.is(Mutant::ClosedFromOneMember) {
        other.heard[node.index()] = Heard::default();
        other.pulled.remove(node);
        other.pull = other.pull.filter(|pull| pull.source != node);
        if let Some(pull) = &mut other.pull {
            pull.counts = false;
        }
    }
    let replica = state.replica_mut(node);
    let Some(Returning { asked, closed: largest }) = &mut replica.returning else { return };
    asked.insert(member);
    *largest = closed.max(*largest);
    if *asked == world.others(node) || world.is(Mutant::ClosedFromOneMember) {
        replica.marks.closed = *largest;
        replica.returning = None;
    }
}
