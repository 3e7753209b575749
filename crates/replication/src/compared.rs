//! Being asked to compare what is durable here, by another replica of the same partitions.
//!
//! **Never:** tells anything of a partition that the asker does not store, or before this node has
//! stored the layout (`EPOCH_FENCE`), and never has more comparisons under way than a limit.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::{Class, Compare, Compared, Digest, Failure, Fence, Ordinal, ReplicaReply};
use paravon_ring::Partition;

use crate::counterparts::of_class;
use crate::event::{Effect, Now, PeerToken};
use crate::folds::Folds;
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::shard::Shard;

/// Comparisons of other members under way, past which they are refused.
const MAX_ASKED_COMPARES: usize = 256;

/// When a refused member may try again.
const RETRY_AFTER_MS: u64 = 50;

/// A comparison of another member, on its way through the store of this node.
#[derive(Debug)]
pub(crate) struct AskedCompare {
    from: Ordinal,
    token: PeerToken,
    /// The layout that admitted it.
    fence: Fence,
    wanted: Wanted,
}

#[derive(Debug)]
enum Wanted {
    Digest(Partition),
    /// Over the totals of these partitions.
    Folds(Folds, Arc<[Partition]>),
}

impl Shard {
    /// A member asks, under the fence of this node, which has stored it.
    pub(crate) fn asked_compare(
        &mut self,
        from: Ordinal,
        token: PeerToken,
        compare: Compare,
        out: &mut Vec<Effect>,
    ) {
        if self.asked_compares >= MAX_ASKED_COMPARES {
            let failure = Failure::Overloaded { retry_after_ms: RETRY_AFTER_MS };
            return tell_compared(token, Err(failure), out);
        }
        match compare {
            Compare::Digest { partition } => {
                self.asked_digest(from, token, Partition(partition), out);
            }
            Compare::Folds { class, span, first, count } => {
                if !self.owns_class(class) {
                    let shards = self.portion.shards();
                    let shards = u16::try_from(shards).unwrap_or(u16::MAX);
                    return tell_compared(token, Ok(Compared::Shards(shards)), out);
                }
                match Folds::new(class, span, first, count) {
                    Some(folds) => self.asked_folds(from, token, folds, out),
                    None => tell_compared(token, Err(Failure::NotReady), out),
                }
            }
            // Told without asking the store: see `telling.rs`.
            Compare::Marks { .. } => {}
        }
    }

    /// Whether all partitions of the class are of this shard. The numbers are a stranger's.
    pub(crate) fn owns_class(&self, class: Class) -> bool {
        let (number, shards) = (self.portion.number(), self.portion.shards());
        class.modulus.is_multiple_of(shards) && class.residue % shards == number
    }

    fn asked_digest(
        &mut self,
        from: Ordinal,
        token: PeerToken,
        partition: Partition,
        out: &mut Vec<Effect>,
    ) {
        if !self.tells(from, partition) || self.floors.awaits_closed(partition) {
            return tell_compared(token, Err(Failure::NotReady), out);
        }
        if self.hides(partition) {
            return tell_compared(token, Ok(Compared::Digest(None)), out);
        }
        let operation = self.begin_asked_compare(from, token, Wanted::Digest(partition));
        out.push(Effect::Digest { operation, partition });
    }

    fn asked_folds(
        &mut self,
        from: Ordinal,
        token: PeerToken,
        folds: Folds,
        out: &mut Vec<Effect>,
    ) {
        let Some(peer) = self.entropy.counterparts.get(from) else {
            return tell_compared(token, Err(Failure::NotReady), out);
        };
        let (shared, range) = (peer.shared(), folds.range(peer.shared()));
        let whole = range.len() == shared.len();
        let asked = if whole { shared.clone() } else { shared[range].into() };
        let partitions = of_class(&asked, folds.class());
        let wanted = Wanted::Folds(folds, partitions.clone());
        let operation = self.begin_asked_compare(from, token, wanted);
        out.push(Effect::Totals { operation, partitions, members: [self.ordinal, from] });
    }

    fn begin_asked_compare(
        &mut self,
        from: Ordinal,
        token: PeerToken,
        wanted: Wanted,
    ) -> OperationId {
        self.asked_compares += 1;
        let fence = self.layout.fence();
        self.begin(Operation::AskedCompare(AskedCompare { from, token, fence, wanted }))
    }

    /// The store of this node has told the sums of a partition for another member.
    pub(crate) fn asked_digest_told(
        &mut self,
        now: Now,
        id: OperationId,
        digest: Option<Box<Digest>>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::AskedCompare(asked)) = self.operations.remove(id) else { return };
        let Wanted::Digest(partition) = asked.wanted else { return };
        let digest = digest.filter(|_| self.floors.is_comparable(partition));
        self.end_asked_compare(now, &asked, Compared::Digest(digest), out);
    }

    /// The store of this node has told totals for another member.
    pub(crate) fn asked_totals_told(
        &mut self,
        now: Now,
        id: OperationId,
        mut totals: Vec<Option<u128>>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::AskedCompare(asked)) = self.operations.remove(id) else { return };
        let Wanted::Folds(folds, partitions) = &asked.wanted else { return };
        self.hide_damage(partitions, &mut totals);
        for (partition, total) in partitions.iter().zip(&mut totals) {
            *total = total.filter(|_| self.floors.is_comparable(*partition));
        }
        let sums = folds.sums(partitions, &totals);
        self.end_asked_compare(now, &asked, Compared::Folds(sums), out);
    }

    fn end_asked_compare(
        &mut self,
        now: Now,
        asked: &AskedCompare,
        compared: Compared,
        out: &mut Vec<Effect>,
    ) {
        self.asked_compares -= 1;
        if asked.fence == self.layout.fence() {
            return tell_compared(asked.token, Ok(compared), out);
        }
        let reply = self.stale(now, asked.from);
        out.push(Effect::Answer { token: asked.token, reply });
    }
}

fn tell_compared(token: PeerToken, answer: Result<Compared, Failure>, out: &mut Vec<Effect>) {
    out.push(Effect::Answer { token, reply: ReplicaReply::Compared { answer } });
}
