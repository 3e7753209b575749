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
use alloc::vec;
use alloc::vec::Vec;

use paravon_model::{Document, Fence, Key, NodeId, Ordinal, Roster};

use crate::contest::Contest;
use crate::place::{KeyHash, Partition, Shift};
use crate::table::Table;

/// Cluster-wide placement: the same on every node that has stored the same document. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    document: Arc<Document>,
    shift: Shift,
    current: Arc<Table>,
    /// While `joint`.
    next: Option<Arc<Table>>,
}

/// The replica sets of a partition that are in force: what reads and writes need a quorum of, each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sets<'a> {
    /// The set of the current layout.
    pub current: &'a [Ordinal],
    /// The set to come, where it has other members than the current one.
    pub next: Option<&'a [Ordinal]>,
}

impl<'a> Sets<'a> {
    /// The sets: one, or two.
    pub fn iter(&self) -> impl Iterator<Item = &'a [Ordinal]> + use<'a> {
        [Some(self.current), self.next].into_iter().flatten()
    }

    /// Whether this node stores the partition, in either set.
    #[must_use]
    pub fn contains(&self, ordinal: Ordinal) -> bool {
        self.current.contains(&ordinal) || self.next.is_some_and(|next| next.contains(&ordinal))
    }

    /// The members of both sets, each once: those of the current one first.
    pub fn all(&self) -> impl Iterator<Item = Ordinal> {
        let next = self.next.unwrap_or_default().iter().copied();
        let new = next.filter(|member| !self.current.contains(member));
        self.current.iter().copied().chain(new)
    }

    /// Whether the change under way makes this node new to the set.
    #[must_use]
    pub fn is_new(&self, ordinal: Ordinal) -> bool {
        !self.current.contains(&ordinal) && self.contains(ordinal)
    }
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
        let seed = document.hash_seed;
        let current = Arc::new(Table::of(&document.current, seed, shift));
        let next = document.joint().map(|joint| current.after(&joint.next, seed, shift));
        let current = match document.given_up() {
            [] => current,
            given_up => Arc::new(current.without(given_up)),
        };
        Self { document, shift, current, next }
    }

    /// The layout of `document`, exactly as [`of`](Self::of) gives it, but from this one: only what
    /// the members that came, left or changed can change is computed. A document that changed no
    /// placement shares the tables.
    ///
    /// Where the number of copies changes, which it does with each member up to the replication
    /// factor, all is computed anew, and takes as long as [`of`](Self::of): not for an event loop. So
    /// it is where copies are given up.
    ///
    /// # Panics
    /// As [`of`](Self::of).
    #[must_use]
    pub fn after(&self, document: Arc<Document>) -> Self {
        if !document.given_up().is_empty() || !self.document.given_up().is_empty() {
            return Self::of(document);
        }
        let shift = shift_of(&document);
        let seed = document.hash_seed;
        let known = [Some(&self.current), self.next.as_ref()];
        let table = |roster| {
            let same = known.iter().flatten().find(|table| table.is_of(roster, seed, shift));
            same.map_or_else(|| self.current.after(roster, seed, shift), |table| Arc::clone(table))
        };
        let current = table(&document.current);
        let next = document.joint().map(|joint| table(&joint.next));
        Self { document, shift, current, next }
    }

    /// The document that it comes from.
    #[must_use]
    pub fn document(&self) -> &Arc<Document> {
        &self.document
    }

    /// Raised by every change of phase or of a replica set (`EPOCH_FENCE`).
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.document.fence()
    }

    /// The number of partitions as a power of two.
    #[must_use]
    pub fn shift(&self) -> Shift {
        self.shift
    }

    /// How many copies the operator asked for, the larger number while that changes; the
    /// [`sets`](Self::sets) give those there are.
    #[must_use]
    pub fn replication_factor(&self) -> u8 {
        let next = self.document.joint().map_or(0, |joint| joint.next.replication_factor);
        self.document.current.replication_factor.max(next)
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

    /// All partitions, in order.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.shift.partitions()).map(Partition)
    }

    /// The replica sets of `partition` that are in force: each of `min(replication_factor, members)`
    /// distinct nodes, the preferred one first. With a smaller replication factor a set would be the
    /// beginning of the same.
    ///
    /// # Panics
    /// If `partition` is not one of this layout's `2^shift`.
    #[must_use]
    pub fn sets(&self, partition: Partition) -> Sets<'_> {
        let current = self.current.set(partition);
        let next = self.next.as_ref().map(|table| table.set(partition));
        if let Some(next) = next.filter(|_| current.is_empty()) {
            // All copies are given up: what is left begins anew.
            return Sets { current: next, next: None };
        }
        let differs = |next: &&[Ordinal]| {
            next.len() != current.len() || next.iter().any(|member| !current.contains(member))
        };
        // After a rescue a set of the same members is one all the same that has lost copies: its members
        // take over from each other what only one of them holds.
        let is_rescue = !self.document.given_up().is_empty();
        Sets { current, next: next.filter(|next| is_rescue || differs(next)) }
    }

    /// Partitions that the changes begun after fence `since` have made `own` new to, the one under way
    /// among them, in order: what they hold from before is of an earlier membership. All that `own`
    /// is new to where `since` is none. Takes as long as [`of`](Self::of) for every change that was
    /// missed.
    #[must_use]
    pub fn made_new(&self, own: Ordinal, since: Option<Fence>) -> Vec<Partition> {
        let (seed, shift) = (self.document.hash_seed, self.shift);
        let is_missed = |fence: Fence| since < Some(fence);
        let mut new = vec![false; shift.partitions() as usize];
        let mut note = |from: &Table, to: &Table| {
            for (partition, new) in (0..).map(Partition).zip(&mut new) {
                *new |= to.set(partition).contains(&own) && !from.set(partition).contains(&own);
            }
        };
        for change in self.document.past.iter().filter(|change| is_missed(change.fence())) {
            if change.to.member(own).is_some() {
                let from = Arc::new(Table::of(&change.from, seed, shift));
                note(&from, &from.after(&change.to, seed, shift));
            }
        }
        if let Some(next) = &self.next
            && is_missed(self.document.fence())
        {
            note(&self.current, next);
        }
        let made = (0..).map(Partition).zip(new).filter(|&(_, new)| new);
        made.map(|(partition, _)| partition).collect()
    }

    /// All members of the current layout: the replica set of `partition`, then the others, the
    /// preferred ones first. Costs a score for every ticket of the cluster.
    ///
    /// # Panics
    /// If `partition` is not one of this layout's `2^shift`.
    #[must_use]
    pub fn preference(&self, partition: Partition) -> Vec<Ordinal> {
        self.current.preference(partition)
    }
}

/// Whether so many of `members` are together in the replica set of some partition, in the layout of
/// `roster` in the cluster of `document`. Costs a few scores per partition, however many members there
/// are: some milliseconds at shift 16.
///
/// # Panics
/// As [`Layout::of`].
#[must_use]
pub fn are_in_one_set(
    document: &Document,
    roster: &Roster,
    members: &[Ordinal],
    count: usize,
) -> bool {
    Contest::of(roster, document.hash_seed, shift_of(document)).has_set_with(members, count)
}

fn shift_of(document: &Document) -> Shift {
    Shift::new(document.shift).expect("a document's shift is checked when it is read")
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
