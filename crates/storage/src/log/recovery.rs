//! Reading the log after a start: what is whole is replayed, a torn tail is cut off, damage stops.
//!
//! A bad batch is a torn tail unless a later good one, or the position that a shard's file holds, says
//! that this place had been durable. Cutting
//! is literal: the rest of the segment is zeroed and later batches are removed, durably, before
//! anything is written behind the cut, so that no batch that was cut off can come back.

use std::collections::VecDeque;
use std::io;

use crate::disk::is_full;
use crate::error::Error;
use crate::log::batch::{self, BLOCK, Header};
use crate::log::entry::{BadEntry, Entries, Entry};
use crate::log::segment::{LogDir, Segment};
use crate::log::writer::Log;
use crate::position::Position;

/// What recovery found.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// The log, ready to go on.
    pub(crate) log: Log,
    /// Whether a torn tail was cut off.
    pub(crate) torn: bool,
}

/// Replays the log from segment `first`, giving every entry with the end of its batch to `visit`. The
/// log must reach to `held`, because a shard's file holds it up to there.
pub(crate) fn recover(
    dir: LogDir,
    first: u64,
    held: Position,
    mut visit: impl FnMut(Position, Entry) -> Result<(), BadEntry>,
) -> Result<Replayed, Error> {
    let recovery = Recovery::open(dir, first)?;
    let mut images = Images::default();
    let mut index = 0;
    let mut offset = 0;
    let mut end = None;
    loop {
        let segment = &recovery.segments[index];
        let image = images.load(&recovery, index)?;
        if let Some((header, payload)) = recovery.batch_at(index, image, offset)
            && end.is_none_or(|end| header.follows == end)
        {
            offset += batch::padded((batch::HEADER + payload.len()) as u64);
            let batch_end = Position(recovery.dir.start(segment.number).0 + offset);
            for entry in Entries(payload) {
                let at = header.position.0 % recovery.dir.segment_bytes;
                entry
                    .and_then(|entry| visit(batch_end, entry))
                    .map_err(|bad| recovery.bad_entry(index, at, bad))?;
            }
            end = Some(batch_end);
        } else if let Some(next) = recovery.successor(&mut images, index, end)? {
            (index, offset) = (next, 0);
        } else {
            break;
        }
    }
    let start = recovery.dir.start(recovery.segments[index].number);
    let here = Position(start.0 + offset);
    let torn = recovery.check_tail(&mut images, index, offset, here)?;
    if here < held {
        // Positions would be given out twice, and replay would skip what is written there.
        return Err(recovery.damaged(&mut images, index, offset));
    }
    let image = images.load(&recovery, index)?;
    let dirty = image[usize_of(offset)..].iter().any(|&byte| byte != 0);
    recovery.cut(&mut images, index, offset, dirty, end.unwrap_or(here), torn)
}

struct Recovery {
    dir: LogDir,
    segments: Vec<Segment>,
}

/// One segment at a time in memory.
#[derive(Default)]
struct Images {
    loaded: Option<usize>,
    bytes: Vec<u8>,
}

impl Images {
    /// The contents of a segment.
    fn load(&mut self, recovery: &Recovery, index: usize) -> Result<&[u8], Error> {
        if self.loaded != Some(index) {
            self.loaded = None;
            let file = &recovery.segments[index].file;
            self.bytes.resize(usize_of(recovery.dir.segment_bytes), 0);
            file.read_at(&mut self.bytes, 0).map_err(|e| recovery.io(index, "read", e))?;
            self.loaded = Some(index);
        }
        Ok(&self.bytes)
    }
}

impl Recovery {
    fn open(dir: LogDir, first: u64) -> Result<Self, Error> {
        let failed = |operation, source| Error::Io {
            path: dir.disk.path(&dir.name(first)),
            operation,
            source,
        };
        dir.remove_unfinished().map_err(|e| failed("tidied", e))?;
        let mut segments = Vec::new();
        for number in dir.numbers().map_err(|e| failed("listed", e))? {
            if number < first {
                // A checkpoint ended between noting that nobody needs it and removing it.
                dir.remove(number).map_err(|e| failed("removed", e))?;
                continue;
            }
            let file = dir.disk.open(&dir.name(number)).map_err(|e| failed("opened", e))?;
            let size = file.size().map_err(|e| failed("measured", e))?;
            if size < dir.segment_bytes {
                // A segment has its full length before it has its name: no crash cuts it short.
                let path = dir.disk.path(&dir.name(number));
                return Err(Error::DamagedLog { path, offset: size });
            }
            segments.push(Segment { number, file });
        }
        if segments.first().is_none_or(|segment| segment.number != first) {
            return Err(Error::Missing { path: dir.disk.path(&dir.name(first)) });
        }
        Ok(Self { dir, segments })
    }

