//! Makes redb durable and lets go of the log that it has caught up with.
//!
//! The order is the safety: the log up to the applied position, then each redb file, then each file of
//! marks, then `node.state` with what each file holds, the first segment still needed and the ceiling,
//! and only then are older segments given another life. Also keeps spare segments ready, and gives back to
//! the disk what removals have left free at the end of a file. One per node; nobody waits for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::applier::Progress;
use crate::disk::is_full;
use crate::engine::{Engine, EngineError};
use crate::error::Error;
use crate::journal::Shared;
use crate::log::segment::{LogDir, Segment};
use crate::marks_file::MarksFile;
use crate::node_state::NodeStateFile;
use crate::position::Position;
use crate::space::{Grower, SpaceWatch};
use crate::store::Completion;

/// The log is sealed when it has not grown for this many steps: about a second.
const IDLE_STEPS: u32 = 50;

/// A shard has its turn to be trimmed once in so many steps: about a second. No two shards share a step.
const TRIM_STEPS: usize = 50;

/// A shard as the checkpointer sees it.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Its redb file.
    pub(crate) engine: Arc<Engine>,
    /// Where that lies, for messages.
    pub(crate) path: PathBuf,
    /// How far that has followed the log.
    pub(crate) progress: Arc<Progress>,
    /// What the shard remembers beside its records.
    pub(crate) marks: Arc<MarksFile>,
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
    /// Where the log ended at the last checkpoint that succeeded.
    last: Position,
    /// Whether the one tried last failed, so that it is due though nothing more was applied.
    failed: bool,
    /// Where it ended at the last step, and for how many steps.
    idle: (Position, u32),
    /// The shard that may be trimmed now, if there is one of that number.
    turn: usize,
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
        Self {
            shared,
            log_dir,
            followers,
            node_state,
            space,
            every_bytes,
            last,
            failed: false,
            idle,
            turn: 0,
        }
    }

    /// Does what is due: spare segments always, a checkpoint by volume.
    ///
    /// # Errors
    /// A file could not be written; the log stays longer, nothing is lost. What failed is due again.
    pub(crate) fn step(&mut self) -> Result<(), Error> {
        (0..self.followers.len()).for_each(|shard| self.tell_if_broken(shard));
        let (end, poisoned) = {
            let committer = self.shared.baton();
            (committer.end(), committer.is_poisoned())
        };
        if poisoned {
            return Ok(());
        }
        self.ask_to_flush();
        self.trim_next();
        let grown = end.0.saturating_sub(self.last.0) >= self.every_bytes;
        if grown && (self.failed || self.has_news()) {
            return self.checkpoint();
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

    /// Trims the file whose turn it is, if that helps and nobody writes to it. After the last trim that is
    /// due, what the shard has not applied is asked for: it may remove more, and a row that stays between
    /// free pages keeps all before it.
    fn trim_next(&mut self) {
        self.turn = (self.turn + 1) % self.followers.len().max(TRIM_STEPS);
        let Some(follower) = self.followers.get(self.turn) else { return };
        let engine = &follower.engine;
        if follower.broken || !engine.wants_trim() || !engine.rests() {
            return;
        }
        // A file that fails is told at the next step, and one that lacks space is trimmed when it has some.
        let is_last = engine.trim().is_ok() && !engine.wants_trim();
        let shard = u16::try_from(self.turn).expect("shards are counted in 16 bits");
        if is_last && self.shared.baton().lags(shard, follower.progress.applied()) {
            self.shared.deliver(vec![Completion::Flush { shard }]);
        }
    }

    fn has_news(&self) -> bool {
        let has_news = |f: &Follower| !f.broken && f.progress.durable() < f.progress.applied();
        self.followers.iter().any(has_news)
    }

    /// Records that nobody froze, because they are few, hold the log back, however often the other
    /// shards are made durable.
    fn ask_to_flush(&self) {
        let committer = self.shared.baton();
        let end = committer.end();
        let lagging = self.shards().filter(|&(shard, follower)| {
            let behind = end.0.saturating_sub(follower.progress.durable().0);
            behind >= 2 * self.every_bytes
                && !follower.broken
                && committer.lags(shard, follower.progress.applied())
        });
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
    /// As [`step`](Self::step). The shards that did not fail are durable all the same.
    pub(crate) fn checkpoint(&mut self) -> Result<(), Error> {
        self.failed = true;
        // With interval durability a record may be applied before the log is synced; redb must not
        // be durably ahead of the log, or its positions would be given out twice. What is applied
        // while this goes on may lie behind this sync, so no shard is noted beyond it.
        let Ok(synced) = self.shared.baton().sync() else { return Err(self.log_failed()) };
        let mut problem = Ok(());
        for shard in 0..self.followers.len() {
            problem = problem.and(self.checkpoint_shard(shard, synced));
        }
        // What the log says before a durable position was known to the store when it froze the table up to
        // there, so it is in the marks by now.
        let editions = self.save_marks()?;
        let held: Vec<Position> = self.followers.iter().map(|f| f.progress.durable()).collect();
        let (first, ceiling) = {
            let committer = self.shared.baton();
            let needed = committer.needed_from(held.iter().copied());
            (committer.first_segment(needed), committer.ceiling())
        };
        self.node_state.update(|state| {
            state.first_segment = first;
            state.held = held;
            state.editions = editions;
            state.ceiling = state.ceiling.max(ceiling);
        })?;
        self.recycle(Some(first))?;
        problem?;
        (self.last, self.failed) = (synced, false);
        Ok(())
    }

    fn checkpoint_shard(&mut self, shard: usize, synced: Position) -> Result<(), Error> {
        let follower = &self.followers[shard];
        // Read first: what is applied meanwhile is made durable too, but not counted.
        let applied = follower.progress.applied().min(synced);
        if !follower.broken && follower.progress.durable() >= applied {
            return Ok(());
        }
        match follower.engine.checkpoint(applied) {
            Ok(()) => {
                follower.progress.set_durable(applied);
                Ok(())
            }
            Err(EngineError::Full) => Err(Error::Full { path: follower.path.clone() }),
            Err(EngineError::Broken) => {
                let path = follower.path.clone();
                self.tell_if_broken(shard);
                let source = io::Error::other("redb failed and takes nothing more");
                Err(Error::Io { path, operation: "made durable", source })
            }
        }
    }

    /// Writes the marks of each shard where they have changed; the editions that stand there now.
    fn save_marks(&self) -> Result<Vec<u64>, Error> {
        self.followers.iter().map(|follower| follower.marks.save()).collect()
    }

    /// Tells once that a shard's file has failed, whoever called redb then: a read or this.
    fn tell_if_broken(&mut self, shard: usize) {
        let follower = &mut self.followers[shard];
        if !follower.broken && follower.engine.is_broken() {
            follower.broken = true;
            let shard = u16::try_from(shard).expect("shards are counted in 16 bits");
            self.shared.deliver(vec![Completion::Broken { shard }]);
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

    fn log_failed(&self) -> Error {
        let source = io::Error::other("a write or sync of it failed");
        Error::Io { path: self.log_dir.path(), operation: "synced", source }
    }

    fn failed(&self, number: u64, operation: &'static str, source: io::Error) -> Error {
        let path = self.log_dir.disk.path(&self.log_dir.name(number));
        Error::Io { path, operation, source }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::applier::Step;
    use crate::conformance::{key, record};
    use crate::crash_disk::{CrashDisk, Image, Replay, Survival};
    use crate::disk::{Disk, DiskFile};
    use crate::options::{Durability, Options};
    use crate::steps::{Stepped, Steps};
    use crate::store::Completions;

    type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

    /// A disk that does something else at the next sync of one file.
    #[derive(Clone)]
    struct Hooked {
        disk: CrashDisk,
        name: &'static str,
        hook: Hook,
    }

    struct HookedFile(Arc<dyn DiskFile>, Option<Hook>);

    impl fmt::Debug for Hooked {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Hooked")
        }
    }

    impl fmt::Debug for HookedFile {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("HookedFile")
        }
    }

    impl Disk for Hooked {
        fn path(&self, name: &str) -> PathBuf {
            self.disk.path(name)
        }
        fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
            self.disk.create(name)
        }
        fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
            let hook = (name == self.name).then(|| Arc::clone(&self.hook));
            Ok(Arc::new(HookedFile(self.disk.open(name)?, hook)))
        }
        fn create_dir(&self, name: &str) -> io::Result<()> {
            self.disk.create_dir(name)
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.disk.rename(from, to)
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.disk.remove(name)
        }
        fn list(&self, dir: &str) -> io::Result<Vec<String>> {
            self.disk.list(dir)
        }
        fn sync_dir(&self, dir: &str) -> io::Result<()> {
            self.disk.sync_dir(dir)
        }
    }

    impl DiskFile for HookedFile {
        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.0.read_at(buffer, offset)
        }
        fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
            self.0.write_at(data, offset)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }
        fn allocate(&self, len: u64) -> io::Result<()> {
            self.0.allocate(len)
        }
        fn sync_data(&self) -> io::Result<()> {
            let hook = self.1.as_ref().and_then(|hook| hook.lock().unwrap().take());
            if let Some(hook) = hook {
                hook();
            }
            self.0.sync_data()
        }
    }

    #[derive(Default)]
    struct Inbox(Mutex<Vec<Completion>>);

    impl Completions for Inbox {
        fn deliver(&self, mut completions: Vec<Completion>) {
            self.0.lock().unwrap().append(&mut completions);
        }
    }

    /// While shard 0 is made durable, shard 1 applies what the log has not synced.
    #[test]
    fn no_shard_is_durably_ahead_of_the_synced_log() {
        let durability = Durability::Interval(Duration::MAX);
        let options =
            Options { shards: 2, segment_bytes: 32 << 10, durability, ..Options::new("unused") };
        let disk = CrashDisk::new();
        let hook = Hook::default();
        let hooked =
            Hooked { disk: disk.clone(), name: "data/shard-00.redb", hook: Arc::clone(&hook) };
        let inbox = Arc::new(Inbox::default());
        let completions = Arc::clone(&inbox) as Arc<dyn Completions>;
        let Stepped { mut stores, steps, .. } =
            Stepped::open(Arc::new(hooked), &options, completions).unwrap();
        let Steps { shared, mut appliers, mut checkpointer, .. } = steps;
        let mut second = (stores.pop().unwrap(), appliers.pop().unwrap());
        let mut first = (stores.pop().unwrap(), appliers.pop().unwrap());
        let journal = crate::Journal::on_disk(Arc::clone(&shared));
        let write = {
            let inbox = Arc::clone(&inbox);
            move |(store, applier): &mut (Box<dyn crate::Store>, crate::applier::Applier), ms| {
                let (hash, key) = key(store.shard().try_into().unwrap());
                store.merge(ms, hash, key, record(ms, Some(1))).unwrap();
                journal.submit(vec![store.take_group().unwrap()]);
                shared.commit();
                for completion in std::mem::take(&mut *inbox.0.lock().unwrap()) {
                    store.complete(completion);
                }
                store.flush();
                assert_eq!(applier.step(), Step::Applied);
            }
        };
        write(&mut first, 1);
        *hook.lock().unwrap() = Some(Box::new(move || write(&mut second, 2)));
        checkpointer.checkpoint().unwrap();
        assert!(hook.lock().unwrap().is_none(), "the hook was called");

        let mut replay = Replay::new(Image::default());
        disk.trace().iter().for_each(|operation| replay.step(operation));
        let lost = Arc::new(CrashDisk::from_image(replay.crash(Survival::Nothing)));
        let after = Stepped::open(lost, &options, Arc::new(Inbox::default())).unwrap();
        let end = after.steps.shared.baton().end();
        for (_, follower) in after.steps.checkpointer.shards() {
            assert!(follower.progress.durable() <= end);
        }
    }
}
