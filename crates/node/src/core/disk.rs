//! What shards want of their stores, and how its answers find the way back.
//!
//! **Never:** lets a long row of scans keep others from their turn: they wait in a queue, and the event
//! loop takes some at a time.

use paravon_model::{Failure, Key, Marks, Ordinal, Part, Record, Version};
use paravon_replication::{Effect, Event, Hint, Now, OperationId};
use paravon_ring::{KeyHash, Partition};
use paravon_storage::{KeptHint, PageLimit};

use super::{Core, Ticket};
use crate::failure;

/// A page that a shard wants to see.
pub(super) struct Scan {
    pub(super) local: usize,
    pub(super) operation: OperationId,
    pub(super) partition: Partition,
    pub(super) part: Part,
    pub(super) after: Option<(KeyHash, Key)>,
    pub(super) limit: PageLimit,
}

impl Core {
    /// Does what a shard wants of its store.
    pub(super) fn ask_store(&mut self, now: Now, local: usize, effect: Effect) {
        match effect {
            Effect::Store { operation, hash, key, record } => {
                self.store(now, local, operation, hash, key, record);
            }
            Effect::Read { operation, hash, key } => {
                let answer = self.shards[local].store.get(hash, &key).map_err(failure::of_read);
                self.tell_damage(now, local);
                self.feed(now, local, Event::Read { operation, answer });
            }
            Effect::Scan { operation, partition, part, after, limit, bytes } => {
                let limit = PageLimit { count: limit, bytes: bytes as u64 };
                self.scans.push_back(Scan { local, operation, partition, part, after, limit });
            }
            Effect::Totals { operation, partitions, members } => {
                self.totals(now, local, operation, &partitions, members);
            }
            Effect::Digest { operation, partition } => {
                let digest = self.shards[local].store.digest(partition).map(Box::new);
                self.feed(now, local, Event::Digest { operation, digest });
            }
            Effect::Heal { operation, hash, key, record } => {
                self.heal(now, local, operation, hash, key, record);
            }
            Effect::SetMarks { operation, partition, marks } => {
                self.set_marks(now, local, operation, partition, marks);
            }
            Effect::Clean { target, partition, moment } => {
                self.clean(local, target, partition, moment);
            }
            Effect::Forget { operation, hash, key } => {
                self.forget(now, local, operation, hash, key);
            }
            Effect::Drop { operation, hash, key, version } => {
                self.drop_record(now, local, operation, (hash, key, version));
            }
            Effect::KeepHint { target, hint } => self.keep_hint(local, target, hint),
            Effect::DropHint { target, hash, key, version } => {
                self.shards[local].store.drop_hint(target, hash, &key, version);
                self.uncommitted.changes += 1;
            }
            Effect::ReadHints { target, after, limit, bytes } => {
                let limit = PageLimit { count: limit, bytes: bytes as u64 };
                let hints = self.read_hints(local, target, after.as_ref(), limit);
                self.feed(now, local, Event::Hints { target, hints });
            }
            Effect::Reply { .. }
            | Effect::Send { .. }
            | Effect::Answer { .. }
            | Effect::RaiseCeiling { .. }
            | Effect::Learn { .. }
            | Effect::Teach { .. }
            | Effect::AskDocument { .. }
            | Effect::Settled { .. }
            | Effect::Progress { .. } => unreachable!("it is done where effects are taken"),
        }
    }

    fn store(
        &mut self,
        now: Now,
        local: usize,
        operation: OperationId,
        hash: KeyHash,
        key: Key,
        record: Record,
    ) {
        let owned = &mut self.shards[local];
        let stamp = record.version;
        let ticket = owned.tickets.insert(Ticket::Merge { operation, stamp });
        let queued = owned.store.merge(ticket as u64, hash, key, record);
        self.tell_damage(now, local);
        match queued {
            Ok(()) => self.uncommitted.changes += 1,
            Err(refusal) => {
                let owned = &mut self.shards[local];
                owned.tickets.remove(ticket);
                let answer = Err(failure::of_refusal(&refusal));
                self.feed(now, local, Event::Stored { operation, stamp, answer });
            }
        }
    }

    fn forget(&mut self, now: Now, local: usize, operation: OperationId, hash: KeyHash, key: Key) {
        let owned = &mut self.shards[local];
        let ticket = owned.tickets.insert(Ticket::Forget { operation });
        match owned.store.forget(ticket as u64, hash, key) {
            Ok(()) => self.uncommitted.changes += 1,
            Err(refusal) => {
                owned.tickets.remove(ticket);
                let answer = Err(failure::of_refusal(&refusal));
                self.feed(now, local, Event::Forgotten { operation, answer });
            }
        }
    }

