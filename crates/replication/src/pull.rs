//! Asking the sources of a partition, and the own store for its sums: the questions of a transfer and of
//! mending, and what becomes of their answers.
//!
//! **Never:** takes an answer from anybody but whom it asked.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Command, Compare, Compared, Digest, Failure, Ordinal, Pull, Pulled};
use paravon_ring::Partition;

use crate::damage::Obstacles;
use crate::event::{Effect, Now};
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::pace::Pause;
use crate::pass::Taken;
use crate::shard::Shard;
use crate::takeover::{Own, Stage};

/// How long an answer of a source is waited for.
pub(crate) const SOURCE_PATIENCE: Duration = Duration::from_secs(10);

/// A question to a source.
#[derive(Debug)]
pub(crate) struct PullAsked {
    pub(crate) partition: Partition,
    pub(crate) source: Ordinal,
    since: Duration,
}

impl PullAsked {
    pub(crate) fn deadline(&self) -> Duration {
        self.since + SOURCE_PATIENCE
    }
}

/// The sums of a partition of the own store on their way.
#[derive(Debug)]
pub(crate) struct OwnDigest {
    pub(crate) partition: Partition,
}

/// What a source is asked for.
pub(crate) enum Wanted {
    Digest,
    Page(Pull),
}

/// What it told.
pub(crate) enum Told {
    Sums(Compared),
    Page(Pulled),
}

impl Shard {
    /// Asks a source for a page or the sums of the partition; none where its window is full.
    pub(crate) fn pull(
        &mut self,
        now: Now,
        partition: Partition,
        source: Ordinal,
        wanted: Wanted,
        out: &mut Vec<Effect>,
    ) -> Option<()> {
        self.transfer.source(source).send(0)?;
        let asked = PullAsked { partition, source, since: now.monotonic };
        let deadline = asked.deadline();
        let id = self.begin(Operation::Pull(asked));
        let (_, mut outgoing) = self.split(now, out);
        let partition = partition.0;
        let command = match wanted {
            Wanted::Digest => Command::Compare(Compare::Digest { partition }),
            Wanted::Page(pull) => Command::Pull { partition, pull },
        };
        outgoing.ask(source, id, deadline, command);
        Some(())
    }

    /// Asks the own store for the sums of a partition.
    pub(crate) fn ask_own_digest(&mut self, partition: Partition, out: &mut Vec<Effect>) {
        let operation = self.begin(Operation::OwnDigest(OwnDigest { partition }));
        out.push(Effect::Digest { operation, partition });
    }

