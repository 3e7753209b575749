//! Coming in, seen from the node that waits: it asks one member after the other, by one name, until a
//! document arrives that makes it a member.
//!
//! **Never:** becomes a member by another operation than its own: a node whose disk was lost must not
//! take over its old number. And never asks two clusters.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    ChangeId, ClusterId, Document, Newcomer, NodeId, OperationKind, OperationRefusal,
    OperationState, Ordinal, PeerHello, Revision,
};

use super::change::has_brought;
use super::event::{AdminToken, OperateDone, OperateFailure, OperateMode};
use super::known_document::KnownDocument;
use super::objections::planned;
use super::peers::Peers;
use super::settings::ClusterSettings;

/// How often a member is asked; each time another one.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long an administrator waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a cluster may take to be seen.
const SEARCH: Duration = Duration::from_secs(5);

/// How many names of operations are remembered.
const MAX_FORMER: usize = 16;

/// An answer to an administrator.
pub(super) type Answer = (AdminToken, Result<OperateDone, OperateFailure>);

/// How a node wants to come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// As one more.
    Join,
    /// In place of this member.
    Replace(NodeId),
}

/// A waiting node's way into a cluster.
#[derive(Debug)]
pub(super) struct Joiner {
    /// The name of its operation, once it has asked; durable before it asks.
    change: Option<ChangeId>,
    /// Whether that one is given up, or not what is wanted any more: the next is asked for by another
    /// name. The old one stays until then, because a node that has asked never founds.
    is_spent: bool,
    past: Past,
    /// What administrators wanted last.
    goal: Option<Goal>,
    /// What it asks for by that name: the same each time.
    kind: Option<OperationKind>,
    wishes: Vec<Wish>,
    /// Whether it asks without an administrator.
    asks: Asks,
    next_ask: Duration,
    asked: usize,
    /// The cluster that was seen first; only its members are asked.
    cluster: Option<ClusterId>,
    /// A document that some member told, which does not make this node a member yet.
    seen: Option<KnownDocument>,
    last_refusal: Option<OperationRefusal>,
    /// Whether the council was asked to vote for its operation: nobody's refusal settles it then.
    may_still_be: bool,
}

/// What a process keeps of the time before, when it becomes a member and when it starts over.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Names of operations that it asked for before, as far as it remembers: what is not wanted any more
    /// may have been decided all the same.
    former: Vec<ChangeId>,
    /// The largest number that it has had. A member that lags may still call it by that, but what it voted
    /// for then is forgotten (`LAYOUT_AGREES`). The disk need not hold this: of names it holds one that no
    /// document knew when the node started over, or that of the change that it came with and whose end it
    /// never stored, and before that it has no vote.
    gone: Option<Ordinal>,
    /// A document that was said to be out of date: what is to be asked for is told by a later one.
    outdated: Option<Revision>,
}

impl Past {
    fn remember(&mut self, name: ChangeId) {
        self.former.retain(|former| *former != name);
        self.former.push(name);
        let surplus = self.former.len().saturating_sub(MAX_FORMER);
        self.former.drain(..surplus);
    }
}

/// An administrator's wish.
#[derive(Debug)]
struct Wish {
    token: AdminToken,
    began: Duration,
    goal: Goal,
    mode: OperateMode,
}

/// When a node asks to be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// While an administrator waits for it.
    WhenTold,
    /// As soon as it sees a cluster.
    ByItself,
}

impl Joiner {
    /// A node whose disk holds the name of an operation that it asked for.
    pub(super) fn new(settings: &ClusterSettings, change: Option<ChangeId>) -> Self {
        Self {
            change,
            is_spent: false,
            past: Past::default(),
            goal: None,
            kind: None,
            wishes: Vec::new(),
            asks: if settings.auto_join { Asks::ByItself } else { Asks::WhenTold },
            next_ask: Duration::ZERO,
            asked: 0,
            cluster: None,
            seen: None,
            last_refusal: None,
            may_still_be: false,
        }
    }

    /// A node that was a member of the cluster of this document, if any, and comes again, by this name.
    /// It never founds, and asks no other cluster.
    pub(super) fn again(
        settings: &ClusterSettings,
        change: ChangeId,
        past: Past,
        seen: Option<KnownDocument>,
    ) -> Self {
        let cluster = seen.as_ref().map(|document| document.cluster_id);
        let asks = Asks::WhenTold;
        Self { cluster, past, seen, asks, ..Self::new(settings, Some(change)) }
    }

