//! What operators are told at once.

use alloc::collections::BTreeSet;
use core::time::Duration;

use super::*;
use crate::cluster::change::MAX_PAST;
use crate::cluster::reports::Reports;
use crate::cluster::worlds::{begun, document_of, join, name, newcomer};
use paravon_model::{Fence, NodeId, PastChange, Progress, Report};

/// What the first member would be told, of whom these are up and these are reached.
fn told(
    document: &Document,
    alive: &[u32],
    linked: &[&str],
    kind: &OperationKind,
) -> Option<OperationRefusal> {
    let alive: BTreeSet<Ordinal> = alive.iter().copied().map(Ordinal).collect();
    let linked: BTreeSet<NodeId> = linked.iter().map(|text| name(text)).collect();
    let mut reports = Reports::default();
    for &ordinal in &alive {
        let stored = Fence { generation: 0, number: 90 };
        reports.hear(ordinal, Report { stored, progress: Progress::default(), hints: 0 });
    }
    let (alive, linked, reports) = (&alive, &linked, &reports);
    let (now, own) = (Duration::ZERO, Ordinal(1));
    objection(&View { now, document, own, alive, linked, reports }, kind)
}

fn drain(member: u32) -> OperationKind {
    OperationKind::Drain { member: Ordinal(member) }
}

fn remove(member: u32) -> OperationKind {
    OperationKind::Remove { member: Ordinal(member) }
}

fn replace(member: u32, text: &str) -> OperationKind {
    OperationKind::Replace { member: Ordinal(member), by: newcomer(text) }
}

#[test]
fn each_operation_has_its_objections() {
    let three = document_of(&["a", "b", "c"]);
    let all = &[1, 2, 3][..];
    let first_two = &[1, 2][..];
    let set = |factor| OperationKind::SetReplication { factor };
    let member = Ordinal(3);
    for (alive, kind, refusal) in [
        (all, join("d"), None),
        (all, join("c"), Some(OperationRefusal::NameTaken { member })),
        (all, drain(3), None),
        (all, drain(4), Some(OperationRefusal::NoSuchMember { member: Ordinal(4) })),
        (all, remove(3), Some(OperationRefusal::IsUp { member })),
        (first_two, remove(3), None),
        (all, replace(3, "d"), Some(OperationRefusal::IsUp { member })),
        (all, replace(3, "c"), None),
        (first_two, replace(3, "d"), None),
        (first_two, replace(3, "b"), Some(OperationRefusal::NameTaken { member: Ordinal(2) })),
        (all, set(0), Some(OperationRefusal::BadFactor)),
        (all, set(8), Some(OperationRefusal::BadFactor)),
        (all, set(3), Some(OperationRefusal::BadFactor)),
        (all, set(2), None),
    ] {
        assert_eq!(told(&three, alive, &["a", "b", "c", "d"], &kind), refusal, "{kind:?}");
    }
    let alone = document_of(&["a"]);
    assert_eq!(told(&alone, &[1], &["a"], &drain(1)), Some(OperationRefusal::LastMember));
}

#[test]
fn a_member_that_dies_while_it_is_let_go_can_be_removed() {
    let leaving = begun(&document_of(&["a", "b", "c"]), &[(7, drain(3))]);
    let linked = &["a", "b", "d"];
    assert_eq!(told(&leaving, &[1, 2], linked, &remove(3)), None);
    assert_eq!(told(&leaving, &[1, 2], linked, &replace(3, "d")), None);
    let up = Some(OperationRefusal::IsUp { member: Ordinal(3) });
    assert_eq!(told(&leaving, &[1, 2, 3], linked, &remove(3)), up);
    let joint = planned(&leaving, &replace(3, "d")).expect("it would begin");
    assert_eq!(joint.joint().map(|joint| joint.lost.clone()), Some([Ordinal(3)].into()));
    assert_eq!(joint.current, leaving.current);
}

#[test]
fn sets_to_come_need_a_majority_that_is_up() {
    let two = document_of(&["a", "b"]);
    let lacks = Some(OperationRefusal::NextHasNoMajority);
    assert_eq!(told(&two, &[1], &["a", "d"], &join("d")), None, "two of three");
    assert_eq!(told(&two, &[1], &["a"], &join("d")), lacks, "it is not reached");
    let three = document_of(&["a", "b", "c"]);
    assert_eq!(told(&three, &[1, 2], &["a", "b"], &drain(2)), lacks, "one of two");
}

