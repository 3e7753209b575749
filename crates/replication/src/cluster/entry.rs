//! A node without a document: it founds a cluster, or waits, or joins one.
//!
//! **Never:** founds where it sees a cluster, or where it has asked one to be taken in.

use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::{
    ChangeId, ClusterMessage, Document, NodeId, OperationRefusal, Ordinal, VoteSlot,
};

use super::council::Council;
use super::disks::Disks;
use super::event::{AdminToken, ClusterEffect, Notice, OperateDone, OperateFailure, OperateMode};
use super::founding::{Founding, FoundingStep, first_document};
use super::join::{Answer, Goal, Joiner, plan};
use super::liveness::FailureDetector;
use super::reports::Reports;
use super::settings::Liveness;
use super::skew::Skew;
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
        if let Some(whom) = self.joiner.ask_for_document(now.monotonic, &self.peers) {
            self.outgoing.tell(&whom, ClusterMessage::AskDocument { known: None });
        }
        let fresh = self.random.change();
        let asked = self.joiner.ask(now.monotonic, &self.settings, &self.peers, fresh);
        if let Some((whom, id, kind)) = asked {
            self.outgoing.tell(&whom, ClusterMessage::Operate { id, kind });
        }
        let answers = self.joiner.answers(now.monotonic, &self.settings, &self.peers);
        self.answer(answers);
    }

    fn found(&mut self, now: Now) {
        let document = Arc::new(first_document(&self.settings));
        self.notice(Notice::Founded { cluster_id: document.cluster_id });
        for token in self.joiner.waiting() {
            self.answer([(token, Err(OperateFailure::AlreadyMember))]);
        }
        self.become_member(now, Ordinal(1), document);
        self.spread();
    }

    /// A document that some member told, while this node has none.
    pub(super) fn consider_entry(&mut self, now: Now, document: &Arc<Document>) {
        let Some(ordinal) = self.joiner.number(&self.settings.node_id, document) else {
            let answers = self.joiner.sees(document);
            return self.answer(answers);
        };
        self.notice(Notice::Joined { ordinal });
        for token in self.joiner.waiting() {
            self.answer([(token, Ok(OperateDone::Joined { ordinal }))]);
        }
        self.become_member(now, ordinal, Arc::clone(document));
    }

    /// It has a number from now on. It serves once a majority has heard so: an old copy of a disk may
    /// remember that it asked, and not that it was taken in (`DISK_NOT_OLDER`).
    fn become_member(&mut self, now: Now, ordinal: Ordinal, document: Arc<Document>) {
        let random = self.random.branch();
        let start = self.settings.start;
        self.detector = Some(FailureDetector::new(now.monotonic, ordinal, start, random));
        self.ordinal = Some(ordinal);
        self.council = Some(Council::new(ordinal, document, VoteSlot::default()));
        self.founding = Founding::new(now.monotonic, None);
        // What else it asked for may still be done, and stand when this number is gone.
        let past = self.joiner.take_past(self.ordinal);
        self.joiner = Joiner::of_member(&self.settings, past);
        self.service = Service::Starting;
        self.document_changed(now);
    }

    /// Its place in the cluster is gone, and what it knew there with it: it comes again, if at all, as
    /// a newcomer by this name. Whatever its stores hold is emptied before it counts.
    pub(super) fn start_over(&mut self, now: Now, change: ChangeId) {
        self.shut_out();
        self.forget_the_dead();
        let document = self.seen_document().cloned();
        let past = self.joiner.take_past(self.ordinal);
        self.joiner = Joiner::again(&self.settings, change, past, document);
        self.founding = Founding::new(now.monotonic, None);
        self.disks = Disks::new(&[]);
        self.reports = Reports::default();
        self.taken_by.clear();
        self.skew = Skew::new(self.settings.max_skew);
        (self.ordinal, self.council, self.detector) = (None, None, None);
        (self.came_by, self.stored) = (None, None);
        (self.progress, self.hints) = (None, None);
        self.said_that_it_waits = false;
        self.service = Service::Outside;
    }

    /// Who comes again believes everybody to be up, and so must they who were told otherwise.
    fn forget_the_dead(&mut self) {
        let Some((detector, document)) = self.detector.as_ref().zip(self.document()) else {
            return;
        };
        let members = document.members().map(|member| member.ordinal);
        let dead = members.filter(|&member| detector.liveness(member) == Liveness::Dead);
        for peer in dead.collect::<Vec<_>>() {
            self.outgoing.push(ClusterEffect::Alive { peer });
        }
    }

    /// An administrator wants this node to come in.
    pub(super) fn wish_to_come(
        &mut self,
        now: Now,
        token: AdminToken,
        goal: Goal,
        mode: OperateMode,
    ) {
        if self.service.has_ended() {
            if mode == OperateMode::Plan {
                let answer = match self.seen_document() {
                    Some(seen) if self.joiner.is_outdated(seen) => Err(OperateFailure::ShutOut),
                    Some(seen) => plan(&self.settings, seen, &goal),
                    None => Err(OperateFailure::NoCluster),
                };
                return self.answer([(token, answer)]);
            }
            let fresh = self.random.change();
            self.start_over(now, fresh);
        }
        let failure = match self.service {
            Service::Outside => {
                self.joiner.wish(now.monotonic, token, goal, mode);
                return self.seek_entry(now);
            }
            Service::Starting | Service::Serving => OperateFailure::AlreadyMember,
            // Those who decide may still need what it knows; ended ones have started over.
            Service::Leaving | Service::OldDisk | Service::NotMember => OperateFailure::ShutOut,
        };
        self.answer([(token, Err(failure))]);
    }

    /// A member says what became of the operation that was asked for.
    pub(super) fn operation_answered(&mut self, id: ChangeId, refusal: Option<OperationRefusal>) {
        if self.council.is_some() {
            return;
        }
        match refusal {
            None => self.joiner.may_still_be(id),
            Some(refusal) => {
                let answers = self.joiner.refused(id, refusal);
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

    /// Nothing will come of any wish to come in, and of others' wishes not through this node.
    pub(super) fn shut_out(&mut self) {
        let tokens = self.joiner.waiting().into_iter();
        self.answer(tokens.map(|token| (token, Err(OperateFailure::ShutOut))));
        let asked = [self.wishes.give_up(), self.cancels.give_up()].concat();
        self.answer(asked.into_iter().map(|token| (token, Err(OperateFailure::TimedOut))));
    }

    pub(super) fn answer(&mut self, answers: impl IntoIterator<Item = Answer>) {
        for (token, answer) in answers {
            self.outgoing.push(ClusterEffect::Admin { token, answer });
        }
    }
}
