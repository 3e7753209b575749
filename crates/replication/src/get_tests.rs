//! Reads over three replicas: who is asked, what is written back, what is answered.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Command, Consistency, Failure, Hlc, Marks, Ordinal, Outcome, ReplicaReply, Value,
};
use paravon_ring::KeyHash;

use crate::event::Event;
use crate::marks::{EMPTIED, PartitionMarks};
use crate::test_cluster::{Cluster, Message, TIMEOUT, key, layout, record, version};

fn value(text: &str) -> Option<Value> {
    Some(Value::bytes(text.as_bytes()))
}

/// The replicas that are being asked to read.
fn asked(cluster: &Cluster) -> Vec<u32> {
    let target = |message: &Message| match message {
        Message::Request { to, request, .. } if matches!(request.command, Command::Read { .. }) => {
            Some(*to)
        }
        _ => None,
    };
    cluster.wire.iter().filter_map(target).collect()
}

#[test]
fn a_quorum_read_asks_itself_and_one_other_and_sees_what_a_majority_has() {
    let mut cluster = Cluster::new(3);
    cluster.put(2, "k", "v").unwrap();
    let request = cluster.begin_get(1, "k", Consistency::Quorum);
    assert_eq!(asked(&cluster).len(), 1);
    cluster.run();
    assert_eq!(cluster.read(request), Some(Ok(value("v"))));
    assert_eq!(cluster.node(1).shard.under_way(), 0);
}

#[test]
fn equally_near_replicas_are_asked_in_turn() {
    let mut cluster = Cluster::new(3);
    let mut counts = [0_usize; 4];
    for _ in 0..10 {
        cluster.begin_get(1, "k", Consistency::Quorum);
        counts[asked(&cluster)[0] as usize] += 1;
        cluster.run();
    }
    assert!(counts[2].abs_diff(counts[3]) <= 2, "{counts:?}");
}

#[test]
fn an_absent_key_is_absent_and_a_read_without_its_quorum_is_an_error() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.get(1, "k"), Ok(None));
    cluster.cut(1, 2);
    cluster.cut(1, 3);
    let request = cluster.begin_get(1, "k", Consistency::Quorum);
    cluster.run();
    assert_eq!(cluster.read(request), None);
    cluster.pass(TIMEOUT);
    let (needed, got, outcome) = (2, 1, Outcome::Refused);
    assert_eq!(cluster.read(request), Some(Err(Failure::QuorumTimeout { needed, got, outcome })));
}

#[test]
fn before_the_answer_a_majority_durably_holds_the_winner() {
    let mut cluster = Cluster::new(3);
    cluster.node(1).merge(key("k"), record(5, "new"));
    for node in [2, 3] {
        cluster.node(node).merge(key("k"), record(1, "old"));
        cluster.node(node).stalled = true;
    }
    let request = cluster.begin_get(1, "k", Consistency::Quorum);
    cluster.run();
    assert_eq!(cluster.read(request), None, "the write-back is not durable");
    let target = (2..=3).find(|&node| cluster.node(node).has_queued()).unwrap();
    cluster.sync(target);
    cluster.run();
    assert_eq!(cluster.read(request), Some(Ok(value("new"))));
    assert_eq!(cluster.held(target, "k"), Some(version(5, 9)), "under the version that was read");
}

#[test]
fn the_own_store_is_repaired_like_any_other() {
    let mut cluster = Cluster::new(3);
    for node in [2, 3] {
        cluster.node(node).merge(key("k"), record(5, "new"));
    }
    assert_eq!(cluster.get(1, "k"), Ok(value("new")));
    assert_eq!(cluster.held(1, "k"), Some(version(5, 9)));
}

#[test]
fn a_write_back_that_fails_goes_to_a_replica_that_was_not_asked() {
    let mut cluster = Cluster::new(3);
    cluster.node(1).merge(key("k"), record(5, "new"));
    let request = cluster.begin_get(1, "k", Consistency::Quorum);
    let first = asked(&cluster)[0];
    cluster.node(first).broken = Some(Failure::StorageFull);
    cluster.run();
    assert_eq!(cluster.read(request), Some(Ok(value("new"))));
    assert_eq!(cluster.held(5 - first, "k"), Some(version(5, 9)));
}

