//! What happens in a world, as the invariants see it and as a trace prints it.
//!
//! Facts are small and copied: on the way of thousands of events per world nothing is formatted.

use std::fmt;

use paravon_model::{Consistency, Fence, Hlc, Ordinal, Version};

use crate::faults::Fault;

/// A client's operation, by its place in the history.
pub(crate) type OperationNumber = u32;

/// What a written record says: the number of the write that it comes from, or a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    /// The value of this write.
    Of(OperationNumber),
    /// A delete's trace.
    Tombstone,
    /// A value that no client wrote.
    Foreign,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Put,
    Delete,
    Get,
}

impl Verb {
    /// Whether it stores something.
    pub(crate) fn writes(self) -> bool {
        self != Self::Get
    }
}

/// A level as facts carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Level {
    One,
    Quorum,
    All,
    Count(u8),
}

impl From<Level> for Consistency {
    fn from(level: Level) -> Self {
        match level {
            Level::One => Self::One,
            Level::Quorum => Self::Quorum,
            Level::All => Self::All,
            Level::Count(count) => Self::Count(count),
        }
    }
}

/// How an operation ended, as its coordinator answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    /// The write was acknowledged.
    Written { version: Version, acks: u8 },
    /// The read found this.
    Found { version: Version, content: Content },
    /// The read found nothing.
    Absent,
    /// An error, and nothing was stored.
    Refused { code: Code },
    /// An error, and the write may be stored.
    Unknown { code: Code },
}

/// What the operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wish {
    /// Take this node in.
    Join(u8),
    /// Let this one go.
    Drain(u8),
    /// Do without this one.
    Remove(u8),
    /// Take the second one in, in place of the first.
    Replace(u8, u8),
    /// Keep so many copies.
    SetReplication(u8),
    /// Give up the change under way.
    Cancel,
}

/// What the operator is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Advice {
    /// It is done or will be.
    Accepted,
    /// It is not, but it may be later.
    AskAgain,
    /// It never will be.
    Refused,
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Code {
    TooManyReplicas,
    QuorumUnavailable,
    QuorumTimeout,
    Overloaded,
    ClockSkew,
    NotServing,
    Other,
}

/// What the replicas of a set durably hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    /// Replicas of the key.
    pub(crate) replicas: u8,
    /// Those that durably hold the version in question or a newer one.
    pub(crate) holding: u8,
    /// Those that do not, but held it when they lost their disk while the operation was under way.
    pub(crate) lost: u8,
    /// Of the set to come, those that do not and need not yet: a read found it at or below a floor.
    pub(crate) owed: u8,
}

impl Held {
    /// Whether a majority holds it, or is excused.
    pub(crate) fn has_majority(self) -> bool {
        self.holding + self.lost + self.owed > self.replicas / 2
    }
}

/// What replicas durably hold, counted over the sets in force in the coordinator's layout when it
/// answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Holders {
    /// Of that layout.
    pub(crate) fence: Fence,
    pub(crate) current: Held,
    /// While `joint`, where the sets differ.
    pub(crate) next: Option<Held>,
}

impl Holders {
    /// What the sets in force hold, one after the other.
    pub(crate) fn sets(self) -> impl Iterator<Item = Held> {
        [Some(self.current), self.next].into_iter().flatten()
    }
}

