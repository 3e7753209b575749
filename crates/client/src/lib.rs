//! The client library: puts, gets and deletes against any node of a cluster, with deadlines, failover
//! and typed errors.
//!
//! Row 3. One connection per server carries many requests at once; one task owns each connection.
//!
//! ```text
//! Client::put ─> call.rs (deadline, attempts) ─> pool.rs (which server) ─> connection.rs (handle)
//!                   ^                               |                          | queue
//!                   └── retry.rs: may it be sent    └─> dial.rs: TCP, TLS,     v
//!                       again, and where?               hello              session.rs (bytes)
//! ```
//!
//! **Architecture invariant:** a write whose outcome is unknown is never sent again: at another
//! coordinator the retry would be a new write, and could undo what was written in between. No queue
//! here is unbounded, no wait is without a deadline, and no task outlives its [`Client`].

#![forbid(unsafe_code)]

mod address;
mod backoff;
mod call;
mod change;
mod client;
mod connection;
mod dial;
mod error;
mod in_flight;
mod message;
mod options;
mod pool;
mod result;
mod retry;
mod session;
#[cfg(test)]
mod tests;

pub use address::ServerAddress;
pub use change::MemberChange;
pub use client::Client;
pub use error::{ClientError, Violation};
pub use options::{ClientOptions, PutOptions, RequestOptions, ServerOrder};
pub use paravon_model::{
    ChangeId, Consistency, Hlc, InvalidKey, InvalidNodeId, Key, Kind, NodeId, Outcome, Value,
    limits,
};
pub use paravon_protocol::{
    AntiEntropyStatus, ClusterStatus, Code, DamageStatus, ListenerStatus, Loss, LossReply,
    MAX_VALUE_DEPTH, MarksStatus, MemberStatus, NodeStatus, OperationReply, OperationStatus,
    OperationSummary, PartitionStatus, PartitionsReply, PeerStatus, PlanReply, PlannedNode,
    ReportStatus, ScrubStatus,
};
pub use paravon_transport::{TlsError, TlsFiles, TlsWarning};
pub use result::{Found, Version, Written};
