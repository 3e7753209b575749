//! The tally of a read, exhaustively: every answer of every replica in every order.

use alloc::vec::Vec;

use paravon_model::{
    Body, Consistency, Failure, Hlc, Merged, Ordinal, Outcome, Record, Value, Version,
};
use paravon_ring::Sets;

use super::{Further, HeldVerdict, ReadTally, ReadVerdict};
use crate::quorum::{majority, needed};
use crate::worlds::{Change, changes, orders, replicas, sequences, stable};

fn version(ms: u64) -> Version {
    Version { hlc: Hlc::new(ms, 0), ordinal: Ordinal(1) }
}

fn count_of(needed: usize) -> Consistency {
    Consistency::Count(u8::try_from(needed).unwrap())
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
                    let mut tally = ReadTally::new(stable(&replicas(count)), count_of(needed));
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
                let mut tally = ReadTally::new(stable(&replicas(count)), Consistency::Quorum);
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
    check_held_in(&[(0..choices.len()).collect()], tally, choices, order, &replicas(choices.len()));
}

/// Held, lost and possible in each of these sets of places, by counting alone.
fn check_held_in(
    sets: &[Vec<usize>],
    tally: &mut ReadTally,
    choices: &[usize],
    order: &[usize],
    members: &[Ordinal],
) {
    let winner = version(2);
    let stale = [STALE_THEN_APPLIED, STALE_THEN_NEWER, STALE_THEN_REFUSES];
    let is_stale = |slot: &usize| tally.is_stale(*slot, winner);
    let expected = order.iter().filter(|&&slot| stale.contains(&choices[slot])).count();
    assert_eq!((0..choices.len()).filter(is_stale).count(), expected);
    for ended in 0..=choices.len() {
        let good = [STALE_THEN_APPLIED, STALE_THEN_NEWER, SILENT_THEN_APPLIED];
        let bad = [STALE_THEN_REFUSES, SILENT_THEN_REFUSES];
        let of = |set: &[usize], wanted: &[usize], slots: &[usize]| {
            let in_set = slots.iter().filter(|slot| set.contains(slot));
            in_set.filter(|&&slot| wanted.contains(&choices[slot])).count()
        };
        let held = sets.iter().all(|set| {
            let told = of(set, &[HAS_WINNER], order);
            told + of(set, &good, &order[..ended]) >= majority(set.len())
        });
        let possible = sets
            .iter()
            .all(|set| set.len() - of(set, &bad, &order[..ended]) >= majority(set.len()));
        let expected = match tally.held(winner) {
            HeldVerdict::Held => held,
            HeldVerdict::Pending => !held && possible,
            HeldVerdict::Failed(failure) => {
                failure.outcome() == Outcome::Refused && !held && !possible
            }
        };
        assert!(expected, "{sets:?} {choices:?} {order:?} {ended}");
        let Some(&slot) = order.get(ended) else { return };
        let newer = Merged::Superseded { version: version(3) };
        let answer = match choices[slot] {
            HAS_WINNER => continue,
            STALE_THEN_APPLIED | SILENT_THEN_APPLIED => Ok(Merged::Applied),
            STALE_THEN_NEWER => Ok(newer),
            _ => Err(Failure::StorageFull),
        };
        tally.repair_sent(slot);
        tally.repaired(members[slot], &answer);
    }
}

#[test]
fn while_two_sets_are_in_force_a_majority_of_each_must_hold_the_winner() {
    for change in changes() {
        let members = change.all();
        let forth: Vec<usize> = (0..members.len()).collect();
        let back: Vec<usize> = forth.iter().rev().copied().collect();
        for choices in sequences(6, members.len()) {
            for order in [&forth, &back] {
                let mut tally = ReadTally::new(change.sets(), Consistency::Quorum);
                for (slot, &choice) in choices.iter().enumerate() {
                    let answer = match choice {
                        HAS_WINNER => Some(record(2)),
                        STALE_THEN_APPLIED | STALE_THEN_NEWER => Some(record(1)),
                        STALE_THEN_REFUSES => None,
                        _ => continue,
                    };
                    tally.answers_mut().add(members[slot], Ok(answer));
                }
                check_held_in(&change.places(), &mut tally, &choices, order, &members);
            }
        }
    }
}

/// How a replica stands: what it answered, that it was asked, or that it was not.
const ASKED: usize = 4;
const UNASKED: usize = 5;
const LEVELS: [Consistency; 4] =
    [Consistency::One, Consistency::Quorum, Consistency::All, Consistency::Count(2)];

