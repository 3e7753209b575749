//! A world: nodes, network, clients and the queue of what happens, all on one thread and all from one
//! seed. **Never:** reads a clock, draws from anything but its own generator, or iterates a map whose
//! order is random.

use std::collections::VecDeque;
use std::sync::Arc;

use paravon_model::Key;
use paravon_replication::cluster::{ClusterEffect, ClusterEvent};
use paravon_replication::{Effect, Event, Now};
use paravon_ring::{KeyHash, Layout, Partition, Shift, shard_of};

use crate::client::{Client, Request};
use crate::disaster::Disasters;
use crate::engine::Done;
use crate::fact::Fact;
use crate::faults::Fault;
use crate::happening::{Happening, Payload};
use crate::network::Network;
use crate::node::{Process, SimNode};
use crate::operator::Operator;
use crate::oracle::Oracle;
use crate::phase::Phase;
use crate::plan::{ClientsBegin, Plan};
use crate::queue::{MILLISECOND, Nanos, Queue, SECOND};
use crate::random::Random;
use crate::stats::Stats;
use crate::trace::{Printing, Trace};

/// How often a world looks at itself.
pub(crate) const CHECK: Nanos = 50 * MILLISECOND;

/// Where the keys of all worlds of one seed lie.
pub(crate) const HASH_SEED: u64 = 7;

/// Something for a machine to take in at once.
#[derive(Debug)]
pub(crate) enum Work {
    Shard { node: usize, shard: usize, event: Event },
    Cluster { node: usize, event: ClusterEvent },
}

/// A world.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Nanos,
    pub(crate) queue: Queue<Happening>,
    pub(crate) random: Random,
    pub(crate) network: Network,
    pub(crate) nodes: Vec<SimNode>,
    pub(crate) clients: Vec<Client>,
    pub(crate) requests: Vec<Request>,
    pub(crate) keys: Vec<(Key, KeyHash)>,
    /// Of every document that any node has used, but for those of rescues that nobody may follow.
    pub(crate) layouts: Vec<Arc<Layout>>,
    pub(crate) operator: Operator,
    pub(crate) disasters: Disasters,
    pub(crate) oracle: Oracle,
    pub(crate) stats: Stats,
    pub(crate) trace: Trace,
    pub(crate) phase: Phase,
    pub(crate) work: VecDeque<Work>,
    /// Messages about keys that have not arrived.
    pub(crate) on_their_way: usize,
    // Used again and again, so that nothing is allocated per step.
    pub(crate) effects: Vec<Effect>,
    pub(crate) cluster_effects: Vec<ClusterEffect>,
    pub(crate) done: Vec<Done>,
}

impl World {
    pub(crate) fn new(plan: Plan, printing: Printing) -> Self {
        let key = |index: usize| {
            let key = Key::new("default", format!("k{index}").as_bytes()).expect("a short key");
            let hash = KeyHash::of(&key, HASH_SEED);
            (key, hash)
        };
        let mut world = Self {
            now: 0,
            queue: Queue::new(),
            random: Random::new(plan.seed ^ 0x5eed_0f7e_0001),
            network: Network::new(plan.forming, plan.far),
            nodes: (0..plan.nodes).map(|index| SimNode::new(&plan, index)).collect(),
            clients: Client::all(&plan),
            requests: Vec::new(),
            keys: (0..plan.keys).map(key).collect(),
            layouts: Vec::new(),
            operator: Operator::default(),
            disasters: Disasters::default(),
            oracle: Oracle::new(),
            stats: Stats::default(),
            trace: Trace::new(printing),
            phase: Phase::Forming,
            work: VecDeque::new(),
            on_their_way: 0,
            effects: Vec::new(),
            cluster_effects: Vec::new(),
            done: Vec::new(),
            plan,
        };
        for node in 0..world.plan.nodes {
            let latest = match world.plan.clients_begin {
                ClientsBegin::Formed => 300 * MILLISECOND,
                ClientsBegin::Serving => 3 * SECOND,
            };
            let at = world.random.below(latest);
            world.queue.push(at, Happening::Start { node });
        }
        world.queue.push(CHECK, Happening::Check);
        let possible = world.plan.doubles_writes();
        world.emit(Fact::Doubling { possible });
        world
    }

    /// Lets the world happen, to its end or to the first broken promise.
    pub(crate) fn run(&mut self) {
        while self.phase != Phase::Over && self.oracle.violation.is_none() {
            let Some((at, happening)) = self.queue.pop() else { break };
            self.now = at;
            self.stats.events += 1;
            self.happen(happening);
            self.work();
        }
        self.stats.simulated_ms = self.now / MILLISECOND;
        self.stats.worlds = 1;
    }

