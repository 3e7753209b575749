//! One exchange with one peer over one class of partitions: from folds of many partitions down to the
//! partitions in which both differ.
//!
//! Own totals are taken first, then the peer's: where they are equal this node held, at that earlier
//! moment, what the peer held later. Differences that are expected are left out of account: where a fold
//! is off by just what they come to, they are what it was and all else in it is equal. So a difference that
//! waits for its time is not narrowed down to again, and what lies beside it goes on being compared.
//! **Never:** calls a partition equal that either end has not summed up, or one that is expected to differ,
//! unless a fold that holds it is found equal.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::Class;
use paravon_ring::{Partition, Shift};

use crate::folds::Folds;
use crate::mutants::{self, Mutant};

/// Folds of the first question: all that is asked while everything agrees. More of them would save
/// nothing when something differs: what they would save is asked for next.
const FIRST_FOLDS: u16 = 16;

/// How much narrower the next folds are, as a power of two. Wider steps ask for more folds, smaller ones
/// for more questions: for few differences this is near the least in bytes.
const NARROWER: u8 = 3;

/// What the peer's totals of partitions are more than this node's (wrapping), where they differ.
pub(crate) type Differences = BTreeMap<Partition, u128>;

/// The exchange.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Of the class, in order.
    partitions: Arc<[Partition]>,
    /// This node's, of those partitions.
    totals: Vec<Option<u128>>,
    /// What may differ and by how much, the likeliest first.
    expected: Vec<Differences>,
    /// To be asked for.
    wanted: Vec<Folds>,
    differing: Differences,
}

impl Comparison {
    pub(crate) fn new(
        class: Class,
        shift: Shift,
        partitions: Arc<[Partition]>,
        totals: Vec<Option<u128>>,
    ) -> Self {
        let summed = totals.iter().any(Option::is_some);
        let first = Folds::all(class, shift, FIRST_FOLDS).filter(|_| summed);
        let wanted = first.into_iter().collect();
        let (expected, differing) = (Vec::new(), Differences::new());
        Self { partitions, totals, expected, wanted, differing }
    }

    /// These may differ by so much; what is expected first is tried first.
    pub(crate) fn expect(&mut self, mut differences: Differences) {
        differences.retain(|partition, _| self.partitions.binary_search(partition).is_ok());
        if !differences.is_empty() && !self.expected.contains(&differences) {
            self.expected.push(differences);
        }
    }

    /// What to ask the peer for next.
    pub(crate) fn next(&mut self) -> Option<Folds> {
        self.wanted.pop()
    }

    /// The peer's sums of these folds: gives the partitions in which both are equal. None where it is
    /// no answer to that.
    pub(crate) fn take(&mut self, folds: Folds, theirs: &[Option<u128>]) -> Option<Vec<Partition>> {
        if theirs.len() != folds.count() {
            return None;
        }
        let mut equal = Vec::new();
        for (fold, theirs) in folds.each().zip(theirs) {
            let range = fold.range(&self.partitions);
            let (partitions, totals) = (&self.partitions[range.clone()], &self.totals[range]);
            let own = fold.sums(partitions, totals).into_iter().next().flatten();
            let both = own.zip(*theirs);
            let agrees =
                |(own, theirs)| own == theirs || mutants::is(Mutant::AgreedThoughDifferent);
            let by = both.map(|(own, theirs)| theirs.wrapping_sub(own));
            if both.is_some_and(agrees) {
                equal.extend(partitions);
            } else if let Some(expected) = by.and_then(|by| self.expected_in(partitions, by)) {
                let differs = |it: &&Partition| {
                    expected.contains_key(it) && !mutants::is(Mutant::ExpectedIsEqual)
                };
                equal.extend(partitions.iter().filter(|it| !differs(it)));
                self.differing.extend(expected);
            } else if fold.is_narrowest() {
                self.differing.extend(partitions.iter().copied().zip(by));
            } else if totals.iter().any(Option::is_some) {
                self.want(fold.narrowed(NARROWER)?);
            }
        }
        Some(equal)
    }

    /// Where both have summed up and differ.
    pub(crate) fn take_differing(&mut self) -> Differences {
        core::mem::take(&mut self.differing)
    }

    /// What is expected to differ in these partitions, which are next to each other, if it comes to `by`.
    fn expected_in(&self, partitions: &[Partition], by: u128) -> Option<Differences> {
        let (first, last) = (*partitions.first()?, *partitions.last()?);
        let come_to_that = |expected: &&Differences| {
            let some = expected.range(first..=last).map(|(_, by)| *by);
            some.reduce(u128::wrapping_add) == Some(by)
        };
        let expected = self.expected.iter().find(come_to_that)?;
        Some(expected.range(first..=last).map(|(partition, by)| (*partition, *by)).collect())
    }

    fn want(&mut self, folds: Folds) {
        match self.wanted.last().and_then(|last| last.joined(folds)) {
            Some(joined) => {
                self.wanted.pop();
                self.wanted.push(joined);
            }
            None => self.wanted.push(folds),
        }
    }
}

#[cfg(test)]
#[path = "comparison_tests.rs"]
mod tests;
