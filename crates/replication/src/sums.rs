//! The sum that two replicas of a partition compare: equal sums say that they hold the same versions of
//! the same keys.
//!
//! Peers of all versions compare them, so what is hashed **never** changes. It says nothing of values:
//! no two writes have the same version (`VERSION_UNIQUE`).

use alloc::vec::Vec;

use paravon_model::{Key, PartitionSum, Version};
use paravon_ring::KeyHash;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::event::Entry;

/// A sum on its way through the pages of a partition.
#[derive(Clone, Debug)]
pub(crate) struct Summing {
    seed: u64,
    sum: PartitionSum,
    /// Reused from record to record.
    hashed: Vec<u8>,
}

impl Summing {
    /// Of nothing yet, in a cluster with this hash seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, sum: PartitionSum::default(), hashed: Vec::new() }
    }

    pub(crate) fn add(&mut self, key: &Key, version: Version) {
        self.hashed.clear();
        self.hashed.extend_from_slice(key.encoded());
        self.hashed.extend_from_slice(&version.hlc.as_u64().to_be_bytes());
        self.hashed.extend_from_slice(&version.ordinal.0.to_be_bytes());
        let hash = xxh3_128_with_seed(&self.hashed, self.seed);
        self.sum.records += 1;
        self.sum.sum = self.sum.sum.wrapping_add(hash);
    }

    /// Adds a page; gives the place behind which the next one begins, none at the end of the partition.
    pub(crate) fn add_page(&mut self, page: &[Entry]) -> Option<(KeyHash, Key)> {
        page.iter().for_each(|(_, key, record)| self.add(key, record.version));
        page.last().map(|(hash, key, _)| (*hash, key.clone()))
    }

    pub(crate) fn sum(&self) -> PartitionSum {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_cluster::{key, version};

    fn sum(seed: u64, records: &[(&str, u64, u32)]) -> PartitionSum {
        let mut summing = Summing::new(seed);
        for &(name, ms, ordinal) in records {
            summing.add(&key(name), version(ms, ordinal));
        }
        summing.sum()
    }

    /// Frozen: with another number here, nodes of two versions of this program never agree.
    #[test]
    fn sums_never_change() {
        assert_eq!(sum(7, &[]), PartitionSum { records: 0, sum: 0 });
        let one =
            PartitionSum { records: 1, sum: 96_814_042_175_748_755_748_308_560_310_209_999_967 };
        assert_eq!(sum(7, &[("a", 1, 2)]), one);
        let two =
            PartitionSum { records: 2, sum: 26_640_697_016_310_073_483_814_468_869_545_042_519 };
        assert_eq!(sum(7, &[("a", 1, 2), ("b", 3, 4)]), two);
    }

    #[test]
    fn sums_tell_versions_keys_and_clusters_apart_and_no_order() {
        let known = sum(0, &[("a", 1, 1), ("b", 2, 1)]);
        assert_eq!(sum(0, &[("b", 2, 1), ("a", 1, 1)]), known);
        for other in [
            sum(0, &[("a", 2, 1), ("b", 1, 1)]),
            sum(0, &[("a", 1, 1), ("b", 2, 2)]),
            sum(0, &[("a", 1, 1), ("c", 2, 1)]),
            sum(0, &[("a", 1, 1), ("b", 2, 1), ("b", 2, 1)]),
            sum(1, &[("a", 1, 1), ("b", 2, 1)]),
        ] {
            assert_ne!(other, known);
        }
    }
}
