//! A node's storage on a crash disk, driven by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use paravon_model::{Damage, Hlc, Key, Marks, Ordinal, Record, Version};
use paravon_ring::{HashArc, KeyHash, Partition, Shift};
use paravon_storage::conformance::{Rig, key};
use paravon_storage::crash_disk::{CrashDisk, Faults, Image};
use paravon_storage::{
    Answer, Completion, Completions, Error, KeptHint, Options, PageLimit, ReadError, Refusal,
    ScanError, Stepped, Store, WriteError,
};

/// Collects what the storage threads would tell the loops.
#[derive(Default)]
pub(crate) struct Inbox(Mutex<Vec<Completion>>);

impl Completions for Inbox {
    fn deliver(&self, mut completions: Vec<Completion>) {
        self.0.lock().unwrap().append(&mut completions);
    }
}

/// Small bounds, so that a short script rolls segments over, freezes and recycles.
pub(crate) fn small_options() -> Options {
    Options {
        shards: 2,
        cache_bytes: 1 << 20,
        table_bytes: 32 << 10,
        segment_bytes: 32 << 10,
        checkpoint_bytes: 64 << 10,
        document: b"founding document".to_vec(),
        ..Options::new("unused")
    }
}

/// Storage with everything that a node would be around it.
pub(crate) struct Node {
    pub(crate) disk: CrashDisk,
    pub(crate) stepped: Stepped,
    pub(crate) ceilings: Vec<(Hlc, Result<(), WriteError>)>,
    pub(crate) barriers: Vec<(u64, Result<(), WriteError>)>,
    inbox: Arc<Inbox>,
    ticket: u64,
}

impl Node {
    pub(crate) fn open(image: Image) -> Result<Self, Error> {
        Self::open_on(CrashDisk::from_image(image), &small_options())
    }

    pub(crate) fn open_on(disk: CrashDisk, options: &Options) -> Result<Self, Error> {
        let inbox = Arc::new(Inbox::default());
        let completions: Arc<dyn Completions> = Arc::clone(&inbox) as _;
        let stepped = Stepped::open(Arc::new(disk.clone()), options, completions)?;
        let (ceilings, barriers) = (Vec::new(), Vec::new());
        Ok(Self { disk, stepped, ceilings, barriers, inbox, ticket: 0 })
    }

    pub(crate) fn new() -> Self {
        Self::open(Image::default()).unwrap()
    }

    fn shard(&mut self, number: u8) -> &mut dyn Store {
        let shards = self.stepped.stores.len();
        &mut *self.stepped.stores[usize::from(number) % shards]
    }

    pub(crate) fn merge(&mut self, number: u8, record: Record) -> Result<u64, Refusal> {
        self.ticket += 1;
        let ticket = self.ticket;
        let (hash, key) = key(number);
        self.shard(number).merge(ticket, hash, key, record).map(|()| ticket)
    }

    pub(crate) fn get(&mut self, number: u8) -> Result<Option<Record>, ReadError> {
        let (hash, key) = key(number);
        let store = self.shard(number);
        let found = store.get(hash, &key);
        store.end_batch();
        found
    }

    pub(crate) fn forget(&mut self, number: u8) -> Result<u64, Refusal> {
        self.ticket += 1;
        let ticket = self.ticket;
        let (hash, key) = key(number);
        self.shard(number).forget(ticket, hash, key).map(|()| ticket)
    }

    pub(crate) fn drop_record(&mut self, number: u8, version: Version) -> Result<u64, Refusal> {
        self.ticket += 1;
        let ticket = self.ticket;
        let (hash, key) = key(number);
        self.shard(number).drop_record(ticket, hash, key, version).map(|()| ticket)
    }

    /// The durable records of all shards, in pages of a few.
    pub(crate) fn scan(&mut self) -> Result<BTreeMap<Key, Record>, ScanError> {
        let (mut all, few) = (BTreeMap::new(), PageLimit { count: 5, bytes: u64::MAX });
        for store in &mut self.stepped.stores {
            let mut after = None;
            loop {
                let page = store.scan(HashArc::ALL, after.as_ref(), few)?;
                let Some((hash, key, _)) = page.last() else { break };
                after = Some((*hash, key.clone()));
                all.extend(page.into_iter().map(|(_, key, record)| (key, record)));
            }
        }
        Ok(all)
    }

    pub(crate) fn keep_hint(&mut self, target: u32, number: u8, record: Record) {
        let (hash, key) = key(number);
        self.shard(number).keep_hint(Ordinal(target), hash, key, record).unwrap();
    }

    pub(crate) fn drop_hint(&mut self, target: u32, number: u8, version: Version) {
        let (hash, key) = key(number);
        self.shard(number).drop_hint(Ordinal(target), hash, &key, version);
    }

    /// The durable hints of all shards for a target.
    pub(crate) fn hints(&mut self, target: u32) -> Result<Vec<KeptHint>, ReadError> {
        let mut all = Vec::new();
        for store in &mut self.stepped.stores {
            let all_of_them = PageLimit { count: usize::MAX, bytes: u64::MAX };
            all.extend(store.hints(Ordinal(target), None, all_of_them)?);
            store.end_batch();
        }
        Ok(all)
    }

    /// How many hints and how many dirty arcs all shards count for a target.
    pub(crate) fn hint_totals(&self, target: u32) -> (usize, u64) {
        let finest = Shift::new(Shift::MAX).unwrap();
        let totals = self.stepped.stores.iter().flat_map(|store| store.hint_totals(finest));
        let own = totals.filter(|total| total.target == Ordinal(target));
        own.fold((0, 0), |sum, own| {
            (sum.0 + usize::try_from(own.count).unwrap(), sum.1 + own.dirty)
        })
    }

