//! Every step of the model, when a state allows it, and what it does.

use explorer::{Node, NodeSet};

use crate::mutants::Mutant;
use crate::state::{Ballot, Document, Member, Slot, State, Vote, nodes};
use crate::world::World;

/// One step. `ballot` is the number within its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A member asks the acceptors for promises.
    Prepare {
        node: Node,
        instance: u8,
        ballot: u8,
        acceptors: NodeSet,
    },
    Promise {
        node: Node,
        instance: u8,
        ballot: u8,
    },
    /// The proposer asks the acceptors to vote.
    Propose {
        instance: u8,
        ballot: u8,
        document: Document,
    },
    Vote {
        node: Node,
        instance: u8,
        ballot: u8,
    },
    /// The proposer has a majority of votes.
    Decide {
        instance: u8,
        ballot: u8,
    },
    /// Gossip, or the answer of one who knows more than it was asked about.
    Learn {
        node: Node,
        from: Node,
    },
    Exit {
        node: Node,
    },
    /// Only in a mutant: a crash loses promise and vote.
    Forget {
        node: Node,
    },
}

/// Adds every step that `state` allows.
pub(crate) fn allowed(world: &World, state: &State, actions: &mut Vec<Action>) {
    for node in state.present().iter() {
        preparations(world, state, node, actions);
        let version = state.member(node).version;
        let newer = state.present().iter().filter(|&from| state.member(from).version > version);
        actions.extend(newer.map(|from| Action::Learn { node, from }));
        if may_exit(world, state, node) {
            actions.push(Action::Exit { node });
        }
        let has_vote_to_lose = state.member(node).slot.promised > 0;
        if has_vote_to_lose && world.is(Mutant::VotesNotDurable) {
            actions.push(Action::Forget { node });
        }
    }
    for instance in 1..=world.instances() {
        for number in world.ballots(instance) {
            if let Some(ballot) = state.ballot(instance, number) {
                of_ballot(world, state, instance, number, ballot, actions);
            }
        }
    }
}

/// A member, or one that does not know yet that it is none, drives the next instance, in any free
/// ballot.
fn preparations(world: &World, state: &State, node: Node, actions: &mut Vec<Action>) {
    let Member { version, document, .. } = state.member(node);
    let council = world.council_of(document);
    if !council.contains(node) {
        return;
    }
    let ahead = if world.is(Mutant::CouncilOfOlderDocument) { 2 } else { 1 };
    for instance in version + 1..=world.instances().min(version + ahead) {
        let is_free = |&ballot: &u8| state.ballot(instance, ballot).is_none();
        for ballot in world.ballots(instance).filter(is_free) {
            let prepare = |acceptors| Action::Prepare { node, instance, ballot, acceptors };
            if world.is(Mutant::AcceptorsFromBothSets) {
                let operations =
                    world.operations().filter(|&operation| !document.contains(operation));
                let next = operations.map(|operation| world.councils[usize::from(operation)]);
                actions.extend(next.map(|next| prepare(council.or(next))));
            } else {
                actions.push(prepare(council));
            }
        }
    }
}

/// A member that leaves exits only after a majority of the next council has stored the document.
fn may_exit(world: &World, state: &State, node: Node) -> bool {
    let Member { version, document, was_in_council, .. } = state.member(node);
    let is_out = was_in_council && !world.council_of(document).contains(node);
    let is_safe = world.is_stored_by_its_council(state, version, document)
        || world.is(Mutant::LeaverExitsEarly);
    is_out && is_safe
}

fn of_ballot(
    world: &World,
    state: &State,
    instance: u8,
    number: u8,
    ballot: Ballot,
    actions: &mut Vec<Action>,
) {
    for node in ballot.acceptors.and(state.present()).iter() {
        let Some(slot) = slot(world, state, node, instance) else { continue };
        let asks_promise = ballot.proposed.is_none() && !ballot.promises.contains(node);
        if asks_promise && number > slot.promised {
            actions.push(Action::Promise { node, instance, ballot: number });
        }
        let asks_vote = ballot.proposed.is_some() && !ballot.votes.contains(node);
        if asks_vote && number >= slot.promised {
            actions.push(Action::Vote { node, instance, ballot: number });
        }
    }
    let proposer = state.member(ballot.proposer);
    if proposer.has_exited || proposer.version >= instance {
        return;
    }
    if ballot.proposed.is_some() {
        if ballot.votes.has_majority_of(ballot.acceptors) {
            actions.push(Action::Decide { instance, ballot: number });
        }
    } else if ballot.promises.has_majority_of(ballot.acceptors) {
        let propose = |document| Action::Propose { instance, ballot: number, document };
        actions.extend(proposals(world, ballot).into_iter().map(propose));
    }
}

