//! What coordinators do: two stamps at most, quorum reads with write-back, hints.
//!
//! A coordinator belongs to no replica; its crash is that it never acts again.

use crate::mutants::Mutant;
use crate::replica::visible;
use crate::state::{
    Operations, Read, ReadPhase, Replica, State, Version, Write, WritePhase, read_operation,
};
use crate::world::{Claim, Copies, Hints, World};

fn replicas<'a>(world: &World, state: &'a State) -> &'a [Replica] {
    &state.replicas[..world.replicas]
}

fn count(world: &World, state: &State, counts: impl Fn(&Replica) -> bool) -> usize {
    replicas(world, state).iter().filter(|replica| counts(replica)).count()
}

/// Everything that has ended, from the clients' side.
fn ended(world: &World, state: &State) -> Operations {
    let mut ended = Operations::default();
    for write in world.write_numbers() {
        let phase = state.write(write).phase;
        let told = phase == WritePhase::Unknown && world.claim == Claim::UnknownStaysBelow;
        if phase == WritePhase::Acknowledged || told {
            ended.insert(write);
        }
    }
    for read in world.read_numbers() {
        if state.read(read).phase == ReadPhase::Answered {
            ended.insert(read_operation(read));
        }
    }
    ended
}

pub(crate) fn begin_write(world: &World, state: &mut State, write: u8, time: u8) {
    let (before, phase) = (ended(world, state), WritePhase::FirstStamp);
    let first = Version::stamped(time, write);
    *state.write_mut(write) = Write { phase, first, before, ..Write::default() };
}

pub(crate) fn begin_read(world: &World, state: &mut State, read: u8) {
    let (before, phase) = (ended(world, state), ReadPhase::Asking);
    *state.read_mut(read) = Read { phase, before, winner: Version::ABSENT };
}

/// Whether W replicas acknowledged. To the second stamp `superseded` counts, because that stamp
/// lies above everything acknowledged before the write began.
pub(crate) fn may_acknowledge(world: &World, state: &State, write: u8) -> bool {
    let going = state.write(write);
    let to_first = |replica: &Replica| {
        let superseded = replica.superseding.contains(write);
        replica.acknowledged.contains(write)
            || (world.is(Mutant::FirstSupersededCounts) && superseded)
            || (world.is(Mutant::HintCounts) && replica.hinted.contains(write))
    };
    let to_second = |replica: &Replica| {
        visible(world, replica, Mutant::AckBeforeDurable) >= going.second
            || visible(world, replica, Mutant::SupersededBeforeDurable) > going.second
            || (world.is(Mutant::LateAcknowledgementCounts) && replica.acknowledged.contains(write))
            || (world.is(Mutant::LateAnswerCounts)
                && (replica.acknowledged.contains(write) || replica.superseding.contains(write)))
    };
    let replicas = match going.phase {
        WritePhase::FirstStamp => count(world, state, to_first),
        WritePhase::SecondStamp => count(world, state, to_second),
        _ => return false,
    };
    let acknowledgements = if world.is(Mutant::MessagesCount) { 2 * replicas } else { replicas };
    acknowledgements >= world.needed(world.write_level(write))
}

pub(crate) fn end_write(world: &World, state: &mut State, write: u8, phase: WritePhase) {
    let ended = state.write_mut(write);
    ended.phase = phase;
    ended.told = ended.last();
    if !world.is(Mutant::RestampAfterAnswer) {
        state.write_mut(write).largest = Version::ABSENT;
        void_answers(state, write);
    }
}

/// What was answered to the first stamp counts no more.
fn void_answers(state: &mut State, write: u8) {
    for replica in &mut state.replicas {
        replica.acknowledged.remove(write);
        replica.superseding.remove(write);
        replica.refused.remove(write);
    }
}

/// Whether min(W, majority) replicas answered the first stamp, one of them with `superseded`, and
/// fewer than W acknowledged (or the write would have ended).
pub(crate) fn may_restamp(world: &World, state: &State, write: u8) -> bool {
    let going = state.write(write);
    let waits = match going.phase {
        WritePhase::FirstStamp => true,
        WritePhase::Acknowledged => {
            world.is(Mutant::RestampAfterAnswer) && going.second.is_absent()
        }
        _ => false,
    };
    let superseding = count(world, state, |replica| replica.superseding.contains(write));
    let answered = count(world, state, |replica| {
        let refused = world.is(Mutant::ErrorIsAnswer) && replica.refused.contains(write);
        replica.acknowledged.contains(write) || replica.superseding.contains(write) || refused
    });
    let level = world.needed(world.write_level(write));
    let needed = match world.mutant {
        Some(Mutant::RestampAtOnce) => 1,
        Some(Mutant::RestampNeedsMajority) => world.supposed_majority(),
        _ => level.min(world.supposed_majority()),
    };
    waits && superseding > 0 && answered >= needed
}

pub(crate) fn restamp(world: &World, state: &mut State, write: u8) {
    let keeps_answers =
        world.is(Mutant::LateAcknowledgementCounts) || world.is(Mutant::LateAnswerCounts);
    let going = state.write_mut(write);
    let own_clock = world.is(Mutant::RestampFromOwnClock);
    let largest = if own_clock { going.first } else { going.largest };
    going.second = going.first.past(largest);
    going.largest = Version::ABSENT;
    if going.phase == WritePhase::FirstStamp {
        going.phase = WritePhase::SecondStamp;
    }
    if !keeps_answers {
        void_answers(state, write);
    }
}