/// A read of which each member stands like this.
fn changing(change: &Change, level: Consistency, standing: &[usize]) -> ReadTally {
    let mut tally = ReadTally::new(change.sets(), level);
    for (slot, &choice) in standing.iter().enumerate() {
        if choice != UNASKED {
            tally.answers_mut().asked(slot);
        }
        let answer = match choice {
            0 => Ok(None),
            1 | 2 => Ok(Some(record(choice as u64))),
            3 => Err(Failure::Damaged { outcome: Outcome::Refused }),
            _ => continue,
        };
        tally.answers_mut().add(change.all()[slot], answer);
    }
    tally
}

fn check_joint(change: &Change, level: Consistency, standing: &[usize]) {
    let tally = changing(change, level, standing);
    let places = change.places();
    let of = |set: &[usize], wanted: &[usize]| {
        set.iter().filter(|&&slot| wanted.contains(&standing[slot])).count()
    };
    let lacks = |set: &&Vec<usize>, counted: &[usize]| of(set, counted) < needed(level, set.len());
    let lacking = places.iter().filter(|set| lacks(set, &[0, 1, 2])).count();
    let lost = places.iter().filter(|set| lacks(set, &[0, 1, 2, ASKED, UNASKED])).count();
    match tally.verdict() {
        ReadVerdict::Done(found) => {
            let newest = standing.iter().filter(|&&choice| choice < 3).max();
            let newest = newest.filter(|&&newest| newest > 0).map(|&newest| record(newest as u64));
            assert!(lacking == 0 && found == newest, "{change:?} {standing:?}");
        }
        ReadVerdict::Pending => assert!(lacking > 0 && lost == 0, "{change:?} {standing:?}"),
        ReadVerdict::Failed(failure) => {
            assert!(lost > 0);
            if let Failure::QuorumTimeout { needed, got, .. } = failure {
                assert!(got < needed, "of a set that lacks some");
            }
        }
    }
    for (slot, &choice) in standing.iter().enumerate() {
        for (further, counted) in
            [(Further::Missing, &[0, 1, 2, ASKED][..]), (Further::Late, &[0, 1, 2])]
        {
            let helped = places.iter().filter(|set| set.contains(&slot) && lacks(set, counted));
            let helped = if choice == UNASKED { helped.count() } else { 0 };
            assert_eq!(tally.wanted(further).helps(slot), helped, "{change:?} {standing:?}");
        }
    }
}

#[test]
fn while_two_sets_are_in_force_a_read_needs_its_level_in_each_and_asks_nobody_in_vain() {
    for change in changes() {
        for standing in sequences(6, change.all().len()) {
            for level in LEVELS {
                check_joint(&change, level, &standing);
            }
        }
    }
}

#[test]
fn every_order_of_read_answers_while_one_of_three_moves() {
    let change = &changes()[0];
    for choices in sequences(4, 4) {
        for order in orders(4) {
            let mut standing = [ASKED; 4];
            for slot in order {
                standing[slot] = choices[slot];
                check_joint(change, Consistency::Quorum, &standing);
            }
        }
    }
}

#[test]
fn what_a_level_does_not_promise_is_not_waited_for() {
    let grows = &changes()[4];
    let tally = ReadTally::new(grows.sets(), Consistency::One);
    assert!(tally.reaches_majority(), "one of one");
    assert_eq!(tally.unheld_sets(version(2)).len(), 1, "and not two of three");
    let moves = &changes()[0];
    assert!(!ReadTally::new(moves.sets(), Consistency::One).reaches_majority());
}

#[test]
fn as_many_write_backs_are_missing_as_a_majority_lacks() {
    let mut tally = ReadTally::new(stable(&replicas(5)), Consistency::Quorum);
    for (slot, ms) in [(0, 2), (1, 1), (2, 2)] {
        tally.answers_mut().asked(slot);
        tally.answers_mut().add(ordinal(slot), Ok(Some(record(ms))));
    }
    tally.answers_mut().asked(3);
    assert!(!tally.missing(version(2)).is_empty());
    assert!(tally.untold().eq([4, 3]), "who was not asked comes first");
    tally.repair_sent(1);
    assert!(tally.missing(version(2)).is_empty());
    tally.unask(ordinal(1));
    assert!(!tally.missing(version(2)).is_empty());
    tally.repair_sent(1);
    tally.postpone(ordinal(1));
    assert!(!tally.is_stale(1, version(2)), "not before the next tick");
    tally.ask_postponed();
    assert!(tally.is_stale(1, version(2)));
}

#[test]
fn an_absence_at_a_floor_covers_what_lies_at_or_below_it_and_nothing_above() {
    for (floor, found) in [(1, Some(record(2))), (2, None), (3, None)] {
        let mut tally = ReadTally::new(stable(&replicas(3)), Consistency::Quorum);
        tally.found(ordinal(0), Ok(Some(record(2))), Hlc::ZERO);
        tally.found(ordinal(1), Ok(None), Hlc::new(floor, 0));
        assert_eq!(tally.verdict(), ReadVerdict::Done(found), "{floor}");
    }
    let mut tally = ReadTally::new(stable(&replicas(3)), Consistency::Quorum);
    tally.found(ordinal(0), Ok(Some(record(2))), Hlc::new(9, 0));
    tally.found(ordinal(1), Ok(None), Hlc::ZERO);
    assert_eq!(tally.verdict(), ReadVerdict::Done(Some(record(2))), "it is not absent there");
}

