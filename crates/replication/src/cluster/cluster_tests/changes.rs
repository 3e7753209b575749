//! Changes of the layout: what they wait for, what blocks them, who leaves.

use paravon_model::{
    ClusterMessage, ClusterState, Document, Membership, NodeId, OperationState, Ordinal,
};

use super::world::{TakesOver, World, machine, three};
use crate::cluster::change::waiting;
use crate::cluster::event::{ClusterEvent, Notice, OperateDone, OperatorRequest};
use crate::cluster::settings::ClusterPhase;
use crate::cluster::worlds::{name, settings_of};
use crate::cluster::{HelloRefusal, RefusedAs};
use core::time::Duration;

fn drain(text: &str) -> OperatorRequest {
    OperatorRequest::Drain { node: name(text) }
}

fn remove(text: &str) -> OperatorRequest {
    OperatorRequest::Remove { node: name(text) }
}

/// One more node, which waits.
fn with(world: &mut World, text: &str) {
    let mut settings = settings_of(text, &["a", "b", "c"]);
    settings.join_timeout = world.node("a").settings.join_timeout;
    world.add(text, settings);
    world.start(text);
    world.run_seconds(2);
}

fn is_joint(world: &World, text: &str) -> bool {
    machine(world, text).document().is_some_and(|document| document.joint().is_some())
}

fn state(world: &World, text: &str, place: usize) -> OperationState {
    world.document(text).operations[place].state
}

#[test]
fn a_join_while_a_change_is_under_way_waits_and_goes_next() {
    let mut world = three(1);
    with(&mut world, "d");
    world.node_mut("d").takes_over = TakesOver::Never;
    world.join("d", 1);
    world.run_until("joint", |world| is_joint(world, "a"));
    with(&mut world, "e");
    world.join("e", 2);
    world.run_seconds(10);
    assert!(is_joint(&world, "a"), "d is not complete");
    assert_eq!(state(&world, "a", 3), OperationState::Pending);
    assert_eq!(world.phase("e"), ClusterPhase::Joining);
    world.node_mut("d").takes_over = TakesOver::AtOnce;
    let fence = world.document("d").fence();
    let progress = paravon_model::Progress { partitions: 1, complete: 1, ..Default::default() };
    let event = ClusterEvent::Progressed { fence, progress };
    world.step(&name("d"), event);
    world.run_seconds(8);
    world.assert_all_serve(5);
    assert_eq!(world.answer("e"), Some(Ok(OperateDone::Joined { ordinal: Ordinal(5) })));
}

#[test]
fn a_change_waits_for_every_live_member_and_not_for_a_dead_one() {
    let mut world = three(2);
    with(&mut world, "d");
    world.node_mut("c").takes_over = TakesOver::Never;
    world.join("d", 1);
    world.run_until("joint", |world| is_joint(world, "c"));
    world.run_seconds(10);
    assert!(is_joint(&world, "a"), "c is up and not complete");
    world.crash("c");
    world.run_seconds(5);
    assert!(!is_joint(&world, "a"), "one of a set may be missing");
    world.node_mut("c").takes_over = TakesOver::AtOnce;
    world.start("c");
    world.run_seconds(4);
    world.assert_all_serve(4);
}

#[test]
fn a_silent_newcomer_is_given_up_and_writes_need_it_no_more() {
    let mut world = World::of(&["a", "b"], 3);
    for text in ["a", "b"] {
        world.node_mut(text).settings.join_timeout = Duration::from_secs(10);
    }
    world.start_all();
    world.run_seconds(2);
    world.node_mut("b").takes_over = TakesOver::Never;
    world.join("b", 1);
    world.run_until("b is a member", |world| world.node("b").disk.document.is_some());
    world.crash("b");
    world.run_seconds(8);
    assert!(is_joint(&world, "a"), "it may come back");
    world.run_seconds(8);
    world.assert_serve(&["a"]);
    assert_eq!(state(&world, "a", 0), OperationState::Cancelled);
    world.start("b");
    world.run_seconds(5);
    assert_eq!(world.phase("b"), ClusterPhase::NotMember);
    world.node_mut("b").takes_over = TakesOver::AtOnce;
    world.join("b", 2);
    world.run_seconds(6);
    world.assert_all_serve(2);
    assert!(world.document("a").member(Ordinal(3)).is_some(), "with a new number");
}

