//! What a disk store remembers beside its records: marks of partitions, and keys found damaged.
//!
//! A change is queued like a record, and known to be true once its group is durable. A damaged key is
//! marked in front of whatever is stored over it, so that no crash leaves the new record without the
//! mark, and it stays marked until it is healed or forgotten (`NO_SILENT_ROT`).

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use paravon_model::{Key, Marks, Ordinal, Record};
use paravon_ring::{KeyHash, Partition, Shift};

use super::{DiskStore, Pending};
use crate::log::mark_entry;
use crate::marks::MarkChange;
use crate::marks_file::MarksFile;
use crate::record_stage::Slot;
use crate::store::{Decision, Done, ReadError, Refusal};
use crate::sums::Delta;

/// The file of marks, and what the store knows beyond it.
#[derive(Debug)]
pub(super) struct Remembered {
    file: Arc<MarksFile>,
    pub(super) quarantines: u32,
    shift: Option<Shift>,
    /// The targets that the file's marks name.
    targets: BTreeSet<Ordinal>,
    /// Keys that were found damaged since the start and not healed since.
    known: BTreeSet<Slot>,
    /// Those of them that nobody was told of.
    untold: Vec<(KeyHash, Key)>,
}

impl Remembered {
    /// What `file` says.
    pub(super) fn new(file: Arc<MarksFile>) -> Self {
        let (quarantines, targets) = {
            let marks = file.lock();
            (marks.quarantines, marks.targets.clone())
        };
        let (known, untold) = (BTreeSet::new(), Vec::new());
        Self { file, quarantines, shift: None, targets, known, untold }
    }

    /// Learns how many partitions there are.
    pub(super) fn keep(&mut self, shift: Shift) {
        self.shift = Some(shift);
    }
}

impl Pending {
    /// Whether this group must be synced whatever the durability of writes: what it removes or says of
    /// marks and damage is not to come back or be forgotten.
    pub(super) fn must_be_synced(&self) -> bool {
        !self.changes.is_empty()
            || self.hints.iter().any(|change| change.state.is_none())
            || self.forgets
    }
}

impl DiskStore {
    /// Takes in that the record of a key in redb fails its checksum.
    pub(super) fn note_damage(&mut self, slot: &Slot) {
        self.sums.lose(slot);
        if self.remembered.known.insert(slot.clone()) {
            tracing::warn!(shard = self.shard, hash = slot.hash.0, "a record fails its checksum");
            self.remembered.untold.push((slot.hash, slot.key.clone()));
        }
        // What is queued for the slot was decided when that was known, or takes the record's place.
        if !self.read_only && self.table.queued(slot).is_none() && !self.is_marked(slot) {
            self.queue_change(MarkChange::Damaged(slot.clone()));
        }
    }

    /// Whether a key is marked damaged, when everything queued that can still become durable is.
    pub(super) fn is_marked(&self, slot: &Slot) -> bool {
        let of_slot = |change: &&MarkChange| match change {
            MarkChange::Damaged(of) | MarkChange::Healed(of) => of == slot,
            MarkChange::Marks { .. } => false,
        };
        let live = self.pending.iter().rev().filter(|group| group.epoch == self.epoch);
        let last = live.flat_map(|group| group.changes.iter().rev()).find(of_slot);
        last.map_or_else(
            || self.remembered.file.lock().is_damaged(slot),
            |change| matches!(change, MarkChange::Damaged(_)),
        )
    }

    /// See [`Store::take_damaged`](crate::store::Store::take_damaged).
    pub(super) fn take_untold(&mut self, out: &mut Vec<(KeyHash, Key)>) {
        out.append(&mut self.remembered.untold);
    }

    /// See [`Store::damaged`](crate::store::Store::damaged).
    pub(super) fn list_damaged(&self) -> Vec<(KeyHash, Key)> {
        let mut damaged = self.remembered.file.lock().damaged.clone();
        let live = self.pending.iter().filter(|group| group.epoch == self.epoch);
        for change in live.flat_map(|group| &group.changes) {
            match change {
                MarkChange::Damaged(slot) => {
                    damaged.insert(slot.clone());
                }
                MarkChange::Healed(slot) => {
                    damaged.remove(slot);
                }
                MarkChange::Marks { .. } => {}
            }
        }
        damaged.into_iter().map(|slot| (slot.hash, slot.key)).collect()
    }

