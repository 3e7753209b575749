//! Taking over: whoever is complete holds what the members before it held, whatever happens meanwhile.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Body, Document, Failure, Joint, Ordinal, Outcome, Phase, Progress, Record, Roster,
};
use paravon_ring::{KeyHash, Layout, Partition};

use crate::event::{Effect, Event};
use crate::pull::SOURCE_PATIENCE;
use crate::test_cluster::{Cluster, Message, START_MS, document, key, record, version};

/// Eight partitions.
const SHIFT: u8 = 3;

pub(crate) fn roster(members: &[u32]) -> Roster {
    let mut roster = document(members.iter().copied().max().unwrap(), 1).current.clone();
    roster.members.retain(|member| members.contains(&member.ordinal.0));
    roster
}

pub(crate) fn of(current: &[u32], phase: Phase, fence: u64) -> Arc<Layout> {
    let document = (*document(1, fence)).clone();
    let current = roster(current);
    Arc::new(Layout::of(Arc::new(Document { shift: SHIFT, current, phase, ..document })))
}

pub(crate) fn stable(members: &[u32], fence: u64) -> Arc<Layout> {
    of(members, Phase::Stable, fence)
}

pub(crate) fn joint(current: &[u32], next: &[u32], lost: &[u32], fence: u64) -> Arc<Layout> {
    let lost = lost.iter().copied().map(Ordinal).collect();
    of(current, Phase::Joint(Joint { next: roster(next), lost }), fence)
}

/// So many nodes under the layout of `members`, which hold so many records.
pub(crate) fn with_records(nodes: u32, members: &[u32], records: usize) -> Cluster {
    let mut cluster = Cluster::of(nodes, &stable(members, 1));
    for number in 0..records {
        write(&mut cluster, &name(number), record(START_MS, "v"));
    }
    cluster
}

pub(crate) fn name(number: usize) -> String {
    format!("key-{number}")
}

/// Every replica of the current sets holds the record.
pub(crate) fn write(cluster: &mut Cluster, name: &str, record: Record) {
    let layout = cluster.node(1).shard.layout.clone();
    let partition = KeyHash::of(&key(name), 0).partition(layout.shift());
    for replica in layout.sets(partition).current {
        cluster.node(replica.0).merge(key(name), record.clone());
    }
}

/// A node learns the layout; from then on its disk says what it says.
pub(crate) fn learn(cluster: &mut Cluster, node: u32, layout: &Arc<Layout>) {
    let since = cluster.node(node).shard.layout.fence();
    let new = layout.made_new(Ordinal(node), Some(since)).into();
    cluster.step(node, Event::Layout { layout: layout.clone(), new });
    cluster.sync(node);
}

pub(crate) fn spread(cluster: &mut Cluster, layout: &Arc<Layout>) {
    for node in 1..=u32::try_from(cluster.nodes.len()).unwrap() {
        learn(cluster, node, layout);
    }
}

fn progress(cluster: &mut Cluster, node: u32) -> Progress {
    cluster.node(node).shard.transfer.progress()
}

/// What was last said of a node's progress.
fn told(cluster: &Cluster, node: u32) -> Option<Progress> {
    let of_node = cluster.said.iter().rev().filter(|(number, _)| *number == node);
    of_node.into_iter().find_map(|(_, said)| match said {
        Effect::Progress { progress, .. } | Effect::Settled { progress, .. } => Some(*progress),
        _ => None,
    })
}

pub(crate) fn is_complete(cluster: &mut Cluster, nodes: &[u32]) -> bool {
    nodes.iter().all(|&node| progress(cluster, node).is_complete())
}

/// Every one of these holds every record of its next sets, at this version or newer.
pub(crate) fn assert_level(cluster: &mut Cluster, layout: &Layout, nodes: &[u32], records: usize) {
    for number in 0..records {
        let name = name(number);
        let partition = KeyHash::of(&key(&name), 0).partition(layout.shift());
        let sets = layout.sets(partition);
        for &node in nodes {
            if sets.next.unwrap_or(sets.current).contains(&Ordinal(node)) {
                let held = cluster.held(node, &name);
                assert!(held >= Some(version(START_MS, 9)), "{name} on {node}: {held:?}");
            }
        }
    }
}

