//! What shards want of their stores, and how its answers find the way back.
//!
//! **Never:** lets a long row of scans keep others from their turn: they wait in a queue, and the event
//! loop takes some at a time.

use paravon_model::{Failure, Key, Ordinal, Record};
use paravon_replication::{Event, Hint, Now, OperationId};
use paravon_ring::{KeyHash, Partition};
use paravon_storage::{KeptHint, PageLimit};

use super::{Core, Ticket};
use crate::failure;

/// A page that a shard wants to see.
pub(super) struct Scan {
    pub(super) local: usize,
    pub(super) operation: OperationId,
    pub(super) partition: Partition,
    pub(super) after: Option<(KeyHash, Key)>,
    pub(super) limit: PageLimit,
}

impl Core {
    pub(super) fn store(
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
        match owned.store.merge(ticket as u64, hash, key, record) {
            Ok(()) => self.uncommitted.changes += 1,
            Err(refusal) => {
                owned.tickets.remove(ticket);
                let answer = Err(failure::of_refusal(&refusal));
                self.feed(now, local, Event::Stored { operation, stamp, answer });
            }
        }
    }

    pub(super) fn forget(
        &mut self,
        now: Now,
        local: usize,
        operation: OperationId,
        hash: KeyHash,
        key: Key,
    ) {
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

    pub(super) fn keep_hint(&mut self, local: usize, target: Ordinal, hint: Hint) {
        let Hint { hash, key, record } = hint;
        match self.shards[local].store.keep_hint(target, hash, key, record) {
            Ok(()) => self.uncommitted.changes += 1,
            Err(error) => tracing::warn!(%target, %error, "a hint is not kept"),
        }
    }

    pub(super) fn read_hints(
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
            let Scan { local, operation, partition, after, limit } = scan;
            // A layout is what made the shard want it.
            let Some(layout) = &self.layout else { return self.has_scans() };
            let arc = partition.arc(layout.shift());
            let scanned = self.shards[local].store.scan(arc, after.as_ref(), limit);
            let page = scanned.map_err(failure::of_scan);
            self.step(now, local, Event::Scanned { operation, page });
        }
        self.has_scans()
    }

    /// Whether [`scan_one`](Self::scan_one) has something to do.
    pub(crate) fn has_scans(&self) -> bool {
        !self.scans.is_empty()
    }
}