#[test]
fn a_removal_overtakes_a_join_which_then_goes_on_by_itself() {
    let mut world = three(4);
    with(&mut world, "d");
    world.node_mut("d").takes_over = TakesOver::Never;
    world.join("d", 1);
    world.run_until("joint", |world| world.node("d").answers.len() == 1);
    world.crash("c");
    world.run_seconds(3);
    world.node_mut("d").takes_over = TakesOver::AtOnce;
    world.ask("a", 2, remove("c"));
    world.run_seconds(15);
    world.assert_serve(&["a", "b", "d"]);
    assert!(world.document("a").member(Ordinal(5)).is_some(), "its first number is gone");
    let states: alloc::vec::Vec<OperationState> =
        world.document("a").operations.iter().skip(2).map(|o| o.state).collect();
    assert_eq!(states, [OperationState::Done; 2]);
}

#[test]
fn a_newcomer_that_misses_that_its_change_was_overtaken_comes_in_with_the_next() {
    let mut world = three(12);
    with(&mut world, "d");
    world.node_mut("d").takes_over = TakesOver::Never;
    world.join("d", 1);
    world.run_until("d is a member", |world| {
        world.node("d").disk.document.as_ref().is_some_and(|held| held.member(Ordinal(4)).is_some())
    });
    world.crash("c");
    world.run_seconds(3);
    world.node_mut("d").takes_over = TakesOver::AtOnce;
    world.ask("a", 2, remove("c"));
    let names_it = |document: &Document| document.member_named(&name("d")).is_some();
    let is_without_it = |to: &NodeId, message: &ClusterMessage| {
        *to == name("d")
            && matches!(message, ClusterMessage::Document(document) if !names_it(document))
    };
    world.run_without(is_without_it, "d comes by another number", |world| {
        world.document("a").member(Ordinal(5)).is_some()
    });
    assert!(world.document("d").member(Ordinal(4)).is_some(), "it has heard nothing yet");
    world.run_seconds(8);
    world.assert_serve(&["a", "b", "d"]);
}

#[test]
fn a_newcomer_that_crashes_before_it_hears_of_its_next_number_comes_by_that() {
    let mut world = three(12);
    with(&mut world, "d");
    world.node_mut("d").takes_over = TakesOver::Never;
    world.join("d", 1);
    world.run_until("d is a member", |world| {
        world.node("d").disk.document.as_ref().is_some_and(|held| held.member(Ordinal(4)).is_some())
    });
    world.crash("c");
    world.run_seconds(3);
    world.node_mut("d").takes_over = TakesOver::AtOnce;
    world.ask("a", 2, remove("c"));
    let is_later = |to: &NodeId, message: &ClusterMessage| {
        *to == name("d")
            && matches!(message, ClusterMessage::Document(document) if document.member(Ordinal(4)).is_none())
    };
    world.run_without(is_later, "d is to come by another number", |world| {
        ["a", "b"].iter().all(|text| world.document(text).member(Ordinal(5)).is_some())
    });
    world.crash("d");
    world.start("d");
    assert_eq!(machine(&world, "d").ordinal, Some(Ordinal(4)), "all that its disk knows");
    world.run_seconds(8);
    let refused = |refusal: &HelloRefusal| matches!(refusal, HelloRefusal::Removed { .. });
    assert!(world.node("a").refusals.iter().chain(&world.node("b").refusals).any(refused));
    world.assert_serve(&["a", "b", "d"]);
    assert_eq!(machine(&world, "d").ordinal, Some(Ordinal(5)));
}

