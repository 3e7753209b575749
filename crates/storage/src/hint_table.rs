//! The hints of one shard that the log has and redb does not yet.
//!
//! The stages are those of `table.rs`. What a slot is to become was decided when it was queued, so
//! each stage holds plain states, and a later stage never overrides an earlier one. Ordered, because
//! hints are read in order.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Bound;

use paravon_model::{Ordinal, Record, Version};

use crate::hint::{self, DirtyMark, HintSlot, Marked};
use crate::overlay::overlaid;

/// What a slot holds: a hint, or nothing because it was dropped.
pub(crate) type HintState = Option<Record>;

/// What redb is to hold.
#[derive(Debug, Default)]
pub(crate) struct HintStage {
    /// By slot.
    pub(crate) slots: BTreeMap<HintSlot, HintState>,
    /// Arcs that have become dirty, or clean. Where all of the ring has, arcs beside it came later.
    pub(crate) marks: BTreeMap<DirtyMark, Marked>,
    /// Rows of redb that no slot leads to, with the target in whose listing they were found. They go,
    /// and the marks stand for them.
    pub(crate) rotten: BTreeMap<Box<[u8]>, Ordinal>,
    bytes: usize,
}

impl HintStage {
    /// Whether redb lacks nothing of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.marks.is_empty() && self.rotten.is_empty()
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn insert(&mut self, slot: HintSlot, state: HintState) {
        self.bytes += weight(&slot, &state);
        if let Some(old) = self.slots.get_mut(&slot) {
            self.bytes -= weight(&slot, old);
            *old = state;
        } else {
            self.slots.insert(slot, state);
        }
    }

    fn mark(&mut self, mark: DirtyMark, marked: Marked) {
        if mark.arc == DirtyMark::ALL {
            let of_target = DirtyMark { arc: 0, ..mark }..mark;
            let covered: Vec<DirtyMark> =
                self.marks.range(of_target).map(|(mark, _)| *mark).collect();
            for mark in covered {
                self.marks.remove(&mark);
                self.bytes -= MARK_WEIGHT;
            }
        }
        if self.marks.insert(mark, marked).is_none() {
            self.bytes += MARK_WEIGHT;
        }
    }

    /// The slots of `target` behind `after`, in order.
    fn behind<'a>(
        &'a self,
        target: Ordinal,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a HintSlot, &'a HintState)> + use<'a> {
        let prefix = hint::prefix(target);
        let from = after.map_or(Bound::Included(prefix.as_slice()), Bound::Excluded);
        let behind = self.slots.range::<[u8], _>((from, Bound::Unbounded));
        behind.take_while(move |(slot, _)| slot.as_bytes().starts_with(&prefix))
    }
}

#[derive(Debug)]
struct Queued {
    state: HintState,
    group: u64,
}

/// The stages before the frozen one, which goes with the frozen records.
#[derive(Debug, Default)]
pub(crate) struct HintTable {
    queued: BTreeMap<HintSlot, Queued>,
    active: HintStage,
    queued_bytes: usize,
}

impl HintTable {
    /// What is queued for a slot.
    pub(crate) fn queued(&self, slot: &HintSlot) -> Option<&HintState> {
        self.queued.get(slot).map(|queued| &queued.state)
    }

    /// What is synced for a slot and not frozen.
    pub(crate) fn active(&self, slot: &[u8]) -> Option<&HintState> {
        self.active.slots.get(slot)
    }

    /// Whether the row of these bytes is to go with what is synced and not frozen.
    pub(crate) fn is_rotten(&self, place: &[u8]) -> bool {
        self.active.rotten.contains_key(place)
    }

    /// Queues what a slot is to become, as part of `group`.
    pub(crate) fn queue(&mut self, slot: HintSlot, state: HintState, group: u64) {
        self.queued_bytes += weight(&slot, &state);
        self.queued.insert(slot, Queued { state, group });
    }

    /// Counts a mark that is queued.
    pub(crate) fn queue_mark(&mut self) {
        self.queued_bytes += MARK_WEIGHT;
    }

