//! The data state machine: one per core, owning the partitions `p % shards == its number`.
//!
//! This file only dispatches; it decides nothing that an operation's own file could decide.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;

use paravon_model::{
    Body, Consistency, Document, Failure, Hlc, Merged, Ordinal, ReplicaReply, Revision, Version,
};
use paravon_ring::{KeyHash, Layout};

use crate::answers::majority;
use crate::clock::{Clock, ClockSettings};
use crate::event::{Effect, Event, Now};
use crate::get::Read;
use crate::handoff::{HandOver, Handoffs};
use crate::hedge::Hedge;
use crate::linger::{Lingerers, Lingering};
use crate::operations::{OperationId, Operations};
use crate::outgoing::Outgoing;
use crate::pace::Pause;
use crate::peers::{PATIENCE, Peers, Reach, Teach};
use crate::put::{NewWrite, Write};
use crate::replica::{AskedRead, tell_stored};
use crate::stores::{Ended, Settled, Stores, Waiter};

/// The driver ticks at least so often while anything is under way, or while there are other members.
const BEAT: Duration = Duration::from_millis(100);

/// Deadlines are looked at no more often than this: it takes a look at every operation.
const LOOK: Duration = Duration::from_millis(20);

/// What a shard is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's number.
    pub ordinal: Ordinal,
    /// Who stores what.
    pub layout: Arc<Layout>,
    /// The clock of this shard.
    pub clock: ClockSettings,
    /// Members for whom the store of this shard keeps hints.
    pub hinted: Vec<Ordinal>,
}

/// The state machine of one shard.
#[derive(Debug)]
pub struct Shard {
    pub(crate) ordinal: Ordinal,
    pub(crate) layout: Arc<Layout>,
    pub(crate) clock: Clock,
    pub(crate) peers: Peers,
    pub(crate) operations: Operations<Operation>,
    /// Merges that the store of this node has not answered, whoever they are for.
    pub(crate) stores: Stores,
    pub(crate) handoffs: Handoffs,
    /// Reads for other coordinators that the store of this node has not answered.
    pub(crate) asked_reads: usize,
    pub(crate) hedge: Hedge,
    pub(crate) lingering: Lingerers,
    /// Writes that the clock could not stamp yet, in the order in which they came.
    pub(crate) waiting_for_ceiling: VecDeque<OperationId>,
    /// Reads begin at another of equally near replicas each time.
    pub(crate) rotation: usize,
    /// When operations are to ask again whoever knew another layout.
    pub(crate) ask_again: Option<Duration>,
    /// When the last tick came, and the last one that looked at deadlines.
    ticked: Duration,
    looked: Option<Duration>,
    /// No operation has an earlier deadline.
    earliest: Option<Duration>,
    /// The latest document that a replica told of.
    learned: Revision,
    /// Members are asked for and told the document no more often than they could answer.
    pub(crate) asked_document: Option<Duration>,
}

/// What a shard has under way.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "slots are reused; a box would be made per read")]
pub(crate) enum Operation {
    Write(Write),
    Read(Read),
    Asked(AskedRead),
    HandOver(HandOver),
}

