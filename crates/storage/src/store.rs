//! What an event loop sees of storage: the [`Store`] of one shard and the messages around it.
//!
//! A store never blocks on a sync and never starts a thread. Writes are queued by
//! [`Store::merge`], [`Store::forget`] and [`Store::drop_record`], leave as a [`Group`] for the log, come
//! back as a [`Completion`], and only then are answered by [`Store::drain`].

use std::cmp::Ordering;

use paravon_model::{Digest, Hlc, Key, Marks, Ordinal, Record, Version};
use paravon_ring::{HashArc, KeyHash, Partition, Shift};

use crate::hint::{HintTotals, KeptHint};
use crate::page::PageLimit;
use crate::position::Position;

/// The records of one shard. Owned by one thread; two engines, one conformance suite.
///
/// The event loop calls, per batch of messages: `get` and `merge` as often as it likes, then
/// `take_group` until it gives none, then `end_batch`. Completions may arrive in any order.
pub trait Store: Send {
    /// Which shard of the node this is.
    fn shard(&self) -> u16;

    /// The stored record of `key`, a tombstone included. Sees only what is durable.
    ///
    /// # Errors
    /// The record is damaged or cannot be read. Never `Ok(None)` in such a case.
    fn get(&mut self, hash: KeyHash, key: &Key) -> Result<Option<Record>, ReadError>;

    /// Queues a merge under [`Record::precedence`]. Its answer comes from [`drain`](Self::drain)
    /// under `ticket`, once the record that decided it is durable.
    ///
    /// An identical record that is stored already answers `Applied` with its own version as the
    /// previous one: a retry is acknowledged like the first try, and a digest that takes out the
    /// previous version and adds the new one stays as it is.
    ///
    /// # Errors
    /// Refused before anything was done; there will be no answer for `ticket`.
    fn merge(
        &mut self,
        ticket: u64,
        hash: KeyHash,
        key: Key,
        record: Record,
    ) -> Result<(), Refusal>;

    /// Queues the removal of whatever is stored of `key`, as if it had never been: a record, a tombstone,
    /// damage. Its answer comes from [`drain`](Self::drain) under `ticket` when it is durable, whatever
    /// the durability of writes. Of the merges of the key, those before it are gone with it, and those
    /// after it are decided as if nothing were stored.
    ///
    /// Never for a key that this node is to store: nothing stays to win against an older record.
    ///
    /// # Errors
    /// Refused before anything was done; there will be no answer for `ticket`.
    fn forget(&mut self, ticket: u64, hash: KeyHash, key: Key) -> Result<(), Refusal>;

    /// Queues the removal of the record of `key`, tombstone or not, if what everything queued before it
    /// leaves there is of exactly `version`: no row of it stays, and a merge behind it finds nothing. What
    /// is newer, older, damaged or marked so stays as it is. Answers [`Done::Dropped`] under `ticket`;
    /// durable with its group, so with [`Interval`](crate::Durability::Interval) a crash may bring the
    /// record back. The sums of the partition stay exact.
    ///
    /// Only for a record that has nothing older to win against any more (`FLOOR_SAFE`).
    ///
    /// # Errors
    /// Refused before anything was done; there will be no answer for `ticket`.
    fn drop_record(
        &mut self,
        ticket: u64,
        hash: KeyHash,
        key: Key,
        version: Version,
    ) -> Result<(), Refusal>;

    /// Durable records of `arc`, tombstones included, in the order of (hash, key), strictly behind
    /// `after`, up to `limit` and at least one: what [`get`](Self::get) would say of each key now. The
    /// end is reached where a page is empty. A caller that reads on begins behind the last one, and not
    /// anew: what is forgotten and lies in the file still is stepped over each time.
    ///
    /// # Errors
    /// The next record cannot be read. A page ends before such a one, so nothing is left out silently,
    /// and reading on behind [`ScanError::at`] gives the others (`NO_SILENT_ROT`).
    fn scan(
        &mut self,
        arc: HashArc,
        after: Option<&(KeyHash, Key)>,
        limit: PageLimit,
    ) -> Result<Vec<(KeyHash, Key, Record)>, ScanError>;

    /// The next group of queued writes, to be submitted to the journal in the order taken. Call it
    /// until it gives `None`: a group is bounded by what one batch of the log can hold.
    fn take_group(&mut self) -> Option<Group>;

    /// Takes in what the storage threads report. Completions of other shards are ignored.
    fn complete(&mut self, completion: Completion);

    /// Moves the answers that are final to `out`. Call it after merges too, not only after
    /// completions: what was decided against a durable record is answered at once.
    fn drain(&mut self, out: &mut Vec<Answer>);

