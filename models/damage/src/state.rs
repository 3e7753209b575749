//! The state of the model: one partition on a few replicas, a read, a put, and what clients were
//! told.
//!
//! Everything is small and copied whole, because millions of states are kept.

use std::fmt;

use explorer::{Node, NodeSet};

use crate::properties::Promise;

/// Replicas that a world has room for.
pub(crate) const REPLICAS: usize = 5;
/// Keys of the partition, which share its marks.
pub(crate) const KEYS: usize = 2;
/// Versions that a world has room for, with zero.
pub(crate) const VERSIONS: usize = 9;

/// A stamp, and in worlds where time runs also the instant at which it was taken. Zero is "absent".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version(pub(crate) u8);

impl Version {
    pub(crate) const ABSENT: Self = Self(0);

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(crate) fn is_absent(self) -> bool {
        self == Self::ABSENT
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "v{}", self.0)
    }
}

/// Some versions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct VersionSet(u16);

impl VersionSet {
    pub(crate) fn insert(&mut self, version: Version) {
        self.0 |= 1 << version.0;
    }

    pub(crate) fn contains(self, version: Version) -> bool {
        self.0 >> version.0 & 1 == 1
    }
}

/// The marks of a replica: `floor <= full <= closed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Marks {
    pub(crate) closed: Version,
    pub(crate) full: Version,
    pub(crate) floor: Version,
}

/// What a replica was told of another's marks.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Heard {
    pub(crate) closed: Version,
    pub(crate) full: Version,
}

/// A scan of another replica that takes several steps. In memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Pull {
    pub(crate) source: Node,
    pub(crate) key: u8,
    /// What was read of this key and is not stored yet.
    pub(crate) read: Option<Version>,
    /// Whether it makes the source count as pulled: begun after everyone was known to be closed.
    pub(crate) counts: bool,
}

/// The healing of a damaged key. In memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Healing {
    pub(crate) key: u8,
    pub(crate) asked: NodeSet,
    pub(crate) newest: Version,
    /// The largest floor at which somebody answered "absent".
    pub(crate) absent_at: Version,
}

/// The return of a replica that lost its marks. In memory.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Returning {
    pub(crate) asked: NodeSet,
    pub(crate) closed: Version,
}

/// A replica of the partition.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    pub(crate) records: [Version; KEYS],
    pub(crate) marks: Marks,
    /// Members pulled since all were known to be closed. In memory.
    pub(crate) pulled: NodeSet,
    pub(crate) pull: Option<Pull>,
    pub(crate) damaged: [bool; KEYS],
    pub(crate) healing: Option<Healing>,
    /// Until it has marks again it stores and answers nothing.
    pub(crate) returning: Option<Returning>,
    /// In worlds where what others say of their marks is remembered; in others it is known at once.
    pub(crate) heard: [Heard; REPLICAS],
}

impl Replica {
    pub(crate) fn record(&self, key: u8) -> Version {
        self.records[usize::from(key)]
    }

    pub(crate) fn set_record(&mut self, key: u8, version: Version) {
        self.records[usize::from(key)] = version;
    }

    pub(crate) fn is_damaged(&self, key: u8) -> bool {
        self.damaged[usize::from(key)]
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.returning.is_none() && !self.damaged.contains(&true)
    }
}

/// A quorum read that has begun.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Read {
    pub(crate) key: u8,
    /// Acknowledged or read before it began.
    pub(crate) required: Version,
    pub(crate) answered: NodeSet,
    /// Who is known to hold the winner.
    pub(crate) holders: NodeSet,
    pub(crate) winner: Version,
    /// The largest floor at which somebody answered "absent".
    pub(crate) absent_at: Version,
    /// The largest floor answered.
    pub(crate) floor: Version,
}

/// How far the put is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum PutPhase {
    #[default]
    Idle,
    FirstStamp,
    SecondStamp,
    /// Whatever the client was told; copies of both stamps may still arrive.
    Ended,
}

/// A put of key 0 that may be stamped a second time.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Put {
    pub(crate) phase: PutPhase,
    /// Acknowledged or read before it began.
    pub(crate) required: Version,
    pub(crate) second: Version,
    /// Who answered the last stamp, and who of them counts as an acknowledgement.
    pub(crate) answered: NodeSet,
    pub(crate) acknowledged: NodeSet,
    pub(crate) largest: Version,
}

/// A store that a replica admitted and that is not durable yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Admission {
    pub(crate) node: Node,
    pub(crate) version: Version,
}

/// All but the replicas: what clients do and were told, what is on its way, and time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Outside {
    /// Every version that some replica ever stored.
    pub(crate) stored: VersionSet,
    /// Who acknowledged a write that is not acknowledged to its client yet.
    pub(crate) holders: [NodeSet; VERSIONS],
    /// The largest version that a client was told is written, by key.
    pub(crate) acknowledged: [Version; KEYS],
    /// The largest version that a client read, by key.
    pub(crate) seen: [Version; KEYS],
    pub(crate) read: Option<Read>,
    pub(crate) put: Put,
    pub(crate) admission: Option<Admission>,
    pub(crate) reads_left: u8,
    pub(crate) damages_left: u8,
    pub(crate) now: u8,
    /// The promise that the last action broke.
    pub(crate) broken: Option<Promise>,
}

impl Outside {
    /// What a read or write of the key that begins now must not fall behind.
    pub(crate) fn required(&self, key: u8) -> Version {
        let key = usize::from(key);
        self.acknowledged[key].max(self.seen[key])
    }

    pub(crate) fn acknowledge(&mut self, key: u8, version: Version) {
        let acknowledged = &mut self.acknowledged[usize::from(key)];
        *acknowledged = version.max(*acknowledged);
    }
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) replicas: [Replica; REPLICAS],
    pub(crate) outside: Outside,
}

impl State {
    pub(crate) fn replica(&self, node: Node) -> &Replica {
        &self.replicas[node.index()]
    }

    pub(crate) fn replica_mut(&mut self, node: Node) -> &mut Replica {
        &mut self.replicas[node.index()]
    }
}
