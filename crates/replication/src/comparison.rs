//! One exchange with one peer over one class of partitions: from folds of many partitions down to the
//! partitions in which both differ.
//!
//! Own totals are taken first, then the peer's: where they are equal this node held, at that earlier
//! moment, what the peer held later. **Never:** calls a partition equal that either end has not summed up.

use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::Class;
use paravon_ring::{Partition, Shift};

use crate::folds::Folds;
use crate::mutants::{self, Mutant};

/// Folds of the first question: all that is asked while everything agrees.
const FIRST_FOLDS: u16 = 64;

/// How much narrower the next folds are, as a power of two.
const NARROWER: u8 = 6;

/// The exchange.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Of the class, in order.
    partitions: Arc<[Partition]>,
    /// This node's, of those partitions.
    totals: Vec<Option<u128>>,
    /// To be asked for.
    wanted: Vec<Folds>,
    differing: Vec<Partition>,
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
        Self { partitions, totals, wanted, differing: Vec::new() }
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
            if both.is_some_and(agrees) {
                equal.extend(partitions);
            } else if fold.is_narrowest() {
                self.differing.extend(partitions.iter().filter(|_| both.is_some()));
            } else if totals.iter().any(Option::is_some) {
                self.want(fold.narrowed(NARROWER)?);
            }
        }
        Some(equal)
    }

    /// Where both have summed up and differ, in no order.
    pub(crate) fn take_differing(&mut self) -> Vec<Partition> {
        core::mem::take(&mut self.differing)
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
