//! `hello`: the optional first message, by which both sides say who they are and what they take.
//! Between nodes it is required, and carries the part `node` both ways (`NO_STRANGER`).

use paravon_model::PeerHello;
use serde::{Deserialize, Serialize};

use crate::envelope::append_message;
use crate::peer::node_part;

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the protocol that it speaks.
    pub protocol: u32,
    /// What it calls itself, for the server's log.
    #[serde(default)]
    pub client_id: String,
    /// Its program and version.
    #[serde(default)]
    pub program: String,
    /// Which node it is; none for a client.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "node_part")]
    pub node: Option<PeerHello>,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version of the protocol that both speak from now on.
    pub protocol: u32,
    /// The node's name.
    pub node_id: String,
    /// The cluster's identity, 32 hexadecimal digits; empty where the node belongs to none yet.
    pub cluster_id: String,
    /// What the server takes.
    pub limits: Limits,
    /// What the server says of itself to a node; none to a client.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "node_part")]
    pub node: Option<PeerHello>,
}

/// What a server takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest key in bytes.
    pub key_bytes: u64,
    /// Longest value in bytes.
    pub value_bytes: u64,
    /// Most requests in flight on one connection.
    pub in_flight: u64,
}

impl Hello {
    /// The message's type.
    pub const KIND: &'static str = "hello";

    /// Appends this message as a frame.
    pub fn encode(&self, id: Option<u64>, out: &mut Vec<u8>) {
        append_message(out, id, Self::KIND, |out| append_serialized(out, self));
    }

    /// Reads the message's data.
    ///
    /// # Errors
    /// A field is missing or of a wrong type.
    pub fn decode(data: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(data)
    }
}

impl Welcome {
    /// Appends this answer as a frame.
    pub fn encode(&self, id: Option<u64>, out: &mut Vec<u8>) {
        append_message(out, id, "ok", |out| append_serialized(out, self));
    }

    /// Reads the answer's data.
    ///
    /// # Errors
    /// A field is missing or of a wrong type.
    pub fn decode(data: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(data)
    }
}

/// Appends `value` as a map with named fields.
pub(crate) fn append_serialized(out: &mut Vec<u8>, value: &impl Serialize) {
    let written = rmp_serde::encode::write_named(out, value);
    debug_assert!(written.is_ok(), "writing plain fields to a Vec cannot fail");
}
