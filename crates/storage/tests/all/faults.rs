//! Disks that fail: a failed sync is never retried, and a full disk still reads and deletes.

use std::collections::BTreeMap;

use paravon_model::{Body, Record, Value};
use paravon_storage::conformance::record;
use paravon_storage::crash_disk::{CrashDisk, Faults, Image, Replay, Survival};
use paravon_storage::{Done, Error, Merged, Options, ReadError, Refusal, WriteError};

use crate::rig::{Node, small_options};

#[test]
fn after_a_failed_sync_nothing_is_written_and_what_was_synced_is_read() {
    for faults in [
        Faults { fail_sync: Some(0), ..Faults::default() },
        Faults { fail_write: Some(0), ..Faults::default() },
    ] {
        let mut node = Node::new();
        node.merge(1, record(1, Some(1))).unwrap();
        node.sync();
        node.disk.set_faults(faults);
        let doomed = node.merge(1, record(2, Some(2))).unwrap();
        node.submit();
        let waiting = node.merge(1, record(3, Some(3))).unwrap();
        let answers = node.sync();
        assert_eq!(answers[&doomed].1, Err(WriteError::ReadOnly));
        assert_eq!(answers[&waiting].1, Err(WriteError::ReadOnly));

        // The disk works again; nothing may touch the log all the same.
        let before = node.disk.operations();
        assert_eq!(node.merge(1, record(4, Some(4))), Err(Refusal::ReadOnly));
        node.sync();
        assert_eq!(node.disk.operations(), before);
        assert_eq!(node.get(1).unwrap(), Some(record(1, Some(1))));
        // The other shard learns it with its first write.
        if let Ok(ticket) = node.merge(2, record(1, Some(1))) {
            assert_eq!(node.sync()[&ticket].1, Err(WriteError::ReadOnly));
        }
        assert_eq!(node.disk.operations(), before);
        node.stepped.journal.raise_ceiling(paravon_model::Hlc::new(9, 0));
        node.sync();
        assert_eq!(node.ceilings.pop().unwrap().1, Err(WriteError::ReadOnly));
    }
}

#[test]
fn after_a_failed_sync_a_restart_finds_everything_acknowledged() {
    for fail_at in 0..30 {
        let mut node = Node::new();
        node.disk.set_faults(Faults { fail_sync: Some(fail_at), ..Faults::default() });
        let mut acked = BTreeMap::new();
        let mut sent: BTreeMap<u8, Vec<Record>> = BTreeMap::new();
        for round in 1..40 {
            let key = u8::try_from(round % 7).unwrap();
            let record = record(round, Some(1));
            if let Ok(ticket) = node.merge(key, record.clone()) {
                sent.entry(key).or_default().push(record.clone());
                if node.sync().get(&ticket).is_some_and(|answer| answer.1.is_ok()) {
                    acked.insert(key, record);
                }
            }
            node.apply_once();
            let _ = if round % 5 == 0 {
                node.stepped.steps.checkpoint()
            } else {
                node.stepped.steps.tick()
            };
            node.route();
        }
        let mut replay = Replay::new(Image::default());
        node.disk.trace().iter().for_each(|operation| replay.step(operation));
        let mut node = Node::open(replay.crash(Survival::Nothing)).unwrap();
        for (key, acked) in acked {
            let found = node.get(key).unwrap().unwrap();
            assert!(found.version >= acked.version, "failing sync {fail_at}: key {key}");
            assert!(sent[&key].contains(&found));
        }
    }
}

fn large(ms: u64) -> Record {
    let body = Body::Live(Value::bytes(&[7; 20_000]));
    Record { body, ..record(ms, None) }
}

/// Fills a disk of `capacity` bytes until a put is refused; says how many were stored.
fn fill(node: &mut Node) -> (u64, BTreeMap<u8, Record>) {
    let mut stored = BTreeMap::new();
    for round in 1..4000_u64 {
        let key = u8::try_from(round % 200).unwrap();
        match node.merge(key, large(round)) {
            Ok(ticket) => match node.sync()[&ticket].1 {
                Ok(Done::Merged(Merged::Applied { .. })) => {
                    stored.insert(key, large(round));
                }
                Err(WriteError::StorageFull) => return (round, stored),
                other => panic!("{other:?}"),
            },
            Err(Refusal::StorageFull) => return (round, stored),
            Err(Refusal::Overloaded) => {}
            Err(other) => panic!("{other}"),
        }
        node.apply_all();
        let ticked = node.stepped.steps.tick();
        assert!(matches!(ticked, Ok(()) | Err(Error::Full { .. })), "{ticked:?}");
        node.route();
    }
    panic!("a full disk takes everything");
}

