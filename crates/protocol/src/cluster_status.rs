//! The answer to `status/cluster`: the cluster as one of its nodes sees it.

use paravon_model::Report;
use serde::{Deserialize, Serialize};

use crate::operation_status::OperationSummary;

/// The cluster as one node sees it. A field that an older node does not send reads as empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterStatus {
    /// The cluster, 32 hexadecimal digits; empty where the node belongs to none yet.
    pub cluster_id: String,
    /// Whether a change of the layout is under way: `stable` or `joint`; empty without a document.
    pub phase: String,
    /// The document's version.
    pub version: u64,
    /// The layout's fence.
    pub fence: u64,
    /// Copies that the operator asked for.
    pub replication_factor: u8,
    /// The number of partitions as a power of two.
    pub shift: u8,
    /// The names of those who decide the next document.
    pub council: Vec<String>,
    /// What is missing of the safety that was asked for; none where nothing is.
    pub under_replicated: Option<String>,
    /// The members, by ordinal.
    pub members: Vec<MemberStatus>,
    /// Nodes that wait to join, as far as this node sees them.
    pub waiting: Vec<String>,
    /// What was asked for, oldest first: all that has not ended, and what ended last.
    pub operations: Vec<OperationSummary>,
}

/// A member, as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberStatus {
    /// Its name.
    pub node_id: String,
    /// Its number.
    pub ordinal: u32,
    /// Its share of the data: XS to XXL.
    pub size: String,
    /// Its zone; empty where it has none.
    pub zone: String,
    /// Where its peer port is reached.
    pub address: String,
    /// `self`, or `alive` or `dead` as the failure detector believes.
    pub state: String,
    /// Whether requests can be sent to it.
    pub linked: bool,
    /// Partitions that it stores.
    pub partitions: u32,
    /// Its part of all copies of partitions, from 0 to 1.
    pub share: f64,
    /// How far its clock is ahead of this node's, in milliseconds; none where it was not measured.
    pub clock_offset_ms: Option<i64>,
    /// Whether it comes with the change under way.
    pub joining: bool,
    /// Whether it goes with the change under way.
    pub leaving: bool,
    /// How far it is, as it said last; none where it has said nothing.
    pub report: Option<ReportStatus>,
}

/// What a member said of how far it is with the layout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportStatus {
    /// The fence that it has stored.
    pub stored: u64,
    /// Partitions that it takes over under that fence.
    pub partitions: u64,
    /// Those that it is complete for.
    pub complete: u64,
    /// Hints that it keeps for others.
    pub hints: u64,
}

impl From<&Report> for ReportStatus {
    fn from(report: &Report) -> Self {
        Self {
            stored: report.stored.number,
            partitions: report.progress.partitions,
            complete: report.progress.complete,
            hints: report.hints,
        }
    }
}

impl ClusterStatus {
    /// Reads the answer's data.
    ///
    /// # Errors
    /// A field is of a wrong type.
    pub fn decode(data: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(data)
    }

    /// What so many members leave to be wished for: copies, or the survival of one failure.
    #[must_use]
    pub fn shortage(members: usize, replication_factor: u8) -> Option<String> {
        let wanted = usize::from(replication_factor);
        let copies =
            (members < wanted).then(|| format!("under-replicated: {members} of {wanted} copies"));
        let survival = (members == 2 && wanted >= 2).then_some("survives no failure");
        match (copies, survival) {
            (Some(copies), Some(survival)) => Some(format!("{copies}; {survival}")),
            (copies, survival) => copies.or(survival.map(str::to_owned)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_says_what_it_lacks() {
        let say = |members, factor| ClusterStatus::shortage(members, factor);
        assert_eq!(say(1, 3).as_deref(), Some("under-replicated: 1 of 3 copies"));
        let two = "under-replicated: 2 of 3 copies; survives no failure";
        assert_eq!(say(2, 3).as_deref(), Some(two));
        assert_eq!(say(2, 2).as_deref(), Some("survives no failure"));
        assert_eq!((say(1, 1), say(3, 3), say(9, 3)), (None, None, None));
    }

    #[test]
    fn what_an_older_node_does_not_send_reads_as_empty() {
        assert_eq!(ClusterStatus::decode(b"\x80").unwrap(), ClusterStatus::default());
        let member = MemberStatus { ordinal: 7, ..MemberStatus::default() };
        let one = b"\x82\xa7members\x91\x81\xa7ordinal\x07\xa5later\x90";
        assert_eq!(ClusterStatus::decode(one).unwrap().members, [member]);
    }
}
