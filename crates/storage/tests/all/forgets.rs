//! Keys that are forgotten, on a disk that is full, fails, is cut or is synced at intervals.

use std::time::Duration;

use paravon_model::{Body, Record, Value};
use paravon_storage::conformance::record;
use paravon_storage::crash_disk::{CrashDisk, Faults, Image, Replay, Survival};
use paravon_storage::{Done, Durability, Options, Refusal, WriteError};

use crate::rig::{Node, small_options};

fn after_power_failure(node: &Node) -> Image {
    let mut replay = Replay::new(Image::default());
    node.disk.trace().iter().for_each(|operation| replay.step(operation));
    replay.crash(Survival::Nothing)
}

fn large(ms: u64, bytes: usize) -> Record {
    Record { body: Body::Live(Value::bytes(&vec![7; bytes])), ..record(ms, None) }
}

/// A removal and the merges around it in one batch of the log, which redb has not, has in part or has as
/// a whole when the power fails.
#[test]
fn a_merge_after_a_removal_survives_with_an_older_version() {
    for slices in 0..4 {
        let mut node = Node::new();
        node.merge(2, record(8, Some(8))).unwrap();
        node.merge(4, record(8, Some(8))).unwrap();
        node.sync();
        node.apply_all();
        node.stepped.steps.checkpoint().unwrap();
        node.merge(2, record(9, Some(9))).unwrap();
        let ticket = node.forget(2).unwrap();
        node.merge(2, record(3, Some(3))).unwrap();
        node.forget(4).unwrap();
        assert_eq!(node.sync()[&ticket].1, Ok(Done::Forgotten));
        if slices > 0 {
            node.stepped.stores[0].flush();
        }
        if slices > 1 {
            node.apply_all();
        }
        if slices > 2 {
            node.stepped.steps.checkpoint().unwrap();
        }
        // Twice, because the first start writes too.
        let mut image = after_power_failure(&node);
        for _ in 0..2 {
            let mut node = Node::open(image).unwrap();
            assert_eq!(node.get(2), Ok(Some(record(3, Some(3)))), "{slices}");
            assert_eq!(node.get(4), Ok(None), "{slices}");
            assert_eq!(node.scan().unwrap().len(), 1);
            node.apply_all();
            image = node.disk.image();
        }
    }
}

/// redb has what came after the removal when the log is replayed from before it.
#[test]
fn a_replay_over_a_later_state_of_redb_ends_in_the_same_state() {
    let mut node = Node::new();
    for version in [5, 7] {
        node.merge(2, record(version, Some(1))).unwrap();
        node.sync();
        node.forget(2).unwrap();
        node.sync();
    }
    node.merge(2, record(3, Some(3))).unwrap();
    node.forget(4).unwrap();
    node.sync();
    node.apply_all();
    // Nothing notes how far redb is; what it has becomes durable all the same.
    let image = node.disk.image();
    let mut node = Node::open(image).unwrap();
    for _ in 0..2 {
        assert_eq!(node.get(2), Ok(Some(record(3, Some(3)))));
        assert_eq!(node.scan().unwrap().len(), 1);
        node.apply_all();
        node.stepped.steps.checkpoint().unwrap();
    }
}

#[test]
fn a_removal_is_synced_whatever_the_durability_of_writes() {
    let durability = Durability::Interval(Duration::MAX);
    let options = Options { durability, ..small_options() };
    let mut node = Node::open_on(CrashDisk::new(), &options).unwrap();
    node.merge(2, record(1, Some(1))).unwrap();
    node.sync();
    let mut lost = Node::open(after_power_failure(&node)).unwrap();
    assert_eq!(lost.get(2), Ok(None), "writes wait for the interval");
    let ticket = node.forget(4).unwrap();
    assert_eq!(node.sync()[&ticket].1, Ok(Done::Forgotten));
    let mut node = Node::open(after_power_failure(&node)).unwrap();
    assert_eq!(node.get(2), Ok(Some(record(1, Some(1)))), "the removal synced what came before it");
}

#[test]
fn after_a_failed_sync_no_removal_is_taken_and_the_record_is_read() {
    let mut node = Node::new();
    node.merge(2, record(1, Some(1))).unwrap();
    node.sync();
    node.disk.set_faults(Faults { fail_sync: Some(0), ..Faults::default() });
    let ticket = node.forget(2).unwrap();
    assert_eq!(node.sync()[&ticket].1, Err(WriteError::ReadOnly));
    assert_eq!(node.forget(2), Err(Refusal::ReadOnly));
    assert_eq!(node.get(2), Ok(Some(record(1, Some(1)))));
    assert_eq!(node.scan().unwrap().len(), 1);
}

#[test]
fn a_full_disk_takes_removals() {
    let options = Options { table_bytes: 256 << 10, ..small_options() };
    let mut node = Node::open_on(CrashDisk::new(), &options).unwrap();
    let stored = node.fill_disk(1 << 20, &large(1, 20_000));
    for number in 0..5 {
        let ticket = node.forget(number).unwrap();
        assert_eq!(node.sync()[&ticket].1, Ok(Done::Forgotten));
        assert_eq!(node.get(number), Ok(None));
    }
    assert_eq!(node.scan().unwrap().len(), usize::from(stored) - 5);
}

#[test]
fn what_is_forgotten_gives_its_space_back() {
    let options = Options { table_bytes: 512 << 10, ..small_options() };
    let mut node = Node::open_on(CrashDisk::new(), &options).unwrap();
    let mut most = 0;
    for round in 1..40_u64 {
        for number in 0..100 {
            node.merge(number, large(round, 500)).unwrap();
        }
        node.sync();
        node.apply_all();
        node.stepped.steps.checkpoint().unwrap();
        for number in 0..100 {
            node.forget(number).unwrap();
        }
        node.sync();
        node.apply_all();
        node.stepped.steps.checkpoint().unwrap();
        node.route();
        if round == 10 {
            most = node.disk.allocated();
        }
    }
    assert!(node.stepped.stores.iter_mut().all(|store| store.is_empty() == Ok(true)));
    assert!(node.disk.allocated() <= most, "{} after {most}", node.disk.allocated());
}
