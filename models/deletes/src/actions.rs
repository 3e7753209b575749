//! Every step of the model, and when a state allows it.

use explorer::{Node, NodeSet};

use crate::documents;
use crate::marks;
use crate::pulls;
use crate::reads;
use crate::replica;
use crate::state::{Replica, State, Told, Version};
use crate::world::{Pace, World};

/// One step. Documents are named by their place among the world's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The next document of the world.
    Decide,
    Learn {
        node: Node,
        document: u8,
    },
    SyncDocument {
        node: Node,
    },
    Empty {
        node: Node,
    },
    HasStored {
        node: Node,
    },
    TakeClosed {
        node: Node,
        source: Node,
    },
    /// A client's write or a hint comes, and is durable at once.
    Deliver {
        node: Node,
        version: Version,
    },
    Admit {
        node: Node,
        version: Version,
    },
    Land {
        node: Node,
    },
    Close {
        node: Node,
        version: Version,
    },
    BeFull {
        node: Node,
    },
    RaiseFloor {
        node: Node,
        floor: Version,
    },
    Pull {
        node: Node,
        source: Node,
    },
    BeginPull {
        node: Node,
        source: Node,
    },
    EndPull {
        node: Node,
    },
    Restart {
        node: Node,
    },
    BeginRead {
        document: u8,
        node: Node,
    },
    Answer {
        node: Node,
    },
    WriteBack {
        node: Node,
    },
}

/// Adds every step that `state` allows.
pub(crate) fn allowed(world: &World, state: &State, actions: &mut Vec<Action>) {
    if state.broken.is_some() {
        return;
    }
    if documents::may_decide(world, state) {
        actions.push(Action::Decide);
    }
    for node in world.nodes().iter() {
        of_documents(world, state, node, actions);
        of_stores(world, state, node, actions);
        of_marks(world, state, node, actions);
        of_pulls(world, state, node, actions);
        if state.restarts_left > 0 && replica::may_restart(world, state, node) {
            actions.push(Action::Restart { node });
        }
    }
    of_reads(world, state, actions);
}

fn of_documents(world: &World, state: &State, node: Node, actions: &mut Vec<Action>) {
    let known = state.replica(node).known;
    actions.extend((known + 1..=state.newest).map(|document| Action::Learn { node, document }));
    if world.storing == Pace::InSteps {
        if replica::may_sync(state, node) {
            actions.push(Action::SyncDocument { node });
        }
        if replica::may_empty(world, state, node) {
            actions.push(Action::Empty { node });
        }
        if replica::may_store(state, node) {
            actions.push(Action::HasStored { node });
        }
    }
    for source in world.nodes().iter() {
        if replica::may_take_closed(world, state, node, source) {
            actions.push(Action::TakeClosed { node, source });
        }
    }
}

fn of_stores(world: &World, state: &State, node: Node, actions: &mut Vec<Action>) {
    for version in world.versions() {
        if replica::may_deliver(world, state, node, version) {
            actions.push(Action::Deliver { node, version });
        }
        if world.stores == Pace::InSteps && replica::may_admit(world, state, node, version) {
            actions.push(Action::Admit { node, version });
        }
    }
    if !state.replica(node).admitted.is_absent() {
        actions.push(Action::Land { node });
    }
}

fn of_marks(world: &World, state: &State, node: Node, actions: &mut Vec<Action>) {
    let close = |version| Action::Close { node, version };
    let may_close = |version: &Version| marks::may_close(world, state, node, *version);
    actions.extend(world.versions().filter(may_close).map(close));
    if marks::may_be_full(world, state, node) {
        actions.push(Action::BeFull { node });
    }
    let floor = marks::possible_floor(world, state, node);
    if floor > state.replica(node).marks.floor {
        actions.push(Action::RaiseFloor { node, floor });
    }
}

fn of_pulls(world: &World, state: &State, node: Node, actions: &mut Vec<Action>) {
    for source in pulls::sources(world, state, node).iter() {
        actions.push(Action::Pull { node, source });
        if pulls::may_begin(world, state, node, source) {
            actions.push(Action::BeginPull { node, source });
        }
    }
    if state.replica(node).pull.is_some() {
        actions.push(Action::EndPull { node });
    }
}

