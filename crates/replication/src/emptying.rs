//! What this shard must not hold: partitions that a change makes this node new to are emptied before the
//! node *has stored* the change's document (`EPOCH_FENCE`, `NO_RESURRECTION`), and what it stores no
//! longer is cleaned up in its own time: fast while nobody asks anything of this shard, and hardly
//! noticeably while somebody does. What other shards of the node are asked does not count.
//!
//! **Never:** empties before every store that was admitted earlier has ended, or cleans up while a change
//! is under way or before this node has stored the layout.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::Failure;
use paravon_ring::Partition;

use crate::clearing::Reason;
use crate::event::{Effect, Now};
use crate::mutants::{self, Mutant};
use crate::shard::Shard;

/// Partitions that are emptied at once.
const MAX_EMPTYING: usize = 16;

/// Partitions that one step looks at for something to clean.
const MAX_LOOKED_AT: usize = 4096;

/// How long nobody has asked anything of a shard that is called quiet.
const CALM: Duration = Duration::from_millis(100);

/// How much is cleaned at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    partitions: usize,
    /// Keys being forgotten, of all partitions.
    keys: usize,
    /// Keys of one page.
    pub(crate) page: usize,
    /// Between two pages.
    pub(crate) rest: Option<Duration>,
}

/// While nobody waits for anything else.
const QUIET: Room = Room { partitions: 16, keys: 512, page: 512, rest: None };

/// While somebody does.
const BUSY: Room = Room { partitions: 1, keys: 4, page: 64, rest: Some(Duration::from_millis(10)) };

/// What is to be cleared.
#[derive(Debug, Default)]
pub(crate) struct Emptying {
    /// Made new to this node and not begun.
    waiting: Vec<Partition>,
    /// Being emptied.
    under_way: usize,
    /// Of these nothing is left but that the disk knows it.
    marking: Vec<Partition>,
    cleaning: Cleaning,
    /// When the first partition goes on that rests.
    pub(crate) resume_at: Option<Duration>,
}

/// Once around through all partitions, after a change or a start.
#[derive(Debug, Default)]
struct Cleaning {
    /// Those from this number on are left to look at; none where all were.
    left: Option<u32>,
    /// Being cleaned.
    under_way: usize,
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

    /// A partition rests until then.
    pub(crate) fn rests_until(&mut self, at: Duration) {
        self.resume_at = Some(self.resume_at.map_or(at, |known| known.min(at)));
    }

    /// Keys of one partition that may be forgotten at once in this room: at least one.
    pub(crate) fn share(&self, room: Room) -> usize {
        (room.keys / self.cleaning.under_way.max(1)).max(1)
    }

    /// The disk has answered for this one, if it was waited for.
    pub(crate) fn end_marking(&mut self, partition: Partition) -> Option<()> {
        let at = self.marking.iter().position(|marking| *marking == partition)?;
        self.marking.swap_remove(at);
        Some(())
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
    pub(crate) fn advance_emptying(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.advance_voiding(now, out);
        while self.emptying.under_way < MAX_EMPTYING
            && let Some(partition) = self.emptying.waiting.pop()
        {
            self.emptying.under_way += 1;
            self.clear(now, partition, Reason::New, out);
        }
    }

    /// The layout is stable and this node has stored it: what it is in no set of can go.
    pub(crate) fn begin_cleaning(&mut self) {
        if self.layout.document().joint().is_none() {
            self.emptying.cleaning.left = Some(0);
        }
    }

    /// A partition is empty.
    pub(crate) fn cleared(
        &mut self,
        now: Now,
        partition: Partition,
        reason: Reason,
        out: &mut Vec<Effect>,
    ) {
        match reason {
            // Its marks go with it: what they promised is no longer so.
            Reason::New => {
                self.emptying.marking.push(partition);
                self.forget_marks(partition, out);
            }
            Reason::Foreign => {
                self.emptying.cleaning.under_way -= 1;
                self.advance_cleaning(now, out);
            }
        }
    }

    /// The marks of an empty partition are gone, durably; else it is begun anew.
    pub(crate) fn emptied(
        &mut self,
        now: Now,
        partition: Partition,
        answer: &Result<(), Failure>,
        out: &mut Vec<Effect>,
    ) {
        self.emptying.under_way -= 1;
        match answer {
            Ok(()) => self.settle(now, out),
            Err(_) => self.emptying.waiting.push(partition),
        }
    }

    /// Begins with as many partitions as there is room for. Of very many it looks at some, and at the next
    /// ones at the next tick.
    pub(crate) fn advance_cleaning(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut budget = MAX_LOOKED_AT;
        while let Some(from) = self.emptying.cleaning.left
            && self.is_admitted()
            && budget > 0
            && self.emptying.cleaning.under_way < self.cleaning_room(now).partitions
        {
            let own = self.portion.partitions_from(from, self.layout.shift());
            let mut own = own.take(budget).inspect(|_| budget -= 1);
            let (mut last, mut foreign) = (None, None);
            while foreign.is_none()
                && let Some(partition) = own.next()
            {
                last = Some(partition.0);
                foreign = (!self.stores(partition)).then_some(partition);
            }
            drop(own);
            self.emptying.cleaning.left = last.map(|last| last + 1);
            if let Some(partition) = foreign {
                self.emptying.cleaning.under_way += 1;
                self.clear(now, partition, Reason::Foreign, out);
            }
        }
    }

    /// How much may be cleaned just now.
    pub(crate) fn cleaning_room(&self, now: Now) -> Room {
        let served = self.served.is_some_and(|served| now.monotonic < served + CALM);
        if served || self.stores.foreground() > 0 { BUSY } else { QUIET }
    }

    /// When the next partitions can be looked at for something to clean: at once.
    pub(crate) fn cleaning_wake(&self) -> Option<Duration> {
        let cleaning = &self.emptying.cleaning;
        let looks = cleaning.left.is_some() && cleaning.under_way == 0 && self.is_admitted();
        looks.then_some(Duration::ZERO)
    }

    /// Whether a partition is being cleared.
    pub(crate) fn clears(&self) -> bool {
        let voids = self.voiding.is_under_way();
        voids || self.emptying.under_way > 0 || self.emptying.cleaning.under_way > 0
    }
}

#[cfg(test)]
#[path = "emptying_tests.rs"]
mod tests;
