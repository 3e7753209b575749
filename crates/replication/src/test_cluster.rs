//! A cluster of shards in memory, for tests: messages and merges wait until the test lets them go.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Address, ClusterId, Command, Consistency, Delete, Document, Failure, Get, Hlc, Joint, Key,
    Member, NodeId, Ordinal, Outcome, Phase, Put, Record, ReplicaReply, ReplicaRequest, Roster,
    Size, Value, Version,
};
use paravon_ring::{KeyHash, Layout};

use crate::admission::Admission;
use crate::clock::{ClockSettings, Permit};
use crate::event::{Effect, Event, Hint, Now, PeerToken, Reply, RequestToken};
use crate::operations::OperationId;
use crate::shard::{Settings, Shard};
use crate::test_node::{Node, Queued};

pub(crate) const START_MS: u64 = 1_000_000;
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// Something between two nodes.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Request { from: u32, to: u32, operation: OperationId, request: ReplicaRequest },
    Reply { from: u32, to: u32, operation: OperationId, reply: ReplicaReply },
}

impl Message {
    pub(crate) fn ends(&self) -> (u32, u32) {
        match self {
            Self::Request { from, to, .. } | Self::Reply { from, to, .. } => (*from, *to),
        }
    }
}

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) time: Duration,
    pub(crate) wire: VecDeque<Message>,
    pub(crate) replies: BTreeMap<u64, Result<Reply, Failure>>,
    /// Everything else that came out: Learn, Teach, AskDocument, Settled, with the node's number.
    pub(crate) said: Vec<(u32, Effect)>,
    requests: u64,
}

fn roster(members: &[u32]) -> Roster {
    let member = |&number: &u32| Member {
        ordinal: Ordinal(number),
        node_id: NodeId::new(&format!("node-{number}")).unwrap(),
        size: Size::L,
        zone: None,
        address: Address::new("127.0.0.1:6000"),
    };
    Roster { members: members.iter().map(member).collect(), replication_factor: 3 }
}

fn document_of(members: &[u32], phase: Phase, fence: u64) -> Arc<Document> {
    Arc::new(Document {
        cluster_id: ClusterId(1),
        generation: 0,
        rescue_id: 0,
        version: fence,
        fence,
        phase,
        hash_seed: 0,
        shift: 4,
        current: roster(members),
        past: vec![],
        council: vec![Ordinal(1)],
        next_ordinal: 100,
        operations: vec![],
    })
}

/// Members 1 to so many.
pub(crate) fn document(members: u32, fence: u64) -> Arc<Document> {
    document_of(&(1..=members).collect::<Vec<_>>(), Phase::Stable, fence)
}

pub(crate) fn layout(members: u32, fence: u64) -> Arc<Layout> {
    Arc::new(Layout::of(document(members, fence)))
}

/// On the way from these members to those.
pub(crate) fn joint_document(current: &[u32], next: &[u32], fence: u64) -> Arc<Document> {
    let joint = Joint { next: roster(next), lost: vec![] };
    document_of(current, Phase::Joint(joint), fence)
}

pub(crate) fn joint(current: &[u32], next: &[u32], fence: u64) -> Arc<Layout> {
    Arc::new(Layout::of(joint_document(current, next, fence)))
}

pub(crate) fn key(name: &str) -> Key {
    Key::new("default", name.as_bytes()).unwrap()
}

pub(crate) fn version(ms: u64, ordinal: u32) -> Version {
    Version { hlc: Hlc::new(ms, 0), ordinal: Ordinal(ordinal) }
}

pub(crate) fn record(ms: u64, value: &str) -> Record {
    let body = paravon_model::Body::Live(Value::bytes(value.as_bytes()));
    Record { version: version(ms, 9), expires_ms: None, body }
}

impl Cluster {
    /// So many nodes, all linked, measured and with a ceiling; nothing on the way.
    pub(crate) fn new(members: u32) -> Self {
        Self::of(members, &layout(members, 1))
    }

