//! Which nodes store a partition: the cluster document, turned into a table (`LAYOUT_AGREES`).
//!
//! Rendezvous hashing over fixed partitions. A node has as many tickets as its size says; a partition
//! orders the nodes by their best ticket; its replica set is the first N in distinct zones where there
//! are enough zones. Only what must move moves: a node that comes enters some sets and pushes out at
//! most one member of each; a node that leaves is replaced where it was.
//!
//! **How fair it is.** The first replica of a partition falls on a node in exact proportion to its
//! tickets, but for chance. Further copies flatten the shares, because no node holds two copies of a
//! partition: each is drawn by tickets among the nodes that are left. Among many nodes that is hardly
//! seen; of four nodes, one with twice the tickets of each other, and three copies, the large one holds
//! 90 % of the partitions and the others 70 % each. Zones bound shares likewise: with as many zones as
//! copies every zone holds one whole copy, however few nodes stand in it. Chance adds the deviation of
//! a count: 2.2 % of the mean for 100 equal nodes at shift 16 with three copies, so that the fullest of
//! them holds about 1.055 times the mean, and above 1.08 times with one seed of forty.
//!
//! **Never:** looks at who is up, and never depends on how a layout came about.

use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::{Document, Fence, Key, Member, NodeId, Ordinal};

use crate::place::{KeyHash, Partition, Shift};
use crate::table::Table;

/// Cluster-wide placement: the same on every node that has stored the same document. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    document: Arc<Document>,
    shift: Shift,
    table: Arc<Table>,
}

impl Layout {
    /// The layout of `document`, from nothing. Costs a score, a bit more than a nanosecond, for every
    /// ticket of the cluster in every partition: at shift 16 a few milliseconds for three nodes of size
    /// L, and 0.7 s for a thousand, which is not for an event loop.
    ///
    /// # Panics
    /// If the document's shift is out of range: whoever reads a document checks it, and any other
    /// number of partitions would place keys where no other node looks for them (`LAYOUT_AGREES`).
    #[must_use]
    pub fn of(document: Arc<Document>) -> Self {
        let shift = shift_of(&document);
        let table = Arc::new(Table::of(&document, shift));
        Self { document, shift, table }
    }

    /// The layout of `document`, exactly as [`of`](Self::of) gives it, but from this one: only what
    /// the members that came, left or changed can change is computed. A document that changed no
    /// placement shares the table.
    ///
    /// Where the number of copies changes, which it does with each member up to the replication
    /// factor, all is computed anew, and takes as long as [`of`](Self::of): not for an event loop.
    ///
    /// # Panics
    /// As [`of`](Self::of).
    #[must_use]
    pub fn after(&self, document: Arc<Document>) -> Self {
        let shift = shift_of(&document);
        let table = self.table.after(&document, shift);
        Self { document, shift, table }
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

    /// The nodes that store `partition`: `min(replication_factor, members)` distinct ones, the
    /// preferred one first. With a smaller replication factor it would be the beginning of the same.
    ///
    /// # Panics
    /// If `partition` is not one of this layout's `2^shift`.
    #[must_use]
    pub fn replicas(&self, partition: Partition) -> &[Ordinal] {
        self.table.set(partition)
    }

    /// All members: the replica set of `partition`, then the others, the preferred ones first. Costs
    /// a score for every ticket of the cluster.
    ///
    /// # Panics
    /// If `partition` is not one of this layout's `2^shift`.
    #[must_use]
    pub fn preference(&self, partition: Partition) -> Vec<Ordinal> {
        self.table.preference(partition)
    }
}

fn shift_of(document: &Document) -> Shift {
    Shift::new(document.shift).expect("a document's shift is checked when it is read")
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
