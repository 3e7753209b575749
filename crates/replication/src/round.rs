//! A round of comparisons with one peer: class by class, own totals, the peer's folds, and the sums of
//! the partitions in which both differ.
//!
//! **Never:** takes an answer from anybody but whom it asked, or asks for more at once than a window.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Class, Command, Compare, Compared, Digest, Failure, Ordinal};
use paravon_ring::Partition;

use crate::comparison::Comparison;
use crate::counterparts::of_class;
use crate::entropy::ROUND;
use crate::event::{Effect, Now};
use crate::folds::Folds;
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::pull::SOURCE_PATIENCE;
use crate::shard::Shard;
use crate::sixteenths::Sixteenths;

/// Questions under way at once.
const WINDOW: usize = 4;

/// A round that has taken so long is given up: a peer that is slow holds the others up no longer.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// The round that is under way.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) peer: Ordinal,
    since: Duration,
    /// Not begun.
    classes: VecDeque<Class>,
    stage: Stage,
    /// Questions that wait for an answer, the own store's included.
    under_way: usize,
}

#[derive(Debug)]
enum Stage {
    /// Own totals of these partitions, all of one class, are to come.
    Totals(Class, Arc<[Partition]>),
    /// The peer's sums are compared with own totals that were asked for at `began`; where something is
    /// dirty for it, the store had been asked to mark so much, see [`Effect::Clean`].
    Folds { began: Duration, moment: Option<u64>, comparison: Comparison },
    /// The sums of these partitions are still to be looked at.
    Looks(VecDeque<Partition>),
}

/// A question of a round.
#[derive(Debug)]
pub(crate) struct Exchange {
    since: Duration,
    question: Question,
}

#[derive(Debug)]
enum Question {
    OwnTotals,
    Folds(Folds),
    OwnDigest(Partition),
    /// The own sums were asked for at `began`.
    Digest {
        partition: Partition,
        began: Duration,
        own: Box<Digest>,
    },
}

impl Exchange {
    /// The store of this node always answers.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        (!self.is_at_home()).then_some(self.since + SOURCE_PATIENCE)
    }

    pub(crate) fn is_at_home(&self) -> bool {
        matches!(self.question, Question::OwnTotals | Question::OwnDigest(_))
    }
}

impl Shard {
    /// The peer's turn has come.
    pub(crate) fn begin_round(&mut self, now: Now, peer: Ordinal, out: &mut Vec<Effect>) {
        let Some(counterpart) = self.entropy.counterparts.get_mut(peer) else { return };
        counterpart.plan(now.monotonic + ROUND);
        let (classes, stage) = (counterpart.classes(self.portion), Stage::Looks(VecDeque::new()));
        let since = now.monotonic;
        self.entropy.round = Some(Round { peer, since, classes, stage, under_way: 0 });
        self.advance_round(now, out);
    }

    /// Asks what the window has room for, and goes on to the next class where nothing is left.
    fn advance_round(&mut self, now: Now, out: &mut Vec<Effect>) {
        let since = self.entropy.round.as_ref().map(|round| round.since);
        if since.is_some_and(|since| now.monotonic >= since + LONGEST) {
            return self.break_off_round(now);
        }
        while let Some(round) = &mut self.entropy.round
            && round.under_way < WINDOW
        {
            let peer = round.peer;
            let question = match &mut round.stage {
                Stage::Totals(..) => return,
                Stage::Folds { comparison, .. } => comparison.next().map(Question::Folds),
                Stage::Looks(ready) => ready.pop_front().map(Question::OwnDigest),
            };
            match question {
                Some(Question::Folds(folds)) => {
                    self.ask_peer(now, peer, folds.compare(), Question::Folds(folds), out);
                }
                Some(Question::OwnDigest(partition)) => {
                    let operation = self.begin_exchange(now, Question::OwnDigest(partition));
                    out.push(Effect::Digest { operation, partition });
                }
                _ if round.under_way > 0 => return,
                _ => self.end_stage(now, out),
            }
        }
    }

