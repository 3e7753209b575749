//! A quorum read: answers with floors, what they add up to, and its write-back.
//!
//! The largest version wins, unless an absence at a floor covers it. At or below a claimed floor
//! the winner needs no write-back; else a quorum must hold it or newer. A replica takes a
//! write-back above its `full`; below, its present record and floor replace its answer.
//!
//! **Never:** a refused write-back counts as held.

use explorer::{Node, NodeSet};

use crate::documents;
use crate::marks;
use crate::mutants::Mutant;
use crate::properties;
use crate::replica;
use crate::state::{Answer, NODES, Read, State, Version};
use crate::world::{Claim, World};

/// What answers add up to.
struct Judgement {
    winner: Version,
    /// The version that a floor overruled.
    overruled: Version,
    holders: NodeSet,
    is_settled: bool,
}

fn judge(world: &World, read: &Read) -> Judgement {
    let answers = || read.answered.iter().map(|node| read.answers[node.index()]);
    let largest = answers().map(|answer| answer.record).max().unwrap_or_default();
    let claimed = answers().map(|answer| answer.floor).max().unwrap_or_default();
    let absences = answers().filter(|answer| answer.record.is_absent());
    let covered = match world.is(Mutant::AbsenceCoversNothing) {
        true => Version::ABSENT,
        false => absences.map(|answer| answer.floor).max().unwrap_or_default(),
    };
    let holds = |node: &Node| read.answers[node.index()].record >= largest;
    let holders: NodeSet = read.answered.iter().filter(holds).collect();
    if largest <= covered {
        let winner = Version::ABSENT;
        return Judgement { winner, overruled: largest, holders, is_settled: true };
    }
    let is_settled = largest <= claimed
        || world.document(read.document).is_quorum(holders)
        || world.is(Mutant::NoWriteBack)
        || world.is(Mutant::OneAnswerIsEnough);
    Judgement { winner: largest, overruled: Version::ABSENT, holders, is_settled }
}

/// Begins a read under a document that was decided, however old, with a first answer: nothing that
/// happens between the two is asked of it.
pub(crate) fn begin(world: &World, state: &mut State, document: u8, node: Node) {
    state.reads_left -= 1;
    state.read = Some(Read {
        document,
        answered: NodeSet::EMPTY,
        answers: [Answer::default(); NODES],
        must_reach: state.reached,
        overruled: state.overruled,
    });
    answer(world, state, node);
}

fn has_enough(world: &World, read: &Read) -> bool {
    world.document(read.document).is_quorum(read.answered) || world.is(Mutant::OneAnswerIsEnough)
}

/// Whether no answer can come any more that the read could do with.
pub(crate) fn is_over(world: &World, state: &State, read: &Read) -> bool {
    let document = world.document(read.document);
    let may_yet = |node: &Node| state.replica(*node).durable <= read.document;
    let left: NodeSet = document.members().iter().filter(may_yet).collect();
    left.is_empty() || !document.is_quorum(read.answered.or(left))
}

/// Whether a replica may answer.
pub(crate) fn may_answer(world: &World, state: &State, read: &Read, node: Node) -> bool {
    let is_asked = !has_enough(world, read) && !read.answered.contains(node);
    is_asked && replica::answers(world, state, node, read.document)
}

pub(crate) fn answer(world: &World, state: &mut State, node: Node) {
    let answer = present(world, state, node);
    let Some(read) = &mut state.read else { return };
    read.answered.insert(node);
    read.answers[node.index()] = answer;
    end_if_settled(world, state);
}

fn present(world: &World, state: &State, node: Node) -> Answer {
    let replica = state.replica(node);
    let is_joint = world.document(replica.known).is_joint();
    let claims =
        world.claim == Claim::Always || !is_joint || documents::is_complete(world, state, node);
    let floor = if claims { replica.marks.floor } else { Version::ABSENT };
    Answer { record: marks::visible(world, replica), floor }
}

/// Whether the winner may be written back to a replica.
pub(crate) fn may_write_back(world: &World, state: &State, read: &Read, node: Node) -> bool {
    let is_member = world.document(read.document).members().contains(node);
    if !is_member || !has_enough(world, read) || judge(world, read).holders.contains(node) {
        return false;
    }
    match world.is(Mutant::WriteBackAcrossFences) {
        true => replica::serves(world, state, node).is_some() && state.replica(node).is_ready,
        false => replica::answers(world, state, node, read.document),
    }
}

pub(crate) fn write_back(world: &World, state: &mut State, node: Node) {
    let Some(read) = &state.read else { return };
    let Judgement { winner, .. } = judge(world, read);
    let replica = state.replica_mut(node);
    let takes = winner > replica.marks.full || world.is(Mutant::WriteBackBelowFull);
    if takes {
        replica.held = replica.held.max(winner);
    }
    let now = present(world, state, node);
    let Some(read) = &mut state.read else { return };
    read.answered.insert(node);
    let answer = &mut read.answers[node.index()];
    if takes || world.is(Mutant::RefusalCountsAsHeld) {
        answer.record = winner;
    } else {
        *answer = now;
    }
    end_if_settled(world, state);
}

/// A read answers as soon as it can: later would only ask less of the reads after it.
fn end_if_settled(world: &World, state: &mut State) {
    let Some(read) = &state.read else { return };
    let judgement = judge(world, read);
    if !has_enough(world, read) || !judgement.is_settled {
        return;
    }
    state.broken = properties::read_ends(world, state, read, judgement.winner);
    state.reached = state.reached.max(judgement.winner);
    state.overruled = state.overruled.max(judgement.overruled);
    state.read = None;
}
