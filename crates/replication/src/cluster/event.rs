//! What goes into the cluster machine and what comes out of it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::{
    Address, ChangeId, ClusterId, ClusterMessage, ClusterState, Document, Fence, Hlc, Membership,
    NodeId, OperationRefusal, Ordinal, PeerHello, Progress,
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
    /// In every shard, each store and deletion that was admitted under an earlier layout has ended, and
    /// what the node is new to is empty, durably.
    Settled {
        /// The layout in use since.
        fence: Fence,
        /// What is to be taken over under it, in all shards.
        progress: Progress,
    },
    /// More was taken over.
    Progressed {
        /// Under which layout.
        fence: Fence,
        /// How much altogether, in all shards.
        progress: Progress,
    },
    /// How many hints this node's stores keep for members. Told about once a second while the document
    /// is `joint`.
    HintsKept {
        /// So many.
        hints: u64,
    },
    /// The disk holds this ceiling of stamps.
    CeilingRaised {
        /// The ceiling.
        ceiling: Hlc,
    },
    /// An administrator wants the members changed.
    Operate {
        /// Whom to answer.
        token: AdminToken,
        /// What is to be done.
        request: OperatorRequest,
        /// Whether to do it.
        mode: OperateMode,
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

/// What an administrator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorRequest {
    /// Take this node into the cluster of its seeds. Asked of the node that comes.
    Join,
    /// Take this node in, in place of a member that is dead or has lost its disk. Asked of the node that
    /// comes; it may bear the member's name.
    Replace {
        /// The member.
        node: NodeId,
    },
    /// Let a member go, once others have what it stores. Asked of any member, as are the rest.
    Drain {
        /// The member.
        node: NodeId,
    },
    /// Do without a member that is dead.
    Remove {
        /// The member.
        node: NodeId,
    },
    /// Keep so many copies.
    SetReplication {
        /// 1 to 7.
        factor: u8,
    },
    /// Give up the change under way; where there is none, the operations that wait.
    Cancel,
}

/// Whether to do what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperateMode {
    /// Only say what it would lead to.
    Plan,
    /// Do it.
    Do,
}

/// Why another node refused this node's hello, as far as that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedAs {
    /// Its disk is an old copy (`DISK_NOT_OLDER`).
    OldDisk,
    /// The number that it claimed is gone, and a later one bears its name.
    Removed {
        /// By the hello that was refused, which may not be what the node would say by now.
        claimed: Membership,
    },
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
        /// The fence that this node *has stored*: what later changes made it new to is to be emptied.
        stored: Option<Fence>,
    },
    /// This node *has stored* the document of this fence, and its disk says so: every shard may admit
    /// requests under it (`EPOCH_FENCE`).
    Admit {
        /// The fence.
        fence: Fence,
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
        answer: Result<OperateDone, OperateFailure>,
    },
    /// Close all connections with nodes, those that were dialled and those that came in: this node goes
    /// on after a rescue, and whom it had admitted before that says hello again.
    GreetAgain,
    /// Something that the operator should know.
    Notice(Notice),
}

/// What became of an administrator's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperateDone {
    /// The document names the operation: it goes on by itself.
    Accepted {
        /// Names it.
        id: ChangeId,
    },
    /// The node is a member now.
    Joined {
        /// Its number.
        ordinal: Ordinal,
    },
    /// This is the `joint` document that would begin.
    Planned {
        /// The document.
        document: Arc<Document>,
    },
    /// The change under way, or what waited, was given up.
    Cancelled,
}

/// Why an administrator's request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperateFailure {
    /// The node is a member already.
    AlreadyMember,
    /// This node is no member that serves: ask one.
    NotMember,
    /// No seed that is reached belongs to a cluster.
    NoCluster,
    /// The node is on its way out of its cluster; status and log say why.
    ShutOut,
    /// No change is under way and no operation waits, or it has ended meanwhile.
    NothingToCancel,
    /// A member said no.
    Refused(OperationRefusal),
    /// It was not done in time, or was given up meanwhile. What was not given up may still be.
    TimedOut,
    /// There is no member of that name.
    NoSuchNode,
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
    /// This node waits for an administrator's `join` or `replace`.
    WaitsToJoin,
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
    /// A majority of those who decide by now knows that this node has left: nobody needs it any more.
    Left,
    /// The node's clock is too far from the others'.
    ClockHeld {
        /// By so many milliseconds.
        offset_ms: u64,
    },
    /// The node's clock agrees with the others' again.
    ClockAgrees,
}
