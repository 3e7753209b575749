//! The coordinator of a put of key 0 that may be stamped a second time, as sections 3 and 9 say.
//!
//! **Never:** `below_floor` counts as an acknowledgement, but to a second stamp that the replica
//! supersedes.

use explorer::Node;

use crate::mutants::Mutant;
use crate::properties;
use crate::replica::{self, Answer};
use crate::state::{Put, PutPhase, State, Version};
use crate::world::{Clocks, Stamps, World};

/// Which stamp a copy carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    First,
    Second,
}

pub(crate) fn begin(state: &mut State) {
    let required = state.outside.required(0);
    state.outside.put = Put { phase: PutPhase::FirstStamp, required, ..Put::default() };
}

/// The stamp, if copies of it may arrive.
pub(crate) fn version_of(world: &World, state: &State, stamp: Stamp) -> Option<Version> {
    let put = state.outside.put;
    match stamp {
        Stamp::First if put.phase != PutPhase::Idle => Some(world.stamps.as_ref()?.first),
        Stamp::Second if !put.second.is_absent() => Some(put.second),
        Stamp::First | Stamp::Second => None,
    }
}

/// A copy arrives, and is answered.
pub(crate) fn send(world: &World, state: &mut State, node: Node, stamp: Stamp) {
    let Some(version) = version_of(world, state, stamp) else { return };
    let answer = replica::store(world, state, node, version);
    let held = state.replica(node).record(0);
    let put = &mut state.outside.put;
    match (stamp, put.phase) {
        (Stamp::First, PutPhase::FirstStamp) => match answer {
            Answer::None => return,
            Answer::Held => put.acknowledged.insert(node),
            Answer::Superseded(larger) | Answer::BelowFloor(larger) => {
                put.largest = put.largest.max(larger);
            }
        },
        (Stamp::Second, PutPhase::SecondStamp) => match answer {
            Answer::None => return,
            Answer::Held | Answer::Superseded(_) => put.acknowledged.insert(node),
            Answer::BelowFloor(_) => {
                if held > version || world.is(Mutant::BelowFloorAcknowledges) {
                    put.acknowledged.insert(node);
                }
            }
        },
        _ => return,
    }
    put.answered.insert(node);
    if put.acknowledged.has_majority_of(world.nodes()) {
        let required = put.required;
        *put = Put { phase: PutPhase::Ended, second: put.second, ..Put::default() };
        state.outside.acknowledge(0, version);
        state.outside.broken = properties::put_ends(version, required);
    }
}

/// Whether a majority answered, and somebody with something larger.
pub(crate) fn may_restamp(world: &World, state: &State) -> bool {
    let put = state.outside.put;
    let enough = put.answered.has_majority_of(world.nodes())
        || (world.is(Mutant::RestampsOnOneAnswer) && !put.answered.is_empty());
    let superseded = !put.answered.minus(put.acknowledged).is_empty();
    put.phase == PutPhase::FirstStamp && enough && superseded
}

/// Stamps anew past everything answered; without such a stamp the put ends unanswered.
pub(crate) fn restamp(world: &World, state: &mut State) {
    let Some(Stamps { seconds, clocks, .. }) = &world.stamps else { return };
    let closed = state.replicas.iter().map(|replica| replica.marks.closed).max();
    let past = match clocks {
        Clocks::Any => state.outside.put.largest,
        Clocks::WithinSkew => state.outside.put.largest.max(closed.unwrap_or_default()),
    };
    let put = &mut state.outside.put;
    match seconds.iter().find(|&&second| second > past) {
        Some(&second) => {
            let required = put.required;
            *put = Put { phase: PutPhase::SecondStamp, required, second, ..Put::default() };
        }
        None => end_unanswered(put),
    }
}

/// The client is told nothing, or `unknown`. Copies may still arrive.
pub(crate) fn end_unanswered(put: &mut Put) {
    if put.phase != PutPhase::Idle {
        *put = Put { phase: PutPhase::Ended, second: put.second, ..Put::default() };
    }
}

/// Whether a second stamp that is out was taken so lately that no clock closes it yet.
pub(crate) fn is_second_stamp_of_now(world: &World, state: &State, closed: Version) -> bool {
    let within = world.stamps.as_ref().is_some_and(|stamps| stamps.clocks == Clocks::WithinSkew);
    let put = state.outside.put;
    within && put.phase == PutPhase::SecondStamp && closed >= put.second
}

/// Whether a copy that arrives now would change anything.
pub(crate) fn may_send(world: &World, state: &State, node: Node, stamp: Stamp) -> bool {
    let put = state.outside.put;
    let counts = matches!(
        (stamp, put.phase),
        (Stamp::First, PutPhase::FirstStamp) | (Stamp::Second, PutPhase::SecondStamp)
    );
    let replica = state.replica(node);
    version_of(world, state, stamp).is_some_and(|version| {
        let enters = replica.record(0) < version && version > replica.marks.closed;
        // Sent again, a replica that acknowledged may answer that it is superseded by now.
        let is_news = !put.acknowledged.contains(node) || replica.record(0) > version;
        let answers = counts && is_news;
        replica.returning.is_none() && (enters || answers)
    })
}
