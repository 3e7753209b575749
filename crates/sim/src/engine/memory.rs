//! The memory engine behind a simulated disk: what a sync carried stays over a crash, what only waited
//! does not.

use paravon_model::{Failure, Hlc, Key, Merged};
use paravon_replication::mutants::{self, Mutant};
use paravon_ring::KeyHash;
use paravon_storage::{Answer, MemoryStore, Refusal, Store};

use super::rotten::RottenStore;
use super::{Done, Job, Opened, keep_hint, merged, refusal, write_failure};
use crate::plan::Plan;
use crate::random::Random;

/// More than any world writes.
const LIMIT_BYTES: usize = 64 << 20;

/// Stores in memory with a queue in front.
pub(crate) struct MemoryEngine {
    stores: Vec<RottenStore>,
    ceiling: Hlc,
    starts: u64,
    queue: Vec<Job>,
    syncing: Vec<Job>,
    answers: Vec<Answer>,
}

impl MemoryEngine {
    pub(crate) fn new(plan: &Plan) -> Self {
        let shards = plan.shards;
        let store = |shard| {
            RottenStore::new(MemoryStore::new((shard, shards), LIMIT_BYTES, plan.hint_bytes))
        };
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
        let survives = !jobs.is_empty() && random.below(2) > 0;
        let kept = if survives { random.index(jobs.len() + 1) } else { 0 };
        let mut lost = Vec::new();
        jobs.into_iter().take(kept).for_each(|job| self.carry(job, &mut lost));
        self.stores.iter_mut().for_each(RottenStore::crash);
        kept > 0
    }

    pub(crate) fn rot(&mut self, shard: usize, hash: KeyHash, key: &Key) -> bool {
        self.stores[shard].rot(hash, key)
    }

    pub(crate) fn lose_file(&mut self, shard: usize) {
        let shards = u32::try_from(self.stores.len()).unwrap_or(1);
        self.stores[shard].lose_file(shards);
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
                    let queued = store.merge(0, hash, key.clone(), record);
                    self.answer(owner.shard, queued).and_then(|(_, did)| merged(did))
                };
                out.push(Done::Stored { owner, operation, key, stamp, answer });
            }
            Job::Forget { owner, operation, hash, key } => {
                let queued = self.stores[owner.shard].forget(0, hash, key.clone());
                let answer = self.answer(owner.shard, queued).and_then(done);
                out.push(Done::Forgotten { owner, operation, key, answer });
            }
            Job::Drop { owner, operation, hash, key, version } => {
                let queued = self.stores[owner.shard].drop_record(0, hash, key.clone(), version);
                let answer = self.answer(owner.shard, queued).and_then(done);
                out.push(Done::Forgotten { owner, operation, key, answer });
            }
            Job::Heal { owner, operation, hash, key, record } => {
                let queued = self.stores[owner.shard].heal(0, hash, key.clone(), record);
                let answer = self.answer(owner.shard, queued).and_then(done);
                out.push(Done::Healed { owner, operation, key, answer });
            }
            Job::SetMarks { owner, operation, partition, marks } => {
                let queued = self.stores[owner.shard].set_marks(0, partition, marks);
                let answer = self.answer(owner.shard, queued).and_then(done);
                out.push(Done::Marked { owner, operation, partition, marks, answer });
            }
            Job::KeepHint { shard, target, hash, key, record } => {
                let store = &mut self.stores[shard];
                out.extend(keep_hint(store, target, hash, key, record));
                store.take_group();
            }
            Job::Clean { shard, target, arc, moment } => {
                let store = &mut self.stores[shard];
                store.clean(target, arc, moment);
                store.take_group();
                out.push(Done::Cleaned { target, arc, moment });
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

    /// What a store says of a job that it has just queued, once that is durable.
    fn answer(&mut self, shard: usize, queued: Result<(), Refusal>) -> Result<Answer, Failure> {
        queued.map_err(refusal)?;
        let store = &mut self.stores[shard];
        store.take_group();
        store.drain(&mut self.answers);
        Ok(self.answers.pop().expect("the memory engine answers with its group"))
    }
}

fn done((_, answer): Answer) -> Result<(), Failure> {
    answer.map(drop).map_err(write_failure)
}
