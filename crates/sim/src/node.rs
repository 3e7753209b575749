//! A simulated node: what its disk keeps over crashes, and the machines of its process while it runs.
//! What carries effects out is in `shards.rs` and `council.rs`: simpler glue than that of the node that
//! ships, without event loops, and with layouts that are made at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use paravon_model::{Address, ClusterState, Fence, Hlc, NodeId, Ordinal, Progress, Purpose};
use paravon_replication::cluster::Cluster;
use paravon_replication::{OperationId, Permit, Remembered, Shard};
use paravon_ring::{Layout, Partition};
use paravon_storage::crash_disk::Image;

use crate::clock::NodeClock;
use crate::engine::Engine;
use crate::plan::{MAX_KEYS, MAX_NODES, Plan};
use crate::queue::Nanos;

/// A node.
pub(crate) struct SimNode {
    pub(crate) name: NodeId,
    pub(crate) address: Address,
    pub(crate) clock: NodeClock,
    pub(crate) engine: Engine,
    /// The ceiling that its disk holds.
    pub(crate) ceiling: Hlc,
    /// What its disk remembers of the cluster.
    pub(crate) state: ClusterState,
    /// Counts its processes, so that what is meant for an earlier one is known.
    pub(crate) incarnation: u32,
    /// Until when it does nothing.
    pub(crate) paused_until: Nanos,
    /// Until when its disk does nothing.
    pub(crate) stalled_until: Nanos,
    /// What its disk once held.
    pub(crate) copy: Option<(Image, ClusterState)>,
    /// Whether its disk was put back to an old copy, and it is still the member that this was of.
    pub(crate) old_disk: bool,
    /// Whether it never starts again.
    pub(crate) killed: bool,
    /// The number whose disk is gone for good.
    pub(crate) lost: Option<Ordinal>,
    /// Of every key, the removals on their way to the disk.
    pub(crate) forgetting: [u8; MAX_KEYS],
    /// Floors, `full` and `closed` on their way to the disk.
    pub(crate) marking: Vec<(Partition, (Hlc, Hlc, Hlc))>,
    /// Counts how often it began to serve.
    pub(crate) services: u32,
    /// Its process, while it runs.
    pub(crate) process: Option<Process>,
}

/// A peer's request that a shard may answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) node: u8,
    pub(crate) incarnation: u32,
    pub(crate) shard: u8,
    pub(crate) service: u32,
    pub(crate) operation: OperationId,
    /// None where it asks about a partition.
    pub(crate) key: Option<u8>,
    /// Why it wants something stored, if it does.
    pub(crate) purpose: Option<Purpose>,
    pub(crate) fence: Fence,
    pub(crate) stranger: bool,
}

/// The machines of a process and what goes between them.
pub(crate) struct Process {
    pub(crate) cluster: Cluster,
    /// None before the node serves, and none after it has left.
    pub(crate) shards: Vec<Shard>,
    /// Which of the node's services the shards are.
    pub(crate) service: u32,
    /// When it began.
    pub(crate) served_since: Nanos,
    /// What each shard uses: it hears of the node's layout a little later.
    pub(crate) shard_layouts: Vec<Arc<Layout>>,
    pub(crate) layout: Option<Arc<Layout>>,
    pub(crate) ordinal: Option<Ordinal>,
    /// The largest number that it has had.
    pub(crate) largest_number: Option<Ordinal>,
    /// The members of the layout by ordinal, as numbers of the world; of a node that is there twice
    /// the newer number.
    pub(crate) members: Vec<(Ordinal, usize)>,
    pub(crate) permit: Permit,
    pub(crate) dead: Vec<Ordinal>,
    /// Peers of whose connection the shards know.
    pub(crate) told_links: [Option<Ordinal>; MAX_NODES],
    pub(crate) askers: Vec<Asker>,
    pub(crate) remembered: Remembered,
    /// States on their way to the disk.
    pub(crate) persisting: VecDeque<(u64, ClusterState)>,
    pub(crate) persisted_at: Nanos,
    /// What each shard has settled, and how far it is since.
    pub(crate) settled: Vec<Option<(Fence, Progress)>>,
    /// What the layout's document has made the node new to since the one that it has stored.
    pub(crate) new: Arc<[Partition]>,
    /// The fence under which the shards may admit requests.
    pub(crate) admitted: Option<Fence>,
    pub(crate) sums: Sums,
    /// The floors and the `full` of partitions that were judged already.
    pub(crate) judged: BTreeMap<Partition, (Hlc, Hlc)>,
    /// When each machine is woken next: the shards, then the cluster.
    pub(crate) wakes: Vec<Option<Nanos>>,
}