    /// So many nodes that have stored this layout, whether they are of it or not.
    pub(crate) fn of(members: u32, layout: &Arc<Layout>) -> Self {
        let mut cluster = Self {
            nodes: (1..=members).map(|number| Node::new(number, layout)).collect(),
            time: Duration::from_secs(10),
            wire: VecDeque::new(),
            replies: BTreeMap::new(),
            said: Vec::new(),
            requests: 0,
        };
        for node in 1..=members {
            cluster.measure(node);
            for peer in (1..=members).filter(|&peer| peer != node) {
                cluster.step(node, Event::LinkUp { peer: Ordinal(peer) });
            }
            cluster.step(node, Event::Tick);
        }
        cluster.run();
        cluster
    }

    /// These nodes learn a layout.
    pub(crate) fn learn(&mut self, nodes: &[u32], layout: &Arc<Layout>) {
        for &node in nodes {
            self.step(node, Event::Layout { layout: layout.clone(), new: [].into() });
        }
    }

    /// The node has stored its document.
    pub(crate) fn admit(&mut self, node: u32) {
        self.node(node).unstored = false;
        let fence = self.node(node).shard.layout.fence();
        self.step(node, Event::Admit { fence });
    }

    pub(crate) fn node(&mut self, number: u32) -> &mut Node {
        &mut self.nodes[number as usize - 1]
    }

    pub(crate) fn now(&self, number: u32) -> Now {
        let true_ms = START_MS + u64::try_from(self.time.as_millis()).unwrap();
        let wall_ms = true_ms.saturating_add_signed(self.nodes[number as usize - 1].skew_ms);
        Now { monotonic: self.time, wall_ms }
    }

    pub(crate) fn measure(&mut self, node: u32) {
        let now = self.now(node);
        let monotonic_ms = i64::try_from(now.monotonic.as_millis()).unwrap();
        let wall_less_monotonic_ms = i64::try_from(now.wall_ms).unwrap() - monotonic_ms;
        self.step(node, Event::Clock { permit: Permit::Measured { wall_less_monotonic_ms } });
    }

