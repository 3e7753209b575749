//! A lost partition comes back from every other member, and counts nowhere before.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_model::{Consistency, Damage, Failure, Marks, Ordinal};
use paravon_ring::{KeyHash, Layout, Partition};

use crate::damage::Damages;
use crate::event::{Effect, Event};
use crate::test_cluster::{Cluster, START_MS, key, layout, record, version};
use crate::transfer::tests::{is_complete, joint, name, spread, stable, with_records};

const SECOND: Duration = Duration::from_secs(1);
/// Two rounds of telling marks: the others know then that nothing here is full any more.
const HEARD: Duration = Duration::from_secs(12);
const RECORDS: usize = 100;
/// All of them.
const PARTITIONS: u64 = 1 << 3;

/// A start of a node whose file is gone with all that it held.
fn lose(cluster: &mut Cluster, node: u32, layout: &Arc<Layout>) {
    let lost = Marks { damage: Damage::Lost, ..Marks::default() };
    let partitions = (0..layout.shift().partitions()).map(Partition);
    let state = cluster.node(node);
    state.marks = partitions.map(|partition| (partition, lost)).collect();
    state.stored.clear();
    cluster.restart(node, layout);
    let peers = 1..=u32::try_from(cluster.nodes.len()).unwrap();
    peers.filter(|peer| *peer != node).for_each(|peer| cluster.link(node, peer));
}

/// Three members that store everything, of which the first has lost it; one record is on node 3 alone.
fn world() -> (Cluster, Arc<Layout>) {
    let mut cluster = with_records(3, &[1, 2, 3], RECORDS);
    cluster.node(3).merge(key(&name(0)), record(START_MS + 1, "newer"));
    let layout = stable(&[1, 2, 3], 1);
    lose(&mut cluster, 1, &layout);
    (cluster, layout)
}

fn damages(cluster: &mut Cluster, node: u32) -> Damages {
    cluster.node(node).shard.damage()
}

fn holds_everything(cluster: &Cluster, node: u32) -> bool {
    let newest = cluster.held(node, &name(0)) == Some(version(START_MS + 1, 9));
    newest && (0..RECORDS).all(|number| cluster.held(node, &name(number)).is_some())
}

#[test]
fn a_lost_partition_counts_in_no_quorum_and_is_told_to_nobody() {
    let (mut cluster, _) = world();
    cluster.cut(2, 3);
    cluster.cut(1, 3);
    let read = cluster.begin_get(1, &name(1), Consistency::Quorum);
    let write = cluster.begin_put(1, "new", "v", Consistency::Quorum);
    cluster.run();
    assert_eq!((cluster.read(read), cluster.written(write)), (None, None));
    assert!(cluster.held(1, "new").is_some(), "it is stored all the same");
    cluster.link(2, 3);
    assert!(cluster.get(2, &name(1)).unwrap().is_some());
    cluster.pass(MAX_REQUEST_TIMEOUT / 2);
    let now = cluster.time;
    for node in [2, 3] {
        let agreement = cluster.node(node).shard.agreement(now);
        assert_eq!(agreement.never, PARTITIONS, "nobody has agreed with node 1");
    }
}

#[test]
fn it_is_restored_from_every_other_member_after_the_longest_deadline() {
    let (mut cluster, _) = world();
    cluster.cut(1, 3);
    cluster.pass(MAX_REQUEST_TIMEOUT - SECOND);
    assert_eq!(damages(&mut cluster, 1), Damages { partitions: PARTITIONS, ..Damages::default() });
    cluster.pass(3 * SECOND);
    let waits =
        Damages { partitions: PARTITIONS, waiting_for: [Ordinal(3)].into(), ..Damages::default() };
    assert_eq!(damages(&mut cluster, 1), waits);
    cluster.link(1, 3);
    cluster.pass(HEARD);
    assert_eq!(damages(&mut cluster, 1), Damages::default());
    assert!(holds_everything(&cluster, 1));
    assert!(cluster.node(1).marks.values().all(|marks| marks.damage == Damage::None));
    let request = cluster.begin_get(1, &name(0), Consistency::One);
    cluster.run();
    assert!(cluster.read(request).unwrap().is_ok());
    assert_eq!(cluster.node(1).shard.under_way(), 0);
}

#[test]
fn a_partition_that_another_member_has_lost_too_waits_until_the_loss_is_accepted() {
    let (mut cluster, layout) = world();
    lose(&mut cluster, 2, &layout);
    cluster.pass(MAX_REQUEST_TIMEOUT + 3 * SECOND);
    for (node, other) in [(1, 2), (2, 1)] {
        let damages = damages(&mut cluster, node);
        assert_eq!((damages.partitions, damages.unhealable), (PARTITIONS, PARTITIONS));
        assert_eq!(damages.waiting_for, [Ordinal(other)]);
    }
    accept_every_loss(&mut cluster, 1);
    cluster.pass(3 * SECOND);
    assert_eq!(damages(&mut cluster, 1), Damages::default());
    assert!(holds_everything(&cluster, 1), "from the member that is left");
    cluster.pass(30 * SECOND);
    assert_eq!(damages(&mut cluster, 2), Damages::default(), "nothing stands in its way any more");
    assert!(holds_everything(&cluster, 2));
}

