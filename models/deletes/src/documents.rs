//! The documents: which sets are in force, who is complete, and when the next one is decided. How
//! they are decided is what the model `council` shows.
//!
//! A finish needs a majority of `next` complete. "Every live member" adds nothing to safety,
//! because a detector of failures may be wrong: any member may be taken for dead.

use explorer::{Node, NodeSet};

use crate::mutants::Mutant;
use crate::state::State;
use crate::world::World;

/// A cluster document, as far as the data path sees it. `next` is empty unless it is joint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) current: NodeSet,
    pub(crate) next: NodeSet,
}

impl Document {
    /// From `ABC`, or `ABC-BCD` where it is joint.
    pub(crate) fn of(text: &str) -> Self {
        let (current, next) = text.split_once('-').unwrap_or((text, ""));
        Self { current: NodeSet::of(current), next: NodeSet::of(next) }
    }

    pub(crate) fn is_joint(self) -> bool {
        !self.next.is_empty()
    }

    /// The replicas in force.
    pub(crate) fn members(self) -> NodeSet {
        self.current.or(self.next)
    }

    /// Whether it makes the node new to the set.
    pub(crate) fn makes_new(self, node: Node) -> bool {
        self.next.minus(self.current).contains(node)
    }

    /// Whether it has a majority of every set in force.
    pub(crate) fn is_quorum(self, nodes: NodeSet) -> bool {
        let has = |set: NodeSet| nodes.has_majority_of(set);
        has(self.current) && (!self.is_joint() || has(self.next))
    }

    /// Nodes that leave the set with its end.
    fn leavers(self) -> NodeSet {
        if self.is_joint() { self.current.minus(self.next) } else { NodeSet::EMPTY }
    }
}

/// Whether the next document of the world may be decided: a cancel and a new change at any time.
pub(crate) fn may_decide(world: &World, state: &State) -> bool {
    let document = world.document(state.newest);
    let Some(&following) = world.documents.get(usize::from(state.newest) + 1) else { return false };
    let finishes = document.is_joint() && following.current == document.next;
    let is_allowed =
        state.reports.has_majority_of(document.next) || world.is(Mutant::FinishWithoutCompleteness);
    !finishes || is_allowed
}

pub(crate) fn decide(state: &mut State) {
    state.newest += 1;
    state.reports = NodeSet::EMPTY;
}

/// A member reports as soon as it is complete. Later is the same as a later finish.
pub(crate) fn report(world: &World, state: &mut State, node: Node) {
    let replica = state.replica(node);
    let speaks_of_it = replica.stored == state.newest && replica.has_stored_what_it_knows();
    if speaks_of_it && is_complete(world, state, node) {
        state.reports.insert(node);
    }
}

/// A member of `next`, retained or new, is complete when it has merged a majority of the old set,
/// itself included where it is one, and every replica that leaves the set.
pub(crate) fn is_complete(world: &World, state: &State, node: Node) -> bool {
    let replica = state.replica(node);
    let document = world.document(replica.stored);
    let merged = replica.merged.and(document.current);
    let is_level =
        merged.has_majority_of(document.current) && document.leavers().minus(merged).is_empty();
    document.next.contains(node) && replica.is_ready && is_level
}

/// The members whose marks a replica waits for.
pub(crate) fn waited_for(world: &World, document: u8) -> NodeSet {
    let document = world.document(document);
    match world.is(Mutant::OldSetNotWaitedFor) && document.is_joint() {
        true => document.next,
        false => document.members(),
    }
}
