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
    change: ChangeId,
    requests: Vec<JoinRequest>,
    empty: BTreeSet<Ordinal>,
    next_ask: Duration,
    until: Duration,
}

#[derive(Debug)]
struct Deciding {
    requests: Vec<JoinRequest>,
    next_ballot: Duration,
    back_off: Duration,
    until: Duration,
}

/// What a member does about wishes to join.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IntakeStep {
    /// Ask these members whether they are empty.
    Ask { change: ChangeId, whom: Vec<NodeId> },
    /// Begin a ballot for this.
    Propose(Change),
    /// These are members now, or were refused: tell them.
    Done(Vec<(JoinRequest, Option<JoinRefusal>)>),
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
    pub(super) fn heard_empty(&mut self, change: ChangeId, member: Ordinal) {
        if let Stage::Asking(asking) = &mut self.stage
            && asking.change == change
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
                self.begin_asking(now);
                self.tick_asking(now, document)
            }
            Stage::Asking(_) => self.tick_asking(now, document),
            Stage::Deciding(_) => self.tick_deciding(now, document, random),
        }
    }

    fn begin_asking(&mut self, now: Duration) {
        let mut requests = Vec::new();
        while requests.len() < MAX_TOGETHER
            && let Some((_, request)) = self.waiting.pop_first()
        {
            requests.push(request);
        }
        let Some(first) = requests.first() else {
            self.stage = Stage::Idle;
            return;
        };
        let change = first.change;
        let until = now.saturating_add(ANSWER);
        let empty = BTreeSet::new();
        self.stage = Stage::Asking(Asking { change, requests, empty, next_ask: now, until });
    }

    fn tick_asking(&mut self, now: Duration, document: &Document) -> Option<IntakeStep> {
        let Stage::Asking(asking) = &mut self.stage else { return None };
        let missing =
            document.current.iter().filter(|member| !asking.empty.contains(&member.ordinal));
        let whom: Vec<NodeId> = missing.map(|member| member.node_id.clone()).collect();
        if whom.is_empty() {
            let requests = core::mem::take(&mut asking.requests);
            let until = now.saturating_add(DECIDE);
            let deciding = Deciding { requests, next_ballot: now, back_off: BACK_OFF, until };
            self.stage = Stage::Deciding(deciding);
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
        Some(IntakeStep::Ask { change: asking.change, whom })
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
            return Some(self.end(now, requests, |request| result(document, request).flatten()));
        }
        if now >= deciding.until {
            let requests = core::mem::take(&mut deciding.requests);
            let refusal = Some(JoinRefusal::NoMajority);
            return Some(
                self.end(now, requests, |request| result(document, request).unwrap_or(refusal)),
            );
        }
        if now < deciding.next_ballot {
            return None;
        }
        let wait = deciding.back_off.saturating_add(random.up_to(deciding.back_off));
        deciding.next_ballot = now.saturating_add(wait);
        deciding.back_off = deciding.back_off.saturating_mul(2).min(LONGEST_BACK_OFF);
        Some(IntakeStep::Propose(Change::AddMembers(deciding.requests.clone())))
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
        self.end(now, requests, |_| Some(refusal))
    }

    /// Ends the round; those that came meanwhile go together next.
    fn end(
        &mut self,
        now: Duration,
        requests: Vec<JoinRequest>,
        result: impl Fn(&JoinRequest) -> Option<JoinRefusal>,
    ) -> IntakeStep {
        self.stage = if self.waiting.is_empty() {
            Stage::Idle
        } else {
            Stage::Gathering { until: now.saturating_add(GATHER) }
        };
        let told = requests.into_iter().map(|request| {
            let refusal = result(&request);
            (request, refusal)
        });
        IntakeStep::Done(told.collect())
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
fn result(document: &Document, request: &JoinRequest) -> Option<Option<JoinRefusal>> {
    if contains(document, request.change) {
        return Some(None);
    }
    let taken = document.member_named(&request.node_id)?;
    Some(Some(JoinRefusal::NameTaken { member: taken.ordinal }))
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

    #[test]
    fn those_that_come_together_join_together_once_all_are_empty() {
        let document = document_of(&["a", "b"]);
        let mut random = Random::new(1);
        let mut intake = intake_of(&[("x", 7), ("y", 8)], &document);
        assert_eq!(intake.tick(at(299), &document, &mut random), None);
        let change = ChangeId(7);
        let ask = IntakeStep::Ask { change, whom: [name("a"), name("b")].into() };
        assert_eq!(intake.tick(at(300), &document, &mut random), Some(ask));
        intake.heard_empty(change, Ordinal(1));
        intake.heard_empty(ChangeId(6), Ordinal(2));
        let ask = IntakeStep::Ask { change, whom: [name("b")].into() };
        assert_eq!(intake.tick(at(600), &document, &mut random), Some(ask), "b said nothing yet");
        intake.wish(at(610), &document, join_request("z", 9));
        intake.heard_empty(change, Ordinal(2));
        intake.tick(at(620), &document, &mut random);
        let requests: Vec<JoinRequest> = [join_request("x", 7), join_request("y", 8)].into();
        let both = Change::AddMembers(requests.clone());
        let proposed = intake.tick(at(620), &document, &mut random);
        assert_eq!(proposed, Some(IntakeStep::Propose(both.clone())));
        let decided = both.successor(&document).expect("they join");
        let done = intake.tick(at(630), &decided, &mut random);
        let told = requests.into_iter().map(|request| (request, None)).collect();
        assert_eq!(done, Some(IntakeStep::Done(told)));
        assert_eq!(intake.next_wake(), at(930), "z goes next");
    }

    #[test]
    fn a_member_with_records_or_one_that_is_silent_ends_it() {
        let document = document_of(&["a"]);
        let mut random = Random::new(1);
        let mut intake = intake_of(&[("x", 7)], &document);
        intake.tick(at(300), &document, &mut random);
        let refusal = JoinRefusal::HoldsRecords { member: Ordinal(1) };
        let done = IntakeStep::Done([(join_request("x", 7), Some(refusal))].into());
        assert_eq!(intake.heard_records(at(310), Ordinal(1)), Some(done));
        assert_eq!(intake.next_wake(), Duration::MAX);

        let mut intake = intake_of(&[("x", 7)], &document);
        intake.tick(at(300), &document, &mut random);
        let refusal = Some(JoinRefusal::NoMajority);
        let done = IntakeStep::Done([(join_request("x", 7), refusal)].into());
        assert_eq!(intake.tick(at(5300), &document, &mut random), Some(done));
    }

    #[test]
    fn a_retry_of_what_is_done_succeeds_and_a_taken_name_is_refused() {
        let document = document_of(&["a"]);
        let change = Change::AddMembers([join_request("x", 7)].into());
        let after = change.successor(&document).expect("x joins");
        let mut intake = Intake::default();
        let done =
            |change, refusal| Some(IntakeStep::Done([(join_request("x", change), refusal)].into()));
        assert_eq!(intake.wish(at(0), &after, join_request("x", 7)), done(7, None));
        let taken = Some(JoinRefusal::NameTaken { member: Ordinal(2) });
        assert_eq!(intake.wish(at(0), &after, join_request("x", 8)), done(8, taken));
    }
}
