//! What operators want given up: the change under way, or operations that wait.
//!
//! **Never:** gives up another change than the one that the operator saw.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{ChangeId, Document, OperationState};

use super::change::{Change, Fate, operations_under_way, waiting};
use super::event::{AdminToken, OperateDone, OperateFailure};

/// How long deciding is tried.
const DECIDE: Duration = Duration::from_secs(10);

/// How many are tried at once.
const MAX_CANCELS: usize = 64;

/// All that this member tries.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    under_way: Vec<Cancel>,
}

#[derive(Debug)]
struct Cancel {
    /// An administrator to be answered.
    token: Option<AdminToken>,
    change: Change,
    /// What it gives up.
    operations: Vec<ChangeId>,
    until: Duration,
}

impl Cancels {
    /// The change that gives up what this document shows, and which operations that are.
    fn of(document: &Document) -> (Change, Vec<ChangeId>) {
        let fence = document.fence;
        if document.joint().is_some() {
            let operations = operations_under_way(document).map(|operation| operation.id);
            return (Change::Cancel { fence, fate: Fate::GivenUp }, operations.collect());
        }
        let operations: Vec<ChangeId> = waiting(document).map(|operation| operation.id).collect();
        (Change::Drop { operations: operations.clone() }, operations)
    }

    /// What this document shows is to be given up; false where that is nothing.
    pub(super) fn begin(
        &mut self,
        now: Duration,
        document: &Document,
        token: Option<AdminToken>,
    ) -> bool {
        let (change, operations) = Self::of(document);
        if operations.is_empty() || self.under_way.len() >= MAX_CANCELS {
            return false;
        }
        let until = now.saturating_add(DECIDE);
        self.under_way.push(Cancel { token, change, operations, until });
        true
    }

    /// Gives all of them up; the administrators who wait.
    pub(super) fn give_up(&mut self) -> Vec<AdminToken> {
        core::mem::take(&mut self.under_way).into_iter().filter_map(|cancel| cancel.token).collect()
    }

    /// What is to be proposed.
    pub(super) fn change(&self) -> Option<Change> {
        self.under_way.first().map(|cancel| cancel.change.clone())
    }

    /// Those that have come to an end, taken; what to tell administrators.
    pub(super) fn ended(
        &mut self,
        now: Duration,
        document: &Document,
    ) -> Vec<(AdminToken, Result<OperateDone, OperateFailure>)> {
        let mut answers = Vec::new();
        self.under_way.retain(|cancel| {
            let is_over = cancel.change.successor(document).is_none();
            if !is_over && now < cancel.until {
                return true;
            }
            let is_cancelled = |id: &ChangeId| {
                document.operation(*id).is_some_and(|o| o.state == OperationState::Cancelled)
            };
            let answer = match is_over {
                true if cancel.operations.iter().any(is_cancelled) => Ok(OperateDone::Cancelled),
                true => Err(OperateFailure::NothingToCancel),
                false => Err(OperateFailure::TimedOut),
            };
            answers.extend(cancel.token.map(|token| (token, answer)));
            false
        });
        answers
    }

    /// The earliest moment at which one is given up.
    pub(super) fn next_wake(&self) -> Duration {
        self.under_way.iter().map(|cancel| cancel.until).min().unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::worlds::{begun, document_of, finished, join};

    const START: Duration = Duration::ZERO;

    #[test]
    fn a_change_is_cancelled_or_was_faster() {
        let joint = begun(&document_of(&["a"]), &[(7, join("x"))]);
        let done = |document: &Document| {
            let mut cancels = Cancels::default();
            assert!(cancels.begin(START, &joint, Some(AdminToken(1))));
            assert_eq!(cancels.ended(START, &joint), []);
            let answers = cancels.ended(START, document);
            assert_eq!(cancels.change(), None);
            answers
        };
        let cancel = Change::Cancel { fence: joint.fence, fate: Fate::GivenUp };
        let cancelled = cancel.successor(&joint).expect("it is under way");
        assert_eq!(done(&cancelled), [(AdminToken(1), Ok(OperateDone::Cancelled))]);
        let late = [(AdminToken(1), Err(OperateFailure::NothingToCancel))];
        assert_eq!(done(&finished(&joint)), late);
    }

    #[test]
    fn what_waits_is_dropped_and_nothing_is_nothing() {
        let document = document_of(&["a"]);
        let mut cancels = Cancels::default();
        assert!(!cancels.begin(START, &document, Some(AdminToken(1))));
        let enqueue = Change::Enqueue([(ChangeId(7), join("x"))].into());
        let document = enqueue.successor(&document).expect("it waits");
        assert!(cancels.begin(START, &document, Some(AdminToken(1))));
        assert_eq!(cancels.change(), Some(Change::Drop { operations: [ChangeId(7)].into() }));
        let late = [(AdminToken(1), Err(OperateFailure::TimedOut))];
        assert_eq!(cancels.ended(cancels.next_wake(), &document), late);
    }
}
