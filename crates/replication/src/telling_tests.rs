//! What shards tell each other of their marks, and what it takes.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::limits::MAX_MARKS;
use paravon_model::{Class, Compared, Damage, Document, Hlc, Marks, Ordinal, ReplicaReply};
use paravon_ring::{Layout, Partition};

use crate::event::Event;
use crate::marks::{EMPTIED, PartitionMarks};
use crate::test_cluster::{Cluster, Message, document};

const SECOND: Duration = Duration::from_secs(1);
/// The longest that a member waits for its next question, and a tick.
const HEARD: Duration = Duration::from_secs(6);
const ALL: Class = Class { modulus: 1, residue: 0 };
const PARTITIONS: u32 = 1 << 12;

/// Three members that store this many partitions, all of them.
fn wide() -> Arc<Layout> {
    let document = Document { shift: 12, ..Document::clone(&document(3, 1)) };
    Arc::new(Layout::of(Arc::new(document)))
}

fn world() -> (Cluster, Arc<Layout>) {
    let layout = wide();
    let mut cluster = Cluster::of(3, &layout);
    cluster.pass(HEARD);
    (cluster, layout)
}

/// A start of a node with these marks on its disk.
fn start(cluster: &mut Cluster, node: u32, marks: impl Iterator<Item = (u32, Marks)>) {
    for peer in (1..=3).filter(|peer| *peer != node) {
        cluster.cut(node, peer);
    }
    cluster.node(node).marks = marks.map(|(number, marks)| (Partition(number), marks)).collect();
    cluster.restart(node, &wide());
}

fn marked() -> Marks {
    let at = Hlc::new(7, 0);
    Marks { floor: at, full: at, closed: at, damage: Damage::None }
}

fn known(cluster: &Cluster, node: u32) -> usize {
    cluster.nodes[node as usize - 1].shard.floors.of_class(ALL, Partition(0)).count()
}

/// What this node holds of what the other one told.
fn heard(cluster: &Cluster, node: u32, of: u32, partition: u32) -> Marks {
    let known = cluster.nodes[node as usize - 1].shard.floors.get(Partition(partition));
    known.map(|marks| marks.heard_of(Ordinal(of))).unwrap_or_default()
}

fn awaits(cluster: &Cluster, node: u32) -> Vec<u32> {
    let floors = &cluster.nodes[node as usize - 1].shard.floors;
    let awaiting = floors.of_class(ALL, Partition(0)).filter(|(_, marks)| marks.awaits_closed());
    awaiting.map(|(partition, _)| partition.0).collect()
}

/// Lets this time pass and gives how many marks each answer about them held, told by whom to whom.
fn answers(cluster: &mut Cluster, time: Duration) -> Vec<((u32, u32), usize)> {
    let (end, mut answers) = (cluster.time + time, Vec::new());
    while cluster.time < end {
        cluster.time += Duration::from_millis(50);
        (1..=3).for_each(|node| cluster.step(node, Event::Tick));
        while let Some(message) = cluster.wire.pop_front() {
            if let Message::Reply { reply: ReplicaReply::Compared { answer }, .. } = &message
                && let Ok(Compared::Marks { marks, .. }) = answer
            {
                answers.push((message.ends(), marks.len()));
            }
            cluster.deliver(message);
            (1..=3).for_each(|node| cluster.sync(node));
        }
    }
    answers
}

#[test]
fn a_start_where_nothing_is_marked_takes_one_empty_answer_of_each_class() {
    let (mut cluster, _) = world();
    start(&mut cluster, 1, [].into_iter());
    cluster.link(1, 2);
    cluster.link(1, 3);
    let mut told = answers(&mut cluster, HEARD);
    told.retain(|((from, to), _)| *from == 1 || *to == 1);
    assert!(told.iter().all(|(_, marks)| *marks == 0), "{told:?}");
    for ends in [(1, 2), (1, 3), (2, 1), (3, 1)] {
        let count = told.iter().filter(|(known, _)| *known == ends).count();
        assert!((1..=2).contains(&count), "{ends:?} {told:?}");
    }
    let tellers = &cluster.node(1).shard.floors.tellers;
    assert!((2..=3).all(|peer| tellers.has_heard(Ordinal(peer), Partition(PARTITIONS - 1))));
    assert!((1..=3).all(|node| known(&cluster, node) == 0));
}

