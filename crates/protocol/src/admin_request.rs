//! The admin messages of the peer port, as they are asked: both directions side by side.
//!
//! **Never:** takes a request that names no member, no number or no operation where it must: what is
//! missing is not guessed.

use paravon_model::{ChangeId, Key, NodeId};

use crate::admin_fields::Fields;
use crate::code::{Code, Refusal};
use crate::envelope::{Envelope, append_message};
use crate::maps::write_number;
use crate::writer;

/// Most partitions in one answer of a list.
pub const MAX_LISTED_PARTITIONS: u16 = 1024;

/// What an operator gives up for lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// What a damaged key held.
    Key(Key),
    /// What a partition held, as far as it is damaged.
    Partition(u32),
}

/// What an administrator or a tool asks of one node. Those with a `dry_run` are answered with a
/// [`PlanReply`](crate::PlanReply) where it is set, and with an
/// [`OperationReply`](crate::OperationReply) where it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// What the node is and how it fares; answered with [`NodeStatus`](crate::NodeStatus).
    NodeStatus,
    /// Whether it serves; answered with the node's id.
    Healthz,
    /// Read certificates, key and CA anew; answered with the end of the new certificate.
    Reload,
    /// The cluster as the node sees it; answered with [`ClusterStatus`](crate::ClusterStatus).
    ClusterStatus,
    /// How far an operation is; answered with [`OperationStatus`](crate::OperationStatus).
    OperationStatus {
        /// Which.
        id: ChangeId,
    },
    /// Join the cluster of your seeds.
    Join {
        /// Whether only to say what would come of it.
        dry_run: bool,
    },
    /// Join the cluster of your seeds in place of this member.
    Replace {
        /// The member that is dead or has lost its disk; perhaps of the same name.
        node: NodeId,
        /// Whether only to say what would come of it.
        dry_run: bool,
    },
    /// Let this member go once others have what it stores.
    Drain {
        /// Which; none for the node that is asked.
        node: Option<NodeId>,
        /// Whether only to say what would come of it.
        dry_run: bool,
    },
    /// Do without this member, which is dead.
    Remove {
        /// Which.
        node: NodeId,
        /// Whether only to say what would come of it.
        dry_run: bool,
    },
    /// Keep so many copies from now on.
    SetReplication {
        /// So many, 1 to 7.
        factor: u8,
        /// Whether only to say what would come of it.
        dry_run: bool,
    },
    /// Give up the change under way; answered with an [`OperationReply`](crate::OperationReply).
    Cancel,
    /// How the partitions fare that the node stores; answered with
    /// [`PartitionsReply`](crate::PartitionsReply).
    Partitions {
        /// Only those behind this one.
        after: Option<u32>,
        /// At most so many, up to [`MAX_LISTED_PARTITIONS`].
        limit: u16,
    },
    /// Take the best that is left of what is damaged at the node that is asked, although a newer write may
    /// be lost; answered with [`LossReply`](crate::LossReply).
    AcceptLoss(Loss),
}

/// Every message, as an unknown one is told them.
const KINDS: [&str; 13] = [
    NODE_STATUS,
    HEALTHZ,
    RELOAD,
    CLUSTER_STATUS,
    OPERATION_STATUS,
    JOIN,
    REPLACE,
    DRAIN,
    REMOVE,
    SET_REPLICATION,
    CANCEL,
    PARTITIONS,
    ACCEPT_LOSS,
];

const NODE_STATUS: &str = "status/node";
const HEALTHZ: &str = "healthz";
const RELOAD: &str = "reload";
const CLUSTER_STATUS: &str = "status/cluster";
const OPERATION_STATUS: &str = "status/operation";
const JOIN: &str = "join";
const REPLACE: &str = "replace";
const DRAIN: &str = "drain";
const REMOVE: &str = "remove";
const SET_REPLICATION: &str = "set_replication";
const CANCEL: &str = "cancel";
const PARTITIONS: &str = "status/partitions";
const ACCEPT_LOSS: &str = "accept_loss";

