//! Hints on a disk that is full, fails, rots or is synced at intervals.

use std::time::Duration;

use paravon_model::{Body, Record, Value};
use paravon_storage::conformance::{key, record};
use paravon_storage::crash_disk::{CrashDisk, Faults, Image, Replay, Survival};
use paravon_storage::{Durability, Options, ReadError, Refusal};

use crate::rig::{Node, small_options};

const TARGET: u32 = 70;

fn after_power_failure(node: &Node) -> Image {
    let mut replay = Replay::new(Image::default());
    node.disk.trace().iter().for_each(|operation| replay.step(operation));
    replay.crash(Survival::Nothing)
}

fn apply_and_checkpoint(node: &mut Node) {
    node.apply_all();
    node.stepped.steps.checkpoint().unwrap();
    node.route();
}

/// The pages' own checks notice all of these. What rots behind them is tested beside the listing.
#[test]
fn no_bit_that_flips_while_the_node_runs_gives_a_wrong_hint() {
    let mut node = Node::new();
    for number in 0..40 {
        node.keep_hint(TARGET, number, record(1, Some(number)));
    }
    node.sync();
    apply_and_checkpoint(&mut node);
    let image = node.disk.image();
    let expected = node.hints(TARGET).unwrap();
    let name = "data/shard-00.redb";
    let bytes = image.read(name).unwrap();
    let mut noticed = 0;
    for at in (0..bytes.len()).filter(|at| bytes[*at] != 0).step_by(41) {
        let disk = CrashDisk::from_image(image.clone());
        // Without a cache every read reaches the disk.
        let options = Options { cache_bytes: 0, ..small_options() };
        let mut node = Node::open_on(disk.clone(), &options).unwrap();
        disk.corrupt(name, at as u64, 1 << (at % 8));
        match node.hints(TARGET) {
            Ok(found) => {
                assert!(found.iter().all(|hint| expected.contains(hint)), "{at}");
                let dirty = usize::try_from(node.hint_totals(TARGET).1).unwrap();
                assert!(found.len() + dirty >= expected.len(), "{at}: some are lost silently");
            }
            Err(ReadError::Damaged | ReadError::Unavailable) => noticed += 1,
        }
    }
    assert!(noticed > 20, "only {noticed} reads noticed anything");
}

#[test]
fn after_a_failed_sync_no_hint_is_taken_and_those_kept_are_listed() {
    let mut node = Node::new();
    node.keep_hint(TARGET, 2, record(1, Some(1)));
    node.sync();
    node.disk.set_faults(Faults { fail_sync: Some(0), ..Faults::default() });
    node.keep_hint(TARGET, 4, record(1, Some(1)));
    node.drop_hint(TARGET, 2, record(1, None).version);
    assert_eq!(node.hint_totals(TARGET), (1, 0));
    node.sync();
    let (hash, key) = key(6);
    let refused = node.stepped.stores[0].keep_hint(
        paravon_model::Ordinal(TARGET),
        hash,
        key,
        record(1, Some(1)),
    );
    assert_eq!(refused, Err(Refusal::ReadOnly));
    assert_eq!(node.hints(TARGET).unwrap().len(), 1);
    assert_eq!(node.hint_totals(TARGET), (1, 1), "what failed is not forgotten");
}

#[test]
fn a_hint_that_the_log_has_no_room_for_makes_its_arc_dirty_in_the_end() {
    let disk = CrashDisk::new();
    let options = Options { table_bytes: 256 << 10, ..small_options() };
    let mut node = Node::open_on(disk.clone(), &options).unwrap();
    let capacity = Some(disk.allocated() + (100 << 10));
    disk.set_faults(Faults { capacity, ..Faults::default() });
    let body = Body::Live(Value::bytes(&[7; 9_000]));
    let large = Record { body, ..record(1, None) };
    let given = 60;
    for number in 0..given {
        node.keep_hint(TARGET, number, large.clone());
        node.sync();
        if number % 8 == 7 {
            node.apply_all();
            let _ = node.stepped.steps.tick();
            node.route();
        }
    }
    let (count, dirty) = node.hint_totals(TARGET);
    assert!(count > 0 && dirty > 0);
    assert_eq!(count + usize::try_from(dirty).unwrap(), usize::from(given));
    disk.set_faults(Faults::default());
    node.sync();
    let mut node = Node::open(after_power_failure(&node)).unwrap();
    assert_eq!(node.hint_totals(TARGET), (count, dirty));
    assert_eq!(node.hints(TARGET).unwrap().len(), count);
}

