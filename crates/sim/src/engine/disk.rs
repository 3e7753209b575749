//! The log and redb on a disk that crashes, stepped by the simulator: the storage that ships.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use paravon_model::{Failure, Key, Version};
use paravon_replication::OperationId;
use paravon_storage::crash_disk::{CrashDisk, Image, Replay, Survival};
use paravon_storage::{Completion, Completions, Options, Stepped, Store, WriteError};

use super::{Done, Job, Opened, Owner, merged, refusal, write_failure};
use crate::random::Random;

/// Collects what storage reports.
#[derive(Default)]
struct Inbox(Mutex<Vec<Completion>>);

impl Completions for Inbox {
    fn deliver(&self, mut completions: Vec<Completion>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&mut completions);
    }
}

/// A job whose answer is to come.
struct Pending {
    owner: Owner,
    operation: OperationId,
    key: Key,
    kind: Kind,
}

/// What it does.
enum Kind {
    Merge { stamp: Version },
    Forget,
}

/// An open data directory.
struct Running {
    disk: CrashDisk,
    stepped: Stepped,
    inbox: Arc<Inbox>,
    pending: BTreeMap<u64, Pending>,
    ticket: u64,
    syncs: u64,
}

/// The engine.
pub(crate) struct DiskEngine {
    options: Options,
    /// What the disk held when the process began, or when the last one died.
    image: Image,
    running: Option<Running>,
    queue: Vec<Job>,
    syncing: bool,
    /// Decided without a sync, told with it.
    early: Vec<Done>,
}

impl DiskEngine {
    pub(crate) fn new(shards: u16) -> Self {
        let options = Options {
            shards,
            cache_bytes: 256 << 10,
            table_bytes: 64 << 10,
            segment_bytes: 16 << 10,
            checkpoint_bytes: 32 << 10,
            ..Options::new("simulated")
        };
        Self {
            options,
            image: Image::default(),
            running: None,
            queue: Vec::new(),
            syncing: false,
            early: Vec::new(),
        }
    }

    /// None where storage cannot be opened after a crash: a bug of storage, which the world reports.
    pub(crate) fn open(&mut self) -> Option<Opened> {
        let disk = CrashDisk::from_image(self.image.clone());
        let inbox = Arc::new(Inbox::default());
        let completions: Arc<dyn Completions> = Arc::clone(&inbox) as _;
        let stepped = Stepped::open(Arc::new(disk.clone()), &self.options, completions).ok()?;
        let (start, ceiling) = (stepped.recovered.start_counter, stepped.recovered.ceiling);
        let pending = BTreeMap::new();
        self.running = Some(Running { disk, stepped, inbox, pending, ticket: 0, syncs: 0 });
        Some(Opened { start, ceiling })
    }

    pub(crate) fn store(&mut self, shard: usize) -> &mut dyn Store {
        &mut *self.running().stepped.stores[shard]
    }

    pub(crate) fn queue(&mut self, job: Job) {
        self.queue.push(job);
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len() + self.running.as_ref().map_or(0, |running| running.pending.len())
    }

    pub(crate) fn begin_sync(&mut self) -> bool {
        if self.queue.is_empty() || self.syncing {
            return false;
        }
        for job in std::mem::take(&mut self.queue) {
            self.submit(job);
        }
        let running = self.running();
        let mut groups = Vec::new();
        for store in &mut running.stepped.stores {
            groups.extend(std::iter::from_fn(|| store.take_group()));
        }
        running.stepped.journal.submit(groups);
        self.syncing = true;
        true
    }

    pub(crate) fn end_sync(&mut self, out: &mut Vec<Done>) {
        self.syncing = false;
        out.append(&mut self.early);
        let running = self.running();
        running.stepped.steps.commit();
        running.route(out);
        running.syncs += 1;
        for shard in 0..running.stepped.stores.len() {
            running.stepped.steps.apply(u16::try_from(shard).unwrap_or(0));
        }
        if running.syncs.is_multiple_of(16) {
            // A failed checkpoint only makes the log longer.
            let _longer = running.stepped.steps.tick();
        }
        running.route(out);
    }