    fn batch_at<'a>(
        &self,
        index: usize,
        image: &'a [u8],
        offset: u64,
    ) -> Option<(Header, &'a [u8])> {
        let number = self.segments[index].number;
        let (header, payload) = batch::parse(image.get(usize_of(offset)..)?)?;
        let here = Position(self.dir.start(number).0 + offset);
        (header.segment == number && header.position == here).then_some((header, payload))
    }

    /// The later segment in which the log went on behind `end`.
    fn successor(
        &self,
        images: &mut Images,
        index: usize,
        end: Option<Position>,
    ) -> Result<Option<usize>, Error> {
        for later in index + 1..self.segments.len() {
            let image = images.load(self, later)?;
            if let Some((header, _)) = self.batch_at(later, image, 0)
                && Some(header.follows) == end
            {
                return Ok(Some(later));
            }
        }
        Ok(None)
    }

    /// Looks at everything behind the last good batch: `Ok(true)` for a torn tail, `Ok(false)` for
    /// a clean end.
    fn check_tail(
        &self,
        images: &mut Images,
        index: usize,
        offset: u64,
        end: Position,
    ) -> Result<bool, Error> {
        let mut torn = false;
        for later in index..self.segments.len() {
            let image = images.load(self, later)?;
            let mut at = if later == index { offset } else { 0 };
            while at < self.dir.segment_bytes {
                if let Some((header, _)) = self.batch_at(later, image, at) {
                    torn = true;
                    if header.durable > end {
                        return Err(self.damaged(images, index, offset));
                    }
                }
                at += BLOCK;
            }
        }
        Ok(torn)
    }

    /// Damage behind the last good batch: there, or where the log went on in the next segment.
    fn damaged(&self, images: &mut Images, index: usize, offset: u64) -> Error {
        let at = |index: usize, offset| {
            let path = self.dir.disk.path(&self.dir.name(self.segments[index].number));
            Error::DamagedLog { path, offset }
        };
        let mut began_at = |index: usize, offset: u64| {
            let number = self.segments[index].number;
            let here = Position(self.dir.start(number).0 + offset);
            let image = images.load(self, index);
            image.is_ok_and(|image| batch::began(&image[usize_of(offset)..], number, here))
        };
        let in_full = offset < self.dir.segment_bytes;
        if !(in_full && began_at(index, offset))
            && index + 1 < self.segments.len()
            && began_at(index + 1, 0)
        {
            return at(index + 1, 0);
        }
        at(index, offset)
    }

    fn cut(
        self,
        images: &mut Images,
        index: usize,
        offset: u64,
        dirty: bool,
        end: Position,
        torn: bool,
    ) -> Result<Replayed, Error> {
        if dirty {
            let zeros = vec![0; usize_of(self.dir.segment_bytes - offset)];
            let file = &self.segments[index].file;
            file.write_at(&zeros, offset).map_err(|e| self.io(index, "cut", e))?;
        }
        // What was read may be in the page cache alone, and will be built upon.
        for (i, segment) in self.segments.iter().enumerate().take(index + 1) {
            segment.file.sync_data().map_err(|e| self.io(i, "synced", e))?;
        }
        let mut spares = Vec::new();
        for later in index + 1..self.segments.len() {
            if self.has_own_batch(images, later)? {
                let number = self.segments[later].number;
                self.dir.remove(number).map_err(|e| self.io(later, "removed", e))?;
            } else {
                spares.push(self.segments[later].number);
            }
        }
        self.dir.sync().map_err(|e| self.io(index, "synced", e))?;
        let mut live: VecDeque<Segment> = self.segments.into();
        let mut tail = live.split_off(index + 1);
        tail.retain(|segment| spares.contains(&segment.number));
        Ok(Replayed { log: Log::resume(self.dir, live, tail, end, offset), torn })
    }

    fn has_own_batch(&self, images: &mut Images, index: usize) -> Result<bool, Error> {
        let image = images.load(self, index)?;
        let mut blocks = (0..self.dir.segment_bytes).step_by(usize_of(BLOCK));
        Ok(blocks.any(|at| self.batch_at(index, image, at).is_some()))
    }

    fn bad_entry(&self, index: usize, offset: u64, bad: BadEntry) -> Error {
        let path = self.dir.disk.path(&self.dir.name(self.segments[index].number));
        match bad {
            BadEntry::Newer(tag) => Error::NewerEntry { path, offset, tag },
            BadEntry::Malformed => Error::DamagedLog { path, offset },
        }
    }

    fn io(&self, index: usize, operation: &'static str, source: io::Error) -> Error {
        let path = self.dir.disk.path(&self.dir.name(self.segments[index].number));
        if is_full(&source) { Error::Full { path } } else { Error::Io { path, operation, source } }
    }
}

fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a segment fits into memory")
}
