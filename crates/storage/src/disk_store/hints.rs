//! The hints of a disk store: decided against what is there, queued like records, read in order.
//!
//! A hint leaves its slot only for a newer one, by a drop that names its version, or because it is
//! damaged; in the last case, and wherever one is not kept at all, its arc is dirty for the target
//! (`HINT_NOT_LOST`).

use std::mem;

use paravon_model::{Key, Ordinal, Record, Version};
use paravon_ring::{HashArc, KeyHash};

use super::DiskStore;
use crate::codec::BadRecord;
use crate::engine::{HintRow, HintView};
use crate::hint::{self, DirtyMark, HintSlot, Marked};
use crate::hint_ledger::Change;
use crate::hint_table::HintState;
use crate::log::entry;
use crate::store::Refusal;

/// What a group does to a slot.
#[derive(Debug)]
pub(super) struct HintChange {
    /// For whom.
    pub(super) target: Ordinal,
    /// Which slot.
    pub(super) slot: HintSlot,
    /// What it holds then.
    pub(super) state: HintState,
    /// What the ledger has counted for it.
    pub(super) change: Change,
}

/// What a slot holds, queued changes included.
enum Present {
    Nothing,
    Kept {
        cost: u64,
        /// Whether it is to give way to what comes.
        gives_way: bool,
    },
    /// It may have been newer than anything.
    Damaged {
        cost: u64,
    },
    /// It stays whatever comes.
    Unreadable,
}

impl DiskStore {
    /// See [`Store::keep_hint`](crate::store::Store::keep_hint).
    pub(super) fn queue_hint(
        &mut self,
        target: Ordinal,
        hash: KeyHash,
        key: &Key,
        record: Record,
    ) -> Result<(), Refusal> {
        if self.read_only {
            return Err(Refusal::ReadOnly);
        }
        let slot = HintSlot::new(target, hash, key);
        let is_newer = |present: &Record| record.precedence(present).is_gt();
        let before = match self.present_hint(target, &slot, key, is_newer) {
            Present::Nothing => None,
            Present::Kept { gives_way: false, .. } => return Ok(()),
            Present::Kept { cost, gives_way: true } => Some(cost),
            Present::Damaged { cost } => {
                self.mark_dirty(target, hash);
                Some(cost)
            }
            Present::Unreadable => {
                self.mark_dirty(target, hash);
                return Ok(());
            }
        };
        let change = Change { before, after: Some(hint::cost(key, &record)) };
        let bytes = entry::hint_len(&slot, &record);
        let has_room = bytes <= self.limits.group_bytes
            && (!self.full || record.is_tombstone())
            && self.table.bytes() < self.limits.table_bytes
            && self.ledger.allows(change);
        if !has_room {
            self.mark_dirty(target, hash);
            return Ok(());
        }
        self.make_room(bytes);
        entry::put_hint(&mut self.entries, self.shard, &slot, &record);
        self.note_hint(HintChange { target, slot, state: Some(record), change });
        Ok(())
    }

    /// See [`Store::drop_hint`](crate::store::Store::drop_hint).
    pub(super) fn queue_drop(
        &mut self,
        target: Ordinal,
        hash: KeyHash,
        key: &Key,
        version: Version,
    ) {
        if self.read_only || self.table.bytes() >= self.limits.table_bytes {
            return;
        }
        let slot = HintSlot::new(target, hash, key);
        let is_covered = |present: &Record| present.version <= version;
        match self.present_hint(target, &slot, key, is_covered) {
            Present::Kept { cost, gives_way: true } => {
                self.remove_hint(target, slot, version, cost);
            }
            Present::Damaged { cost } => self.give_up(target, hash, slot, cost),
            Present::Kept { .. } | Present::Nothing | Present::Unreadable => {}
        }
    }

    /// What a slot holds, and whether that `gives_way`.
    fn present_hint(
        &mut self,
        target: Ordinal,
        slot: &HintSlot,
        key: &Key,
        gives_way: impl Fn(&Record) -> bool,
    ) -> Present {
        if !self.ledger.keeps_for(target) {
            // While a node is down each write asks this: no page need be read for the first of a key.
            return Present::Nothing;
        }
        let state =
            self.table.hints.queued(slot).or_else(|| self.table.synced_hint(slot.as_bytes()));
        match state {
            Some(Some(record)) => {
                let cost = hint::cost(key, record);
                return Present::Kept { cost, gives_way: gives_way(record) };
            }
            Some(None) => return Present::Nothing,
            None => {}
        }
        let read = |view: &HintView| self.engine.read_hint(view, slot);
        let row = match self.hint_view.take().map_or_else(|| self.engine.hint_view(), Ok) {
            Ok(view) => {
                let row = read(&view);
                self.hint_view = Some(view);
                row
            }
            Err(error) => Err(error),
        };
        match row {
            Ok(None) => Present::Nothing,
            Ok(Some(HintRow { cost, hint: Ok(record), .. })) => {
                Present::Kept { cost, gives_way: gives_way(&record) }
            }
            Ok(Some(HintRow { cost, hint: Err(BadRecord::Damaged), .. })) => {
                Present::Damaged { cost }
            }
            Ok(Some(HintRow { hint: Err(BadRecord::Newer), .. })) | Err(_) => Present::Unreadable,
        }
    }

