//! Clients' requests: from the frame to the shard, and from the shard's answer to the reply. Which
//! requests are retries of others (section 4) is asked here too.
//!
//! **Never:** lets a request begin that would go past a limit, or before there is a layout.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use paravon_model::{Failure, Key, NodeId, Ordinal, Value};
use paravon_protocol::{
    ClientMessage, ClientRequest, Code, Envelope, Refusal, RequestId, encode_reading,
    encode_written,
};
use paravon_replication::{
    Begin, Event, MIN_REQUEST_ID_BYTES, Now, Reply, RequestKey, RequestToken,
};
use paravon_ring::{KeyHash, shard_of};
use paravon_transport::random_bytes;

use super::Core;
use crate::failure;
use crate::inbox::Message;
use crate::outbox::Correlation;
use crate::session::Session;
use crate::shared::Standing;

/// A request token is the loop that the session lives on, and the request's slot there.
const LOOP_SHIFT: u32 = 48;

/// Bytes of requests under way per loop, whatever the disk does; past it they are refused.
const MAX_UNDER_WAY_BYTES: usize = 64 * 1024 * 1024;

/// A client request that a shard works on.
pub(super) struct PendingRequest {
    session: Rc<Session>,
    correlation: Correlation,
    request_id: RequestId,
    bytes: usize,
    /// Under what its end is remembered.
    remembered: Option<RequestKey>,
}

impl Core {
    pub(super) fn client_request(
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
        let given = request.request_id;
        let retried = given.as_ref().and_then(|id| retry_key(session, id, &request.message));
        let request_id = given.unwrap_or_else(|| self.server_ids.next());
        let bytes = envelope.data.len();
        if let Some(refusal) = self.refusal(bytes) {
            return session.refuse(correlation, &refusal, Some(&request_id));
        }
        let Some(layout) = &self.layout else { return };
        let hash = layout.hash(key_of(&request.message));
        let partition = hash.partition(layout.shift());

        let timeout = request.timeout.unwrap_or(self.shared.config.request.timeout);
        let deadline = now.monotonic + timeout;
        let session = session.clone();
        let pending = PendingRequest { session, correlation, request_id, bytes, remembered: None };
        pending.session.began();
        self.under_way_bytes += bytes;
        let slot = self.requests.insert(pending);
        let token = RequestToken((self.index as u64) << LOOP_SHIFT | slot as u64);
        if let Some((key, content)) = retried
            && !self.begins(now, token, slot, key, content)
        {
            return;
        }
        let event = event_of(request.message, token, hash, deadline);
        self.dispatch(now, shard_of(partition, self.shared.shards), event);
    }

    /// Why no request of `bytes` is taken now, before any work on it.
    fn refusal(&self, bytes: usize) -> Option<Refusal> {
        if self.shared.is_draining() {
            return Some((&Failure::ShuttingDown).into());
        }
        if self.layout.is_none() {
            return Some(self.not_ready());
        }
        let full = self.under_way_bytes + bytes > MAX_UNDER_WAY_BYTES;
        full.then(|| (&failure::OVERLOADED).into())
    }

    /// The refusal of a node that does not serve yet.
    pub(super) fn not_ready(&self) -> Refusal {
        match self.shared.standing() {
            Standing::Waits(why) => Refusal::new(Code::NotReady, why.to_string()),
            // The layout is on its way to this loop.
            Standing::Serves => (&Failure::NotReady).into(),
        }
    }

    /// Whether the request with this id is to be done now; else it is, or will be, answered.
    fn begins(
        &mut self,
        now: Now,
        token: RequestToken,
        slot: usize,
        key: RequestKey,
        content: u64,
    ) -> bool {
        let begun = self.shared.remembered(&key).begin(now.monotonic, key.clone(), content, token);
        match begun {
            Begin::New => {
                self.requests[slot].remembered = Some(key);
                return true;
            }
            Begin::Joined => {}
            Begin::Answered(result) => self.reply(slot, &result),
            Begin::Full => self.reply(slot, &Err(failure::OVERLOADED)),
            Begin::Conflict => {
                let message = "`request_id` was used for another operation, key or value; \
                               give every write an id of its own";
                let refusal = Refusal::new(Code::BadRequest, message.to_owned());
                let pending = self.take_pending(slot);
                let request_id = Some(&pending.request_id);
                pending.session.refuse(pending.correlation, &refusal, request_id);
                pending.session.wake();
            }
        }
        false
    }

