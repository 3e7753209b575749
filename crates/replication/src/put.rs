//! Coordinating a put or delete: stamp, send to every replica at once, answer once enough have it
//! durably (`ACK_AFTER_STORE`), with a second stamp where newer versions stand in the way
//! (`ACK_IS_LATEST`; the two-step write of Attiya, Bar-Noy and Dolev with the first step optimistic).
//! After the answer it lingers until every replica has it, or a hint is kept for those that do not.
//!
//! Nothing is stamped after the deadline or the answer, and never more than twice. A write that is not
//! answered `ok` leaves no hint.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Body, Command, Consistency, Failure, Key, Kind, Merged, Ordinal, Outcome, Purpose, Record,
    Version, Written,
};
use paravon_ring::KeyHash;

use crate::clock::Hold;
use crate::event::{Effect, Hint, Now, Reply, RequestToken};
use crate::linger::{self, Lingering};
use crate::mutants::{self, Mutant};
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::outgoing::Outgoing;
use crate::peers::Reach;
use crate::quorum::needed;
use crate::shard::Shard;
use crate::stores::Waiter;
use crate::write_tally::{WriteTally, WriteVerdict};

/// A put or delete under way.
#[derive(Debug)]
pub(crate) struct Write {
    request: RequestToken,
    pub(crate) deadline: Duration,
    hash: KeyHash,
    key: Key,
    body: Body,
    expires_ms: Option<u64>,
    consistency: Consistency,
    phase: Phase,
    /// None until the first stamp: the clock may have to wait for its ceiling.
    tally: Option<WriteTally>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Without a first stamp.
    Unstamped,
    /// Sent to its replicas under its last stamp.
    Sent,
    /// Waits for the ceiling to take its second stamp.
    AwaitsSecond,
    /// The client is answered; replicas are not.
    Lingers,
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
        if let Err(failure) = self.check_alive(hash, consistency) {
            return out.push(Effect::Reply { request, reply: Err(failure) });
        }
        let ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let expires_ms = ttl_ms.map(|ttl_ms| now.wall_ms.saturating_add(ttl_ms));
        let (phase, tally) = (Phase::Unstamped, None);
        let write =
            Write { request, deadline, hash, key, body, expires_ms, consistency, phase, tally };
        let id = self.begin(Operation::Write(write));
        self.stamp_and_send(now, id, out);
    }

    /// Stamps the write and sends it to its replicas, or queues it until the clock may stamp.
    pub(crate) fn stamp_and_send(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        match self.operations.get_mut(id) {
            Some(Operation::Write(write)) if write.phase == Phase::Lingers => return,
            Some(Operation::Write(write)) if now.monotonic < write.deadline => {}
            _ => return self.expire_write(now, id, out),
        }
        let stamp = self.clock.stamp(now);
        if let Some(ceiling) = self.clock.wanted_ceiling(now) {
            out.push(Effect::RaiseCeiling { ceiling });
        }
        let Some(Operation::Write(write)) = self.operations.get_mut(id) else { return };
        let hlc = match stamp {
            Ok(hlc) => hlc,
            Err(Hold::Ceiling) => {
                let second = write.tally.is_some();
                write.phase = if second { Phase::AwaitsSecond } else { Phase::Unstamped };
                return self.waiting_for_ceiling.push_back(id);
            }
            Err(hold) => return self.refuse_unstamped(id, &held(hold, now), out),
        };
        let version = Version { hlc, ordinal: self.ordinal };
        write.phase = Phase::Sent;
        match &mut write.tally {
            Some(tally) => tally.restamp(version),
            None => {
                let sets = self.layout.sets(write.hash.partition(self.layout.shift()));
                write.tally = Some(WriteTally::new(sets, write.consistency, version));
            }
        }
        self.send_write(now, id, out);
    }

    /// Sends the record to the replicas that are to get it and can be reached.
    pub(crate) fn send_write(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let (operations, mut outgoing) = self.split(now, out);
        let Some(Operation::Write(write)) = operations.get_mut(id) else { return };
        let Some(own) = write.send(id, &mut outgoing) else { return };
        if mutants::is(Mutant::AckBeforeSync) {
            let stamp = write.tally.as_ref().map(WriteTally::stamp);
            if let Some(stamp) = stamp {
                self.write_answered(now, id, own, stamp, Ok(Merged::Applied), out);
            }
        }
    }

    /// A replica has answered; only the store of this node answers for this node.
    pub(crate) fn write_answered(
        &mut self,
        now: Now,
        id: OperationId,
        from: Ordinal,
        stamp: Version,
        answer: Result<Merged, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Write(write)) = self.operations.get_mut(id) else { return };
        let Some(tally) = &mut write.tally else { return };
        tally.add(from, stamp, answer);
        if write.phase == Phase::Lingers {
            return self.settle_write(now, id, Lingering::GoesOn, out);
        }
        self.judge_write(now, id, out);
    }

    /// The stamp lies at or below `closed` here, and the store of this node has told what it holds.
    pub(crate) fn write_rechecked(
        &mut self,
        now: Now,
        id: OperationId,
        held: Result<Option<Record>, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Write(write)) = self.operations.get(id) else { return };
        let Some(stamp) = write.tally.as_ref().map(WriteTally::stamp) else { return };
        let partition = write.hash.partition(self.layout.shift());
        // A second stamp was taken meanwhile, and goes its own way.
        if self.floors.admits(partition, stamp) {
            return;
        }
        let (hash, record) = (write.hash, write.record(stamp));
        let answer = self.counted_below_closed(hash, &record, held);
        self.write_answered(now, id, self.ordinal, stamp, answer, out);
    }

    /// What the answers mean for the client, who waits.
    fn judge_write(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Write(write)) = self.operations.get(id) else { return };
        let Some(tally) = &write.tally else { return };
        match tally.verdict() {
            WriteVerdict::Pending => {}
            WriteVerdict::Done { acks } => self.acknowledge(now, id, acks, out),
            WriteVerdict::Failed(failure) => self.fail_write(id, failure, out),
            WriteVerdict::Restamp { past } => match self.clock.observe(past.hlc, now) {
                // The second stamp will lie above this answer too.
                Ok(()) if write.phase == Phase::AwaitsSecond => {}
                Ok(()) => self.stamp_and_send(now, id, out),
                Err(ahead_ms) => {
                    self.fail_write(id, clock_skew(ahead_ms, Outcome::Unknown), out);
                }
            },
        }
    }

    /// No answer will come to what was sent to this replica; it is sent again over the next link.
    /// Where the others refused, that answer alone was worth the wait.
    pub(crate) fn unask_write(
        &mut self,
        now: Now,
        id: OperationId,
        peer: Ordinal,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Write(write)) = self.operations.get_mut(id) else { return };
        let Some(tally) = &mut write.tally else { return };
        tally.answers_mut().unask(peer);
        if write.phase != Phase::Lingers {
            self.judge_write(now, id, out);
        }
    }

    /// The replica knows another layout and did nothing: it is asked again after a while.
    pub(crate) fn postpone_write(&mut self, now: Now, id: OperationId, peer: Ordinal) {
        let Some(Operation::Write(write)) = self.operations.get_mut(id) else { return };
        if let Some(tally) = &mut write.tally {
            tally.answers_mut().postpone(peer);
            self.ask_again_later(now);
        }
    }

    /// The while is over.
    pub(crate) fn ask_write_again(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Write(write)) = self.operations.get_mut(id) else { return };
        if let Some(tally) = &mut write.tally {
            tally.answers_mut().ask_postponed();
            self.send_write(now, id, out);
        }
    }

    /// Another layout is in use: all answers are void, and the record goes to the new replicas. A
    /// second stamp already taken stays, and so does the deadline (`EPOCH_FENCE`).
    pub(crate) fn relayout_write(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Write(write)) = self.operations.get(id) else { return };
        let possible = self.check_level(write.hash, write.consistency);
        match possible {
            Err(failure) if write.phase != Phase::Lingers => {
                return self.refuse_unstamped(id, &failure, out);
            }
            _ => {}
        }
        let (operations, outgoing) = self.split(now, out);
        let Some(Operation::Write(write)) = operations.get_mut(id) else { return };
        let Some(tally) = &mut write.tally else { return };
        tally.relayout(outgoing.sets(write.hash));
        if write.phase == Phase::AwaitsSecond {
            write.phase = Phase::Sent;
        }
        if let Some(id) = self.void_answers_to(id) {
            self.send_write(now, id, out);
            self.settle_write(now, id, Lingering::GoesOn, out);
        }
    }

    /// The deadline has passed.
    pub(crate) fn expire_write(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Write(write)) = self.operations.get(id) else { return };
        let failure = match &write.tally {
            Some(_) if write.phase == Phase::Lingers => {
                return self.settle_write(now, id, Lingering::Ends, out);
            }
            Some(tally) => tally.failure(),
            None => {
                let needed = needed(write.consistency, self.sets(write.hash).current.len());
                Failure::QuorumTimeout { needed, got: 0, outcome: Outcome::Refused }
            }
        };
        self.fail_write(id, failure, out);
    }

    /// The write gets no stamp. A first copy that was sent already makes its end unknown.
    pub(crate) fn refuse_unstamped(
        &mut self,
        id: OperationId,
        failure: &Failure,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Write(write)) = self.operations.get_mut(id) else { return };
        let failure = match &write.tally {
            // Answered under its first stamp while it waited for the second.
            _ if write.phase == Phase::Lingers => return,
            Some(tally) => tally.failure(),
            None => failure.clone(),
        };
        self.fail_write(id, failure, out);
    }

    fn fail_write(&mut self, id: OperationId, failure: Failure, out: &mut Vec<Effect>) {
        let Some(Operation::Write(write)) = self.operations.remove(id) else { return };
        out.push(Effect::Reply { request: write.request, reply: Err(failure) });
    }

    fn acknowledge(&mut self, now: Now, id: OperationId, acks: usize, out: &mut Vec<Effect>) {
        let Some(Operation::Write(write)) = self.operations.get_mut(id) else { return };
        let Some(tally) = &write.tally else { return };
        let count = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        let (version, kind) = (tally.stamp(), kind_of(&write.body));
        let (acks, replicas) = (count(acks), count(tally.answers().len()));
        let reply = Ok(Reply::Written(Written { version, kind, acks, replicas }));
        out.push(Effect::Reply { request: write.request, reply });
        write.phase = Phase::Lingers;
        let lingering = self.lingering.enter(linger::weight(&write.key, &write.body));
        self.settle_write(now, id, lingering, out);
    }

    /// After the answer: keeps a hint for each replica of which no acknowledgement is to be expected,
    /// and ends the write once every replica has it or a hint is kept.
    pub(crate) fn settle_write(
        &mut self,
        now: Now,
        id: OperationId,
        lingering: Lingering,
        out: &mut Vec<Effect>,
    ) {
        let (operations, mut outgoing) = self.split(now, out);
        let Some(Operation::Write(write)) = operations.get_mut(id) else { return };
        if write.phase != Phase::Lingers {
            return;
        }
        write.keep_hints(lingering, &mut outgoing);
        let settled = write.tally.as_ref().is_none_or(|tally| tally.unsettled().next().is_none());
        let weight = linger::weight(&write.key, &write.body);
        if settled || lingering == Lingering::Ends {
            self.lingering.leave(weight);
            self.operations.remove(id);
        }
    }
}

