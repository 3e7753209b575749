//! What a node tells of how its copies fare: whether they agree with the others', what of them is damaged,
//! what may be dropped, and how far the scrubber is.

use serde::{Deserialize, Serialize};

/// How far a node's copies agree with those of the other replicas, since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AntiEntropyStatus {
    /// Partitions that it stores and another member too.
    pub partitions: u64,
    /// Those of them that were seen to agree with every other replica.
    pub agreed: u64,
    /// Of these, how many seconds ago that was where it is longest; none where there are none.
    pub oldest_agreement_seconds: Option<u64>,
    /// Partitions that differed when they were last looked at, be it for a write under way.
    pub differing: u64,
    /// Records that were pulled from other replicas and stored.
    pub pulled_records: u64,
    /// The bytes of their keys and values.
    pub pulled_bytes: u64,
    /// Sums of other replicas that were compared with own ones.
    pub compared_sums: u64,
}

/// What of a node's copies cannot be read and is not healed yet: it counts in no quorum for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DamageStatus {
    /// Keys whose records fail their checksums.
    pub keys: u64,
    /// Partitions whose file was lost.
    pub partitions: u64,
    /// Members without which some of that could not be healed when it was last tried.
    pub waiting_for: Vec<String>,
    /// Keys and partitions that waiting does not heal: another replica lacks them too, or there is none.
    /// They wait for an operator to accept the loss.
    pub unhealable: u64,
}

/// How far a node's marks are: at or below its floor deletes need no tombstone any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MarksStatus {
    /// Partitions with tombstones or expired records above the floor.
    pub partitions: u64,
    /// The age of the oldest floor among these, in seconds; none where one was never raised, or where
    /// there are none.
    pub oldest_floor_seconds: Option<u64>,
    /// The members that their floors wait for.
    pub waiting_for: Vec<String>,
}

/// How far a node has read through what it stores, to see whether it still can be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScrubStatus {
    /// Times that a shard was read to its end, since the start.
    pub rounds: u64,
    /// How long the last of these took, in seconds; none before the first.
    pub last_round_seconds: Option<f64>,
    /// Records read since the start.
    pub records: u64,
    /// Bytes of keys and values read since the start.
    pub bytes: u64,
    /// Partitions that are not summed up yet: nothing can be compared for them.
    pub unsummed: u64,
    /// Damaged keys found since the start, by whatever has read them.
    pub damaged: u64,
    /// Partitions whose sums were found wrong, and corrected: a bug, worth a report, or a row whose place has
    /// rotten.
    pub mended: u64,
}

/// How one partition fares at the node that is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: u32,
    /// How many seconds ago it was seen to agree with each of the other replicas at the latest; none
    /// where with one of them it never was since the start. Zero where there is no other replica.
    pub agreed_seconds: Option<u64>,
    /// The age of its floor, in seconds; none where it was never raised.
    pub floor_seconds: Option<u64>,
    /// The member with which it agreed the longest ago; empty where there is no other replica.
    pub waits_for: String,
    /// Keys of it that are damaged.
    pub damaged_keys: u64,
    /// Whether the file that held it was lost, and it is not healed yet.
    pub lost: bool,
}

/// A page of the partitions that a node stores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionsReply {
    /// Ascending by number.
    pub partitions: Vec<PartitionStatus>,
    /// What to give as `after` for the next page; none at the end.
    pub next: Option<u32>,
}

/// What an operator gave up: the node takes the best that is left of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossReply {
    /// Damaged keys that were concerned.
    pub keys: u64,
    /// Lost partitions that were concerned.
    pub partitions: u64,
}

impl PartitionsReply {
    /// Reads the answer's data.
    ///
    /// # Errors
    /// A field is of a wrong type.
    pub fn decode(data: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(data)
    }
}

impl LossReply {
    /// Reads the answer's data.
    ///
    /// # Errors
    /// A field is of a wrong type.
    pub fn decode(data: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(data)
    }
}
