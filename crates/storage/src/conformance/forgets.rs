//! What every store must do with keys that are forgotten.

use super::{Answer, Rig, answers, applied, get, key, merge, record};
use crate::page::PageLimit;
use crate::store::Done;

/// Runs every check of removals on rigs that `fresh` makes.
pub(super) fn check<R: Rig>(fresh: &mut impl FnMut() -> R) {
    a_key_is_forgotten_when_that_is_durable(&mut fresh());
    a_removal_and_the_merges_around_it_are_done_in_their_order(&mut fresh());
    an_older_record_is_stored_after_a_removal(&mut fresh());
    a_key_that_nobody_stored_is_forgotten_too(&mut fresh());
    removals_survive_applying(&mut fresh());
    a_store_is_empty_when_everything_is_forgotten(&mut fresh());
    a_hint_of_a_forgotten_key_stays(&mut fresh());
}

/// Queues the removal of a key.
pub(super) fn forget(rig: &mut impl Rig, ticket: u64, number: u8) {
    let (hash, key) = key(number);
    rig.store().forget(ticket, hash, key).expect("nothing refuses here");
}

fn forgotten(ticket: u64) -> Answer {
    (ticket, Ok(Done::Forgotten))
}

fn a_key_is_forgotten_when_that_is_durable(rig: &mut impl Rig) {
    merge(rig, 1, 1, record(1, Some(1)));
    rig.sync();
    answers(rig);
    forget(rig, 2, 1);
    assert_eq!(get(rig, 1), Some(record(1, Some(1))));
    assert_eq!(answers(rig), []);
    assert_eq!(rig.store().is_empty(), Ok(false));
    rig.sync();
    assert_eq!(answers(rig), [forgotten(2)]);
    assert_eq!(answers(rig), [], "an answer comes once");
    assert_eq!(get(rig, 1), None);
}

fn a_removal_and_the_merges_around_it_are_done_in_their_order(rig: &mut impl Rig) {
    merge(rig, 1, 1, record(5, Some(5)));
    forget(rig, 2, 1);
    forget(rig, 3, 1);
    merge(rig, 4, 1, record(3, Some(3)));
    merge(rig, 5, 2, record(5, Some(5)));
    forget(rig, 6, 2);
    rig.sync();
    let expected = [
        applied(1, None),
        forgotten(2),
        forgotten(3),
        applied(4, None),
        applied(5, None),
        forgotten(6),
    ];
    assert_eq!(answers(rig), expected);
    for _ in 0..2 {
        assert_eq!(get(rig, 1), Some(record(3, Some(3))));
        assert_eq!(get(rig, 2), None);
        rig.store().flush();
        rig.settle();
    }
}

fn an_older_record_is_stored_after_a_removal(rig: &mut impl Rig) {
    merge(rig, 1, 1, record(9, None));
    rig.sync();
    rig.store().flush();
    rig.settle();
    forget(rig, 2, 1);
    rig.sync();
    merge(rig, 3, 1, record(1, Some(1)));
    rig.sync();
    assert_eq!(answers(rig), [applied(1, None), forgotten(2), applied(3, None)]);
    for _ in 0..2 {
        assert_eq!(get(rig, 1), Some(record(1, Some(1))));
        rig.store().flush();
        rig.settle();
    }
}

fn a_key_that_nobody_stored_is_forgotten_too(rig: &mut impl Rig) {
    forget(rig, 1, 1);
    assert_eq!(answers(rig), []);
    rig.sync();
    assert_eq!(answers(rig), [forgotten(1)]);
    assert_eq!(rig.store().is_empty(), Ok(true));
    rig.store().flush();
    rig.settle();
    assert_eq!(get(rig, 1), None);
}

fn removals_survive_applying(rig: &mut impl Rig) {
    for round in 1..=4 {
        for number in 0..50 {
            merge(rig, 0, number, record(round, Some(1)));
        }
        rig.sync();
        rig.store().flush();
        rig.settle();
        for number in (0..50).step_by(2) {
            forget(rig, 0, number);
        }
        rig.sync();
        rig.store().flush();
        rig.settle();
        for number in 0..50 {
            let left = (number % 2 == 1).then(|| record(round, Some(1)));
            assert_eq!(get(rig, number), left);
        }
    }
    assert!(rig.store().flush(), "nothing is left to apply");
}

fn a_store_is_empty_when_everything_is_forgotten(rig: &mut impl Rig) {
    for number in 0..20 {
        merge(rig, 0, number, record(1, (number % 2 == 0).then_some(1)));
    }
    rig.sync();
    rig.store().flush();
    rig.settle();
    for number in 0..20 {
        assert_eq!(rig.store().is_empty(), Ok(false), "{number}");
        forget(rig, 0, number);
        rig.sync();
        if number % 7 == 0 {
            rig.store().flush();
            rig.settle();
        }
    }
    assert_eq!(rig.store().is_empty(), Ok(true));
    merge(rig, 0, 1, record(1, Some(1)));
    assert_eq!(rig.store().is_empty(), Ok(false), "what is queued is kept too");
    forget(rig, 0, 1);
    rig.sync();
    assert_eq!(rig.store().is_empty(), Ok(true));
    rig.store().flush();
    rig.settle();
    assert_eq!(rig.store().is_empty(), Ok(true));
}

fn a_hint_of_a_forgotten_key_stays(rig: &mut impl Rig) {
    let (hash, name) = key(1);
    let target = paravon_model::Ordinal(7);
    rig.store().keep_hint(target, hash, name, record(1, Some(1))).expect("nothing refuses here");
    rig.sync();
    forget(rig, 1, 1);
    rig.sync();
    rig.store().flush();
    rig.settle();
    let all = PageLimit { count: usize::MAX, bytes: u64::MAX };
    assert_eq!(rig.store().hints(target, None, all).map(|hints| hints.len()), Ok(1));
    rig.store().end_batch();
}