    /// A member, with what it keeps for when it starts over.
    pub(super) fn of_member(settings: &ClusterSettings, past: Past) -> Self {
        Self { past, ..Self::new(settings, None) }
    }

    /// What is kept when this ends, where the node has this number.
    pub(super) fn take_past(&mut self, number: Option<Ordinal>) -> Past {
        let mut past = core::mem::take(&mut self.past);
        if let Some(change) = self.change {
            past.remember(change);
        }
        past.gone = past.gone.max(number);
        past
    }

    /// Others know a later document than this one, which the node takes for the latest.
    pub(super) fn outdate(&mut self, document: Revision) {
        self.past.outdated = self.past.outdated.max(Some(document));
    }

    /// Whether others are known to know a later document than this one.
    pub(super) fn is_outdated(&self, document: &Document) -> bool {
        Some(document.revision()) <= self.past.outdated
    }

    /// The name of its operation.
    pub(super) fn change(&self) -> Option<ChangeId> {
        self.change
    }

    /// The latest document that it was told, which says where members are.
    pub(super) fn seen(&self) -> Option<&KnownDocument> {
        self.seen.as_ref()
    }

    /// The same where it may be the latest there is.
    fn latest(&self) -> Option<&KnownDocument> {
        self.seen.as_ref().filter(|seen| !self.is_outdated(seen))
    }

    /// Whether it has asked, and goes on asking.
    pub(super) fn is_under_way(&self) -> bool {
        self.asks == Asks::ByItself || self.wishes.iter().any(|wish| wish.mode == OperateMode::Do)
    }

    /// Whether its operation waits or is under way in the latest document that it was told: it comes in
    /// without being asked once more. So does a node that was a member by a change that was overtaken.
    pub(super) fn is_awaited(&self) -> bool {
        let asked = self.change.filter(|_| !self.is_spent).zip(self.seen.as_ref());
        let operation = asked.and_then(|(change, document)| document.operation(change));
        operation.is_some_and(|operation| {
            matches!(operation.state, OperationState::Pending | OperationState::Running)
        })
    }

    /// An administrator wants it to come in.
    pub(super) fn wish(
        &mut self,
        began: Duration,
        token: AdminToken,
        goal: Goal,
        mode: OperateMode,
    ) {
        if mode == OperateMode::Do {
            // Without an administrator it asks to join.
            let by_itself = self.kind.is_some().then_some(&Goal::Join);
            let is_other = self.goal.as_ref().or(by_itself).is_some_and(|known| *known != goal);
            // What was refused may have been planned on a document that is out of date by now.
            let is_refused =
                self.last_refusal.is_some_and(|why| why != OperationRefusal::NoMajority);
            if is_other || is_refused {
                self.forget_operation();
            }
            self.goal = Some(goal.clone());
        }
        self.wishes.push(Wish { token, began, goal, mode });
    }

    /// The next operation is another one.
    fn forget_operation(&mut self) {
        (self.is_spent, self.kind) = (true, None);
        (self.last_refusal, self.may_still_be) = (None, false);
    }

    /// The number that this document gives to the node by its own operation: a later one than it has had.
    pub(super) fn number(&self, own: &NodeId, document: &Document) -> Option<Ordinal> {
        let names = self.change.into_iter().chain(self.past.former.iter().rev().copied());
        let mut operations = names.filter_map(|name| document.operation(name));
        // What it has brought may have left since, and another node of the name may be there instead.
        let operation = operations.find(|operation| match operation.state {
            OperationState::Running => true,
            OperationState::Done => has_brought(document, operation.id, own),
            OperationState::Pending | OperationState::Cancelled => false,
        })?;
        let is_other = self.cluster.is_some_and(|cluster| cluster != document.cluster_id);
        if is_other {
            return None;
        }
        let in_current = |ordinal| document.current.member(ordinal).is_some();
        // While a node takes the place of its like, the other one has the name as well.
        let member = document.member_named(own).filter(|member| match operation.state {
            OperationState::Running => !in_current(member.ordinal),
            OperationState::Done => in_current(member.ordinal),
            OperationState::Pending | OperationState::Cancelled => false,
        });
        member.map(|member| member.ordinal).filter(|number| Some(*number) > self.past.gone)
    }

