//! A member's part in the document: it decides with the council, spreads what was decided, and takes
//! nodes in (`LAYOUT_AGREES`, `EPOCH_FENCE`).
//!
//! **Never:** serves under a document that is not durable: layouts leave through `outgoing`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::{
    ChangeId, ClusterMessage, CouncilMessage, Document, JoinRequest, NodeId, Ordinal, Revision,
};

use super::council::Speech;
use super::event::{ClusterEffect, Notice};
use super::intake::{IntakeStep, Outcome};
use super::{Cluster, Service};
use crate::event::Now;

impl Cluster {
    /// A message about an instance of the document's Paxos.
    pub(super) fn hear_council(&mut self, now: Now, from: &NodeId, message: CouncilMessage) {
        if self.council.is_none()
            && let CouncilMessage::Prepare { base, .. } | CouncilMessage::Accept { base, .. } =
                &message
        {
            // An acceptor stores document n before it votes in n+1, also where it joins by that.
            self.learn_from(now, from, base);
        }
        if self.service != Service::Serving {
            // Its disk may be an old copy, whose vote slot has forgotten a vote (`DISK_NOT_OLDER`).
            return;
        }
        if self.holds_records && raises_fence(&message) {
            // This version moves no records: where there are some, replica sets stay as they are.
            return;
        }
        let Some(council) = &mut self.council else { return };
        let before = council.document().revision();
        let is_vote = matches!(message, CouncilMessage::Vote { .. });
        let mut speeches = Vec::new();
        council.hear(from, message, &mut speeches);
        let has_changed = council.document().revision() != before;
        let voted_on = council.asks_votes_for().map(|value| self.intake.asks_votes_for(value));
        let outcome = |request| (request, Outcome::MayStillBe);
        self.tell_results(voted_on.into_iter().flatten().map(outcome).collect());
        self.speak(speeches);
        if has_changed {
            if is_vote {
                self.spread();
            }
            self.document_changed(now);
        }
    }

    fn speak(&mut self, speeches: Vec<Speech>) {
        for (to, message) in speeches {
            self.outgoing.tell(&to, message);
        }
    }

    /// Tells everybody who is reached of the document that this node has seen decided.
    pub(super) fn spread(&mut self) {
        let Some(document) = self.document().cloned() else { return };
        for hello in self.peers.all_linked() {
            let message = ClusterMessage::Document(Arc::clone(&document));
            self.outgoing.tell(&hello.node_id, message);
        }
    }

    /// A node told a document. It counts where that names the node as a member.
    pub(super) fn learn_from(&mut self, now: Now, from: &NodeId, document: &Arc<Document>) {
        if document.member_named(from).is_some() {
            self.learn(now, document);
        }
    }

    /// Takes over a document that is decided, if it is later.
    pub(super) fn learn(&mut self, now: Now, document: &Arc<Document>) {
        match &mut self.council {
            None => self.consider_entry(now, document),
            Some(council) => {
                if council.learn(document) {
                    self.document_changed(now);
                }
            }
        }
    }

    /// Another document is known than before: the shards get its layout once it is durable.
    pub(super) fn document_changed(&mut self, now: Now) {
        let Some(document) = self.document().cloned() else { return };
        if document.member_named(&self.settings.node_id).is_none() {
            self.service = Service::NotMember;
            self.shut_out();
            return self.notice(Notice::NotMember);
        }
        if self.service == Service::Serving {
            self.outgoing.push(ClusterEffect::Layout { document });
        }
        self.watch_members(now);
        self.intake.document_changed(now.monotonic);
        self.take_in(now);
    }

    /// Answers with the document where it is later than what the asker knows.
    pub(super) fn tell_document(&mut self, to: &NodeId, known: Option<Revision>) {
        if let Some(document) = self.document().cloned()
            && Some(document.revision()) > known
        {
            self.outgoing.tell(to, ClusterMessage::Document(document));
        }
    }

