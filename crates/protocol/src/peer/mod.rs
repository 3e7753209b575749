//! What nodes say to each other, on connections whose `hello` carried the part `node` both ways
//! (`NO_STRANGER`).
//!
//! A payload is one MessagePack array, which its first byte tells from the map of every other message:
//! a tag, then items by place. Nodes exchange many of these per client request, so they carry no names.
//!
//! **Never:** reserves memory for a length that it has not found there; takes a message whose fields
//! are not all within their limits.

mod cluster;
mod compare;
pub(crate) mod council;
mod failure;
pub(crate) mod fields;
pub(crate) mod items;
pub(crate) mod node_part;
pub(crate) mod operation;
mod pull;
mod replica;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use paravon_model::{ClusterMessage, ReplicaReply, ReplicaRequest};

use self::items::Items;
use crate::reader::{DecodeError, Problem, Reader};

pub use self::cluster::encode_cluster_message;
pub use self::replica::{encode_replica_reply, encode_replica_request};

/// What the first item says a message is. 25 to 28 were messages of an earlier version, and are not
/// given again.
mod tag {
    pub(super) const STORE: u8 = 1;
    pub(super) const READ: u8 = 2;
    pub(super) const STORED: u8 = 3;
    pub(super) const FOUND: u8 = 4;
    pub(super) const STALE_LAYOUT: u8 = 5;
    pub(super) const LATER_LAYOUT: u8 = 6;
    pub(super) const PULL: u8 = 7;
    pub(super) const PULLED: u8 = 8;
    pub(super) const COMPARE: u8 = 9;
    pub(super) const COMPARED: u8 = 10;
    pub(super) const STALE_FENCE: u8 = 15;
    pub(super) const COUNCIL: u8 = 16;
    pub(super) const DOCUMENT: u8 = 17;
    pub(super) const ASK_DOCUMENT: u8 = 18;
    pub(super) const SWIM: u8 = 19;
    pub(super) const PING: u8 = 20;
    pub(super) const PONG: u8 = 21;
    pub(super) const ASK_TO_FOUND: u8 = 22;
    pub(super) const MAY_FOUND: u8 = 23;
    pub(super) const MAY_NOT_FOUND: u8 = 24;
    pub(super) const OPERATE: u8 = 29;
    pub(super) const CANCEL: u8 = 30;
    pub(super) const OPERATED: u8 = 31;
    pub(super) const REPORT: u8 = 32;
}

/// A message from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerFrame {
    /// A coordinator asks a replica.
    Request {
        /// The coordinator's shard, which goes back in the reply.
        shard: u16,
        /// The coordinator's operation, which goes back in the reply.
        operation: u64,
        /// What it asks for.
        request: ReplicaRequest,
    },
    /// A replica answers.
    Reply {
        /// Of the request.
        shard: u16,
        /// Of the request.
        operation: u64,
        /// What it says.
        reply: ReplicaReply,
    },
    /// About the cluster itself.
    Cluster(ClusterMessage),
}

/// Whether a payload is a message between nodes: an array. All others are maps.
#[must_use]
pub fn is_peer_frame(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(0x90..=0x9f | 0xdc | 0xdd))
}

/// Reads one frame's payload, whose value may have `max_value_bytes`: [`MAX_VALUE_BYTES`] unless the
/// caller has a reason.
///
/// [`MAX_VALUE_BYTES`]: crate::MAX_VALUE_BYTES
///
/// # Errors
/// Names the field that is wrong. A tag of a later version is an error too.
pub fn decode_peer_frame(payload: &[u8], max_value_bytes: usize) -> Result<PeerFrame, DecodeError> {
    let mut reader = Reader::new(payload, "message");
    let mut items = Items::of(&mut reader)?;
    let frame = read_frame(&mut items, max_value_bytes)?;
    items.end()?;
    reader.at("message").end()?;
    Ok(frame)
}

fn read_frame(items: &mut Items<'_, '_>, max_value_bytes: usize) -> Result<PeerFrame, DecodeError> {
    let reader = items.at("tag")?;
    let tag = reader.fitting()?;
    match tag {
        tag::STORE | tag::READ | tag::PULL | tag::COMPARE => {
            let (shard, operation) = read_correlation(items)?;
            let request = replica::read_request(tag, items, max_value_bytes)?;
            Ok(PeerFrame::Request { shard, operation, request })
        }
        tag::STORED..=tag::LATER_LAYOUT | tag::PULLED | tag::COMPARED | tag::STALE_FENCE => {
            let (shard, operation) = read_correlation(items)?;
            let reply = replica::read_reply(tag, items, max_value_bytes)?;
            Ok(PeerFrame::Reply { shard, operation, reply })
        }
        tag::COUNCIL..=tag::MAY_NOT_FOUND | tag::OPERATE..=tag::REPORT => {
            cluster::read(tag, items).map(PeerFrame::Cluster)
        }
        _ => reader.error(Problem::OutOfRange { expected: "a tag that this version knows" }),
    }
}

fn read_correlation(items: &mut Items<'_, '_>) -> Result<(u16, u64), DecodeError> {
    let shard = items.at("shard")?.fitting()?;
    let operation = items.at("operation")?.unsigned()?;
    Ok((shard, operation))
}
