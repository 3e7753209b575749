//! The answers to the admin messages of the peer port. They are rare, so serde reads and writes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster_status::ClusterStatus;
use crate::envelope::append_message;
use crate::hello::append_serialized;
use crate::operation_status::{OperationReply, OperationStatus};
use crate::plan::PlanReply;
use crate::repair_status::{
    AntiEntropyStatus, DamageStatus, LossReply, MarksStatus, PartitionsReply, ScrubStatus,
};

/// What a node answers to an admin message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AdminReply {
    /// To [`AdminRequest::NodeStatus`](crate::AdminRequest::NodeStatus).
    NodeStatus(Box<NodeStatus>),
    /// To [`AdminRequest::Healthz`](crate::AdminRequest::Healthz).
    Healthz {
        /// The node's id.
        source: String,
    },
    /// To [`AdminRequest::Reload`](crate::AdminRequest::Reload).
    Reloaded {
        /// When the new server certificate ends, RFC 3339.
        certificate_ends: String,
    },
    /// To [`AdminRequest::ClusterStatus`](crate::AdminRequest::ClusterStatus).
    ClusterStatus(Box<ClusterStatus>),
    /// To a request that changes something.
    Operation(OperationReply),
    /// To such a request that was only to be planned.
    Plan(Box<PlanReply>),
    /// To [`AdminRequest::OperationStatus`](crate::AdminRequest::OperationStatus).
    OperationStatus(Box<OperationStatus>),
    /// To [`AdminRequest::Partitions`](crate::AdminRequest::Partitions).
    Partitions(PartitionsReply),
    /// To [`AdminRequest::AcceptLoss`](crate::AdminRequest::AcceptLoss).
    Loss(LossReply),
}

impl AdminReply {
    /// Appends this answer as a frame. A `healthz` is answered under its own name, as ever.
    pub fn encode(&self, id: Option<u64>, out: &mut Vec<u8>) {
        let kind = if matches!(self, Self::Healthz { .. }) { "healthz" } else { "ok" };
        append_message(out, id, kind, |out| append_serialized(out, self));
    }
}

/// What a node is and how it fares. A field that an older node does not send reads as empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Its name.
    pub node_id: String,
    /// Its number in the cluster.
    pub ordinal: u32,
    /// The cluster, 32 hexadecimal digits.
    pub cluster_id: String,
    /// `ready`, or `draining` while it stops.
    pub phase: String,
    /// The layout's fence.
    pub fence: u64,
    /// Its share of the data: XS to XXL.
    pub size: String,
    /// Its zone; empty where none is configured.
    pub zone: String,
    /// Where clients connect.
    pub api_listener: ListenerStatus,
    /// Where peers and administrators connect.
    pub peer_listener: ListenerStatus,
    /// The program's version.
    pub program: String,
    /// The protocol's version.
    pub protocol: u32,
    /// Seconds since it began to serve.
    pub uptime_seconds: u64,
    /// How well the data is replicated: `under-replicated 1 of 3`.
    pub replication: String,
    /// Partitions that it stores.
    pub partitions: u32,
    /// The arcs of the ring that it stores, as first and last hash, both included.
    pub ring: Vec<(String, String)>,
    /// `disk` or `memory`.
    pub storage_engine: String,
    /// Shards of its store.
    pub storage_shards: u16,
    /// Whether it takes writes: `accepted`, or `refused: ` and why.
    pub writes: String,
    /// Hints waiting, by target node.
    pub hints: BTreeMap<String, u64>,
    /// The other members.
    pub peers: Vec<PeerStatus>,
    /// What is kept for each target node.
    pub handoff: Vec<HandoffStatus>,
    /// How far it has come into its cluster: `founding`, `waiting`, `joining`, `starting`, `serving`,
    /// `old_disk`, `leaving` or `not_member`.
    pub cluster_phase: String,
    /// How far its copies agree with the others'.
    pub anti_entropy: AntiEntropyStatus,
    /// What of its copies is damaged.
    pub damage: DamageStatus,
    /// How far its marks are.
    pub marks: MarksStatus,
    /// How far it has read through its copies.
    pub scrub: ScrubStatus,
}

/// What a node keeps for another one that could not be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandoffStatus {
    /// The target's name.
    pub node_id: String,
    /// Hints kept.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Partitions with writes that the target may lack and no hint tells. Anti-entropy clears them.
    pub dirty: u64,
}

/// A port that a node listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// `host:port`.
    pub address: String,
    /// Connections open now.
    pub connections: u64,
}

/// Another member, as a node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerStatus {
    /// Its name.
    pub node_id: String,
    /// `alive` or `dead`, as the failure detector believes.
    pub state: String,
    /// Whether requests can be sent to it.
    pub linked: bool,
    /// How far its clock is ahead of this node's, in milliseconds; none where it was not measured.
    pub clock_offset_ms: Option<i64>,
}

impl NodeStatus {
    /// Reads the answer's data.
    ///
    /// # Errors
    /// A field is missing or of a wrong type.
    pub fn decode(data: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(data)
    }
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
