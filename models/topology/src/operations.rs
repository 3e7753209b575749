//! Coordinators: writes with at most two stamps, reads with write-back. A coordinator belongs to no
//! node; its crash is that it never acts again.
//!
//! An answer counts from when it is formed, but the coordinator acts on it whenever it likes: that
//! is every delay of the answer. A lost message is an action that is never taken.

use explorer::{Node, NodeSet};

use crate::mutants::Mutant;
use crate::properties;
use crate::replica;
use crate::state::{Admission, Operation, Phase, Sending, Stamp, State, Version};
use crate::world::{Kind, Level, World};

/// Which sets of a joint document must agree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sets {
    Both,
    Current,
    Next,
}

fn sets(world: &World, current_only: Mutant, next_only: Mutant) -> Sets {
    match world.mutant {
        Some(mutant) if mutant == current_only => Sets::Current,
        Some(mutant) if mutant == next_only => Sets::Next,
        _ => Sets::Both,
    }
}

/// Whether `nodes` has as many of each set in force as the level needs.
fn enough(state: &State, operation: Operation, nodes: NodeSet, level: Level, sets: Sets) -> bool {
    let document = state.document(operation.document);
    let has = |set: NodeSet| match level {
        Level::One => !nodes.and(set).is_empty(),
        Level::Majority => nodes.has_majority_of(set),
        Level::All => set.minus(nodes).is_empty(),
    };
    match (document.is_joint(), sets) {
        (false, _) | (true, Sets::Current) => has(document.current),
        (true, Sets::Next) => has(document.next),
        (true, Sets::Both) => has(document.current) && has(document.next),
    }
}

/// Begins a write under a document that was decided, however old.
pub(crate) fn begin_write(world: &World, state: &mut State, number: u8, document: u8, clock: u8) {
    let version = Version::stamped(clock, number);
    let must_reach = properties::must_reach(world, state, Kind::Write);
    let phase = Phase::Asking;
    let mut write = Operation { phase, document, version, must_reach, ..Operation::default() };
    write.send(state.document(document).members());
    *state.operation_mut(number) = write;
}

pub(crate) fn begin_read(world: &World, state: &mut State, number: u8, document: u8) {
    let must_reach = properties::must_reach(world, state, Kind::Read);
    let (phase, floor) = (Phase::Asking, state.floor);
    let read = Operation { phase, document, must_reach, floor, ..Operation::default() };
    *state.operation_mut(number) = read;
}

/// Takes a record off its way.
pub(crate) fn take(state: &mut State, number: u8, place: usize, node: Node) -> Sending {
    let sending = &mut state.operation_mut(number).sendings[place];
    sending.to.remove(node);
    *sending
}

/// A replica admits a record, which is not durable yet.
pub(crate) fn admit(state: &mut State, number: u8, sending: Sending, node: Node) {
    let Sending { document, version, .. } = sending;
    state.admission = Some(Admission { node, operation: number, document, version });
}

/// An admitted record becomes durable.
pub(crate) fn land(world: &World, state: &mut State, admission: Admission) {
    state.admission = None;
    let Admission { node, operation, document, version } = admission;
    let landed = Sending { document, version, to: NodeSet::EMPTY };
    store(world, state, operation, landed, node);
    replica::settle(world, state, node);
}

/// A replica merges a record and answers. The answer counts only for the attempt that it belongs
/// to.
pub(crate) fn store(world: &World, state: &mut State, number: u8, sending: Sending, node: Node) {
    let Sending { document, version, .. } = sending;
    if version <= state.floor {
        return;
    }
    let held = state.replica(node).held;
    state.replica_mut(node).held = held.max(version);
    let kind = world.kind(number);
    let operation = state.operation_mut(number);
    let waits = match operation.phase {
        Phase::Asking => kind == Kind::Write,
        Phase::WritingBack => true,
        Phase::Idle | Phase::Done => false,
    };
    let same = operation.document == document || world.is(Mutant::OlderAnswersCount);
    if !waits || !same || operation.version != version {
        return;
    }
    if held <= version {
        operation.holders.insert(node);
    } else {
        operation.superseding.insert(node);
        operation.largest = operation.largest.max(held);
    }
}

/// A replica answers a read.
pub(crate) fn answer(state: &mut State, number: u8, node: Node) {
    let held = state.replica(node).held;
    let read = state.operation_mut(number);
    read.answered.insert(node);
    if held > read.largest {
        read.largest = held;
        read.holders = NodeSet::EMPTY;
    }
    if held == read.largest {
        read.holders.insert(node);
    }
}