    /// The peer is too slow, or answers no more. What was found to differ until now is remembered, so that the
    /// next round gets further.
    pub(crate) fn break_off_round(&mut self, now: Now) {
        let Self { entropy, .. } = self;
        if let Some(Round { peer, stage: Stage::Folds { began, comparison, .. }, .. }) =
            &mut entropy.round
            && let Some(peer) = entropy.counterparts.get_mut(*peer)
        {
            for (partition, by) in comparison.take_differing() {
                peer.suspects.see(partition, by, *began, now.monotonic);
            }
        }
        self.give_up_round();
    }

    /// Nothing is left to ask and nothing under way.
    fn end_stage(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(round) = &mut self.entropy.round else { return };
        let Some(peer) = self.entropy.counterparts.get_mut(round.peer) else { return };
        if let Stage::Folds { began, comparison, .. } = &mut round.stage {
            let looks = peer.looks(comparison.take_differing(), *began, now.monotonic);
            round.stage = Stage::Looks(looks);
            return;
        }
        let Some(class) = round.classes.pop_front() else {
            self.entropy.round = None;
            return;
        };
        let (partitions, members) = (of_class(peer.shared(), class), [self.ordinal, round.peer]);
        round.stage = Stage::Totals(class, partitions.clone());
        let operation = self.begin_exchange(now, Question::OwnTotals);
        out.push(Effect::Totals { operation, partitions, members });
    }

    fn begin_exchange(&mut self, now: Now, question: Question) -> OperationId {
        if let Some(round) = &mut self.entropy.round {
            round.under_way += 1;
        }
        self.begin(Operation::Exchange(Exchange { since: now.monotonic, question }))
    }

    fn ask_peer(
        &mut self,
        now: Now,
        peer: Ordinal,
        compare: Compare,
        question: Question,
        out: &mut Vec<Effect>,
    ) {
        let id = self.begin_exchange(now, question);
        let (_, mut outgoing) = self.split(now, out);
        outgoing.ask(peer, id, now.monotonic + SOURCE_PATIENCE, Command::Compare(compare));
    }

    fn end_exchange(&mut self, id: OperationId) -> Option<Exchange> {
        let Some(Operation::Exchange(exchange)) = self.operations.remove(id) else { return None };
        let round = self.entropy.round.as_mut()?;
        round.under_way -= 1;
        Some(exchange)
    }

