//! The yardstick: redb committing each batch durably by itself.

use std::path::Path;
use std::time::{Duration, Instant};

use redb::{Database, Durability, TableDefinition};

use crate::BATCH;
use crate::load::{Random, key_bytes, value_bytes};
use crate::report::Samples;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
const LOAD_BATCH: u64 = 50_000;

/// What redb alone does.
pub(crate) struct Alone {
    pub(crate) overwrites: Samples,
    pub(crate) new_keys: Samples,
}

pub(crate) fn run(path: &Path, keys: u64, duration: Duration) -> Alone {
    let database =
        Database::builder().set_cache_size(256 << 20).create(path).expect("redb creates its file");
    let mut random = Random(1);
    let mut next = 0;
    while next < keys {
        let batch: Vec<u64> = (next..keys.min(next + LOAD_BATCH)).collect();
        commit(&database, &batch, &mut random, Durability::None);
        next += LOAD_BATCH;
    }
    commit(&database, &[0], &mut random, Durability::Immediate);
    let overwrites = measure(duration, |random| {
        let batch: Vec<u64> = (0..BATCH).map(|_| random.below(keys)).collect();
        commit(&database, &batch, random, Durability::Immediate);
    });
    let mut fresh = keys;
    let new_keys = measure(duration, |random| {
        let batch: Vec<u64> = (fresh..fresh + BATCH).collect();
        fresh += BATCH;
        commit(&database, &batch, random, Durability::Immediate);
    });
    Alone { overwrites, new_keys }
}

fn commit(database: &Database, batch: &[u64], random: &mut Random, durability: Durability) {
    let mut transaction = database.begin_write().expect("redb begins");
    transaction.set_durability(durability).expect("no savepoints here");
    {
        let mut table = transaction.open_table(TABLE).expect("redb opens its table");
        for &number in batch {
            let key = key_bytes(number);
            table.insert(key.as_slice(), value_bytes(random).as_slice()).expect("redb inserts");
        }
    }
    transaction.commit().expect("redb commits");
}

fn measure(duration: Duration, mut batch: impl FnMut(&mut Random)) -> Samples {
    let mut random = Random(2);
    let mut samples = Samples::default();
    let begun = Instant::now();
    while begun.elapsed() < duration {
        let window = Instant::now();
        let mut puts = 0;
        while window.elapsed() < Duration::from_millis(250) {
            batch(&mut random);
            puts += BATCH;
        }
        samples.0.push(puts as f64 / window.elapsed().as_secs_f64());
    }
    samples
}
