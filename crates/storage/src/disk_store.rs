//! The store of one shard on disk: table first, then redb; merges decided against what is queued too.
//!
//! Owned by one event loop. It does no I/O but reads of redb. A get, a merge or a listing of whole
//! records takes no lock of ours but that of the pages' checksums and, once a batch, that of the engine,
//! under which only a compaction of few rows waits for I/O; what else has one (marks, damage, tables that
//! go to the applier) never does. It never answers a merge before the record that decided it is durable.

mod damage;
mod drops;
mod hints;
mod listing;
mod scan;
#[cfg(test)]
mod scrub_tests;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use paravon_model::{Digest, Key, Marks, Ordinal, Record, Version};
use paravon_ring::{HashArc, KeyHash, Partition, Shift};

use crate::applier::{Mailbox, Progress};
use crate::engine::{Engine, HintView, View};
use crate::hint::{DirtyMark, HintTotals, KeptHint, Marked};
use crate::hint_ledger::{Change, Ledger};
use crate::log::entry;
use crate::marks::MarkChange;
use crate::marks_file::MarksFile;
use crate::own_partitions::OwnPartitions;
use crate::page::PageLimit;
use crate::position::Position;
use crate::record_stage::{RecordState, Slot};
use crate::scrub;
use crate::store::{
    Answer, Completion, Decision, Done, Group, Merged, ReadError, Refusal, ScanError, Scrubbed,
    Store, WriteError,
};
use crate::sums::{Delta, Holds, Sums};
use crate::table::Table;

use damage::Remembered;
use hints::HintChange;

/// A group is closed when it holds this much, so that one batch carries many groups.
const GROUP_BYTES: usize = 1 << 20;

/// A table is frozen when it holds this share of the bound, or more when the one before is done: the
/// larger it is, the more records of one page are written together.
const FREEZE_SHARE: usize = 4;

/// The bounds of one store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The table refuses writes past this many bytes.
    pub(crate) table_bytes: usize,
    /// The most that one group may hold: what a batch of the log holds.
    pub(crate) group_bytes: usize,
}

/// The store of one shard, over its log, table and redb file.
#[derive(Debug)]
pub struct DiskStore {
    shard: u16,
    /// How many shards the node has.
    shards: u16,
    limits: Limits,
    table: Table,
    engine: Arc<Engine>,
    view: Option<View>,
    hint_view: Option<HintView>,
    ledger: Ledger,
    mailbox: Arc<Mailbox>,
    progress: Arc<Progress>,
    /// Groups from the oldest without an answer to the one being filled, which is the last.
    pending: VecDeque<Pending>,
    /// Encoded entries of the group being filled.
    entries: Vec<u8>,
    /// Groups closed and not taken.
    ready: VecDeque<Group>,
    epoch: u64,
    answers: Vec<Answer>,
    /// The table and redb hold everything of this shard in the log before it.
    through: Position,
    read_only: bool,
    full: bool,
    scratch: Vec<u8>,
    /// Marks that failed groups have left, until a group holds them durably.
    owed_marks: Vec<DirtyMark>,
    remembered: Remembered,
    sums: Sums,
}

/// A group whose fate is not known yet.
#[derive(Debug)]
struct Pending {
    number: u64,
    epoch: u64,
    records: Vec<(Slot, RecordState, Delta)>,
    hints: Vec<HintChange>,
    marks: Vec<(DirtyMark, Marked)>,
    changes: Vec<MarkChange>,
    /// Rows of the file to be removed wherever they lie, and in whose listing they were found.
    rotten: Vec<(Box<[u8]>, Ordinal)>,
    /// Whether a key is forgotten.
    forgets: bool,
    /// Merges that this group decides, and removals that it holds.
    tickets: Vec<(u64, Done)>,
    outcome: Option<Result<Position, WriteError>>,
}

