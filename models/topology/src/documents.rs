//! The document register, and when a member is complete. That there is one register is what the
//! model `council` shows.
//!
//! A finish needs a majority of `next` complete. "Every live member" adds nothing to safety,
//! because a detector of failures may be wrong: any member may be taken for dead.

use explorer::{Node, NodeSet};

use crate::mutants::Mutant;
use crate::state::{Document, State};
use crate::world::World;

/// What the next change makes of the layout; empty for no change.
pub(crate) fn target(world: &World, state: &State) -> NodeSet {
    match state.newest {
        0 => world.next,
        2 if state.document(2).current == world.next => world.after_finish,
        2 => world.after_cancel,
        _ => NodeSet::EMPTY,
    }
}

/// Whether the joint document may end in `stable(next)`.
pub(crate) fn may_finish(world: &World, state: &State) -> bool {
    let document = state.newest_document();
    let mut complete = state.reports;
    if world.is(Mutant::RetainedNotLevelled) {
        complete = complete.or(document.current);
    }
    document.is_joint()
        && (complete.has_majority_of(document.next) || world.is(Mutant::FinishWithoutCompleteness))
}

/// `joint(current, target)`.
pub(crate) fn start(world: &World, state: &mut State) {
    let Document { fence, current, .. } = state.newest_document();
    let next = target(world, state);
    decide(world, state, Document { fence: fence + 1, current, next });
}

/// `stable(next)`.
pub(crate) fn finish(world: &World, state: &mut State) {
    let Document { fence, next, .. } = state.newest_document();
    let document = Document { fence: fence + 1, current: next, next: NodeSet::EMPTY };
    decide(world, state, document);
}

/// Back to `stable(current)`, with a fence of its own.
pub(crate) fn cancel(world: &World, state: &mut State) {
    let Document { fence, current, .. } = state.newest_document();
    let fence = if world.is(Mutant::FenceReturns) { fence - 1 } else { fence + 1 };
    decide(world, state, Document { fence, current, next: NodeSet::EMPTY });
}

/// Reports carry the fence of their joint document and are void under any other.
fn decide(world: &World, state: &mut State, document: Document) {
    state.newest += 1;
    state.documents[usize::from(state.newest)] = document;
    if !world.is(Mutant::OlderReportsCount) {
        state.reports = NodeSet::EMPTY;
    }
    world.nodes().iter().for_each(|node| report(world, state, node));
}

/// A member reports as soon as it is complete. Later is the same as a later finish.
pub(crate) fn report(world: &World, state: &mut State, node: Node) {
    if is_complete(world, state, node) {
        state.reports.insert(node);
    }
}

/// A member of `next`, retained or new, is complete when it has merged a majority of the old set,
/// itself included where it is one, and every replica that leaves the set and is not named as lost.
/// Where some are lost, half of the old set is enough.
fn is_complete(world: &World, state: &State, node: Node) -> bool {
    let (replica, document) = (state.replica(node), state.newest_document());
    let speaks_of_it = document.is_joint()
        && document.next.contains(node)
        && replica.has_stored_what_it_knows()
        && state.document_of(node).fence == document.fence;
    let merged = replica.merged.and(document.current);
    let unmerged_leavers = document.leavers().minus(world.lost).minus(merged);
    let is_level = if world.is(Mutant::OneOldReplicaMerged) {
        !merged.is_empty()
    } else {
        let has_leavers = unmerged_leavers.is_empty() || world.is(Mutant::LeaverNotMerged);
        // Besides the lost another one may be down.
        let is_enough = if world.lost.is_empty() {
            merged.has_majority_of(document.current)
        } else {
            merged.has_half_of(document.current)
        };
        is_enough && has_leavers
    };
    speaks_of_it && is_level
}
