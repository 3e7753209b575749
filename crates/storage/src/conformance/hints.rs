//! What every store must do with hints, beside a model of them.

use std::collections::{BTreeMap, BTreeSet};

use paravon_model::{Key, Ordinal, Record, Version};
use paravon_ring::{HashArc, KeyHash, Partition, Shift};

use super::{Rig, key, record};
use crate::hint::{self, DirtyMark, HintTotals, KeptHint};
use crate::page::PageLimit;

const TARGET: Ordinal = Ordinal(40);

/// Runs every check of hints on rigs that `fresh` makes.
pub(super) fn check<R: Rig>(fresh: &mut impl FnMut() -> R) {
    a_hint_is_visible_when_it_is_durable_and_the_newest_wins(&mut fresh());
    a_drop_leaves_a_newer_hint(&mut fresh());
    a_hint_dropped_before_it_is_durable_was_never_there(&mut fresh());
    hints_come_in_order_and_page_by_page(&mut fresh());
    a_page_is_bounded_in_bytes(&mut fresh());
    hints_survive_applying_and_drops_too(&mut fresh());
    hints_are_no_records(&mut fresh());
}

/// Checks the limit of hints, on rigs made with a limit of so many bytes.
pub fn check_hint_limit<R: Rig>(mut fresh: impl FnMut(u64) -> R) {
    let cost = hint::cost(&key(0).1, &record(1, Some(1)));
    let rig = &mut fresh(3 * cost);
    for number in 0..5 {
        keep(rig, TARGET, number, record(1, Some(1)));
    }
    let full = HintTotals { target: TARGET, count: 3, bytes: 3 * cost, dirty: 2 };
    assert_eq!(totals(rig), [full], "what does not fit is not lost silently");
    rig.sync();
    assert_eq!(list(rig, TARGET).len(), 3);
    // A newer record of the same size takes the place of the older.
    keep(rig, TARGET, 0, record(2, Some(2)));
    assert_eq!(totals(rig), [full]);
    // The limit is for all targets together, and an arc is dirty once.
    keep(rig, Ordinal(41), 0, record(1, Some(1)));
    keep(rig, Ordinal(41), 0, record(2, Some(1)));
    let other = HintTotals { target: Ordinal(41), count: 0, bytes: 0, dirty: 1 };
    assert_eq!(totals(rig), [full, other]);
    drop_up_to(rig, TARGET, 1, 1);
    keep(rig, Ordinal(41), 1, record(1, Some(1)));
    rig.sync();
    rig.store().flush();
    rig.settle();
    let two = HintTotals { count: 2, bytes: 2 * cost, ..full };
    let one = HintTotals { count: 1, bytes: cost, ..other };
    assert_eq!(totals(rig), [two, one]);

    let rig = &mut fresh(0);
    keep(rig, TARGET, 0, record(1, Some(1)));
    rig.sync();
    let none = HintTotals { target: TARGET, count: 0, bytes: 0, dirty: 1 };
    assert_eq!((list(rig, TARGET), totals(rig)), (vec![], vec![none]));
    what_was_found_clean_is_dirty_no_more(&mut fresh(0));
}

/// Of a store without room for any hint.
fn what_was_found_clean_is_dirty_no_more(rig: &mut impl Rig) {
    let dirty = |rig: &mut _| totals(rig).iter().map(|totals| totals.dirty).collect::<Vec<_>>();
    for number in 0..9 {
        keep(rig, TARGET, number, record(1, Some(1)));
        keep(rig, Ordinal(41), number, record(1, Some(1)));
        if number == 4 {
            rig.sync();
            rig.store().flush();
            rig.settle();
        }
    }
    let moment = rig.store().dirty_moment();
    keep(rig, TARGET, 0, record(2, Some(1)));
    keep(rig, TARGET, 9, record(2, Some(1)));
    assert_eq!(dirty(rig), [10, 9]);
    rig.store().clean(TARGET, HashArc::ALL, moment);
    assert_eq!(dirty(rig), [2, 9], "what was marked later stays");
    rig.sync();
    rig.store().flush();
    rig.settle();
    // It is marked anew, and with a new moment.
    keep(rig, TARGET, 3, record(2, Some(1)));
    rig.store().clean(TARGET, HashArc::ALL, moment);
    assert_eq!(dirty(rig), [3, 9]);
    let one = Partition(DirtyMark::arc_of(key(3).0)).arc(Shift::new(Shift::MAX).expect("a shift"));
    let moment = rig.store().dirty_moment();
    rig.store().clean(TARGET, one, moment);
    assert_eq!(dirty(rig), [2, 9]);
    rig.store().clean(TARGET, HashArc::ALL, moment);
    rig.store().clean(Ordinal(41), HashArc::ALL, moment);
    assert_eq!(dirty(rig), []);
    rig.sync();
    rig.store().flush();
    rig.settle();
    assert_eq!(dirty(rig), []);
}