#[test]
fn a_full_disk_refuses_puts_while_reads_and_deletes_go_on() {
    let options = Options { table_bytes: 256 << 10, ..small_options() };
    let disk = CrashDisk::new();
    let mut node = Node::open_on(disk.clone(), &options).unwrap();
    let capacity = Some(disk.allocated() + (2 << 20));
    disk.set_faults(Faults { capacity, ..Faults::default() });
    let (round, stored) = fill(&mut node);
    assert!(stored.len() > 20);
    for (key, record) in &stored {
        assert_eq!(node.get(*key).unwrap().as_ref(), Some(record));
    }
    let mut deleted = Vec::new();
    for key in stored.keys().take(10) {
        let tombstone = record(round + 10, None);
        let ticket = node.merge(*key, tombstone.clone()).unwrap();
        assert!(node.sync()[&ticket].1.is_ok(), "a delete passes on a full disk");
        node.apply_all();
        let _ = node.stepped.steps.tick();
        node.route();
        assert_eq!(node.get(*key).unwrap(), Some(tombstone));
        deleted.push(*key);
    }
    assert_eq!(node.merge(0, large(round + 20)), Err(Refusal::StorageFull));

    // The operator gives it space: everything goes on by itself.
    disk.set_faults(Faults::default());
    node.apply_all();
    node.stepped.steps.tick().unwrap();
    node.route();
    let ticket = node.merge(0, large(round + 30)).unwrap();
    assert!(node.sync()[&ticket].1.is_ok());
    node.apply_all();
    node.stepped.steps.checkpoint().unwrap();

    let mut node = Node::open(disk.image()).unwrap();
    for (key, record) in stored.iter().filter(|(key, _)| **key != 0 && !deleted.contains(key)) {
        assert_eq!(node.get(*key).unwrap().as_ref(), Some(record));
    }
}

/// A log that cannot roll over refuses the groups that waited, and all that was decided against them.
#[test]
fn a_log_that_cannot_grow_stores_nothing_of_what_it_refuses() {
    let options = Options { table_bytes: 4 << 20, ..small_options() };
    let disk = CrashDisk::new();
    let mut node = Node::open_on(disk.clone(), &options).unwrap();
    let capacity = Some(disk.allocated());
    disk.set_faults(Faults { capacity, ..Faults::default() });
    let mut round = 0;
    let stored = loop {
        round += 1;
        let ticket = node.merge(2, large(round)).unwrap();
        // The second is decided against the first, whose fate its store does not know yet. Alone it
        // would fit where the first does not.
        node.submit();
        node.stepped.steps.commit();
        let second = node.merge(2, record(round + 1000, Some(1))).unwrap();
        let answers = node.sync();
        if answers[&ticket].1 == Err(WriteError::StorageFull) {
            assert_eq!(answers[&second].1, Err(WriteError::StorageFull));
            break round - 1;
        }
        assert!(answers[&ticket].1.is_ok() && answers[&second].1.is_ok());
        assert!(round < 100, "the log grows without space");
        round += 2000;
    };
    let expected = (stored > 0).then(|| node.get(2).unwrap().unwrap().version);
    disk.set_faults(Faults::default());
    let ticket = node.merge(2, record(1 << 30, Some(2))).unwrap();
    let merged = node.sync()[&ticket].1;
    assert_eq!(merged, Ok(Done::Merged(Merged::Applied { previous: expected })));
}

