//! What operators and nodes ask for, on its way into the document, and what the council is asked for.
//!
//! **Never:** takes a node in that another one asks for: who comes, asks itself (`NO_STRANGER`).

use alloc::collections::BTreeSet;
use alloc::sync::Arc;

use paravon_model::{
    ChangeId, ClusterMessage, Document, Fence, NodeId, OperationKind, OperationState, Ordinal,
};

use super::change::{Change, newcomer};
use super::event::{AdminToken, OperateDone, OperateFailure, OperateMode, OperatorRequest};
use super::join::Goal;
use super::objections::{objection, planned};
use super::settings::Liveness;
use super::view::View;
use super::wishes::{Asker, Wish, WishEnd};
use super::{Cluster, Service};
use crate::event::Now;

impl Cluster {
    /// An administrator wants the members changed.
    pub(super) fn operate(
        &mut self,
        now: Now,
        token: AdminToken,
        request: OperatorRequest,
        mode: OperateMode,
    ) {
        let goal = match request {
            OperatorRequest::Join => Goal::Join,
            OperatorRequest::Replace { node } => Goal::Replace(node),
            OperatorRequest::Cancel => return self.wish_to_cancel(now, token, mode),
            request => {
                let answer = self.wish_of_operator(now, token, &request, mode);
                return self.answer(answer.map(|answer| (token, answer)));
            }
        };
        self.wish_to_come(now, token, goal, mode);
    }

    /// The answer, where there is one at once.
    fn wish_of_operator(
        &mut self,
        now: Now,
        token: AdminToken,
        request: &OperatorRequest,
        mode: OperateMode,
    ) -> Option<Result<OperateDone, OperateFailure>> {
        let Some(document) = self.served_document() else {
            return Some(Err(OperateFailure::NotMember));
        };
        let named = |node: &NodeId| document.member_named(node).map(|member| member.ordinal);
        let kind = match request {
            OperatorRequest::Drain { node } => {
                named(node).map(|member| OperationKind::Drain { member })
            }
            OperatorRequest::Remove { node } => {
                named(node).map(|member| OperationKind::Remove { member })
            }
            OperatorRequest::SetReplication { factor } => {
                Some(OperationKind::SetReplication { factor: *factor })
            }
            OperatorRequest::Join | OperatorRequest::Replace { .. } | OperatorRequest::Cancel => {
                None
            }
        };
        let Some(kind) = kind else { return Some(Err(OperateFailure::NoSuchNode)) };
        if mode == OperateMode::Do
            && let Some(id) = asked_before(&document, &kind)
        {
            return Some(Ok(OperateDone::Accepted { id }));
        }
        if let Some(refusal) = self.objection(now, &document, &kind) {
            return Some(Err(OperateFailure::Refused(refusal)));
        }
        if mode == OperateMode::Plan {
            let planned = planned(&document, &kind).map(Arc::new);
            let answer = planned.map(|document| OperateDone::Planned { document });
            return Some(answer.ok_or(OperateFailure::TimedOut));
        }
        let id = self.random.change();
        let asker = Asker::Operator(token);
        let refused = self.wishes.add(now.monotonic, id, kind, asker).err();
        self.drive(now);
        refused.map(|refusal| Err(OperateFailure::Refused(refusal)))
    }

    fn wish_to_cancel(&mut self, now: Now, token: AdminToken, mode: OperateMode) {
        let Some(document) = self.served_document() else {
            return self.answer([(token, Err(OperateFailure::NotMember))]);
        };
        if mode == OperateMode::Plan {
            return self.answer([(token, Ok(OperateDone::Planned { document }))]);
        }
        if self.cancels.begin(now.monotonic, &document, Some(token)) {
            self.drive(now);
        } else {
            self.answer([(token, Err(OperateFailure::NothingToCancel))]);
        }
    }

    /// Another member was asked to give up the change of this fence.
    pub(super) fn asked_to_cancel(&mut self, now: Now, from: &NodeId, fence: Fence) {
        let Some(document) = self.served_document() else { return };
        let is_asked_for = document.joint().is_some() && document.fence() == fence;
        if is_asked_for
            && document.member_named(from).is_some()
            && self.cancels.begin(now.monotonic, &document, None)
        {
            self.drive(now);
        }
    }

    /// A node asks for an operation.
    pub(super) fn asked_to_operate(
        &mut self,
        now: Now,
        from: &NodeId,
        id: ChangeId,
        kind: OperationKind,
    ) {
        let Some(document) = self.served_document() else { return };
        let may_ask = match newcomer(&kind) {
            Some(newcomer) => newcomer.node_id == *from,
            None => document.member_named(from).is_some(),
        };
        if !may_ask {
            return;
        }
        if document.operation(id).is_some() {
            return self.tell_document(from, None);
        }
        let refusal = if self.wishes.contains(id) {
            None
        } else {
            let asker = Asker::Node(from.clone());
            let objection = self.objection(now, &document, &kind);
            objection.or_else(|| self.wishes.add(now.monotonic, id, kind, asker).err())
        };
        if refusal.is_some() {
            self.outgoing.tell(from, ClusterMessage::Operated { id, refusal });
        }
        self.drive(now);
    }

