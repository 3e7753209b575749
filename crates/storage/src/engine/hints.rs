//! Hints and dirty arcs in a shard's redb file.
//!
//! ```text
//! hints: slot of a hint -> hint, both as in codec.rs
//! dirty: target u32, arc u32, in one u64 -> nothing; an arc of all ones stands for all of the ring
//! ```
//! The tables are made by the first hint, so that a shard without one pays nothing. A hint is
//! believed only under its own checksum.

use std::ops::{Bound, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};

use paravon_model::{Ordinal, Record};
use redb::{
    Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, Table,
    TableDefinition, TableError,
};

use super::{Engine, EngineError};
use crate::codec::{self, BadRecord};
use crate::hint::{self, DirtyMark, HintSlot, Marked};
use crate::hint_ledger::{Change, Ledger};
use crate::hint_table::{HintStage, HintState};
use crate::store::ReadError;

pub(super) const HINTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("hints");
pub(super) const DIRTY: TableDefinition<'_, u64, ()> = TableDefinition::new("dirty");

/// A hint as it lies in the file.
#[derive(Debug)]
pub(crate) struct HintRow {
    /// The bytes of its slot, whole or not.
    pub(crate) place: Box<[u8]>,
    /// What it takes of the limit.
    pub(crate) cost: u64,
    /// What it says.
    pub(crate) hint: Result<Record, BadRecord>,
}

impl HintRow {
    /// The row of these bytes.
    pub(crate) fn new(place: &[u8], stored: &[u8]) -> Self {
        let slot = HintSlot::from_bytes(place).ok_or(BadRecord::Damaged);
        Self {
            place: place.into(),
            cost: hint::cost_of(place.len(), stored.len()),
            hint: slot.and_then(|slot| codec::decode_hint(&slot, stored)),
        }
    }
}

impl Engine {
    /// A view of the hints applied so far. Keep it for a batch of reads, not longer.
    pub(crate) fn hint_view(&self) -> Result<HintView, ReadError> {
        let table = self.guarded(|database| made(&database.begin_read()?, HINTS));
        table.map(|table| HintView { table }).map_err(|_| ReadError::Unavailable)
    }

    /// The hint of `slot` in `view`.
    pub(crate) fn read_hint(
        &self,
        view: &HintView,
        slot: &HintSlot,
    ) -> Result<Option<HintRow>, ReadError> {
        let Some(table) = &view.table else { return Ok(None) };
        let found = self.caught(|| {
            let stored = table.get(slot.as_bytes())?;
            Ok(stored.map(|stored| HintRow::new(slot.as_bytes(), stored.value())))
        });
        found.map_err(|_| ReadError::Unavailable)
    }

    /// Hands `visit` the rows of `view` behind `after`, else from the first of `target` on, until it
    /// breaks: the bytes of the slot and those of the hint. One pass, so a row whose slot has rotten is
    /// met where it lies and leads nowhere else.
    pub(crate) fn visit_hints(
        &self,
        view: &HintView,
        target: Ordinal,
        after: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let Some(table) = &view.table else { return Ok(()) };
        let prefix = hint::prefix(target);
        let from = after.map_or(Bound::Included(prefix.as_slice()), Bound::Excluded);
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

    /// Counts everything that the file holds, without judging whether it can be read.
    pub(crate) fn count_hints(&self, ledger: &mut Ledger) -> Result<(), EngineError> {
        self.guarded(|database| {
            let transaction = database.begin_read()?;
            if let Some(hints) = made(&transaction, HINTS)? {
                for row in hints.iter()? {
                    let (place, stored) = row?;
                    let cost = hint::cost_of(place.value().len(), stored.value().len());
                    if let Some((target, _)) = hint::place_of(place.value()) {
                        ledger.enter(target, Change { before: None, after: Some(cost) });
                    }
                }
            }
            if let Some(dirty) = made(&transaction, DIRTY)? {
                for row in dirty.iter()? {
                    ledger.restore(mark_of(row?.0.value()));
                }
            }
            Ok(())
        })
    }

    /// Stores a slice of slots, in order, and with the last slice the `rest` of its stage: marks, and
    /// the rotten rows to be removed. Gives whom those that went were counted for, with their bytes.
    /// As [`Engine::apply`].
    pub(crate) fn apply_hints<'a>(
        &self,
        slots: impl Iterator<Item = (&'a HintSlot, &'a HintState)>,
        rest: Option<&HintStage>,
        durability: Durability,
    ) -> Result<Vec<(Ordinal, u64)>, EngineError> {
        self.space.settle().map_err(|error| self.space_error(&error))?;
        self.trims.note_write();
        let (mut stored, mut are_fewer) = (Vec::new(), false);
        let removed = self.guarded(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(durability)?;
            let mut hints = transaction.open_table(HINTS)?;
            for (slot, state) in slots {
                if let Some(record) = state {
                    stored.clear();
                    codec::encode_hint(&mut stored, slot, record);
                    hints.insert(slot.as_bytes(), stored.as_slice())?;
                } else {
                    are_fewer |= hints.remove(slot.as_bytes())?.is_some();
                }
            }
            let removed = match rest {
                Some(stage) if !stage.rotten.is_empty() => remove_rotten(&mut hints, stage)?,
                _ => Vec::new(),
            };
            drop(hints);
            let cleaned = match rest {
                Some(stage) => apply_marks(&mut transaction.open_table(DIRTY)?, stage)?,
                None => 0,
            };
            are_fewer |= cleaned > 0 || !removed.is_empty();
            transaction.commit()?;
            Ok(removed)
        })?;
        if are_fewer {
            self.note_removals();
        }
        Ok(removed)
    }
}

