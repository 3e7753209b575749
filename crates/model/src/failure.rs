//! Why the store did not do what a client asked, with the numbers that the client needs.

use alloc::vec::Vec;
use core::fmt;

use crate::identity::NodeId;

/// Whether a failed write may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was stored anywhere; sending the same again is safe.
    Refused,
    /// It may be stored, now or at any later time.
    Unknown,
}

/// A request that was not done. The text says what the client or operator can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// More replicas are asked for than the cluster keeps. Mended by the client.
    TooManyReplicas {
        /// Replicas asked for.
        needed: usize,
        /// The cluster's replication factor.
        replication_factor: usize,
    },
    /// Too few replicas are up; refused before anything was sent.
    QuorumUnavailable {
        /// Replicas needed.
        needed: usize,
        /// Replicas that are up.
        alive: usize,
        /// Those that are not.
        down: Vec<NodeId>,
    },
    /// It was sent, and too few replicas answered before the deadline.
    QuorumTimeout {
        /// Replicas needed.
        needed: usize,
        /// Replicas that answered.
        got: usize,
        /// Whether the request was a write and may be stored all the same.
        outcome: Outcome,
    },
    /// A queue is full; nothing was done.
    Overloaded {
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// The disk is full; reads and deletes still work.
    StorageFull,
    /// A sync failed, so this node takes no more writes until it is restarted.
    ReadOnly {
        /// `Unknown` for the writes that were under way when the sync failed.
        outcome: Outcome,
    },
    /// The node is stopping; another one will answer.
    ShuttingDown,
    /// The node does not serve this: it has not joined yet, is no member any more, or does not store
    /// the key's partition.
    NotReady,
    /// This node may not stamp writes now.
    ClockSkew {
        /// How far the stamp or the clock is off, in milliseconds.
        offset_ms: u64,
        /// `Unknown` where a first stamp had been sent already.
        outcome: Outcome,
    },
    /// The stored record fails its checksum and no other copy can answer.
    Damaged {
        /// `Unknown` for a write that was stored over the damaged record.
        outcome: Outcome,
    },
    /// A bug or a broken disk on the server; the id is in its log too.
    Internal {
        /// Finds the entry in the server's log.
        id: u64,
        /// Whether a write may be stored.
        outcome: Outcome,
    },
}

impl Failure {
    /// Whether the request may have taken effect.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::QuorumTimeout { outcome, .. }
            | Self::ReadOnly { outcome }
            | Self::Damaged { outcome }
            | Self::ClockSkew { outcome, .. }
            | Self::Internal { outcome, .. } => *outcome,
            Self::TooManyReplicas { .. }
            | Self::QuorumUnavailable { .. }
            | Self::Overloaded { .. }
            | Self::StorageFull
            | Self::ShuttingDown
            | Self::NotReady => Outcome::Refused,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyReplicas { needed, replication_factor } => write!(
                f,
                "{needed} replicas were asked for but the cluster keeps {replication_factor}; ask for fewer"
            ),
            Self::QuorumUnavailable { needed, alive, down } => {
                write!(f, "{needed} replicas are needed and {alive} are up")?;
                if !down.is_empty() {
                    write!(f, "; down: {down:?}")?;
                }
                f.write_str("; bring nodes back or ask for a lower consistency")
            }
            Self::QuorumTimeout { needed, got, outcome } => {
                write!(f, "{got} of {needed} needed replicas answered before the deadline; ")?;
                f.write_str(match outcome {
                    Outcome::Refused => "try again",
                    Outcome::Unknown => "the write may be stored: read the key before trying again",
                })
            }
            Self::Overloaded { retry_after_ms } => {
                write!(f, "the node has too much to do; try again in {retry_after_ms} ms")
            }
            Self::StorageFull => {
                f.write_str("the node's disk is full; delete keys or give it more space")
            }
            Self::ReadOnly { .. } => f.write_str(
                "the node's disk failed to sync, so it takes no writes; use another node, \
                 and check the disk before you restart this one",
            ),
            Self::ShuttingDown => f.write_str("the node is stopping; use another one"),
            Self::NotReady => {
                f.write_str("the node is not ready to serve this; try again or use another one")
            }
            Self::ClockSkew { offset_ms: 0, .. } => f.write_str(
                "the node has not measured its clock against the other members' yet, so it stamps no \
                 writes; try again or use another node",
            ),
            Self::ClockSkew { offset_ms, .. } => write!(
                f,
                "the node's clock is off by {offset_ms} ms, so it stamps no writes; \
                 use another node and check its time synchronisation"
            ),
            Self::Damaged { .. } => f.write_str(
                "the stored record fails its checksum and no undamaged copy can answer; \
                 restore it from a backup or write the key anew",
            ),
            Self::Internal { id, .. } => {
                write!(f, "the server failed; its log says why under id {id:016x}")
            }
        }
    }
}

impl core::error::Error for Failure {}
