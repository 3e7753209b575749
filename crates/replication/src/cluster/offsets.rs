//! How far the members' clocks were from this node's when they were measured last.
//!
//! **Never:** reads a clock. And never looks through all members to say how many are too far away: that
//! is asked after every event.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::NodeId;

/// The last measurement of each member's clock.
#[derive(Debug)]
pub(super) struct Offsets {
    max_skew_ms: i64,
    by_name: BTreeMap<NodeId, Offset>,
    /// So many of them are above the largest skew.
    too_far: usize,
    /// None of them was measured before.
    oldest: Duration,
}

#[derive(Debug)]
struct Offset {
    ms: i64,
    measured: Duration,
}

impl Offsets {
    /// Nothing measured yet.
    pub(super) fn new(max_skew_ms: i64) -> Self {
        Self { max_skew_ms, by_name: BTreeMap::new(), too_far: 0, oldest: Duration::ZERO }
    }

    /// A member's wall clock is so far from this node's.
    pub(super) fn set(&mut self, now: Duration, name: &NodeId, ms: i64) {
        self.remove(name);
        self.too_far += usize::from(self.is_too_far(ms));
        self.by_name.insert(name.clone(), Offset { ms, measured: now });
    }

    /// A member cannot be measured any more.
    pub(super) fn remove(&mut self, name: &NodeId) {
        if let Some(offset) = self.by_name.remove(name) {
            self.too_far -= usize::from(self.is_too_far(offset.ms));
        }
    }

    /// Forgets what was measured longer than `fresh` ago.
    pub(super) fn forget_older(&mut self, now: Duration, fresh: Duration) {
        if now.saturating_sub(self.oldest) <= fresh {
            return;
        }
        self.by_name.retain(|_, offset| now.saturating_sub(offset.measured) <= fresh);
        self.oldest = self.by_name.values().map(|offset| offset.measured).min().unwrap_or(now);
        let all = self.by_name.values().map(|offset| offset.ms);
        self.too_far = all.filter(|&ms| self.is_too_far(ms)).count();
    }

    /// All measurements are void.
    pub(super) fn clear(&mut self) {
        self.by_name.clear();
        self.too_far = 0;
    }

    /// Whether nobody's clock is known.
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// By how much, in milliseconds, this node differs from the one in the middle, where it is too far
    /// from more than half of them.
    pub(super) fn away_from_most_ms(&self) -> Option<u64> {
        if self.too_far * 2 <= self.by_name.len() {
            return None;
        }
        let mut away: Vec<u64> = self.by_name.values().map(|o| o.ms.unsigned_abs()).collect();
        let middle = away.len() / 2;
        Some(*away.select_nth_unstable(middle).1)
    }

    /// A member's wall clock less this node's, in milliseconds.
    pub(super) fn ms(&self, name: &NodeId) -> Option<i64> {
        self.by_name.get(name).map(|offset| offset.ms)
    }

    fn is_too_far(&self, ms: i64) -> bool {
        ms.unsigned_abs() > self.max_skew_ms.unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::worlds::name;

    /// Every short history of measurements, lost members and time counts as many as a look through all.
    #[test]
    fn what_is_counted_is_what_is_there() {
        const FRESH: Duration = Duration::from_secs(5);
        for history in 0..6_usize.pow(5) {
            let mut offsets = Offsets::new(500);
            let mut now = Duration::ZERO;
            for step in 0..5 {
                match history / 6_usize.pow(step) % 6 {
                    0 => offsets.set(now, &name("b"), -501),
                    1 => offsets.set(now, &name("b"), 500),
                    2 => offsets.set(now, &name("c"), 900),
                    3 => offsets.remove(&name("b")),
                    4 => now += Duration::from_secs(3),
                    _ => offsets.clear(),
                }
                offsets.forget_older(now, FRESH);
                let mut away: Vec<u64> =
                    offsets.by_name.values().map(|offset| offset.ms.unsigned_abs()).collect();
                away.sort_unstable();
                let too_far = away.iter().filter(|&&ms| ms > 500).count();
                let expected = (too_far * 2 > away.len()).then(|| away[away.len() / 2]);
                assert_eq!(offsets.away_from_most_ms(), expected, "history {history}");
                let mut measured = offsets.by_name.values().map(|offset| offset.measured);
                assert!(measured.all(|measured| now - measured <= FRESH), "history {history}");
            }
        }
    }
}
