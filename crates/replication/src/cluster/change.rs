//! How one cluster document follows from another: operations that wait, begin, end or are given up.
//!
//! ```text
//!            Enqueue, Drop                Enqueue
//!  stable ------------------> stable   joint ----> joint
//!  stable --Begin--> joint --Finish--> stable(next)
//!                          --Cancel--> stable(current)
//! ```
//!
//! **Never:** depends on anything but the change and the document before it. A proposer that lost an
//! instance derives its change anew from what was decided. And never gives an ordinal twice.

use alloc::vec::Vec;

use paravon_model::limits::{
    MAX_COUNCIL, MAX_ENDED_OPERATIONS, MAX_MEMBERS, MAX_OPEN_OPERATIONS, MAX_PAST_CHANGES,
};
use paravon_model::{
    ChangeId, Document, Fence, Joint, Member, Newcomer, NodeId, Operation, OperationKind,
    OperationState, Ordinal, PastChange, Phase, Roster,
};

use crate::mutants::{self, Mutant};

/// So many changes are remembered for members that were away before others are asked to do without
/// them. What is done about that may itself be tried and fail as often again.
pub(super) const MAX_PAST: usize = MAX_PAST_CHANGES / 2;

/// Something to be done to the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// These operations wait from now on.
    Enqueue(Vec<(ChangeId, OperationKind)>),
    /// These of the waiting operations begin: the document becomes `joint`.
    Begin {
        /// By name; those that leave nothing to do are given up.
        operations: Vec<ChangeId>,
        /// The smallest fence that any member has reported as stored.
        stored: u64,
    },
    /// The change under way has ended: its layout is the current one.
    Finish {
        /// Of its `joint` document.
        fence: u64,
        /// The smallest fence that any member of the next layout has reported as stored.
        stored: u64,
    },
    /// The change under way is given up: the current layout stays.
    Cancel {
        /// Of its `joint` document.
        fence: u64,
        /// What becomes of its operations.
        fate: Fate,
    },
    /// These waiting operations are given up.
    Drop {
        /// By name.
        operations: Vec<ChangeId>,
    },
}

/// What becomes of the operations of a change that is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are given up with it.
    GivenUp,
    /// They wait again: a more urgent one goes first.
    Overtaken,
}

impl Change {
    /// The document after `document`; none where there is nothing to change any more.
    pub(super) fn successor(&self, document: &Document) -> Option<Document> {
        let mut next = document.clone();
        next.version += 1;
        let has_changed = match self {
            Self::Enqueue(wanted) => enqueue(&mut next, wanted),
            Self::Begin { operations, stored } => begin(&mut next, operations, *stored),
            Self::Finish { fence, stored } => finish(&mut next, *fence, *stored),
            Self::Cancel { fence, fate } => cancel(&mut next, *fence, *fate),
            Self::Drop { operations } => drop_waiting(&mut next, operations),
        };
        forget_ended(&mut next);
        has_changed.then_some(next)
    }
}

fn enqueue(document: &mut Document, wanted: &[(ChangeId, OperationKind)]) -> bool {
    let mut has_changed = false;
    for (id, kind) in wanted {
        if document.operation(*id).is_some() || open(document) >= MAX_OPEN_OPERATIONS {
            continue;
        }
        if let Some(newcomer) = newcomer(kind) {
            give_up_earlier_tries(document, &newcomer.node_id);
        }
        let (id, kind) = (*id, kind.clone());
        document.operations.push(Operation { id, kind, state: OperationState::Pending });
        has_changed = true;
    }
    has_changed
}

/// A node that asks again by another name of its operation has forgotten the first one.
fn give_up_earlier_tries(document: &mut Document, name: &NodeId) {
    for operation in &mut document.operations {
        let is_same = newcomer(&operation.kind).is_some_and(|known| known.node_id == *name);
        if is_same && operation.state == OperationState::Pending {
            operation.state = OperationState::Cancelled;
        }
    }
}

