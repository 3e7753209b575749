//! Whole machines over a small network that loses and reorders: founding, joining, restarts, old disks.

mod ballots;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    ChangeId, ClusterId, ClusterMessage, ClusterState, Document, JoinRefusal, NodeId, Ordinal,
    Revision,
};

use super::event::{AdminToken, ClusterEffect, ClusterEvent, JoinDone, JoinFailure, Notice};
use super::random::Random;
use super::settings::{ClusterPhase, ClusterSettings};
use super::worlds::{name, settings_of};
use super::{Cluster, HelloRefusal, RefusedAs};
use crate::clock::Permit;
use crate::event::Now;

const STEP: Duration = Duration::from_millis(5);
const REDIAL: u32 = 20;

struct World {
    now: Duration,
    steps: u32,
    random: Random,
    loss_percent: usize,
    nodes: BTreeMap<NodeId, Node>,
    under_way: Vec<(Duration, NodeId, ClusterEvent)>,
    /// From whom to whom messages can be told.
    links: BTreeSet<(NodeId, NodeId)>,
    /// Every document that was ever given to a disk.
    documents: BTreeMap<(ClusterId, Revision), Document>,
}

struct Node {
    settings: ClusterSettings,
    machine: Option<Cluster>,
    disk: ClusterState,
    /// States on their way to the disk.
    unsynced: Vec<(u64, ClusterState)>,
    /// Ahead of the true time.
    wall_ahead_ms: i64,
    dialled: Vec<paravon_model::Address>,
    layouts: Vec<Revision>,
    answers: Vec<(AdminToken, Result<JoinDone, JoinFailure>)>,
    notices: Vec<Notice>,
    permit: Option<Permit>,
    refusals: Vec<HelloRefusal>,
}

impl World {
    /// Nodes of these names, all of which are seeds of each other.
    fn of(names: &[&str], seed: u128) -> Self {
        let mut world = Self {
            now: Duration::from_secs(1),
            steps: 0,
            random: Random::new(seed),
            loss_percent: 0,
            nodes: BTreeMap::new(),
            under_way: Vec::new(),
            links: BTreeSet::new(),
            documents: BTreeMap::new(),
        };
        for text in names {
            world.add(text, settings_of(text, names));
        }
        world
    }

    fn add(&mut self, text: &str, settings: ClusterSettings) {
        let node = Node {
            settings,
            machine: None,
            disk: ClusterState::new(name(text)),
            unsynced: Vec::new(),
            wall_ahead_ms: 0,
            dialled: Vec::new(),
            layouts: Vec::new(),
            answers: Vec::new(),
            notices: Vec::new(),
            permit: None,
            refusals: Vec::new(),
        };
        self.nodes.insert(name(text), node);
    }

    fn node(&self, text: &str) -> &Node {
        &self.nodes[&name(text)]
    }

    fn node_mut(&mut self, text: &str) -> &mut Node {
        self.nodes.get_mut(&name(text)).expect("it exists")
    }

    fn now_at(&self, who: &NodeId) -> Now {
        let ahead = self.nodes[who].wall_ahead_ms;
        let wall_ms = 1_000_000_000 + u64::try_from(self.now.as_millis()).expect("small");
        Now { monotonic: self.now, wall_ms: wall_ms.saturating_add_signed(ahead) }
    }

    fn start(&mut self, text: &str) {
        let now = self.now_at(&name(text));
        let (run, seed) = (self.random.number(), u128::from(self.random.number()));
        let node = self.node_mut(text);
        node.settings.start += 1;
        node.settings.run = run;
        node.settings.seed = seed;
        node.machine = Some(Cluster::new(node.settings.clone(), node.disk.clone(), now));
        node.layouts.clear();
        node.notices.clear();
        self.step(&name(text), ClusterEvent::Tick);
    }

