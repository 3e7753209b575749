//! Barriers: what was acknowledged before one is there after a crash, whatever the durability of writes.

use std::time::Duration;

use paravon_storage::conformance::record;
use paravon_storage::crash_disk::{CrashDisk, Faults, Image, Replay, Survival};
use paravon_storage::{Barrier, Done, Durability, Merged, Options, WriteError};

use crate::rig::{Node, small_options};

fn at_long_intervals() -> Node {
    let durability = Durability::Interval(Duration::MAX);
    let options = Options { durability, ..small_options() };
    Node::open_on(CrashDisk::new(), &options).unwrap()
}

fn after_power_failure(node: &Node) -> Node {
    let mut replay = Replay::new(Image::default());
    node.disk.trace().iter().for_each(|operation| replay.step(operation));
    Node::open(replay.crash(Survival::Nothing)).unwrap()
}

/// Stores `number` and has it acknowledged.
fn acknowledge(node: &mut Node, number: u8) {
    let ticket = node.merge(number, record(1, Some(number))).unwrap();
    let applied = Done::Merged(Merged::Applied { previous: None });
    assert_eq!(node.sync()[&ticket].1, Ok(applied));
}

#[test]
fn what_was_acknowledged_before_a_barrier_survives_a_power_failure() {
    let mut node = at_long_intervals();
    // Of both shards, and in several segments.
    for number in 0..100 {
        acknowledge(&mut node, number);
    }
    assert_eq!(after_power_failure(&node).get(99), Ok(None), "writes wait for the interval");
    assert_eq!(node.stepped.journal.barrier(7), Barrier::Awaited);
    assert_eq!(after_power_failure(&node).get(99), Ok(None), "it has not passed");
    assert_eq!(node.barriers, []);
    node.sync();
    assert_eq!(node.barriers, [(7, Ok(()))]);
    let mut after = after_power_failure(&node);
    for number in 0..100 {
        assert_eq!(after.get(number), Ok(Some(record(1, Some(number)))));
    }
}

#[test]
fn a_barrier_covers_what_waits_and_stands_for_those_before_it() {
    let mut node = at_long_intervals();
    acknowledge(&mut node, 2);
    assert_eq!(node.stepped.journal.barrier(1), Barrier::Awaited);
    node.merge(3, record(1, Some(3))).unwrap();
    node.submit();
    assert_eq!(node.stepped.journal.barrier(2), Barrier::Awaited);
    node.sync();
    assert_eq!(node.barriers, [(2, Ok(()))], "one for both");
    let mut after = after_power_failure(&node);
    assert_eq!(after.get(2), Ok(Some(record(1, Some(2)))));
    assert_eq!(after.get(3), Ok(Some(record(1, Some(3)))));
}

#[test]
fn what_comes_after_a_barrier_waits_for_the_interval_again() {
    let mut node = at_long_intervals();
    assert_eq!(node.stepped.journal.barrier(1), Barrier::Awaited);
    node.sync();
    acknowledge(&mut node, 2);
    assert_eq!(node.barriers, [(1, Ok(()))]);
    assert_eq!(after_power_failure(&node).get(2), Ok(None));
}

#[test]
fn a_barrier_does_not_pass_where_the_sync_fails_and_no_later_one_does() {
    let mut node = at_long_intervals();
    acknowledge(&mut node, 2);
    node.disk.set_faults(Faults { fail_sync: Some(0), ..Faults::default() });
    for number in 1..3 {
        assert_eq!(node.stepped.journal.barrier(number), Barrier::Awaited);
        node.sync();
        node.disk.set_faults(Faults::default());
    }
    let failed = Err(WriteError::ReadOnly);
    assert_eq!(node.barriers, [(1, failed), (2, failed)]);
}

#[test]
fn a_barrier_costs_nothing_where_every_acknowledgement_is_synced() {
    let mut node = Node::new();
    acknowledge(&mut node, 2);
    let before = node.disk.operations();
    assert_eq!(node.stepped.journal.barrier(1), Barrier::Passed);
    node.sync();
    assert_eq!((node.barriers.len(), node.disk.operations()), (0, before));
    assert_eq!(after_power_failure(&node).get(2), Ok(Some(record(1, Some(2)))));
}