impl Pending {
    fn new(number: u64, epoch: u64) -> Self {
        Self {
            number,
            epoch,
            records: Vec::new(),
            hints: Vec::new(),
            marks: Vec::new(),
            changes: Vec::new(),
            rotten: Vec::new(),
            forgets: false,
            tickets: Vec::new(),
            outcome: None,
        }
    }
}

impl DiskStore {
    /// The store of a shard whose `table` holds everything that the log has and `engine` lacks, and
    /// whose `ledger` has counted both, as `marks` has taken in all that the log says of them.
    pub(crate) fn new(
        (shard, shards): (u16, u16),
        limits: Limits,
        (table, ledger, marks): (Table, Ledger, Arc<MarksFile>),
        through: Position,
        engine: Arc<Engine>,
        mailbox: Arc<Mailbox>,
        progress: Arc<Progress>,
    ) -> Self {
        let mut store = Self {
            shard,
            shards,
            limits,
            table,
            engine,
            view: None,
            hint_view: None,
            ledger,
            mailbox,
            progress,
            pending: VecDeque::from([Pending::new(0, 0)]),
            entries: Vec::new(),
            ready: VecDeque::new(),
            epoch: 0,
            answers: Vec::new(),
            through,
            read_only: false,
            full: false,
            scratch: Vec::new(),
            owed_marks: Vec::new(),
            remembered: Remembered::new(marks),
            sums: Sums::none(),
        };
        // What recovery put there: get it out of memory.
        store.flush();
        store
    }

    /// The record that redb holds. One that is damaged is marked so before anything can be stored over it.
    fn applied(&mut self, slot: &Slot) -> Result<Option<Record>, ReadError> {
        let view = self.take_view()?;
        let found = self.engine.read(&view, slot.hash, &slot.key, &mut self.scratch);
        self.view = Some(view);
        if found == Err(ReadError::Damaged) {
            self.note_damage(slot);
        }
        found
    }

    /// The view of this batch. To be put back.
    fn take_view(&mut self) -> Result<View, ReadError> {
        self.view.take().map_or_else(|| self.engine.view(), Ok)
    }

    /// Why a slot cannot get a state now.
    fn refusal(&self, key: &Key, state: Option<&Record>) -> Option<Refusal> {
        let bytes = entry_len(key, state);
        if self.read_only {
            Some(Refusal::ReadOnly)
        } else if bytes > self.limits.group_bytes {
            Some(Refusal::TooLarge { bytes, max: self.limits.group_bytes })
        } else if self.full && !state.is_none_or(Record::is_tombstone) {
            Some(Refusal::StorageFull)
        } else if self.table.bytes() >= self.bound(state) {
            Some(Refusal::Overloaded)
        } else {
            None
        }
    }

    /// Puts leave a part of the table to deletes and removals, which are to pass when the disk has become
    /// full, and to the hints that follow them.
    fn bound(&self, state: Option<&Record>) -> usize {
        let all = self.limits.table_bytes;
        if state.is_none_or(Record::is_tombstone) { all } else { all - all / 8 }
    }

    /// Queues what a slot is to hold in the group being filled, which will answer `ticket`, and what that
    /// does to the sums.
    fn queue(&mut self, ticket: u64, done: Done, slot: Slot, state: RecordState, delta: Delta) {
        self.queue_state(slot, state, delta);
        let group = self.pending.back_mut().expect("one group is always being filled");
        group.tickets.push((ticket, done));
    }

    /// Queues what a slot is to hold in the group being filled.
    fn queue_state(&mut self, slot: Slot, state: RecordState, delta: Delta) {
        self.make_room(entry_len(&slot.key, state.as_ref()));
        match &state {
            Some(record) => {
                entry::put_record(&mut self.entries, self.shard, slot.hash, &slot.key, record);
            }
            None => entry::put_forgotten(&mut self.entries, self.shard, slot.hash, &slot.key),
        }
        self.pending.back_mut().expect("one group is always being filled").forgets |=
            state.is_none();
        self.enter(slot, state, delta);
    }

