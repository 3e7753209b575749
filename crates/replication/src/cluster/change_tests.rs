//! Every way from one document to the next.

use alloc::vec;

use super::*;
use crate::cluster::worlds::{begun, document_of, finished, join, newcomer as new_node};

fn drain(member: u32) -> OperationKind {
    OperationKind::Drain { member: Ordinal(member) }
}

fn remove(member: u32) -> OperationKind {
    OperationKind::Remove { member: Ordinal(member) }
}

fn replace(member: u32, text: &str) -> OperationKind {
    OperationKind::Replace { member: Ordinal(member), by: new_node(text) }
}

fn copies(factor: u8) -> OperationKind {
    OperationKind::SetReplication { factor }
}

fn enqueue(operations: &[(u128, OperationKind)]) -> Change {
    let named = operations.iter().map(|(id, kind)| (ChangeId(*id), kind.clone()));
    Change::Enqueue(named.collect())
}

fn begin(ids: &[u128]) -> Change {
    Change::Begin { operations: ids.iter().copied().map(ChangeId).collect(), stored: 0 }
}

fn cancel(document: &Document, fate: Fate) -> Document {
    let change = Change::Cancel { fence: document.fence, fate };
    change.successor(document).expect("it is under way")
}

fn ordinals(roster: &Roster) -> Vec<u32> {
    roster.members.iter().map(|member| member.ordinal.0).collect()
}

fn next_of(document: &Document) -> Vec<u32> {
    ordinals(&document.joint().expect("it is joint").next)
}

fn states(document: &Document) -> Vec<OperationState> {
    document.operations.iter().map(|operation| operation.state).collect()
}

#[test]
fn what_is_asked_for_waits_once() {
    let first = document_of(&["a"]);
    let change = enqueue(&[(7, join("b")), (8, join("c"))]);
    let next = change.successor(&first).expect("they wait");
    assert_eq!((next.version, next.fence, next.next_ordinal), (2, 1, 2));
    assert_eq!(states(&next), [OperationState::Pending; 2]);
    assert_eq!(change.successor(&next), None, "a retry is not done twice");
    let again = enqueue(&[(9, join("b"))]).successor(&next).expect("it waits");
    let first = again.operation(ChangeId(7)).expect("it is kept");
    assert_eq!(first.state, OperationState::Cancelled, "b has forgotten that name");
}

#[test]
fn a_founder_and_two_that_wait_go_together_from_one_to_three() {
    let joint = begun(&document_of(&["a"]), &[(7, join("b")), (8, join("c"))]);
    assert_eq!((joint.version, joint.fence, joint.next_ordinal), (3, 2, 4));
    assert_eq!((ordinals(&joint.current), next_of(&joint)), (vec![1], vec![1, 2, 3]));
    assert_eq!(joint.council, [Ordinal(1)], "those of the current layout decide");
    assert_eq!(begin(&[7, 8]).successor(&joint), None);
    let stable = finished(&joint);
    assert_eq!((stable.version, stable.fence), (4, 3));
    assert_eq!((ordinals(&stable.current), stable.council.len()), (vec![1, 2, 3], 3));
    assert_eq!(states(&stable), [OperationState::Done; 2]);
    let past = &stable.past[0];
    assert_eq!((past.fence, ordinals(&past.from), ordinals(&past.to)), (2, vec![1], vec![1, 2, 3]));
    let again = Change::Finish { fence: joint.fence, stored: 0 };
    assert_eq!(again.successor(&stable), None);
}

#[test]
fn only_what_is_named_begins_and_nothing_while_another_change_is_under_way() {
    let document = document_of(&["a", "b", "c"]);
    let waiting = enqueue(&[(1, join("d")), (2, remove(3))]).successor(&document).expect("wait");
    let joint = begin(&[2]).successor(&waiting).expect("it begins");
    assert_eq!(next_of(&joint), [1, 2]);
    assert_eq!(joint.joint().expect("joint").lost, [Ordinal(3)]);
    assert_eq!(states(&joint), [OperationState::Pending, OperationState::Running]);
    assert_eq!(begin(&[1]).successor(&joint), None);
    let next = begin(&[1]).successor(&finished(&joint)).expect("it begins");
    assert_eq!(next_of(&next), [1, 2, 4]);
}

