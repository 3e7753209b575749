//! How far this node is with the layout of its document, told to those who wait for it; and how a node
//! that has left knows that it may go.
//!
//! **Never:** says that a fence is stored before the disk says so: reports leave through `outgoing`.

use alloc::collections::BTreeSet;

use paravon_model::{ClusterMessage, Fence, NodeId, Ordinal, Progress, Report, majority};

use super::change::council_names;
use super::event::{ClusterEffect, Notice};
use super::{Cluster, Service};
use crate::event::Now;

impl Cluster {
    /// All shards use the layout of this fence, and nothing of an earlier one is left.
    pub(super) fn settled(&mut self, now: Now, fence: Fence, progress: Progress) {
        let is_present = self.document().is_some_and(|document| document.fence() == fence);
        if self.service != Service::Serving || !is_present {
            // A later layout is on its way to the shards, and settles for this one.
            return;
        }
        if self.stored != Some(fence) {
            self.hints = None;
        }
        self.stored = Some(fence);
        self.progress = Some((fence, progress));
        self.outgoing.push(ClusterEffect::Admit { fence });
        self.tell_report(now);
    }

    /// More was taken over.
    pub(super) fn progressed(&mut self, now: Now, fence: Fence, progress: Progress) {
        let Some((_, known)) = self.progress.as_mut().filter(|(of, _)| *of == fence) else {
            return;
        };
        let was_complete = known.is_complete();
        *known = progress;
        if progress.is_complete() && !was_complete {
            self.tell_report(now);
        }
    }

    /// So many hints are kept here for others.
    pub(super) fn hints_kept(&mut self, now: Now, hints: u64) {
        let were_left = self.hints.replace(hints) != Some(0);
        if hints == 0 && were_left && self.is_leaving() {
            self.tell_report(now);
        }
    }

    fn is_leaving(&self) -> bool {
        let own = self.document().zip(self.ordinal);
        own.is_some_and(|(document, own)| document.is_leaving(own))
    }

    /// What this node can say of itself. After a restart it knows what it has taken over only once its
    /// shards have looked; and one that leaves waits until its hints are counted.
    fn own_report(&self) -> Option<Report> {
        let stored = self.stored?;
        let (_, progress) = self.progress.filter(|(fence, _)| *fence == stored)?;
        let hints = if self.is_leaving() { self.hints? } else { self.hints.unwrap_or(0) };
        Some(Report { stored, progress, hints })
    }

    /// Tells its report to those who decide, and as one of them to those who leave.
    pub(super) fn tell_report(&mut self, now: Now) {
        let Some((report, own)) = self.own_report().zip(self.ordinal) else { return };
        let Some(document) = self.known_document().cloned() else { return };
        if self.reports.hear(own, report) {
            self.driver.look_now();
        }
        let mut whom: BTreeSet<NodeId> = council_names(&document).cloned().collect();
        if document.council.contains(&own) {
            let leavers = document.members().filter(|member| document.is_leaving(member.ordinal));
            whom.extend(leavers.map(|member| member.node_id.clone()));
            whom.extend(self.peers.departed(&document).cloned());
        }
        whom.remove(&self.settings.node_id);
        for name in whom.iter().filter(|name| self.peers.is_linked(name)) {
            self.outgoing.tell(name, ClusterMessage::Report { member: own, report });
        }
        self.drive(now);
    }

    /// Once a second, while somebody waits for it.
    pub(super) fn report(&mut self, now: Now) {
        let Some(document) = self.known_document() else { return };
        let is_waited_for = document.joint().is_some()
            || !document.past.is_empty()
            || self.peers.departed(document).next().is_some();
        if is_waited_for && self.service == Service::Serving {
            self.tell_report(now);
        }
    }

    /// A member says how far it is. What one that is replaced by its like says is not for that one.
    pub(super) fn hear_report(&mut self, now: Now, from: &NodeId, member: Ordinal, report: Report) {
        if self.ordinal_of(from) != Some(member) {
            return;
        }
        if self.reports.hear(member, report) {
            self.driver.look_now();
            self.drive(now);
        }
        self.leave_once_known();
    }

    /// A node that has left goes on answering until a majority of those who decide by now has stored
    /// a document without it: before that, they may need what it knows (`LAYOUT_AGREES`).
    pub(super) fn leave_once_known(&mut self) {
        let Some(document) = self.document().filter(|_| self.service == Service::Leaving) else {
            return;
        };
        let fence = document.fence();
        let knows = |member: &&Ordinal| self.reports.has_stored(**member, fence);
        let council = &document.council;
        if council.iter().filter(knows).count() >= majority(council.len()) {
            self.service = Service::NotMember;
            self.notice(Notice::Left);
        }
    }
}