fn begin(document: &mut Document, wanted: &[ChangeId], stored: u64) -> bool {
    forget_past(document, stored);
    if document.joint().is_some() || document.past.len() >= MAX_PAST_CHANGES {
        return false;
    }
    let mut joint = Joint { next: document.current.clone(), lost: Vec::new() };
    let mut operations = core::mem::take(&mut document.operations);
    let is_wanted = |operation: &&mut Operation| {
        operation.state == OperationState::Pending && wanted.contains(&operation.id)
    };
    // Nodes that come together get their numbers in the order of their names, before anybody goes.
    let mut begun: Vec<&mut Operation> = operations.iter_mut().filter(is_wanted).collect();
    begun.sort_by_key(|operation| {
        let name = newcomer(&operation.kind).map(|new| new.node_id.clone());
        (name.is_none(), name)
    });
    let has_changed = !begun.is_empty();
    for operation in begun {
        operation.state = if apply(&operation.kind, &mut joint, &mut document.next_ordinal) {
            OperationState::Running
        } else {
            OperationState::Cancelled
        };
    }
    document.operations = operations;
    if operations_under_way(document).next().is_some() {
        joint.next.members.sort_by_key(|member| member.ordinal);
        joint.lost.sort_unstable();
        if mutants::is(Mutant::AcceptorsOfBothSets) {
            let next = joint.next.members.iter().map(|member| member.ordinal);
            document.council.extend(next);
            document.council.sort_unstable();
            document.council.dedup();
        }
        document.fence += 1;
        document.phase = Phase::Joint(joint);
    }
    has_changed
}

/// Does an operation to the layout to come; false where that leaves it nothing to do.
fn apply(kind: &OperationKind, joint: &mut Joint, next_ordinal: &mut u32) -> bool {
    match kind {
        OperationKind::Join(newcomer) => take_in(newcomer, &mut joint.next, next_ordinal),
        OperationKind::Drain { member } => {
            joint.next.members.len() > 1 && let_go(*member, &mut joint.next)
        }
        OperationKind::Remove { member } => {
            let is_done = joint.next.members.len() > 1 && let_go(*member, &mut joint.next);
            joint.lost.extend(is_done.then_some(*member));
            is_done
        }
        OperationKind::Replace { member, by } => {
            let mut next = joint.next.clone();
            let is_done = let_go(*member, &mut next) && take_in(by, &mut next, next_ordinal);
            if is_done {
                joint.next = next;
                joint.lost.push(*member);
            }
            is_done
        }
        OperationKind::SetReplication { factor } => {
            let is_done = *factor != joint.next.replication_factor;
            joint.next.replication_factor = *factor;
            is_done
        }
    }
}

fn take_in(newcomer: &Newcomer, next: &mut Roster, next_ordinal: &mut u32) -> bool {
    let is_taken = next.members.iter().any(|member| member.node_id == newcomer.node_id);
    if is_taken || next.members.len() >= MAX_MEMBERS || *next_ordinal == u32::MAX {
        return false;
    }
    next.members.push(Member {
        ordinal: Ordinal(*next_ordinal),
        node_id: newcomer.node_id.clone(),
        size: newcomer.size,
        zone: newcomer.zone.clone(),
        address: newcomer.address.clone(),
    });
    *next_ordinal += 1;
    true
}

fn let_go(member: Ordinal, next: &mut Roster) -> bool {
    let before = next.members.len();
    next.members.retain(|known| known.ordinal != member);
    next.members.len() < before
}

fn finish(document: &mut Document, fence: u64, stored: u64) -> bool {
    let Some(joint) = end_joint(document, fence) else { return false };
    let from = core::mem::replace(&mut document.current, joint.next.clone());
    let generation = document.generation;
    document.past.push(PastChange { generation, fence, from, to: joint.next });
    document.council = council_of(&document.current.members);
    for operation in &mut document.operations {
        if operation.state == OperationState::Running {
            operation.state = OperationState::Done;
        }
    }
    forget_past(document, stored);
    true
}

fn cancel(document: &mut Document, fence: u64, fate: Fate) -> bool {
    if !document.phase.can_be_cancelled() {
        return false;
    }
    let Some(joint) = end_joint(document, fence) else { return false };
    let from = document.current.clone();
    let generation = document.generation;
    document.past.push(PastChange { generation, fence, from, to: joint.next });
    if mutants::is(Mutant::AcceptorsOfBothSets) {
        document.council = council_of(&document.current.members);
    }
    for operation in &mut document.operations {
        if operation.state == OperationState::Running {
            operation.state = match fate {
                Fate::GivenUp => OperationState::Cancelled,
                Fate::Overtaken => OperationState::Pending,
            };
        }
    }
    true
}

