//! Writes and hints at or below `closed` of a replica that is damaged there.

use core::time::Duration;

use paravon_model::{
    Command, Consistency, Failure, Hlc, Marks, Merged, Outcome, Purpose, Record, ReplicaReply,
    ReplicaRequest,
};
use paravon_ring::KeyHash;

use crate::event::Event;
use crate::marks::PartitionMarks;
use crate::test_cluster::{Cluster, START_MS, key, layout, record};

/// Three members, one of which is closed at that time. It has the key marked damaged, although another
/// record was stored over what cannot be read.
fn closed_and_damaged(number: u32, closed: Hlc) -> Cluster {
    let mut cluster = Cluster::new(3);
    let hash = KeyHash::of(&key("k"), 0);
    let partition = hash.partition(layout(3, 1).shift());
    let node = cluster.node(number);
    let marks = Marks { closed, ..Marks::default() };
    *node.shard.floors.entry(partition) = PartitionMarks::new(marks);
    node.marked.insert(key("k"));
    cluster.step(number, Event::Damaged { hash, key: key("k") });
    cluster
}

/// What node 2 answers to a record of another coordinator.
fn store(cluster: &mut Cluster, record: Record, purpose: Purpose) -> Result<Merged, Failure> {
    let fence = cluster.node(2).shard.layout.fence();
    let command = Command::Store { key: key("k"), record, purpose };
    let request = ReplicaRequest { fence, time_left: Duration::from_secs(1), command };
    match cluster.answers_to(1, 2, KeyHash::of(&key("k"), 0), request) {
        ReplicaReply::Stored { answer, .. } => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_replica_neither_acknowledges_nor_refuses_a_write_below_closed() {
    let mut cluster = closed_and_damaged(2, Hlc::new(9, 0));
    let (held, other) = (record(5, "held"), record(6, "other"));
    cluster.node(2).merge(key("k"), held.clone());
    let damaged = Err(Failure::Damaged { outcome: Outcome::Unknown });
    for late in [&held, &other] {
        assert_eq!(store(&mut cluster, late.clone(), Purpose::Write), damaged);
    }
    assert_eq!(store(&mut cluster, held, Purpose::Hint), Ok(Merged::Applied), "it never counts");
    let refused = store(&mut cluster, other, Purpose::Hint);
    assert!(matches!(refused, Ok(Merged::BelowFloor { .. })), "{refused:?}");
}

#[test]
fn a_write_takes_no_second_stamp_for_what_its_own_damaged_replica_refuses() {
    let cluster = Cluster::new(3);
    let soon = START_MS + u64::try_from(cluster.time.as_millis()).unwrap() + 100;
    let mut cluster = closed_and_damaged(1, Hlc::new(soon, 0));
    cluster.cut(1, 3);
    let request = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    cluster.run();
    let first = cluster.held(2, "k").expect("member 2 took it");
    assert!(first.hlc < Hlc::new(soon, 0), "a second stamp would lie above the mark");
    assert_eq!(cluster.written(request), None, "one of three has acknowledged it");
}
