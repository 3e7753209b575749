//! The records of one shard that the log has and redb does not yet.
//!
//! ```text
//! merge ──> queued ──(synced)──> active ──(freeze)──> frozen ──(applied)──> gone: redb has them
//! ```
//! Queued records take part in merges and are invisible to reads. A key that was forgotten has a state
//! too, which hides the record of every later stage and of redb. A state in an earlier stage is never
//! older than one of the same key in a later stage. Touched by the owner's thread alone; a frozen table
//! is immutable and shared.

use std::mem;
use std::sync::{Arc, OnceLock};

use paravon_model::{Key, Ordinal, Record, Version};
use paravon_ring::{HashArc, KeyHash};

use crate::hint_table::{HintStage, HintState, HintTable};
use crate::overlay::overlaid;
use crate::position::Position;
use crate::record_stage::{BySlot, RecordStage, RecordState, Slot};
use crate::store::weight;

/// The most slots that a fresh table reserves, whatever recovery put into the one before.
const MAX_RESERVED: usize = 1 << 18;

/// A full table on its way into redb.
#[derive(Debug, Default)]
pub(crate) struct Frozen {
    /// What redb is to hold.
    pub(crate) records: RecordStage,
    /// And of hints.
    pub(crate) hints: HintStage,
    /// Once applied, redb holds every record of this shard before this position.
    pub(crate) through: Position,
    /// Counts the shard's frozen tables, from 1 at each start.
    pub(crate) sequence: u64,
    /// Rotten rows that went, once it is applied: for whom they were counted, and with how many bytes.
    pub(crate) removed: OnceLock<Vec<(Ordinal, u64)>>,
    bytes: usize,
}

#[derive(Debug)]
struct Queued {
    state: RecordState,
    group: u64,
}

/// The three stages.
#[derive(Debug, Default)]
pub(crate) struct Table {
    queued: BySlot<Queued>,
    active: RecordStage,
    /// The hints in the same stages.
    pub(crate) hints: HintTable,
    frozen: Option<Arc<Frozen>>,
    sequence: u64,
    queued_bytes: usize,
    active_bytes: usize,
    /// Bytes of a table that recovery filled: they do not count, because no writer put them there.
    uncounted_bytes: usize,
}

impl Table {
    /// The queued state of a slot and the group that carries it.
    pub(crate) fn queued(&self, slot: &Slot) -> Option<(&RecordState, u64)> {
        self.queued.get(slot).map(|queued| (&queued.state, queued.group))
    }

    /// The newest synced state of a slot that redb may lack.
    pub(crate) fn synced(&self, slot: &Slot) -> Option<&RecordState> {
        self.active
            .get(slot)
            .or_else(|| self.frozen.as_ref().and_then(|frozen| frozen.records.get(slot)))
    }

