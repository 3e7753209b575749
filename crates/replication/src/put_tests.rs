//! Writes over three replicas: who is sent what, when the client is answered, who gets a hint.

use core::time::Duration;

use paravon_model::{Command, Consistency, Failure, NodeId, Ordinal, Outcome, Purpose};

use crate::event::{Effect, Event};
use crate::test_cluster::{Cluster, Message, TIMEOUT, key, record};

const OVERLOADED: Failure = Failure::Overloaded { retry_after_ms: 20 };

fn first_copies(cluster: &Cluster) -> usize {
    let write = |message: &&Message| {
        matches!(message, Message::Request { request, .. }
            if matches!(request.command, Command::Store { purpose: Purpose::Write, .. }))
    };
    cluster.wire.iter().filter(write).count()
}

#[test]
fn a_write_goes_to_every_replica_and_is_answered_by_a_majority() {
    let mut cluster = Cluster::new(3);
    cluster.node(3).stalled = true;
    let version = cluster.put(1, "k", "v").unwrap();
    assert_eq!((cluster.held(1, "k"), cluster.held(2, "k")), (Some(version), Some(version)));
    assert_eq!(cluster.held(3, "k"), None, "its disk stands still");
    assert!(cluster.node(1).shard.under_way() > 0, "it goes on for the third");
    cluster.node(3).stalled = false;
    cluster.run();
    assert_eq!(cluster.held(3, "k"), Some(version));
    assert_eq!((cluster.node(1).shard.under_way(), cluster.hinted(1, 3)), (0, 0));
}

#[test]
fn nothing_is_acknowledged_before_the_disk_has_it() {
    let mut cluster = Cluster::new(3);
    for node in 1..=3 {
        cluster.node(node).stalled = true;
    }
    let request = cluster.begin_put(1, "k", "v", Consistency::One);
    cluster.run();
    assert_eq!(cluster.written(request), None);
    cluster.sync(1);
    assert!(cluster.written(request).unwrap().is_ok());
}

#[test]
fn a_node_that_stores_nothing_of_it_coordinates_all_the_same() {
    let mut cluster = Cluster::new(4);
    let version = cluster.put(4, "k", "v").unwrap();
    assert_eq!((cluster.held(1, "k"), cluster.held(4, "k")), (Some(version), None));
    assert!(cluster.get(4, "k").unwrap().is_some());
}

#[test]
fn a_replica_without_a_link_is_sent_the_write_when_it_has_one() {
    let mut cluster = Cluster::new(3);
    cluster.cut(1, 2);
    cluster.cut(1, 3);
    let request = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    cluster.run();
    assert_eq!(cluster.written(request), None);
    cluster.link(1, 3);
    cluster.run();
    assert!(cluster.written(request).unwrap().is_ok());
}

#[test]
fn a_broken_link_loses_the_answer_and_the_write_is_sent_again() {
    let mut cluster = Cluster::new(3);
    let request = cluster.begin_put(1, "k", "v", Consistency::All);
    assert_eq!(first_copies(&cluster), 2);
    cluster.cut(1, 2);
    cluster.run();
    assert_eq!(cluster.written(request), None);
    cluster.link(1, 2);
    cluster.run();
    assert!(cluster.written(request).unwrap().is_ok());
}

#[test]
fn with_too_few_replicas_alive_nothing_is_sent() {
    let mut cluster = Cluster::new(3);
    cluster.step(1, Event::Dead { peer: Ordinal(2) });
    cluster.step(1, Event::Dead { peer: Ordinal(3) });
    let dead = ["node-2", "node-3"].map(|name| NodeId::new(name).unwrap());
    for failure in [cluster.put(1, "k", "v").unwrap_err(), cluster.get(1, "k").unwrap_err()] {
        let Failure::QuorumUnavailable { needed: 2, alive: 1, mut down } = failure else {
            panic!("{failure:?}");
        };
        down.sort();
        assert_eq!(down, dead);
    }
    assert_eq!(cluster.held(1, "k"), None);
}

#[test]
fn refused_is_said_only_where_every_copy_sent_was_refused_and_none_was_sent_twice() {
    let refusing = || {
        let mut cluster = Cluster::new(3);
        (1..=3).for_each(|node| cluster.node(node).broken = Some(OVERLOADED));
        cluster
    };
    let mut cluster = refusing();
    let request = cluster.begin_put(1, "k", "v", Consistency::All);
    assert_eq!(cluster.written(request), None, "the other two will decide how it failed");
    cluster.run();
    assert_eq!(cluster.written(request), Some(Err(OVERLOADED)));

    let mut cluster = refusing();
    cluster.node(1).broken = None;
    cluster.node(1).stalled = true;
    let request = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    cluster.pass(TIMEOUT);
    assert_eq!(cluster.outcome(request), Some(Outcome::Unknown), "its own store may have it");

    let mut cluster = refusing();
    cluster.cut(1, 2);
    cluster.cut(1, 3);
    let request = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    cluster.pass(TIMEOUT);
    assert_eq!(cluster.outcome(request), Some(Outcome::Refused), "the others were never sent it");

    let mut cluster = refusing();
    cluster.cut(1, 3);
    let request = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    cluster.cut(1, 2);
    cluster.link(1, 2);
    cluster.pass(TIMEOUT);
    assert_eq!(cluster.outcome(request), Some(Outcome::Unknown), "two copies went to one");
}

