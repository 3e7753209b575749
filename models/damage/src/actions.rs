//! Every step of the model, and when a state allows it.

use explorer::Node;

use crate::healing;
use crate::marks;
use crate::pulls;
use crate::puts::{self, Stamp};
use crate::reads;
use crate::replica;
use crate::state::{PutPhase, State, Version};
use crate::world::{Pace, World};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    PassTime,
    Restart {
        node: Node,
    },
    /// A late store or a hint: admitted and durable at once.
    Deliver {
        node: Node,
        version: Version,
    },
    Admit {
        node: Node,
        version: Version,
    },
    Land,
    Drop {
        node: Node,
        key: u8,
    },
    Close {
        node: Node,
        closed: Version,
    },
    Fill {
        node: Node,
    },
    RaiseFloor {
        node: Node,
    },
    Hear {
        node: Node,
        member: Node,
    },
    /// A replica that lost its marks asks for `closed`.
    AskForMarks {
        node: Node,
        member: Node,
    },
    /// A scan with all its steps.
    Pull {
        node: Node,
        source: Node,
    },
    BeginPull {
        node: Node,
        source: Node,
    },
    StepPull {
        node: Node,
    },
    Damage {
        node: Node,
        key: u8,
    },
    BeginHealing {
        node: Node,
        key: u8,
    },
    AskToHeal {
        node: Node,
        member: Node,
    },
    EndHealing {
        node: Node,
    },
    BeginRead {
        key: u8,
    },
    Answer {
        node: Node,
    },
    WriteBack {
        node: Node,
    },
    EndRead,
    BeginPut,
    Send {
        node: Node,
        stamp: Stamp,
    },
    Restamp,
}

/// Adds every step that `state` allows.
pub(crate) fn allowed(world: &World, state: &State, actions: &mut Vec<Action>) {
    if state.outside.broken.is_some() {
        return;
    }
    if world.time.is_some_and(|time| state.outside.now < time.until) {
        actions.push(Action::PassTime);
    }
    if state.outside.admission.is_some() {
        actions.push(Action::Land);
    }
    for node in world.nodes().iter() {
        of_records(world, state, node, actions);
        of_marks(world, state, node, actions);
        of_pulls(world, state, node, actions);
        of_damage(world, state, node, actions);
    }
    of_read(world, state, actions);
    of_put(world, state, actions);
}

fn of_records(world: &World, state: &State, node: Node, actions: &mut Vec<Action>) {
    if world.restarting.contains(node) && replica::may_restart(world, state, node) {
        actions.push(Action::Restart { node });
    }
    for &version in &world.late {
        if replica::may_deliver(world, state, node, version) {
            actions.push(Action::Deliver { node, version });
        }
        if world.stores == Pace::InSteps && replica::may_admit(world, state, node, version) {
            actions.push(Action::Admit { node, version });
        }
    }
    let gone = world.keys().filter(|&key| replica::may_drop(world, state, node, key));
    actions.extend(gone.map(|key| Action::Drop { node, key }));
}

fn of_marks(world: &World, state: &State, node: Node, actions: &mut Vec<Action>) {
    for &closed in &world.closes {
        if marks::may_close(world, state, node, closed) {
            actions.push(Action::Close { node, closed });
        }
    }
    if marks::may_fill(world, state, node) {
        actions.push(Action::Fill { node });
    }
    if marks::reachable_floor(world, state, node) > state.replica(node).marks.floor {
        actions.push(Action::RaiseFloor { node });
    }
    for member in world.others(node).iter() {
        if marks::may_hear(world, state, node, member) {
            actions.push(Action::Hear { node, member });
        }
        if marks::may_ask(state, node, member) {
            actions.push(Action::AskForMarks { node, member });
        }
    }
}

fn of_pulls(world: &World, state: &State, node: Node, actions: &mut Vec<Action>) {
    if state.replica(node).pull.is_some() {
        actions.push(Action::StepPull { node });
    }
    let is_slow = world.slow_pullers.contains(node);
    for source in world.others(node).iter() {
        if pulls::may_begin(world, state, node, source) {
            actions.push(match is_slow {
                true => Action::BeginPull { node, source },
                false => Action::Pull { node, source },
            });
        }
    }
}

