//! What membership costs in a large cluster: whole cluster machines, as many as there are nodes, in one
//! process and in simulated time. Messages and bytes per node and second, the time until a death is
//! known, the time until a layout is.
//!
//! `cargo bench -p paravon-sim --bench membership -- [NODES]...` (default 10 100 300). Every node is
//! linked with every other one, 2 ms after the node before it; a message takes 0.2 to 1.2 ms, and nothing
//! is lost. Bytes are frames, without TLS and TCP.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use paravon_model::{
    Address, ClusterId, ClusterMessage, ClusterState, Document, Fence, Hlc, Member, NodeId,
    Ordinal, Phase, Progress, Roster, Size,
};
use paravon_protocol::encode_cluster_message;
use paravon_replication::Now;
use paravon_replication::cluster::{
    AdminToken, Cluster, ClusterEffect, ClusterEvent, ClusterSettings, OperateMode, OperatorRequest,
};

/// Links come up and detectors find their rhythm.
const WARM: Duration = Duration::from_secs(5);
/// One node after the other is linked with those before it: all at once, the first messages of a large
/// cluster would fill the memory.
const LINK_PACE: Duration = Duration::from_millis(2);
/// The traffic of this span is counted.
const COUNTED: Duration = Duration::from_secs(10);
/// A death or a layout is waited for at most so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// The wall clock at the beginning.
const EPOCH_MS: u64 = 1_700_000_000_000;

fn main() {
    let counts: Vec<u32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    for nodes in if counts.is_empty() { vec![10, 100, 300] } else { counts } {
        let began = Instant::now();
        println!("{nodes} nodes");
        let mut world = World::new(nodes);
        world.run(WARM);
        world.traffic.clear();
        world.run(COUNTED);
        world.print_traffic();
        world.print_death();
        world.print_spread();
        println!("  ({:.0} s of this machine)\n", began.elapsed().as_secs_f64());
    }
}

/// What is to happen at some time, in the order of numbers at equal times.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Happening {
    at: Duration,
    number: u64,
    node: usize,
}

struct Node {
    cluster: Cluster,
    name: NodeId,
    wake: Duration,
    is_dead: bool,
}

struct World {
    now: Duration,
    nodes: Vec<Node>,
    places: BTreeMap<NodeId, usize>,
    queue: BinaryHeap<Reverse<Happening>>,
    /// Messages on their way, by the number of their happening; no message is a wake.
    mail: BTreeMap<u64, (usize, ClusterMessage)>,
    number: u64,
    random: u64,
    /// Messages and bytes by kind.
    traffic: BTreeMap<&'static str, (u64, u64)>,
    /// When each node learned that this member is down.
    death: BTreeMap<usize, Duration>,
    /// When each node had the latest layout, and its fence.
    layout: BTreeMap<usize, (Duration, u64)>,
    document_bytes: usize,
    encoded: Vec<u8>,
}

fn name(index: usize) -> NodeId {
    NodeId::new(&format!("node-{index}")).expect("a valid name")
}

fn address(index: usize) -> Address {
    Address::new(&format!("10.0.{}.{}:6000", index / 250, index % 250))
}

fn ordinal(index: usize) -> Ordinal {
    Ordinal(u32::try_from(index).expect("few nodes") + 1)
}

fn document(nodes: u32) -> Document {
    let member = |index: usize| Member {
        ordinal: ordinal(index),
        node_id: name(index),
        size: Size::L,
        zone: None,
        address: address(index),
    };
    let members: Vec<Member> = (0..nodes as usize).map(member).collect();
    let council = members.iter().map(|member| member.ordinal).take(7).collect();
    Document {
        cluster_id: ClusterId(1),
        generation: 0,
        rescue_id: 0,
        version: 1,
        fence: 1,
        phase: Phase::Stable,
        hash_seed: 7,
        shift: 16,
        current: Roster { members, replication_factor: 3 },
        past: Vec::new(),
        council,
        next_ordinal: nodes + 1,
        operations: Vec::new(),
    }
}