#[test]
fn a_read_whose_winner_no_majority_can_hold_fails() {
    let mut cluster = Cluster::new(3);
    cluster.node(1).merge(key("k"), record(5, "new"));
    for node in [2, 3] {
        cluster.node(node).broken = Some(Failure::StorageFull);
    }
    let failure = cluster.get(1, "k").unwrap_err();
    let (needed, got, outcome) = (2, 1, Outcome::Refused);
    assert_eq!(failure, Failure::QuorumTimeout { needed, got, outcome });
}

#[test]
fn at_level_one_the_answer_comes_at_once() {
    let mut cluster = Cluster::new(3);
    cluster.node(1).merge(key("k"), record(1, "old"));
    cluster.node(2).merge(key("k"), record(5, "new"));
    let request = cluster.begin_get(1, "k", Consistency::One);
    assert_eq!(cluster.read(request), Some(Ok(value("old"))));
    assert!(cluster.wire.is_empty());
}

#[test]
fn at_all_every_stale_replica_is_repaired() {
    let mut cluster = Cluster::new(3);
    for node in [1, 2] {
        cluster.node(node).merge(key("k"), record(5, "new"));
    }
    let request = cluster.begin_get(1, "k", Consistency::All);
    cluster.run();
    assert_eq!(cluster.read(request), Some(Ok(value("new"))));
    assert_eq!(cluster.held(3, "k"), Some(version(5, 9)));
    assert_eq!(cluster.node(1).shard.under_way(), 0);
}

#[test]
fn another_replica_is_asked_at_once_when_one_is_lost() {
    type Lose = fn(&mut Cluster, u32);
    let losses: [Lose; 3] = [
        |cluster, peer| cluster.cut(1, peer),
        |cluster, peer| {
            cluster.wire.clear();
            cluster.step(1, Event::Dead { peer: Ordinal(peer) });
        },
        |cluster, peer| {
            let Some(Message::Request { operation, .. }) = cluster.wire.pop_front() else {
                panic!("one is asked")
            };
            let answer = Err(Failure::Damaged { outcome: Outcome::Refused });
            let (from, reply) =
                (Ordinal(peer), ReplicaReply::Found { answer, floor: Hlc::default() });
            cluster.step(1, Event::Answered { from, operation, reply });
        },
    ];
    for lose in losses {
        let mut cluster = Cluster::new(3);
        let request = cluster.begin_get(1, "k", Consistency::Quorum);
        let first = asked(&cluster)[0];
        lose(&mut cluster, first);
        assert_eq!(asked(&cluster), [5 - first]);
        cluster.run();
        assert_eq!(cluster.read(request), Some(Ok(None)));
    }
}

#[test]
fn a_late_answer_makes_it_ask_a_further_replica() {
    let mut cluster = Cluster::new(3);
    let request = cluster.begin_get(1, "k", Consistency::Quorum);
    let lost = asked(&cluster)[0];
    cluster.wire.clear();
    let wake = cluster.node(1).shard.next_wake().unwrap();
    assert!(wake >= cluster.time + Duration::from_millis(1));
    assert!(wake < cluster.time + Duration::from_millis(50));
    cluster.time = wake;
    cluster.step(1, Event::Tick);
    assert_eq!(asked(&cluster), [5 - lost]);
    cluster.run();
    assert_eq!(cluster.read(request), Some(Ok(None)));
    cluster.begin_get(1, "k", Consistency::Quorum);
    assert_eq!(asked(&cluster), [5 - lost], "who is late is not asked first");
}

