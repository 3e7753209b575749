//! What holds a simulated node's records, hints and ceiling: a queue of jobs in front of a store, one
//! sync at a time.
//!
//! Nothing is shown to a read, answered or reported before the sync that carries it has ended. A crash
//! loses what was queued; of the sync under way any first part may survive.

mod disk;
mod memory;
mod rotten;

use paravon_model::{Digest, Failure, Hlc, Key, Marks, Merged, Ordinal, Outcome, Record, Version};
use paravon_replication::{Entry, Hint, OperationId, ScanFailure};
use paravon_ring::{HashArc, KeyHash, Partition, Shift};
use paravon_storage::crash_disk::Image;
use paravon_storage::{PageLimit, ReadError, Refusal, ScanError, Scrubbed, Store, WriteError};

use crate::plan::{EngineKind, Plan};
use crate::random::Random;
use disk::DiskEngine;
use memory::MemoryEngine;

/// A page of the scrubber: several to a round where a shard holds all keys of a world.
const SCRUBBED: PageLimit = PageLimit { count: 3, bytes: 4 << 10 };

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
    Merge {
        owner: Owner,
        operation: OperationId,
        hash: KeyHash,
        key: Key,
        record: Record,
    },
    Forget {
        owner: Owner,
        operation: OperationId,
        hash: KeyHash,
        key: Key,
    },
    /// Only what has this version.
    Drop {
        owner: Owner,
        operation: OperationId,
        hash: KeyHash,
        key: Key,
        version: Version,
    },
    KeepHint {
        shard: usize,
        target: Ordinal,
        hash: KeyHash,
        key: Key,
        record: Record,
    },
    DropHint {
        shard: usize,
        target: Ordinal,
        hash: KeyHash,
        key: Key,
        version: Version,
    },
    Heal {
        owner: Owner,
        operation: OperationId,
        hash: KeyHash,
        key: Key,
        record: Option<Record>,
    },
    SetMarks {
        owner: Owner,
        operation: OperationId,
        partition: Partition,
        marks: Marks,
    },
    Clean {
        shard: usize,
        target: Ordinal,
        arc: HashArc,
        moment: u64,
    },
    Ceiling {
        hlc: Hlc,
    },
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
    /// A hint that was to be kept is durable, or a mark that stands for it.
    HintKept {
        target: Ordinal,
        key: Key,
        version: Version,
        kept: Kept,
    },
    HintDropped {
        target: Ordinal,
        key: Key,
        version: Version,
    },
    Healed {
        owner: Owner,
        operation: OperationId,
        key: Key,
        answer: Result<(), Failure>,
    },
    Marked {
        owner: Owner,
        operation: OperationId,
        partition: Partition,
        marks: Marks,
        answer: Result<(), Failure>,
    },
    /// The target lacks nothing of the arc that was marked dirty up to this moment.
    Cleaned {
        target: Ordinal,
        arc: HashArc,
        moment: u64,
    },
    Ceiling {
        hlc: Hlc,
    },
}