    /// See [`Store::heal`](crate::store::Store::heal).
    pub(super) fn queue_heal(
        &mut self,
        ticket: u64,
        slot: Slot,
        record: Option<Record>,
    ) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusal(&slot.key, record.as_ref()) {
            return Err(refusal);
        }
        let queued = self.table.queued(&slot).map(|(state, _)| state);
        let present = match queued.or_else(|| self.table.synced(&slot)).cloned() {
            Some(state) => Ok(state),
            None => self.applied(&slot),
        };
        match (present, record) {
            (Err(ReadError::Unavailable), _) => return Err(Refusal::Unavailable),
            (Err(ReadError::Damaged), record) => {
                self.queue_state(slot.clone(), record, Delta::Unknown);
            }
            (Ok(present), Some(record)) => {
                let (decision, delta) = self.sums.decide(&slot, &record, present.as_ref());
                if matches!(decision, Decision::Store(_)) {
                    self.queue_state(slot.clone(), Some(record), delta);
                }
            }
            (Ok(_), None) => {}
        }
        self.queue_change(MarkChange::Healed(slot));
        self.answer_last(ticket, Done::Healed);
        Ok(())
    }

    /// A key that is forgotten is as if it had never been stored, and nothing of it is damaged.
    pub(super) fn forget_damage(&mut self, slot: &Slot) {
        if self.is_marked(slot) {
            self.queue_change(MarkChange::Healed(slot.clone()));
        }
    }

    /// See [`Store::marks`](crate::store::Store::marks).
    pub(super) fn list_marks(&self) -> Vec<(Partition, Marks)> {
        self.remembered.file.lock().marks((self.shard, self.shards), self.remembered.shift)
    }

    /// See [`Store::set_marks`](crate::store::Store::set_marks).
    pub(super) fn queue_marks(
        &mut self,
        ticket: u64,
        partition: Partition,
        marks: Marks,
    ) -> Result<(), Refusal> {
        if self.read_only {
            return Err(Refusal::ReadOnly);
        }
        if self.table.bytes() >= self.limits.table_bytes {
            return Err(Refusal::Overloaded);
        }
        let quarantines = self.remembered.quarantines;
        self.queue_change(MarkChange::Marks { partition, marks, quarantines });
        self.answer_last(ticket, Done::Marked);
        Ok(())
    }

    fn queue_change(&mut self, change: MarkChange) {
        self.make_room(mark_entry::mark_len(&change));
        mark_entry::put_mark(&mut self.entries, self.shard, &change);
        self.table.queue_note(change.weight());
        self.pending.back_mut().expect("one group is always being filled").changes.push(change);
    }

    /// Lets the group being filled answer `ticket`.
    fn answer_last(&mut self, ticket: u64, done: Done) {
        let group = self.pending.back_mut().expect("one group is always being filled");
        group.tickets.push((ticket, done));
    }

    /// Makes true what a durable group says.
    pub(super) fn sync_changes(&mut self, group: &mut Pending) {
        // What was found of a record that goes was true of it alone, marked or not.
        for (slot, _, _) in group.records.iter().filter(|(_, state, _)| state.is_none()) {
            self.remembered.known.remove(slot);
        }
        if !group.changes.is_empty() {
            let mut marks = self.remembered.file.lock();
            for change in mem::take(&mut group.changes) {
                self.table.sync_note(change.weight());
                if let MarkChange::Healed(slot) = &change {
                    self.remembered.known.remove(slot);
                }
                marks.apply(change);
            }
        }
        let kept = group.hints.iter().map(|change| change.target);
        let dirty = group.marks.iter().map(|(mark, _)| mark.target);
        for target in kept.chain(dirty) {
            if self.remembered.targets.insert(target) {
                self.remembered.file.lock().note_target(target);
            }
        }
    }

    /// Counts what a failed group says no more.
    pub(super) fn forget_changes(&mut self, failed: &Pending) {
        failed.changes.iter().for_each(|change| self.table.forget_note(change.weight()));
    }

    /// The keys that groups which are sure to fail were to mark: the first of them, which `failed`, and
    /// all that are pending.
    pub(super) fn doomed_damage(&self, failed: &Pending) -> BTreeSet<Slot> {
        let doomed = std::iter::once(failed).chain(&self.pending);
        let damaged = doomed.flat_map(|group| &group.changes).filter_map(|change| match change {
            MarkChange::Damaged(slot) => Some(slot.clone()),
            MarkChange::Healed(_) | MarkChange::Marks { .. } => None,
        });
        damaged.collect()
    }

    /// Marks keys again, in front of whatever is queued from now on.
    pub(super) fn mark_again(&mut self, damaged: BTreeSet<Slot>) {
        if self.read_only {
            return;
        }
        for slot in damaged {
            if !self.is_marked(&slot) {
                self.queue_change(MarkChange::Damaged(slot));
            }
        }
    }
}

#[cfg(test)]
#[path = "damage_tests.rs"]
mod tests;