    fn remove_hint(&mut self, target: Ordinal, slot: HintSlot, version: Version, cost: u64) {
        self.make_room(entry::hint_dropped_len(&slot));
        entry::put_hint_dropped(&mut self.entries, self.shard, &slot, version);
        let change = Change { before: Some(cost), after: None };
        self.note_hint(HintChange { target, slot, state: None, change });
    }

    /// Counts and queues what was just put into the entries.
    fn note_hint(&mut self, change: HintChange) {
        self.ledger.enter(change.target, change.change);
        let group = self.pending.back_mut().expect("one group is always being filled");
        self.table.hints.queue(change.slot.clone(), change.state.clone(), group.number);
        group.hints.push(change);
    }

    /// Marks the arc of a write that no hint will tell. Says whether it was clean.
    pub(super) fn mark_dirty(&mut self, target: Ordinal, hash: KeyHash) -> bool {
        let Some(mark) = self.ledger.mark(target, hash) else { return false };
        self.queue_mark(mark, Marked::Dirty);
        true
    }

    pub(super) fn queue_mark(&mut self, mark: DirtyMark, marked: Marked) {
        self.make_room(entry::CLEANED_LEN);
        let (out, quarantines) = (&mut self.entries, self.remembered.quarantines);
        match marked {
            Marked::Dirty => entry::put_dirty(out, self.shard, mark),
            Marked::Clean => entry::put_cleaned(out, self.shard, mark, quarantines),
        }
        self.table.hints.queue_mark();
        let group = self.pending.back_mut().expect("one group is always being filled");
        group.marks.push((mark, marked));
    }

    /// See [`Store::clean`](crate::store::Store::clean).
    pub(super) fn queue_clean(&mut self, target: Ordinal, arc: HashArc, moment: u64) {
        if self.read_only || self.table.bytes() >= self.limits.table_bytes {
            return;
        }
        for mark in self.ledger.clean(target, arc, moment) {
            self.queue_mark(mark, Marked::Clean);
        }
    }

    /// Counts no more what groups that are sure to fail would have done: the first of them, which
    /// `failed`, and all behind it. The newest goes first, since each was counted on top of the others.
    pub(super) fn uncount(&mut self, failed: &[HintChange]) {
        let behind = self.pending.iter().rev().flat_map(|group| group.hints.iter().rev());
        for HintChange { target, change, .. } in behind.chain(failed.iter().rev()) {
            self.ledger.revert(*target, *change);
        }
    }

    /// Takes in what a failed group had queued. A hint that was to be kept leaves its arc dirty in its
    /// place, and a mark stays, also one that was to be stored no more: the log lacks all of them, so the
    /// next group is to hold them (`HINT_NOT_LOST`). What was to be dropped is there, and is delivered once more.
    pub(super) fn owe(&mut self, hints: Vec<HintChange>, marks: Vec<(DirtyMark, Marked)>) {
        for HintChange { slot, state, .. } in hints {
            self.table.hints.forget(&slot, &state);
            if let (Some(_), Some((target, hash))) = (state, hint::place_of(slot.as_bytes())) {
                self.owed_marks.extend(self.ledger.mark(target, hash));
            }
        }
        for (mark, _) in marks {
            self.table.hints.forget_mark();
            self.ledger.restore(mark);
            self.owed_marks.push(mark);
        }
    }

    /// Queues what failed groups owe. A store that takes no writes shows it, and that is all it can.
    pub(super) fn queue_owed_marks(&mut self) {
        if !self.read_only {
            for mark in mem::take(&mut self.owed_marks) {
                // Not where it was found clean in the meantime.
                if self.ledger.has(mark) {
                    self.queue_mark(mark, Marked::Dirty);
                }
            }
        }
    }

    pub(super) fn warn_of_rot(&self, target: Ordinal) {
        tracing::warn!(
            shard = self.shard,
            target = target.0,
            "a hint cannot be read; its part of the ring is dirty for the target"
        );
    }

    /// Marks the arc of a damaged hint and removes it.
    pub(super) fn give_up(&mut self, target: Ordinal, hash: KeyHash, slot: HintSlot, cost: u64) {
        if self.mark_dirty(target, hash) {
            self.warn_of_rot(target);
        }
        if self.table.hints.queued(&slot).is_none() {
            self.remove_hint(target, slot, hint::any_version(), cost);
        }
    }
}

#[cfg(test)]
#[path = "hints_tests.rs"]
mod tests;
