//! The tally of a write, exhaustively: every answer of every replica in every order, up to five replicas.

use alloc::vec::Vec;

use paravon_model::{Consistency, Failure, Hlc, Merged, Ordinal, Outcome, Version};

use super::{WriteTally, WriteVerdict};
use crate::worlds::{Change, changes, orders, replicas, sequences, stable};

fn version(ms: u64) -> Version {
    Version { hlc: Hlc::new(ms, 0), ordinal: Ordinal(1) }
}

fn count_of(needed: usize) -> Consistency {
    Consistency::Count(u8::try_from(needed).unwrap())
}

/// A tally whose replicas were all sent one copy.
fn sent(count: usize, needed: usize) -> WriteTally {
    let mut tally = WriteTally::new(stable(&replicas(count)), count_of(needed), version(1));
    (0..count).for_each(|slot| tally.answers_mut().asked(slot));
    tally
}

fn answer(choice: usize) -> Result<Merged, Failure> {
    match choice {
        0 => Ok(Merged::Applied),
        1 => Ok(Merged::Superseded { version: version(9) }),
        2 => Err(Failure::StorageFull),
        _ => Err(Failure::ReadOnly { outcome: Outcome::Unknown }),
    }
}

/// What section 3 and 4 of the semantics say of these answers, by counting alone.
fn check_write(verdict: &WriteVerdict, given: &[usize], count: usize, needed: usize) {
    let of = |choice| given.iter().filter(|&&g| g == choice).count();
    let (applied, superseded, refused) = (of(0), of(1), of(2));
    let left = count - given.len();
    match verdict {
        WriteVerdict::Done { acks } => assert!(*acks == applied && applied >= needed),
        WriteVerdict::Restamp { past } => {
            assert_eq!(*past, version(9));
            assert!(applied < needed && superseded > 0);
            assert!(applied + superseded >= needed.min(count / 2 + 1));
        }
        WriteVerdict::Pending => {
            assert!(applied < needed);
            let undecided = refused == given.len() && left > 0;
            assert!(applied + superseded + left >= needed || undecided);
        }
        WriteVerdict::Failed(failure) => {
            assert!(applied + superseded + left < needed);
            assert!(refused < given.len() || left == 0, "the last answers may make it refused");
            let outcome = if refused == count { Outcome::Refused } else { Outcome::Unknown };
            assert_eq!(failure.outcome(), outcome);
        }
    }
}

#[test]
fn every_order_of_write_answers_of_up_to_five_replicas() {
    for count in 1..=5 {
        let orders = orders(count);
        for choices in sequences(4, count) {
            for needed in 1..=count {
                for order in &orders {
                    let mut tally = sent(count, needed);
                    let mut given = Vec::new();
                    for &replica in order {
                        let ordinal = Ordinal(u32::try_from(replica + 1).unwrap());
                        tally.add(ordinal, version(1), answer(choices[replica]));
                        given.push(choices[replica]);
                        check_write(&tally.verdict(), &given, count, needed);
                    }
                    assert_ne!(tally.verdict(), WriteVerdict::Pending, "all have answered");
                }
            }
        }
    }
}

#[test]
fn acknowledgements_count_by_replica_and_not_by_message() {
    let mut tally = sent(3, 2);
    tally.add(Ordinal(1), version(1), Ok(Merged::Applied));
    tally.add(Ordinal(1), version(1), Ok(Merged::Applied));
    tally.add(Ordinal(9), version(1), Ok(Merged::Applied));
    assert_eq!(tally.verdict(), WriteVerdict::Pending);
}

#[test]
fn after_the_second_stamp_only_its_answers_count_and_superseded_is_one() {
    let mut tally = sent(3, 2);
    tally.add(Ordinal(1), version(1), Ok(Merged::Applied));
    tally.add(Ordinal(2), version(1), Ok(Merged::Superseded { version: version(9) }));
    assert_eq!(tally.verdict(), WriteVerdict::Restamp { past: version(9) });
    tally.restamp(version(10));
    tally.add(Ordinal(3), version(1), Ok(Merged::Applied));
    tally.add(Ordinal(1), version(10), Ok(Merged::Superseded { version: version(11) }));
    assert_eq!(tally.verdict(), WriteVerdict::Pending);
    tally.add(Ordinal(2), version(10), Ok(Merged::Applied));
    assert_eq!(tally.verdict(), WriteVerdict::Done { acks: 2 });
}

#[test]
fn a_refused_second_copy_does_not_make_the_write_refused() {
    let mut tally = sent(1, 1);
    tally.add(Ordinal(1), version(1), Ok(Merged::Superseded { version: version(9) }));
    tally.restamp(version(10));
    tally.add(Ordinal(1), version(10), Err(Failure::StorageFull));
    let WriteVerdict::Failed(failure) = tally.verdict() else { panic!("it has failed") };
    assert_eq!(failure.outcome(), Outcome::Unknown);
}

