//! Clients on a cluster whose messages are lost, doubled and reordered, whose links break and whose
//! disks stall and refuse: what was promised holds all the time, and in the end all replicas agree.
//!
//! A small cousin of the simulator, without crashes and with clocks that run true, if apart.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_model::{Consistency, Document, Failure, Ordinal, Outcome, Version};
use paravon_ring::Layout;

use crate::event::{Effect, Event, Reply};
use crate::test_cluster::{Cluster, document, joint_document, key};
use crate::test_node::Node;

const NODES: u32 = 3;
const KEYS: u64 = 3;

/// How the layout changes under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    /// The same three members at every fence.
    Same,
    /// Every other fence begins to put a fourth node in the place of the third, and the next one cancels
    /// it.
    Wavers,
    /// As the first; records rot, never the same on two members before the first is whole again.
    Rots,
}

impl Course {
    fn nodes(self) -> u32 {
        match self {
            Self::Same | Self::Rots => NODES,
            Self::Wavers => NODES + 1,
        }
    }

    /// All members store everything, so a few partitions are as good as many.
    fn document(self, fence: u64) -> Arc<Document> {
        let document = match self {
            Self::Wavers if fence.is_multiple_of(2) => {
                joint_document(&[1, 2, 3], &[1, 2, 4], fence)
            }
            _ => document(NODES, fence),
        };
        Arc::new(Document { shift: 4, ..Document::clone(&document) })
    }
}

/// A linear congruential generator (Knuth's MMIX).
pub(crate) struct Dice {
    state: u64,
    nodes: u32,
}

impl Dice {
    pub(crate) fn new(seed: u64, nodes: u32) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, nodes }
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % sides
    }

    pub(crate) fn node(&mut self) -> u32 {
        u32::try_from(self.roll(u64::from(self.nodes))).unwrap() + 1
    }
}

enum Asked {
    Put { value: String },
    Get,
}

/// What clients know.
#[derive(Default)]
struct Oracle {
    /// Requests without an answer: the key, and the largest version seen of it before they began.
    open: BTreeMap<u64, (String, Option<Version>, Asked)>,
    /// The largest version that was acknowledged or read, by key.
    seen: BTreeMap<String, Version>,
    refused: BTreeSet<Vec<u8>>,
    /// Under which version each value was acknowledged; what a read shows of it may be its first stamp.
    stamped: BTreeMap<Vec<u8>, Version>,
    /// The largest version that was acknowledged, by key.
    kept: BTreeMap<String, Version>,
}

impl Oracle {
    fn begin(&mut self, request: u64, name: &str, asked: Asked) {
        self.open.insert(request, (name.into(), self.seen.get(name).copied(), asked));
    }

    fn check(&mut self, seed: u64, cluster: &mut Cluster) {
        for (request, reply) in core::mem::take(&mut cluster.replies) {
            let Some((name, before, asked)) = self.open.remove(&request) else { continue };
            let version = match (&reply, asked) {
                (Ok(Reply::Written(written)), Asked::Put { value }) => {
                    // ACK_IS_LATEST
                    assert!(Some(written.version) > before, "seed {seed}: {name} {written:?}");
                    self.stamped.insert(value.into_bytes(), written.version);
                    let kept = self.kept.entry(name.clone()).or_insert(written.version);
                    *kept = written.version.max(*kept);
                    Some(written.version)
                }
                (Ok(Reply::Written(_)), Asked::Get) => panic!("a read is answered as one"),
                (Ok(Reply::Reading(reading)), _) => {
                    let found = reading.found.as_ref();
                    let version = found.map(|found| found.version);
                    // READ_SEES_ACKED, READS_MONOTONIC
                    assert!(version >= before, "seed {seed}: {name} {reading:?} {before:?}");
                    if let Some(found) = found {
                        let value = found.value.bytes.to_vec();
                        assert!(!self.refused.contains(&value), "seed {seed}: {name} {reading:?}");
                        let stamped = self.stamped.get(&value);
                        // HINT_ORDER: nothing old comes back under a larger version.
                        assert!(
                            stamped.is_none_or(|stamped| found.version <= *stamped),
                            "seed {seed}"
                        );
                    }
                    version
                }
                (Err(failure), Asked::Put { value }) => {
                    if failure.outcome() == Outcome::Refused {
                        self.refused.insert(value.into_bytes());
                    }
                    None
                }
                (Err(_), Asked::Get) => None,
            };
            if let Some(version) = version {
                let seen = self.seen.entry(name).or_insert(version);
                *seen = version.max(*seen);
            }
        }
    }
}

