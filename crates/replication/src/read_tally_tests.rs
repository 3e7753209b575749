//! The tally of a read, exhaustively: every answer of every replica in every order.

use paravon_model::{Body, Failure, Hlc, Merged, Ordinal, Outcome, Record, Value, Version};

use super::{HeldVerdict, ReadTally, ReadVerdict};
use crate::answers::majority;
use crate::worlds::{orders, replicas, sequences};

fn version(ms: u64) -> Version {
    Version { hlc: Hlc::new(ms, 0), ordinal: Ordinal(1) }
}

#[test]
fn a_read_answers_the_newest_in_every_order_and_never_absent_for_a_failure() {
    let record = |ms| Record {
        version: version(ms),
        expires_ms: None,
        body: Body::Live(Value::bytes(b"v")),
    };
    let answer = |choice| match choice {
        0 => Ok(None),
        1 => Ok(Some(record(1))),
        2 => Ok(Some(record(2))),
        _ => Err(Failure::Damaged { outcome: Outcome::Refused }),
    };
    for count in 1..=4 {
        for choices in sequences(4, count) {
            for needed in 1..=count {
                for order in orders(count) {
                    let mut tally = ReadTally::new(&replicas(count), needed);
                    let mut newest = 0;
                    let mut answered = 0;
                    for replica in order {
                        if !matches!(tally.verdict(), ReadVerdict::Pending) {
                            break;
                        }
                        let choice = choices[replica];
                        answered += usize::from(choice < 3);
                        newest = if choice < 3 { newest.max(choice) } else { newest };
                        let ordinal = Ordinal(u32::try_from(replica + 1).unwrap());
                        tally.answers_mut().add(ordinal, answer(choice));
                    }
                    let expected = (newest > 0).then(|| record(newest as u64));
                    match tally.verdict() {
                        ReadVerdict::Done(found) => {
                            assert!(answered >= needed && found == expected);
                        }
                        ReadVerdict::Failed(_) => assert!(answered < needed),
                        ReadVerdict::Pending => panic!("all have answered"),
                    }
                }
            }
        }
    }
}

fn ordinal(slot: usize) -> Ordinal {
    Ordinal(u32::try_from(slot + 1).unwrap())
}

fn record(ms: u64) -> Record {
    Record { version: version(ms), expires_ms: None, body: Body::Live(Value::bytes(b"v")) }
}

/// What one replica does in the world of write-backs: its answer to the read, then to the write-back.
const HAS_WINNER: usize = 0;
const STALE_THEN_APPLIED: usize = 1;
const STALE_THEN_NEWER: usize = 2;
const STALE_THEN_REFUSES: usize = 3;
const SILENT_THEN_APPLIED: usize = 4;
const SILENT_THEN_REFUSES: usize = 5;

/// A majority must hold the winner before the answer, in whatever order write-backs end, and the
/// read fails as soon as no majority can.
#[test]
fn a_read_is_held_exactly_when_a_majority_has_its_winner_or_newer() {
    for count in 1..=4 {
        for choices in sequences(6, count) {
            for order in orders(count) {
                let mut tally = ReadTally::new(&replicas(count), majority(count));
                for (slot, &choice) in choices.iter().enumerate() {
                    let answer = match choice {
                        HAS_WINNER => Some(record(2)),
                        STALE_THEN_APPLIED | STALE_THEN_NEWER => Some(record(1)),
                        STALE_THEN_REFUSES => None,
                        _ => continue,
                    };
                    tally.answers_mut().add(ordinal(slot), Ok(answer));
                }
                check_held(&mut tally, &choices, &order);
            }
        }
    }
}

fn check_held(tally: &mut ReadTally, choices: &[usize], order: &[usize]) {
    let of = |wanted: &[usize], slots: &[usize]| {
        slots.iter().filter(|&&slot| wanted.contains(&choices[slot])).count()
    };
    let (count, winner) = (choices.len(), version(2));
    let stale = [STALE_THEN_APPLIED, STALE_THEN_NEWER, STALE_THEN_REFUSES];
    let found = (0..count).filter(|&slot| tally.is_stale(slot, winner)).count();
    assert_eq!(found, of(&stale, order));
    for ended in 0..=count {
        let good = [STALE_THEN_APPLIED, STALE_THEN_NEWER, SILENT_THEN_APPLIED];
        let bad = [STALE_THEN_REFUSES, SILENT_THEN_REFUSES];
        let held = of(&[HAS_WINNER], order) + of(&good, &order[..ended]);
        let lost = of(&bad, &order[..ended]);
        let expected = match tally.held(winner) {
            HeldVerdict::Held => held >= majority(count),
            HeldVerdict::Pending => held < majority(count) && count - lost >= majority(count),
            HeldVerdict::Failed(failure) => {
                failure.outcome() == Outcome::Refused && count - lost < majority(count)
            }
        };
        assert!(expected, "{choices:?} {order:?} {ended}");
        let Some(&slot) = order.get(ended) else { return };
        let newer = Merged::Superseded { version: version(3) };
        let answer = match choices[slot] {
            HAS_WINNER => continue,
            STALE_THEN_APPLIED | SILENT_THEN_APPLIED => Ok(Merged::Applied),
            STALE_THEN_NEWER => Ok(newer),
            _ => Err(Failure::StorageFull),
        };
        tally.repair_sent(slot);
        tally.repaired(ordinal(slot), &answer);
    }
}

#[test]
fn as_many_write_backs_are_missing_as_a_majority_lacks() {
    let mut tally = ReadTally::new(&replicas(5), 3);
    for (slot, ms) in [(0, 2), (1, 1), (2, 2)] {
        tally.answers_mut().asked(slot);
        tally.answers_mut().add(ordinal(slot), Ok(Some(record(ms))));
    }
    tally.answers_mut().asked(3);
    assert_eq!(tally.missing(version(2)), 1);
    assert!(tally.untold().eq([4, 3]), "who was not asked comes first");
    tally.repair_sent(1);
    assert_eq!(tally.missing(version(2)), 0);
    tally.unask(ordinal(1));
    assert_eq!(tally.missing(version(2)), 1);
    tally.repair_sent(1);
    tally.postpone(ordinal(1));
    assert!(!tally.is_stale(1, version(2)), "not before the next tick");
    tally.ask_postponed();
    assert!(tally.is_stale(1, version(2)));
}
