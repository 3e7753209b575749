//! Hints of a disk store whose groups fail and whose file rots.

use std::sync::Arc;

use paravon_ring::Shift;

use super::*;
use crate::applier::{Mailbox, Progress, apply_at_once};
use crate::conformance::{key, record};
use crate::crash_disk::CrashDisk;
use crate::disk_store::Limits;
use crate::engine::Engine;
use crate::hint::HintTotals;
use crate::hint_ledger::Ledger;
use crate::marks_file::MarksFile;
use crate::page::PageLimit;
use crate::position::Position;
use crate::store::{Completion, Group, Store, WriteError};
use crate::table::Table;

const TARGET: Ordinal = Ordinal(3);
const ALL: PageLimit = PageLimit { count: 9, bytes: u64::MAX };

/// A row as it lies in the file.
type Row = (Vec<u8>, Vec<u8>);

/// A store whose file holds these rows.
fn store(rows: &[Row]) -> DiskStore {
    store_on(&CrashDisk::new(), rows)
}

fn store_on(disk: &CrashDisk, rows: &[Row]) -> DiskStore {
    Engine::found(disk, "shard").unwrap();
    let (engine, _) = Engine::open(disk, "shard", 0).unwrap();
    engine.put_hints(rows);
    let mut ledger = Ledger::new(u64::MAX);
    engine.count_hints(&mut ledger).unwrap();
    let limits = Limits { table_bytes: 1 << 20, group_bytes: 1 << 20 };
    DiskStore::new(
        (0, 1),
        limits,
        (Table::default(), ledger, MarksFile::empty()),
        Position::ZERO,
        Arc::new(engine),
        Arc::new(Mailbox::default()),
        Arc::new(Progress::new(Position::ZERO)),
    )
}

fn sync(store: &mut DiskStore, result: Result<Position, WriteError>) {
    let groups: Vec<_> = std::iter::from_fn(|| store.take_group()).collect();
    for group in groups {
        end(store, &group, result);
    }
}

fn end(store: &mut DiskStore, group: &Group, result: Result<Position, WriteError>) {
    store.complete(Completion::Synced { shard: 0, group: group.number, result });
}

fn keep(store: &mut DiskStore, number: u8, record: Record) {
    let (hash, key) = key(number);
    store.keep_hint(TARGET, hash, key, record).unwrap();
}

fn drop_up_to(store: &mut DiskStore, number: u8, ms: u64) {
    let (hash, key) = key(number);
    store.drop_hint(TARGET, hash, &key, record(ms, None).version);
}

fn row(number: u8) -> Row {
    row_of(TARGET, number)
}

fn row_of(target: Ordinal, number: u8) -> Row {
    let (hash, key) = key(number);
    let slot = HintSlot::new(target, hash, &key);
    let mut stored = Vec::new();
    crate::codec::encode_hint(&mut stored, &slot, &record(5, Some(5)));
    (slot.as_bytes().to_vec(), stored)
}

fn damaged(number: u8) -> Row {
    let (slot, mut stored) = row(number);
    stored[5] ^= 1;
    (slot, stored)
}

fn finest(store: &DiskStore) -> Vec<HintTotals> {
    store.hint_totals(Shift::new(Shift::MAX).unwrap())
}

fn totals(store: &DiskStore) -> (u64, u64) {
    let totals = finest(store);
    let one = |HintTotals { count, dirty, .. }: &HintTotals| (*count, *dirty);
    totals.first().map_or((0, 0), one)
}

#[test]
fn a_damaged_hint_is_left_out_and_removed_and_its_arc_is_dirty() {
    let mut store = store(&[row(1), damaged(2), row(3)]);
    assert_eq!(totals(&store), (3, 0));
    for _ in 0..2 {
        assert_eq!(store.hints(TARGET, None, ALL).unwrap().len(), 2);
        assert_eq!(totals(&store), (2, 1), "once");
    }
    sync(&mut store, Ok(Position(1)));
    assert_eq!(store.hints(TARGET, None, ALL).unwrap().len(), 2);
    assert_eq!(totals(&store), (2, 1));
    assert!(store.take_group().is_none(), "there is nothing more to do for it");
}