    /// Brings the end of a request to whoever waits for it: its session, and those of its retries.
    pub(super) fn end_request(
        &mut self,
        now: Now,
        request: RequestToken,
        reply: &Result<Reply, Failure>,
    ) {
        match loop_of(request) {
            here if here == self.index => {
                let slot = slot_of(request);
                let Some(key) = self.requests[slot].remembered.take() else {
                    return self.reply(slot, reply);
                };
                let waiters = self.shared.remembered(&key).end(now.monotonic, &key, reply);
                for waiter in waiters {
                    self.end_request(now, waiter, reply);
                }
            }
            elsewhere => {
                let reply = reply.clone();
                self.outgoing[elsewhere].push(Message::Reply { request, reply });
            }
        }
    }

    fn take_pending(&mut self, slot: usize) -> PendingRequest {
        let pending = self.requests.remove(slot);
        self.under_way_bytes -= pending.bytes;
        pending.session.ended();
        pending
    }

    /// Writes the reply to a request of a session of this loop.
    fn reply(&mut self, slot: usize, reply: &Result<Reply, Failure>) {
        let PendingRequest { session, correlation, request_id, .. } = self.take_pending(slot);
        match reply {
            Ok(Reply::Written(written)) => {
                let node_id = self.name_of(written.version.ordinal);
                session.reply(correlation, |out, id| {
                    encode_written(out, id, written, node_id, &request_id);
                });
            }
            Ok(Reply::Reading(reading)) => {
                let ordinal = reading.found.as_ref().map(|found| found.version.ordinal);
                let node_id = ordinal.map_or("", |ordinal| self.name_of(ordinal));
                session.reply(correlation, |out, id| {
                    encode_reading(out, id, reading, node_id, &request_id);
                });
            }
            Err(failure) => session.refuse(correlation, &failure.into(), Some(&request_id)),
        }
        session.wake();
    }

    fn name_of(&self, ordinal: Ordinal) -> &str {
        let name = self.layout.as_ref().and_then(|layout| layout.node_id(ordinal));
        name.map_or("", NodeId::as_str)
    }
}

/// The loop that waits for the request's end.
fn loop_of(request: RequestToken) -> usize {
    usize::try_from(request.0 >> LOOP_SHIFT).unwrap_or(usize::MAX)
}

fn slot_of(request: RequestToken) -> usize {
    usize::try_from(request.0 & ((1 << LOOP_SHIFT) - 1)).unwrap_or(usize::MAX)
}

/// Under what a write is remembered, and a hash of what it does; none for what may be done twice.
fn retry_key(
    session: &Session,
    id: &RequestId,
    message: &ClientMessage,
) -> Option<(RequestKey, u64)> {
    let id = id.content();
    if id.len() < MIN_REQUEST_ID_BYTES {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    match message {
        ClientMessage::Get(_) => return None,
        ClientMessage::Put(put) => {
            let Value { kind, bytes } = &put.value;
            (b'p', put.key.encoded(), *kind as u8, bytes, put.ttl).hash(&mut hasher);
        }
        ClientMessage::Delete(delete) => (b'd', delete.key.encoded()).hash(&mut hasher),
    }
    let key = RequestKey {
        certificate: session.identity.common_name().into(),
        client_id: session.client_id.borrow().clone(),
        request_id: id.into(),
    };
    Some((key, hasher.finish()))
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
pub(super) struct ServerIds {
    prefix: u64,
    next: u64,
}

impl ServerIds {
    pub(super) fn new() -> Self {
        Self { prefix: u64::from_be_bytes(random_bytes()), next: 0 }
    }

    fn next(&mut self) -> RequestId {
        self.next += 1;
        RequestId::from_numbers(self.prefix, self.next)
    }
}