/// A fact. Nodes and keys are numbered by the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fact {
    /// Something of the fault plan.
    Faulty { fault: Fault },
    /// Whether the network of this world doubles messages, which TCP does not.
    Doubling { possible: bool },
    /// Clients begin, or stop, or the world is mended.
    Phase { name: &'static str },
    /// A process begins.
    Started { node: u8, start: u32, ceiling: Hlc },
    /// A disk that no process can begin on.
    Unopened { node: u8 },
    /// A process ends.
    Crashed { node: u8, torn: bool },
    /// A connection is up.
    Linked { from: u8, to: u8 },
    /// A connection is gone, and its owner has noticed.
    Unlinked { from: u8, to: u8 },
    /// A hello was refused.
    HelloRefused { by: u8, of: u8, code: &'static str },
    /// A hello was admitted; whether it should have been.
    HelloAdmitted { by: u8, of: u8, impostor: bool },
    /// A node uses this layout from now on: the members of both rosters by bit; whether its document
    /// was durable.
    LayoutUsed { node: u8, version: u64, fence: Fence, current: u8, next: u8, durable: bool },
    /// A node has stored the document of this fence; whether its disk says so.
    LayoutStored { node: u8, fence: Fence, durable: bool },
    /// How far a node is with what a change gives it: partitions.
    Progressed { node: u8, fence: Fence, partitions: u64, complete: u64 },
    /// A node is about to take what a change has made it new to: what its disk holds of a key of it.
    Entered { node: u8, fence: Fence, key: u8, held: Version },
    /// A change of layout has ended: what the sets that there are from now on hold of what was
    /// acknowledged or read before.
    Inherited { fence: Fence, key: u8, version: Version, holders: Holders },
    /// The operator asks for something.
    Asked { errand: u8, node: u8, wish: Wish },
    /// The operator is answered.
    Advised { errand: u8, answer: Advice, why: &'static str },
    /// A disk is gone, or put back to an old copy; which member's it was.
    DiskLost { node: u8, of: Option<Ordinal> },
    /// A node that is no member any more starts anew: nothing was promised of what its disk held.
    DiskCleared { node: u8 },
    /// A node never starts again.
    Killed { node: u8 },
    /// A node was rescued, after others were; whether it is one that was given up then.
    Rescued { node: u8, generation: u64, is_stray: bool },
    /// A majority of the copies of a key is lost for good, and what earlier generations than this one
    /// acknowledged with it; what is left of it is this or newer.
    Bereft { key: u8, generation: u64, left: Version },
    /// A node's failure detector changed its mind.
    Believed { node: u8, of: u8, alive: bool },
    /// A node may stamp, or not: by how much its wall clock was ahead of its monotonic one then, or of
    /// the others', in milliseconds.
    Permitted { node: u8, held: bool, ms: i64 },
    /// A coordinator takes an operation.
    Began { operation: OperationNumber, node: u8, verb: Verb, key: u8, level: Level },
    /// A coordinator answers an operation, when its wall clock says this.
    Ended { operation: OperationNumber, node: u8, end: End, holders: Holders, wall_ms: u64 },
    /// A client waited long enough.
    GaveUp { operation: OperationNumber },
    /// An operation had no answer although its coordinator ran and its deadline had passed.
    Overdue { operation: OperationNumber, node: u8 },
    /// A coordinator gave out a version, for something that expires then, if ever.
    Stamped {
        node: u8,
        shard: u8,
        key: u8,
        version: Version,
        content: Content,
        expires_ms: Option<u64>,
        ceiling: Hlc,
    },
    /// A record is sent to a replica for another reason than its first writing.
    Spread { node: u8, to: Ordinal, key: u8, version: Version, content: Content, hint: bool },
    /// A record is durable.
    Durable { node: u8, key: u8, before: Version, version: Version, content: Content },
    /// A record is durably gone, as if it had never been stored, while the node knew this fence.
    Forgotten { node: u8, key: u8, before: Version, fence: Fence },
    /// A replica says that it has stored a version; what its disk holds of the key.
    Acknowledged { node: u8, key: u8, stamp: Version, durable: Version },
    /// A replica says that it holds a larger version; what its disk holds of the key.
    Superseding { node: u8, key: u8, named: Version, durable: Version },
    /// A replica says that it admits nothing so old any more, and how far that goes; whether it was
    /// handed a hint.
    BelowFloor { node: u8, key: u8, stamp: Version, named: Version, hint: bool },
    /// A replica told what it holds instead of taking what a read wrote back.
    WriteBackRefused { node: u8, key: u8 },
    /// A replica did something for a request of this fence while it used that one, and its disk said
    /// that it had stored this one.
    Admitted { node: u8, fence: Fence, own: Fence, stored: Option<Fence>, stranger: bool },
    /// A replica refused a request for its fence.
    FenceRefused { node: u8, fence: Fence, own: Fence },
    /// A hint is durable.
    HintKept { node: u8, target: Ordinal, key: u8, version: Version },
    /// A hint up to this version is durably gone; what the target's disk holds.
    HintDropped {
        node: u8,
        target: Ordinal,
        key: u8,
        version: Version,
        durable: Version,
        counts: bool,
    },
    /// A hint that a disk held before a crash and what it holds after.
    HintSurvived {
        node: u8,
        target: Ordinal,
        key: u8,
        before: Version,
        after: Option<Version>,
        durable: Version,
        counts: bool,
    },
    /// In place of a hint its partition is durably dirty for the target, since this moment.
    HintMarked { node: u8, target: Ordinal, key: u8, version: Version, moment: u64 },
    /// What was marked up to this moment is not dirty any more; what the target's disk holds.
    HintCleaned { node: u8, target: Ordinal, key: u8, durable: Version, counts: bool },
    /// A node with an old copy of its disk answered something.
    OldDiskServed { node: u8 },
    /// How much a node has under way.
    Load { node: u8, operations: u32, queued: u32 },
    /// After everything was mended and read: what a replica holds of a key.
    Settled { node: u8, key: u8, version: Version, content: Content },
    /// Long after everything was mended two replicas of a partition do not sum up to the same, or one
    /// of them to nothing.
    Disagreeing { partition: u32, node: u8, other: u8 },
    /// The sums that a store keeps are not those of what it holds.
    SumsWrong { node: u8 },
    /// What a disk holds of a key cannot be read any more.
    Rotted { node: u8, key: u8, held: Version },
    /// The file of a shard cannot be read any more: one of so many shards, of so many partitions, while
    /// this layout was the latest.
    FileLost { node: u8, shard: u8, shards: u8, partitions: u32, fence: Fence },
    /// What a lost file held of a partition is there again.
    Lifted { node: u8, partition: u32 },
    /// The log has put a record that rotted in its place again.
    Restored { node: u8, key: u8 },
    /// A shard is told that it cannot answer for a key.
    Hurt { node: u8, key: u8 },
    /// A shard can answer for a key again: what is held then of what was acknowledged.
    Healed { node: u8, key: u8, version: Version, acked: Version, holders: Holders },
    /// The operator takes what is left of a key that a node cannot read.
    LossAccepted { node: u8, key: u8, partition: u32 },
    /// A node that could not read a key is about to answer for it again with what it has taken, because
    /// its loss was accepted: what a majority of those who can read it is sure to see from now on; and, where
    /// everybody could be asked, the best that those hold.
    LossTaken { node: u8, key: u8, taken: Version, left: Version, best: Option<Version> },
    /// A replica answers for a key although it cannot.
    AnsweredHurt { node: u8, key: u8 },
    /// The marks of a partition are durable; whether they only say that it was emptied, because its node
    /// is new to it.
    Marked { node: u8, partition: u32, floor: Hlc, full: Hlc, closed: Hlc, emptied: bool },
    /// A process begins with the marks of so many partitions.
    MarksRestored { node: u8, partitions: u8 },
    /// What a disk remembers of a partition after a crash is neither what was durable nor what was on its
    /// way there.
    MarksLost { node: u8, partition: u32 },
    /// A shard gives up the marks of a partition that its node is to store.
    MarksGivenUp { node: u8, partition: u32 },
    /// A tombstone, or what has expired, is durably gone because it lay at or below the floor.
    Dropped { node: u8, key: u8, before: Version },
    /// A record is durably gone that its node is to store.
    ForgottenWrongly { node: u8, key: u8, before: Version },
    /// A replica that knows that it cannot read a key calls itself full, or raises its floor above all others'.
    HurtMoved { node: u8, key: u8 },
    /// A replica calls itself full although another one of the same layout is not closed there.
    FullBeforeClosed { node: u8, other: u8, partition: u32, full: Hlc },
    /// A replica calls itself full and lacks what was acknowledged so far back.
    FullWithout { node: u8, key: u8, full: Hlc, acked: Version, held: Version },
    /// A replica raises its floor although another one of the same layout is not full there, and no other
    /// one has that floor.
    FloorBeforeFull { node: u8, other: u8, partition: u32, floor: Hlc },
    /// What is older than what was dropped is durable on a replica.
    Resurrected { node: u8, key: u8, version: Version, dropped: Version },
    /// A record was stored although the replica had said that it holds all there is so far back.
    EnteredBelowFull { node: u8, key: u8, version: Version, full: Hlc },
    /// Replicas of one fence and one floor differ at or below it.
    FloorsDiffer { node: u8, other: u8, key: u8, floor: Hlc },
    /// A node that began lately pulls although no change is under way, and nothing is ever deleted.
    PulledEarly { node: u8, served_ms: u64 },
    /// A process has a number from now on; the largest that it has had before.
    Numbered { node: u8, number: Ordinal, largest: Option<Ordinal> },
    /// Two documents of one revision differ.
    DocumentsDiffer { node: u8, version: u64 },
    /// Two layouts of one fence differ.
    LayoutsDiffer { node: u8, fence: Fence },
    /// The mended world does not come to rest.
    Restless { why: &'static str },
    /// An operation of the mended world failed.
    MendedFailed { operation: OperationNumber, code: Code },
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The derived form names every number, which is what a reader of a trace looks for.
        write!(f, "{self:?}")
    }
}
