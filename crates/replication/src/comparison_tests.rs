//! Narrowing down: what differs is found, whatever the shards at both ends, and at little cost.

use super::*;
use alloc::collections::BTreeSet;
use alloc::vec;

use crate::counterparts::{Counterparts, of_class};
use crate::portion::Portion;
use crate::test_cluster::layout;
use paravon_model::Ordinal;

/// What two nodes hold, by partition.
struct Ends {
    shift: Shift,
    own: Vec<Option<u128>>,
    theirs: Vec<Option<u128>>,
}

/// What came out of comparing them.
#[derive(Default)]
struct Found {
    equal: BTreeSet<Partition>,
    differing: BTreeSet<Partition>,
    questions: usize,
    folds: usize,
}

impl Ends {
    /// Equal ones.
    fn new(shift: u8) -> Self {
        let shift = Shift::new(shift).unwrap();
        let total = |number: u32| Some(u128::from(number).wrapping_mul(u128::MAX / 3));
        let own: Vec<_> = (0..shift.partitions()).map(total).collect();
        Self { shift, theirs: own.clone(), own }
    }

    /// Theirs are so much more than this node's.
    fn differ(&mut self, differences: &Differences) {
        for (partition, by) in differences {
            let at = partition.0 as usize;
            self.theirs[at] = self.own[at].map(|own| own.wrapping_add(*by));
        }
    }

    fn totals(of: &[Option<u128>], partitions: &[Partition]) -> Vec<Option<u128>> {
        partitions.iter().map(|partition| of[partition.0 as usize]).collect()
    }

    /// Compares the class of all partitions.
    fn compare(&self, class: Class, found: &mut Found) {
        self.compare_expecting(&[], class, found);
    }

    /// The same where these are expected to differ.
    fn compare_expecting(&self, expected: &[Differences], class: Class, found: &mut Found) {
        let all: Arc<[Partition]> = (0..self.shift.partitions()).map(Partition).collect();
        let partitions = of_class(&all, class);
        let totals = Self::totals(&self.own, &partitions);
        let mut comparison = Comparison::new(class, self.shift, partitions, totals);
        expected.iter().for_each(|expected| comparison.expect(expected.clone()));
        while let Some(folds) = comparison.next() {
            found.questions += 1;
            found.folds += folds.count();
            // The peer may know of more partitions than are asked for.
            let theirs = folds.sums(&all, &Self::totals(&self.theirs, &all));
            let equal = comparison.take(folds, &theirs).unwrap();
            let before = found.equal.len();
            found.equal.extend(equal.iter().copied());
            assert_eq!(found.equal.len(), before + equal.len(), "each once");
        }
        let differing = comparison.take_differing();
        for (partition, by) in differing {
            let total = |of: &[Option<u128>]| of[partition.0 as usize].unwrap();
            assert_eq!(total(&self.own).wrapping_add(by), total(&self.theirs));
            found.differing.insert(partition);
        }
        assert!(found.equal.is_disjoint(&found.differing));
    }
}

const ALL: Class = Class { modulus: 1, residue: 0 };

#[test]
fn what_agrees_costs_one_question() {
    for shift in [1, 5, 6, 7, 16] {
        let (ends, mut found) = (Ends::new(shift), Found::default());
        ends.compare(ALL, &mut found);
        assert_eq!((found.equal.len(), found.questions), (ends.own.len(), 1));
        assert!(found.folds <= usize::from(FIRST_FOLDS));
    }
}

/// A hundred partitions of 65,536, by what they differ.
fn a_hundred_differ(ends: &mut Ends) -> Differences {
    let mut state = 7_u64;
    let mut differing = Differences::new();
    while differing.len() < 100 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let partition = Partition(u32::try_from(state >> 48).unwrap());
        differing.insert(partition, u128::from(state).wrapping_mul(u128::MAX / 7));
    }
    ends.differ(&differing);
    differing
}

#[test]
fn a_hundred_differences_among_65536_partitions_cost_few_folds() {
    let (mut ends, mut found) = (Ends::new(16), Found::default());
    let differing = a_hundred_differ(&mut ends);
    ends.compare(ALL, &mut found);
    assert!(found.differing.iter().eq(differing.keys()));
    assert_eq!(found.equal.len(), 65_536 - 100);
    // 16, all of which differ, then 8 for each that does, four times: 40 KiB; in steps of 64 it takes 90.
    assert!(found.folds <= 2350, "{} folds", found.folds);
    assert!(found.questions <= 350, "{} questions", found.questions);
}

/// Nothing is narrowed down to that is known: and all else is compared anew each time.
#[test]
fn what_is_expected_to_differ_costs_nothing_as_long_as_it_does_by_that_much() {
    let (mut ends, mut found) = (Ends::new(16), Found::default());
    let differing = a_hundred_differ(&mut ends);
    let wrong = differing.keys().map(|partition| (*partition, 1)).collect();
    ends.compare_expecting(&[wrong, differing.clone()], ALL, &mut found);
    assert!(found.differing.iter().eq(differing.keys()));
    assert_eq!((found.equal.len(), found.questions, found.folds), (65_536 - 100, 1, 16));

    // One comes to be equal, one differs by something else, and one is new, each in a fold of its own.
    let mut keys = differing.keys().copied();
    let (healed, changed) = (keys.next().unwrap(), keys.next_back().unwrap());
    let new = Partition(31_000);
    assert!(!differing.contains_key(&new) && healed.0 < 4096 && changed.0 >= 61_440);
    ends.theirs[healed.0 as usize] = ends.own[healed.0 as usize];
    ends.differ(&[(changed, 5), (new, 7)].into());
    let mut found = Found::default();
    ends.compare_expecting(core::slice::from_ref(&differing), ALL, &mut found);
    assert!(found.equal.contains(&healed) && !found.differing.contains(&healed));
    assert!(found.differing.contains(&changed) && found.differing.contains(&new));
    assert_eq!((found.differing.len(), found.equal.len()), (100, 65_536 - 100));
    assert!(found.folds <= 16 + 3 * 4 * 8, "{} folds", found.folds);
}

