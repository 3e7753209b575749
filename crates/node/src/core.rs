//! The shards of one event loop and everything that their effects need: stores, requests under way,
//! links to other nodes, the other loops.
//!
//! Synchronous and single-threaded: sessions call [`Core::receive`] for every frame of a batch and
//! [`Core::end_batch`] once after it. **Never:** decides what a request means; that is `replication`'s.

mod disk;
mod inquiries;
mod layout;
mod membership;
mod peers;
mod requests;
mod scrub;
mod steps;
mod unsynced;
#[cfg(test)]
mod unsynced_tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use paravon_model::{Hlc, NodeId, Ordinal, Version};
use paravon_protocol::{Code, Envelope, Hello, Refusal, Unreadable, is_peer_frame};
use paravon_replication::cluster::{Cluster, ClusterEvent};
use paravon_replication::{Effect, Event, Now, OperationId, Permit, Shard};
use paravon_ring::{Layout, Shift};
use paravon_storage::{Answer, Completion, Group, Store, WriteError};
use slab::Slab;

use crate::asked::Asked;
use crate::failure;
use crate::inbox::{Greeting, Message};
use crate::links::Links;
use crate::outbox::Correlation;
use crate::placed::Placed;
use crate::scrubbing::Scrubbing;
use crate::session::{Port, Session};
use crate::shared::{Shared, WriteTrouble};
use disk::Scan;
use inquiries::Inquirer;
pub(crate) use membership::Membership;
use peers::Admitting;
use requests::{PendingRequest, ServerIds};
use scrub::DamageFound;

/// One per event loop.
pub(crate) struct Core {
    index: usize,
    shared: Arc<Shared>,
    shards: Vec<OwnedShard>,
    /// Who stores what; none before the node serves.
    layout: Option<Arc<Layout>>,
    /// The same with what status tells of it.
    placed: Option<Arc<Placed>>,
    /// The layout to use once every store of an earlier service of this node has ended.
    awaiting: Option<Arc<Placed>>,
    /// The numbers of the layout's members; of two of one name, the later one.
    ordinals: HashMap<NodeId, Ordinal>,
    /// Drawn at random whenever shards are made: in the names that operations have on links, so that an
    /// answer to a shard that was given up finds nothing in the one after it.
    mask: u64,
    /// Members that are believed to be down.
    dead: BTreeSet<Ordinal>,
    /// Whether stamps may be given, as far as is known.
    permit: Option<Permit>,
    /// The ceiling of stamps that the disk holds.
    ceiling: Hlc,
    requests: Slab<PendingRequest>,
    /// Bytes of the requests under way.
    under_way_bytes: usize,
    /// What peers have asked.
    asked: Asked,
    links: Links,
    /// Connections with nodes that were admitted earlier than this are closed.
    greeting: Greeting,
    /// Connections that wait for the cluster machine.
    admitting: Slab<Admitting>,
    /// Connections that wait for other loops.
    inquirers: Slab<Inquirer>,
    /// The cluster machine; on the first loop alone.
    membership: Option<Membership>,
    /// Messages to other loops, by loop, since the last batch ended.
    outgoing: Vec<Vec<Message>>,
    /// Effects that are still to be done; empty between calls.
    effects: VecDeque<Effect>,
    stepped: Vec<Effect>,
    /// Pages that shards want to see.
    scans: VecDeque<Scan>,
    answers: Vec<Answer>,
    /// What stores have told of damage.
    damage_found: DamageFound,
    /// The shard of which a page was read last.
    scrubbed_last: usize,
    /// Counts frames of sessions and links, so that what can wait sees whether others are at work.
    frames: u64,
    /// What waits for the next commit.
    uncommitted: Uncommitted,
    server_ids: ServerIds,
}

/// A shard with its store and what waits in that.
struct OwnedShard {
    /// None before there is a layout, and after this node was shut out or has left.
    shard: Option<Shard>,
    /// Shards that were given up.
    ending: Vec<Ending>,
    store: Box<dyn Store>,
    tickets: Slab<Ticket>,
    /// Of which cluster the store keeps sums, once it does.
    sums: Option<(u64, Shift)>,
    scrubbing: Scrubbing,
}

