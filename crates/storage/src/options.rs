//! How storage is to be opened. Each field says how to choose it.

use std::path::PathBuf;
use std::time::Duration;

/// What to open, and with how much memory.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory. Created if it does not exist; belongs to this node alone.
    pub path: PathBuf,
    /// Shards to found with: about the number of cores. Ignored for a directory that exists, because
    /// the number is fixed for ever.
    pub shards: u16,
    /// The bytes that the node keeps in `node.state` when the directory is founded.
    pub document: Vec<u8>,
    /// redb's page cache for all shards together, in bytes. More makes reads of a large data set
    /// faster; the process takes about this much plus twice [`table_bytes`](Self::table_bytes).
    pub cache_bytes: usize,
    /// Bound of the tables of records that redb lacks, for all shards together, in bytes. More
    /// absorbs longer bursts; past it writers get `Overloaded`.
    pub table_bytes: usize,
    /// Bound of the hints kept for replicas that could not be reached, for all shards together, in
    /// bytes. More brings a replica that was away for longer up to date faster; what does not fit is
    /// repaired by comparing the data.
    pub hint_bytes: u64,
    /// Size of a log segment in bytes, for founding only: a multiple of 4096. A batch must fit, so
    /// it is twice the largest value at least.
    pub segment_bytes: u64,
    /// A checkpoint is due when this many bytes were logged since the last one. Less makes restarts
    /// faster and writes more.
    pub checkpoint_bytes: u64,
    /// When a write is acknowledged.
    pub durability: Durability,
}

impl Options {
    /// The defaults for a data directory at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            shards: 1,
            document: Vec::new(),
            cache_bytes: 256 << 20,
            table_bytes: 64 << 20,
            hint_bytes: 1 << 30,
            segment_bytes: 16 << 20,
            checkpoint_bytes: 64 << 20,
            durability: Durability::Sync,
        }
    }
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the log has been synced.
    Sync,
    /// When the log has been written; it is synced this often. A crash of the machine, not of the
    /// process, may lose that much. Ceilings, removals and what a barrier covers are synced all the same.
    Interval(Duration),
}
