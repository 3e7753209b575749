//! Founding a cluster and joining it.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Address, ChangeId, ClusterMessage, Ordinal};

use super::world::{World, machine, three};
use crate::clock::Permit;
use crate::cluster::event::{
    AdminToken, ClusterEvent, Notice, OperateDone, OperateMode, OperatorRequest,
};
use crate::cluster::settings::ClusterPhase;
use crate::cluster::worlds::{name, settings_of};

#[test]
fn a_lone_node_founds_at_once_and_serves_alone() {
    let mut world = World::of(&["a"], 1);
    world.start("a");
    world.run(Duration::from_millis(80));
    world.assert_all_serve(1);
    assert_eq!(world.node("a").permit, Some(Permit::Alone));
    world.crash("a");
    world.start("a");
    world.run(Duration::from_millis(80));
    world.assert_all_serve(1);
    assert_eq!(world.clusters(), 1);
}

#[test]
fn three_nodes_found_one_cluster_and_two_join_in_one_change() {
    let world = three(1);
    let document = world.document("a");
    assert_eq!((document.fence, document.operations.len(), document.past.len()), (3, 2, 0));
    assert_eq!(document.council.len(), 3);
    let mut joined: Vec<Ordinal> = ["b", "c"]
        .map(|text| match world.answer(text) {
            Some(Ok(OperateDone::Joined { ordinal })) => ordinal,
            other => panic!("{other:?}"),
        })
        .into();
    joined.sort();
    assert_eq!(joined, [Ordinal(2), Ordinal(3)]);
    for text in ["a", "b", "c"] {
        assert!(matches!(world.node(text).permit, Some(Permit::Measured { .. })), "{text}");
        let status = machine(&world, text).status();
        assert_eq!(status.members.iter().filter(|m| m.offset_ms.is_some()).count(), 2);
        assert_eq!(status.reports.len(), 3, "all are of the council");
    }
}

#[test]
fn a_lone_member_stamps_all_the_while_others_come() {
    let mut world = World::of(&["a", "b", "c"], 1);
    world.start_all();
    world.run_seconds(3);
    world.join("b", 1);
    world.join("c", 2);
    let may_stamp = |world: &World| match world.node("a").permit {
        Some(Permit::Alone) => false,
        Some(Permit::Measured { .. }) => true,
        other => panic!("{other:?}"),
    };
    world.run_until("the clocks of those who came are measured", may_stamp);
    assert!(
        machine(&world, "a").document().is_some_and(|document| document.members().count() == 3)
    );
}

#[test]
fn nobody_founds_while_a_seed_is_silent() {
    let mut world = World::of(&["a", "b", "c"], 2);
    world.start("a");
    world.start("b");
    world.run_seconds(11);
    assert_eq!(world.clusters(), 0);
    let silent = [Address::new("c")].into();
    assert!(world.node("a").notices.contains(&Notice::SeedsSilent { silent }));
    world.start("c");
    world.run_seconds(3);
    assert_eq!((world.clusters(), world.phase("a")), (1, ClusterPhase::Serving));
    assert_eq!(world.phase("b"), ClusterPhase::Waiting);
    assert!(world.node("b").notices.contains(&Notice::WaitsToJoin));
}

#[test]
fn five_join_by_themselves_although_a_fifth_of_all_messages_is_lost() {
    for seed in 0..4 {
        let names = ["a", "b", "c", "d", "e"];
        let mut world = World::of(&names, seed);
        world.loss_percent = 20;
        for text in names {
            world.node_mut(text).settings.auto_join = true;
        }
        world.start_all();
        world.run_seconds(40);
        world.loss_percent = 0;
        world.run_seconds(2);
        world.assert_all_serve(5);
        assert_eq!(world.clusters(), 1);
    }
}

