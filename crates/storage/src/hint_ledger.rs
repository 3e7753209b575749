//! What a store keeps for each target, counted, against its limit.
//!
//! Counts what is queued too, so that a limit holds whatever is under way; what failed groups had
//! changed is taken back, the newest first. A mark is never taken back: it stays until it is stored
//! (`HINT_NOT_LOST`). It must never say that something fits without counting it.
//!
//! The sums have a sign, because a row that rots in the file may leave under another name than it was
//! counted under. What is below zero is shown as nothing.

use std::collections::{BTreeMap, BTreeSet};

use paravon_model::Ordinal;
use paravon_ring::{KeyHash, Shift};

use crate::hint::{DirtyMark, HintTotals};

/// Arcs told apart for one target; beyond, all of the ring is dirty for it.
const MAX_ARCS: usize = 65_536;

/// What one operation does to a slot: its bytes before and after, none where it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Before.
    pub(crate) before: Option<u64>,
    /// After.
    pub(crate) after: Option<u64>,
}

impl Change {
    fn reversed(self) -> Self {
        Self { before: self.after, after: self.before }
    }

    fn bytes(self) -> i64 {
        let signed = |bytes: Option<u64>| i64::try_from(bytes.unwrap_or(0)).unwrap_or(i64::MAX);
        signed(self.after) - signed(self.before)
    }
}

/// The accounts of one store's targets.
#[derive(Debug)]
pub(crate) struct Ledger {
    limit_bytes: u64,
    used_bytes: i64,
    accounts: BTreeMap<Ordinal, Account>,
}

#[derive(Debug, Default)]
struct Account {
    count: i64,
    bytes: i64,
    arcs: BTreeSet<u32>,
    all_dirty: bool,
}

impl Account {
    fn keeps(&self) -> bool {
        self.count != 0 || self.bytes != 0
    }

    fn dirty(&self, shift: Shift) -> u64 {
        if self.all_dirty {
            return shift.partitions().into();
        }
        let mut partitions: Vec<u32> =
            self.arcs.iter().map(|&arc| DirtyMark::partition_of(arc, shift)).collect();
        partitions.dedup();
        partitions.len() as u64
    }
}

