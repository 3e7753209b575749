//! What an administrator can do to the members of a cluster.

use paravon_model::NodeId;
use paravon_protocol::AdminRequest;

/// A change of the members, or of how many copies they keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// The node that is asked comes into the cluster of its seeds.
    Join,
    /// The node that is asked comes in, in place of a member that is dead or has lost its disk.
    Replace {
        /// The member's name; it may be the node's own.
        node: NodeId,
    },
    /// A member hands over what it stores, and leaves.
    Drain {
        /// Its name.
        node: NodeId,
    },
    /// The others do without a member that is dead.
    Remove {
        /// Its name.
        node: NodeId,
    },
    /// So many copies of each key are kept from now on, 1 to 7.
    SetReplication {
        /// So many.
        factor: u8,
    },
}

impl MemberChange {
    pub(crate) fn request(&self, dry_run: bool) -> AdminRequest {
        match self.clone() {
            Self::Join => AdminRequest::Join { dry_run },
            Self::Replace { node } => AdminRequest::Replace { node, dry_run },
            Self::Drain { node } => AdminRequest::Drain { node: Some(node), dry_run },
            Self::Remove { node } => AdminRequest::Remove { node, dry_run },
            Self::SetReplication { factor } => AdminRequest::SetReplication { factor, dry_run },
        }
    }
}
