//! What a member sees of its cluster at one moment, as far as changes of the layout depend on it.
//!
//! **Never:** decides anything; `driver` and `objections` do.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Document, Fence, Member, NodeId, Ordinal, Roster, majority};
use paravon_ring::are_in_one_set;

use super::change::MAX_PAST;
use super::reports::Reports;

/// The document, and who is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// The present moment.
    pub(super) now: Duration,
    /// The latest document.
    pub(super) document: &'a Document,
    /// Whose view it is.
    pub(super) own: Ordinal,
    /// Members that are believed to be up, the viewer among them.
    pub(super) alive: &'a BTreeSet<Ordinal>,
    /// Nodes that messages reach.
    pub(super) linked: &'a BTreeSet<NodeId>,
    /// What members have said of how far they are.
    pub(super) reports: &'a Reports,
}

impl View<'_> {
    /// Whether this one is up; a node that is no member yet is where messages reach it.
    pub(super) fn is_there(&self, member: &Member) -> bool {
        if self.document.member(member.ordinal).is_some() {
            self.alive.contains(&member.ordinal)
        } else {
            self.linked.contains(&member.node_id)
        }
    }

    /// Whether every set of the layout that `after` is on the way to has a majority that is up,
    /// wherever its members stand. True where it is on the way to none.
    pub(super) fn has_live_majorities(&self, after: &Document) -> bool {
        let Some(joint) = after.joint() else { return true };
        let missing = joint.next.members.iter().filter(|member| !self.is_there(member)).count();
        missing <= may_miss(joint.next.copies())
    }

    /// Whether a change that does without these members could not end, because some partition of
    /// `roster` has, besides them and those that are down, less than half of its copies left to take over
    /// from (`sources`).
    pub(super) fn lacks_sources(&self, roster: &Roster, lost: &[Ordinal]) -> bool {
        let is_gone = |member: &&Member| !self.is_there(member) || lost.contains(&member.ordinal);
        let gone: Vec<Ordinal> = roster.members.iter().filter(is_gone).map(|m| m.ordinal).collect();
        let too_many = majority(roster.copies());
        gone.len() >= too_many && are_in_one_set(self.document, roster, &gone, too_many)
    }

    /// Whether `after` does without members that are lost, and could not end for want of others.
    pub(super) fn cannot_end(&self, after: &Document) -> bool {
        let joint = after.joint().filter(|joint| !joint.lost.is_empty());
        joint.is_some_and(|joint| self.lacks_sources(&after.current, &joint.lost))
    }

    /// The smallest fence that a member in force has reported as stored.
    pub(super) fn smallest_stored(&self) -> u64 {
        let members = self.document.members().map(|member| member.ordinal);
        self.reports.smallest_stored(self.document, members).map_or(0, |(number, _)| number)
    }

    /// A member that has been away for so many changes that `after`, which begins another one, would
    /// have to remember too many; unless that one does without it.
    pub(super) fn too_far_behind(&self, after: &Document) -> Option<Ordinal> {
        let joint = after.joint().filter(|_| after.past.len() >= MAX_PAST)?;
        let stays = self.document.members().filter(|member| !joint.lost.contains(&member.ordinal));
        let stays = stays.map(|member| member.ordinal);
        let (number, member) = self.reports.smallest_stored(self.document, stays)?;
        let stored = Fence { generation: after.generation, number };
        let needed = after.past.iter().filter(|change| change.fence() > stored).count();
        (needed >= MAX_PAST).then_some(member)
    }
}

/// How many of a set of so many copies may be missing while the rest is a majority.
pub(super) fn may_miss(copies: usize) -> usize {
    copies.saturating_sub(majority(copies))
}