impl Write {
    fn record(&self, version: Version) -> Record {
        Record { version, expires_ms: self.expires_ms, body: self.body.clone() }
    }

    /// Gives this node's number where its own store got a copy.
    fn send(&mut self, id: OperationId, outgoing: &mut Outgoing<'_>) -> Option<Ordinal> {
        if self.phase == Phase::AwaitsSecond {
            return None;
        }
        let version = self.tally.as_ref()?.stamp();
        let record = self.record(version);
        let tally = self.tally.as_mut()?;
        let mut own = None;
        for slot in 0..tally.answers().len() {
            let replica = tally.answers().replicas()[slot];
            let reachable = outgoing.reach_of(replica, self.hash) == Reach::Linked;
            if !reachable || !tally.unsent().any(|unsent| unsent == slot) {
                continue;
            }
            tally.answers_mut().asked(slot);
            let (key, record) = (self.key.clone(), record.clone());
            if replica == outgoing.own() {
                outgoing.store(Waiter::Write(id), self.hash, key, record);
                own = Some(replica);
            } else {
                let command = Command::Store { key, record, purpose: Purpose::Write };
                outgoing.ask(replica, id, self.deadline, command);
            }
        }
        own
    }

    /// A hint carries the last stamp. It is kept for who is dead or has refused, and in the end for
    /// whoever has not acknowledged.
    fn keep_hints(&mut self, lingering: Lingering, outgoing: &mut Outgoing<'_>) {
        let Some(version) = self.tally.as_ref().map(WriteTally::stamp) else { return };
        for slot in 0..self.tally.as_ref().map_or(0, |tally| tally.answers().len()) {
            let Some(tally) = &mut self.tally else { return };
            if !tally.unsettled().any(|unsettled| unsettled == slot) {
                continue;
            }
            let target = tally.answers().replicas()[slot];
            let hopeless = outgoing.reach(target) == Reach::Dead
                || tally.answers().answer(slot).is_some()
                || lingering == Lingering::Ends;
            if hopeless {
                tally.hinted(slot);
                let (hash, key, record) = (self.hash, self.key.clone(), self.record(version));
                outgoing.keep_hint(target, Hint { hash, key, record });
            }
        }
    }
}

fn kind_of(body: &Body) -> Option<Kind> {
    match body {
        Body::Live(value) => Some(value.kind),
        Body::Tombstone => None,
    }
}

/// What a client is told when its write cannot be stamped.
fn held(hold: Hold, now: Now) -> Failure {
    let offset_ms = match hold {
        Hold::Skew { offset_ms } => offset_ms,
        Hold::Recovering { until_ms } => until_ms.saturating_sub(now.wall_ms),
        Hold::Ceiling | Hold::Exhausted => u64::MAX,
    };
    clock_skew(offset_ms, Outcome::Refused)
}

fn clock_skew(offset_ms: u64, outcome: Outcome) -> Failure {
    Failure::ClockSkew { offset_ms, outcome }
}

#[cfg(test)]
#[path = "put_tests.rs"]
mod tests;
