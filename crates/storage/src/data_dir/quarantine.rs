//! A shard's file that cannot be used is set aside, and a new one founded in its place.
//!
//! ```text
//! shard-00.marks says that every partition is lost          what is served from here on is marked so
//! shard-00.redb  ->  shard-00.redb.quarantined-1            nothing is deleted
//! node.state: the file holds nothing of the log
//! shard-00.redb.new, founded  ->  shard-00.redb
//! ```
//! Each step is durable before the next. A crash in between leaves the bad file in its place, or none
//! and one that was set aside: the next start does it all again. No new file ever has its name before
//! the marks say what was lost (`NO_SILENT_ROT`).
//!
//! Never because a disk could not be read or written: the file may be whole, and one hiccup of a storage
//! that several nodes share would cost every replica.

use std::io;
use std::path::PathBuf;

use redb::Durability;

use super::{DATA, DataDir, shard_name};
use crate::engine::{Engine, EngineError};
use crate::error::Error;
use crate::hint::{DirtyMark, Marked};
use crate::hint_ledger::Ledger;
use crate::hint_table::HintTable;
use crate::marks_file::MarksFile;
use crate::node_state::{NodeState, NodeStateFile};
use crate::position::Position;
use crate::small_file::{aside, failed, remove_if_there};

/// A shard's file, open.
pub(crate) struct ShardFile {
    /// The file.
    pub(crate) engine: Engine,
    /// It holds the log before this.
    pub(crate) applied: Position,
    /// Its hints, counted.
    pub(crate) ledger: Ledger,
    /// Where the file lies whose place it has taken just now.
    pub(crate) quarantined: Option<PathBuf>,
}

/// What a shard's file may take in memory and on the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardLimits {
    /// redb's cache.
    pub(crate) cache_bytes: usize,
    /// Hints.
    pub(crate) hint_bytes: u64,
}

impl DataDir {
    /// Opens a shard's file, which must hold the log before what `node_state` says of it. One that does
    /// not, or that is damaged as a whole, is quarantined.
    ///
    /// # Errors
    /// [`Error::Io`] where the disk has failed, whatever is in the file: nothing was quarantined for it.
    pub(crate) fn open_shard(
        &self,
        shard: u16,
        limits: ShardLimits,
        node_state: &NodeStateFile,
        marks: &MarksFile,
    ) -> Result<ShardFile, Error> {
        let state = node_state.read();
        let held = state.held[usize::from(shard)];
        let problem = match self.open_file(shard, held, limits) {
            Err(problem @ Error::DamagedShard { .. }) => problem,
            Err(problem @ Error::Missing { .. }) if self.was_cut_short(shard, &state, marks)? => {
                problem
            }
            opened => return opened,
        };
        let quarantined = self.quarantine(shard, node_state, marks)?;
        tracing::error!(
            shard,
            %problem,
            path = %quarantined.display(),
            "a shard's file is set aside; its records are lost here until other nodes have healed them"
        );
        let file = self.open_file(shard, Position::ZERO, limits)?;
        Ok(ShardFile { quarantined: Some(quarantined), ..file })
    }

    fn open_file(
        &self,
        shard: u16,
        held: Position,
        limits: ShardLimits,
    ) -> Result<ShardFile, Error> {
        let name = shard_name(DATA, shard);
        let (engine, applied) = Engine::open(&*self.disk, &name, limits.cache_bytes)?;
        if applied < held {
            // Whole, but of an earlier time: a restored copy, or redb went back to an older header.
            return Err(Error::DamagedShard { path: self.shard_path(shard), source: None });
        }
        let mut ledger = Ledger::new(limits.hint_bytes);
        engine.count_hints(&mut ledger).map_err(|_| self.unreadable(shard, &engine))?;
        Ok(ShardFile { engine, applied, ledger, quarantined: None })
    }

    /// Why a shard's file cannot be read, where redb has just failed to: the disk, or what is in it.
    pub(crate) fn unreadable(&self, shard: u16, engine: &Engine) -> Error {
        match engine.take_failure() {
            Some(source) => failed(&*self.disk, &shard_name(DATA, shard), "read", source),
            None => Error::DamagedShard { path: self.shard_path(shard), source: None },
        }
    }

