//! The operator of a world: does what the plan says to the members that there are, asks again where it is
//! told to, and in the end looks after members that are gone for good.
//!
//! It takes no second copy away before the first is replaced: what it kills counts as lost, and no
//! cluster promises to survive more than its copies. Only a disaster does (`disaster.rs`).

use paravon_model::OperationRefusal;
use paravon_model::OperationState;
use paravon_replication::cluster::{
    AdminToken, ClusterEvent, OperateDone, OperateFailure, OperateMode, OperatorRequest,
};

use crate::fact::{Advice, Fact, Wish};
use crate::happening::Happening;
use crate::node::{index_of, node_name};
use crate::queue::{MILLISECOND, Nanos, SECOND};
use crate::topology::{Act, Who};
use crate::world::{World, small};

/// How long the operator waits for an answer.
const PATIENCE: Nanos = 4 * SECOND;

/// How long a node may take to hear that it was taken in, once everything is mended.
const UNAWARE: Nanos = 10 * SECOND;

/// How often it asks at most.
const TRIES: u8 = 40;

/// What the operator is about.
#[derive(Debug, Default)]
pub(crate) struct Operator {
    errands: Vec<Errand>,
}

/// Something that it asks for until it is answered.
#[derive(Clone, Copy, Debug)]
struct Errand {
    wish: Wish,
    attempt: u8,
    is_over: bool,
    insistence: Insistence,
}

/// Whether the world cannot come to rest without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Insistence {
    /// It can.
    Wish,
    /// A member that is gone for good has to be done without.
    Duty,
}

impl World {
    /// An act of the plan.
    pub(crate) fn act(&mut self, act: usize) {
        if !self.phase.is_faulty() {
            return;
        }
        match self.plan.acts[act].act {
            Act::Join(who) => {
                if let Some(node) = self.pick(who, |world, node| world.may_join(node)) {
                    self.wish(Wish::Join(small(node)));
                }
            }
            Act::Drain(who) => {
                if let Some(node) = self.pick(who, |world, node| world.is_member(node)) {
                    self.wish(Wish::Drain(small(node)));
                }
            }
            Act::Remove(who) => {
                if let Some(node) = self.pick(who, |world, node| world.may_lose(node)) {
                    self.kill(node);
                    self.wish(Wish::Remove(small(node)));
                }
            }
            Act::RemoveTooSoon(who) => {
                if let Some(node) = self.pick(who, |world, node| world.may_lose(node)) {
                    self.nodes[node].lost = self.ordinal_of(node);
                    self.crash(node, Some(5 * SECOND));
                    self.wish(Wish::Remove(small(node)));
                }
            }
            Act::Replace(who) => self.replace(who),
            Act::ReplaceDisk(who) => {
                if let Some(node) = self.pick(who, |world, node| world.may_lose(node)) {
                    self.nodes[node].lost = self.ordinal_of(node);
                    let down = self.random.magnitude(10 * MILLISECOND, 3 * SECOND);
                    self.crash(node, Some(down));
                    self.wipe(node);
                    self.wish(Wish::Replace(small(node), small(node)));
                }
            }
            Act::Renew(node) => self.wish(Wish::Replace(small(node), small(node))),
            Act::Abandon(who) => {
                if let Some(node) = self.pick(who, |world, node| world.may_abandon(node)) {
                    self.kill(node);
                }
            }
            Act::SetReplication(factor) => self.wish(Wish::SetReplication(factor)),
            Act::Cancel => self.wish(Wish::Cancel),
            Act::LoseMajority { left, number } => self.lose_majority(left, number),
            Act::AcceptLoss { number } => self.accept_losses(number),
            Act::Revive(revival) => self.revive(revival),
            Act::ComeEmpty(who) => self.come_empty(who),
        }
    }

    fn replace(&mut self, who: Who) {
        let by =
            self.pick(Who::Any(self.random.clone().next()), |world, node| world.may_join(node));
        let of = self.pick(who, |world, node| world.may_lose(node) && Some(node) != by);
        if let (Some(of), Some(by)) = (of, by) {
            self.kill(of);
            self.wish(Wish::Replace(small(of), small(by)));
        }
    }

