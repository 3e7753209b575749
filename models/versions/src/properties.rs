//! The promises, by the names of `docs/semantics.md`. Everything that clients observed is in the
//! state.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use crate::history::History;
use crate::progress;
use crate::state::{Read, ReadPhase, State, Version, Write, WritePhase, read_operation};
use crate::world::{Claim, World};

/// What must never break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// As many replicas as the level says hold an acknowledged write, or a newer one, durably.
    AckNotLost,
    /// A write at a majority that begins after another was acknowledged, or a quorum read answered,
    /// gets a larger version.
    AckIsLatest,
    /// A read that begins after an acknowledged write sees it or a newer one, where the levels
    /// overlap.
    ReadSeesAcked,
    /// A quorum read sees what an earlier one saw, or a newer version.
    ReadsMonotonic,
    /// A hint goes only when its target holds the write or a newer one.
    HintNotLost,
    /// Nothing is stored of a write answered `refused`.
    RefusedIsTrue,
    /// A write ends with `ok` while as many replicas as its level says are up and answer.
    WritesEnd,
    /// What is claimed of the order that clients see.
    Claimed,
}

impl fmt::Display for Promise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AckNotLost => "ACK_NOT_LOST",
            Self::AckIsLatest => "ACK_IS_LATEST",
            Self::ReadSeesAcked => "READ_SEES_ACKED",
            Self::ReadsMonotonic => "READS_MONOTONIC",
            Self::HintNotLost => "HINT_NOT_LOST",
            Self::RefusedIsTrue => "refused is true",
            Self::WritesEnd => "writes end",
            Self::Claimed => "the order claimed",
        })
    }
}

/// Whether histories that were judged before can be explained.
pub(crate) type Judged = RefCell<HashMap<History, bool>>;

/// What a state breaks.
pub(crate) fn broken(world: &World, state: &State, judged: &Judged) -> Option<Promise> {
    let of_writes = world.write_numbers().find_map(|write| of_write(world, state, write));
    let of_reads = || world.read_numbers().find_map(|read| of_read(world, state, read));
    of_writes.or_else(of_reads).or_else(|| of_claim(world, state, judged))
}

fn is_quorum(world: &World, level: usize) -> bool {
    level >= world.majority()
}

fn of_write(world: &World, state: &State, write: u8) -> Option<Promise> {
    let going = state.write(write);
    match going.phase {
        WritePhase::Acknowledged => of_acknowledged(world, state, write, going),
        WritePhase::Refused => {
            let stores = |version: Version| !version.is_absent() && version.write() == write;
            let taken = state.replicas.iter().any(|replica| stores(replica.memory));
            taken.then_some(Promise::RefusedIsTrue)
        }
        _ => None,
    }
}

fn of_acknowledged(world: &World, state: &State, write: u8, going: Write) -> Option<Promise> {
    let replicas = &state.replicas[..world.replicas];
    let level = world.write_level(write);
    let version = going.last();
    if replicas.iter().filter(|replica| replica.durable >= going.told).count() < level {
        return Some(Promise::AckNotLost);
    }
    let orders = is_quorum(world, level) || world.claim == Claim::OrderBelowMajority;
    let after_write = |earlier: u8| {
        let comparable = is_quorum(world, world.write_level(earlier))
            || world.claim == Claim::OrderBelowMajority;
        let earlier_write = state.write(earlier);
        going.before.contains(earlier)
            && comparable
            && earlier_write.phase == WritePhase::Acknowledged
            && earlier_write.last() >= version
    };
    let after_read = |read: u8| {
        let sees = is_quorum(world, level) && is_quorum(world, world.read_level(read));
        going.before.contains(read_operation(read)) && sees && state.read(read).winner >= version
    };
    if orders && (world.write_numbers().any(after_write) || world.read_numbers().any(after_read)) {
        return Some(Promise::AckIsLatest);
    }
    let lost = replicas.iter().any(|replica| {
        replica.hinted.contains(write) && replica.durable < version && replica.hint < version
    });
    lost.then_some(Promise::HintNotLost)
}

fn of_read(world: &World, state: &State, read: u8) -> Option<Promise> {
    let Read { phase, winner, before } = state.read(read);
    if phase != ReadPhase::Answered {
        return None;
    }
    let level = world.read_level(read);
    let misses = |write: u8| {
        let overlaps = world.write_level(write) + level > world.replicas;
        let earlier = state.write(write);
        let acknowledged = before.contains(write) && earlier.phase == WritePhase::Acknowledged;
        acknowledged && overlaps && winner < earlier.last()
    };
    if world.write_numbers().any(misses) {
        return Some(Promise::ReadSeesAcked);
    }
    let falls_behind = |earlier: u8| {
        let both = is_quorum(world, level) && is_quorum(world, world.read_level(earlier));
        before.contains(read_operation(earlier)) && both && winner < state.read(earlier).winner
    };
    world.read_numbers().any(falls_behind).then_some(Promise::ReadsMonotonic)
}

fn of_claim(world: &World, state: &State, judged: &Judged) -> Option<Promise> {
    match world.claim {
        Claim::None | Claim::OrderBelowMajority => None,
        Claim::WritesEnd => progress::is_stuck(world, state).then_some(Promise::WritesEnd),
        Claim::UnknownStaysBelow => unknown_surfaces(world, state).then_some(Promise::Claimed),
        Claim::Register | Claim::UpToTwoWrites => {
            let history = History::of(world, state);
            let mut judged = judged.borrow_mut();
            let explained =
                *judged.entry(history).or_insert_with(|| history.is_explained(world.claim));
            (!explained).then_some(Promise::Claimed)
        }
    }
}

/// Whether a read returns a write that was answered `unknown` before a write began that was
/// acknowledged before the read began.
fn unknown_surfaces(world: &World, state: &State) -> bool {
    world.read_numbers().map(|read| state.read(read)).any(|read| {
        let of_unknown = |write: u8| state.write(write).phase == WritePhase::Unknown;
        let source = read.winner.write();
        let surfaces = !read.winner.is_absent() && of_unknown(source);
        let overwritten = |write: u8| {
            let later = state.write(write);
            let acknowledged = later.phase == WritePhase::Acknowledged;
            acknowledged && later.before.contains(source) && read.before.contains(write)
        };
        read.phase == ReadPhase::Answered && surfaces && world.write_numbers().any(overwritten)
    })
}
