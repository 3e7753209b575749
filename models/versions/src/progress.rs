//! Whether a write that has begun ends with `ok` when as many replicas as its level says stay up,
//! answer everything, and nothing else happens.

use crate::coordinator;
use crate::replica;
use crate::state::{Stamp, State, WritePhase};
use crate::world::World;

/// Whether some write cannot end.
pub(crate) fn is_stuck(world: &World, state: &State) -> bool {
    let under_way = world.write_numbers().filter(|&write| state.write(write).is_under_way());
    let stuck_with = |write| {
        let level = world.write_level(write);
        let mut sets = (0..1u32 << world.replicas).filter(|set| set.count_ones() as usize == level);
        sets.any(|up| !ends(world, state, write, up))
    };
    under_way.into_iter().any(stuck_with)
}

/// Plays the first stamp and, if need be, the second.
fn ends(world: &World, state: &State, write: u8, up: u32) -> bool {
    let mut state = *state;
    for _ in 0..2 {
        let second = state.write(write).phase == WritePhase::SecondStamp;
        let stamp = if second { Stamp::Second } else { Stamp::First };
        for place in (0..world.replicas).filter(|place| up >> place & 1 == 1) {
            replica::take(world, &mut state, place, write, stamp);
            replica::sync(&mut state, place);
            if replica::may_acknowledge(world, &state, place, write) {
                state.replicas[place].acknowledged.insert(write);
            } else if replica::may_supersede(world, &state, place, write) {
                replica::supersede(world, &mut state, place, write);
            }
        }
        if coordinator::may_acknowledge(world, &state, write) {
            return true;
        }
        if !coordinator::may_restamp(world, &state, write) {
            return false;
        }
        coordinator::restamp(world, &mut state, write);
    }
    false
}