#[test]
fn a_damaged_hint_takes_a_newer_one_and_a_drop_and_its_arc_is_dirty() {
    let mut store = store(&[damaged(1), damaged(2)]);
    let (hash, one) = key(1);
    store.keep_hint(TARGET, hash, one, record(1, Some(1))).unwrap();
    assert_eq!(totals(&store), (2, 1));
    let (hash, two) = key(2);
    store.drop_hint(TARGET, hash, &two, record(1, None).version);
    assert_eq!(totals(&store), (1, 2));
    sync(&mut store, Ok(Position(1)));
    let kept = store.hints(TARGET, None, ALL).unwrap();
    assert_eq!(kept.iter().map(|hint| &hint.record).collect::<Vec<_>>(), [&record(1, Some(1))]);
}

fn apply(store: &mut DiskStore) {
    store.end_batch();
    store.flush();
    apply_at_once(&store.mailbox, &store.engine, &store.progress);
    store.complete(Completion::Applied { shard: 0 });
}

fn count(store: &DiskStore) -> (u64, u64) {
    let totals = finest(store);
    let own = totals.iter().find(|totals| totals.target == TARGET).unwrap();
    (own.count, own.dirty)
}

#[test]
fn a_row_that_is_no_slot_goes_when_the_mark_is_durable_and_is_counted_until_then() {
    let mut rotten = row(2);
    rotten.0[12] = u8::MAX;
    let place = rotten.0.clone();
    let mut store = store(&[row(1), rotten, row(3)]);
    let all = 1 << 24;
    for _ in 0..2 {
        assert_eq!(store.hints(TARGET, None, ALL).unwrap().len(), 2);
        assert_eq!(totals(&store), (3, all));
    }
    sync(&mut store, Err(WriteError::StorageFull));
    assert!(!store.table.is_rotten(&place), "its mark is not durable");
    assert_eq!(store.hints(TARGET, None, ALL).unwrap().len(), 2);
    sync(&mut store, Ok(Position(1)));
    assert_eq!(store.hints(TARGET, None, ALL).unwrap().len(), 2);
    assert!(store.take_group().is_none(), "there is nothing more to do for it");
    apply(&mut store);
    assert_eq!(totals(&store), (2, all));
    assert_eq!(store.hints(TARGET, None, ALL).unwrap().len(), 2);
    assert!(store.take_group().is_none());
}

/// Flips bits of a slot in the pages of an open file, where no check but that of hints is left.
fn rot(disk: &CrashDisk, slot: &[u8], at: usize, mask: u8) {
    let bytes = disk.image().read("shard").unwrap().to_vec();
    let places: Vec<usize> =
        (0..bytes.len() - slot.len()).filter(|&place| bytes[place..].starts_with(slot)).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|place| disk.corrupt("shard", (place + at) as u64, mask));
}

#[test]
fn a_row_that_has_rotten_into_another_place_goes_once_and_hides_no_other() {
    let mut rows: Vec<Row> = (1..=5).map(row).collect();
    rows.sort();
    rows.push(row_of(Ordinal(4), 1));
    // Of another target; of a later place; of no place.
    for at in [3, 4, 12] {
        // The last one of its target would lie in order even so.
        for number in 0..4 {
            let disk = CrashDisk::new();
            let mut store = store_on(&disk, &rows);
            store.engine.blind();
            let slot = &rows[number].0;
            rot(&disk, slot, at, slot[at] ^ 0xfe);
            for _ in 0..3 {
                let found = store.hints(TARGET, None, ALL).unwrap();
                assert_eq!(found.len(), 4, "{at} {number}");
                assert_eq!(store.hints(Ordinal(4), None, ALL).unwrap().len(), 1);
                sync(&mut store, Ok(Position(1)));
            }
            assert_eq!(count(&store), (5, 1 << 24), "{at} {number}");
            apply(&mut store);
            assert_eq!(count(&store), (4, 1 << 24), "{at} {number}");
            assert_eq!(store.hints(TARGET, None, ALL).unwrap().len(), 4);
            assert!(store.take_group().is_none());
        }
    }
}

