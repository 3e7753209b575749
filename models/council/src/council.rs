//! The model: a world, its first state and its steps.

use explorer::Model;

use crate::actions::{self, Action};
use crate::properties::{self, Promise};
use crate::state::{State, nodes};
use crate::world::World;

/// Cluster documents that councils decide, one after the other.
pub(crate) struct Council {
    pub(crate) world: World,
}

impl Model for Council {
    type State = State;
    type Action = Action;
    type Promise = Promise;

    fn first_states(&self) -> Vec<State> {
        vec![actions::first_state(&self.world)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions::allowed(&self.world, state, actions);
    }

    fn apply(&self, state: &State, action: Action) -> State {
        actions::apply(&self.world, state, action)
    }

    fn broken(&self, state: &State) -> Option<Promise> {
        properties::broken(&self.world, state)
    }

    /// `B:1` knows document 1; `B:0[2 1]` has promised ballot 2 of the next instance and voted in
    /// ballot 1.
    fn describe(&self, state: &State) -> String {
        let describe = |node| {
            let member = state.member(node);
            let mut text = format!("{node:?}:{}", member.version);
            if member.slot.promised > 0 {
                text += &format!("[{} {}]", member.slot.promised, member.slot.vote.ballot);
            }
            text + if member.has_exited { " gone" } else { "" }
        };
        nodes().map(describe).collect::<Vec<_>>().join(" ")
    }
}
