//! Writes, retries and restarts that race with a ballot.

use paravon_model::{Ballot, ChangeId, ClusterMessage, CouncilMessage, JoinRefusal, JoinRequest};

use super::*;
use crate::cluster::change::Change;
use crate::cluster::council::Council;
use crate::cluster::worlds::join_request;

#[test]
fn a_write_between_answer_and_ballot_ends_the_join() {
    let mut world = World::of(&["a", "b"], 12);
    world.start_all();
    world.run_seconds(2);
    world.join("b", 1);
    run_until_deciding(&mut world, "a");
    world.step(&name("a"), ClusterEvent::HoldsRecords);
    assert!(!machine(&world, "a").intake.is_deciding());
    world.run_seconds(3);
    assert_eq!((world.version("a"), world.phase("b")), (Some(1), ClusterPhase::Waiting));
    let refusal = JoinRefusal::HoldsRecords { member: Ordinal(1) };
    assert_eq!(world.node("b").answers, [(AdminToken(1), Err(JoinFailure::Refused(refusal)))]);
}

/// What a node says at once to a message of the council.
fn hears(world: &mut World, text: &str, from: &str, message: CouncilMessage) -> Vec<ClusterEffect> {
    let now = world.now_at(&name(text));
    let machine = world.node_mut(text).machine.as_mut().expect("it is up");
    let mut out = Vec::new();
    let message = ClusterMessage::Council(message);
    machine.step(now, ClusterEvent::Told { from: name(from), message }, &mut out);
    let number = out.iter().find_map(|effect| match effect {
        ClusterEffect::Persist { number, .. } => Some(*number),
        _ => None,
    });
    if let Some(number) = number {
        machine.step(now, ClusterEvent::Persisted { number }, &mut out);
    }
    let is_council = |effect: &ClusterEffect| {
        matches!(effect, ClusterEffect::Tell { message: ClusterMessage::Council(_), .. })
    };
    out.retain(is_council);
    out
}

/// A ballot of the second member, above all others, and what it would have decided.
fn ballot_of_second(world: &World) -> (CouncilMessage, CouncilMessage) {
    let base = machine(world, "a").document().expect("it has one").clone();
    let ballot = Ballot { round: 1000, proposer: 2 };
    let value = Change::AddMembers([join_request("x", 9)].into()).successor(&base);
    let value = value.expect("x joins").into();
    let accept = CouncilMessage::Accept { base: base.clone(), ballot, value };
    (CouncilMessage::Prepare { base, ballot }, accept)
}

/// The name of the member of this number.
fn member_of(world: &World, ordinal: u32) -> &'static str {
    let document = machine(world, "a").document().expect("it has one");
    let member = document.member(Ordinal(ordinal)).expect("it exists");
    if member.node_id == name("b") { "b" } else { "c" }
}

#[test]
fn an_acceptor_that_holds_records_does_not_vote_for_a_later_fence() {
    let mut world = three(18);
    let (prepare, accept) = ballot_of_second(&world);
    let second = member_of(&world, 2);
    world.step(&name("a"), ClusterEvent::HoldsRecords);
    assert_eq!(hears(&mut world, "a", second, prepare.clone()).len(), 1, "a promise moves nothing");
    assert_eq!(hears(&mut world, "a", second, accept.clone()), []);
    let third = member_of(&world, 3);
    assert_eq!(hears(&mut world, third, second, prepare).len(), 1);
    assert_eq!(hears(&mut world, third, second, accept).len(), 1, "it holds none");
}

#[test]
fn a_restarted_node_votes_only_once_it_serves() {
    let mut world = three(19);
    let (prepare, accept) = ballot_of_second(&world);
    let second = member_of(&world, 2);
    for text in ["a", "b", "c"] {
        world.crash(text);
    }
    world.start("a");
    assert_eq!(world.phase("a"), ClusterPhase::Starting);
    assert_eq!(hears(&mut world, "a", second, prepare.clone()), []);
    assert_eq!(hears(&mut world, "a", second, accept), []);
    let vote = machine(&world, "a").council.as_ref().map(|council| council.vote().clone());
    assert_eq!(vote, Some(world.node("a").disk.vote.clone()));
    world.start("b");
    world.start("c");
    world.run_seconds(2);
    assert_eq!(hears(&mut world, "a", second, prepare).len(), 1, "it serves");
}

#[test]
fn a_late_retry_does_not_end_the_ballot_of_another_join() {
    let mut world = three(13);
    let change = machine(&world, "a").document().expect("it has one").operations[0];
    world.add("d", settings_of("d", &["a"]));
    world.start("d");
    world.run_seconds(1);
    world.join("d", 1);
    run_until_deciding(&mut world, "a");
    let is_proposing =
        |world: &World| machine(world, "a").council.as_ref().is_some_and(Council::is_proposing);
    assert!(is_proposing(&world));
    for change in [change, ChangeId(1)] {
        let retry = JoinRequest { change, ..join_request("b", 0) };
        let message = ClusterMessage::Join(retry);
        world.step(&name("a"), ClusterEvent::Told { from: name("b"), message });
        assert!(is_proposing(&world), "of d");
    }
}

#[test]
fn a_write_after_votes_were_asked_for_leaves_open_whether_the_node_joins() {
    let mut world = three(17);
    world.add("d", settings_of("d", &["a"]));
    world.start("d");
    world.run_seconds(1);
    world.join("d", 1);
    run_until_deciding(&mut world, "a");
    let is_vote = |event: &ClusterEvent| {
        let ClusterEvent::Told { message, .. } = event else { return false };
        matches!(message, ClusterMessage::Council(CouncilMessage::Vote { .. }))
    };
    let asks_votes = |world: &World| {
        machine(world, "a").council.as_ref().is_some_and(|c| c.asks_votes_for().is_some())
    };
    while !asks_votes(&world) {
        world.run(STEP);
        world.under_way.retain(|(_, _, event)| !is_vote(event));
    }
    for text in ["a", "b", "c"] {
        world.step(&name(text), ClusterEvent::HoldsRecords);
    }
    world.run_seconds(3);
    assert_eq!(world.node("d").answers, [(AdminToken(1), Err(JoinFailure::TimedOut))]);
}
