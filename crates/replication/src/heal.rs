//! Bringing back a key whose record cannot be read, here or at the source of a partition that is taken
//! over.
//!
//! A replica counts for nothing where such a key is concerned (`NO_SILENT_ROT`). What it had a part in
//! acknowledging lies with others of its set: so many of them are asked that every majority meets one,
//! and the newest of what they hold is stored here. They answer under the fence of the change, and so
//! only once all that they admitted before is durable: nothing acknowledged under an earlier fence is
//! missed. **Never:** lets one source say what a damaged key held, or goes on before the store of this
//! node has confirmed it.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Command, Failure, Key, Merged, Ordinal, Record, Version};
use paravon_ring::{KeyHash, Partition};

use crate::event::{Effect, Now};
use crate::operations::OperationId;
use crate::peers::Reach;
use crate::pull::PATIENCE;
use crate::pulled::scan;
use crate::shard::{Operation, Shard};
use crate::sources::{Sources, Witnesses};
use crate::stores::Waiter;
use crate::takeover::payload;

/// A damaged key on its way back.
#[derive(Debug)]
pub(crate) struct Heal {
    pub(crate) partition: Partition,
    pub(crate) hash: KeyHash,
    pub(crate) key: Key,
    pub(crate) waits: Waits,
    stage: Stage,
}

/// What goes on when the key is back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waits {
    /// The sum of the own store, which came to it.
    Sum(OperationId),
    /// The pass that came to it; the pace counts so much for it.
    Pass { weight: usize },
}

#[derive(Debug)]
enum Stage {
    Asking {
        testimony: Testimony,
        deadline: Duration,
    },
    /// The store of this node has it.
    Storing {
        version: Version,
        bytes: usize,
    },
}

/// A key that cannot be read.
pub(crate) struct Damage {
    pub(crate) partition: Partition,
    /// Which member cannot read it.
    pub(crate) at: Ordinal,
    pub(crate) hash: KeyHash,
    pub(crate) key: Key,
    pub(crate) waits: Waits,
}

/// What the others of a set say of a key.
#[derive(Debug)]
struct Testimony {
    enough: Witnesses,
    /// Whose answer is to come.
    outstanding: Vec<Ordinal>,
    told: usize,
    /// Who neither told nor said that it cannot read the key either.
    silent: usize,
    newest: Option<Record>,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Pending,
    /// What is to be stored, if anything.
    Known(Option<Record>),
    /// Too few can tell.
    Unknown,
}

impl Heal {
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.stage {
            Stage::Asking { deadline, .. } => Some(deadline),
            Stage::Storing { .. } => None,
        }
    }

    /// Whether an answer of this member is to come.
    pub(crate) fn asks(&self, member: Ordinal) -> bool {
        match &self.stage {
            Stage::Asking { testimony, .. } => testimony.outstanding.contains(&member),
            Stage::Storing { .. } => false,
        }
    }
}

impl Testimony {
    fn hear(&mut self, from: Ordinal, answer: Result<Option<Record>, Failure>) {
        let Some(at) = self.outstanding.iter().position(|asked| *asked == from) else { return };
        self.outstanding.swap_remove(at);
        match answer {
            Ok(record) => {
                self.told += 1;
                let known = [self.newest.take(), record].into_iter().flatten();
                self.newest = known.max_by(Record::precedence);
            }
            Err(Failure::Damaged { .. }) => {}
            Err(_) => self.silent += 1,
        }
    }

    fn verdict(&mut self) -> Verdict {
        let all_heard = self.outstanding.is_empty();
        let enough = match self.enough {
            Witnesses::AtLeast(count) => self.told >= count,
            Witnesses::AllThatAreLeft => all_heard && self.silent == 0,
        };
        match (enough, all_heard) {
            (true, _) => Verdict::Known(self.newest.take()),
            (false, true) => Verdict::Unknown,
            (false, false) => Verdict::Pending,
        }
    }
}

impl Shard {
    /// Asks the others what the key held. Whoever calls this sees to what can be done next.
    pub(crate) fn heal(&mut self, now: Now, damage: Damage, out: &mut Vec<Effect>) {
        let Damage { partition, at, hash, key, waits } = damage;
        let Some(sources) = Sources::of(&self.layout, self.ordinal, partition) else { return };
        let linked = |member: &Ordinal| self.peers.reach(*member) == Reach::Linked;
        let (outstanding, cut): (Vec<_>, Vec<_>) = sources.witnesses(at).partition(linked);
        let deadline = now.monotonic + PATIENCE;
        let testimony = Testimony {
            enough: sources.enough_witnesses(),
            outstanding: outstanding.clone(),
            told: 0,
            silent: cut.len(),
            newest: None,
        };
        let stage = Stage::Asking { testimony, deadline };
        let wanted = key.clone();
        let id = self.begin(Operation::Heal(Heal { partition, hash, key, waits, stage }));
        let (_, mut outgoing) = self.split(now, out);
        for witness in outstanding {
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
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Heal(heal)) = self.operations.get_mut(id) else { return };
        let Stage::Asking { testimony, .. } = &mut heal.stage else { return };
        testimony.hear(from, answer);
        self.judge_heal(now, id, out);
        self.advance_transfer(now, out);
    }

    fn judge_heal(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Heal(heal)) = self.operations.get_mut(id) else { return };
        let Stage::Asking { testimony, .. } = &mut heal.stage else { return };
        match testimony.verdict() {
            Verdict::Pending => {}
            Verdict::Unknown => {
                let partition = heal.partition;
                self.give_up_takeover(now, partition);
            }
            Verdict::Known(None) => self.healed(id, None, out),
            Verdict::Known(Some(record)) => {
                let (hash, key, version) = (heal.hash, heal.key.clone(), record.version);
                let bytes = payload(&key, &record);
                heal.stage = Stage::Storing { version, bytes };
                let (_, mut outgoing) = self.split(now, out);
                outgoing.store(Waiter::Healed(id), hash, key, record);
            }
        }
    }

    /// The store of this node has answered. What it stored over a damaged record is durable, although it
    /// is no acknowledgement.
    pub(crate) fn heal_stored(
        &mut self,
        now: Now,
        id: OperationId,
        answer: &Result<Merged, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Heal(heal)) = self.operations.get(id) else { return };
        let partition = heal.partition;
        let Stage::Storing { version, bytes } = heal.stage else { return };
        if !matches!(answer, Ok(_) | Err(Failure::Damaged { .. })) {
            return self.store_failed(now, partition, out);
        }
        self.transfer.brought(partition, bytes);
        self.healed(id, Some(version), out);
        self.advance_transfer(now, out);
    }

    /// Everything is done about the key that can be, and this version is here; none where nobody has it.
    fn healed(&mut self, id: OperationId, stored: Option<Version>, out: &mut Vec<Effect>) {
        let Some(Operation::Heal(heal)) = self.operations.remove(id) else { return };
        match heal.waits {
            Waits::Pass { weight } => {
                self.transfer.pace.ended(weight);
                if let Some(pass) = self.transfer.pass(heal.partition) {
                    pass.under_way -= 1;
                }
            }
            Waits::Sum(sum) => {
                let Some(Operation::OwnSum(own)) = self.operations.get_mut(sum) else { return };
                own.passed(&heal.key, stored);
                scan(sum, heal.partition, Some((heal.hash, heal.key)), out);
            }
        }
    }
}

#[cfg(test)]
#[path = "heal_tests.rs"]
mod tests;
