//! Joining, seen from a member: wishes that wait are taken together, every member says that it holds
//! no record, and the council decides.
//!
//! **Never:** proposes a change of the members before all of them have answered that they are empty:
//! this version moves no records.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{ChangeId, Document, JoinRefusal, JoinRequest, NodeId, Ordinal};

use super::change::{Change, contains};
use super::random::Random;

/// How long wishes gather.
const GATHER: Duration = Duration::from_millis(300);

/// How often members that have not answered are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// How long members have to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How long deciding is tried.
const DECIDE: Duration = Duration::from_secs(10);

/// Time before the next ballot of the same node, and as much again at random, so that two do not
/// overtake each other for ever. It doubles, up to the second one.
const BACK_OFF: Duration = Duration::from_millis(200);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(2);

/// How many join in one change.
const MAX_TOGETHER: usize = 16;

/// How many wait.
const MAX_WAITING: usize = 64;

/// Wishes to join at one member, and what is done about them.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// Those of the next change, by name.
    waiting: BTreeMap<NodeId, JoinRequest>,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Gathering {
        until: Duration,
    },
    Asking(Asking),
    Deciding(Deciding),
}

#[derive(Debug)]
struct Asking {
    /// Names this round of questions.
    round: ChangeId,
    requests: Vec<JoinRequest>,
    empty: BTreeSet<Ordinal>,
    next_ask: Duration,
    until: Duration,
}

#[derive(Debug)]
struct Deciding {
    requests: Vec<JoinRequest>,
    /// Changes that votes were asked for.
    voted_on: BTreeSet<ChangeId>,
    next_ballot: Duration,
    back_off: Duration,
    until: Duration,
}

/// What a member does about wishes to join.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IntakeStep {
    /// Ask these members whether they are empty.
    Ask { round: ChangeId, whom: Vec<NodeId> },
    /// Begin a ballot for this.
    Propose(Change),
    /// These are members already, or were refused before any ballot: tell them.
    Done(Vec<(JoinRequest, Outcome)>),
    /// Deciding about these has ended: give up the ballot under way, and tell them.
    Ended(Vec<(JoinRequest, Outcome)>),
}

/// What has become of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The node is a member.
    Joined,
    /// It will not become one by this change.
    Refused(JoinRefusal),
    /// The council was asked for votes: somebody else may yet see it decided.
    MayStillBe,
}

impl Intake {
    /// A node wants to join. Answers at once where that is already decided.
    pub(super) fn wish(
        &mut self,
        now: Duration,
        document: &Document,
        request: JoinRequest,
    ) -> Option<IntakeStep> {
        if let Some(result) = result(document, &request) {
            return Some(IntakeStep::Done([(request, result)].into()));
        }
        let is_under_way = match &self.stage {
            Stage::Asking(Asking { requests, .. }) | Stage::Deciding(Deciding { requests, .. }) => {
                requests.contains(&request)
            }
            Stage::Idle | Stage::Gathering { .. } => false,
        };
        if !is_under_way && self.waiting.len() < MAX_WAITING {
            self.waiting.insert(request.node_id.clone(), request);
        }
        if matches!(self.stage, Stage::Idle) && !self.waiting.is_empty() {
            self.stage = Stage::Gathering { until: now.saturating_add(GATHER) };
        }
        None
    }

    /// A member has said that it is empty.
    pub(super) fn heard_empty(&mut self, round: ChangeId, member: Ordinal) {
        if let Stage::Asking(asking) = &mut self.stage
            && asking.round == round
        {
            asking.empty.insert(member);
        }
    }

    /// A member has said that it holds records, to this question or before.
    pub(super) fn heard_records(&mut self, now: Duration, member: Ordinal) -> Option<IntakeStep> {
        let requests = match &mut self.stage {
            Stage::Asking(Asking { requests, .. }) | Stage::Deciding(Deciding { requests, .. }) => {
                core::mem::take(requests)
            }
            Stage::Idle | Stage::Gathering { .. } => return None,
        };
        Some(self.refuse(now, requests, JoinRefusal::HoldsRecords { member }))
    }

