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

    fn totals(of: &[Option<u128>], partitions: &[Partition]) -> Vec<Option<u128>> {
        partitions.iter().map(|partition| of[partition.0 as usize]).collect()
    }

    /// Compares the class of all partitions.
    fn compare(&self, class: Class, found: &mut Found) {
        let all: Arc<[Partition]> = (0..self.shift.partitions()).map(Partition).collect();
        let partitions = of_class(&all, class);
        let totals = Self::totals(&self.own, &partitions);
        let mut comparison = Comparison::new(class, self.shift, partitions, totals);
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
        found.differing.extend(differing);
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

#[test]
fn a_hundred_differences_among_65536_partitions_cost_few_folds() {
    let (mut ends, mut found) = (Ends::new(16), Found::default());
    let mut state = 7_u64;
    let mut differing = BTreeSet::new();
    while differing.len() < 100 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        differing.insert(Partition(u32::try_from(state >> 48).unwrap()));
    }
    for partition in &differing {
        ends.theirs[partition.0 as usize] = Some(1);
    }
    ends.compare(ALL, &mut found);
    assert_eq!(found.differing, differing);
    assert_eq!(found.equal.len(), 65_536 - 100);
    // 64, then 64 for each of those, then 16 for each of the hundred: 90 KiB.
    assert!(found.folds <= 64 + 64 * 64 + 100 * 16, "{} folds", found.folds);
    assert!(found.questions <= 1 + 64 + 100, "{} questions", found.questions);
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
