//! The answers of the store of this node, to whoever waits for them.
//!
//! **Never:** decides anything that the file of an operation could decide.

use alloc::boxed::Box;
use alloc::vec::Vec;

use paravon_model::{Digest, Failure, Hlc, Merged, Record, Version};

use crate::event::{Effect, Entry, Now, ScanFailure};
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::replica::tell_stored;
use crate::shard::Shard;
use crate::stores::{Droppable, Ended, Settled, Waiter};

impl Shard {
    /// The store of this node has answered: the only source of an acknowledgement
    /// (`ACK_AFTER_STORE`).
    pub(crate) fn stored(
        &mut self,
        now: Now,
        store: OperationId,
        stamp: Version,
        answer: Result<Merged, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Ended { waiter, hash, droppable, settled }) = self.stores.end(store) else {
            return;
        };
        if let Some(Droppable { partition, at }) = droppable {
            self.floors.note_droppable(partition, Some(at));
        }
        let answer = self.counted_merge(waiter, hash, answer);
        match waiter {
            Waiter::Write(id) => self.write_answered(now, id, self.ordinal, stamp, answer, out),
            Waiter::Repair(id) => self.repair_answered(now, id, self.ordinal, stamp, &answer, out),
            Waiter::Hint(id) => self.hint_answered(now, id, self.ordinal, stamp, &answer, out),
            Waiter::Peer(token) => tell_stored(token, stamp, answer, out),
            Waiter::PeerHint(token, stamp) => tell_stored(token, stamp, answer, out),
            Waiter::Pulled(id) => self.fetch_stored(now, id, &answer, out),
            Waiter::Healed(id) => self.heal_ended(now, id, answer.map(drop), out),
            Waiter::Forget(_) | Waiter::Marks(_) => {}
        }
        if settled == Settled::Now {
            self.settle(now, out);
        }
    }

    /// The store of this node has read a page.
    pub(crate) fn scanned(
        &mut self,
        now: Now,
        id: OperationId,
        page: Result<Vec<Entry>, ScanFailure>,
        out: &mut Vec<Effect>,
    ) {
        match self.operations.get(id) {
            Some(Operation::AskedPull(_)) => self.asked_pull_scanned(now, id, page, out),
            Some(Operation::Dropping(_)) => {
                self.dropping_scanned(now, id, page.map_err(|failed| failed.failure), out);
            }
            _ => self.clearing_scanned(now, id, page, out),
        }
    }

    /// The store of this node has read a key.
    pub(crate) fn read(
        &mut self,
        now: Now,
        id: OperationId,
        answer: Result<Option<Record>, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let hash = match self.operations.get(id) {
            Some(Operation::Asked(read)) => Some(read.hash),
            Some(Operation::Read(read)) => Some(read.hash),
            Some(Operation::Heal(heal)) => Some(heal.hash),
            // Whoever brings records over takes what is here for what it is.
            _ => None,
        };
        let answer = match hash {
            Some(hash) => self.counted_read(hash, answer),
            None => answer,
        };
        match self.operations.get(id) {
            Some(Operation::Asked(_)) => self.asked_read(id, answer, out),
            Some(Operation::Fetch(_)) => self.fetch_looked(now, id, answer, out),
            Some(Operation::Heal(_)) => {
                self.heal_told(now, id, self.ordinal, answer, Hlc::ZERO, out)
            }
            Some(Operation::Recheck(_)) => self.rechecked(id, answer, out),
            Some(Operation::Write(_)) => self.write_rechecked(now, id, answer, out),
            Some(Operation::HandOver(_)) => self.hint_rechecked(now, id, answer, out),
            _ => self.own_read_answered(now, id, answer, out),
        }
    }

    /// The store of this node has forgotten or dropped a record, or has made marks durable.
    pub(crate) fn ended(
        &mut self,
        now: Now,
        store: OperationId,
        answer: &Result<(), Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Ended { waiter, settled, .. }) = self.stores.end(store) else { return };
        match waiter {
            Waiter::Forget(id) => match self.operations.get(id) {
                Some(Operation::Dropping(_)) => self.dropped(now, id, answer, out),
                _ => self.forgotten(now, id, answer, out),
            },
            Waiter::Marks(partition) => self.marks_set(now, partition, answer, out),
            _ => {}
        }
        if settled == Settled::Now {
            self.settle(now, out);
        }
    }

    /// The store of this node has told the sums of a partition.
    pub(crate) fn summed(
        &mut self,
        now: Now,
        id: OperationId,
        digest: Option<Box<Digest>>,
        out: &mut Vec<Effect>,
    ) {
        match self.operations.get(id) {
            Some(Operation::OwnDigest(_)) => self.own_digest(now, id, digest, out),
            Some(Operation::Exchange(_)) => self.own_sums(now, id, digest, out),
            _ => self.asked_digest_told(now, id, digest, out),
        }
    }

    /// The store of this node has told totals, as they were when it had been asked to mark so much
    /// dirty, some of it for who is compared with.
    pub(crate) fn totalled(
        &mut self,
        now: Now,
        id: OperationId,
        totals: Vec<Option<u128>>,
        moment: Option<u64>,
        out: &mut Vec<Effect>,
    ) {
        match self.operations.get(id) {
            Some(Operation::Exchange(_)) => self.own_totals(now, id, totals, moment, out),
            _ => self.asked_totals_told(now, id, totals, out),
        }
    }
}
