//! One node of a cluster in memory, for tests: a shard and what its store would hold.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

use paravon_model::{Digest, Failure, Hlc, Key, Marks, Merged, Ordinal, Outcome, Record, Version};
use paravon_ring::{HashArc, KeyHash, Layout, Partition, record_hash};

use crate::admission::Admission;
use crate::event::{Effect, Entry, Event, ScanFailure};
use crate::operations::OperationId;
use crate::shard::{Settings, Shard};
use crate::test_cluster::shard;

/// What is queued and not yet durable.
#[derive(Clone, Debug)]
pub(crate) enum Queued {
    Merge { operation: OperationId, key: Key, record: Record },
    Heal { operation: OperationId, key: Key, record: Option<Record> },
    Drop { operation: OperationId, key: Key, version: Version },
    Marks { operation: OperationId, partition: Partition, marks: Marks },
}

pub(crate) struct Node {
    pub(crate) shard: Shard,
    pub(crate) stored: BTreeMap<Key, Record>,
    pub(crate) hints: BTreeMap<(Ordinal, KeyHash, Key), Record>,
    pub(crate) queued: VecDeque<Queued>,
    /// Whether its disk confirms nothing for the time being.
    pub(crate) stalled: bool,
    /// Whether its log makes no ceiling durable for the time being.
    pub(crate) log_stalled: bool,
    /// Whether its disk does not say, for the time being, that it has stored a document.
    pub(crate) unstored: bool,
    /// What its store answers to every merge, where it fails.
    pub(crate) broken: Option<Failure>,
    /// What its store has not summed up.
    pub(crate) unsummed: BTreeSet<Partition>,
    /// For whom something is dirty in its store, and the moment of that.
    pub(crate) dirty: BTreeMap<Ordinal, u64>,
    /// Keys whose records its store cannot read.
    pub(crate) damaged: BTreeSet<Key>,
    /// Keys that its store has marked damaged, whatever was stored over them since.
    pub(crate) marked: BTreeSet<Key>,
    /// The marks of its partitions.
    pub(crate) marks: BTreeMap<Partition, Marks>,
    /// Pages that were read.
    pub(crate) scanned: usize,
    /// The ceiling of its clock that its log holds.
    pub(crate) ceiling: Hlc,
    /// Wall clock less true time, in milliseconds.
    pub(crate) skew_ms: i64,
    pub(crate) tokens: Vec<(u32, OperationId)>,
}

impl Node {
    pub(crate) fn new(number: u32, layout: &Arc<Layout>) -> Self {
        Self {
            shard: shard(number, layout, Admission::Stored),
            stored: BTreeMap::new(),
            hints: BTreeMap::new(),
            queued: VecDeque::new(),
            stalled: false,
            log_stalled: false,
            unstored: false,
            broken: None,
            unsummed: BTreeSet::new(),
            dirty: BTreeMap::new(),
            damaged: BTreeSet::new(),
            marked: BTreeSet::new(),
            marks: BTreeMap::new(),
            scanned: 0,
            ceiling: Hlc::ZERO,
            skew_ms: 0,
            tokens: Vec::new(),
        }
    }

    /// What a store finds out on the way.
    pub(crate) fn find_damage(&mut self, effect: &Effect) -> Option<Event> {
        let found = match effect {
            Effect::Read { key, .. } | Effect::Heal { key, .. } => Some(key.clone()),
            Effect::Scan { partition, part, after, limit, bytes, .. } => {
                let arc = partition.part(self.shard.layout.shift(), *part);
                let page = self.scan(arc, after.clone(), *limit, *bytes);
                page.err().and_then(|failure| failure.at).map(|(_, key)| key)
            }
            _ => None,
        };
        found.and_then(|key| self.mark(&key))
    }

    /// Marks a key that cannot be read.
    pub(crate) fn mark(&mut self, key: &Key) -> Option<Event> {
        let new = self.damaged.contains(key) && self.marked.insert(key.clone());
        new.then(|| Event::Damaged { hash: KeyHash::of(key, 0), key: key.clone() })
    }

