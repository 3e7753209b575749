//! What a shard remembers beside its records: the marks of its partitions, the keys that it knows to be
//! damaged, and for whom it has kept hints.
//!
//! Every change carries the state that results, so any part of the log may be replayed over any later
//! state, in order and up to its end. Damage **never** goes but by a change that says so
//! (`NO_SILENT_ROT`).

use std::collections::{BTreeMap, BTreeSet};

use paravon_model::{Damage, Marks, Ordinal};
use paravon_ring::{Partition, Shift};

use crate::record_stage::Slot;

/// One thing that becomes true of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MarkChange {
    /// A partition has these marks.
    Marks {
        /// Which one.
        partition: Partition,
        /// All of them.
        marks: Marks,
        /// How many files of the shard had been quarantined when this was said: it does not know of
        /// later ones.
        quarantines: u32,
    },
    /// The record of a key could not be read.
    Damaged(Slot),
    /// The key is whole again.
    Healed(Slot),
}

impl MarkChange {
    /// What it takes in memory until the file of the shard holds the log before it, in bytes.
    pub(crate) fn weight(&self) -> usize {
        const OVERHEAD: usize = 128;
        OVERHEAD
            + match self {
                Self::Marks { .. } => 0,
                Self::Damaged(slot) | Self::Healed(slot) => slot.key.encoded().len(),
            }
    }
}

/// The marks of a partition, and how much they know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    /// As they were set.
    pub(crate) marks: Marks,
    /// How many files of the shard had been quarantined then.
    pub(crate) quarantines: u32,
}

/// What one shard remembers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardMarks {
    /// How many of its files were quarantined.
    pub(crate) quarantines: u32,
    /// Partitions whose marks were set. Of the others nothing but the quarantines is known.
    pub(crate) partitions: BTreeMap<Partition, Marked>,
    /// Keys that are damaged, until they are healed.
    pub(crate) damaged: BTreeSet<Slot>,
    /// For whom the shard's file may hold hints or dirty arcs.
    pub(crate) targets: BTreeSet<Ordinal>,
    /// Counts what has changed here since the start.
    pub(crate) changes: u64,
}

impl ShardMarks {
    /// Makes a change true.
    pub(crate) fn apply(&mut self, change: MarkChange) {
        let changes = match change {
            MarkChange::Marks { partition, marks, quarantines } => {
                self.set(partition, Marked { marks, quarantines })
            }
            MarkChange::Damaged(slot) => self.damaged.insert(slot),
            MarkChange::Healed(slot) => self.damaged.remove(&slot),
        };
        self.changes += u64::from(changes);
    }

    /// Says whether anything is another than before.
    fn set(&mut self, partition: Partition, marked: Marked) -> bool {
        let unmarked = Marked { marks: Marks::default(), quarantines: 0 };
        let before = if marked == unmarked {
            self.partitions.remove(&partition)
        } else {
            self.partitions.insert(partition, marked)
        };
        before.unwrap_or(unmarked) != marked
    }

    /// Notes for whom a hint or a dirty arc is kept.
    pub(crate) fn note_target(&mut self, target: Ordinal) {
        self.changes += u64::from(self.targets.insert(target));
    }

    /// The file of the shard is lost, with every record and hint in it. Counted on past `last`.
    pub(crate) fn quarantine(&mut self, last: u32) {
        self.quarantines = self.quarantines.max(last) + 1;
        self.changes += 1;
    }

    /// Whether a key is damaged.
    pub(crate) fn is_damaged(&self, slot: &Slot) -> bool {
        self.damaged.contains(slot)
    }

    /// The marks of every partition that has any, ascending, where every `shards`-th from `shard` on is
    /// of this shard. Without `shift` only of those whose marks were set: how many others there are is
    /// not known.
    pub(crate) fn marks(
        &self,
        (shard, shards): (u16, u16),
        shift: Option<Shift>,
    ) -> Vec<(Partition, Marks)> {
        let has_any = |(_, marks): &(Partition, Marks)| *marks != Marks::default();
        match shift {
            Some(shift) if self.quarantines > 0 => (u32::from(shard)..shift.partitions())
                .step_by(usize::from(shards))
                .map(|number| (Partition(number), self.marks_of(Partition(number))))
                .filter(has_any)
                .collect(),
            _ => {
                let set = self.partitions.keys();
                set.map(|number| (*number, self.marks_of(*number))).filter(has_any).collect()
            }
        }
    }

