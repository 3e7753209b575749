//! The records of one stage of the table: by slot, and in order once somebody lists them.
//!
//! A stage pays for no order until its first listing, which comes soon where a scrubber is at work: it
//! lists all the time. It never decides which record wins.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::ops::Bound;
use std::sync::OnceLock;

use paravon_model::{Key, Record};
use paravon_ring::{HashArc, KeyHash};

/// A key with its hash: hashes at no cost, and sorts as redb does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    /// The position on the ring.
    pub(crate) hash: KeyHash,
    /// The key.
    pub(crate) key: Key,
}

impl Slot {
    /// Whether it lies behind a place that a listing has come to.
    pub(crate) fn is_behind(&self, after: Option<&(KeyHash, Key)>) -> bool {
        after.is_none_or(|(hash, key)| (self.hash, &self.key) > (*hash, key))
    }
}

impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash.0);
    }
}

/// The hash of a slot is its key hash: that is keyed by the cluster's seed already.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a slot hashes as one u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Something by slot.
pub(crate) type BySlot<T> = HashMap<Slot, T, BuildHasherDefault<KeyHasher>>;

/// What a slot holds: a record, or nothing because it was forgotten.
pub(crate) type RecordState = Option<Record>;

/// A slot, or with no key the place before all slots of a hash.
pub(crate) type Place = (KeyHash, Option<Key>);

/// Where the places of `arc` behind `after` begin.
pub(crate) fn begin(arc: HashArc, after: Option<&(KeyHash, Key)>) -> Bound<Place> {
    match after {
        Some((hash, key)) if *hash >= arc.first => Bound::Excluded((*hash, Some(key.clone()))),
        _ => Bound::Included((arc.first, None)),
    }
}

/// What redb is to hold.
#[derive(Debug, Default)]
pub(crate) struct RecordStage {
    states: BySlot<RecordState>,
    /// The slots in order. Made by the first listing and kept up from then on. The bound of the table
    /// leaves it out: a slot shares its key, and takes a few words.
    order: OnceLock<BTreeSet<Place>>,
}

impl RecordStage {
    /// The state of a slot, where the stage has one.
    pub(crate) fn get(&self, slot: &Slot) -> Option<&RecordState> {
        self.states.get(slot)
    }

    /// Puts a state there and gives the one that it replaces.
    pub(crate) fn insert(&mut self, slot: Slot, state: RecordState) -> Option<RecordState> {
        match self.states.entry(slot) {
            Entry::Occupied(mut held) => Some(held.insert(state)),
            Entry::Vacant(free) => {
                if let Some(order) = self.order.get_mut() {
                    order.insert((free.key().hash, Some(free.key().key.clone())));
                }
                free.insert(state);
                None
            }
        }
    }

    /// How many slots have a state.
    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    /// Makes room for so many slots.
    pub(crate) fn reserve(&mut self, slots: usize) {
        self.states.reserve(slots);
    }

    /// All states, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Slot, &RecordState)> {
        self.states.iter()
    }

    /// All slots, in order. Makes no order that stays.
    pub(crate) fn sorted_slots(&self) -> Vec<Slot> {
        let mut slots: Vec<Slot> = self.states.keys().cloned().collect();
        slots.sort_unstable();
        slots
    }

    /// The states of `arc` behind `after`, in order.
    pub(crate) fn behind(
        &self,
        arc: HashArc,
        after: Option<&(KeyHash, Key)>,
    ) -> impl Iterator<Item = (Slot, &RecordState)> + use<'_> {
        let behind = self.order().range((begin(arc, after), Bound::Unbounded));
        behind.take_while(move |(hash, _)| *hash <= arc.last).filter_map(|(hash, key)| {
            let slot = Slot { hash: *hash, key: key.clone()? };
            self.states.get(&slot).map(|state| (slot, state))
        })
    }

    fn order(&self) -> &BTreeSet<Place> {
        let place = |slot: &Slot| (slot.hash, Some(slot.key.clone()));
        self.order.get_or_init(|| self.states.keys().map(place).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{key, record};

    fn slot(number: u8) -> Slot {
        let (hash, key) = key(number);
        Slot { hash, key }
    }

    fn listed(stage: &RecordStage, arc: HashArc, after: Option<&Slot>) -> Vec<Slot> {
        let after = after.map(|slot| (slot.hash, slot.key.clone()));
        stage.behind(arc, after.as_ref()).map(|(slot, _)| slot).collect()
    }

    #[test]
    fn a_listing_is_in_order_and_has_what_came_after_the_first() {
        let mut stage = RecordStage::default();
        assert!(listed(&stage, HashArc::ALL, None).is_empty());
        for number in 0..40 {
            assert_eq!(stage.insert(slot(number), Some(record(1, Some(1)))), None);
            assert_eq!(listed(&stage, HashArc::ALL, None).len(), usize::from(number) + 1);
        }
        assert_eq!(stage.insert(slot(7), None), Some(Some(record(1, Some(1)))));
        let all = listed(&stage, HashArc::ALL, None);
        assert_eq!(all, stage.sorted_slots());
        assert_eq!(listed(&stage, HashArc::ALL, Some(&all[9])), all[10..]);
        let arc = HashArc { first: all[5].hash, last: all[20].hash };
        assert_eq!(listed(&stage, arc, None), all[5..=20]);
        assert_eq!(listed(&stage, arc, Some(&all[2])), all[5..=20]);
        assert_eq!(listed(&stage, arc, Some(&all[12])), all[13..=20]);
        assert_eq!(listed(&stage, arc, Some(&all[25])), []);
    }
}
