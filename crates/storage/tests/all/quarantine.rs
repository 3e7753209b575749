//! A shard's file that is damaged as a whole is set aside, whenever the power fails (`NO_SILENT_ROT`).

use std::collections::BTreeMap;

use paravon_model::{Damage, Hlc, Key, Marks, Ordinal, Record};
use paravon_ring::HashArc;
use paravon_storage::Error;
use paravon_storage::conformance::{key, record};
use paravon_storage::crash_disk::{CrashDisk, Faults, Image, Replay, Survival};

use crate::rig::{Node, small_options};

const SHARD: &str = "data/shard-00.redb";
const TARGET: u32 = 70;

fn marks(at_ms: u64) -> Marks {
    let at = Hlc::new(at_ms, 0);
    Marks { floor: at, full: at, closed: at, damage: Damage::None }
}

fn lost(marks: Marks) -> Marks {
    Marks { damage: Damage::Lost, ..marks }
}

/// A disk with marks and hints, of which the log has let go, and records in redb and in the log; the file
/// of shard 0 is damaged. The records that the log still has.
fn damaged() -> (Image, BTreeMap<Key, Record>) {
    let mut node = Node::new();
    node.set_marks(2, marks(5)).unwrap();
    node.set_marks(3, marks(6)).unwrap();
    node.keep_hint(TARGET, 2, record(1, Some(1)));
    node.merge(2, record(1, Some(1))).unwrap();
    for round in 1..400 {
        node.merge(4, record(round, Some(1))).unwrap();
        node.merge(5, record(round, Some(1))).unwrap();
        node.sync();
    }
    node.apply_all();
    node.stepped.steps.checkpoint().unwrap();
    node.merge(6, record(1000, Some(6))).unwrap();
    node.sync();
    let mut image = node.disk.image();
    spoil(&mut image);
    (image, [(key(6).1, record(1000, Some(6)))].into())
}

/// Everything that must be so once a node has started from `image`, however often a start was cut short.
fn judge(node: &mut Node, rest: &BTreeMap<Key, Record>) {
    assert!(node.is_lost(0) && !node.is_lost(1));
    let found = node.marks();
    assert_eq!((found[&2], found[&3]), (lost(marks(5)), marks(6)), "what was promised stays so");
    assert_eq!(node.get(5), Ok(Some(record(399, Some(1)))), "the other shard goes on");
    assert_eq!(node.get(2), Ok(None), "it is lost, which the marks say");
    let scanned = node.scan().unwrap();
    assert!(rest.iter().all(|(key, record)| scanned.get(key) == Some(record)));
    assert_eq!(node.hint_totals(TARGET).1, 1 << 24, "all of the ring is dirty");
}

fn set_aside(image: &Image) -> Vec<String> {
    image.files().into_iter().filter(|name| name.contains("quarantined")).collect()
}

fn spoil(image: &mut Image) {
    for at in (0..image.read(SHARD).unwrap().len() as u64).step_by(512) {
        image.corrupt(SHARD, at, 0x55);
    }
}

/// The log says that all of the ring is clean for the target, and the file that this was said of is lost.
#[test]
fn what_was_clean_in_a_file_that_is_set_aside_is_dirty_again() {
    let dirty = |node: &Node| node.hint_totals(TARGET).1;
    let mut node = Node::open(damaged().0).unwrap();
    for _ in 0..2 {
        let store = &mut node.stepped.stores[0];
        let moment = store.dirty_moment();
        store.clean(Ordinal(TARGET), HashArc::ALL, moment);
        node.sync();
        assert_eq!(dirty(&node), 0);
        let mut image = node.disk.image();
        assert_eq!(dirty(&Node::open(image.clone()).unwrap()), 0);
        spoil(&mut image);
        node = Node::open(image).unwrap();
        assert_eq!(dirty(&node), 1 << 24);
        // The log is replayed over the new file again.
        node = Node::open(node.disk.image()).unwrap();
        assert_eq!(dirty(&node), 1 << 24);
    }
}

