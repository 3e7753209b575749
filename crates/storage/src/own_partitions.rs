//! The partitions of one shard: those that leave its number when divided by the number of shards.
//!
//! Never says which of them the node stores: that is the layout's to say.

use paravon_ring::{HashArc, Partition, Shift, shard_of};

/// The partitions of a shard, which number `0, 1, 2, ..` for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnPartitions {
    shift: Shift,
    shard: u16,
    shards: u16,
}

impl OwnPartitions {
    /// Those of `shard`, one of `shards`.
    pub(crate) fn new(shift: Shift, (shard, shards): (u16, u16)) -> Self {
        Self { shift, shard, shards: shards.max(1) }
    }

    /// How many partitions the ring has, as a power of two.
    pub(crate) fn shift(self) -> Shift {
        self.shift
    }

    /// How many there are.
    pub(crate) fn count(self) -> usize {
        let before = u32::from(self.shard);
        let count = self.shift.partitions().saturating_sub(before).div_ceil(self.shards.into());
        usize::try_from(count).expect("as many as fit into an address space")
    }

    /// Which of them a partition is, from 0; none where it belongs to another shard.
    pub(crate) fn index(self, partition: Partition) -> Option<usize> {
        let is_own =
            partition.0 < self.shift.partitions() && shard_of(partition, self.shards) == self.shard;
        is_own.then(|| usize::try_from(partition.0 / u32::from(self.shards)).ok()).flatten()
    }

    /// Those that lie in `arc` as a whole, ascending.
    pub(crate) fn within(self, arc: HashArc) -> impl Iterator<Item = Partition> {
        let (first, last) = (arc.first.partition(self.shift), arc.last.partition(self.shift));
        let (step, shard) = (u32::from(self.shards), u32::from(self.shard));
        // The first own one at or behind the first that the arc touches.
        let begin = first.0 + (shard + step - first.0 % step) % step;
        let own = (begin..=last.0).step_by(usize::from(self.shards)).map(Partition);
        own.filter(move |partition| {
            let whole = partition.arc(self.shift);
            arc.first <= whole.first && whole.last <= arc.last
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paravon_ring::KeyHash;

    fn own(shift: u8, shard: u16, shards: u16) -> OwnPartitions {
        OwnPartitions::new(Shift::new(shift).unwrap(), (shard, shards))
    }

    #[test]
    fn the_shards_divide_the_partitions() {
        for shards in [1, 2, 3, 7, 40] {
            let mut counted = 0;
            for shard in 0..shards {
                let own = own(5, shard, shards);
                let indexes: Vec<usize> =
                    (0..40).filter_map(|number| own.index(Partition(number))).collect();
                assert_eq!(indexes, (0..own.count()).collect::<Vec<_>>());
                assert_eq!(own.within(HashArc::ALL).count(), own.count());
                assert!(own.within(HashArc::ALL).all(|partition| own.index(partition).is_some()));
                counted += own.count();
            }
            assert_eq!(counted, 32);
        }
    }

    #[test]
    fn a_partition_lies_within_an_arc_only_as_a_whole() {
        let own = own(4, 1, 3);
        let arc = |first: u32, last: u32| HashArc {
            first: Partition(first).arc(own.shift()).first,
            last: Partition(last).arc(own.shift()).last,
        };
        let within = |arc| own.within(arc).map(|partition| partition.0).collect::<Vec<_>>();
        assert_eq!(within(HashArc::ALL), [1, 4, 7, 10, 13]);
        assert_eq!(within(arc(4, 10)), [4, 7, 10]);
        assert_eq!(within(arc(5, 6)), []);
        let cut = HashArc { first: KeyHash(arc(4, 4).first.0 + 1), ..arc(4, 7) };
        assert_eq!(within(cut), [7]);
        let cut = HashArc { last: KeyHash(arc(7, 7).last.0 - 1), ..arc(4, 7) };
        assert_eq!(within(cut), [4]);
    }
}