    /// One of the nodes for whom an act makes sense; now and then any.
    pub(crate) fn pick(
        &mut self,
        who: Who,
        makes_sense: impl Fn(&Self, usize) -> bool,
    ) -> Option<usize> {
        let Who::Any(number) = who else {
            let Who::Node(node) = who else { return None };
            return makes_sense(self, node).then_some(node);
        };
        let candidates: Vec<usize> =
            (0..self.nodes.len()).filter(|&node| makes_sense(self, node)).collect();
        let index = usize::try_from(number % candidates.len().max(1) as u64).unwrap_or(0);
        candidates.get(index).copied()
    }

    fn is_member(&self, node: usize) -> bool {
        self.ordinal_of(node).is_some()
    }

    fn may_join(&self, node: usize) -> bool {
        !self.is_member(node) && !self.nodes[node].killed
    }

    /// The number of a node among the members of the latest layout.
    fn ordinal_of(&self, node: usize) -> Option<paravon_model::Ordinal> {
        let latest = self.latest()?.document();
        latest.member_named(&self.nodes[node].name).map(|member| member.ordinal)
    }

    /// Whether a node is a member that is gone for good.
    fn is_lost_member(&self, node: usize) -> bool {
        let sim = &self.nodes[node];
        let Some(latest) = self.latest() else { return false };
        let is_there = |ordinal| latest.document().member(ordinal).is_some();
        sim.lost.is_some_and(is_there) || (sim.killed && self.is_member(node))
    }

    /// Whether a node that runs was taken in and does not know it: it has forgotten that it asked.
    fn is_unaware(&self, node: usize) -> bool {
        let sim = &self.nodes[node];
        let ordinal = self.ordinal_of(node);
        sim.process.is_some() && ordinal.is_some() && sim.state.ordinal != ordinal
    }

    /// Whether a member that is gone for good was to leave in an orderly way, which it never will, while
    /// its name is another's already.
    fn blocks_as_leaver(&self, node: usize) -> bool {
        let (Some(lost), Some(latest)) = (self.nodes[node].lost, self.latest()) else {
            return false;
        };
        let document = latest.document();
        let is_waited_for = document.joint().is_some_and(|joint| !joint.lost.contains(&lost));
        is_waited_for && document.is_leaving(lost) && self.ordinal_of(node) != Some(lost)
    }

    pub(crate) fn any_is_lost(&self) -> bool {
        (0..self.nodes.len()).any(|node| self.is_lost_member(node))
    }

    /// Whether the cluster promises to survive the loss of this member: every set has three copies, no
    /// other one is gone, and it is not the only one that knows of the document that says so.
    fn may_lose(&self, node: usize) -> bool {
        let Some(latest) = self.latest() else { return false };
        let document = latest.document();
        let knows = |other: &usize| {
            let sim = &self.nodes[*other];
            *other != node && !sim.killed && sim.state.document.as_ref() == Some(document)
        };
        if !(0..self.nodes.len()).any(|other| knows(&other)) {
            return false;
        }
        let next = document.joint().map_or(usize::MAX, |joint| joint.next.copies());
        let copies = document.current.copies().min(next);
        let ordinal = self.ordinal_of(node);
        let is_current = ordinal.is_some_and(|own| document.current.member(own).is_some());
        is_current && copies >= 3 && !self.any_is_lost()
    }

    /// Whether nothing was entrusted to this node yet.
    fn may_abandon(&self, node: usize) -> bool {
        let Some(latest) = self.latest() else { return false };
        let names = latest.document().current.members.iter().map(|member| &member.node_id);
        let is_current = names.filter_map(index_of).any(|member| member == node);
        !is_current && !self.nodes[node].killed && !self.any_is_lost()
    }

    pub(crate) fn kill(&mut self, node: usize) {
        let ordinal = self.ordinal_of(node);
        self.crash(node, None);
        let sim = &mut self.nodes[node];
        sim.killed = true;
        sim.lost = ordinal;
        self.emit(Fact::Killed { node: small(node) });
    }

    /// The operator sets out; sometimes it does so twice.
    pub(crate) fn wish(&mut self, wish: Wish) {
        self.set_out(wish, Insistence::Wish);
        if self.random.below(6) == 0 {
            self.set_out(wish, Insistence::Wish);
        }
    }

    fn set_out(&mut self, wish: Wish, insistence: Insistence) {
        let errand = self.operator.errands.len();
        self.operator.errands.push(Errand { wish, attempt: 1, is_over: false, insistence });
        let at = self.now + self.random.below(100 * MILLISECOND);
        self.queue.push(at, Happening::Errand { errand, attempt: 1 });
    }

