//! The write-ahead log: the one place that an acknowledgement depends on.
//!
//! A log is a row of segments of one size, named by number. A segment is a row of batches, each
//! beginning on a block of its own, so that writing one never touches what an earlier sync made
//! durable. What stands behind the last batch means nothing: zeros, or batches of a segment's
//! earlier life, which carry another number.
//!
//! ```text
//! log/0000000000000007.log   | batch | batch | batch      | old batches of segment 3 ... |
//! log/0000000000000008.log   | batch | torn | zeros, or old batches of segment 4 ...      |
//! log/0000000000000009.log   | prepared ahead: no batch of its own yet                     |
//! ```
//!
//! **Invariants.** One thread at a time appends and syncs. A failed write or sync poisons the log for
//! good. A batch that had been durable is never cut off; one that was cut off never comes back.

pub(crate) mod batch;
pub(crate) mod entry;
pub(crate) mod mark_entry;
mod recovery;
pub(crate) mod segment;
mod writer;

pub(crate) use recovery::recover;
pub(crate) use writer::{AppendError, Log, Recyclable, Written, max_payload};
