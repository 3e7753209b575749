//! Storage alone: durable puts in batches, with no network before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use paravon_model::{Body, Hlc, Key, Ordinal, Record, Value, Version};
use paravon_ring::KeyHash;
use paravon_storage::{Completion, Completions, Options, Storage};

use crate::load::VALUE_BYTES;
use crate::place::Place;

/// News of the background threads, which this bench hands on between two batches.
#[derive(Default)]
struct News(std::sync::Mutex<Vec<Completion>>);

impl Completions for News {
    fn deliver(&self, completions: Vec<Completion>) {
        self.0.lock().expect("no panic").extend(completions);
    }
}

/// Durable puts per second of random keys out of `keys`, `batch` at a time.
pub(crate) fn run(place: &Place, span: Duration, batch: u64, keys: u64) -> f64 {
    let news = Arc::new(News::default());
    let path = place.path().join("alone");
    let mut storage = Storage::open(&Options::new(&path), news.clone()).expect("an empty folder");
    let (mut puts, mut answers) = (0_u64, Vec::new());
    let start = Instant::now();
    while start.elapsed() < span {
        let store = &mut storage.stores[0];
        for _ in 0..batch {
            puts += 1;
            let number = puts.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys;
            let key = Key::new(Key::DEFAULT_NAMESPACE, format!("key-{number:012}").as_bytes());
            let key = key.expect("a valid key");
            let version = Version { hlc: Hlc::from_u64(puts), ordinal: Ordinal(1) };
            let body = Body::Live(Value::bytes(&[7; VALUE_BYTES]));
            let record = Record { version, expires_ms: None, body };
            store.merge(puts, KeyHash::of(&key, 0), key, record).expect("room in the table");
        }
        let groups: Vec<_> = std::iter::from_fn(|| store.take_group()).collect();
        let mut completions = storage.journal.commit_here(groups);
        while answers.len() < usize::try_from(batch).expect("a small number") {
            let delivered = std::mem::take(&mut *news.0.lock().expect("no panic"));
            for completion in completions.take().into_iter().flatten().chain(delivered) {
                store.complete(completion);
            }
            store.drain(&mut answers);
        }
        answers.clear();
        store.end_batch();
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let rate = puts as f64 / start.elapsed().as_secs_f64();
    let closed = storage.closer.close(storage.stores, Duration::from_secs(30));
    closed.expect("storage closes");
    std::fs::remove_dir_all(path).expect("our folder");
    rate
}
