//! Every step of the model, and when a state allows it.
//!
//! An operation ends as soon as it can, and then nothing else happens: a later end only takes away
//! from what is known to be before what, so it breaks nothing that the earlier end does not break.
//! An answer counts from when it is formed; a lost message is a step that is never taken.

use crate::coordinator;
use crate::replica;
use crate::state::{ReadPhase, Stamp, State, WritePhase};
use crate::world::{Claim, Disk, World};

/// One step. Replicas are named by their place, operations by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    BeginWrite {
        write: u8,
        time: u8,
    },
    BeginRead {
        read: u8,
    },
    Take {
        replica: usize,
        write: u8,
        stamp: Stamp,
    },
    Sync {
        replica: usize,
    },
    Crash {
        replica: usize,
    },
    Acknowledge {
        replica: usize,
        write: u8,
    },
    Supersede {
        replica: usize,
        write: u8,
    },
    Refuse {
        replica: usize,
        write: u8,
    },
    /// Known to be down.
    Skip {
        replica: usize,
        write: u8,
    },
    Hint {
        replica: usize,
        write: u8,
    },
    Replay {
        replica: usize,
    },
    EndReplay {
        replica: usize,
    },
    Answer {
        replica: usize,
        read: u8,
    },
    Restamp {
        write: u8,
    },
    EndWrite {
        write: u8,
    },
    EndWriteUnknown {
        write: u8,
    },
    EndWriteRefused {
        write: u8,
    },
    Judge {
        read: u8,
    },
    EndRead {
        read: u8,
    },
}

/// Adds every step that `state` allows.
pub(crate) fn allowed(world: &World, state: &State, actions: &mut Vec<Action>) {
    if let Some(end) = end(world, state) {
        actions.push(end);
        return;
    }
    beginnings(world, state, actions);
    for replica in 0..world.replicas {
        of_disk(world, state, replica, actions);
        for write in world.write_numbers() {
            of_write(world, state, replica, write, actions);
        }
        for read in world.read_numbers() {
            let unanswered = state.replicas[replica].answers[usize::from(read)].is_none();
            if state.read(read).phase == ReadPhase::Asking && unanswered {
                actions.push(Action::Answer { replica, read });
            }
        }
    }
    for write in world.write_numbers() {
        if coordinator::may_restamp(world, state, write) {
            actions.push(Action::Restamp { write });
        }
        if coordinator::may_end_refused(world, state, write) {
            actions.push(Action::EndWriteRefused { write });
        }
        let may_be_unknown = world.claim == Claim::UnknownStaysBelow;
        if may_be_unknown && state.write(write).is_under_way() {
            actions.push(Action::EndWriteUnknown { write });
        }
    }
}

/// The end of an operation that can end.
fn end(world: &World, state: &State) -> Option<Action> {
    let of_write = |write| {
        coordinator::may_acknowledge(world, state, write).then_some(Action::EndWrite { write })
    };
    let of_read = |read| {
        let judged = coordinator::may_judge(world, state, read);
        let ends = coordinator::may_end_read(world, state, read);
        let judge = judged.then_some(Action::Judge { read });
        judge.or(ends.then_some(Action::EndRead { read }))
    };
    let of_writes = world.write_numbers().find_map(of_write);
    of_writes.or_else(|| world.read_numbers().find_map(of_read))
}

/// Operations of one level begin in order, because they are interchangeable.
fn beginnings(world: &World, state: &State, actions: &mut Vec<Action>) {
    let is_idle = |write| state.write(write).phase == WritePhase::Idle;
    let mut begun = Vec::new();
    for write in world.write_numbers().filter(|&write| is_idle(write)) {
        if !begun.contains(&world.write_level(write)) {
            begun.push(world.write_level(write));
            actions.extend(world.times.iter().map(|&time| Action::BeginWrite { write, time }));
        }
    }
    begun.clear();
    for read in world.read_numbers().filter(|&read| state.read(read).phase == ReadPhase::Idle) {
        if !begun.contains(&world.read_level(read)) {
            begun.push(world.read_level(read));
            actions.push(Action::BeginRead { read });
        }
    }
}

fn of_disk(world: &World, state: &State, replica: usize, actions: &mut Vec<Action>) {
    let here = &state.replicas[replica];
    if world.disk != Disk::AtOnce && replica::has_unsynced(here) {
        actions.push(Action::Sync { replica });
        if state.crashes_left > 0 {
            actions.push(Action::Crash { replica });
        }
    }
    if !here.hint.is_absent() && here.replayed.is_absent() {
        actions.push(Action::Replay { replica });
    }
    if !here.replayed.is_absent() && here.durable >= here.replayed {
        actions.push(Action::EndReplay { replica });
    }
}

fn of_write(world: &World, state: &State, replica: usize, write: u8, actions: &mut Vec<Action>) {
    for stamp in [Stamp::First, Stamp::Second] {
        if replica::may_take(world, state, replica, write, stamp) {
            actions.push(Action::Take { replica, write, stamp });
        }
    }
    let steps = [
        (
            replica::may_acknowledge(world, state, replica, write),
            Action::Acknowledge { replica, write },
        ),
        (
            replica::may_supersede(world, state, replica, write),
            Action::Supersede { replica, write },
        ),
        (replica::may_refuse(world, state, replica, write), Action::Refuse { replica, write }),
        (coordinator::may_skip(world, state, replica, write), Action::Skip { replica, write }),
        (coordinator::may_hint(world, state, replica, write), Action::Hint { replica, write }),
    ];
    actions.extend(steps.into_iter().filter(|(may, _)| *may).map(|(_, action)| action));
}

/// The state after a step that was allowed.
pub(crate) fn apply(world: &World, state: &State, action: Action) -> State {
    let mut after = *state;
    let state = &mut after;
    match action {
        Action::BeginWrite { write, time } => coordinator::begin_write(world, state, write, time),
        Action::BeginRead { read } => coordinator::begin_read(world, state, read),
        Action::Take { replica, write, stamp } => {
            replica::take(world, state, replica, write, stamp);
        }
        Action::Sync { replica } => replica::sync(state, replica),
        Action::Crash { replica } => replica::crash(state, replica),
        Action::Acknowledge { replica, write } => {
            state.replicas[replica].acknowledged.insert(write);
        }
        Action::Supersede { replica, write } => replica::supersede(world, state, replica, write),
        Action::Refuse { replica, write } => replica::refuse(world, state, replica, write),
        Action::Skip { replica, write } => coordinator::skip(world, state, replica, write),
        Action::Hint { replica, write } => coordinator::hint(state, replica, write),
        Action::Replay { replica } => coordinator::replay(world, state, replica),
        Action::EndReplay { replica } => coordinator::end_replay(world, state, replica),
        Action::Answer { replica, read } => replica::answer(world, state, replica, read),
        Action::Restamp { write } => coordinator::restamp(world, state, write),
        Action::EndWrite { write } => {
            coordinator::end_write(world, state, write, WritePhase::Acknowledged);
        }
        Action::EndWriteUnknown { write } => {
            coordinator::end_write(world, state, write, WritePhase::Unknown);
        }
        Action::EndWriteRefused { write } => {
            coordinator::end_write(world, state, write, WritePhase::Refused);
        }
        Action::Judge { read } => coordinator::judge(world, state, read),
        Action::EndRead { read } => state.read_mut(read).phase = ReadPhase::Answered,
    }
    after
}
