//! The files of a data directory: founded all at once or not at all, checked at each start.
//!
//! ```text
//! LOCK              held while a process has the directory open
//! data/format       format, number of shards, size of segments: fixed for ever
//! data/node.state   see node_state.rs
//! data/shard-00.redb ...
//! data/shard-00.marks ...  see marks_file.rs; from the first checkpoint on that has any
//! data/shard-00.redb.quarantined-1 ...  files that were damaged; never read
//! data/log/0000000000000001.log ...
//! founding/         the same, half made; never read, removed by the next founding
//! ```
//! A directory without `data` is not founded. Renaming `founding` to `data` is the one step that
//! founds it, so no crash leaves half of it under that name.

mod quarantine;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use paravon_model::Hlc;
use xxhash_rust::xxh3::xxh3_64;

use crate::disk::{Disk, is_full};
use crate::engine::Engine;
use crate::error::Error;
use crate::log::segment::LogDir;
use crate::marks_file::MarksFile;
use crate::node_state::{NodeState, NodeStateFile};
use crate::position::Position;
use crate::small_file::failed;

pub(crate) use quarantine::{ShardFile, ShardLimits};

const DATA: &str = "data";
const FOUNDING: &str = "founding";

/// Whether a data directory was ever founded at this path. Changes nothing.
#[must_use]
pub fn is_founded(path: &Path) -> bool {
    path.join(DATA).is_dir()
}

const MAGIC: [u8; 4] = *b"PVNF";
const FORMAT: u32 = 1;
const FORMAT_BYTES: usize = 4 + 4 + 2 + 8 + 8;

/// The first segment of a founded log.
const FIRST_SEGMENT: u64 = 1;

/// What is fixed when a directory is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Founded {
    /// The number of shards.
    pub(crate) shards: u16,
    /// The size of a log segment.
    pub(crate) segment_bytes: u64,
}

impl Founded {
    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FORMAT_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.extend_from_slice(&self.shards.to_be_bytes());
        bytes.extend_from_slice(&self.segment_bytes.to_be_bytes());
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Option<u32>> {
        let (content, checksum) = bytes.split_last_chunk::<8>().ok_or(None)?;
        let (magic, rest) = content.split_first_chunk::<4>().ok_or(None)?;
        let (format, rest) = rest.split_first_chunk::<4>().ok_or(None)?;
        if xxh3_64(content) != u64::from_be_bytes(*checksum) || *magic != MAGIC {
            return Err(None);
        }
        let format = u32::from_be_bytes(*format);
        if format != FORMAT {
            return Err(Some(format));
        }
        let (shards, rest) = rest.split_first_chunk().ok_or(None)?;
        let segment_bytes = rest.first_chunk().ok_or(None)?;
        Ok(Self {
            shards: u16::from_be_bytes(*shards),
            segment_bytes: u64::from_be_bytes(*segment_bytes),
        })
    }
}

/// A founded directory.
#[derive(Debug)]
pub(crate) struct DataDir {
    disk: Arc<dyn Disk>,
    /// What was fixed at its founding.
    pub(crate) founded: Founded,
    /// Whether that was just now.
    pub(crate) is_new: bool,
}

