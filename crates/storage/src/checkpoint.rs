//! Makes redb durable and lets go of the log that it has caught up with.
//!
//! The order is the safety: the log up to the applied position, then each redb file, then
//! `node.state` with the first segment still needed and the ceiling, and only then are older segments
//! given another life. Also keeps spare segments ready. One per node; nobody waits for it.

use std::sync::Arc;

use crate::applier::Progress;
use crate::disk::is_full;
use crate::engine::{Engine, EngineError};
use crate::error::Error;
use crate::journal::Shared;
use crate::log::segment::{LogDir, Segment};
use crate::node_state::NodeStateFile;
use crate::position::Position;
use crate::space::{Grower, SpaceWatch};
use crate::store::Completion;

/// The log is sealed when it has not grown for this many steps: about a second.
const IDLE_STEPS: u32 = 50;

/// A shard as the checkpointer sees it.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Its redb file.
    pub(crate) engine: Arc<Engine>,
    /// How far that has followed the log.
    pub(crate) progress: Arc<Progress>,
    /// Whether the failure of its file has been told.
    pub(crate) broken: bool,
}

/// The steps of a checkpoint.
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    log_dir: LogDir,
    followers: Vec<Follower>,
    node_state: NodeStateFile,
    space: Arc<SpaceWatch>,
    /// A checkpoint is due when the log has grown by this much.
    every_bytes: u64,
    /// Where the log ended at the last checkpoint.
    last: Position,
    /// Where it ended at the last step, and for how many steps.
    idle: (Position, u32),
}

impl Checkpointer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        log_dir: LogDir,
        followers: Vec<Follower>,
        node_state: NodeStateFile,
        space: Arc<SpaceWatch>,
        every_bytes: u64,
    ) -> Self {
        let last = Position::ZERO;
        let idle = (last, 0);
        Self { shared, log_dir, followers, node_state, space, every_bytes, last, idle }
    }

    /// Does what is due: spare segments always, a checkpoint by volume.
    ///
    /// # Errors
    /// `node.state` or a segment could not be written; the log stays longer, nothing is lost.
    pub(crate) fn step(&mut self) -> Result<(), Error> {
        let (end, poisoned) = {
            let committer = self.shared.baton();
            (committer.end(), committer.is_poisoned())
        };
        if poisoned {
            return Ok(());
        }
        if end.0.saturating_sub(self.last.0) >= self.every_bytes && self.has_news() {
            self.last = end;
            return self.checkpoint();
        }
        if end.0.saturating_sub(self.last.0) >= 2 * self.every_bytes {
            // Records that nobody froze, because they are few, hold the log back.
            self.ask_to_flush();
        }
        self.seal_if_idle(end);
        self.recycle(None)
    }

    fn seal_if_idle(&mut self, end: Position) {
        let (before, steps) = self.idle;
        self.idle = if before == end { (end, steps.saturating_add(1)) } else { (end, 0) };
        if self.idle.1 == IDLE_STEPS {
            self.shared.baton().seal();
        }
    }

    fn has_news(&self) -> bool {
        self.followers.iter().any(|f| f.progress.durable() < f.progress.applied())
    }

    fn ask_to_flush(&self) {
        let committer = self.shared.baton();
        let lagging =
            self.shards().filter(|&(shard, f)| committer.lags(shard, f.progress.applied()));
        let completions = lagging.map(|(shard, _)| Completion::Flush { shard }).collect();
        drop(committer);
        self.shared.deliver(completions);
    }

    fn shards(&self) -> impl Iterator<Item = (u16, &Follower)> {
        (0..).zip(&self.followers)
    }

    /// Makes durable whatever is applied and recycles the log.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub(crate) fn checkpoint(&mut self) -> Result<(), Error> {
        // With interval durability a record may be applied before the log is synced; redb must not
        // be durably ahead of the log, or its positions would be given out twice.
        if self.shared.baton().sync().is_err() {
            return Ok(());
        }
        for shard in 0..self.followers.len() {
            self.checkpoint_shard(shard);
        }
        let (first, ceiling) = {
            let committer = self.shared.baton();
            let durable = self.followers.iter().map(|f| f.progress.durable());
            (committer.first_segment(committer.needed_from(durable)), committer.ceiling())
        };
        self.node_state.update(|state| {
            state.first_segment = first;
            state.ceiling = state.ceiling.max(ceiling);
        })?;
        self.recycle(Some(first))
    }

    fn checkpoint_shard(&mut self, shard: usize) {
        let follower = &mut self.followers[shard];
        // Read first: what is applied meanwhile is made durable too, but not counted.
        let applied = follower.progress.applied();
        if follower.broken || follower.progress.durable() >= applied {
            return;
        }
        match follower.engine.checkpoint(applied) {
            Ok(()) => follower.progress.set_durable(applied),
            Err(EngineError::Full) => {}
            Err(EngineError::Broken) => {
                follower.broken = true;
                let shard = u16::try_from(shard).expect("shards are counted in 16 bits");
                self.shared.deliver(vec![Completion::Broken { shard }]);
            }
        }
    }

    /// Takes segments before `first` out of the log, and fills up the spares from them or anew.
    fn recycle(&self, first: Option<u64>) -> Result<(), Error> {
        let taken = self.shared.baton().retire(first.unwrap_or(0));
        let mut wanted = taken.wanted.into_iter();
        let mut spares = Vec::new();
        let renamed = !taken.segments.is_empty();
        for segment in taken.segments {
            let number = segment.number;
            match wanted.next() {
                Some(next) => spares.push(
                    self.log_dir
                        .renumber(segment, next)
                        .map_err(|source| self.failed(number, "renamed", source))?,
                ),
                None => self
                    .log_dir
                    .remove(number)
                    .map_err(|source| self.failed(number, "removed", source))?,
            }
        }
        if renamed {
            self.log_dir.sync().map_err(|source| self.failed(0, "synced", source))?;
        }
        for number in wanted {
            match self.log_dir.create(number) {
                Ok(segment) => spares.push(segment),
                Err(error) if is_full(&error) => {
                    self.report_space(true);
                    return self.add_spares(spares);
                }
                Err(source) => return Err(self.failed(number, "created", source)),
            }
        }
        self.report_space(false);
        self.add_spares(spares)
    }

    fn add_spares(&self, spares: Vec<Segment>) -> Result<(), Error> {
        for spare in spares {
            let rejected = self.shared.baton().add_spare(spare);
            if let Some(segment) = rejected {
                let number = segment.number;
                self.log_dir
                    .remove(number)
                    .map_err(|source| self.failed(number, "removed", source))?;
            }
        }
        Ok(())
    }

    fn report_space(&self, lacks: bool) {
        if let Some(full) = self.space.report(Grower::Log, lacks) {
            let all = self.shards().map(|(shard, _)| Completion::Space { shard, full }).collect();
            self.shared.deliver(all);
        }
    }

    fn failed(&self, number: u64, operation: &'static str, source: std::io::Error) -> Error {
        let path = self.log_dir.disk.path(&self.log_dir.name(number));
        Error::Io { path, operation, source }
    }
}
