//! Counting the answers to a write: a pure object that says when enough have come and what the end is.
//!
//! The rules are those of `docs/semantics.md` sections 3, 4 and 8; nothing here stamps, sends or waits.
//! **Never:** counts an answer to another stamp than the last, a failure as an answer, or a replica
//! twice in one set; and never takes enough of one set for enough.

use paravon_model::{Consistency, Failure, Merged, Ordinal, Outcome, Version};
use paravon_ring::Sets;

use crate::answers::{Answers, Standing};
use crate::mutants::{self, Mutant};
use crate::quorum::{Places, majority, needed};

/// How a write stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteVerdict {
    /// More answers are needed.
    Pending,
    /// Enough replicas of every set have the write durably.
    Done {
        /// Replicas that acknowledged, of whichever set.
        acks: usize,
    },
    /// Newer versions stand in the way: move the clock past this one, stamp anew, send again.
    Restamp {
        /// The largest version answered.
        past: Version,
    },
    /// In one of the sets enough replicas can no longer come together.
    Failed(Failure),
}

/// The answers to one write.
#[derive(Clone, Debug)]
pub(crate) struct WriteTally {
    answers: Answers<Result<Merged, Failure>>,
    level: Consistency,
    stamp: Version,
    restamped: bool,
    /// Copies went to replicas of an earlier layout, or under it: what became of them is not known.
    strayed: bool,
    /// Replicas for which a hint is kept.
    hinted: Places,
    /// Repeated acknowledgements, for the mutant that counts them.
    repeated: usize,
}

impl WriteTally {
    pub(crate) fn new(sets: Sets<'_>, level: Consistency, stamp: Version) -> Self {
        let (answers, hinted) = (Answers::of(sets), Places::default());
        Self { answers, level, stamp, restamped: false, strayed: false, hinted, repeated: 0 }
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
    pub(crate) fn relayout(&mut self, sets: Sets<'_>) {
        self.strayed |= (0..self.answers.len()).any(|slot| self.answers.copies(slot) > 0);
        self.answers.relayout(sets);
        self.hinted = Places::default();
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
        if self.lacking(acks).is_none() {
            return WriteVerdict::Done { acks: acks.len() };
        }
        if let Some(past) = self.stands_in_the_way() {
            return WriteVerdict::Restamp { past };
        }
        let hopeful = self.answered().union(self.answers.outstanding());
        let possible = |set: Places| hopeful.among(set) >= needed(self.level, set.len());
        if self.answers.sets().all(possible) || self.may_be_refused() {
            return WriteVerdict::Pending;
        }
        WriteVerdict::Failed(self.failure())
    }

    /// The largest version above the first stamp, once enough replicas of every set have answered to
    /// know that nothing acknowledged before the write began lies above it (`ACK_IS_LATEST`).
    fn stands_in_the_way(&self) -> Option<Version> {
        if self.restamped {
            return None;
        }
        let answered = if mutants::is(Mutant::ErrorIsAnswer) {
            self.answers.places(|slot| self.answers.answer(slot).is_some())
        } else {
            self.answered()
        };
        let known = |set: Places| {
            let replicas = set.len();
            answered.among(set) >= needed(self.level, replicas).min(majority(replicas))
        };
        let superseding = self.answers.given().filter_map(|answer| match answer {
            Ok(Merged::Superseded { version } | Merged::BelowFloor { version }) => Some(*version),
            _ => None,
        });
        superseding.max().filter(|_| self.answers.sets().all(known))
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
            _ => self.timeout(outcome),
        }
    }

    /// In the numbers of a set that lacks some.
    fn timeout(&self, outcome: Outcome) -> Failure {
        let acks = self.acks();
        let set = self.lacking(acks).or_else(|| self.answers.sets().next()).unwrap_or_default();
        let (needed, got) = (needed(self.level, set.len()), self.count(acks, set));
        Failure::QuorumTimeout { needed, got, outcome }
    }

    /// Places of the replicas that are not known to hold this write or a newer one, and for which no
    /// hint is kept. The write is answered; what they are sent until its deadline is for them alone.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = usize> {
        let lacks = |&slot: &usize| !matches!(self.answers.answer(slot), Some(Ok(_)));
        (0..self.answers.len()).filter(lacks).filter(|&slot| !self.hinted.contains(slot))
    }

    /// Places of the replicas to which the record is to be sent.
    pub(crate) fn unsent(&self) -> impl Iterator<Item = usize> {
        let unsent = |&slot: &usize| *self.answers.standing(slot) == Standing::Unasked;
        self.unsettled().filter(unsent)
    }

    /// A hint is kept for the replica at this place.
    pub(crate) fn hinted(&mut self, slot: usize) {
        self.hinted.insert(slot);
    }

    /// The first set in which fewer replicas than needed are among `acks`.
    fn lacking(&self, acks: Places) -> Option<Places> {
        self.answers.sets().find(|set| self.count(acks, *set) < needed(self.level, set.len()))
    }

    fn count(&self, acks: Places, set: Places) -> usize {
        let repeated = if mutants::is(Mutant::CountMessages) { self.repeated } else { 0 };
        acks.among(set) + repeated
    }

    fn answered(&self) -> Places {
        self.answers.places(|slot| matches!(self.answers.answer(slot), Some(Ok(_))))
    }

    /// To the second stamp `superseded` counts as an acknowledgement: that stamp lies above
    /// everything acknowledged before the write began.
    fn acks(&self) -> Places {
        let counts = |slot| match self.answers.answer(slot) {
            Some(Ok(Merged::Applied)) => true,
            Some(Ok(Merged::Superseded { .. })) => {
                self.restamped || mutants::is(Mutant::FirstSupersededCounts)
            }
            Some(Ok(Merged::BelowFloor { .. }) | Err(_)) | None => false,
        };
        self.answers.places(counts)
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
        !self.answers.asking().is_empty()
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
