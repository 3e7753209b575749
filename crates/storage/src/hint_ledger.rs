//! What a store keeps for each target, counted, against its limit.
//!
//! Counts what is queued too, so that a limit holds whatever is under way; what failed groups had
//! changed is taken back, the newest first. A mark is never taken back: it stays until it is stored, and
//! until what it stands for was found clean (`HINT_NOT_LOST`). It must never say that something fits without counting it.
//!
//! The sums have a sign, because a row that rots in the file may leave under another name than it was
//! counted under. What is below zero is shown as nothing.

use std::collections::BTreeMap;

use paravon_model::Ordinal;
use paravon_ring::{HashArc, KeyHash, Shift};

use crate::dirty_arcs::DirtyArcs;
use crate::hint::{DirtyMark, HintTotals, Marked};
use crate::own_partitions::OwnPartitions;

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
    /// Counts what was marked since the start.
    moment: u64,
    /// The partitions of the shard, once they are known.
    own: Option<OwnPartitions>,
}

#[derive(Debug, Default)]
struct Account {
    count: i64,
    bytes: i64,
    dirty: DirtyArcs,
}

impl Account {
    fn keeps(&self) -> bool {
        self.count != 0 || self.bytes != 0
    }
}

impl Ledger {
    /// Nothing is kept, and up to `limit_bytes` may be.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, used_bytes: 0, accounts: BTreeMap::new(), moment: 0, own: None }
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

    /// For whom anything is kept or dirty.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Ordinal> {
        self.accounts.keys().copied()
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

    /// Takes in which partitions are the shard's.
    pub(crate) fn know(&mut self, own: OwnPartitions) {
        self.own = Some(own);
    }

    /// How much was marked since the start.
    pub(crate) fn moment(&self) -> u64 {
        self.moment
    }

    /// Makes the arc of `hash` dirty; what is to be stored for it, if it was not dirty already.
    pub(crate) fn mark(&mut self, target: Ordinal, hash: KeyHash) -> Option<DirtyMark> {
        self.moment += 1;
        let dirty = &mut self.accounts.entry(target).or_default().dirty;
        let arc = dirty.mark(DirtyMark::arc_of(hash), self.moment, self.own)?;
        Some(DirtyMark { target, arc })
    }

    /// Makes all of the ring dirty, whatever was; what is to be stored for it.
    pub(crate) fn mark_all(&mut self, target: Ordinal) -> DirtyMark {
        self.moment += 1;
        self.accounts.entry(target).or_default().dirty.mark_all(self.moment);
        DirtyMark { target, arc: DirtyMark::ALL }
    }

    /// Notes a mark that is stored, or whose removal failed.
    pub(crate) fn restore(&mut self, mark: DirtyMark) {
        self.accounts.entry(mark.target).or_default().dirty.restore(mark.arc);
    }

    /// Takes in what the log said of marks, after those that the file holds.
    pub(crate) fn recover(&mut self, marks: &BTreeMap<DirtyMark, Marked>) {
        // All of the ring first: marks of arcs beside it came later.
        let all = marks.iter().filter(|(mark, _)| mark.arc == DirtyMark::ALL);
        let arcs = marks.iter().filter(|(mark, _)| mark.arc != DirtyMark::ALL);
        for (mark, marked) in all.chain(arcs) {
            match marked {
                Marked::Dirty => self.restore(*mark),
                Marked::Clean => {
                    self.accounts.entry(mark.target).or_default().dirty.remove(mark.arc);
                    self.close_if_empty(mark.target);
                }
            }
        }
    }

    /// Whether anything is dirty for `target`.
    pub(crate) fn is_dirty(&self, target: Ordinal) -> bool {
        self.accounts.get(&target).is_some_and(|account| !account.dirty.is_empty())
    }

    /// Whether what a mark names is dirty.
    pub(crate) fn has(&self, mark: DirtyMark) -> bool {
        self.accounts.get(&mark.target).is_some_and(|account| account.dirty.has(mark.arc))
    }

    /// Takes away what was marked for a target within `arc` up to `moment`; the marks that are to be
    /// stored no more.
    pub(crate) fn clean(&mut self, target: Ordinal, arc: HashArc, moment: u64) -> Vec<DirtyMark> {
        let Some(account) = self.accounts.get_mut(&target) else { return Vec::new() };
        let cleaned = account.dirty.clean(arc, moment, self.own);
        self.close_if_empty(target);
        cleaned.into_iter().map(|arc| DirtyMark { target, arc }).collect()
    }

    /// Ordinals are never given twice, so accounts of nothing would pile up.
    fn close_if_empty(&mut self, target: Ordinal) {
        let is_empty = |account: &Account| !account.keeps() && account.dirty.is_empty();
        if self.accounts.get(&target).is_some_and(is_empty) {
            self.accounts.remove(&target);
        }
    }

    /// Every target with something kept or dirty, ascending; dirty in partitions of `shift`.
    pub(crate) fn totals(&self, shift: Shift) -> Vec<HintTotals> {
        let totals = |(&target, account): (&Ordinal, &Account)| {
            let dirty = account.dirty.count(shift, self.own);
            let shown = |sum: i64| u64::try_from(sum).unwrap_or(0);
            HintTotals { target, count: shown(account.count), bytes: shown(account.bytes), dirty }
        };
        self.accounts.iter().map(totals).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dirty_arcs::MAX_ARCS;

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

    #[test]
    fn what_is_clean_leaves_nothing_behind_and_is_marked_anew() {
        let mut ledger = Ledger::new(0);
        ledger.mark(TARGET, hash(7));
        ledger.mark(Ordinal(5), hash(7));
        assert_eq!(ledger.moment(), 2);
        assert_eq!(ledger.clean(Ordinal(6), HashArc::ALL, 2), []);
        let mark = DirtyMark { target: TARGET, arc: 7 };
        assert_eq!(ledger.clean(TARGET, HashArc::ALL, 1), [mark]);
        assert!(!ledger.has(mark));
        assert_eq!([TARGET, Ordinal(5)].map(|target| ledger.is_dirty(target)), [false, true]);
        assert_eq!(ledger.totals(finest()).len(), 1);
        assert_eq!(ledger.mark(TARGET, hash(7)), Some(mark));
        assert!(ledger.has(mark));
    }

    #[test]
    fn what_the_log_says_comes_after_what_the_file_holds() {
        let arc = |arc| DirtyMark { target: TARGET, arc };
        let dirty = |marks: &[(DirtyMark, Marked)]| {
            let mut ledger = Ledger::new(0);
            ledger.restore(arc(1));
            ledger.restore(arc(2));
            ledger.recover(&marks.iter().copied().collect());
            ledger.totals(finest()).first().map_or(0, |totals| totals.dirty)
        };
        let all = arc(DirtyMark::ALL);
        assert_eq!(dirty(&[(arc(2), Marked::Clean), (arc(3), Marked::Clean)]), 1);
        assert_eq!(dirty(&[(arc(1), Marked::Clean), (arc(2), Marked::Clean)]), 0);
        assert_eq!(dirty(&[(all, Marked::Clean)]), 0);
        assert_eq!(dirty(&[(all, Marked::Clean), (arc(9), Marked::Dirty)]), 1);
        assert_eq!(dirty(&[(all, Marked::Dirty), (arc(9), Marked::Dirty)]), 1 << 24);
    }
}
