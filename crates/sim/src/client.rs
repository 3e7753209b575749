//! Clients: each does one operation at a time, on a few hot keys, through whatever node it likes, and
//! believes nothing but answers.

use std::sync::Arc;

use paravon_model::{Delete, Failure, Get, Ordinal, Outcome, Put, Version};
use paravon_replication::{Begin, Event, MIN_REQUEST_ID_BYTES, Reply, RequestKey, RequestToken};
use paravon_ring::{KeyHash, Layout};

use crate::fact::{Code, Content, End, Fact, Held, Holders, Level, OperationNumber, Verb};
use crate::happening::Happening;
use crate::node::Process;
use crate::notes::{content_of_value, value_of};
use crate::phase::{Phase, serves};
use crate::plan::{Levels, Plan, PlannedAsk, RequestIds};
use crate::queue::{MILLISECOND, Nanos};
use crate::random::Random;
use crate::world::{Work, World, small};

/// After its deadline a coordinator may take this long to answer: a tick and the way to it.
const GRACE: Nanos = 250 * MILLISECOND;

/// The client of operations that the world itself asks for.
pub(crate) const NOBODY: usize = usize::MAX;

/// Who a client is.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) certificate: Arc<str>,
    pub(crate) client_id: Arc<str>,
    /// Requests so far.
    requests: u8,
}

/// An operation of a client and how far it has come.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) client: usize,
    /// The client's own number of it.
    pub(crate) id: u8,
    pub(crate) node: usize,
    pub(crate) verb: Verb,
    pub(crate) key: u8,
    pub(crate) level: Level,
    pub(crate) timeout: Nanos,
    /// After which time what it puts is gone, if at all.
    pub(crate) ttl: Option<Nanos>,
    /// Tries of the client.
    pub(crate) attempt: u8,
    /// The coordinator's process of the last try that it took as new.
    pub(crate) incarnation: u32,
    /// Which service of that process: it may have left and come back since.
    pub(crate) service: u32,
    /// That try.
    pub(crate) begun: u8,
    /// How the coordinator ended it.
    pub(crate) end: Option<End>,
    /// Whether the client waits for it no longer.
    pub(crate) over: bool,
}

impl Client {
    /// The clients of a world. Two and two share a certificate; their ids tell them apart.
    pub(crate) fn all(plan: &Plan) -> Vec<Self> {
        let client = |index: usize| match plan.request_ids {
            RequestIds::Counted => Self {
                certificate: format!("app-{}", index / 2).into(),
                client_id: format!("{index}").into(),
                requests: 0,
            },
            RequestIds::Short => {
                Self { certificate: "app".into(), client_id: "".into(), requests: 0 }
            }
        };
        (0..plan.clients).map(client).collect()
    }
}

impl World {
    /// A client decides what to do.
    pub(crate) fn turn(&mut self, client: usize) {
        if !self.clients_work() {
            return;
        }
        let (verb, key, level) = self.choose();
        let node = self.choose_node();
        self.ask_for(client, node, verb, key, level);
    }

    /// Somebody asks what the plan says, and asks once.
    pub(crate) fn ask_as_planned(&mut self, ask: usize) {
        let PlannedAsk { node, verb, key, timeout, .. } = self.plan.asks[ask];
        if !self.phase.is_faulty() {
            return;
        }
        let usual = std::mem::replace(&mut self.plan.timeout, timeout);
        self.ask_for(NOBODY, node, verb, key, Level::Quorum);
        self.plan.timeout = usual;
    }

    /// A client, or the world, asks a node for something; gives the operation's number.
    pub(crate) fn ask_for(
        &mut self,
        client: usize,
        node: usize,
        verb: Verb,
        key: u8,
        level: Level,
    ) -> OperationNumber {
        let number = u32::try_from(self.requests.len()).unwrap_or(u32::MAX);
        let (timeout, ttl) = (self.plan.timeout, self.choose_ttl(verb));
        let id = self.clients.get_mut(client).map_or(0, |client| {
            client.requests = client.requests.wrapping_add(1);
            client.requests
        });
        let request = Request {
            client,
            id,
            node,
            verb,
            key,
            level,
            timeout,
            ttl,
            attempt: 0,
            incarnation: 0,
            service: 0,
            begun: 0,
            end: None,
            over: false,
        };
        self.requests.push(request);
        self.send_request(number);
        number
    }