    /// What is to be done now.
    pub(super) fn tick(
        &mut self,
        now: Duration,
        document: &Document,
        random: &mut Random,
    ) -> Option<IntakeStep> {
        match &mut self.stage {
            Stage::Idle => None,
            Stage::Gathering { until } if now < *until => None,
            Stage::Gathering { .. } => {
                self.begin_asking(now, random.change());
                self.tick_asking(now, document)
            }
            Stage::Asking(_) => self.tick_asking(now, document),
            Stage::Deciding(_) => self.tick_deciding(now, document, random),
        }
    }

    /// A new round of questions, by a name of its own: an answer to an earlier one says nothing now.
    fn begin_asking(&mut self, now: Duration, round: ChangeId) {
        let mut requests = Vec::new();
        while requests.len() < MAX_TOGETHER
            && let Some((_, request)) = self.waiting.pop_first()
        {
            requests.push(request);
        }
        if requests.is_empty() {
            self.stage = Stage::Idle;
            return;
        }
        let until = now.saturating_add(ANSWER);
        let empty = BTreeSet::new();
        self.stage = Stage::Asking(Asking { round, requests, empty, next_ask: now, until });
    }

    fn tick_asking(&mut self, now: Duration, document: &Document) -> Option<IntakeStep> {
        let Stage::Asking(asking) = &mut self.stage else { return None };
        let missing =
            document.current.iter().filter(|member| !asking.empty.contains(&member.ordinal));
        let whom: Vec<NodeId> = missing.map(|member| member.node_id.clone()).collect();
        if whom.is_empty() {
            let requests = core::mem::take(&mut asking.requests);
            let until = now.saturating_add(DECIDE);
            self.stage = Stage::Deciding(Deciding {
                requests,
                voted_on: BTreeSet::new(),
                next_ballot: now,
                back_off: BACK_OFF,
                until,
            });
            return None;
        }
        if now >= asking.until {
            let requests = core::mem::take(&mut asking.requests);
            return Some(self.refuse(now, requests, JoinRefusal::NoMajority));
        }
        if now < asking.next_ask {
            return None;
        }
        asking.next_ask = now.saturating_add(ASK_AGAIN);
        Some(IntakeStep::Ask { round: asking.round, whom })
    }

    fn tick_deciding(
        &mut self,
        now: Duration,
        document: &Document,
        random: &mut Random,
    ) -> Option<IntakeStep> {
        let Stage::Deciding(deciding) = &mut self.stage else { return None };
        let is_done = |request: &JoinRequest| result(document, request).is_some();
        if deciding.requests.iter().all(is_done) {
            let requests = core::mem::take(&mut deciding.requests);
            let none = Outcome::MayStillBe;
            return Some(self.end(now, requests, |r| result(document, r).unwrap_or(none)));
        }
        if now >= deciding.until {
            let requests = core::mem::take(&mut deciding.requests);
            let refused = Outcome::Refused(JoinRefusal::NoMajority);
            return Some(self.end(now, requests, |r| result(document, r).unwrap_or(refused)));
        }
        if now < deciding.next_ballot {
            return None;
        }
        let wait = deciding.back_off.saturating_add(random.up_to(deciding.back_off));
        deciding.next_ballot = now.saturating_add(wait);
        deciding.back_off = deciding.back_off.saturating_mul(2).min(LONGEST_BACK_OFF);
        Some(IntakeStep::Propose(Change::AddMembers(deciding.requests.clone())))
    }

    /// The council is asked to vote for this document; which of the wishes nobody may call refused
    /// from now on, each told once.
    pub(super) fn asks_votes_for(&mut self, value: &Document) -> Vec<JoinRequest> {
        let Stage::Deciding(deciding) = &mut self.stage else { return Vec::new() };
        let voted_on = &mut deciding.voted_on;
        let is_new = |request: &&JoinRequest| {
            contains(value, request.change) && voted_on.insert(request.change)
        };
        deciding.requests.iter().filter(is_new).cloned().collect()
    }

