//! The promises, by the names of `docs/semantics.md`, and where a state or a read's end breaks one.

use std::fmt;

use explorer::Node;

use crate::healing;
use crate::marks;
use crate::replica;
use crate::state::{Read, Replica, State, Version};
use crate::world::World;

/// What must never break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Promise {
    /// What a delete that was acknowledged, read or dropped has replaced is not read again, nor what
    /// a floor overruled in an earlier read.
    NoResurrection,
    /// At one fence, replicas with equal floors hold equal content at or below it.
    FloorSafe,
    /// At one fence, no replica is full above what another is closed at: what `full` is for.
    FullIsClosed,
    /// A quorum read sees what was acknowledged or read before it began, or something newer.
    ReadSeesAcked,
    /// What was acknowledged or read is there once all is well.
    AckNotLost,
    /// All replicas hold the same once all is well.
    ConvergesAfterHeal,
    /// Once all is well, every member is ready and complete, and its floor rises as high as one
    /// likes.
    MarksRise,
}

impl fmt::Display for Promise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoResurrection => "NO_RESURRECTION",
            Self::FloorSafe => "FLOOR_SAFE",
            Self::FullIsClosed => "full is closed",
            Self::ReadSeesAcked => "READ_SEES_ACKED",
            Self::AckNotLost => "ACK_NOT_LOST",
            Self::ConvergesAfterHeal => "CONVERGES_AFTER_HEAL",
            Self::MarksRise => "marks rise",
        })
    }
}

/// What the end of a read breaks. An absence is allowed only where a tombstone was dropped at or
/// above what the read must reach, which is more than the text asks.
pub(crate) fn read_ends(
    world: &World,
    state: &State,
    read: &Read,
    winner: Version,
) -> Option<Promise> {
    let lives = !winner.is_absent() && !world.deletes(winner);
    if lives && winner <= read.overruled {
        return Some(Promise::NoResurrection);
    }
    if winner >= read.must_reach || winner.is_absent() && state.dropped >= read.must_reach {
        return None;
    }
    let resurrects = lives && world.deletes(read.must_reach);
    Some(if resurrects { Promise::NoResurrection } else { Promise::ReadSeesAcked })
}

/// What a state breaks, or would once all is well.
pub(crate) fn broken(world: &World, state: &State) -> Option<Promise> {
    if state.broken.is_some() {
        return state.broken;
    }
    let nodes = || world.nodes().iter();
    let pairs = nodes().flat_map(|left| nodes().map(move |right| (left, right)));
    let of_pairs = pairs.filter(|(left, right)| left != right);
    let mut found = of_pairs.filter_map(|(left, right)| of_pair(world, state, left, right));
    found.next().or_else(|| healing::broken(world, state))
}

/// What the marks of two members at one fence break.
fn of_pair(world: &World, state: &State, left: Node, right: Node) -> Option<Promise> {
    let document = replica::serves(world, state, left)?;
    let both = [left, right].into_iter();
    if !both.into_iter().all(|node| replica::answers(world, state, node, document)) {
        return None;
    }
    let (left, right) = (state.replica(left), state.replica(right));
    let floor = left.marks.floor;
    let shown = |replica: &Replica| marks::visible(world, replica);
    let is_below = shown(left).max(shown(right)) <= floor;
    if floor == right.marks.floor && is_below && shown(left) != shown(right) {
        return Some(Promise::FloorSafe);
    }
    (left.marks.full > right.marks.closed).then_some(Promise::FullIsClosed)
}