impl DataDir {
    /// Opens the directory, or founds it as `founded` with `document` where it is empty.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        founded: Founded,
        document: &[u8],
    ) -> Result<Self, Error> {
        let failed = |operation| {
            let disk = Arc::clone(&disk);
            move |source: io::Error| {
                let path = disk.path(FOUNDING);
                match source.kind() {
                    _ if is_full(&source) => Error::Full { path },
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        Error::NotWritable { path, source }
                    }
                    _ => Error::Io { path, operation, source },
                }
            }
        };
        let names = disk.list("").map_err(failed("listed"))?;
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        let is_new = !has(DATA);
        // The process that renamed it may have died before it made the name durable.
        disk.sync_dir("").map_err(failed("synced"))?;
        if has(FOUNDING) {
            disk.remove(FOUNDING).map_err(failed("removed"))?;
            disk.sync_dir("").map_err(failed("synced"))?;
        }
        if is_new {
            disk.create_dir(FOUNDING).map_err(failed("created"))?;
            found_in(&disk, founded, document)?;
            disk.sync_dir(FOUNDING).map_err(failed("synced"))?;
            disk.rename(FOUNDING, DATA).map_err(failed("renamed"))?;
            disk.sync_dir("").map_err(failed("synced"))?;
        }
        let founded = read_format(&*disk)?;
        Ok(Self { disk, founded, is_new })
    }

    /// The node's state.
    pub(crate) fn node_state(&self) -> Result<NodeStateFile, Error> {
        let file = NodeStateFile::open(Arc::clone(&self.disk), DATA)?;
        if file.read().held.len() != usize::from(self.founded.shards) {
            // Of another directory.
            return Err(Error::Damaged { path: file.path() });
        }
        Ok(file)
    }

    /// The log's directory.
    pub(crate) fn log_dir(&self) -> LogDir {
        log_dir(&self.disk, DATA, self.founded.segment_bytes)
    }

    /// Where a shard's file lies, for messages.
    pub(crate) fn shard_path(&self, shard: u16) -> PathBuf {
        self.disk.path(&shard_name(DATA, shard))
    }

    /// What the shards remember beside their records.
    pub(crate) fn marks(&self, node_state: &NodeStateFile) -> Result<Vec<Arc<MarksFile>>, Error> {
        let open = |(shard, least)| {
            MarksFile::open(Arc::clone(&self.disk), DATA, shard, least).map(Arc::new)
        };
        (0..).zip(node_state.read().editions).map(open).collect()
    }
}

fn log_dir(disk: &Arc<dyn Disk>, dir: &str, segment_bytes: u64) -> LogDir {
    LogDir::new(Arc::clone(disk), &format!("{dir}/log"), segment_bytes)
}

fn shard_name(dir: &str, shard: u16) -> String {
    format!("{dir}/shard-{shard:02}.redb")
}

/// Makes everything within `founding`, durable but for the name of `founding` itself.
fn found_in(disk: &Arc<dyn Disk>, founded: Founded, document: &[u8]) -> Result<(), Error> {
    let name = format!("{FOUNDING}/format");
    let failed = |source: io::Error| {
        let path = disk.path(&name);
        if is_full(&source) {
            Error::Full { path }
        } else {
            Error::Io { path, operation: "written", source }
        }
    };
    let write_format = || {
        let file = disk.create(&name)?;
        file.write_at(&founded.encode(), 0)?;
        file.sync_data()?;
        disk.create_dir(&format!("{FOUNDING}/log"))?;
        log_dir(disk, FOUNDING, founded.segment_bytes).create(FIRST_SEGMENT).map(|_| ())
    };
    write_format().map_err(failed)?;
    for shard in 0..founded.shards {
        Engine::found(&**disk, &shard_name(FOUNDING, shard))?;
    }
    let state = NodeState {
        start_counter: 0,
        ceiling: Hlc::ZERO,
        first_segment: FIRST_SEGMENT,
        held: vec![Position::ZERO; usize::from(founded.shards)],
        editions: vec![0; usize::from(founded.shards)],
        document: document.into(),
    };
    NodeStateFile::found(&**disk, FOUNDING, &state)
}

fn read_format(disk: &dyn Disk) -> Result<Founded, Error> {
    let name = format!("{DATA}/format");
    let path = disk.path(&name);
    let file = match disk.open(&name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::Missing { path });
        }
        Err(source) => return Err(Error::NotWritable { path, source }),
    };
    let mut bytes = [0; FORMAT_BYTES];
    if file.size().map_err(|e| failed(disk, &name, "measured", e))? != FORMAT_BYTES as u64 {
        return Err(Error::Damaged { path });
    }
    file.read_at(&mut bytes, 0).map_err(|e| failed(disk, &name, "read", e))?;
    Founded::decode(&bytes).map_err(|found| match found {
        Some(found) => Error::NewerFormat { path, found, known: FORMAT },
        None => Error::Damaged { path },
    })
}