fn keep(rig: &mut impl Rig, target: Ordinal, number: u8, record: Record) {
    let (hash, key) = key(number);
    rig.store().keep_hint(target, hash, key, record).expect("nothing refuses here");
}

fn drop_up_to(rig: &mut impl Rig, target: Ordinal, number: u8, ms: u64) {
    let (hash, key) = key(number);
    rig.store().drop_hint(target, hash, &key, record(ms, None).version);
}

fn page(
    rig: &mut impl Rig,
    target: Ordinal,
    after: Option<&(KeyHash, Key)>,
    hints: usize,
) -> Vec<KeptHint> {
    let limit = PageLimit { count: hints, bytes: u64::MAX };
    let found = rig.store().hints(target, after, limit).expect("nothing is damaged here");
    rig.store().end_batch();
    found
}

/// With as many partitions as there can be, so that no two keys are of one.
fn totals(rig: &mut impl Rig) -> Vec<HintTotals> {
    rig.store().hint_totals(Shift::new(Shift::MAX).expect("the largest shift is one"))
}

fn list(rig: &mut impl Rig, target: Ordinal) -> Vec<KeptHint> {
    page(rig, target, None, usize::MAX)
}

fn hint(number: u8, record: Record) -> KeptHint {
    let (hash, key) = key(number);
    KeptHint { hash, key, record }
}

fn a_hint_is_visible_when_it_is_durable_and_the_newest_wins(rig: &mut impl Rig) {
    keep(rig, TARGET, 1, record(2, Some(2)));
    assert_eq!(list(rig, TARGET), []);
    rig.sync();
    assert_eq!(list(rig, TARGET), [hint(1, record(2, Some(2)))]);
    keep(rig, TARGET, 1, record(1, Some(1)));
    keep(rig, TARGET, 1, record(2, Some(2)));
    keep(rig, TARGET, 1, record(3, None));
    keep(rig, TARGET, 1, record(2, Some(2)));
    assert_eq!(list(rig, TARGET), [hint(1, record(2, Some(2)))]);
    rig.sync();
    assert_eq!(list(rig, TARGET), [hint(1, record(3, None))]);
}

fn a_drop_leaves_a_newer_hint(rig: &mut impl Rig) {
    keep(rig, TARGET, 1, record(2, Some(2)));
    rig.sync();
    drop_up_to(rig, TARGET, 1, 1);
    rig.sync();
    assert_eq!(list(rig, TARGET), [hint(1, record(2, Some(2)))]);
    keep(rig, TARGET, 1, record(3, Some(3)));
    drop_up_to(rig, TARGET, 1, 2);
    rig.sync();
    assert_eq!(list(rig, TARGET), [hint(1, record(3, Some(3)))]);
    drop_up_to(rig, Ordinal(41), 1, 3);
    drop_up_to(rig, TARGET, 1, 3);
    assert_eq!(list(rig, TARGET).len(), 1, "the removal is not durable");
    rig.sync();
    assert_eq!(list(rig, TARGET), []);
    assert_eq!(totals(rig), []);
}

fn a_hint_dropped_before_it_is_durable_was_never_there(rig: &mut impl Rig) {
    keep(rig, TARGET, 1, record(1, Some(1)));
    drop_up_to(rig, TARGET, 1, 9);
    drop_up_to(rig, TARGET, 1, 9);
    assert_eq!(totals(rig), []);
    keep(rig, TARGET, 2, record(1, Some(1)));
    drop_up_to(rig, TARGET, 2, 1);
    keep(rig, TARGET, 2, record(1, Some(1)));
    rig.sync();
    assert_eq!(list(rig, TARGET), [hint(2, record(1, Some(1)))]);
}