    /// The store of this node has told the totals of a class.
    pub(crate) fn own_totals(
        &mut self,
        now: Now,
        id: OperationId,
        mut totals: Vec<Option<u128>>,
        moment: Option<u64>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Exchange { since, .. }) = self.end_exchange(id) else { return };
        let Some(round) = &mut self.entropy.round else { return };
        let Stage::Totals(class, partitions) = &round.stage else { return };
        assert_eq!(totals.len(), partitions.len(), "the store tells what it is asked for");
        for (partition, total) in partitions.iter().zip(&mut totals) {
            let equals = !self.transfer.lacks(*partition)
                && self.floors.is_comparable(*partition)
                && !self.floors.differs_from(*partition, round.peer);
            *total = total.filter(|_| equals);
        }
        let (class, shift, partitions) = (*class, self.layout.shift(), partitions.clone());
        self.hide_damage(&partitions, &mut totals);
        let mut comparison = Comparison::new(class, shift, partitions, totals);
        let Some(round) = &mut self.entropy.round else { return };
        let counterparts = &self.entropy.counterparts;
        if let Some(peer) = counterparts.get(round.peer) {
            let of_class = |(partition, _): &(Partition, u128)| class.contains(partition.0);
            comparison.expect(peer.suspects.differences().filter(of_class).collect());
            // Who lacks something lacks it as others hold it: from one peer it differs as from another.
            let of_all = counterparts.iter().flat_map(|known| known.suspects.differences());
            comparison.expect(of_all.filter(of_class).collect());
        }
        round.stage = Stage::Folds { began: since, moment, comparison };
        self.advance_round(now, out);
    }

    /// The store of this node has told the sums of a partition in which both differ.
    pub(crate) fn own_sums(
        &mut self,
        now: Now,
        id: OperationId,
        digest: Option<Box<Digest>>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Exchange { since, question }) = self.end_exchange(id) else { return };
        let peer = self.entropy.round.as_ref().map(|round| round.peer);
        if let (Question::OwnDigest(partition), Some(own), Some(peer)) = (question, digest, peer)
            && !self.hides(partition)
        {
            let compare = Compare::Digest { partition: partition.0 };
            let question = Question::Digest { partition, began: since, own };
            self.ask_peer(now, peer, compare, question, out);
        }
        self.advance_round(now, out);
    }

    /// The peer has answered.
    pub(crate) fn exchange_answered(
        &mut self,
        now: Now,
        id: OperationId,
        from: Ordinal,
        answer: Result<Compared, Failure>,
        out: &mut Vec<Effect>,
    ) {
        if self.entropy.round.as_ref().is_none_or(|round| round.peer != from) {
            return;
        }
        let Some(exchange) = self.end_exchange(id) else { return };
        let told = match (exchange.question, answer) {
            (Question::Folds(folds), Ok(Compared::Folds(theirs))) => {
                self.folds_told(folds, &theirs, out)
            }
            (Question::Folds(_), Ok(Compared::Shards(shards))) => self.shards_told(shards),
            (Question::Digest { partition, began, own }, Ok(Compared::Digest(theirs))) => {
                self.sums_told(now, partition, began, &own, theirs.as_deref());
                Some(())
            }
            _ => None,
        };
        match told {
            Some(()) => self.advance_round(now, out),
            None => self.break_off_round(now),
        }
        self.advance_transfer(now, out);
    }

    fn folds_told(
        &mut self,
        folds: Folds,
        theirs: &[Option<u128>],
        out: &mut Vec<Effect>,
    ) -> Option<()> {
        let Self { entropy, handoffs, ordinal, .. } = self;
        let round = entropy.round.as_mut()?;
        let target = round.peer;
        let Stage::Folds { began, moment, comparison } = &mut round.stage else { return None };
        let peer = entropy.counterparts.get_mut(target)?;
        entropy.compared += u64::try_from(theirs.len()).unwrap_or(u64::MAX);
        let agreed = comparison.take(folds, theirs)?;
        for &partition in &agreed {
            peer.agree(partition, *began);
            peer.suspects.clear(partition);
        }
        let Some(moment) = *moment else { return Some(()) };
        // What its own store has refused this node lacks too, until it has seen what all others hold.
        let refused = handoffs.kept_at(*ordinal);
        let lacks =
            |partition| refused.is_some_and(|at| !entropy.counterparts.agree_since(partition, at));
        for partition in agreed.into_iter().filter(|partition| !lacks(*partition)) {
            let members = [Some(target), refused.map(|_| *ordinal)];
            for target in members.into_iter().flatten() {
                out.push(Effect::Clean { target, partition, moment });
            }
        }
        Some(())
    }

    /// The peer has another number of shards: the round begins anew with classes that fit both.
    fn shards_told(&mut self, shards: u16) -> Option<()> {
        let &Round { peer, since, .. } = self.entropy.round.as_ref()?;
        let counterpart = self.entropy.counterparts.get_mut(peer)?;
        counterpart.learn_shards(shards)?;
        let (classes, stage) = (counterpart.classes(self.portion), Stage::Looks(VecDeque::new()));
        self.give_up_round();
        self.entropy.round = Some(Round { peer, since, classes, stage, under_way: 0 });
        Some(())
    }

    fn sums_told(
        &mut self,
        now: Now,
        partition: Partition,
        began: Duration,
        own: &Digest,
        theirs: Option<&Digest>,
    ) {
        let Some(peer) = self.entropy.round.as_ref().map(|round| round.peer) else { return };
        let Some(theirs) = theirs else { return };
        let Some(counterpart) = self.entropy.counterparts.get_mut(peer) else { return };
        self.entropy.compared += 1;
        let differing = Sixteenths::differing(own, theirs);
        let due = counterpart.suspects.look(partition, differing, began, now.monotonic);
        if !due.is_empty() {
            self.mend(peer, partition, due);
        }
    }
}

#[cfg(test)]
#[path = "round_tests.rs"]
mod tests;