#[test]
fn a_dead_replica_gets_a_hint_as_soon_as_the_write_is_answered() {
    let mut cluster = Cluster::new(3);
    cluster.step(1, Event::Dead { peer: Ordinal(3) });
    let request = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    assert_eq!((first_copies(&cluster), cluster.hinted(1, 3)), (1, 0));
    cluster.run();
    assert!(cluster.written(request).unwrap().is_ok());
    assert_eq!((cluster.hinted(1, 3), cluster.node(1).shard.under_way()), (1, 0));
    assert!(cluster.node(1).shard.hints_waiting(Ordinal(3)));
}

#[test]
fn a_replica_that_has_not_acknowledged_gets_a_hint_when_it_dies_at_a_stop_or_at_the_deadline() {
    for ends in [Some(Event::Dead { peer: Ordinal(3) }), Some(Event::Stop), None] {
        let mut cluster = Cluster::new(3);
        cluster.node(3).stalled = true;
        cluster.put(1, "k", "v").unwrap();
        assert_eq!(cluster.hinted(1, 3), 0);
        match ends {
            Some(event) => cluster.step(1, event),
            None => cluster.pass(TIMEOUT),
        }
        assert_eq!(cluster.hinted(1, 3), 1);
    }
}

#[test]
fn a_replica_that_refused_gets_a_hint_and_an_unknown_write_leaves_none() {
    let mut cluster = Cluster::new(3);
    cluster.node(3).broken = Some(Failure::StorageFull);
    cluster.put(1, "k", "v").unwrap();
    assert_eq!(cluster.hinted(1, 3), 1);

    let mut cluster = Cluster::new(3);
    cluster.node(2).stalled = true;
    cluster.node(3).stalled = true;
    let request = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    cluster.pass(TIMEOUT);
    assert_eq!(cluster.outcome(request), Some(Outcome::Unknown));
    assert_eq!((cluster.hinted(1, 2), cluster.hinted(1, 3)), (0, 0));
}

#[test]
fn a_write_after_an_acknowledged_one_gets_the_larger_version_whatever_the_clocks_say() {
    let mut cluster = Cluster::new(3);
    cluster.node(1).skew_ms = 300;
    cluster.measure(1);
    cluster.node(2).skew_ms = -300;
    cluster.measure(2);
    // The clock of node 2 has not heard of it: another coordinator's write moved only node 3.
    let ahead = record(crate::test_cluster::START_MS + 10_300, "first");
    for node in [1, 3] {
        cluster.node(node).merge(key("k"), ahead.clone());
    }
    let later = cluster.put(2, "k", "second").unwrap();
    assert!(later > ahead.version);
    assert_eq!(cluster.held(1, "k"), Some(later));
}

#[test]
fn a_far_version_ends_the_write_as_unknown() {
    let mut cluster = Cluster::new(3);
    for node in 1..=3 {
        cluster.node(node).merge(key("k"), record(crate::test_cluster::START_MS * 2, "far"));
    }
    let request = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    cluster.run();
    let failure = cluster.written(request).unwrap().unwrap_err();
    assert!(matches!(failure, Failure::ClockSkew { outcome: Outcome::Unknown, .. }), "{failure:?}");
}

#[test]
fn a_node_whose_clock_jumped_stamps_nothing_until_it_is_measured() {
    let mut cluster = Cluster::new(3);
    cluster.node(1).skew_ms = 400;
    let refused = cluster.put(1, "k", "v").unwrap_err();
    assert_eq!(refused, Failure::ClockSkew { offset_ms: 400, outcome: Outcome::Refused });
    assert!(cluster.put(2, "k", "v").is_ok(), "others write through it all the same");
    assert!(cluster.held(1, "k").is_some() && cluster.get(1, "k").is_ok());
    cluster.measure(1);
    assert!(cluster.put(1, "k", "v").is_ok());
}