#[test]
fn one_that_was_removed_does_not_come_by_the_operation_of_another_of_its_name() {
    let mut world = three(13);
    world.crash("c");
    world.run_seconds(3);
    world.ask("a", 1, remove("c"));
    world.run_seconds(6);
    world.assert_serve(&["a", "b"]);
    let old = core::mem::replace(&mut world.node_mut("c").disk, ClusterState::new(name("c")));
    with(&mut world, "d");
    world.node_mut("d").takes_over = TakesOver::Never;
    world.join("d", 2);
    world.run_until("joint", |world| is_joint(world, "a"));
    world.start("c");
    world.run_seconds(2);
    world.join("c", 3);
    world.run_until("c is to come", |world| waiting(&world.document("a")).next().is_some());
    world.crash("c");
    world.node_mut("c").disk = old;
    world.start("c");
    world.run_seconds(4);
    assert_eq!(world.node("c").disk.ordinal, Some(Ordinal(3)), "the disk is another's");
    assert!(world.node("c").layouts.is_empty(), "it never served");
}

#[test]
fn one_that_is_drained_goes_once_the_next_council_has_stored_the_document() {
    let mut world = three(5);
    world.ask("b", 1, drain("a"));
    world.run_until("a has left", |world| world.phase("a") == ClusterPhase::Leaving);
    let knows = |world: &World| {
        let fence = machine(world, "a").document().expect("it has one").fence();
        let has_stored = |text: &&&str| machine(world, text).stored_fence() >= Some(fence);
        ["b", "c"].iter().filter(has_stored).count()
    };
    world.run_until("a is gone", |world| {
        let is_gone = world.phase("a") == ClusterPhase::NotMember;
        assert!(!is_gone || knows(world) >= 1, "it went before a majority knew");
        is_gone
    });
    assert!(matches!(world.answer("b"), Some(Ok(OperateDone::Accepted { .. }))));
    world.run_seconds(2);
    world.assert_serve(&["b", "c"]);
    assert!(world.node("a").dialled.is_empty());
    let notices = &world.node("a").notices;
    assert!(notices.contains(&Notice::NotMember) && notices.contains(&Notice::Left));
}

#[test]
fn one_that_has_left_waits_while_nobody_says_that_it_knows() {
    let mut world = three(6);
    world.ask("b", 1, drain("a"));
    world.run_until("a has left", |world| world.phase("a") == ClusterPhase::Leaving);
    world.crash("b");
    world.crash("c");
    world.run_seconds(10);
    assert_eq!(world.phase("a"), ClusterPhase::Leaving);
    world.crash("a");
    for text in ["a", "b", "c"] {
        world.start(text);
    }
    world.run_seconds(10);
    assert_eq!(world.phase("a"), ClusterPhase::NotMember);
    world.assert_serve(&["b", "c"]);
}

#[test]
fn one_that_has_left_does_not_wait_where_its_name_was_given_a_later_number() {
    let mut world = three(6);
    world.ask("b", 1, drain("a"));
    world.run_until("a has left", |world| {
        let held = world.node("a").disk.document.as_ref();
        held.is_some_and(|held| held.member(Ordinal(1)).is_none())
    });
    let old = world.node("a").disk.clone();
    world.run_seconds(6);
    world.crash("a");
    world.node_mut("a").disk = ClusterState::new(name("a"));
    world.start("a");
    world.run_seconds(2);
    world.join("a", 2);
    world.run_seconds(6);
    world.assert_all_serve(3);
    world.crash("a");
    world.node_mut("a").disk = old;
    world.start("a");
    assert_eq!(world.phase("a"), ClusterPhase::Leaving, "all that its disk knows");
    let place = machine(&world, "a").hello().membership.expect("it has a number");
    let other = Membership { ordinal: Ordinal(7), ..place };
    let earlier = Membership { rescue_id: 7, ..place };
    for claimed in [other, earlier] {
        let refusal = RefusedAs::Removed { claimed };
        world.step(&name("a"), ClusterEvent::Refused { by: name("b"), refusal });
        assert_eq!(world.phase("a"), ClusterPhase::Leaving, "that was said of {claimed:?}");
    }
    world.run_seconds(4);
    assert_eq!(world.phase("a"), ClusterPhase::NotMember);
    world.ask("a", 3, OperatorRequest::Replace { node: name("a") });
    world.run_seconds(6);
    assert_eq!(world.answer("a"), Some(Ok(OperateDone::Joined { ordinal: Ordinal(5) })));
    world.assert_all_serve(3);
}