/// Removes rows by the way that finds them: through all of the table, since no search by their bytes
/// may lead to them. Long, and as rare as rot.
fn remove_rotten(
    hints: &mut Table<'_, &'static [u8], &'static [u8]>,
    stage: &HintStage,
) -> Result<Vec<(Ordinal, u64)>, redb::Error> {
    let mut removed = Vec::new();
    hints.retain(|place, stored| {
        let Some(&target) = stage.rotten.get(place) else { return true };
        let row = HintRow::new(place, stored);
        let goes = row.hint == Err(BadRecord::Damaged);
        if goes {
            removed.push((target, row.cost));
        }
        !goes
    })?;
    Ok(removed)
}

/// Stores what became dirty and clean; how many rows that removed. All of the ring first: arcs beside it
/// came later.
fn apply_marks(dirty: &mut Table<'_, u64, ()>, stage: &HintStage) -> Result<u32, redb::Error> {
    let mut removed = 0;
    for (mark, marked) in stage.marks.iter().filter(|(mark, _)| mark.arc == DirtyMark::ALL) {
        let first = number_of(DirtyMark { arc: 0, ..*mark });
        dirty.retain_in(first..=number_of(*mark), |_, ()| {
            removed += 1;
            false
        })?;
        if *marked == Marked::Dirty {
            dirty.insert(number_of(*mark), ())?;
        }
    }
    for (mark, marked) in stage.marks.iter().filter(|(mark, _)| mark.arc != DirtyMark::ALL) {
        if *marked == Marked::Dirty {
            dirty.insert(number_of(*mark), ())?;
        } else if dirty.remove(number_of(*mark))?.is_some() {
            removed += 1;
        }
    }
    Ok(removed)
}

/// The table, if it has been made.
pub(super) fn made<K: redb::Key + 'static, V: redb::Value + 'static>(
    transaction: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<Option<ReadOnlyTable<K, V>>, redb::Error> {
    match transaction.open_table(definition) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn number_of(mark: DirtyMark) -> u64 {
    u64::from(mark.target.0) << 32 | u64::from(mark.arc)
}

fn mark_of(number: u64) -> DirtyMark {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("32 bits");
    DirtyMark { target: Ordinal(half(number >> 32)), arc: half(number) }
}

/// A consistent view of a shard's hints.
pub(crate) struct HintView {
    /// None where no hint was ever applied; taken out to be dropped under guard.
    table: Option<ReadOnlyTable<&'static [u8], &'static [u8]>>,
}

impl Drop for HintView {
    fn drop(&mut self) {
        let table = self.table.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(table)));
    }
}