#[test]
fn every_operation_does_what_it_says() {
    let document = document_of(&["a", "b", "c"]);
    for (kind, next, lost) in [
        (join("d"), vec![1, 2, 3, 4], vec![]),
        (drain(2), vec![1, 3], vec![]),
        (remove(2), vec![1, 3], vec![Ordinal(2)]),
        (replace(2, "d"), vec![1, 3, 4], vec![Ordinal(2)]),
        (replace(2, "b"), vec![1, 3, 4], vec![Ordinal(2)]),
        (copies(5), vec![1, 2, 3], vec![]),
    ] {
        let joint = begun(&document, &[(1, kind.clone())]);
        assert_eq!(next_of(&joint), next, "{kind:?}");
        assert_eq!(joint.joint().expect("joint").lost, lost, "{kind:?}");
        let factor = joint.joint().expect("joint").next.replication_factor;
        assert_eq!(factor, if kind == copies(5) { 5 } else { 3 });
    }
}

#[test]
fn what_leaves_nothing_to_do_is_given_up_and_the_rest_goes_on() {
    let document = document_of(&["a", "b"]);
    let kinds = [join("b"), drain(9), copies(3), replace(2, "a"), drain(1), drain(2)];
    let named: Vec<(u128, OperationKind)> = (1..).zip(kinds).collect();
    let joint = begun(&document, &named);
    assert_eq!(next_of(&joint), [2], "the last member stays");
    let mut expected = [OperationState::Cancelled; 6];
    expected[4] = OperationState::Running;
    assert_eq!(states(&joint), expected);
    let stable = begun(&document, &[(1, join("b"))]);
    assert_eq!((stable.joint(), stable.fence, stable.next_ordinal), (None, 1, 3));
}

#[test]
fn a_cancelled_change_leaves_the_members_and_its_ordinals_are_gone() {
    let joint = begun(&document_of(&["a"]), &[(7, join("b"))]);
    for (fate, state) in
        [(Fate::GivenUp, OperationState::Cancelled), (Fate::Overtaken, OperationState::Pending)]
    {
        let stable = cancel(&joint, fate);
        assert_eq!((ordinals(&stable.current), stable.fence), (vec![1], 3));
        assert_eq!((states(&stable), stable.past.len()), (vec![state], 1));
        let late = Change::Finish { fence: joint.fence, stored: 0 };
        assert_eq!(late.successor(&stable), None);
        if fate == Fate::Overtaken {
            let again = begin(&[7]).successor(&stable).expect("it begins again");
            assert_eq!(next_of(&again), [1, 3], "with a new number");
        }
    }
}

#[test]
fn past_changes_are_kept_until_every_member_has_stored_them() {
    let mut document = document_of(&["a", "b"]);
    for id in 0..3 {
        document = finished(&begun(&document, &[(id, copies(4 + u8::try_from(id).unwrap()))]));
    }
    let fences = |document: &Document| document.past.iter().map(|c| c.fence).collect::<Vec<_>>();
    assert_eq!(fences(&document), [2, 4, 6]);
    let waiting = enqueue(&[(9, drain(2))]).successor(&document).expect("it waits");
    let change = Change::Begin { operations: [ChangeId(9)].into(), stored: 4 };
    let joint = change.successor(&waiting).expect("it begins");
    assert_eq!(fences(&joint), [6]);
    let change = Change::Finish { fence: joint.fence, stored: joint.fence };
    assert_eq!(fences(&change.successor(&joint).expect("it ends")), []);
}

#[test]
fn the_latest_ended_operations_are_kept_and_all_others() {
    let mut document = document_of(&["a"]);
    for id in 0..70 {
        document = enqueue(&[(id, copies(3))]).successor(&document).expect("it waits");
        let change = Change::Drop { operations: [ChangeId(id)].into() };
        document = change.successor(&document).expect("it is dropped");
    }
    assert_eq!(document.operations.len(), MAX_ENDED_OPERATIONS);
    assert_eq!(document.operations[0].id, ChangeId(6));
    let many: Vec<(u128, OperationKind)> = (100..200).map(|id| (id, copies(5))).collect();
    let full = enqueue(&many).successor(&document).expect("they wait");
    assert_eq!((waiting(&full).count(), full.operations.len()), (MAX_OPEN_OPERATIONS, 128));
    assert_eq!(enqueue(&[(300, copies(5))]).successor(&full), None);
}

#[test]
fn a_council_is_odd_and_at_most_seven() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let sizes: Vec<usize> =
        (1..=9).map(|n| council_of(&document_of(&names[..n]).current.members).len()).collect();
    assert_eq!(sizes, [1, 1, 3, 3, 5, 5, 7, 7, 7]);
}
