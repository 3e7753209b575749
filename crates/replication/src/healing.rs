//! Bringing back a key whose record cannot be read: here, or at the source of a partition that is taken
//! over (semantics, sections 7 and 9).
//!
//! A replica counts for nothing where such a key is concerned (`NO_SILENT_ROT`). What it had a part in
//! acknowledging lies with others of its sets. A mark of this node goes when every other one has told what
//! it holds, no sooner than what this node acknowledged before the mark counts no more for anything under
//! way. In a transfer so many are asked that every majority meets one: they answer under the fence of
//! the change, and so only once all that they admitted before is durable. **Never:** lets one source say
//! what a damaged key held, or goes on before the store of this node has confirmed it.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Command, Failure, Hlc, Key, Ordinal, Record};
use paravon_ring::{KeyHash, Partition};

use crate::damage::{Obstacles, Required, Subject};
use crate::damaged::is_given_up;
use crate::event::{Effect, Now};
use crate::marks::droppable_at;
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::pace::Pause;
use crate::pass::payload;
use crate::peers::Reach;
use crate::pull::SOURCE_PATIENCE;
use crate::shard::Shard;
use crate::sources::Sources;
use crate::stores::{Ended, Settled, Waiter};
use crate::testimony::{Testimony, Verdict, Witnesses};

/// A damaged key on its way back.
#[derive(Debug)]
pub(crate) struct Heal {
    pub(crate) hash: KeyHash,
    key: Key,
    whose: Whose,
    stage: Stage,
}

/// Who cannot read it.
#[derive(Clone, Copy, Debug)]
enum Whose {
    /// This node, which has marked it.
    Own,
    /// The source of the pass through this partition.
    Source {
        partition: Partition,
        /// What the pace counts for it.
        weight: usize,
    },
}

#[derive(Debug)]
enum Stage {
    Asking {
        testimony: Testimony,
        deadline: Duration,
    },
    /// The store of this node has it.
    Storing {
        bytes: usize,
    },
    /// The marks that the partition has with it become durable first.
    Marking {
        record: Option<Record>,
    },
    /// The store of this node has it, and lets go of its mark.
    Healing {
        /// The least floor that lets go of it, if any does.
        droppable: Option<Hlc>,
    },
}

/// A key that a source cannot read.
pub(crate) struct Unread {
    pub(crate) partition: Partition,
    /// The source.
    pub(crate) at: Ordinal,
    pub(crate) hash: KeyHash,
    pub(crate) key: Key,
    /// What the pace counts for it.
    pub(crate) weight: usize,
}

impl Heal {
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.stage {
            Stage::Asking { deadline, .. } => Some(deadline),
            Stage::Storing { .. } | Stage::Marking { .. } | Stage::Healing { .. } => None,
        }
    }

    /// The pass that it is a part of, and what the pace counts for it.
    pub(crate) fn pass(&self) -> Option<(Partition, usize)> {
        match self.whose {
            Whose::Own => None,
            Whose::Source { partition, weight } => Some((partition, weight)),
        }
    }

    /// Whether an answer of this member is to come.
    pub(crate) fn asks(&self, member: Ordinal) -> bool {
        match &self.stage {
            Stage::Asking { testimony, .. } => testimony.asks(member),
            Stage::Storing { .. } | Stage::Marking { .. } | Stage::Healing { .. } => false,
        }
    }

    fn testimony(&mut self) -> Option<&mut Testimony> {
        match &mut self.stage {
            Stage::Asking { testimony, .. } => Some(testimony),
            Stage::Storing { .. } | Stage::Marking { .. } | Stage::Healing { .. } => None,
        }
    }
}

impl Shard {
    /// Asks the others what a key held that this node has marked. Where it is of no set, or holds nothing
    /// that counts, there is nothing to ask for.
    pub(crate) fn heal_own(
        &mut self,
        now: Now,
        hash: KeyHash,
        key: Key,
        required: Required,
        out: &mut Vec<Effect>,
    ) {
        let (sets, own) = (self.sets(hash), self.ordinal);
        let counts = sets.contains(own) && required != Required::Nobody;
        let away = |member| self.peers.reach(member) != Reach::Linked;
        let waits = |member| !away(member) || !is_given_up(&self.layout, required, member);
        let others = sets.all().filter(|&member| counts && member != own && waits(member));
        let others = others.collect();
        let enough = match required {
            Required::All if counts => Witnesses::All,
            _ => Witnesses::WhoeverTells,
        };
        self.ask_witnesses(now, (hash, key), Whose::Own, enough, others, out);
    }

