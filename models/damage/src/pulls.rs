//! How a replica gets what other members hold: a scan of each, key by key, with other things
//! happening between its steps where the puller is slow.
//!
//! **Never:** anything enters at or below `full`, or a damaged replica is pulled from.

use explorer::Node;

use crate::marks;
use crate::mutants::Mutant;
use crate::replica;
use crate::state::{Pull, State, Version};
use crate::world::World;

/// Whether a member may be pulled from at all.
fn is_source(world: &World, state: &State, source: Node) -> bool {
    let source = state.replica(source);
    let pulled_anyway = world.is(Mutant::DamagedIsPulled) || world.is(Mutant::DamagedAnswers);
    source.returning.is_none() && (source.is_whole() || pulled_anyway)
}

/// Whether a scan begun now makes its source count as pulled.
fn would_count(world: &World, state: &State, node: Node) -> bool {
    let marks = state.replica(node).marks;
    marks.closed > marks.full && marks::all_are_closed(world, state, node)
}

/// Whether a replica may begin a scan that could change anything.
pub(crate) fn may_begin(world: &World, state: &State, node: Node, source: Node) -> bool {
    let replica = state.replica(node);
    let idle = replica.returning.is_none() && replica.pull.is_none();
    if node == source || !idle || !is_source(world, state, source) {
        return false;
    }
    let is_newer = |key| replica::shown(world, state, source, key) > replica.record(key);
    let counts = would_count(world, state, node) && !replica.pulled.contains(source);
    counts || world.keys().any(is_newer) || world.slow_pullers.contains(node)
}

pub(crate) fn begin(world: &World, state: &mut State, node: Node, source: Node) {
    let counts = would_count(world, state, node);
    state.replica_mut(node).pull = Some(Pull { source, key: 0, read: None, counts });
}

/// The next step of a scan: reads a key, or stores what was read of it.
pub(crate) fn step(world: &World, state: &mut State, node: Node) {
    let Some(pull) = state.replica(node).pull else { return };
    match pull.read {
        None => read(world, state, node, pull),
        Some(brought) => store(world, state, node, pull, brought),
    }
}

/// A source that can be pulled from no more ends the scan, which then counts for nothing.
fn read(world: &World, state: &mut State, node: Node, pull: Pull) {
    let source = state.replica(pull.source);
    let damaged = source.is_damaged(pull.key)
        && !world.is(Mutant::DamagedIsPulled)
        && !world.is(Mutant::DamagedAnswers);
    if damaged || source.returning.is_some() {
        state.replica_mut(node).pull = None;
        return;
    }
    let mut brought = replica::shown(world, state, pull.source, pull.key);
    if world.is(Mutant::PullsUpToClosed)
        && pull.counts
        && brought > state.replica(node).marks.closed
    {
        brought = Version::ABSENT;
    }
    state.replica_mut(node).pull = Some(Pull { read: Some(brought), ..pull });
}

fn store(world: &World, state: &mut State, node: Node, pull: Pull, brought: Version) {
    let counts_now = world.is(Mutant::ScanBegunEarly) && would_count(world, state, node);
    let replica = state.replica_mut(node);
    let enters = brought > replica.marks.full || world.is(Mutant::EntersBelowFull);
    if enters && brought > replica.record(pull.key) {
        replica.set_record(pull.key, brought);
    }
    let next = pull.key + 1;
    if next < world.keys().end {
        replica.pull = Some(Pull { key: next, read: None, ..pull });
        return;
    }
    replica.pull = None;
    if pull.counts || counts_now {
        replica.pulled.insert(pull.source);
    }
}

/// Runs a scan to its end.
pub(crate) fn run(world: &World, state: &mut State, node: Node, source: Node) {
    begin(world, state, node, source);
    while state.replica(node).pull.is_some() {
        step(world, state, node);
    }
}
