//! The cluster machine: one per node, beside its shards. Who the members are, who is up, who may come
//! in, what time it is.
//!
//! ```text
//!           events                                   effects
//!  links -> Linked/Unlinked/Told -->            --> Tell, Dial --> links
//!  disk  -> Persisted            -->  Cluster   --> Persist    --> disk
//!  shards-> Settled/Learned/...  -->  .step()   --> Layout, Alive, Dead, Clock --> shards
//!  admin -> Join                 -->            --> Admin, Notice --> operator
//! ```
//!
//! This file dispatches; what a message does stands in the file of its job: `council` decides
//! documents, `membership` spreads them and takes nodes in, `entry` founds and joins, `links` knows
//! who is reached, who is up and what time it is, `outgoing` holds back what is not durable.
//!
//! **Never:** touches a record. Shards see its results as a layout, liveness and a clock permit.

mod change;
#[cfg(test)]
mod cluster_tests;
mod council;
#[cfg(test)]
mod council_tests;
mod disks;
mod entry;
mod event;
mod founding;
mod intake;
mod join;
mod links;
mod liveness;
#[cfg(test)]
mod liveness_tests;
mod membership;
mod outgoing;
mod peers;
mod random;
mod refusal;
mod settings;
mod skew;
mod swim;
#[cfg(test)]
mod worlds;

pub use event::{
    AdminToken, ClusterEffect, ClusterEvent, JoinDone, JoinFailure, Notice, RefusedAs,
};
pub use refusal::HelloRefusal;
pub use settings::{
    ClusterPhase, ClusterSettings, ClusterStatus, LinkStatus, Liveness, MemberStatus,
};

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Address, ClusterMessage, ClusterState, Document, Fence, Hlc, Member, NodeId, Ordinal,
    PeerHello, VoteSlot,
};

use crate::event::Now;
use council::Council;
use disks::Disks;
use founding::Founding;
use intake::Intake;
use join::Joiner;
use liveness::FailureDetector;
use outgoing::Outgoing;
use peers::{Peers, judge};
use random::Random;
use skew::Skew;

/// The cluster machine of a node.
pub struct Cluster {
    settings: ClusterSettings,
    random: Random,
    service: Service,
    /// Its number; with it comes a part in the council.
    ordinal: Option<Ordinal>,
    council: Option<Council>,
    founding: Founding,
    joiner: Joiner,
    intake: Intake,
    disks: Disks,
    peers: Peers,
    /// Members that took this node's hello since its start.
    taken_by: BTreeSet<Ordinal>,
    detector: Option<FailureDetector>,
    skew: Skew,
    /// Whether the operator was told that the clock is far off.
    clock_is_far: bool,
    ceiling: Hlc,
    holds_records: bool,
    stored: Option<Fence>,
    outgoing: Outgoing,
    dialled: Vec<Address>,
    next_round: Duration,
    said_that_it_waits: bool,
    said_that_it_holds_records: bool,
}

/// Whether the node serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    /// It has no document.
    Outside,
    /// It was restarted: members have yet to say that its disk is not an old copy.
    Starting,
    /// It serves.
    Serving,
    /// Its disk is an old copy.
    OldDisk,
    /// It is no member any more.
    NotMember,
}

impl Service {
    /// Whether the node does nothing any more until it is restarted.
    fn has_ended(self) -> bool {
        matches!(self, Self::OldDisk | Self::NotMember)
    }
}

impl Cluster {
    /// The machine of a node whose disk holds `state`. Give it a [`ClusterEvent::Tick`] at once.
    #[must_use]
    pub fn new(settings: ClusterSettings, state: ClusterState, now: Now) -> Self {
        let mut random = Random::new(settings.seed);
        let place = state.ordinal.zip(state.document.clone());
        let council =
            place.map(|(ordinal, document)| Council::new(ordinal, document, state.vote.clone()));
        let detector = state.ordinal.map(|ordinal| {
            FailureDetector::new(now.monotonic, ordinal, settings.start, random.branch())
        });
        let mut cluster = Self {
            random,
            service: if council.is_some() { Service::Starting } else { Service::Outside },
            ordinal: state.ordinal.filter(|_| council.is_some()),
            council,
            founding: Founding::new(now.monotonic, state.waits_for.clone()),
            joiner: Joiner::new(&settings, state.joining),
            intake: Intake::default(),
            disks: Disks::new(&state.remembered),
            peers: Peers::default(),
            taken_by: BTreeSet::new(),
            detector,
            skew: Skew::new(settings.max_skew),
            clock_is_far: false,
            ceiling: settings.ceiling,
            holds_records: settings.holds_records,
            stored: None,
            outgoing: Outgoing::new(state),
            dialled: Vec::new(),
            next_round: now.monotonic,
            said_that_it_waits: false,
            said_that_it_holds_records: false,
            settings,
        };
        cluster.watch_members(now);
        cluster
    }