    /// Whether clients do anything.
    fn clients_work(&self) -> bool {
        matches!(self.phase, Phase::Forming | Phase::Faulty { .. })
    }

    fn send_request(&mut self, operation: OperationNumber) {
        let request = &mut self.requests[operation as usize];
        request.attempt += 1;
        let attempt = request.attempt;
        let patience = request.timeout + 2 * GRACE;
        let travel = self.client_delay();
        let lost = self.random.chance(self.network.weather.loss / 4);
        if !lost {
            self.queue.push(self.now + travel, Happening::Request { operation, attempt });
        }
        self.queue.push(self.now + patience, Happening::Timeout { operation, attempt });
    }

    fn client_delay(&mut self) -> Nanos {
        let weather = self.network.weather;
        self.random.between(weather.least_delay, weather.most_delay)
    }

    fn choose(&mut self) -> (Verb, u8, Level) {
        let random = &mut self.random;
        let verb = if random.below(100) < self.plan.gets {
            Verb::Get
        } else if random.below(100) < self.plan.deletes {
            Verb::Delete
        } else {
            Verb::Put
        };
        // The first key is as hot as all others together.
        let cold = random.index(self.plan.keys);
        let key = small(if random.below(2) == 0 { 0 } else { cold });
        let level = choose_level(random, self.plan.levels, key);
        (verb, key, level)
    }

    fn choose_ttl(&mut self, verb: Verb) -> Option<Nanos> {
        let may = verb == Verb::Put && self.plan.expiring > 0;
        let expires = may && self.random.below(100) < self.plan.expiring;
        expires.then(|| self.random.magnitude(MILLISECOND, self.plan.most_ttl))
    }

    /// Mostly a node that runs: a client notices when nobody listens.
    fn choose_node(&mut self) -> usize {
        let mut node = self.random.index(self.nodes.len());
        for _ in 0..3 {
            if serves(&self.nodes[node]) || self.random.below(10) == 0 {
                break;
            }
            node = self.random.index(self.nodes.len());
        }
        node
    }

    /// A request reaches its coordinator.
    pub(crate) fn requested(&mut self, operation: OperationNumber, attempt: u8) {
        let request = &self.requests[operation as usize];
        if request.over || request.attempt != attempt {
            return;
        }
        let node = request.node;
        let now = self.node_now(node);
        let key = self.request_key(operation);
        let content = content_hash(&self.requests[operation as usize], operation);
        let sim = &mut self.nodes[node];
        let served_by = (sim.incarnation, sim.services);
        let Some(process) = sim.process.as_mut().filter(|process| !process.shards.is_empty())
        else {
            // Nobody listens, or what listens says that it is not ready.
            return self.turn_away(operation, attempt);
        };
        let token = token_of(operation, attempt);
        let begin = match key {
            Some(key) => process.remembered.begin(now.monotonic, key, content, token),
            None => Begin::New,
        };
        match begin {
            Begin::New => self.begin(operation, attempt, served_by),
            Begin::Joined => self.stats.remembered += 1,
            Begin::Answered(_) => {
                self.stats.remembered += 1;
                self.send_answer(operation);
            }
            Begin::Conflict | Begin::Full => self.turn_away(operation, attempt),
        }
    }

