//! What a store keeps for each target, counted, against its limit.
//!
//! Counts what is queued too, so that a limit holds whatever is under way; what a failed group had
//! changed is taken back. It must never say that something fits without counting it.

use std::collections::{BTreeMap, BTreeSet};

use paravon_model::Ordinal;
use paravon_ring::KeyHash;

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
}

/// The accounts of one store's targets.
#[derive(Debug)]
pub(crate) struct Ledger {
    limit_bytes: u64,
    used_bytes: u64,
    accounts: BTreeMap<Ordinal, Account>,
}

#[derive(Debug, Default)]
struct Account {
    count: u64,
    bytes: u64,
    arcs: BTreeSet<u32>,
    all_dirty: bool,
}

impl Ledger {
    /// Nothing is kept, and up to `limit_bytes` may be.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, used_bytes: 0, accounts: BTreeMap::new() }
    }

    /// Whether the limit allows `change`.
    pub(crate) fn allows(&self, change: Change) -> bool {
        let Change { before, after } = change;
        let kept = self.used_bytes - before.unwrap_or(0);
        kept + after.unwrap_or(0) <= self.limit_bytes
    }

    /// Counts `change`.
    pub(crate) fn enter(&mut self, target: Ordinal, change: Change) {
        let Change { before, after } = change;
        let account = self.accounts.entry(target).or_default();
        account.count = account.count + u64::from(after.is_some()) - u64::from(before.is_some());
        account.bytes = account.bytes + after.unwrap_or(0) - before.unwrap_or(0);
        self.used_bytes = self.used_bytes + after.unwrap_or(0) - before.unwrap_or(0);
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

    /// Takes back a mark that could not be stored, so that the next hint that is not kept makes it.
    pub(crate) fn unmark(&mut self, mark: DirtyMark) {
        if let Some(account) = self.accounts.get_mut(&mark.target) {
            if mark.arc == DirtyMark::ALL {
                account.all_dirty = false;
            } else {
                account.arcs.remove(&mark.arc);
            }
        }
        self.close_if_empty(mark.target);
    }

    /// Ordinals are never given twice, so accounts of nothing would pile up.
    fn close_if_empty(&mut self, target: Ordinal) {
        let is_empty = |a: &Account| a.count == 0 && a.arcs.is_empty() && !a.all_dirty;
        if self.accounts.get(&target).is_some_and(is_empty) {
            self.accounts.remove(&target);
        }
    }

    /// Every target with something kept or dirty, ascending.
    pub(crate) fn totals(&self) -> Vec<HintTotals> {
        let totals = |(&target, account): (&Ordinal, &Account)| {
            let arcs = account.arcs.len() as u64;
            let dirty = if account.all_dirty { DirtyMark::ARCS } else { arcs };
            HintTotals { target, count: account.count, bytes: account.bytes, dirty }
        };
        self.accounts.iter().map(totals).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Ordinal = Ordinal(4);

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
        assert_eq!(ledger.totals(), [totals]);
        ledger.revert(TARGET, replaced);
        ledger.revert(TARGET, kept);
        assert_eq!(ledger.totals(), []);
    }

    #[test]
    fn an_arc_is_marked_once_until_the_mark_is_taken_back() {
        let mut ledger = Ledger::new(0);
        let mark = ledger.mark(TARGET, hash(7)).unwrap();
        assert_eq!(mark, DirtyMark { target: TARGET, arc: 7 });
        assert_eq!(ledger.mark(TARGET, hash(7)), None);
        ledger.unmark(mark);
        assert_eq!(ledger.totals(), []);
        assert_eq!(ledger.mark(TARGET, hash(7)), Some(mark));
    }

    #[test]
    fn past_the_bound_the_whole_ring_is_dirty() {
        let mut ledger = Ledger::new(0);
        let bound = u32::try_from(MAX_ARCS).unwrap();
        for arc in 0..bound {
            assert_eq!(ledger.mark(TARGET, hash(arc)), Some(DirtyMark { target: TARGET, arc }));
        }
        assert_eq!(ledger.totals()[0].dirty, u64::from(bound));
        let all = DirtyMark { target: TARGET, arc: DirtyMark::ALL };
        assert_eq!(ledger.mark(TARGET, hash(bound)), Some(all));
        assert_eq!(ledger.mark(TARGET, hash(bound + 1)), None);
        assert_eq!(ledger.totals()[0].dirty, DirtyMark::ARCS);
    }
}