/// A coordinator learns a newer document: it voids all answers and sends again to the new sets. A
/// second stamp already taken stays.
pub(crate) fn move_on(world: &World, state: &mut State, number: u8, document: u8) {
    let members = state.document(document).members();
    let keeps_answers = world.is(Mutant::OlderAnswersCount);
    let kind = world.kind(number);
    let operation = state.operation_mut(number);
    operation.document = document;
    if !keeps_answers {
        operation.void_answers();
    }
    if kind == Kind::Write || (keeps_answers && operation.phase == Phase::WritingBack) {
        operation.send(members.minus(operation.holders));
    } else if !keeps_answers {
        operation.phase = Phase::Asking;
        operation.version = Version::ABSENT;
    }
}

/// Whether W replicas of every set in force acknowledged. To the second stamp `superseded` counts,
/// because that stamp lies above everything acknowledged before the write began.
pub(crate) fn write_may_end(world: &World, state: &State, write: Operation) -> bool {
    let counts = write.stamp == Stamp::Second || world.is(Mutant::SupersededIsAcknowledgement);
    let acks = if counts { write.holders.or(write.superseding) } else { write.holders };
    let sets = sets(world, Mutant::WriteCurrentOnly, Mutant::WriteNextOnly);
    enough(state, write, acks, world.level, sets)
}

pub(crate) fn end_write(world: &World, state: &mut State, number: u8) {
    let write = state.operation(number);
    state.broken = properties::write_ends(world, write);
    state.acknowledged = state.acknowledged.max(write.version);
    end(state, number);
}

/// Whether min(W, majority) of every set answered the first stamp, one of them with `superseded`,
/// and fewer than W acknowledged.
pub(crate) fn may_restamp(world: &World, state: &State, write: Operation) -> bool {
    let answered = write.holders.or(write.superseding);
    let level = if world.level == Level::One { Level::One } else { Level::Majority };
    let heard = enough(state, write, answered, level, Sets::Both)
        || world.is(Mutant::FirstSupersededRestamps);
    let is_first = write.stamp == Stamp::First && !write.superseding.is_empty();
    is_first && heard && !enough(state, write, write.holders, world.level, Sets::Both)
}

pub(crate) fn restamp(state: &mut State, number: u8) {
    let members = state.document(state.operation(number).document).members();
    let write = state.operation_mut(number);
    write.version = write.version.past(write.largest, number);
    write.stamp = Stamp::Second;
    write.void_answers();
    write.send(members);
}

/// Whether enough replicas answered a read.
pub(crate) fn may_judge(world: &World, state: &State, read: Operation) -> bool {
    let sets = sets(world, Mutant::ReadCurrentOnly, Mutant::ReadNextOnly);
    read.phase == Phase::Asking && enough(state, read, read.answered, Level::Majority, sets)
}

/// The largest version answered wins, and goes to those that are not known to hold it.
pub(crate) fn judge(state: &mut State, number: u8) {
    let read = state.operation(number);
    let stale = state.document(read.document).members().minus(read.holders);
    let is_held = enough(state, read, read.holders, Level::Majority, Sets::Both);
    let read = state.operation_mut(number);
    read.phase = Phase::WritingBack;
    read.version = read.largest;
    if !is_held && !read.version.is_absent() {
        read.send(stale);
    }
}

/// Whether a majority of every set is known to hold the winner or something newer.
pub(crate) fn read_may_end(world: &World, state: &State, read: Operation) -> bool {
    let holders = read.holders.or(read.superseding);
    let sets = sets(world, Mutant::BackToCurrentOnly, Mutant::BackToNextOnly);
    let is_held = read.version.is_absent()
        || world.is(Mutant::NoWriteBack)
        || enough(state, read, holders, Level::Majority, sets);
    read.phase == Phase::WritingBack && is_held
}

pub(crate) fn end_read(world: &World, state: &mut State, number: u8) {
    let read = state.operation(number);
    state.broken = properties::read_ends(world, state, read);
    state.seen = state.seen.max(read.version);
    end(state, number);
}

/// Keeps of an ended operation only what is still on its way.
fn end(state: &mut State, number: u8) {
    let sendings = state.operation(number).sendings;
    *state.operation_mut(number) =
        Operation { phase: Phase::Done, sendings, ..Operation::default() };
}

/// Drops sendings that can have no effect any more, because their receivers refuse the fence or are
/// dead, and orders the others: fewer states that differ in nothing.
pub(crate) fn tidy(world: &World, state: &mut State) {
    for number in world.operation_numbers() {
        let mut sendings = state.operation(number).sendings;
        for sending in sendings.iter_mut().filter(|sending| !sending.to.is_empty()) {
            let fence = state.document(sending.document).fence;
            let may_admit =
                |node: &Node| world.is(Mutant::NoFence) || state.document_of(*node).fence <= fence;
            sending.to = sending.to.minus(world.dead).iter().filter(may_admit).collect();
            if sending.to.is_empty() {
                *sending = Sending::default();
            }
        }
        sendings.sort_unstable();
        state.operation_mut(number).sendings = sendings;
    }
}
