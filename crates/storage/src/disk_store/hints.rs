//! The hints of a disk store: decided against what is there, queued like records, read in order.
//!
//! A hint leaves its slot only for a newer one, by a drop that names its version, or because it is
//! damaged; in the last case, and wherever one is not kept at all, its arc is dirty for the target
//! (`HINT_NOT_LOST`).

use std::cmp::Ordering;
use std::collections::VecDeque;

use paravon_model::{Key, Ordinal, Record, Version};
use paravon_ring::KeyHash;

use super::DiskStore;
use crate::codec::BadRecord;
use crate::engine::{HintRow, HintView};
use crate::hint::{self, HintSlot, KeptHint};
use crate::hint_ledger::Change;
use crate::hint_table::HintState;
use crate::log::entry;
use crate::store::{ReadError, Refusal};

/// Hints read from redb at once.
const CHUNK: usize = 256;

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
        record: Record,
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
        let before = match self.present_hint(&slot, key) {
            Present::Nothing => None,
            Present::Kept { record: present, .. } if record.precedence(&present).is_le() => {
                return Ok(());
            }
            Present::Kept { cost, .. } => Some(cost),
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
        match self.present_hint(&slot, key) {
            Present::Kept { cost, record } if record.version <= version => {
                self.remove_hint(target, slot, version, cost);
            }
            Present::Damaged { cost } => self.give_up(target, hash, Some((slot, cost))),
            Present::Kept { .. } | Present::Nothing | Present::Unreadable => {}
        }
    }

    fn present_hint(&mut self, slot: &HintSlot, key: &Key) -> Present {
        let state = self.table.hints.queued(slot).or_else(|| self.table.synced_hint(slot));
        match state {
            Some(Some(record)) => {
                return Present::Kept { cost: hint::cost(key, record), record: record.clone() };
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
            Ok(Some(HintRow { cost, hint: Ok(record), .. })) => Present::Kept { cost, record },
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
    fn mark_dirty(&mut self, target: Ordinal, hash: KeyHash) -> bool {
        let Some(mark) = self.ledger.mark(target, hash) else { return false };
        self.make_room(entry::DIRTY_LEN);
        entry::put_dirty(&mut self.entries, self.shard, mark);
        self.table.hints.queue_mark();
        self.pending.back_mut().expect("one group is always being filled").marks.push(mark);
        true
    }

    /// Marks the arc of a hint that cannot be read, and removes it where that is sure to be damage.
    fn give_up(&mut self, target: Ordinal, hash: KeyHash, damaged: Option<(HintSlot, u64)>) {
        if self.read_only {
            return;
        }
        if self.mark_dirty(target, hash) {
            tracing::warn!(
                shard = self.shard,
                target = target.0,
                "a hint cannot be read; its part of the ring is dirty for the target"
            );
        }
        if let Some((slot, cost)) = damaged
            && self.table.hints.queued(&slot).is_none()
        {
            self.remove_hint(target, slot, hint::any_version(), cost);
        }
    }

    /// See [`Store::hints`](crate::store::Store::hints).
    pub(super) fn list_hints(
        &mut self,
        target: Ordinal,
        after: Option<&(KeyHash, Key)>,
        limit: usize,
    ) -> Result<Vec<KeptHint>, ReadError> {
        let view = self.hint_view.take().map_or_else(|| self.engine.hint_view(), Ok)?;
        let after = after.map(|(hash, key)| HintSlot::new(target, *hash, key));
        let mut bad = Vec::new();
        let found = self.merged_hints(&view, target, after.as_ref(), limit, &mut bad);
        self.hint_view = Some(view);
        for HintRow { place, cost, hint } in bad {
            let Some((target, hash)) = hint::place_of(&place) else { continue };
            let slot = HintSlot::from_bytes(&place).filter(|_| hint == Err(BadRecord::Damaged));
            self.give_up(target, hash, slot.map(|slot| (slot, cost)));
        }
        found
    }

    /// The hints of redb and of the table over it, in order; those that cannot be read go to `bad`.
    fn merged_hints(
        &self,
        view: &HintView,
        target: Ordinal,
        after: Option<&HintSlot>,
        limit: usize,
        bad: &mut Vec<HintRow>,
    ) -> Result<Vec<KeptHint>, ReadError> {
        let mut cursor: Option<Box<[u8]>> = after.map(|slot| slot.as_bytes().into());
        let over = self.table.hints.behind(self.table.frozen_hints(), target, cursor.as_deref());
        let mut over = over.peekable();
        let chunk = limit.min(CHUNK);
        let (mut rows, mut is_last) = (VecDeque::new(), false);
        let mut found = Vec::new();
        while found.len() < limit {
            if rows.is_empty() && !is_last {
                rows.extend(self.engine.hint_rows(view, target, cursor.as_deref(), chunk)?);
                is_last = rows.len() < chunk;
                cursor = rows.back().map(|row: &HintRow| row.place.clone());
            }
            let order = match (rows.front(), over.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(row), Some((slot, _))) => (*row.place).cmp(slot.as_bytes()),
            };
            let row = if order.is_le() { rows.pop_front() } else { None };
            let state = if order.is_ge() { over.next() } else { None };
            match (row, state) {
                (_, Some((slot, Some(record)))) => found.extend(slot.with(record.clone())),
                (_, Some((_, None))) | (None, None) => {}
                (Some(row), None) => match (HintSlot::from_bytes(&row.place), row.hint) {
                    (Some(slot), Ok(record)) => found.extend(slot.with(record)),
                    (_, hint) => bad.push(HintRow { hint, ..row }),
                },
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::applier::{Mailbox, Progress};
    use crate::conformance::{key, record};
    use crate::crash_disk::CrashDisk;
    use crate::disk_store::Limits;
    use crate::engine::Engine;
    use crate::hint::HintTotals;
    use crate::hint_ledger::Ledger;
    use crate::position::Position;
    use crate::store::{Completion, Store, WriteError};
    use crate::table::Table;

    const TARGET: Ordinal = Ordinal(3);

    /// A store whose file holds these hints.
    fn store(rows: &[(HintSlot, Vec<u8>)]) -> DiskStore {
        let disk = CrashDisk::new();
        Engine::found(&disk, "shard").unwrap();
        let (engine, _) = Engine::open(&disk, "shard", 1 << 20).unwrap();
        engine.put_hints(rows);
        let mut ledger = Ledger::new(u64::MAX);
        engine.count_hints(&mut ledger).unwrap();
        let limits = Limits { table_bytes: 1 << 20, group_bytes: 1 << 20 };
        DiskStore::new(
            0,
            limits,
            (Table::default(), ledger),
            Position::ZERO,
            Arc::new(engine),
            Arc::new(Mailbox::default()),
            Arc::new(Progress::new(Position::ZERO)),
        )
    }

    fn sync(store: &mut DiskStore, result: Result<Position, WriteError>) {
        while let Some(group) = store.take_group() {
            store.complete(Completion::Synced { shard: 0, group: group.number, result });
        }
    }

    fn row(number: u8) -> (HintSlot, Vec<u8>) {
        let (hash, key) = key(number);
        let slot = HintSlot::new(TARGET, hash, &key);
        let mut stored = Vec::new();
        crate::codec::encode_hint(&mut stored, &slot, &record(5, Some(5)));
        (slot, stored)
    }

    fn damaged(number: u8) -> (HintSlot, Vec<u8>) {
        let (slot, mut stored) = row(number);
        stored[5] ^= 1;
        (slot, stored)
    }

    fn totals(store: &DiskStore) -> (u64, u64) {
        let totals = store.hint_totals();
        let one = |HintTotals { count, dirty, .. }: &HintTotals| (*count, *dirty);
        totals.first().map_or((0, 0), one)
    }

    #[test]
    fn a_damaged_hint_is_left_out_and_removed_and_its_arc_is_dirty() {
        let mut store = store(&[row(1), damaged(2), row(3)]);
        assert_eq!(totals(&store), (3, 0));
        for _ in 0..2 {
            assert_eq!(store.hints(TARGET, None, 9).unwrap().len(), 2);
            assert_eq!(totals(&store), (2, 1), "once");
        }
        sync(&mut store, Ok(Position(1)));
        assert_eq!(store.hints(TARGET, None, 9).unwrap().len(), 2);
        assert_eq!(totals(&store), (2, 1));
        assert!(store.take_group().is_none(), "there is nothing more to do for it");
    }

    #[test]
    fn a_damaged_hint_takes_a_newer_one_and_a_drop_and_its_arc_is_dirty() {
        let mut store = store(&[damaged(1), damaged(2)]);
        let (hash, one) = key(1);
        store.keep_hint(TARGET, hash, one, record(1, Some(1))).unwrap();
        assert_eq!(totals(&store), (2, 1));
        let (hash, two) = key(2);
        store.drop_hint(TARGET, hash, &two, record(1, None).version);
        assert_eq!(totals(&store), (1, 2));
        sync(&mut store, Ok(Position(1)));
        let kept = store.hints(TARGET, None, 9).unwrap();
        assert_eq!(kept.iter().map(|hint| &hint.record).collect::<Vec<_>>(), [&record(1, Some(1))]);
    }

    #[test]
    fn a_hint_of_a_later_format_stays_and_its_arc_is_dirty() {
        let (slot, mut stored) = row(1);
        stored.truncate(stored.len() - 8);
        stored[0] += 1;
        let seed = xxhash_rust::xxh3::xxh3_64(slot.as_bytes());
        let checksum = xxhash_rust::xxh3::xxh3_64_with_seed(&stored, seed);
        stored.extend_from_slice(&checksum.to_be_bytes());
        let mut store = store(&[(slot, stored)]);
        assert!(store.hints(TARGET, None, 9).unwrap().is_empty());
        assert_eq!(totals(&store), (1, 1));
        let (hash, key) = key(1);
        store.keep_hint(TARGET, hash, key.clone(), record(9, Some(9))).unwrap();
        store.drop_hint(TARGET, hash, &key, hint::any_version());
        sync(&mut store, Ok(Position(1)));
        assert_eq!(totals(&store), (1, 1));
    }

    #[test]
    fn what_a_failed_group_had_changed_is_taken_back_and_can_be_done_again() {
        let mut store = store(&[row(1), row(2)]);
        let before = store.hint_totals();
        let change = |store: &mut DiskStore| {
            let (hash, one) = key(1);
            store.keep_hint(TARGET, hash, one, record(9, Some(9))).unwrap();
            let (hash, two) = key(2);
            store.drop_hint(TARGET, hash, &two, record(5, None).version);
            store.full = true;
            let (hash, three) = key(3);
            store.keep_hint(TARGET, hash, three, record(1, Some(1))).unwrap();
            store.full = false;
            assert_eq!(totals(store), (1, 1));
        };
        change(&mut store);
        sync(&mut store, Err(WriteError::StorageFull));
        assert_eq!(store.hint_totals(), before);
        assert_eq!(store.hints(TARGET, None, 9).unwrap().len(), 2);
        assert_eq!(store.table.bytes(), 0);
        change(&mut store);
        sync(&mut store, Ok(Position(1)));
        assert_eq!(totals(&store), (1, 1));
        assert_eq!(store.hints(TARGET, None, 9).unwrap()[0].record, record(9, Some(9)));
    }
}
