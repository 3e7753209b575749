//! The bytes of Paravon's wire protocol, version 1: frames, messages, error codes.
//!
//! Row 1, pure. `docs/protocol.md` is the text of it, `tests/vectors/` its byte-exact examples.
//!
//! **Architecture invariant:** nothing from outside can panic, allocate what a stranger's length
//! asks for, or nest deeper than [`MAX_DEPTH`]. No socket, clock or randomness: bytes in, values
//! out, and back. (`rmp-serde` needs std, so clippy's disallowed lists guard what `no_std` proves for
//! the other pure crates.)

#![forbid(unsafe_code)]

mod admin;
mod admin_fields;
mod admin_request;
mod cluster_state;
mod cluster_status;
mod code;
mod document;
mod envelope;
mod frame;
mod hello;
mod maps;
mod operation_status;
mod peer;
mod plan;
mod reader;
mod repair_status;
mod reply;
mod request;
#[cfg(test)]
mod vectors;
mod writer;

pub use admin::{AdminReply, HandoffStatus, ListenerStatus, NodeStatus, PeerStatus};
pub use admin_request::{AdminRequest, Loss, MAX_LISTED_PARTITIONS};
pub use cluster_state::{StoredState, decode_cluster_state, encode_cluster_state};
pub use cluster_status::{ClusterStatus, MemberStatus, ReportStatus};
pub use code::{Code, Refusal};
pub use document::{decode_document, encode_document};
pub use envelope::{Envelope, GOAWAY, Unreadable, encode_goaway};
pub use frame::{
    FRAME_SLACK_BYTES, FrameLimit, HEADER_BYTES, MAX_VALUE_BYTES, TooLarge, split_frame,
};
pub use hello::{Hello, Limits, Welcome};
pub use operation_status::{MemberProgress, OperationReply, OperationStatus, OperationSummary};
pub use peer::{
    PeerFrame, decode_peer_frame, encode_cluster_message, encode_replica_reply,
    encode_replica_request, is_peer_frame,
};
pub use plan::{PlanReply, PlannedNode};
pub use reader::{DecodeError, MAX_DEPTH, MAX_VALUE_DEPTH, Problem};
pub use repair_status::{
    AntiEntropyStatus, DamageStatus, LossReply, MarksStatus, PartitionStatus, PartitionsReply,
    ScrubStatus,
};
pub use reply::{
    Entry, Refused, Replied, decode_reply, encode_reading, encode_refusal, encode_written,
};
pub use request::{ClientMessage, ClientRequest, RequestId};

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;
