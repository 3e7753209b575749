//! Whom a member of a partition's next set must merge to be *complete* for it: a majority of the
//! current set, itself counted where it is of it, and every member that leaves the set.
//!
//! Those that are named as lost are asked for nothing. A change that does without some merges no more
//! than half of each set, rounded up, because another member may be down as well: every majority meets
//! one of any such half, so whatever was acknowledged at a majority is on one of those. `View` lets a
//! removal begin where so many are left (`lacks_sources`), and this lets it end. After a rescue all that are left are merged: any of them may hold the
//! only copy. **Never:** fewer than that.

use paravon_model::{Ordinal, majority};
use paravon_ring::{Layout, Partition};

use crate::testimony::Witnesses;

/// The members that one takes a partition over from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources<'a> {
    own: Ordinal,
    current: &'a [Ordinal],
    next: &'a [Ordinal],
    /// By ordinal.
    lost: &'a [Ordinal],
    needed: usize,
    enough_witnesses: Witnesses,
}

/// Which members of the current set were merged, by their places there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged(u8);

impl<'a> Sources<'a> {
    /// None where the layout gives `own` nothing to take over.
    pub(crate) fn of(layout: &'a Layout, own: Ordinal, partition: Partition) -> Option<Self> {
        let joint = layout.document().joint()?;
        let sets = layout.sets(partition);
        let next = sets.next.filter(|next| next.contains(&own))?;
        let lost = &joint.lost;
        let (needed, enough_witnesses) = if layout.document().phase.majorities_hold_all() {
            (needed(sets.current, lost), enough_witnesses(sets.current))
        } else {
            (sets.current.len(), Witnesses::AllThatAreLeft)
        };
        Some(Self { own, current: sets.current, next, lost, needed, enough_witnesses })
    }

    /// Who can tell what a key held that `damaged` cannot read: every other member of the current set
    /// but the lost, this one included.
    pub(crate) fn witnesses(&self, damaged: Ordinal) -> impl Iterator<Item = Ordinal> + use<'a> {
        let sources = *self;
        let tells = move |member: &Ordinal| *member != damaged && !sources.has_lost(*member);
        self.current.iter().copied().filter(tells)
    }

    pub(crate) fn enough_witnesses(&self) -> Witnesses {
        self.enough_witnesses
    }

    /// `merged`, and this member besides.
    pub(crate) fn with(&self, merged: Merged, source: Ordinal) -> Merged {
        let place = self.current.iter().position(|member| *member == source);
        Merged(merged.0 | place.map_or(0, |place| 1 << place))
    }

    pub(crate) fn is_complete(&self, merged: Merged) -> bool {
        let leaver_missing = self.missing(merged).any(|member| self.leaves(member));
        self.count(merged) >= self.needed && !leaver_missing
    }

    /// Whom to merge next: who leaves comes first, then who is nearest; those equally near take turns
    /// from partition to partition. `distance` gives none for one that cannot be asked.
    pub(crate) fn choose(
        &self,
        merged: Merged,
        partition: Partition,
        distance: impl Fn(Ordinal) -> Option<u32>,
    ) -> Option<Ordinal> {
        let enough = self.count(merged) >= self.needed;
        let wanted = |member: &Ordinal| !enough || self.leaves(*member);
        let reachable = |member| Some((member, distance(member)?));
        let turn = |member| {
            let place = self.current.iter().position(|known| *known == member).unwrap_or_default();
            (place + partition.0 as usize) % self.current.len()
        };
        let candidates = self.missing(merged).filter(wanted).filter_map(reachable);
        let order =
            |&(member, distance): &(Ordinal, u32)| (!self.leaves(member), distance, turn(member));
        candidates.min_by_key(order).map(|(member, _)| member)
    }

    fn has_lost(&self, member: Ordinal) -> bool {
        self.lost.contains(&member)
    }

    /// Members of the current set that could be merged and were not.
    fn missing(&self, merged: Merged) -> impl Iterator<Item = Ordinal> {
        let missing = move |&(place, member): &(usize, Ordinal)| {
            merged.0 & (1 << place) == 0 && member != self.own && !self.has_lost(member)
        };
        self.current.iter().copied().enumerate().filter(missing).map(|(_, member)| member)
    }

    fn leaves(&self, member: Ordinal) -> bool {
        !self.next.contains(&member)
    }

    fn count(&self, merged: Merged) -> usize {
        let others = merged.0.count_ones() as usize;
        others + usize::from(self.current.contains(&self.own))
    }
}

/// How many of a set must be merged: less than a majority only of an even number of copies.
fn needed(current: &[Ordinal], lost: &[Ordinal]) -> usize {
    if lost.is_empty() { majority(current.len()) } else { current.len().div_ceil(2) }
}

