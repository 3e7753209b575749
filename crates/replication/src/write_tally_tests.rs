//! The tally of a write, exhaustively: every answer of every replica in every order, up to five replicas.

use alloc::vec::Vec;

use paravon_model::{Failure, Hlc, Merged, Ordinal, Outcome, Version};

use super::{WriteTally, WriteVerdict};
use crate::worlds::{orders, replicas, sequences};

fn version(ms: u64) -> Version {
    Version { hlc: Hlc::new(ms, 0), ordinal: Ordinal(1) }
}

/// A tally whose replicas were all sent one copy.
fn sent(count: usize, needed: usize) -> WriteTally {
    let mut tally = WriteTally::new(&replicas(count), needed, version(1));
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