    pub(crate) fn crash(&mut self, random: &mut Random) -> bool {
        self.queue.clear();
        self.early.clear();
        let Some(mut running) = self.running.take() else { return false };
        let before = running.disk.operations();
        let torn = self.syncing && random.below(2) == 0;
        self.syncing = false;
        if torn {
            running.stepped.steps.commit();
        }
        let trace = running.disk.trace();
        let cut = before + random.index(trace.len() - before + 1);
        let mut replay = Replay::new(self.image.clone());
        trace[..cut].iter().for_each(|operation| replay.step(operation));
        let survival = match random.below(4) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            2 => Survival::TornLast(u16::try_from(random.below(1001)).unwrap_or(0)),
            _ => Survival::Scattered(random.next()),
        };
        self.image = replay.crash(survival);
        torn
    }

    pub(crate) fn copy(&self) -> Image {
        self.image.clone()
    }

    pub(crate) fn put_back(&mut self, image: Image) {
        self.image = image;
    }

    fn submit(&mut self, job: Job) {
        let mut early = Vec::new();
        let running = self.running();
        match job {
            Job::Merge { owner, operation, hash, key, record } => {
                let kind = Kind::Merge { stamp: record.version };
                running.ticket += 1;
                let store = &mut running.stepped.stores[owner.shard];
                let queued = store.merge(running.ticket, hash, key.clone(), record);
                let pending = Pending { owner, operation, key, kind };
                match queued.map_err(refusal) {
                    Ok(()) => running.keep(pending),
                    Err(failure) => early.push(pending.refused(failure)),
                }
            }
            Job::Forget { owner, operation, hash, key } => {
                running.ticket += 1;
                let store = &mut running.stepped.stores[owner.shard];
                let queued = store.forget(running.ticket, hash, key.clone());
                let pending = Pending { owner, operation, key, kind: Kind::Forget };
                match queued.map_err(refusal) {
                    Ok(()) => running.keep(pending),
                    Err(failure) => early.push(pending.refused(failure)),
                }
            }
            Job::KeepHint { shard, target, hash, key, record } => {
                let version = record.version;
                let store = &mut running.stepped.stores[shard];
                if store.keep_hint(target, hash, key.clone(), record).is_ok() {
                    early.push(Done::HintKept { target, key, version });
                }
            }
            Job::DropHint { shard, target, hash, key, version } => {
                running.stepped.stores[shard].drop_hint(target, hash, &key, version);
                early.push(Done::HintDropped { target, key, version });
            }
            Job::Ceiling { hlc } => running.stepped.journal.raise_ceiling(hlc),
        }
        self.early.append(&mut early);
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("a process that is up has opened its disk")
    }
}

impl Pending {
    /// Nothing was done.
    fn refused(self, failure: Failure) -> Done {
        let Self { owner, operation, key, kind } = self;
        match kind {
            Kind::Merge { stamp } => {
                Done::Stored { owner, operation, key, stamp, answer: Err(failure) }
            }
            Kind::Forget => Done::Forgotten { owner, operation, key, answer: Err(failure) },
        }
    }

    fn done(self, answer: Result<paravon_storage::Done, WriteError>) -> Done {
        let Self { owner, operation, key, kind } = self;
        match kind {
            Kind::Merge { stamp } => {
                Done::Stored { owner, operation, key, stamp, answer: merged(answer) }
            }
            Kind::Forget => {
                let answer = answer.map(|_| ()).map_err(write_failure);
                Done::Forgotten { owner, operation, key, answer }
            }
        }
    }
}

impl Running {
    /// Waits for the answer to the latest ticket.
    fn keep(&mut self, pending: Pending) {
        self.pending.insert(self.ticket, pending);
    }

    /// Hands completions to the stores and collects their answers.
    fn route(&mut self, out: &mut Vec<Done>) {
        let mut inbox = self.inbox.0.lock().unwrap_or_else(PoisonError::into_inner);
        let completions = std::mem::take(&mut *inbox);
        drop(inbox);
        for completion in completions {
            match completion {
                Completion::Ceiling { hlc, result: Ok(()) } => out.push(Done::Ceiling { hlc }),
                Completion::Ceiling { .. } => {}
                other => {
                    if let Some(shard) = other.shard() {
                        self.stepped.stores[usize::from(shard)].complete(other);
                    }
                }
            }
        }
        let mut answers = Vec::new();
        self.stepped.stores.iter_mut().for_each(|store| store.drain(&mut answers));
        for (ticket, answer) in answers {
            let Some(pending) = self.pending.remove(&ticket) else { continue };
            out.push(pending.done(answer));
        }
    }
}