    /// Asks the others what a key holds that a source cannot read. Whoever calls this sees to what can be
    /// done next.
    pub(crate) fn heal(&mut self, now: Now, unread: Unread, out: &mut Vec<Effect>) {
        let Unread { partition, at, hash, key, weight } = unread;
        let Some(sources) = Sources::of(&self.layout, self.ordinal, partition) else { return };
        let (enough, witnesses) = (sources.enough_witnesses(), sources.witnesses(at).collect());
        let whose = Whose::Source { partition, weight };
        self.ask_witnesses(now, (hash, key), whose, enough, witnesses, out);
    }

    fn ask_witnesses(
        &mut self,
        now: Now,
        (hash, key): (KeyHash, Key),
        whose: Whose,
        enough: Witnesses,
        witnesses: Vec<Ordinal>,
        out: &mut Vec<Effect>,
    ) {
        let linked = |member: &Ordinal| self.peers.reach(*member) == Reach::Linked;
        let (asked, silent): (Vec<_>, Vec<_>) = witnesses.into_iter().partition(linked);
        let (deadline, wanted) = (now.monotonic + SOURCE_PATIENCE, key.clone());
        let testimony = Testimony::new(enough, asked.clone(), silent);
        let stage = Stage::Asking { testimony, deadline };
        let id = self.begin(Operation::Heal(Heal { hash, key, whose, stage }));
        let (_, mut outgoing) = self.split(now, out);
        for witness in asked {
            let key = wanted.clone();
            if witness == outgoing.own() {
                outgoing.out.push(Effect::Read { operation: id, hash, key });
            } else {
                outgoing.ask(witness, id, deadline, Command::Read { key });
            }
        }
        self.judge_heal(now, id, out);
    }

