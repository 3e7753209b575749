//! Being asked what a partition holds, by a member that is to become complete for it, that mends where it
//! differs, or that restores what it has lost.
//!
//! A member of one of the sets in force is told, under the fence that this node uses and has stored:
//! what was admitted under earlier ones is durable then. **Never:** before that (`EPOCH_FENCE`), and
//! never with more pages under way than a limit, each of which is read into memory. A record that cannot
//! be read is told as that, never left out.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Detail, Failure, Fence, Key, Listed, Ordinal, Outcome, Part, Pull, Pulled, ReplicaReply, Rest,
};
use paravon_ring::{KeyHash, Partition};

use crate::event::{Effect, Entry, Now, PeerToken, ScanFailure};
use crate::marks::is_covered;
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::pass::Held;
use crate::shard::Shard;

/// Pulls of other members under way, past which they are refused: 16 MiB of pages.
const MAX_ASKED_PULLS: usize = 64;

/// When a refused member may try again.
const RETRY_AFTER_MS: u64 = 50;

/// Most records of a page, and its bytes but for the last record.
pub(crate) const PAGE_RECORDS: usize = 512;
pub(crate) const PAGE_BYTES: usize = 256 * 1024;

/// A pull of another member, on its way through the store of this node.
#[derive(Debug)]
pub(crate) struct AskedPull {
    from: Ordinal,
    token: PeerToken,
    /// The layout that admitted it.
    fence: Fence,
    /// Nobody waits any longer.
    deadline: Duration,
    partition: Partition,
    part: Part,
    detail: Detail,
}

/// A member's request for what a partition holds.
pub(crate) struct NewPull {
    pub(crate) from: Ordinal,
    pub(crate) token: PeerToken,
    pub(crate) deadline: Duration,
    pub(crate) partition: Partition,
    pub(crate) pull: Pull,
}

impl Shard {
    /// A member asks, under the fence of this node, which has stored it.
    pub(crate) fn asked_pull(&mut self, new: NewPull, out: &mut Vec<Effect>) {
        let NewPull { from, token, deadline, partition, pull } = new;
        let fence = self.layout.fence();
        if !self.tells(from, partition) || self.floors.awaits_closed(partition) {
            return tell_pulled(token, Err(Failure::NotReady), out);
        }
        if self.has_lost(partition) {
            let failure = Failure::Damaged { outcome: Outcome::Refused };
            return tell_pulled(token, Err(failure), out);
        }
        if self.asked_pulls >= MAX_ASKED_PULLS {
            let failure = Failure::Overloaded { retry_after_ms: RETRY_AFTER_MS };
            return tell_pulled(token, Err(failure), out);
        }
        let Pull { part, detail, after } = pull;
        let after = after.map(|key| (self.layout.hash(&key), key));
        self.asked_pulls += 1;
        let asked = AskedPull { from, token, fence, deadline, partition, part, detail };
        let operation = self.begin(Operation::AskedPull(asked));
        scan(operation, partition, part, after, out);
    }

    /// Whether this shard has the partition and both are of its sets. The number is a stranger's.
    pub(crate) fn tells(&self, to: Ordinal, partition: Partition) -> bool {
        let exists = partition.0 < self.layout.shift().partitions();
        exists && self.portion.owns(partition) && {
            let sets = self.layout.sets(partition);
            sets.contains(to) && sets.contains(self.ordinal)
        }
    }

    /// The store of this node has read a page for another member.
    pub(crate) fn asked_pull_scanned(
        &mut self,
        now: Now,
        id: OperationId,
        page: Result<Vec<Entry>, ScanFailure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::AskedPull(asked)) = self.operations.get(id) else { return };
        let (partition, part) = (asked.partition, asked.part);
        let floor = self.floors.floor(partition);
        let failure = Failure::Damaged { outcome: Outcome::Refused };
        let marked = |at| ScanFailure { failure, at: Some(at) };
        let page = page.and_then(|page| self.tellable(page).map_err(marked));
        let end = page.as_ref().ok().and_then(|page| page.last());
        let end = end.map(|(hash, key, _)| (*hash, key.clone()));
        let page = page.map(|mut page| {
            page.retain(|(_, _, record)| !is_covered(record, floor));
            page
        });
        if end.is_some() && page.as_ref().is_ok_and(Vec::is_empty) {
            // All of it lies below the floor: an empty page would be the last one.
            return scan(id, partition, part, end, out);
        }
        let Some(Operation::AskedPull(asked)) = self.operations.remove(id) else { return };
        self.asked_pulls -= 1;
        let (from, token) = (asked.from, asked.token);
        let answer = if asked.fence != self.layout.fence() {
            // What is stored now need not be what was asked for.
            Some(self.stale(now, from))
        } else {
            match (page, asked.detail) {
                // For that key another replica must be asked.
                (Err(ScanFailure { at: Some((_, key)), .. }), _) => {
                    Some(told(Pulled::Damaged { key }))
                }
                (Err(ScanFailure { failure, .. }), _) => {
                    Some(ReplicaReply::Pulled { answer: Err(failure) })
                }
                (Ok(_), _) if now.monotonic >= asked.deadline => None,
                (Ok(page), Detail::Listing) => {
                    let rest = rest_of(&page);
                    let listed = page.into_iter().map(|(_, key, record)| {
                        let Held { version, check } = self.held(&key, &record);
                        Listed { key, version, check }
                    });
                    Some(told(Pulled::Listing { listed: listed.collect(), rest }))
                }
                (Ok(page), Detail::Record) => {
                    let rest = rest_of(&page);
                    let records = page.into_iter().map(|(_, key, record)| (key, record));
                    Some(told(Pulled::Records { records: records.collect(), rest }))
                }
            }
        };
        out.extend(answer.map(|reply| Effect::Answer { token, reply }));
    }
}

/// Reads the page of a part of a partition behind a place.
fn scan(
    operation: OperationId,
    partition: Partition,
    part: Part,
    after: Option<(KeyHash, Key)>,
    out: &mut Vec<Effect>,
) {
    let (limit, bytes) = (PAGE_RECORDS, PAGE_BYTES);
    out.push(Effect::Scan { operation, partition, part, after, limit, bytes });
}

/// Only an empty page is known to be the last one.
fn rest_of(page: &[Entry]) -> Rest {
    if page.is_empty() { Rest::End } else { Rest::More }
}

fn told(pulled: Pulled) -> ReplicaReply {
    ReplicaReply::Pulled { answer: Ok(pulled) }
}

fn tell_pulled(token: PeerToken, answer: Result<Pulled, Failure>, out: &mut Vec<Effect>) {
    out.push(Effect::Answer { token, reply: ReplicaReply::Pulled { answer } });
}

#[cfg(test)]
#[path = "pulled_tests.rs"]
mod tests;
