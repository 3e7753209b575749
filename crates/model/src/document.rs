//! The cluster document: who the members are, what is fixed for ever, and who decides its successor
//! (`LAYOUT_AGREES`, `EPOCH_FENCE`).
//!
//! **Never:** says who is up. Liveness never changes the layout.

use alloc::vec::Vec;
use core::fmt;

use crate::identity::{NodeId, Ordinal};
use crate::member::Member;

/// The identity of a cluster, drawn at random when it is founded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The name of one change of the document, drawn at random by whoever asked for it. The document
/// names the changes that it contains, so that a retry is not done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(pub u128);

/// Which layout a request was made under: raised by every change of a replica set, and by it alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    /// Raised by a rescue.
    pub generation: u64,
    /// Raised by every change of a replica set.
    pub number: u64,
}

/// Which document: later ones compare larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// Raised by a rescue.
    pub generation: u64,
    /// Raised by one with every document of a generation.
    pub version: u64,
}

/// Whether a change of the layout is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// One replica set per partition.
    #[default]
    Stable,
}

/// The cluster document. Document n+1 is decided by the council that document n names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Whose it is.
    pub cluster_id: ClusterId,
    /// Orders documents together with `version`.
    pub generation: u64,
    /// Tells two rescues of one generation apart; zero before any.
    pub rescue_id: u128,
    /// Orders documents of one generation.
    pub version: u64,
    /// Raised by every change of a replica set.
    pub fence: u64,
    /// Whether a change of the layout is under way.
    pub phase: Phase,
    /// Keys the hash of every key; fixed at founding.
    pub hash_seed: u64,
    /// The number of partitions as a power of two, 1 to 24; fixed at founding.
    pub shift: u8,
    /// Copies that the operator asked for, 1 to 7.
    pub replication_factor: u8,
    /// The members, by ordinal, each once.
    pub current: Vec<Member>,
    /// Who decides the next document: up to seven members, by ordinal.
    pub council: Vec<Ordinal>,
    /// The ordinal of the next node that joins.
    pub next_ordinal: u32,
    /// The changes that this document contains, oldest first.
    pub operations: Vec<ChangeId>,
}

impl Document {
    /// Orders this document among all of its cluster.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision { generation: self.generation, version: self.version }
    }

    /// What requests under this document carry.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence { generation: self.generation, number: self.fence }
    }

    /// The member of this ordinal.
    #[must_use]
    pub fn member(&self, ordinal: Ordinal) -> Option<&Member> {
        let found = self.current.binary_search_by_key(&ordinal, |member| member.ordinal);
        found.ok().map(|at| &self.current[at])
    }

    /// The member of this name.
    #[must_use]
    pub fn member_named(&self, node_id: &NodeId) -> Option<&Member> {
        self.current.iter().find(|member| member.node_id == *node_id)
    }
}
