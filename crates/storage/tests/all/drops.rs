//! Records that are dropped, on a disk that is full, fails, is cut or is synced at intervals.

use std::time::Duration;

use paravon_model::{Body, Record, Value};
use paravon_storage::conformance::record;
use paravon_storage::crash_disk::{CrashDisk, Faults, Image, Replay, Survival};
use paravon_storage::{Done, Dropped, Durability, Options, Refusal, WriteError};

use crate::rig::{Node, small_options};

const GONE: Result<Done, WriteError> = Ok(Done::Dropped(Dropped::Gone));

fn after_power_failure(node: &Node) -> Image {
    let mut replay = Replay::new(Image::default());
    node.disk.trace().iter().for_each(|operation| replay.step(operation));
    replay.crash(Survival::Nothing)
}

fn large(ms: u64, bytes: usize) -> Record {
    Record { body: Body::Live(Value::bytes(&vec![7; bytes])), ..record(ms, None) }
}

/// The drop and all around it lie in the log, and redb has none of it, a part, or all and more than is
/// noted when the power fails.
#[test]
fn a_replay_drops_the_version_that_went_and_no_other() {
    for slices in 0..4 {
        let mut node = Node::new();
        for number in [2, 4, 6, 8] {
            node.merge(number, record(8, None)).unwrap();
        }
        node.sync();
        node.apply_all();
        node.stepped.steps.checkpoint().unwrap();
        let version = record(8, None).version;
        node.merge(4, record(9, Some(9))).unwrap();
        node.merge(6, record(9, None)).unwrap();
        let tickets = [2, 4, 8].map(|number| node.drop_record(number, version).unwrap());
        node.drop_record(6, record(9, None).version).unwrap();
        node.merge(8, record(3, Some(3))).unwrap();
        let answers = node.sync();
        let kept = Ok(Done::Dropped(Dropped::Kept { version: record(9, None).version }));
        assert_eq!(tickets.map(|ticket| answers[&ticket].1), [GONE, kept, GONE]);
        node.merge(2, record(9, Some(2))).unwrap();
        node.sync();
        if slices > 0 {
            node.stepped.stores[0].flush();
        }
        if slices > 1 {
            node.apply_all();
        }
        if slices > 2 {
            node.stepped.steps.checkpoint().unwrap();
        }
        for mut image in [after_power_failure(&node), node.disk.image()] {
            // Twice, because the first start writes too.
            for _ in 0..2 {
                let mut node = Node::open(image).unwrap();
                assert_eq!(node.get(2), Ok(Some(record(9, Some(2)))), "{slices}");
                assert_eq!(node.get(4), Ok(Some(record(9, Some(9)))), "{slices}");
                assert_eq!(node.get(6), Ok(None), "{slices}");
                assert_eq!(node.get(8), Ok(Some(record(3, Some(3)))), "{slices}");
                assert_eq!(node.scan().unwrap().len(), 3);
                node.apply_all();
                image = node.disk.image();
            }
        }
    }
}

#[test]
fn a_drop_is_no_more_urgent_than_a_write() {
    let durability = Durability::Interval(Duration::MAX);
    let options = Options { durability, ..small_options() };
    let mut node = Node::open_on(CrashDisk::new(), &options).unwrap();
    node.merge(2, record(1, None)).unwrap();
    let forgotten = node.forget(4).unwrap();
    assert_eq!(node.sync()[&forgotten].1, Ok(Done::Forgotten));
    let ticket = node.drop_record(2, record(1, None).version).unwrap();
    assert_eq!(node.sync()[&ticket].1, GONE);
    assert_eq!(node.get(2), Ok(None));
    let mut node = Node::open(after_power_failure(&node)).unwrap();
    assert_eq!(node.get(2), Ok(Some(record(1, None))), "it waited for the interval");
}

#[test]
fn after_a_failed_sync_nothing_is_dropped() {
    let mut node = Node::new();
    node.merge(2, record(1, None)).unwrap();
    node.sync();
    node.disk.set_faults(Faults { fail_sync: Some(0), ..Faults::default() });
    let version = record(1, None).version;
    let ticket = node.drop_record(2, version).unwrap();
    assert_eq!(node.sync()[&ticket].1, Err(WriteError::ReadOnly));
    assert_eq!(node.drop_record(2, version), Err(Refusal::ReadOnly));
    assert_eq!(node.get(2), Ok(Some(record(1, None))));
}

