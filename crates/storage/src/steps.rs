//! A node's storage put together, without a thread: everything that threads do, as steps.
//!
//! `threads.rs` runs these steps in loops; a simulator calls them in whatever order it likes. Any
//! order is safe: a step that comes late only makes the log longer.

use std::path::PathBuf;
use std::sync::Arc;

use paravon_model::Hlc;

use crate::applier::{Applier, Mailbox, Progress, Step};
use crate::checkpoint::{Checkpointer, Follower};
use crate::committer::Committer;
use crate::data_dir::{DataDir, Founded, ShardFile, ShardLimits};
use crate::disk::Disk;
use crate::disk_store::{DiskStore, Limits};
use crate::engine::{Engine, EngineError};
use crate::error::Error;
use crate::hint::{self, Marked};
use crate::hint_ledger::{Change, Ledger};
use crate::journal::{Journal, Shared};
use crate::log::entry::{BadEntry, Entry};
use crate::log::{max_payload, recover};
use crate::marks_file::MarksFile;
use crate::node_state::NodeStateFile;
use crate::options::Options;
use crate::position::Position;
use crate::record_stage::Slot;
use crate::space::SpaceWatch;
use crate::storage::{Documents, Recovered};
use crate::store::{Completions, Store};
use crate::table::Table;

/// Storage that moves only when it is stepped.
pub struct Stepped {
    /// One store per shard, by number.
    pub stores: Vec<Box<dyn Store>>,
    /// The way to the log; [`Steps::commit`] commits what it queues.
    pub journal: Journal,
    /// What the data directory said.
    pub recovered: Recovered,
    /// Replaces the node's document.
    pub documents: Documents,
    /// What the threads would do.
    pub steps: Steps,
}

/// What the storage threads do, one step at a time.
pub struct Steps {
    pub(crate) shared: Arc<Shared>,
    pub(crate) appliers: Vec<Applier>,
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    pub(crate) checkpointer: Checkpointer,
}

impl Steps {
    /// Commits everything that waits with one sync, and delivers the completions.
    pub fn commit(&mut self) {
        self.shared.commit();
    }

    /// Applies one slice of a frozen table; says whether there is more to apply now.
    pub fn apply(&mut self, shard: u16) -> bool {
        self.appliers[usize::from(shard)].step() == Step::Working
    }

    /// Does what the checkpoint thread does at every tick: a checkpoint by volume, spare segments.
    ///
    /// # Errors
    /// A file could not be written; the log stays longer, nothing is lost.
    pub fn tick(&mut self) -> Result<(), Error> {
        self.checkpointer.step()
    }

    /// Makes a checkpoint whether it is due or not.
    ///
    /// # Errors
    /// As [`tick`](Self::tick).
    pub fn checkpoint(&mut self) -> Result<(), Error> {
        self.checkpointer.checkpoint()
    }
}

impl Stepped {
    /// Opens or founds the data directory on `disk` and recovers from its log.
    ///
    /// # Errors
    /// Says what is wrong with the directory and what to do.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: &Options,
        completions: Arc<dyn Completions>,
    ) -> Result<Self, Error> {
        let wanted =
            Founded { shards: options.shards.max(1), segment_bytes: options.segment_bytes };
        let dir = DataDir::open(disk, wanted, &options.document)?;
        let node_state = dir.node_state()?;
        node_state.update(|state| state.start_counter += 1)?;
        let marks = dir.marks(&node_state)?;
        let before = node_state.read().held.into_iter().max().unwrap_or_default();
        let files = open_files(&dir, &node_state, &marks, options)?;
        let log = Recovery::run(&dir, &node_state, before, (&files, &marks))?;
        assemble(&dir, node_state, (files, marks), log, options, completions)
    }
}

/// A shard's file, open, and how far it has followed the log.
struct File {
    engine: Arc<Engine>,
    progress: Arc<Progress>,
    ledger: Ledger,
    quarantined: Option<PathBuf>,
}