#[test]
fn one_whose_name_was_given_a_later_number_replaces_that_one_and_not_its_own() {
    let mut world = three(16);
    world.crash("a");
    let old = core::mem::replace(&mut world.node_mut("a").disk, ClusterState::new(name("a")));
    world.start("a");
    world.run_seconds(2);
    world.ask("a", 1, OperatorRequest::Replace { node: name("a") });
    world.run_seconds(6);
    world.assert_all_serve(3);
    assert!(world.document("b").member(Ordinal(4)).is_some());
    world.crash("a");
    world.node_mut("a").disk = old;
    world.start("a");
    assert_eq!(world.phase("a"), ClusterPhase::Starting, "all that its disk knows");
    world.run_seconds(4);
    assert_eq!(world.phase("a"), ClusterPhase::NotMember);
    world.ask("a", 2, OperatorRequest::Replace { node: name("a") });
    world.run_seconds(6);
    assert_eq!(world.answer("a"), Some(Ok(OperateDone::Joined { ordinal: Ordinal(5) })));
    world.assert_all_serve(3);
}

/// Whether a message would teach a node that the member of this number is gone.
fn tells_that_it_is_gone(message: &ClusterMessage, number: u32) -> bool {
    match message {
        ClusterMessage::Document(document) => document.member(Ordinal(number)).is_none(),
        ClusterMessage::Council(_) => true,
        _ => false,
    }
}

#[test]
fn one_that_comes_again_does_not_take_its_old_number_from_a_member_that_lags() {
    let mut world = three(17);
    with(&mut world, "d");
    world.join("d", 1);
    world.run_seconds(6);
    world.assert_all_serve(4);
    world.ask("a", 2, drain("d"));
    let is_lost = |to: &NodeId, message: &ClusterMessage| {
        *to == name("c") && tells_that_it_is_gone(message, 4)
    };
    world.run_without(is_lost, "d has left", |world| world.phase("d") == ClusterPhase::NotMember);
    assert!(world.document("c").current.member(Ordinal(4)).is_some(), "it has not heard");
    world.join("d", 3);
    let end = world.now + Duration::from_secs(2);
    let names_it = |message: &ClusterMessage| matches!(message, ClusterMessage::Document(document) if document.member(Ordinal(5)).is_some());
    let is_lost_for_both = |to: &NodeId, message: &ClusterMessage| {
        is_lost(to, message) || *to == name("d") && names_it(message)
    };
    world.run_without(is_lost_for_both, "c tells it", |world| world.now >= end);
    assert_eq!(machine(&world, "d").ordinal, None);
    world.run_seconds(8);
    assert_eq!(machine(&world, "d").ordinal, Some(Ordinal(5)));
    world.assert_all_serve(4);
}

#[test]
fn a_newcomer_that_starts_over_does_not_take_its_old_number_from_a_member_that_lags() {
    let mut world = three(18);
    with(&mut world, "d");
    world.node_mut("d").takes_over = TakesOver::Never;
    world.join("d", 1);
    world.run_until("both know its number", |world| {
        let holds = |text: &str| world.node(text).disk.document.as_ref();
        let is_there = |text| holds(text).is_some_and(|held| held.member(Ordinal(4)).is_some());
        is_there("c") && is_there("d")
    });
    world.crash("c");
    world.run_seconds(3);
    world.ask("a", 2, remove("c"));
    let is_lost = |to: &NodeId, message: &ClusterMessage| {
        (*to == name("c") || *to == name("d")) && tells_that_it_is_gone(message, 4)
    };
    world.run_without(is_lost, "d is to come by another number", |world| {
        ["a", "b"].iter().all(|text| world.document(text).member(Ordinal(5)).is_some())
    });
    world.crash("d");
    for text in ["c", "d"] {
        world.start(text);
    }
    assert_eq!(machine(&world, "d").ordinal, Some(Ordinal(4)), "all that its disk knows");
    let end = world.now + Duration::from_secs(4);
    world.run_without(is_lost, "c alone tells it something", |world| world.now >= end);
    assert!(world.document("c").member(Ordinal(4)).is_some(), "it has not heard");
    assert_eq!(machine(&world, "d").ordinal, None);
    assert!(!world.node("d").notices.contains(&Notice::Joined { ordinal: Ordinal(4) }));
    world.node_mut("d").takes_over = TakesOver::AtOnce;
    world.run_seconds(8);
    world.assert_serve(&["a", "b", "d"]);
    assert_eq!(machine(&world, "d").ordinal, Some(Ordinal(5)));
}

