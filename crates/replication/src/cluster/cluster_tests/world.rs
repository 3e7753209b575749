//! Whole machines over a small network that loses and reorders, with disks that forget what was not
//! synced and shards that take over what a layout gives them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Address, ClusterId, ClusterMessage, ClusterState, Document, Fence, NodeId, PeerHello, Progress,
    Revision,
};

use crate::clock::Permit;
use crate::cluster::event::{
    AdminToken, ClusterEffect, ClusterEvent, Notice, OperateDone, OperateFailure, OperateMode,
    OperatorRequest,
};
use crate::cluster::random::Random;
use crate::cluster::settings::{ClusterPhase, ClusterSettings};
use crate::cluster::worlds::{name, settings_of};
use crate::cluster::{Cluster, HelloRefusal, RefusedAs};
use crate::event::Now;

pub(super) const STEP: Duration = Duration::from_millis(5);
const REDIAL: u32 = 20;

pub(super) struct World {
    pub(super) now: Duration,
    pub(super) steps: u32,
    pub(super) random: Random,
    pub(super) loss_percent: usize,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) under_way: Vec<(Duration, NodeId, ClusterEvent)>,
    /// From whom to whom messages can be told.
    pub(super) links: BTreeSet<(NodeId, NodeId)>,
    /// Every document that was ever given to a disk.
    pub(super) documents: BTreeMap<(ClusterId, u128, Revision), Document>,
}

pub(super) struct Node {
    pub(super) settings: ClusterSettings,
    pub(super) machine: Option<Cluster>,
    pub(super) disk: ClusterState,
    /// States on their way to the disk.
    pub(super) unsynced: Vec<(u64, ClusterState)>,
    /// Ahead of the true time.
    pub(super) wall_ahead_ms: i64,
    pub(super) dialled: Vec<Address>,
    pub(super) layouts: Vec<Revision>,
    /// Fences that its shards were told to admit since its start.
    pub(super) admitted: Vec<Fence>,
    /// Whether its shards take over what a layout gives them.
    pub(super) takes_over: TakesOver,
    /// Hints that its stores keep.
    pub(super) hints: u64,
    pub(super) answers: Vec<(AdminToken, Result<OperateDone, OperateFailure>)>,
    pub(super) notices: Vec<Notice>,
    pub(super) permit: Option<Permit>,
    pub(super) refusals: Vec<HelloRefusal>,
}

/// What shards do with what a layout gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakesOver {
    AtOnce,
    Never,
}

impl World {
    /// Nodes of these names, all of which are seeds of each other.
    pub(super) fn of(names: &[&str], seed: u128) -> Self {
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

    pub(super) fn add(&mut self, text: &str, settings: ClusterSettings) {
        let node = Node {
            settings,
            machine: None,
            disk: ClusterState::new(name(text)),
            unsynced: Vec::new(),
            wall_ahead_ms: 0,
            dialled: Vec::new(),
            layouts: Vec::new(),
            admitted: Vec::new(),
            takes_over: TakesOver::AtOnce,
            hints: 0,
            answers: Vec::new(),
            notices: Vec::new(),
            permit: None,
            refusals: Vec::new(),
        };
        self.nodes.insert(name(text), node);
    }

    pub(super) fn node(&self, text: &str) -> &Node {
        &self.nodes[&name(text)]
    }

    pub(super) fn node_mut(&mut self, text: &str) -> &mut Node {
        self.nodes.get_mut(&name(text)).expect("it exists")
    }

    pub(super) fn now_at(&self, who: &NodeId) -> Now {
        let ahead = self.nodes[who].wall_ahead_ms;
        let wall_ms = 1_000_000_000 + u64::try_from(self.now.as_millis()).expect("small");
        Now { monotonic: self.now, wall_ms: wall_ms.saturating_add_signed(ahead) }
    }

    pub(super) fn start(&mut self, text: &str) {
        let now = self.now_at(&name(text));
        let (run, seed) = (self.random.number(), u128::from(self.random.number()));
        let node = self.node_mut(text);
        node.settings.start += 1;
        node.settings.run = run;
        node.settings.seed = seed;
        node.machine = Some(Cluster::new(node.settings.clone(), node.disk.clone(), now));
        node.layouts.clear();
        node.admitted.clear();
        node.notices.clear();
        self.step(&name(text), ClusterEvent::Tick);
    }

    pub(super) fn start_all(&mut self) {
        for who in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.start(who.as_str());
        }
    }

