//! Whether requests under the layout in use are admitted (`EPOCH_FENCE`).
//!
//! ```text
//!  Event::Layout of a higher fence --> Settling --> Effect::Settled --> Settled
//!  Event::Admit of that fence      --> Open
//! ```
//!
//! A layout settles when every store and deletion that an earlier one admitted has ended, and when the
//! partitions that it makes this node new to are empty. The node's disk says that it has stored the
//! document only after all of its shards have settled, so that an emptying that a crash cut short can be
//! done again without losing anything. **Never:** admits before that.

use alloc::sync::Arc;

use paravon_ring::Partition;

use crate::mutants::{self, Mutant};

/// Whether a shard may admit requests under the layout that it is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The node has stored that layout's document.
    Stored,
    /// It has not: these partitions, of any shard, are to be emptied first, and then
    /// [`Event::Admit`](crate::Event::Admit) is waited for.
    Empties(Arc<[Partition]>),
    /// Likewise, and the node has stored no document of that generation: what its marks promise was so
    /// in the one before, and is taken back first.
    Rescued(Arc<[Partition]>),
}

/// How far the layout in use is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// What is to end or to be emptied first has not.
    Settling,
    /// All of that is done and told; whether the node has stored the document is for its disk to say.
    Settled,
    /// Requests are admitted.
    Open,
}

/// What stands between a layout and the requests under it.
#[derive(Debug)]
pub(crate) struct Gate(Stage);

/// Whether an admission opened the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opens {
    /// It did.
    Now,
    /// It was open already, or the layout has not settled.
    No,
}

impl Gate {
    /// The layout's document is stored.
    pub(crate) fn open() -> Self {
        Self(Stage::Open)
    }

    /// The layout's document is not stored.
    pub(crate) fn closed() -> Self {
        Self(Stage::Settling)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0 == Stage::Open || mutants::is(Mutant::AdmitsBeforeStored)
    }

    /// Whether the layout has not settled.
    pub(crate) fn is_settling(&self) -> bool {
        self.0 == Stage::Settling
    }

    /// The layout has settled.
    pub(crate) fn settle(&mut self) {
        self.0 = Stage::Settled;
    }

    /// The node has stored the document.
    pub(crate) fn admit(&mut self) -> Opens {
        if self.0 != Stage::Settled {
            return Opens::No;
        }
        self.0 = Stage::Open;
        Opens::Now
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod shard_tests;
