//! Whether an operation can be asked for at all, so that an operator hears at once what is wrong with
//! it.
//!
//! **Never:** the last word. The document may have changed when the operation begins; what it leaves
//! nothing to do is given up then.

use alloc::vec::Vec;

use paravon_model::limits::MAX_OPEN_OPERATIONS;
use paravon_model::{
    ChangeId, Document, OperationKind, OperationRefusal, OperationState, Ordinal, Phase, Roster,
};

use super::change::{Change, Fate, lost_member, open};
use super::view::View;

/// What is wrong with an operation, if anything.
pub(super) fn objection(view: &View<'_>, kind: &OperationKind) -> Option<OperationRefusal> {
    if open(view.document) >= MAX_OPEN_OPERATIONS {
        return Some(OperationRefusal::TooManyWaiting);
    }
    objection_of_kind(view, kind).or_else(|| {
        let after = planned(view.document, kind)?;
        let behind = view.too_far_behind(&after);
        let behind = behind.map(|member| OperationRefusal::MemberTooFarBehind { member });
        let cannot_end = || {
            let cannot = view.cannot_end(&after) || keeps_from_ending(view, kind);
            cannot.then_some(OperationRefusal::CurrentHasNoMajority)
        };
        let lacks_majority = || {
            let lacks = !view.has_live_majorities(&after);
            lacks.then_some(OperationRefusal::NextHasNoMajority)
        };
        behind.or_else(cannot_end).or_else(lacks_majority)
    })
}

/// Whether an operation does without a member that the change under way needs to end. A rescue waits
/// for all that it left, and says itself what it does without.
fn keeps_from_ending(view: &View<'_>, kind: &OperationKind) -> bool {
    let document = view.document;
    let (Some(member), Phase::Joint(joint)) = (lost_member(kind), &document.phase) else {
        return false;
    };
    let lost = [&joint.lost[..], &[member]].concat();
    view.lacks_sources(&document.current, &lost)
}

fn objection_of_kind(view: &View<'_>, kind: &OperationKind) -> Option<OperationRefusal> {
    let document = view.document;
    let named = |newcomer: &paravon_model::Newcomer| document.member_named(&newcomer.node_id);
    match kind {
        OperationKind::Join(newcomer) => {
            named(newcomer).map(|member| OperationRefusal::NameTaken { member: member.ordinal })
        }
        OperationKind::Drain { member } => {
            let stays = target(document);
            no_such_member(stays, *member).or_else(|| last_member(stays))
        }
        OperationKind::Remove { member } => {
            let overtaken = without_lost(document, *member);
            no_such_member(overtaken, *member)
                .or_else(|| is_up(view, *member))
                .or_else(|| last_member(overtaken))
        }
        OperationKind::Replace { member, by } => {
            let taken = named(by).map(|known| known.ordinal).filter(|known| known != member);
            let taken = taken.map(|member| OperationRefusal::NameTaken { member });
            let replaced = document.member(*member);
            // A node that asks in its own place is not what it was, whatever is believed of that.
            let is_itself = replaced.is_some_and(|known| known.node_id == by.node_id);
            let other = || if is_itself { None } else { is_up(view, *member) };
            let overtaken = without_lost(document, *member);
            no_such_member(overtaken, *member).or(taken).or_else(other)
        }
        OperationKind::SetReplication { factor } => {
            let is_wrong = !(1..=paravon_model::limits::MAX_REPLICATION_FACTOR).contains(factor)
                || *factor == target(document).replication_factor;
            is_wrong.then_some(OperationRefusal::BadFactor)
        }
    }
}

/// The layout that stays when nothing else is asked for.
fn target(document: &Document) -> &Roster {
    document.joint().map_or(&document.current, |joint| &joint.next)
}

/// The layout that a dead member is to be taken out of. One that dies while it is let go keeps the
/// change under way from ending, and is to be taken out of the layout before.
fn without_lost(document: &Document, member: Ordinal) -> &Roster {
    if document.is_leaving(member) { &document.current } else { target(document) }
}

fn no_such_member(roster: &Roster, member: Ordinal) -> Option<OperationRefusal> {
    let is_missing = roster.member(member).is_none();
    is_missing.then_some(OperationRefusal::NoSuchMember { member })
}

fn last_member(roster: &Roster) -> Option<OperationRefusal> {
    (roster.members.len() <= 1).then_some(OperationRefusal::LastMember)
}

fn is_up(view: &View<'_>, member: Ordinal) -> Option<OperationRefusal> {
    view.alive.contains(&member).then_some(OperationRefusal::IsUp { member })
}

/// The `joint` document that this operation alone would lead to, once the change under way has ended, or
/// was overtaken because of it; none where it would lead to none.
pub(super) fn planned(document: &Document, kind: &OperationKind) -> Option<Document> {
    let mut after = document.clone();
    if after.joint().is_some() {
        let fence = document.fence;
        let overtakes = lost_member(kind).is_some_and(|member| document.is_leaving(member));
        let end = if overtakes {
            Change::Cancel { fence, fate: Fate::Overtaken }
        } else {
            Change::Finish { fence, stored: 0 }
        };
        after = end.successor(document)?;
    }
    for operation in &mut after.operations {
        if operation.state == OperationState::Pending {
            operation.state = OperationState::Cancelled;
        }
    }
    let unused = |id: &ChangeId| document.operation(*id).is_none();
    let id = (0..).map(ChangeId).find(unused)?;
    let enqueue = Change::Enqueue(Vec::from([(id, kind.clone())]));
    let begin = Change::Begin { operations: [id].into(), stored: 0 };
    let after = begin.successor(&enqueue.successor(&after)?)?;
    after.joint().is_some().then_some(after)
}

#[cfg(test)]
#[path = "objections_tests.rs"]
mod tests;