    fn marks_of(&self, partition: Partition) -> Marks {
        let set = self.partitions.get(&partition);
        let marks = set.map_or_else(Marks::default, |marked| marked.marks);
        let knows = set.map_or(0, |marked| marked.quarantines);
        if knows < self.quarantines { Marks { damage: Damage::Lost, ..marks } } else { marks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::key;
    use paravon_model::Hlc;

    fn slot(number: u8) -> Slot {
        let (hash, key) = key(number);
        Slot { hash, key }
    }

    fn set(partition: u32, floor: u64, damage: Damage, quarantines: u32) -> MarkChange {
        let at = Hlc::new(floor, 0);
        let marks = Marks { floor: at, full: at, closed: at, damage };
        MarkChange::Marks { partition: Partition(partition), marks, quarantines }
    }

    fn shown(marks: &ShardMarks) -> Vec<(u32, u64, Damage)> {
        let all = marks.marks((1, 2), Shift::new(3));
        all.iter().map(|(p, m)| (p.0, m.floor.physical_ms(), m.damage)).collect()
    }

    #[test]
    fn a_quarantine_loses_every_partition_until_each_is_marked_anew() {
        let mut marks = ShardMarks::default();
        marks.apply(set(3, 5, Damage::None, 0));
        assert_eq!(shown(&marks), [(3, 5, Damage::None)]);
        marks.quarantine(0);
        let lost = Damage::Lost;
        assert_eq!(shown(&marks), [(1, 0, lost), (3, 5, lost), (5, 0, lost), (7, 0, lost)]);
        // What the log says from before does not make it whole.
        marks.apply(set(3, 6, Damage::None, 0));
        assert_eq!(shown(&marks)[1], (3, 6, lost));
        marks.apply(set(3, 6, Damage::None, 1));
        marks.apply(set(5, 0, Damage::None, 1));
        assert_eq!(shown(&marks), [(1, 0, lost), (3, 6, Damage::None), (7, 0, lost)]);
        marks.quarantine(0);
        assert_eq!(shown(&marks).len(), 4);
    }

    #[test]
    fn a_replay_over_a_later_state_ends_in_that_state() {
        let changes = [
            set(1, 5, Damage::None, 0),
            MarkChange::Damaged(slot(1)),
            MarkChange::Damaged(slot(2)),
            set(1, 7, Damage::None, 0),
            MarkChange::Healed(slot(1)),
            set(3, 9, Damage::Lost, 0),
            MarkChange::Damaged(slot(3)),
            set(1, 0, Damage::None, 0),
        ];
        let replay = |marks: &mut ShardMarks, from: usize| {
            changes[from..].iter().for_each(|change| marks.apply(change.clone()));
        };
        let mut once = ShardMarks::default();
        replay(&mut once, 0);
        assert_eq!(shown(&once), [(3, 9, Damage::Lost)]);
        assert_eq!(once.damaged.len(), 2);
        for from in 0..changes.len() {
            let mut again = ShardMarks::default();
            replay(&mut again, 0);
            replay(&mut again, from);
            again.changes = once.changes;
            assert_eq!(again, once, "from {from}");
        }
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let mut marks = ShardMarks::default();
        let none = set(1, 0, Damage::None, 0);
        for change in [none.clone(), MarkChange::Healed(slot(1)), none.clone()] {
            marks.apply(change);
        }
        assert_eq!(marks, ShardMarks::default());
        for change in [set(1, 5, Damage::None, 0), MarkChange::Damaged(slot(1)), none] {
            let before = marks.changes;
            marks.apply(change.clone());
            assert_eq!(marks.changes, before + 1);
            marks.apply(change);
            assert_eq!(marks.changes, before + 1);
        }
        marks.note_target(Ordinal(4));
        marks.note_target(Ordinal(4));
        assert_eq!(marks.changes, 4);
    }
}
