//! The records of one stage of the table, by slot. It never decides which record wins.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use paravon_model::{Key, Record};
use paravon_ring::KeyHash;

/// A key with its hash: hashes at no cost, and sorts as redb does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    /// The position on the ring.
    pub(crate) hash: KeyHash,
    /// The key.
    pub(crate) key: Key,
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

/// What redb is to hold.
#[derive(Debug, Default)]
pub(crate) struct RecordStage {
    states: BySlot<RecordState>,
}

impl RecordStage {
    /// The state of a slot, where the stage has one.
    pub(crate) fn get(&self, slot: &Slot) -> Option<&RecordState> {
        self.states.get(slot)
    }

    /// Puts a state there and gives the one that it replaces.
    pub(crate) fn insert(&mut self, slot: Slot, state: RecordState) -> Option<RecordState> {
        self.states.insert(slot, state)
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

    /// All slots, in order.
    pub(crate) fn sorted_slots(&self) -> Vec<Slot> {
        let mut slots: Vec<Slot> = self.states.keys().cloned().collect();
        slots.sort_unstable();
        slots
    }
}