    /// A coordinator takes a request as a new one.
    fn begin(&mut self, operation: OperationNumber, attempt: u8, served_by: (u32, u32)) {
        let request = &mut self.requests[operation as usize];
        (request.incarnation, request.service) = served_by;
        request.begun = attempt;
        request.end = None;
        let Request { node, verb, key, level, timeout, ttl, .. } = *request;
        self.emit(Fact::Began { operation, node: small(node), verb, key, level });
        let deadline = self.node_now(node).monotonic + std::time::Duration::from_nanos(timeout);
        let (name, hash) = self.keys[usize::from(key)].clone();
        let token = token_of(operation, attempt);
        let mut event = event_of(operation, verb, level, name, hash, token, deadline);
        if let (Event::Put { put, .. }, Some(ttl)) = (&mut event, ttl) {
            put.ttl = Some(std::time::Duration::from_nanos(ttl));
        }
        let shard = self.shard_of(key);
        self.work.push_back(Work::Shard { node, shard, event });
        let at = self.now + timeout + timeout / 1000 + GRACE;
        self.queue.push(at, Happening::Deadline { operation, attempt });
    }

    /// A shard answers.
    pub(crate) fn reply(
        &mut self,
        node: usize,
        token: RequestToken,
        reply: Result<Reply, Failure>,
    ) {
        let operation = OperationNumber::try_from(token.0 >> 8).unwrap_or(OperationNumber::MAX);
        let Some(request) = self.requests.get(operation as usize) else { return };
        let incarnation = self.nodes[node].incarnation;
        let is_last = token == token_of(operation, request.begun);
        if request.end.is_some() || request.incarnation != incarnation || !is_last {
            return;
        }
        let end = end_of(&reply);
        let holders = self.holders(operation, end).unwrap_or_default();
        if self.nodes[node].old_disk {
            self.emit(Fact::OldDiskServed { node: small(node) });
        }
        let wall_ms = self.node_now(node).wall_ms;
        self.emit(Fact::Ended { operation, node: small(node), end, holders, wall_ms });
        self.requests[operation as usize].end = Some(end);
        if let Some(key) = self.request_key(operation) {
            let now = self.node_now(node).monotonic;
            if let Some(process) = &mut self.nodes[node].process {
                process.remembered.end(now, &key, &reply);
            }
        }
        self.send_answer(operation);
    }

    /// How many replicas hold what is answered, by the layout that the coordinator uses for the key.
    fn holders(&self, operation: OperationNumber, end: End) -> Option<Holders> {
        let Request { node, key, .. } = self.requests[operation as usize];
        let process = self.nodes[node].process.as_ref()?;
        let layout = process.shard_layouts.get(self.shard_of(key))?;
        let version = match end {
            End::Written { version, .. } | End::Found { version, .. } => version,
            _ => crate::view::NOTHING,
        };
        let view = &self.oracle.view;
        let lost = |replica| view.lost_since(operation, replica, key, version);
        let mut holders = self.count_holders(layout, key, version, lost);
        if let (End::Found { .. }, Some(next)) = (end, &mut holders.next) {
            next.owed = self.count_owed(operation, layout, key, version);
        }
        Some(holders)
    }

    /// How many replicas of the set to come lack what a read answers and need not have it yet. It lies at
    /// or below a floor, so the old set holds it, and none of them is complete before it has merged a
    /// majority of that one. A replica that calls itself full there says that it lacks nothing.
    fn count_owed(
        &self,
        operation: OperationNumber,
        layout: &Layout,
        key: u8,
        version: Version,
    ) -> u8 {
        let (view, partition) = (&self.oracle.view, self.partition_of(key));
        let node = |replica: Ordinal| {
            let node = self.node_of(replica)?;
            (self.nodes[node].state.ordinal == Some(replica)).then_some(small(node))
        };
        let floor = |replica: Ordinal| {
            let marks = node(replica).map(|node| view.marks(node, partition.0));
            let (floor, _, _) = marks.unwrap_or_default();
            floor.max(view.floor_lost_since(operation, replica, partition.0))
        };
        let sets = layout.sets(partition);
        if !sets.all().any(|replica| version.hlc <= floor(replica)) {
            return 0;
        }
        let is_owed = |replica: &&Ordinal| {
            node(**replica).is_some_and(|node| {
                let (_, full, _) = view.marks(node, partition.0);
                full < version.hlc
                    && !view.holds(node, key, version, layout.fence())
                    && !view.lost_since(operation, **replica, key, version)
            })
        };
        small(sets.next.unwrap_or_default().iter().filter(is_owed).count())
    }