fn accept_every_loss(cluster: &mut Cluster, node: u32) {
    for partition in (0..PARTITIONS).map(|number| Partition(u32::try_from(number).unwrap())) {
        cluster.step(node, Event::AcceptLoss { partition, key: None });
    }
}

#[test]
fn an_accepted_loss_waits_for_the_only_member_that_could_tell() {
    let (mut cluster, layout) = world();
    lose(&mut cluster, 2, &layout);
    cluster.cut(1, 3);
    accept_every_loss(&mut cluster, 1);
    cluster.pass(MAX_REQUEST_TIMEOUT + 30 * SECOND);
    let known = damages(&mut cluster, 1);
    assert_eq!((known.partitions, known.waiting_for), (PARTITIONS, [Ordinal(3)].into()));
    cluster.cut(1, 2);
    cluster.pass(30 * SECOND);
    assert_eq!(damages(&mut cluster, 1).partitions, PARTITIONS, "alone it knows nothing");
    cluster.link(1, 3);
    cluster.pass(HEARD);
    assert_eq!(damages(&mut cluster, 1), Damages::default());
    assert!(holds_everything(&cluster, 1));
}

#[test]
fn an_accepted_loss_waits_for_no_dead_member_once_another_has_told() {
    let (mut cluster, _) = world();
    cluster.cut(1, 3);
    cluster.step(1, Event::Dead { peer: Ordinal(3) });
    accept_every_loss(&mut cluster, 1);
    cluster.pass(MAX_REQUEST_TIMEOUT + 3 * SECOND);
    assert_eq!(damages(&mut cluster, 1), Damages::default());
    assert!((0..RECORDS).all(|number| cluster.held(1, &name(number)).is_some()));
}

#[test]
fn an_accepted_loss_waits_for_nobody_that_was_named_as_lost() {
    let (mut cluster, layout) = world();
    lose(&mut cluster, 2, &layout);
    [1, 2].into_iter().for_each(|peer| cluster.cut(3, peer));
    cluster.learn(&[1, 2], &joint(&[1, 2, 3], &[1, 2], &[3], 2));
    cluster.pass(MAX_REQUEST_TIMEOUT + 3 * SECOND);
    assert_eq!(damages(&mut cluster, 1).partitions, PARTITIONS, "it is named, and not accepted");
    accept_every_loss(&mut cluster, 1);
    cluster.pass(30 * SECOND);
    assert_eq!(damages(&mut cluster, 1), Damages::default());
}

#[test]
fn what_all_have_lost_is_let_go_of_once_that_is_accepted() {
    let (mut cluster, layout) = world();
    lose(&mut cluster, 2, &layout);
    lose(&mut cluster, 3, &layout);
    accept_every_loss(&mut cluster, 1);
    cluster.pass(MAX_REQUEST_TIMEOUT + 3 * SECOND);
    assert_eq!(damages(&mut cluster, 1), Damages::default());
}

/// The link to member 3 breaks in the pass through it. The other one holds less, or has lost all.
#[test]
fn an_accepted_loss_goes_back_to_a_member_whose_link_broke_in_the_pass() {
    for other_lost in [false, true] {
        let (mut cluster, layout) = world();
        if other_lost {
            lose(&mut cluster, 2, &layout);
        }
        let partition = KeyHash::of(&key(&name(0)), 0).partition(layout.shift());
        cluster.step(1, Event::AcceptLoss { partition, key: None });
        cluster.pass(HEARD);
        cluster.time += MAX_REQUEST_TIMEOUT + SECOND;
        cluster.step(1, Event::Tick);
        let passes = |cluster: &mut Cluster| {
            cluster.node(1).shard.restoring.from(Ordinal(3)).any(|passed| passed == partition)
        };
        while !passes(&mut cluster) {
            let message = cluster.wire.pop_front().expect("it comes to member 3");
            cluster.deliver(message);
            cluster.sync(1);
        }
        cluster.cut(1, 3);
        cluster.run();
        assert_eq!(cluster.node(1).marks[&partition].damage, Damage::Lost, "{other_lost}");
        assert!(damages(&mut cluster, 1).waiting_for.contains(&Ordinal(3)), "{other_lost}");
        cluster.link(1, 3);
        cluster.pass(HEARD);
        assert_eq!(cluster.node(1).marks[&partition].damage, Damage::None, "{other_lost}");
        assert_eq!(cluster.held(1, &name(0)), Some(version(START_MS + 1, 9)), "{other_lost}");
    }
}

