//! The parts of a shard that an operation sends through, apart from the operations themselves.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Command, Key, Ordinal, Record, ReplicaRequest};
use paravon_ring::{KeyHash, Layout, Sets};

use crate::event::{Effect, Hint, Now};
use crate::handoff::Handoffs;
use crate::operations::OperationId;
use crate::peers::{Peers, Reach};
use crate::stores::{Stores, Waiter};

/// Where the effects of one step go.
pub(crate) struct Outgoing<'a> {
    pub(crate) now: Now,
    pub(crate) layout: &'a Layout,
    pub(crate) peers: &'a Peers,
    pub(crate) stores: &'a mut Stores,
    pub(crate) handoffs: &'a mut Handoffs,
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

    /// Merges a record into the store of this node.
    pub(crate) fn store(&mut self, waiter: Waiter, hash: KeyHash, key: Key, record: Record) {
        let operation = self.stores.begin(waiter, hash);
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
