//! What goes into a shard and what comes out of it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Command, Delete, Digest, Document, Failure, Fence, Get, Hlc, Key, Marks, Merged, Ordinal, Part,
    Progress, Purpose, Put, Reading, Record, ReplicaReply, ReplicaRequest, Version, Written,
};
use paravon_ring::{KeyHash, Layout, Partition};

use crate::clock::Permit;
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

/// The caller's name for a peer's request; the core only gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerToken(pub u64);

/// What a shard is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client wants a value stored.
    Put {
        /// Whom to answer.
        request: RequestToken,
        /// Where the key lies on the ring.
        hash: KeyHash,
        /// What to store.
        put: Put,
        /// When to give up, in [`Now::monotonic`].
        deadline: Duration,
    },
    /// A client wants to read a key.
    Get {
        /// Whom to answer.
        request: RequestToken,
        /// Where the key lies on the ring.
        hash: KeyHash,
        /// What to read.
        get: Get,
        /// When to give up, in [`Now::monotonic`].
        deadline: Duration,
    },
    /// A client wants a key deleted.
    Delete {
        /// Whom to answer.
        request: RequestToken,
        /// Where the key lies on the ring.
        hash: KeyHash,
        /// What to delete.
        delete: Delete,
        /// When to give up, in [`Now::monotonic`].
        deadline: Duration,
    },
    /// A coordinator asks this replica.
    Asked {
        /// Who, proved by its certificate.
        from: Ordinal,
        /// Whom to answer.
        token: PeerToken,
        /// Where the key lies on the ring.
        hash: KeyHash,
        /// What it asks for.
        request: ReplicaRequest,
    },
    /// A replica answers an [`Effect::Send`].
    Answered {
        /// Who, proved by its certificate.
        from: Ordinal,
        /// The effect's operation.
        operation: OperationId,
        /// What it says.
        reply: ReplicaReply,
    },
    /// Requests can be sent to this member.
    LinkUp {
        /// Which.
        peer: Ordinal,
    },
    /// The connection to this member is gone, and with it all answers that were to come over it.
    LinkDown {
        /// Which.
        peer: Ordinal,
    },
    /// The failure detector believes this member to be up.
    Alive {
        /// Which.
        peer: Ordinal,
    },
    /// The failure detector believes this member to be down.
    Dead {
        /// Which.
        peer: Ordinal,
    },
    /// A document is durable: use its layout from now on (`EPOCH_FENCE`). Under a higher fence nothing
    /// is admitted before [`Event::Admit`].
    Layout {
        /// Who stores what.
        layout: Arc<Layout>,
        /// Partitions, of any shard, that changes up to this fence have made this node new to since
        /// the one that it has stored: to be emptied first.
        new: Arc<[Partition]>,
    },
    /// This node *has stored* the document of this fence, and its disk says so: requests under it may
    /// be admitted.
    Admit {
        /// The fence.
        fence: Fence,
    },
    /// Whether stamps may be given.
    Clock {
        /// The state of this node's wall clock among the members'.
        permit: Permit,
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
    /// The store of this node has answered an [`Effect::Scan`].
    Scanned {
        /// The effect's operation.
        operation: OperationId,
        /// What is stored durably behind the effect's place, in the order of (hash, key); nothing
        /// where the partition ends.
        page: Result<Vec<Entry>, ScanFailure>,
    },
    /// The store of this node has answered an [`Effect::Totals`].
    Totals {
        /// The effect's operation.
        operation: OperationId,
        /// The totals of the effect's partitions, in its order, as they were at one moment and durable;
        /// none for a partition that is not summed up.
        totals: Vec<Option<u128>>,
        /// That moment, where something is dirty for a member that the effect names: counts what the
        /// store was asked to mark. See [`Effect::Clean`].
        moment: Option<u64>,
    },
    /// The store of this node has answered an [`Effect::Digest`].
    Digest {
        /// The effect's operation.
        operation: OperationId,
        /// The sums, of what is durable; none where the partition is not summed up.
        digest: Option<Box<Digest>>,
    },
    /// The store of this node has found a record that fails its checksum, and says so durably no later
    /// than whatever is stored over it. Told once per start, and again at the start.
    Damaged {
        /// Where the key lies on the ring.
        hash: KeyHash,
        /// The key.
        key: Key,
    },
    /// The store of this node has answered an [`Effect::Heal`].
    Healed {
        /// The effect's operation.
        operation: OperationId,
        /// Whether the key is whole again, durably.
        answer: Result<(), Failure>,
    },
    /// The store of this node has answered an [`Effect::SetMarks`].
    MarksSet {
        /// The effect's operation.
        operation: OperationId,
        /// Whether they are durable.
        answer: Result<(), Failure>,
    },
    /// An operator takes what is left of a damaged key, or of all in a partition where none is given.
    AcceptLoss {
        /// Where on the ring.
        partition: Partition,
        /// Of which key.
        key: Option<(KeyHash, Key)>,
    },
    /// The store of this node has answered an [`Effect::Forget`] or an [`Effect::Drop`].
    Forgotten {
        /// The effect's operation.
        operation: OperationId,
        /// Whether the record is gone, durably.
        answer: Result<(), Failure>,
    },
    /// The store of this node has answered an [`Effect::ReadHints`].
    Hints {
        /// For whom.
        target: Ordinal,
        /// Durable hints in the order of (hash, key); none where there are no more.
        hints: Result<Vec<Hint>, Failure>,
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
    /// The node is about to stop: what answered writes lack is to be kept as hints now.
    Stop,
}

impl Event {
    /// Whether a client may wait for what it asks.
    pub(crate) fn is_foreground(&self) -> bool {
        match self {
            Self::Put { .. } | Self::Get { .. } | Self::Delete { .. } => true,
            Self::Asked { request, .. } => match &request.command {
                Command::Store { purpose, .. } => *purpose != Purpose::Hint,
                Command::Read { .. } => true,
                Command::Pull { .. } | Command::Compare(_) => false,
            },
            _ => false,
        }
    }
}

/// A durable record with its place.
pub type Entry = (KeyHash, Key, Record);

/// Why a page of the store has no records. Never to be taken for the end of the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanFailure {
    /// What is wrong.
    pub failure: Failure,
    /// The one record that cannot be read, where it is no more than that: the scan can go on behind it
    /// (`NO_SILENT_ROT`).
    pub at: Option<(KeyHash, Key)>,
}

