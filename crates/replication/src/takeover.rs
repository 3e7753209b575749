//! How far this node is with one partition that it takes over: whom it has merged, and the pass through
//! what one source holds that is under way.
//!
//! A source is merged when everything that it told in one full pass is durable here, at that version or
//! newer, or when both summed up to the same. **Never:** counts one that told only a part of what differs.

use alloc::boxed::Box;
use alloc::vec::Vec;

use paravon_model::{Compared, Detail, Digest, Ordinal, Part};
use paravon_ring::{Layout, Partition};

use crate::pass::{Pass, Taken};
use crate::pull;
use crate::sixteenths::Sixteenths;

/// A partition to take over, on its way.
#[derive(Debug)]
pub(crate) struct Takeover {
    pub(crate) partition: Partition,
    pub(crate) own: Own,
    pub(crate) stage: Stage,
}

/// What is known of the own store's sums.
#[derive(Debug)]
pub(crate) enum Own {
    /// Nothing yet, or not since more was stored.
    Unknown,
    /// What it told last; none where it has not summed up the partition.
    Told(Option<Box<Digest>>),
}

/// What a takeover waits for.
#[derive(Debug)]
pub(crate) enum Stage {
    /// The choice of a source.
    Idle,
    /// The sums of the own store.
    Summing,
    /// The sums of this source.
    Comparing(Ordinal),
    /// Pages and records of a source.
    Passing(Pass),
}

impl Takeover {
    pub(crate) fn new(partition: Partition) -> Self {
        Self { partition, own: Own::Unknown, stage: Stage::Idle }
    }

    /// Whom it takes from just now.
    pub(crate) fn source(&self) -> Option<Ordinal> {
        match &self.stage {
            Stage::Idle | Stage::Summing => None,
            Stage::Comparing(source) => Some(*source),
            Stage::Passing(pass) => Some(pass.source),
        }
    }

    pub(crate) fn pass(&mut self) -> Option<&mut Pass> {
        match &mut self.stage {
            Stage::Passing(pass) => Some(pass),
            _ => None,
        }
    }

    /// The source has answered. Only the sixteenths in which both differ are passed through.
    pub(crate) fn take(&mut self, told: pull::Told, layout: &Layout) -> Taken {
        match (&mut self.stage, told) {
            (&mut Stage::Comparing(source), pull::Told::Sums(Compared::Digest(theirs))) => {
                let parts = match (&self.own, theirs) {
                    (Own::Told(Some(own)), Some(theirs)) if *own == theirs => return Taken::Equal,
                    (Own::Told(Some(own)), Some(theirs)) => {
                        Sixteenths::differing(own, &theirs).parts()
                    }
                    _ => Vec::from([Part::Whole]),
                };
                self.stage = self.passing(source, Detail::Listing, parts);
                Taken::GoesOn
            }
            (Stage::Passing(pass), pull::Told::Page(pulled)) => pass.take(pulled, layout),
            _ => Taken::Nonsense,
        }
    }

    /// A pass through parts of it.
    pub(crate) fn passing(&self, source: Ordinal, detail: Detail, parts: Vec<Part>) -> Stage {
        Stage::Passing(Pass::new(self.partition, source, detail, parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::tests::coarse;
    use paravon_model::{PARTS, Pull};

    fn told(digest: Option<Digest>) -> pull::Told {
        pull::Told::Sums(Compared::Digest(digest.map(Box::new)))
    }

    fn comparing() -> Takeover {
        let mut takeover = Takeover::new(Partition(0));
        takeover.own = Own::Told(Some(Box::new(Digest([2; PARTS]))));
        takeover.stage = Stage::Comparing(Ordinal(2));
        takeover
    }

    #[test]
    fn equal_sums_are_enough_and_of_others_what_differs_is_listed() {
        let layout = coarse();
        let mut one = [2; PARTS];
        one[5] = 3;
        let cases = [
            (Some(Digest([3; PARTS])), Part::Whole),
            (Some(Digest(one)), Part::Sixteenth(5)),
            (None, Part::Whole),
        ];
        for (theirs, part) in cases {
            let mut takeover = comparing();
            assert_eq!(takeover.take(told(theirs), &layout), Taken::GoesOn);
            let wanted = Pull { part, detail: Detail::Listing, after: None };
            assert_eq!(takeover.pass().unwrap().wanted(), Some(wanted));
        }
        let equal = told(Some(Digest([2; PARTS])));
        assert_eq!(comparing().take(equal, &layout), Taken::Equal);
        let mut passing = comparing();
        assert_eq!(passing.take(told(None), &layout), Taken::GoesOn);
        assert_eq!(passing.take(told(None), &layout), Taken::Nonsense);
    }
}