/// A shard that was given up: what it has under way ends at its deadline.
struct Ending {
    shard: Shard,
    /// When nobody waits for it any more.
    until: Duration,
}

/// What a store is to answer.
#[derive(Clone, Copy, Debug)]
enum Ticket {
    /// A merge of the record of this version.
    Merge { operation: OperationId, stamp: Version },
    /// A removal.
    Forget { operation: OperationId },
    /// The healing of a key.
    Heal { operation: OperationId },
    /// The marks of a partition.
    SetMarks { operation: OperationId },
    /// Of a shard that was given up.
    Void,
}

impl OwnedShard {
    fn is_idle(&self) -> bool {
        self.shard.is_none()
    }
}

/// What waits for a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uncommitted {
    changes: u64,
    ceiling: Option<Hlc>,
}

impl Uncommitted {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Core {
    /// The core of loop `index` with the stores of its shards, in the order of their numbers.
    pub(crate) fn new(
        index: usize,
        shared: Arc<Shared>,
        stores: Vec<Box<dyn Store>>,
        ceiling: Hlc,
        cluster: Option<Cluster>,
    ) -> Self {
        let owned = |store| OwnedShard {
            shard: None,
            ending: Vec::new(),
            store,
            tickets: Slab::new(),
            sums: None,
            scrubbing: Scrubbing::default(),
        };
        let loops = shared.inboxes.loops();
        let shards = shared.shards;
        Self {
            index,
            shared,
            shards: stores.into_iter().map(owned).collect(),
            layout: None,
            placed: None,
            awaiting: None,
            ordinals: HashMap::new(),
            mask: 0,
            dead: BTreeSet::new(),
            permit: None,
            ceiling,
            requests: Slab::new(),
            under_way_bytes: 0,
            asked: Asked::new(index),
            links: Links::default(),
            greeting: Greeting::default(),
            admitting: Slab::new(),
            inquirers: Slab::new(),
            membership: cluster.map(|cluster| Membership::new(cluster, shards)),
            outgoing: (0..loops).map(|_| Vec::new()).collect(),
            effects: VecDeque::new(),
            stepped: Vec::new(),
            scans: VecDeque::new(),
            answers: Vec::new(),
            damage_found: DamageFound::default(),
            scrubbed_last: 0,
            frames: 0,
            uncommitted: Uncommitted::default(),
            server_ids: ServerIds::new(),
        }
    }

    /// Takes one frame of `session`.
    pub(crate) fn receive(&mut self, now: Now, session: &Rc<Session>, payload: &[u8]) {
        self.frames += 1;
        if session.port == Port::Peer && is_peer_frame(payload) {
            return self.receive_from_peer(now, session, payload);
        }
        let envelope = match Envelope::decode(payload) {
            Ok(envelope) => envelope,
            Err(Unreadable { error, id }) => {
                return session.refuse(session.correlate(id), &error.into(), None);
            }
        };
        let correlation = session.correlate(envelope.id);
        if envelope.kind == Hello::KIND {
            return self.greet(now, session, correlation, &envelope);
        }
        match session.port {
            Port::Api => self.client_request(now, session, correlation, &envelope),
            Port::Peer => self.admin_request(now, session, correlation, &envelope),
        }
    }

    fn greet(
        &mut self,
        now: Now,
        session: &Rc<Session>,
        correlation: Correlation,
        envelope: &Envelope<'_>,
    ) {
        match Hello::decode(envelope.data) {
            Ok(Hello { node: Some(node), .. }) => self.greet_node(now, session, correlation, node),
            Ok(hello) => {
                tracing::debug!(peer = %session.peer, ?hello, "hello");
                session.client_id.replace(hello.client_id.into());
                let cluster_id = self.layout.as_ref().map(|l| l.document().cluster_id.to_string());
                let welcome = self.shared.welcome(cluster_id.unwrap_or_default(), None);
                session.reply(correlation, |out, id| welcome.encode(id, out));
                session.greet();
            }
            Err(error) => {
                let message = format!("`hello` is not understood: {error}");
                let refusal = Refusal::new(Code::BadRequest, message);
                session.refuse(correlation, &refusal, None);
            }
        }
    }