    /// Makes the state of a synced group visible.
    pub(crate) fn sync(&mut self, slot: HintSlot, state: HintState, group: u64) {
        self.queued_bytes -= weight(&slot, &state);
        if self.queued.get(&slot).is_some_and(|queued| queued.group == group) {
            self.queued.remove(&slot);
        }
        self.active.insert(slot, state);
    }

    /// Notes a mark of a synced group.
    pub(crate) fn sync_mark(&mut self, mark: DirtyMark, marked: Marked) {
        self.queued_bytes -= MARK_WEIGHT;
        self.active.mark(mark, marked);
    }

    /// Notes a row that is to go, where the mark that stands for it is synced.
    pub(crate) fn sync_rotten(&mut self, place: Box<[u8]>, target: Ordinal) {
        let bytes = MARK_WEIGHT + place.len();
        if self.active.rotten.insert(place, target).is_none() {
            self.active.bytes += bytes;
        }
    }

    /// Forgets a state of a group that failed.
    pub(crate) fn forget(&mut self, slot: &HintSlot, state: &HintState) {
        self.queued_bytes -= weight(slot, state);
    }

    /// Forgets a mark of a group that failed.
    pub(crate) fn forget_mark(&mut self) {
        self.queued_bytes -= MARK_WEIGHT;
    }

    /// Lets nothing be decided against what is queued now, because it will fail.
    pub(crate) fn forget_decisions(&mut self) {
        self.queued.clear();
    }

    /// Takes a hint from the log at a start: never in place of a newer one (`HINT_ORDER`).
    pub(crate) fn recover(&mut self, slot: HintSlot, record: Record) {
        let held = self.active.slots.get(&slot).and_then(Option::as_ref);
        if held.is_none_or(|held| record.precedence(held).is_gt()) {
            self.active.insert(slot, Some(record));
        }
    }

    /// Takes a removal from the log at a start.
    pub(crate) fn recover_drop(&mut self, slot: HintSlot, version: Version) {
        let held = self.active.slots.get(&slot).and_then(Option::as_ref);
        if held.is_none_or(|held| held.version <= version) {
            self.active.insert(slot, None);
        }
    }

    /// Takes a mark from the log at a start.
    pub(crate) fn recover_mark(&mut self, mark: DirtyMark, marked: Marked) {
        self.active.mark(mark, marked);
    }

    /// What recovery found.
    pub(crate) fn recovered(&self) -> &HintStage {
        &self.active
    }

    /// What is queued and synced, in bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.queued_bytes + self.active.bytes
    }

    /// What a freeze would hand over, in bytes of memory.
    pub(crate) fn active_bytes(&self) -> usize {
        self.active.bytes
    }

    /// Hands over what is synced.
    pub(crate) fn freeze(&mut self) -> HintStage {
        mem::take(&mut self.active)
    }

    /// Synced states of `target` behind `after`, in order: the active ones, and where there is none
    /// the `frozen`.
    pub(crate) fn behind<'a>(
        &'a self,
        frozen: Option<&'a HintStage>,
        target: Ordinal,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a HintSlot, &'a HintState)> + use<'a> {
        let frozen = frozen.map(|stage| stage.behind(target, after));
        overlaid(self.active.behind(target, after), frozen.into_iter().flatten())
    }
}

/// A slot of its own in a set.
const MARK_WEIGHT: usize = 64;