    /// The operator asks, unless it was answered since.
    pub(crate) fn run_errand(&mut self, errand: usize, attempt: u8) {
        let Errand { wish, attempt: latest, is_over, insistence } = self.operator.errands[errand];
        if is_over || attempt != latest {
            return;
        }
        let goes_on = self.phase.is_faulty() || insistence == Insistence::Duty;
        if attempt > TRIES || !goes_on {
            self.operator.errands[errand].is_over = true;
            return;
        }
        let node = self.whom_to_ask(wish);
        let planning = attempt == 1 && self.random.below(8) == 0;
        let mode = if planning { OperateMode::Plan } else { OperateMode::Do };
        self.operator.errands[errand].attempt += 1;
        let at = self.now + self.random.between(PATIENCE / 2, PATIENCE);
        self.queue.push(at, Happening::Errand { errand, attempt: attempt + 1 });
        if self.nodes[node].process.is_none() || self.nodes[node].paused_until > self.now {
            return;
        }
        let number = u8::try_from(errand).unwrap_or(u8::MAX);
        self.emit(Fact::Asked { errand: number, node: small(node), wish });
        let token = AdminToken((errand as u64) << 8 | u64::from(attempt + 1));
        let request = request_of(wish);
        self.tell_cluster(node, ClusterEvent::Operate { token, request, mode });
    }

    /// Who comes is asked itself; all else is asked of any member.
    fn whom_to_ask(&mut self, wish: Wish) -> usize {
        if let Wish::Join(by) | Wish::Replace(_, by) = wish {
            return usize::from(by);
        }
        let mut node = self.random.index(self.nodes.len());
        for _ in 0..5 {
            let is_up = self.nodes[node].process.is_some() && self.is_member(node);
            if is_up || self.random.below(16) == 0 {
                break;
            }
            node = self.random.index(self.nodes.len());
        }
        node
    }

    /// A cluster machine has answered the operator.
    pub(crate) fn operator_answered(
        &mut self,
        token: AdminToken,
        answer: &Result<OperateDone, OperateFailure>,
    ) {
        let errand = usize::try_from(token.0 >> 8).unwrap_or(usize::MAX);
        let Some(known) = self.operator.errands.get_mut(errand) else { return };
        if known.is_over || u64::from(known.attempt) != token.0 & 0xff {
            return;
        }
        let (advice, why) = advice_of(answer);
        known.is_over = advice != Advice::AskAgain;
        known.attempt += 1;
        let attempt = known.attempt;
        let number = u8::try_from(errand).unwrap_or(u8::MAX);
        self.emit(Fact::Advised { errand: number, answer: advice, why });
        if advice == Advice::AskAgain {
            let at = self.now + self.random.between(100 * MILLISECOND, SECOND);
            self.queue.push(at, Happening::Errand { errand, attempt });
        }
    }

    /// Sees to it that members that are gone for good are done without, as soon as everything else is
    /// mended.
    pub(crate) fn look_after_the_lost(&mut self, rested: Nanos) {
        if self.is_rescuing() {
            return;
        }
        self.clear_strays();
        for node in 0..self.nodes.len() {
            let number = small(node);
            if !self.is_lost_member(node) {
                if rested > UNAWARE && self.is_unaware(node) {
                    self.insist(Wish::Replace(number, number), Wish::Remove(number));
                }
                continue;
            }
            if self.blocks_as_leaver(node) {
                self.insist(Wish::Cancel, Wish::Cancel);
                continue;
            }
            let sim = &mut self.nodes[node];
            if !sim.killed && !sim.old_disk && sim.state.ordinal == sim.lost {
                // It came back before anybody removed it.
                sim.lost = None;
                continue;
            }
            if !self.nodes[node].killed {
                self.insist(Wish::Replace(number, number), Wish::Remove(number));
                continue;
            }
            let Some(document) = self.latest().map(|latest| latest.document()) else { continue };
            let own = document.member_named(&self.nodes[node].name).map(|member| member.ordinal);
            let is_current = own.is_some_and(|own| document.current.member(own).is_some());
            if !is_current {
                // Whoever only was about to come is given up by itself.
                continue;
            }
            if document.current.copies() >= 3 {
                self.insist(Wish::Remove(number), Wish::Remove(number));
            } else {
                // It died while it was taken in: too few hold what it holds.
                self.nodes[node].killed = false;
                self.nodes[node].lost = None;
                self.queue.push(self.now, Happening::Start { node });
            }
        }
    }