    /// Ends a node; only its disk stays.
    pub(super) fn crash(&mut self, text: &str) {
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
        self.unlink(&who);
    }

    /// All links from and to a node end.
    fn unlink(&mut self, who: &NodeId) {
        let gone: Vec<_> =
            self.links.iter().filter(|(from, to)| from == who || to == who).cloned().collect();
        for (from, to) in gone {
            self.links.remove(&(from.clone(), to.clone()));
            self.step(&from, ClusterEvent::Unlinked { peer: to });
        }
    }

    pub(super) fn step(&mut self, who: &NodeId, event: ClusterEvent) {
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
                    let key = (document.cluster_id, document.rescue_id, document.revision());
                    let first = self.documents.entry(key).or_insert_with(|| (**document).clone());
                    assert_eq!(*first, **document, "LAYOUT_AGREES");
                }
                node.unsynced.push((number, state));
                self.under_way.push((soon, who.clone(), ClusterEvent::Persisted { number }));
            }
            ClusterEffect::Layout { document, stored } => {
                assert!(node.holds(&document), "served before it was durable");
                assert_eq!(node.disk.stored, stored, "emptied for another fence");
                node.layouts.push(document.revision());
                let fence = document.fence();
                if stored < Some(fence) || node.admitted.is_empty() {
                    let complete = u64::from(node.takes_over == TakesOver::AtOnce);
                    let progress = Progress { partitions: 1, complete, ..Progress::default() };
                    let event = ClusterEvent::Settled { fence, progress };
                    self.under_way.push((soon, who.clone(), event));
                }
            }
            ClusterEffect::Admit { fence } => {
                assert_eq!(node.disk.stored, Some(fence), "EPOCH_FENCE");
                node.admitted.push(fence);
            }
            ClusterEffect::Clock { permit } => node.permit = Some(permit),
            ClusterEffect::Admin { token, answer } => node.answers.push((token, answer)),
            ClusterEffect::Notice(notice) => node.notices.push(notice),
            ClusterEffect::GreetAgain => self.unlink(who),
            ClusterEffect::Alive { .. } | ClusterEffect::Dead { .. } => {}
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            self.steps += 1;
            if self.steps.is_multiple_of(REDIAL) {
                self.dial();
                self.count_hints();
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

    /// As [`run_until`](Self::run_until), while these messages to a node are lost.
    pub(super) fn run_without(
        &mut self,
        is_lost: impl Fn(&NodeId, &ClusterMessage) -> bool,
        what: &str,
        holds: impl Fn(&Self) -> bool,
    ) {
        for _ in 0..20_000 {
            if holds(self) {
                return;
            }
            self.run(STEP);
            self.under_way.retain(|(_, to, event)| {
                !matches!(event, ClusterEvent::Told { message, .. } if is_lost(to, message))
            });
        }
        panic!("never: {what}");
    }

    pub(super) fn run_seconds(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }

    /// While a change is under way.
    fn count_hints(&mut self) {
        for who in self.nodes.keys().cloned().collect::<Vec<_>>() {
            let node = &self.nodes[&who];
            let document = node.machine.as_ref().and_then(Cluster::document);
            if document.is_some_and(|document| document.joint().is_some()) {
                let hints = node.hints;
                self.step(&who, ClusterEvent::HintsKept { hints });
            }
        }
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
        for (verdict, hello, refused, by) in [(&there, &ours, from, to), (&here, &theirs, to, from)]
        {
            if let Err(refusal) = verdict {
                let refusal = match refusal {
                    HelloRefusal::OldDisk { .. } => RefusedAs::OldDisk,
                    HelloRefusal::Removed { .. } => {
                        let claimed = hello.membership.expect("it claimed a number");
                        RefusedAs::Removed { claimed }
                    }
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

    fn hello(&self, who: &NodeId) -> Option<PeerHello> {
        self.nodes[who].machine.as_ref().map(Cluster::hello)
    }

    fn admit(&mut self, at: &NodeId, of: &NodeId, hello: &PeerHello) -> Result<(), HelloRefusal> {
        let now = self.now_at(at);
        let node = self.nodes.get_mut(at).expect("it exists");
        let machine = node.machine.as_mut().expect("it is up");
        let verdict = machine.admit(now, of, hello);
        if let Err(refusal) = &verdict {
            node.refusals.push(refusal.clone());
        }
        verdict
    }

    pub(super) fn phase(&self, text: &str) -> ClusterPhase {
        self.node(text).machine.as_ref().expect("it is up").status().phase
    }

    pub(super) fn version(&self, text: &str) -> Option<u64> {
        self.node(text).machine.as_ref()?.document().map(|document| document.version)
    }

    pub(super) fn ask(&mut self, text: &str, token: u64, request: OperatorRequest) {
        let (token, mode) = (AdminToken(token), OperateMode::Do);
        self.step(&name(text), ClusterEvent::Operate { token, request, mode });
    }

    pub(super) fn join(&mut self, text: &str, token: u64) {
        self.ask(text, token, OperatorRequest::Join);
    }

    /// The last answer that an administrator got at a node.
    pub(super) fn answer(&self, text: &str) -> Option<Result<OperateDone, OperateFailure>> {
        self.node(text).answers.last().map(|(_, answer)| answer.clone())
    }

    /// The document that a node knows.
    pub(super) fn document(&self, text: &str) -> Document {
        let machine = self.node(text).machine.as_ref().expect("it is up");
        (**machine.document().expect("it has one")).clone()
    }

    /// Runs until this holds.
    pub(super) fn run_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..20_000 {
            if holds(self) {
                return;
            }
            self.run(STEP);
        }
        panic!("never: {what}");
    }

    /// These nodes serve the same document, and are all its members.
    pub(super) fn assert_serve(&self, names: &[&str]) {
        let mut versions = BTreeSet::new();
        for text in names {
            let node = self.node(text);
            let machine = node.machine.as_ref().expect("it is up");
            let status = machine.status();
            assert_eq!(status.phase, ClusterPhase::Serving, "{text}");
            let document = status.document.expect("a member has one");
            assert_eq!(document.joint(), None, "{text}");
            assert_eq!(document.current.members.len(), names.len(), "{text}");
            assert_eq!(node.layouts.last(), Some(&document.revision()), "{text}");
            assert_eq!(machine.stored_fence(), Some(document.fence()), "{text}");
            assert_eq!(node.admitted.last(), Some(&document.fence()), "{text}");
            versions.insert((document.cluster_id, document.version));
        }
        assert_eq!(versions.len(), 1, "one cluster, one document");
    }

    pub(super) fn assert_all_serve(&self, members: usize) {
        let names: Vec<&str> = self.nodes.keys().map(NodeId::as_str).collect();
        assert_eq!(names.len(), members);
        self.assert_serve(&names);
    }

    pub(super) fn clusters(&self) -> usize {
        self.documents.keys().map(|(cluster_id, ..)| *cluster_id).collect::<BTreeSet<_>>().len()
    }
}

impl Node {
    /// Whether its disk holds this document or a later one.
    fn holds(&self, document: &Document) -> bool {
        self.disk.document.as_ref().is_some_and(|held| held.revision() >= document.revision())
    }

    /// The disk holds the state of this number now, and with it all earlier ones.
    fn sync(&mut self, number: u64) {
        while self.unsynced.first().is_some_and(|(first, _)| *first <= number) {
            self.disk = self.unsynced.remove(0).1;
        }
    }
}

/// Three that have become one cluster.
pub(super) fn three(seed: u128) -> World {
    let mut world = World::of(&["a", "b", "c"], seed);
    world.start_all();
    world.run_seconds(3);
    world.join("b", 1);
    world.join("c", 2);
    world.run_seconds(5);
    world.assert_all_serve(3);
    world
}

pub(super) fn machine<'world>(world: &'world World, text: &str) -> &'world Cluster {
    world.node(text).machine.as_ref().expect("it is up")
}
