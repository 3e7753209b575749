//! What damage does to marks, and marks to healing, among whole shards.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_model::{
    Body, Command, Damage, Failure, Hlc, Marks, Ordinal, Record, ReplicaReply, ReplicaRequest,
    Version,
};
use paravon_ring::{KeyHash, Partition};

use crate::event::Event;
use crate::test_cluster::{Cluster, START_MS, key, layout, record};
use crate::test_node::Queued;

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any request, and some rounds of comparisons and of telling marks.
const CYCLE: Duration = Duration::from_secs(150);

fn partition_of(name: &str) -> Partition {
    KeyHash::of(&key(name), 0).partition(layout(3, 1).shift())
}

fn floor(cluster: &Cluster, node: u32) -> Hlc {
    cluster.nodes[node as usize - 1].shard.floor_of(partition_of("k"))
}

fn full(cluster: &Cluster, node: u32) -> Hlc {
    let marks = cluster.nodes[node as usize - 1].shard.floors.get(partition_of("k"));
    marks.map(|marks| marks.durable_full()).unwrap_or_default()
}

/// Another key of the partition of "k".
fn beside() -> String {
    let mut names = (0..1000).map(|number| format!("beside-{number}"));
    names.find(|name| partition_of(name) == partition_of("k")).expect("one of so many")
}

fn now_damaged(cluster: &mut Cluster, node: u32, name: &str) {
    cluster.node(node).damaged.insert(key(name));
    let event = cluster.node(node).mark(&key(name)).expect("it is new");
    cluster.step(node, event);
}

/// Another member has it damaged, too: nothing heals before that is accepted.
fn damaged_for_good(cluster: &mut Cluster, name: &str) {
    now_damaged(cluster, 1, name);
    now_damaged(cluster, 2, name);
}

fn accept_loss(cluster: &mut Cluster, node: u32, name: &str) {
    let hash = KeyHash::of(&key(name), 0);
    let partition = partition_of(name);
    cluster.step(node, Event::AcceptLoss { partition, key: Some((hash, key(name))) });
    cluster.run();
}

fn gone(cluster: &Cluster, name: &str) -> bool {
    (1..=3).all(|node| cluster.held(node, name).is_none())
}

/// Three members of which one key is deleted.
fn deleted() -> (Cluster, Version) {
    let mut cluster = Cluster::new(3);
    cluster.put(1, &beside(), "lives").unwrap();
    cluster.put(1, "k", "v").unwrap();
    let deleted = cluster.delete(1, "k").unwrap();
    cluster.run();
    (cluster, deleted)
}

/// The same when the delete has gone.
fn dropped() -> (Cluster, Version) {
    let (mut cluster, deleted) = deleted();
    cluster.pass(CYCLE);
    assert!(gone(&cluster, "k") && (1..=3).all(|node| floor(&cluster, node) >= deleted.hlc));
    (cluster, deleted)
}

#[test]
fn a_damaged_key_holds_up_every_full_and_floor_until_it_is_healed() {
    let (mut cluster, deleted) = deleted();
    let name = beside();
    damaged_for_good(&mut cluster, &name);
    cluster.pass(CYCLE * 2);
    assert!((1..=3).all(|node| full(&cluster, node) < deleted.hlc));
    assert!((1..=3).all(|node| cluster.held(node, "k") == Some(deleted)));
    accept_loss(&mut cluster, 1, &name);
    cluster.pass(CYCLE * 3);
    assert!(gone(&cluster, "k"));
    assert!((1..=3).all(|node| cluster.held(node, &name).is_some()), "member 3 could tell");
}

#[test]
fn a_member_that_cannot_tell_all_of_a_partition_is_not_pulled_completely() {
    let (mut cluster, deleted) = deleted();
    let closed = |cluster: &Cluster| {
        let marks = |node: u32| cluster.nodes[node as usize - 1].marks.get(&partition_of("k"));
        (1..=3).all(|node| marks(node).is_some_and(|marks| marks.closed >= deleted.hlc))
    };
    while !closed(&cluster) {
        cluster.pass(SECOND);
    }
    assert!((1..=3).all(|node| full(&cluster, node) < deleted.hlc), "it is only closed");
    damaged_for_good(&mut cluster, &beside());
    cluster.pass(CYCLE);
    assert!(full(&cluster, 3) < deleted.hlc);
    accept_loss(&mut cluster, 1, &beside());
    cluster.pass(CYCLE * 2);
    assert!(gone(&cluster, "k"));
}

#[test]
fn a_member_that_cannot_tell_all_of_a_partition_is_not_listed_again_at_once() {
    let (mut cluster, _) = deleted();
    while !cluster.node(3).shard.is_filling(partition_of("k")) {
        cluster.pass(SECOND);
    }
    damaged_for_good(&mut cluster, &beside());
    cluster.pass(60 * SECOND);
    let before = cluster.node(1).scanned;
    cluster.pass(70 * SECOND);
    let listings = cluster.node(1).scanned - before;
    assert!((1..20).contains(&listings), "{listings}");
}

