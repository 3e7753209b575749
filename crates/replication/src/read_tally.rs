//! Counting the answers to a read: a pure object that says when enough have come, what they say, and
//! who must be repaired before and after the answer.
//!
//! **Never:** says "absent" from fewer answers than are needed, or counts a failure as an answer.

use paravon_model::{Failure, Merged, Ordinal, Outcome, Record, Version};

use crate::answers::{Answers, MAX_REPLICAS, Standing, majority};
use crate::mutants::{self, Mutant};

/// How a read stands while it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadVerdict {
    /// More answers are needed.
    Pending,
    /// Enough replicas answered; this is the newest of what they hold.
    Done(Option<Record>),
    /// Enough replicas can no longer answer. Never "absent".
    Failed(Failure),
}

/// How a read stands once its winner is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeldVerdict {
    /// A majority durably holds the winner or something newer (`READS_MONOTONIC`).
    Held,
    /// More write-backs must be acknowledged.
    Pending,
    /// A majority can no longer come together.
    Failed(Failure),
}

/// What became of the write-back to one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repair {
    Unsent,
    Sent,
    /// The replica knows another layout and did nothing; to be sent again after a while.
    Waits,
    /// It holds the winner or something newer.
    Held,
    Failed,
}

/// The answers to one read.
#[derive(Clone, Debug)]
pub(crate) struct ReadTally {
    answers: Answers<Result<Option<Record>, Failure>>,
    repairs: [Repair; MAX_REPLICAS],
    needed: usize,
}

impl ReadTally {
    pub(crate) fn new(replicas: &[Ordinal], needed: usize) -> Self {
        Self { answers: Answers::of(replicas), repairs: [Repair::Unsent; MAX_REPLICAS], needed }
    }

    pub(crate) fn answers(&self) -> &Answers<Result<Option<Record>, Failure>> {
        &self.answers
    }

    pub(crate) fn answers_mut(&mut self) -> &mut Answers<Result<Option<Record>, Failure>> {
        &mut self.answers
    }

    /// Whether the level promises what a majority promises.
    pub(crate) fn reaches_majority(&self) -> bool {
        self.needed >= majority(self.answers.len())
    }

    /// How many further replicas must be asked, beside those whose answer may still come.
    pub(crate) fn wanting(&self) -> usize {
        let good = self.answers.given().filter(|answer| answer.is_ok()).count();
        self.needed.saturating_sub(good + self.answers.asking())
    }

    pub(crate) fn verdict(&self) -> ReadVerdict {
        let answered = || self.answers.given().filter_map(|answer| answer.as_ref().ok());
        if mutants::is(Mutant::AbsentBelowQuorum) && answered().any(Option::is_none) {
            return ReadVerdict::Done(None);
        }
        if answered().count() >= self.needed {
            let newest = answered().flatten().max_by(|a, b| a.precedence(b));
            return ReadVerdict::Done(newest.cloned());
        }
        if answered().count() + self.answers.outstanding() >= self.needed {
            return ReadVerdict::Pending;
        }
        ReadVerdict::Failed(self.failure())
    }

    /// What to say when no more answers are waited for.
    pub(crate) fn failure(&self) -> Failure {
        let mut failures = self.answers.given().filter_map(|answer| answer.as_ref().err());
        match failures.next() {
            Some(failure) if self.answers.len() == 1 => failure.clone(),
            _ => {
                let got = self.answers.given().filter(|answer| answer.is_ok()).count();
                timeout(self.needed, got)
            }
        }
    }

    /// Whether a majority holds `winner` or something newer.
    pub(crate) fn held(&self, winner: Version) -> HeldVerdict {
        let majority = majority(self.answers.len());
        let count = |select: &dyn Fn(usize) -> bool| {
            (0..self.answers.len()).filter(|&slot| select(slot)).count()
        };
        let held = count(&|slot| self.holds(slot, winner));
        if held >= majority {
            return HeldVerdict::Held;
        }
        let lost = count(&|slot| self.repairs[slot] == Repair::Failed && !self.holds(slot, winner));
        if self.answers.len() - lost >= majority {
            return HeldVerdict::Pending;
        }
        HeldVerdict::Failed(self.unheld(winner))
    }