    /// Takes an event and appends what it wants done.
    pub fn step(&mut self, now: Now, event: ClusterEvent, out: &mut Vec<ClusterEffect>) {
        if let ClusterEvent::Persisted { number } = event {
            let was_silent = self.outgoing.durable_membership().is_none();
            self.outgoing.persisted(number);
            if was_silent && self.outgoing.durable_membership().is_some() {
                // A member that serves has to know what time it is for the others.
                self.ping_all(now);
            }
        } else if !self.service.has_ended() {
            self.take(now, event);
        } else if let ClusterEvent::Join { token, .. } = event {
            self.answer([(token, Err(JoinFailure::ShutOut))]);
        }
        let own_name = self.settings.node_id.clone();
        loop {
            self.follow_up(now);
            let to_itself = self.outgoing.flush(self.state(), out);
            if to_itself.is_empty() {
                return;
            }
            for message in to_itself {
                self.told(now, &own_name, message);
            }
        }
    }

    fn take(&mut self, now: Now, event: ClusterEvent) {
        match event {
            ClusterEvent::Linked { hello } => self.linked(now, &hello),
            ClusterEvent::Unlinked { peer } => self.unlinked(now, &peer),
            ClusterEvent::Refused { by, refusal } => self.refused(&by, refusal),
            ClusterEvent::Told { from, message } => self.told(now, &from, message),
            ClusterEvent::Settled { fence } => self.stored = self.stored.max(Some(fence)),
            ClusterEvent::CeilingRaised { ceiling } => self.ceiling = self.ceiling.max(ceiling),
            ClusterEvent::HoldsRecords => {
                self.holds_records = true;
                // A ballot under way ends before another vote is heard.
                self.take_in(now);
            }
            ClusterEvent::Join { token, dry_run } => self.wish_to_join(now, token, dry_run),
            ClusterEvent::Learned { document } => self.learn(now, &document),
            ClusterEvent::Teach { peer } => self.teach(peer),
            ClusterEvent::Ask { peer } => self.ask(peer),
            ClusterEvent::Tick => self.tick(now),
            ClusterEvent::Persisted { .. } => {}
        }
    }

    fn told(&mut self, now: Now, from: &NodeId, message: ClusterMessage) {
        match message {
            ClusterMessage::Council(message) => self.hear_council(now, from, message),
            ClusterMessage::Document(document) => self.learn_from(now, from, &document),
            ClusterMessage::AskDocument { known } => self.tell_document(from, known),
            ClusterMessage::Swim(message) => self.hear_swim(now, from, &message),
            ClusterMessage::Ping { nonce, ceiling } => self.pinged(now, from, nonce, ceiling),
            ClusterMessage::Pong { nonce, wall_ms, ceiling } => {
                self.ponged(now, from, nonce, wall_ms, ceiling);
            }
            ClusterMessage::AskToFound => self.asked_to_found(from),
            ClusterMessage::MayFound => self.founding.permitted(from),
            ClusterMessage::MayNotFound => self.founding.denied(from),
            ClusterMessage::Join(request) => self.asked_to_join(now, from, request),
            ClusterMessage::Joined { change, refusal } => self.join_answered(change, refusal),
            ClusterMessage::AskEmpty { change } => self.asked_whether_empty(from, change),
            ClusterMessage::Emptiness { change, empty } => {
                self.told_emptiness(now, from, change, empty);
            }
        }
    }

    fn tick(&mut self, now: Now) {
        self.peers.forget_strangers(now.monotonic, self.council.as_ref().map(|c| &**c.document()));
        if self.council.is_none() {
            self.seek_entry(now);
        }
        if let Some(detector) = &mut self.detector {
            detector.tick(now.monotonic);
        }
        self.take_in(now);
        if now.monotonic >= self.next_round {
            self.next_round = now.monotonic + links::ROUND;
            self.heartbeat(now);
        }
    }

    /// What follows from any event.
    fn follow_up(&mut self, now: Now) {
        if self.service == Service::Starting {
            self.serve_once_taken();
        }
        self.dial();
        if !self.service.has_ended() {
            self.watch_clock(now);
            self.pass_on_liveness(now);
        }
    }

