//! When to ask one replica more than a read needs, or to write back to one more: after the time in which
//! 95 % of the answers come, and for at most one read in twenty, so that a slow cluster is not made
//! slower. A read that found the budget empty and still lacks its quorum a good while later may all the
//! same: what it waits for most likely never comes.
//!
//! The quantile is estimated as the answers come, without keeping them (stochastic approximation after
//! Robbins and Monro, 1951).

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::operations::OperationId;

/// No hedge before this, however fast answers come.
const MIN_DELAY: Duration = Duration::from_millis(1);
/// The delay before anything was measured.
const FIRST_GUESS: Duration = Duration::from_millis(10);
/// After this the budget is not asked; a cluster that is slower than that is waited for longer.
const LAST_RESORT: Duration = Duration::from_millis(50);
/// Bounds of the estimate.
const SMALLEST: Duration = Duration::from_micros(10);
const LARGEST: Duration = Duration::from_secs(10);

/// What a read adds to the budget, and what a hedge takes from it: 5 %.
const EARNED: u32 = 5;
const COST: u32 = 100;
/// So many hedges at once: what a peer that stops answering leaves behind.
const MAX_BUDGET: u32 = 64 * COST;

/// The hedging of one shard.
#[derive(Debug)]
pub(crate) struct Hedge {
    usual: Duration,
    budget: u32,
    /// Reads that may need a hedge, by the time at which they came.
    waiting: VecDeque<(Duration, OperationId)>,
    /// Reads that found the budget empty, by the time at which they did.
    starved: VecDeque<(Duration, OperationId)>,
}

/// A read whose answers are late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Late {
    /// The moment for which it was watched.
    pub(crate) due: Duration,
    pub(crate) read: OperationId,
    pub(crate) leave: Leave,
}

/// What a late read must have before it asks one replica more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// A part of the budget.
    Budget,
    /// Nothing: it has waited long enough.
    Granted,
}

impl Hedge {
    pub(crate) fn new() -> Self {
        Self {
            usual: FIRST_GUESS,
            budget: MAX_BUDGET,
            waiting: VecDeque::new(),
            starved: VecDeque::new(),
        }
    }

    /// A peer has answered a read after `taken`. Rises by 19 parts and falls by one: it rests where
    /// one answer in twenty lies above.
    pub(crate) fn observe(&mut self, taken: Duration) {
        let part = self.usual / 400;
        self.usual = if taken > self.usual { self.usual + part * 19 } else { self.usual - part };
        self.usual = self.usual.clamp(SMALLEST, LARGEST);
    }

    /// A read adds its part to the budget.
    pub(crate) fn earn(&mut self) {
        self.budget = (self.budget + EARNED).min(MAX_BUDGET);
    }

    /// A read has asked its replicas, or told them its winner, and there is a further one that it could
    /// turn to. Gives the moment at which it is late; an earlier one for the same read is void.
    pub(crate) fn watch(&mut self, now: Duration, read: OperationId) -> Duration {
        let due = now + self.usual.max(MIN_DELAY);
        self.waiting.push_back((due, read));
        due
    }

    /// The budget is empty, or nobody could be reached: gives the moment after which the read may turn
    /// to a further replica whatever the budget says.
    pub(crate) fn starve(&mut self, now: Duration, read: OperationId) -> Duration {
        let due = now + self.usual.max(LAST_RESORT);
        self.starved.push_back((due, read));
        due
    }

    /// The next read whose answers are late.
    pub(crate) fn late(&mut self, now: Duration) -> Option<Late> {
        let queues = [(&mut self.waiting, Leave::Budget), (&mut self.starved, Leave::Granted)];
        for (queue, leave) in queues {
            if let Some(&(due, read)) = queue.front()
                && due <= now
            {
                queue.pop_front();
                return Some(Late { due, read, leave });
            }
        }
        None
    }

    /// Forgets the oldest reads that need no hedge any more.
    pub(crate) fn trim(&mut self, waits: impl Fn(OperationId) -> bool) {
        for queue in [&mut self.waiting, &mut self.starved] {
            while queue.front().is_some_and(|(_, read)| !waits(*read)) {
                queue.pop_front();
            }
        }
    }

    /// Takes one hedge from the budget, if there is one.
    pub(crate) fn spend(&mut self) -> Option<()> {
        self.budget = self.budget.checked_sub(COST)?;
        Some(())
    }

    /// When the next read is late.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        let first = |queue: &VecDeque<(Duration, OperationId)>| queue.front().map(|(due, _)| *due);
        [first(&self.waiting), first(&self.starved)].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_settles_where_one_answer_in_twenty_is_later() {
        let mut hedge = Hedge::new();
        for round in 0..20_000_u64 {
            hedge.observe(Duration::from_micros(1000 + (round * 37) % 1000));
        }
        let usual = hedge.usual.as_micros();
        assert!((1800..=2100).contains(&usual), "{usual} us");
    }

    #[test]
    fn one_read_in_twenty_is_hedged_at_most() {
        let mut hedge = Hedge::new();
        let mut operations = crate::operations::Operations::new();
        while hedge.spend().is_some() {}
        let mut hedges = 0;
        for _ in 0..1000 {
            hedge.earn();
            hedge.watch(Duration::ZERO, operations.insert(()));
            hedges += usize::from(hedge.spend().is_some());
        }
        assert_eq!(hedges, 50);
        assert_eq!(hedge.late(Duration::from_millis(9)), None);
        assert!(hedge.late(Duration::from_millis(10)).is_some());
        hedge.trim(|_| false);
        assert_eq!(hedge.next_wake(), None);
    }
}
