//! The engine without a disk, for tests and for `storage.engine: memory`.
//!
//! The same rules as the disk engine as far as a caller can see: a write is invisible and unanswered
//! until its group is taken, which stands for its sync. It must never be more lenient than the disk.

use std::collections::HashMap;

use paravon_model::{Key, Record};
use paravon_ring::KeyHash;

use crate::store::{
    Answer, Completion, Decision, Group, Merged, ReadError, Refusal, Store, decide, weight,
};

/// The records of one shard in memory alone. Lost with the process.
#[derive(Debug)]
pub struct MemoryStore {
    shard: u16,
    limit_bytes: usize,
    used_bytes: usize,
    stored: HashMap<Key, Record>,
    queued: HashMap<Key, Record>,
    waiting: Vec<(u64, Merged)>,
    answers: Vec<Answer>,
}

impl MemoryStore {
    /// An empty shard that holds records of up to `limit_bytes`; deletes pass beyond it.
    #[must_use]
    pub fn new(shard: u16, limit_bytes: usize) -> Self {
        Self {
            shard,
            limit_bytes,
            used_bytes: 0,
            stored: HashMap::new(),
            queued: HashMap::new(),
            waiting: Vec::new(),
            answers: Vec::new(),
        }
    }
}

impl Store for MemoryStore {
    fn shard(&self) -> u16 {
        self.shard
    }

    fn get(&mut self, _hash: KeyHash, key: &Key) -> Result<Option<Record>, ReadError> {
        Ok(self.stored.get(key).cloned())
    }

    fn merge(
        &mut self,
        ticket: u64,
        _hash: KeyHash,
        key: Key,
        record: Record,
    ) -> Result<(), Refusal> {
        if self.used_bytes >= self.limit_bytes && !record.is_tombstone() {
            return Err(Refusal::StorageFull);
        }
        let present = self.queued.get(&key).or_else(|| self.stored.get(&key));
        let (merged, store) = match decide(&record, present) {
            Decision::Store(merged) => (merged, true),
            Decision::Keep(merged) => (merged, false),
        };
        if store {
            self.queued.insert(key, record);
        }
        self.waiting.push((ticket, merged));
        Ok(())
    }

    fn take_group(&mut self) -> Option<Group> {
        for (key, record) in self.queued.drain() {
            self.used_bytes += weight(&key, &record);
            if let Some(old) = self.stored.insert(key.clone(), record) {
                self.used_bytes -= weight(&key, &old);
            }
        }
        self.answers.extend(self.waiting.drain(..).map(|(ticket, merged)| (ticket, Ok(merged))));
        None
    }

    fn complete(&mut self, _completion: Completion) {}

    fn drain(&mut self, out: &mut Vec<Answer>) {
        out.append(&mut self.answers);
    }

    fn end_batch(&mut self) {}

    fn flush(&mut self) -> bool {
        true
    }
}
