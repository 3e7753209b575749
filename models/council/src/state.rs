//! The state of the model: what each node knows and has voted, and every ballot that was begun.
//!
//! Messages stay in the network for ever and arrive in any order, any number of times, or never: a
//! ballot is a record of what was asked in it, and whoever is asked may answer at any time. A crash
//! keeps what is durable, and everything here is, so that it needs no action.

use explorer::{Node, NodeSet};

pub(crate) const NODES: usize = 5;
pub(crate) const INSTANCES: usize = 3;
pub(crate) const BALLOTS: usize = 3;

/// A cluster document, as far as its own decision sees it. The version is told apart, by instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Document {
    /// Which of the world's councils it names.
    pub(crate) council: u8,
    /// The operations that it contains, a bit each: operation o moves to council o.
    pub(crate) operations: u8,
}

impl Document {
    pub(crate) fn contains(self, operation: u8) -> bool {
        self.operations >> operation & 1 == 1
    }

    /// The document with one operation more.
    pub(crate) fn with(self, operation: u8) -> Self {
        Self { council: operation, operations: self.operations | 1 << operation }
    }
}

/// A value that was voted for, and in which ballot; ballot 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Vote {
    pub(crate) ballot: u8,
    pub(crate) document: Document,
}

/// The one vote slot of an acceptor.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) instance: u8,
    /// The largest ballot that it promised or voted in.
    pub(crate) promised: u8,
    pub(crate) vote: Vote,
}

/// A node.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    /// The version of the newest document that it has stored.
    pub(crate) version: u8,
    pub(crate) document: Document,
    pub(crate) slot: Slot,
    /// Whether it ever knew itself to be in a council.
    pub(crate) was_in_council: bool,
    /// It left the cluster and will never act again.
    pub(crate) has_exited: bool,
}

/// A ballot of an instance: one proposer, one value.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ballot {
    pub(crate) proposer: Node,
    /// The document before, which names the acceptors; every message carries it.
    pub(crate) base: Document,
    pub(crate) acceptors: NodeSet,
    pub(crate) promises: NodeSet,
    /// The vote of the largest ballot that a promise told of.
    pub(crate) best: Vote,
    pub(crate) proposed: Option<Document>,
    pub(crate) votes: NodeSet,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) members: [Member; NODES],
    /// By instance and ballot, both counted from one.
    pub(crate) ballots: [[Option<Ballot>; BALLOTS]; INSTANCES],
}

impl State {
    pub(crate) fn member(&self, node: Node) -> Member {
        self.members[node.index()]
    }

    pub(crate) fn member_mut(&mut self, node: Node) -> &mut Member {
        &mut self.members[node.index()]
    }

    pub(crate) fn ballot(&self, instance: u8, ballot: u8) -> Option<Ballot> {
        self.ballots[usize::from(instance) - 1][usize::from(ballot) - 1]
    }

    pub(crate) fn ballot_mut(&mut self, instance: u8, ballot: u8) -> &mut Option<Ballot> {
        &mut self.ballots[usize::from(instance) - 1][usize::from(ballot) - 1]
    }

    /// Nodes that have not left.
    pub(crate) fn present(&self) -> NodeSet {
        nodes().filter(|&node| !self.member(node).has_exited).collect()
    }

    /// Everything decided in an instance, that is, voted for by a majority of the acceptors of one
    /// ballot.
    pub(crate) fn decided(&self, instance: u8) -> impl Iterator<Item = Document> {
        let ballots = self.ballots[usize::from(instance) - 1].into_iter().flatten();
        ballots
            .filter(|ballot| ballot.votes.has_majority_of(ballot.acceptors))
            .filter_map(|ballot| ballot.proposed)
    }
}

/// Every node.
pub(crate) fn nodes() -> impl Iterator<Item = Node> {
    (0..8).map(Node).take(NODES)
}
