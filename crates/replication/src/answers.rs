//! What each replica of one operation was sent and has answered: a fixed table, no allocation.
//!
//! Answers count by distinct replica, never by message. Nothing here sends or waits.

use paravon_model::Ordinal;

use crate::mutants::{self, Mutant};

/// Most replicas of a partition.
pub(crate) const MAX_REPLICAS: usize = 7;

/// The smallest number of which any two sets of `replicas` share one.
pub(crate) fn majority(replicas: usize) -> usize {
    if mutants::is(Mutant::QuorumOffByOne) {
        return (replicas / 2).max(1);
    }
    replicas / 2 + 1
}

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

/// Up to [`MAX_REPLICAS`] replicas, in the order of the replica set.
#[derive(Clone, Debug)]
pub(crate) struct Answers<T> {
    replicas: [Ordinal; MAX_REPLICAS],
    standing: [Standing<T>; MAX_REPLICAS],
    /// Requests sent to each, answered or not.
    copies: [u8; MAX_REPLICAS],
    count: usize,
}

impl<T> Answers<T> {
    pub(crate) fn of(replicas: &[Ordinal]) -> Self {
        assert!(replicas.len() <= MAX_REPLICAS, "a layout has at most seven replicas");
        let mut known = [Ordinal(0); MAX_REPLICAS];
        known[..replicas.len()].copy_from_slice(replicas);
        let standing = [const { Standing::Unasked }; MAX_REPLICAS];
        Self { replicas: known, standing, copies: [0; MAX_REPLICAS], count: replicas.len() }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The replicas, in order.
    pub(crate) fn replicas(&self) -> &[Ordinal] {
        &self.replicas[..self.count]
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
        for standing in &mut self.standing[..self.count] {
            if matches!(standing, Standing::Waits) {
                *standing = Standing::Unasked;
            }
        }
    }

    /// Forgets all answers; what was sent stays sent.
    pub(crate) fn void(&mut self) {
        self.standing = [const { Standing::Unasked }; MAX_REPLICAS];
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
    pub(crate) fn outstanding(&self) -> usize {
        self.count - self.given().count()
    }

    /// Whether one is to be asked, for the first time or again.
    pub(crate) fn has_unasked(&self) -> bool {
        (0..self.count).any(|slot| matches!(self.standing[slot], Standing::Unasked))
    }

    /// Replicas whose answer is on its way.
    pub(crate) fn asking(&self) -> usize {
        let asked = |standing: &&Standing<T>| matches!(standing, Standing::Asked);
        self.standing[..self.count].iter().filter(asked).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_answers_once_and_a_stranger_never() {
        let mut answers = Answers::of(&[Ordinal(1), Ordinal(2)]);
        answers.asked(0);
        assert_eq!((answers.asking(), answers.outstanding()), (1, 2));
        assert_eq!(answers.add(Ordinal(1), 'a'), Some(0));
        assert_eq!(answers.add(Ordinal(1), 'b'), None);
        assert_eq!(answers.add(Ordinal(9), 'c'), None);
        assert!(answers.given().eq(&['a']));
        answers.void();
        assert_eq!((answers.given().count(), answers.copies(0), answers.copies(1)), (0, 1, 0));
    }

    #[test]
    fn only_an_asked_replica_is_asked_again() {
        let mut answers = Answers::of(&[Ordinal(1), Ordinal(2)]);
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
}
