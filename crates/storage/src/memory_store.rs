//! The engine without a disk, for tests and for `storage.engine: memory`.
//!
//! The same rules as the disk engine as far as a caller can see: a write is invisible and unanswered
//! until its group is taken, which stands for its sync. It must never be more lenient than the disk.

use std::collections::BTreeMap;
use std::ops::Bound;

use paravon_model::{Digest, Key, Marks, Ordinal, Record, Version};
use paravon_ring::{HashArc, KeyHash, Partition, Shift};

use crate::hint::{self, HintSlot, HintTotals, KeptHint};
use crate::hint_ledger::{Change, Ledger};
use crate::marks::{MarkChange, ShardMarks};
use crate::own_partitions::OwnPartitions;
use crate::page::{Page, PageLimit};
use crate::record_stage::{Place, RecordState, Slot, begin};
use crate::scrub;
use crate::store::{
    Answer, Completion, Decision, Done, Group, ReadError, Refusal, ScanError, Scrubbed, Store,
    weight,
};
use crate::sums::{Delta, Holds, Sums};

/// The records of one shard in memory alone. Lost with the process.
#[derive(Debug)]
pub struct MemoryStore {
    shard: u16,
    /// How many shards the node has.
    shards: u16,
    limit_bytes: usize,
    used_bytes: usize,
    stored: BTreeMap<Place, Record>,
    /// What is to become of a record, nothing where its key is forgotten; and what that does to the sums.
    queued: BTreeMap<Place, (RecordState, Delta)>,
    waiting: Vec<(u64, Done)>,
    answers: Vec<Answer>,
    hints: BTreeMap<HintSlot, Record>,
    /// What is to become of a slot: nothing where its hint is dropped.
    queued_hints: BTreeMap<HintSlot, Option<Record>>,
    ledger: Ledger,
    sums: Sums,
    marks: ShardMarks,
    queued_marks: Vec<MarkChange>,
}

impl MemoryStore {
    /// An empty shard, one of `shards`, that holds records of up to `limit_bytes`, deletes beyond it, and hints of up
    /// to `hint_bytes`.
    #[must_use]
    pub fn new((shard, shards): (u16, u16), limit_bytes: usize, hint_bytes: u64) -> Self {
        Self {
            shard,
            shards,
            limit_bytes,
            used_bytes: 0,
            stored: BTreeMap::new(),
            queued: BTreeMap::new(),
            waiting: Vec::new(),
            answers: Vec::new(),
            hints: BTreeMap::new(),
            queued_hints: BTreeMap::new(),
            ledger: Ledger::new(hint_bytes),
            sums: Sums::none(),
            marks: ShardMarks::default(),
            queued_marks: Vec::new(),
        }
    }

    fn queue(&mut self, place: Place, state: RecordState, delta: Delta) {
        let queued = self.queued.entry(place).or_insert((None, Delta::Known(0)));
        queued.0 = state;
        queued.1 += delta;
    }

    /// What is there when everything queued is.
    fn present(&self, place: &Place) -> Option<&Record> {
        match self.queued.get(place) {
            Some((queued, _)) => queued.as_ref(),
            None => self.stored.get(place),
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
        let slot = Slot { hash, key };
        let place = (hash, Some(slot.key.clone()));
        let merged = match self.sums.decide(&slot, &record, self.present(&place)) {
            (Decision::Store(merged), delta) => {
                self.queue(place, Some(record), delta);
                merged
            }
            (Decision::Keep(merged), _) => merged,
        };
        self.waiting.push((ticket, Done::Merged(merged)));
        Ok(())
    }

    fn forget(&mut self, ticket: u64, hash: KeyHash, key: Key) -> Result<(), Refusal> {
        self.queue((hash, Some(key)), None, Delta::Unknown);
        self.waiting.push((ticket, Done::Forgotten));
        Ok(())
    }

    fn drop_record(
        &mut self,
        ticket: u64,
        hash: KeyHash,
        key: Key,
        version: Version,
    ) -> Result<(), Refusal> {
        let slot = Slot { hash, key };
        let place = (hash, Some(slot.key.clone()));
        let (dropped, delta) = self.sums.decide_drop(&slot, version, self.present(&place));
        if let Some(delta) = delta {
            self.queue(place, None, delta);
        }
        self.waiting.push((ticket, Done::Dropped(dropped)));
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
        for (place, (state, delta)) in std::mem::take(&mut self.queued) {
            if let (hash, Some(key)) = &place {
                self.sums.change(&Slot { hash: *hash, key: key.clone() }, delta);
            }
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
        self.queued_marks.drain(..).for_each(|change| self.marks.apply(change));
        self.answers.extend(self.waiting.drain(..).map(|(ticket, done)| (ticket, Ok(done))));
        None
    }

    fn complete(&mut self, _completion: Completion) {}

    fn drain(&mut self, out: &mut Vec<Answer>) {
        out.append(&mut self.answers);
    }

    fn take_damaged(&mut self, _out: &mut Vec<(KeyHash, Key)>) {}

    fn damaged(&self) -> Vec<(KeyHash, Key)> {
        Vec::new()
    }

    fn heal(
        &mut self,
        ticket: u64,
        hash: KeyHash,
        key: Key,
        record: Option<Record>,
    ) -> Result<(), Refusal> {
        if let Some(record) = record {
            self.merge(ticket, hash, key, record)?;
            // What it did to the record is not what the caller asks.
            self.waiting.pop();
        }
        self.waiting.push((ticket, Done::Healed));
        Ok(())
    }

    fn marks(&self) -> Vec<(Partition, Marks)> {
        self.marks.marks((self.shard, self.shards), None)
    }

    fn set_marks(
        &mut self,
        ticket: u64,
        partition: Partition,
        marks: Marks,
    ) -> Result<(), Refusal> {
        self.queued_marks.push(MarkChange::Marks { partition, marks, quarantines: 0 });
        self.waiting.push((ticket, Done::Marked));
        Ok(())
    }

    fn is_empty(&mut self) -> Result<bool, ReadError> {
        Ok(self.stored.is_empty() && self.queued.values().all(|(state, _)| state.is_none()))
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

    fn keep_sums(&mut self, seed: u64, shift: Shift) {
        let own = OwnPartitions::new(shift, (self.shard, self.shards));
        let holds = if self.is_empty() == Ok(true) { Holds::Nothing } else { Holds::Records };
        self.sums.keep(seed, own, holds);
        self.ledger.know(own);
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
        self.ledger.clean(target, arc, moment);
    }

    fn end_batch(&mut self) {}

    fn flush(&mut self) -> bool {
        true
    }
}
