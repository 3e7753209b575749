//! Damaged keys come back from as many others as can know what was acknowledged, and a change does not
//! end before.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Joint, Ordinal, Phase};
use paravon_ring::{KeyHash, Layout};

use crate::event::Event;
use crate::test_cluster::{Cluster, START_MS, key, record, version};
use crate::transfer::tests::{
    assert_level, is_complete, joint, name, of, roster, spread, with_records,
};

const SECOND: Duration = Duration::from_secs(1);
const RECORDS: usize = 100;

/// A key of a partition that node 3 stores under neither set but the current one, and node 4 is new to.
fn moved(layout: &Layout) -> usize {
    let moves = |number: &usize| {
        let partition = KeyHash::of(&key(&name(*number)), 0).partition(layout.shift());
        let next = layout.sets(partition).next.expect("it is joint");
        next.contains(&Ordinal(4)) && !next.contains(&Ordinal(3))
    };
    (0..RECORDS).find(moves).expect("some do")
}

/// Nodes 1, 2 and 3 with records, of which one was written anew on these.
fn world(newer_on: &[u32]) -> (Cluster, Arc<Layout>, usize) {
    let mut cluster = with_records(4, &[1, 2, 3], RECORDS);
    let layout = joint(&[1, 2, 3], &[1, 2, 4], &[], 2);
    let number = moved(&layout);
    for &node in newer_on {
        cluster.node(node).merge(key(&name(number)), record(START_MS + 1, "newer"));
    }
    (cluster, layout, number)
}

fn damage(cluster: &mut Cluster, nodes: &[u32], number: usize) {
    for &node in nodes {
        cluster.node(node).damaged.insert(key(&name(number)));
    }
}

/// Delivers everything, one message after the other. What these nodes can read of the key is never older
/// than its last write.
fn run_and_watch(cluster: &mut Cluster, nodes: &[u32], number: usize) {
    let wanted = key(&name(number));
    for _ in 0..20 {
        while let Some(message) = cluster.wire.pop_front() {
            cluster.deliver(message);
            (1..=4).for_each(|node| cluster.sync(node));
            for &node in nodes {
                let node = cluster.node(node);
                let held = node.stored.get(&wanted).map(|record| record.version);
                let reads = !node.damaged.contains(&wanted);
                assert!(!reads || held.is_none_or(|held| held == version(START_MS + 1, 9)));
            }
        }
        cluster.time += Duration::from_millis(100);
        (1..=4).for_each(|node| cluster.step(node, Event::Tick));
    }
}

fn assert_newer(cluster: &Cluster, nodes: &[u32], number: usize) {
    for &node in nodes {
        assert_eq!(cluster.held(node, &name(number)), Some(version(START_MS + 1, 9)), "on {node}");
    }
}

#[test]
fn a_replica_that_stays_takes_back_no_less_than_what_was_acknowledged() {
    let (mut cluster, layout, number) = world(&[1, 2]);
    damage(&mut cluster, &[1], number);
    spread(&mut cluster, &layout);
    run_and_watch(&mut cluster, &[1, 2], number);
    assert!(is_complete(&mut cluster, &[1, 2, 4]));
    assert!(cluster.node(1).damaged.is_empty());
    assert_newer(&cluster, &[1, 2, 4], number);
    assert_level(&mut cluster, &layout, &[1, 2, 4], RECORDS);
}

#[test]
fn what_a_source_cannot_read_comes_from_the_others() {
    for damaged in [1, 2, 3] {
        let newer_on: Vec<u32> = (1..=3).filter(|node| *node != 3 || damaged == 3).collect();
        let (mut cluster, layout, number) = world(&newer_on);
        damage(&mut cluster, &[damaged], number);
        spread(&mut cluster, &layout);
        run_and_watch(&mut cluster, &[1, 2], number);
        assert!(is_complete(&mut cluster, &[1, 2, 4]), "damaged on {damaged}");
        assert_newer(&cluster, &[1, 2, 4], number);
        assert_level(&mut cluster, &layout, &[1, 2, 4], RECORDS);
    }
}

#[test]
fn a_change_waits_for_whoever_can_tell() {
    let (mut cluster, layout, number) = world(&[2, 3]);
    damage(&mut cluster, &[3], number);
    cluster.cut(4, 2);
    spread(&mut cluster, &layout);
    cluster.run();
    cluster.pass(SECOND);
    assert!(!is_complete(&mut cluster, &[4]), "only 2 can read what was acknowledged");
    cluster.link(4, 2);
    cluster.pass(SECOND);
    assert!(is_complete(&mut cluster, &[1, 2, 4]));
    assert_newer(&cluster, &[1, 2, 4], number);
}

#[test]
fn a_key_that_two_of_three_cannot_read_ends_no_change_before_it_is_written_anew() {
    let (mut cluster, layout, number) = world(&[2, 3]);
    damage(&mut cluster, &[2, 3], number);
    spread(&mut cluster, &layout);
    cluster.pass(SECOND);
    assert!(!is_complete(&mut cluster, &[1]) && !is_complete(&mut cluster, &[4]));
    for node in [2, 3] {
        cluster.node(node).damaged.clear();
        cluster.node(node).merge(key(&name(number)), record(START_MS + 2, "anew"));
    }
    cluster.pass(SECOND);
    assert!(is_complete(&mut cluster, &[1, 2, 4]));
    assert_eq!(cluster.held(4, &name(number)), Some(version(START_MS + 2, 9)));
}