fn moves(current: &[u32], next: &[u32]) {
    const RECORDS: usize = 200;
    let nodes = current.iter().chain(next).max().copied().unwrap();
    let mut cluster = with_records(nodes, current, RECORDS);
    let layout = joint(current, next, &[], 2);
    spread(&mut cluster, &layout);
    cluster.run();
    cluster.pass(Duration::from_secs(1));
    assert!(is_complete(&mut cluster, next), "{current:?} -> {next:?}");
    assert_level(&mut cluster, &layout, next, RECORDS);
    for &node in next {
        let own = |partition: &Partition| {
            layout.sets(*partition).next.is_some_and(|next| next.contains(&Ordinal(node)))
        };
        let partitions = u64::try_from(layout.partitions().filter(own).count()).unwrap();
        let progress = progress(&mut cluster, node);
        assert_eq!((progress.partitions, progress.complete), (partitions, partitions));
        assert_eq!(told(&cluster, node), Some(progress), "and the end is told");
        assert_eq!(cluster.node(node).shard.under_way(), 0);
    }
}

#[test]
fn members_come_and_leave() {
    moves(&[1], &[1, 2, 3]);
    moves(&[1, 2, 3], &[1, 2, 3, 4]);
    moves(&[1, 2, 3, 4], &[1, 2, 3]);
    moves(&[1, 2, 3, 4], &[2, 3, 4]);
    moves(&[1, 2, 3], &[1, 2]);
    moves(&[1, 2], &[1, 2, 3]);
    moves(&[1, 2, 3], &[4, 5, 6]);
}

#[test]
fn how_much_there_is_to_do_is_told_before_it_begins() {
    let mut cluster = with_records(4, &[1, 2, 3], 10);
    cluster.node(4).unstored = true;
    spread(&mut cluster, &joint(&[1, 2, 3], &[1, 2, 3, 4], &[], 2));
    let settled = cluster.said.iter().find_map(|(node, said)| match said {
        Effect::Settled { progress, .. } if *node == 4 => Some(*progress),
        _ => None,
    });
    let progress = settled.expect("it has settled");
    assert!(progress.partitions > 0 && progress.complete == 0 && !progress.is_complete());
    cluster.run();
    assert!(cluster.node(4).stored.is_empty(), "nothing is pulled before it is admitted");
    cluster.admit(4);
    cluster.run();
    assert!(is_complete(&mut cluster, &[4]));
}

#[test]
fn many_pages_are_pulled() {
    let mut cluster = with_records(4, &[1, 2, 3], 8000);
    let layout = joint(&[1, 2, 3], &[2, 3, 4], &[], 2);
    spread(&mut cluster, &layout);
    cluster.run();
    cluster.pass(Duration::from_secs(1));
    assert!(is_complete(&mut cluster, &[2, 3, 4]));
    assert_level(&mut cluster, &layout, &[4], 8000);
    let four = progress(&mut cluster, 4);
    assert_eq!((four.records, four.bytes), (8000, 8000 + keys_bytes(8000)), "each once");
    assert_eq!(progress(&mut cluster, 2).records, 0, "equal sums are enough");
}

fn keys_bytes(records: usize) -> u64 {
    (0..records).map(|number| u64::try_from(name(number).len()).unwrap()).sum()
}

/// Delivers so many messages, and what the disks do meanwhile.
fn deliver(cluster: &mut Cluster, messages: usize) {
    for _ in 0..messages {
        let Some(message) = cluster.wire.pop_front() else { return };
        cluster.deliver(message);
        (1..=cluster.nodes.len()).for_each(|node| cluster.sync(u32::try_from(node).unwrap()));
    }
}

