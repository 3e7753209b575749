//! The few file operations that storage is built on, as a trait, so that a simulator can lose them.
//!
//! What a caller must never assume: that a write is on the disk before `sync_data` of its file, or a
//! name before `sync_dir` of its directory. After a failed sync nothing is known about either.

use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A directory tree that belongs to this process alone.
///
/// Names are relative to its root, with `/` between directories; the root is the empty name.
pub trait Disk: Debug + Send + Sync {
    /// The full path of `name`, for messages.
    fn path(&self, name: &str) -> PathBuf;

    /// Creates an empty file, open for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one, or the operating system's.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, or the operating system's.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a directory.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one, or the operating system's.
    fn create_dir(&self, name: &str) -> io::Result<()>;

    /// Gives a file or directory another name, replacing a file of that name.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, or a directory with all that is in it.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names in a directory, sorted, without the directory's own.
    ///
    /// # Errors
    /// The operating system's.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The operating system's; then any of the changes since the last sync may be lost.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
}

/// An open file. Its methods take `&self`: reads and writes at disjoint places may run at once.
pub trait DiskFile: Debug + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` past the end, or the operating system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// The operating system's; any part of `data` may be written then.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file, or grows it with zeros that need not have space yet.
    ///
    /// # Errors
    /// The operating system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Gives every byte below `len` its space on the disk, growing the file with zeros to `len`.
    ///
    /// # Errors
    /// `StorageFull` where there is no space; the file may be partly grown.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes contents and length durable.
    ///
    /// # Errors
    /// The operating system's; then anything written since the last sync may be lost, and a second
    /// try that succeeds means nothing.
    fn sync_data(&self) -> io::Result<()>;
}

/// Whether `error` says that the disk is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
