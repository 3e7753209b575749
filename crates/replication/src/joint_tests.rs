//! While a change of layout is under way: who is asked, who must have a write, who gets a hint.

use alloc::vec::Vec;

use paravon_model::{Command, Consistency, Failure, NodeId, Ordinal, Purpose, Value};
use paravon_ring::KeyHash;

use crate::event::{Effect, Event};
use crate::test_cluster::{
    Cluster, Message, START_MS, TIMEOUT, joint, key, layout, record, version,
};

/// Four nodes; the fourth is to take the place of the third.
fn one_moves() -> Cluster {
    Cluster::of(4, &joint(&[1, 2, 3], &[1, 2, 4], 2))
}

/// Six nodes; the last three are to take the places of the first three.
fn all_move() -> Cluster {
    Cluster::of(6, &joint(&[1, 2, 3], &[4, 5, 6], 2))
}

/// Whom requests of this kind are on their way to, in order.
fn targets(cluster: &Cluster, wanted: impl Fn(&Command) -> bool) -> Vec<u32> {
    let target = |message: &Message| match message {
        Message::Request { to, request, .. } if wanted(&request.command) => Some(*to),
        _ => None,
    };
    let mut targets: Vec<u32> = cluster.wire.iter().filter_map(target).collect();
    targets.sort_unstable();
    targets
}

fn asked(cluster: &Cluster) -> Vec<u32> {
    targets(cluster, |command| matches!(command, Command::Read { .. }))
}

fn sent(cluster: &Cluster, wanted: Purpose) -> Vec<u32> {
    targets(
        cluster,
        |command| matches!(command, Command::Store { purpose, .. } if *purpose == wanted),
    )
}

fn value(text: &str) -> Option<Value> {
    Some(Value::bytes(text.as_bytes()))
}

#[test]
fn a_write_goes_to_both_sets_and_needs_a_majority_of_each() {
    let mut cluster = one_moves();
    for node in [2, 4] {
        cluster.node(node).stalled = true;
    }
    let request = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    assert_eq!(sent(&cluster, Purpose::Write), [2, 3, 4]);
    cluster.run();
    assert_eq!(cluster.written(request), None, "two of the current set and one of the next");
    cluster.sync(4);
    cluster.run();
    assert!(cluster.written(request).unwrap().is_ok());
}

#[test]
fn a_member_of_both_sets_makes_moving_one_of_three_cost_nothing() {
    let mut cluster = one_moves();
    cluster.put(1, "k", "v").unwrap();
    for _ in 0..4 {
        let request = cluster.begin_get(1, "k", Consistency::Quorum);
        assert_eq!(asked(&cluster), [2], "it is of both sets, and so is this node");
        cluster.run();
        assert_eq!(cluster.read(request), Some(Ok(value("v"))));
    }
}

#[test]
fn a_read_asks_further_replicas_where_a_set_lacks_one() {
    let mut cluster = one_moves();
    let request = cluster.begin_get(1, "k", Consistency::Quorum);
    cluster.cut(1, 2);
    assert_eq!(asked(&cluster), [3, 4], "one of each set in its place");
    cluster.cut(1, 4);
    assert_eq!(asked(&cluster), [3]);
    cluster.run();
    assert_eq!(cluster.read(request), None, "one of the next set");
    cluster.link(1, 4);
    assert_eq!(asked(&cluster), [4]);
    cluster.run();
    assert_eq!(cluster.read(request), Some(Ok(None)));
}

#[test]
fn a_late_answer_is_made_good_only_in_the_set_that_lacks_it() {
    let mut cluster = all_move();
    let request = cluster.begin_get(1, "k", Consistency::Quorum);
    let first = asked(&cluster);
    let (current, next) = (first[0], &first[1..]);
    assert!(current <= 3 && next.len() == 2 && next.iter().all(|&member| member > 3), "{first:?}");
    let late = next[0];
    cluster.wire.retain(|message| message.ends() != (1, late));
    cluster.run();
    assert_eq!(cluster.read(request), None);
    cluster.time = cluster.node(1).shard.next_wake().unwrap();
    cluster.step(1, Event::Tick);
    let further = asked(&cluster);
    assert!(further.len() == 1 && further[0] > 3 && !next.contains(&further[0]), "{further:?}");
    cluster.run();
    assert_eq!(cluster.read(request), Some(Ok(None)));
}

