//! The memory engine behind a simulated disk: what a sync carried stays over a crash, what only waited
//! does not.

use paravon_model::{Hlc, Merged};
use paravon_replication::mutants::{self, Mutant};
use paravon_storage::{MemoryStore, Store};

use super::{Done, Job, Opened, merged, refusal};
use crate::random::Random;

/// More than any world writes.
const LIMIT_BYTES: usize = 64 << 20;

/// Stores in memory with a queue in front.
pub(crate) struct MemoryEngine {
    stores: Vec<MemoryStore>,
    ceiling: Hlc,
    starts: u64,
    queue: Vec<Job>,
    syncing: Vec<Job>,
    answers: Vec<paravon_storage::Answer>,
}

impl MemoryEngine {
    pub(crate) fn new(shards: u16) -> Self {
        let store = |shard| MemoryStore::new(shard, LIMIT_BYTES, LIMIT_BYTES as u64);
        Self {
            stores: (0..shards).map(store).collect(),
            ceiling: Hlc::ZERO,
            starts: 0,
            queue: Vec::new(),
            syncing: Vec::new(),
            answers: Vec::new(),
        }
    }

    pub(crate) fn open(&mut self) -> Opened {
        self.starts += 1;
        Opened { start: self.starts, ceiling: self.ceiling }
    }

    pub(crate) fn store(&mut self, shard: usize) -> &mut dyn Store {
        &mut self.stores[shard]
    }

    pub(crate) fn queue(&mut self, job: Job) {
        self.queue.push(job);
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len() + self.syncing.len()
    }

    pub(crate) fn begin_sync(&mut self) -> bool {
        if self.queue.is_empty() || !self.syncing.is_empty() {
            return false;
        }
        std::mem::swap(&mut self.queue, &mut self.syncing);
        true
    }

    pub(crate) fn end_sync(&mut self, out: &mut Vec<Done>) {
        let mut jobs = std::mem::take(&mut self.syncing);
        for job in jobs.drain(..) {
            self.carry(job, out);
        }
        // Its memory is used again.
        self.syncing = jobs;
    }

    pub(crate) fn crash(&mut self, random: &mut Random) -> bool {
        self.queue.clear();
        let jobs = std::mem::take(&mut self.syncing);
        if jobs.is_empty() || random.below(2) == 0 {
            return false;
        }
        let kept = random.index(jobs.len() + 1);
        let mut lost = Vec::new();
        jobs.into_iter().take(kept).for_each(|job| self.carry(job, &mut lost));
        kept > 0
    }

    fn carry(&mut self, job: Job, out: &mut Vec<Done>) {
        match job {
            Job::Merge { owner, operation, hash, key, record } => {
                let stamp = record.version;
                let store = &mut self.stores[owner.shard];
                let tied = mutants::is(Mutant::TiesByArrival)
                    && matches!(store.get(hash, &key), Ok(Some(present))
                        if present.version.hlc == stamp.hlc);
                let answer = if tied {
                    Ok(Merged::Applied)
                } else {
                    store.merge(0, hash, key.clone(), record).map_err(refusal).and_then(|()| {
                        store.take_group();
                        store.drain(&mut self.answers);
                        self.answers.pop().map_or(Ok(Merged::Applied), |(_, did)| merged(did))
                    })
                };
                out.push(Done::Stored { owner, operation, key, stamp, answer });
            }
            Job::Forget { owner, operation, hash, key } => {
                let store = &mut self.stores[owner.shard];
                let answer = store.forget(0, hash, key.clone()).map_err(refusal);
                store.take_group();
                store.drain(&mut self.answers);
                self.answers.clear();
                out.push(Done::Forgotten { owner, operation, key, answer });
            }
            Job::KeepHint { shard, target, hash, key, record } => {
                let version = record.version;
                let store = &mut self.stores[shard];
                if store.keep_hint(target, hash, key.clone(), record).is_ok() {
                    store.take_group();
                    out.push(Done::HintKept { target, key, version });
                }
            }
            Job::DropHint { shard, target, hash, key, version } => {
                let store = &mut self.stores[shard];
                store.drop_hint(target, hash, &key, version);
                store.take_group();
                out.push(Done::HintDropped { target, key, version });
            }
            Job::Ceiling { hlc } => {
                self.ceiling = self.ceiling.max(hlc);
                out.push(Done::Ceiling { hlc: self.ceiling });
            }
        }
    }
}
