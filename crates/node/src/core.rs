//! The shards of one event loop and everything that their effects need: stores, requests under way,
//! the other loops.
//!
//! Synchronous and single-threaded: sessions call [`Core::receive`] for every frame of a batch and
//! [`Core::end_batch`] once after it. **Never:** decides what a request means; that is `replication`'s.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use paravon_model::{Failure, Hlc, Key, NodeId, Ordinal, Version};
use paravon_protocol::{
    AdminRequest, ClientMessage, ClientRequest, Code, Envelope, Hello, Refusal, RequestId,
    Unreadable, encode_reading, encode_written,
};
use paravon_replication::{
    ClockSettings, Effect, Event, Now, OperationId, Permit, Reply, RequestToken, Settings, Shard,
};
use paravon_ring::{KeyHash, shard_of};
use paravon_storage::{Answer, Completion, Group, Store, WriteError};
use paravon_transport::random_bytes;
use slab::Slab;

use crate::admin;
use crate::failure;
use crate::inbox::Message;
use crate::outbox::Correlation;
use crate::session::{Port, Session};
use crate::shared::{Shared, WriteTrouble};

/// A request token is the loop that the session lives on, and the request's slot there.
const LOOP_SHIFT: u32 = 48;

/// Bytes of requests under way per loop, whatever the disk does; past it they are refused.
const MAX_UNDER_WAY_BYTES: usize = 64 * 1024 * 1024;

/// One per event loop.
pub(crate) struct Core {
    index: usize,
    shared: Arc<Shared>,
    shards: Vec<OwnedShard>,
    requests: Slab<PendingRequest>,
    /// Bytes of the requests under way.
    under_way_bytes: usize,
    /// Messages to other loops, by loop, since the last batch ended.
    outgoing: Vec<Vec<Message>>,
    /// Effects that are still to be done; empty between calls.
    effects: VecDeque<Effect>,
    stepped: Vec<Effect>,
    answers: Vec<Answer>,
    /// What waits for the next commit.
    uncommitted: Uncommitted,
    server_ids: ServerIds,
}

/// A shard with its store and the merges that wait in it.
struct OwnedShard {
    shard: Shard,
    store: Box<dyn Store>,
    merges: Slab<(OperationId, Version)>,
}

/// What waits for a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uncommitted {
    merges: u64,
    ceiling: Option<Hlc>,
}

impl Uncommitted {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A client request that a shard works on.
struct PendingRequest {
    session: Rc<Session>,
    correlation: Correlation,
    request_id: RequestId,
    bytes: usize,
}

impl Core {
    /// The core of loop `index` with the stores of its shards, in the order of their numbers.
    pub(crate) fn new(
        index: usize,
        shared: Arc<Shared>,
        stores: Vec<Box<dyn Store>>,
        ceiling: Hlc,
    ) -> Self {
        let shards = stores.into_iter().map(|store| {
            let clock = ClockSettings {
                max_skew: shared.config.clock.max_skew,
                recovered: ceiling,
                lane: store.shard(),
                lanes: shared.shards,
            };
            let (ordinal, layout) = (shared.document.ordinal, shared.layout.clone());
            let hinted = Vec::new();
            let mut shard = Shard::new(Settings { ordinal, layout, clock, hinted });
            // The sole member has nobody to differ from.
            let now = Now { monotonic: Duration::ZERO, wall_ms: 0 };
            let permit = Permit::Alone;
            shard.step(now, Event::Clock { permit }, &mut Vec::new());
            OwnedShard { shard, store, merges: Slab::new() }
        });
        let loops = shared.inboxes.loops();
        Self {
            index,
            shards: shards.collect(),
            requests: Slab::new(),
            under_way_bytes: 0,
            outgoing: (0..loops).map(|_| Vec::new()).collect(),
            effects: VecDeque::new(),
            stepped: Vec::new(),
            answers: Vec::new(),
            uncommitted: Uncommitted::default(),
            server_ids: ServerIds::new(),
            shared,
        }
    }

    /// Takes one frame of `session`.
    pub(crate) fn receive(&mut self, now: Now, session: &Rc<Session>, payload: &[u8]) {
        let envelope = match Envelope::decode(payload) {
            Ok(envelope) => envelope,
            Err(Unreadable { error, id }) => {
                return session.refuse(session.correlate(id), &error.into(), None);
            }
        };
        let correlation = session.correlate(envelope.id);
        if envelope.kind == Hello::KIND {
            return self.greet(session, correlation, &envelope);
        }
        match session.port {
            Port::Api => self.client_request(now, session, correlation, &envelope),
            Port::Peer => self.admin_request(session, correlation, &envelope),
        }
    }

