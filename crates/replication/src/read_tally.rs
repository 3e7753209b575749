//! Counting the answers to a read: a pure object that says when enough have come, what they say, and
//! who must be repaired before and after the answer.
//!
//! The largest version wins, unless an absence at a floor covers it: whoever claims a floor knows that
//! every replica holds all that there is up to it (`NO_RESURRECTION`).
//!
//! **Never:** says "absent" from fewer answers than are needed of each set in force, counts a failure
//! as an answer, or a write-back as held that a replica refused.

use paravon_model::{Consistency, Failure, Hlc, Merged, Ordinal, Outcome, Record, Version};
use paravon_ring::Sets;

use crate::answers::{Answers, Standing};
use crate::mutants::{self, Mutant};
use crate::quorum::{MAX_REPLICAS, Places, majority, needed};

/// How a read stands while it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadVerdict {
    /// More answers are needed.
    Pending,
    /// Enough replicas of every set answered; this is the newest of what they hold.
    Done(Option<Record>),
    /// Of one set enough can no longer answer. Never "absent".
    Failed(Failure),
}

/// How a read stands once its winner is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeldVerdict {
    /// A majority of each set durably holds the winner or something newer (`READS_MONOTONIC`), or a
    /// floor is claimed there.
    Held,
    /// More write-backs must be acknowledged.
    Pending,
    /// A majority of one set can no longer come together.
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
    /// It takes nothing so old any more, and has told anew what it holds.
    Refused,
    Failed,
}

/// The replicas that a read may turn to, of each set that lacks answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted([Places; 2]);

impl Wanted {
    pub(crate) fn is_empty(self) -> bool {
        self.0.iter().all(|places| places.is_empty())
    }

    /// How many sets the replica at this place would help.
    pub(crate) fn helps(self, slot: usize) -> usize {
        self.0.iter().filter(|places| places.contains(slot)).count()
    }
}

/// The answers to one read.
#[derive(Clone, Debug)]
pub(crate) struct ReadTally {
    answers: Answers<Result<Option<Record>, Failure>>,
    /// The floors that were told with the answers.
    floors: [Hlc; MAX_REPLICAS],
    repairs: [Repair; MAX_REPLICAS],
    level: Consistency,
}

/// What a further replica is turned to for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Further {
    /// Answers are missing, even if all come that are on their way.
    Missing,
    /// Answers are late.
    Late,
}

impl ReadTally {
    pub(crate) fn new(sets: Sets<'_>, level: Consistency) -> Self {
        let (floors, repairs) = ([Hlc::ZERO; MAX_REPLICAS], [Repair::Unsent; MAX_REPLICAS]);
        Self { answers: Answers::of(sets), floors, repairs, level }
    }

    /// Begins again under another layout (`EPOCH_FENCE`).
    pub(crate) fn relayout(&mut self, sets: Sets<'_>) {
        self.answers.relayout(sets);
        (self.floors, self.repairs) = ([Hlc::ZERO; MAX_REPLICAS], [Repair::Unsent; MAX_REPLICAS]);
    }

    /// A replica has told what it holds, and its floor: gives its place where that is its first answer
    /// to the read. What it tells instead of taking a write-back replaces that answer, and stands in its
    /// place where it was never asked.
    pub(crate) fn found(
        &mut self,
        replica: Ordinal,
        answer: Result<Option<Record>, Failure>,
        floor: Hlc,
    ) -> Option<usize> {
        let slot = self.answers.slot(replica)?;
        let asked = *self.answers.standing(slot) == Standing::Asked;
        // Of one that was sent both, the answer to the read comes first: it takes them in order, and a
        // link that breaks takes back both. The write-back may be taken all the same.
        let refused = !asked && self.repairs[slot] == Repair::Sent;
        match self.answers.standing(slot) {
            _ if refused && mutants::is(Mutant::RefusedCountsAsHeld) => {
                self.repairs[slot] = Repair::Held;
                return None;
            }
            _ if refused => self.repairs[slot] = Repair::Refused,
            Standing::Answered(_) => return None,
            _ => {}
        }
        let counts = answer.is_ok() && !mutants::is(Mutant::RefusedCountsAsHeld);
        self.floors[slot] = if counts { floor } else { Hlc::ZERO };
        self.answers.put(slot, answer);
        asked.then_some(slot)
    }

    /// The answers say something newer than the winner so far: write-backs of that one count no more.
    pub(crate) fn judge_again(&mut self) {
        for repair in &mut self.repairs {
            if *repair != Repair::Failed {
                *repair = Repair::Unsent;
            }
        }
    }

    pub(crate) fn answers(&self) -> &Answers<Result<Option<Record>, Failure>> {
        &self.answers
    }

    pub(crate) fn answers_mut(&mut self) -> &mut Answers<Result<Option<Record>, Failure>> {
        &mut self.answers
    }

    /// Whether the level promises of any set what a majority of it promises.
    pub(crate) fn reaches_majority(&self) -> bool {
        self.promised().next().is_some()
    }

    /// Whether a set has more replicas than the level asks for.
    pub(crate) fn has_spare(&self) -> bool {
        self.answers.sets().any(|set| set.len() > needed(self.level, set.len()))
    }

    /// The replicas that may be asked and are of a set that lacks answers.
    pub(crate) fn wanted(&self, further: Further) -> Wanted {
        let counted = match further {
            Further::Missing => self.good().union(self.answers.asking()),
            Further::Late => self.good(),
        };
        let unasked =
            || self.answers.places(|slot| matches!(self.answers.standing(slot), Standing::Unasked));
        let mut wanted = Wanted::default();
        for (of_set, set) in wanted.0.iter_mut().zip(self.answers.sets()) {
            if counted.among(set) < needed(self.level, set.len()) {
                *of_set = unasked().common(set);
            }
        }
        wanted
    }

