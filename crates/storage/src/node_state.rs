//! `node.state`: the few bytes that belong to the node and not to a shard.
//!
//! Replaced as a whole and atomically, so a reader finds the old state or the new one, never a mix.
//!
//! ```text
//! "PVNS" | format u32 | start counter u64 | ceiling u64 | first segment u64 |
//! shards u16 | held u64 of each shard | document length u32 | document | xxh3-64 of everything before u64
//! ```

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paravon_model::Hlc;
use xxhash_rust::xxh3::xxh3_64;

use crate::disk::{Disk, is_full};
use crate::error::Error;
use crate::position::Position;

const MAGIC: [u8; 4] = *b"PVNS";
const FORMAT: u32 = 1;

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeState {
    /// How often the directory was opened.
    pub(crate) start_counter: u64,
    /// A ceiling of stamps; the log may hold a higher one.
    pub(crate) ceiling: Hlc,
    /// The log before this segment is not needed.
    pub(crate) first_segment: u64,
    /// Of each shard: its file holds the log before this, at least. A file that says less is an older
    /// copy, and what lies between may be gone from the log.
    pub(crate) held: Vec<Position>,
    /// The node's own.
    pub(crate) document: Vec<u8>,
}

impl NodeState {
    fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.document.len()).expect("a document is below 4 GiB");
        let shards = u16::try_from(self.held.len()).expect("shards are counted in 16 bits");
        let mut bytes = Vec::with_capacity(46 + 8 * self.held.len() + self.document.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.extend_from_slice(&self.start_counter.to_be_bytes());
        bytes.extend_from_slice(&self.ceiling.as_u64().to_be_bytes());
        bytes.extend_from_slice(&self.first_segment.to_be_bytes());
        bytes.extend_from_slice(&shards.to_be_bytes());
        self.held.iter().for_each(|held| bytes.extend_from_slice(&held.0.to_be_bytes()));
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&self.document);
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// The state in `bytes`; the format found where it is not ours; nothing where it is damaged.
    fn decode(bytes: &[u8]) -> Result<Self, Option<u32>> {
        let fields = || {
            let (content, checksum) = bytes.split_last_chunk::<8>()?;
            if xxh3_64(content) != u64::from_be_bytes(*checksum) {
                return None;
            }
            let (magic, rest) = content.split_first_chunk::<4>()?;
            let (format, rest) = rest.split_first_chunk::<4>()?;
            (*magic == MAGIC).then_some((u32::from_be_bytes(*format), rest))
        };
        let (format, rest) = fields().ok_or(None)?;
        if format != FORMAT {
            return Err(Some(format));
        }
        let body = || {
            let (start_counter, rest) = rest.split_first_chunk()?;
            let (ceiling, rest) = rest.split_first_chunk()?;
            let (first_segment, rest) = rest.split_first_chunk()?;
            let (&shards, rest) = rest.split_first_chunk()?;
            let bytes = 8 * usize::from(u16::from_be_bytes(shards));
            let (held, rest) = rest.split_at_checked(bytes)?;
            let (held, _) = held.as_chunks();
            let (length, document) = rest.split_first_chunk()?;
            let whole = usize::try_from(u32::from_be_bytes(*length)).ok()? == document.len();
            whole.then(|| Self {
                start_counter: u64::from_be_bytes(*start_counter),
                ceiling: Hlc::from_u64(u64::from_be_bytes(*ceiling)),
                first_segment: u64::from_be_bytes(*first_segment),
                held: held.iter().map(|held| Position(u64::from_be_bytes(*held))).collect(),
                document: document.into(),
            })
        };
        body().ok_or(None)
    }
}

/// The file and what it holds now. Shared by the checkpointer and the node.
#[derive(Clone, Debug)]
pub(crate) struct NodeStateFile {
    disk: Arc<dyn Disk>,
    dir: String,
    name: String,
    state: Arc<Mutex<NodeState>>,
}

impl NodeStateFile {
    /// Writes the first state, in a directory that is being founded.
    pub(crate) fn found(disk: &dyn Disk, dir: &str, state: &NodeState) -> Result<(), Error> {
        let name = file_name(dir);
        replace(disk, dir, &name, state).map_err(|e| failed(disk, &name, "written", e))
    }

    /// Reads the state of a founded directory.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &str) -> Result<Self, Error> {
        let name = file_name(dir);
        let bytes = read_file(&*disk, &name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Missing { path: disk.path(&name) },
            _ => failed(&*disk, &name, "read", error),
        })?;
        let state = NodeState::decode(&bytes).map_err(|found| match found {
            Some(found) => Error::NewerFormat { path: disk.path(&name), found, known: FORMAT },
            None => Error::Damaged { path: disk.path(&name) },
        })?;
        Ok(Self { disk, dir: dir.into(), name, state: Arc::new(Mutex::new(state)) })
    }

    /// Where it lies, for messages.
    pub(crate) fn path(&self) -> PathBuf {
        self.disk.path(&self.name)
    }

    /// What the file holds.
    pub(crate) fn read(&self) -> NodeState {
        self.lock().clone()
    }

    /// Replaces the state by a changed one, durably.
    ///
    /// # Errors
    /// The old state still counts here; on the disk stands one of the two.
    pub(crate) fn update(&self, change: impl FnOnce(&mut NodeState)) -> Result<(), Error> {
        let mut state = self.lock();
        let mut changed = state.clone();
        change(&mut changed);
        replace(&*self.disk, &self.dir, &self.name, &changed)
            .map_err(|e| failed(&*self.disk, &self.name, "replaced", e))?;
        *state = changed;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, NodeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file_name(dir: &str) -> String {
    format!("{dir}/node.state")
}

fn failed(disk: &dyn Disk, name: &str, operation: &'static str, source: io::Error) -> Error {
    let path = disk.path(name);
    if is_full(&source) { Error::Full { path } } else { Error::Io { path, operation, source } }
}

fn read_file(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    /// A document is small; a length beyond this is damage.
    const MAX: u64 = 256 << 20;
    let file = disk.open(name)?;
    let size = usize::try_from(file.size()?.min(MAX)).unwrap_or_default();
    let mut bytes = vec![0; size];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Writes aside, then renames: the name never stands for half a file.
fn replace(disk: &dyn Disk, dir: &str, name: &str, state: &NodeState) -> io::Result<()> {
    let aside = format!("{name}.new");
    match disk.remove(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&aside)?;
    file.write_at(&state.encode(), 0)?;
    file.sync_data()?;
    disk.rename(&aside, name)?;
    disk.sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> NodeState {
        NodeState {
            start_counter: 3,
            ceiling: Hlc::new(1_700_000_000_000, 0),
            first_segment: 9,
            held: vec![Position(9 << 24), Position((9 << 24) + 8192)],
            document: b"layout".to_vec(),
        }
    }

    #[test]
    fn the_frozen_state_of_format_1_is_still_read_and_written() {
        let fixture = include_bytes!("../fixtures/node-state-1.bin");
        assert_eq!(NodeState::decode(fixture), Ok(sample()));
        assert_eq!(sample().encode(), fixture);
    }

    #[test]
    fn no_flipped_bit_and_no_cut_gives_a_state() {
        let bytes = sample().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(NodeState::decode(&flipped), Err(None));
        }
        for len in 0..bytes.len() {
            assert_eq!(NodeState::decode(&bytes[..len]), Err(None));
        }
    }

    #[test]
    fn a_later_format_says_so() {
        let mut bytes = sample().encode();
        bytes.truncate(bytes.len() - 8);
        bytes[7] = 2;
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        assert_eq!(NodeState::decode(&bytes), Err(Some(2)));
    }
}