#[test]
fn a_damaged_file_is_set_aside_and_what_the_log_holds_is_there() {
    let (image, rest) = damaged();
    let bytes = image.read(SHARD);
    let mut node = Node::open(image).unwrap();
    judge(&mut node, &rest);
    let path = &node.stepped.recovered.quarantined[0];
    assert!(path.ends_with("data/shard-00.redb.quarantined-1"), "{path:?}");
    assert_eq!(set_aside(&node.disk.image()), ["data/shard-00.redb.quarantined-1"]);
    assert_eq!(
        node.disk.image().read("data/shard-00.redb.quarantined-1").map(|b| b.len()),
        bytes.map(|b| b.len())
    );
    // Partition by partition it is whole again, and stays so.
    node.set_marks(2, marks(9)).unwrap();
    node.set_marks(0, Marks::default()).unwrap();
    node.merge(8, record(1, Some(8))).unwrap();
    node.sync();
    for _ in 0..2 {
        let found = node.marks();
        assert_eq!((found[&2], found.get(&0), found[&4]), (marks(9), None, lost(Marks::default())));
        assert_eq!(node.get(8), Ok(Some(record(1, Some(8)))));
        node.apply_all();
        node.stepped.steps.checkpoint().unwrap();
        node = Node::open(node.disk.image()).unwrap();
        assert!(node.stepped.recovered.quarantined.is_empty());
    }
}

#[test]
fn every_cut_of_a_quarantine_ends_in_one() {
    let (image, rest) = damaged();
    let first = Node::open(image.clone()).unwrap();
    let trace = first.disk.trace();
    let mut replay = Replay::new(image);
    let mut again = 0;
    for (done, operation) in trace.iter().enumerate() {
        replay.step(operation);
        for survival in [
            Survival::Nothing,
            Survival::Everything,
            Survival::TornLast(500),
            Survival::Scattered(done as u64),
        ] {
            let image = replay.crash(survival);
            let mut node = Node::open(image)
                .unwrap_or_else(|error| panic!("cut after {done}, {survival:?}: {error}"));
            judge(&mut node, &rest);
            let was_told = !node.stepped.recovered.quarantined.is_empty();
            again += usize::from(was_told);
            assert!(!set_aside(&node.disk.image()).is_empty());
            // And once more, from whatever that start made durable.
            if done % 7 == 0 {
                let mut node = Node::open(node.disk.image()).unwrap();
                judge(&mut node, &rest);
                assert!(node.stepped.recovered.quarantined.is_empty());
            }
        }
    }
    assert!(again > 20 && again < 4 * trace.len(), "{again} of {}", 4 * trace.len());
}

/// A start that is cut short in the middle of a quarantine that was cut short.
#[test]
fn every_cut_of_a_quarantine_after_a_cut_ends_in_one_too() {
    let (image, rest) = damaged();
    let trace = Node::open(image.clone()).unwrap().disk.trace();
    let mut replay = Replay::new(image);
    for (done, operation) in trace.iter().enumerate() {
        replay.step(operation);
        if done % 4 != 0 {
            continue;
        }
        let image = replay.crash(Survival::Nothing);
        let second = Node::open(image.clone()).unwrap();
        let mut replay = Replay::new(image);
        for (again, operation) in second.disk.trace().iter().enumerate() {
            replay.step(operation);
            if again % 3 == done / 4 % 3 {
                let mut node = Node::open(replay.crash(Survival::Nothing))
                    .unwrap_or_else(|error| panic!("cut after {done}, then {again}: {error}"));
                judge(&mut node, &rest);
            }
        }
    }
}