    /// Makes what a slot is to hold a part of the group being filled, whose entries say it.
    fn enter(&mut self, slot: Slot, state: RecordState, delta: Delta) {
        let group = self.pending.back_mut().expect("one group is always being filled");
        group.records.push((slot.clone(), state.clone(), delta));
        let number = group.number;
        self.table.queue(slot, state, number);
    }

    /// Lets a group that is not answered yet answer `ticket` too: what it queued decided that.
    fn answer_with(&mut self, number: u64, ticket: u64, done: Done) {
        let group = self.pending.iter_mut().find(|group| group.number == number);
        let group = group.expect("what is queued belongs to a pending group");
        group.tickets.push((ticket, done));
    }

    /// Closes the group being filled if it cannot take `needed` bytes more.
    fn make_room(&mut self, needed: usize) {
        if self.entries.len() + needed > self.limits.group_bytes.min(GROUP_BYTES.max(needed)) {
            self.close_group();
        }
    }

    fn close_group(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        let group = self.pending.back().expect("one group is always being filled");
        let (number, epoch, must_sync) = (group.number, self.epoch, group.must_be_synced());
        let entries = mem::take(&mut self.entries);
        self.ready.push_back(Group { shard: self.shard, number, epoch, must_sync, entries });
        self.pending.push_back(Pending::new(number + 1, self.epoch));
    }

    /// Takes in the outcomes that are known, in the order of the groups.
    fn settle(&mut self) {
        while let Some(outcome) = self.pending.front().and_then(|group| group.outcome) {
            let Some(mut group) = self.pending.pop_front() else { return };
            if let Err(error) = outcome {
                self.fail(group, error);
                continue;
            }
            self.sync_changes(&mut group);
            for (slot, state, delta) in group.records {
                self.sums.change(&slot, delta);
                self.table.sync(slot, state, group.number);
            }
            for HintChange { slot, state, .. } in group.hints {
                self.table.hints.sync(slot, state, group.number);
            }
            for (mark, marked) in group.marks {
                self.table.hints.sync_mark(mark, marked);
            }
            for (place, target) in group.rotten {
                self.table.hints.sync_rotten(place, target);
            }
            self.answers.extend(group.tickets.into_iter().map(|(ticket, done)| (ticket, Ok(done))));
            self.through = self.through.max(outcome.unwrap_or_default());
        }
        self.freeze_if_due();
    }

    /// Drops a group that is not in the log. What was decided against it must fail too: the groups
    /// under way do so by their epoch, those not taken yet do here.
    fn fail(&mut self, mut failed: Pending, error: WriteError) {
        self.read_only |= error == WriteError::ReadOnly;
        let tickets = mem::take(&mut failed.tickets);
        self.answers.extend(tickets.into_iter().map(|(ticket, _)| (ticket, Err(error))));
        for (slot, state, _) in &failed.records {
            self.table.uncount(slot, state);
        }
        self.forget_changes(&failed);
        let (number, is_first) = (failed.number, failed.epoch == self.epoch);
        let damaged = self.doomed_damage(&failed);
        if is_first {
            self.uncount(&failed.hints);
        }
        self.owe(failed.hints, failed.marks);
        if !is_first {
            return;
        }
        self.epoch += 1;
        self.table.forget_decisions();
        let open = self.pending.back().map_or(number, |group| group.number);
        let never_sent = self.ready.front().map_or(open, |group| group.number);
        self.ready.clear();
        self.entries.clear();
        for group in self.pending.iter_mut().filter(|group| group.number >= never_sent) {
            group.outcome = Some(Err(error));
        }
        self.pending.push_back(Pending::new(open + 1, self.epoch));
        self.mark_again(damaged);
    }

