//! The operations that a shard has under way: a slab whose ids do not come again for long, so
//! that an answer which comes after its operation has ended finds nothing.

use alloc::vec::Vec;

/// Names an operation of one shard. The same id comes again only after its slot was used 2^32 times,
/// long after every answer to the first one has come or was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId {
    slot: u32,
    generation: u32,
}

impl OperationId {
    /// The id as it travels with a request.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The id that [`as_u64`](Self::as_u64) gave. One that was never given out finds nothing.
    #[must_use]
    pub fn from_u64(bits: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
        Self { slot: half(bits), generation: half(bits >> 32) }
    }
}

/// The slab.
#[derive(Debug)]
pub(crate) struct Operations<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// Above the generation of every slot that there ever was and is no more.
    floor: u32,
}

/// Slots that are kept although nothing is under way.
const KEPT_SLOTS: usize = 1024;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    operation: Option<T>,
}

impl<T> Operations<T> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), floor: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, operation: T) -> OperationId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: self.floor, operation: None });
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.slots[index as usize];
        slot.operation = Some(operation);
        OperationId { slot: index, generation: slot.generation }
    }

    pub(crate) fn get_mut(&mut self, id: OperationId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation == id.generation { slot.operation.as_mut() } else { None }
    }

    pub(crate) fn get(&self, id: OperationId) -> Option<&T> {
        let slot = self.slots.get(id.slot as usize)?;
        if slot.generation == id.generation { slot.operation.as_ref() } else { None }
    }

    pub(crate) fn remove(&mut self, id: OperationId) -> Option<T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let operation = slot.operation.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        if self.len() == 0 && self.slots.len() > KEPT_SLOTS {
            self.give_back();
        }
        Some(operation)
    }

    /// Gives the operation another id, so that answers under the old one find nothing.
    pub(crate) fn renew(&mut self, id: OperationId) -> Option<OperationId> {
        self.get_mut(id)?;
        let slot = self.slots.get_mut(id.slot as usize)?;
        slot.generation = slot.generation.wrapping_add(1);
        Some(OperationId { slot: id.slot, generation: slot.generation })
    }

    /// After a burst: every tick looks at every slot.
    fn give_back(&mut self) {
        let highest = self.slots.iter().map(|slot| slot.generation).max();
        self.floor = highest.map_or(self.floor, |highest| highest.wrapping_add(1));
        (self.slots, self.free) = (Vec::new(), Vec::new());
    }

    /// All that are under way.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.operation.as_ref())
    }

    /// The ids of the operations that `select` chooses.
    pub(crate) fn select(&self, select: impl Fn(&T) -> bool) -> Vec<OperationId> {
        let chosen = |(slot, entry): (usize, &Slot<T>)| {
            let id = OperationId {
                slot: u32::try_from(slot).unwrap_or(u32::MAX),
                generation: entry.generation,
            };
            entry.operation.as_ref().filter(|&operation| select(operation)).map(|_| id)
        };
        self.slots.iter().enumerate().filter_map(chosen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_no_slots_and_its_ids_find_nothing() {
        let mut operations = Operations::new();
        let burst: Vec<_> = (0..=KEPT_SLOTS).map(|_| operations.insert('a')).collect();
        for id in &burst {
            assert_eq!(operations.remove(*id), Some('a'));
        }
        assert_eq!((operations.slots.len(), operations.len()), (0, 0));
        operations.insert('b');
        assert!(burst.iter().all(|id| operations.get_mut(*id).is_none()));
    }

    #[test]
    fn a_renewed_operation_is_found_under_its_new_id_alone() {
        let mut operations = Operations::new();
        let old = operations.insert('a');
        let new = operations.renew(old).unwrap();
        assert_eq!(operations.get_mut(old), None);
        assert_eq!(operations.get_mut(new), Some(&mut 'a'));
        assert_eq!(OperationId::from_u64(new.as_u64()), new);
        assert_eq!(operations.renew(old), None);
    }

    #[test]
    fn an_id_outlives_its_operation_without_finding_another() {
        let mut operations = Operations::new();
        let first = operations.insert('a');
        assert_eq!(operations.remove(first), Some('a'));
        let second = operations.insert('b');
        assert_eq!(operations.get_mut(first), None);
        assert_eq!(operations.remove(first), None);
        assert_eq!(operations.select(|&o| o == 'b'), [second]);
        assert_eq!(operations.len(), 1);
    }
}
