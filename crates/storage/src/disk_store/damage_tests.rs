//! Records that rot under a disk store, and what is remembered of them.

use super::*;
use crate::applier::{Mailbox, Progress, apply_at_once};
use crate::codec;
use crate::conformance::{key, record};
use crate::crash_disk::CrashDisk;
use crate::disk_store::Limits;
use crate::engine::Engine;
use crate::hint_ledger::Ledger;
use crate::log::entry::{Entries, Entry};
use crate::page::PageLimit;
use crate::position::Position;
use crate::store::{Answer, Completion, Dropped, Group, Merged, Store, WriteError};
use crate::table::Table;
use paravon_ring::HashArc;

const ROTTEN: [u8; 3] = [1, 2, 3];
const WHOLE: u8 = 4;

fn slot(number: u8) -> Slot {
    let (hash, key) = key(number);
    Slot { hash, key }
}

/// A store whose file has four records of version 5, three of them rotten.
fn store() -> DiskStore {
    let row = |number: u8| {
        let Slot { hash, key } = slot(number);
        let (mut place, mut stored) = (Vec::new(), Vec::new());
        codec::encode_key(&mut place, hash, &key);
        codec::encode_record(&mut stored, hash, &key, &record(5, Some(number)));
        if ROTTEN.contains(&number) {
            stored[5] ^= 1;
        }
        (place, stored)
    };
    let disk = CrashDisk::new();
    Engine::found(&disk, "shard").unwrap();
    let (engine, _) = Engine::open(&disk, "shard", 0).unwrap();
    engine.put_records(&[row(1), row(2), row(3), row(WHOLE)]);
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

fn get(store: &mut DiskStore, number: u8) -> Result<Option<Record>, ReadError> {
    let Slot { hash, key } = slot(number);
    let found = store.get(hash, &key);
    store.end_batch();
    found
}

fn merge(store: &mut DiskStore, ticket: u64, number: u8, record: Record) {
    let Slot { hash, key } = slot(number);
    store.merge(ticket, hash, key, record).unwrap();
}

fn heal(store: &mut DiskStore, ticket: u64, number: u8, record: Option<Record>) {
    let Slot { hash, key } = slot(number);
    store.heal(ticket, hash, key, record).unwrap();
}

fn untold(store: &mut DiskStore) -> Vec<(KeyHash, Key)> {
    let mut told = Vec::new();
    store.take_damaged(&mut told);
    told
}

fn groups(store: &mut DiskStore) -> Vec<Group> {
    std::iter::from_fn(|| store.take_group()).collect()
}

fn complete(store: &mut DiskStore, groups: Vec<Group>, result: Result<Position, WriteError>) {
    for group in groups {
        store.complete(Completion::Synced { shard: 0, group: group.number, result });
    }
}

fn sync(store: &mut DiskStore) -> Vec<Answer> {
    let groups = groups(store);
    complete(store, groups, Ok(Position(1)));
    let mut answers = Vec::new();
    store.drain(&mut answers);
    answers
}

/// What the entries of some groups say, in order.
fn entries(groups: &[Group]) -> Vec<Entry> {
    groups.iter().flat_map(|group| Entries(&group.entries)).map(Result::unwrap).collect()
}

fn damaged(number: u8) -> Entry {
    Entry::Mark { shard: 0, change: MarkChange::Damaged(slot(number)) }
}

fn healed(number: u8) -> Entry {
    Entry::Mark { shard: 0, change: MarkChange::Healed(slot(number)) }
}

fn stored(number: u8, record: Record) -> Entry {
    let Slot { hash, key } = slot(number);
    Entry::Record { shard: 0, hash, key, record }
}

#[test]
fn damage_is_told_once_and_marked_whoever_finds_it() {
    let find: [fn(&mut DiskStore); 3] = [
        |store| assert_eq!(get(store, 1), Err(ReadError::Damaged)),
        |store| merge(store, 1, 1, record(1, Some(1))),
        |store| {
            let Slot { hash, .. } = slot(1);
            let all = PageLimit { count: 9, bytes: u64::MAX };
            let found = store.scan(HashArc { first: hash, last: hash }, None, all);
            assert_eq!(found.unwrap_err().error, ReadError::Damaged);
        },
    ];
    let (hash, key) = key(1);
    for find in find {
        let mut store = store();
        assert_eq!((untold(&mut store), store.damaged()), (vec![], vec![]));
        for _ in 0..2 {
            find(&mut store);
        }
        assert_eq!(untold(&mut store), [(hash, key.clone())]);
        assert_eq!(store.damaged(), [(hash, key.clone())], "queued marks are listed");
        let groups = groups(&mut store);
        assert!(groups.iter().all(|group| group.must_sync));
        assert_eq!(entries(&groups)[0], damaged(1));
        assert_eq!(entries(&groups).iter().filter(|entry| **entry == damaged(1)).count(), 1);
        complete(&mut store, groups, Ok(Position(1)));
        let _ = get(&mut store, 1);
        assert_eq!(untold(&mut store), []);
        assert_eq!(store.damaged(), [(hash, key.clone())]);
        assert!(store.take_group().is_none(), "it is marked already");
    }
}

#[test]
fn a_mark_is_in_front_of_what_is_stored_over_the_damage() {
    let mut store = store();
    merge(&mut store, 1, 2, record(1, Some(1)));
    let groups = groups(&mut store);
    assert_eq!(entries(&groups), [damaged(2), stored(2, record(1, Some(1)))]);
    complete(&mut store, groups, Ok(Position(1)));
    assert_eq!(get(&mut store, 2), Ok(Some(record(1, Some(1)))), "what can be read is told");
    merge(&mut store, 2, 2, record(6, Some(6)));
    sync(&mut store);
    assert_eq!(store.damaged(), [key(2)], "and no newer record heals it");
}

/// Groups fail while others are under way and being filled; none of those that follow may hold a record
/// without the mark in front of it.
#[test]
fn a_mark_whose_group_failed_comes_with_the_next_one() {
    for under_way in 0..3 {
        let mut store = store();
        get(&mut store, 1).unwrap_err();
        let mut sent = groups(&mut store);
        merge(&mut store, 1, 1, record(1, Some(1)));
        if under_way > 0 {
            sent.extend(groups(&mut store));
        }
        get(&mut store, 3).unwrap_err();
        if under_way > 1 {
            sent.extend(groups(&mut store));
        }
        complete(&mut store, sent, Err(WriteError::StorageFull));
        merge(&mut store, 2, 1, record(2, Some(2)));
        let next = groups(&mut store);
        let expected = entries(&next);
        assert_eq!(expected.len(), 3, "{expected:?}");
        assert!(expected[..2].contains(&damaged(1)) && expected[..2].contains(&damaged(3)));
        assert_eq!(expected[2], stored(1, record(2, Some(2))));
        complete(&mut store, next, Ok(Position(1)));
        assert_eq!(store.damaged().len(), 2);
        store.flush();
        apply_at_once(&store.mailbox, &store.engine, &store.progress);
        store.complete(Completion::Applied { shard: 0 });
        assert_eq!(store.table.bytes(), 0, "nothing is counted twice");
    }
}

#[test]
fn a_mark_that_is_durable_is_not_lost_with_a_healing_that_fails() {
    let mut store = store();
    get(&mut store, 1).unwrap_err();
    sync(&mut store);
    heal(&mut store, 1, 1, Some(record(9, Some(9))));
    assert_eq!(store.damaged(), [], "a healing that is queued counts");
    let sent = groups(&mut store);
    complete(&mut store, sent, Err(WriteError::StorageFull));
    assert_eq!(store.damaged(), [key(1)]);
    assert_eq!(get(&mut store, 1), Err(ReadError::Damaged));
    assert!(store.take_group().is_none());
}

#[test]
fn a_store_that_takes_no_writes_tells_damage_all_the_same() {
    let mut store = store();
    store.complete(Completion::Broken { shard: 0 });
    get(&mut store, 1).unwrap_err();
    assert_eq!(untold(&mut store), [key(1)]);
    assert!(store.take_group().is_none());
    let Slot { hash, key } = slot(1);
    assert_eq!(store.heal(1, hash, key, None), Err(Refusal::ReadOnly));
    assert_eq!(store.set_marks(2, Partition(0), Marks::default()), Err(Refusal::ReadOnly));
}

#[test]
fn a_healing_takes_the_place_of_what_cannot_be_read() {
    let mut store = store();
    for number in ROTTEN {
        get(&mut store, number).unwrap_err();
    }
    sync(&mut store);
    heal(&mut store, 1, 1, Some(record(1, Some(9))));
    heal(&mut store, 2, 2, None);
    heal(&mut store, 3, WHOLE, Some(record(4, Some(9))));
    // Found again before the healing is durable: it stays healed.
    get(&mut store, 1).unwrap_err();
    let groups = groups(&mut store);
    let Slot { hash, key: forgotten } = slot(2);
    let expected = [
        stored(1, record(1, Some(9))),
        healed(1),
        Entry::Forgotten { shard: 0, hash, key: forgotten },
        healed(2),
        healed(WHOLE),
    ];
    assert_eq!(entries(&groups), expected);
    complete(&mut store, groups, Ok(Position(1)));
    let mut answers = Vec::new();
    store.drain(&mut answers);
    assert_eq!(answers, [1, 2, 3].map(|ticket| (ticket, Ok(Done::Healed))));
    assert_eq!(get(&mut store, 1), Ok(Some(record(1, Some(9)))));
    assert_eq!(get(&mut store, 2), Ok(None));
    assert_eq!(get(&mut store, WHOLE), Ok(Some(record(5, Some(WHOLE)))));
    assert_eq!(store.damaged(), [key(3)]);
}

#[test]
fn a_record_that_came_over_the_damage_stays_when_it_is_the_larger() {
    let mut store = store();
    merge(&mut store, 1, 1, record(7, Some(7)));
    let over = Done::Merged(Merged::OverDamaged);
    assert_eq!(sync(&mut store), [(1, Ok(over))]);
    heal(&mut store, 2, 1, Some(record(6, Some(6))));
    assert_eq!(sync(&mut store), [(2, Ok(Done::Healed))]);
    assert_eq!(get(&mut store, 1), Ok(Some(record(7, Some(7)))));
    assert_eq!(store.damaged(), []);
}

#[test]
fn a_key_that_is_forgotten_is_not_damaged() {
    let mut store = store();
    get(&mut store, 1).unwrap_err();
    sync(&mut store);
    let Slot { hash, key } = slot(1);
    store.forget(1, hash, key).unwrap();
    store.forget(2, slot(WHOLE).hash, slot(WHOLE).key).unwrap();
    let groups = groups(&mut store);
    assert_eq!(entries(&groups).len(), 3, "a healing only of what was damaged");
    complete(&mut store, groups, Ok(Position(1)));
    assert_eq!(store.damaged(), []);
    // What rots after it was stored anew is told anew.
    store.remembered.untold.clear();
    store.note_damage(&slot(1));
    assert_eq!(untold(&mut store).len(), 1);
}

/// Until the removal is durable a read still sees the damage, which nobody is to take for that of a record
/// stored later.
#[test]
fn what_rots_after_damage_was_found_beneath_a_removal_is_told_anew() {
    let mut store = store();
    let Slot { hash, key } = slot(1);
    store.forget(1, hash, key).unwrap();
    get(&mut store, 1).unwrap_err();
    assert_eq!(untold(&mut store), [slot(1)].map(|slot| (slot.hash, slot.key)));
    sync(&mut store);
    assert_eq!((get(&mut store, 1), store.damaged()), (Ok(None), vec![]));
    store.note_damage(&slot(1));
    assert_eq!(untold(&mut store).len(), 1);
}

#[test]
fn a_target_is_remembered_from_its_first_hint_or_dirty_arc_on() {
    let mut store = store();
    let Slot { hash, key } = slot(1);
    store.keep_hint(Ordinal(7), hash, key, record(1, Some(1))).unwrap();
    store.mark_dirty(Ordinal(8), hash);
    assert!(store.remembered.file.lock().targets.is_empty(), "it is not durable");
    sync(&mut store);
    assert_eq!(store.remembered.file.lock().targets, [Ordinal(7), Ordinal(8)].into());
}

#[test]
fn what_is_damaged_is_not_dropped() {
    let mut store = store();
    let drop_five = |store: &mut DiskStore, ticket, number| {
        let Slot { hash, key } = slot(number);
        store.drop_record(ticket, hash, key, record(5, None).version).unwrap();
        let mut answers = Vec::new();
        store.drain(&mut answers);
        answers
    };
    let damaged = |ticket| vec![(ticket, Ok(Done::Dropped(Dropped::Damaged)))];
    assert_eq!(drop_five(&mut store, 1, 1), damaged(1));
    assert_eq!(untold(&mut store).len(), 1, "it was found by the drop");
    sync(&mut store);
    assert_eq!(get(&mut store, 1), Err(ReadError::Damaged));
    // What lies over it goes no more than what is damaged, before it is durable and after.
    merge(&mut store, 2, 2, record(5, None));
    assert_eq!(drop_five(&mut store, 3, 2), damaged(3));
    sync(&mut store);
    assert_eq!(drop_five(&mut store, 4, 2), damaged(4));
    assert_eq!(get(&mut store, 2), Ok(Some(record(5, None))));
    assert_eq!(store.damaged().len(), 2);
    // Once it is healed it goes.
    heal(&mut store, 5, 2, None);
    assert_eq!(drop_five(&mut store, 6, 2), []);
    let gone = (6, Ok(Done::Dropped(Dropped::Gone)));
    assert_eq!(sync(&mut store), [(5, Ok(Done::Healed)), gone]);
    assert_eq!(get(&mut store, 2), Ok(None));
    assert_eq!(store.damaged().len(), 1);
}
