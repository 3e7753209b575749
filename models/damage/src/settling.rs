//! What becomes of a state when clients rest, nothing more breaks and every replica does what it
//! may: all heal, the marks reach the top, tombstones go, and all replicas are equal.
//!
//! This is run for every state, so that a state from which something can never be mended is
//! noticed where it arises.

use explorer::Node;

use crate::healing;
use crate::marks;
use crate::properties::{self, Promise};
use crate::pulls;
use crate::replica;
use crate::state::{KEYS, State, Version};
use crate::world::World;

/// Rounds in which a world comes to rest: returning and healing, one mark, the last mark, and one
/// to spare.
const ROUNDS: usize = 6;

/// An instant after all expiries.
pub(crate) const MUCH_LATER: u8 = 100;

/// What never becomes right again.
pub(crate) fn broken(world: &World, state: &State) -> Option<Promise> {
    let mut state = *state;
    replica::land(world, &mut state);
    state.outside.read = None;
    for node in world.nodes().iter() {
        state.replica_mut(node).pull = None;
    }
    state.outside.now = MUCH_LATER;
    for _ in 0..ROUNDS {
        let before = state;
        round(world, &mut state);
        if state == before {
            break;
        }
    }
    judge(world, &state)
}

fn round(world: &World, state: &mut State) {
    pairs(world, |node, member| {
        if marks::may_ask(state, node, member) {
            marks::ask(world, state, node, member);
        }
    });
    hear(world, state);
    for node in world.nodes().iter() {
        world.keys().for_each(|key| heal(world, state, node, key));
    }
    pairs(world, |node, source| {
        if pulls::may_begin(world, state, node, source) {
            pulls::run(world, state, node, source);
        }
    });
    for node in world.nodes().iter() {
        if marks::may_fill(world, state, node) {
            marks::fill(world, state, node);
        }
    }
    hear(world, state);
    for node in world.nodes().iter() {
        marks::raise_floor(world, state, node);
        for key in world.keys() {
            if replica::may_drop(world, state, node, key) {
                replica::drop_gone(state, node, key);
            }
        }
    }
    let closes = world.closes.iter().copied().max().into_iter();
    let highest = state.replicas.iter().map(|replica| replica.marks.closed).max();
    for closed in highest.into_iter().chain(closes) {
        for node in world.nodes().iter() {
            if marks::may_close_of_age(world, state, node, closed) {
                marks::close(world, state, node, closed);
            }
        }
    }
}

fn pairs(world: &World, mut each: impl FnMut(Node, Node)) {
    for node in world.nodes().iter() {
        world.others(node).iter().for_each(|other| each(node, other));
    }
}

fn hear(world: &World, state: &mut State) {
    pairs(world, |node, member| {
        if marks::may_hear(world, state, node, member) {
            marks::hear(state, node, member);
        }
    });
}

fn heal(world: &World, state: &mut State, node: Node, key: u8) {
    if !healing::may_begin(state, node, key) && state.replica(node).healing.is_none() {
        return;
    }
    healing::begin(world, state, node, key);
    for member in world.nodes().iter() {
        if !healing::may_end(world, state, node) && healing::may_ask(world, state, node, member) {
            healing::ask(world, state, node, member);
        }
    }
    if healing::may_end(world, state, node) {
        healing::end(world, state, node);
    }
}

fn judge(world: &World, state: &State) -> Option<Promise> {
    let replicas = || world.nodes().iter().map(|node| state.replica(node));
    if !replicas().all(|replica| replica.is_whole()) {
        return Some(Promise::HealingEnds);
    }
    let top = world.closes.iter().copied().max().unwrap_or_default();
    if replicas().any(|replica| replica.marks.floor < top) {
        return Some(Promise::MarksRise);
    }
    let contents: [Version; KEYS] = state.replicas[0].records;
    if replicas().any(|replica| replica.records != contents) {
        return Some(Promise::ConvergesAfterHeal);
    }
    let is_lost = |key: u8| {
        let required = state.outside.required(key);
        let content = contents[usize::from(key)];
        let overwritten = properties::may_be_absent(world, state, key, required);
        content < required && !(content.is_absent() && overwritten)
    };
    world.keys().any(is_lost).then_some(Promise::AckNotLost)
}
