//! What a node does: it takes over documents, stores them, pulls, and drops what it need not keep.
//!
//! A node *has stored* a document when the document is durable, every store and deletion admitted
//! under an older one has ended, what the document made new is empty, and that this is so is itself
//! durable. A crash before the last step empties again, which loses nothing, because nothing was
//! admitted.
//!
//! **Never:** a replica admits under a document that its node has not stored, or answers a pull
//! before that.

use explorer::{Node, NodeSet};

use crate::documents;
use crate::mutants::Mutant;
use crate::state::{State, Version};
use crate::world::{Pace, World};

/// How much a pull brings: what the other held when it had stored the joint document, or what it
/// holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Snapshot,
    Present,
}

/// Takes over a newer document; from now on what names an older fence is refused.
pub(crate) fn learn(world: &World, state: &mut State, node: Node, document: u8) {
    let replica = state.replica_mut(node);
    replica.known = document;
    replica.emptied = false;
    if !world.is(Mutant::CursorReused) {
        replica.merged = NodeSet::EMPTY;
    }
    settle(world, state, node);
}

/// Whether the document that the node knows is not durable yet.
pub(crate) fn may_sync(state: &State, node: Node) -> bool {
    let replica = state.replica(node);
    replica.durable != replica.known
}

pub(crate) fn sync(state: &mut State, node: Node) {
    let replica = state.replica_mut(node);
    replica.durable = replica.known;
}

/// Whether the node may empty what documents since the one stored made new: the document that says
/// so is durable, and nothing admitted under an older one can land any more.
pub(crate) fn may_empty(world: &World, state: &State, node: Node) -> bool {
    let replica = state.replica(node);
    let durable = !may_sync(state, node) || world.is(Mutant::DocumentNotDurable);
    let storing = state
        .admission
        .is_some_and(|admission| admission.node == node && admission.document < replica.known)
        && !world.is(Mutant::StoredBeforeStoresEnd);
    let cleaning = state.cleaning.contains(node) && !world.is(Mutant::StoredBeforeCleaningEnds);
    !replica.has_stored_what_it_knows() && !replica.emptied && durable && !storing && !cleaning
}

pub(crate) fn empty(world: &World, state: &mut State, node: Node) {
    let replica = state.replica(node);
    let missed = replica.stored + 1..=replica.known;
    let is_new = |place: u8| state.document(place).newcomers().contains(node);
    let made_new = missed.into_iter().any(is_new) && !world.is(Mutant::NewcomerNotEmptied);
    let replica = state.replica_mut(node);
    if made_new {
        replica.held = Version::ABSENT;
    }
    replica.emptied = true;
}

/// Whether all that belongs to having stored the document is done but for saying so.
pub(crate) fn may_store(state: &State, node: Node) -> bool {
    let replica = state.replica(node);
    replica.emptied && !replica.has_stored_what_it_knows()
}

pub(crate) fn store(world: &World, state: &mut State, node: Node) {
    let document = state.document_of(node);
    let replica = state.replica_mut(node);
    replica.stored = replica.known;
    replica.emptied = false;
    let is_source = document.is_joint() && document.current.contains(node);
    replica.snapshot = if is_source { replica.held } else { Version::ABSENT };
    count_itself(state, node);
    documents::report(world, state, node);
}

/// A retained member has merged what it holds itself.
fn count_itself(state: &mut State, node: Node) {
    let document = state.document_of(node);
    if document.current.and(document.next).contains(node) {
        state.replica_mut(node).merged.insert(node);
    }
}

/// Does every step of storing a document that can be done, in worlds that do not take them apart.
pub(crate) fn settle(world: &World, state: &mut State, node: Node) {
    if world.storing == Pace::InSteps {
        return;
    }
    sync(state, node);
    if may_empty(world, state, node) {
        empty(world, state, node);
        store(world, state, node);
    }
}

/// Whether a replica admits requests of this document's fence.
pub(crate) fn admits(world: &World, state: &State, node: Node, document: u8) -> bool {
    let replica = state.replica(node);
    let ready = replica.has_stored_what_it_knows()
        || (world.is(Mutant::AdmitsBeforeStored) && replica.emptied);
    let same_fence = state.document_of(node).fence == state.document(document).fence;
    (ready && same_fence) || world.is(Mutant::NoFence)
}

/// Whether a member of `next` may pull from a replica of the old set.
pub(crate) fn may_pull(world: &World, state: &State, node: Node, source: Node) -> bool {
    let (replica, document) = (state.replica(node), state.document_of(node));
    let pulls = document.next.contains(node) && replica.has_stored_what_it_knows();
    let is_open = document.current.contains(source) && !replica.merged.contains(source);
    let other = state.document_of(source);
    let answers = (other.is_joint()
        && other.fence == document.fence
        && state.replica(source).has_stored_what_it_knows())
        || world.is(Mutant::PullBeforeStored);
    pulls && is_open && source != node && answers
}

/// One full pass over the other's copy, merged durably.
pub(crate) fn pull(world: &World, state: &mut State, node: Node, source: Node, extent: Extent) {
    let other = state.replica(source);
    let same_fence = state.document_of(source).fence == state.document_of(node).fence;
    let brought = match extent {
        Extent::Snapshot if same_fence => other.snapshot.min(other.held),
        Extent::Snapshot | Extent::Present => other.held,
    };
    let replica = state.replica_mut(node);
    replica.held = replica.held.max(brought);
    replica.merged.insert(source);
    documents::report(world, state, node);
}

/// Whether a node holds what it need not keep: a cancelled joiner, or one that left.
pub(crate) fn may_clean(world: &World, state: &State, node: Node) -> bool {
    let (replica, document) = (state.replica(node), state.document_of(node));
    let is_out = !document.is_joint() && !document.current.contains(node);
    let leaves_early = world.is(Mutant::LeaverExitsEarly)
        && document.leavers().contains(node)
        && state.reports.has_majority_of(document.next);
    let idle = replica.has_stored_what_it_knows() && !state.cleaning.contains(node);
    (is_out || leaves_early) && idle && !replica.held.is_absent()
}

pub(crate) fn clean(world: &World, state: &mut State, node: Node) {
    match world.cleaning {
        Pace::AtOnce => state.replica_mut(node).held = Version::ABSENT,
        Pace::InSteps => state.cleaning.insert(node),
    }
}

pub(crate) fn end_cleaning(world: &World, state: &mut State, node: Node) {
    state.cleaning.remove(node);
    state.replica_mut(node).held = Version::ABSENT;
    settle(world, state, node);
}

/// Whether a crash would lose anything.
pub(crate) fn may_crash(state: &State, node: Node) -> bool {
    let replica = state.replica(node);
    let storing = state.admission.is_some_and(|admission| admission.node == node);
    let mut cursors = replica.merged;
    cursors.remove(node);
    let in_memory = may_sync(state, node) || replica.emptied || !cursors.is_empty();
    storing || in_memory || state.cleaning.contains(node)
}

/// Loses what is not durable. Cursors are not: a puller compares again.
pub(crate) fn crash(world: &World, state: &mut State, node: Node) {
    state.admission = state.admission.filter(|admission| admission.node != node);
    state.cleaning.remove(node);
    let replica = state.replica_mut(node);
    replica.known = replica.durable;
    replica.stored = replica.stored.min(replica.durable);
    replica.emptied = false;
    replica.merged = NodeSet::EMPTY;
    if replica.has_stored_what_it_knows() {
        count_itself(state, node);
    }
    settle(world, state, node);
}
