//! The data state machine: one per core, owning the partitions `p % shards == its number`.
//!
//! This file only dispatches; it decides nothing that an operation's own file could decide.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;

use paravon_model::{
    Body, Consistency, Document, Failure, Fence, Hlc, Key, Marks, Ordinal, ReplicaReply, Revision,
};
use paravon_ring::{KeyHash, Layout, Partition, Sets};

use crate::admission::{Admission, Gate, Opens};
use crate::clock::{Clock, ClockSettings};
use crate::damage::Damage;
use crate::emptying::Emptying;
use crate::entropy::Entropy;
use crate::event::{Effect, Event, Now};
use crate::floors::Floors;
use crate::handoff::Handoffs;
use crate::hedge::Hedge;
use crate::linger::{Lingerers, Lingering};
use crate::mutants::{self, Mutant};
use crate::operation::Operation;
use crate::operations::{OperationId, Operations};
use crate::outgoing::Outgoing;
use crate::pace::Pause;
use crate::peers::{DOCUMENT_PATIENCE, Peers, Reach, Teach};
use crate::portion::Portion;
use crate::put::NewWrite;
use crate::quorum::needed;
use crate::restoring::Restoring;
use crate::stores::{Settled, Stores};
use crate::transfer::Transfer;
use crate::voiding::Voiding;

/// The driver ticks at least so often while anything is under way, or while there are other members.
const BEAT: Duration = Duration::from_millis(100);

/// Deadlines are looked at no more often than this: it takes a look at every operation.
const LOOK: Duration = Duration::from_millis(20);

/// What a shard is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's number.
    pub ordinal: Ordinal,
    /// Which of the node's shards it is.
    pub number: u16,
    /// How many shards the node has; this one owns the partitions `p % shards == number`.
    pub shards: u16,
    /// Who stores what.
    pub layout: Arc<Layout>,
    /// Whether requests may be admitted under that layout.
    pub admission: Admission,
    /// The clock of this shard.
    pub clock: ClockSettings,
    /// Members for whom the store of this shard keeps hints.
    pub hinted: Vec<Ordinal>,
    /// Keys that the store of this shard has marked damaged.
    pub damaged: Vec<(KeyHash, Key)>,
    /// The marks of this shard's partitions, where there are any.
    pub marks: Vec<(Partition, Marks)>,
}

/// The state machine of one shard.
#[derive(Debug)]
pub struct Shard {
    pub(crate) ordinal: Ordinal,
    pub(crate) portion: Portion,
    pub(crate) layout: Arc<Layout>,
    /// Whether requests are admitted under that layout.
    pub(crate) gate: Gate,
    pub(crate) clock: Clock,
    pub(crate) peers: Peers,
    pub(crate) operations: Operations<Operation>,
    /// Merges that the store of this node has not answered, whoever they are for.
    pub(crate) stores: Stores,
    pub(crate) handoffs: Handoffs,
    /// Reads for other coordinators that the store of this node has not answered.
    pub(crate) asked_reads: usize,
    /// Pulls for other members that the store of this node has not answered.
    pub(crate) asked_pulls: usize,
    /// Comparisons for other members that the store of this node has not answered.
    pub(crate) asked_compares: usize,
    pub(crate) emptying: Emptying,
    pub(crate) voiding: Voiding,
    pub(crate) transfer: Transfer,
    pub(crate) damage: Damage,
    pub(crate) restoring: Restoring,
    pub(crate) entropy: Entropy,
    pub(crate) floors: Floors,
    pub(crate) hedge: Hedge,
    pub(crate) lingering: Lingerers,
    /// Writes that the clock could not stamp yet, in the order in which they came.
    pub(crate) waiting_for_ceiling: VecDeque<OperationId>,
    /// Reads begin at another of equally near replicas each time.
    pub(crate) rotation: usize,
    /// When operations are to ask again whoever knew another layout.
    pub(crate) ask_again: Option<Duration>,
    /// When somebody last asked something for which a client may wait.
    pub(crate) served: Option<Duration>,
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

impl Shard {
    /// A shard with nothing under way, without connections and without a permit to stamp.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings { ordinal, number, shards, layout, admission, .. } = settings;
        let (gate, new) = match &admission {
            Admission::Stored => (Gate::open(), &[][..]),
            Admission::Empties(new) | Admission::Rescued(new) => (Gate::closed(), &new[..]),
        };
        let mut peers = Peers::new(ordinal);
        if !gate.is_open() {
            peers.hold_own();
        }
        let portion = Portion::new(number, shards);
        let own = new.iter().copied().filter(|&partition| portion.owns(partition));
        let damaged = settings.damaged.iter().map(|(hash, _)| hash.partition(layout.shift()));
        let mut floors = Floors::new(&settings.marks, damaged);
        if matches!(admission, Admission::Rescued(_)) {
            floors.fall();
        }
        let damage = Damage::new(settings.damaged, &settings.marks);
        let transfer = Transfer::new(&layout, ordinal, portion, &damage);
        let entropy = Entropy::new(&layout, ordinal, portion);
        let mut shard = Self {
            ordinal,
            portion,
            layout,
            gate,
            clock: Clock::new(settings.clock),
            peers,
            operations: Operations::new(),
            stores: Stores::new(),
            handoffs: Handoffs::new(&settings.hinted),
            asked_reads: 0,
            asked_pulls: 0,
            asked_compares: 0,
            emptying: Emptying::of(own),
            voiding: Voiding::of(&floors, new),
            transfer,
            damage,
            restoring: Restoring::default(),
            entropy,
            floors,
            hedge: Hedge::new(),
            lingering: Lingerers::default(),
            waiting_for_ceiling: VecDeque::new(),
            rotation: 0,
            ask_again: None,
            served: None,
            ticked: Duration::ZERO,
            looked: None,
            earliest: None,
            learned: Revision::default(),
            asked_document: None,
        };
        if shard.gate.is_open() {
            shard.begin_cleaning();
        }
        shard
    }

