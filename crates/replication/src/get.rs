//! Coordinating a get: ask as many replicas as are needed, the nearest first; ask a further one when
//! one fails or is late; answer with the newest of what they hold, once a majority of each set in force
//! holds it (`READ_SEES_ACKED`, `READS_MONOTONIC`); repair those that are stale.
//!
//! A read that lacks its replicas is an error, never "absent". A write-back carries the version that
//! was read: **never** a fresh one, which would undo newer writes. A replica that takes no write-back so
//! old tells anew what it holds instead, and the read judges again.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use paravon_model::{
    Command, Consistency, Failure, Get, Hlc, Key, Merged, Ordinal, Purpose, Reading, Record,
    Version,
};
use paravon_ring::KeyHash;

use crate::answers::Standing;
use crate::event::{Effect, Now, Reply, RequestToken};
use crate::hedge::{Late, Leave};
use crate::linger::{self, Lingering};
use crate::marks::shown;
use crate::mutants::{self, Mutant};
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::outgoing::Outgoing;
use crate::peers::Reach;
use crate::read_tally::{Further, HeldVerdict, ReadTally, ReadVerdict};
use crate::shard::Shard;
use crate::slots::Slots;
use crate::stores::Waiter;

/// A replica of both sets is asked although others are quicker, by so many powers of two. One that hardly
/// answers at all is slower than that.
const BOTH_SETS: u32 = 2;

/// A get under way.
#[derive(Debug)]
pub(crate) struct Read {
    request: RequestToken,
    pub(crate) deadline: Duration,
    pub(crate) hash: KeyHash,
    key: Key,
    consistency: Consistency,
    tally: ReadTally,
    phase: Phase,
    /// When each replica was asked.
    asked_at: Slots<Duration>,
    /// The moment at which it is late, where it is watched for that.
    late_at: Option<Duration>,
    /// Where among equally near replicas this read begins.
    rotation: usize,
    /// The floor of this node when its own store was asked.
    own_floor: Hlc,
}

#[derive(Debug)]
enum Phase {
    /// Collects answers.
    Asking,
    /// Has its winner, which a majority must hold before the answer.
    Holding(Record),
    /// The client is answered with this; stale replicas are repaired.
    Answered(Record),
}

impl Shard {
    pub(crate) fn begin_read(
        &mut self,
        now: Now,
        request: RequestToken,
        hash: KeyHash,
        get: Get,
        deadline: Duration,
        out: &mut Vec<Effect>,
    ) {
        if let Err(failure) = self.check_alive(hash, get.consistency) {
            return out.push(Effect::Reply { request, reply: Err(failure) });
        }
        let tally = ReadTally::new(self.sets(hash), get.consistency);
        let (spare, replicas) = (tally.has_spare(), tally.answers().len());
        self.rotation = self.rotation.wrapping_add(1);
        let read = Read {
            request,
            deadline,
            hash,
            key: get.key,
            consistency: get.consistency,
            tally,
            phase: Phase::Asking,
            asked_at: Slots::of(replicas, || Duration::ZERO),
            late_at: None,
            rotation: self.rotation,
            own_floor: Hlc::ZERO,
        };
        let id = self.begin(Operation::Read(read));
        if spare {
            self.hedge.earn();
        }
        self.advance_read(now, id, out);
        self.watch_read(now, id);
    }

    /// Sends whatever the read lacks to replicas that can be reached: requests while it asks, the
    /// winner after that.
    pub(crate) fn advance_read(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let (operations, mut outgoing) = self.split(now, out);
        let Some(Operation::Read(read)) = operations.get_mut(id) else { return };
        let ended = match &read.phase {
            Phase::Asking => {
                while read.ask_next(id, Further::Missing, &mut outgoing).is_some() {}
                false
            }
            Phase::Holding(winner) => {
                let winner = winner.clone();
                read.write_back(id, &winner, &mut outgoing);
                false
            }
            Phase::Answered(winner) => {
                let winner = winner.clone();
                read.repair_stale(id, &winner, &mut outgoing);
                !read.tally.awaits()
            }
        };
        if ended {
            self.end_read(id);
        }
    }