    /// Takes what other threads have sent.
    pub(crate) fn take_message(&mut self, now: Now, message: Message) {
        match message {
            Message::Event { shard, event } => self.dispatch(now, shard, event),
            Message::Reply { request, reply } => self.end_request(now, request, &reply),
            Message::PeerReply { token, reply } => self.answer_peer(token, reply),
            Message::Completions(completions) => self.complete(now, completions),
            Message::Layout(placed) => self.use_layout(now, placed),
            Message::Withdraw => self.withdraw(now),
            Message::Alive { peer } => self.liveness(now, peer, Event::Alive { peer }),
            Message::Dead { peer } => self.liveness(now, peer, Event::Dead { peer }),
            Message::Clock { permit } => {
                self.permit = Some(permit);
                self.step_all(now, &Event::Clock { permit });
            }
            Message::Admit { fence } => self.step_all(now, &Event::Admit { fence }),
            Message::Cluster(_)
            | Message::Settled { .. }
            | Message::Progress { .. }
            | Message::Hello { .. } => self.route_to_cluster(now, message),
            Message::Hints { kept } => self.add_hints(kept),
            Message::Admitted { slot, admitted } => self.admitted(slot, admitted),
            Message::GreetAgain { greeting } => {
                self.greeting = greeting;
                self.links.outdate();
            }
            Message::Question(question) => self.pass_on(now, question),
            Message::Answer { slot, answer } => self.answer_inquirer(slot, answer),
            Message::Connection { .. } | Message::Drain | Message::Abort => {
                unreachable!("the event loop keeps these for itself")
            }
        }
    }

    /// Takes news from the storage threads.
    pub(crate) fn complete(&mut self, now: Now, completions: Vec<Completion>) {
        for completion in completions {
            match completion {
                Completion::Ceiling { hlc, result } => self.ceiling(now, hlc, result),
                Completion::Barrier { number, result } => self.barrier(now, number, result),
                Completion::Space { full: true, .. } => {
                    self.shared.note_write_trouble(WriteTrouble::DiskFull);
                }
                Completion::Space { full: false, .. } => self.shared.note_space(),
                Completion::Broken { shard } => self.shared.note_broken(shard),
                _ => {}
            }
            if let Some(shard) = completion.shard() {
                let local = self.local(shard);
                self.shards[local].store.complete(completion);
            }
        }
        for local in 0..self.shards.len() {
            self.drain(now, local);
        }
        if self.awaiting.is_some() {
            self.use_awaiting(now);
        }
        self.end_batch();
    }

    fn ceiling(&mut self, now: Now, ceiling: Hlc, result: Result<(), WriteError>) {
        let event = match result {
            Ok(()) => {
                self.ceiling = self.ceiling.max(ceiling);
                if self.index == 0 {
                    let raised = ClusterEvent::CeilingRaised { ceiling };
                    self.route_to_cluster(now, Message::Cluster(raised));
                }
                Event::CeilingRaised { ceiling }
            }
            Err(error) => {
                if error == WriteError::ReadOnly {
                    self.shared.note_write_trouble(WriteTrouble::Failed);
                }
                Event::CeilingRefused { failure: failure::of_unstamped(error) }
            }
        };
        self.step_all(now, &event);
    }