    fn objection(
        &self,
        now: Now,
        document: &Document,
        kind: &OperationKind,
    ) -> Option<paravon_model::OperationRefusal> {
        let (alive, linked) = (self.alive(document), self.linked_names());
        let (alive, linked, reports) = (&alive, &linked, &self.reports);
        let own = self.ordinal?;
        let view = View { now: now.monotonic, document, own, alive, linked, reports };
        objection(&view, kind)
    }

    /// Proposes what is to be proposed: what was asked of this member first, then what the council is
    /// to drive.
    pub(super) fn drive(&mut self, now: Now) {
        let Some((document, own)) = self.served_document().zip(self.ordinal) else { return };
        let ended = self.wishes.ended(now.monotonic, &document);
        if ended.iter().any(|(_, end)| matches!(end, WishEnd::Refused(_)))
            && let Some(council) = &mut self.council
        {
            // What was refused must not be decided by a late promise.
            council.give_up();
        }
        for (wish, end) in ended {
            self.tell_end(wish, end);
        }
        let answers = self.cancels.ended(now.monotonic, &document);
        self.answer(answers);
        let asked = self.cancels.change().or_else(|| self.wishes.change(now.monotonic));
        let change = if asked.is_some() {
            asked
        } else if now.monotonic >= self.driver.next_wake() {
            let (alive, linked) = (self.alive(&document), self.linked_names());
            let (alive, linked, reports) = (&alive, &linked, &self.reports);
            let (now, document) = (now.monotonic, &*document);
            self.driver.look(&View { now, document, own, alive, linked, reports })
        } else {
            return;
        };
        self.propose(now, change.as_ref());
    }

    fn propose(&mut self, now: Now, change: Option<&Change>) {
        let Some(council) = &mut self.council else { return };
        let Some(change) = change else {
            self.ballots.rest();
            return council.give_up();
        };
        if self.ballots.may_begin(now.monotonic, &mut self.random) {
            let mut speeches = alloc::vec::Vec::new();
            council.propose(change, &mut speeches);
            self.speak(speeches);
        }
    }

    /// The council is asked to vote for something: what that contains may still be from now on.
    pub(super) fn tell_what_may_still_be(&mut self) {
        let value = self.council.as_ref().and_then(|council| council.asks_votes_for());
        let Some(value) = value else { return };
        for wish in self.wishes.asks_votes_for(value) {
            if let Asker::Node(name) = wish.asker {
                let message = ClusterMessage::Operated { id: wish.id, refusal: None };
                self.outgoing.tell(&name, message);
            }
        }
    }

    fn tell_end(&mut self, wish: Wish, end: WishEnd) {
        match (wish.asker, end) {
            (Asker::Operator(token), WishEnd::Taken) => {
                self.answer([(token, Ok(OperateDone::Accepted { id: wish.id }))]);
            }
            (Asker::Operator(token), WishEnd::Refused(refusal)) => {
                self.answer([(token, Err(OperateFailure::Refused(refusal)))]);
            }
            (Asker::Operator(token), WishEnd::MayStillBe) => {
                self.answer([(token, Err(OperateFailure::TimedOut))]);
            }
            (Asker::Node(name), WishEnd::Taken) => self.tell_document(&name, None),
            (Asker::Node(name), WishEnd::Refused(refusal)) => {
                let refusal = Some(refusal);
                let message = ClusterMessage::Operated { id: wish.id, refusal };
                self.outgoing.tell(&name, message);
            }
            // It was told when votes were asked for.
            (Asker::Node(_), WishEnd::MayStillBe) => {}
        }
    }

    /// The document, where this node is a member that serves.
    fn served_document(&self) -> Option<Arc<Document>> {
        self.document().filter(|_| self.service == Service::Serving).cloned()
    }

    /// Members that are believed to be up, this one among them.
    fn alive(&self, document: &Document) -> BTreeSet<Ordinal> {
        let is_alive = |ordinal: &Ordinal| {
            let liveness = self.detector.as_ref().map(|detector| detector.liveness(*ordinal));
            Some(*ordinal) == self.ordinal || liveness == Some(Liveness::Alive)
        };
        document.members().map(|member| member.ordinal).filter(is_alive).collect()
    }

    /// Nodes that messages reach, this one among them.
    fn linked_names(&self) -> BTreeSet<NodeId> {
        let linked = self.peers.all_linked().map(|hello| hello.node_id.clone());
        linked.chain([self.settings.node_id.clone()]).collect()
    }
}

/// The operation that was asked for before and has not ended.
fn asked_before(document: &Document, kind: &OperationKind) -> Option<ChangeId> {
    let is_open = |state| matches!(state, OperationState::Pending | OperationState::Running);
    let mut operations = document.operations.iter();
    let same = operations.find(|operation| operation.kind == *kind && is_open(operation.state))?;
    Some(same.id)
}