fn node(index: usize, document: &Arc<Document>) -> Node {
    let settings = ClusterSettings {
        node_id: name(index),
        address: address(index),
        size: Size::L,
        zone: None,
        seeds: vec![address(0)],
        auto_join: false,
        found_anyway: false,
        shift: 16,
        replication_factor: 3,
        new_cluster_id: ClusterId(1),
        new_hash_seed: 7,
        max_skew: Duration::from_millis(500),
        join_timeout: Duration::from_secs(60),
        start: 1,
        run: index as u64,
        ceiling: Hlc::ZERO,
        // Every bit counts: nodes that draw the same numbers probe the same members.
        seed: (index as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
    };
    let state = ClusterState {
        ordinal: Some(ordinal(index)),
        stored: Some(document.fence()),
        document: Some(Arc::clone(document)),
        ..ClusterState::new(name(index))
    };
    let now = Now { monotonic: Duration::ZERO, wall_ms: EPOCH_MS };
    let cluster = Cluster::new(settings, state, now);
    Node { cluster, name: name(index), wake: Duration::MAX, is_dead: false }
}

impl World {
    /// A running cluster that was restarted as a whole.
    fn new(count: u32) -> Self {
        let document = Arc::new(document(count));
        let mut world = Self {
            now: Duration::ZERO,
            nodes: (0..count as usize).map(|index| node(index, &document)).collect(),
            places: (0..count as usize).map(|index| (name(index), index)).collect(),
            queue: BinaryHeap::new(),
            mail: BTreeMap::new(),
            number: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            traffic: BTreeMap::new(),
            death: BTreeMap::new(),
            layout: BTreeMap::new(),
            document_bytes: 0,
            encoded: Vec::new(),
        };
        encode_cluster_message(&mut world.encoded, &ClusterMessage::Document(document));
        world.document_bytes = world.encoded.len();
        for from in 0..world.nodes.len() {
            world.step(from, ClusterEvent::Tick);
        }
        for late in 0..world.nodes.len() {
            for early in 0..late {
                world.link(late, early);
                world.link(early, late);
            }
            world.run(LINK_PACE);
        }
        world
    }

    fn link(&mut self, from: usize, to: usize) {
        let now = self.clock();
        let (hello, certificate) = (self.nodes[to].cluster.hello(), self.nodes[to].name.clone());
        let admitted = self.nodes[from].cluster.admit(now, &certificate, &hello);
        admitted.expect("a member of the same cluster");
        self.step(from, ClusterEvent::Linked { hello });
    }

    fn clock(&self) -> Now {
        let passed = u64::try_from(self.now.as_millis()).expect("a short run");
        Now { monotonic: self.now, wall_ms: EPOCH_MS + passed }
    }

    fn step(&mut self, node: usize, event: ClusterEvent) {
        let now = self.clock();
        let mut events = Vec::from([event]);
        while let Some(event) = events.pop() {
            let mut effects = Vec::new();
            self.nodes[node].cluster.step(now, event, &mut effects);
            for effect in effects {
                events.extend(self.carry_out(node, effect));
            }
        }
        let wake = self.nodes[node].cluster.next_wake().max(self.now);
        if wake < self.nodes[node].wake {
            self.nodes[node].wake = wake;
            self.plan(wake, node);
        }
    }

    /// Does what a machine wants done; disks and shards answer at once.
    fn carry_out(&mut self, node: usize, effect: ClusterEffect) -> Option<ClusterEvent> {
        match effect {
            ClusterEffect::Tell { to, message } => {
                self.send(node, &to, message);
                None
            }
            ClusterEffect::Persist { number, .. } => Some(ClusterEvent::Persisted { number }),
            ClusterEffect::Layout { document, .. } => {
                let fence: Fence = document.fence();
                if self.layout.get(&node).is_none_or(|&(_, known)| known < fence.number) {
                    self.layout.insert(node, (self.now, fence.number));
                }
                Some(ClusterEvent::Settled { fence, progress: Progress::default() })
            }
            ClusterEffect::Dead { .. } => {
                self.death.entry(node).or_insert(self.now);
                None
            }
            ClusterEffect::Admin { answer: Err(refusal), .. } => {
                panic!("the operator is refused: {refusal:?}")
            }
            _ => None,
        }
    }

    fn send(&mut self, from: usize, to: &NodeId, message: ClusterMessage) {
        self.encoded.clear();
        encode_cluster_message(&mut self.encoded, &message);
        let counted = self.traffic.entry(kind(&message)).or_default();
        *counted = (counted.0 + 1, counted.1 + self.encoded.len() as u64);
        let to = *self.places.get(to).expect("a known node");
        let delay = Duration::from_micros(200 + self.random() % 1000);
        let number = self.plan(self.now + delay, to);
        self.mail.insert(number, (from, message));
    }

    fn plan(&mut self, at: Duration, node: usize) -> u64 {
        self.number += 1;
        self.queue.push(Reverse(Happening { at, number: self.number, node }));
        self.number
    }

    /// Xorshift: a run is the same every time.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while self.queue.peek().is_some_and(|Reverse(next)| next.at <= until) {
            self.happen();
        }
        self.now = until;
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let until = self.now + PATIENCE;
        while !done(self) && self.now < until && !self.queue.is_empty() {
            self.happen();
        }
    }

    fn happen(&mut self) {
        let Some(Reverse(Happening { at, number, node })) = self.queue.pop() else { return };
        self.now = at;
        let mail = self.mail.remove(&number);
        if self.nodes[node].is_dead {
            return;
        }
        match mail {
            Some((from, message)) => {
                let from = self.nodes[from].name.clone();
                self.step(node, ClusterEvent::Told { from, message });
            }
            None if self.nodes[node].wake <= at => {
                self.nodes[node].wake = Duration::MAX;
                self.step(node, ClusterEvent::Tick);
            }
            None => {}
        }
    }

    fn print_traffic(&self) {
        let rate = |count: u64| count as f64 / COUNTED.as_secs_f64() / self.nodes.len() as f64;
        let (mut messages, mut bytes) = (0, 0);
        for (kind, &(count, size)) in &self.traffic {
            println!("  {kind:<14} {:>9.1} messages {:>11.0} bytes", rate(count), rate(size));
            (messages, bytes) = (messages + count, bytes + size);
        }
        let (messages, bytes) = (rate(messages), rate(bytes));
        println!("  per node, second {messages:>7.1} messages {bytes:>11.0} bytes");
        println!("  the document has {} bytes", self.document_bytes);
    }

    /// The last node falls silent, its connections stay open: the hard way to die.
    fn print_death(&mut self) {
        let last = self.nodes.len() - 1;
        let began = self.now;
        self.death.clear();
        self.nodes[last].is_dead = true;
        self.run_until(|world| world.death.len() == last);
        let mut times: Vec<Duration> = self.death.values().map(|&at| at - began).collect();
        print_times("a death is known", &mut times, last);
    }

    /// An operator wants another number of copies: so many that a set can do without the one that is
    /// down.
    fn print_spread(&mut self) {
        let living = self.nodes.len() - 1;
        let began = self.now;
        self.layout.clear();
        self.traffic.clear();
        let request = OperatorRequest::SetReplication { factor: 5 };
        let mode = OperateMode::Do;
        self.step(living / 2, ClusterEvent::Operate { token: AdminToken(1), request, mode });
        let has_layout = |world: &Self| world.layout.values().filter(|known| known.1 > 1).count();
        self.run_until(|world| has_layout(world) == living);
        let known = self.layout.values().filter(|known| known.1 > 1);
        let first = known.clone().map(|known| known.0).min().unwrap_or(began);
        let mut times: Vec<Duration> = known.map(|known| known.0 - first).collect();
        println!("  first layout after the request {:>20.3} s", (first - began).as_secs_f64());
        print_times("then it is known", &mut times, living);
        let told = self.traffic.get("document").copied().unwrap_or_default();
        println!("  documents sent {:>9} with {} bytes", told.0, told.1);
    }
}

fn print_times(what: &str, times: &mut [Duration], wanted: usize) {
    times.sort();
    let [Some(first), Some(median), Some(last)] =
        [times.first(), times.get(times.len() / 2), times.last()]
    else {
        return println!("  {what}: by nobody within {} s", PATIENCE.as_secs());
    };
    println!(
        "  {what:<18} first {:.3} s, median {:.3} s, last {:.3} s, {} of {wanted}",
        first.as_secs_f64(),
        median.as_secs_f64(),
        last.as_secs_f64(),
        times.len(),
    );
}

fn kind(message: &ClusterMessage) -> &'static str {
    match message {
        ClusterMessage::Council(_) => "council",
        ClusterMessage::Document(_) => "document",
        ClusterMessage::AskDocument { .. } => "ask document",
        ClusterMessage::Swim(_) => "swim",
        ClusterMessage::Ping { .. } => "ping",
        ClusterMessage::Pong { .. } => "pong",
        ClusterMessage::Report { .. } => "report",
        _ => "other",
    }
}
