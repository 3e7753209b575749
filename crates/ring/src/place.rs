//! From a key to its hash, its partition and the shard of a node that owns it.
//!
//! These numbers are on every disk and in every layout: they never change.

use paravon_model::limits::MAX_SHIFT;
use paravon_model::{Key, PARTS, Part};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The position of a key on the ring: 64-bit xxh3 of its encoded form, keyed by the layout's seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// The hash of `key` in a cluster founded with `seed`.
    #[must_use]
    pub fn of(key: &Key, seed: u64) -> Self {
        Self(xxh3_64_with_seed(key.encoded(), seed))
    }

    /// The partition whose arc of the ring holds this hash.
    #[must_use]
    pub fn partition(self, shift: Shift) -> Partition {
        let number = self.0 >> (u64::BITS - u32::from(shift.0));
        Partition(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// Which of the [`PARTS`] of its partition holds this hash.
    #[must_use]
    pub fn sixteenth(self, shift: Shift) -> usize {
        let number = (self.0 << shift.0) >> (u64::BITS - PARTS.trailing_zeros());
        usize::try_from(number).unwrap_or_default()
    }
}

/// The number of partitions as a power of two: 2^1 to 2^24. Fixed when a cluster is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift(u8);

impl Shift {
    /// The published default: 65,536 partitions.
    pub const DEFAULT: Self = Self(16);
    /// The smallest shift.
    pub const MIN: u8 = 1;
    /// The largest shift.
    pub const MAX: u8 = MAX_SHIFT;

    /// The checked shift; `None` outside `MIN..=MAX`.
    #[must_use]
    pub fn new(shift: u8) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&shift).then_some(Self(shift))
    }

    /// The exponent.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(self) -> u32 {
        1 << self.0
    }
}

/// One of `2^shift` equal arcs of the ring: the unit of placement, repair and transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u32);

impl Partition {
    /// The hashes that a partition of this shift holds.
    #[must_use]
    pub fn arc(self, shift: Shift) -> HashArc {
        let width = u64::BITS - u32::from(shift.0);
        let first = u64::from(self.0) << width;
        HashArc { first: KeyHash(first), last: KeyHash(first | ((1 << width) - 1)) }
    }

    /// The hashes of a part of it. There is none past the sixteenth one: an empty arc.
    #[must_use]
    pub fn part(self, shift: Shift, part: Part) -> HashArc {
        let whole = self.arc(shift);
        let Part::Sixteenth(number) = part else { return whole };
        if usize::from(number) >= PARTS {
            return HashArc { first: KeyHash(1), last: KeyHash(0) };
        }
        let width = u64::BITS - u32::from(shift.0) - PARTS.trailing_zeros();
        let first = whole.first.0 | (u64::from(number) << width);
        HashArc { first: KeyHash(first), last: KeyHash(first | ((1 << width) - 1)) }
    }
}

/// A row of hashes on the ring. Never goes past the end of the numbers to their beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashArc {
    /// The first hash in it.
    pub first: KeyHash,
    /// The last hash in it. Nothing is in it where that lies before the first.
    pub last: KeyHash,
}

impl HashArc {
    /// All of the ring.
    pub const ALL: Self = Self { first: KeyHash(0), last: KeyHash(u64::MAX) };

    /// Whether `hash` is in it.
    #[must_use]
    pub fn contains(self, hash: KeyHash) -> bool {
        (self.first..=self.last).contains(&hash)
    }
}

/// The shard of a node, of `shards`, that owns `partition`.
#[must_use]
pub fn shard_of(partition: Partition, shards: u16) -> u16 {
    let shard = partition.0 % u32::from(shards.max(1));
    u16::try_from(shard).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frozen: a different number here means that every stored key has moved.
    #[test]
    fn the_place_of_a_key_never_changes() {
        let key = Key::new("default", b"users/souls").expect("a valid key");
        assert_eq!(KeyHash::of(&key, 0), KeyHash(0x7eee_a4fb_5ffa_0e02));
        assert_eq!(KeyHash::of(&key, 7).partition(Shift::DEFAULT), Partition(50_330));
        assert_eq!(shard_of(Partition(65_535), 4), 3);
    }

    #[test]
    fn partitions_are_the_leading_bits() {
        let shift = Shift::new(4).expect("in range");
        assert_eq!(KeyHash(0).partition(shift), Partition(0));
        assert_eq!(KeyHash(u64::MAX).partition(shift), Partition(15));
        assert_eq!(KeyHash(0x1fff_ffff_ffff_ffff).partition(shift), Partition(1));
        assert_eq!(shift.partitions(), 16);
        assert!(Shift::new(0).is_none() && Shift::new(25).is_none());
    }

    #[test]
    fn the_parts_of_a_partition_are_its_arc_in_sixteen() {
        for shift in [1, 16, 24].map(|shift| Shift::new(shift).expect("in range")) {
            let partition = Partition(shift.partitions() - 1);
            let whole = partition.part(shift, Part::Whole);
            assert_eq!(whole, partition.arc(shift));
            let mut next = Some(whole.first.0);
            for number in 0..16 {
                let HashArc { first, last } = partition.part(shift, Part::Sixteenth(number));
                assert_eq!(Some(first.0), next);
                assert_eq!(
                    (first.sixteenth(shift), last.sixteenth(shift)),
                    (number.into(), number.into())
                );
                assert_eq!(last.partition(shift), partition);
                next = last.0.checked_add(1);
            }
            assert_eq!(next, whole.last.0.checked_add(1));
            let none = partition.part(shift, Part::Sixteenth(16));
            assert!(!none.contains(whole.first) && !none.contains(whole.last));
        }
    }

    #[test]
    fn the_arcs_of_all_partitions_are_the_ring() {
        for shift in [1, 4, 10].map(|shift| Shift::new(shift).expect("in range")) {
            let mut next = Some(0);
            for partition in (0..shift.partitions()).map(Partition) {
                let HashArc { first, last } = partition.arc(shift);
                assert_eq!(Some(first.0), next);
                assert_eq!((first.partition(shift), last.partition(shift)), (partition, partition));
                assert!(
                    partition.arc(shift).contains(first) && partition.arc(shift).contains(last)
                );
                assert!(!partition.arc(shift).contains(KeyHash(first.0.wrapping_sub(1))));
                next = last.0.checked_add(1);
            }
            assert_eq!(next, None);
        }
        assert!(HashArc::ALL.contains(KeyHash(0)) && HashArc::ALL.contains(KeyHash(u64::MAX)));
    }
}
