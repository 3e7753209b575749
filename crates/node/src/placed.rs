//! A layout with what status and shards want to know of it, counted once and off the event loops.

use std::collections::BTreeMap;
use std::sync::Arc;

use paravon_model::{Document, Fence, Ordinal};
use paravon_replication::Admission;
use paravon_ring::{Layout, Partition};

/// Arcs of the ring that status names at most.
const MAX_ARCS: usize = 256;

/// A document whose layout is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Unplaced {
    pub(crate) document: Arc<Document>,
    /// This node's number in it.
    pub(crate) own: Ordinal,
    /// The fence that this node has stored.
    pub(crate) stored: Option<Fence>,
    /// The span of service that it is for: what was made for an earlier one is not used.
    pub(crate) service: u64,
}

/// A layout, and how much of it each member has.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) layout: Arc<Layout>,
    /// This node's number in it.
    pub(crate) own: Ordinal,
    /// What this node is to empty before it has stored the layout's document (`EPOCH_FENCE`); nothing
    /// where it has stored that.
    pub(crate) new: Arc<[Partition]>,
    /// The fence that this node had stored.
    stored: Option<Fence>,
    pub(crate) service: u64,
    /// Partitions by member, in either set.
    partitions: BTreeMap<Ordinal, u32>,
    /// The first arcs of the ring that this node stores, as first and last hash.
    pub(crate) arcs: Vec<(u64, u64)>,
}

impl Placed {
    /// The layout of a document, where `previous` is in use. Takes long in large clusters.
    pub(crate) fn of(unplaced: Unplaced, previous: Option<&Layout>) -> Self {
        let Unplaced { document, own, stored, service } = unplaced;
        let layout = match previous {
            Some(previous) => previous.after(document),
            None => Layout::of(document),
        };
        let mut partitions = BTreeMap::new();
        let mut arcs: Vec<(u64, u64)> = Vec::new();
        for partition in layout.partitions() {
            let sets = layout.sets(partition);
            for replica in sets.all() {
                *partitions.entry(replica).or_default() += 1;
            }
            if sets.contains(own) {
                let arc = partition.arc(layout.shift());
                let (first, last) = (arc.first.0, arc.last.0);
                let known = arcs.len();
                match arcs.last_mut() {
                    Some((_, end)) if first > 0 && *end == first - 1 => *end = last,
                    _ if known < MAX_ARCS => arcs.push((first, last)),
                    _ => {}
                }
            }
        }
        let new = layout.made_new(own, stored).into();
        Self { layout: Arc::new(layout), own, new, stored, service, partitions, arcs }
    }

    /// How shards begin with it: they settle at once where there is nothing to empty or to take back.
    pub(crate) fn admission(&self) -> Admission {
        let (new, generation) = (self.new.clone(), self.layout.fence().generation);
        match self.stored {
            Some(stored) if stored.generation < generation => Admission::Rescued(new),
            _ => Admission::Empties(new),
        }
    }

    /// Partitions that a member stores, or is to store once the change under way has ended.
    pub(crate) fn partitions(&self, member: Ordinal) -> u32 {
        self.partitions.get(&member).copied().unwrap_or_default()
    }

    /// A member's part of all copies.
    pub(crate) fn share(&self, member: Ordinal) -> f64 {
        let all: u64 = self.partitions.values().map(|&count| u64::from(count)).sum();
        f64::from(self.partitions(member)) / (all.max(1) as f64)
    }
}
