//! Asking the sources of a partition, and summing up what the own store holds of it: the questions of a
//! transfer, and what becomes of their answers.
//!
//! **Never:** takes an answer from anybody but whom it asked.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Command, Failure, Key, Ordinal, Pull, Pulled, Version};
use paravon_ring::Partition;

use crate::event::{Effect, Entry, Now, ScanFailure};
use crate::heal::{Damage, Waits};
use crate::operations::OperationId;
use crate::pace::Pause;
use crate::pulled::scan;
use crate::shard::{Operation, Shard};
use crate::sums::Summing;
use crate::takeover::{Stage, Taken, Takeover};
use crate::transfer::Transfer;

/// How long an answer of a source is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A question to a source.
#[derive(Debug)]
pub(crate) struct PullAsked {
    pub(crate) partition: Partition,
    pub(crate) source: Ordinal,
    since: Duration,
}

impl PullAsked {
    pub(crate) fn deadline(&self) -> Duration {
        self.since + PATIENCE
    }
}

/// The sum of a partition of the own store on its way.
#[derive(Debug)]
pub(crate) struct OwnSum {
    pub(crate) partition: Partition,
    summing: Summing,
}

impl Shard {
    /// Asks a source; none where its window is full.
    pub(crate) fn pull(
        &mut self,
        now: Now,
        partition: Partition,
        source: Ordinal,
        pull: Pull,
        out: &mut Vec<Effect>,
    ) -> Option<()> {
        self.transfer.source(source).send(0)?;
        let asked = PullAsked { partition, source, since: now.monotonic };
        let deadline = asked.deadline();
        let id = self.begin(Operation::Pull(asked));
        let (_, mut outgoing) = self.split(now, out);
        outgoing.ask(source, id, deadline, Command::Pull { partition: partition.0, pull });
        Some(())
    }

    /// Sums up what the own store holds of a partition; what cannot be read is brought back first.
    pub(crate) fn sum_up(&mut self, partition: Partition, out: &mut Vec<Effect>) {
        let summing = Summing::new(self.layout.document().hash_seed);
        let operation = self.begin(Operation::OwnSum(OwnSum { partition, summing }));
        scan(operation, partition, None, out);
    }

    /// The own store has read a page to sum up.
    pub(crate) fn own_summed(
        &mut self,
        now: Now,
        id: OperationId,
        page: Result<Vec<Entry>, ScanFailure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::OwnSum(own)) = self.operations.get_mut(id) else { return };
        let partition = own.partition;
        let page = match page {
            Ok(page) => page,
            Err(ScanFailure { at: Some((hash, key)), .. }) => {
                let (at, waits) = (self.ordinal, Waits::Sum(id));
                self.heal(now, Damage { partition, at, hash, key, waits }, out);
                return self.advance_transfer(now, out);
            }
            Err(_) => return self.store_failed(now, partition, out),
        };
        if let Some(after) = own.summing.add_page(&page) {
            return scan(id, partition, Some(after), out);
        }
        let sum = own.summing.sum();
        self.operations.remove(id);
        if let Some(takeover) = self.transfer.takeover(partition) {
            (takeover.own, takeover.stage) = (Some(sum), Stage::Idle);
        }
        self.advance_transfer(now, out);
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
        let Some(Operation::Pull(pull)) = self.operations.get(id) else { return };
        let (partition, source) = (pull.partition, pull.source);
        if source != from {
            return;
        }
        let took = now.monotonic.saturating_sub(pull.since);
        let pulled = match answer {
            Ok(pulled) => pulled,
            Err(Failure::Overloaded { .. }) => {
                self.operations.remove(id);
                self.transfer.source(source).failed(now.monotonic, 0, Pause::Short);
                self.transfer.ask_again(partition);
                return self.advance_transfer(now, out);
            }
            // Page by page it can say what it cannot read.
            Err(Failure::Damaged { .. }) if self.transfer.lists_instead(partition) => {
                self.operations.remove(id);
                self.transfer.source(source).ended(0);
                return self.advance_transfer(now, out);
            }
            Err(_) => return self.transfer_failed(now, id, Pause::Long, out),
        };
        let layout = self.layout.clone();
        let taken = self.transfer.takeover(partition).map(|t| t.take(pulled, &layout));
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

    /// The source did not answer in time. A sum may take too long, a page should not.
    pub(crate) fn transfer_late(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        if let Some(Operation::Pull(pull)) = self.operations.get(id) {
            let (partition, source) = (pull.partition, pull.source);
            if self.transfer.lists_instead(partition) {
                self.operations.remove(id);
                self.transfer.source(source).failed(now.monotonic, 0, Pause::Long);
                return self.advance_transfer(now, out);
            }
        }
        self.transfer_failed(now, id, Pause::Long, out);
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
                (partition, self.transfer.pass(partition).map(|pass| pass.source))
            }
            Some(Operation::Heal(heal)) => (heal.partition, None),
            _ => return,
        };
        if let Some(source) = source {
            self.transfer.pause(now.monotonic, source, pause);
        }
        self.give_up_takeover(now, partition);
        self.advance_transfer(now, out);
    }

    /// The own store refuses: nothing is taken over for a while.
    pub(crate) fn store_failed(&mut self, now: Now, partition: Partition, out: &mut Vec<Effect>) {
        self.transfer.pace.pause(now.monotonic, Pause::Long);
        self.give_up_takeover(now, partition);
        self.advance_transfer(now, out);
    }
}

impl OwnSum {
    /// The store cannot read the next record; brought back, it has this version.
    pub(crate) fn passed(&mut self, key: &Key, version: Option<Version>) {
        version.into_iter().for_each(|version| self.summing.add(key, version));
    }
}

impl Transfer {
    /// No sum comes of the source: the partition is gone through page by page, if it was waiting for one.
    fn lists_instead(&mut self, partition: Partition) -> bool {
        self.takeover(partition).is_some_and(Takeover::list_instead)
    }

    /// What the source was asked for is to be asked for again.
    fn ask_again(&mut self, partition: Partition) {
        let Some(takeover) = self.takeover(partition) else { return };
        match &mut takeover.stage {
            Stage::Passing(pass) => pass.unask(),
            stage => *stage = Stage::Idle,
        }
    }
}
