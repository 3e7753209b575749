//! What each replica of one operation was sent and has answered: a fixed table over the replica sets in
//! force, without allocation in a stable layout.
//!
//! Answers count by distinct replica, never by message, and a replica of two sets in both. Nothing here
//! sends or waits.

use paravon_model::Ordinal;
use paravon_ring::Sets;

use crate::mutants::{self, Mutant};
use crate::quorum::{MAX_REPLICAS, MAX_SET, Places};
use crate::slots::Slots;

/// How one replica stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing<T> {
    /// To be asked, for the first time or again.
    Unasked,
    /// An answer may come.
    Asked,
    /// It knows another layout and did nothing; to be asked again after a while.
    Waits,
    /// Its first answer.
    Answered(T),
}

/// Up to [`MAX_REPLICAS`] replicas: those of the current set in its order, then those that only the next
/// one has.
#[derive(Clone, Debug)]
pub(crate) struct Answers<T> {
    replicas: [Ordinal; MAX_REPLICAS],
    standing: Slots<Standing<T>>,
    /// Requests sent to each, answered or not.
    copies: [u8; MAX_REPLICAS],
    count: usize,
    current: Places,
    /// While it differs from the current set.
    next: Option<Places>,
}

impl<T> Answers<T> {
    pub(crate) fn of(sets: Sets<'_>) -> Self {
        let most = sets.current.len().max(sets.next.map_or(0, <[_]>::len));
        assert!(most <= MAX_SET, "a replica set has at most seven members");
        let (mut replicas, mut count) = ([Ordinal(0); MAX_REPLICAS], 0);
        for replica in sets.all() {
            replicas[count] = replica;
            count += 1;
        }
        let current = Places::first(sets.current.len());
        let members = |next: &[Ordinal]| {
            (0..count).filter(|&slot| next.contains(&replicas[slot])).collect::<Places>()
        };
        let next = sets.next.map(members);
        let standing = Slots::of(count, || Standing::Unasked);
        Self { replicas, standing, copies: [0; MAX_REPLICAS], count, current, next }
    }

