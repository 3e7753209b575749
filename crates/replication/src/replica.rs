//! Being asked by another coordinator: store a record, or tell what is stored.
//!
//! Refuses whatever another layout asks for, and everything before this node has stored the one in use
//! (`EPOCH_FENCE`), and says nothing at all to a stranger
//! (`NO_STRANGER`). **Never:** acknowledges what the store has not confirmed (`ACK_AFTER_STORE`).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use paravon_model::{
    Command, Compare, Failure, Hlc, Key, Merged, Ordinal, Outcome, Purpose, Record, ReplicaReply,
    ReplicaRequest, Version,
};
use paravon_ring::{KeyHash, Partition};

use crate::event::{Effect, Now, PeerToken};
use crate::marks::shown;
use crate::mutants::{self, Mutant};
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::peers::{DOCUMENT_PATIENCE, Teach};
use crate::pulled::NewPull;
use crate::shard::Shard;
use crate::stores::Waiter;

/// Stores under way, past which hints are refused: they yield to everything else.
const MAX_FOREGROUND: usize = 1024;

/// Reads and stores of other coordinators under way, past which they are refused.
const MAX_REPLICA_OPERATIONS: usize = 16_384;

/// When a refused coordinator may try again.
const RETRY_AFTER_MS: u64 = 20;

/// A read for another coordinator, on its way to the store of this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskedRead {
    token: PeerToken,
    pub(crate) hash: KeyHash,
    /// The floor of this node when its store was asked: nothing that a pull has brought since may count
    /// as absent.
    floor: Hlc,
}

/// A store for another coordinator.
struct AskedStore {
    token: PeerToken,
    hash: KeyHash,
    key: Key,
    record: Record,
    purpose: Purpose,
}

impl Shard {
    pub(crate) fn asked(
        &mut self,
        now: Now,
        from: Ordinal,
        token: PeerToken,
        hash: KeyHash,
        request: ReplicaRequest,
        out: &mut Vec<Effect>,
    ) {
        let ReplicaRequest { fence, time_left, command } = request;
        let known = self.layout.fence();
        match fence.cmp(&known) {
            Ordering::Equal if self.admits(&command) => {}
            // It is about to be stored: there is nothing to ask for.
            Ordering::Equal => {
                let reply = ReplicaReply::LaterLayout { known };
                return out.push(Effect::Answer { token, reply });
            }
            Ordering::Less if mutants::is(Mutant::OlderFenceAccepted) => {}
            Ordering::Less => {
                let reply = self.stale(now, from);
                return out.push(Effect::Answer { token, reply });
            }
            Ordering::Greater => {
                let reply = ReplicaReply::LaterLayout { known };
                out.push(Effect::Answer { token, reply });
                return self.ask_document(now, from, out);
            }
        }
        if self.layout.node_id(from).is_none() || time_left.is_zero() {
            return;
        }
        if let Command::Pull { partition, pull } = command {
            let deadline = now.monotonic + time_left;
            let partition = Partition(partition);
            return self.asked_pull(NewPull { from, token, deadline, partition, pull }, out);
        }
        if let Command::Compare(Compare::Marks { class, since, first }) = command {
            return self.asked_marks(now, from, token, (class, since, first), out);
        }
        if let Command::Compare(compare) = command {
            return self.asked_compare(from, token, compare, out);
        }
        let overloaded = Failure::Overloaded { retry_after_ms: RETRY_AFTER_MS };
        let partition = hash.partition(self.layout.shift());
        let serves = self.stores(partition) && !self.floors.awaits_closed(partition);
        let refusal = if !serves {
            Some(Failure::NotReady)
        } else {
            let under_way = self.stores.asked() + self.asked_reads;
            (under_way >= MAX_REPLICA_OPERATIONS).then_some(overloaded)
        };
        match command {
            Command::Pull { .. } | Command::Compare(_) => {}
            Command::Read { key } => match refusal {
                Some(failure) => tell_found(token, Err(failure), Hlc::ZERO, out),
                None => self.read_for_peer(token, hash, key, out),
            },
            Command::Store { key, record, purpose } => match refusal {
                Some(failure) => tell_stored(token, record.version, Err(failure), out),
                None => {
                    let store = AskedStore { token, hash, key, record, purpose };
                    self.store_for_peer(now, store, out);
                }
            },
        }
    }

