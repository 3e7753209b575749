//! Differences, put into the files of a node that is stopped: records that it forgets, which no hint tells
//! and no read finds.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use paravon_ring::HashArc;
use paravon_storage::{Completion, Completions, Options, PageLimit, Storage};

/// How long the directory may take to do it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Collects what storage reports.
#[derive(Default)]
struct Inbox(Mutex<Vec<Completion>>);

impl Completions for Inbox {
    fn deliver(&self, mut completions: Vec<Completion>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&mut completions);
    }
}

/// Lets a data directory forget so many of its `records`, spread over all of it; says how many went.
pub(crate) fn forget(path: &Path, count: u64, records: u64) -> u64 {
    let inbox = Arc::new(Inbox::default());
    let completions: Arc<dyn Completions> = Arc::clone(&inbox) as _;
    let storage = Storage::open(&Options::new(path), completions).expect("a whole directory");
    let Storage { mut stores, journal, closer, .. } = storage;
    let every = (records / count).max(1);
    let (mut seen, mut planted) = (0, 0);
    for store in &mut stores {
        let mut after = None;
        loop {
            let limit = PageLimit { count: 512, bytes: 1 << 20 };
            let page = store.scan(HashArc::ALL, after.as_ref(), limit).expect("readable");
            let Some((hash, key, _)) = page.last() else { break };
            after = Some((*hash, key.clone()));
            for (hash, key, _) in page {
                seen += 1;
                if seen % every == 0 && planted < count {
                    store.forget(planted, hash, key).expect("room for it");
                    planted += 1;
                }
            }
            store.end_batch();
        }
        journal.submit(std::iter::from_fn(|| store.take_group()).collect());
    }
    let (mut answers, start) = (Vec::new(), Instant::now());
    while (answers.len() as u64) < planted {
        assert!(start.elapsed() < PATIENCE, "the log takes no removals");
        let done: Vec<_> =
            inbox.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        for completion in done {
            for store in &mut stores {
                store.complete(completion.clone());
            }
        }
        stores.iter_mut().for_each(|store| store.drain(&mut answers));
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(journal);
    closer.close(stores, PATIENCE).expect("closed");
    planted
}
