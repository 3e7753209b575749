//! What clients ask of the store and what it answers. Each request names its reply; refusals are in
//! [`Failure`](crate::Failure).

use core::time::Duration;

use crate::consistency::Consistency;
use crate::hlc::Version;
use crate::key::Key;
use crate::record::Record;
use crate::value::Value;

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
    /// Replicas that had it durably when the answer was sent.
    pub acks: u8,
    /// Replicas that store the key.
    pub replicas: u8,
}

/// What a get found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The visible record; none where the key is absent, deleted or expired.
    pub record: Option<Record>,
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