#[test]
fn a_table_past_its_bound_refuses_before_any_work_and_recovers() {
    let mut node = Node::new();
    let mut refused = 0;
    for round in 1..1000 {
        match node.merge(2, record(round, Some(1))) {
            Ok(_) => {}
            Err(Refusal::Overloaded) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    node.sync();
    node.apply_all();
    assert!(node.merge(2, record(2000, Some(2))).is_ok());
}

#[test]
fn a_record_that_no_batch_can_hold_is_refused() {
    let mut node = Node::new();
    let body = Body::Live(Value::bytes(&vec![1; 64 << 10]));
    let refusal = node.merge(1, Record { body, ..record(1, None) });
    assert!(matches!(refusal, Err(Refusal::TooLarge { .. })));
}

#[test]
fn a_shard_whose_file_fails_reads_no_absence() {
    let mut node = Node::new();
    for round in 1..40 {
        node.merge(u8::try_from(round % 10).unwrap(), record(round, Some(1))).unwrap();
        node.sync();
    }
    // The write of a checkpoint fails; which of the two files does not matter.
    node.apply_all();
    node.disk.set_faults(Faults { fail_write: Some(4), ..Faults::default() });
    let _ = node.stepped.steps.checkpoint();
    node.route();
    assert_eq!(node.disk.faults().fail_write, None, "the fault struck");
    for key in 1..10 {
        assert_ne!(node.get(key), Ok(None), "key {key}");
    }
}

/// The numbers of the log's segments, spares included.
fn segments(node: &Node) -> Vec<u64> {
    let number = |name: &String| {
        let name = name.strip_prefix("data/log/")?.strip_suffix(".log")?;
        u64::from_str_radix(name, 16).ok()
    };
    node.disk.image().files().iter().filter_map(number).collect()
}

/// A shard with one record never fills a table; the log must not wait for it.
#[test]
fn a_quiet_shard_does_not_hold_the_log_of_a_busy_one() {
    let mut node = Node::new();
    node.merge(1, record(1, Some(1))).unwrap();
    node.sync();
    let mut most = 0;
    for round in 2..1000 {
        node.merge(u8::try_from(round % 20 * 2).unwrap(), record(round, Some(2))).unwrap();
        node.sync();
        node.apply_once();
        node.stepped.steps.tick().unwrap();
        node.route();
        most = most.max(segments(&node).len());
    }
    assert!(segments(&node).last() > Some(&100), "the log went on");
    assert!(most < 24, "{most} segments at once");
    assert_eq!(node.get(1).unwrap(), Some(record(1, Some(1))));
}

#[test]
fn a_checkpoint_that_failed_is_tried_again_without_further_writes() {
    let mut again = 0;
    for fail_at in 0..40 {
        let mut node = Node::new();
        for round in 1..40 {
            node.merge(u8::try_from(round % 10).unwrap(), record(round, Some(1))).unwrap();
            node.sync();
        }
        node.apply_all();
        let first = segments(&node)[0];
        node.disk.set_faults(Faults { fail_write: Some(fail_at), ..Faults::default() });
        let failed = node.stepped.steps.tick().is_err();
        let struck = node.disk.faults().fail_write.is_none();
        node.disk.set_faults(Faults::default());
        node.route();
        assert_eq!(failed, struck, "write {fail_at}");
        // Where redb failed there is nothing to try again.
        let refused = (0..2).any(|key| node.merge(key, record(99, Some(1))).is_err());
        if failed && !refused {
            node.stepped.steps.tick().unwrap();
            assert!(segments(&node)[0] > first, "write {fail_at}");
            again += 1;
        }
    }
    assert!(again > 0);
}

#[test]
fn a_shard_that_a_read_broke_is_told() {
    let mut node = Node::new();
    for key in 0..20 {
        node.merge(key, record(1, Some(key))).unwrap();
    }
    node.sync();
    node.apply_all();
    node.stepped.steps.checkpoint().unwrap();
    let options = Options { cache_bytes: 0, ..small_options() };
    let disk = CrashDisk::from_image(node.disk.image());
    let mut node = Node::open_on(disk.clone(), &options).unwrap();
    let name = "data/shard-00.redb";
    let bytes = disk.image().read(name).unwrap();
    // Behind the header, whose copy redb keeps.
    (4096..bytes.len())
        .filter(|at| bytes[*at] != 0)
        .for_each(|at| disk.corrupt(name, at as u64, 1));
    assert_eq!(node.get(2), Err(ReadError::Unavailable));
    assert_eq!(node.merge(2, record(2, Some(1))), Err(Refusal::Unavailable));
    node.stepped.steps.tick().unwrap();
    node.route();
    assert_eq!(node.merge(2, record(2, Some(1))), Err(Refusal::ReadOnly));
    assert!(node.merge(1, record(2, Some(1))).is_ok(), "the other shard goes on");
}
