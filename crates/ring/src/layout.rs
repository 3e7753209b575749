//! Which nodes store a partition: the cluster document, turned into a table.

use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::{Document, Fence, Key, Member, NodeId, Ordinal};

use crate::place::{KeyHash, Partition, Shift};

/// Cluster-wide placement: the same object on every node that has stored the same document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    document: Arc<Document>,
    shift: Shift,
    /// The replica set of every partition, while all members store everything.
    everyone: Vec<Ordinal>,
}

impl Layout {
    /// The layout of `document`.
    #[must_use]
    pub fn of(document: Arc<Document>) -> Self {
        let shift = Shift::new(document.shift).unwrap_or(Shift::DEFAULT);
        let copies = usize::from(document.replication_factor);
        let everyone = document.current.iter().map(|member| member.ordinal).take(copies).collect();
        Self { document, shift, everyone }
    }

    /// The document that it comes from.
    #[must_use]
    pub fn document(&self) -> &Arc<Document> {
        &self.document
    }

    /// Raised by every change of a replica set (`EPOCH_FENCE`).
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.document.fence()
    }

    /// The number of partitions as a power of two.
    #[must_use]
    pub fn shift(&self) -> Shift {
        self.shift
    }

    /// How many copies the operator asked for; [`replicas`](Self::replicas) gives those there are.
    #[must_use]
    pub fn replication_factor(&self) -> u8 {
        self.document.replication_factor
    }

    /// All members, by ordinal.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.document.current
    }

    /// The name of a member; none for one that has left.
    #[must_use]
    pub fn node_id(&self, ordinal: Ordinal) -> Option<&NodeId> {
        self.document.member(ordinal).map(|member| &member.node_id)
    }

    /// The position of `key` on this cluster's ring.
    #[must_use]
    pub fn hash(&self, key: &Key) -> KeyHash {
        KeyHash::of(key, self.document.hash_seed)
    }

    /// The nodes that store `partition`: `min(replication_factor, members)` distinct ones.
    #[must_use]
    pub fn replicas(&self, _partition: Partition) -> &[Ordinal] {
        &self.everyone
    }
}
