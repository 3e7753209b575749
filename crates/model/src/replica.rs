//! What replicas are asked for, about one key or about a partition. Every request carries the fence it
//! was made under (`EPOCH_FENCE`) and the time that is left for it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::digest::{Compare, Compared, Part};
use crate::document::{Document, Fence};
use crate::failure::Failure;
use crate::hlc::{Hlc, Version};
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
    /// Tell what is durable of a partition; answered by [`ReplicaReply::Pulled`]. A replica that is to
    /// become complete asks those that were there before, and every replica those that it differs from.
    Pull {
        /// Its number in the document's `2^shift`.
        partition: u32,
        /// How much to tell.
        pull: Pull,
    },
    /// Tell the sums over what is durable; answered by [`ReplicaReply::Compared`].
    Compare(Compare),
}

/// A page of a partition that is pulled, in the order of (hash, key).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// How much of the partition.
    pub part: Part,
    /// What of each record.
    pub detail: Detail,
    /// Only those behind this key.
    pub after: Option<Key>,
}

/// What of a record is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Enough to tell whether one's own is newer.
    Listing,
    /// All of it.
    Record,
}

/// What was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Keys, and what tells their records apart.
    Listing {
        /// In order.
        listed: Vec<Listed>,
        /// Whether more follow.
        rest: Rest,
    },
    /// Records.
    Records {
        /// In order.
        records: Vec<(Key, Record)>,
        /// Whether more follow.
        rest: Rest,
    },
    /// Instead of the page that begins with this key: its record cannot be read, so the replica counts
    /// for nothing where this key is concerned (`NO_SILENT_ROT`). What it holds besides follows behind
    /// it.
    Damaged {
        /// Which.
        key: Key,
    },
}

/// Whether a page is the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// There may be more behind it.
    More,
    /// There was nothing behind it.
    End,
}

/// A record in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// Its version.
    pub version: Version,
    /// The lower half of its hash: at equal versions it tells whether the contents are equal too.
    pub check: u64,
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
    /// Nothing was stored: the replica admits nothing so old any more (`FLOOR_SAFE`).
    BelowFloor {
        /// The larger of what it admits nothing up to and of the version that it holds.
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
    /// To [`Command::Read`]; and to a [`Purpose::Repair`] that was not stored, because the replica holds
    /// all that any replica holds so far back.
    Found {
        /// What is durable; absence is an answer, a failure is none.
        answer: Result<Option<Record>, Failure>,
        /// The replica's floor: up to it an absence stands against whatever another replica holds.
        floor: Hlc,
    },
    /// To [`Command::Pull`].
    Pulled {
        /// What is durable; a failure is no answer.
        answer: Result<Pulled, Failure>,
    },
    /// To [`Command::Compare`].
    Compared {
        /// What was durable at one moment; a failure is no answer.
        answer: Result<Compared, Failure>,
    },
    /// Nothing was done: the replica knows a later layout, this one.
    StaleLayout {
        /// Its document.
        document: Arc<Document>,
    },
    /// Nothing was done: the replica knows a later layout, whose document it has told just now.
    StaleFence {
        /// The fence of that document.
        known: Fence,
    },
    /// Nothing was done: the replica has stored an earlier layout only. It must be told the document
    /// first, or is about to have stored it.
    LaterLayout {
        /// The fence of the document that it knows.
        known: Fence,
    },
}