#[test]
fn a_key_that_another_member_cannot_read_holds_its_partition_up() {
    let (mut cluster, layout) = world();
    let lost = key(&name(0));
    cluster.node(3).damaged.insert(lost.clone());
    cluster.pass(MAX_REQUEST_TIMEOUT + 3 * SECOND);
    let known = damages(&mut cluster, 1);
    assert_eq!((known.partitions, known.waiting_for), (1, [Ordinal(3)].into()));
    let partition = KeyHash::of(&lost, 0).partition(layout.shift());
    cluster.step(1, Event::AcceptLoss { partition, key: None });
    cluster.pass(2 * SECOND);
    assert_eq!(damages(&mut cluster, 1), Damages::default());
    cluster.pass(2 * MAX_REQUEST_TIMEOUT);
    assert_eq!(damages(&mut cluster, 3), Damages::default());
}

#[test]
fn what_this_node_does_not_store_was_not_lost() {
    let layout = layout(4, 1);
    let mut cluster = Cluster::of(4, &layout);
    lose(&mut cluster, 1, &layout);
    (2..=4).for_each(|peer| cluster.cut(1, peer));
    cluster.pass(MAX_REQUEST_TIMEOUT + 3 * SECOND);
    let stored = |partition: &u32| layout.sets(Partition(*partition)).contains(Ordinal(1));
    let count = (0..layout.shift().partitions()).filter(stored).count();
    assert!(count > 0 && count < 16);
    assert_eq!(damages(&mut cluster, 1).partitions, u64::try_from(count).unwrap());
}

#[test]
fn a_partition_that_is_emptied_while_its_mark_goes_is_lifted_once() {
    let layout = layout(4, 1);
    let mut cluster = Cluster::of(4, &layout);
    lose(&mut cluster, 1, &layout);
    (2..=4).for_each(|peer| cluster.cut(1, peer));
    for pause in [SECOND, MAX_REQUEST_TIMEOUT] {
        cluster.step(1, Event::Tick);
        cluster.time += pause;
    }
    cluster.step(1, Event::Tick);
    let foreign = |partition: &Partition| !layout.sets(*partition).contains(Ordinal(1));
    let partition = layout.partitions().find(foreign).expect("it stores three of four");
    assert!(cluster.node(1).shard.restoring.contains(partition), "the store has not answered");
    let now = cluster.time;
    cluster.node(1).shard.damage.emptied(now, partition, layout.shift());
    cluster.step(1, Event::Tick);
    cluster.run();
    assert_eq!(cluster.node(1).marks[&partition].damage, Damage::None);
    assert!(!cluster.node(1).shard.damage.is_lost(partition));
    assert!(cluster.node(1).shard.restoring.is_idle());
}

#[test]
fn a_member_is_complete_for_nothing_that_it_has_lost_and_a_source_of_nothing() {
    let mut cluster = with_records(4, &[1, 2, 3], RECORDS);
    lose(&mut cluster, 1, &stable(&[1, 2, 3], 1));
    let layout = joint(&[1, 2, 3], &[1, 2, 4], &[], 2);
    spread(&mut cluster, &layout);
    cluster.pass(2 * SECOND);
    assert!(is_complete(&mut cluster, &[2, 4]), "from the others");
    assert!(!is_complete(&mut cluster, &[1]));
    cluster.pass(MAX_REQUEST_TIMEOUT + 3 * SECOND);
    assert!(is_complete(&mut cluster, &[1, 2, 4]));
    assert_eq!(damages(&mut cluster, 1), Damages::default());
}

#[test]
fn a_change_of_the_fence_begins_anew() {
    let (mut cluster, _) = world();
    cluster.cut(1, 3);
    cluster.pass(MAX_REQUEST_TIMEOUT + 3 * SECOND);
    assert!(cluster.node(1).marks.values().all(|marks| marks.damage == Damage::Lost));
    let before = cluster.said.len();
    cluster.learn(&[1, 2, 3], &stable(&[1, 2, 3], 2));
    cluster.run();
    let settled = |said: &(u32, Effect)| matches!(said.1, Effect::Settled { .. });
    assert_eq!(cluster.said[before..].iter().filter(|said| settled(said)).count(), 3);
    cluster.link(1, 3);
    cluster.pass(HEARD);
    assert_eq!(damages(&mut cluster, 1), Damages::default());
    assert!(holds_everything(&cluster, 1));
}

#[test]
fn a_store_that_fails_leaves_no_member_out() {
    let (mut cluster, _) = world();
    accept_every_loss(&mut cluster, 1);
    cluster.node(1).broken = Some(Failure::StorageFull);
    cluster.pass(MAX_REQUEST_TIMEOUT + 3 * SECOND);
    assert_eq!(damages(&mut cluster, 1).partitions, PARTITIONS);
    cluster.node(1).broken = None;
    cluster.pass(60 * SECOND);
    assert_eq!(damages(&mut cluster, 1), Damages::default());
    assert!(holds_everything(&cluster, 1));
    let stored: Vec<_> = cluster.node(1).stored.keys().cloned().collect();
    assert_eq!(stored.len(), RECORDS);
}
