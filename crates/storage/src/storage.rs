//! Opening and closing a node's storage as a whole.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use paravon_model::Hlc;

use crate::error::Error;
use crate::host_disk::HostDisk;
use crate::journal::Journal;
use crate::memory_store::MemoryStore;
use crate::node_state::NodeStateFile;
use crate::options::Options;
use crate::steps::Stepped;
use crate::store::{Completions, Store};
use crate::threads::Threads;

/// A node's storage, open: the stores go to the event loops, the rest stays with the node.
pub struct Storage {
    /// One store per shard, by number.
    pub stores: Vec<Box<dyn Store>>,
    /// The way to the log.
    pub journal: Journal,
    /// What the data directory said.
    pub recovered: Recovered,
    /// Replaces the node's document.
    pub documents: Documents,
    /// Ends the storage threads.
    pub closer: Closer,
}

/// What was found in the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// How often this directory has been opened, this time included.
    pub start_counter: u64,
    /// Everything that this node ever stamped is at or below it.
    pub ceiling: Hlc,
    /// The node's document.
    pub document: Vec<u8>,
    /// Whether the directory was founded just now.
    pub founded: bool,
    /// Whether the log ended in writes that were never acknowledged, which were cut off.
    pub torn: bool,
    /// Where the files of shards lie that could not be used and were set aside just now. Every partition
    /// of these shards is marked as lost.
    pub quarantined: Vec<PathBuf>,
}

/// The node's document: small, replaced as a whole, durable when the call returns.
#[derive(Clone)]
pub struct Documents(Option<NodeStateFile>);

impl Documents {
    pub(crate) fn on_disk(file: NodeStateFile) -> Self {
        Self(Some(file))
    }

    /// Stores `document` durably in place of the present one. Blocks for some syncs.
    ///
    /// # Errors
    /// The old document is still there, or after a failed sync either of the two.
    pub fn replace(&self, document: Vec<u8>) -> Result<(), Error> {
        match &self.0 {
            Some(file) => file.update(|state| state.document = document),
            None => Ok(()),
        }
    }
}

/// Ends storage in order. Dropped without [`close`](Self::close), everything is recovered from the
/// log at the next start. The directory stays locked until every [`Journal`], [`Documents`] and store
/// is dropped.
pub struct Closer(Option<Threads>);

impl Closer {
    /// Applies what is durable, makes a last checkpoint and joins all threads, within `patience`.
    /// Takes the stores back, because they hold what is not applied yet.
    ///
    /// # Errors
    /// It took too long or the disk failed. Nothing durable is lost: the next start replays the log.
    pub fn close(self, stores: Vec<Box<dyn Store>>, patience: Duration) -> Result<(), Error> {
        match self.0 {
            Some(threads) => threads.close(stores, patience),
            None => Ok(()),
        }
    }
}

impl Storage {
    /// Opens the data directory, or founds it, and starts the storage threads.
    ///
    /// # Errors
    /// Says what is wrong with the directory and what to do; nothing is running then.
    pub fn open(options: &Options, completions: Arc<dyn Completions>) -> Result<Self, Error> {
        let disk = Arc::new(HostDisk::open(&options.path)?);
        let Stepped { stores, journal, recovered, documents, steps } =
            Stepped::open(disk, options, completions)?;
        let threads = Threads::start(steps, options.durability)?;
        Ok(Self { stores, journal, recovered, documents, closer: Closer(Some(threads)) })
    }

    /// Storage without a disk: `shards` empty stores of `limit_bytes` and `hint_bytes` in all.
    #[must_use]
    pub fn memory(
        shards: u16,
        limit_bytes: usize,
        hint_bytes: u64,
        completions: Arc<dyn Completions>,
    ) -> Self {
        let limit = limit_bytes / usize::from(shards.max(1));
        let hints = hint_bytes / u64::from(shards.max(1));
        let store =
            |shard| Box::new(MemoryStore::new((shard, shards), limit, hints)) as Box<dyn Store>;
        Self {
            stores: (0..shards).map(store).collect(),
            journal: Journal::in_memory(completions),
            recovered: Recovered {
                start_counter: 1,
                ceiling: Hlc::ZERO,
                document: Vec::new(),
                founded: true,
                torn: false,
                quarantined: Vec::new(),
            },
            documents: Documents(None),
            closer: Closer(None),
        }
    }
}
