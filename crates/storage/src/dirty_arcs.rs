//! The arcs of the ring that are dirty for one target: with writes that it may lack and no hint tells.
//!
//! Each mark has its moment, so that what was found clean as of a moment takes no later mark away. Past a
//! bound arcs are not told apart any more: all of the ring is dirty then, and which of the shard's
//! partitions were found clean since is known in memory alone, until all of them were. An arc must
//! **never** leave before it was found clean (`HINT_NOT_LOST`).

use std::collections::{BTreeMap, BTreeSet};

use paravon_ring::{HashArc, Partition, Shift};

use crate::hint::DirtyMark;
use crate::own_partitions::OwnPartitions;

/// Arcs told apart; beyond, all of the ring is dirty.
pub(crate) const MAX_ARCS: usize = 65_536;

/// What is dirty for one target.
#[derive(Debug, Default)]
pub(crate) struct DirtyArcs {
    /// Each with the moment when it was marked last. Empty where all of the ring is dirty.
    arcs: BTreeMap<u32, u64>,
    whole: Option<Whole>,
}

/// All of the ring is dirty, but for some partitions.
#[derive(Debug, Default)]
struct Whole {
    moment: u64,
    /// Found clean since, and not marked again.
    cleaned: BTreeSet<Partition>,
    /// Marked again since, and when last.
    marked: BTreeMap<Partition, u64>,
}

impl Whole {
    fn mark(&mut self, arc: u32, moment: u64, own: Option<OwnPartitions>) {
        let partition =
            own.map(|own| Partition(DirtyMark::partition_of(arc, own.shift()))).filter(|p| {
                // Those of other shards are not told apart.
                own.is_some_and(|own| own.index(*p).is_some())
            });
        if let Some(partition) = partition {
            self.cleaned.remove(&partition);
            self.marked.insert(partition, moment);
        } else {
            *self = Self { moment, ..Self::default() };
        }
    }

    /// Notes what was found clean as of a moment. Says whether nothing is left.
    fn clean(&mut self, arc: HashArc, moment: u64, own: Option<OwnPartitions>) -> bool {
        if self.moment > moment {
            return false;
        }
        let Some(own) = own else { return arc == HashArc::ALL };
        for partition in own.within(arc) {
            if self.marked.get(&partition).is_none_or(|marked| *marked <= moment) {
                self.marked.remove(&partition);
                self.cleaned.insert(partition);
            }
        }
        self.cleaned.len() == own.count()
    }
}

impl DirtyArcs {
    /// Whether nothing is dirty.
    pub(crate) fn is_empty(&self) -> bool {
        self.arcs.is_empty() && self.whole.is_none()
    }

    /// Whether an arc is dirty, or all are where it stands for all.
    pub(crate) fn has(&self, arc: u32) -> bool {
        self.whole.is_some() || self.arcs.contains_key(&arc)
    }

    /// Makes an arc dirty; what is to be stored for it, if no mark that is stored says so already.
    pub(crate) fn mark(
        &mut self,
        arc: u32,
        moment: u64,
        own: Option<OwnPartitions>,
    ) -> Option<u32> {
        if let Some(whole) = &mut self.whole {
            whole.mark(arc, moment, own);
            return None;
        }
        if let Some(marked) = self.arcs.get_mut(&arc) {
            *marked = moment;
            return None;
        }
        if self.arcs.len() < MAX_ARCS {
            self.arcs.insert(arc, moment);
            return Some(arc);
        }
        self.mark_all(moment);
        Some(DirtyMark::ALL)
    }

    /// Makes all of the ring dirty.
    pub(crate) fn mark_all(&mut self, moment: u64) {
        self.arcs.clear();
        self.whole = Some(Whole { moment, ..Whole::default() });
    }

    /// Notes a mark that is stored, or whose removal failed.
    pub(crate) fn restore(&mut self, arc: u32) {
        if self.whole.is_some() {
            return;
        }
        if arc == DirtyMark::ALL {
            let latest = self.arcs.values().copied().max();
            self.mark_all(latest.unwrap_or_default());
        } else {
            self.arcs.entry(arc).or_default();
        }
    }

    /// Notes that a mark is not stored any more: all of them, where it stood for all.
    pub(crate) fn remove(&mut self, arc: u32) {
        if arc == DirtyMark::ALL {
            *self = Self::default();
        } else {
            self.arcs.remove(&arc);
        }
    }

    /// Takes away what was marked within `arc` up to `moment`: the marks that are to be stored no more.
    pub(crate) fn clean(
        &mut self,
        arc: HashArc,
        moment: u64,
        own: Option<OwnPartitions>,
    ) -> Vec<u32> {
        if let Some(whole) = &mut self.whole {
            if whole.clean(arc, moment, own) {
                self.whole = None;
                return vec![DirtyMark::ALL];
            }
            return Vec::new();
        }
        let within = DirtyMark::within(arc);
        if within.is_empty() {
            return Vec::new();
        }
        let marked = self.arcs.range(within).filter(|(_, marked)| **marked <= moment);
        let cleaned: Vec<u32> = marked.map(|(arc, _)| *arc).collect();
        for arc in &cleaned {
            self.arcs.remove(arc);
        }
        cleaned
    }

