//! An operator takes what is left of what waiting does not heal: `admin accept-loss`, by the event that the
//! node gives its shards.
//!
//! **Never:** excuses more than the operator has accepted. A promise about a key is narrowed when a replica is
//! healed for which that was said, and to what those who can read the key hold.

use paravon_model::Version;
use paravon_replication::Event;
use paravon_ring::Partition;

use crate::fact::Fact;
use crate::phase::Phase;
use crate::queue::SECOND;
use crate::random::Random;
use crate::view::NOTHING;
use crate::world::{Work, World, small};

/// After so long without faults whoever heals something has asked everybody.
const CALM: u64 = 60 * SECOND;

/// Something that a node cannot answer for.
#[derive(Clone, Copy, Debug)]
struct Loss {
    node: usize,
    partition: Partition,
    /// None where the whole partition is lost.
    key: Option<u8>,
}

impl World {
    /// Another copy of a key rots, whatever is hurt already.
    pub(crate) fn let_rot_too(&mut self, node: usize, key: u8) {
        if self.stores(node, self.partition_of(key)) && !self.is_hurt(small(node), key) {
            self.rot(node, key);
        }
    }

    /// Another file of a shard is lost, whatever is hurt already.
    pub(crate) fn lose_file_too(&mut self, node: usize, shard: usize) {
        let Some(fence) = self.latest().map(|latest| latest.fence()) else { return };
        let own = |partition: &u32| self.shard_of_partition(Partition(*partition)) == shard;
        let lost = self.oracle.view.lost.keys();
        let has_lost = lost.filter(|(of, _)| *of == small(node)).any(|(_, lost)| own(lost));
        if self.members().contains(&node) && !has_lost {
            self.lose_shard(node, shard, fence);
        }
    }

    /// The operator accepts one of the losses that nodes say waiting does not heal, or all of them.
    pub(crate) fn accept_losses(&mut self, number: u64) {
        let mut random = Random::new(number);
        let mut losses = self.losses();
        if !losses.is_empty() && random.below(2) == 0 {
            losses = vec![losses[random.index(losses.len())]];
        }
        for loss in losses {
            let whole = random.below(3) == 0;
            let key = loss.key.filter(|_| !whole);
            self.accept_loss(Loss { key, ..loss });
        }
    }

    /// After everything was mended it looks every few seconds.
    pub(crate) fn look_after_losses(&mut self) {
        let mut random = Random::new(self.plan.seed ^ self.now);
        if self.plan.accepts_losses() && random.below(100) == 0 {
            self.accept_losses(random.next());
        }
    }

    /// What waiting does not heal at the nodes that say that there is something of the kind.
    fn losses(&self) -> Vec<Loss> {
        let mut losses = Vec::new();
        let view = &self.oracle.view;
        for (node, sim) in self.nodes.iter().enumerate() {
            let Some(process) = sim.process.as_ref().filter(|_| sim.paused_until <= self.now)
            else {
                continue;
            };
            let says = |partition| {
                let shard = process.shards.get(self.shard_of_partition(partition));
                shard.is_some_and(|shard| shard.damage().unhealable > 0)
            };
            let number = small(node);
            let lost = view.lost.keys().filter(|(of, _)| *of == number);
            let lost = lost.map(|(_, lost)| Loss { node, partition: Partition(*lost), key: None });
            let rotten = view.hurt.iter().filter(|(of, _)| *of == number).map(|(_, key)| Loss {
                node,
                partition: self.partition_of(*key),
                key: Some(*key),
            });
            let hopeless = |loss: &Loss| says(loss.partition) && self.is_hopeless(*loss);
            losses.extend(lost.chain(rotten).filter(hopeless));
        }
        losses
    }

