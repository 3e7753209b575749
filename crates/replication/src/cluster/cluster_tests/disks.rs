//! Restarts, lost disks and old copies of disks (`DISK_NOT_OLDER`).

use paravon_model::{Ballot, ClusterId, ClusterMessage, ClusterState, CouncilMessage};

use super::world::{World, machine, three};
use crate::cluster::change::Change;
use crate::cluster::event::{
    ClusterEffect, ClusterEvent, Notice, OperateDone, OperateFailure, OperatorRequest,
};
use crate::cluster::settings::ClusterPhase;
use crate::cluster::worlds::{join, name, settings_of};
use crate::cluster::{HelloRefusal, RefusedAs};
use alloc::vec::Vec;
use paravon_model::{ChangeId, OperationRefusal, Ordinal};

fn replace(text: &str) -> OperatorRequest {
    OperatorRequest::Replace { node: name(text) }
}

#[test]
fn all_restart_and_serve_again() {
    let mut world = three(3);
    for text in ["a", "b", "c"] {
        world.crash(text);
    }
    world.start("a");
    world.run_seconds(3);
    assert_eq!(world.phase("a"), ClusterPhase::Starting, "nobody has taken its hello yet");
    assert!(world.node("a").layouts.is_empty());
    world.start("b");
    world.run_seconds(2);
    assert_eq!(world.phase("a"), ClusterPhase::Serving, "two of three");
    world.start("c");
    world.run_seconds(2);
    world.assert_all_serve(3);
}

#[test]
fn a_restarted_node_that_had_stored_its_document_admits_it_without_another_write() {
    let mut world = three(30);
    world.crash("b");
    let before = world.node("b").disk.clone();
    assert_eq!(before.stored, before.document.as_ref().map(|document| document.fence()));
    world.start("b");
    world.run_seconds(2);
    world.assert_all_serve(3);
    assert_eq!(world.node("b").disk.stored, before.stored);
}

#[test]
fn a_founder_that_lost_its_disk_does_not_found_again_and_comes_back_in_its_own_place() {
    let mut world = three(4);
    world.crash("a");
    let node = world.node_mut("a");
    node.disk = ClusterState::new(name("a"));
    node.settings.start = 0;
    node.settings.new_cluster_id = ClusterId(999);
    world.start("a");
    world.run_seconds(20);
    assert_eq!((world.clusters(), world.phase("a")), (1, ClusterPhase::Waiting));
    world.join("a", 1);
    world.run_seconds(3);
    let taken = OperationRefusal::NameTaken { member: Ordinal(1) };
    assert_eq!(world.answer("a"), Some(Err(OperateFailure::Refused(taken))));
    world.ask("a", 2, replace("a"));
    world.run_seconds(6);
    assert_eq!(world.answer("a"), Some(Ok(OperateDone::Joined { ordinal: Ordinal(4) })));
    world.assert_all_serve(3);
    assert!(world.document("b").member(Ordinal(1)).is_none());
}

/// Number b runs on a copy of its disk from before its last start.
fn with_an_old_disk() -> World {
    let mut world = three(5);
    let copy = (world.node("b").disk.clone(), world.node("b").settings.start);
    world.crash("b");
    world.start("b");
    world.run_seconds(2);
    world.crash("b");
    let node = world.node_mut("b");
    (node.disk, node.settings.start) = copy;
    world.start("b");
    world.run_seconds(5);
    world
}

#[test]
fn an_old_copy_of_a_disk_is_refused_before_it_serves() {
    let world = with_an_old_disk();
    assert_eq!(world.phase("b"), ClusterPhase::OldDisk);
    assert!(world.node("b").layouts.is_empty(), "it never served");
    assert!(world.node("b").notices.contains(&Notice::OldDisk));
    let is_old = |refusal: &HelloRefusal| matches!(refusal, HelloRefusal::OldDisk { .. });
    assert!(["a", "c"].iter().any(|text| world.node(text).refusals.iter().any(is_old)));
}

#[test]
fn a_node_with_an_old_disk_comes_back_in_its_own_place_by_another_number() {
    let mut world = with_an_old_disk();
    let old = world.document("a").member_named(&name("b")).map(|member| member.ordinal);
    world.ask("b", 1, replace("b"));
    world.run_seconds(6);
    assert_eq!(world.answer("b"), Some(Ok(OperateDone::Joined { ordinal: Ordinal(4) })));
    world.assert_all_serve(3);
    assert!(world.document("a").member(old.expect("it had one")).is_none());
}

#[test]
fn a_copy_of_a_disk_from_before_it_was_taken_in_does_not_serve() {
    let mut world = World::of(&["a", "b"], 31);
    world.start_all();
    world.run_seconds(2);
    world.join("b", 1);
    world.run_until("b has asked", |world| world.node("b").disk.joining.is_some());
    let copy = (world.node("b").disk.clone(), world.node("b").settings.start);
    assert!(copy.0.document.is_none());
    world.run_seconds(5);
    world.assert_all_serve(2);
    world.crash("b");
    world.run_seconds(5);
    let node = world.node_mut("b");
    (node.disk, node.settings.start) = (copy.0, copy.1 - 1);
    world.start("b");
    world.run_seconds(5);
    assert!(world.node("b").layouts.is_empty(), "it holds nothing of what it stored");
}

#[test]
fn a_second_process_of_a_member_is_refused() {
    let mut world = three(32);
    let hello =
        paravon_model::PeerHello { membership: None, run: 1, ..machine(&world, "b").hello() };
    let now = world.now_at(&name("a"));
    let a = world.node_mut("a").machine.as_mut().expect("it is up");
    let verdict = a.admit(now, &name("b"), &hello);
    assert!(matches!(verdict, Err(HelloRefusal::OldDisk { .. })));
}

#[test]
fn a_node_that_was_taken_for_a_second_process_may_come_in_once_the_other_is_gone() {
    let mut world = three(33);
    world.add("d", settings_of("d", &["a", "b", "c"]));
    world.start("d");
    world.run_seconds(2);
    let refusal = RefusedAs::OldDisk;
    world.step(&name("d"), ClusterEvent::Refused { by: name("a"), refusal });
    assert_eq!(world.phase("d"), ClusterPhase::OldDisk);
    world.join("d", 1);
    world.run_seconds(6);
    world.assert_all_serve(4);
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

#[test]
fn a_restarted_node_votes_only_once_it_serves() {
    let mut world = three(19);
    let base = alloc::sync::Arc::new(world.document("a"));
    let ballot = Ballot { round: 1000, proposer: 2 };
    let value = Change::Enqueue([(ChangeId(9), join("x"))].into()).successor(&base);
    let value = value.expect("x waits").into();
    let accept = CouncilMessage::Accept { base: base.clone(), ballot, value };
    let second = base.member(Ordinal(2)).expect("it exists").node_id.clone();
    let prepare = CouncilMessage::Prepare { base, ballot };
    for text in ["a", "b", "c"] {
        world.crash(text);
    }
    world.start("a");
    assert_eq!(world.phase("a"), ClusterPhase::Starting);
    assert_eq!(hears(&mut world, "a", second.as_str(), prepare.clone()), []);
    assert_eq!(hears(&mut world, "a", second.as_str(), accept), []);
    let vote = machine(&world, "a").council.as_ref().map(|council| council.vote().clone());
    assert_eq!(vote, Some(world.node("a").disk.vote.clone()));
    world.start("b");
    world.start("c");
    world.run_seconds(2);
    assert_eq!(hears(&mut world, "a", second.as_str(), prepare).len(), 1, "it serves");
}