fn of_damage(world: &World, state: &State, node: Node, actions: &mut Vec<Action>) {
    for key in world.keys() {
        if healing::may_damage(world, state, node, key) {
            actions.push(Action::Damage { node, key });
        }
        if healing::may_begin(state, node, key) {
            actions.push(Action::BeginHealing { node, key });
        }
    }
    for member in world.nodes().iter() {
        if healing::may_ask(world, state, node, member) {
            actions.push(Action::AskToHeal { node, member });
        }
    }
    if healing::may_end(world, state, node) {
        actions.push(Action::EndHealing { node });
    }
}

fn of_read(world: &World, state: &State, actions: &mut Vec<Action>) {
    let Some(read) = state.outside.read else {
        if state.outside.reads_left > 0 {
            actions.extend(world.keys().map(|key| Action::BeginRead { key }));
        }
        return;
    };
    for node in world.nodes().iter() {
        if reads::may_answer(world, state, node) {
            actions.push(Action::Answer { node });
        }
        if reads::may_write_back(world, state, node) {
            actions.push(Action::WriteBack { node });
        }
    }
    if reads::may_end(world, &read) {
        actions.push(Action::EndRead);
    }
}

fn of_put(world: &World, state: &State, actions: &mut Vec<Action>) {
    if world.stamps.is_none() {
        return;
    }
    if state.outside.put.phase == PutPhase::Idle {
        actions.push(Action::BeginPut);
    }
    if puts::may_restamp(world, state) {
        actions.push(Action::Restamp);
    }
    for node in world.nodes().iter() {
        let sendable = [Stamp::First, Stamp::Second].into_iter();
        let sendable = sendable.filter(|&stamp| puts::may_send(world, state, node, stamp));
        actions.extend(sendable.map(|stamp| Action::Send { node, stamp }));
    }
}

/// The state after a step that was allowed.
pub(crate) fn apply(world: &World, state: &State, action: Action) -> State {
    let mut after = *state;
    let state = &mut after;
    match action {
        Action::PassTime => state.outside.now += 1,
        Action::Restart { node } => replica::restart(world, state, node),
        Action::Deliver { node, version } => replica::deliver(world, state, node, version),
        Action::Admit { node, version } => replica::admit(state, node, version),
        Action::Land => replica::land(world, state),
        Action::Drop { node, key } => replica::drop_gone(state, node, key),
        Action::Close { node, closed } => marks::close(world, state, node, closed),
        Action::Fill { node } => marks::fill(world, state, node),
        Action::RaiseFloor { node } => marks::raise_floor(world, state, node),
        Action::Hear { node, member } => marks::hear(state, node, member),
        Action::AskForMarks { node, member } => marks::ask(world, state, node, member),
        Action::Pull { node, source } => pulls::run(world, state, node, source),
        Action::BeginPull { node, source } => pulls::begin(world, state, node, source),
        Action::StepPull { node } => pulls::step(world, state, node),
        Action::Damage { node, key } => healing::damage(world, state, node, key),
        Action::BeginHealing { node, key } => healing::begin(world, state, node, key),
        Action::AskToHeal { node, member } => healing::ask(world, state, node, member),
        Action::EndHealing { node } => healing::end(world, state, node),
        Action::BeginRead { key } => reads::begin(state, key),
        Action::Answer { node } => reads::answer(world, state, node),
        Action::WriteBack { node } => reads::write_back(world, state, node),
        Action::EndRead => reads::end(world, state),
        Action::BeginPut => puts::begin(state),
        Action::Send { node, stamp } => puts::send(world, state, node, stamp),
        Action::Restamp => puts::restamp(world, state),
    }
    forget_what_is_settled(world, state);
    after
}

/// Who holds a write no longer matters once it or a larger one is acknowledged: fewer states that
/// differ in nothing.
fn forget_what_is_settled(world: &World, state: &mut State) {
    for &version in &world.late {
        let key = usize::from(world.write(version).key);
        if version <= state.outside.acknowledged[key] {
            state.outside.holders[version.index()] = Default::default();
        }
    }
}