    /// How many partitions are dirty, of `2^shift`.
    pub(crate) fn count(&self, shift: Shift, own: Option<OwnPartitions>) -> u64 {
        if let Some(whole) = &self.whole {
            return match own.filter(|own| own.shift() == shift) {
                Some(own) => (own.count() - whole.cleaned.len()) as u64,
                None => shift.partitions().into(),
            };
        }
        let mut partitions: Vec<u32> =
            self.arcs.keys().map(|&arc| DirtyMark::partition_of(arc, shift)).collect();
        partitions.dedup();
        partitions.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paravon_ring::KeyHash;

    /// Four partitions, of which the shard has the first and the third.
    fn own() -> OwnPartitions {
        OwnPartitions::new(Shift::new(2).unwrap(), (0, 2))
    }

    fn of(partition: u32) -> HashArc {
        Partition(partition).arc(own().shift())
    }

    fn arc_in(partition: u32, number: u32) -> u32 {
        (partition << 22) + number
    }

    fn dirty(arcs: &DirtyArcs) -> u64 {
        arcs.count(own().shift(), Some(own()))
    }

    #[test]
    fn what_was_marked_after_the_moment_stays() {
        let mut arcs = DirtyArcs::default();
        for (moment, arc) in [(1, arc_in(0, 5)), (2, arc_in(2, 0)), (3, arc_in(2, 9))] {
            assert_eq!(arcs.mark(arc, moment, Some(own())), Some(arc));
        }
        assert_eq!(arcs.mark(arc_in(2, 0), 4, Some(own())), None, "it is stored already");
        assert_eq!(arcs.clean(of(1), 9, Some(own())), []);
        assert_eq!(arcs.clean(of(2), 3, Some(own())), [arc_in(2, 9)]);
        assert!(arcs.has(arc_in(2, 0)) && !arcs.has(arc_in(2, 9)));
        assert_eq!(arcs.clean(of(0), 0, Some(own())), []);
        assert_eq!(arcs.clean(HashArc::ALL, 4, Some(own())), [arc_in(0, 5), arc_in(2, 0)]);
        assert!(arcs.is_empty());
    }

    #[test]
    fn an_arc_that_is_not_clean_as_a_whole_stays() {
        let mut arcs = DirtyArcs::default();
        arcs.mark(arc_in(2, 0), 1, Some(own()));
        let first = KeyHash(of(2).first.0 + 1);
        assert_eq!(arcs.clean(HashArc { first, ..of(2) }, 9, Some(own())), []);
        let last = KeyHash(of(2).first.0 + (1 << 40) - 2);
        assert_eq!(arcs.clean(HashArc { first: KeyHash(0), last }, 9, Some(own())), []);
        let last = KeyHash(last.0 + 1);
        assert_eq!(arcs.clean(HashArc { last, ..of(2) }, 9, Some(own())), [arc_in(2, 0)]);
    }

    #[test]
    fn all_of_the_ring_is_clean_when_each_own_partition_was_found_so() {
        let mut arcs = DirtyArcs::default();
        arcs.mark_all(5);
        assert_eq!((dirty(&arcs), arcs.count(Shift::new(3).unwrap(), Some(own()))), (2, 8));
        assert_eq!(arcs.clean(HashArc::ALL, 4, Some(own())), [], "it was marked later");
        assert_eq!(arcs.clean(of(0), 5, Some(own())), []);
        assert_eq!(dirty(&arcs), 1);
        // Marked again: as found clean before, it is not.
        assert_eq!(arcs.mark(arc_in(0, 3), 6, Some(own())), None);
        assert_eq!(arcs.clean(of(2), 6, Some(own())), []);
        assert_eq!(arcs.clean(of(0), 5, Some(own())), []);
        assert_eq!(dirty(&arcs), 1);
        assert_eq!(arcs.clean(of(0), 6, Some(own())), [DirtyMark::ALL]);
        assert!(arcs.is_empty());
    }

    #[test]
    fn a_mark_that_is_of_no_own_partition_makes_all_dirty_again() {
        for own in [Some(own()), None] {
            let mut arcs = DirtyArcs::default();
            arcs.mark_all(1);
            arcs.clean(of(0), 1, own);
            arcs.mark(arc_in(1, 0), 2, own);
            assert_eq!(arcs.clean(HashArc::ALL, 1, own), []);
            assert_eq!(arcs.clean(HashArc::ALL, 2, own), [DirtyMark::ALL]);
        }
    }

    #[test]
    fn a_removal_that_failed_leaves_it_dirty() {
        let mut arcs = DirtyArcs::default();
        arcs.mark_all(3);
        assert_eq!(arcs.clean(HashArc::ALL, 3, Some(own())), [DirtyMark::ALL]);
        // Marked since, on its own.
        assert_eq!(arcs.mark(arc_in(0, 1), 7, Some(own())), Some(arc_in(0, 1)));
        arcs.restore(DirtyMark::ALL);
        assert_eq!(dirty(&arcs), 2);
        assert_eq!(arcs.clean(HashArc::ALL, 6, Some(own())), [], "not what came later");
        assert_eq!(arcs.clean(HashArc::ALL, 7, Some(own())), [DirtyMark::ALL]);
        arcs.mark(arc_in(0, 1), 8, Some(own()));
        arcs.restore(arc_in(0, 1));
        assert_eq!(arcs.clean(of(0), 7, Some(own())), []);
    }
}
