//! What holds a simulated node's records, hints and ceiling: a queue of jobs in front of a store, one
//! sync at a time.
//!
//! Nothing is shown to a read, answered or reported before the sync that carries it has ended. A crash
//! loses what was queued; of the sync under way any first part may survive.

mod disk;
mod memory;

use paravon_model::{Failure, Hlc, Key, Merged, Ordinal, Outcome, Record, Version};
use paravon_replication::{Entry, Hint, OperationId, ScanFailure};
use paravon_ring::{HashArc, KeyHash, Shift};
use paravon_storage::crash_disk::Image;
use paravon_storage::{PageLimit, ReadError, Refusal, ScanError, Store, WriteError};

use crate::plan::{EngineKind, Plan};
use crate::random::Random;
use disk::DiskEngine;
use memory::MemoryEngine;

/// Whose job it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) shard: usize,
    /// A node that left and came back has other shards, whose operations are named alike.
    pub(crate) service: u32,
}

/// What a shard wants its store to do.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    Merge { owner: Owner, operation: OperationId, hash: KeyHash, key: Key, record: Record },
    Forget { owner: Owner, operation: OperationId, hash: KeyHash, key: Key },
    KeepHint { shard: usize, target: Ordinal, hash: KeyHash, key: Key, record: Record },
    DropHint { shard: usize, target: Ordinal, hash: KeyHash, key: Key, version: Version },
    Ceiling { hlc: Hlc },
}

/// What a sync has done.
#[derive(Debug)]
pub(crate) enum Done {
    Stored {
        owner: Owner,
        operation: OperationId,
        key: Key,
        stamp: Version,
        answer: Result<Merged, Failure>,
    },
    Forgotten {
        owner: Owner,
        operation: OperationId,
        key: Key,
        answer: Result<(), Failure>,
    },
    HintKept {
        target: Ordinal,
        key: Key,
        version: Version,
    },
    HintDropped {
        target: Ordinal,
        key: Key,
        version: Version,
    },
    Ceiling {
        hlc: Hlc,
    },
}

/// An engine.
pub(crate) enum Engine {
    Memory(MemoryEngine),
    Disk(Box<DiskEngine>),
}

impl Engine {
    /// An empty engine of the plan's kind.
    pub(crate) fn new(plan: &Plan) -> Self {
        match plan.engine {
            EngineKind::Memory => Self::Memory(MemoryEngine::new(plan.shards)),
            EngineKind::Disk => Self::Disk(Box::new(DiskEngine::new(plan.shards))),
        }
    }

    /// A process begins: what does the disk say of its starts and its ceiling? None where it cannot be
    /// opened.
    pub(crate) fn open(&mut self) -> Option<Opened> {
        match self {
            Self::Memory(memory) => Some(memory.open()),
            Self::Disk(disk) => disk.open(),
        }
    }

    /// Queues a job for the next sync.
    pub(crate) fn queue(&mut self, job: Job) {
        match self {
            Self::Memory(memory) => memory.queue(job),
            Self::Disk(disk) => disk.queue(job),
        }
    }

    /// Jobs that wait for a sync.
    pub(crate) fn queued(&self) -> usize {
        match self {
            Self::Memory(memory) => memory.queued(),
            Self::Disk(disk) => disk.queued(),
        }
    }

    /// Begins a sync, if something waits and none is under way.
    pub(crate) fn begin_sync(&mut self) -> bool {
        match self {
            Self::Memory(memory) => memory.begin_sync(),
            Self::Disk(disk) => disk.begin_sync(),
        }
    }

    /// The sync under way ends.
    pub(crate) fn end_sync(&mut self, out: &mut Vec<Done>) {
        match self {
            Self::Memory(memory) => memory.end_sync(out),
            Self::Disk(disk) => disk.end_sync(out),
        }
    }

    /// The process dies; says whether a part of a sync survived.
    pub(crate) fn crash(&mut self, random: &mut Random) -> bool {
        match self {
            Self::Memory(memory) => memory.crash(random),
            Self::Disk(disk) => disk.crash(random),
        }
    }

    /// What is durable of a key.
    pub(crate) fn get(
        &mut self,
        shard: usize,
        hash: KeyHash,
        key: &Key,
    ) -> Result<Option<Record>, Failure> {
        let store = self.store(shard);
        let found = store.get(hash, key).map_err(read_failure);
        store.end_batch();
        found
    }

