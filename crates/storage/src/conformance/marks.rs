//! What every store must do with marks of partitions and with keys that are healed.

use paravon_model::{Damage, Hlc, Marks, Record};
use paravon_ring::Partition;

use super::{Rig, answers, applied, forgets, get, key, merge, record};
use crate::store::{Completion, Done, Group, WriteError};

/// Runs every check of marks on rigs that `fresh` makes.
pub(super) fn check<R: Rig>(fresh: &mut impl FnMut() -> R) {
    marks_are_there_when_they_are_durable(&mut fresh());
    marks_are_listed_in_order_and_the_last_ones_count(&mut fresh());
    marks_are_answered_after_what_was_queued_before_them(&mut fresh());
    marks_that_fail_are_not_there(&mut fresh());
    a_healed_key_holds_the_larger_of_both(&mut fresh());
    a_key_is_healed_with_nothing(&mut fresh());
    a_healing_is_decided_against_queued_writes(&mut fresh());
}

fn marks(at_ms: u64) -> Marks {
    let at = Hlc::new(at_ms, 0);
    Marks { floor: Hlc::ZERO, full: at, closed: at, damage: Damage::None }
}

fn set(rig: &mut impl Rig, ticket: u64, partition: u32, marks: Marks) {
    rig.store().set_marks(ticket, Partition(partition), marks).expect("nothing refuses here");
}

fn heal(rig: &mut impl Rig, ticket: u64, number: u8, record: Option<Record>) {
    let (hash, key) = key(number);
    rig.store().heal(ticket, hash, key, record).expect("nothing refuses here");
}

fn marks_are_there_when_they_are_durable(rig: &mut impl Rig) {
    set(rig, 1, 4, marks(7));
    assert_eq!(rig.store().marks(), []);
    assert_eq!(answers(rig), []);
    rig.sync();
    assert_eq!(answers(rig), [(1, Ok(Done::Marked))]);
    for _ in 0..2 {
        assert_eq!(rig.store().marks(), [(Partition(4), marks(7))]);
        rig.store().flush();
        rig.settle();
    }
    assert!(rig.store().flush(), "nothing is left to apply");
    assert_eq!(answers(rig), [], "an answer comes once");
}

fn marks_are_listed_in_order_and_the_last_ones_count(rig: &mut impl Rig) {
    let lost = Marks { damage: Damage::Lost, ..marks(3) };
    for (ticket, partition, marks) in [(1, 6, marks(1)), (2, 2, lost), (3, 4, marks(5))] {
        set(rig, ticket, partition, marks);
    }
    set(rig, 4, 6, marks(9));
    rig.sync();
    let expected = [(Partition(2), lost), (Partition(4), marks(5)), (Partition(6), marks(9))];
    assert_eq!(rig.store().marks(), expected);
    set(rig, 5, 4, Marks::default());
    rig.sync();
    assert_eq!(rig.store().marks(), [expected[0], expected[2]], "without any it is left out");
}

fn marks_are_answered_after_what_was_queued_before_them(rig: &mut impl Rig) {
    merge(rig, 1, 1, record(1, Some(1)));
    set(rig, 2, 2, marks(1));
    forgets::forget(rig, 3, 2);
    rig.sync();
    let expected = [applied(1, None), (2, Ok(Done::Marked)), (3, Ok(Done::Forgotten))];
    assert_eq!(answers(rig), expected);
}

fn marks_that_fail_are_not_there(rig: &mut impl Rig) {
    set(rig, 1, 2, marks(1));
    let groups: Vec<Group> = std::iter::from_fn(|| rig.store().take_group()).collect();
    if groups.is_empty() {
        // This store has nothing that could fail.
        return;
    }
    for Group { shard, number, must_sync, .. } in groups {
        assert!(must_sync, "whatever the durability of writes");
        let result = Err(WriteError::StorageFull);
        rig.store().complete(Completion::Synced { shard, group: number, result });
    }
    assert_eq!(answers(rig), [(1, Err(WriteError::StorageFull))]);
    rig.sync();
    assert_eq!(rig.store().marks(), []);
}

fn a_healed_key_holds_the_larger_of_both(rig: &mut impl Rig) {
    for number in [1, 2] {
        merge(rig, 0, number, record(5, Some(5)));
    }
    rig.sync();
    answers(rig);
    heal(rig, 1, 1, Some(record(6, Some(6))));
    heal(rig, 2, 2, Some(record(4, Some(4))));
    heal(rig, 3, 3, Some(record(3, None)));
    assert_eq!(answers(rig), []);
    assert_eq!(get(rig, 1), Some(record(5, Some(5))), "not durable yet");
    rig.sync();
    assert_eq!(answers(rig), [1, 2, 3].map(|ticket| (ticket, Ok(Done::Healed))));
    assert_eq!(get(rig, 1), Some(record(6, Some(6))));
    assert_eq!(get(rig, 2), Some(record(5, Some(5))));
    assert_eq!(get(rig, 3), Some(record(3, None)));
}

fn a_key_is_healed_with_nothing(rig: &mut impl Rig) {
    merge(rig, 0, 1, record(5, Some(5)));
    heal(rig, 1, 1, None);
    heal(rig, 2, 2, None);
    rig.sync();
    assert_eq!(answers(rig)[1..], [1, 2].map(|ticket| (ticket, Ok(Done::Healed))));
    assert_eq!(get(rig, 1), Some(record(5, Some(5))));
    assert_eq!(get(rig, 2), None);
    assert_eq!(rig.store().damaged(), []);
}

fn a_healing_is_decided_against_queued_writes(rig: &mut impl Rig) {
    merge(rig, 0, 1, record(5, Some(5)));
    heal(rig, 1, 1, Some(record(4, Some(4))));
    heal(rig, 2, 1, Some(record(6, Some(6))));
    merge(rig, 3, 1, record(7, Some(7)));
    rig.sync();
    let healed = |ticket| (ticket, Ok(Done::Healed));
    let seven = applied(3, Some(record(6, None).version));
    assert_eq!(answers(rig), [applied(0, None), healed(1), healed(2), seven]);
    assert_eq!(get(rig, 1), Some(record(7, Some(7))));
}
