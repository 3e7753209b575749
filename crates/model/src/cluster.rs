//! What nodes say to each other about the cluster itself: who they are, the document and its Paxos,
//! founding and joining, who is up, what time it is.
//!
//! Messages may be lost, doubled and reordered; every one stands for itself.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::document::{ChangeId, ClusterId, Document, Fence, OperationKind, Revision};
use crate::hlc::Hlc;
use crate::identity::{NodeId, Ordinal};
use crate::member::Address;

/// What a node says of itself on every connection before anything else (`NO_STRANGER`,
/// `DISK_NOT_OLDER`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerHello {
    /// Its name, which its certificate must bear.
    pub node_id: NodeId,
    /// Where others reach its peer port.
    pub address: Address,
    /// The cluster that it belongs to and its number there; none for one that waits to join.
    pub membership: Option<Membership>,
    /// How often its disk was opened.
    pub start: u64,
    /// Drawn at random at this start: tells two processes on copies of one disk apart.
    pub run: u64,
    /// The ceiling of stamps that its disk holds.
    pub ceiling: Hlc,
}

/// A node's place in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Which cluster.
    pub cluster_id: ClusterId,
    /// Its generation: raised by a rescue.
    pub generation: u64,
    /// Tells two rescues of one generation apart.
    pub rescue_id: u128,
    /// Its number there.
    pub ordinal: Ordinal,
}

/// A message from one node to another about the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterMessage {
    /// About an instance of the document's Paxos.
    Council(CouncilMessage),
    /// The sender's document, so that the receiver need not ask.
    Document(Arc<Document>),
    /// Which document do you know? Answered by [`ClusterMessage::Document`] where it is later than
    /// this one, else not at all.
    AskDocument {
        /// What the sender knows; none where it has no document.
        known: Option<Revision>,
    },
    /// A failure detector's message, opaque here.
    Swim(Vec<u8>),
    /// What time is it? Sent when a link comes up and every second.
    Ping {
        /// Comes back in the answer.
        nonce: u64,
        /// The ceiling that the sender's disk holds.
        ceiling: Hlc,
    },
    /// The answer to a ping.
    Pong {
        /// Of the ping.
        nonce: u64,
        /// The answerer's wall clock, in milliseconds since the Unix epoch.
        wall_ms: u64,
        /// The ceiling that the answerer's disk holds.
        ceiling: Hlc,
    },
    /// May I found a cluster? Asked of every seed.
    AskToFound,
    /// The answer of a node without a document, which binds it to wait for the asker.
    MayFound,
    /// The answer of a node that found or waits for somebody else: the asker is not to found.
    MayNotFound,
    /// Do this to the members. A node that wants to come asks for itself; members pass on what their
    /// operators ask for.
    Operate {
        /// Names the operation, so that a retry is not done twice.
        id: ChangeId,
        /// What is to be done.
        kind: OperationKind,
    },
    /// Give up the change under way, unless it has ended.
    Cancel {
        /// The fence of its `joint` document.
        fence: Fence,
    },
    /// What became of an operation that was asked for.
    Operated {
        /// Which.
        id: ChangeId,
        /// Why not, where it was refused; the document tells all else. None where the council was
        /// asked to vote for it: it may still be, whatever anybody says.
        refusal: Option<OperationRefusal>,
    },
    /// How far a member is with the layout that it uses. Told to the council.
    Report {
        /// Its number: while a node takes the place of one of the same name, the name is not enough.
        member: Ordinal,
        /// What it has to say.
        report: Report,
    },
}

/// Why an operation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationRefusal {
    /// A member of that name exists; its disk was lost, or another node uses its name.
    NameTaken {
        /// Its number.
        member: Ordinal,
    },
    /// There is no such member.
    NoSuchMember {
        /// The number that was named.
        member: Ordinal,
    },
    /// The member is up: drain it instead.
    IsUp {
        /// Its number.
        member: Ordinal,
    },
    /// It is the last member.
    LastMember,
    /// The number of copies is not one of 1 to 7, or is kept already.
    BadFactor,
    /// Sets of the layout to come would lack a live majority.
    NextHasNoMajority,
    /// Partitions have lost a majority of their copies with the members that are down or to be done
    /// without: nobody could take over what was acknowledged there.
    CurrentHasNoMajority,
    /// A member has been away for so many changes that no more are begun: remove or replace it.
    MemberTooFarBehind {
        /// Its number.
        member: Ordinal,
    },
    /// As many operations wait as there may be.
    TooManyWaiting,
    /// Too few members answered; try again.
    NoMajority,
}