    /// Somebody else's change was decided: this node's is derived anew from that, at once.
    pub(super) fn document_changed(&mut self, now: Duration) {
        match &mut self.stage {
            Stage::Deciding(deciding) => deciding.next_ballot = now,
            Stage::Asking(asking) => asking.next_ask = now,
            Stage::Idle | Stage::Gathering { .. } => {}
        }
    }

    fn refuse(
        &mut self,
        now: Duration,
        requests: Vec<JoinRequest>,
        refusal: JoinRefusal,
    ) -> IntakeStep {
        self.end(now, requests, |_| Outcome::Refused(refusal))
    }

    /// Ends the round; those that came meanwhile go together next.
    fn end(
        &mut self,
        now: Duration,
        requests: Vec<JoinRequest>,
        result: impl Fn(&JoinRequest) -> Outcome,
    ) -> IntakeStep {
        let next = if self.waiting.is_empty() {
            Stage::Idle
        } else {
            Stage::Gathering { until: now.saturating_add(GATHER) }
        };
        let ended = core::mem::replace(&mut self.stage, next);
        let told = requests.into_iter().map(|request| {
            let outcome = result(&request);
            (request, outcome)
        });
        let Stage::Deciding(Deciding { voted_on, .. }) = ended else {
            return IntakeStep::Done(told.collect());
        };
        let told = told.map(|(request, outcome)| match outcome {
            Outcome::Refused(JoinRefusal::NoMajority | JoinRefusal::HoldsRecords { .. })
                if voted_on.contains(&request.change) =>
            {
                (request, Outcome::MayStillBe)
            }
            outcome => (request, outcome),
        });
        IntakeStep::Ended(told.collect())
    }

    /// Whether the council is asked.
    #[cfg(test)]
    pub(super) fn is_deciding(&self) -> bool {
        matches!(self.stage, Stage::Deciding(_))
    }

    /// The earliest moment at which a tick has something to do.
    pub(super) fn next_wake(&self) -> Duration {
        match &self.stage {
            Stage::Idle => Duration::MAX,
            Stage::Gathering { until } => *until,
            Stage::Asking(asking) => asking.next_ask.min(asking.until),
            Stage::Deciding(deciding) => deciding.next_ballot.min(deciding.until),
        }
    }
}