    pub(crate) fn verdict(&self) -> ReadVerdict {
        let answered = || self.answers.given().filter_map(|answer| answer.as_ref().ok());
        if mutants::is(Mutant::AbsentBelowQuorum) && answered().any(Option::is_none) {
            return ReadVerdict::Done(None);
        }
        let good = self.good();
        if self.lacking(good).is_none() {
            let newest = answered().flatten().max_by(|a, b| a.precedence(b));
            let covered = self.covered();
            let newest = newest.filter(|newest| newest.version.hlc > covered);
            return ReadVerdict::Done(newest.cloned());
        }
        if self.lacking(good.union(self.answers.outstanding())).is_none() {
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
                let good = self.good();
                let first = || self.answers.sets().next().unwrap_or_default();
                let set = self.lacking(good).unwrap_or_else(first);
                timeout(needed(self.level, set.len()), good.among(set))
            }
        }
    }

    /// The largest floor at which a replica lacks the key: nothing up to it is left of the key anywhere
    /// but where it is about to go.
    fn covered(&self) -> Hlc {
        let absent = |&slot: &usize| matches!(self.answers.answer(slot), Some(Ok(None)));
        let floors = (0..self.answers.len()).filter(absent).map(|slot| self.floors[slot]);
        floors.max().unwrap_or_default()
    }

    /// Whether a floor is claimed that the winner lies at or below: every replica that was complete when
    /// the floor rose holds it or newer, so a majority of the current set does, and whoever is new merges
    /// it before it is complete.
    pub(crate) fn is_claimed(&self, winner: Version) -> bool {
        self.floors.iter().any(|floor| winner.hlc <= *floor)
    }

    /// Whether a majority of each set holds `winner` or something newer.
    pub(crate) fn held(&self, winner: Version) -> HeldVerdict {
        if self.is_claimed(winner) {
            return HeldVerdict::Held;
        }
        let held = self.answers.places(|slot| self.holds(slot, winner));
        if self.promised().all(|set| has_majority(held, set)) {
            return HeldVerdict::Held;
        }
        let lost = |slot: usize| matches!(self.repairs[slot], Repair::Failed | Repair::Refused);
        let hopeful = |slot| !lost(slot) || held.contains(slot);
        let hopeful = self.answers.places(hopeful);
        if self.promised().all(|set| has_majority(hopeful, set)) {
            return HeldVerdict::Pending;
        }
        HeldVerdict::Failed(self.unheld(winner))
    }

    /// What to say when no more write-backs are waited for: the numbers of a set that lacks some.
    pub(crate) fn unheld(&self, winner: Version) -> Failure {
        let held = self.answers.places(|slot| self.holds(slot, winner));
        let lacking = self.promised().find(|set| !has_majority(held, *set));
        let set = lacking.or_else(|| self.answers.sets().next()).unwrap_or_default();
        timeout(majority(set.len()), held.among(set))
    }

    /// Whether the replica at this place answered with something older than `winner` and has not
    /// been sent it.
    pub(crate) fn is_stale(&self, slot: usize, winner: Version) -> bool {
        matches!(self.answers.answer(slot), Some(Ok(_)))
            && self.repairs[slot] == Repair::Unsent
            && !self.holds(slot, winner)
            && !self.is_claimed(winner)
    }

    /// The replicas of the sets in which write-backs are missing to a majority, even if all are
    /// acknowledged that are under way.
    pub(crate) fn missing(&self, winner: Version) -> Places {
        let sent = |slot| self.holds(slot, winner) || self.repairs[slot] == Repair::Sent;
        self.short_of(self.answers.places(sent))
    }

    /// The replicas of the sets that lack a majority as yet.
    pub(crate) fn unheld_sets(&self, winner: Version) -> Places {
        self.short_of(self.answers.places(|slot| self.holds(slot, winner)))
    }

    fn short_of(&self, holders: Places) -> Places {
        let short = self.promised().filter(|set| !has_majority(holders, *set));
        short.fold(Places::default(), Places::union)
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
        !self.answers.asking().is_empty() || self.repairs.contains(&Repair::Sent)
    }

    /// The sets of which a majority must hold the winner before the answer: those of which the level
    /// reaches one.
    fn promised(&self) -> impl Iterator<Item = Places> {
        let sets = if mutants::is(Mutant::JointReadBackToOneSet) { 1 } else { 2 };
        let promised = |set: &Places| needed(self.level, set.len()) >= majority(set.len());
        self.answers.sets().take(sets).filter(promised)
    }

    /// The first set of which fewer replicas than needed are in `places`.
    fn lacking(&self, places: Places) -> Option<Places> {
        self.answers.sets().find(|set| places.among(*set) < needed(self.level, set.len()))
    }

    fn good(&self) -> Places {
        self.answers.places(|slot| matches!(self.answers.answer(slot), Some(Ok(_))))
    }

    fn holds(&self, slot: usize, winner: Version) -> bool {
        let told = match self.answers.answer(slot) {
            Some(Ok(Some(record))) => record.version >= winner,
            _ => false,
        };
        told || self.repairs[slot] == Repair::Held
    }
}

fn has_majority(places: Places, set: Places) -> bool {
    places.among(set) >= majority(set.len())
}

fn timeout(needed: usize, got: usize) -> Failure {
    Failure::QuorumTimeout { needed, got, outcome: Outcome::Refused }
}

#[cfg(test)]
#[path = "read_tally_tests.rs"]
mod tests;
