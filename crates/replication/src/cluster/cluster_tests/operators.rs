//! What operators ask for, and what they are told.

use paravon_model::{ChangeId, ClusterMessage, OperationRefusal, OperationState, Ordinal};

use super::world::{TakesOver, World, machine, three};
use crate::cluster::event::{
    AdminToken, ClusterEvent, OperateDone, OperateFailure, OperateMode, OperatorRequest,
};
use crate::cluster::settings::ClusterPhase;
use crate::cluster::worlds::{join, name, settings_of};

fn drain(text: &str) -> OperatorRequest {
    OperatorRequest::Drain { node: name(text) }
}

fn plan(world: &mut World, text: &str, request: OperatorRequest) {
    let (token, mode) = (AdminToken(99), OperateMode::Plan);
    world.step(&name(text), ClusterEvent::Operate { token, request, mode });
}

#[test]
fn what_cannot_be_done_is_refused_at_once() {
    let mut world = three(1);
    let second = world.document("a").member_named(&name("b")).map(|member| member.ordinal);
    let up = OperationRefusal::IsUp { member: second.expect("it is one") };
    for (request, failure) in [
        (drain("z"), OperateFailure::NoSuchNode),
        (OperatorRequest::Remove { node: name("b") }, OperateFailure::Refused(up)),
        (
            OperatorRequest::SetReplication { factor: 9 },
            OperateFailure::Refused(OperationRefusal::BadFactor),
        ),
        (OperatorRequest::Cancel, OperateFailure::NothingToCancel),
        (OperatorRequest::Join, OperateFailure::AlreadyMember),
    ] {
        world.ask("a", 1, request);
        assert_eq!(world.answer("a"), Some(Err(failure)));
    }
    world.add("d", settings_of("d", &["a"]));
    world.start("d");
    world.ask("d", 1, drain("a"));
    assert_eq!(world.answer("d"), Some(Err(OperateFailure::NotMember)));
}

#[test]
fn a_plan_changes_nothing() {
    let mut world = three(2);
    let version = world.version("a");
    plan(&mut world, "a", drain("b"));
    let Some(Ok(OperateDone::Planned { document })) = world.answer("a") else { panic!() };
    assert_eq!(document.joint().map(|joint| joint.next.members.len()), Some(2));
    world.run_seconds(2);
    assert_eq!(world.version("a"), version);
}

#[test]
fn the_same_asked_twice_is_one_operation() {
    let mut world = three(3);
    world.node_mut("a").takes_over = TakesOver::Never;
    world.ask("a", 1, drain("c"));
    world.run_seconds(2);
    let Some(Ok(OperateDone::Accepted { id })) = world.answer("a") else { panic!() };
    world.ask("b", 2, drain("c"));
    assert_eq!(world.answer("b"), Some(Ok(OperateDone::Accepted { id })));
    assert_eq!(world.document("a").operations.len(), 3);
}

#[test]
fn a_retry_by_the_same_name_is_not_done_twice() {
    let mut world = three(4);
    world.add("d", settings_of("d", &["a"]));
    world.start("d");
    world.run_seconds(2);
    let operate = ClusterMessage::Operate { id: ChangeId(9), kind: join("d") };
    let told = ClusterEvent::Told { from: name("d"), message: operate };
    for text in ["a", "b", "a", "c"] {
        world.step(&name(text), told.clone());
        world.run_seconds(2);
    }
    let document = world.document("a");
    assert_eq!(document.operations.iter().filter(|o| o.id == ChangeId(9)).count(), 1);
    assert_eq!(document.next_ordinal, 5, "one number was given");
}

#[test]
fn an_operator_cancels_a_join() {
    let mut world = three(5);
    world.add("d", settings_of("d", &["a"]));
    world.start("d");
    world.run_seconds(2);
    world.node_mut("d").takes_over = TakesOver::Never;
    world.join("d", 1);
    world.run_until("d is a member", |world| world.node("d").answers.len() == 1);
    world.ask("b", 2, OperatorRequest::Cancel);
    world.run_seconds(5);
    assert_eq!(world.answer("b"), Some(Ok(OperateDone::Cancelled)));
    world.assert_serve(&["a", "b", "c"]);
    assert_eq!(world.phase("d"), ClusterPhase::NotMember);
    assert!(world.document("a").operations.iter().any(|o| o.state == OperationState::Cancelled));
}

#[test]
fn an_operator_cancels_what_waits() {
    let mut world = World::of(&["a", "b"], 6);
    world.start_all();
    world.run_seconds(2);
    world.join("b", 1);
    world.run_until("b waits", |world| world.version("a") == Some(2));
    world.crash("b");
    world.ask("a", 2, OperatorRequest::Cancel);
    world.run_seconds(2);
    assert_eq!(world.answer("a"), Some(Ok(OperateDone::Cancelled)));
    world.assert_serve(&["a"]);
}

#[test]
fn without_a_majority_of_the_council_it_may_still_be_or_is_refused() {
    let mut world = three(7);
    world.crash("b");
    world.crash("c");
    world.ask("a", 1, OperatorRequest::SetReplication { factor: 2 });
    world.run_seconds(11);
    let refused = OperateFailure::Refused(OperationRefusal::NoMajority);
    assert_eq!(world.answer("a"), Some(Err(refused)));
    world.start("b");
    world.start("c");
    world.run_seconds(5);
    world.assert_all_serve(3);
    assert_eq!(world.document("a").operations.len(), 2, "what was refused is not done later");
}

#[test]
fn what_was_voted_on_is_not_called_refused() {
    let mut world = three(8);
    let is_vote = |event: &ClusterEvent| {
        let ClusterEvent::Told { message, .. } = event else { return false };
        let vote = paravon_model::CouncilMessage::Vote {
            base: Default::default(),
            ballot: Default::default(),
        };
        let ClusterMessage::Council(message) = message else { return false };
        core::mem::discriminant(message) == core::mem::discriminant(&vote)
    };
    world.ask("a", 1, OperatorRequest::SetReplication { factor: 2 });
    let asks_votes = |world: &World| {
        machine(world, "a").council.as_ref().is_some_and(|c| c.asks_votes_for().is_some())
    };
    let mut was_voted_on = false;
    while world.node("a").answers.is_empty() {
        world.run(super::world::STEP);
        world.under_way.retain(|(_, _, event)| !is_vote(event));
        was_voted_on |= asks_votes(&world);
    }
    assert!(was_voted_on);
    assert_eq!(world.answer("a"), Some(Err(OperateFailure::TimedOut)));
    assert_eq!(world.document("a").next_ordinal, Ordinal(4).0);
}