    /// Keeps a document of the cluster that is seen, which gives this node no number, to know its members
    /// and what became of the operation; what administrators are to be told of that.
    pub(super) fn sees(&mut self, document: &Arc<Document>) -> Vec<Answer> {
        let is_later = |seen: &KnownDocument| seen.revision() < document.revision();
        let cluster = *self.cluster.get_or_insert(document.cluster_id);
        if cluster != document.cluster_id || !self.seen.as_ref().is_none_or(is_later) {
            return Vec::new();
        }
        self.seen = Some(KnownDocument::new(Arc::clone(document)));
        let asked = self.change.filter(|_| !self.is_spent);
        let operation = asked.and_then(|change| document.operation(change));
        match operation.map(|operation| operation.state) {
            Some(OperationState::Cancelled) => {
                // It was given up: an operator has to ask again.
                self.asks = Asks::WhenTold;
                self.forget_operation();
                let late = |wish: Wish| (wish.token, Err(OperateFailure::TimedOut));
                self.take_wishes(|wish| wish.mode == OperateMode::Do).map(late).collect()
            }
            Some(OperationState::Done) => {
                // It was a member and is none any more. Who wants it to come again is served by another
                // name.
                self.asks = Asks::WhenTold;
                self.forget_operation();
                Vec::new()
            }
            Some(OperationState::Pending | OperationState::Running) | None => Vec::new(),
        }
    }

    /// Whether a node that is reached, or was, belongs to a cluster.
    pub(super) fn sees_cluster(&self, peers: &Peers) -> bool {
        self.seen.is_some() || peers.all_linked().any(|hello| hello.membership.is_some())
    }

    /// The council was asked to vote for the operation.
    pub(super) fn may_still_be(&mut self, change: ChangeId) {
        if self.change == Some(change) && !self.is_spent {
            self.may_still_be = true;
            self.last_refusal = None;
        }
    }

    /// A member has refused the operation.
    pub(super) fn refused(&mut self, change: ChangeId, refusal: OperationRefusal) -> Vec<Answer> {
        if self.change != Some(change) || self.is_spent {
            return Vec::new();
        }
        let is_taken = matches!(refusal, OperationRefusal::NameTaken { .. });
        let is_settled = is_taken || !self.may_still_be;
        self.last_refusal = is_settled.then_some(refusal);
        if refusal == OperationRefusal::NoMajority {
            // It may go better with another member, until the administrator's patience ends.
            return Vec::new();
        }
        let failure = self.failure();
        let answer = |wish: Wish| (wish.token, Err(failure));
        self.take_wishes(|wish| wish.mode == OperateMode::Do).map(answer).collect()
    }

    /// What is to be answered to administrators now.
    pub(super) fn answers(
        &mut self,
        now: Duration,
        settings: &ClusterSettings,
        peers: &Peers,
    ) -> Vec<Answer> {
        let mut answers = Vec::new();
        if let Some(seen) = self.latest().cloned() {
            let answer = |wish: Wish| (wish.token, plan(settings, &seen, &wish.goal));
            let has_asked = self.kind.is_some();
            let over = self.take_wishes(|wish| {
                let has_nobody = kind_of(settings, &seen, &wish.goal).is_none() && !has_asked;
                wish.mode == OperateMode::Plan || has_nobody
            });
            answers.extend(over.map(answer));
        }
        let is_older = |wish: &Wish, age: Duration| now.saturating_sub(wish.began) >= age;
        if !self.sees_cluster(peers) {
            let nobody = |wish: Wish| (wish.token, Err(OperateFailure::NoCluster));
            answers.extend(self.take_wishes(|wish| is_older(wish, SEARCH)).map(nobody));
        }
        let failure = self.failure();
        let too_late = |wish: Wish| (wish.token, Err(failure));
        answers.extend(self.take_wishes(|wish| is_older(wish, PATIENCE)).map(too_late));
        answers
    }

    fn failure(&self) -> OperateFailure {
        self.last_refusal.map_or(OperateFailure::TimedOut, OperateFailure::Refused)
    }

    /// All who wait are to be told of the end.
    pub(super) fn waiting(&mut self) -> Vec<AdminToken> {
        self.take_wishes(|_| true).map(|wish| wish.token).collect()
    }

    fn take_wishes(&mut self, which: impl Fn(&Wish) -> bool) -> impl Iterator<Item = Wish> {
        let (taken, left) = core::mem::take(&mut self.wishes).into_iter().partition(which);
        self.wishes = left;
        let taken: Vec<Wish> = taken;
        taken.into_iter()
    }