    /// Notes a fact: for the trace, the counters and the invariants.
    pub(crate) fn emit(&mut self, fact: Fact) {
        self.trace.note(self.now, &fact);
        self.stats.count_change(&fact, &self.oracle.view);
        self.stats.count(&fact);
        self.oracle.observe(self.now, &fact);
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(until) = self.postponed(&happening) {
            return self.queue.push(until, happening);
        }
        match happening {
            Happening::Start { node } => self.start(node),
            Happening::Deliver(envelope) => {
                if !matches!(envelope.payload, Payload::Cluster(_)) {
                    self.on_their_way -= 1;
                }
                self.deliver(*envelope);
            }
            Happening::Wake { node, incarnation, machine } => {
                self.wake(node, incarnation, machine);
            }
            Happening::SyncEnds { node, incarnation } => self.sync_ends(node, incarnation),
            Happening::Persisted { node, incarnation } => self.persisted(node, incarnation),
            Happening::Dialled { from, to, number } => self.dialled(from, to, number),
            Happening::Redial { from, to, number } => self.redial(from, to, number),
            Happening::Broken { from, to, number } => self.broken(from, to, number),
            Happening::Turn { client } => self.turn(client),
            Happening::Ask { ask } => self.ask_as_planned(ask),
            Happening::Request { operation, attempt } => self.requested(operation, attempt),
            Happening::Answer { operation, attempt } => self.answered(operation, attempt),
            Happening::Timeout { operation, attempt } => self.timed_out(operation, attempt),
            Happening::Deadline { operation, attempt } => self.deadline_passed(operation, attempt),
            Happening::Fault(fault) => self.fault(fault),
            Happening::Relief { node, back_ms } => self.relief(node, back_ms),
            Happening::Act { act } => self.act(act),
            Happening::Errand { errand, attempt } => self.run_errand(errand, attempt),
            Happening::Rescue => self.try_rescue(),
            Happening::Intrusion => self.intrude(),
            Happening::Check => self.check(),
        }
    }

    /// Until when what happens to a paused node waits.
    fn postponed(&self, happening: &Happening) -> Option<Nanos> {
        let node = match happening {
            Happening::Deliver(envelope) => usize::from(envelope.to),
            Happening::Wake { node, .. }
            | Happening::SyncEnds { node, .. }
            | Happening::Persisted { node, .. } => *node,
            Happening::Broken { from, .. } => *from,
            Happening::Request { operation, .. } => self.requests[*operation as usize].node,
            _ => return None,
        };
        let until = self.nodes[node].paused_until;
        (until > self.now).then_some(until)
    }

    /// Does everything that is to be done at once.
    pub(crate) fn work(&mut self) {
        while let Some(work) = self.work.pop_front() {
            match work {
                Work::Shard { node, shard, event } => self.step_shard(node, shard, event),
                Work::Cluster { node, event } => self.step_cluster(node, event),
            }
        }
    }

    /// The nodes that the latest layout names; all of them before there is one.
    pub(crate) fn members(&self) -> Vec<usize> {
        let Some(latest) = self.latest() else { return (0..self.nodes.len()).collect() };
        let names = latest.document().members().map(|member| &member.node_id);
        let mut members: Vec<_> = names.filter_map(crate::node::index_of).collect();
        members.sort_unstable();
        members.dedup();
        members
    }

    /// What a node's clocks show.
    pub(crate) fn node_now(&self, node: usize) -> Now {
        self.nodes[node].clock.now(self.now)
    }

    /// The process of a node, if it is this one.
    pub(crate) fn process(&mut self, node: usize, incarnation: u32) -> Option<&mut Process> {
        let node = &mut self.nodes[node];
        if node.incarnation == incarnation { node.process.as_mut() } else { None }
    }

    /// The number of a key of this world.
    pub(crate) fn key_number(&self, key: &Key) -> u8 {
        let digits = key.bytes().get(1).map_or(0, |digit| digit.wrapping_sub(b'0'));
        debug_assert_eq!(self.keys.get(usize::from(digits)).map(|(known, _)| known), Some(key));
        digits
    }

    /// The shard of every node that a key belongs to.
    pub(crate) fn shard_of(&self, key: u8) -> usize {
        self.shard_of_partition(self.partition_of(key))
    }

    /// The shard of every node that a partition belongs to.
    pub(crate) fn shard_of_partition(&self, partition: Partition) -> usize {
        usize::from(shard_of(partition, self.plan.shards))
    }

    /// The partition of a key.
    pub(crate) fn partition_of(&self, key: u8) -> Partition {
        self.keys[usize::from(key)].1.partition(self.shift())
    }

    /// The number of partitions as a power of two.
    pub(crate) fn shift(&self) -> Shift {
        Shift::new(self.plan.shift).unwrap_or(Shift::DEFAULT)
    }

    /// Something of the plan, or of a scenario, goes wrong.
    pub(crate) fn fault(&mut self, fault: Fault) {
        if self.phase.is_faulty() {
            self.emit(Fact::Faulty { fault });
            self.strike(fault);
        }
    }
}

/// A number of a world as facts carry it.
pub(crate) fn small(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}
