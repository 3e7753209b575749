//! What clients ask of the store and what it answers. Each request names its reply; refusals are in
//! [`Failure`](crate::Failure).

use core::time::Duration;

use crate::consistency::Consistency;
use crate::hlc::Version;
use crate::key::Key;
use crate::record::Record;
use crate::value::{Kind, Value};

/// Ties a request to the type of its answer.
pub trait Request {
    /// What the store answers when it does as asked.
    type Reply;
}

/// Store a value under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Where.
    pub key: Key,
    /// What.
    pub value: Value,
    /// How long it stays visible; for ever where absent.
    pub ttl: Option<Duration>,
    /// How many replicas must have it before the answer.
    pub consistency: Consistency,
}

/// Read a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// Which.
    pub key: Key,
    /// How many replicas must answer.
    pub consistency: Consistency,
}

/// Delete a key. Deleting an absent key succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Which.
    pub key: Key,
    /// How many replicas must have the tombstone before the answer.
    pub consistency: Consistency,
}

/// A put or delete was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The version that the write got.
    pub version: Version,
    /// The kind of the value that was put; none for a delete.
    pub kind: Option<Kind>,
    /// Replicas that had it durably when the answer was sent.
    pub acks: u8,
    /// Replicas that store the key.
    pub replicas: u8,
}

/// What a get found: a value and its version, or nothing where the key is absent, deleted or expired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The value that the reader sees.
    pub found: Option<Found>,
}

/// A value that a reader sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value.
    pub value: Value,
    /// The version of the write that left it.
    pub version: Version,
    /// When it stops being visible, in milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
}

impl Reading {
    /// What a reader at `wall_ms` sees of `record`.
    #[must_use]
    pub fn at(record: Option<Record>, wall_ms: u64) -> Self {
        let found = record.and_then(|record| {
            let (version, expires_ms) = (record.version, record.expires_ms);
            let value = record.visible(wall_ms)?.clone();
            Some(Found { value, version, expires_ms })
        });
        Self { found }
    }
}

impl Request for Put {
    type Reply = Written;
}

impl Request for Get {
    type Reply = Reading;
}

impl Request for Delete {
    type Reply = Written;
}