    /// Takes one event and appends what is to be done to `out`. Never blocks, never fails.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        if event.is_foreground() {
            self.served = Some(now.monotonic);
        }
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
            Event::Read { operation, answer } => self.read(now, operation, answer, out),
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
            Event::Layout { layout, new } => self.use_layout(now, layout, &new, out),
            Event::Admit { fence } => self.admit(now, fence, out),
            Event::Scanned { operation, page } => self.scanned(now, operation, page, out),
            Event::Digest { operation, digest } => self.summed(now, operation, digest, out),
            Event::Totals { operation, totals, moment } => {
                self.totalled(now, operation, totals, moment, out);
            }
            Event::Damaged { hash, key } => self.damaged(now, hash, key, out),
            Event::Healed { operation, answer } => self.heal_confirmed(now, operation, answer, out),
            Event::AcceptLoss { partition, key } => self.accept_loss(now, partition, key, out),
            Event::Forgotten { operation, answer } | Event::MarksSet { operation, answer } => {
                self.ended(now, operation, &answer, out);
            }
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
        let beats = self.under_way() > 0 || self.layout.document().members().nth(1).is_some();
        let beat = beats.then(|| self.ticked + BEAT);
        // A start in the middle of an emptying goes on with the first tick.
        let begins = self.gate.is_settling() && self.stores.settled() == Settled::Now;
        let due = (begins && !self.clears()).then_some(self.ticked);
        let wakes = [
            beat,
            due,
            self.hedge.next_wake(),
            self.handoff_wake(),
            self.ask_again,
            self.transfer_wake(),
            self.entropy_wake(),
            self.healing_wake(),
            self.emptying.resume_at,
            self.cleaning_wake(),
            self.floors_wake(),
        ];
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
            // It is new to the partition, or about to know this layout, and did nothing.
            (
                Operation::Write(_) | Operation::Read(_),
                ReplicaReply::Stored { answer: Err(Failure::NotReady), .. }
                | ReplicaReply::Found { answer: Err(Failure::NotReady), .. },
            ) => self.postpone(now, id, from, out),
            (Operation::Write(_), ReplicaReply::Stored { stamp, answer }) => {
                self.write_answered(now, id, from, stamp, answer, out);
            }
            (Operation::Read(_), ReplicaReply::Found { answer, floor }) => {
                self.read_answered(now, id, from, answer, floor, out);
            }
            (Operation::Read(_), ReplicaReply::Stored { stamp, answer }) => {
                self.repair_answered(now, id, from, stamp, &answer, out);
            }
            (Operation::HandOver(_), ReplicaReply::Stored { stamp, answer }) => {
                self.hint_answered(now, id, from, stamp, &answer, out);
            }
            (Operation::Pull(_), ReplicaReply::Pulled { answer }) => {
                self.pull_answered(now, id, from, answer, out);
            }
            (Operation::Pull(_), ReplicaReply::Compared { answer }) => {
                self.source_compared(now, id, from, answer, out);
            }
            (Operation::Fetch(_), ReplicaReply::Found { answer, .. }) => {
                self.fetch_found(now, id, from, answer, out);
            }
            (Operation::Heal(_), ReplicaReply::Found { answer, floor }) => {
                self.heal_told(now, id, from, answer, floor, out);
            }
            (operation, _) if operation.is_at_home() => {}
            (Operation::Exchange(_), ReplicaReply::Compared { answer }) => {
                self.exchange_answered(now, id, from, answer, out);
            }
            (Operation::Hearing(_), ReplicaReply::Compared { answer }) => {
                self.marks_told(now, id, from, answer, out);
            }
            (_, ReplicaReply::Stored { .. })
            | (_, ReplicaReply::Found { .. })
            | (_, ReplicaReply::Pulled { .. })
            | (_, ReplicaReply::Compared { .. }) => {}
            (_, ReplicaReply::StaleLayout { document }) => {
                self.learn(document, out);
                self.postpone(now, id, from, out);
            }
            (_, ReplicaReply::StaleFence { known }) => {
                if known > self.layout.fence() {
                    self.ask_document(now, from, out);
                }
                self.postpone(now, id, from, out);
            }
            (_, ReplicaReply::LaterLayout { known }) => {
                // One that knows this layout, and has not stored it, needs no more than time.
                let fence = self.layout.fence();
                if known < fence && self.peers.teach(now.monotonic, from, fence) == Teach::Now {
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
            Some(Operation::Exchange(_)) => self.break_off_round(now),
            Some(Operation::Heal(_)) => self.heal_unasked(now, id, from, out),
            Some(Operation::Hearing(_)) => self.hearing_failed(id),
            // Short, because it is about to have stored the layout.
            _ => self.transfer_failed(now, id, Pause::Short, out),
        }
    }

    /// Somebody did nothing and is to be asked again, in the time that a document takes to one that
    /// lacks it: ticks may follow one another at once. All who wait are asked together.
    pub(crate) fn ask_again_later(&mut self, now: Now) {
        self.ask_again.get_or_insert(now.monotonic + DOCUMENT_PATIENCE);
    }

    pub(crate) fn reachable(&mut self, now: Now, peer: Ordinal, out: &mut Vec<Effect>) {
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
        self.transfer_linked(now, peer, out);
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
        self.transfer_unlinked(now, peer, out);
        self.entropy_unlinked(now, peer);
        self.hearing_unlinked(peer);
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
        self.transfer_unlinked(now, peer, out);
        self.entropy_unlinked(now, peer);
        self.hearing_unlinked(peer);
    }

    /// A document is durable. Under a higher fence all answers are void, and what was admitted before
    /// must end before the document counts as stored; nothing is admitted until then (`EPOCH_FENCE`).
    fn use_layout(
        &mut self,
        now: Now,
        layout: Arc<Layout>,
        new: &[Partition],
        out: &mut Vec<Effect>,
    ) {
        if layout.document().revision() < self.layout.document().revision() {
            return;
        }
        let (known, fence) = (self.layout.fence(), layout.fence());
        self.layout = layout;
        if fence <= known {
            return;
        }
        self.stores.relayout();
        self.relayout_emptying(new);
        self.relayout_damage(now);
        self.relayout_transfer();
        self.relayout_entropy(new);
        self.relayout_floors();
        if fence.generation > known.generation {
            self.floors.fall();
        }
        self.voiding = Voiding::of(&self.floors, new);
        self.gate = Gate::closed();
        if !self.gate.is_open() {
            self.peers.hold_own();
        }
        self.settle(now, out);
        for id in self.operations.select(Operation::is_coordinated) {
            match self.operations.get(id) {
                Some(Operation::Write(_)) => self.relayout_write(now, id, out),
                _ => self.relayout_read(now, id, out),
            }
        }
        self.relayout_handoffs(now, out);
    }

    /// Says once that the layout in use has settled: what was admitted before has ended, and what this
    /// node is new to is empty.
    pub(crate) fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.gate.is_settling() || self.stores.settled() == Settled::No {
            return;
        }
        self.resume_clearing(now, out);
        self.advance_emptying(now, out);
        if self.gate.is_settling() && self.emptying.is_done() && self.voiding.is_done() {
            self.gate.settle();
            let (fence, progress) = (self.layout.fence(), self.transfer.progress());
            out.push(Effect::Settled { fence, progress });
        }
    }

    /// The node has stored the document: its own replica takes what waited for it.
    fn admit(&mut self, now: Now, fence: Fence, out: &mut Vec<Effect>) {
        if fence != self.layout.fence() || self.gate.admit() != Opens::Now {
            return;
        }
        self.peers.admit_own();
        self.reachable(now, self.ordinal, out);
        self.advance_handoffs(now, out);
        self.begin_cleaning();
        self.advance_cleaning(now, out);
        self.advance_transfer(now, out);
        // A newcomer serves nobody before it has taken `closed`.
        self.advance_floors(now, out);
    }

    /// Whether requests may be admitted under the layout in use (`EPOCH_FENCE`).
    pub(crate) fn is_admitted(&self) -> bool {
        self.gate.is_open()
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
        self.settle(now, out);
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
        self.settle(now, out);
        self.resume_clearing(now, out);
        self.advance_cleaning(now, out);
        self.advance_transfer(now, out);
        self.advance_healing(now, out);
        self.advance_entropy(now, out);
        self.advance_floors(now, out);
        // Among others the ceiling is renewed although nothing is written (`DISK_NOT_OLDER`).
        if self.layout.document().members().nth(1).is_some()
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
                Some(Operation::Exchange(_)) => self.break_off_round(now),
                Some(Operation::Heal(_)) => self.expire_heal(now, id, out),
                Some(Operation::Hearing(_)) => self.hearing_failed(id),
                _ => self.transfer_failed(now, id, Pause::Long, out),
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
        let Self { operations, layout, peers, stores, handoffs, floors, .. } = self;
        (operations, Outgoing { now, layout, peers, stores, handoffs, floors, out })
    }

    /// Gives the operation another id, so that answers under the old one find nothing (`EPOCH_FENCE`).
    pub(crate) fn void_answers_to(&mut self, id: OperationId) -> Option<OperationId> {
        if mutants::is(Mutant::OlderAnswersCounted) {
            return Some(id);
        }
        self.operations.renew(id)
    }

    /// The nodes that store a key.
    pub(crate) fn sets(&self, hash: KeyHash) -> Sets<'_> {
        self.layout.sets(hash.partition(self.layout.shift()))
    }

    /// Whether there are, in each set in force, as many replicas as an operation on `hash` must hear
    /// from.
    ///
    /// A node that is no member any more coordinates nothing; one that is leaving does.
    pub(crate) fn check_level(&self, hash: KeyHash, level: Consistency) -> Result<(), Failure> {
        if self.layout.node_id(self.ordinal).is_none() {
            return Err(Failure::NotReady);
        }
        let replication_factor = usize::from(self.layout.replication_factor());
        for set in self.sets(hash).iter() {
            let needed = needed(level, set.len());
            if needed > replication_factor {
                return Err(Failure::TooManyReplicas { needed, replication_factor });
            }
            if needed > set.len() {
                return Err(self.unavailable(set, needed));
            }
        }
        Ok(())
    }

    /// As [`check_level`](Self::check_level), and whether enough of those replicas are not known to be
    /// down: else nothing is sent at all.
    pub(crate) fn check_alive(&self, hash: KeyHash, level: Consistency) -> Result<(), Failure> {
        self.check_level(hash, level)?;
        let dead = |replica: &&Ordinal| self.peers.reach(**replica) == Reach::Dead;
        for set in self.sets(hash).iter() {
            let needed = needed(level, set.len());
            if set.len() - set.iter().filter(dead).count() < needed {
                return Err(self.unavailable(set, needed));
            }
        }
        Ok(())
    }

    fn unavailable(&self, set: &[Ordinal], needed: usize) -> Failure {
        let is_dead = |replica: &Ordinal| self.peers.reach(*replica) == Reach::Dead;
        let dead: Vec<Ordinal> = set.iter().copied().filter(is_dead).collect();
        let alive = set.len() - dead.len();
        let down = dead.iter().filter_map(|&dead| self.layout.node_id(dead).cloned()).collect();
        Failure::QuorumUnavailable { needed, alive, down }
    }
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
