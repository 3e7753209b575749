//! What every store must do with records that are dropped: that version goes, and nothing else.

use std::collections::BTreeMap;

use super::forgets::forget;
use super::sums::{compare_all, keep, scrub_round};
use super::{Answer, Rig, answers, applied, get, key, merge, record};
use crate::page::PageLimit;
use crate::store::{Done, Dropped};
use paravon_ring::HashArc;

/// Runs every check of drops on rigs that `fresh` makes.
pub(super) fn check<R: Rig>(fresh: &mut impl FnMut() -> R) {
    a_record_is_gone_when_that_is_durable(&mut fresh());
    another_version_stays(&mut fresh());
    a_drop_and_what_is_queued_around_it_are_done_in_their_order(&mut fresh());
    what_is_not_there_is_gone(&mut fresh());
    no_row_stays_wherever_the_record_lay(&mut fresh());
    the_sums_stay_exact(&mut fresh());
}

/// Queues the removal of a record, where the key has that one.
pub(super) fn drop_record(rig: &mut impl Rig, ticket: u64, number: u8, ms: u64) {
    let (hash, key) = key(number);
    let version = record(ms, None).version;
    rig.store().drop_record(ticket, hash, key, version).expect("nothing refuses here");
}

fn gone(ticket: u64) -> Answer {
    (ticket, Ok(Done::Dropped(Dropped::Gone)))
}

fn kept(ticket: u64, ms: u64) -> Answer {
    (ticket, Ok(Done::Dropped(Dropped::Kept { version: record(ms, None).version })))
}

/// Gets everything out of memory.
fn apply(rig: &mut impl Rig) {
    rig.store().flush();
    rig.settle();
}

fn a_record_is_gone_when_that_is_durable(rig: &mut impl Rig) {
    for value in [Some(1), None] {
        merge(rig, 1, 1, record(5, value));
        rig.sync();
        answers(rig);
        drop_record(rig, 2, 1, 5);
        assert_eq!(get(rig, 1), Some(record(5, value)));
        assert_eq!(answers(rig), []);
        rig.sync();
        assert_eq!(answers(rig), [gone(2)]);
        assert_eq!(answers(rig), [], "an answer comes once");
        assert_eq!(get(rig, 1), None);
        assert_eq!(rig.store().is_empty(), Ok(true));
    }
}

fn another_version_stays(rig: &mut impl Rig) {
    merge(rig, 1, 1, record(5, None));
    rig.sync();
    answers(rig);
    for _ in 0..2 {
        drop_record(rig, 2, 1, 4);
        drop_record(rig, 3, 1, 6);
        rig.sync();
        assert_eq!(answers(rig), [kept(2, 5), kept(3, 5)]);
        assert_eq!(get(rig, 1), Some(record(5, None)));
        apply(rig);
    }
}

fn a_drop_and_what_is_queued_around_it_are_done_in_their_order(rig: &mut impl Rig) {
    merge(rig, 1, 1, record(5, None));
    merge(rig, 2, 2, record(5, None));
    merge(rig, 3, 3, record(5, None));
    rig.sync();
    answers(rig);
    // A newer record that came before it stays.
    merge(rig, 4, 1, record(6, Some(6)));
    drop_record(rig, 5, 1, 5);
    // An older one that comes after it finds nothing.
    drop_record(rig, 6, 2, 5);
    merge(rig, 7, 2, record(3, Some(3)));
    drop_record(rig, 8, 2, 5);
    // What was queued goes like what was stored; and once.
    merge(rig, 9, 3, record(7, None));
    drop_record(rig, 10, 3, 7);
    drop_record(rig, 11, 3, 7);
    forget(rig, 12, 3);
    assert_eq!(answers(rig), [], "what decides them is not durable");
    rig.sync();
    let expected = [
        applied(4, Some(record(5, None).version)),
        kept(5, 6),
        gone(6),
        applied(7, None),
        kept(8, 3),
        applied(9, Some(record(5, None).version)),
        gone(10),
        gone(11),
        (12, Ok(Done::Forgotten)),
    ];
    assert_eq!(answers(rig), expected);
    for _ in 0..2 {
        assert_eq!(get(rig, 1), Some(record(6, Some(6))));
        assert_eq!(get(rig, 2), Some(record(3, Some(3))));
        assert_eq!(get(rig, 3), None);
        apply(rig);
    }
}

fn what_is_not_there_is_gone(rig: &mut impl Rig) {
    for _ in 0..2 {
        drop_record(rig, 1, 1, 5);
        rig.sync();
        assert_eq!(answers(rig), [gone(1)]);
        apply(rig);
    }
    assert_eq!(rig.store().is_empty(), Ok(true));
    assert!(rig.store().flush(), "nothing is left to apply");
}

fn no_row_stays_wherever_the_record_lay(rig: &mut impl Rig) {
    let all = PageLimit { count: usize::MAX, bytes: u64::MAX };
    for round in 1..=4 {
        for number in 0..50 {
            merge(rig, 0, number, record(round, None));
            if number == 20 {
                rig.sync();
                apply(rig);
            }
        }
        rig.sync();
        for number in 0..50 {
            drop_record(rig, 0, number, round);
        }
        rig.sync();
        for _ in 0..2 {
            assert_eq!(rig.store().scan(HashArc::ALL, None, all), Ok(Vec::new()));
            assert_eq!(rig.store().is_empty(), Ok(true));
            apply(rig);
        }
    }
    assert!(rig.store().flush(), "nothing is left to apply");
}

fn the_sums_stay_exact(rig: &mut impl Rig) {
    keep(rig);
    let mut durable = BTreeMap::new();
    for round in 1..=4 {
        for number in 0..24 {
            merge(rig, 0, number, record(round, None));
            durable.insert(number, record(round, None));
        }
        rig.sync();
        if round % 2 == 0 {
            apply(rig);
        }
        for number in (0..24).step_by(3) {
            drop_record(rig, 0, number, round);
            drop_record(rig, 0, number + 1, round + 1);
        }
        // In one group with what it takes away, and with what comes after it.
        merge(rig, 0, 50, record(round, None));
        drop_record(rig, 0, 50, round);
        drop_record(rig, 0, 1, round);
        merge(rig, 0, 1, record(round - 1, Some(1)));
        compare_all(rig, &durable);
        rig.sync();
        for number in (0..24).step_by(3) {
            durable.remove(&number);
        }
        durable.insert(1, record(round - 1, Some(1)));
        compare_all(rig, &durable);
        assert_eq!(scrub_round(rig, 7), durable.len() as u64);
        compare_all(rig, &durable);
        apply(rig);
    }
}