    /// A replica has answered.
    pub(crate) fn read_answered(
        &mut self,
        now: Now,
        id: OperationId,
        from: Ordinal,
        answer: Result<Option<Record>, Failure>,
        floor: Hlc,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Read(read)) = self.operations.get_mut(id) else { return };
        match read.tally.found(from, answer, floor) {
            Some(slot) if from != self.ordinal => {
                let taken = now.monotonic.saturating_sub(read.asked_at[slot]);
                self.peers.observe(from, taken);
                self.hedge.observe(taken);
            }
            Some(_) => {}
            None => read.look_again(),
        }
        self.judge_read(now, id, out);
    }

    /// The store of this node has answered, whose floor was what it was when it was asked: nothing that
    /// a pull has brought since may count as absent.
    pub(crate) fn own_read_answered(
        &mut self,
        now: Now,
        id: OperationId,
        answer: Result<Option<Record>, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Read(read)) = self.operations.get(id) else { return };
        let floor = read.own_floor;
        let answer = answer.map(|record| shown(record, floor));
        self.read_answered(now, id, self.ordinal, answer, floor, out);
    }

    /// A replica has answered a write-back.
    pub(crate) fn repair_answered(
        &mut self,
        now: Now,
        id: OperationId,
        from: Ordinal,
        stamp: Version,
        answer: &Result<Merged, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Read(read)) = self.operations.get_mut(id) else { return };
        let winner = match &read.phase {
            Phase::Holding(winner) | Phase::Answered(winner) => winner.version,
            Phase::Asking => return,
        };
        if stamp == winner || mutants::is(Mutant::RepairWithFreshVersion) {
            read.tally.repaired(from, answer);
            self.judge_read(now, id, out);
        }
    }

    fn judge_read(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Read(read)) = self.operations.get_mut(id) else { return };
        match &read.phase {
            Phase::Asking => match read.tally.verdict() {
                ReadVerdict::Pending => self.advance_read(now, id, out),
                ReadVerdict::Failed(failure) => self.fail_read(id, failure, out),
                ReadVerdict::Done(None) => self.answer_read(now, id, None, out),
                ReadVerdict::Done(Some(winner)) => {
                    let promises = read.tally.reaches_majority();
                    if promises && !mutants::is(Mutant::NoReadRepair) {
                        read.phase = Phase::Holding(winner);
                        self.judge_read(now, id, out);
                        self.watch_read(now, id);
                    } else {
                        self.answer_read(now, id, Some(winner), out);
                    }
                }
            },
            Phase::Holding(winner) => match read.tally.held(winner.version) {
                HeldVerdict::Pending => self.advance_read(now, id, out),
                HeldVerdict::Failed(failure) => self.fail_read(id, failure, out),
                HeldVerdict::Held => {
                    let winner = winner.clone();
                    self.answer_read(now, id, Some(winner), out);
                }
            },
            Phase::Answered(_) => self.advance_read(now, id, out),
        }
    }

    /// From now on the read waits for answers, and may turn to a further replica when they are late.
    fn watch_read(&mut self, now: Now, id: OperationId) {
        let Some(Operation::Read(read)) = self.operations.get_mut(id) else { return };
        if read.has_spare() {
            read.late_at = Some(self.hedge.watch(now.monotonic, id));
        }
    }

    /// The usual time for an answer has passed: turn to one replica more, if the budget allows.
    pub(crate) fn hedge_reads(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some(Late { due, read: id, leave }) = self.hedge.late(now.monotonic) {
            let Some(Operation::Read(read)) = self.operations.get(id) else { continue };
            if read.late_at != Some(due) || !read.has_spare() {
                continue;
            }
            if matches!(read.phase, Phase::Asking) {
                for (slot, &replica) in read.tally.answers().replicas().iter().enumerate() {
                    if *read.tally.answers().standing(slot) == Standing::Asked {
                        let waited = now.monotonic.saturating_sub(read.asked_at[slot]);
                        self.peers.observe(replica, waited * 2);
                    }
                }
            }
            let allowed = leave == Leave::Granted || self.hedge.spend().is_some();
            let (operations, mut outgoing) = self.split(now, out);
            let Some(Operation::Read(read)) = operations.get_mut(id) else { continue };
            if allowed && read.hedge(id, &mut outgoing).is_some() {
                self.watch_read(now, id);
                continue;
            }
            let late_at = self.hedge.starve(now.monotonic, id);
            if let Some(Operation::Read(read)) = self.operations.get_mut(id) {
                read.late_at = Some(late_at);
            }
        }
    }

    /// No answer will come from this replica; another one is asked at once.
    pub(crate) fn unask_read(
        &mut self,
        now: Now,
        id: OperationId,
        peer: Ordinal,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Read(read)) = self.operations.get_mut(id) else { return };
        read.tally.unask(peer);
        self.advance_read(now, id, out);
    }

    /// The replica knows another layout and did nothing: another one is asked at once, this one again
    /// after a while.
    pub(crate) fn postpone_read(
        &mut self,
        now: Now,
        id: OperationId,
        peer: Ordinal,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Read(read)) = self.operations.get_mut(id) else { return };
        read.tally.postpone(peer);
        self.ask_again_later(now);
        self.advance_read(now, id, out);
    }

    /// The while is over.
    pub(crate) fn ask_read_again(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Read(read)) = self.operations.get_mut(id) else { return };
        read.tally.ask_postponed();
        self.advance_read(now, id, out);
    }

    /// Another layout is in use: all answers are void, and the new replicas are asked (`EPOCH_FENCE`).
    pub(crate) fn relayout_read(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Read(read)) = self.operations.get(id) else { return };
        if matches!(read.phase, Phase::Answered(_)) {
            return self.end_read(id);
        }
        if let Err(failure) = self.check_level(read.hash, read.consistency) {
            return self.fail_read(id, failure, out);
        }
        let (operations, outgoing) = self.split(now, out);
        let Some(Operation::Read(read)) = operations.get_mut(id) else { return };
        read.tally.relayout(outgoing.sets(read.hash));
        (read.phase, read.own_floor) = (Phase::Asking, Hlc::ZERO);
        read.asked_at = Slots::of(read.tally.answers().len(), || Duration::ZERO);
        if let Some(id) = self.void_answers_to(id) {
            self.advance_read(now, id, out);
            self.watch_read(now, id);
        }
    }

    /// The deadline has passed.
    pub(crate) fn expire_read(&mut self, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Read(read)) = self.operations.get_mut(id) else { return };
        let failure = match &read.phase {
            Phase::Answered(_) => return self.end_read(id),
            Phase::Asking => read.tally.failure(),
            Phase::Holding(winner) => read.tally.unheld(winner.version),
        };
        self.fail_read(id, failure, out);
    }

    fn answer_read(
        &mut self,
        now: Now,
        id: OperationId,
        winner: Option<Record>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Read(read)) = self.operations.get_mut(id) else { return };
        let reply = Ok(Reply::Reading(Reading::at(winner.clone(), now.wall_ms)));
        out.push(Effect::Reply { request: read.request, reply });
        match winner {
            Some(winner) if !mutants::is(Mutant::NoReadRepair) => {
                let lingering = self.lingering.enter(linger::weight(&read.key, &winner.body));
                read.phase = Phase::Answered(winner);
                self.advance_read(now, id, out);
                if lingering == Lingering::Ends {
                    self.end_read(id);
                }
            }
            _ => self.end_read(id),
        }
    }

    fn fail_read(&mut self, id: OperationId, failure: Failure, out: &mut Vec<Effect>) {
        if let Some(Operation::Read(read)) = self.operations.get(id) {
            out.push(Effect::Reply { request: read.request, reply: Err(failure) });
            self.end_read(id);
        }
    }

    /// The node is about to stop: a read that is answered waits for nobody.
    pub(crate) fn stop_read(&mut self, id: OperationId) {
        if let Some(Operation::Read(read)) = self.operations.get(id)
            && !read.is_awaited()
        {
            self.end_read(id);
        }
    }

    fn end_read(&mut self, id: OperationId) {
        if let Some(Operation::Read(read)) = self.operations.remove(id)
            && let Phase::Answered(winner) = &read.phase
        {
            self.lingering.leave(linger::weight(&read.key, &winner.body));
        }
        let operations = &self.operations;
        self.hedge.trim(|id| operations.get(id).is_some_and(Operation::may_be_late));
    }
}

