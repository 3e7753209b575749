//! Why a node is not spoken to (`NO_STRANGER`, `DISK_NOT_OLDER`).
//!
//! **Never:** a refusal without a word on what to do about it.

use core::fmt;

use paravon_model::{ClusterId, NodeId, Ordinal};

/// Why a hello was refused. Nothing was changed by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloRefusal {
    /// The certificate bears another name than the hello.
    Stranger {
        /// The certificate's name.
        certificate: NodeId,
        /// The hello's name.
        claimed: NodeId,
    },
    /// The other end has this node's own name: it is this node, or a second one of the same name.
    OwnName {
        /// The name.
        node_id: NodeId,
    },
    /// It belongs to another cluster.
    OtherCluster {
        /// Of the node that refuses.
        ours: ClusterId,
        /// Of the node that is refused.
        theirs: ClusterId,
    },
    /// It belongs to another generation of this cluster, or to another rescue of the same.
    OtherGeneration {
        /// Generation and rescue id of the node that refuses.
        ours: (u64, u128),
        /// Generation and rescue id of the node that is refused.
        theirs: (u64, u128),
    },
    /// The number is gone from the document for good, and a later one bears the node's name.
    Removed {
        /// Who it says it is.
        node_id: NodeId,
        /// The number that it claims.
        claimed: Ordinal,
    },
    /// The document gives the number to another node, or the node another number.
    WrongOrdinal {
        /// Who it says it is.
        node_id: NodeId,
        /// The number that it claims.
        claimed: Ordinal,
    },
    /// Its disk is an older copy than one that was seen before, or a second process runs with its
    /// number.
    OldDisk {
        /// The number.
        ordinal: Ordinal,
    },
}

impl HelloRefusal {
    /// A short name for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stranger { .. } => "stranger",
            Self::OwnName { .. } => "own_name",
            Self::OtherCluster { .. } | Self::OtherGeneration { .. } => "wrong_cluster",
            Self::Removed { .. } => "removed",
            Self::WrongOrdinal { .. } => "wrong_ordinal",
            Self::OldDisk { .. } => "old_disk",
        }
    }
}

impl fmt::Display for HelloRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger { certificate, claimed } => write!(
                f,
                "the certificate says {certificate}, the node says {claimed}: give the node a \
                 certificate whose common name is its node.id"
            ),
            Self::OwnName { node_id } => write!(
                f,
                "both ends are named {node_id}: a seed leads back to the node itself, or two nodes \
                 have the same node.id; rename one"
            ),
            Self::OtherCluster { ours, theirs } => write!(
                f,
                "this node belongs to cluster {ours}, the other to {theirs}: correct its seeds, or \
                 give it an empty data directory to join this one"
            ),
            Self::OtherGeneration { ours, theirs } => write!(
                f,
                "this node belongs to generation {} (rescue {:032x}) of the cluster, the other to {} \
                 (rescue {:032x}): the cluster was rescued without one of the two, which comes back \
                 with an empty data directory",
                ours.0, ours.1, theirs.0, theirs.1
            ),
            Self::Removed { node_id, claimed } => write!(
                f,
                "{node_id} says that it is number {claimed}, which was taken out of the cluster, and \
                 its name was given a later number since. If it was joining, it comes by that without \
                 help; else let it replace that one, or stop it where another process runs by its name"
            ),
            Self::WrongOrdinal { node_id, claimed } => write!(
                f,
                "{node_id} says that it is number {claimed}, the cluster document does not: it has \
                 another node's data directory; give it its own, or replace it"
            ),
            Self::OldDisk { ordinal } => write!(
                f,
                "the disk of number {ordinal} is older than one seen before, or two processes run \
                 with that number: stop the other process, or replace the node; it does not come \
                 back with this disk"
            ),
        }
    }
}

impl core::error::Error for HelloRefusal {}
