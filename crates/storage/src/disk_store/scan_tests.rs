//! Scans of a disk store whose file rots.

use std::slice;
use std::sync::Arc;

use super::*;
use crate::applier::{Mailbox, Progress, apply_at_once};
use crate::conformance::{key, record};
use crate::crash_disk::CrashDisk;
use crate::disk_store::Limits;
use crate::engine::Engine;
use crate::hint_ledger::Ledger;
use crate::marks_file::MarksFile;
use crate::position::Position;
use crate::store::{Completion, Done, Merged, Store};

const ALL: PageLimit = PageLimit { count: 99, bytes: u64::MAX };

/// A row as it lies in the file.
type Row = (Vec<u8>, Vec<u8>);

fn row(number: u8) -> Row {
    let (hash, key) = key(number);
    let (mut place, mut stored) = (Vec::new(), Vec::new());
    codec::encode_key(&mut place, hash, &key);
    codec::encode_record(&mut stored, hash, &key, &record(5, Some(number)));
    (place, stored)
}

/// The rows of the first keys, in order.
fn rows(count: u8) -> Vec<Row> {
    let mut rows: Vec<Row> = (0..count).map(row).collect();
    rows.sort();
    rows
}

fn store_on(disk: &CrashDisk, rows: &[Row]) -> DiskStore {
    Engine::found(disk, "shard").unwrap();
    let (engine, _) = Engine::open(disk, "shard", 0).unwrap();
    engine.put_records(rows);
    let limits = Limits { table_bytes: 1 << 20, group_bytes: 1 << 20 };
    DiskStore::new(
        (0, 1),
        limits,
        (Table::default(), Ledger::new(u64::MAX), MarksFile::empty()),
        Position::ZERO,
        Arc::new(engine),
        Arc::new(Mailbox::default()),
        Arc::new(Progress::new(Position::ZERO)),
    )
}

fn sync(store: &mut DiskStore) {
    while let Some(group) = store.take_group() {
        let result = Ok(Position(1));
        store.complete(Completion::Synced { shard: 0, group: group.number, result });
    }
}

fn apply(store: &mut DiskStore) {
    store.end_batch();
    store.flush();
    apply_at_once(&store.mailbox, &store.engine, &store.progress);
    store.complete(Completion::Applied { shard: 0 });
}

fn place(found: &Found) -> (KeyHash, Key) {
    (found.0, found.1.clone())
}

fn places(rows: &[Row]) -> Vec<(KeyHash, Key)> {
    rows.iter().map(|(place, _)| codec::decode_key(place).unwrap()).collect()
}

/// Scans on and on; the records, and what could not be read.
fn scan_on(store: &mut DiskStore, arc: HashArc) -> (Vec<Found>, Vec<ScanError>) {
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    let mut after = None;
    loop {
        match store.scan(arc, after.as_ref(), ALL) {
            Ok(page) if page.is_empty() => return (found, unread),
            Ok(page) => {
                after = page.last().map(place);
                found.extend(page);
            }
            Err(error) => {
                after.clone_from(&error.at);
                unread.push(error);
                if after.is_none() {
                    return (found, unread);
                }
            }
        }
    }
}

#[test]
fn a_damaged_record_ends_the_page_before_it_and_hides_no_other() {
    for damaged in 0..6 {
        let mut rows = rows(6);
        rows[damaged].1[5] ^= 1;
        let mut store = store_on(&CrashDisk::new(), &rows);
        let lost = places(&rows)[damaged].clone();
        assert_eq!(store.get(lost.0, &lost.1), Err(ReadError::Damaged));
        let first = store.scan(HashArc::ALL, None, ALL);
        let expected = ScanError { error: ReadError::Damaged, at: Some(lost.clone()) };
        match damaged {
            0 => assert_eq!(first, Err(expected.clone())),
            _ => assert_eq!(first.unwrap().len(), damaged),
        }
        for _ in 0..2 {
            let (found, unread) = scan_on(&mut store, HashArc::ALL);
            assert_eq!(found.len(), 5);
            assert_eq!(unread, slice::from_ref(&expected), "as often as it is scanned");
        }
    }
}

