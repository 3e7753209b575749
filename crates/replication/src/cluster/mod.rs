//! The cluster machine: one per node, beside its shards. Who the members are, who is up, who may come
//! in, what time it is.
//!
//! ```text
//!           events                                   effects
//!  links -> Linked/Unlinked/Told -->            --> Tell, Dial --> links
//!  disk  -> Persisted            -->  Cluster   --> Persist    --> disk
//!  shards-> Settled/Learned/...  -->  .step()   --> Layout, Admit, Alive, Dead, Clock --> shards
//!  admin -> Operate              -->            --> Admin, Notice --> operator
//! ```
//!
//! This file dispatches; what a message does stands in the file of its job: `council` decides
//! documents, `change` says how one follows from another, `driver` which change is to be proposed,
//! `operate` takes what operators ask for, `progress` says how far a change is, `membership` spreads
//! documents, `entry` founds and joins, `links` knows who is reached, who is up and what time it is,
//! `outgoing` holds back what is not durable.
//!
//! **Never:** touches a record. Shards see its results as a layout, liveness and a clock permit.

mod ballots;
mod cancels;
mod change;
#[cfg(test)]
mod cluster_tests;
mod council;
#[cfg(test)]
mod council_tests;
mod dialled;
mod disks;
mod driver;
mod entry;
mod event;
mod founding;
mod join;
mod known_document;
mod links;
mod liveness;
#[cfg(test)]
mod liveness_tests;
mod membership;
mod objections;
mod offsets;
mod operate;
mod outgoing;
mod peers;
mod progress;
mod random;
mod refusal;
mod reports;
mod rescue;
mod settings;
mod skew;
mod swim;
mod view;
mod wishes;
#[cfg(test)]
mod worlds;

pub use event::{
    AdminToken, ClusterEffect, ClusterEvent, Notice, OperateDone, OperateFailure, OperateMode,
    OperatorRequest, RefusedAs,
};
pub use refusal::HelloRefusal;
pub use rescue::{RescueRefusal, rescue};
pub use settings::{
    ClusterPhase, ClusterSettings, ClusterStatus, LinkStatus, Liveness, MemberStatus,
};

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    ChangeId, ClusterMessage, ClusterState, Document, Fence, Hlc, Member, Membership, NodeId,
    Ordinal, PeerHello, Progress, VoteSlot,
};

use crate::event::Now;
use ballots::Ballots;
use cancels::Cancels;
use council::Council;
use dialled::Dialled;
use disks::Disks;
use driver::Driver;
use founding::Founding;
use join::Joiner;
use known_document::KnownDocument;
use liveness::FailureDetector;
use outgoing::Outgoing;
use peers::{Peers, judge};
use random::Random;
use reports::Reports;
use skew::Skew;
use wishes::Wishes;

/// The cluster machine of a node.
pub struct Cluster {
    settings: ClusterSettings,
    random: Random,
    service: Service,
    /// Its number; with it comes a part in the council.
    ordinal: Option<Ordinal>,
    council: Option<Council>,
    /// The operation that has brought it, while that may still be undone.
    came_by: Option<ChangeId>,
    founding: Founding,
    joiner: Joiner,
    wishes: Wishes,
    cancels: Cancels,
    driver: Driver,
    ballots: Ballots,
    reports: Reports,
    disks: Disks,
    peers: Peers,
    /// Members that have taken this node for what it says since its start.
    taken_by: BTreeSet<Ordinal>,
    detector: Option<FailureDetector>,
    skew: Skew,
    /// Whether the operator was told that the clock is far off.
    clock_is_far: bool,
    ceiling: Hlc,
    /// The fence that this node *has stored*.
    stored: Option<Fence>,
    /// What its shards have taken over, under which fence.
    progress: Option<(Fence, Progress)>,
    /// Hints kept here for others, once they were counted under that fence.
    hints: Option<u64>,
    outgoing: Outgoing,
    dialled: Dialled,
    next_round: Duration,
    said_that_it_waits: bool,
}

/// Whether the node serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    /// It has no document.
    Outside,
    /// It was taken in or restarted: members have yet to say that its disk is not an old copy.
    Starting,
    /// It serves.
    Serving,
    /// Its disk is an old copy.
    OldDisk,
    /// It is no member any more, which those who decide have yet to know.
    Leaving,
    /// It is no member any more.
    NotMember,
}

