//! The model: its first state, and which states differ in the names of nodes alone.

use explorer::{Model, Node, NodeSet, fingerprint_of};

use crate::actions::{self, Action};
use crate::properties::{self, Promise};
use crate::state::{DOCUMENTS, NODES, Pull, Read, Replica, State, VERSIONS, Version};
use crate::world::World;

/// Where each node goes.
type Renaming = [Node; NODES];

/// Marks, records and reads of one partition through changes of the layout.
pub(crate) struct Deletes {
    world: World,
    /// Nodes with the same part in every document are interchangeable.
    renamings: Vec<Renaming>,
}

impl Deletes {
    pub(crate) fn new(world: World) -> Self {
        assert!(world.documents.len() <= DOCUMENTS && world.writes.len() <= VERSIONS, "no room");
        let parts = |node: Node| {
            let sets =
                world.documents.iter().flat_map(|document| [document.current, document.next]);
            sets.map(move |set| set.contains(node))
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
        let renamings = renamings.into_iter().map(whole).collect();
        Self { world, renamings }
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
    for node in all_nodes() {
        let replica = state.replica(node);
        let renamed_pull = |pull: Pull| Pull { source: renaming[pull.source.index()], ..pull };
        *after.replica_mut(renaming[node.index()]) = Replica {
            pulled: renamed_set(replica.pulled, renaming),
            merged: renamed_set(replica.merged, renaming),
            pull: replica.pull.map(renamed_pull),
            ..*replica
        };
    }
    for acknowledgers in after.acknowledgers.iter_mut().flatten() {
        *acknowledgers = renamed_set(*acknowledgers, renaming);
    }
    after.read = state.read.map(|read| {
        let mut answers = read.answers;
        for node in all_nodes() {
            answers[renaming[node.index()].index()] = read.answers[node.index()];
        }
        Read { answered: renamed_set(read.answered, renaming), answers, ..read }
    });
    after
}

impl Model for Deletes {
    type State = State;
    type Action = Action;
    type Promise = Promise;

    fn first_states(&self) -> Vec<State> {
        let world = &self.world;
        let replica = |place: usize| all_nodes().nth(place).expect("a node for every place");
        let dropped = world.deletes(world.acknowledged) && world.acknowledged <= world.floor;
        vec![State {
            newest: 0,
            reports: NodeSet::EMPTY,
            replicas: std::array::from_fn(|place| actions::first_replica(world, replica(place))),
            acknowledgers: Default::default(),
            reached: world.acknowledged,
            overruled: Version::ABSENT,
            dropped: if dropped { world.acknowledged } else { Version::ABSENT },
            read: None,
            reads_left: world.reads,
            restarts_left: world.restarts,
            slow_pulls_left: world.slow_pulls,
            broken: None,
        }]
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

    /// `B:1 v2 0/0/2` has stored document 1 and holds version 2; its floor and full are at zero, it
    /// is closed at 2. `B:1~0` knows document 1 and has stored only 0; `new` waits for a `closed`,
    /// `+v1` is admitted, `<v1` on its way by a pull.
    fn describe(&self, state: &State) -> String {
        let mut line = format!("document {}", state.newest);
        for node in self.world.nodes().iter() {
            let replica = state.replica(node);
            line += &format!(" {node:?}:{}", replica.known);
            if !replica.has_stored_what_it_knows() {
                line += &format!("~{}", replica.stored);
            }
            line += &format!(" {:?}", replica.held);
            if !replica.admitted.is_absent() {
                line += &format!("+{:?}", replica.admitted);
            }
            if let Some(pull) = replica.pull {
                line += &format!("<{:?}", pull.brought);
            }
            let marks = replica.marks;
            line += &match replica.is_ready {
                true => format!(" {}/{}/{}", marks.floor.0, marks.full.0, marks.closed.0),
                false => " new".to_owned(),
            };
        }
        line + &format!("; reached {:?}", state.reached)
    }
}
