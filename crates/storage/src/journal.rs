//! The way to the log: a cloneable handle that queues groups, and the baton that commits them.
//!
//! There is no timer: a group is what queued during the previous sync. Whoever holds the baton takes
//! everything that waits, so the order of one shard's groups is the order of their submission. No
//! completion is delivered while the baton is held.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use paravon_model::Hlc;

use crate::committer::{Committer, Waiting};
use crate::options::Durability;
use crate::store::{Completion, Completions, Group};

/// The node's log as the event loops see it. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Disk(Arc<Shared>),
    Memory(Arc<dyn Completions>),
}

/// Whether a barrier is to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// Everything that was acknowledged is as durable as it can be. No completion comes.
    Passed,
    /// [`Completion::Barrier`] says when it is.
    Awaited,
}

impl Journal {
    /// The journal of memory stores, which give it no groups: a ceiling is complete at once.
    #[must_use]
    pub fn in_memory(completions: Arc<dyn Completions>) -> Self {
        Self { kind: Kind::Memory(completions) }
    }

    pub(crate) fn on_disk(shared: Arc<Shared>) -> Self {
        Self { kind: Kind::Disk(shared) }
    }

    /// Queues `groups` and wakes the log thread. Their completions come through
    /// [`Completions::deliver`].
    pub fn submit(&self, groups: Vec<Group>) {
        if let Kind::Disk(shared) = &self.kind
            && !groups.is_empty()
        {
            shared.queue(|waiting| waiting.groups.extend(groups));
            shared.wake.notify_one();
        }
    }

    /// Commits `groups` and whatever waits on the calling thread, and returns the completions of the
    /// shards of `groups`; the others' go through [`Completions::deliver`]. Blocks for one sync.
    ///
    /// `None` when another thread is committing: `groups` are queued then, as by
    /// [`submit`](Self::submit).
    pub fn commit_here(&self, groups: Vec<Group>) -> Option<Vec<Completion>> {
        let Kind::Disk(shared) = &self.kind else { return Some(Vec::new()) };
        let mut own: Vec<u16> = groups.iter().map(Group::shard).collect();
        own.dedup();
        // Queued first, so that nothing of these shards that waits already is overtaken.
        shared.queue(|waiting| waiting.groups.extend(groups));
        let Some(completions) = shared.try_commit() else {
            shared.wake.notify_one();
            return None;
        };
        let is_own =
            |completion: &Completion| completion.shard().is_some_and(|shard| own.contains(&shard));
        let (mine, others) = completions.into_iter().partition(is_own);
        shared.deliver(others);
        Some(mine)
    }

    /// Whether syncs have been so fast lately that [`commit_here`](Self::commit_here) costs less
    /// than two thread switches.
    #[must_use]
    pub fn prefers_inline(&self) -> bool {
        match &self.kind {
            Kind::Disk(shared) => shared.pace.prefers_inline(),
            Kind::Memory(_) => true,
        }
    }

    /// Makes `hlc` the durable ceiling of stamps with the next group. [`Completion::Ceiling`] says
    /// when it is.
    pub fn raise_ceiling(&self, hlc: Hlc) {
        match &self.kind {
            Kind::Disk(shared) => {
                shared.queue(|waiting| waiting.ceiling = waiting.ceiling.max(Some(hlc)));
                shared.wake.notify_one();
            }
            Kind::Memory(completions) => {
                completions.deliver(vec![Completion::Ceiling { hlc, result: Ok(()) }]);
            }
        }
    }

    /// Has everything synced that completed before this call, of any shard, whatever the durability of
    /// writes: for those who say of the node what others rely on. Each call of a node gives a higher
    /// `number`, and one completion may stand for several. A barrier that fails is the log's end: none
    /// after it succeeds before a restart.
    ///
    /// Costs nothing where a write is acknowledged once it is synced.
    #[must_use]
    pub fn barrier(&self, number: u64) -> Barrier {
        match &self.kind {
            Kind::Disk(shared) if shared.durability != Durability::Sync => {
                shared.queue(|waiting| waiting.barrier = waiting.barrier.max(Some(number)));
                shared.wake.notify_one();
                Barrier::Awaited
            }
            Kind::Disk(_) | Kind::Memory(_) => Barrier::Passed,
        }
    }
}

/// What the handles, the log thread and the checkpointer share.
pub(crate) struct Shared {
    waiting: Mutex<Queue>,
    wake: Condvar,
    baton: Mutex<Committer>,
    completions: Arc<dyn Completions>,
    durability: Durability,
    pace: Pace,
}

#[derive(Default)]
struct Queue {
    waiting: Waiting,
    stop: bool,
}

/// Why the log thread woke up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Something waits.
    ToCommit,
    /// The time given has passed.
    ByTime,
    /// Nothing waits and nothing more will.
    ToStop,
}