    /// Lets go of the frozen table when redb holds it.
    fn release(&mut self) {
        if let Some(frozen) = self.table.release(self.progress.tables()) {
            for &(target, cost) in frozen.removed.get().into_iter().flatten() {
                self.ledger.enter(target, Change { before: Some(cost), after: None });
            }
            self.mailbox.retire(frozen);
            // The views may be older than what the frozen table held.
            self.view = None;
            self.hint_view = None;
        }
    }

    fn freeze_if_due(&mut self) {
        if self.table.active_bytes() >= self.limits.table_bytes / FREEZE_SHARE {
            self.flush();
        }
    }
}

/// What the entry takes that gives a key a state.
fn entry_len(key: &Key, state: Option<&Record>) -> usize {
    state.map_or_else(|| entry::forgotten_len(key), |record| entry::record_len(key, record))
}

impl Store for DiskStore {
    fn shard(&self) -> u16 {
        self.shard
    }

    fn get(&mut self, hash: KeyHash, key: &Key) -> Result<Option<Record>, ReadError> {
        let slot = Slot { hash, key: key.clone() };
        if let Some(state) = self.table.synced(&slot) {
            return Ok(state.clone());
        }
        self.applied(&slot)
    }

    fn merge(
        &mut self,
        ticket: u64,
        hash: KeyHash,
        key: Key,
        record: Record,
    ) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusal(&key, Some(&record)) {
            return Err(refusal);
        }
        let slot = Slot { hash, key };
        if let Some((present, number)) = self.table.queued(&slot) {
            match self.sums.decide(&slot, &record, present.as_ref()) {
                (Decision::Store(merged), delta) => {
                    self.queue(ticket, Done::Merged(merged), slot, Some(record), delta);
                }
                (Decision::Keep(merged), _) => {
                    self.answer_with(number, ticket, Done::Merged(merged));
                }
            }
            return Ok(());
        }
        let (decision, delta) = match self.table.synced(&slot) {
            Some(present) => self.sums.decide(&slot, &record, present.as_ref()),
            None => match self.applied(&slot) {
                Ok(present) => self.sums.decide(&slot, &record, present.as_ref()),
                Err(ReadError::Damaged) => (Decision::Store(Merged::OverDamaged), Delta::Unknown),
                Err(ReadError::Unavailable) => return Err(Refusal::Unavailable),
            },
        };
        match decision {
            Decision::Store(merged) => {
                self.queue(ticket, Done::Merged(merged), slot, Some(record), delta);
            }
            Decision::Keep(merged) => self.answers.push((ticket, Ok(Done::Merged(merged)))),
        }
        Ok(())
    }

    fn forget(&mut self, ticket: u64, hash: KeyHash, key: Key) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusal(&key, None) {
            return Err(refusal);
        }
        let slot = Slot { hash, key };
        match self.table.queued(&slot) {
            Some((None, number)) => self.answer_with(number, ticket, Done::Forgotten),
            // What is stored is not looked at: it goes whatever it is, and if there is nothing, the entry
            // says no more than that. So what it does to the sums is not known.
            Some((Some(_), _)) | None => {
                self.queue(ticket, Done::Forgotten, slot.clone(), None, Delta::Unknown);
                self.forget_damage(&slot);
            }
        }
        Ok(())
    }

    fn drop_record(
        &mut self,
        ticket: u64,
        hash: KeyHash,
        key: Key,
        version: Version,
    ) -> Result<(), Refusal> {
        self.queue_record_drop(ticket, Slot { hash, key }, version)
    }

    fn scan(
        &mut self,
        arc: HashArc,
        after: Option<&(KeyHash, Key)>,
        limit: PageLimit,
    ) -> Result<Vec<(KeyHash, Key, Record)>, ScanError> {
        let found = self.scan_page(arc, after, limit);
        if let Err(ScanError { error: ReadError::Damaged, at: Some((hash, key)) }) = &found {
            self.note_damage(&Slot { hash: *hash, key: key.clone() });
        }
        found
    }

    fn take_group(&mut self) -> Option<Group> {
        if self.ready.is_empty() {
            self.queue_owed_marks();
        }
        if self.ready.is_empty() {
            self.close_group();
        }
        self.ready.pop_front()
    }

    fn complete(&mut self, completion: Completion) {
        if completion.shard() != Some(self.shard) {
            return;
        }
        match completion {
            Completion::Synced { group: number, result, .. } => {
                let group = self.pending.iter_mut().find(|group| group.number == number);
                group.expect("a group completes once").outcome = Some(result);
                self.settle();
            }
            Completion::Applied { .. } => {
                self.release();
                self.freeze_if_due();
            }
            Completion::Flush { .. } => {
                self.flush();
            }
            Completion::Space { full, .. } => self.full = full,
            Completion::Broken { .. } => self.read_only = true,
            Completion::Ceiling { .. } | Completion::Barrier { .. } => {}
        }
    }

    fn drain(&mut self, out: &mut Vec<Answer>) {
        out.append(&mut self.answers);
    }

    fn take_damaged(&mut self, out: &mut Vec<(KeyHash, Key)>) {
        self.take_untold(out);
    }

    fn damaged(&self) -> Vec<(KeyHash, Key)> {
        self.list_damaged()
    }

    fn heal(
        &mut self,
        ticket: u64,
        hash: KeyHash,
        key: Key,
        record: Option<Record>,
    ) -> Result<(), Refusal> {
        self.queue_heal(ticket, Slot { hash, key }, record)
    }

    fn marks(&self) -> Vec<(Partition, Marks)> {
        self.list_marks()
    }

    fn set_marks(
        &mut self,
        ticket: u64,
        partition: Partition,
        marks: Marks,
    ) -> Result<(), Refusal> {
        self.queue_marks(ticket, partition, marks)
    }

    fn is_empty(&mut self) -> Result<bool, ReadError> {
        Ok(!self.table.holds_record() && self.file_shows_nothing()?)
    }

    fn keep_hint(
        &mut self,
        target: Ordinal,
        hash: KeyHash,
        key: Key,
        record: Record,
    ) -> Result<(), Refusal> {
        self.queue_hint(target, hash, &key, record)
    }

    fn hints(
        &mut self,
        target: Ordinal,
        after: Option<&(KeyHash, Key)>,
        limit: PageLimit,
    ) -> Result<Vec<KeptHint>, ReadError> {
        self.list_hints(target, after, limit)
    }

    fn drop_hint(&mut self, target: Ordinal, hash: KeyHash, key: &Key, version: Version) {
        self.queue_drop(target, hash, key, version);
    }

    fn hint_totals(&self, shift: Shift) -> Vec<HintTotals> {
        self.ledger.totals(shift)
    }

    fn keep_sums(&mut self, seed: u64, shift: Shift) {
        let own = OwnPartitions::new(shift, (self.shard, self.shards));
        let holds = if self.is_empty() == Ok(true) { Holds::Nothing } else { Holds::Records };
        self.sums.keep(seed, own, holds);
        self.ledger.know(own);
        self.remembered.keep(shift);
    }

    fn digest(&self, partition: Partition) -> Option<Digest> {
        self.sums.digest(partition)
    }

    fn scrub(&mut self, limit: PageLimit) -> Result<Scrubbed, ReadError> {
        scrub::step(self, |store| &mut store.sums, limit)
    }

    fn dirty_moment(&self) -> u64 {
        self.ledger.moment()
    }

    fn is_dirty(&self, target: Ordinal) -> bool {
        self.ledger.is_dirty(target)
    }

    fn clean(&mut self, target: Ordinal, arc: HashArc, moment: u64) {
        self.queue_clean(target, arc, moment);
    }

    fn end_batch(&mut self) {
        self.view = None;
        self.hint_view = None;
    }

    fn flush(&mut self) -> bool {
        self.release();
        if self.table.active_bytes() > 0 && !self.table.is_applying() {
            self.mailbox.apply(self.table.freeze(self.through));
        }
        !self.table.is_applying()
    }
}
