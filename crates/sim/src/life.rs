//! Processes begin and end: what a disk keeps is all that a new process knows.

use std::time::Duration;

use paravon_model::{ClusterId, Ordinal, Size};
use paravon_replication::cluster::{Cluster, ClusterEvent, ClusterSettings};
use paravon_storage::PageLimit;

use crate::engine::Opened;
use crate::fact::{Content, Fact};
use crate::happening::Happening;
use crate::network::Link;
use crate::node::{Process, SimNode, node_address};
use crate::plan::{EngineKind, Founding};
use crate::queue::Nanos;
use crate::world::{HASH_SEED, World, small};

/// More hints than a world has keys.
const ALL: PageLimit = PageLimit { count: u8::MAX as usize, bytes: u64::MAX };

/// `clock.max_skew` of every node.
pub(crate) const MAX_SKEW: Duration = Duration::from_millis(500);

impl World {
    /// A process begins on what its disk holds.
    pub(crate) fn start(&mut self, node: usize) {
        let at = self.now;
        if self.nodes[node].process.is_some() || self.nodes[node].killed {
            return;
        }
        let Some(Opened { start, ceiling }) = self.nodes[node].engine.open() else {
            return self.emit(Fact::Unopened { node: small(node) });
        };
        let sim = &mut self.nodes[node];
        sim.incarnation += 1;
        sim.clock.boot(at);
        sim.ceiling = ceiling;
        let settings = self.settings(node, start);
        let now = self.node_now(node);
        let sim = &mut self.nodes[node];
        let cluster = Cluster::new(settings, sim.state.clone(), now);
        let mut process = Process::new(cluster, self.plan.shards);
        process.ordinal = sim.state.ordinal;
        process.largest_number = sim.state.ordinal;
        sim.process = Some(process);
        let starts = u32::try_from(start).unwrap_or(u32::MAX);
        self.emit(Fact::Started { node: small(node), start: starts, ceiling });
        self.judge_survivors(node);
        self.tell_cluster(node, ClusterEvent::Tick);
    }

    fn settings(&mut self, node: usize, start: u64) -> ClusterSettings {
        let sim = &self.nodes[node];
        let seeds: Vec<_> = match self.plan.founding {
            // Whoever lost its disk must not found a cluster of its own.
            _ if sim.lost.is_some() => (0..self.plan.nodes).map(node_address).collect(),
            Founding::Alone if node < self.plan.founders => vec![node_address(0)],
            Founding::Alone | Founding::Together => {
                (0..self.plan.founders).map(node_address).collect()
            }
        };
        ClusterSettings {
            node_id: sim.name.clone(),
            address: sim.address.clone(),
            size: Size::Xs,
            zone: None,
            seeds,
            auto_join: node < self.plan.founders,
            found_anyway: false,
            shift: self.plan.shift,
            replication_factor: self.plan.replication_factor,
            new_cluster_id: ClusterId(0xc1 << 64 | u128::from(self.random.next())),
            new_hash_seed: HASH_SEED,
            max_skew: MAX_SKEW,
            start,
            run: self.random.next(),
            ceiling: sim.ceiling,
            seed: u128::from(self.random.next()) << 64 | u128::from(self.random.next()),
            join_timeout: Duration::from_nanos(self.plan.join_timeout),
        }
    }

    /// A process ends, and starts again after `down`, if at all.
    pub(crate) fn crash(&mut self, node: usize, down: Option<Nanos>) {
        let at = self.now;
        let sim = &mut self.nodes[node];
        let Some(process) = sim.process.take() else { return };
        // Of the states on their way to the disk, the first few may have reached it.
        let reached = self.random.index(process.persisting.len() + 1);
        if let Some((_, state)) = process.persisting.into_iter().take(reached).last() {
            sim.state = state;
        }
        sim.paused_until = 0;
        let torn = sim.engine.crash(&mut self.random);
        self.emit(Fact::Crashed { node: small(node), torn });
        for peer in 0..self.nodes.len() {
            let number = self.network.link(node, peer).number + 1;
            *self.network.link_mut(node, peer) = Link { number, ..Link::default() };
        }
        self.break_links_to(node);
        if let Some(down) = down {
            self.queue.push(at + down, Happening::Start { node });
        }
    }