    fn drop_record(
        &mut self,
        now: Now,
        local: usize,
        operation: OperationId,
        (hash, key, version): (KeyHash, Key, Version),
    ) {
        let owned = &mut self.shards[local];
        let ticket = owned.tickets.insert(Ticket::Forget { operation });
        let queued = owned.store.drop_record(ticket as u64, hash, key, version);
        self.tell_damage(now, local);
        match queued {
            Ok(()) => self.uncommitted.changes += 1,
            Err(refusal) => {
                self.shards[local].tickets.remove(ticket);
                let answer = Err(failure::of_refusal(&refusal));
                self.feed(now, local, Event::Forgotten { operation, answer });
            }
        }
    }

    fn heal(
        &mut self,
        now: Now,
        local: usize,
        operation: OperationId,
        hash: KeyHash,
        key: Key,
        record: Option<Record>,
    ) {
        let owned = &mut self.shards[local];
        let ticket = owned.tickets.insert(Ticket::Heal { operation });
        match owned.store.heal(ticket as u64, hash, key, record) {
            Ok(()) => self.uncommitted.changes += 1,
            Err(refusal) => {
                owned.tickets.remove(ticket);
                let answer = Err(failure::of_refusal(&refusal));
                self.feed(now, local, Event::Healed { operation, answer });
            }
        }
    }

    fn set_marks(
        &mut self,
        now: Now,
        local: usize,
        operation: OperationId,
        partition: Partition,
        marks: Marks,
    ) {
        let owned = &mut self.shards[local];
        let ticket = owned.tickets.insert(Ticket::SetMarks { operation });
        match owned.store.set_marks(ticket as u64, partition, marks) {
            Ok(()) => self.uncommitted.changes += 1,
            Err(refusal) => {
                owned.tickets.remove(ticket);
                let answer = Err(failure::of_refusal(&refusal));
                self.feed(now, local, Event::MarksSet { operation, answer });
            }
        }
    }

    /// Partitions that a target agreed on are dirty for it no more.
    fn clean(&mut self, local: usize, target: Ordinal, partition: Partition, moment: u64) {
        // A layout is what made the shard compare.
        let Some(layout) = &self.layout else { return };
        self.shards[local].store.clean(target, partition.arc(layout.shift()), moment);
        self.uncommitted.changes += 1;
    }

    fn totals(
        &mut self,
        now: Now,
        local: usize,
        operation: OperationId,
        partitions: &[Partition],
        members: [Ordinal; 2],
    ) {
        let store = &self.shards[local].store;
        let total = |partition: &Partition| Some(store.digest(*partition)?.total());
        let totals = partitions.iter().map(total).collect();
        let moment =
            members.iter().any(|member| store.is_dirty(*member)).then(|| store.dirty_moment());
        self.feed(now, local, Event::Totals { operation, totals, moment });
    }

    fn keep_hint(&mut self, local: usize, target: Ordinal, hint: Hint) {
        let Hint { hash, key, record } = hint;
        match self.shards[local].store.keep_hint(target, hash, key, record) {
            Ok(()) => self.uncommitted.changes += 1,
            Err(error) => tracing::warn!(%target, %error, "a hint is not kept"),
        }
    }

    fn read_hints(
        &mut self,
        local: usize,
        target: Ordinal,
        after: Option<&(KeyHash, Key)>,
        limit: PageLimit,
    ) -> Result<Vec<Hint>, Failure> {
        let read = self.shards[local].store.hints(target, after, limit);
        let kept = |KeptHint { hash, key, record }| Hint { hash, key, record };
        read.map(|hints| hints.into_iter().map(kept).collect()).map_err(failure::of_read)
    }

    /// Does the oldest scan that is wanted; whether more are.
    pub(crate) fn scan_one(&mut self, now: Now) -> bool {
        if let Some(scan) = self.scans.pop_front() {
            let Scan { local, operation, partition, part, after, limit } = scan;
            // A layout is what made the shard want it.
            let Some(layout) = &self.layout else { return self.has_scans() };
            let arc = partition.part(layout.shift(), part);
            let scanned = self.shards[local].store.scan(arc, after.as_ref(), limit);
            let page = scanned.map_err(failure::of_scan);
            self.tell_damage(now, local);
            self.step(now, local, Event::Scanned { operation, page });
        }
        self.has_scans()
    }

    /// Whether [`scan_one`](Self::scan_one) has something to do.
    pub(crate) fn has_scans(&self) -> bool {
        !self.scans.is_empty()
    }
}
