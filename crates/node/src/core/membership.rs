//! The cluster machine on the first loop: its events come here from all loops, and its effects go out.
//!
//! **Never:** decides who is a member; that is `replication`'s. What takes long, the disk and large
//! layouts, is left to tasks of the event loop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use paravon_model::{Address, ClusterState, Document, Ordinal};
use paravon_replication::Now;
use paravon_replication::cluster::{
    AdminToken, Cluster, ClusterEffect, ClusterEvent, ClusterPhase, ClusterStatus, Notice,
    OperateDone, OperateMode, OperatorRequest,
};
use paravon_ring::Shift;
use paravon_storage::{Barrier, WriteError};

use super::Core;
use super::unsynced::Unsynced;
use crate::administration::{About, Answer, Question};
use crate::inbox::{Asker, Greeting, Message};
use crate::placed::{Placed, Unplaced};
use crate::plan::Plan;
use crate::settling::Settling;
use crate::shared::{Standing, WriteTrouble};

/// How often hints are counted while the layout changes.
const HINTS_COUNTED: Duration = Duration::from_secs(1);

/// An administrator's token is the loop that the connection lives on, and the question's slot there.
const LOOP_SHIFT: u32 = 48;

/// The cluster machine and what it waits for.
pub(crate) struct Membership {
    cluster: Cluster,
    effects: Vec<ClusterEffect>,
    /// The state that the disk is to hold, and its number.
    unsaved: Option<(u64, ClusterState)>,
    /// The document whose layout is to be made.
    unplaced: Option<Unplaced>,
    /// Layouts that administrators want to know the effect of, and who.
    unplanned: VecDeque<(Asker, Arc<Document>)>,
    /// Counts rescues that this node has gone on after.
    greeting: Greeting,
    /// Counts how often this node has served. What was made for an earlier time is not used.
    service: u64,
    /// How far the shards are with the layout.
    settling: Settling,
    /// What the machine is to be told of them, once the log is synced.
    unsynced: Unsynced,
    /// When hints were counted last.
    counted: Option<Duration>,
    /// Seeds that founding waits for.
    silent: Vec<Address>,
}

impl Membership {
    pub(crate) fn new(cluster: Cluster, shards: u16) -> Self {
        Self {
            cluster,
            effects: Vec::new(),
            unsaved: None,
            unplaced: None,
            unplanned: VecDeque::new(),
            greeting: Greeting::default(),
            service: 0,
            settling: Settling::new(shards),
            unsynced: Unsynced::default(),
            counted: None,
            silent: Vec::new(),
        }
    }

    /// What the machine knows, for its operator.
    pub(super) fn status(&self) -> ClusterStatus {
        self.cluster.status()
    }

    /// Members in the machine's document, and whose it is.
    pub(super) fn document(&self) -> Option<&Arc<Document>> {
        self.cluster.document()
    }

    /// Why the node serves no clients.
    fn obstacle(&self, own: &Address) -> String {
        match self.cluster.status().phase {
            ClusterPhase::Founding if self.silent.is_empty() => {
                "the node looks for the cluster of its seeds".to_owned()
            }
            ClusterPhase::Founding => {
                let silent: Vec<&str> = self.silent.iter().map(Address::as_str).collect();
                format!(
                    "the node founds no cluster before every seed has answered; silent: {}; start \
                     them, or start this node once with --found",
                    silent.join(", ")
                )
            }
            ClusterPhase::Waiting => format!(
                "the node waits to join the cluster of its seeds: run `paractl admin join --server {own}`"
            ),
            ClusterPhase::Joining => "the node is joining its cluster".to_owned(),
            ClusterPhase::Starting => {
                "the node is starting: a majority of the members must know it first".to_owned()
            }
            ClusterPhase::Serving => "the node is about to serve".to_owned(),
            ClusterPhase::OldDisk => format!(
                "the node's disk is an older copy than one that its cluster has seen, or a second \
                 process runs on its number: stop that process, or let this one take its own place \
                 with `paractl admin replace NODE --server {own}`, where NODE is its own name"
            ),
            ClusterPhase::Leaving => {
                "the node has left its cluster, and waits until the others know; then it may be stopped"
                    .to_owned()
            }
            ClusterPhase::NotMember => format!(
                "the node is no member of its cluster any more: stop it, or take it in again with \
                 `paractl admin join --server {own}`, or with `paractl admin replace` where its name \
                 has another place by now"
            ),
        }
    }
}