impl std::fmt::Debug for HintView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HintView")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{key, record};
    use crate::crash_disk::CrashDisk;
    use crate::hint::HintTotals;

    const TARGET: Ordinal = Ordinal(3);

    impl Engine {
        /// Reads what the disk says, rotten or not.
        pub(crate) fn blind(&self) {
            self.space.blind();
        }

        /// Puts rows there as they are, whole or not.
        pub(crate) fn put_hints(&self, rows: &[(Vec<u8>, Vec<u8>)]) {
            let put = self.guarded(|database| {
                let transaction = database.begin_write()?;
                let mut hints = transaction.open_table(HINTS)?;
                for (place, stored) in rows {
                    hints.insert(place.as_slice(), stored.as_slice())?;
                }
                drop(hints);
                Ok(transaction.commit()?)
            });
            put.unwrap();
        }
    }

    fn engine() -> Engine {
        let disk = CrashDisk::new();
        Engine::found(&disk, "shard").unwrap();
        Engine::open(&disk, "shard", 1 << 20).unwrap().0
    }

    fn slot(target: Ordinal, number: u8) -> HintSlot {
        let (hash, key) = key(number);
        HintSlot::new(target, hash, &key)
    }

    fn count(engine: &Engine) -> Vec<HintTotals> {
        let mut ledger = Ledger::new(u64::MAX);
        engine.count_hints(&mut ledger).unwrap();
        ledger.totals(paravon_ring::Shift::new(24).unwrap())
    }

    fn rows(engine: &Engine, after: Option<&[u8]>, count: usize) -> Vec<HintRow> {
        let (view, mut rows) = (engine.hint_view().unwrap(), Vec::new());
        let visit = |place: &[u8], stored: &[u8]| {
            rows.push(HintRow::new(place, stored));
            if rows.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        engine.visit_hints(&view, TARGET, after, visit).unwrap();
        rows
    }

    fn dirty_rows(engine: &Engine) -> Vec<u64> {
        let rows = engine.guarded(|database| {
            let dirty = database.begin_read()?.open_table(DIRTY)?;
            let rows: Result<Vec<_>, _> = dirty.iter()?.map(|row| Ok(row?.0.value())).collect();
            rows
        });
        rows.unwrap()
    }

    #[test]
    fn rows_come_in_order_from_the_first_of_a_target_on() {
        let engine = engine();
        assert!(rows(&engine, None, 9).is_empty());
        let kept = Some(record(1, Some(1)));
        let slots: Vec<HintSlot> = [Ordinal(2), TARGET, Ordinal(4)]
            .into_iter()
            .flat_map(|target| (0..5).map(move |number| slot(target, number)))
            .collect();
        let states = slots.iter().map(|slot| (slot, &kept));
        engine.apply_hints(states, None, Durability::None).unwrap();
        let all = rows(&engine, None, 9);
        let places = |rows: &[HintRow]| rows.iter().map(|r| r.place.clone()).collect::<Vec<_>>();
        assert!(places(&all).is_sorted());
        assert_eq!(all.len(), 9, "from the first of the target on, until the visitor ends it");
        assert!(all[..5].iter().all(|row| hint::place_of(&row.place).unwrap().0 == TARGET));
        assert_eq!(places(&rows(&engine, Some(&all[1].place), 2)), places(&all[2..4]));
        let totals = HintTotals { target: TARGET, count: 5, bytes: 5 * all[0].cost, dirty: 0 };
        assert_eq!(count(&engine)[1], totals);
    }

    #[test]
    fn a_target_that_is_all_dirty_has_one_mark() {
        let engine = engine();
        let none = || std::iter::empty();
        let arcs = (0..9).map(|arc| DirtyMark { target: TARGET, arc });
        let other = DirtyMark { target: Ordinal(4), arc: 5 };
        let mut stage = HintStage::default();
        stage.marks.extend(arcs.chain([other]).map(|mark| (mark, Marked::Dirty)));
        engine.apply_hints(none(), Some(&stage), Durability::None).unwrap();
        let dirty = |engine: &Engine| count(engine).iter().map(|t| t.dirty).collect::<Vec<_>>();
        assert_eq!(dirty(&engine), [9, 1]);
        let mut stage = HintStage::default();
        stage.marks.insert(DirtyMark { target: TARGET, arc: DirtyMark::ALL }, Marked::Dirty);
        engine.apply_hints(none(), Some(&stage), Durability::None).unwrap();
        assert_eq!(dirty(&engine), [1 << 24, 1]);
        let frozen = [0x0000_0003_ffff_ffff, 0x0000_0004_0000_0005];
        assert_eq!(dirty_rows(&engine), frozen, "these numbers are on disks");
        // Found clean, and marked anew: not what the file has of arcs from before.
        let mut stage = HintStage::default();
        let mark = |arc| DirtyMark { target: TARGET, arc };
        stage.marks.insert(mark(DirtyMark::ALL), Marked::Clean);
        stage.marks.insert(mark(7), Marked::Dirty);
        stage.marks.insert(mark(8), Marked::Clean);
        engine.apply_hints(none(), Some(&stage), Durability::None).unwrap();
        assert_eq!(dirty_rows(&engine), [0x0000_0003_0000_0007, 0x0000_0004_0000_0005]);
    }
}
