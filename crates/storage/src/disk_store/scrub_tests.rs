//! The sums and the scrubber of a disk store whose file rots.

use std::sync::Arc;

use paravon_ring::record_hash;

use super::*;
use crate::applier::{Mailbox, Progress};
use crate::codec;
use crate::conformance::{key, record};
use crate::crash_disk::CrashDisk;
use crate::engine::Engine;

const ALL: PageLimit = PageLimit { count: 99, bytes: u64::MAX };
const SEED: u64 = 3;

/// A row as it lies in the file.
type Row = (Vec<u8>, Vec<u8>);

fn shift() -> Shift {
    Shift::new(2).unwrap()
}

/// The rows of the first keys, in order.
fn rows(count: u8) -> Vec<Row> {
    let row = |number| {
        let (hash, key) = key(number);
        let (mut place, mut stored) = (Vec::new(), Vec::new());
        codec::encode_key(&mut place, hash, &key);
        codec::encode_record(&mut stored, hash, &key, &record(5, Some(number)));
        (place, stored)
    };
    let mut rows: Vec<Row> = (0..count).map(row).collect();
    rows.sort();
    rows
}

/// The place of a row.
fn place(row: &Row) -> (KeyHash, Key) {
    codec::decode_key(&row.0).unwrap()
}

/// A store that keeps sums, over a file with these rows.
fn store_on(disk: &CrashDisk, rows: &[Row]) -> DiskStore {
    Engine::found(disk, "shard").unwrap();
    let (engine, _) = Engine::open(disk, "shard", 0).unwrap();
    engine.put_records(rows);
    let limits = Limits { table_bytes: 1 << 20, group_bytes: 1 << 20 };
    let mut store = DiskStore::new(
        (0, 1),
        limits,
        (Table::default(), Ledger::new(u64::MAX), MarksFile::empty()),
        Position::ZERO,
        Arc::new(engine),
        Arc::new(Mailbox::default()),
        Arc::new(Progress::new(Position::ZERO)),
    );
    store.keep_sums(SEED, shift());
    store
}

fn sync(store: &mut DiskStore) {
    while let Some(group) = store.take_group() {
        let result = Ok(Position(1));
        store.complete(Completion::Synced { shard: 0, group: group.number, result });
    }
}

/// Once around: records read, and how often nothing could be.
fn round(store: &mut DiskStore) -> (u64, usize) {
    let (mut records, mut failed) = (0, 0);
    for _ in 0..99 {
        match store.scrub(ALL) {
            Ok(scrubbed) => {
                assert_eq!(scrubbed.mended, 0);
                records += scrubbed.records;
                if scrubbed.round {
                    return (records, failed);
                }
            }
            Err(_) => failed += 1,
        }
    }
    panic!("it goes round for ever");
}

fn unsummed(store: &DiskStore) -> Vec<u32> {
    (0..4).filter(|number| store.digest(Partition(*number)).is_none()).collect()
}

#[test]
fn a_damaged_record_leaves_its_partition_without_sums_until_it_is_mended() {
    for damaged in 0..9 {
        let mut rows = rows(9);
        rows[damaged].1[5] ^= 1;
        let mut store = store_on(&CrashDisk::new(), &rows);
        let (hash, key) = place(&rows[damaged]);
        let partition = hash.partition(shift());
        for _ in 0..2 {
            assert_eq!(round(&mut store), (9, 0), "it is read and counted");
            assert_eq!(unsummed(&store), [partition.0]);
        }
        store.merge(1, hash, key.clone(), record(6, Some(1))).unwrap();
        sync(&mut store);
        assert_eq!(unsummed(&store), [partition.0], "what was there is not known");
        assert_eq!(round(&mut store), (9, 0));
        assert_eq!(unsummed(&store), []);
        store.merge(2, hash, key, record(7, Some(1))).unwrap();
        sync(&mut store);
        assert_eq!((round(&mut store), unsummed(&store)), ((9, 0), vec![]));
    }
}