    /// A dead process's disk is lost.
    pub(crate) fn wipe(&mut self, node: usize) {
        let fresh = SimNode::new(&self.plan, node);
        let sim = &mut self.nodes[node];
        let of = sim.state.ordinal;
        sim.engine = fresh.engine;
        sim.state = fresh.state;
        sim.forgetting = fresh.forgetting;
        sim.marking = fresh.marking;
        self.emit(Fact::DiskLost { node: small(node), of });
    }

    /// What a crash left on a disk, against what was durable before it.
    fn judge_survivors(&mut self, node: usize) {
        let number = small(node);
        for key in 0..small(self.keys.len()) {
            let forgetting = std::mem::take(&mut self.nodes[node].forgetting[usize::from(key)]);
            if forgetting > 0 {
                self.note_forgotten(node, key);
            } else if self.can_be_read(node, key) {
                self.note_durable(node, key);
            }
        }
        let hints = &self.oracle.view.hints;
        let own: Vec<_> = hints
            .range((number, Ordinal(0), 0)..(number + 1, Ordinal(0), 0))
            .map(|(&(_, target, key), &version)| (target, key, version))
            .collect();
        for (target, key, before) in own {
            let shard = self.shard_of(key);
            let (name, _) = self.keys[usize::from(key)].clone();
            let engine = &mut self.nodes[node].engine;
            let kept = engine.hints(shard, target, None, ALL).unwrap_or_default();
            let kept = kept.into_iter().find(|hint| hint.key == name);
            let after = kept.map(|hint| hint.record.version);
            if after == Some(before) {
                continue;
            }
            let durable = self.reached(target, key);
            let is_dirty = self.nodes[node].engine.dirty(shard).contains(&target);
            let counts = self.hint_counts(node, target, key) && !is_dirty;
            let node = number;
            if is_dirty {
                let version = before;
                self.emit(Fact::HintMarked { node, target, key, version, moment: 0 });
            }
            self.emit(Fact::HintSurvived { node, target, key, before, after, durable, counts });
        }
        self.judge_surviving_dirt(node);
        self.judge_surviving_marks(node);
    }

    /// Whether what a disk holds of a key is as it was. A look at what has rotted in memory would find
    /// that; on a disk the log may have put the record in its place again.
    fn can_be_read(&mut self, node: usize, key: u8) -> bool {
        let number = small(node);
        if !self.oracle.view.rotten.contains_key(&(number, key)) {
            return true;
        }
        if self.oracle.view.lost.contains_key(&(number, self.partition_of(key).0)) {
            // What the log had of it is there, and does not count.
            self.note_durable(node, key);
            return false;
        }
        if self.plan.engine == EngineKind::Memory {
            return false;
        }
        let (_, content) = self.held(node, key);
        let (shard, (name, hash)) = (self.shard_of(key), &self.keys[usize::from(key)]);
        let slot = (*hash, name.clone());
        let is_marked = self.nodes[node].engine.is_marked(shard, &slot);
        if content == Content::Foreign || is_marked {
            return false;
        }
        self.emit(Fact::Restored { node: number, key });
        true
    }

    /// Who is not dirty any more after a crash lacks nothing, it is to be hoped.
    fn judge_surviving_dirt(&mut self, node: usize) {
        let number = small(node);
        let dirty = self.oracle.view.dirty.keys();
        let own: Vec<_> = dirty.filter(|(holder, _, _)| *holder == number).copied().collect();
        for (_, target, key) in own {
            let shard = self.shard_of(key);
            if !self.nodes[node].engine.dirty(shard).contains(&target) {
                self.note_clean(node, target, key);
            }
        }
    }
}