#[test]
fn a_hint_of_a_later_format_stays_and_its_arc_is_dirty() {
    let (slot, mut stored) = row(1);
    stored.truncate(stored.len() - 8);
    stored[0] += 1;
    let seed = xxhash_rust::xxh3::xxh3_64(&slot);
    let checksum = xxhash_rust::xxh3::xxh3_64_with_seed(&stored, seed);
    stored.extend_from_slice(&checksum.to_be_bytes());
    let mut store = store(&[(slot, stored)]);
    assert!(store.hints(TARGET, None, ALL).unwrap().is_empty());
    assert_eq!(totals(&store), (1, 1));
    let (hash, key) = key(1);
    store.keep_hint(TARGET, hash, key.clone(), record(9, Some(9))).unwrap();
    store.drop_hint(TARGET, hash, &key, hint::any_version());
    sync(&mut store, Ok(Position(1)));
    assert_eq!(totals(&store), (1, 1));
}

#[test]
fn a_hint_of_a_failed_group_leaves_its_arc_dirty_and_a_mark_stays() {
    let mut store = store(&[row(1), row(2)]);
    keep(&mut store, 1, record(9, Some(9)));
    drop_up_to(&mut store, 2, 5);
    store.full = true;
    keep(&mut store, 3, record(1, Some(1)));
    store.full = false;
    assert_eq!(totals(&store), (1, 1));
    for _ in 0..2 {
        sync(&mut store, Err(WriteError::StorageFull));
        assert_eq!(totals(&store), (2, 2), "nothing was dropped, and nothing is forgotten");
        assert_eq!(store.hints(TARGET, None, ALL).unwrap().len(), 2);
        assert_eq!(store.table.bytes(), 0);
    }
    // The next group that is durable holds what the others did not.
    sync(&mut store, Ok(Position(1)));
    assert_eq!(store.table.hints.recovered().marks.len(), 2);
    assert!(store.take_group().is_none(), "nothing is owed any more");
    keep(&mut store, 1, record(9, Some(9)));
    drop_up_to(&mut store, 2, 5);
    sync(&mut store, Ok(Position(2)));
    assert_eq!(totals(&store), (1, 2));
    assert_eq!(store.hints(TARGET, None, ALL).unwrap()[0].record, record(9, Some(9)));
}

#[test]
fn the_file_is_not_asked_about_a_target_that_nothing_is_kept_for() {
    let mut store = store(&[row(1)]);
    let (hash, two) = key(2);
    store.keep_hint(Ordinal(4), hash, two.clone(), record(1, Some(1))).unwrap();
    store.drop_hint(Ordinal(5), hash, &two, record(1, None).version);
    assert!(store.hint_view.is_none());
    store.keep_hint(TARGET, hash, two, record(1, Some(1))).unwrap();
    assert!(store.hint_view.is_some());
}

#[test]
fn versions_of_one_key_in_a_failed_group_are_taken_back() {
    let mut store = store(&[]);
    keep(&mut store, 1, record(1, None));
    keep(&mut store, 1, record(2, Some(2)));
    sync(&mut store, Err(WriteError::StorageFull));
    let nothing = HintTotals { target: TARGET, count: 0, bytes: 0, dirty: 1 };
    assert_eq!(finest(&store), [nothing]);
}

#[test]
fn what_is_done_again_while_a_later_group_has_still_to_fail_is_counted_once() {
    let mut store = store(&[row(1), row(2), row(3)]);
    drop_up_to(&mut store, 1, 5);
    let first = store.take_group().unwrap();
    drop_up_to(&mut store, 2, 5);
    let second = store.take_group().unwrap();
    end(&mut store, &first, Err(WriteError::StorageFull));
    assert_eq!(totals(&store), (3, 0), "the second is sure to fail too");
    drop_up_to(&mut store, 2, 5);
    drop_up_to(&mut store, 1, 5);
    assert_eq!(totals(&store), (1, 0));
    end(&mut store, &second, Err(WriteError::StorageFull));
    assert_eq!(totals(&store), (1, 0));
    sync(&mut store, Ok(Position(1)));
    assert_eq!(totals(&store), (1, 0));
    assert_eq!(store.hints(TARGET, None, ALL).unwrap().len(), 1);
}