/// How far a member is with the layout of its document: what a change of layout waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The fence that it *has stored* (`EPOCH_FENCE`).
    pub stored: Fence,
    /// What it has taken over under that fence.
    pub progress: Progress,
    /// Hints that it keeps for others.
    pub hints: u64,
}

/// How much of what a `joint` document gives a member to take over it has taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Partitions that it must become complete for: it is of their next set, which differs from the
    /// current one.
    pub partitions: u64,
    /// Those that it is complete for.
    pub complete: u64,
    /// Records that it has pulled and stored.
    pub records: u64,
    /// Their bytes: keys and values.
    pub bytes: u64,
}

impl Progress {
    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete >= self.partitions
    }
}

impl core::ops::Add for Progress {
    type Output = Self;

    /// Saturates: the numbers may be another node's.
    fn add(self, other: Self) -> Self {
        Self {
            partitions: self.partitions.saturating_add(other.partitions),
            complete: self.complete.saturating_add(other.complete),
            records: self.records.saturating_add(other.records),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// A ballot of the document's Paxos: unique by its proposer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ballot {
    /// Raised to overtake others.
    pub round: u64,
    /// The proposer; zero in the smallest ballot, which nobody proposes.
    pub proposer: u32,
}

/// A vote in the instance that decides the successor of one document: of the voter's own, in its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The ballot of the vote.
    pub ballot: Ballot,
    /// What was voted for.
    pub value: Arc<Document>,
}

/// A message of the single-decree Paxos that decides the successor of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CouncilMessage {
    /// Phase 1: promise to take part in no smaller ballot. Carries document n, which names who votes.
    Prepare {
        /// Document n.
        base: Arc<Document>,
        /// The ballot.
        ballot: Ballot,
    },
    /// The answer to a prepare.
    Promise {
        /// Document n's revision.
        base: Revision,
        /// The ballot promised.
        ballot: Ballot,
        /// The vote given before, if any.
        accepted: Option<Accepted>,
    },
    /// Phase 2: vote for this document n+1.
    Accept {
        /// Document n.
        base: Arc<Document>,
        /// The ballot.
        ballot: Ballot,
        /// Document n+1.
        value: Arc<Document>,
    },
    /// The answer to an accept: the vote is durable.
    Vote {
        /// Document n's revision.
        base: Revision,
        /// The ballot voted in.
        ballot: Ballot,
    },
    /// A larger ballot was promised already.
    Outbid {
        /// Document n's revision.
        base: Revision,
        /// The ballot that was refused.
        ballot: Ballot,
        /// The ballot promised.
        promised: Ballot,
    },
}

/// What a node's disk remembers of the cluster, besides its records. Replaced as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterState {
    /// Whose disk it is.
    pub node_id: NodeId,
    /// Its number; none before it has joined.
    pub ordinal: Option<Ordinal>,
    /// The latest document that it stores; none before it has joined or founded.
    pub document: Option<Arc<Document>>,
    /// The fence that it *has stored* (`EPOCH_FENCE`): everything that it is new to up to there is
    /// emptied, and nothing is admitted under a later one.
    pub stored: Option<Fence>,
    /// Its slot in the instance after that document.
    pub vote: VoteSlot,
    /// Whom it promised to wait for, when asked whether somebody may found.
    pub waits_for: Option<NodeId>,
    /// The name of the join that it asked for: a document that contains it makes this node a member,
    /// also after a crash in between. None once it has joined.
    pub joining: Option<ChangeId>,
    /// What it remembers of other members' disks, by ordinal.
    pub remembered: Vec<(Ordinal, RememberedDisk)>,
}

impl ClusterState {
    /// The state of a disk that remembers nothing yet.
    #[must_use]
    pub fn new(node_id: NodeId) -> Self {
        Self {
            node_id,
            ordinal: None,
            document: None,
            stored: None,
            vote: VoteSlot::default(),
            waits_for: None,
            joining: None,
            remembered: Vec::new(),
        }
    }
}

/// The one vote slot of an acceptor: about the instance that decides the successor of its document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoteSlot {
    /// The largest ballot promised.
    pub promised: Ballot,
    /// The vote given in the largest ballot voted in.
    pub accepted: Option<Accepted>,
}

/// What a member remembers of another one's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RememberedDisk {
    /// The latest start seen.
    pub start: u64,
    /// That start's random number.
    pub run: u64,
    /// The largest ceiling told.
    pub ceiling: Hlc,
}
