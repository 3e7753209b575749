//! From a list of operations to what may be on the disk after a crash in the middle of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Operation;
use super::image::{FileId, Image, parent};

/// The smallest piece that a disk writes as a whole.
const SECTOR: usize = 512;

/// What survives of the operations that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// None of it: the power failed before the cache was written back.
    Nothing,
    /// All of it: only the process died.
    Everything,
    /// All of it, but of the last write only this many thousandths.
    TornLast(u16),
    /// Any sectors of it in any order, and a first part of the names, chosen by the seed.
    Scattered(u64),
}

/// Follows a list of operations and knows at every point what is durable.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    durable: Image,
    names: Vec<Operation>,
    contents: BTreeMap<FileId, Vec<Operation>>,
    last: Option<FileId>,
}

impl Replay {
    /// Begins with a disk on which everything is durable.
    #[must_use]
    pub fn new(durable: Image) -> Self {
        Self { durable, ..Self::default() }
    }

    /// Follows one operation.
    pub fn step(&mut self, operation: &Operation) {
        match operation {
            Operation::Write { file, .. } | Operation::SetLen { file, .. } => {
                self.contents.entry(*file).or_default().push(operation.clone());
                self.last = Some(*file);
            }
            Operation::Sync { file } => {
                for pending in self.contents.remove(file).unwrap_or_default() {
                    self.durable.apply(&pending);
                }
            }
            Operation::Corrupt { .. } => self.durable.apply(operation),
            Operation::FailedSync { file } => {
                self.contents.remove(file);
            }
            Operation::SyncDir { dir } => {
                let (synced, rest) = self.names.drain(..).partition(|op| directory(op) == dir);
                self.names = rest;
                let synced: Vec<Operation> = synced;
                synced.iter().for_each(|op| self.durable.apply(op));
            }
            Operation::Create { .. }
            | Operation::CreateDir { .. }
            | Operation::Rename { .. }
            | Operation::Remove { .. } => self.names.push(operation.clone()),
        }
    }

    /// What the disk holds after a crash here.
    #[must_use]
    pub fn crash(&self, survival: Survival) -> Image {
        let mut image = self.durable.clone();
        match survival {
            Survival::Nothing => {}
            Survival::Everything => self.keep_all(&mut image, 1000),
            Survival::TornLast(thousandths) => self.keep_all(&mut image, thousandths),
            Survival::Scattered(seed) => self.scatter(&mut image, seed),
        }
        // What lies in a directory is lost with the directory's own name.
        image.drop_orphans();
        image
    }

    fn keep_all(&self, image: &mut Image, last_thousandths: u16) {
        self.names.iter().for_each(|op| image.apply(op));
        for (file, operations) in &self.contents {
            for (at, operation) in operations.iter().enumerate() {
                let is_last = self.last == Some(*file) && at + 1 == operations.len();
                match operation {
                    Operation::Write { file, offset, data } if is_last => {
                        let kept = data.len() * usize::from(last_thousandths) / 1000;
                        let data = Arc::from(&data[..kept]);
                        image.apply(&Operation::Write { file: *file, offset: *offset, data });
                    }
                    other => image.apply(other),
                }
            }
        }
    }

    fn scatter(&self, image: &mut Image, seed: u64) {
        let mut random = Random(seed);
        // A journal of the file system keeps the order of names.
        let names = random.below(self.names.len() as u64 + 1);
        self.names.iter().take(usize::try_from(names).unwrap_or(0)).for_each(|op| image.apply(op));
        for operation in self.contents.values().flatten() {
            match operation {
                Operation::Write { file, offset, data } => {
                    for (at, sector) in data.chunks(SECTOR).enumerate() {
                        if random.below(2) == 0 {
                            let offset = offset + (at * SECTOR) as u64;
                            let data = Arc::from(sector);
                            image.apply(&Operation::Write { file: *file, offset, data });
                        }
                    }
                }
                other if random.below(2) == 0 => image.apply(other),
                _ => {}
            }
        }
    }

    /// What survives of a file's contents alone when everything does: for a test of the disk.
    #[must_use]
    pub fn is_durable(&self, file: FileId) -> bool {
        !self.contents.contains_key(&file)
    }
}

fn directory(operation: &Operation) -> &str {
    match operation {
        Operation::Create { name, .. }
        | Operation::CreateDir { name }
        | Operation::Remove { name } => parent(name),
        Operation::Rename { to, .. } => parent(to),
        _ => "",
    }
}

/// The splitmix64 generator: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