    /// Whether another replica lacks it too, or there is none.
    fn is_hopeless(&self, Loss { node, partition, key }: Loss) -> bool {
        let Some(latest) = self.latest() else { return false };
        let sets = latest.sets(partition);
        let replicas = sets.all().filter_map(|replica| self.node_of(replica));
        let mut others = replicas.filter(|other| *other != node).map(small).peekable();
        let lacks = |other: u8| match key {
            Some(key) => self.is_hurt(other, key),
            None => {
                let keys = 0..small(self.keys.len());
                let mut own = keys.filter(|key| self.partition_of(*key) == partition);
                self.oracle.view.lost.contains_key(&(other, partition.0))
                    || own.any(|key| self.is_hurt(other, key))
            }
        };
        others.peek().is_none() || others.any(lacks)
    }

    /// A node is told, and what it lacks of it by then is accepted as lost.
    fn accept_loss(&mut self, Loss { node, partition, key }: Loss) {
        let (number, shard) = (small(node), self.shard_of_partition(partition));
        let has_lost = self.oracle.view.lost.contains_key(&(number, partition.0));
        for known in 0..small(self.keys.len()) {
            let (name, hash) = self.keys[usize::from(known)].clone();
            let is_meant = key.is_none_or(|key| key == known);
            if !is_meant || self.partition_of(known) != partition {
                continue;
            }
            let is_marked = self.nodes[node].engine.is_marked(shard, &(hash, name));
            if is_marked || has_lost && key.is_none() {
                self.emit(Fact::LossAccepted { node: number, key: known, partition: partition.0 });
            }
        }
        let key = key.map(|key| {
            let (name, hash) = self.keys[usize::from(key)].clone();
            (hash, name)
        });
        let event = Event::AcceptLoss { partition, key };
        self.work.push_back(Work::Shard { node, shard, event });
    }

    /// A replica is about to be healed: says what is left of the key where its loss was accepted.
    pub(crate) fn note_loss_taken(&mut self, node: usize, key: u8) {
        let (number, partition) = (small(node), self.partition_of(key));
        if !self.oracle.view.accepted.contains_key(&(number, key)) {
            return;
        }
        let Some(latest) = self.latest().cloned() else { return };
        let sets = latest.sets(partition);
        let held = |other: u8| {
            let view = &self.oracle.view;
            view.durable(other, key).max(view.dropped_on(other, key))
        };
        let replicas = |set: &[_]| -> Vec<u8> {
            let nodes = set.iter().filter_map(|replica| self.node_of(*replica)).map(small);
            nodes.filter(|other| *other == number || !self.is_hurt(*other, key)).collect()
        };
        let mut all: Vec<Version> = replicas(sets.current).into_iter().map(held).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        let quorum = sets.current.len() / 2 + 1;
        let least = all.get(all.len().saturating_sub(quorum)).or(all.last());
        let (taken, left) = (held(number), least.copied().unwrap_or(NOTHING));
        let best = self.is_calm().then(|| {
            let others = replicas(sets.current).into_iter().filter(|other| *other != number);
            others.map(|other| self.oracle.view.durable(other, key)).max().unwrap_or(NOTHING)
        });
        self.emit(Fact::LossTaken { node: number, key, taken, left, best });
    }

    /// Whether every member can be asked, and could be for a while.
    fn is_calm(&self) -> bool {
        let Phase::Resting { since, .. } = self.phase else { return false };
        self.now > since + CALM && self.unrest_of_members().is_none() && self.are_connected()
    }

    /// Whether a disk cannot answer for what it holds of a key.
    fn is_hurt(&self, node: u8, key: u8) -> bool {
        let view = &self.oracle.view;
        view.rotten.contains_key(&(node, key))
            || view.lost.contains_key(&(node, self.partition_of(key).0))
    }

    /// Whether a node is to store a partition by the latest layout.
    fn stores(&self, node: usize, partition: Partition) -> bool {
        let Some(latest) = self.latest() else { return false };
        let own = latest.document().member_named(&self.nodes[node].name);
        own.is_some_and(|own| latest.sets(partition).contains(own.ordinal))
    }
}
