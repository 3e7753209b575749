//! What goes into the core and what comes out of it.

use core::time::Duration;

use paravon_model::{Delete, Failure, Get, Hlc, Key, Put, Reading, Record, Version, Written};
use paravon_ring::KeyHash;

use crate::operations::OperationId;

/// The time of a step. Two clocks, so that a simulator can skew one without the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since some fixed moment; never goes back. Deadlines are measured in it.
    pub monotonic: Duration,
    /// Milliseconds since the Unix epoch; may jump. Stamps and expiry are measured in it.
    pub wall_ms: u64,
}

/// The caller's name for a client request; the core only gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestToken(pub u64);

/// What a shard is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client wants a value stored.
    Put {
        /// Whom to answer.
        request: RequestToken,
        /// What to store.
        put: Put,
        /// When to give up, in [`Now::monotonic`].
        deadline: Duration,
    },
    /// A client wants to read a key.
    Get {
        /// Whom to answer.
        request: RequestToken,
        /// What to read.
        get: Get,
        /// When to give up, in [`Now::monotonic`].
        deadline: Duration,
    },
    /// A client wants a key deleted.
    Delete {
        /// Whom to answer.
        request: RequestToken,
        /// What to delete.
        delete: Delete,
        /// When to give up, in [`Now::monotonic`].
        deadline: Duration,
    },
    /// The store of this node has answered an [`Effect::Store`]. Only this event makes an
    /// acknowledgement (`ACK_AFTER_STORE`).
    Stored {
        /// The effect's operation.
        operation: OperationId,
        /// The version of the record that is answered.
        stamp: Version,
        /// What became of it. A failure's outcome tells a refusal from an unknown end.
        answer: Result<Merged, Failure>,
    },
    /// The store of this node has answered an [`Effect::Read`].
    Read {
        /// The effect's operation.
        operation: OperationId,
        /// What is stored durably; absence is an answer, a failure is none.
        answer: Result<Option<Record>, Failure>,
    },
    /// The clock's ceiling is durable.
    CeilingRaised {
        /// The ceiling that the disk holds now.
        ceiling: Hlc,
    },
    /// The log takes no ceiling; writes that wait for one are refused.
    CeilingRefused {
        /// Why.
        failure: Failure,
    },
    /// Time has passed.
    Tick,
}

/// What the store did with a record, once that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The record is the newest of its key.
    Applied,
    /// A newer record of the key is stored.
    Superseded {
        /// That record's version.
        version: Version,
    },
}

/// What a shard wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer a client.
    Reply {
        /// Which request.
        request: RequestToken,
        /// What to say.
        reply: Result<Reply, Failure>,
    },
    /// Merge a record into the store of this node; answered by [`Event::Stored`].
    Store {
        /// Goes back in the answer.
        operation: OperationId,
        /// Where the key lies on the ring.
        hash: KeyHash,
        /// The key.
        key: Key,
        /// The record.
        record: Record,
    },
    /// Read a key from the store of this node; answered by [`Event::Read`].
    Read {
        /// Goes back in the answer.
        operation: OperationId,
        /// Where the key lies on the ring.
        hash: KeyHash,
        /// The key.
        key: Key,
    },
    /// Make a new ceiling of the clock durable; answered by [`Event::CeilingRaised`].
    RaiseCeiling {
        /// The ceiling that is wanted.
        ceiling: Hlc,
    },
}

/// What a client is answered when its request was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To a put or delete.
    Written(Written),
    /// To a get.
    Reading(Reading),
}