    /// How many replicas hold a version of a key or a newer one, by this layout.
    pub(crate) fn holders_in(&self, layout: &Layout, key: u8, version: Version) -> Holders {
        self.count_holders(layout, key, version, |_| false)
    }

    fn count_holders(
        &self,
        layout: &Layout,
        key: u8,
        version: Version,
        lost: impl Fn(Ordinal) -> bool,
    ) -> Holders {
        let holds = |replica: Ordinal| {
            self.node_of(replica).is_some_and(|holder| {
                self.oracle.view.holds(small(holder), key, version, layout.fence())
            })
        };
        let count = |set: &[Ordinal], of: &dyn Fn(Ordinal) -> bool| {
            small(set.iter().filter(|replica| of(**replica)).count())
        };
        let held = |set: &[Ordinal]| Held {
            replicas: small(set.len()),
            holding: count(set, &holds),
            lost: count(set, &|replica| !holds(replica) && lost(replica)),
            owed: 0,
        };
        let sets = layout.sets(self.partition_of(key));
        let fence = layout.fence();
        Holders { fence, current: held(sets.current), next: sets.next.map(held) }
    }

    /// Under what a coordinator remembers a request; none where its id is too short for that.
    fn request_key(&self, operation: OperationNumber) -> Option<RequestKey> {
        let request = &self.requests[operation as usize];
        let client = self.clients.get(request.client)?;
        if self.plan.request_ids == RequestIds::Short {
            return None;
        }
        let mut request_id = [0; MIN_REQUEST_ID_BYTES];
        request_id[0] = request.id;
        Some(RequestKey {
            certificate: Arc::clone(&client.certificate),
            client_id: Arc::clone(&client.client_id),
            request_id: Arc::from(&request_id[..]),
        })
    }

    fn send_answer(&mut self, operation: OperationNumber) {
        let attempt = self.requests[operation as usize].attempt;
        if self.random.chance(self.network.weather.loss / 4) {
            return;
        }
        let at = self.now + self.client_delay();
        self.queue.push(at, Happening::Answer { operation, attempt });
    }

    /// An answer reaches its client.
    pub(crate) fn answered(&mut self, operation: OperationNumber, attempt: u8) {
        let request = &mut self.requests[operation as usize];
        if request.over || request.attempt != attempt {
            return;
        }
        request.over = true;
        self.next_turn(operation);
    }

    /// Nobody serves where the client asked; nothing was done.
    fn turn_away(&mut self, operation: OperationNumber, attempt: u8) {
        let request = &mut self.requests[operation as usize];
        if attempt == 1 {
            let Request { node, verb, key, level, .. } = *request;
            let (node, code) = (small(node), Code::NotServing);
            let end = End::Refused { code };
            request.end = Some(end);
            request.over = true;
            self.emit(Fact::Began { operation, node, verb, key, level });
            let (holders, wall_ms) = (Holders::default(), 0);
            self.emit(Fact::Ended { operation, node, end, holders, wall_ms });
        }
        self.requests[operation as usize].over = true;
        self.next_turn(operation);
    }

    /// A client does not wait any longer: what became of its operation it does not know.
    pub(crate) fn timed_out(&mut self, operation: OperationNumber, attempt: u8) {
        let request = &mut self.requests[operation as usize];
        if request.over || request.attempt != attempt {
            return;
        }
        let (client, writing) = (request.client, self.clients_work());
        let request = &mut self.requests[operation as usize];
        let again = attempt < 3 && self.random.below(100) < self.plan.retries;
        if again && client != NOBODY && writing {
            self.stats.retries += 1;
            return self.send_request(operation);
        }
        request.over = true;
        self.emit(Fact::GaveUp { operation });
        self.next_turn(operation);
    }