    /// Keeps the sums of this shard's partitions from now on, for a cluster founded with these; what is
    /// stored already is summed up by [`scrub`](Self::scrub). Called once, before the first merge of a
    /// start that follows a founding or a joining.
    fn keep_sums(&mut self, seed: u64, shift: Shift);

    /// The sums of a partition, over exactly what [`get`](Self::get) would tell of its keys now. None
    /// where it is not summed up (yet, or not again after a removal), or where a damaged record was found
    /// since it was summed up; what is marked damaged is the caller's to leave out.
    fn digest(&self, partition: Partition) -> Option<Digest>;

    /// Reads on where the last call ended, once around through all records of the shard and then anew:
    /// verifies every checksum, sums up what is not, and holds the sums that are kept against what is
    /// read. At most a page; damage is found as by [`get`](Self::get).
    ///
    /// # Errors
    /// The shard's file cannot be read.
    fn scrub(&mut self, limit: PageLimit) -> Result<Scrubbed, ReadError>;

    /// Moves the keys that were found damaged since the last call to `out`, each once per start: by a
    /// read, a merge, a listing or a scrub. Each is marked in the log, with the first group that does not
    /// fail and never behind what is stored over it, until [`heal`](Self::heal) or
    /// [`forget`](Self::forget) (`NO_SILENT_ROT`).
    fn take_damaged(&mut self, out: &mut Vec<(KeyHash, Key)>);

    /// The keys that are marked damaged, queued marks included, in no order. A copy of all of them.
    fn damaged(&self) -> Vec<(KeyHash, Key)>;

    /// Queues the healing of a damaged key: the larger of `record` and of what can be read here is
    /// stored, nothing where both are none, and the mark goes with it or behind it. Answers
    /// [`Done::Healed`] when that is durable, whatever the durability of writes.
    ///
    /// # Errors
    /// As [`merge`](Self::merge).
    fn heal(
        &mut self,
        ticket: u64,
        hash: KeyHash,
        key: Key,
        record: Option<Record>,
    ) -> Result<(), Refusal>;

    /// The marks of each partition that has any, ascending: for a start. Durable ones; after
    /// [`keep_sums`](Self::keep_sums), which says what partitions there are to have been lost.
    fn marks(&self) -> Vec<(Partition, Marks)>;

    /// Queues the marks of a partition, in the order of the merges. Answers [`Done::Marked`] when they
    /// are durable, and everything that was queued before is or has failed, whatever the durability of
    /// writes.
    ///
    /// # Errors
    /// As [`forget`](Self::forget).
    fn set_marks(&mut self, ticket: u64, partition: Partition, marks: Marks)
    -> Result<(), Refusal>;

    /// Counts what was marked dirty since the start, for [`clean`](Self::clean).
    fn dirty_moment(&self) -> u64;

    /// Whether anything is dirty for a target.
    fn is_dirty(&self, target: Ordinal) -> bool;

    /// Queues the removal of the dirty marks of a target within an arc that were made no later than
    /// `moment`; durable with its group. Left out where nothing can be queued: they stay then.
    fn clean(&mut self, target: Ordinal, arc: HashArc, moment: u64);

    /// Whether no record is kept here, durable or queued. Tombstones are records; hints are none, and
    /// neither is what was durably forgotten.
    ///
    /// # Errors
    /// The shard's file cannot be read.
    fn is_empty(&mut self) -> Result<bool, ReadError>;

    /// Queues a hint: kept for `target` unless a record of the key at that version or newer is kept
    /// for it already. It leaves with [`take_group`](Self::take_group) like a merge and is durable
    /// with its group; nothing answers (`HINT_NOT_LOST`).
    ///
    /// Where there is no room for it (the limit of hints, the disk, the table, a batch of the log),
    /// where the hint that is there cannot be read, and where the group of the hint fails, the arc of
    /// `hash` is marked dirty for the target instead, just as durably: with the first group that does
    /// not fail. See [`HintTotals::dirty`].
    ///
    /// # Errors
    /// Only [`Refusal::ReadOnly`]: neither was done.
    fn keep_hint(
        &mut self,
        target: Ordinal,
        hash: KeyHash,
        key: Key,
        record: Record,
    ) -> Result<(), Refusal>;

    /// Durable hints for `target` in the order of (hash, key), strictly behind `after`, up to `limit`.
    /// A caller that reads on begins behind the last one, and not anew: removals that the file lacks
    /// are stepped over each time. The end is reached where a page has fewer hints than the limit says
    /// and fewer bytes.
    ///
    /// A hint that fails its checksum is left out and removed, and its arc marked dirty; the whole
    /// ring, where it cannot be told whose hint it was (`NO_SILENT_ROT`).
    ///
    /// # Errors
    /// The shard's file cannot be read.
    fn hints(
        &mut self,
        target: Ordinal,
        after: Option<&(KeyHash, Key)>,
        limit: PageLimit,
    ) -> Result<Vec<KeptHint>, ReadError>;