#[test]
fn before_the_answer_a_majority_of_each_set_holds_the_winner() {
    let mut cluster = all_move();
    for node in [1, 2, 3] {
        cluster.node(node).merge(key("k"), record(5, "new"));
    }
    for node in [4, 5, 6] {
        cluster.node(node).stalled = true;
    }
    let request = cluster.begin_get(1, "k", Consistency::Quorum);
    cluster.run();
    assert_eq!(cluster.read(request), None, "no write-back is durable");
    let told: Vec<u32> = (4..=6).filter(|&node| cluster.node(node).has_queued()).collect();
    assert_eq!(told.len(), 2, "as many as a majority lacks");
    cluster.sync(told[0]);
    cluster.run();
    assert_eq!(cluster.read(request), None, "one of three");
    cluster.sync(told[1]);
    cluster.run();
    assert_eq!(cluster.read(request), Some(Ok(value("new"))));
    assert!(told.iter().all(|&node| cluster.held(node, "k") == Some(version(5, 9))));
}

#[test]
fn a_read_finds_what_only_the_next_set_has() {
    let mut cluster = all_move();
    for node in [4, 5] {
        cluster.node(node).merge(key("k"), record(5, "new"));
    }
    assert_eq!(cluster.get(1, "k"), Ok(value("new")));
    let current = (1..=3).filter(|&node| cluster.held(node, "k").is_some()).count();
    assert!(current >= 2, "and it is on a majority of the current one now");
}

#[test]
fn a_set_without_enough_members_alive_makes_the_key_unavailable() {
    let mut cluster = one_moves();
    for peer in [2, 4] {
        cluster.step(1, Event::Dead { peer: Ordinal(peer) });
    }
    let down = ["node-2", "node-4"].map(|name| NodeId::new(name).unwrap()).into();
    let next = Failure::QuorumUnavailable { needed: 2, alive: 1, down };
    assert_eq!(cluster.put(1, "k", "v"), Err(next.clone()));
    assert_eq!(cluster.get(1, "k"), Err(next), "the current set has two");
    cluster.step(1, Event::Alive { peer: Ordinal(4) });
    cluster.link(1, 4);
    assert!(cluster.put(1, "k", "v").is_ok());
}

#[test]
fn a_number_of_replicas_that_one_set_does_not_have_is_unavailable() {
    let mut cluster = Cluster::of(3, &joint(&[1], &[1, 2, 3], 2));
    let request = cluster.begin_put(1, "k", "v", Consistency::Count(2));
    let unavailable = Failure::QuorumUnavailable { needed: 2, alive: 1, down: Vec::new() };
    assert_eq!(cluster.written(request), Some(Err(unavailable)));
    for level in [Consistency::One, Consistency::Quorum, Consistency::All] {
        let request = cluster.begin_put(1, "k", "v", level);
        cluster.run();
        assert!(cluster.written(request).unwrap().is_ok());
    }
}

#[test]
fn a_node_that_leaves_and_one_that_comes_coordinate() {
    let mut cluster = one_moves();
    for node in [3, 4] {
        let version = cluster.put(node, "k", "v").unwrap();
        assert_eq!(cluster.get(node, "k"), Ok(value("v")));
        assert!((1..=4).all(|replica| cluster.held(replica, "k") == Some(version)));
    }
    // One that has gone does not.
    cluster.learn(&[1, 2, 3, 4], &layout(2, 3));
    assert_eq!(cluster.put(3, "k", "v"), Err(Failure::NotReady));
}

#[test]
fn a_dead_member_of_either_set_gets_a_hint() {
    for dead in [3, 4] {
        let mut cluster = one_moves();
        cluster.step(1, Event::Dead { peer: Ordinal(dead) });
        cluster.put(1, "k", "v").unwrap();
        assert_eq!(cluster.hinted(1, dead), 1);
        cluster.step(1, Event::Alive { peer: Ordinal(dead) });
        cluster.run();
        assert_eq!(cluster.hinted(1, dead), 0);
        assert!(cluster.held(dead, "k").is_some());
    }
}