impl Service {
    /// Whether the node does nothing any more until it is restarted, or told to come in again.
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
        let ordinal = state.ordinal.filter(|_| council.is_some());
        let came_by = state.document.as_ref().zip(ordinal);
        let came_by = came_by.and_then(|(document, own)| membership::brought_by(document, own));
        let mut cluster = Self {
            random,
            service: first_service(&state),
            ordinal,
            council,
            came_by,
            founding: Founding::new(now.monotonic, state.waits_for.clone()),
            joiner: Joiner::new(&settings, state.joining),
            wishes: Wishes::default(),
            cancels: Cancels::default(),
            driver: Driver::new(settings.join_timeout),
            ballots: Ballots::new(),
            reports: Reports::default(),
            disks: Disks::new(&state.remembered),
            peers: Peers::default(),
            taken_by: BTreeSet::new(),
            detector,
            skew: Skew::new(settings.max_skew),
            clock_is_far: false,
            ceiling: settings.ceiling,
            stored: state.stored.filter(|_| ordinal.is_some()),
            progress: None,
            hints: None,
            outgoing: Outgoing::new(state),
            dialled: Dialled::default(),
            next_round: now.monotonic,
            said_that_it_waits: false,
            settings,
        };
        cluster.watch_members(now);
        cluster
    }

    /// Takes an event and appends what it wants done.
    pub fn step(&mut self, now: Now, event: ClusterEvent, out: &mut Vec<ClusterEffect>) {
        if let ClusterEvent::Persisted { number } = event {
            let before = self.outgoing.durable_membership();
            self.outgoing.persisted(number);
            self.membership_is_durable(now, before);
        } else if !self.service.has_ended() {
            self.take(now, event);
        } else {
            self.take_after_the_end(now, event);
        }
        let own_name = self.settings.node_id.clone();
        loop {
            self.follow_up(now);
            let state = self.state();
            let to_itself = self.outgoing.flush(state, &mut self.disks, out);
            if to_itself.is_empty() {
                return;
            }
            for message in to_itself {
                self.told(now, &own_name, message);
            }
        }
    }

    /// The disk holds a state, which may say that the node belongs elsewhere than `before`.
    fn membership_is_durable(&mut self, now: Now, before: Option<Membership>) {
        let after = self.outgoing.durable_membership();
        if before.is_none() && after.is_some() {
            // A member that serves has to know what time it is for the others.
            self.ping_all(now);
        }
        let line = |place: Membership| (place.cluster_id, place.generation, place.rescue_id);
        if before.zip(after).is_some_and(|(before, after)| line(before) != line(after)) {
            self.outgoing.push(ClusterEffect::GreetAgain);
        }
    }

    /// A node that does nothing any more may be told to come in again, and has to know then whom it
    /// reaches.
    fn take_after_the_end(&mut self, now: Now, event: ClusterEvent) {
        match event {
            ClusterEvent::Operate { token, request, mode } => {
                self.operate(now, token, request, mode);
            }
            ClusterEvent::Linked { hello } => self.peers.linked(now.monotonic, &hello),
            ClusterEvent::Unlinked { peer } => self.peers.unlinked(now.monotonic, &peer),
            _ => {}
        }
    }

    fn take(&mut self, now: Now, event: ClusterEvent) {
        match event {
            ClusterEvent::Linked { hello } => self.linked(now, &hello),
            ClusterEvent::Unlinked { peer } => self.unlinked(now, &peer),
            ClusterEvent::Refused { by, refusal } => self.refused(now, &by, refusal),
            ClusterEvent::Told { from, message } => self.told(now, &from, message),
            ClusterEvent::Settled { fence, progress } => self.settled(now, fence, progress),
            ClusterEvent::Progressed { fence, progress } => self.progressed(now, fence, progress),
            ClusterEvent::HintsKept { hints } => self.hints_kept(now, hints),
            ClusterEvent::CeilingRaised { ceiling } => self.ceiling = self.ceiling.max(ceiling),
            ClusterEvent::Operate { token, request, mode } => {
                self.operate(now, token, request, mode);
            }
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
            ClusterMessage::Operate { id, kind } => self.asked_to_operate(now, from, id, kind),
            ClusterMessage::Cancel { fence } => self.asked_to_cancel(now, from, fence),
            ClusterMessage::Operated { id, refusal } => self.operation_answered(id, refusal),
            ClusterMessage::Report { member, report } => {
                self.hear_report(now, from, member, report);
            }
        }
    }

    fn tick(&mut self, now: Now) {
        let document = self.seen_document().cloned();
        self.peers.forget_strangers(now.monotonic, document.as_ref());
        if self.council.is_none() {
            self.seek_entry(now);
        }
        if let Some(detector) = &mut self.detector {
            detector.tick(now.monotonic);
        }
        self.drive(now);
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

    /// What the disk is to hold, besides what is known of others' disks.
    fn state(&self) -> ClusterState {
        let council = self.council.as_ref();
        ClusterState {
            node_id: self.settings.node_id.clone(),
            ordinal: self.ordinal,
            document: self.document().cloned(),
            stored: self.stored,
            vote: council.map_or_else(VoteSlot::default, |council| council.vote().clone()),
            waits_for: self.founding.waits_for().cloned(),
            joining: self.joiner.change(),
            remembered: Vec::new(),
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
        let document = self.council.as_ref().map(Council::document);
        judge(&self.settings.node_id, certificate, hello, document, &self.disks)?;
        if let Some(ordinal) = document.and_then(|document| document.ordinal_of(certificate)) {
            match hello.membership {
                Some(theirs) if theirs.ordinal == ordinal => self.disks.remember(ordinal, hello),
                // One that has ended does not follow who is up any more.
                None if !self.service.has_ended() && self.is_running(ordinal, hello) => {
                    return Err(HelloRefusal::OldDisk { ordinal });
                }
                Some(_) | None => {}
            }
        }
        self.peers.admitted(now.monotonic, hello);
        Ok(())
    }

    /// Whether another process than the one of this hello runs as this member.
    fn is_running(&self, ordinal: Ordinal, hello: &PeerHello) -> bool {
        let peer = self.peers.get(&hello.node_id).filter(|peer| peer.is_linked);
        let linked = peer.map(|peer| peer.hello.run).filter(|run| *run != hello.run);
        let liveness = self.detector.as_ref().map(|detector| detector.liveness(ordinal));
        linked.is_some() && linked == self.disks.run(ordinal) && liveness == Some(Liveness::Alive)
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
        let changes = if self.service == Service::Serving {
            let asked = self.wishes.next_wake().min(self.cancels.next_wake());
            asked.min(self.driver.next_wake()).min(self.ballots.next_wake())
        } else {
            Duration::MAX
        };
        self.next_round.min(changes).min(entry).min(detector)
    }

    /// The latest document that this node knows, or has seen from outside.
    fn seen_document(&self) -> Option<&KnownDocument> {
        self.known_document().or_else(|| self.joiner.seen())
    }

    /// The latest document that this node knows.
    #[must_use]
    pub fn document(&self) -> Option<&Arc<Document>> {
        self.known_document().map(|document| &**document)
    }

    /// The same with its members by name.
    fn known_document(&self) -> Option<&KnownDocument> {
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
        let document = self.document();
        let members = || document.into_iter().flat_map(|document| document.members());
        let is_member = |hello: &&PeerHello| self.ordinal_of(&hello.node_id).is_some();
        let waiting = self.peers.all_linked().filter(|hello| !is_member(hello));
        ClusterStatus {
            phase: self.phase(),
            ordinal: self.ordinal,
            document: self.document().cloned(),
            members: members().map(|member| self.member_status(member)).collect(),
            waiting: waiting.map(|hello| (hello.node_id.clone(), hello.address.clone())).collect(),
            reports: self.reports.all(),
        }
    }

    fn member_status(&self, member: &Member) -> MemberStatus {
        let is_reached = self.ordinal_of(&member.node_id) == Some(member.ordinal)
            && self.peers.is_linked(&member.node_id);
        let is_linked = Some(member.ordinal) == self.ordinal || is_reached;
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
            Service::Outside if self.joiner.is_under_way() || self.joiner.is_awaited() => {
                ClusterPhase::Joining
            }
            Service::Outside if self.may_found() => ClusterPhase::Founding,
            Service::Outside => ClusterPhase::Waiting,
            Service::Starting => ClusterPhase::Starting,
            Service::Serving => ClusterPhase::Serving,
            Service::OldDisk => ClusterPhase::OldDisk,
            Service::Leaving => ClusterPhase::Leaving,
            Service::NotMember => ClusterPhase::NotMember,
        }
    }

    /// This node's place in its cluster, also where its disk does not hold it yet.
    fn membership(&self) -> Option<Membership> {
        Some(outgoing::membership_of(self.document()?, self.ordinal?))
    }

    /// The number of a node that the document names: the newest, where it takes the place of its like.
    fn ordinal_of(&self, name: &NodeId) -> Option<Ordinal> {
        self.known_document()?.ordinal_of(name)
    }
}

/// Whether a node whose disk holds this state is a member, as far as it knows.
fn first_service(state: &ClusterState) -> Service {
    match state.ordinal.zip(state.document.as_ref()) {
        None => Service::Outside,
        Some((own, document)) if document.member(own).is_some() => Service::Starting,
        Some(_) => Service::Leaving,
    }
}
