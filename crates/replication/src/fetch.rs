//! Bringing one key over from a source of a partition: look whether it is held already, read it there,
//! store it here.
//!
//! What a source holds is stored whatever its version and moves no clock: it was acknowledged once.
//! **Never:** counts as brought over before the store of this node has confirmed it.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Command, Failure, Key, Merged, Ordinal, Record, Version};
use paravon_ring::{KeyHash, Partition, record_hash};

use crate::event::{Effect, Now};
use crate::healing::Unread;
use crate::mutants::{self, Mutant};
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::pace::Pause;
use crate::pass::{Held, Item, Told, payload};
use crate::pull::SOURCE_PATIENCE;
use crate::shard::Shard;
use crate::stores::Waiter;

/// A key on its way.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) partition: Partition,
    source: Ordinal,
    hash: KeyHash,
    key: Key,
    /// What the source held; it may hold a newer one by now.
    told: Held,
    /// What the pace counts for it.
    pub(crate) weight: usize,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The store of this node is asked what it holds.
    Looking,
    /// The source is asked for the record.
    Asking { deadline: Duration },
    /// The store of this node has it since, with so many bytes.
    Storing { since: Duration, bytes: usize },
}

impl Fetch {
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.stage {
            Stage::Asking { deadline } => Some(deadline),
            Stage::Looking | Stage::Storing { .. } => None,
        }
    }
}

impl Shard {
    /// The pace has room for this key.
    pub(crate) fn fetch(
        &mut self,
        now: Now,
        partition: Partition,
        source: Ordinal,
        item: Item,
        out: &mut Vec<Effect>,
    ) {
        let weight = item.weight();
        let Item { hash, key, told } = item;
        let version = match &told {
            Told::Listed(held) => Some(held.version),
            Told::Record(record) => Some(record.version),
            Told::Damage => None,
        };
        if version.is_some_and(|version| self.needs_not(partition, version)) {
            self.transfer.pace.ended(weight);
            return self.fetched(now, partition, out);
        }
        let stage = Stage::Looking;
        match told {
            Told::Listed(told) => {
                let wanted = key.clone();
                let fetch = Fetch { partition, source, hash, key, told, weight, stage };
                let operation = self.begin(Operation::Fetch(fetch));
                out.push(Effect::Read { operation, hash, key: wanted });
            }
            Told::Record(record) => {
                let told = self.held(&key, &record);
                let fetch = Fetch { partition, source, hash, key, told, weight, stage };
                self.store_fetched(now, fetch, record, out);
            }
            Told::Damage if self.transfer.pass(partition).is_none() => {
                self.restoring.source_is_damaged(partition);
                self.entropy.mending.source_is_damaged(partition);
                self.leave_out(partition, weight);
            }
            Told::Damage => {
                self.heal(now, Unread { partition, at: source, hash, key, weight }, out);
            }
        }
    }

