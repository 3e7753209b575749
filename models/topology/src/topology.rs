//! The model: its first states, and which states differ in the names of nodes alone.

use explorer::{Model, Node, NodeSet, fingerprint_of};

use crate::actions::{self, Action};
use crate::properties::{self, Promise};
use crate::state::{DOCUMENTS, Document, NODES, OPERATIONS, Operation, Replica, State, Version};
use crate::world::{Seed, World};

/// Where each node goes.
type Renaming = [Node; NODES];

/// One partition and one key through changes of the layout.
pub(crate) struct Topology {
    world: World,
    /// Nodes with the same part in every set are interchangeable.
    renamings: Vec<Renaming>,
}

impl Topology {
    pub(crate) fn new(world: World) -> Self {
        let parts = |node: Node| {
            let sets = [world.old, world.next, world.after_cancel, world.after_finish];
            sets.into_iter().chain([world.dead, world.lost]).map(move |set| set.contains(node))
        };
        let may_swap = |left: Node, right: Node| {
            left == right || (world.nodes().contains(left) && parts(left).eq(parts(right)))
        };
        let mut renamings = vec![Vec::new()];
        for node in all_nodes() {
            let longer = |renaming: &Vec<Node>| {
                let free = all_nodes().filter(|other| !renaming.contains(other));
                let allowed = free.filter(|&other| may_swap(node, other));
                let extended = allowed.map(|other| [renaming.as_slice(), &[other]].concat());
                extended.collect::<Vec<_>>()
            };
            renamings = renamings.iter().flat_map(longer).collect();
        }
        let whole = |renaming: Vec<Node>| std::array::from_fn(|place| renaming[place]);
        Self { world, renamings: renamings.into_iter().map(whole).collect() }
    }
}

fn all_nodes() -> impl Iterator<Item = Node> {
    (0..8).map(Node).take(NODES)
}

fn renamed_set(set: NodeSet, renaming: &Renaming) -> NodeSet {
    set.iter().map(|node| renaming[node.index()]).collect()
}

/// The documents stay: a renaming keeps every set of the world.
fn renamed(state: &State, renaming: &Renaming) -> State {
    let mut after = *state;
    after.reports = renamed_set(state.reports, renaming);
    after.cleaning = renamed_set(state.cleaning, renaming);
    for node in all_nodes() {
        let replica = state.replica(node);
        let merged = renamed_set(replica.merged, renaming);
        *after.replica_mut(renaming[node.index()]) = Replica { merged, ..replica };
    }
    for operation in &mut after.operations {
        operation.answered = renamed_set(operation.answered, renaming);
        operation.holders = renamed_set(operation.holders, renaming);
        operation.superseding = renamed_set(operation.superseding, renaming);
        for sending in &mut operation.sendings {
            sending.to = renamed_set(sending.to, renaming);
        }
        operation.sendings.sort_unstable();
    }
    if let Some(admission) = &mut after.admission {
        admission.node = renaming[admission.node.index()];
    }
    after
}

impl Model for Topology {
    type State = State;
    type Action = Action;
    type Promise = Promise;

    fn first_states(&self) -> Vec<State> {
        let first = Document { fence: 0, current: self.world.old, next: NodeSet::EMPTY };
        let empty = State {
            documents: [first; DOCUMENTS],
            newest: 0,
            reports: NodeSet::EMPTY,
            replicas: [Replica::default(); NODES],
            operations: [Operation::default(); OPERATIONS],
            admission: None,
            cleaning: NodeSet::EMPTY,
            acknowledged: Version::ABSENT,
            seen: Version::ABSENT,
            floor: Version::ABSENT,
            broken: None,
        };
        if self.world.seed == Seed::Nothing {
            return vec![empty];
        }
        let holders = self.world.old.subsets();
        let majorities = holders.filter(|set| set.len() == self.world.old.majority());
        let seeded = |holders: NodeSet| {
            let mut state = empty;
            holders.iter().for_each(|node| state.replica_mut(node).held = Version::SEED);
            state.acknowledged = Version::SEED;
            state
        };
        majorities.map(seeded).collect()
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
        let fingerprints =
            self.renamings.iter().map(|renaming| fingerprint_of(&renamed(state, renaming)));
        fingerprints.min().expect("at least the renaming that changes nothing")
    }

    /// `B:1 v12(A)`: B knows document 1 and has stored it, holds version 12 and has merged A;
    /// `B:1~0` has stored only document 0.
    fn describe(&self, state: &State) -> String {
        let document = state.newest_document();
        let mut line = format!("document {} {:?}", state.newest, document.current);
        if document.is_joint() {
            line += &format!(">{:?}", document.next);
        }
        for node in self.world.nodes().iter() {
            let replica = state.replica(node);
            line += &format!(" {node:?}:{}", replica.known);
            if !replica.has_stored_what_it_knows() {
                line += &format!("~{}", replica.stored);
            }
            line += &format!(" {:?}", replica.held);
            if !replica.merged.is_empty() {
                line += &format!("({:?})", replica.merged);
            }
        }
        line + &format!("; acknowledged {:?}, seen {:?}", state.acknowledged, state.seen)
    }
}