fn fault(dice: &mut Dice, cluster: &mut Cluster) {
    let (one, other) = (dice.node(), dice.node());
    if one == other {
        let node = cluster.node(one);
        match dice.roll(6) {
            0 => node.stalled = true,
            1 => node.broken = Some(Failure::Overloaded { retry_after_ms: 1 }),
            2 => node.unstored = true,
            3 => cluster.admit(one),
            _ => (node.stalled, node.broken) = (false, None),
        }
        return;
    }
    let peer = Ordinal(other);
    match dice.roll(6) {
        0 => cluster.cut(one, other),
        1 => cluster.step(one, Event::Dead { peer }),
        2 | 3 => cluster.link(one, other),
        _ => cluster.step(one, Event::Alive { peer }),
    }
}

/// Moves one message: mostly to its end, sometimes into nothing, sometimes twice.
pub(crate) fn traffic(dice: &mut Dice, cluster: &mut Cluster, doubled: u64) {
    let waiting = u64::try_from(cluster.wire.len()).unwrap();
    if waiting == 0 {
        return;
    }
    let at = usize::try_from(dice.roll(waiting.min(8))).unwrap();
    let Some(message) = cluster.wire.remove(at) else { return };
    if dice.roll(100) < 5 {
        return;
    }
    if dice.roll(100) < doubled {
        cluster.wire.push_back(message.clone());
    }
    cluster.deliver(message);
}

fn begin(dice: &mut Dice, cluster: &mut Cluster, oracle: &mut Oracle, number: u64) {
    let (node, name) = (dice.node(), format!("key-{}", dice.roll(KEYS)));
    if dice.roll(2) == 0 {
        let value = format!("value-{number}");
        let request = cluster.begin_put(node, &name, &value, Consistency::Quorum);
        oracle.begin(request, &name, Asked::Put { value });
    } else {
        let request = cluster.begin_get(node, &name, Consistency::Quorum);
        oracle.begin(request, &name, Asked::Get);
    }
}

/// A later document spreads: decided somewhere, told by whoever meets it.
fn layouts(dice: &mut Dice, cluster: &mut Cluster, course: Course) {
    if dice.roll(200) == 0 {
        let node = dice.node();
        let fence = cluster.node(node).shard.layout.fence().number + 1;
        let known = |other| cluster.nodes[other as usize - 1].shard.layout.fence().number;
        if (1..=dice.nodes).all(|other| known(other) < fence) {
            learn(cluster, node, course.document(fence));
        }
    }
    for (node, said) in core::mem::take(&mut cluster.said) {
        match said {
            Effect::Learn { document } => {
                learn(cluster, node, document);
            }
            Effect::Teach { peer } if dice.roll(3) > 0 => {
                let document = cluster.node(node).shard.layout.document().clone();
                learn(cluster, peer.0, document);
            }
            _ => {}
        }
    }
}

/// Costs what differs from the layout that the node knows.
fn learn(cluster: &mut Cluster, node: u32, document: Arc<Document>) {
    let layout = Arc::new(cluster.node(node).shard.layout.after(document));
    cluster.learn(&[node], &layout);
}

/// A record rots unless another member lacks it already. Hours pass, too.
fn rot(dice: &mut Dice, cluster: &mut Cluster) {
    match dice.roll(40) {
        0..=5 => {
            let (node, key) = (dice.node(), key(&format!("key-{}", dice.roll(KEYS))));
            let lacks = |node: &Node| node.damaged.contains(&key) || node.marked.contains(&key);
            if !cluster.nodes.iter().any(lacks) && cluster.node(node).stored.contains_key(&key) {
                cluster.node(node).damaged.insert(key);
            }
        }
        6 => scrub(cluster, dice.node()),
        7 => cluster.pass(Duration::from_secs(dice.roll(30))),
        _ => {}
    }
}

/// The store of a node finds what is damaged.
fn scrub(cluster: &mut Cluster, node: u32) {
    for key in cluster.node(node).damaged.clone() {
        let found = cluster.node(node).mark(&key);
        found.into_iter().for_each(|event| cluster.step(node, event));
    }
}