impl Shard {
    /// A shard with nothing under way, without connections and without a permit to stamp.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            ordinal: settings.ordinal,
            layout: settings.layout,
            clock: Clock::new(settings.clock),
            peers: Peers::new(settings.ordinal),
            operations: Operations::new(),
            stores: Stores::new(),
            handoffs: Handoffs::new(&settings.hinted),
            asked_reads: 0,
            hedge: Hedge::new(),
            lingering: Lingerers::default(),
            waiting_for_ceiling: VecDeque::new(),
            rotation: 0,
            ask_again: None,
            ticked: Duration::ZERO,
            looked: None,
            earliest: None,
            learned: Revision::default(),
            asked_document: None,
        }
    }

    /// Takes one event and appends what is to be done to `out`. Never blocks, never fails.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Put { request, hash, put, deadline } => {
                let (key, body) = (put.key, Body::Live(put.value));
                let (ttl, consistency) = (put.ttl, put.consistency);
                let new = NewWrite { request, deadline, hash, key, body, ttl, consistency };
                self.begin_write(now, new, out);
            }
            Event::Delete { request, hash, delete, deadline } => {
                let (key, consistency) = (delete.key, delete.consistency);
                let (body, ttl) = (Body::Tombstone, None);
                let new = NewWrite { request, deadline, hash, key, body, ttl, consistency };
                self.begin_write(now, new, out);
            }
            Event::Get { request, hash, get, deadline } => {
                self.begin_read(now, request, hash, get, deadline, out);
            }
            Event::Asked { from, token, hash, request } => {
                self.asked(now, from, token, hash, request, out);
            }
            Event::Answered { from, operation, reply } => {
                self.answered(now, from, operation, reply, out);
            }
            Event::Stored { operation, stamp, answer } => {
                self.stored(now, operation, stamp, answer, out);
            }
            Event::Read { operation, answer } => match self.operations.get(operation) {
                Some(Operation::Asked(_)) => self.asked_read(operation, answer, out),
                _ => self.read_answered(now, operation, self.ordinal, answer, out),
            },
            Event::Hints { target, hints } => self.hints_read(now, target, hints, out),
            Event::LinkUp { peer } => {
                self.peers.link_up(peer);
                self.reachable(now, peer, out);
            }
            Event::Alive { peer } => {
                self.peers.alive(peer);
                self.reachable(now, peer, out);
            }
            Event::LinkDown { peer } => self.link_down(now, peer, out),
            Event::Dead { peer } => self.dead(now, peer, out),
            Event::Layout { layout } => self.use_layout(now, layout, out),
            Event::Clock { permit } => self.clock.set_permit(permit),
            Event::CeilingRaised { ceiling } => self.ceiling_raised(now, ceiling, out),
            Event::CeilingRefused { failure } => self.ceiling_refused(&failure, out),
            Event::Tick => self.tick(now, out),
            Event::Stop => {
                self.lingering.stop();
                for id in self.operations.select(Operation::is_coordinated) {
                    match self.operations.get(id) {
                        Some(Operation::Write(_)) => {
                            self.settle_write(now, id, Lingering::Ends, out);
                        }
                        _ => self.stop_read(id),
                    }
                }
            }
        }
    }

    /// Operations under way, those for other coordinators and answered ones included; while there are
    /// any, the shard wants [`Event::Tick`].
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.operations.len() + self.stores.len()
    }

    /// The earliest moment at which [`Event::Tick`] has something to do, in [`Now::monotonic`]; none
    /// while there is nothing. It may have passed already.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        let beats = self.under_way() > 0 || self.layout.members().len() > 1;
        let beat = beats.then(|| self.ticked + BEAT);
        let wakes = [beat, self.hedge.next_wake(), self.handoff_wake(), self.ask_again];
        wakes.into_iter().flatten().min()
    }

    /// A replica has answered what was sent to it.
    fn answered(
        &mut self,
        now: Now,
        from: Ordinal,
        id: OperationId,
        reply: ReplicaReply,
        out: &mut Vec<Effect>,
    ) {
        let Some(operation) = self.operations.get(id) else { return };
        match (operation, reply) {
            (Operation::Write(_), ReplicaReply::Stored { stamp, answer }) => {
                self.write_answered(now, id, from, stamp, answer, out);
            }
            (Operation::Read(_), ReplicaReply::Found { answer }) => {
                self.read_answered(now, id, from, answer, out);
            }
            (Operation::Read(_), ReplicaReply::Stored { stamp, answer }) => {
                self.repair_answered(now, id, from, stamp, &answer, out);
            }
            (Operation::HandOver(_), ReplicaReply::Stored { stamp, answer }) => {
                self.hint_answered(now, id, from, stamp, &answer, out);
            }
            (Operation::Asked(_), _) | (_, ReplicaReply::Found { .. }) => {}
            (_, ReplicaReply::StaleLayout { document }) => {
                self.learn(document, out);
                self.postpone(now, id, from, out);
            }
            (_, ReplicaReply::LaterLayout { .. }) => {
                if self.peers.teach(now.monotonic, from) == Teach::Now {
                    out.push(Effect::Teach { peer: from });
                }
                self.postpone(now, id, from, out);
            }
        }
    }

    fn learn(&mut self, document: Arc<Document>, out: &mut Vec<Effect>) {
        let revision = document.revision();
        if revision > self.layout.document().revision() && revision > self.learned {
            self.learned = revision;
            out.push(Effect::Learn { document });
        }
    }

    /// The replica knows another layout and did nothing (`EPOCH_FENCE`).
    fn postpone(&mut self, now: Now, id: OperationId, from: Ordinal, out: &mut Vec<Effect>) {
        match self.operations.get(id) {
            Some(Operation::Write(_)) => self.postpone_write(now, id, from),
            Some(Operation::Read(_)) => self.postpone_read(now, id, from, out),
            Some(Operation::HandOver(_)) => self.hint_failed(now, id, Pause::Long, out),
            Some(Operation::Asked(_)) | None => {}
        }
    }

    /// Somebody did nothing and is to be asked again, in the time that a document takes to one that
    /// lacks it: ticks may follow one another at once. All who wait are asked together.
    pub(crate) fn ask_again_later(&mut self, now: Now) {
        self.ask_again.get_or_insert(now.monotonic + PATIENCE);
    }

    /// The store of this node has answered: the only source of an acknowledgement
    /// (`ACK_AFTER_STORE`).
    fn stored(
        &mut self,
        now: Now,
        store: OperationId,
        stamp: Version,
        answer: Result<Merged, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Ended { waiter, settled }) = self.stores.end(store) else { return };
        match waiter {
            Waiter::Write(id) => self.write_answered(now, id, self.ordinal, stamp, answer, out),
            Waiter::Repair(id) => self.repair_answered(now, id, self.ordinal, stamp, &answer, out),
            Waiter::Hint(id) => self.hint_answered(now, id, self.ordinal, stamp, &answer, out),
            Waiter::Peer(token) => tell_stored(token, stamp, answer, out),
            Waiter::PeerHint(token, stamp) => tell_stored(token, stamp, answer, out),
        }
        if settled == Settled::Now {
            out.push(Effect::Settled { fence: self.layout.fence() });
        }
    }

    fn reachable(&mut self, now: Now, peer: Ordinal, out: &mut Vec<Effect>) {
        if self.peers.reach(peer) != Reach::Linked {
            return;
        }
        for id in self.operations.select(Operation::is_coordinated) {
            match self.operations.get(id) {
                Some(Operation::Write(_)) => self.send_write(now, id, out),
                _ => self.advance_read(now, id, out),
            }
        }
        self.resume_handoff(now, peer, out);
    }

    fn link_down(&mut self, now: Now, peer: Ordinal, out: &mut Vec<Effect>) {
        self.peers.link_down(peer);
        for id in self.operations.select(Operation::is_coordinated) {
            match self.operations.get(id) {
                Some(Operation::Write(_)) => self.unask_write(now, id, peer, out),
                _ => self.unask_read(now, id, peer, out),
            }
        }
        self.give_up_handoff(peer);
    }

    fn dead(&mut self, now: Now, peer: Ordinal, out: &mut Vec<Effect>) {
        self.peers.dead(peer);
        for id in self.operations.select(Operation::is_coordinated) {
            match self.operations.get(id) {
                Some(Operation::Write(_)) => self.settle_write(now, id, Lingering::GoesOn, out),
                _ => self.unask_read(now, id, peer, out),
            }
        }
        self.give_up_handoff(peer);
    }

    /// A document is durable. Under a higher fence all answers are void, and what was admitted before
    /// must end before the document counts as stored (`EPOCH_FENCE`).
    fn use_layout(&mut self, now: Now, layout: Arc<Layout>, out: &mut Vec<Effect>) {
        let (known, fence) = (self.layout.fence(), layout.fence());
        if layout.document().revision() < self.layout.document().revision() {
            return;
        }
        self.layout = layout;
        let settled = if fence > known { self.stores.relayout() } else { self.stores.settled() };
        if settled == Settled::Now {
            out.push(Effect::Settled { fence });
        }
        if fence <= known {
            return;
        }
        for id in self.operations.select(Operation::is_coordinated) {
            match self.operations.get(id) {
                Some(Operation::Write(_)) => self.relayout_write(now, id, out),
                _ => self.relayout_read(now, id, out),
            }
        }
        self.relayout_handoffs(now, out);
    }

    fn ceiling_raised(&mut self, now: Now, ceiling: Hlc, out: &mut Vec<Effect>) {
        self.clock.ceiling_raised(ceiling);
        for id in core::mem::take(&mut self.waiting_for_ceiling) {
            self.stamp_and_send(now, id, out);
        }
    }

    fn ceiling_refused(&mut self, failure: &Failure, out: &mut Vec<Effect>) {
        self.clock.ceiling_refused();
        for id in core::mem::take(&mut self.waiting_for_ceiling) {
            self.refuse_unstamped(id, failure, out);
        }
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.ticked = now.monotonic;
        self.hedge_reads(now, out);
        if self.looked.is_none_or(|looked| now.monotonic >= looked + LOOK) {
            self.looked = Some(now.monotonic);
            self.peers.forgive(now.monotonic);
            self.expire(now, out);
        }
        if self.ask_again.is_some_and(|again| now.monotonic >= again) {
            self.ask_again = None;
            for id in self.operations.select(Operation::is_coordinated) {
                match self.operations.get(id) {
                    Some(Operation::Write(_)) => self.ask_write_again(now, id, out),
                    _ => self.ask_read_again(now, id, out),
                }
            }
        }
        self.advance_handoffs(now, out);
        // Among others the ceiling is renewed although nothing is written (`DISK_NOT_OLDER`).
        if self.layout.members().len() > 1
            && let Some(ceiling) = self.clock.idle_ceiling(now)
        {
            out.push(Effect::RaiseCeiling { ceiling });
        }
    }

    /// Puts an operation under way, to be ended at its deadline at the latest.
    pub(crate) fn begin(&mut self, operation: Operation) -> OperationId {
        let deadlines = [self.earliest, operation.deadline()];
        self.earliest = deadlines.into_iter().flatten().min();
        self.operations.insert(operation)
    }

    fn expire(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.earliest.is_none_or(|earliest| now.monotonic < earliest) {
            return;
        }
        let next = Cell::new(None);
        let late = |operation: &Operation| {
            let Some(deadline) = operation.deadline() else { return false };
            if deadline > now.monotonic {
                next.set([next.get(), Some(deadline)].into_iter().flatten().min());
            }
            deadline <= now.monotonic
        };
        let late = self.operations.select(late);
        self.earliest = next.get();
        for id in late {
            match self.operations.get(id) {
                Some(Operation::Write(_)) => self.expire_write(now, id, out),
                Some(Operation::Read(_)) => self.expire_read(id, out),
                Some(Operation::HandOver(_)) => self.hint_failed(now, id, Pause::Short, out),
                Some(Operation::Asked(_)) | None => {}
            }
        }
        // While the log stands still nobody else takes them from the queue.
        let operations = &self.operations;
        while self.waiting_for_ceiling.front().is_some_and(|id| operations.get(*id).is_none()) {
            self.waiting_for_ceiling.pop_front();
        }
    }

    /// The operations, and what they are sent through.
    pub(crate) fn split<'a>(
        &'a mut self,
        now: Now,
        out: &'a mut Vec<Effect>,
    ) -> (&'a mut Operations<Operation>, Outgoing<'a>) {
        let Self { operations, layout, peers, stores, handoffs, .. } = self;
        (operations, Outgoing { now, layout, peers, stores, handoffs, out })
    }

    /// The nodes that store a key.
    pub(crate) fn replicas(&self, hash: KeyHash) -> &[Ordinal] {
        self.layout.replicas(hash.partition(self.layout.shift()))
    }

    /// How many replicas an operation on `hash` must hear from.
    ///
    /// A node that is no member any more coordinates nothing.
    pub(crate) fn needed(&self, hash: KeyHash, consistency: Consistency) -> Result<usize, Failure> {
        if self.layout.node_id(self.ordinal).is_none() {
            return Err(Failure::NotReady);
        }
        let replicas = self.replicas(hash).len();
        let needed = match consistency {
            Consistency::Quorum => majority(replicas),
            level => level.needed(replicas),
        };
        let replication_factor = usize::from(self.layout.replication_factor());
        if needed > replication_factor {
            return Err(Failure::TooManyReplicas { needed, replication_factor });
        }
        if needed > replicas {
            return Err(self.unavailable(hash, needed));
        }
        Ok(needed)
    }

    /// Whether enough replicas are not known to be down: else nothing is sent at all.
    pub(crate) fn check_alive(&self, hash: KeyHash, needed: usize) -> Result<(), Failure> {
        let dead = |replica: &&Ordinal| self.peers.reach(**replica) == Reach::Dead;
        let replicas = self.replicas(hash);
        if replicas.len() - replicas.iter().filter(dead).count() < needed {
            return Err(self.unavailable(hash, needed));
        }
        Ok(())
    }

    fn unavailable(&self, hash: KeyHash, needed: usize) -> Failure {
        let replicas = self.replicas(hash);
        let dead: Vec<Ordinal> = replicas
            .iter()
            .copied()
            .filter(|&replica| self.peers.reach(replica) == Reach::Dead)
            .collect();
        let alive = replicas.len() - dead.len();
        let down = dead.iter().filter_map(|&dead| self.layout.node_id(dead).cloned()).collect();
        Failure::QuorumUnavailable { needed, alive, down }
    }
}

impl Operation {
    fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Write(write) => Some(write.deadline),
            Self::Read(read) => Some(read.deadline),
            Self::HandOver(hint) => Some(hint.deadline),
            Self::Asked(_) => None,
        }
    }

    /// Whether it is a client's.
    fn is_coordinated(&self) -> bool {
        matches!(self, Self::Write(_) | Self::Read(_))
    }

    /// Whether it is a read whose client waits.
    pub(crate) fn may_be_late(&self) -> bool {
        matches!(self, Self::Read(read) if read.is_awaited())
    }
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
