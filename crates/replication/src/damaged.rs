//! What damage means for the answers of this shard, and what is done about it: the dispatch between the
//! set of what is damaged and the healing of keys and partitions (`NO_SILENT_ROT`).
//!
//! **Never:** lets an answer of this node count where it is damaged, or tells such a key in a pull or
//! comparison.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Failure, Key, Merged, Ordinal, Outcome, Record};
use paravon_ring::{KeyHash, Layout, Partition};

use crate::damage::{Damages, Required, Subject};
use crate::event::{Effect, Entry, Now};
use crate::marks::Health;
use crate::mutants::{self, Mutant};
use crate::shard::Shard;
use crate::stores::Waiter;

/// Whether an operator has both accepted what is lost and named this member as lost for good: nothing
/// that it could tell is waited for.
pub(crate) fn is_given_up(layout: &Layout, required: Required, member: Ordinal) -> bool {
    required == Required::WhoeverTells && layout.document().has_lost(member)
}

impl Shard {
    /// What this shard cannot answer for. Looks at all of it.
    #[must_use]
    pub fn damage(&self) -> Damages {
        self.damage.damages()
    }

    /// Whether what this node holds there counts in no quorum.
    pub(crate) fn discounts(&self, hash: KeyHash) -> bool {
        self.damage.covers(hash, self.layout.shift()) && !mutants::is(Mutant::DamageCounts)
    }

    /// Whether nothing that sums up the partition is told.
    pub(crate) fn hides(&self, partition: Partition) -> bool {
        let damaged = self.damage.touches(partition, self.layout.shift());
        damaged && !mutants::is(Mutant::DamagePulledFrom)
    }

    /// Whether nothing at all of the partition is told.
    pub(crate) fn has_lost(&self, partition: Partition) -> bool {
        self.damage.is_lost(partition) && !mutants::is(Mutant::DamagePulledFrom)
    }

    /// Tells no totals of partitions that this node cannot answer for.
    pub(crate) fn hide_damage(&self, partitions: &[Partition], totals: &mut [Option<u128>]) {
        if !self.damage.is_empty() {
            for (partition, total) in partitions.iter().zip(totals) {
                *total = total.filter(|_| !self.hides(*partition));
            }
        }
    }

    /// What the store of this node has read, as far as it counts.
    pub(crate) fn counted_read(
        &self,
        hash: KeyHash,
        answer: Result<Option<Record>, Failure>,
    ) -> Result<Option<Record>, Failure> {
        let damaged = Failure::Damaged { outcome: Outcome::Refused };
        if self.discounts(hash) { Err(damaged) } else { answer }
    }

    /// What became of a merge, as far as it counts: where this node is damaged it stores all the same. For
    /// a hint that is enough, which counts in no quorum.
    pub(crate) fn counted_merge(
        &self,
        waiter: Waiter,
        hash: KeyHash,
        answer: Result<Merged, Failure>,
    ) -> Result<Merged, Failure> {
        let counts = matches!(waiter, Waiter::Write(_) | Waiter::Repair(_) | Waiter::Peer(_));
        if counts && answer.is_ok() && self.discounts(hash) {
            return Err(Failure::Damaged { outcome: Outcome::Unknown });
        }
        answer
    }

    /// The page up to the first key that this node cannot answer for; that key where the page begins with
    /// it.
    pub(crate) fn tellable(&self, mut page: Vec<Entry>) -> Result<Vec<Entry>, (KeyHash, Key)> {
        if self.damage.is_empty() || mutants::is(Mutant::DamagePulledFrom) {
            return Ok(page);
        }
        let shift = self.layout.shift();
        match page.iter().position(|(hash, ..)| self.damage.covers(*hash, shift)) {
            None => Ok(page),
            Some(0) => {
                let (hash, key, _) = page.swap_remove(0);
                Err((hash, key))
            }
            Some(at) => {
                page.truncate(at);
                Ok(page)
            }
        }
    }

    /// The store of this node has found a damaged record. What is being done about an earlier one of the
    /// key is void.
    pub(crate) fn damaged(&mut self, now: Now, hash: KeyHash, key: Key, out: &mut Vec<Effect>) {
        self.void_heal(hash, &key);
        self.damage.mark(now.monotonic, hash, key);
        self.damage_changed(now, hash.partition(self.layout.shift()), out);
    }

    /// What is damaged of the partition is another. While anything is, this node claims no floor, tells
    /// no `full`, moves no mark and drops nothing there.
    pub(crate) fn damage_changed(&mut self, now: Now, partition: Partition, out: &mut Vec<Effect>) {
        if self.damage.touches(partition, self.layout.shift()) {
            self.floors.fare(partition, Health::Damaged);
            return self.stop_dropping(partition);
        }
        if !self.floors.is_damaged(partition) {
            return;
        }
        self.floors.fare(partition, Health::Whole);
        // What was stored or healed meanwhile may lie below the floor.
        self.floors.drops.want(partition);
        if self.is_admitted() {
            self.advance_dropping(now, out);
        }
    }

    /// An operator takes what is left.
    pub(crate) fn accept_loss(
        &mut self,
        now: Now,
        partition: Partition,
        key: Option<(KeyHash, Key)>,
        out: &mut Vec<Effect>,
    ) {
        let shift = self.layout.shift();
        for subject in self.damage.accept_loss(now.monotonic, partition, key, shift) {
            match subject {
                Subject::Key(hash, key) => self.void_heal(hash, &key),
                Subject::Partition(partition) => self.void_restore(partition),
            }
        }
        self.advance_healing(now, out);
    }

    /// Another layout is in use: whatever is being healed begins anew.
    pub(crate) fn relayout_damage(&mut self, now: Now) {
        self.damage.start(now.monotonic);
        self.damage.relayout(now.monotonic);
        self.relayout_restoring();
    }

    /// Begins to heal what it is time for.
    pub(crate) fn advance_healing(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.damage.is_empty() {
            return;
        }
        self.damage.start(now.monotonic);
        if !self.is_admitted() {
            return;
        }
        while let Some((subject, required)) = self.damage.next(now.monotonic) {
            match subject {
                Subject::Key(hash, key) => self.heal_own(now, hash, key, required, out),
                Subject::Partition(partition) => self.begin_restore(partition, required),
            }
        }
        self.advance_transfer(now, out);
    }

    /// When there is something to heal.
    pub(crate) fn healing_wake(&self) -> Option<Duration> {
        self.damage.wake().filter(|_| self.is_admitted())
    }
}
