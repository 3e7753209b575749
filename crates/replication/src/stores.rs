//! What the store of this node was asked to merge or to forget, and for whom: the only place where an
//! acknowledgement comes from (`ACK_AFTER_STORE`), and the count of what an earlier layout admitted
//! (`EPOCH_FENCE`).
//!
//! Every [`Effect::Store`](crate::Effect::Store) is in here until its
//! [`Event::Stored`](crate::Event::Stored), and every [`Effect::Forget`](crate::Effect::Forget) until
//! its [`Event::Forgotten`](crate::Event::Forgotten), even when whoever asked for it has ended.

use paravon_model::{Hlc, Version};
use paravon_ring::{KeyHash, Partition};

use crate::event::PeerToken;
use crate::operations::{OperationId, Operations};

/// For whom a record is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A write that this shard coordinates.
    Write(OperationId),
    /// The write-back of a read that this shard coordinates.
    Repair(OperationId),
    /// A hint that this shard hands over to its own store.
    Hint(OperationId),
    /// Another coordinator.
    Peer(PeerToken),
    /// Another coordinator that hands over a hint of this version.
    PeerHint(PeerToken, Version),
    /// A partition that this shard takes over.
    Pulled(OperationId),
    /// A damaged key that this shard brings back.
    Healed(OperationId),
    /// A partition that this shard clears, or drops records of.
    Forget(OperationId),
    /// The marks of a partition.
    Marks(Partition),
}

impl Waiter {
    /// Whether everything else goes first.
    fn yields(self) -> bool {
        match self {
            Self::PeerHint(..)
            | Self::Pulled(_)
            | Self::Healed(_)
            | Self::Marks(_)
            | Self::Forget(_) => true,
            Self::Write(_) | Self::Repair(_) | Self::Hint(_) | Self::Peer(_) => false,
        }
    }
}

#[derive(Debug)]
struct PendingStore {
    waiter: Waiter,
    hash: KeyHash,
    droppable: Option<Droppable>,
    /// The layout that admitted it.
    epoch: u32,
}

/// A record that a floor will let go of, one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Droppable {
    pub(crate) partition: Partition,
    /// The least floor that does.
    pub(crate) at: Hlc,
}

/// The stores under way.
#[derive(Debug)]
pub(crate) struct Stores {
    pending: Operations<PendingStore>,
    /// Counts the layouts since the start.
    epoch: u32,
    /// Stores under way that an earlier layout admitted.
    earlier: usize,
    /// Stores under way for other coordinators.
    asked: usize,
    /// Stores under way that yield to others.
    background: usize,
}

/// What the end of a store means.
pub(crate) struct Ended {
    /// For whom it was.
    pub(crate) waiter: Waiter,
    /// Where on the ring.
    pub(crate) hash: KeyHash,
    /// What is stored, perhaps, and will have to go.
    pub(crate) droppable: Option<Droppable>,
    /// Whether it was the last one that an earlier layout had admitted.
    pub(crate) settled: Settled,
}

/// Whether all stores that earlier layouts admitted have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// They have, just now.
    Now,
    /// Not yet, or long since.
    No,
}

impl Stores {
    pub(crate) fn new() -> Self {
        Self { pending: Operations::new(), epoch: 0, earlier: 0, asked: 0, background: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Stores for other coordinators, hints included.
    pub(crate) fn asked(&self) -> usize {
        self.asked
    }

    /// Stores that hints yield to.
    pub(crate) fn foreground(&self) -> usize {
        self.pending.len() - self.background
    }

    pub(crate) fn begin(&mut self, waiter: Waiter, hash: KeyHash) -> OperationId {
        self.begin_storing(waiter, hash, None)
    }

    /// As [`begin`](Self::begin), of a record that may have to go one day.
    pub(crate) fn begin_storing(
        &mut self,
        waiter: Waiter,
        hash: KeyHash,
        droppable: Option<Droppable>,
    ) -> OperationId {
        self.asked += usize::from(matches!(waiter, Waiter::Peer(_) | Waiter::PeerHint(..)));
        self.background += usize::from(waiter.yields());
        self.pending.insert(PendingStore { waiter, hash, droppable, epoch: self.epoch })
    }

    /// The store has answered; none for one that has answered before.
    pub(crate) fn end(&mut self, id: OperationId) -> Option<Ended> {
        let PendingStore { waiter, hash, droppable, epoch } = self.pending.remove(id)?;
        self.asked -= usize::from(matches!(waiter, Waiter::Peer(_) | Waiter::PeerHint(..)));
        self.background -= usize::from(waiter.yields());
        let mut settled = Settled::No;
        if epoch != self.epoch {
            self.earlier -= 1;
            settled = if self.earlier == 0 { Settled::Now } else { Settled::No };
        }
        Some(Ended { waiter, hash, droppable, settled })
    }

    /// Another layout admits from now on. Says whether nothing of earlier ones is under way.
    pub(crate) fn relayout(&mut self) -> Settled {
        self.epoch = self.epoch.wrapping_add(1);
        self.earlier = self.pending.len();
        self.settled()
    }

    /// Whether nothing that earlier layouts admitted is under way.
    pub(crate) fn settled(&self) -> Settled {
        if self.earlier == 0 { Settled::Now } else { Settled::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paravon_model::{Hlc, Ordinal};

    #[test]
    fn a_layout_is_settled_when_the_last_store_of_all_earlier_ones_has_ended() {
        let mut stores = Stores::new();
        let begin = |stores: &mut Stores, waiter| stores.begin(waiter, KeyHash(0));
        assert_eq!(stores.relayout(), Settled::Now);
        let version = Version { hlc: Hlc::ZERO, ordinal: Ordinal(1) };
        let first = begin(&mut stores, Waiter::Peer(PeerToken(1)));
        assert_eq!(stores.relayout(), Settled::No);
        let second = begin(&mut stores, Waiter::PeerHint(PeerToken(2), version));
        assert_eq!((stores.asked(), stores.foreground()), (2, 1));
        assert_eq!(stores.relayout(), Settled::No);
        let third = begin(&mut stores, Waiter::Peer(PeerToken(3)));
        assert_eq!(stores.end(third).unwrap().settled, Settled::No);
        assert_eq!(stores.end(second).unwrap().settled, Settled::No);
        assert_eq!(stores.end(first).unwrap().settled, Settled::Now);
        assert!(stores.end(first).is_none());
        assert_eq!((stores.asked(), stores.foreground(), stores.len()), (0, 0, 0));
    }
}