#[test]
fn a_damaged_record_is_mended_by_a_merge_and_by_a_removal() {
    let mut rows = rows(6);
    rows[2].1[5] ^= 1;
    rows[3].1[5] ^= 1;
    let mut store = store_on(&CrashDisk::new(), &rows);
    let (two, three) = (places(&rows)[2].clone(), places(&rows)[3].clone());
    store.forget(1, two.0, two.1.clone()).unwrap();
    store.merge(2, three.0, three.1, record(1, Some(1))).unwrap();
    assert_eq!(scan_on(&mut store, HashArc::ALL).1.len(), 2, "nothing is durable yet");
    store.merge(3, two.0, two.1.clone(), record(1, Some(1))).unwrap();
    store.forget(4, two.0, two.1.clone()).unwrap();
    sync(&mut store);
    let mut answers = Vec::new();
    store.drain(&mut answers);
    let new = Done::Merged(Merged::Applied { previous: None });
    let over = Done::Merged(Merged::OverDamaged);
    let all = [(1, Done::Forgotten), (2, over), (3, new), (4, Done::Forgotten)];
    assert_eq!(answers, all.map(|(ticket, done)| (ticket, Ok(done))));
    for _ in 0..2 {
        let (found, unread) = scan_on(&mut store, HashArc::ALL);
        assert_eq!((found.len(), unread), (5, vec![]));
        assert_eq!(store.get(two.0, &two.1), Ok(None));
        store.end_batch();
        if store.table.active_bytes() > 0 {
            apply(&mut store);
        }
    }
    assert_eq!(store.table.bytes(), 0);
}

#[test]
fn a_record_of_a_later_format_is_told_and_passed() {
    let mut rows = rows(3);
    let (hash, key) = places(&rows)[1].clone();
    rows[1].1.clear();
    codec::encode_later_record(&mut rows[1].1, hash, &key, &record(1, Some(1)));
    let mut store = store_on(&CrashDisk::new(), &rows);
    let (found, unread) = scan_on(&mut store, HashArc::ALL);
    assert_eq!(found.len(), 2);
    assert_eq!(unread, [ScanError { error: ReadError::Unavailable, at: Some((hash, key)) }]);
}

#[test]
fn a_damaged_record_is_told_by_the_scan_of_its_own_arc() {
    let mut rows = rows(6);
    rows[3].1[5] ^= 1;
    let mut store = store_on(&CrashDisk::new(), &rows);
    let places = places(&rows);
    let arc = |from: usize, to: usize| HashArc { first: places[from].0, last: places[to].0 };
    assert_eq!(scan_on(&mut store, arc(0, 2)).0.len(), 3);
    assert_eq!(scan_on(&mut store, arc(0, 2)).1, []);
    assert_eq!(scan_on(&mut store, arc(4, 5)).0.len(), 2);
    assert_eq!(scan_on(&mut store, arc(4, 5)).1, []);
    assert_eq!(scan_on(&mut store, arc(3, 3)).1.len(), 1);
}

/// Flips bits of a storage key in the pages of an open file, where no check but that of records is left.
fn rot(disk: &CrashDisk, key: &[u8], at: usize, mask: u8) {
    let bytes = disk.image().read("shard").unwrap().to_vec();
    let places: Vec<usize> =
        (0..bytes.len() - key.len()).filter(|&place| bytes[place..].starts_with(key)).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|place| disk.corrupt("shard", (place + at) as u64, mask));
}

#[test]
fn a_row_that_has_rotten_into_another_place_is_never_left_out_silently() {
    let rows = rows(9);
    // Of another hash, far or near; of no namespace.
    for at in [0, 7, 8] {
        for number in 1..9 {
            let disk = CrashDisk::new();
            let mut store = store_on(&disk, &rows);
            store.engine.blind();
            let place = &rows[number].0;
            rot(&disk, place, at, place[at] ^ 0xfe);
            let (found, unread) = scan_on(&mut store, HashArc::ALL);
            assert!(found.iter().all(|found| found.2.version == record(5, None).version));
            assert_eq!(unread.len(), 1, "{at} {number}: {} and {unread:?}", found.len());
            // Who reads on behind it misses none of the others.
            assert!(unread[0].at.is_none() || found.len() == 8, "{at} {number}: {unread:?}");
        }
    }
}

#[test]
fn nothing_is_empty_that_holds_what_cannot_be_read() {
    let mut rows = rows(2);
    rows[1].1[5] ^= 1;
    let mut store = store_on(&CrashDisk::new(), &rows);
    let places = places(&rows);
    store.forget(1, places[0].0, places[0].1.clone()).unwrap();
    sync(&mut store);
    assert_eq!(store.is_empty(), Ok(false));
    store.forget(2, places[1].0, places[1].1.clone()).unwrap();
    assert_eq!(store.is_empty(), Ok(false), "it is not durable");
    sync(&mut store);
    assert_eq!(store.is_empty(), Ok(true), "redb has the rows still");
    apply(&mut store);
    assert_eq!(store.is_empty(), Ok(true));
}
