//! The promises, by the names of `docs/semantics.md`, and where an operation's end breaks one.

use std::fmt;

use crate::state::{Operation, State, Version};
use crate::world::{Kind, Level, Question, World};

/// What must never break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Promise {
    /// A quorum read sees every write acknowledged before it began, or a newer one.
    ReadSeesAcked,
    /// A quorum read sees what an earlier one saw, or a newer version.
    ReadsMonotonic,
    /// A write ends above everything acknowledged or read before it began.
    AckIsLatest,
    /// What was acknowledged, at any level, is on some replica in force.
    AckNotLost,
    /// A live version at or below the floor is not read after every replica dropped the tombstone.
    NoResurrection,
    /// Not a promise: the question whether a change can end, turned round so that the explorer
    /// answers with the way there.
    NeverFinishes,
}

impl fmt::Display for Promise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ReadSeesAcked => "READ_SEES_ACKED",
            Self::ReadsMonotonic => "READS_MONOTONIC",
            Self::AckIsLatest => "ACK_IS_LATEST",
            Self::AckNotLost => "ACK_NOT_LOST",
            Self::NoResurrection => "NO_RESURRECTION",
            Self::NeverFinishes => "never finishes",
        })
    }
}

/// What the end of a write breaks. Level `one` promises no order.
pub(crate) fn write_ends(world: &World, write: Operation) -> Option<Promise> {
    let is_late = write.version <= write.must_reach;
    (world.level != Level::One && is_late).then_some(Promise::AckIsLatest)
}

/// What the end of a read breaks.
pub(crate) fn read_ends(world: &World, state: &State, read: Operation) -> Option<Promise> {
    if world.question == Question::PromisesWithDelete {
        let lives = !read.version.is_absent() && !read.version.is_of_first_operation();
        return (lives && read.version <= read.floor).then_some(Promise::NoResurrection);
    }
    if read.version >= read.must_reach {
        return None;
    }
    let acknowledged = state.acknowledged > read.version;
    Some(if acknowledged { Promise::ReadSeesAcked } else { Promise::ReadsMonotonic })
}

/// What a state breaks.
pub(crate) fn broken(world: &World, state: &State) -> Option<Promise> {
    if world.question == Question::Finish {
        return has_finished(world, state).then_some(Promise::NeverFinishes);
    }
    if state.broken.is_some() || world.level != Level::One {
        return state.broken;
    }
    // At the other levels the reads show it.
    let members = state.newest_document().members();
    let held = members.iter().map(|node| state.replica(node).held).max();
    (held.unwrap_or(Version::ABSENT) < state.acknowledged).then_some(Promise::AckNotLost)
}

fn has_finished(world: &World, state: &State) -> bool {
    use crate::state::Phase::Done;
    let changed = state.document(2).current == world.next && state.newest >= 2;
    let done = |operation| state.operation(operation).phase == Done;
    changed && world.operation_numbers().all(done)
}

/// A new operation must reach what was acknowledged or read before.
pub(crate) fn must_reach(world: &World, state: &State, kind: Kind) -> Version {
    let orders = kind == Kind::Read || world.level != Level::One;
    if orders { state.acknowledged.max(state.seen) } else { Version::ABSENT }
}
