//! Error codes: what a `ko` says, for programs.

use paravon_model::{Failure, Outcome};

/// Why a request was not done. The text of each is fixed for ever; programs match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// A field is missing or wrong.
    BadRequest,
    /// No such message on this port.
    UnknownType,
    /// The key is longer than 4,096 bytes.
    KeyTooLarge,
    /// The value is longer than `server.max_message_size`.
    ValueTooLarge,
    /// The frame is longer than the limit; the connection closes.
    MessageTooLarge,
    /// Too few replicas are up; nothing was sent.
    QuorumUnavailable,
    /// Too few replicas answered in time.
    QuorumTimeout,
    /// A queue is full.
    Overloaded,
    /// The disk is full.
    StorageFull,
    /// A sync failed; no writes until restart.
    ReadOnly,
    /// The node is stopping.
    ShuttingDown,
    /// The node has not joined a cluster, or does not serve the key.
    NotReady,
    /// No certificate, or one of another authority.
    Unauthenticated,
    /// The certificate's role does not allow this.
    Forbidden,
    /// The node may not stamp writes now.
    ClockSkew,
    /// No undamaged copy can answer.
    Damaged,
    /// A replica holds a later version of the key.
    Superseded,
    /// The version is at or below the replica's `closed`, and not the one that it holds.
    BelowFloor,
    /// The request was made under an earlier layout.
    StaleLayout,
    /// The node's disk is an old copy, or another process has its number.
    OldDisk,
    /// The node is no member any more.
    Removed,
    /// The node belongs to another cluster, or to another generation of this one.
    WrongCluster,
    /// A bug, or a broken disk, on the server.
    Internal,
}

impl Code {
    const NAMES: [(Self, &'static str); 23] = [
        (Self::BadRequest, "bad_request"),
        (Self::UnknownType, "unknown_type"),
        (Self::KeyTooLarge, "key_too_large"),
        (Self::ValueTooLarge, "value_too_large"),
        (Self::MessageTooLarge, "message_too_large"),
        (Self::QuorumUnavailable, "quorum_unavailable"),
        (Self::QuorumTimeout, "quorum_timeout"),
        (Self::Overloaded, "overloaded"),
        (Self::StorageFull, "storage_full"),
        (Self::ReadOnly, "read_only"),
        (Self::ShuttingDown, "shutting_down"),
        (Self::NotReady, "not_ready"),
        (Self::Unauthenticated, "unauthenticated"),
        (Self::Forbidden, "forbidden"),
        (Self::ClockSkew, "clock_skew"),
        (Self::Damaged, "damaged"),
        (Self::Superseded, "superseded"),
        (Self::BelowFloor, "below_floor"),
        (Self::StaleLayout, "stale_layout"),
        (Self::OldDisk, "old_disk"),
        (Self::Removed, "removed"),
        (Self::WrongCluster, "wrong_cluster"),
        (Self::Internal, "internal"),
    ];

    /// The code as it travels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(code, _)| *code == self);
        found.map_or("internal", |(_, name)| name)
    }

    /// The code of this text; none for one that a later version added.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|&(code, _)| code)
    }
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a `ko` says, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people: one sentence that says what to do.
    pub message: String,
    /// Whether a write may be stored all the same.
    pub outcome: Outcome,
    /// When to try again, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// The numbers behind the message.
    pub details: Vec<(&'static str, u64)>,
}

impl Refusal {
    /// A refusal before any work.
    #[must_use]
    pub fn new(code: Code, message: String) -> Self {
        let outcome = Outcome::Refused;
        Self { code, message, outcome, retry_after_ms: None, details: Vec::new() }
    }
}

impl From<&Failure> for Refusal {
    fn from(failure: &Failure) -> Self {
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let (code, retry_after_ms, details) = match failure {
            Failure::TooManyReplicas { needed, replication_factor } => (
                Code::BadRequest,
                None,
                vec![
                    ("needed", number(*needed)),
                    ("replication_factor", number(*replication_factor)),
                ],
            ),
            Failure::QuorumUnavailable { needed, alive, .. } => (
                Code::QuorumUnavailable,
                None,
                vec![("needed", number(*needed)), ("alive", number(*alive))],
            ),
            Failure::QuorumTimeout { needed, got, .. } => (
                Code::QuorumTimeout,
                None,
                vec![("needed", number(*needed)), ("got", number(*got))],
            ),
            Failure::Overloaded { retry_after_ms } => {
                (Code::Overloaded, Some(*retry_after_ms), vec![])
            }
            Failure::StorageFull => (Code::StorageFull, None, vec![]),
            Failure::ReadOnly { .. } => (Code::ReadOnly, None, vec![]),
            Failure::ShuttingDown => (Code::ShuttingDown, None, vec![]),
            Failure::NotReady => (Code::NotReady, None, vec![]),
            Failure::ClockSkew { offset_ms, .. } => {
                (Code::ClockSkew, None, vec![("offset_ms", *offset_ms)])
            }
            Failure::Damaged { .. } => (Code::Damaged, None, vec![]),
            Failure::Internal { .. } => (Code::Internal, None, vec![]),
        };
        let (message, outcome) = (failure.to_string(), failure.outcome());
        Self { code, message, outcome, retry_after_ms, details }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_name() {
        for (code, name) in Code::NAMES {
            assert_eq!(code.as_str(), name);
            assert_eq!(Code::from_name(name), Some(code));
        }
        assert_eq!(Code::from_name("from_the_future"), None);
    }
}