    /// Whether a shard has no file because a quarantine was cut short.
    fn was_cut_short(
        &self,
        shard: u16,
        state: &NodeState,
        marks: &MarksFile,
    ) -> Result<bool, Error> {
        let index = usize::from(shard);
        // The state knows of the marks no sooner than the old file is set aside, and the new one holds
        // nothing before its first checkpoint. Behind that a file that is gone is another matter, though
        // the one that was set aside is there still.
        let is_under_way =
            state.held[index] == Position::ZERO || marks.edition() > state.editions[index];
        let has_begun = marks.lock().quarantines > 0;
        Ok(is_under_way && has_begun && self.last_set_aside(shard)?.is_some())
    }

    /// The number of the file of a shard that was set aside last.
    fn last_set_aside(&self, shard: u16) -> Result<Option<u32>, Error> {
        let names = self.disk.list(DATA).map_err(|e| failed(&*self.disk, DATA, "listed", e))?;
        let prefix = quarantined_name("", shard, "");
        let prefix = prefix.trim_start_matches('/');
        let numbers = names.iter().filter_map(|name| name.strip_prefix(prefix)?.parse().ok());
        Ok(numbers.max())
    }

    /// Sets the file of a shard aside and founds a new one. Where the old one lies then.
    fn quarantine(
        &self,
        shard: u16,
        node_state: &NodeStateFile,
        marks: &MarksFile,
    ) -> Result<PathBuf, Error> {
        let (disk, name) = (&*self.disk, shard_name(DATA, shard));
        // Never the number of a file that is there, though the marks have never counted it.
        let last = self.last_set_aside(shard)?.unwrap_or(0);
        let (number, targets) = {
            let mut marks = marks.lock();
            marks.quarantine(last);
            (marks.quarantines, marks.targets.clone())
        };
        let edition = marks.save()?;
        let mut quarantined = quarantined_name(DATA, shard, &number.to_string());
        match disk.rename(&name, &quarantined) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                quarantined = quarantined_name(DATA, shard, &last.to_string());
            }
            Err(error) => return Err(failed(disk, &name, "renamed", error)),
        }
        disk.sync_dir(DATA).map_err(|e| failed(disk, DATA, "synced", e))?;
        node_state.update(|state| {
            state.held[usize::from(shard)] = Position::ZERO;
            state.editions[usize::from(shard)] = edition;
        })?;
        // Whatever hints the file held: its targets lack them now (`HINT_NOT_LOST`).
        let dirty = targets.into_iter().map(|target| DirtyMark { target, arc: DirtyMark::ALL });
        self.found_anew(&name, dirty)?;
        Ok(disk.path(&quarantined))
    }

    /// Founds a shard's file with these marks and gives it its name, durably.
    fn found_anew(&self, name: &str, dirty: impl Iterator<Item = DirtyMark>) -> Result<(), Error> {
        let (disk, new) = (&*self.disk, aside(name));
        remove_if_there(disk, &new).map_err(|e| failed(disk, &new, "removed", e))?;
        Engine::found(disk, &new)?;
        let mut table = HintTable::default();
        dirty.for_each(|mark| table.recover_mark(mark, Marked::Dirty));
        let (engine, _) = Engine::open(disk, &new, 1 << 20)?;
        let marked =
            engine.apply_hints(std::iter::empty(), Some(&table.freeze()), Durability::Immediate);
        drop(engine);
        marked.map_err(|error| match error {
            EngineError::Full => Error::Full { path: disk.path(&new) },
            EngineError::Broken => failed(
                disk,
                &new,
                "founded",
                io::Error::other("redb failed and takes nothing more"),
            ),
        })?;
        disk.rename(&new, name).map_err(|e| failed(disk, name, "renamed", e))?;
        disk.sync_dir(DATA).map_err(|e| failed(disk, DATA, "synced", e))
    }
}

fn quarantined_name(dir: &str, shard: u16, number: &str) -> String {
    format!("{}.quarantined-{number}", shard_name(dir, shard))
}
