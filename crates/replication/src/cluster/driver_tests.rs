//! When changes begin, end and are given up.

use super::*;
use crate::cluster::reports::Reports;
use crate::cluster::worlds::{begun, document_of, join, name, newcomer as new_node};
use paravon_model::{NodeId, OperationKind, Progress, Report};

const JOIN_TIMEOUT: Duration = Duration::from_secs(60);

/// One that drives, and what it sees.
struct Seat {
    driver: Driver,
    own: Ordinal,
    alive: BTreeSet<Ordinal>,
    linked: BTreeSet<NodeId>,
    reports: Reports,
}

impl Seat {
    /// Number `own`, which sees these members up and these nodes besides.
    fn of(own: u32, alive: &[u32], linked: &[&str]) -> Self {
        Self {
            driver: Driver::new(JOIN_TIMEOUT),
            own: Ordinal(own),
            alive: alive.iter().copied().map(Ordinal).collect(),
            linked: linked.iter().map(|text| name(text)).collect(),
            reports: Reports::default(),
        }
    }

    fn view<'a>(&'a self, ms: u64, document: &'a Document) -> View<'a> {
        let Self { alive, linked, reports, own, .. } = self;
        View { now: Duration::from_millis(ms), document, own: *own, alive, linked, reports }
    }

    fn look(&mut self, ms: u64, document: &Document) -> Option<Change> {
        let mut driver = core::mem::replace(&mut self.driver, Driver::new(JOIN_TIMEOUT));
        let change = driver.look(&self.view(ms, document));
        self.driver = driver;
        change
    }

    /// A member reports of this document.
    fn hear(&mut self, member: u32, document: &Document, complete: u64, hints: u64) {
        let progress = Progress { partitions: 4, complete, ..Progress::default() };
        let report = Report { stored: document.fence(), progress, hints };
        self.reports.hear(Ordinal(member), report);
    }

    /// What is proposed once nothing changes any more.
    fn settles_on(&mut self, ms: u64, document: &Document) -> Option<Change> {
        self.look(ms, document);
        self.look(ms + 5_000, document)
    }
}

fn waiting_for(document: &Document, operations: &[(u128, OperationKind)]) -> Document {
    let named = operations.iter().map(|(id, kind)| (ChangeId(*id), kind.clone()));
    Change::Enqueue(named.collect()).successor(document).expect("they wait")
}

fn remove(member: u32) -> OperationKind {
    OperationKind::Remove { member: Ordinal(member) }
}

fn begin(ids: &[u128]) -> Option<Change> {
    let operations = ids.iter().copied().map(ChangeId).collect();
    Some(Change::Begin { operations, stored: 0 })
}

fn is_finish(change: &Option<Change>) -> bool {
    matches!(change, Some(Change::Finish { .. }))
}

fn is_cancel(change: Option<Change>, wanted: Fate) -> bool {
    matches!(change, Some(Change::Cancel { fate, .. }) if fate == wanted)
}

#[test]
fn what_waits_gathers_and_begins_together() {
    let first = document_of(&["a"]);
    let mut seat = Seat::of(1, &[1], &["a", "b", "c"]);
    assert_eq!(seat.look(1_000, &first), None);
    assert_eq!(seat.driver.next_wake(), Duration::MAX, "nothing waits");
    let waiting = waiting_for(&first, &[(7, join("b")), (8, join("c"))]);
    assert_eq!(seat.look(2_000, &waiting), None);
    assert_eq!(seat.look(2_299, &waiting), None);
    assert_eq!(seat.look(2_300, &waiting), begin(&[7, 8]));
}

#[test]
fn one_that_is_not_reached_is_waited_for_a_little_then_left_out_then_dropped() {
    let waiting = waiting_for(&document_of(&["a"]), &[(7, join("b")), (8, join("c"))]);
    let mut seat = Seat::of(1, &[1], &["a", "c"]);
    assert_eq!(seat.look(0, &waiting), None);
    assert_eq!(seat.look(1_999, &waiting), None);
    assert_eq!(seat.look(2_000, &waiting), begin(&[8]));
    seat.linked.remove(&name("c"));
    assert_eq!(seat.look(3_000, &waiting), None);
    let dropped = Some(Change::Drop { operations: [ChangeId(7)].into() });
    assert_eq!(seat.look(60_000, &waiting), dropped);
}

#[test]
fn nothing_begins_without_a_live_majority_of_the_sets_to_come() {
    let two = document_of(&["a", "b"]);
    let drain = OperationKind::Drain { member: Ordinal(1) };
    let waiting = waiting_for(&two, &[(7, drain)]);
    let mut seat = Seat::of(1, &[1], &["a"]);
    assert_eq!(seat.settles_on(0, &waiting), None);
    seat.alive.insert(Ordinal(2));
    assert_eq!(seat.settles_on(9_000, &waiting), begin(&[7]));
}

