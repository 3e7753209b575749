//! What differed from a peer's, and since when it is known to: partitions by their totals, and sixteenths
//! of those whose totals do not stay the same.
//!
//! Most differences are writes that are under way. What differs in two comparisons that are further
//! apart than any request lasts is none of these. A partition that is off by the same sum in two rounds is
//! off by the same records: it waits for its time, and its sums are looked at then. Where the sum changes
//! from round to round, writes come and go beside what may differ for good, and only its sixteenths tell.
//! **Never:** has anything pulled from a partition, or from a sixteenth of one that changes, that was seen to
//! differ once.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_ring::Partition;

use crate::mutants::{self, Mutant};
use crate::sixteenths::Sixteenths;

/// Partitions, and sixteenths, that are remembered for one peer and shard; a further one is remembered when
/// there is room.
const MAX_SUSPECTS: usize = 16 * 1024;

/// The differences from one peer, each with the end of the comparison that saw it first.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    totals: BTreeMap<Partition, Total>,
    sixteenths: BTreeMap<(Partition, u8), Duration>,
}

/// A partition whose totals differ.
#[derive(Clone, Copy, Debug)]
struct Total {
    /// What the peer's was more than this node's when they were compared last.
    by: u128,
    /// When it was seen first; anew with each change until it stays.
    since: Duration,
    /// Whether two comparisons, with none between them, found it the same since then. What it changes by
    /// after that is taken for mending: part of it may have come from others.
    stays: bool,
}

/// What a comparison of totals says about the sums of a partition in which they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It may have lasted long enough: they are to be looked at.
    Due,
    /// It is no longer what it was: they are to be looked at.
    Changed,
    /// Looking at them tells nothing new yet.
    Waits,
}

impl Suspects {
    /// A comparison that lasted from `began` to `ended` found the peer's total of the partition to be so
    /// much more than this node's.
    pub(crate) fn see(
        &mut self,
        partition: Partition,
        by: u128,
        began: Duration,
        ended: Duration,
    ) -> Sight {
        if mutants::is(Mutant::ListedAtFirstSight) {
            return Sight::Due;
        }
        let known = self.totals.len();
        let waits = match self.totals.get_mut(&partition) {
            Some(total) => {
                total.stays |= total.by == by;
                total.by = by;
                if !total.stays {
                    total.since = ended;
                }
                total.stays
            }
            None if known < MAX_SUSPECTS => {
                self.totals.insert(partition, Total { by, since: ended, stays: false });
                true
            }
            None => false,
        };
        match waits {
            _ if self.may_be_due(partition, began) => Sight::Due,
            true => Sight::Waits,
            false => Sight::Changed,
        }
    }

    /// A comparison that lasted from `began` to `ended` found these different in the partition, and no
    /// others: gives those that were different a request's time before it began.
    pub(crate) fn look(
        &mut self,
        partition: Partition,
        differing: Sixteenths,
        began: Duration,
        ended: Duration,
    ) -> Sixteenths {
        let seen = self.of(partition).map(|(number, _)| number);
        let gone: Vec<_> = seen.filter(|number| !differing.contains(*number)).collect();
        for number in gone {
            self.sixteenths.remove(&(partition, number));
        }
        if differing.is_empty() {
            self.begin_anew(partition, ended);
        } else if self.has_lasted(partition, began) || mutants::is(Mutant::ListedAtFirstSight) {
            return differing;
        }
        let mut due = Sixteenths::default();
        for number in differing.iter() {
            let known = self.sixteenths.len();
            match self.sixteenths.get(&(partition, number)) {
                Some(seen) if is_due(*seen, began) => due.insert(number),
                None if known < MAX_SUSPECTS => {
                    self.sixteenths.insert((partition, number), ended);
                }
                _ => {}
            }
        }
        due
    }

    /// What the peer's totals were more than this node's when they were compared last, where they differed.
    pub(crate) fn differences(&self) -> impl Iterator<Item = (Partition, u128)> {
        self.totals.iter().map(|(partition, total)| (*partition, total.by))
    }

    /// These were pulled by `now`: what differs after that is new.
    pub(crate) fn forget(&mut self, partition: Partition, sixteenths: Sixteenths, now: Duration) {
        for number in sixteenths.iter() {
            self.sixteenths.remove(&(partition, number));
        }
        self.begin_anew(partition, now);
    }

    /// Whatever its total is off by next is new.
    fn begin_anew(&mut self, partition: Partition, now: Duration) {
        if let Some(total) = self.totals.get_mut(&partition) {
            (total.since, total.stays) = (now, false);
        }
    }