    /// Queues the removal of a hint, if its slot holds `version` or an older one; durable with its
    /// group, whatever the durability of writes (`HINT_ORDER`).
    ///
    /// Left out where nothing can be queued: the hint stays then, and is delivered once more.
    fn drop_hint(&mut self, target: Ordinal, hash: KeyHash, key: &Key, version: Version);

    /// What is kept for each target that anything is kept or dirty for, ascending, where `shift` says
    /// how many partitions there are. Exact, also after a restart. What is dirty is cleared by
    /// [`clean`](Self::clean) alone.
    fn hint_totals(&self, shift: Shift) -> Vec<HintTotals>;

    /// Ends a batch of reads and merges: drops the read view, so that the engine can reuse pages.
    fn end_batch(&mut self);

    /// Hands everything durable to the applier at once, whatever its volume: before a shutdown.
    /// Says whether nothing is left to apply.
    fn flush(&mut self) -> bool;
}

/// The ticket of a merge or a removal with its result.
pub type Answer = (u64, Result<Done, WriteError>);

/// What was done under a ticket. Everything it says is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// A merge.
    Merged(Merged),
    /// Nothing was stored of the key when this became durable.
    Forgotten,
    /// A removal of one version.
    Dropped(Dropped),
    /// The key is not marked damaged any more.
    Healed,
    /// The marks of a partition.
    Marked,
}

/// What became of a record that was to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Nothing is stored of the key: it went, or was gone already.
    Gone,
    /// Another version is stored, and stays.
    Kept {
        /// The stored version.
        version: Version,
    },
    /// What is stored fails its checksum, or lies over what did: it stays until the key is healed
    /// (`NO_SILENT_ROT`).
    Damaged,
}

/// What a step of a scrub did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Bytes of keys and values that were read.
    pub bytes: u64,
    /// Records that were read, damaged ones included.
    pub records: u64,
    /// Partitions whose kept sums differed from what was read, and are what was read now: a bug, or a row
    /// whose place has rotten.
    pub mended: u64,
    /// Whether it came to the end of the shard.
    pub round: bool,
    /// Partitions of this shard that are not summed up.
    pub unsummed: u32,
}

/// What a merge did. Everything it says is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The record is stored.
    Applied {
        /// The version that it replaced; its own if it was stored already.
        previous: Option<Version>,
    },
    /// The record is stored over one that fails its checksum. The caller must not count this as an
    /// acknowledgement: the damaged record may have been newer (`NO_SILENT_ROT`).
    OverDamaged,
    /// A newer record is stored, and this one is not.
    Superseded {
        /// The stored version.
        version: Version,
    },
}

/// Why a merge or a removal was not even queued. Nothing was stored or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The table of what redb lacks is full. Mends itself when the applier has caught up.
    #[error("storage has too much to do; try again later")]
    Overloaded,
    /// The disk is full. Reads and deletes still work; the operator mends it.
    #[error("the disk is full; delete keys or give it more space")]
    StorageFull,
    /// A sync failed, so nothing is written until a restart. Reads go on.
    #[error("a sync failed, so nothing is written until the node is restarted")]
    ReadOnly,
    /// The record can never be stored here. Mended by the client.
    #[error("the record takes {bytes} bytes, the most is {max}")]
    TooLarge {
        /// What the record takes in the log.
        bytes: usize,
        /// What a batch of the log holds.
        max: usize,
    },
    /// The stored version cannot be read, so the merge cannot be decided. See [`ReadError`].
    #[error("the stored record cannot be read, so nothing can be decided against it")]
    Unavailable,
}

/// Why an accepted merge or removal failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Writing or syncing the log failed. It may be stored all the same (outcome unknown); this node
    /// takes no more writes until it is restarted.
    #[error("the log could not be synced; the write may be stored all the same")]
    ReadOnly,
    /// The log could not grow. Nothing of the group was stored; mended by giving the disk space.
    #[error("the disk is full; nothing was stored")]
    StorageFull,
}

/// Why a read has no answer. Never to be taken for "absent".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The stored record fails its checksum. Other keys are not affected. A newer write is stored over it,
    /// and only [`Store::heal`] makes the key whole: the damaged record may have been the newest.
    #[error("the stored record fails its checksum")]
    Damaged,
    /// The shard's redb file cannot be read: its pages are damaged or the disk fails. Keys whose
    /// record still lies in the table go on; the others need a restart or a new disk. Also of a single
    /// record that a later version wrote, which that version reads.
    #[error("the shard's file cannot be read")]
    Unavailable,
}