/// Nothing may be served, and no later start may find less, when the marks cannot be written.
#[test]
fn a_disk_that_takes_no_marks_stops_the_start() {
    let (image, rest) = damaged();
    let writes = |image: &Image| {
        let trace = Node::open(image.clone()).unwrap().disk.trace();
        trace
            .iter()
            .filter(|op| matches!(op, paravon_storage::crash_disk::Operation::Write { .. }))
            .count()
    };
    for fail_write in 0..writes(&image) as u64 {
        let disk = CrashDisk::from_image(image.clone());
        disk.set_faults(Faults { fail_write: Some(fail_write), ..Faults::default() });
        let opened = Node::open_on(disk.clone(), &small_options()).map(|_| ());
        disk.set_faults(Faults::default());
        assert!(!matches!(opened, Err(Error::LostMarks { .. })), "write {fail_write}: {opened:?}");
        let mut node = Node::open_on(disk, &small_options())
            .unwrap_or_else(|error| panic!("write {fail_write}: {error}"));
        judge(&mut node, &rest);
    }
}

/// Several nodes may share a storage that fails for a moment: none may call its records lost for that.
#[test]
fn a_disk_that_cannot_be_read_stops_the_start_and_costs_nothing() {
    let (image, rest) = damaged();
    let mut whole = Node::open(image.clone()).unwrap();
    whole.set_marks(0, Marks::default()).unwrap();
    whole.sync();
    whole.apply_all();
    whole.stepped.steps.checkpoint().unwrap();
    let whole = whole.disk.image();
    let stopped = starts_with_failed_reads(&whole, |read, disk, opened| {
        let Err(Error::Io { .. }) = opened else { panic!("read {read}: {opened:?}") };
        assert_eq!(set_aside(&disk.image()), set_aside(&whole), "read {read}");
        let node = Node::open_on(disk.clone(), &small_options())
            .unwrap_or_else(|error| panic!("read {read}: {error}"));
        assert!(node.stepped.recovered.quarantined.is_empty(), "read {read}");
    });
    assert!(stopped > 20, "{stopped} starts were stopped");
    // Nor does it keep what is damaged indeed from being found.
    starts_with_failed_reads(&image, |read, disk, opened| {
        assert!(matches!(opened, Ok(()) | Err(Error::Io { .. })), "read {read}: {opened:?}");
        let mut node = Node::open_on(disk.clone(), &small_options())
            .unwrap_or_else(|error| panic!("read {read}: {error}"));
        judge(&mut node, &rest);
    });
}

/// Starts from `image` again and again, with each of the reads of a start failing once, and lets `judge`
/// see what came of it. How often that was.
fn starts_with_failed_reads(
    image: &Image,
    judge: impl Fn(u64, &CrashDisk, Result<(), Error>),
) -> u64 {
    for fail_read in 0.. {
        let disk = CrashDisk::from_image(image.clone());
        disk.set_faults(Faults { fail_read: Some(fail_read), ..Faults::default() });
        let opened = Node::open_on(disk.clone(), &small_options());
        let has_failed = disk.faults().fail_read.is_none();
        disk.set_faults(Faults::default());
        if !has_failed {
            return fail_read;
        }
        judge(fail_read, &disk, opened.map(drop));
    }
    unreachable!("a start reads for a bounded time")
}

/// What was set aside once tells nothing of a file that is lost later.
#[test]
fn a_file_that_is_missing_without_a_quarantine_under_way_is_named() {
    let is_missing = |mut image: Image| {
        image.remove(SHARD);
        matches!(Node::open(image), Err(Error::Missing { path }) if path.ends_with(SHARD))
    };
    let (image, _) = damaged();
    let mut node = Node::open(image).unwrap();
    let mut removed = node.disk.image();
    removed.remove("data/shard-00.redb.quarantined-1");
    assert!(is_missing(removed));
    // A checkpoint, and the quarantine is past: the log has let go of what the new file holds.
    node.merge(2, record(2000, Some(2))).unwrap();
    node.sync();
    node.apply_all();
    node.stepped.steps.checkpoint().unwrap();
    let image = node.disk.image();
    assert_eq!(set_aside(&image), ["data/shard-00.redb.quarantined-1"]);
    assert!(is_missing(image));
}