impl Core {
    /// Brings a message to the cluster machine, here or on the first loop.
    pub(super) fn route_to_cluster(&mut self, now: Now, message: Message) {
        if self.membership.is_none() {
            return self.outgoing[0].push(message);
        }
        match message {
            Message::Cluster(event) => self.step_cluster(now, event),
            Message::Settled { shard, fence, progress } => {
                let Some(membership) = &mut self.membership else { return };
                let news = membership.settling.settled(shard, fence, progress);
                self.tell_how_far(now, news);
            }
            Message::Progress { shard, fence, progress } => {
                let Some(membership) = &mut self.membership else { return };
                let news = membership.settling.progressed(shard, fence, progress);
                self.tell_how_far(now, news);
            }
            Message::Hello { asker, certificate, hello } => {
                let Some(membership) = &mut self.membership else { return };
                let (cluster, greeting) = (&mut membership.cluster, membership.greeting);
                let admitted = cluster.admit(now, &certificate, &hello);
                let admitted = admitted.map(|()| (cluster.hello(), greeting));
                // What it has learned of the other's disk may be for its own.
                self.step_cluster(now, ClusterEvent::Tick);
                if asker.index == self.index {
                    self.admitted(asker.slot, admitted);
                } else {
                    let slot = asker.slot;
                    self.outgoing[asker.index].push(Message::Admitted { slot, admitted });
                }
            }
            _ => unreachable!("no other message is for the cluster machine"),
        }
    }

    /// What the shards have ended and taken over counts once it is durable, also with `durability:
    /// interval`: others rely on it when this node is gone (`EPOCH_FENCE`).
    fn tell_how_far(&mut self, now: Now, news: Option<ClusterEvent>) {
        let Some((event, membership)) = news.zip(self.membership.as_mut()) else { return };
        let number = membership.unsynced.hold(event);
        if self.shared.journal.barrier(number) == Barrier::Passed {
            self.barrier(now, number, Ok(()));
        }
    }

    /// The log has synced what came before this barrier, or never will.
    pub(super) fn barrier(&mut self, now: Now, number: u64, result: Result<(), WriteError>) {
        if result.is_err() {
            self.shared.note_write_trouble(WriteTrouble::Failed);
            if let Some(membership) = &mut self.membership {
                membership.unsynced.forget();
            }
        }
        while let Some(event) = self.next_synced(number) {
            self.step_cluster(now, event);
        }
    }

    fn next_synced(&mut self, number: u64) -> Option<ClusterEvent> {
        self.membership.as_mut()?.unsynced.release(number)
    }

    /// An administrator of a loop wants something done to the members.
    pub(super) fn operate(
        &mut self,
        now: Now,
        asker: Asker,
        request: OperatorRequest,
        mode: OperateMode,
    ) {
        let token = AdminToken((asker.index as u64) << LOOP_SHIFT | asker.slot as u64);
        let operate = ClusterEvent::Operate { token, request, mode };
        self.route_to_cluster(now, Message::Cluster(operate));
    }

    /// Adds the hints that this loop keeps to those of the loops before it; the last one tells the
    /// cluster machine.
    pub(super) fn add_hints(&mut self, kept: u64) {
        let shift = self.layout.as_ref().map_or(Shift::DEFAULT, |layout| layout.shift());
        let totals = self.shards.iter().flat_map(|owned| owned.store.hint_totals(shift));
        let hints = kept + totals.map(|totals| totals.count).sum::<u64>();
        let inboxes = &self.shared.inboxes;
        if self.index + 1 < inboxes.loops() {
            return inboxes.of_loop(self.index + 1).send([Message::Hints { kept: hints }]);
        }
        inboxes.of_loop(0).send([Message::Cluster(ClusterEvent::HintsKept { hints })]);
    }

