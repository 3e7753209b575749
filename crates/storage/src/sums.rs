//! The sums over the records of a shard, by partition (`CONVERGES_AFTER_HEAL`).
//!
//! Kept in memory alone. A partition is summed up by the scrubber once after each start (`scrub.rs`);
//! from then on every change that becomes visible goes into its sums in the same step. What a change
//! does to them is known when it is decided, since the record that is there is at hand, and travels with
//! it: a group that fails changes nothing. Where it is not known the partition is not summed up any
//! more. It must **never** tell sums that are not exactly those of what a get would tell.

use std::ops::AddAssign;

use paravon_model::{Digest, Record, Version};
use paravon_ring::{KeyHash, Partition, Shift, record_hash};

use crate::own_partitions::OwnPartitions;
use crate::record_stage::Slot;
use crate::scrub::Scrub;
use crate::store::{Decision, Dropped, decide};

/// What a change of a slot does to the sum that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delta {
    /// It grows by this, wrapping.
    Known(u128),
    /// What was there before is not known.
    Unknown,
}

impl AddAssign for Delta {
    fn add_assign(&mut self, other: Self) {
        *self = match (*self, other) {
            (Self::Known(one), Self::Known(other)) => Self::Known(one.wrapping_add(other)),
            _ => Self::Unknown,
        };
    }
}

/// The sums of one shard. Keeps none until it is told of which cluster.
#[derive(Debug)]
pub(crate) struct Sums {
    seed: u64,
    own: Option<OwnPartitions>,
    /// Of each own partition; of those that are not summed up they mean nothing.
    digests: Vec<Digest>,
    /// Which of them are summed up.
    summed: Vec<bool>,
    unsummed: u32,
    /// What is being read, and summed up.
    pub(crate) scrub: Scrub,
}

impl Sums {
    /// None are kept.
    pub(crate) fn none() -> Self {
        Self {
            seed: 0,
            own: None,
            digests: Vec::new(),
            summed: Vec::new(),
            unsummed: 0,
            scrub: Scrub::new(Shift::DEFAULT),
        }
    }

    /// Keeps those of `own` from now on, in a cluster founded with `seed`. All are zero where the shard
    /// `is_empty`, and none is summed up where it is not.
    pub(crate) fn keep(&mut self, seed: u64, own: OwnPartitions, holds: Holds) {
        let count = own.count();
        let is_empty = holds == Holds::Nothing;
        *self = Self {
            seed,
            own: Some(own),
            digests: vec![Digest::default(); count],
            summed: vec![is_empty; count],
            unsummed: if is_empty { 0 } else { u32::try_from(count).expect("32-bit numbers") },
            scrub: Scrub::new(own.shift()),
        };
    }

    /// The merge rule, with what storing the record does to the sums.
    pub(crate) fn decide(
        &self,
        slot: &Slot,
        record: &Record,
        present: Option<&Record>,
    ) -> (Decision, Delta) {
        let decision = decide(record, present);
        let delta = match decision {
            Decision::Store(_) if self.own.is_some() => {
                let before = present.map_or(0, |present| self.hash(slot, present));
                Delta::Known(self.hash(slot, record).wrapping_sub(before))
            }
            Decision::Store(_) | Decision::Keep(_) => Delta::Unknown,
        };
        (decision, delta)
    }

    /// What becomes of a record of a slot that is to go if it is of `version`, the same for both engines;
    /// and what its going does to the sums, where it goes.
    pub(crate) fn decide_drop(
        &self,
        slot: &Slot,
        version: Version,
        present: Option<&Record>,
    ) -> (Dropped, Option<Delta>) {
        match present {
            None => (Dropped::Gone, None),
            Some(present) if present.version != version => {
                (Dropped::Kept { version: present.version }, None)
            }
            Some(present) if self.own.is_some() => {
                let delta = Delta::Known(self.hash(slot, present).wrapping_neg());
                (Dropped::Gone, Some(delta))
            }
            Some(_) => (Dropped::Gone, Some(Delta::Unknown)),
        }
    }

    /// What a record of a slot counts.
    pub(crate) fn hash(&self, slot: &Slot, record: &Record) -> u128 {
        record_hash(self.seed, &slot.key, record)
    }

    /// Takes in a change that has become visible.
    pub(crate) fn change(&mut self, slot: &Slot, delta: Delta) {
        let Some(own) = self.own else { return };
        self.scrub.change(slot, delta);
        let Some(index) = own.index(slot.hash.partition(own.shift())) else { return };
        match delta {
            Delta::Known(delta) if self.summed[index] => {
                add(&mut self.digests[index], slot.hash, own.shift(), delta);
            }
            // It is not in the sums that are to come either: who sums up reads it, or has taken it in.
            Delta::Known(_) => {}
            Delta::Unknown => self.drop_sums(index),
        }
    }

    /// A slot was found that cannot be read.
    pub(crate) fn lose(&mut self, slot: &Slot) {
        self.change(slot, Delta::Unknown);
    }

    /// The sums of a partition, where it is summed up.
    pub(crate) fn digest(&self, partition: Partition) -> Option<Digest> {
        let index = self.own?.index(partition)?;
        self.summed[index].then(|| self.digests[index])
    }

    /// How many own partitions are not summed up.
    pub(crate) fn unsummed(&self) -> u32 {
        self.unsummed
    }

    /// A partition was read from end to end, and this is the sum of it; none where something could not
    /// be read.
    pub(crate) fn read_through(&mut self, partition: Partition, read: Option<Digest>) -> Reading {
        let Some(index) = self.own.and_then(|own| own.index(partition)) else {
            return Reading::Agrees;
        };
        match read {
            None => {
                self.drop_sums(index);
                Reading::Agrees
            }
            Some(read) if !self.summed[index] => {
                self.digests[index] = read;
                self.summed[index] = true;
                self.unsummed -= 1;
                Reading::Agrees
            }
            Some(read) if self.digests[index] == read => Reading::Agrees,
            Some(read) => {
                self.digests[index] = read;
                Reading::Differs
            }
        }
    }

    fn drop_sums(&mut self, index: usize) {
        if std::mem::take(&mut self.summed[index]) {
            self.unsummed += 1;
        }
    }
}

/// Whether a shard has records when its sums begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// None.
    Nothing,
    /// Some, or it is not known.
    Records,
}

/// Whether what was read is what had been summed up, if it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It is.
    Agrees,
    /// It is not: a bug of ours, or a row whose place has rotten. What was read counts from now on.
    Differs,
}

/// Lets the sum that holds a hash grow, wrapping.
pub(crate) fn add(digest: &mut Digest, hash: KeyHash, shift: Shift, delta: u128) {
    let sum = &mut digest.0[hash.sixteenth(shift)];
    *sum = sum.wrapping_add(delta);
}