/// Delivers one message after the other until node 4 has taken over some records.
fn deliver_until_half(cluster: &mut Cluster) {
    while progress(cluster, 4).records == 0 {
        assert!(!cluster.wire.is_empty());
        deliver(cluster, 1);
    }
    assert!(!is_complete(cluster, &[4]));
}

#[test]
fn after_a_restart_only_what_is_missing_is_pulled() {
    let mut cluster = with_records(4, &[1, 2, 3], 2000);
    let layout = joint(&[1, 2, 3], &[1, 2, 4], &[], 2);
    spread(&mut cluster, &layout);
    deliver_until_half(&mut cluster);
    let held = u64::try_from(cluster.node(4).stored.len()).unwrap();
    assert!(held > 0 && held < 2000, "{held}");
    for peer in 1..4 {
        cluster.cut(4, peer);
    }
    cluster.restart(4, &layout);
    assert_eq!(progress(&mut cluster, 4).complete, 0);
    for peer in 1..4 {
        cluster.link(4, peer);
    }
    cluster.run();
    cluster.pass(Duration::from_secs(1));
    assert!(is_complete(&mut cluster, &[4]));
    assert_level(&mut cluster, &layout, &[4], 2000);
    assert_eq!(progress(&mut cluster, 4).records, 2000 - held);
    assert_eq!(told(&cluster, 4), Some(progress(&mut cluster, 4)));
}

#[test]
fn a_source_that_goes_away_is_replaced_and_a_leaver_is_waited_for() {
    let mut cluster = with_records(4, &[1, 2, 3], 2000);
    let layout = joint(&[1, 2, 3], &[1, 2, 4], &[], 2);
    spread(&mut cluster, &layout);
    deliver_until_half(&mut cluster);
    cluster.cut(4, 3);
    cluster.cut(4, 2);
    cluster.run();
    cluster.pass(Duration::from_secs(2));
    assert!(!is_complete(&mut cluster, &[4]), "3 leaves: what it holds alone must not be lost");
    assert_level(&mut cluster, &layout, &[4], 2000);
    cluster.link(4, 3);
    cluster.run();
    cluster.pass(Duration::from_secs(1));
    assert!(is_complete(&mut cluster, &[4]), "1 and 3 are a majority and all that leave");
}

#[test]
fn what_only_the_leaver_holds_is_brought_over() {
    let mut cluster = with_records(4, &[1, 2, 3], 20);
    cluster.node(3).merge(key("key-alone"), record(START_MS, "v"));
    spread(&mut cluster, &joint(&[1, 2, 3], &[1, 2, 4], &[], 2));
    cluster.run();
    for node in [1, 2, 4] {
        assert!(cluster.held(node, "key-alone").is_some(), "{node} has merged it");
    }
}

#[test]
fn retained_members_level_up_among_themselves() {
    let mut cluster = with_records(4, &[1, 2, 3], 50);
    for number in 0..50 {
        cluster.node(1).stored.remove(&key(&name(number)));
    }
    cluster.node(2).merge(key("key-7"), record(START_MS + 5, "newer"));
    let layout = joint(&[1, 2, 3], &[1, 2, 3, 4], &[], 2);
    let changed: BTreeSet<_> = layout.made_new(Ordinal(4), None).into_iter().collect();
    spread(&mut cluster, &layout);
    cluster.run();
    assert!(is_complete(&mut cluster, &[1, 2, 3, 4]));
    for name in (0..50).map(name) {
        let hash = KeyHash::of(&key(&name), 0);
        let sets = layout.sets(hash.partition(layout.shift()));
        if changed.contains(&hash.partition(layout.shift()))
            && sets.next.is_some_and(|next| next.contains(&Ordinal(1)))
        {
            assert!(cluster.held(1, &name).is_some(), "{name}");
        }
    }
}