/// Why a page of a scan has no records. Never to be taken for the end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct ScanError {
    /// What [`Store::get`] would say of the record.
    pub error: ReadError,
    /// The record that cannot be read, where its place is whole: the scan can go on behind it, and a
    /// merge or [`Store::forget`] mends it. None where more than a record is lost: a restart or a new
    /// disk may help.
    pub at: Option<(KeyHash, Key)>,
}

impl ScanError {
    /// Of the file as a whole.
    pub(crate) fn of_file(error: ReadError) -> Self {
        Self { error, at: None }
    }
}

/// Writes of one shard on their way to the log: made by [`Store::take_group`], opaque to the node.
#[derive(Debug)]
pub struct Group {
    /// The shard that it came from.
    pub(crate) shard: u16,
    /// Counts the shard's groups, from 0 at each start.
    pub(crate) number: u64,
    /// Rises when a group of this shard fails: all groups of one epoch after a failed one fail.
    pub(crate) epoch: u64,
    /// Whether it removes hints or records, or says what is marked or damaged: that is synced whatever the
    /// durability of writes.
    pub(crate) must_sync: bool,
    /// Log entries, encoded.
    pub(crate) entries: Vec<u8>,
}

impl Group {
    /// The shard that it came from.
    #[must_use]
    pub fn shard(&self) -> u16 {
        self.shard
    }
}

/// What the storage threads report. The node hands those with a shard to that shard's
/// [`Store::complete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// A group was synced, or will never be.
    Synced {
        /// Whose group.
        shard: u16,
        /// Its number.
        group: u64,
        /// The log before this position holds no later group of the shard: the end of the batch for
        /// the last group in it, the beginning for the others.
        result: Result<Position, WriteError>,
    },
    /// The frozen table of a shard is in redb.
    Applied {
        /// Whose table.
        shard: u16,
    },
    /// The log wants to drop old segments that hold records of this shard: apply them soon.
    Flush {
        /// Whose records.
        shard: u16,
    },
    /// Whether the disk has become full, or has space again.
    Space {
        /// Who is told; every shard is.
        shard: u16,
        /// Whether it is full.
        full: bool,
    },
    /// The redb file of a shard failed. The shard takes no more writes, and reads only what its table
    /// still holds, until the node is restarted.
    Broken {
        /// Whose file.
        shard: u16,
    },
    /// The ceiling of stamps is durable, or the log takes no more writes.
    Ceiling {
        /// The ceiling that was asked for, or a higher one.
        hlc: Hlc,
        /// Why it is not durable.
        result: Result<(), WriteError>,
    },
    /// Everything that the log had taken when a barrier was asked for is durable, or never will be.
    /// See [`Journal::barrier`](crate::Journal::barrier).
    Barrier {
        /// The number that was given, or a higher one, which stands for it.
        number: u64,
        /// Why not all of it is durable. Only [`WriteError::ReadOnly`].
        result: Result<(), WriteError>,
    },
}

impl Completion {
    /// The shard it belongs to; none for the node's own.
    #[must_use]
    pub fn shard(&self) -> Option<u16> {
        match *self {
            Self::Synced { shard, .. }
            | Self::Applied { shard }
            | Self::Flush { shard }
            | Self::Broken { shard }
            | Self::Space { shard, .. } => Some(shard),
            Self::Ceiling { .. } | Self::Barrier { .. } => None,
        }
    }
}

/// Where the storage threads deliver completions: sorts them by loop and wakes each loop once.
pub trait Completions: Send + Sync {
    /// Takes completions of any shards. Called by storage threads once per group; must not block.
    fn deliver(&self, completions: Vec<Completion>);
}

/// What the merge rule says about a record and the one that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Store it; the answer when that is durable.
    Store(Merged),
    /// Store nothing; the answer when the present record is durable.
    Keep(Merged),
}

/// The merge rule, the same for both engines.
pub(crate) fn decide(record: &Record, present: Option<&Record>) -> Decision {
    let Some(present) = present else {
        return Decision::Store(Merged::Applied { previous: None });
    };
    let previous = Some(present.version);
    match record.precedence(present) {
        Ordering::Greater => Decision::Store(Merged::Applied { previous }),
        Ordering::Equal => Decision::Keep(Merged::Applied { previous }),
        Ordering::Less => Decision::Keep(Merged::Superseded { version: present.version }),
    }
}

/// What a record takes in memory, or that there is none, allocations and map slot included, in bytes.
pub(crate) fn weight(key: &Key, record: Option<&Record>) -> usize {
    /// Two counted allocations with their padding, and a map slot at the usual load.
    const OVERHEAD: usize = 192;
    let value = record.map_or(0, |record| record.body.value_bytes());
    OVERHEAD + key.encoded().len() + value
}
