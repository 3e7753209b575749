//! What replicas compare instead of their records: sums of record hashes, by sixteenths of a partition
//! (`CONVERGES_AFTER_HEAL`). Equal sums mean equal content, but for one chance in 2^128.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::marks::Marks;

/// How many sums a partition has.
pub const PARTS: usize = 16;

/// The wrapping sums of the hashes of all records of a partition, tombstones included, by the four bits
/// of the key hash behind those that number the partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub [u128; PARTS]);

impl Digest {
    /// The sum over the whole partition.
    #[must_use]
    pub fn total(&self) -> u128 {
        self.0.iter().fold(0, |total, sum| total.wrapping_add(*sum))
    }
}

/// How much of a partition is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// All of it.
    Whole,
    /// One of its [`PARTS`], from 0.
    Sixteenth(u8),
}

/// Every `modulus`-th partition: those whose number leaves `residue`. The shards of a node divide its
/// partitions so, and two nodes may have different numbers of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// At least 1.
    pub modulus: u32,
    /// Less than the modulus.
    pub residue: u32,
}

impl Class {
    /// Whether the partition of this number is of it.
    #[must_use]
    pub const fn contains(self, partition: u32) -> bool {
        partition % self.modulus == self.residue
    }
}

/// What is to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Totals of the partitions of a class that asker and asked both store, in either set, added up
    /// (wrapping) in folds: fold `i` covers the partitions `residue + j * modulus` for `j` from
    /// `i << span` up to, not including, `(i + 1) << span`.
    Folds {
        /// Which partitions. The modulus is a multiple of the numbers of shards at both ends.
        class: Class,
        /// How many partitions of the class one fold covers, as a power of two.
        span: u8,
        /// The first fold that is wanted.
        first: u32,
        /// How many, up to [`MAX_FOLDS`](crate::limits::MAX_FOLDS).
        count: u16,
    },
    /// The sums of one partition.
    Digest {
        /// Its number in the document's `2^shift`.
        partition: u32,
    },
    /// The marks of the partitions of a class that asker and asked both store.
    Marks {
        /// Which partitions, as for [`Compare::Folds`].
        class: Class,
        /// Only those that have changed since; all, where this is not of the run that answers.
        since: Moment,
        /// Only partitions from this number on.
        first: u32,
    },
}

/// A moment in the life of a shard's marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Another one at each start and each layout. Zero is before all.
    pub run: u64,
    /// Changes in it.
    pub changes: u64,
}

/// What an answer says of the partitions that it does not list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// Nothing has changed since the moment that was asked about.
    Unchanged,
    /// They have no marks.
    Unmarked,
}

/// What it was compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// As many as were asked for. None for a fold with a partition that is not summed up (the node has
    /// begun lately), or that holds damage.
    Folds(Vec<Option<u128>>),
    /// The sums of the partition; none as above.
    Digest(Option<Box<Digest>>),
    /// Marks told under the fence of the request: the answerer admits nothing that they exclude, durably.
    Marks {
        /// Ascending by partition, up to [`MAX_MARKS`](crate::limits::MAX_MARKS). None of a partition
        /// that awaits `closed`, of which nothing may be said.
        marks: Vec<(u32, Option<Marks>)>,
        /// What this says of the partitions from the first wanted up to `next` that are not listed.
        unlisted: Unlisted,
        /// The partition to go on with; none at the end.
        next: Option<u32>,
        /// When they were so.
        moment: Moment,
    },
    /// Nothing: the node has so many shards, which the modulus of the class is no multiple of.
    Shards(u16),
}
