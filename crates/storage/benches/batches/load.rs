//! One event loop in miniature: merges batches, submits, waits for completions, reads in between.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use paravon_model::{Body, Hlc, Key, Ordinal, Record, Value, Version};
use paravon_ring::{KeyHash, Shift, shard_of};
use paravon_storage::{Completion, Completions, Options, Refusal, Storage};

use crate::BATCH;
use crate::report::{self, Samples};

/// The splitmix64 generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// 16 bytes that lie anywhere in the key space.
pub(crate) fn key_bytes(number: u64) -> [u8; 16] {
    let mut random = Random(number);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random.next().to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// 100 bytes that do not compress.
pub(crate) fn value_bytes(random: &mut Random) -> [u8; 100] {
    let mut bytes = [0; 100];
    for chunk in bytes.chunks_mut(8) {
        let word = random.next().to_be_bytes();
        let len = chunk.len();
        chunk.copy_from_slice(&word[..len]);
    }
    bytes
}

#[derive(Default)]
struct Inbox {
    completions: Mutex<Vec<Completion>>,
    woken: Condvar,
}

impl Completions for Inbox {
    fn deliver(&self, mut completions: Vec<Completion>) {
        self.completions.lock().expect("no panics here").append(&mut completions);
        self.woken.notify_one();
    }
}

/// What is written.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    Overwrite,
    NewKeys,
}

/// What a phase measured.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) rate: Samples,
    /// From the first merge of a batch to its last answer.
    pub(crate) batches: Vec<Duration>,
    /// One get of a random key after each batch.
    pub(crate) gets: Vec<Duration>,
    /// How long a batch waited before storage took it.
    pub(crate) refusals: Vec<Duration>,
    /// CPU time of a put over all threads, the making of its value and its share of the gets included.
    pub(crate) cpu: Duration,
}

/// Storage under load.
pub(crate) struct Bench {
    storage: Option<Storage>,
    inbox: Arc<Inbox>,
    random: Random,
    stamp: u64,
    fresh: u64,
    pub(crate) shards: u16,
    pub(crate) keys: u64,
}

impl Bench {
    pub(crate) fn open(path: &Path, shards: u16, keys: u64) -> Self {
        // Later than every stamp of a process before this one: an older write has nothing to sync.
        let now = UNIX_EPOCH.elapsed().expect("after 1970").as_micros();
        let stamp = u64::try_from(now).expect("before the year 586524");
        let inbox = Arc::new(Inbox::default());
        let options = Options { shards, ..Options::new(path) };
        let completions: Arc<dyn Completions> = Arc::clone(&inbox) as _;
        let mut storage = Storage::open(&options, completions).expect("storage opens");
        storage.stores.iter_mut().for_each(|store| store.keep_sums(0, Shift::DEFAULT));
        let storage = Some(storage);
        Self { storage, inbox, random: Random(3), stamp, fresh: keys, shards, keys }
    }

    fn storage(&mut self) -> &mut Storage {
        self.storage.as_mut().expect("open until closed")
    }

    /// Reads some of the loaded keys.
    pub(crate) fn check_loaded(&mut self) {
        let mut outcome = Outcome::default();
        (0..10_000).for_each(|_| self.get(&mut outcome));
    }

    /// Bytes of the loaded keys and records as redb gets them.
    pub(crate) fn encoded_bytes(&self) -> u64 {
        let key = 8 + 1 + Key::DEFAULT_NAMESPACE.len() as u64 + 16;
        let record = 2 + 8 + 4 + 100 + 8;
        self.keys * (key + record)
    }

    pub(crate) fn load(&mut self) {
        self.put_range(0..self.keys);
    }

    pub(crate) fn overwrite_all(&mut self) {
        self.put_range(0..self.keys);
    }

    fn put_range(&mut self, range: std::ops::Range<u64>) {
        let mut outcome = Outcome::default();
        let mut next = range.start;
        while next < range.end {
            let batch: Vec<u64> = (next..range.end.min(next + 8 * BATCH)).collect();
            next += 8 * BATCH;
            self.put(&batch, &mut outcome);
        }
    }

