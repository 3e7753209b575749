//! Hints: handed over once their target is back, removed only then, and never over something newer.

use alloc::format;
use core::time::Duration;

use paravon_model::{Command, Failure, Ordinal, Purpose};
use paravon_ring::KeyHash;

use crate::event::Event;
use crate::test_cluster::{Cluster, Message, key, layout, record, version};

const DEAD: Event = Event::Dead { peer: Ordinal(3) };
const ALIVE: Event = Event::Alive { peer: Ordinal(3) };

/// Node 1 keeps so many hints for node 3, which is down.
fn with_hints(count: usize) -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.cut(1, 3);
    cluster.cut(2, 3);
    cluster.step(1, DEAD);
    for number in 0..count {
        cluster.put(1, &format!("key-{number}"), "v").unwrap();
    }
    assert_eq!(cluster.hinted(1, 3), count);
    cluster
}

fn comes_back(cluster: &mut Cluster) {
    cluster.link(1, 3);
    cluster.step(1, ALIVE);
}

#[test]
fn all_hints_are_handed_over_when_the_target_is_back() {
    let mut cluster = with_hints(1000);
    comes_back(&mut cluster);
    cluster.run();
    cluster.pass(Duration::from_millis(500));
    assert_eq!(cluster.hinted(1, 3), 0);
    assert!((0..1000).all(|number| cluster.held(3, &format!("key-{number}")).is_some()));
    cluster.pass(Duration::from_secs(300));
    assert!(!cluster.node(1).shard.hints_waiting(Ordinal(3)));
    assert_eq!(cluster.node(1).shard.under_way(), 0);
}

#[test]
fn a_hint_stays_until_the_target_has_it_durably() {
    let mut cluster = with_hints(3);
    cluster.node(3).stalled = true;
    comes_back(&mut cluster);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.hinted(1, 3), 3, "sent and not confirmed");
    cluster.cut(1, 3);
    cluster.node(3).stalled = false;
    cluster.run();
    assert_eq!(cluster.hinted(1, 3), 3, "the answer was lost");
    cluster.link(1, 3);
    cluster.run();
    assert_eq!(cluster.hinted(1, 3), 0);
}

#[test]
fn a_hint_undoes_nothing_newer() {
    let mut cluster = with_hints(1);
    let newer = record(crate::test_cluster::START_MS * 2, "newer");
    cluster.node(3).merge(key("key-0"), newer.clone());
    comes_back(&mut cluster);
    cluster.run();
    assert_eq!((cluster.hinted(1, 3), cluster.held(3, "key-0")), (0, Some(newer.version)));
}

#[test]
fn a_newer_hint_survives_the_answer_to_an_older_one() {
    let mut cluster = with_hints(1);
    comes_back(&mut cluster);
    let place = cluster.node(1).hints.keys().next().unwrap().clone();
    let newer = record(crate::test_cluster::START_MS * 2, "newer");
    cluster.node(1).hints.insert(place, newer);
    cluster.run();
    assert_eq!(cluster.hinted(1, 3), 1);
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.hinted(1, 3), 0, "the next scan finds it");
    assert_eq!(cluster.held(3, "key-0"), Some(version(crate::test_cluster::START_MS * 2, 9)));
}

#[test]
fn a_target_that_refuses_is_asked_again_after_a_while() {
    for failure in [Failure::Overloaded { retry_after_ms: 20 }, Failure::StorageFull] {
        let mut cluster = with_hints(40);
        cluster.node(3).broken = Some(failure);
        comes_back(&mut cluster);
        cluster.pass(Duration::from_secs(1));
        assert_eq!(cluster.hinted(1, 3), 40);
        cluster.node(3).broken = None;
        cluster.pass(Duration::from_secs(1));
        assert_eq!(cluster.hinted(1, 3), 0);
    }
}

#[test]
fn a_target_that_swallows_hints_gets_them_again() {
    let mut cluster = with_hints(20);
    comes_back(&mut cluster);
    cluster.wire.clear();
    cluster.pass(Duration::from_secs(4));
    assert!(cluster.hinted(1, 3) >= 16, "what was lost is waited for");
    cluster.pass(Duration::from_secs(3));
    assert_eq!(cluster.hinted(1, 3), 0);
}

