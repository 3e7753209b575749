//! The promises, by the names of `docs/semantics.md`, and where the end of an operation breaks one.

use std::fmt;

use explorer::Node;

use crate::marks;
use crate::progress;
use crate::replica;
use crate::settling;
use crate::state::{Read, State, Version};
use crate::world::{Content, World};

/// What must never break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Promise {
    /// After an acknowledged delete a quorum read answers absent or something newer.
    NoResurrection,
    /// Replicas that claim equal floors hold equal content at or below them.
    FloorSafe,
    /// A quorum read sees every write acknowledged before it began, or something newer; absent only
    /// where a delete above it exists.
    ReadSeesAcked,
    /// A quorum read sees what an earlier one saw, or something newer.
    ReadsMonotonic,
    /// A put ends above everything acknowledged or read before it began.
    AckIsLatest,
    /// What was acknowledged or read is there when everything has come to rest.
    AckNotLost,
    /// Replicas that come to rest are equal.
    ConvergesAfterHeal,
    /// A read that every replica answers ends.
    ReadsEnd,
    /// A second stamp that every replica answers ends the put.
    WritesEnd,
    /// The marks rise when every replica does what it may.
    MarksRise,
    /// What is damaged is healed when no other member is damaged.
    HealingEnds,
}

impl fmt::Display for Promise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoResurrection => "NO_RESURRECTION",
            Self::FloorSafe => "FLOOR_SAFE",
            Self::ReadSeesAcked => "READ_SEES_ACKED",
            Self::ReadsMonotonic => "READS_MONOTONIC",
            Self::AckIsLatest => "ACK_IS_LATEST",
            Self::AckNotLost => "ACK_NOT_LOST",
            Self::ConvergesAfterHeal => "CONVERGES_AFTER_HEAL",
            Self::ReadsEnd => "reads end",
            Self::WritesEnd => "writes end",
            Self::MarksRise => "marks rise",
            Self::HealingEnds => "healing ends",
        })
    }
}

/// Whether "absent" is right where a version is required: something of the key at or above it is a
/// delete or expired. Answers within one instant of an expiry may differ.
pub(crate) fn may_be_absent(world: &World, state: &State, key: u8, required: Version) -> bool {
    let outside = &state.outside;
    world.writes.iter().flatten().any(|write| {
        let is_absence = match write.content {
            Content::Value => false,
            Content::Tombstone => true,
            Content::Until(instant) => instant <= outside.now + 1,
        };
        write.key == key
            && write.version >= required
            && is_absence
            && outside.stored.contains(write.version)
    })
}

/// What the end of a read breaks.
pub(crate) fn read_ends(
    world: &World,
    state: &State,
    read: Read,
    result: Version,
) -> Option<Promise> {
    let required = read.required;
    let rightly_absent = result.is_absent() && may_be_absent(world, state, read.key, required);
    if result >= required || rightly_absent {
        return None;
    }
    let acknowledged = state.outside.acknowledged[usize::from(read.key)] > result;
    Some(if world.write(required).content == Content::Tombstone && !result.is_absent() {
        Promise::NoResurrection
    } else if acknowledged {
        Promise::ReadSeesAcked
    } else {
        Promise::ReadsMonotonic
    })
}

/// What the acknowledgement of a put breaks.
pub(crate) fn put_ends(version: Version, required: Version) -> Option<Promise> {
    (version <= required).then_some(Promise::AckIsLatest)
}

/// What a state breaks.
pub(crate) fn broken(world: &World, state: &State) -> Option<Promise> {
    if state.outside.broken.is_some() {
        return state.outside.broken;
    }
    if !floors_are_safe(world, state) {
        return Some(Promise::FloorSafe);
    }
    if progress::read_is_stuck(world, state) {
        return Some(Promise::ReadsEnd);
    }
    if progress::put_is_stuck(world, state) {
        return Some(Promise::WritesEnd);
    }
    settling::broken(world, state)
}

fn floors_are_safe(world: &World, state: &State) -> bool {
    let differ = |left: Node, right: Node| {
        let floor = state.replica(left).marks.floor;
        let same_floor = floor == state.replica(right).marks.floor;
        let differs_on = |key| {
            let shown = [left, right].map(|node| replica::shown(world, state, node, key));
            shown[0] != shown[1] && shown.iter().all(|&version| version <= floor)
        };
        same_floor && world.keys().any(differs_on)
    };
    let claims = |node: &Node| marks::claims_floor(world, state.replica(*node));
    let claiming = || world.nodes().iter().filter(claims);
    !claiming().any(|left| claiming().any(|right| left < right && differ(left, right)))
}
