//! How the copies of a node fare, gathered from its shards for those who watch, and what is given up of
//! them.
//!
//! **Never:** decides anything, or tells of partitions that the node does not store.

use std::collections::BTreeMap;

use paravon_model::{Damage, Hlc, Key, Ordinal};
use paravon_protocol::{
    AntiEntropyStatus, DamageStatus, LossReply, MarksStatus, PartitionStatus, PartitionsReply,
    ScrubStatus,
};
use paravon_replication::{Agreement, Damages, FloorStatus, Now, Shard};
use paravon_ring::{KeyHash, Partition, Shift};
use paravon_storage::Store;

use crate::scrubbing::{Scrubbing, Totals};

/// All copies, on all loops so far.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    agreement: Agreement,
    damages: Damages,
    floors: FloorStatus,
    /// The age of the lowest floor that is on its way up, in seconds.
    oldest_floor: Option<u64>,
    /// Damaged keys that were found since the start.
    found: u64,
    scrub: Totals,
}

impl Copies {
    /// Adds those of a shard.
    pub(crate) fn add(
        &mut self,
        now: Now,
        shard: Option<&Shard>,
        store: &dyn Store,
        scrubbing: &Scrubbing,
    ) {
        if let Some(shard) = shard {
            let Agreement {
                partitions,
                never,
                oldest,
                differing,
                pulled_records,
                pulled_bytes,
                compared,
            } = shard.agreement(now.monotonic);
            let sum = &mut self.agreement;
            sum.partitions += partitions;
            sum.never += never;
            sum.oldest = sum.oldest.max(oldest);
            sum.differing += differing;
            sum.pulled_records += pulled_records;
            sum.pulled_bytes += pulled_bytes;
            sum.compared += compared;
        }
        if let Some(shard) = shard {
            let FloorStatus { droppable, lowest, waiting_for, .. } = shard.floors();
            self.floors.droppable += droppable;
            self.floors.waiting_for.extend(waiting_for);
            self.floors.waiting_for.sort_unstable();
            self.floors.waiting_for.dedup();
            let age = lowest.and_then(|floor| age_seconds(floor, now));
            self.oldest_floor = self.oldest_floor.max(age);
        }
        self.add_damages(match shard {
            Some(shard) => shard.damage(),
            None => damages_of(store),
        });
        self.scrub.add(&scrubbing.totals());
    }

    fn add_damages(&mut self, damages: Damages) {
        let Damages { keys, partitions, waiting_for, unhealable } = damages;
        let sum = &mut self.damages;
        sum.keys += keys;
        sum.partitions += partitions;
        sum.unhealable += unhealable;
        sum.waiting_for.extend(waiting_for);
        sum.waiting_for.sort_unstable();
        sum.waiting_for.dedup();
    }

    /// Adds damaged keys that a loop has found since the start.
    pub(crate) fn add_found(&mut self, keys: u64) {
        self.found += keys;
    }

    pub(crate) fn anti_entropy(&self) -> AntiEntropyStatus {
        let Agreement { partitions, never, differing, .. } = self.agreement;
        AntiEntropyStatus {
            partitions,
            agreed: partitions.saturating_sub(never),
            oldest_agreement_seconds: self.agreement.oldest.map(|age| age.as_secs()),
            differing,
            pulled_records: self.agreement.pulled_records,
            pulled_bytes: self.agreement.pulled_bytes,
            compared_sums: self.agreement.compared,
        }
    }

    /// What is damaged, where `name` says what a member is called.
    pub(crate) fn damage(&self, name: impl Fn(Ordinal) -> String) -> DamageStatus {
        let Damages { keys, partitions, unhealable, .. } = self.damages;
        let waiting_for = self.damages.waiting_for.iter().copied().map(name).collect();
        DamageStatus { keys, partitions, waiting_for, unhealable }
    }

    /// How far marks are, where `name` says what a member is called.
    pub(crate) fn marks(&self, name: impl Fn(Ordinal) -> String) -> MarksStatus {
        MarksStatus {
            partitions: self.floors.droppable as u64,
            oldest_floor_seconds: self.oldest_floor,
            waiting_for: self.floors.waiting_for.iter().copied().map(name).collect(),
        }
    }

    pub(crate) fn scrub(&self) -> ScrubStatus {
        let Totals { rounds, last_round, records, bytes, mended, unsummed } = self.scrub;
        let last_round_seconds = last_round.map(|took| took.as_secs_f64());
        let damaged = self.found;
        ScrubStatus { rounds, last_round_seconds, records, bytes, unsummed, damaged, mended }
    }
}