fn hints_come_in_order_and_page_by_page(rig: &mut impl Rig) {
    let targets = [Ordinal(39), TARGET, Ordinal(41)];
    for number in 0..60 {
        for target in targets {
            keep(rig, target, number, record(u64::from(number) + 1, Some(1)));
        }
        if number % 20 == 19 {
            rig.sync();
            rig.store().flush();
            // The last third stays where the log has it alone.
            if number < 40 {
                rig.settle();
            }
        }
    }
    for number in (0..60).step_by(7) {
        drop_up_to(rig, TARGET, number, u64::MAX >> 16);
    }
    rig.sync();
    let all = list(rig, TARGET);
    assert!(all.is_sorted_by_key(|hint| (hint.hash, hint.key.clone())));
    assert_eq!(all.len(), 60 - 9);
    assert_eq!(list(rig, Ordinal(41)).len(), 60);
    for limit in [1, 2, 7, 51, 100] {
        let mut paged: Vec<KeptHint> = Vec::new();
        loop {
            let after = paged.last().map(|last| (last.hash, last.key.clone()));
            let next = page(rig, TARGET, after.as_ref(), limit);
            assert!(next.len() <= limit);
            let is_last = next.len() < limit;
            paged.extend(next);
            if is_last {
                break;
            }
        }
        assert_eq!(paged, all);
    }
    assert_eq!(page(rig, TARGET, None, 0), []);
}

fn a_page_is_bounded_in_bytes(rig: &mut impl Rig) {
    for number in 0..20 {
        keep(rig, TARGET, number, record(1, Some(1)));
        if number == 9 {
            rig.sync();
            rig.store().flush();
            rig.settle();
        }
    }
    rig.sync();
    let all = list(rig, TARGET);
    let cost = hint::cost(&key(0).1, &record(1, Some(1)));
    for (bytes, count) in [(0, 1), (1, 1), (cost, 1), (3 * cost - 1, 3), (3 * cost + 1, 4)] {
        let limit = PageLimit { count: usize::MAX, bytes };
        let mut paged: Vec<KeptHint> = Vec::new();
        while paged.len() < all.len() {
            let after = paged.last().map(|last| (last.hash, last.key.clone()));
            let next =
                rig.store().hints(TARGET, after.as_ref(), limit).expect("nothing is damaged");
            rig.store().end_batch();
            assert_eq!(next.len(), count.min(all.len() - paged.len()), "{bytes}");
            paged.extend(next);
        }
        assert_eq!(paged, all);
    }
}

fn hints_survive_applying_and_drops_too(rig: &mut impl Rig) {
    for round in 1..=4 {
        for number in 0..30 {
            keep(rig, TARGET, number, record(round, Some(1)));
        }
        rig.sync();
        rig.store().flush();
        rig.settle();
        assert_eq!(list(rig, TARGET).len(), 30);
        for number in (0..30).step_by(2) {
            drop_up_to(rig, TARGET, number, round);
        }
        rig.sync();
        assert_eq!(list(rig, TARGET).len(), 15);
        rig.store().flush();
        rig.settle();
        assert_eq!(list(rig, TARGET).len(), 15);
    }
    assert_eq!(totals(rig)[0].count, 15);
    assert!(rig.store().flush(), "nothing is left to apply");
}

fn hints_are_no_records(rig: &mut impl Rig) {
    assert_eq!(rig.store().is_empty(), Ok(true));
    keep(rig, TARGET, 1, record(1, Some(1)));
    rig.sync();
    rig.store().flush();
    rig.settle();
    assert_eq!(rig.store().is_empty(), Ok(true));
    let (hash, key) = key(1);
    assert_eq!(rig.store().get(hash, &key), Ok(None));
    rig.store().merge(1, hash, key, record(1, None)).expect("nothing refuses here");
    rig.sync();
    assert_eq!(rig.store().is_empty(), Ok(false), "a tombstone is a record");
    rig.store().flush();
    rig.settle();
    rig.store().end_batch();
    assert_eq!(rig.store().is_empty(), Ok(false));
    rig.store().end_batch();
}

type Hints<T> = BTreeMap<(Ordinal, KeyHash, Key), T>;

/// The hints that a store is to hold.
#[derive(Default)]
pub(super) struct HintModel {
    durable: Hints<Record>,
    queued: Hints<Option<Record>>,
    /// Arcs of the hints that are queued, also of those that have been replaced since.
    queued_arcs: BTreeSet<(Ordinal, u32)>,
    dirty: BTreeSet<(Ordinal, u32)>,
    /// When a target was compared last, and what was marked since then.
    moment: u64,
    marked_since: BTreeSet<(Ordinal, u32)>,
    /// Cleaned, and not durable.
    queued_cleaned: BTreeSet<(Ordinal, u32)>,
}