#[test]
fn records_overwritten_meanwhile_and_tombstones_come_over() {
    let mut cluster = with_records(4, &[1, 2, 3], 1500);
    let tombstone = |ms| Record { body: Body::Tombstone, ..record(ms, "") };
    write(&mut cluster, "key-0", tombstone(START_MS + 1));
    spread(&mut cluster, &joint(&[1, 2, 3], &[1, 2, 4], &[], 2));
    for round in 0..100 {
        deliver(&mut cluster, 1);
        write(&mut cluster, &name(round * 10 + 1), record(START_MS + 2, "newer"));
        write(&mut cluster, &name(round * 10 + 2), tombstone(START_MS + 3));
    }
    cluster.run();
    cluster.pass(Duration::from_secs(1));
    assert!(is_complete(&mut cluster, &[1, 2, 4]));
    assert!(cluster.node(4).stored[&key("key-0")].is_tombstone());
    assert_level(&mut cluster, &joint(&[1, 2, 3], &[1, 2, 4], &[], 2), &[4], 1500);
}

#[test]
fn a_record_from_the_far_future_is_taken_and_moves_no_clock() {
    let mut cluster = with_records(4, &[1, 2, 3], 1);
    let far = START_MS * 1000;
    write(&mut cluster, "key-far", record(far, "v"));
    spread(&mut cluster, &joint(&[1, 2, 3], &[1, 2, 4], &[], 2));
    cluster.run();
    assert_eq!(cluster.held(4, "key-far"), Some(version(far, 9)));
    spread(&mut cluster, &stable(&[1, 2, 4], 3));
    let put = cluster.put(4, "another", "v").unwrap();
    assert!(put.hlc.physical_ms() < far);
}

#[test]
fn whoever_is_named_as_lost_is_never_asked() {
    let mut cluster = with_records(4, &[1, 2, 3], 300);
    let layout = joint(&[1, 2, 3], &[1, 2, 4], &[3], 2);
    spread(&mut cluster, &layout);
    while let Some(message) = cluster.wire.pop_front() {
        assert!(!matches!(message, Message::Request { to: 3, .. }), "{message:?}");
        cluster.deliver(message);
        (1..=4).for_each(|node| cluster.sync(node));
    }
    assert!(is_complete(&mut cluster, &[1, 2, 4]));
    assert_level(&mut cluster, &layout, &[1, 2, 4], 300);

    let mut cluster = with_records(2, &[1, 2], 30);
    cluster.cut(1, 2);
    learn(&mut cluster, 1, &joint(&[1, 2], &[1], &[2], 2));
    cluster.run();
    assert!(is_complete(&mut cluster, &[1]), "one of two holds all that both acknowledged");
}

#[test]
fn a_change_of_the_fence_voids_what_was_merged_and_what_is_on_its_way() {
    let mut cluster = with_records(4, &[1, 2, 3], 300);
    spread(&mut cluster, &joint(&[1, 2, 3], &[1, 2, 4], &[], 2));
    while progress(&mut cluster, 4).complete == 0 {
        deliver(&mut cluster, 1);
    }
    assert!(!is_complete(&mut cluster, &[4]));
    let late: Vec<Message> = cluster.wire.drain(..).collect();
    assert!(late.iter().any(|message| message.ends().1 == 4), "answers are on their way");
    spread(&mut cluster, &stable(&[1, 2, 3], 3));
    cluster.run();
    cluster.pass(Duration::from_secs(1));
    assert_eq!(progress(&mut cluster, 4), Progress::default());
    assert!(cluster.node(4).stored.is_empty(), "what it got is cleaned up");

    (1..4).for_each(|peer| cluster.cut(4, peer));
    spread(&mut cluster, &joint(&[1, 2, 3], &[1, 2, 4], &[], 4));
    cluster.wire.extend(late.into_iter().filter(|message| message.ends().1 == 4));
    cluster.run();
    assert_eq!(progress(&mut cluster, 4).complete, 0);
    assert!(cluster.node(4).stored.is_empty(), "{:?}", cluster.node(4).stored);
    (1..4).for_each(|peer| cluster.link(4, peer));
    cluster.run();
    cluster.pass(Duration::from_secs(1));
    assert!(is_complete(&mut cluster, &[1, 2, 4]));
}