    /// Steps the cluster machine and does all that follows from it.
    fn step_cluster(&mut self, now: Now, event: ClusterEvent) {
        let Some(membership) = &mut self.membership else { return };
        let mut effects = std::mem::take(&mut membership.effects);
        membership.cluster.step(now, event, &mut effects);
        self.shared.set_hello(membership.cluster.hello());
        for effect in effects.drain(..) {
            self.do_for_cluster(effect);
        }
        let Some(membership) = &mut self.membership else { return };
        membership.effects = effects;
        if self.layout.is_none() {
            self.say_what_is_waited_for();
        }
    }

    /// Says why the node serves no clients, where the cluster machine knows.
    pub(super) fn say_what_is_waited_for(&self) {
        if let Some(membership) = &self.membership {
            let obstacle = membership.obstacle(&self.shared.advertised());
            self.shared.set_standing(Standing::Waits(obstacle.into()));
        }
    }

    fn do_for_cluster(&mut self, effect: ClusterEffect) {
        let inboxes = &self.shared.inboxes;
        let Some(membership) = &mut self.membership else { return };
        match effect {
            ClusterEffect::Dial { addresses } => self.links.want(addresses),
            ClusterEffect::Tell { to, message } => self.links.tell(&to, &message),
            ClusterEffect::Persist { number, state } => membership.unsaved = Some((number, state)),
            ClusterEffect::Layout { document, stored } => {
                let own = membership.cluster.status().ordinal;
                let service = membership.service;
                let unplaced = |own| Unplaced { document, own, stored, service };
                membership.unplaced = own.map(unplaced);
            }
            ClusterEffect::Admit { fence } => inboxes.tell_all(|| Message::Admit { fence }),
            ClusterEffect::Alive { peer } => {
                if self.dead.contains(&peer) {
                    tracing::info!("{} is up again", self.shown(peer));
                }
                inboxes.tell_all(|| Message::Alive { peer });
            }
            ClusterEffect::Dead { peer } => {
                tracing::warn!("{} is down", self.shown(peer));
                inboxes.tell_all(|| Message::Dead { peer });
            }
            ClusterEffect::Clock { permit } => inboxes.tell_all(|| Message::Clock { permit }),
            ClusterEffect::GreetAgain => {
                tracing::info!("goes on after a rescue; other nodes say hello again");
                membership.greeting.0 += 1;
                let greeting = membership.greeting;
                inboxes.tell_all(|| Message::GreetAgain { greeting });
            }
            ClusterEffect::Admin { token, answer } => {
                let index = usize::try_from(token.0 >> LOOP_SHIFT).unwrap_or_default();
                let slot = usize::try_from(token.0 & ((1 << LOOP_SHIFT) - 1)).unwrap_or_default();
                if let Ok(OperateDone::Planned { document }) = answer {
                    return membership.unplanned.push_back((Asker { index, slot }, document));
                }
                let answer = Answer::of_operation(
                    answer,
                    &self.shared.config.node.id,
                    membership.cluster.document(),
                );
                inboxes.of_loop(index).send([Message::Answer { slot, answer }]);
            }
            ClusterEffect::Notice(notice) => self.notice(notice),
        }
    }