/// How a replica stands in the worlds below, beside the answers of [`answer`].
const SILENT: usize = 4;
const LEVELS: [Consistency; 4] =
    [Consistency::One, Consistency::Quorum, Consistency::All, Consistency::Count(2)];

/// What of a change's members have answered, by place, or are silent.
fn changing(change: &Change, level: Consistency, given: &[usize], order: &[usize]) -> WriteTally {
    let mut tally = WriteTally::new(change.sets(), level, version(1));
    (0..given.len()).for_each(|slot| tally.answers_mut().asked(slot));
    for &slot in order.iter().filter(|&&slot| given[slot] != SILENT) {
        tally.add(change.all()[slot], version(1), answer(given[slot]));
    }
    tally
}

/// What the semantics say of these answers, by counting in each set alone.
fn check_joint(verdict: &WriteVerdict, change: &Change, level: Consistency, given: &[usize]) {
    let places = change.places();
    let count = |set: &[usize], choices: &[usize]| {
        set.iter().filter(|&&slot| choices.contains(&given[slot])).count()
    };
    let needs = |set: &Vec<usize>| level.needed(set.len());
    let acked = places.iter().all(|set| count(set, &[0]) >= needs(set));
    let known = |set: &Vec<usize>| count(set, &[0, 1]) >= needs(set).min(set.len() / 2 + 1);
    let restamps = given.contains(&1) && places.iter().all(known);
    let possible = places.iter().all(|set| count(set, &[0, 1, SILENT]) >= needs(set));
    let undecided = given.iter().all(|choice| [2, SILENT].contains(choice));
    let undecided = undecided && given.contains(&SILENT);
    match verdict {
        WriteVerdict::Done { acks } => {
            assert!(acked && *acks == given.iter().filter(|&&choice| choice == 0).count());
        }
        WriteVerdict::Restamp { past } => assert!(!acked && restamps && *past == version(9)),
        WriteVerdict::Pending => assert!(!acked && !restamps && (possible || undecided)),
        WriteVerdict::Failed(failure) => {
            assert!(!acked && !restamps && !possible && !undecided);
            let refused = given.iter().all(|choice| *choice == 2);
            let outcome = if refused { Outcome::Refused } else { Outcome::Unknown };
            assert_eq!(failure.outcome(), outcome);
            if let Failure::QuorumTimeout { needed, got, .. } = failure {
                assert!(got < needed, "of a set that lacks some");
            }
        }
    }
}

#[test]
fn while_two_sets_are_in_force_a_write_needs_its_level_in_each() {
    for change in changes() {
        let members = change.all().len();
        for given in sequences(5, members) {
            for level in LEVELS {
                if change.places().iter().any(|set| level.needed(set.len()) > set.len()) {
                    continue;
                }
                let forth: Vec<usize> = (0..members).collect();
                let back: Vec<usize> = forth.iter().rev().copied().collect();
                let verdict = changing(&change, level, &given, &forth).verdict();
                check_joint(&verdict, &change, level, &given);
                let other = changing(&change, level, &given, &back).verdict();
                assert_eq!(
                    core::mem::discriminant(&verdict),
                    core::mem::discriminant(&other),
                    "whatever their order: {change:?} {given:?}"
                );
            }
        }
    }
}

#[test]
fn every_order_of_write_answers_while_one_of_three_moves() {
    let change = &changes()[0];
    let orders = orders(4);
    for choices in sequences(4, 4) {
        for order in &orders {
            let mut given = [SILENT; 4];
            let mut tally = changing(change, Consistency::Quorum, &given, &[]);
            for &slot in order {
                given[slot] = choices[slot];
                tally.add(change.all()[slot], version(1), answer(choices[slot]));
                check_joint(&tally.verdict(), change, Consistency::Quorum, &given);
            }
            assert_ne!(tally.verdict(), WriteVerdict::Pending, "all have answered");
        }
    }
}

#[test]
fn another_layout_voids_the_answers_and_leaves_the_second_stamp() {
    let change = &changes()[0];
    let mut tally = sent(3, 2);
    tally.add(Ordinal(1), version(1), Ok(Merged::Applied));
    tally.add(Ordinal(2), version(1), Ok(Merged::Superseded { version: version(9) }));
    tally.restamp(version(10));
    tally.add(Ordinal(1), version(10), Ok(Merged::Applied));
    tally.relayout(change.sets());
    assert_eq!((tally.stamp(), tally.verdict()), (version(10), WriteVerdict::Pending));
    assert!(tally.unsent().eq(0..4), "all of both sets");
    for (replica, merged) in [(1, Merged::Applied), (3, Merged::Applied)] {
        tally.add(Ordinal(replica), version(10), Ok(merged));
    }
    assert_eq!(tally.verdict(), WriteVerdict::Pending, "one of the next set");
    tally.add(Ordinal(4), version(10), Ok(Merged::Superseded { version: version(11) }));
    assert_eq!(tally.verdict(), WriteVerdict::Done { acks: 3 }, "there is no third stamp");
}