    fn start_all(&mut self) {
        for who in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.start(who.as_str());
        }
    }

    /// Ends a node; only its disk stays.
    fn crash(&mut self, text: &str) {
        let who = name(text);
        // Some of what was under way to the disk may have arrived, and nobody was told.
        let chosen = self.random.below(3);
        let node = self.node_mut(text);
        if let Some((number, _)) = node.unsynced.get(chosen).cloned() {
            node.sync(number);
        }
        node.unsynced.clear();
        node.machine = None;
        node.dialled.clear();
        self.under_way.retain(|(_, to, event)| {
            *to != who && !matches!(event, ClusterEvent::Told { from, .. } if *from == who)
        });
        let gone: Vec<_> =
            self.links.iter().filter(|(from, to)| *from == who || *to == who).cloned().collect();
        for (from, to) in gone {
            self.links.remove(&(from.clone(), to.clone()));
            if from != who {
                self.step(&from, ClusterEvent::Unlinked { peer: to });
            }
        }
    }

    fn step(&mut self, who: &NodeId, event: ClusterEvent) {
        let now = self.now_at(who);
        let node = self.nodes.get_mut(who).expect("it exists");
        if let ClusterEvent::Persisted { number } = event {
            node.sync(number);
        }
        let Some(machine) = &mut node.machine else { return };
        let mut out = Vec::new();
        machine.step(now, event, &mut out);
        for effect in out {
            self.carry_out(who, effect);
        }
    }

    fn carry_out(&mut self, who: &NodeId, effect: ClusterEffect) {
        let soon = self.now + self.random.up_to(Duration::from_millis(20));
        let node = self.nodes.get_mut(who).expect("it exists");
        match effect {
            ClusterEffect::Dial { addresses } => node.dialled = addresses,
            ClusterEffect::Tell { to, message } => {
                let is_linked = self.links.contains(&(who.clone(), to.clone()));
                if is_linked && self.random.below(100) >= self.loss_percent {
                    let event = ClusterEvent::Told { from: who.clone(), message };
                    self.under_way.push((soon, to, event));
                }
            }
            ClusterEffect::Persist { number, state } => {
                if let Some(document) = &state.document {
                    let key = (document.cluster_id, document.revision());
                    let first = self.documents.entry(key).or_insert_with(|| (**document).clone());
                    assert_eq!(*first, **document, "LAYOUT_AGREES");
                }
                node.unsynced.push((number, state));
                self.under_way.push((soon, who.clone(), ClusterEvent::Persisted { number }));
            }
            ClusterEffect::Layout { document } => {
                assert_eq!(
                    node.disk.document.as_ref().map(|d| d.revision() >= document.revision()),
                    Some(true),
                    "served before it was durable"
                );
                node.layouts.push(document.revision());
                let fence = document.fence();
                self.under_way.push((soon, who.clone(), ClusterEvent::Settled { fence }));
            }
            ClusterEffect::Clock { permit } => node.permit = Some(permit),
            ClusterEffect::Admin { token, answer } => node.answers.push((token, answer)),
            ClusterEffect::Notice(notice) => node.notices.push(notice),
            ClusterEffect::Alive { .. } | ClusterEffect::Dead { .. } => {}
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            self.steps += 1;
            if self.steps.is_multiple_of(REDIAL) {
                self.dial();
            }
            let (due, later) =
                core::mem::take(&mut self.under_way).into_iter().partition(|e| e.0 <= self.now);
            self.under_way = later;
            let due: Vec<_> = due;
            for (_, to, event) in due {
                self.step(&to, event);
            }
            for who in self.nodes.keys().cloned().collect::<Vec<_>>() {
                let node = &self.nodes[&who];
                let wake = node.machine.as_ref().map_or(Duration::MAX, Cluster::next_wake);
                if wake <= self.now || self.steps.is_multiple_of(REDIAL) {
                    self.step(&who, ClusterEvent::Tick);
                }
            }
        }
    }

    fn run_seconds(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }

    /// Every node dials whom it wants to be linked with.
    fn dial(&mut self) {
        for from in self.nodes.keys().cloned().collect::<Vec<_>>() {
            for address in self.nodes[&from].dialled.clone() {
                let to = name(address.as_str());
                let is_up = |who| self.nodes.get(who).is_some_and(|node| node.machine.is_some());
                if is_up(&from) && is_up(&to) && !self.links.contains(&(from.clone(), to.clone())) {
                    self.connect(&from, &to);
                }
            }
        }
    }

    fn connect(&mut self, from: &NodeId, to: &NodeId) {
        let (Some(ours), Some(theirs)) = (self.hello(from), self.hello(to)) else { return };
        let there = self.admit(to, from, &ours);
        let here = self.admit(from, to, &theirs);
        for (verdict, refused, by) in [(&there, from, to), (&here, to, from)] {
            if let Err(refusal) = verdict {
                let refusal = match refusal {
                    HelloRefusal::OldDisk { .. } => RefusedAs::OldDisk,
                    _ => RefusedAs::Other,
                };
                self.step(refused, ClusterEvent::Refused { by: by.clone(), refusal });
            }
        }
        if there.is_ok() && here.is_ok() {
            self.links.insert((from.clone(), to.clone()));
            self.step(from, ClusterEvent::Linked { hello: theirs });
        }
    }

    fn hello(&self, who: &NodeId) -> Option<paravon_model::PeerHello> {
        self.nodes[who].machine.as_ref().map(Cluster::hello)
    }

    fn admit(
        &mut self,
        at: &NodeId,
        of: &NodeId,
        hello: &paravon_model::PeerHello,
    ) -> Result<(), HelloRefusal> {
        let now = self.now_at(at);
        let node = self.nodes.get_mut(at).expect("it exists");
        let machine = node.machine.as_mut().expect("it is up");
        let verdict = machine.admit(now, of, hello);
        if let Err(refusal) = &verdict {
            node.refusals.push(refusal.clone());
        }
        verdict
    }

    fn phase(&self, text: &str) -> ClusterPhase {
        self.node(text).machine.as_ref().expect("it is up").status().phase
    }

    fn version(&self, text: &str) -> Option<u64> {
        self.node(text).machine.as_ref()?.document().map(|document| document.version)
    }

    fn join(&mut self, text: &str, token: u64) {
        let event = ClusterEvent::Join { token: AdminToken(token), dry_run: false };
        self.step(&name(text), event);
    }

    /// Everybody serves the same document with so many members.
    fn assert_all_serve(&self, members: usize) {
        let mut versions = BTreeSet::new();
        for (who, node) in &self.nodes {
            let machine = node.machine.as_ref().expect("it is up");
            let status = machine.status();
            assert_eq!(status.phase, ClusterPhase::Serving, "{who}");
            let document = status.document.expect("a member has one");
            assert_eq!(document.current.len(), members, "{who}");
            assert_eq!(node.layouts.last(), Some(&document.revision()), "{who}");
            assert_eq!(machine.stored_fence(), Some(document.fence()), "{who}");
            versions.insert((document.cluster_id, document.version));
        }
        assert_eq!(versions.len(), 1, "one cluster, one document");
    }

    fn clusters(&self) -> usize {
        self.documents.keys().map(|(cluster_id, _)| *cluster_id).collect::<BTreeSet<_>>().len()
    }
}