#[test]
fn a_winner_at_or_below_a_claimed_floor_needs_no_write_back() {
    for (floor, held) in [(1, HeldVerdict::Pending), (2, HeldVerdict::Held)] {
        let mut tally = ReadTally::new(stable(&replicas(3)), Consistency::Quorum);
        tally.found(ordinal(0), Ok(Some(record(2))), Hlc::new(floor, 0));
        tally.found(ordinal(1), Ok(Some(record(1))), Hlc::ZERO);
        assert_eq!(tally.held(version(2)), held);
        assert_eq!(tally.is_stale(1, version(2)), floor < 2);
    }
}

#[test]
fn a_newcomer_need_not_hold_what_lies_at_or_below_a_claimed_floor() {
    for (floor, held) in [(1, HeldVerdict::Pending), (2, HeldVerdict::Held)] {
        let (current, next) = (replicas(1), replicas(2));
        let sets = Sets { current: &current, next: Some(&next) };
        let mut tally = ReadTally::new(sets, Consistency::Quorum);
        tally.found(ordinal(0), Ok(Some(record(2))), Hlc::new(floor, 0));
        assert_eq!(tally.verdict(), ReadVerdict::Pending, "the newcomer is asked all the same");
        tally.found(ordinal(1), Ok(None), Hlc::ZERO);
        assert_eq!(tally.verdict(), ReadVerdict::Done(Some(record(2))), "{floor}");
        assert_eq!(tally.held(version(2)), held);
        assert_eq!(tally.is_stale(1, version(2)), floor < 2);
    }
}

#[test]
fn a_refused_write_back_is_an_answer_anew_and_never_held() {
    let told = [(Some(record(3)), 0), (None, 0), (None, 2)];
    for (present, floor) in told {
        let mut tally = ReadTally::new(stable(&replicas(3)), Consistency::Quorum);
        tally.found(ordinal(0), Ok(Some(record(2))), Hlc::ZERO);
        tally.found(ordinal(1), Ok(None), Hlc::ZERO);
        tally.repair_sent(1);
        assert_eq!(tally.found(ordinal(1), Ok(present.clone()), Hlc::new(floor, 0)), None);
        let expected = match (&present, floor) {
            (Some(_), _) => present.clone(),
            (None, 2) => None,
            (None, _) => Some(record(2)),
        };
        assert_eq!(tally.verdict(), ReadVerdict::Done(expected.clone()));
        if expected == Some(record(2)) {
            assert_eq!(tally.held(version(2)), HeldVerdict::Pending, "the third may take it");
            tally.repair_sent(2);
            tally.repaired(ordinal(2), &Ok(Merged::Applied));
            assert_eq!(tally.held(version(2)), HeldVerdict::Held);
        }
    }
}

#[test]
fn a_replica_that_was_never_asked_can_refuse_a_write_back() {
    let mut tally = ReadTally::new(stable(&replicas(3)), Consistency::Quorum);
    tally.found(ordinal(0), Ok(Some(record(2))), Hlc::ZERO);
    tally.found(ordinal(1), Ok(None), Hlc::ZERO);
    tally.repair_sent(1);
    tally.repaired(ordinal(1), &Err(Failure::StorageFull));
    tally.repair_sent(2);
    assert_eq!(tally.found(ordinal(2), Ok(None), Hlc::ZERO), None, "it answers no read");
    assert!(matches!(tally.held(version(2)), HeldVerdict::Failed(_)) && !tally.awaits());
}

#[test]
fn the_answer_to_a_read_refuses_no_write_back_that_was_sent_after_it() {
    let mut tally = ReadTally::new(stable(&replicas(3)), Consistency::Quorum);
    tally.found(ordinal(0), Ok(Some(record(2))), Hlc::ZERO);
    tally.found(ordinal(1), Ok(None), Hlc::ZERO);
    tally.repair_sent(1);
    tally.answers_mut().asked(2);
    tally.repair_sent(2);
    tally.repaired(ordinal(1), &Err(Failure::StorageFull));
    assert_eq!(tally.found(ordinal(2), Ok(None), Hlc::ZERO), Some(2));
    assert_eq!(tally.held(version(2)), HeldVerdict::Pending, "it may be taken");
    assert_eq!(tally.found(ordinal(2), Ok(None), Hlc::ZERO), None, "it is not");
    assert!(matches!(tally.held(version(2)), HeldVerdict::Failed(_)) && !tally.awaits());
}