#[test]
fn the_window_bounds_what_is_on_its_way() {
    let mut cluster = with_hints(2000);
    cluster.node(3).stalled = true;
    comes_back(&mut cluster);
    let on_its_way = |message: &&Message| {
        matches!(message, Message::Request { request, .. }
            if matches!(request.command, Command::Store { purpose: Purpose::Hint, .. }))
    };
    assert_eq!(cluster.wire.iter().filter(on_its_way).count(), 16);
    cluster.run();
    for _ in 0..20 {
        cluster.sync(3);
        assert!(cluster.wire.len() <= 512);
        cluster.run();
        assert!(cluster.node(1).shard.under_way() <= 512);
    }
}

/// 100,000 hints must be handed over within 20 s: so 5,000 within one.
#[test]
fn the_window_fills_a_long_way() {
    let mut cluster = with_hints(1);
    for number in 1..5000 {
        let name = key(&format!("key-{number}"));
        let hash = KeyHash::of(&name, 0);
        let hint = record(crate::test_cluster::START_MS, "v");
        cluster.node(1).hints.insert((Ordinal(3), hash, name), hint);
    }
    let began = cluster.time;
    comes_back(&mut cluster);
    while cluster.hinted(1, 3) > 0 {
        // Every message takes 5 ms, and the disk is as fast.
        cluster.time += Duration::from_millis(5);
        for message in core::mem::take(&mut cluster.wire) {
            cluster.deliver(message);
        }
        cluster.sync(3);
        cluster.step(1, Event::Tick);
        assert!(cluster.time < began + Duration::from_secs(1));
    }
}

#[test]
fn hints_that_a_disk_confirms_late_are_found_by_a_later_scan() {
    let mut cluster = Cluster::new(3);
    cluster.node(3).broken = Some(Failure::StorageFull);
    cluster.put(1, "k", "v").unwrap();
    cluster.node(3).broken = None;
    let late = core::mem::take(&mut cluster.node(1).hints);
    cluster.pass(Duration::from_secs(20));
    cluster.node(1).hints = late;
    cluster.pass(Duration::from_secs(60));
    assert_eq!(cluster.hinted(1, 3), 0);
    assert!(cluster.held(3, "k").is_some());
}

#[test]
fn hints_for_a_member_that_left_go_to_the_replicas() {
    let mut cluster = with_hints(5);
    for node in 1..=2 {
        cluster.step(node, Event::Layout { layout: layout(2, 2), new: [].into() });
    }
    cluster.node(2).stored.clear();
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.hinted(1, 3), 0);
    assert!(cluster.held(2, "key-4").is_some());
}

#[test]
fn a_refused_store_of_its_own_is_hinted_to_itself() {
    let mut cluster = Cluster::new(3);
    cluster.node(1).broken = Some(Failure::Overloaded { retry_after_ms: 20 });
    let version = cluster.put(1, "k", "v").unwrap();
    assert_eq!((cluster.hinted(1, 1), cluster.held(1, "k")), (1, None));
    cluster.node(1).broken = None;
    cluster.pass(Duration::from_secs(1));
    assert_eq!((cluster.hinted(1, 1), cluster.held(1, "k")), (0, Some(version)));
}

#[test]
fn hints_on_their_way_under_an_earlier_layout_are_sent_again() {
    let mut cluster = with_hints(3);
    comes_back(&mut cluster);
    let sent = |cluster: &Cluster| {
        let hint = |message: &&Message| {
            matches!(message, Message::Request { request, .. }
                if matches!(request.command, Command::Store { purpose: Purpose::Hint, .. }))
        };
        cluster.wire.iter().filter(hint).count()
    };
    assert_eq!(sent(&cluster), 3);
    cluster.wire.clear();
    for node in [3, 2, 1] {
        cluster.step(node, Event::Layout { layout: layout(3, 2), new: [].into() });
    }
    assert_eq!(sent(&cluster), 3, "nobody waits for answers that are void");
    cluster.run();
    assert_eq!((cluster.hinted(1, 3), cluster.node(1).shard.under_way()), (0, 0));
}
