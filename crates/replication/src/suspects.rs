//! Sixteenths of partitions that differed from a peer's, and since when they are known to.
//!
//! Most differences are writes that are under way. What differs in two comparisons that are further
//! apart than any request lasts is none of these. **Never:** calls a difference due that was seen once.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_ring::Partition;

use crate::mutants::{self, Mutant};
use crate::sixteenths::Sixteenths;

/// Sixteenths that are remembered for one peer; a further one is remembered when there is room.
const MAX_SUSPECTS: usize = 16 * 1024;

/// The differences from one peer, each with the end of the comparison that saw it first.
#[derive(Debug, Default)]
pub(crate) struct Suspects(BTreeMap<(Partition, u8), Duration>);

impl Suspects {
    /// A comparison that lasted from `began` to `ended` found these different in the partition, and no
    /// others: gives those that were different a request's time before it began.
    pub(crate) fn look(
        &mut self,
        partition: Partition,
        differing: Sixteenths,
        began: Duration,
        ended: Duration,
    ) -> Sixteenths {
        if mutants::is(Mutant::ListedAtFirstSight) {
            return differing;
        }
        let seen = self.of(partition).map(|(number, _)| number);
        let gone: Vec<_> = seen.filter(|number| !differing.contains(*number)).collect();
        for number in gone {
            self.0.remove(&(partition, number));
        }
        let mut due = Sixteenths::default();
        for number in differing.iter() {
            let known = self.0.len();
            match self.0.get(&(partition, number)) {
                Some(seen) if is_due(*seen, began) => due.insert(number),
                None if known < MAX_SUSPECTS => {
                    self.0.insert((partition, number), ended);
                }
                _ => {}
            }
        }
        due
    }

    /// Whether another look that begins now would find one of the partition due.
    pub(crate) fn may_be_due(&self, partition: Partition, now: Duration) -> bool {
        self.of(partition).any(|(_, seen)| is_due(seen, now))
    }

    /// These were pulled: what differs after that is new.
    pub(crate) fn forget(&mut self, partition: Partition, sixteenths: Sixteenths) {
        for number in sixteenths.iter() {
            self.0.remove(&(partition, number));
        }
    }

    /// The whole partition is equal.
    pub(crate) fn clear(&mut self, partition: Partition) {
        let seen: Vec<_> = self.of(partition).map(|(number, _)| number).collect();
        for number in seen {
            self.0.remove(&(partition, number));
        }
    }

    /// Keeps those of some partitions.
    pub(crate) fn retain(&mut self, keep: impl Fn(Partition) -> bool) {
        self.0.retain(|(partition, _), _| keep(*partition));
    }

    pub(crate) fn partitions(&self) -> BTreeSet<Partition> {
        self.0.keys().map(|(partition, _)| *partition).collect()
    }

    fn of(&self, partition: Partition) -> impl Iterator<Item = (u8, Duration)> {
        let range = self.0.range((partition, 0)..=(partition, u8::MAX));
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
        suspects.forget(ONE, sixteenths(&[0]));
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
    fn no_more_than_a_limit_are_remembered() {
        let mut suspects = Suspects::default();
        let all = sixteenths(&(0..16).collect::<Vec<_>>());
        for number in 0..2000 {
            suspects.look(Partition(number), all, SECOND, SECOND);
        }
        assert_eq!(suspects.0.len(), MAX_SUSPECTS);
    }
}