impl Shared {
    pub(crate) fn new(committer: Committer, completions: Arc<dyn Completions>) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            durability: committer.durability(),
            baton: Mutex::new(committer),
            completions,
            pace: Pace::default(),
        }
    }

    fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self, add: impl FnOnce(&mut Waiting)) {
        add(&mut self.lock_queue().waiting);
    }

    /// The log and what goes with it. Held for a sync at the longest.
    pub(crate) fn baton(&self) -> MutexGuard<'_, Committer> {
        self.baton.lock().unwrap_or_else(abandoned)
    }

    fn try_commit(&self) -> Option<Vec<Completion>> {
        let committer = match self.baton.try_lock() {
            Ok(committer) => committer,
            Err(TryLockError::WouldBlock) => return None,
            Err(TryLockError::Poisoned(poisoned)) => abandoned(poisoned),
        };
        Some(self.commit_with(committer))
    }

    fn commit_with(&self, mut committer: MutexGuard<'_, Committer>) -> Vec<Completion> {
        let waiting = self.lock_queue().waiting.take();
        if waiting.is_empty() {
            return Vec::new();
        }
        let begun = Instant::now();
        let completions = committer.commit(waiting);
        self.pace.observe(begun.elapsed());
        completions
    }

    /// Commits everything that waits and delivers the completions. A step of the log thread.
    pub(crate) fn commit(&self) {
        let completions = self.commit_with(self.baton());
        self.deliver(completions);
    }

    /// Hands completions to the loops.
    pub(crate) fn deliver(&self, completions: Vec<Completion>) {
        if !completions.is_empty() {
            self.completions.deliver(completions);
        }
    }

    /// Waits until something is to be committed, for `at_most` this long.
    pub(crate) fn wait(&self, at_most: Option<Duration>) -> Woken {
        let mut queue = self.lock_queue();
        loop {
            if !queue.waiting.is_empty() {
                return Woken::ToCommit;
            }
            if queue.stop {
                return Woken::ToStop;
            }
            let Some(at_most) = at_most else {
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = self.wake.wait_timeout(queue, at_most);
            let (after, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = after;
            if timeout.timed_out() && queue.waiting.is_empty() && !queue.stop {
                return Woken::ByTime;
            }
        }
    }

    /// Lets the log thread end when nothing waits any more.
    pub(crate) fn stop(&self) {
        self.lock_queue().stop = true;
        self.wake.notify_all();
    }
}

/// The baton whose holder failed half way, so that what the log holds is not known. The error has it
/// already: locking again would wait for oneself.
fn abandoned(poisoned: PoisonError<MutexGuard<'_, Committer>>) -> MutexGuard<'_, Committer> {
    let mut committer = poisoned.into_inner();
    committer.poison();
    committer
}

/// A moving average of how long a commit takes.
#[derive(Default)]
struct Pace {
    average_ns: AtomicU64,
    inline: AtomicBool,
}

impl Pace {
    /// Two thread switches and the lost batching cost about this much.
    const INLINE_BELOW_NS: u64 = 400_000;
    /// Above, so that a disk at the border does not switch all the time.
    const THREAD_ABOVE_NS: u64 = 500_000;

    /// Called under the baton, so by one thread at a time.
    fn observe(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let old = self.average_ns.load(Ordering::Relaxed);
        let average = if old == 0 { took } else { old - old / 16 + took / 16 };
        self.average_ns.store(average, Ordering::Relaxed);
        if average < Self::INLINE_BELOW_NS {
            self.inline.store(true, Ordering::Relaxed);
        } else if average > Self::THREAD_ABOVE_NS {
            self.inline.store(false, Ordering::Relaxed);
        }
    }

    fn prefers_inline(&self) -> bool {
        self.inline.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::conformance::{key, record};
    use crate::crash_disk::CrashDisk;
    use crate::options::Options;
    use crate::steps::Stepped;
    use crate::store::WriteError;

    struct Nobody;

    impl Completions for Nobody {
        fn deliver(&self, _: Vec<Completion>) {}
    }

    #[test]
    fn a_log_whose_thread_failed_refuses_and_does_not_hang() {
        let options = Options { segment_bytes: 32 << 10, ..Options::new("unused") };
        let mut stepped =
            Stepped::open(Arc::new(CrashDisk::new()), &options, Arc::new(Nobody)).unwrap();
        let failure = catch_unwind(AssertUnwindSafe(|| {
            let _baton = stepped.steps.shared.baton();
            panic!("in the middle of a commit");
        }));
        assert!(failure.is_err());
        let (hash, key) = key(0);
        stepped.stores[0].merge(1, hash, key, record(1, Some(1))).unwrap();
        let group = stepped.stores[0].take_group().unwrap();
        let journal = stepped.journal.clone();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(journal.commit_here(vec![group])));
        let completions = receiver.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
        let refused = Completion::Synced { shard: 0, group: 0, result: Err(WriteError::ReadOnly) };
        assert_eq!(completions, [refused]);
    }

    #[test]
    fn the_pace_changes_its_mind_only_past_both_bounds() {
        let pace = Pace::default();
        assert!(!pace.prefers_inline());
        let settle = |micros| (0..200).for_each(|_| pace.observe(Duration::from_micros(micros)));
        settle(300);
        assert!(pace.prefers_inline());
        settle(450);
        assert!(pace.prefers_inline());
        settle(600);
        assert!(!pace.prefers_inline());
        settle(450);
        assert!(!pace.prefers_inline());
    }
}