    /// The whole partition is equal.
    pub(crate) fn clear(&mut self, partition: Partition) {
        self.totals.remove(&partition);
        let seen: Vec<_> = self.of(partition).map(|(number, _)| number).collect();
        for number in seen {
            self.sixteenths.remove(&(partition, number));
        }
    }

    /// Keeps those of some partitions.
    pub(crate) fn retain(&mut self, keep: impl Fn(Partition) -> bool) {
        self.totals.retain(|partition, _| keep(*partition));
        self.sixteenths.retain(|(partition, _), _| keep(*partition));
    }

    pub(crate) fn partitions(&self) -> BTreeSet<Partition> {
        let of_sixteenths = self.sixteenths.keys().map(|(partition, _)| *partition);
        self.totals.keys().copied().chain(of_sixteenths).collect()
    }

    /// Whether a look that begins now would find any of the partition due.
    fn may_be_due(&self, partition: Partition, now: Duration) -> bool {
        self.has_lasted(partition, now) || self.of(partition).any(|(_, seen)| is_due(seen, now))
    }

    /// Whether all that differs in it is due to a look that begins now.
    fn has_lasted(&self, partition: Partition, now: Duration) -> bool {
        let total = self.totals.get(&partition);
        total.is_some_and(|total| total.stays && is_due(total.since, now))
    }

    fn of(&self, partition: Partition) -> impl Iterator<Item = (u8, Duration)> {
        let range = self.sixteenths.range((partition, 0)..=(partition, u8::MAX));
        range.map(|((_, number), seen)| (*number, *seen))
    }
}

