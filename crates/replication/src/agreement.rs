//! How far the replicas of this shard's partitions agree, for those who watch.
//!
//! **Never:** decides anything.

use core::time::Duration;

use paravon_model::Ordinal;
use paravon_ring::Partition;

use crate::shard::Shard;

/// What anti-entropy knows and has done since the start, in one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Partitions that this shard stores and another member too.
    pub partitions: u64,
    /// Those of them that were never seen to agree with every other replica.
    pub never: u64,
    /// How long ago all of the others were seen to agree at the latest; none where there are none.
    pub oldest: Option<Duration>,
    /// Partitions that differed from another replica when they were last compared, be it for a write
    /// that was under way.
    pub differing: u64,
    /// Records that were pulled from other replicas and stored.
    pub pulled_records: u64,
    /// The bytes of their keys and values.
    pub pulled_bytes: u64,
    /// Sums of other replicas that were compared with own ones.
    pub compared: u64,
}

impl Shard {
    /// How far the replicas of this shard's partitions agree. Looks at all of them.
    #[must_use]
    pub fn agreement(&self, now: Duration) -> Agreement {
        let entropy = &self.entropy;
        let suspects = entropy.counterparts.iter().map(|known| known.suspects.partitions());
        let differing = suspects.reduce(|all, some| &all | &some).unwrap_or_default();
        let mut agreement = Agreement {
            differing: differing.len().try_into().unwrap_or(u64::MAX),
            pulled_records: entropy.mending.records,
            pulled_bytes: entropy.mending.bytes,
            compared: entropy.compared,
            ..Agreement::default()
        };
        for (_, age, _) in self.agreements(now).filter(|(_, _, with)| with.is_some()) {
            agreement.partitions += 1;
            match age {
                Some(age) => agreement.oldest = agreement.oldest.max(Some(age)),
                None => agreement.never += 1,
            }
        }
        agreement
    }

    /// Of every partition that this shard stores, in order, how long ago it was seen to agree with each
    /// other replica at the latest (none where it never was with some), and which replica that waits
    /// for; none where there is no other one.
    pub fn agreements(
        &self,
        now: Duration,
    ) -> impl Iterator<Item = (Partition, Option<Duration>, Option<Ordinal>)> {
        let own = self.ordinal;
        let partitions = self.portion.partitions(self.layout.shift());
        let stored = partitions.filter(|partition| self.stores(*partition));
        stored.map(move |partition| {
            let sets = self.layout.sets(partition);
            let others = sets.all().filter(|member| *member != own);
            let agreed = |peer| (self.entropy.counterparts.agreed_at(partition, peer), peer);
            match others.map(agreed).min() {
                Some((at, peer)) => (partition, at.map(|at| now.saturating_sub(at)), Some(peer)),
                None => (partition, Some(Duration::ZERO), None),
            }
        })
    }
}
