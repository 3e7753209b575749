//! Forgetting all that the store of this node holds of one partition: its pages are scanned one behind the
//! other and their keys forgotten.
//!
//! One pass from the beginning to the end is enough where nothing is stored meanwhile: of a partition that
//! this node is in no set of, every store is refused, and those that an earlier layout admitted had ended
//! before this one was stored. What is to be empty before a change is passed through until nothing is
//! found. Where no change waits, marks that promise nothing are durable before the first key goes: a rescue
//! from a layout that others have left behind may make this node a member again without emptying it.
//! **Never:** calls a partition cleared of which a key was not forgotten, durably, and forgets
//! nothing of a partition that this node stores under a layout that admits.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Failure, Key, Part};
use paravon_ring::{KeyHash, Partition};

use crate::event::{Effect, Entry, Now, ScanFailure};
use crate::marks::PartitionMarks;
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::pulled::PAGE_BYTES;
use crate::shard::Shard;
use crate::stores::Waiter;

/// How long a store that failed is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// Keys of one page of a partition that is to be empty, and those that are being forgotten at once.
const NEW_PAGE: usize = 512;
const NEW_KEYS: usize = 64;

/// Why a partition is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A change has made this node new to it: the change waits.
    New,
    /// This node stores it no longer: nobody waits.
    Foreign,
}

/// A partition on its way to be empty.
#[derive(Debug)]
pub(crate) struct Clearing {
    pub(crate) partition: Partition,
    pub(crate) reason: Reason,
    /// The end of the last page of this pass.
    after: Option<(KeyHash, Key)>,
    /// Whether this pass has found something.
    found: Found,
    ready: VecDeque<(KeyHash, Key)>,
    /// Being forgotten.
    under_way: usize,
    /// Keys of this page that were not forgotten.
    failed: usize,
    /// When the next scan begins, while it waits for that.
    resume_at: Option<Duration>,
}

/// What a pass has come across.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Found {
    #[default]
    Nothing,
    Something,
}

impl Clearing {
    /// Goes on from the beginning.
    fn begin_pass(&mut self) {
        (self.after, self.found) = (None, Found::Nothing);
    }

    /// Whether all of it is gone, now that the pass has come to the end.
    fn is_over(&self) -> bool {
        self.reason == Reason::Foreign || self.found == Found::Nothing
    }
}

impl Shard {
    /// Begins to forget all of the partition. `cleared` is called once no key of it is left, durably.
    pub(crate) fn clear(
        &mut self,
        now: Now,
        partition: Partition,
        reason: Reason,
        out: &mut Vec<Effect>,
    ) {
        let (after, found) = (None, Found::Nothing);
        let (ready, under_way, failed, resume_at) = (VecDeque::new(), 0, 0, None);
        let clearing =
            Clearing { partition, reason, after, found, ready, under_way, failed, resume_at };
        let id = self.begin(Operation::Clearing(clearing));
        self.scan_to_clear(now, id, out);
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
        let places: Vec<_> = match page {
            Ok(page) => page.into_iter().map(|(hash, key, _)| (hash, key)).collect(),
            // Whatever it held, it goes.
            Err(ScanFailure { at: Some(place), .. }) => [place].into(),
            Err(_) => return self.rest_clearing(id, now.monotonic + PAUSE),
        };
        if let Some(last) = places.last() {
            (clearing.after, clearing.found) = (Some(last.clone()), Found::Something);
            clearing.ready.extend(places);
            return self.advance_clearing(now, id, out);
        }
        if clearing.is_over() {
            let (partition, reason) = (clearing.partition, clearing.reason);
            self.operations.remove(id);
            self.damage.emptied(now.monotonic, partition, self.layout.shift());
            self.damage_changed(now, partition, out);
            return self.cleared(now, partition, reason, out);
        }
        clearing.begin_pass();
        self.scan_to_clear(now, id, out);
    }