impl Node {
    /// The disk holds the state of this number now, and with it all earlier ones.
    fn sync(&mut self, number: u64) {
        while self.unsynced.first().is_some_and(|(first, _)| *first <= number) {
            self.disk = self.unsynced.remove(0).1;
        }
    }
}

/// Three that have become one cluster.
fn three(seed: u128) -> World {
    let mut world = World::of(&["a", "b", "c"], seed);
    world.start_all();
    world.run_seconds(3);
    world.join("b", 1);
    world.join("c", 2);
    world.run_seconds(4);
    world.assert_all_serve(3);
    world
}

/// Runs until the council is asked about a join at this member.
fn run_until_deciding(world: &mut World, text: &str) {
    for _ in 0..1000 {
        world.run(STEP);
        if machine(world, text).intake.is_deciding() {
            return;
        }
    }
    panic!("{text} decides nothing");
}

fn machine<'world>(world: &'world World, text: &str) -> &'world Cluster {
    world.node(text).machine.as_ref().expect("it is up")
}

#[test]
fn a_lone_node_founds_at_once_and_serves_alone() {
    let mut world = World::of(&["a"], 1);
    world.start("a");
    world.run(Duration::from_millis(50));
    world.assert_all_serve(1);
    assert_eq!(world.node("a").permit, Some(Permit::Alone));
    world.crash("a");
    world.start("a");
    world.run(Duration::from_millis(50));
    world.assert_all_serve(1);
    assert_eq!(world.clusters(), 1);
}

