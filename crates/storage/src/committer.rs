//! Turns what waits into batches of the log, and says of each group whether it is durable.
//!
//! This is what the baton guards: one thread at a time writes, syncs and moves the durable position,
//! so that no group is called durable because of another thread's sync.

use std::mem;

use paravon_model::Hlc;

use crate::log::{AppendError, Log, Recyclable, Written, entry, segment::Segment};
use crate::options::Durability;
use crate::position::Position;
use crate::store::{Completion, Group, WriteError};

/// What waits to be committed.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Groups, each shard's in their order.
    pub(crate) groups: Vec<Group>,
    /// The highest ceiling asked for.
    pub(crate) ceiling: Option<Hlc>,
    /// The highest number of a barrier asked for.
    pub(crate) barrier: Option<u64>,
}

impl Waiting {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.ceiling.is_none() && self.barrier.is_none()
    }

    /// Everything that waits, leaving nothing.
    pub(crate) fn take(&mut self) -> Self {
        mem::take(self)
    }
}

/// The log and what must change with it.
#[derive(Debug)]
pub(crate) struct Committer {
    log: Log,
    durability: Durability,
    /// Of each shard: where the last batch with one of its groups ends.
    ends: Vec<Position>,
    /// Of each shard: groups of an earlier epoch are refused, because one of them was.
    epochs: Vec<u64>,
    /// The highest ceiling in the log, synced.
    ceiling: Hlc,
}

impl Committer {
    /// The committer of a recovered log. `ends`: of each shard, where its last batch ends.
    pub(crate) fn new(log: Log, durability: Durability, ends: Vec<Position>, ceiling: Hlc) -> Self {
        let epochs = vec![0; ends.len()];
        Self { log, durability, ends, epochs, ceiling }
    }

    /// Writes everything in `waiting` and syncs once; completions in the order of the groups.
    pub(crate) fn commit(&mut self, waiting: Waiting) -> Vec<Completion> {
        let Waiting { groups, ceiling, barrier } = waiting;
        let mut results = Vec::with_capacity(groups.len());
        let mut ceiling_entry = Vec::new();
        if let Some(hlc) = ceiling {
            entry::put_ceiling(&mut ceiling_entry, hlc);
        }
        let mut rest = groups.as_slice();
        let mut ceiling_result = Ok(());
        let mut first = true;
        while first || !rest.is_empty() {
            let head = if first { ceiling_entry.as_slice() } else { &[] };
            let (now, later) = rest.split_at(self.fitting(rest, head.len()));
            let result = self.append(head, now, &mut results);
            if first {
                ceiling_result = result;
            }
            (rest, first) = (later, false);
        }
        let must_sync = self.durability == Durability::Sync
            || ceiling.is_some()
            || barrier.is_some()
            || groups.iter().any(|group| group.must_sync);
        let synced = if must_sync { self.sync().map(|_| ()) } else { Ok(()) };
        if synced.is_err() {
            ceiling_result = Err(WriteError::ReadOnly);
            results.iter_mut().for_each(|result| *result = Err(WriteError::ReadOnly));
        }
        let mut completions: Vec<Completion> = groups.iter().zip(results).map(completion).collect();
        if let Some(hlc) = ceiling {
            if ceiling_result.is_ok() {
                self.ceiling = self.ceiling.max(hlc);
            }
            completions.push(Completion::Ceiling { hlc, result: ceiling_result });
        }
        // Last: whoever it tells has heard of the groups before it.
        completions.extend(barrier.map(|number| Completion::Barrier { number, result: synced }));
        completions
    }

    /// How many of `groups` fit into one batch behind `used` bytes; at least one.
    fn fitting(&self, groups: &[Group], used: usize) -> usize {
        let mut bytes = used;
        let fits = |group: &&Group| {
            bytes += group.entries.len();
            bytes <= self.log.max_payload()
        };
        let count = groups.iter().take_while(fits).count();
        // A group alone always fits; only behind a ceiling the largest may not.
        if used == 0 { count.max(1).min(groups.len()) } else { count }
    }

