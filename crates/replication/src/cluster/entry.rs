//! A node without a document: it founds a cluster, or waits, or joins one.
//!
//! **Never:** founds where it sees a cluster, or where it has asked one to be taken in.

use alloc::sync::Arc;

use paravon_model::{ChangeId, ClusterMessage, Document, JoinRefusal, NodeId, Ordinal, VoteSlot};

use super::council::Council;
use super::event::{AdminToken, ClusterEffect, JoinDone, JoinFailure, Notice};
use super::founding::{Founding, FoundingStep, first_document};
use super::join::{Answer, Joiner, WishPurpose};
use super::liveness::FailureDetector;
use super::{Cluster, Service};
use crate::event::Now;

impl Cluster {
    /// Whether this node may become the founder of a cluster.
    pub(super) fn may_found(&self) -> bool {
        // A cluster that it has asked may have taken it in, whatever the operator says.
        let has_asked = self.joiner.change().is_some();
        let is_free = self.founding.waits_for().is_none() || self.settings.found_anyway;
        !has_asked && !self.joiner.sees_cluster(&self.peers) && is_free
    }

    /// Founds, waits or asks to be taken in.
    pub(super) fn seek_entry(&mut self, now: Now) {
        if self.may_found() {
            match self.founding.tick(now.monotonic, &self.settings, &self.peers) {
                FoundingStep::Found => return self.found(now),
                FoundingStep::Wait => {}
                FoundingStep::Ask { whom, silent } => {
                    for name in whom {
                        self.outgoing.tell(&name, ClusterMessage::AskToFound);
                    }
                    if !silent.is_empty() {
                        self.notice(Notice::SeedsSilent { silent });
                    }
                }
            }
        } else {
            self.founding.stand_by(now.monotonic);
            if !self.said_that_it_waits && !self.settings.auto_join {
                self.said_that_it_waits = true;
                self.notice(Notice::WaitsToJoin);
            }
        }
        if self.holds_records {
            return self.stay_outside();
        }
        let fresh = self.random.change();
        let asked = self.joiner.ask(now.monotonic, &self.settings, &self.peers, fresh);
        if let Some((whom, request)) = asked {
            self.outgoing.tell(&whom, ClusterMessage::Join(request));
        }
        let answers = self.joiner.answers(now.monotonic, &self.peers);
        self.answer(answers);
    }

    /// Records of its own would come into the cluster with it, also those that the cluster has deleted
    /// (`NO_RESURRECTION`): it neither asks nor enters.
    fn stay_outside(&mut self) {
        if self.joiner.is_under_way() && !self.said_that_it_holds_records {
            self.said_that_it_holds_records = true;
            self.notice(Notice::HoldsRecords);
        }
        for token in self.joiner.waiting() {
            self.answer([(token, Err(JoinFailure::HoldsRecords))]);
        }
    }

    fn found(&mut self, now: Now) {
        let document = Arc::new(first_document(&self.settings));
        self.notice(Notice::Founded { cluster_id: document.cluster_id });
        for token in self.joiner.waiting() {
            self.answer([(token, Err(JoinFailure::AlreadyMember))]);
        }
        self.become_member(now, Ordinal(1), document);
        self.spread();
    }

    /// A document that some member told, while this node has none.
    pub(super) fn consider_entry(&mut self, now: Now, document: &Arc<Document>) {
        let member = document.member_named(&self.settings.node_id);
        match member.map(|member| member.ordinal) {
            Some(ordinal)
                if !self.holds_records && self.joiner.is_taken_in_by(&self.settings, document) =>
            {
                self.notice(Notice::Joined { ordinal });
                for token in self.joiner.waiting() {
                    self.answer([(token, Ok(JoinDone::Joined { ordinal }))]);
                }
                self.become_member(now, ordinal, Arc::clone(document));
            }
            _ => self.joiner.sees(document),
        }
    }

    /// It has a number from now on, and a disk that has held nothing under it before: it serves as
    /// soon as that is durable.
    fn become_member(&mut self, now: Now, ordinal: Ordinal, document: Arc<Document>) {
        let random = self.random.branch();
        let start = self.settings.start;
        self.detector = Some(FailureDetector::new(now.monotonic, ordinal, start, random));
        self.ordinal = Some(ordinal);
        self.council = Some(Council::new(ordinal, document, VoteSlot::default()));
        self.founding = Founding::new(now.monotonic, None);
        self.joiner = Joiner::new(&self.settings, None);
        self.service = Service::Serving;
        self.document_changed(now);
    }

    /// An administrator wants this node to join.
    pub(super) fn wish_to_join(&mut self, now: Now, token: AdminToken, dry_run: bool) {
        if self.council.is_some() {
            return self.answer([(token, Err(JoinFailure::AlreadyMember))]);
        }
        let purpose = if dry_run { WishPurpose::Plan } else { WishPurpose::Join };
        self.joiner.wish(now.monotonic, token, purpose);
        self.seek_entry(now);
    }

    /// A member says what became of the join.
    pub(super) fn join_answered(&mut self, change: ChangeId, refusal: Option<JoinRefusal>) {
        if self.council.is_some() {
            return;
        }
        match refusal {
            None => self.joiner.may_still_be(change),
            Some(refusal) => {
                let answers = self.joiner.refused(change, refusal);
                self.answer(answers);
            }
        }
    }

    /// A node without a document wants to found.
    pub(super) fn asked_to_found(&mut self, from: &NodeId) {
        let Some(address) = self.peers.get(from).map(|peer| peer.hello.address.clone()) else {
            return;
        };
        let sees_cluster = self.council.is_some()
            || self.joiner.change().is_some()
            || self.joiner.sees_cluster(&self.peers);
        let answer = if sees_cluster {
            ClusterMessage::MayNotFound
        } else {
            self.founding.asked(&self.settings, from, &address)
        };
        self.outgoing.tell(from, answer);
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.outgoing.push(ClusterEffect::Notice(notice));
    }

    /// Nothing will come of any wish to join.
    pub(super) fn shut_out(&mut self) {
        let tokens = self.joiner.waiting().into_iter();
        self.answer(tokens.map(|token| (token, Err(JoinFailure::ShutOut))));
    }

    pub(super) fn answer(&mut self, answers: impl IntoIterator<Item = Answer>) {
        for (token, answer) in answers {
            self.outgoing.push(ClusterEffect::Admin { token, answer });
        }
    }
}