    /// Sets out unless the operator is about this, or about something else that does.
    fn insist(&mut self, wish: Wish, or: Wish) {
        let does = |errand: &Errand| {
            !errand.is_over
                && errand.insistence == Insistence::Duty
                && (errand.wish == wish || errand.wish == or)
        };
        if !self.operator.errands.iter().any(does) {
            self.set_out(wish, Insistence::Duty);
        }
    }

    /// What is still to come to rest among the members, if anything.
    pub(crate) fn unrest_of_members(&self) -> Option<&'static str> {
        if self.any_is_lost() {
            return Some("a member that is gone for good is still a member");
        }
        let latest = self.latest()?;
        if latest.document().joint().is_some() {
            return Some("a change of layout does not end");
        }
        let is_open = |state| matches!(state, OperationState::Pending | OperationState::Running);
        if latest.document().operations.iter().any(|operation| is_open(operation.state)) {
            return Some("an operation does not end");
        }
        for (node, sim) in self.nodes.iter().enumerate() {
            let Some(process) = &sim.process else { continue };
            if !self.is_member(node) {
                if !process.shards.is_empty() {
                    return Some("a node that left serves");
                }
                continue;
            }
            let used = process.layout.as_ref().map(|layout| layout.document().revision());
            if used != Some(latest.document().revision()) {
                return Some("a member does not use the latest layout");
            }
            if process.admitted != Some(latest.fence()) {
                return Some("a member has not stored the latest layout");
            }
        }
        None
    }
}

fn request_of(wish: Wish) -> OperatorRequest {
    let name = |node: u8| node_name(usize::from(node));
    match wish {
        Wish::Join(_) => OperatorRequest::Join,
        Wish::Replace(of, _) => OperatorRequest::Replace { node: name(of) },
        Wish::Drain(node) => OperatorRequest::Drain { node: name(node) },
        Wish::Remove(node) => OperatorRequest::Remove { node: name(node) },
        Wish::SetReplication(factor) => OperatorRequest::SetReplication { factor },
        Wish::Cancel => OperatorRequest::Cancel,
    }
}

/// What an answer means for whoever asked, and its name.
fn advice_of(answer: &Result<OperateDone, OperateFailure>) -> (Advice, &'static str) {
    use Advice::{Accepted, AskAgain, Refused};
    let failure = match answer {
        Ok(OperateDone::Planned { .. }) => return (AskAgain, "planned"),
        Ok(OperateDone::Accepted { .. }) => return (Accepted, "accepted"),
        Ok(OperateDone::Joined { .. }) => return (Accepted, "joined"),
        Ok(OperateDone::Cancelled) => return (Accepted, "cancelled"),
        Err(failure) => failure,
    };
    match failure {
        OperateFailure::NotMember => (AskAgain, "not a member"),
        OperateFailure::NoCluster => (AskAgain, "no cluster"),
        OperateFailure::ShutOut => (AskAgain, "shut out"),
        OperateFailure::TimedOut => (AskAgain, "timed out"),
        OperateFailure::AlreadyMember => (Refused, "already a member"),
        OperateFailure::NothingToCancel => (Refused, "nothing to cancel"),
        OperateFailure::NoSuchNode => (Refused, "no such node"),
        OperateFailure::Refused(refusal) => match refusal {
            OperationRefusal::IsUp { .. } => (AskAgain, "is up"),
            OperationRefusal::NextHasNoMajority => (AskAgain, "next has no majority"),
            OperationRefusal::CurrentHasNoMajority => (AskAgain, "current has no majority"),
            OperationRefusal::MemberTooFarBehind { .. } => (AskAgain, "member too far behind"),
            OperationRefusal::TooManyWaiting => (AskAgain, "too many waiting"),
            OperationRefusal::NoMajority => (AskAgain, "no majority"),
            OperationRefusal::NameTaken { .. } => (Refused, "name taken"),
            OperationRefusal::NoSuchMember { .. } => (Refused, "no such member"),
            OperationRefusal::LastMember => (Refused, "last member"),
            OperationRefusal::BadFactor => (Refused, "bad factor"),
        },
    }
}
