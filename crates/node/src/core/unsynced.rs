//! What the shards have ended and taken over, held back from the cluster machine until the log has
//! synced it.
//!
//! **Never:** lets anything out before its barrier has passed, or out of order, or after the node has
//! given up the shards that it tells of.

use std::collections::VecDeque;

use paravon_replication::cluster::ClusterEvent;

/// Events that wait, each for a barrier of the log. There are few: shards tell of their progress at a
/// measured pace, and a barrier takes one sync.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// The number of the last barrier. It rises also over what is forgotten, so that an old barrier
    /// stands for nothing newer.
    last: u64,
    /// Oldest first.
    waiting: VecDeque<(u64, ClusterEvent)>,
}

impl Unsynced {
    /// Keeps an event; the number of the barrier to ask for.
    pub(super) fn hold(&mut self, event: ClusterEvent) -> u64 {
        self.last += 1;
        self.waiting.push_back((self.last, event));
        self.last
    }

    /// The next event whose barrier is this one or an earlier one.
    pub(super) fn release(&mut self, passed: u64) -> Option<ClusterEvent> {
        let (_, event) = self.waiting.pop_front_if(|(number, _)| *number <= passed)?;
        Some(event)
    }

    /// None of what waits is ever to be told.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use paravon_model::{Fence, Progress};

    use super::*;

    fn settled(number: u64) -> ClusterEvent {
        let fence = Fence { generation: 0, number };
        ClusterEvent::Settled { fence, progress: Progress::default() }
    }

    #[test]
    fn events_wait_for_their_barriers_and_keep_their_order() {
        let mut unsynced = Unsynced::default();
        let numbers = [1, 2, 3].map(|fence| unsynced.hold(settled(fence)));
        assert_eq!(unsynced.release(numbers[0] - 1), None);
        assert_eq!(unsynced.release(numbers[1]), Some(settled(1)));
        assert_eq!(unsynced.release(numbers[1]), Some(settled(2)));
        assert_eq!(unsynced.release(numbers[1]), None);
        assert_eq!(unsynced.release(numbers[2]), Some(settled(3)));
    }

    #[test]
    fn an_old_barrier_lets_nothing_out_that_came_after_a_withdrawal() {
        let mut unsynced = Unsynced::default();
        let old = unsynced.hold(settled(1));
        unsynced.forget();
        let new = unsynced.hold(settled(2));
        assert_eq!(unsynced.release(old), None);
        assert_eq!(unsynced.release(new), Some(settled(2)));
    }
}
