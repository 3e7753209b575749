//! Handing hints over to the members that they are kept for (`HINT_NOT_LOST`, `HINT_ORDER`).
//!
//! Per target one scan through its hints at a time, with a window that yields to everything else. A hint
//! is removed only after the target's durable answer to that very version. One key has one hint, and a
//! scan passes it once and ends when everything that it sent has ended or was given up; should an older
//! copy still arrive then, the merge rule keeps the newer one.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Command, Failure, Key, Merged, Ordinal, Purpose, Record, Version};
use paravon_ring::{KeyHash, Sets};

use crate::answers::Answers;
use crate::event::{Effect, Hint, Now};
use crate::mutants::{self, Mutant};
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::pace::{MAX_BYTES, MAX_READ, Pace, Pause};
use crate::peers::Reach;
use crate::shard::Shard;
use crate::stores::Waiter;

/// How long an answer to a hint is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Completed scans after a hint was kept: a hint is seen only once it is durable, and the pause
/// before each doubles, so that a disk that stalls for a minute is waited for.
const RESCANS: u32 = 10;
const FIRST_RESCAN: Duration = Duration::from_millis(100);

/// A hint on its way.
#[derive(Debug)]
pub(crate) struct HandOver {
    target: Ordinal,
    pub(crate) deadline: Duration,
    hash: KeyHash,
    key: Key,
    record: Record,
    /// The target, or the replicas of the partition, of both sets in force, where the target is none of
    /// them any more.
    answers: Answers<()>,
}

/// The hints for one target.
#[derive(Debug)]
struct Handoff {
    target: Ordinal,
    /// Whether the store may keep hints for it.
    stock: Stock,
    scan: Scan,
    pace: Pace,
    /// When a hint was last given to the store; at the start at the latest for what it has from before.
    kept_at: Duration,
    /// Scans that found nothing more to do since a hint was kept.
    scans: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stock {
    Perhaps,
    Empty,
}

/// One pass through the hints.
#[derive(Debug, Default)]
struct Scan {
    read: ReadState,
    after: Option<(KeyHash, Key)>,
    /// Read and not sent.
    ready: VecDeque<Hint>,
    /// Whether the last hint was read.
    complete: bool,
    /// Hints that were not handed over.
    failed: usize,
    /// Hints that were.
    done: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ReadState {
    #[default]
    Idle,
    Reading,
    /// The scan was given up while it read; what comes is to be thrown away.
    Void,
}

/// The hints of one shard, by target.
#[derive(Debug)]
pub(crate) struct Handoffs(Vec<Handoff>);

impl Handoffs {
    /// The store keeps hints for these members.
    pub(crate) fn new(hinted: &[Ordinal]) -> Self {
        let mut handoffs = Self(Vec::new());
        for &target in hinted {
            handoffs.target(target).stock = Stock::Perhaps;
        }
        handoffs
    }

    /// A hint is about to be kept.
    pub(crate) fn kept(&mut self, now: Duration, target: Ordinal) {
        let handoff = self.target(target);
        (handoff.stock, handoff.scans, handoff.kept_at) = (Stock::Perhaps, 0, now);
        if handoff.pace.outstanding() == 0 && handoff.scan.after.is_none() {
            handoff.pace.pause_at_most(now + FIRST_RESCAN);
        }
    }

    /// When a hint for this member was last given to the store, which may have marked a partition dirty
    /// instead; none where there never was one.
    pub(crate) fn kept_at(&self, target: Ordinal) -> Option<Duration> {
        let handoff = self.0.iter().find(|handoff| handoff.target == target)?;
        Some(handoff.kept_at)
    }

    fn target(&mut self, target: Ordinal) -> &mut Handoff {
        let at = self.0.iter().position(|handoff| handoff.target == target).unwrap_or_else(|| {
            let (stock, scan, pace) = (Stock::Empty, Scan::default(), Pace::new());
            let (kept_at, scans) = (Duration::ZERO, 0);
            self.0.push(Handoff { target, stock, scan, pace, kept_at, scans });
            self.0.len() - 1
        });
        &mut self.0[at]
    }
}

impl Shard {
    /// Whether the store may keep hints for this member.
    #[must_use]
    pub fn hints_waiting(&self, target: Ordinal) -> bool {
        let waits = |handoff: &Handoff| handoff.target == target && handoff.stock == Stock::Perhaps;
        self.handoffs.0.iter().any(waits)
    }

    /// Does what can be done now for every target.
    pub(crate) fn advance_handoffs(&mut self, now: Now, out: &mut Vec<Effect>) {
        for at in 0..self.handoffs.0.len() {
            self.advance_handoff(now, self.handoffs.0[at].target, out);
        }
    }