type Marks = Vec<Arc<MarksFile>>;

fn open_files(
    dir: &DataDir,
    node_state: &NodeStateFile,
    marks: &Marks,
    options: &Options,
) -> Result<Vec<File>, Error> {
    let shards = dir.founded.shards;
    let limits = ShardLimits {
        cache_bytes: options.cache_bytes / usize::from(shards),
        hint_bytes: options.hint_bytes / u64::from(shards),
    };
    let open = |(shard, marks): (u16, &Arc<MarksFile>)| {
        let ShardFile { engine, applied, ledger, quarantined } =
            dir.open_shard(shard, limits, node_state, marks)?;
        let progress = Arc::new(Progress::new(applied));
        Ok(File { engine: Arc::new(engine), progress, ledger, quarantined })
    };
    (0..shards).zip(marks).map(open).collect()
}

/// What the log held that the files lack.
struct Recovery {
    log: crate::log::Log,
    torn: bool,
    tables: Vec<Table>,
    ends: Vec<Position>,
    ceiling: Hlc,
}

impl Recovery {
    /// Replays the log, which must reach to `held` and to what the files hold.
    fn run(
        dir: &DataDir,
        node_state: &NodeStateFile,
        held: Position,
        (files, marks): (&[File], &Marks),
    ) -> Result<Self, Error> {
        let state = node_state.read();
        let mut tables: Vec<Table> = files.iter().map(|_| Table::default()).collect();
        let mut ends: Vec<_> = files.iter().map(|file| file.progress.durable()).collect();
        let mut ceiling = state.ceiling;
        let held = ends.iter().copied().fold(held, Position::max);
        let replayed = recover(dir.log_dir(), state.first_segment, held, |end, entry| {
            if let Entry::Ceiling(hlc) = entry {
                ceiling = ceiling.max(hlc);
                return Ok(());
            }
            let shard = entry.shard().map(usize::from).ok_or(BadEntry::Malformed)?;
            let file = files.get(shard).ok_or(BadEntry::Malformed)?;
            if let Entry::Mark { change, .. } = &entry {
                // Whatever redb holds: all that the log still says, in order.
                marks[shard].lock().apply(change.clone());
            }
            if file.progress.durable() < end {
                // What was clean in a file that was set aside since is dirty again, as all of the ring is.
                let is_void = matches!(entry, Entry::Cleaned { quarantines, .. }
                    if quarantines < marks[shard].lock().quarantines);
                if !is_void {
                    replay(&mut tables[shard], entry);
                }
                ends[shard] = end;
            }
            Ok(())
        })?;
        tables.iter_mut().for_each(Table::recovered);
        Ok(Self { log: replayed.log, torn: replayed.torn, tables, ends, ceiling })
    }
}

/// Puts an entry that the shard's file lacks into its table.
fn replay(table: &mut Table, entry: Entry) {
    match entry {
        Entry::Record { hash, key, record, .. } => table.recover(Slot { hash, key }, record),
        Entry::Hint { slot, record, .. } => table.hints.recover(slot, record),
        Entry::HintDropped { slot, version, .. } => table.hints.recover_drop(slot, version),
        Entry::Dirty { mark, .. } => table.hints.recover_mark(mark, Marked::Dirty),
        Entry::Cleaned { mark, .. } => table.hints.recover_mark(mark, Marked::Clean),
        Entry::Forgotten { hash, key, .. } => table.recover_forgotten(Slot { hash, key }),
        Entry::Dropped { hash, key, version, .. } => {
            table.recover_dropped(Slot { hash, key }, version);
        }
        Entry::Mark { change, .. } => table.recover_note(change.weight()),
        Entry::Ceiling(_) => {}
    }
}

/// Counts the hints of the table over those of a shard's file, which `ledger` has counted, and notes for
/// whom they are.
fn count(
    engine: &Engine,
    table: &Table,
    mut ledger: Ledger,
    marks: &MarksFile,
) -> Result<Ledger, EngineError> {
    count_over(engine, table, &mut ledger)?;
    ledger.targets().for_each(|target| marks.lock().note_target(target));
    Ok(ledger)
}