#[test]
fn what_lies_below_the_floor_stays_where_this_node_is_damaged() {
    let (mut cluster, deleted) = dropped();
    let name = beside();
    let tombstone = Record { version: deleted, expires_ms: None, body: Body::Tombstone };
    cluster.node(1).merge(key("k"), tombstone);
    for node in [1, 2] {
        cluster.node(node).marked.insert(key(&name));
        cluster.restart(node, &layout(3, 1));
    }
    [(1, 2), (1, 3), (2, 3)].into_iter().for_each(|(one, other)| cluster.link(one, other));
    cluster.pass(CYCLE);
    assert_eq!(cluster.held(1, "k"), Some(deleted), "every partition was looked through by now");
    accept_loss(&mut cluster, 1, &name);
    cluster.pass(SECOND);
    assert_eq!(cluster.held(1, "k"), None);
}

#[test]
fn a_damaged_replica_claims_no_floor_in_its_answers() {
    let (mut cluster, deleted) = dropped();
    let name = beside();
    let ask = |cluster: &mut Cluster, name: &str| {
        let command = Command::Read { key: key(name) };
        let fence = cluster.node(2).shard.layout.fence();
        let request = ReplicaRequest { fence, time_left: SECOND, command };
        match cluster.answers_to(1, 2, KeyHash::of(&key(name), 0), request) {
            ReplicaReply::Found { answer, floor } => (answer, floor),
            other => panic!("{other:?}"),
        }
    };
    assert!(ask(&mut cluster, "k").1 >= deleted.hlc);
    now_damaged(&mut cluster, 2, &name);
    assert_eq!(ask(&mut cluster, "k"), (Ok(None), Hlc::ZERO), "of the other keys neither");
    let (answer, floor) = ask(&mut cluster, &name);
    assert!(matches!(answer, Err(Failure::Damaged { .. })) && floor == Hlc::ZERO);
    cluster.pass(MAX_REQUEST_TIMEOUT + SECOND);
    assert!(ask(&mut cluster, "k").1 >= deleted.hlc, "it is healed");
    assert!(ask(&mut cluster, &name).0.is_ok_and(|found| found.is_some()));
}

#[test]
fn a_key_that_is_healed_below_the_own_floor_comes_back_where_it_lives() {
    let (mut cluster, _) = dropped();
    let name = beside();
    let lives = cluster.held(1, &name).expect("it was put");
    assert!(lives.hlc <= floor(&cluster, 1) && lives.hlc <= full(&cluster, 1));
    now_damaged(&mut cluster, 1, &name);
    cluster.pass(MAX_REQUEST_TIMEOUT + SECOND);
    assert_eq!(cluster.node(1).shard.damage().keys, 0);
    assert_eq!(cluster.held(1, &name), Some(lives), "although nothing else enters there");
}

#[test]
fn a_key_whose_delete_has_gone_elsewhere_is_healed_with_nothing() {
    let (mut cluster, deleted) = dropped();
    let tombstone = Record { version: deleted, expires_ms: None, body: Body::Tombstone };
    cluster.node(1).merge(key("k"), tombstone);
    now_damaged(&mut cluster, 1, "k");
    cluster.pass(MAX_REQUEST_TIMEOUT + SECOND);
    assert_eq!((cluster.node(1).shard.damage().keys, cluster.held(1, "k")), (0, None));
    assert!(floor(&cluster, 1) >= deleted.hlc);
    assert_eq!(cluster.get(1, "k"), Ok(None));
}

/// A start of a node whose file is gone, although what it remembers of its partitions is not.
fn lose(cluster: &mut Cluster, node: u32) {
    let state = cluster.node(node);
    for number in 0..layout(3, 1).shift().partitions() {
        state.marks.entry(Partition(number)).or_default().damage = Damage::Lost;
    }
    state.stored.clear();
    cluster.restart(node, &layout(3, 1));
    (1..=3).filter(|peer| *peer != node).for_each(|peer| cluster.link(node, peer));
}

#[test]
fn a_lost_partition_gets_back_what_it_is_full_at_and_keeps_its_marks() {
    let (mut cluster, _) = dropped();
    let before = cluster.node(1).marks[&partition_of("k")];
    let name = beside();
    lose(&mut cluster, 1);
    cluster.pass(MAX_REQUEST_TIMEOUT + 20 * SECOND);
    assert_eq!(cluster.node(1).shard.damage().partitions, 0);
    assert!(cluster.held(1, &name).is_some(), "although it is full above it");
    assert!(cluster.held(1, "k").is_none());
    assert_eq!(cluster.node(1).marks[&partition_of("k")], before);
}