impl Read {
    /// Whether its client waits for it.
    pub(crate) fn is_awaited(&self) -> bool {
        !matches!(self.phase, Phase::Answered(_))
    }

    /// A replica has told anew what it holds: there may be another winner.
    fn look_again(&mut self) {
        let Phase::Holding(winner) = &self.phase else { return };
        if let ReadVerdict::Done(found) = self.tally.verdict()
            && found.as_ref() != Some(winner)
        {
            self.tally.judge_again();
            self.phase = Phase::Asking;
        }
    }

    /// Whether there is a replica that it has not turned to and might.
    fn has_spare(&self) -> bool {
        match &self.phase {
            Phase::Asking => !self.tally.wanted(Further::Late).is_empty(),
            Phase::Holding(winner) => {
                let lacking = self.tally.unheld_sets(winner.version);
                self.tally.untold().any(|slot| lacking.contains(slot))
            }
            Phase::Answered(_) => false,
        }
    }

    /// What it waits for is late: turns to one replica more. A replica that answers reads may have a
    /// disk that stands still, so the winner goes to one that was not told it; where that one holds it
    /// already, it costs no write. None where no further one can be reached.
    fn hedge(&mut self, id: OperationId, outgoing: &mut Outgoing<'_>) -> Option<()> {
        match &self.phase {
            Phase::Asking => self.ask_next(id, Further::Late, outgoing),
            Phase::Holding(winner) => {
                let winner = winner.clone();
                let replicas = self.tally.answers().replicas();
                let lacking = self.tally.unheld_sets(winner.version);
                let helps = |slot: &usize| {
                    lacking.contains(*slot)
                        && outgoing.reach_of(replicas[*slot], self.hash) == Reach::Linked
                };
                let further = self.tally.untold().find(helps)?;
                self.repair(id, further, &winner, outgoing);
                Some(())
            }
            Phase::Answered(_) => None,
        }
    }

