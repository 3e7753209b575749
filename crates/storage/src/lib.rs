//! Durable storage: one write-ahead log per node, and behind it one redb file per shard.
//!
//! Row 2: blocking I/O, no tokio. A write is acknowledged by the log alone (`ACK_AFTER_STORE`); the
//! redb files follow in the background and are read together with the table of what they lack.
//!
//! ```text
//! event loop   merge ──> take_group ──> Journal::submit        complete ──> drain
//!                 (Store, one thread)         │                    ▲
//! log thread                    one write + one fdatasync ── Completion::Synced
//! applier                       frozen table ──> redb, not durable ── Completion::Applied
//! checkpointer                  redb durable ──> node.state ──> old segments recycled
//! ```
//! The removal of a key goes the same way as a merge, in its order. Hints for replicas that could not
//! be reached do too, in tables of their own (`HINT_NOT_LOST`), and so do marks of partitions and of
//! damaged keys, in a file of each shard beside redb: where redb's file is damaged as a whole it is set
//! aside and a new one founded, and every partition of the shard is marked as lost (`NO_SILENT_ROT`).
//! With interval durability acknowledgements come before the sync; [`Journal::barrier`] is for what must
//! not.
//!
//! **Architecture invariant:** a record is visible to [`Store::get`] only once the log holds it
//! durably; nothing is retried after a failed sync; no bytes from the disk are believed without a
//! checksum, and none make this crate panic. Threads live in `threads.rs` alone: everything else is
//! an object with steps over the [`Disk`](disk::Disk) trait, so that a simulator can drive it.

#![forbid(unsafe_code)]

mod applier;
mod backend;
mod checkpoint;
mod codec;
mod committer;
pub mod conformance;
pub mod crash_disk;
mod data_dir;
mod dirty_arcs;
pub mod disk;
mod disk_store;
mod engine;
mod error;
mod hint;
mod hint_ledger;
mod hint_table;
mod host_disk;
mod journal;
mod log;
mod marks;
mod marks_file;
mod memory_store;
#[cfg(feature = "mutants")]
pub mod mutants;
mod node_state;
mod options;
mod overlay;
mod own_partitions;
mod page;
mod position;
mod record_stage;
mod scrub;
mod small_file;
mod space;
mod steps;
mod storage;
mod store;
mod sums;
mod table;
mod threads;

pub use data_dir::is_founded;
pub use disk_store::DiskStore;
pub use error::Error;
pub use hint::{HintTotals, KeptHint};
pub use host_disk::HostDisk;
pub use journal::{Barrier, Journal};
pub use memory_store::MemoryStore;
pub use options::{Durability, Options};
pub use page::PageLimit;
pub use position::Position;
pub use steps::{Stepped, Steps};
pub use storage::{Closer, Documents, Recovered, Storage};
pub use store::{
    Answer, Completion, Completions, Done, Dropped, Group, Merged, ReadError, Refusal, ScanError,
    Scrubbed, Store, WriteError,
};