fn of_reads(world: &World, state: &State, actions: &mut Vec<Action>) {
    let Some(read) = &state.read else {
        if state.reads_left > 0 {
            for document in 0..=state.newest {
                let answers = |node: &Node| replica::answers(world, state, *node, document);
                let begin = |node| Action::BeginRead { document, node };
                actions.extend(world.nodes().iter().filter(answers).map(begin));
            }
        }
        return;
    };
    for node in world.nodes().iter() {
        if reads::may_answer(world, state, read, node) {
            actions.push(Action::Answer { node });
        }
        if reads::may_write_back(world, state, read, node) {
            actions.push(Action::WriteBack { node });
        }
    }
}

/// The state after a step that was allowed.
pub(crate) fn apply(world: &World, state: &State, action: Action) -> State {
    let mut after = *state;
    let state = &mut after;
    match action {
        Action::Decide => documents::decide(state),
        Action::Learn { node, document } => replica::learn(world, state, node, document),
        Action::SyncDocument { node } => replica::sync(state, node),
        Action::Empty { node } => replica::empty(world, state, node),
        Action::HasStored { node } => replica::store(world, state, node),
        Action::TakeClosed { node, source } => replica::take_closed(world, state, node, source),
        Action::Deliver { node, version } => replica::deliver(world, state, node, version),
        Action::Admit { node, version } => replica::admit(state, node, version),
        Action::Land { node } => replica::land(world, state, node),
        Action::Close { node, version } => marks::close(world, state, node, version),
        Action::BeFull { node } => marks::be_full(state, node),
        Action::RaiseFloor { node, floor } => marks::raise_floor(world, state, node, floor),
        Action::Pull { node, source } => {
            let pull = pulls::begun(world, state, node, source);
            pulls::merge(world, state, node, pull);
        }
        Action::BeginPull { node, source } => pulls::begin(world, state, node, source),
        Action::EndPull { node } => pulls::end(world, state, node),
        Action::Restart { node } => {
            state.restarts_left -= 1;
            replica::restart(world, state, node);
        }
        Action::BeginRead { document, node } => reads::begin(world, state, document, node),
        Action::Answer { node } => reads::answer(world, state, node),
        Action::WriteBack { node } => reads::write_back(world, state, node),
    }
    tidy(world, state);
    after
}

/// Drops what can have no effect any more: fewer states that differ in nothing.
fn tidy(world: &World, state: &mut State) {
    for (document, sets) in (0..).zip(&world.documents) {
        let may_yet = |node: &Node| state.replica(*node).durable <= document;
        let left: NodeSet = sets.members().iter().filter(may_yet).collect();
        let place = usize::from(document);
        for node in world.nodes().iter() {
            let mut listeners = left;
            listeners.remove(node);
            if listeners.is_empty() {
                state.replica_mut(node).told_under[place] = Told::default();
            }
        }
        for acknowledgers in state.acknowledgers.iter_mut().map(|under| &mut under[place]) {
            if !sets.is_quorum(acknowledgers.or(left)) {
                *acknowledgers = NodeSet::EMPTY;
            }
        }
    }
    for acknowledgers in state.acknowledgers.iter_mut().take(usize::from(state.reached.0)) {
        *acknowledgers = Default::default();
    }
    state.read = state.read.filter(|read| !reads::is_over(world, state, read));
}

/// A replica of the first set, or a stranger to it, as the world begins.
pub(crate) fn first_replica(world: &World, node: Node) -> Replica {
    let held = world.held[node.index()];
    if !world.document(0).current.contains(node) {
        return Replica { held, is_ready: !held.is_absent(), ..Replica::default() };
    }
    let mut replica =
        Replica { held: held.max(world.acknowledged), is_ready: true, ..Replica::default() };
    replica.marks.closed = world.closed;
    replica.marks.full = world.floor;
    replica.marks.floor = world.floor;
    replica.told_closed = world.closed;
    if marks::visible(world, &replica).is_absent() {
        replica.held = Version::ABSENT;
    }
    replica
}