/// So many of a set that every majority of it meets one of them.
fn enough_witnesses(current: &[Ordinal]) -> Witnesses {
    Witnesses::AtLeast(current.len().div_ceil(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worlds::replicas;
    use alloc::vec::Vec;

    fn sources<'a>(
        own: u32,
        current: &'a [Ordinal],
        next: &'a [Ordinal],
        lost: &'a [Ordinal],
    ) -> Sources<'a> {
        let (needed, enough_witnesses) = (needed(current, lost), enough_witnesses(current));
        Sources { own: Ordinal(own), current, next, lost, needed, enough_witnesses }
    }

    /// Merges whoever is chosen until the partition is complete; gives them in order.
    fn walk(sources: &Sources<'_>) -> Option<Vec<Ordinal>> {
        let (mut merged, mut order) = (Merged::default(), Vec::new());
        while !sources.is_complete(merged) {
            let chosen = sources.choose(merged, Partition(0), |member| Some(member.0))?;
            merged = sources.with(merged, chosen);
            order.push(chosen);
        }
        Some(order)
    }

    fn ordinals(numbers: &[u32]) -> Vec<Ordinal> {
        numbers.iter().copied().map(Ordinal).collect()
    }

    #[test]
    fn a_majority_and_every_leaver_are_merged_the_leavers_first() {
        let three = replicas(3);
        let cases: [(u32, &[u32], &[u32]); 5] = [
            (4, &[1, 2, 4], &[3, 1]),
            (1, &[1, 2, 4], &[3]),
            (1, &[1, 2], &[3]),
            (1, &[1, 2, 3, 4], &[2]),
            (4, &[4, 5, 6], &[1, 2, 3]),
        ];
        for (own, next, order) in cases {
            let next = ordinals(next);
            assert_eq!(walk(&sources(own, &three, &next, &[])), Some(ordinals(order)), "{next:?}");
        }
        let (one, three) = (replicas(1), replicas(3));
        assert_eq!(walk(&sources(1, &one, &three, &[])), Some(Vec::new()), "it holds all there is");
    }

    #[test]
    fn the_lost_are_not_asked() {
        let (three, next, lost) = (replicas(3), ordinals(&[1, 2, 4]), ordinals(&[3]));
        assert_eq!(walk(&sources(4, &three, &next, &lost)), Some(ordinals(&[1, 2])));
        let lost = ordinals(&[2, 3]);
        assert_eq!(walk(&sources(4, &three, &next, &lost)), None, "one of three is not enough");
        let (two, lost) = (replicas(2), ordinals(&[2]));
        assert_eq!(walk(&sources(1, &two, &replicas(1), &lost)), Some(Vec::new()));
    }

    /// In every small world, whoever is complete has merged a member of every majority.
    #[test]
    fn every_majority_of_the_current_set_meets_whom_a_complete_member_merged() {
        for count in 1..=7_usize {
            let current = replicas(count);
            for lost_bits in 0..1_u8 << count {
                let is_lost = |member: &Ordinal| lost_bits & (1 << (member.0 - 1)) != 0;
                let lost: Vec<_> = current.iter().copied().filter(is_lost).collect();
                for own in (1..=9).filter(|own| !lost.contains(&Ordinal(*own))) {
                    let next = ordinals(&[own, 8]);
                    let sources = sources(own, &current, &next, &lost);
                    let Some(mut met) = walk(&sources) else { continue };
                    met.push(Ordinal(own));
                    assert!(met.iter().all(|member| !lost.contains(member)));
                    let apart = current.iter().filter(|member| !met.contains(member)).count();
                    assert!(apart < count / 2 + 1, "{count} {lost:?} {met:?}");
                    let stays = |member: &Ordinal| next.contains(member) || lost.contains(member);
                    assert!(current.iter().all(|member| stays(member) || met.contains(member)));
                }
            }
        }
    }

    /// In every small world, enough witnesses of a damaged key meet every majority, the damaged member's
    /// own part in which counts for nothing.
    #[test]
    fn every_majority_meets_enough_witnesses() {
        for count in 1..=7_usize {
            let current = replicas(count);
            let sources = sources(9, &current, &current, &[]);
            let Witnesses::AtLeast(enough) = sources.enough_witnesses() else { panic!() };
            let place = |bits: u8, member: &Ordinal| bits & (1 << (member.0 - 1)) != 0;
            for damaged in current.iter().copied() {
                let others: Vec<_> = sources.witnesses(damaged).collect();
                assert!(others.len() == count - 1 && !others.contains(&damaged));
                for bits in 0..1_u8 << count {
                    let asked = others.iter().filter(|member| place(bits, member)).count();
                    for holders in 0..1_u8 << count {
                        let is_majority = holders.count_ones() as usize > count / 2;
                        let met = others.iter().any(|member| place(bits & holders, member));
                        assert!(met || asked < enough || !is_majority, "{count} {bits:b}");
                    }
                }
            }
        }
    }

    /// In every small world, a removal ends with any members down that leave it so many that it may begin.
    #[test]
    fn what_may_begin_without_the_lost_can_end() {
        for count in 1..=7_usize {
            let current = replicas(count);
            let lost = current[count - 1..].to_vec();
            let next = ordinals(&[8, 9]);
            let next: Vec<_> = current.iter().chain(&next).copied().collect();
            let sources = sources(9, &current, &next, &lost);
            for down_bits in 0..1_u8 << (count - 1) {
                let is_down = |member: Ordinal| down_bits & (1 << (member.0 - 1)) != 0;
                let gone = down_bits.count_ones() as usize + lost.len();
                let distance = |member: Ordinal| (!is_down(member)).then_some(1);
                let mut merged = Merged::default();
                while let Some(source) = sources.choose(merged, Partition(0), distance) {
                    merged = sources.with(merged, source);
                }
                let may_begin = gone < majority(count);
                assert_eq!(sources.is_complete(merged), may_begin, "{count} {down_bits:b}");
            }
        }
    }

    #[test]
    fn the_nearest_is_asked_and_equals_take_turns() {
        let (three, four) = (replicas(3), replicas(4));
        let sources = sources(4, &three, &four, &[]);
        let choose = |partition, far: u32| {
            let distance = |member: Ordinal| Some(u32::from(member.0 == far));
            sources.choose(Merged::default(), Partition(partition), distance)
        };
        let first: Vec<_> = (0..3).map(|partition| choose(partition, 9).unwrap().0).collect();
        assert_eq!(first, [1, 3, 2]);
        assert_eq!(choose(0, 1), Some(Ordinal(2)));
        assert_eq!(sources.choose(Merged::default(), Partition(0), |_| None), None);
    }
}