#[test]
fn a_hint_whose_target_is_in_neither_set_goes_to_all_members_of_both() {
    let mut cluster = Cluster::of(5, &joint(&[1, 2, 3], &[1, 2, 4], 2));
    let name = key("k");
    let hash = KeyHash::of(&name, 0);
    let gone = (Ordinal(5), hash, name);
    cluster.node(1).hints.insert(gone, record(START_MS, "v"));
    let hint = crate::event::Hint { hash, key: key("k"), record: record(START_MS, "v") };
    let (target, now) = (Ordinal(5), cluster.now(1));
    cluster.node(1).shard.handoffs.kept(now.monotonic, target);
    cluster.node(4).stalled = true;
    cluster.pass(TIMEOUT);
    assert_eq!(cluster.hinted(1, 5), 1, "one of them has not confirmed it");
    cluster.node(4).stalled = false;
    cluster.pass(TIMEOUT);
    assert_eq!(cluster.hinted(1, 5), 0);
    let version = hint.record.version;
    assert!((1..=4).all(|node| cluster.held(node, "k") == Some(version)));
}

#[test]
fn a_second_stamp_outlives_a_change_of_layout() {
    let mut cluster = Cluster::of(4, &layout(3, 1));
    let newer = cluster.now(1).wall_ms + 20;
    for node in [1, 2, 3] {
        cluster.node(node).merge(key("k"), record(newer, "newer"));
    }
    let request = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    // Node 2 answers the first stamp, and the second one goes out.
    cluster.cut(1, 3);
    while cluster.node(1).has_queued() || !cluster.wire.is_empty() {
        cluster.sync(1);
        if let Some(message) = cluster.wire.pop_front() {
            cluster.deliver(message);
        }
        if sent(&cluster, Purpose::Write) == [2] && cluster.node(1).has_queued() {
            break;
        }
        cluster.sync(2);
    }
    let second = cluster.wire.iter().find_map(|message| match message {
        Message::Request { request, .. } => match &request.command {
            Command::Store { record, .. } => Some(record.version),
            _ => None,
        },
        Message::Reply { .. } => None,
    });
    let second = second.unwrap();
    assert!(second > version(newer, 9));
    cluster.wire.clear();
    cluster.link(1, 3);
    cluster.wire.clear();
    cluster.learn(&[4, 3, 2, 1], &joint(&[1, 2, 3], &[1, 2, 4], 2));
    cluster.run();
    assert_eq!(cluster.written(request), Some(Ok(second)));
    assert!((1..=4).all(|node| cluster.held(node, "k") == Some(second)));
}

#[test]
fn a_coordinator_that_does_not_know_of_the_change_meets_a_refusal() {
    let mut cluster = Cluster::of(4, &layout(3, 1));
    let change = joint(&[1, 2, 3], &[1, 2, 4], 2);
    cluster.learn(&[2, 3, 4], &change);
    let put = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    let get = cluster.begin_get(1, "k", Consistency::Quorum);
    cluster.run();
    assert_eq!((cluster.written(put), cluster.read(get)), (None, None));
    let document = change.document().clone();
    assert!(cluster.said.contains(&(1, Effect::Learn { document })));
    assert_eq!(cluster.held(4, "k"), None);
    cluster.learn(&[1], &change);
    cluster.run();
    assert!(cluster.written(put).unwrap().is_ok() && cluster.read(get).unwrap().is_ok());
    assert!(cluster.held(4, "k").is_some());
}

#[test]
fn after_the_end_a_coordinator_that_still_writes_to_both_sets_meets_a_refusal() {
    let mut cluster = one_moves();
    let end = layout(2, 3);
    cluster.learn(&[2], &end);
    let request = cluster.begin_put(1, "k", "v", Consistency::All);
    cluster.run();
    assert_eq!(cluster.written(request), None);
    cluster.learn(&[1], &end);
    cluster.run();
    assert!(cluster.written(request).unwrap().is_ok());
}
