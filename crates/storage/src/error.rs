//! Why storage could not be opened or closed.
//!
//! Errors of single reads and writes are small and stand in `store.rs`; these here carry paths and
//! sources and are for the operator.

use std::io;
use std::path::PathBuf;

/// Why the data directory could not be opened, founded or closed in order.
///
/// None of them loses anything: unless a variant says otherwise, the files are as they were found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it open. Mended by the operator.
    #[error(
        "{} is in use by {}; stop that process, or give this node its own storage.data_dir",
        path.display(),
        pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// Who has it open, where the lock file says so.
        pid: Option<u32>,
    },
    /// The directory or a file in it may not be written. Mended by the operator.
    #[error("{} cannot be written; check its owner and mode, and that it is not mounted read-only: {source}", path.display())]
    NotWritable {
        /// What could not be written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The disk is full. What was founded or recovered so far is removed or redone at the next try.
    #[error("no space is left for {}; free some and start again", path.display())]
    Full {
        /// What needed space.
        path: PathBuf,
    },
    /// A later version wrote it. Mended by starting that version.
    #[error("{} has format {found}, this version knows {known}; start the version that wrote it, or a later one", path.display())]
    NewerFormat {
        /// The file that says so.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// A file that must be there is not. Mended from a copy, or by replacing the node.
    #[error("{} is missing, so acknowledged writes may be lost; put it back, or empty the data directory and replace the node", path.display())]
    Missing {
        /// The missing file.
        path: PathBuf,
    },
    /// A small file fails its checksum. Mended from a copy, or by replacing the node.
    #[error("{} is damaged; restore the data directory from a copy of the stopped node, or empty it and replace the node", path.display())]
    Damaged {
        /// The damaged file.
        path: PathBuf,
    },
    /// A file of marks is damaged, gone, or older than the log that is left. What is in it was promised to
    /// other nodes, so the node cannot serve without it. Mended by replacing the node.
    #[error("{} is damaged, missing or an older copy, and with it what this node has promised the others; empty the data directory and bring the node back with `paractl admin replace`", path.display())]
    LostMarks {
        /// The file.
        path: PathBuf,
    },
    /// The durable part of the log is damaged. Nothing was changed.
    #[error(
        "the log is damaged at {} offset {offset}, and what follows says that this place had been durable, \
         so acknowledged writes are lost; check the disk, then restore the data directory from a copy \
         of the stopped node, or empty it and replace the node", path.display()
    )]
    DamagedLog {
        /// The segment.
        path: PathBuf,
        /// Where the first bad batch begins.
        offset: u64,
    },
    /// A batch is whole but holds an entry of a kind or in a format that this version does not know.
    #[error(
        "{} offset {offset} holds an entry of kind {tag} that this version cannot read; \
         start the newer version that wrote it", path.display()
    )]
    NewerEntry {
        /// The segment.
        path: PathBuf,
        /// Where the batch begins.
        offset: u64,
        /// The tag of the entry.
        tag: u8,
    },
    /// A shard's redb file cannot be used, or is older than the last checkpoint of it. The other shards are
    /// not affected. A start quarantines such a file and goes on; it is told of only where redb fails on a
    /// file that was founded just now, or on one that could be opened and counted.
    #[error("{} is damaged or an older copy; restore the whole data directory from a copy of the stopped node, or empty it and replace the node{}", path.display(), source.as_ref().map_or_else(String::new, |e| format!(": {e}")))]
    DamagedShard {
        /// The file.
        path: PathBuf,
        /// What redb says; none where it panicked or noticed nothing.
        source: Option<Box<redb::Error>>,
    },
    /// The operating system failed.
    #[error("{} could not be {operation}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, as a past participle.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A storage thread could not be started, or did not end in time. What is durable stays so.
    #[error("the storage thread {name} {problem}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What happened.
        problem: &'static str,
    },
}
