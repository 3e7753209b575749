//! The replica set of every partition, as a flat table.
//!
//! **Memory.** 4 bytes per copy: 0.8 MB at shift 16 with three copies, 200 MB at shift 24 (and two
//! layouts live side by side during a change: such a shift is for nodes that can afford it). Scores
//! are not kept, though an increment needs them and they are twice that size: finding those of the
//! present holders again is a few nanoseconds per ticket.
//!
//! **Time.** From nothing: one score per partition and ticket of the cluster. One member more: the
//! newcomer's scores and those of the present holders. One member less: all scores, but only in the
//! partitions that it held.
//!
//! **Never:** depends on how it came about. [`Table::after`] gives what [`Table::of`] gives.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use paravon_model::{Ordinal, Roster};

use crate::contest::Contest;
use crate::place::{Partition, Shift};
use crate::seats;

/// Who stores what, for one list of members.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    contest: Contest,
    /// `copies` ordinals per partition; where some are given up, those that are left come first.
    sets: Vec<Ordinal>,
    /// How many of each set are left, where some are given up.
    left: Option<Vec<usize>>,
}

impl Table {
    /// The table of `roster`, from nothing.
    pub(crate) fn of(roster: &Roster, seed: u64, shift: Shift) -> Self {
        Self::decided(Contest::of(roster, seed, shift))
    }

    fn decided(contest: Contest) -> Self {
        let mut sets = vec![Ordinal(0); contest.partitions().count() * contest.copies()];
        if contest.copies() > 0 {
            contest.decide(contest.partitions(), &mut sets);
        }
        Self { contest, sets, left: None }
    }

    /// The table of `roster`, from this one of another roster: the same as [`of`](Self::of), at the
    /// cost of what differs.
    pub(crate) fn after(self: &Arc<Self>, roster: &Roster, seed: u64, shift: Shift) -> Arc<Self> {
        let contest = Contest::of(roster, seed, shift);
        if !contest.continues(&self.contest) {
            return Arc::new(Self::decided(contest));
        }
        // A member whose size or zone changed has left, and come anew.
        let gone = self.contest.missing_from(&contest);
        let new = contest.missing_from(&self.contest);
        if gone.is_empty() && new.is_empty() {
            return Arc::clone(self);
        }
        // Who leaves a set frees a seat there; who leaves from beside it changes nothing in it.
        let lost = |&partition: &Partition| {
            self.set(partition).iter().any(|holder| gone.binary_search(holder).is_ok())
        };
        let mut sets = self.sets.clone();
        if !gone.is_empty() {
            contest.decide(contest.partitions().filter(lost), &mut sets);
        }
        if !new.is_empty() {
            let kept = contest.partitions().filter(|partition| !lost(partition));
            contest.admit(&new, kept, &mut sets);
        }
        Arc::new(Self { contest, sets, left: None })
    }

    /// Whether this is the table of `roster`.
    pub(crate) fn is_of(&self, roster: &Roster, seed: u64, shift: Shift) -> bool {
        self.contest == Contest::of(roster, seed, shift)
    }

    /// The same sets without these members, which nobody replaces there. No table follows from it.
    pub(crate) fn without(&self, given_up: &[Ordinal]) -> Self {
        let mut sets = self.sets.clone();
        let leave = |set: &mut [Ordinal]| {
            // Stable: those that are left keep their order.
            set.sort_by_key(|member| given_up.contains(member));
            set.iter().filter(|member| !given_up.contains(member)).count()
        };
        let left = sets.chunks_exact_mut(self.contest.copies().max(1)).map(leave).collect();
        Self { contest: self.contest.clone(), sets, left: Some(left) }
    }

    /// The replica set of `partition`.
    pub(crate) fn set(&self, partition: Partition) -> &[Ordinal] {
        let (place, copies) = (partition.0 as usize, self.contest.copies());
        let held = self.left.as_ref().map_or(copies, |left| left[place]);
        &self.sets[place * copies..place * copies + held]
    }

    /// All members: the replica set of `partition`, then the others by score.
    pub(crate) fn preference(&self, partition: Partition) -> Vec<Ordinal> {
        let mut seats = self.contest.seats(partition);
        seats::sort(&mut seats);
        let set = self.set(partition);
        let all = seats.iter().map(|seat| Ordinal(seat.ordinal));
        set.iter().copied().chain(all.filter(|ordinal| !set.contains(ordinal))).collect()
    }
}
