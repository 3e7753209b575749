//! The admin messages of the peer port. They are rare, so serde reads and writes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
}

impl AdminRequest {
    const KINDS: [(&'static str, Self); 3] =
        [("status/node", Self::NodeStatus), ("healthz", Self::Healthz), ("reload", Self::Reload)];

    /// Reads an admin message. None of these has fields yet, so its data is not looked into.
    ///
    /// # Errors
    /// The refusal to send back.
    pub fn decode(envelope: &Envelope<'_>) -> Result<Self, Refusal> {
        let known = Self::KINDS.iter().find(|(kind, _)| *kind == envelope.kind);
        known.map(|&(_, request)| request).ok_or_else(|| {
            let names: Vec<&str> = Self::KINDS.iter().map(|&(kind, _)| kind).collect();
            let message = format!(
                "there is no message '{}' on the peer port; there are hello, {}",
                envelope.kind.escape_debug(),
                names.join(", ")
            );
            Refusal::new(Code::UnknownType, message)
        })
    }

    /// Appends this request as a frame.
    pub fn encode(self, id: Option<u64>, out: &mut Vec<u8>) {
        let kind = Self::KINDS.iter().find(|(_, request)| *request == self);
        append_message(out, id, kind.map_or("", |(kind, _)| kind), |out| {
            append_serialized(out, &BTreeMap::<&str, ()>::new());
        });
    }

    /// Whether only an administrator may ask this.
    #[must_use]
    pub fn changes_something(self) -> bool {
        self == Self::Reload
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name.
    pub node_id: String,
    /// `alive`, `suspect` or `down`.
    pub state: String,
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