#[test]
fn a_removal_that_could_never_end_does_not_begin() {
    let five = document_of(&["a", "b", "c", "d", "e"]);
    let removals = waiting_for(&five, &[(7, remove(4)), (8, remove(5))]);
    let mut seat = Seat::of(1, &[1, 2, 3], &["a", "b", "c"]);
    assert_eq!(seat.settles_on(0, &removals), None, "two of three copies of some partitions");
    let joint = begun(&five, &[(6, remove(5))]);
    let waiting = waiting_for(&joint, &[(7, remove(4))]);
    assert_eq!(seat.settles_on(9_000, &waiting), None, "4 may come back, and is needed");
    seat.alive.insert(Ordinal(4));
    let one_by_one = begin(&[8]);
    assert_eq!(
        seat.settles_on(18_000, &removals),
        one_by_one,
        "4 is up and can be taken over from"
    );
}

#[test]
fn a_removal_that_cannot_begin_holds_up_nothing_else() {
    let five = document_of(&["a", "b", "c", "d", "e"]);
    let waiting = waiting_for(&five, &[(7, remove(4)), (8, join("f"))]);
    let mut seat = Seat::of(1, &[1, 2, 3, 4], &["a", "b", "c", "d", "f"]);
    assert_eq!(seat.settles_on(0, &waiting), begin(&[8]), "4 came back, and 5 is down");
    seat.alive.insert(Ordinal(5));
    assert_eq!(seat.settles_on(9_000, &waiting), begin(&[7]));
}

#[test]
fn nothing_is_worked_out_twice() {
    let three = document_of(&["a", "b", "c"]);
    let seat = Seat::of(1, &[1, 2], &["a", "b", "d"]);
    let told = |operations: &[(u128, OperationKind)]| {
        let document = waiting_for(&three, operations);
        let ids = |choice: Vec<ChangeId>| choice.into_iter().map(|id| id.0).collect::<Vec<_>>();
        choices(&seat.view(0, &document), &document).into_iter().map(ids).collect::<Vec<_>>()
    };
    assert_eq!(told(&[(7, remove(3))]), [[7]]);
    assert_eq!(told(&[(7, join("d"))]), [[7]]);
    let expected: [&[u128]; 3] = [&[7, 8], &[7], &[8]];
    assert_eq!(told(&[(7, remove(3)), (8, remove(2))]), expected);
    let expected: [&[u128]; 3] = [&[8], &[8, 7], &[7]];
    assert_eq!(told(&[(7, join("d")), (8, remove(3))]), expected);
}

#[test]
fn the_dead_go_first() {
    let three = document_of(&["a", "b", "c"]);
    let waiting = waiting_for(&three, &[(7, join("d")), (8, remove(3))]);
    let mut seat = Seat::of(1, &[1, 2], &["a", "b", "d"]);
    assert_eq!(seat.settles_on(0, &waiting), begin(&[8]));
}

#[test]
fn a_change_ends_when_every_live_member_of_the_next_layout_is_complete_under_its_fence() {
    let before = document_of(&["a", "b", "c"]);
    let joint = begun(&before, &[(7, join("d"))]);
    let mut seat = Seat::of(1, &[1, 2, 3, 4], &["a", "b", "c", "d"]);
    for member in [1, 2, 3] {
        seat.hear(member, &joint, 4, 0);
    }
    seat.hear(4, &before, 4, 0);
    assert_eq!(seat.settles_on(0, &joint), None, "it speaks of an earlier fence");
    seat.hear(4, &joint, 3, 0);
    assert_eq!(seat.settles_on(6_000, &joint), None, "one partition is missing");
    seat.hear(4, &joint, 4, 0);
    let (fence, stored) = (joint.fence, joint.fence);
    assert_eq!(seat.settles_on(12_000, &joint), Some(Change::Finish { fence, stored }));
}

#[test]
fn a_dead_member_within_the_minority_does_not_block_and_two_do() {
    let joint = begun(&document_of(&["a", "b", "c"]), &[(7, join("d"))]);
    let mut seat = Seat::of(1, &[1, 2, 4], &["a", "b", "d"]);
    for member in [1, 2, 4] {
        seat.hear(member, &joint, 4, 0);
    }
    let unheard = Change::Finish { fence: joint.fence, stored: 0 };
    assert_eq!(seat.settles_on(0, &joint), Some(unheard), "c has said nothing");
    let mut seat = Seat::of(1, &[1, 2], &["a", "b"]);
    for member in [1, 2] {
        seat.hear(member, &joint, 4, 0);
    }
    assert_eq!(seat.settles_on(0, &joint), None, "two of four may be all but one of a set");
}