impl AdminRequest {
    /// Reads an admin message. The data of one that has no fields is not looked into.
    ///
    /// # Errors
    /// The refusal to send back.
    pub fn decode(envelope: &Envelope<'_>) -> Result<Self, Refusal> {
        let fields = || Fields::read(envelope.data);
        Ok(match envelope.kind {
            NODE_STATUS => Self::NodeStatus,
            HEALTHZ => Self::Healthz,
            RELOAD => Self::Reload,
            CLUSTER_STATUS => Self::ClusterStatus,
            OPERATION_STATUS => Self::OperationStatus { id: fields()?.id()? },
            JOIN => Self::Join { dry_run: fields()?.dry_run() },
            REPLACE => {
                let fields = fields()?;
                let dry_run = fields.dry_run();
                Self::Replace { node: fields.some_node()?, dry_run }
            }
            DRAIN => {
                let fields = fields()?;
                let dry_run = fields.dry_run();
                Self::Drain { node: fields.node(), dry_run }
            }
            REMOVE => {
                let fields = fields()?;
                let dry_run = fields.dry_run();
                Self::Remove { node: fields.some_node()?, dry_run }
            }
            SET_REPLICATION => {
                let fields = fields()?;
                Self::SetReplication { factor: fields.factor()?, dry_run: fields.dry_run() }
            }
            PARTITIONS => {
                let fields = fields()?;
                Self::Partitions { after: fields.after(), limit: fields.limit() }
            }
            ACCEPT_LOSS => Self::AcceptLoss(fields()?.loss()?),
            CANCEL => Self::Cancel,
            unknown => {
                let message = format!(
                    "there is no message '{}' on the peer port; there are hello, {}",
                    unknown.escape_debug(),
                    KINDS.join(", ")
                );
                return Err(Refusal::new(Code::UnknownType, message));
            }
        })
    }

    /// Appends this request as a frame.
    pub fn encode(&self, id: Option<u64>, out: &mut Vec<u8>) {
        append_message(out, id, self.kind(), |out| self.write_fields(out));
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::NodeStatus => NODE_STATUS,
            Self::Healthz => HEALTHZ,
            Self::Reload => RELOAD,
            Self::ClusterStatus => CLUSTER_STATUS,
            Self::OperationStatus { .. } => OPERATION_STATUS,
            Self::Join { .. } => JOIN,
            Self::Replace { .. } => REPLACE,
            Self::Drain { .. } => DRAIN,
            Self::Remove { .. } => REMOVE,
            Self::SetReplication { .. } => SET_REPLICATION,
            Self::Cancel => CANCEL,
            Self::Partitions { .. } => PARTITIONS,
            Self::AcceptLoss(_) => ACCEPT_LOSS,
        }
    }

    fn write_fields(&self, out: &mut Vec<u8>) {
        match self {
            Self::NodeStatus
            | Self::Healthz
            | Self::Reload
            | Self::ClusterStatus
            | Self::Cancel => writer::map(out, 0),
            Self::OperationStatus { id } => {
                writer::map(out, 1);
                writer::text(out, "id");
                writer::text(out, &id.to_string());
            }
            Self::Join { dry_run } | Self::Drain { node: None, dry_run } => {
                writer::map(out, 1);
                write_dry_run(out, *dry_run);
            }
            Self::Replace { node, dry_run }
            | Self::Drain { node: Some(node), dry_run }
            | Self::Remove { node, dry_run } => {
                writer::map(out, 2);
                writer::text(out, "node");
                writer::text(out, node.as_str());
                write_dry_run(out, *dry_run);
            }
            Self::SetReplication { factor, dry_run } => {
                writer::map(out, 2);
                write_number(out, "factor", u64::from(*factor));
                write_dry_run(out, *dry_run);
            }
            Self::Partitions { after, limit } => {
                writer::map(out, if after.is_some() { 2 } else { 1 });
                if let Some(after) = after {
                    write_number(out, "after", u64::from(*after));
                }
                write_number(out, "limit", u64::from(*limit));
            }
            Self::AcceptLoss(Loss::Partition(partition)) => {
                writer::map(out, 1);
                write_number(out, "partition", u64::from(*partition));
            }
            Self::AcceptLoss(Loss::Key(key)) => {
                writer::map(out, 2);
                writer::text(out, "namespace");
                writer::text(out, key.namespace());
                writer::text(out, "key");
                writer::binary(out, key.bytes());
            }
        }
    }

    /// Whether only an administrator may ask this. A change that is only planned changes nothing, but
    /// asks other nodes, so it counts.
    #[must_use]
    pub fn needs_administrator(&self) -> bool {
        match self {
            Self::NodeStatus
            | Self::Healthz
            | Self::ClusterStatus
            | Self::OperationStatus { .. }
            | Self::Partitions { .. } => false,
            Self::Reload
            | Self::Join { .. }
            | Self::Replace { .. }
            | Self::Drain { .. }
            | Self::Remove { .. }
            | Self::SetReplication { .. }
            | Self::Cancel
            | Self::AcceptLoss(_) => true,
        }
    }
}

fn write_dry_run(out: &mut Vec<u8>, dry_run: bool) {
    writer::text(out, "dry_run");
    writer::boolean(out, dry_run);
}

#[cfg(test)]
#[path = "admin_request_tests.rs"]
mod tests;