    /// A member knows an earlier layout only.
    pub(super) fn teach(&mut self, peer: Ordinal) {
        let Some(document) = self.document().cloned() else { return };
        if let Some(member) = document.member(peer) {
            let name = member.node_id.clone();
            self.outgoing.tell(&name, ClusterMessage::Document(document));
        }
    }

    /// This node knows an earlier layout only.
    pub(super) fn ask(&mut self, peer: Ordinal) {
        let Some(document) = self.document().cloned() else { return };
        if let Some(member) = document.member(peer) {
            let known = Some(document.revision());
            self.outgoing.tell(&member.node_id, ClusterMessage::AskDocument { known });
        }
    }

    /// A node wants to become a member. Only itself may ask for it (`NO_STRANGER`).
    pub(super) fn asked_to_join(&mut self, now: Now, from: &NodeId, request: JoinRequest) {
        if self.service != Service::Serving || request.node_id != *from {
            return;
        }
        let Some(document) = self.document().cloned() else { return };
        if let Some(step) = self.intake.wish(now.monotonic, &document, request) {
            self.do_intake(step);
        }
    }

    /// A member asks whether this one holds a record.
    pub(super) fn asked_whether_empty(&mut self, from: &NodeId, change: ChangeId) {
        if self.service == Service::Serving && self.ordinal_of(from).is_some() {
            let empty = !self.holds_records;
            self.outgoing.tell(from, ClusterMessage::Emptiness { change, empty });
        }
    }

    /// A member says whether it holds one.
    pub(super) fn told_emptiness(
        &mut self,
        now: Now,
        from: &NodeId,
        change: ChangeId,
        empty: bool,
    ) {
        let Some(member) = self.ordinal_of(from) else { return };
        if empty {
            self.intake.heard_empty(change, member);
        } else if let Some(step) = self.intake.heard_records(now.monotonic, member) {
            self.do_intake(step);
        }
        self.take_in(now);
    }

    /// Goes on with those who want to join.
    pub(super) fn take_in(&mut self, now: Now) {
        if let Some(member) = self.ordinal
            && self.holds_records
            && let Some(step) = self.intake.heard_records(now.monotonic, member)
        {
            // A write came between this node's answer and the next ballot.
            self.do_intake(step);
        }
        while self.service == Service::Serving
            && let Some(document) = self.document().cloned()
            && let Some(step) = self.intake.tick(now.monotonic, &document, &mut self.random)
        {
            self.do_intake(step);
        }
    }

    fn do_intake(&mut self, step: IntakeStep) {
        match step {
            IntakeStep::Ask { round, whom } => {
                for name in whom {
                    self.outgoing.tell(&name, ClusterMessage::AskEmpty { change: round });
                }
            }
            IntakeStep::Propose(change) => {
                let mut speeches = Vec::new();
                if let Some(council) = &mut self.council {
                    council.propose(&change, &mut speeches);
                }
                self.speak(speeches);
            }
            IntakeStep::Done(results) => self.tell_results(results),
            IntakeStep::Ended(results) => {
                // Only here: a late retry must not end the ballot of another join.
                if let Some(council) = &mut self.council {
                    council.give_up();
                }
                self.tell_results(results);
            }
        }
    }

    fn tell_results(&mut self, results: Vec<(JoinRequest, Outcome)>) {
        for (request, outcome) in results {
            let refusal = match outcome {
                Outcome::Joined => {
                    self.tell_document(&request.node_id, None);
                    continue;
                }
                Outcome::Refused(refusal) => Some(refusal),
                Outcome::MayStillBe => None,
            };
            let message = ClusterMessage::Joined { change: request.change, refusal };
            self.outgoing.tell(&request.node_id, message);
        }
    }
}

/// Whether a vote is asked for that would change replica sets (`EPOCH_FENCE`).
fn raises_fence(message: &CouncilMessage) -> bool {
    matches!(message, CouncilMessage::Accept { base, value, .. } if value.fence() > base.fence())
}
