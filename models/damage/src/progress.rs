//! Whether a read and a second stamp that are out can still end when every replica answers and
//! nothing else happens.

use crate::puts::{self, Stamp};
use crate::reads;
use crate::state::{PutPhase, State};
use crate::world::{Clocks, World};

/// Whether nothing is damaged, so that every replica answers.
fn all_answer(world: &World, state: &State) -> bool {
    world.nodes().iter().all(|node| state.replica(node).is_whole())
}

/// Whether a read is out that no answer and no write-back can end.
pub(crate) fn read_is_stuck(world: &World, state: &State) -> bool {
    if state.outside.read.is_none() || !all_answer(world, state) {
        return false;
    }
    let mut state = *state;
    for node in world.nodes().iter() {
        let enough =
            (state.outside.read).is_none_or(|read| read.answered.has_majority_of(world.nodes()));
        if !enough && reads::may_answer(world, &state, node) {
            reads::answer(world, &mut state, node);
        }
    }
    // A refusal may change the winner, which those written back to before may lack.
    for _ in 0..2 {
        for node in world.nodes().iter() {
            if reads::may_write_back(world, &state, node) {
                reads::write_back(world, &mut state, node);
            }
        }
    }
    !state.outside.read.is_some_and(|read| reads::may_end(world, &read))
}

/// Whether a second stamp is out, of clocks that are near enough, that cannot be acknowledged.
pub(crate) fn put_is_stuck(world: &World, state: &State) -> bool {
    let within = world.stamps.as_ref().is_some_and(|stamps| stamps.clocks == Clocks::WithinSkew);
    let going = state.outside.put.phase == PutPhase::SecondStamp;
    if !within || !going || !all_answer(world, state) {
        return false;
    }
    let mut state = *state;
    for node in world.nodes().iter() {
        puts::send(world, &mut state, node, Stamp::Second);
    }
    state.outside.put.phase == PutPhase::SecondStamp
}