    /// A member has told what it holds of the key.
    pub(crate) fn heal_told(
        &mut self,
        now: Now,
        id: OperationId,
        from: Ordinal,
        answer: Result<Option<Record>, Failure>,
        floor: Hlc,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Heal(heal)) = self.operations.get_mut(id) else { return };
        let Some(testimony) = heal.testimony() else { return };
        testimony.hear(from, answer, floor);
        self.judge_heal(now, id, out);
        self.advance_transfer(now, out);
    }

    /// No answer of this member will come, at least not in time.
    pub(crate) fn heal_unasked(
        &mut self,
        now: Now,
        id: OperationId,
        from: Ordinal,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Heal(heal)) = self.operations.get_mut(id) else { return };
        if heal.pass().is_some() {
            return self.transfer_failed(now, id, Pause::Short, out);
        }
        let Some(testimony) = heal.testimony() else { return };
        testimony.unask(from);
        self.judge_heal(now, id, out);
    }

    /// The deadline has passed.
    pub(crate) fn expire_heal(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Heal(heal)) = self.operations.get_mut(id) else { return };
        if heal.pass().is_some() {
            return self.transfer_failed(now, id, Pause::Long, out);
        }
        let Some(testimony) = heal.testimony() else { return };
        testimony.end();
        self.judge_heal(now, id, out);
    }

    /// This member cannot be asked any more.
    pub(crate) fn healing_unlinked(&mut self, now: Now, peer: Ordinal, out: &mut Vec<Effect>) {
        let asks = |operation: &Operation| matches!(operation, Operation::Heal(heal) if heal.pass().is_none() && heal.asks(peer));
        for id in self.operations.select(asks) {
            self.heal_unasked(now, id, peer, out);
        }
    }

    fn judge_heal(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Heal(heal)) = self.operations.get_mut(id) else { return };
        let Some(testimony) = heal.testimony() else { return };
        let (verdict, absence) = (testimony.verdict(), testimony.absence());
        let (told, floor) = (testimony.told(), testimony.floor());
        match (verdict, heal.whose) {
            (Verdict::Pending, _) => {}
            (Verdict::Unknown(obstacles), Whose::Own) => {
                self.rest_heal(now, id, obstacles);
            }
            (Verdict::Unknown(_), Whose::Source { partition, .. }) => {
                self.rest_pass(now, partition);
            }
            // Judged by the floors of those who lack it, not by this node's own: what it is full at it may
            // have lost, and equal floors must mean equal content (`FLOOR_SAFE`). What it has stored over
            // the key since is not judged: no mark of a damaged replica moves, so that nothing at or
            // below another's floor gets in (the model's OwnRecordNotJudged has marks that do).
            (Verdict::Known(record), Whose::Own) => {
                let absence = if record.is_none() { absence } else { Hlc::ZERO };
                heal.stage = Stage::Marking { record };
                let partition = heal.hash.partition(self.layout.shift());
                let sets = self.layout.sets(partition);
                let others = sets.all().filter(|member| *member != self.ordinal);
                let marks = self.floors.entry(partition);
                if told < others.count() {
                    marks.fall(floor);
                }
                marks.take_absence(absence);
                if let Some(marks) = marks.unset(now.monotonic) {
                    self.set_marks(partition, marks, out);
                }
                self.heal_marked(partition, out);
            }
            (Verdict::Known(None), Whose::Source { .. }) => self.healed(id),
            (Verdict::Known(Some(record)), Whose::Source { .. }) => {
                let (hash, key) = (heal.hash, heal.key.clone());
                heal.stage = Stage::Storing { bytes: payload(&key, &record) };
                let (_, mut outgoing) = self.split(now, out);
                outgoing.store(Waiter::Healed(id), hash, key, record);
            }
        }
    }

    /// The disk may hold by now the marks that keys of the partition were to be healed with: else a crash
    /// could leave a key whole below a mark that promises more than it holds.
    pub(crate) fn heal_marked(&mut self, partition: Partition, out: &mut Vec<Effect>) {
        let shift = self.layout.shift();
        let waits = self.floors.get(partition).is_some_and(|marks| !marks.is_durable());
        if waits || !self.damage.touches(partition, shift) {
            return;
        }
        let waits = |operation: &Operation| {
            matches!(operation, Operation::Heal(Heal { hash, stage: Stage::Marking { .. }, .. })
                if hash.partition(shift) == partition)
        };
        for id in self.operations.select(waits) {
            let Some(Operation::Heal(heal)) = self.operations.get_mut(id) else { continue };
            let Stage::Marking { record } = &mut heal.stage else { continue };
            let record = record.take();
            let droppable = record.as_ref().and_then(droppable_at);
            heal.stage = Stage::Healing { droppable };
            let (hash, key) = (heal.hash, heal.key.clone());
            let operation = self.stores.begin(Waiter::Healed(id), hash);
            out.push(Effect::Heal { operation, hash, key, record });
        }
    }

    /// The store of this node has answered an [`Effect::Heal`].
    pub(crate) fn heal_confirmed(
        &mut self,
        now: Now,
        store: OperationId,
        answer: Result<(), Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Ended { waiter, settled, .. }) = self.stores.end(store) else { return };
        if let Waiter::Healed(id) = waiter {
            self.heal_ended(now, id, answer, out);
        }
        if settled == Settled::Now {
            self.settle(now, out);
        }
    }

    /// The store of this node has answered. What it stored over a record that this node has marked is
    /// durable, although it is no acknowledgement.
    pub(crate) fn heal_ended(
        &mut self,
        now: Now,
        id: OperationId,
        answer: Result<(), Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Heal(heal)) = self.operations.get(id) else { return };
        match (heal.whose, answer) {
            (Whose::Own, Ok(())) => self.own_healed(now, id, out),
            (Whose::Own, Err(_)) => self.rest_heal(now, id, Obstacles::default()),
            (Whose::Source { partition, .. }, Ok(()) | Err(Failure::Damaged { .. })) => {
                let Stage::Storing { bytes } = heal.stage else { return };
                self.brought(partition, bytes);
                self.healed(id);
                self.advance_transfer(now, out);
            }
            (Whose::Source { partition, .. }, Err(_)) => self.store_failed(now, partition, out),
        }
    }

    /// A key of this node is whole again.
    fn own_healed(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Heal(heal)) = self.operations.remove(id) else { return };
        let Stage::Healing { droppable } = heal.stage else { return };
        let partition = heal.hash.partition(self.layout.shift());
        self.damage.healed(&Subject::Key(heal.hash, heal.key));
        self.floors.healed(partition, droppable);
        self.damage_changed(now, partition, out);
    }

    /// It is tried again later.
    fn rest_heal(&mut self, now: Now, id: OperationId, obstacles: Obstacles) {
        let Some(Operation::Heal(heal)) = self.operations.remove(id) else { return };
        self.damage.rest(now.monotonic, &Subject::Key(heal.hash, heal.key), obstacles);
    }

    /// What is on its way for a key of this node is void.
    pub(crate) fn void_heal(&mut self, hash: KeyHash, key: &Key) {
        let of_key = |operation: &Operation| {
            matches!(operation, Operation::Heal(heal)
                if heal.pass().is_none() && heal.hash == hash && heal.key == *key)
        };
        for id in self.operations.select(of_key) {
            self.operations.remove(id);
        }
    }

    /// The pass goes on without the source for this key.
    fn healed(&mut self, id: OperationId) {
        let Some(Operation::Heal(heal)) = self.operations.remove(id) else { return };
        if let Some((partition, weight)) = heal.pass() {
            self.leave_out(partition, weight);
        }
    }
}

#[cfg(test)]
#[path = "healing_tests.rs"]
mod tests;