#[test]
fn a_founder_that_restarts_before_its_joiners_know_of_it_serves_once_they_do() {
    let mut world = World::of(&["a", "b", "c"], 3);
    world.start_all();
    world.run_seconds(3);
    world.join("b", 1);
    world.join("c", 2);
    world.run_until("a joint document on the disk of a", |world| {
        let document = &world.node("a").disk.document;
        document.as_ref().is_some_and(|document| document.joint().is_some())
    });
    assert_eq!((world.version("b"), world.version("c")), (None, None), "they wait");
    world.crash("a");
    world.start("a");
    world.run_seconds(8);
    world.assert_all_serve(3);
}

#[test]
fn a_node_that_has_asked_to_join_does_not_found_anyway() {
    let mut world = World::of(&["b", "c"], 16);
    let node = world.node_mut("b");
    node.settings.found_anyway = true;
    node.disk.joining = Some(ChangeId(5));
    world.start("b");
    world.run_seconds(20);
    assert_eq!((world.clusters(), world.phase("b")), (0, ClusterPhase::Waiting));
}

#[test]
fn an_administrator_may_plan_first() {
    let mut world = World::of(&["a", "b"], 7);
    world.start_all();
    world.run_seconds(3);
    let (token, request, mode) = (AdminToken(1), OperatorRequest::Join, OperateMode::Plan);
    world.step(&name("b"), ClusterEvent::Operate { token, request, mode });
    world.run_seconds(2);
    let Some(Ok(OperateDone::Planned { document })) = world.answer("b") else { panic!() };
    assert_eq!(document.joint().map(|joint| joint.next.members.len()), Some(2));
    assert_eq!(world.version("a"), Some(1), "nothing has changed");
}

#[test]
fn a_clock_that_is_far_off_is_held_and_says_so() {
    let mut world = three(8);
    world.node_mut("c").wall_ahead_ms = 2_000;
    world.run_seconds(4);
    let held = world.node("c").permit;
    assert!(matches!(held, Some(Permit::Held { offset_ms: 1900.. })), "{held:?}");
    assert!(matches!(world.node("a").permit, Some(Permit::Measured { .. })), "one of two");
    let notices = &world.node("c").notices;
    assert!(notices.iter().any(|notice| matches!(notice, Notice::ClockHeld { .. })));
    world.node_mut("c").wall_ahead_ms = 0;
    world.run_seconds(4);
    assert!(matches!(world.node("c").permit, Some(Permit::Measured { .. })));
    assert_eq!(world.node("c").notices.last(), Some(&Notice::ClockAgrees));
}

#[test]
fn two_that_join_through_different_members_both_get_in() {
    for seed in 50..56 {
        let mut world = three(seed);
        world.loss_percent = 10;
        world.add("d", settings_of("d", &["a"]));
        world.add("e", settings_of("e", &["b"]));
        world.start("d");
        world.start("e");
        world.run_seconds(2);
        world.join("d", 1);
        world.join("e", 2);
        world.run_seconds(25);
        world.loss_percent = 0;
        world.run_seconds(3);
        world.assert_all_serve(5);
    }
}

#[test]
fn strangers_are_not_heard_in_the_council() {
    let mut world = three(11);
    let version = world.version("a");
    let mut forged = world.document("a");
    forged.version += 1;
    let message = ClusterMessage::Document(forged.into());
    world.step(&name("a"), ClusterEvent::Told { from: name("stranger"), message });
    world.run_seconds(1);
    assert_eq!(world.version("a"), version);
}

#[test]
fn nobody_takes_in_another_one() {
    let mut world = three(12);
    let version = world.version("a");
    world.add("d", settings_of("d", &["a"]));
    world.start("d");
    world.run_seconds(2);
    let kind = crate::cluster::worlds::join("d");
    for from in ["b", "stranger"] {
        let message = ClusterMessage::Operate { id: ChangeId(77), kind: kind.clone() };
        world.step(&name("a"), ClusterEvent::Told { from: name(from), message });
    }
    world.run_seconds(2);
    assert_eq!(world.version("a"), version);
}
