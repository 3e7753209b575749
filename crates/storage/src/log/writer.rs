//! Appending to the log and syncing it.
//!
//! After a failed write or sync nothing is ever written again: what the kernel dropped then cannot be
//! known, and a later sync that succeeds would only hide it.

use std::collections::VecDeque;
use std::io;
use std::mem;

use crate::disk::is_full;
use crate::log::batch::{self, HEADER, Header};
use crate::log::segment::{LogDir, Segment};
use crate::position::Position;

/// Segments kept ready, so that rolling over costs nothing on the way of an acknowledgement.
const MIN_SPARES: usize = 2;
/// Old segments kept for another life: what a checkpoint frees at once is soon needed again.
const MAX_SPARES: usize = 8;

/// Why a batch was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// No further segment could be made. Nothing was written; the log goes on.
    Full,
    /// A write or sync failed, now or before. The log never writes again.
    Poisoned,
}

/// The open log. Used by one thread at a time.
#[derive(Debug)]
pub(crate) struct Log {
    dir: LogDir,
    /// Segments before the current one that may hold records that redb lacks.
    older: VecDeque<Segment>,
    current: Segment,
    /// Prepared segments, ascending.
    spares: VecDeque<Segment>,
    next_number: u64,
    /// Where the last batch ended.
    end: Position,
    /// Where the next batch begins in the current segment.
    offset: u64,
    durable: Position,
    /// Where the last seal ended.
    sealed: Position,
    poisoned: bool,
    /// The batch under construction; kept for its memory.
    frame: Vec<u8>,
}

/// Where a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Its first byte.
    pub(crate) begin: Position,
    /// Behind its last.
    pub(crate) end: Position,
}

/// Segments taken out of the log, and the numbers under which it wants segments back.
#[derive(Debug)]
pub(crate) struct Recyclable {
    /// No longer part of the log.
    pub(crate) segments: Vec<Segment>,
    /// For as many of them, and then for new ones.
    pub(crate) wanted: Vec<u64>,
}

impl Log {
    /// The log as recovery found it: everything up to `end` is durable.
    pub(crate) fn resume(
        dir: LogDir,
        mut live: VecDeque<Segment>,
        spares: VecDeque<Segment>,
        end: Position,
        offset: u64,
    ) -> Self {
        let current = live.pop_back().expect("a log has a segment");
        let next_number = spares.back().map_or(current.number, |spare| spare.number) + 1;
        Self {
            dir,
            older: live,
            current,
            spares,
            next_number,
            end,
            offset,
            durable: end,
            sealed: Position::ZERO,
            poisoned: false,
            frame: Vec::new(),
        }
    }

    /// The most payload that one batch holds.
    pub(crate) fn max_payload(&self) -> usize {
        max_payload(self.dir.segment_bytes)
    }

    /// Where the last batch ended.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// Whether a write or sync has failed.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Refuses everything from now on.
    pub(crate) fn poison(&mut self) {
        self.poisoned = true;
    }

    /// Writes one batch of `parts`. Not durable before [`sync`](Self::sync).
    pub(crate) fn append<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Written, AppendError> {
        let mut frame = mem::take(&mut self.frame);
        frame.clear();
        frame.resize(HEADER, 0);
        parts.for_each(|part| frame.extend_from_slice(part));
        assert!(frame.len() - HEADER <= self.max_payload(), "a batch fits into a segment");
        let result = self.append_frame(&mut frame);
        self.frame = frame;
        result
    }

    fn append_frame(&mut self, frame: &mut Vec<u8>) -> Result<Written, AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        let size = batch::padded(frame.len() as u64);
        if self.offset + size > self.dir.segment_bytes {
            self.roll_over()?;
        }
        let position = Position(self.dir.start(self.current.number).0 + self.offset);
        let header = Header {
            segment: self.current.number,
            position,
            follows: self.end,
            durable: self.durable,
        };
        batch::seal(frame, &header);
        if self.current.file.write_at(frame, self.offset).is_err() {
            self.poisoned = true;
            return Err(AppendError::Poisoned);
        }
        self.offset += size;
        self.end = Position(position.0 + size);
        Ok(Written { begin: position, end: self.end })
    }

    /// Makes everything appended durable.
    pub(crate) fn sync(&mut self) -> Result<Position, AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        if self.durable < self.end {
            if self.current.file.sync_data().is_err() {
                self.poisoned = true;
                return Err(AppendError::Poisoned);
            }
            self.durable = self.end;
        }
        Ok(self.durable)
    }

    /// Writes an empty batch that says that everything before it was durable, unless the last one is
    /// that. Without it damage to the last batch would look like a torn tail at the next start.
    pub(crate) fn seal(&mut self) -> Result<(), AppendError> {
        self.sync()?;
        if self.sealed < self.end {
            self.append(std::iter::empty())?;
            self.sealed = self.sync()?;
        }
        Ok(())
    }

    /// Goes on in the next segment. The old one is synced first, so that a sync of the current one
    /// is always enough.
    fn roll_over(&mut self) -> Result<(), AppendError> {
        self.sync()?;
        let next = match self.spares.pop_front() {
            Some(spare) => spare,
            None => {
                let number = self.next_number;
                self.next_number += 1;
                self.dir.create(number).map_err(|error| self.cannot_grow(&error))?
            }
        };
        assert!(next.number > self.current.number, "numbers only rise");
        self.older.push_back(mem::replace(&mut self.current, next));
        self.offset = 0;
        Ok(())
    }

    fn cannot_grow(&mut self, error: &io::Error) -> AppendError {
        if is_full(error) {
            return AppendError::Full;
        }
        self.poisoned = true;
        AppendError::Poisoned
    }

    /// The oldest segment that holds anything at or after `needed`.
    pub(crate) fn first_segment(&self, needed: Position) -> u64 {
        let wanted = self.dir.segment_of(needed);
        let kept = self.older.iter().map(|segment| segment.number).find(|&n| n >= wanted);
        kept.unwrap_or(self.current.number)
    }

    /// Takes out the segments before `first`, and reserves numbers for those that get another life
    /// and for the spares that are missing even so.
    pub(crate) fn retire(&mut self, first: u64) -> Recyclable {
        let old = self.older.iter().take_while(|segment| segment.number < first).count();
        let segments: Vec<Segment> = self.older.drain(..old).collect();
        let kept = segments.len().min(MAX_SPARES.saturating_sub(self.spares.len()));
        let count = kept.max(MIN_SPARES.saturating_sub(self.spares.len())) as u64;
        let wanted = (self.next_number..self.next_number + count).collect();
        self.next_number += count;
        Recyclable { segments, wanted }
    }

    /// Adds a prepared segment. Gives it back if the log has passed its number in the meantime.
    pub(crate) fn add_spare(&mut self, segment: Segment) -> Option<Segment> {
        let last = self.spares.back().map_or(self.current.number, |spare| spare.number);
        if segment.number <= last {
            return Some(segment);
        }
        self.spares.push_back(segment);
        None
    }
}

/// The most payload that one batch holds in segments of this size.
pub(crate) fn max_payload(segment_bytes: u64) -> usize {
    usize::try_from(segment_bytes).unwrap_or(usize::MAX) - HEADER
}
