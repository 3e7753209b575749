//! The state of the model: one replica per node with its record and marks, one read, and what
//! clients were told.
//!
//! One partition and one key. Everything is small and copied whole, because millions of states are
//! kept.

use std::fmt;

use explorer::{Node, NodeSet};

use crate::properties::Promise;

/// Nodes that a world has room for.
pub(crate) const NODES: usize = 5;
/// Documents that a world has room for.
pub(crate) const DOCUMENTS: usize = 5;
/// Versions that a world has room for.
pub(crate) const VERSIONS: usize = 3;

/// A version, and thereby the write that has it; a mark is the version that it has risen to. Zero
/// is "absent" and "at the bottom".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version(pub(crate) u8);

impl Version {
    pub(crate) const ABSENT: Self = Self(0);

    pub(crate) fn is_absent(self) -> bool {
        self == Self::ABSENT
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "v{}", self.0)
    }
}

/// The three marks of a replica: `floor <= full <= closed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Marks {
    pub(crate) closed: Version,
    pub(crate) full: Version,
    pub(crate) floor: Version,
}

/// What a replica told the others of its marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Told {
    pub(crate) closed: Version,
    pub(crate) full: Version,
}

/// Whether a pull counts for `full`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Worth {
    /// It brings records, and merges a replica of the old set.
    #[default]
    Records,
    /// It began after every member was known to be closed.
    Full,
}

/// A pull that was answered and whose records are not durable yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pull {
    pub(crate) source: Node,
    pub(crate) brought: Version,
    pub(crate) worth: Worth,
}

/// A node's part of the partition, and how far it has stored the document. Documents are named by
/// their place in the world's list, which is their fence.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    /// What its disk holds of the key.
    pub(crate) held: Version,
    pub(crate) marks: Marks,
    /// The `closed` that it tells: it lags while a store admitted below it is not durable.
    pub(crate) told_closed: Version,
    /// A store that it admitted and that is not durable yet.
    pub(crate) admitted: Version,
    /// The newest document that it knows: it refuses what names an older fence.
    pub(crate) known: u8,
    /// The newest document that its disk holds.
    pub(crate) durable: u8,
    /// Whether stores under older documents have ended and what `known` made new is empty. In
    /// memory.
    pub(crate) emptied: bool,
    /// The newest document of which its disk says that the node *has stored* it: it admits under no
    /// other.
    pub(crate) stored: u8,
    /// Whether it has a `closed` of its own: a newcomer waits for one.
    pub(crate) is_ready: bool,
    /// Members pulled completely since every one was known to be closed. In memory.
    pub(crate) pulled: NodeSet,
    /// Replicas of the old set that it has merged under the joint document. In memory.
    pub(crate) merged: NodeSet,
    pub(crate) pull: Option<Pull>,
    /// What it told last under every document that it has left.
    pub(crate) told_under: [Told; DOCUMENTS],
    /// The largest that it ever told, for the mutant that believes it.
    pub(crate) ever_told: Told,
}

impl Replica {
    pub(crate) fn has_stored_what_it_knows(&self) -> bool {
        self.stored == self.known
    }
}

/// What a replica answered to a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Answer {
    pub(crate) record: Version,
    pub(crate) floor: Version,
}

/// A quorum read under way. Its coordinator belongs to no node; its crash is that it never acts
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Read {
    pub(crate) document: u8,
    pub(crate) answered: NodeSet,
    pub(crate) answers: [Answer; NODES],
    /// Acknowledged or read before it began: it must not end below.
    pub(crate) must_reach: Version,
    /// The largest version that a floor had overruled in a read before it began.
    pub(crate) overruled: Version,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The newest document decided.
    pub(crate) newest: u8,
    /// Members that reported under the fence of the newest document that they are complete.
    pub(crate) reports: NodeSet,
    pub(crate) replicas: [Replica; NODES],
    /// Who acknowledged a version under a document.
    pub(crate) acknowledgers: [[NodeSet; DOCUMENTS]; VERSIONS],
    /// The largest version that a client was told is written, or read: no read that begins now may
    /// end below.
    pub(crate) reached: Version,
    /// The largest version that a floor overruled in a read that was answered.
    pub(crate) overruled: Version,
    /// The largest tombstone that was dropped.
    pub(crate) dropped: Version,
    pub(crate) read: Option<Read>,
    pub(crate) reads_left: u8,
    pub(crate) restarts_left: u8,
    /// None where there is no limit.
    pub(crate) slow_pulls_left: Option<u8>,
    /// The promise that the last action broke.
    pub(crate) broken: Option<Promise>,
}

impl State {
    pub(crate) fn replica(&self, node: Node) -> &Replica {
        &self.replicas[node.index()]
    }

    pub(crate) fn replica_mut(&mut self, node: Node) -> &mut Replica {
        &mut self.replicas[node.index()]
    }
}