#[test]
fn a_late_stale_answer_is_repaired_in_the_background() {
    let mut cluster = Cluster::new(3);
    for node in [1, 2, 3] {
        cluster.node(node).merge(key("k"), record(1, "old"));
    }
    let request = cluster.begin_get(1, "k", Consistency::Quorum);
    let slow = cluster.wire.pop_front().unwrap();
    let (_, stale) = slow.ends();
    for node in [1, 5 - stale] {
        cluster.node(node).merge(key("k"), record(5, "new"));
    }
    cluster.time += Duration::from_millis(50);
    cluster.step(1, Event::Tick);
    cluster.run();
    // Its own store was read before the newer write came; the hedge saw that.
    assert_eq!(cluster.read(request), Some(Ok(value("new"))));
    cluster.wire.push_back(slow);
    cluster.run();
    assert_eq!(cluster.held(stale, "k"), Some(version(5, 9)));
    assert_eq!(cluster.node(1).shard.under_way(), 0);
}

/// Node 3 answers reads and its disk stands still; nodes 1 and 2 hold the key. The reads that asked node
/// 3 wait for it: they have sent it what it lacks.
fn waiting_for_a_stalled_disk(reads: usize) -> (Cluster, Vec<u64>) {
    let mut cluster = Cluster::new(3);
    for node in [1, 2] {
        cluster.node(node).merge(key("k"), record(5, "new"));
    }
    cluster.node(3).stalled = true;
    let requests: Vec<u64> =
        (0..reads).map(|_| cluster.begin_get(1, "k", Consistency::Quorum)).collect();
    cluster.run();
    let waiting: Vec<u64> =
        requests.into_iter().filter(|&request| cluster.read(request).is_none()).collect();
    assert!(!waiting.is_empty());
    (cluster, waiting)
}

#[test]
fn a_late_write_back_goes_to_a_further_replica_that_may_hold_the_winner_already() {
    let (mut cluster, waiting) = waiting_for_a_stalled_disk(2);
    let wake = cluster.node(1).shard.next_wake().unwrap();
    assert!(wake < cluster.time + Duration::from_millis(50));
    cluster.time = wake;
    cluster.step(1, Event::Tick);
    cluster.run();
    assert!(waiting.iter().all(|&request| cluster.read(request) == Some(Ok(value("new")))));
}

#[test]
fn without_a_budget_a_read_that_lacks_its_quorum_turns_to_a_further_replica_later() {
    let (mut cluster, waiting) = waiting_for_a_stalled_disk(2);
    while cluster.node(1).shard.hedge.spend().is_some() {}
    cluster.time = cluster.node(1).shard.next_wake().unwrap();
    cluster.step(1, Event::Tick);
    cluster.run();
    assert!(waiting.iter().all(|&request| cluster.read(request).is_none()), "no budget");
    cluster.pass(Duration::from_millis(50));
    assert!(waiting.iter().all(|&request| cluster.read(request) == Some(Ok(value("new")))));
}

/// So many reads that are answered while a late answer is outstanding, of a value of 4 MiB.
fn with_late_answers(cluster: &mut Cluster, reads: usize) {
    let large = "v".repeat(4 * 1024 * 1024);
    for node in [1, 2, 3] {
        cluster.node(node).merge(key("k"), record(5, &large));
    }
    for _ in 0..reads {
        let request = cluster.begin_get(1, "k", Consistency::Quorum);
        let first = asked(cluster)[0];
        cluster.wire.clear();
        cluster.time += Duration::from_millis(20);
        cluster.step(1, Event::Tick);
        assert_eq!(asked(cluster), [5 - first]);
        cluster.run();
        assert!(cluster.read(request).unwrap().is_ok());
    }
}

#[test]
fn answered_reads_that_wait_for_late_answers_are_bounded_by_their_bytes() {
    let mut cluster = Cluster::new(3);
    with_late_answers(&mut cluster, 20);
    let kept = cluster.node(1).shard.under_way();
    assert!((8..16).contains(&kept), "{kept} of 4 MiB each");
    cluster.pass(TIMEOUT);
    assert_eq!(cluster.node(1).shard.under_way(), 0);
    with_late_answers(&mut cluster, 10);
    assert_eq!(cluster.node(1).shard.under_way(), 10, "there is room again");
}

#[test]
fn no_answered_read_holds_up_a_stop() {
    let mut cluster = Cluster::new(3);
    with_late_answers(&mut cluster, 2);
    cluster.step(1, Event::Stop);
    assert_eq!(cluster.node(1).shard.under_way(), 0);
}

