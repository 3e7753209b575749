//! What goes into the cluster machine and what comes out of it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::{
    Address, ClusterId, ClusterMessage, ClusterState, Document, Fence, Hlc, JoinRefusal, NodeId,
    Ordinal, PeerHello,
};

use crate::clock::Permit;

/// The caller's name for an administrator's request; the machine only gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdminToken(pub u64);

/// What the cluster machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterEvent {
    /// A connection over which messages can be told to this node is up, and each end took the
    /// other's hello: [`Cluster::admit`](super::Cluster::admit) here, its like there.
    Linked {
        /// What the other end says of itself.
        hello: PeerHello,
    },
    /// There is no such connection any more.
    Unlinked {
        /// To whom.
        peer: NodeId,
    },
    /// A node refused this node's hello.
    Refused {
        /// Who, proved by its certificate.
        by: NodeId,
        /// Why.
        refusal: RefusedAs,
    },
    /// A node says something, over a connection whose hello was admitted.
    Told {
        /// Who, proved by its certificate.
        from: NodeId,
        /// What.
        message: ClusterMessage,
    },
    /// The disk holds the state of this number, and with it all earlier ones.
    Persisted {
        /// Of the [`ClusterEffect::Persist`].
        number: u64,
    },
    /// In every shard, each store that was admitted under an earlier layout has ended.
    Settled {
        /// The layout in use since.
        fence: Fence,
    },
    /// The disk holds this ceiling of stamps.
    CeilingRaised {
        /// The ceiling.
        ceiling: Hlc,
    },
    /// A store of this node holds a record. Told once or more often.
    HoldsRecords,
    /// An administrator wants this waiting node to join the cluster of its seeds.
    Join {
        /// Whom to answer.
        token: AdminToken,
        /// Whether to plan only.
        dry_run: bool,
    },
    /// A replica told a shard of a later document.
    Learned {
        /// The document.
        document: Arc<Document>,
    },
    /// A member knows an earlier layout only: tell it.
    Teach {
        /// Which member.
        peer: Ordinal,
    },
    /// This node knows an earlier layout only: ask that member.
    Ask {
        /// Which member.
        peer: Ordinal,
    },
    /// Time has passed.
    Tick,
}

/// Why another node refused this node's hello, as far as that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedAs {
    /// Its disk is an old copy (`DISK_NOT_OLDER`).
    OldDisk,
    /// For any other reason: this pair does not talk, and both logs say why.
    Other,
}

/// What the cluster machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterEffect {
    /// Keep connections to these addresses, all of them and no others, dialling again where one ends.
    Dial {
        /// Seeds, and the addresses of members.
        addresses: Vec<Address>,
    },
    /// Say something to a node, over the connection to it; lost where there is none.
    Tell {
        /// Whom.
        to: NodeId,
        /// What.
        message: ClusterMessage,
    },
    /// Make this state durable in place of the present one; answered by
    /// [`ClusterEvent::Persisted`]. States are written in order, and a later one may stand for all.
    Persist {
        /// Rises by one.
        number: u64,
        /// The state.
        state: ClusterState,
    },
    /// The document is durable: give every shard its layout, and serve clients from then on.
    Layout {
        /// The document.
        document: Arc<Document>,
    },
    /// Tell every shard that this member is believed to be up.
    Alive {
        /// Which.
        peer: Ordinal,
    },
    /// Tell every shard that this member is believed to be down.
    Dead {
        /// Which.
        peer: Ordinal,
    },
    /// Tell every shard whether it may stamp.
    Clock {
        /// The state of this node's wall clock.
        permit: Permit,
    },
    /// Answer an administrator.
    Admin {
        /// Which request.
        token: AdminToken,
        /// What to say.
        answer: Result<JoinDone, JoinFailure>,
    },
    /// Something that the operator should know.
    Notice(Notice),
}

/// What became of an administrator's join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinDone {
    /// The node is a member now.
    Joined {
        /// Its number.
        ordinal: Ordinal,
    },
    /// It would become one of this cluster.
    Planned {
        /// Which cluster.
        cluster_id: ClusterId,
        /// Members after the join.
        members: usize,
    },
}

/// Why a node did not join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinFailure {
    /// It is a member already.
    AlreadyMember,
    /// No seed that is reached belongs to a cluster.
    NoCluster,
    /// It was shut out of its cluster; status and log say why.
    ShutOut,
    /// Its own stores hold records, which the cluster may have deleted (`NO_RESURRECTION`).
    HoldsRecords,
    /// A member said no.
    Refused(JoinRefusal),
    /// It was not done in time; it may still be.
    TimedOut,
}

/// What the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Founding waits for these seeds to answer.
    SeedsSilent {
        /// Addresses of the silent ones.
        silent: Vec<Address>,
    },
    /// This node has founded a cluster.
    Founded {
        /// Which.
        cluster_id: ClusterId,
    },
    /// This node waits for an administrator's `join`.
    WaitsToJoin,
    /// This node does not join: its own stores hold records.
    HoldsRecords,
    /// This node has become a member.
    Joined {
        /// Its number.
        ordinal: Ordinal,
    },
    /// Members say that this node's disk is an old copy, or that another process has its number: it
    /// serves nothing.
    OldDisk,
    /// The latest document does not name this node any more: it serves nothing.
    NotMember,
    /// The node's clock is too far from the others'.
    ClockHeld {
        /// By so many milliseconds.
        offset_ms: u64,
    },
    /// The node's clock agrees with the others' again.
    ClockAgrees,
}
