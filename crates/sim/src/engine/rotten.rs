//! A store in memory whose records rot: a rotten one is there and fails its checksum, as on a disk.
//!
//! The damage of a key is known from the read that finds it, is durable with the next group, and ends when
//! the key is healed or forgotten, as a disk store does it. **Never:** tells what a rotten record held.

use std::collections::BTreeSet;

use paravon_model::{Damage, Digest, Key, Marks, Ordinal, Record, Version};
use paravon_ring::{HashArc, KeyHash, Partition, Shift};
use paravon_storage::{
    Answer, Completion, Done, Dropped, Group, HintTotals, KeptHint, MemoryStore, Merged, PageLimit,
    ReadError, Refusal, ScanError, Scrubbed, Store,
};

/// Of what the store itself has done to take a rotten record away.
const OWN: u64 = u64::MAX;

type Slot = (KeyHash, Key);

/// The records of one shard. One group is queued at a time, and becomes durable at once.
#[derive(Debug)]
pub(crate) struct RottenStore {
    inner: MemoryStore,
    shift: Shift,
    /// Keys whose records cannot be read.
    rotten: BTreeSet<Slot>,
    /// Of those that are known to be damaged, the ones that a crash does not let be forgotten.
    marked: BTreeSet<Slot>,
    known: BTreeSet<Slot>,
    untold: Vec<Slot>,
    /// Tickets of merges over rotten records.
    over: Vec<u64>,
    /// Tickets of what was to drop a record that is damaged.
    undropped: Vec<u64>,
}

impl RottenStore {
    /// Nothing is rotten yet.
    pub(crate) fn new(inner: MemoryStore) -> Self {
        Self {
            inner,
            shift: Shift::DEFAULT,
            rotten: BTreeSet::new(),
            marked: BTreeSet::new(),
            known: BTreeSet::new(),
            untold: Vec::new(),
            over: Vec::new(),
            undropped: Vec::new(),
        }
    }

    /// The record of a key cannot be read any more; says whether there was one.
    pub(crate) fn rot(&mut self, hash: KeyHash, key: &Key) -> bool {
        let is_there = matches!(self.inner.get(hash, key), Ok(Some(_)));
        is_there && self.rotten.insert((hash, key.clone()))
    }

    /// The process has died: what was not durable is not known any more.
    pub(crate) fn crash(&mut self) {
        self.known = self.marked.clone();
        self.untold.clear();
        self.over.clear();
        self.undropped.clear();
    }

    /// All records are gone, and what is marked stays: so it is when the file of a shard, one of so many,
    /// is set aside.
    pub(crate) fn lose_file(&mut self, shards: u32) {
        let all = PageLimit { count: usize::MAX, bytes: u64::MAX };
        let records = self.inner.scan(HashArc::ALL, None, all).unwrap_or_default();
        for (hash, key, _) in records {
            let _there_is_room = self.inner.forget(OWN, hash, key);
        }
        self.rotten.clear();
        let own = (u32::from(self.shard())..self.shift.partitions()).step_by(shards as usize);
        let known = self.inner.marks();
        for partition in own.map(Partition) {
            let marks = known.iter().find(|(of, _)| *of == partition);
            let marks = marks.map(|(_, marks)| *marks).unwrap_or_default();
            let lost = Marks { damage: Damage::Lost, ..marks };
            let _there_is_room = self.inner.set_marks(OWN, partition, lost);
        }
        self.inner.take_group();
        self.inner.drain(&mut Vec::new());
    }

    fn find(&mut self, slot: &Slot) {
        if self.known.insert(slot.clone()) {
            self.untold.push(slot.clone());
        }
    }

    fn heals(&mut self, slot: &Slot) {
        self.known.remove(slot);
        self.marked.remove(slot);
    }
}

impl Store for RottenStore {
    fn shard(&self) -> u16 {
        self.inner.shard()
    }

    fn get(&mut self, hash: KeyHash, key: &Key) -> Result<Option<Record>, ReadError> {
        let slot = (hash, key.clone());
        if self.rotten.contains(&slot) {
            self.find(&slot);
            return Err(ReadError::Damaged);
        }
        self.inner.get(hash, key)
    }