/// Rot is found by whoever reads first, and the sums that were kept are told no more.
#[test]
fn damage_that_is_found_takes_the_sums_along() {
    let find: [fn(&mut DiskStore, KeyHash, Key); 3] = [
        |store, hash, key| assert_eq!(store.get(hash, &key), Err(ReadError::Damaged)),
        |store, hash, key| store.merge(1, hash, key, record(1, Some(1))).unwrap(),
        |store, hash, _| {
            let arc = HashArc { first: hash, last: hash };
            assert!(store.scan(arc, None, ALL).is_err());
        },
    ];
    for find in find {
        let rows = rows(9);
        let mut store = store_on(&CrashDisk::new(), &rows);
        round(&mut store);
        assert_eq!(unsummed(&store), []);
        let (hash, key) = place(&rows[4]);
        let mut stored = rows[4].1.clone();
        stored[5] ^= 1;
        store.end_batch();
        store.engine.put_records(&[(rows[4].0.clone(), stored)]);
        assert_eq!(unsummed(&store), [], "nobody has seen it");
        find(&mut store, hash, key);
        assert_eq!(unsummed(&store), [hash.partition(shift()).0]);
    }
}

#[test]
fn a_record_of_a_later_format_is_passed_and_leaves_no_sums() {
    let mut rows = rows(9);
    let (hash, key) = place(&rows[4]);
    rows[4].1.clear();
    codec::encode_later_record(&mut rows[4].1, hash, &key, &record(1, Some(1)));
    let mut store = store_on(&CrashDisk::new(), &rows);
    assert_eq!(round(&mut store), (9, 0));
    assert_eq!(unsummed(&store), [hash.partition(shift()).0]);
}

/// Flips bits of a storage key in the pages of an open file, where no check but that of records is left.
fn rot(disk: &CrashDisk, place: &[u8], at: usize, mask: u8) {
    let bytes = disk.image().read("shard").unwrap().to_vec();
    for from in 0..bytes.len() - place.len() {
        if bytes[from..].starts_with(place) {
            disk.corrupt("shard", (from + at) as u64, mask);
        }
    }
}

/// Its place has rotten, so it cannot be told whose it was, at most where it lies. It may mislead every
/// search in its page; what cannot be read for it is told, and the scrubber comes to the end.
#[test]
fn a_row_that_no_place_leads_to_is_told_each_round_and_passed() {
    let rows = rows(12);
    let of = |number: usize| place(&rows[number]).0.partition(shift()).0;
    // Of another hash, far or near; of no namespace.
    for at in [0, 7, 8] {
        for number in 1..12 {
            let disk = CrashDisk::new();
            let mut store = store_on(&disk, &rows);
            store.engine.blind();
            let bytes = &rows[number].0;
            rot(&disk, bytes, at, bytes[at] ^ 0xfe);
            for _ in 0..2 {
                let (records, failed) = round(&mut store);
                // Where it can be told where it lies it is counted as damaged.
                assert!(failed > 0 || records == 12, "{at} {number}: {records} read");
                let unsummed = unsummed(&store);
                assert!(!unsummed.is_empty(), "{at} {number}");
                if at == 8 {
                    assert_eq!(failed, 1);
                    assert!(unsummed.contains(&of(number)), "{at} {number}: {unsummed:?}");
                    let near = of(number - 1)..=of(number) + 1;
                    assert!(unsummed.iter().all(|partition| near.contains(partition)));
                }
            }
        }
    }
}

/// Sums that are wrong by a bug of ours are noticed and mended.
#[test]
fn sums_that_are_wrong_are_mended() {
    let mut store = store_on(&CrashDisk::new(), &rows(9));
    round(&mut store);
    let (hash, key) = key(1);
    let right = store.digest(hash.partition(shift()));
    let wrong = record_hash(SEED, &key, &record(1, None));
    store.sums.change(&Slot { hash, key }, Delta::Known(wrong));
    assert_ne!(store.digest(hash.partition(shift())), right);
    let mut mended = 0;
    for _ in 0..9 {
        mended += store.scrub(ALL).unwrap().mended;
    }
    assert_eq!(mended, 1);
    assert_eq!(store.digest(hash.partition(shift())), right);
}