    /// What the disk is to hold.
    fn state(&self) -> ClusterState {
        let council = self.council.as_ref();
        ClusterState {
            node_id: self.settings.node_id.clone(),
            ordinal: self.ordinal,
            document: council.map(|council| Arc::clone(council.document())),
            vote: council.map_or_else(VoteSlot::default, |council| council.vote().clone()),
            waits_for: self.founding.waits_for().cloned(),
            joining: self.joiner.change(),
            remembered: self.disks.to_keep(),
        }
    }

    /// Whether a node whose certificate bears this name, and that says this of itself, is spoken to
    /// (`NO_STRANGER`, `DISK_NOT_OLDER`). Asked on every connection, by both ends.
    ///
    /// # Errors
    /// The connection is to be closed, with the refusal as its reason.
    pub fn admit(
        &mut self,
        now: Now,
        certificate: &NodeId,
        hello: &PeerHello,
    ) -> Result<(), HelloRefusal> {
        let document = self.council.as_ref().map(|council| &**council.document());
        judge(&self.settings.node_id, certificate, hello, document, &self.disks)?;
        let known = document.and_then(|document| document.member_named(certificate));
        if let Some(member) = known
            && hello.membership.is_some()
        {
            self.disks.remember(member.ordinal, hello);
        }
        self.peers.admitted(now.monotonic, hello);
        Ok(())
    }

    /// What this node says of itself on every connection: what its disk holds.
    #[must_use]
    pub fn hello(&self) -> PeerHello {
        PeerHello {
            node_id: self.settings.node_id.clone(),
            address: self.settings.address.clone(),
            membership: self.outgoing.durable_membership(),
            start: self.settings.start,
            run: self.settings.run,
            ceiling: self.ceiling,
        }
    }

    /// The earliest moment, in [`Now::monotonic`], at which a tick has something to do.
    #[must_use]
    pub fn next_wake(&self) -> Duration {
        if self.service.has_ended() {
            return Duration::MAX;
        }
        let entry = if self.council.is_none() { self.founding.next_wake() } else { Duration::MAX };
        let detector = self.detector.as_ref().map_or(Duration::MAX, FailureDetector::next_wake);
        self.next_round.min(self.intake.next_wake()).min(entry).min(detector)
    }

    /// The latest document that this node knows.
    #[must_use]
    pub fn document(&self) -> Option<&Arc<Document>> {
        self.council.as_ref().map(Council::document)
    }

    /// The fence of the latest document that this node *has stored* (`EPOCH_FENCE`): it is durable,
    /// every shard uses it, and all stores admitted under an earlier one have ended.
    #[must_use]
    pub fn stored_fence(&self) -> Option<Fence> {
        self.stored
    }

    /// What this node knows of its cluster.
    #[must_use]
    pub fn status(&self) -> ClusterStatus {
        let members = self.document().map_or(&[][..], |document| &document.current);
        let is_member = |hello: &&PeerHello| members.iter().any(|m| m.node_id == hello.node_id);
        let waiting = self.peers.all_linked().filter(|hello| !is_member(hello));
        ClusterStatus {
            phase: self.phase(),
            ordinal: self.ordinal,
            document: self.document().cloned(),
            members: members.iter().map(|member| self.member_status(member)).collect(),
            waiting: waiting.map(|hello| (hello.node_id.clone(), hello.address.clone())).collect(),
        }
    }

    fn member_status(&self, member: &Member) -> MemberStatus {
        let is_linked =
            Some(member.ordinal) == self.ordinal || self.peers.is_linked(&member.node_id);
        let liveness = |detector: &FailureDetector| detector.liveness(member.ordinal);
        MemberStatus {
            ordinal: member.ordinal,
            node_id: member.node_id.clone(),
            link: if is_linked { LinkStatus::Linked } else { LinkStatus::Unlinked },
            liveness: self.detector.as_ref().map_or(Liveness::Alive, liveness),
            offset_ms: self.skew.offset_ms(&member.node_id),
        }
    }

    fn phase(&self) -> ClusterPhase {
        match self.service {
            Service::Outside if self.joiner.is_under_way() => ClusterPhase::Joining,
            Service::Outside if self.may_found() => ClusterPhase::Founding,
            Service::Outside => ClusterPhase::Waiting,
            Service::Starting => ClusterPhase::Starting,
            Service::Serving => ClusterPhase::Serving,
            Service::OldDisk => ClusterPhase::OldDisk,
            Service::NotMember => ClusterPhase::NotMember,
        }
    }

    /// The number of a node that the document names.
    fn ordinal_of(&self, name: &NodeId) -> Option<Ordinal> {
        Some(self.document()?.member_named(name)?.ordinal)
    }
}
