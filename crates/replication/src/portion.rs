//! Which of a node's partitions a shard owns. Founded with the node's data directory, and **never**
//! changed after that.

use paravon_ring::{Partition, Shift, shard_of};

/// One of a node's shards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portion {
    number: u16,
    shards: u16,
}

impl Portion {
    /// Of the shard of this number out of so many.
    pub(crate) fn new(number: u16, shards: u16) -> Self {
        Self { number, shards: shards.max(1) }
    }

    /// Its number among the node's shards.
    pub(crate) fn number(self) -> u32 {
        self.number.into()
    }

    /// How many shards the node has, at least one.
    pub(crate) fn shards(self) -> u32 {
        self.shards.into()
    }

    pub(crate) fn owns(self, partition: Partition) -> bool {
        shard_of(partition, self.shards) == self.number
    }

    /// All that it owns, in order.
    pub(crate) fn partitions(self, shift: Shift) -> impl Iterator<Item = Partition> {
        self.partitions_from(0, shift)
    }

    /// Those that it owns from this number on, in order.
    pub(crate) fn partitions_from(
        self,
        from: u32,
        shift: Shift,
    ) -> impl Iterator<Item = Partition> {
        let (number, shards) = (u32::from(self.number), u32::from(self.shards));
        let rounds = from.saturating_sub(number).div_ceil(shards);
        let first = number.saturating_add(rounds.saturating_mul(shards));
        (first..shift.partitions()).step_by(usize::from(self.shards)).map(Partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_of_one_shard() {
        let shift = Shift::new(4).unwrap();
        for shards in 1..=5 {
            for from in 0..=17 {
                for partition in (0..16).map(Partition) {
                    let has = |number| {
                        let portion = Portion::new(number, shards);
                        let found =
                            portion.partitions_from(from, shift).any(|own| own == partition);
                        assert_eq!(found, portion.owns(partition) && partition.0 >= from);
                        found
                    };
                    let owners = (0..shards).filter(|&number| has(number)).count();
                    assert_eq!(owners, usize::from(partition.0 >= from));
                }
            }
        }
    }
}