    /// The synced states of `arc` behind `after` that redb may lack, in order.
    pub(crate) fn behind(
        &self,
        arc: HashArc,
        after: Option<&(KeyHash, Key)>,
    ) -> impl Iterator<Item = (Slot, &RecordState)> + use<'_> {
        let frozen = self.frozen.as_ref().map(|frozen| frozen.records.behind(arc, after));
        overlaid(self.active.behind(arc, after), frozen.into_iter().flatten())
    }

    /// Queues a record that won its merge, or that a key is forgotten, as part of `group`.
    pub(crate) fn queue(&mut self, slot: Slot, state: RecordState, group: u64) {
        self.queued_bytes += weight(&slot.key, state.as_ref());
        self.queued.insert(slot, Queued { state, group });
    }

    /// Makes the state of a synced group visible.
    pub(crate) fn sync(&mut self, slot: Slot, state: RecordState, group: u64) {
        let bytes = weight(&slot.key, state.as_ref());
        self.queued_bytes -= bytes;
        if self.queued.get(&slot).is_some_and(|queued| queued.group == group) {
            self.queued.remove(&slot);
        }
        self.insert(slot, state, bytes);
    }

    /// Counts a state of a group that failed no more.
    pub(crate) fn uncount(&mut self, slot: &Slot, state: &RecordState) {
        self.queued_bytes -= weight(&slot.key, state.as_ref());
    }

    /// Counts something queued that is no record and no hint, and that redb is not to hold: the log is
    /// needed for it as long as for a record of its group.
    pub(crate) fn queue_note(&mut self, bytes: usize) {
        self.queued_bytes += bytes;
    }

    /// Counts it as synced.
    pub(crate) fn sync_note(&mut self, bytes: usize) {
        self.queued_bytes -= bytes;
        self.active_bytes += bytes;
    }

    /// Counts it no more, because its group failed.
    pub(crate) fn forget_note(&mut self, bytes: usize) {
        self.queued_bytes -= bytes;
    }

    /// Counts what the log says at a start.
    pub(crate) fn recover_note(&mut self, bytes: usize) {
        self.active_bytes += bytes;
    }

    /// Lets no merge be decided against what is queued now, because it will fail.
    pub(crate) fn forget_decisions(&mut self) {
        self.queued.clear();
        self.hints.forget_decisions();
    }

    /// Takes a record from the log at a start: the newest wins since its key was forgotten last.
    pub(crate) fn recover(&mut self, slot: Slot, record: Record) {
        let held = self.active.get(&slot).and_then(Option::as_ref);
        if held.is_none_or(|held| record.precedence(held).is_gt()) {
            let bytes = weight(&slot.key, Some(&record));
            self.insert(slot, Some(record), bytes);
        }
    }

    /// Takes from the log at a start that a key was forgotten: whatever came before is gone.
    pub(crate) fn recover_forgotten(&mut self, slot: Slot) {
        let bytes = weight(&slot.key, None);
        self.insert(slot, None, bytes);
    }

    /// Takes from the log at a start that a record was dropped: nothing else goes. Where the log has no
    /// record of the key before this, that one is in redb, if anything is.
    pub(crate) fn recover_dropped(&mut self, slot: Slot, version: Version) {
        let held = self.active.get(&slot).and_then(Option::as_ref);
        if held.is_none_or(|held| held.version == version) {
            self.recover_forgotten(slot);
        }
    }

    /// The newest synced state of a hint's slot that redb may lack.
    pub(crate) fn synced_hint(&self, slot: &[u8]) -> Option<&HintState> {
        self.hints.active(slot).or_else(|| self.frozen_hints()?.slots.get(slot))
    }

    /// Whether the row of these bytes is on its way out of the file.
    pub(crate) fn is_rotten(&self, place: &[u8]) -> bool {
        let frozen = self.frozen_hints().is_some_and(|hints| hints.rotten.contains_key(place));
        frozen || self.hints.is_rotten(place)
    }

    /// The hints of the frozen table.
    pub(crate) fn frozen_hints(&self) -> Option<&HintStage> {
        self.frozen.as_ref().map(|frozen| &frozen.hints)
    }

    /// Whether it holds a record that nothing hides, in whatever stage.
    pub(crate) fn holds_record(&self) -> bool {
        let frozen = self.frozen.iter().flat_map(|frozen| frozen.records.iter());
        self.queued.values().any(|queued| queued.state.is_some())
            || self.active.iter().any(|(_, state)| state.is_some())
            || frozen
                .into_iter()
                .any(|(slot, state)| state.is_some() && self.active.get(slot).is_none())
    }

    /// Ends a recovery.
    pub(crate) fn recovered(&mut self) {
        self.uncounted_bytes = self.active_bytes();
    }

    fn insert(&mut self, slot: Slot, state: RecordState, bytes: usize) {
        self.active_bytes += bytes;
        let key = slot.key.clone();
        if let Some(old) = self.active.insert(slot, state) {
            self.active_bytes -= weight(&key, old.as_ref());
        }
    }

    /// What the bound applies to, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let frozen = self.frozen.as_ref().map_or(0, |frozen| frozen.bytes);
        let all = self.queued_bytes + self.active_bytes + self.hints.bytes() + frozen;
        all.saturating_sub(self.uncounted_bytes)
    }

    /// What a freeze would hand over, in bytes.
    pub(crate) fn active_bytes(&self) -> usize {
        self.active_bytes + self.hints.active_bytes()
    }

    /// Whether there is a frozen table.
    pub(crate) fn is_applying(&self) -> bool {
        self.frozen.is_some()
    }

    /// Freezes the active records, which hold everything of this shard before `through` that no
    /// earlier frozen table held.
    pub(crate) fn freeze(&mut self, through: Position) -> Arc<Frozen> {
        assert!(self.frozen.is_none(), "one frozen table at a time");
        // As large as the last one, so that it need not grow: growing moves every record.
        let capacity = self.active.len().min(MAX_RESERVED);
        let records = mem::take(&mut self.active);
        self.active.reserve(capacity);
        let hints = self.hints.freeze();
        let bytes = mem::take(&mut self.active_bytes) + hints.bytes();
        self.sequence += 1;
        let (sequence, removed) = (self.sequence, OnceLock::new());
        let frozen = Arc::new(Frozen { records, hints, through, sequence, removed, bytes });
        self.frozen = Some(Arc::clone(&frozen));
        frozen
    }

    /// Lets go of the frozen table, if redb holds the tables up to `applied` now.
    pub(crate) fn release(&mut self, applied: u64) -> Option<Arc<Frozen>> {
        let frozen = self.frozen.take_if(|frozen| frozen.sequence <= applied)?;
        self.uncounted_bytes = 0;
        Some(frozen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paravon_model::{Body, Hlc, Value, Version};

    fn slot(name: &[u8]) -> Slot {
        let key = Key::new("default", name).unwrap();
        Slot { hash: KeyHash::of(&key, 0), key }
    }

    fn record(ms: u64) -> Record {
        let version = Version { hlc: Hlc::new(ms, 0), ordinal: Ordinal(1) };
        Record { version, expires_ms: None, body: Body::Live(Value::bytes(b"v")) }
    }

    #[test]
    fn a_queued_record_is_not_visible_and_a_newer_one_stays_queued() {
        let mut table = Table::default();
        table.queue(slot(b"a"), Some(record(1)), 0);
        table.queue(slot(b"a"), Some(record(2)), 1);
        assert!(table.synced(&slot(b"a")).is_none());
        table.sync(slot(b"a"), Some(record(1)), 0);
        assert_eq!(table.synced(&slot(b"a")), Some(&Some(record(1))));
        assert_eq!(table.queued(&slot(b"a")), Some((&Some(record(2)), 1)));
        table.sync(slot(b"a"), Some(record(2)), 1);
        assert_eq!(table.synced(&slot(b"a")), Some(&Some(record(2))));
        assert!(table.queued(&slot(b"a")).is_none());
    }

    #[test]
    fn bytes_are_counted_through_all_stages_and_come_back_to_zero() {
        let mut table = Table::default();
        table.queue(slot(b"a"), Some(record(1)), 0);
        table.queue(slot(b"b"), Some(record(1)), 0);
        let two = table.bytes();
        table.sync(slot(b"a"), Some(record(1)), 0);
        table.uncount(&slot(b"b"), &Some(record(1)));
        table.forget_decisions();
        assert_eq!(table.bytes() * 2, two);
        table.freeze(Position(1));
        assert_eq!(table.bytes() * 2, two);
        assert_eq!(table.synced(&slot(b"a")), Some(&Some(record(1))));
        assert!(table.release(0).is_none());
        table.release(1).unwrap();
        assert_eq!((table.bytes(), table.synced(&slot(b"a"))), (0, None));
    }

    #[test]
    fn recovery_keeps_the_newest_and_counts_nothing() {
        let mut table = Table::default();
        for ms in [1, 3, 2] {
            table.recover(slot(b"a"), record(ms));
        }
        table.recovered();
        assert_eq!(table.synced(&slot(b"a")), Some(&Some(record(3))));
        assert_eq!(table.bytes(), 0);
    }

    #[test]
    fn what_is_forgotten_hides_what_is_frozen_and_gives_its_bytes_back() {
        let mut table = Table::default();
        table.recover(slot(b"a"), record(1));
        table.recover(slot(b"b"), record(1));
        table.freeze(Position(1));
        assert!(table.holds_record());
        for name in [b"a", b"b"] {
            table.queue(slot(name), None, 0);
        }
        assert_eq!(table.synced(&slot(b"a")), Some(&Some(record(1))), "it is not durable yet");
        assert!(table.holds_record());
        for name in [b"a", b"b"] {
            table.sync(slot(name), None, 0);
        }
        assert_eq!(table.synced(&slot(b"a")), Some(&None));
        assert!(!table.holds_record());
        let states: Vec<_> = table.behind(HashArc::ALL, None).map(|(_, state)| state).collect();
        assert_eq!(states, [&None, &None]);
        table.queue(slot(b"a"), Some(record(1)), 1);
        assert!(table.holds_record(), "what is queued is kept too");
        table.sync(slot(b"a"), Some(record(1)), 1);
        assert_eq!(table.synced(&slot(b"a")), Some(&Some(record(1))));
        table.release(1).unwrap();
        table.freeze(Position(2));
        table.release(2).unwrap();
        assert_eq!(table.bytes(), 0);
    }

    #[test]
    fn a_recovery_drops_the_version_that_is_named_and_hides_what_only_redb_has() {
        let version = |ms| record(ms).version;
        let mut table = Table::default();
        table.recover(slot(b"a"), record(5));
        table.recover_dropped(slot(b"a"), version(4));
        assert_eq!(table.synced(&slot(b"a")), Some(&Some(record(5))));
        table.recover_dropped(slot(b"a"), version(5));
        assert_eq!(table.synced(&slot(b"a")), Some(&None));
        table.recover(slot(b"a"), record(3));
        assert_eq!(table.synced(&slot(b"a")), Some(&Some(record(3))));
        table.recover_dropped(slot(b"b"), version(5));
        assert_eq!(table.synced(&slot(b"b")), Some(&None));
    }

    #[test]
    fn replaying_a_part_of_the_log_again_changes_nothing() {
        let log = |table: &mut Table| {
            table.recover(slot(b"a"), record(5));
            table.recover_forgotten(slot(b"a"));
            table.recover(slot(b"a"), record(3));
            table.recover(slot(b"b"), record(1));
            table.recover_forgotten(slot(b"b"));
        };
        let mut table = Table::default();
        log(&mut table);
        log(&mut table);
        assert_eq!(table.synced(&slot(b"a")), Some(&Some(record(3))));
        assert_eq!(table.synced(&slot(b"b")), Some(&None));
    }
}
