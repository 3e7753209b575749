//! Writes and hints at or below `closed`: they are not stored any more (`NO_RESURRECTION`).
//!
//! A retry of the very record that is held is acknowledged all the same, so the store is read before one
//! is refused. That is rare: whoever sends one is late by a minute. **Never:** stores anything, or calls
//! held what the store has not shown.

use alloc::vec::Vec;

use paravon_model::{
    Failure, Fence, Hlc, Key, Merged, Ordinal, Outcome, Purpose, Record, ReplicaReply, Version,
};
use paravon_ring::KeyHash;

use crate::event::{Effect, PeerToken};
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::replica::tell_stored;
use crate::shard::Shard;

/// When a hint may come again whose refusal is not durable.
const RETRY_AFTER_MS: u64 = 100;

/// A write or hint of another coordinator that came too late to be stored.
#[derive(Debug)]
pub(crate) struct Recheck {
    token: PeerToken,
    /// The layout that it came under.
    fence: Fence,
    hash: KeyHash,
    record: Record,
    purpose: Purpose,
}

impl Shard {
    /// Looks whether the record is held already.
    pub(crate) fn recheck(
        &mut self,
        token: PeerToken,
        hash: KeyHash,
        key: Key,
        (record, purpose): (Record, Purpose),
        out: &mut Vec<Effect>,
    ) {
        let fence = self.layout.fence();
        self.asked_reads += 1;
        let operation =
            self.begin(Operation::Recheck(Recheck { token, fence, hash, record, purpose }));
        out.push(Effect::Read { operation, hash, key });
    }

    /// The store of this node has told what it holds of the key.
    pub(crate) fn rechecked(
        &mut self,
        id: OperationId,
        held: Result<Option<Record>, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Recheck(recheck)) = self.operations.remove(id) else { return };
        self.asked_reads -= 1;
        let Recheck { token, fence, hash, record, purpose } = recheck;
        if fence != self.layout.fence() {
            let document = self.layout.document().clone();
            let reply = ReplicaReply::StaleLayout { document };
            return out.push(Effect::Answer { token, reply });
        }
        let answer = match purpose {
            // It counts in no quorum, and its target pulls what it lacks.
            Purpose::Hint => {
                held.and_then(|held| self.hint_below_closed(hash, &record, held.as_ref()))
            }
            Purpose::Write | Purpose::Repair => self.counted_below_closed(hash, &record, held),
        };
        tell_stored(token, record.version, answer, out);
    }

    /// As [`below_closed`](Self::below_closed), of a write, as far as it counts: this node acknowledges
    /// and refuses nothing where it is damaged (`NO_SILENT_ROT`).
    pub(crate) fn counted_below_closed(
        &self,
        hash: KeyHash,
        record: &Record,
        held: Result<Option<Record>, Failure>,
    ) -> Result<Merged, Failure> {
        if self.discounts(hash) {
            return Err(Failure::Damaged { outcome: Outcome::Unknown });
        }
        held.map(|held| self.below_closed(hash, record, held.as_ref()))
    }

    /// As [`below_closed`](Self::below_closed), for a hint: its keeper removes it for that answer, so the
    /// disk must hold the mark that it rests on (`HINT_NOT_LOST`).
    ///
    /// # Errors
    /// [`Failure::Overloaded`] until it does.
    pub(crate) fn hint_below_closed(
        &self,
        hash: KeyHash,
        record: &Record,
        held: Option<&Record>,
    ) -> Result<Merged, Failure> {
        let partition = hash.partition(self.layout.shift());
        let marks = self.floors.get(partition);
        let is_durable = marks.is_some_and(|marks| marks.is_closed_for_good(record.version));
        match self.below_closed(hash, record, held) {
            Merged::BelowFloor { .. } if !is_durable => {
                Err(Failure::Overloaded { retry_after_ms: RETRY_AFTER_MS })
            }
            merged => Ok(merged),
        }
    }

    /// What becomes of a record at or below `closed`, where this is held. Where both forbid it, the
    /// larger one is named: a second stamp must lie above it.
    pub(crate) fn below_closed(
        &self,
        hash: KeyHash,
        record: &Record,
        held: Option<&Record>,
    ) -> Merged {
        let partition = hash.partition(self.layout.shift());
        let closed = self.floors.get(partition).map_or(Hlc::ZERO, |marks| marks.closed());
        match held {
            Some(held) if held == record => Merged::Applied,
            Some(held) if held.version.hlc > closed => Merged::Superseded { version: held.version },
            // A mark is a time: it lies above every version of that time.
            _ => {
                let version = Version { hlc: closed, ordinal: Ordinal(u32::MAX) };
                Merged::BelowFloor { version }
            }
        }
    }
}

#[cfg(test)]
#[path = "below_tests.rs"]
mod tests;