    /// Whom of those that are reached to ask next.
    fn next_member(&mut self, peers: &Peers) -> Option<NodeId> {
        let told = |hello: &PeerHello| hello.membership.as_ref().map(|place| place.cluster_id);
        let first = self.cluster.or_else(|| peers.all_linked().find_map(told))?;
        self.cluster = Some(first);
        let is_member = |hello: &&PeerHello| match told(hello) {
            Some(cluster) => cluster == first,
            None => {
                let seen = self.seen.as_ref();
                seen.is_some_and(|document| document.ordinal_of(&hello.node_id).is_some())
            }
        };
        let members: Vec<&PeerHello> = peers.all_linked().filter(is_member).collect();
        let chosen = members.get(self.asked % members.len().max(1))?;
        Some(chosen.node_id.clone())
    }

    /// Whom to ask for the document, where an administrator waits for what only that can tell.
    pub(super) fn ask_for_document(&mut self, now: Duration, peers: &Peers) -> Option<NodeId> {
        let needs_it = |wish: &Wish| wish.mode == OperateMode::Plan || wish.goal != Goal::Join;
        let is_needed = self.latest().is_none() && self.wishes.iter().any(needs_it);
        if !is_needed || now < self.next_ask {
            return None;
        }
        let whom = self.next_member(peers)?;
        self.asked += 1;
        self.next_ask = now.saturating_add(ASK_AGAIN);
        Some(whom)
    }

    /// Whether its name stands for another operation than the one that an administrator wants. Asked by
    /// that name, members would only tell what became of it.
    fn names_another(&self, kind: &OperationKind) -> bool {
        let document = self.seen.as_ref().filter(|_| self.goal.is_some());
        let named = document.zip(self.change).and_then(|(seen, change)| seen.operation(change));
        named.is_some_and(|operation| match (&operation.kind, kind) {
            // By another address it wants the same.
            (OperationKind::Join(_), OperationKind::Join(_)) => false,
            (
                OperationKind::Replace { member, .. },
                OperationKind::Replace { member: wanted, .. },
            ) => member != wanted,
            _ => true,
        })
    }

    /// Whom to ask now, by what name, and what for. `fresh` is the name where there is none yet.
    pub(super) fn ask(
        &mut self,
        now: Duration,
        settings: &ClusterSettings,
        peers: &Peers,
        fresh: ChangeId,
    ) -> Option<(NodeId, ChangeId, OperationKind)> {
        if !self.is_under_way() || now < self.next_ask {
            return None;
        }
        let whom = self.next_member(peers)?;
        let kind = self.kind.clone().or_else(|| match (&self.goal, self.latest()) {
            (None | Some(Goal::Join), _) => Some(OperationKind::Join(newcomer(settings))),
            (Some(goal), Some(seen)) => kind_of(settings, seen, goal),
            // Who is replaced is known once a document is seen.
            (Some(Goal::Replace(_)), None) => None,
        })?;
        self.asked += 1;
        self.next_ask = now.saturating_add(ASK_AGAIN);
        if self.names_another(&kind) {
            self.forget_operation();
        }
        self.kind = Some(kind.clone());
        let change = self.change.filter(|_| !self.is_spent).unwrap_or(fresh);
        if let Some(former) = self.change.filter(|&former| former != change) {
            self.past.remember(former);
        }
        (self.change, self.is_spent) = (Some(change), false);
        Some((whom, change, kind))
    }
}

fn newcomer(settings: &ClusterSettings) -> Newcomer {
    Newcomer {
        node_id: settings.node_id.clone(),
        size: settings.size,
        zone: settings.zone.clone(),
        address: settings.address.clone(),
    }
}

/// What to ask for; none where there is no member to replace.
fn kind_of(settings: &ClusterSettings, seen: &Document, goal: &Goal) -> Option<OperationKind> {
    let by = newcomer(settings);
    match goal {
        Goal::Join => Some(OperationKind::Join(by)),
        Goal::Replace(node) => {
            let member = seen.member_named(node)?.ordinal;
            Some(OperationKind::Replace { member, by })
        }
    }
}

/// What a node's coming in would lead to, as far as this document tells.
pub(super) fn plan(
    settings: &ClusterSettings,
    seen: &Document,
    goal: &Goal,
) -> Result<OperateDone, OperateFailure> {
    let kind = kind_of(settings, seen, goal).ok_or(OperateFailure::NoSuchNode)?;
    if let Some(document) = planned(seen, &kind) {
        return Ok(OperateDone::Planned { document: Arc::new(document) });
    }
    let taken = seen.member_named(&settings.node_id).ok_or(OperateFailure::TimedOut)?;
    Err(OperateFailure::Refused(OperationRefusal::NameTaken { member: taken.ordinal }))
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