    /// A target can be reached again: nothing is waited for.
    pub(crate) fn resume_handoff(&mut self, now: Now, target: Ordinal, out: &mut Vec<Effect>) {
        if self.hints_waiting(target) {
            self.handoffs.target(target).pace.resume();
            self.advance_handoff(now, target, out);
        }
    }

    fn advance_handoff(&mut self, now: Now, target: Ordinal, out: &mut Vec<Effect>) {
        if !self.may_hand_over(now, target) {
            return;
        }
        self.handoffs.target(target).pace.resume();
        while let Some(hint) = self.handoffs.target(target).next_hint() {
            self.hand_over(now, target, hint, out);
        }
        let handoff = self.handoffs.target(target);
        let scan = &mut handoff.scan;
        if scan.ready.is_empty() && !scan.complete && scan.read == ReadState::Idle {
            scan.read = ReadState::Reading;
            let (after, limit, bytes) = (scan.after.clone(), MAX_READ, MAX_BYTES);
            return out.push(Effect::ReadHints { target, after, limit, bytes });
        }
        if scan.ready.is_empty() && scan.complete && handoff.pace.outstanding() == 0 {
            handoff.end_scan(now.monotonic);
        }
    }

    /// A member that has left is not waited for: its hints go to others, of which this node may be one.
    fn takes_hints(&self, target: Ordinal) -> bool {
        let member = target == self.ordinal || self.layout.node_id(target).is_some();
        let taker = if member { target } else { self.ordinal };
        self.peers.reach(taker) == Reach::Linked
    }

    fn may_hand_over(&self, now: Now, target: Ordinal) -> bool {
        self.takes_hints(target)
            && self.handoffs.0.iter().any(|handoff| {
                handoff.target == target
                    && handoff.stock == Stock::Perhaps
                    && !handoff.pace.pauses(now.monotonic)
            })
    }

    /// The store has read hints.
    pub(crate) fn hints_read(
        &mut self,
        now: Now,
        target: Ordinal,
        hints: Result<Vec<Hint>, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let handoff = self.handoffs.target(target);
        let expected = core::mem::take(&mut handoff.scan.read);
        match (expected, hints) {
            (ReadState::Reading, Ok(hints)) => {
                handoff.scan.complete = hints.is_empty();
                if let Some(last) = hints.last() {
                    handoff.scan.after = Some((last.hash, last.key.clone()));
                }
                handoff.scan.ready.extend(hints);
            }
            (ReadState::Reading, Err(_)) => handoff.pace.pause(now.monotonic, Pause::Long),
            _ => {}
        }
        self.advance_handoff(now, target, out);
    }

    fn hand_over(&mut self, now: Now, target: Ordinal, hint: Hint, out: &mut Vec<Effect>) {
        let Hint { hash, key, record } = hint;
        let sets = self.sets(hash);
        let answers = if sets.contains(target) || sets.current.is_empty() {
            Answers::of(Sets { current: &[target], next: None })
        } else {
            Answers::of(sets)
        };
        let deadline = now.monotonic + PATIENCE;
        let to = answers.clone();
        let (key_sent, record_sent) = (key.clone(), record.clone());
        if mutants::is(Mutant::HintDroppedBeforeAck) {
            let (key, version) = (key.clone(), record.version);
            out.push(Effect::DropHint { target, hash, key, version });
        }
        let hand_over = HandOver { target, deadline, hash, key, record, answers };
        let id = self.begin(Operation::HandOver(hand_over));
        let (_, mut outgoing) = self.split(now, out);
        for &replica in to.replicas() {
            if outgoing.reach_of(replica, hash) != Reach::Linked {
                continue;
            }
            let (key, record) = (key_sent.clone(), record_sent.clone());
            if replica == outgoing.own() {
                outgoing.store(Waiter::Hint(id), hash, key, record);
            } else {
                let command = Command::Store { key, record, purpose: Purpose::Hint };
                outgoing.ask(replica, id, deadline, command);
            }
        }
    }