#[test]
fn a_late_answer_under_another_layout_makes_it_ask_a_further_replica() {
    let mut cluster = Cluster::new(4);
    let request = cluster.begin_get(4, "k", Consistency::Quorum);
    cluster.wire.clear();
    cluster.learn(&[1, 2, 3, 4], &layout(4, 2));
    let lost = asked(&cluster);
    assert_eq!(lost.len(), 2);
    cluster.wire.clear();
    cluster.time += Duration::from_millis(20);
    cluster.step(4, Event::Tick);
    let further = asked(&cluster);
    assert!(further.len() == 1 && !lost.contains(&further[0]), "{further:?} after {lost:?}");
    cluster.run();
    assert_eq!(cluster.read(request), None, "one of three");
    for replica in lost {
        cluster.cut(4, replica);
        cluster.link(4, replica);
    }
    cluster.run();
    assert_eq!(cluster.read(request), Some(Ok(None)));
}

/// From now on these are the node's marks of the key's partition.
fn mark(cluster: &mut Cluster, node: u32, marks: Marks) {
    let partition = KeyHash::of(&key("k"), 0).partition(layout(3, 1).shift());
    *cluster.node(node).shard.floors.entry(partition) = PartitionMarks::new(marks);
}

/// Full above every record here.
fn full_with(floor: u64) -> Marks {
    let above = Hlc::new(9, 0);
    Marks { floor: Hlc::new(floor, 0), full: above, closed: above, ..Marks::default() }
}

/// A read of node 1, which alone holds its winner; who is asked cannot store that. Gives who was not
/// asked, and is full at the winner with this floor.
fn with_a_full_replica_unasked(floor: u64) -> (Cluster, u64, u32) {
    let mut cluster = Cluster::new(3);
    cluster.node(1).merge(key("k"), record(5, "new"));
    let request = cluster.begin_get(1, "k", Consistency::Quorum);
    let first = asked(&cluster)[0];
    cluster.node(first).broken = Some(Failure::StorageFull);
    mark(&mut cluster, 5 - first, full_with(floor));
    (cluster, request, 5 - first)
}

#[test]
fn what_a_replica_tells_instead_of_a_write_back_is_no_slow_answer_to_the_read() {
    let (mut cluster, request, full) = with_a_full_replica_unasked(0);
    cluster.node(full).merge(key("k"), record(5, "new"));
    let slowness = |cluster: &mut Cluster| cluster.node(1).shard.peers.slowness(Ordinal(full));
    let before = slowness(&mut cluster);
    cluster.run();
    assert_eq!(cluster.read(request), Some(Ok(value("new"))), "two hold it");
    assert_eq!(slowness(&mut cluster), before);
    assert_eq!(cluster.node(1).shard.under_way(), 0, "nothing more is waited for");
}

#[test]
fn an_absence_at_a_floor_that_is_told_instead_of_a_write_back_covers_the_winner() {
    let (mut cluster, request, _) = with_a_full_replica_unasked(5);
    cluster.run();
    assert_eq!(cluster.read(request), Some(Ok(None)));
}

#[test]
fn a_write_back_refused_by_one_that_was_not_asked_is_waited_for_no_longer() {
    let (mut cluster, request, _) = with_a_full_replica_unasked(0);
    cluster.run();
    let (needed, got, outcome) = (2, 1, Outcome::Refused);
    assert_eq!(cluster.read(request), Some(Err(Failure::QuorumTimeout { needed, got, outcome })));
}

#[test]
fn the_own_store_claims_its_floor_where_it_was_not_asked_and_takes_no_write_back() {
    let mut cluster = Cluster::new(3);
    cluster.node(2).merge(key("k"), record(5, "new"));
    mark(&mut cluster, 1, EMPTIED);
    let request = cluster.begin_get(1, "k", Consistency::Quorum);
    assert_eq!(asked(&cluster).len(), 2, "it awaits `closed` itself");
    mark(&mut cluster, 1, full_with(5));
    cluster.node(3).broken = Some(Failure::StorageFull);
    cluster.run();
    assert_eq!(cluster.read(request), Some(Ok(None)));
}