fn count_over(engine: &Engine, table: &Table, ledger: &mut Ledger) -> Result<(), EngineError> {
    let recovered = table.hints.recovered();
    if recovered.is_empty() {
        return Ok(());
    }
    let view = engine.hint_view().map_err(|_| EngineError::Broken)?;
    for (slot, state) in &recovered.slots {
        let Some((target, _, key)) = slot.parts() else { continue };
        let row = engine.read_hint(&view, slot).map_err(|_| EngineError::Broken)?;
        let before = row.map(|row| row.cost);
        let after = state.as_ref().map(|record| hint::cost(&key, record));
        ledger.enter(target, Change { before, after });
    }
    ledger.recover(&recovered.marks);
    Ok(())
}

fn assemble(
    dir: &DataDir,
    node_state: NodeStateFile,
    (files, marks): (Vec<File>, Marks),
    recovery: Recovery,
    options: &Options,
    completions: Arc<dyn Completions>,
) -> Result<Stepped, Error> {
    let shards = dir.founded.shards;
    let through = recovery.log.end();
    let committer =
        Committer::new(recovery.log, options.durability, recovery.ends, recovery.ceiling);
    let shared = Arc::new(Shared::new(committer, completions));
    let space = Arc::new(SpaceWatch::default());
    let limits = Limits {
        table_bytes: options.table_bytes / usize::from(shards),
        group_bytes: max_payload(dir.founded.segment_bytes),
    };
    let (mut stores, mut appliers) = (Vec::new(), Vec::new());
    let (mut mailboxes, mut followers) = (Vec::new(), Vec::new());
    let mut quarantined = Vec::new();
    let over = recovery.tables.into_iter().zip(marks);
    for (shard, (file, (table, marks))) in (0..).zip(files.into_iter().zip(over)) {
        let File { engine, progress, ledger, .. } = file;
        quarantined.extend(file.quarantined);
        let ledger =
            count(&engine, &table, ledger, &marks).map_err(|_| dir.unreadable(shard, &engine))?;
        let mailbox = Arc::new(Mailbox::default());
        appliers.push(Applier::new(
            (shard, shards),
            Arc::clone(&engine),
            Arc::clone(&mailbox),
            Arc::clone(&progress),
            Arc::clone(&shared),
            Arc::clone(&space),
        ));
        followers.push(Follower {
            engine: Arc::clone(&engine),
            path: dir.shard_path(shard),
            progress: Arc::clone(&progress),
            marks: Arc::clone(&marks),
            broken: false,
        });
        mailboxes.push(Arc::clone(&mailbox));
        let store = DiskStore::new(
            (shard, shards),
            limits,
            (table, ledger, marks),
            through,
            engine,
            mailbox,
            progress,
        );
        stores.push(Box::new(store) as Box<dyn Store>);
    }
    let said = (recovery.ceiling, recovery.torn, quarantined);
    let recovered = recovered(dir, &node_state, said);
    let documents = Documents::on_disk(node_state.clone());
    let checkpointer = Checkpointer::new(
        Arc::clone(&shared),
        dir.log_dir(),
        followers,
        node_state,
        space,
        options.checkpoint_bytes,
    );
    let journal = Journal::on_disk(Arc::clone(&shared));
    let steps = Steps { shared, appliers, mailboxes, checkpointer };
    Ok(Stepped { stores, journal, recovered, documents, steps })
}

fn recovered(
    dir: &DataDir,
    node_state: &NodeStateFile,
    (ceiling, torn, quarantined): (Hlc, bool, Vec<PathBuf>),
) -> Recovered {
    let state = node_state.read();
    Recovered {
        start_counter: state.start_counter,
        ceiling,
        document: state.document,
        founded: dir.is_new,
        torn,
        quarantined,
    }
}
