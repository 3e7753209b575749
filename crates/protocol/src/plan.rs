//! The answer to a change that is only planned: what would move.

use serde::{Deserialize, Serialize};

/// What a change would do. Bytes and time are estimates from what the node that was asked stores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanReply {
    /// Members now.
    pub members_before: u64,
    /// Members afterwards.
    pub members_after: u64,
    /// Copies of every key now.
    pub copies_before: u64,
    /// Copies of every key afterwards.
    pub copies_after: u64,
    /// Partitions that are stored by others afterwards.
    pub partitions_changed: u64,
    /// Every node that gains or loses partitions, by number, those that come last.
    pub nodes: Vec<PlannedNode>,
    /// How long it would take, in seconds.
    pub seconds: u64,
}

/// What a change would do to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlannedNode {
    /// Its name.
    pub node: String,
    /// Its number; none where it is to be given one.
    pub ordinal: Option<u32>,
    /// Partitions that it would take over.
    pub partitions_gained: u64,
    /// Partitions that it would give away.
    pub partitions_lost: u64,
    /// Bytes that it would pull.
    pub bytes_in: u64,
    /// Bytes that would be pulled from it.
    pub bytes_out: u64,
}

impl PlanReply {
    /// Reads the answer's data.
    ///
    /// # Errors
    /// A field is of a wrong type.
    pub fn decode(data: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(data)
    }
}