#[test]
fn three_nodes_found_one_cluster_and_two_join_in_one_change() {
    let world = three(1);
    let document = world.node("a").machine.as_ref().and_then(|m| m.document().cloned());
    let document = document.expect("it has one");
    assert_eq!((document.version, document.operations.len()), (2, 2));
    assert_eq!(document.council.len(), 3);
    for (text, ordinal) in [("b", 2), ("c", 3)] {
        let ordinal = Ordinal(ordinal);
        assert!(matches!(world.node(text).answers[..], [(_, Ok(JoinDone::Joined { ordinal: o }))]
            if o == ordinal || o.0 == 5 - ordinal.0));
    }
    for text in ["a", "b", "c"] {
        assert!(matches!(world.node(text).permit, Some(Permit::Measured { .. })), "{text}");
        let status = world.node(text).machine.as_ref().expect("up").status();
        assert!(status.members.iter().filter(|m| m.offset_ms.is_some()).count() == 2);
    }
}

#[test]
fn nobody_founds_while_a_seed_is_silent() {
    let mut world = World::of(&["a", "b", "c"], 2);
    world.start("a");
    world.start("b");
    world.run_seconds(11);
    assert_eq!(world.clusters(), 0);
    let silent = [paravon_model::Address::new("c")].into();
    assert!(world.node("a").notices.contains(&Notice::SeedsSilent { silent }));
    world.start("c");
    world.run_seconds(3);
    assert_eq!((world.clusters(), world.phase("a")), (1, ClusterPhase::Serving));
    assert_eq!(world.phase("b"), ClusterPhase::Waiting);
    assert!(world.node("b").notices.contains(&Notice::WaitsToJoin));
}

#[test]
fn five_join_by_themselves_although_a_fifth_of_all_messages_is_lost() {
    for seed in 0..4 {
        let names = ["a", "b", "c", "d", "e"];
        let mut world = World::of(&names, seed);
        world.loss_percent = 20;
        for text in names {
            world.node_mut(text).settings.auto_join = true;
        }
        world.start_all();
        world.run_seconds(30);
        world.assert_all_serve(5);
        assert_eq!(world.clusters(), 1);
    }
}

#[test]
fn all_restart_and_serve_again() {
    let mut world = three(3);
    for text in ["a", "b", "c"] {
        world.crash(text);
    }
    world.start("a");
    world.run_seconds(3);
    assert_eq!(world.phase("a"), ClusterPhase::Starting, "nobody has taken its hello yet");
    assert!(world.node("a").layouts.is_empty());
    world.start("b");
    world.run_seconds(2);
    assert_eq!(world.phase("a"), ClusterPhase::Serving, "two of three");
    world.start("c");
    world.run_seconds(2);
    world.assert_all_serve(3);
}

#[test]
fn nodes_crash_at_any_moment_of_founding_and_joining() {
    for seed in 10..40 {
        let names = ["a", "b", "c"];
        let mut world = World::of(&names, seed);
        world.loss_percent = 10;
        for text in names {
            world.node_mut(text).settings.auto_join = true;
        }
        world.start_all();
        for _ in 0..12 {
            let victim = names[world.random.below(3)];
            let pause = world.random.up_to(Duration::from_millis(700));
            world.run(pause);
            world.crash(victim);
            world.run(pause / 4);
            world.start(victim);
        }
        world.loss_percent = 0;
        world.run_seconds(30);
        world.assert_all_serve(3);
        assert_eq!(world.clusters(), 1, "seed {seed}");
    }
}

