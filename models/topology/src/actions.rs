//! Every step of the model, and when a state allows it.

use explorer::Node;

use crate::documents;
use crate::operations as coordinator;
use crate::replica::{self, Extent};
use crate::state::{Operation, Phase, State, Version};
use crate::world::{Kind, Pace, Question, World};

/// One step. Documents are named by their place among those decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    StartChange,
    Finish,
    Cancel,
    /// Every replica has the delete, so that its tombstone goes.
    DropTombstone,
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
    Pull {
        node: Node,
        source: Node,
        extent: Extent,
    },
    Clean {
        node: Node,
    },
    EndCleaning {
        node: Node,
    },
    Crash {
        node: Node,
    },
    BeginWrite {
        operation: u8,
        document: u8,
        clock: u8,
    },
    BeginRead {
        operation: u8,
        document: u8,
    },
    /// The record is admitted and durable at once.
    Deliver {
        operation: u8,
        sending: usize,
        node: Node,
    },
    Admit {
        operation: u8,
        sending: usize,
        node: Node,
    },
    Land,
    Answer {
        operation: u8,
        node: Node,
    },
    MoveOn {
        operation: u8,
        document: u8,
    },
    Restamp {
        operation: u8,
    },
    EndWrite {
        operation: u8,
    },
    Judge {
        operation: u8,
    },
    EndRead {
        operation: u8,
    },
}

/// Adds every step that `state` allows.
pub(crate) fn allowed(world: &World, state: &State, actions: &mut Vec<Action>) {
    if state.broken.is_some() {
        return;
    }
    of_documents(world, state, actions);
    for node in world.up().iter() {
        of_node(world, state, node, actions);
    }
    if state.admission.is_some() {
        actions.push(Action::Land);
    }
    for operation in world.operation_numbers() {
        deliveries(world, state, operation, actions);
        match state.operation(operation).phase {
            Phase::Idle => beginnings(world, state, operation, actions),
            Phase::Asking | Phase::WritingBack => of_operation(world, state, operation, actions),
            Phase::Done => {}
        }
    }
}

fn of_documents(world: &World, state: &State, actions: &mut Vec<Action>) {
    if state.newest_document().is_joint() {
        actions.push(Action::Cancel);
        if documents::may_finish(world, state) {
            actions.push(Action::Finish);
        }
    } else if !documents::target(world, state).is_empty() {
        actions.push(Action::StartChange);
    }
    if may_drop_tombstone(world, state) {
        actions.push(Action::DropTombstone);
    }
}

fn may_drop_tombstone(world: &World, state: &State) -> bool {
    let document = state.newest_document();
    let holds_the_delete = |node: Node| {
        let replica = state.replica(node);
        let is_current = replica.known == state.newest && replica.has_stored_what_it_knows();
        is_current && replica.held.is_of_first_operation()
    };
    world.question == Question::PromisesWithDelete
        && state.floor.is_absent()
        && !document.is_joint()
        && document.current.iter().all(holds_the_delete)
}

fn of_node(world: &World, state: &State, node: Node, actions: &mut Vec<Action>) {
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
    for source in world.up().iter() {
        if replica::may_pull(world, state, node, source) {
            let pull = |extent| Action::Pull { node, source, extent };
            actions.extend([Extent::Snapshot, Extent::Present].map(pull));
        }
    }
    if replica::may_clean(world, state, node) {
        actions.push(Action::Clean { node });
    }
    if state.cleaning.contains(node) {
        actions.push(Action::EndCleaning { node });
    }
    if replica::may_crash(state, node) {
        actions.push(Action::Crash { node });
    }
}

/// Operations of one kind begin in order, because they are interchangeable. They may begin under
/// any document that was decided, as if their coordinator knew no newer one.
fn beginnings(world: &World, state: &State, operation: u8, actions: &mut Vec<Action>) {
    let kind = world.kind(operation);
    let has_begun = |earlier: u8| state.operation(earlier).phase != Phase::Idle;
    if !(0..operation).all(|earlier| world.kind(earlier) != kind || has_begun(earlier)) {
        return;
    }
    for document in 0..=state.newest {
        match kind {
            Kind::Read => actions.push(Action::BeginRead { operation, document }),
            Kind::Write => actions.extend(Version::CLOCKS.map(|clock| Action::BeginWrite {
                operation,
                document,
                clock,
            })),
        }
    }
}