    /// Begins again with the sets of another layout: what was answered under the earlier one is void
    /// (`EPOCH_FENCE`).
    pub(crate) fn relayout(&mut self, sets: Sets<'_>) {
        let earlier = core::mem::replace(self, Self::of(sets));
        if mutants::is(Mutant::OlderAnswersCounted) {
            let Self { replicas, mut standing, count, .. } = earlier;
            for slot in 0..count {
                let answer = core::mem::replace(&mut standing[slot], Standing::Unasked);
                if let Standing::Answered(answer) = answer {
                    self.add(replicas[slot], answer);
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The replicas, in order.
    pub(crate) fn replicas(&self) -> &[Ordinal] {
        &self.replicas[..self.count]
    }

    /// The sets in force: a quorum of each is needed.
    pub(crate) fn sets(&self) -> impl Iterator<Item = Places> + use<T> {
        [Some(self.current), self.next].into_iter().flatten()
    }

    /// The places that `select` chooses.
    pub(crate) fn places(&self, select: impl Fn(usize) -> bool) -> Places {
        (0..self.count).filter(|&slot| select(slot)).collect()
    }

    pub(crate) fn standing(&self, slot: usize) -> &Standing<T> {
        &self.standing[slot]
    }

    /// The place of a replica; none for a stranger.
    pub(crate) fn slot(&self, replica: Ordinal) -> Option<usize> {
        self.replicas().iter().position(|known| *known == replica)
    }

    /// How many copies of the request were sent there.
    pub(crate) fn copies(&self, slot: usize) -> u8 {
        self.copies[slot]
    }

    /// Notes that a copy of the request goes there.
    pub(crate) fn asked(&mut self, slot: usize) {
        self.copies[slot] = self.copies[slot].saturating_add(1);
        self.standing[slot] = Standing::Asked;
    }

    /// No answer will come to what was sent.
    pub(crate) fn unask(&mut self, replica: Ordinal) {
        self.turn(replica, Standing::Unasked);
    }

    /// The replica did nothing and is to be asked again after a while.
    pub(crate) fn postpone(&mut self, replica: Ordinal) {
        self.turn(replica, Standing::Waits);
    }

    fn turn(&mut self, replica: Ordinal, standing: Standing<T>) {
        if let Some(slot) = self.slot(replica)
            && matches!(self.standing[slot], Standing::Asked)
        {
            self.standing[slot] = standing;
        }
    }

    /// The while is over.
    pub(crate) fn ask_postponed(&mut self) {
        for slot in 0..self.count {
            if matches!(self.standing[slot], Standing::Waits) {
                self.standing[slot] = Standing::Unasked;
            }
        }
    }

    /// Forgets all answers; what was sent stays sent.
    pub(crate) fn void(&mut self) {
        self.standing = Slots::of(self.count, || Standing::Unasked);
    }

    /// Notes the first answer of `replica` and gives its place; further ones and strangers change
    /// nothing.
    pub(crate) fn add(&mut self, replica: Ordinal, answer: T) -> Option<usize> {
        let slot = self.slot(replica)?;
        if matches!(self.standing[slot], Standing::Answered(_)) {
            return None;
        }
        self.standing[slot] = Standing::Answered(answer);
        Some(slot)
    }

    /// Notes this answer of the replica at this place, whatever it answered before.
    pub(crate) fn put(&mut self, slot: usize, answer: T) {
        self.standing[slot] = Standing::Answered(answer);
    }

    /// The answer of the replica at this place.
    pub(crate) fn answer(&self, slot: usize) -> Option<&T> {
        match &self.standing[slot] {
            Standing::Answered(answer) => Some(answer),
            _ => None,
        }
    }

    /// All answers, in the order of the replicas.
    pub(crate) fn given(&self) -> impl Iterator<Item = &T> {
        (0..self.count).filter_map(|slot| self.answer(slot))
    }

    /// Replicas that have not answered, asked or not.
    pub(crate) fn outstanding(&self) -> Places {
        self.places(|slot| self.answer(slot).is_none())
    }

    /// Replicas whose answer is on its way.
    pub(crate) fn asking(&self) -> Places {
        self.places(|slot| matches!(self.standing[slot], Standing::Asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Sets<'_> = Sets { current: &[Ordinal(1), Ordinal(2)], next: None };

    #[test]
    fn a_replica_answers_once_and_a_stranger_never() {
        let mut answers = Answers::of(TWO);
        answers.asked(0);
        assert_eq!((answers.asking().len(), answers.outstanding().len()), (1, 2));
        assert_eq!(answers.add(Ordinal(1), 'a'), Some(0));
        assert_eq!(answers.add(Ordinal(1), 'b'), None);
        assert_eq!(answers.add(Ordinal(9), 'c'), None);
        assert!(answers.given().eq(&['a']));
        answers.void();
        assert_eq!((answers.given().count(), answers.copies(0), answers.copies(1)), (0, 1, 0));
    }

    #[test]
    fn only_an_asked_replica_is_asked_again() {
        let mut answers = Answers::of(TWO);
        answers.asked(0);
        answers.asked(1);
        answers.add(Ordinal(1), 'a');
        answers.unask(Ordinal(1));
        answers.postpone(Ordinal(2));
        assert_eq!(answers.standing(0), &Standing::Answered('a'));
        assert_eq!(answers.standing(1), &Standing::Waits);
        answers.ask_postponed();
        assert_eq!(answers.standing(1), &Standing::Unasked);
    }

    #[test]
    fn a_member_of_both_sets_has_one_place_in_both() {
        let (current, next) = ([1, 2, 3].map(Ordinal), [4, 3, 1].map(Ordinal));
        let answers = Answers::<()>::of(Sets { current: &current, next: Some(&next) });
        assert_eq!(answers.replicas(), [1, 2, 3, 4].map(Ordinal));
        assert!(answers.sets().eq([Places::first(3), Places::from_iter([0, 2, 3])]));
        let (current, next) = ([1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14]);
        let (current, next) = (current.map(Ordinal), next.map(Ordinal));
        let mut answers = Answers::of(Sets { current: &current, next: Some(&next) });
        assert_eq!((answers.len(), answers.add(Ordinal(14), 'a')), (14, Some(13)));
    }

    #[test]
    fn another_layout_voids_what_was_answered_and_sent() {
        let mut answers = Answers::of(TWO);
        answers.asked(0);
        answers.add(Ordinal(1), 'a');
        let next = [Ordinal(1)];
        answers.relayout(Sets { current: TWO.current, next: Some(&next) });
        assert_eq!((answers.outstanding().len(), answers.copies(0)), (2, 0));
        assert_eq!(answers.sets().count(), 2);
    }
}