    pub(crate) fn step(&mut self, number: u32, event: Event) {
        let now = self.now(number);
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut effects = Vec::new();
            self.node(number).shard.step(now, event, &mut effects);
            for effect in effects {
                events.extend(self.carry_out(number, effect));
            }
        }
    }

    /// Does what a node would do; gives the event that follows at once.
    fn carry_out(&mut self, number: u32, effect: Effect) -> Vec<Event> {
        let found = self.node(number).find_damage(&effect);
        found.into_iter().chain(self.answer(number, effect)).collect()
    }

    fn answer(&mut self, number: u32, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Reply { request, reply } => {
                let twice = self.replies.insert(request.0, reply);
                assert!(twice.is_none(), "a request is answered once");
            }
            Effect::Send { to, operation, request } => {
                self.wire.push_back(Message::Request {
                    from: number,
                    to: to.0,
                    operation,
                    request,
                });
            }
            Effect::Answer { token, reply } => {
                let at = usize::try_from(token.0).unwrap();
                let (to, operation) = self.node(number).tokens[at];
                self.wire.push_back(Message::Reply { from: number, to, operation, reply });
            }
            Effect::Store { operation, key, record, .. } => {
                let node = self.node(number);
                if let Some(failure) = node.broken.clone() {
                    let (stamp, answer) = (record.version, Err(failure));
                    return Some(Event::Stored { operation, stamp, answer });
                }
                node.queued.push_back(Queued::Merge { operation, key, record });
            }
            Effect::Heal { operation, key, record, .. } => {
                let node = self.node(number);
                if let Some(failure) = node.broken.clone() {
                    return Some(Event::Healed { operation, answer: Err(failure) });
                }
                node.queued.push_back(Queued::Heal { operation, key, record });
            }
            Effect::Drop { operation, key, version, .. } => {
                let node = self.node(number);
                if let Some(failure) = node.broken.clone() {
                    return Some(Event::Forgotten { operation, answer: Err(failure) });
                }
                node.queued.push_back(Queued::Drop { operation, key, version });
            }
            Effect::SetMarks { operation, partition, marks } => {
                let node = self.node(number);
                if let Some(failure) = node.broken.clone() {
                    return Some(Event::MarksSet { operation, answer: Err(failure) });
                }
                node.queued.push_back(Queued::Marks { operation, partition, marks });
            }
            Effect::Read { operation, key, .. } => {
                let node = self.node(number);
                let answer = match node.damaged.contains(&key) {
                    true => Err(Failure::Damaged { outcome: Outcome::Refused }),
                    false => Ok(node.stored.get(&key).cloned()),
                };
                return Some(Event::Read { operation, answer });
            }
            Effect::Scan { operation, partition, part, after, limit, bytes } => {
                self.node(number).scanned += 1;
                let arc = partition.part(self.node(number).shard.layout.shift(), part);
                let page = self.node(number).scan(arc, after, limit, bytes);
                return Some(Event::Scanned { operation, page });
            }
            Effect::Totals { operation, partitions, members } => {
                let node = self.node(number);
                let totals = node.totals(&partitions);
                let moment =
                    members.iter().filter_map(|member| node.dirty.get(member)).max().copied();
                return Some(Event::Totals { operation, totals, moment });
            }
            Effect::Digest { operation, partition } => {
                let digest = self.node(number).digest(partition).map(Box::new);
                return Some(Event::Digest { operation, digest });
            }
            Effect::Forget { operation, key, .. } => {
                let node = self.node(number);
                let answer = node.broken.clone().map_or(Ok(()), Err);
                if answer.is_ok() {
                    node.stored.remove(&key);
                    node.damaged.remove(&key);
                    node.marked.remove(&key);
                }
                return Some(Event::Forgotten { operation, answer });
            }
            Effect::KeepHint { target, hint: Hint { hash, key, record } } => {
                let kept = self.node(number).hints.entry((target, hash, key));
                kept.and_modify(|kept| {
                    if record.version > kept.version {
                        *kept = record.clone();
                    }
                })
                .or_insert(record);
            }
            Effect::ReadHints { target, after, limit, .. } => {
                let hints = &self.node(number).hints;
                let behind = |place: &(Ordinal, KeyHash, Key)| match &after {
                    Some((hash, key)) => (place.1, &place.2) > (*hash, key),
                    None => true,
                };
                let of_target = hints.iter().filter(|(place, _)| place.0 == target);
                let found = of_target.filter(|(place, _)| behind(place)).take(limit);
                let hint = |(place, record): (&(Ordinal, KeyHash, Key), &Record)| Hint {
                    hash: place.1,
                    key: place.2.clone(),
                    record: record.clone(),
                };
                return Some(Event::Hints { target, hints: Ok(found.map(hint).collect()) });
            }
            Effect::DropHint { target, hash, key, version } => {
                let hints = &mut self.node(number).hints;
                let place = (target, hash, key);
                if hints.get(&place).is_some_and(|kept| kept.version <= version) {
                    hints.remove(&place);
                }
            }
            Effect::RaiseCeiling { ceiling } if !self.node(number).log_stalled => {
                self.node(number).ceiling = ceiling;
                return Some(Event::CeilingRaised { ceiling });
            }
            Effect::Settled { fence, progress } => {
                self.said.push((number, Effect::Settled { fence, progress }));
                return (!self.node(number).unstored).then_some(Event::Admit { fence });
            }
            other => self.said.push((number, other)),
        }
        None
    }

    /// Brings one message to its end.
    pub(crate) fn deliver(&mut self, message: Message) {
        match message {
            Message::Request { from, to, operation, request } => {
                let key = match &request.command {
                    Command::Store { key, .. } | Command::Read { key } => Some(key),
                    Command::Pull { .. } | Command::Compare(_) => None,
                };
                let hash = key.map_or(KeyHash(0), |key| KeyHash::of(key, 0));
                let node = self.node(to);
                node.tokens.push((from, operation));
                let token = PeerToken(u64::try_from(node.tokens.len() - 1).unwrap());
                self.step(to, Event::Asked { from: Ordinal(from), token, hash, request });
            }
            Message::Reply { from, to, operation, reply } => {
                self.step(to, Event::Answered { from: Ordinal(from), operation, reply });
            }
        }
    }

    /// The node begins anew with what it holds durably, under a layout that it has stored.
    pub(crate) fn restart(&mut self, number: u32, layout: &Arc<Layout>) {
        let node = self.node(number);
        node.shard = Shard::new(node.remembered(settings(number, layout, Admission::Stored)));
        node.tokens.clear();
        node.queued.clear();
        self.measure(number);
    }

    /// As [`restart`](Self::restart), after a crash that lost what was not durable: it goes on with its
    /// hints, above its ceiling.
    pub(crate) fn crash(&mut self, number: u32, layout: &Arc<Layout>) {
        self.restart(number, layout);
        let node = self.node(number);
        let hinted = node.hints.keys().map(|(target, ..)| *target).collect();
        let settings = node.remembered(settings(number, layout, Admission::Stored));
        let clock = ClockSettings { recovered: node.ceiling, ..settings.clock };
        node.shard = Shard::new(Settings { hinted, clock, ..settings });
        self.measure(number);
    }

    /// What a node answers to this request, when everything has ended.
    pub(crate) fn answers_to(
        &mut self,
        from: u32,
        to: u32,
        hash: KeyHash,
        request: ReplicaRequest,
    ) -> ReplicaReply {
        let unknown = OperationId::from_u64(u64::MAX);
        self.node(to).tokens.push((from, unknown));
        let token = PeerToken(u64::try_from(self.node(to).tokens.len() - 1).unwrap());
        self.step(to, Event::Asked { from: Ordinal(from), token, hash, request });
        self.sync(to);
        let is_answer = |message: &Message| matches!(message, Message::Reply { operation, .. } if *operation == unknown);
        let at = self.wire.iter().position(is_answer).expect("it has answered");
        match self.wire.remove(at) {
            Some(Message::Reply { reply, .. }) => reply,
            other => panic!("{other:?}"),
        }
    }

    /// Makes durable what a node has queued, as its store would, and tells its shard.
    pub(crate) fn sync(&mut self, number: u32) {
        while let Some(queued) = self.node(number).queued.pop_front() {
            for event in self.node(number).make_durable(queued) {
                self.step(number, event);
            }
        }
    }

    /// Until nothing is on its way, but for stalled disks.
    pub(crate) fn run(&mut self) {
        loop {
            let ready = |node: &Node| !node.stalled && !node.queued.is_empty();
            let disk = self.nodes.iter().position(ready);
            match (self.wire.pop_front(), disk) {
                (Some(message), _) => self.deliver(message),
                (None, Some(at)) => self.sync(u32::try_from(at + 1).unwrap()),
                (None, None) => return,
            }
        }
    }

    /// Lets time pass with a tick every 50 ms, and delivers what is sent.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.time + time;
        while self.time < end {
            self.time += Duration::from_millis(50);
            for number in 1..=u32::try_from(self.nodes.len()).unwrap() {
                self.step(number, Event::Tick);
            }
            self.run();
        }
    }

    /// Both ends see the link go, and what is on it is lost.
    pub(crate) fn cut(&mut self, one: u32, other: u32) {
        self.wire.retain(|message| {
            let ends = message.ends();
            ends != (one, other) && ends != (other, one)
        });
        self.step(one, Event::LinkDown { peer: Ordinal(other) });
        self.step(other, Event::LinkDown { peer: Ordinal(one) });
    }

    pub(crate) fn link(&mut self, one: u32, other: u32) {
        self.step(one, Event::LinkUp { peer: Ordinal(other) });
        self.step(other, Event::LinkUp { peer: Ordinal(one) });
    }

    pub(crate) fn begin_put(
        &mut self,
        node: u32,
        name: &str,
        value: &str,
        consistency: Consistency,
    ) -> u64 {
        let (key, value) = (key(name), Value::bytes(value.as_bytes()));
        let (hash, deadline) = (KeyHash::of(&key, 0), self.time + TIMEOUT);
        let request = self.request();
        let put = Put { key, value, ttl: None, consistency };
        self.step(node, Event::Put { request: RequestToken(request), hash, put, deadline });
        request
    }

    pub(crate) fn begin_delete(&mut self, node: u32, name: &str, consistency: Consistency) -> u64 {
        let key = key(name);
        let (hash, deadline) = (KeyHash::of(&key, 0), self.time + TIMEOUT);
        let request = self.request();
        let delete = Delete { key, consistency };
        self.step(node, Event::Delete { request: RequestToken(request), hash, delete, deadline });
        request
    }

    pub(crate) fn delete(&mut self, node: u32, name: &str) -> Result<Version, Failure> {
        let request = self.begin_delete(node, name, Consistency::Quorum);
        self.run();
        self.written(request).expect("it has ended")
    }

    pub(crate) fn begin_get(&mut self, node: u32, name: &str, consistency: Consistency) -> u64 {
        let key = key(name);
        let (hash, deadline) = (KeyHash::of(&key, 0), self.time + TIMEOUT);
        let request = self.request();
        let get = Get { key, consistency };
        self.step(node, Event::Get { request: RequestToken(request), hash, get, deadline });
        request
    }

    pub(crate) fn put(&mut self, node: u32, name: &str, value: &str) -> Result<Version, Failure> {
        let request = self.begin_put(node, name, value, Consistency::Quorum);
        self.run();
        self.written(request).expect("it has ended")
    }

    pub(crate) fn get(&mut self, node: u32, name: &str) -> Result<Option<Value>, Failure> {
        let request = self.begin_get(node, name, Consistency::Quorum);
        self.run();
        self.read(request).expect("it has ended")
    }

    pub(crate) fn written(&self, request: u64) -> Option<Result<Version, Failure>> {
        self.replies.get(&request).map(|reply| match reply {
            Ok(Reply::Written(written)) => Ok(written.version),
            Ok(Reply::Reading(_)) => panic!("a write is answered as one"),
            Err(failure) => Err(failure.clone()),
        })
    }

    pub(crate) fn read(&self, request: u64) -> Option<Result<Option<Value>, Failure>> {
        self.replies.get(&request).map(|reply| match reply {
            Ok(Reply::Reading(reading)) => Ok(reading.found.clone().map(|found| found.value)),
            Ok(Reply::Written(_)) => panic!("a read is answered as one"),
            Err(failure) => Err(failure.clone()),
        })
    }

    /// How a write ended that did not succeed.
    pub(crate) fn outcome(&self, request: u64) -> Option<Outcome> {
        self.written(request).map(|end| end.expect_err("it failed").outcome())
    }

    /// What a node holds durably.
    pub(crate) fn held(&self, node: u32, name: &str) -> Option<Version> {
        self.nodes[node as usize - 1].stored.get(&key(name)).map(|record| record.version)
    }

    pub(crate) fn hinted(&self, node: u32, target: u32) -> usize {
        let hints = &self.nodes[node as usize - 1].hints;
        hints.keys().filter(|place| place.0 == Ordinal(target)).count()
    }

    fn request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }
}

/// The only shard of this node.
pub(crate) fn shard(number: u32, layout: &Arc<Layout>, admission: Admission) -> Shard {
    Shard::new(settings(number, layout, admission))
}

pub(crate) fn settings(number: u32, layout: &Arc<Layout>, admission: Admission) -> Settings {
    let max_skew = Duration::from_millis(500);
    Settings {
        number: 0,
        shards: 1,
        admission,
        ordinal: Ordinal(number),
        layout: layout.clone(),
        clock: ClockSettings { max_skew, recovered: Hlc::ZERO, lane: 0, lanes: 1 },
        hinted: Vec::new(),
        damaged: Vec::new(),
        marks: Vec::new(),
    }
}