/// Whether `refused` is true: no replica was sent more than one copy, every copy was answered by a
/// refusal, and no hint was kept.
pub(crate) fn may_end_refused(world: &World, state: &State, write: u8) -> bool {
    let refused = count(world, state, |replica| {
        replica.refused.contains(write) || replica.skipped.contains(write)
    });
    let one_copy = world.copies == Copies::One || world.is(Mutant::RefusedAfterResending);
    let hinted = count(world, state, |replica| replica.hinted.contains(write)) > 0;
    let first = state.write(write).phase == WritePhase::FirstStamp;
    let is_true = !hinted || world.is(Mutant::RefusedDespiteHint);
    first && one_copy && is_true && refused == world.replicas
}

/// Whether a replica may be passed over, because it is known to be down.
pub(crate) fn may_skip(world: &World, state: &State, place: usize, write: u8) -> bool {
    let replica = &state.replicas[place];
    let is_unsent = !replica.received[0].contains(write) && !replica.skipped.contains(write);
    let begins = state.write(write).phase == WritePhase::FirstStamp;
    world.copies == Copies::One && world.refusals > 0 && begins && is_unsent
}

pub(crate) fn skip(world: &World, state: &mut State, place: usize, write: u8) {
    let version = state.write(write).first;
    let replica = &mut state.replicas[place];
    replica.skipped.insert(write);
    if world.is(Mutant::RefusedDespiteHint) {
        replica.hinted.insert(write);
        replica.hint = replica.hint.max(version);
    }
}

/// Whether a hint may be kept: once the write is answered `ok`, for a replica that is not known to
/// hold it.
pub(crate) fn may_hint(world: &World, state: &State, place: usize, write: u8) -> bool {
    let (replica, going) = (&state.replicas[place], state.write(write));
    let ends = going.phase == WritePhase::Acknowledged
        || (world.is(Mutant::HintCounts) && going.is_under_way());
    let lacks = replica.durable < going.last() && !replica.hinted.contains(write);
    world.hints == Hints::Kept && ends && lacks
}

/// Newest record per key.
pub(crate) fn hint(state: &mut State, place: usize, write: u8) {
    let version = state.write(write).last();
    let replica = &mut state.replicas[place];
    replica.hinted.insert(write);
    replica.hint = replica.hint.max(version);
}

pub(crate) fn replay(world: &World, state: &mut State, place: usize) {
    let replica = &mut state.replicas[place];
    replica.replayed = replica.hint;
    if world.is(Mutant::HintDroppedWhenSent) {
        replica.hint = Version::ABSENT;
    }
}

/// The target answered durably; the slot may hold a newer hint by now.
pub(crate) fn end_replay(world: &World, state: &mut State, place: usize) {
    let replica = &mut state.replicas[place];
    if replica.hint <= replica.replayed || world.is(Mutant::HintRemovedByKey) {
        replica.hint = Version::ABSENT;
    }
    replica.replayed = Version::ABSENT;
}

/// Whether R replicas answered a read.
pub(crate) fn may_judge(world: &World, state: &State, read: u8) -> bool {
    let slot = usize::from(read);
    let answered = count(world, state, |replica| replica.answers[slot].is_some());
    let absent = world.is(Mutant::AbsentBelowQuorum)
        && answered > 0
        && winner(world, state, read).is_absent();
    let asking = state.read(read).phase == ReadPhase::Asking;
    asking && (absent || answered >= world.needed(world.read_level(read)))
}

fn winner(world: &World, state: &State, read: u8) -> Version {
    let answers = replicas(world, state).iter().filter_map(|r| r.answers[usize::from(read)]);
    answers.max().unwrap_or(Version::ABSENT)
}

/// The largest version answered wins. A quorum read then writes it back, unless a majority answered
/// it.
pub(crate) fn judge(world: &World, state: &mut State, read: u8) {
    let winner = winner(world, state, read);
    let is_quorum = world.needed(world.read_level(read)) >= world.supposed_majority();
    let answered_it = |replica: &Replica| replica.answers[usize::from(read)] == Some(winner);
    let is_held = count(world, state, answered_it) >= world.supposed_majority();
    let needs_write_back = is_quorum && !is_held && !world.is(Mutant::NoWriteBack);
    let ends = winner.is_absent() || !needs_write_back;
    let going = state.read_mut(read);
    going.winner = winner;
    going.phase = if ends { ReadPhase::Answered } else { ReadPhase::WritingBack };
    for replica in &mut state.replicas {
        replica.answers[usize::from(read)] = None;
    }
}

/// Whether a majority durably holds the winner or something newer.
pub(crate) fn may_end_read(world: &World, state: &State, read: u8) -> bool {
    let going = state.read(read);
    let holders = count(world, state, |replica| {
        visible(world, replica, Mutant::WriteBackBeforeDurable) >= going.winner
    });
    going.phase == ReadPhase::WritingBack && holders >= world.supposed_majority()
}