    /// A replica has answered a hint: only a durable answer to its very version removes it.
    pub(crate) fn hint_answered(
        &mut self,
        now: Now,
        id: OperationId,
        from: Ordinal,
        stamp: Version,
        answer: &Result<Merged, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::HandOver(hint)) = self.operations.get_mut(id) else { return };
        if stamp != hint.record.version {
            return;
        }
        if let Err(failure) = answer {
            let pause = match failure {
                Failure::Overloaded { .. } => Pause::Short,
                _ => Pause::Long,
            };
            return self.hint_failed(now, id, pause, out);
        }
        hint.answers.add(from, ());
        if !hint.answers.outstanding().is_empty() {
            return;
        }
        let Some(Operation::HandOver(hint)) = self.operations.remove(id) else { return };
        let weight = hint.weight();
        let took = (now.monotonic + PATIENCE).saturating_sub(hint.deadline);
        let HandOver { target, hash, key, record, .. } = hint;
        out.push(Effect::DropHint { target, hash, key, version: record.version });
        let handoff = self.handoffs.target(target);
        handoff.pace.delivered(weight, took);
        handoff.scan.done += 1;
        self.advance_handoff(now, target, out);
    }

    /// The hint lies at or below `closed` here, and the store of this node has told what it holds: what it
    /// lacks it pulls from the members that hold the write.
    pub(crate) fn hint_rechecked(
        &mut self,
        now: Now,
        id: OperationId,
        held: Result<Option<Record>, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::HandOver(hint)) = self.operations.get(id) else { return };
        let stamp = hint.record.version;
        let answer =
            held.and_then(|held| self.hint_below_closed(hint.hash, &hint.record, held.as_ref()));
        self.hint_answered(now, id, self.ordinal, stamp, &answer, out);
    }

    /// The hint was not stored, or nobody knows; a later scan finds it again.
    pub(crate) fn hint_failed(
        &mut self,
        now: Now,
        id: OperationId,
        pause: Pause,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::HandOver(hint)) = self.operations.remove(id) else { return };
        let handoff = self.handoffs.target(hint.target);
        handoff.pace.failed(now.monotonic, hint.weight(), pause);
        handoff.scan.failed += 1;
        self.advance_handoff(now, hint.target, out);
    }

    /// The target is gone, or another layout is in use: whatever is on its way to it is given up, and
    /// the next scan begins anew.
    pub(crate) fn give_up_handoff(&mut self, target: Ordinal) {
        if !self.hints_waiting(target) {
            return;
        }
        let on_its_way = |operation: &Operation| matches!(operation, Operation::HandOver(hint) if hint.target == target);
        for id in self.operations.select(on_its_way) {
            self.operations.remove(id);
        }
        self.handoffs.target(target).give_up();
    }

    /// Another layout is in use.
    pub(crate) fn relayout_handoffs(&mut self, now: Now, out: &mut Vec<Effect>) {
        for at in 0..self.handoffs.0.len() {
            let target = self.handoffs.0[at].target;
            self.give_up_handoff(target);
            self.resume_handoff(now, target, out);
        }
    }

    /// When the first paused target may go on.
    pub(crate) fn handoff_wake(&self) -> Option<Duration> {
        let waits = |handoff: &&Handoff| {
            handoff.stock == Stock::Perhaps && self.takes_hints(handoff.target)
        };
        self.handoffs.0.iter().filter(waits).filter_map(|handoff| handoff.pace.paused_until()).min()
    }
}

impl Handoff {
    /// The next hint that may be sent; it counts as outstanding.
    fn next_hint(&mut self) -> Option<Hint> {
        let next = self.scan.ready.front()?;
        self.pace.send(weight(next))?;
        self.scan.ready.pop_front()
    }

    fn end_scan(&mut self, now: Duration) {
        let Scan { failed, done, .. } = core::mem::take(&mut self.scan);
        if failed > 0 {
            self.scans = 0;
            return self.pace.pause(now, if done > 0 { Pause::Short } else { Pause::Long });
        }
        if self.scans >= RESCANS {
            self.stock = Stock::Empty;
            return;
        }
        self.pace.pause_until(now + FIRST_RESCAN * (1 << self.scans));
        self.scans += 1;
    }

    fn give_up(&mut self) {
        let read = match self.scan.read {
            ReadState::Idle => ReadState::Idle,
            ReadState::Reading | ReadState::Void => ReadState::Void,
        };
        self.scan = Scan { read, ..Scan::default() };
        self.pace.give_up();
    }
}

impl HandOver {
    fn weight(&self) -> usize {
        weight_of(&self.key, &self.record)
    }
}

fn weight(hint: &Hint) -> usize {
    weight_of(&hint.key, &hint.record)
}

/// What a hint takes in memory and on the wire, in bytes.
fn weight_of(key: &Key, record: &Record) -> usize {
    64 + key.encoded().len() + record.body.value_bytes()
}

#[cfg(test)]
#[path = "handoff_tests.rs"]
mod tests;
