//! The log and redb on a disk that crashes, stepped by the simulator: the storage that ships.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use paravon_model::{Failure, Key, Marks, Version};
use paravon_replication::OperationId;
use paravon_ring::{KeyHash, Partition};
use paravon_storage::crash_disk::{self, CrashDisk, Image, Replay, Survival};
use paravon_storage::{Completion, Completions, Options, Refusal, Stepped, Store};

use super::{Done, Job, Opened, Owner, keep_hint, merged, refusal, write_failure};
use crate::plan::Plan;
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
    kind: Kind,
}

/// What it does.
enum Kind {
    Merge { key: Key, stamp: Version },
    Forget { key: Key },
    Heal { key: Key },
    SetMarks { partition: Partition, marks: Marks },
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
    pub(crate) fn new(plan: &Plan) -> Self {
        let options = Options {
            shards: plan.shards,
            hint_bytes: plan.hint_bytes,
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

    /// Of a process that does not run.
    pub(crate) fn rot(&mut self, shard: usize, hash: KeyHash, key: &Key) -> bool {
        let name = format!("data/shard-{shard:02}.redb");
        match crash_disk::rot_record(&self.image, &name, hash, key) {
            Some(image) => {
                self.image = image;
                true
            }
            None => false,
        }
    }

    /// Of a process that does not run.
    pub(crate) fn lose_file(&mut self, shard: usize) {
        let name = format!("data/shard-{shard:02}.redb");
        for offset in 0..64 {
            self.image.corrupt(&name, offset, 0xff);
        }
    }

    pub(crate) fn copy(&self) -> Image {
        self.image.clone()
    }

    pub(crate) fn put_back(&mut self, image: Image) {
        self.image = image;
    }

    fn submit(&mut self, job: Job) {
        let running = self.running();
        let early = match job {
            Job::Merge { owner, operation, hash, key, record } => {
                let kind = Kind::Merge { key: key.clone(), stamp: record.version };
                running.submit(Pending { owner, operation, kind }, |store, ticket| {
                    store.merge(ticket, hash, key, record)
                })
            }
            Job::Forget { owner, operation, hash, key } => {
                let kind = Kind::Forget { key: key.clone() };
                running.submit(Pending { owner, operation, kind }, |store, ticket| {
                    store.forget(ticket, hash, key)
                })
            }
            Job::Drop { owner, operation, hash, key, version } => {
                let kind = Kind::Forget { key: key.clone() };
                running.submit(Pending { owner, operation, kind }, |store, ticket| {
                    store.drop_record(ticket, hash, key, version)
                })
            }
            Job::Heal { owner, operation, hash, key, record } => {
                let kind = Kind::Heal { key: key.clone() };
                running.submit(Pending { owner, operation, kind }, |store, ticket| {
                    store.heal(ticket, hash, key, record)
                })
            }
            Job::SetMarks { owner, operation, partition, marks } => {
                let kind = Kind::SetMarks { partition, marks };
                running.submit(Pending { owner, operation, kind }, |store, ticket| {
                    store.set_marks(ticket, partition, marks)
                })
            }
            Job::KeepHint { shard, target, hash, key, record } => {
                keep_hint(&mut *running.stepped.stores[shard], target, hash, key, record)
            }
            Job::DropHint { shard, target, hash, key, version } => {
                running.stepped.stores[shard].drop_hint(target, hash, &key, version);
                Some(Done::HintDropped { target, key, version })
            }
            Job::Clean { shard, target, arc, moment } => {
                running.stepped.stores[shard].clean(target, arc, moment);
                Some(Done::Cleaned { target, arc, moment })
            }
            Job::Ceiling { hlc } => {
                running.stepped.journal.raise_ceiling(hlc);
                None
            }
        };
        self.early.extend(early);
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("a process that is up has opened its disk")
    }
}

impl Pending {
    fn done(self, answer: Result<paravon_storage::Done, Failure>) -> Done {
        let Self { owner, operation, kind } = self;
        let ended = answer.clone().map(drop);
        match kind {
            Kind::Merge { key, stamp } => {
                let answer = answer.and_then(|done| merged(Ok(done)));
                Done::Stored { owner, operation, key, stamp, answer }
            }
            Kind::Forget { key } => Done::Forgotten { owner, operation, key, answer: ended },
            Kind::Heal { key } => Done::Healed { owner, operation, key, answer: ended },
            Kind::SetMarks { partition, marks } => {
                Done::Marked { owner, operation, partition, marks, answer: ended }
            }
        }
    }
}

impl Running {
    /// Gives a store a job under the next ticket. Its end at once where it is refused.
    fn submit(
        &mut self,
        pending: Pending,
        job: impl FnOnce(&mut dyn Store, u64) -> Result<(), Refusal>,
    ) -> Option<Done> {
        self.ticket += 1;
        match job(&mut *self.stepped.stores[pending.owner.shard], self.ticket) {
            Ok(()) => {
                self.pending.insert(self.ticket, pending);
                None
            }
            Err(failure) => Some(pending.done(Err(refusal(failure)))),
        }
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
            out.push(pending.done(answer.map_err(write_failure)));
        }
    }
}
