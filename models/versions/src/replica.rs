//! What replicas do: take, sync, crash, and answer.
//!
//! **Never:** anything but what is durable is acknowledged, shown to a read, or told as
//! superseding.

use crate::mutants::Mutant;
use crate::state::{Replica, Stamp, State, Version, WritePhase};
use crate::world::{Copies, Disk, World};

/// Whether this record may come to this replica now, and would change something.
pub(crate) fn may_take(
    world: &World,
    state: &State,
    place: usize,
    write: u8,
    stamp: Stamp,
) -> bool {
    let replica = &state.replicas[place];
    let version = state.write(write).version(stamp);
    if version.is_absent() {
        return false;
    }
    match world.copies {
        Copies::Any => version > replica.memory,
        Copies::One => {
            let is_sent = !replica.received[stamp as usize].contains(write)
                && !replica.skipped.contains(write);
            let is_read = world.read_numbers().any(|read| state.read(read).winner == version);
            let comes_otherwise = replica.replayed == version || is_read;
            is_sent || (comes_otherwise && version > replica.memory)
        }
    }
}

pub(crate) fn take(world: &World, state: &mut State, place: usize, write: u8, stamp: Stamp) {
    let version = state.write(write).version(stamp);
    let replica = &mut state.replicas[place];
    if world.copies == Copies::One {
        replica.received[stamp as usize].insert(write);
    }
    if version <= replica.memory {
        return;
    }
    replica.memory = version;
    match world.disk {
        Disk::AtOnce => replica.durable = version,
        Disk::Synced(_) if stamp == Stamp::First => replica.applied.insert(write),
        Disk::Synced(_) => {}
    }
}

/// Whether a crash would lose something.
pub(crate) fn has_unsynced(replica: &Replica) -> bool {
    replica.memory > replica.durable
}

pub(crate) fn sync(state: &mut State, place: usize) {
    let replica = &mut state.replicas[place];
    replica.durable = replica.memory;
}

pub(crate) fn crash(state: &mut State, place: usize) {
    state.crashes_left -= 1;
    let replica = &mut state.replicas[place];
    replica.memory = replica.durable;
    replica.applied = Default::default();
}

/// Whether the first stamp of a write still waits for this replica's answer.
fn is_awaited(world: &World, state: &State, replica: &Replica, write: u8) -> bool {
    let asked = state.write(write);
    let waits = match asked.phase {
        WritePhase::FirstStamp => true,
        WritePhase::SecondStamp => {
            world.is(Mutant::LateAcknowledgementCounts) || world.is(Mutant::LateAnswerCounts)
        }
        WritePhase::Acknowledged => {
            world.is(Mutant::RestampAfterAnswer) && asked.second.is_absent()
        }
        WritePhase::Idle | WritePhase::Unknown | WritePhase::Refused => false,
    };
    let came = world.copies == Copies::Any || replica.received[0].contains(write);
    let answered = [replica.acknowledged, replica.superseding];
    waits && came && !answered.iter().any(|answered| answered.contains(write))
}

/// Whether a replica may acknowledge the first stamp: it is durable, or what replaced it in the
/// same batch is.
pub(crate) fn may_acknowledge(world: &World, state: &State, place: usize, write: u8) -> bool {
    let replica = &state.replicas[place];
    let first = state.write(write).first;
    let is_durable = replica.durable == first
        || (replica.applied.contains(write) && replica.durable >= first)
        || (world.is(Mutant::AckBeforeDurable) && replica.memory == first);
    is_durable && is_awaited(world, state, replica, write)
}

/// The version that a replica shows, answers and confirms.
pub(crate) fn visible(world: &World, replica: &Replica, early: Mutant) -> Version {
    if world.is(early) { replica.memory } else { replica.durable }
}

/// Whether a replica may answer `superseded` to the first stamp.
pub(crate) fn may_supersede(world: &World, state: &State, place: usize, write: u8) -> bool {
    let replica = &state.replicas[place];
    let held = visible(world, replica, Mutant::SupersededBeforeDurable);
    held > state.write(write).first && is_awaited(world, state, replica, write)
}

pub(crate) fn supersede(world: &World, state: &mut State, place: usize, write: u8) {
    let replica = &mut state.replicas[place];
    let held = visible(world, replica, Mutant::SupersededBeforeDurable);
    replica.superseding.insert(write);
    let asked = state.write_mut(write);
    asked.largest = asked.largest.max(held);
}

/// Whether a replica may refuse the first copy of a write, storing nothing.
pub(crate) fn may_refuse(world: &World, state: &State, place: usize, write: u8) -> bool {
    let replica = &state.replicas[place];
    let waits = state.write(write).phase == WritePhase::FirstStamp;
    let is_fresh = !replica.received[0].contains(write) && !replica.skipped.contains(write);
    let unanswered = !replica.acknowledged.contains(write) && !replica.superseding.contains(write);
    let unstored = world.copies == Copies::Any || is_fresh;
    let refused = replica.refused.contains(write);
    state.refusals_left > 0 && waits && unanswered && unstored && !refused
}

pub(crate) fn refuse(world: &World, state: &mut State, place: usize, write: u8) {
    state.refusals_left -= 1;
    let replica = &mut state.replicas[place];
    replica.refused.insert(write);
    if world.copies == Copies::One {
        replica.received[0].insert(write);
    }
}

/// Answers a read.
pub(crate) fn answer(world: &World, state: &mut State, place: usize, read: u8) {
    let replica = &mut state.replicas[place];
    let held = visible(world, replica, Mutant::ReadBeforeDurable);
    replica.answers[usize::from(read)] = Some(held);
}
