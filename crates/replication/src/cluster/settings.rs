//! What a cluster machine is made with, and what it says of itself.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Address, ClusterId, Document, Hlc, NodeId, Ordinal, Report, Size};

/// What the cluster machine of a node is made with. All randomness that it uses comes from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Its name, equal to the common name of its certificate.
    pub node_id: NodeId,
    /// Where others reach its peer port. The seeds of other nodes must spell it the same way.
    pub address: Address,
    /// Its share of the data, for when it founds or joins.
    pub size: Size,
    /// Where it stands, for when it founds or joins.
    pub zone: Option<NodeId>,
    /// Whom to look for first; its own address among them does no harm.
    pub seeds: Vec<Address>,
    /// Whether to join by itself once it sees a cluster (`node.auto_join`).
    pub auto_join: bool,
    /// Whether to found although seeds are silent (`--found`): the operator says that there is no
    /// cluster.
    pub found_anyway: bool,
    /// The number of partitions as a power of two, for when it founds.
    pub shift: u8,
    /// Copies that the operator wants, for when it founds.
    pub replication_factor: u8,
    /// The identity of the cluster, for when it founds: drawn at random.
    pub new_cluster_id: ClusterId,
    /// The seed of its hash, for when it founds: drawn at random.
    pub new_hash_seed: u64,
    /// How far a wall clock may be off (`clock.max_skew`).
    pub max_skew: Duration,
    /// How often its disk was opened.
    pub start: u64,
    /// Drawn at random at this start.
    pub run: u64,
    /// The ceiling of stamps that its disk holds.
    pub ceiling: Hlc,
    /// Drawn at random at this start: from it come back-offs, choices and the names of changes.
    pub seed: u128,
    /// How long nodes that a change brings, and hints that a node which leaves keeps, are waited for
    /// (`membership.join_timeout`).
    pub join_timeout: Duration,
}

/// Where a node stands on its way into a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterPhase {
    /// It has no document and asks its seeds whether it may found a cluster.
    Founding,
    /// It has no document and waits for a join.
    Waiting,
    /// It has no document and has asked to be taken in, or its operation waits for its turn.
    Joining,
    /// It is a member, and waits until a majority of the members has taken its hello.
    Starting,
    /// It is a member and serves.
    Serving,
    /// Members say that its disk is an old copy; it serves nothing.
    OldDisk,
    /// The latest document does not name it any more; it serves nothing, but stays until those who
    /// decide know of it.
    Leaving,
    /// It has left; it serves nothing.
    NotMember,
}

impl ClusterPhase {
    /// Its name in status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Founding => "founding",
            Self::Waiting => "waiting",
            Self::Joining => "joining",
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::OldDisk => "old_disk",
            Self::Leaving => "leaving",
            Self::NotMember => "not_member",
        }
    }
}

/// What a node knows of its cluster, for its operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Where it stands.
    pub phase: ClusterPhase,
    /// Its number; none before it has joined.
    pub ordinal: Option<Ordinal>,
    /// The latest document that it knows.
    pub document: Option<Arc<Document>>,
    /// All members, itself included, by ordinal.
    pub members: Vec<MemberStatus>,
    /// Linked nodes that are no members.
    pub waiting: Vec<(NodeId, Address)>,
    /// The latest report known of each member, its own included, by ordinal. Members of the council
    /// know all.
    pub reports: Vec<(Ordinal, Report)>,
}

/// What a node knows of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its number.
    pub ordinal: Ordinal,
    /// Its name.
    pub node_id: NodeId,
    /// Whether there is a connection to it. The node itself counts as linked.
    pub link: LinkStatus,
    /// What the failure detector believes.
    pub liveness: Liveness,
    /// Its wall clock less this node's, in milliseconds; none where it is not measured.
    pub offset_ms: Option<i64>,
}

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkStatus {
    /// Messages reach it.
    Linked,
    /// They do not.
    Unlinked,
}

/// What the failure detector believes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It answers somebody, or was not looked for long enough.
    Alive,
    /// It answers nobody.
    Dead,
}