#[test]
fn a_founder_that_lost_its_disk_does_not_found_again() {
    let mut world = three(4);
    world.crash("a");
    let node = world.node_mut("a");
    node.disk = ClusterState::new(name("a"));
    node.settings.start = 0;
    node.settings.new_cluster_id = ClusterId(999);
    world.start("a");
    world.run_seconds(20);
    assert_eq!(world.clusters(), 1);
    assert_eq!(world.phase("a"), ClusterPhase::OldDisk, "its number had another disk");
    assert!(world.node("a").notices.contains(&Notice::OldDisk));
}

#[test]
fn a_founder_that_restarts_before_its_joiners_know_of_it_serves_once_they_do() {
    let mut world = World::of(&["a", "b", "c"], 3);
    world.start_all();
    world.run_seconds(3);
    world.join("b", 1);
    world.join("c", 2);
    while world.node("a").disk.document.as_ref().is_none_or(|document| document.version < 2) {
        world.run(Duration::from_millis(1));
    }
    assert_eq!((world.version("b"), world.version("c")), (None, None), "they wait");
    world.crash("a");
    world.start("a");
    world.run_seconds(5);
    world.assert_all_serve(3);
}

#[test]
fn an_old_copy_of_a_disk_is_refused_before_it_serves() {
    let mut world = three(5);
    let copy = (world.node("b").disk.clone(), world.node("b").settings.start);
    world.crash("b");
    world.start("b");
    world.run_seconds(2);
    world.crash("b");
    let node = world.node_mut("b");
    (node.disk, node.settings.start) = copy;
    world.start("b");
    world.run_seconds(5);
    assert_eq!(world.phase("b"), ClusterPhase::OldDisk);
    assert!(world.node("b").layouts.is_empty(), "it never served");
    world.join("b", 1);
    assert_eq!(world.node("b").answers.last().unwrap().1, Err(JoinFailure::ShutOut));
    let refusal = HelloRefusal::OldDisk { ordinal: Ordinal(2) };
    assert!(
        ["a", "c"].iter().any(|text| world
            .node(text)
            .refusals
            .iter()
            .any(|r| { r.name() == refusal.name() }))
    );
}

#[test]
fn a_join_is_refused_where_a_member_holds_records_or_has_the_name() {
    let mut world = World::of(&["a", "b"], 6);
    world.start_all();
    world.run_seconds(2);
    world.step(&name("a"), ClusterEvent::HoldsRecords);
    world.join("b", 7);
    world.run_seconds(3);
    let refusal = JoinRefusal::HoldsRecords { member: Ordinal(1) };
    let refused = [(AdminToken(7), Err(JoinFailure::Refused(refusal)))];
    assert_eq!(world.node("b").answers, refused);
    assert_eq!((world.version("a"), world.phase("b")), (Some(1), ClusterPhase::Waiting));
}

#[test]
fn a_node_whose_own_stores_hold_records_does_not_ask_to_join() {
    let mut world = World::of(&["a", "b"], 14);
    world.node_mut("b").settings.holds_records = true;
    world.start_all();
    world.run_seconds(2);
    world.join("b", 7);
    world.run_seconds(3);
    let refused = [(AdminToken(7), Err(JoinFailure::HoldsRecords))];
    assert_eq!(world.node("b").answers, refused);
    assert_eq!(world.version("a"), Some(1), "it was not asked");

    world.crash("b");
    world.node_mut("b").settings.auto_join = true;
    world.start("b");
    world.run_seconds(3);
    let notices = &world.node("b").notices;
    assert_eq!(notices.iter().filter(|&notice| *notice == Notice::HoldsRecords).count(), 1);
    assert_eq!((world.version("a"), world.node("b").disk.joining), (Some(1), None));
}