#[test]
fn the_ceiling_is_renewed_although_nothing_is_written() {
    let mut cluster = Cluster::new(3);
    let before = cluster.node(1).shard.clock.ceiling();
    cluster.pass(Duration::from_secs(3));
    assert!(cluster.node(1).shard.clock.ceiling() > before);
    let wake = cluster.node(1).shard.next_wake().unwrap();
    assert!(wake <= cluster.time + Duration::from_millis(100));
}

#[test]
fn two_copies_of_an_answer_are_one_acknowledgement() {
    let mut cluster = Cluster::new(3);
    cluster.node(1).stalled = true;
    cluster.node(3).stalled = true;
    let request = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    while let Some(message) = cluster.wire.pop_front() {
        let reply = matches!(message, Message::Reply { .. });
        cluster.deliver(message.clone());
        if reply {
            cluster.deliver(message);
        }
        if cluster.node(2).has_queued() {
            cluster.sync(2);
        }
    }
    assert!(cluster.held(2, "k").is_some());
    assert_eq!(cluster.written(request), None);
}

/// A write at level one that waits for a ceiling for its second stamp, until another replica takes its
/// first one and it is answered. Node 3 has neither.
fn answered_while_it_awaits_its_second_stamp() -> (Cluster, u64) {
    let mut cluster = Cluster::new(3);
    let newer_ms = cluster.now(1).wall_ms + 500;
    cluster.node(1).merge(key("k"), record(newer_ms, "newer"));
    cluster.node(1).log_stalled = true;
    cluster.node(2).stalled = true;
    cluster.node(3).stalled = true;
    let request = cluster.begin_put(1, "k", "v", Consistency::One);
    cluster.run();
    assert_eq!(cluster.written(request), None, "superseded, and no second stamp");
    cluster.sync(2);
    cluster.run();
    assert!(cluster.written(request).unwrap().is_ok());
    assert_eq!(cluster.hinted(1, 3), 0);
    (cluster, request)
}

#[test]
fn a_write_that_was_answered_is_not_refused_with_its_ceiling() {
    let (mut cluster, request) = answered_while_it_awaits_its_second_stamp();
    let failure = Failure::ReadOnly { outcome: Outcome::Refused };
    cluster.step(1, Event::CeilingRefused { failure });
    assert!(
        cluster.written(request).unwrap().is_ok(),
        "and the cluster checks: not answered twice"
    );
    cluster.pass(TIMEOUT);
    assert_eq!(cluster.hinted(1, 3), 1);
}

#[test]
fn a_write_that_was_answered_is_not_stamped_anew() {
    let (mut cluster, request) = answered_while_it_awaits_its_second_stamp();
    let ceiling = cluster.said.iter().find_map(|said| match said {
        (1, Effect::RaiseCeiling { ceiling }) => Some(*ceiling),
        _ => None,
    });
    cluster.step(1, Event::CeilingRaised { ceiling: ceiling.unwrap() });
    assert_eq!(first_copies(&cluster), 0);
    cluster.pass(TIMEOUT);
    assert_eq!(cluster.hinted(1, 3), 1);
    let hint = cluster.node(1).hints.values().next().unwrap().version;
    assert_eq!(Some(Ok(hint)), cluster.written(request), "the version that the client was told");
}

#[test]
fn writes_that_linger_no_more_leave_room_for_others() {
    let mut cluster = Cluster::new(3);
    let large = "v".repeat(1024 * 1024);
    for _ in 0..70 {
        cluster.put(1, "k", &large).unwrap();
    }
    cluster.node(3).stalled = true;
    cluster.put(1, "k", &large).unwrap();
    assert_eq!(cluster.hinted(1, 3), 0, "it may linger");
}

#[test]
fn while_the_log_stands_still_expired_writes_are_forgotten() {
    let mut cluster = Cluster::new(3);
    cluster.node(1).log_stalled = true;
    cluster.time += Duration::from_secs(1);
    let requests = [(); 5].map(|()| cluster.begin_put(1, "k", "v", Consistency::Quorum));
    assert_eq!(cluster.node(1).shard.waiting_for_ceiling.len(), 5);
    cluster.pass(TIMEOUT);
    assert!(requests.iter().all(|&request| cluster.outcome(request) == Some(Outcome::Refused)));
    assert!(cluster.node(1).shard.waiting_for_ceiling.is_empty());
}

#[test]
fn a_link_that_breaks_after_the_others_refused_ends_the_write() {
    let mut cluster = Cluster::new(3);
    for node in [1, 2] {
        cluster.node(node).broken = Some(OVERLOADED);
    }
    cluster.node(3).stalled = true;
    let request = cluster.begin_put(1, "k", "v", Consistency::Quorum);
    cluster.run();
    assert_eq!(cluster.written(request), None, "the third decides between refused and unknown");
    cluster.cut(1, 3);
    assert_eq!(cluster.outcome(request), Some(Outcome::Unknown));
}
