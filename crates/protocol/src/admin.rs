//! The admin messages of the peer port. They are rare, so serde reads and writes them.

use std::collections::BTreeMap;
use std::mem::discriminant;

use serde::{Deserialize, Serialize};

use crate::cluster_status::ClusterStatus;
use crate::code::{Code, Refusal};
use crate::envelope::{Envelope, append_message};
use crate::hello::append_serialized;

/// What an administrator or a tool asks of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// What the node is and how it fares; answered with [`NodeStatus`].
    NodeStatus,
    /// Whether it serves; answered with the node's id.
    Healthz,
    /// Read certificates, key and CA anew; answered with the end of the new certificate. Changes
    /// something, so an administrator must ask.
    Reload,
    /// The cluster as the node sees it; answered with [`ClusterStatus`].
    ClusterStatus,
    /// Join the cluster of your seeds; answered with [`JoinReply`]. Changes something, so an
    /// administrator must ask.
    Join {
        /// Whether only to say what would come of it.
        dry_run: bool,
    },
}

/// The data of a `join`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct JoinData {
    dry_run: bool,
}

impl AdminRequest {
    /// Every request under its name; of a `join` the one that is meant where nothing else is said.
    const NAMES: [(Self, &'static str); 5] = [
        (Self::NodeStatus, "status/node"),
        (Self::Healthz, "healthz"),
        (Self::Reload, "reload"),
        (Self::ClusterStatus, "status/cluster"),
        (Self::Join { dry_run: false }, "join"),
    ];

    /// Reads an admin message. Only the data of a `join` is looked into.
    ///
    /// # Errors
    /// The refusal to send back.
    pub fn decode(envelope: &Envelope<'_>) -> Result<Self, Refusal> {
        match Self::NAMES.iter().find(|(_, name)| *name == envelope.kind) {
            Some((Self::Join { .. }, _)) => match rmp_serde::from_slice(envelope.data) {
                Ok(JoinData { dry_run }) => Ok(Self::Join { dry_run }),
                Err(_) => {
                    let message = "`dry_run` must be true or false".to_owned();
                    Err(Refusal::new(Code::BadRequest, message))
                }
            },
            Some((request, _)) => Ok(*request),
            None => {
                let message = format!(
                    "there is no message '{}' on the peer port; there are hello, {}",
                    envelope.kind.escape_debug(),
                    Self::NAMES.map(|(_, name)| name).join(", ")
                );
                Err(Refusal::new(Code::UnknownType, message))
            }
        }
    }

    /// Appends this request as a frame.
    pub fn encode(self, id: Option<u64>, out: &mut Vec<u8>) {
        append_message(out, id, self.kind(), |out| match self {
            Self::Join { dry_run } => append_serialized(out, &JoinData { dry_run }),
            _ => append_serialized(out, &BTreeMap::<&str, ()>::new()),
        });
    }

    fn kind(self) -> &'static str {
        let is_this = |request: &Self| discriminant(request) == discriminant(&self);
        let found = Self::NAMES.iter().find(|(request, _)| is_this(request));
        found.map(|(_, name)| *name).expect("every request has a name")
    }

    /// Whether only an administrator may ask this. A join that is only planned changes nothing, but
    /// asks other nodes, so it counts.
    #[must_use]
    pub fn needs_administrator(self) -> bool {
        matches!(self, Self::Reload | Self::Join { .. })
    }
}

/// What a node answers to an admin message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AdminReply {
    /// To [`AdminRequest::NodeStatus`].
    NodeStatus(Box<NodeStatus>),
    /// To [`AdminRequest::Healthz`].
    Healthz {
        /// The node's id.
        source: String,
    },
    /// To [`AdminRequest::Reload`].
    Reloaded {
        /// When the new server certificate ends, RFC 3339.
        certificate_ends: String,
    },
    /// To [`AdminRequest::ClusterStatus`].
    ClusterStatus(Box<ClusterStatus>),
    /// To [`AdminRequest::Join`].
    Join(JoinReply),
}

/// What became of a join, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JoinReply {
    /// The cluster, 32 hexadecimal digits.
    pub cluster_id: String,
    /// The node's number there; none where it was only planned.
    pub ordinal: Option<u32>,
    /// Members after the join.
    pub members: u64,
    /// Whether nothing was done but planning.
    pub planned: bool,
}

impl JoinReply {
    /// Reads the answer's data.
    ///
    /// # Errors
    /// A field is of a wrong type.
    pub fn decode(data: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(data)
    }
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
    /// `old_disk` or `not_member`.
    pub cluster_phase: String,
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
    /// Partitions with writes that the target may lack and no hint tells. Anti-entropy is to clear them.
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
mod tests {
    use super::*;
    use crate::frame::HEADER_BYTES;

    #[test]
    fn every_request_comes_back() {
        let joins = [false, true].map(|dry_run| AdminRequest::Join { dry_run });
        let plain = [
            AdminRequest::NodeStatus,
            AdminRequest::Healthz,
            AdminRequest::Reload,
            AdminRequest::ClusterStatus,
        ];
        for request in plain.into_iter().chain(joins) {
            let mut frame = Vec::new();
            request.encode(Some(1), &mut frame);
            let envelope = Envelope::decode(&frame[HEADER_BYTES..]).unwrap();
            assert_eq!(AdminRequest::decode(&envelope), Ok(request));
        }
    }

    #[test]
    fn what_is_unknown_is_told_every_name() {
        let unknown = Envelope { kind: "leave", data: b"\x80", id: None };
        let refusal = AdminRequest::decode(&unknown).unwrap_err();
        assert_eq!(refusal.code, Code::UnknownType);
        let names = "hello, status/node, healthz, reload, status/cluster, join";
        assert!(refusal.message.ends_with(names), "{}", refusal.message);
    }

    #[test]
    fn a_join_is_meant_unless_it_says_otherwise() {
        let decode = |data| AdminRequest::decode(&Envelope { kind: "join", data, id: None });
        assert_eq!(decode(b"\x80"), Ok(AdminRequest::Join { dry_run: false }));
        assert_eq!(decode(b"\x81\xa7dry_run\xc3"), Ok(AdminRequest::Join { dry_run: true }));
        assert_eq!(decode(b"\x81\xa7dry_run\x01").unwrap_err().code, Code::BadRequest);
    }

    #[test]
    fn the_status_of_an_older_node_is_read() {
        let peer = PeerStatus { node_id: "n".to_owned(), ..PeerStatus::default() };
        let older = b"\x82\xa5hints\x80\xa5peers\x91\x81\xa7node_id\xa1n";
        let status = NodeStatus::decode(older).unwrap();
        assert_eq!(status, NodeStatus { peers: vec![peer], ..NodeStatus::default() });
    }
}
