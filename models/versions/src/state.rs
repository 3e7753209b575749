//! The state of the model: replicas, with what coordinators know about each, and the operations of
//! clients.
//!
//! One key in one layout. A put and a delete behave alike here: both are a record with a version.
//! Replicas are interchangeable, so what coordinators know about a replica stands with the replica,
//! and states are compared with the replicas sorted.

use std::fmt;

pub(crate) const REPLICAS: usize = 5;
pub(crate) const WRITES: usize = 3;
pub(crate) const READS: usize = 3;

/// `8 * time + write`: unique. Zero is "absent".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version(u8);

impl Version {
    pub(crate) const ABSENT: Self = Self(0);

    pub(crate) fn stamped(time: u8, write: u8) -> Self {
        Self(time * 8 + write)
    }

    /// A stamp of the same write past both.
    pub(crate) fn past(self, other: Self) -> Self {
        Self::stamped(self.max(other).0 / 8 + 1, self.write())
    }

    /// The write that it belongs to.
    pub(crate) fn write(self) -> u8 {
        self.0 % 8
    }

    pub(crate) fn is_absent(self) -> bool {
        self == Self::ABSENT
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_absent() {
            return formatter.write_str("-");
        }
        write!(formatter, "{}@{}", char::from(b'a' + self.write()), self.0 / 8)
    }
}

/// Where reads begin among operations.
const FIRST_READ: u8 = 3;

/// The place of a read among operations; a write has its number.
pub(crate) fn read_operation(read: u8) -> u8 {
    FIRST_READ + read
}

/// A set of operations: writes, then reads from [`FIRST_READ`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Operations(u8);

impl Operations {
    pub(crate) fn contains(self, operation: u8) -> bool {
        self.0 >> operation & 1 == 1
    }

    pub(crate) fn insert(&mut self, operation: u8) {
        self.0 |= 1 << operation;
    }

    pub(crate) fn remove(&mut self, operation: u8) {
        self.0 &= !(1 << operation);
    }
}

/// Which stamp of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    First,
    Second,
}

/// One replica, what it answered, and the hint that is kept for it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Replica {
    pub(crate) durable: Version,
    /// The newest version that it took, at or above `durable`.
    pub(crate) memory: Version,
    /// Writes whose first stamp was newer than what it had, since the last crash.
    pub(crate) applied: Operations,
    /// Answers to the first stamps. Those to second stamps need no place: both `acknowledged` and
    /// `superseded` count, and what is durable stays.
    pub(crate) acknowledged: Operations,
    pub(crate) superseding: Operations,
    pub(crate) refused: Operations,
    /// Writes that were not sent to it, because it was known to be down.
    pub(crate) skipped: Operations,
    /// Copies that came, of first and of second stamps; where each comes once.
    pub(crate) received: [Operations; 2],
    /// Answers to reads.
    pub(crate) answers: [Option<Version>; READS],
    /// Writes for which a hint was kept.
    pub(crate) hinted: Operations,
    /// The newest hint that the coordinator keeps for it.
    pub(crate) hint: Version,
    /// The hint on its way to it.
    pub(crate) replayed: Version,
}

/// How far a write is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum WritePhase {
    #[default]
    Idle,
    FirstStamp,
    SecondStamp,
    Acknowledged,
    Unknown,
    Refused,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub(crate) phase: WritePhase,
    pub(crate) first: Version,
    pub(crate) second: Version,
    /// The largest version answered to the first stamp.
    pub(crate) largest: Version,
    /// The stamp that the client was told is written.
    pub(crate) told: Version,
    /// What had ended before it began.
    pub(crate) before: Operations,
}

impl Write {
    pub(crate) fn last(self) -> Version {
        self.first.max(self.second)
    }

    pub(crate) fn version(self, stamp: Stamp) -> Version {
        match stamp {
            Stamp::First => self.first,
            Stamp::Second => self.second,
        }
    }

    pub(crate) fn is_under_way(self) -> bool {
        matches!(self.phase, WritePhase::FirstStamp | WritePhase::SecondStamp)
    }
}

/// How far a read is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum ReadPhase {
    #[default]
    Idle,
    Asking,
    WritingBack,
    Answered,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Read {
    pub(crate) phase: ReadPhase,
    /// What it answers.
    pub(crate) winner: Version,
    pub(crate) before: Operations,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) replicas: [Replica; REPLICAS],
    pub(crate) writes: [Write; WRITES],
    pub(crate) reads: [Read; READS],
    pub(crate) crashes_left: u8,
    pub(crate) refusals_left: u8,
}

impl State {
    pub(crate) fn write(&self, write: u8) -> Write {
        self.writes[usize::from(write)]
    }

    pub(crate) fn write_mut(&mut self, write: u8) -> &mut Write {
        &mut self.writes[usize::from(write)]
    }

    pub(crate) fn read(&self, read: u8) -> Read {
        self.reads[usize::from(read)]
    }

    pub(crate) fn read_mut(&mut self, read: u8) -> &mut Read {
        &mut self.reads[usize::from(read)]
    }
}