#[test]
fn one_that_knows_of_the_later_number_already_plans_its_way_back_on_what_it_knows() {
    let mut world = three(20);
    world.crash("a");
    let old = core::mem::replace(&mut world.node_mut("a").disk, ClusterState::new(name("a")));
    world.start("a");
    world.run_seconds(2);
    world.ask("a", 1, OperatorRequest::Replace { node: name("a") });
    world.run_seconds(6);
    world.assert_all_serve(3);
    let latest = world.node("b").disk.document.clone();
    world.crash("a");
    world.node_mut("a").disk = ClusterState { document: latest, ..old };
    world.start("a");
    world.run_seconds(4);
    assert_eq!(world.phase("a"), ClusterPhase::NotMember);
    world.ask("a", 2, OperatorRequest::Replace { node: name("a") });
    world.run_seconds(6);
    assert_eq!(world.answer("a"), Some(Ok(OperateDone::Joined { ordinal: Ordinal(5) })));
    world.assert_all_serve(3);
}

#[test]
fn one_that_starts_over_answers_administrators_who_wait_at_it() {
    let mut world = three(19);
    with(&mut world, "d");
    world.node_mut("d").takes_over = TakesOver::Never;
    world.join("d", 1);
    world.run_until("d serves", |world| world.phase("d") == ClusterPhase::Serving);
    world.ask("d", 2, OperatorRequest::SetReplication { factor: 2 });
    assert_eq!(world.node("d").answers.len(), 1, "that gathers with others");
    let claimed = machine(&world, "d").hello().membership.expect("it is a member");
    let refusal = RefusedAs::Removed { claimed };
    for (by, is_believed) in [("z", false), ("a", true)] {
        world.step(&name("d"), ClusterEvent::Refused { by: name(by), refusal });
        assert_eq!(machine(&world, "d").ordinal.is_none(), is_believed, "{by}");
    }
    world.run_seconds(1);
    let late = Err(crate::cluster::OperateFailure::TimedOut);
    assert!(world.node("d").answers.contains(&(crate::cluster::AdminToken(2), late)));
}

#[test]
fn one_that_has_left_may_come_again() {
    let mut world = three(7);
    world.ask("b", 1, drain("a"));
    world.run_until("a is gone", |world| world.phase("a") == ClusterPhase::NotMember);
    world.join("a", 2);
    world.run_seconds(6);
    assert_eq!(world.answer("a"), Some(Ok(OperateDone::Joined { ordinal: Ordinal(4) })));
    world.assert_all_serve(3);
}

#[test]
fn one_that_was_removed_while_it_was_down_hears_of_it() {
    let mut world = three(8);
    world.crash("c");
    world.run_seconds(3);
    world.ask("a", 1, remove("c"));
    world.run_seconds(6);
    world.assert_serve(&["a", "b"]);
    world.start("c");
    world.run_seconds(4);
    assert_eq!(world.phase("c"), ClusterPhase::NotMember);
    assert!(world.node("c").layouts.is_empty(), "it never served");
}

