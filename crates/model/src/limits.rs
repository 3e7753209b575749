//! Named limits of the data model. What is configurable names its default in the configuration; what
//! stands here is the same on every node, because peers rely on it.

use core::time::Duration;

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 4096;

/// The longest value that any node can be configured to take. Between nodes this alone counts, so that
/// what one node took from a client, each replica takes from it.
pub const MAX_VALUE_BYTES: usize = 8 * 1024 * 1024;

/// Longest message of a failure detector, in bytes. It is meant to fit into a datagram.
pub const MAX_SWIM_BYTES: usize = 64 * 1024;

/// Longest name of a namespace, in bytes.
pub const MAX_NAMESPACE_BYTES: usize = 64;

/// Longest node id, in bytes: an X.509 common name holds no more.
pub const MAX_NODE_ID_BYTES: usize = 64;

/// The longest request deadline. A longer timeout is cut to it, on every node alike: how long a write
/// may still be under way bounds how soon a mark may pass it (`FLOOR_SAFE`).
pub const MAX_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest `request_id`, in bytes.
pub const MAX_REQUEST_ID_BYTES: usize = 64;

/// Longest time to live of a record: a hundred years of milliseconds, so that no sum overflows.
pub const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Longest address of a node's peer port, in bytes: a host name has at most 253.
pub const MAX_ADDRESS_BYTES: usize = 512;

/// Most members of a cluster.
pub const MAX_MEMBERS: usize = 1024;

/// Most members of a council.
pub const MAX_COUNCIL: usize = 7;

/// Most copies of a key.
pub const MAX_REPLICATION_FACTOR: u8 = 7;

/// The most partitions, as a power of two.
pub const MAX_SHIFT: u8 = 24;

/// Most operations of a document that have not ended, whether they wait or run.
pub const MAX_OPEN_OPERATIONS: usize = 64;

/// Most operations of a document that have ended, the latest ones: enough that no retry outlives its
/// name.
pub const MAX_ENDED_OPERATIONS: usize = 64;

/// Most operations of a document.
pub const MAX_DOCUMENT_OPERATIONS: usize = MAX_OPEN_OPERATIONS + MAX_ENDED_OPERATIONS;

/// Most ended changes of the layout that a document keeps for members that have missed them.
pub const MAX_PAST_CHANGES: usize = 32;

/// Most different members that a document can name in all its layouts: those of the oldest, and those
/// that every change since then, the one under way included, can have brought.
pub const MAX_DOCUMENT_MEMBERS: usize =
    MAX_MEMBERS + (MAX_PAST_CHANGES + 1) * MAX_DOCUMENT_OPERATIONS;

/// Most records, or keys with their versions, on a page of a partition that a replica pulls.
pub const MAX_PAGE_RECORDS: usize = 512;

/// Most bytes of keys and values on such a page. It ends before the record that would pass this; only a
/// record that is longer by itself has a page to itself, so that every page fits into a frame.
pub const MAX_PAGE_BYTES: usize = 256 * 1024;

/// Most folds of sums in one answer.
pub const MAX_FOLDS: u16 = 1024;

/// Most partitions in one answer of marks.
pub const MAX_MARKS: usize = 1024;
