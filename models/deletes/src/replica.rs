//! What a node does: it takes over documents, stores them, empties what they made new, takes
//! `closed` where it is new, admits stores, and restarts.
//!
//! A node *has stored* a document when the document is durable, every store admitted under an older
//! one has ended, what the document made new is empty, and that this is so is itself durable. From
//! the moment that the document is durable the node serves under no older one.
//!
//! **Never:** a replica admits under a document that its node has not stored, or at or below its
//! `closed`, or before it has a `closed`.

use explorer::{Node, NodeSet};

use crate::documents;
use crate::marks;
use crate::mutants::Mutant;
use crate::state::{Marks, Pull, Replica, State, Told, Version, Worth};
use crate::world::{Pace, World};

/// Takes over a newer document; from now on what names an older fence is refused.
pub(crate) fn learn(world: &World, state: &mut State, node: Node, document: u8) {
    let replica = state.replica_mut(node);
    if replica.has_stored_what_it_knows() {
        let is_member = world.document(replica.stored).members().contains(node);
        let told = Told { closed: replica.told_closed, full: replica.marks.full };
        if is_member && replica.is_ready {
            replica.told_under[usize::from(replica.stored)] = told;
        }
    }
    replica.known = document;
    replica.emptied = false;
    replica.merged = NodeSet::EMPTY;
    if !world.is(Mutant::PulledAcrossFences) {
        replica.pulled = NodeSet::EMPTY;
    }
    replica.pull = match world.is(Mutant::PullAcrossFences) {
        true => replica.pull.map(|pull| Pull { worth: Worth::Records, ..pull }),
        false => None,
    };
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
    let durable = !may_sync(state, node) || world.is(Mutant::EmptiedBeforeDurable);
    let waits = !replica.has_stored_what_it_knows() && !replica.emptied;
    waits && durable && replica.admitted.is_absent()
}

pub(crate) fn empty(world: &World, state: &mut State, node: Node) {
    let replica = state.replica_mut(node);
    replica.emptied = true;
    if !must_empty(world, replica, node) {
        return;
    }
    let told = Told { closed: replica.marks.closed, full: replica.marks.full };
    if world.is(Mutant::MarksAcrossFences) {
        replica.ever_told.closed = replica.ever_told.closed.max(told.closed);
        replica.ever_told.full = replica.ever_told.full.max(told.full);
    }
    if !world.is(Mutant::NewcomerNotEmptied) {
        replica.held = Version::ABSENT;
    }
    let zero = Marks::default();
    let kept = Marks { closed: Version::ABSENT, ..replica.marks };
    replica.marks = if world.is(Mutant::NewcomerKeepsMarks) { kept } else { zero };
    replica.told_closed = Version::ABSENT;
    replica.is_ready = world.is(Mutant::StoresBeforeTakingClosed);
    replica.pulled = NodeSet::EMPTY;
    replica.pull = None;
}

/// Whether any document since the one stored made the node new, also one that it missed.
fn must_empty(world: &World, replica: &Replica, node: Node) -> bool {
    if world.is(Mutant::EmptiedOnce) && replica.is_ready {
        return false;
    }
    let makes_new = |place| world.document(place).makes_new(node);
    if world.is(Mutant::MissedDocumentsForgotten) {
        let is_member = |place| world.document(place).members().contains(node);
        return makes_new(replica.known) || is_member(replica.known) && !is_member(replica.stored);
    }
    (replica.stored + 1..=replica.known).any(makes_new)
}

/// Whether all that belongs to having stored the document is done but for saying so.
pub(crate) fn may_store(state: &State, node: Node) -> bool {
    let replica = state.replica(node);
    replica.emptied && !replica.has_stored_what_it_knows() && !may_sync(state, node)
}

pub(crate) fn store(world: &World, state: &mut State, node: Node) {
    let replica = state.replica_mut(node);
    replica.stored = replica.known;
    replica.emptied = false;
    count_itself(world, state, node);
}

/// A retained member has merged what it holds itself.
fn count_itself(world: &World, state: &mut State, node: Node) {
    let document = world.document(state.replica(node).stored);
    if document.current.and(document.next).contains(node) {
        state.replica_mut(node).merged.insert(node);
        documents::report(world, state, node);
    }
}

/// Does every step of storing a document that can be done, in worlds that do not take them apart.
fn settle(world: &World, state: &mut State, node: Node) {
    if world.storing == Pace::AtOnce {
        store_whole(world, state, node);
    }
}

/// Does every step of storing a document that can be done.
pub(crate) fn store_whole(world: &World, state: &mut State, node: Node) {
    sync(state, node);
    if may_empty(world, state, node) {
        empty(world, state, node);
    }
    if may_store(state, node) {
        store(world, state, node);
    }
}

/// The document under which a node admits requests, if it does.
pub(crate) fn serves(world: &World, state: &State, node: Node) -> Option<u8> {
    let replica = state.replica(node);
    let has_stored = replica.has_stored_what_it_knows()
        || world.is(Mutant::AdmitsBeforeStored) && replica.emptied;
    let is_member = world.document(replica.known).members().contains(node);
    (has_stored && is_member).then_some(replica.known)
}