    /// Moves the final answers of a store into its shard.
    fn drain(&mut self, now: Now, local: usize) {
        let mut answers = std::mem::take(&mut self.answers);
        let owned = &mut self.shards[local];
        owned.store.drain(&mut answers);
        self.tell_damage(now, local);
        self.follow(now, local);
        for (ticket, result) in answers.drain(..) {
            let ticket = usize::try_from(ticket).unwrap_or(usize::MAX);
            if result == Err(WriteError::ReadOnly) {
                self.shared.note_write_trouble(WriteTrouble::Failed);
            }
            let event = match (self.shards[local].tickets.remove(ticket), result) {
                (Ticket::Merge { operation, stamp }, result) => {
                    let answer = result.map_err(failure::of_write).and_then(failure::of_merge);
                    Event::Stored { operation, stamp, answer }
                }
                (Ticket::Forget { operation }, result) => {
                    let answer = result.map(|_| ()).map_err(failure::of_write);
                    Event::Forgotten { operation, answer }
                }
                (Ticket::Heal { operation }, result) => {
                    self.count_damaged(local);
                    let answer = result.map(|_| ()).map_err(failure::of_write);
                    Event::Healed { operation, answer }
                }
                (Ticket::SetMarks { operation }, result) => {
                    let answer = result.map(|_| ()).map_err(failure::of_write);
                    Event::MarksSet { operation, answer }
                }
                (Ticket::Void, _) => continue,
            };
            self.step(now, local, event);
        }
        self.answers = answers;
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now: Now) {
        self.step_all(now, &Event::Tick);
        self.end_withdrawn(now);
        self.tick_cluster(now);
        self.asked.forget_late(now.monotonic);
        self.end_batch();
    }

    /// Operations under way in the shards of this loop.
    pub(crate) fn under_way(&self) -> usize {
        self.shards().chain(self.ending()).map(Shard::under_way).sum()
    }

    /// The earliest moment at which a tick has something to do.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        self.shards().filter_map(Shard::next_wake).chain(self.cluster_wake()).min()
    }

    /// Whether time must pass although nothing is under way: among members the ceiling is renewed all
    /// the while.
    pub(crate) fn is_among_others(&self) -> bool {
        self.ordinals.len() > 1
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter_map(|owned| owned.shard.as_ref())
    }

    fn ending(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().flat_map(|owned| &owned.ending).map(|ending| &ending.shard)
    }

    /// The links that are wanted, where that has changed.
    pub(crate) fn take_wanted_links(&mut self) -> Option<Vec<paravon_model::Address>> {
        self.links.has_rewanted().then(|| self.links.take_wanted())
    }

    /// Whether [`take_wanted_links`](Self::take_wanted_links) has something.
    pub(crate) fn has_wanted_links(&self) -> bool {
        self.links.has_rewanted()
    }

    /// Drops the read views, so that the stores can use pages again that have been replaced. Opening
    /// one costs as much as a read, so they are kept for some batches.
    pub(crate) fn drop_views(&mut self) {
        for owned in &mut self.shards {
            owned.store.end_batch();
        }
    }

    /// Counts what sessions and links have brought.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Requests that the sessions of this loop still wait for.
    pub(crate) fn unanswered(&self) -> usize {
        self.requests.len()
    }

    /// Ends a batch: sends what goes to other loops.
    pub(crate) fn end_batch(&mut self) {
        for (index, messages) in self.outgoing.iter_mut().enumerate() {
            if !messages.is_empty() {
                self.shared.inboxes.of_loop(index).send(messages.drain(..));
            }
        }
    }

    /// What waits for the log. Differs from an earlier answer where more has come since.
    pub(crate) fn uncommitted(&self) -> Uncommitted {
        self.uncommitted
    }

    /// Everything that waits for the log; the ceiling goes with the first group.
    pub(crate) fn take_uncommitted(&mut self) -> (Vec<Group>, Option<Hlc>) {
        let Uncommitted { ceiling, .. } = std::mem::take(&mut self.uncommitted);
        let mut groups = Vec::with_capacity(self.shards.len());
        for owned in &mut self.shards {
            groups.extend(std::iter::from_fn(|| owned.store.take_group()));
        }
        (groups, ceiling)
    }

    /// Gives the stores back when the loop ends.
    pub(crate) fn into_stores(self) -> Vec<Box<dyn Store>> {
        self.shards.into_iter().map(|owned| owned.store).collect()
    }
}