/// What is damaged in a store without a shard.
fn damages_of(store: &dyn Store) -> Damages {
    let marks = store.marks();
    let lost = marks.iter().filter(|(_, marks)| marks.damage == Damage::Lost).count() as u64;
    let keys = store.damaged().len() as u64;
    Damages { keys, partitions: lost, ..Damages::default() }
}

/// A page of the partitions that the node stores.
#[derive(Debug)]
pub(crate) struct Listing {
    after: Option<Partition>,
    limit: usize,
    /// Of all loops so far, and one more per shard than are wanted, to see whether there are more.
    listed: Vec<Listed>,
}

#[derive(Clone, Copy, Debug)]
struct Listed {
    partition: Partition,
    agreed_seconds: Option<u64>,
    with: Option<Ordinal>,
    floor_seconds: Option<u64>,
    damaged_keys: u64,
    damage: Damage,
}

impl Listing {
    pub(crate) fn new(after: Option<u32>, limit: u16) -> Self {
        let after = after.map(Partition);
        Self { after, limit: usize::from(limit), listed: Vec::new() }
    }

    /// Adds the first partitions of a shard.
    pub(crate) fn add(&mut self, now: Now, shard: &Shard, store: &dyn Store, shift: Shift) {
        let marks: BTreeMap<_, _> = store.marks().into_iter().collect();
        let mut damaged: BTreeMap<Partition, u64> = BTreeMap::new();
        for (hash, _) in store.damaged() {
            *damaged.entry(hash.partition(shift)).or_default() += 1;
        }
        let listed = shard.agreements(now.monotonic).map(|(partition, age, with)| {
            let marks = marks.get(&partition).copied().unwrap_or_default();
            Listed {
                partition,
                agreed_seconds: age.map(|age| age.as_secs()),
                with,
                floor_seconds: age_seconds(marks.floor, now),
                damaged_keys: damaged.get(&partition).copied().unwrap_or_default(),
                damage: marks.damage,
            }
        });
        let wanted =
            listed.filter(|listed| self.after.is_none_or(|after| listed.partition > after));
        self.listed.extend(wanted.take(self.limit + 1));
    }

    /// The page, where `name` says what a member is called.
    pub(crate) fn reply(&self, name: impl Fn(Ordinal) -> String) -> PartitionsReply {
        let mut listed = self.listed.clone();
        listed.sort_unstable_by_key(|listed| listed.partition);
        let more = listed.len() > self.limit;
        listed.truncate(self.limit);
        let next = listed.last().filter(|_| more).map(|listed| listed.partition.0);
        let shown = listed.into_iter().map(|listed| PartitionStatus {
            partition: listed.partition.0,
            agreed_seconds: listed.agreed_seconds,
            floor_seconds: listed.floor_seconds,
            waits_for: listed.with.map(&name).unwrap_or_default(),
            damaged_keys: listed.damaged_keys,
            lost: listed.damage == Damage::Lost,
        });
        PartitionsReply { partitions: shown.collect(), next }
    }
}

/// How long ago a mark was; none where it was never raised.
fn age_seconds(mark: Hlc, now: Now) -> Option<u64> {
    (mark != Hlc::ZERO).then(|| now.wall_ms.saturating_sub(mark.physical_ms()) / 1000)
}

/// What an operator gives up at this node.
#[derive(Clone, Debug)]
pub(crate) struct GivenUp {
    pub(crate) partition: Partition,
    /// None for all in the partition.
    pub(crate) key: Option<(KeyHash, Key)>,
    /// How much damage it concerns, as far as is known.
    pub(crate) reply: LossReply,
}

impl GivenUp {
    pub(crate) fn new(partition: Partition, key: Option<(KeyHash, Key)>) -> Self {
        Self { partition, key, reply: LossReply::default() }
    }

    /// Counts the damage in the shard that owns the partition.
    pub(crate) fn count(&mut self, store: &dyn Store, shift: Shift) {
        let concerns = |place: &(KeyHash, Key)| match &self.key {
            Some(key) => place == key,
            None => place.0.partition(shift) == self.partition,
        };
        let keys = store.damaged().iter().filter(|place| concerns(place)).count();
        let is_lost = store
            .marks()
            .iter()
            .any(|(partition, marks)| *partition == self.partition && marks.damage == Damage::Lost);
        self.reply = LossReply { keys: keys as u64, partitions: u64::from(is_lost) };
    }
}