    fn merge(
        &mut self,
        ticket: u64,
        hash: KeyHash,
        key: Key,
        record: Record,
    ) -> Result<(), Refusal> {
        let slot = (hash, key.clone());
        if self.rotten.contains(&slot) {
            self.inner.forget(OWN, hash, key.clone())?;
            self.find(&slot);
            self.rotten.remove(&slot);
            self.over.push(ticket);
        }
        self.inner.merge(ticket, hash, key, record)
    }

    fn forget(&mut self, ticket: u64, hash: KeyHash, key: Key) -> Result<(), Refusal> {
        let slot = (hash, key.clone());
        self.rotten.remove(&slot);
        self.heals(&slot);
        self.inner.forget(ticket, hash, key)
    }

    fn drop_record(
        &mut self,
        ticket: u64,
        hash: KeyHash,
        key: Key,
        version: Version,
    ) -> Result<(), Refusal> {
        let slot = (hash, key);
        if self.rotten.contains(&slot) {
            self.find(&slot);
        }
        if self.known.contains(&slot) {
            self.undropped.push(ticket);
            return Ok(());
        }
        let (hash, key) = slot;
        self.inner.drop_record(ticket, hash, key, version)
    }

    fn scan(
        &mut self,
        arc: HashArc,
        after: Option<&(KeyHash, Key)>,
        limit: PageLimit,
    ) -> Result<Vec<(KeyHash, Key, Record)>, ScanError> {
        let mut page = self.inner.scan(arc, after, limit)?;
        let is_rotten =
            |(hash, key, _): &(KeyHash, Key, Record)| self.rotten.contains(&(*hash, key.clone()));
        let Some(place) = page.iter().position(is_rotten) else { return Ok(page) };
        if place > 0 {
            page.truncate(place);
            return Ok(page);
        }
        let slot = (page[0].0, page[0].1.clone());
        self.find(&slot);
        Err(ScanError { error: ReadError::Damaged, at: Some(slot) })
    }

    fn take_group(&mut self) -> Option<Group> {
        self.marked.extend(self.known.iter().cloned());
        self.inner.take_group()
    }

    fn complete(&mut self, completion: Completion) {
        self.inner.complete(completion);
    }

    fn drain(&mut self, out: &mut Vec<Answer>) {
        self.inner.drain(out);
        out.retain(|(ticket, _)| *ticket != OWN);
        let undropped = |ticket| (ticket, Ok(Done::Dropped(Dropped::Damaged)));
        out.extend(self.undropped.drain(..).map(undropped));
        for ticket in self.over.drain(..) {
            for (_, answer) in out.iter_mut().filter(|(answered, _)| *answered == ticket) {
                *answer = Ok(Done::Merged(Merged::OverDamaged));
            }
        }
    }

    fn keep_sums(&mut self, seed: u64, shift: Shift) {
        self.shift = shift;
        self.inner.keep_sums(seed, shift);
    }

    fn digest(&self, partition: Partition) -> Option<Digest> {
        let rotten = self.rotten.intersection(&self.known);
        let is_hurt = rotten.into_iter().any(|(hash, _)| hash.partition(self.shift) == partition);
        if is_hurt { None } else { self.inner.digest(partition) }
    }

    fn scrub(&mut self, limit: PageLimit) -> Result<Scrubbed, ReadError> {
        let scrubbed = self.inner.scrub(limit)?;
        if scrubbed.round {
            for slot in self.rotten.clone() {
                self.find(&slot);
            }
        }
        Ok(scrubbed)
    }

    fn take_damaged(&mut self, out: &mut Vec<(KeyHash, Key)>) {
        out.append(&mut self.untold);
    }

    fn damaged(&self) -> Vec<(KeyHash, Key)> {
        self.known.iter().cloned().collect()
    }