#[test]
fn nothing_is_restored_before_the_others_know_that_it_is_full_at_nothing() {
    let (mut cluster, _) = dropped();
    cluster.cut(1, 2);
    cluster.cut(1, 3);
    lose(&mut cluster, 1);
    cluster.step(1, Event::Tick);
    cluster.time += MAX_REQUEST_TIMEOUT;
    for _ in 0..4 {
        cluster.time += SECOND;
        (1..=3).for_each(|node| cluster.step(node, Event::Tick));
        cluster.run();
        let known = |node: u32| {
            let marks = cluster.nodes[node as usize - 1].shard.floors.get(partition_of("k"));
            marks.is_some_and(|marks| marks.heard_of(Ordinal(1)).full == Hlc::ZERO)
        };
        let all_know = known(2) && known(3);
        assert!(all_know || cluster.nodes[0].stored.is_empty());
    }
    cluster.pass(20 * SECOND);
    assert_eq!(cluster.node(1).shard.damage().partitions, 0);
    assert!(cluster.held(1, &beside()).is_some());
}

#[test]
fn a_member_whose_own_stores_have_not_ended_is_closed_nowhere_for_the_others() {
    let (mut cluster, deleted) = deleted();
    cluster.node(3).stalled = true;
    cluster.pass(CYCLE);
    assert!((1..=3).all(|node| full(&cluster, node) < deleted.hlc));
    let own = cluster.node(3).shard.floors.get(partition_of("k")).map(|marks| marks.closed());
    assert!(own.is_some_and(|closed| closed >= deleted.hlc), "it refuses all the same");
    cluster.node(3).stalled = false;
    cluster.pass(CYCLE);
    assert!(gone(&cluster, "k"));
}

/// All are closed at a time; the first is full there and, like the second, which is away, holds a record
/// that the third has missed.
fn missed() -> Cluster {
    let (mut cluster, closed) = (Cluster::new(3), Hlc::new(START_MS + 1, 0));
    for node in 1..=3 {
        if node != 3 {
            cluster.node(node).merge(key("k"), record(START_MS, "acknowledged"));
        }
        let full = if node == 1 { closed } else { Hlc::ZERO };
        let marks = Marks { full, closed, ..Marks::default() };
        cluster.node(node).marks.insert(partition_of("k"), marks);
        cluster.restart(node, &layout(3, 1));
    }
    cluster.link(1, 3);
    cluster
}

/// The loss is accepted by now, and the member that was away is back.
fn comes_back(cluster: &mut Cluster) {
    cluster.pass(MAX_REQUEST_TIMEOUT + 20 * SECOND);
    let damages = cluster.node(1).shard.damage();
    assert_eq!((damages.keys, damages.partitions, cluster.held(1, "k")), (0, 0, None));
    assert_eq!(full(cluster, 1), Hlc::ZERO, "it holds no more than what the others told");
    cluster.link(1, 2);
    cluster.link(2, 3);
    cluster.pass(CYCLE);
    assert!((1..=3).all(|node| cluster.held(node, "k").is_some()));
    assert!((1..=3).all(|node| floor(cluster, node) == Hlc::new(START_MS + 1, 0)));
}

#[test]
fn after_an_accepted_loss_of_a_key_what_a_silent_member_holds_comes_in() {
    let mut cluster = missed();
    now_damaged(&mut cluster, 1, "k");
    accept_loss(&mut cluster, 1, "k");
    comes_back(&mut cluster);
}

#[test]
fn after_an_accepted_loss_of_a_partition_what_a_silent_member_holds_comes_in() {
    let mut cluster = missed();
    let partition = partition_of("k");
    let state = cluster.node(1);
    state.stored.clear();
    state.marks.entry(partition).or_default().damage = Damage::Lost;
    cluster.restart(1, &layout(3, 1));
    cluster.link(1, 3);
    cluster.step(1, Event::AcceptLoss { partition, key: None });
    comes_back(&mut cluster);
}

#[test]
fn the_floor_of_an_absence_is_durable_before_the_key_is_healed_with_it() {
    let (mut cluster, deleted) = dropped();
    let marks = cluster.node(1).marks[&partition_of("k")];
    let behind = Marks { floor: Hlc::ZERO, ..marks };
    cluster.node(1).marks.insert(partition_of("k"), behind);
    cluster.node(1).damaged.insert(key("k"));
    cluster.node(1).marked.insert(key("k"));
    cluster.restart(1, &layout(3, 1));
    cluster.link(1, 2);
    cluster.link(1, 3);
    cluster.node(1).stalled = true;
    cluster.pass(MAX_REQUEST_TIMEOUT + SECOND);
    let queued: Vec<_> = cluster.node(1).queued.iter().cloned().collect();
    let [Queued::Marks { marks, .. }] = &queued[..] else { panic!("{queued:?}") };
    assert!(marks.floor >= deleted.hlc);
    cluster.node(1).stalled = false;
    cluster.run();
    assert_eq!(cluster.node(1).shard.damage().keys, 0);
}