    pub(crate) fn make_durable(&mut self, queued: Queued) -> Vec<Event> {
        match queued {
            Queued::Merge { operation, key, record } => {
                let (stamp, found) = (record.version, self.mark(&key));
                let answer = if self.damaged.remove(&key) {
                    self.stored.insert(key, record);
                    Err(Failure::Damaged { outcome: Outcome::Unknown })
                } else {
                    Ok(self.merge(key, record))
                };
                found.into_iter().chain([Event::Stored { operation, stamp, answer }]).collect()
            }
            Queued::Heal { operation, key, record } => {
                if self.damaged.remove(&key) {
                    self.stored.remove(&key);
                }
                self.marked.remove(&key);
                if let Some(record) = record {
                    self.merge(key, record);
                }
                vec![Event::Healed { operation, answer: Ok(()) }]
            }
            Queued::Drop { operation, key, version } => {
                if self.stored.get(&key).is_some_and(|held| held.version == version) {
                    self.stored.remove(&key);
                }
                vec![Event::Forgotten { operation, answer: Ok(()) }]
            }
            Queued::Marks { operation, partition, marks } => {
                self.marks.insert(partition, marks);
                vec![Event::MarksSet { operation, answer: Ok(()) }]
            }
        }
    }

    pub(crate) fn scan(
        &self,
        arc: HashArc,
        after: Option<(KeyHash, Key)>,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Entry>, ScanFailure> {
        if let Some(failure) = self.broken.clone() {
            return Err(ScanFailure { failure, at: None });
        }
        let places = self.stored.keys().map(|key| (KeyHash::of(key, 0), key));
        let of_arc = places.filter(|(hash, _)| arc.contains(*hash));
        let behind = |place: &(KeyHash, &Key)| {
            after.as_ref().is_none_or(|(hash, key)| *place > (*hash, key))
        };
        let mut found: Vec<_> = of_arc.filter(behind).collect();
        found.sort();
        if let Some((hash, key)) = found.first().filter(|(_, key)| self.damaged.contains(*key)) {
            let failure = Failure::Damaged { outcome: Outcome::Refused };
            return Err(ScanFailure { failure, at: Some((*hash, (*key).clone())) });
        }
        let mut taken = 0;
        let room = |place: &(KeyHash, &Key)| {
            let fits = taken < bytes;
            taken += place.1.encoded().len();
            fits
        };
        let readable = |place: &(KeyHash, &Key)| !self.damaged.contains(place.1);
        let page = found.into_iter().take(limit).take_while(readable).take_while(room);
        Ok(page.map(|(hash, key)| (hash, key.clone(), self.stored[key].clone())).collect())
    }

    /// These settings of a start, with what its store remembers.
    pub(crate) fn remembered(&self, settings: Settings) -> Settings {
        let damaged = self.marked.iter().map(|key| (KeyHash::of(key, 0), key.clone())).collect();
        let marks = self.marks.iter().map(|(&partition, &marks)| (partition, marks)).collect();
        Settings { damaged, marks, ..settings }
    }

    /// The totals of these partitions, each none where [`Self::digest`] is.
    pub(crate) fn totals(&self, partitions: &[Partition]) -> Vec<Option<u128>> {
        let shift = self.shard.layout.shift();
        let mut totals: BTreeMap<_, _> = self.unsummed.iter().map(|it| (*it, None)).collect();
        for (key, record) in &self.stored {
            let total = totals.entry(KeyHash::of(key, 0).partition(shift)).or_insert(Some(0_u128));
            let counts = !self.damaged.contains(key);
            *total = total.map(|total| total.wrapping_add(record_hash(0, key, record)));
            *total = total.filter(|_| counts);
        }
        partitions.iter().map(|it| totals.get(it).copied().unwrap_or(Some(0))).collect()
    }

    /// None where it has not summed up the partition, or a record of it is damaged.
    pub(crate) fn digest(&self, partition: Partition) -> Option<Digest> {
        if self.unsummed.contains(&partition) {
            return None;
        }
        let shift = self.shard.layout.shift();
        let mut digest = Digest::default();
        for (key, record) in &self.stored {
            let hash = KeyHash::of(key, 0);
            if hash.partition(shift) == partition {
                if self.damaged.contains(key) {
                    return None;
                }
                let sum = &mut digest.0[hash.sixteenth(shift)];
                *sum = sum.wrapping_add(record_hash(0, key, record));
            }
        }
        Some(digest)
    }

    pub(crate) fn merge(&mut self, key: Key, record: Record) -> Merged {
        match self.stored.get(&key) {
            Some(known) if record.precedence(known) == Ordering::Less => {
                Merged::Superseded { version: known.version }
            }
            _ => {
                self.stored.insert(key, record);
                Merged::Applied
            }
        }
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }
}