/// Whether a process's stores sum up what they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sums {
    /// It knows no cluster to sum up for.
    None,
    /// They do; whether the scrubber is to hurry.
    Kept { unsummed: bool },
}

impl SimNode {
    pub(crate) fn new(plan: &Plan, index: usize) -> Self {
        let name = node_name(index);
        Self {
            clock: NodeClock::new(plan.skews_ms[index], plan.drifts_ppm[index]),
            address: node_address(index),
            engine: Engine::new(plan),
            ceiling: Hlc::ZERO,
            state: ClusterState::new(name.clone()),
            name,
            incarnation: 0,
            paused_until: 0,
            stalled_until: 0,
            copy: None,
            old_disk: false,
            killed: false,
            lost: None,
            forgetting: [0; MAX_KEYS],
            marking: Vec::new(),
            services: 0,
            process: None,
        }
    }
}

impl Process {
    pub(crate) fn new(cluster: Cluster, shards: u16) -> Self {
        Self {
            cluster,
            shards: Vec::new(),
            service: 0,
            served_since: 0,
            shard_layouts: Vec::new(),
            layout: None,
            ordinal: None,
            largest_number: None,
            members: Vec::new(),
            permit: Permit::Held { offset_ms: 0 },
            dead: Vec::new(),
            told_links: [None; MAX_NODES],
            askers: Vec::new(),
            remembered: Remembered::new(),
            persisting: VecDeque::new(),
            persisted_at: 0,
            settled: vec![None; usize::from(shards)],
            new: Arc::default(),
            admitted: None,
            sums: Sums::None,
            judged: BTreeMap::new(),
            wakes: vec![None; usize::from(shards) + 1],
        }
    }

    /// The fence that a shard uses; none before the node serves.
    pub(crate) fn fence(&self, shard: usize) -> Option<Fence> {
        self.shard_layouts.get(shard).map(|layout| layout.fence())
    }

    /// The node of an ordinal of the layout.
    pub(crate) fn node_of(&self, ordinal: Ordinal) -> Option<usize> {
        self.members.iter().find(|(known, _)| *known == ordinal).map(|&(_, node)| node)
    }

    /// The ordinal of a node of the layout.
    pub(crate) fn ordinal_of(&self, node: usize) -> Option<Ordinal> {
        self.members.iter().find(|(_, known)| *known == node).map(|&(ordinal, _)| ordinal)
    }

    /// When a machine wants to be woken: a shard, or the cluster behind the last of them.
    pub(crate) fn wanted_wake(&self, machine: usize) -> Option<Duration> {
        match self.shards.get(machine) {
            Some(shard) => shard.next_wake(),
            None if machine + 1 == self.wakes.len() => Some(self.cluster.next_wake()),
            None => None,
        }
    }
}

/// The name of a node of the world.
pub(crate) fn node_name(index: usize) -> NodeId {
    NodeId::new(&format!("n{index}")).expect("letters and digits")
}

/// Where a node of the world is reached.
pub(crate) fn node_address(index: usize) -> Address {
    Address::new(&format!("10.0.0.{index}:7400"))
}

/// The node of a name, by the number in it.
pub(crate) fn index_of(name: &NodeId) -> Option<usize> {
    name.as_str().strip_prefix('n')?.parse().ok()
}

/// The node of an address, by the number in it.
pub(crate) fn index_at(address: &Address) -> Option<usize> {
    address.as_str().strip_prefix("10.0.0.")?.strip_suffix(":7400")?.parse().ok()
}
