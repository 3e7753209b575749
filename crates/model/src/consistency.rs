//! How many replicas a request waits for.

/// A consistency level. What each promises stands in `docs/semantics.md` section 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// One replica: eventual.
    One,
    /// A majority of the replicas: `READ_SEES_ACKED`, `ACK_IS_LATEST`.
    #[default]
    Quorum,
    /// Every replica.
    All,
    /// This many replicas, at least one.
    Count(u8),
}

impl Consistency {
    /// The level that the protocol's `quorum` field means: a number of replicas, where 0 means 1 as
    /// in the Python program. `None` where it is no possible number of replicas.
    #[must_use]
    pub fn from_count(count: u64) -> Option<Self> {
        u8::try_from(count.max(1)).ok().map(Self::Count)
    }

    /// How many of `replicas` must answer. May be larger than `replicas` for [`Consistency::Count`]:
    /// the caller refuses that.
    #[must_use]
    pub fn needed(self, replicas: usize) -> usize {
        match self {
            Self::One => 1,
            Self::Quorum => majority(replicas),
            Self::All => replicas,
            Self::Count(count) => usize::from(count),
        }
    }
}

/// The smallest number of which any two groups among so many share one.
#[must_use]
pub const fn majority(count: usize) -> usize {
    count / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_quorums_always_meet() {
        for replicas in 1..=7 {
            assert!(2 * Consistency::Quorum.needed(replicas) > replicas);
            assert!(Consistency::Quorum.needed(replicas) <= replicas);
        }
    }

    #[test]
    fn a_count_of_zero_means_one_as_it_always_did() {
        assert_eq!(Consistency::from_count(0), Some(Consistency::Count(1)));
        assert_eq!(Consistency::from_count(256), None);
    }
}
