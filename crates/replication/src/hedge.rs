//! When to ask one replica more than a read needs: after the time in which 95 % of the answers come,
//! and for at most one read in twenty, so that a slow cluster is not made slower.
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
}

impl Hedge {
    pub(crate) fn new() -> Self {
        Self { usual: FIRST_GUESS, budget: MAX_BUDGET, waiting: VecDeque::new() }
    }

    /// A peer has answered a read after `taken`. Rises by 19 parts and falls by one: it rests where
    /// one answer in twenty lies above.
    pub(crate) fn observe(&mut self, taken: Duration) {
        let part = self.usual / 400;
        self.usual = if taken > self.usual { self.usual + part * 19 } else { self.usual - part };
        self.usual = self.usual.clamp(SMALLEST, LARGEST);
    }

    /// A read has asked its replicas, and there is a further one that it could ask.
    pub(crate) fn watch(&mut self, now: Duration, read: OperationId) {
        self.budget = (self.budget + EARNED).min(MAX_BUDGET);
        self.waiting.push_back((now + self.usual.max(MIN_DELAY), read));
    }

    /// The next read whose answers are late.
    pub(crate) fn late(&mut self, now: Duration) -> Option<OperationId> {
        let (due, _) = self.waiting.front()?;
        if *due > now {
            return None;
        }
        self.waiting.pop_front().map(|(_, read)| read)
    }

    /// Forgets the oldest reads that need no hedge any more.
    pub(crate) fn trim(&mut self, waits: impl Fn(OperationId) -> bool) {
        while self.waiting.front().is_some_and(|(_, read)| !waits(*read)) {
            self.waiting.pop_front();
        }
    }

    /// Takes one hedge from the budget, if there is one.
    pub(crate) fn spend(&mut self) -> Option<()> {
        self.budget = self.budget.checked_sub(COST)?;
        Some(())
    }

    /// When the next read is late.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        self.waiting.front().map(|(due, _)| *due)
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
