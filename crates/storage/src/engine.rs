//! The redb file of one shard: what it holds, how it is read, applied to and made durable.
//!
//! redb panics on some damaged pages. Every call into it is guarded here: a panic breaks the engine,
//! which then refuses everything, and never reaches a caller. Records are believed only under their
//! own checksum.

#[cfg(test)]
mod filled;
mod hints;
mod trim;

use std::ops::{Bound, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use paravon_model::{Key, Record};
use paravon_ring::KeyHash;
use redb::{Builder, Database, Durability, ReadOnlyTable, ReadableDatabase, TableDefinition};

use crate::backend::{FileBackend, Space};
use crate::codec::{self, BadRecord};
use crate::disk::{Disk, is_full};
use crate::error::Error;
use crate::position::Position;
use crate::record_stage::{RecordState, Slot};
use crate::store::ReadError;
use trim::Trims;

pub(crate) use hints::{HintRow, HintView};

pub(crate) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const FORMAT: &str = "format";
const APPLIED: &str = "applied";
/// Of the tables, not of the records in them.
const KNOWN_FORMAT: u64 = 1;

/// Why redb did not take records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineError {
    /// The file lacks space. Nothing was touched; reads go on; try again later.
    Full,
    /// redb failed, and refuses everything until the node is restarted.
    Broken,
}

/// The open file. Shared by the owner (reads), the applier and the checkpointer.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Always there; taken out only to be dropped under guard. Nobody ever waits to have it alone, so who
    /// shares it waits for a compaction and nothing else.
    database: RwLock<Option<Database>>,
    space: Arc<Space>,
    broken: AtomicBool,
    trims: Trims,
}

impl Engine {
    /// Creates the file of an empty shard, durable but for its name. Not safe to cut short: only for
    /// a directory that is founded aside.
    pub(crate) fn found(disk: &dyn Disk, name: &str) -> Result<(), Error> {
        let file = disk.create(name).map_err(|e| io_error(disk, name, "created", e))?;
        let (backend, _) = FileBackend::new(file).map_err(|e| io_error(disk, name, "opened", e))?;
        let create = || -> Result<(), redb::Error> {
            let database = Builder::new().set_cache_size(1 << 20).create_with_backend(backend)?;
            let transaction = database.begin_write()?;
            transaction.open_table(RECORDS)?;
            let mut meta = transaction.open_table(META)?;
            meta.insert(FORMAT, KNOWN_FORMAT)?;
            meta.insert(APPLIED, 0)?;
            drop(meta);
            transaction.commit()?;
            database.close()?;
            Ok(())
        };
        create().map_err(|error| match error {
            redb::Error::Io(source) => io_error(disk, name, "founded", source),
            other => damaged(disk, name, Some(other)),
        })
    }