/// Ends the phase `joint` of this fence, where the document is in it; what was to come.
fn end_joint(document: &mut Document, fence: u64) -> Option<Joint> {
    if document.fence != fence {
        return None;
    }
    match core::mem::take(&mut document.phase) {
        Phase::Stable => None,
        Phase::Joint(joint) | Phase::Rescue(joint) => {
            document.fence += 1;
            Some(joint)
        }
    }
}

fn drop_waiting(document: &mut Document, dropped: &[ChangeId]) -> bool {
    let mut has_changed = false;
    for operation in &mut document.operations {
        if operation.state == OperationState::Pending && dropped.contains(&operation.id) {
            operation.state = OperationState::Cancelled;
            has_changed = true;
        }
    }
    has_changed
}

/// A change that every member has stored concerns nobody any more. Zero where some member has reported
/// nothing in this generation.
fn forget_past(document: &mut Document, stored: u64) {
    if stored > 0 {
        let stored = Fence { generation: document.generation, number: stored };
        document.past.retain(|change| change.fence() > stored);
    }
}

fn forget_ended(document: &mut Document) {
    let ended = document.operations.iter().filter(|operation| has_ended(operation)).count();
    let mut surplus = ended.saturating_sub(MAX_ENDED_OPERATIONS);
    document.operations.retain(|operation| {
        let is_forgotten = surplus > 0 && has_ended(operation);
        surplus -= usize::from(is_forgotten);
        !is_forgotten
    });
}

fn has_ended(operation: &Operation) -> bool {
    matches!(operation.state, OperationState::Done | OperationState::Cancelled)
}

/// How many operations wait or run.
pub(super) fn open(document: &Document) -> usize {
    document.operations.iter().filter(|operation| !has_ended(operation)).count()
}

/// Operations that wait, oldest first.
pub(super) fn waiting(document: &Document) -> impl Iterator<Item = &Operation> {
    let is_waiting = |operation: &&Operation| operation.state == OperationState::Pending;
    document.operations.iter().filter(is_waiting)
}

/// Operations that the document is `joint` for.
pub(super) fn operations_under_way(document: &Document) -> impl Iterator<Item = &Operation> {
    let is_running = |operation: &&Operation| operation.state == OperationState::Running;
    document.operations.iter().filter(is_running)
}

/// Whether the member of this name is there by this operation: of those that have brought the name, it
/// is the one that was asked for last. What was asked for later is forgotten later, so it would be seen.
pub(super) fn has_brought(document: &Document, id: ChangeId, name: &NodeId) -> bool {
    let brought = |operation: &&Operation| {
        operation.state == OperationState::Done
            && newcomer(&operation.kind).is_some_and(|new| new.node_id == *name)
    };
    let is_there = document.current.members.iter().any(|member| member.node_id == *name);
    is_there && document.operations.iter().rev().find(brought).is_some_and(|last| last.id == id)
}

/// The node that an operation brings.
pub(super) fn newcomer(kind: &OperationKind) -> Option<&Newcomer> {
    match kind {
        OperationKind::Join(newcomer) | OperationKind::Replace { by: newcomer, .. } => {
            Some(newcomer)
        }
        OperationKind::Drain { .. }
        | OperationKind::Remove { .. }
        | OperationKind::SetReplication { .. } => None,
    }
}

/// The member that an operation does without because it is dead. Such operations overtake others:
/// copies are missing until they are done.
pub(super) fn lost_member(kind: &OperationKind) -> Option<Ordinal> {
    match kind {
        OperationKind::Remove { member } | OperationKind::Replace { member, .. } => Some(*member),
        OperationKind::Join(_)
        | OperationKind::Drain { .. }
        | OperationKind::SetReplication { .. } => None,
    }
}

/// The members with the lowest ordinals, as many as the largest odd number that is at most seven and
/// at most all of them. `members` are sorted by ordinal.
pub(super) fn council_of(members: &[Member]) -> Vec<Ordinal> {
    let all = members.len().min(MAX_COUNCIL);
    let odd = if all.is_multiple_of(2) { all.saturating_sub(1) } else { all };
    members.iter().take(odd).map(|member| member.ordinal).collect()
}

/// The names of those who decide the document's successor.
pub(super) fn council_names(document: &Document) -> impl Iterator<Item = &NodeId> {
    let members = document.council.iter().filter_map(|&ordinal| document.member(ordinal));
    members.map(|member| &member.node_id)
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