    /// What to say when no more write-backs are waited for.
    pub(crate) fn unheld(&self, winner: Version) -> Failure {
        let held = (0..self.answers.len()).filter(|&slot| self.holds(slot, winner)).count();
        timeout(majority(self.answers.len()), held)
    }

    /// Whether the replica at this place answered with something older than `winner` and has not
    /// been sent it.
    pub(crate) fn is_stale(&self, slot: usize, winner: Version) -> bool {
        matches!(self.answers.answer(slot), Some(Ok(_)))
            && self.repairs[slot] == Repair::Unsent
            && !self.holds(slot, winner)
    }

    /// How many write-backs, beside those under way, are missing to a majority.
    pub(crate) fn missing(&self, winner: Version) -> usize {
        let counts = |&slot: &usize| self.holds(slot, winner) || self.repairs[slot] == Repair::Sent;
        let counted = (0..self.answers.len()).filter(counts).count();
        majority(self.answers.len()).saturating_sub(counted)
    }

    /// Places of the replicas that have not told what they hold and have not been sent the winner:
    /// first those that were not even asked.
    pub(crate) fn untold(&self) -> impl Iterator<Item = usize> {
        let untold = |&slot: &usize| {
            self.repairs[slot] == Repair::Unsent
                && !matches!(self.answers.answer(slot), Some(Ok(_)))
        };
        let unasked = |slot: &usize| *self.answers.standing(*slot) == Standing::Unasked;
        let places = || (0..self.answers.len()).filter(untold);
        places().filter(unasked).chain(places().filter(move |slot| !unasked(slot)))
    }

    /// The winner goes to the replica at this place.
    pub(crate) fn repair_sent(&mut self, slot: usize) {
        self.repairs[slot] = Repair::Sent;
    }

    /// The replica has answered a write-back. `Superseded` says that it holds something newer.
    pub(crate) fn repaired(&mut self, replica: Ordinal, answer: &Result<Merged, Failure>) {
        if let Some(slot) = self.answers.slot(replica) {
            self.repairs[slot] = if answer.is_ok() { Repair::Held } else { Repair::Failed };
        }
    }

    /// No answer will come to what was sent there, read or write-back.
    pub(crate) fn unask(&mut self, replica: Ordinal) {
        self.answers.unask(replica);
        if let Some(slot) = self.answers.slot(replica)
            && self.repairs[slot] == Repair::Sent
        {
            self.repairs[slot] = Repair::Unsent;
        }
    }

    /// The replica did nothing and is to be asked again after a while.
    pub(crate) fn postpone(&mut self, replica: Ordinal) {
        self.answers.postpone(replica);
        if let Some(slot) = self.answers.slot(replica)
            && self.repairs[slot] == Repair::Sent
        {
            self.repairs[slot] = Repair::Waits;
        }
    }

    /// The while is over.
    pub(crate) fn ask_postponed(&mut self) {
        self.answers.ask_postponed();
        for repair in &mut self.repairs {
            if *repair == Repair::Waits {
                *repair = Repair::Unsent;
            }
        }
    }

    /// Whether an answer to a read or a write-back may still come.
    pub(crate) fn awaits(&self) -> bool {
        self.answers.asking() > 0 || self.repairs.contains(&Repair::Sent)
    }

    fn holds(&self, slot: usize, winner: Version) -> bool {
        let told = match self.answers.answer(slot) {
            Some(Ok(Some(record))) => record.version >= winner,
            _ => false,
        };
        told || self.repairs[slot] == Repair::Held
    }
}

fn timeout(needed: usize, got: usize) -> Failure {
    Failure::QuorumTimeout { needed, got, outcome: Outcome::Refused }
}

#[cfg(test)]
#[path = "read_tally_tests.rs"]
mod tests;