    /// Asks the nearest replica that was not asked and is of a set that lacks answers: this node, then
    /// by the time in which they answer, equally good ones in turn. One that helps both sets spares a
    /// request and may be slower for it. None where no further one can be reached or would help.
    fn ask_next(
        &mut self,
        id: OperationId,
        further: Further,
        outgoing: &mut Outgoing<'_>,
    ) -> Option<()> {
        let wanted = self.tally.wanted(further);
        if wanted.is_empty() {
            return None;
        }
        let answers = self.tally.answers();
        let distance = |slot: usize| {
            let (replica, helps) = (answers.replicas()[slot], wanted.helps(slot));
            let open = helps > 0 && outgoing.reach_of(replica, self.hash) == Reach::Linked;
            open.then(|| {
                let slowness = outgoing.peers.slowness(replica);
                let slowness = slowness.saturating_sub(if helps > 1 { BOTH_SETS } else { 0 });
                (replica != outgoing.own(), slowness, Reverse(helps))
            })
        };
        let least = (0..answers.len()).filter_map(distance).min()?;
        let nearest = || (0..answers.len()).filter(|&slot| distance(slot) == Some(least));
        let nearest = nearest().nth(self.rotation % nearest().count())?;
        let replica = answers.replicas()[nearest];
        self.tally.answers_mut().asked(nearest);
        self.asked_at[nearest] = outgoing.now.monotonic;
        let key = self.key.clone();
        if replica == outgoing.own() {
            self.own_floor = outgoing.floor(self.hash);
            outgoing.out.push(Effect::Read { operation: id, hash: self.hash, key });
        } else {
            outgoing.ask(replica, id, self.deadline, Command::Read { key });
        }
        Some(())
    }

    /// Before the answer: to the stale replicas that answered, and to as many further ones as the
    /// majorities lack.
    fn write_back(&mut self, id: OperationId, winner: &Record, outgoing: &mut Outgoing<'_>) {
        self.repair_stale(id, winner, outgoing);
        if self.tally.missing(winner.version).is_empty() {
            return;
        }
        let untold: Vec<usize> = self.tally.untold().collect();
        for slot in untold {
            if self.tally.missing(winner.version).contains(slot) {
                self.repair(id, slot, winner, outgoing);
            }
        }
    }

    fn repair_stale(&mut self, id: OperationId, winner: &Record, outgoing: &mut Outgoing<'_>) {
        for slot in 0..self.tally.answers().len() {
            if self.tally.is_stale(slot, winner.version) {
                self.repair(id, slot, winner, outgoing);
            }
        }
    }

    fn repair(
        &mut self,
        id: OperationId,
        slot: usize,
        winner: &Record,
        outgoing: &mut Outgoing<'_>,
    ) {
        let replica = self.tally.answers().replicas()[slot];
        if outgoing.reach_of(replica, self.hash) != Reach::Linked {
            return;
        }
        self.tally.repair_sent(slot);
        let (key, mut record) = (self.key.clone(), winner.clone());
        if mutants::is(Mutant::RepairWithFreshVersion)
            && let Some(hlc) = record.version.hlc.checked_add(1 << 20)
        {
            record.version = Version { hlc, ordinal: outgoing.own() };
        }
        if replica == outgoing.own() && outgoing.is_full_at(self.hash, record.version) {
            // The answer to an earlier question may claim no more than was so when it was asked.
            if *self.tally.answers().standing(slot) != Standing::Asked {
                self.own_floor = outgoing.floor(self.hash);
            }
            outgoing.out.push(Effect::Read { operation: id, hash: self.hash, key });
        } else if replica == outgoing.own() {
            outgoing.store(Waiter::Repair(id), self.hash, key, record);
        } else {
            let command = Command::Store { key, record, purpose: Purpose::Repair };
            outgoing.ask(replica, id, self.deadline, command);
        }
    }
}

#[cfg(test)]
#[path = "get_tests.rs"]
mod tests;