    pub(crate) fn set_marks(&mut self, partition: u32, marks: Marks) -> Result<u64, Refusal> {
        self.ticket += 1;
        let (ticket, shards) = (self.ticket, self.stepped.stores.len());
        let store = &mut self.stepped.stores[usize::try_from(partition).unwrap() % shards];
        store.set_marks(ticket, Partition(partition), marks).map(|()| ticket)
    }

    /// The durable marks of all shards, of sixteen partitions.
    pub(crate) fn marks(&mut self) -> BTreeMap<u32, Marks> {
        let shift = Shift::new(4).unwrap();
        let mut all = BTreeMap::new();
        for store in &mut self.stepped.stores {
            store.keep_sums(0, shift);
            all.extend(store.marks().into_iter().map(|(partition, marks)| (partition.0, marks)));
        }
        all
    }

    /// Whether every partition of a shard is lost; some of them must not be.
    pub(crate) fn is_lost(&mut self, shard: u32) -> bool {
        let shards = u32::try_from(self.stepped.stores.len()).unwrap();
        let marks = self.marks();
        let own = (0..16).filter(|partition| partition % shards == shard);
        let is_lost = |p: &u32| marks.get(p).is_some_and(|marks| marks.damage == Damage::Lost);
        let lost = own.clone().filter(is_lost).count();
        assert!(lost == 0 || lost == own.count(), "{lost} partitions of shard {shard}");
        lost > 0
    }

    pub(crate) fn heal(&mut self, number: u8, record: Option<Record>) -> Result<u64, Refusal> {
        self.ticket += 1;
        let ticket = self.ticket;
        let (hash, key) = key(number);
        self.shard(number).heal(ticket, hash, key, record).map(|()| ticket)
    }

    /// The keys of all shards that are marked damaged.
    pub(crate) fn damaged(&self) -> Vec<(KeyHash, Key)> {
        self.stepped.stores.iter().flat_map(|store| store.damaged()).collect()
    }

    /// Submits everything queued, which ends a batch.
    pub(crate) fn submit(&mut self) {
        let mut groups = Vec::new();
        for store in &mut self.stepped.stores {
            groups.extend(std::iter::from_fn(|| store.take_group()));
            store.end_batch();
        }
        self.stepped.journal.submit(groups);
    }

    /// Commits everything queued and gives the answers.
    pub(crate) fn sync(&mut self) -> BTreeMap<u64, Answer> {
        self.submit();
        self.stepped.steps.commit();
        self.route()
    }

    /// Hands completions to the stores and collects answers.
    pub(crate) fn route(&mut self) -> BTreeMap<u64, Answer> {
        let completions = std::mem::take(&mut *self.inbox.0.lock().unwrap());
        for completion in completions {
            match completion {
                Completion::Ceiling { hlc, result } => self.ceilings.push((hlc, result)),
                Completion::Barrier { number, result } => self.barriers.push((number, result)),
                other => {
                    let shard = usize::from(other.shard().unwrap());
                    self.stepped.stores[shard].complete(other);
                }
            }
        }
        let mut answers = Vec::new();
        self.stepped.stores.iter_mut().for_each(|store| store.drain(&mut answers));
        answers.into_iter().map(|answer| (answer.0, answer)).collect()
    }

    /// Hands over only the first completion: the others come later.
    pub(crate) fn route_first(&mut self) {
        let completion = self.inbox.0.lock().unwrap().remove(0);
        let shard = usize::from(completion.shard().unwrap());
        self.stepped.stores[shard].complete(completion);
    }

    /// Leaves the disk so many bytes and merges `record` under one key after another until it is refused;
    /// how many were stored.
    pub(crate) fn fill_disk(&mut self, spare_bytes: u64, record: &Record) -> u8 {
        let capacity = Some(self.disk.allocated() + spare_bytes);
        self.disk.set_faults(Faults { capacity, ..Faults::default() });
        for stored in 0..200 {
            match self.merge(stored, record.clone()) {
                Ok(ticket) if self.sync()[&ticket].1.is_ok() => {}
                Ok(_) => return stored,
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::StorageFull);
                    return stored;
                }
            }
            self.apply_all();
            // It may lack space, which the next merge is told.
            let _ = self.stepped.steps.tick();
            self.route();
        }
        panic!("a full disk takes everything");
    }

    /// One slice of every shard.
    pub(crate) fn apply_once(&mut self) {
        for shard in 0..self.stepped.stores.len() {
            self.stepped.steps.apply(u16::try_from(shard).unwrap());
        }
        self.route();
    }

    /// Freezes and applies everything.
    pub(crate) fn apply_all(&mut self) {
        for shard in 0..self.stepped.stores.len() {
            for _ in 0..4 {
                self.stepped.stores[shard].flush();
                while self.stepped.steps.apply(u16::try_from(shard).unwrap()) {}
                self.route();
            }
        }
    }
}

impl Rig for Node {
    fn store(&mut self) -> &mut dyn Store {
        &mut *self.stepped.stores[0]
    }

    fn shards(&self) -> u16 {
        u16::try_from(self.stepped.stores.len()).unwrap()
    }

    fn sync(&mut self) {
        self.submit();
        self.stepped.steps.commit();
        let completions = std::mem::take(&mut *self.inbox.0.lock().unwrap());
        for completion in completions {
            let shard = usize::from(completion.shard().unwrap());
            self.stepped.stores[shard].complete(completion);
        }
    }

    fn settle(&mut self) {
        while self.stepped.steps.apply(0) {}
        self.stepped.steps.tick().unwrap();
        let completions = std::mem::take(&mut *self.inbox.0.lock().unwrap());
        for completion in completions {
            self.stepped.stores[0].complete(completion);
        }
    }
}
