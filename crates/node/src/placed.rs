//! A layout with what status tells of it, counted once and off the event loops.

use std::collections::BTreeMap;
use std::sync::Arc;

use paravon_model::{Document, Ordinal};
use paravon_ring::{Layout, Partition};

/// Arcs of the ring that status names at most.
const MAX_ARCS: usize = 256;

/// A layout, and how much of it each member has.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) layout: Arc<Layout>,
    /// Partitions by member.
    partitions: BTreeMap<Ordinal, u32>,
    /// The first arcs of the ring that this node stores, as first and last hash.
    pub(crate) arcs: Vec<(u64, u64)>,
}

impl Placed {
    /// The layout of `document`, where `previous` is in use, as the node `own` sees it. Takes long in
    /// large clusters.
    pub(crate) fn of(
        document: Arc<Document>,
        previous: Option<&Layout>,
        own: Option<Ordinal>,
    ) -> Self {
        let layout = match previous {
            Some(previous) => previous.after(document),
            None => Layout::of(document),
        };
        let mut partitions = BTreeMap::new();
        let mut arcs: Vec<(u64, u64)> = Vec::new();
        let width = 64 - u32::from(layout.shift().get());
        for number in 0..layout.shift().partitions() {
            let replicas = layout.replicas(Partition(number));
            for replica in replicas {
                *partitions.entry(*replica).or_default() += 1;
            }
            if own.is_some_and(|own| replicas.contains(&own)) {
                let first = u64::from(number) << width;
                let last = first + ((1_u64 << width) - 1);
                let known = arcs.len();
                match arcs.last_mut() {
                    Some((_, end)) if first > 0 && *end == first - 1 => *end = last,
                    _ if known < MAX_ARCS => arcs.push((first, last)),
                    _ => {}
                }
            }
        }
        Self { layout: Arc::new(layout), partitions, arcs }
    }

    /// Partitions that a member stores.
    pub(crate) fn partitions(&self, member: Ordinal) -> u32 {
        self.partitions.get(&member).copied().unwrap_or_default()
    }

    /// A member's part of all copies.
    pub(crate) fn share(&self, member: Ordinal) -> f64 {
        let all: u64 = self.partitions.values().map(|&count| u64::from(count)).sum();
        f64::from(self.partitions(member)) / (all.max(1) as f64)
    }
}