    fn append(
        &mut self,
        head: &[u8],
        groups: &[Group],
        results: &mut Vec<Result<Position, WriteError>>,
    ) -> Result<(), WriteError> {
        let refused =
            |group: &Group, epochs: &[u64]| group.epoch < epochs[usize::from(group.shard)];
        let accepted = groups.iter().filter(|group| !refused(group, &self.epochs));
        let mut parts = std::iter::once(head)
            .chain(accepted.map(|group| group.entries.as_slice()))
            .filter(|part| !part.is_empty())
            .peekable();
        let written = match parts.peek() {
            None => Ok(Written { begin: self.log.end(), end: self.log.end() }),
            Some(_) => self.log.append(parts).map_err(|error| match error {
                AppendError::Full => WriteError::StorageFull,
                AppendError::Poisoned => WriteError::ReadOnly,
            }),
        };
        for (at, group) in groups.iter().enumerate() {
            let shard = usize::from(group.shard);
            if refused(group, &self.epochs) {
                results.push(Err(WriteError::StorageFull));
                continue;
            }
            match written {
                Ok(Written { end, .. }) => self.ends[shard] = end,
                Err(WriteError::StorageFull) => self.epochs[shard] = group.epoch + 1,
                Err(WriteError::ReadOnly) => {}
            }
            let last = groups[at + 1..].iter().all(|later| later.shard != group.shard);
            results.push(written.map(|w| if last { w.end } else { w.begin }));
        }
        written.map(|_| ())
    }

    /// Makes everything written durable: the timer of interval durability, and before a checkpoint.
    pub(crate) fn sync(&mut self) -> Result<Position, WriteError> {
        self.log.sync().map_err(|_| WriteError::ReadOnly)
    }

    /// Marks the end of an idle log. See [`Log::seal`].
    pub(crate) fn seal(&mut self) {
        // A full disk seals nothing, and a failed sync is told with the next group.
        let _ = self.log.seal();
    }

    /// Refuses everything from now on: whoever held the baton failed in the middle.
    pub(crate) fn poison(&mut self) {
        self.log.poison();
    }

    /// When a write is acknowledged.
    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Whether the log has failed.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.log.is_poisoned()
    }

    /// Where the log ends.
    pub(crate) fn end(&self) -> Position {
        self.log.end()
    }

    /// The log before this is needed by no shard, when each has durably applied what `durable` says.
    pub(crate) fn needed_from(&self, durable: impl Iterator<Item = Position>) -> Position {
        let needed = self.ends.iter().zip(durable).filter(|(end, durable)| durable < *end);
        needed.map(|(_, durable)| durable).min().unwrap_or(self.log.end())
    }

    /// Whether the log holds records of `shard` that its file lacks.
    pub(crate) fn lags(&self, shard: u16, durable: Position) -> bool {
        durable < self.ends[usize::from(shard)]
    }

    /// The highest durable ceiling.
    pub(crate) fn ceiling(&self) -> Hlc {
        self.ceiling
    }

    /// The oldest segment that holds anything at or after `needed`.
    pub(crate) fn first_segment(&self, needed: Position) -> u64 {
        self.log.first_segment(needed)
    }

    /// Takes the segments before `first` out of the log. See [`Log::retire`].
    pub(crate) fn retire(&mut self, first: u64) -> Recyclable {
        self.log.retire(first)
    }

    /// Adds a prepared segment. See [`Log::add_spare`].
    pub(crate) fn add_spare(&mut self, segment: Segment) -> Option<Segment> {
        self.log.add_spare(segment)
    }
}

fn completion((group, result): (&Group, Result<Position, WriteError>)) -> Completion {
    Completion::Synced { shard: group.shard, group: group.number, result }
}