/// What has become of a wish, where the document tells.
fn result(document: &Document, request: &JoinRequest) -> Option<Outcome> {
    if contains(document, request.change) {
        return Some(Outcome::Joined);
    }
    let taken = document.member_named(&request.node_id)?;
    Some(Outcome::Refused(JoinRefusal::NameTaken { member: taken.ordinal }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::worlds::{document_of, join_request, name};

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn intake_of(wishes: &[(&str, u128)], document: &Document) -> Intake {
        let mut intake = Intake::default();
        for &(text, change) in wishes {
            assert_eq!(intake.wish(at(0), document, join_request(text, change)), None);
        }
        intake
    }

    fn asked(step: Option<IntakeStep>) -> (ChangeId, Vec<NodeId>) {
        let Some(IntakeStep::Ask { round, whom }) = step else { panic!("{step:?}") };
        (round, whom)
    }

    #[test]
    fn an_answer_to_an_earlier_round_does_not_count() {
        let document = document_of(&["a"]);
        let mut random = Random::new(1);
        let mut intake = intake_of(&[("x", 7)], &document);
        let (first, _) = asked(intake.tick(at(300), &document, &mut random));
        intake.tick(at(5300), &document, &mut random);
        intake.wish(at(6000), &document, join_request("x", 7));
        let (second, _) = asked(intake.tick(at(6300), &document, &mut random));
        assert_ne!(first, second, "it is the same wish again");
        intake.heard_empty(first, Ordinal(1));
        assert_eq!(intake.tick(at(6400), &document, &mut random), None);
        assert!(!intake.is_deciding());
    }

    #[test]
    fn those_that_come_together_join_together_once_all_are_empty() {
        let document = document_of(&["a", "b"]);
        let mut random = Random::new(1);
        let mut intake = intake_of(&[("x", 7), ("y", 8)], &document);
        assert_eq!(intake.tick(at(299), &document, &mut random), None);
        let (round, whom) = asked(intake.tick(at(300), &document, &mut random));
        assert_eq!(whom, [name("a"), name("b")]);
        intake.heard_empty(round, Ordinal(1));
        intake.heard_empty(ChangeId(6), Ordinal(2));
        let ask = IntakeStep::Ask { round, whom: [name("b")].into() };
        assert_eq!(intake.tick(at(600), &document, &mut random), Some(ask), "b said nothing yet");
        intake.wish(at(610), &document, join_request("z", 9));
        intake.heard_empty(round, Ordinal(2));
        intake.tick(at(620), &document, &mut random);
        let requests: Vec<JoinRequest> = [join_request("x", 7), join_request("y", 8)].into();
        let both = Change::AddMembers(requests.clone());
        let proposed = intake.tick(at(620), &document, &mut random);
        assert_eq!(proposed, Some(IntakeStep::Propose(both.clone())));
        let decided = both.successor(&document).expect("they join");
        let done = intake.tick(at(630), &decided, &mut random);
        let told = requests.into_iter().map(|request| (request, Outcome::Joined)).collect();
        assert_eq!(done, Some(IntakeStep::Ended(told)));
        assert_eq!(intake.next_wake(), at(930), "z goes next");
    }

    #[test]
    fn a_member_with_records_or_one_that_is_silent_ends_it() {
        let document = document_of(&["a"]);
        let mut random = Random::new(1);
        let mut intake = intake_of(&[("x", 7)], &document);
        intake.tick(at(300), &document, &mut random);
        let refused = Outcome::Refused(JoinRefusal::HoldsRecords { member: Ordinal(1) });
        let done = IntakeStep::Done([(join_request("x", 7), refused)].into());
        assert_eq!(intake.heard_records(at(310), Ordinal(1)), Some(done));
        assert_eq!(intake.next_wake(), Duration::MAX);

        let mut intake = intake_of(&[("x", 7)], &document);
        intake.tick(at(300), &document, &mut random);
        let refused = Outcome::Refused(JoinRefusal::NoMajority);
        let done = IntakeStep::Done([(join_request("x", 7), refused)].into());
        assert_eq!(intake.tick(at(5300), &document, &mut random), Some(done));
    }

    #[test]
    fn what_was_voted_on_is_not_called_refused() {
        let document = document_of(&["a"]);
        let value = Change::AddMembers([join_request("x", 7)].into()).successor(&document);
        let value = value.expect("x joins");
        for (outcome, is_voted_on) in
            [(Outcome::Refused(JoinRefusal::NoMajority), false), (Outcome::MayStillBe, true)]
        {
            let mut random = Random::new(1);
            let mut intake = intake_of(&[("x", 7)], &document);
            let (round, _) = asked(intake.tick(at(300), &document, &mut random));
            assert_eq!(intake.asks_votes_for(&value), [], "nothing is proposed yet");
            intake.heard_empty(round, Ordinal(1));
            intake.tick(at(310), &document, &mut random);
            if is_voted_on {
                assert_eq!(intake.asks_votes_for(&document), []);
                assert_eq!(intake.asks_votes_for(&value), [join_request("x", 7)]);
                assert_eq!(intake.asks_votes_for(&value), [], "told once");
            }
            let ended = IntakeStep::Ended([(join_request("x", 7), outcome)].into());
            assert_eq!(intake.tick(at(10_310), &document, &mut random), Some(ended));
        }
    }

    #[test]
    fn a_retry_of_what_is_done_succeeds_and_a_taken_name_is_refused() {
        let document = document_of(&["a"]);
        let change = Change::AddMembers([join_request("x", 7)].into());
        let after = change.successor(&document).expect("x joins");
        let mut intake = Intake::default();
        let done =
            |change, outcome| Some(IntakeStep::Done([(join_request("x", change), outcome)].into()));
        assert_eq!(intake.wish(at(0), &after, join_request("x", 7)), done(7, Outcome::Joined));
        let taken = Outcome::Refused(JoinRefusal::NameTaken { member: Ordinal(2) });
        assert_eq!(intake.wish(at(0), &after, join_request("x", 8)), done(8, taken));
    }
}
