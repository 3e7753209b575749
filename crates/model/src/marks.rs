//! What a replica remembers of a partition beside its records.

use crate::hlc::Hlc;

/// The durable marks of a partition at one replica (semantics, section 9). The times only rise:
/// `floor <= full <= closed`. A version is at or below one where its time is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// At or below it tombstones and expired records are dropped, everywhere.
    pub floor: Hlc,
    /// At or below it this replica holds everything that any replica holds.
    pub full: Hlc,
    /// At or below it nothing is stored any more but what this replica pulls.
    pub closed: Hlc,
    /// Whether the file that held the partition was lost (`NO_SILENT_ROT`).
    pub damage: Damage,
}

/// Whether a replica counts for a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Damage {
    /// It does.
    #[default]
    None,
    /// It counts in no quorum and is not pulled from, until it was healed.
    Lost,
}
