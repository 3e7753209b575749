//! Pulls: a replica fetches everything that another holds and it lacks, for `full` and to be
//! complete.
//!
//! With one key a scan is one look, and an equal digest is a pull that brings nothing new. A slow
//! pull lands at any time after it was answered, beside any number of others.
//!
//! **Never:** a pull counts for `full` that began before every member was known to be closed.

use explorer::{Node, NodeSet};

use crate::documents;
use crate::marks;
use crate::mutants::Mutant;
use crate::replica;
use crate::state::{Pull, Replica, State, Version, Worth};
use crate::world::World;

/// Whether a replica may pull from another: both have stored the same document.
pub(crate) fn may_pull(world: &World, state: &State, node: Node, source: Node) -> bool {
    let Some(document) = replica::serves(world, state, node) else { return false };
    node != source
        && replica::answers(world, state, node, document)
        && replica::answers(world, state, source, document)
}

/// What a pull begun now would bring.
pub(crate) fn begun(world: &World, state: &State, node: Node, source: Node) -> Pull {
    let Replica { marks, .. } = state.replica(node);
    let rises = marks.closed > marks.full;
    let counts = rises && marks::all_are_closed(world, state, node);
    let shown = marks::visible(world, state.replica(source));
    let left_out = counts && shown > marks.closed && world.is(Mutant::PullsOnlyBelowClosed);
    let brought = if left_out { Version::ABSENT } else { shown };
    Pull { source, brought, worth: if counts { Worth::Full } else { Worth::Records } }
}

/// Whether taking the pull's time matters: it brings something that is not there yet.
pub(crate) fn may_begin(world: &World, state: &State, node: Node, source: Node) -> bool {
    let replica = state.replica(node);
    let is_free = replica.pull.is_none() && state.slow_pulls_left != Some(0);
    if !is_free || !may_pull(world, state, node, source) {
        return false;
    }
    let Pull { brought, .. } = begun(world, state, node, source);
    let is_news = brought > replica.held || world.is(Mutant::PullAcrossFences);
    brought > replica.marks.full && is_news
}

pub(crate) fn begin(world: &World, state: &mut State, node: Node, source: Node) {
    state.slow_pulls_left = state.slow_pulls_left.map(|left| left - 1);
    let pull = begun(world, state, node, source);
    state.replica_mut(node).pull = Some(pull);
}

/// A slow pull's records become durable.
pub(crate) fn end(world: &World, state: &mut State, node: Node) {
    let Some(mut pull) = state.replica_mut(node).pull.take() else { return };
    let Replica { marks, .. } = state.replica(node);
    if world.is(Mutant::PullBegunEarlierCounts)
        && marks.closed > marks.full
        && marks::all_are_closed(world, state, node)
    {
        pull.worth = Worth::Full;
    }
    merge(world, state, node, pull);
}

/// Takes what a pull brought. What the replica's own `full` refuses counts as merged.
pub(crate) fn merge(world: &World, state: &mut State, node: Node, pull: Pull) {
    let replica = state.replica_mut(node);
    if pull.brought > replica.marks.full {
        replica.held = replica.held.max(pull.brought);
    }
    if pull.worth == Worth::Full {
        replica.pulled.insert(pull.source);
    }
    let document = world.document(replica.known);
    if document.is_joint() && document.next.contains(node) && document.current.contains(pull.source)
    {
        replica.merged.insert(pull.source);
        documents::report(world, state, node);
    }
    if world.full_at_once && marks::may_be_full(world, state, node) {
        marks::be_full(state, node);
    }
}

/// Whom a replica may pull from.
pub(crate) fn sources(world: &World, state: &State, node: Node) -> NodeSet {
    world.nodes().iter().filter(|&source| may_pull(world, state, node, source)).collect()
}
