//! What a replica stores and answers.
//!
//! **Never:** a store or a hint is admitted at or below `closed`, but for the very record held; a
//! replica whose key is damaged answers for it.

use explorer::Node;

use crate::mutants::Mutant;
use crate::state::{Admission, Replica, State, Version};
use crate::world::{Content, World};

/// What a replica says to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing, because the key is damaged or the marks are lost.
    None,
    Held,
    Superseded(Version),
    BelowFloor(Version),
}

/// Whether a record is gone at a floor: a tombstone at or below it, or an expired record of which
/// the version and the instant both are.
pub(crate) fn is_gone(world: &World, version: Version, floor: Version, now: u8) -> bool {
    if version.is_absent() {
        return false;
    }
    let below = version <= floor;
    match world.write(version).content {
        Content::Value => false,
        Content::Tombstone => below,
        Content::Until(_) if world.is(Mutant::ExpiryByVersion) => below,
        Content::Until(instant) if world.is(Mutant::ExpiryByInstant) => instant <= floor.0,
        Content::Until(instant) if world.is(Mutant::ExpiryByClock) => instant <= now,
        Content::Until(instant) => below && instant <= floor.0,
    }
}

/// What a replica shows of a key: its record, unless that is gone.
pub(crate) fn shown(world: &World, state: &State, node: Node, key: u8) -> Version {
    let replica = state.replica(node);
    let record = replica.record(key);
    let gone = is_gone(world, record, replica.marks.floor, state.outside.now);
    if gone { Version::ABSENT } else { record }
}

/// Whether a replica answers for a key, and so counts in quorums.
pub(crate) fn answers(world: &World, replica: &Replica, key: u8) -> bool {
    let damaged = replica.is_damaged(key) && !world.is(Mutant::DamagedAnswers);
    replica.returning.is_none() && !damaged
}

/// Stores what a coordinator sent, and answers it.
pub(crate) fn store(world: &World, state: &mut State, node: Node, version: Version) -> Answer {
    let key = world.write(version).key;
    let replica = state.replica_mut(node);
    if replica.returning.is_some() {
        return Answer::None;
    }
    let held = replica.record(key);
    let closed = replica.marks.closed;
    let answer = if held == version {
        Answer::Held
    } else if version <= closed && held > version {
        let larger =
            if world.is(Mutant::BelowFloorNamesClosed) { closed } else { closed.max(held) };
        Answer::BelowFloor(larger)
    } else if held > version {
        Answer::Superseded(held)
    } else if version <= closed && !world.is(Mutant::StoresBelowClosed) {
        Answer::BelowFloor(closed)
    } else {
        replica.set_record(key, version);
        state.outside.stored.insert(version);
        Answer::Held
    };
    if answers(world, state.replica(node), key) { answer } else { Answer::None }
}

/// Whether a copy that comes now would change anything.
pub(crate) fn may_deliver(world: &World, state: &State, node: Node, version: Version) -> bool {
    let replica = state.replica(node);
    let key = world.write(version).key;
    let held = replica.record(key);
    let stamped = world.time.is_none() || version.0 <= state.outside.now + 1;
    let open = version > replica.marks.closed || world.is(Mutant::StoresBelowClosed);
    let is_news = !state.outside.holders[version.index()].contains(node)
        && version > state.outside.acknowledged[usize::from(key)]
        && answers(world, replica, key);
    let changes = (held < version && open) || (held == version && is_news);
    replica.returning.is_none() && stamped && changes
}

/// A late store or a hint arrives; the write is acknowledged once a majority holds it.
pub(crate) fn deliver(world: &World, state: &mut State, node: Node, version: Version) {
    if store(world, state, node, version) == Answer::Held {
        let key = world.write(version).key;
        let holders = &mut state.outside.holders[version.index()];
        holders.insert(node);
        if holders.has_majority_of(world.nodes()) {
            state.outside.acknowledge(key, version);
        }
    }
}

/// Whether a replica may admit a late store that becomes durable later.
pub(crate) fn may_admit(world: &World, state: &State, node: Node, version: Version) -> bool {
    let replica = state.replica(node);
    let open = replica.record(world.write(version).key) < version
        && version > replica.marks.closed
        && replica.returning.is_none();
    state.outside.admission.is_none() && open
}

pub(crate) fn admit(state: &mut State, node: Node, version: Version) {
    state.outside.admission = Some(Admission { node, version });
}

/// What was admitted becomes durable, whatever was closed since.
pub(crate) fn land(world: &World, state: &mut State) {
    let Some(Admission { node, version }) = state.outside.admission.take() else { return };
    let key = world.write(version).key;
    if state.replica(node).record(key) < version {
        state.replica_mut(node).set_record(key, version);
        state.outside.stored.insert(version);
    }
    deliver(world, state, node, version);
}

/// Whether the replica holds a record that is gone.
pub(crate) fn may_drop(world: &World, state: &State, node: Node, key: u8) -> bool {
    !state.replica(node).record(key).is_absent() && shown(world, state, node, key).is_absent()
}

pub(crate) fn drop_gone(state: &mut State, node: Node, key: u8) {
    state.replica_mut(node).set_record(key, Version::ABSENT);
}

/// Whether a restart would lose anything.
pub(crate) fn may_restart(world: &World, state: &State, node: Node) -> bool {
    let replica = state.replica(node);
    let asked = replica.returning.is_some_and(|returning| !returning.asked.is_empty());
    let admitted = state.outside.admission.is_some_and(|admission| admission.node == node);
    let in_memory = !replica.pulled.is_empty() || replica.pull.is_some();
    let marks = world.is(Mutant::MarksInMemory) && replica.marks.closed != replica.marks.floor;
    in_memory || replica.healing.is_some() || asked || admitted || marks
}

/// Loses what is in memory alone. What is known of others' marks may stay: it only allows more.
pub(crate) fn restart(world: &World, state: &mut State, node: Node) {
    let admission = &mut state.outside.admission;
    *admission = admission.filter(|admission| admission.node != node);
    let replica = state.replica_mut(node);
    replica.pulled = Default::default();
    replica.pull = None;
    replica.healing = None;
    replica.returning = replica.returning.map(|_| Default::default());
    if world.is(Mutant::MarksInMemory) {
        replica.marks.closed = replica.marks.floor;
        replica.marks.full = replica.marks.floor;
    }
}
