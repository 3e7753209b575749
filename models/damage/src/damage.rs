//! The model: its first state, and which states differ in the names of replicas alone.

use explorer::{Model, Node, NodeSet, fingerprint_of};

use crate::actions::{self, Action};
use crate::properties::{self, Promise};
use crate::state::{Heard, KEYS, Marks, Outside, Put, REPLICAS, Replica, State, VERSIONS, Version};
use crate::world::World;

/// Where each replica goes.
type Renaming = [Node; REPLICAS];

/// One partition in one layout, with deletes, damage and expiry.
pub(crate) struct Damage {
    world: World,
    /// Replicas that may do the same are interchangeable.
    renamings: Vec<Renaming>,
    /// Every pair of such replicas, in both orders.
    interchangeable: Vec<(Node, Node)>,
}

impl Damage {
    pub(crate) fn new(world: World) -> Self {
        let ahead = world.time.map_or(NodeSet::EMPTY, |time| time.ahead);
        let part = |node: Node| {
            [world.slow_pullers, world.restarting, ahead].map(|set| set.contains(node))
        };
        let pairs = world.nodes().iter().flat_map(|left| {
            let others = world.others(left).iter();
            others.map(move |right| (left, right))
        });
        let interchangeable = pairs.filter(|&(left, right)| part(left) == part(right)).collect();
        let mut renamings = vec![Vec::new()];
        for node in world.nodes().iter() {
            let longer = |renaming: &Vec<Node>| {
                let free = world.nodes().iter().filter(|other| !renaming.contains(other));
                let allowed = free.filter(|&other| part(node) == part(other));
                let extended = allowed.map(|other| [renaming.as_slice(), &[other]].concat());
                extended.collect::<Vec<_>>()
            };
            renamings = renamings.iter().flat_map(longer).collect();
        }
        let whole = |renaming: Vec<Node>| {
            std::array::from_fn(|place| renaming.get(place).copied().unwrap_or_default())
        };
        Self { renamings: renamings.into_iter().map(whole).collect(), interchangeable, world }
    }

    /// Whether a renaming puts interchangeable replicas into the order of their looks. Trying only
    /// these is enough, because a look does not depend on names.
    fn sorts(&self, looks: &[Look; REPLICAS], renaming: &Renaming) -> bool {
        let place = |node: Node| renaming[node.index()];
        let sorted = |&(left, right): &(Node, Node)| {
            looks[left.index()] >= looks[right.index()] || place(left) < place(right)
        };
        self.interchangeable.iter().all(sorted)
    }
}

/// What can be told of a replica without the name of another.
type Look = ([Version; KEYS], Marks, u32, [bool; KEYS]);

fn look(replica: &Replica) -> Look {
    (replica.records, replica.marks, replica.pulled.len(), replica.damaged)
}

fn renamed_set(set: NodeSet, renaming: &Renaming) -> NodeSet {
    set.iter().map(|node| renaming[node.index()]).collect()
}

fn renamed_replica(world: &World, replica: &Replica, renaming: &Renaming) -> Replica {
    let mut after = *replica;
    after.pulled = renamed_set(replica.pulled, renaming);
    if let Some(pull) = &mut after.pull {
        pull.source = renaming[pull.source.index()];
    }
    if let Some(healing) = &mut after.healing {
        healing.asked = renamed_set(healing.asked, renaming);
    }
    if let Some(returning) = &mut after.returning {
        returning.asked = renamed_set(returning.asked, renaming);
    }
    if world.remembers_marks() {
        after.heard = [Heard::default(); REPLICAS];
        for member in world.nodes().iter() {
            after.heard[renaming[member.index()].index()] = replica.heard[member.index()];
        }
    }
    after
}

fn renamed_outside(outside: &Outside, renaming: &Renaming) -> Outside {
    let mut after = *outside;
    for holders in &mut after.holders {
        *holders = renamed_set(*holders, renaming);
    }
    if let Some(read) = &mut after.read {
        read.answered = renamed_set(read.answered, renaming);
        read.holders = renamed_set(read.holders, renaming);
    }
    after.put.answered = renamed_set(outside.put.answered, renaming);
    after.put.acknowledged = renamed_set(outside.put.acknowledged, renaming);
    if let Some(admission) = &mut after.admission {
        admission.node = renaming[admission.node.index()];
    }
    after
}

impl Model for Damage {
    type State = State;
    type Action = Action;
    type Promise = Promise;

    fn first_states(&self) -> Vec<State> {
        let world = &self.world;
        let heard = Heard { closed: world.marks.closed, full: world.marks.full };
        let replica =
            Replica { marks: world.marks, heard: [heard; REPLICAS], ..Replica::default() };
        let outside = Outside {
            stored: Default::default(),
            holders: [NodeSet::EMPTY; VERSIONS],
            acknowledged: Default::default(),
            seen: Default::default(),
            read: None,
            put: Put::default(),
            admission: None,
            reads_left: world.reads,
            damages_left: world.damages,
            now: world.time.map_or(0, |time| time.from),
            broken: None,
        };
        let mut state = State { replicas: [Replica::default(); REPLICAS], outside };
        world.nodes().iter().for_each(|node| *state.replica_mut(node) = replica);
        for &(version, holders) in &world.held {
            let key = world.write(version).key;
            holders.iter().for_each(|node| state.replica_mut(node).set_record(key, version));
            state.outside.stored.insert(version);
            if holders.has_majority_of(world.nodes()) {
                state.outside.acknowledge(key, version);
            }
        }
        vec![state]
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

    fn fingerprint(&self, state: &State) -> u64 {
        let world = &self.world;
        let of_renamed = |renaming: &Renaming| {
            let mut replicas = [Replica::default(); REPLICAS];
            for node in world.nodes().iter() {
                let renamed = renamed_replica(world, state.replica(node), renaming);
                replicas[renaming[node.index()].index()] = renamed;
            }
            let in_use = &replicas[..usize::from(world.replicas)];
            fingerprint_of(&(in_use, renamed_outside(&state.outside, renaming)))
        };
        let looks = state.replicas.map(|replica| look(&replica));
        let sorting = self.renamings.iter().filter(|renaming| self.sorts(&looks, renaming));
        sorting.map(of_renamed).min().expect("some renaming sorts the replicas")
    }

    /// `A:v2 2/2/0(BC)!`: A holds version 2, is closed at 2 and full at 2 with floor 0, has pulled
    /// B and C, and is damaged.
    fn describe(&self, state: &State) -> String {
        let mut line = String::new();
        for node in self.world.nodes().iter() {
            let replica = state.replica(node);
            line += &format!("{node:?}:");
            for key in self.world.keys() {
                line += &format!("{:?} ", replica.record(key));
            }
            let marks = replica.marks;
            line += &format!("{}/{}/{}", marks.closed.0, marks.full.0, marks.floor.0);
            if !replica.pulled.is_empty() {
                line += &format!("({:?})", replica.pulled);
            }
            line += if replica.is_whole() { "  " } else { "!  " };
        }
        let outside = &state.outside;
        line + &format!("acknowledged {:?}, seen {:?}", outside.acknowledged, outside.seen)
    }
}
