//! `node.state`: the few bytes that belong to the node and not to a shard.
//!
//! Replaced as a whole and atomically, so a reader finds the old state or the new one, never a mix.
//!
//! ```text
//! "PVNS" | format u32 | start counter u64 | ceiling u64 | first segment u64 |
//! shards u16 | held u64 of each shard | in format 2: edition u64 of each shard |
//! document length u32 | document | xxh3-64 of everything before u64
//! ```
//! Format 2 is written once a shard has a file of marks: an earlier version would let go of the log
//! without writing them.

use std::io;
use std::iter;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paravon_model::Hlc;
use xxhash_rust::xxh3::xxh3_64;

use crate::disk::Disk;
use crate::error::Error;
use crate::position::Position;
use crate::small_file::{self, failed};

const MAGIC: [u8; 4] = *b"PVNS";
/// Without files of marks.
const FIRST_FORMAT: u32 = 1;
const FORMAT: u32 = 2;

/// A document is small; a length beyond this is damage.
const MAX_BYTES: u64 = 256 << 20;

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
    /// Of each shard: its file of marks has this edition or a later one; 0 where there need be none. What
    /// an earlier one lacks may be gone from the log.
    pub(crate) editions: Vec<u64>,
    /// The node's own.
    pub(crate) document: Vec<u8>,
}

impl NodeState {
    fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.document.len()).expect("a document is below 4 GiB");
        let shards = u16::try_from(self.held.len()).expect("shards are counted in 16 bits");
        let has_marks = self.editions.iter().any(|&edition| edition > 0);
        let format = if has_marks { FORMAT } else { FIRST_FORMAT };
        let mut bytes = Vec::with_capacity(46 + 16 * self.held.len() + self.document.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&format.to_be_bytes());
        bytes.extend_from_slice(&self.start_counter.to_be_bytes());
        bytes.extend_from_slice(&self.ceiling.as_u64().to_be_bytes());
        bytes.extend_from_slice(&self.first_segment.to_be_bytes());
        bytes.extend_from_slice(&shards.to_be_bytes());
        self.held.iter().for_each(|held| bytes.extend_from_slice(&held.0.to_be_bytes()));
        if has_marks {
            assert_eq!(self.editions.len(), self.held.len(), "each shard has one of both");
            self.editions
                .iter()
                .for_each(|edition| bytes.extend_from_slice(&edition.to_be_bytes()));
        }
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
        if !(FIRST_FORMAT..=FORMAT).contains(&format) {
            return Err(Some(format));
        }
        let body = || {
            let (start_counter, rest) = rest.split_first_chunk()?;
            let (ceiling, rest) = rest.split_first_chunk()?;
            let (first_segment, rest) = rest.split_first_chunk()?;
            let (&shards, rest) = rest.split_first_chunk()?;
            let shards = usize::from(u16::from_be_bytes(shards));
            let (held, rest) = rest.split_at_checked(8 * shards)?;
            let marked = if format == FIRST_FORMAT { 0 } else { shards };
            let (editions, rest) = rest.split_at_checked(8 * marked)?;
            let (held, _) = held.as_chunks();
            let (editions, _) = editions.as_chunks();
            let editions = editions.iter().map(|edition| u64::from_be_bytes(*edition));
            let (length, document) = rest.split_first_chunk()?;
            let whole = usize::try_from(u32::from_be_bytes(*length)).ok()? == document.len();
            whole.then(|| Self {
                start_counter: u64::from_be_bytes(*start_counter),
                ceiling: Hlc::from_u64(u64::from_be_bytes(*ceiling)),
                first_segment: u64::from_be_bytes(*first_segment),
                held: held.iter().map(|held| Position(u64::from_be_bytes(*held))).collect(),
                editions: editions.chain(iter::repeat_n(0, shards - marked)).collect(),
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
        small_file::replace(disk, dir, &name, &state.encode())
            .map_err(|e| failed(disk, &name, "written", e))
    }

    /// Reads the state of a founded directory.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &str) -> Result<Self, Error> {
        let name = file_name(dir);
        let bytes =
            small_file::read(&*disk, &name, MAX_BYTES).map_err(|error| match error.kind() {
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
        small_file::replace(&*self.disk, &self.dir, &self.name, &changed.encode())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> NodeState {
        NodeState {
            start_counter: 3,
            ceiling: Hlc::new(1_700_000_000_000, 0),
            first_segment: 9,
            held: vec![Position(9 << 24), Position((9 << 24) + 8192)],
            editions: vec![0, 0],
            document: b"layout".to_vec(),
        }
    }

    #[test]
    fn the_frozen_state_of_format_1_is_still_read_and_written() {
        let fixture = include_bytes!("../fixtures/node-state-1.bin");
        assert_eq!(NodeState::decode(fixture), Ok(sample()));
        assert_eq!(sample().encode(), fixture);
    }

    fn marked() -> NodeState {
        NodeState { editions: vec![7, 0], ..sample() }
    }

    #[test]
    fn the_frozen_state_of_format_2_is_still_read_and_written() {
        let fixture = include_bytes!("../fixtures/node-state-2.bin");
        assert_eq!(NodeState::decode(fixture), Ok(marked()));
        assert_eq!(marked().encode(), fixture);
    }

    #[test]
    fn no_flipped_bit_and_no_cut_gives_a_state() {
        for bytes in [sample().encode(), marked().encode()] {
            none_of_its_bits_can_flip(&bytes);
        }
    }

    fn none_of_its_bits_can_flip(bytes: &[u8]) {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
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
        bytes[7] = 3;
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        assert_eq!(NodeState::decode(&bytes), Err(Some(3)));
    }
}