#[test]
fn a_hint_that_a_full_disk_has_no_room_for_makes_its_arc_dirty() {
    let disk = CrashDisk::new();
    let options = Options { table_bytes: 256 << 10, ..small_options() };
    let mut node = Node::open_on(disk.clone(), &options).unwrap();
    let capacity = Some(disk.allocated() + (1 << 20));
    disk.set_faults(Faults { capacity, ..Faults::default() });
    let large = |ms| {
        let body = Body::Live(Value::bytes(&[7; 20_000]));
        Record { body, ..record(ms, None) }
    };
    let mut given = 0;
    while node.hint_totals(TARGET).1 < 5 {
        assert!(given < 200, "a full disk keeps everything");
        node.keep_hint(TARGET, given, large(1));
        given += 1;
        node.sync();
        node.apply_all();
        let _ = node.stepped.steps.tick();
        node.route();
    }
    let (count, dirty) = node.hint_totals(TARGET);
    assert_eq!(count + usize::try_from(dirty).unwrap(), usize::from(given));
    assert_eq!(node.hints(TARGET).unwrap().len(), count);
    // A drop may find no room either; the hint is delivered once more then.
    drop_all(&mut node, given);
    let left = node.hints(TARGET).unwrap().len();
    assert_eq!(node.hint_totals(TARGET), (left, dirty));
    disk.set_faults(Faults::default());
    apply_and_checkpoint(&mut node);
    drop_all(&mut node, given);
    apply_and_checkpoint(&mut node);
    let mut node = Node::open(after_power_failure(&node)).unwrap();
    assert_eq!(node.hint_totals(TARGET), (0, dirty));
    assert!(node.hints(TARGET).unwrap().is_empty());
}

fn drop_all(node: &mut Node, given: u8) {
    for number in 0..given {
        node.drop_hint(TARGET, number, record(1, None).version);
        node.sync();
    }
}

#[test]
fn hints_that_are_dropped_give_their_space_back() {
    let options = Options { table_bytes: 512 << 10, ..small_options() };
    let mut node = Node::open_on(CrashDisk::new(), &options).unwrap();
    let mut most = 0;
    for round in 1..40_u64 {
        for number in 0..100 {
            let body = Body::Live(Value::bytes(&[7; 500]));
            node.keep_hint(TARGET, number, Record { body, ..record(round, None) });
        }
        node.sync();
        apply_and_checkpoint(&mut node);
        for number in 0..100 {
            node.drop_hint(TARGET, number, record(round, None).version);
        }
        node.sync();
        apply_and_checkpoint(&mut node);
        if round == 10 {
            most = node.disk.allocated();
        }
    }
    assert_eq!(node.hint_totals(TARGET), (0, 0));
    assert!(node.disk.allocated() <= most, "{} after {most}", node.disk.allocated());
}

fn at_long_intervals() -> Node {
    let durability = Durability::Interval(Duration::MAX);
    let options = Options { durability, ..small_options() };
    Node::open_on(CrashDisk::new(), &options).unwrap()
}

#[test]
fn a_removal_is_synced_whatever_the_durability_of_writes() {
    let mut node = at_long_intervals();
    node.keep_hint(TARGET, 2, record(1, Some(1)));
    node.sync();
    let mut lost = Node::open(after_power_failure(&node)).unwrap();
    assert!(lost.hints(TARGET).unwrap().is_empty(), "hints are as durable as writes");
    node.keep_hint(TARGET, 4, record(1, Some(1)));
    node.drop_hint(TARGET, 2, record(1, None).version);
    node.sync();
    let mut node = Node::open(after_power_failure(&node)).unwrap();
    let kept: Vec<_> = node.hints(TARGET).unwrap().into_iter().map(|hint| hint.key).collect();
    assert_eq!(kept, [key(4).1]);
}

#[test]
fn a_document_is_synced_whatever_the_durability_of_writes() {
    let node = at_long_intervals();
    let mut replay = Replay::new(Image::default());
    let mut done = 0;
    for round in 1..5 {
        let before = format!("document {}", round - 1).into_bytes();
        let document = format!("document {round}").into_bytes();
        node.stepped.documents.replace(document.clone()).unwrap();
        let trace = node.disk.trace();
        for operation in &trace[done..] {
            replay.step(operation);
            // In the middle of it: the old one or the new one, whole.
            if round > 1 {
                let image = replay.crash(Survival::Scattered(7));
                let found = Node::open(image).unwrap().stepped.recovered.document;
                assert!(found == before || found == document, "{}", found.escape_ascii());
            }
        }
        done = trace.len();
        let found = Node::open(replay.crash(Survival::Nothing)).unwrap();
        assert_eq!(found.stepped.recovered.document, document);
    }
}
