//! Tests of the document that a rescue writes.

use super::*;
use crate::cluster::worlds::{begun, document_of, finished, name, newcomer};
use alloc::sync::Arc;
use paravon_model::{Document, OperationKind};

/// The disk of the first of five members.
fn disk(document: Document) -> ClusterState {
    let document = Some(Arc::new(document));
    ClusterState { ordinal: Some(Ordinal(1)), document, ..ClusterState::new(name("a")) }
}

fn five() -> Document {
    document_of(&["a", "b", "c", "d", "e"])
}

#[test]
fn the_members_that_are_left_go_on_in_the_next_generation() {
    let before = five();
    let rescued = rescue(&disk(before.clone()), &[name("d")], 77).expect("three of five are lost");
    let document = rescued.document.expect("it has one");
    let of = |document: &Document| (document.generation, document.version, document.fence);
    assert_eq!(of(&document), (1, before.version + 1, before.fence + 1));
    assert_eq!((document.rescue_id, &document.current), (77, &before.current));
    assert_eq!(document.given_up(), [Ordinal(2), Ordinal(3), Ordinal(5)]);
    assert_eq!(document.council, [Ordinal(1)], "an odd number of those that are left");
    let next = &document.joint().expect("they take over").next;
    assert_eq!(next.members.iter().map(|m| m.ordinal.0).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(rescued.vote, VoteSlot::default());
}

#[test]
fn a_change_that_was_under_way_is_given_up() {
    let joining = begun(&five(), &[(9, OperationKind::Join(newcomer("f")))]);
    let rescued = rescue(&disk(joining.clone()), &[], 77).expect("four of five are lost");
    let document = rescued.document.expect("it has one");
    let joint = joining.joint().expect("it has begun");
    assert_eq!(document.past.last().map(|change| &change.to), Some(&joint.next));
    assert_eq!(document.operations[0].state, OperationState::Cancelled);
    assert!(document.member(Ordinal(6)).is_none(), "it was not complete for anything");
}

#[test]
fn nothing_is_rescued_that_can_help_itself() {
    let outside = ClusterState::new(name("a"));
    assert_eq!(rescue(&outside, &[], 1), Err(RescueRefusal::NoMember));
    let there = [name("b"), name("c"), name("e")];
    let refusal = RescueRefusal::CouncilIsThere { survivors: 4, council: 5 };
    assert_eq!(rescue(&disk(five()), &there, 1), Err(refusal));
    let fewer = &there[1..];
    assert!(
        rescue(&disk(five()), fewer, 1).is_ok(),
        "two of three copies of some partitions are lost"
    );
    let unknown = RescueRefusal::UnknownSurvivor { node_id: name("x") };
    assert_eq!(rescue(&disk(five()), &[name("x")], 1), Err(unknown));
}

#[test]
fn a_newcomer_is_no_survivor_and_is_told_so() {
    let joining = begun(&five(), &[(9, OperationKind::Join(newcomer("f")))]);
    let refusal = RescueRefusal::Newcomer { node_id: name("f") };
    assert_eq!(rescue(&disk(joining.clone()), &[name("f")], 1), Err(refusal.clone()));
    let replace = OperationKind::Replace { member: Ordinal(2), by: newcomer("b") };
    let replacing = begun(&five(), &[(9, replace)]);
    let refusal_of_b = RescueRefusal::Newcomer { node_id: name("b") };
    assert_eq!(rescue(&disk(replacing), &[name("b")], 1), Err(refusal_of_b));
    let own = ClusterState { ordinal: Some(Ordinal(6)), ..disk(joining) };
    assert_eq!(rescue(&own, &[name("a")], 1), Err(refusal));
}

#[test]
fn who_was_given_up_once_is_not_there_a_second_time() {
    let first = rescue(&disk(five()), &[name("b")], 1).expect("three of five are lost");
    let again = rescue(&first, &[name("c")], 2).expect("b is lost too");
    let document = again.document.expect("it has one");
    let lost: Vec<u32> = document.given_up().iter().map(|member| member.0).collect();
    assert_eq!(lost, [2, 3, 4, 5]);
}

#[test]
fn a_survivor_keeps_what_it_got_before_the_rescue() {
    let before = finished(&begun(&five(), &[(9, OperationKind::Join(newcomer("f")))]));
    assert_eq!(before.past.len(), 1, "a member was away and has stored nothing since");
    let stored = before.fence();
    let rescued =
        rescue(&disk(before), &[name("d"), name("f")], 77).expect("three of six are lost");
    let document = rescued.document.expect("it has one");
    let layout = paravon_ring::Layout::of(document);
    let sixth = layout.made_new(Ordinal(6), Some(stored));
    let is_new = |partition| {
        let sets = layout.sets(partition);
        // Of what has no copy left there is one set.
        sets.is_new(Ordinal(6)) || sets.next.is_none()
    };
    assert!(sixth.iter().copied().all(is_new), "only to what the rescue gives it");
    assert!(sixth.len() < layout.made_new(Ordinal(6), None).len(), "it was new to more once");
}
