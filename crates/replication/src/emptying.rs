//! What this shard must not hold: partitions that a change makes this node new to are emptied before the
//! node *has stored* the change's document (`EPOCH_FENCE`, `NO_RESURRECTION`), and what it stores no
//! longer is cleaned up in its own time.
//!
//! **Never:** empties before every store that was admitted earlier has ended, cleans up while a change
//! is under way or before this node has stored the layout, or cleans more than one partition at once.

use alloc::vec::Vec;

use paravon_ring::Partition;

use crate::clearing::Reason;
use crate::event::{Effect, Now};
use crate::mutants::{self, Mutant};
use crate::shard::Shard;

/// Partitions that are emptied at once.
const MAX_EMPTYING: usize = 16;

/// What is to be cleared.
#[derive(Debug, Default)]
pub(crate) struct Emptying {
    /// Made new to this node and not begun.
    waiting: Vec<Partition>,
    /// Being emptied.
    under_way: usize,
    cleaning: Cleaning,
}

/// Once around through all partitions, after a change or a start.
#[derive(Debug, Default)]
enum Cleaning {
    #[default]
    Done,
    /// Those from this number on are left to look at.
    Left(u32),
    /// One is being cleaned, and those from this number on are left.
    UnderWay(u32),
}

impl Emptying {
    /// These partitions, of this shard.
    pub(crate) fn of(new: impl Iterator<Item = Partition>) -> Self {
        let new = new.filter(|_| !mutants::is(Mutant::NewNotEmptied));
        Self { waiting: new.collect(), ..Self::default() }
    }

    /// Whether all that this node is new to is empty, durably.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.under_way == 0
    }

    fn is_idle(&self) -> bool {
        self.under_way == 0 && !matches!(self.cleaning, Cleaning::UnderWay(_))
    }
}

impl Shard {
    /// A layout of a higher fence is in use, which with those that were missed makes this node new to
    /// these partitions, of any shard. What was emptied for an earlier one is emptied again: nothing
    /// was admitted meanwhile.
    pub(crate) fn relayout_emptying(&mut self, new: &[Partition]) {
        self.give_up_clearing();
        let own = new.iter().copied().filter(|partition| self.portion.owns(*partition));
        self.emptying = Emptying::of(own);
    }

    /// Empties what is to be empty. Called once every store admitted earlier has ended.
    pub(crate) fn advance_emptying(&mut self, out: &mut Vec<Effect>) {
        while self.emptying.under_way < MAX_EMPTYING
            && let Some(partition) = self.emptying.waiting.pop()
        {
            self.emptying.under_way += 1;
            self.clear(partition, Reason::New, out);
        }
    }

    /// The layout is stable and this node has stored it: what it is in no set of can go.
    pub(crate) fn begin_cleaning(&mut self) {
        if self.layout.document().joint().is_none() {
            self.emptying.cleaning = Cleaning::Left(0);
        }
    }

    /// A partition is empty.
    pub(crate) fn cleared(&mut self, now: Now, reason: Reason, out: &mut Vec<Effect>) {
        match reason {
            Reason::New => {
                self.emptying.under_way -= 1;
                self.settle(now, out);
            }
            Reason::Foreign => {
                if let Cleaning::UnderWay(left) = core::mem::take(&mut self.emptying.cleaning) {
                    self.emptying.cleaning = Cleaning::Left(left);
                }
                self.advance_cleaning(out);
            }
        }
    }

    pub(crate) fn advance_cleaning(&mut self, out: &mut Vec<Effect>) {
        let Cleaning::Left(from) = self.emptying.cleaning else { return };
        if !self.is_admitted() {
            return;
        }
        let mut own = self.portion.partitions_from(from, self.layout.shift());
        let foreign = |&partition: &Partition| !self.layout.sets(partition).contains(self.ordinal);
        self.emptying.cleaning = match own.find(foreign) {
            None => Cleaning::Done,
            Some(partition) => {
                self.clear(partition, Reason::Foreign, out);
                Cleaning::UnderWay(partition.0 + 1)
            }
        };
    }

    /// Whether a partition is being cleared.
    pub(crate) fn clears(&self) -> bool {
        !self.emptying.is_idle()
    }
}

#[cfg(test)]
#[path = "emptying_tests.rs"]
mod tests;
