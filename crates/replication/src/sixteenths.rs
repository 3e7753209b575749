//! Some of the sixteenths of a partition: those in which two digests differ.

use alloc::vec::Vec;

use paravon_model::{Digest, PARTS, Part};

/// A set of sixteenths, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sixteenths(u16);

impl Sixteenths {
    /// All of a partition.
    pub(crate) const ALL: Self = Self(u16::MAX);

    /// Where the sums are not the same.
    pub(crate) fn differing(own: &Digest, theirs: &Digest) -> Self {
        let differs = own.0.iter().zip(&theirs.0).map(|(own, theirs)| own != theirs);
        let bits = differs.zip(0..).map(|(differs, number)| u16::from(differs) << number);
        Self(bits.fold(0, |bits, bit| bits | bit))
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn insert(&mut self, number: u8) {
        self.0 |= 1 << number;
    }

    pub(crate) fn contains(self, number: u8) -> bool {
        self.0 & 1 << number != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        let numbers = 0..u8::try_from(PARTS).unwrap_or(u8::MAX);
        numbers.filter(move |&number| self.contains(number))
    }

    /// The parts to pass through, in order: the whole partition where all of it differs.
    pub(crate) fn parts(self) -> Vec<Part> {
        if self.0 == u16::MAX {
            return Vec::from([Part::Whole]);
        }
        self.iter().map(Part::Sixteenth).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_by_sixteenths_and_all_of_it_as_one() {
        let own = Digest::default();
        let mut theirs = own;
        assert!(Sixteenths::differing(&own, &theirs).is_empty());
        (theirs.0[0], theirs.0[15]) = (1, u128::MAX);
        let differing = Sixteenths::differing(&own, &theirs);
        assert_eq!(differing.parts(), [Part::Sixteenth(0), Part::Sixteenth(15)]);
        let mut inserted = Sixteenths::default();
        inserted.insert(0);
        inserted.insert(15);
        assert_eq!(inserted, differing);
        theirs.0 = [7; PARTS];
        assert_eq!(Sixteenths::differing(&own, &theirs).parts(), [Part::Whole]);
    }
}