fn heal(cluster: &mut Cluster, course: Course) {
    let all: Vec<u32> = (1..=course.nodes()).collect();
    let known = |&node: &u32| cluster.nodes[node as usize - 1].shard.layout.fence().number;
    let latest = all.iter().map(known).max().unwrap();
    let even = latest + latest % 2;
    for &one in &all {
        learn(cluster, one, course.document(even));
        let node = cluster.node(one);
        (node.stalled, node.broken) = (false, None);
        cluster.admit(one);
        scrub(cluster, one);
        for &other in all.iter().filter(|&&other| other != one) {
            cluster.link(one, other);
            cluster.step(one, Event::Alive { peer: Ordinal(other) });
        }
    }
    cluster.run();
    cluster.pass(Duration::from_secs(20));
    // Last of all the change is cancelled; nobody takes the hints of who is no member then.
    all.iter().for_each(|&node| learn(cluster, node, course.document(even + 1)));
    cluster.run();
    cluster.pass(Duration::from_secs(20));
    if course == Course::Rots {
        cluster.pass(MAX_REQUEST_TIMEOUT);
    }
}

/// How many writes were acknowledged.
fn run(course: Course, seed: u64) -> usize {
    let nodes = course.nodes();
    let mut dice = Dice::new(seed, nodes);
    let layout = Arc::new(Layout::of(course.document(1)));
    let (mut cluster, mut oracle) = (Cluster::of(nodes, &layout), Oracle::default());
    for node in 1..=nodes {
        cluster.node(node).skew_ms = i64::try_from(dice.roll(500)).unwrap() - 250;
        cluster.measure(node);
    }
    let doubled = if seed.is_multiple_of(2) { 20 } else { 0 };
    for number in 0..1500 {
        match dice.roll(30) {
            0..=2 => begin(&mut dice, &mut cluster, &mut oracle, number),
            3 => fault(&mut dice, &mut cluster),
            4 => {
                cluster.time += Duration::from_millis(dice.roll(60));
                (1..=nodes).for_each(|node| cluster.step(node, Event::Tick));
            }
            5..=8 => {
                let node = dice.node();
                if !cluster.node(node).stalled {
                    cluster.sync(node);
                }
            }
            9 if course == Course::Rots => rot(&mut dice, &mut cluster),
            _ => traffic(&mut dice, &mut cluster, doubled),
        }
        layouts(&mut dice, &mut cluster, course);
        if doubled > 0 {
            // A doubled copy may be refused once and stored once.
            oracle.refused.clear();
        }
        oracle.check(seed, &mut cluster);
    }
    heal(&mut cluster, course);
    oracle.check(seed, &mut cluster);
    assert!(oracle.open.is_empty(), "seed {seed}: every request is answered");
    // HINT_NOT_LOST: what was acknowledged reaches every replica without a read.
    for (name, version) in &oracle.kept {
        for node in 1..=NODES {
            assert!(cluster.held(node, name) >= Some(*version), "seed {seed}: {name} on {node}");
        }
    }
    for name in (0..KEYS).map(|number| format!("key-{number}")) {
        let request = cluster.begin_get(1, &name, Consistency::All);
        oracle.begin(request, &name, Asked::Get);
        cluster.run();
        assert!(cluster.read(request).is_some_and(|end| end.is_ok()), "seed {seed}: {name}");
        oracle.check(seed, &mut cluster);
        let held: BTreeSet<_> = (1..=NODES).map(|node| cluster.held(node, &name)).collect();
        assert_eq!(held.len(), 1, "seed {seed}: {name} {held:?}");
        assert!(held.first().unwrap() >= &oracle.seen.get(&name).copied(), "seed {seed}");
    }
    for node in 1..=nodes {
        assert!(cluster.node(node).hints.is_empty(), "seed {seed}: hints are left");
        assert!(cluster.node(node).marked.is_empty(), "seed {seed}: damage is left");
        assert_eq!(cluster.node(node).shard.under_way(), 0, "seed {seed}");
    }
    oracle.stamped.len()
}

#[test]
fn promises_hold_under_faults_and_replicas_agree_after_them() {
    let acknowledged: usize = (0..200).map(|seed| run(Course::Same, seed)).sum();
    assert!(acknowledged > 1300, "{acknowledged} writes were acknowledged: the test tests little");
}

#[test]
fn promises_hold_while_a_change_of_layout_begins_and_is_cancelled_again_and_again() {
    let acknowledged: usize = (0..200).map(|seed| run(Course::Wavers, seed)).sum();
    assert!(acknowledged > 1000, "{acknowledged} writes were acknowledged: the test tests little");
}

/// `NO_SILENT_ROT`
#[test]
fn promises_hold_while_records_rot_and_are_healed() {
    let acknowledged: usize = (0..200).map(|seed| run(Course::Rots, seed)).sum();
    assert!(acknowledged > 500, "{acknowledged} writes were acknowledged: the test tests little");
}
