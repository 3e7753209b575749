//! A member's part in the document: it decides with the council, spreads what was decided, and goes
//! where the document says that it has left (`LAYOUT_AGREES`, `EPOCH_FENCE`).
//!
//! **Never:** serves under a document that is not durable: layouts leave through `outgoing`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::{
    ChangeId, ClusterMessage, CouncilMessage, Document, Newcomer, NodeId, OperationState, Ordinal,
    Revision,
};

use super::change::{has_brought, newcomer, operations_under_way};
use super::council::Speech;
use super::event::{ClusterEffect, Notice};
use super::{Cluster, Service};
use crate::event::Now;
use crate::mutants::{self, Mutant};

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
        if !matches!(self.service, Service::Serving | Service::Leaving) {
            // Its disk may be an old copy, whose vote slot has forgotten a vote (`DISK_NOT_OLDER`). One
            // that leaves has no vote, but tells the document.
            return;
        }
        let Some(council) = &mut self.council else { return };
        let before = council.document().revision();
        let is_vote = matches!(message, CouncilMessage::Vote { .. });
        let mut speeches = Vec::new();
        council.hear(from, message, &mut speeches);
        let has_changed = council.document().revision() != before;
        self.tell_what_may_still_be();
        self.speak(speeches);
        if has_changed {
            if is_vote {
                self.spread();
            }
            self.document_changed(now);
        }
    }

    pub(super) fn speak(&mut self, speeches: Vec<Speech>) {
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

    /// A node told a document. It counts where the node is a member by that, or by the document known
    /// here: one that leaves may be the only one that knows of it.
    pub(super) fn learn_from(&mut self, now: Now, from: &NodeId, document: &Arc<Document>) {
        if document.member_named(from).is_some() || self.ordinal_of(from).is_some() {
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
        let Some((document, own)) = self.known_document().cloned().zip(self.ordinal) else {
            return;
        };
        self.peers.note_members(&document);
        let document = Arc::clone(&document);
        self.reports.keep_members(&document);
        self.ballots.document_changed();
        self.driver.look_now();
        if document.member(own).is_none() {
            return self.withdraw(now, &document);
        }
        self.came_by = brought_by(&document, own);
        if self.service == Service::Serving {
            let stored = self.stored;
            self.outgoing.push(ClusterEffect::Layout { document, stored });
        }
        self.watch_members(now);
        self.drive(now);
    }

    /// The document does not name this node any more: it serves nothing from now on.
    fn withdraw(&mut self, now: Now, document: &Arc<Document>) {
        let own_name = &self.settings.node_id;
        let stands = |id: &ChangeId| match document.operation(*id).map(|known| known.state) {
            Some(OperationState::Pending | OperationState::Running) => true,
            // Else it ended with the number that is gone: who took that out meant this node.
            Some(OperationState::Done) => has_brought(document, *id, own_name),
            Some(OperationState::Cancelled) | None => false,
        };
        if let Some(id) = self.came_by.take().filter(stands) {
            // The change that brought it was overtaken, and is done again with a new number; or has
            // been, where it heard of that too late.
            self.notice(Notice::NotMember);
            self.start_over(now, id);
            return self.learn(now, document);
        }
        if self.service != Service::Leaving {
            self.service = Service::Leaving;
            self.notice(Notice::NotMember);
            self.shut_out();
        }
        if mutants::is(Mutant::LeavesEarly) {
            self.service = Service::NotMember;
        }
        self.watch_members(now);
        self.leave_once_known();
    }

    /// Its number is gone, and its name was given a later one: nobody speaks to it as what it was, so
    /// it cannot hear the document that says so. Nobody needs what it knows (`LAYOUT_AGREES`). Where it had
    /// left before, whoever gave the later number had stored, in a majority of those who decide, a document
    /// without this one. Where its like has replaced it, the later number is from the `joint` document, by
    /// which this one still decides; but by that its name means its like, so that no vote of its own was
    /// counted when the change was ended, and those whose votes were have stored that document.
    pub(super) fn was_removed(&mut self, now: Now) {
        // A document that tells the later number itself may well be the latest.
        let own = self.ordinal_of(&self.settings.node_id);
        if let Some(document) = self.document()
            && own.is_none_or(|number| Some(number) <= self.ordinal)
        {
            let outdated = document.revision();
            self.joiner.outdate(outdated);
        }
        if self.service != Service::Leaving {
            self.notice(Notice::NotMember);
        }
        if let Some(id) = self.came_by.take() {
            // The operation that brought it may have been done again with that later number.
            self.start_over(now, id);
        } else {
            self.shut_out();
            self.service = Service::NotMember;
            self.notice(Notice::Left);
        }
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
}

/// The operation that has brought this member, while the change that it came with is under way: should
/// that be overtaken, the same operation brings the node again. Another of its name may be another
/// node's.
pub(super) fn brought_by(document: &Document, member: Ordinal) -> Option<ChangeId> {
    let new = document.member(member).filter(|_| document.current.member(member).is_none())?;
    let brings = |newcomer: &Newcomer| newcomer.node_id == new.node_id;
    let mut operations = operations_under_way(document);
    let brought = operations.find(|operation| newcomer(&operation.kind).is_some_and(brings));
    brought.map(|operation| operation.id)
}