#[test]
fn a_key_that_nobody_else_holds_stays_damaged_and_holds_up_nothing() {
    let (mut cluster, layout, number) = world(&[]);
    for node in [2, 3] {
        cluster.node(node).stored.remove(&key(&name(number)));
    }
    damage(&mut cluster, &[1], number);
    spread(&mut cluster, &layout);
    cluster.pass(SECOND);
    assert!(is_complete(&mut cluster, &[1, 2, 4]));
    assert_eq!(cluster.held(4, &name(number)), None, "it was acknowledged by no majority");
    assert!(!cluster.node(1).damaged.is_empty());
}

#[test]
fn a_link_that_breaks_while_the_others_are_asked_is_made_up_for() {
    let (mut cluster, layout, number) = world(&[1, 2]);
    damage(&mut cluster, &[1], number);
    spread(&mut cluster, &layout);
    let asks = |cluster: &mut Cluster| {
        let operations = &cluster.node(1).shard.operations;
        operations.iter().any(|operation| {
            matches!(operation, crate::shard::Operation::Heal(heal) if heal.asks(Ordinal(2)))
        })
    };
    assert!(asks(&mut cluster));
    cluster.cut(1, 2);
    assert!(!asks(&mut cluster), "an answer that does not come is not waited for");
    cluster.pass(SECOND);
    assert!(!is_complete(&mut cluster, &[1]));
    cluster.link(1, 2);
    cluster.pass(SECOND);
    assert!(is_complete(&mut cluster, &[1, 2, 4]));
    assert_newer(&cluster, &[1, 2, 4], number);
}

#[test]
fn of_two_replicas_the_other_one_can_tell() {
    let mut cluster = with_records(3, &[1, 2], RECORDS);
    let layout = joint(&[1, 2], &[1, 3], &[], 2);
    damage(&mut cluster, &[1], 0);
    damage(&mut cluster, &[2], 1);
    spread(&mut cluster, &layout);
    cluster.pass(SECOND);
    assert!(is_complete(&mut cluster, &[1, 3]));
    assert_level(&mut cluster, &layout, &[1, 3], RECORDS);
    assert!(cluster.node(1).damaged.is_empty());
}

#[test]
fn after_a_rescue_the_best_that_is_left_is_taken() {
    let members = [1, 2, 3, 4];
    let mut cluster = with_records(4, &members, RECORDS);
    let rescue = Phase::Rescue(Joint { next: roster(&[1, 2, 4]), lost: [Ordinal(3)].into() });
    let layout = of(&members, rescue, 2);
    let left = |number: usize| {
        let partition = KeyHash::of(&key(&name(number)), 0).partition(layout.shift());
        layout.sets(partition).current.iter().map(|member| member.0).collect::<Vec<_>>()
    };
    let mut halved = (0..RECORDS).filter(|&number| left(number).len() == 2);
    let (lost, half) = (halved.next().unwrap(), halved.next().unwrap());
    damage(&mut cluster, &left(lost), lost);
    damage(&mut cluster, &left(half)[..1], half);
    [1, 2, 4].into_iter().for_each(|peer| cluster.cut(3, peer));
    for node in [1, 2, 4] {
        let new = layout.made_new(Ordinal(node), None).into();
        cluster.step(node, Event::Layout { layout: layout.clone(), new });
    }
    cluster.pass(SECOND);
    assert!(is_complete(&mut cluster, &[1, 2, 4]));
    let unread: BTreeSet<_> = [key(&name(lost))].into();
    for node in left(lost) {
        assert_eq!(cluster.node(node).damaged, unread, "no copy of it is left");
    }
    for node in [1, 2, 4] {
        assert!(cluster.held(node, &name(half)).is_some(), "on {node}");
    }
}

/// Any one replica of every key rots at any moment of the change, links break and disks refuse.
#[test]
fn one_damaged_copy_of_each_key_is_outlived() {
    for seed in 1..=30_u64 {
        let mut state = seed;
        let mut roll = move |sides: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            u32::try_from((state >> 33) % sides).unwrap()
        };
        let mut cluster = with_records(4, &[1, 2, 3], RECORDS);
        let layout = joint(&[1, 2, 3], &[2, 3, 4], &[], 2);
        let mut whole: BTreeSet<usize> = (0..RECORDS).collect();
        let mut rot = |cluster: &mut Cluster, node: u32, number: u32| {
            let number = usize::try_from(number).unwrap() % RECORDS;
            if cluster.held(node, &name(number)).is_some() && whole.remove(&number) {
                damage(cluster, &[node], number);
            }
        };
        for _ in 0..20 {
            rot(&mut cluster, roll(3) + 1, roll(100));
        }
        spread(&mut cluster, &layout);
        for _ in 0..300 {
            let (node, peer) = (roll(4) + 1, roll(4) + 1);
            match roll(12) {
                0 if node != peer => cluster.cut(node, peer),
                1 | 2 if node != peer => cluster.link(node, peer),
                3 => rot(&mut cluster, node, roll(100)),
                4 => {
                    cluster.time += Duration::from_millis(200);
                    (1..=4).for_each(|node| cluster.step(node, Event::Tick));
                }
                _ => {
                    for _ in 0..3 {
                        cluster.wire.pop_front().into_iter().for_each(|m| cluster.deliver(m));
                    }
                    (1..=4).for_each(|node| cluster.sync(node));
                }
            }
        }
        for one in 1..=4 {
            (1..=4).filter(|&other| other != one).for_each(|other| cluster.link(one, other));
        }
        cluster.run();
        cluster.pass(25 * SECOND);
        assert!(is_complete(&mut cluster, &[2, 3, 4]), "seed {seed}");
        assert_level(&mut cluster, &layout, &[2, 3, 4], RECORDS);
        assert!((2..=4).all(|node| cluster.node(node).shard.under_way() == 0), "seed {seed}");
    }
}
