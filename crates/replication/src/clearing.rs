//! Forgetting all that the store of this node holds of one partition: pages are scanned and their keys
//! forgotten until there are none.
//!
//! **Never:** calls a partition cleared before a scan from its beginning found nothing, and forgets
//! nothing of a partition that this node stores under a layout that admits.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Failure, Key};
use paravon_ring::{KeyHash, Partition};

use crate::event::{Effect, Entry, Now, ScanFailure};
use crate::operations::OperationId;
use crate::pulled::PAGE_BYTES;
use crate::shard::{Operation, Shard};
use crate::stores::{Ended, Settled, Waiter};

/// How long a store that failed is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a partition is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A change has made this node new to it: the change waits.
    New,
    /// This node stores it no longer: nobody waits.
    Foreign,
}

impl Reason {
    /// Keys of one page.
    fn page(self) -> usize {
        match self {
            Self::New => 512,
            Self::Foreign => 64,
        }
    }

    /// Keys that are being forgotten at once.
    fn window(self) -> usize {
        match self {
            Self::New => 64,
            Self::Foreign => 4,
        }
    }

    /// The rest between two pages.
    fn rest(self) -> Option<Duration> {
        match self {
            Self::New => None,
            Self::Foreign => Some(Duration::from_millis(10)),
        }
    }
}

/// A partition on its way to be empty.
#[derive(Debug)]
pub(crate) struct Clearing {
    pub(crate) partition: Partition,
    pub(crate) reason: Reason,
    ready: VecDeque<(KeyHash, Key)>,
    /// Being forgotten.
    under_way: usize,
    /// Keys of this page that were not forgotten.
    failed: usize,
    /// When the next scan begins, while it waits for that.
    resume_at: Option<Duration>,
}

impl Shard {
    pub(crate) fn clear(&mut self, partition: Partition, reason: Reason, out: &mut Vec<Effect>) {
        let (ready, under_way, failed) = (VecDeque::new(), 0, 0);
        let clearing = Clearing { partition, reason, ready, under_way, failed, resume_at: None };
        let id = self.begin(Operation::Clearing(clearing));
        scan_all(id, partition, reason, out);
    }

    /// A page was read.
    pub(crate) fn clearing_scanned(
        &mut self,
        now: Now,
        id: OperationId,
        page: Result<Vec<Entry>, ScanFailure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Clearing(clearing)) = self.operations.get_mut(id) else { return };
        match page {
            Ok(page) if page.is_empty() => {
                let reason = clearing.reason;
                self.operations.remove(id);
                self.cleared(now, reason, out);
            }
            Ok(page) => {
                clearing.ready.extend(page.into_iter().map(|(hash, key, _)| (hash, key)));
                self.advance_clearing(now, id, out);
            }
            // Whatever it held, it goes.
            Err(ScanFailure { at: Some(place), .. }) => {
                clearing.ready.push_back(place);
                self.advance_clearing(now, id, out);
            }
            Err(_) => clearing.resume_at = Some(now.monotonic + PAUSE),
        }
    }

    /// The store of this node has answered: a key is forgotten, durably, or is not.
    pub(crate) fn forget_ended(
        &mut self,
        now: Now,
        forget: OperationId,
        answer: &Result<(), Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Ended { waiter, settled }) = self.stores.end(forget) else { return };
        if let Waiter::Forget(id) = waiter {
            self.forgotten(now, id, answer, out);
        }
        if settled == Settled::Now {
            self.settle(now, out);
        }
    }

    fn forgotten(
        &mut self,
        now: Now,
        id: OperationId,
        answer: &Result<(), Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Clearing(clearing)) = self.operations.get_mut(id) else { return };
        clearing.under_way -= 1;
        clearing.failed += usize::from(answer.is_err());
        self.advance_clearing(now, id, out);
    }

    fn advance_clearing(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Self { operations, stores, .. } = self;
        let Some(Operation::Clearing(clearing)) = operations.get_mut(id) else { return };
        while clearing.under_way < clearing.reason.window()
            && let Some((hash, key)) = clearing.ready.pop_front()
        {
            clearing.under_way += 1;
            let operation = stores.begin(Waiter::Forget(id));
            out.push(Effect::Forget { operation, hash, key });
        }
        if clearing.under_way > 0 {
            return;
        }
        let failed = core::mem::take(&mut clearing.failed) > 0;
        let rest = if failed { Some(PAUSE) } else { clearing.reason.rest() };
        match rest {
            Some(rest) => clearing.resume_at = Some(now.monotonic + rest),
            None => scan_all(id, clearing.partition, clearing.reason, out),
        }
    }

    /// Time has passed: scans that waited for it begin.
    pub(crate) fn resume_clearing(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.clearing_wake().is_none_or(|wake| now.monotonic < wake) {
            return;
        }
        let rested = |operation: &Operation| {
            matches!(operation, Operation::Clearing(clearing)
                if clearing.resume_at.is_some_and(|at| now.monotonic >= at))
        };
        for id in self.operations.select(rested) {
            if let Some(Operation::Clearing(clearing)) = self.operations.get_mut(id) {
                clearing.resume_at = None;
                scan_all(id, clearing.partition, clearing.reason, out);
            }
        }
    }

    /// When a scan that waits is to begin.
    pub(crate) fn clearing_wake(&self) -> Option<Duration> {
        if !self.clears() {
            return None;
        }
        let clearings = self.operations.iter().filter_map(|operation| match operation {
            Operation::Clearing(clearing) => clearing.resume_at,
            _ => None,
        });
        clearings.min()
    }

    /// Another layout is in use. Keys being forgotten are counted as admitted under the one before.
    pub(crate) fn give_up_clearing(&mut self) {
        let clears = |operation: &Operation| matches!(operation, Operation::Clearing(_));
        for id in self.operations.select(clears) {
            self.operations.remove(id);
        }
    }
}

/// From the beginning: what was forgotten is not found again.
fn scan_all(operation: OperationId, partition: Partition, reason: Reason, out: &mut Vec<Effect>) {
    let (limit, bytes) = (reason.page(), PAGE_BYTES);
    out.push(Effect::Scan { operation, partition, after: None, limit, bytes });
}