    /// A coordinator that runs has answered by now.
    pub(crate) fn deadline_passed(&mut self, operation: OperationNumber, attempt: u8) {
        let request = &self.requests[operation as usize];
        let (node, incarnation, service) = (request.node, request.incarnation, request.service);
        if request.end.is_some() || request.begun != attempt {
            return;
        }
        let paused_until = self.nodes[node].paused_until;
        let serves = |process: &Process| process.service == service && !process.shards.is_empty();
        if !self.process(node, incarnation).is_some_and(|process| serves(process)) {
            return;
        }
        // A node that slept may catch up first.
        let caught_up = paused_until + GRACE;
        if caught_up > self.now {
            return self.queue.push(caught_up, Happening::Deadline { operation, attempt });
        }
        self.emit(Fact::Overdue { operation, node: small(node) });
    }

    fn next_turn(&mut self, operation: OperationNumber) {
        let client = self.requests[operation as usize].client;
        if client == NOBODY || !self.clients_work() {
            return;
        }
        let think = self.random.below(2 * self.plan.think + 1);
        self.queue.push(self.now + think, Happening::Turn { client });
    }
}

/// A try of an operation, as a coordinator names it.
fn token_of(operation: OperationNumber, attempt: u8) -> RequestToken {
    RequestToken(u64::from(operation) << 8 | u64::from(attempt))
}

fn choose_level(random: &mut Random, levels: Levels, key: u8) -> Level {
    match levels {
        Levels::Quorum => Level::Quorum,
        Levels::Strong if random.below(4) == 0 => Level::All,
        Levels::Strong => Level::Quorum,
        Levels::Mixed if key.is_multiple_of(2) => Level::Quorum,
        Levels::Mixed => match random.below(4) {
            0 => Level::One,
            1 => Level::All,
            2 => Level::Count(u8::try_from(random.between(1, 3)).unwrap_or(1)),
            _ => Level::Quorum,
        },
    }
}

fn content_hash(request: &Request, operation: OperationNumber) -> u64 {
    u64::from(operation) << 16 | u64::from(request.key) << 8 | request.verb as u64
}

fn event_of(
    operation: OperationNumber,
    verb: Verb,
    level: Level,
    key: paravon_model::Key,
    hash: KeyHash,
    request: RequestToken,
    deadline: std::time::Duration,
) -> Event {
    let consistency = level.into();
    match verb {
        Verb::Put => {
            let put = Put { key, value: value_of(operation), ttl: None, consistency };
            Event::Put { request, hash, put, deadline }
        }
        Verb::Delete => {
            Event::Delete { request, hash, delete: Delete { key, consistency }, deadline }
        }
        Verb::Get => Event::Get { request, hash, get: Get { key, consistency }, deadline },
    }
}

/// How an operation ended, as facts carry it.
fn end_of(reply: &Result<Reply, Failure>) -> End {
    match reply {
        Ok(Reply::Written(written)) => {
            End::Written { version: written.version, acks: written.acks }
        }
        Ok(Reply::Reading(reading)) => match &reading.found {
            Some(found) => {
                let content: Content = content_of_value(&found.value);
                End::Found { version: found.version, content }
            }
            None => End::Absent,
        },
        Err(failure) => {
            let code = code_of(failure);
            match failure.outcome() {
                Outcome::Refused => End::Refused { code },
                Outcome::Unknown => End::Unknown { code },
            }
        }
    }
}

fn code_of(failure: &Failure) -> Code {
    match failure {
        Failure::TooManyReplicas { .. } => Code::TooManyReplicas,
        Failure::QuorumUnavailable { .. } => Code::QuorumUnavailable,
        Failure::QuorumTimeout { .. } => Code::QuorumTimeout,
        Failure::Overloaded { .. } => Code::Overloaded,
        Failure::ClockSkew { .. } => Code::ClockSkew,
        Failure::NotReady => Code::NotServing,
        _ => Code::Other,
    }
}
