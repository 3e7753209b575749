//! What members have said of how far they are: what the end of a change waits for.
//!
//! **Never:** guesses. A member that has said nothing has stored nothing.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use paravon_model::{Document, Fence, Ordinal, Progress, Report};

/// The latest report of each member.
#[derive(Debug, Default)]
pub(super) struct Reports {
    known: BTreeMap<Ordinal, Report>,
}

impl Reports {
    /// A member says how far it is; whether anything is new. Messages arrive in any order: what was
    /// stored or complete once stays so.
    pub(super) fn hear(&mut self, member: Ordinal, report: Report) -> bool {
        let Some(known) = self.known.get_mut(&member) else {
            self.known.insert(member, report);
            return true;
        };
        if report.stored < known.stored {
            return false;
        }
        let is_new = *known != report;
        let was_further =
            report.stored == known.stored && known.progress.complete > report.progress.complete;
        let progress = if was_further { known.progress } else { report.progress };
        *known = Report { progress, ..report };
        is_new
    }

    /// Those of members that have left are forgotten.
    pub(super) fn keep_members(&mut self, document: &Document) {
        self.known.retain(|&member, _| document.member(member).is_some());
    }

    /// All of them, by ordinal.
    pub(super) fn all(&self) -> Vec<(Ordinal, Report)> {
        self.known.iter().map(|(&member, &report)| (member, report)).collect()
    }

    /// Whether a member has stored this fence.
    pub(super) fn has_stored(&self, member: Ordinal, fence: Fence) -> bool {
        self.known.get(&member).is_some_and(|report| report.stored >= fence)
    }

    /// What a member has taken over under exactly this fence.
    pub(super) fn progress(&self, member: Ordinal, fence: Fence) -> Option<Progress> {
        self.of(member, fence).map(|report| report.progress)
    }

    /// Hints that a member keeps under exactly this fence.
    pub(super) fn hints(&self, member: Ordinal, fence: Fence) -> Option<u64> {
        self.of(member, fence).map(|report| report.hints)
    }

    fn of(&self, member: Ordinal, fence: Fence) -> Option<&Report> {
        self.known.get(&member).filter(|report| report.stored == fence)
    }

    /// The smallest fence that any of these has stored, and whose that is; zero for one that has said
    /// nothing, or was left behind by a rescue.
    pub(super) fn smallest_stored(
        &self,
        document: &Document,
        members: impl Iterator<Item = Ordinal>,
    ) -> Option<(u64, Ordinal)> {
        let stored = |member: Ordinal| {
            let report = self.known.get(&member);
            let report = report.filter(|report| report.stored.generation == document.generation);
            (report.map_or(0, |report| report.stored.number), member)
        };
        members.map(stored).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::worlds::document_of;

    fn report(number: u64, complete: u64, hints: u64) -> Report {
        let stored = Fence { generation: 0, number };
        let progress = Progress { partitions: 4, complete, ..Progress::default() };
        Report { stored, progress, hints }
    }

    #[test]
    fn a_late_report_takes_nothing_back_but_hints() {
        let mut reports = Reports::default();
        let (member, fence) = (Ordinal(2), Fence { generation: 0, number: 5 });
        assert!(reports.hear(member, report(5, 4, 0)));
        assert!(!reports.hear(member, report(4, 0, 9)), "of an earlier fence");
        assert!(reports.hear(member, report(5, 1, 3)));
        assert_eq!(reports.progress(member, fence).map(|progress| progress.complete), Some(4));
        assert_eq!(reports.hints(member, fence), Some(3));
        reports.hear(member, report(6, 0, 0));
        assert_eq!(reports.progress(member, fence), None, "void under another fence");
        assert!(reports.has_stored(member, fence));
    }

    #[test]
    fn one_that_has_said_nothing_has_stored_nothing() {
        let document = document_of(&["a", "b"]);
        let mut reports = Reports::default();
        let members = || [Ordinal(1), Ordinal(2)].into_iter();
        reports.hear(Ordinal(1), report(7, 4, 0));
        assert_eq!(reports.smallest_stored(&document, members()), Some((0, Ordinal(2))));
        reports.hear(Ordinal(2), report(9, 4, 0));
        assert_eq!(reports.smallest_stored(&document, members()), Some((7, Ordinal(1))));
        reports.hear(Ordinal(3), report(9, 4, 0));
        reports.keep_members(&document);
        assert_eq!(reports.all().len(), 2);
    }
}