/// What a state takes in memory, allocations and map slot included, in bytes.
fn weight(slot: &HintSlot, state: &HintState) -> usize {
    /// Two allocations with their padding, and a map slot at the usual load.
    const OVERHEAD: usize = 192;
    let value = state.as_ref().map_or(0, |record| record.body.value_bytes());
    OVERHEAD + slot.as_bytes().len() + value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{key, record};

    fn slot(number: u8) -> HintSlot {
        let (hash, key) = key(number);
        HintSlot::new(Ordinal(7), hash, &key)
    }

    #[test]
    fn bytes_are_counted_through_all_stages_and_come_back_to_zero() {
        let mut table = HintTable::default();
        let mark = DirtyMark { target: Ordinal(7), arc: 1 };
        table.queue(slot(1), Some(record(1, Some(1))), 0);
        table.queue_mark();
        table.queue(slot(2), None, 0);
        table.queue_mark();
        table.sync(slot(1), Some(record(1, Some(1))), 0);
        table.sync_mark(mark, Marked::Dirty);
        table.forget(&slot(2), &None);
        table.forget_mark();
        table.forget_decisions();
        assert_eq!(table.bytes(), table.active_bytes());
        table.sync_again(slot(1));
        let stage = table.freeze();
        assert_eq!(stage.bytes(), MARK_WEIGHT + weight(&slot(1), &None));
        assert_eq!((table.bytes(), stage.is_empty()), (0, false));
    }

    impl HintTable {
        fn sync_again(&mut self, slot: HintSlot) {
            self.queue(slot.clone(), None, 1);
            self.sync(slot, None, 1);
        }
    }

    #[test]
    fn what_is_active_hides_what_is_frozen() {
        let mut table = HintTable::default();
        for number in [1, 2, 3] {
            table.recover(slot(number), record(1, Some(1)));
        }
        let frozen = table.freeze();
        table.recover_drop(slot(2), record(1, None).version);
        table.recover(slot(4), record(2, Some(2)));
        let states: BTreeMap<_, _> = table.behind(Some(&frozen), Ordinal(7), None).collect();
        assert_eq!(states.len(), 4);
        assert_eq!(states[&slot(2)], &None);
        assert_eq!(states[&slot(4)], &Some(record(2, Some(2))));
        let listed: Vec<_> = table.behind(Some(&frozen), Ordinal(7), None).map(|s| s.0).collect();
        assert!(listed.is_sorted());
        let rest: Vec<_> = table
            .behind(Some(&frozen), Ordinal(7), Some(listed[1].as_bytes()))
            .map(|(slot, _)| slot)
            .collect();
        assert_eq!(rest, listed[2..]);
        assert_eq!(table.behind(Some(&frozen), Ordinal(6), None).count(), 0);
    }

    #[test]
    fn replaying_a_part_of_the_log_again_changes_nothing() {
        let version = |ms| record(ms, None).version;
        let log = |table: &mut HintTable| {
            table.recover(slot(1), record(1, Some(1)));
            table.recover_drop(slot(1), version(1));
            table.recover(slot(1), record(2, Some(2)));
            table.recover(slot(2), record(3, Some(3)));
            table.recover_drop(slot(2), version(3));
        };
        let mut table = HintTable::default();
        log(&mut table);
        log(&mut table);
        assert_eq!(table.active(slot(1).as_bytes()), Some(&Some(record(2, Some(2)))));
        assert_eq!(table.active(slot(2).as_bytes()), Some(&None));
        table.recover_drop(slot(1), version(1));
        let newer = Some(record(2, Some(2)));
        assert_eq!(table.active(slot(1).as_bytes()), Some(&newer), "it is newer");
    }

    #[test]
    fn a_mark_of_all_of_the_ring_stands_for_what_came_before_and_not_for_what_follows() {
        let mut stage = HintStage::default();
        let mark = |arc| DirtyMark { target: Ordinal(7), arc };
        let other = DirtyMark { target: Ordinal(8), arc: 1 };
        stage.mark(mark(1), Marked::Dirty);
        stage.mark(mark(2), Marked::Clean);
        stage.mark(other, Marked::Dirty);
        stage.mark(mark(DirtyMark::ALL), Marked::Dirty);
        assert_eq!(stage.marks.keys().collect::<Vec<_>>(), [&mark(DirtyMark::ALL), &other]);
        stage.mark(mark(3), Marked::Dirty);
        assert_eq!((stage.marks.len(), stage.bytes()), (3, 3 * MARK_WEIGHT));
        stage.mark(mark(DirtyMark::ALL), Marked::Clean);
        assert_eq!(stage.marks[&mark(DirtyMark::ALL)], Marked::Clean);
        assert_eq!((stage.marks.len(), stage.bytes()), (2, 2 * MARK_WEIGHT));
    }
}