/// A write kept for a replica that could not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Where the key lies on the ring.
    pub hash: KeyHash,
    /// The key.
    pub key: Key,
    /// The newest record that the replica lacks.
    pub record: Record,
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
    /// Ask a replica; answered by [`Event::Answered`], or lost.
    Send {
        /// Whom.
        to: Ordinal,
        /// Goes back in the answer.
        operation: OperationId,
        /// What to ask for.
        request: ReplicaRequest,
    },
    /// Answer a coordinator.
    Answer {
        /// Which request.
        token: PeerToken,
        /// What to say.
        reply: ReplicaReply,
    },
    /// Merge a record into the store of this node; answered by [`Event::Stored`], always and once.
    Store {
        /// Goes back in the answer. These ids are numbered apart from those of [`Effect::Send`] and
        /// [`Effect::Read`]: equal ones are not the same.
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
    /// Read a page of a partition from the store of this node; answered by [`Event::Scanned`].
    Scan {
        /// Goes back in the answer.
        operation: OperationId,
        /// Which partition.
        partition: Partition,
        /// How much of it.
        part: Part,
        /// Only what lies behind this place, in the order of (hash, key).
        after: Option<(KeyHash, Key)>,
        /// At most so many records.
        limit: usize,
        /// No more after the one that makes it so many bytes.
        bytes: usize,
    },
    /// Tell the totals of these partitions; answered by [`Event::Totals`] at once or soon.
    Totals {
        /// Goes back in the answer.
        operation: OperationId,
        /// Of this shard.
        partitions: Arc<[Partition]>,
        /// Who is compared, this node and a peer: [`Clean`](Effect::Clean) may follow for both.
        members: [Ordinal; 2],
    },
    /// Tell the sums of a partition; answered by [`Event::Digest`] at once or soon.
    Digest {
        /// Goes back in the answer.
        operation: OperationId,
        /// Of this shard.
        partition: Partition,
    },
    /// Every other replica was asked, and this is the largest of what they hold: merge it into what the
    /// store of this node can still read of the key, and call the key whole; answered by
    /// [`Event::Healed`].
    Heal {
        /// Goes back in the answer. Numbered with those of [`Effect::Store`].
        operation: OperationId,
        /// Where the key lies on the ring.
        hash: KeyHash,
        /// The key.
        key: Key,
        /// What the others hold; nothing where they hold none.
        record: Option<Record>,
    },
    /// Make the marks of a partition durable, whatever the durability of writes; answered by
    /// [`Event::MarksSet`]. What was queued earlier is durable then, or has failed.
    SetMarks {
        /// Goes back in the answer. Numbered with those of [`Effect::Store`].
        operation: OperationId,
        /// Of this shard.
        partition: Partition,
        /// Its marks from now on.
        marks: Marks,
    },
    /// The target agreed on the whole partition with what this node held at a moment: it lacks nothing
    /// that was marked dirty until then.
    Clean {
        /// For whom it was marked.
        target: Ordinal,
        /// Which partition.
        partition: Partition,
        /// Of [`Event::Totals`].
        moment: u64,
    },
    /// Remove the record of a key from the store of this node as if it had never been stored; answered
    /// by [`Event::Forgotten`]. Only where this node does not store the partition, or is about to be
    /// new to it.
    Forget {
        /// Goes back in the answer. Numbered with those of [`Effect::Store`].
        operation: OperationId,
        /// Where the key lies on the ring.
        hash: KeyHash,
        /// The key.
        key: Key,
    },
    /// Remove the record of a key from the store of this node where that has this version: nothing where
    /// a newer one is stored or queued; answered by [`Event::Forgotten`]. The floor has let go of it.
    Drop {
        /// Goes back in the answer. Numbered with those of [`Effect::Store`].
        operation: OperationId,
        /// Where the key lies on the ring.
        hash: KeyHash,
        /// The key.
        key: Key,
        /// Of the record that was seen.
        version: Version,
    },
    /// Keep a hint durably, unless a newer one of the key is kept for the same target. The target may be
    /// this node itself, where its own store had refused.
    KeepHint {
        /// For whom.
        target: Ordinal,
        /// What it lacks.
        hint: Hint,
    },
    /// Read hints; answered by [`Event::Hints`].
    ReadHints {
        /// For whom.
        target: Ordinal,
        /// Only those behind this place, in the order of (hash, key).
        after: Option<(KeyHash, Key)>,
        /// At most so many.
        limit: usize,
        /// No more after the one that makes it so many bytes.
        bytes: usize,
    },
    /// The target has this version or a newer one durably: remove its hint, unless that is newer still.
    DropHint {
        /// For whom.
        target: Ordinal,
        /// Where the key lies on the ring.
        hash: KeyHash,
        /// The key.
        key: Key,
        /// What the target has.
        version: Version,
    },
    /// Make a new ceiling of the clock durable; answered by [`Event::CeilingRaised`].
    RaiseCeiling {
        /// The ceiling that is wanted.
        ceiling: Hlc,
    },
    /// A replica knows a later document: take it over.
    Learn {
        /// The later document.
        document: Arc<Document>,
    },
    /// A member knows an earlier layout only: tell it the document. Comes again while it does not.
    Teach {
        /// Which member.
        peer: Ordinal,
    },
    /// This node knows an earlier layout only: ask the member for the document.
    AskDocument {
        /// Which member.
        peer: Ordinal,
    },
    /// Every store and deletion that was admitted under an earlier layout has ended, and what this
    /// node is new to is empty, durably.
    Settled {
        /// The layout in use since.
        fence: Fence,
        /// What is to be taken over under it.
        progress: Progress,
    },
    /// More was taken over.
    Progress {
        /// Under which layout.
        fence: Fence,
        /// How much altogether.
        progress: Progress,
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