#[test]
fn copies_that_are_lost_with_their_majority_are_for_a_rescue() {
    let lacks = Some(OperationRefusal::CurrentHasNoMajority);
    let five = document_of(&["a", "b", "c", "d", "e"]);
    let linked = &["a", "b", "c", "f"];
    assert_eq!(told(&five, &[1, 2, 3, 4], linked, &remove(5)), None);
    assert_eq!(told(&five, &[1, 2, 3], linked, &remove(5)), lacks, "4 and 5 have two of three");
    assert_eq!(told(&five, &[1, 2, 3], linked, &replace(5, "f")), lacks);
    assert_eq!(told(&five, &[1, 2, 3, 5], linked, &replace(5, "e")), lacks, "its disk is lost");
    let one_copy = |zones: [&str; 5]| {
        let mut zoned = five.clone();
        for (member, zone) in zoned.current.members.iter_mut().zip(zones) {
            member.zone = Some(name(zone));
        }
        zoned
    };
    let zoned = one_copy(["x", "y", "y", "z", "z"]);
    assert_eq!(told(&zoned, &[1, 2, 3], linked, &remove(5)), None, "they have one copy of each");
    let zoned = one_copy(["x", "y", "z", "y", "z"]);
    assert_eq!(told(&zoned, &[1, 2, 3], linked, &remove(5)), lacks);
    let two = document_of(&["a", "b"]);
    assert_eq!(told(&two, &[1], &["a"], &remove(2)), None, "one of two holds what is acknowledged");
}

#[test]
fn one_that_the_change_under_way_needs_is_not_removed() {
    let five = document_of(&["a", "b", "c", "d", "e"]);
    let removing = begun(&five, &[(7, remove(5))]);
    let lacks = Some(OperationRefusal::CurrentHasNoMajority);
    assert_eq!(told(&removing, &[1, 2, 3], &["a", "b", "c"], &remove(4)), lacks);
    let joining = begun(&five, &[(7, join("f"))]);
    assert_eq!(told(&joining, &[1, 2, 3, 4, 6], &["a", "b", "c", "d", "f"], &remove(5)), None);
}

#[test]
fn one_that_is_too_far_behind_is_named_unless_it_goes() {
    let mut document = document_of(&["a", "b", "c"]);
    let roster = document.current.clone();
    document.past = (0..u64::try_from(MAX_PAST).unwrap())
        .map(|number| PastChange {
            generation: 0,
            fence: number + 10,
            from: roster.clone(),
            to: roster.clone(),
        })
        .collect();
    let behind = Some(OperationRefusal::MemberTooFarBehind { member: Ordinal(3) });
    assert_eq!(told(&document, &[1, 2], &["a", "b", "d"], &join("d")), behind);
    assert_eq!(told(&document, &[1, 2], &["a", "b"], &remove(3)), None);
    assert_eq!(told(&document, &[1, 2, 3], &["a", "b", "c", "d"], &join("d")), None);
}

#[test]
fn a_plan_is_what_would_begin_after_the_change_under_way() {
    let document = document_of(&["a"]);
    let joint = planned(&document, &join("b")).expect("it would begin");
    assert_eq!(joint.joint().map(|joint| joint.next.members.len()), Some(2));
    let under_way = begun(&document, &[(7, join("c"))]);
    let joint = planned(&under_way, &join("b")).expect("it would begin");
    assert_eq!(joint.joint().map(|joint| joint.next.members.len()), Some(3));
    assert_eq!(planned(&document, &join("a")), None);
}

#[test]
fn so_many_wait_and_no_more() {
    let names = (0..64).map(|id| (ChangeId(id), OperationKind::SetReplication { factor: 5 }));
    let full = Change::Enqueue(names.collect()).successor(&document_of(&["a"])).expect("they wait");
    assert_eq!(told(&full, &[1], &["a"], &drain(1)), Some(OperationRefusal::TooManyWaiting));
}