#[test]
fn a_full_disk_takes_drops() {
    let disk = CrashDisk::new();
    let options = Options { table_bytes: 256 << 10, ..small_options() };
    let mut node = Node::open_on(disk.clone(), &options).unwrap();
    let stored = node.fill_disk(1 << 20, &large(1, 20_000));
    let version = record(1, None).version;
    let tickets: Vec<u64> = (0..stored).map(|n| node.drop_record(n, version).unwrap()).collect();
    let answers = node.sync();
    assert!(tickets.iter().all(|ticket| answers[ticket].1 == GONE));
    assert!(node.scan().unwrap().is_empty());
    assert!(node.stepped.stores.iter_mut().all(|store| store.is_empty() == Ok(true)));
    disk.set_faults(Faults::default());
    node.apply_all();
    node.stepped.steps.checkpoint().unwrap();
    node.route();
    assert!(node.stepped.stores.iter_mut().all(|store| store.is_empty() == Ok(true)));
}

/// Nothing but time passes: no put, no checkpoint by volume.
fn pass_time(node: &mut Node, seconds: u32) {
    for _ in 0..50 * seconds {
        node.stepped.steps.tick().unwrap();
        node.route();
        node.apply_once();
    }
}

#[test]
fn what_is_dropped_is_soon_given_back_to_the_disk_and_no_cut_loses_a_record() {
    let options = Options { table_bytes: 512 << 10, ..small_options() };
    let mut node = Node::open_on(CrashDisk::new(), &options).unwrap();
    let empty = node.disk.allocated();
    let version = record(1, None).version;
    for number in 0..=u8::MAX {
        node.merge(number, large(1, 16_000)).unwrap();
        if number % 16 == 15 {
            node.sync();
            node.apply_all();
            node.stepped.steps.checkpoint().unwrap();
        }
    }
    let full = node.disk.allocated();
    for number in 0..=u8::MAX {
        node.drop_record(number, version).unwrap();
        // The last of them are in memory alone.
        if number == 250 {
            node.sync();
            node.apply_all();
        }
    }
    for number in [0, u8::MAX] {
        node.merge(number, large(2, 100)).unwrap();
    }
    node.sync();
    let before = node.disk.operations();
    pass_time(&mut node, 10);
    let left = node.disk.allocated();
    assert!(full > 3 * empty && 2 * left <= 3 * empty, "{left} of {full}, {empty} when empty");
    let after = node.disk.operations();
    pass_time(&mut node, 300);
    assert_eq!(node.disk.operations(), after, "an idle node comes to rest");
    let mut replay = Replay::new(Image::default());
    for (done, operation) in node.disk.trace().iter().enumerate() {
        replay.step(operation);
        if done < before {
            continue;
        }
        let survival = match done % 3 {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            _ => Survival::Scattered(done as u64),
        };
        let disk = CrashDisk::from_image(replay.crash(survival));
        let mut node = Node::open_on(disk, &options).unwrap();
        assert_eq!(node.scan().unwrap().len(), 2, "{done}, {survival:?}");
        assert_eq!(node.get(u8::MAX), Ok(Some(large(2, 100))));
    }
}

#[test]
fn a_shard_that_is_written_is_not_trimmed() {
    let options = Options { table_bytes: 512 << 10, ..small_options() };
    let mut node = Node::open_on(CrashDisk::new(), &options).unwrap();
    // A file that is worth it.
    for number in (0..120).step_by(2) {
        node.merge(number, large(1, 16_000)).unwrap();
        if number % 16 == 0 {
            node.sync();
            node.apply_all();
        }
    }
    node.sync();
    node.apply_all();
    node.stepped.steps.checkpoint().unwrap();
    node.drop_record(0, record(1, None).version).unwrap();
    // Fewer than a checkpoint by volume takes.
    for second in 0..8 {
        node.merge(2, record(second + 1, None)).unwrap();
        node.sync();
        node.stepped.stores[0].flush();
        node.apply_once();
        let before = node.disk.operations();
        pass_time(&mut node, 1);
        assert_eq!(node.disk.operations(), before, "second {second}");
    }
    // Only in the log, which is not sealed so soon after it.
    node.merge(2, record(9, None)).unwrap();
    node.sync();
    let before = node.disk.operations();
    pass_time(&mut node, 1);
    assert!(node.disk.operations() > before, "it was due all the time");
}