/// Whether a replica answers requests of this document's fence. A newcomer without a `closed` says
/// that it is not ready.
pub(crate) fn answers(world: &World, state: &State, node: Node, document: u8) -> bool {
    serves(world, state, node) == Some(document) && state.replica(node).is_ready
}

/// Whether a newcomer may take `closed` from this member: one under the same fence that does not
/// itself wait for one.
pub(crate) fn may_take_closed(world: &World, state: &State, node: Node, source: Node) -> bool {
    let Some(document) = serves(world, state, node) else { return false };
    let is_source = match world.is(Mutant::ClosedFromWaiting) {
        true => serves(world, state, source) == Some(document),
        false => answers(world, state, source, document),
    };
    if world.is(Mutant::NewcomersWaitForEachOther) {
        let mut others = world.document(document).members();
        others.remove(node);
        if !others.iter().all(|other| answers(world, state, other, document)) {
            return false;
        }
    }
    let replica = state.replica(node);
    let late = world.is(Mutant::StoresBeforeTakingClosed) && replica.marks.closed.is_absent();
    node != source && is_source && (!replica.is_ready || late)
}

pub(crate) fn take_closed(world: &World, state: &mut State, node: Node, source: Node) {
    let Replica { marks, told_closed, .. } = *state.replica(source);
    let replica = state.replica_mut(node);
    replica.is_ready = true;
    replica.marks.closed =
        if world.is(Mutant::FullTakenForClosed) { marks.full } else { told_closed };
    if world.is(Mutant::NewcomerTakesFull) {
        replica.marks.full = marks.full;
    }
    if world.is(Mutant::NewcomerTakesFloor) {
        replica.marks.full = marks.floor;
        replica.marks.floor = marks.floor;
    }
    marks::tell_closed(world, replica);
    documents::report(world, state, node);
}

/// Whether a record that comes as a store or a hint is taken, or acknowledged without.
pub(crate) fn may_deliver(world: &World, state: &State, node: Node, version: Version) -> bool {
    let replica = state.replica(node);
    let is_open = version > replica.marks.closed || world.is(Mutant::HintBelowClosed);
    serves(world, state, node).is_some() && replica.is_ready && (replica.held >= version || is_open)
}

/// A record comes and is durable at once.
pub(crate) fn deliver(world: &World, state: &mut State, node: Node, version: Version) {
    let replica = state.replica_mut(node);
    replica.held = replica.held.max(version);
    let document = replica.known;
    acknowledge(world, state, node, version, document);
}

/// Whether a record may be admitted whose store takes time.
pub(crate) fn may_admit(world: &World, state: &State, node: Node, version: Version) -> bool {
    let replica = state.replica(node);
    let is_news = version > replica.held && replica.admitted.is_absent();
    is_news && may_deliver(world, state, node, version)
}

pub(crate) fn admit(state: &mut State, node: Node, version: Version) {
    state.replica_mut(node).admitted = version;
}

/// An admitted record becomes durable.
pub(crate) fn land(world: &World, state: &mut State, node: Node) {
    let replica = state.replica_mut(node);
    let version = std::mem::take(&mut replica.admitted);
    replica.held = replica.held.max(version);
    marks::tell_closed(world, replica);
    let document = replica.stored;
    acknowledge(world, state, node, version, document);
    settle(world, state, node);
}

/// The replica acknowledges: it holds the version or a larger one. To a second stamp `superseded`
/// counts, and any stamp may be a second one.
fn acknowledge(world: &World, state: &mut State, node: Node, version: Version, document: u8) {
    if version <= state.reached {
        return;
    }
    let of_version = &mut state.acknowledgers[usize::from(version.0) - 1];
    let acknowledgers = &mut of_version[usize::from(document)];
    acknowledgers.insert(node);
    if world.document(document).is_quorum(*acknowledgers) {
        state.reached = version;
    }
}

/// Whether a restart would lose anything.
pub(crate) fn may_restart(world: &World, state: &State, node: Node) -> bool {
    let replica = state.replica(node);
    let mut cursors = replica.merged.or(replica.pulled);
    cursors.remove(node);
    let under_way = replica.pull.is_some() || !replica.admitted.is_absent();
    let storing = may_sync(state, node) || replica.emptied;
    under_way || storing || !cursors.is_empty() || world.is(Mutant::MarksLostByRestart)
}

/// Loses what is not durable: what was pulled and merged, stores that wait, documents not synced.
pub(crate) fn restart(world: &World, state: &mut State, node: Node) {
    let replica = state.replica_mut(node);
    replica.known = replica.durable;
    if replica.emptied && replica.has_stored_what_it_knows() {
        // Nothing durable says that the partition waits for a `closed`: only the mutant gets here.
        replica.is_ready = true;
    }
    replica.emptied = false;
    replica.admitted = Version::ABSENT;
    replica.pull = None;
    replica.pulled = NodeSet::EMPTY;
    replica.merged = NodeSet::EMPTY;
    if world.is(Mutant::MarksLostByRestart) {
        let floor = replica.marks.floor;
        replica.marks = Marks { closed: floor, full: floor, floor };
        replica.told_closed = floor;
    }
    marks::tell_closed(world, replica);
    if replica.has_stored_what_it_knows() {
        count_itself(world, state, node);
    }
    settle(world, state, node);
}
