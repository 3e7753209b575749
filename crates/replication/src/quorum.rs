//! How many replicas a level asks for, and the replica sets in force as places in the table of an
//! operation: while a change of layout is under way every count is made in each of two sets, and a
//! replica of both counts in both.
//!
//! **Never:** adds up what two sets lack. Enough of one is nothing for the other.

use paravon_model::Consistency;

use crate::mutants::{self, Mutant};

/// Most replicas in one set.
pub(crate) const MAX_SET: usize = 7;

/// Most replicas of a partition, in both sets together.
pub(crate) const MAX_REPLICAS: usize = 2 * MAX_SET;

/// The smallest number of which any two quorums among `replicas` share one.
pub(crate) fn majority(replicas: usize) -> usize {
    if mutants::is(Mutant::QuorumOffByOne) {
        return (replicas / 2).max(1);
    }
    paravon_model::majority(replicas)
}

/// How many replicas of a set of so many must answer.
pub(crate) fn needed(level: Consistency, replicas: usize) -> usize {
    match level {
        Consistency::Quorum => majority(replicas),
        level => level.needed(replicas),
    }
}

/// Places in the table of an operation, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places(u16);

impl Places {
    /// The first so many.
    pub(crate) fn first(count: usize) -> Self {
        assert!(count <= MAX_REPLICAS, "two sets have at most fourteen replicas");
        Self((1 << count) - 1)
    }

    pub(crate) fn insert(&mut self, slot: usize) {
        self.0 |= 1 << slot;
    }

    pub(crate) fn contains(self, slot: usize) -> bool {
        self.0 & (1 << slot) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Those that are in either.
    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in both.
    pub(crate) fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// How many of them are in `set`.
    pub(crate) fn among(self, set: Self) -> usize {
        self.common(set).len()
    }
}

impl FromIterator<usize> for Places {
    fn from_iter<I: IntoIterator<Item = usize>>(slots: I) -> Self {
        let mut places = Self::default();
        slots.into_iter().for_each(|slot| places.insert(slot));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_of_two_sets_counts_in_both() {
        let (current, next) = (Places::first(3), Places::from_iter([0, 1, 3]));
        let answered = Places::from_iter([1, 3]);
        assert_eq!((answered.among(current), answered.among(next)), (1, 2));
        assert_eq!(current.union(next), Places::first(4));
        assert_eq!(Places::first(MAX_REPLICAS).len(), MAX_REPLICAS);
        assert!(Places::default().is_empty() && !answered.contains(0));
    }

    #[test]
    fn a_level_is_taken_of_each_set() {
        let of = |level| [1, 3, 5].map(|replicas| needed(level, replicas));
        assert_eq!(of(Consistency::One), [1, 1, 1]);
        assert_eq!(of(Consistency::Quorum), [1, 2, 3]);
        assert_eq!(of(Consistency::All), [1, 3, 5]);
        assert_eq!(of(Consistency::Count(2)), [2, 2, 2]);
    }
}