/// Node d was taken in as number 4 while it was down. Its disk holds the `joint` document; the copy of it
/// is from when it had asked and heard nothing.
fn that_missed_its_own_finish(seed: u128) -> (World, ClusterState) {
    let mut world = three(seed);
    with(&mut world, "d");
    world.node_mut("d").takes_over = TakesOver::Never;
    world.join("d", 1);
    world.run_until("d has asked", |world| world.node("d").disk.joining.is_some());
    let copy = world.node("d").disk.clone();
    assert!(copy.document.is_none());
    world.run_until("d is a member", |world| {
        world.node("d").disk.document.as_ref().is_some_and(|held| held.member(Ordinal(4)).is_some())
    });
    world.crash("d");
    world.run_until("finished", |world| !is_joint(world, "a"));
    assert_eq!(state(&world, "a", 2), OperationState::Done);
    world.node_mut("d").takes_over = TakesOver::AtOnce;
    (world, copy)
}

#[test]
fn one_that_was_removed_while_it_missed_its_own_finish_is_told_and_may_come_again() {
    let (mut world, _) = that_missed_its_own_finish(14);
    world.ask("a", 2, remove("d"));
    world.run_seconds(6);
    world.assert_serve(&["a", "b", "c"]);
    world.start("d");
    world.run_seconds(4);
    assert_eq!(world.phase("d"), ClusterPhase::NotMember);
    world.join("d", 3);
    world.run_seconds(6);
    assert_eq!(world.answer("d"), Some(Ok(OperateDone::Joined { ordinal: Ordinal(5) })));
    world.assert_all_serve(4);
}

#[test]
fn one_that_was_replaced_by_its_like_while_it_missed_its_own_finish_takes_no_number() {
    let (mut world, copy) = that_missed_its_own_finish(15);
    let old = core::mem::replace(&mut world.node_mut("d").disk, ClusterState::new(name("d")));
    world.start("d");
    world.run_seconds(2);
    world.ask("d", 2, OperatorRequest::Replace { node: name("d") });
    world.run_seconds(6);
    world.assert_all_serve(4);
    assert!(world.document("a").member(Ordinal(5)).is_some());
    for disk in [old, copy] {
        world.crash("d");
        world.node_mut("d").disk = disk;
        world.start("d");
        world.run_seconds(4);
        assert_eq!(machine(&world, "d").ordinal, None, "the other number is another's");
        assert!(world.node("d").layouts.is_empty(), "it never served");
    }
}

#[test]
fn hints_are_handed_over_before_their_keeper_leaves() {
    let mut world = three(9);
    world.node_mut("c").hints = 7;
    world.ask("a", 1, drain("c"));
    world.run_seconds(15);
    assert!(is_joint(&world, "a"), "c keeps hints");
    world.node_mut("c").hints = 0;
    world.run_seconds(3);
    world.assert_serve(&["a", "b"]);
}

#[test]
fn a_node_takes_the_place_of_a_dead_one() {
    let mut world = three(10);
    with(&mut world, "d");
    world.ask("d", 1, OperatorRequest::Replace { node: name("c") });
    world.run_seconds(2);
    let is_up = |answer| matches!(answer, Some(Err(crate::cluster::OperateFailure::Refused(_))));
    assert!(is_up(world.answer("d")), "c is up");
    world.crash("c");
    world.run_seconds(3);
    world.ask("d", 2, OperatorRequest::Replace { node: name("c") });
    world.run_seconds(6);
    world.assert_serve(&["a", "b", "d"]);
}

#[test]
fn past_changes_are_forgotten_once_all_have_stored_them() {
    let mut world = three(11);
    for (round, factor) in (1..).zip([2, 3, 4, 5, 3]) {
        world.ask("a", round, OperatorRequest::SetReplication { factor });
        world.run_seconds(6);
    }
    world.assert_all_serve(3);
    assert_eq!((world.document("a").fence, world.document("a").past.len()), (13, 0));
    world.crash("c");
    world.run_seconds(3);
    world.ask("a", 9, OperatorRequest::SetReplication { factor: 4 });
    world.run_seconds(6);
    let past = world.document("a").past;
    assert_eq!(past.first().map(|change| change.fence), Some(14), "c has not stored it");
    world.start("c");
    world.run_seconds(6);
    world.ask("a", 10, OperatorRequest::SetReplication { factor: 3 });
    world.run_seconds(6);
    world.assert_all_serve(3);
    assert_eq!(world.document("a").past.len(), 0);
}