fn is_due(seen: Duration, began: Duration) -> bool {
    seen + MAX_REQUEST_TIMEOUT <= began
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Partition = Partition(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn sixteenths(numbers: &[u8]) -> Sixteenths {
        let mut sixteenths = Sixteenths::default();
        numbers.iter().for_each(|&number| sixteenths.insert(number));
        sixteenths
    }

    fn look(suspects: &mut Suspects, numbers: &[u8], began: Duration) -> Vec<u8> {
        let due = suspects.look(ONE, sixteenths(numbers), began, began + SECOND);
        due.iter().collect()
    }

    #[test]
    fn what_differs_again_a_request_later_is_due_until_it_was_pulled() {
        let mut suspects = Suspects::default();
        suspects.look(Partition(2), sixteenths(&[4]), SECOND, SECOND);
        assert_eq!(look(&mut suspects, &[0, 4], SECOND), []);
        assert_eq!(look(&mut suspects, &[0, 4, 9], SECOND + MAX_REQUEST_TIMEOUT), []);
        assert!(!suspects.may_be_due(ONE, SECOND + MAX_REQUEST_TIMEOUT));
        let late = SECOND * 2 + MAX_REQUEST_TIMEOUT;
        assert!(suspects.may_be_due(ONE, late) && !suspects.may_be_due(Partition(3), late));
        assert_eq!(look(&mut suspects, &[0, 4, 9], late), [0, 4]);
        suspects.forget(ONE, sixteenths(&[0]), late);
        assert_eq!(look(&mut suspects, &[0, 4, 9], late + SECOND * 2), [4]);
        assert_eq!(suspects.partitions(), [ONE, Partition(2)].into());
    }

    #[test]
    fn what_was_equal_meanwhile_begins_anew() {
        let mut suspects = Suspects::default();
        assert_eq!(look(&mut suspects, &[3, 5], SECOND), []);
        assert_eq!(look(&mut suspects, &[5], SECOND * 11), []);
        assert_eq!(look(&mut suspects, &[3, 5], SECOND * 99), [5]);
        suspects.clear(ONE);
        assert!(suspects.partitions().is_empty());
        assert_eq!(look(&mut suspects, &[3, 5], SECOND * 199), []);
        suspects.retain(|partition| partition != ONE);
        assert!(suspects.partitions().is_empty());
    }

    #[test]
    fn what_differs_by_the_same_is_looked_at_when_it_is_due_and_all_of_it_is() {
        let mut suspects = Suspects::default();
        let mut see = |began| suspects.see(ONE, 7, began, began + SECOND);
        let late = SECOND * 2 + MAX_REQUEST_TIMEOUT;
        assert_eq!([see(SECOND), see(SECOND * 11), see(late - SECOND)], [Sight::Waits; 3]);
        assert_eq!([see(late), see(late + SECOND)], [Sight::Due; 2], "until it was pulled");
        assert_eq!(suspects.differences().collect::<Vec<_>>(), [(ONE, 7)]);
        let all = sixteenths(&[3, 5]);
        assert!(suspects.look(ONE, all, late - SECOND, late).is_empty(), "it was not due then");
        assert_eq!(suspects.look(ONE, all, late, late), all);
        suspects.forget(ONE, all, late);
        assert_eq!(suspects.see(ONE, 7, late + SECOND, late + SECOND), Sight::Waits);
        assert_eq!(suspects.see(ONE, 7, late * 2, late * 2), Sight::Due);
    }

    /// Of three that differ from each other each pulls from both others: what is left waits no longer.
    #[test]
    fn what_is_left_of_a_difference_that_stayed_is_as_old_as_that() {
        let mut suspects = Suspects::default();
        let mut see = |by, began| suspects.see(ONE, by, began, began);
        assert_eq!([see(7, SECOND), see(7, SECOND * 11)], [Sight::Waits; 2]);
        assert_eq!([see(8, SECOND * 21), see(9, SECOND * 31)], [Sight::Waits; 2]);
        let late = SECOND + MAX_REQUEST_TIMEOUT;
        assert_eq!([see(6, late - SECOND), see(5, late)], [Sight::Waits, Sight::Due]);
        let all = sixteenths(&[3, 5]);
        assert_eq!(suspects.look(ONE, all, late, late), all);
        suspects.forget(ONE, all, late);
        assert_eq!(suspects.see(ONE, 4, late + SECOND, late + SECOND), Sight::Changed);
        assert!(suspects.look(ONE, all, late + SECOND, late + SECOND).is_empty());
    }

    #[test]
    fn what_is_found_equal_when_it_is_due_begins_anew() {
        let mut suspects = Suspects::default();
        assert_eq!(look(&mut suspects, &[3], Duration::ZERO), []);
        let mut see = |by, began| suspects.see(ONE, by, began, began);
        let late = SECOND + MAX_REQUEST_TIMEOUT;
        assert_eq!([see(7, SECOND), see(7, SECOND * 11), see(8, late)].last(), Some(&Sight::Due));
        assert_eq!(look(&mut suspects, &[], late), []);
        assert_eq!(suspects.see(ONE, 9, late + SECOND, late + SECOND), Sight::Changed);
        assert_eq!(look(&mut suspects, &[3], late + SECOND), []);
    }

    /// Else writes that come and go would hide it for ever.
    #[test]
    fn what_differs_for_good_beside_writes_that_come_and_go_is_found_by_its_sixteenth() {
        let mut suspects = Suspects::default();
        let mut found = Vec::new();
        for round in 0..8_u8 {
            let began = SECOND * 10 * u32::from(round);
            let (by, differing) = (u128::from(round), sixteenths(&[4, 6 + round]));
            let sight = suspects.see(ONE, by, began, began);
            assert_eq!(sight == Sight::Waits, round == 0, "{round}");
            if sight != Sight::Waits {
                found.extend(suspects.look(ONE, differing, began, began).iter());
            }
        }
        assert_eq!(found, [4]);
    }

    #[test]
    fn what_changes_is_looked_at_and_begins_anew() {
        let mut suspects = Suspects::default();
        let late = SECOND + MAX_REQUEST_TIMEOUT;
        let soon = SECOND * 11;
        assert_eq!(suspects.see(ONE, 7, SECOND, SECOND), Sight::Waits);
        assert_eq!(suspects.see(ONE, 8, soon, soon), Sight::Changed);
        assert_eq!(suspects.see(ONE, 8, late, late), Sight::Waits);
        suspects.clear(ONE);
        assert_eq!(suspects.see(ONE, 8, late * 3, late * 3), Sight::Waits);
        suspects.retain(|partition| partition != ONE);
        assert!(suspects.differences().next().is_none() && suspects.partitions().is_empty());
    }

    #[test]
    fn no_more_than_a_limit_are_remembered() {
        let mut suspects = Suspects::default();
        let all = sixteenths(&(0..16).collect::<Vec<_>>());
        for number in 0..2000 {
            suspects.look(Partition(number), all, SECOND, SECOND);
        }
        assert_eq!(suspects.sixteenths.len(), MAX_SUSPECTS);
        let sights = (0..20_000).map(|it| suspects.see(Partition(it), 1, SECOND, SECOND));
        let waits = sights.filter(|sight| *sight == Sight::Waits).count();
        assert_eq!((waits, suspects.totals.len()), (MAX_SUSPECTS, MAX_SUSPECTS));
    }
}
