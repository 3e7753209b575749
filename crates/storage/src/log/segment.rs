//! The files of the log: their names, how one is made and how an old one gets a new life.
//!
//! A segment under its final name is always of full length and really written once, because
//! overwriting written space syncs almost twice as fast as growing into it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::log::batch::BLOCK;
use crate::position::Position;

/// Where a segment grows before it has a number.
const UNFINISHED: &str = "unfinished";
const SUFFIX: &str = ".log";

/// The directory of the log.
#[derive(Clone, Debug)]
pub(crate) struct LogDir {
    pub(crate) disk: Arc<dyn Disk>,
    dir: String,
    /// The size of every segment.
    pub(crate) segment_bytes: u64,
}

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Its number, which its name and its batches carry.
    pub(crate) number: u64,
    /// Its file.
    pub(crate) file: Arc<dyn DiskFile>,
}

impl LogDir {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &str, segment_bytes: u64) -> Self {
        assert!(segment_bytes.is_multiple_of(BLOCK) && segment_bytes >= 2 * BLOCK);
        Self { disk, dir: dir.into(), segment_bytes }
    }

    /// Its full path, for messages.
    pub(crate) fn path(&self) -> PathBuf {
        self.disk.path(&self.dir)
    }

    /// The name of a segment on the disk.
    pub(crate) fn name(&self, number: u64) -> String {
        format!("{}/{number:016x}{SUFFIX}", self.dir)
    }

    /// Where segment `number` begins.
    pub(crate) fn start(&self, number: u64) -> Position {
        Position(number * self.segment_bytes)
    }

    /// The segment that `position` lies in; an end on the border belongs to the later one.
    pub(crate) fn segment_of(&self, position: Position) -> u64 {
        position.0 / self.segment_bytes
    }

    /// The numbers of all segments, ascending.
    pub(crate) fn numbers(&self) -> io::Result<Vec<u64>> {
        let parse = |name: &String| u64::from_str_radix(name.strip_suffix(SUFFIX)?, 16).ok();
        Ok(self.disk.list(&self.dir)?.iter().filter_map(parse).collect())
    }

    /// Makes a new segment, full of zeros, durable with its name.
    pub(crate) fn create(&self, number: u64) -> io::Result<Segment> {
        const CHUNK: usize = 1 << 20;
        let unfinished = format!("{}/{UNFINISHED}-{number:x}", self.dir);
        match self.disk.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create(&unfinished)?;
        let filled = file.allocate(self.segment_bytes).and_then(|()| {
            let zeros = vec![0; CHUNK];
            let mut at = 0;
            while at < self.segment_bytes {
                let len = (self.segment_bytes - at).min(CHUNK as u64);
                file.write_at(&zeros[..usize::try_from(len).unwrap_or(CHUNK)], at)?;
                at += len;
            }
            file.sync_data()
        });
        if let Err(error) = filled {
            // Gives back what it took of a full disk; the first error is the one to tell.
            let _ = self.disk.remove(&unfinished);
            return Err(error);
        }
        self.disk.rename(&unfinished, &self.name(number))?;
        self.disk.sync_dir(&self.dir)?;
        Ok(Segment { number, file })
    }

    /// Gives a segment that nobody needs any more its next number. Not durable before
    /// [`sync`](Self::sync); its old batches mean nothing under the new number.
    pub(crate) fn renumber(&self, segment: Segment, number: u64) -> io::Result<Segment> {
        self.disk.rename(&self.name(segment.number), &self.name(number))?;
        Ok(Segment { number, file: segment.file })
    }

    /// Removes a segment. Not durable before [`sync`](Self::sync).
    pub(crate) fn remove(&self, number: u64) -> io::Result<()> {
        self.disk.remove(&self.name(number))
    }

    /// Removes segments that were never finished.
    pub(crate) fn remove_unfinished(&self) -> io::Result<()> {
        for name in self.disk.list(&self.dir)? {
            if name.starts_with(UNFINISHED) {
                self.disk.remove(&format!("{}/{name}", self.dir))?;
            }
        }
        Ok(())
    }

    /// Makes names durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.dir)
    }
}
