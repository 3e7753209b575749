//! The state of the model: the documents decided, one replica per node, the operations of clients.
//!
//! One partition and one key. Everything is small and copied whole, because millions of states are
//! kept.

use std::fmt;

use explorer::{Node, NodeSet};

use crate::properties::Promise;

/// Nodes that a world has room for.
pub(crate) const NODES: usize = 6;
/// Operations that a world has room for.
pub(crate) const OPERATIONS: usize = 3;
/// Documents: the first, a joint one and its end, a second joint one and its end.
pub(crate) const DOCUMENTS: usize = 5;
/// Sendings per operation that may be on their way at once; the oldest is lost for one more.
const SENDINGS: usize = 3;

/// `4 * clock + writer`. Zero is "absent"; writer 0 wrote before the world began.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version(u8);

impl Version {
    pub(crate) const ABSENT: Self = Self(0);
    /// What was acknowledged before the world began.
    pub(crate) const SEED: Self = Self(4 * 3);
    /// What a slow and a fast clock stamp: below the seed and above it.
    pub(crate) const CLOCKS: [u8; 2] = [1, 4];

    /// The stamp of an operation's write.
    pub(crate) fn stamped(clock: u8, operation: u8) -> Self {
        Self(clock * 4 + operation + 1)
    }

    /// The stamp that lies past both.
    pub(crate) fn past(self, other: Self, operation: u8) -> Self {
        Self::stamped(self.max(other).0 / 4 + 1, operation)
    }

    /// Whether operation 0 stamped it, which deletes in worlds with a delete.
    pub(crate) fn is_of_first_operation(self) -> bool {
        self.0 % 4 == 1
    }

    pub(crate) fn is_absent(self) -> bool {
        self == Self::ABSENT
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "v{}", self.0)
    }
}

/// A cluster document, as far as the data path sees it. `next` is empty unless it is joint.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Document {
    pub(crate) fence: u8,
    pub(crate) current: NodeSet,
    pub(crate) next: NodeSet,
}

impl Document {
    pub(crate) fn is_joint(self) -> bool {
        !self.next.is_empty()
    }

    /// The replicas in force.
    pub(crate) fn members(self) -> NodeSet {
        self.current.or(self.next)
    }

    /// Nodes that it makes new to the set.
    pub(crate) fn newcomers(self) -> NodeSet {
        self.next.minus(self.current)
    }

    /// Nodes that leave the set with its end.
    pub(crate) fn leavers(self) -> NodeSet {
        if self.is_joint() { self.current.minus(self.next) } else { NodeSet::EMPTY }
    }
}

/// A node's part of the partition, and how far it has stored the document. Documents are named by
/// their place among those decided.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
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
    /// What its disk holds of the key.
    pub(crate) held: Version,
    /// What it held when it had stored the joint document: the least that a pull from it brings.
    pub(crate) snapshot: Version,
    /// Replicas of the old set that it has merged under `known`. In memory, like every cursor.
    pub(crate) merged: NodeSet,
}

impl Replica {
    pub(crate) fn has_stored_what_it_knows(self) -> bool {
        self.stored == self.known
    }
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    #[default]
    Idle,
    /// A write stores; a read asks.
    Asking,
    /// A read sees to it that its winner is on a majority.
    WritingBack,
    Done,
}

/// Which stamp of a write is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Stamp {
    #[default]
    First,
    Second,
}

/// A record on its way to these nodes, from any attempt, also after the operation ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sending {
    pub(crate) document: u8,
    pub(crate) version: Version,
    pub(crate) to: NodeSet,
}

/// What a coordinator knows of its operation.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Operation {
    pub(crate) phase: Phase,
    pub(crate) document: u8,
    /// A write's stamp; the winner of a read that writes back.
    pub(crate) version: Version,
    pub(crate) stamp: Stamp,
    /// A read: who answered.
    pub(crate) answered: NodeSet,
    /// Who acknowledged the write, or is known to hold the read's winner.
    pub(crate) holders: NodeSet,
    /// Who answered `superseded`.
    pub(crate) superseding: NodeSet,
    /// The largest version answered.
    pub(crate) largest: Version,
    /// Acknowledged or read before it began: it must not end below.
    pub(crate) must_reach: Version,
    /// The floor when it began, in worlds with a delete.
    pub(crate) floor: Version,
    pub(crate) sendings: [Sending; SENDINGS],
}

impl Operation {
    /// Puts the record on its way; the oldest sending is lost if there is no room.
    pub(crate) fn send(&mut self, to: NodeSet) {
        self.sendings[0] = Sending { document: self.document, version: self.version, to };
        self.sendings.sort_unstable();
    }

    /// Forgets what was answered.
    pub(crate) fn void_answers(&mut self) {
        self.answered = NodeSet::EMPTY;
        self.holders = NodeSet::EMPTY;
        self.superseding = NodeSet::EMPTY;
        self.largest = Version::ABSENT;
    }
}

/// A store that a replica admitted and that is not durable yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Admission {
    pub(crate) node: Node,
    pub(crate) operation: u8,
    pub(crate) document: u8,
    pub(crate) version: Version,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) documents: [Document; DOCUMENTS],
    /// The newest document decided.
    pub(crate) newest: u8,
    /// Members that reported under the fence of the newest document that they are complete.
    pub(crate) reports: NodeSet,
    pub(crate) replicas: [Replica; NODES],
    pub(crate) operations: [Operation; OPERATIONS],
    pub(crate) admission: Option<Admission>,
    /// Nodes that drop what an older layout left, and have not ended.
    pub(crate) cleaning: NodeSet,
    /// The largest version that a client was told is written.
    pub(crate) acknowledged: Version,
    /// The largest version that a client read.
    pub(crate) seen: Version,
    /// In worlds with a delete: what every replica agreed to have, so that its tombstone could go.
    pub(crate) floor: Version,
    /// The promise that the last action broke.
    pub(crate) broken: Option<Promise>,
}

impl State {
    pub(crate) fn document(&self, place: u8) -> Document {
        self.documents[usize::from(place)]
    }

    pub(crate) fn newest_document(&self) -> Document {
        self.document(self.newest)
    }

    /// The document that a node knows.
    pub(crate) fn document_of(&self, node: Node) -> Document {
        self.document(self.replica(node).known)
    }

    pub(crate) fn replica(&self, node: Node) -> Replica {
        self.replicas[node.index()]
    }

    pub(crate) fn replica_mut(&mut self, node: Node) -> &mut Replica {
        &mut self.replicas[node.index()]
    }

    pub(crate) fn operation(&self, operation: u8) -> Operation {
        self.operations[usize::from(operation)]
    }

    pub(crate) fn operation_mut(&mut self, operation: u8) -> &mut Operation {
        &mut self.operations[usize::from(operation)]
    }
}
