//! The model: a world, its first state and its steps.

use explorer::{Model, fingerprint_of};

use crate::actions::{self, Action};
use crate::properties::{self, Judged, Promise};
use crate::state::{READS, REPLICAS, Replica, State, WRITES};
use crate::world::{Disk, World};

/// One key in one layout.
pub(crate) struct Versions {
    world: World,
    judged: Judged,
}

impl Versions {
    pub(crate) fn new(world: World) -> Self {
        Self { world, judged: Judged::default() }
    }
}

impl Model for Versions {
    type State = State;
    type Action = Action;
    type Promise = Promise;

    fn first_states(&self) -> Vec<State> {
        let crashes_left = match self.world.disk {
            Disk::AtOnce => 0,
            Disk::Synced(crashes) => crashes,
        };
        vec![State {
            replicas: [Replica::default(); REPLICAS],
            writes: [Default::default(); WRITES],
            reads: [Default::default(); READS],
            crashes_left,
            refusals_left: self.world.refusals,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions::allowed(&self.world, state, actions);
    }

    fn apply(&self, state: &State, action: Action) -> State {
        actions::apply(&self.world, state, action)
    }

    fn broken(&self, state: &State) -> Option<Promise> {
        properties::broken(&self.world, state, &self.judged)
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let mut sorted = *state;
        sorted.replicas[..self.world.replicas].sort_unstable();
        fingerprint_of(&sorted)
    }

    /// `a@3` is write a stamped at time 3; a replica is `durable`, or `durable+memory`.
    fn describe(&self, state: &State) -> String {
        let replica = |replica: &Replica| match replica.memory == replica.durable {
            true => format!("{:?}", replica.durable),
            false => format!("{:?}+{:?}", replica.durable, replica.memory),
        };
        let replicas: Vec<_> = state.replicas[..self.world.replicas].iter().map(replica).collect();
        let mut line = format!("[{}]", replicas.join(" "));
        for write in self.world.write_numbers().map(|write| state.write(write)) {
            line += &format!(" {:?} {:?};", write.last(), write.phase);
        }
        for read in self.world.read_numbers().map(|read| state.read(read)) {
            line += &format!(" {:?} {:?};", read.phase, read.winner);
        }
        line
    }
}