impl HintModel {
    fn present(&self, slot: &(Ordinal, KeyHash, Key)) -> Option<&Record> {
        self.queued.get(slot).map_or_else(|| self.durable.get(slot), Option::as_ref)
    }

    pub(super) fn keep(&mut self, rig: &mut impl Rig, target: u8, number: u8, record: Record) {
        let target = Ordinal(target.into());
        let (hash, key) = key(number);
        let slot = (target, hash, key);
        if self.present(&slot).is_none_or(|present| record.precedence(present).is_gt()) {
            self.queued.insert(slot, Some(record.clone()));
            self.queued_arcs.insert((target, DirtyMark::arc_of(hash)));
        }
        keep(rig, target, number, record);
        self.compare_totals(rig);
    }

    pub(super) fn drop_up_to(
        &mut self,
        rig: &mut impl Rig,
        target: u8,
        number: u8,
        version: Version,
    ) {
        let target = Ordinal(target.into());
        let (hash, key) = key(number);
        rig.store().drop_hint(target, hash, &key, version);
        let slot = (target, hash, key);
        if self.present(&slot).is_some_and(|present| present.version <= version) {
            self.queued.insert(slot, None);
        }
        self.compare_totals(rig);
    }

    pub(super) fn fail(&mut self, rig: &mut impl Rig) {
        self.queued.clear();
        self.dirty.append(&mut self.queued_cleaned);
        self.marked_since.extend(&self.queued_arcs);
        self.dirty.append(&mut self.queued_arcs);
        self.compare_totals(rig);
    }

    pub(super) fn compare(&mut self, rig: &mut impl Rig) {
        self.moment = rig.store().dirty_moment();
        self.marked_since.clear();
    }

    /// Cleans one quarter of the ring.
    pub(super) fn clean(&mut self, rig: &mut impl Rig, target: u8, number: u8) {
        let target = Ordinal(target.into());
        let shift = Shift::new(2).expect("in range");
        let partition = key(number).0.partition(shift);
        rig.store().clean(target, partition.arc(shift), self.moment);
        let is_clean = |mark: &(Ordinal, u32)| {
            mark.0 == target
                && DirtyMark::partition_of(mark.1, shift) == partition.0
                && !self.marked_since.contains(mark)
        };
        let cleaned: Vec<_> = self.dirty.iter().copied().filter(is_clean).collect();
        for mark in cleaned {
            self.dirty.remove(&mark);
            self.queued_cleaned.insert(mark);
        }
        self.compare_totals(rig);
    }

    pub(super) fn sync(&mut self) {
        self.queued_cleaned.clear();
        self.queued_arcs.clear();
        for (slot, state) in std::mem::take(&mut self.queued) {
            match state {
                Some(record) => self.durable.insert(slot, record),
                None => self.durable.remove(&slot),
            };
        }
    }

    pub(super) fn list(&self, rig: &mut impl Rig, target: u8, after: u8, limit: usize) {
        let target = Ordinal(target.into());
        let after = key(after);
        let page = PageLimit { count: limit, bytes: u64::MAX };
        let found = rig.store().hints(target, Some(&after), page).expect("nothing is damaged");
        let expected = self
            .durable
            .iter()
            .filter(|((of, hash, key), _)| *of == target && (*hash, key) > (after.0, &after.1))
            .map(|((_, hash, key), record)| KeptHint {
                hash: *hash,
                key: key.clone(),
                record: record.clone(),
            });
        assert_eq!(found, expected.take(limit).collect::<Vec<_>>());
    }

    fn compare_totals(&self, rig: &mut impl Rig) {
        let mut present: Hints<&Record> = BTreeMap::new();
        present.extend(self.durable.iter().map(|(slot, record)| (slot.clone(), record)));
        for (slot, state) in &self.queued {
            match state {
                Some(record) => present.insert(slot.clone(), record),
                None => present.remove(slot),
            };
        }
        let none = |target| HintTotals { target, count: 0, bytes: 0, dirty: 0 };
        let mut expected: BTreeMap<Ordinal, HintTotals> = BTreeMap::new();
        for ((target, _, key), record) in present {
            let total = expected.entry(target).or_insert(none(target));
            total.count += 1;
            total.bytes += hint::cost(&key, record);
        }
        for &(target, _) in &self.dirty {
            expected.entry(target).or_insert(none(target)).dirty += 1;
        }
        assert_eq!(totals(rig), expected.into_values().collect::<Vec<_>>());
    }
}