#[test]
fn marks_are_told_page_by_page_and_nothing_is_kept_of_partitions_without() {
    let (mut cluster, _) = world();
    let count = 2 * MAX_MARKS + 1;
    start(&mut cluster, 2, (0..PARTITIONS).step_by(2).chain([9]).map(|at| (at, marked())));
    assert_eq!(known(&cluster, 2), count);
    cluster.link(1, 2);
    let told = answers(&mut cluster, HEARD);
    let mut by_two: Vec<_> = told.iter().filter(|(ends, _)| *ends == (2, 1)).collect();
    by_two.truncate(3);
    let pages: Vec<_> = by_two.iter().map(|(_, marks)| *marks).collect();
    assert_eq!(pages, [MAX_MARKS, MAX_MARKS, 1]);
    for partition in [0, 8, 9, 10, PARTITIONS - 2] {
        assert_eq!(heard(&cluster, 1, 2, partition), marked(), "{partition}");
    }
    assert_eq!(known(&cluster, 1), count);
}

#[test]
fn what_was_marked_before_a_member_began_anew_and_is_not_now_is_forgotten() {
    let (mut cluster, _) = world();
    // It follows nobody, and so nobody follows it.
    cluster.node(1).stalled = true;
    let pages = || (0..PARTITIONS).map(|number| (number, marked()));
    start(&mut cluster, 2, pages());
    cluster.link(1, 2);
    cluster.pass(HEARD);
    assert_eq!(heard(&cluster, 1, 2, 3000), marked());
    start(&mut cluster, 2, pages().filter(|(number, _)| *number != 3000));
    cluster.link(1, 2);
    cluster.pass(HEARD);
    assert_eq!(heard(&cluster, 1, 2, 3000), Marks::default());
    assert_eq!(heard(&cluster, 1, 2, 2999), marked());
    assert_eq!(heard(&cluster, 1, 2, PARTITIONS - 1), marked());
}

#[test]
fn whoever_awaits_closed_does_not_pass_for_closed_nowhere() {
    let (mut cluster, _) = world();
    start(&mut cluster, 1, [(5, EMPTIED), (6, EMPTIED)].into_iter());
    start(&mut cluster, 2, [(5, EMPTIED), (7, EMPTIED)].into_iter());
    cluster.link(1, 2);
    cluster.pass(HEARD);
    assert_eq!((awaits(&cluster, 1), awaits(&cluster, 2)), ([5].into(), [5].into()));
    cluster.link(1, 3);
    cluster.pass(HEARD);
    assert_eq!((awaits(&cluster, 1), awaits(&cluster, 2)), ([].into(), [].into()));
}

#[test]
fn a_newcomer_does_not_take_all_that_an_empty_answer_says_at_once() {
    let (mut cluster, _) = world();
    start(&mut cluster, 1, (0..PARTITIONS).map(|number| (number, EMPTIED)));
    cluster.link(1, 2);
    let mut most = 0;
    while !awaits(&cluster, 1).is_empty() {
        cluster.time += Duration::from_millis(50);
        cluster.step(1, Event::Tick);
        while let Some(message) = cluster.wire.pop_front() {
            cluster.deliver(message);
            most = most.max(cluster.node(1).queued.len());
            (1..=3).for_each(|node| cluster.sync(node));
        }
        assert!(cluster.time < 60 * SECOND, "{} left", awaits(&cluster, 1).len());
    }
    assert_eq!(most, MAX_MARKS);
    let closed =
        |partition| cluster.nodes[0].shard.floors.get(partition).map(PartitionMarks::closed);
    assert!((0..PARTITIONS).all(|number| closed(Partition(number)) > Some(EMPTIED.closed)));
}