    /// A member's name, for the log.
    fn shown(&self, member: Ordinal) -> String {
        let document = self.membership.as_ref().and_then(Membership::document);
        let member = document.and_then(|document| document.member(member));
        member.map_or_else(String::new, |member| format!("{} ({})", member.node_id, member.address))
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::SeedsSilent { silent } => {
                let shown: Vec<&str> = silent.iter().map(Address::as_str).collect();
                let shown = shown.join(", ");
                tracing::info!(
                    "founding waits for seeds that do not answer: {shown}; start them, or start this \
                     node once with --found"
                );
                if let Some(membership) = &mut self.membership {
                    membership.silent = silent;
                }
            }
            Notice::Founded { cluster_id } => tracing::info!("founded cluster {cluster_id}"),
            Notice::WaitsToJoin => tracing::info!(
                "waits to join the cluster of its seeds: `paractl admin join --server {}`",
                self.shared.advertised()
            ),
            Notice::Joined { ordinal } => tracing::info!("joined the cluster as number {ordinal}"),
            Notice::OldDisk => {
                tracing::error!(
                    "members say that this node's disk is an old copy, or that another process runs \
                     with its number; it serves nothing"
                );
                self.end_service();
            }
            Notice::NotMember => {
                tracing::warn!("this node is no member of its cluster any more; it serves nothing");
                self.end_service();
            }
            Notice::Left => tracing::info!("this node has left its cluster; it may be stopped"),
            Notice::ClockHeld { offset_ms } => tracing::warn!(
                "writes through this node are refused: its clock is {offset_ms} ms off; check its \
                 time synchronisation"
            ),
            Notice::ClockAgrees => tracing::info!("the clock agrees with the other members' again"),
        }
    }

    /// The state that the disk is to hold next.
    pub(crate) fn take_unsaved(&mut self) -> Option<(u64, ClusterState)> {
        self.membership.as_mut()?.unsaved.take()
    }

    /// Whether [`take_unsaved`](Self::take_unsaved) has something.
    pub(crate) fn has_unsaved(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| membership.unsaved.is_some())
    }

    /// The disk holds the state of this number.
    pub(crate) fn saved(&mut self, now: Now, number: u64) {
        self.step_cluster(now, ClusterEvent::Persisted { number });
        self.end_batch();
    }

    /// All loops give up their shards.
    fn end_service(&mut self) {
        if let Some(membership) = &mut self.membership {
            membership.service += 1;
            membership.unplaced = None;
            membership.settling = Settling::new(self.shared.shards);
            membership.unsynced.forget();
        }
        self.shared.inboxes.tell_all(|| Message::Withdraw);
    }

    /// The document whose layout is to be made next.
    pub(crate) fn take_unplaced(&mut self) -> Option<Unplaced> {
        self.membership.as_mut()?.unplaced.take()
    }

    /// Whether [`take_unplaced`](Self::take_unplaced) has something.
    pub(crate) fn has_unplaced(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| membership.unplaced.is_some())
    }

    /// A layout is made: all loops use it from now on, unless this node was shut out meanwhile
    /// (`DISK_NOT_OLDER`).
    pub(crate) fn placed(&self, placed: &Arc<Placed>) {
        let service = self.membership.as_ref().map(|membership| membership.service);
        if service == Some(placed.service) {
            self.shared.inboxes.tell_all(|| Message::Layout(placed.clone()));
        }
    }

    /// The joint document whose effect is to be told next, and whom.
    pub(crate) fn take_unplanned(&mut self) -> Option<(Asker, Arc<Document>)> {
        self.membership.as_mut()?.unplanned.pop_front()
    }

    /// Whether [`take_unplanned`](Self::take_unplanned) has something.
    pub(crate) fn has_unplanned(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| !membership.unplanned.is_empty())
    }

    /// A change is planned; all loops add what they store.
    pub(crate) fn planned(&self, asker: Asker, plan: Plan) {
        let question = Question::new(asker, About::Plan(plan));
        self.shared.inboxes.of_loop(0).send([Message::Question(Box::new(question))]);
    }

    /// When the cluster machine has something to do next.
    pub(super) fn cluster_wake(&self) -> Option<Duration> {
        self.membership.as_ref().map(|membership| membership.cluster.next_wake())
    }

    /// Lets time pass for the cluster machine, where it is time.
    pub(super) fn tick_cluster(&mut self, now: Now) {
        if self.cluster_wake().is_some_and(|due| due <= now.monotonic) {
            self.step_cluster(now, ClusterEvent::Tick);
        }
        self.count_hints(now);
    }

    /// While the layout changes, the machine is told how many hints there are: a node leaves without
    /// any.
    fn count_hints(&mut self, now: Now) {
        let Some(membership) = &mut self.membership else { return };
        let is_joint = membership.document().is_some_and(|document| document.joint().is_some());
        let is_due = membership.counted.is_none_or(|last| now.monotonic >= last + HINTS_COUNTED);
        if !is_joint {
            membership.counted = None;
        } else if is_due {
            membership.counted = Some(now.monotonic);
            self.add_hints(0);
        }
    }
}