    /// The store of this node has answered: a key is forgotten, durably, or is not.
    pub(crate) fn forgotten(
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

    /// The disk may know by now that this node promises nothing of a partition that it stores no longer.
    pub(crate) fn clear_abandoned(
        &mut self,
        now: Now,
        partition: Partition,
        out: &mut Vec<Effect>,
    ) {
        if !self.floors.get(partition).is_some_and(PartitionMarks::is_abandoned) {
            return;
        }
        let waits = |operation: &Operation| {
            matches!(operation, Operation::Clearing(clearing) if clearing.partition == partition
                && clearing.under_way == 0 && !clearing.ready.is_empty())
        };
        for id in self.operations.select(waits) {
            self.advance_clearing(now, id, out);
        }
    }

    /// Whether the marks let go of what is to be forgotten, durably; else they will.
    fn is_abandoned(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) -> bool {
        let partition = match self.operations.get(id) {
            Some(Operation::Clearing(Clearing { partition, reason: Reason::Foreign, .. })) => {
                *partition
            }
            _ => return true,
        };
        let marks = self.floors.entry(partition);
        if marks.is_abandoned() {
            return true;
        }
        if let Some(marks) = marks.abandon(now.monotonic) {
            self.set_marks(partition, marks, out);
        }
        false
    }

    fn advance_clearing(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        if !self.is_abandoned(now, id, out) {
            return;
        }
        let room = self.cleaning_room(now);
        let share = self.emptying.share(room);
        let Self { operations, stores, .. } = self;
        let Some(Operation::Clearing(clearing)) = operations.get_mut(id) else { return };
        let (keys, rest) = match clearing.reason {
            Reason::New => (NEW_KEYS, None),
            Reason::Foreign => (share, room.rest),
        };
        while clearing.under_way < keys
            && let Some((hash, key)) = clearing.ready.pop_front()
        {
            clearing.under_way += 1;
            let operation = stores.begin(Waiter::Forget(id), hash);
            out.push(Effect::Forget { operation, hash, key });
        }
        if clearing.under_way > 0 {
            return;
        }
        if core::mem::take(&mut clearing.failed) > 0 {
            clearing.begin_pass();
            return self.rest_clearing(id, now.monotonic + PAUSE);
        }
        match rest {
            Some(rest) => self.rest_clearing(id, now.monotonic + rest),
            None => self.scan_to_clear(now, id, out),
        }
    }

    /// The next page.
    fn scan_to_clear(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let room = self.cleaning_room(now);
        let Some(Operation::Clearing(clearing)) = self.operations.get_mut(id) else { return };
        clearing.resume_at = None;
        let limit = match clearing.reason {
            Reason::New => NEW_PAGE,
            Reason::Foreign => room.page,
        };
        let (operation, after, bytes) = (id, clearing.after.clone(), PAGE_BYTES);
        let (partition, part) = (clearing.partition, Part::Whole);
        out.push(Effect::Scan { operation, partition, part, after, limit, bytes });
    }

    fn rest_clearing(&mut self, id: OperationId, until: Duration) {
        let Some(Operation::Clearing(clearing)) = self.operations.get_mut(id) else { return };
        clearing.resume_at = Some(until);
        self.emptying.rests_until(until);
    }

    /// Time has passed: scans that waited for it begin.
    pub(crate) fn resume_clearing(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.emptying.resume_at.is_none_or(|at| now.monotonic < at) {
            return;
        }
        self.emptying.resume_at = None;
        let rests = |operation: &Operation| {
            matches!(operation, Operation::Clearing(Clearing { resume_at: Some(_), .. }))
        };
        for id in self.operations.select(rests) {
            match self.operations.get(id) {
                Some(Operation::Clearing(Clearing { resume_at: Some(at), .. }))
                    if *at > now.monotonic =>
                {
                    self.emptying.rests_until(*at);
                }
                _ => self.scan_to_clear(now, id, out),
            }
        }
    }

    /// Another layout is in use. Keys being forgotten are counted as admitted under the one before.
    pub(crate) fn give_up_clearing(&mut self) {
        let clears = |operation: &Operation| matches!(operation, Operation::Clearing(_));
        for id in self.operations.select(clears) {
            self.operations.remove(id);
        }
        self.emptying.resume_at = None;
    }
}