#[test]
fn one_that_leaves_hands_over_its_hints_and_a_lost_one_is_not_waited_for() {
    let three = document_of(&["a", "b", "c"]);
    let drain = OperationKind::Drain { member: Ordinal(3) };
    let joint = begun(&three, &[(7, drain)]);
    let mut seat = Seat::of(1, &[1, 2, 3], &["a", "b", "c"]);
    seat.hear(1, &joint, 4, 0);
    seat.hear(2, &joint, 4, 0);
    assert_eq!(seat.settles_on(0, &joint), None, "c has not stored it");
    seat.hear(3, &joint, 0, 5);
    assert_eq!(seat.settles_on(10_000, &joint), None, "c keeps hints");
    assert!(is_finish(&seat.look(60_000, &joint)), "for so long");
    let mut seat = Seat { driver: Driver::new(JOIN_TIMEOUT), ..seat };
    assert_eq!(seat.settles_on(70_000, &joint), None);
    seat.hear(3, &joint, 0, 0);
    assert!(is_finish(&seat.settles_on(80_000, &joint)));

    let joint = begun(&three, &[(7, remove(3))]);
    let mut seat = Seat::of(1, &[1, 2], &["a", "b"]);
    seat.hear(1, &joint, 4, 0);
    seat.hear(2, &joint, 4, 0);
    assert!(is_finish(&seat.settles_on(0, &joint)));
}

#[test]
fn a_silent_newcomer_ends_the_change_after_a_while() {
    let joint = begun(&document_of(&["a"]), &[(7, join("b"))]);
    let mut seat = Seat::of(1, &[1], &["a"]);
    seat.hear(1, &joint, 4, 0);
    assert_eq!(seat.look(1_000, &joint), None);
    seat.alive.insert(Ordinal(2));
    assert_eq!(seat.look(50_000, &joint), None);
    seat.alive.remove(&Ordinal(2));
    assert_eq!(seat.look(51_000, &joint), None);
    assert_eq!(seat.look(110_999, &joint), None, "it was heard of meanwhile");
    assert!(is_cancel(seat.look(111_000, &joint), Fate::GivenUp));
}

#[test]
fn a_layout_to_come_that_lost_its_majority_is_given_up() {
    let three = document_of(&["a", "b", "c"]);
    let drain = OperationKind::Drain { member: Ordinal(3) };
    let joint = begun(&three, &[(7, drain)]);
    let mut seat = Seat::of(1, &[1, 3], &["a", "c"]);
    assert_eq!(seat.look(0, &joint), None);
    assert_eq!(seat.look(59_999, &joint), None);
    assert!(is_cancel(seat.look(60_000, &joint), Fate::GivenUp));
}

#[test]
fn a_removal_overtakes_and_what_it_overtook_waits_again() {
    let three = document_of(&["a", "b", "c"]);
    let joint = begun(&three, &[(7, join("d"))]);
    let asked = waiting_for(&joint, &[(8, remove(3))]);
    let mut seat = Seat::of(1, &[1, 2, 4], &["a", "b", "d"]);
    let change = seat.look(0, &asked);
    assert!(is_cancel(change.clone(), Fate::Overtaken));
    let stable = change.and_then(|change| change.successor(&asked)).expect("it is cancelled");
    assert_eq!(seat.settles_on(100, &stable), begin(&[8]));
    let next = begin(&[8]).and_then(|change| change.successor(&stable)).expect("it begins");
    assert!(!is_cancel(seat.settles_on(9_000, &next), Fate::Overtaken));
}

#[test]
fn a_replacement_that_could_not_begin_overtakes_nobody() {
    let three = document_of(&["a", "b", "c"]);
    let joint = begun(&three, &[(7, join("d"))]);
    let by = new_node("e");
    let replace = OperationKind::Replace { member: Ordinal(3), by };
    let asked = waiting_for(&joint, &[(8, replace)]);
    let mut seat = Seat::of(1, &[1, 2, 4], &["a", "b", "d"]);
    assert_eq!(seat.settles_on(0, &asked), None, "e is not reached");
    seat.linked.insert(name("e"));
    assert!(is_cancel(seat.settles_on(9_000, &asked), Fate::Overtaken));
}

#[test]
fn those_behind_in_the_council_wait_longer_and_others_say_nothing() {
    let four = document_of(&["a", "b", "c", "d"]);
    let waiting = waiting_for(&four, &[(8, OperationKind::Drain { member: Ordinal(4) })]);
    for (own, alive, begins_ms) in [
        (1, &[1, 2, 3][..], 300),
        (2, &[1, 2, 3], 1_300),
        (3, &[1, 2, 3], 2_300),
        (3, &[2, 3, 4], 1_300),
    ] {
        let mut seat = Seat::of(own, alive, &["a", "b", "c"]);
        let proposes = |seat: &mut Seat, ms| seat.look(ms, &waiting).is_some();
        let first = (0..30).map(|tenth| tenth * 100).find(|&ms| proposes(&mut seat, ms));
        assert_eq!(first, Some(begins_ms), "number {own}");
    }
    let mut outside = Seat::of(4, &[1, 2, 3, 4], &["a", "b", "c"]);
    assert_eq!(outside.settles_on(0, &waiting), None);
}
