//! The real threads on a real disk: everything submitted is answered, kept and found again.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use paravon_model::{Hlc, Record};
use paravon_storage::conformance::{key, record};
use paravon_storage::{
    Answer, Barrier, Completion, Completions, Durability, Options, Refusal, Storage, Store,
};

use crate::rig::small_options;

/// An event loop in miniature: completions wake it.
#[derive(Default)]
struct Loop {
    inbox: Mutex<Vec<Completion>>,
    woken: Condvar,
}

impl Completions for Loop {
    fn deliver(&self, mut completions: Vec<Completion>) {
        self.inbox.lock().unwrap().append(&mut completions);
        self.woken.notify_one();
    }
}

impl Loop {
    fn wait(&self) -> Vec<Completion> {
        let inbox = self.inbox.lock().unwrap();
        let patience = Duration::from_secs(10);
        let (mut inbox, timeout) =
            self.woken.wait_timeout_while(inbox, patience, |inbox| inbox.is_empty()).unwrap();
        assert!(!timeout.timed_out(), "a completion never came");
        std::mem::take(&mut *inbox)
    }
}

fn route(storage: &mut Storage, completions: Vec<Completion>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for completion in completions {
        if let Some(shard) = completion.shard() {
            storage.stores[usize::from(shard)].complete(completion);
        }
    }
    storage.stores.iter_mut().for_each(|store| store.drain(&mut answers));
    answers
}

fn store_of(storage: &mut Storage, number: u8) -> &mut dyn Store {
    let shards = storage.stores.len();
    &mut *storage.stores[usize::from(number) % shards]
}

/// Writes `rounds` batches of puts, waiting for all answers of each.
fn write(storage: &mut Storage, event_loop: &Loop, rounds: u64) -> BTreeMap<u8, Record> {
    let mut stored = BTreeMap::new();
    for round in 1..=rounds {
        let mut open = 0;
        for i in 0..20 {
            let number = u8::try_from((round * 13 + i) % 200).unwrap();
            let record = record(round * 20 + i, Some(u8::try_from(i).unwrap()));
            let (hash, key) = key(number);
            loop {
                match store_of(storage, number).merge(i, hash, key.clone(), record.clone()) {
                    Ok(()) => break,
                    Err(Refusal::Overloaded) => {
                        open -= route(storage, event_loop.wait()).len();
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            stored.insert(number, record);
            open += 1;
        }
        let stores = storage.stores.iter_mut();
        let groups = stores.flat_map(|store| std::iter::from_fn(|| store.take_group())).collect();
        if storage.journal.prefers_inline() && round.is_multiple_of(2) {
            if let Some(completions) = storage.journal.commit_here(groups) {
                open -= route(storage, completions).len();
            }
        } else {
            storage.journal.submit(groups);
        }
        while open > 0 {
            open -= route(storage, event_loop.wait()).len();
        }
    }
    stored
}

fn check(storage: &mut Storage, stored: &BTreeMap<u8, Record>) {
    for (number, record) in stored {
        let (hash, key) = key(*number);
        let store = store_of(storage, *number);
        assert_eq!(store.get(hash, &key).unwrap().as_ref(), Some(record));
        store.end_batch();
    }
}

fn options(path: &std::path::Path, durability: Durability) -> Options {
    Options { path: path.into(), durability, ..small_options() }
}

#[test]
fn a_life_with_threads_is_found_again_after_closing_and_after_dying() {
    for durability in [Durability::Sync, Durability::Interval(Duration::from_millis(5))] {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path(), durability);
        let event_loop = Arc::new(Loop::default());
        let mut storage = Storage::open(&options, Arc::clone(&event_loop) as _).unwrap();
        let mut stored = write(&mut storage, &event_loop, 150);
        check(&mut storage, &stored);
        storage.closer.close(storage.stores, Duration::from_secs(20)).unwrap();
        // They keep the directory locked.
        drop((storage.journal, storage.documents));

        let event_loop = Arc::new(Loop::default());
        let mut storage = Storage::open(&options, Arc::clone(&event_loop) as _).unwrap();
        check(&mut storage, &stored);
        let (hash, key) = key(255);
        let late = record(1_000_000, Some(1));
        store_of(&mut storage, 255).merge(1, hash, key, late.clone()).unwrap();
        let group = store_of(&mut storage, 255).take_group().unwrap();
        storage.journal.submit(vec![group]);
        while route(&mut storage, event_loop.wait()).is_empty() {}
        stored.insert(255, late);
        // Dropped, not closed: the threads end on their own, and the log has everything.
        drop(storage);
        let mut storage = reopen(&options);
        check(&mut storage, &stored);
    }
}

fn reopen(options: &Options) -> Storage {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match Storage::open(options, Arc::new(Loop::default())) {
            Ok(storage) => return storage,
            Err(error) if Instant::now() > deadline => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

#[test]
fn a_ceiling_is_synced_whatever_the_durability_and_kept() {
    for durability in [Durability::Sync, Durability::Interval(Duration::from_secs(3600))] {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path(), durability);
        let event_loop = Arc::new(Loop::default());
        let storage = Storage::open(&options, Arc::clone(&event_loop) as _).unwrap();
        let hlc = Hlc::new(1_234_567, 8);
        storage.journal.raise_ceiling(hlc);
        assert_eq!(event_loop.wait(), [Completion::Ceiling { hlc, result: Ok(()) }]);
        drop(storage);
        assert_eq!(reopen(&options).recovered.ceiling, hlc);
    }
}

#[test]
fn the_log_thread_passes_barriers_without_waiting_for_the_interval() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), Durability::Interval(Duration::from_secs(3600)));
    let event_loop = Arc::new(Loop::default());
    let storage = Storage::open(&options, Arc::clone(&event_loop) as _).unwrap();
    for number in 1..4 {
        assert_eq!(storage.journal.barrier(number), Barrier::Awaited);
        assert_eq!(event_loop.wait(), [Completion::Barrier { number, result: Ok(()) }]);
    }
}