    /// The store of this node has told what it holds: durable, else it would not be shown.
    pub(crate) fn fetch_looked(
        &mut self,
        now: Now,
        id: OperationId,
        held: Result<Option<Record>, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Fetch(mut fetch)) = self.operations.remove(id) else { return };
        // What the store cannot tell is brought over like what it lacks. A damaged key is none the less
        // damaged for that: this node counts nowhere for it before it was healed.
        let held = held.ok().flatten();
        let is_as_good = |held: Held| held.version > fetch.told.version || held == fetch.told;
        if held.is_some_and(|held| is_as_good(self.held(&fetch.key, &held))) {
            self.transfer.pace.ended(fetch.weight);
            return self.fetched(now, fetch.partition, out);
        }
        let (source, key, deadline) =
            (fetch.source, fetch.key.clone(), now.monotonic + SOURCE_PATIENCE);
        fetch.stage = Stage::Asking { deadline };
        let id = self.begin(Operation::Fetch(fetch));
        let (_, mut outgoing) = self.split(now, out);
        outgoing.ask(source, id, deadline, Command::Read { key });
    }

    /// The source has told what it holds of the key.
    pub(crate) fn fetch_found(
        &mut self,
        now: Now,
        id: OperationId,
        from: Ordinal,
        answer: Result<Option<Record>, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Fetch(fetch)) = self.operations.get(id) else { return };
        if fetch.source != from {
            return;
        }
        match answer {
            Ok(Some(record)) if record.version >= fetch.told.version => {
                let Some(Operation::Fetch(fetch)) = self.operations.remove(id) else { return };
                self.store_fetched(now, fetch, record, out);
            }
            Err(Failure::Overloaded { .. }) => self.fetch_again(now, id, out),
            // It held the key when it was asked for the page: begun anew, the pass finds out.
            _ => self.transfer_failed(now, id, Pause::Long, out),
        }
    }

    /// What this node is full at it has, or something newer: nothing so old enters any more. Where it has
    /// lost all that, that comes back.
    fn needs_not(&self, partition: Partition, version: Version) -> bool {
        let above = mutants::is(Mutant::PullsOnlyBelowClosed) && self.is_filling(partition);
        let full = self.floors.is_full_at(partition, version) && !self.damage.is_lost(partition);
        full || (above && self.floors.admits(partition, version))
    }

    /// What a listing says of a record.
    pub(crate) fn held(&self, key: &Key, record: &Record) -> Held {
        let hash = record_hash(self.layout.document().hash_seed, key, record);
        Held { version: record.version, check: check_of(hash) }
    }

    fn store_fetched(&mut self, now: Now, fetch: Fetch, record: Record, out: &mut Vec<Effect>) {
        if self.needs_not(fetch.partition, record.version) {
            self.transfer.pace.ended(fetch.weight);
            return self.fetched(now, fetch.partition, out);
        }
        let (hash, key) = (fetch.hash, fetch.key.clone());
        let stage = Stage::Storing { since: now.monotonic, bytes: payload(&key, &record) };
        let id = self.begin(Operation::Fetch(Fetch { stage, ..fetch }));
        let (_, mut outgoing) = self.split(now, out);
        outgoing.store(Waiter::Pulled(id), hash, key, record);
    }

    /// The store of this node has answered: the record is held here at that version or newer.
    pub(crate) fn fetch_stored(
        &mut self,
        now: Now,
        id: OperationId,
        answer: &Result<Merged, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Fetch(fetch)) = self.operations.get(id) else { return };
        let (partition, weight) = (fetch.partition, fetch.weight);
        let Stage::Storing { since, bytes } = fetch.stage else { return };
        if !matches!(answer, Ok(_) | Err(Failure::Damaged { .. })) {
            return self.store_failed(now, partition, out);
        }
        self.operations.remove(id);
        self.transfer.pace.delivered(weight, now.monotonic.saturating_sub(since));
        self.brought(partition, bytes);
        self.fetched(now, partition, out);
    }

    /// The source has too much to do: the key is asked for again after a pause.
    fn fetch_again(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Fetch(fetch)) = self.operations.remove(id) else { return };
        let Fetch { partition, source, hash, key, told, weight, .. } = fetch;
        self.transfer.pace.ended(weight);
        self.transfer.pause(now.monotonic, source, Pause::Short);
        if let Some(pass) = self.pass(partition) {
            pass.under_way -= 1;
            pass.ready.push_front(Item { hash, key, told: Told::Listed(told) });
        }
        self.advance_transfer(now, out);
    }

    /// The pass goes on without this key.
    pub(crate) fn leave_out(&mut self, partition: Partition, weight: usize) {
        self.transfer.pace.ended(weight);
        if let Some(pass) = self.pass(partition) {
            pass.under_way -= 1;
        }
    }

    /// One more record of the partition is durable here.
    pub(crate) fn brought(&mut self, partition: Partition, bytes: usize) {
        if let Some(pass) = self.pass(partition) {
            pass.stored += 1;
        }
        if self.entropy.mending.pass(partition).is_some() {
            self.entropy.mending.brought(bytes);
        } else if self.transfer.pass(partition).is_some() {
            self.transfer.brought(bytes);
        }
    }

    fn fetched(&mut self, now: Now, partition: Partition, out: &mut Vec<Effect>) {
        if let Some(pass) = self.pass(partition) {
            pass.under_way -= 1;
        }
        self.advance_transfer(now, out);
    }
}

/// The lower half of a record's hash.
#[expect(clippy::cast_possible_truncation, reason = "half of it is what is wanted")]
fn check_of(hash: u128) -> u64 {
    hash as u64
}
