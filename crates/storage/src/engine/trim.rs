//! The free end of a shard's file, given back to the disk.
//!
//! redb lets go of free pages at the end of its file only within a durable commit, and there only of half
//! of them, where they are half of the file. Removals are the last that a shard hears of its records, so
//! the commits that would do it may never come. A trim is such a commit.
//!
//! An empty one seldom helps twice: redb takes the smallest free place for a page, the end of a file is made
//! of small ones, and so what each commit writes keeps the end from being free. So a trim also writes a few
//! pages of ballast, each time another number of them, until the pages that count happen to lie elsewhere.
//!
//! Never while the shard is being written, whose own commits do the same, and never for ever: after a
//! removal some trims are due, and further ones only as long as they help.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use redb::{Durability, ReadableTable, TableDefinition, WriteTransaction};

use super::{APPLIED, Engine, EngineError, META};

/// What it holds means nothing, and it is gone after the last trim that is due. One that was left by a
/// process that died goes with the next trims.
const BALLAST: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("ballast");

/// A row of ballast has a page of its own.
const BALLAST_BYTES: [u8; 3000] = [0; 3000];

/// A trim writes fewer rows of ballast than this.
const BALLAST_ROWS: u64 = 16;

/// How many trims in a row may help nothing before the next removal. Six emptied files of 4 to 8 MiB were at
/// most 1.7 MiB in the end, with at most 54 vain trims before one that helped.
const VAIN_TRIMS: u32 = 64;

/// A file of so little is let be. An empty one has 1 MiB.
const SMALL_FILE: u64 = 3 << 19;

/// Which trims are due.
#[derive(Debug, Default)]
pub(super) struct Trims {
    due: AtomicU32,
    /// How many there were.
    done: AtomicU64,
    /// Whether anything was applied since the checkpointer last asked.
    written: AtomicBool,
}

impl Trims {
    /// Something was applied.
    pub(super) fn note_write(&self) {
        self.written.store(true, Ordering::Relaxed);
    }

    fn arm(&self) {
        self.due.store(VAIN_TRIMS, Ordering::Relaxed);
    }

    /// Takes one; whether it was the last.
    fn spend(&self) -> bool {
        let less = |due: u32| due.checked_sub(1);
        self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or(0) <= 1
    }
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

    /// Gives a part of the free pages at the end of the file back to the disk. Makes durable what is
    /// applied, as a slice does, and says no more of the log.
    pub(crate) fn trim(&self) -> Result<(), EngineError> {
        self.space.settle().map_err(|error| self.space_error(&error))?;
        let before = self.space.size();
        if before <= SMALL_FILE {
            self.trims.due.store(1, Ordering::Relaxed);
        }
        // First: what is removed meanwhile makes all of them due again.
        let is_last = self.trims.spend();
        let number = self.trims.done.fetch_add(1, Ordering::Relaxed);
        self.guarded(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            shuffle(&transaction, scrambled(number), is_last)?;
            Ok(transaction.commit()?)
        })?;
        if !is_last && self.space.size() < before {
            self.trims.arm();
        }
        Ok(())
    }
}

/// Writes pages that count for nothing, and others anew that mean what they did before.
fn shuffle(transaction: &WriteTransaction, random: u64, is_last: bool) -> Result<(), redb::Error> {
    let mut ballast = transaction.open_table(BALLAST)?;
    for row in 0..random % BALLAST_ROWS {
        ballast.insert(row, BALLAST_BYTES.as_slice())?;
    }
    drop(ballast);
    if is_last || (random >> 8).is_multiple_of(3) {
        transaction.delete_table(BALLAST)?;
    }
    if !(random >> 16).is_multiple_of(4) {
        // Nothing else moves the page of it.
        let mut meta = transaction.open_table(META)?;
        let applied = meta.get(APPLIED)?.map_or(0, |applied| applied.value());
        meta.insert(APPLIED, applied)?;
    }
    Ok(())
}

/// Bits that look random, the same ones for the same number (splitmix64).
fn scrambled(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use paravon_model::Ordinal;

    use super::*;
    use crate::conformance::{key, record};
    use crate::crash_disk::CrashDisk;
    use crate::engine::filled::{fill, founded, rows};
    use crate::hint::HintSlot;
    use crate::position::Position;

    /// Trims until no more is due; how often.
    fn trim_all(engine: &Engine) -> u32 {
        let mut trims = 0;
        while engine.wants_trim() {
            engine.trim().unwrap();
            trims += 1;
            assert!(trims < 1000, "no end");
        }
        trims
    }

    #[test]
    fn a_file_of_which_all_was_removed_becomes_as_small_as_an_empty_one() {
        let disk = CrashDisk::new();
        let engine = founded(&disk);
        let empty = disk.allocated();
        assert!(!engine.wants_trim());
        fill(&engine, 0..20_000, &Some(record(1, Some(1))));
        assert!(!engine.wants_trim(), "nothing was removed");
        let full = disk.allocated();
        assert!(full > 3 * empty);
        fill(&engine, 0..20_000, &None);
        trim_all(&engine);
        let left = disk.allocated();
        assert!(2 * left <= 3 * empty, "{left} of {full}, {empty} when it was empty");
        fill(&engine, 0..10, &Some(record(2, Some(2))));
        fill(&engine, 10..20, &None);
        assert!(!engine.wants_trim(), "nothing was there to be removed");
        drop(engine);
        let (engine, _) = Engine::open(&disk, "shard", 1 << 20).unwrap();
        assert_eq!(rows(&engine), 10);
    }

    #[test]
    fn what_helps_nothing_is_not_done_for_ever() {
        let disk = CrashDisk::new();
        let engine = founded(&disk);
        fill(&engine, 0..20_000, &Some(record(1, Some(1))));
        fill(&engine, 0..1, &None);
        assert_eq!(trim_all(&engine), VAIN_TRIMS);
        assert_eq!(rows(&engine), 19_999);
    }

    #[test]
    fn an_engine_rests_when_nothing_was_applied_between_two_questions() {
        let engine = founded(&CrashDisk::new());
        assert!(engine.rests());
        fill(&engine, 0..1, &None);
        assert!(!engine.rests());
        assert!(engine.rests());
        engine.apply_hints(std::iter::empty(), None, Durability::None).unwrap();
        assert!(!engine.rests());
    }

    #[test]
    fn a_hint_that_goes_makes_a_trim_due_and_one_that_comes_does_not() {
        let engine = founded(&CrashDisk::new());
        fill(&engine, 0..20_000, &Some(record(1, Some(1))));
        let (hash, key) = key(1);
        let slot = HintSlot::new(Ordinal(3), hash, &key);
        let apply = |state| {
            let slots = [(&slot, &state)].into_iter();
            engine.apply_hints(slots, None, Durability::None).unwrap();
            engine.wants_trim()
        };
        assert!(!apply(None));
        assert!(!apply(Some(record(1, Some(1)))));
        assert!(apply(None));
    }

    #[test]
    fn a_file_that_a_killed_process_left_mostly_free_is_trimmed_at_the_next_start() {
        let disk = CrashDisk::new();
        let engine = founded(&disk);
        let empty = disk.allocated();
        fill(&engine, 0..20_000, &Some(record(1, Some(1))));
        fill(&engine, 0..20_000, &None);
        engine.checkpoint(Position(1)).unwrap();
        let disk = CrashDisk::from_image(disk.image());
        let (engine, _) = Engine::open(&disk, "shard", 1 << 20).unwrap();
        assert!(disk.allocated() > 3 * empty);
        trim_all(&engine);
        assert!(2 * disk.allocated() <= 3 * empty);
    }
}
