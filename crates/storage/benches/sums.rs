//! What the sums of a shard cost a merge, and what it costs to read and sum up what is stored.
//!
//! `cargo bench -p paravon-storage --bench sums`. Overwrites of 100-byte values at random, in two stores in
//! memory, of which one keeps sums, in turns; the difference of their medians. Printed beside it is what
//! the hashes alone take. `--bench batches` tells the CPU time of a whole put.

use std::hint::black_box;
use std::time::{Duration, Instant};

use paravon_model::{Body, Hlc, Key, Ordinal, Record, Value, Version};
use paravon_ring::{KeyHash, Shift, record_hash};
use paravon_storage::{Answer, MemoryStore, PageLimit, Store};

const KEYS: u64 = 200_000;
const ROUNDS: usize = 61;
/// Merges in a round.
const MERGES: u64 = 8_192;

/// The splitmix64 generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

type Row = (KeyHash, Key, Record);

fn row(number: u64, stamp: u64, random: &mut Random) -> Row {
    let key = Key::new(Key::DEFAULT_NAMESPACE, &Random(number).next().to_be_bytes());
    let key = key.expect("a valid key");
    let mut bytes = [0; 100];
    for chunk in bytes.chunks_exact_mut(4) {
        chunk.copy_from_slice(&random.next().to_be_bytes()[..4]);
    }
    let version = Version { hlc: Hlc::from_u64(stamp), ordinal: Ordinal(1) };
    let record = Record { version, expires_ms: None, body: Body::Live(Value::bytes(&bytes)) };
    (KeyHash::of(&key, 0), key, record)
}

/// Merges all and makes them visible.
fn merge(store: &mut MemoryStore, rows: Vec<Row>, answers: &mut Vec<Answer>) -> Duration {
    let begun = Instant::now();
    for (hash, key, record) in rows {
        store.merge(1, hash, key, record).expect("nothing refuses here");
    }
    assert!(store.take_group().is_none());
    store.drain(answers);
    let took = begun.elapsed();
    answers.clear();
    took
}

fn median_ns(mut rounds: Vec<Duration>) -> f64 {
    rounds.sort_unstable();
    rounds[rounds.len() / 2].as_secs_f64() * 1e9 / MERGES as f64
}

fn main() {
    let (mut random, mut answers) = (Random(7), Vec::new());
    let mut plain = MemoryStore::new((0, 1), usize::MAX, u64::MAX);
    let mut kept = MemoryStore::new((0, 1), usize::MAX, u64::MAX);
    kept.keep_sums(0, Shift::DEFAULT);
    for number in 0..KEYS {
        let (hash, key, record) = row(number, 1, &mut random);
        merge(&mut plain, vec![(hash, key.clone(), record.clone())], &mut answers);
        merge(&mut kept, vec![(hash, key, record)], &mut answers);
    }
    let (mut without, mut with, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let stamp = 2 + round as u64;
        let rows: Vec<Row> =
            (0..MERGES).map(|_| row(random.next() % KEYS, stamp, &mut random)).collect();
        let begun = Instant::now();
        for (_, key, record) in &rows {
            // One of the record that comes, one of that which it replaces.
            black_box(record_hash(0, key, black_box(record)));
            black_box(record_hash(0, key, black_box(record)));
        }
        hashes.push(begun.elapsed());
        // The same cache for both: each comes first every other time.
        let mut turns = [(&mut plain, &mut without), (&mut kept, &mut with)];
        if round % 2 == 1 {
            turns.swap(0, 1);
        }
        for (store, took) in turns {
            took.push(merge(store, rows.clone(), &mut answers));
        }
    }
    let (without, with) = (median_ns(without), median_ns(with));
    println!("a merge of 100 B without sums {without:.0} ns, with them {with:.0} ns");
    println!("  the sums: {:.0} ns; two hashes alone: {:.0} ns", with - without, median_ns(hashes));
    scrub(&mut kept);
}

fn scrub(store: &mut MemoryStore) {
    let limit = PageLimit { count: 512, bytes: 256 << 10 };
    let (mut records, mut steps, mut longest) = (0, 0, Duration::ZERO);
    let begun = Instant::now();
    loop {
        let step = Instant::now();
        let scrubbed = store.scrub(limit).expect("nothing is damaged here");
        longest = longest.max(step.elapsed());
        assert_eq!((scrubbed.mended, scrubbed.unsummed), (0, 0), "the sums are exact");
        (records, steps) = (records + scrubbed.records, steps + 1);
        if scrubbed.round {
            break;
        }
    }
    let each = begun.elapsed().as_secs_f64() * 1e9 / records as f64;
    println!("a scrub of {records} records: {steps} steps, {each:.0} ns each, longest {longest:?}");
}