    fn heal(
        &mut self,
        ticket: u64,
        hash: KeyHash,
        key: Key,
        record: Option<Record>,
    ) -> Result<(), Refusal> {
        let slot = (hash, key.clone());
        if self.rotten.remove(&slot) {
            self.inner.forget(OWN, hash, key.clone())?;
        }
        self.heals(&slot);
        self.inner.heal(ticket, hash, key, record)
    }

    fn marks(&self) -> Vec<(Partition, Marks)> {
        self.inner.marks()
    }

    fn set_marks(
        &mut self,
        ticket: u64,
        partition: Partition,
        marks: Marks,
    ) -> Result<(), Refusal> {
        self.inner.set_marks(ticket, partition, marks)
    }

    fn dirty_moment(&self) -> u64 {
        self.inner.dirty_moment()
    }

    fn is_dirty(&self, target: Ordinal) -> bool {
        self.inner.is_dirty(target)
    }

    fn clean(&mut self, target: Ordinal, arc: HashArc, moment: u64) {
        self.inner.clean(target, arc, moment);
    }

    fn is_empty(&mut self) -> Result<bool, ReadError> {
        self.inner.is_empty()
    }

    fn keep_hint(
        &mut self,
        target: Ordinal,
        hash: KeyHash,
        key: Key,
        record: Record,
    ) -> Result<(), Refusal> {
        self.inner.keep_hint(target, hash, key, record)
    }

    fn hints(
        &mut self,
        target: Ordinal,
        after: Option<&(KeyHash, Key)>,
        limit: PageLimit,
    ) -> Result<Vec<KeptHint>, ReadError> {
        self.inner.hints(target, after, limit)
    }

    fn drop_hint(&mut self, target: Ordinal, hash: KeyHash, key: &Key, version: Version) {
        self.inner.drop_hint(target, hash, key, version);
    }

    fn hint_totals(&self, shift: Shift) -> Vec<HintTotals> {
        self.inner.hint_totals(shift)
    }

    fn end_batch(&mut self) {
        self.inner.end_batch();
    }

    fn flush(&mut self) -> bool {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paravon_model::{Body, Hlc, Value};

    fn record(ms: u64) -> Record {
        let version = Version { hlc: Hlc::new(ms, 0), ordinal: Ordinal(1) };
        Record { version, expires_ms: None, body: Body::Live(Value::bytes(b"v")) }
    }

    fn carried(store: &mut RottenStore) -> Vec<Answer> {
        let mut answers = Vec::new();
        store.take_group();
        store.drain(&mut answers);
        answers
    }

    #[test]
    fn a_rotten_record_is_never_told_and_what_is_stored_over_it_does_not_count() {
        let mut store = RottenStore::new(MemoryStore::new((0, 1), 1 << 20, 0));
        store.keep_sums(0, Shift::DEFAULT);
        let key = Key::new("default", b"k").expect("a valid key");
        let hash = KeyHash::of(&key, 0);
        assert!(!store.rot(hash, &key), "there is nothing to rot");
        store.merge(1, hash, key.clone(), record(9)).expect("there is room");
        carried(&mut store);
        assert!(store.rot(hash, &key));
        assert_eq!(store.get(hash, &key), Err(ReadError::Damaged));
        assert_eq!(store.digest(hash.partition(Shift::DEFAULT)), None);
        let limit = PageLimit { count: 9, bytes: 999 };
        let at = store.scan(HashArc::ALL, None, limit).expect_err("it is rotten").at;
        assert_eq!(at, Some((hash, key.clone())));

        store.crash();
        assert_eq!(store.damaged(), []);
        store.merge(2, hash, key.clone(), record(5)).expect("there is room");
        let over = (2, Ok(Done::Merged(Merged::OverDamaged)));
        assert_eq!(carried(&mut store), [over]);
        store.drop_record(3, hash, key.clone(), record(5).version).expect("there is room");
        assert_eq!(carried(&mut store), [(3, Ok(Done::Dropped(Dropped::Damaged)))]);
        store.crash();
        assert_eq!(store.damaged(), [(hash, key.clone())], "durable with what lies over it");
        assert_eq!(store.get(hash, &key), Ok(Some(record(5))));
    }
}
