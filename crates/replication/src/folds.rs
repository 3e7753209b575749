//! Totals of many partitions, added up: which partitions a fold covers, and what they come to.
//!
//! Both ends of a comparison count with these numbers. **Never:** trusts a stranger's: whatever is
//! asked for costs no more than this shard's own partitions and one answer.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use paravon_model::limits::{MAX_FOLDS, MAX_SHIFT};
use paravon_model::{Class, Compare};
use paravon_ring::{Partition, Shift};

/// Folds next to each other, all of one span (see [`Compare::Folds`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Folds {
    class: Class,
    span: u8,
    first: u32,
    count: u16,
}

impl Folds {
    /// None where the numbers mean nothing.
    pub(crate) fn new(class: Class, span: u8, first: u32, count: u16) -> Option<Self> {
        let means_something = class.residue < class.modulus
            && span <= MAX_SHIFT
            && (1..=MAX_FOLDS).contains(&count)
            && first.checked_add(u32::from(count)).is_some();
        means_something.then_some(Self { class, span, first, count })
    }

    /// All of a class, with the narrowest span that makes at most `most` folds, which is not zero and
    /// at most [`MAX_FOLDS`].
    pub(crate) fn all(class: Class, shift: Shift, most: u16) -> Option<Self> {
        let rest = shift.partitions().saturating_sub(class.residue);
        let partitions = rest.div_ceil(class.modulus.max(1));
        let folds = |span| partitions.div_ceil(1_u32 << span);
        let span = (0..=MAX_SHIFT).find(|&span| folds(span) <= u32::from(most))?;
        Self::new(class, span, 0, u16::try_from(folds(span)).ok()?)
    }

    /// This one, as it is asked for.
    pub(crate) fn compare(self) -> Compare {
        let Self { class, span, first, count } = self;
        Compare::Folds { class, span, first, count }
    }

    pub(crate) fn class(self) -> Class {
        self.class
    }

    pub(crate) fn count(self) -> usize {
        self.count.into()
    }

    /// Whether each fold is one partition.
    pub(crate) fn is_narrowest(self) -> bool {
        self.span == 0
    }

    /// Each fold by itself.
    pub(crate) fn each(self) -> impl Iterator<Item = Self> {
        (self.first..).take(self.count()).map(move |first| Self { first, count: 1, ..self })
    }

    /// The same partitions in folds that are narrower by `bits`, as a power of two, or as narrow as
    /// there are.
    pub(crate) fn narrowed(self, bits: u8) -> Option<Self> {
        let bits = bits.min(self.span);
        let first = self.first.checked_mul(1 << bits)?;
        Self::new(self.class, self.span - bits, first, self.count.checked_mul(1 << bits)?)
    }

    /// Both as one, where `next` begins at the end of this one and both fit into one answer.
    pub(crate) fn joined(self, next: Self) -> Option<Self> {
        let follows = self.span == next.span && self.first + u32::from(self.count) == next.first;
        let count = self.count.checked_add(next.count).filter(|_| follows)?;
        Self::new(self.class, self.span, self.first, count)
    }

    /// What of these partitions, which are in order, lies between its first and its last.
    pub(crate) fn range(self, partitions: &[Partition]) -> Range<usize> {
        let number = |fold: u32| {
            let place = u64::from(fold) << self.span;
            let number = place.saturating_mul(self.class.modulus.into());
            number.saturating_add(self.class.residue.into())
        };
        let at = |fold| {
            let number = number(fold);
            partitions.partition_point(|partition| u64::from(partition.0) < number)
        };
        at(self.first)..at(self.first + u32::from(self.count))
    }

    /// The sums of the folds over these partitions; those that it does not cover do not matter. None
    /// for a fold with a partition whose total is none.
    pub(crate) fn sums(
        self,
        partitions: &[Partition],
        totals: &[Option<u128>],
    ) -> Vec<Option<u128>> {
        let mut sums = vec![Some(0); self.count()];
        for (partition, total) in partitions.iter().zip(totals) {
            if let Some(sum) = self.place(*partition).and_then(|place| sums.get_mut(place)) {
                *sum = sum.zip(*total).map(|(sum, total): (u128, u128)| sum.wrapping_add(total));
            }
        }
        sums
    }

