//! Counting the answers of replicas: pure objects that say when enough have come and what the end is.
//!
//! Answers count by distinct replica, never by message, and only for the stamp that they name. The
//! rules are those of `docs/semantics.md` sections 3 and 4; nothing here stamps, sends or waits.

use paravon_model::{Failure, Merged, Ordinal, Outcome, Record, Version};

/// Most replicas of a partition.
const MAX_REPLICAS: usize = 7;

/// The answers of up to [`MAX_REPLICAS`] replicas, in the order of the replica set.
#[derive(Clone, Debug)]
struct Answers<T> {
    replicas: [Option<Ordinal>; MAX_REPLICAS],
    answers: [Option<T>; MAX_REPLICAS],
    count: usize,
}

impl<T> Answers<T> {
    fn of(replicas: &[Ordinal]) -> Self {
        assert!(replicas.len() <= MAX_REPLICAS, "a layout has at most seven replicas");
        let mut known = [None; MAX_REPLICAS];
        for (slot, replica) in known.iter_mut().zip(replicas) {
            *slot = Some(*replica);
        }
        Self { replicas: known, answers: [const { None }; MAX_REPLICAS], count: replicas.len() }
    }

    /// Notes the first answer of `replica`; further ones and strangers change nothing.
    fn add(&mut self, replica: Ordinal, answer: T) {
        let slot = self.replicas.iter().position(|known| *known == Some(replica));
        if let Some(slot) = slot {
            self.answers[slot].get_or_insert(answer);
        }
    }

    fn given(&self) -> impl Iterator<Item = &T> {
        self.answers.iter().flatten()
    }

    fn outstanding(&self) -> usize {
        self.count - self.given().count()
    }
}

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
}

impl WriteTally {
    pub(crate) fn new(replicas: &[Ordinal], needed: usize, stamp: Version) -> Self {
        Self { answers: Answers::of(replicas), needed, stamp, restamped: false }
    }

    /// Begins again under the second stamp; the answers to the first no longer count.
    pub(crate) fn restamp(&mut self, stamp: Version) {
        self.answers.answers = [const { None }; MAX_REPLICAS];
        self.stamp = stamp;
        self.restamped = true;
    }

    pub(crate) fn add(
        &mut self,
        replica: Ordinal,
        stamp: Version,
        answer: Result<Merged, Failure>,
    ) {
        if stamp == self.stamp {
            self.answers.add(replica, answer);
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
        let answered = self.answers.given().filter(|answer| answer.is_ok()).count();
        let majority = self.answers.count / 2 + 1;
        if !self.restamped
            && answered >= self.needed.min(majority)
            && let Some(past) = superseding.max()
        {
            return WriteVerdict::Restamp { past };
        }
        if answered + self.answers.outstanding() >= self.needed {
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
                    && (outcome == Outcome::Refused || self.answers.count == 1) =>
            {
                reason.clone()
            }
            _ => Failure::QuorumTimeout { needed: self.needed, got: self.acks(), outcome },
        }
    }

    /// To the second stamp `superseded` counts as an acknowledgement: that stamp lies above
    /// everything acknowledged before the write began.
    fn acks(&self) -> usize {
        let counts = |answer: &&Result<Merged, Failure>| match answer {
            Ok(Merged::Applied) => true,
            Ok(Merged::Superseded { .. }) => self.restamped,
            Err(_) => false,
        };
        self.answers.given().filter(counts).count()
    }

    /// `Refused` only where every copy sent was answered by a refusal, and none was sent twice.
    fn outcome(&self) -> Outcome {
        let refused = |answer: &Result<Merged, Failure>| matches!(answer, Err(failure) if failure.outcome() == Outcome::Refused);
        let all = self.answers.outstanding() == 0 && self.answers.given().all(refused);
        if all && !self.restamped { Outcome::Refused } else { Outcome::Unknown }
    }
}

/// How a read stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadVerdict {
    /// More answers are needed.
    Pending,
    /// Enough replicas answered; this is the newest of what they hold.
    Done(Option<Record>),
    /// Enough replicas can no longer answer. Never "absent".
    Failed(Failure),
}

/// The answers to one read.
#[derive(Clone, Debug)]
pub(crate) struct ReadTally {
    answers: Answers<Result<Option<Record>, Failure>>,
    needed: usize,
}

impl ReadTally {
    pub(crate) fn new(replicas: &[Ordinal], needed: usize) -> Self {
        Self { answers: Answers::of(replicas), needed }
    }

    pub(crate) fn add(&mut self, replica: Ordinal, answer: Result<Option<Record>, Failure>) {
        self.answers.add(replica, answer);
    }

    pub(crate) fn verdict(&self) -> ReadVerdict {
        let answered = || self.answers.given().filter_map(|answer| answer.as_ref().ok());
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
            Some(failure) if self.answers.count == 1 => failure.clone(),
            _ => Failure::QuorumTimeout {
                needed: self.needed,
                got: self.answers.given().filter(|answer| answer.is_ok()).count(),
                outcome: Outcome::Refused,
            },
        }
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