/// Right or wrong, of this peer or of another: what is found does not depend on it.
#[test]
fn whatever_is_expected_the_same_is_found() {
    let mut state = 11_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    let mut unlike_what_was_expected = 0;
    for _ in 0..300 {
        // Each partition differs by one of three sums, as hashes of records are: none adds up to others.
        let mut some = |most| -> Differences {
            let mut one = || {
                let (number, record) = (random(256), 1 + random(3));
                let by = u128::from(number * 4 + record)
                    .wrapping_mul(u128::MAX / 5 * 3 + 7)
                    .wrapping_pow(3);
                (Partition(u32::try_from(number).unwrap()), by)
            };
            (0..most).map(|_| one()).collect()
        };
        let (differing, unknown) = (some(30), some(5));
        let (mut own, mut of_all) = (differing.clone(), some(9));
        own.retain(|it, _| !unknown.contains_key(it));
        own.extend(some(3));
        of_all.extend(differing.clone());
        let (mut ends, mut found) = (Ends::new(8), Found::default());
        ends.differ(&differing);
        ends.compare_expecting(&[own.clone(), of_all], ALL, &mut found);
        assert!(found.differing.iter().eq(differing.keys()));
        assert_eq!(found.equal.len(), 256 - differing.len());
        unlike_what_was_expected += usize::from(own != differing);
    }
    assert!(unlike_what_was_expected > 250);
}

#[test]
fn what_is_expected_to_differ_does_not_hide_what_is_not_summed_up() {
    let (mut ends, mut found) = (Ends::new(10), Found::default());
    let differing = [(Partition(3), 1), (Partition(700), 2)].into();
    ends.differ(&differing);
    (ends.own[4], ends.theirs[701]) = (None, None);
    ends.compare_expecting(&[differing], ALL, &mut found);
    assert_eq!(found.differing, [3, 700].map(Partition).into());
    assert_eq!(found.equal.len(), 1024 - 4);
    assert!(!found.equal.contains(&Partition(4)) && !found.equal.contains(&Partition(701)));
}

#[test]
fn what_either_end_has_not_summed_up_neither_agrees_nor_differs() {
    let (mut ends, mut found) = (Ends::new(10), Found::default());
    ends.own[3] = None;
    ends.theirs[500] = None;
    (ends.own[900], ends.theirs[900]) = (None, None);
    (ends.own[901], ends.theirs[901]) = (Some(1), Some(2));
    ends.compare(ALL, &mut found);
    assert_eq!(found.differing, [Partition(901)].into());
    let missing = [3, 500, 900, 901].map(Partition);
    assert!(missing.iter().all(|partition| !found.equal.contains(partition)));
    assert_eq!(found.equal.len(), 1024 - 4);

    let mut found = Found::default();
    ends.own = vec![None; 1024];
    ends.compare(ALL, &mut found);
    assert_eq!((found.questions, found.equal.len(), found.differing.len()), (0, 0, 0));
}

#[test]
fn differences_that_add_up_to_nothing_in_a_class_are_of_others() {
    let (mut ends, mut found) = (Ends::new(4), Found::default());
    (ends.theirs[1], ends.theirs[2]) = (Some(7), Some(8));
    ends.compare(Class { modulus: 2, residue: 0 }, &mut found);
    assert_eq!(found.differing, [Partition(2)].into());
    assert_eq!(found.equal.len(), 7);
}

/// Two nodes with other numbers of shards find every difference, class by class.
#[test]
fn the_numbers_of_shards_need_not_be_the_same() {
    for (own, theirs) in [(1, 1), (1, 3), (3, 1), (2, 3), (4, 6), (6, 4), (5, 7), (8, 16)] {
        let layout = layout(3, 1);
        let mut ends = Ends { shift: layout.shift(), ..Ends::new(4) };
        ends.theirs[5] = Some(3);
        ends.theirs[12] = Some(3);
        let mut found = Found::default();
        for number in 0..own {
            let portion = Portion::new(number, own);
            let mut all = Counterparts::of(&layout, Ordinal(1), portion);
            let peer = all.get_mut(Ordinal(2)).unwrap();
            assert_eq!(peer.learn_shards(theirs).is_some(), own % theirs != 0);
            for class in peer.classes(portion) {
                assert_eq!(class.modulus % u32::from(theirs), 0);
                assert_eq!(class.residue % u32::from(own), u32::from(number));
                ends.compare(class, &mut found);
            }
        }
        assert_eq!(found.differing, [Partition(5), Partition(12)].into(), "{own} {theirs}");
        assert_eq!(found.equal.len(), 14, "{own} {theirs}");
    }
}

#[test]
fn an_answer_to_something_else_is_none() {
    let ends = Ends::new(4);
    let all: Arc<[Partition]> = (0..16).map(Partition).collect();
    let mut comparison = Comparison::new(ALL, ends.shift, all, ends.own);
    let folds = comparison.next().unwrap();
    assert_eq!(comparison.take(folds, &[Some(1)]), None);
    assert_eq!(comparison.take(folds, &[]), None);
}