    /// Opens the file and checks all of it.
    pub(crate) fn open(
        disk: &dyn Disk,
        name: &str,
        cache_bytes: usize,
    ) -> Result<(Self, Position), Error> {
        let file = match disk.open(name) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Missing { path: disk.path(name) });
            }
            Err(error) => return Err(io_error(disk, name, "opened", error)),
        };
        if file.size().map_err(|e| io_error(disk, name, "measured", e))? == 0 {
            // redb would take an empty file for a new one.
            return Err(damaged(disk, name, None));
        }
        let (backend, space) =
            FileBackend::new(file).map_err(|e| io_error(disk, name, "opened", e))?;
        let open = || -> Result<(Database, u64, u64), redb::Error> {
            let database = Builder::new()
                .set_cache_size(cache_bytes)
                .set_check_integrity_on_open(true)
                .create_with_backend(backend)?;
            let transaction = database.begin_read()?;
            transaction.open_table(RECORDS)?;
            let meta = transaction.open_table(META)?;
            let read = |key| Ok::<_, redb::Error>(meta.get(key)?.map_or(0, |v| v.value()));
            let (format, applied) = (read(FORMAT)?, read(APPLIED)?);
            drop(meta);
            drop(transaction);
            Ok((database, format, applied))
        };
        let opened = catch_unwind(AssertUnwindSafe(open));
        if let Some(source) = space.take_failure() {
            // Whatever redb made of it and whatever is in the file: a disk that fails for once must not
            // cost it.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(opened)));
            return Err(io_error(disk, name, "opened", source));
        }
        let (database, format, applied) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Err(damaged(disk, name, Some(error))),
            Err(_panic) => return Err(damaged(disk, name, None)),
        };
        if format != KNOWN_FORMAT {
            let found = u32::try_from(format).unwrap_or(u32::MAX);
            return Err(Error::NewerFormat { path: disk.path(name), found, known: 1 });
        }
        let (broken, trims) = (AtomicBool::new(false), Trims::default());
        let database = RwLock::new(Some(database));
        let engine = Self { database, space, broken, trims };
        engine.arm_if_mostly_free();
        Ok((engine, Position(applied)))
    }

    /// Whether redb failed, in whatever call.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// The first call that the disk has failed since the last question, if any: then nothing is known to
    /// be wrong with what is in the file.
    pub(crate) fn take_failure(&self) -> Option<std::io::Error> {
        self.space.take_failure()
    }

    /// A view of everything applied so far. Keep it for a batch of reads, not longer: it pins pages.
    pub(crate) fn view(&self) -> Result<View, ReadError> {
        let table = self.guarded(|database| Ok(database.begin_read()?.open_table(RECORDS)?));
        table.map(|table| View { table: Some(table) }).map_err(|_| ReadError::Unavailable)
    }

    /// The record of `key` in `view`.
    pub(crate) fn read(
        &self,
        view: &View,
        hash: KeyHash,
        key: &Key,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<Record>, ReadError> {
        scratch.clear();
        codec::encode_key(scratch, hash, key);
        let table = view.table.as_ref().ok_or(ReadError::Unavailable)?;
        let found = self.caught(|| {
            let value = table.get(scratch.as_slice())?;
            Ok(value.map(|bytes| codec::decode_record(hash, key, bytes.value())))
        });
        match found {
            Ok(None) => Ok(None),
            Ok(Some(Ok(record))) => Ok(Some(record)),
            Ok(Some(Err(BadRecord::Damaged))) => Err(ReadError::Damaged),
            // Nothing is wrong with it, so nothing may be stored over it.
            Ok(Some(Err(BadRecord::Newer))) | Err(_) => Err(ReadError::Unavailable),
        }
    }

    /// Hands `visit` the rows of `view` from a place on, until it breaks: the bytes of the storage key
    /// and those of the record, whole or not. One pass, so a row whose place has rotten is met where it
    /// lies.
    pub(crate) fn visit_records(
        &self,
        view: &View,
        from: Bound<&[u8]>,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let table = view.table.as_ref().ok_or(ReadError::Unavailable)?;
        let visited = self.caught(|| {
            for row in table.range::<&[u8]>((from, Bound::Unbounded))? {
                let (place, stored) = row?;
                if visit(place.value(), stored.value()).is_break() {
                    break;
                }
            }
            Ok(())
        });
        visited.map_err(|_| ReadError::Unavailable)
    }

    /// Stores and removes a slice of records, in order of their slots. Visible to new views, durable if
    /// asked.
    pub(crate) fn apply<'a>(
        &self,
        records: impl Iterator<Item = (&'a Slot, &'a RecordState)>,
        durability: Durability,
    ) -> Result<(), EngineError> {
        self.space.settle().map_err(|error| self.space_error(&error))?;
        self.trims.note_write();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let mut removed = false;
        self.guarded(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(durability)?;
            let mut table = transaction.open_table(RECORDS)?;
            for (slot, state) in records {
                key.clear();
                codec::encode_key(&mut key, slot.hash, &slot.key);
                if let Some(record) = state {
                    value.clear();
                    codec::encode_record(&mut value, slot.hash, &slot.key, record);
                    table.insert(key.as_slice(), value.as_slice())?;
                } else {
                    removed |= table.remove(key.as_slice())?.is_some();
                }
            }
            drop(table);
            Ok(transaction.commit()?)
        })?;
        if removed {
            self.note_removals();
        }
        Ok(())
    }

    /// Makes everything applied so far durable, and with it that it holds the log before `applied`.
    pub(crate) fn checkpoint(&self, applied: Position) -> Result<(), EngineError> {
        self.space.settle().map_err(|error| self.space_error(&error))?;
        self.guarded(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            // Commits in two phases, with a second sync: the header that a crash falls back on is then
            // never older than this. A checkpoint lets go of the log, so nothing may roll back past it.
            // It also lets redb open the file without a repair.
            transaction.set_quick_repair(true);
            transaction.open_table(META)?.insert(APPLIED, applied.0)?;
            Ok(transaction.commit()?)
        })
    }

    fn space_error(&self, error: &std::io::Error) -> EngineError {
        if is_full(error) {
            return EngineError::Full;
        }
        self.broken.store(true, Ordering::Release);
        EngineError::Broken
    }

    /// Calls redb. Its first error or panic breaks the engine: what it left is not known.
    fn guarded<T>(
        &self,
        call: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, EngineError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(EngineError::Broken)?;
        self.caught(|| call(database))
    }

    /// As [`guarded`](Self::guarded), for what goes on in a view or has the database already.
    fn caught<T>(&self, call: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, EngineError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(EngineError::Broken);
        }
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) | Err(_) => {
                self.broken.store(true, Ordering::Release);
                Err(EngineError::Broken)
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let database = self.database.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // Closing writes; a database that panicked once may do so again.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

/// A consistent view of a shard's file.
pub(crate) struct View {
    /// Always there; taken out only to be dropped under guard.
    table: Option<ReadOnlyTable<&'static [u8], &'static [u8]>>,
}

impl Drop for View {
    fn drop(&mut self) {
        let table = self.table.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(table)));
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("View")
    }
}