#[test]
fn a_source_that_has_not_stored_the_layout_is_asked_again() {
    let mut cluster = with_records(4, &[1, 2, 3], 30);
    for node in 1..=3 {
        cluster.node(node).unstored = true;
    }
    spread(&mut cluster, &joint(&[1, 2, 3], &[1, 2, 3, 4], &[], 2));
    cluster.run();
    cluster.pass(Duration::from_secs(1));
    assert_eq!(progress(&mut cluster, 4).complete, 0);
    assert!(cluster.node(4).stored.is_empty());
    (1..=3).for_each(|node| cluster.admit(node));
    cluster.pass(Duration::from_secs(1));
    assert!(is_complete(&mut cluster, &[1, 2, 3, 4]));
}

#[test]
fn a_store_that_fails_is_tried_again_and_nothing_counts_before() {
    let mut cluster = with_records(4, &[1, 2, 3], 30);
    let layout = joint(&[1, 2, 3], &[1, 2, 4], &[], 2);
    spread(&mut cluster, &layout);
    cluster.node(4).broken = Some(Failure::ReadOnly { outcome: Outcome::Unknown });
    cluster.run();
    cluster.pass(Duration::from_secs(2));
    assert!(!is_complete(&mut cluster, &[4]));
    cluster.node(4).broken = None;
    cluster.node(4).stalled = true;
    cluster.pass(Duration::from_secs(2));
    assert!(!is_complete(&mut cluster, &[4]), "nothing is durable");
    cluster.node(4).stalled = false;
    cluster.pass(Duration::from_secs(2));
    assert!(is_complete(&mut cluster, &[4]));
    assert_level(&mut cluster, &layout, &[4], 30);
}

#[test]
fn a_stable_layout_gives_nothing_to_take_over_and_says_nothing() {
    let mut cluster = with_records(3, &[1, 2, 3], 10);
    cluster.said.clear();
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.said, vec![]);
    assert_eq!(cluster.node(1).shard.transfer_wake(), None);
}

/// Links break, messages are lost and nodes restart, while records are written.
#[test]
fn every_fault_is_outlived() {
    for seed in 1..=40_u64 {
        let mut state = seed;
        let mut roll = move |sides: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            (state >> 33) % sides
        };
        let mut cluster = with_records(4, &[1, 2, 3], 300);
        let layout = joint(&[1, 2, 3], &[2, 3, 4], &[], 2);
        spread(&mut cluster, &layout);
        for round in 0..400 {
            let node = u32::try_from(roll(4)).unwrap() + 1;
            let peer = u32::try_from(roll(4)).unwrap() + 1;
            match roll(40) {
                0 if node != peer => cluster.cut(node, peer),
                1 if node != peer => cluster.link(node, peer),
                2 => drop(cluster.wire.pop_front()),
                3 => write(&mut cluster, &name(round), record(START_MS + 1, "newer")),
                4 => {
                    (1..=4)
                        .filter(|&other| other != node)
                        .for_each(|other| cluster.cut(node, other));
                    cluster.restart(node, &layout);
                    (1..=4)
                        .filter(|&other| other != node)
                        .for_each(|other| cluster.link(node, other));
                }
                5 => {
                    cluster.time += Duration::from_millis(200);
                    (1..=4).for_each(|node| cluster.step(node, Event::Tick));
                }
                6 => {
                    let broken = Failure::Overloaded { retry_after_ms: 1 };
                    cluster.node(node).broken = (roll(2) == 0).then_some(broken);
                }
                _ => deliver(&mut cluster, 3),
            }
        }
        for one in 1..=4 {
            cluster.node(one).broken = None;
            (1..=4).filter(|&other| other != one).for_each(|other| cluster.link(one, other));
        }
        cluster.run();
        cluster.pass(SOURCE_PATIENCE * 2);
        assert!(is_complete(&mut cluster, &[2, 3, 4]), "seed {seed}");
        assert_level(&mut cluster, &layout, &[2, 3, 4], 300);
        for node in 2..=4 {
            assert_eq!(cluster.node(node).shard.under_way(), 0, "seed {seed}");
        }
    }
}
