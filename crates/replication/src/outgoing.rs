//! The parts of a shard that an operation sends through, apart from the operations themselves.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Command, Hlc, Key, Ordinal, Record, ReplicaRequest, Version};
use paravon_ring::{KeyHash, Layout, Partition, Sets};

use crate::event::{Effect, Hint, Now};
use crate::floors::Floors;
use crate::handoff::Handoffs;
use crate::marks::droppable_at;
use crate::mutants::{self, Mutant};
use crate::operations::OperationId;
use crate::peers::{Peers, Reach};
use crate::stores::{Droppable, Stores, Waiter};

/// Where the effects of one step go.
pub(crate) struct Outgoing<'a> {
    pub(crate) now: Now,
    pub(crate) layout: &'a Layout,
    pub(crate) peers: &'a Peers,
    pub(crate) stores: &'a mut Stores,
    pub(crate) handoffs: &'a mut Handoffs,
    pub(crate) floors: &'a Floors,
    pub(crate) out: &'a mut Vec<Effect>,
}

impl<'a> Outgoing<'a> {
    /// The nodes that store a key.
    pub(crate) fn sets(&self, hash: KeyHash) -> Sets<'a> {
        self.layout.sets(hash.partition(self.layout.shift()))
    }

    pub(crate) fn own(&self) -> Ordinal {
        self.peers.own()
    }

    pub(crate) fn reach(&self, peer: Ordinal) -> Reach {
        self.peers.reach(peer)
    }

    /// As [`reach`](Self::reach), for a key: this node's own replica is waited for where it is new and
    /// has not taken `closed` yet.
    pub(crate) fn reach_of(&self, peer: Ordinal, hash: KeyHash) -> Reach {
        match self.reach(peer) {
            Reach::Linked if peer == self.own() && self.awaits_closed(hash) => Reach::Unlinked,
            reach => reach,
        }
    }

    fn awaits_closed(&self, hash: KeyHash) -> bool {
        self.floors.awaits_closed(self.partition(hash))
    }

    fn partition(&self, hash: KeyHash) -> Partition {
        hash.partition(self.layout.shift())
    }

    /// The floor that this node claims for a key.
    pub(crate) fn floor(&self, hash: KeyHash) -> Hlc {
        self.floors.claimed(self.partition(hash))
    }

    /// Whether the own replica takes nothing of this version any more, whoever brings it.
    pub(crate) fn is_full_at(&self, hash: KeyHash, version: Version) -> bool {
        self.floors.is_full_at(self.partition(hash), version)
    }

    /// Merges a record into the store of this node. A write or hint at or below `closed` is looked up
    /// instead, for whoever sent it: it may be held already.
    pub(crate) fn store(&mut self, waiter: Waiter, hash: KeyHash, key: Key, record: Record) {
        let partition = self.partition(hash);
        let sender = match waiter {
            Waiter::Hint(_) if mutants::is(Mutant::HintBelowClosed) => None,
            Waiter::Write(id) | Waiter::Hint(id) => Some(id),
            _ => None,
        };
        if let Some(operation) = sender.filter(|_| !self.floors.admits(partition, record.version)) {
            return self.out.push(Effect::Read { operation, hash, key });
        }
        let droppable = droppable_at(&record).map(|at| Droppable { partition, at });
        let operation = self.stores.begin_storing(waiter, hash, droppable);
        self.out.push(Effect::Store { operation, hash, key, record });
    }

    /// Asks another replica. The request carries the fence and the time that is left.
    pub(crate) fn ask(
        &mut self,
        to: Ordinal,
        operation: OperationId,
        deadline: Duration,
        command: Command,
    ) {
        let time_left = deadline.saturating_sub(self.now.monotonic);
        let request = ReplicaRequest { fence: self.layout.fence(), time_left, command };
        self.out.push(Effect::Send { to, operation, request });
    }

    /// Keeps a record for a replica that lacks it.
    pub(crate) fn keep_hint(&mut self, target: Ordinal, hint: Hint) {
        self.handoffs.kept(self.now.monotonic, target);
        self.out.push(Effect::KeepHint { target, hint });
    }
}
