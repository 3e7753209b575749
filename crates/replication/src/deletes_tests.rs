//! Clients that put and delete on a cluster whose messages are lost, doubled and come a minute late, and
//! whose nodes stall, crash and lose what they hold, while deletes go: nothing comes back
//! (`NO_RESURRECTION`), equal floors mean equal content (`FLOOR_SAFE`), and in the end no delete is left.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Command, Consistency, Damage, Document, Hlc, Marks, Ordinal, Purpose, Version,
};
use paravon_ring::{KeyHash, Layout, Partition};

use crate::event::{Event, Reply};
use crate::marks::{PartitionMarks, shown};
use crate::soak_tests::{Dice, traffic};
use crate::test_cluster::{Cluster, Message, document, joint_document, key};

const NODES: u32 = 3;
const KEYS: u64 = 2;

/// How the layout changes under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    Same,
    /// Every other fence puts a fourth node in the place of the third, and the next one cancels it.
    Wavers,
}

impl Course {
    fn nodes(self) -> u32 {
        if self == Self::Same { NODES } else { NODES + 1 }
    }

    fn document(self, fence: u64) -> Arc<Document> {
        match self {
            Self::Wavers if fence.is_multiple_of(2) => {
                joint_document(&[1, 2, 3], &[1, 2, 4], fence)
            }
            _ => document(NODES, fence),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Put,
    Delete,
    Get,
}

/// What of a key was acknowledged or read: the largest version, and whether it is a delete's.
#[derive(Clone, Copy, Default)]
struct Known {
    version: Option<Version>,
    deleted: bool,
}

/// A request without an answer.
struct Open {
    node: u32,
    name: String,
    before: Known,
    asked: Asked,
}

/// What clients know.
#[derive(Default)]
struct Oracle {
    open: BTreeMap<u64, Open>,
    known: BTreeMap<String, Known>,
    /// The largest delete that was ever durable somewhere, by key.
    deletes: BTreeMap<String, Version>,
    acknowledged: usize,
}

impl Oracle {
    fn begin(&mut self, dice: &mut Dice, cluster: &mut Cluster, number: u64) {
        let (node, name) = (dice.node(), name(dice.roll(KEYS)));
        let level = Consistency::Quorum;
        let (request, asked) = match dice.roll(4) {
            0 => (cluster.begin_put(node, &name, &format!("v-{number}"), level), Asked::Put),
            1 => (cluster.begin_delete(node, &name, level), Asked::Delete),
            _ => (cluster.begin_get(node, &name, level), Asked::Get),
        };
        let before = self.known.get(&name).copied().unwrap_or_default();
        self.open.insert(request, Open { node, name, before, asked });
    }

    fn learn(&mut self, name: String, version: Version, asked: Asked) {
        let known = self.known.entry(name).or_default();
        if Some(version) > known.version {
            *known = Known { version: Some(version), deleted: asked == Asked::Delete };
        }
    }

    fn check(&mut self, seed: u64, cluster: &mut Cluster) {
        for name in (0..KEYS).map(name) {
            for node in &cluster.nodes {
                let held = node.stored.get(&key(&name)).filter(|record| record.is_tombstone());
                let seen = self.deletes.get(&name).copied().max(held.map(|held| held.version));
                self.deletes.extend(seen.map(|seen| (name.clone(), seen)));
            }
        }
        for (request, reply) in core::mem::take(&mut cluster.replies) {
            let Some(Open { name, before, asked, .. }) = self.open.remove(&request) else {
                continue;
            };
            match reply {
                Ok(Reply::Written(written)) => {
                    assert!(Some(written.version) > before.version, "seed {seed}: {name}");
                    self.acknowledged += 1;
                    self.learn(name, written.version, asked);
                }
                Ok(Reply::Reading(reading)) => match reading.found.map(|found| found.version) {
                    Some(found) => {
                        // NO_RESURRECTION, READ_SEES_ACKED, READS_MONOTONIC
                        assert!(Some(found) >= before.version, "seed {seed}: {name} {found:?}");
                        self.learn(name, found, Asked::Get);
                    }
                    None => {
                        let covered = self.deletes.get(&name).copied() >= before.version;
                        assert!(before.deleted || covered, "seed {seed}: {name} is lost");
                    }
                },
                Err(_) => {}
            }
        }
    }
}

fn name(number: u64) -> String {
    format!("key-{number}")
}

fn partition_of(cluster: &Cluster, name: &str) -> Partition {
    KeyHash::of(&key(name), 0).partition(cluster.nodes[0].shard.layout.shift())
}

/// Equal floors mean equal content at or below them, and what one is full at the others are closed at.
fn check_floors(seed: u64, cluster: &Cluster) {
    let unmarked = PartitionMarks::new(Marks::default());
    for name in (0..KEYS).map(name) {
        let partition = partition_of(cluster, &name);
        for (at, left) in cluster.nodes.iter().enumerate() {
            for right in &cluster.nodes[at + 1..] {
                let serves = |node: &crate::test_node::Node| {
                    let ordinal = node.shard.ordinal;
                    node.shard.is_admitted()
                        && node.shard.layout.sets(partition).contains(ordinal)
                        && !node.shard.floors.awaits_closed(partition)
                        && !node.shard.floors.is_damaged(partition)
                };
                let fences = [left, right].map(|node| node.shard.layout.fence());
                if fences[0] != fences[1] || !serves(left) || !serves(right) {
                    continue;
                }
                let marks =
                    [left, right].map(|node| node.shard.floors.get(partition).unwrap_or(&unmarked));
                for (one, other) in [(0, 1), (1, 0)] {
                    let full = marks[one].durable_full();
                    assert!(full <= marks[other].closed(), "seed {seed}: {name} full {full:?}");
                }
                let floor = marks[0].floor();
                let held = [left, right].map(|node| {
                    shown(node.stored.get(&key(&name)).cloned(), floor).map(|held| held.version)
                });
                let below = held.iter().flatten().all(|version| version.hlc <= floor);
                if marks[1].floor() == floor && below {
                    assert_eq!(held[0], held[1], "seed {seed}: {name} at {floor:?}");
                }
            }
        }
    }
}

/// Any write may come back as a hint, long after it was given up.
fn deliver_late(dice: &mut Dice, cluster: &mut Cluster, late: &mut Vec<Message>) {
    let at = usize::try_from(dice.roll(u64::try_from(late.len()).unwrap())).unwrap();
    let mut message = late.swap_remove(at);
    if let Message::Request { to, request, .. } = &mut message
        && dice.roll(2) == 0
        && let Command::Store { purpose, .. } = &mut request.command
    {
        *purpose = Purpose::Hint;
        request.fence = cluster.node(*to).shard.layout.fence();
    }
    cluster.deliver(message);
}

fn is_store(message: &Message) -> bool {
    matches!(message, Message::Request { request, .. }
        if matches!(request.command, Command::Store { .. }))
}

fn fault(dice: &mut Dice, cluster: &mut Cluster, oracle: &mut Oracle) {
    let (one, other) = (dice.node(), dice.node());
    if one == other {
        match dice.roll(8) {
            0 => cluster.node(one).stalled = true,
            1 => crash(cluster, oracle, one),
            2 => cluster.node(one).hints.clear(),
            3 => rot(dice, cluster, one),
            4 => lose(cluster, oracle, one),
            _ => cluster.node(one).stalled = false,
        }
    } else if dice.roll(4) == 0 {
        cluster.cut(one, other);
    } else {
        cluster.link(one, other);
    }
}

/// What was not durable is lost, and nobody hears of what was under way.
fn crash(cluster: &mut Cluster, oracle: &mut Oracle, number: u32) {
    if !cluster.node(number).shard.is_admitted() {
        return;
    }
    let others = 1..=u32::try_from(cluster.nodes.len()).unwrap();
    for other in others.filter(|&other| other != number) {
        cluster.cut(number, other);
    }
    oracle.open.retain(|_, open| open.node != number);
    cluster.node(number).stalled = false;
    let layout = cluster.node(number).shard.layout.clone();
    cluster.crash(number, &layout);
}

/// Whether nothing is damaged anywhere: only one copy is at a time.
fn is_whole(cluster: &Cluster) -> bool {
    cluster.nodes.iter().all(|node| {
        node.marked.is_empty() && node.marks.values().all(|marks| marks.damage == Damage::None)
    })
}

/// A record cannot be read any more.
fn rot(dice: &mut Dice, cluster: &mut Cluster, node: u32) {
    let key = key(&name(dice.roll(KEYS)));
    if !is_whole(cluster) || !cluster.node(node).stored.contains_key(&key) {
        return;
    }
    cluster.node(node).damaged.insert(key.clone());
    let found = cluster.node(node).mark(&key).expect("nothing was marked");
    cluster.step(node, found);
}

/// A crash after which the file of a node is gone, with all that it held.
fn lose(cluster: &mut Cluster, oracle: &mut Oracle, number: u32) {
    if !is_whole(cluster) || !cluster.node(number).shard.is_admitted() {
        return;
    }
    let node = cluster.node(number);
    node.stored.clear();
    for partition in node.shard.layout.partitions() {
        node.marks.entry(partition).or_default().damage = Damage::Lost;
    }
    crash(cluster, oracle, number);
}

/// Learns every document up to this fence, one after the other.
fn learn(cluster: &mut Cluster, node: u32, course: Course, fence: u64) {
    loop {
        let known = cluster.node(node).shard.layout.clone();
        let next = known.fence().number + 1;
        if next > fence {
            return;
        }
        let layout: Arc<Layout> = Arc::new(known.after(course.document(next)));
        let new = layout.made_new(Ordinal(node), Some(known.fence())).into();
        cluster.step(node, Event::Layout { layout, new });
    }
}

fn layouts(dice: &mut Dice, cluster: &mut Cluster, course: Course) {
    let nodes = course.nodes();
    let known = |node: u32| cluster.nodes[node as usize - 1].shard.layout.fence().number;
    let (latest, node) = ((1..=nodes).map(known).max().unwrap(), dice.node());
    match dice.roll(1500) {
        0 if course == Course::Wavers => learn(cluster, node, course, latest + 1),
        1..=60 => learn(cluster, node, course, latest),
        _ => {}
    }
}

fn tick(cluster: &mut Cluster, time: Duration) {
    cluster.time += time;
    let nodes = u32::try_from(cluster.nodes.len()).unwrap();
    (1..=nodes).for_each(|node| cluster.step(node, Event::Tick));
}

fn heal(seed: u64, cluster: &mut Cluster, oracle: &mut Oracle, course: Course) {
    let nodes = course.nodes();
    let known = |node: u32| cluster.nodes[node as usize - 1].shard.layout.fence().number;
    let latest = (1..=nodes).map(known).max().unwrap();
    let stable = latest + 1 - latest % 2;
    for node in 1..=nodes {
        cluster.node(node).stalled = false;
        (1..=nodes).filter(|&other| other != node).for_each(|other| cluster.link(node, other));
    }
    (1..=nodes).for_each(|node| learn(cluster, node, course, stable));
    cluster.run();
    oracle.check(seed, cluster);
    // What could not be healed for long is tried every ten minutes.
    let mut damaged = 0;
    while !is_whole(cluster) && damaged < 1300 {
        damaged += 1;
        tick(cluster, Duration::from_millis(500));
        cluster.run();
        oracle.check(seed, cluster);
        check_floors(seed, cluster);
    }
    for _ in 0..800 {
        tick(cluster, Duration::from_millis(500));
        cluster.run();
        oracle.check(seed, cluster);
        check_floors(seed, cluster);
    }
}

/// How many writes were acknowledged, and how many floors stand above zero before the end.
fn run(course: Course, seed: u64) -> (usize, usize) {
    let nodes = course.nodes();
    let mut dice = Dice::new(seed, nodes);
    let layout = Arc::new(Layout::of(course.document(1)));
    let (mut cluster, mut oracle) = (Cluster::of(nodes, &layout), Oracle::default());
    let mut late: Vec<Message> = Vec::new();
    for number in 0..4000 {
        match dice.roll(40) {
            0..=1 => oracle.begin(&mut dice, &mut cluster, number),
            2 if dice.roll(4) == 0 => fault(&mut dice, &mut cluster, &mut oracle),
            3 => tick(&mut cluster, Duration::from_millis(dice.roll(60))),
            4 => tick(&mut cluster, Duration::from_millis(dice.roll(15_000))),
            5 if late.len() < 20 => {
                late.extend(cluster.wire.iter().filter(|m| is_store(m)).cloned())
            }
            6 if !late.is_empty() && dice.roll(5) == 0 => {
                deliver_late(&mut dice, &mut cluster, &mut late);
            }
            7..=12 => {
                let node = dice.node();
                if !cluster.node(node).stalled {
                    cluster.sync(node);
                }
            }
            _ => traffic(&mut dice, &mut cluster, 5),
        }
        layouts(&mut dice, &mut cluster, course);
        cluster.said.clear();
        oracle.check(seed, &mut cluster);
        check_floors(seed, &cluster);
    }
    let floors = |node: &crate::test_node::Node| {
        node.marks.values().filter(|marks| marks.floor > Hlc::ZERO).count()
    };
    let floors = cluster.nodes.iter().map(floors).sum();
    heal(seed, &mut cluster, &mut oracle, course);
    assert!(is_whole(&cluster), "seed {seed}: not all is healed");
    for name in (0..KEYS).map(name) {
        let held = |node: u32| cluster.nodes[node as usize - 1].stored.get(&key(&name));
        let first = held(1);
        assert!((2..=NODES).all(|node| held(node) == first), "seed {seed}: {name} differs");
        assert!(first.is_none_or(|held| !held.is_tombstone()), "seed {seed}: {name} has not gone");
        let known = oracle.known.get(&name).copied().unwrap_or_default();
        match first {
            Some(held) => assert!(Some(held.version) >= known.version, "seed {seed}: {name}"),
            None => {
                let covered = oracle.deletes.get(&name).copied() >= known.version;
                assert!(known.deleted || covered, "seed {seed}: {name} is lost");
            }
        }
    }
    (oracle.acknowledged, floors)
}

fn runs(course: Course, seeds: core::ops::Range<u64>) -> (usize, usize) {
    seeds.map(|seed| run(course, seed)).fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
}

#[test]
fn nothing_comes_back_while_messages_come_late_and_nodes_crash() {
    let (acknowledged, floors) = runs(Course::Same, 0..40);
    assert!(acknowledged > 300 && floors > 40, "{acknowledged} {floors}: the test tests little");
}

#[test]
fn nothing_comes_back_while_a_change_of_layout_begins_and_is_cancelled_again_and_again() {
    let (acknowledged, floors) = runs(Course::Wavers, 0..40);
    assert!(acknowledged > 200 && floors > 20, "{acknowledged} {floors}: the test tests little");
}