    /// Durable hints for `target`.
    pub(crate) fn hints(
        &mut self,
        shard: usize,
        target: Ordinal,
        after: Option<&(KeyHash, Key)>,
        limit: PageLimit,
    ) -> Result<Vec<Hint>, Failure> {
        let store = self.store(shard);
        let hints = store.hints(target, after, limit).map_err(read_failure);
        store.end_batch();
        let hint = |kept: paravon_storage::KeptHint| Hint {
            hash: kept.hash,
            key: kept.key,
            record: kept.record,
        };
        hints.map(|hints| hints.into_iter().map(hint).collect())
    }

    /// Durable records of an arc of the ring.
    pub(crate) fn scan(
        &mut self,
        shard: usize,
        arc: HashArc,
        after: Option<&(KeyHash, Key)>,
        limit: PageLimit,
    ) -> Result<Vec<Entry>, ScanFailure> {
        let store = self.store(shard);
        let failure = |failed: ScanError| {
            let (failure, at) = (read_failure(failed.error), failed.at);
            ScanFailure { failure, at }
        };
        let page = store.scan(arc, after, limit).map_err(failure);
        store.end_batch();
        page
    }

    /// Hints that a shard's store keeps.
    pub(crate) fn hints_kept(&mut self, shard: usize) -> u64 {
        let totals = self.store(shard).hint_totals(Shift::DEFAULT);
        totals.into_iter().map(|totals| totals.count).sum()
    }

    /// Members for whom a shard's store keeps hints.
    pub(crate) fn hinted(&mut self, shard: usize) -> Vec<Ordinal> {
        let totals = self.store(shard).hint_totals(Shift::DEFAULT);
        totals.into_iter().filter(|totals| totals.count > 0).map(|totals| totals.target).collect()
    }

    /// What the disk of a dead process holds; none of the memory engine's.
    pub(crate) fn copy(&self) -> Option<Image> {
        match self {
            Self::Memory(_) => None,
            Self::Disk(disk) => Some(disk.copy()),
        }
    }

    /// Puts an earlier copy in place of the disk.
    pub(crate) fn put_back(&mut self, image: Image) {
        if let Self::Disk(disk) = self {
            disk.put_back(image);
        }
    }

    fn store(&mut self, shard: usize) -> &mut dyn Store {
        match self {
            Self::Memory(memory) => memory.store(shard),
            Self::Disk(disk) => disk.store(shard),
        }
    }
}

/// What a disk says of itself when a process begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(crate) start: u64,
    pub(crate) ceiling: Hlc,
}

fn read_failure(error: ReadError) -> Failure {
    let outcome = Outcome::Refused;
    match error {
        ReadError::Damaged => Failure::Damaged { outcome },
        ReadError::Unavailable => Failure::Internal { id: 0, outcome },
    }
}

fn refusal(refusal: Refusal) -> Failure {
    let outcome = Outcome::Refused;
    match refusal {
        Refusal::Overloaded => Failure::Overloaded { retry_after_ms: 10 },
        Refusal::StorageFull => Failure::StorageFull,
        Refusal::ReadOnly => Failure::ReadOnly { outcome },
        Refusal::TooLarge { .. } | Refusal::Unavailable => Failure::Internal { id: 0, outcome },
    }
}

fn write_failure(error: WriteError) -> Failure {
    match error {
        WriteError::ReadOnly => Failure::ReadOnly { outcome: Outcome::Unknown },
        WriteError::StorageFull => Failure::StorageFull,
    }
}

/// A store's word for what it did with a record, as a shard hears it.
fn merged(answer: Result<paravon_storage::Done, WriteError>) -> Result<Merged, Failure> {
    use paravon_storage::{Done, Merged as Did};
    match answer {
        Ok(Done::Merged(Did::Applied { .. })) => Ok(Merged::Applied),
        Ok(Done::Merged(Did::Superseded { version })) => Ok(Merged::Superseded { version }),
        Ok(Done::Merged(Did::OverDamaged)) => Err(Failure::Damaged { outcome: Outcome::Unknown }),
        Ok(Done::Forgotten) => unreachable!("tickets of merges and removals are kept apart"),
        Err(error) => Err(write_failure(error)),
    }
}
