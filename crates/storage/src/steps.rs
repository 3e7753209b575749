//! A node's storage put together, without a thread: everything that threads do, as steps.
//!
//! `threads.rs` runs these steps in loops; a simulator calls them in whatever order it likes. Any
//! order is safe: a step that comes late only makes the log longer.

use std::sync::Arc;

use crate::applier::{Applier, Mailbox, Progress, Step};
use crate::checkpoint::{Checkpointer, Follower};
use crate::committer::Committer;
use crate::data_dir::{DataDir, Founded};
use crate::disk::Disk;
use crate::disk_store::{DiskStore, Limits};
use crate::engine::{Engine, EngineError};
use crate::error::Error;
use crate::hint;
use crate::hint_ledger::{Change, Ledger};
use crate::journal::{Journal, Shared};
use crate::log::entry::{BadEntry, Entry};
use crate::log::{max_payload, recover};
use crate::node_state::NodeStateFile;
use crate::options::Options;
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
        let shards = dir.founded.shards;
        let opened = (0..shards).zip(node_state.read().held).map(|(shard, held)| {
            let (engine, applied) =
                dir.open_shard(shard, held, options.cache_bytes / usize::from(shards))?;
            Ok((Arc::new(engine), Arc::new(Progress::new(applied))))
        });
        let files: Files = opened.collect::<Result<_, Error>>()?;
        let log = Recovery::run(&dir, &node_state, &files)?;
        assemble(&dir, node_state, files, log, options, completions)
    }
}

type Files = Vec<(Arc<Engine>, Arc<Progress>)>;

/// What the log held that the files lack.
struct Recovery {
    log: crate::log::Log,
    torn: bool,
    tables: Vec<Table>,
    ends: Vec<crate::position::Position>,
    ceiling: paravon_model::Hlc,
}

impl Recovery {
    fn run(dir: &DataDir, node_state: &NodeStateFile, files: &Files) -> Result<Self, Error> {
        let state = node_state.read();
        let mut tables: Vec<Table> = files.iter().map(|_| Table::default()).collect();
        let mut ends: Vec<_> = files.iter().map(|(_, progress)| progress.durable()).collect();
        let mut ceiling = state.ceiling;
        let held = ends.iter().copied().max().unwrap_or_default();
        let replayed = recover(dir.log_dir(), state.first_segment, held, |end, entry| {
            if let Entry::Ceiling(hlc) = entry {
                ceiling = ceiling.max(hlc);
                return Ok(());
            }
            let shard = entry.shard().map(usize::from).ok_or(BadEntry::Malformed)?;
            let (_, progress) = files.get(shard).ok_or(BadEntry::Malformed)?;
            if progress.durable() < end {
                replay(&mut tables[shard], entry);
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
        Entry::Dirty { mark, .. } => table.hints.recover_mark(mark),
        Entry::Forgotten { hash, key, .. } => table.recover_forgotten(Slot { hash, key }),
        Entry::Ceiling(_) => {}
    }
}

/// Counts the hints of a shard's file and of the table over it.
fn count(engine: &Engine, table: &Table, limit_bytes: u64) -> Result<Ledger, EngineError> {
    let mut ledger = Ledger::new(limit_bytes);
    engine.count_hints(&mut ledger)?;
    let recovered = table.hints.recovered();
    if recovered.is_empty() {
        return Ok(ledger);
    }
    let view = engine.hint_view().map_err(|_| EngineError::Broken)?;
    for (slot, state) in &recovered.slots {
        let Some((target, _, key)) = slot.parts() else { continue };
        let row = engine.read_hint(&view, slot).map_err(|_| EngineError::Broken)?;
        let before = row.map(|row| row.cost);
        let after = state.as_ref().map(|record| hint::cost(&key, record));
        ledger.enter(target, Change { before, after });
    }
    recovered.marks.iter().for_each(|mark| ledger.restore(*mark));
    Ok(ledger)
}

fn assemble(
    dir: &DataDir,
    node_state: NodeStateFile,
    files: Files,
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
    for (shard, ((engine, progress), table)) in (0..).zip(files.into_iter().zip(recovery.tables)) {
        let limit = options.hint_bytes / u64::from(shards);
        let ledger = count(&engine, &table, limit)
            .map_err(|_| Error::DamagedShard { path: dir.shard_path(shard), source: None })?;
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
            broken: false,
        });
        mailboxes.push(Arc::clone(&mailbox));
        let store =
            DiskStore::new(shard, limits, (table, ledger), through, engine, mailbox, progress);
        stores.push(Box::new(store) as Box<dyn Store>);
    }
    let state = node_state.read();
    let recovered = Recovered {
        start_counter: state.start_counter,
        ceiling: recovery.ceiling,
        document: state.document,
        founded: dir.is_new,
        torn: recovery.torn,
    };
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
