//! Anti-entropy: every replica finds out in what it differs from each other one, always, and mends itself
//! (`CONVERGES_AFTER_HEAL`).
//!
//! ```text
//!  own totals --> folds of the peer: equal, but for what is known to differ? --> agreed
//!                   |  no: narrower folds, down to single partitions
//!                   +--> known to differ, and by how much
//!                          |  by the same, after longer than a request lasts, or by something else
//!                          +--> own sums --> sums of the peer: which sixteenths differ, for so long?
//!                                              +--> mending
//! ```
//!
//! One peer at a time, a round with each no more often than every ten seconds, or three while deletes wait
//! for it; while all is summed up and agrees, or differs in nothing but what is known, a round is one
//! question per class.
//! **Never:** compares before this node has stored the layout, keeps an answer of another fence
//! (`EPOCH_FENCE`), or counts a partition that either end has not summed up, or that this node is still
//! taking over, as agreed.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::Ordinal;
use paravon_ring::{Layout, Partition};

use crate::counterparts::{Counterpart, Counterparts};
use crate::event::{Effect, Now};
use crate::mending::Mending;
use crate::operation::Operation;
use crate::peers::Reach;
use crate::portion::Portion;
use crate::round::Round;
use crate::shard::Shard;

/// From the beginning of a round with a peer to the next one with it.
pub(crate) const ROUND: Duration = Duration::from_secs(10);

/// The same where partitions wait for being found equal on their way to a higher floor.
const ROUND_SOON: Duration = Duration::from_secs(3);

/// The anti-entropy of one shard.
#[derive(Debug)]
pub(crate) struct Entropy {
    pub(crate) counterparts: Counterparts,
    /// The one that is under way.
    pub(crate) round: Option<Round>,
    pub(crate) mending: Mending,
    /// Folds and sums that peers were asked for and told, since the start.
    pub(crate) compared: u64,
}

impl Entropy {
    pub(crate) fn new(layout: &Layout, own: Ordinal, portion: Portion) -> Self {
        let counterparts = Counterparts::of(layout, own, portion);
        Self { counterparts, round: None, mending: Mending::default(), compared: 0 }
    }
}

impl Shard {
    /// A layout of a higher fence is in use, which makes this node new to some partitions. The
    /// operations of mending end with those of the transfer.
    pub(crate) fn relayout_entropy(&mut self, new: &[Partition]) {
        self.give_up_round();
        let Self { entropy, layout, ordinal, .. } = self;
        entropy.counterparts.relayout(layout, *ordinal, new);
        entropy.mending.relayout();
    }

    /// Begins the next round where one is due.
    pub(crate) fn advance_entropy(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.is_admitted() || self.entropy.round.is_some() {
            return;
        }
        let Self { entropy, peers, .. } = self;
        let mut next = None;
        for counterpart in entropy.counterparts.iter_mut() {
            let Some(due) = counterpart.due() else {
                counterpart.plan(now.monotonic + ROUND);
                continue;
            };
            let can_be_asked = peers.reach(counterpart.peer) == Reach::Linked;
            if can_be_asked && due <= now.monotonic {
                next = [next, Some((due, counterpart.peer))].into_iter().flatten().min();
            }
        }
        if let Some((_, peer)) = next {
            self.begin_round(now, peer, out);
        }
    }

    /// Partitions shared with this member wait for a comparison that begins from now on.
    pub(crate) fn hasten_round(&mut self, peer: Ordinal) {
        if let Some(counterpart) = self.entropy.counterparts.get_mut(peer) {
            counterpart.hasten(ROUND - ROUND_SOON);
        }
    }

    /// The member cannot be asked any more.
    pub(crate) fn entropy_unlinked(&mut self, now: Now, peer: Ordinal) {
        if self.entropy.round.as_ref().is_some_and(|round| round.peer == peer) {
            self.break_off_round(now);
        }
    }

    /// What is on its way is void; the peer has its turn again when it would have had it anyway.
    pub(crate) fn give_up_round(&mut self) {
        self.entropy.round = None;
        let ours = |operation: &Operation| matches!(operation, Operation::Exchange(_));
        for id in self.operations.select(ours) {
            self.operations.remove(id);
        }
    }

    /// When a round is to begin.
    pub(crate) fn entropy_wake(&self) -> Option<Duration> {
        if !self.is_admitted() || self.entropy.round.is_some() {
            return None;
        }
        let counterparts = self.entropy.counterparts.iter();
        let linked = counterparts.filter(|known| self.peers.reach(known.peer) == Reach::Linked);
        linked.filter_map(Counterpart::due).min()
    }
}

#[cfg(test)]
#[path = "entropy_tests.rs"]
mod tests;