/// What a proposer may propose: the vote that it was told of, or else any operation on top of the
/// document.
fn proposals(world: &World, ballot: Ballot) -> Vec<Document> {
    if ballot.best.ballot > 0 && !world.is(Mutant::VoteNotAdopted) {
        return vec![ballot.best.document];
    }
    let operations = world.operations().filter(|&o| world.may_add(ballot.base, o));
    operations.map(|operation| ballot.base.with(operation)).collect()
}

/// The slot of an acceptor for an instance, as it is when a message of it has been read; none if it
/// may not use it.
fn slot(world: &World, state: &State, node: Node, instance: u8) -> Option<Slot> {
    let Member { version, slot, .. } = state.member(node);
    let knows_the_end = version >= instance && !world.is(Mutant::VotesAfterLearning);
    // It would first take over a document that contradicts what it knows of the council.
    let lags = version + 1 < instance && world.is(Mutant::CouncilOfOlderDocument);
    if knows_the_end || lags {
        return None;
    }
    Some(if slot.instance == instance { slot } else { Slot { instance, ..Slot::default() } })
}

/// The state after a step that was allowed.
pub(crate) fn apply(world: &World, state: &State, action: Action) -> State {
    let mut after = *state;
    let state = &mut after;
    match action {
        Action::Prepare { node, instance, ballot, acceptors } => {
            let base = state.member(node).document;
            let begun = Ballot { proposer: node, base, acceptors, ..Ballot::default() };
            *state.ballot_mut(instance, ballot) = Some(begun);
        }
        Action::Promise { node, instance, ballot } => promise(world, state, node, instance, ballot),
        Action::Propose { instance, ballot, document } => {
            let ballot = state.ballot_mut(instance, ballot).as_mut();
            ballot.expect("it was begun").proposed = Some(document);
        }
        Action::Vote { node, instance, ballot } => vote(world, state, node, instance, ballot),
        Action::Decide { instance, ballot } => {
            let ballot = state.ballot(instance, ballot).expect("it was begun");
            let document = ballot.proposed.expect("it was voted for");
            learn(world, state, ballot.proposer, instance, document);
        }
        Action::Learn { node, from } => {
            let Member { version, document, .. } = state.member(from);
            learn(world, state, node, version, document);
        }
        Action::Exit { node } => state.member_mut(node).has_exited = true,
        Action::Forget { node } => {
            let slot = &mut state.member_mut(node).slot;
            *slot = Slot { instance: slot.instance, ..Slot::default() };
        }
    }
    after
}

/// Stores a newer document. The slot is for the instance after it.
fn learn(world: &World, state: &mut State, node: Node, version: u8, document: Document) {
    let member = state.member_mut(node);
    if member.version >= version {
        return;
    }
    let is_in_council = world.council_of(document).contains(node);
    member.version = version;
    member.document = document;
    member.was_in_council |= is_in_council;
    member.slot = Slot { instance: version + 1, ..Slot::default() };
}

/// A message of an instance carries the document before, which an acceptor stores before it
/// answers.
fn open_slot(world: &World, state: &mut State, node: Node, instance: u8, base: Document) {
    if !world.is(Mutant::VotesBeforeStoring) {
        learn(world, state, node, instance - 1, base);
    }
    let slot = slot(world, state, node, instance).expect("the action was allowed");
    state.member_mut(node).slot = slot;
}

fn promise(world: &World, state: &mut State, node: Node, instance: u8, number: u8) {
    let ballot = state.ballot(instance, number).expect("it was begun");
    open_slot(world, state, node, instance, ballot.base);
    let slot = &mut state.member_mut(node).slot;
    slot.promised = number;
    let told = slot.vote;
    let mut ballot = ballot;
    ballot.promises.insert(node);
    if told.ballot > ballot.best.ballot {
        ballot.best = told;
    }
    *state.ballot_mut(instance, number) = Some(ballot);
}

fn vote(world: &World, state: &mut State, node: Node, instance: u8, number: u8) {
    let mut ballot = state.ballot(instance, number).expect("it was begun");
    open_slot(world, state, node, instance, ballot.base);
    let document = ballot.proposed.expect("the vote was asked for");
    let slot = &mut state.member_mut(node).slot;
    slot.promised = number;
    slot.vote = Vote { ballot: number, document };
    ballot.votes.insert(node);
    *state.ballot_mut(instance, number) = Some(ballot);
}

/// Everyone knows document 0, and nobody has voted.
pub(crate) fn first_state(world: &World) -> State {
    let slot = Slot { instance: 1, ..Slot::default() };
    let mut members = [Member { slot, ..Member::default() }; crate::state::NODES];
    for node in nodes() {
        members[node.index()].was_in_council = world.councils[0].contains(node);
    }
    State { members, ballots: Default::default() }
}
