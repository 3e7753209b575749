//! Damaged keys come back from as many others as can know what was acknowledged, and a change does not
//! end before.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_model::{Consistency, Failure, Joint, Ordinal, Phase};
use paravon_ring::{KeyHash, Layout};

use crate::damage::Damages;
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

/// Delivers everything, one message after the other. What these nodes hold of the key, where it counts, is
/// never older than its last write.
fn run_and_watch(cluster: &mut Cluster, nodes: &[u32], number: usize) {
    let wanted = key(&name(number));
    for _ in 0..20 {
        while let Some(message) = cluster.wire.pop_front() {
            cluster.deliver(message);
            (1..=4).for_each(|node| cluster.sync(node));
            for &node in nodes {
                let node = cluster.node(node);
                let held = node.stored.get(&wanted).map(|record| record.version);
                let reads = !node.damaged.contains(&wanted) && !node.marked.contains(&wanted);
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
    assert!(is_complete(&mut cluster, &[1, 2, 4]), "its own damage holds nothing up");
    assert!(cluster.node(1).marked.contains(&key(&name(number))), "and counts nowhere");
    cluster.pass(MAX_REQUEST_TIMEOUT + SECOND);
    assert!(cluster.node(1).marked.is_empty());
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
        let whole: Vec<u32> = [1, 2, 4].into_iter().filter(|node| *node != damaged).collect();
        assert_newer(&cluster, &whole, number);
        cluster.pass(MAX_REQUEST_TIMEOUT + SECOND);
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
fn a_key_that_two_of_three_cannot_read_ends_no_change_before_the_loss_is_accepted() {
    let (mut cluster, layout, number) = world(&[2, 3]);
    damage(&mut cluster, &[2, 3], number);
    spread(&mut cluster, &layout);
    cluster.pass(SECOND);
    assert!(!is_complete(&mut cluster, &[1]) && !is_complete(&mut cluster, &[4]));
    let lost = key(&name(number));
    let hash = KeyHash::of(&lost, 0);
    let event =
        Event::AcceptLoss { partition: hash.partition(layout.shift()), key: Some((hash, lost)) };
    cluster.step(3, event);
    // Whoever takes over rests for some seconds between its attempts.
    cluster.pass(MAX_REQUEST_TIMEOUT + 5 * SECOND);
    assert!(is_complete(&mut cluster, &[1, 2, 4]));
    assert!(cluster.held(4, &name(number)).is_some_and(|best| best < version(START_MS + 1, 9)));
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
    assert!(!cluster.node(1).marked.is_empty());
}

#[test]
fn a_link_that_breaks_while_the_others_are_asked_is_made_up_for() {
    let (mut cluster, layout, number) = world(&[2, 3]);
    damage(&mut cluster, &[3], number);
    spread(&mut cluster, &layout);
    let asks = |cluster: &mut Cluster| {
        let operations = &cluster.node(4).shard.operations;
        operations.iter().any(|operation| {
            matches!(operation, crate::operation::Operation::Heal(heal) if heal.asks(Ordinal(2)))
        })
    };
    while !asks(&mut cluster) {
        let message = cluster.wire.pop_front().expect("the source's listing comes to the key");
        cluster.deliver(message);
        (1..=4).for_each(|node| cluster.sync(node));
    }
    cluster.cut(4, 2);
    assert!(!asks(&mut cluster), "an answer that does not come is not waited for");
    cluster.pass(SECOND);
    assert!(!is_complete(&mut cluster, &[4]));
    cluster.link(4, 2);
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
    cluster.pass(MAX_REQUEST_TIMEOUT + SECOND);
    assert!(cluster.node(1).marked.is_empty());
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
    for node in left(lost) {
        assert!(cluster.node(node).marked.contains(&key(&name(lost))), "no copy of it is left");
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
        cluster.pass(MAX_REQUEST_TIMEOUT);
        assert_level(&mut cluster, &layout, &[2, 3, 4], RECORDS);
        assert!((2..=4).all(|node| cluster.node(node).shard.under_way() == 0), "seed {seed}");
    }
}

fn now_damaged(cluster: &mut Cluster, node: u32, name: &str) {
    let key = key(name);
    cluster.node(node).damaged.insert(key.clone());
    let event = cluster.node(node).mark(&key).expect("it is new");
    cluster.step(node, event);
}

/// Three members that store everything; one key was written twice, last without node 3, and then rots on
/// node 1.
fn rotten() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "k", "older").unwrap();
    cluster.cut(1, 3);
    cluster.cut(2, 3);
    cluster.put(1, "k", "newer").unwrap();
    cluster.cut(1, 2);
    now_damaged(&mut cluster, 1, "k");
    cluster
}

fn value(answer: Result<Option<paravon_model::Value>, Failure>) -> Option<Vec<u8>> {
    answer.expect("it is answered").map(|value| value.bytes.to_vec())
}

#[test]
fn a_damaged_replica_counts_in_no_read() {
    let mut cluster = rotten();
    let older = cluster.nodes[2].stored[&key("k")].clone();
    cluster.node(1).damaged.clear();
    cluster.node(1).stored.insert(key("k"), older);
    cluster.link(1, 3);
    let request = cluster.begin_get(3, "k", Consistency::Quorum);
    cluster.run();
    assert_eq!(cluster.read(request), None, "only one of three can answer");
    cluster.link(2, 3);
    cluster.run();
    assert_eq!(value(cluster.read(request).unwrap()), Some(b"newer".to_vec()));
}

#[test]
fn a_damaged_replica_stores_and_acknowledges_nothing() {
    let mut cluster = rotten();
    cluster.link(1, 3);
    let request = cluster.begin_put(3, "k", "newest", Consistency::Quorum);
    cluster.run();
    let held = |cluster: &Cluster, node| cluster.held(node, "k");
    assert_eq!(cluster.written(request), None, "one of three is not enough");
    assert_eq!(held(&cluster, 1), held(&cluster, 3), "it is stored all the same");
    let again = cluster.begin_put(1, "k", "again", Consistency::Quorum);
    cluster.run();
    assert_eq!(cluster.written(again), None, "nor does it count what it coordinates");
    cluster.link(1, 2);
    cluster.run();
    assert!(cluster.written(again).unwrap().is_ok());
}

#[test]
fn a_hint_reaches_a_damaged_replica_and_is_kept_no_longer() {
    let mut cluster = rotten();
    cluster.step(2, Event::Dead { peer: Ordinal(1) });
    cluster.link(2, 3);
    cluster.put(2, "k", "newest").unwrap();
    assert_eq!(cluster.hinted(2, 1), 1);
    cluster.step(2, Event::Alive { peer: Ordinal(1) });
    cluster.link(1, 2);
    cluster.pass(3 * SECOND);
    assert_eq!((cluster.hinted(2, 1), cluster.held(1, "k")), (0, cluster.held(2, "k")));
    assert_eq!(cluster.node(1).shard.damage().keys, 1, "it is no less damaged");
}

#[test]
fn a_key_is_healed_from_every_other_member_after_the_longest_deadline() {
    let mut cluster = rotten();
    let newer = cluster.held(2, "k");
    cluster.link(1, 2);
    cluster.link(2, 3);
    cluster.pass(MAX_REQUEST_TIMEOUT - SECOND);
    assert_eq!(cluster.node(1).shard.damage().keys, 1);
    assert!(cluster.node(1).shard.damage().waiting_for.is_empty(), "nobody was asked");
    cluster.pass(2 * SECOND);
    let waits = Damages { keys: 1, waiting_for: [Ordinal(3)].into(), ..Damages::default() };
    assert_eq!(cluster.node(1).shard.damage(), waits);
    cluster.link(1, 3);
    cluster.pass(SECOND);
    assert_eq!(cluster.node(1).shard.damage(), Damages::default());
    assert!(cluster.node(1).marked.is_empty());
    assert_eq!(cluster.held(1, "k"), newer);
    cluster.cut(1, 2);
    cluster.cut(2, 3);
    assert_eq!(value(cluster.get(3, "k")), Some(b"newer".to_vec()), "it counts again");
}

#[test]
fn after_a_start_the_longest_deadline_is_waited_out_anew() {
    let mut cluster = rotten();
    let layout = cluster.node(1).shard.layout.clone();
    cluster.pass(MAX_REQUEST_TIMEOUT - SECOND);
    cluster.restart(1, &layout);
    for peer in [2, 3] {
        cluster.link(1, peer);
    }
    cluster.link(2, 3);
    cluster.pass(MAX_REQUEST_TIMEOUT - SECOND);
    assert_eq!(cluster.node(1).shard.damage().keys, 1);
    cluster.pass(2 * SECOND);
    assert_eq!(cluster.node(1).shard.damage().keys, 0);
}

#[test]
fn a_key_that_another_member_cannot_read_either_stays_until_the_loss_is_accepted() {
    let mut cluster = rotten();
    for (one, other) in [(1, 2), (1, 3), (2, 3)] {
        cluster.link(one, other);
    }
    now_damaged(&mut cluster, 2, "k");
    cluster.pass(MAX_REQUEST_TIMEOUT + SECOND);
    for (node, other) in [(1, 2), (2, 1)] {
        let damages = cluster.node(node).shard.damage();
        assert_eq!((damages.keys, damages.unhealable), (1, 1));
        assert_eq!(damages.waiting_for, [Ordinal(other)]);
    }
    let key = key("k");
    let hash = KeyHash::of(&key, 0);
    let partition = hash.partition(cluster.node(1).shard.layout.shift());
    cluster.step(1, Event::AcceptLoss { partition, key: Some((hash, key)) });
    cluster.run();
    assert_eq!(cluster.node(1).shard.damage().keys, 0);
    assert_eq!(cluster.held(1, "k"), cluster.held(3, "k"), "the best that is left");
    cluster.pass(Duration::from_secs(20));
    assert_eq!(cluster.node(2).shard.damage().keys, 0, "nothing stands in its way any more");
}

fn accept_loss_of_k(cluster: &mut Cluster, node: u32) {
    let key = key("k");
    let hash = KeyHash::of(&key, 0);
    let partition = hash.partition(cluster.node(node).shard.layout.shift());
    cluster.step(node, Event::AcceptLoss { partition, key: Some((hash, key)) });
}

/// Members 1 and 2 cannot read the newest, which member 3, that is away, could tell.
fn rotten_on_two() -> Cluster {
    let mut cluster = with_records(3, &[1, 2, 3], 0);
    cluster.put(1, "k", "v").unwrap();
    now_damaged(&mut cluster, 1, "k");
    now_damaged(&mut cluster, 2, "k");
    cluster.cut(1, 3);
    cluster.cut(2, 3);
    cluster.pass(MAX_REQUEST_TIMEOUT + SECOND);
    cluster
}

#[test]
fn an_accepted_loss_of_a_key_waits_for_the_only_member_that_could_tell() {
    let mut cluster = rotten_on_two();
    accept_loss_of_k(&mut cluster, 1);
    cluster.pass(30 * SECOND);
    let waits = Damages { keys: 1, waiting_for: [Ordinal(3)].into(), ..Damages::default() };
    assert_eq!(cluster.node(1).shard.damage(), waits);
    let read = cluster.begin_get(1, "k", Consistency::Quorum);
    cluster.run();
    let absent = cluster.read(read).is_some_and(|answer| answer == Ok(None));
    assert!(!absent, "what was acknowledged is not forgotten");
    cluster.link(1, 3);
    cluster.pass(SECOND);
    assert_eq!(cluster.node(1).shard.damage(), Damages::default());
    assert_eq!(value(cluster.get(1, "k")), Some(b"v".to_vec()));
}

#[test]
fn an_accepted_loss_of_a_key_waits_for_nobody_that_was_named_as_lost() {
    let mut cluster = rotten_on_two();
    accept_loss_of_k(&mut cluster, 1);
    cluster.pass(30 * SECOND);
    assert_eq!(cluster.node(1).shard.damage().keys, 1);
    let without = joint(&[1, 2, 3], &[1, 2], &[3], 2);
    cluster.learn(&[1, 2], &without);
    cluster.pass(MAX_REQUEST_TIMEOUT + SECOND);
    assert_eq!(cluster.node(1).shard.damage().keys, 0);
    let damages = cluster.node(2).shard.damage();
    assert_eq!((damages.keys, damages.waiting_for), (1, [Ordinal(3)].into()), "not accepted there");
}

#[test]
fn a_sole_member_heals_nothing_before_the_loss_is_accepted() {
    let mut cluster = Cluster::new(1);
    cluster.put(1, "k", "v").unwrap();
    now_damaged(&mut cluster, 1, "k");
    cluster.pass(2 * MAX_REQUEST_TIMEOUT);
    let damages = cluster.node(1).shard.damage();
    assert_eq!((damages.keys, damages.unhealable), (1, 1));
    assert!(matches!(cluster.get(1, "k"), Err(Failure::Damaged { .. })), "never absent");
    let partition = KeyHash::of(&key("k"), 0).partition(cluster.node(1).shard.layout.shift());
    cluster.step(1, Event::AcceptLoss { partition, key: None });
    cluster.run();
    assert_eq!(value(cluster.get(1, "k")), None);
    assert!(cluster.put(1, "k", "anew").is_ok());
}

#[test]
fn a_key_that_is_damaged_again_while_it_heals_waits_anew() {
    let mut cluster = rotten();
    for (one, other) in [(1, 2), (1, 3), (2, 3)] {
        cluster.link(one, other);
    }
    cluster.pass(MAX_REQUEST_TIMEOUT - SECOND / 4);
    cluster.node(1).stalled = true;
    cluster.pass(SECOND);
    assert!(cluster.node(1).has_queued(), "it is about to be healed");
    let again = Event::Damaged { hash: KeyHash::of(&key("k"), 0), key: key("k") };
    cluster.step(1, again);
    cluster.node(1).stalled = false;
    cluster.pass(MAX_REQUEST_TIMEOUT / 2);
    assert_eq!(cluster.node(1).shard.damage().keys, 1);
    cluster.pass(MAX_REQUEST_TIMEOUT / 2);
    assert_eq!(cluster.node(1).shard.damage().keys, 0);
}

#[test]
fn a_change_of_the_fence_begins_a_heal_anew() {
    let mut cluster = rotten();
    for (one, other) in [(1, 2), (1, 3), (2, 3)] {
        cluster.link(one, other);
    }
    cluster.pass(MAX_REQUEST_TIMEOUT - SECOND / 4);
    let asks = |cluster: &mut Cluster| {
        cluster.time += Duration::from_millis(50);
        cluster.step(1, Event::Tick);
        cluster.node(1).shard.operations.iter().any(|operation| {
            matches!(operation, crate::operation::Operation::Heal(heal) if heal.asks(Ordinal(2)))
        })
    };
    assert!((0..20).any(|_| asks(&mut cluster)), "the key is being healed");
    let old = cluster.wire.clone();
    cluster.learn(&[1, 2, 3], &crate::test_cluster::layout(3, 2));
    cluster.wire = old;
    cluster.run();
    assert_eq!(cluster.node(1).shard.damage().keys, 1, "answers of the fence before are void");
    cluster.pass(SECOND);
    assert_eq!(cluster.node(1).shard.damage().keys, 0);
}