    fn greet(&self, session: &Session, correlation: Correlation, envelope: &Envelope<'_>) {
        match Hello::decode(envelope.data) {
            Ok(hello) => {
                tracing::debug!(peer = %session.peer, ?hello, "hello");
                let welcome = self.shared.welcome();
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

    fn admin_request(&self, session: &Session, correlation: Correlation, envelope: &Envelope<'_>) {
        let done = AdminRequest::decode(envelope)
            .and_then(|request| admin::answer(&self.shared, &session.identity, request));
        match done {
            Ok(reply) => session.reply(correlation, |out, id| reply.encode(id, out)),
            Err(refusal) => session.refuse(correlation, &refusal, None),
        }
    }

    fn client_request(
        &mut self,
        now: Now,
        session: &Rc<Session>,
        correlation: Correlation,
        envelope: &Envelope<'_>,
    ) {
        let decoded = ClientRequest::decode(envelope, self.shared.config.server.max_message_size);
        let request = match decoded {
            Ok(request) => request,
            Err(refusal) => return session.refuse(correlation, &refusal, None),
        };
        let request_id = request.request_id.unwrap_or_else(|| self.server_ids.next());
        let bytes = envelope.data.len();
        if let Some(failure) = self.refusal(bytes) {
            return session.refuse(correlation, &(&failure).into(), Some(&request_id));
        }
        self.under_way_bytes += bytes;
        let timeout = request.timeout.unwrap_or(self.shared.config.request.timeout);
        let deadline = now.monotonic + timeout;
        let session = session.clone();
        let pending = PendingRequest { session, correlation, request_id, bytes };
        pending.session.began();
        let slot = self.requests.insert(pending);
        let token = self.token(slot);
        let hash = self.shared.layout.hash(key_of(&request.message));
        let partition = hash.partition(self.shared.layout.shift());
        let event = event_of(request.message, token, hash, deadline);
        self.dispatch(now, shard_of(partition, self.shared.shards), event);
    }

    /// Why no request of `bytes` is taken now, before any work on it.
    fn refusal(&self, bytes: usize) -> Option<Failure> {
        if self.shared.is_draining() {
            return Some(Failure::ShuttingDown);
        }
        (self.under_way_bytes + bytes > MAX_UNDER_WAY_BYTES).then_some(failure::OVERLOADED)
    }

    /// Takes what other threads have sent.
    pub(crate) fn take_message(&mut self, now: Now, message: Message) {
        match message {
            Message::Event { shard, event } => self.dispatch(now, shard, event),
            Message::Reply { request, reply } => self.answer(request, reply),
            Message::Completions(completions) => self.complete(now, completions),
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
        self.end_batch();
    }

    fn ceiling(&mut self, now: Now, ceiling: Hlc, result: Result<(), WriteError>) {
        if result == Err(WriteError::ReadOnly) {
            self.shared.note_write_trouble(WriteTrouble::Failed);
        }
        for local in 0..self.shards.len() {
            let event = match result {
                Ok(()) => Event::CeilingRaised { ceiling },
                Err(error) => Event::CeilingRefused { failure: failure::of_unstamped(error) },
            };
            self.step(now, local, event);
        }
    }

    /// Moves the final answers of a store into its shard.
    fn drain(&mut self, now: Now, local: usize) {
        let mut answers = std::mem::take(&mut self.answers);
        let owned = &mut self.shards[local];
        owned.store.drain(&mut answers);
        for (ticket, result) in answers.drain(..) {
            let ticket = usize::try_from(ticket).unwrap_or(usize::MAX);
            let (operation, stamp) = self.shards[local].merges.remove(ticket);
            if result == Err(WriteError::ReadOnly) {
                self.shared.note_write_trouble(WriteTrouble::Failed);
            }
            let answer = result.map_err(failure::of_write).and_then(failure::of_merge);
            self.step(now, local, Event::Stored { operation, stamp, answer });
        }
        self.answers = answers;
    }

    /// Lets deadlines pass.
    pub(crate) fn tick(&mut self, now: Now) {
        for local in 0..self.shards.len() {
            self.step(now, local, Event::Tick);
        }
        self.end_batch();
    }

    /// Operations under way in the shards of this loop.
    pub(crate) fn under_way(&self) -> usize {
        self.shards.iter().map(|owned| owned.shard.under_way()).sum()
    }

    /// Drops the read views, so that the stores can use pages again that have been replaced. Opening
    /// one costs as much as a read, so they are kept for some batches.
    pub(crate) fn drop_views(&mut self) {
        for owned in &mut self.shards {
            owned.store.end_batch();
        }
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

    fn token(&self, slot: usize) -> RequestToken {
        RequestToken((self.index as u64) << LOOP_SHIFT | slot as u64)
    }

    /// The place of a shard among those of this loop.
    fn local(&self, shard: u16) -> usize {
        usize::from(shard) / self.shared.inboxes.loops()
    }

    /// Brings an event to its shard, here or on another loop.
    fn dispatch(&mut self, now: Now, shard: u16, event: Event) {
        match self.shared.inboxes.loop_of(shard) {
            here if here == self.index => self.step(now, self.local(shard), event),
            elsewhere => self.outgoing[elsewhere].push(Message::Event { shard, event }),
        }
    }

    /// Steps a shard and does all that follows from it.
    fn step(&mut self, now: Now, local: usize, event: Event) {
        self.feed(now, local, event);
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Reply { request, reply } => self.route_reply(request, reply),
                Effect::RaiseCeiling { ceiling } => {
                    self.uncommitted.ceiling = self.uncommitted.ceiling.max(Some(ceiling));
                }
                Effect::Read { operation, hash, key } => {
                    let read = self.shards[local].store.get(hash, &key);
                    let answer = read.map_err(failure::of_read);
                    self.feed(now, local, Event::Read { operation, answer });
                }
                Effect::Store { operation, hash, key, record } => {
                    let owned = &mut self.shards[local];
                    let stamp = record.version;
                    let ticket = owned.merges.insert((operation, stamp));
                    match owned.store.merge(ticket as u64, hash, key, record) {
                        Ok(()) => self.uncommitted.merges += 1,
                        Err(refusal) => {
                            owned.merges.remove(ticket);
                            let answer = Err(failure::of_refusal(&refusal));
                            self.feed(now, local, Event::Stored { operation, stamp, answer });
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn feed(&mut self, now: Now, local: usize, event: Event) {
        self.shards[local].shard.step(now, event, &mut self.stepped);
        self.effects.extend(self.stepped.drain(..));
    }

    fn route_reply(&mut self, request: RequestToken, reply: Result<Reply, Failure>) {
        match usize::try_from(request.0 >> LOOP_SHIFT).unwrap_or(usize::MAX) {
            here if here == self.index => self.answer(request, reply),
            elsewhere => self.outgoing[elsewhere].push(Message::Reply { request, reply }),
        }
    }

    /// Writes the reply to a request of a session of this loop.
    fn answer(&mut self, request: RequestToken, reply: Result<Reply, Failure>) {
        let slot = usize::try_from(request.0 & ((1 << LOOP_SHIFT) - 1)).unwrap_or(usize::MAX);
        let PendingRequest { session, correlation, request_id, bytes } = self.requests.remove(slot);
        self.under_way_bytes -= bytes;
        session.ended();
        match reply {
            Ok(Reply::Written(written)) => {
                let node_id = self.name_of(written.version.ordinal);
                session.reply(correlation, |out, id| {
                    encode_written(out, id, &written, node_id, &request_id);
                });
            }
            Ok(Reply::Reading(reading)) => {
                let ordinal = reading.found.as_ref().map(|found| found.version.ordinal);
                let node_id = ordinal.map_or("", |ordinal| self.name_of(ordinal));
                session.reply(correlation, |out, id| {
                    encode_reading(out, id, &reading, node_id, &request_id);
                });
            }
            Err(failure) => session.refuse(correlation, &(&failure).into(), Some(&request_id)),
        }
        session.wake();
    }

    fn name_of(&self, ordinal: Ordinal) -> &str {
        self.shared.layout.node_id(ordinal).map_or("", NodeId::as_str)
    }
}

fn key_of(message: &ClientMessage) -> &Key {
    match message {
        ClientMessage::Put(put) => &put.key,
        ClientMessage::Get(get) => &get.key,
        ClientMessage::Delete(delete) => &delete.key,
    }
}

fn event_of(
    message: ClientMessage,
    request: RequestToken,
    hash: KeyHash,
    deadline: Duration,
) -> Event {
    match message {
        ClientMessage::Put(put) => Event::Put { request, hash, put, deadline },
        ClientMessage::Get(get) => Event::Get { request, hash, get, deadline },
        ClientMessage::Delete(delete) => Event::Delete { request, hash, delete, deadline },
    }
}

/// The ids of requests that come without one: distinct within a cluster for all practical purposes.
struct ServerIds {
    prefix: u64,
    next: u64,
}

impl ServerIds {
    fn new() -> Self {
        Self { prefix: u64::from_be_bytes(random_bytes()), next: 0 }
    }

    fn next(&mut self) -> RequestId {
        self.next += 1;
        RequestId::from_numbers(self.prefix, self.next)
    }
}