fn deliveries(world: &World, state: &State, operation: u8, actions: &mut Vec<Action>) {
    for (place, sending) in state.operation(operation).sendings.iter().enumerate() {
        for node in sending.to.iter() {
            if !replica::admits(world, state, node, sending.document) {
                continue;
            }
            actions.push(Action::Deliver { operation, sending: place, node });
            if world.stores == Pace::InSteps && state.admission.is_none() {
                actions.push(Action::Admit { operation, sending: place, node });
            }
        }
    }
}

fn of_operation(world: &World, state: &State, operation: u8, actions: &mut Vec<Action>) {
    let going: Operation = state.operation(operation);
    let newer = going.document + 1..=state.newest;
    actions.extend(newer.map(|document| Action::MoveOn { operation, document }));
    if world.kind(operation) == Kind::Write {
        if coordinator::write_may_end(world, state, going) {
            actions.push(Action::EndWrite { operation });
        }
        if coordinator::may_restamp(world, state, going) {
            actions.push(Action::Restamp { operation });
        }
        return;
    }
    if going.phase == Phase::Asking {
        let unasked = state.document(going.document).members().minus(going.answered);
        let asked = unasked.minus(world.dead).iter();
        let answers = asked.filter(|&node| replica::admits(world, state, node, going.document));
        actions.extend(answers.map(|node| Action::Answer { operation, node }));
    }
    if coordinator::may_judge(world, state, going) {
        actions.push(Action::Judge { operation });
    }
    if coordinator::read_may_end(world, state, going) {
        actions.push(Action::EndRead { operation });
    }
}

/// The state after a step that was allowed.
pub(crate) fn apply(world: &World, state: &State, action: Action) -> State {
    let mut after = *state;
    let state = &mut after;
    match action {
        Action::StartChange => documents::start(world, state),
        Action::Finish => documents::finish(world, state),
        Action::Cancel => documents::cancel(world, state),
        Action::DropTombstone => drop_tombstone(state),
        Action::Learn { node, document } => replica::learn(world, state, node, document),
        Action::SyncDocument { node } => replica::sync(state, node),
        Action::Empty { node } => replica::empty(world, state, node),
        Action::HasStored { node } => replica::store(world, state, node),
        Action::Pull { node, source, extent } => {
            replica::pull(world, state, node, source, extent);
        }
        Action::Clean { node } => replica::clean(world, state, node),
        Action::EndCleaning { node } => replica::end_cleaning(world, state, node),
        Action::Crash { node } => replica::crash(world, state, node),
        Action::BeginWrite { operation, document, clock } => {
            coordinator::begin_write(world, state, operation, document, clock);
        }
        Action::BeginRead { operation, document } => {
            coordinator::begin_read(world, state, operation, document);
        }
        Action::Deliver { operation, sending, node } => {
            let sending = coordinator::take(state, operation, sending, node);
            coordinator::store(world, state, operation, sending, node);
        }
        Action::Admit { operation, sending, node } => {
            let sending = coordinator::take(state, operation, sending, node);
            coordinator::admit(state, operation, sending, node);
        }
        Action::Land => {
            let admission = state.admission.expect("landing is allowed only with an admission");
            coordinator::land(world, state, admission);
        }
        Action::Answer { operation, node } => coordinator::answer(state, operation, node),
        Action::MoveOn { operation, document } => {
            coordinator::move_on(world, state, operation, document);
        }
        Action::Restamp { operation } => coordinator::restamp(state, operation),
        Action::EndWrite { operation } => coordinator::end_write(world, state, operation),
        Action::Judge { operation } => coordinator::judge(state, operation),
        Action::EndRead { operation } => coordinator::end_read(world, state, operation),
    }
    coordinator::tidy(world, state);
    after
}

/// Section 9 in one step: the floor passes the delete, and every replica drops the tombstone.
fn drop_tombstone(state: &mut State) {
    for node in state.newest_document().current.iter() {
        let replica = state.replica_mut(node);
        let dropped = std::mem::replace(&mut replica.held, Version::ABSENT);
        state.floor = state.floor.max(dropped);
    }
}
