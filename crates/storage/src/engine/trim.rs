//! What removals have left free in a shard's file, given back to the disk.
//!
//! redb lets go of free pages at the end of its file only within a durable commit, and there only of half
//! of them, where they are half of the file. Removals are the last that a shard hears of its records, so
//! the commits that would do it may never come. A trim is such a commit; or, where rows that stay are few,
//! redb's compaction, which moves them to the front and cuts off all the rest at once.
//!
//! Never while the shard is being written, whose own commits do the same, and never for ever: after a
//! removal some trims are due, and further ones only as long as they help. Never a compaction of much: it
//! has the file alone, so the event loop of the shard waits for it where it reads then.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use redb::{CompactionError, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::hints::{DIRTY, HINTS, made};
use super::{Engine, EngineError, RECORDS};

/// How many trims in a row may help nothing before the next removal. The first may only free what the
/// commits before it could not yet.
const VAIN_TRIMS: u32 = 2;

/// A file of so little is let be. An empty one has 1 MiB.
const SMALL_FILE: u64 = 3 << 19;

/// The most bytes of rows that are compacted: those of an applier's slice, so that nobody waits for much
/// longer than for one.
const COMPACT_BYTES: u64 = 1 << 20;

/// Rows are compacted if they are at most one part in so many of the file. It is never compacted again
/// before it has grown to that much anew.
const COMPACT_SHARE: u64 = 4;

/// Which trims are due.
#[derive(Debug, Default)]
pub(super) struct Trims {
    due: AtomicU32,
    /// Whether anything was applied since the checkpointer last asked.
    written: AtomicBool,
}

impl Trims {
    /// Something was applied.
    pub(super) fn note_write(&self) {
        self.written.store(true, Ordering::Relaxed);
    }

    fn arm(&self) {
        self.put_back(VAIN_TRIMS);
    }

    /// How many are due. None is then, until they are put back or more are made due.
    fn take(&self) -> u32 {
        self.due.swap(0, Ordering::Relaxed)
    }

    fn put_back(&self, due: u32) {
        self.due.fetch_max(due, Ordering::Relaxed);
    }
}

/// What became of a trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trimmed {
    Done,
    /// Somebody reads or writes. Nothing was touched.
    NotNow,
}

impl Engine {
    /// Rows were removed.
    pub(super) fn note_removals(&self) {
        if self.space.size() > SMALL_FILE {
            self.trims.arm();
        }
    }

    /// Makes trims due where an earlier run had no time for them: little of the file is used.
    pub(super) fn arm_if_mostly_free(&self) {
        if self.space.used() < self.space.size() / 2 {
            self.note_removals();
        }
    }

    /// Whether rows were removed and a trim may give back what they took.
    pub(crate) fn wants_trim(&self) -> bool {
        self.trims.due.load(Ordering::Relaxed) > 0
    }

    /// Whether nothing was applied since this was last asked.
    pub(crate) fn rests(&self) -> bool {
        !self.trims.written.swap(false, Ordering::Relaxed)
    }

    /// Gives free pages of the file back to the disk: all of them where it holds little, else a part of
    /// those at its end. Makes durable what is applied, as a slice does, and says no more of the log.
    pub(crate) fn trim(&self) -> Result<(), EngineError> {
        self.space.settle().map_err(|error| self.space_error(&error))?;
        // First: what is removed meanwhile makes all of them due again.
        let due = self.trims.take();
        let before = self.space.size();
        if before <= SMALL_FILE {
            return Ok(());
        }
        let trimmed = self.give_back(before);
        if matches!(trimmed, Ok(Trimmed::NotNow)) || self.space.size() < before {
            self.trims.arm();
        } else {
            self.trims.put_back(due.saturating_sub(1));
        }
        trimmed.map(drop)
    }

    fn give_back(&self, size: u64) -> Result<Trimmed, EngineError> {
        if self.holds_at_most(COMPACT_BYTES.min(size / COMPACT_SHARE))? {
            return self.compact();
        }
        self.commit_nothing()?;
        Ok(Trimmed::Done)
    }

    fn commit_nothing(&self) -> Result<(), EngineError> {
        self.guarded(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            Ok(transaction.commit()?)
        })
    }

    /// Whether all rows together have no more than `most` bytes. Reads no more than that.
    fn holds_at_most(&self, most: u64) -> Result<bool, EngineError> {
        self.guarded(|database| {
            let transaction = database.begin_read()?;
            let marks = made(&transaction, DIRTY)?.map_or(Ok(0), |dirty| dirty.len())?;
            let mut bytes = marks * size_of::<u64>() as u64;
            for definition in [RECORDS, HINTS] {
                let Some(table) = made(&transaction, definition)? else { continue };
                for row in table.iter()? {
                    if bytes > most {
                        return Ok(false);
                    }
                    let (place, stored) = row?;
                    bytes += (place.value().len() + stored.value().len()) as u64;
                }
            }
            Ok(bytes <= most)
        })
    }

    /// Moves all pages to the front of the file and cuts off what is behind them. redb does it in commits
    /// of their own, so a crash finds the state before or after one of them, which mean the same.
    fn compact(&self) -> Result<Trimmed, EngineError> {
        // Never waited for: those who come later would have to wait as well.
        let Ok(mut database) = self.database.try_write() else { return Ok(Trimmed::NotNow) };
        self.space.put_cuts_off();
        let compacted = database.as_mut().ok_or(EngineError::Broken).and_then(|database| {
            self.caught(|| match database.compact() {
                Ok(_) => Ok(Trimmed::Done),
                // A view.
                Err(CompactionError::TransactionInProgress) => Ok(Trimmed::NotNow),
                Err(error) => Err(error.into()),
            })
        });
        drop(database);
        self.space.catch_up_with_cuts().map_err(|error| self.space_error(&error))?;
        compacted
    }
}

#[cfg(test)]
#[path = "trim_tests.rs"]
mod tests;