#[test]
fn a_node_that_was_taken_in_stays_outside_where_its_stores_hold_records() {
    let mut world = World::of(&["a", "b"], 15);
    world.start_all();
    world.run_seconds(2);
    world.join("b", 7);
    run_until_deciding(&mut world, "a");
    world.step(&name("b"), ClusterEvent::HoldsRecords);
    world.run_seconds(3);
    assert_eq!((world.version("a"), world.version("b")), (Some(2), None));
    assert!(world.node("b").layouts.is_empty());
}

#[test]
fn a_node_that_has_asked_to_join_does_not_found_anyway() {
    let mut world = World::of(&["b", "c"], 16);
    let node = world.node_mut("b");
    node.settings.found_anyway = true;
    node.disk.joining = Some(ChangeId(5));
    world.start("b");
    world.run_seconds(20);
    assert_eq!((world.clusters(), world.phase("b")), (0, ClusterPhase::Waiting));
}

#[test]
fn an_administrator_may_plan_first() {
    let mut world = World::of(&["a", "b"], 7);
    world.start_all();
    world.run_seconds(3);
    let event = ClusterEvent::Join { token: AdminToken(1), dry_run: true };
    world.step(&name("b"), event);
    world.run_seconds(2);
    let cluster_id = world.node("a").settings.new_cluster_id;
    let planned = JoinDone::Planned { cluster_id, members: 2 };
    assert_eq!(world.node("b").answers, [(AdminToken(1), Ok(planned))]);
    assert_eq!(world.version("a"), Some(1), "nothing has changed");
}

#[test]
fn a_clock_that_is_far_off_is_held_and_says_so() {
    let mut world = three(8);
    world.node_mut("c").wall_ahead_ms = 2_000;
    world.run_seconds(4);
    let held = world.node("c").permit;
    assert!(matches!(held, Some(Permit::Held { offset_ms: 1900.. })), "{held:?}");
    assert!(matches!(world.node("a").permit, Some(Permit::Measured { .. })), "one of two");
    let notices = &world.node("c").notices;
    assert!(notices.iter().any(|notice| matches!(notice, Notice::ClockHeld { .. })));
    world.node_mut("c").wall_ahead_ms = 0;
    world.run_seconds(4);
    assert!(matches!(world.node("c").permit, Some(Permit::Measured { .. })));
    assert_eq!(world.node("c").notices.last(), Some(&Notice::ClockAgrees));
}

#[test]
fn a_member_that_missed_a_document_learns_it_when_it_comes_back() {
    let mut world = three(9);
    world.crash("c");
    world.add("d", settings_of("d", &["a"]));
    world.start("d");
    world.run_seconds(2);
    world.join("d", 1);
    world.run_seconds(8);
    let refused = JoinFailure::Refused(JoinRefusal::NoMajority);
    assert_eq!(world.version("a"), Some(2), "c has not said that it is empty");
    world.run_seconds(30);
    assert_eq!(world.node("d").answers, [(AdminToken(1), Err(refused))]);
    world.start("c");
    world.join("d", 2);
    world.run_seconds(20);
    world.assert_all_serve(4);
}

#[test]
fn two_that_join_through_different_members_both_get_in() {
    for seed in 50..56 {
        let mut world = three(seed);
        world.loss_percent = 10;
        world.add("d", settings_of("d", &["a"]));
        world.add("e", settings_of("e", &["b"]));
        world.start("d");
        world.start("e");
        world.run_seconds(2);
        world.join("d", 1);
        world.join("e", 2);
        world.run_seconds(15);
        world.loss_percent = 0;
        world.run_seconds(2);
        world.assert_all_serve(5);
    }
}

#[test]
fn strangers_are_not_heard_in_the_council() {
    let mut world = three(11);
    let document = world.node("a").machine.as_ref().and_then(|m| m.document().cloned());
    let mut forged = (*document.expect("it has one")).clone();
    forged.version += 1;
    let message = ClusterMessage::Document(forged.into());
    world.step(&name("a"), ClusterEvent::Told { from: name("stranger"), message });
    world.run_seconds(1);
    assert_eq!(world.version("a"), Some(2));
}
