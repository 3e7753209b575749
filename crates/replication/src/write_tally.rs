//! Counting the answers to a write: a pure object that says when enough have come and what the end is.
//!
//! The rules are those of `docs/semantics.md` sections 3 and 4; nothing here stamps, sends or waits.
//! **Never:** counts an answer to another stamp than the last, a failure as an answer, or a replica
//! twice.

use paravon_model::{Failure, Merged, Ordinal, Outcome, Version};

use crate::answers::{Answers, Standing, majority};
use crate::mutants::{self, Mutant};

/// How a write stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteVerdict {
    /// More answers are needed.
    Pending,
    /// Enough replicas have the write durably: so many.
    Done {
        /// Replicas that acknowledged.
        acks: usize,
    },
    /// Newer versions stand in the way: move the clock past this one, stamp anew, send again.
    Restamp {
        /// The largest version answered.
        past: Version,
    },
    /// Enough replicas can no longer come together.
    Failed(Failure),
}

/// The answers to one write.
#[derive(Clone, Debug)]
pub(crate) struct WriteTally {
    answers: Answers<Result<Merged, Failure>>,
    needed: usize,
    stamp: Version,
    restamped: bool,
    /// Copies went to replicas of an earlier layout, or under it: what became of them is not known.
    strayed: bool,
    /// Replicas, by place, for which a hint is kept.
    hinted: u8,
    /// Repeated acknowledgements, for the mutant that counts them.
    repeated: usize,
}

impl WriteTally {
    pub(crate) fn new(replicas: &[Ordinal], needed: usize, stamp: Version) -> Self {
        let answers = Answers::of(replicas);
        let (restamped, strayed) = (false, false);
        Self { answers, needed, stamp, restamped, strayed, hinted: 0, repeated: 0 }
    }

    /// The version that the record is sent with.
    pub(crate) fn stamp(&self) -> Version {
        self.stamp
    }

    /// Begins again under the second stamp; the answers to the first no longer count.
    pub(crate) fn restamp(&mut self, stamp: Version) {
        self.answers.void();
        self.stamp = stamp;
        self.restamped = true;
    }

    /// Begins again under another layout; a second stamp already taken stays (`EPOCH_FENCE`).
    pub(crate) fn relayout(&mut self, replicas: &[Ordinal], needed: usize) {
        self.strayed |= (0..self.answers.len()).any(|slot| self.answers.copies(slot) > 0);
        self.answers = Answers::of(replicas);
        self.needed = needed;
        self.hinted = 0;
    }

    pub(crate) fn answers(&self) -> &Answers<Result<Merged, Failure>> {
        &self.answers
    }

    pub(crate) fn answers_mut(&mut self) -> &mut Answers<Result<Merged, Failure>> {
        &mut self.answers
    }

    pub(crate) fn add(
        &mut self,
        replica: Ordinal,
        stamp: Version,
        answer: Result<Merged, Failure>,
    ) {
        if stamp != self.stamp {
            return;
        }
        let repeated = answer.is_ok();
        if self.answers.add(replica, answer).is_none() && repeated {
            self.repeated += 1;
        }
    }

    pub(crate) fn verdict(&self) -> WriteVerdict {
        let acks = self.acks();
        if acks >= self.needed {
            return WriteVerdict::Done { acks };
        }
        let superseding = self.answers.given().filter_map(|answer| match answer {
            Ok(Merged::Superseded { version }) => Some(*version),
            _ => None,
        });
        let counts = |answer: &&Result<_, _>| answer.is_ok() || mutants::is(Mutant::ErrorIsAnswer);
        if !self.restamped
            && self.answers.given().filter(counts).count() >= self.needed.min(self.majority())
            && let Some(past) = superseding.max()
        {
            return WriteVerdict::Restamp { past };
        }
        let answered = self.answers.given().filter(|answer| answer.is_ok()).count();
        if answered + self.answers.outstanding() >= self.needed || self.may_be_refused() {
            return WriteVerdict::Pending;
        }
        WriteVerdict::Failed(self.failure())
    }

    /// What to say when no more answers are waited for.
    pub(crate) fn failure(&self) -> Failure {
        let outcome = self.outcome();
        let reason = self.answers.given().find_map(|answer| answer.as_ref().err());
        match reason {
            // A replica that speaks for all of them knows best what went wrong.
            Some(reason)
                if reason.outcome() == outcome
                    && (outcome == Outcome::Refused || self.answers.len() == 1) =>
            {
                reason.clone()
            }
            _ => Failure::QuorumTimeout { needed: self.needed, got: self.acks(), outcome },
        }
    }

    /// Places of the replicas that are not known to hold this write or a newer one, and for which no
    /// hint is kept. The write is answered; what they are sent until its deadline is for them alone.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = usize> {
        let lacks = |&slot: &usize| !matches!(self.answers.answer(slot), Some(Ok(_)));
        (0..self.answers.len()).filter(lacks).filter(|slot| self.hinted & (1 << slot) == 0)
    }

    /// Places of the replicas to which the record is to be sent.
    pub(crate) fn unsent(&self) -> impl Iterator<Item = usize> {
        let unsent = |&slot: &usize| *self.answers.standing(slot) == Standing::Unasked;
        self.unsettled().filter(unsent)
    }

    /// A hint is kept for the replica at this place.
    pub(crate) fn hinted(&mut self, slot: usize) {
        self.hinted |= 1 << slot;
    }

    fn majority(&self) -> usize {
        majority(self.answers.len())
    }

    /// To the second stamp `superseded` counts as an acknowledgement: that stamp lies above
    /// everything acknowledged before the write began.
    fn acks(&self) -> usize {
        let counts = |answer: &&Result<Merged, Failure>| match answer {
            Ok(Merged::Applied) => true,
            Ok(Merged::Superseded { .. }) => {
                self.restamped || mutants::is(Mutant::FirstSupersededCounts)
            }
            Err(_) => false,
        };
        let acks = self.answers.given().filter(counts).count();
        if mutants::is(Mutant::CountMessages) { acks + self.repeated } else { acks }
    }

    /// `Refused` only where no replica was sent more than one copy and every copy sent was answered
    /// by a refusal. A copy under the first stamp, or an earlier layout, may be stored.
    fn outcome(&self) -> Outcome {
        let harmless = |slot| match (self.answers.copies(slot), self.answers.answer(slot)) {
            (0, None) => true,
            (0 | 1, answer) => refused(answer),
            _ => false,
        };
        let all = (0..self.answers.len()).all(harmless);
        if all && !self.restamped && !self.strayed { Outcome::Refused } else { Outcome::Unknown }
    }

    /// Whether it failed, and the answers on their way decide between refused and unknown. A client
    /// that hears `refused` may simply try again, so that is worth the wait.
    fn may_be_refused(&self) -> bool {
        let hopeful = |slot| {
            self.answers.copies(slot) <= 1
                && self.answers.answer(slot).is_none_or(|answer| refused(Some(answer)))
        };
        self.answers.asking() > 0
            && !self.restamped
            && !self.strayed
            && (0..self.answers.len()).all(hopeful)
    }
}

fn refused(answer: Option<&Result<Merged, Failure>>) -> bool {
    matches!(answer, Some(Err(failure)) if failure.outcome() == Outcome::Refused)
}

#[cfg(test)]
#[path = "write_tally_tests.rs"]
mod tests;