fn io_error(disk: &dyn Disk, name: &str, operation: &'static str, source: std::io::Error) -> Error {
    let path = disk.path(name);
    if is_full(&source) { Error::Full { path } } else { Error::Io { path, operation, source } }
}

fn damaged(disk: &dyn Disk, name: &str, source: Option<redb::Error>) -> Error {
    Error::DamagedShard { path: disk.path(name), source: source.map(Box::new) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{key, record};
    use crate::crash_disk::CrashDisk;

    impl Engine {
        /// Puts rows there as they are, whole or not.
        pub(crate) fn put_records(&self, rows: &[(Vec<u8>, Vec<u8>)]) {
            let put = self.guarded(|database| {
                let transaction = database.begin_write()?;
                let mut records = transaction.open_table(RECORDS)?;
                for (place, stored) in rows {
                    records.insert(place.as_slice(), stored.as_slice())?;
                }
                drop(records);
                Ok(transaction.commit()?)
            });
            put.unwrap();
        }
    }

    #[test]
    fn a_record_of_a_later_format_is_neither_damaged_nor_absent() {
        let disk = CrashDisk::new();
        Engine::found(&disk, "shard").unwrap();
        let (engine, _) = Engine::open(&disk, "shard", 1 << 20).unwrap();
        let (hash, key) = key(1);
        let (mut stored, mut value) = (Vec::new(), Vec::new());
        codec::encode_key(&mut stored, hash, &key);
        codec::encode_later_record(&mut value, hash, &key, &record(1, Some(1)));
        engine.put_records(&[(stored, value)]);
        let view = engine.view().unwrap();
        let found = engine.read(&view, hash, &key, &mut Vec::new());
        assert_eq!(found, Err(ReadError::Unavailable));
    }
}
