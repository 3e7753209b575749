//! The engine without a disk, for tests and for `storage.engine: memory`.
//!
//! The same rules as the disk engine as far as a caller can see: a write is invisible and unanswered
//! until its group is taken, which stands for its sync. It must never be more lenient than the disk.

use std::collections::BTreeMap;
use std::ops::Bound;

use paravon_model::{Key, Ordinal, Record, Version};
use paravon_ring::{HashArc, KeyHash, Shift};

use crate::hint::{self, HintSlot, HintTotals, KeptHint};
use crate::hint_ledger::{Change, Ledger};
use crate::page::{Page, PageLimit};
use crate::record_stage::{Place, RecordState, begin};
use crate::store::{
    Answer, Completion, Decision, Done, Group, ReadError, Refusal, ScanError, Store, decide, weight,
};

/// The records of one shard in memory alone. Lost with the process.
#[derive(Debug)]
pub struct MemoryStore {
    shard: u16,
    limit_bytes: usize,
    used_bytes: usize,
    stored: BTreeMap<Place, Record>,
    /// What is to become of a record: nothing where its key is forgotten.
    queued: BTreeMap<Place, RecordState>,
    waiting: Vec<(u64, Done)>,
    answers: Vec<Answer>,
    hints: BTreeMap<HintSlot, Record>,
    /// What is to become of a slot: nothing where its hint is dropped.
    queued_hints: BTreeMap<HintSlot, Option<Record>>,
    ledger: Ledger,
}

impl MemoryStore {
    /// An empty shard that holds records of up to `limit_bytes`, deletes beyond it, and hints of up
    /// to `hint_bytes`.
    #[must_use]
    pub fn new(shard: u16, limit_bytes: usize, hint_bytes: u64) -> Self {
        Self {
            shard,
            limit_bytes,
            used_bytes: 0,
            stored: BTreeMap::new(),
            queued: BTreeMap::new(),
            waiting: Vec::new(),
            answers: Vec::new(),
            hints: BTreeMap::new(),
            queued_hints: BTreeMap::new(),
            ledger: Ledger::new(hint_bytes),
        }
    }

    fn present_hint(&self, slot: &HintSlot) -> Option<&Record> {
        match self.queued_hints.get(slot) {
            Some(queued) => queued.as_ref(),
            None => self.hints.get(slot),
        }
    }
}

impl Store for MemoryStore {
    fn shard(&self) -> u16 {
        self.shard
    }

    fn get(&mut self, hash: KeyHash, key: &Key) -> Result<Option<Record>, ReadError> {
        Ok(self.stored.get(&(hash, Some(key.clone()))).cloned())
    }

    fn merge(
        &mut self,
        ticket: u64,
        hash: KeyHash,
        key: Key,
        record: Record,
    ) -> Result<(), Refusal> {
        if self.used_bytes >= self.limit_bytes && !record.is_tombstone() {
            return Err(Refusal::StorageFull);
        }
        let place = (hash, Some(key));
        let present = match self.queued.get(&place) {
            Some(queued) => queued.as_ref(),
            None => self.stored.get(&place),
        };
        let (merged, store) = match decide(&record, present) {
            Decision::Store(merged) => (merged, true),
            Decision::Keep(merged) => (merged, false),
        };
        if store {
            self.queued.insert(place, Some(record));
        }
        self.waiting.push((ticket, Done::Merged(merged)));
        Ok(())
    }

    fn forget(&mut self, ticket: u64, hash: KeyHash, key: Key) -> Result<(), Refusal> {
        self.queued.insert((hash, Some(key)), None);
        self.waiting.push((ticket, Done::Forgotten));
        Ok(())
    }

    fn scan(
        &mut self,
        arc: HashArc,
        after: Option<&(KeyHash, Key)>,
        limit: PageLimit,
    ) -> Result<Vec<(KeyHash, Key, Record)>, ScanError> {
        let mut page = Page::new(PageLimit { count: limit.count.max(1), ..limit });
        let behind = self.stored.range((begin(arc, after), Bound::Unbounded));
        for ((hash, key), record) in behind.take_while(|((hash, _), _)| *hash <= arc.last) {
            if page.is_full() {
                break;
            }
            if let Some(key) = key {
                page.push((*hash, key.clone(), record.clone()), hint::cost(key, record));
            }
        }
        Ok(page.into_found())
    }

    fn take_group(&mut self) -> Option<Group> {
        for (place, state) in std::mem::take(&mut self.queued) {
            let weight =
                |record: &Record| place.1.as_ref().map_or(0, |key| weight(key, Some(record)));
            self.used_bytes += state.as_ref().map_or(0, weight);
            self.used_bytes -= self.stored.get(&place).map_or(0, weight);
            match state {
                Some(record) => self.stored.insert(place, record),
                None => self.stored.remove(&place),
            };
        }
        for (slot, state) in std::mem::take(&mut self.queued_hints) {
            match state {
                Some(record) => self.hints.insert(slot, record),
                None => self.hints.remove(&slot),
            };
        }
        self.answers.extend(self.waiting.drain(..).map(|(ticket, done)| (ticket, Ok(done))));
        None
    }

    fn complete(&mut self, _completion: Completion) {}

    fn drain(&mut self, out: &mut Vec<Answer>) {
        out.append(&mut self.answers);
    }

    fn is_empty(&mut self) -> Result<bool, ReadError> {
        Ok(self.stored.is_empty() && self.queued.values().all(Option::is_none))
    }

    fn keep_hint(
        &mut self,
        target: Ordinal,
        hash: KeyHash,
        key: Key,
        record: Record,
    ) -> Result<(), Refusal> {
        let slot = HintSlot::new(target, hash, &key);
        let present = self.present_hint(&slot);
        if present.is_some_and(|present| record.precedence(present).is_le()) {
            return Ok(());
        }
        let before = present.map(|present| hint::cost(&key, present));
        let change = Change { before, after: Some(hint::cost(&key, &record)) };
        if self.ledger.allows(change) {
            self.ledger.enter(target, change);
            self.queued_hints.insert(slot, Some(record));
        } else {
            self.ledger.mark(target, hash);
        }
        Ok(())
    }

    fn hints(
        &mut self,
        target: Ordinal,
        after: Option<&(KeyHash, Key)>,
        limit: PageLimit,
    ) -> Result<Vec<KeptHint>, ReadError> {
        let prefix = hint::prefix(target);
        let after = after.map(|(hash, key)| HintSlot::new(target, *hash, key));
        let from = after
            .as_ref()
            .map_or(Bound::Included(prefix.as_slice()), |slot| Bound::Excluded(slot.as_bytes()));
        let behind = self.hints.range::<[u8], _>((from, Bound::Unbounded));
        let of_target = behind.take_while(|(slot, _)| slot.as_bytes().starts_with(&prefix));
        let mut page = Page::new(limit);
        for (slot, record) in of_target {
            if page.is_full() {
                break;
            }
            hint::push(&mut page, slot, record);
        }
        Ok(page.into_found())
    }

    fn drop_hint(&mut self, target: Ordinal, hash: KeyHash, key: &Key, version: Version) {
        let slot = HintSlot::new(target, hash, key);
        let Some(present) = self.present_hint(&slot) else { return };
        if present.version <= version {
            let change = Change { before: Some(hint::cost(key, present)), after: None };
            self.ledger.enter(target, change);
            self.queued_hints.insert(slot, None);
        }
    }

    fn hint_totals(&self, shift: Shift) -> Vec<HintTotals> {
        self.ledger.totals(shift)
    }

    fn end_batch(&mut self) {}

    fn flush(&mut self) -> bool {
        true
    }
}