    fn place(self, partition: Partition) -> Option<usize> {
        if !self.class.contains(partition.0) {
            return None;
        }
        let fold = (partition.0 / self.class.modulus) >> self.span;
        let place = fold.checked_sub(self.first).filter(|&place| place < self.count.into())?;
        usize::try_from(place).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: Class = Class { modulus: 3, residue: 2 };

    fn partitions(numbers: &[u32]) -> Vec<Partition> {
        numbers.iter().copied().map(Partition).collect()
    }

    #[test]
    fn numbers_that_mean_nothing_are_refused() {
        let folds = |modulus, residue, span, first, count| {
            Folds::new(Class { modulus, residue }, span, first, count)
        };
        assert!(folds(3, 2, MAX_SHIFT, 0, MAX_FOLDS).is_some());
        assert!(folds(0, 0, 0, 0, 1).is_none());
        assert!(folds(3, 3, 0, 0, 1).is_none());
        assert!(folds(3, 2, MAX_SHIFT + 1, 0, 1).is_none());
        assert!(folds(3, 2, 0, 0, 0).is_none());
        assert!(folds(3, 2, 0, 0, MAX_FOLDS + 1).is_none());
        assert!(folds(3, 2, 0, u32::MAX, 1).is_none());
        let far = folds(u32::MAX, u32::MAX - 1, MAX_SHIFT, u32::MAX - 9, 9).unwrap();
        let all = partitions(&[0, 5, 8]);
        assert_eq!(far.range(&all), 3..3);
        assert_eq!(far.sums(&all, &[Some(1); 3]), [Some(0); 9]);
    }

    #[test]
    fn a_fold_adds_up_the_partitions_of_its_class_alone() {
        let folds = Folds::new(CLASS, 1, 0, 3).unwrap();
        // The class is 2, 5 | 8, 11 | 14, 17 | 20.
        let all = partitions(&[0, 2, 5, 8, 11, 14, 20]);
        let totals = [9, 1, u128::MAX, 3, 4, 5, 6].map(Some);
        assert_eq!(folds.range(&all), 1..6);
        assert_eq!(folds.sums(&all, &totals), [Some(0), Some(7), Some(5)]);
        let mut unknown = totals;
        (unknown[0], unknown[4]) = (None, None);
        assert_eq!(folds.sums(&all, &unknown), [Some(0), None, Some(5)]);
        let each: Vec<_> = folds.each().map(|fold| fold.sums(&all, &totals)).collect();
        assert_eq!(each, [[Some(0)], [Some(7)], [Some(5)]]);
    }

    #[test]
    fn the_folds_of_a_class_cover_it_and_narrow_down_to_its_partitions() {
        for (modulus, residue, shift) in [(1, 0, 16), (3, 2, 4), (7, 0, 3), (64, 63, 6), (9, 8, 3)]
        {
            let shift = Shift::new(shift).unwrap();
            let class = Class { modulus, residue };
            let of_class = (0..shift.partitions()).filter(|number| number % modulus == residue);
            let class_partitions: Vec<_> = of_class.map(Partition).collect();
            let Some(mut folds) = Folds::all(class, shift, 64) else {
                assert!(class_partitions.is_empty());
                continue;
            };
            assert!(folds.count() <= 64);
            assert_eq!(folds.range(&class_partitions), 0..class_partitions.len());
            let ones = [Some(1)].repeat(class_partitions.len());
            let count = |sums: Vec<Option<u128>>| sums.into_iter().flatten().sum::<u128>();
            let all = class_partitions.len() as u128;
            assert_eq!(count(folds.sums(&class_partitions, &ones)), all);
            while !folds.is_narrowest() {
                let first = folds.each().next().unwrap();
                let narrowed = first.narrowed(6).unwrap();
                assert_eq!(narrowed.range(&class_partitions), first.range(&class_partitions));
                folds = narrowed;
            }
        }
    }

    #[test]
    fn neighbours_are_asked_for_together() {
        let folds = |first, count| Folds::new(CLASS, 2, first, count).unwrap();
        assert_eq!(folds(0, 64).joined(folds(64, 64)), Some(folds(0, 128)));
        assert_eq!(folds(0, 64).joined(folds(128, 64)), None);
        assert_eq!(folds(0, MAX_FOLDS).joined(folds(MAX_FOLDS.into(), 1)), None);
    }
}