    /// The answer to one that asks under an earlier layout (`EPOCH_FENCE`).
    pub(crate) fn stale(&mut self, now: Now, from: Ordinal) -> ReplicaReply {
        let known = self.layout.fence();
        match self.peers.teach(now.monotonic, from, known) {
            Teach::Now => {
                ReplicaReply::StaleLayout { document: Arc::clone(self.layout.document()) }
            }
            Teach::NotAgain => ReplicaReply::StaleFence { known },
        }
    }

    /// Another node knows a later layout. Its document is on its way by then, more often than not.
    pub(crate) fn ask_document(&mut self, now: Now, peer: Ordinal, out: &mut Vec<Effect>) {
        if self.asked_document.is_none_or(|asked| now.monotonic >= asked + DOCUMENT_PATIENCE) {
            self.asked_document = Some(now.monotonic);
            out.push(Effect::AskDocument { peer });
        }
    }

    fn read_for_peer(&mut self, token: PeerToken, hash: KeyHash, key: Key, out: &mut Vec<Effect>) {
        let floor = self.floors.claimed(hash.partition(self.layout.shift()));
        let operation = self.begin(Operation::Asked(AskedRead { token, hash, floor }));
        self.asked_reads += 1;
        out.push(Effect::Read { operation, hash, key });
    }

    /// Whether this may be done under the layout in use (`EPOCH_FENCE`).
    fn admits(&self, command: &Command) -> bool {
        let pulls = matches!(command, Command::Pull { .. } | Command::Compare(_));
        self.gate.is_open() || (pulls && mutants::is(Mutant::PullBeforeSettled))
    }

    fn store_for_peer(&mut self, now: Now, asked: AskedStore, out: &mut Vec<Effect>) {
        let AskedStore { token, hash, key, mut record, purpose } = asked;
        let stamp = record.version;
        let partition = hash.partition(self.layout.shift());
        let waiter = match purpose {
            Purpose::Write => {
                if let Err(offset_ms) = self.clock.follow(stamp.hlc, now) {
                    let failure = Failure::ClockSkew { offset_ms, outcome: Outcome::Refused };
                    return tell_stored(token, stamp, Err(failure), out);
                }
                Waiter::Peer(token)
            }
            // What is stored somewhere already moves no clock. Where this node has all that there is so
            // far back, it tells what it has instead.
            Purpose::Repair
                if self.floors.is_full_at(partition, stamp)
                    && !mutants::is(Mutant::WriteBackBelowFull) =>
            {
                return self.read_for_peer(token, hash, key, out);
            }
            Purpose::Repair => Waiter::Peer(token),
            Purpose::Hint if self.stores.foreground() > MAX_FOREGROUND => {
                let failure = Failure::Overloaded { retry_after_ms: RETRY_AFTER_MS };
                return tell_stored(token, stamp, Err(failure), out);
            }
            Purpose::Hint => Waiter::PeerHint(token, stamp),
        };
        let kept = purpose == Purpose::Hint && mutants::is(Mutant::HintBelowClosed);
        if purpose != Purpose::Repair && !kept && !self.floors.admits(partition, stamp) {
            return self.recheck(token, hash, key, (record, purpose), out);
        }
        if purpose == Purpose::Hint && mutants::is(Mutant::HintReplayedOverNewer) {
            record.version.hlc = Hlc::new(now.wall_ms, u16::MAX);
        }
        let (_, mut outgoing) = self.split(now, out);
        outgoing.store(waiter, hash, key, record);
        if mutants::is(Mutant::AckBeforeSync) {
            tell_stored(token, stamp, Ok(Merged::Applied), out);
        }
    }

    /// The store of this node has answered a read of another coordinator.
    pub(crate) fn asked_read(
        &mut self,
        id: OperationId,
        answer: Result<Option<Record>, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Asked(AskedRead { token, floor, .. })) = self.operations.remove(id)
        else {
            return;
        };
        self.asked_reads -= 1;
        tell_found(token, answer.map(|record| shown(record, floor)), floor, out);
    }
}

/// Answers a store. But for refusals this is called with what the store has confirmed.
pub(crate) fn tell_stored(
    token: PeerToken,
    stamp: Version,
    answer: Result<Merged, Failure>,
    out: &mut Vec<Effect>,
) {
    out.push(Effect::Answer { token, reply: ReplicaReply::Stored { stamp, answer } });
}

fn tell_found(
    token: PeerToken,
    answer: Result<Option<Record>, Failure>,
    floor: Hlc,
    out: &mut Vec<Effect>,
) {
    out.push(Effect::Answer { token, reply: ReplicaReply::Found { answer, floor } });
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;