/// What became of a hint that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is kept, or a newer one is.
    Hint,
    /// Its partition is dirty for its target instead, since this moment.
    Dirty { moment: u64 },
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
            EngineKind::Memory => Self::Memory(MemoryEngine::new(plan)),
            EngineKind::Disk => Self::Disk(Box::new(DiskEngine::new(plan))),
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

    /// Sums up what the shards' stores hold from now on.
    pub(crate) fn keep_sums(&mut self, shards: u16, seed: u64, shift: Shift) {
        for shard in 0..usize::from(shards) {
            self.store(shard).keep_sums(seed, shift);
        }
    }

    /// The sums of a partition, of what is durable; none where it is not summed up.
    pub(crate) fn digest(&mut self, shard: usize, partition: Partition) -> Option<Digest> {
        self.store(shard).digest(partition)
    }

    /// Reads one page further; says how many partitions are not summed up.
    pub(crate) fn scrub(&mut self, shard: usize) -> Scrubbed {
        let store = self.store(shard);
        let scrubbed = store.scrub(SCRUBBED).unwrap_or_default();
        store.end_batch();
        scrubbed
    }

    /// The keys that were found damaged since the last call.
    pub(crate) fn take_damaged(&mut self, shard: usize) -> Vec<(KeyHash, Key)> {
        let mut damaged = Vec::new();
        self.store(shard).take_damaged(&mut damaged);
        damaged
    }

    /// Lets the record of a key rot; says whether there was one.
    pub(crate) fn rot(&mut self, shard: usize, hash: KeyHash, key: &Key) -> bool {
        match self {
            Self::Memory(memory) => memory.rot(shard, hash, key),
            Self::Disk(disk) => disk.rot(shard, hash, key),
        }
    }

    /// The file of a shard of a dead process cannot be read any more.
    pub(crate) fn lose_file(&mut self, shard: usize) {
        match self {
            Self::Memory(memory) => memory.lose_file(shard),
            Self::Disk(disk) => disk.lose_file(shard),
        }
    }

    /// The keys that are known to be damaged, for shards that begin.
    pub(crate) fn damaged(&mut self, shard: usize) -> Vec<(KeyHash, Key)> {
        let _told_at_once = self.take_damaged(shard);
        self.store(shard).damaged()
    }

    /// Whether a key is known to be damaged.
    pub(crate) fn is_marked(&mut self, shard: usize, slot: &(KeyHash, Key)) -> bool {
        self.store(shard).damaged().contains(slot)
    }

    /// The marks of each partition that has any.
    pub(crate) fn marks(&mut self, shard: usize) -> Vec<(Partition, Marks)> {
        self.store(shard).marks()
    }

    /// Whether anything is dirty for a target.
    pub(crate) fn is_dirty(&mut self, shard: usize, target: Ordinal) -> bool {
        self.store(shard).is_dirty(target)
    }

    /// Counts what was marked dirty.
    pub(crate) fn dirty_moment(&mut self, shard: usize) -> u64 {
        self.store(shard).dirty_moment()
    }

    /// Members who may lack what a shard's store has no hints of.
    pub(crate) fn dirty(&mut self, shard: usize) -> Vec<Ordinal> {
        let totals = self.store(shard).hint_totals(Shift::DEFAULT);
        totals.into_iter().filter(|totals| totals.dirty > 0).map(|totals| totals.target).collect()
    }

    /// Hints that a shard's store keeps.
    pub(crate) fn hints_kept(&mut self, shard: usize) -> u64 {
        let totals = self.store(shard).hint_totals(Shift::DEFAULT);
        totals.into_iter().map(|totals| totals.count).sum()
    }

    /// Members for whom a shard's store keeps hints, or marks that stand for them.
    pub(crate) fn owed(&mut self, shard: usize) -> Vec<Ordinal> {
        let totals = self.store(shard).hint_totals(Shift::DEFAULT);
        totals.into_iter().map(|totals| totals.target).collect()
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

/// Has a store keep a hint; says what became of it, unless it was refused.
fn keep_hint(
    store: &mut dyn Store,
    target: Ordinal,
    hash: KeyHash,
    key: Key,
    record: Record,
) -> Option<Done> {
    let (version, before) = (record.version, store.dirty_moment());
    store.keep_hint(target, hash, key.clone(), record).ok()?;
    let moment = store.dirty_moment();
    let kept = if moment == before { Kept::Hint } else { Kept::Dirty { moment } };
    Some(Done::HintKept { target, key, version, kept })
}

/// A store's word for what it did with a record, as a shard hears it.
fn merged(answer: Result<paravon_storage::Done, WriteError>) -> Result<Merged, Failure> {
    use paravon_storage::{Done, Merged as Did};
    match answer {
        Ok(Done::Merged(Did::Applied { .. })) => Ok(Merged::Applied),
        Ok(Done::Merged(Did::Superseded { version })) => Ok(Merged::Superseded { version }),
        Ok(Done::Merged(Did::OverDamaged)) => Err(Failure::Damaged { outcome: Outcome::Unknown }),
        Ok(_) => unreachable!("tickets of merges and of other jobs are kept apart"),
        Err(error) => Err(write_failure(error)),
    }
}
