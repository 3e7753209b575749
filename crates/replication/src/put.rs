//! Coordinating a put or delete: stamp, store on every replica, answer once enough have it durably
//! (`ACK_AFTER_STORE`), with a second stamp where newer versions stand in the way (`ACK_IS_LATEST`;
//! the two-step write of Attiya, Bar-Noy and Dolev with the first step optimistic).
//!
//! Nothing is stamped after the deadline, and never more than twice.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Body, Consistency, Failure, Key, Kind, Merged, Outcome, Record, Version, Written,
};
use paravon_ring::KeyHash;

use crate::clock::Hold;
use crate::event::{Effect, Now, Reply, RequestToken};
use crate::operations::OperationId;
use crate::shard::{Operation, Shard};
use crate::tally::{WriteTally, WriteVerdict};

/// A put or delete under way.
#[derive(Debug)]
pub(crate) struct Write {
    request: RequestToken,
    pub(crate) deadline: Duration,
    hash: KeyHash,
    key: Key,
    body: Body,
    expires_ms: Option<u64>,
    needed: usize,
    /// None until the first stamp: the clock may have to wait for its ceiling.
    tally: Option<WriteTally>,
}

/// What a client wants written.
pub(crate) struct NewWrite {
    pub(crate) request: RequestToken,
    pub(crate) deadline: Duration,
    pub(crate) hash: KeyHash,
    pub(crate) key: Key,
    pub(crate) body: Body,
    pub(crate) ttl: Option<Duration>,
    pub(crate) consistency: Consistency,
}

impl Shard {
    pub(crate) fn begin_write(&mut self, now: Now, new: NewWrite, out: &mut Vec<Effect>) {
        let NewWrite { request, deadline, hash, key, body, ttl, consistency } = new;
        let needed = match self.needed(hash, consistency) {
            Ok(needed) => needed,
            Err(failure) => return out.push(Effect::Reply { request, reply: Err(failure) }),
        };
        let ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let expires_ms = ttl_ms.map(|ttl_ms| now.wall_ms.saturating_add(ttl_ms));
        let write = Write { request, deadline, hash, key, body, expires_ms, needed, tally: None };
        let id = self.operations.insert(Operation::Write(write));
        self.stamp_and_store(now, id, out);
    }

    /// Stamps the write and sends it to its replicas, or queues it until the clock may stamp.
    pub(crate) fn stamp_and_store(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        match self.operations.get_mut(id) {
            Some(Operation::Write(write)) if now.monotonic < write.deadline => {}
            _ => return self.expire_write(id, out),
        }
        let stamp = self.clock.stamp(now);
        if let Some(ceiling) = self.clock.wanted_ceiling(now) {
            out.push(Effect::RaiseCeiling { ceiling });
        }
        let hlc = match stamp {
            Ok(hlc) => hlc,
            Err(Hold::Ceiling) => return self.waiting_for_ceiling.push_back(id),
            Err(Hold::Exhausted) => {
                let failure = clock_skew(u64::MAX, Outcome::Refused);
                return self.refuse_unstamped(id, &failure, out);
            }
        };
        let Some(Operation::Write(write)) = self.operations.get_mut(id) else { return };
        let version = Version { hlc, ordinal: self.ordinal };
        match &mut write.tally {
            Some(tally) => tally.restamp(version),
            None => {
                let replicas = self.layout.replicas(write.hash.partition(self.layout.shift()));
                write.tally = Some(WriteTally::new(replicas, write.needed, version));
            }
        }
        let record = Record { version, expires_ms: write.expires_ms, body: write.body.clone() };
        let (hash, key) = (write.hash, write.key.clone());
        out.push(Effect::Store { operation: id, hash, key, record });
    }

    /// The store of this node has answered.
    pub(crate) fn stored(
        &mut self,
        now: Now,
        id: OperationId,
        stamp: Version,
        answer: Result<Merged, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Write(write)) = self.operations.get_mut(id) else { return };
        let Some(tally) = &mut write.tally else { return };
        tally.add(self.ordinal, stamp, answer);
        match tally.verdict() {
            WriteVerdict::Pending => {}
            WriteVerdict::Done { acks } => self.end_write(id, Ok((stamp, acks)), out),
            WriteVerdict::Failed(failure) => self.end_write(id, Err(failure), out),
            WriteVerdict::Restamp { past } => match self.clock.observe(past.hlc, now) {
                Ok(()) => self.stamp_and_store(now, id, out),
                Err(ahead_ms) => {
                    self.end_write(id, Err(clock_skew(ahead_ms, Outcome::Unknown)), out);
                }
            },
        }
    }

    /// The deadline has passed.
    pub(crate) fn expire_write(&mut self, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Write(write)) = self.operations.get_mut(id) else { return };
        let failure = match &write.tally {
            Some(tally) => tally.failure(),
            None => {
                Failure::QuorumTimeout { needed: write.needed, got: 0, outcome: Outcome::Refused }
            }
        };
        self.end_write(id, Err(failure), out);
    }

    /// The clock will not stamp the write. A first copy that was sent already makes its end unknown.
    pub(crate) fn refuse_unstamped(
        &mut self,
        id: OperationId,
        failure: &Failure,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Write(write)) = self.operations.get_mut(id) else { return };
        let failure = match &write.tally {
            Some(tally) => tally.failure(),
            None => failure.clone(),
        };
        self.end_write(id, Err(failure), out);
    }

    fn end_write(
        &mut self,
        id: OperationId,
        end: Result<(Version, usize), Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Write(write)) = self.operations.remove(id) else { return };
        let partition = write.hash.partition(self.layout.shift());
        let replicas = self.layout.replicas(partition).len();
        let reply = end.map(|(version, acks)| {
            let count = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
            let kind = kind_of(&write.body);
            let (acks, replicas) = (count(acks), count(replicas));
            Reply::Written(Written { version, kind, acks, replicas })
        });
        out.push(Effect::Reply { request: write.request, reply });
    }
}

fn kind_of(body: &Body) -> Option<Kind> {
    match body {
        Body::Live(value) => Some(value.kind),
        Body::Tombstone => None,
    }
}

fn clock_skew(offset_ms: u64, outcome: Outcome) -> Failure {
    Failure::ClockSkew { offset_ms, outcome }
}