impl Ledger {
    /// Nothing is kept, and up to `limit_bytes` may be.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, used_bytes: 0, accounts: BTreeMap::new() }
    }

    /// Whether the limit allows `change`.
    pub(crate) fn allows(&self, change: Change) -> bool {
        let used = self.used_bytes + change.bytes();
        u64::try_from(used).unwrap_or(0) <= self.limit_bytes
    }

    /// Whether anything is kept for `target`.
    pub(crate) fn keeps_for(&self, target: Ordinal) -> bool {
        self.accounts.get(&target).is_some_and(Account::keeps)
    }

    /// Counts `change`.
    pub(crate) fn enter(&mut self, target: Ordinal, change: Change) {
        let Change { before, after } = change;
        let account = self.accounts.entry(target).or_default();
        account.count += i64::from(after.is_some()) - i64::from(before.is_some());
        account.bytes += change.bytes();
        self.used_bytes += change.bytes();
        self.close_if_empty(target);
    }

    /// Takes back a change that was counted.
    pub(crate) fn revert(&mut self, target: Ordinal, change: Change) {
        self.enter(target, change.reversed());
    }

    /// Makes the arc of `hash` dirty; what is to be stored for it, if it was not dirty already.
    pub(crate) fn mark(&mut self, target: Ordinal, hash: KeyHash) -> Option<DirtyMark> {
        let account = self.accounts.entry(target).or_default();
        let arc = DirtyMark::arc_of(hash);
        if account.all_dirty || account.arcs.contains(&arc) {
            return None;
        }
        let arc = if account.arcs.len() < MAX_ARCS { arc } else { DirtyMark::ALL };
        let mark = DirtyMark { target, arc };
        self.restore(mark);
        Some(mark)
    }

    /// Notes a mark that is stored.
    pub(crate) fn restore(&mut self, mark: DirtyMark) {
        let account = self.accounts.entry(mark.target).or_default();
        if mark.arc == DirtyMark::ALL {
            account.all_dirty = true;
        } else {
            account.arcs.insert(mark.arc);
        }
    }

    /// Ordinals are never given twice, so accounts of nothing would pile up.
    fn close_if_empty(&mut self, target: Ordinal) {
        let is_empty = |a: &Account| !a.keeps() && a.arcs.is_empty() && !a.all_dirty;
        if self.accounts.get(&target).is_some_and(is_empty) {
            self.accounts.remove(&target);
        }
    }

    /// Every target with something kept or dirty, ascending; dirty in partitions of `shift`.
    pub(crate) fn totals(&self, shift: Shift) -> Vec<HintTotals> {
        let totals = |(&target, account): (&Ordinal, &Account)| {
            let dirty = account.dirty(shift);
            let shown = |sum: i64| u64::try_from(sum).unwrap_or(0);
            HintTotals { target, count: shown(account.count), bytes: shown(account.bytes), dirty }
        };
        self.accounts.iter().map(totals).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Ordinal = Ordinal(4);

    fn finest() -> Shift {
        Shift::new(Shift::MAX).unwrap()
    }

    fn hash(arc: u32) -> KeyHash {
        KeyHash(u64::from(arc) << 40)
    }

    #[test]
    fn what_is_counted_and_taken_back_leaves_nothing() {
        let mut ledger = Ledger::new(100);
        let kept = Change { before: None, after: Some(60) };
        let replaced = Change { before: Some(60), after: Some(90) };
        assert!(ledger.allows(kept));
        ledger.enter(TARGET, kept);
        assert!(!ledger.allows(kept), "the limit is for all targets together");
        assert!(ledger.allows(replaced), "what is replaced makes room");
        ledger.enter(TARGET, replaced);
        let totals = HintTotals { target: TARGET, count: 1, bytes: 90, dirty: 0 };
        assert_eq!(ledger.totals(finest()), [totals]);
        ledger.revert(TARGET, replaced);
        ledger.revert(TARGET, kept);
        assert_eq!(ledger.totals(finest()), []);
    }

    #[test]
    fn what_is_taken_back_in_another_order_leaves_nothing_either() {
        let mut ledger = Ledger::new(1000);
        let kept = Change { before: None, after: Some(60) };
        let replaced = Change { before: Some(60), after: Some(900) };
        let dropped = Change { before: Some(900), after: None };
        for change in [kept, replaced, dropped] {
            ledger.enter(TARGET, change);
        }
        assert!(!ledger.keeps_for(TARGET));
        ledger.revert(TARGET, kept);
        assert_eq!(
            (ledger.totals(finest())[0].count, ledger.totals(finest())[0].bytes),
            (0, 0),
            "not below zero"
        );
        assert!(ledger.allows(Change { before: None, after: Some(1000) }));
        ledger.revert(TARGET, replaced);
        ledger.revert(TARGET, dropped);
        assert_eq!(ledger.totals(finest()), []);
        assert!(!ledger.allows(Change { before: None, after: Some(1001) }));
    }

    #[test]
    fn an_arc_is_marked_once() {
        let mut ledger = Ledger::new(0);
        let mark = ledger.mark(TARGET, hash(7)).unwrap();
        assert_eq!(mark, DirtyMark { target: TARGET, arc: 7 });
        assert_eq!(ledger.mark(TARGET, hash(7)), None);
        assert!(!ledger.keeps_for(TARGET));
    }

    #[test]
    fn arcs_of_one_partition_make_it_dirty_once() {
        let mut ledger = Ledger::new(0);
        for arc in [0, 1, 255, 256, 0x00ff_ffff] {
            ledger.mark(TARGET, hash(arc));
        }
        let dirty = |shift| ledger.totals(Shift::new(shift).unwrap())[0].dirty;
        assert_eq!([24, 16, 1].map(dirty), [5, 3, 2]);
        ledger.restore(DirtyMark { target: TARGET, arc: DirtyMark::ALL });
        let dirty = |shift| ledger.totals(Shift::new(shift).unwrap())[0].dirty;
        assert_eq!([24, 16, 1].map(dirty), [1 << 24, 1 << 16, 2]);
    }

    #[test]
    fn past_the_bound_the_whole_ring_is_dirty() {
        let mut ledger = Ledger::new(0);
        let bound = u32::try_from(MAX_ARCS).unwrap();
        for arc in 0..bound {
            assert_eq!(ledger.mark(TARGET, hash(arc)), Some(DirtyMark { target: TARGET, arc }));
        }
        assert_eq!(ledger.totals(finest())[0].dirty, u64::from(bound));
        let all = DirtyMark { target: TARGET, arc: DirtyMark::ALL };
        assert_eq!(ledger.mark(TARGET, hash(bound)), Some(all));
        assert_eq!(ledger.mark(TARGET, hash(bound + 1)), None);
        assert_eq!(ledger.totals(finest())[0].dirty, 1 << 24);
    }
}