    /// The own store has told them; none where it has not summed up the partition.
    pub(crate) fn own_digest(
        &mut self,
        now: Now,
        id: OperationId,
        digest: Option<Box<Digest>>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::OwnDigest(OwnDigest { partition })) = self.operations.remove(id) else {
            return;
        };
        let digest = digest.filter(|_| self.floors.is_comparable(partition));
        if let Some(takeover) = self.transfer.takeover(partition) {
            (takeover.own, takeover.stage) = (Own::Told(digest), Stage::Idle);
        }
        self.advance_transfer(now, out);
    }

    /// A source has told its sums.
    pub(crate) fn source_compared(
        &mut self,
        now: Now,
        id: OperationId,
        from: Ordinal,
        answer: Result<Compared, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let answer = answer.map(Told::Sums);
        self.source_answered(now, id, from, answer, out);
    }

    /// A source has answered a pull.
    pub(crate) fn pull_answered(
        &mut self,
        now: Now,
        id: OperationId,
        from: Ordinal,
        answer: Result<Pulled, Failure>,
        out: &mut Vec<Effect>,
    ) {
        self.source_answered(now, id, from, answer.map(Told::Page), out);
    }

    fn source_answered(
        &mut self,
        now: Now,
        id: OperationId,
        from: Ordinal,
        answer: Result<Told, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Pull(pull)) = self.operations.get(id) else { return };
        let (partition, source) = (pull.partition, pull.source);
        if source != from {
            return;
        }
        let took = now.monotonic.saturating_sub(pull.since);
        let told = match answer {
            Ok(told) => told,
            Err(Failure::Overloaded { .. }) => {
                self.operations.remove(id);
                self.transfer.source(source).failed(now.monotonic, 0, Pause::Short);
                self.ask_again(partition);
                return self.advance_transfer(now, out);
            }
            Err(Failure::Damaged { .. }) => return self.source_damaged(now, id, took, out),
            Err(_) => return self.transfer_failed(now, id, Pause::Long, out),
        };
        let layout = self.layout.clone();
        let Self { entropy, restoring, .. } = self;
        let pass = restoring.pass(partition).or_else(|| entropy.mending.pass(partition));
        let taken = match (pass, told) {
            (Some(pass), Told::Page(pulled)) => Some(pass.take(pulled, &layout)),
            (Some(_), Told::Sums(_)) => Some(Taken::Nonsense),
            (None, told) => {
                let takeover = self.transfer.takeover(partition);
                takeover.map(|takeover| takeover.take(told, &layout))
            }
        };
        if taken == Some(Taken::Nonsense) {
            return self.transfer_failed(now, id, Pause::Long, out);
        }
        self.operations.remove(id);
        self.transfer.source(source).delivered(0, took);
        if taken == Some(Taken::Equal) {
            self.source_merged(partition, source);
        }
        self.advance_transfer(now, out);
    }

    /// A source has lost what it held of the partition: another one is turned to.
    fn source_damaged(&mut self, now: Now, id: OperationId, took: Duration, out: &mut Vec<Effect>) {
        let Some(Operation::Pull(pull)) = self.operations.remove(id) else { return };
        let PullAsked { partition, source, .. } = pull;
        self.transfer.source(source).delivered(0, took);
        self.transfer.leave_alone(now.monotonic, partition, source);
        self.restoring.source_has_lost(partition);
        self.entropy.mending.source_is_damaged(partition);
        self.give_up_pass(now, partition);
        self.advance_transfer(now, out);
    }

    /// A source refused, or told nothing to be believed: the partition is tried again later, perhaps
    /// with another one.
    pub(crate) fn transfer_failed(
        &mut self,
        now: Now,
        id: OperationId,
        pause: Pause,
        out: &mut Vec<Effect>,
    ) {
        let (partition, source) = match self.operations.get(id) {
            Some(Operation::Pull(pull)) => (pull.partition, Some(pull.source)),
            Some(Operation::Fetch(fetch)) => {
                let partition = fetch.partition;
                (partition, self.pass(partition).map(|pass| pass.source))
            }
            Some(Operation::Heal(heal)) => match heal.pass() {
                Some((partition, _)) => (partition, None),
                None => return,
            },
            _ => return,
        };
        if let Some(source) = source {
            self.transfer.pause(now.monotonic, source, pause);
        }
        self.give_up_pass(now, partition);
        self.advance_transfer(now, out);
    }

    /// The own store refuses: nothing is taken over for a while.
    pub(crate) fn store_failed(&mut self, now: Now, partition: Partition, out: &mut Vec<Effect>) {
        self.transfer.pace.pause(now.monotonic, Pause::Long);
        if self.restoring.contains(partition) {
            // No source is to be left out for it.
            self.end_operations_of(partition);
            self.rest_restore(now, partition, Obstacles::default());
        } else {
            self.give_up_pass(now, partition);
        }
        self.advance_transfer(now, out);
    }

    /// What the source was asked for is to be asked for again.
    fn ask_again(&mut self, partition: Partition) {
        if let Some(pass) = self.pass(partition) {
            pass.unask();
        } else if let Some(takeover) = self.transfer.takeover(partition) {
            takeover.stage = Stage::Idle;
        }
    }
}
