//! What coordinators and replicas say to each other about one key. Every request carries the fence it
//! was made under (`EPOCH_FENCE`) and the time that is left for it.

use alloc::sync::Arc;
use core::time::Duration;

use crate::document::{Document, Fence};
use crate::failure::Failure;
use crate::hlc::Version;
use crate::key::Key;
use crate::record::Record;

/// A coordinator's request to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaRequest {
    /// The layout that the coordinator uses.
    pub fence: Fence,
    /// How long it waits; the receiver makes its own deadline of it.
    pub time_left: Duration,
    /// What it asks for.
    pub command: Command,
}

/// What a replica is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Merge a record; answered by [`ReplicaReply::Stored`].
    Store {
        /// Where.
        key: Key,
        /// What.
        record: Record,
        /// Why.
        purpose: Purpose,
    },
    /// Read what is durable; answered by [`ReplicaReply::Found`].
    Read {
        /// Which.
        key: Key,
    },
}

/// Why a record is sent to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client's write: the only one whose stamp is held against the replica's wall clock.
    Write,
    /// A read found the replica stale.
    Repair,
    /// A hint is handed over; yields to everything else.
    Hint,
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

/// A replica's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicaReply {
    /// To [`Command::Store`].
    Stored {
        /// The version of the record that is answered.
        stamp: Version,
        /// What became of it; a failure's outcome tells a refusal from an unknown end.
        answer: Result<Merged, Failure>,
    },
    /// To [`Command::Read`].
    Found {
        /// What is durable; absence is an answer, a failure is none.
        answer: Result<Option<Record>, Failure>,
    },
    /// Nothing was done: the replica knows a later layout, this one.
    StaleLayout {
        /// Its document.
        document: Arc<Document>,
    },
    /// Nothing was done: the replica knows an earlier layout only, and must be told the document
    /// first.
    LaterLayout {
        /// What it knows.
        known: Fence,
    },
}