    pub(crate) fn run(&mut self, phase: Phase, duration: Duration, rate: Option<f64>) -> Outcome {
        let mut outcome = Outcome::default();
        let (begun, cpu) = (Instant::now(), report::cpu());
        let mut done = 0;
        while begun.elapsed() < duration {
            let window = Instant::now();
            let before = done;
            while window.elapsed() < Duration::from_millis(250) {
                let batch: Vec<u64> = match phase {
                    Phase::Overwrite => (0..BATCH).map(|_| self.random.below(self.keys)).collect(),
                    Phase::NewKeys => (self.fresh..self.fresh + BATCH).collect(),
                };
                self.fresh += if matches!(phase, Phase::NewKeys) { BATCH } else { 0 };
                self.put(&batch, &mut outcome);
                self.get(&mut outcome);
                done += BATCH;
                if let Some(rate) = rate {
                    let due = Duration::from_secs_f64(done as f64 / rate);
                    std::thread::sleep(due.saturating_sub(begun.elapsed()));
                }
            }
            outcome.rate.0.push((done - before) as f64 / window.elapsed().as_secs_f64());
        }
        outcome.cpu = report::cpu().saturating_sub(cpu).div_f64(done as f64);
        outcome
    }

    fn place(&self, number: u64) -> (usize, KeyHash, Key) {
        let key = Key::new(Key::DEFAULT_NAMESPACE, &key_bytes(number)).expect("a valid key");
        let hash = KeyHash::of(&key, 0);
        let shard = shard_of(hash.partition(Shift::DEFAULT), self.shards);
        (usize::from(shard), hash, key)
    }

    fn put(&mut self, batch: &[u64], outcome: &mut Outcome) {
        let mut begun = Instant::now();
        let mut open = 0;
        for &number in batch {
            let (shard, hash, key) = self.place(number);
            self.stamp += 1;
            let version = Version { hlc: Hlc::from_u64(self.stamp), ordinal: Ordinal(1) };
            let body = Body::Live(Value::bytes(&value_bytes(&mut self.random)));
            let record = Record { version, expires_ms: None, body };
            loop {
                let store = &mut self.storage().stores[shard];
                match store.merge(number, hash, key.clone(), record.clone()) {
                    Ok(()) => break,
                    Err(Refusal::Overloaded) => {
                        let refused = Instant::now();
                        open -= self.submit_and_wait();
                        outcome.refusals.push(refused.elapsed());
                        if open == 0 {
                            begun = Instant::now();
                        }
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            open += 1;
        }
        while open > 0 {
            open -= self.submit_and_wait();
        }
        outcome.batches.push(begun.elapsed());
        self.storage().stores.iter_mut().for_each(|store| store.end_batch());
    }

    /// One turn of the loop: gives how many merges were answered.
    fn submit_and_wait(&mut self) -> usize {
        let inbox = Arc::clone(&self.inbox);
        let storage = self.storage();
        let stores = storage.stores.iter_mut();
        let groups: Vec<_> =
            stores.flat_map(|store| std::iter::from_fn(|| store.take_group())).collect();
        let own = if !groups.is_empty() && storage.journal.prefers_inline() {
            storage.journal.commit_here(groups)
        } else {
            storage.journal.submit(groups);
            None
        };
        let completions = own.unwrap_or_else(|| {
            let waiting = inbox.completions.lock().expect("no panics here");
            let patience = Duration::from_secs(60);
            let waited = inbox.woken.wait_timeout_while(waiting, patience, |c| c.is_empty());
            let (mut waiting, timeout) = waited.expect("no panics here");
            assert!(!timeout.timed_out(), "storage hangs");
            std::mem::take(&mut *waiting)
        });
        self.complete(completions)
    }

    fn complete(&mut self, completions: Vec<Completion>) -> usize {
        let stores = &mut self.storage().stores;
        for completion in completions {
            if let Some(shard) = completion.shard() {
                stores[usize::from(shard)].complete(completion);
            }
        }
        let mut answers = Vec::new();
        stores.iter_mut().for_each(|store| store.drain(&mut answers));
        for (ticket, result) in &answers {
            assert!(result.is_ok(), "put {ticket}: {result:?}");
        }
        answers.len()
    }

    fn get(&mut self, outcome: &mut Outcome) {
        let number = self.random.below(self.keys);
        let (shard, hash, key) = self.place(number);
        let begun = Instant::now();
        let store = &mut self.storage().stores[shard];
        let found = store.get(hash, &key).expect("nothing is damaged");
        store.end_batch();
        outcome.gets.push(begun.elapsed());
        assert!(found.is_some(), "a loaded key is lost");
    }

    /// Waits until redb has everything.
    pub(crate) fn settle(&mut self) {
        loop {
            let inbox = Arc::clone(&self.inbox);
            let waiting = std::mem::take(&mut *inbox.completions.lock().expect("no panics here"));
            self.complete(waiting);
            let stores = self.storage().stores.iter_mut();
            if stores.map(|store| store.flush()).filter(|done| !done).count() == 0 {
                // Lets a checkpoint that is due end too.
                std::thread::sleep(Duration::from_millis(500));
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn close(&mut self) {
        let storage = self.storage.take().expect("closed once");
        storage.closer.close(storage.stores, Duration::from_secs(60)).expect("an orderly end");
    }
}
